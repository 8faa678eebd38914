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

/* ---- The degree by numbers ---- */

enum { SIDE = 16 };

static unetstar_degree_check checked(const unetstar_model *model, double range, int32_t max_degree, int32_t freeze) {
    unetstar_degree_check_options o;
    unetstar_degree_check c;
    int d;
    OK(unetstar_degree_check_options_init(&o, sizeof o));
    o.range = range;
    o.max_degree = max_degree;
    o.freeze_maxima = freeze;
    memset(&c, 0xee, sizeof c);
    c.struct_size = sizeof c;
    OK(unetstar_model_degree_check(model, &o, SIDE, SIDE, x, NULL, &c));
    assert_int_equal(c.nodes, 2 * (max_degree + 1));
    assert_int_equal(c.values, 2 * SIDE * SIDE);
    assert_true(c.variation > 0);
    near(c.residual[0], 1, 0);
    for (d = 1; d <= UNETSTAR_MAX_CHECK_DEGREE; d++)
        assert_true(d <= max_degree ? c.residual[d] >= 0 && c.residual[d] <= c.residual[d - 1] : isnan(c.residual[d]));
    return c;
}

/* Initial weights make values smaller from layer to layer, and what is multiplied smaller still. */
static void enlarge(unetstar_model *model, float factor) {
    int64_t i, k, count, shape[UNETSTAR_MAX_DIMS];
    for (i = 0; i < unetstar_model_tensor_count(model); i++) {
        const char *name = unetstar_model_tensor_name(model, i);
        int32_t dtype, ndim;
        float *data;
        OK(unetstar_model_tensor_shape(model, name, &dtype, &ndim, shape));
        if (ndim != 4)
            continue;
        count = shape[0] * shape[1] * shape[2] * shape[3];
        data = (float *)malloc((size_t)count * sizeof *data);
        OK(unetstar_model_tensor_get(model, name, data, count));
        for (k = 0; k < count; k++)
            data[k] *= factor;
        OK(unetstar_model_tensor_set(model, name, data, count));
        free(data);
    }
}

/* The degree that the graph tells is found by numbers that know nothing of it. */
static void test_check_finds_degree(void **state) {
    static const int32_t shapes[][3] = {{2, 0, BATCH}, {3, 0, UNETSTAR_NORM_NONE}, {4, 0, BATCH}, {4, 1, BATCH}, {5, 1, BATCH}};
    int k, fusion;
    (void)state;
    for (k = 0; k < COUNT(shapes); k++)
        for (fusion = UNETSTAR_FUSION_SUM; fusion <= UNETSTAR_FUSION_CONCAT; fusion++) {
            const int up = (k + fusion) % 3;
            unetstar_model *model;
            unetstar_degree_check c;
            unetstar_degree d;
            if (shapes[k][0] == 5 && fusion != UNETSTAR_FUSION_STAR) /* the others are enough of what takes long */
                continue;
            model = make(fusion, NONE, shapes[k][2], shapes[k][0], shapes[k][1], up);
            enlarge(model, 2);
            c = checked(model, 0.9, 7, 1);
            d.struct_size = sizeof d;
            OK(unetstar_model_degree(model, &d));
            assert_int_equal(d.degree, fusion == UNETSTAR_FUSION_STAR ? shapes[k][0] + shapes[k][1] : 1);
            assert_int_equal(c.degree, d.degree);
            assert_true(c.residual[d.degree] < 1e-13);
            assert_true(c.residual[d.degree - 1] > 1e-5);
            assert_true(c.changed_activations == 0);
            unetstar_model_destroy(model);
        }
}

/* A norm after a fusion, and a depthwise lead, are affine: they change no degree. The norm's own layer reads the fusion. */
static void test_norm_of_fusion(void **state) {
    unetstar_model_options o;
    unetstar_model *model;
    unetstar_degree_check c;
    unetstar_degree d;
    unetstar_features read, made;
    (void)state;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.125;
    o.in_channels = CHANNELS;
    o.levels = 2;
    o.fusion_norm = 1;
    o.block = UNETSTAR_BLOCK_STAR_DEPTHWISE;
    o.block_expansion = 1;
    OK(unetstar_model_create(&model, context, &o));
    enlarge(model, 2);
    d.struct_size = sizeof d;
    OK(unetstar_model_degree(model, &d));
    assert_int_equal(d.degree, 2 * (8 + 4)); /* 2 and 4 in the encoder, 8, then fused and doubled */
    assert_int_equal(d.fusion_degree[0], 12);
    c = checked(model, 0.9, 30, 1);
    print_message("  degree %d of %d\n", (int)c.degree, (int)d.degree);
    assert_true(c.degree > 12 && c.degree <= d.degree); /* the highest powers are small */
    assert_true(c.residual[d.degree] < 1e-13);
    read.struct_size = made.struct_size = sizeof read;
    OK(unetstar_model_features(model, SIDE, SIDE, x, "decoder.0.norm", UNETSTAR_AT_INPUT, NULL, &read));
    OK(unetstar_model_features(model, SIDE, SIDE, x, "decoder.0.norm", UNETSTAR_AT_OUTPUT, NULL, &made));
    near(made.mean * sqrt(1 + 1e-5), read.mean, 1e-6 * fabs(read.mean)); /* running mean 0, variance 1 */
    near(made.variance * (1 + 1e-5), read.variance, 1e-6 * read.variance);
    FAILS_NAMING(UNETSTAR_EINVAL, "fusion",
                 unetstar_model_features(model, SIDE, SIDE, x, "decoder.1.project.0", UNETSTAR_AT_SKIP, NULL, &read));
    unetstar_model_destroy(model);
}

