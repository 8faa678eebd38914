/*
 * wino_weights.c - backward-weights of the 3x3 convolution by Winograd: dW = G^T ( sum over tiles of (B^T x B) (A dy A^T) ) G.
 *
 * A partial is some whole rows of tiles of the batch, about 96 tiles. Its inputs (V) and gradients (D) are transformed once; then
 * for every pair of blocks the products are summed tap by tap over the tiles, one chain in the order of the tiles, and
 * transformed back to 3x3, so the transformed gradient of a whole layer never exists. partials.c adds the partials.
 */
#include "nn/map.h"

#include <string.h>

#define SIDE(m) ((m) + 2)
#define TAPS(m) (SIDE(m) * SIDE(m))
#define TILES 96
#define GROUP 2 /* output blocks at once */
#define TAP (US_LANES * US_LANES)

struct wino {
    const struct us_conv_weights_job *job;
    int across, down; /* tiles of an image */
    int rows;         /* rows of tiles of a partial */
    int in_step;      /* input blocks of a task */
};

static struct wino cut(const struct us_conv_weights_job *job) {
    const int m = job->tile, workers = us_workers(job->ctx);
    struct wino w;
    int partials;
    w.job = job;
    w.across = (job->w + m - 1) / m;
    w.down = (job->h + m - 1) / m;
    w.rows = US_MIN(US_MAX(1, TILES / w.across), job->n * w.down);
    partials = (job->n * w.down + w.rows - 1) / w.rows;
    /* Few partials are shared among workers by input blocks; each then transforms the gradients anew. */
    w.in_step = job->in_blocks;
    if (workers > 1 && partials < 4 * workers) {
        const int pieces = US_MIN(job->in_blocks, (2 * workers + partials - 1) / partials);
        w.in_step = (job->in_blocks + pieces - 1) / pieces;
    }
    return w;
}

struct workspace {
    float *tmp, *slab, *v, *d, *du;
    const float **dout;
    size_t v_stride, d_stride, du_stride, row_floats;
    size_t bytes;
};

static void place(struct workspace *s, const struct wino *w, char *base) {
    const int m = w->job->tile;
    const size_t tiles = (size_t)w->rows * (size_t)w->across;
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    arena.base = base;
    s->row_floats = ((size_t)w->across * (size_t)m + 2) * US_LANES;
    s->v_stride = us_odd_lines((size_t)w->in_step * tiles * US_LANES);
    s->d_stride = us_odd_lines((size_t)w->job->out_blocks * tiles * US_LANES);
    s->du_stride = us_odd_lines((size_t)GROUP * TAP);
    s->tmp = (float *)us_arena_take(&arena, w->job->tmp_bytes);
    s->dout = (const float **)us_arena_take(&arena, sizeof(float *) * GROUP);
    s->slab = (float *)us_arena_take(&arena, (size_t)SIDE(m) * s->row_floats * sizeof(float));
    s->v = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->v_stride * sizeof(float));
    s->d = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->d_stride * sizeof(float));
    s->du = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->du_stride * sizeof(float));
    s->bytes = arena.used;
}

/* V of input block b for the tiles of rows [first, last). */
static void transform_input(const struct wino *w, const struct workspace *s, int first, int last, int b, size_t tiles,
                            int slot) {
    const struct us_conv_weights_job *job = w->job;
    const int m = job->tile;
    float *v = s->v + (size_t)slot * tiles * US_LANES;
    int row, r, tx;
    for (row = first; row < last; row++) {
        const int n = row / w->down, y = row % w->down * m;
        for (r = 0; r < SIDE(m); r++)
            us_fetch_row(job->row, job->source, n, b, y - 1 + r, job->h, job->w,
                         (int)(s->row_floats / US_LANES) - job->w - 1, s->slab + (size_t)r * s->row_floats, s->tmp);
        for (tx = 0; tx < w->across; tx++, v += US_LANES)
            job->ctx->kern.wino_input(m, v, s->v_stride, s->slab + (size_t)tx * (size_t)m * US_LANES, s->row_floats);
    }
}

