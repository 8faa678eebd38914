/*
 * test_prep_golden.c - the bits of preprocessing and of the field of view, as checksums of what the library gave when
 * both still looked at whole images: every size, depth and option below must go on giving them, whatever is made of the
 * code. On a difference the row that would have been right is printed.
 */
#include "../api/part.h"
#include "test_data_util.h"

struct size {
    int width, height, disc; /* disc: lit part on a dark ground */
};

static const struct size sizes[] = {{1, 1, 0},   {2, 3, 0},    {15, 17, 0},  {1, 40, 0},   {40, 1, 0},
                                    {7, 700, 0}, {700, 3, 0},  {48, 48, 1},  {64, 65, 1},  {65, 64, 1},
                                    {64, 64, 0}, {127, 66, 1}, {101, 97, 1}, {320, 200, 1}};

/* By size: 8 bit gray, 8 bit colour, 16 bit gray, 16 bit colour. */
static const uint64_t prep_golden[US_COUNT(sizes)][4] = {
    {0x4af7e2a3474cb210u, 0x0ad1fd1dafb3eedbu, 0x55113fc279dd9021u, 0x8985f03452de5980u},
    {0x50c3c3033baf0aaeu, 0x991754679bef434fu, 0x5b9502fb192fc2eeu, 0x0f937d1362b28366u},
    {0x1681bf368622ac45u, 0x64c5e91f9458d143u, 0x6648061192c85fc3u, 0xb86476cb6ac53e1du},
    {0x0d7e10a03e1d561eu, 0xccb70b39032bd7d6u, 0xe62540880bf6b10fu, 0xb79ce5b9f62cdb4eu},
    {0x90fa04e2b6c31cb6u, 0xcd97ec7314962383u, 0x24a944a7c259ec50u, 0x5927a7fc0f32d7edu},
    {0xeb3d0b96a25986b7u, 0xf436a837db451028u, 0xf2b40e4386fdb090u, 0x5554a21754767d88u},
    {0x75dc932b8a12d942u, 0x06504b50ab1a4be9u, 0xd59db6d9804913d1u, 0x3a21bfdcdd08592fu},
    {0x062717f49b8ba0cdu, 0x65151b2b0ea9eadeu, 0x508b8b62fd2b560bu, 0xd356e9880a7eaabfu},
    {0xdf4ff2cf6226c5f8u, 0xa06a0716cc3d06a1u, 0x8a62515c7b891410u, 0x23aaf53fb31ddeb3u},
    {0x25242794d4b6c103u, 0x7655a245a32ffc02u, 0x238c2d9a59c071d5u, 0x78388e47cf9cf1f3u},
    {0xf53be8ae65ac56edu, 0x4f7159ffdd0f7898u, 0x80f2a808674aadd5u, 0x81cdeeb8ef796f7au},
    {0xdc9d6923fd352d17u, 0x503c80d3bb0bb4c4u, 0x739de64b965bc2e3u, 0x3824135f28110325u},
    {0x16adc44f130c7e91u, 0x7cba3ce955ba33aeu, 0x4c9dda5adb60ed5au, 0x5fe2af471daf824fu},
    {0xf48ebfec82ffd80fu, 0x8ac3e6b65036da1fu, 0x571cc607a7f19bb4u, 0xa199cb60fc8c30c1u}};

static const struct size field_sizes[] = {{15, 200, 1},  {16, 16, 1},     {17, 40, 1},   {48, 48, 1},    {101, 97, 1},
                                          {640, 480, 1}, {768, 600, 1},   {769, 600, 1}, {1000, 801, 1}, {1600, 90, 1},
                                          {90, 1600, 1}, {2000, 1501, 1}, {500, 300, 0}};
