/*
 * test_resume.c - law 4: a training that was stopped, saved, and loaded into a new process' objects with another thread
 * count ends with the bits of one that never stopped.
 */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tear_down(void **state) {
    (void)state;
    leave_folder();
    return 0;
}

/* Cancels at the limit-th report of a phase (-1: of any phase). */
struct stopper {
    int phase;
    int64_t limit, seen;
    unetstar_cancel *cancel; /* if given, by the token instead of the callback's result */
};

static int stop_at(void *user, const unetstar_progress *p) {
    struct stopper *s = (struct stopper *)user;
    if ((s->phase < 0 || p->phase == s->phase) && ++s->seen == s->limit) {
        if (!s->cancel)
            return 1;
        unetstar_cancel_request(s->cancel);
    }
    return 0;
}

static void never_stopped(struct blob *blob, const struct recipe *r) {
    unetstar_context *context = make_context(2);
    struct training t;
    training_open(&t, context, r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(blob, &t, context, r);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* A new "process": other threads, other initial weights; everything comes from the checkpoint. */
static unetstar_context *restart(struct training *t, const struct recipe *r, int threads, const char *path) {
    unetstar_context *context = make_context(threads);
    struct recipe other = *r;
    other.model.seed += 17;
    training_open(t, context, &other);
    OK(unetstar_trainer_load(t->trainer, path));
    return context;
}

/* Stops after each of the numbers of reports in `cuts`, each time in a new context. */
static void check_cuts(const struct recipe *r, const struct blob *wanted, int phase, const int64_t *cuts, int n_cuts,
                       const char *what) {
    const char *path = path_of("resume.safetensors");
    char text[160] = "";
    struct blob blob = {NULL, 0, 0};
    struct training t;
    unetstar_context *context = make_context(1);
    int k;
    training_open(&t, context, r);
    for (k = 0; k < n_cuts; k++) {
        struct stopper s = {0, 0, 0, NULL};
        unetstar_cancel *cancel = NULL;
        s.phase = phase;
        s.limit = cuts[k];
        if (k % 2)
            OK(unetstar_cancel_create(&cancel, context));
        s.cancel = cancel;
        FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, cancel, stop_at, &s));
        unetstar_cancel_destroy(cancel);
        OK(unetstar_trainer_save(t.trainer, path));
        training_close(&t);
        unetstar_context_destroy(context);
        context = restart(&t, r, 1 + (k + 1) % 3, path);
        snprintf(text + strlen(text), sizeof text - strlen(text), " %lld", (long long)cuts[k]);
    }
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&blob, &t, context, r);
    print_message("  %s: stopped after%s more reports\n", what, text);
    blobs_equal(wanted, &blob, what);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
}

static void recipe_resume(struct recipe *r, int variant) {
    recipe_ci(r);
    r->model.narrow = 0.125;
    r->model.levels = 3;
    r->trainer.epochs = 4;
    r->trainer.steps_per_epoch = 4;
    r->trainer.early_stop = 0;
    if (variant == 1) {
        r->trainer.schedule = UNETSTAR_SCHEDULE_PLATEAU;
        r->trainer.plateau_patience = 0;
        r->trainer.metric = UNETSTAR_METRIC_LOSS;
        r->optimizer.kind = UNETSTAR_OPTIMIZER_SGD;
        r->optimizer.learning_rate = 0.3; /* so that not every epoch is the best */
        r->trainer.noise = 0.05f;
        r->trainer.blur = 1;
        r->trainer.color_mix = 0.7f;
        r->trainer.clahe_jitter = 0.7f;
    }
    if (variant == 2) {
        r->trainer.schedule = UNETSTAR_SCHEDULE_CONSTANT;
        r->trainer.metric = UNETSTAR_METRIC_F1;
        r->optimizer.kind = UNETSTAR_OPTIMIZER_ADAMW;
        r->optimizer.weight_decay = 0.1;
        r->model.norm = UNETSTAR_NORM_GROUP;
        r->model.deep_supervision = 1;
    }
    if (variant == 3) {
        r->model.block = UNETSTAR_BLOCK_STAR_DEPTHWISE;
        r->model.fusion_norm = 1;
        r->model.dropout = 0.1;
    }
}

static void test_random_steps(void **state) {
    const char *seed_text = getenv("UNETSTAR_TEST_SEED");
    uint64_t seed = seed_text ? (uint64_t)strtoull(seed_text, NULL, 10) : 1;
    int variant, run;
    (void)state;
    print_message("  UNETSTAR_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (variant = 0; variant < 4; variant++) {
        struct blob wanted = {NULL, 0, 0};
        struct recipe r;
        recipe_resume(&r, variant);
        never_stopped(&wanted, &r);
        for (run = 0; run < (variant < 3 && test_part() == 1 ? 3 : 1); run++) {
            int64_t cuts[3];
            int k;
            for (k = 0; k < 3; k++) /* of 16 steps; the three together leave one at least */
                cuts[k] = 1 + (int64_t)(5 * noise(seed * 100 + (uint64_t)(variant * 10 + run * 3 + k)));
            check_cuts(&r, &wanted, UNETSTAR_PHASE_TRAIN, cuts, 3, "random steps");
        }
        blob_free(&wanted);
    }
}

