/*
 * ref.c - the kernels in their plain form. This file is the authority on every bit; read it beside kern.h.
 *
 * It is compiled twice: for any CPU (us_fma in software), and with hardware fma as the level "reference+fma". It shares
 * nothing with the SIMD files but scalar.h. Loops run in the canonical order; the innermost loop over lanes or output
 * channels, which are independent, is left to the compiler to vectorise.
 */
#include "kern/levels.h"
#include "kern/scalar.h"

#include <math.h>

#ifdef US_REFERENCE_FMA
#define US_LEVEL us_level_reference_fma
#define US_WINO us_wino_reference_fma
#define US_QUANT us_quant_reference_fma
#define US_LEVEL_NAME "reference+fma"
#if !defined(__FMA__) && !defined(__aarch64__)
#error "the level reference+fma needs -mfma"
#endif
#else
#define US_LEVEL us_level_reference
#define US_WINO us_wino_reference
#define US_QUANT us_quant_reference
#define US_LEVEL_NAME "reference"
#endif

enum { LANES = US_LANES };

/* One pixel of one output block: 16 chains over the live input lanes. */
static void conv_pixel(float acc[LANES], const struct us_conv *c, int o, int r, int x) {
    const int in_rows = c->rows + c->ksize - 1;
    const float *w = c->weights + (size_t)o * c->in_blocks * c->ksize * c->ksize * LANES * LANES;

    for (int b = 0; b < c->in_blocks; b++) {
        const int live = b == c->in_blocks - 1 ? c->last_channels : LANES;

        for (int ky = 0; ky < c->ksize; ky++)
            for (int kx = 0; kx < c->ksize; kx++, w += LANES * LANES) {
                const float *in = c->in[b * in_rows + r + ky] + ((size_t)x * c->in_step + kx) * LANES;

                for (int ci = 0; ci < live; ci++)
                    for (int co = 0; co < LANES; co++)
                        acc[co] = us_fma(in[ci], w[ci * LANES + co], acc[co]);
            }
    }
}

static void conv(const struct us_conv *c) {
    for (int o = 0; o < c->out_blocks; o++)
        for (int r = 0; r < c->rows; r++)
            for (int x = 0; x < c->width; x++) {
                float *out = c->out[o * c->rows + r] + (size_t)x * c->out_step * LANES;
                float acc[LANES];

                for (int co = 0; co < LANES; co++)
                    acc[co] = c->accumulate ? out[co] : 0.0f;
                conv_pixel(acc, c, o, r, x);
                for (int co = 0; co < LANES; co++) {
                    if (c->last_channels < LANES)
                        acc[co] += 0.0f; /* the dead lanes' share: -0 becomes +0 */
                    if (c->bias)
                        acc[co] += c->bias[o * LANES + co];
                    out[co] = acc[co];
                }
            }
}

static void conv_bwdw(const struct us_conv_bwdw *c) {
    for (int o = 0; o < c->out_blocks; o++)
        for (int ky = 0; ky < c->ksize; ky++)
            for (int kx = 0; kx < c->ksize; kx++)
                for (int ci = 0; ci < c->channels; ci++) {
                    float *dw = c->dw + o * c->dw_stride + ((ky * c->ksize + kx) * LANES + ci) * LANES;

                    for (int r = 0; r < c->rows; r++)
                        for (int x = 0; x < c->width; x++) {
                            const float in = c->in[r + ky][((size_t)x * c->in_step + kx) * LANES + ci];
                            const float *dout = c->dout[o * c->rows + r] + (size_t)x * c->dout_step * LANES;

                            for (int co = 0; co < LANES; co++)
                                dw[co] = us_fma(in, dout[co], dw[co]);
                        }
                }
}

static float activation(float u, int act, float slope) {
    switch (act) {
    case US_ACT_RELU:
        return 0 > u ? 0 : u;
    case US_ACT_LEAKY_RELU:
        return u > 0 ? u : u * slope;
    case US_ACT_RELU6:
        u = 0 > u ? 0 : u;
        return u > 6 ? 6 : u;
    case US_ACT_SILU:
        return us_silu(u);
    case US_ACT_GELU:
        return us_gelu(u);
    default:
        return u;
    }
}

static void affine_act(float *dst, const float *x, size_t n, const float *scale, const float *shift, int act,
                       float slope) {
    for (size_t i = 0; i < n * LANES; i++) {
        const float u = scale ? us_fma(x[i], scale[i % LANES], shift[i % LANES]) : x[i];
        dst[i] = activation(u, act, slope);
    }
}

