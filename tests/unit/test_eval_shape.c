/*
 * test_eval_shape.c - skeletons drawn by hand, what thinning must keep, clDice and the calibration error of small
 * cases.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/eval_internal.h"

enum { SIDE = 140, WORDS = (SIDE + 63) / 64 };

static us_context *ctx;
static us_metrics *metrics;

static int setup(void **state) {
    unetstar_context_options options;
    (void)state;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.n_threads = 1;
    return us_context_create(&ctx, &options) || us_metrics_create(&metrics, ctx);
}

static int teardown(void **state) {
    (void)state;
    us_metrics_destroy(metrics);
    us_context_unref(ctx);
    return 0;
}

static void assert_near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("%.17g, not %.17g", got, want);
}

/* ---- Skeletons ---- */

/* A picture of SIDE x SIDE bytes, and its skeleton. */
static void skeleton_of(uint8_t *picture) {
    static uint64_t bits[WORDS * (SIDE + 1)], old[2 * WORDS];
    int x, y;
    memset(bits, 0, sizeof bits);
    for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++)
            if (picture[y * SIDE + x])
                bits[y * WORDS + x / 64] |= (uint64_t)1 << (x % 64);
    memset(bits + SIDE * WORDS, 0xff, WORDS * sizeof *bits); /* the row more is overwritten */
    us_eval_thin(bits, WORDS, SIDE, old);
    for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++)
            picture[y * SIDE + x] = (uint8_t)(bits[y * WORDS + x / 64] >> (x % 64) & 1);
}

/* Drawings of '#' and '.', rows joined by '/', put at (x0, y0). */
static void draw(uint8_t *picture, const char *rows, int x0, int y0) {
    int x = x0, y = y0;
    memset(picture, 0, SIDE * SIDE);
    for (; *rows; rows++)
        if (*rows == '/') {
            x = x0;
            y++;
        } else
            picture[y * SIDE + x++] = *rows == '#';
}

static const struct drawing {
    const char *name, *shape, *skeleton;
} drawings[] = {
    {"nothing", "...", "..."},
    {"one pixel", "#", "#"},
    {"a line", "#######", "#######"},
    {"a diagonal", "#../.#./..#", "#../.#./..#"},
    {"a square of 2", "##/##", "../#."},
    {"two rows", "####/####", "..../###."},
    {"a bar", "#########/#########/#########", "........./.#######./........."},
    {"a ring", "###/#.#/###", ".#./#.#/.#."},
    {"a thick ring", "#######/#######/#######/###.###/#######/#######/#######",
     "......./......./...#.../..#.#../...#.../......./......."},
    {"a cross", "...###.../...###.../...###.../#########/#########/#########/...###.../...###.../...###...",
     "........./....#..../....#..../....#..../.#######./....#..../....#..../....#..../........."},
    {"a thin cross", "#...#/.#.#./..#../.#.#./#...#", "#...#/.#.#./..#../.#.#./#...#"},
};

static void by_hand(void **state) {
    static uint8_t picture[SIDE * SIDE], want[SIDE * SIDE];
    static const int at[][2] = {{0, 0}, {5, 3}, {58, 7}, {63, 70}, {123, 90}, {131, 131}};
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof drawings / sizeof *drawings; i++)
        for (k = 0; k < sizeof at / sizeof *at; k++) { /* corners and borders of words included */
            draw(picture, drawings[i].shape, at[k][0], at[k][1]);
            draw(want, drawings[i].skeleton, at[k][0], at[k][1]);
            skeleton_of(picture);
            if (memcmp(picture, want, sizeof picture))
                fail_msg("%s at (%d, %d)", drawings[i].name, at[k][0], at[k][1]);
        }
}

