/*
 * evaluate.c - the evaluation pass: one image, batch norm folded into the weights.
 *
 * There are two plans. The whole-image plan computes unit after unit; maps are placed so that they overlap in time. The
 * streaming plan takes the image row by row and keeps of every map a ring of the rows still needed (schedule.c); its
 * memory does not depend on the height. Both run the same units on the same sources of rows, so they give the same
 * bits.
 */
#include "nn/map.h"
#include "nn/schedule.h"

#include <string.h>

struct us_evaluation {
    struct us_pass pass;
    struct us_schedule schedule;
    const struct us_folded *folded;
    int64_t height, width;
    struct us_norm norms[US_MAX_UNITS]; /* instance and group norm: statistics of this image */
    float *image;                       /* streaming: the ring of input rows */
    float *logits;                      /* (classes, logit_rows, w of the head's map) */
    int logit_rows;
    float *output;
    size_t output_plane;
    int output_rows;
};

static size_t sizeof_evaluation(void) {
    return (sizeof(struct us_evaluation) + 63) / 64 * 64;
}

/* ---- Memory ---- */

static void place_norms(struct us_evaluation *e, struct us_arena *arena) {
    const struct us_net *net = e->pass.net;
    size_t sums = 0;
    double *shared;
    int u;
    for (u = 0; u < net->n_units; u++) {
        const struct us_unit *unit = &net->units[u];
        struct us_norm *norm = &e->norms[u];
        size_t size = us_norm_floats(0, 1, unit->out_blocks) * sizeof(float);
        if (unit->norm != UNETSTAR_NORM_INSTANCE && unit->norm != UNETSTAR_NORM_GROUP)
            continue;
        norm->c = unit->c_out;
        norm->groups = unit->groups;
        norm->eps = 1e-5f;
        norm->mean = (float *)us_arena_take(arena, size);
        norm->inverse_std = (float *)us_arena_take(arena, size);
        norm->scale = (float *)us_arena_take(arena, size);
        norm->shift = (float *)us_arena_take(arena, size);
        e->pass.scale[u] = norm->scale;
        e->pass.shift[u] = norm->shift;
        sums = US_MAX(sums, us_norm_sums(1, unit->out_blocks));
    }
    shared = (double *)us_arena_take(arena, sums * sizeof(double));
    for (u = 0; u < net->n_units; u++)
        e->norms[u].sums = shared;
}

static void place_whole_maps(struct us_evaluation *e, struct us_arena *arena) {
    const struct us_net *net = e->pass.net;
    struct us_interval lives[US_MAX_UNITS];
    char *base;
    int u;
    for (u = 0; u < net->n_units; u++) {
        lives[u].first = u;
        lives[u].last = us_net_last_reader(net, u);
        lives[u].size = us_map_bytes(&e->pass.z[u]);
    }
    base = (char *)us_arena_take(arena, us_plan_intervals(lives, net->n_units));
    for (u = 0; u < net->n_units; u++)
        e->pass.z[u].data = base ? (float *)(base + lives[u].offset) : NULL;
}

static void place_rings(struct us_evaluation *e, struct us_arena *arena, struct us_evaluation_size *size) {
    const struct us_net *net = e->pass.net;
    struct us_rings rings;
    int u;
    us_schedule_rings(&rings, net, e->pass.tile, US_EVALUATION_FEED, e->pass.w);
    e->pass.image_rows = rings.image;
    e->image = (float *)us_arena_take(arena, (size_t)net->options.in_channels * (size_t)rings.image * (size_t)e->width *
                                                 sizeof(float));
    e->pass.image = e->image;
    for (u = 0; u < net->n_units; u++) {
        e->pass.z[u].rows = rings.rows[u];
        e->pass.z[u].data = (float *)us_arena_take(arena, us_map_bytes(&e->pass.z[u]));
    }
    e->logit_rows = rings.rows[net->n_units];
    size->output_rows = rings.rows[net->n_units + 1] * net->heads[0].scale;
    size->lag = rings.lag;
}

