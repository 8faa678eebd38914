/*
 * tmpl_rows.h - everything but convolution, written once over the vectors of the including file.
 *
 * Most loops go over a pixel as NV vectors, because constants differ from lane to lane. A kernel whose dst may equal a
 * source loads a whole vector before it stores it.
 */
#include "kern/quad.h"

/* The vectors of a pixel's worth of constants. */
static US_INLINE void v_load_pixel(vf k[NV], const float *p) {
    US_UNROLL
    for (int j = 0; j < NV; j++)
        k[j] = v_load(p + j * VW);
}

static US_INLINE void v_store_pixel(float *p, const vf k[NV]) {
    US_UNROLL
    for (int j = 0; j < NV; j++)
        v_store(p + j * VW, k[j]);
}

/* An affine, lane by lane, of pixels on their way in. No branch where there is none: x * 1 - 0 is x. */
struct affine {
    vf scale, shift;
};

static US_INLINE struct affine affine_lanes(const float *scale, const float *shift, const int vector) {
    struct affine a;

    a.scale = scale ? v_load(scale + vector * VW) : v_set1(1);
    a.shift = scale ? v_load(shift + vector * VW) : v_set1(-0.0f);
    return a;
}

static US_INLINE vf affine_load(const struct affine *a, const int relu, const float *x) {
    const vf u = v_fma(v_load(x), a->scale, a->shift);

    return relu ? v_max(v_zero(), u) : u;
}

/* ---- activations ---- */

static US_INLINE vf v_act(vf u, const int act, vf slope) {
    if (act == US_ACT_RELU)
        return v_max(v_zero(), u);
    if (act == US_ACT_LEAKY_RELU)
        return v_select(v_gt(u, v_zero()), u, v_mul(u, slope));
    if (act == US_ACT_RELU6)
        return v_min(v_set1(6), v_max(v_zero(), u));
    return u;
}

static US_INLINE vf v_act_grad(vf grad, vf u, const int act, vf slope) {
    if (act == US_ACT_RELU)
        return v_select(v_ge(v_zero(), u), v_zero(), grad);
    if (act == US_ACT_LEAKY_RELU)
        return v_select(v_gt(u, v_zero()), grad, v_mul(grad, slope));
    if (act == US_ACT_RELU6)
        return v_select(v_ge(v_zero(), u), v_zero(), v_select(v_ge(u, v_set1(6)), v_zero(), grad));
    return grad;
}

/* Forward if grad is NULL. `act`, `affine` and whether there is a grad are constants. */
static US_INLINE void act_loop(float *dst, const float *grad, const float *x, size_t n, const float *scale,
                               const float *shift, const int act, float slope, const int affine) {
    const vf vslope = v_set1(slope);
    vf k[NV], h[NV];

    US_UNROLL
    for (int j = 0; j < NV; j++) {
        k[j] = affine ? v_load(scale + j * VW) : v_zero();
        h[j] = affine ? v_load(shift + j * VW) : v_zero();
    }
    for (size_t i = 0; i < n * LANES; i += LANES) {
        US_UNROLL
        for (int j = 0; j < NV; j++) {
            vf u = v_load(x + i + j * VW);

            u = affine ? v_fma(u, k[j], h[j]) : u;
            u = grad ? v_act_grad(v_load(grad + i + j * VW), u, act, vslope) : v_act(u, act, vslope);
            v_store(dst + i + j * VW, u);
        }
    }
}

/* SiLU and GELU: the scalar functions, which the compiler vectorises over the lanes of a pixel. */
static US_INLINE void smooth_loop(float *dst, const float *grad, const float *x, size_t n, const float *scale,
                                  const float *shift, const int act, const int backward) {
    for (size_t i = 0; i < n * LANES; i += LANES) {
        float u[LANES];

        for (int l = 0; l < LANES; l++)
            u[l] = scale ? us_fma(x[i + l], scale[l], shift[l]) : x[i + l];
        for (int l = 0; l < LANES; l++) {
            if (backward)
                u[l] = act == US_ACT_SILU ? us_silu_slope(u[l]) : us_gelu_slope(u[l]);
            else
                u[l] = act == US_ACT_SILU ? us_silu(u[l]) : us_gelu(u[l]);
        }
        for (int l = 0; l < LANES; l++)
            dst[i + l] = backward ? grad[i + l] * u[l] : u[l];
    }
}

