/*
 * test_fork.c - a context with worker threads refuses to work in a child process; one without works; a new one works, too.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct forked {
    unetstar_context *context;
    struct training t;
    unetstar_session *session;
    const struct recipe *recipe;
    struct blob expected;
};

static int use_threads_in_child(void *argument) {
    struct forked *f = (struct forked *)argument;
    const unetstar_model *list[1];
    unetstar_session *session = NULL;
    float x[64], y[64];
    int i;
    memset(x, 0, sizeof x);
    alarm(20);
    if (unetstar_softmax_forward(f->context, 1, 2, 4, 8, x, y) != UNETSTAR_ESTATE || !strstr(unetstar_last_error(), "fork"))
        return 1;
    for (i = 0; i < 2; i++) /* not only once */
        if (unetstar_trainer_fit(f->t.trainer, f->t.set, NULL, NULL, NULL, NULL) != UNETSTAR_ESTATE)
            return 2;
    list[0] = f->t.model;
    if (unetstar_session_create(&session, f->context, list, 1, NULL) != UNETSTAR_ESTATE || session)
        return 3;
    if (unetstar_session_run_tensor(f->session, 1, 4, 4, x, y, NULL) != UNETSTAR_ESTATE)
        return 4;
    unetstar_session_destroy(f->session); /* destroying is allowed, and does not wait for threads that are not there */
    training_close(&f->t);
    unetstar_context_destroy(f->context);
    return 0;
}

static int train_in_child(void *argument) {
    struct forked *f = (struct forked *)argument;
    struct blob blob = {NULL, 0, 0};
    unetstar_context *context;
    unetstar_context_options options;
    struct training t;
    int code;
    alarm(60);
    code = unetstar_trainer_fit(f->t.trainer, f->t.set, NULL, NULL, NULL, NULL);
    if (code)
        return 1;
    blob_training(&blob, &f->t, f->context, f->recipe);
    if (!blob_equal(&blob, &f->expected))
        return 2;
    blob_free(&blob);
    context_options(&options, 2, NULL); /* a new context may have threads */
    if (unetstar_context_create(&context, &options))
        return 3;
    training_open(&t, context, f->recipe);
    if (unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL))
        return 4;
    blob_training(&blob, &t, context, f->recipe);
    training_close(&t);
    unetstar_context_destroy(context);
    return blob_equal(&blob, &f->expected) ? 0 : 5;
}

static void test_fork(void **state) {
    struct recipe r;
    struct forked f;
    struct training t;
    const unetstar_model *list[1];
    unetstar_context *context = make_context(1);
    (void)state;
    recipe_tiny(&r);
    memset(&f, 0, sizeof f);
    f.recipe = &r;
    training_open(&t, context, &r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    blob_training(&f.expected, &t, context, &r);
    training_close(&t);
    unetstar_context_destroy(context);

    if (library_has_threads()) {
        f.context = make_context(3);
        training_open(&f.t, f.context, &r);
        list[0] = f.t.model;
        OK(unetstar_session_create(&f.session, f.context, list, 1, NULL));
        assert_int_equal(in_child(use_threads_in_child, &f), 0);
        unetstar_session_destroy(f.session);
        OK(unetstar_trainer_fit(f.t.trainer, f.t.set, NULL, NULL, NULL, NULL)); /* the parent's still works */
        training_close(&f.t);
        unetstar_context_destroy(f.context);
        print_message("  3 threads: ESTATE in the child\n");
    }

    f.context = make_context(1);
    training_open(&f.t, f.context, &r);
    assert_int_equal(in_child(train_in_child, &f), 0);
    training_close(&f.t);
    unetstar_context_destroy(f.context);
    blob_free(&f.expected);
    print_message("  1 thread, and a new context: the same bits in the child\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fork)};
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
