#!/usr/bin/env python3
"""check_symbols.py - what the built library lets out and asks for.

check_symbols.py exports HEADER SHARED   exactly the functions of the header are exported
check_symbols.py imports SHARED [PARTS]  only functions that a guest may call are imported; PARTS: what the build was
                                         made with, a list of training,files,threads (missing: all of them)
check_symbols.py archive STATIC          external names begin with unetstar_ or us_; nothing else clashes
check_symbols.py isa STATIC              instructions beyond the base are only in the kernels of their level
check_symbols.py soname SHARED HEADER    libunetstar.so.<ABI version>
check_symbols.py self-test C_COMPILER    every one of these refuses a library made wrong on purpose

Tools: nm, objdump (binutils); without them the answer is 77, which meson shows as skipped."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Memory, formatting into buffers, three exact functions of libm. No output, process, locale, random numbers.
ALLOWED = set('''
    memcpy memmove memset memchr memcmp bcmp strlen strcmp strncmp strchr strrchr strstr strcpy strcspn strspn strtol
    snprintf vsnprintf __snprintf_chk __vsnprintf_chk __memcpy_chk __memset_chk __memmove_chk __strcpy_chk __stack_chk_fail
    __isoc23_strtol malloc calloc realloc free posix_memalign aligned_alloc
    getpid clock_gettime sysconf sched_getaffinity __sched_cpucount sched_yield
    sqrt sqrtf fabs fabsf floor floorf __tls_get_addr __getauxval getauxval
    __cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable
'''.split())
# Only where the build has that part. The time is told for progress and for threads that wait.
ALLOWED_FILES = set('''
    open open64 close read write fsync rename unlink stat stat64 fstat fstat64 access readlink fchmod fchown
    __xpg_strerror_r strerror_r __errno_location
'''.split())
ALLOWED_THREADS_PREFIX = 'pthread_'
# Banned by name, so that the message can say why and nobody puts them on the list above by mistake.
BANNED = set('''
    abort exit _exit __assert_fail printf puts putchar fputs fprintf vfprintf fwrite perror getenv secure_getenv setenv putenv
    setlocale localeconv rand srand random fma fmaf exp expf log logf pow powf sin cos tan tanh erf sinf cosf tanhf erff fmaxf
    signal sigaction system fork longjmp fesetround feenableexcept strtod strtof atof
'''.split())


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def names(*command):
    return {line.split()[-1].split('@')[0] for line in run(*command).splitlines() if len(line.split()) >= 2 and
            line.split()[-2] in 'TDBRVWUwvuiC'}


def check_exports(header, shared):
    text = re.sub(r'/\*.*?\*/', ' ', pathlib.Path(header).read_text(), flags=re.S)
    declared = set(re.findall(r'UNETSTAR_API[^;(]*?\b(unetstar_\w+)\(', text))
    exported = names('nm', '-D', '--defined-only', shared) - {'UNETSTAR_0'}
    exported = {name for name in exported if not re.fullmatch(r'UNETSTAR_\d+', name)}
    print(f'{len(declared)} functions declared, {len(exported)} names exported')
    return ([f'{name} is declared but not exported' for name in sorted(declared - exported)] +
            [f'{name} is exported but not declared' for name in sorted(exported - declared)] +
            (['no function found'] if not declared else []))


def check_imports(shared, parts='training,files,threads'):
    parts = parts.split(',')
    allowed = ALLOWED | (ALLOWED_FILES if 'files' in parts else set())
    imported = names('nm', '-D', '--undefined-only', shared)
    print(f'{len(imported)} names imported')
    return [f'{name} is imported' + (', which a guest never calls' if name in BANNED else ', which is not on the list')
            for name in sorted(imported) if name in BANNED or
            (name not in allowed and not ('threads' in parts and name.startswith(ALLOWED_THREADS_PREFIX)))]


def check_archive(static):
    defined = names('nm', '-g', '--defined-only', static)
    print(f'{len(defined)} external names')
    return [f'{name} would clash: it has no prefix' for name in sorted(defined) if not re.match(r'(unetstar|us)_', name)]


def check_soname(shared, header):
    abi = re.search(r'#define UNETSTAR_ABI_VERSION (\d+)', pathlib.Path(header).read_text()).group(1)
    found = re.search(r'SONAME\s+(\S+)', run('objdump', '-p', shared))
    found = found.group(1) if found else 'none'
    print('soname ' + found)
    return [] if found == f'libunetstar.so.{abi}' else [f'the soname is {found}']


# ---- Instructions ----

def level_of(symbols):
    """What the object file may use, told by the names that it defines."""
    for level in ('avx512', 'avx2', 'reference_fma'):
        if any(name.endswith('_' + level) for name in symbols):
            return level
    return 'base'


def excess(level, line):
    """The reason why an instruction of this disassembly line is not allowed at this level, or None."""
    fields = line.split('\t')
    text = fields[-1]
    mnemonic = text.split(' ')[0]
    if re.search(r'%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b', text):
        return None if level == 'avx512' else 'AVX-512'
    if '%ymm' in text or (mnemonic.startswith('v') and '%xmm' in text) or mnemonic == 'vzeroupper':
        return None if level != 'base' else 'AVX or FMA'
    if re.match(r'(shlx|sarx|shrx|rorx|andn|bextr|pdep|pext|mulx|bzhi|lzcnt|popcnt|movbe|pshufb|pmulld|round[sp][sd]|'
                r'blendv?p[sd]|dpp[sd]|ptest|insertps|pextr[dq]|pinsr[dq])\b', mnemonic):
        return None if level != 'base' else mnemonic
    return None


def disassembled(static):
    """(member, symbols it defines, instructions) of an archive."""
    member, symbols, lines = None, set(), []
    process = subprocess.Popen(['objdump', '-d', '--no-show-raw-insn', static], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        start = re.match(r'(\S+):\s+file format ', line)
        function = re.match(r'[0-9a-f]+ <(\w+)[^>]*>:', line)
        if start:
            if member:
                yield member, symbols, lines
            member, symbols, lines = start.group(1), set(), []
        elif function:
            symbols.add(function.group(1))
        elif '\t' in line:
            lines.append(line.rstrip())
    if member:
        yield member, symbols, lines
    if process.wait():
        raise RuntimeError('objdump failed')


def check_isa(static):
    failed, used, members = [], {}, 0
    for member, symbols, lines in disassembled(static):
        level = level_of(symbols)
        members += 1
        used.setdefault(level, [0, 0, 0])
        used[level][0] += 1
        used[level][1] += sum('%ymm' in line for line in lines)
        used[level][2] += sum('%zmm' in line for line in lines)
        bad = [(line, excess(level, line)) for line in lines if excess(level, line)]
        if bad:
            failed.append(f'{member} ({level}): {len(bad)} instructions, first {bad[0][1]}: {bad[0][0].split(chr(9))[-1]}')
    for level, (files, ymm, zmm) in sorted(used.items()):
        print(f'{level}: {files} object files, {ymm} instructions with ymm, {zmm} with zmm')
    if 'base' not in used or used['base'][0] < 20:
        failed.append('the archive was not understood')
    for level, column in (('avx2', 1), ('avx512', 2)):
        if level in used and used[level][column] == 0:
            failed.append(f'the kernels of {level} do not use its registers')
    return failed


# ---- The checks refuse what they are there to refuse ----

FAULTY = r'''
#include <stdio.h>
#include <math.h>
void unetstar_version_number(void) { printf("%f", exp(fmaf((float)getpid(), 2, 3))); }
int open(const char *, int, ...), pthread_yield(void);
void unetstar_extra(void) { open("", pthread_yield()); }
void helper(void) {}
'''
WIDE = r'''
#include <immintrin.h>
__attribute__((target("avx2"))) void us_sum_%s(float *x) {
    _mm256_storeu_ps(x, _mm256_add_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)));
}
'''


def expect(wanted, complaints):
    found = any(wanted in complaint for complaint in complaints)
    print(f'{"refused" if found else "NOT SEEN"}: {wanted}')
    return [] if found else [f'not seen: {wanted}']


def self_test(compiler):
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / 'f.c').write_text('#include <unistd.h>\n' + FAULTY)
        (folder / 'h.h').write_text('#define UNETSTAR_ABI_VERSION 3\nUNETSTAR_API int unetstar_version_number(void);\n'
                                    'UNETSTAR_API int unetstar_missing(void);\n')
        shared, static = str(folder / 'f.so'), str(folder / 'f.a')
        plain = [compiler, '-w', '-fno-builtin']
        run(*plain, '-fPIC', '-shared', '-Wl,-soname,libunetstar.so.2', str(folder / 'f.c'), '-o', shared, '-lm')
        run(*plain, '-c', str(folder / 'f.c'), '-o', str(folder / 'f.o'))
        run('ar', 'rcs', static, str(folder / 'f.o'))
        failed += expect('unetstar_missing is declared but not exported', check_exports(folder / 'h.h', shared))
        failed += expect('unetstar_extra is exported but not declared', check_exports(folder / 'h.h', shared))
        failed += expect('helper is exported but not declared', check_exports(folder / 'h.h', shared))
        for name in ('printf', 'exp', 'fmaf'):
            failed += expect(name + ' is imported, which a guest never calls', check_imports(shared))
        for name, part in (('open', 'files'), ('pthread_yield', 'threads')):
            failed += expect(name + ' is imported, which is not on the list', check_imports(shared, 'training'))
            if any(name + ' ' in complaint for complaint in check_imports(shared, part)):
                failed.append(f'{name} is refused where it is allowed')
        failed += expect('helper would clash', check_archive(static))
        failed += expect('the soname is libunetstar.so.2', check_soname(shared, folder / 'h.h'))
        if '__x86_64__' in run(compiler, '-dM', '-E', '-x', 'c', '/dev/null'):
            for level, wanted in (('plain', 'AVX'), ('avx512', None), ('avx2', None)):
                (folder / 'w.c').write_text(WIDE % level)
                run(compiler, '-O1', '-c', str(folder / 'w.c'), '-o', str(folder / 'w.o'))
                (folder / 'w.a').unlink(missing_ok=True)
                run('ar', 'rcs', str(folder / 'w.a'), str(folder / 'w.o'))
                complaints = [c for c in check_isa(str(folder / 'w.a')) if 'instructions' in c]
                if wanted:
                    failed += expect(wanted, complaints)
                else:
                    failed += complaints
            if not excess('avx2', ' 0:\tvaddps %zmm1,%zmm2,%zmm3') or not excess('avx2', ' 0:\tvaddps %ymm1,%ymm17,%ymm3'):
                failed.append('AVX-512 in the kernels of AVX2 is not seen')
            if excess('base', ' 0:\taddps  %xmm1,%xmm2') or excess('avx512', ' 0:\tvaddps %zmm1,%zmm2,%zmm3'):
                failed.append('what is allowed is refused')
    return failed


def main():
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    if not shutil.which('nm') or not shutil.which('objdump'):
        print('skipped: nm and objdump (binutils) are not installed')
        return 77
    checks = {'exports': check_exports, 'imports': check_imports, 'archive': check_archive, 'isa': check_isa,
              'soname': check_soname, 'self-test': self_test}
    failed = checks[sys.argv[1]](*sys.argv[2:])
    print('\n'.join(failed) if failed else 'good')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