static US_NOINLINE void affine_act(float *dst, const float *x, size_t n, const float *scale, const float *shift,
                                   int act, float slope) {
    switch (act * 2 + (scale != 0)) {
    case US_ACT_RELU * 2:
        act_loop(dst, 0, x, n, 0, 0, US_ACT_RELU, slope, 0);
        break;
    case US_ACT_RELU * 2 + 1:
        act_loop(dst, 0, x, n, scale, shift, US_ACT_RELU, slope, 1);
        break;
    case US_ACT_LEAKY_RELU * 2:
        act_loop(dst, 0, x, n, 0, 0, US_ACT_LEAKY_RELU, slope, 0);
        break;
    case US_ACT_LEAKY_RELU * 2 + 1:
        act_loop(dst, 0, x, n, scale, shift, US_ACT_LEAKY_RELU, slope, 1);
        break;
    case US_ACT_RELU6 * 2:
        act_loop(dst, 0, x, n, 0, 0, US_ACT_RELU6, slope, 0);
        break;
    case US_ACT_RELU6 * 2 + 1:
        act_loop(dst, 0, x, n, scale, shift, US_ACT_RELU6, slope, 1);
        break;
    case US_ACT_SILU * 2:
    case US_ACT_SILU * 2 + 1:
        smooth_loop(dst, 0, x, n, scale, shift, US_ACT_SILU, 0);
        break;
    case US_ACT_GELU * 2:
    case US_ACT_GELU * 2 + 1:
        smooth_loop(dst, 0, x, n, scale, shift, US_ACT_GELU, 0);
        break;
    case US_ACT_NONE * 2 + 1:
        act_loop(dst, 0, x, n, scale, shift, US_ACT_NONE, slope, 1);
        break;
    default:
        act_loop(dst, 0, x, n, 0, 0, US_ACT_NONE, slope, 0);
        break;
    }
}

static US_NOINLINE void act_grad(float *dst, const float *grad, const float *x, size_t n, const float *scale,
                                 const float *shift, int act, float slope) {
    switch (act * 2 + (scale != 0)) {
    case US_ACT_RELU * 2:
        act_loop(dst, grad, x, n, 0, 0, US_ACT_RELU, slope, 0);
        break;
    case US_ACT_RELU * 2 + 1:
        act_loop(dst, grad, x, n, scale, shift, US_ACT_RELU, slope, 1);
        break;
    case US_ACT_LEAKY_RELU * 2:
        act_loop(dst, grad, x, n, 0, 0, US_ACT_LEAKY_RELU, slope, 0);
        break;
    case US_ACT_LEAKY_RELU * 2 + 1:
        act_loop(dst, grad, x, n, scale, shift, US_ACT_LEAKY_RELU, slope, 1);
        break;
    case US_ACT_RELU6 * 2:
        act_loop(dst, grad, x, n, 0, 0, US_ACT_RELU6, slope, 0);
        break;
    case US_ACT_RELU6 * 2 + 1:
        act_loop(dst, grad, x, n, scale, shift, US_ACT_RELU6, slope, 1);
        break;
    case US_ACT_SILU * 2:
    case US_ACT_SILU * 2 + 1:
        smooth_loop(dst, grad, x, n, scale, shift, US_ACT_SILU, 1);
        break;
    case US_ACT_GELU * 2:
    case US_ACT_GELU * 2 + 1:
        smooth_loop(dst, grad, x, n, scale, shift, US_ACT_GELU, 1);
        break;
    default: /* NONE: the derivative is 1, whatever u is */
        act_loop(dst, 0, grad, n, 0, 0, US_ACT_NONE, slope, 0);
        break;
    }
}

/* ---- weights ---- */

static void conv_flip(float *flipped, const float *weights) {
    for (int tap = 0; tap < 9; tap++, weights += LANES * LANES)
        for (int ci = 0; ci < LANES; ci += 4)
            for (int co = 0; co < LANES; co += 4)
                quad_transpose(flipped + (8 - tap) * LANES * LANES + co * LANES + ci, LANES, weights + ci * LANES + co,
                               LANES);
}

/* ---- pooling, upsampling ---- */

