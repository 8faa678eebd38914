/*
 * calibrate.c - finds the scales of 8-bit evaluation from images.
 *
 * The images are shown twice to the float evaluation. The first time every unit's value, and every fusion that enters a
 * convolution, is counted into a histogram; from these come the scales. The second time every convolution that can be
 * in 8 bits is computed in them too, from the float input, and its value is compared with the float one. What is too
 * coarse stays in float. Counts are integers and errors are summed row by row in order: the result does not depend on
 * the threads.
 */
#include "nn/map.h"
#include "nn/ranges.h"

#include <math.h>
#include <string.h>

struct us_calibrator {
    us_context *ctx;
    const struct us_net *net;
    const struct us_folded *folded;
    const struct us_params *params;
    struct us_calibrator_options options;
    struct us_calibration scales; /* of everything that can be in bytes */
    struct us_folded *packed;     /* NULL: ranges are being taken */
    uint64_t *inputs, *values;    /* histograms of every unit */
    uint64_t *counts;             /* of every worker */
    double error[US_MAX_UNITS], signal[US_MAX_UNITS];
};

int us_calibrator_create(us_calibrator **out, us_context *ctx, const struct us_net *net, const struct us_folded *folded,
                         const struct us_params *params, const struct us_calibrator_options *options) {
    const size_t bins = (size_t)net->n_units * US_RANGE_BINS * sizeof(uint64_t);
    us_calibrator *c = *out = (us_calibrator *)us_alloc_zero(ctx, sizeof *c);
    if (!c)
        return UNETSTAR_ENOMEM;
    c->ctx = ctx;
    c->net = net;
    c->folded = folded;
    c->params = params;
    c->options = *options;
    c->inputs = (uint64_t *)us_alloc_zero(ctx, bins);
    c->values = (uint64_t *)us_alloc_zero(ctx, bins);
    c->counts = (uint64_t *)us_alloc(ctx, (size_t)us_workers(ctx) * US_RANGE_BINS * sizeof(uint64_t));
    if (c->inputs && c->values && c->counts)
        return 0;
    us_calibrator_destroy(c);
    *out = NULL;
    return UNETSTAR_ENOMEM;
}

void us_calibrator_destroy(us_calibrator *c) {
    if (!c)
        return;
    us_folded_unref(c->packed);
    us_free(c->ctx, c->inputs);
    us_free(c->ctx, c->values);
    us_free(c->ctx, c->counts);
    us_free(c->ctx, c);
}

/* ---- An image ---- */

/* What a unit has just computed, and room to look at it. */
struct look {
    us_calibrator *c;
    const struct us_pass *pass; /* of the float evaluation */
    struct us_pass quant;       /* the same, but for the unit at work */
    int unit, fused;
    struct us_scratch scratch;
    double *sums; /* of every row: squared error, squared value */
};

static void *scratch_of(const struct look *l, int worker) {
    return l->scratch.base + (size_t)worker * l->scratch.each;
}

static size_t row_floats(const struct look *l) {
    return (size_t)l->pass->z[l->unit].w * US_LANES;
}

/* A row of the unit's input or of its value into the worker's histogram. */
static void count_task(void *arg, int64_t index, int worker) {
    const struct look *l = (const struct look *)arg;
    const struct us_map *z = &l->pass->z[l->unit];
    const int b = (int)(index / z->h), y = (int)(index % z->h);
    float *row = (float *)scratch_of(l, worker);
    const float *from = row;
    struct us_input_source source;
    source.pass = l->pass;
    source.unit = l->unit;
    if (l->fused)
        us_input_row(&source, 0, b, y, 0, z->w, row, row + row_floats(l));
    else
        from = us_value_row(l->pass, l->unit, 0, b, y, 0, z->w, row);
    us_range_count(l->c->counts + (size_t)worker * US_RANGE_BINS, from, row_floats(l));
}

static int count_rows(struct look *l, int blocks, uint64_t *histogram) {
    const int workers = us_workers(l->c->ctx);
    int i, w, code;
    memset(l->c->counts, 0, (size_t)workers * US_RANGE_BINS * sizeof(uint64_t));
    code = us_parallel(l->c->ctx, NULL, count_task, l, (int64_t)blocks * l->pass->z[l->unit].h);
    for (w = 0; w < workers && !code; w++)
        for (i = 0; i < US_RANGE_BINS; i++)
            histogram[i] += l->c->counts[(size_t)w * US_RANGE_BINS + (size_t)i];
    return code;
}

