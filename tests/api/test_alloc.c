/*
 * test_alloc.c - the n-th allocation fails, for every n, one stage of work after the other: a clean ENOMEM, nothing lost,
 * nothing half-written, and what was there before works as if nothing had happened.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tear_down(void **state) {
    (void)state;
    leave_folder();
    return 0;
}

struct world {
    struct counter counter;
    struct recipe recipe;
    unetstar_context_options options;
    unetstar_context *context;
    struct training t;
    unetstar_model *loaded;
    unetstar_session *session;
    unetstar_metrics *metrics;
    unetstar_dataset *first, *second;
    unetstar_tensor *tensor;
    unetstar_cancel *cancel;
    unetstar_prep_state *prep, *prep_again;
    struct blob prep_bytes;
    uint8_t pixels[48 * 48 * 3], label[48 * 48], mask[48 * 48];
    float probability[48 * 48];
    unsigned char *saved; /* by save_callback */
    size_t saved_size;
};

/* What an out-parameter holds before the call: a failing call must put NULL there, or the undoing below crashes. */
#define JUNK ((void *)64)

/* ---- Stages. Each leaves its result in the world when it succeeds. ---- */

static int make_a_context(struct world *w) {
    w->context = JUNK;
    return unetstar_context_create(&w->context, &w->options);
}
static int make_cancel(struct world *w) {
    w->cancel = JUNK;
    return unetstar_cancel_create(&w->cancel, w->context);
}
static int make_tensor(struct world *w) {
    const int64_t shape[] = {2, 3, 5};
    w->tensor = JUNK;
    return unetstar_tensor_create(&w->tensor, w->context, UNETSTAR_FLOAT32, 3, shape);
}
static int make_dataset(struct world *w) {
    w->t.set = JUNK;
    return unetstar_dataset_create(&w->t.set, w->context);
}
static int add_synthetic(struct world *w) {
    return unetstar_dataset_add_synthetic(w->t.set, 5, 48, 48);
}
static void describe(unetstar_image *image, const void *data, int32_t channels) {
    unetstar_image_init(image, sizeof *image);
    image->data = data;
    image->width = image->height = 48;
    image->channels = channels;
}
static int add_own(struct world *w) {
    unetstar_image image, label, mask;
    describe(&image, w->pixels, 3);
    describe(&label, w->label, 1);
    describe(&mask, w->mask, 1);
    return unetstar_dataset_add(w->t.set, "own", &image, &label, &mask);
}
static int add_without_mask(struct world *w) {
    unetstar_image image, label;
    describe(&image, w->pixels, 3);
    describe(&label, w->label, 1);
    return unetstar_dataset_add(w->t.set, "no mask", &image, &label, NULL);
}
static int make_subset(struct world *w) {
    const int64_t indices[] = {1, 0};
    w->first = JUNK;
    return unetstar_dataset_subset(&w->first, w->t.set, indices, 2);
}
static int make_folds(struct world *w) {
    w->first = JUNK;
    w->second = JUNK;
    return unetstar_dataset_fold(&w->first, &w->second, w->t.set, 1, 2);
}
static int make_model(struct world *w) {
    w->t.model = JUNK;
    return unetstar_model_create(&w->t.model, w->context, &w->recipe.model);
}
static int set_meta(struct world *w) {
    char key[16];
    int i, code = 0;
    for (i = 0; i < 9 && !code; i++) { /* more than its first room */
        snprintf(key, sizeof key, "key %d", i);
        code = unetstar_model_set_meta(w->t.model, key, "value");
    }
    return code;
}
static int make_optimizer(struct world *w) {
    w->t.optimizer = JUNK;
    return unetstar_optimizer_create(&w->t.optimizer, w->t.model, &w->recipe.optimizer);
}
static int make_trainer(struct world *w) {
    w->t.trainer = JUNK;
    return unetstar_trainer_create(&w->t.trainer, w->t.model, w->t.optimizer, &w->recipe.trainer, &w->recipe.loss);
}
static int draw_patch(struct world *w) {
    return unetstar_trainer_patch(w->t.trainer, w->t.set, 0, 0, w->probability, NULL, NULL);
}
static int fit(struct world *w) {
    return unetstar_trainer_fit(w->t.trainer, w->t.set, NULL, NULL, NULL, NULL);
}
static int save_checkpoint(struct world *w) {
    return unetstar_trainer_save(w->t.trainer, path_of("checkpoint"));
}
static int load_checkpoint(struct world *w) {
    return unetstar_trainer_load(w->t.trainer, path_of("checkpoint"));
}
static int save_model(struct world *w) {
    return unetstar_model_save(w->t.model, path_of("model"));
}
static int append(void *user, const void *data, size_t size) {
    struct world *w = (struct world *)user;
    w->saved = (unsigned char *)realloc(w->saved, w->saved_size + size + 1);
    memcpy(w->saved + w->saved_size, data, size);
    w->saved_size += size;
    return 0;
}
static int save_by_callback(struct world *w) {
    w->saved_size = 0;
    return unetstar_model_save_callback(w->t.model, append, w);
}
static int load_model(struct world *w) {
    w->loaded = JUNK;
    return unetstar_model_load(&w->loaded, w->context, path_of("model"));
}
static int load_model_with(struct world *w) {
    w->loaded = JUNK;
    return unetstar_model_load_with(&w->loaded, w->context, path_of("model"), &w->recipe.model);
}
static int load_from_memory(struct world *w) {
    w->loaded = JUNK;
    return unetstar_model_load_memory(&w->loaded, w->context, w->saved, w->saved_size);
}
static int64_t feed(void *user, void *data, size_t size) {
    struct world *w = (struct world *)user;
    static size_t at;
    if (at >= w->saved_size) {
        at = 0;
        return 0;
    }
    if (size > w->saved_size - at)
        size = w->saved_size - at;
    memcpy(data, w->saved + at, size);
    at += size;
    return (int64_t)size;
}
static int load_by_callback(struct world *w) {
    while (feed(w, w->probability, sizeof w->probability) > 0) /* to the beginning, should the last try have stopped inside */
        continue;
    w->loaded = JUNK;
    return unetstar_model_load_callback(&w->loaded, w->context, feed, w);
}
static int make_session(struct world *w) {
    const unetstar_model *const list[] = {w->loaded, w->loaded};
    unetstar_session_options options;
    unetstar_session_options_init(&options, sizeof options);
    options.views = 2;
    options.clip_to_field = 1;
    w->session = JUNK;
    return unetstar_session_create(&w->session, w->context, list, 2, &options);
}
static int run_session(struct world *w) {
    unetstar_image image;
    describe(&image, w->pixels, 3);
    return unetstar_session_run(w->session, &image, NULL, w->probability, NULL, NULL, NULL);
}
static int read_rows(void *user, int64_t y, int64_t n, void *rows, int64_t stride) {
    const struct world *w = (const struct world *)user;
    memcpy(rows, w->pixels + y * 48 * 3, (size_t)(n * stride));
    return 0;
}
static int drop_rows(void *user, int64_t y, int64_t n, const float *rows) {
    (void)user;
    (void)y;
    return n < 1 || !rows;
}
static void describe_rows(unetstar_source *source, struct world *w) {
    unetstar_source_init(source, sizeof *source);
    source->read_rows = read_rows;
    source->user = w;
    source->width = source->height = 48;
    source->channels = 3;
}
static int run_rows(struct world *w) {
    unetstar_source source;
    describe_rows(&source, w);
    return unetstar_session_run_rows(w->session, &source, drop_rows, w, NULL);
}
static int make_metrics(struct world *w) {
    w->metrics = JUNK;
    return unetstar_metrics_create(&w->metrics, w->context);
}
static int add_metrics(struct world *w) {
    int i, code = 0;
    for (i = 0; i < 9 && !code; i++)
        code = i % 2 ? unetstar_metrics_add(w->metrics, "a name", 48 * 48, w->probability, w->label, w->mask)
                     : unetstar_metrics_add_image(w->metrics, "a name", 48, 48, w->probability, w->label, w->mask);
    return code;
}
static int score(struct world *w) {
    unetstar_scores scores;
    double x[10], y[10];
    int64_t count;
    int code;
    scores.struct_size = sizeof scores;
    code = unetstar_metrics_scores(w->metrics, -1, 0.5, &scores);
    code = code ? code : unetstar_metrics_scores(w->metrics, 0, 0.5, &scores);
    code = code ? code : unetstar_metrics_best_threshold(w->metrics, &x[0], &y[0]);
    return code ? code : unetstar_metrics_curve(w->metrics, UNETSTAR_CURVE_PR, 10, x, y, &count);
}
static int analyse(struct world *w) {
    static float x[3 * 20 * 24];
    static uint8_t labels[8 * 8];
    unetstar_branch_gradients gradients;
    unetstar_features features;
    unetstar_degree_check_options options;
    unetstar_degree_check check;
    int code;
    features.struct_size = sizeof features;
    check.struct_size = sizeof check;
    unetstar_degree_check_options_init(&options, sizeof options);
    options.max_degree = 0;
    code = unetstar_model_features(w->t.model, 20, 24, x, "decoder.1.conv.0", UNETSTAR_AT_INPUT, NULL, &features);
    code = code ? code : unetstar_model_degree_check(w->t.model, &options, 8, 8, x, NULL, &check);
    gradients.struct_size = sizeof gradients;
    return code ? code : unetstar_model_branch_gradients(w->t.model, 1, 8, 8, x, labels, NULL, NULL, &gradients);
}
static int find_field(struct world *w) {
    unetstar_image image;
    int32_t source;
    describe(&image, w->pixels, 3);
    return unetstar_find_field_of_view(w->context, &image, w->mask, &source);
}
static int preprocess(struct world *w) {
    unetstar_prep_options options;
    unetstar_image image;
    unetstar_prep_options_init(&options, sizeof options);
    options.standardize = 1;
    describe(&image, w->pixels, 3);
    return unetstar_preprocess(w->context, &options, &image, NULL, w->probability);
}
static int fit_prep(struct world *w) {
    unetstar_prep_options options;
    unetstar_source source;
    unetstar_prep_options_init(&options, sizeof options);
    options.standardize = 1;
    describe_rows(&source, w);
    w->prep = JUNK;
    return unetstar_prep_fit(&w->prep, w->context, &options, &source, 1, NULL);
}
static int keep_bytes(void *user, const void *data, size_t size) {
    blob_add((struct blob *)user, data, size);
    return 0;
}
static int save_prep(struct world *w) {
    blob_free(&w->prep_bytes);
    return unetstar_prep_state_save(w->prep, keep_bytes, &w->prep_bytes);
}
static int load_prep(struct world *w) {
    w->prep_again = JUNK;
    return unetstar_prep_state_load(&w->prep_again, w->context, w->prep_bytes.data, w->prep_bytes.size);
}
static int paint(struct world *w) {
    return unetstar_synthetic_fundus(w->context, 3, 48, 48, w->pixels, w->label, w->mask);
}
static int convolve(struct world *w) {
    static float x[4 * 8 * 8], weight[4 * 4 * 9], y[4 * 8 * 8], dx[4 * 8 * 8];
    int code = unetstar_conv2d_forward(w->context, NULL, 1, 4, 8, 8, 4, x, weight, NULL, y);
    code = code ? code : unetstar_conv2d_backward(w->context, NULL, 1, 4, 8, 8, 4, x, weight, y, dx, weight, NULL);
    if (!code)
        code = unetstar_batch_norm_forward(w->context, 1, 4, 8, 8, x, NULL, NULL, 1e-5f, 0.1f, NULL, NULL, y, dx, dx + 4);
    code = code ? code : unetstar_softmax_forward(w->context, 1, 4, 8, 8, x, y);
    return code ? code : unetstar_upsample2_forward(w->context, UNETSTAR_UPSAMPLING_BILINEAR, 1, 4, 4, 4, x, y);
}

