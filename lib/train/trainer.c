/* trainer.c - the training loop: steps on random patches, validation, best weights; stopped and resumed between steps. */
#include "train/train.h"

#include <string.h>

/* ---- Options ---- */

static int check_count(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        return us_fail(UNETSTAR_EINVAL, "trainer option %s is %lld; it must be %lld to %lld", name, (long long)value,
                       (long long)low, (long long)high);
    return 0;
}

static int check_real(const char *name, double value, double low, double high) {
    char text[3][US_NUMBER_SIZE];
    if (value >= low && value <= high)
        return 0;
    us_number_format(text[0], value);
    us_number_format(text[1], low);
    us_number_format(text[2], high);
    return us_fail(UNETSTAR_EINVAL, "trainer option %s is %s; it must be %s to %s", name, text[0], text[1], text[2]);
}

int us_trainer_check(const struct us_trainer_options *o) {
    const int64_t many = 1000000000;
    int code = check_count("epochs", o->epochs, 1, many);
    code = code ? code : check_count("steps_per_epoch", o->steps_per_epoch, 1, many);
    code = code ? code : check_count("early_stop", o->early_stop, 0, many);
    code = code ? code : check_count("plateau_patience", o->plateau_patience, 0, many);
    code = code ? code : check_count("batch_size", o->batch_size, 1, 4096);
    code = code ? code : check_count("patch_height", o->patch_height, 1, 8192);
    code = code ? code : check_count("patch_width", o->patch_width, 1, 8192);
    code = code ? code : check_count("schedule", o->schedule, UNETSTAR_SCHEDULE_CONSTANT, UNETSTAR_SCHEDULE_PLATEAU);
    code = code ? code : check_count("validation", o->validation, UNETSTAR_VALIDATION_NONE, UNETSTAR_VALIDATION_IMAGES);
    code = code ? code : check_count("metric", o->metric, UNETSTAR_METRIC_ROC_AUC, UNETSTAR_METRIC_LOSS);
    code = code ? code : check_count("masked_loss", o->masked_loss, 0, 1);
    code = code ? code : check_count("flips", o->augment.flips, 0, 1);
    code = code ? code : check_count("quarter_turns", o->augment.quarter_turns, 0, 1);
    code = code ? code : check_real("min_learning_rate", o->min_learning_rate, 0, 1e6);
    code = code ? code : check_real("plateau_factor", o->plateau_factor, 0, 1);
    code = code ? code : check_real("clip_gradient_norm", o->clip_gradient_norm, 0, 1e30);
    code = code ? code : check_real("validation_fraction", o->validation_fraction, 0, 100);
    code = code ? code : check_real("deep_supervision_weight", o->deep_supervision_weight, 0, 1e6);
    code = code ? code : check_real("brightness", (double)o->augment.brightness, 0, 10);
    code = code ? code : check_real("contrast", (double)o->augment.contrast, 0, 10);
    code = code ? code : check_real("gamma", (double)o->augment.gamma, 0, 10);
    code = code ? code : check_real("noise", (double)o->augment.noise, 0, 10);
    code = code ? code : check_real("blur", (double)o->augment.blur, 0, US_BLUR_MAX);
    code = code ? code : check_real("color_mix", (double)o->augment.color_mix, 0, 1);
    code = code ? code : check_real("clahe_jitter", (double)o->augment.clahe_jitter, 0, 5);
    return code;
}

/* ---- Life ---- */

static void initial_state(struct us_trainer_state *s) {
    memset(s, 0, sizeof *s);
    s->best_metric = s->plateau_best = us_nan();
    s->best_epoch = -1;
    s->plateau_scale = 1;
}

int us_trainer_create(struct us_trainer **out, us_context *ctx, const struct us_net *net, struct us_params *params,
                      struct us_optim *optim, const struct us_prep *prep, const struct us_trainer_options *options,
                      const struct us_loss *loss) {
    const size_t pixels = (size_t)options->patch_height * (size_t)options->patch_width * (size_t)options->batch_size;
    struct us_trainer *t = (struct us_trainer *)us_alloc_zero(ctx, sizeof *t);
    int code;
    *out = NULL;
    if (!t)
        return UNETSTAR_ENOMEM;
    t->ctx = ctx;
    t->net = net;
    t->params = params;
    t->optim = optim;
    t->prep = *prep;
    t->options = *options;
    t->loss = *loss;
    initial_state(&t->state);
    code = us_training_create(&t->pass, ctx, net, options->batch_size, options->patch_height, options->patch_width);
    if (!code)
        code = us_params_create(&t->best, ctx, net);
    if (!code) {
        t->gradients = (float *)us_alloc_zero(ctx, net->n_params * sizeof(float));
        t->x = (float *)us_alloc(ctx, pixels * (size_t)net->options.in_channels * sizeof(float));
        t->labels = (uint8_t *)us_alloc(ctx, pixels);
        t->masks = (uint8_t *)us_alloc(ctx, pixels);
        code = t->gradients && t->x && t->labels && t->masks ? 0 : UNETSTAR_ENOMEM;
    }
    if (code) {
        us_trainer_destroy(t);
        return code;
    }
    *out = t;
    return 0;
}

