/*
 * conv_weights.c - backward-weights of the 3x3 convolution over whole maps.
 *
 * The sum over all pixels of a batch is cut by shape, never by thread: a partial is a run of rows of one image with about
 * 2,048 pixels, one chain an element; partials are added pairwise by index. A task takes an aligned run of 2^k partials, for
 * one input block and a few output blocks, and adds them on a stack as a binary counter does, which is the same tree. Where one
 * input block has too few tasks the runs are shorter, and what they leave is added in a second step, still by the same tree.
 */
#include "nn/map.h"

#include <string.h>

#define PARTIAL_PIXELS 2048
#define KERNEL_PIXELS 256 /* rows given to the kernel at once: gradient and input rows stay in the L1 cache */
#define CHUNK 4           /* output blocks of a task: stack and gradients stay in the L2 cache */
#define TAP (US_LANES * US_LANES)
#define MAX_DEPTH 24

struct cut {
    int rows;     /* of a partial */
    int bands;    /* partials of an image */
    int partials; /* of the batch */
    int run;      /* partials of a task, a power of two */
    int groups;   /* runs */
    int chunks;   /* groups of output blocks */
};

static struct cut cut_partials(int workers, int n, int h, int w, int in_blocks, int out_blocks) {
    struct cut cut;
    cut.rows = US_MIN(h, US_MAX(1, PARTIAL_PIXELS / w));
    cut.bands = (h + cut.rows - 1) / cut.rows;
    cut.partials = n * cut.bands;
    cut.chunks = (out_blocks + CHUNK - 1) / CHUNK;
    for (cut.run = 1; cut.run < cut.partials; cut.run *= 2)
        ;
    cut.groups = 1;
    while (workers > 1 && cut.run > 1 && cut.groups * in_blocks * cut.chunks < 4 * workers) {
        cut.run /= 2;
        cut.groups = (cut.partials + cut.run - 1) / cut.run;
    }
    return cut;
}

static size_t weights_floats(int in_blocks, int out_blocks) {
    return (size_t)in_blocks * (size_t)out_blocks * 9 * TAP;
}

size_t us_conv_weights_partials(int workers, int n, int h, int w, int in_blocks, int out_blocks) {
    struct cut cut = cut_partials(workers, n, h, w, in_blocks, out_blocks);
    return cut.groups > 1 ? (size_t)cut.groups * weights_floats(in_blocks, out_blocks) : 0;
}

static int stack_depth(int run) {
    int depth = 2;
    for (; run > 1; run /= 2)
        depth++;
    return depth;
}

static size_t pointers_bytes(int rows) {
    size_t bytes = sizeof(float *) * (size_t)(rows + 2 + CHUNK * rows);
    return (bytes + 63) / 64 * 64;
}

size_t us_conv_weights_scratch(int n, int h, int w, size_t tmp_bytes) {
    struct cut cut = cut_partials(1, n, h, w, 1, CHUNK); /* one run: the deepest stack */
    return tmp_bytes + pointers_bytes(cut.rows) + (size_t)(cut.rows + 2) * (size_t)(w + 2) * US_LANES * sizeof(float) +
           (size_t)stack_depth(cut.run) * CHUNK * 9 * TAP * sizeof(float);
}

struct backward {
    const struct us_conv_weights_job *job;
    struct cut cut;
};

/* Input rows y0 - 1 .. y0 + rows of one block, with their border, into slab. */
static void fetch_rows(const struct us_conv_weights_job *job, int n, int b, int y0, int rows, float *slab, float *tmp,
                       const float **in) {
    const size_t row_floats = (size_t)(job->w + 2) * US_LANES;
    int r;
    for (r = 0; r < rows + 2; r++, slab += row_floats) {
        const int y = y0 - 1 + r;
        in[r] = slab;
        if (y < 0 || y >= job->h) {
            memset(slab, 0, row_floats * sizeof *slab);
            continue;
        }
        memset(slab, 0, US_LANES * sizeof *slab);
        memset(slab + row_floats - US_LANES, 0, US_LANES * sizeof *slab);
        job->row(job->source, n, b, y, slab + US_LANES, tmp);
    }
}

