/* test_data.c - images, preprocessing, CLAHE, field of view. */
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

/* ---- Images ---- */

static void test_image_strides_and_depth(void **state) {
    uint8_t bytes[2 * 11 + 1];
    uint16_t sample = 0;
    struct us_image image = rgb_image(bytes, 3, 2);
    int64_t y, x;
    int c;
    (void)state;
    for (c = 0; c < (int)sizeof bytes; c++)
        bytes[c] = (uint8_t)(c * 9);
    image.stride = 11;
    assert_int_equal(us_image_check(&image, "image"), 0);
    for (y = 0; y < 2; y++)
        for (x = 0; x < 3; x++)
            for (c = 0; c < 3; c++)
                assert_true(us_image_at(&image, y, x, c) == (float)((11 * y + 3 * x + c) * 9 % 256));
    /* 16 bit at an odd address with an odd stride */
    image = gray_image(bytes + 1, 2, 2);
    image.bits = 16;
    image.stride = 5;
    for (c = 0; c < 256; c++) {
        sample = (uint16_t)(c * 257);
        memcpy(bytes + 1 + 5 + 2, &sample, 2);
        assert_int_equal(us_image_sample(&image, 1, 1, 0), c * 257);
        assert_true(us_image_at(&image, 1, 1, 0) == (float)c);
    }
}

static void test_image_check(void **state) {
    uint8_t bytes[64];
    struct us_image good = rgb_image(bytes, 4, 4), bad;
    (void)state;
    assert_int_equal(us_image_check(&good, "image"), 0);
#define REFUSED(change, word)                                                                                          \
    bad = good;                                                                                                        \
    change;                                                                                                            \
    assert_int_equal(us_image_check(&bad, "the picture"), UNETSTAR_EINVAL);                                            \
    assert_non_null(strstr(us_error_text(), "the picture"));                                                           \
    assert_non_null(strstr(us_error_text(), word))
    REFUSED(bad.data = NULL, "data");
    REFUSED(bad.width = 0, "size");
    REFUSED(bad.height = 32769, "size");
    REFUSED(bad.channels = 2, "channels");
    REFUSED(bad.bits = 12, "bits");
    REFUSED(bad.stride = 11, "rows");
}

/* ---- Preprocessing ---- */

static struct us_prep plain_prep(void) {
    struct us_prep p;
    us_prep_default(&p);
    p.min_max = 0;
    p.clahe_tiles = 0;
    p.gamma = 1.0f;
    return p;
}

static void test_prep_channels(void **state) {
    static const uint8_t rgb[6] = {100, 50, 200, 0, 255, 10};
    struct us_image image = rgb_image(rgb, 2, 1);
    struct us_prep p = plain_prep();
    float x[6];
    (void)state;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    assert_true(x[0] == (float)((299 * 100 + 587 * 50 + 114 * 200) / 255000.0));
    assert_true(x[1] == (float)((587 * 255 + 114 * 10) / 255000.0));
    p.color = UNETSTAR_COLOR_GREEN;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    assert_true(x[0] == (float)(50 / 255.0) && x[1] == 1.0f);
    p.color = UNETSTAR_COLOR_RGB;
    assert_int_equal(us_prep_channels(&p), 3);
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    assert_true(x[0] == (float)(100 / 255.0) && x[2] == (float)(50 / 255.0) && x[4] == (float)(200 / 255.0));
    assert_true(x[1] == 0.0f && x[3] == 1.0f && x[5] == (float)(10 / 255.0));
}

static void test_prep_min_max(void **state) {
    static const uint8_t v[6] = {10, 20, 30, 60, 110, 40};
    uint16_t deep[4] = {1000, 1001, 3000, 1000};
    struct us_image image = gray_image(v, 3, 2);
    struct us_prep p = plain_prep();
    float x[8];
    int i;
    (void)state;
    p.min_max = 1;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    for (i = 0; i < 6; i++)
        assert_true(x[i] == (float)((v[i] - 10) / 100.0));
    /* 16 bit keeps its depth: 1/2000 is not lost in a byte */
    image = gray_image((const uint8_t *)deep, 2, 2);
    image.bits = 16;
    image.stride = 4;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    assert_true(x[0] == 0.0f && x[1] == (float)(1 / 2000.0) && x[2] == 1.0f);
    /* a uniform picture becomes 0 */
    image = gray_image(v, 1, 1);
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    assert_true(x[0] == 0.0f);
}

