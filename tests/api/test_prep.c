/*
 * test_prep.c - preprocessing learned from a source of rows: how often and in which order rows are asked for, sources that
 * fail, cancels, what is kept of an image, and its bytes.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>

/* ---- A source that watches how it is read ---- */

struct reader {
    int64_t width, height;
    int32_t channels, bits;
    int64_t next, passes, rows_seen;
    int64_t fail_at, cancel_at; /* of rows_seen, from 1; 0: never */
    unetstar_cancel *cancel;
    int wrong;
};

static int read_rows(void *user, int64_t y, int64_t n, void *rows, int64_t stride) {
    struct reader *r = (struct reader *)user;
    int64_t i, k;
    if (r->next == r->height)
        r->next = 0;
    r->passes += y == 0;
    r->wrong += y != r->next || n < 1 || y + n > r->height || stride < r->width * r->channels * (r->bits / 8);
    r->wrong += n * stride > 1 << 18 && n > 1;
    r->next = y + n;
    for (i = 0; i < n; i++) {
        unsigned char *at = (unsigned char *)rows + i * stride;
        if (++r->rows_seen == r->fail_at)
            return 42;
        if (r->rows_seen == r->cancel_at)
            unetstar_cancel_request(r->cancel);
        for (k = 0; k < r->width * r->channels * (r->bits / 8); k++) {
            const int64_t dx = 2 * (k / (r->channels * (r->bits / 8))) + 1 - r->width, dy = 2 * (y + i) + 1 - r->height;
            const int inside = (double)dx * (double)dx / ((double)r->width * (double)r->width) +
                                   (double)dy * (double)dy / ((double)r->height * (double)r->height) <
                               0.9;
            at[k] = (unsigned char)((inside ? 90 + k % 50 + (y + i) % 30 : 3) + (int)(4 * noise((uint64_t)(y + i + k))));
        }
    }
    return 0;
}

static void reader_open(struct reader *r, unetstar_source *source, int64_t width, int64_t height, int32_t channels,
                        int32_t bits) {
    memset(r, 0, sizeof *r);
    r->width = width;
    r->height = height;
    r->channels = channels;
    r->bits = bits;
    OK(unetstar_source_init(source, sizeof *source));
    source->read_rows = read_rows;
    source->user = r;
    source->width = width;
    source->height = height;
    source->channels = channels;
    source->bits = bits;
}

static int append(void *user, const void *data, size_t size) {
    blob_add((struct blob *)user, data, size);
    return 0;
}

static int refuse(void *user, const void *data, size_t size) {
    (void)data;
    (void)size;
    return --*(int *)user == 0 ? -1 : 0;
}

/* ---- Tests ---- */

static void test_passes(void **state) {
    static const struct {
        int32_t min_max, tiles, standardize, find;
        int64_t passes;
    } cases[] = {{0, 0, 0, 0, 0}, {1, 0, 0, 0, 1}, {0, 0, 0, 1, 1}, {0, 8, 0, 0, 1}, {1, 8, 0, 0, 2},
                 {1, 8, 0, 1, 2}, {0, 0, 1, 0, 3}, {0, 8, 1, 0, 4}, {1, 8, 1, 1, 4}};
    static const int64_t sizes[][2] = {{1, 1}, {70, 1}, {1, 90}, {500, 400}, {32768, 3}};
    unetstar_context *context = make_context(1);
    unetstar_prep_options o;
    unetstar_prep_state *p;
    unetstar_source source;
    struct reader r;
    int i, k;
    (void)state;
    for (i = 0; i < COUNT(cases); i++)
        for (k = 0; k < COUNT(sizes); k++) {
            reader_open(&r, &source, sizes[k][0], sizes[k][1], i % 2 ? 3 : 1, k % 2 ? 16 : 8);
            OK(unetstar_prep_options_init(&o, sizeof o));
            o.min_max = cases[i].min_max;
            o.clahe_tiles = cases[i].tiles;
            o.standardize = cases[i].standardize;
            OK(unetstar_prep_fit(&p, context, &o, &source, cases[i].find, NULL));
            assert_int_equal(r.passes, cases[i].passes);
            assert_int_equal(r.rows_seen, cases[i].passes * r.height);
            assert_int_equal(r.wrong, 0);
            unetstar_prep_state_destroy(p);
        }
    unetstar_context_destroy(context);
}

