/*
 * test_spectrum.c - eigenvalues, ranks and moments of matrices whose answers are known, or were printed by numpy 1.24.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nn/nn.h"

static us_context *ctx;

static int setup(void **state) {
    unetstar_context_options options;
    (void)state;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.n_threads = 1;
    return us_context_create(&ctx, &options);
}

static int teardown(void **state) {
    (void)state;
    us_context_unref(ctx);
    return 0;
}

static void near(double got, double want, double limit) {
    if (!(fabs(got - want) <= limit))
        fail_msg("%.17g, not %.17g", got, want);
}

struct matrix {
    const float *values;
    int64_t width, channels;
};

static void read_matrix(void *user, int64_t y, float *pixels) {
    const struct matrix *m = (const struct matrix *)user;
    memcpy(pixels, m->values + y * m->width * m->channels, (size_t)(m->width * m->channels) * sizeof *pixels);
}

static struct us_features measure(const float *values, int64_t height, int64_t width, int64_t channels,
                                  double *singular) {
    struct matrix m = {values, width, channels};
    struct us_feature_rows rows = {read_matrix, &m, height, width, channels};
    struct us_features f;
    memset(&f, 0xcd, sizeof f);
    assert_int_equal(us_features_measure(&f, ctx, &rows, singular), 0);
    assert_int_equal(f.pixels, height * width);
    assert_int_equal(f.channels, channels);
    return f;
}

static void eigenvalues_by_hand(void **state) {
    double two[] = {2, 1, 1, 2}, zero[9] = {0}, one[] = {-3}, v[3];
    /* 2 on the diagonal and -1 beside it: 2 - 2 cos(k pi / 4) */
    double chain[] = {2, -1, 0, -1, 2, -1, 0, -1, 2};
    (void)state;
    us_eigenvalues(two, 2, v);
    near(v[0], 3, 1e-15);
    near(v[1], 1, 1e-15);
    us_eigenvalues(chain, 3, v);
    near(v[0], 2 + sqrt(2.0), 1e-14);
    near(v[1], 2, 1e-14);
    near(v[2], 2 - sqrt(2.0), 1e-14);
    us_eigenvalues(zero, 3, v);
    near(v[0], 0, 0);
    us_eigenvalues(one, 1, v);
    near(v[0], -3, 0);
}

static void known_matrices(void **state) {
    static const float diagonal[] = {0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0}; /* 4 pixels, 3 channels */
    static const float identity[] = {2, 0, 0, 0, 2, 0, 0, 0, 2};
    static const float outer[] = {1, 2, 2, 3, 6, 6, -1, -2, -2, 0, 0, 0}; /* (1, 3, -1, 0) times (1, 2, 2) */
    static const float none[6] = {0};
    double s[3];
    struct us_features f;
    (void)state;
    f = measure(diagonal, 2, 2, 3, s);
    near(s[0], 4, 1e-14);
    near(s[1], 3, 1e-14);
    near(s[2], 0, 0);
    near(f.stable_rank, 25.0 / 16, 1e-14);
    near(f.participation_ratio, 625.0 / 337, 1e-14);
    near(f.effective_rank, exp(log(7.0) - (4 * log(4.0) + 3 * log(3.0)) / 7), 1e-13);
    f = measure(identity, 1, 3, 3, s);
    near(f.effective_rank, 3, 1e-14);
    near(f.stable_rank, 3, 1e-14);
    near(f.participation_ratio, 3, 1e-14);
    f = measure(outer, 4, 1, 3, s);
    near(s[0], sqrt(11.0 * 9), 1e-13);
    near(f.effective_rank, 1, 1e-5); /* the zeros come out as 1e-8 of the largest */
    near(f.stable_rank, 1, 1e-14);
    near(f.participation_ratio, 1, 1e-14);
    f = measure(none, 1, 2, 3, s);
    near(f.effective_rank + f.stable_rank + f.participation_ratio + f.variance + f.skewness + f.kurtosis, 0, 0);
}

static void moments_by_hand(void **state) {
    static float values[100]; /* 99 zeros and a 10: mean .1, variance .99 */
    const float bad[] = {1, NAN, 2}, endless[] = {1, INFINITY, 2};
    struct us_features f;
    (void)state;
    values[37] = 10;
    f = measure(values, 5, 10, 2, NULL);
    near(f.mean, 0.1, 1e-15);
    near(f.variance, 0.99, 1e-14);
    near(f.skewness, (9.9 * 9.9 * 9.9 - 99 * 0.001) / 100 / pow(0.99, 1.5), 1e-12);
    near(f.kurtosis, (9.9 * 9.9 * 9.9 * 9.9 + 99 * 0.0001) / 100 / (0.99 * 0.99), 1e-11);
    near(f.beyond_4, 0.01, 1e-15); /* 9.95 deviations */
    near(f.beyond_6, 0.01, 1e-15);
    values[36] = 5; /* now variance 1.2275: 4.38 and 8.9 deviations */
    f = measure(values, 5, 10, 2, NULL);
    near(f.beyond_4, 0.02, 1e-15);
    near(f.beyond_6, 0.01, 1e-15);
    assert_true(isnan(measure(bad, 1, 1, 3, NULL).effective_rank));
    assert_true(isnan(measure(endless, 1, 3, 1, NULL).stable_rank));
}

/* The hash of tests/golden/goldfile.py. */
static float uniform(uint32_t seed, uint32_t i) {
    uint32_t x = i * UINT32_C(0x9E3779B1) + seed * UINT32_C(0x85EBCA77);
    x ^= x >> 16;
    x *= UINT32_C(0x7FEB352D);
    x ^= x >> 15;
    x *= UINT32_C(0x846CA68B);
    x ^= x >> 16;
    return (float)((x >> 8) * 0x1p-24 * 2 - 0.7);
}

/* numpy.linalg.svd of uniform(11, 240).reshape(40, 6) * 2 - .7 with a dependent column and an outlier. */
static void against_numpy(void **state) {
    static const double want[] = {10.176963545903531, 9.11727486844402, 4.717218377476945, 3.3611051433165566,
                                  3.042279892304709};
    float a[240];
    double s[6];
    struct us_features f;
    uint32_t i;
    (void)state;
    for (i = 0; i < 240; i++)
        a[i] = uniform(11, i);
    for (i = 0; i < 40; i++)
        a[i * 6 + 5] = (float)(3.0 * (double)a[i * 6]);
    a[3 * 6 + 2] = 9;
    f = measure(a, 8, 5, 6, s);
    for (i = 0; i < 5; i++)
        near(s[i], want[i], 1e-6); /* the product above is rounded to float, numpy's was not */
    near(s[5], 0, 1e-5);
    near(f.effective_rank, 4.438118751237871, 1e-4);
    near(f.stable_rank, 2.215879417167983, 1e-6);
    near(f.participation_ratio, 2.87108972887135, 1e-6);
    near(f.mean, 0.27991758794911825, 1e-7);
    near(f.variance, 0.8778958605807771, 1e-6);
    near(f.skewness, 3.6130030042706296, 1e-6);
    near(f.kurtosis, 33.09736144384577, 1e-5);
    near(f.beyond_4, 1.0 / 240, 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvalues_by_hand),
        cmocka_unit_test(known_matrices),
        cmocka_unit_test(moments_by_hand),
        cmocka_unit_test(against_numpy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