/* Components of pixels of one value: of vessel with 8 neighbours, of background, the outside included, with 4. */
static int components(const uint8_t *picture, int value) {
    enum { WIDE = SIDE + 2 };
    static uint8_t left[WIDE * WIDE];
    static int stack[WIDE * WIDE];
    static const int step[8] = {1, -1, WIDE, -WIDE, WIDE + 1, WIDE - 1, -WIDE + 1, -WIDE - 1};
    int x, y, i, n = 0, top, k;
    for (y = 0; y < WIDE; y++)
        for (x = 0; x < WIDE; x++) {
            const int within = x > 0 && y > 0 && x <= SIDE && y <= SIDE;
            left[y * WIDE + x] = (within ? picture[(y - 1) * SIDE + x - 1] : 0) == value;
        }
    for (i = 0; i < WIDE * WIDE; i++) {
        if (!left[i])
            continue;
        n++;
        left[i] = 0;
        stack[0] = i;
        for (top = 1; top > 0;) {
            const int from = stack[--top];
            for (k = 0; k < (value ? 8 : 4); k++) {
                const int to = from + step[k];
                if (to < 0 || to >= WIDE * WIDE || !left[to])
                    continue;
                left[to] = 0;
                stack[top++] = to;
            }
        }
    }
    return n;
}

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void keeps_what_is_connected(void **state) {
    static uint8_t picture[SIDE * SIDE], skeleton[SIDE * SIDE], again[SIDE * SIDE];
    uint32_t seed = 7;
    int i, k, round;
    (void)state;
    for (round = 0; round < 60; round++) {
        const int disks = 1 + round * 3;
        memset(picture, 0, sizeof picture);
        for (k = 0; k < disks; k++) {
            const int cx = (int)(next_random(&seed) % SIDE), cy = (int)(next_random(&seed) % SIDE);
            const int r = (int)(next_random(&seed) % (round % 3 ? 4 : 12)), value = (int)(next_random(&seed) % 4 > 0);
            for (i = 0; i < SIDE * SIDE; i++)
                if ((i % SIDE - cx) * (i % SIDE - cx) + (i / SIDE - cy) * (i / SIDE - cy) <= r * r)
                    picture[i] = (uint8_t)value;
        }
        memcpy(skeleton, picture, sizeof picture);
        skeleton_of(skeleton);
        for (i = 0; i < SIDE * SIDE; i++)
            assert_true(picture[i] || !skeleton[i]);
        assert_int_equal(components(skeleton, 1), components(picture, 1));
        assert_int_equal(components(skeleton, 0), components(picture, 0));
        memcpy(again, skeleton, sizeof again);
        skeleton_of(again);
        assert_memory_equal(again, skeleton, sizeof again);
    }
}

/* ---- clDice ---- */

static unetstar_scores scores_of(int64_t i, double threshold) {
    unetstar_scores s;
    memset(&s, 0xcd, sizeof s);
    assert_int_equal(us_metrics_scores(metrics, i, threshold, &s), 0);
    return s;
}

static void add_drawings(int64_t width, int64_t height, const char *prediction, const char *label, const char *mask) {
    float p[256];
    uint8_t y[256], m[256];
    int64_t i;
    assert_int_equal(strlen(prediction), width * height);
    for (i = 0; i < width * height; i++) {
        p[i] = prediction[i] == '#' ? 0.9f : prediction[i] == '+' ? 0.4f : 0.1f;
        y[i] = label[i] == '#';
        m[i] = mask && mask[i] == '#';
    }
    assert_int_equal(us_metrics_add_image(metrics, "x", width, height, p, y, mask ? m : NULL), 0);
}

static void centerlines_by_hand(void **state) {
    (void)state;
    /* The label's skeleton is the middle row without its ends, 7 pixels; a line is its own skeleton. */
    add_drawings(9, 3,
                 "++#####.."
                 "........."
                 ".........",
                 "#########"
                 "#########"
                 "#########",
                 NULL);
    assert_near(scores_of(0, 0.5).cl_dice, 0); /* the line is in the label, but the label's skeleton not in the line */
    add_drawings(9, 3,
                 "........."
                 "++#####.."
                 ".........",
                 "#########"
                 "#########"
                 "#########",
                 NULL);
    assert_near(scores_of(1, 0.5).cl_dice, 2 * 1.0 * (5.0 / 7) / (1 + 5.0 / 7));
    assert_near(scores_of(1, 0.3).cl_dice, 2 * 1.0 * (6.0 / 7) / (1 + 6.0 / 7)); /* the line begins a pixel before it */
    assert_near(scores_of(1, 0.5).cl_dice,
                2 * 1.0 * (5.0 / 7) / (1 + 5.0 / 7)); /* nothing is left of the other threshold */
    assert_near(scores_of(-1, 0.5).cl_dice, 2 * 1.0 * (5.0 / 14) / (1 + 5.0 / 14)); /* counts of both */
    /* 4 columns more, outside the mask, change nothing: the bar ends at the mask, not at the picture. */
    us_metrics_clear(metrics);
    add_drawings(13, 3,
                 "............."
                 "++#####......"
                 ".............",
                 "#############"
                 "#############"
                 "#############",
                 "#########...."
                 "#########...."
                 "#########....");
    assert_near(scores_of(0, 0.5).cl_dice, 2 * 1.0 * (5.0 / 7) / (1 + 5.0 / 7));
    /* One line of two, and one that is not there: 5 of 10 and 5 of 10 */
    us_metrics_clear(metrics);
    add_drawings(5, 5, "#####.....#####..........", "#####...............#####", NULL);
    assert_near(scores_of(0, 0.5).cl_dice, 0.5);
}

