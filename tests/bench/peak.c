#include "peak.h"

#include <string.h>

/* Latency times instructions a cycle: 8 to 10 on x86, 16 on wide ARM cores. x86 before AVX-512 has 16 registers. */
#define CHAINS_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define CHAINS_16(X) CHAINS_12(X) X(12) X(13) X(14) X(15)

/* Without a fused multiply-add: a product and a sum, four floats at a time. */
typedef float quad __attribute__((vector_size(16)));
static inline quad quad_load(const float *p) {
    quad v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void quad_store(float *p, quad v) {
    memcpy(p, &v, sizeof v);
}
#define PEAK_NAME peak_plain
#define PEAK_TARGET
#define PEAK_VECTOR quad
#define PEAK_LANES 4
#define PEAK_CHAINS CHAINS_12
#define PEAK_COUNT 12
#define PEAK_LOAD(p) quad_load(p)
#define PEAK_STORE(p, v) quad_store(p, v)
#define PEAK_STEP(c, a, b) ((c) * (a) + (b))
#include "peak_loop.h"
static const struct peak_kernel plain = {peak_plain, 14 * 4, 2.0 * 12 * 4, "multiply and add, 4 floats"};

#if defined(__x86_64__)
#include <immintrin.h>

#define PEAK_NAME peak_avx
#define PEAK_TARGET __attribute__((target("avx,fma")))
#define PEAK_VECTOR __m256
#define PEAK_LANES 8
#define PEAK_CHAINS CHAINS_12
#define PEAK_COUNT 12
#define PEAK_LOAD(p) _mm256_loadu_ps(p)
#define PEAK_STORE(p, v) _mm256_storeu_ps(p, v)
#define PEAK_STEP(c, a, b) _mm256_fmadd_ps(c, a, b)
#include "peak_loop.h"
static const struct peak_kernel avx = {peak_avx, 14 * 8, 2.0 * 12 * 8, "fma, 8 floats"};

#define PEAK_NAME peak_avx512
#define PEAK_TARGET __attribute__((target("avx512f")))
#define PEAK_VECTOR __m512
#define PEAK_LANES 16
#define PEAK_CHAINS CHAINS_16
#define PEAK_COUNT 16
#define PEAK_LOAD(p) _mm512_loadu_ps(p)
#define PEAK_STORE(p, v) _mm512_storeu_ps(p, v)
#define PEAK_STEP(c, a, b) _mm512_fmadd_ps(c, a, b)
#include "peak_loop.h"
static const struct peak_kernel avx512 = {peak_avx512, 18 * 16, 2.0 * 16 * 16, "fma, 16 floats"};
#elif defined(__aarch64__)
#include <arm_neon.h>

#define PEAK_NAME peak_neon
#define PEAK_TARGET
#define PEAK_VECTOR float32x4_t
#define PEAK_LANES 4
#define PEAK_CHAINS CHAINS_16
#define PEAK_COUNT 16
#define PEAK_LOAD(p) vld1q_f32(p)
#define PEAK_STORE(p, v) vst1q_f32(p, v)
#define PEAK_STEP(c, a, b) vfmaq_f32(b, c, a)
#include "peak_loop.h"
static const struct peak_kernel neon = {peak_neon, 18 * 4, 2.0 * 16 * 4, "fma, 4 floats"};
#endif

const struct peak_kernel *peak_for(const char *isa) {
#if defined(__x86_64__)
    if (!strcmp(isa, "avx512"))
        return &avx512;
    if (!strcmp(isa, "avx2") || !strcmp(isa, "reference+fma"))
        return &avx;
#elif defined(__aarch64__)
    if (strcmp(isa, "reference"))
        return &neon;
#endif
    return &plain;
}
