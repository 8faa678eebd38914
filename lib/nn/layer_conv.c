/*
 * layer_conv.c - two-dimensional convolution on plain buffers. The geometry of the network's layers (3x3, stride 1,
 * padding 1) is computed as the network does, on maps in blocks of 16 channels; linear layers go to layer_linear.c, all
 * others to layer_conv_direct.c.
 */
#include "nn/layer.h"

#include <string.h>

#define TAP (US_LANES * US_LANES)

/* ---- Shapes ---- */

static int check_size(const char *name, int64_t size, int64_t least) {
    if (size < least)
        return us_fail(UNETSTAR_ESHAPE, "%s is %lld; it must be at least %lld", name, (long long)size,
                       (long long)least);
    return 0;
}

static int check_sizes(const struct us_conv2d *d) {
    int code = check_size("n", d->n, 1);
    if (!code)
        code = check_size("c", d->c, 1);
    if (!code)
        code = check_size("h", d->h, 1);
    if (!code)
        code = check_size("w", d->w, 1);
    if (!code)
        code = check_size("c_out", d->c_out, 1);
    if (!code)
        code = check_size("kernel_h", d->kernel_h, 1);
    if (!code)
        code = check_size("kernel_w", d->kernel_w, 1);
    if (!code)
        code = check_size("stride_h", d->stride_h, 1);
    if (!code)
        code = check_size("stride_w", d->stride_w, 1);
    if (!code)
        code = check_size("padding_h", d->padding_h, 0);
    if (!code)
        code = check_size("padding_w", d->padding_w, 0);
    if (!code)
        code = check_size("dilation", d->dilation, 1);
    if (!code)
        code = check_size("groups", d->groups, 1);
    return code;
}

/* Places of the kernel along one side. */
static int side_output(const char *name, int64_t size, int kernel, int stride, int padding, int dilation,
                       int64_t *out) {
    const int64_t reach = (int64_t)dilation * (kernel - 1) + 1, room = size + 2 * (int64_t)padding;
    if (reach > room)
        return us_fail(UNETSTAR_ESHAPE, "%s is %lld, with padding %lld, but the kernel reaches over %lld", name,
                       (long long)size, (long long)room, (long long)reach);
    *out = (room - reach) / stride + 1;
    return 0;
}

int us_conv2d_output(const struct us_conv2d *d, int64_t *ho, int64_t *wo) {
    size_t bytes;
    int code = check_sizes(d);
    if (!code) /* before any sum is formed of them */
        code = us_layer_bytes(&bytes, d->n, d->c, d->h, d->w, sizeof(float));
    if (!code)
        code = us_layer_bytes(&bytes, d->c_out, d->c, d->kernel_h, d->kernel_w, sizeof(float));
    if (!code && (d->c % d->groups || d->c_out % d->groups))
        return us_fail(UNETSTAR_ESHAPE, "groups is %d, which does not divide both c (%lld) and c_out (%lld)", d->groups,
                       (long long)d->c, (long long)d->c_out);
    if (!code)
        code = side_output("h", d->h, d->kernel_h, d->stride_h, d->padding_h, d->dilation, ho);
    if (!code)
        code = side_output("w", d->w, d->kernel_w, d->stride_w, d->padding_w, d->dilation, wo);
    if (!code)
        code = us_layer_bytes(&bytes, d->n, d->c_out, *ho, *wo, sizeof(float));
    return code;
}

static int is_network_layer(const struct us_conv2d *d) {
    return d->kernel_h == 3 && d->kernel_w == 3 && d->stride_h == 1 && d->stride_w == 1 && d->padding_h == 1 &&
           d->padding_w == 1 && d->dilation == 1 && d->groups == 1;
}

/* One weight for each pair of values, whatever the stride and dilation are. */
static int is_linear(const struct us_conv2d *d) {
    return d->h == 1 && d->w == 1 && d->kernel_h == 1 && d->kernel_w == 1 && !d->padding_h && !d->padding_w &&
           d->groups == 1;
}

/* ---- Weights: (c_out, c, 3, 3) and [out][in][ky][kx][ci][co] ---- */

static size_t weight_place(int64_t c, int64_t co, int64_t ci, int tap) {
    const size_t block = (size_t)(co / US_LANES) * (size_t)US_BLOCKS(c) + (size_t)(ci / US_LANES);
    return (block * 9 + (size_t)tap) * TAP + (size_t)(ci % US_LANES) * US_LANES + (size_t)(co % US_LANES);
}

static void pack_weights(const struct us_conv2d *d, const float *weight, float *packed) {
    int64_t co, ci;
    int tap;
    for (co = 0; co < d->c_out; co++)
        for (ci = 0; ci < d->c; ci++)
            for (tap = 0; tap < 9; tap++)
                packed[weight_place(d->c, co, ci, tap)] = *weight++;
}

