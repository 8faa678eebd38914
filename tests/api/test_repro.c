/*
 * test_repro.c - law 1: the bits of a training do not depend on threads, runner or instruction set. Whole trainings are
 * compared: weights, buffers, moments, logits, best weights, and what a session makes of them.
 */
#include "common.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Recipes: every kind of layer is in one of them ---- */

static void recipe_star(struct recipe *r) {
    recipe_ci(r);
}

static void recipe_concat(struct recipe *r) {
    recipe_ci(r);
    r->model.fusion = UNETSTAR_FUSION_CONCAT;
    r->model.norm = UNETSTAR_NORM_GROUP;
    r->model.activation = UNETSTAR_ACTIVATION_SILU;
    r->model.upsampling = UNETSTAR_UPSAMPLING_TRANSPOSED;
    r->model.deep_supervision = 1;
    r->model.full_resolution_head = 1;
    r->model.in_channels = 3;
    r->model.precision = UNETSTAR_PRECISION_EXACT;
    r->model.levels = 3;
    r->optimizer.kind = UNETSTAR_OPTIMIZER_SGD;
    r->optimizer.learning_rate = 0.01;
    r->optimizer.weight_decay = 1e-4;
    r->trainer.schedule = UNETSTAR_SCHEDULE_PLATEAU;
    r->loss.dice = 1;
    r->trainer.steps_per_epoch = 3;
}

static void recipe_sum(struct recipe *r) {
    recipe_ci(r);
    r->model.fusion = UNETSTAR_FUSION_SUM;
    r->model.norm = UNETSTAR_NORM_INSTANCE;
    r->model.activation = UNETSTAR_ACTIVATION_GELU;
    r->model.upsampling = UNETSTAR_UPSAMPLING_BILINEAR;
    r->model.classes = 3;
    r->model.narrow = 0.2; /* widths that are no multiples of 16 */
    r->model.levels = 3;
    r->optimizer.kind = UNETSTAR_OPTIMIZER_ADAMW;
    r->optimizer.weight_decay = 0.01;
    r->trainer.patch_height = 33; /* odd, not square */
    r->trainer.patch_width = 52;
    r->trainer.masked_loss = 1;
    r->trainer.noise = 0.05f;
    r->trainer.blur = 1;
    r->trainer.color_mix = 0.7f;
    r->trainer.clahe_jitter = 0.7f;
    r->loss.focal = 0.5f;
    r->trainer.steps_per_epoch = 3;
}

static void recipe_star_blocks(struct recipe *r) {
    recipe_ci(r);
    r->model.block = UNETSTAR_BLOCK_STAR;
    r->model.narrow = 0.15;
    r->model.levels = 3;
    r->model.activation = UNETSTAR_ACTIVATION_RELU6;
    r->model.dropout = 0.1;
    r->trainer.steps_per_epoch = 3;
}

static void recipe_depthwise(struct recipe *r) {
    recipe_ci(r);
    r->model.block = UNETSTAR_BLOCK_STAR_DEPTHWISE;
    r->model.fusion_norm = 1;
    r->model.initialization = UNETSTAR_INIT_HE;
    r->model.narrow = 0.15;
    r->model.levels = 2;
    r->trainer.steps_per_epoch = 2;
}

static const struct {
    const char *name;
    void (*make)(struct recipe *);
} recipes[] = {{"star, batch norm, relu, adam, fast", recipe_star},
               {"concat, group norm, silu, transposed, deep, sgd, exact", recipe_concat},
               {"sum, instance norm, gelu, bilinear, 3 classes, adamw, odd sizes", recipe_sum},
               {"star blocks, relu6, dropout", recipe_star_blocks},
               {"depthwise star blocks, norm after fusion, He's weights", recipe_depthwise}};