/* With gamma, min-max is cut off, not rounded: (20 - 10) * 255 / 100 = 25.5 -> 25; the table is cut off too. */
static void test_prep_bytes_are_cut_off(void **state) {
    static const uint8_t v[6] = {10, 20, 30, 60, 110, 40};
    struct us_image image = gray_image(v, 3, 2);
    struct us_prep p = plain_prep();
    float x[6];
    uint8_t all[256], table[256];
    float y[256];
    int i;
    (void)state;
    p.min_max = 1;
    p.gamma = 1.2f;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
    for (i = 0; i < 6; i++) {
        int byte = (v[i] - 10) * 255 / 100;
        assert_true(x[i] == (float)floor(255.0 * us_pow(byte / 255.0, 1 / 1.2)) / 255.0f);
    }
    /* the whole table, against numpy's of the original pipeline */
    for (i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    image = gray_image(all, 256, 1);
    p.min_max = 0;
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, y), 0);
    for (i = 0; i < 256; i++)
        table[i] = (uint8_t)(y[i] * 255.0f + 0.5f);
    assert_true(checksum(table, 256) == 0x563b668e696ff348u);
}

static void test_prep_standardize(void **state) {
    static const uint8_t v[4] = {10, 30, 50, 250}, mask[4] = {255, 0, 255, 0}, none[4] = {0, 0, 0, 0};
    struct us_image image = gray_image(v, 2, 2);
    struct us_prep p = plain_prep();
    float x[4];
    (void)state;
    p.standardize = 1;
    assert_int_equal(us_prep_run(ctx, &p, &image, mask, x), 0); /* inside: 10 and 50, mean 30, deviation 20 */
    assert_true(fabsf(x[0] + 1) < 1e-6f && fabsf(x[1]) < 1e-6f && fabsf(x[2] - 1) < 1e-6f && fabsf(x[3] - 11) < 1e-5f);
    assert_int_equal(us_prep_run(ctx, &p, &image, none, x), 0); /* an empty field: all pixels, mean 85 */
    assert_true(fabsf(x[0] + x[1] + x[2] + x[3]) < 1e-5f);
    assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0); /* found: a picture this small is taken whole */
    assert_true(fabsf(x[0] + x[1] + x[2] + x[3]) < 1e-5f);
}

static void test_prep_text(void **state) {
    static const char usual[] = "color=gray min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0";
    static const char *const bad[] = {"",
                                      "color=gray",
                                      "color=pink min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0",
                                      "color=gray min_max=2 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0",
                                      "color=gray min_max=1 clahe_tiles=65 clahe_clip=2 gamma=1.2 standardize=0",
                                      "color=gray min_max=1 clahe_tiles=8 clahe_clip=0 gamma=1.2 standardize=0",
                                      "color=gray min_max=1 clahe_tiles=8 clahe_clip=2 gamma=nan standardize=0",
                                      "color=gray min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0 more=1",
                                      "color=gray min_max=1 clahe_tiles= clahe_clip=2 gamma=1.2 standardize=0",
                                      "color=gray  min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0"};
    static const float values[] = {0.01f, 1.0f / 3.0f, 0.1f, 2.5f, 99.99f, 3.1415927f, 1.0000001f};
    char text[US_PREP_TEXT];
    struct us_prep p, q, kept;
    int i;
    (void)state;
    us_prep_default(&p);
    assert_int_equal(us_prep_check(&p), 0);
    us_prep_format(text, &p);
    assert_string_equal(text, usual);
    memset(&q, 0, sizeof q);
    assert_int_equal(us_prep_parse(text, &q), 0);
    assert_memory_equal(&p, &q, sizeof p);
    for (i = 0; i < US_COUNT(values); i++) {
        p.gamma = values[i];
        p.clahe_clip = values[US_COUNT(values) - 1 - i];
        p.color = i % 3;
        us_prep_format(text, &p);
        assert_true(strlen(text) < US_PREP_TEXT - 1);
        assert_int_equal(us_prep_parse(text, &q), 0);
        assert_memory_equal(&p, &q, sizeof p);
    }
    kept = q;
    for (i = 0; i < US_COUNT(bad); i++) {
        assert_int_equal(us_prep_parse(bad[i], &q), UNETSTAR_EFORMAT);
        assert_non_null(strstr(us_error_text(), "preprocessing"));
        assert_memory_equal(&q, &kept, sizeof q);
    }
}

/* ---- CLAHE: goldens from OpenCV 4.6, cv2.createCLAHE(clip, (tiles, tiles)).apply ---- */

