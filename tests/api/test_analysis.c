/*
 * test_analysis.c - the degree of networks worked out by hand, and features at layers against what must hold between
 * them.
 */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 37, W = 45, CHANNELS = 3 };

static unetstar_context *context;
static float x[CHANNELS * H * W];

static unetstar_model *make(int32_t fusion, int32_t activation, int32_t norm, int32_t levels, int32_t full,
                            int32_t upsampling) {
    unetstar_model_options o;
    unetstar_model *model;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.125;
    o.in_channels = CHANNELS;
    o.fusion = fusion;
    o.activation = activation;
    o.norm = norm;
    o.levels = levels;
    o.full_resolution_head = full;
    o.upsampling = upsampling;
    o.norm_groups = 4;
    OK(unetstar_model_create(&model, context, &o));
    return model;
}

static unetstar_degree degree_of(int32_t fusion, int32_t activation, int32_t norm, int32_t levels, int32_t full) {
    unetstar_model *model = make(fusion, activation, norm, levels, full, UNETSTAR_UPSAMPLING_NEAREST);
    unetstar_degree d;
    d.struct_size = sizeof d;
    OK(unetstar_model_degree(model, &d));
    unetstar_model_destroy(model);
    return d;
}

static void near(double got, double want, double limit) {
    if (!(fabs(got - want) <= limit))
        fail_msg("%.17g, not %.17g", got, want);
}

enum { NONE = UNETSTAR_ACTIVATION_NONE, RELU = UNETSTAR_ACTIVATION_RELU, BATCH = UNETSTAR_NORM_BATCH };

static void test_degrees(void **state) {
    unetstar_degree d;
    int k;
    (void)state;
    d = degree_of(UNETSTAR_FUSION_STAR, NONE, BATCH, 4, 0);
    assert_int_equal(d.polynomial, 1);
    assert_int_equal(d.degree, 4);
    assert_int_equal(d.n_fusions, 3);
    for (k = 0; k < 3; k++) {
        assert_int_equal(d.fusion_degree[k], k + 2);
        assert_int_equal(d.fusion_width[k], 64 >> k); /* narrow .125: 8, 16, 32, 64 channels */
    }
    assert_int_equal(d.fusion_degree[3], 0);
    near(d.log10_exact[0], log10(66.0 * 65 / 2), 1e-12);
    near(d.log10_exact[1], log10(35.0 * 34 * 33 / 6), 1e-12);
    near(d.log10_exact[2], log10(20.0 * 19 * 18 * 17 / 24), 1e-12);
    near(d.log10_paper[0], 2 * log10(64 / sqrt(2.0)), 1e-12);
    near(d.log10_paper[1], 4 * log10(32 / sqrt(2.0)), 1e-12);
    near(d.log10_paper[2], 8 * log10(16 / sqrt(2.0)), 1e-12);
    d = degree_of(UNETSTAR_FUSION_STAR, NONE, UNETSTAR_NORM_NONE, 5, 1);
    assert_int_equal(d.degree, 6);
    assert_int_equal(d.n_fusions, UNETSTAR_MAX_FUSIONS);
    assert_int_equal(d.fusion_width[4], 8);
    for (k = UNETSTAR_FUSION_SUM; k <= UNETSTAR_FUSION_CONCAT; k++) {
        if (k == UNETSTAR_FUSION_STAR)
            continue;
        d = degree_of(k, NONE, BATCH, 3, 1);
        assert_int_equal(d.degree, 1);
        assert_int_equal(d.n_fusions, 3);
        assert_int_equal(d.fusion_width[2], 8);
        near(d.log10_exact[2], log10(9.0), 1e-12);
        assert_true(isnan(d.log10_paper[2]));
    }
    d = degree_of(UNETSTAR_FUSION_STAR, RELU, BATCH, 4, 0);
    assert_int_equal(d.polynomial, 0);
    assert_int_equal(d.degree, -1);
    assert_int_equal(d.fusion_degree[1], -1);
    assert_true(isnan(d.log10_exact[1]));
    near(d.log10_paper[1], 4 * log10(32 / sqrt(2.0)), 1e-12);
    assert_int_equal(degree_of(UNETSTAR_FUSION_STAR, NONE, UNETSTAR_NORM_INSTANCE, 4, 0).degree, -1);
    assert_int_equal(degree_of(UNETSTAR_FUSION_SUM, NONE, UNETSTAR_NORM_GROUP, 4, 0).polynomial, 0);
}

