/*
 * test_memory.c - law 3: all memory is planned once. A training step and a repeated run allocate nothing; what the library
 * says it needs is what it takes; a budget or an arena one byte too small is ELIMIT.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_training_step(void **state) {
    struct counter counter;
    struct recipe r;
    struct training t;
    unetstar_context *context;
    size_t pixels, i;
    float *x;
    uint8_t *labels;
    double loss;
    int64_t before, bytes;
    int variant, step;
    (void)state;
    for (variant = 0; variant < 6; variant++) {
        memset(&counter, 0, sizeof counter);
        context = make_counted(1 + variant % 3, &counter);
        recipe_ci(&r);
        r.model.levels = 3;
        r.model.narrow = 0.125;
        r.model.norm = variant % 4;
        r.model.fusion = variant % 3;
        r.model.upsampling = variant % 3;
        r.model.activation = variant;
        r.model.deep_supervision = variant & 1;
        r.model.full_resolution_head = variant / 3;
        r.optimizer.kind = variant % 3;
        training_open(&t, context, &r);
        pixels = (size_t)r.trainer.patch_height * (size_t)r.trainer.patch_width * (size_t)r.trainer.batch_size;
        x = (float *)memory(pixels * sizeof *x);
        labels = (uint8_t *)memory(pixels);
        for (i = 0; i < pixels; i++) {
            x[i] = noise(i);
            labels[i] = noise(i) > 0.7f;
        }
        before = counter.calls;
        bytes = counter.bytes;
        for (step = 0; step < 3; step++) {
            OK(unetstar_trainer_forward(t.trainer, r.trainer.batch_size, x));
            OK(unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
            OK(unetstar_trainer_backward(t.trainer));
            OK(unetstar_trainer_step(t.trainer, -1));
        }
        OK(unetstar_trainer_forward(t.trainer, 1, x)); /* a smaller batch, too */
        OK(unetstar_trainer_logits(t.trainer, x));
        print_message("  variant %d: %lld allocations in 3 steps\n", variant, (long long)(counter.calls - before));
        assert_int_equal(counter.calls, before);
        assert_int_equal(counter.bytes, bytes);
        free(x);
        free(labels);
        training_close(&t);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
    }
}

/* In the whole loop: the steps between two reports. */
struct steps {
    struct counter *counter;
    int64_t last, seen, allocated;
};

static int count_steps(void *user, const unetstar_progress *p) {
    struct steps *s = (struct steps *)user;
    if (p->phase == UNETSTAR_PHASE_TRAIN) {
        if (p->done > 1) {
            s->allocated += s->counter->calls - s->last;
            s->seen++;
        }
        s->last = s->counter->calls;
    }
    return 0;
}

static void test_fit(void **state) {
    struct counter counter;
    struct steps s;
    struct recipe r;
    struct training t;
    unetstar_context *context;
    int64_t after_first;
    (void)state;
    memset(&counter, 0, sizeof counter);
    memset(&s, 0, sizeof s);
    context = make_counted(2, &counter);
    recipe_tiny(&r);
    r.trainer.epochs = 6;
    r.trainer.steps_per_epoch = 4;
    r.trainer.early_stop = 0;
    training_open(&t, context, &r);
    s.counter = &counter;
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, count_steps, &s));
    after_first = counter.bytes;
    print_message("  %lld steps inside epochs, %lld allocations; %lld bytes alive\n", (long long)s.seen, (long long)s.allocated,
                  (long long)after_first);
    assert_int_equal(s.seen, 18);
    assert_int_equal(s.allocated, 0);
    training_close(&t);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

static unetstar_session *open_session(unetstar_context *context, unetstar_model *model,
                                      const unetstar_session_options *options) {
    const unetstar_model *const list[1] = {model};
    unetstar_session *session;
    OK(unetstar_session_create(&session, context, list, 1, options));
    return session;
}

static unetstar_model *small_model(unetstar_context *context) {
    struct recipe r;
    unetstar_model *model;
    recipe_ci(&r);
    OK(unetstar_model_create(&model, context, &r.model));
    return model;
}