static void unpack_weights(const struct us_conv2d *d, const float *packed, float *weight) {
    int64_t co, ci;
    int tap;
    for (co = 0; co < d->c_out; co++)
        for (ci = 0; ci < d->c; ci++)
            for (tap = 0; tap < 9; tap++)
                *weight++ = packed[weight_place(d->c, co, ci, tap)];
}

/* ---- On maps ---- */

/* Everything a call may hold; what it does not need stays NULL. */
struct work {
    us_context *ctx;
    const struct us_conv2d *d;
    int in_blocks, out_blocks;
    size_t weight_bytes;
    struct us_map x, y; /* input, output; or their gradients, as it says */
    struct us_map dx;
    float *weights, *flipped, *dw, *partials, *lanes; /* lanes: a bias or its gradient */
    double *sums;
    struct us_scratch scratch;
};

static int start(struct work *work, us_context *ctx, const struct us_conv2d *d) {
    memset(work, 0, sizeof *work);
    work->ctx = ctx;
    work->d = d;
    work->in_blocks = (int)US_BLOCKS(d->c);
    work->out_blocks = (int)US_BLOCKS(d->c_out);
    return us_layer_bytes(&work->weight_bytes, US_BLOCKS(d->c), US_BLOCKS(d->c_out), 9, TAP, sizeof(float));
}

static void finish(struct work *work) {
    us_free(work->ctx, work->x.data);
    us_free(work->ctx, work->y.data);
    us_free(work->ctx, work->dx.data);
    us_free(work->ctx, work->weights);
    us_free(work->ctx, work->flipped);
    us_free(work->ctx, work->dw);
    us_free(work->ctx, work->partials);
    us_free(work->ctx, work->lanes);
    us_free(work->ctx, work->sums);
    us_free(work->ctx, work->scratch.base);
}

static int take(us_context *ctx, void **out, size_t bytes) {
    *out = us_alloc_zero(ctx, bytes);
    return *out ? 0 : UNETSTAR_ENOMEM;
}

static int take_floats(us_context *ctx, float **out, size_t count) {
    void *memory;
    int code = take(ctx, &memory, count * sizeof(float));
    *out = (float *)memory;
    return code;
}

/* The direct convolution from one map to another, without weights yet. */
static void describe_conv(const struct work *work, const struct us_map *in, const struct us_map *out, int64_t channels,
                          struct us_conv_job *job) {
    memset(job, 0, sizeof *job);
    job->ctx = work->ctx;
    job->row = us_plain_row;
    job->source = in;
    job->n = in->n;
    job->h = job->y1 = in->h;
    job->w = in->w;
    job->in_blocks = in->blocks;
    job->out_blocks = out->blocks;
    job->last_channels = us_layer_last(channels);
    job->out = *out;
    job->scratch = work->scratch;
}

static void describe_weights(const struct work *work, struct us_conv_job *job) {
    memset(job, 0, sizeof *job);
    job->ctx = work->ctx;
    job->row = us_plain_row;
    job->source = &work->x;
    job->n = work->y.n;
    job->h = work->y.h;
    job->w = work->y.w;
    job->in_blocks = work->in_blocks;
    job->out_blocks = work->out_blocks;
    job->last_channels = us_layer_last(work->d->c);
    job->dout = work->y;
    job->dw = work->dw;
    job->partials = work->partials;
    job->scratch = work->scratch;
}

static int prepare_forward(struct work *work) {
    const struct us_conv2d *d = work->d;
    int code = us_layer_map(work->ctx, &work->x, d->n, d->c, d->h, d->w);
    if (!code)
        code = us_layer_map(work->ctx, &work->y, d->n, d->c_out, d->h, d->w);
    if (!code)
        code = take_floats(work->ctx, &work->weights, work->weight_bytes / sizeof(float));
    if (!code)
        code = take_floats(work->ctx, &work->lanes, (size_t)work->out_blocks * US_LANES);
    if (!code) {
        struct us_conv_job job;
        describe_conv(work, &work->x, &work->y, d->c, &job);
        code = us_layer_scratch(work->ctx, &work->scratch, us_conv_scratch(&job));
    }
    return code;
}

/* The convolution from one map to another: forward, or backward-data on flipped weights. */
static int run_conv(const struct work *work, const struct us_map *in, int64_t channels, const float *weights,
                    const float *bias, const struct us_map *out) {
    struct us_conv_job job;
    describe_conv(work, in, out, channels, &job);
    job.weights = weights;
    job.bias = bias;
    return us_conv_forward(&job);
}

