#!/usr/bin/env python3
"""check_header.py - compiles header.c and header.cpp with the public header alone, in several language versions, with all
warnings being errors; links them with the library and runs them. Broken copies of the header must be refused.

check_header.py INCLUDE_DIR LIBRARY C_COMPILER [CXX_COMPILER]"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
WARNINGS = ['-pedantic', '-Wall', '-Wextra', '-Werror', '-Wundef', '-Wshadow']
C_ONLY = ['-Wstrict-prototypes', '-Wmissing-prototypes', '-Wwrite-strings']
# What a broken header would have: (language, text in it, text that replaces it).
FAULTS = [
    ('c', 'int32_t unetstar_version_number(void);', 'int32_t unetstar_version_number();'),
    ('c', '#include <stdint.h>\n', ''),
    ('c', '#define UNETSTAR_H\n', ''),
    ('cpp', 'unetstar_tensor_destroy(unetstar_tensor *tensor)', 'unetstar_tensor_destroy(unetstar_tensor *class)'),
    ('cpp', 'extern "C" {', 'extern "C" { inline int unetstar_twice(int *restrict x) { return 2 * *x; }'),
]


def compile_one(compiler, language, standard, include, output=None, library=None):
    source = HERE / ('header.' + language)
    command = [compiler, '-std=' + standard, '-I', str(include)] + WARNINGS
    command += C_ONLY if language == 'c' else []
    if output:
        folder = pathlib.Path(library).resolve().parent
        command += [str(source), '-o', str(output), str(library), '-Wl,-rpath,' + str(folder)]
    else:
        command += ['-fsyntax-only', str(source)]
    return subprocess.run(command, capture_output=True, text=True)


def main():
    include, library, c_compiler = sys.argv[1:4]
    cxx_compiler = sys.argv[4] if len(sys.argv) > 4 and sys.argv[4] else None
    runs = [(c_compiler, 'c', s) for s in ('c99', 'c11')]
    if cxx_compiler:
        runs += [(cxx_compiler, 'cpp', s) for s in ('c++98', 'c++11', 'c++20')]
    else:
        print('no C++ compiler: C only')
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for compiler, language, standard in runs:
            program = os.path.join(folder, 'program')
            result = compile_one(compiler, language, standard, include, program, library)
            code = result.returncode or subprocess.run([program]).returncode
            print(f'{standard}: {"ok" if not code else "FAILED " + result.stderr}')
            failed += code != 0
        for language, old, new in FAULTS:
            if language == 'cpp' and not cxx_compiler:
                continue
            broken = pathlib.Path(folder) / 'broken'
            shutil.rmtree(broken, ignore_errors=True)
            broken.mkdir()
            text = (pathlib.Path(include) / 'unetstar.h').read_text()
            if text.count(old) != 1:
                print(f'the fault {old!r} cannot be put into the header any more')
                failed += 1
                continue
            (broken / 'unetstar.h').write_text(text.replace(old, new))
            compiler = c_compiler if language == 'c' else cxx_compiler
            code = compile_one(compiler, language, 'c99' if language == 'c' else 'c++98', broken).returncode
            print(f'broken: {new[:60]!r} {"is refused" if code else "COMPILES"}')
            failed += code == 0
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