static int take_ranges(struct look *l) {
    const struct us_unit *u = &l->c->net->units[l->unit];
    const size_t at = (size_t)l->unit * US_RANGE_BINS;
    int code;
    l->fused = 0;
    code = count_rows(l, u->out_blocks, l->c->values + at);
    l->fused = u->kind == US_UNIT_CONV3 && u->in.kind == US_IN_FUSE;
    return code || !l->fused ? code : count_rows(l, u->in_blocks, l->c->inputs + at);
}

/* A row's value in 8 bits beside the float one. */
static void compare_task(void *arg, int64_t index, int worker) {
    const struct look *l = (const struct look *)arg;
    const struct us_map *z = &l->pass->z[l->unit];
    const struct us_quant *q = &l->c->scales.value[l->unit];
    const int b = (int)(index / z->h), y = (int)(index % z->h);
    float *own = (float *)scratch_of(l, worker), *other = own + row_floats(l);
    const float *want = us_value_row(l->pass, l->unit, 0, b, y, 0, z->w, own);
    const float *got = us_value_row(&l->quant, l->unit, 0, b, y, 0, z->w, other);
    double error = 0, signal = 0;
    size_t i;
    if (q->scale > 0) {
        uint8_t *bytes = (uint8_t *)(other + row_floats(l));
        l->c->ctx->kern.quant_bytes(bytes, got, (size_t)z->w, q);
        l->c->ctx->kern.dequant_row(other, bytes, (size_t)z->w, q);
        got = other;
    }
    for (i = 0; i < row_floats(l); i++) {
        const double d = (double)got[i] - (double)want[i];
        error += d * d;
        signal += (double)want[i] * (double)want[i];
    }
    l->sums[2 * index] = error;
    l->sums[2 * index + 1] = signal;
}

/* map: room for the unit's map. */
static int take_error(struct look *l, float *map) {
    us_calibrator *c = l->c;
    const struct us_map *z = &l->pass->z[l->unit];
    const int64_t rows = (int64_t)z->blocks * z->h;
    int64_t i;
    int code = 0;
    if (c->scales.input[l->unit].scale <= 0 && c->scales.value[l->unit].scale <= 0)
        return 0;
    l->quant = *l->pass;
    l->quant.scratch = l->scratch;
    if (c->scales.input[l->unit].scale > 0) {
        us_pass_quantise(&l->quant, &c->scales);
        for (i = 0; i < c->net->n_units; i++)
            l->quant.z[i].quant = NULL; /* the inputs are the float evaluation's */
        l->quant.z[l->unit].data = map;
        code = us_unit_forward(&l->quant, l->unit, 0, z->h, NULL, c->packed->transformed[l->unit],
                               c->packed->bias[l->unit]);
    }
    code = code ? code : us_parallel(c->ctx, NULL, compare_task, l, rows);
    for (i = 0; i < rows && !code; i++) {
        c->error[l->unit] += l->sums[2 * i];
        c->signal[l->unit] += l->sums[2 * i + 1];
    }
    return code;
}

/* Memory of an image: the evaluation, its output, and what a look takes. */
struct room {
    char *maps, *evaluation_scratch;
    float *probability, *map;
    double *sums;
    char *scratch;
    size_t each;
};

static void place(const us_calibrator *c, const struct us_evaluation_shape *shape,
                  const struct us_evaluation_size *size, struct us_arena *arena, struct room *room) {
    const size_t pixels = (size_t)(shape->height * shape->width);
    size_t map = 0, rows = 0;
    struct us_pass pass;
    int u;
    us_pass_shapes(&pass, c->ctx, c->net, 1, shape->height, shape->width, 0);
    us_pass_algorithms(&pass, 0, shape->precision);
    if (c->packed)
        us_pass_quantise(&pass, &c->scales);
    for (u = 0; u < c->net->n_units; u++) {
        pass.z[u].quant = NULL;
        map = US_MAX(map, us_map_floats(&pass.z[u]));
        rows = US_MAX(rows, (size_t)pass.z[u].blocks * (size_t)pass.z[u].h);
    }
    room->each = US_MAX(us_pass_scratch(&pass, NULL, 0),
                        us_row_tmp_bytes(pass.w) + 3 * (size_t)pass.w * US_LANES * sizeof(float));
    room->maps = (char *)us_arena_take(arena, size->maps);
    room->evaluation_scratch = (char *)us_arena_take(arena, size->scratch);
    room->probability = (float *)us_arena_take(arena, (size_t)c->net->options.classes * pixels * sizeof(float));
    room->map = (float *)us_arena_take(arena, c->packed ? map * sizeof(float) : 0);
    room->sums = (double *)us_arena_take(arena, c->packed ? 2 * rows * sizeof(double) : 0);
    room->scratch = (char *)us_arena_take(arena, room->each * (size_t)us_workers(c->ctx));
}

