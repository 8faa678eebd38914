/*
 * synthetic.c - a synthetic fundus photograph: each pixel's light on the way through lesions, vessels, lens and sensor.
 * Only + - * / sqrt fabs floor and the us_ functions: the picture is the same on every machine.
 */
#include "data/synthetic.h"

#include <string.h>

/* exp(-v) for v from 0 to about 3, as 1 / (1 + v/8 + ...)^8: smooth and quick. */
static double pass(double v) {
    double q = 1.0 + v * (0.125 + v * 0.0078125);
    q *= q;
    q *= q;
    return 1.0 / (q * q);
}

static double overexposed(double v) {
    return v < 0.85 ? v : 0.85 + (v - 0.85) / (1.0 + (v - 0.85) * 4.0); /* a soft shoulder below 1.1 */
}

/* Two bytes of noise each from the bits of one number: about normal, deviation 1. */
static double spread(uint64_t bits) {
    int sum = (int)(bits & 255) + (int)(bits >> 8 & 255) + (int)(bits >> 16 & 255) + (int)(bits >> 24 & 255);
    return (sum - 510) * (1.0 / 147.8);
}

static uint8_t to_byte(double v) {
    v = v * 255.0 + 0.5;
    return v < 0 ? 0 : v >= 255.0 ? 255 : (uint8_t)v;
}

/* What comes out of the eye at a pixel: retina, lesions, vessels. */
static void eye_light(const struct us_look *k, const struct us_canvas *canvas, int64_t at, double x, double y,
                      double color[3]) {
    double pale = (double)canvas->pale[at], vein = (double)canvas->density[US_VEIN][at];
    double artery = (double)canvas->density[US_ARTERY][at];
    double haze = k->haze * US_MAX(0.2 + 0.8 * us_noise_at(k, 2.1 * x + 40.0, 2.1 * y), 0);
    int c;
    us_retina(k, x, y, color);
    if (vein + artery > 0) {
        double uneven =
            1.0 + k->vary * (us_noise_at(k, 9.0 * x + 3.0, 9.0 * y) + 0.7 * us_noise_at(k, 41.0 * y, 39.0 * x));
        vein *= uneven;
        artery *= uneven;
    }
    for (c = 0; c < 3; c++) {
        double v = color[c] + pale * ((double)k->pale[c] - color[c]);
        if (vein + artery > 0)
            v *= pass((double)k->absorb[US_VEIN][c] * vein + (double)k->absorb[US_ARTERY][c] * artery);
        v += haze * (0.8 * (double)k->base[c] - v);
        color[c] = overexposed(v * k->exposure);
    }
}

/* One pixel: the eye, the field's soft edge, grain (in lumps of a few pixels) and noise. */
static void expose(const struct us_look *k, const struct us_canvas *canvas, const struct us_rng *rng, int64_t i,
                   int64_t j, uint8_t *rgb) {
    const struct us_eye *eye = &k->eye;
    int64_t at = i * canvas->width + j;
    double px = (double)j - eye->center_x, py = (double)i - eye->center_y;
    double inside =
               1.0 - us_smooth_step(-0.57 * k->field.soft, 0.43 * k->field.soft, us_field_outside(&k->field, px, py)),
           color[3], bright;
    uint64_t bits = us_rng_at(rng, (uint64_t)at * 2), more = us_rng_at(rng, (uint64_t)at * 2 + 1);
    double gx = k->grain_size * (double)j, gy = k->grain_size * (double)i;
    double lump = us_noise_at(k, gx, 1.1 * gy) + 0.8 * us_noise_at(k, 0.37 * gx + 0.15 * gy, 0.33 * gy - 0.16 * gx);
    double grain = k->grain * (1.0 + k->mottle * us_noise_at(k, 3.1 * px / eye->radius, 3.1 * py / eye->radius));
    int c;
    color[0] = color[1] = color[2] = 0;
    if (inside > 0)
        eye_light(k, canvas, at, px / eye->radius, py / eye->radius, color);
    for (c = 0; c < 3; c++) {
        double v = color[c], own = spread(c == 0 ? bits : c == 1 ? bits >> 32 : more);
        v = inside * v + (fabs(py) > k->field.frame ? 0.2 : 1.0) * (double)k->dark[c];
        bright = 0.35 + 0.65 * inside;
        v += bright * (k->noise * own + grain * lump * (c == 0 ? 0.7 : 1.0));
        rgb[c] = to_byte(v);
    }
}

/* ---- Putting it together ---- */

static void field_mask(const struct us_look *k, struct us_canvas *canvas, uint8_t *mask) {
    int64_t i, j;
    canvas->field_pixels = 0;
    for (i = 0; i < canvas->height; i++)
        for (j = 0; j < canvas->width; j++) {
            int inside = us_field_outside(&k->field, (double)j - k->eye.center_x, (double)i - k->eye.center_y) <= 0;
            mask[i * canvas->width + j] = inside ? 255 : 0;
            canvas->field_pixels += inside;
        }
    canvas->mask = mask;
}

static int make(us_context *ctx, uint64_t seed, const struct us_look *k, struct us_canvas *canvas, uint8_t *rgb) {
    struct us_rng rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 2, 0);
    int error = us_vessels_grow(ctx, seed, k, canvas);
    int64_t i, j;
    if (error)
        return error;
    us_lesions_draw(k, seed, canvas);
    for (i = 0; i < canvas->height; i++)
        for (j = 0; j < canvas->width; j++)
            expose(k, canvas, &rng, i, j, rgb + 3 * (i * canvas->width + j));
    return 0;
}

int us_synthetic_fundus(us_context *ctx, uint64_t seed, int64_t width, int64_t height, uint8_t *rgb, uint8_t *label,
                        uint8_t *mask) {
    struct us_arena arena;
    struct us_canvas canvas;
    struct us_look *k;
    size_t count;
    int error, pass_number;
    if (width < US_SYNTHETIC_MIN || width > US_SYNTHETIC_MAX || height < US_SYNTHETIC_MIN || height > US_SYNTHETIC_MAX)
        return us_fail(UNETSTAR_EINVAL, "a synthetic fundus of %lld x %lld is outside %d .. %d", (long long)width,
                       (long long)height, US_SYNTHETIC_MIN, US_SYNTHETIC_MAX);
    count = (size_t)width * (size_t)height;
    memset(&arena, 0, sizeof arena);
    memset(&canvas, 0, sizeof canvas);
    for (pass_number = 0;; pass_number++) { /* measure, then take */
        arena.used = 0;
        k = (struct us_look *)us_arena_take(&arena, sizeof *k);
        canvas.density[0] = (float *)us_arena_take(&arena, count * sizeof(float));
        canvas.density[1] = (float *)us_arena_take(&arena, count * sizeof(float));
        canvas.pale = (float *)us_arena_take(&arena, count * sizeof(float));
        canvas.label = label ? label : (uint8_t *)us_arena_take(&arena, count);
        mask = mask ? mask : (uint8_t *)us_arena_take(&arena, count);
        if (pass_number)
            break;
        arena.size = arena.used;
        arena.base = (char *)us_alloc_zero(ctx, arena.size);
        if (!arena.base)
            return UNETSTAR_ENOMEM;
    }
    canvas.width = width;
    canvas.height = height;
    memset(canvas.label, 0, count);
    us_look_plan(k, seed, width, height);
    field_mask(k, &canvas, mask);
    error = make(ctx, seed, k, &canvas, rgb);
    us_free(ctx, arena.base);
    return error;
}