static void test_repeated_runs(void **state) {
    enum { H = 61, W = 75 };
    struct counter counter;
    unetstar_context *context;
    unetstar_model *model;
    unetstar_session *session;
    float *x = (float *)memory(2 * H * W * sizeof *x), *p = (float *)memory(2 * H * W * sizeof *p);
    int64_t before;
    int i;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(2, &counter);
    model = small_model(context);
    session = open_session(context, model, NULL);
    for (i = 0; i < 2 * H * W; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_session_run_tensor(session, 2, H, W, x, p, NULL));
    before = counter.calls;
    for (i = 0; i < 3; i++) {
        OK(unetstar_session_run_tensor(session, 2, H, W, x, p, NULL));
        OK(unetstar_session_run_tensor(session, 1, H - 9, W - 20, x, p, NULL)); /* smaller ones fit, too */
        OK(unetstar_session_run_tensor(session, 1, 1, 1, x, p, NULL));
    }
    print_message("  %lld allocations in 9 runs\n", (long long)(counter.calls - before));
    assert_int_equal(counter.calls, before);
    OK(unetstar_session_run_tensor(session, 1, 2 * H, W, x, p, NULL)); /* the count would have seen one: a larger one allocates */
    assert_true(counter.calls > before);
    free(x);
    free(p);
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

static void close_to(const char *what, double said, double taken) {
    print_message("  %-28s said %.0f, taken %.0f (%+.2f %%)\n", what, said, taken, 100 * (taken / said - 1));
    if (!(taken / said < 1.01 && said / taken < 1.01)) {
        print_error("%s: they differ by more than 1 %%\n", what);
        fail();
    }
}

static void test_workspace_of_a_session(void **state) {
    static const int64_t sizes[][2] = {{100, 70}, {33, 200}, {256, 192}};
    int k, views;
    (void)state;
    for (views = 1; views <= 8; views *= 8)
        for (k = 0; k < COUNT(sizes); k++) {
            const int64_t w = sizes[k][0], h = sizes[k][1];
            struct counter counter;
            unetstar_context *context;
            unetstar_model *model;
            unetstar_session *session;
            unetstar_session_options options;
            unetstar_workspace said;
            unetstar_image image;
            int64_t start;
            uint8_t *pixels = (uint8_t *)memory((size_t)(w * h));
            float *p = (float *)memory((size_t)(w * h) * sizeof *p);
            char what[64];
            memset(&counter, 0, sizeof counter);
            memset(pixels, 100, (size_t)(w * h));
            context = make_counted(2, &counter);
            model = small_model(context);
            start = counter.bytes;
            OK(unetstar_session_options_init(&options, sizeof options));
            options.views = views;
            session = open_session(context, model, &options);
            said.struct_size = sizeof said;
            OK(unetstar_session_workspace_size(session, w, h, &said));
            assert_int_equal(said.total, said.maps + said.scratch + said.weights);
            OK(unetstar_image_init(&image, sizeof image));
            image.data = pixels;
            image.width = w;
            image.height = h;
            OK(unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
            snprintf(what, sizeof what, "session %dx%d, %d views", (int)w, (int)h, views);
            close_to(what, (double)said.total, (double)(counter.bytes - start));
            free(pixels);
            free(p);
            unetstar_session_destroy(session);
            unetstar_model_destroy(model);
            unetstar_context_destroy(context);
            counter_balanced(&counter);
        }
}

static void test_workspace_of_a_trainer(void **state) {
    int batch;
    (void)state;
    for (batch = 1; batch <= 4; batch *= 2) {
        struct counter counter;
        struct recipe r;
        struct training t;
        unetstar_trainer *trainer;
        unetstar_context *context;
        int64_t start;
        double said;
        char what[64];
        memset(&counter, 0, sizeof counter);
        context = make_counted(2, &counter);
        recipe_ci(&r);
        r.trainer.batch_size = batch;
        r.trainer.patch_width = 80;
        training_open(&t, context, &r);
        start = counter.bytes;
        OK(unetstar_trainer_create(&trainer, t.model, t.optimizer, &r.trainer, &r.loss));
        said = (double)unetstar_trainer_workspace_size(trainer);
        snprintf(what, sizeof what, "trainer, batch %d", batch);
        close_to(what, said, (double)(counter.bytes - start));
        unetstar_trainer_destroy(trainer);
        training_close(&t);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
    }
}

static void test_budget_and_arena(void **state) {
    enum { H = 40, W = 56 };
    struct counter counter;
    unetstar_context *context;
    unetstar_model *model;
    unetstar_session *session;
    unetstar_session_options options;
    unetstar_workspace said;
    unetstar_image image;
    static uint8_t pixels[H * W];
    static float p[H * W], wanted[H * W];
    char *block, *arena;
    size_t need;
    int64_t before, i;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    model = small_model(context);
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.width = W;
    image.height = H;
    for (i = 0; i < H * W; i++)
        pixels[i] = (uint8_t)(255 * noise((uint64_t)i));
    session = open_session(context, model, NULL);
    said.struct_size = sizeof said;
    OK(unetstar_session_workspace_size(session, W, H, &said));
    OK(unetstar_session_run(session, &image, NULL, wanted, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    need = said.maps + said.scratch; /* what a session takes for itself; the weights are shared */
    OK(unetstar_session_options_init(&options, sizeof options));

    options.memory_budget = (int64_t)need;
    session = open_session(context, model, &options);
    OK(unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
    assert_memory_equal(p, wanted, sizeof p);
    unetstar_session_destroy(session);
    options.memory_budget = (int64_t)need - 1;
    session = open_session(context, model, &options);
    FAILS_NAMING(UNETSTAR_ELIMIT, "budget", unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
    print_message("  %s\n", unetstar_last_error());
    image.height = H / 2;
    OK(unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL)); /* a smaller image still can */
    image.height = H;
    unetstar_session_destroy(session);
    options.memory_budget = 0;

    block = (char *)memory(need + 64 + 64);
    arena = block + (64 - (uintptr_t)block % 64) % 64;
    memset(arena + need, 0x77, 64 - (size_t)(arena - block));
    options.arena = arena;
    options.arena_size = need;
    session = open_session(context, model, &options);
    before = counter.bytes;
    memset(p, 0, sizeof p);
    OK(unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
    assert_memory_equal(p, wanted, sizeof p);
    assert_int_equal(counter.bytes, before); /* all of it was in the arena */
    for (i = 0; i < 64 - (arena - block); i++)
        assert_int_equal(arena[need + (size_t)i], 0x77);
    unetstar_session_destroy(session);
    options.arena_size = need - 1;
    session = open_session(context, model, &options);
    FAILS_NAMING(UNETSTAR_ELIMIT, "arena", unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
    print_message("  %s\n", unetstar_last_error());
    unetstar_session_destroy(session);
    free(block);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* Two sessions share the folded weights of a model; a change of the weights makes new ones for the next session only. */
static void test_sessions_share_weights(void **state) {
    struct counter counter;
    unetstar_context *context;
    unetstar_model *model;
    unetstar_session *a, *b, *c;
    unetstar_workspace said;
    int64_t start, first, second, third;
    float bias[2] = {1, 2};
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    model = small_model(context);
    start = counter.bytes;
    a = open_session(context, model, NULL);
    first = counter.bytes - start;
    b = open_session(context, model, NULL);
    second = counter.bytes - start - first;
    said.struct_size = sizeof said;
    OK(unetstar_session_workspace_size(a, 10, 10, &said));
    OK(unetstar_model_tensor_set(model, "out.bias", bias, 2));
    c = open_session(context, model, NULL);
    third = counter.bytes - start - first - second;
    print_message("  first session %lld bytes, second %lld, after a change %lld; weights %zu\n", (long long)first,
                  (long long)second, (long long)third, said.weights);
    assert_true(first >= (int64_t)said.weights && second < 4096 && third >= (int64_t)said.weights);
    unetstar_model_destroy(model);
    unetstar_session_destroy(b);
    unetstar_session_destroy(a);
    unetstar_context_destroy(context);
    unetstar_session_destroy(c);
    counter_balanced(&counter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_step),          cmocka_unit_test(test_fit),
        cmocka_unit_test(test_repeated_runs),          cmocka_unit_test(test_workspace_of_a_session),
        cmocka_unit_test(test_workspace_of_a_trainer), cmocka_unit_test(test_budget_and_arena),
        cmocka_unit_test(test_sessions_share_weights),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
