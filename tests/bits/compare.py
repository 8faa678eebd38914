#!/usr/bin/env python3
"""compare.py - one result: the same training at every instruction set of this machine, with 1, 2 and 3 threads, must write
the same file (training_bits.c), byte for byte.

compare.py [--peer PROGRAM] [--release] TRAINING_BITS

What is wanted comes from a run now, never from a file kept: the best level with one thread of PROGRAM, which is the peer if
there is one (the same program of another build, such as x86 against Arm), else the program itself. A program of another
machine is run by the command in MESON_EXE_WRAPPER, with fewer steps. --release: a full-size network, without the slow plain
reference."""
import argparse
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

NETWORKS = [('star', 'none', 'double-conv'), ('concat', 'relu', 'double-conv')]
STAR_BLOCKS = ('star', 'relu', 'star-depthwise'), 'fast'
PRECISIONS = ['fast', 'exact']
ALL_LEVELS = ['reference', 'reference+fma', 'avx2', 'avx512', 'neon']
SMALL = {'narrow': 0.25, 'batch': 2, 'size': 48}
RELEASE = {'narrow': 0.5, 'batch': 8, 'size': 96}


def run(command, *arguments):
    result = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f'FAIL  {" ".join([*command, *map(str, arguments)])}\n{result.stdout}{result.stderr}')
    return result.stdout


def levels_of(command):
    return run(command, '--levels').split()


class Trainings:
    """The files that trainings have written, in a folder that goes away."""

    def __init__(self, folder, size):
        self.folder = pathlib.Path(folder)
        self.size = [word for name, value in size.items() for word in (f'--{name}', value)]
        self.wanted = {}

    def write(self, command, level, threads, steps, case, *more):
        path = self.folder / 'bits'
        (fusion, activation, block), precision = case
        run(command, '--isa', level, '--threads', threads, '--steps', steps, '--fusion', fusion, '--activation', activation,
            '--block', block, '--precision', precision, *self.size, '--out', path, *more)
        return path.read_bytes()

    def want(self, command, level, steps, case):
        """What every other run of this case must write; computed once."""
        key = steps, case
        if key not in self.wanted:
            self.wanted[key] = self.write(command, level, 1, steps, case)
        return self.wanted[key]


def difference(wanted, found):
    """'' for equal files, else where they part."""
    if wanted == found and wanted:
        return ''
    if len(wanted) != len(found):
        return f'{len(found)} bytes instead of {len(wanted)}'
    places = [i for i, (a, b) in enumerate(zip(wanted, found)) if a != b]
    return f'{len(places)} of {len(wanted)} bytes differ, the first at {places[0]}' if places else 'nothing was written'


def plan(levels, emulated, release):
    """(level, thread counts, steps, cases) that are run"""
    cases = [(network, precision) for network in NETWORKS for precision in PRECISIONS]
    for level in levels:
        slow = level == 'reference'
        if release and not emulated:
            if level == 'reference+fma':
                yield level, [2], 3, cases
            elif not slow:
                yield level, [1, 2, 3], 10, cases
        elif not emulated:
            yield level, [3] if slow else [1, 2, 3], 2 if slow else 10, cases
            if not slow:
                yield level, [1, 2], 3, [STAR_BLOCKS]
        elif level == levels[-1]:
            yield level, [1, 3], 2, cases[::2]
            yield level, [3], 2, cases[1::2]
        else:
            yield level, [2], 1, cases[:1] if slow else cases[1:3]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--peer', default=os.environ.get('UNETSTAR_TEST_PEER'))
    parser.add_argument('--release', action='store_true')
    parser.add_argument('program')
    options = parser.parse_args()
    wrapper = shlex.split(os.environ.get('MESON_EXE_WRAPPER', ''))
    command = [*wrapper, options.program]
    peer = [options.peer] if options.peer else command
    levels, best = levels_of(command), levels_of(peer)[-1]
    failed = compared = 0

    print(f'wanted: {"the other build, " if options.peer else ""}{best}, 1 thread')
    print('not on this machine:', ', '.join(level for level in ALL_LEVELS if level not in levels))
    with tempfile.TemporaryDirectory() as folder:
        trainings = Trainings(folder, RELEASE if options.release else SMALL)
        for level, thread_counts, steps, cases in plan(levels, bool(wrapper), options.release):
            for case in cases:
                start = time.monotonic()
                (fusion, activation, block), precision = case
                wanted = trainings.want(peer, best, steps, case)
                for threads in thread_counts:
                    wrong = difference(wanted, trainings.write(command, level, threads, steps, case))
                    compared += 1
                    if wrong:
                        failed += 1
                        print(f'FAIL  {level}, {threads} threads, {fusion}, {activation}, {block}, {precision}: {wrong}')
                print(f'{level}, threads {", ".join(map(str, thread_counts))}, {steps} steps, {fusion}, {activation}, '
                      f'{block}, {precision}: {len(wanted)} bytes, {time.monotonic() - start:.1f} s', flush=True)
        # The comparison itself: one bit of one weight must be seen.
        case = NETWORKS[0], PRECISIONS[0]
        wrong = difference(trainings.want(peer, best, 1, case), trainings.write(command, levels[-1], 1, 1, case, '--fault'))
        if not wrong.startswith('1 of '):
            failed += 1
            print(f'FAIL  a flipped bit was not noticed ({wrong or "no difference"})')
    print(f'{compared} trainings compared, {failed} failed')
    return 1 if failed or not compared else 0


if __name__ == '__main__':
    sys.exit(main())