static void transform_gradient(const struct wino *w, const struct workspace *s, int first, int last, int o, size_t tiles) {
    const struct us_conv_weights_job *job = w->job;
    const int m = job->tile;
    float *d = s->d + (size_t)o * tiles * US_LANES;
    int row, tx;
    for (row = first; row < last; row++) {
        const int n = row / w->down, y = row % w->down * m;
        for (tx = 0; tx < w->across; tx++, d += US_LANES)
            job->ctx->kern.wino_gradient(m, d, s->d_stride,
                                         us_map_row(&job->dout, n, o, y) + (size_t)tx * (size_t)m * US_LANES,
                                         (size_t)job->w * US_LANES, US_MIN(m, job->h - y), US_MIN(m, job->w - tx * m));
    }
}

/* Products of input block `slot` with output blocks o .. o + count - 1, summed over all tiles, into dU. */
static void multiply(const struct wino *w, const struct workspace *s, int slot, int channels, int o, int count, size_t tiles,
                     int used_tiles) {
    const int m = w->job->tile;
    const float *in;
    struct us_conv_bwdw c;
    int xi, k;
    c.in = &in;
    c.dout = s->dout;
    c.dw_stride = TAP;
    c.rows = 1;
    c.width = used_tiles;
    c.out_blocks = count;
    c.channels = channels;
    c.ksize = c.in_step = c.dout_step = 1;
    for (xi = 0; xi < TAPS(m); xi++) {
        in = s->v + (size_t)xi * s->v_stride + (size_t)slot * tiles * US_LANES;
        for (k = 0; k < count; k++)
            s->dout[k] = s->d + (size_t)xi * s->d_stride + (size_t)(o + k) * tiles * US_LANES;
        c.dw = s->du + (size_t)xi * s->du_stride;
        memset(c.dw, 0, (size_t)count * TAP * sizeof(float));
        w->job->ctx->kern.conv_bwdw(&c);
    }
}

static void compute(const void *user, int partial, const struct us_partial_range *range, float *dw, char *scratch) {
    const struct wino *w = (const struct wino *)user;
    const struct us_conv_weights_job *job = w->job;
    const int m = job->tile, first = partial * w->rows, last = US_MIN(first + w->rows, job->n * w->down);
    const int blocks = range->b1 - range->b0, used = (last - first) * w->across;
    const size_t tiles = (size_t)w->rows * (size_t)w->across;
    struct workspace s;
    int b, o, k, ci;
    place(&s, w, scratch);
    for (b = range->b0; b < range->b1; b++)
        transform_input(w, &s, first, last, b, tiles, b - range->b0);
    for (o = range->o0; o < range->o1; o++)
        transform_gradient(w, &s, first, last, o, tiles);
    for (o = range->o0; o < range->o1; o += GROUP) {
        const int count = US_MIN(GROUP, range->o1 - o);
        for (b = range->b0; b < range->b1; b++) {
            multiply(w, &s, b - range->b0, b == job->in_blocks - 1 ? job->last_channels : US_LANES, o, count, tiles, used);
            for (k = 0; k < count; k++) {
                float *to = dw + ((size_t)(o + k - range->o0) * (size_t)blocks + (size_t)(b - range->b0)) * 9 * TAP;
                for (ci = 0; ci < US_LANES; ci++)
                    job->ctx->kern.wino_weights_grad(m, to + ci * US_LANES, TAP, s.du + k * TAP + ci * US_LANES, s.du_stride);
            }
        }
    }
}

static void describe(struct us_partials *p, struct wino *w, const struct us_conv_weights_job *job) {
    *w = cut(job);
    p->count = (job->n * w->down + w->rows - 1) / w->rows;
    p->in_blocks = job->in_blocks;
    p->out_blocks = job->out_blocks;
    p->in_step = w->in_step;
    p->out_step = job->out_blocks;
    p->compute = compute;
    p->user = w;
}

size_t us_wino_weights_scratch(const struct us_conv_weights_job *job) {
    struct us_partials p;
    struct workspace s;
    struct wino w;
    describe(&p, &w, job);
    place(&s, &w, NULL);
    return us_partials_scratch(&p) + s.bytes;
}

size_t us_wino_weights_partials(const struct us_conv_weights_job *job) {
    struct us_partials p;
    struct wino w;
    describe(&p, &w, job);
    return us_partials_floats(us_workers(job->ctx), &p);
}

int us_wino_backward_weights(const struct us_conv_weights_job *job) {
    struct us_partials p;
    struct wino w;
    describe(&p, &w, job);
    return us_partials_run(job->ctx, &p, job->scratch, job->partials, job->dw);
}