static int run(us_calibrator *c, const struct us_evaluation_shape *shape, const struct room *room, const float *x,
               const us_cancel *cancel) {
    us_evaluation *e = us_evaluation_begin(c->ctx, shape, c->folded, room->maps, room->evaluation_scratch);
    struct us_evaluation_step step;
    struct look l;
    int code = 0;
    memset(&step, 0, sizeof step);
    memset(&l, 0, sizeof l);
    l.c = c;
    l.pass = us_evaluation_pass(e);
    l.scratch.base = room->scratch;
    l.scratch.each = room->each;
    l.sums = room->sums;
    us_evaluation_output(e, room->probability, (size_t)(shape->height * shape->width), (int)shape->height);
    us_evaluation_image(e, x);
    do {
        code = us_cancelled(cancel) ? us_fail(UNETSTAR_ECANCELED, "the calibration was canceled")
                                    : us_evaluation_next(e, &step);
        l.unit = step.stage;
        if (!code && !step.starved && step.stage < c->net->n_units)
            code = c->packed ? take_error(&l, room->map) : take_ranges(&l);
    } while (!code && !step.starved && step.stage < c->net->n_units);
    return code;
}

int us_calibrator_show(us_calibrator *c, int64_t height, int64_t width, const float *x, const us_cancel *cancel) {
    struct us_evaluation_shape shape;
    struct us_evaluation_size size;
    struct us_arena arena = {NULL, 0, 0};
    struct room room;
    int code;
    memset(&shape, 0, sizeof shape);
    shape.net = c->net;
    shape.height = height;
    shape.width = width;
    us_evaluation_measure(&size, c->ctx, &shape);
    place(c, &shape, &size, &arena, &room);
    arena.size = arena.used;
    arena.base = (char *)us_alloc(c->ctx, arena.size);
    if (!arena.base)
        return UNETSTAR_ENOMEM;
    arena.used = 0;
    place(c, &shape, &size, &arena, &room);
    code = run(c, &shape, &room, x, cancel);
    us_free(c->ctx, arena.base);
    return code;
}

/* ---- Scales ---- */

int us_calibrator_choose(us_calibrator *c) {
    void *scratch = us_alloc(c->ctx, us_range_scratch());
    int u;
    if (!scratch)
        return UNETSTAR_ENOMEM;
    for (u = 0; u < c->net->n_units; u++)
        c->scales.value[u] = us_range_choose(c->values + (size_t)u * US_RANGE_BINS, c->options.clip, scratch);
    for (u = 0; u < c->net->n_units; u++) {
        const struct us_input *in = &c->net->units[u].in;
        if (!us_quant_takes_unit(c->net, u))
            continue;
        /* What is stored in bytes and enters as it is has one scale, or it would be rounded twice. */
        c->scales.input[u] = in->kind == US_IN_FUSE
                                 ? us_range_choose(c->inputs + (size_t)u * US_RANGE_BINS, c->options.clip, scratch)
                                 : c->scales.value[in->main];
    }
    us_free(c->ctx, scratch);
    for (u = 0; u < c->net->n_units; u++)
        if (!us_quant_takes_value(c->net, u))
            memset(&c->scales.value[u], 0, sizeof c->scales.value[u]);
    return us_folded_create(&c->packed, c->ctx, c->net, c->params, UNETSTAR_PRECISION_INT8, &c->scales);
}

void us_calibrator_result(const us_calibrator *c, struct us_calibration *result) {
    int u;
    *result = c->scales;
    for (u = 0; u < c->net->n_units; u++) {
        const int measured = c->scales.input[u].scale > 0 || c->scales.value[u].scale > 0;
        const double error = c->signal[u] > 0  ? sqrt(c->error[u] / c->signal[u])
                             : c->error[u] > 0 ? HUGE_VAL
                                               : c->error[u];
        result->error[u] = measured ? (float)error : -1;
        if (!measured || error <= (double)c->options.max_error)
            continue;
        memset(&result->input[u], 0, sizeof result->input[u]);
        memset(&result->value[u], 0, sizeof result->value[u]);
    }
}
