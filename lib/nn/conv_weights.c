/*
 * conv_weights.c - backward-weights of the 3x3 and the 1x1 convolution over whole maps, direct: a partial is a run of rows
 * of one image with about 2,048 pixels, one chain an element (partials.c adds them).
 */
#include "nn/map.h"

#include <string.h>

#define PARTIAL_PIXELS 2048
#define KERNEL_PIXELS 256 /* rows given to the kernel at once: gradient and input rows stay in the L1 cache */
#define OUT_STEP 4        /* output blocks of a task: stack and gradients stay in the L2 cache */
#define TAP (US_LANES * US_LANES)

struct direct {
    const struct us_conv_job *job;
    int rows;  /* of a partial */
    int bands; /* partials of an image */
};

static struct direct cut(const struct us_conv_job *job) {
    struct direct d;
    d.job = job;
    d.rows = US_MIN(job->h, US_MAX(1, PARTIAL_PIXELS / job->w));
    d.bands = (job->h + d.rows - 1) / d.rows;
    return d;
}

static size_t pointers_bytes(int rows) {
    size_t bytes = sizeof(float *) * (size_t)(rows + 2 + OUT_STEP * rows);
    return (bytes + 63) / 64 * 64;
}

static void compute(const void *user, int partial, const struct us_partial_range *range, float *dw, char *scratch) {
    const struct direct *d = (const struct direct *)user;
    const struct us_conv_job *job = d->job;
    const int n = partial / d->bands, y0 = partial % d->bands * d->rows;
    const int rows = US_MIN(d->rows, job->h - y0), step = US_MAX(1, KERNEL_PIXELS / job->w);
    float *tmp = (float *)scratch;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    const float **dout = in + rows + 2;
    float *slab = (float *)(scratch + job->tmp_bytes + pointers_bytes(d->rows));
    const int blocks = range->b1 - range->b0, edge = us_job_border(job);
    const size_t step_floats = (size_t)us_job_taps(job) * TAP;
    struct us_conv_bwdw c;
    int b, o, r, r0;
    memset(dw, 0, (size_t)(range->o1 - range->o0) * (size_t)blocks * step_floats * sizeof *dw);
    c.dout = dout;
    c.dw_stride = (size_t)blocks * step_floats;
    c.width = job->w;
    c.out_blocks = range->o1 - range->o0;
    c.ksize = 1 + 2 * edge;
    c.in_step = c.dout_step = 1;
    for (b = range->b0; b < range->b1; b++) {
        us_fetch_rows(job, n, b, y0, rows, 0, job->w, slab, tmp, in);
        c.dw = dw + (size_t)(b - range->b0) * step_floats;
        c.channels = b == job->in_blocks - 1 ? job->last_channels : US_LANES;
        for (r0 = 0; r0 < rows; r0 += step) {
            c.rows = US_MIN(step, rows - r0);
            c.in = in + r0;
            for (o = range->o0; o < range->o1; o++)
                for (r = 0; r < c.rows; r++)
                    dout[(o - range->o0) * c.rows + r] = us_map_row(&job->dout, n, o, y0 + r0 + r);
            job->ctx->kern.conv_bwdw(&c);
        }
    }
}

static void describe(struct us_partials *p, struct direct *d, const struct us_conv_job *job) {
    *d = cut(job);
    p->count = job->n * d->bands;
    p->in_blocks = job->in_blocks;
    p->out_blocks = job->out_blocks;
    p->taps = us_job_taps(job);
    p->in_step = 1;
    p->out_step = US_MIN(OUT_STEP, job->out_blocks);
    p->compute = compute;
    p->user = d;
}

size_t us_conv_weights_scratch(const struct us_conv_job *job) {
    struct us_partials p;
    struct direct d;
    if (job->depthwise)
        return us_depthwise_weights_scratch(job);
    if (job->tile)
        return us_wino_weights_scratch(job);
    describe(&p, &d, job);
    return us_partials_scratch(&p) + job->tmp_bytes + pointers_bytes(d.rows) +
           (size_t)(d.rows + 2) * (size_t)(job->w + 2) * US_LANES * sizeof(float);
}

size_t us_conv_weights_partials(const struct us_conv_job *job) {
    struct us_partials p;
    struct direct d;
    if (job->depthwise)
        return us_depthwise_weights_partials(job);
    if (job->tile)
        return us_wino_weights_partials(job);
    describe(&p, &d, job);
    return us_partials_floats(us_workers(job->ctx), &p);
}

int us_conv_backward_weights(const struct us_conv_job *job) {
    struct us_partials p;
    struct direct d;
    if (job->depthwise)
        return us_depthwise_backward_weights(job);
    if (job->tile)
        return us_wino_backward_weights(job);
    describe(&p, &d, job);
    return us_partials_run(job->ctx, &p, job->scratch, job->partials, job->dw);
}
