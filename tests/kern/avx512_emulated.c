/*
 * avx512_emulated.c - lib/kern/avx512.c over SIMDe, so that its tiles and trees are checked on any CPU with AVX2.
 */
#define SIMDE_ENABLE_NATIVE_ALIASES
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "check.h"

/* What some versions of SIMDe do not have, or name wrongly. */
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

static inline __m256i low_half(__m512i a) {
    return _mm512_extracti64x4_epi64(a, 0);
}

static inline __m256i high_half(__m512i a) {
    return _mm512_extracti64x4_epi64(a, 1);
}

static inline __m512i halves(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

#ifndef _mm512_cvtepi32_ps
static inline __m512 emulated_cvtepi32_ps(__m512i a) {
    return _mm512_castsi512_ps(halves(_mm256_castps_si256(_mm256_cvtepi32_ps(low_half(a))),
                                      _mm256_castps_si256(_mm256_cvtepi32_ps(high_half(a)))));
}
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#endif
#ifndef _mm512_cvtps_epi32
static inline __m512i emulated_cvtps_epi32(__m512 a) {
    return halves(_mm256_cvtps_epi32(_mm256_castsi256_ps(low_half(_mm512_castps_si512(a)))),
                  _mm256_cvtps_epi32(_mm256_castsi256_ps(high_half(_mm512_castps_si512(a)))));
}
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#endif
#ifndef _mm512_cvtepu8_epi32
static inline __m512i emulated_cvtepu8_epi32(__m128i a) {
    return halves(_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)));
}
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#endif

#define US_EMULATED_AVX512
#define us_level_avx512 us_level_avx512_emulated
#include "../../lib/kern/avx512.c"
