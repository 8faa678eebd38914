/* layer_upconv.c - 2x2 transposed convolution with stride 2 on plain buffers, computed as the network does. */
#include "nn/layer.h"

#include <string.h>

#define PLACES 4
#define TAP (US_LANES * US_LANES)

/* Everything a call may hold; what it does not need stays NULL. */
struct work {
    us_context *ctx;
    int64_t c, c_out;
    size_t weight_floats;
    struct us_map x, y, dx;
    float *weights, *flipped, *dw, *lanes;
    double *sums;
    struct us_scratch scratch;
};

/* Weight (c, c_out, 2, 2) in [place][out][in][ci][co]. */
static size_t weight_place(const struct work *work, int64_t ci, int64_t co, int place) {
    const size_t in = (size_t)US_BLOCKS(work->c), out = (size_t)US_BLOCKS(work->c_out);
    const size_t block = ((size_t)place * out + (size_t)(co / US_LANES)) * in + (size_t)(ci / US_LANES);
    return block * TAP + (size_t)(ci % US_LANES) * US_LANES + (size_t)(co % US_LANES);
}

static void pack_weights(const struct work *work, const float *weight) {
    int64_t ci, co;
    int place;
    for (ci = 0; ci < work->c; ci++)
        for (co = 0; co < work->c_out; co++)
            for (place = 0; place < PLACES; place++)
                work->weights[weight_place(work, ci, co, place)] = *weight++;
}

static void unpack_weights(const struct work *work, float *weight) {
    int64_t ci, co;
    int place;
    for (ci = 0; ci < work->c; ci++)
        for (co = 0; co < work->c_out; co++)
            for (place = 0; place < PLACES; place++)
                *weight++ = work->dw[weight_place(work, ci, co, place)];
}

static void finish(struct work *work) {
    us_free(work->ctx, work->x.data);
    us_free(work->ctx, work->y.data);
    us_free(work->ctx, work->dx.data);
    us_free(work->ctx, work->weights);
    us_free(work->ctx, work->flipped);
    us_free(work->ctx, work->dw);
    us_free(work->ctx, work->lanes);
    us_free(work->ctx, work->sums);
    us_free(work->ctx, work->scratch.base);
}

static int take_floats(const struct work *work, float **out, size_t count) {
    *out = (float *)us_alloc_zero(work->ctx, count * sizeof(float));
    return *out ? 0 : UNETSTAR_ENOMEM;
}

/* What both directions need: the map of the larger side, weights, a lane for each output channel, scratch. */
static int start(struct work *work, us_context *ctx, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out) {
    size_t bytes;
    int code;
    memset(work, 0, sizeof *work);
    work->ctx = ctx;
    work->c = c;
    work->c_out = c_out;
    code = us_layer_bytes(&bytes, US_BLOCKS(c), US_BLOCKS(c_out), PLACES, TAP, sizeof(float));
    work->weight_floats = code ? 0 : bytes / sizeof(float);
    if (!code)
        code = us_layer_map(ctx, &work->x, n, c, h, w);
    if (!code)
        code = us_layer_map(ctx, &work->y, n, c_out, 2 * h, 2 * w);
    if (!code)
        code = take_floats(work, &work->weights, work->weight_floats);
    if (!code)
        code = take_floats(work, &work->lanes, (size_t)work->y.blocks * US_LANES);
    if (!code)
        code = us_layer_scratch(ctx, &work->scratch, us_upconv_scratch(work->x.w, work->x.blocks, work->y.blocks, 0));
    return code;
}

static void fill_job(const struct work *work, struct us_conv_job *job) {
    memset(job, 0, sizeof *job);
    job->ctx = work->ctx;
    job->row = us_plain_row;
    job->source = &work->x;
    job->n = work->x.n;
    job->h = job->y1 = work->x.h;
    job->w = work->x.w;
    job->in_blocks = work->x.blocks;
    job->out_blocks = work->y.blocks;
    job->last_channels = us_layer_last(work->c);
    job->weights = work->weights;
    job->out = work->y;
    job->scratch = work->scratch;
}

int us_conv_transpose2d_forward(us_context *ctx, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out,
                                const float *x, const float *weight, const float *bias, float *y) {
    struct us_conv_job job;
    struct work work;
    int code = start(&work, ctx, n, c, h, w, c_out);
    if (!code)
        code = us_layer_pack(ctx, &work.x, x, c);
    if (!code) {
        pack_weights(&work, weight);
        fill_job(&work, &job);
        if (bias) {
            memcpy(work.lanes, bias, (size_t)c_out * sizeof *bias);
            job.bias = work.lanes;
        }
        code = us_upconv_forward(&job);
    }
    if (!code)
        code = us_layer_unpack(ctx, &work.y, y, c_out);
    finish(&work);
    return code;
}

static int prepare_backward(struct work *work, int data, int weights, int bias) {
    size_t sums;
    int code = 0;
    if (data) {
        code = us_layer_map(work->ctx, &work->dx, work->x.n, work->c, work->x.h, work->x.w);
        if (!code)
            code = take_floats(work, &work->flipped, work->weight_floats);
    }
    if (!code && weights)
        code = take_floats(work, &work->dw, work->weight_floats);
    if (!code && bias) {
        code = us_layer_bytes(&sums, work->y.n, work->y.blocks, 32, 1, sizeof(double));
        if (!code)
            work->sums = (double *)us_alloc(work->ctx, sums);
        if (!code && !work->sums)
            code = UNETSTAR_ENOMEM;
    }
    return code;
}

/* All gradients are computed before the first is handed out, so that a failure changes nothing. */
int us_conv_transpose2d_backward(us_context *ctx, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out,
                                 const float *x, const float *weight, const float *dy, float *dx, float *dweight,
                                 float *dbias) {
    struct us_conv_job job;
    struct work work;
    int code = start(&work, ctx, n, c, h, w, c_out);
    if (!code)
        code = prepare_backward(&work, dx != NULL, dweight != NULL, dbias != NULL);
    if (!code)
        code = us_layer_pack(ctx, &work.y, dy, c_out);
    fill_job(&work, &job);
    if (!code && dx) {
        pack_weights(&work, weight);
        code = us_upconv_backward_data(&job, &work.dx, work.flipped);
    }
    if (!code && dweight)
        code = us_layer_pack(ctx, &work.x, x, c);
    if (!code && dweight)
        code = us_upconv_backward_weights(&job, work.dw);
    if (!code && dbias)
        code = us_map_channel_sums(ctx, &work.y, work.sums, work.lanes);
    if (!code && dx)
        code = us_layer_unpack(ctx, &work.dx, dx, c);
    if (!code && dweight)
        unpack_weights(&work, dweight);
    if (!code && dbias)
        memcpy(dbias, work.lanes, (size_t)c_out * sizeof *dbias);
    finish(&work);
    return code;
}
