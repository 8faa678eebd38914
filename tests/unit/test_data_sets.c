/* test_data_sets.c - datasets: labels, masks, folds, sharing; every allocation of the data room failing in turn. */
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

/* ---- Datasets ---- */

static void test_dataset_labels_and_masks(void **state) {
    static const uint8_t rgb[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const uint8_t classes[4] = {0, 1, 7, 3}, file[4] = {0, 255, 127, 128}, low[4] = {0, 1, 1, 0};
    static const uint8_t eight[4] = {8, 4, 3, 0}, grays[4] = {200, 100, 99, 0}, zeros[4] = {0, 0, 0, 0};
    static const uint16_t deep[4] = {0, 65535, 32767, 32768};
    struct us_image image = rgb_image(rgb, 2, 2), label, mask;
    us_dataset *d;
    (void)state;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    label = gray_image(classes, 2, 2);
    mask = gray_image(file, 2, 2);
    assert_int_equal(us_dataset_add(d, "a", &image, &label, &mask), 0);
    assert_memory_equal(d->samples[0]->label, classes, 4);
    assert_memory_equal(d->samples[0]->mask, "\0\377\0\377", 4);
    assert_int_equal(d->samples[0]->field_source, UNETSTAR_FIELD_GIVEN);
    assert_memory_equal(d->samples[0]->image.data, rgb, 12);
    assert_string_equal(d->samples[0]->name, "a");
    label = gray_image(file, 2, 2);
    mask = gray_image(low, 2, 2);
    assert_int_equal(us_dataset_add(d, "b", &image, &label, &mask), 0);
    assert_memory_equal(d->samples[1]->label, "\0\1\0\1", 4);
    assert_memory_equal(d->samples[1]->mask, "\0\377\377\0", 4);
    label = gray_image((const uint8_t *)deep, 2, 2);
    label.bits = 16;
    label.stride = 4;
    mask = gray_image(grays, 2, 2);
    assert_int_equal(us_dataset_add(d, "c", &image, &label, &mask), 0);
    assert_memory_equal(d->samples[2]->label, "\0\1\0\1", 4);
    assert_memory_equal(d->samples[2]->mask, "\377\377\0\0", 4);
    label = gray_image(eight, 2, 2);
    mask = gray_image(zeros, 2, 2);
    assert_int_equal(us_dataset_add(d, "d", &image, &label, &mask), 0);
    assert_memory_equal(d->samples[3]->label, "\1\1\0\0", 4);
    assert_memory_equal(d->samples[3]->mask, zeros, 4);
    assert_int_equal(us_dataset_add(d, "e", &image, NULL, NULL), 0);
    assert_null(d->samples[4]->label);
    assert_memory_equal(d->samples[4]->mask, "\377\377\377\377", 4);
    assert_int_equal(d->samples[4]->field_source, UNETSTAR_FIELD_WHOLE);
    /* refused, naming the sample; nothing changes */
    label = gray_image(zeros, 4, 1);
    assert_int_equal(us_dataset_add(d, "im0044", &image, &label, NULL), UNETSTAR_ESHAPE);
    assert_non_null(strstr(us_error_text(), "im0044"));
    assert_non_null(strstr(us_error_text(), "label"));
    assert_int_equal(us_dataset_add(d, "im0045", &image, NULL, &label), UNETSTAR_ESHAPE);
    assert_non_null(strstr(us_error_text(), "mask"));
    assert_int_equal(us_dataset_add(d, "im0046", &image, &image, NULL), UNETSTAR_ESHAPE);
    assert_non_null(strstr(us_error_text(), "channels"));
    assert_int_equal(d->count, 5);
    us_dataset_destroy(d);
    us_dataset_destroy(NULL);
}

/* Rows are packed on the way in: a strided 16-bit picture. */
static void test_dataset_packs(void **state) {
    uint16_t rows[2][5] = {{1, 2, 3, 99, 99}, {4, 5, 6, 99, 99}}, packed[6] = {1, 2, 3, 4, 5, 6};
    struct us_image image = gray_image((const uint8_t *)rows, 3, 2);
    us_dataset *d;
    (void)state;
    image.bits = 16;
    image.stride = 10;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    assert_int_equal(us_dataset_add(d, "x", &image, NULL, NULL), 0);
    assert_int_equal(d->samples[0]->image.stride, 6);
    assert_memory_equal(d->samples[0]->image.data, packed, sizeof packed);
    us_dataset_destroy(d);
}

static us_dataset *numbered(int n) {
    us_dataset *d;
    uint8_t pixel, one = 1;
    struct us_image image = gray_image(&pixel, 1, 1), mask = gray_image(&one, 1, 1);
    char name[8] = "s00";
    int i;
    assert_int_equal(us_dataset_create(&d, ctx), 0);
    for (i = 0; i < n; i++) {
        pixel = (uint8_t)i;
        name[1] = (char)('0' + i / 10);
        name[2] = (char)('0' + i % 10);
        assert_int_equal(us_dataset_add(d, name, &image, NULL, &mask), 0);
    }
    return d;
}

static int number_of(const us_dataset *d, int64_t i) {
    return us_image_sample(&d->samples[i]->image, 0, 0, 0);
}

static void test_dataset_folds(void **state) {
    us_dataset *d = numbered(20), *train, *test, *seven = numbered(7);
    int k, i, next;
    (void)state;
    for (k = 0; k < 4; k++) {
        assert_int_equal(us_dataset_fold(&train, &test, d, k, 4), 0);
        assert_int_equal(test->count, 5);
        assert_int_equal(train->count, 15);
        for (i = 0; i < 5; i++)
            assert_int_equal(number_of(test, i), 5 * k + i);
        for (next = 0, i = 0; i < 15; i++, next++) {
            next += next == 5 * k ? 5 : 0;
            assert_int_equal(number_of(train, i), next);
        }
        us_dataset_destroy(train);
        us_dataset_destroy(test);
    }
    for (next = 0, k = 0; k < 3; k++) { /* uneven: every sample is in one test run */
        assert_int_equal(us_dataset_fold(&train, &test, seven, k, 3), 0);
        assert_int_equal(test->count + train->count, 7);
        for (i = 0; i < test->count; i++)
            assert_int_equal(number_of(test, i), next++);
        us_dataset_destroy(train);
        us_dataset_destroy(test);
    }
    assert_int_equal(next, 7);
    assert_int_equal(us_dataset_fold(&train, &test, d, 4, 4), UNETSTAR_EINVAL);
    assert_null(train);
    assert_null(test);
    assert_int_equal(us_dataset_fold(&train, &test, d, -1, 4), UNETSTAR_EINVAL);
    assert_int_equal(us_dataset_fold(&train, &test, d, 0, 1), UNETSTAR_EINVAL);
    assert_int_equal(us_dataset_fold(&train, &test, d, 0, 21), UNETSTAR_EINVAL);
    us_dataset_destroy(d);
    us_dataset_destroy(seven);
}

/* Samples are shared and outlive the dataset they came from, and the context its owner's reference. */
static void test_dataset_shares(void **state) {
    static const int64_t picks[4] = {2, 0, 2, 1}, bad[1] = {3};
    us_dataset *d = numbered(3), *s, *empty;
    (void)state;
    assert_int_equal(us_dataset_subset(&s, d, bad, 1), UNETSTAR_EINVAL);
    assert_null(s);
    assert_int_equal(us_dataset_subset(&empty, d, NULL, 0), 0);
    assert_int_equal(empty->count, 0);
    assert_int_equal(us_dataset_subset(&s, d, picks, 4), 0);
    assert_ptr_equal(s->samples[0], d->samples[2]);
    us_dataset_destroy(d);
    assert_int_equal(number_of(s, 0), 2);
    assert_int_equal(number_of(s, 1), 0);
    assert_int_equal(number_of(s, 3), 1);
    us_dataset_destroy(empty);
    us_dataset_destroy(s);
}

/* ---- Memory ---- */

/* Everything that allocates, with the n-th call failing: ENOMEM, nothing leaks, datasets stay as they were. */
static int everything(long fail_at) {
    struct meter m;
    us_context *c = meter_context(&m);
    us_dataset *d = NULL, *train = NULL, *test = NULL, *subset = NULL;
    static uint8_t rgb[3 * 64 * 64], flat[64 * 64];
    struct us_image image = rgb_image(rgb, 64, 64), label = gray_image(flat, 64, 64);
    static float x[64 * 64];
    static const int64_t pick[1] = {0};
    struct us_prep p;
    int64_t before = 0;
    int error, failed, i;
    us_prep_default(&p);
    p.standardize = 1;
    p.clahe_tiles = 16;
    memset(rgb, 4, sizeof rgb);
    for (i = 0; i < 64 * 64; i++)
        if ((i % 64 - 32) * (i % 64 - 32) + (i / 64 - 32) * (i / 64 - 32) < 28 * 28)
            rgb[3 * i] = 180;
    m.calls = 0;
    m.fail_at = fail_at;
    error = us_dataset_create(&d, c);
    if (!error)
        error = us_dataset_add(d, "one", &image, &label, NULL);
    if (!error) {
        before = d->count;
        error = us_dataset_add_synthetic(d, 5, 64, 48);
    }
    if (!error) {
        before = d->count;
        error = us_dataset_fold(&train, &test, d, 0, 2);
    }
    if (!error)
        error = us_dataset_subset(&subset, d, pick, 1);
    if (!error)
        error = us_prep_run(c, &p, &image, NULL, x);
    failed = m.fail_at && m.calls >= m.fail_at;
    assert_int_equal(error, failed ? UNETSTAR_ENOMEM : 0);
    if (d)
        assert_int_equal(d->count, before);
    us_dataset_destroy(subset);
    us_dataset_destroy(train);
    us_dataset_destroy(d);
    us_dataset_destroy(test);
    meter_end(c, &m);
    return failed;
}

static void test_allocation_failures(void **state) {
    long n = 1;
    (void)state;
    while (everything(n))
        n++;
    assert_true(n > 20); /* the loop ended because nothing failed any more, not at once */
    assert_int_equal(everything(0), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_dataset_labels_and_masks), TEST(test_dataset_packs),       TEST(test_dataset_folds),
        TEST(test_dataset_shares),           TEST(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
