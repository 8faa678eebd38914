/* synthetic_draw.c - draws a vessel's line as a blurred round tube into density and label. */
#include "data/synthetic.h"

/* How a tube looks across, in pixels. */
struct tube {
    double radius, soft; /* soft: half the width of the blurred edge */
    double peak;         /* density of its middle, were it not blurred */
    double reflex;       /* how much of it the reflex takes away along the middle */
    double label;        /* half the width that is labelled */
};

static double clamp01(double v) {
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static void tube_of(struct tube *t, const struct us_look *look, enum us_vessel_kind kind, double width) {
    const struct us_vessel_look *v = &look->vessels;
    double wide = width * look->eye.radius, strength = clamp01(width / 0.026);
    t->radius = US_MAX(0.5 * wide, 0.42); /* thinner would fall between the pixels of a small picture */
    t->soft = v->soft;
    t->peak = v->faint + (1.0 - v->faint) * us_pow(US_MAX(strength, 0.01), v->fade);
    t->reflex = v->reflex[kind] * clamp01((wide - 2.5) / 4.0);
    t->label = US_MAX(t->radius + v->margin, 0.55);
}

/* The share of a blurred edge's light that comes from one side: 0 at u = -1, 1 at 1. */
static double side(double u) {
    u = clamp01(0.5 + 0.5 * u);
    return u * u * (3.0 - 2.0 * u);
}

static double tube_density(const struct tube *t, double d) {
    double cover = side((t->radius - d) / t->soft) - side((-t->radius - d) / t->soft), across = d / t->radius;
    double round = across < 1.0 ? 0.66 + 0.34 * sqrt(1.0 - across * across) : 0.66, shine;
    across *= 3.4;
    shine = 1.0 / (1.0 + across * across);
    return t->peak * cover * round * (1.0 - t->reflex * shine * shine);
}

enum { STARTS = 1, ENDS = 2 };

/* The piece from a to b: every pixel near it gets the density of its distance, where that is more than it has. Where
 * another piece goes on, only the wedge that a bend leaves open is filled: a round end would hide that piece's reflex.
 */
static void draw_piece(const struct us_look *look, struct us_canvas *canvas, enum us_vessel_kind kind,
                       const struct us_node *a, const struct us_node *b, double strength, int labelled, int ends) {
    const struct us_eye *eye = &look->eye;
    double ax = eye->center_x + a->x * eye->radius, ay = eye->center_y + a->y * eye->radius;
    double bx = eye->center_x + b->x * eye->radius, by = eye->center_y + b->y * eye->radius;
    double dx = bx - ax, dy = by - ay, square = dx * dx + dy * dy, reach;
    int64_t x, y, x0, x1, y0, y1;
    struct tube t;
    tube_of(&t, look, kind, 0.5 * (a->width + b->width));
    t.peak *= strength;
    reach = US_MAX(t.radius + t.soft, t.label) + 1.0;
    x0 = US_MAX(0, (int64_t)floor(US_MIN(ax, bx) - reach));
    x1 = US_MIN(canvas->width - 1, (int64_t)floor(US_MAX(ax, bx) + reach));
    y0 = US_MAX(0, (int64_t)floor(US_MIN(ay, by) - reach));
    y1 = US_MIN(canvas->height - 1, (int64_t)floor(US_MAX(ay, by) + reach));
    for (y = y0; y <= y1; y++)
        for (x = x0; x <= x1; x++) {
            double px = (double)x - ax, py = (double)y - ay, along, over, d;
            int64_t at = y * canvas->width + x;
            along = square > 0 ? (px * dx + py * dy) / square : 0;
            over = along < 0 ? (ends & STARTS ? 0 : -along) : along > 1.0 && !(ends & ENDS) ? along - 1.0 : 0;
            if (over * square > 0.4 * fabs(px * dy - py * dx))
                continue;
            along = clamp01(along);
            px -= along * dx;
            py -= along * dy;
            d = px * px + py * py;
            if (d > reach * reach)
                continue;
            d = sqrt(d);
            canvas->density[kind][at] = US_MAX(canvas->density[kind][at], (float)tube_density(&t, d));
            if (labelled && d <= t.label && canvas->mask[at] && !canvas->label[at]) {
                canvas->label[at] = 255;
                canvas->label_pixels++;
            }
        }
}

void us_vessel_draw(const struct us_look *look, struct us_canvas *canvas, enum us_vessel_kind kind,
                    const struct us_node *nodes, int64_t count, double strength, int labelled) {
    int64_t i;
    for (i = 0; i + 1 < count; i++)
        draw_piece(look, canvas, kind, &nodes[i], &nodes[i + 1], strength, labelled,
                   (i == 0 ? STARTS : 0) + (i + 2 == count ? ENDS : 0));
}
