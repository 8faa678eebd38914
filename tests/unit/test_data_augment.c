/*
 * test_data_augment.c - noise, blur, mixtures of colour planes and drawn contrast limits: values against plain
 * formulas, statistics over many patches, what they leave alone, and the memory they take.
 */
#include "test_data_util.h"

#include <math.h>

static struct meter meter;
static us_context *ctx;

static int setup(void **state) {
    (void)state;
    ctx = meter_context(&meter);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    meter_end(ctx, &meter);
    return 0;
}

static const struct us_augment off; /* nothing */

static struct us_prep plain_prep(int color) {
    struct us_prep p;
    us_prep_default(&p);
    p.color = color;
    p.min_max = 0;
    p.clahe_tiles = 0;
    p.gamma = 1.0f;
    return p;
}

/* Patches of a picture, all of it field and background. */
static us_patches *patches_of(const uint8_t *bytes, int64_t w, int64_t h, int channels, const struct us_prep *prep,
                              int side) {
    struct us_image image = gray_image(bytes, w, h), label, mask;
    uint8_t *ones = (uint8_t *)malloc((size_t)(w * h));
    us_patches *p;
    us_dataset *d;
    memset(ones, 1, (size_t)(w * h));
    label = mask = gray_image(ones, w, h);
    image.channels = channels;
    image.stride = w * channels;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add(d, "picture", &image, &label, &mask), 0);
    assert_int_equal(us_patches_create(&p, d, prep, side, side), 0);
    us_dataset_destroy(d);
    free(ones);
    return p;
}

static us_patches *synthetic_patches(const struct us_prep *prep, int side) {
    us_dataset *d;
    us_patches *p;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 3, 80, 64), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 4, 64, 64), 0);
    assert_int_equal(us_patches_create(&p, d, prep, side, side), 0);
    us_dataset_destroy(d);
    return p;
}

/* Of values that should be uniform in [0, 1]; bounds of six standard errors. */
static void assert_uniform(const double *u, int n) {
    double sum = 0, squares = 0, least = 1, most = 0;
    int i;
    for (i = 0; i < n; i++) {
        sum += u[i];
        squares += (u[i] - 0.5) * (u[i] - 0.5);
        least = u[i] < least ? u[i] : least;
        most = u[i] > most ? u[i] : most;
    }
    assert_true(least > -1e-3 && most < 1 + 1e-3);
    assert_true(fabs(sum / n - 0.5) < 6 * sqrt(1.0 / 12 / n));
    assert_true(fabs(squares / n - 1.0 / 12) < 6 * sqrt(1.0 / 180 / n));
}

/* ---- Noise ---- */

static void test_noise(void **state) {
    enum { W = 40, N = 32, PATCHES = 400 };
    static uint8_t flat[W * W], label[N * N];
    static float x[N * N];
    static double deviations[PATCHES];
    struct us_prep prep = plain_prep(UNETSTAR_COLOR_GRAY);
    struct us_augment augment = off;
    double beyond = 0, fourth = 0, pairs = 0, rows = 0, all = 0;
    us_patches *p;
    int n, i, outside = 0;
    (void)state;
    memset(flat, 102, sizeof flat); /* 0.4 */
    p = patches_of(flat, W, W, 1, &prep, N);
    augment.noise = 0.1f;
    augment.flips = augment.quarter_turns = 1;
    for (n = 0; n < PATCHES; n++) {
        double sum = 0, squares = 0, sd;
        int inside = 0;
        us_patches_draw(p, 7, US_RNG_PATCH, 0, (uint64_t)n, &augment, x, label, NULL);
        for (i = 0; i < N * N; i++) {
            if (label[i] == 0) { /* outside of the picture */
                assert_true(x[i] == 0.0f);
                outside++;
                continue;
            }
            inside++;
            sum += x[i] - 0.4;
            squares += (x[i] - 0.4) * (x[i] - 0.4);
        }
        sd = sqrt(squares / inside);
        assert_true(fabs(sum / inside) < 6 * sd / sqrt(inside));
        deviations[n] = sd / 0.1;
        for (i = 0; i < N * N; i++) {
            const double z = (x[i] - 0.4) / sd;
            if (label[i] == 0)
                continue;
            all++;
            beyond += fabs(z) > 2;
            fourth += z * z * z * z;
            if (i % N < N - 1 && label[i + 1])
                pairs += z * (x[i + 1] - 0.4) / sd;
            if (i < N * N - N && label[i + N])
                rows += z * (x[i + N] - 0.4) / sd;
        }
    }
    assert_true(outside > 1000);
    for (n = 0; n < PATCHES; n++) /* told from about a thousand pixels */
        deviations[n] = deviations[n] > 1 ? 1 : deviations[n];
    assert_uniform(deviations, PATCHES);
    assert_true(fabs(beyond / all - 0.0455) < 0.003);
    assert_true(fabs(fourth / all - 3) < 0.1);
    assert_true(fabs(pairs / all) < 0.01 && fabs(rows / all) < 0.01);
    us_patches_destroy(p);
}