/* ---- Undoing a stage, so that it can be tried again ---- */

static void undo_nothing(struct world *w) {
    (void)w;
}
#define UNDO(name, what, field) \
    static void undo_##name(struct world *w) { \
        unetstar_##what##_destroy(w->field); \
        w->field = NULL; \
    }
UNDO(context, context, context)
UNDO(cancel, cancel, cancel)
UNDO(tensor, tensor, tensor)
UNDO(set, dataset, t.set)
UNDO(model, model, t.model)
UNDO(optimizer, optimizer, t.optimizer)
UNDO(trainer, trainer, t.trainer)
UNDO(loaded, model, loaded)
UNDO(session, session, session)
UNDO(metrics, metrics, metrics)
UNDO(first, dataset, first)
UNDO(prep, prep_state, prep)
UNDO(prep_again, prep_state, prep_again)
static void undo_folds(struct world *w) {
    undo_first(w);
    unetstar_dataset_destroy(w->second);
    w->second = NULL;
}

/* ---- The search ---- */

/* After a failure a stage keeps nothing, or memory that its object will free (a list that has grown, prepared data). */
enum { KEEPS_NOTHING = 0, MAY_KEEP = 1 };

/* undo NULL: the stage can succeed once only. Otherwise there are two rounds: all allocations from the n-th on fail, and the
 * n-th alone. */
