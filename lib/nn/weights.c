/* weights.c - parameters in our layout, their initial values, PyTorch's layout, and folded copies for evaluation. */
#include "nn/map.h"

#include <math.h>
#include <string.h>

#define TAP (US_LANES * US_LANES)

int us_params_create(struct us_params *out, us_context *ctx, const struct us_net *net) {
    memset(out, 0, sizeof *out);
    out->arena = (float *)us_alloc_zero(ctx, net->n_params * sizeof(float));
    out->buffers = out->arena ? (float *)us_alloc_zero(ctx, net->n_buffers * sizeof(float)) : NULL;
    out->batches = out->buffers ? (int64_t *)us_alloc_zero(ctx, (size_t)net->n_units * sizeof(int64_t)) : NULL;
    if (!out->batches) {
        us_params_destroy(ctx, out);
        return UNETSTAR_ENOMEM;
    }
    return 0;
}

void us_params_destroy(us_context *ctx, struct us_params *params) {
    us_free(ctx, params->arena);
    us_free(ctx, params->buffers);
    us_free(ctx, params->batches);
    memset(params, 0, sizeof *params);
}

void us_params_copy(struct us_params *to, const struct us_params *from, const struct us_net *net) {
    memcpy(to->arena, from->arena, net->n_params * sizeof(float));
    memcpy(to->buffers, from->buffers, net->n_buffers * sizeof(float));
    memcpy(to->batches, from->batches, (size_t)net->n_units * sizeof(int64_t));
}

/* ---- PyTorch's layout ---- */

/* Block and lane of an input channel: a concatenation keeps each of its two maps in blocks of its own. */
static int input_lane(const struct us_net *net, const struct us_unit *u, int c) {
    if (u->in.kind == US_IN_FUSE && u->in.fusion == UNETSTAR_FUSION_CONCAT) {
        const int first = net->units[u->in.main].c_out;
        if (c >= first)
            return US_BLOCKS(first) * US_LANES + (c - first);
    }
    return c;
}

/* Where element (out, in, tap) of a convolution is; conv: [out][in][tap][ci][co], upconv: [tap][out][in][ci][co], depthwise:
 * [out][tap][co]. */
static size_t conv_place(const struct us_net *net, const struct us_unit *u, int co, int ci, int tap) {
    const int lane = input_lane(net, u, ci);
    const size_t o = (size_t)(co / US_LANES), b = (size_t)(lane / US_LANES), blocks = (size_t)u->in_blocks;
    const size_t at = (size_t)(lane % US_LANES) * US_LANES + (size_t)(co % US_LANES);
    if (us_unit_depthwise(u))
        return (o * (size_t)us_unit_taps(u) + (size_t)tap) * US_LANES + (size_t)(co % US_LANES);
    if (u->kind == US_UNIT_UPCONV)
        return (((size_t)tap * (size_t)u->out_blocks + o) * blocks + b) * TAP + at;
    return ((o * blocks + b) * (size_t)us_unit_taps(u) + (size_t)tap) * TAP + at;
}

/* Calls for every element of a weight: index in PyTorch's order, offset in ours. */
typedef void (*element_fn)(void *arg, size_t index, size_t offset);

static void each_element(const struct us_net *net, const struct us_weight *w, element_fn fn, void *arg) {
    size_t index = 0;
    if (w->kind == US_WEIGHT_CONV || w->kind == US_WEIGHT_UPCONV) {
        const struct us_unit *u = &net->units[w->owner];
        const int upconv = w->kind == US_WEIGHT_UPCONV, taps = us_unit_taps(u);
        int a, b, tap;
        for (a = 0; a < (int)w->shape[0]; a++)
            for (b = 0; b < (int)w->shape[1]; b++)
                for (tap = 0; tap < taps; tap++)
                    fn(arg, index++, w->offset + (upconv ? conv_place(net, u, b, a, tap) : conv_place(net, u, a, b, tap)));
    } else if (w->kind == US_WEIGHT_HEAD && w->ndim == 4) {
        const size_t lanes = (size_t)net->units[net->heads[w->owner].unit].out_blocks * US_LANES;
        size_t class, c;
        for (class = 0; class < (size_t)w->shape[0]; class ++)
            for (c = 0; c < (size_t)w->shape[1]; c++)
                fn(arg, index++, w->offset + class * lanes + c);
    } else {
        for (; index < us_weight_count(w); index++)
            fn(arg, index, w->offset + index);
    }
}