/* ---- Blur ---- */

/* Against a plain two-dimensional sum with the edge continued; what is not part of it stays. */
static void test_blur(void **state) {
    static const struct {
        int h, w, i0, i1, j0, j1;
        double deviation;
    } cases[] = {{20, 37, 0, 20, 0, 37, 1.0}, {20, 37, 3, 17, 5, 36, 0.3}, {9, 40, 2, 3, 0, 40, 2.0},
                 {8, 8, 0, 8, 4, 5, 4.0},     {6, 7, 2, 2, 0, 7, 1.0},     {33, 21, 1, 33, 0, 20, 3.3}};
    float x[33 * 40], y[33 * 40];
    size_t k;
    (void)state;
    for (k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const int h = cases[k].h, w = cases[k].w;
        const struct us_patch_part part = {y, 1, h, w, cases[k].i0, cases[k].i1, cases[k].j0, cases[k].j1};
        const double s = cases[k].deviation;
        int i, j, a, b, r = (int)(3 * s) + 1;
        r = r > 12 ? 12 : r;
        for (i = 0; i < h * w; i++)
            x[i] = y[i] = (float)((i * 7919 + i * i % 31 * 101) % 255) / 255.0f;
        us_patch_blur(&part, s);
        for (i = 0; i < h; i++)
            for (j = 0; j < w; j++) {
                double sum = 0, weights = 0;
                if (i < part.i0 || i >= part.i1 || j < part.j0 || j >= part.j1) {
                    assert_true(y[i * w + j] == x[i * w + j]);
                    continue;
                }
                for (a = i - r; a <= i + r; a++)
                    for (b = j - r; b <= j + r; b++) {
                        const double weight = exp(-((a - i) * (a - i) + (b - j) * (b - j)) / (2 * s * s));
                        const int64_t row = US_MIN(US_MAX(a, part.i0), part.i1 - 1),
                                      column = US_MIN(US_MAX(b, part.j0), part.j1 - 1);
                        sum += weight * x[row * w + column];
                        weights += weight;
                    }
                assert_true(fabs(y[i * w + j] - sum / weights) < 2e-6);
            }
    }
}

/* ---- Mixtures of colours ---- */

/* Four colours, and the planes of each (Python: colorsys for HLS, the CIE's formulas for the others). */
static const uint8_t colors[4][3] = {{200, 80, 40}, {30, 180, 220}, {120, 110, 240}, {250, 240, 60}};
static const double planes[4][US_COLOR_PLANES] = {{0.4365490, 0.3137255, 0.4881616, 0.4970599, 0.4705882},
                                                  {0.5478824, 0.7058824, 0.4803929, 0.6808093, 0.4901961},
                                                  {0.5012157, 0.4313725, 0.5451653, 0.5342147, 0.6862745},
                                                  {0.8724314, 0.9411765, 0.8241981, 0.9300287, 0.6078431}};

/* Which two planes make these values, and the share of the first; 1: they do. */
static int told(const float v[4], int *first, int *second, double *alpha) {
    double best = 1;
    int i, j, k;
    for (i = 0; i < US_COLOR_PLANES; i++)
        for (j = i + 1; j < US_COLOR_PLANES; j++) {
            double up = 0, down = 0, a, rest = 0;
            for (k = 0; k < 4; k++) {
                up += (v[k] - planes[k][j]) * (planes[k][i] - planes[k][j]);
                down += (planes[k][i] - planes[k][j]) * (planes[k][i] - planes[k][j]);
            }
            a = up / down;
            for (k = 0; k < 4; k++)
                rest += fabs(v[k] - a * planes[k][i] - (1 - a) * planes[k][j]);
            if (rest < best) {
                best = rest;
                *first = i;
                *second = j;
                *alpha = a;
            }
        }
    return best < 5e-5;
}