static void forget_data(struct us_trainer *t) {
    us_validator_destroy(t->validator);
    us_patches_destroy(t->patches);
    us_dataset_destroy(t->train_set);
    us_dataset_destroy(t->val_set);
    t->validator = NULL;
    t->patches = NULL;
    t->train_set = t->val_set = NULL;
}

void us_trainer_destroy(struct us_trainer *t) {
    if (!t)
        return;
    forget_data(t);
    us_training_destroy(t->pass);
    us_params_destroy(t->ctx, &t->best);
    us_free(t->ctx, t->gradients);
    us_free(t->ctx, t->x);
    us_free(t->ctx, t->labels);
    us_free(t->ctx, t->masks);
    us_free(t->ctx, t);
}

/* ---- Data ---- */

static int same_samples(const us_dataset *a, const us_dataset *b) {
    int64_t i;
    if (!a || !b)
        return !a && !b;
    if (a->count != b->count)
        return 0;
    for (i = 0; i < a->count; i++)
        if (a->samples[i] != b->samples[i])
            return 0;
    return 1;
}

/* A dataset of the same samples, so that they stay alive and can be recognised. */
static int keep(us_dataset **out, const us_dataset *set) {
    int64_t i, *all;
    int code;
    if (!set)
        return 0;
    all = (int64_t *)us_alloc(set->ctx, sizeof(int64_t) * (size_t)US_MAX(set->count, 1));
    if (!all)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < set->count; i++)
        all[i] = i;
    code = us_dataset_subset(out, set, all, set->count);
    us_free(set->ctx, all);
    return code;
}

void us_trainer_set_prep(struct us_trainer *t, const struct us_prep *prep) {
    if (memcmp(&t->prep, prep, sizeof *prep)) {
        forget_data(t);
        t->prep = *prep;
    }
}

int us_trainer_set_patches(struct us_trainer *t, const us_dataset *train_set) {
    int code;
    if (t->patches && same_samples(t->train_set, train_set))
        return 0;
    if (us_prep_channels(&t->prep) != t->net->options.in_channels)
        return us_fail(UNETSTAR_ESHAPE, "a model of %d input channels is not trained on images, only step by step",
                       t->net->options.in_channels);
    forget_data(t);
    code = us_patches_create(&t->patches, train_set, &t->prep, t->options.patch_height, t->options.patch_width);
    if (!code)
        code = us_patches_vary(t->patches, &t->prep, &t->options.augment);
    if (!code)
        code = keep(&t->train_set, train_set);
    if (code)
        forget_data(t);
    return code;
}

int us_trainer_set_data(struct us_trainer *t, const us_dataset *train_set, const us_dataset *val_set) {
    int code;
    if (t->options.validation != UNETSTAR_VALIDATION_IMAGES)
        val_set = NULL;
    else if (!val_set || val_set->count == 0)
        return us_fail(UNETSTAR_EINVAL, "validation on images needs a validation set");
    code = us_trainer_set_patches(t, train_set);
    if (code || t->options.validation == UNETSTAR_VALIDATION_NONE)
        return code;
    if (t->validator && same_samples(t->val_set, val_set))
        return 0;
    us_validator_destroy(t->validator);
    us_dataset_destroy(t->val_set);
    t->val_set = NULL;
    code = us_validator_create(&t->validator, t, t->patches, val_set);
    if (!code)
        code = keep(&t->val_set, val_set);
    if (code)
        forget_data(t);
    return code;
}

/* ---- A step ---- */

static void draw_task(void *arg, int64_t i, int worker) {
    const struct us_trainer *t = (const struct us_trainer *)arg;
    const struct us_trainer_options *o = &t->options;
    const size_t pixels = (size_t)o->patch_height * (size_t)o->patch_width;
    (void)worker;
    us_patches_draw(t->patches, o->seed, US_RNG_PATCH, (uint64_t)t->state.epoch,
                    (uint64_t)(t->state.step * o->batch_size + i), &o->augment,
                    t->x + (size_t)i * pixels * (size_t)t->net->options.in_channels, t->labels + (size_t)i * pixels,
                    t->masks + (size_t)i * pixels);
}

double us_trainer_rate(const struct us_trainer *t) {
    return us_schedule_rate(&t->options, &t->state, t->optim->options.learning_rate);
}

