/* test_hessian.c - the filter for dark lines on lines whose answer is known, and on what must not look like one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/hessian.h"

enum { SIDE = 96, MIDDLE = SIDE / 2 };
static const double pi = 3.14159265358979;

/* Distance of a pixel from the line through the middle with this direction. */
static double distance(int x, int y, double angle) {
    return (y - MIDDLE) * cos(angle) - (x - MIDDLE) * sin(angle);
}

/* A dark line with a Gaussian profile of standard deviation w and depth 1, smoothed with sigma, has across it the
 * second derivative w / (w^2 + sigma^2)^(3/2) in the middle, and 0 along it. */
static void lines(void **state) {
    static const double sigmas[] = {1, 1.5, 2, 2 * 1.41421356237, 4, 5, 6}, w = 2;
    static float picture[SIDE * SIDE], response[SIDE * SIDE];
    int turn, k, x, y;
    (void)state;
    for (turn = 0; turn < 8; turn++) {
        double angle = turn * pi / 8 + 0.1, best = 0, best_sigma = 0;
        for (y = 0; y < SIDE; y++)
            for (x = 0; x < SIDE; x++) {
                double d = distance(x, y, angle);
                picture[y * SIDE + x] = (float)(5 - exp(-d * d / (2 * w * w)));
            }
        for (k = 0; k < 7; k++) {
            double sigma = sigmas[k], wanted = sigma * sigma * w / pow(w * w + sigma * sigma, 1.5), at;
            hessian_eigenvalue(response, picture, SIDE, SIDE, sigma);
            at = (double)response[MIDDLE * SIDE + MIDDLE];
            /* Differences instead of derivatives cost little at these widths. */
            if (fabs(at - wanted) > 0.06 * wanted)
                fail_msg("turn %d, sigma %g: %.5f instead of %.5f", turn, sigma, at, wanted);
            if (at > best) {
                best = at;
                best_sigma = sigma;
            }
            for (y = MIDDLE - 20; y <= MIDDLE + 20; y++) /* nowhere more than on the line */
                for (x = MIDDLE - 20; x <= MIDDLE + 20; x++)
                    assert_true((double)response[y * SIDE + x] <= at * 1.01 &&
                                (fabs(distance(x, y, angle)) < w || (double)response[y * SIDE + x] < at));
        }
        assert_true(fabs(best_sigma - sqrt(2) * w) < 1e-6);
        /* A bright line has nothing in its middle. */
        for (k = 0; k < SIDE * SIDE; k++)
            picture[k] = -picture[k];
        hessian_eigenvalue(response, picture, SIDE, SIDE, 2);
        assert_true((double)response[MIDDLE * SIDE + MIDDLE] < 0.01);
    }
}

/* Any size; a flat picture has no line. */
static void sizes(void **state) {
    static const int shapes[][2] = {{1, 1}, {1, 40}, {40, 1}, {3, 2}, {33, 17}};
    float picture[33 * 17], response[33 * 17];
    int s, i;
    (void)state;
    for (s = 0; s < 5; s++) {
        int width = shapes[s][0], height = shapes[s][1];
        unetstar_image photo;
        uint8_t flat[33 * 17];
        for (i = 0; i < width * height; i++) {
            picture[i] = 3;
            flat[i] = 90;
        }
        hessian_eigenvalue(response, picture, width, height, 9);
        for (i = 0; i < width * height; i++)
            assert_true(fabs((double)response[i]) < 1e-3);
        unetstar_image_init(&photo, sizeof photo);
        photo.data = flat;
        photo.width = width;
        photo.height = height;
        photo.channels = 1;
        photo.bits = 8;
        hessian_vesselness(response, &photo, NULL);
        for (i = 0; i < width * height; i++)
            assert_true(fabs((double)response[i]) < 1e-3);
    }
}

/* A round photograph on black: a vessel shows, its border and a bright spot do not, with 8 and 16 bits and a stride. */
static void photographs(void **state) {
    enum { WIDE = 300, CENTRE = WIDE / 2, STRIDE = 3 * WIDE + 5 };
    static uint8_t narrow[WIDE * STRIDE], mask[WIDE * WIDE];
    static uint16_t wide[WIDE * WIDE];
    static float response[WIDE * WIDE], again[WIDE * WIDE];
    double vessel = 0, spot = 0, other = 0;
    unetstar_image photo;
    int x, y;
    (void)state;
    memset(mask, 0, sizeof mask);
    for (y = 0; y < WIDE; y++)
        for (x = 0; x < WIDE; x++) {
            double r = hypot(x - CENTRE, y - CENTRE), d = distance(x - CENTRE + MIDDLE, y - CENTRE + MIDDLE, 0.3);
            int inside = r < 140, value = 0;
            if (inside)
                value = 100 + x / 4 - (int)(40 * exp(-d * d / 5)) + (hypot(x - 200, y - 80) < 15 ? 80 : 0);
            mask[y * WIDE + x] = (uint8_t)inside;
            narrow[y * STRIDE + 3 * x + 1] = (uint8_t)value;
            wide[y * WIDE + x] = (uint16_t)(value * 257);
        }
    unetstar_image_init(&photo, sizeof photo);
    photo.data = narrow;
    photo.width = photo.height = WIDE;
    photo.row_stride = STRIDE;
    photo.channels = 3;
    photo.bits = 8;
    hessian_vesselness(response, &photo, mask);
    for (y = 0; y < WIDE; y++)
        for (x = 0; x < WIDE; x++) {
            double d = fabs(distance(x - CENTRE + MIDDLE, y - CENTRE + MIDDLE, 0.3)),
                   at = (double)response[y * WIDE + x];
            assert_true(at >= 0 && (mask[y * WIDE + x] || at <= 0));
            if (d < 0.5 && hypot(x - CENTRE, y - CENTRE) < 125 && (at < vessel || vessel <= 0))
                vessel = at; /* the least on the vessel */
            if (d > 8 && hypot(x - 200, y - 80) < 30 && at > spot)
                spot = at;
            else if (d > 8 && hypot(x - 200, y - 80) >= 30 && at > other)
                other = at;
        }
    if (!(vessel > spot && vessel > 4 * other))
        fail_msg("%.4f on the vessel, %.4f around the spot, %.4f elsewhere", vessel, spot, other);
    photo.data = wide;
    photo.row_stride = 0;
    photo.channels = 1;
    photo.bits = 16;
    hessian_vesselness(again, &photo, mask);
    for (x = 0; x < WIDE * WIDE; x++)
        assert_true(fabs((double)(again[x] - response[x])) < 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(sizes), cmocka_unit_test(photographs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
