/*
 * test_prep_golden.c - the bits of preprocessing and of the field of view, as checksums of what the library gave when
 * both still looked at whole images: every size, depth and option below must go on giving them, whatever is made of the
 * code. On a difference the row that would have been right is printed.
 */
#include "test_data_util.h"

struct size {
    int width, height, disc; /* disc: lit part on a dark ground */
};

static const struct size sizes[] = {{1, 1, 0},   {2, 3, 0},    {15, 17, 0},  {1, 40, 0},   {40, 1, 0},
                                    {7, 700, 0}, {700, 3, 0},  {48, 48, 1},  {64, 65, 1},  {65, 64, 1},
                                    {64, 64, 0}, {127, 66, 1}, {101, 97, 1}, {320, 200, 1}};

/* By size: 8 bit gray, 8 bit colour, 16 bit gray, 16 bit colour. */
static const uint64_t prep_golden[US_COUNT(sizes)][4] = {
    {0x4ccc2812706289b0u, 0x841a8aeaee3f532bu, 0xc0df9c0bf59190a1u, 0xc974ddd8632d73c0u},
    {0x7063fc3ecf7399deu, 0xb03a0bfd6d39e8b3u, 0x3e50c741b0e75b4au, 0xccc1dbe8c8c6499au},
    {0xcf9aaf3b2853cf8du, 0x625a812d327daaceu, 0xf347cdebdfbe7766u, 0x92a47dfd94995a4du},
    {0x9772153f1301051eu, 0xfcc1f65c9983dcd2u, 0xdc5cdf13fdedff67u, 0xc0feadce1006c58eu},
    {0x5fc09b277f82418au, 0x5876e223c4c8eebfu, 0xf40e66135610c8a4u, 0x45fbd497bf128409u},
    {0x5d34277a2b0f7ba7u, 0x6fe33f13662230f7u, 0xef91f979e849476bu, 0x9de5ee486cf5af43u},
    {0x97ad2b88c58bcfedu, 0x8826cf7de73230d9u, 0xd2b0238c45d4b04du, 0xf19fe0bdf9affd88u},
    {0x473ed2fd9ad75179u, 0x21e35429ef379bfbu, 0x1c04cf8fb588a057u, 0xd04764eb0abf51aau},
    {0xab143fdf68fa8929u, 0x6c1852dfe459148du, 0xeb000b85a349fc55u, 0x0a8455002d4eac1fu},
    {0x23c3436dadde808bu, 0xf262701d00e77a34u, 0x60cae7283acc4f44u, 0xebb0b60bac165dd9u},
    {0x24d24b0c86f955a5u, 0xcd2346a912d1db46u, 0xb6edfea9e5d88523u, 0x39b957831c3d0e5eu},
    {0x21ba158fdcaedb3au, 0xdd47c7d365a414b0u, 0x60cdf00cdcbfeac4u, 0xf5d9a69100f9884fu},
    {0x798c946f962fb159u, 0x5b3975f365bd3467u, 0x92de72f270705a5fu, 0x177e1c903fc4cc6fu},
    {0x3839dbb6ff84cdecu, 0x08319c88b01e85cdu, 0xb667c93fa7d40887u, 0xd36c5a873bd81ccfu}};

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
                            if (big && (tiles[t] == 1 || tiles[t] == 3 || (curve && tiles[t])))
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
    for (i = 0; i < n_sizes; i++) {
        uint64_t got[4];
        for (k = 0; k < 4; k++) {
            struct us_image image = picture(memory, &sizes[i], k % 2 ? 3 : 1, k / 2 ? 16 : 8);
            got[k] = prep_sum(ctx, &image, mask, x);
        }
        wrong += compare("prep", &sizes[i], got, prep_golden[i]);
    }
    for (i = 0; i < n_fields; i++) {
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