/* A caller's sense of what a training is: from nothing to the blob. */
static void train(struct blob *blob, unetstar_context *context, const struct recipe *r) {
    struct training t;
    training_open(&t, context, r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(blob, &t, context, r);
    training_close(&t);
}

static void train_as(const struct blob *wanted, const unetstar_context_options *options, const struct recipe *r,
                     const char *what) {
    struct blob blob = {NULL, 0, 0};
    unetstar_context *context;
    const double start = seconds();
    OK(unetstar_context_create(&context, options));
    train(&blob, context, r);
    print_message("  %-22s %-14s %8zu bytes, %.2f s\n", what, unetstar_context_isa(context), blob.size, seconds() - start);
    unetstar_context_destroy(context);
    blobs_equal(wanted, &blob, what);
    blob_free(&blob);
}

/* ---- Runners of a caller ---- */

struct runner {
    int workers, jobs;
    int64_t most;
};

static int run_forwards(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    struct runner *r = (struct runner *)runner;
    int64_t i;
    r->jobs++;
    r->most = n > r->most ? n : r->most;
    for (i = 0; i < n; i++)
        task(opaque, i, 0);
    return 0;
}

static int run_backwards(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    struct runner *r = (struct runner *)runner;
    int64_t i;
    r->jobs++;
    for (i = n - 1; i >= 0; i--)
        task(opaque, i, (int32_t)(i % r->workers));
    return 0;
}

struct share {
    void *opaque;
    unetstar_task_fn task;
    int64_t n, *next;
    int worker;
};

static void *take_tasks(void *argument) {
    struct share *s = (struct share *)argument;
    int64_t i;
    while ((i = __atomic_fetch_add(s->next, 1, __ATOMIC_RELAXED)) < s->n)
        s->task(s->opaque, i, s->worker);
    return NULL;
}

/* Threads of its own for every job: whoever is free takes the next task. */
static int run_pthreads(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    struct runner *r = (struct runner *)runner;
    pthread_t threads[4];
    struct share shares[4];
    int64_t next = 0;
    int k;
    r->jobs++;
    for (k = 0; k < r->workers; k++) {
        shares[k].opaque = opaque;
        shares[k].task = task;
        shares[k].n = n;
        shares[k].next = &next;
        shares[k].worker = k;
        if (pthread_create(&threads[k], NULL, take_tasks, &shares[k]))
            return 1;
    }
    for (k = 0; k < r->workers; k++)
        pthread_join(threads[k], NULL);
    return 0;
}

/* ---- The tests ---- */

static void test_threads_and_runners(void **state) {
    static const struct {
        const char *name;
        unetstar_run_fn run;
        int workers;
    } runners[] = {{"runner, serial", run_forwards, 1},
                   {"runner, backwards", run_backwards, 3},
                   {"runner, 3 pthreads", run_pthreads, 3}};
    int k, threads;
    (void)state;
    for (k = 0; k < COUNT(recipes); k++) {
        struct blob wanted = {NULL, 0, 0};
        struct recipe r;
        unetstar_context_options options;
        unetstar_context *context = make_context(1);
        /* Of a part: three threads, and for the first networks the runners with the tasks spread. */
        const int part = test_part() > 1, first = !part ? 0 : k < 3 ? 1 : COUNT(runners);
        int i;
        recipes[k].make(&r);
        print_message("%s\n", recipes[k].name);
        train(&wanted, context, &r);
        unetstar_context_destroy(context);
        for (threads = part ? 3 : 1; threads <= 3; threads++) {
            char what[32];
            context_options(&options, threads, NULL);
            snprintf(what, sizeof what, "%d thread%s", threads, threads > 1 ? "s" : "");
            train_as(&wanted, &options, &r, what);
        }
        for (i = first; i < COUNT(runners); i++) {
            struct runner runner = {0, 0, 0};
            runner.workers = runners[i].workers;
            context_options(&options, runners[i].workers, NULL);
            options.run = runners[i].run;
            options.runner = &runner;
            train_as(&wanted, &options, &r, runners[i].name);
            assert_true(runner.jobs > 10); /* it was really used */
        }
        blob_free(&wanted);
    }
}

/* Every level between the reference and the best. The plain reference is slow and has a test of its own. */
static void test_instruction_sets(void **state) {
    static const int32_t limits[] = {UNETSTAR_ISA_REFERENCE_FMA, UNETSTAR_ISA_AVX2, UNETSTAR_ISA_AVX512, UNETSTAR_ISA_NEON};
    int k, i, levels = 0;
    char done[160];
    (void)state;
    for (k = 0; k < (test_part() > 1 ? 1 : COUNT(recipes)); k++) {
        struct blob wanted = {NULL, 0, 0};
        struct recipe r;
        unetstar_context *context = make_context(2);
        recipes[k].make(&r);
        r.trainer.epochs = 1;
        r.trainer.steps_per_epoch = 3;
        print_message("%s\n", recipes[k].name);
        train(&wanted, context, &r);
        unetstar_context_destroy(context);
        done[0] = 0;
        for (i = 0; i < COUNT(limits); i++) {
            unetstar_context_options options;
            char name[32];
            context_options(&options, 2, NULL);
            options.isa_limit = limits[i];
            OK(unetstar_context_create(&context, &options));
            snprintf(name, sizeof name, "[%s]", unetstar_context_isa(context));
            unetstar_context_destroy(context);
            if (strstr(done, name) || !strcmp(name, "[reference]"))
                continue; /* this CPU does not have the level: its next lower one was or will be compared */
            strcat(done, name);
            levels++;
            train_as(&wanted, &options, &r, "limit");
        }
        blob_free(&wanted);
    }
    print_message("%d trainings compared\n", levels);
}

/* Stops after the deadline, or after so many steps. */
struct stopper {
    double deadline;
    int64_t steps, limit;
};

static int stop_in_time(void *user, const unetstar_progress *p) {
    struct stopper *s = (struct stopper *)user;
    if (p->phase == UNETSTAR_PHASE_TRAIN)
        s->steps++;
    return (s->limit && s->steps >= s->limit) || (!s->limit && s->steps >= 2 && seconds() > s->deadline);
}

static void test_reference(void **state) {
    const char *budget = getenv("UNETSTAR_TEST_REFERENCE_SECONDS");
    struct blob blobs[2];
    struct stopper stopper;
    int run;
    (void)state;
    memset(blobs, 0, sizeof blobs);
    memset(&stopper, 0, sizeof stopper);
    for (run = 0; run < 2; run++) {
        struct recipe r;
        struct training t;
        unetstar_context_options options;
        unetstar_context *context;
        int code;
        recipe_ci(&r);
        r.trainer.epochs = 1;
        r.trainer.steps_per_epoch = 100;
        r.trainer.validation = UNETSTAR_VALIDATION_NONE;
        context_options(&options, 2, NULL);
        if (run == 0)
            options.isa_limit = UNETSTAR_ISA_REFERENCE;
        OK(unetstar_context_create(&context, &options));
        training_open(&t, context, &r);
        stopper.deadline = seconds() + (budget ? atof(budget) : test_part() > 1 ? 0 : 3);
        stopper.limit = run == 0 ? 0 : stopper.steps;
        stopper.steps = 0;
        code = unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, stop_in_time, &stopper);
        assert_true(code == UNETSTAR_OK || code == UNETSTAR_ECANCELED);
        blob_model(&blobs[run], t.model);
        blob_optimizer(&blobs[run], t.optimizer, t.model);
        blob_session(&blobs[run], context, t.model, UNETSTAR_PRECISION_FAST, 20, 28);
        print_message("  %s: %lld steps\n", unetstar_context_isa(context), (long long)stopper.steps);
        if (run == 0)
            assert_string_equal(unetstar_context_isa(context), "reference");
        training_close(&t);
        unetstar_context_destroy(context);
    }
    assert_true(stopper.steps >= 2);
    blobs_equal(&blobs[0], &blobs[1], "reference against the best level");
    blob_free(&blobs[0]);
    blob_free(&blobs[1]);
}

