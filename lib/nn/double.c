/*
 * double.c - the network's forward pass in evaluation once more, in double and by plain loops: unit after unit, maps
 * whole, as (channels, rows, columns). It remembers which pixel of each pooling window was the largest and can keep to
 * those. It shares no arithmetic with the fast passes, so that one can be held against the other; it is slow.
 */
#include "nn/double.h"
#include "nn/map.h"

#include <math.h>
#include <string.h>

#define CHOICE 3  /* of the four pixels of a window: the one remembered */
#define CHANGED 4 /* another one has been larger since, or the activation's piece another one */

struct us_double {
    us_context *ctx;
    const struct us_net *net;
    const struct us_params *params;
    int height, width; /* of the image */
    int h, w;          /* padded */
    char *memory;
    float *weights[US_MAX_UNITS];   /* in PyTorch's layout */
    double *values[US_MAX_UNITS];   /* after norm and activation */
    uint8_t *windows[US_MAX_UNITS]; /* of a pooled input; else NULL */
    uint8_t *pieces[US_MAX_UNITS];  /* of an activation made of pieces; else NULL */
    double *input;                  /* of the unit at work, with a border of zeros one pixel wide */
    double *sums;                   /* of each worker: a plane of that shape */
    size_t plane;                   /* doubles of it */
    double *logits;                 /* at the head's resolution */
};

static int unit_height(const us_double *d, int unit) {
    return d->h >> d->net->units[unit].shift;
}

static int unit_width(const us_double *d, int unit) {
    return d->w >> d->net->units[unit].shift;
}

/* The input of a transposed convolution is half as large as its output. */
static int input_shift(const struct us_unit *u) {
    return u->shift + (u->kind == US_UNIT_UPCONV);
}

static size_t input_plane(const us_double *d, int unit) {
    const int shift = input_shift(&d->net->units[unit]);
    return ((size_t)(d->h >> shift) + 2) * ((size_t)(d->w >> shift) + 2);
}

/* ---- Memory ---- */

static int has_pieces(int act) {
    return act == US_ACT_RELU || act == US_ACT_LEAKY_RELU || act == US_ACT_RELU6;
}

/* NULL: it has none. */
static const struct us_weight *weight_of(const struct us_net *net, int unit) {
    int i = 0;
    if (!net->units[unit].weights_size)
        return NULL;
    while (net->weights[i].owner != unit ||
           (net->weights[i].kind != US_WEIGHT_CONV && net->weights[i].kind != US_WEIGHT_UPCONV))
        i++;
    return &net->weights[i];
}

static void place(us_double *d, struct us_arena *arena) {
    const struct us_net *net = d->net;
    const struct us_head *head = &net->heads[0];
    size_t input = 0;
    int u;
    d->plane = 0;
    for (u = 0; u < net->n_units; u++) {
        const struct us_unit *unit = &net->units[u];
        const struct us_weight *weight = weight_of(net, u);
        const size_t pixels = (size_t)unit_height(d, u) * (size_t)unit_width(d, u),
                     values = pixels * (size_t)unit->c_out;
        d->weights[u] = (float *)us_arena_take(arena, weight ? us_weight_count(weight) * sizeof(float) : 0);
        d->values[u] = (double *)us_arena_take(arena, values * sizeof(double));
        d->windows[u] =
            unit->in.kind == US_IN_POOL ? (uint8_t *)us_arena_take(arena, pixels * (size_t)unit->c_in) : NULL;
        d->pieces[u] = has_pieces(unit->act) ? (uint8_t *)us_arena_take(arena, values) : NULL;
        d->plane = US_MAX(d->plane, input_plane(d, u));
        input = US_MAX(input, input_plane(d, u) * (size_t)unit->c_in);
    }
    d->input = (double *)us_arena_take(arena, input * sizeof(double));
    d->sums = (double *)us_arena_take(arena, d->plane * (size_t)us_workers(d->ctx) * sizeof(double));
    d->logits = (double *)us_arena_take(arena, (size_t)net->options.classes * (size_t)unit_height(d, head->unit) *
                                                   (size_t)unit_width(d, head->unit) * sizeof(double));
}

