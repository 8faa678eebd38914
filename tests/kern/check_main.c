/*
 * check_main.c - the harness: levels, buffers, comparison, arguments.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LEVELS = 8, MAX_BUFFERS = 256, MAX_OUTS = 32, BAND = 64 };

static struct level {
    char name[32];
    struct us_kernels k;
    long bad;
} levels[MAX_LEVELS];
static int n_levels, current;
static const char *function_name = "";
static int case_number, kind, quiet, part = 1;
static long passed, failed;
static uint64_t seed = 1, state;

/* ---- random numbers ---- */

uint32_t check_random(void) {
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

int check_range(int lo, int hi) {
    return lo + (int)(check_random() % (uint32_t)(hi - lo + 1));
}

int check_size(int most) {
    static const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 53, 61, 73, 97};
    const int p = primes[check_random() % (sizeof primes / sizeof *primes)];

    return check_random() % 4 == 0 && p <= most ? p : check_range(1, most);
}

static float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint32_t to_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* Sign and mantissa at random, exponent of 2 between lo and hi; -127 are the denormals. */
static float random_float(int lo, int hi) {
    return from_bits((check_random() & 0x807fffffu) | (uint32_t)(check_range(lo, hi) + 127) << 23);
}

static const char *const kind_names[] = {"plain", "integers", "denormals", "underflow", "huge", "special", "bits"};

void check_fill(float *p, size_t n) {
    static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, 6.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1.fffffep127f};
    const int n_special = sizeof special / sizeof *special;

    for (size_t i = 0; i < n; i++)
        switch (kind) {
        case 1: /* exact cancellation, signed zeros, many ties */
            p[i] = (float)check_range(-3, 3) * (check_random() & 1 ? 1.0f : -1.0f);
            break;
        case 2:
            p[i] = check_random() & 1 ? random_float(-127, -120) : random_float(-4, 1);
            break;
        case 3: /* products round into the denormals */
            p[i] = random_float(-76, -62);
            break;
        case 4:
            p[i] = random_float(-60, 63);
            break;
        case 5:
            switch (check_random() % 64) {
            case 0:
                p[i] = from_bits(0x7f800000u | (check_random() & 0x80000000u));
                break;
            case 1:
                p[i] = from_bits(0x7fc00000u | (check_random() & 0x80000fffu));
                break;
            case 2:
            case 3:
            case 4:
            case 5:
                p[i] = special[check_range(0, n_special - 1)];
                break;
            default:
                p[i] = random_float(-3, 3);
            }
            break;
        case 6:
            p[i] = from_bits(check_random());
            break;
        default:
            p[i] = random_float(-6, 0);
        }
}

void check_fill_plain(float *p, size_t n, float lo, float hi) {
    for (size_t i = 0; i < n; i++)
        p[i] = lo + (hi - lo) * ((float)(check_random() >> 8) * 0x1p-24f);
}

/* ---- buffers ---- */

static struct buffer {
    char *map;
    size_t size;
} buffers[MAX_BUFFERS];
static int n_buffers;

static struct out {
    float *p, *want;
    size_t n;
    int bytes; /* no floats: NaNs are not all one */
} outs[MAX_OUTS];
static int n_outs;

static void die(const char *what) {
    fprintf(stderr, "kern: %s in %s\n", what, function_name);
    exit(2);
}

/* Whole pages with a protected page before and after. */
static char *map_pages(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = (bytes + page - 1) / page * page + 2 * page;
    char *map;

    if (n_buffers == MAX_BUFFERS)
        die("too many buffers");
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) || mprotect(map + size - page, page, PROT_NONE))
        die("mmap failed");
    buffers[n_buffers].map = map;
    buffers[n_buffers++].size = size;
    return map + page;
}

float *check_input(size_t n) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = n * sizeof(float);
    char *p = map_pages(bytes);

    if (case_number % 4 != 0) /* mostly against the page behind, sometimes against the one before */
        p += (page - bytes % page) % page;
    return (float *)(void *)p;
}

float *check_in(size_t n) {
    float *p = check_input(n);

    check_fill(p, n);
    return p;
}

void *check_memory(size_t bytes) {
    return map_pages(bytes);
}

float *check_out(size_t n, const float *initial) {
    struct out *o = &outs[n_outs++];
    float *p = (float *)(void *)map_pages((n + 2 * BAND) * sizeof *p) + BAND;

    if (n_outs > MAX_OUTS)
        die("too many outputs");
    memset(p - BAND, 0xaa, (n + 2 * BAND) * sizeof *p);
    if (initial)
        memcpy(p, initial, n * sizeof *p);
    o->p = p;
    o->n = n;
    o->bytes = 0;
    if (current == 0)
        o->want = p;
    return p;
}

