/*
 * synthetic.c - a synthetic fundus photograph: the plan of an eye, its colours, and each pixel's light on the way
 * through vessels, lens and sensor. Only + - * / sqrt floor and the us_ functions: the picture is the same on every
 * machine.
 */
#include "data/synthetic.h"

#include <math.h>
#include <string.h>

#define LATTICE 64

/* What a seed decides. Colours are 0 .. 1, red green blue. */
struct look {
    struct us_eye eye;
    float base[3], disc[3], dark[3];
    float absorb[2][3];      /* of veins and arteries, a channel */
    double light_x, light_y; /* middle of the lamp's light */
    double falloff, rim;     /* towards the edge */
    double choroid;          /* strength of its pattern */
    double macula, fovea;    /* how dark they are */
    double sheen;            /* of the nerve fibres around the disc */
    double noise, grain;
    double cup_x, cup_y, cup;
    double share;
    float lattice[LATTICE * LATTICE]; /* values of smooth noise, -1 .. 1 */
};

/* ---- Smooth noise ---- */

static double noise_at(const struct look *k, double x, double y) {
    double fx = floor(x), fy = floor(y), u = x - fx, v = y - fy;
    int64_t i = (int64_t)fy & (LATTICE - 1), j = (int64_t)fx & (LATTICE - 1);
    const float *a = k->lattice + i * LATTICE, *b = k->lattice + ((i + 1) & (LATTICE - 1)) * LATTICE;
    int64_t right = (j + 1) & (LATTICE - 1);
    u = u * u * (3.0 - 2.0 * u);
    v = v * v * (3.0 - 2.0 * v);
    return (a[j] * (1.0 - u) + a[right] * u) * (1.0 - v) + (b[j] * (1.0 - u) + b[right] * u) * v;
}

/* Several octaves, turned against each other so that the lattice does not show. */
static double cloud(const struct look *k, double x, double y, int octaves) {
    double sum = 0, size = 0.5, t;
    for (; octaves > 0; octaves--) {
        sum += size * noise_at(k, x, y);
        t = x;
        x = 1.62 * x - 1.18 * y + 17.3;
        y = 1.18 * t + 1.62 * y + 5.1;
        size *= 0.5;
    }
    return sum;
}

/* The choroid shines through: a net of broad bright ridges, drawn out along warped lines. */
static double choroid(const struct look *k, double x, double y) {
    double wx = x + 0.25 * noise_at(k, 2.3 * x + 9.0, 2.3 * y), wy = y + 0.25 * noise_at(k, 2.3 * x, 2.3 * y + 31.0);
    double a = noise_at(k, 5.0 * wx + 3.0 * wy, 11.0 * wy - 4.0 * wx + 7.0), b = noise_at(k, 9.0 * wx + 21.0, 7.5 * wy);
    return 0.6 * (0.45 - fabs(a)) + 0.5 * (0.4 - fabs(b));
}

/* ---- The plan ---- */

/* At most one call in an expression: C leaves the order of two open. */
static double between(struct us_rng *rng, double low, double high) {
    return low + (high - low) * us_rng_uniform(rng);
}

static void plan_eye(struct us_eye *eye, struct us_rng *rng, int64_t width, int64_t height) {
    double w = (double)width, h = (double)height, tilt, middle, side = us_rng_below(rng, 2) ? 1.0 : -1.0;
    eye->center_x = 0.5 * (w - 1.0) + between(rng, -0.008, 0.008) * w;
    eye->center_y = 0.5 * (h - 1.0) + between(rng, -0.008, 0.008) * h;
    eye->radius = 0.472 * US_MIN(US_MAX(w, h), 1.13 * US_MIN(w, h)) * between(rng, 0.985, 1.01);
    eye->disc_radius = between(rng, 0.115, 0.145);
    eye->distance = between(rng, 0.70, 0.86);
    tilt = between(rng, 0.03, 0.16); /* the fovea lies a little lower than the disc */
    eye->axis.x = -side * us_cos(tilt);
    eye->axis.y = us_sin(tilt);
    /* most pictures show the macula in the middle, one in five the disc */
    middle = us_rng_below(rng, 5) ? between(rng, 0.80, 1.05) : between(rng, 0.25, 0.5);
    eye->disc.x = -middle * eye->distance * eye->axis.x + between(rng, -0.03, 0.03);
    eye->disc.y = -middle * eye->distance * eye->axis.y + between(rng, -0.08, 0.05);
    eye->fovea.x = eye->disc.x + eye->distance * eye->axis.x;
    eye->fovea.y = eye->disc.y + eye->distance * eye->axis.y;
}