/* However high the image: the same memory, and only what was learned stays. */
static void test_memory_of_rows(void **state) {
    static const int64_t heights[] = {300, 3000, 30000};
    unetstar_prep_options o;
    unetstar_prep_state *p;
    unetstar_source source;
    struct counter counter;
    struct reader r;
    unetstar_context *context;
    int64_t before, peak[COUNT(heights)], kept[COUNT(heights)];
    int k;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    OK(unetstar_prep_options_init(&o, sizeof o));
    for (k = 0; k < COUNT(heights); k++) {
        reader_open(&r, &source, 200, heights[k], 1, 8);
        before = counter.bytes;
        counter.peak = counter.bytes;
        OK(unetstar_prep_fit(&p, context, &o, &source, 0, NULL));
        peak[k] = counter.peak - before;
        kept[k] = counter.bytes - before;
        unetstar_prep_state_destroy(p);
        assert_int_equal(counter.bytes, before);
    }
    print_message("  %lld bytes at the peak, %lld kept\n", (long long)peak[2], (long long)kept[2]);
    assert_int_equal(peak[1], peak[2]); /* the first is lower than a band */
    assert_true(peak[0] <= peak[1]);
    assert_in_range(peak[2], 1, (1 << 18) + (1 << 16));
    assert_true(kept[0] == kept[1] && kept[1] == kept[2]);
    assert_in_range(kept[2], 64 * 256, 64 * 256 + 8192);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

static void test_failing_source(void **state) {
    unetstar_context *context = make_context(1);
    unetstar_prep_options o;
    unetstar_prep_state *p;
    unetstar_cancel *cancel;
    unetstar_source source;
    struct reader r;
    int64_t at, total = 4 * 3000;
    (void)state;
    OK(unetstar_cancel_create(&cancel, context));
    OK(unetstar_prep_options_init(&o, sizeof o));
    o.standardize = 1;
    for (at = 1; at <= total; at += at < 5 ? 1 : 731) { /* in every pass */
        reader_open(&r, &source, 200, 3000, 1, 8);
        r.fail_at = at;
        p = (unetstar_prep_state *)64;
        FAILS_NAMING(UNETSTAR_EUSER, "42", unetstar_prep_fit(&p, context, &o, &source, 0, NULL));
        assert_null(p);
        assert_int_equal(r.rows_seen, at); /* and it is not called again */
        reader_open(&r, &source, 200, 3000, 1, 8);
        r.cancel_at = at;
        r.cancel = cancel;
        p = (unetstar_prep_state *)64;
        FAILS(UNETSTAR_ECANCELED, unetstar_prep_fit(&p, context, &o, &source, 0, cancel));
        assert_null(p);
        assert_true(r.rows_seen >= at && r.rows_seen < at + (1 << 18) / 200 + 1); /* the band is read to its end */
        unetstar_cancel_reset(cancel);
    }
    unetstar_cancel_request(cancel);
    reader_open(&r, &source, 200, 3000, 1, 8);
    FAILS(UNETSTAR_ECANCELED, unetstar_prep_fit(&p, context, &o, &source, 0, cancel));
    assert_int_equal(r.rows_seen, 0);
    unetstar_cancel_destroy(cancel);
    unetstar_context_destroy(context);
}

static void test_arguments(void **state) {
    unetstar_context *context = make_context(1);
    unetstar_prep_options o;
    unetstar_prep_state *p;
    unetstar_source source, bad;
    struct reader r;
    (void)state;
    reader_open(&r, &source, 20, 30, 1, 8);
#define REFUSED(change, word) \
    bad = source; \
    change; \
    p = (unetstar_prep_state *)64; \
    FAILS_NAMING(UNETSTAR_EINVAL, word, unetstar_prep_fit(&p, context, NULL, &bad, 0, NULL)); \
    assert_null(p)
    REFUSED(bad.read_rows = NULL, "read_rows");
    REFUSED(bad.width = 0, "source");
    REFUSED(bad.height = 32769, "source");
    REFUSED(bad.channels = 2, "source");
    REFUSED(bad.bits = 12, "source");
    FAILS_NAMING(UNETSTAR_EINVAL, "find_field", unetstar_prep_fit(&p, context, NULL, &source, 2, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "find_field", unetstar_prep_fit(&p, context, NULL, &source, -1, NULL));
    OK(unetstar_prep_options_init(&o, sizeof o));
    o.clahe_tiles = 65;
    FAILS_NAMING(UNETSTAR_EINVAL, "clahe_tiles", unetstar_prep_fit(&p, context, &o, &source, 0, NULL));
    assert_int_equal(r.rows_seen, 0);
    unetstar_context_destroy(context);
}

/* The same bytes from one thread and three, of a loaded one again, and in a context of its own. */
static void test_bytes(void **state) {
    unetstar_context *one = make_context(1), *three = make_context(3);
    unetstar_prep_options o;
    int k;
    (void)state;
    for (k = 0; k < 12; k++) {
        unetstar_prep_state *p, *q, *loaded;
        unetstar_source source;
        struct reader r;
        struct blob a = {NULL, 0, 0}, b = {NULL, 0, 0}, c = {NULL, 0, 0};
        int count = 1;
        reader_open(&r, &source, 150 + 500 * (k % 3), 140, k % 2 ? 3 : 1, k / 2 % 2 ? 16 : 8);
        OK(unetstar_prep_options_init(&o, sizeof o));
        o.color = k % 3;
        o.standardize = k / 3 % 2;
        OK(unetstar_prep_fit(&p, one, &o, &source, k / 6, NULL));
        OK(unetstar_prep_fit(&q, three, &o, &source, k / 6, NULL));
        OK(unetstar_prep_state_save(p, append, &a));
        OK(unetstar_prep_state_save(q, append, &b));
        blobs_equal(&a, &b, "threads");
        unetstar_prep_state_destroy(q);
        OK(unetstar_prep_state_load(&loaded, three, a.data, a.size));
        OK(unetstar_prep_state_save(loaded, append, &c));
        blobs_equal(&a, &c, "saved again");
        unetstar_prep_state_destroy(loaded);
        FAILS(UNETSTAR_EIO, unetstar_prep_state_save(p, refuse, &count));
        count = 3;
        FAILS(UNETSTAR_EIO, unetstar_prep_state_save(p, refuse, &count));
        unetstar_prep_state_destroy(p);
        blob_free(&a);
        blob_free(&b);
        blob_free(&c);
    }
    unetstar_context_destroy(one);
    unetstar_context_destroy(three);
}

/* Damaged, cut off, or not ours at all; and a state outlives the caller's hold on its context. */
static void test_damaged_bytes(void **state) {
    struct counter counter;
    unetstar_context *context;
    unetstar_prep_options o;
    unetstar_prep_state *p;
    unetstar_source source;
    struct reader r;
    struct blob good = {NULL, 0, 0};
    unsigned char *bad;
    size_t i;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    reader_open(&r, &source, 90, 80, 3, 8);
    OK(unetstar_prep_options_init(&o, sizeof o));
    o.clahe_tiles = 2;
    OK(unetstar_prep_fit(&p, context, &o, &source, 1, NULL));
    OK(unetstar_prep_state_save(p, append, &good));
    unetstar_prep_state_destroy(p);
    bad = (unsigned char *)memory(good.size + 1);
    for (i = 0; i < good.size; i++) {
        unsigned char *exact = (unsigned char *)memory(i ? i : 1); /* reading past its end would be seen */
        memcpy(exact, good.data, i);
        p = (unetstar_prep_state *)64;
        FAILS(UNETSTAR_EFORMAT, unetstar_prep_state_load(&p, context, exact, i));
        assert_null(p);
        free(exact);
        memcpy(bad, good.data, good.size);
        bad[i] ^= (unsigned char)(1 << i % 7);
        FAILS(i >= 8 && i < 12 ? UNETSTAR_EVERSION : UNETSTAR_EFORMAT, unetstar_prep_state_load(&p, context, bad, good.size));
        assert_null(p);
    }
    memcpy(bad, good.data, good.size);
    bad[good.size] = 0;
    FAILS(UNETSTAR_EFORMAT, unetstar_prep_state_load(&p, context, bad, good.size + 1));
    OK(unetstar_prep_state_load(&p, context, bad, good.size));
    memset(bad, 0, good.size); /* it was copied */
    unetstar_context_destroy(context);
    {
        struct blob again = {NULL, 0, 0};
        OK(unetstar_prep_state_save(p, append, &again));
        blobs_equal(&good, &again, "after its context was let go");
        blob_free(&again);
    }
    unetstar_prep_state_destroy(p);
    unetstar_prep_state_destroy(NULL);
    counter_balanced(&counter);
    free(bad);
    blob_free(&good);
}

/* Augmentation that the preprocessing or the network has no place for. */
static void test_augmentation_without_place(void **state) {
    unetstar_context *context = make_context(1);
    unetstar_prep_options prep;
    unetstar_trainer *other;
    struct training t;
    struct recipe r;
    float x[16 * 16];
    (void)state;
    recipe_tiny(&r);
    r.trainer.clahe_jitter = 0.5f;
    training_open(&t, context, &r);
    OK(unetstar_trainer_patch(t.trainer, t.set, 0, 0, x, NULL, NULL));
    OK(unetstar_prep_options_init(&prep, sizeof prep));
    prep.clahe_tiles = 0;
    OK(unetstar_model_set_prep(t.model, &prep));
    FAILS_NAMING(UNETSTAR_EINVAL, "clahe_jitter", unetstar_trainer_patch(t.trainer, t.set, 0, 0, x, NULL, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "clahe_tiles", unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    training_close(&t);
    r.trainer.clahe_jitter = 0;
    r.model.in_channels = 3;
    training_open(&t, context, &r);
    r.trainer.color_mix = 0.5f;
    FAILS_NAMING(UNETSTAR_EINVAL, "color_mix", unetstar_trainer_create(&other, t.model, t.optimizer, &r.trainer, NULL));
    assert_null(other);
    training_close(&t);
    unetstar_context_destroy(context);
}

/* A picture and mask stored bottom-up are the same as stored top-down, wherever one can be given. */
static void test_bottom_up(void **state) {
    enum { W = 61, H = 50 };
    static uint8_t down[H][W][3], up[H][W][3], masks[2][H][W];
    static float x[2][W * H], p[2][W * H];
    unetstar_context *context = make_context(2);
    unetstar_image image[2], mask[2], stored;
    unetstar_prep_options prep;
    unetstar_model_options o;
    unetstar_session_options so;
    unetstar_model *model;
    unetstar_dataset *set;
    unetstar_session *session;
    int k, i, j;
    (void)state;
    for (i = 0; i < H; i++)
        for (j = 0; j < W; j++) {
            for (k = 0; k < 3; k++)
                down[i][j][k] = up[H - 1 - i][j][k] = (uint8_t)(255 * noise((uint64_t)((i * W + j) * 3 + k)));
            masks[0][i][j] = masks[1][H - 1 - i][j] = (uint8_t)(i > j ? 255 : 0);
        }
    OK(unetstar_prep_options_init(&prep, sizeof prep));
    prep.standardize = 1;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.0625;
    o.levels = 2;
    OK(unetstar_model_create(&model, context, &o));
    OK(unetstar_dataset_create(&set, context));
    OK(unetstar_session_options_init(&so, sizeof so));
    so.clip_to_field = 1;
    for (k = 0; k < 2; k++) {
        so.plan = k ? UNETSTAR_PLAN_STREAM : UNETSTAR_PLAN_WHOLE;
        OK(unetstar_image_init(&image[k], sizeof image[k]));
        OK(unetstar_image_init(&mask[k], sizeof mask[k]));
        image[k].data = k ? (const void *)up[H - 1] : (const void *)down;
        mask[k].data = k ? (const void *)masks[1][H - 1] : (const void *)masks[0];
        image[k].width = mask[k].width = W;
        image[k].height = mask[k].height = H;
        image[k].channels = 3;
        mask[k].channels = 1;
        image[k].bits = mask[k].bits = 8;
        image[k].row_stride = k ? -3 * W : 0;
        mask[k].row_stride = k ? -W : W;
        OK(unetstar_preprocess(context, &prep, &image[k], &mask[k], x[k]));
        OK(unetstar_session_create(&session, context, (const unetstar_model *const *)&model, 1, &so));
        OK(unetstar_session_run(session, &image[k], &mask[k], p[k], NULL, NULL, NULL));
        unetstar_session_destroy(session);
        OK(unetstar_dataset_add(set, "picture", &image[k], NULL, &mask[k]));
        OK(unetstar_image_init(&stored, sizeof stored));
        OK(unetstar_dataset_get(set, k, UNETSTAR_DATASET_IMAGE, &stored));
        assert_memory_equal(stored.data, down, sizeof down);
        OK(unetstar_dataset_get(set, k, UNETSTAR_DATASET_MASK, &stored));
        assert_memory_equal(stored.data, masks[0], sizeof masks[0]);
    }
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    image[1].row_stride = -3 * W + 1;
    FAILS_NAMING(UNETSTAR_EINVAL, "row_stride", unetstar_preprocess(context, &prep, &image[1], NULL, x[1]));
    unetstar_dataset_destroy(set);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),    cmocka_unit_test(test_memory_of_rows), cmocka_unit_test(test_failing_source),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_bytes),          cmocka_unit_test(test_damaged_bytes),
        cmocka_unit_test(test_augmentation_without_place), cmocka_unit_test(test_bottom_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