static void clahe_picture(uint8_t *p, int h, int w) {
    int i, j;
    for (i = 0; i < h; i++)
        for (j = 0; j < w; j++)
            p[i * w + j] = (uint8_t)((i * i * 3 + j * 7 + i * j % 13 * 5) / 2 % 200 + 20);
}

/* Of a whole plane, in place. */
static void clahe(uint8_t *plane, int64_t h, int64_t w, int tiles, float clip) {
    struct us_clahe c;
    int64_t y, i;
    us_clahe_begin(&c, h, w, tiles, clip);
    c.tables = (uint8_t *)malloc(us_clahe_size(tiles));
    c.counts = (int32_t *)malloc(us_clahe_scratch(tiles));
    for (y = 0; y < h; y++)
        for (i = y; i >= 0; i = us_clahe_next(&c, y, i))
            us_clahe_count(&c, i, 0, w, plane + y * w);
    for (y = h - 1; y >= 0; y--)
        us_clahe_apply(&c, y, 0, w, plane + y * w);
    free(c.tables);
    free(c.counts);
}

static void test_clahe_opencv(void **state) {
    static const uint8_t small[90] = {32,  64,  96,  88,  88,  72,  64,  68,  72,  76,  48,  96,  128, 131, 144,
                                      136, 159, 171, 191, 199, 80,  143, 175, 183, 199, 227, 239, 116, 136, 187,
                                      100, 151, 175, 180, 195, 124, 159, 191, 199, 126, 112, 136, 152, 170, 120,
                                      156, 176, 124, 144, 164, 92,  120, 156, 110, 140, 179, 112, 158, 112, 154,
                                      96,  143, 207, 155, 207, 128, 207, 155, 199, 159, 147, 211, 179, 225, 177,
                                      229, 207, 231, 193, 224, 207, 247, 239, 253, 243, 221, 255, 233, 247, 237};
    static const struct {
        int h, w, tiles;
        float clip;
        uint64_t sum;
    } big[] = {{60, 70, 8, 2.0f, 0x528ef13809a0dfa6u},  {64, 48, 8, 2.0f, 0x7a08f74da3a74b60u},
               {64, 50, 8, 2.0f, 0x7e3f04f62efb59f0u},  {5, 3, 8, 2.0f, 0x556aae8f9db21928u},
               {120, 90, 4, 3.5f, 0x27c85ec0f2ff2821u}, {100, 100, 1, 40.0f, 0x602ea2a47ac9d0fbu}};
    uint8_t plane[120 * 90];
    int i;
    (void)state;
    clahe_picture(plane, 9, 10);
    clahe(plane, 9, 10, 3, 2.0f);
    assert_memory_equal(plane, small, sizeof small);
    for (i = 0; i < US_COUNT(big); i++) {
        clahe_picture(plane, big[i].h, big[i].w);
        clahe(plane, big[i].h, big[i].w, big[i].tiles, big[i].clip);
        assert_true(checksum(plane, (size_t)(big[i].h * big[i].w)) == big[i].sum);
    }
}

/* One tile of four pixels, no clipping felt: the table is the cumulated histogram times 255 / 4. */
static void test_clahe_by_hand(void **state) {
    uint8_t plane[4] = {7, 7, 9, 200};
    (void)state;
    clahe(plane, 2, 2, 1, 65536.0f);
    assert_int_equal(plane[0], 128); /* 127.5, half to even */
    assert_int_equal(plane[1], 128);
    assert_int_equal(plane[2], 191); /* 191.25 */
    assert_int_equal(plane[3], 255);
}

/* Preprocessing gives what the steps give one by one. */
static void test_prep_steps(void **state) {
    static const int sizes[][2] = {{9, 10}, {60, 92}, {120, 90}};
    uint8_t plane[120 * 90], rgb[3 * 120 * 90];
    float *x = (float *)malloc(3 * 120 * 90 * sizeof *x);
    struct us_prep p;
    int s, i, c;
    (void)state;
    us_prep_default(&p);
    p.gamma = 1.0f;
    p.min_max = 0;
    p.color = UNETSTAR_COLOR_RGB;
    for (s = 0; s < 3; s++) {
        int h = sizes[s][0], w = sizes[s][1];
        struct us_image image = rgb_image(rgb, w, h);
        long calls;
        clahe_picture(plane, h, w);
        for (i = 0; i < h * w; i++)
            for (c = 0; c < 3; c++)
                rgb[3 * i + c] = (uint8_t)(plane[i] ^ (c * 5));
        calls = meter.calls;
        assert_int_equal(us_prep_run(ctx, &p, &image, NULL, x), 0);
        assert_int_equal(meter.calls - calls, 1);
        for (c = 0; c < 3; c++) {
            for (i = 0; i < h * w; i++)
                plane[i] = rgb[3 * i + c];
            clahe(plane, h, w, 8, 2.0f);
            for (i = 0; i < h * w; i++)
                assert_true(x[c * h * w + i] == (float)plane[i] / 255.0f);
        }
    }
    free(x);
}

