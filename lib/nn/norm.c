/*
 * norm.c - batch, instance and group norm over maps, both directions.
 *
 * Sums over pixels are taken of x minus a per-channel shift (the first pixel of the set the statistics are over), as one float
 * chain along each row; rows and then images are added in order in double. So they depend neither on threads nor on how a
 * convolution cut its bands, and a large mean costs no precision. Group norm merges its channels by Chan's formula.
 *
 * With M pixels, mean m and s = 1 / sqrt(var + eps), the gradient g at u = gamma (z - m) s + beta gives
 *   dbeta = sum g, dgamma = s sum g (z - m), dz = gamma s g - ( a + (z - m) b ),
 *   a = mean of gamma s g, b = s^2 mean of gamma s g (z - m)   (both over everything that shares the statistics).
 */
#include "nn/map.h"

#include <math.h>
#include <string.h>

#define CHUNK_ROWS 32

size_t us_norm_floats(int batch, int n, int blocks) {
    return (size_t)(batch ? 1 : n) * (size_t)blocks * US_LANES;
}

size_t us_norm_constants(int batch, int n, int blocks) {
    return 3 * us_norm_floats(batch, n, blocks);
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

static int take_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
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

int us_norm_gradient_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad) {
    return take_sums(ctx, norm, z, grad, norm->sums);
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
    int set, g, k, code = take_sums(ctx, norm, z, NULL, norm->sums);
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

/* ---- Gradient ---- */

struct apply {
    us_context *ctx;
    const struct us_norm *norm;
    const struct us_map *z, *grad;
    const float *k0, *k1, *k2;
};

static void apply_block(void *arg, int64_t index, int worker) {
    const struct apply *a = (const struct apply *)arg;
    const int n = (int)(index / a->z->blocks), b = (int)(index % a->z->blocks);
    const size_t at = ((size_t)(a->norm->batch ? 0 : n) * (size_t)a->z->blocks + (size_t)b) * US_LANES;
    float *g = us_map_row(a->grad, n, b, 0);
    (void)worker;
    a->ctx->kern.norm_grad(g, g, us_map_row(a->z, n, b, 0), (size_t)a->z->h * (size_t)a->z->w, a->norm->mean + at,
                           a->k0 + at, a->k1 + at, a->k2 + at);
}

/* Constants of one group of channels of one set, and its share of dgamma and dbeta. */
static void group_constants(const struct us_norm *norm, const struct us_map *z, int set, int span, int g, const float *gamma,
                            float *k, double *dgamma, double *dbeta) {
    const int per_group = norm->c / norm->groups;
    const size_t lanes = (size_t)z->blocks * US_LANES, base = (size_t)set * lanes;
    const size_t sets = us_norm_floats(norm->batch, z->n, z->blocks);
    const double count = (double)span * z->h * z->w * per_group;
    double a = 0, b = 0;
    int c, i;
    for (c = g * per_group; c < (g + 1) * per_group; c++) {
        const double s = norm->inverse_std[base + (size_t)c];
        double sum_g = 0, sum_gx = 0;
        for (i = set * span; i < set * span + span; i++) {
            const double *sums = norm->sums + ((size_t)i * (size_t)z->blocks + (size_t)(c / US_LANES)) * 32;
            sum_g += sums[c % US_LANES];
            sum_gx += sums[16 + c % US_LANES];
        }
        dbeta[c] += sum_g;
        dgamma[c] += s * sum_gx;
        a += (double)gamma[c] * s * sum_g;
        b += (double)gamma[c] * s * s * s * sum_gx;
    }
    for (c = g * per_group; c < (g + 1) * per_group; c++) {
        const size_t at = base + (size_t)c;
        k[at] = (float)((double)gamma[c] * (double)norm->inverse_std[at]);
        k[sets + at] = (float)(a / count);
        k[2 * sets + at] = (float)(b / count);
    }
}

int us_norm_gradient(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                     const float *gamma, float *dgamma, float *dbeta, float *constants) {
    const int sets = norm->batch ? 1 : z->n, span = norm->batch ? z->n : 1;
    const size_t lanes = (size_t)z->blocks * US_LANES, all = us_norm_floats(norm->batch, z->n, z->blocks);
    double *total_gamma = norm->sums + (size_t)z->n * (size_t)z->blocks * 32, *total_beta = total_gamma + lanes;
    struct apply a;
    int set, g;
    size_t k;
    memset(constants, 0, 3 * all * sizeof *constants);
    memset(total_gamma, 0, 2 * lanes * sizeof *total_gamma);
    for (set = 0; set < sets; set++)
        for (g = 0; g < norm->groups; g++)
            group_constants(norm, z, set, span, g, gamma, constants, total_gamma, total_beta);
    for (k = 0; k < lanes; k++) {
        dgamma[k] = (float)total_gamma[k];
        dbeta[k] = (float)total_beta[k];
    }
    a.ctx = ctx;
    a.norm = norm;
    a.z = z;
    a.grad = grad;
    a.k0 = constants;
    a.k1 = constants + all;
    a.k2 = constants + 2 * all;
    return us_parallel(ctx, NULL, apply_block, &a, (int64_t)z->n * z->blocks);
}

/* ---- Sums of a gradient over all pixels: the gradient of a bias ---- */

int us_map_channel_sums(us_context *ctx, const struct us_map *m, double *sums, float *out) {
    struct sums s;
    size_t k, lanes = (size_t)m->blocks * US_LANES;
    int i, code;
    s.ctx = ctx;
    s.norm = NULL;
    s.z = m;
    s.grad = m;
    s.out = sums;
    code = us_parallel(ctx, NULL, sum_block, &s, (int64_t)m->n * m->blocks);
    if (code)
        return code;
    for (k = 0; k < lanes; k++) {
        double total = 0;
        for (i = 0; i < m->n; i++)
            total += sums[((size_t)i * (size_t)m->blocks + k / US_LANES) * 32 + k % US_LANES];
        out[k] = (float)total;
    }
    return 0;
}
