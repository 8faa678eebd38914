#!/usr/bin/env python3
"""check_layout.py - the layout of the public structs: the first field is size_t struct_size, every field has 4 or 8 bytes, there
is no padding inside or at the end; and offsets, sizes and constants are those of layout.txt, so that no change of the binary
interface goes unseen. A change that is meant: raise UNETSTAR_ABI_VERSION, say so in NEWS.md, run with --update.

check_layout.py HEADER C_COMPILER [--update]"""
import pathlib
import re
import subprocess
import sys
import tempfile

TABLE = pathlib.Path(__file__).resolve().parent / 'layout.txt'
SHIFTED = '''
typedef struct unetstar_odd_options {
    size_t struct_size;
    int32_t one;
    double two;
    unsigned char three;
} unetstar_odd_options;
'''


def without_comments(text):
    return re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)


def structs(text):
    """name -> names of the fields"""
    found = {}
    for body, name in re.findall(r'typedef struct \w+ \{(.*?)\}\s*(\w+);', without_comments(text), flags=re.S):
        fields = []
        for declaration in body.split(';'):
            pointer = re.search(r'\(\*(\w+)\)\s*\(', declaration)
            if pointer:
                fields.append(pointer.group(1))
            elif declaration.strip():
                for part in declaration.split(','):
                    fields.append(re.sub(r'\[.*?\]', '', part).split()[-1].lstrip('*'))
        found[name] = fields
    return found


def constants(text):
    names = []
    for body in re.findall(r'enum\s*\{(.*?)\}', without_comments(text), flags=re.S):
        names += re.findall(r'(UNETSTAR_\w+)\s*=', body)
    return names


def measure(compiler, text):
    """lines 'struct field offset size element' and 'constant value', as the compiler sees them"""
    lines = ['#include <stdio.h>', '#include "unetstar_under_test.h"', 'int main(void) {']
    for name, fields in structs(text).items():
        for field in fields:
            member = f'(({name} *)0)->{field}'
            lines.append(f'printf("{name} {field} %zu %zu %zu\\n", offsetof({name}, {field}), sizeof {member}, '
                         f'_Generic({member}, float *: sizeof(float), double *: sizeof(double), int64_t *: sizeof(int64_t), '
                         f'default: sizeof {member}));')
        lines.append(f'printf("{name} = %zu\\n", sizeof({name}));')
    for name in constants(text):
        lines.append(f'printf("{name} %d\\n", (int){name});')
    lines += ['return 0;', '}']
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / 'unetstar_under_test.h').write_text(text)
        (folder / 'layout.c').write_text('\n'.join(lines))
        program = str(folder / 'layout')
        subprocess.run([compiler, '-std=c11', '-I', str(folder), program + '.c', '-o', program], check=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def complaints(table):
    found = []
    end = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) == 5:
            name, field = words[:2]
            offset, size, element = map(int, words[2:])
            if name not in end and (field != 'struct_size' or offset):
                found.append(f'{name} does not begin with struct_size')
            if element not in (4, 8):
                found.append(f'{name}.{field} has elements of {element} bytes')
            if offset != end.get(name, 0):
                found.append(f'{name}: {offset - end.get(name, 0)} bytes of padding before {field}')
            end[name] = offset + size
        elif len(words) == 3 and words[1] == '=' and int(words[2]) != end[words[0]]:
            found.append(f'{words[0]}: {int(words[2]) - end[words[0]]} bytes of padding at the end')
    return found


def main():
    header, compiler = sys.argv[1:3]
    text = pathlib.Path(header).read_text()
    table = measure(compiler, text)
    failed = complaints(table)
    print(f'{len(structs(text))} structs, {len(constants(text))} constants')

    marker = 'typedef struct unetstar_scores'
    faults = complaints(measure(compiler, text.replace(marker, SHIFTED + marker, 1)))
    for wanted in ('4 bytes of padding before two', 'elements of 1 bytes', '7 bytes of padding at the end'):
        if not any(wanted in fault for fault in faults):
            failed.append(f'the check does not see a struct with {wanted}')
    moved = text.replace('    int32_t n_threads;', '    int32_t n_thread_;', 1)
    if measure(compiler, moved) == table:
        failed.append('the table does not see a renamed field')

    if '--update' in sys.argv:
        TABLE.write_text(table)
    pointer = subprocess.run([compiler, '-dM', '-E', '-x', 'c', '/dev/null'], capture_output=True, text=True).stdout
    if '__SIZEOF_POINTER__ 8' not in pointer:
        print('layout.txt is that of 64-bit systems: not compared')
    else:
        old, new = TABLE.read_text().splitlines(), table.splitlines()
        failed += [f'was: {line}' for line in old if line not in new] + [f'is:  {line}' for line in new if line not in old]
        if not failed and old != new:
            failed.append('the order of the table has changed')
    print('\n'.join(failed) if failed else 'no padding, 4- and 8-byte fields, the layout of layout.txt')
    if failed:
        print(__doc__)
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
