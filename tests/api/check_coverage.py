#!/usr/bin/env python3
"""check_coverage.py - every function of the header is called in test_misuse.c with NULL for each of its pointers in turn, and
in the other tests at least once.

check_coverage.py HEADER FOLDER"""
import pathlib
import re
import sys


def functions(header):
    """name -> one flag a parameter: whether it is a pointer (objects, buffers, callbacks)"""
    text = re.sub(r'/\*.*?\*/', ' ', header, flags=re.S)
    found = {}
    nested = r'(?:[^()]|\([^()]*\))*'  # a parameter may be a function: void (*release)(void *user, void *data)
    for name, parameters in re.findall(r'UNETSTAR_API[^;(]*?\b(unetstar_\w+)\((' + nested + r')\);', text):
        depth, parts, part = 0, [], ''
        for c in parameters:
            depth += (c == '(') - (c == ')')
            if c == ',' and depth == 0:
                parts.append(part)
                part = ''
            else:
                part += c
        parts.append(part)
        found[name] = [] if parts == ['void'] else ['*' in p or '_fn' in p or '_hook hook' in p or '[' in p for p in parts]
    return found


def calls(text):
    """(name, arguments) of every call in the text"""
    found = []
    text = re.sub(r'/\*.*?\*/', ' ', text, flags=re.S).replace('IN,', '1, 2, 4, 4,')
    for match in re.finditer(r'\b(unetstar_\w+)\(', text):
        depth, arguments, part = 1, [], ''
        for c in text[match.end():]:
            depth += (c in '([') - (c in ')]')
            if depth == 0:
                break
            if c == ',' and depth == 1:
                arguments.append(part.strip())
                part = ''
            else:
                part += c
        arguments.append(part.strip())
        found.append((match.group(1), arguments))
    return found


def missing(header, misuse, others):
    nulled, called = {}, {name for name, _ in calls(others)}
    for name, arguments in calls(misuse):
        for i, argument in enumerate(arguments):
            if argument == 'NULL':
                nulled.setdefault(name, set()).add(i)
    failed, pointers = [], 0
    for name, parameters in functions(header).items():
        if name not in called and name not in misuse:
            failed.append(f'{name} is in no test')
        for i, pointer in enumerate(parameters):
            pointers += pointer
            if pointer and i not in nulled.get(name, ()):
                failed.append(f'{name}: argument {i + 1} is never NULL')
    return failed, pointers


def main():
    header = pathlib.Path(sys.argv[1]).read_text()
    folder = pathlib.Path(sys.argv[2])
    misuse = (folder / 'test_misuse.c').read_text()
    others = ''.join(path.read_text() for path in sorted(folder.glob('*.c')) if path.name != 'test_misuse.c')
    failed, pointers = missing(header, misuse, others)
    print(f'{len(functions(header))} functions, {pointers} pointer arguments')
    if len(functions(header)) != len(re.findall(r'^UNETSTAR_API', header, flags=re.M)):
        failed.append('the header was not understood')
    extra = 'UNETSTAR_API int unetstar_never(const char *x, int y, unetstar_run_fn run);\n'
    seen = missing(extra + header, misuse, others)[0]
    for wanted in ('unetstar_never is in no test', 'unetstar_never: argument 1', 'unetstar_never: argument 3'):
        if not any(line.startswith(wanted) for line in seen):
            failed.append('not seen: ' + wanted)
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
