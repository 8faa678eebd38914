/*
 * layer_resample.c - max pooling and upsampling by 2 on plain buffers. Planes are taken 16 at a time as the lanes of a
 * row, and the network's kernels do the work. A task is one row of one such group: the larger side has two rows for it.
 */
#include "nn/layer.h"

#include <string.h>

#define SCRATCH_ROWS 10 /* of the smaller width */

struct resample {
    us_context *ctx;
    int64_t planes, h, w; /* of the smaller side */
    const float *x;       /* pooling: the larger side; upsampling: the smaller */
    const float *dy;
    float *out;
    struct us_scratch scratch;
};

/* Row y of the group's planes, h x w each, to a row of pixels; lanes without a plane become 0. */
static void gather(const struct resample *r, int64_t group, const float *planes, int64_t h, int64_t w, int64_t y,
                   float *row) {
    const int64_t first = group * US_LANES, live = US_MIN(r->planes - first, US_LANES);
    int64_t lane, x;
    if (live < US_LANES)
        memset(row, 0, (size_t)w * US_LANES * sizeof *row);
    for (lane = 0; lane < live; lane++) {
        const float *from = planes + ((first + lane) * h + y) * w;
        for (x = 0; x < w; x++)
            row[x * US_LANES + lane] = from[x];
    }
}

static void scatter(const struct resample *r, int64_t group, float *planes, int64_t h, int64_t w, int64_t y,
                    const float *row) {
    const int64_t first = group * US_LANES, live = US_MIN(r->planes - first, US_LANES);
    int64_t lane, x;
    for (lane = 0; lane < live; lane++) {
        float *to = planes + ((first + lane) * h + y) * w;
        for (x = 0; x < w; x++)
            to[x] = row[x * US_LANES + lane];
    }
}

static float *scratch_row(const struct resample *r, int worker, int row) {
    return (float *)(r->scratch.base + (size_t)worker * r->scratch.each) + (size_t)row * (size_t)r->w * US_LANES;
}

/* Runs one task for each row of the smaller side, with scratch. */
static int run(struct resample *r, us_task_fn task) {
    size_t bytes;
    int code = us_layer_bytes(&bytes, SCRATCH_ROWS, r->w, US_LANES, 1, sizeof(float));
    if (!code)
        code = us_layer_scratch(r->ctx, &r->scratch, bytes);
    if (!code) {
        code = us_parallel(r->ctx, NULL, task, r, US_BLOCKS(r->planes) * r->h);
        us_free(r->ctx, r->scratch.base);
    }
    return code;
}

static struct resample describe(us_context *ctx, int64_t planes, int64_t h, int64_t w) {
    struct resample r;
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.planes = planes;
    r.h = h;
    r.w = w;
    return r;
}

/* ---- Max pooling ---- */

static void pool_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    float *top = scratch_row(r, worker, 0), *bottom = scratch_row(r, worker, 2), *out = scratch_row(r, worker, 4);
    gather(r, group, r->x, 2 * r->h, 2 * r->w, 2 * y, top);
    gather(r, group, r->x, 2 * r->h, 2 * r->w, 2 * y + 1, bottom);
    r->ctx->kern.pool(out, top, bottom, (size_t)r->w, NULL, NULL, 0);
    scatter(r, group, r->out, r->h, r->w, y, out);
}

static void pool_grad_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    float *top = scratch_row(r, worker, 0), *bottom = scratch_row(r, worker, 2), *grad = scratch_row(r, worker, 4);
    float *dtop = scratch_row(r, worker, 5), *dbottom = scratch_row(r, worker, 7);
    gather(r, group, r->x, 2 * r->h, 2 * r->w, 2 * y, top);
    gather(r, group, r->x, 2 * r->h, 2 * r->w, 2 * y + 1, bottom);
    gather(r, group, r->dy, r->h, r->w, y, grad);
    r->ctx->kern.pool_grad(dtop, dbottom, top, bottom, grad, (size_t)r->w, NULL, NULL, 0, 0);
    scatter(r, group, r->out, 2 * r->h, 2 * r->w, 2 * y, dtop);
    scatter(r, group, r->out, 2 * r->h, 2 * r->w, 2 * y + 1, dbottom);
}

static int check_even(int64_t h, int64_t w) {
    if (h < 2 || h % 2)
        return us_fail(UNETSTAR_ESHAPE, "h is %lld; max pooling needs an even number of rows", (long long)h);
    if (w < 2 || w % 2)
        return us_fail(UNETSTAR_ESHAPE, "w is %lld; max pooling needs an even number of columns", (long long)w);
    return 0;
}