/* Values of one vector of lanes of a 2x2 window: t0 t1 b0 b1. */
static US_INLINE void pool_window(vf u[4], const float *top, const float *bottom, const struct affine *a,
                                  const int relu) {
    u[0] = affine_load(a, relu, top);
    u[1] = affine_load(a, relu, top + LANES);
    u[2] = affine_load(a, relu, bottom);
    u[3] = affine_load(a, relu, bottom + LANES);
}

static US_INLINE void pool_loop(float *dst, const float *top, const float *bottom, size_t n, const float *scale,
                                const float *shift, const int relu) {
    struct affine a[NV];

    US_UNROLL
    for (int j = 0; j < NV; j++)
        a[j] = affine_lanes(scale, shift, j);
    for (size_t x = 0; x < n; x++, dst += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        US_UNROLL
        for (int j = 0; j < NV; j++) {
            vf u[4];

            pool_window(u, top + j * VW, bottom + j * VW, &a[j], relu);
            v_store(dst + j * VW, v_max(u[3], v_max(u[2], v_max(u[1], u[0]))));
        }
    }
}

static void pool(float *dst, const float *top, const float *bottom, size_t n, const float *scale, const float *shift,
                 int relu) {
    if (relu)
        pool_loop(dst, top, bottom, n, scale, shift, 1);
    else
        pool_loop(dst, top, bottom, n, scale, shift, 0);
}

static US_INLINE void pool_grad_loop(float *dtop, float *dbottom, const float *top, const float *bottom,
                                     const float *grad, size_t n, const float *scale, const float *shift,
                                     const int relu, const int accumulate) {
    struct affine a[NV];

    US_UNROLL
    for (int j = 0; j < NV; j++)
        a[j] = affine_lanes(scale, shift, j);
    for (size_t x = 0; x < n; x++) {
        US_UNROLL
        for (int j = 0; j < NV; j++) {
            const size_t left = 2 * x * LANES + j * VW, right = left + LANES;
            const vf g = v_load(grad + x * LANES + j * VW), none = v_zero();
            const vf d0 = accumulate ? v_load(dtop + left) : none, d1 = accumulate ? v_load(dtop + right) : none;
            const vf d2 = accumulate ? v_load(dbottom + left) : none, d3 = accumulate ? v_load(dbottom + right) : none;
            vf u[4], m1, m2;
            vmask win1, win2, win3; /* the last one set wins */

            pool_window(u, top + left, bottom + left, &a[j], relu);
            m1 = v_max(u[1], u[0]);
            m2 = v_max(u[2], m1);
            win1 = v_gt(u[1], u[0]);
            win2 = v_gt(u[2], m1);
            win3 = v_gt(u[3], m2);
            v_store(dtop + left, v_select(win3, d0, v_select(win2, d0, v_select(win1, d0, v_add(d0, g)))));
            v_store(dtop + right, v_select(win3, d1, v_select(win2, d1, v_select(win1, v_add(d1, g), d1))));
            v_store(dbottom + left, v_select(win3, d2, v_select(win2, v_add(d2, g), d2)));
            v_store(dbottom + right, v_select(win3, v_add(d3, g), d3));
        }
    }
}

static void pool_grad(float *dtop, float *dbottom, const float *top, const float *bottom, const float *grad, size_t n,
                      const float *scale, const float *shift, int relu, int accumulate) {
    if (relu && accumulate)
        pool_grad_loop(dtop, dbottom, top, bottom, grad, n, scale, shift, 1, 1);
    else if (relu)
        pool_grad_loop(dtop, dbottom, top, bottom, grad, n, scale, shift, 1, 0);
    else if (accumulate)
        pool_grad_loop(dtop, dbottom, top, bottom, grad, n, scale, shift, 0, 1);
    else
        pool_grad_loop(dtop, dbottom, top, bottom, grad, n, scale, shift, 0, 0);
}

static void up_nearest(float *dst, const float *src, size_t n) {
    for (size_t x = 0; x < n; x++) {
        vf k[NV];

        v_load_pixel(k, src + x * LANES);
        v_store_pixel(dst + 2 * x * LANES, k);
        v_store_pixel(dst + (2 * x + 1) * LANES, k);
    }
}

static void up_nearest_grad(float *dst, const float *top, const float *bottom, size_t n) {
    for (size_t x = 0; x < n; x++, dst += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        US_UNROLL
        for (int j = 0; j < LANES; j += VW)
            v_store(dst + j, v_add(v_add(v_load(top + j), v_load(top + LANES + j)),
                                   v_add(v_load(bottom + j), v_load(bottom + LANES + j))));
    }
}

