/* test_data_patches.c - patches: places, geometry, borders, augmentation, reproducibility. */
#include "test_data_util.h"

#include <math.h>

enum { W = 70, H = 50, AREA = W * H };

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

/* A picture in which every pixel tells where it is: 16 bit, value 1 + index; label index % 5; the field two bars. */
static uint16_t pixels[2][AREA];
static uint8_t labels[AREA], field[AREA];

static int in_field(int y, int x) {
    return (y == 3 && x >= 60) || (x >= 10 && x < 20 && y >= 12 && y < 40);
}

static us_dataset *make_dataset(void) {
    us_dataset *d;
    int i, k;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    for (i = 0; i < AREA; i++) {
        labels[i] = (uint8_t)(i % 5);
        field[i] = in_field(i / W, i % W) ? 255 : 0;
        for (k = 0; k < 2; k++)
            pixels[k][i] = (uint16_t)(1 + i + k * 10000);
    }
    for (k = 0; k < 2; k++) {
        struct us_image image = gray_image((const uint8_t *)pixels[k], W, H), label = gray_image(labels, W, H);
        struct us_image mask = gray_image(field, W, H);
        image.bits = 16;
        image.stride = 2 * W;
        assert_int_equal(us_dataset_add(d, k ? "second" : "first", &image, &label, &mask), 0);
    }
    return d;
}

static struct us_prep plain_prep(void) {
    struct us_prep p;
    us_prep_default(&p);
    p.min_max = 0;
    p.clahe_tiles = 0;
    p.gamma = 1.0f;
    return p;
}

static us_patches *make_patches(int h, int w) {
    us_dataset *d = make_dataset();
    struct us_prep p = plain_prep();
    us_patches *patches;
    assert_int_equal(us_patches_create(&patches, d, &p, h, w), 0);
    us_dataset_destroy(d); /* patches keep what they need */
    return patches;
}

/* Which stored value this is: the picture in *k, the index, or -1 for 0 (outside). */
static int index_of(float x, int *k) {
    int v = (int)floor((double)x * 65535.0 + 0.5);
    if (v == 0)
        return -1;
    *k = v > 10000;
    return (v - 1) % 10000;
}

/* Without augmentation the middle pixel is in the field, neighbours are neighbours, and outside is 0 in all three. */
static void test_plain(void **state) {
    static const int sizes[][2] = {{8, 8}, {9, 15}, {1, 1}, {64, 90}};
    static float x[64 * 90];
    static uint8_t label[64 * 90], mask[64 * 90];
    int s, n, i, j, k, seen[2] = {0, 0}, top = 0, side = 0;
    (void)state;
    for (s = 0; s < 4; s++) {
        int h = sizes[s][0], w = sizes[s][1];
        us_patches *p = make_patches(h, w);
        for (n = 0; n < 300; n++) {
            int c = 0, center;
            us_patches_draw(p, 1, US_RNG_PATCH, 3, (uint64_t)n, NULL, x, label, mask);
            center = index_of(x[h / 2 * w + w / 2], &c);
            assert_true(center >= 0 && in_field(center / W, center % W));
            seen[c]++;
            top += center / W == 3;
            side += center / W != 3;
            for (i = 0; i < h; i++)
                for (j = 0; j < w; j++) {
                    int y = center / W + i - h / 2, z = center % W + j - w / 2, at = i * w + j;
                    if (y < 0 || y >= H || z < 0 || z >= W) {
                        assert_true(x[at] == 0.0f && label[at] == 0 && mask[at] == 0);
                    } else {
                        assert_int_equal(index_of(x[at], &k), y * W + z);
                        assert_int_equal(k, c);
                        assert_int_equal(label[at], (y * W + z) % 5);
                        assert_int_equal(mask[at], in_field(y, z) ? 255 : 0);
                    }
                }
        }
        us_patches_destroy(p);
    }
    /* 10 of 290 field pixels are in the upper bar; the images come equally often */
    assert_true(top > 15 && top < 80 && side > 1000);
    assert_true(seen[0] > 520 && seen[0] < 680);
}

