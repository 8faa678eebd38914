/*
 * conv.c - 3x3 and 1x1 convolution over whole maps: forward, and backward-data on flipped weights.
 *
 * A task is a band of output rows of one image, or a piece of one. It first lets the source write the input rows it
 * needs, for 3x3 with a border of zeros, into the worker's scratch, where they stay in the L2 cache, then calls the kernel once.
 * How bands are cut has no influence on the result: every output is one chain of its own.
 */
#include "nn/map.h"

#include <string.h>

#define TAP (US_LANES * US_LANES)
#define BAND_BYTES ((size_t)256 << 10) /* input rows of a band: half of a small L2 cache */
#define MIN_COLUMNS 48                 /* of a piece of a band that is cut for the sake of more tasks */

struct bands {
    int rows;    /* of a band */
    int count;   /* bands of an image */
    int columns; /* of a piece of a band */
    int pieces;  /* of a band */
    int splits;  /* groups of output blocks, so that small maps feed many workers */
    int tasks;
};

static size_t row_bytes(int w, int in_blocks) {
    return (size_t)in_blocks * (size_t)(w + 2) * US_LANES * sizeof(float);
}

/* Bands are as wide as the map unless the rows to compute are few or very long, as they are where an image is streamed. */
static struct bands cut_bands(const struct us_conv_job *job) {
    const int workers = us_workers(job->ctx), n = job->n, h = job->y1 - job->y0;
    const int wanted = workers > 1 ? 4 * workers : 1; /* tasks, for an even share */
    const int per_image = us_divide_up(wanted, n);
    const size_t row = row_bytes(job->w, job->in_blocks), fit = BAND_BYTES / row;
    struct bands bands;
    int rows = fit > 4 ? (int)US_MIN(fit - 2, (size_t)h) : 2;
    rows = US_MIN(rows, US_MAX(2, us_divide_up(h, per_image)));
    rows = US_MIN(rows, h);
    bands.count = us_divide_up(h, rows);
    bands.rows = us_divide_up(h, bands.count);
    bands.count = us_divide_up(h, bands.rows);
    bands.pieces = (int)(((size_t)(bands.rows + 2) * row + BAND_BYTES - 1) / BAND_BYTES);
    if (workers > 1 && n * bands.count * bands.pieces < 2 * workers)
        bands.pieces = US_MAX(bands.pieces, US_MIN(us_divide_up(2 * workers, n * bands.count), job->w / MIN_COLUMNS));
    bands.columns = us_divide_up(job->w, bands.pieces);
    bands.pieces = us_divide_up(job->w, bands.columns);
    bands.tasks = n * bands.count * bands.pieces;
    bands.splits = 1;
    if (workers > 1 && bands.tasks < 2 * workers)
        bands.splits = US_MIN(job->out_blocks, us_divide_up(2 * workers, bands.tasks));
    bands.tasks *= bands.splits;
    return bands;
}

static size_t pointer_bytes(int rows, int in_blocks, int out_blocks) {
    size_t bytes = sizeof(float *) * ((size_t)in_blocks * (size_t)(rows + 2) + (size_t)out_blocks * (size_t)rows);
    return (bytes + 63) / 64 * 64;
}

/* Output blocks that are computed together: all, but few where they wait in scratch to be stored as bytes. */
static int blocks_at_once(const struct us_conv_job *job, int blocks) {
    return job->out.quant ? US_MIN(blocks, job->ctx->kern.quant_group) : blocks;
}

/* For these outputs, in terms of the bytes of a band of input, which has two rows more. */
static size_t stored_bytes(const struct us_conv_job *job, size_t band) {
    return job->out.quant ? band / (size_t)job->in_blocks * (size_t)blocks_at_once(job, job->out_blocks) : 0;
}