/* ---- Field of view ---- */

static double disc_iou(const uint8_t *mask, int w, int h, double cx, double cy, double r) {
    long both = 0, any = 0;
    int x, y;
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++) {
            int in = (x - cx) * (x - cx) + (y - cy) * (y - cy) <= r * r, got = mask[y * w + x] != 0;
            both += in && got;
            any += in || got;
        }
    return (double)both / (double)any;
}

static void draw_disc(uint8_t *rgb, int w, int h, double cx, double cy, double r, int red, int green, int blue) {
    int x, y;
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++)
            if ((x - cx) * (x - cx) + (y - cy) * (y - cy) <= r * r) {
                rgb[3 * (y * w + x)] = (uint8_t)red;
                rgb[3 * (y * w + x) + 1] = (uint8_t)green;
                rgb[3 * (y * w + x) + 2] = (uint8_t)blue;
            }
}

static void test_field_found(void **state) {
    static const struct {
        int w, h;
        double cx, cy, r;
        int red, green, blue;
    } cases[] = {{200, 180, 99.5, 89.5, 85, 200, 100, 40},  /* usual */
                 {200, 180, 99.5, 89.5, 85, 160, 8, 4},     /* reddish: green tells nothing */
                 {200, 180, 99.5, 89.5, 110, 200, 100, 40}, /* cut off above and below, and cropped to its width */
                 {160, 160, 79.5, 79.5, 80, 60, 60, 60},    /* dim, gray, cropped to its box */
                 {300, 200, 120, 100, 80, 20, 180, 30},     /* red-free, off the middle */
                 {1700, 1500, 850, 750, 700, 200, 100, 40}, /* reduced by 3 */
                 {17, 17, 8, 8, 7, 200, 100, 40}};
    int i, k;
    (void)state;
    for (i = 0; i < US_COUNT(cases); i++) {
        int w = cases[i].w, h = cases[i].h, n = w * h;
        uint8_t *rgb = (uint8_t *)calloc((size_t)n, 3), *mask = (uint8_t *)malloc((size_t)n);
        struct us_image image = rgb_image(rgb, w, h);
        int32_t source = -1;
        for (k = 0; k < 3 * n; k++)
            rgb[k] = (uint8_t)(k * 7 % 5 + 3);
        draw_disc(rgb, w, h, cases[i].cx, cases[i].cy, cases[i].r, cases[i].red, cases[i].green, cases[i].blue);
        assert_int_equal(us_field_find(ctx, &image, mask, &source), 0);
        assert_int_equal(source, UNETSTAR_FIELD_FOUND);
        assert_true(disc_iou(mask, w, h, cases[i].cx, cases[i].cy, cases[i].r) > (w < 100 ? 0.7 : 0.96));
        for (k = 0; k < n; k++)
            assert_true(mask[k] == 0 || mask[k] == 255);
        free(rgb);
        free(mask);
    }
}

/* Vessels that cross the rim, a dark spot inside and a label in a corner leave the disc a disc. */
static void test_field_repaired(void **state) {
    enum { W = 300, H = 280 };
    static uint8_t rgb[3 * W * H], mask[W * H];
    struct us_image image = rgb_image(rgb, W, H);
    int32_t source;
    int x, y;
    (void)state;
    memset(rgb, 6, sizeof rgb);
    draw_disc(rgb, W, H, 150, 140, 130, 190, 90, 40);
    draw_disc(rgb, W, H, 150, 140, 30, 5, 5, 5);
    for (y = 136; y < 142; y++) /* a dark vessel from the rim to the middle */
        memset(rgb + 3 * y * W, 10, 3 * 150);
    for (y = 4; y < 12; y++) /* text */
        for (x = 4; x < 40; x++)
            memset(rgb + 3 * (y * W + x), 255, 3);
    for (y = 130; y < 146; y++) /* a tab */
        memset(rgb + 3 * (y * W + 275), 150, 3 * 20);
    assert_int_equal(us_field_find(ctx, &image, mask, &source), 0);
    assert_int_equal(source, UNETSTAR_FIELD_FOUND);
    assert_true(disc_iou(mask, W, H, 150, 140, 130) > 0.95);
    assert_int_equal(mask[8 * W + 20], 0);
    assert_int_equal(mask[138 * W + 150], 255);
    assert_int_equal(mask[138 * W + 290], 0);
}

