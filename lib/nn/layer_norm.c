/* layer_norm.c - batch, group, instance and layer norm on plain buffers, computed as the network does. */
#include "nn/layer.h"

#include <string.h>

/* One block of memory holds everything but the maps. */
struct work {
    us_context *ctx;
    const struct us_norm_shape *s;
    struct us_map x, g; /* g: gradient; NULL in forward */
    struct us_norm norm;
    float *gamma, *beta;                    /* lanes; copies, or 1 and 0 */
    float *running_mean, *running_variance; /* c; copies, handed out when all has gone well */
    float *dgamma, *dbeta, *constants;
    char *memory;
};

static void place(struct work *work, struct us_arena *arena) {
    const struct us_norm_shape *s = work->s;
    const size_t lanes = (size_t)work->x.blocks * US_LANES * sizeof(float);
    const size_t coefficients = us_norm_floats(s->batch, work->x.n, work->x.blocks) * sizeof(float);
    work->norm.mean = (float *)us_arena_take(arena, coefficients);
    work->norm.inverse_std = (float *)us_arena_take(arena, coefficients);
    work->norm.scale = (float *)us_arena_take(arena, coefficients);
    work->norm.shift = (float *)us_arena_take(arena, coefficients);
    work->norm.sums = (double *)us_arena_take(arena, us_norm_sums(work->x.n, work->x.blocks) * sizeof(double));
    work->gamma = (float *)us_arena_take(arena, lanes);
    work->beta = (float *)us_arena_take(arena, lanes);
    work->running_mean = (float *)us_arena_take(arena, lanes);
    work->running_variance = (float *)us_arena_take(arena, lanes);
    work->dgamma = (float *)us_arena_take(arena, lanes);
    work->dbeta = (float *)us_arena_take(arena, lanes);
    work->constants =
        (float *)us_arena_take(arena, us_norm_constants(s->batch, work->x.n, work->x.blocks) * sizeof(float));
}

static int start(struct work *work, us_context *ctx, const struct us_norm_shape *s, const float *gamma,
                 const float *beta, int backward) {
    struct us_arena arena = {NULL, 0, 0};
    size_t bytes;
    int64_t k;
    int code;
    memset(work, 0, sizeof *work);
    work->ctx = ctx;
    work->s = s;
    if (s->groups < 1 || s->c % s->groups)
        return us_fail(UNETSTAR_ESHAPE, "groups is %lld, which does not divide the %lld channels", (long long)s->groups,
                       (long long)s->c);
    code = us_layer_map(ctx, &work->x, s->n, s->c, s->h, s->w);
    if (!code && backward)
        code = us_layer_map(ctx, &work->g, s->n, s->c, s->h, s->w);
    if (!code) /* the largest part: sums of every image and block, about as much as all the rest */
        code = us_layer_bytes(&bytes, s->n, work->x.blocks, 32 + 16, 1, sizeof(double));
    if (code)
        return code;
    work->norm.batch = s->batch;
    work->norm.c = (int)s->c;
    work->norm.groups = (int)s->groups;
    place(work, &arena);
    arena.size = arena.used;
    arena.used = 0;
    arena.base = work->memory = (char *)us_alloc_zero(ctx, arena.size);
    if (!work->memory)
        return UNETSTAR_ENOMEM;
    place(work, &arena);
    for (k = 0; k < s->c; k++) {
        work->gamma[k] = gamma ? gamma[k] : 1.0f;
        work->beta[k] = beta ? beta[k] : 0.0f;
    }
    return 0;
}

static void finish(struct work *work) {
    us_free(work->ctx, work->x.data);
    us_free(work->ctx, work->g.data);
    us_free(work->ctx, work->memory);
}

/* Place of the coefficients of image n and block b. */
static size_t coefficient_at(const struct work *work, int n, int b) {
    return ((size_t)(work->s->batch ? 0 : n) * (size_t)work->x.blocks + (size_t)b) * US_LANES;
}

