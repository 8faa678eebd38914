/*
 * analysis.c - what fusion does to a network: the polynomial degree that it reaches, and the features at a unit.
 */
#include "nn/map.h"

#include <math.h>
#include <string.h>

/* ---- Degree ---- */

static int64_t input_degree(const struct us_input *in, const int64_t *degrees) {
    switch (in->kind) {
    case US_IN_IMAGE:
        return 1;
    case US_IN_UNIT:
    case US_IN_POOL: /* a choice between values, of their degree where the choice stays the same */
        return degrees[in->main];
    case US_IN_FUSE:
        if (in->fusion == UNETSTAR_FUSION_STAR)
            return degrees[in->main] + degrees[in->skip];
        return US_MAX(degrees[in->main], degrees[in->skip]);
    }
    return 0;
}

/* Most stars one after the other on the way to a unit. */
static int stars_before(const struct us_input *in, const int *stars) {
    int most;
    if (in->kind == US_IN_IMAGE)
        return 0;
    most = stars[in->main];
    if (in->kind != US_IN_FUSE)
        return most;
    return US_MAX(most, stars[in->skip]) + (in->fusion == UNETSTAR_FUSION_STAR);
}

/* Of C(width + degree, degree), the number of monomials of at most that degree. */
static double log10_monomials(int64_t width, int64_t degree) {
    double sum = 0;
    int64_t i;
    for (i = 1; i <= degree; i++)
        sum += us_log((double)(width + i) / (double)i);
    return sum / us_log(10);
}

void us_net_degree(struct us_degree *d, const struct us_net *net) {
    int64_t degrees[US_MAX_UNITS], reached;
    int stars[US_MAX_UNITS], u;
    memset(d, 0, sizeof *d);
    d->polynomial = net->options.activation == UNETSTAR_ACTIVATION_NONE &&
                    (net->options.norm == UNETSTAR_NORM_BATCH || net->options.norm == UNETSTAR_NORM_NONE);
    for (u = 0; u < net->n_units; u++) {
        const struct us_input *in = &net->units[u].in;
        const int star = in->fusion == UNETSTAR_FUSION_STAR;
        degrees[u] = reached = input_degree(in, degrees);
        stars[u] = stars_before(in, stars);
        if (net->units[u].residual >= 0)
            degrees[u] = US_MAX(reached, degrees[net->units[u].residual]);
        if (!us_net_fuses_skip(net, u))
            continue;
        d->width[d->fusions] = net->units[in->skip].c_out;
        d->fusion_degree[d->fusions] = d->polynomial ? reached : -1;
        d->exact[d->fusions] = d->polynomial ? log10_monomials(d->width[d->fusions], reached) : us_nan();
        d->paper[d->fusions] = star ? (double)((int64_t)1 << stars[u]) *
                                          us_log((double)d->width[d->fusions] / sqrt(2.0)) / us_log(10)
                                    : us_nan();
        d->fusions++;
    }
    d->degree = d->polynomial ? degrees[net->heads[0].unit] : -1;
}

/* ---- Features ---- */

/* Which rows, and how a row of blocks becomes one of pixels. */
struct view {
    const struct us_pass *pass;
    int unit, what;
    int first, second; /* channels; second: of the other part of a concatenation, in blocks of its own */
    int width;         /* of the whole map, padding included */
    int64_t used;      /* columns that stand for the image */
    float *row, *tmp;
};

static const float *block_row(const struct view *v, int b, int y) {
    const struct us_input *in = &v->pass->net->units[v->unit].in;
    const struct us_input_source source = {v->pass, v->unit};
    switch (v->what) {
    case UNETSTAR_AT_INPUT:
        us_input_row(&source, 0, b, y, 0, v->width, v->row, v->tmp);
        return v->row;
    case UNETSTAR_AT_MAIN:
        us_upsampled_row(v->pass, in, 0, b, y, 0, v->width, v->row, v->tmp);
        return v->row;
    case UNETSTAR_AT_SKIP:
        return us_value_row(v->pass, in->skip, 0, b, y, 0, v->width, v->tmp);
    default:
        return us_value_row(v->pass, v->unit, 0, b, y, 0, v->width, v->tmp);
    }
}

