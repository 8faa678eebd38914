/*
 * avx512.c - the kernels for AVX-512: a pixel is one vector.
 *
 * tests/kern also compiles this file over an emulation of the intrinsics, for CPUs without AVX-512, and then brings its
 * own header.
 */
#ifndef US_EMULATED_AVX512
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512BW__)
#error "avx512.c needs -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma"
#endif
#include <immintrin.h>
#endif

#include "kern/levels.h"
#include "kern/scalar.h"

#define US_LEVEL us_level_avx512
#define US_LEVEL_NAME "avx512"

/* Vectors: VW floats each, NV to a pixel. */
#define VW 16
#define NV 1

typedef __m512 vf;
typedef __mmask16 vmask;

static US_INLINE vf v_zero(void) {
    return _mm512_setzero_ps();
}

static US_INLINE vf v_set1(float x) {
    return _mm512_set1_ps(x);
}

static US_INLINE vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}

static US_INLINE void v_store(float *p, vf a) {
    _mm512_storeu_ps(p, a);
}

static US_INLINE vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}

static US_INLINE vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}

static US_INLINE vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}

static US_INLINE vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}

static US_INLINE vf v_sqrt(vf a) {
    return _mm512_sqrt_ps(a);
}

static US_INLINE vf v_abs(vf a) {
    return _mm512_abs_ps(a);
}

/* a * b + c, c - a * b and a * b - c, one rounding. */
static US_INLINE vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}

static US_INLINE vf v_fnma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
}

static US_INLINE vf v_fms(vf a, vf b, vf c) {
    return _mm512_fmsub_ps(a, b, c);
}

/* a > b ? a : b and a < b ? a : b: exactly what the instructions do, NaN and -0 included. */
static US_INLINE vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}

static US_INLINE vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}

static US_INLINE vmask v_gt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

static US_INLINE vmask v_ge(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

/* mask ? a : b */
static US_INLINE vf v_select(vmask mask, vf a, vf b) {
    return _mm512_mask_blend_ps(mask, b, a);
}

/* ---- int32, and pairs of int16 whose products are added (tmpl_quant.h) ---- */

typedef __m512i vint;
typedef __m512i vw;
typedef __m512i vp;

static US_INLINE vint vi_zero(void) {
    return _mm512_setzero_si512();
}

static US_INLINE vint vi_set1(int x) {
    return _mm512_set1_epi32(x);
}

static US_INLINE vint vi_load(const int32_t *p) {
    return _mm512_loadu_si512(p);
}

static US_INLINE void vi_store(int32_t *p, vint a) {
    _mm512_storeu_si512(p, a);
}

static US_INLINE vint vi_add(vint a, vint b) {
    return _mm512_add_epi32(a, b);
}

static US_INLINE vf v_from_int(vint a) {
    return _mm512_cvtepi32_ps(a);
}

/* Ties to even: the control word's rounding. */
static US_INLINE vint vi_nearest(vf a) {
    return _mm512_cvtps_epi32(a);
}

static US_INLINE void vw_load(vw w[NV], const int16_t *p) {
    w[0] = _mm512_loadu_si512(p);
}

static US_INLINE vp vp_set1(const int16_t *p) {
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

static US_INLINE vint vi_madd(vint acc, vp in, const vw *w, const int j) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(in, w[j]));
}

/* The 16 values of a pixel, which fit, as int16; and as bytes. */
static US_INLINE void vi_store16(int16_t *p, const vint a[NV]) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtsepi32_epi16(a[0]));
}

static US_INLINE void vi_store8(uint8_t *p, const vint a[NV]) {
    const __m256i h = _mm512_cvtsepi32_epi16(a[0]);

    _mm_storeu_si128((__m128i *)(void *)p, _mm_packus_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1)));
}

