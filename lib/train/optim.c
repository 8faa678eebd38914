/* optim.c - Adam, AdamW and SGD with momentum over flat arenas. */
#include "train/train.h"

#include <math.h>
#include <string.h>

#define CHUNK 16384 /* parameters of a task */

int us_optim_check(const struct us_optim_options *o) {
    if (o->kind < UNETSTAR_OPTIMIZER_ADAM || o->kind > UNETSTAR_OPTIMIZER_SGD)
        return us_fail(UNETSTAR_EINVAL, "optimizer kind %d is unknown", o->kind);
    if (!(o->learning_rate >= 0 && o->learning_rate <= 1e6))
        return us_fail(UNETSTAR_EINVAL, "learning_rate must be a number from 0 to 1e6");
    if (!(o->beta1 >= 0 && o->beta1 < 1) || !(o->beta2 >= 0 && o->beta2 < 1))
        return us_fail(UNETSTAR_EINVAL, "beta1 and beta2 must be at least 0 and below 1");
    if (!(o->eps > 0 && o->eps <= 1))
        return us_fail(UNETSTAR_EINVAL, "eps must be above 0 and at most 1");
    if (!(o->weight_decay >= 0 && o->weight_decay <= 1e3))
        return us_fail(UNETSTAR_EINVAL, "weight_decay must be a number from 0 to 1000");
    if (!(o->momentum >= 0 && o->momentum < 1))
        return us_fail(UNETSTAR_EINVAL, "momentum must be at least 0 and below 1");
    return 0;
}

int us_optim_create(struct us_optim *out, us_context *ctx, size_t n, const struct us_optim_options *options) {
    const int two = options->kind != UNETSTAR_OPTIMIZER_SGD;
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    out->options = *options;
    out->n = n;
    out->first = (float *)us_alloc_zero(ctx, n * sizeof(float));
    out->second = out->first && two ? (float *)us_alloc_zero(ctx, n * sizeof(float)) : NULL;
    if (!out->first || (two && !out->second)) {
        us_optim_destroy(out);
        return UNETSTAR_ENOMEM;
    }
    return 0;
}

void us_optim_destroy(struct us_optim *optim) {
    if (optim->ctx) {
        us_free(optim->ctx, optim->first);
        us_free(optim->ctx, optim->second);
    }
    memset(optim, 0, sizeof *optim);
}

struct update {
    struct us_optim *optim;
    float *params;
    const float *gradients;
    struct us_optim_consts consts;
};

static void update_chunk(void *arg, int64_t index, int worker) {
    const struct update *u = (const struct update *)arg;
    const size_t from = (size_t)index * CHUNK, n = US_MIN((size_t)CHUNK, u->optim->n - from);
    const struct us_kernels *k = &u->optim->ctx->kern;
    (void)worker;
    if (u->optim->options.kind == UNETSTAR_OPTIMIZER_SGD)
        k->sgd(u->params + from, u->gradients + from, u->optim->first + from, n, &u->consts);
    else
        k->adam(u->params + from, u->gradients + from, u->optim->first + from, u->optim->second + from, n, &u->consts);
}

/* b^n for n >= 0 by squaring: the same bits everywhere. */
static double power(double b, int64_t n) {
    double result = 1;
    for (; n > 0; n /= 2, b *= b)
        if (n % 2)
            result *= b;
    return result;
}

int us_optim_step(struct us_optim *optim, float *params, const float *gradients, double learning_rate, double gradient_scale) {
    const struct us_optim_options *o = &optim->options;
    struct update u;
    int code;
    u.optim = optim;
    u.params = params;
    u.gradients = gradients;
    memset(&u.consts, 0, sizeof u.consts);
    u.consts.grad_scale = (float)gradient_scale;
    u.consts.decay = 1;
    u.consts.step = (float)learning_rate;
    if (o->kind == UNETSTAR_OPTIMIZER_ADAMW)
        u.consts.decay = (float)(1 - learning_rate * o->weight_decay);
    else
        u.consts.l2 = (float)o->weight_decay;
    if (o->kind == UNETSTAR_OPTIMIZER_SGD) {
        u.consts.momentum = (float)o->momentum;
    } else {
        u.consts.one_minus_beta1 = (float)(1 - o->beta1);
        u.consts.beta2 = (float)o->beta2;
        u.consts.one_minus_beta2 = (float)(1 - o->beta2);
        u.consts.step = (float)(learning_rate / (1 - power(o->beta1, optim->steps + 1)));
        u.consts.inv_bias2 = (float)(1 / sqrt(1 - power(o->beta2, optim->steps + 1)));
        u.consts.eps = (float)o->eps;
    }
    us_mark(optim->ctx, "optimizer", -1);
    code = us_parallel(optim->ctx, NULL, update_chunk, &u, (int64_t)((optim->n + CHUNK - 1) / CHUNK));
    if (!code)
        optim->steps++;
    us_mark(optim->ctx, NULL, -1);
    return code;
}

double us_gradient_norm(const us_context *ctx, const float *gradients, size_t n) {
    double sum = 0;
    size_t from;
    for (from = 0; from < n; from += 4096)
        sum += (double)ctx->kern.block_sum_squares(gradients + from, US_MIN((size_t)4096, n - from));
    return sqrt(sum);
}
