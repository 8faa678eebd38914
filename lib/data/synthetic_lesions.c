/*
 * synthetic_lesions.c - what a photograph shows beside vessels, and what no label names: drusen, exudates, cotton wool,
 * laser scars, atrophy; bleedings as dots, blots and flames; pigment; dust and scratches of a film.
 */
#include "data/synthetic.h"

struct painter {
    const struct us_look *look;
    struct us_canvas *canvas;
    struct us_rng rng;
};

/* A spot: an ellipse with a ragged edge. Places and sizes in units. */
struct spot {
    struct us_point at;
    double wide, high, angle;
    double strength;
    double soft;   /* half the width of its edge, in its radius */
    double ragged; /* how much the edge wanders, in its radius */
    double streak; /* 0: even; 1: in streaks along it */
};

static double between(struct painter *p, double low, double high) {
    return us_between(&p->rng, low, high);
}

static int chance(struct painter *p, int percent) {
    return us_rng_below(&p->rng, 100) < (uint64_t)percent;
}

static int count_of(struct painter *p, int low, int high) {
    return low + (int)us_rng_below(&p->rng, (uint64_t)(high - low + 1));
}

static struct us_point anywhere(struct painter *p) {
    double reach = p->look->eye.reach;
    struct us_point at;
    at.x = reach * between(p, -1, 1);
    at.y = reach * between(p, -1, 1);
    return at;
}

static struct us_point near(struct painter *p, struct us_point at, double far) {
    at.x += far * us_rng_normal(&p->rng);
    at.y += far * us_rng_normal(&p->rng);
    return at;
}

/* Where it is stronger than what is there; map: pallor or density. */
static void paint(struct painter *p, const struct spot *s, float *map) {
    const struct us_look *k = p->look;
    struct us_canvas *canvas = p->canvas;
    double scale = k->eye.radius, c = us_cos(s->angle), d = us_sin(s->angle);
    double wide = US_MAX(s->wide * scale, 0.4), high = US_MAX(s->high * scale, 0.4);
    double soft = US_MAX(s->soft, 0.5 * k->vessels.soft / high), most = 1.0 + soft + s->ragged;
    double cx = k->eye.center_x + scale * s->at.x, cy = k->eye.center_y + scale * s->at.y;
    double across = most * (fabs(c) * wide + fabs(d) * high), down = most * (fabs(d) * wide + fabs(c) * high);
    double place = between(p, 0, 64), wave = s->ragged > 0 ? 1.6 : 0;
    double gain = s->strength * US_MIN(1.0, high / k->vessels.soft + 0.3); /* blurred away when small */
    int64_t x0 = (int64_t)floor(US_MAX(cx - across, 0)), y0 = (int64_t)floor(US_MAX(cy - down, 0));
    int64_t x1 = (int64_t)floor(US_MIN(cx + across, (double)canvas->width - 1.0));
    int64_t y1 = (int64_t)floor(US_MIN(cy + down, (double)canvas->height - 1.0)), x, y;
    for (y = y0; y <= y1; y++)
        for (x = x0; x <= x1; x++) {
            double px = (double)x - cx, py = (double)y - cy, u = (c * px + d * py) / wide, v = (c * py - d * px) / high;
            double q = u * u + v * v, value;
            float *at = map + y * canvas->width + x;
            if (q > most * most)
                continue;
            q = sqrt(q);
            if (wave > 0)
                q += s->ragged * us_noise_at(k, wave * u + place, wave * v + 2.0 * place);
            value = gain * (1.0 - us_smooth_step(1.0 - soft, 1.0 + soft, q));
            if (s->streak > 0)
                value *= 1.0 - s->streak * (0.5 + 0.5 * us_noise_at(k, 1.5 * u + place, 5.0 * v));
            *at = US_MAX(*at, (float)value);
        }
}

/* ---- Bright ---- */

static void drusen(struct painter *p) {
    struct us_point middle = p->look->eye.fovea;
    double far = between(p, 0.10, 0.45), size = between(p, 0.005, 0.02), strength = between(p, 0.08, 0.45);
    int n = count_of(p, 8, 90);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.5, 0.25, 0};
    for (; n > 0; n--) {
        s.at = near(p, middle, far);
        s.wide = size * between(p, 0.5, 1.4);
        s.high = s.wide * between(p, 0.7, 1.0);
        s.strength = strength * between(p, 0.5, 1.0);
        paint(p, &s, p->canvas->pale);
    }
}

