/* test_network.c - options of a network that show before anything is trained: initial weights, and what does not go
 * together. */
#include "common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static unetstar_context *context;

/* The largest weight of a tensor, in units of 1 / sqrt(fan_in). */
static double largest(const float *w, int64_t count, double fan_in) {
    double most = 0;
    int64_t i;
    for (i = 0; i < count; i++)
        most = fmax(most, fabs((double)w[i]));
    return most * sqrt(fan_in);
}

/* Fan-in of every convolution, by hand; weights within their bounds and near them; He's are the same draws, sqrt(6)
 * times. */
static void test_initial_weights(void **state) {
    static const struct {
        const char *name;
        int64_t count;
        double fan_in;
    } want[] = {{"encoder.1.project.0.weight", 32 * 64, 32}, {"encoder.1.lead.0.weight", 64 * 9, 9},
                {"encoder.1.f2.0.weight", 192 * 64, 64},     {"encoder.1.g.0.weight", 64 * 192, 192},
                {"decoder.0.up.weight", 64 * 64 * 4, 256},   {"out.weight", 2 * 32, 32}};
    unetstar_model *plain, *he;
    unetstar_model_options o;
    int k;
    (void)state;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.block = UNETSTAR_BLOCK_STAR_DEPTHWISE;
    o.upsampling = UNETSTAR_UPSAMPLING_TRANSPOSED;
    o.levels = 2;
    OK(unetstar_model_create(&plain, context, &o));
    o.initialization = UNETSTAR_INIT_HE;
    OK(unetstar_model_create(&he, context, &o));
    for (k = 0; k < COUNT(want); k++) {
        float *a = malloc((size_t)want[k].count * sizeof *a), *b = malloc((size_t)want[k].count * sizeof *b);
        double most, scaled;
        int64_t i;
        OK(unetstar_model_tensor_get(plain, want[k].name, a, want[k].count));
        OK(unetstar_model_tensor_get(he, want[k].name, b, want[k].count));
        most = largest(a, want[k].count, want[k].fan_in);
        scaled = largest(b, want[k].count, want[k].fan_in);
        print_message("  %s: %.4f and %.4f\n", want[k].name, most, scaled);
        assert_true(most <= 1.0000001 && most > 0.9 && scaled <= sqrt(6) * 1.0000001);
        for (i = 0; i < want[k].count; i++)
            assert_true(fabs((double)b[i] - sqrt(6) * (double)a[i]) <= 1e-6 * fabs((double)b[i]));
        free(a);
        free(b);
    }
    unetstar_model_destroy(plain);
    unetstar_model_destroy(he);
}

static void test_fusion_norm_needs_a_norm(void **state) {
    unetstar_model_options o;
    unetstar_model *model = NULL;
    (void)state;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.fusion_norm = 1;
    o.fusion = UNETSTAR_FUSION_CONCAT;
    FAILS(UNETSTAR_EINVAL, unetstar_model_create(&model, context, &o));
    assert_non_null(strstr(unetstar_last_error(), "fusion_norm"));
    o.fusion = UNETSTAR_FUSION_SUM;
    o.norm = UNETSTAR_NORM_NONE;
    FAILS(UNETSTAR_EINVAL, unetstar_model_create(&model, context, &o));
    assert_null(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_initial_weights),
                                       cmocka_unit_test(test_fusion_norm_needs_a_norm)};
    int failed;
    context = make_context(1);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unetstar_context_destroy(context);
    return failed;
}
