/* checkpoint.c - exported: saving and loading everything a resumed training needs. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

static struct us_params moments(float *arena) {
    struct us_params p;
    p.arena = arena;
    p.buffers = NULL;
    p.batches = NULL;
    return p;
}

static int bundle_checkpoint(struct us_bundle *b, const unetstar_trainer *trainer) {
    const struct us_trainer *t = trainer->trainer;
    const struct us_optim *o = t->optim;
    const struct us_params first = moments(o->first), second = moments(o->second);
    char steps[24];
    int code = us_bundle_model(b, trainer->model);
    snprintf(steps, sizeof steps, "%lld", (long long)o->steps);
    code = code ? code : us_bundle_meta(b, "unetstar.optimizer.steps", steps);
    code = code ? code : us_bundle_fields(b, "unetstar.optimizer.", us_optimizer_fields, &o->options);
    code = code ? code : us_bundle_fields(b, "unetstar.trainer.", us_trainer_fields, &t->options);
    code = code ? code : us_bundle_fields(b, "unetstar.loss.", us_loss_fields, &t->loss);
    code = code ? code : us_bundle_fields(b, "unetstar.state.", us_state_fields, &t->state);
    code = code ? code : us_bundle_params(b, "optimizer.first.", t->net, &first);
    code = code ? code : us_bundle_params(b, "optimizer.second.", t->net, &second);
    if (!code && t->state.best_epoch >= 0)
        code = us_bundle_params(b, "best.", t->net, &t->best);
    return code;
}

int unetstar_trainer_save(const unetstar_trainer *trainer, const char *path) {
    struct us_bundle b;
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(path, "path");
    if (code)
        return code;
    if (trainer->spent)
        return us_fail(UNETSTAR_ESTATE, "the best weights were put into the model: save the model instead");
    us_fp_enter();
    us_bundle_init(&b, trainer->model->ctx);
    code = bundle_checkpoint(&b, trainer);
    if (!code)
        code = us_bundle_write(&b, path);
    us_bundle_free(&b);
    us_fp_leave();
    return code;
}

/* ---- Loading ---- */

/* Whether count a is below count b. */
static int fewer(const char *a, const char *b) {
    int64_t x, y;
    return !us_integer_parse(a, strlen(a), &x) && !us_integer_parse(b, strlen(b), &y) && x < y;
}

/* ESTATE naming the first option in which the checkpoint differs from ours; `free_field` may differ, epochs
 * only grow. */
static int compare_fields(const struct us_st_file *file, const char *prefix, const struct us_field *fields, const void *ours,
                          const char *free_field) {
    for (; fields->name; fields++) {
        char key[80], text[US_FIELD_TEXT];
        const char *theirs;
        snprintf(key, sizeof key, "%s%s", prefix, fields->name);
        theirs = us_st_meta_get(file, key);
        theirs = theirs ? theirs : fields->absent;
        if (!theirs)
            return us_fail(UNETSTAR_EFORMAT, "metadata %s is missing: it is not a training checkpoint", key);
        us_field_format(fields, ours, text);
        if (!strcmp(fields->name, free_field) && (strcmp(free_field, "epochs") || !fewer(text, theirs)))
            continue;
        if (strcmp(theirs, text))
            return us_fail(UNETSTAR_ESTATE, "it was made with another setting: %s is %.40s there and %.40s here", fields->name,
                           theirs, text);
    }
    return 0;
}

static int compare_options(const struct us_st_file *file, const unetstar_trainer *trainer) {
    const struct us_trainer *t = trainer->trainer;
    const char *numerics = us_st_meta_get(file, "unetstar.numerics");
    const char *prep = us_st_meta_get(file, "unetstar.prep");
    char ours[16], our_prep[US_PREP_TEXT];
    int code = compare_fields(file, "unetstar.model.", us_model_fields, &t->net->options, "seed");
    us_prep_format(our_prep, &trainer->model->prep);
    if (!code && prep && strcmp(prep, our_prep))
        code = us_fail(UNETSTAR_ESTATE, "it was made with another preprocessing: %.160s", prep);
    code = code ? code : compare_fields(file, "unetstar.trainer.", us_trainer_fields, &t->options, "epochs");
    code = code ? code : compare_fields(file, "unetstar.loss.", us_loss_fields, &t->loss, "");
    code = code ? code : compare_fields(file, "unetstar.optimizer.", us_optimizer_fields, &t->optim->options, "");
    snprintf(ours, sizeof ours, "%d", UNETSTAR_NUMERICS_VERSION);
    if (!code && numerics && strcmp(numerics, ours))
        us_note(t->ctx, UNETSTAR_LOG_WARNING,
                "the checkpoint was made with numerics version %.20s, this is %s: the resumed training will not have the bits "
                "of one that was never stopped",
                numerics, ours);
    return code;
}

