/* trainer.c - exported: the trainer, whole loops and single steps. */
#include "api/api.h"

#include <string.h>

static const unetstar_trainer_options trainer_defaults = {sizeof(unetstar_trainer_options),
                                                          40,
                                                          125,
                                                          10,
                                                          2024,
                                                          0.0,
                                                          0.5,
                                                          0.0,
                                                          0.2,
                                                          0.5,
                                                          3,
                                                          8,
                                                          96,
                                                          96,
                                                          UNETSTAR_SCHEDULE_COSINE,
                                                          UNETSTAR_VALIDATION_PATCHES,
                                                          UNETSTAR_METRIC_ROC_AUC,
                                                          0,
                                                          1,
                                                          1,
                                                          0.0f,
                                                          0.0f,
                                                          0.0f,
                                                          0.0f,
                                                          0.0f,
                                                          0.0f,
                                                          0.0f};
typedef char check_trainer
    [sizeof(unetstar_trainer_options) == offsetof(unetstar_trainer_options, clahe_jitter) + sizeof(float) ? 1 : -1];

int unetstar_trainer_options_init(unetstar_trainer_options *options, size_t size) {
    return us_options_init(options, size, &trainer_defaults, sizeof trainer_defaults, "trainer options");
}

static void inner_options(struct us_trainer_options *to, const unetstar_trainer_options *from) {
    to->epochs = from->epochs;
    to->steps_per_epoch = from->steps_per_epoch;
    to->early_stop = from->early_stop;
    to->seed = from->seed;
    to->min_learning_rate = from->min_learning_rate;
    to->plateau_factor = from->plateau_factor;
    to->clip_gradient_norm = from->clip_gradient_norm;
    to->validation_fraction = from->validation_fraction;
    to->deep_supervision_weight = from->deep_supervision_weight;
    to->plateau_patience = from->plateau_patience;
    to->batch_size = from->batch_size;
    to->patch_height = from->patch_height;
    to->patch_width = from->patch_width;
    to->schedule = from->schedule;
    to->validation = from->validation;
    to->metric = from->metric;
    to->masked_loss = from->masked_loss;
    to->augment.flips = from->flips;
    to->augment.quarter_turns = from->quarter_turns;
    to->augment.brightness = from->brightness;
    to->augment.contrast = from->contrast;
    to->augment.gamma = from->gamma;
    to->augment.noise = from->noise;
    to->augment.blur = from->blur;
    to->augment.color_mix = from->color_mix;
    to->augment.clahe_jitter = from->clahe_jitter;
}

int unetstar_trainer_create(unetstar_trainer **out, unetstar_model *model, unetstar_optimizer *optimizer,
                            const unetstar_trainer_options *options, const unetstar_loss_options *loss) {
    unetstar_trainer_options o = trainer_defaults;
    struct us_trainer_options inner;
    struct us_loss inner_loss;
    unetstar_trainer *t;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(model, "model");
    code = code ? code : us_need(optimizer, "optimizer");
    code = code ? code : us_options_read(&o, sizeof o, options, "trainer options");
    code = code ? code : us_loss_read(&inner_loss, loss);
    if (code)
        return code;
    if (optimizer->model != model)
        return us_fail(UNETSTAR_ESTATE, "this optimizer belongs to another model");
    inner_options(&inner, &o);
    us_fp_enter(); /* before the checks: comparing a NaN must not trap */
    code = us_trainer_check(&inner);
    if (!code && inner.augment.color_mix > 0 && model->net->options.in_channels != 1)
        code = us_fail(UNETSTAR_EINVAL, "color_mix mixes planes of one channel, and the model has %d input channels",
                       model->net->options.in_channels);
    if (code) {
        us_fp_leave();
        return code;
    }
    t = (unetstar_trainer *)us_alloc_zero(model->ctx, sizeof *t);
    code = t ? us_trainer_create(&t->trainer, model->ctx, model->net, &model->params, &optimizer->optim, &model->prep,
                                 &inner, &inner_loss)
             : UNETSTAR_ENOMEM;
    us_fp_leave();
    if (code) {
        us_free(model->ctx, t);
        return code;
    }
    t->model = us_model_ref(model);
    t->optimizer = optimizer;
    us_atomic_add(&optimizer->refs, 1);
    *out = t;
    return 0;
}

void unetstar_trainer_destroy(unetstar_trainer *trainer) {
    if (trainer) {
        unetstar_model *model = trainer->model;
        us_trainer_destroy(trainer->trainer);
        us_optimizer_unref(trainer->optimizer);
        us_free(model->ctx, trainer);
        us_model_unref(model);
    }
}

