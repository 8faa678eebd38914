/* upconv_gradient.c - 2x2 transposed convolution with stride 2, backward: data, then weights. */
#include "nn/upconv.h"

#include <string.h>

/* ---- Backward-data: the chain runs over the four places in order, then output channels ---- */

struct backward {
    const struct us_conv_job *job;
    const struct us_map *din;
    const float *flipped; /* [place][in][out][co][ci] */
    float *dw;
};

static void data_task(void *arg, int64_t index, int worker) {
    const struct backward *bw = (const struct backward *)arg;
    const struct us_conv_job *job = bw->job;
    const int n = (int)(index / job->h), y = (int)(index % job->h);
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    float **out = (float **)(in + job->out_blocks);
    struct us_conv c;
    int b, o, place;
    for (b = 0; b < job->in_blocks; b++)
        out[b] = us_map_row(bw->din, n, b, y);
    c.in = in;
    c.out = out;
    c.bias = NULL;
    c.rows = 1;
    c.width = job->w;
    c.in_blocks = job->out_blocks;
    c.out_blocks = job->in_blocks;
    c.last_channels = US_LANES; /* dead lanes are zeros in both */
    c.ksize = 1;
    c.in_step = 2;
    c.out_step = 1;
    for (place = 0; place < PLACES; place++) {
        c.accumulate = place > 0;
        c.weights = bw->flipped + (size_t)place * place_floats(job);
        for (o = 0; o < job->out_blocks; o++)
            in[o] = large_row(job, n, o, y, place);
        job->ctx->kern.conv(&c);
    }
}

static void transpose_weights(const struct us_conv_job *job, float *flipped) {
    int place, o, b, ci, co;
    for (place = 0; place < PLACES; place++)
        for (o = 0; o < job->out_blocks; o++)
            for (b = 0; b < job->in_blocks; b++) {
                const size_t out = (size_t)job->out_blocks, in = (size_t)job->in_blocks;
                const float *from = job->weights + (((size_t)place * out + (size_t)o) * in + (size_t)b) * TAP;
                float *to = flipped + (((size_t)place * in + (size_t)b) * out + (size_t)o) * TAP;
                for (ci = 0; ci < US_LANES; ci++)
                    for (co = 0; co < US_LANES; co++)
                        to[co * US_LANES + ci] = from[ci * US_LANES + co];
            }
}

int us_upconv_backward_data(const struct us_conv_job *job, const struct us_map *din, float *flipped) {
    struct backward bw;
    memset(&bw, 0, sizeof bw);
    transpose_weights(job, flipped);
    bw.job = job;
    bw.din = din;
    bw.flipped = flipped;
    return us_parallel(job->ctx, NULL, data_task, &bw, (int64_t)job->n * job->h);
}

/* ---- Backward-weights: one chain over all rows of the batch, a task for every input block ---- */

static void weights_task(void *arg, int64_t index, int worker) {
    const struct backward *bw = (const struct backward *)arg;
    const struct us_conv_job *job = bw->job;
    const int b = (int)index;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    const float **dout = in + 1;
    float *slab = (float *)(scratch + job->tmp_bytes +
                            (sizeof(float *) * (size_t)(job->in_blocks + job->out_blocks) + 63) / 64 * 64);
    struct us_conv_bwdw c;
    int n, y, o, place;
    c.in = in;
    c.dout = dout;
    c.dw_stride = (size_t)job->in_blocks * TAP;
    c.rows = 1;
    c.width = job->w;
    c.out_blocks = job->out_blocks;
    c.channels = b == job->in_blocks - 1 ? job->last_channels : US_LANES;
    c.ksize = 1;
    c.in_step = 1;
    c.dout_step = 2;
    in[0] = slab;
    for (n = 0; n < job->n; n++)
        for (y = 0; y < job->h; y++) {
            job->row(job->source, n, b, y, 0, job->w, slab, (float *)scratch);
            for (place = 0; place < PLACES; place++) {
                c.dw = bw->dw + (size_t)place * place_floats(job) + (size_t)b * TAP;
                for (o = 0; o < job->out_blocks; o++)
                    dout[o] = large_row(job, n, o, y, place);
                job->ctx->kern.conv_bwdw(&c);
            }
        }
}

int us_upconv_backward_weights(const struct us_conv_job *job, float *dw) {
    struct backward bw;
    memset(&bw, 0, sizeof bw);
    bw.job = job;
    bw.dw = dw;
    memset(dw, 0, PLACES * place_floats(job) * sizeof *dw);
    return us_parallel(job->ctx, NULL, weights_task, &bw, job->in_blocks);
}
