/*
 * upconv.c - 2x2 transposed convolution with stride 2: every output pixel depends on one input pixel, so it is four 1x1
 * convolutions, one for each place (dy, dx) of the window, that write (or read) every second pixel of every second row.
 */
#include "nn/upconv.h"

size_t us_upconv_scratch(int w, int in_blocks, int out_blocks, size_t tmp_bytes) {
    size_t pointers = (sizeof(float *) * (size_t)(in_blocks + out_blocks) + 63) / 64 * 64;
    return tmp_bytes + pointers + (size_t)in_blocks * (size_t)w * US_LANES * sizeof(float);
}

static void forward_task(void *arg, int64_t index, int worker) {
    const struct us_conv_job *job = (const struct us_conv_job *)arg;
    const int rows = job->y1 - job->y0, n = (int)(index / rows), y = job->y0 + (int)(index % rows);
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    float **out = (float **)(in + job->in_blocks);
    float *slab = (float *)(scratch + job->tmp_bytes +
                            (sizeof(float *) * (size_t)(job->in_blocks + job->out_blocks) + 63) / 64 * 64);
    struct us_conv c;
    int b, o, place;
    for (b = 0; b < job->in_blocks; b++, slab += (size_t)job->w * US_LANES) {
        job->row(job->source, n, b, y, 0, job->w, slab, (float *)scratch);
        in[b] = slab;
    }
    c.in = in;
    c.out = out;
    c.bias = job->bias;
    c.rows = 1;
    c.width = job->w;
    c.in_blocks = job->in_blocks;
    c.out_blocks = job->out_blocks;
    c.last_channels = job->last_channels;
    c.ksize = 1;
    c.in_step = 1;
    c.out_step = 2;
    c.accumulate = 0;
    for (place = 0; place < PLACES; place++) {
        c.weights = job->weights + (size_t)place * place_floats(job);
        for (o = 0; o < job->out_blocks; o++)
            out[o] = large_row(job, n, o, y, place);
        job->ctx->kern.conv(&c);
    }
}

int us_upconv_forward(const struct us_conv_job *job) {
    return us_parallel(job->ctx, NULL, forward_task, (void *)job, (int64_t)job->n * (job->y1 - job->y0));
}