/* Every pixel of the field comes up: the first and the last too. */
static void test_all_places(void **state) {
    static uint8_t hit[AREA];
    us_patches *p = make_patches(1, 1);
    uint8_t label;
    float x;
    int n, k, at;
    (void)state;
    memset(hit, 0, sizeof hit);
    for (n = 0; n < 12000; n++) {
        us_patches_draw(p, 7, US_RNG_VALIDATION, 0, (uint64_t)n, NULL, &x, &label, NULL);
        at = index_of(x, &k);
        assert_true(at >= 0 && at < AREA);
        if (at >= 0)
            hit[at] = 255;
    }
    assert_memory_equal(hit, field, sizeof hit);
    us_patches_destroy(p);
}

/* The 8 placements of a square, written as a textbook would: mirror rows, mirror columns, then quarter turns. */
static void transform(const int *in, int n, int flip_h, int flip_v, int turns, int *out) {
    static int a[32 * 32], b[32 * 32];
    int i, j, t;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++)
            a[i * n + j] = in[(flip_v ? n - 1 - i : i) * n + (flip_h ? n - 1 - j : j)];
    for (t = 0; t < turns; t++) {
        for (i = 0; i < n; i++)
            for (j = 0; j < n; j++)
                b[i * n + j] = a[j * n + n - 1 - i]; /* counterclockwise */
        memcpy(a, b, sizeof a);
    }
    memcpy(out, a, (size_t)(n * n) * sizeof *out);
}

static void to_indices(const float *x, int n, int *out) {
    int i, k;
    for (i = 0; i < n; i++)
        out[i] = index_of(x[i], &k);
}

/* Flips and turns move x, label and mask together, are one of the 8 placements of the plain patch, and all 16 choices
 * come. */
static void test_geometry(void **state) {
    enum { N = 32 };
    static float x[N * N], y[N * N];
    static uint8_t label[N * N], mask[N * N], plain_label[N * N];
    static int plain[N * N], got[N * N], want[N * N];
    struct us_augment augment = {1, 1, 0, 0, 0, 0, 0, 0, 0};
    int counts[8] = {0}, n, i, k;
    us_patches *p = make_patches(N, N);
    (void)state;
    for (n = 0; n < 400; n++) {
        int matches = 0;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, NULL, y, plain_label, NULL);
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, &augment, x, label, mask);
        to_indices(y, N * N, plain);
        to_indices(x, N * N, got);
        for (k = 0; k < 8; k++) { /* flip_h and a turn make all 8 */
            transform(plain, N, k & 1, 0, k >> 1, want);
            if (!memcmp(got, want, sizeof got)) {
                matches++;
                counts[k]++;
            }
        }
        assert_int_equal(matches, 1);
        for (i = 0; i < N * N; i++) {
            assert_int_equal(label[i], got[i] < 0 ? 0 : got[i] % 5);
            assert_int_equal(mask[i], got[i] >= 0 && in_field(got[i] / W, got[i] % W) ? 255 : 0);
        }
    }
    for (k = 0; k < 8; k++)
        assert_true(counts[k] > 25 && counts[k] < 80);
    /* without flips only turns, without turns only flips */
    for (n = 0; n < 40; n++) {
        int turned = 0, flipped = 0;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, NULL, y, plain_label, NULL);
        to_indices(y, N * N, plain);
        augment.flips = 0;
        augment.quarter_turns = 1;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, &augment, x, label, mask);
        to_indices(x, N * N, got);
        for (k = 0; k < 4; k++) {
            transform(plain, N, 0, 0, k, want);
            turned += !memcmp(got, want, sizeof got);
        }
        augment.flips = 1;
        augment.quarter_turns = 0;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, &augment, x, label, mask);
        to_indices(x, N * N, got);
        for (k = 0; k < 4; k++) {
            transform(plain, N, k & 1, k >> 1, 0, want);
            flipped += !memcmp(got, want, sizeof got);
        }
        assert_int_equal(turned, 1);
        assert_int_equal(flipped, 1);
    }
    us_patches_destroy(p);
}