static void up_bilinear(float *dst, const float *near, const float *far, size_t n, float *tmp) {
    const vf quarter = v_set1(0.25f), rest = v_set1(0.75f);

    for (size_t i = 0; i < n * LANES; i += VW)
        v_store(tmp + i, v_fma(quarter, v_load(far + i), v_mul(rest, v_load(near + i))));
    for (size_t x = 0; x < n; x++) {
        const float *v = tmp + x * LANES;
        const float *left = x > 0 ? v - LANES : v, *right = x + 1 < n ? v + LANES : v;

        for (int j = 0; j < LANES; j += VW) {
            const vf own = v_mul(rest, v_load(v + j));

            v_store(dst + 2 * x * LANES + j, v_fma(quarter, v_load(left + j), own));
            v_store(dst + (2 * x + 1) * LANES + j, v_fma(quarter, v_load(right + j), own));
        }
    }
}

static void up_bilinear_grad(float *dst, const float *g, size_t n, float weight) {
    const vf quarter = v_set1(0.25f), rest = v_set1(0.75f), w = v_set1(weight);

    for (size_t x = 0; x < n; x++)
        for (int j = 0; j < LANES; j += VW) {
            const float *even = g + 2 * x * LANES + j, *odd = even + LANES;
            vf h = v_zero();

            if (x > 0)
                h = v_fma(quarter, v_load(even - LANES), h);
            h = v_fma(rest, v_load(even), h);
            if (x == 0)
                h = v_fma(quarter, v_load(even), h);
            h = v_fma(rest, v_load(odd), h);
            h = v_fma(quarter, v_load(x + 1 == n ? odd : odd + LANES), h);
            v_store(dst + x * LANES + j, v_fma(w, h, v_load(dst + x * LANES + j)));
        }
}

/* ---- element-wise ---- */

static void add(float *dst, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n * LANES; i += VW)
        v_store(dst + i, v_add(v_load(a + i), v_load(b + i)));
}

static void mul(float *dst, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n * LANES; i += VW)
        v_store(dst + i, v_mul(v_load(a + i), v_load(b + i)));
}

/* ---- norms ---- */

/* `rows` (a constant) rows side by side. With g: sums of g and of g * (x - mean); without: of d = x - mean and d * d.
 */
static US_INLINE void moments(float *sums, const float *g, const float *x, size_t n, size_t stride, const float *mean,
                              const int rows) {
    vf sum[MOMENT_ROWS][NV], dot[MOMENT_ROWS][NV], mid[NV];

    v_load_pixel(mid, mean);
    US_UNROLL
    for (int i = 0; i < rows * NV; i++)
        sum[i / NV][i % NV] = dot[i / NV][i % NV] = v_zero();
    for (size_t p = 0; p < n * LANES; p += LANES) {
        US_UNROLL
        for (int i = 0; i < rows * NV; i++) {
            const size_t at = (size_t)(i / NV) * stride + p + (size_t)(i % NV * VW);
            const vf d = v_sub(v_load(x + at), mid[i % NV]), f = g ? v_load(g + at) : d;

            sum[i / NV][i % NV] = v_add(sum[i / NV][i % NV], f);
            dot[i / NV][i % NV] = v_fma(f, d, dot[i / NV][i % NV]);
        }
    }
    US_UNROLL
    for (int i = 0; i < rows; i++) {
        v_store_pixel(sums + i * 2 * LANES, sum[i]);
        v_store_pixel(sums + i * 2 * LANES + LANES, dot[i]);
    }
}

static void row_moments(float *sums, const float *x, size_t rows, size_t n, size_t stride, const float *shift) {
    size_t r = 0;

    for (; r + MOMENT_ROWS <= rows; r += MOMENT_ROWS)
        moments(sums + r * 2 * LANES, 0, x + r * stride, n, stride, shift, MOMENT_ROWS);
    for (; r < rows; r++)
        moments(sums + r * 2 * LANES, 0, x + r * stride, n, stride, shift, 1);
}

static void row_moments_grad(float *sums, const float *g, const float *x, size_t rows, size_t n, size_t stride,
                             const float *mean) {
    size_t r = 0;

    for (; r + MOMENT_ROWS <= rows; r += MOMENT_ROWS)
        moments(sums + r * 2 * LANES, g + r * stride, x + r * stride, n, stride, mean, MOMENT_ROWS);
    for (; r < rows; r++)
        moments(sums + r * 2 * LANES, g + r * stride, x + r * stride, n, stride, mean, 1);
}

