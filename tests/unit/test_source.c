/*
 * test_source.c - a unit's input in pieces: any part of any row has the bits of the whole row, for every way an input
 * is made; and so has a tile that a transform loads from the maps themselves. And a plan for a large batch used for
 * smaller ones: the bits of a plan of that size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/api.h"
#include "nn/training.h"

enum { BATCH = 2, HEIGHT = 44, WIDTH = 52 }; /* padded to 48 x 56: parts begin and end at odd and even pixels */

static unetstar_context *context;
static struct us_rng rng;

static int draw(int below) {
    return (int)(us_rng_uniform(&rng) * below);
}

/* Compares parts of a row with the row; returns how many differ. */
static int compare_row(const struct us_pass *pass, int unit, int n, int b, int y, int w, float *whole, float *part,
                       float *tmp) {
    struct us_input_source source;
    int bad = 0, i;
    source.pass = pass;
    source.unit = unit;
    us_input_row(&source, n, b, y, 0, w, whole, tmp);
    for (i = 0; i < 4; i++) {
        const int x0 = draw(w), x1 = x0 + 1 + draw(w - x0);
        us_input_row(&source, n, b, y, x0, x1, part, tmp);
        bad += memcmp(part, whole + (size_t)x0 * US_LANES, (size_t)(x1 - x0) * US_LANES * sizeof *part) != 0;
    }
    return bad;
}

/* Compares a tile that the transform loads itself with one made of rows; adds to `loaded` where it can. */
static int compare_tile(const struct us_pass *pass, int unit, int n, int b, int h, int w, float *tmp, int *loaded) {
    enum { M = 6, SIDE = M + 2, XI = SIDE * SIDE };
    const int y = 2 * draw((h - SIDE) / 2) + 1, x = 2 * draw((w - SIDE) / 2) + 1, fits = y + SIDE <= h && x + SIDE <= w;
    float rows[XI * US_LANES], want[XI * US_LANES], v[XI * US_LANES];
    struct us_input_source source;
    struct us_wino_load load;
    int r;
    source.pass = pass;
    source.unit = unit;
    if (!fits || !us_input_load(&source, n, b, y, SIDE, x, &load))
        return 0;
    ++*loaded;
    for (r = 0; r < SIDE; r++)
        us_input_row(&source, n, b, y + r, x, x + SIDE, rows + (size_t)(r * SIDE * US_LANES), tmp);
    pass->ctx->kern.wino_input(M, want, US_LANES, rows, (size_t)(SIDE * US_LANES));
    pass->ctx->kern.wino_input_load(v, US_LANES, &load);
    return memcmp(v, want, sizeof v) != 0;
}

static int compare_net(const unetstar_model_options *options, int loaded[2]) {
    const size_t row = (size_t)2 * WIDTH * US_LANES;
    float *x = (float *)malloc(sizeof(float) * BATCH * 3 * HEIGHT * WIDTH);
    float *whole = (float *)malloc(row * sizeof(float)), *part = (float *)malloc(row * sizeof(float)), *tmp;
    unetstar_model *model;
    us_training *t;
    int bad = 0, u, b, y, i;
    assert_int_equal(unetstar_model_create(&model, context, options), 0);
    assert_int_equal(us_training_create(&t, context, model->net, BATCH, HEIGHT, WIDTH), 0);
    for (i = 0; i < BATCH * 3 * HEIGHT * WIDTH; i++)
        x[i] = (float)us_rng_uniform(&rng);
    assert_int_equal(us_training_forward(t, &model->params, BATCH, x, 1, 1), 0);
    for (u = 0; u < model->net->n_units; u++) {
        struct us_input_source source;
        struct us_conv_job job;
        source.pass = &t->pass;
        source.unit = u;
        us_pass_job(&t->pass, &source, &job);
        tmp = (float *)malloc(us_row_tmp_bytes(job.w));
        for (b = 0; b < job.in_blocks; b++)
            for (y = 0; y < job.h; y++) {
                bad += compare_row(&t->pass, u, y % BATCH, b, y, job.w, whole, part, tmp);
                bad += compare_tile(&t->pass, u, y % BATCH, b, job.h, job.w, tmp,
                                    &loaded[model->net->units[u].in.kind == US_IN_FUSE]);
            }
        free(tmp);
    }
    us_training_destroy(t);
    unetstar_model_destroy(model);
    free(x);
    free(whole);
    free(part);
    return bad;
}

