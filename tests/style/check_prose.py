#!/usr/bin/env python3
"""check_prose.py - the header is the manual: at least half of it is prose, every group of functions has a comment that says what
they do, every option has its default or meaning beside it, and every comment's claims about threads are among A, B and C.

check_prose.py HEADER"""
import pathlib
import re
import sys


def shares(text):
    """comment characters (without blanks) as a share of all, and lines that hold some comment as a share of non-empty lines"""
    comments = re.findall(r'/\*.*?\*/', text, flags=re.S)
    prose = sum(len(re.sub(r'\s', '', c)) for c in comments)
    everything = len(re.sub(r'\s', '', text))
    touched = set()
    for match in re.finditer(r'/\*.*?\*/', text, flags=re.S):
        first = text.count('\n', 0, match.start())
        touched |= set(range(first, first + match.group(0).count('\n') + 1))
    lines = [line for line in text.split('\n') if line.strip()]
    return prose / everything, len(touched) / len(lines)


def undocumented(text):
    """Functions that no comment speaks for: in a run of declarations without an empty line, the first must follow a comment, or
    the run must be a section that a comment introduces."""
    found, spoken = [], False
    lines = text.split('\n')
    in_comment = False
    for line in lines:
        stripped = line.strip()
        if in_comment or stripped.startswith('/*'):
            in_comment = '*/' not in stripped
            if not re.match(r'/\* ---- .* ---+ \*/$', stripped):
                spoken = True
            continue
        match = re.match(r'UNETSTAR_API[^(]*?\b(unetstar_\w+)\(', stripped)
        if match:
            name = match.group(1)
            trivial = name.endswith(('_init', '_destroy'))  # CONVENTIONS speak for them
            if not spoken and not trivial:
                found.append(name)
        elif not stripped:
            spoken = False
    return found


def uncommented_fields(text):
    found = []
    for body, name in re.findall(r'typedef struct \w+_options \{(.*?)\}\s*(\w+);', text, flags=re.S):
        previous = ''
        for line in body.split('\n'):
            field = re.match(r'\s+(?:const )?[\w ]+?[ *]+(\w+(?:, \w+)*)(?:\[\d+\])?;(.*)', line)
            if field and field.group(1) != 'struct_size' and '/*' not in line and not previous:
                found.append(f'{name}.{field.group(1)}')
            if field or not line.strip():
                previous = '/*' in line  # a comment may speak for the fields that follow it at once
            elif '*/' in line:
                previous = 'x'
    return found


def check(text):
    complaints = []
    characters, lines = shares(text)
    if characters < 0.5 and lines < 0.5:
        complaints.append(f'only {100 * characters:.0f} % of the characters and {100 * lines:.0f} % of the lines are prose')
    complaints += [f'{name} has no comment' for name in undocumented(text)]
    complaints += [f'{name} has no comment' for name in uncommented_fields(text)]
    for letter in re.findall(r'\bThread (\w+)\b', text):
        if letter not in 'ABC':
            complaints.append(f'Thread {letter} is not one of the three sentences')
    errors = set(re.findall(r'UNETSTAR_(E[A-Z]+) =', text))
    for sentence in re.findall(r'\bErrors(?: of all)?: (.*?)(?:\.\s|\*/)', text, flags=re.S):
        for error in set(re.findall(r'\bE[A-Z]{2,}\b', sentence)) - errors:
            complaints.append(f'{error} is not an error')
    return complaints


def self_test(text):
    failed = []
    cases = [
        (text.replace('/* Creates a context.', '', 1).replace('UNETSTAR_API UNETSTAR_CHECK int unetstar_context_create',
                                                              '\n\nUNETSTAR_API int unetstar_context_create', 1),
         'unetstar_context_create has no comment'),
        (text.replace('/* UNETSTAR_ISA_* */', '\n    int32_t naked;', 1), 'naked has no comment'),
        (text + '/* Thread D. */\n', 'Thread D'),
        (text + '/* Errors: ENOSUCH. */\n', 'ENOSUCH'),
        (re.sub(r'/\*.*?\*/', '', text, flags=re.S), 'of the characters'),
    ]
    for broken, wanted in cases:
        if not any(wanted in complaint for complaint in check(broken)):
            failed.append(f'self-test: not seen: {wanted}')
    return failed


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    characters, lines = shares(text)
    print(f'prose: {100 * characters:.1f} % of the characters, {100 * lines:.1f} % of the lines')
    failed = self_test(text) + check(text)
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