struct copy {
    const float *arena;
    float *arena_out, *data_out;
    const float *data;
};

static void get_element(void *arg, size_t index, size_t offset) {
    const struct copy *c = (const struct copy *)arg;
    c->data_out[index] = c->arena[offset];
}

static void set_element(void *arg, size_t index, size_t offset) {
    const struct copy *c = (const struct copy *)arg;
    c->arena_out[offset] = c->data[index];
}

void us_weight_get(const struct us_net *net, const struct us_weight *w, const float *arena, float *data) {
    struct copy c = {NULL, NULL, NULL, NULL};
    c.arena = arena;
    c.data_out = data;
    each_element(net, w, get_element, &c);
}

void us_weight_set(const struct us_net *net, const struct us_weight *w, float *arena, const float *data) {
    struct copy c = {NULL, NULL, NULL, NULL};
    c.arena_out = arena;
    c.data = data;
    each_element(net, w, set_element, &c);
}

struct search {
    const float *arena;
    int found;
};

static void find_infinite(void *arg, size_t index, size_t offset) {
    struct search *s = (struct search *)arg;
    (void)index;
    s->found |= !(s->arena[offset] - s->arena[offset] == 0);
}

const struct us_weight *us_params_not_finite(const struct us_params *params, const struct us_net *net) {
    int i;
    for (i = 0; i < net->n_weights; i++) {
        const struct us_weight *w = &net->weights[i];
        struct search s = {NULL, 0};
        if (w->kind == US_WEIGHT_COUNTER)
            continue;
        s.arena = w->in_buffers ? params->buffers : params->arena;
        each_element(net, w, find_infinite, &s);
        if (s.found)
            return w;
    }
    return NULL;
}

/* ---- Initial values ---- */

struct uniform {
    float *arena;
    struct us_rng rng;
    double bound;
};

static void draw_element(void *arg, size_t index, size_t offset) {
    struct uniform *u = (struct uniform *)arg;
    (void)index;
    u->arena[offset] = (float)((2.0 * us_rng_uniform(&u->rng) - 1.0) * u->bound);
}

static void fill(float *values, int count, float value) {
    int i;
    for (i = 0; i < count; i++)
        values[i] = value;
}

/* Fan-in as PyTorch counts it: for a transposed convolution the second dimension. */
static double fan_in(const struct us_net *net, const struct us_weight *w) {
    if (w->kind == US_WEIGHT_UPCONV)
        return (double)w->shape[1] * 4;
    if (w->kind == US_WEIGHT_CONV)
        return (double)(w->shape[1] * w->shape[2] * w->shape[3]);
    return net->units[net->heads[w->owner].unit].c_out;
}

void us_params_init(struct us_params *params, const struct us_net *net, uint64_t seed) {
    double bound = 0;
    int i;
    for (i = 0; i < net->n_units; i++) {
        const struct us_unit *u = &net->units[i];
        if (u->norm == UNETSTAR_NORM_NONE)
            continue;
        fill(params->arena + u->gamma, u->c_out, 1.0f);
        if (u->norm == UNETSTAR_NORM_BATCH)
            fill(params->buffers + u->running_var, u->c_out, 1.0f);
    }
    for (i = 0; i < net->n_weights; i++) {
        const struct us_weight *w = &net->weights[i];
        struct uniform draw;
        if (w->ndim == 4)
            bound = 1.0 / sqrt(fan_in(net, w));
        else if (i == 0 || net->weights[i - 1].ndim != 4)
            continue; /* only the vector after a convolution's weights is its bias */
        draw.arena = w->in_buffers ? params->buffers : params->arena;
        draw.rng = us_rng_stream(seed, US_RNG_INIT, 0, (uint64_t)i);
        draw.bound = w->ndim == 4 && net->options.initialization == UNETSTAR_INIT_HE ? bound * sqrt(6.0) : bound;
        each_element(net, w, draw_element, &draw);
    }
}

