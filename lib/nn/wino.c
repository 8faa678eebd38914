/*
 * wino.c - 3x3 convolution over whole maps by Winograd's F(m x m, 3x3) (Lavin, Gray 2016): forward and backward-data.
 *
 * Tiles of m x m outputs are anchored at row 0, column 0; a tile that reaches past the map is computed whole on zeros
 * and cropped. A task takes a block of tiles: strips, each a row of tiles or a part of one. Their inputs are
 * transformed into V, multiplied tap by tap with the transformed weights U into M, and transformed back into the map.
 * V, M and what is read of U stay in the L2 cache. Every product is one chain over the input channels of one tile, so
 * how tiles are cut into blocks has no influence on the result.
 *
 * In the deep layers a batch has few tiles and the weights are what is large: there all tiles are one block, the tasks
 * share the output channels, each with a V of its own, and U is made on the way, a few input blocks at a time, and
 * never stored whole.
 */
#include "nn/map.h"

#include <string.h>

#define SIDE(m) ((m) + 2)
#define TAPS(m) (SIDE(m) * SIDE(m))
#define TAP (US_LANES * US_LANES)
#define FEW_TILES 64 /* a batch with no more tiles is one block */
#define SMALL_WEIGHTS ((size_t)3 << 19) /* bytes of transformed weights that stay in a cache between rows of tiles */
#define MIN_STRIP 4                     /* tiles of a strip that is cut for the sake of more tasks */
#define SEGMENT 5  /* tiles of a row whose inputs are fetched together: about 16 KB, so that they stay in the L1 cache \
                    */
#define U_BLOCKS 4 /* input blocks of weights transformed at once where they are not stored */

/* ---- Transformed weights: [group of outputs][xi][output of the group][input block][ci 16][co 16] ---- */

static size_t xi_stride(int group, int in_blocks) {
    return us_odd_lines((size_t)group * (size_t)in_blocks * TAP);
}

size_t us_wino_weights_floats(const us_context *ctx, int m, int in_blocks, int out_blocks) {
    const int group = ctx->kern.wino_group;
    return (size_t)((out_blocks + group - 1) / group) * (size_t)TAPS(m) * xi_stride(group, in_blocks);
}

/* The nine taps of output block o and input block b, turned into those of backward-data where that is asked for. */
static const float *taps_of(const struct us_conv_job *job, int o, int b, float turned[9 * TAP]) {
    if (!job->flip)
        return job->weights + ((size_t)o * (size_t)job->in_blocks + (size_t)b) * 9 * TAP;
    job->ctx->kern.conv_flip(turned, job->weights + ((size_t)b * (size_t)job->out_blocks + (size_t)o) * 9 * TAP);
    return turned;
}

/* U of one pair of blocks. */
static void transform_block(const struct us_conv_job *job, int o, int b, float *u, size_t u_xi) {
    float turned[9 * TAP];
    const float *w = taps_of(job, o, b, turned);
    int ci;
    for (ci = 0; ci < US_LANES; ci++)
        job->ctx->kern.wino_weights(job->tile, u + ci * US_LANES, u_xi, w + ci * US_LANES, TAP);
}

struct transform {
    const struct us_conv_job *job;
    float *u;
};

static void transform_task(void *arg, int64_t index, int worker) {
    const struct transform *t = (const struct transform *)arg;
    const struct us_conv_job *job = t->job;
    const int o = (int)index, group = job->ctx->kern.wino_group;
    const size_t stride = xi_stride(group, job->in_blocks);
    float *u = t->u + (size_t)(o / group) * (size_t)TAPS(job->tile) * stride +
               (size_t)(o % group) * (size_t)job->in_blocks * TAP;
    int b;
    (void)worker;
    for (b = 0; b < job->in_blocks; b++)
        transform_block(job, o, b, u + (size_t)b * TAP, stride);
}

int us_wino_transform_weights(const struct us_conv_job *job, float *transformed) {
    struct transform t;
    t.job = job;
    t.u = transformed;
    return us_parallel(job->ctx, NULL, transform_task, &t, job->out_blocks);
}

/* ---- How a map is cut ---- */

struct tiling {
    int across, down; /* tiles of an image */
    int first;        /* row of tiles */
    int strip;        /* tiles of a strip */
    int strips;       /* strips of a row of tiles */
    int block;        /* strips of a task */
    int all;          /* strips of the batch */
    int tasks;        /* without splits */
    int splits;       /* of the output channels */
};

