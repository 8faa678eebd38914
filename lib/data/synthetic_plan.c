/*
 * synthetic_plan.c - what a seed decides about a synthetic fundus. Nearly everything varies more widely than in real
 * photographs, so that a network trained on such pictures meets real ones within what it has seen.
 */
#include "data/synthetic.h"

static double between(struct us_rng *rng, double low, double high) {
    return us_between(rng, low, high);
}

/* Between, but with equal chances for equal ratios. */
static double between_ratio(struct us_rng *rng, double low, double high) {
    double u = us_rng_uniform(rng);
    return low * us_exp(u * us_log(high / low));
}

/* Mostly little, sometimes much. */
static double seldom(struct us_rng *rng, double low, double high) {
    double u = us_rng_uniform(rng);
    return low + (high - low) * u * u;
}

static int chance(struct us_rng *rng, int percent) {
    return us_rng_below(rng, 100) < (uint64_t)percent;
}

/* ---- Geometry ---- */

static void plan_field(struct us_look *k, struct us_rng *rng, double w, double h) {
    struct us_field *field = &k->field;
    struct us_eye *eye = &k->eye;
    double angle, size = 0.472 * US_MIN(US_MAX(w, h), 1.13 * US_MIN(w, h));
    eye->center_x = 0.5 * (w - 1.0) + between(rng, -0.012, 0.012) * w;
    eye->center_y = 0.5 * (h - 1.0) + between(rng, -0.012, 0.012) * h;
    field->radius = size * between(rng, 0.965, 1.015);
    field->top = field->bottom = 2.0 * field->radius;
    if (chance(rng, 45)) {
        field->top = field->radius * between(rng, 0.80, 0.97);
        field->bottom = field->radius * between(rng, 0.80, 0.97);
    }
    angle = between(rng, 0.55, 1.05);
    field->notch.x = us_cos(angle);
    field->notch.y = chance(rng, 80) ? -us_sin(angle) : us_sin(angle);
    field->notch_size = field->radius * between(rng, 0.03, 0.055);
    if (!chance(rng, 40))
        field->notch_size = 0;
    field->soft = seldom(rng, 1.2, 5.0);
    field->frame = chance(rng, 50) ? field->radius * between(rng, 0.80, 1.0) : 2.0 * field->radius;
    if (field->frame < field->top)
        field->frame = US_MIN(field->top + field->radius * 0.02, 0.5 * h - 2.0);
}

static void plan_eye(struct us_look *k, struct us_rng *rng) {
    struct us_eye *eye = &k->eye;
    double tilt, middle, along, side = us_rng_below(rng, 2) ? 1.0 : -1.0, zoom = between_ratio(rng, 0.80, 1.85);
    int where = (int)us_rng_below(rng, 10);
    eye->radius = k->field.radius * zoom;
    eye->reach = 1.0 / zoom;
    eye->disc_radius = between(rng, 0.110, 0.150);
    eye->distance = between(rng, 0.70, 0.86);
    tilt = between(rng, -0.02, 0.18); /* the fovea lies a little lower than the disc */
    eye->axis.x = -side * us_cos(tilt);
    eye->axis.y = us_sin(tilt);
    /* most pictures show the macula in the middle, some the disc, a few neither */
    middle = where < 6 ? between(rng, 0.80, 1.05) : between(rng, 0.05, 0.6);
    along = middle * eye->distance;
    if (along > 1.02 * eye->reach)
        along = eye->reach * between(rng, 0.85, 1.02);
    eye->disc.x = -along * eye->axis.x + between(rng, -0.04, 0.04);
    eye->disc.y = -along * eye->axis.y + between(rng, -0.12, 0.10);
    if (where == 9) {
        double angle = between(rng, 0, 6.28);
        eye->disc.x += 0.55 * us_cos(angle);
        eye->disc.y += 0.55 * us_sin(angle);
    }
    eye->fovea.x = eye->disc.x + eye->distance * eye->axis.x;
    eye->fovea.y = eye->disc.y + eye->distance * eye->axis.y;
}

/* ---- Looks ---- */

static void plan_colors(struct us_look *k, struct us_rng *rng) {
    double red = between(rng, 0.55, 0.95), green = red * between(rng, 0.36, 0.70);
    double blue = green * between(rng, 0.15, 0.70), tint = between(rng, 0.0, 1.0);
    double contrast = between_ratio(rng, 0.35, 1.30), glow = between(rng, 0.9, 1.15), white = between(rng, 1.2, 1.8);
    k->base[0] = (float)red;
    k->base[1] = (float)green;
    k->base[2] = (float)blue;
    k->disc[0] = (float)US_MIN(0.99, (red * 1.12 + 0.04) * glow);
    k->disc[1] = (float)US_MIN(0.95, (green * white + 0.06) * glow);
    k->disc[2] = (float)US_MIN(0.90, blue * 1.5 + 0.06);
    k->pale[0] = (float)US_MIN(1.0, red * 1.15 + 0.10);
    k->pale[1] = (float)between(rng, 0.70, 1.0);
    k->pale[2] = (float)(k->pale[1] * between(rng, 0.25, 0.9));
    k->dark[0] = (float)seldom(rng, 0.005, 0.08);
    k->dark[1] = (float)(k->dark[0] * 0.8 + seldom(rng, 0, 0.14));
    k->dark[2] = (float)(k->dark[1] * (0.4 + 0.5 * tint));
    k->absorb[US_VEIN][0] = (float)(contrast * between(rng, 0.15, 0.40));
    k->absorb[US_VEIN][1] = (float)(contrast * between(rng, 0.65, 0.95));
    k->absorb[US_VEIN][2] = (float)(contrast * between(rng, 0.40, 0.80));
    k->absorb[US_ARTERY][0] = (float)(k->absorb[US_VEIN][0] * between(rng, 0.35, 0.7));
    k->absorb[US_ARTERY][1] = (float)(k->absorb[US_VEIN][1] * between(rng, 0.58, 0.95));
    k->absorb[US_ARTERY][2] = (float)(k->absorb[US_VEIN][2] * between(rng, 0.6, 0.95));
}