static void norm_grad(float *dst, const float *g, const float *x, size_t n, const float *mean, const float *k0,
                      const float *k1, const float *k2) {
    vf mid[NV], scale[NV], bias[NV], slope[NV];

    v_load_pixel(mid, mean);
    v_load_pixel(scale, k0);
    v_load_pixel(bias, k1);
    v_load_pixel(slope, k2);
    for (size_t i = 0; i < n * LANES; i += LANES) {
        US_UNROLL
        for (int j = 0; j < NV; j++) {
            const vf d = v_sub(mid[j], v_load(x + i + j * VW));

            v_store(dst + i + j * VW, v_fma(scale[j], v_load(g + i + j * VW), v_fms(d, slope[j], bias[j])));
        }
    }
}

/* ---- head ---- */

/* Chains over the blocks for `px` (a constant) pixels from x on. */
static US_INLINE void head_chains(vf acc[4][NV], const float *const *in, const float *w, int blocks, size_t x,
                                  const int px) {
    US_UNROLL
    for (int i = 0; i < px * NV; i++)
        acc[i / NV][i % NV] = v_zero();
    for (int b = 0; b < blocks; b++, w += LANES) {
        const float *s = in[b] + x * LANES;

        US_UNROLL
        for (int j = 0; j < NV; j++) {
            const vf weight = v_load(w + j * VW);

            US_UNROLL
            for (int i = 0; i < px; i++)
                acc[i][j] = v_fma(v_load(s + i * LANES + j * VW), weight, acc[i][j]);
        }
    }
}

static void head(float *const *out, const float *const *in, const float *weights, const float *bias, int blocks,
                 int classes, size_t n) {
    for (int c = 0; c < classes; c++, weights += blocks * LANES) {
        vf acc[4][NV];
        size_t x = 0;

        for (; x + 4 <= n; x += 4) {
            head_chains(acc, in, weights, blocks, x, 4);
            quad_store(out[c] + x, quad_add(quad_sum4(quad_fold(v_fold(acc[0])), quad_fold(v_fold(acc[1])),
                                                      quad_fold(v_fold(acc[2])), quad_fold(v_fold(acc[3]))),
                                            quad_set1(bias[c])));
        }
        for (; x < n; x++) {
            head_chains(acc, in, weights, blocks, x, 1);
            out[c][x] = quad_sum(quad_fold(v_fold(acc[0]))) + bias[c];
        }
    }
}

static void head_grad_data(float *const *din, const float *const *dlogit, const float *weights, int blocks, int classes,
                           size_t n, int accumulate) {
    for (int b = 0; b < blocks; b++)
        for (size_t x = 0; x < n; x++) {
            float *d = din[b] + x * LANES;
            vf acc[NV];

            US_UNROLL
            for (int j = 0; j < NV; j++)
                acc[j] = accumulate ? v_load(d + j * VW) : v_zero();
            for (int c = 0; c < classes; c++) {
                const vf grad = v_set1(dlogit[c][x]);
                const float *w = weights + (c * blocks + b) * LANES;

                US_UNROLL
                for (int j = 0; j < NV; j++)
                    acc[j] = v_fma(grad, v_load(w + j * VW), acc[j]);
            }
            v_store_pixel(d, acc);
        }
}

/* `classes` by `count` blocks (constants, at most 2) from class c and block b on: independent chains side by side. */
static US_INLINE void head_dots(float *dw, const float *const *in, const float *const *dlogit, int blocks, size_t n,
                                const int classes, const int count) {
    vf acc[4][NV];

    US_UNROLL
    for (int i = 0; i < classes * count * NV; i++)
        acc[i / NV][i % NV] = v_zero();
    for (size_t x = 0; x < n; x++) {
        US_UNROLL
        for (int i = 0; i < classes * count * NV; i++) {
            const int chain = i / NV, c = chain / count, b = chain % count;

            acc[chain][i % NV] =
                v_fma(v_set1(dlogit[c][x]), v_load(in[b] + x * LANES + i % NV * VW), acc[chain][i % NV]);
        }
    }
    US_UNROLL
    for (int i = 0; i < classes * count; i++)
        v_store_pixel(dw + (i / count * blocks + i % count) * LANES, acc[i]);
}

