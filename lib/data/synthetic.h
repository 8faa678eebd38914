/*
 * synthetic.h - inside of the synthetic fundus: the eye's plan, its vessels, the canvas they are drawn on. Lengths are
 * in units of the field's radius, (0, 0) is its middle, x to the right and y down, until they are drawn.
 */
#ifndef US_SYNTHETIC_H
#define US_SYNTHETIC_H

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
    double center_x, center_y, radius; /* of the field, in pixels */
};

enum us_vessel_kind { US_VEIN = 0, US_ARTERY = 1 };

/* Optical density of veins and of arteries, and the labels; (h, w). */
struct us_canvas {
    int64_t width, height;
    float *density[2];
    uint8_t *label;      /* 0 / 255, inside the field */
    const uint8_t *mask; /* field */
    int64_t field_pixels, label_pixels;
};

/* A vessel's middle line; width is the diameter. */
struct us_node {
    double x, y, width;
};

/* synthetic_vessels.c: grows vessels and draws them until the share of the field that is labelled is reached. */
int us_vessels_grow(us_context *ctx, uint64_t seed, const struct us_eye *eye, double share, struct us_canvas *canvas);
/* synthetic_draw.c */
void us_vessel_draw(const struct us_eye *eye, struct us_canvas *canvas, enum us_vessel_kind kind,
                    const struct us_node *nodes, int64_t count);

#endif
