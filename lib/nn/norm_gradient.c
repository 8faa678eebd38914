/*
 * norm_gradient.c - batch, instance and group norm over maps, backward; and the gradient of a bias.
 *
 * With M pixels, mean m and s = 1 / sqrt(var + eps), the gradient g at u = gamma (z - m) s + beta gives
 *   dbeta = sum g, dgamma = s sum g (z - m), dz = gamma s g - ( a + (z - m) b ),
 *   a = mean of gamma s g, b = s^2 mean of gamma s g (z - m)   (both over everything that shares the statistics).
 */
#include "nn/map.h"

#include <string.h>

size_t us_norm_constants(int batch, int n, int blocks) {
    return 3 * us_norm_floats(batch, n, blocks);
}

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

int us_norm_gradient_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad) {
    return us_norm_take_sums(ctx, norm, z, grad, norm->sums);
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
    size_t k, lanes = (size_t)m->blocks * US_LANES;
    int i, code = us_norm_take_sums(ctx, NULL, m, m, sums);
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
