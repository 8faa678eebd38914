/*
 * test_golden_layers.c - the layer primitives and the losses against PyTorch, forward and backward.
 *
 *     test_golden_layers FOLDER [FILTER]
 */
#include "golden_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORWARD_LIMIT 2e-6 /* of the largest value of a tensor */
#define BACKWARD_LIMIT 5e-6
#define LOSS_LIMIT 2e-6

static golden_file *file;
static unetstar_context *ctx;
static const char *name;          /* of the case */
static const golden_tensor *args; /* its numbers */
static int failures;
static golden_worst worst_forward, worst_backward;

static int64_t arg(const char *key) {
    return (int64_t)golden_value(args, key);
}

static const float *in(const char *field) {
    return golden_need(file, "%s.%s", name, field)->data;
}

/* NULL when the case does not have it (no bias, no gamma). */
static const float *maybe(const char *field) {
    const golden_tensor *t = golden_find(file, "%s.%s", name, field);
    return t ? t->data : NULL;
}

/* Memory for a result, filled with NaN: what the library does not write is wrong. NULL when it is not expected. */
static float *out(const char *field) {
    const golden_tensor *want = golden_find(file, "%s.%s", name, field);
    float *got;

    if (want == NULL)
        return NULL;
    got = golden_memory((size_t)want->count, sizeof *got);
    for (int64_t i = 0; i < want->count; i++)
        got[i] = NAN;
    return got;
}

static void check(const char *field, float *got, int forward) {
    const golden_tensor *want = golden_find(file, "%s.%s", name, field);
    const double limit = forward ? FORWARD_LIMIT : BACKWARD_LIMIT;
    char what[96];

    if (want == NULL)
        return;
    snprintf(what, sizeof what, "%.48s.%.32s", name, field);
    failures += !(golden_compare(want, got, limit, 0, what, forward ? &worst_forward : &worst_backward) <= limit);
    free(got);
}

/* ---- Layers ------------------------------------------------------------------------------------------------------ */

static void conv(void) {
    unetstar_conv2d_options o;
    float *y = out("y"), *dx = out("dx"), *dw = out("dweight"), *db = out("dbias");
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w"), co = arg("c_out");

    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.kernel_h = (int32_t)arg("kernel_h");
    o.kernel_w = (int32_t)arg("kernel_w");
    o.stride_h = (int32_t)arg("stride_h");
    o.stride_w = (int32_t)arg("stride_w");
    o.padding_h = (int32_t)arg("padding_h");
    o.padding_w = (int32_t)arg("padding_w");
    o.dilation = (int32_t)arg("dilation");
    o.groups = (int32_t)arg("groups");
    OK(unetstar_conv2d_forward(ctx, &o, n, c, h, w, co, in("x"), in("weight"), maybe("bias"), y));
    OK(unetstar_conv2d_backward(ctx, &o, n, c, h, w, co, in("x"), in("weight"), in("dy"), dx, dw, db));
    check("y", y, 1);
    check("dx", dx, 0);
    check("dweight", dw, 0);
    check("dbias", db, 0);
}

static void linear(void) {
    float *y = out("y"), *dx = out("dx"), *dw = out("dweight"), *db = out("dbias");
    const int64_t n = arg("n"), c = arg("c"), co = arg("c_out");

    OK(unetstar_linear_forward(ctx, n, c, co, in("x"), in("weight"), maybe("bias"), y));
    OK(unetstar_linear_backward(ctx, n, c, co, in("x"), in("weight"), in("dy"), dx, dw, db));
    check("y", y, 1);
    check("dx", dx, 0);
    check("dweight", dw, 0);
    check("dbias", db, 0);
}

