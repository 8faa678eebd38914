/*
 * check_fma.c - what the checks need from a file compiled for hardware fma: the instruction itself, exp and erf over
 * it, and the fma peak of one core.
 */
#include "check.h"
#include "kern/scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

float check_hard_fma(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}

void check_hard_exp_erf(float *e, float *f, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        e[i] = us_expf(x[i]);
        f[i] = us_erff(x[i]);
    }
}

#if defined(__x86_64__)
enum { CHAINS = 12, STEPS = 100000 };

/* Independent chains, more than latency times throughput. Operands are volatile so that nothing is known of them. */
double check_peak_avx2(void) {
    volatile float a = 0.5f, b = 1.0f;
    double best = 1e9;

    for (int run = 0; run < 20; run++) {
        const __m256 x = _mm256_set1_ps(a), y = _mm256_set1_ps(b);
        __m256 acc[CHAINS], sum = y;
        double start;
        volatile float sink;

        US_UNROLL
        for (int i = 0; i < CHAINS; i++)
            acc[i] = _mm256_set1_ps(b + (float)i);
        start = check_seconds();
        for (int s = 0; s < STEPS; s++) {
            US_UNROLL
            for (int i = 0; i < CHAINS; i++)
                acc[i] = _mm256_fmadd_ps(acc[i], x, y);
        }
        US_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum = _mm256_add_ps(sum, acc[i]);
        sink = _mm256_cvtss_f32(sum);
        (void)sink;
        start = check_seconds() - start;
        best = start < best ? start : best;
    }
    return 16.0 * CHAINS * STEPS / best;
}

__attribute__((target("avx512f"))) double check_peak_avx512(void) {
    volatile float a = 0.5f, b = 1.0f;
    double best = 1e9;

    for (int run = 0; run < 20; run++) {
        const __m512 x = _mm512_set1_ps(a), y = _mm512_set1_ps(b);
        __m512 acc[CHAINS], sum = y;
        double start;
        volatile float sink;

        US_UNROLL
        for (int i = 0; i < CHAINS; i++)
            acc[i] = _mm512_set1_ps(b + (float)i);
        start = check_seconds();
        for (int s = 0; s < STEPS; s++) {
            US_UNROLL
            for (int i = 0; i < CHAINS; i++)
                acc[i] = _mm512_fmadd_ps(acc[i], x, y);
        }
        US_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum = _mm512_add_ps(sum, acc[i]);
        sink = _mm512_cvtss_f32(sum);
        (void)sink;
        start = check_seconds() - start;
        best = start < best ? start : best;
    }
    return 32.0 * CHAINS * STEPS / best;
}
#endif