static void test_parts_of_rows(void **state) {
    int fusion, upsampling, dropout, activation;
    (void)state;
    for (fusion = 0; fusion <= UNETSTAR_FUSION_CONCAT; fusion++)
        for (upsampling = 0; upsampling <= UNETSTAR_UPSAMPLING_TRANSPOSED; upsampling++)
            for (dropout = 0; dropout < 2; dropout++)
                for (activation = UNETSTAR_ACTIVATION_NONE; activation <= UNETSTAR_ACTIVATION_LEAKY_RELU;
                     activation++) {
                    const int simple = !dropout && activation != UNETSTAR_ACTIVATION_LEAKY_RELU;
                    unetstar_model_options o;
                    int bad, loaded[2] = {0, 0};
                    unetstar_model_options_init(&o, sizeof o);
                    o.in_channels = 3;
                    o.levels = 3;
                    o.narrow = 0.3125; /* 20 channels: two blocks, one with dead lanes */
                    o.fusion = fusion;
                    o.upsampling = upsampling;
                    o.activation = activation;
                    o.dropout = dropout ? 0.25 : 0;
                    bad = compare_net(&o, loaded);
                    print_message(
                        "  fusion %d, upsampling %d, dropout %d, activation %d: %d parts differ, loaded %d %d\n",
                        fusion, upsampling, dropout, activation, bad, loaded[0], loaded[1]);
                    assert_int_equal(bad, 0);
                    if (simple)
                        assert_true(loaded[0] > 0);
                    if (simple && upsampling == UNETSTAR_UPSAMPLING_NEAREST)
                        assert_int_equal(loaded[1] > 0, fusion != UNETSTAR_FUSION_CONCAT);
                }
}

/* A star block's product, and values with a residual, pooled, upsampled and fused. */
static void test_parts_of_star_blocks(void **state) {
    int i;
    (void)state;
    for (i = 0; i < 8; i++) {
        unetstar_model_options o;
        int bad, loaded[2] = {0, 0};
        unetstar_model_options_init(&o, sizeof o);
        o.in_channels = 3;
        o.levels = 3;
        o.narrow = 0.3125;
        o.block = i % 2 ? UNETSTAR_BLOCK_STAR : UNETSTAR_BLOCK_STAR_DEPTHWISE;
        o.block_expansion = 1 + i % 3;
        o.fusion = i % 3;
        o.upsampling = i / 2 % 3;
        o.activation = i % 2;
        o.norm = i == 4 ? UNETSTAR_NORM_NONE : UNETSTAR_NORM_BATCH;
        o.fusion_norm = i >= 6;
        o.fusion = o.fusion_norm ? i - 6 : o.fusion;
        o.dropout = i == 3 ? 0.25 : 0;
        bad = compare_net(&o, loaded);
        print_message("  star blocks, kind %d: %d parts differ\n", i, bad);
        assert_int_equal(bad, 0);
    }
}

/* ---- Smaller batches ---- */

/* Gradients of n images after a step's passes, in memory of the caller's. */
static float *gradients_of(us_training *t, struct us_params *params, int n, const float *x, const uint8_t *labels,
                           size_t count) {
    float *gradients = (float *)calloc(count, sizeof *gradients);
    struct us_loss loss;
    double value;
    int i;
    memset(&loss, 0, sizeof loss);
    loss.cross_entropy = 1;
    for (i = 0; i < 8; i++)
        loss.class_weights[i] = 1;
    assert_int_equal(us_training_forward(t, params, n, x, 1, 1), 0);
    assert_int_equal(us_training_loss(t, &loss, 0, labels, NULL, &value), 0);
    assert_int_equal(us_training_backward(t, params, gradients), 0);
    return gradients;
}

static void check_smaller_batches(int32_t block, int first) {
    enum { MOST = 9, SIDE = 48 };
    float *x = (float *)malloc(sizeof(float) * MOST * SIDE * SIDE);
    uint8_t *labels = (uint8_t *)malloc(MOST * SIDE * SIDE);
    unetstar_model_options o;
    unetstar_model *model;
    us_training *large, *fitting;
    int i, n;
    for (i = 0; i < MOST * SIDE * SIDE; i++) {
        x[i] = (float)us_rng_uniform(&rng);
        labels[i] = (uint8_t)draw(2);
    }
    unetstar_model_options_init(&o, sizeof o);
    o.narrow = 0.25;
    o.block = block;
    assert_int_equal(unetstar_model_create(&model, context, &o), 0);
    assert_int_equal(us_training_create(&large, context, model->net, MOST, SIDE, SIDE), 0);
    for (n = first; n <= MOST; n += first) {
        const size_t count = model->net->n_params;
        float *a, *b;
        assert_int_equal(us_training_create(&fitting, context, model->net, n, SIDE, SIDE), 0);
        a = gradients_of(large, &model->params, n, x, labels, count);
        b = gradients_of(fitting, &model->params, n, x, labels, count);
        print_message("  %d of %d images: %s\n", n, MOST,
                      memcmp(a, b, count * sizeof *a) ? "other bits" : "the same bits");
        assert_memory_equal(a, b, count * sizeof *a);
        us_training_destroy(fitting);
        free(a);
        free(b);
    }
    us_training_destroy(large);
    unetstar_model_destroy(model);
    free(x);
    free(labels);
}

static void test_smaller_batches(void **state) {
    (void)state;
    check_smaller_batches(UNETSTAR_BLOCK_DOUBLE_CONV, 1);
    check_smaller_batches(UNETSTAR_BLOCK_STAR, 3);
    check_smaller_batches(UNETSTAR_BLOCK_STAR_DEPTHWISE, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts_of_rows), cmocka_unit_test(test_parts_of_star_blocks),
                                       cmocka_unit_test(test_smaller_batches)};
    int failed;
    if (unetstar_context_create(&context, NULL))
        return 1;
    rng = us_rng_stream(2024, US_RNG_TEST, 0, 0);
    failed = cmocka_run_group_tests_name("source", tests, NULL, NULL);
    unetstar_context_destroy(context);
    return failed;
}