/* A star block doubles the degree: 2, 4, 8, 16 in the encoder; 32 at the bottom, and then fused, doubled, fused, ... */
static void test_degrees_of_star_blocks(void **state) {
    static const int64_t star[] = {32 + 16, 96 + 8, 208 + 4}, sum[] = {32, 64, 128};
    unetstar_model_options o;
    unetstar_model *model;
    unetstar_degree d;
    int k, stars;
    (void)state;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.125;
    o.block = UNETSTAR_BLOCK_STAR;
    for (stars = 0; stars < 2; stars++) {
        o.fusion = stars ? UNETSTAR_FUSION_STAR : UNETSTAR_FUSION_SUM;
        OK(unetstar_model_create(&model, context, &o));
        d.struct_size = sizeof d;
        OK(unetstar_model_degree(model, &d));
        assert_int_equal(d.polynomial, 1);
        assert_int_equal(d.n_fusions, 3); /* those of skip connections */
        assert_int_equal(d.degree, stars ? 424 : 256);
        for (k = 0; k < 3; k++) {
            assert_int_equal(d.fusion_degree[k], stars ? star[k] : sum[k]);
            assert_int_equal(d.fusion_width[k], 64 >> k);
            if (stars) /* after the five blocks before it, then two stars more each time */
                near(d.log10_paper[k], (1 << (6 + 2 * k)) * log10((64 >> k) / sqrt(2.0)), 1e-9);
        }
        unetstar_model_destroy(model);
    }
    /* The largest there is. Every fusion adds what the encoder has, every block doubles: it stays far below 2^63. */
    o.levels = 5;
    o.full_resolution_head = 1;
    o.fusion = UNETSTAR_FUSION_STAR;
    OK(unetstar_model_create(&model, context, &o));
    OK(unetstar_model_degree(model, &d));
    assert_int_equal(d.degree, 2 * (2 + 2 * (4 + 2 * (8 + 2 * (16 + 2 * (32 + 64))))));
    unetstar_model_destroy(model);
}

static unetstar_features at(const unetstar_model *model, const char *layer, int32_t place, double *singular) {
    unetstar_features f;
    memset(&f, 0xee, sizeof f);
    f.struct_size = sizeof f;
    OK(unetstar_model_features(model, H, W, x, layer, place, singular, &f));
    return f;
}

static void test_image(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_STAR, RELU, BATCH, 3, 0, UNETSTAR_UPSAMPLING_NEAREST);
    unetstar_features f = at(model, "encoder.0.conv.0", UNETSTAR_AT_INPUT, NULL);
    double sum = 0, squares = 0, singular[CHANNELS], total = 0;
    int k;
    (void)state;
    assert_int_equal(f.pixels, H * W); /* without the padding to 40 x 48 */
    assert_int_equal(f.channels, CHANNELS);
    for (k = 0; k < CHANNELS * H * W; k++) {
        sum += (double)x[k];
        squares += (double)x[k] * (double)x[k];
    }
    near(f.mean, sum / (CHANNELS * H * W), 1e-12);
    near(f.variance, squares / (CHANNELS * H * W) - f.mean * f.mean, 1e-9);
    at(model, "encoder.0.conv.0", UNETSTAR_AT_INPUT, singular);
    for (k = 0; k < CHANNELS; k++)
        total += singular[k] * singular[k];
    near(total, squares, 1e-6);
    /* after a ReLU nothing is negative, and a map of half the size has half the rows, rounded up */
    f = at(model, "encoder.1.conv.0", UNETSTAR_AT_OUTPUT, NULL);
    assert_int_equal(f.pixels, ((H + 1) / 2) * ((W + 1) / 2));
    assert_int_equal(f.channels, 16);
    assert_true(f.mean > 0 && f.skewness > 0);
    unetstar_model_destroy(model);
}

