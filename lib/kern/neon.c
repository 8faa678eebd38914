/*
 * neon.c - the kernels for AArch64 Advanced SIMD, which every such processor has: a pixel is four vectors.
 */
#if !defined(__aarch64__)
#error "neon.c is for AArch64"
#endif

#include <arm_neon.h>

#include "kern/levels.h"
#include "kern/scalar.h"

#define US_LEVEL us_level_neon
#define US_LEVEL_NAME "neon"

/* Vectors: VW floats each, NV to a pixel. */
#define VW 4
#define NV 4

typedef float32x4_t vf;
typedef uint32x4_t vmask;

static US_INLINE vf v_zero(void) {
    return vdupq_n_f32(0);
}

static US_INLINE vf v_set1(float x) {
    return vdupq_n_f32(x);
}

static US_INLINE vf v_load(const float *p) {
    return vld1q_f32(p);
}

static US_INLINE void v_store(float *p, vf a) {
    vst1q_f32(p, a);
}

static US_INLINE vf v_add(vf a, vf b) {
    return vaddq_f32(a, b);
}

static US_INLINE vf v_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}

static US_INLINE vf v_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}

static US_INLINE vf v_div(vf a, vf b) {
    return vdivq_f32(a, b);
}

static US_INLINE vf v_sqrt(vf a) {
    return vsqrtq_f32(a);
}

static US_INLINE vf v_abs(vf a) {
    return vabsq_f32(a);
}

/* a * b + c, c - a * b and a * b - c, one rounding. There is no instruction for the last one; the negative of the second
 * would give an exact cancellation the other sign of zero, so c is negated instead. */
static US_INLINE vf v_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}

static US_INLINE vf v_fnma(vf a, vf b, vf c) {
    return vfmsq_f32(c, a, b);
}

static US_INLINE vf v_fms(vf a, vf b, vf c) {
    return vfmaq_f32(vnegq_f32(c), a, b);
}

static US_INLINE vmask v_gt(vf a, vf b) {
    return vcgtq_f32(a, b);
}

static US_INLINE vmask v_ge(vf a, vf b) {
    return vcgeq_f32(a, b);
}

/* mask ? a : b */
static US_INLINE vf v_select(vmask mask, vf a, vf b) {
    return vbslq_f32(mask, a, b);
}

/* a > b ? a : b and a < b ? a : b. FMAX and FMIN would return any NaN and order the zeros. */
static US_INLINE vf v_max(vf a, vf b) {
    return v_select(vcgtq_f32(a, b), a, b);
}

static US_INLINE vf v_min(vf a, vf b) {
    return v_select(vcltq_f32(a, b), a, b);
}

/* ---- int32, and pairs of int16 whose products are added (tmpl_quant.h) ---- */

typedef int32x4_t vint;
typedef int16x8_t vw; /* of eight outputs: even j the first input of a pair, odd j the second */
typedef struct {
    int16x8_t first, second;
} vp;

static US_INLINE vint vi_zero(void) {
    return vdupq_n_s32(0);
}

static US_INLINE vint vi_set1(int x) {
    return vdupq_n_s32(x);
}

static US_INLINE vint vi_load(const int32_t *p) {
    return vld1q_s32(p);
}

static US_INLINE void vi_store(int32_t *p, vint a) {
    vst1q_s32(p, a);
}

static US_INLINE vint vi_add(vint a, vint b) {
    return vaddq_s32(a, b);
}

static US_INLINE vf v_from_int(vint a) {
    return vcvtq_f32_s32(a);
}

static US_INLINE vint vi_nearest(vf a) {
    return vcvtnq_s32_f32(a);
}

static US_INLINE void vw_load(vw w[NV], const int16_t *p) {
    const int16x8x2_t low = vld2q_s16(p), high = vld2q_s16(p + US_LANES);

    w[0] = low.val[0];
    w[1] = low.val[1];
    w[2] = high.val[0];
    w[3] = high.val[1];
}

static US_INLINE vp vp_set1(const int16_t *p) {
    const vp pair = {vld1q_dup_s16(p), vld1q_dup_s16(p + 1)};

    return pair;
}

/* Outputs 4j .. 4j + 3. */
static US_INLINE vint vi_madd(vint acc, vp in, const vw *w, const int j) {
    const int at = j / 2 * 2;

    if (j % 2)
        return vmlal_high_s16(vmlal_high_s16(acc, w[at], in.first), w[at + 1], in.second);
    return vmlal_s16(vmlal_s16(acc, vget_low_s16(w[at]), vget_low_s16(in.first)), vget_low_s16(w[at + 1]),
                     vget_low_s16(in.second));
}

/* The 16 values of a pixel, which fit, as int16; and as bytes. */
static US_INLINE void vi_store16(int16_t *p, const vint a[NV]) {
    vst1q_s16(p, vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1])));
    vst1q_s16(p + 8, vcombine_s16(vmovn_s32(a[2]), vmovn_s32(a[3])));
}

static US_INLINE void vi_store8(uint8_t *p, const vint a[NV]) {
    const int16x8_t low = vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(a[2]), vmovn_s32(a[3]));

    vst1q_u8(p, vcombine_u8(vmovn_u16(vreinterpretq_u16_s16(low)), vmovn_u16(vreinterpretq_u16_s16(high))));
}

static US_INLINE void vi_load8(vint a[NV], const uint8_t *p) {
    const uint8x16_t b = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(b)), high = vmovl_u8(vget_high_u8(b));

    a[0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low)));
    a[1] = vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low)));
    a[2] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high)));
    a[3] = vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)));
}

/* First step of the tree over 16 lanes: lane l + lane l + 8. */
static US_INLINE float32x4x2_t v_fold(const vf a[NV]) {
    const float32x4x2_t t8 = {{vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3])}};

    return t8;
}

/*
 * Convolution tiles: TILE_PX pixels by TILE_COLS vectors of output channels, here the four quarters of one block. 24
 * accumulators, four vectors of weights and one broadcast fill 29 of 32 registers; four loads of weights serve 24 fma.
 */
#define TILE_PX 6
#define TILE_PX_1 6
#define TILE_COLS 4
#define TILE_BLOCKS 1

/* CONV_TILES: X(ksize, pixels, rows, columns) for every width up to TILE_PX, then the tiles that span rows of narrow
 * maps. */
/* clang-format off */
#define CONV_TILES(X, ksize) \
    X(ksize, 1, 1, 4) X(ksize, 2, 1, 4) X(ksize, 3, 1, 4) X(ksize, 4, 1, 4) X(ksize, 5, 1, 4) X(ksize, 6, 1, 4) \
    X(ksize, 3, 2, 4) X(ksize, 2, 3, 4)
#define CONV_TILES_1(X) \
    X(1, 1, 1, 4) X(1, 2, 1, 4) X(1, 3, 1, 4) X(1, 4, 1, 4) X(1, 5, 1, 4) X(1, 6, 1, 4)
/* clang-format on */

/* PRODUCT_TILES: X(rows, columns) for every number of rows up to TILE_PX. */
#define PRODUCT_TILES(X) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)

/* BWDW_TILES: X(ksize, input channels, columns), widest first; ksize * channels accumulators for each column. */
/* clang-format off */
#define BWDW_TILES(X) \
    X(3, 2, 4) X(3, 1, 4) X(1, 6, 4) X(1, 4, 4) X(1, 2, 4) X(1, 1, 4)
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