static void head_grad_weights(float *dw, float *db, const float *const *in, const float *const *dlogit, int blocks,
                              int classes, size_t n) {
    for (int c = 0; c < classes; c++) {
        float sum = 0;

        for (size_t x = 0; x < n; x++)
            sum += dlogit[c][x]; /* fma(d, 1, s) is d + s */
        db[c] = sum;
    }
    for (int c = 0; c < classes; c += 2)
        for (int b = 0; b < blocks; b += 2) {
            float *const at = dw + (c * blocks + b) * LANES;
            const int two_classes = c + 1 < classes, two_blocks = b + 1 < blocks;

            if (two_classes && two_blocks)
                head_dots(at, in + b, dlogit + c, blocks, n, 2, 2);
            else if (two_classes)
                head_dots(at, in + b, dlogit + c, blocks, n, 2, 1);
            else if (two_blocks)
                head_dots(at, in + b, dlogit + c, blocks, n, 1, 2);
            else
                head_dots(at, in + b, dlogit + c, blocks, n, 1, 1);
        }
}

/* ---- flat ---- */

static float block_sum_squares(const float *x, size_t n) {
    vf acc[NV];
    float tail[LANES] = {0};
    size_t i = 0;

    US_UNROLL
    for (int j = 0; j < NV; j++)
        acc[j] = v_zero();
    for (; i + LANES <= n; i += LANES) {
        US_UNROLL
        for (int j = 0; j < NV; j++)
            acc[j] = v_fma(v_load(x + i + j * VW), v_load(x + i + j * VW), acc[j]);
    }
    /* Adding 0 * 0 leaves a sum of squares as it is: such a sum is never -0. */
    memcpy(tail, x + i, (n - i) * sizeof *tail);
    US_UNROLL
    for (int j = 0; j < NV; j++)
        acc[j] = v_fma(v_load(tail + j * VW), v_load(tail + j * VW), acc[j]);
    return quad_sum(quad_fold(v_fold(acc)));
}

static US_INLINE vf v_optim_grad(vf g, vf p, const struct us_optim_consts *c) {
    g = v_mul(g, v_set1(c->grad_scale));
    return c->l2 != 0 ? v_fma(v_set1(c->l2), p, g) : g;
}

static US_INLINE vf v_decay(vf p, const struct us_optim_consts *c) {
    return c->decay != 1 ? v_mul(p, v_set1(c->decay)) : p;
}

static void adam(float *p, const float *g, float *m, float *v, size_t n, const struct us_optim_consts *c) {
    const struct us_optim_consts k = *c; /* a copy: p, m and v could hide the original from the compiler */
    const vf tiny = v_set1(0x1p-100f);

    for (size_t i = 0; i < n; i += VW) {
        const vf old = v_load(p + i), gi = v_optim_grad(v_load(g + i), old, &k);
        vf mi = v_load(m + i), vi = v_load(v + i), denom;

        mi = v_fma(v_set1(k.one_minus_beta1), v_sub(gi, mi), mi);
        mi = v_select(v_gt(tiny, v_abs(mi)), v_zero(), mi);
        vi = v_fma(v_mul(gi, v_set1(k.one_minus_beta2)), gi, v_mul(vi, v_set1(k.beta2)));
        vi = v_select(v_gt(tiny, vi), v_zero(), vi);
        denom = v_fma(v_sqrt(vi), v_set1(k.inv_bias2), v_set1(k.eps));
        v_store(m + i, mi);
        v_store(v + i, vi);
        v_store(p + i, v_fma(v_set1(-k.step), v_div(mi, denom), v_decay(old, &k)));
    }
}

static void sgd(float *p, const float *g, float *m, size_t n, const struct us_optim_consts *c) {
    const struct us_optim_consts k = *c;

    for (size_t i = 0; i < n; i += VW) {
        const vf old = v_load(p + i), gi = v_optim_grad(v_load(g + i), old, &k);
        vf mi = v_fma(v_set1(k.momentum), v_load(m + i), gi);

        mi = v_select(v_gt(v_set1(0x1p-100f), v_abs(mi)), v_zero(), mi);
        v_store(m + i, mi);
        v_store(p + i, v_fma(v_set1(-k.step), mi, v_decay(old, &k)));
    }
}