/* kind: 'b'atch, 'g'roup, 'l'ayer. */
static void norm(char kind) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w"), groups = arg("groups");
    const float eps = (float)golden_value(args, "eps"), momentum = (float)golden_value(args, "momentum");
    float *y = out("y"), *dx = out("dx"), *dg = out("dgamma"), *db = out("dbeta");
    float *mean = golden_memory((size_t)(n * c), sizeof *mean),
          *inverse = golden_memory((size_t)(n * c), sizeof *inverse);
    float *rm = out("new_mean"), *rv = out("new_var");
    const float *x = in("x"), *gamma = maybe("gamma"), *beta = maybe("beta"), *dy = in("dy");

    if (kind == 'b') {
        memcpy(rm, in("running_mean"), (size_t)c * sizeof *rm);
        memcpy(rv, in("running_var"), (size_t)c * sizeof *rv);
        OK(unetstar_batch_norm_forward(ctx, n, c, h, w, x, gamma, beta, eps, momentum, rm, rv, y, mean, inverse));
        OK(unetstar_batch_norm_backward(ctx, n, c, h, w, x, gamma, mean, inverse, dy, dx, dg, db));
    } else if (kind == 'g') {
        OK(unetstar_group_norm_forward(ctx, n, c, h, w, groups, x, gamma, beta, eps, y, mean, inverse));
        OK(unetstar_group_norm_backward(ctx, n, c, h, w, groups, x, gamma, mean, inverse, dy, dx, dg, db));
    } else {
        OK(unetstar_layer_norm_forward(ctx, n, c, h, w, x, gamma, beta, eps, y, mean, inverse));
        OK(unetstar_layer_norm_backward(ctx, n, c, h, w, x, gamma, mean, inverse, dy, dx, dg, db));
    }
    check("y", y, 1);
    check("new_mean", rm, 1);
    check("new_var", rv, 1);
    check("dx", dx, 0);
    check("dgamma", dg, 0);
    check("dbeta", db, 0);
    free(mean);
    free(inverse);
}

static void batch_norm(void) {
    norm('b');
}

static void group_norm(void) {
    norm('g');
}

static void layer_norm(void) {
    norm('l');
}

/* Values span eight decades, so they are compared element by element, near zero on the scale of 0.02: in float32 the
 * tail of gelu is what 1 + erf leaves, in PyTorch too. */
static void activation_errors(const char *field, const float *got, int64_t count) {
    const golden_tensor *want = golden_need(file, "%s.%s", name, field);
    char what[96];

    assert_int_equal(want->stride, 1);
    for (int64_t i = 0; i < count; i++) {
        const double value = ((const float *)want->data)[i];
        const double scale = fabs(value) > 0.02 ? fabs(value) : 0.02;
        snprintf(what, sizeof what, "%.32s.%.16s(%.6g)", name, field, (double)in("x")[i]);
        failures += !(golden_compare_array(&value, got + i, 1, BACKWARD_LIMIT, scale, what, NULL) <= BACKWARD_LIMIT);
    }
}

static void activation(void) {
    const int64_t count = arg("count");
    const int32_t kind = (int32_t)arg("activation");
    const float slope = (float)golden_value(args, "slope");
    float *y = out("y"), *dx = out("dx");

    OK(unetstar_activation_forward(ctx, kind, slope, count, in("x"), y));
    OK(unetstar_activation_backward(ctx, kind, slope, count, in("x"), in("dy"), dx));
    activation_errors("y", y, count);
    activation_errors("dx", dx, count);
    memcpy(y, in("x"), (size_t)count * sizeof *y); /* in place */
    OK(unetstar_activation_forward(ctx, kind, slope, count, y, y));
    activation_errors("y", y, count);
    check("y", y, 1);
    check("dx", dx, 0);
}

static void max_pool(void) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w");
    float *y = out("y"), *dx = out("dx");

    OK(unetstar_max_pool2d_forward(ctx, n, c, h, w, in("x"), y));
    OK(unetstar_max_pool2d_backward(ctx, n, c, h, w, in("x"), in("dy"), dx));
    check("y", y, 1);
    check("dx", dx, 0);
}

