/*
 * pixel16.h - a pixel of 16 int16 or 16 bytes as vectors; private to lib/kern. AVX2 and AVX-512 share the 256-bit ones,
 * which hold a whole pixel of int16.
 */
#ifndef US_KERN_PIXEL16_H
#define US_KERN_PIXEL16_H

#include "kern/scalar.h"

/* Vectors: HW int16 each, HN to a pixel. */
#if defined(__aarch64__)
#include <arm_neon.h>

#define HW 8
#define HN 2

typedef int16x8_t vh;
typedef uint8x16_t vb;

static US_INLINE vh h_set1(int x) {
    return vdupq_n_s16((int16_t)x);
}

static US_INLINE vh h_load(const int16_t *p) {
    return vld1q_s16(p);
}

static US_INLINE void h_store(int16_t *p, vh a) {
    vst1q_s16(p, a);
}

static US_INLINE vh h_add(vh a, vh b) {
    return vaddq_s16(a, b);
}

static US_INLINE vh h_sub(vh a, vh b) {
    return vsubq_s16(a, b);
}

static US_INLINE vh h_double(vh a) {
    return vshlq_n_s16(a, 1);
}

static US_INLINE vh h_times4(vh a) {
    return vshlq_n_s16(a, 2);
}

/* HW bytes. */
static US_INLINE vh h_widen(const uint8_t *p) {
    return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)));
}

static US_INLINE vb b_load(const uint8_t *p) {
    return vld1q_u8(p);
}

static US_INLINE void b_store(uint8_t *p, vb a) {
    vst1q_u8(p, a);
}

static US_INLINE vb b_max(vb a, vb b) {
    return vmaxq_u8(a, b);
}
#else
#ifndef US_EMULATED_AVX512
#include <immintrin.h>
#endif

#define HW 16
#define HN 1

typedef __m256i vh;
typedef __m128i vb;

static US_INLINE vh h_set1(int x) {
    return _mm256_set1_epi16((int16_t)x);
}

static US_INLINE vh h_load(const int16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static US_INLINE void h_store(int16_t *p, vh a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}

static US_INLINE vh h_add(vh a, vh b) {
    return _mm256_add_epi16(a, b);
}

static US_INLINE vh h_sub(vh a, vh b) {
    return _mm256_sub_epi16(a, b);
}

static US_INLINE vh h_double(vh a) {
    return _mm256_slli_epi16(a, 1);
}

static US_INLINE vh h_times4(vh a) {
    return _mm256_slli_epi16(a, 2);
}

/* HW bytes. */
static US_INLINE vh h_widen(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static US_INLINE vb b_load(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static US_INLINE void b_store(uint8_t *p, vb a) {
    _mm_storeu_si128((__m128i *)(void *)p, a);
}

static US_INLINE vb b_max(vb a, vb b) {
    return _mm_max_epu8(a, b);
}
#endif

#endif
