/* test_prep_rows.c - preprocessing from rows: in parts of any size, in any order once it is ready, through bytes and
 * back. */
#include "../api/part.h"
#include "test_data_util.h"

static struct meter meter;
static us_context *ctx;
static struct us_rng rng;

static int setup(void **state) {
    (void)state;
    ctx = meter_context(&meter);
    rng = us_rng_stream(5, US_RNG_TEST, 0, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    meter_end(ctx, &meter);
    return 0;
}

/* ---- A picture and all that a test needs beside it ---- */

struct scene {
    struct us_image image;
    uint8_t *data, *mask, *found, *row;
    float *x, *line;
    size_t pixels;
};

static void scene_open(struct scene *s, int64_t w, int64_t h, int channels, int bits) {
    int64_t y, x;
    int c;
    s->pixels = (size_t)(w * h);
    s->data = (uint8_t *)malloc(s->pixels * 6 + 1);
    s->mask = (uint8_t *)malloc(s->pixels);
    s->found = (uint8_t *)malloc(s->pixels);
    s->row = (uint8_t *)malloc((size_t)w);
    s->x = (float *)malloc(3 * s->pixels * sizeof *s->x);
    s->line = (float *)malloc(3 * (size_t)w * sizeof *s->line);
    s->image.data = s->data;
    s->image.width = w;
    s->image.height = h;
    s->image.channels = channels;
    s->image.bits = bits;
    s->image.stride = w * channels * (bits / 8);
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++)
            for (c = 0; c < channels; c++) {
                const int64_t dx = 2 * x + 1 - w, dy = 2 * y + 1 - h, r = US_MIN(w, h) * 9 / 10;
                const uint16_t v =
                    (uint16_t)((dx * dx + dy * dy < r * r ? 20000 + 400 * c : 900) + us_rng_below(&rng, 7000));
                uint8_t *at = s->data + y * s->image.stride + (x * channels + c) * (bits / 8);
                if (bits == 16)
                    memcpy(at, &v, 2);
                else
                    *at = (uint8_t)(v >> 8);
            }
    for (x = 0; x < w * h; x++)
        s->mask[x] = us_rng_below(&rng, 3) != 0;
}

static void scene_close(struct scene *s) {
    free(s->data);
    free(s->mask);
    free(s->found);
    free(s->row);
    free(s->x);
    free(s->line);
}

static struct us_prep some_prep(int k) {
    static const int tiles[] = {0, 8, 3, 64};
    struct us_prep prep;
    us_prep_default(&prep);
    prep.color = k % 3;
    prep.min_max = k / 3 % 2;
    prep.clahe_tiles = tiles[k / 6 % 4];
    prep.standardize = k / 24 % 2;
    prep.gamma = k / 48 ? 1.2f : 1.0f;
    return prep;
}
#define PREPS 96

/* Every row, in parts of random sizes; parts: 0 rows at a time for one part. Returns the passes. */
static int learn(struct us_prep_state *s, const struct scene *scene, const uint8_t *mask, int64_t parts) {
    const struct us_image *image = &scene->image;
    int passes = 0;
    while (us_prep_state_pass(s)) {
        int64_t y, n;
        for (y = 0; y < image->height; y += n) {
            n = parts ? (int64_t)us_rng_below(&rng, (uint64_t)parts) + 1 : image->height;
            n = US_MIN(n, image->height - y);
            us_prep_state_rows(s, y, n, scene->data + y * image->stride, image->stride,
                               mask ? mask + y * image->width : NULL, image->width);
        }
        passes++;
    }
    return passes;
}

/* The state's rows, from the last to the first, against s->x and, unless NULL, a mask. */
static void compare(const struct us_prep_state *state, const struct scene *s, const uint8_t *mask) {
    const int64_t w = s->image.width, h = s->image.height;
    int64_t y;
    int c;
    for (y = h - 1; y >= 0; y--) {
        memset(s->line, 0xa5, 3 * (size_t)w * sizeof(float));
        us_prep_row(state, y, s->data + y * s->image.stride, s->line, (size_t)w);
        for (c = 0; c < us_prep_channels(&state->prep); c++)
            assert_memory_equal(s->line + c * w, s->x + (c * h + y) * w, (size_t)w * sizeof(float));
        if (mask) {
            memset(s->row, 1, (size_t)w);
            us_prep_field_row(state, y, s->row);
            assert_memory_equal(s->row, mask + y * w, (size_t)w);
        }
    }
}

