/* optimizer.c - exported: optimizers. */
#include "api/api.h"

static const unetstar_optimizer_options optimizer_defaults = {
    sizeof(unetstar_optimizer_options), 5e-4, 0.9, 0.999, 1e-8, 0, 0.9, UNETSTAR_OPTIMIZER_ADAM, 0};
typedef char check_optimizer[sizeof(unetstar_optimizer_options) ==
                                     offsetof(unetstar_optimizer_options, reserved) + sizeof(int32_t)
                                 ? 1
                                 : -1];

int unetstar_optimizer_options_init(unetstar_optimizer_options *options, size_t size) {
    return us_options_init(options, size, &optimizer_defaults, sizeof optimizer_defaults, "optimizer options");
}

int unetstar_optimizer_create(unetstar_optimizer **out, unetstar_model *model, const unetstar_optimizer_options *options) {
    unetstar_optimizer_options o = optimizer_defaults;
    struct us_optim_options inner;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(model, "model");
    code = code ? code : us_options_read(&o, sizeof o, options, "optimizer options");
    if (code)
        return code;
    if (o.reserved)
        return us_fail(UNETSTAR_EINVAL, "optimizer option reserved must be 0");
    inner.learning_rate = o.learning_rate;
    inner.beta1 = o.beta1;
    inner.beta2 = o.beta2;
    inner.eps = o.eps;
    inner.weight_decay = o.weight_decay;
    inner.momentum = o.momentum;
    inner.kind = o.kind;
    us_fp_enter(); /* before the checks: comparing a NaN must not trap */
    code = us_optim_check(&inner);
    if (code) {
        us_fp_leave();
        return code;
    }
    *out = (unetstar_optimizer *)us_alloc_zero(model->ctx, sizeof **out);
    code = *out ? us_optim_create(&(*out)->optim, model->ctx, model->net->n_params, &inner) : UNETSTAR_ENOMEM;
    us_fp_leave();
    if (code) {
        us_free(model->ctx, *out);
        *out = NULL;
        return code;
    }
    (*out)->refs = 1;
    (*out)->model = us_model_ref(model);
    return 0;
}

void us_optimizer_unref(unetstar_optimizer *optimizer) {
    unetstar_model *model;
    if (!optimizer || us_atomic_add(&optimizer->refs, -1) > 0)
        return;
    model = optimizer->model;
    us_optim_destroy(&optimizer->optim);
    us_free(model->ctx, optimizer);
    us_model_unref(model);
}

void unetstar_optimizer_destroy(unetstar_optimizer *optimizer) {
    us_optimizer_unref(optimizer);
}

int unetstar_optimizer_step(unetstar_optimizer *optimizer, const float *gradients, int64_t count, double learning_rate,
                            double gradient_scale) {
    int code = us_need(optimizer, "optimizer");
    code = code ? code : us_need(gradients, "gradients");
    if (code)
        return code;
    if (count < 0 || (size_t)count != optimizer->optim.n)
        return us_fail(UNETSTAR_ESHAPE, "the gradient arena has %zu values, not %lld", optimizer->optim.n, (long long)count);
    us_fp_enter();
    if (!(learning_rate >= 0) || !(gradient_scale == gradient_scale))
        code = us_fail(UNETSTAR_EINVAL, "learning_rate must be at least 0 and gradient_scale a number");
    else
        code = us_optim_step(&optimizer->optim, optimizer->model->params.arena, gradients, learning_rate, gradient_scale);
    us_model_touch(optimizer->model);
    us_fp_leave();
    return code;
}

int64_t unetstar_optimizer_step_count(const unetstar_optimizer *optimizer) {
    return optimizer ? optimizer->optim.steps : 0;
}

int unetstar_optimizer_moment_get(const unetstar_optimizer *optimizer, const char *name, int32_t moment, float *data,
                                  int64_t count) {
    const struct us_weight *w;
    const float *arena;
    int code = us_need(optimizer, "optimizer");
    code = code ? code : us_need(name, "name");
    code = code ? code : us_need(data, "data");
    if (code)
        return code;
    arena = moment == 1 ? optimizer->optim.first : moment == 2 ? optimizer->optim.second : NULL;
    if (!arena)
        return us_fail(UNETSTAR_EINVAL, "this optimizer has no moment %d", moment);
    w = us_net_find(optimizer->model->net, name);
    if (!w || w->in_buffers || w->kind == US_WEIGHT_COUNTER)
        return us_fail(UNETSTAR_EINVAL, "the model has no trained tensor named %.100s", name);
    if (count < 0 || (size_t)count != us_weight_count(w))
        return us_fail(UNETSTAR_ESHAPE, "%s has %zu values, not %lld", name, us_weight_count(w), (long long)count);
    us_weight_get(optimizer->model->net, w, arena, data);
    return 0;
}
