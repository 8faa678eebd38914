/*
 * wino.c - 3x3 convolution over whole maps by Winograd's F(m x m, 3x3) (Lavin, Gray 2016): forward, and backward-data on flipped
 * weights.
 *
 * Tiles of m x m outputs are anchored at row 0, column 0; a tile that reaches past the map is computed whole on zeros and
 * cropped. A task takes some rows of tiles. Their inputs are written by the source into a slab of m + 2 rows, transformed into
 * V, and when a batch of tiles is full multiplied tap by tap with the transformed weights U into M (the 1x1 kernel: a "pixel"
 * is a tile) and transformed back into the map. V, M and a group of U stay in the L2 cache. Every product is one chain over the
 * input channels of one tile, so how tiles are batched has no influence on the result.
 */
#include "nn/map.h"

#include <string.h>

#define SIDE(m) ((m) + 2)
#define TAPS(m) (SIDE(m) * SIDE(m))
#define GROUP 2 /* output blocks multiplied at once */
#define TAP (US_LANES * US_LANES)
#define BATCH 24                       /* tiles, where weights are small */
#define LARGE_BATCH 96                 /* where reading the weights is what costs */
#define LARGE_WEIGHTS ((size_t)1 << 20) /* bytes */

/* ---- Transformed weights: [group of outputs][xi][output of the group][input block][ci 16][co 16] ---- */

static size_t xi_stride(int in_blocks) {
    return us_odd_lines((size_t)GROUP * (size_t)in_blocks * TAP);
}

static size_t group_floats(int m, int in_blocks) {
    return (size_t)TAPS(m) * xi_stride(in_blocks);
}

size_t us_wino_weights_floats(int m, int in_blocks, int out_blocks) {
    return (size_t)((out_blocks + GROUP - 1) / GROUP) * group_floats(m, in_blocks);
}

struct transform {
    us_context *ctx;
    int m, in_blocks, out_blocks;
    const float *weights;
    float *u;
};

static void transform_task(void *arg, int64_t index, int worker) {
    const struct transform *t = (const struct transform *)arg;
    const int o = (int)index;
    const float *w = t->weights + (size_t)o * (size_t)t->in_blocks * 9 * TAP;
    float *u = t->u + (size_t)(o / GROUP) * group_floats(t->m, t->in_blocks) +
               (size_t)(o % GROUP) * (size_t)t->in_blocks * TAP;
    int b, ci;
    (void)worker;
    for (b = 0; b < t->in_blocks; b++, w += 9 * TAP, u += TAP)
        for (ci = 0; ci < US_LANES; ci++)
            t->ctx->kern.wino_weights(t->m, u + ci * US_LANES, xi_stride(t->in_blocks), w + ci * US_LANES, TAP);
}

int us_wino_transform_weights(us_context *ctx, int m, float *u, const float *weights, int in_blocks, int out_blocks) {
    struct transform t;
    t.ctx = ctx;
    t.m = m;
    t.in_blocks = in_blocks;
    t.out_blocks = out_blocks;
    t.weights = weights;
    t.u = u;
    return us_parallel(ctx, NULL, transform_task, &t, out_blocks);
}

/* ---- How a map is cut ---- */

struct tiling {
    int across, down; /* tiles of an image */
    int batch;        /* tiles multiplied at once */
    int rows;         /* rows of tiles of a task */
    int tasks;        /* without splits */
    int splits;       /* groups of output blocks */
};

static struct tiling cut_tiles(int workers, const struct us_conv_job *job) {
    const int m = job->tile, groups = (job->out_blocks + GROUP - 1) / GROUP;
    const size_t weights = us_wino_weights_floats(m, job->in_blocks, job->out_blocks) * sizeof(float);
    struct tiling t;
    int all;
    t.across = (job->w + m - 1) / m;
    t.down = (job->h + m - 1) / m;
    all = job->n * t.down;
    t.batch = weights > LARGE_WEIGHTS ? LARGE_BATCH : BATCH;
    t.rows = US_MAX(1, t.batch / t.across);
    t.rows = US_MIN(t.rows, all);
    if (t.rows == 1 && weights <= LARGE_WEIGHTS) /* long rows: more of them, to share the work evenly in fewer tasks */
        t.rows = US_MAX(1, all / (16 * workers));
    t.tasks = (all + t.rows - 1) / t.rows;
    t.batch = US_MIN(t.batch, t.rows * t.across);
    t.splits = 1;
    if (workers > 1 && t.tasks < 2 * workers)
        t.splits = US_MIN(groups, (2 * workers + t.tasks - 1) / t.tasks);
    return t;
}

/* ---- A worker's scratch ---- */

struct workspace {
    float *tmp, *slab, *v, *mm;
    const float **in;
    float **out;
    size_t v_stride, m_stride, row_floats; /* of xi, of xi, of a slab's row */
    size_t bytes;
};

static void place(struct workspace *w, const struct us_conv_job *job, const struct tiling *t, char *base) {
    const int m = job->tile;
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    arena.base = base;
    w->row_floats = ((size_t)t->across * (size_t)m + 2) * US_LANES;
    w->v_stride = us_odd_lines((size_t)job->in_blocks * (size_t)t->batch * US_LANES);
    w->m_stride = us_odd_lines((size_t)GROUP * (size_t)t->batch * US_LANES);
    w->tmp = (float *)us_arena_take(&arena, job->tmp_bytes);
    w->in = (const float **)us_arena_take(&arena, sizeof(float *) * (size_t)job->in_blocks);
    w->out = (float **)us_arena_take(&arena, sizeof(float *) * GROUP);
    w->slab = (float *)us_arena_take(&arena, (size_t)SIDE(m) * w->row_floats * sizeof(float));
    w->v = (float *)us_arena_take(&arena, (size_t)TAPS(m) * w->v_stride * sizeof(float));
    w->mm = (float *)us_arena_take(&arena, (size_t)TAPS(m) * w->m_stride * sizeof(float));
    w->bytes = arena.used;
}