static void exudates(struct painter *p) {
    int clusters = count_of(p, 1, 4);
    for (; clusters > 0; clusters--) {
        struct us_point middle = chance(p, 60) ? near(p, p->look->eye.fovea, 0.2) : anywhere(p);
        double far = between(p, 0.03, 0.14), size = between(p, 0.006, 0.03), strength = between(p, 0.4, 1.0);
        int n = count_of(p, 4, 45);
        struct spot s = {{0, 0}, 0, 0, 0, 0, 0.2, 0.6, 0};
        for (; n > 0; n--) {
            s.at = near(p, middle, far);
            s.wide = size * between(p, 0.3, 1.5);
            s.high = s.wide * between(p, 0.35, 1.0);
            s.angle = between(p, 0, 3.14);
            s.strength = strength * between(p, 0.6, 1.0);
            paint(p, &s, p->canvas->pale);
        }
    }
}

/* Very many tiny ones, where the retina leaks. */
static void speckle(struct painter *p) {
    double pixel = 1.0 / p->look->eye.radius, strength = between(p, 0.15, 0.9), far = between(p, 0.05, 0.3);
    int clusters = count_of(p, 1, 4), n;
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.5, 0.3, 0};
    for (; clusters > 0; clusters--) {
        struct us_point middle = near(p, p->look->eye.fovea, 0.35);
        for (n = count_of(p, 30, 200); n > 0; n--) {
            s.at = near(p, middle, far);
            s.wide = between(p, 0.0015, 0.008);
            s.wide = US_MAX(s.wide, 0.5 * pixel);
            s.high = s.wide * between(p, 0.5, 1.0);
            s.angle = between(p, 0, 3.14);
            s.strength = strength * between(p, 0.4, 1.0);
            paint(p, &s, p->canvas->pale);
        }
    }
}

static void cotton_wool(struct painter *p) {
    int n = count_of(p, 1, 6);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.7, 0.4, 0};
    for (; n > 0; n--) {
        s.at = near(p, p->look->eye.disc, 0.5);
        s.wide = between(p, 0.025, 0.08);
        s.high = s.wide * between(p, 0.4, 0.9);
        s.angle = between(p, 0, 3.14);
        s.strength = between(p, 0.25, 0.8);
        paint(p, &s, p->canvas->pale);
    }
}

/* Pale, often with pigment in the middle. */
static void laser_scars(struct painter *p) {
    double size = between(p, 0.015, 0.04), strength = between(p, 0.2, 0.8);
    int n = count_of(p, 5, 50), pigment = chance(p, 50);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.3, 0.3, 0};
    for (; n > 0; n--) {
        s.at = anywhere(p);
        s.wide = size * between(p, 0.7, 1.3);
        s.high = s.wide * between(p, 0.7, 1.0);
        s.angle = between(p, 0, 3.14);
        s.strength = strength * between(p, 0.6, 1.0);
        paint(p, &s, p->canvas->pale);
        if (!pigment)
            continue;
        s.wide *= 0.4;
        s.high *= 0.4;
        s.strength = between(p, 0.2, 0.9);
        paint(p, &s, p->canvas->density[US_VEIN]);
    }
}

static void atrophy(struct painter *p) {
    int n = count_of(p, 1, 5);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.25, 0.7, 0};
    double strength = between(p, 0.2, 0.95);
    s.at = anywhere(p);
    for (; n > 0; n--) {
        s.at = near(p, s.at, 0.12);
        s.wide = between(p, 0.08, 0.35);
        s.high = s.wide * between(p, 0.4, 1.0);
        s.angle = between(p, 0, 3.14);
        s.soft = between(p, 0.08, 0.5);
        s.strength = strength * between(p, 0.7, 1.0);
        paint(p, &s, p->canvas->pale);
    }
}

/* ---- Dark ---- */