static const int sizes[][2] = {{1, 1},   {1, 40},   {40, 1},   {15, 17}, {300, 5},
                               {64, 64}, {101, 97}, {520, 66}, {66, 65}, {600, 2}};

/* ---- Tests ---- */

static void test_any_parts(void **state) {
    int i, k, field;
    (void)state;
    for (i = 0; i < US_COUNT(sizes); i++)
        for (k = i % 5; k < PREPS; k += 5 * test_part()) {
            const int channels = k % 2 ? 3 : 1, bits = (k / 2 + i) % 2 ? 16 : 8;
            const struct us_prep prep = some_prep(k);
            struct us_prep_state s;
            struct scene scene;
            int32_t source;
            scene_open(&scene, sizes[i][0], sizes[i][1], channels, bits);
            assert_int_equal(us_field_find(ctx, &scene.image, scene.found, &source), 0);
            assert_int_equal(source, sizes[i][0] > 60 && sizes[i][0] < 2 * sizes[i][1] ? UNETSTAR_FIELD_FOUND
                                                                                       : UNETSTAR_FIELD_WHOLE);
            for (field = US_PREP_FIELD_AUTO; field <= US_PREP_FIELD_GIVEN; field++) {
                const uint8_t *mask = field == US_PREP_FIELD_GIVEN ? scene.mask : NULL;
                const size_t bytes = us_prep_state_bytes_for(&prep, field, scene.image.width, scene.image.height);
                uint8_t *memory = (uint8_t *)us_alloc(ctx, bytes + 64), *kept;
                int round;
                memset(memory + bytes, 0x5a, 64);
                assert_true(bytes <= us_prep_state_bytes(&prep, field));
                assert_int_equal(us_prep_run(ctx, &prep, &scene.image, mask, scene.x), 0);
                for (round = 0; round < 3; round++) {
                    us_prep_state_begin(&s, &prep, scene.image.width, scene.image.height, channels, bits, field,
                                        memory);
                    assert_int_equal(learn(&s, &scene, mask,
                                           round == 0   ? 1
                                           : round == 1 ? 7
                                                        : 0),
                                     us_prep_passes(&prep, field));
                    compare(&s, &scene, field == US_PREP_FIELD_WANTED ? scene.found : NULL);
                }
                kept = (uint8_t *)us_alloc(ctx, s.kept);
                us_prep_state_move(&s, kept);
                assert_memory_equal(memory + bytes, "ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
                                    64);
                memset(memory, 0xee, bytes);
                compare(&s, &scene, field == US_PREP_FIELD_WANTED ? scene.found : NULL);
                us_free(ctx, memory);
                us_free(ctx, kept);
            }
            scene_close(&scene);
        }
}

static void test_passes(void **state) {
    struct us_prep prep;
    (void)state;
    us_prep_default(&prep);
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_AUTO), 2);
    assert_string_equal(us_prep_global_step(&prep), "min-max");
    prep.standardize = 1;
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_AUTO), 4);
    prep.min_max = 0;
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_AUTO), 4); /* the field has to be found */
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_GIVEN), 3);
    assert_string_equal(us_prep_global_step(&prep), "CLAHE");
    prep.clahe_tiles = 0;
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_GIVEN), 2);
    assert_string_equal(us_prep_global_step(&prep), "standardize");
    prep.standardize = 0;
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_AUTO), 0);
    assert_int_equal(us_prep_passes(&prep, US_PREP_FIELD_WANTED), 1);
    assert_null(us_prep_global_step(&prep));
}

/* The bound holds for every size, and is what it should be: 8x8 tables of 256 bytes, two rows of 8 histograms. */
static void test_bytes(void **state) {
    struct us_prep prep;
    int64_t side;
    int field;
    (void)state;
    us_prep_default(&prep);
    assert_int_equal(us_prep_state_bytes(&prep, US_PREP_FIELD_AUTO), 64 * 256 + 2 * 8 * 256 * 4);
    for (field = US_PREP_FIELD_AUTO; field <= US_PREP_FIELD_WANTED; field++)
        for (side = 1; side <= US_IMAGE_MAX; side += side / 7 + 1) {
            assert_true(us_prep_state_bytes_for(&prep, field, side, US_IMAGE_MAX) <= us_prep_state_bytes(&prep, field));
            assert_true(us_prep_state_bytes_for(&prep, field, side, side) <= us_prep_state_bytes(&prep, field));
        }
    assert_true(us_prep_state_bytes(&prep, US_PREP_FIELD_WANTED) <= 64 * 256 + 768 * 8 + 768 * 768 * 8);
}