/* Fills *e; counts only while the arena has no memory. */
static void place(struct us_evaluation *e, const struct us_evaluation_shape *shape, us_context *ctx, struct us_arena *arena,
                  struct us_evaluation_size *size) {
    const struct us_net *net = shape->net;
    const struct us_map *logits;
    memset(e, 0, sizeof *e);
    us_pass_shapes(&e->pass, ctx, net, 1, shape->height, shape->width, 0);
    us_pass_algorithms(&e->pass, 0, shape->precision);
    if (shape->calibration)
        us_pass_quantise(&e->pass, shape->calibration);
    us_schedule_begin(&e->schedule, net, e->pass.tile, shape->stream, e->pass.h, e->pass.w);
    e->height = shape->height;
    e->width = shape->width;
    logits = &e->pass.z[net->heads[0].unit];
    e->logit_rows = logits->h;
    size->output_rows = (int)shape->height;
    size->lag = 0;
    us_arena_take(arena, sizeof_evaluation());
    if (shape->stream)
        place_rings(e, arena, size);
    else
        place_whole_maps(e, arena);
    place_norms(e, arena);
    e->logits = (float *)us_arena_take(arena, (size_t)net->options.classes * (size_t)e->logit_rows * (size_t)logits->w *
                                                  sizeof(float));
    e->pass.scratch.each = us_pass_scratch(&e->pass, e->schedule.step, 0);
    size->maps = (arena->used + 63) / 64 * 64;
    size->scratch = e->pass.scratch.each * (size_t)us_workers(ctx);
}

void us_evaluation_measure(struct us_evaluation_size *size, us_context *ctx, const struct us_evaluation_shape *shape) {
    struct us_arena arena = {NULL, 0, 0};
    struct us_evaluation e;
    place(&e, shape, ctx, &arena, size);
}

us_evaluation *us_evaluation_begin(us_context *ctx, const struct us_evaluation_shape *shape, const struct us_folded *folded,
                                   void *maps, void *scratch) {
    struct us_evaluation *e = (struct us_evaluation *)maps;
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    struct us_evaluation_size size;
    arena.base = (char *)maps;
    place(e, shape, ctx, &arena, &size);
    e->folded = folded;
    e->pass.scratch.base = (char *)scratch;
    return e;
}

const struct us_pass *us_evaluation_pass(const us_evaluation *e) {
    return &e->pass;
}

void us_evaluation_output(us_evaluation *e, float *output, size_t plane, int rows) {
    e->output = output;
    e->output_plane = plane;
    e->output_rows = rows;
}

/* ---- Input ---- */

void us_evaluation_image(us_evaluation *e, const float *x) {
    e->pass.image = x;
    us_evaluation_fed(e, e->height);
}

float *us_evaluation_row(us_evaluation *e, int channel, int64_t y) {
    return e->image +
           ((size_t)channel * (size_t)e->pass.image_rows + (size_t)(y % e->pass.image_rows)) * (size_t)e->width;
}

void us_evaluation_fed(us_evaluation *e, int64_t rows) {
    e->schedule.fed = rows == e->height ? e->pass.h : (int)rows;
}

/* ---- Logits to probabilities of the image's size ---- */

struct output {
    const struct us_evaluation *e;
    int y0;
};

/* Row y of the logits of a class; with bilinear upsampling of the double height, computed into `to`. */
static const float *logit_row(const struct us_evaluation *e, int class, int y, float *to) {
    const struct us_map *z = &e->pass.z[e->pass.net->heads[0].unit];
    const float *plane = e->logits + (size_t) class * (size_t)e->logit_rows * (size_t)z->w;
    if (!e->pass.net->heads[0].bilinear)
        return plane + (size_t)(y % e->logit_rows) * (size_t)z->w;
    us_row_bilinear(plane + (size_t)(us_bilinear_near(y) % e->logit_rows) * (size_t)z->w,
                    plane + (size_t)(us_bilinear_far(y, z->h) % e->logit_rows) * (size_t)z->w, z->w, to);
    return to;
}

