/*
 * quad.h - four lanes: the end of the tree over the 16 lanes of a pixel, and transpositions; private to lib/kern.
 *
 * Every instruction set has vectors of four floats, and the last steps are the same on all of them: t4 = l + (l + 4),
 * t2 = l + (l + 2), t1 = 0 + 1. The first one, t8 = l + (l + 8), is the including file's v_fold, which gives an `octet`.
 */
#ifndef US_KERN_QUAD_H
#define US_KERN_QUAD_H

#include "kern/scalar.h"

#if defined(__aarch64__)
#include <arm_neon.h>

typedef float32x4_t quad;
typedef float32x4x2_t octet;

static US_INLINE quad quad_set1(float x) {
    return vdupq_n_f32(x);
}

static US_INLINE quad quad_load(const float *p) {
    return vld1q_f32(p);
}

static US_INLINE void quad_store(float *p, quad a) {
    vst1q_f32(p, a);
}

static US_INLINE quad quad_add(quad a, quad b) {
    return vaddq_f32(a, b);
}

static US_INLINE quad quad_fold(octet t8) {
    return vaddq_f32(t8.val[0], t8.val[1]);
}

static US_INLINE float quad_sum(quad t4) {
    const float32x2_t t2 = vadd_f32(vget_low_f32(t4), vget_high_f32(t4));

    return vget_lane_f32(t2, 0) + vget_lane_f32(t2, 1);
}

/* Pairs of lanes as one element, so that the transposition is of two by two of them. */
static US_INLINE quad quad_low_halves(quad a, quad b) {
    return vcombine_f32(vget_low_f32(a), vget_low_f32(b));
}

static US_INLINE quad quad_high_halves(quad a, quad b) {
    return vcombine_f32(vget_high_f32(a), vget_high_f32(b));
}

static US_INLINE quad quad_even(quad a, quad b) {
    return vuzp1q_f32(a, b);
}

static US_INLINE quad quad_odd(quad a, quad b) {
    return vuzp2q_f32(a, b);
}
#else
#include <immintrin.h>

typedef __m128 quad;
typedef __m256 octet;

static US_INLINE quad quad_set1(float x) {
    return _mm_set1_ps(x);
}

static US_INLINE quad quad_load(const float *p) {
    return _mm_loadu_ps(p);
}

static US_INLINE void quad_store(float *p, quad a) {
    _mm_storeu_ps(p, a);
}

static US_INLINE quad quad_add(quad a, quad b) {
    return _mm_add_ps(a, b);
}

static US_INLINE quad quad_fold(octet t8) {
    return _mm_add_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
}

static US_INLINE float quad_sum(quad t4) {
    const __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));

    return _mm_cvtss_f32(_mm_add_ss(t2, _mm_shuffle_ps(t2, t2, 1)));
}

static US_INLINE quad quad_low_halves(quad a, quad b) {
    return _mm_movelh_ps(a, b);
}

static US_INLINE quad quad_high_halves(quad a, quad b) {
    return _mm_movehl_ps(b, a);
}

static US_INLINE quad quad_even(quad a, quad b) {
    return _mm_shuffle_ps(a, b, 0x88);
}

static US_INLINE quad quad_odd(quad a, quad b) {
    return _mm_shuffle_ps(a, b, 0xdd);
}
#endif

/* quad_sum of four at once: transposed, so that each step is one addition for all of them. */
static US_INLINE quad quad_sum4(quad a, quad b, quad c, quad d) {
    const quad ab = quad_add(quad_low_halves(a, b), quad_high_halves(a, b)); /* a02 a13 b02 b13 */
    const quad cd = quad_add(quad_low_halves(c, d), quad_high_halves(c, d));

    return quad_add(quad_even(ab, cd), quad_odd(ab, cd));
}

/* Four by four floats, rows from_stride and to_stride floats apart. */
static US_INLINE void quad_transpose(float *to, int to_stride, const float *from, int from_stride) {
    const quad a = quad_load(from), b = quad_load(from + from_stride);
    const quad c = quad_load(from + 2 * from_stride), d = quad_load(from + 3 * from_stride);
    const quad ab = quad_low_halves(a, b), cd = quad_low_halves(c, d); /* a0 a1 b0 b1 */
    const quad ab2 = quad_high_halves(a, b), cd2 = quad_high_halves(c, d);

    quad_store(to, quad_even(ab, cd));
    quad_store(to + to_stride, quad_odd(ab, cd));
    quad_store(to + 2 * to_stride, quad_even(ab2, cd2));
    quad_store(to + 3 * to_stride, quad_odd(ab2, cd2));
}

#endif