/* Some rows of a streamed image: where the weights are small, or serve two rows of tiles, workers share the tiles, not the
 * outputs, so that no input is transformed twice; of large ones each worker had better read only its part. */
static int shares_tiles(const struct us_conv_job *job) {
    const size_t weights = (size_t)TAPS(job->tile) * (size_t)job->in_blocks * (size_t)job->out_blocks * TAP * sizeof(float);
    return job->y1 - job->y0 < job->h && (weights <= SMALL_WEIGHTS || job->y1 - job->y0 > job->tile);
}

static struct tiling cut_tiles(const struct us_conv_job *job) {
    const int m = job->tile, group = job->ctx->kern.wino_group, groups = (job->out_blocks + group - 1) / group;
    const int workers = us_workers(job->ctx), batch = job->ctx->kern.wino_batch, shared = shares_tiles(job);
    struct tiling t;
    t.across = (job->w + m - 1) / m;
    t.first = job->y0 / m;
    t.down = (job->y1 - job->y0 + m - 1) / m;
    t.strips = (t.across + batch - 1) / batch;
    if (shared && workers > 1)
        t.strips = US_MAX(t.strips, US_MIN(workers, (t.across + MIN_STRIP - 1) / MIN_STRIP));
    t.strip = (t.across + t.strips - 1) / t.strips;
    t.strips = (t.across + t.strip - 1) / t.strip;
    t.all = job->n * t.down * t.strips;
    t.block = !shared && job->n * t.down * t.across <= FEW_TILES ? t.all : US_MIN(t.all, US_MAX(1, batch / t.strip));
    t.tasks = (t.all + t.block - 1) / t.block;
    t.splits = 1;
    if (t.tasks == 1)
        t.splits = US_MIN(groups, workers);
    else if (workers > 1 && t.tasks < 2 * workers)
        t.splits = US_MIN(groups, (2 * workers + t.tasks - 1) / t.tasks);
    return t;
}

int us_wino_stores_weights(const struct us_conv_job *job) {
    return cut_tiles(job).tasks > 1;
}

/* ---- A worker's scratch ---- */

struct workspace {
    float *tmp, *slab, *v, *mm, *u;
    size_t v_xi, v_in, m_xi, m_out, u_xi, u_out;
    size_t bytes;
};

static void place(struct workspace *w, const struct us_conv_job *job, const struct tiling *t, char *base) {
    const int m = job->tile, group = job->ctx->kern.wino_group;
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    arena.base = base;
    w->v_in = w->m_out = (size_t)t->block * (size_t)t->strip * US_LANES;
    w->v_xi = us_odd_lines((size_t)job->in_blocks * w->v_in);
    w->m_xi = us_odd_lines((size_t)group * w->m_out);
    w->u_out = (size_t)US_MIN(U_BLOCKS, job->in_blocks) * TAP;
    w->u_xi = us_odd_lines((size_t)group * w->u_out);
    w->tmp = (float *)us_arena_take(&arena, job->tmp_bytes);
    w->slab = (float *)us_arena_take(&arena, us_wino_slab_bytes(m));
    w->v = (float *)us_arena_take(&arena, (size_t)TAPS(m) * w->v_xi * sizeof(float));
    w->mm = (float *)us_arena_take(&arena, (size_t)TAPS(m) * w->m_xi * sizeof(float));
    w->u = (float *)us_arena_take(&arena, job->transformed ? 0 : (size_t)TAPS(m) * w->u_xi * sizeof(float));
    w->bytes = arena.used;
}

static size_t scratch_of_batch(const struct us_conv_job *job, int n) {
    struct us_conv_job part = *job;
    struct workspace w;
    struct tiling t;
    part.n = n;
    t = cut_tiles(&part);
    place(&w, &part, &t, NULL);
    return w.bytes;
}

/* A plan serves smaller batches too, and one of few tiles may want more than a large one. */
size_t us_wino_scratch(const struct us_conv_job *job) {
    const struct tiling t = cut_tiles(job);
    const int few = US_MIN(job->n, FEW_TILES / (t.across * t.down));
    return US_MAX(scratch_of_batch(job, job->n), few > 0 ? scratch_of_batch(job, few) : 0);
}

