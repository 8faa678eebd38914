#!/usr/bin/env python3
"""check_minimal.py - a build of the library with parts left out.

check_minimal.py bits [--peer PROGRAM] PROGRAM FOLDER    inference.c prints the same hashes at every level and, if there is a
                                                         peer, as the same program of another build
check_minimal.py absent HEADER SHARED                    every function of the header can be called; those that the build
                                                         leaves out, and no others, say so
check_minimal.py size LIMIT SHARED STRIP                 bytes of the stripped library, at most LIMIT

Each first checks itself."""
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

NOT_SUPPORTED = -12
TRAINING, FILES = 1, 2
# What goes with training: sections of the header, and one function more. What goes with files: functions with a path.
TRAINING_SECTIONS = ('Layer primitives', 'Datasets', 'Optimizers', 'Training', 'Metrics', 'Analysis')
TRAINING_TOO = {'unetstar_synthetic_fundus'}


# ---- The same bits ----

def results(text):
    """what -> {level: hash} of the program's lines"""
    found = {}
    for line in text.splitlines():
        name, level, value = line.split()
        found.setdefault(name, {}).setdefault(level, set()).add(value)
    return found


def differences(found, wanted):
    failed = []
    for name, levels in found.items():
        if len(set().union(*levels.values())) != 1:
            failed.append(f'{name}: the levels differ: {levels}')
    for name in wanted or ():
        if set().union(*wanted[name].values()) != set().union(*found.get(name, {'': set()}).values()):
            failed.append(f'{name}: the builds differ: {found.get(name)}, {wanted[name]}')
    return failed


def check_bits(*arguments):
    arguments, peer = list(arguments), None
    if '--peer' in arguments: # anywhere: meson puts --test-args last
        at = arguments.index('--peer')
        peer = arguments[at + 1]
        del arguments[at:at + 2]
    program, folder = arguments
    failed = []
    good = results('a avx2 1\na avx512 1\nb avx2 2\n')
    for text, wanted in (('a avx2 1\na avx512 3\nb avx2 2\n', None), ('a avx2 1\nb avx2 3\n', good), ('a avx2 1\n', good)):
        if not differences(results(text), wanted):
            failed.append(f'self-test: not seen in {text!r}')
    if differences(good, good):
        failed.append('self-test: refused without reason')
    texts = []
    own = {key: value for key, value in os.environ.items() if key != 'LD_LIBRARY_PATH'} # which names this build's library
    for path, environment in [(program, None)] + ([(peer, own)] if peer else []):
        run = subprocess.run([path, folder], capture_output=True, text=True, env=environment)
        print(run.stdout, end='')
        texts.append(run.stdout)
        if run.returncode:
            failed.append(f'{path}: {run.stderr}')
    found = results(texts[0])
    if len(found) < 5:
        failed.append('the program has computed too little')
    failed += differences(found, results(texts[1]) if peer else None)
    print('compared with another build' if peer else 'no other build to compare with')
    return failed


# ---- What is left out ----

def functions(header):
    """name -> (section of the header, parameters)"""
    found, section = {}, None
    text = re.sub(r'/\* ---- (.*?) -+ \*/', r'@section \1@', header)
    text = re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)
    nested = r'(?:[^()]|\([^()]*\))*'
    one = r'UNETSTAR_API\s+(?:UNETSTAR_CHECK\s+)?([\w *]*?)\b(unetstar_\w+)\((' + nested + r')\);'
    for match in re.finditer(r'@section (.*?)@|' + one, text):
        if match.group(1):
            section = match.group(1)
        else:
            found[match.group(3)] = (section, match.group(2).strip(), match.group(4))
    return found


def expected(found, features):
    names = set()
    for name, (section, result, parameters) in found.items():
        if result != 'int':
            continue
        if not features & TRAINING and (section in TRAINING_SECTIONS or name in TRAINING_TOO):
            names.add(name)
        if not features & FILES and re.search(r'\bpath\b', parameters):
            names.add(name)
    return names


def arguments_of(parameters):
    """Zeros and NULLs for every parameter"""
    depth, parts = 0, ['']
    for c in parameters:
        depth += (c == '(') - (c == ')')
        if c == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += c
    if parts == ['void']:
        return []
    number = {'double': ctypes.c_double, 'float': ctypes.c_float, 'int64_t': ctypes.c_int64, 'uint64_t': ctypes.c_uint64,
              'int32_t': ctypes.c_int32, 'size_t': ctypes.c_size_t, 'int': ctypes.c_int}
    return [number.get(p.split()[0], ctypes.c_void_p)(0) if not re.search(r'[*\[]|_fn |_hook ', p) else ctypes.c_void_p(0)
            for p in map(str.strip, parts)]


def check_absent(header, shared):
    text = pathlib.Path(header).read_text()
    found = functions(text)
    failed = [] if len(found) == len(re.findall(r'^UNETSTAR_API', text, flags=re.M)) else ['the header was not understood']
    library = ctypes.CDLL(shared)
    library.unetstar_last_error.restype = ctypes.c_char_p
    features = library.unetstar_build_features()
    wanted, absent = expected(found, features), set()
    for name, (section, result, parameters) in found.items():
        value = getattr(library, name)(*arguments_of(parameters))
        if result == 'int' and value == NOT_SUPPORTED:
            absent.add(name)
            sentence = library.unetstar_last_error().decode()
            if not re.fullmatch('this build of the library has no (training|files)', sentence):
                failed.append(f'{name} says: {sentence}')
        elif name in wanted:
            failed.append(f'{name} should not be there')
    failed += [f'{name} should be there' for name in sorted(absent - wanted)]
    print(f'features {features}, {len(found)} functions, {len(absent)} of them left out')
    if not expected(found, 0) or 'unetstar_session_run' in expected(found, 0):
        failed.append('self-test: what is left out is not known')
    if 'unetstar_trainer_save' not in expected(found, TRAINING) or 'unetstar_model_save' in expected(found, FILES):
        failed.append('self-test: what goes with files is not known')
    return failed


# ---- Size ----

def stripped_size(shared, strip):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'stripped'
        subprocess.run([strip, '-o', path, shared], check=True)
        return path.stat().st_size


def check_size(limit, shared, strip):
    limit, bytes_ = int(limit), stripped_size(shared, strip)
    print(subprocess.run(['size', shared], capture_output=True, text=True).stdout, end='')
    print(f'stripped: {bytes_} bytes, the limit is {limit}')
    failed = [] if 10000 < bytes_ <= limit else [f'{bytes_} bytes are not within {limit}']
    if bytes_ >= pathlib.Path(shared).stat().st_size:
        failed.append('self-test: strip did not strip')
    return failed


def main():
    checks = {'bits': check_bits, 'absent': check_absent, 'size': check_size}
    if len(sys.argv) < 3 or sys.argv[1] not in checks:
        print(__doc__)
        return 2
    failed = checks[sys.argv[1]](*sys.argv[2:])
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