static void test_epoch_ends_and_validation(void **state) {
    static const int64_t ones[] = {1, 1, 1};
    struct blob wanted = {NULL, 0, 0};
    struct recipe r;
    (void)state;
    recipe_resume(&r, 0);
    never_stopped(&wanted, &r);
    check_cuts(&r, &wanted, UNETSTAR_PHASE_EPOCH, ones, 3, "every epoch end but the last");
    check_cuts(&r, &wanted, UNETSTAR_PHASE_VALIDATE, ones, 3, "in the validation");
    blob_free(&wanted);
}

/* The same trainer, stopped at every single report, goes on each time. */
static void test_stopped_at_every_report(void **state) {
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    unetstar_context *context = make_context(3);
    int stops = 0, code;
    (void)state;
    recipe_resume(&r, 0);
    r.trainer.validation_fraction = 0.1; /* one patch: validation starts anew each time, so it must fit into one report */
    never_stopped(&wanted, &r);
    training_open(&t, context, &r);
    for (;;) {
        struct stopper s = {-1, 1, 0, NULL};
        if (stops % 2)
            s.phase = UNETSTAR_PHASE_TRAIN; /* so that validations end, too */
        code = unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, stop_at, &s);
        if (code != UNETSTAR_ECANCELED)
            break;
        stops++;
        assert_true(stops < 100);
    }
    OK(code);
    print_message("  %d stops\n", stops);
    assert_true(stops > 15);
    blob_training(&blob, &t, context, &r);
    blobs_equal(&wanted, &blob, "stopped at every report");
    blob_free(&wanted);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* An interruption at the last report of all: everything is done, only the answer is lost. */
static void test_stopped_at_the_very_end(void **state) {
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    struct stopper s = {UNETSTAR_PHASE_EPOCH, 0, 0, NULL};
    unetstar_context *context = make_context(2);
    (void)state;
    recipe_resume(&r, 0);
    never_stopped(&wanted, &r);
    training_open(&t, context, &r);
    s.limit = r.trainer.epochs;
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, stop_at, &s));
    FAILS_NAMING(UNETSTAR_ESTATE, "ended", unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&blob, &t, context, &r);
    blobs_equal(&wanted, &blob, "stopped at the last report");
    blob_free(&wanted);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* Raised epochs go on where a finished training ended, with the bits of one that had them from the start (a constant rate). */
static void test_more_epochs(void **state) {
    const char *path = path_of("more.safetensors");
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    unetstar_context *context = make_context(1);
    (void)state;
    recipe_resume(&r, 2);
    never_stopped(&wanted, &r);
    r.trainer.epochs = 2;
    training_open(&t, context, &r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    OK(unetstar_trainer_save(t.trainer, path));
    training_close(&t);
    unetstar_context_destroy(context);
    r.trainer.epochs = 4;
    context = restart(&t, &r, 2, path);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&blob, &t, context, &r);
    blobs_equal(&wanted, &blob, "two more epochs");
    blob_free(&wanted);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
}

static unetstar_trainer_state state_of(const unetstar_trainer *trainer) {
    unetstar_trainer_state s;
    s.struct_size = sizeof s;
    OK(unetstar_trainer_get_state(trainer, &s));
    assert_int_equal(s.struct_size, sizeof s);
    return s;
}

/* What the reports of a training say, beside the state at that moment. */
struct witness {
    const unetstar_trainer *trainer;
    int64_t epochs, best_epoch, steps_an_epoch;
    double best_metric;
};

static int compare_state(void *user, const unetstar_progress *p) {
    struct witness *w = (struct witness *)user;
    const unetstar_trainer_state s = state_of(w->trainer);
    if (p->phase == UNETSTAR_PHASE_EPOCH) {
        w->epochs++;
        if (p->is_best) {
            w->best_epoch = p->epoch;
            w->best_metric = p->metric;
        }
        assert_int_equal(s.steps, 0);
        assert_int_equal(s.ended, p->epoch + 1 == p->epochs);
    } else if (p->phase == UNETSTAR_PHASE_TRAIN) {
        assert_int_equal(s.steps, p->done);
        assert_int_equal(s.ended, 0);
    }
    assert_int_equal(s.epochs, w->epochs);
    assert_int_equal(s.total_steps, w->epochs * w->steps_an_epoch + s.steps);
    assert_int_equal(s.best_epoch, w->best_epoch);
    assert_true(w->best_epoch < 0 ? isnan(s.best_metric) : s.best_metric == w->best_metric);
    assert_int_equal(s.best_used, 0);
    return p->phase == UNETSTAR_PHASE_TRAIN && p->epoch == 1 && p->done == 3;
}