static US_INLINE void vi_load8(vint a[NV], const uint8_t *p) {
    a[0] = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* First step of the tree over 16 lanes: lane l + lane l + 8. */
static US_INLINE __m256 v_fold(const vf a[NV]) {
    return _mm256_add_ps(_mm512_castps512_ps256(a[0]),
                         _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a[0]), 1)));
}

/*
 * Convolution tiles: TILE_PX pixels by TILE_COLS vectors of output channels, here two blocks (one, for the last of an
 * odd number). 24 accumulators and two vectors of weights leave 6 of 32 registers for broadcasts.
 */
#define TILE_PX 12
#define TILE_PX_1 6 /* of 1x1 convolutions, which only transposed ones are made of: less code */
#define TILE_COLS 2
#define TILE_BLOCKS 2

/* X(ksize, pixels, rows, columns) for every width up to TILE_PX, then the tiles that span rows of narrow maps. */
/* clang-format off */
#define CONV_TILES_OF(X, ksize, cols) \
    X(ksize, 1, 1, cols) X(ksize, 2, 1, cols) X(ksize, 3, 1, cols) X(ksize, 4, 1, cols) X(ksize, 5, 1, cols) \
    X(ksize, 6, 1, cols) X(ksize, 7, 1, cols) X(ksize, 8, 1, cols) X(ksize, 9, 1, cols) X(ksize, 10, 1, cols) \
    X(ksize, 11, 1, cols) X(ksize, 12, 1, cols)
#if US_TRAINING /* whose deep maps are narrow */
#define CONV_TILES_TALL(X, ksize, cols) X(ksize, 6, 2, cols) X(ksize, 4, 3, cols) X(ksize, 3, 4, cols)
#else
#define CONV_TILES_TALL(X, ksize, cols)
#endif
#define CONV_TILES(X, ksize) \
    CONV_TILES_OF(X, ksize, 2) CONV_TILES_TALL(X, ksize, 2) CONV_TILES_OF(X, ksize, 1) CONV_TILES_TALL(X, ksize, 1)
#define CONV_TILES_1_OF(X, cols) \
    X(1, 1, 1, cols) X(1, 2, 1, cols) X(1, 3, 1, cols) X(1, 4, 1, cols) X(1, 5, 1, cols) X(1, 6, 1, cols)
#define CONV_TILES_1(X) CONV_TILES_1_OF(X, 2) CONV_TILES_1_OF(X, 1)
/* clang-format on */

/* X(rows, columns) for every number of rows up to TILE_PX. */
/* clang-format off */
#define PRODUCT_TILES_OF(X, cols) \
    X(1, cols) X(2, cols) X(3, cols) X(4, cols) X(5, cols) X(6, cols) X(7, cols) X(8, cols) X(9, cols) X(10, cols) \
    X(11, cols) X(12, cols)
#define PRODUCT_TILES(X) PRODUCT_TILES_OF(X, 2) PRODUCT_TILES_OF(X, 1)
/* clang-format on */

/* X(ksize, input channels, columns), widest first; ksize * channels accumulators for each column. */
/* clang-format off */
#define BWDW_TILES(X) \
    X(3, 4, 2) X(3, 2, 2) X(3, 1, 2) X(3, 4, 1) X(3, 2, 1) X(3, 1, 1) \
    X(1, 12, 2) X(1, 4, 2) X(1, 2, 2) X(1, 1, 2) X(1, 12, 1) X(1, 4, 1) X(1, 2, 1) X(1, 1, 1)
/* clang-format on */

/* Tiles of a Winograd block, in floats and in 8 bits. */
#define WINO_BATCH 16
#define QUANT_BATCH 24

/* Rows summed side by side by row_moments: enough independent chains to hide the latency of an fma. */
#define MOMENT_ROWS 4

#include "kern/tmpl_conv.h"
#include "kern/tmpl_rows.h"
#include "kern/tmpl_depthwise.h"
#include "kern/tmpl_wino.h"
#include "kern/tmpl_product.h"
#include "kern/tmpl_quant.h"
#include "kern/tmpl_level.h"
