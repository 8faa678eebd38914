/*
 * quant.c - 8-bit evaluation: which tensors are in bytes, and the weights of an 8-bit convolution.
 *
 * A convolution in 8 bits takes bytes minus their zero point, a in [-zero, 255 - zero], through Winograd's F(4x4, 3x3)
 * in integers: V = B^T a B is exact. U = G w G^T is computed in double and rounded to int16 with a step for every tap
 * and output channel, as small as two bounds allow: |U| <= 32767, and the sum over the input channels of |U| times the
 * largest |V| that the tap can have below 2^31, so that no sum of products can leave int32, whatever the input and in
 * whatever order. The largest |V| is 255 times between 18 (taps of the points 2 and -2) and 68; it decides from a few
 * dozen channels on.
 */
#include "nn/map.h"

#include <math.h>
#include <string.h>

#define TAP (US_LANES * US_LANES)
#define TILE 4
#define TAPS 36
#define MOST_SUM 2147480000.0 /* 2^31, and a bit less */
#define MOST_U 32767.0

/* ---- What can be in bytes ---- */

int us_quant_takes_unit(const struct us_net *net, int unit) {
    const struct us_unit *u = &net->units[unit];
    return u->kind == US_UNIT_CONV3 && u->in.kind != US_IN_IMAGE;
}

/* Statistics are taken of floats. The head's input costs little memory, and its bits are the nearest to the output. Star blocks
 * keep floats: residuals hand on what they are given, errors too. */
int us_quant_takes_value(const struct us_net *net, int unit) {
    const struct us_unit *u = &net->units[unit];
    return net->options.block == UNETSTAR_BLOCK_DOUBLE_CONV && u->kind == US_UNIT_CONV3 &&
           (u->norm == UNETSTAR_NORM_BATCH || u->norm == UNETSTAR_NORM_NONE) &&
           net->heads[0].unit != unit;
}

static int check_scale(const struct us_quant *q, int allowed, const struct us_unit *u) {
    if (q->scale == 0 && q->zero >= 0)
        return 0;
    if (!allowed || !(q->scale >= 0x1p-100f && q->scale <= 0x1p+100f) || q->inverse != 1.0f / q->scale || q->zero < 0 ||
        q->zero > 255)
        return us_fail(UNETSTAR_EFORMAT, "the 8-bit calibration of %s.%d is not one of this network", u->name,
                       u->index);
    return 0;
}

int us_calibration_check(const struct us_calibration *c, const struct us_net *net) {
    int u, code = 0;
    for (u = 0; u < net->n_units && !code; u++) {
        /* Bytes are written by the first convolution and by those in 8 bits. */
        const int writes = net->units[u].in.kind == US_IN_IMAGE || c->input[u].scale > 0;
        code = check_scale(&c->input[u], us_quant_takes_unit(net, u), &net->units[u]);
        code = code ? code : check_scale(&c->value[u], writes && us_quant_takes_value(net, u), &net->units[u]);
    }
    return code;
}

void us_pass_quantise(struct us_pass *pass, const struct us_calibration *c) {
    int u;
    for (u = 0; u < pass->net->n_units; u++) {
        if (c->input[u].scale > 0) {
            pass->quant[u] = &c->input[u];
            pass->tile[u] = TILE;
        }
        pass->z[u].quant = c->value[u].scale > 0 ? &c->value[u] : NULL;
    }
}

void us_store_row(const struct us_conv_job *job, int n, int o, int y, int x, int count, float *row) {
    const struct us_kernels *kern = &job->ctx->kern;
    if (job->act != US_ACT_NONE)
        kern->affine_act(row, row, (size_t)count, NULL, NULL, job->act, job->slope);
    kern->quant_bytes(us_map_byte_row(&job->out, n, o, y) + (size_t)x * US_LANES, row, (size_t)count, job->out.quant);
}

/* ---- Weights: [output block][tap][16] scales, then [group of outputs][tap][output of the group][input
 * block][pair][16][2] ---- */

static size_t scale_floats(int out_blocks) {
    return (size_t)out_blocks * TAPS * US_LANES;
}

static int groups(const us_context *ctx, int out_blocks) {
    return (out_blocks + ctx->kern.quant_group - 1) / ctx->kern.quant_group;
}

size_t us_quant_weights_floats(const us_context *ctx, int in_blocks, int out_blocks) {
    const size_t values = (size_t)groups(ctx, out_blocks) * TAPS * us_quant_u_stride(ctx, in_blocks);
    return scale_floats(out_blocks) + values / 2;
}

size_t us_quant_u_stride(const us_context *ctx, int in_blocks) {
    return us_odd_lines((size_t)ctx->kern.quant_group * (size_t)in_blocks * TAP / 2) * 2;
}

const int16_t *us_quant_values(const float *packed, int out_blocks) {
    return (const int16_t *)(const void *)(packed + scale_floats(out_blocks));
}