/* The state of a new trainer, at every report, stopped in the middle, loaded elsewhere, ended, the best taken. */
static void test_state(void **state) {
    const char *path = path_of("state.safetensors");
    unetstar_trainer_state s, stopped;
    struct witness w = {NULL, 0, -1, 0, 0};
    struct recipe r;
    struct training t;
    unetstar_context *context = make_context(1);
    (void)state;
    recipe_resume(&r, 0);
    training_open(&t, context, &r);
    s = state_of(t.trainer);
    assert_true(!s.epochs && !s.steps && !s.total_steps && s.best_epoch == -1 && isnan(s.best_metric));
    assert_true(!s.ended && !s.best_used);
    w.trainer = t.trainer;
    w.steps_an_epoch = r.trainer.steps_per_epoch;
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, compare_state, &w));
    stopped = state_of(t.trainer);
    assert_true(stopped.epochs == 1 && stopped.steps == 3 && stopped.total_steps == 7 && !stopped.ended);
    assert_true(stopped.best_epoch == 0 && stopped.best_metric == w.best_metric);
    OK(unetstar_trainer_save(t.trainer, path));
    OK(unetstar_trainer_use_best(t.trainer));
    assert_int_equal(state_of(t.trainer).best_used, 1);
    training_close(&t);
    unetstar_context_destroy(context);
    context = restart(&t, &r, 2, path);
    s = state_of(t.trainer);
    assert_memory_equal(&stopped, &s, sizeof s); /* no padding */
    w.trainer = t.trainer;
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, compare_state, &w));
    s = state_of(t.trainer);
    assert_true(s.epochs == 4 && s.steps == 0 && s.total_steps == 16 && s.ended && s.best_epoch == w.best_epoch);
    assert_true(s.best_metric == w.best_metric);
    OK(unetstar_trainer_load(t.trainer, path));
    s = state_of(t.trainer);
    assert_memory_equal(&stopped, &s, sizeof s);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* fit is made of the step functions: the same numbers by hand, without validation. */
static void test_steps_by_hand(void **state) {
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    unetstar_context *context = make_context(2);
    size_t pixels;
    float *x;
    uint8_t *label, *mask;
    double loss;
    int64_t step, i;
    (void)state;
    recipe_resume(&r, 0);
    r.trainer.epochs = 1;
    r.trainer.validation = UNETSTAR_VALIDATION_NONE;
    pixels = (size_t)r.trainer.patch_height * (size_t)r.trainer.patch_width;
    x = (float *)memory(pixels * 4 * (size_t)r.trainer.batch_size);
    label = (uint8_t *)memory(pixels * (size_t)r.trainer.batch_size);
    mask = (uint8_t *)memory(pixels * (size_t)r.trainer.batch_size);
    never_stopped(&wanted, &r);
    training_open(&t, context, &r);
    for (step = 0; step < r.trainer.steps_per_epoch; step++) {
        for (i = 0; i < r.trainer.batch_size; i++)
            OK(unetstar_trainer_patch(t.trainer, t.set, 0, step * r.trainer.batch_size + i, x + (size_t)i * pixels,
                                      label + (size_t)i * pixels, mask + (size_t)i * pixels));
        OK(unetstar_trainer_forward(t.trainer, r.trainer.batch_size, x));
        OK(unetstar_trainer_loss(t.trainer, label, NULL, &loss));
        OK(unetstar_trainer_backward(t.trainer));
        OK(unetstar_trainer_step(t.trainer, -1));
    }
    blob_training(&blob, &t, context, &r);
    blobs_equal(&wanted, &blob, "steps by hand");
    blob_free(&wanted);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
    free(x);
    free(label);
    free(mask);
}