size_t us_conv_scratch(const struct us_conv_job *job) {
    struct bands bands;
    size_t band;
    if (job->depthwise)
        return us_depthwise_scratch(job);
    if (job->quant)
        return us_quant_scratch(job);
    if (job->tile)
        return us_wino_scratch(job);
    bands = cut_bands(job);
    band = (size_t)(bands.rows + 2) * row_bytes(bands.columns, job->in_blocks);
    return job->tmp_bytes + pointer_bytes(bands.rows, job->in_blocks, job->out_blocks) + band + stored_bytes(job, band);
}

size_t us_conv_scratch_within(const struct us_conv_job *job) {
    const int rows = job->y1 - job->y0, fit = (int)(BAND_BYTES / row_bytes(1, job->in_blocks));
    size_t band = (size_t)(rows + 2) * row_bytes(job->w, job->in_blocks);
    if (job->depthwise)
        return us_depthwise_scratch(job);
    if (job->quant)
        return us_quant_scratch(job);
    if (job->tile)
        return us_wino_scratch_within(job);
    band = US_MIN(band, BAND_BYTES + 4 * row_bytes(1, job->in_blocks)); /* pieces are rounded up to whole columns */
    return job->tmp_bytes + pointer_bytes(US_MIN(rows, US_MAX(2, fit)), job->in_blocks, job->out_blocks) + band +
           stored_bytes(job, band);
}

void us_fetch_row(const struct us_conv_job *job, int n, int b, int y, int x, int count, float *dst, float *tmp) {
    const int x0 = US_MAX(0, x), x1 = US_MIN(job->w, x + count);
    if (y < 0 || y >= job->h || x0 >= x1) {
        memset(dst, 0, (size_t)count * US_LANES * sizeof *dst);
        return;
    }
    memset(dst, 0, (size_t)(x0 - x) * US_LANES * sizeof *dst);
    memset(dst + (size_t)(x1 - x) * US_LANES, 0, (size_t)(x + count - x1) * US_LANES * sizeof *dst);
    job->row(job->source, n, b, y, x0, x1, dst + (size_t)(x0 - x) * US_LANES, tmp);
}

void us_fetch_rows(const struct us_conv_job *job, int n, int b, int y0, int rows, int x0, int columns, float *slab, float *tmp,
                   const float **in) {
    const int edge = us_job_border(job), pixels = columns + 2 * edge;
    int r;
    for (r = 0; r < rows + 2 * edge; r++, slab += (size_t)pixels * US_LANES) {
        in[r] = slab;
        us_fetch_row(job, n, b, y0 - edge + r, x0 - edge, pixels, slab, tmp);
    }
}

void us_plain_row(const void *source, int n, int b, int y, int x0, int x1, float *dst, float *tmp) {
    const struct us_map *m = (const struct us_map *)source;
    (void)tmp;
    memcpy(dst, us_map_row(m, n, b, y) + (size_t)x0 * US_LANES, (size_t)(x1 - x0) * US_LANES * sizeof *dst);
}

struct forward {
    const struct us_conv_job *job;
    struct bands bands;
};

