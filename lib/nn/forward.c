/* forward.c - training's memory plan, its forward pass and its loss. */
#include "nn/training.h"

#include <string.h>

/* ---- Memory ---- */

static size_t map_bytes(const struct us_map *m) {
    return us_map_floats(m) * sizeof(float);
}

/* Units run forward at times 0, 1, ...; then the heads; then backward in reverse order. */
static int heads_time(const struct us_net *net) {
    return net->n_units;
}

static int backward_time(const struct us_net *net, int unit) {
    return 2 * net->n_units - unit;
}

/* From when its first reader (or the head) writes a unit's gradient until its own turn has passed. A residual's is written when
 * the gradient of its reader's value is complete, which may be in the turn before the reader's. */
static struct us_interval gradient_life(const struct us_training *t, int unit) {
    const struct us_net *net = t->net;
    struct us_interval life;
    int i;
    life.first = life.last = backward_time(net, unit);
    for (i = unit + 1; i < net->n_units; i++)
        if (us_net_reads(net, i, unit))
            life.first = US_MIN(life.first, backward_time(net, i) - (net->units[i].residual == unit));
    if (net->heads[0].unit == unit)
        life.first = heads_time(net);
    life.size = map_bytes(&t->pass.z[unit]);
    life.offset = 0;
    return life;
}

static struct us_map input_gradient(const struct us_training *t, int unit) {
    struct us_map dx = t->pass.z[unit];
    const enum us_input_kind kind = t->net->units[unit].in.kind;
    dx.blocks = kind == US_IN_POOL || kind == US_IN_FUSE ? t->net->units[unit].in_blocks : 0;
    return dx;
}

/* Maps, their gradients, and the gradients of inputs that are no map: places are used again when what was there is dead, so the
 * gradients of the first units, the largest, lie where the maps of the last ones were. */
static void place_maps(us_training *t, struct us_arena *arena) {
    const int n = t->net->n_units;
    struct us_interval lives[3 * US_MAX_UNITS];
    char *base;
    int u;
    for (u = 0; u < n; u++) {
        struct us_interval *z = &lives[3 * u], *grad = &lives[3 * u + 1], *dx = &lives[3 * u + 2];
        *grad = gradient_life(t, u);
        *z = *dx = *grad;
        z->first = u;
        z->last = backward_time(t->net, u);
        dx->first = dx->last = backward_time(t->net, u);
        t->input_grads[u] = input_gradient(t, u);
        dx->size = map_bytes(&t->input_grads[u]);
    }
    base = (char *)us_arena_take(arena, us_plan_intervals(lives, 3 * n));
    for (u = 0; u < n; u++) {
        t->grads[u] = t->pass.z[u];
        t->pass.z[u].data = base ? (float *)(base + lives[3 * u].offset) : NULL;
        t->grads[u].data = base ? (float *)(base + lives[3 * u + 1].offset) : NULL;
        t->input_grads[u].data = base ? (float *)(base + lives[3 * u + 2].offset) : NULL;
    }
}

static void place_norm(us_training *t, struct us_arena *arena, int u) {
    const struct us_unit *unit = &t->net->units[u];
    struct us_norm *norm = &t->norms[u];
    const int batch = unit->norm == UNETSTAR_NORM_BATCH;
    const size_t size = us_norm_floats(batch, t->batch, unit->out_blocks) * sizeof(float);
    if (unit->norm == UNETSTAR_NORM_NONE)
        return;
    norm->batch = batch;
    norm->c = unit->c_out;
    norm->groups = unit->groups;
    norm->eps = 1e-5f;
    norm->mean = (float *)us_arena_take(arena, size);
    norm->inverse_std = (float *)us_arena_take(arena, size);
    norm->scale = (float *)us_arena_take(arena, size);
    norm->shift = (float *)us_arena_take(arena, size);
    t->pass.scale[u] = norm->scale;
    t->pass.shift[u] = norm->shift;
    t->pass.coefficient_step[u] = batch ? 0 : (size_t)unit->out_blocks * US_LANES;
}

