#!/usr/bin/env python3
"""The same work through unetstar, PyTorch, oneDNN's bare convolutions and onnxruntime, in turn, over several rounds. Prints a
table of the medians over the rounds and their ratios to unetstar's, and writes build/peers/table.md and table.json."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import table
import work

ROOT = work.HERE.parents[2]
PLACE = ROOT / 'build' / 'peers'


class Problem(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **more):
    """stdout of a command; a Problem with its last words when it fails. Ctrl-C reaches the command as well."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=1800,
                              **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(str(error)) from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or f'exit code {done.returncode}').split('\n')
        raise Problem(f'{pathlib.Path(command[0]).name}: {words[-1]}')
    return done.stdout


# ---- Getting ready ----

def build_ours(given):
    if given:
        program = pathlib.Path(given).resolve()
        if not os.access(program, os.X_OK) or program.is_dir():
            raise Problem(f'--bench {given}: not a program')
        return program
    folder = PLACE / 'unetstar'
    if not (folder / 'build.ninja').exists():
        run(['meson', 'setup', folder, ROOT, '--buildtype=release'])
    run(['ninja', '-C', folder, 'tests/bench/unetstar-bench'])
    return folder / 'tests' / 'bench' / 'unetstar-bench'


def find_torch():
    for python in dict.fromkeys([os.environ.get('PYTHON', ''), '/usr/bin/python3', sys.executable]):
        if python and shutil.which(python):
            try:
                run([python, '-c', 'import torch'])
                return python
            except Problem:
                pass
    say('PyTorch is left out: apt-get install python3-torch (or set PYTHON to a python that has it)')
    return None


def build_onednn():
    program = PLACE / 'bench_onednn'
    try:
        run(['g++', '-O2', '-fopenmp', work.HERE / 'bench_onednn.cpp', '-ldnnl', '-o', program])
        return program
    except Problem:
        say('oneDNN is left out: apt-get install g++ libdnnl-dev')
        return None


def find_ort(torch, install):
    """The network as a file, when onnxruntime can run it."""
    if install:
        say('installing onnxruntime-node ...')
        run(['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', PLACE, 'onnxruntime-node'])
    if not shutil.which('node') or not (PLACE / 'node_modules' / 'onnxruntime-node').is_dir():
        say('onnxruntime is left out: run this with --install once (needs node and npm)')
        return None
    model = PLACE / 'star.onnx'
    if not model.exists():
        if not torch:
            say('onnxruntime is left out: its network is written by PyTorch')
            return None
        part = PLACE / 'star.onnx.part'
        run([torch, work.HERE / 'export_onnx.py', part])
        part.rename(model)
    return model


# ---- Measuring ----

class Peers:
    def __init__(self, options, scratch):
        self.threads, self.reps, self.scratch = options.threads, options.steps, scratch
        self.versions = {}
        self.bench = build_ours(options.bench)
        self.torch = find_torch()
        self.onednn = build_onednn()
        self.ort = find_ort(self.torch, options.install)
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))

    def ours(self, item):
        file = self.scratch / 'ours.json'
        run(work.ours(item, self.bench, self.threads, self.reps, file))
        told = json.loads(file.read_text())
        self.versions['unetstar'] = f'unetstar {told["version"]} ({told["isa"]}), {told["cpu"]}'
        return told['step' if item.kind == 'train' else 'image']['median_ms'] / 1e3

    def told(self, command):
        told = json.loads(run(command, env=self.environment, cwd=PLACE).strip().split('\n')[-1])
        self.versions[told['peer'].split()[0]] = told['peer']
        return told['median_s']

    def jobs(self, item):
        """(peer, function that returns seconds) in the order of a round"""
        yield 'ours', lambda: self.ours(item)
        if item.extra:
            return
        if self.torch:
            for name, last in ('PyTorch NCHW', False), ('PyTorch channels-last', True):
                yield name, lambda last=last: self.told(work.torch(item, self.torch, self.threads, self.reps, last))
        if self.onednn and item.onednn:
            yield table.PEERS[1], lambda: self.told([self.onednn, item.onednn, self.reps])
        if self.ort and item.kind == 'image':
            _, h, w = item.shape()
            script = work.HERE / 'bench_ort.mjs'
            yield 'onnxruntime', lambda: self.told(['node', script, self.ort, self.threads, h, w, self.reps])

    def probe(self):
        file = self.scratch / 'probe.json'
        run([self.bench, '--only', 'probe', '--threads', self.threads, '--json', file])
        return json.loads(file.read_text())['probe_before']


