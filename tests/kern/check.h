/*
 * check.h - cross-check of the kernel table: every kernel of every level against the reference, bit by bit.
 *
 * A test draws a case, fills its inputs, and then runs the kernel once per level:
 *
 *     CHECK_LEVELS(k) {
 *         float *dst = check_out(n, NULL);
 *         k->add(dst, a, b, n / 16);
 *         check_result("n %zu", n);
 *     }
 *
 * The first level is the reference; what it leaves in its outputs is what the others must leave, NaNs being all one.
 * Outputs lie between guard bands; inputs end (or begin) at a page that may not be touched.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

/* Random numbers, fixed by the seed, the name of the function and the number of the case. */
uint32_t check_random(void);
int check_range(int lo, int hi); /* both included */

/* A quarter of the time one of the primes up to `most`, else 1..most. */
int check_size(int most);

/* Fills n floats in the style of this case: plain, small integers, denormals, huge and small, infinities and NaN, ...
 */
void check_fill(float *p, size_t n);
void check_fill_plain(float *p, size_t n, float lo, float hi);

/* Buffers live until the end of the case (check_free, which only the benchmarks call themselves). */
float *check_in(size_t n);                        /* random input, against a protected page */
float *check_input(size_t n);                     /* the same without values */
float *check_out(size_t n, const float *initial); /* output of the current level; NULL: filled with 0xAA */
void *check_out_bytes(size_t bytes);              /* output that is no float and must agree in every bit; a multiple of 4 */
void *check_input_bytes(size_t bytes);            /* input that is no float, without values */
void *check_memory(size_t bytes);                 /* anything else */

void check_free(void);

/* Compares what the level has written with the reference. The text says which case it was. */
void check_result(const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;

const struct us_kernels *check_reference(void);
const struct us_kernels *check_first_level(void);
const struct us_kernels *check_next_level(void);
#define CHECK_LEVELS(k) for (const struct us_kernels *k = check_first_level(); k; k = check_next_level())

/* A test of something else than a kernel; prints and counts. */
void check_that(int ok, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 2, 3)))
#endif
    ;

struct check_function {
    const char *name;
    void (*run)(void); /* one case */
    int cases;
};

extern const struct check_function check_conv_functions[], check_row_functions[], check_wino_functions[],
    check_quant_functions[];
void check_scalar(void);
void check_wino(void);
void check_quant(void);

/* Benchmarks. `peak` is the fma peak of the level's vectors in flop/s, measured in this process. */
double check_seconds(void);
void check_bench_conv(const struct us_kernels *k, double peak);
void check_bench_rows(const struct us_kernels *k);
void check_bench_wino(const struct us_kernels *k);
void check_bench_quant(const struct us_kernels *k, double peak);

/* The best of many runs of `call` in about 60 ms, in seconds. */
double check_best(void (*call)(void *), void *user);

/* From files compiled with other flags. */
float check_hard_fma(float a, float b, float c);
void check_hard_exp_erf(float *e, float *f, const float *x, size_t n);
double check_peak_avx2(void);
double check_peak_avx512(void);
int us_level_avx512_emulated(struct us_kernels *k);

#endif