size_t us_wino_scratch(const struct us_conv_job *job) {
    const struct tiling t = cut_tiles(us_workers(job->ctx), job);
    struct workspace w;
    place(&w, job, &t, NULL);
    return w.bytes;
}

/* ---- A task ---- */

struct forward {
    const struct us_conv_job *job;
    struct tiling tiling;
};

struct tile {
    int n, y, x;
};

/* Products and output transform of the tiles in V, for output blocks [o0, o1), o0 even. */
static void flush(const struct us_conv_job *job, const struct workspace *w, const struct tile *tiles, int count, int batch,
                  int o0, int o1) {
    const int m = job->tile;
    struct us_conv c;
    int o, xi, b, k, t;
    c.in = w->in;
    c.out = w->out;
    c.bias = NULL;
    c.rows = 1;
    c.width = count;
    c.in_blocks = job->in_blocks;
    c.last_channels = job->last_channels;
    c.ksize = c.in_step = c.out_step = 1;
    c.accumulate = 0;
    for (o = o0; o < o1; o += GROUP) {
        const float *u = job->transformed + (size_t)(o / GROUP) * group_floats(m, job->in_blocks);
        c.out_blocks = US_MIN(GROUP, o1 - o);
        for (xi = 0; xi < TAPS(m); xi++) {
            for (b = 0; b < job->in_blocks; b++)
                w->in[b] = w->v + (size_t)xi * w->v_stride + (size_t)b * (size_t)batch * US_LANES;
            for (k = 0; k < c.out_blocks; k++)
                w->out[k] = w->mm + (size_t)xi * w->m_stride + (size_t)k * (size_t)batch * US_LANES;
            c.weights = u + (size_t)xi * xi_stride(job->in_blocks);
            job->ctx->kern.conv(&c);
        }
        for (k = 0; k < c.out_blocks; k++)
            for (t = 0; t < count; t++) {
                const struct tile *at = &tiles[t];
                job->ctx->kern.wino_output(m, us_map_row(&job->out, at->n, o + k, at->y) + (size_t)at->x * US_LANES,
                                           (size_t)job->w * US_LANES, US_MIN(m, job->h - at->y), US_MIN(m, job->w - at->x),
                                           w->mm + ((size_t)k * (size_t)batch + (size_t)t) * US_LANES, w->m_stride,
                                           job->bias ? job->bias + (size_t)(o + k) * US_LANES : NULL);
            }
    }
}

/* Transforms `count` tiles of one row of tiles, from column tx on, of every input block into V at `at`. */
static void fill(const struct us_conv_job *job, const struct workspace *w, int n, int ty, int tx, int count, int at, int batch) {
    const int m = job->tile;
    const size_t skipped = (size_t)tx * (size_t)m * US_LANES;
    int b, r, t;
    for (b = 0; b < job->in_blocks; b++) {
        for (r = 0; r < SIDE(m); r++)
            us_fetch_row(job->row, job->source, n, b, ty * m - 1 + r, job->h, job->w,
                         (int)(w->row_floats / US_LANES) - job->w - 1, w->slab + (size_t)r * w->row_floats, w->tmp);
        for (t = 0; t < count; t++)
            job->ctx->kern.wino_input(m, w->v + ((size_t)b * (size_t)batch + (size_t)(at + t)) * US_LANES, w->v_stride,
                                      w->slab + skipped + (size_t)t * (size_t)m * US_LANES, w->row_floats);
    }
}

static void forward_task(void *arg, int64_t index, int worker) {
    const struct forward *f = (const struct forward *)arg;
    const struct us_conv_job *job = f->job;
    const struct tiling *t = &f->tiling;
    const int m = job->tile, groups = (job->out_blocks + GROUP - 1) / GROUP;
    const int split = (int)(index % t->splits), first = (int)(index / t->splits) * t->rows;
    const int last = US_MIN(first + t->rows, job->n * t->down);
    const int o0 = groups * split / t->splits * GROUP;
    const int o1 = US_MIN(groups * (split + 1) / t->splits * GROUP, job->out_blocks);
    struct tile tiles[LARGE_BATCH];
    struct workspace w;
    int row, tx, k, count = 0;
    if (o0 >= o1)
        return;
    place(&w, job, t, job->scratch.base + (size_t)worker * job->scratch.each);
    for (row = first; row < last; row++)
        for (tx = 0; tx < t->across;) {
            const int n = row / t->down, ty = row % t->down, now = US_MIN(t->across - tx, t->batch - count);
            fill(job, &w, n, ty, tx, now, count, t->batch);
            for (k = 0; k < now; k++, count++, tx++) {
                tiles[count].n = n;
                tiles[count].y = ty * m;
                tiles[count].x = tx * m;
            }
            if (count == t->batch) {
                flush(job, &w, tiles, count, t->batch, o0, o1);
                count = 0;
            }
        }
    if (count)
        flush(job, &w, tiles, count, t->batch, o0, o1);
}

int us_wino_forward(const struct us_conv_job *job) {
    struct forward f;
    f.job = job;
    f.tiling = cut_tiles(us_workers(job->ctx), job);
    return us_parallel(job->ctx, NULL, forward_task, &f, (int64_t)f.tiling.tasks * f.tiling.splits);
}
