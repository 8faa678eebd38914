#!/usr/bin/env python3
"""check_text.py - the text of every file: no tabs, carriage returns, trailing blanks, invisible characters or long lines, a
newline at the end; files of a readable length; no notes of unfinished work; no paths of somebody's machine; in lib/ no call
that a guest does not make, and external names with their prefix.

check_text.py ROOT"""
import pathlib
import re
import sys
import tempfile
import unicodedata

TEXT = {'.c', '.h', '.cpp', '.py', '.sh', '.md', '.build', '.txt', '.map', '.rs', '.yml', '.yaml', '.toml', '.svg'}
NAMES = {'LICENSE', 'run', '.clang-format', '.gitignore', '.editorconfig', 'meson.options'}
SKIPPED = {'.git', 'build', 'third_party', '__pycache__', '.venv', 'subprojects'}
# Made by programs or by long tables of data: their length and lines are not for readers.
GENERATED = ('tests/golden/cases', 'tests/golden/sklearn_cases', 'tests/fuzz/corpus', 'tests/headers/layout.txt', 'docs/images',
             'docs/results')
LONGEST_LINE, LONGEST_FILE = 130, 700
LONGEST_COMMAND = 150  # of a shell script
LONG_FILES = {'include/unetstar.h': 1200}  # the manual
NOTES = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X|HA' r'CK)\b')
PATHS = re.compile(r'(?<![\w.$})>"\'`-])/(work|home|root|Users|mnt)/\w')
BANNED = re.compile(
    r'(?<![\w.>])(abort|exit|_Exit|assert|printf|puts|putchar|perror|getenv|setenv|putenv|setlocale|rand|srand|random|'
    r'signal|sigaction|system|malloc|calloc|realloc|fma|fmaf|fmax|fmaxf|fmin|fminf|expf?|logf?|powf?|sinf?|cosf?|'
    r'tanf?|tanhf?|erff?|strtod|strtof|atof|atoi|sprintf|gets|alloca|strcat|gmtime|localtime|fesetround)\s*\(')
# free and posix_memalign are the default allocator's.
EXTERNAL = re.compile(r'^(?!static\b|typedef\b|extern\b|return\b|else\b|case\b|goto\b|struct \w+ \{|#)'
                      r'(?:[A-Za-z_][\w ]*[ *]+)(\w+)\([^;{]*\)\s*\{', re.M)