int us_double_create(us_double **out, us_context *ctx, const struct us_net *net, const struct us_params *params,
                     int64_t h, int64_t w) {
    us_double *d = (us_double *)us_alloc_zero(ctx, sizeof *d);
    struct us_arena arena = {NULL, 0, 0};
    int u;
    *out = NULL;
    if (!d)
        return UNETSTAR_ENOMEM;
    d->ctx = ctx;
    d->net = net;
    d->params = params;
    d->height = (int)h;
    d->width = (int)w;
    d->h = (int)us_net_padded(net, h);
    d->w = (int)us_net_padded(net, w);
    place(d, &arena);
    d->memory = (char *)us_alloc(ctx, arena.used);
    if (!d->memory) {
        us_free(ctx, d);
        return UNETSTAR_ENOMEM;
    }
    arena.base = d->memory;
    arena.size = arena.used;
    arena.used = 0;
    place(d, &arena);
    for (u = 0; u < net->n_units; u++)
        if (weight_of(net, u))
            us_weight_get(net, weight_of(net, u), params->arena, d->weights[u]);
    *out = d;
    return 0;
}

void us_double_destroy(us_double *d) {
    if (d) {
        us_free(d->ctx, d->memory);
        us_free(d->ctx, d);
    }
}

/* ---- The input of a unit ---- */

/* Where an input is written: planes with their border, one after the other. */
struct planes {
    double *data; /* pixel (0, 0) of the first */
    int h, w;
    size_t row, plane;
};

static double *plane_row(const struct planes *p, int c, int y) {
    return p->data + (size_t)c * p->plane + (size_t)y * p->row;
}

static const double *value_row(const us_double *d, int unit, int c, int y) {
    const size_t h = (size_t)unit_height(d, unit), w = (size_t)unit_width(d, unit);
    return d->values[unit] + ((size_t)c * h + (size_t)y) * w;
}

static void image_planes(const us_double *d, const struct planes *p, const float *x, double factor) {
    int c, y, i;
    for (c = 0; c < d->net->options.in_channels; c++)
        for (y = 0; y < d->height; y++)
            for (i = 0; i < d->width; i++)
                plane_row(p, c, y)[i] = factor * (double)*x++;
}

static void copy_planes(const us_double *d, const struct planes *p, int unit, int at) {
    int c, y;
    for (c = 0; c < d->net->units[unit].c_out; c++)
        for (y = 0; y < p->h; y++)
            memcpy(plane_row(p, at + c, y), value_row(d, unit, c, y), (size_t)p->w * sizeof(double));
}

/* The first of the largest values of a window. */
static int largest(const double v[4]) {
    int k, best = 0;
    for (k = 1; k < 4; k++)
        if (v[k] > v[best])
            best = k;
    return best;
}

static void pooled_planes(const us_double *d, const struct planes *p, int unit, enum us_double_maxima maxima) {
    const int main = d->net->units[unit].in.main;
    uint8_t *window = d->windows[unit];
    int c, y, x;
    for (c = 0; c < d->net->units[unit].c_in; c++)
        for (y = 0; y < p->h; y++) {
            const double *top = value_row(d, main, c, 2 * y), *bottom = value_row(d, main, c, 2 * y + 1);
            double *to = plane_row(p, c, y);
            for (x = 0; x < p->w; x++, window++) {
                const double v[4] = {top[2 * x], top[2 * x + 1], bottom[2 * x], bottom[2 * x + 1]};
                const int best = largest(v);
                if (maxima == US_DOUBLE_REMEMBER)
                    *window = (uint8_t)best;
                else if (best != (*window & CHOICE))
                    *window |= CHANGED;
                to[x] = v[maxima == US_DOUBLE_FROZEN ? *window & CHOICE : best];
            }
        }
}

/* Row y of channel c of the main part of a fusion, at its full size. */
static void main_row(const us_double *d, const struct us_input *in, int c, int y, int w, double *to) {
    const double *near, *far;
    int x;
    if (in->up == UNETSTAR_UPSAMPLING_NEAREST) {
        near = value_row(d, in->main, c, y / 2);
        for (x = 0; x < w; x++)
            to[x] = near[x / 2];
    } else if (in->up == UNETSTAR_UPSAMPLING_BILINEAR) {
        near = value_row(d, in->main, c, us_bilinear_near(y));
        far = value_row(d, in->main, c, us_bilinear_far(y, unit_height(d, in->main)));
        for (x = 0; x < w; x++) {
            const int a = us_bilinear_near(x), b = us_bilinear_far(x, unit_width(d, in->main));
            to[x] = 0.75 * (0.75 * near[a] + 0.25 * far[a]) + 0.25 * (0.75 * near[b] + 0.25 * far[b]);
        }
    } else {
        memcpy(to, value_row(d, in->main, c, y), (size_t)w * sizeof *to);
    }
}

