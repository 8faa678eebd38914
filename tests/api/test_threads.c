/*
 * test_threads.c - several threads of a caller on one context: same bits, also when the pool is busy; cancelling from
 * another thread; callbacks on the calling thread only and never after the call has returned.
 */
#include "common.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALLERS 4
enum { SIDE = 64 };

static void nap(long milliseconds) {
    const struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static unetstar_model *make_model(unetstar_context *context) {
    struct recipe r;
    unetstar_model *model;
    recipe_ci(&r);
    r.model.narrow = 0.125;
    OK(unetstar_model_create(&model, context, &r.model));
    return model;
}

/* cmocka's asserts may be used on the main thread only: callers count what is wrong. */
struct caller {
    unetstar_context *context;
    const unetstar_model *model;
    const float *x, *wanted;
    pthread_barrier_t *start;
    int number, runs, wrong;
    char text[512];
};

static void complain(struct caller *c, int code) {
    if (code && !c->wrong++)
        snprintf(c->text, sizeof c->text, "%d: %s", code, unetstar_last_error());
}

static void *segment_often(void *argument) {
    struct caller *c = (struct caller *)argument;
    unetstar_session *session = NULL;
    float *p = (float *)memory(sizeof(float) * SIDE * SIDE);
    int i;
    pthread_barrier_wait(c->start);
    for (i = 0; i < c->runs; i++) {
        if (i % 4 == 0) { /* sessions come and go while others run */
            unetstar_session_destroy(session);
            complain(c, unetstar_session_create(&session, c->context, &c->model, 1, NULL));
        }
        memset(p, 0, sizeof(float) * SIDE * SIDE);
        complain(c, unetstar_session_run_tensor(session, 1, SIDE, SIDE, c->x, p, NULL));
        if (memcmp(p, c->wanted, sizeof(float) * SIDE * SIDE) && !c->wrong++)
            snprintf(c->text, sizeof c->text, "run %d has other bits", i);
        if (i % 5 == c->number) { /* an error of one thread is not seen by the others */
            if (unetstar_session_run_tensor(session, 1, -c->number - 1, 1, c->x, p, NULL) != UNETSTAR_ESHAPE)
                c->wrong++;
            else {
                char number[16];
                snprintf(number, sizeof number, " %d", -c->number - 1);
                c->wrong += !strstr(unetstar_last_error(), number);
            }
        }
    }
    unetstar_session_destroy(session);
    free(p);
    return NULL;
}

static void test_sessions_of_one_model(void **state) {
    int threads;
    (void)state;
    for (threads = 1; threads <= 3; threads++) {
        struct counter counter;
        unetstar_context *context;
        unetstar_model *model;
        unetstar_session *session;
        const unetstar_model *list[1];
        pthread_barrier_t start;
        pthread_t ids[CALLERS];
        struct caller callers[CALLERS];
        float *x = (float *)memory(sizeof(float) * SIDE * SIDE), *wanted = (float *)memory(sizeof(float) * SIDE * SIDE);
        int i;
        const double begun = seconds();
        memset(&counter, 0, sizeof counter);
        context = make_counted(threads, &counter);
        model = make_model(context);
        for (i = 0; i < SIDE * SIDE; i++)
            x[i] = noise((uint64_t)i);
        list[0] = model;
        OK(unetstar_session_create(&session, context, list, 1, NULL));
        OK(unetstar_session_run_tensor(session, 1, SIDE, SIDE, x, wanted, NULL));
        unetstar_session_destroy(session);
        pthread_barrier_init(&start, NULL, CALLERS);
        memset(callers, 0, sizeof callers);
        for (i = 0; i < CALLERS; i++) {
            callers[i].context = context;
            callers[i].model = model;
            callers[i].x = x;
            callers[i].wanted = wanted;
            callers[i].start = &start;
            callers[i].number = i;
            callers[i].runs = 20;
            assert_int_equal(pthread_create(&ids[i], NULL, segment_often, &callers[i]), 0);
        }
        for (i = 0; i < CALLERS; i++) {
            pthread_join(ids[i], NULL);
            if (callers[i].wrong)
                print_error("caller %d: %d wrong, first %s\n", i, callers[i].wrong, callers[i].text);
            assert_int_equal(callers[i].wrong, 0);
        }
        print_message("  %d callers, a pool of %d: %.2f s\n", CALLERS, threads, seconds() - begun);
        pthread_barrier_destroy(&start);
        free(x);
        free(wanted);
        unetstar_model_destroy(model);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
    }
}

/* ---- A busy pool: trainings side by side on one context ---- */

struct trainee {
    unetstar_context *context;
    struct training t;
    int code;
};

static void *fit_one(void *argument) {
    struct trainee *e = (struct trainee *)argument;
    e->code = unetstar_trainer_fit(e->t.trainer, e->t.set, NULL, NULL, NULL, NULL);
    return NULL;
}

static void test_second_caller_of_a_busy_pool(void **state) {
    struct blob wanted = {NULL, 0, 0};
    struct recipe r;
    struct trainee trainees[3];
    pthread_t ids[3];
    unetstar_context *context = make_context(2);
    int i;
    (void)state;
    recipe_ci(&r);
    r.model.narrow = 0.125;
    r.model.levels = 3;
    r.trainer.steps_per_epoch = 8;
    training_open(&trainees[0].t, context, &r);
    OK(unetstar_trainer_fit(trainees[0].t.trainer, trainees[0].t.set, NULL, NULL, NULL, NULL));
    blob_training(&wanted, &trainees[0].t, context, &r);
    training_close(&trainees[0].t);
    for (i = 0; i < 3; i++) {
        trainees[i].context = context;
        training_open(&trainees[i].t, context, &r);
    }
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, fit_one, &trainees[i]), 0);
    for (i = 0; i < 3; i++) {
        struct blob blob = {NULL, 0, 0};
        pthread_join(ids[i], NULL);
        assert_int_equal(trainees[i].code, 0);
        blob_training(&blob, &trainees[i].t, context, &r);
        blobs_equal(&wanted, &blob, "a training beside others");
        blob_free(&blob);
        training_close(&trainees[i].t);
    }
    print_message("  3 trainings at once on 2 threads: the same bits\n");
    blob_free(&wanted);
    unetstar_context_destroy(context);
}