static void read_pixels(void *user, int64_t y, float *pixels) {
    const struct view *v = (const struct view *)user;
    const int channels = v->first + v->second, blocks = US_BLOCKS(v->first);
    int b, c, at = 0;
    int64_t x;
    for (b = 0; at < channels; b++) {
        const int live = b < blocks ? US_MIN(v->first - b * US_LANES, US_LANES)
                                    : US_MIN(v->second - (b - blocks) * US_LANES, US_LANES);
        const float *row = block_row(v, b, (int)y);
        for (x = 0; x < v->used; x++)
            for (c = 0; c < live; c++)
                pixels[x * channels + at + c] = row[x * US_LANES + c];
        at += live;
    }
}

static void describe(struct view *v, struct us_feature_rows *rows, const struct us_net *net, int64_t height,
                     int64_t width) {
    const struct us_unit *u = &net->units[v->unit];
    const int output = v->what == UNETSTAR_AT_OUTPUT;
    const int small = !output && u->kind == US_UNIT_UPCONV; /* it reads a map of half the size of its own */
    const int shift = u->shift + small;
    const int64_t unit = (int64_t)1 << shift;
    const int concat = u->in.kind == US_IN_FUSE && u->in.fusion == UNETSTAR_FUSION_CONCAT;
    v->second = 0;
    if (output)
        v->first = u->c_out;
    else if (v->what == UNETSTAR_AT_SKIP)
        v->first = net->units[u->in.skip].c_out;
    else if (v->what == UNETSTAR_AT_MAIN || concat)
        v->first = net->units[u->in.main].c_out;
    else
        v->first = u->c_in;
    if (v->what == UNETSTAR_AT_INPUT && concat)
        v->second = net->units[u->in.skip].c_out;
    v->width = (int)(us_net_padded(net, width) >> shift);
    v->used = (width + unit - 1) / unit;
    rows->read = read_pixels;
    rows->user = v;
    rows->width = v->used;
    rows->height = (height + unit - 1) / unit;
    rows->channels = v->first + v->second;
}

/* Runs the network until what the view shows is there: the unit's output, or all that it reads. */
static int run_until(us_evaluation *e, int units) {
    struct us_evaluation_step step;
    int code = 0;
    memset(&step, 0, sizeof step);
    step.stage = -1;
    while (!code && step.stage < units - 1)
        code = us_evaluation_next(e, &step);
    return code;
}

int us_net_features(struct us_features *f, us_context *ctx, const struct us_evaluation_shape *shape,
                    const struct us_folded *folded, const float *x, int unit, int what, double *singular) {
    struct us_evaluation_size size;
    struct us_feature_rows rows;
    struct view v;
    us_evaluation *e;
    char *memory;
    size_t row;
    int code;
    memset(&v, 0, sizeof v);
    v.unit = unit;
    v.what = what;
    describe(&v, &rows, shape->net, shape->height, shape->width);
    if (rows.channels > US_FEATURES_CHANNELS)
        return us_fail(UNETSTAR_ELIMIT, "there are %lld channels; features are measured of at most %d",
                       (long long)rows.channels, US_FEATURES_CHANNELS);
    us_evaluation_measure(&size, ctx, shape);
    row = (size_t)v.width * US_LANES * sizeof(float);
    memory = (char *)us_alloc(ctx, size.maps + size.scratch + row + us_row_tmp_bytes(v.width));
    if (!memory)
        return UNETSTAR_ENOMEM;
    e = us_evaluation_begin(ctx, shape, folded, memory, memory + size.maps);
    us_evaluation_image(e, x);
    v.pass = us_evaluation_pass(e);
    v.row = (float *)(void *)(memory + size.maps + size.scratch);
    v.tmp = (float *)(void *)(memory + size.maps + size.scratch + row);
    code = run_until(e, what == UNETSTAR_AT_OUTPUT ? unit + 1 : unit);
    code = code ? code : us_features_measure(f, ctx, &rows, singular);
    us_free(ctx, memory);
    return code;
}