/* The value of the layer, in place: fma(z, scale, shift). */
static void apply_task(void *arg, int64_t index, int worker) {
    const struct work *work = (const struct work *)arg;
    const int n = (int)(index / work->x.blocks), b = (int)(index % work->x.blocks);
    const size_t at = coefficient_at(work, n, b);
    float *z = us_map_row(&work->x, n, b, 0);
    (void)worker;
    work->ctx->kern.affine_act(z, z, (size_t)work->x.h * (size_t)work->x.w, work->norm.scale + at,
                               work->norm.shift + at, US_ACT_NONE, 0);
}

/* ---- Statistics between the caller's (sets, groups) and the lanes ---- */

static void read_statistics(const struct work *work, float *mean, float *inverse_std) {
    const int sets = work->s->batch ? 1 : work->x.n, per_group = work->norm.c / work->norm.groups;
    int set, g;
    for (set = 0; set < sets; set++)
        for (g = 0; g < work->norm.groups; g++) {
            const size_t at = coefficient_at(work, set, 0) + (size_t)(g * per_group);
            *mean++ = work->norm.mean[at];
            *inverse_std++ = work->norm.inverse_std[at];
        }
}

static void write_statistics(const struct work *work, const float *mean, const float *inverse_std) {
    const int sets = work->s->batch ? 1 : work->x.n, per_group = work->norm.c / work->norm.groups;
    int set, k;
    for (set = 0; set < sets; set++)
        for (k = 0; k < work->norm.c; k++) {
            const size_t at = coefficient_at(work, set, 0) + (size_t)k;
            const size_t from = (size_t)set * (size_t)work->norm.groups + (size_t)(k / per_group);
            work->norm.mean[at] = mean[from];
            work->norm.inverse_std[at] = inverse_std[from];
        }
}

/* ---- The layer ---- */

int us_norm_forward(us_context *ctx, const struct us_norm_shape *s, const float *x, const float *gamma,
                    const float *beta, float eps, float momentum, float *running_mean, float *running_variance,
                    float *y, float *save_mean, float *save_inverse_std) {
    const size_t channels = (size_t)s->c * sizeof(float);
    struct work work;
    int code = start(&work, ctx, s, gamma, beta, 0);
    if (!code)
        code = us_layer_pack(ctx, &work.x, x, s->c);
    if (!code && running_mean) {
        memcpy(work.running_mean, running_mean, channels);
        memcpy(work.running_variance, running_variance, channels);
    }
    work.norm.eps = eps;
    if (!code)
        code = us_norm_measure(ctx, &work.norm, &work.x, work.gamma, work.beta, momentum,
                               running_mean ? work.running_mean : NULL, running_mean ? work.running_variance : NULL);
    if (!code)
        code = us_parallel(ctx, NULL, apply_task, &work, (int64_t)work.x.n * work.x.blocks);
    if (!code)
        code = us_layer_unpack(ctx, &work.x, y, s->c);
    if (!code) {
        read_statistics(&work, save_mean, save_inverse_std);
        if (running_mean) {
            memcpy(running_mean, work.running_mean, channels);
            memcpy(running_variance, work.running_variance, channels);
        }
    }
    finish(&work);
    return code;
}

int us_norm_backward(us_context *ctx, const struct us_norm_shape *s, const float *x, const float *gamma,
                     const float *save_mean, const float *save_inverse_std, const float *dy, float *dx, float *dgamma,
                     float *dbeta) {
    const size_t channels = (size_t)s->c * sizeof(float);
    struct work work;
    int code = start(&work, ctx, s, gamma, NULL, 1);
    if (!code)
        code = us_layer_pack(ctx, &work.x, x, s->c);
    if (!code)
        code = us_layer_pack(ctx, &work.g, dy, s->c);
    if (!code) {
        write_statistics(&work, save_mean, save_inverse_std);
        code = us_norm_gradient_sums(ctx, &work.norm, &work.x, &work.g);
    }
    if (!code)
        code = us_norm_gradient(ctx, &work.norm, &work.x, &work.g, work.gamma, work.dgamma, work.dbeta, work.constants);
    if (!code && dx)
        code = us_layer_unpack(ctx, &work.g, dx, s->c);
    if (!code && dgamma)
        memcpy(dgamma, work.dgamma, channels);
    if (!code && dbeta)
        memcpy(dbeta, work.dbeta, channels);
    finish(&work);
    return code;
}