/* A patch that is not square is flipped, never turned. */
static void test_no_turn_of_oblongs(void **state) {
    enum { PH = 20, PW = 31 };
    static float x[PH * PW], y[PH * PW];
    static uint8_t label[PH * PW];
    struct us_augment augment = {1, 1, 0, 0, 0, 0, 0, 0, 0};
    int counts[4] = {0}, n, i, j, k;
    us_patches *p = make_patches(PH, PW);
    (void)state;
    for (n = 0; n < 100; n++) {
        int matches = 0;
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, NULL, y, label, NULL);
        us_patches_draw(p, 5, US_RNG_PATCH, 1, (uint64_t)n, &augment, x, label, NULL);
        for (k = 0; k < 4; k++) {
            int same = 1;
            for (i = 0; i < PH; i++)
                for (j = 0; j < PW; j++)
                    same &= x[i * PW + j] == y[(k & 2 ? PH - 1 - i : i) * PW + (k & 1 ? PW - 1 - j : j)];
            matches += same;
            counts[k] += same;
        }
        assert_int_equal(matches, 1);
    }
    for (k = 0; k < 4; k++)
        assert_true(counts[k] > 5);
    us_patches_destroy(p);
}

/* The same arguments, the same bits; another seed, purpose, epoch or sample, another patch. Nothing is allocated. */
static void test_reproducible(void **state) {
    enum { N = 24 };
    static float x[N * N], y[N * N];
    static uint8_t label[N * N], other[N * N];
    struct us_augment augment = {1, 1, 0.1f, 0.2f, 0.3f, 0, 0, 0, 0};
    us_patches *p = make_patches(N, N);
    long calls = meter.calls;
    int n;
    (void)state;
    for (n = 0; n < 20; n++) {
        us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n, &augment, x, label, NULL);
        us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n + 1, &augment, y, other, NULL);
        assert_memory_not_equal(x, y, sizeof x);
        us_patches_draw(p, 9, US_RNG_PATCH, 3, (uint64_t)n, &augment, y, other, NULL);
        assert_memory_not_equal(x, y, sizeof x);
        us_patches_draw(p, 9, US_RNG_VALIDATION, 2, (uint64_t)n, &augment, y, other, NULL);
        assert_memory_not_equal(x, y, sizeof x);
        us_patches_draw(p, 8, US_RNG_PATCH, 2, (uint64_t)n, &augment, y, other, NULL);
        assert_memory_not_equal(x, y, sizeof x);
        us_patches_draw(p, 9, US_RNG_PATCH, 2, (uint64_t)n, &augment, y, other, NULL);
        assert_memory_equal(x, y, sizeof x);
        assert_memory_equal(label, other, sizeof label);
    }
    assert_int_equal(meter.calls, calls);
    us_patches_destroy(p);
}

static us_patches *synthetic_patches(const struct us_prep *prep, int n) {
    us_dataset *d;
    us_patches *p;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 3, 80, 64), 0);
    assert_int_equal(us_patches_create(&p, d, prep, n, n), 0);
    us_dataset_destroy(d);
    return p;
}

/* Values: gamma, contrast, brightness one at a time against their formulas, for planes kept as bytes and as floats. */
static void test_values(void **state) {
    enum { N = 40, C = 3 };
    static float plain[C * N * N], x[C * N * N];
    static uint8_t label[N * N], mask[N * N];
    struct us_prep prep;
    int kind, bytes, n, i;
    (void)state;
    us_prep_default(&prep);
    prep.color = UNETSTAR_COLOR_RGB;
    for (bytes = 0; bytes < 2; bytes++) {
        us_patches *p;
        prep.clahe_tiles = bytes ? 8 : 0;
        prep.gamma = bytes ? 1.2f : 1.0f;
        p = synthetic_patches(&prep, N);
        assert_true(bytes ? us_patches_bytes(p) < 80 * 64 * 4 : us_patches_bytes(p) > 80 * 64 * 12);
        for (kind = 0; kind < 3; kind++) {
            struct us_augment augment = {0, 0, 0, 0, 0, 0, 0, 0, 0};
            double least = 1e9, most = -1e9, wanted = kind == 2 ? 0.3 : 0.2;
            if (kind == 0)
                augment.brightness = 0.2f;
            if (kind == 1)
                augment.contrast = 0.2f;
            if (kind == 2)
                augment.gamma = 0.3f;
            for (n = 0; n < 60; n++) {
                double u = 0, weight = 0;
                us_patches_draw(p, 2, US_RNG_PATCH, 0, (uint64_t)n, NULL, plain, label, mask);
                us_patches_draw(p, 2, US_RNG_PATCH, 0, (uint64_t)n, &augment, x, label, mask);
                for (i = 0; i < C * N * N; i++) { /* u from one pixel that tells it well ... */
                    double a = plain[i], b = x[i], w = kind == 0 ? 1 : kind == 1 ? fabs(a - 0.5) : a * (1 - a);
                    if (a > 0.01 && a < 0.99 && w > weight) {
                        weight = w;
                        u = kind == 0 ? b - a : kind == 1 ? (b - 0.5) / (a - 0.5) - 1 : us_log(us_log(b) / us_log(a));
                    }
                }
                least = u < least ? u : least;
                most = u > most ? u : most;
                for (i = 0; i < C * N * N; i++) { /* ... holds for all of them */
                    double a = plain[i], want = kind == 0 ? a + u : kind == 1 ? (a - 0.5) * (1 + u) + 0.5 : a;
                    if (kind == 2 && a > 0)
                        want = us_pow(a, us_exp(u));
                    if (a == 0.0 && x[i] == 0.0f) /* outside */
                        continue;
                    assert_true(fabs(x[i] - want) < (kind == 2 && a < 0.06 ? 5e-3 : 2e-5));
                }
            }
            assert_true(least > -wanted - 1e-3 && least < -0.75 * wanted);
            assert_true(most < wanted + 1e-3 && most > 0.75 * wanted);
        }
        us_patches_destroy(p);
    }
}