int us_trainer_update(struct us_trainer *t, double learning_rate) {
    double scale = 1;
    if (t->hook) {
        int stop;
        us_fp_callback_begin();
        stop = t->hook(t->hook_user, t->gradients, (int64_t)t->net->n_params);
        us_fp_callback_end();
        if (stop)
            return us_fail(UNETSTAR_EUSER, "the gradient hook returned %d", stop);
    }
    if (t->options.clip_gradient_norm > 0) { /* after the hook, so that processes that average clip alike */
        const double norm = us_gradient_norm(t->ctx, t->gradients, t->net->n_params);
        if (norm > t->options.clip_gradient_norm)
            scale = t->options.clip_gradient_norm / norm;
    }
    return us_optim_step(t->optim, t->params->arena, t->gradients, learning_rate, scale);
}

static int train_step(struct us_trainer *t, double rate, double *loss) {
    int code = us_parallel(t->ctx, NULL, draw_task, t, t->options.batch_size);
    if (!code)
        code = us_training_forward(t->pass, t->params, t->options.batch_size, t->x, t->options.seed,
                                   (uint64_t)t->state.total_steps);
    if (!code)
        code = us_training_loss(t->pass, &t->loss, t->options.deep_supervision_weight, t->labels,
                                t->options.masked_loss ? t->masks : NULL, loss);
    if (!code && !(*loss - *loss == 0))
        code = us_fail(UNETSTAR_ESTATE, "the training has diverged: the loss of step %lld of epoch %lld is not a finite number; "
                                        "a lower learning rate may help",
                       (long long)t->state.step, (long long)t->state.epoch);
    if (!code)
        code = us_training_backward(t->pass, t->params, t->gradients);
    if (!code)
        code = us_trainer_update(t, rate);
    if (code)
        return code;
    t->state.step++;
    t->state.total_steps++;
    t->state.loss_sum += *loss;
    return 0;
}

/* ---- The loop ---- */

struct loop {
    struct us_trainer *t;
    const struct us_watch *watch;
    unetstar_progress progress;
    double start;
    int64_t images;
};

static int run_steps(struct loop *l) {
    struct us_trainer *t = l->t;
    const double rate = us_trainer_rate(t);
    int code = 0;
    l->progress.learning_rate = rate;
    while (t->state.step < t->options.steps_per_epoch && !code) {
        double loss, elapsed;
        code = train_step(t, rate, &loss);
        if (code)
            return code;
        l->images += t->options.batch_size;
        elapsed = us_clock() - l->start;
        l->progress.phase = UNETSTAR_PHASE_TRAIN;
        l->progress.is_best = 0;
        l->progress.done = t->state.step;
        l->progress.total = t->options.steps_per_epoch;
        l->progress.epoch = t->state.epoch;
        l->progress.epochs = t->options.epochs;
        l->progress.loss = loss;
        l->progress.best_metric = t->state.best_metric;
        l->progress.images_per_second = elapsed > 0 ? (double)l->images / elapsed : 0;
        code = us_watch_report(l->watch, &l->progress);
    }
    return code;
}

static int end_epoch(struct loop *l) {
    struct us_trainer *t = l->t;
    double metric = us_nan(), loss = t->state.loss_sum / (double)t->options.steps_per_epoch;
    int64_t epoch = t->state.epoch;
    int best, code = 0;
    if (t->validator)
        code = us_validator_run(t->validator, t, l->watch, &l->progress, &metric);
    if (code)
        return code;
    best = us_schedule_epoch(&t->options, &t->state, metric);
    if (best)
        us_params_copy(&t->best, t->params, t->net);
    l->progress.phase = UNETSTAR_PHASE_EPOCH;
    l->progress.is_best = best;
    l->progress.done = l->progress.total = t->options.steps_per_epoch;
    l->progress.epoch = epoch;
    l->progress.loss = loss;
    l->progress.metric = metric;
    l->progress.best_metric = t->state.best_metric;
    return us_watch_report(l->watch, &l->progress);
}

int us_trainer_fit(struct us_trainer *t, const us_dataset *train_set, const us_dataset *val_set,
                   const struct us_watch *watch) {
    struct loop l;
    int code;
    if (t->state.ended)
        return us_fail(UNETSTAR_ESTATE, "this training has ended; to go on, load its checkpoint into a trainer with more epochs");
    code = us_trainer_set_data(t, train_set, val_set);
    memset(&l, 0, sizeof l);
    l.t = t;
    l.watch = watch;
    l.start = us_clock();
    l.progress.metric = t->state.best_metric;
    while (!code && !t->state.ended) {
        code = run_steps(&l);
        if (!code)
            code = end_epoch(&l);
    }
    return code;
}
