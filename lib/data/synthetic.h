/*
 * synthetic.h - inside of the synthetic fundus: what a seed decides, the eye's plan, its vessels, the canvas they are
 * drawn on. Lengths are in units of the anatomy (about a 45 degree field's radius), (0, 0) is the field's middle, x to
 * the right and y down, until they are drawn.
 */
#ifndef US_SYNTHETIC_H
#define US_SYNTHETIC_H

#include <math.h>

#include "data/data.h"

struct us_point {
    double x, y;
};

/* Where things are. */
struct us_eye {
    struct us_point disc, fovea;
    struct us_point axis; /* unit vector from the disc to the fovea */
    double distance;      /* between them */
    double disc_radius;
    double center_x, center_y; /* of the field, in pixels */
    double radius;             /* pixels of a unit */
    double reach;              /* the field's radius in units: below 1 is a narrow angle */
};

/* The lit part of the picture: a disc, cut at the top and bottom, with a notch that tells which way is up. Pixels. */
struct us_field {
    double radius, top, bottom; /* from the middle */
    struct us_point notch;      /* unit vector to it */
    double notch_size;          /* 0: none */
    double soft;                /* width of its edge */
    double frame;               /* beyond this far up or down a film's frame is darker still */
};

enum us_vessel_kind { US_VEIN = 0, US_ARTERY = 1 };

/* How vessels look. */
struct us_vessel_look {
    double soft;        /* half the width of a blurred edge, in pixels */
    double faint, fade; /* density of the thinnest, and the power of its growth with the width */
    double reflex[2];   /* how much of the middle's density the reflex takes */
    double margin;      /* pixels a label is wider on each side */
    double wiggle;      /* 1: usual tortuosity */
    double thinnest;    /* width at which branching ends */
    double share;       /* of the field that is labelled */
    int hidden;         /* faint vessels beyond those, which nobody would label */
};

#define US_LATTICE 64

/* What a seed decides. Colours are 0 .. 1, red green blue. */
struct us_look {
    struct us_eye eye;
    struct us_field field;
    struct us_vessel_look vessels;
    float base[3], disc[3], dark[3], pale[3]; /* pale: of bright lesions */
    float absorb[2][3];                       /* of veins and arteries, a channel */
    double exposure;
    double light_x, light_y; /* middle of the lamp's light */
    double falloff, rim;     /* towards the edge */
    double shade_x, shade_y; /* the light's slope */
    double patches;          /* strength of broad patches */
    double choroid;          /* strength of its pattern, and its scale */
    double texture;
    double fine, mesh;    /* strength of the retina's own grain, and of a net of capillaries too small to follow */
    double macula, fovea; /* how dark they are */
    double sheen, fibres; /* of the nerve fibres around the disc, and how streaky */
    double cup_x, cup_y, cup;
    double disc_edge, crescent; /* blur of its edge; strength of pale skin beside it */
    struct us_point crescent_at;
    double haze;                             /* most that a cloudy lens takes off the contrast, in patches */
    double vary;                             /* how uneven vessels are along their way */
    double noise, grain, grain_size, mottle; /* mottle: how much the grain differs from place to place */
    float lattice[US_LATTICE * US_LATTICE];  /* values of smooth noise, -1 .. 1 */
};

/* Optical density of veins (and spilled blood) and of arteries, pallor of lesions 0 .. 1, and the labels; (h, w). */
struct us_canvas {
    int64_t width, height;
    float *density[2];
    float *pale;
    uint8_t *label;      /* 0 / 255, inside the field */
    const uint8_t *mask; /* field */
    int64_t field_pixels, label_pixels;
};

/* A vessel's middle line; width is the diameter. */
struct us_node {
    double x, y, width;
};

/* ---- Small things ---- */

/* At most one call in an expression: C leaves the order of two open, and the picture would hang on the compiler. */
static inline double us_between(struct us_rng *rng, double low, double high) {
    return low + (high - low) * us_rng_uniform(rng);
}

/* Smooth noise at (x, y), -1 .. 1. */
static inline double us_noise_at(const struct us_look *k, double x, double y) {
    double fx = floor(x), fy = floor(y), u = x - fx, v = y - fy;
    int64_t i = (int64_t)fy & (US_LATTICE - 1), j = (int64_t)fx & (US_LATTICE - 1);
    const float *a = k->lattice + i * US_LATTICE, *b = k->lattice + ((i + 1) & (US_LATTICE - 1)) * US_LATTICE;
    int64_t right = (j + 1) & (US_LATTICE - 1);
    u = u * u * (3.0 - 2.0 * u);
    v = v * v * (3.0 - 2.0 * v);
    return (a[j] * (1.0 - u) + a[right] * u) * (1.0 - v) + (b[j] * (1.0 - u) + b[right] * u) * v;
}

static inline double us_smooth_step(double low, double high, double v) {
    v = (v - low) / (high - low);
    v = v < 0 ? 0 : v > 1 ? 1 : v;
    return v * v * (3.0 - 2.0 * v);
}

/* The angle of (x, y), within 1e-3. */
static inline double us_angle_of(double x, double y) {
    double a = fabs(x), b = fabs(y), q, r;
    if (a + b == 0)
        return 0;
    q = US_MIN(a, b) / US_MAX(a, b);
    r = q * (0.9998660 + q * q * (-0.3302995 + q * q * (0.1801410 + q * q * (-0.0851330 + q * q * 0.0208351))));
    r = b > a ? 1.5707963267948966 - r : r;
    r = x < 0 ? 3.141592653589793 - r : r;
    return y < 0 ? -r : r;
}

/* ---- Parts ---- */

/* synthetic_plan.c */
void us_look_plan(struct us_look *look, uint64_t seed, int64_t width, int64_t height);
/* How far (px, py), pixels from the field's middle, is outside the field; negative inside. */
double us_field_outside(const struct us_field *field, double px, double py);
/* synthetic_retina.c: the retina without vessels at (x, y). */
void us_retina(const struct us_look *look, double x, double y, double color[3]);
/* synthetic_lesions.c: what is not vessel: drusen, exudates, scars, bleedings, dust, scratches. */
void us_lesions_draw(const struct us_look *look, uint64_t seed, struct us_canvas *canvas);
/* synthetic_vessels.c: grows vessels and draws them until the share of the field that is labelled is reached. */
int us_vessels_grow(us_context *ctx, uint64_t seed, const struct us_look *look, struct us_canvas *canvas);
/* synthetic_draw.c: strength multiplies the density; labelled: into the label too. */
void us_vessel_draw(const struct us_look *look, struct us_canvas *canvas, enum us_vessel_kind kind,
                    const struct us_node *nodes, int64_t count, double strength, int labelled);

#endif