static void test_color_mix(void **state) {
    enum { PATCHES = 3000, N = 8 };
    static double alphas[PATCHES];
    uint8_t picture[4 * 4 * 3], label[N * N];
    int pairs[US_COLOR_PLANES][US_COLOR_PLANES] = {{0}}, n, i, k, base;
    float x[N * N];
    (void)state;
    for (i = 0; i < 16; i++) /* four rows of one colour each, in a patch always whole */
        memcpy(picture + 3 * i, colors[i / 4], 3);
    for (base = 0; base < 2; base++) {
        struct us_prep prep = plain_prep(base ? UNETSTAR_COLOR_GREEN : UNETSTAR_COLOR_GRAY);
        us_patches *p = patches_of(picture, 4, 4, 3, &prep, N);
        struct us_augment augment = off;
        int mixed = 0;
        augment.color_mix = base ? 0.25f : 1.0f;
        assert_int_equal(us_patches_vary(p, &prep, &augment), 0);
        for (n = 0; n < PATCHES; n++) {
            float v[4];
            int first = 0, second = 0, plain = 1;
            double alpha = 0;
            us_patches_draw(p, 11, US_RNG_PATCH, 2, (uint64_t)n, &augment, x, label, NULL);
            for (i = k = 0; i < N * N && k < 4; i++)
                if (label[i]) {
                    v[k++] = x[i];
                    i += N - 1;
                }
            assert_int_equal(k, 4);
            for (k = 0; k < 4; k++)
                plain = plain && fabs(v[k] - planes[k][base]) < 1e-6;
            if (plain)
                continue;
            assert_true(told(v, &first, &second, &alpha));
            if (base == 0) {
                alphas[mixed] = alpha;
                pairs[first][second]++;
            }
            mixed++;
            us_patches_draw(p, 11, US_RNG_VALIDATION, 0, (uint64_t)n, NULL, x, label, NULL); /* never mixed */
            for (i = k = 0; i < N * N && k < 4; i++)
                if (label[i]) {
                    assert_true(fabs(x[i] - planes[k++][base]) < 1e-6);
                    i += N - 1;
                }
        }
        if (base == 0) {
            assert_true(mixed >= PATCHES - 3); /* alpha 0 or 1 looks plain */
            assert_uniform(alphas, mixed);
            for (i = 0; i < US_COLOR_PLANES; i++) /* of 10 pairs each 300, standard deviation 16 */
                for (k = i + 1; k < US_COLOR_PLANES; k++)
                    assert_true(abs(pairs[i][k] - PATCHES / 10) < 90);
        } else {
            assert_true(abs(mixed - PATCHES / 4) < 140); /* standard deviation 24 */
        }
        us_patches_destroy(p);
    }
}

/* A picture of one channel has one plane, and stays as it is. */
static void test_color_mix_of_gray_pictures(void **state) {
    enum { W = 16 };
    uint8_t picture[W * W], label[2][W * W];
    struct us_prep prep = plain_prep(UNETSTAR_COLOR_GRAY);
    struct us_augment augment = off;
    float x[2][W * W];
    us_patches *p;
    int n, i;
    (void)state;
    for (i = 0; i < W * W; i++)
        picture[i] = (uint8_t)(i * 37);
    p = patches_of(picture, W, W, 1, &prep, W);
    augment.color_mix = 1;
    assert_int_equal(us_patches_vary(p, &prep, &augment), 0);
    assert_true(us_patches_bytes(p) < 2 * W * W + 1024 + 256 * 8);
    for (n = 0; n < 20; n++) {
        us_patches_draw(p, 1, US_RNG_PATCH, 0, (uint64_t)n, &augment, x[0], label[0], NULL);
        us_patches_draw(p, 1, US_RNG_PATCH, 0, (uint64_t)n, &off, x[1], label[1], NULL);
        for (i = 0; i < W * W; i++)
            assert_true(fabs(x[0][i] - x[1][i]) < 1e-6);
    }
    us_patches_destroy(p);
}

/* ---- Contrast limits ---- */

/* Every patch lies at one place between those of the two limits. */
static void test_clahe_jitter(void **state) {
    enum { N = 24, PATCHES = 400 };
    static float x[N * N], end[2][N * N];
    static uint8_t label[N * N];
    static double places[PATCHES];
    struct us_prep prep, ends[2];
    struct us_augment augment = off;
    us_patches *p, *of[2];
    int n, i, k;
    (void)state;
    us_prep_default(&prep);
    prep.clahe_tiles = 2; /* of enough pixels that the limits differ */
    augment.clahe_jitter = 0.7f;
    for (k = 0; k < 2; k++) {
        ends[k] = prep;
        ends[k].clahe_clip = (float)(2.0 * exp(k ? 0.7f : -0.7f));
        of[k] = synthetic_patches(&ends[k], N);
    }
    p = synthetic_patches(&prep, N);
    assert_int_equal(us_patches_vary(p, &prep, &augment), 0);
    for (n = 0; n < PATCHES; n++) {
        double up = 0, down = 0, t;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, &augment, x, label, NULL);
        for (k = 0; k < 2; k++)
            us_patches_draw(of[k], 5, US_RNG_PATCH, 1, (uint64_t)n, NULL, end[k], label, NULL);
        for (i = 0; i < N * N; i++) {
            up += (x[i] - end[0][i]) * (end[1][i] - end[0][i]);
            down += (end[1][i] - end[0][i]) * (end[1][i] - end[0][i]);
        }
        assert_true(down > 0);
        places[n] = t = up / down;
        for (i = 0; i < N * N; i++)
            assert_true(fabs(x[i] - end[0][i] - t * (end[1][i] - end[0][i])) < 1e-5);
    }
    assert_uniform(places, PATCHES);
    us_patches_destroy(p);
    us_patches_destroy(of[0]);
    us_patches_destroy(of[1]);
}

