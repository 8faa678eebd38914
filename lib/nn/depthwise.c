/*
 * depthwise.c - convolution of every channel with a kernel of its own: 3x3, or 1x1, which is a factor. Forward,
 * backward-data and backward-weights.
 *
 * A task is a band of a few rows of one block, or a piece of it; the rows of its input lie in the worker's scratch.
 * Every output is one chain, and a weight gradient is summed by rows and images in order, so that neither how a map is
 * cut nor who computes it shows in the result.
 */
#include "nn/map.h"

#include <string.h>

#define BAND_ROWS 8
#define BAND_COLUMNS 128
#define TAPS 9
#define SUMS ((size_t)TAPS * US_LANES)

/* The kernel of a unit that has none of its own. */
static const float ones[US_LANES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static size_t slab_bytes(int rows, int columns) {
    return (size_t)(rows + 2) * (size_t)(columns + 2) * US_LANES * sizeof(float);
}

size_t us_depthwise_scratch(const struct us_conv_job *job) {
    return job->tmp_bytes + slab_bytes(BAND_ROWS, US_MIN(job->w, BAND_COLUMNS));
}

/* ---- Forward and backward-data ---- */

struct forward {
    const struct us_conv_job *job;
    int bands, pieces;
};

static void forward_task(void *arg, int64_t index, int worker) {
    const struct forward *f = (const struct forward *)arg;
    const struct us_conv_job *job = f->job;
    const int taps = us_job_taps(job);
    const int x0 = (int)(index % f->pieces) * BAND_COLUMNS,
              y0 = job->y0 + (int)(index / f->pieces % f->bands) * BAND_ROWS;
    const int b = (int)(index / f->pieces / f->bands % job->out_blocks),
              n = (int)(index / f->pieces / f->bands / job->out_blocks);
    const int columns = US_MIN(BAND_COLUMNS, job->w - x0), rows = US_MIN(BAND_ROWS, job->y1 - y0);
    const float *weights = job->weights ? job->weights + (size_t)b * (size_t)taps * US_LANES : ones;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    const float *in[BAND_ROWS + 2];
    float flipped[SUMS];
    int r, tap;
    us_fetch_rows(job, n, b, y0, rows, x0, columns, (float *)(void *)(scratch + job->tmp_bytes),
                  (float *)(void *)scratch, in);
    if (job->flip && job->weights) {
        for (tap = 0; tap < taps; tap++)
            memcpy(flipped + tap * US_LANES, weights + (taps - 1 - tap) * US_LANES, US_LANES * sizeof *weights);
        weights = flipped;
    }
    for (r = 0; r < rows; r++)
        job->ctx->kern.depthwise(us_map_row(&job->out, n, b, y0 + r) + (size_t)x0 * US_LANES, in + r, (size_t)columns,
                                 weights, job->bias ? job->bias + (size_t)b * US_LANES : NULL, job->pointwise ? 1 : 3);
}

int us_depthwise_forward(const struct us_conv_job *job) {
    struct forward f;
    f.job = job;
    f.bands = us_divide_up(job->y1 - job->y0, BAND_ROWS);
    f.pieces = us_divide_up(job->w, BAND_COLUMNS);
    return us_parallel(job->ctx, NULL, forward_task, &f, (int64_t)job->n * job->out_blocks * f.bands * f.pieces);
}

/* ---- Backward-weights ---- */

size_t us_depthwise_weights_scratch(const struct us_conv_job *job) {
    return job->tmp_bytes + slab_bytes(BAND_ROWS, job->w);
}

size_t us_depthwise_weights_partials(const struct us_conv_job *job) {
    return (size_t)job->n * (size_t)job->out_blocks * SUMS * (sizeof(double) / sizeof(float));
}

/* The sums of one image and block. */
static void weights_task(void *arg, int64_t index, int worker) {
    const struct us_conv_job *job = (const struct us_conv_job *)arg;
    const int n = (int)(index / job->out_blocks), b = (int)(index % job->out_blocks);
    double *sums = (double *)(void *)job->partials + (size_t)index * SUMS;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    const float *in[BAND_ROWS + 2];
    float part[SUMS];
    int y0, r, rows;
    size_t i;
    memset(sums, 0, SUMS * sizeof *sums);
    for (y0 = 0; y0 < job->h; y0 += rows) {
        rows = US_MIN(BAND_ROWS, job->h - y0);
        us_fetch_rows(job, n, b, y0, rows, 0, job->w, (float *)(void *)(scratch + job->tmp_bytes),
                      (float *)(void *)scratch, in);
        for (r = 0; r < rows; r++) {
            job->ctx->kern.depthwise_bwdw(part, in + r, us_map_row(&job->dout, n, b, y0 + r), (size_t)job->w);
            for (i = 0; i < SUMS; i++)
                sums[i] += (double)part[i];
        }
    }
}

int us_depthwise_backward_weights(const struct us_conv_job *job) {
    const double *sums = (const double *)(const void *)job->partials;
    const size_t floats = (size_t)job->out_blocks * SUMS;
    size_t i;
    int n, code = us_parallel(job->ctx, NULL, weights_task, (void *)(uintptr_t)job, (int64_t)job->n * job->out_blocks);
    for (i = 0; i < floats && !code; i++) {
        double sum = 0;
        for (n = 0; n < job->n; n++)
            sum += sums[(size_t)n * floats + i];
        job->dw[i] = (float)sum;
    }
    return code;
}
