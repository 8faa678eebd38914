/* test_synthetic.c - the synthetic fundus: the same on every machine, at every size, with a fair share of vessel. */
#include "test_data_util.h"

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

struct fundus {
    int w, h;
    uint8_t *rgb, *label, *mask;
};

static struct fundus make(uint64_t seed, int w, int h) {
    size_t n = (size_t)w * (size_t)h;
    struct fundus f;
    f.w = w;
    f.h = h;
    f.rgb = (uint8_t *)malloc(3 * n);
    f.label = (uint8_t *)malloc(n);
    f.mask = (uint8_t *)malloc(n);
    assert_int_equal(us_synthetic_fundus(ctx, seed, w, h, f.rgb, f.label, f.mask), 0);
    return f;
}

static void drop(struct fundus *f) {
    free(f->rgb);
    free(f->label);
    free(f->mask);
}

/* One checksum for every compiler, optimisation and machine: these pictures in other bytes are another generator. */
static void test_same_everywhere(void **state) {
    static const struct {
        uint64_t seed;
        int w, h;
        uint64_t sum;
    } known[] = {{1, 64, 64, 0x95f0f68845640213u},
                 {2, 48, 96, 0x22dd7babb68f6471u},
                 {3, 200, 160, 0x546d220dd5eba3b1u},
                 {2024, 350, 302, 0x2dc7386018f2a8abu}};
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(known); i++) {
        struct fundus f = make(known[i].seed, known[i].w, known[i].h);
        size_t n = (size_t)known[i].w * (size_t)known[i].h;
        uint64_t sum = checksum(f.rgb, 3 * n) ^ checksum(f.label, n) * 3 ^ checksum(f.mask, n) * 5;
        if (sum != known[i].sum)
            print_error("seed %d, %d x %d: 0x%016llx\n", (int)known[i].seed, known[i].w, known[i].h,
                        (unsigned long long)sum);
        assert_true(sum == known[i].sum);
        drop(&f);
    }
}

static void test_share_and_field(void **state) {
    static const int sizes[][2] = {{48, 48}, {64, 64}, {96, 80}, {80, 96}, {200, 200}, {48, 300}, {350, 302}};
    int s, seed, i, lighter = 0;
    (void)state;
    for (s = 0; s < US_COUNT(sizes); s++)
        for (seed = 0; seed < 12; seed++) {
            struct fundus f = make((uint64_t)seed, sizes[s][0], sizes[s][1]);
            int n = f.w * f.h, field = 0, vessel = 0, dark = 0, small = f.w < f.h ? f.w : f.h;
            double in = 0, out = 0, red = 0, green = 0, blue = 0, on = 0;
            for (i = 0; i < n; i++) {
                int level = f.rgb[3 * i] + f.rgb[3 * i + 1];
                assert_true(f.label[i] == 0 || f.label[i] == 255);
                assert_true(f.mask[i] == 0 || f.mask[i] == 255);
                assert_true(f.mask[i] || !f.label[i]);
                if (f.mask[i]) {
                    field++;
                    vessel += f.label[i] != 0;
                    *(f.label[i] ? &on : &in) += f.rgb[3 * i + 1];
                    red += f.rgb[3 * i];
                    green += f.rgb[3 * i + 1];
                    blue += f.rgb[3 * i + 2];
                } else {
                    dark++;
                    out += level;
                }
            }
            assert_true(vessel > 0.08 * field && vessel < 0.15 * field);
            assert_true(field > 0.5 * small * small); /* a disc of nearly the smaller side */
            assert_true(red > 1.15 * green && green > 1.2 * blue);
            assert_true(out / dark < 0.35 * (red + green) / field);
            lighter += on / vessel > in / (field - vessel);
            drop(&f);
        }
    assert_true(lighter <= 6); /* vessels are darker in green, but for some tiny pictures that are mostly disc */
}

/* Left and right eyes: the disc, the brightest green, is on both sides over the seeds; no two pictures are alike. */
static void test_variety(void **state) {
    int seed, left = 0, right = 0, i;
    uint64_t sums[16];
    (void)state;
    for (seed = 0; seed < 16; seed++) {
        struct fundus f = make((uint64_t)seed, 96, 96);
        double x = 0, n = 0;
        int most = 0;
        for (i = 0; i < 96 * 96; i++)
            most = f.rgb[3 * i + 1] > most ? f.rgb[3 * i + 1] : most;
        for (i = 0; i < 96 * 96; i++)
            if (f.rgb[3 * i + 1] > most * 9 / 10) {
                x += i % 96;
                n++;
            }
        left += x / n < 42;
        right += x / n > 54;
        sums[seed] = checksum(f.rgb, 3 * 96 * 96);
        for (i = 0; i < seed; i++)
            assert_true(sums[i] != sums[seed]);
        drop(&f);
    }
    assert_true(left >= 3 && right >= 3);
}

/* label and mask are optional and change nothing. */
static void test_optional_parts(void **state) {
    struct fundus f = make(77, 90, 70);
    uint8_t *rgb = (uint8_t *)malloc(3 * 90 * 70);
    (void)state;
    assert_int_equal(us_synthetic_fundus(ctx, 77, 90, 70, rgb, NULL, NULL), 0);
    assert_memory_equal(rgb, f.rgb, 3 * 90 * 70);
    free(rgb);
    drop(&f);
}

static void test_limits(void **state) {
    uint8_t rgb[3];
    (void)state;
    assert_int_equal(us_synthetic_fundus(ctx, 1, 47, 64, rgb, NULL, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_synthetic_fundus(ctx, 1, 64, 4097, rgb, NULL, NULL), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "4097"));
}

static void test_dataset(void **state) {
    struct fundus f = make(12345678901234567890u, 64, 60);
    us_dataset *d;
    int i;
    (void)state;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 12345678901234567890u, 64, 60), 0);
    assert_int_equal(us_dataset_add_synthetic(d, 0, 20, 60), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "synthetic-0"));
    assert_int_equal(d->count, 1);
    assert_string_equal(d->samples[0]->name, "synthetic-12345678901234567890");
    assert_int_equal(d->samples[0]->field_source, UNETSTAR_FIELD_GIVEN);
    assert_memory_equal(d->samples[0]->image.data, f.rgb, 3 * 64 * 60);
    assert_memory_equal(d->samples[0]->mask, f.mask, 64 * 60);
    for (i = 0; i < 64 * 60; i++)
        assert_int_equal(d->samples[0]->label[i], f.label[i] ? 1 : 0);
    us_dataset_destroy(d);
    drop(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_same_everywhere), TEST(test_share_and_field), TEST(test_variety),
        TEST(test_optional_parts),  TEST(test_limits),          TEST(test_dataset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