/* All fusions and ways of upsampling: what a convolution reads is made of its two parts. */
static void test_fusions(void **state) {
    int fusion, up;
    (void)state;
    for (fusion = UNETSTAR_FUSION_SUM; fusion <= UNETSTAR_FUSION_CONCAT; fusion++)
        for (up = UNETSTAR_UPSAMPLING_NEAREST; up <= UNETSTAR_UPSAMPLING_TRANSPOSED; up++) {
            unetstar_model *model = make(fusion, RELU, fusion % 2 ? BATCH : UNETSTAR_NORM_INSTANCE, 3, 1, up);
            const unetstar_features m = at(model, "decoder.2.conv.0", UNETSTAR_AT_MAIN, NULL);
            const unetstar_features s = at(model, "decoder.2.conv.0", UNETSTAR_AT_SKIP, NULL);
            const unetstar_features f = at(model, "decoder.2.conv.0", UNETSTAR_AT_INPUT, NULL);
            unetstar_features other;
            assert_int_equal(m.channels, 16);
            assert_int_equal(s.channels, 16);
            assert_int_equal(f.channels, fusion == UNETSTAR_FUSION_CONCAT ? 32 : 16);
            assert_int_equal(f.pixels, ((H + 1) / 2) * ((W + 1) / 2));
            assert_int_equal(m.pixels, f.pixels);
            if (fusion == UNETSTAR_FUSION_SUM)
                near(f.mean, m.mean + s.mean, 1e-6);
            if (fusion == UNETSTAR_FUSION_CONCAT)
                near(f.mean, (m.mean + s.mean) / 2, 1e-9);
            if (fusion == UNETSTAR_FUSION_STAR && up != UNETSTAR_UPSAMPLING_TRANSPOSED) /* of what is not negative */
                assert_true(f.mean > 0 &&
                            f.mean <= sqrt((m.variance + m.mean * m.mean) * (s.variance + s.mean * s.mean)));
            /* the skip connection is the encoder's output */
            other = at(model, "encoder.1.conv.3", UNETSTAR_AT_OUTPUT, NULL);
            assert_memory_equal(&other, &s, sizeof s);
            if (up == UNETSTAR_UPSAMPLING_TRANSPOSED) { /* and the main part that of the transposed convolution */
                other = at(model, "decoder.1.up", UNETSTAR_AT_OUTPUT, NULL);
                assert_memory_equal(&other, &m, sizeof m);
                other = at(model, "decoder.1.up", UNETSTAR_AT_INPUT, NULL);
                assert_int_equal(other.pixels, ((H + 3) / 4) * ((W + 3) / 4));
            }
            unetstar_model_destroy(model);
        }
}

static void test_refusals(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_STAR, NONE, BATCH, 2, 0, UNETSTAR_UPSAMPLING_NEAREST);
    unetstar_features f;
    unetstar_degree d;
    (void)state;
    f.struct_size = sizeof f;
    FAILS_NAMING(UNETSTAR_EINVAL, "encoder.7",
                 unetstar_model_features(model, H, W, x, "encoder.7.conv.0", 0, NULL, &f));
    FAILS(UNETSTAR_EINVAL, unetstar_model_features(model, H, W, x, "", 0, NULL, &f));
    FAILS(UNETSTAR_EINVAL, unetstar_model_features(model, H, W, x, "out", 0, NULL, &f));
    FAILS_NAMING(UNETSTAR_EINVAL, "fusion",
                 unetstar_model_features(model, H, W, x, "encoder.0.conv.0", UNETSTAR_AT_MAIN, NULL, &f));
    FAILS_NAMING(UNETSTAR_EINVAL, "place", unetstar_model_features(model, H, W, x, "encoder.0.conv.0", 4, NULL, &f));
    FAILS(UNETSTAR_EINVAL, unetstar_model_features(model, H, W, x, "encoder.0.conv.0", -1, NULL, &f));
    FAILS(UNETSTAR_ESHAPE, unetstar_model_features(model, 0, W, x, "encoder.0.conv.0", 0, NULL, &f));
    FAILS(UNETSTAR_ESHAPE, unetstar_model_features(model, H, 40000, x, "encoder.0.conv.0", 0, NULL, &f));
    f.struct_size = 0;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size",
                 unetstar_model_features(model, H, W, x, "encoder.0.conv.0", 0, NULL, &f));
    d.struct_size = SIZE_MAX;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size", unetstar_model_degree(model, &d));
    unetstar_model_destroy(model);
}

/* The same bits on more threads and with the plain kernels. */
static void test_one_result(void **state) {
    unetstar_context *const first = context;
    unetstar_features want, got;
    double singular[2][16];
    int k;
    (void)state;
    for (k = 0; k < 2; k++) {
        unetstar_context_options o;
        unetstar_model *model;
        OK(unetstar_context_options_init(&o, sizeof o));
        o.n_threads = k ? 3 : 1;
        o.isa_limit = k ? UNETSTAR_ISA_REFERENCE : UNETSTAR_ISA_BEST;
        OK(unetstar_context_create(&context, &o));
        model = make(UNETSTAR_FUSION_STAR, NONE, BATCH, 3, 0, UNETSTAR_UPSAMPLING_BILINEAR);
        got = at(model, "decoder.2.conv.0", UNETSTAR_AT_INPUT, singular[k]);
        if (k) {
            assert_memory_equal(&got, &want, sizeof got);
            assert_memory_equal(singular[0], singular[1], sizeof singular[0]);
        }
        want = got;
        unetstar_model_destroy(model);
        unetstar_context_destroy(context);
    }
    context = first;
}

static int start(void **state) {
    int k;
    (void)state;
    for (k = 0; k < CHANNELS * H * W; k++)
        x[k] = noise((uint64_t)k);
    OK(unetstar_context_create(&context, NULL));
    return 0;
}

static int stop(void **state) {
    (void)state;
    unetstar_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_degrees),  cmocka_unit_test(test_degrees_of_star_blocks), cmocka_unit_test(test_image),      cmocka_unit_test(test_fusions),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_one_result),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