def probe_line(when, p):
    def number(value):
        return '-' if value is None else f'{value:.0f}'
    return (f'Probe {when}: peak {number(p["peak_gflops_1"])} GFLOP/s with 1 thread, {number(p["peak_gflops"])} with '
            f'{p["threads"]}; memory read {number(p["read_gbs_1"])} and {number(p["read_gbs"])} GB/s; core to core '
            f'{number(p["core_to_core_ns"])} ns')


def measure(peers, works, rounds):
    results = {item: {} for item in works}
    for number in range(rounds):
        for item in works:
            for name, job in peers.jobs(item):
                try:
                    seconds = job()
                except Problem as problem:
                    if name == 'ours':
                        raise
                    say(f'{name}, {item.name}: {problem}')
                    continue
                results[item].setdefault(name, []).append(seconds)
                say(f'round {number + 1} of {rounds}: {item.name:12} {name:26} {1e3 * seconds:9.1f} ms')
    return results


def write(path, text):
    part = path.with_name(path.name + '.part')
    part.write_text(text)
    part.rename(path)


def report(peers, results, before, after, options):
    rows = table.rows(results, work.flops)
    lines = [probe_line('before', before), probe_line('after', after)]
    heading = (f'{"; ".join(peers.versions.values())}; {options.threads} threads, {options.rounds} rounds, medians over the '
               f'rounds of medians of {options.steps}; ratios to unetstar')
    text = f'{heading}.\n\n{table.markdown(rows)}\n' + '\n'.join(lines) + '\n'
    print('\n' + text, end='', flush=True)
    write(PLACE / 'table.md', text)
    write(PLACE / 'table.json', json.dumps({
        'versions': peers.versions, 'threads': options.threads, 'rounds': options.rounds, 'steps': options.steps,
        'probe_before': before, 'probe_after': after, 'rows': rows}, indent=2) + '\n')


def read_options():
    names = [item.name for item in work.WORKS]
    parser = argparse.ArgumentParser(prog='peers.sh', description=__doc__, epilog='work: ' + ', '.join(names))
    parser.add_argument('--work', default='all', help='names from the list below, with commas (default: all)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds over all work and all peers (default: 3)')
    parser.add_argument('--steps', type=int, default=9, help='repetitions of each in a round (default: 9)')
    parser.add_argument('--threads', type=int, default=2, help='(default: 2)')
    parser.add_argument('--install', action='store_true', help='install onnxruntime-node into build/peers first (npm)')
    parser.add_argument('--bench', metavar='PROGRAM', help='a built unetstar-bench (default: builds one in build/peers)')
    options = parser.parse_args()
    chosen = names if options.work == 'all' else options.work.split(',')
    for name in chosen:
        if name not in names:
            parser.error(f'--work {name}: must be of {", ".join(names)}, all')
    for name in 'rounds', 'steps', 'threads':
        if getattr(options, name) < 1:
            parser.error(f'--{name} must be at least 1')
    return options, [item for item in work.WORKS if item.name in chosen]


def main():
    options, works = read_options()
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PLACE) as folder:
        peers = Peers(options, pathlib.Path(folder))
        before = peers.probe()
        say(probe_line('before', before))
        results = measure(peers, works, options.rounds)
        report(peers, results, before, peers.probe(), options)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Problem as problem:
        say(f'peers.sh: {problem}')
        sys.exit(1)
