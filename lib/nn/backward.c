/*
 * backward.c - training's backward pass: units in reverse order. At a unit the gradient at its value is complete; it is taken
 * back through dropout, activation and norm to z, gives the gradients of the weights, and is carried through the convolution to
 * the unit's input and from there to the units the input was made of.
 */
#include "nn/training.h"

#include <string.h>

#define FINISH_ROWS 8 /* of a gradient and its z: they stay in the L2 cache */

/* ---- Heads ---- */

struct head_backward {
    us_training *t;
    int head, accumulate;
    const float *weights;
};

static size_t head_row_floats(const us_training *t, const struct us_map *z) {
    return (size_t)t->net->options.classes * (size_t)z->blocks * US_LANES + US_LANES;
}

static void head_task(void *arg, int64_t index, int worker) {
    const struct head_backward *hb = (const struct head_backward *)arg;
    us_training *t = hb->t;
    const int unit = t->net->heads[hb->head].unit, classes = t->net->options.classes;
    const struct us_map *z = &t->pass.z[unit];
    const int n = (int)(index / z->h), y = (int)(index % z->h);
    char *scratch = t->pass.scratch.base + (size_t)worker * t->pass.scratch.each;
    const float **in = (const float **)scratch;
    float **din = (float **)(in + z->blocks);
    float *tmp = (float *)(scratch + (2 * (size_t)z->blocks * sizeof *in + 63) / 64 * 64);
    float *sums = t->head_rows + (size_t)index * head_row_floats(t, z);
    const float *dlogit[8];
    int b, c;
    for (c = 0; c < classes; c++)
        dlogit[c] = t->dlogits[hb->head] + (((size_t)n * (size_t)classes + (size_t)c) * (size_t)z->h + (size_t)y) * (size_t)z->w;
    for (b = 0; b < z->blocks; b++, tmp += (size_t)z->w * US_LANES) {
        in[b] = us_value_row(&t->pass, unit, n, b, y, 0, z->w, tmp);
        din[b] = us_map_row(&t->grads[unit], n, b, y);
    }
    t->ctx->kern.head_grad_data(din, dlogit, hb->weights, z->blocks, classes, (size_t)z->w, hb->accumulate);
    t->ctx->kern.head_grad_weights(sums, sums + head_row_floats(t, z) - US_LANES, in, dlogit, z->blocks, classes,
                                   (size_t)z->w);
}

static int backward_head(us_training *t, const struct us_params *params, float *gradients, int head) {
    const struct us_head *h = &t->net->heads[head];
    const struct us_map *z = &t->pass.z[h->unit];
    const size_t floats = head_row_floats(t, z), lanes = floats - US_LANES;
    struct head_backward hb;
    size_t k;
    int64_t row, rows = (int64_t)t->pass.n * z->h;
    int code;
    hb.t = t;
    hb.head = head;
    hb.accumulate = t->started[h->unit];
    hb.weights = params->arena + h->weights;
    t->started[h->unit] = 1;
    code = us_parallel(t->ctx, NULL, head_task, &hb, rows);
    for (k = 0; k < lanes + (size_t)t->net->options.classes && !code; k++) {
        double sum = 0;
        for (row = 0; row < rows; row++)
            sum += (double)t->head_rows[(size_t)row * floats + k];
        gradients[k < lanes ? h->weights + k : h->bias + (k - lanes)] = (float)sum;
    }
    return code;
}

static void downsample_logit_gradient(us_training *t) {
    const struct us_map *z = &t->pass.z[t->net->heads[0].unit];
    const size_t plane = (size_t)z->h * (size_t)z->w;
    int i;
    for (i = 0; i < t->pass.n * t->net->options.classes; i++)
        us_plane_bilinear_grad(t->full_dlogits + (size_t)i * plane * 4, z->h, z->w, t->dlogits[0] + (size_t)i * plane);
}

/* ---- From a unit's value to its z ---- */

/* Rows [y0, y1) of a complete gradient, handed on to the residual, taken back through dropout and activation and added to the
 * sums of the norm, while they are in the cache: rows in order from 0 on, by one task for a block of an image. */
