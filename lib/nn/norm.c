/*
 * norm.c - batch, instance and group norm over maps: sums over pixels, statistics. norm_gradient.c goes backward.
 *
 * Sums over pixels are taken of x minus a per-channel shift (the first pixel of the set the statistics are over), as one float
 * chain along each row; rows and then images are added in order in double. So they depend neither on threads nor on how a
 * convolution cut its bands, and a large mean costs no precision. Group norm merges its channels by Chan's formula.
 */
#include "nn/map.h"

#include <math.h>

#define CHUNK_ROWS 32

size_t us_norm_floats(int batch, int n, int blocks) {
    return (size_t)(batch ? 1 : n) * (size_t)blocks * US_LANES;
}

size_t us_norm_sums(int n, int blocks) {
    return (size_t)n * (size_t)blocks * 32 + (size_t)blocks * 2 * US_LANES; /* sums of every image, totals of a gradient */
}

/* The shift of a lane: the first pixel of image 0 (batch) or of the image itself. */
static const float *shift_of(const struct us_norm *norm, const struct us_map *z, int n, int b) {
    return us_map_row(z, norm->batch ? 0 : n, b, 0);
}

/* ---- Sums over the pixels of one image and block ---- */

struct sums {
    us_context *ctx;
    const struct us_norm *norm;
    const struct us_map *z, *grad; /* grad NULL: moments of z */
    double *out;                   /* n x blocks x 32 */
};

static void add_rows(const struct sums *s, int n, int b, int y0, int y1) {
    static const float nothing[US_LANES]; /* the mean when only the first sum matters */
    const size_t block = (size_t)n * (size_t)s->z->blocks + (size_t)b, stride = (size_t)s->z->w * US_LANES;
    double *total = s->out + block * 32;
    float part[CHUNK_ROWS * 32];
    const float *mean = nothing;
    int y, r, lane, rows;
    if (s->grad && s->norm)
        mean = s->norm->mean + (s->norm->batch ? (size_t)b : block) * US_LANES;
    for (lane = 0; lane < 32 && y0 == 0; lane++)
        total[lane] = 0;
    for (y = y0; y < y1; y += rows) {
        const float *x = us_map_row(s->z, n, b, y);
        rows = US_MIN(CHUNK_ROWS, y1 - y);
        if (s->grad)
            s->ctx->kern.row_moments_grad(part, us_map_row(s->grad, n, b, y), x, (size_t)rows, (size_t)s->z->w, stride,
                                          mean);
        else
            s->ctx->kern.row_moments(part, x, (size_t)rows, (size_t)s->z->w, stride, shift_of(s->norm, s->z, n, b));
        for (r = 0; r < rows; r++)
            for (lane = 0; lane < 32; lane++)
                total[lane] += (double)part[r * 32 + lane];
    }
}

static void sum_block(void *arg, int64_t index, int worker) {
    const struct sums *s = (const struct sums *)arg;
    (void)worker;
    add_rows(s, (int)(index / s->z->blocks), (int)(index % s->z->blocks), 0, s->z->h);
}

int us_norm_take_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                      double *out) {
    struct sums s;
    s.ctx = ctx;
    s.norm = norm;
    s.z = z;
    s.grad = grad;
    s.out = out;
    return us_parallel(ctx, NULL, sum_block, &s, (int64_t)z->n * z->blocks);
}

void us_norm_gradient_rows(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                           int n, int b, int y0, int y1) {
    struct sums s;
    s.ctx = ctx;
    s.norm = norm;
    s.z = z;
    s.grad = grad;
    s.out = norm->sums;
    add_rows(&s, n, b, y0, y1);
}

/* ---- Statistics ---- */

/* Mean and sum of squared deviations of a set of pixels. */
struct moments {
    double count, mean, m2;
};

static void merge(struct moments *a, const struct moments *b) {
    const double count = a->count + b->count, delta = b->mean - a->mean;
    if (b->count <= 0)
        return;
    a->mean += delta * (b->count / count);
    a->m2 += b->m2 + delta * delta * (a->count * (b->count / count));
    a->count = count;
}

/* Channel k of images [first, first + span). */
static struct moments channel_moments(const struct us_norm *norm, const struct us_map *z, int first, int span, int k) {
    const int b = k / US_LANES, lane = k % US_LANES;
    const double count = (double)span * z->h * z->w;
    double s1 = 0, s2 = 0;
    struct moments m;
    int i;
    for (i = first; i < first + span; i++) {
        const double *sums = norm->sums + ((size_t)i * (size_t)z->blocks + (size_t)b) * 32;
        s1 += sums[lane];
        s2 += sums[16 + lane];
    }
    m.count = count;
    m.mean = (double)shift_of(norm, z, first, b)[lane] + s1 / count;
    m.m2 = s2 - s1 * s1 / count;
    if (m.m2 < 0)
        m.m2 = 0;
    return m;
}

/* A coefficient so small that it is subnormal is cut, so that no later product gathers denormals. */
static float cut(double x) {
    return fabs(x) < 1.1754943508222875e-38 ? 0.0f : (float)x;
}

static void set_lane(struct us_norm *norm, size_t at, const struct moments *m, const float *gamma, const float *beta,
                     int k) {
    const double inverse = 1.0 / sqrt(m->m2 / m->count + (double)norm->eps);
    const double scale = (double)gamma[k] * inverse;
    norm->mean[at] = (float)m->mean;
    norm->inverse_std[at] = (float)inverse;
    norm->scale[at] = cut(scale);
    norm->shift[at] = cut((double)beta[k] - m->mean * scale);
}

static void update_running(float *running, float momentum, double value, float floor_at) {
    const float next = (float)((1.0 - (double)momentum) * (double)*running + (double)momentum * value);
    *running = fabsf(next) < floor_at ? 0.0f : next;
}

int us_norm_measure(us_context *ctx, struct us_norm *norm, const struct us_map *z, const float *gamma, const float *beta,
                    float momentum, float *running_mean, float *running_var) {
    const int sets = norm->batch ? 1 : z->n, span = norm->batch ? z->n : 1;
    const int per_group = norm->c / norm->groups;
    const size_t lanes = (size_t)z->blocks * US_LANES;
    int set, g, k, code = us_norm_take_sums(ctx, norm, z, NULL, norm->sums);
    if (code)
        return code;
    for (set = 0; set < sets; set++) {
        const size_t base = (size_t)set * lanes;
        for (g = 0; g < norm->groups; g++) {
            struct moments m = channel_moments(norm, z, set, span, g * per_group);
            for (k = g * per_group + 1; k < (g + 1) * per_group; k++) {
                struct moments next = channel_moments(norm, z, set, span, k);
                merge(&m, &next);
            }
            for (k = g * per_group; k < (g + 1) * per_group; k++)
                set_lane(norm, base + (size_t)k, &m, gamma, beta, k);
            if (running_mean) {
                update_running(&running_mean[g], momentum, m.mean, 0.0f);
                update_running(&running_var[g], momentum, m.count > 1 ? m.m2 / (m.count - 1) : m.m2, 7.888609e-31f);
            }
        }
        for (k = norm->c; (size_t)k < lanes; k++) /* dead lanes stay 0 */
            norm->mean[base + (size_t)k] = norm->inverse_std[base + (size_t)k] = norm->scale[base + (size_t)k] =
                norm->shift[base + (size_t)k] = 0;
    }
    return 0;
}