static const uint64_t field_golden[US_COUNT(field_sizes)][4] = {
    {0x3c7869bbc77a672bu, 0x3c7869bbc77a672bu, 0x3c7869bbc77a672bu, 0x3c7869bbc77a672bu},
    {0xdb899c5c2152254au, 0x24cdbf170f84126bu, 0x2c5f6799ec7c6b36u, 0x24cdbf170f84126bu},
    {0x9fa2d0f52dfc9596u, 0x9fa2d0f52dfc9596u, 0x9fa2d0f52dfc9596u, 0x9fa2d0f52dfc9596u},
    {0x8eac3376ec4a2845u, 0x8eac3376ec4a2845u, 0x082379723f8f533fu, 0x9ebc2bc4830c08b3u},
    {0xfecb52374c052d47u, 0xfecb52374c052d47u, 0x13cc3de7405d8eacu, 0x62a647872a7adae9u},
    {0x8aed2535f51b1f5eu, 0xe34ed7866d27e844u, 0x4bc1d367c6ebcc1eu, 0x9e6c0358c289c119u},
    {0x3efc75bd8ce38b10u, 0x90bc683cf8912183u, 0x0b34dc223505c9edu, 0x74a65d88db3fe125u},
    {0xee46107af8368a8eu, 0xee46107af8368a8eu, 0xb33014cda0bf016eu, 0x2011a5be2d0c1afeu},
    {0x69158b22a1ebc9aeu, 0x91d35a4997b44d56u, 0xfdca973629ebb7b6u, 0x5940220a89784be6u},
    {0x1de21c238c4667c3u, 0x1de21c238c4667c3u, 0x1de21c238c4667c3u, 0x1de21c238c4667c3u},
    {0x1de21c238c4667c3u, 0x1de21c238c4667c3u, 0x1de21c238c4667c3u, 0x1de21c238c4667c3u},
    {0x35dc4613095e3405u, 0x93e5a4ef90c4dc58u, 0xa73468a71d00a0ffu, 0xd4eed983ccb48e6du},
    {0x4a054f7b32029493u, 0x4a054f7b32029493u, 0x4a054f7b32029493u, 0x4a054f7b32029493u}};

static uint32_t scramble(uint32_t v) {
    v = (v ^ (v >> 16)) * 0x45d9f3bu;
    v = (v ^ (v >> 16)) * 0x45d9f3bu;
    return v ^ (v >> 16);
}

/* Rows with some bytes between them, at an odd address when the samples have 16 bits. */
static struct us_image picture(uint8_t *memory, const struct size *size, int channels, int bits) {
    const int64_t w = size->width, h = size->height, r = US_MIN(w, h) * 9 / 20;
    struct us_image image;
    int64_t y, x;
    int c;
    image.data = memory + (bits == 16);
    image.width = w;
    image.height = h;
    image.channels = channels;
    image.bits = bits;
    image.stride = w * channels * (bits / 8) + 3;
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++)
            for (c = 0; c < channels; c++) {
                uint8_t *at = (uint8_t *)memory + (bits == 16) + y * image.stride + (x * channels + c) * (bits / 8);
                const int64_t dy = 2 * y + 1 - h, dx = 2 * x + 1 - w;
                const int inside = !size->disc || dy * dy + dx * dx <= 4 * r * r;
                const uint32_t noise = scramble((uint32_t)((y * w + x) * 3 + c + bits));
                const uint32_t level =
                    inside ? 60 + (uint32_t)((x * 50) / w + (y * 70) / h) + 20 * (uint32_t)(2 - c) : 5;
                uint16_t v = (uint16_t)(level * 257 + noise % (inside ? 6000 : 900));
                if (bits == 16)
                    memcpy(at, &v, 2);
                else
                    *at = (uint8_t)(v >> 8);
            }
    return image;
}

static uint64_t mix(uint64_t sum, const void *data, size_t size) {
    return sum * 0x100000001b3u ^ checksum(data, size);
}