static void plan_colors(struct look *k, struct us_rng *rng) {
    double red = between(rng, 0.66, 0.92), green = red * between(rng, 0.42, 0.58),
           blue = red * between(rng, 0.10, 0.34);
    double tint = between(rng, 0.0, 1.0);
    k->base[0] = (float)red;
    k->base[1] = (float)green;
    k->base[2] = (float)blue;
    k->disc[0] = (float)US_MIN(0.99, red * 1.12 + 0.04);
    k->disc[1] = (float)US_MIN(0.93, green * 1.62 + 0.06);
    k->disc[2] = (float)(blue * 1.5 + 0.06);
    k->dark[0] = (float)between(rng, 0.012, 0.05);
    k->dark[1] = (float)(k->dark[0] * (0.9 + 0.6 * tint));
    k->dark[2] = (float)(k->dark[0] * (1.1 - 0.2 * tint));
    k->absorb[US_VEIN][0] = (float)between(rng, 0.20, 0.32);
    k->absorb[US_VEIN][1] = (float)between(rng, 0.72, 0.95);
    k->absorb[US_VEIN][2] = (float)between(rng, 0.55, 0.80);
    k->absorb[US_ARTERY][0] = (float)between(rng, 0.08, 0.15);
    k->absorb[US_ARTERY][1] = (float)between(rng, 0.58, 0.74);
    k->absorb[US_ARTERY][2] = (float)between(rng, 0.45, 0.62);
}

static void plan(struct look *k, uint64_t seed, int64_t width, int64_t height) {
    struct us_rng rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 0, 0);
    double angle;
    int i;
    plan_eye(&k->eye, &rng, width, height);
    plan_colors(k, &rng);
    k->light_x = between(&rng, -0.25, 0.25);
    k->light_y = between(&rng, -0.25, 0.25);
    k->falloff = between(&rng, 0.12, 0.34);
    k->rim = between(&rng, 0.10, 0.30);
    k->choroid = between(&rng, 0.06, 0.22);
    k->macula = between(&rng, 0.14, 0.30);
    k->fovea = between(&rng, 0.08, 0.22);
    k->sheen = between(&rng, 0.02, 0.09);
    k->noise = between(&rng, 0.004, 0.011);
    k->grain = between(&rng, 0.006, 0.014);
    angle = between(&rng, -0.6, 0.6);
    k->cup_x = 0.16 * k->eye.disc_radius * (k->eye.axis.x * us_cos(angle) - k->eye.axis.y * us_sin(angle));
    k->cup_y = 0.16 * k->eye.disc_radius * (k->eye.axis.x * us_sin(angle) + k->eye.axis.y * us_cos(angle));
    k->cup = between(&rng, 0.30, 0.58);
    k->share = between(&rng, 0.088, 0.108);
    for (i = 0; i < LATTICE * LATTICE; i++)
        k->lattice[i] = (float)(2.0 * us_rng_uniform(&rng) - 1.0);
}

/* ---- Light ---- */

static double smooth_step(double low, double high, double v) {
    v = (v - low) / (high - low);
    v = v < 0 ? 0 : v > 1 ? 1 : v;
    return v * v * (3.0 - 2.0 * v);
}

/* A bell without exp: 1 at 0, 0 from 1 on. q: squared distance in its radius. */
static double bell(double q) {
    return q >= 1.0 ? 0 : (1.0 - q) * (1.0 - q) * (1.0 - q);
}

/* The retina without vessels at (x, y). */
static void retina(const struct look *k, double x, double y, double color[3]) {
    const struct us_eye *eye = &k->eye;
    double lx = x - k->light_x, ly = y - k->light_y, r = x * x + y * y;
    double dx = x - eye->disc.x, dy = y - eye->disc.y, fx = x - eye->fovea.x, fy = y - eye->fovea.y;
    double disc = (dx * dx / 0.86 + dy * dy) / (eye->disc_radius * eye->disc_radius);
    double fovea = (fx * fx + fy * fy) / (eye->distance * eye->distance);
    double macula = bell(fovea / 0.42), pit = bell(fovea / 0.022);
    double patch = cloud(k, 1.7 * x, 1.7 * y, 3), net = choroid(k, x, y), fine = cloud(k, 26.0 * x, 26.0 * y, 3);
    double light = 1.06 - k->falloff * (lx * lx + ly * ly) - k->rim * smooth_step(0.72, 1.0, r) + 0.10 * patch;
    double pattern = k->choroid * net * (1.0 - 0.75 * macula) + 0.055 * fine;
    double sheen = k->sheen * bell(disc / 30.0) * (1.0 + noise_at(k, 14.0 * x, 5.0 * y));
    double edge, halo, cup, cx = dx - k->cup_x, cy = dy - k->cup_y, pale;
    color[0] =
        k->base[0] * (light + 0.55 * pattern + 0.7 * sheen) * (1.0 - 0.45 * k->macula * macula - 0.25 * k->fovea * pit);
    color[1] =
        k->base[1] * (light + pattern + 1.2 * sheen + 0.16 * patch) * (1.0 - k->macula * macula - k->fovea * pit);
    color[2] = k->base[2] * (light + 0.6 * pattern + sheen) * (1.0 - 0.9 * k->macula * macula - 0.5 * k->fovea * pit);
    halo = bell(disc / 2.6) * 0.10;
    edge = 1.0 - smooth_step(0.80, 1.10, sqrt(disc) + 0.05 * noise_at(k, 30.0 * dx, 30.0 * dy));
    cup = bell((cx * cx + cy * cy) / (eye->disc_radius * eye->disc_radius * k->cup * k->cup * 2.2));
    pale = 0.93 + 0.22 * cup + 0.10 * patch;
    color[0] += halo * 0.3;
    color[1] += halo * 0.35;
    color[0] += edge * (k->disc[0] * US_MIN(pale + 0.14, 1.10) * (0.6 + 0.4 * light) - color[0]);
    color[1] += edge * (k->disc[1] * pale * (0.6 + 0.4 * light) - color[1]);
    color[2] += edge * (k->disc[2] * (pale + 0.2 * cup) * (0.6 + 0.4 * light) - color[2]);
}

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