static int map_forward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight,
                       const float *bias, float *y) {
    struct work work;
    int code = start(&work, ctx, d);
    if (!code)
        code = prepare_forward(&work);
    if (!code)
        code = us_layer_pack(ctx, &work.x, x, d->c);
    if (!code) {
        pack_weights(d, weight, work.weights);
        if (bias)
            memcpy(work.lanes, bias, (size_t)d->c_out * sizeof *bias);
        code = run_conv(&work, &work.x, d->c, work.weights, bias ? work.lanes : NULL, &work.y);
    }
    if (!code)
        code = us_layer_unpack(ctx, &work.y, y, d->c_out);
    finish(&work);
    return code;
}

static int prepare_backward(struct work *work, int data, int weights, int bias) {
    const struct us_conv2d *d = work->d;
    const size_t weight_floats = work->weight_bytes / sizeof(float);
    size_t scratch = 64, sums, partials;
    int code = us_layer_map(work->ctx, &work->y, d->n, d->c_out, d->h, d->w);
    if (!code && data) {
        struct us_conv_job job;
        code = us_layer_map(work->ctx, &work->dx, d->n, d->c, d->h, d->w);
        describe_conv(work, &work->y, &work->dx, d->c_out, &job);
        if (!code)
            scratch = us_conv_scratch(&job);
        if (!code)
            code = take_floats(work->ctx, &work->weights, weight_floats);
        if (!code)
            code = take_floats(work->ctx, &work->flipped, weight_floats);
    }
    if (!code && weights) {
        struct us_conv_job job;
        describe_weights(work, &job);
        scratch = US_MAX(scratch, us_conv_weights_scratch(&job));
        code = us_layer_map(work->ctx, &work->x, d->n, d->c, d->h, d->w);
        if (!code)
            code = take_floats(work->ctx, &work->dw, weight_floats);
        partials = us_conv_weights_partials(&job);
        if (!code && partials)
            code = take_floats(work->ctx, &work->partials, partials);
    }
    if (!code && bias) {
        void *memory = NULL;
        code = us_layer_bytes(&sums, d->n, work->out_blocks, 32, 1, sizeof(double));
        if (!code)
            code = take(work->ctx, &memory, sums);
        work->sums = (double *)memory;
        if (!code)
            code = take_floats(work->ctx, &work->lanes, (size_t)work->out_blocks * US_LANES);
    }
    return code ? code : us_layer_scratch(work->ctx, &work->scratch, scratch);
}

static int weight_gradient(const struct work *work, const float *x) {
    struct us_conv_job job;
    int code = us_layer_pack(work->ctx, &work->x, x, work->d->c);
    describe_weights(work, &job);
    return code ? code : us_conv_backward_weights(&job);
}

/* All gradients are computed before the first is handed out, so that a failure changes nothing. */
static int map_backward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight,
                        const float *dy, float *dx, float *dweight, float *dbias) {
    struct work work;
    int code = start(&work, ctx, d);
    if (!code)
        code = prepare_backward(&work, dx != NULL, dweight != NULL, dbias != NULL);
    if (!code)
        code = us_layer_pack(ctx, &work.y, dy, d->c_out);
    if (!code && dx) {
        pack_weights(d, weight, work.weights);
        code = us_conv_flip(ctx, work.flipped, work.weights, work.in_blocks, work.out_blocks, 9);
        if (!code)
            code = run_conv(&work, &work.y, d->c_out, work.flipped, NULL, &work.dx);
    }
    if (!code && dweight)
        code = weight_gradient(&work, x);
    if (!code && dbias)
        code = us_map_channel_sums(ctx, &work.y, work.sums, work.lanes);
    if (!code && dx)
        code = us_layer_unpack(ctx, &work.dx, dx, d->c);
    if (!code && dweight)
        unpack_weights(d, work.dw, dweight);
    if (!code && dbias)
        memcpy(dbias, work.lanes, (size_t)d->c_out * sizeof *dbias);
    finish(&work);
    return code;
}

/* ---- The layer ---- */

int us_conv2d_forward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight,
                      const float *bias, float *y) {
    int64_t ho, wo;
    int code = us_conv2d_output(d, &ho, &wo);
    if (code)
        return code;
    if (is_network_layer(d))
        return map_forward(ctx, d, x, weight, bias, y);
    if (is_linear(d))
        return us_linear_forward(ctx, d->n, d->c, d->c_out, x, weight, bias, y);
    return us_conv2d_direct_forward(ctx, d, ho, wo, x, weight, bias, y);
}

int us_conv2d_backward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight, const float *dy,
                       float *dx, float *dweight, float *dbias) {
    int64_t ho, wo;
    int code = us_conv2d_output(d, &ho, &wo);
    if (code)
        return code;
    if (is_network_layer(d))
        return map_backward(ctx, d, x, weight, dy, dx, dweight, dbias);
    if (is_linear(d))
        return us_linear_backward(ctx, d->n, d->c, d->c_out, x, weight, dy, dx, dweight, dbias);
    return us_conv2d_direct_backward(ctx, d, ho, wo, x, weight, dy, dx, dweight, dbias);
}