static void upsample(void) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w");
    float *y = out("y"), *dx = out("dx");

    OK(unetstar_upsample2_forward(ctx, (int32_t)arg("mode"), n, c, h, w, in("x"), y));
    OK(unetstar_upsample2_backward(ctx, (int32_t)arg("mode"), n, c, h, w, in("dy"), dx));
    check("y", y, 1);
    check("dx", dx, 0);
}

static void conv_transpose(void) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w"), co = arg("c_out");
    float *y = out("y"), *dx = out("dx"), *dw = out("dweight"), *db = out("dbias");

    OK(unetstar_conv_transpose2d_forward(ctx, n, c, h, w, co, in("x"), in("weight"), maybe("bias"), y));
    OK(unetstar_conv_transpose2d_backward(ctx, n, c, h, w, co, in("x"), in("weight"), in("dy"), dx, dw, db));
    check("y", y, 1);
    check("dx", dx, 0);
    check("dweight", dw, 0);
    check("dbias", db, 0);
}

static void add(void) {
    float *y = out("y"), *da = out("da"), *db = out("db");

    OK(unetstar_add_forward(ctx, arg("count"), in("a"), in("b"), y));
    OK(unetstar_add_backward(ctx, arg("count"), in("dy"), da, db));
    check("y", y, 1);
    check("da", da, 0);
    check("db", db, 0);
}

static void multiply(void) {
    float *y = out("y"), *da = out("da"), *db = out("db");

    OK(unetstar_multiply_forward(ctx, arg("count"), in("a"), in("b"), y));
    OK(unetstar_multiply_backward(ctx, arg("count"), in("a"), in("b"), in("dy"), da, db));
    check("y", y, 1);
    check("da", da, 0);
    check("db", db, 0);
}

static void concat(void) {
    const int64_t n = arg("n"), ca = arg("ca"), cb = arg("cb"), h = arg("h"), w = arg("w");
    float *y = out("y"), *da = out("da"), *db = out("db");

    OK(unetstar_concat_forward(ctx, n, ca, cb, h, w, in("a"), in("b"), y));
    OK(unetstar_concat_backward(ctx, n, ca, cb, h, w, in("dy"), da, db));
    check("y", y, 1);
    check("da", da, 0);
    check("db", db, 0);
}

static void softmax(void) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w");
    float *y = out("y"), *dx = out("dx");

    OK(unetstar_softmax_forward(ctx, n, c, h, w, in("x"), y));
    OK(unetstar_softmax_backward(ctx, n, c, h, w, y, in("dy"), dx));
    check("y", y, 1);
    check("dx", dx, 0);
}