static void place_heads(us_training *t, struct us_arena *arena) {
    const size_t classes = (size_t)t->net->options.classes, n = (size_t)t->batch;
    size_t rows = 0, loss = 0;
    int i;
    for (i = 0; i < t->net->n_heads; i++) {
        const struct us_head *head = &t->net->heads[i];
        const struct us_map *z = &t->pass.z[head->unit];
        const size_t plane = (size_t)z->h * (size_t)z->w;
        t->logits[i] = (float *)us_arena_take(arena, n * classes * plane * sizeof(float));
        t->dlogits[i] = (float *)us_arena_take(arena, n * classes * plane * sizeof(float));
        if (head->bilinear) {
            t->full_logits = (float *)us_arena_take(arena, n * classes * plane * 4 * sizeof(float));
            t->full_dlogits = (float *)us_arena_take(arena, n * classes * plane * 4 * sizeof(float));
        }
        rows = US_MAX(rows, n * (size_t)z->h * (classes * (size_t)z->blocks * US_LANES + US_LANES) * sizeof(float));
        loss = US_MAX(loss, us_loss_scratch(t->batch, (int64_t)classes, (int64_t)z->h * (head->bilinear ? 2 : 1)));
    }
    t->head_rows = (float *)us_arena_take(arena, rows);
    t->loss_rows = us_arena_take(arena, loss);
}

/* Floats of the transformed weights of a convolution that wants them stored. */
static size_t stored_weights(const struct us_conv_job *job) {
    if (!job->tile || !us_wino_stores_weights(job))
        return 0;
    return us_wino_weights_floats(job->ctx, job->tile, job->in_blocks, job->out_blocks);
}

/* Buffers that the backward pass uses for one unit after the other. */
static void place_shared(us_training *t, struct us_arena *arena) {
    size_t flipped = 0, transformed = 0, partials = 0, constants = 0, sums = 0;
    double *shared_sums;
    int u;
    for (u = 0; u < t->net->n_units; u++) {
        const struct us_unit *unit = &t->net->units[u];
        if (!t->pass.tile[u] && !us_unit_depthwise(unit)) /* the direct and the transposed convolution */
            flipped = US_MAX(flipped, unit->weights_size);
        if (unit->kind != US_UNIT_UPCONV) {
            struct us_input_source source;
            struct us_conv_job job;
            source.pass = &t->pass;
            source.unit = u;
            us_pass_job(&t->pass, &source, &job);
            partials = US_MAX(partials, us_conv_weights_partials(&job));
            transformed = US_MAX(transformed, stored_weights(&job));
            job.in_blocks = unit->out_blocks;
            job.out_blocks = unit->in_blocks;
            transformed = US_MAX(transformed, stored_weights(&job));
        }
        constants = US_MAX(constants, us_norm_constants(unit->norm == UNETSTAR_NORM_BATCH, t->batch, unit->out_blocks));
        sums = US_MAX(sums, us_norm_sums(t->batch, unit->out_blocks));
    }
    t->flipped = (float *)us_arena_take(arena, flipped * sizeof(float));
    t->transformed = (float *)us_arena_take(arena, transformed * sizeof(float));
    t->partials = (float *)us_arena_take(arena, partials * sizeof(float));
    t->constants = (float *)us_arena_take(arena, constants * sizeof(float));
    shared_sums = (double *)us_arena_take(arena, sums * sizeof(double));
    for (u = 0; u < t->net->n_units; u++)
        t->norms[u].sums = shared_sums;
}

static size_t image_floats(const us_training *t, int n) {
    return (size_t)n * (size_t)t->net->options.in_channels * (size_t)t->height * (size_t)t->width;
}