static void whole(const struct us_image *image) {
    size_t n = (size_t)(image->width * image->height), i;
    uint8_t *mask = (uint8_t *)malloc(n);
    int32_t source = -1;
    assert_int_equal(us_field_find(ctx, image, mask, &source), 0);
    assert_int_equal(source, UNETSTAR_FIELD_WHOLE);
    for (i = 0; i < n; i++)
        assert_int_equal(mask[i], 255);
    free(mask);
}

static void test_field_strange(void **state) {
    static const int levels[] = {0, 1, 127, 255};
    static const int sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {15, 40}, {64, 64}, {3000, 2}, {2000, 1000}};
    uint8_t *data = (uint8_t *)malloc(3 * 2000 * 1000);
    struct us_rng rng = us_rng_stream(1, US_RNG_TEST, 0, 0);
    struct us_image image;
    int i, k, n;
    (void)state;
    for (i = 0; i < US_COUNT(levels); i++)
        for (k = 0; k < US_COUNT(sizes); k++) { /* black, white, uniform, of many shapes */
            image = rgb_image(data, sizes[k][0], sizes[k][1]);
            memset(data, levels[i], (size_t)(3 * sizes[k][0] * sizes[k][1]));
            whole(&image);
        }
    n = 200 * 160;
    image = rgb_image(data, 200, 160);
    for (i = 0; i < 3 * n; i++) /* noise */
        data[i] = (uint8_t)us_rng_next(&rng);
    whole(&image);
    for (i = 0; i < n; i++) /* a slope: no field, and already cropped inside it */
        data[3 * i] = data[3 * i + 1] = data[3 * i + 2] = (uint8_t)(60 + i % 200 / 2);
    whole(&image);
    memset(data, 200, (size_t)(3 * n)); /* a dark disc on white */
    draw_disc(data, 200, 160, 100, 80, 70, 20, 10, 10);
    whole(&image);
    memset(data, 0, (size_t)(3 * n)); /* a small spot */
    draw_disc(data, 200, 160, 100, 80, 20, 250, 250, 250);
    whole(&image);
    memset(data, 0, (size_t)(3 * n)); /* stripes */
    for (i = 0; i < n; i++)
        data[3 * i] = i % 200 / 10 % 2 ? 250 : 0;
    whole(&image);
    free(data);
}

static void test_field_16_bit(void **state) {
    enum { W = 120, H = 100 };
    static uint8_t gray[W * H], a[W * H], b[W * H];
    static uint16_t deep[W * H];
    struct us_image image = gray_image(gray, W, H);
    int32_t source;
    int x, y;
    (void)state;
    for (y = 0; y < H; y++)
        for (x = 0; x < W; x++) {
            int in = (x - 60) * (x - 60) + (y - 50) * (y - 50) < 45 * 45;
            gray[y * W + x] = (uint8_t)(in ? 120 + x / 2 : 9);
            deep[y * W + x] = (uint16_t)(gray[y * W + x] * 257);
        }
    assert_int_equal(us_field_find(ctx, &image, a, &source), 0);
    assert_int_equal(source, UNETSTAR_FIELD_FOUND);
    image = gray_image((const uint8_t *)deep, W, H);
    image.bits = 16;
    image.stride = 2 * W;
    assert_int_equal(us_field_find(ctx, &image, b, &source), 0);
    assert_int_equal(source, UNETSTAR_FIELD_FOUND);
    assert_memory_equal(a, b, sizeof a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_image_strides_and_depth),
        TEST(test_image_check),
        TEST(test_prep_channels),
        TEST(test_prep_min_max),
        TEST(test_prep_bytes_are_cut_off),
        TEST(test_prep_standardize),
        TEST(test_prep_text),
        TEST(test_clahe_opencv),
        TEST(test_clahe_by_hand),
        TEST(test_prep_steps),
        TEST(test_field_found),
        TEST(test_field_repaired),
        TEST(test_field_strange),
        TEST(test_field_16_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
