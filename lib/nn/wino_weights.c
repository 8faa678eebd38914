/*
 * wino_weights.c - backward-weights of the 3x3 convolution by Winograd: dW = G^T ( sum over tiles of (B^T x B) (A dy
 * A^T) ) G.
 *
 * A partial is some whole rows of tiles of the batch, about PARTIAL_TILES tiles (partials.c adds the partials). Its
 * inputs (V) and gradients (D) are transformed a chunk of tiles at a time, their products summed tap by tap into dU,
 * one chain in the order of the tiles, and at the end dU is transformed back to 3x3. dU exists for some input blocks at
 * a time only: its size, not that of the weights, is what has to fit the cache.
 */
#include "nn/map.h"

#include <string.h>

#define SIDE(m) ((m) + 2)
#define TAPS(m) (SIDE(m) * SIDE(m))
#define TAP (US_LANES * US_LANES)
#define PARTIAL_TILES 128
#define DU_BYTES ((size_t)1 << 20) /* of the input blocks worked on at a time */
#define FEW_INPUTS 4               /* input blocks of a layer whose dU stays in the cache whole */

struct wino {
    const struct us_conv_job *job;
    int across, down; /* tiles of an image */
    int rows;         /* rows of tiles of a partial */
    int chunk;        /* rows of tiles of a chunk */
    int in_task;      /* input blocks of a task */
    int in_step;      /* input blocks worked on at a time */
};

static struct wino cut(const struct us_conv_job *job) {
    const int m = job->tile, workers = us_workers(job->ctx);
    const size_t du = (size_t)TAPS(m) * (size_t)job->out_blocks * TAP * sizeof(float);
    struct wino w;
    int partials;
    w.job = job;
    w.across = (job->w + m - 1) / m;
    w.down = (job->h + m - 1) / m;
    w.rows = US_MIN(US_MAX(1, PARTIAL_TILES / w.across), job->n * w.down);
    partials = (job->n * w.down + w.rows - 1) / w.rows;
    /* Few partials are shared among workers by input blocks; each then transforms the gradients anew. */
    w.in_task = job->in_blocks;
    if (workers > 1 && partials < 2 * workers) {
        const int pieces = US_MIN(job->in_blocks, (workers + partials - 1) / partials);
        w.in_task = (job->in_blocks + pieces - 1) / pieces;
    }
    if (job->in_blocks <= FEW_INPUTS) { /* many tiles, few channels: tiles in chunks, dU at rest */
        w.in_step = w.in_task;
        w.chunk = US_MIN(w.rows, US_MAX(1, job->ctx->kern.wino_batch / w.across));
    } else { /* few tiles, many channels: D at rest, dU a piece at a time */
        w.in_step = US_MIN(w.in_task, US_MAX(1, (int)(DU_BYTES / du)));
        w.chunk = w.rows;
    }
    return w;
}

struct workspace {
    float *tmp, *slab, *v, *d, *du;
    size_t v_xi, v_in, d_xi, d_out, du_xi, du_in;
    size_t bytes;
};

static void place(struct workspace *s, const struct wino *w, char *base) {
    const int m = w->job->tile;
    const size_t tiles = (size_t)w->chunk * (size_t)w->across, out = (size_t)w->job->out_blocks;
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    arena.base = base;
    s->v_in = s->d_out = tiles * US_LANES;
    s->v_xi = us_odd_lines((size_t)w->in_step * s->v_in);
    s->d_xi = us_odd_lines(out * s->d_out);
    s->du_in = out * TAP;
    s->du_xi = us_odd_lines((size_t)w->in_step * s->du_in);
    s->tmp = (float *)us_arena_take(&arena, w->job->tmp_bytes);
    s->slab = (float *)us_arena_take(&arena, us_wino_slab_bytes(m));
    s->v = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->v_xi * sizeof(float));
    s->d = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->d_xi * sizeof(float));
    s->du = (float *)us_arena_take(&arena, (size_t)TAPS(m) * s->du_xi * sizeof(float));
    s->bytes = arena.used;
}

static void transform_gradient(const struct us_conv_job *job, const struct wino *w, int row, int o, float *d,
                               size_t d_xi) {
    const int m = job->tile, n = row / w->down, y = row % w->down * m;
    const float *dy = us_map_row(&job->dout, n, o, y);
    int tx;
    for (tx = 0; tx < w->across; tx++, d += US_LANES, dy += (size_t)m * US_LANES)
        job->ctx->kern.wino_gradient(m, d, d_xi, dy, (size_t)job->w * US_LANES, US_MIN(m, job->h - y),
                                     US_MIN(m, job->w - tx * m));
}