static void forward_task(void *arg, int64_t index, int worker) {
    const struct forward *f = (const struct forward *)arg;
    const struct us_conv_job *job = f->job;
    const struct bands *bands = &f->bands;
    const int split = (int)(index % bands->splits);
    const int piece = (int)(index / bands->splits % bands->pieces);
    const int band = (int)(index / bands->splits / bands->pieces % bands->count);
    const int n = (int)(index / bands->splits / bands->pieces / bands->count);
    const int y0 = job->y0 + band * bands->rows, rows = US_MIN(bands->rows, job->y1 - y0);
    const int x0 = piece * bands->columns, columns = US_MIN(bands->columns, job->w - x0);
    const int o0 = job->out_blocks * split / bands->splits, o1 = job->out_blocks * (split + 1) / bands->splits;
    const int edge = us_job_border(job), in_rows = rows + 2 * edge;
    const size_t row_floats = (size_t)(columns + 2 * edge) * US_LANES;
    const size_t block_floats = (size_t)job->in_blocks * (size_t)us_job_taps(job) * TAP;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    float *tmp = (float *)scratch;
    const float **in = (const float **)(scratch + job->tmp_bytes);
    float **out = (float **)(in + (size_t)job->in_blocks * (size_t)in_rows);
    float *slab = (float *)(scratch + job->tmp_bytes + pointer_bytes(rows, job->in_blocks, job->out_blocks));
    const int at_once = blocks_at_once(job, o1 - o0);
    struct us_conv c;
    int b, o, k, r;
    if (o0 == o1)
        return;
    for (b = 0; b < job->in_blocks; b++, slab += (size_t)in_rows * row_floats)
        us_fetch_rows(job, n, b, y0, rows, x0, columns, slab, tmp, in + b * in_rows);
    c.in = in;
    c.out = out;
    c.rows = rows;
    c.width = columns;
    c.in_blocks = job->in_blocks;
    c.last_channels = job->last_channels;
    c.ksize = 1 + 2 * edge;
    c.in_step = c.out_step = 1;
    c.accumulate = job->accumulate;
    for (o = o0; o < o1; o += at_once) {
        c.out_blocks = US_MIN(at_once, o1 - o);
        c.weights = job->weights + (size_t)o * block_floats;
        c.bias = job->bias ? job->bias + (size_t)o * US_LANES : NULL;
        for (k = 0; k < c.out_blocks * rows; k++) {
            float *row = slab + (size_t)k * row_floats;
            r = y0 + k % rows;
            out[k] = job->out.quant ? row : us_map_row(&job->out, n, o + k / rows, r) + (size_t)x0 * US_LANES;
        }
        job->ctx->kern.conv(&c);
        for (k = 0; job->out.quant && k < c.out_blocks * rows; k++)
            us_store_row(job, n, o + k / rows, y0 + k % rows, x0, columns, out[k]);
    }
}

int us_conv_forward(const struct us_conv_job *job) {
    struct forward f;
    if (job->depthwise)
        return us_depthwise_forward(job);
    if (job->quant)
        return us_quant_forward(job);
    if (job->tile)
        return us_wino_forward(job);
    f.job = job;
    f.bands = cut_bands(job);
    return us_parallel(job->ctx, NULL, forward_task, &f, f.bands.tasks);
}

/* ---- Flipped weights for backward-data ---- */

struct flip {
    us_context *ctx;
    float *flipped;
    const float *weights;
    int in_blocks, out_blocks, taps;
};

static void transpose(float *to, const float *from) {
    int ci, co;
    for (ci = 0; ci < US_LANES; ci++)
        for (co = 0; co < US_LANES; co++)
            to[co * US_LANES + ci] = from[ci * US_LANES + co];
}

/* One block of inputs: [out][in] -> [in][out]. */
static void flip_task(void *arg, int64_t index, int worker) {
    const struct flip *f = (const struct flip *)arg;
    const size_t step = (size_t)f->taps * TAP;
    const int b = (int)index;
    int o;
    (void)worker;
    for (o = 0; o < f->out_blocks; o++) {
        float *to = f->flipped + ((size_t)b * (size_t)f->out_blocks + (size_t)o) * step;
        const float *from = f->weights + ((size_t)o * (size_t)f->in_blocks + (size_t)b) * step;
        if (f->taps == 1)
            transpose(to, from);
        else
            f->ctx->kern.conv_flip(to, from);
    }
}

int us_conv_flip(us_context *ctx, float *flipped, const float *weights, int in_blocks, int out_blocks, int taps) {
    struct flip f;
    f.ctx = ctx;
    f.flipped = flipped;
    f.weights = weights;
    f.in_blocks = in_blocks;
    f.out_blocks = out_blocks;
    f.taps = taps;
    return us_parallel(ctx, NULL, flip_task, &f, in_blocks);
}