/* With free maxima a network of sums is no polynomial where windows change, and is one on a ray too short for that. */
static void test_check_free_maxima(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_SUM, NONE, BATCH, 4, 0, UNETSTAR_UPSAMPLING_NEAREST);
    unetstar_degree_check c = checked(model, 0.5, 12, 0);
    (void)state;
    assert_int_equal(c.degree, -1);
    assert_true(c.changed_maxima > 0 && c.changed_maxima < 0.5);
    assert_true(c.residual[1] < 0.1 && c.residual[12] > 1e-6);
    c = checked(model, 1e-5, 12, 0);
    assert_int_equal(c.degree, 1);
    assert_true(c.changed_maxima == 0);
    unetstar_model_destroy(model);
}

/* Activations, and norms with statistics of the input, are no polynomials. */
static void test_check_finds_none(void **state) {
    static const int32_t kinds[][2] = {{RELU, BATCH},
                                       {UNETSTAR_ACTIVATION_SILU, BATCH},
                                       {UNETSTAR_ACTIVATION_GELU, BATCH},
                                       {NONE, UNETSTAR_NORM_INSTANCE},
                                       {NONE, UNETSTAR_NORM_GROUP}};
    int k;
    (void)state;
    for (k = 0; k < COUNT(kinds); k++) {
        unetstar_model *model = make(UNETSTAR_FUSION_STAR, kinds[k][0], kinds[k][1], 3, 0, 0);
        unetstar_degree_check c = checked(model, 0.9, 6, 1);
        assert_int_equal(c.degree, -1);
        assert_true(c.residual[6] > 1e-7);
        assert_true((c.changed_activations > 0) == (kinds[k][0] == RELU));
        unetstar_model_destroy(model);
    }
}

/* The largest residual at degree 0 of a function that is known: 1 class, all weights 0 but the head's bias. */
static void test_check_edges(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_STAR, NONE, BATCH, 2, 0, 0);
    static const float zeros[2 * 8];
    const float bias[2] = {3, NAN};
    unetstar_degree_check_options o;
    unetstar_degree_check c;
    unetstar_cancel *cancel;
    (void)state;
    OK(unetstar_model_tensor_set(model, "out.weight", zeros, 2 * 8));
    c.struct_size = sizeof c;
    OK(unetstar_model_degree_check(model, NULL, SIDE, SIDE, x, NULL, &c)); /* constant logits */
    assert_int_equal(c.degree, 0);
    assert_true(c.residual[0] == 0 && c.residual[12] == 0 && isnan(c.residual[13]) && c.variation == 0);
    OK(unetstar_model_tensor_set(model, "out.bias", bias, 2));
    OK(unetstar_model_degree_check(model, NULL, SIDE, SIDE, x, NULL, &c));
    assert_int_equal(c.degree, -1);
    assert_true(isnan(c.residual[0]) && isnan(c.residual[12]));
    OK(unetstar_degree_check_options_init(&o, sizeof o));
    o.max_degree = 0;
    OK(unetstar_model_degree_check(model, &o, 1, 1, x, NULL, &c)); /* one pixel, padded */
    assert_int_equal(c.nodes, 2);
    assert_int_equal(c.values, 2);
    OK(unetstar_cancel_create(&cancel, context));
    unetstar_cancel_request(cancel);
    FAILS(UNETSTAR_ECANCELED, unetstar_model_degree_check(model, NULL, SIDE, SIDE, x, cancel, &c));
    unetstar_cancel_destroy(cancel);
    FAILS(UNETSTAR_ESHAPE, unetstar_model_degree_check(model, NULL, 0, SIDE, x, NULL, &c));
    FAILS(UNETSTAR_ELIMIT, unetstar_model_degree_check(model, NULL, SIDE, 1025, x, NULL, &c));
    c.struct_size = 3;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size", unetstar_model_degree_check(model, NULL, SIDE, SIDE, x, NULL, &c));
    c.struct_size = sizeof c;
#define REFUSES(field, value)                                                                                          \
    OK(unetstar_degree_check_options_init(&o, sizeof o));                                                              \
    o.field = value;                                                                                                   \
    FAILS_NAMING(UNETSTAR_EINVAL, #field, unetstar_model_degree_check(model, &o, SIDE, SIDE, x, NULL, &c))
    REFUSES(range, 0);
    REFUSES(range, 101);
    REFUSES(range, NAN);
    REFUSES(tolerance, -1e-3);
    REFUSES(tolerance, NAN);
    REFUSES(max_degree, -1);
    REFUSES(max_degree, UNETSTAR_MAX_CHECK_DEGREE + 1);
    REFUSES(freeze_maxima, 2);
    unetstar_model_destroy(model);
}

/* ---- Features ---- */

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
    unetstar_degree_check check, wanted;
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
        check = checked(model, 0.5, 4, 0);
        if (k) {
            assert_memory_equal(&check, &wanted, offsetof(unetstar_degree_check, residual) + 5 * sizeof(double));
            assert_memory_equal(&got, &want, sizeof got);
            assert_memory_equal(singular[0], singular[1], sizeof singular[0]);
        }
        want = got;
        wanted = check;
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
        cmocka_unit_test(test_degrees_of_star_blocks), cmocka_unit_test(test_norm_of_fusion),
        cmocka_unit_test(test_degrees),  cmocka_unit_test(test_image),      cmocka_unit_test(test_fusions),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_one_result),
        cmocka_unit_test(test_check_finds_degree), cmocka_unit_test(test_check_free_maxima),
        cmocka_unit_test(test_check_finds_none), cmocka_unit_test(test_check_edges),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