static float activation_grad(float grad, float u, int act, float slope) {
    switch (act) {
    case US_ACT_RELU:
        return 0 >= u ? 0 : grad;
    case US_ACT_LEAKY_RELU:
        return u > 0 ? grad : grad * slope;
    case US_ACT_RELU6:
        return 0 >= u || u >= 6 ? 0 : grad;
    case US_ACT_SILU:
        return grad * us_silu_slope(u);
    case US_ACT_GELU:
        return grad * us_gelu_slope(u);
    default:
        return grad;
    }
}

static void act_grad(float *dst, const float *grad, const float *x, size_t n, const float *scale, const float *shift,
                     int act, float slope) {
    for (size_t i = 0; i < n * LANES; i++) {
        const float u = scale ? us_fma(x[i], scale[i % LANES], shift[i % LANES]) : x[i];
        dst[i] = activation_grad(grad[i], u, act, slope);
    }
}

static void conv_flip(float *flipped, const float *weights) {
    for (int tap = 0; tap < 9; tap++)
        for (int ci = 0; ci < LANES; ci++)
            for (int co = 0; co < LANES; co++)
                flipped[((8 - tap) * LANES + co) * LANES + ci] = weights[(tap * LANES + ci) * LANES + co];
}

static float pool_value(const float *x, size_t i, const float *scale, const float *shift, int relu) {
    const float u = scale ? us_fma(x[i], scale[i % LANES], shift[i % LANES]) : x[i];

    return relu && 0 > u ? 0 : u;
}

static void pool(float *dst, const float *top, const float *bottom, size_t n, const float *scale, const float *shift,
                 int relu) {
    for (size_t x = 0; x < n; x++)
        for (int l = 0; l < LANES; l++) {
            const size_t left = 2 * x * LANES + l, right = left + LANES;
            const float t1 = pool_value(top, right, scale, shift, relu);
            const float b0 = pool_value(bottom, left, scale, shift, relu);
            const float b1 = pool_value(bottom, right, scale, shift, relu);
            float m = pool_value(top, left, scale, shift, relu);

            m = t1 > m ? t1 : m;
            m = b0 > m ? b0 : m;
            m = b1 > m ? b1 : m;
            dst[x * LANES + l] = m;
        }
}

static void pool_grad(float *dtop, float *dbottom, const float *top, const float *bottom, const float *grad, size_t n,
                      const float *scale, const float *shift, int relu, int accumulate) {
    if (!accumulate) {
        memset(dtop, 0, 2 * n * LANES * sizeof *dtop);
        memset(dbottom, 0, 2 * n * LANES * sizeof *dbottom);
    }
    for (size_t x = 0; x < n; x++)
        for (int l = 0; l < LANES; l++) {
            const size_t left = 2 * x * LANES + l, right = left + LANES;
            const float t1 = pool_value(top, right, scale, shift, relu);
            const float b0 = pool_value(bottom, left, scale, shift, relu);
            const float b1 = pool_value(bottom, right, scale, shift, relu);
            float m = pool_value(top, left, scale, shift, relu);
            float *winner = &dtop[left];

            if (t1 > m) {
                m = t1;
                winner = &dtop[right];
            }
            if (b0 > m) {
                m = b0;
                winner = &dbottom[left];
            }
            if (b1 > m)
                winner = &dbottom[right];
            *winner += grad[x * LANES + l];
        }
}

static void up_nearest(float *dst, const float *src, size_t n) {
    for (size_t x = 0; x < 2 * n; x++)
        for (int l = 0; l < LANES; l++)
            dst[x * LANES + l] = src[x / 2 * LANES + l];
}

static void up_nearest_grad(float *dst, const float *top, const float *bottom, size_t n) {
    for (size_t x = 0; x < n; x++)
        for (int l = 0; l < LANES; l++) {
            const size_t left = 2 * x * LANES + l, right = left + LANES;
            dst[x * LANES + l] = (top[left] + top[right]) + (bottom[left] + bottom[right]);
        }
}

static void up_bilinear(float *dst, const float *near, const float *far, size_t n, float *tmp) {
    for (size_t i = 0; i < n * LANES; i++)
        tmp[i] = us_fma(0.25f, far[i], 0.75f * near[i]);
    for (size_t x = 0; x < n; x++) {
        const float *v = tmp + x * LANES;
        const float *left = x > 0 ? v - LANES : v, *right = x + 1 < n ? v + LANES : v;

        for (int l = 0; l < LANES; l++) {
            dst[2 * x * LANES + l] = us_fma(0.25f, left[l], 0.75f * v[l]);
            dst[(2 * x + 1) * LANES + l] = us_fma(0.25f, right[l], 0.75f * v[l]);
        }
    }
}