/* Scratch grows with the tiles of a block: at most the map's, FEW_TILES with rows rounded up to strips, or a batch. */
size_t us_wino_scratch_within(const struct us_conv_job *job) {
    const int m = job->tile, batch = job->ctx->kern.wino_batch;
    const int across = (job->w + m - 1) / m, down = (job->y1 - job->y0 + m - 1) / m;
    struct workspace w;
    struct tiling t;
    memset(&t, 0, sizeof t);
    t.block = 1;
    t.strip = US_MIN(down * (across + across / batch), US_MAX(batch, FEW_TILES + FEW_TILES / batch));
    place(&w, job, &t, NULL);
    return w.bytes;
}

/* ---- Inputs ---- */

size_t us_wino_slab_bytes(int m) {
    return (size_t)SIDE(m) * (size_t)(SEGMENT * m + 2) * US_LANES * sizeof(float);
}

/* Pixels of a whole tile at (y, x) that the transform can take from where they are. */
static int load_in_place(const struct us_conv_job *job, int n, int b, int y, int x, struct us_wino_load *load) {
    if (job->row == us_input_row) /* of smaller tiles there are few */
        return job->tile == 6 && us_input_load(job->source, n, b, y, SIDE(6), x, load);
    if (job->row != us_plain_row || !us_map_contiguous((const struct us_map *)job->source, y, SIDE(job->tile)))
        return 0;
    memset(load, 0, sizeof *load);
    load->main.x = us_map_row((const struct us_map *)job->source, n, b, y) + (size_t)x * US_LANES;
    load->main.row_stride = (size_t)job->w * US_LANES;
    return 1;
}

static void transform_loaded(const struct us_conv_job *job, float *v, size_t v_xi, struct us_wino_load *load) {
    const int m = job->tile, fused = load->fusion != US_WINO_MAIN;
    if (!fused && !load->main.scale && !load->relu)
        job->ctx->kern.wino_input(m, v, v_xi, load->main.x, load->main.row_stride);
    else
        job->ctx->kern.wino_input_load(v, v_xi, load);
    load->main.x += (size_t)(fused ? m / 2 : m) * US_LANES;
    load->skip.x += fused ? (size_t)m * US_LANES : 0;
}

/* Tiles inside of the map are transformed from the maps their pixels are made of, if they can be; the others go through the
 * slab, where what lies outside of the map is zero. */
void us_wino_input_strip(const struct us_conv_job *job, int n, int b, int ty, int tx, int count, float *v, size_t v_xi,
                         float *slab, float *tmp) {
    const int m = job->tile, y = ty * m - 1, inside = (job->w - 1) / m;
    const int first = US_MAX(1, tx), last = US_MIN(inside, tx + count); /* tiles inside */
    struct us_wino_load load;
    const int own = y >= 0 && y + SIDE(m) <= job->h && first < last &&
                    load_in_place(job, n, b, y, first * m - 1, &load);
    int t, r, now;
    for (; count; count -= now, tx += now) {
        const int x = tx * m - 1;
        if (own && tx == first) {
            now = last - first;
            for (t = 0; t < now; t++, v += US_LANES)
                transform_loaded(job, v, v_xi, &load);
        } else {
            const float *in = slab;
            size_t row_stride;
            now = US_MIN(count, own ? 1 : SEGMENT);
            row_stride = (size_t)(now * m + 2) * US_LANES;
            for (r = 0; r < SIDE(m); r++)
                us_fetch_row(job, n, b, y + r, x, now * m + 2, slab + (size_t)r * row_stride, tmp);
            for (t = 0; t < now; t++, in += (size_t)m * US_LANES, v += US_LANES)
                job->ctx->kern.wino_input(m, v, v_xi, in, row_stride);
        }
    }
}

/* ---- A task ---- */

struct strip {
    int n, ty, tx, count;
};

static struct strip find_strip(const struct tiling *t, int index) {
    struct strip s;
    s.tx = index % t->strips * t->strip;
    s.ty = t->first + index / t->strips % t->down;
    s.n = index / t->strips / t->down;
    s.count = US_MIN(t->strip, t->across - s.tx);
    return s;
}

