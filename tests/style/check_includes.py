#!/usr/bin/env python3
"""check_includes.py - one door, closed rooms (DESIGN 3.5 and 4): who may include what.

lib/<room>/ is a room with one header, <room>/<room>.h. A room includes its own files and the headers of the rooms below it,
never another room's private header; unetstar.h comes in through base.h alone; only base and kern may look at the operating
system or at instructions. Examples and the tests of the interface know unetstar.h and what is their own.

check_includes.py ROOT"""
import pathlib
import re
import sys
import tempfile

ROOMS = {
    'kern': [],
    'base': ['kern'],
    'data': ['base', 'kern'],
    'nn': ['base', 'kern'],
    'eval': ['base', 'kern'],
    'io': ['base', 'kern'],
    'train': ['base', 'kern', 'nn', 'data', 'eval'],
    'seg': ['base', 'kern', 'nn', 'data'],
    'api': ['kern', 'base', 'data', 'nn', 'eval', 'io', 'train', 'seg'],
}
# C99 headers that no room may use, and why.
BANNED = {
    'assert.h': 'input is never asserted',
    'locale.h': 'the locale is the caller\'s',
    'signal.h': 'handlers are the caller\'s',
    'setjmp.h': 'errors are returned',
    'fenv.h': 'the control word is base\'s',
    'time.h': 'time is base\'s',
    'complex.h': 'not needed',
    'tgmath.h': 'not needed',
    'stdbool.h': 'int does',
    'omp.h': 'threads are base\'s',
    'wchar.h': 'text is UTF-8',
    'ctype.h': 'it looks at the locale',
}
KERN_SYSTEM = {'stddef.h', 'stdint.h', 'string.h', 'math.h', 'float.h', 'immintrin.h', 'arm_neon.h'}
PLAIN = {'stddef.h', 'stdint.h', 'string.h', 'math.h', 'float.h', 'limits.h', 'stdio.h', 'stdlib.h', 'stdarg.h'}
SYSTEM = {  # beyond PLAIN: room -> headers of the operating system
    'base': {'pthread.h', 'sched.h', 'unistd.h', 'cpuid.h', 'xmmintrin.h', 'time.h', 'errno.h', 'sys/auxv.h', 'windows.h'},
    'io': {'errno.h', 'fcntl.h', 'sys/stat.h', 'sys/types.h', 'unistd.h', 'windows.h'},
}


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1) == '<', match.group(2)


def check_room(path, room, root):
    for number, system, name in includes(path):
        where = f'{path.relative_to(root)}:{number}'
        if system:
            allowed = KERN_SYSTEM if room == 'kern' else PLAIN | SYSTEM.get(room, set())
            if name not in allowed:
                yield f'{where}: <{name}> is not for {room}' + (f' ({BANNED[name]})' if name in BANNED else '')
            continue
        if name == 'unetstar.h':
            if path.name != 'base.h' or room != 'base':
                yield f'{where}: unetstar.h comes in through base/base.h only'
            continue
        parts = name.split('/')
        if len(parts) != 2 or parts[0] not in ROOMS:
            yield f'{where}: "{name}" is not written as room/header.h'
        elif parts[0] == room:
            if not (path.parent.parent / name).exists():
                yield f'{where}: "{name}" does not exist'
        elif parts[1] != parts[0] + '.h':
            yield f'{where}: "{name}" is a private header of another room'
        elif parts[0] not in ROOMS[room]:
            yield f'{where}: {room} must not know {parts[0]}'


def check_outside(path, root):
    """Examples and tests of the interface: unetstar.h and files of their own folder; a program of several parts has a
    folder below examples, from which it also sees common/."""
    top = next(root / t for t in OUTSIDE if path.is_relative_to(root / t)).resolve()
    own, common = path.parent.resolve() if top.name == 'examples' else top, top / 'common'
    for number, system, name in includes(path):
        if system or name == 'unetstar.h':
            continue
        targets = [t.resolve() for t in (path.parent / name, top / name) if t.exists()]
        if not any(t.is_relative_to(own) or t.is_relative_to(common) for t in targets):
            yield f'{path.relative_to(root)}:{number}: "{name}" is not of its own'


