/*
 * avx2.c - the kernels for AVX2 and FMA3: a pixel is two vectors.
 */
#if !defined(__AVX2__) || !defined(__FMA__)
#error "avx2.c needs -mavx2 -mfma"
#endif

#include <immintrin.h>

#include "kern/levels.h"
#include "kern/scalar.h"

#define US_LEVEL us_level_avx2
#define US_LEVEL_NAME "avx2"

/* Vectors: VW floats each, NV to a pixel. */
#define VW 8
#define NV 2

typedef __m256 vf;
typedef __m256 vmask;

static US_INLINE vf v_zero(void) {
    return _mm256_setzero_ps();
}

static US_INLINE vf v_set1(float x) {
    return _mm256_set1_ps(x);
}

static US_INLINE vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}

static US_INLINE void v_store(float *p, vf a) {
    _mm256_storeu_ps(p, a);
}

static US_INLINE vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}

static US_INLINE vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}

static US_INLINE vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}

static US_INLINE vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}

static US_INLINE vf v_sqrt(vf a) {
    return _mm256_sqrt_ps(a);
}

static US_INLINE vf v_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

/* a * b + c, c - a * b and a * b - c, one rounding. */
static US_INLINE vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}

static US_INLINE vf v_fnma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
}

static US_INLINE vf v_fms(vf a, vf b, vf c) {
    return _mm256_fmsub_ps(a, b, c);
}

/* a > b ? a : b and a < b ? a : b: exactly what the instructions do, NaN and -0 included. */
static US_INLINE vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}

static US_INLINE vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}

static US_INLINE vmask v_gt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

static US_INLINE vmask v_ge(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}

/* mask ? a : b */
static US_INLINE vf v_select(vmask mask, vf a, vf b) {
    return _mm256_blendv_ps(b, a, mask);
}

/* ---- int32, and pairs of int16 whose products are added (tmpl_quant.h) ---- */

typedef __m256i vint;
typedef __m256i vw;
typedef __m256i vp;

static US_INLINE vint vi_zero(void) {
    return _mm256_setzero_si256();
}

static US_INLINE vint vi_set1(int x) {
    return _mm256_set1_epi32(x);
}

static US_INLINE vint vi_load(const int32_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static US_INLINE void vi_store(int32_t *p, vint a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}

static US_INLINE vint vi_add(vint a, vint b) {
    return _mm256_add_epi32(a, b);
}

static US_INLINE vf v_from_int(vint a) {
    return _mm256_cvtepi32_ps(a);
}

/* Ties to even: the control word's rounding. */
static US_INLINE vint vi_nearest(vf a) {
    return _mm256_cvtps_epi32(a);
}

static US_INLINE void vw_load(vw w[NV], const int16_t *p) {
    w[0] = _mm256_loadu_si256((const __m256i *)(const void *)p);
    w[1] = _mm256_loadu_si256((const __m256i *)(const void *)(p + US_LANES));
}

static US_INLINE vp vp_set1(const int16_t *p) {
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

static US_INLINE vint vi_madd(vint acc, vp in, const vw *w, const int j) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(in, w[j]));
}

/* The 16 values of a pixel, which fit, as int16; and as bytes. */
static US_INLINE __m256i pixel_int16(const vint a[NV]) {
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a[0], a[1]), 0xd8);
}

static US_INLINE void vi_store16(int16_t *p, const vint a[NV]) {
    _mm256_storeu_si256((__m256i *)(void *)p, pixel_int16(a));
}

static US_INLINE void vi_store8(uint8_t *p, const vint a[NV]) {
    const __m256i h = pixel_int16(a);

    _mm_storeu_si128((__m128i *)(void *)p, _mm_packus_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1)));
}

static US_INLINE void vi_load8(vint a[NV], const uint8_t *p) {
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);

    a[0] = _mm256_cvtepu8_epi32(b);
    a[1] = _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8));
}

/* First step of the tree over 16 lanes: lane l + lane l + 8. */
static US_INLINE __m256 v_fold(const vf a[NV]) {
    return _mm256_add_ps(a[0], a[1]);
}

/*
 * Convolution tiles: TILE_PX pixels by TILE_COLS vectors of output channels, here the two halves of one block. Twelve
 * accumulators, two vectors of weights and one broadcast fill 15 of 16 registers; two loads of weights serve 12 fma.
 */
#define TILE_PX 6
#define TILE_PX_1 6
#define TILE_COLS 2
#define TILE_BLOCKS 1

/* CONV_TILES: X(ksize, pixels, rows, columns) for every width up to TILE_PX, then the tiles that span rows of narrow
 * maps. */
/* clang-format off */
#define CONV_TILES(X, ksize) \
    X(ksize, 1, 1, 2) X(ksize, 2, 1, 2) X(ksize, 3, 1, 2) X(ksize, 4, 1, 2) X(ksize, 5, 1, 2) X(ksize, 6, 1, 2) \
    CONV_TILES_TALL(X, ksize)
#if US_TRAINING /* whose deep maps are narrow */
#define CONV_TILES_TALL(X, ksize) X(ksize, 3, 2, 2) X(ksize, 2, 3, 2)
#else
#define CONV_TILES_TALL(X, ksize)
#endif
#define CONV_TILES_1(X) \
    X(1, 1, 1, 2) X(1, 2, 1, 2) X(1, 3, 1, 2) X(1, 4, 1, 2) X(1, 5, 1, 2) X(1, 6, 1, 2)
/* clang-format on */

/* PRODUCT_TILES: X(rows, columns) for every number of rows up to TILE_PX. */
#define PRODUCT_TILES(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)

/* BWDW_TILES: X(ksize, input channels, columns), widest first; ksize * channels accumulators for each column. */
/* clang-format off */
#define BWDW_TILES(X) \
    X(3, 2, 2) X(3, 1, 2) X(1, 6, 2) X(1, 4, 2) X(1, 2, 2) X(1, 1, 2)
/* clang-format on */

/* Tiles of a Winograd block, in floats and in 8 bits. */
#define WINO_BATCH 16
#define QUANT_BATCH 24

/* Rows summed side by side by row_moments: enough independent chains to hide the latency of an fma. */
#define MOMENT_ROWS 2

#include "kern/tmpl_conv.h"
#include "kern/tmpl_rows.h"
#include "kern/tmpl_depthwise.h"
#include "kern/tmpl_wino.h"
#include "kern/tmpl_product.h"
#include "kern/tmpl_quant.h"
#include "kern/tmpl_level.h"