void *check_out_bytes(size_t bytes) {
    void *p = check_out(bytes / sizeof(float), NULL);

    outs[n_outs - 1].bytes = 1;
    return p;
}

void *check_input_bytes(size_t bytes) {
    return check_input((bytes + sizeof(float) - 1) / sizeof(float));
}

void check_free(void) {
    while (n_buffers > 0) {
        n_buffers--;
        munmap(buffers[n_buffers].map, buffers[n_buffers].size);
    }
}

/* ---- levels and comparison ---- */

const struct us_kernels *check_reference(void) {
    return &levels[0].k;
}

const struct us_kernels *check_first_level(void) {
    current = 0;
    n_outs = 0;
    return &levels[0].k;
}

const struct us_kernels *check_next_level(void) {
    n_outs = 0;
    return ++current < n_levels ? &levels[current].k : NULL;
}

static int same(float a, float b) {
    return to_bits(a) == to_bits(b) || (a != a && b != b);
}

static void complain(const char *what, const char *format, va_list args) {
    if (levels[current].bad++ >= 5 || quiet)
        return;
    printf("  MISMATCH %s, %s, case %d (%s): ", function_name, levels[current].name, case_number, kind_names[kind]);
    vprintf(format, args);
    printf(": %s\n", what);
}

void check_result(const char *format, ...) {
    for (int i = 0; i < n_outs; i++) {
        const struct out *o = &outs[i];
        char what[160];
        size_t at = 0;
        va_list args;

        what[0] = 0;
        for (size_t j = 0; j < BAND * sizeof *o->p; j++)
            if (((unsigned char *)(o->p - BAND))[j] != 0xaa || ((unsigned char *)(o->p + o->n))[j] != 0xaa)
                snprintf(what, sizeof what, "output %d: guard band overwritten", i);
        if (memcmp(o->p, o->want, o->n * sizeof *o->p))
            while (at < o->n &&
                   (o->bytes ? to_bits(o->p[at]) == to_bits(o->want[at]) : same(o->p[at], o->want[at])))
                at++;
        else
            at = o->n;
        if (at < o->n)
            snprintf(what, sizeof what, "output %d [%zu] is %a (%08x), reference %a (%08x)", i, at, (double)o->p[at],
                     (unsigned)to_bits(o->p[at]), (double)o->want[at], (unsigned)to_bits(o->want[at]));
        if (what[0]) {
            va_start(args, format);
            complain(what, format, args);
            va_end(args);
            return;
        }
    }
}