static void finish_rows(us_training *t, int unit, int n, int b, int y0, int y1) {
    const struct us_unit *u = &t->net->units[unit];
    const struct us_map *z = &t->pass.z[unit];
    const size_t at = (size_t)n * t->pass.coefficient_step[unit] + (size_t)b * US_LANES;
    const float *scale = t->pass.scale[unit] ? t->pass.scale[unit] + at : NULL;
    const float *shift = scale ? t->pass.shift[unit] + at : NULL;
    int y;
    for (y = y0; y < y1; y++) {
        float *g = us_map_row(&t->grads[unit], n, b, y);
        if (u->residual >= 0) /* the first to write it */
            memcpy(us_map_row(&t->grads[u->residual], n, b, y), g, (size_t)z->w * US_LANES * sizeof *g);
        if (u->dropout && t->pass.dropout)
            us_dropout_row(&t->pass, unit, n, b, y, 0, z->w, g);
        if (u->act != US_ACT_NONE)
            t->ctx->kern.act_grad(g, g, us_map_row(z, n, b, y), (size_t)z->w, scale, shift, u->act,
                                  t->net->options.leaky_slope);
    }
    if (u->norm != UNETSTAR_NORM_NONE)
        us_norm_gradient_rows(t->ctx, &t->norms[unit], z, &t->grads[unit], n, b, y0, y1);
}

struct value_backward {
    us_training *t;
    int unit;
};

static void value_task(void *arg, int64_t index, int worker) {
    const struct value_backward *vb = (const struct value_backward *)arg;
    const struct us_map *z = &vb->t->pass.z[vb->unit];
    int y;
    (void)worker;
    for (y = 0; y < z->h; y += FINISH_ROWS)
        finish_rows(vb->t, vb->unit, (int)(index / z->blocks), (int)(index % z->blocks), y,
                    US_MIN(y + FINISH_ROWS, z->h));
}

static int backward_value(us_training *t, const struct us_params *params, float *gradients, int unit) {
    const struct us_unit *u = &t->net->units[unit];
    const struct us_map *z = &t->pass.z[unit];
    struct value_backward vb;
    int code = 0;
    vb.t = t;
    vb.unit = unit;
    if (u->residual >= 0)
        t->started[u->residual] = 1;
    if (!t->finished[unit])
        code = us_parallel(t->ctx, NULL, value_task, &vb, (int64_t)z->n * z->blocks);
    if (!code && u->norm != UNETSTAR_NORM_NONE)
        code = us_norm_gradient(t->ctx, &t->norms[unit], z, &t->grads[unit], params->arena + u->gamma, gradients + u->gamma,
                                gradients + u->beta, t->constants);
    if (!code && !u->bias_fixed)
        code = us_map_channel_sums(t->ctx, &t->grads[unit], t->norms[unit].sums, gradients + u->bias);
    return code;
}

/* ---- Weights ---- */

/* A unit's convolution, its output being the gradient. */
static void unit_job(us_training *t, const struct us_params *params, const struct us_input_source *source,
                     struct us_conv_job *job) {
    us_pass_job(&t->pass, source, job);
    job->weights = us_unit_weights(params, &t->net->units[source->unit]);
    job->out = job->dout = t->grads[source->unit];
    job->partials = t->partials;
}

static int backward_weights(us_training *t, const struct us_params *params, float *gradients, int unit) {
    const struct us_unit *u = &t->net->units[unit];
    struct us_input_source source;
    struct us_conv_job job;
    if (!u->weights_size)
        return 0;
    source.pass = &t->pass;
    source.unit = unit;
    unit_job(t, params, &source, &job);
    job.dw = gradients + u->weights;
    return u->kind == US_UNIT_UPCONV ? us_upconv_backward_weights(&job, job.dw) : us_conv_backward_weights(&job);
}

/* ---- Data ---- */