/* M of output blocks o .. o + count - 1. */
static void multiply(const struct us_conv_job *job, const struct workspace *w, int o, int count, int tiles) {
    const int m = job->tile, group = job->ctx->kern.wino_group;
    struct us_wino_multiply p;
    int b, i, k;
    p.v = w->v;
    p.m = w->mm;
    p.v_xi = w->v_xi;
    p.v_in = w->v_in;
    p.m_xi = w->m_xi;
    p.m_out = w->m_out;
    p.taps = TAPS(m);
    p.tiles = tiles;
    p.out_blocks = count;
    p.accumulate = 0;
    if (job->transformed) {
        p.u_xi = xi_stride(group, job->in_blocks);
        p.u_out = (size_t)job->in_blocks * TAP;
        p.u = job->transformed + (size_t)(o / group) * (size_t)TAPS(m) * p.u_xi;
        p.in_blocks = job->in_blocks;
        p.last_channels = job->last_channels;
        job->ctx->kern.wino_multiply(&p);
        return;
    }
    p.u = w->u;
    p.u_xi = w->u_xi;
    p.u_out = w->u_out;
    for (b = 0; b < job->in_blocks; b += p.in_blocks) {
        p.in_blocks = US_MIN(U_BLOCKS, job->in_blocks - b);
        p.last_channels = b + p.in_blocks == job->in_blocks ? job->last_channels : US_LANES;
        for (k = 0; k < count; k++)
            for (i = 0; i < p.in_blocks; i++)
                transform_block(job, o + k, b + i, w->u + (size_t)k * w->u_out + (size_t)i * TAP, w->u_xi);
        job->ctx->kern.wino_multiply(&p);
        p.v += (size_t)p.in_blocks * w->v_in;
        p.accumulate = 1;
    }
}

/* M of the strip's tiles, back to pixels of output block o. */
static void output_strip(const struct us_conv_job *job, const struct strip *s, int o, const float *mm, size_t m_xi) {
    const int m = job->tile, y = s->ty * m, rows = US_MIN(m, job->h - y);
    const float *bias = job->bias ? job->bias + (size_t)o * US_LANES : NULL;
    int t, x = s->tx * m;
    for (t = 0; t < s->count; t++, x += m, mm += US_LANES)
        job->ctx->kern.wino_output(m, us_map_row(&job->out, s->n, o, y) + (size_t)x * US_LANES,
                                   (size_t)job->w * US_LANES, rows, US_MIN(m, job->w - x), mm, m_xi, bias);
}

struct forward {
    const struct us_conv_job *job;
    struct tiling tiling;
};

static void forward_task(void *arg, int64_t index, int worker) {
    const struct forward *f = (const struct forward *)arg;
    const struct us_conv_job *job = f->job;
    const struct tiling *t = &f->tiling;
    const int group = job->ctx->kern.wino_group, groups = (job->out_blocks + group - 1) / group;
    const int split = (int)(index % t->splits), first = (int)(index / t->splits) * t->block;
    const int last = US_MIN(first + t->block, t->all);
    const int o0 = groups * split / t->splits * group;
    const int o1 = US_MIN(groups * (split + 1) / t->splits * group, job->out_blocks);
    struct workspace w;
    int i, b, o, k, tiles = 0;
    place(&w, job, t, job->scratch.base + (size_t)worker * job->scratch.each);
    for (i = first; i < last; i++) {
        const struct strip s = find_strip(t, i);
        for (b = 0; b < job->in_blocks; b++)
            us_wino_input_strip(job, s.n, b, s.ty, s.tx, s.count, w.v + (size_t)b * w.v_in + (size_t)tiles * US_LANES,
                                w.v_xi, w.slab, w.tmp);
        tiles += s.count;
    }
    for (o = o0; o < o1; o += group) {
        const int count = US_MIN(group, o1 - o);
        multiply(job, &w, o, count, tiles);
        for (k = 0; k < count; k++) {
            const float *mm = w.mm + (size_t)k * w.m_out;
            for (i = first; i < last; i++) {
                const struct strip s = find_strip(t, i);
                output_strip(job, &s, o + k, mm, w.m_xi);
                mm += (size_t)s.count * US_LANES;
            }
        }
    }
}

int us_wino_forward(const struct us_conv_job *job) {
    struct forward f;
    f.job = job;
    f.tiling = cut_tiles(job);
    return us_parallel(job->ctx, NULL, forward_task, &f, (int64_t)f.tiling.tasks * f.tiling.splits);
}