/* One pixel: retina, vessels, the field's soft edge, grain (in lumps of about two pixels) and noise. */
static void expose(const struct look *k, const struct us_canvas *canvas, const struct us_rng *rng, int64_t i, int64_t j,
                   uint8_t *rgb) {
    const struct us_eye *eye = &k->eye;
    int64_t at = i * canvas->width + j;
    double px = (double)j - eye->center_x, py = (double)i - eye->center_y, x = px / eye->radius, y = py / eye->radius;
    double out = sqrt(px * px + py * py) - eye->radius, inside = 1.0 - smooth_step(-1.6, 1.2, out), color[3], bright;
    uint64_t bits = us_rng_at(rng, (uint64_t)at * 2), more = us_rng_at(rng, (uint64_t)at * 2 + 1);
    double lump = noise_at(k, 0.47 * (double)j, 0.53 * (double)i);
    int c;
    color[0] = color[1] = color[2] = 0;
    if (inside > 0)
        retina(k, x, y, color);
    for (c = 0; c < 3; c++) {
        double v = color[c], own = spread(c == 0 ? bits : c == 1 ? bits >> 32 : more);
        if (inside > 0) {
            v *= pass(k->absorb[0][c] * (double)canvas->density[0][at] +
                      k->absorb[1][c] * (double)canvas->density[1][at]);
            v = overexposed(v);
        }
        v = inside * v + k->dark[c] * (1.0 + 0.12 * (1.0 - inside) * y);
        bright = 0.35 + 0.65 * inside;
        v += bright * (k->noise * own + k->grain * lump * (c == 0 ? 0.7 : 1.0));
        rgb[c] = to_byte(v);
    }
}

/* ---- Putting it together ---- */

static void field_mask(const struct us_eye *eye, struct us_canvas *canvas, uint8_t *mask) {
    int64_t i, j;
    canvas->field_pixels = 0;
    for (i = 0; i < canvas->height; i++)
        for (j = 0; j < canvas->width; j++) {
            double x = (double)j - eye->center_x, y = (double)i - eye->center_y;
            int inside = x * x + y * y <= eye->radius * eye->radius;
            mask[i * canvas->width + j] = inside ? 255 : 0;
            canvas->field_pixels += inside;
        }
    canvas->mask = mask;
}

static int make(us_context *ctx, uint64_t seed, const struct look *k, struct us_canvas *canvas, uint8_t *rgb) {
    struct us_rng rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 2, 0);
    int error = us_vessels_grow(ctx, seed, &k->eye, k->share, canvas);
    int64_t i, j;
    for (i = 0; i < canvas->height && !error; i++)
        for (j = 0; j < canvas->width; j++)
            expose(k, canvas, &rng, i, j, rgb + 3 * (i * canvas->width + j));
    return error;
}

int us_synthetic_fundus(us_context *ctx, uint64_t seed, int64_t width, int64_t height, uint8_t *rgb, uint8_t *label,
                        uint8_t *mask) {
    struct us_arena arena;
    struct us_canvas canvas;
    struct look *k;
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
        k = (struct look *)us_arena_take(&arena, sizeof *k);
        canvas.density[0] = (float *)us_arena_take(&arena, count * sizeof(float));
        canvas.density[1] = (float *)us_arena_take(&arena, count * sizeof(float));
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
    plan(k, seed, width, height);
    field_mask(&k->eye, &canvas, mask);
    error = make(ctx, seed, k, &canvas, rgb);
    us_free(ctx, arena.base);
    return error;
}