/* ---- Callbacks ---- */

struct observer {
    pthread_t caller;
    volatile int inside; /* 1 while the call runs */
    int64_t calls, elsewhere, outside;
    int64_t last_done;
    int phase_errors;
};

static void observe(struct observer *o) {
    o->calls++;
    o->elsewhere += !pthread_equal(o->caller, pthread_self());
    o->outside += !o->inside;
}

static int observe_progress(void *user, const unetstar_progress *p) {
    struct observer *o = (struct observer *)user;
    observe(o);
    o->phase_errors += p->struct_size != sizeof *p || p->phase < 0 || p->phase > UNETSTAR_PHASE_SEGMENT || p->done < 1 ||
                       p->done > p->total;
    return 0;
}

static void *observe_alloc(void *user, size_t size, size_t alignment) {
    void *block = NULL;
    observe((struct observer *)user);
    return posix_memalign(&block, alignment, size) ? NULL : block;
}
static void observe_free(void *user, void *pointer, size_t size) {
    (void)size;
    observe((struct observer *)user);
    free(pointer);
}

static void test_callbacks_on_the_calling_thread(void **state) {
    struct observer progress, memory_calls;
    unetstar_context_options options;
    unetstar_context *context;
    unetstar_session *session;
    const unetstar_model *list[1];
    struct recipe r;
    struct training t;
    unetstar_image image;
    static uint8_t pixels[SIDE * SIDE];
    static float p[SIDE * SIDE];
    (void)state;
    memset(&progress, 0, sizeof progress);
    memset(&memory_calls, 0, sizeof memory_calls);
    progress.caller = memory_calls.caller = pthread_self();
    memory_calls.inside = 1;
    context_options(&options, 3, NULL);
    options.alloc = observe_alloc;
    options.free = observe_free;
    options.alloc_user = &memory_calls;
    OK(unetstar_context_create(&context, &options));
    recipe_ci(&r);
    r.model.narrow = 0.125;
    training_open(&t, context, &r);
    progress.inside = 1;
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, observe_progress, &progress));
    progress.inside = 0;
    assert_true(progress.calls >= 12);
    list[0] = t.model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.width = image.height = SIDE;
    progress.calls = 0;
    progress.inside = 1;
    OK(unetstar_session_run(session, &image, NULL, p, NULL, observe_progress, &progress));
    progress.inside = 0;
    assert_true(progress.calls >= 1);
    nap(100); /* nothing comes later */
    unetstar_session_destroy(session);
    training_close(&t);
    unetstar_context_destroy(context);
    print_message("  %lld progress reports of a run, %lld calls of the allocator\n", (long long)progress.calls,
                  (long long)memory_calls.calls);
    assert_int_equal(progress.elsewhere + progress.outside + progress.phase_errors, 0);
    assert_int_equal(memory_calls.elsewhere, 0);
}

