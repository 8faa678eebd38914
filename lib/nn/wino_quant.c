/*
 * wino_quant.c - 3x3 convolution in 8 bits by Winograd's F(4x4, 3x3) in integers, in the manner of wino.c: a task takes
 * a strip of a row of tiles, transforms its inputs into V, multiplies tap by tap into M, and transforms back. What
 * leaves it is float; where the map holds bytes, the activation is applied and the value quantised on the way.
 *
 * Everything up to M is exact, so nothing of how the work is cut can show in a bit.
 */
#include "nn/map.h"

#include <string.h>

#define TILE 4
#define SIDE 6
#define TAPS 36
#define TAP (US_LANES * US_LANES)
#define SEGMENT 8 /* tiles whose inputs are fetched together */

struct tiling {
    int across, down; /* tiles of an image, rows of tiles to compute */
    int first;        /* row of tiles */
    int strip;        /* tiles of a strip */
    int strips;       /* of a row of tiles */
    int splits;       /* of the output channels */
    int tasks;
};

static struct tiling cut_tiles(const struct us_conv_job *job) {
    const int group = job->ctx->kern.quant_group, groups = (job->out_blocks + group - 1) / group;
    const int workers = us_workers(job->ctx), batch = job->ctx->kern.quant_batch;
    struct tiling t;
    int strips;
    t.across = (job->w + TILE - 1) / TILE;
    t.first = job->y0 / TILE;
    t.down = (job->y1 - job->y0 + TILE - 1) / TILE;
    t.strips = (t.across + batch - 1) / batch;
    t.strip = (t.across + t.strips - 1) / t.strips;
    t.strips = (t.across + t.strip - 1) / t.strip;
    strips = job->n * t.down * t.strips;
    t.splits = workers > 1 && strips < 2 * workers ? US_MIN(groups, (2 * workers + strips - 1) / strips) : 1;
    t.tasks = strips * t.splits;
    return t;
}

/* ---- A worker's scratch ---- */

struct workspace {
    float *tmp, *pixels;
    int16_t *slab, *v;
    int32_t *m;
    size_t v_xi, v_in, m_xi, m_out;
    size_t bytes;
};

static void place(struct workspace *w, const struct us_conv_job *job, const struct tiling *t, char *base) {
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    arena.base = base;
    w->v_in = w->m_out = (size_t)t->strip * US_LANES;
    w->v_xi = 2 * us_odd_lines(((size_t)job->in_blocks * w->v_in / 2 + US_LANES - 1) / US_LANES * US_LANES);
    w->m_xi = us_odd_lines((size_t)job->ctx->kern.quant_group * w->m_out);
    w->tmp = (float *)us_arena_take(&arena, job->tmp_bytes);
    w->slab = (int16_t *)us_arena_take(&arena, (size_t)SIDE * (SEGMENT * TILE + 2) * US_LANES * sizeof *w->slab);
    w->v = (int16_t *)us_arena_take(&arena, TAPS * w->v_xi * sizeof *w->v);
    w->m = (int32_t *)us_arena_take(&arena, TAPS * w->m_xi * sizeof *w->m);
    w->pixels = (float *)us_arena_take(&arena, job->out.quant ? (size_t)TILE * TILE * w->m_out * sizeof *w->pixels : 0);
    w->bytes = arena.used;
}

/* For the longest strip there may be: fewer rows and smaller maps find enough, too. */
size_t us_quant_scratch(const struct us_conv_job *job) {
    struct tiling t = cut_tiles(job);
    struct workspace w;
    t.strip = US_MIN(t.across, job->ctx->kern.quant_batch);
    place(&w, job, &t, NULL);
    return w.bytes;
}

/* ---- A task ---- */

struct strip {
    int n, ty, tx, count;
};

/* `count` pixels of row y from x on; zeros outside the map. */
static void fetch_row(const struct us_conv_job *job, int n, int b, int y, int x, int count, int16_t *dst, float *tmp) {
    const int x0 = US_MAX(0, x), x1 = US_MIN(job->w, x + count);
    if (y < 0 || y >= job->h || x0 >= x1) {
        memset(dst, 0, (size_t)count * US_LANES * sizeof *dst);
        return;
    }
    memset(dst, 0, (size_t)(x0 - x) * US_LANES * sizeof *dst);
    memset(dst + (size_t)(x1 - x) * US_LANES, 0, (size_t)(x + count - x1) * US_LANES * sizeof *dst);
    job->quant_row(job->source, n, b, y, x0, x1, dst + (size_t)(x0 - x) * US_LANES, tmp);
}