/* One partial into dw (cleared first). */
static void compute_partial(const struct backward *bw, int partial, int b, int o0, int o1, float *dw, char *scratch) {
    const struct us_conv_weights_job *job = bw->job;
    const int n = partial / bw->cut.bands, y0 = partial % bw->cut.bands * bw->cut.rows;
    const int rows = US_MIN(bw->cut.rows, job->h - y0);
    const int step = US_MAX(1, KERNEL_PIXELS / job->w);
    float *tmp = (float *)scratch;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    const float **dout = in + rows + 2;
    float *slab = (float *)(scratch + job->tmp_bytes + pointers_bytes(bw->cut.rows));
    struct us_conv_bwdw c;
    int o, r, r0;
    fetch_rows(job, n, b, y0, rows, slab, tmp, in);
    memset(dw, 0, (size_t)(o1 - o0) * 9 * TAP * sizeof *dw);
    c.dout = dout;
    c.dw = dw;
    c.dw_stride = 9 * TAP;
    c.width = job->w;
    c.out_blocks = o1 - o0;
    c.channels = b == job->in_blocks - 1 ? job->last_channels : US_LANES;
    c.ksize = 3;
    c.in_step = c.dout_step = 1;
    for (r0 = 0; r0 < rows; r0 += step) {
        c.rows = US_MIN(step, rows - r0);
        c.in = in + r0;
        for (o = o0; o < o1; o++)
            for (r = 0; r < c.rows; r++)
                dout[(o - o0) * c.rows + r] = us_map_row(&job->dout, n, o, y0 + r0 + r);
        job->ctx->kern.conv_bwdw(&c);
    }
}

static void weights_task(void *arg, int64_t index, int worker) {
    const struct backward *bw = (const struct backward *)arg;
    const struct us_conv_weights_job *job = bw->job;
    const int chunk = (int)(index % bw->cut.chunks);
    const int b = (int)(index / bw->cut.chunks % job->in_blocks);
    const int group = (int)(index / bw->cut.chunks / job->in_blocks);
    const int first = group * bw->cut.run, last = US_MIN(first + bw->cut.run, bw->cut.partials);
    const int o0 = chunk * CHUNK, o1 = US_MIN(o0 + CHUNK, job->out_blocks);
    const size_t level = (size_t)CHUNK * 9 * TAP, used = (size_t)(o1 - o0) * 9 * TAP;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    float *stack = (float *)(scratch + job->tmp_bytes + pointers_bytes(bw->cut.rows)) +
                   (size_t)(bw->cut.rows + 2) * (size_t)(job->w + 2) * US_LANES;
    float *target = bw->cut.groups > 1 ? job->partials + (size_t)group * weights_floats(job->in_blocks, job->out_blocks)
                                       : job->dw;
    int sizes[MAX_DEPTH], depth = 0, p, o;
    for (p = first; p < last; p++) {
        compute_partial(bw, p, b, o0, o1, stack + (size_t)depth * level, scratch);
        sizes[depth++] = 1;
        while (depth > 1 && (sizes[depth - 1] == sizes[depth - 2] || p == last - 1)) {
            float *into = stack + (size_t)(depth - 2) * level;
            job->ctx->kern.add(into, into, into + level, used / US_LANES);
            sizes[depth - 2] += sizes[depth - 1];
            depth--;
        }
    }
    for (o = o0; o < o1; o++)
        memcpy(target + ((size_t)o * (size_t)job->in_blocks + (size_t)b) * 9 * TAP, stack + (size_t)(o - o0) * 9 * TAP,
               9 * TAP * sizeof(float));
}

/* Adds the groups' sums pairwise by index, for one output block. */
static void reduce_task(void *arg, int64_t index, int worker) {
    const struct backward *bw = (const struct backward *)arg;
    const struct us_conv_weights_job *job = bw->job;
    const size_t all = weights_floats(job->in_blocks, job->out_blocks), part = all / (size_t)job->out_blocks;
    float *base = job->partials + (size_t)index * part;
    int stride, g;
    (void)worker;
    for (stride = 1; stride < bw->cut.groups; stride *= 2)
        for (g = 0; g + stride < bw->cut.groups; g += 2 * stride) {
            float *into = base + (size_t)g * all;
            job->ctx->kern.add(into, into, into + (size_t)stride * all, part / US_LANES);
        }
    memcpy(job->dw + (size_t)index * part, base, part * sizeof(float));
}

int us_conv_backward_weights(const struct us_conv_weights_job *job) {
    struct backward bw;
    int code;
    bw.job = job;
    bw.cut = cut_partials(us_workers(job->ctx), job->n, job->h, job->w, job->in_blocks, job->out_blocks);
    code = us_parallel(job->ctx, NULL, weights_task, &bw, (int64_t)bw.cut.groups * job->in_blocks * bw.cut.chunks);
    if (!code && bw.cut.groups > 1)
        code = us_parallel(job->ctx, NULL, reduce_task, &bw, job->out_blocks);
    return code;
}