void check_that(int ok, const char *format, ...) {
    va_list args;

    if (ok)
        passed++;
    else
        failed++;
    printf("%s ", ok ? "ok   " : "FAIL ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static void on_fault(int sig) {
    static const char text[] = "\nFAIL: touched memory outside of its buffers: ";
    const char *name = levels[current].name;

    /* Only calls that are safe in a signal handler. */
    if (write(1, text, sizeof text - 1) < 0 || write(1, function_name, strlen(function_name)) < 0 ||
        write(1, ", ", 2) < 0 || write(1, name, strlen(name)) < 0 || write(1, "\n", 1) < 0)
        _exit(3);
    _exit(sig == SIGILL ? 4 : 1);
}

/* A part of the cases is enough where the processor itself is emulated. */
static int cases_of(const struct check_function *f) {
    return (f->cases + part - 1) / part;
}

static void run_cases(const struct check_function *f) {
    function_name = f->name;
    for (int l = 0; l < n_levels; l++)
        levels[l].bad = 0;
    for (case_number = 0; case_number < cases_of(f); case_number++) {
        state = seed * UINT64_C(0x100000001b3);
        for (const char *s = f->name; *s; s++)
            state = (state ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
        state += (uint64_t)case_number << 32;
        kind = case_number % (int)(sizeof kind_names / sizeof *kind_names);
        f->run();
        check_free();
    }
}

static void run_function(const struct check_function *f) {
    const double start = check_seconds();

    run_cases(f);
    printf("%-20s %5d cases", f->name, cases_of(f));
    for (int l = 0; l < n_levels; l++) {
        printf("  %s %s", levels[l].name, levels[l].bad ? "FAIL" : "ok");
        if (levels[l].bad)
            failed++;
        else
            passed++;
    }
    printf("  %.2f s\n", check_seconds() - start);
    fflush(stdout);
}

/* ---- the checker is checked: kernels with one fault each must be caught ---- */

static const struct us_kernels *honest;

static void add_one_bit_wrong(float *dst, const float *a, const float *b, size_t n) {
    honest->add(dst, a, b, n);
    dst[n * 16 - 1] = from_bits(to_bits(dst[n * 16 - 1]) ^ 1);
}

static void add_wrong_zero(float *dst, const float *a, const float *b, size_t n) {
    honest->add(dst, a, b, n);
    for (size_t i = 0; i < n * 16; i++)
        if (dst[i] == 0)
            dst[i] = -dst[i];
}

static void add_writes_behind(float *dst, const float *a, const float *b, size_t n) {
    honest->add(dst, a, b, n);
    dst[n * 16] = 0;
}

static void add_writes_before(float *dst, const float *a, const float *b, size_t n) {
    honest->add(dst, a, b, n);
    dst[-1] = 0;
}

static void self_test(const struct check_function *f) {
    static const struct {
        const char *what;
        void (*add)(float *, const float *, const float *, size_t);
    } faults[] = {
        {"one altered bit", add_one_bit_wrong},
        {"zeros of the wrong sign", add_wrong_zero},
        {"a write behind the output", add_writes_behind},
        {"a write before the output", add_writes_before},
    };
    const int saved = n_levels;
    struct level *faulty = &levels[saved];

    while (strcmp(f->name, "add"))
        f++;
    honest = &levels[0].k;
    quiet = 1;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        *faulty = levels[0];
        snprintf(faulty->name, sizeof faulty->name, "faulty");
        faulty->k.add = faults[i].add;
        n_levels = saved + 1;
        run_cases(f);
        n_levels = saved;
        check_that(faulty->bad > 0, "the checker notices %s", faults[i].what);
    }
    quiet = 0;
}

/* ---- set-up ---- */

static void add_level(unsigned isa) {
    struct level *l = &levels[n_levels];

    if (us_kernels_init(&l->k, isa)) {
        check_that(0, "probe: an object was compiled with contraction");
        return;
    }
    for (int i = 0; i < n_levels; i++)
        if (!strcmp(levels[i].k.name, l->k.name)) /* not in this build */
            return;
    snprintf(l->name, sizeof l->name, "%s", l->k.name);
    n_levels++;
}

static void add_levels(void) {
    unsigned isa = 0;

    add_level(isa);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma"))
        add_level(isa |= US_ISA_FMA);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        add_level(isa |= US_ISA_AVX2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        add_level(isa |= US_ISA_AVX512);
#ifdef CHECK_EMULATED_AVX512
    if (isa & US_ISA_AVX2) {
        levels[n_levels] = levels[0];
        snprintf(levels[n_levels].name, sizeof levels->name, "avx512-emulated");
        check_that(us_level_avx512_emulated(&levels[n_levels].k) == 0, "probe of the emulated AVX-512 file");
        n_levels++;
    }
#endif
#elif defined(__aarch64__)
    add_level(isa |= US_ISA_FMA);
    add_level(isa | US_ISA_NEON);
#endif
}

double check_seconds(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double check_best(void (*call)(void *), void *user) {
    const double start = check_seconds();
    double best = 1e9, now = start;

    for (int i = 0; i < 5 || now - start < 0.06; i++) {
        const double before = check_seconds();

        call(user);
        now = check_seconds();
        best = now - before < best ? now - before : best;
    }
    return best;
}

static void bench(void) {
    for (int l = 0; l < n_levels; l++) {
        const struct us_kernels *k = &levels[l].k;
        double peak = 0;

        if (!strcmp(levels[l].name, "avx512-emulated"))
            continue;
#if defined(__x86_64__)
        peak = strcmp(k->name, "avx512") ? check_peak_avx2() : check_peak_avx512();
        printf("%s: fma peak of one core %.1f GFLOP/s\n", k->name, peak * 1e-9);
#endif
        check_bench_conv(k, peak);
        check_bench_rows(k);
        check_bench_wino(k);
        check_bench_quant(k, peak);
    }
}

int main(int argc, char **argv) {
    const struct check_function *const lists[] = {check_conv_functions, check_row_functions, check_wino_functions,
                                                   check_quant_functions};
    const char *only = NULL;
    int benchmark = 0;

    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--function") && i + 1 < argc)
            only = argv[++i];
        else if (!strcmp(argv[i], "--part") && i + 1 < argc && atoi(argv[i + 1]) > 0)
            part = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--bench"))
            benchmark = 1;
        else {
            fprintf(stderr, "usage: %s [--seed N] [--function NAME] [--part N (one N-th of the cases)] [--bench]\n", argv[0]);
            return 2;
        }
    printf("kern: seed %llu\n", (unsigned long long)seed);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    signal(SIGILL, on_fault);
    add_levels();
    if (benchmark) {
        bench();
        return failed != 0;
    }
    if (!only) {
        self_test(check_row_functions);
        check_scalar();
        check_wino();
        check_quant();
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct check_function *f = lists[i]; f->name; f++)
            if (!only || !strcmp(only, f->name))
                run_function(f);
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