static void input_strip(const struct us_conv_job *job, const struct workspace *w, const struct strip *s, int b) {
    int16_t *v = w->v + (size_t)b * w->v_in;
    int t = 0, i, r, now;
    for (; t < s->count; t += now) {
        const int x = (s->tx + t) * TILE - 1;
        size_t stride;
        now = US_MIN(SEGMENT, s->count - t);
        stride = (size_t)(now * TILE + 2) * US_LANES;
        for (r = 0; r < SIDE; r++)
            fetch_row(job, s->n, b, s->ty * TILE - 1 + r, x, now * TILE + 2, w->slab + (size_t)r * stride, w->tmp);
        for (i = 0; i < now; i++, v += US_LANES)
            job->ctx->kern.quant_input(v, w->v_xi, w->slab + (size_t)i * TILE * US_LANES, stride);
    }
}

static void multiply(const struct us_conv_job *job, const struct workspace *w, int o, int count, int tiles) {
    const int group = job->ctx->kern.quant_group;
    struct us_quant_multiply p;
    p.v = w->v;
    p.m = w->m;
    p.v_xi = w->v_xi;
    p.v_in = w->v_in;
    p.m_xi = w->m_xi;
    p.m_out = w->m_out;
    p.u_xi = us_quant_u_stride(job->ctx, job->in_blocks);
    p.u_out = (size_t)job->in_blocks * TAP;
    p.u = us_quant_values(job->transformed, job->out_blocks) + (size_t)(o / group) * TAPS * p.u_xi;
    p.taps = TAPS;
    p.tiles = tiles;
    p.in_blocks = job->in_blocks;
    p.out_blocks = count;
    job->ctx->kern.quant_multiply(&p);
}

/* M of the strip's tiles, back to pixels of output block o. */
static void output_strip(const struct us_conv_job *job, const struct workspace *w, const struct strip *s, int o,
                         const int32_t *m) {
    const int y = s->ty * TILE, x = s->tx * TILE, rows = US_MIN(TILE, job->h - y);
    const int columns = US_MIN(s->count * TILE, job->w - x);
    const size_t stride = (size_t)(job->out.quant ? s->count * TILE : job->w) * US_LANES;
    const float *scale = job->transformed + (size_t)o * TAPS * US_LANES, *bias = job->bias + (size_t)o * US_LANES;
    float *to = job->out.quant ? w->pixels : us_map_row(&job->out, s->n, o, y) + (size_t)x * US_LANES;
    int t, r;
    for (t = 0; t < s->count; t++)
        job->ctx->kern.quant_output(to + (size_t)t * TILE * US_LANES, stride, rows, US_MIN(TILE, columns - t * TILE),
                                    m + (size_t)t * US_LANES, w->m_xi, scale, bias);
    for (r = 0; job->out.quant && r < rows; r++)
        us_store_row(job, s->n, o, y + r, x, columns, to + (size_t)r * stride);
}

struct forward {
    const struct us_conv_job *job;
    struct tiling tiling;
};

static void forward_task(void *arg, int64_t index, int worker) {
    const struct forward *f = (const struct forward *)arg;
    const struct us_conv_job *job = f->job;
    const struct tiling *t = &f->tiling;
    const int group = job->ctx->kern.quant_group, groups = (job->out_blocks + group - 1) / group;
    const int split = (int)(index % t->splits), at = (int)(index / t->splits);
    const int o0 = groups * split / t->splits * group;
    const int o1 = US_MIN(groups * (split + 1) / t->splits * group, job->out_blocks);
    struct workspace w;
    struct strip s;
    int b, o, k;
    place(&w, job, t, job->scratch.base + (size_t)worker * job->scratch.each);
    s.tx = at % t->strips * t->strip;
    s.ty = t->first + at / t->strips % t->down;
    s.n = at / t->strips / t->down;
    s.count = US_MIN(t->strip, t->across - s.tx);
    for (b = 0; b < job->in_blocks; b++)
        input_strip(job, &w, &s, b);
    for (o = o0; o < o1; o += group) {
        const int count = US_MIN(group, o1 - o);
        multiply(job, &w, o, count, s.count);
        for (k = 0; k < count; k++)
            output_strip(job, &w, &s, o + k, w.m + (size_t)k * w.m_out);
    }
}

int us_quant_forward(const struct us_conv_job *job) {
    struct forward f;
    f.job = job;
    f.tiling = cut_tiles(job);
    return us_parallel(job->ctx, NULL, forward_task, &f, f.tiling.tasks);
}