/* ---- Cancelling ---- */

static void *request_soon(void *argument) {
    nap(30);
    unetstar_cancel_request((unetstar_cancel *)argument);
    return NULL;
}

static unetstar_cancel *signal_token;
static void on_signal(int number) {
    (void)number;
    unetstar_cancel_request(signal_token);
}

static void test_cancel(void **state) {
    enum { LARGE = 1024 };
    unetstar_context *context = make_context(2);
    unetstar_cancel *cancel;
    unetstar_model *model;
    unetstar_session *session;
    const unetstar_model *list[1];
    struct recipe r;
    struct training t;
    struct blob before = {NULL, 0, 0}, after = {NULL, 0, 0};
    pthread_t id;
    float *x = (float *)memory(sizeof(float) * LARGE * LARGE), *p = (float *)memory(sizeof(float) * LARGE * LARGE);
    double begun, whole;
    int i;
    (void)state;
    for (i = 0; i < LARGE * LARGE; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_cancel_create(&cancel, context));
    assert_int_equal(unetstar_cancel_requested(cancel), 0);
    recipe_ci(&r);
    r.trainer.epochs = 1000000;
    r.trainer.early_stop = 0;
    training_open(&t, context, &r);
    assert_int_equal(pthread_create(&id, NULL, request_soon, cancel), 0);
    begun = seconds();
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, cancel, NULL, NULL));
    print_message("  fit stopped after %.3f s\n", seconds() - begun);
    pthread_join(id, NULL);
    assert_int_equal(unetstar_cancel_requested(cancel), 1); /* until it is reset */
    FAILS(UNETSTAR_ECANCELED, unetstar_trainer_fit(t.trainer, t.set, NULL, cancel, NULL, NULL));
    training_close(&t);

    model = make_model(context);
    blob_session(&before, context, model, UNETSTAR_PRECISION_FAST, 40, 40);
    list[0] = model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    FAILS(UNETSTAR_ECANCELED, unetstar_session_run_tensor(session, 1, LARGE, LARGE, x, p, cancel));
    unetstar_cancel_reset(cancel);
    begun = seconds();
    OK(unetstar_session_run_tensor(session, 1, LARGE, LARGE, x, p, cancel));
    whole = seconds() - begun;
    signal_token = cancel;
    signal(SIGALRM, on_signal);
    signal(SIGUSR1, on_signal);
    assert_int_equal(raise(SIGUSR1), 0); /* from a signal handler */
    begun = seconds();
    FAILS(UNETSTAR_ECANCELED, unetstar_session_run_tensor(session, 1, LARGE, LARGE, x, p, cancel));
    print_message("  a run takes %.3f s, a cancelled one %.3f s\n", whole, seconds() - begun);
    assert_true(seconds() - begun < whole / 2 + 0.2);
    unetstar_cancel_reset(cancel);
    unetstar_session_destroy(session);
    blob_session(&after, context, model, UNETSTAR_PRECISION_FAST, 40, 40);
    blobs_equal(&before, &after, "after a cancelled run");
    blob_free(&before);
    blob_free(&after);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    unetstar_cancel_destroy(cancel);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    free(x);
    free(p);
}

/* ---- A runner that fails ---- */

static int refuse(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    int64_t i;
    if (--*(int *)runner < 0)
        return 42;
    for (i = 0; i < n; i++)
        task(opaque, i, 0);
    return 0;
}

static void test_failing_runner(void **state) {
    unetstar_context_options options;
    unetstar_context *context;
    struct counter counter;
    struct recipe r;
    int jobs, k, users = 0;
    (void)state;
    for (k = 0; k < 60; k += 3) {
        struct training t;
        int code;
        memset(&counter, 0, sizeof counter);
        jobs = 1 << 30;
        context_options(&options, 1, &counter);
        options.run = refuse;
        options.runner = &jobs;
        OK(unetstar_context_create(&context, &options));
        recipe_ci(&r);
        r.model.narrow = 0.0625;
        r.model.levels = 2;
        r.trainer.steps_per_epoch = 1;
        r.trainer.epochs = 1;
        training_open(&t, context, &r);
        jobs = k;
        code = unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL);
        if (code) {
            FAILS_NAMING(UNETSTAR_EUSER, "42", code);
            users++;
        }
        training_close(&t);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
    }
    print_message("  %d of 20 trainings stopped by their runner\n", users);
    assert_true(users > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_of_one_model),
        cmocka_unit_test(test_second_caller_of_a_busy_pool),
        cmocka_unit_test(test_callbacks_on_the_calling_thread),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_failing_runner),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