/* accumulate: of the direct convolutions only. */
static int backward_data(us_training *t, const struct us_params *params, int unit, struct us_map *target, int accumulate) {
    const struct us_unit *u = &t->net->units[unit];
    struct us_input_source source;
    struct us_conv_job job;
    int code = 0;
    source.pass = &t->pass;
    source.unit = unit;
    unit_job(t, params, &source, &job);
    if (u->kind == US_UNIT_UPCONV)
        return us_upconv_backward_data(&job, target, t->flipped);
    job.row = us_plain_row;
    job.source = &t->grads[unit];
    job.in_blocks = u->out_blocks;
    job.out_blocks = u->in_blocks;
    job.last_channels = (u->c_out - 1) % US_LANES + 1;
    job.flip = 1;
    job.out = *target;
    job.accumulate = accumulate;
    if (job.tile) {
        code = us_training_transform(t, unit, job.weights, 1, &job.transformed);
    } else if (!job.depthwise) {
        us_mark(t->ctx, "transform weights", unit);
        code = us_conv_flip(t->ctx, t->flipped, job.weights, u->in_blocks, u->out_blocks, us_unit_taps(u));
        job.weights = t->flipped;
    }
    us_mark(t->ctx, "backward data", unit);
    return code ? code : us_conv_forward(&job);
}

/* ---- From a unit's input to what it was made of ---- */

struct spread {
    us_training *t;
    const struct us_input *in;
    struct us_map dx; /* gradient of the input */
    int add_main;     /* the gradient of `main` has been written before */
    int add_skip;
    int finish; /* nothing else is added to the gradient of `main`, and its turn is the next one */
};

static void clear_block(const struct us_map *m, int n, int b) {
    memset(us_map_row(m, n, b, 0), 0, (size_t)m->h * (size_t)m->w * US_LANES * sizeof(float));
}

static void pool_task(void *arg, int64_t index, int worker) {
    const struct spread *s = (const struct spread *)arg;
    us_training *t = s->t;
    const int main = s->in->main;
    const struct us_map *z = &t->pass.z[main], *g = &t->grads[main];
    const int n = (int)(index / z->blocks), b = (int)(index % z->blocks);
    float *tmp = (float *)(t->pass.scratch.base + (size_t)worker * t->pass.scratch.each);
    float *second = tmp + (size_t)z->w * US_LANES;
    int y;
    for (y = 0; y < s->dx.h; y++) {
        struct us_affine a;
        const float *top = us_affine_row(&t->pass, main, n, b, 2 * y, 0, z->w, tmp, &a);
        const float *bottom = us_affine_row(&t->pass, main, n, b, 2 * y + 1, 0, z->w, second, &a);
        t->ctx->kern.pool_grad(us_map_row(g, n, b, 2 * y), us_map_row(g, n, b, 2 * y + 1), top, bottom,
                               us_map_row(&s->dx, n, b, y), (size_t)s->dx.w, a.scale, a.shift, a.relu, s->add_main);
        if (s->finish && ((2 * y + 2) % FINISH_ROWS == 0 || y + 1 == s->dx.h))
            finish_rows(t, main, n, b, 2 * y / FINISH_ROWS * FINISH_ROWS, 2 * y + 2);
    }
}

/* dst = src, or dst += src. */
static void put_row(const struct spread *s, float *dst, const float *src, int w, int add) {
    if (add)
        s->t->ctx->kern.add(dst, dst, src, (size_t)w);
    else
        memcpy(dst, src, (size_t)w * US_LANES * sizeof *dst);
}

/* Gradient of the skip connection: dx, times the upsampled main for a star. */
static void skip_block(const struct spread *s, int n, int b, float *tmp) {
    us_training *t = s->t;
    const int concat = s->in->fusion == UNETSTAR_FUSION_CONCAT;
    const int from = concat ? b + t->pass.z[s->in->main].blocks : b, w = s->dx.w;
    float *product = tmp, *rest = tmp + (size_t)w * US_LANES;
    int y;
    for (y = 0; y < s->dx.h; y++) {
        const float *g = us_map_row(&s->dx, n, from, y);
        if (s->in->fusion == UNETSTAR_FUSION_STAR) {
            us_upsampled_row(&t->pass, s->in, n, b, y, 0, w, product, rest);
            t->ctx->kern.mul(product, product, g, (size_t)w);
            g = product;
        }
        put_row(s, us_map_row(&t->grads[s->in->skip], n, b, y), g, w, s->add_skip);
    }
}

