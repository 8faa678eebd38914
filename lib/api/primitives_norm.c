/* primitives_norm.c - exported: batch, group and layer norm on plain (N,C,H,W) buffers. */
#include "api/api.h"

#define LAYER_GROUPS 1

/* ---- Checks ---- */

static int check_size(const char *name, int64_t size) {
    if (size < 1)
        return us_fail(UNETSTAR_ESHAPE, "%s is %lld; it must be at least 1", name, (long long)size);
    return 0;
}

static int check_shape(const struct us_norm_shape *s) {
    const int64_t shape[4] = {s->n, s->c, s->h, s->w};
    size_t bytes;
    int code = check_size("n", s->n);
    code = code ? code : check_size("c", s->c);
    code = code ? code : check_size("h", s->h);
    code = code ? code : check_size("w", s->w);
    code = code ? code : check_size("groups", s->groups);
    if (!code && s->c % s->groups)
        code = us_fail(UNETSTAR_ESHAPE, "groups is %lld, which does not divide the %lld channels", (long long)s->groups,
                       (long long)s->c);
    return code ? code : us_size_shape(&bytes, shape, 4, sizeof(float));
}

static int check_context(const unetstar_context *context) {
    int code = us_need(context, "context");
    return code ? code : us_context_check(context);
}

static int check_number(const char *name, float value, float most) {
    int good;
    us_fp_enter(); /* comparing a NaN must not trap */
    good = value >= 0 && value <= most;
    us_fp_leave();
    if (!good)
        return us_fail(UNETSTAR_EINVAL, "%s must be a number from 0 to %s", name,
                       most <= 1 ? "1" : "the largest float");
    return 0;
}

/* What forward writes and reads beside the shape. */
struct forward {
    const float *x, *gamma, *beta;
    float eps, momentum;
    float *running_mean, *running_variance;
    float *y, *save_mean, *save_inverse_std;
};

static int run_forward(unetstar_context *context, const struct us_norm_shape *s, const struct forward *f) {
    int code = check_context(context);
    code = code ? code : us_need(f->x, "x");
    code = code ? code : us_need(f->y, "y");
    code = code ? code : us_need(f->save_mean, "save_mean");
    code = code ? code : us_need(f->save_inverse_std, "save_inverse_std");
    code = code ? code : check_shape(s);
    code = code ? code : check_number("eps", f->eps, FLT_MAX);
    code = code ? code : check_number("momentum", f->momentum, 1);
    if (!code && !f->running_mean != !f->running_variance)
        code = us_fail(UNETSTAR_EINVAL, "running_mean and running_variance must be given both or neither");
    if (code)
        return code;
    us_fp_enter();
    code = us_norm_forward(context, s, f->x, f->gamma, f->beta, f->eps, f->momentum, f->running_mean,
                           f->running_variance, f->y, f->save_mean, f->save_inverse_std);
    us_fp_leave();
    return code;
}

struct backward {
    const float *x, *gamma, *save_mean, *save_inverse_std, *dy;
    float *dx, *dgamma, *dbeta;
};

static int run_backward(unetstar_context *context, const struct us_norm_shape *s, const struct backward *b) {
    int code = check_context(context);
    code = code ? code : us_need(b->x, "x");
    code = code ? code : us_need(b->save_mean, "save_mean");
    code = code ? code : us_need(b->save_inverse_std, "save_inverse_std");
    code = code ? code : us_need(b->dy, "dy");
    code = code ? code : check_shape(s);
    if (code || (!b->dx && !b->dgamma && !b->dbeta))
        return code;
    us_fp_enter();
    code = us_norm_backward(context, s, b->x, b->gamma, b->save_mean, b->save_inverse_std, b->dy, b->dx, b->dgamma,
                            b->dbeta);
    us_fp_leave();
    return code;
}

/* ---- Batch norm ---- */

int unetstar_batch_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                const float *gamma, const float *beta, float eps, float momentum, float *running_mean,
                                float *running_variance, float *y, float *save_mean, float *save_inverse_std) {
    const struct us_norm_shape s = {n, c, h, w, c, 1};
    const struct forward f = {x,         gamma,           beta, eps, momentum, running_mean, running_variance, y,
                              save_mean, save_inverse_std};
    return run_forward(context, &s, &f);
}

int unetstar_batch_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                 const float *gamma, const float *save_mean, const float *save_inverse_std,
                                 const float *dy, float *dx, float *dgamma, float *dbeta) {
    const struct us_norm_shape s = {n, c, h, w, c, 1};
    const struct backward b = {x, gamma, save_mean, save_inverse_std, dy, dx, dgamma, dbeta};
    return run_backward(context, &s, &b);
}

/* ---- Group norm ---- */

int unetstar_group_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, int64_t groups,
                                const float *x, const float *gamma, const float *beta, float eps, float *y,
                                float *save_mean, float *save_inverse_std) {
    const struct us_norm_shape s = {n, c, h, w, groups, 0};
    const struct forward f = {x, gamma, beta, eps, 0, NULL, NULL, y, save_mean, save_inverse_std};
    return run_forward(context, &s, &f);
}

int unetstar_group_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, int64_t groups,
                                 const float *x, const float *gamma, const float *save_mean,
                                 const float *save_inverse_std, const float *dy, float *dx, float *dgamma,
                                 float *dbeta) {
    const struct us_norm_shape s = {n, c, h, w, groups, 0};
    const struct backward b = {x, gamma, save_mean, save_inverse_std, dy, dx, dgamma, dbeta};
    return run_backward(context, &s, &b);
}

/* ---- Layer norm: all channels are one group ---- */

int unetstar_layer_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                const float *gamma, const float *beta, float eps, float *y, float *save_mean,
                                float *save_inverse_std) {
    return unetstar_group_norm_forward(context, n, c, h, w, LAYER_GROUPS, x, gamma, beta, eps, y, save_mean,
                                       save_inverse_std);
}

int unetstar_layer_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                 const float *gamma, const float *save_mean, const float *save_inverse_std,
                                 const float *dy, float *dx, float *dgamma, float *dbeta) {
    return unetstar_group_norm_backward(context, n, c, h, w, LAYER_GROUPS, x, gamma, save_mean, save_inverse_std, dy,
                                        dx, dgamma, dbeta);
}