static void exhaust(struct world *w, const char *name, int (*stage)(struct world *), void (*undo)(struct world *), int keeps) {
    int64_t n, failures = 0, without = 0;
    int forever, refused = 1;
    for (forever = undo != NULL; forever >= 0; forever--) {
        for (n = 1, refused = 1; refused; n++) {
            const int64_t before = w->counter.bytes;
            int code;
            counter_fail(&w->counter, n, forever);
            code = stage(w);
            refused = w->counter.failed > 0;
            counter_fail(&w->counter, 0, 0);
            assert_int_equal(w->counter.wrong, 0);
            assert_true(n < 20000);
            if (code == UNETSTAR_OK) {
                without += refused; /* it could do without that block */
                if (undo && (refused || forever))
                    undo(w);
                if (!undo)
                    refused = 0;
                continue;
            }
            assert_true(refused);
            check_result(code, UNETSTAR_ENOMEM, "", name, __FILE__, (int)n);
            failures++;
            if (undo)
                undo(w); /* of NULL */
            if (keeps == KEEPS_NOTHING && w->counter.bytes != before) {
                print_error("%s: allocation %lld failed, and %lld bytes were lost\n", name, (long long)n,
                            (long long)(w->counter.bytes - before));
                fail();
            }
        }
    }
    print_message("  %-20s %5lld failures, %lld done without\n", name, (long long)failures, (long long)without);
    assert_true(failures > 0);
}