/* An image gives the same bits at every place of a batch and beside every neighbour, in both precisions. */
static void test_place_in_batch(void **state) {
    enum { H = 50, W = 37, IMAGES = 5 };
    const size_t pixels = (size_t)H * W;
    int32_t precision;
    int threads;
    (void)state;
    for (precision = UNETSTAR_PRECISION_FAST; precision <= UNETSTAR_PRECISION_EXACT; precision++)
        for (threads = 1; threads <= 3; threads++) {
            unetstar_context *context = make_context(threads);
            struct recipe r;
            unetstar_model *model;
            const unetstar_model *list[1];
            unetstar_session *session;
            unetstar_session_options options;
            float *x = (float *)memory(IMAGES * pixels * 4), *alone = (float *)memory(pixels * 4);
            float *batch = (float *)memory(IMAGES * pixels * 4);
            size_t i;
            int place;
            recipe_ci(&r);
            OK(unetstar_model_create(&model, context, &r.model));
            OK(unetstar_session_options_init(&options, sizeof options));
            options.precision = precision;
            list[0] = model;
            OK(unetstar_session_create(&session, context, list, 1, &options));
            for (i = 0; i < pixels; i++)
                x[i] = noise(i);
            OK(unetstar_session_run_tensor(session, 1, H, W, x, alone, NULL));
            for (place = 0; place < IMAGES; place++) {
                for (i = 0; i < IMAGES * pixels; i++)
                    x[i] = i / pixels == (size_t)place ? noise(i % pixels) : 100 * noise(i + 7 * (size_t)place) - 50;
                OK(unetstar_session_run_tensor(session, IMAGES, H, W, x, batch, NULL));
                assert_memory_equal(batch + (size_t)place * pixels, alone, pixels * 4);
                assert_memory_not_equal(batch + (size_t)((place + 1) % IMAGES) * pixels, alone, pixels * 4);
            }
            free(x);
            free(alone);
            free(batch);
            unetstar_session_destroy(session);
            unetstar_model_destroy(model);
            unetstar_context_destroy(context);
        }
    print_message("  2 precisions, 3 thread counts, %d places\n", IMAGES);
}

/* The comparison itself: another seed, or one bit, must be seen. */
static void test_comparison_sees_a_difference(void **state) {
    struct blob a = {NULL, 0, 0}, b = {NULL, 0, 0};
    struct recipe r;
    unetstar_context *context = make_context(1);
    (void)state;
    recipe_tiny(&r);
    r.trainer.epochs = 2;
    train(&a, context, &r);
    train(&b, context, &r);
    assert_true(blob_equal(&a, &b));
    b.data[b.size / 2] ^= 1;
    assert_false(blob_equal(&a, &b));
    blob_free(&b);
    r.trainer.seed++;
    train(&b, context, &r);
    assert_int_equal(a.size, b.size);
    assert_false(blob_equal(&a, &b));
    blob_free(&a);
    blob_free(&b);
    unetstar_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparison_sees_a_difference), cmocka_unit_test(test_threads_and_runners),
        cmocka_unit_test(test_instruction_sets),             cmocka_unit_test(test_reference),
        cmocka_unit_test(test_place_in_batch),
    };
    return cmocka_run_group_tests_name("repro", tests, NULL, NULL);
}