static void up_bilinear_grad(float *dst, const float *g, size_t n, float weight) {
    for (size_t x = 0; x < n; x++)
        for (int l = 0; l < LANES; l++) {
            const float *even = g + 2 * x * LANES + l, *odd = even + LANES;
            float h = 0;

            if (x > 0)
                h = us_fma(0.25f, even[-LANES], h);
            h = us_fma(0.75f, *even, h);
            if (x == 0)
                h = us_fma(0.25f, *even, h);
            h = us_fma(0.75f, *odd, h);
            if (x + 1 == n)
                h = us_fma(0.25f, *odd, h);
            else
                h = us_fma(0.25f, odd[LANES], h);
            dst[x * LANES + l] = us_fma(weight, h, dst[x * LANES + l]);
        }
}

static void add(float *dst, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = a[i] + b[i];
}

static void mul(float *dst, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = a[i] * b[i];
}

static void depthwise(float *dst, const float *const *in, size_t n, const float *weights, const float *bias, int ksize) {
    for (size_t x = 0; x < n; x++)
        for (int l = 0; l < LANES; l++) {
            float acc = bias ? bias[l] : 0.0f;

            for (int tap = 0; tap < ksize * ksize; tap++)
                acc = us_fma(in[tap / ksize][(x + (size_t)(tap % ksize)) * LANES + l], weights[tap * LANES + l], acc);
            dst[x * LANES + l] = acc;
        }
}

static void depthwise_bwdw(float *dw, const float *const *in, const float *dout, size_t n) {
    for (int tap = 0; tap < 9; tap++)
        for (int l = 0; l < LANES; l++) {
            float acc = 0;

            for (size_t x = 0; x < n; x++)
                acc = us_fma(in[tap / 3][(x + (size_t)(tap % 3)) * LANES + l], dout[x * LANES + l], acc);
            dw[tap * LANES + l] = acc;
        }
}

static void row_moments(float *sums, const float *x, size_t rows, size_t n, size_t stride, const float *shift) {
    for (size_t r = 0; r < rows; r++, x += stride, sums += 2 * LANES) {
        for (int l = 0; l < 2 * LANES; l++)
            sums[l] = 0;
        for (size_t i = 0; i < n; i++)
            for (int l = 0; l < LANES; l++) {
                const float d = x[i * LANES + l] - shift[l];
                sums[l] += d;
                sums[LANES + l] = us_fma(d, d, sums[LANES + l]);
            }
    }
}

static void row_moments_grad(float *sums, const float *g, const float *x, size_t rows, size_t n, size_t stride,
                             const float *mean) {
    for (size_t r = 0; r < rows; r++, g += stride, x += stride, sums += 2 * LANES) {
        for (int l = 0; l < 2 * LANES; l++)
            sums[l] = 0;
        for (size_t i = 0; i < n; i++)
            for (int l = 0; l < LANES; l++) {
                sums[l] += g[i * LANES + l];
                sums[LANES + l] = us_fma(g[i * LANES + l], x[i * LANES + l] - mean[l], sums[LANES + l]);
            }
    }
}

static void norm_grad(float *dst, const float *g, const float *x, size_t n, const float *mean, const float *k0,
                      const float *k1, const float *k2) {
    for (size_t i = 0; i < n; i++)
        for (int l = 0; l < LANES; l++) {
            const float d = mean[l] - x[i * LANES + l];
            dst[i * LANES + l] = us_fma(k0[l], g[i * LANES + l], us_fma(d, k2[l], -k1[l]));
        }
}

/* The one tree over 16 lanes. */
static float sum_lanes(float t[LANES]) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            t[l] = t[l] + t[l + half];
    return t[0];
}

static void head(float *const *out, const float *const *in, const float *weights, const float *bias, int blocks,
                 int classes, size_t n) {
    for (int c = 0; c < classes; c++)
        for (size_t x = 0; x < n; x++) {
            float acc[LANES] = {0};

            for (int b = 0; b < blocks; b++)
                for (int l = 0; l < LANES; l++)
                    acc[l] = us_fma(in[b][x * LANES + l], weights[(c * blocks + b) * LANES + l], acc[l]);
            out[c][x] = sum_lanes(acc) + bias[c];
        }
}