OUTSIDE = ['examples', 'tests/api', 'tests/golden', 'tests/headers']


def sources(folder):
    return sorted(p for p in folder.rglob('*') if p.suffix in ('.c', '.h', '.cpp') and 'third_party' not in p.parts)


def check(root):
    root = pathlib.Path(root).resolve()
    complaints, files = [], 0
    for path in sources(root / 'lib'):
        files += 1
        parts = path.relative_to(root / 'lib').parts
        if parts[0] not in ROOMS:
            complaints.append(f'{path.relative_to(root)}: lib has no room {parts[0]}')
            continue
        complaints += check_room(path, parts[0], root)
    for room in ROOMS:
        if (root / 'lib' / room).is_dir() and not (root / 'lib' / room / (room + '.h')).exists():
            complaints.append(f'lib/{room} has no header {room}.h')
    for folder in OUTSIDE:
        for path in sources(root / folder) if (root / folder).is_dir() else []:
            files += 1
            complaints += check_outside(path, root)
    return complaints, files


FAULTS = [
    ('lib/kern/a.c', '#include "base/base.h"\n', 'kern must not know base'),
    ('lib/kern/a.c', '#include <stdio.h>\n', '<stdio.h> is not for kern'),
    ('lib/nn/a.c', '#include "data/data.h"\n', 'nn must not know data'),
    ('lib/seg/a.c', '#include "train/train.h"\n', 'seg must not know train'),
    ('lib/eval/a.c', '  #  include "nn/nn.h"\n', 'eval must not know nn'),
    ('lib/train/a.c', '#include "nn/map.h"\n', 'a private header of another room'),
    ('lib/train/a.c', '#include "io/io.h"\n', 'train must not know io'),
    ('lib/data/a.c', '#include "unetstar.h"\n', 'comes in through base/base.h only'),
    ('lib/data/a.c', '#include <pthread.h>\n', '<pthread.h> is not for data'),
    ('lib/io/a.c', '#include <locale.h>\n', '<locale.h> is not for io (the locale'),
    ('lib/io/a.c', '#include "io.h"\n', 'is not written as room/header.h'),
    ('lib/misc/a.c', '\n', 'lib has no room misc'),
    ('examples/a.c', '#include "base/base.h"\n', 'is not of its own'),
    ('examples/one/a.c', '#include "other/b.h"\n', 'is not of its own'),
    ('tests/api/a.c', '#include "../unit/b.h"\n', 'is not of its own'),
]


def self_test():
    failed = []
    fine = ('lib/nn/a.c', '#include "base/base.h"\n#include "kern/kern.h"\n#include <string.h>\n', None)
    for name, text, wanted in FAULTS + [fine]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for room in ROOMS:
                (root / 'lib' / room).mkdir(parents=True)
                (root / 'lib' / room / (room + '.h')).write_text('\n')
            (root / 'tests' / 'unit').mkdir(parents=True)
            (root / 'tests' / 'unit' / 'b.h').write_text('\n')
            (root / 'examples' / 'other').mkdir(parents=True)
            (root / 'examples' / 'other' / 'b.h').write_text('\n')
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            complaints = check(root)[0]
            if wanted is None and complaints:
                failed.append(f'self-test: refused without reason: {complaints[0]}')
            if wanted and (len(complaints) != 1 or wanted not in complaints[0]):
                failed.append(f'self-test: not seen: {wanted}; {complaints}')
    return failed


def main():
    failed = self_test()
    complaints, files = check(sys.argv[1])
    print(f'{files} files, {len(FAULTS)} faults seen')
    if files < 20:
        failed.append('too few files were found')
    failed += complaints
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