static void dots_and_blots(struct painter *p) {
    struct us_point middle = anywhere(p);
    double far = between(p, 0.15, 0.7), size = between(p, 0.006, 0.03), strength = between(p, 0.2, 1.0);
    int n = count_of(p, 3, 40);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.3, 0.5, 0};
    for (; n > 0; n--) {
        s.at = near(p, middle, far);
        s.wide = size * between(p, 0.4, 1.5);
        s.high = s.wide * between(p, 0.6, 1.0);
        s.angle = between(p, 0, 3.14);
        s.strength = strength * between(p, 0.5, 1.0);
        paint(p, &s, p->canvas->density[US_VEIN]);
    }
}

/* Along the nerve fibres, away from the disc. */
static void flames(struct painter *p) {
    struct us_point middle = anywhere(p);
    double far = between(p, 0.1, 0.5), strength = between(p, 0.25, 1.0);
    int n = count_of(p, 2, 20);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.4, 0.5, 0};
    for (; n > 0; n--) {
        s.at = near(p, middle, far);
        s.angle = us_angle_of(s.at.x - p->look->eye.disc.x, s.at.y - p->look->eye.disc.y) + between(p, -0.4, 0.4);
        s.wide = between(p, 0.02, 0.07);
        s.high = s.wide * between(p, 0.25, 0.7);
        s.strength = strength * between(p, 0.5, 1.0);
        s.streak = between(p, 0.2, 1.0);
        paint(p, &s, p->canvas->density[US_VEIN]);
    }
}

/* Broad and faint: pigment, a shadow of the lens, old blood. */
static void stains(struct painter *p) {
    int n = count_of(p, 1, 8);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.8, 0.6, 0};
    for (; n > 0; n--) {
        s.at = anywhere(p);
        s.wide = between(p, 0.03, 0.3);
        s.high = s.wide * between(p, 0.4, 1.0);
        s.angle = between(p, 0, 3.14);
        s.strength = between(p, 0.05, 0.5);
        paint(p, &s, p->canvas->density[US_VEIN]);
    }
}

/* ---- Of the film ---- */

static void dust(struct painter *p) {
    double pixel = 1.0 / p->look->eye.radius;
    int n = count_of(p, 2, 25), bright = chance(p, 35);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.4, 0.2, 0};
    for (; n > 0; n--) {
        s.at = anywhere(p);
        s.wide = pixel * between(p, 0.6, 2.2);
        s.high = pixel * between(p, 0.6, 1.4);
        s.angle = between(p, 0, 3.14);
        s.strength = between(p, 0.4, 1.6);
        paint(p, &s, bright ? p->canvas->pale : p->canvas->density[US_ARTERY]);
    }
}

static void scratches(struct painter *p) {
    double pixel = 1.0 / p->look->eye.radius;
    int n = count_of(p, 1, 3), bright = chance(p, 40);
    struct spot s = {{0, 0}, 0, 0, 0, 0, 0.3, 0, 0};
    for (; n > 0; n--) {
        s.at = anywhere(p);
        s.wide = between(p, 0.05, 0.4);
        s.high = 0.5 * pixel;
        s.angle = chance(p, 60) ? between(p, -0.06, 0.06) : between(p, 0, 3.14);
        s.strength = between(p, 0.15, 0.7);
        s.streak = between(p, 0, 1);
        paint(p, &s, bright ? p->canvas->pale : p->canvas->density[US_ARTERY]);
    }
}

void us_lesions_draw(const struct us_look *look, uint64_t seed, struct us_canvas *canvas) {
    static const struct {
        void (*draw)(struct painter *);
        int percent; /* of the photographs of a sick eye */
    } kinds[] = {{drusen, 35},  {exudates, 40},       {speckle, 25}, {cotton_wool, 25}, {laser_scars, 12},
                 {atrophy, 22}, {dots_and_blots, 45}, {flames, 35},  {stains, 45}};
    struct painter p;
    int i, sick;
    p.look = look;
    p.canvas = canvas;
    p.rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 3, 0);
    sick = chance(&p, 60);
    for (i = 0; i < US_COUNT(kinds); i++)
        if (sick && chance(&p, kinds[i].percent))
            kinds[i].draw(&p);
    if (chance(&p, 40))
        dust(&p);
    if (chance(&p, 20))
        scratches(&p);
}