static void head_grad_data(float *const *din, const float *const *dlogit, const float *weights, int blocks, int classes,
                           size_t n, int accumulate) {
    for (int b = 0; b < blocks; b++)
        for (size_t x = 0; x < n; x++)
            for (int l = 0; l < LANES; l++) {
                float acc = accumulate ? din[b][x * LANES + l] : 0.0f;

                for (int c = 0; c < classes; c++)
                    acc = us_fma(dlogit[c][x], weights[(c * blocks + b) * LANES + l], acc);
                din[b][x * LANES + l] = acc;
            }
}

static void head_grad_weights(float *dw, float *db, const float *const *in, const float *const *dlogit, int blocks,
                              int classes, size_t n) {
    for (int c = 0; c < classes; c++) {
        db[c] = 0;
        for (size_t x = 0; x < n; x++)
            db[c] += dlogit[c][x]; /* fma(d, 1, s) is d + s */
        for (int b = 0; b < blocks; b++) {
            float acc[LANES] = {0};

            for (size_t x = 0; x < n; x++)
                for (int l = 0; l < LANES; l++)
                    acc[l] = us_fma(dlogit[c][x], in[b][x * LANES + l], acc[l]);
            for (int l = 0; l < LANES; l++)
                dw[(c * blocks + b) * LANES + l] = acc[l];
        }
    }
}

static float block_sum_squares(const float *x, size_t n) {
    float acc[LANES] = {0};

    for (size_t i = 0; i < n; i++)
        acc[i % LANES] = us_fma(x[i], x[i], acc[i % LANES]);
    return sum_lanes(acc);
}

/* Moments that have died out are cut here, by a written compare, since no flush-to-zero mode is ever set. */
static float cut_small(float m) {
    return fabsf(m) < 0x1p-100f ? 0 : m;
}

static float optim_grad(float g, float p, const struct us_optim_consts *c) {
    g = g * c->grad_scale;
    return c->l2 != 0 ? us_fma(c->l2, p, g) : g;
}

static void adam(float *p, const float *g, float *m, float *v, size_t n, const struct us_optim_consts *c) {
    for (size_t i = 0; i < n; i++) {
        const float gi = optim_grad(g[i], p[i], c);
        const float pi = c->decay != 1 ? p[i] * c->decay : p[i];

        m[i] = cut_small(us_fma(c->one_minus_beta1, gi - m[i], m[i]));
        v[i] = us_fma(gi * c->one_minus_beta2, gi, v[i] * c->beta2);
        v[i] = v[i] < 0x1p-100f ? 0 : v[i];
        p[i] = us_fma(-c->step, m[i] / us_fma(sqrtf(v[i]), c->inv_bias2, c->eps), pi);
    }
}

static void sgd(float *p, const float *g, float *m, size_t n, const struct us_optim_consts *c) {
    for (size_t i = 0; i < n; i++) {
        const float gi = optim_grad(g[i], p[i], c);
        const float pi = c->decay != 1 ? p[i] * c->decay : p[i];

        m[i] = cut_small(us_fma(c->momentum, m[i], gi));
        p[i] = us_fma(-c->step, m[i], pi);
    }
}

int US_LEVEL(struct us_kernels *k) {
    if (us_contracted() || US_WINO(k) || US_QUANT(k))
        return -1;
    k->name = US_LEVEL_NAME;
    k->conv = conv;
    k->depthwise = depthwise;
    k->affine_act = affine_act;
    k->pool = pool;
    k->up_nearest = up_nearest;
    k->up_bilinear = up_bilinear;
    k->add = add;
    k->mul = mul;
    k->row_moments = row_moments;
    k->head = head;
    if (US_TRAINING) {
        k->conv_bwdw = conv_bwdw;
        k->conv_flip = conv_flip;
        k->depthwise_bwdw = depthwise_bwdw;
        k->act_grad = act_grad;
        k->pool_grad = pool_grad;
        k->up_nearest_grad = up_nearest_grad;
        k->up_bilinear_grad = up_bilinear_grad;
        k->row_moments_grad = row_moments_grad;
        k->norm_grad = norm_grad;
        k->head_grad_data = head_grad_data;
        k->head_grad_weights = head_grad_weights;
        k->block_sum_squares = block_sum_squares;
        k->adam = adam;
        k->sgd = sgd;
    }
    return 0;
}
