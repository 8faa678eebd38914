/*
 * test_stream_threads.c - sessions of one model in many threads at once, streaming and whole, on one context and on
 * several: the same bits; and a session more costs next to nothing.
 */
#include "rows.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLERS 8
enum { W = 37, H = 50, RUNS = 4 };

/* cmocka's asserts may be used on the main thread only: callers count what is wrong. */
struct caller {
    unetstar_context *context;
    unetstar_model *const *models;
    const struct picture *p;
    const float *wanted;
    pthread_barrier_t *start;
    int number, wrong;
    float got[W * H];
    char text[256];
};

static void complain(struct caller *c, int code, const char *what) {
    if (code && !c->wrong++)
        snprintf(c->text, sizeof c->text, "%s: %d, %s", what, code, unetstar_last_error());
}

static void *segment(void *argument) {
    struct caller *c = (struct caller *)argument;
    unetstar_session *session = NULL;
    unetstar_session_options o;
    unetstar_source source;
    struct rows rows;
    int i;
    pthread_barrier_wait(c->start);
    for (i = 0; i < RUNS; i++) {
        if (i % 2 == 0) { /* sessions come and go while others run */
            unetstar_session_destroy(session);
            complain(c, unetstar_session_options_init(&o, sizeof o), "options");
            o.plan = (c->number + i / 2) % 2 ? UNETSTAR_PLAN_WHOLE : UNETSTAR_PLAN_STREAM;
            o.max_width = c->number & 2 ? W : 0;
            o.max_height = c->number & 2 ? H : 0;
            complain(c, unetstar_session_create(&session, c->context, (const unetstar_model *const *)c->models, 2, &o),
                     "create");
        }
        memset(c->got, 0xff, sizeof c->got);
        rows_open(&rows, &source, c->p, 1, c->got);
        if (c->number & 4)
            complain(c, unetstar_session_run(session, &c->p->image, NULL, c->got, NULL, NULL, NULL), "run");
        else
            complain(c, unetstar_session_run_rows(session, &source, rows_write, &rows, NULL), "run_rows");
        complain(c, memcmp(c->got, c->wanted, sizeof c->got) != 0 || rows.wrong, "other bits");
    }
    unetstar_session_destroy(session);
    return NULL;
}

/* threads: of the shared context, or 0: a context of each caller's own, of one or two threads. */
static void run_callers(int threads, const struct picture *p, const float *wanted) {
    struct counter counter;
    unetstar_context *context;
    unetstar_model *models[2];
    pthread_barrier_t start;
    pthread_t ids[CALLERS];
    static struct caller callers[CALLERS];
    int i, wrong = 0;
    const double begun = seconds();
    memset(&counter, 0, sizeof counter);
    context = make_counted(threads ? threads : 1, &counter);
    models[0] = plain_model(context, 1, 2);
    models[1] = plain_model(context, 1, 3);
    pthread_barrier_init(&start, NULL, CALLERS);
    memset(callers, 0, sizeof callers);
    for (i = 0; i < CALLERS; i++) {
        callers[i].context = threads ? context : make_counted(1 + i % 2, &counter);
        callers[i].models = models;
        callers[i].p = p;
        callers[i].wanted = wanted;
        callers[i].start = &start;
        callers[i].number = i;
        assert_int_equal(pthread_create(&ids[i], NULL, segment, &callers[i]), 0);
    }
    for (i = 0; i < CALLERS; i++) {
        pthread_join(ids[i], NULL);
        if (callers[i].wrong)
            print_error("caller %d: %d wrong, first %s\n", i, callers[i].wrong, callers[i].text);
        wrong += callers[i].wrong;
        if (!threads)
            unetstar_context_destroy(callers[i].context);
    }
    assert_int_equal(wrong, 0);
    print_message("  %d callers, %s: %.2f s\n", CALLERS,
                  threads == 0   ? "a context each"
                  : threads == 1 ? "a context of one thread"
                                 : "a pool of two",
                  seconds() - begun);
    pthread_barrier_destroy(&start);
    unetstar_model_destroy(models[0]);
    unetstar_model_destroy(models[1]);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

static void test_eight_callers(void **state) {
    unetstar_context *context = make_context(1);
    unetstar_model *models[2];
    unetstar_session *session;
    struct picture p;
    float *wanted = blank(W * H);
    int threads;
    (void)state;
    picture_open(&p, W, H, 3, 8, 0);
    models[0] = plain_model(context, 1, 2);
    models[1] = plain_model(context, 1, 3);
    session = session_of(context, models, 2, UNETSTAR_PLAN_WHOLE);
    OK(unetstar_session_run(session, &p.image, NULL, wanted, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    unetstar_model_destroy(models[0]);
    unetstar_model_destroy(models[1]);
    unetstar_context_destroy(context);
    for (threads = 0; threads <= 2; threads++)
        run_callers(threads, &p, wanted);
    picture_close(&p);
    free(wanted);
}

static void test_many_sessions(void **state) {
    enum { MANY = 200 };
    struct counter counter;
    unetstar_context *context;
    unetstar_model_options o;
    unetstar_model *model;
    unetstar_session *sessions[MANY];
    int64_t first, each, peak, calls;
    double begun, slow, fast;
    int i;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.25;
    OK(unetstar_model_create(&model, context, &o));
    begun = seconds();
    first = counter.bytes;
    sessions[0] = session_of(context, &model, 1, UNETSTAR_PLAN_STREAM);
    first = counter.bytes - first;
    slow = seconds() - begun;
    begun = seconds();
    each = counter.bytes;
    counter.peak = counter.bytes;
    calls = counter.calls;
    for (i = 1; i < MANY; i++)
        sessions[i] = session_of(context, &model, 1, 1 + i % 2);
    fast = (seconds() - begun) / (MANY - 1);
    each = (counter.bytes - each) / (MANY - 1);
    peak = counter.peak - counter.bytes;
    calls = (counter.calls - calls) / (MANY - 1);
    print_message("  the first session %lld bytes, %.2f ms; each of %d more %lld bytes in %lld blocks, %.3f ms\n",
                  (long long)first, 1e3 * slow, MANY - 1, (long long)each, (long long)calls, 1e3 * fast);
    assert_true(each < 8192 && first > 100 * each);
    assert_true(peak < 1024); /* nothing large, even for a moment */
    for (i = 0; i < MANY; i++)
        unetstar_session_destroy(sessions[i]);
    /* The weights stay with the model: the next session finds them. */
    first = counter.bytes;
    counter.peak = counter.bytes;
    sessions[0] = session_of(context, &model, 1, UNETSTAR_PLAN_STREAM);
    assert_true(counter.peak - first < 8192);
    unetstar_session_destroy(sessions[0]);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eight_callers),
        cmocka_unit_test(test_many_sessions),
    };
    return cmocka_run_group_tests_name("stream threads", tests, NULL, NULL);
}