static void open_world(struct world *w, int threads) {
    size_t i;
    memset(w, 0, sizeof *w);
    recipe_tiny(&w->recipe);
    w->recipe.model.in_channels = 1;
    context_options(&w->options, threads, &w->counter);
    for (i = 0; i < sizeof w->pixels; i++)
        w->pixels[i] = (uint8_t)(255 * noise(i));
    for (i = 0; i < sizeof w->label; i++) {
        w->label[i] = (uint8_t)(i % 48 < 8);
        w->mask[i] = 255;
        w->probability[i] = noise(i);
    }
}

static void close_world(struct world *w) {
    unetstar_context_destroy(w->context); /* first, to make it a little harder */
    training_close(&w->t);
    undo_folds(w);
    undo_session(w);
    undo_loaded(w);
    undo_metrics(w);
    undo_tensor(w);
    undo_cancel(w);
    free(w->saved);
    counter_balanced(&w->counter);
}

/* What the same work gives when nothing fails. */
static void undisturbed(struct blob *blob, const struct recipe *r, const struct world *w) {
    struct world *calm = (struct world *)memory(sizeof *calm);
    open_world(calm, 1);
    OK(make_a_context(calm));
    OK(make_dataset(calm));
    OK(add_synthetic(calm));
    memcpy(calm->pixels, w->pixels, sizeof calm->pixels);
    memcpy(calm->label, w->label, sizeof calm->label);
    OK(add_own(calm));
    OK(make_model(calm));
    OK(set_meta(calm));
    OK(make_optimizer(calm));
    OK(make_trainer(calm));
    OK(fit(calm));
    blob_training(blob, &calm->t, calm->context, r);
    close_world(calm);
    free(calm);
}

