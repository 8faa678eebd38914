"""The list of work: each a training step or an image, and how every peer is asked for it."""
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


class Work:
    def __init__(self, name, title, kind='train', fusion='star', activation='none', narrow=0.5, size=96, extra=(), onednn=None):
        self.name, self.title, self.kind = name, title, kind
        self.fusion, self.activation, self.narrow, self.size = fusion, activation, narrow, size
        self.extra = list(extra)  # options for unetstar alone: then there is no peer
        self.onednn = onednn  # the counts of oneDNN's convolutions belong beside this work

    def shape(self):
        return (8, self.size, self.size) if self.kind == 'train' else (1, 608, 704)


STEP = 'step, 8 x 3 x 96 x 96'
WORKS = [
    Work('star-none', f'{STEP}, star', onednn='train'),
    Work('star-relu', f'{STEP}, star, ReLU', activation='relu'),
    Work('sum-none', f'{STEP}, sum', fusion='sum'),
    Work('concat-relu', f'{STEP}, concat, ReLU', fusion='concat', activation='relu'),
    Work('narrow-0.25', f'{STEP}, star, narrow 0.25', narrow=0.25),
    Work('narrow-1', f'{STEP}, star, narrow 1', narrow=1.0),
    Work('size-48', 'step, 8 x 3 x 48 x 48, star', size=48),
    Work('size-128', 'step, 8 x 3 x 128 x 128, star', size=128),
    Work('avx2', f'{STEP}, star, at most AVX2', extra=['--isa', 'avx2']),
    Work('exact', f'{STEP}, star, exact', extra=['--precision', 'exact']),
    Work('image', 'image, 3 x 608 x 704, star', kind='image', onednn='image'),
]


def macs_per_pixel(work):
    """Multiply-adds of the direct convolutions for one pixel of input."""
    c = [int(width * work.narrow) for width in (64, 128, 256, 512)]
    wide = 2 if work.fusion == 'concat' else 1
    sum_, inputs = 2 * c[0], [3] + c
    for i in range(4):
        sum_ += 9 * (inputs[i] * c[i] + c[i] ** 2) / 4 ** i
    sum_ += 9 * 2 * c[3] ** 2 / 4 ** 4
    for i in (3, 2, 1):
        sum_ += 9 * (wide * c[i] * c[i - 1] + c[i - 1] ** 2) / 4 ** i
    return sum_


def flops(work):
    n, h, w = work.shape()
    return (6 if work.kind == 'train' else 2) * macs_per_pixel(work) * n * h * w


def ours(work, bench, threads, reps, json_file):
    n, h, w = work.shape()
    command = [bench, '--quiet', '--rounds', '1', '--threads', threads, '--fusion', work.fusion, '--activation',
               work.activation, '--narrow', work.narrow, '--json', json_file]
    if work.kind == 'train':
        command += ['--only', 'step', '--steps', reps, '--batch', n, '--size', f'{w}x{h}']
    else:
        command += ['--only', 'image', '--steps', 2 * reps, '--image', f'{w}x{h}']
    return command + work.extra


def torch(work, python, threads, reps, channels_last):
    n, h, w = work.shape()
    command = [python, HERE / 'bench_torch.py', 'train' if work.kind == 'train' else 'infer', '--fusion', work.fusion,
               '--narrow', work.narrow, '--threads', threads, '--batch', n, '--height', h, '--width', w, '--reps', reps]
    command += ['--relu'] * (work.activation == 'relu') + ['--channels-last'] * channels_last
    return command