/* Row y of the gradient of the upsampled main: dx, times the skip connection for a star. */
static const float *main_gradient_row(const struct spread *s, int n, int b, int y, float *tmp) {
    const float *g = us_map_row(&s->dx, n, b, y);
    if (s->in->fusion != UNETSTAR_FUSION_STAR)
        return g;
    s->t->ctx->kern.mul(tmp, us_value_row(&s->t->pass, s->in->skip, n, b, y, 0, s->dx.w, tmp), g, (size_t)s->dx.w);
    return tmp;
}

static void main_block(const struct spread *s, int n, int b, float *tmp) {
    us_training *t = s->t;
    const struct us_map *g = &t->grads[s->in->main];
    const size_t row = (size_t)s->dx.w * US_LANES;
    int y;
    if (s->in->up == UNETSTAR_UPSAMPLING_BILINEAR && !s->add_main)
        clear_block(g, n, b);
    for (y = 0; y < s->dx.h; y++) {
        if (s->in->up == UNETSTAR_UPSAMPLING_NEAREST) {
            const float *top = main_gradient_row(s, n, b, y, tmp);
            const float *bottom = main_gradient_row(s, n, b, ++y, tmp + row);
            t->ctx->kern.up_nearest_grad(tmp + 2 * row, top, bottom, (size_t)g->w);
            put_row(s, us_map_row(g, n, b, y / 2), tmp + 2 * row, g->w, s->add_main);
        } else if (s->in->up == UNETSTAR_UPSAMPLING_BILINEAR) {
            const float *d = main_gradient_row(s, n, b, y, tmp);
            const int near = y / 2, other = y % 2 ? near + 1 : near - 1;
            const int far = other < 0 ? 0 : other >= g->h ? g->h - 1 : other;
            t->ctx->kern.up_bilinear_grad(us_map_row(g, n, b, near), d, (size_t)g->w, 0.75f);
            t->ctx->kern.up_bilinear_grad(us_map_row(g, n, b, far), d, (size_t)g->w, 0.25f);
        } else {
            put_row(s, us_map_row(g, n, b, y), main_gradient_row(s, n, b, y, tmp), g->w, s->add_main);
        }
    }
}

static double squares(const float *row, int w) {
    double sum = 0;
    int i;
    for (i = 0; i < w * US_LANES; i++)
        sum += (double)row[i] * (double)row[i];
    return sum;
}

/* Before the gradients are carried on: what arrives. */
static void measure_block(const struct spread *s, int n, int b, float *tmp) {
    us_training *t = s->t;
    const int blocks = t->pass.z[s->in->main].blocks, w = s->dx.w;
    const int concat = s->in->fusion == UNETSTAR_FUSION_CONCAT;
    struct us_branch_sums sums = {0, 0, 0};
    int y;
    for (y = 0; y < s->dx.h; y++) {
        const float *g = us_map_row(&s->dx, n, b, y);
        sums.fused += squares(g, w);
        sums.main += squares(main_gradient_row(s, n, b, y, tmp), w);
        if (concat) {
            g = us_map_row(&s->dx, n, b + blocks, y);
            sums.fused += squares(g, w);
        } else if (s->in->fusion == UNETSTAR_FUSION_STAR) {
            us_upsampled_row(&t->pass, s->in, n, b, y, 0, w, tmp, tmp + (size_t)w * US_LANES);
            t->ctx->kern.mul(tmp, tmp, g, (size_t)w);
            g = tmp;
        }
        sums.skip += squares(g, w);
    }
    t->branches->parts[n * blocks + b] = sums;
}

static void add_parts(us_training *t, int unit) {
    const int parts = t->pass.n * t->pass.z[t->net->units[unit].in.main].blocks;
    struct us_branch_sums *sums = &t->branches->units[unit];
    int i;
    memset(sums, 0, sizeof *sums);
    for (i = 0; i < parts; i++) {
        sums->fused += t->branches->parts[i].fused;
        sums->main += t->branches->parts[i].main;
        sums->skip += t->branches->parts[i].skip;
    }
}