/* Outside the image x is 0 also when brightness is on. */
static void test_border_stays_zero(void **state) {
    enum { N = 64 };
    static float x[N * N];
    static uint8_t label[N * N];
    struct us_augment augment = {1, 1, 0.5f, 0, 0, 0, 0, 0, 0};
    us_patches *p = make_patches(N, N);
    int n, i, zeros = 0;
    (void)state;
    for (n = 0; n < 40; n++) {
        int here = 0;
        us_patches_draw(p, 1, US_RNG_PATCH, 0, (uint64_t)n, &augment, x, label, NULL);
        for (i = 0; i < N * N; i++)
            here += x[i] == 0.0f;
        zeros += here >= N * (N - H); /* 64 rows or columns do not fit into 50 */
    }
    assert_int_equal(zeros, 40);
    us_patches_destroy(p);
}

static void test_refused(void **state) {
    static const uint8_t one[4] = {1, 1, 1, 1}, zero[4] = {0, 0, 0, 0};
    struct us_image image = gray_image(one, 2, 2), label = gray_image(one, 2, 2), mask = gray_image(zero, 2, 2);
    struct us_prep prep = plain_prep();
    us_patches *p;
    us_dataset *d;
    (void)state;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_patches_create(&p, d, &prep, 8, 8), UNETSTAR_EINVAL);
    assert_null(p);
    assert_int_equal(us_dataset_add(d, "good", &image, &label, NULL), 0);
    assert_int_equal(us_patches_create(&p, d, &prep, 0, 8), UNETSTAR_EINVAL);
    assert_int_equal(us_dataset_add(d, "unlabelled", &image, NULL, NULL), 0);
    assert_int_equal(us_patches_create(&p, d, &prep, 8, 8), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "unlabelled"));
    us_dataset_destroy(d);
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add(d, "dark", &image, &label, &mask), 0);
    assert_int_equal(us_patches_create(&p, d, &prep, 8, 8), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "dark"));
    prep.gamma = 0;
    assert_int_equal(us_patches_create(&p, d, &prep, 8, 8), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "gamma"));
    us_dataset_destroy(d);
}

static void test_allocation_failures(void **state) {
    struct us_prep prep;
    us_dataset *d;
    us_patches *p;
    long n = 0, alive;
    int error;
    (void)state;
    us_prep_default(&prep);
    prep.clahe_tiles = 16; /* needs the allocator for its tables */
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 3, 80, 64), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 4, 64, 80), 0);
    alive = meter.alive;
    do {
        meter.calls = 0;
        meter.fail_at = ++n;
        error = us_patches_create(&p, d, &prep, 16, 16);
        if (error) {
            assert_int_equal(error, UNETSTAR_ENOMEM);
            assert_null(p);
            assert_int_equal(meter.alive, alive);
        }
    } while (error);
    assert_true(n > 8 && meter.calls == n - 1);
    meter.fail_at = 0;
    us_dataset_destroy(d);
    us_patches_destroy(p);
    us_patches_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_all_places),
        TEST(test_geometry),
        TEST(test_no_turn_of_oblongs),
        TEST(test_reproducible),
        TEST(test_values),
        TEST(test_border_stays_zero),
        TEST(test_refused),
        TEST(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