static void test_train(void **state) {
    struct world *w = (struct world *)memory(sizeof *w);
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    size_t size, again;
    unsigned char *old, *now;
    (void)state;
    open_world(w, 2);
    exhaust(w, "context", make_a_context, undo_context, KEEPS_NOTHING);
    exhaust(w, "dataset", make_dataset, undo_set, KEEPS_NOTHING);
    exhaust(w, "add synthetic", add_synthetic, NULL, MAY_KEEP);
    exhaust(w, "add own", add_own, NULL, MAY_KEEP);
    assert_int_equal(unetstar_dataset_count(w->t.set), 2);
    exhaust(w, "model", make_model, undo_model, KEEPS_NOTHING);
    exhaust(w, "metadata", set_meta, NULL, MAY_KEEP);
    exhaust(w, "optimizer", make_optimizer, undo_optimizer, KEEPS_NOTHING);
    exhaust(w, "trainer", make_trainer, undo_trainer, KEEPS_NOTHING);
    exhaust(w, "patch", draw_patch, undo_nothing, MAY_KEEP);
    exhaust(w, "fit", fit, NULL, MAY_KEEP);
    write_file(path_of("checkpoint"), "old", 3);
    exhaust(w, "save checkpoint", save_checkpoint, undo_nothing, KEEPS_NOTHING);
    old = read_file(path_of("checkpoint"), &size);
    assert_true(size > 1000);
    exhaust(w, "load checkpoint", load_checkpoint, undo_nothing, KEEPS_NOTHING);
    OK(save_checkpoint(w));
    now = read_file(path_of("checkpoint"), &again); /* loading for the tenth time has changed nothing */
    assert_int_equal(size, again);
    assert_memory_equal(old, now, size);
    free(old);
    free(now);
    undisturbed(&wanted, &w->recipe, w);
    blob_model(&blob, w->t.model);
    blob_optimizer(&blob, w->t.optimizer, w->t.model);
    assert_true(blob.size < wanted.size);
    assert_memory_equal(blob.data, wanted.data, blob.size); /* weights and moments as if nothing had ever failed */
    blob_free(&blob);
    blob_free(&wanted);
    close_world(w);
    free(w);
}

