"""PyTorch on a CPU, the same network and the same work; prints one JSON line with the median of --reps repetitions.

train: one step is zero_grad, forward, cross-entropy, backward, Adam.
infer: forward in eval mode, traced, frozen and optimized for inference (batch norm folded)."""
import argparse
import json
import statistics
import time

import torch
from reference_unet import StarUNet

parser = argparse.ArgumentParser()
parser.add_argument('what', choices=['train', 'infer'])
parser.add_argument('--fusion', default='star')
parser.add_argument('--relu', action='store_true')
parser.add_argument('--narrow', type=float, default=0.5)
parser.add_argument('--channels', type=int, default=3)
parser.add_argument('--threads', type=int, default=2)
parser.add_argument('--batch', type=int, default=8)
parser.add_argument('--height', type=int, default=96)
parser.add_argument('--width', type=int, default=96)
parser.add_argument('--reps', type=int, default=7)
parser.add_argument('--channels-last', action='store_true')
o = parser.parse_args()

torch.set_num_threads(o.threads)
torch.manual_seed(2024)
memory_format = torch.channels_last if o.channels_last else torch.contiguous_format
net = StarUNet(in_channels=o.channels, narrow=o.narrow, fusion=o.fusion, relu=o.relu).to(memory_format=memory_format)
batch = o.batch if o.what == 'train' else 1
x = torch.rand(batch, o.channels, o.height, o.width).contiguous(memory_format=memory_format)

if o.what == 'train':
    labels = (torch.rand(batch, o.height, o.width) < 0.1).long()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)

    def work():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
else:
    net.eval()
    with torch.no_grad():
        net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, x)))

    def work():
        with torch.no_grad():
            return net(x)

for _ in range(2):
    work()
times = []
for _ in range(o.reps):
    start = time.perf_counter()
    work()
    times.append(time.perf_counter() - start)
print(json.dumps({'peer': 'PyTorch ' + torch.__version__, 'median_s': statistics.median(times), 'min_s': min(times)}))