/* ---- Folding ---- */

/* w' = w a, b' = (b - mean) a + beta with a = gamma / sqrt(var + eps): in double, rounded once; subnormal scales are cut. */
static void fold_batch_norm(const struct us_net *net, const struct us_unit *u, const struct us_params *p, float *weights,
                            float *bias) {
    int co, ci, tap;
    for (co = 0; co < u->c_out; co++) {
        double a = (double)p->arena[u->gamma + (size_t)co] / sqrt((double)p->buffers[u->running_var + (size_t)co] + 1e-5);
        if (fabs(a) < 1.1754943508222875e-38)
            a = 0;
        for (ci = 0; ci < (us_unit_depthwise(u) ? 1 : u->c_in); ci++)
            for (tap = 0; tap < us_unit_taps(u); tap++) {
                const size_t at = conv_place(net, u, co, ci, tap);
                weights[at] = (float)((double)weights[at] * a);
            }
        bias[co] = (float)(((double)p->buffers[u->bias + (size_t)co] - (double)p->buffers[u->running_mean + (size_t)co]) * a +
                           (double)p->arena[u->beta + (size_t)co]);
    }
}

/* Floats of a unit's weights as its algorithm reads them. */
static size_t packed_floats(const us_context *ctx, const struct us_net *net, int unit, int precision,
                            const struct us_calibration *calibration) {
    const struct us_unit *u = &net->units[unit];
    const int tile = us_evaluation_tile(net, unit, precision);
    const size_t floats = calibration && calibration->input[unit].scale > 0
                              ? us_quant_weights_floats(ctx, u->in_blocks, u->out_blocks)
                          : tile ? us_wino_weights_floats(ctx, tile, u->in_blocks, u->out_blocks)
                          : u->weights_size ? u->weights_size
                                            : (size_t)u->out_blocks * US_LANES; /* identity: its factors */
    return (floats + US_LANES - 1) / US_LANES * US_LANES;
}

/* Folds unit i; a Winograd convolution's weights go through `plain` and are stored transformed only. */
static int pack_unit(struct us_folded *f, const struct us_net *net, const struct us_params *params, int i, int precision,
                     float *plain, float *packed, float *bias) {
    const struct us_unit *u = &net->units[i];
    const int tile = us_evaluation_tile(net, i, precision);
    float *weights = tile ? plain : packed;
    struct us_conv_job job;
    memcpy(weights, params->arena + u->weights, u->weights_size * sizeof *weights);
    if (!u->weights_size)
        fill(weights, u->c_out, 1);
    if (u->norm == UNETSTAR_NORM_BATCH)
        fold_batch_norm(net, u, params, weights, bias);
    else
        memcpy(bias, (u->bias_fixed ? params->buffers : params->arena) + u->bias, (size_t)u->c_out * sizeof(float));
    f->bias[i] = bias;
    f->weights[i] = tile ? NULL : packed;
    f->transformed[i] = tile ? packed : NULL;
    if (!tile)
        return 0;
    memset(&job, 0, sizeof job);
    job.ctx = f->ctx;
    job.tile = tile;
    job.in_blocks = u->in_blocks;
    job.out_blocks = u->out_blocks;
    job.weights = plain;
    if (f->calibration && f->calibration->input[i].scale > 0)
        return us_quant_pack_weights(&job, &f->calibration->input[i], packed);
    return us_wino_transform_weights(&job, packed);
}