size_t unetstar_trainer_workspace_size(const unetstar_trainer *trainer) {
    const struct us_trainer_options *o;
    size_t pixels, bytes;
    if (!trainer)
        return 0;
    o = &trainer->trainer->options;
    pixels = (size_t)o->batch_size * (size_t)o->patch_height * (size_t)o->patch_width;
    bytes = us_training_bytes(trainer->trainer->pass);
    bytes += (2 * trainer->model->net->n_params + trainer->model->net->n_buffers) * sizeof(float); /* gradients, best */
    return bytes + pixels * ((size_t)trainer->model->net->options.in_channels * sizeof(float) + 2);
}

static int ready(const unetstar_trainer *trainer) {
    int code = us_need(trainer, "trainer");
    if (!code && trainer->spent)
        code = us_fail(UNETSTAR_ESTATE, "the best weights were put into the model; load a checkpoint to train on");
    return code ? code : us_context_check(trainer->model->ctx);
}

/* ---- The whole loop ---- */

/* A progress callback may save the model or make a session of it: what was packed of earlier weights is not it. */
struct watcher {
    unetstar_model *model;
    unetstar_progress_fn progress;
    void *user;
};

static int show_progress(void *user, const unetstar_progress *progress) {
    const struct watcher *w = (const struct watcher *)user;
    us_model_touch(w->model);
    return w->progress ? w->progress(w->user, progress) : 0;
}

int unetstar_trainer_fit(unetstar_trainer *trainer, const unetstar_dataset *training_set,
                         const unetstar_dataset *validation_set, const unetstar_cancel *cancel,
                         unetstar_progress_fn progress, void *user) {
    struct watcher watcher;
    struct us_watch watch;
    int code = ready(trainer);
    code = code ? code : us_need(training_set, "training_set");
    if (code)
        return code;
    watcher.model = trainer->model;
    watcher.progress = progress;
    watcher.user = user;
    watch.cancel = cancel;
    watch.progress = show_progress;
    watch.user = &watcher;
    us_model_touch(trainer->model); /* also where the hook is called before any progress */
    us_fp_enter();
    us_trainer_set_prep(trainer->trainer, &trainer->model->prep);
    code = us_trainer_fit(trainer->trainer, training_set, validation_set, &watch);
    us_model_touch(trainer->model);
    us_fp_leave();
    return code;
}

int unetstar_trainer_use_best(unetstar_trainer *trainer) {
    int code = us_need(trainer, "trainer");
    if (code)
        return code;
    if (trainer->trainer->state.best_epoch >= 0)
        us_params_copy(&trainer->model->params, &trainer->trainer->best, trainer->model->net);
    trainer->spent = 1;
    us_model_touch(trainer->model);
    return 0;
}

typedef char check_state
    [sizeof(unetstar_trainer_state) == offsetof(unetstar_trainer_state, best_used) + sizeof(int32_t) ? 1 : -1];

int unetstar_trainer_get_state(const unetstar_trainer *trainer, unetstar_trainer_state *state) {
    const struct us_trainer_state *inner;
    unetstar_trainer_state s;
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(state, "state");
    if (code)
        return code;
    inner = &trainer->trainer->state;
    s.struct_size = sizeof s;
    s.epochs = inner->epoch;
    s.steps = inner->step;
    s.total_steps = inner->total_steps;
    s.best_epoch = inner->best_epoch;
    s.best_metric = inner->best_metric;
    s.ended = inner->ended;
    s.best_used = trainer->spent;
    return us_options_init(state, state->struct_size, &s, sizeof s, "trainer state");
}

/* ---- Single steps ---- */

int unetstar_trainer_forward(unetstar_trainer *trainer, int64_t n, const float *x) {
    int code = ready(trainer);
    code = code ? code : us_need(x, "x");
    if (code)
        return code;
    if (n < 1 || n > trainer->trainer->options.batch_size)
        return us_fail(UNETSTAR_ESHAPE, "a batch of %lld was given, the trainer is planned for 1 to %d", (long long)n,
                       trainer->trainer->options.batch_size);
    us_fp_enter();
    code = us_training_forward(trainer->trainer->pass, &trainer->model->params, (int)n, x, trainer->trainer->options.seed,
                               (uint64_t)trainer->trainer->state.total_steps);
    us_model_touch(trainer->model);
    us_fp_leave();
    return code;
}