int us_max_pool_forward(us_context *ctx, int64_t planes, int64_t h, int64_t w, const float *x, float *y) {
    struct resample r = describe(ctx, planes, h / 2, w / 2);
    int code = check_even(h, w);
    r.x = x;
    r.out = y;
    return code ? code : run(&r, pool_task);
}

int us_max_pool_backward(us_context *ctx, int64_t planes, int64_t h, int64_t w, const float *x, const float *dy,
                         float *dx) {
    struct resample r = describe(ctx, planes, h / 2, w / 2);
    int code = check_even(h, w);
    r.x = x;
    r.dy = dy;
    r.out = dx;
    return code ? code : run(&r, pool_grad_task);
}

/* ---- Nearest ---- */

static void nearest_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    float *in = scratch_row(r, worker, 0), *out = scratch_row(r, worker, 1);
    gather(r, group, r->x, r->h, r->w, y, in);
    r->ctx->kern.up_nearest(out, in, (size_t)r->w);
    scatter(r, group, r->out, 2 * r->h, 2 * r->w, 2 * y, out);
    scatter(r, group, r->out, 2 * r->h, 2 * r->w, 2 * y + 1, out);
}

static void nearest_grad_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    float *top = scratch_row(r, worker, 0), *bottom = scratch_row(r, worker, 2), *out = scratch_row(r, worker, 4);
    gather(r, group, r->dy, 2 * r->h, 2 * r->w, 2 * y, top);
    gather(r, group, r->dy, 2 * r->h, 2 * r->w, 2 * y + 1, bottom);
    r->ctx->kern.up_nearest_grad(out, top, bottom, (size_t)r->w);
    scatter(r, group, r->out, r->h, r->w, y, out);
}

/* ---- Bilinear: output row i takes 3/4 of row i / 2 and 1/4 of the next row on its side, clamped at the border ---- */

static int64_t far_row(int64_t i, int64_t h) {
    const int64_t other = i % 2 ? i / 2 + 1 : i / 2 - 1;
    return US_MAX(0, US_MIN(other, h - 1));
}

static void bilinear_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    float *near = scratch_row(r, worker, 0), *far = scratch_row(r, worker, 1), *tmp = scratch_row(r, worker, 2);
    float *out = scratch_row(r, worker, 3);
    int64_t i;
    gather(r, group, r->x, r->h, r->w, y, near);
    for (i = 2 * y; i <= 2 * y + 1; i++) {
        gather(r, group, r->x, r->h, r->w, far_row(i, r->h), far);
        r->ctx->kern.up_bilinear(out, near, far, (size_t)r->w, tmp);
        scatter(r, group, r->out, 2 * r->h, 2 * r->w, i, out);
    }
}

/* Row y gathers from the output rows that took from it, in their order, and of each its 3/4 before its 1/4. */
static void bilinear_grad_task(void *arg, int64_t index, int worker) {
    const struct resample *r = (const struct resample *)arg;
    const int64_t group = index / r->h, y = index % r->h;
    const int64_t first = US_MAX(0, 2 * y - 1), last = US_MIN(2 * r->h - 1, 2 * y + 2);
    float *grad = scratch_row(r, worker, 0), *sum = scratch_row(r, worker, 2);
    int64_t i;
    memset(sum, 0, (size_t)r->w * US_LANES * sizeof *sum);
    for (i = first; i <= last; i++) {
        gather(r, group, r->dy, 2 * r->h, 2 * r->w, i, grad);
        if (i / 2 == y)
            r->ctx->kern.up_bilinear_grad(sum, grad, (size_t)r->w, 0.75f);
        if (far_row(i, r->h) == y)
            r->ctx->kern.up_bilinear_grad(sum, grad, (size_t)r->w, 0.25f);
    }
    scatter(r, group, r->out, r->h, r->w, y, sum);
}

int us_upsample_forward(us_context *ctx, int mode, int64_t planes, int64_t h, int64_t w, const float *x, float *y) {
    struct resample r = describe(ctx, planes, h, w);
    r.x = x;
    r.out = y;
    return run(&r, mode == UNETSTAR_UPSAMPLING_BILINEAR ? bilinear_task : nearest_task);
}

int us_upsample_backward(us_context *ctx, int mode, int64_t planes, int64_t h, int64_t w, const float *dy, float *dx) {
    struct resample r = describe(ctx, planes, h, w);
    r.dy = dy;
    r.out = dx;
    return run(&r, mode == UNETSTAR_UPSAMPLING_BILINEAR ? bilinear_grad_task : nearest_grad_task);
}