static void fused_planes(const us_double *d, const struct planes *p, const struct us_input *in) {
    const int channels = d->net->units[in->main].c_out;
    int c, y, x;
    for (c = 0; c < channels; c++)
        for (y = 0; y < p->h; y++)
            main_row(d, in, c, y, p->w, plane_row(p, c, y));
    if (in->fusion == UNETSTAR_FUSION_CONCAT) {
        copy_planes(d, p, in->skip, channels);
        return;
    }
    for (c = 0; c < channels; c++)
        for (y = 0; y < p->h; y++) {
            const double *skip = value_row(d, in->skip, c, y);
            double *to = plane_row(p, c, y);
            for (x = 0; x < p->w; x++)
                to[x] = in->fusion == UNETSTAR_FUSION_STAR ? to[x] * skip[x] : to[x] + skip[x];
        }
}

static void make_input(const us_double *d, int unit, const float *image, double factor, enum us_double_maxima maxima) {
    const struct us_unit *u = &d->net->units[unit];
    struct planes p;
    p.h = d->h >> input_shift(u);
    p.w = d->w >> input_shift(u);
    p.row = (size_t)p.w + 2;
    p.plane = input_plane(d, unit);
    p.data = d->input + p.row + 1;
    memset(d->input, 0, p.plane * (size_t)u->c_in * sizeof(double));
    switch (u->in.kind) {
    case US_IN_IMAGE:
        image_planes(d, &p, image, factor);
        break;
    case US_IN_UNIT:
        copy_planes(d, &p, u->in.main, 0);
        break;
    case US_IN_POOL:
        pooled_planes(d, &p, unit, maxima);
        break;
    case US_IN_FUSE:
        fused_planes(d, &p, &u->in);
        break;
    }
}

/* ---- Convolutions ---- */

struct conv {
    const us_double *d;
    int unit;
};

/* sums += weight * the input planes, moved by (dy, dx) of a 3x3 window; their columns past the width hold what is not
 * used. */
static void add_moved(double *sums, const double *in, double weight, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        sums[i] += weight * in[i];
}

static void conv_task(void *arg, int64_t index, int worker) {
    const struct conv *job = (const struct conv *)arg;
    const us_double *d = job->d;
    const struct us_unit *u = &d->net->units[job->unit];
    const int h = unit_height(d, job->unit), w = unit_width(d, job->unit);
    const size_t row = (size_t)w + 2, plane = input_plane(d, job->unit), count = row * (size_t)h - 2;
    const int taps = us_unit_taps(u), first = taps == 9 ? 0 : 4; /* a 1x1 kernel is the middle of a 3x3 one */
    const int own = us_unit_depthwise(u), end = own ? (int)index + 1 : u->c_in; /* channels that an output is made of */
    const float *weights = d->weights[job->unit] + (size_t)index * (size_t)(own ? 1 : u->c_in) * (size_t)taps;
    const float *bias = (u->bias_fixed ? d->params->buffers : d->params->arena) + u->bias;
    double *sums = d->sums + (size_t)worker * d->plane,
           *to = d->values[job->unit] + (size_t)index * (size_t)h * (size_t)w;
    int c, tap, y, x;
    memset(sums, 0, count * sizeof *sums);
    for (c = own ? (int)index : 0; c < end; c++)
        for (tap = first; tap < first + taps; tap++)
            add_moved(sums, d->input + (size_t)c * plane + (size_t)(tap / 3) * row + (size_t)(tap % 3),
                      u->weights_size ? (double)*weights++ : 1, count);
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++)
            *to++ = sums[(size_t)y * row + (size_t)x] + (double)bias[index];
}