static uint64_t prep_sum(us_context *ctx, const struct us_image *image, uint8_t *mask, float *x) {
    static const int tiles[] = {0, 1, 3, 8, 64};
    const size_t pixels = (size_t)(image->width * image->height);
    const int big = pixels > 10000;
    uint64_t sum = 0;
    size_t i;
    int color, min_max, t, curve, standard, given;
    for (color = 0; color < 3; color++)
        for (min_max = 0; min_max < 2; min_max++)
            for (t = 0; t < US_COUNT(tiles); t++)
                for (curve = 0; curve < 2; curve++)
                    for (standard = 0; standard < 2; standard++)
                        for (given = 0; given < (standard ? 3 : 1); given++) {
                            struct us_prep prep;
                            if ((big && (tiles[t] == 1 || tiles[t] == 3 || (curve && tiles[t]))) ||
                                (standard && tiles[t] == 64))
                                continue;
                            us_prep_default(&prep);
                            prep.color = color;
                            prep.min_max = min_max;
                            prep.clahe_tiles = tiles[t];
                            prep.clahe_clip = tiles[t] == 3 ? 40.0f : 2.0f;
                            prep.gamma = curve ? 1.2f : 1.0f;
                            prep.standardize = standard;
                            for (i = 0; i < pixels; i++) /* 1: stripes, 2: empty */
                                mask[i] = (uint8_t)(given == 1 && i % 7 > 2 ? i % 255 + 1 : 0);
                            assert_int_equal(us_prep_run(ctx, &prep, image, given ? mask : NULL, x), 0);
                            sum = mix(sum, x, (size_t)us_prep_channels(&prep) * pixels * sizeof *x);
                        }
    return sum;
}

static int compare(const char *what, const struct size *size, const uint64_t got[4], const uint64_t wanted[4]) {
    if (!memcmp(got, wanted, 4 * sizeof got[0]))
        return 0;
    print_message("%s %dx%d: {0x%016llxu, 0x%016llxu, 0x%016llxu, 0x%016llxu},\n", what, size->width, size->height,
                  (unsigned long long)got[0], (unsigned long long)got[1], (unsigned long long)got[2],
                  (unsigned long long)got[3]);
    return 1;
}

static void run(us_context *ctx, int n_sizes, int n_fields) {
    enum { LARGEST = 2000 * 1501 };
    uint8_t *memory = (uint8_t *)malloc(6 * LARGEST + 3 * 2000 + 8), *mask = (uint8_t *)malloc(LARGEST);
    float *x = (float *)malloc(3 * 320 * 200 * sizeof *x);
    int i, k, wrong = 0;
    assert_true(memory && mask && x);
    for (i = 0; i < n_sizes; i += test_part()) {
        uint64_t got[4];
        for (k = 0; k < 4; k++) {
            struct us_image image = picture(memory, &sizes[i], k % 2 ? 3 : 1, k / 2 ? 16 : 8);
            got[k] = prep_sum(ctx, &image, mask, x);
        }
        wrong += compare("prep", &sizes[i], got, prep_golden[i]);
    }
    for (i = 0; i < n_fields; i += test_part()) {
        uint64_t got[4];
        for (k = 0; k < 4; k++) {
            struct us_image image = picture(memory, &field_sizes[i], k % 2 ? 3 : 1, k / 2 ? 16 : 8);
            int32_t source;
            assert_int_equal(us_field_find(ctx, &image, mask, &source), 0);
            got[k] = mix((uint64_t)source, mask, (size_t)(image.width * image.height));
        }
        wrong += compare("field", &field_sizes[i], got, field_golden[i]);
    }
    free(memory);
    free(mask);
    free(x);
    assert_int_equal(wrong, 0);
}

static void test_prep_golden(void **state) {
    struct meter meter;
    us_context *ctx = meter_context(&meter);
    (void)state;
    run(ctx, US_COUNT(sizes), US_COUNT(field_sizes));
    meter_end(ctx, &meter);
}

/* The number of threads changes nothing. */
static void test_prep_golden_threads(void **state) {
    unetstar_context_options o;
    us_context *ctx = NULL;
    (void)state;
    memset(&o, 0, sizeof o);
    o.n_threads = 3;
    assert_int_equal(us_context_create(&ctx, &o), 0);
    run(ctx, 7, 0);
    us_context_unref(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prep_golden), cmocka_unit_test(test_prep_golden_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