/* V of `inputs` blocks from b on, and D where it is wanted, of rows of tiles [first, last). */
static void transform(const struct wino *w, const struct workspace *s, int first, int last, int b, int inputs,
                      int gradients) {
    const struct us_conv_job *job = w->job;
    int row, i, o;
    for (row = first; row < last; row++) {
        const size_t at = (size_t)(row - first) * (size_t)w->across * US_LANES;
        for (i = 0; i < inputs; i++)
            us_wino_input_strip(job, row / w->down, b + i, row % w->down, 0, w->across, s->v + (size_t)i * s->v_in + at,
                                s->v_xi, s->slab, s->tmp);
        for (o = 0; o < job->out_blocks && gradients; o++)
            transform_gradient(job, w, row, o, s->d + (size_t)o * s->d_out + at, s->d_xi);
    }
}

static void multiply(const struct wino *w, const struct workspace *s, int b, int inputs, int tiles, int accumulate) {
    const struct us_conv_job *job = w->job;
    struct us_wino_accumulate p;
    int i;
    p.d = s->d;
    p.v_xi = s->v_xi;
    p.d_xi = s->d_xi;
    p.d_out = s->d_out;
    p.du_xi = s->du_xi;
    p.du_out = TAP;
    p.taps = TAPS(job->tile);
    p.tiles = tiles;
    p.out_blocks = job->out_blocks;
    p.accumulate = accumulate;
    for (i = 0; i < inputs; i++) {
        p.v = s->v + (size_t)i * s->v_in;
        p.du = s->du + (size_t)i * s->du_in;
        p.channels = b + i == job->in_blocks - 1 ? job->last_channels : US_LANES;
        job->ctx->kern.wino_accumulate(&p);
    }
}

/* dU of an input block back to the nine taps; weights of dead input lanes have no gradient. */
static void transform_back(const struct us_conv_job *job, const struct workspace *s, int i, int b, int o, float *dw) {
    const float *du = s->du + (size_t)i * s->du_in + (size_t)o * TAP;
    const int channels = b + i == job->in_blocks - 1 ? job->last_channels : US_LANES;
    int ci;
    if (channels < US_LANES)
        memset(dw, 0, 9 * TAP * sizeof *dw);
    for (ci = 0; ci < channels; ci++)
        job->ctx->kern.wino_weights_grad(job->tile, dw + ci * US_LANES, TAP, du + ci * US_LANES, s->du_xi);
}

static void compute(const void *user, int partial, const struct us_partial_range *range, float *dw, char *scratch) {
    const struct wino *w = (const struct wino *)user;
    const struct us_conv_job *job = w->job;
    const int first = partial * w->rows, last = US_MIN(first + w->rows, job->n * w->down),
              blocks = range->b1 - range->b0;
    struct workspace s;
    int b, i, o, row;
    place(&s, w, scratch);
    for (b = range->b0; b < range->b1; b += w->in_step) {
        const int inputs = US_MIN(w->in_step, range->b1 - b);
        for (row = first; row < last; row += w->chunk) {
            const int end = US_MIN(row + w->chunk, last), one_chunk = w->chunk >= last - first;
            transform(w, &s, row, end, b, inputs, b == range->b0 || !one_chunk);
            multiply(w, &s, b, inputs, (end - row) * w->across, row > first);
        }
        for (i = 0; i < inputs; i++)
            for (o = 0; o < job->out_blocks; o++)
                transform_back(job, &s, i, b, o,
                               dw + ((size_t)o * (size_t)blocks + (size_t)(b + i - range->b0)) * 9 * TAP);
    }
}

static void describe(struct us_partials *p, struct wino *w, const struct us_conv_job *job) {
    *w = cut(job);
    p->count = (job->n * w->down + w->rows - 1) / w->rows;
    p->in_blocks = job->in_blocks;
    p->out_blocks = job->out_blocks;
    p->taps = 9;
    p->in_step = w->in_task;
    p->out_step = job->out_blocks;
    p->compute = compute;
    p->user = w;
}

size_t us_wino_weights_scratch(const struct us_conv_job *job) {
    struct us_partials p;
    struct workspace s;
    struct wino w;
    describe(&p, &w, job);
    place(&s, &w, NULL);
    return us_partials_scratch(&p) + s.bytes;
}

size_t us_wino_weights_partials(const struct us_conv_job *job) {
    struct us_partials p;
    struct wino w;
    describe(&p, &w, job);
    return us_partials_floats(us_workers(job->ctx), &p);
}

int us_wino_backward_weights(const struct us_conv_job *job) {
    struct us_partials p;
    struct wino w;
    describe(&p, &w, job);
    return us_partials_run(job->ctx, &p, job->scratch, job->partials, job->dw);
}