static void upconv_task(void *arg, int64_t index, int worker) {
    const struct conv *job = (const struct conv *)arg;
    const us_double *d = job->d;
    const struct us_unit *u = &d->net->units[job->unit];
    const int h = unit_height(d, job->unit), w = unit_width(d, job->unit);
    const size_t row = (size_t)w / 2 + 2, plane = input_plane(d, job->unit);
    double *to = d->values[job->unit] + (size_t)index * (size_t)h * (size_t)w;
    int c, y, x;
    (void)worker;
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++) {
            const double *in = d->input + (size_t)(y / 2 + 1) * row + (size_t)(x / 2 + 1);
            const float *weights = d->weights[job->unit] + (size_t)index * 4 + (size_t)(y % 2 * 2 + x % 2);
            double sum = (double)d->params->arena[u->bias + (size_t)index];
            for (c = 0; c < u->c_in; c++)
                sum += in[(size_t)c * plane] * (double)weights[(size_t)c * (size_t)u->c_out * 4];
            *to++ = sum;
        }
}

/* ---- Norms and activations ---- */

static void affine(const us_double *d, int unit, int c, double mean, double variance) {
    const struct us_unit *u = &d->net->units[unit];
    const size_t pixels = (size_t)unit_height(d, unit) * (size_t)unit_width(d, unit);
    const double scale = (double)d->params->arena[u->gamma + (size_t)c] / sqrt(variance + 1e-5);
    const double shift = (double)d->params->arena[u->beta + (size_t)c];
    double *v = d->values[unit] + (size_t)c * pixels;
    size_t i;
    for (i = 0; i < pixels; i++)
        v[i] = (v[i] - mean) * scale + shift;
}

/* Of channels that share statistics; all pixels count, those of the padding too. */
static void norm_group(const us_double *d, int unit, int first, int channels) {
    const size_t pixels = (size_t)unit_height(d, unit) * (size_t)unit_width(d, unit), count = pixels * (size_t)channels;
    const double *v = d->values[unit] + (size_t)first * pixels;
    double mean = 0, variance = 0;
    size_t i;
    int c;
    for (i = 0; i < count; i++)
        mean += v[i];
    mean /= (double)count;
    for (i = 0; i < count; i++)
        variance += (v[i] - mean) * (v[i] - mean);
    for (c = first; c < first + channels; c++)
        affine(d, unit, c, mean, variance / (double)count);
}

static void normalise(const us_double *d, int unit) {
    const struct us_unit *u = &d->net->units[unit];
    const float *buffers = d->params->buffers;
    int k;
    if (u->norm == UNETSTAR_NORM_NONE)
        return;
    for (k = 0; k < u->groups; k++) {
        if (u->norm == UNETSTAR_NORM_BATCH)
            affine(d, unit, k, (double)buffers[u->running_mean + (size_t)k],
                   (double)buffers[u->running_var + (size_t)k]);
        else
            norm_group(d, unit, k * (u->c_out / u->groups), u->c_out / u->groups);
    }
}

/* Of the standard normal; the series of erf has positive terms only. */
static double normal_cdf(double x) {
    const double z = x * 0.70710678118654752440;
    double term = z, sum = z;
    int n;
    if (!(fabs(z) < 6)) /* NaN passes */
        return z > 0 ? 1 : z < 0 ? 0 : z;
    for (n = 1; n < 400 && fabs(term) > fabs(sum) * 1e-17; n++) {
        term *= 2 * z * z / (2 * n + 1);
        sum += term;
    }
    return 0.5 + sum * us_exp(-z * z) * 0.56418958354775628695; /* 1 / sqrt pi */
}

static double activated(double x, int act, double slope) {
    switch (act) {
    case US_ACT_RELU:
        return 0 > x ? 0 : x;
    case US_ACT_LEAKY_RELU:
        return 0 > x ? slope * x : x;
    case US_ACT_RELU6:
        return 0 > x ? 0 : x > 6 ? 6 : x;
    case US_ACT_SILU:
        return x / (1 + us_exp(-x));
    case US_ACT_GELU:
        return x * normal_cdf(x);
    default:
        return x;
    }
}

static int piece_of(double x, int act) {
    return 0 > x ? 0 : act == US_ACT_RELU6 && x > 6 ? 2 : 1;
}

static void activate(const us_double *d, int unit, enum us_double_maxima maxima) {
    const struct us_unit *u = &d->net->units[unit];
    const size_t count = (size_t)unit_height(d, unit) * (size_t)unit_width(d, unit) * (size_t)u->c_out;
    double *v = d->values[unit];
    uint8_t *pieces = d->pieces[unit];
    size_t i;
    if (u->act == US_ACT_NONE)
        return;
    for (i = 0; i < count; i++) {
        if (pieces && maxima == US_DOUBLE_REMEMBER)
            pieces[i] = (uint8_t)piece_of(v[i], u->act);
        else if (pieces && piece_of(v[i], u->act) != (pieces[i] & CHOICE))
            pieces[i] |= CHANGED;
        v[i] = activated(v[i], u->act, (double)d->net->options.leaky_slope);
    }
}