/* What is small and stays as it is: the affine part of norms that are not folded, and the head. */
static float *copy_vectors(struct us_folded *f, const struct us_net *net, const struct us_params *params, float *at) {
    const struct us_head *head = &net->heads[0];
    const size_t taps = (size_t)net->options.classes * (size_t)net->units[head->unit].out_blocks * US_LANES;
    int i;
    for (i = 0; i < net->n_units; i++) {
        const struct us_unit *u = &net->units[i];
        const size_t lanes = (size_t)u->out_blocks * US_LANES;
        f->gamma[i] = at;
        f->beta[i] = at + lanes;
        if (u->norm != UNETSTAR_NORM_NONE) {
            memcpy(at, params->arena + u->gamma, lanes * sizeof *at);
            memcpy(at + lanes, params->arena + u->beta, lanes * sizeof *at);
        }
        at += 2 * lanes;
    }
    f->head_weights = at;
    memcpy(at, params->arena + head->weights, taps * sizeof *at);
    at += taps;
    f->head_bias = at;
    memcpy(at, params->arena + head->bias, (size_t)net->options.classes * sizeof *at);
    return at + US_LANES;
}

static int pack(struct us_folded *f, const struct us_net *net, const struct us_params *params, int precision, float *plain) {
    float *at = copy_vectors(f, net, params, f->arena);
    int i, code = 0;
    for (i = 0; i < net->n_units && !code; i++) {
        float *bias = at;
        at += (size_t)net->units[i].out_blocks * US_LANES;
        code = pack_unit(f, net, params, i, precision, plain, at, bias);
        at += packed_floats(f->ctx, net, i, precision, f->calibration);
    }
    return code;
}

int us_folded_create(struct us_folded **out, us_context *ctx, const struct us_net *net, const struct us_params *params,
                     int precision, const struct us_calibration *calibration) {
    struct us_folded *f = (struct us_folded *)us_alloc_zero(ctx, sizeof *f);
    const struct us_head *head = &net->heads[0];
    size_t floats, plain = 0, after;
    float *scratch;
    int i, code = UNETSTAR_ENOMEM;
    *out = NULL;
    if (!f)
        return UNETSTAR_ENOMEM;
    floats = (size_t)net->options.classes * (size_t)net->units[head->unit].out_blocks * US_LANES + US_LANES;
    for (i = 0; i < net->n_units; i++) {
        floats += 3 * (size_t)net->units[i].out_blocks * US_LANES + packed_floats(ctx, net, i, precision, calibration);
        if (us_evaluation_tile(net, i, precision))
            plain = US_MAX(plain, net->units[i].weights_size);
    }
    f->ctx = us_context_ref(ctx);
    f->refs = 1;
    after = (floats * sizeof(float) + 63) / 64 * 64;
    f->bytes = after + (calibration ? sizeof *calibration : 0);
    f->arena = (float *)us_alloc_zero(ctx, f->bytes);
    if (f->arena && calibration)
        f->calibration = (const struct us_calibration *)memcpy((char *)f->arena + after, calibration, sizeof *calibration);
    scratch = f->arena ? (float *)us_alloc(ctx, plain * sizeof(float)) : NULL;
    if (scratch)
        code = pack(f, net, params, precision, scratch);
    us_free(ctx, scratch);
    if (code) {
        us_folded_unref(f);
        return code;
    }
    *out = f;
    return 0;
}

struct us_folded *us_folded_ref(struct us_folded *folded) {
    us_atomic_add(&folded->refs, 1);
    return folded;
}

void us_folded_unref(struct us_folded *folded) {
    us_context *ctx;
    if (!folded || us_atomic_add(&folded->refs, -1) > 0)
        return;
    ctx = folded->ctx;
    us_free(ctx, folded->arena);
    us_free(ctx, folded);
    us_context_unref(ctx);
}