/* Everything of a checkpoint, read before any of it is used. */
struct loaded {
    struct us_params params, first, second, best;
    struct us_trainer_state state;
    int64_t steps;
};

static void free_loaded(us_context *ctx, struct loaded *l) {
    us_params_destroy(ctx, &l->params);
    us_params_destroy(ctx, &l->first);
    us_params_destroy(ctx, &l->second);
    us_params_destroy(ctx, &l->best);
}

static int read_moment(const struct us_st_file *file, const char *prefix, const struct us_net *net, struct us_params *into) {
    struct us_params view = moments(into->arena);
    return us_read_params(file, prefix, net, &view);
}

static int check_state(const struct us_trainer *t, const struct loaded *l) {
    const struct us_trainer_state *s = &l->state;
    if (s->epoch < 0 || s->step < 0 || s->step > t->options.steps_per_epoch || s->total_steps < 0 || l->steps < 0 ||
        s->bad_epochs < 0 || s->plateau_bad < 0 || s->ended < 0 || s->ended > 1 || s->best_epoch < -1)
        return us_fail(UNETSTAR_EFORMAT, "its counters are not those of a training");
    return 0;
}

static int read_checkpoint(const struct us_st_file *file, const struct us_trainer *t, struct loaded *l) {
    const struct us_net *net = t->net;
    const char *steps = us_st_meta_get(file, "unetstar.optimizer.steps");
    int code = us_params_create(&l->params, t->ctx, net);
    code = code ? code : us_params_create(&l->first, t->ctx, net);
    code = code ? code : us_params_create(&l->second, t->ctx, net);
    code = code ? code : us_params_create(&l->best, t->ctx, net);
    code = code ? code : us_read_params(file, "", net, &l->params);
    code = code ? code : read_moment(file, "optimizer.first.", net, &l->first);
    if (!code && t->optim->second)
        code = read_moment(file, "optimizer.second.", net, &l->second);
    code = code ? code : us_read_fields(file, "unetstar.state.", us_state_fields, &l->state);
    if (!code && l->state.best_epoch >= 0)
        code = us_read_params(file, "best.", net, &l->best);
    if (!code && (!steps || us_integer_parse(steps, strlen(steps), &l->steps)))
        code = us_fail(UNETSTAR_EFORMAT, "metadata unetstar.optimizer.steps cannot be read");
    return code ? code : check_state(t, l);
}

static void use_checkpoint(unetstar_trainer *trainer, const struct loaded *l) {
    struct us_trainer *t = trainer->trainer;
    const size_t bytes = t->net->n_params * sizeof(float);
    us_params_copy(&trainer->model->params, &l->params, t->net);
    us_params_copy(&t->best, &l->best, t->net);
    memcpy(t->optim->first, l->first.arena, bytes);
    if (t->optim->second)
        memcpy(t->optim->second, l->second.arena, bytes);
    t->optim->steps = l->steps;
    t->state = l->state;
    /* More epochs than before: a training that had reached its limit goes on. */
    if (t->state.ended && t->state.epoch < t->options.epochs &&
        !(t->options.early_stop > 0 && t->state.bad_epochs >= t->options.early_stop))
        t->state.ended = 0;
    trainer->spent = 0;
    us_model_touch(trainer->model);
}

int unetstar_trainer_load(unetstar_trainer *trainer, const char *path) {
    struct us_st_file *file = NULL;
    struct loaded l;
    void *data = NULL;
    size_t size;
    us_context *ctx;
    int code = us_need(trainer, "trainer");
    code = code ? code : us_need(path, "path");
    if (code)
        return code;
    ctx = trainer->model->ctx;
    memset(&l, 0, sizeof l);
    us_fp_enter();
    code = us_file_read(ctx, path, &data, &size);
    if (!code) {
        code = us_st_parse(&file, ctx, data, size);
        code = code ? code : compare_options(file, trainer);
        code = code ? code : read_checkpoint(file, trainer->trainer, &l);
        if (!code)
            use_checkpoint(trainer, &l);
        else
            us_fail_in(code, path);
        us_st_close(file);
        us_free(ctx, data);
    }
    free_loaded(ctx, &l);
    us_fp_leave();
    return code;
}