/* ---- The head ---- */

static void run_head(const us_double *d) {
    const struct us_head *head = &d->net->heads[0];
    const int channels = d->net->units[head->unit].c_out;
    const size_t pixels = (size_t)unit_height(d, head->unit) * (size_t)unit_width(d, head->unit);
    const size_t lanes = (size_t)d->net->units[head->unit].out_blocks * US_LANES;
    int k, c;
    size_t i;
    for (k = 0; k < d->net->options.classes; k++) {
        const float *weights = d->params->arena + head->weights + (size_t)k * lanes;
        double *to = d->logits + (size_t)k * pixels;
        for (i = 0; i < pixels; i++)
            to[i] = (double)d->params->arena[head->bias + (size_t)k];
        for (c = 0; c < channels; c++)
            add_moved(to, d->values[head->unit] + (size_t)c * pixels, (double)weights[c], pixels);
    }
}

/* From the head's resolution to the image's. */
static void spread_logits(const us_double *d, double *logits) {
    const struct us_head *head = &d->net->heads[0];
    const int h = unit_height(d, head->unit), w = unit_width(d, head->unit);
    int k, y, x;
    for (k = 0; k < d->net->options.classes; k++)
        for (y = 0; y < d->height; y++) {
            const double *plane = d->logits + (size_t)k * (size_t)h * (size_t)w, *near, *far;
            near = plane + (size_t)(head->bilinear ? us_bilinear_near(y) : y / head->scale) * (size_t)w;
            far = plane + (size_t)(head->bilinear ? us_bilinear_far(y, h) : 0) * (size_t)w;
            for (x = 0; x < d->width; x++) {
                const int a = us_bilinear_near(x), b = us_bilinear_far(x, w);
                *logits++ = head->bilinear
                                ? 0.75 * (0.75 * near[a] + 0.25 * far[a]) + 0.25 * (0.75 * near[b] + 0.25 * far[b])
                                : near[x / head->scale];
            }
        }
}

/* ---- The pass ---- */

int us_double_forward(us_double *d, const float *x, double factor, enum us_double_maxima maxima, double *logits,
                      const us_cancel *cancel) {
    struct conv job;
    int code = 0;
    job.d = d;
    for (job.unit = 0; job.unit < d->net->n_units && !code; job.unit++) {
        const struct us_unit *u = &d->net->units[job.unit];
        make_input(d, job.unit, x, factor, maxima);
        code = us_parallel(d->ctx, cancel, u->kind == US_UNIT_UPCONV ? upconv_task : conv_task, &job, u->c_out);
        if (code)
            return code;
        normalise(d, job.unit);
        activate(d, job.unit, maxima);
        if (u->residual >= 0)
            add_moved(d->values[job.unit], d->values[u->residual], 1,
                      (size_t)unit_height(d, job.unit) * (size_t)unit_width(d, job.unit) * (size_t)u->c_out);
    }
    run_head(d);
    spread_logits(d, logits);
    return 0;
}

static void count_changes(const uint8_t *bytes, size_t count, double *changed, double *all) {
    size_t i;
    for (i = 0; i < count; i++)
        *changed += (bytes[i] & CHANGED) != 0;
    *all += (double)count;
}

void us_double_changes(const us_double *d, struct us_double_changes *changes) {
    double windows = 0, pieces = 0;
    int u;
    changes->windows = changes->activations = 0;
    for (u = 0; u < d->net->n_units; u++) {
        const struct us_unit *unit = &d->net->units[u];
        const size_t pixels = (size_t)unit_height(d, u) * (size_t)unit_width(d, u);
        if (d->windows[u])
            count_changes(d->windows[u], pixels * (size_t)unit->c_in, &changes->windows, &windows);
        if (d->pieces[u])
            count_changes(d->pieces[u], pixels * (size_t)unit->c_out, &changes->activations, &pieces);
    }
    changes->windows /= windows > 0 ? windows : 1;
    changes->activations /= pieces > 0 ? pieces : 1;
}