static void plan_light(struct us_look *k, struct us_rng *rng) {
    double angle;
    k->exposure = between_ratio(rng, 0.75, 1.30);
    k->light_x = between(rng, -0.35, 0.35);
    k->light_y = between(rng, -0.35, 0.35);
    k->falloff = between(rng, 0.05, 0.50);
    k->rim = seldom(rng, 0.0, 0.45);
    k->shade_x = between(rng, -0.18, 0.18);
    k->shade_y = between(rng, -0.18, 0.18);
    k->patches = seldom(rng, 0.04, 0.30);
    k->choroid = seldom(rng, 0.02, 0.42);
    k->texture = between_ratio(rng, 0.6, 1.8);
    k->fine = seldom(rng, 0.02, 0.14);
    k->mesh = chance(rng, 40) ? between(rng, 0.02, 0.14) : 0;
    k->macula = between(rng, 0.05, 0.36);
    k->fovea = between(rng, 0.0, 0.28);
    k->sheen = seldom(rng, 0.0, 0.16);
    k->fibres = between(rng, 0.0, 1.2);
    angle = between(rng, -0.6, 0.6);
    k->cup_x = 0.16 * k->eye.disc_radius * (k->eye.axis.x * us_cos(angle) - k->eye.axis.y * us_sin(angle));
    k->cup_y = 0.16 * k->eye.disc_radius * (k->eye.axis.x * us_sin(angle) + k->eye.axis.y * us_cos(angle));
    k->cup = between(rng, 0.25, 0.65);
    k->disc_edge = between(rng, 0.05, 0.25);
    k->crescent = chance(rng, 35) ? between(rng, 0.2, 0.8) : 0;
    angle = between(rng, 0, 6.28);
    k->crescent_at.x = us_cos(angle);
    k->crescent_at.y = us_sin(angle);
    k->haze = seldom(rng, 0.0, 0.75);
    k->vary = between(rng, 0.0, 0.45);
    k->noise = seldom(rng, 0.001, 0.012);
    k->grain = seldom(rng, 0.004, 0.050);
    k->grain_size = between_ratio(rng, 0.25, 0.75);
    k->mottle = between(rng, 0.0, 1.0);
}

static void plan_vessels(struct us_look *k, struct us_rng *rng) {
    struct us_vessel_look *v = &k->vessels;
    double size = k->field.radius / 322.0; /* blur grows with the picture, as pictures are scaled */
    v->soft = 0.55 + size * between(rng, 0.35, 1.8);
    if (chance(rng, 20)) /* out of focus */
        v->soft += size * between(rng, 0.5, 2.0);
    v->faint = seldom(rng, 0.05, 0.36);
    v->fade = between(rng, 0.45, 0.95);
    v->reflex[US_VEIN] = seldom(rng, 0.0, 0.35);
    v->reflex[US_ARTERY] = between(rng, 0.10, 0.75);
    v->margin = 0.05 + 0.08 * size;
    v->wiggle = between_ratio(rng, 0.5, 2.6);
    v->thinnest = between(rng, 0.0032, 0.0048);
    v->share = between(rng, 0.085, 0.125);
    v->hidden = (int)us_rng_below(rng, 60);
}

void us_look_plan(struct us_look *k, uint64_t seed, int64_t width, int64_t height) {
    struct us_rng rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 0, 0);
    int i;
    plan_field(k, &rng, (double)width, (double)height);
    plan_eye(k, &rng);
    plan_colors(k, &rng);
    plan_light(k, &rng);
    plan_vessels(k, &rng);
    for (i = 0; i < US_LATTICE * US_LATTICE; i++)
        k->lattice[i] = (float)(2.0 * us_rng_uniform(&rng) - 1.0);
}

double us_field_outside(const struct us_field *field, double px, double py) {
    double out = sqrt(px * px + py * py) - field->radius;
    out = US_MAX(out, -py - field->top);
    out = US_MAX(out, py - field->bottom);
    if (field->notch_size > 0 && out > -field->notch_size) {
        double along = px * field->notch.x + py * field->notch.y, across = px * field->notch.y - py * field->notch.x;
        double notch = US_MAX(fabs(across), along - field->radius) - field->notch_size;
        if (along > 0)
            out = US_MIN(out, notch);
    }
    return out;
}