static void smallest_images(void **state) {
    const float p = 0.75f;
    const uint8_t one = 1;
    (void)state;
    add_drawings(1, 1, "#", "#", NULL);
    assert_near(scores_of(0, 0.5).cl_dice, 1);
    add_drawings(1, 1, "#", ".", NULL);
    assert_near(scores_of(1, 0.5).cl_dice, 0);
    add_drawings(3, 2, "......", "......", NULL); /* nothing in either */
    assert_near(scores_of(2, 0.5).cl_dice, 0);
    add_drawings(3, 2, "######", "######", "......"); /* nothing inside */
    assert_near(scores_of(3, 0.5).cl_dice, 0);
    assert_near(scores_of(-1, 0.5).cl_dice, 2.0 / 3);
    assert_int_equal(us_metrics_add(metrics, "a list", 1, &p, &one, NULL), 0);
    assert_true(isnan(scores_of(4, 0.5).cl_dice));
    assert_true(isnan(scores_of(-1, 0.5).cl_dice)); /* with an image without a shape */
    assert_near(scores_of(0, 0.5).cl_dice, 1);
    assert_int_equal(us_metrics_add_image(metrics, "x", 0, 1, &p, &one, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_add_image(metrics, "x", 1, -1, &p, &one, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_add_image(metrics, "x", 65536, 65536, &p, &one, NULL), UNETSTAR_ELIMIT);
    assert_int_equal(us_metrics_add_image(metrics, "x", INT64_MAX, INT64_MAX, &p, &one, NULL), UNETSTAR_ELIMIT);
    assert_int_equal(metrics->count, 5);
}

/* ---- Calibration ---- */

static double error_of(int64_t n, const float *p, const uint8_t *label) {
    us_metrics_clear(metrics);
    assert_int_equal(us_metrics_add(metrics, "x", n, p, label, NULL), 0);
    return scores_of(-1, 0.5).calibration_error;
}

static void calibration_by_hand(void **state) {
    /* bins of 1/15 = 0.0667: {0, .0625} | {.25, .25, .25, .25} | {.5, .4375 (bin 6)} ... | {1, .9375} */
    static const float p[] = {0, 0.0625f, 0.25f, 0.25f, 0.25f, 0.25f, 0.5f, 0.4375f, 1, 0.9375f};
    static const uint8_t label[] = {0, 1, 1, 0, 0, 0, 1, 0, 1, 1};
    static const float out[] = {1.5f, -0.25f}, edges[] = {-0.0f, 1};
    static const uint8_t both[] = {1, 0}, right[] = {0, 1};
    static const float same[] = {0.5f, 0.5f};
    float infinite = 0.5f;
    (void)state;
    /* |.0625 - 1| + |1 - 1| + |.5 - 1| + |.4375 - 0| + |1.9375 - 2| over 10 pixels; .5 is in bin 7, .4375 in bin 6 */
    assert_near(error_of(10, p, label), (0.9375 + 0 + 0.5 + 0.4375 + 0.0625) / 10);
    assert_near(error_of(2, same, both), 0);
    assert_near(error_of(2, edges, right), 0);
    assert_near(error_of(2, edges, both), 1);
    assert_true(isnan(error_of(2, out, both)));
    assert_true(isnan(error_of(1, out + 1, right)));
    infinite = INFINITY;
    assert_true(isnan(error_of(1, &infinite, right)));
    {
        /* pooled: one over the pixels of both images, not a mean of theirs */
        const float a = 0.25f, b = 0.25f;
        const uint8_t zero = 0, one = 1, outside = 0;
        us_metrics_clear(metrics);
        assert_int_equal(us_metrics_add(metrics, "a", 1, &a, &zero, NULL), 0);
        assert_int_equal(us_metrics_add(metrics, "b", 1, &b, &one, NULL), 0);
        assert_near(scores_of(0, 0.5).calibration_error, 0.25);
        assert_near(scores_of(1, 0.5).calibration_error, 0.75);
        assert_near(scores_of(-1, 0.5).calibration_error, 0.25); /* |.5 - 1| / 2 */
        assert_int_equal(us_metrics_add(metrics, "c", 1, &a, &zero, &outside), 0);
        assert_near(scores_of(2, 0.5).calibration_error, 0);
        assert_near(scores_of(-1, 0.5).calibration_error, 0.25);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_what_is_connected, setup, teardown),
        cmocka_unit_test_setup_teardown(centerlines_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(smallest_images, setup, teardown),
        cmocka_unit_test_setup_teardown(calibration_by_hand, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
