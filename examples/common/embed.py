#!/usr/bin/env python3
"""Writes a file as a C array: embed.py NAME FILE OUT.c, for `const unsigned char NAME[]` and `const size_t NAME_size`."""
import sys

name, source, out = sys.argv[1:]
with open(source, 'rb') as stream:
    data = stream.read()
lines = [','.join(map(str, data[i:i + 24])) for i in range(0, len(data), 24)]
with open(out, 'w', encoding='ascii') as stream:
    stream.write('/* Made of a file by embed.py. */\n#include "builtin.h"\n\n')
    stream.write(f'const unsigned char {name}[] = {{\n' + ',\n'.join(lines) + '};\n')
    stream.write(f'const size_t {name}_size = sizeof {name};\n')