static void loss(void) {
    const int64_t n = arg("n"), c = arg("c"), h = arg("h"), w = arg("w");
    const golden_tensor *mask = golden_find(file, "%s.mask", name);
    const uint8_t *labels = golden_need(file, "%s.labels", name)->data;
    const double want = *(const double *)golden_need(file, "%s.loss", name)->data;
    float *dx = out("dx");
    unetstar_loss_options o;
    double got = NAN, alone = NAN;

    golden_loss_options(args, &o);
    OK(unetstar_loss(ctx, &o, n, c, h, w, in("x"), labels, mask ? mask->data : NULL, &got, dx));
    OK(unetstar_loss(ctx, &o, n, c, h, w, in("x"), labels, mask ? mask->data : NULL, &alone, NULL));
    assert_true(got == alone);
    failures += !(golden_compare_number(want, got, LOSS_LIMIT, name, &worst_forward) <= LOSS_LIMIT);
    check("dx", dx, 0);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static const struct layer_case {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"conv_3x3", conv},
    {"conv_3x3_blocks", conv},
    {"conv_3x3_nobias", conv},
    {"conv_3x3_tiny", conv},
    {"conv_stride2", conv},
    {"conv_dilation2", conv},
    {"conv_groups2", conv},
    {"conv_depthwise", conv},
    {"conv_1x1", conv},
    {"conv_5x3", conv},
    {"conv_mixed", conv},
    {"conv_3x3_valid", conv},
    {"linear", linear},
    {"linear_wide", linear},
    {"linear_one", linear},
    {"batch_norm", batch_norm},
    {"batch_norm_plain", batch_norm},
    {"batch_norm_offset", batch_norm},
    {"batch_norm_two_values", batch_norm},
    {"group_norm", group_norm},
    {"group_norm_instance", group_norm},
    {"group_norm_plain", group_norm},
    {"layer_norm", layer_norm},
    {"layer_norm_plain", layer_norm},
    {"act_none", activation},
    {"act_relu", activation},
    {"act_leaky_relu", activation},
    {"act_leaky_relu_steep", activation},
    {"act_relu6", activation},
    {"act_silu", activation},
    {"act_gelu", activation},
    {"max_pool", max_pool},
    {"max_pool_ties", max_pool},
    {"max_pool_tiny", max_pool},
    {"up_nearest", upsample},
    {"up_nearest_one", upsample},
    {"up_nearest_row", upsample},
    {"up_bilinear", upsample},
    {"up_bilinear_one", upsample},
    {"up_bilinear_row", upsample},
    {"conv_transpose", conv_transpose},
    {"conv_transpose_wide", conv_transpose},
    {"add", add},
    {"multiply", multiply},
    {"concat", concat},
    {"softmax", softmax},
    {"softmax_two", softmax},
    {"softmax_far", softmax},
    {"softmax_one", softmax},
    {"loss_ce", loss},
    {"loss_ce_masked", loss},
    {"loss_ce_three", loss},
    {"loss_ce_eight", loss},
    {"loss_ce_far", loss},
    {"loss_ce_weighted", loss},
    {"loss_ce_weighted_masked", loss},
    {"loss_bce", loss},
    {"loss_bce_far", loss},
    {"loss_bce_weighted", loss},
    {"loss_focal", loss},
    {"loss_focal_gamma", loss},
    {"loss_focal_gamma0", loss},
    {"loss_focal_one", loss},
    {"loss_dice", loss},
    {"loss_dice_three", loss},
    {"loss_dice_one", loss},
    {"loss_sum", loss},
    {"loss_sum_weighted", loss},
    {"loss_sum_one", loss},
    {"loss_one_pixel", loss},
    {"loss_empty", loss},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static void test_case(void **state) {
    const struct layer_case *c = *state;

    name = c->name;
    args = golden_need(file, "%s.args", name);
    failures = 0;
    c->run();
    assert_int_equal(failures, 0);
}

static void test_index(void **state) {
    const char *names[N_CASES];

    (void)state;
    for (int i = 0; i < N_CASES; i++)
        names[i] = cases[i].name;
    golden_check_index(golden_need(file, "index"), names, N_CASES);
}

static int start(void **state) {
    char error[1200], path[1024];

    (void)state;
    snprintf(path, sizeof path, "%s/cases/layers.gold", golden_folder);
    file = golden_open(path, error, sizeof error);
    if (file == NULL) {
        printf("%s\n", error);
        return -1;
    }
    ctx = golden_context();
    return 0;
}

static int stop(void **state) {
    (void)state;
    printf("worst forward %.2e %s, backward %.2e %s\n", worst_forward.error, worst_forward.where, worst_backward.error,
           worst_backward.where);
    unetstar_context_destroy(ctx);
    golden_close(file);
    return 0;
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[N_CASES + 1];

    if (argc > 1)
        golden_folder = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    tests[0].name = "every case has its test";
    tests[0].test_func = test_index;
    for (int i = 0; i < N_CASES; i++) {
        tests[i + 1].name = cases[i].name;
        tests[i + 1].test_func = test_case;
        tests[i + 1].initial_state = (void *)(uintptr_t)&cases[i];
    }
    return cmocka_run_group_tests_name("golden layers", tests, start, stop);
}
