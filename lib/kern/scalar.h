/*
 * scalar.h - the few scalar functions the kernels are written with; private to lib/kern.
 *
 * Every function here gives the same bits whether or not the file is compiled for hardware fma, and is free of
 * branches, so that a loop around it vectorises. Included by ref.c and by the SIMD files (for SiLU and GELU).
 */
#ifndef US_KERN_SCALAR_H
#define US_KERN_SCALAR_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define US_INLINE inline __attribute__((always_inline))
#define US_NOINLINE __attribute__((noinline))
#else
#define US_INLINE inline
#define US_NOINLINE
#endif

/* Complete unrolling of a short loop with constant bounds: accumulator arrays live in registers only if every loop over
 * them, initialisation and stores included, is unrolled. */
#if defined(__clang__)
#define US_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define US_UNROLL _Pragma("GCC unroll 16")
#else
#define US_UNROLL
#endif

/* No unrolling of a loop with constant bounds whose body is long enough as it is. */
#if defined(__clang__)
#define US_ROLLED _Pragma("nounroll")
#elif defined(__GNUC__)
#define US_ROLLED _Pragma("GCC unroll 1")
#else
#define US_ROLLED
#endif

static US_INLINE uint32_t us_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static US_INLINE float us_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/*
 * fma in software. The product of two floats is exact in a double; two-sum gives the rounded sum and its error; a sum
 * that is not exact is rounded to odd instead, so that the one conversion to float rounds as if it saw the exact value.
 * 53 bits are more than 24 + 2, and a subnormal result only has fewer bits to keep. With an infinity or NaN the error
 * term is NaN, compares false, and nothing is adjusted.
 */
static US_INLINE float us_fma_soft(float a, float b, float c) {
    const double p = (double)a * b, d = c;
    const double sum = p + d;
    const double back = sum - p;
    const double err = (p - (sum - back)) + (d - back);
    const uint64_t inexact = (uint64_t)((err > 0) | (err < 0));
    uint64_t u, e;
    double odd;

    memcpy(&u, &sum, sizeof u);
    memcpy(&e, &err, sizeof e);
    u = (u - ((u ^ e) >> 63 & inexact)) | inexact; /* cut off toward zero, and the rest noted in the last bit */
    memcpy(&odd, &u, sizeof odd);
    return (float)odd;
}

/* One rounding. Never the C library's fmaf, which is slow or wrong in places. US_SOFTWARE_FMA is for the plain reference
 * where every processor has the instruction: there it is the only one that does not rely on it. */
static US_INLINE float us_fma(float a, float b, float c) {
#if (defined(__FMA__) || defined(__aarch64__)) && !defined(US_SOFTWARE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return us_fma_soft(a, b, c);
#endif
}

/* yes ? a : b, by mask: where much hangs on it, gcc makes a branch of the plain form and does not vectorise. */
static US_INLINE float us_choose(int yes, float a, float b) {
    const uint32_t mask = 0u - (uint32_t)yes;

    return us_float((us_bits(a) & mask) | (us_bits(b) & ~mask));
}

/*
 * exp, within 1 ulp. x = n ln2 + r, |r| <= ln2/2; exp(r) is a polynomial of degree 6. The result is scaled by 2^n in
 * two halves, so that overflow and gradual underflow fall out of the last multiplication. NaN passes through both
 * clamps.
 */
static US_INLINE float us_expf(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    float t, n, r, p;
    uint32_t u, half;

    x = us_choose(x > 89.0f, 89.0f, x);
    x = us_choose(x < -104.0f, -104.0f, x);
    t = us_fma(x, 0x1.715476p+0f, magic);
    n = t - magic;
    r = us_fma(-n, 0x1.62e4p-1f, x); /* exact: few enough bits */
    r = us_fma(-n, 0x1.7f7d1cp-20f, r);
    p = 0x1.6d110ap-10f;
    p = us_fma(p, r, 0x1.120b6ep-7f);
    p = us_fma(p, r, 0x1.55551ap-5f);
    p = us_fma(p, r, 0x1.5554dcp-3f);
    p = us_fma(p, r, 0x1p-1f);
    p = us_fma(p, r, 1.0f);
    p = us_fma(p, r, 1.0f);
    u = us_bits(t) - us_bits(magic) + 256; /* n + 256, and unsigned: a NaN may leave anything here */
    half = u >> 1;
    return p * us_float((half - 1) << 23) * us_float((u - half - 1) << 23);
}

/*
 * erf, within 1.5 ulp. Below 1: x + x p(x^2). Above: 1 - exp(t r(t)), t r(t) fitted to log(erfc(t)), which has no
 * cancellation since all large terms have one sign. From 4 on the result is 1.
 */
static US_INLINE float us_erff(float x) {
    const uint32_t sign = us_bits(x) & 0x80000000u;
    float t = us_float(us_bits(x) ^ sign), z, p, q;

    t = us_choose(t > 4.0f, 4.0f, t);
    z = t * t;
    p = 0x1.4a5686p-14f;
    p = us_fma(p, z, -0x1.a45084p-11f);
    p = us_fma(p, z, 0x1.541270p-8f);
    p = us_fma(p, z, -0x1.b7fabap-6f);
    p = us_fma(p, z, 0x1.ce2d10p-4f);
    p = us_fma(p, z, -0x1.81273ep-2f);
    p = us_fma(p, z, 0x1.06eba8p-3f);
    p = us_fma(p, t, t);
    q = 0x1.f034d0p-23f;
    q = us_fma(q, t, -0x1.dae3e4p-19f);
    q = us_fma(q, t, 0x1.1ef540p-18f);
    q = us_fma(q, t, 0x1.4dbd72p-12f);
    q = us_fma(q, t, -0x1.f1661ap-9f);
    q = us_fma(q, t, 0x1.8d673ap-6f);
    q = us_fma(q, t, -0x1.b60122p-4f);
    q = us_fma(q, t, -0x1.44f3d8p-1f);
    q = us_fma(q, t, -0x1.20f796p+0f);
    q = 1.0f - us_expf(q * t);
    return us_float(us_bits(us_choose(t < 1.0f, p, q)) | sign);
}

static US_INLINE float us_sigmoid(float x) {
    return 1.0f / (1.0f + us_expf(-x));
}

/* Distribution function of the standard normal, and its density. */
static US_INLINE float us_normal_cdf(float x) {
    return us_fma(0.5f, us_erff(x * 0x1.6a09e6p-1f), 0.5f);
}

static US_INLINE float us_normal_pdf(float x) {
    return us_expf(x * -0.5f * x) * 0x1.988454p-2f;
}

static US_INLINE float us_silu(float x) {
    return x * us_sigmoid(x);
}

static US_INLINE float us_silu_slope(float x) {
    const float s = us_sigmoid(x);
    return s * us_fma(x, 1.0f - s, 1.0f);
}

static US_INLINE float us_gelu(float x) {
    return x * us_normal_cdf(x);
}

static US_INLINE float us_gelu_slope(float x) {
    return us_fma(x, us_normal_pdf(x), us_normal_cdf(x));
}

/* 1 when this file was compiled with contraction: (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, or 0 if the product is rounded
 * first. Volatile, so that it is computed by the code generated for this file and not by the compiler. */
static inline int us_contracted(void) {
    volatile float a = 0x1.001p+0f, b = 0x1.001p+0f, c = -0x1.002p+0f;
    return a * b + c != 0;
}

#endif