/* Every row of tiles is complete after the last row, with never more of them open than there is room for. */
static void test_clahe_closes(void **state) {
    static const int tiles[] = {1, 2, 3, 7, 8, 31, 63, 64};
    uint8_t bytes[1] = {9};
    int64_t h, y, i;
    int t, k;
    (void)state;
    for (t = 0; t < US_COUNT(tiles); t++)
        for (h = 1; h < 150; h += h < 70 || h % 64 > 60 ? 1 : 3) {
            struct us_clahe c;
            uint8_t *guarded = (uint8_t *)malloc(us_clahe_scratch(tiles[t]) + 16);
            us_clahe_begin(&c, h, 1, tiles[t], 2.0f);
            c.tables = (uint8_t *)calloc(1, us_clahe_size(tiles[t]));
            c.counts = (int32_t *)guarded;
            memset(guarded + us_clahe_scratch(tiles[t]), 0x11, 16);
            for (y = 0; y < h; y++)
                for (i = y; i >= 0; i = us_clahe_next(&c, y, i)) {
                    int open = 0;
                    for (k = 0; k < US_CLAHE_OPEN; k++)
                        open += c.open[k] >= 0 && c.open[k] != i / c.tile_h;
                    assert_true(open < US_CLAHE_OPEN);
                    us_clahe_count(&c, i, 0, 1, bytes);
                }
            for (k = 0; k < US_CLAHE_OPEN; k++)
                assert_int_equal(c.open[k], -1);
            for (k = 0; k < tiles[t] * tiles[t]; k++) /* each table was made: it ends with the brightest */
                assert_int_equal(c.tables[k * 256 + 255], 255);
            assert_memory_equal(guarded + us_clahe_scratch(tiles[t]), "\x11\x11\x11\x11\x11\x11\x11\x11", 8);
            free(guarded);
            free(c.tables);
        }
}

/* Rows that change between the passes give strange values, but nothing breaks. */
static void test_inconsistent_rows(void **state) {
    int k;
    (void)state;
    for (k = 0; k < PREPS; k++) {
        const struct us_prep prep = some_prep(k);
        struct us_prep_state s;
        struct scene scene;
        void *memory = us_alloc(ctx, us_prep_state_bytes(&prep, US_PREP_FIELD_AUTO));
        int64_t y, i;
        scene_open(&scene, 70, 66, k % 2 ? 3 : 1, k / 2 % 2 ? 16 : 8);
        us_prep_state_begin(&s, &prep, 70, 66, scene.image.channels, scene.image.bits, US_PREP_FIELD_AUTO, memory);
        while (us_prep_state_pass(&s)) {
            us_prep_state_rows(&s, 0, 66, scene.data, scene.image.stride, NULL, 0);
            for (i = 0; i < 66 * scene.image.stride; i++)
                scene.data[i] = (uint8_t)us_rng_next(&rng);
        }
        for (y = 0; y < 66; y++)
            us_prep_row(&s, y, scene.data + y * scene.image.stride, scene.line, 70);
        for (i = 0; i < 70 * us_prep_channels(&prep); i++)
            assert_true(scene.line[i] > -1e6f && scene.line[i] < 1e6f);
        us_free(ctx, memory);
        scene_close(&scene);
    }
}

/* ---- Bytes ---- */

struct bytes {
    uint8_t *data;
    size_t size;
    int parts, fail_at;
};