/* One row of logits: softmax in the worker's scratch, then copied to the `scale` rows it stands for. */
static void output_task(void *arg, int64_t index, int worker) {
    const struct output *o = (const struct output *)arg;
    const struct us_evaluation *e = o->e;
    const struct us_head *head = &e->pass.net->heads[0];
    const int classes = e->pass.net->options.classes, first = classes == 2 ? 1 : 0, y = o->y0 + (int)index;
    const int w = e->pass.z[head->unit].w << head->bilinear, scale = head->scale;
    float *row = (float *)(e->pass.scratch.base + (size_t)worker * e->pass.scratch.each);
    int c, dy;
    int64_t x;
    for (c = 0; c < classes; c++) {
        float *to = row + (size_t)c * (size_t)w;
        const float *from = logit_row(e, c, y, to);
        if (from != to)
            memcpy(to, from, (size_t)w * sizeof *to);
    }
    us_softmax(row, row, classes, w, w);
    for (c = first; c < classes; c++)
        for (dy = 0; dy < scale && (int64_t)y * scale + dy < e->height; dy++) {
            float *to = e->output + (size_t)(c - first) * e->output_plane +
                        (size_t)((y * scale + dy) % e->output_rows) * (size_t)e->width;
            for (x = 0; x < e->width; x++)
                to[x] = row[c * w + x / scale];
        }
}

/* ---- Turns ---- */

static int run_unit(us_evaluation *e, const struct us_turn *turn) {
    const struct us_folded *f = e->folded;
    const int u = turn->stage;
    int code = us_unit_forward(&e->pass, u, turn->y0, turn->y1, f->weights[u], f->transformed[u], f->bias[u]);
    if (!code && e->pass.scale[u]) /* only whole maps have statistics: streaming is refused for these norms */
        code = us_norm_measure(e->pass.ctx, &e->norms[u], &e->pass.z[u], f->gamma[u], f->beta[u], 0, NULL, NULL);
    if (!code && e->pass.net->units[u].residual >= 0) {
        code = us_unit_complete(&e->pass, u, turn->y0, turn->y1);
        e->pass.scale[u] = e->pass.shift[u] = NULL; /* the map holds the value */
    }
    return code;
}

int us_evaluation_next(us_evaluation *e, struct us_evaluation_step *step) {
    const struct us_net *net = e->pass.net;
    const struct us_head *head = &net->heads[0];
    struct us_turn turn;
    struct output o;
    memset(step, 0, sizeof *step);
    if (!us_schedule_next(&e->schedule, &turn)) {
        step->starved = 1;
        return 0;
    }
    step->stage = turn.stage;
    if (turn.stage < net->n_units)
        return run_unit(e, &turn);
    if (turn.stage == net->n_units)
        return us_head_forward(&e->pass, head, turn.y0, turn.y1, e->folded->head_weights, e->folded->head_bias,
                               e->logits, e->logit_rows);
    step->y0 = US_MIN((int64_t)turn.y0 * head->scale, e->height);
    step->y1 = US_MIN((int64_t)turn.y1 * head->scale, e->height);
    o.e = e;
    o.y0 = turn.y0;
    return us_parallel(e->pass.ctx, NULL, output_task, &o, (step->y1 - step->y0 + head->scale - 1) / head->scale);
}

int us_evaluate(us_context *ctx, const struct us_evaluation_shape *shape, const struct us_folded *folded, const float *x,
                float *probability, void *memory, int (*report)(void *user, int units), void *user) {
    struct us_evaluation_step step;
    struct us_evaluation_size size;
    us_evaluation *e;
    int code = 0;
    us_evaluation_measure(&size, ctx, shape);
    e = us_evaluation_begin(ctx, shape, folded, memory, (char *)memory + size.maps);
    us_evaluation_output(e, probability, (size_t)(shape->height * shape->width), (int)shape->height);
    us_evaluation_image(e, x);
    do {
        code = us_evaluation_next(e, &step);
        if (!code && !step.starved && step.stage < shape->net->n_units && report)
            code = report(user, step.stage + 1);
    } while (!code && !step.starved);
    return code;
}