int unetstar_trainer_logits(unetstar_trainer *trainer, float *logits) {
    int code = ready(trainer);
    code = code ? code : us_need(logits, "logits");
    return code ? code : us_training_logits(trainer->trainer->pass, logits);
}

int unetstar_trainer_loss(unetstar_trainer *trainer, const uint8_t *labels, const uint8_t *mask, double *loss) {
    int code = ready(trainer);
    code = code ? code : us_need(labels, "labels");
    code = code ? code : us_need(loss, "loss");
    if (code)
        return code;
    us_fp_enter();
    code = us_training_loss(trainer->trainer->pass, &trainer->trainer->loss,
                            trainer->trainer->options.deep_supervision_weight, labels, mask, loss);
    us_fp_leave();
    return code;
}

int unetstar_trainer_backward(unetstar_trainer *trainer) {
    int code = ready(trainer);
    if (code)
        return code;
    us_fp_enter();
    code = us_training_backward(trainer->trainer->pass, &trainer->model->params, trainer->trainer->gradients);
    us_fp_leave();
    return code;
}

int unetstar_trainer_gradients(unetstar_trainer *trainer, float **gradients, int64_t *count) {
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(gradients, "gradients");
    code = code ? code : us_need(count, "count");
    if (code)
        return code;
    *gradients = trainer->trainer->gradients;
    *count = (int64_t)trainer->model->net->n_params;
    return 0;
}

int unetstar_trainer_step(unetstar_trainer *trainer, double learning_rate) {
    int code = ready(trainer);
    if (code)
        return code;
    if (learning_rate != learning_rate)
        return us_fail(UNETSTAR_EINVAL, "learning_rate is not a number");
    us_fp_enter();
    code = us_trainer_update(trainer->trainer, learning_rate < 0 ? us_trainer_rate(trainer->trainer) : learning_rate);
    if (!code)
        trainer->trainer->state.total_steps++;
    us_model_touch(trainer->model);
    us_fp_leave();
    return code;
}

int unetstar_trainer_gradient_get(const unetstar_trainer *trainer, const char *name, float *data, int64_t count) {
    const struct us_weight *w;
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(name, "name");
    code = code ? code : us_need(data, "data");
    if (code)
        return code;
    w = us_net_find(trainer->model->net, name);
    if (!w || w->kind == US_WEIGHT_COUNTER || !w->trainable)
        return us_fail(UNETSTAR_EINVAL, "the model has no trained tensor named %.100s", name);
    if (count < 0 || (size_t)count != us_weight_count(w))
        return us_fail(UNETSTAR_ESHAPE, "%s has %zu values, not %lld", name, us_weight_count(w), (long long)count);
    if (w->in_buffers) /* a bias before batch norm: its gradient is zero */
        memset(data, 0, (size_t)count * sizeof *data);
    else
        us_weight_get(trainer->model->net, w, trainer->trainer->gradients, data);
    return 0;
}

int unetstar_trainer_set_hook(unetstar_trainer *trainer, unetstar_gradient_hook hook, void *user) {
    int code = us_need(trainer, "trainer");
    if (code)
        return code;
    trainer->trainer->hook = hook;
    trainer->trainer->hook_user = user;
    return 0;
}

int unetstar_trainer_patch(unetstar_trainer *trainer, const unetstar_dataset *training_set, int64_t epoch, int64_t sample,
                           float *x, uint8_t *label, uint8_t *mask) {
    struct us_trainer *t;
    uint8_t *own = NULL;
    size_t pixels;
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(training_set, "training_set");
    code = code ? code : us_need(x, "x");
    if (code)
        return code;
    if (epoch < 0 || sample < 0)
        return us_fail(UNETSTAR_EINVAL, "epoch and sample are counted from 0");
    t = trainer->trainer;
    pixels = (size_t)t->options.patch_height * (size_t)t->options.patch_width;
    us_fp_enter();
    us_trainer_set_prep(t, &trainer->model->prep);
    code = us_trainer_set_patches(t, training_set);
    if (!code && !label) {
        own = (uint8_t *)us_alloc(t->ctx, pixels);
        code = own ? 0 : UNETSTAR_ENOMEM;
    }
    if (!code)
        us_patches_draw(t->patches, t->options.seed, US_RNG_PATCH, (uint64_t)epoch, (uint64_t)sample, &t->options.augment, x,
                        label ? label : own, mask);
    us_free(t->ctx, own);
    us_fp_leave();
    return code;
}