/* The test can fail: a checkpoint whose moments are another step's does not end with the same bits. */
static void test_comparison_sees_a_lost_moment(void **state) {
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    struct stopper s = {UNETSTAR_PHASE_TRAIN, 6, 0, NULL};
    unetstar_context *context = make_context(1);
    const char *path = path_of("weights.safetensors");
    unetstar_model *model;
    (void)state;
    recipe_resume(&r, 0);
    never_stopped(&wanted, &r);
    training_open(&t, context, &r);
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, stop_at, &s));
    OK(unetstar_model_save(t.model, path)); /* weights alone, into a new trainer */
    OK(unetstar_model_load(&model, context, path));
    unetstar_trainer_destroy(t.trainer);
    unetstar_optimizer_destroy(t.optimizer);
    unetstar_model_destroy(t.model);
    t.model = model;
    OK(unetstar_optimizer_create(&t.optimizer, t.model, &r.optimizer));
    OK(unetstar_trainer_create(&t.trainer, t.model, t.optimizer, &r.trainer, &r.loss));
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&blob, &t, context, &r);
    assert_int_equal(wanted.size, blob.size);
    assert_false(blob_equal(&wanted, &blob));
    blob_free(&wanted);
    blob_free(&blob);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* A checkpoint from before an option was there: it is off in it. (The option's name is changed to an unknown one.) */
static void test_checkpoints_without_newer_options(void **state) {
    static const char *const names[] = {"trainer.noise", "trainer.blur", "trainer.color_mix", "trainer.clahe_jitter"};
    const char *path = path_of("older.safetensors");
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct recipe r;
    struct training t;
    struct stopper s = {UNETSTAR_PHASE_TRAIN, 6, 0, NULL};
    unetstar_context *context = make_context(1);
    size_t size, i;
    unsigned char *file;
    int k, found = 0;
    (void)state;
    recipe_resume(&r, 0);
    never_stopped(&wanted, &r);
    training_open(&t, context, &r);
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, stop_at, &s));
    OK(unetstar_trainer_save(t.trainer, path));
    training_close(&t);
    unetstar_context_destroy(context);
    file = read_file(path, &size);
    for (k = 0; k < COUNT(names); k++)
        for (i = 0; i + strlen(names[k]) < size; i++)
            if (!memcmp(file + i, names[k], strlen(names[k]))) {
                file[i + strlen(names[k]) - 1] = 'X';
                found++;
            }
    assert_int_equal(found, COUNT(names));
    write_file(path, file, size);
    free(file);
    context = restart(&t, &r, 2, path);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&blob, &t, context, &r);
    blobs_equal(&wanted, &blob, "from an older checkpoint");
    training_close(&t);
    r.trainer.color_mix = 0.5f;
    training_open(&t, context, &r);
    FAILS_NAMING(UNETSTAR_ESTATE, "color_mix is 0 there", unetstar_trainer_load(t.trainer, path));
    training_close(&t);
    blob_free(&wanted);
    blob_free(&blob);
    unetstar_context_destroy(context);
}

/* ---- A look at the network while it trains ---- */

struct look {
    unetstar_context *context;
    const unetstar_model *model;
    float last[16 * 16];
    int looks, changes;
};

static void segment_noise(unetstar_context *context, const unetstar_model *model, float p[16 * 16]) {
    unetstar_session *session;
    float x[16 * 16];
    int i;
    for (i = 0; i < 16 * 16; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_session_create(&session, context, &model, 1, NULL));
    OK(unetstar_session_run_tensor(session, 1, 16, 16, x, p, NULL));
    unetstar_session_destroy(session);
}

/* A session of the model is one of what would be saved now. */
static int look_at(void *user, const unetstar_progress *progress) {
    struct look *look = (struct look *)user;
    float p[16 * 16], of_saved[16 * 16];
    unetstar_model *saved;
    (void)progress;
    segment_noise(look->context, look->model, p);
    OK(unetstar_model_save(look->model, path_of("look.safetensors")));
    OK(unetstar_model_load(&saved, look->context, path_of("look.safetensors")));
    segment_noise(look->context, saved, of_saved);
    unetstar_model_destroy(saved);
    assert_memory_equal(p, of_saved, sizeof p);
    look->changes += look->looks++ > 0 && memcmp(p, look->last, sizeof p) != 0;
    memcpy(look->last, p, sizeof p);
    return 0;
}

static void test_sessions_in_progress_callbacks(void **state) {
    unetstar_context *context = make_context(2);
    struct recipe r;
    struct training t;
    struct look look;
    (void)state;
    recipe_tiny(&r);
    r.trainer.epochs = 3;
    r.trainer.steps_per_epoch = 2;
    training_open(&t, context, &r);
    memset(&look, 0, sizeof look);
    look.context = context;
    look.model = t.model;
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, look_at, &look));
    assert_true(look.looks >= 6);
    assert_int_equal(look.changes, 5); /* every step but the first to be seen */
    training_close(&t);
    unetstar_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_steps),           cmocka_unit_test(test_epoch_ends_and_validation),
        cmocka_unit_test(test_stopped_at_every_report), cmocka_unit_test(test_stopped_at_the_very_end),
        cmocka_unit_test(test_more_epochs),             cmocka_unit_test(test_state),
        cmocka_unit_test(test_steps_by_hand),
        cmocka_unit_test(test_comparison_sees_a_lost_moment),
        cmocka_unit_test(test_checkpoints_without_newer_options),
        cmocka_unit_test(test_sessions_in_progress_callbacks),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, tear_down);
}