static void place_all(us_training *t, struct us_arena *arena) {
    int u;
    t->image = (float *)us_arena_take(arena, image_floats(t, t->batch) * sizeof(float));
    t->pass.image = t->image;
    for (u = 0; u < t->net->n_units; u++)
        place_norm(t, arena, u);
    place_maps(t, arena);
    place_heads(t, arena);
    place_shared(t, arena);
    t->pass.scratch.each = us_pass_scratch(&t->pass, NULL, 1);
    t->pass.scratch.base = (char *)us_arena_take(arena, t->pass.scratch.each * (size_t)us_workers(t->ctx));
}

int us_training_create(us_training **out, us_context *ctx, const struct us_net *net, int batch, int64_t height,
                       int64_t width) {
    us_training *t = (us_training *)us_alloc_zero(ctx, sizeof *t);
    struct us_arena arena = {NULL, 0, 0};
    *out = NULL;
    if (!t)
        return UNETSTAR_ENOMEM;
    t->ctx = ctx;
    t->net = net;
    t->batch = batch;
    t->height = (int)height;
    t->width = (int)width;
    us_pass_shapes(&t->pass, ctx, net, batch, height, width, 1);
    us_pass_algorithms(&t->pass, 1, 0);
    t->pass.dropout = net->options.dropout > 0;
    place_all(t, &arena);
    arena.size = arena.used;
    arena.used = 0;
    arena.base = t->memory = (char *)us_alloc(ctx, arena.size);
    t->bytes = arena.size;
    if (!t->memory) {
        us_free(ctx, t);
        return UNETSTAR_ENOMEM;
    }
    place_all(t, &arena);
    *out = t;
    return 0;
}

void us_training_destroy(us_training *training) {
    if (training) {
        us_free(training->ctx, training->memory);
        us_free(training->ctx, training);
    }
}

size_t us_training_bytes(const us_training *training) {
    return training->bytes;
}

/* ---- Forward ---- */

static void set_batch(us_training *t, int n) {
    int u;
    t->pass.n = n;
    for (u = 0; u < t->net->n_units; u++)
        t->pass.z[u].n = t->grads[u].n = t->input_grads[u].n = n;
}

int us_training_transform(us_training *t, int unit, const float *weights, int flip, const float **transformed) {
    const struct us_unit *u = &t->net->units[unit];
    struct us_input_source source;
    struct us_conv_job job;
    *transformed = NULL;
    source.pass = &t->pass;
    source.unit = unit;
    us_pass_job(&t->pass, &source, &job);
    if (flip) {
        job.in_blocks = u->out_blocks;
        job.out_blocks = u->in_blocks;
    }
    if (!job.tile || !us_wino_stores_weights(&job))
        return 0;
    us_mark(t->ctx, "transform weights", unit);
    job.weights = weights;
    job.flip = flip;
    *transformed = t->transformed;
    return us_wino_transform_weights(&job, t->transformed);
}

static int forward_unit(us_training *t, struct us_params *params, int u) {
    const struct us_unit *unit = &t->net->units[u];
    const float *bias = (unit->bias_fixed ? params->buffers : params->arena) + unit->bias;
    const float *weights = us_unit_weights(params, unit), *transformed;
    int code = us_training_transform(t, u, weights, 0, &transformed);
    us_mark(t->ctx, "forward", u);
    if (!code)
        code = us_unit_forward(&t->pass, u, 0, t->pass.z[u].h, weights, transformed, bias);
    us_mark(t->ctx, "norm forward", u);
    if (code || unit->norm == UNETSTAR_NORM_NONE)
        return code;
    if (unit->norm == UNETSTAR_NORM_BATCH) {
        params->batches[u]++;
        return us_norm_measure(t->ctx, &t->norms[u], &t->pass.z[u], params->arena + unit->gamma, params->arena + unit->beta,
                               0.1f, params->buffers + unit->running_mean, params->buffers + unit->running_var);
    }
    return us_norm_measure(t->ctx, &t->norms[u], &t->pass.z[u], params->arena + unit->gamma, params->arena + unit->beta, 0,
                           NULL, NULL);
}