static void test_segment(void **state) {
    struct world *w = (struct world *)memory(sizeof *w);
    struct blob before = {NULL, 0, 0}, after = {NULL, 0, 0};
    int files;
    (void)state;
    open_world(w, 1);
    path_of("");
    files = files_in_folder();
    OK(make_a_context(w));
    OK(make_model(w));
    OK(set_meta(w));
    exhaust(w, "cancel token", make_cancel, undo_cancel, KEEPS_NOTHING);
    exhaust(w, "tensor", make_tensor, undo_tensor, KEEPS_NOTHING);
    exhaust(w, "save model", save_model, undo_nothing, KEEPS_NOTHING);
    assert_int_equal(files_in_folder(), files + 1); /* the model, and no temporary file */
    exhaust(w, "save by callback", save_by_callback, undo_nothing, KEEPS_NOTHING);
    exhaust(w, "load model with", load_model_with, undo_loaded, KEEPS_NOTHING);
    undo_loaded(w);
    exhaust(w, "load from memory", load_from_memory, undo_loaded, KEEPS_NOTHING);
    undo_loaded(w);
    exhaust(w, "load by callback", load_by_callback, undo_loaded, KEEPS_NOTHING);
    undo_loaded(w);
    exhaust(w, "load model", load_model, undo_loaded, KEEPS_NOTHING);
    blob_model(&before, w->loaded);
    exhaust(w, "features", analyse, undo_nothing, MAY_KEEP); /* the model keeps its folded weights */
    exhaust(w, "session", make_session, undo_session, MAY_KEEP); /* the model keeps its folded weights */
    exhaust(w, "run", run_session, undo_nothing, MAY_KEEP);
    undo_session(w);
    OK(make_session(w));
    exhaust(w, "run rows", run_rows, undo_nothing, MAY_KEEP);
    blob_model(&after, w->loaded);
    blobs_equal(&before, &after, "the weights");
    blob_free(&before);
    blob_free(&after);
    close_world(w);
    free(w);
}

static void test_data_and_metrics(void **state) {
    struct world *w = (struct world *)memory(sizeof *w);
    (void)state;
    open_world(w, 1);
    OK(make_a_context(w));
    exhaust(w, "metrics", make_metrics, undo_metrics, KEEPS_NOTHING);
    exhaust(w, "add to metrics", add_metrics, NULL, MAY_KEEP);
    exhaust(w, "scores", score, undo_nothing, MAY_KEEP);
    exhaust(w, "synthetic", paint, undo_nothing, KEEPS_NOTHING);
    exhaust(w, "preprocess", preprocess, undo_nothing, KEEPS_NOTHING);
    exhaust(w, "fit of preprocessing", fit_prep, undo_prep, KEEPS_NOTHING);
    OK(save_prep(w)); /* which allocates nothing */
    exhaust(w, "load of preprocessing", load_prep, undo_prep_again, KEEPS_NOTHING);
    undo_prep_again(w);
    undo_prep(w);
    blob_free(&w->prep_bytes);
    exhaust(w, "field of view", find_field, undo_nothing, KEEPS_NOTHING);
    exhaust(w, "primitives", convolve, undo_nothing, KEEPS_NOTHING);
    OK(make_dataset(w));
    exhaust(w, "add without mask", add_without_mask, NULL, MAY_KEEP);
    OK(add_own(w));
    exhaust(w, "subset", make_subset, undo_first, KEEPS_NOTHING);
    undo_first(w);
    exhaust(w, "folds", make_folds, undo_folds, KEEPS_NOTHING);
    close_world(w);
    free(w);
}

/* The allocator of the tests notices what it is there for. */
static void test_the_counter(void **state) {
    struct counter c;
    char *block;
    (void)state;
    memset(&c, 0, sizeof c);
    block = (char *)counter_alloc(&c, 100, 64);
    assert_int_equal(c.blocks, 1);
    counter_free(&c, block, 99); /* another size */
    assert_int_equal(c.wrong, 1);
    block = (char *)counter_alloc(&c, 10, 64);
    block[10] = 0; /* past the end */
    counter_free(&c, block, 10);
    assert_int_equal(c.wrong, 2);
    counter_fail(&c, 2, 0);
    block = (char *)counter_alloc(&c, 10, 64);
    assert_non_null(block);
    assert_null(counter_alloc(&c, 10, 64));
    counter_free(&c, block, 10);
    assert_int_equal(c.wrong, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_counter),
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_segment),
        cmocka_unit_test(test_data_and_metrics),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, tear_down);
}