/* ---- Together ---- */

/* 1, 5, 3, 11 planes; the same place and label as ever, the same bits each time. */
static void test_together(void **state) {
    enum { N = 32, PIXELS = 80 * 64 + 64 * 64 };
    static float x[2][N * N], plain[2][N * N];
    static uint8_t label[3][N * N], mask[3][N * N];
    static const int counts[2][2] = {{1, 3}, {5, 11}};
    struct us_prep prep;
    us_patches *bare, *p;
    size_t bytes;
    int mix, jitter, n, i;
    (void)state;
    us_prep_default(&prep);
    bare = synthetic_patches(&prep, N);
    bytes = us_patches_bytes(bare) - PIXELS;
    for (mix = 0; mix < 2; mix++)
        for (jitter = 0; jitter < 2; jitter++) {
            struct us_augment augment = {1, 1, 0.1f, 0.1f, 0.2f, 0.05f, 1.0f, 0.0f, 0.0f};
            int differ = 0;
            augment.color_mix = (float)mix;
            augment.clahe_jitter = 0.5f * (float)jitter;
            p = synthetic_patches(&prep, N);
            assert_int_equal(us_patches_vary(p, &prep, &augment), 0);
            assert_true(us_patches_bytes(p) - bytes - (size_t)counts[mix][jitter] * PIXELS < 1024);
            for (n = 0; n < 30; n++) {
                us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n, &augment, x[0], label[0], mask[0]);
                us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n + 1, &augment, x[1], label[1], mask[1]);
                us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n, &augment, x[1], label[1], mask[1]);
                assert_memory_equal(x[0], x[1], sizeof x[0]);
                us_patches_draw(bare, 9, US_RNG_PATCH, 2, (uint64_t)n, &augment, x[1], label[2], mask[2]);
                assert_memory_equal(label[0], label[2], sizeof label[0]);
                assert_memory_equal(mask[0], mask[2], sizeof mask[0]);
                differ += memcmp(x[0], x[1], sizeof x[0]) != 0;
                us_patches_draw(p, 9, US_RNG_VALIDATION, 0, (uint64_t)n, NULL, plain[0], label[0], NULL);
                us_patches_draw(bare, 9, US_RNG_VALIDATION, 0, (uint64_t)n, NULL, plain[1], label[1], NULL);
                assert_memory_equal(plain[0], plain[1], sizeof plain[0]);
                for (i = 0; i < N * N; i++)
                    assert_true(x[0][i] > -1.5f && x[0][i] < 2.5f);
            }
            assert_true(mix + jitter ? differ > 25 : differ == 0);
            us_patches_destroy(p);
        }
    us_patches_destroy(bare);
}

static void test_refused(void **state) {
    struct us_prep prep;
    struct us_augment augment = off;
    us_patches *p;
    (void)state;
    us_prep_default(&prep);
    prep.color = UNETSTAR_COLOR_RGB;
    p = synthetic_patches(&prep, 16);
    augment.color_mix = 0.5f;
    assert_int_equal(us_patches_vary(p, &prep, &augment), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "color_mix"));
    augment.color_mix = 0;
    augment.clahe_jitter = 0.5f; /* of three channels too */
    assert_int_equal(us_patches_vary(p, &prep, &augment), 0);
    us_patches_destroy(p);
    prep.clahe_tiles = 0;
    p = synthetic_patches(&prep, 16);
    assert_int_equal(us_patches_vary(p, &prep, &augment), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "clahe_jitter"));
    us_patches_destroy(p);
}

static void test_allocation_failures(void **state) {
    struct us_augment augment = off;
    struct us_prep prep;
    us_patches *p;
    long n = 0, before;
    int error;
    (void)state;
    us_prep_default(&prep);
    augment.color_mix = 1;
    augment.clahe_jitter = 1;
    do {
        p = synthetic_patches(&prep, 16);
        before = meter.calls;
        meter.fail_at = before + ++n;
        error = us_patches_vary(p, &prep, &augment);
        assert_true(error == 0 || error == UNETSTAR_ENOMEM);
        meter.fail_at = 0;
        us_patches_destroy(p);
    } while (error);
    assert_true(n > 60);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_noise),        TEST(test_blur),     TEST(test_color_mix), TEST(test_color_mix_of_gray_pictures),
        TEST(test_clahe_jitter), TEST(test_together), TEST(test_refused),   TEST(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