static void upsample_logits(us_training *t) {
    const struct us_map *z = &t->pass.z[t->net->heads[0].unit];
    const size_t plane = (size_t)z->h * (size_t)z->w;
    int i;
    for (i = 0; i < t->pass.n * t->net->options.classes; i++)
        us_plane_bilinear(t->logits[0] + (size_t)i * plane, z->h, z->w, t->full_logits + (size_t)i * plane * 4);
}

int us_training_forward(us_training *t, struct us_params *params, int n, const float *x, uint64_t seed, uint64_t stream) {
    int u, i, code = 0;
    t->state = 0;
    set_batch(t, n);
    t->pass.dropout_seed = seed;
    t->pass.dropout_stream = stream;
    us_mark(t->ctx, "copy input", -1);
    memcpy(t->image, x, image_floats(t, n) * sizeof *x); /* the backward pass needs it again */
    for (u = 0; u < t->net->n_units && !code; u++)
        code = forward_unit(t, params, u);
    us_mark(t->ctx, "head", -1);
    for (i = 0; i < t->net->n_heads && !code; i++) {
        const struct us_head *head = &t->net->heads[i];
        const int h = t->pass.z[head->unit].h;
        code = us_head_forward(&t->pass, head, 0, h, params->arena + head->weights, params->arena + head->bias,
                               t->logits[i], h);
    }
    if (code)
        return code;
    if (t->full_logits)
        upsample_logits(t);
    t->state = 1;
    return 0;
}

struct us_logits_view us_training_view(const us_training *t, int head) {
    const struct us_head *h = &t->net->heads[head];
    const struct us_map *z = &t->pass.z[h->unit];
    struct us_logits_view view;
    view.logits = h->bilinear ? t->full_logits : t->logits[head];
    view.dlogits = h->bilinear ? t->full_dlogits : t->dlogits[head];
    view.h = h->bilinear ? 2 * z->h : z->h;
    view.w = h->bilinear ? 2 * z->w : z->w;
    view.scale = h->scale;
    return view;
}

int us_training_logits(const us_training *t, float *logits) {
    const struct us_logits_view v = us_training_view(t, 0);
    int i, y, x;
    if (t->state < 1)
        return us_fail(UNETSTAR_ESTATE, "there are no logits before a forward pass");
    for (i = 0; i < t->pass.n * t->net->options.classes; i++)
        for (y = 0; y < t->height; y++) {
            const float *row = v.logits + ((size_t)i * (size_t)v.h + (size_t)(y / v.scale)) * (size_t)v.w;
            for (x = 0; x < t->width; x++)
                *logits++ = row[x / v.scale];
        }
    return 0;
}

int us_training_loss(us_training *t, const struct us_loss *loss, double supervision_weight, const uint8_t *labels,
                     const uint8_t *mask, double *value) {
    const int aux = t->net->n_heads - 1;
    int i;
    if (t->state < 1)
        return us_fail(UNETSTAR_ESTATE, "the loss needs a forward pass first");
    if (t->state == 3)
        return us_fail(UNETSTAR_ESTATE, "a backward pass has used up the maps of the last forward pass; "
                                        "the loss needs a new one");
    *value = 0;
    us_mark(t->ctx, "loss", -1);
    for (i = 0; i <= aux; i++) {
        const struct us_logits_view v = us_training_view(t, i);
        struct us_loss_map map;
        double part;
        int code;
        map.n = t->pass.n;
        map.c = t->net->options.classes;
        map.h = v.h;
        map.w = v.w;
        map.height = t->height;
        map.width = t->width;
        map.scale = v.scale;
        map.logits = v.logits;
        map.labels = labels;
        map.mask = mask;
        map.gradient = v.dlogits;
        map.weight = i ? supervision_weight / aux : 1;
        code = us_loss_run(t->ctx, loss, &map, t->loss_rows, &part);
        if (code)
            return code;
        *value += map.weight * part;
    }
    t->state = 2;
    return 0;
}