static int append(void *user, const void *data, size_t size) {
    struct bytes *b = (struct bytes *)user;
    if (++b->parts == b->fail_at)
        return -7;
    b->data = (uint8_t *)realloc(b->data, b->size + size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return 0;
}

static void test_bytes_and_back(void **state) {
    int i, k;
    (void)state;
    for (i = 0; i < US_COUNT(sizes); i++)
        for (k = i % 5; k < PREPS; k += 5 * test_part()) {
            const struct us_prep prep = some_prep(k);
            const int field = k % 5 % 2 ? US_PREP_FIELD_WANTED : US_PREP_FIELD_AUTO;
            struct us_prep_state s, t;
            struct scene scene;
            struct bytes first = {NULL, 0, 0, 0}, second = {NULL, 0, 0, 0};
            void *memory = us_alloc(ctx, us_prep_state_bytes(&prep, field));
            int32_t source;
            scene_open(&scene, sizes[i][0], sizes[i][1], k % 2 ? 3 : 1, k / 2 % 2 ? 16 : 8);
            us_prep_state_begin(&s, &prep, scene.image.width, scene.image.height, scene.image.channels,
                                scene.image.bits, field, memory);
            learn(&s, &scene, NULL, 9);
            assert_int_equal(us_prep_state_write(&s, append, &first), 0);
            us_free(ctx, memory);
            assert_int_equal(us_prep_state_read(&t, ctx, first.data, first.size), 0);
            assert_int_equal(us_prep_state_write(&t, append, &second), 0);
            assert_int_equal(first.size, second.size);
            assert_memory_equal(first.data, second.data, first.size);
            assert_int_equal(us_prep_run(ctx, &prep, &scene.image, NULL, scene.x), 0);
            assert_int_equal(us_field_find(ctx, &scene.image, scene.found, &source), 0);
            compare(&t, &scene, field == US_PREP_FIELD_WANTED ? scene.found : NULL);
            us_free(ctx, t.memory);
            free(first.data);
            free(second.data);
            scene_close(&scene);
        }
}

static void sign(struct bytes *b) {
    const uint64_t sum = checksum(b->data, b->size - 8);
    int i;
    for (i = 0; i < 8; i++)
        b->data[b->size - 8 + (size_t)i] = (uint8_t)(sum >> (8 * i));
}

static void refused(const struct bytes *b, int code) {
    struct us_prep_state s, before;
    memset(&s, 0x77, sizeof s);
    before = s;
    us_error_clear();
    assert_int_equal(us_prep_state_read(&s, ctx, b->data, b->size), code);
    assert_memory_equal(&s, &before, sizeof s);
    assert_non_null(strstr(us_error_text(), "saved preprocessing"));
}

/* With a right checksum, too: no number in it is believed. Whatever is accepted can be used. */
static void test_bad_bytes(void **state) {
    static const struct {
        size_t at;
        uint8_t value[8];
        int size, code;
    } changes[] = {{0, {'U'}, 1, UNETSTAR_EFORMAT},
                   {8, {2}, 1, UNETSTAR_EVERSION},
                   {8, {0}, 1, UNETSTAR_EFORMAT},
                   {12, {3}, 1, UNETSTAR_EFORMAT},                  /* color */
                   {12, {2}, 1, UNETSTAR_EFORMAT},                  /* more planes than bytes */
                   {16, {2}, 1, UNETSTAR_EFORMAT},                  /* min_max */
                   {20, {9}, 1, UNETSTAR_EFORMAT},                  /* tiles */
                   {20, {255, 255, 255, 255}, 4, UNETSTAR_EFORMAT}, /* -1 */
                   {20, {255, 255, 255, 127}, 4, UNETSTAR_EFORMAT},
                   {24, {2}, 1, UNETSTAR_EFORMAT},              /* standardize */
                   {28, {0, 0, 192, 127}, 4, UNETSTAR_EFORMAT}, /* clip: NaN */
                   {32, {0, 0, 128, 127}, 4, UNETSTAR_EFORMAT}, /* gamma: infinite */
                   {36, {0}, 8, UNETSTAR_EFORMAT},              /* width */
                   {36, {1, 128}, 2, UNETSTAR_EFORMAT},
                   {36, {0, 0, 0, 0, 0, 0, 0, 128}, 8, UNETSTAR_EFORMAT},
                   {44, {255, 255, 255, 255, 255, 255, 255, 255}, 8, UNETSTAR_EFORMAT}, /* height */
                   {44, {15}, 1, UNETSTAR_EFORMAT},                                     /* too low for a field */
                   {52, {2}, 1, UNETSTAR_EFORMAT},                                      /* channels */
                   {56, {12}, 1, UNETSTAR_EFORMAT},                                     /* bits */
                   {60, {0}, 1, UNETSTAR_EFORMAT},                                      /* field: given */
                   {60, {2}, 1, UNETSTAR_EFORMAT},                                      /* whole, but there are ends */
                   {60, {9}, 1, UNETSTAR_EFORMAT},
                   {64, {255, 255, 255, 255}, 4, UNETSTAR_EFORMAT},         /* least */
                   {68, {255, 255, 255, 15}, 4, UNETSTAR_EFORMAT},          /* most */
                   {68, {0}, 4, UNETSTAR_EFORMAT},                          /* below least */
                   {72, {0, 0, 0, 0, 0, 0, 248, 127}, 8, UNETSTAR_EFORMAT}, /* mean: NaN */
                   {80, {0}, 8, UNETSTAR_EFORMAT},                          /* deviation */
                   {80, {0, 0, 0, 0, 0, 0, 240, 127}, 8, UNETSTAR_EFORMAT}};
    struct us_prep prep;
    struct us_prep_state s;
    struct scene scene;
    struct bytes good = {NULL, 0, 0, 0}, bad;
    void *memory;
    size_t i;
    int k, accepted = 0;
    (void)state;
    us_prep_default(&prep);
    prep.clahe_tiles = 2;
    scene_open(&scene, 90, 80, 3, 8);
    memory = us_alloc(ctx, us_prep_state_bytes(&prep, US_PREP_FIELD_WANTED));
    us_prep_state_begin(&s, &prep, 90, 80, 3, 8, US_PREP_FIELD_WANTED, memory);
    learn(&s, &scene, NULL, 9);
    assert_int_equal(us_prep_field_row(&s, 0, scene.row), UNETSTAR_FIELD_FOUND);
    for (k = 1; k < 4 + 80; k++) { /* head, plane, tables, 80 rows of the field, checksum: every write may fail */
        struct bytes failing = {NULL, 0, 0, 0};
        failing.fail_at = k;
        assert_int_equal(us_prep_state_write(&s, append, &failing), -7);
        assert_int_equal(failing.parts, k); /* and is the last */
        free(failing.data);
    }
    assert_int_equal(us_prep_state_write(&s, append, &good), 0);
    us_free(ctx, memory);
    assert_int_equal(good.size, 64 + 24 + 4 * 256 + 80 * 8 + 8);
    bad = good;
    bad.data = (uint8_t *)malloc(good.size + 1);
    for (k = 0; k < US_COUNT(changes); k++) {
        memcpy(bad.data, good.data, good.size);
        memcpy(bad.data + changes[k].at, changes[k].value, (size_t)changes[k].size);
        sign(&bad);
        refused(&bad, changes[k].code);
    }
    memcpy(bad.data, good.data, good.size);
    memset(bad.data + 64 + 24 + 1024, 255, 4); /* a row of the field begins at -1 */
    sign(&bad);
    refused(&bad, UNETSTAR_EFORMAT);
    memcpy(bad.data, good.data, good.size);
    bad.data[64 + 24 + 1024 + 4] = 90; /* or ends beyond the picture */
    bad.data[64 + 24 + 1024 + 5] = bad.data[64 + 24 + 1024 + 6] = bad.data[64 + 24 + 1024 + 7] = 0;
    sign(&bad);
    refused(&bad, UNETSTAR_EFORMAT);
    for (i = 0; i < good.size; i++) { /* cut off anywhere, or one bit wrong */
        memcpy(bad.data, good.data, good.size);
        bad.size = i;
        refused(&bad, UNETSTAR_EFORMAT);
        if (i >= 8)
            sign(&bad);
        refused(&bad, UNETSTAR_EFORMAT);
        bad.size = good.size;
        memcpy(bad.data, good.data, good.size);
        bad.data[i] ^= (uint8_t)(1 << i % 8);
        refused(&bad, i > 8 && i < 12 ? UNETSTAR_EVERSION : UNETSTAR_EFORMAT);
    }
    memcpy(bad.data, good.data, good.size); /* one byte more */
    bad.size = good.size + 1;
    sign(&bad);
    refused(&bad, UNETSTAR_EFORMAT);
    bad.size = good.size;
    for (k = 0; k < 20000 / test_part(); k++) { /* random bytes under a right checksum */
        int64_t y;
        memcpy(bad.data, good.data, good.size);
        bad.data[us_rng_below(&rng, k % 2 ? 96 : good.size - 8)] = (uint8_t)us_rng_next(&rng);
        bad.data[us_rng_below(&rng, k % 2 ? 96 : good.size - 8)] ^= (uint8_t)(1 << us_rng_below(&rng, 8));
        sign(&bad);
        if (us_prep_state_read(&s, ctx, bad.data, bad.size))
            continue;
        accepted++;
        if (s.width == 90 && s.channels == 3 && s.bits == 8)
            for (y = 0; y < US_MIN(s.height, 80); y++) {
                us_prep_row(&s, y, scene.data + y * scene.image.stride, scene.line, 90);
                us_prep_field_row(&s, y, scene.row);
            }
        us_free(ctx, s.memory);
    }
    assert_in_range(accepted, 1000 / test_part(), 19000 / test_part());
    free(good.data);
    free(bad.data);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clahe_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inconsistent_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