/* One axis of G: (x0, 0, 0) / 4, -(x0 + x2 +- x1) / 6, (x0 + 4 x2 +- 2 x1) / 24, x2. */
static void transform_axis(double *o, int o_step, const double *x, int x_step) {
    const double x0 = x[0], x1 = x[x_step], x2 = x[2 * x_step];
    const double even = x0 + x2, far = x0 + 4.0 * x2;
    o[0] = x0 * 0.25;
    o[o_step] = (even + x1) / -6.0;
    o[2 * o_step] = (even - x1) / -6.0;
    o[3 * o_step] = (far + 2.0 * x1) / 24.0;
    o[4 * o_step] = (far - 2.0 * x1) / 24.0;
    o[5 * o_step] = x2;
}

/* U = G w G^T of one pair of channels; taps are TAP floats apart. */
static void transform_taps(double u[TAPS], const float *w) {
    double taps[9], half[6 * 3];
    int i;
    for (i = 0; i < 9; i++)
        taps[i] = w[i * TAP];
    for (i = 0; i < 3; i++)
        transform_axis(half + i, 3, taps + i, 3);
    for (i = 0; i < 6; i++)
        transform_axis(u + i * 6, 1, half + i * 3, 1);
}

/* To the nearest, ties to even; |x| is small. */
static int16_t nearest(double x) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    const double t = (x + magic) - magic;
    return (int16_t)(t > MOST_U ? MOST_U : t < -MOST_U ? -MOST_U : t);
}

struct pack {
    const struct us_conv_job *job;
    const struct us_quant *input;
    float *packed;
};

/* The largest |V| of a tap: both signs of input meet the positive and the negative factors of B^T. */
static double most_v(int tap, int zero) {
    static const int positive[6] = {5, 2, 5, 3, 3, 5}, negative[6] = {5, 8, 5, 3, 3, 5};
    const int i = tap / 6, j = tap % 6;
    const int p = positive[i] * positive[j] + negative[i] * negative[j];
    const int n = positive[i] * negative[j] + negative[i] * positive[j];
    return US_MAX(p * (255 - zero) + n * zero, n * (255 - zero) + p * zero);
}

/* The number of steps in 1 for every tap of one output channel. */
static void choose_steps(double steps[TAPS], const struct us_conv_job *job, const struct us_quant *input,
                         const float *w) {
    double most[TAPS] = {0}, sum[TAPS] = {0}, u[TAPS];
    const int channels = job->in_blocks * US_LANES;
    int c, i;
    for (c = 0; c < channels; c++) {
        transform_taps(u, w + (size_t)(c / US_LANES) * 9 * TAP + (size_t)(c % US_LANES) * US_LANES);
        for (i = 0; i < TAPS; i++) {
            most[i] = US_MAX(most[i], fabs(u[i]));
            sum[i] += fabs(u[i]);
        }
    }
    for (i = 0; i < TAPS; i++) {
        /* Rounding adds half a step a channel at most. */
        const double bound = (MOST_SUM / most_v(i, input->zero) - 0.5 * channels) / sum[i], range = MOST_U / most[i];
        steps[i] = most[i] > 0x1p-120 ? US_MIN(bound, range) : 0;
    }
}

static void pack_channel(const struct pack *p, int o, int lane) {
    const struct us_conv_job *job = p->job;
    const int group = job->ctx->kern.quant_group;
    const size_t u_xi = us_quant_u_stride(job->ctx, job->in_blocks);
    const float *w = job->weights + (size_t)o * (size_t)job->in_blocks * 9 * TAP + lane;
    int16_t *to = (int16_t *)(void *)(p->packed + scale_floats(job->out_blocks)) + (size_t)(o / group) * TAPS * u_xi +
                  (size_t)(o % group) * (size_t)job->in_blocks * TAP + lane * 2;
    float *scale = p->packed + (size_t)o * TAPS * US_LANES + lane;
    double steps[TAPS], u[TAPS];
    int c, i;
    choose_steps(steps, job, p->input, w);
    for (i = 0; i < TAPS; i++)
        scale[i * US_LANES] = steps[i] > 0 ? (float)((double)p->input->scale / steps[i]) : 0;
    for (c = 0; c < job->in_blocks * US_LANES; c++) {
        const size_t at = (size_t)(c / US_LANES) * TAP + (size_t)(c % US_LANES / 2 * 2 * US_LANES + c % 2);
        transform_taps(u, w + (size_t)(c / US_LANES) * 9 * TAP + (size_t)(c % US_LANES) * US_LANES);
        for (i = 0; i < TAPS; i++)
            to[(size_t)i * u_xi + at] = nearest(u[i] * steps[i]);
    }
}

static void pack_task(void *arg, int64_t index, int worker) {
    int lane;
    (void)worker;
    for (lane = 0; lane < US_LANES; lane++)
        pack_channel((const struct pack *)arg, (int)index, lane);
}

int us_quant_pack_weights(const struct us_conv_job *job, const struct us_quant *input, float *packed) {
    struct pack p;
    p.job = job;
    p.input = input;
    p.packed = packed;
    memset(packed, 0, us_quant_weights_floats(job->ctx, job->in_blocks, job->out_blocks) * sizeof *packed);
    return us_parallel(job->ctx, NULL, pack_task, &p, job->out_blocks);
}