def stripped(text):
    """C without comments and strings, lines kept"""
    def blank(match):
        return re.sub(r'[^\n]', ' ', match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def invisible(character):
    return character not in '\n\t\r' and (unicodedata.category(character) in ('Cf', 'Cc', 'Co', 'Cs', 'Zl', 'Zp') or
                                          (unicodedata.category(character) == 'Zs' and character != ' '))


def check_file(path, name):
    data = path.read_bytes()
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError:
        yield f'{name}: not UTF-8'
        return
    if not text:
        return
    generated = name.startswith(GENERATED)
    if not text.endswith('\n') or text.endswith('\n\n'):
        yield f'{name}: must end with one newline'
    lines = text.split('\n')
    code = path.suffix in ('.c', '.h', '.cpp', '.py', '.build', '.sh', '.map')
    for number, line in enumerate(lines, 1):
        where = f'{name}:{number}'
        if '\r' in line:
            yield f'{where}: carriage return'
        if '\t' in line:
            yield f'{where}: tab'
        if line.rstrip(' \t\r') != line.rstrip('\r'):
            yield f'{where}: trailing blank'
        for character in line:
            if invisible(character):
                yield f'{where}: invisible character U+{ord(character):04X}'
                break
        if code and not generated and len(line) > (LONGEST_COMMAND if path.suffix == '.sh' else LONGEST_LINE):
            yield f'{where}: {len(line)} columns'
        if NOTES.search(line):
            yield f'{where}: a note of unfinished work'
        if PATHS.search(line):
            yield f'{where}: a path of somebody\'s machine'
    if code and not generated and len(lines) - 1 > LONG_FILES.get(name, LONGEST_FILE):
        yield f'{name}: {len(lines) - 1} lines'
    if name.startswith('lib/') and path.suffix in ('.c', '.h'):
        yield from check_library(text, name)


def check_library(text, name):
    bare = stripped(text)
    for number, line in enumerate(bare.split('\n'), 1):
        match = BANNED.search(line)
        if match and not line.lstrip().startswith('#'):
            yield f'{name}:{number}: {match.group(1)} is not called in the library'
    if name.endswith('.c') and not name.startswith('lib/kern/'):  # kernels are named by macros; the archive test sees them
        for match in EXTERNAL.finditer(bare):
            if not match.group(1).startswith(('us_', 'unetstar_')):
                yield f'{name}: {match.group(1)} is external and has no prefix'


def files(root):
    for path in sorted(root.rglob('*')):
        parts = path.relative_to(root).parts
        if path.is_file() and not SKIPPED & set(parts) and not any(p.startswith('build') for p in parts[:-1]):
            if path.suffix in TEXT or path.name in NAMES or path.name.startswith('meson'):
                yield path


def check(root):
    root = pathlib.Path(root).resolve()
    complaints, count = [], 0
    for path in files(root):
        count += 1
        complaints += check_file(path, str(path.relative_to(root)))
    return complaints, count


FAULTS = [
    ('lib/a.c', 'int us_a;\t\n', 'tab'),
    ('lib/a.c', 'int us_a;\r\n', 'carriage return'),
    ('docs/a.md', 'text \n', 'trailing blank'),
    ('lib/a.c', 'int us_a;', 'must end with one newline'),
    ('lib/a.c', 'int us_a;\n\n', 'must end with one newline'),
    ('lib/a.c', '/* a\u200bb */\n', 'invisible character U+200B'),
    ('docs/a.md', 'a\u00a0b\n', 'invisible character U+00A0'),
    ('lib/a.c', '/* \u202e */\n', 'invisible character U+202E'),
    ('lib/a.c', '/* ' + 'x' * 140 + ' */\n', 'columns'),
    ('lib/a.c', 'int us_a;\n' * 701, '701 lines'),
    ('lib/a.c', '/* TO' + 'DO: later */\n', 'a note of unfinished work'),
    ('tests/a.py', 'open("x")  # see /wo' + 'rk/main\n', 'a path of somebody'),
    ('lib/a.c', 'static void f(void) {\n    abort();\n}\n', 'abort is not called'),
    ('lib/a.c', 'static void f(void) {\n    us_x = expf (1);\n}\n', 'expf is not called'),
    ('lib/a.c', 'int helper(int x) {\n    return x;\n}\n', 'helper is external and has no prefix'),
    ('lib/a.c', 'const char *helper(int x,\n                   int y) {\n    return 0;\n}\n', 'helper is external'),
    ('lib/a.c', b'/* \xff */\n', 'not UTF-8'),
]
FINE = [
    ('lib/a.c', '/* abort() and exit() in a comment, "printf(" */\nstatic int f(void) {\n    return us_exp(1) + us_log(2);\n}\n'),
    ('lib/a.c', 'int us_helper(int x) {\n    return x;\n}\n'),
    ('docs/a.md', 'a very long line ' * 30 + 'end, \u00e4 \u2014\n'),
    ('lib/a.c', 'static int f(const struct x *x) {\n    return x->log(x) + x->exit;\n}\n'),
]


def self_test():
    failed = []
    for name, text, wanted in FAULTS + [(n, t, None) for n, t in FINE]:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            complaints = check(folder)[0]
            if wanted is None and complaints:
                failed.append(f'self-test: refused without reason: {complaints[0]}')
            if wanted and not any(wanted in c for c in complaints):
                failed.append(f'self-test: not seen: {wanted}')
    return failed


def main():
    failed = self_test()
    complaints, count = check(sys.argv[1])
    print(f'{count} files, {len(FAULTS)} faults seen')
    if count < 50:
        failed.append('too few files were found')
    failed += complaints
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