static void fuse_task(void *arg, int64_t index, int worker) {
    const struct spread *s = (const struct spread *)arg;
    us_training *t = s->t;
    const int blocks = t->pass.z[s->in->main].blocks;
    const int n = (int)(index / blocks), b = (int)(index % blocks);
    float *tmp = (float *)(t->pass.scratch.base + (size_t)worker * t->pass.scratch.each);
    if (t->branches)
        measure_block(s, n, b, tmp);
    skip_block(s, n, b, tmp);
    main_block(s, n, b, tmp);
}

static int has_head(const struct us_net *net, int unit) {
    int i;
    for (i = 0; i < net->n_heads; i++)
        if (net->heads[i].unit == unit)
            return 1;
    return 0;
}

static int backward_input(us_training *t, const struct us_params *params, int unit) {
    const struct us_unit *u = &t->net->units[unit];
    struct spread s;
    int code;
    if (u->in.kind == US_IN_IMAGE)
        return 0;
    if (u->in.kind == US_IN_UNIT) { /* of a star block two branches; else the only other reader is a head, which comes later */
        const int add = t->started[u->in.main];
        t->started[u->in.main] = 1;
        return backward_data(t, params, unit, &t->grads[u->in.main], add);
    }
    s.t = t;
    s.in = &u->in;
    s.dx = t->input_grads[unit];
    code = backward_data(t, params, unit, &s.dx, 0);
    if (code)
        return code;
    us_mark(t->ctx, "pool and fusion backward", unit);
    s.add_main = t->started[u->in.main];
    t->started[u->in.main] = 1;
    s.finish = t->finished[u->in.main] = u->in.kind == US_IN_POOL && u->in.main == unit - 1 && !has_head(t->net, unit - 1);
    if (u->in.kind == US_IN_POOL)
        return us_parallel(t->ctx, NULL, pool_task, &s, (int64_t)t->pass.n * s.dx.blocks);
    s.add_skip = t->started[u->in.skip];
    t->started[u->in.skip] = 1;
    code = us_parallel(t->ctx, NULL, fuse_task, &s, (int64_t)t->pass.n * t->pass.z[u->in.main].blocks);
    if (!code && t->branches)
        add_parts(t, unit);
    return code;
}

/* ---- The pass ---- */

/* Everything but the weights of convolutions, which are overwritten and are nearly all there is. */
static void clear_gradients(const struct us_net *net, float *gradients) {
    size_t at = 0;
    int u;
    for (u = 0; u < net->n_units; u++) {
        memset(gradients + at, 0, (net->units[u].weights - at) * sizeof *gradients);
        at = net->units[u].weights + net->units[u].weights_size;
    }
    memset(gradients + at, 0, (net->n_params - at) * sizeof *gradients);
}

int us_training_backward(us_training *t, const struct us_params *params, float *gradients) {
    int u, i, code;
    if (t->state != 2)
        return us_fail(UNETSTAR_ESTATE, "the backward pass needs a loss first");
    memset(t->started, 0, sizeof t->started);
    memset(t->finished, 0, sizeof t->finished);
    clear_gradients(t->net, gradients);
    if (t->full_logits)
        downsample_logit_gradient(t);
    us_mark(t->ctx, "head", -1);
    code = backward_head(t, params, gradients, 0);
    for (u = t->net->n_units - 1; u >= 0 && !code; u--) {
        for (i = 1; i < t->net->n_heads && !code; i++)
            if (t->net->heads[i].unit == u)
                code = backward_head(t, params, gradients, i);
        us_mark(t->ctx, "norm backward", u);
        if (!code)
            code = backward_value(t, params, gradients, u);
        us_mark(t->ctx, "backward weights", u);
        if (!code)
            code = backward_weights(t, params, gradients, u);
        if (!code)
            code = backward_input(t, params, u);
    }
    t->state = 3;
    return code;
}
