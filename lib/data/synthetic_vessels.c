/*
 * synthetic_vessels.c - the vessel tree of a synthetic fundus.
 *
 * Arteries and veins leave the disc in pairs: two arcades that arch around the macula, two trunks to the nose, small
 * ones straight to the macula. Along a vessel branches leave alternately to both sides; what a branch takes away obeys
 * Murray's law (w^3 = a^3 + b^3; Murray 1926), and a vessel ends in a fork. A map of what is occupied keeps vessels of
 * a kind from meeting, and lets the two kinds cross. The widest buds grow first, until the wanted share of the field is
 * vessel.
 */
#include "data/synthetic.h"

#include <string.h>

#define STEP 0.008 /* length of a piece */
#define NODES 1024 /* of one vessel */
#define BUDS 2048
#define SPAN 1.45 /* the map is over [-SPAN, SPAN] */
#define GRID 290  /* its cells along a side */

struct bud {
    struct us_point at;
    double heading, width, length;
    double urgency; /* the bud with most grows next: its width, and some chance */
    double pull;    /* strength with which it turns to its aim */
    int32_t inward; /* its aim is the fovea */
    int32_t kind, parent, depth;
};

struct tree {
    const struct us_look *look;
    const struct us_eye *eye;
    struct us_canvas *canvas;
    struct us_rng rng;
    double thinnest, edge; /* width of the last branches; squared radius a little beyond the field */
    int hidden;            /* the vessels that grow now are so faint that nobody labels them */
    int n_buds, n_vessels;
    struct bud buds[BUDS];
    struct us_node nodes[NODES];
    uint16_t map[2][GRID * GRID]; /* number of the vessel, 0: free */
};

/* ---- Small things ---- */

static double between(struct tree *t, double low, double high) {
    return us_between(&t->rng, low, high);
}

static double length_of(double x, double y) {
    return sqrt(x * x + y * y);
}

static double limit(double v, double most) {
    return v < -most ? -most : v > most ? most : v;
}

/* An angle in (-pi, pi] like a. */
static double wrap(double a) {
    return a - 6.283185307179586 * floor((a + 3.141592653589793) / 6.283185307179586);
}

static int64_t cell_of(double x, double y) {
    int64_t i = (int64_t)floor((y + SPAN) * (GRID / (2 * SPAN))), j = (int64_t)floor((x + SPAN) * (GRID / (2 * SPAN)));
    return i < 0 || j < 0 || i >= GRID || j >= GRID ? -1 : i * GRID + j;
}

/* The vessel of this kind at a place, 0 when there is none. */
static int occupant(const struct tree *t, int kind, double x, double y) {
    int64_t cell = cell_of(x, y);
    return cell < 0 ? 0 : t->map[kind][cell];
}

static int in_disc(const struct tree *t, double x, double y, double factor) {
    return length_of(x - t->eye->disc.x, y - t->eye->disc.y) < factor * t->eye->disc_radius;
}

/* Writes the nodes into the map, except in the disc, where all of them meet. */
static void occupy(struct tree *t, int kind, int number, int64_t count) {
    int64_t i;
    for (i = 0; i < count; i++) {
        double half = 0.5 * t->nodes[i].width, a, b;
        if (in_disc(t, t->nodes[i].x, t->nodes[i].y, 1.1))
            continue;
        for (a = -half; a <= half; a += US_MAX(half, 0.001))
            for (b = -half; b <= half; b += US_MAX(half, 0.001)) {
                int64_t cell = cell_of(t->nodes[i].x + a, t->nodes[i].y + b);
                if (cell >= 0 && !t->map[kind][cell])
                    t->map[kind][cell] = (uint16_t)number;
            }
    }
}

static int full(const struct tree *t) {
    return (double)t->canvas->label_pixels >= t->look->vessels.share * (double)t->canvas->field_pixels;
}

/* ---- Buds ---- */

static void push_bud(struct tree *t, const struct bud *bud) {
    if (t->n_buds < BUDS && bud->width >= t->thinnest) {
        t->buds[t->n_buds] = *bud;
        t->buds[t->n_buds++].urgency = bud->width * between(t, 0.4, 1.3);
    }
}

/* Takes the most urgent bud out; the first one among equals. */
static struct bud pop_bud(struct tree *t) {
    int i, best = 0;
    struct bud bud;
    for (i = 1; i < t->n_buds; i++)
        if (t->buds[i].urgency > t->buds[best].urgency)
            best = i;
    bud = t->buds[best];
    t->buds[best] = t->buds[--t->n_buds];
    return bud;
}

/* Is there room beside a vessel at node i, on this side? */
static int room(const struct tree *t, int kind, const struct us_node *node, double heading, int side, double need) {
    double x = us_cos(heading + side * 1.0), y = us_sin(heading + side * 1.0), d;
    for (d = 0.5 * node->width + 0.02; d <= need; d += 0.01)
        if (occupant(t, kind, node->x + d * x, node->y + d * y))
            return 0;
    return 1;
}

/* A branch of this width from a node; the heading is the parent's. */
static void branch(struct tree *t, const struct us_node *node, double heading, int side, double width, int kind,
                   int parent, int depth) {
    const struct us_eye *eye = t->eye;
    double fx = eye->fovea.x - node->x, fy = eye->fovea.y - node->y, toward;
    struct bud bud;
    memset(&bud, 0, sizeof bud);
    bud.at.x = node->x;
    bud.at.y = node->y;
    bud.heading = heading + side * between(t, 0.45, 1.05);
    bud.width = width;
    bud.length = width * between(t, 36.0, 80.0);
    bud.length = US_MIN(bud.length, 1.3);
    bud.pull = between(t, 1.0, 3.6);
    toward = us_cos(bud.heading) * fx + us_sin(bud.heading) * fy;
    bud.inward = toward > 0.3 * length_of(fx, fy) && length_of(fx, fy) < 0.95 * eye->distance;
    bud.kind = kind;
    bud.parent = parent;
    bud.depth = depth;
    push_bud(t, &bud);
}

/*
 * Branches along the nodes of a finished vessel, thinning it as they leave. The widths in t->nodes are what the vessel
 * would have without branches.
 */
static void ramify(struct tree *t, int64_t count, int kind, int number, int depth, double spacing) {
    double next = spacing * between(t, 0.3, 1.0), along = 0, thin = 1.0;
    int side = us_rng_below(&t->rng, 2) ? 1 : -1;
    int64_t i;
    for (i = 1; i + 1 < count; i++) {
        struct us_node *node = &t->nodes[i];
        double heading, ratio, width;
        node->width *= thin;
        if (in_disc(t, node->x, node->y, 1.25))
            continue;
        along += STEP;
        if (along < next || i < 4)
            continue;
        heading = us_angle_of(t->nodes[i + 1].x - t->nodes[i - 1].x, t->nodes[i + 1].y - t->nodes[i - 1].y);
        if (!room(t, kind, node, heading, side, 0.085)) {
            side = -side;
            if (!room(t, kind, node, heading, side, 0.085))
                continue;
        }
        along = 0;
        next = spacing * between(t, 0.55, 1.6);
        ratio = between(t, 0.34, 0.72) + 0.2 * (double)i / (double)count;
        width = US_MAX(node->width * ratio, t->thinnest);
        if (width > 0.92 * node->width)
            continue;
        branch(t, node, heading, side, width, kind, number, depth + 1);
        ratio = width / node->width;
        thin *= us_pow(1.0 - 0.75 * ratio * ratio * ratio, 1.0 / 3.0);
        side = us_rng_below(&t->rng, 4) ? -side : side;
    }
    t->nodes[count - 1].width *= thin;
}

/* ---- Trunks: along a curve through given places ---- */

static double catmull_rom(double a, double b, double c, double d, double u) {
    return b + 0.5 * u * (c - a + u * (2.0 * a - 5.0 * b + 4.0 * c - d + u * (3.0 * (b - c) + d - a)));
}

/* A place of the plan (along: from the disc to the fovea, in their distance; across: upwards for up = 1) on the field.
 */
static struct us_point place(const struct us_eye *eye, double along, double across, int up) {
    struct us_point p;
    double side = up ? -1.0 : 1.0, turn = eye->axis.x < 0 ? -1.0 : 1.0;
    p.x = eye->disc.x + eye->distance * (along * eye->axis.x - side * turn * across * eye->axis.y);
    p.y = eye->disc.y + eye->distance * (along * eye->axis.y + side * turn * across * eye->axis.x);
    return p;
}

/* Smooth wandering to the side: two sines of a vessel's length. */
struct wander {
    double size[2], wave[2], phase[2];
};

static void wander_init(struct tree *t, struct wander *w, double size) {
    int k;
    for (k = 0; k < 2; k++) {
        w->size[k] = size * t->look->vessels.wiggle * between(t, 0.5, 1.0) * (k ? 0.4 : 1.0);
        w->wave[k] = 6.283185307179586 / (between(t, 0.28, 0.5) * (k ? 0.45 : 1.0));
        w->phase[k] = between(t, 0, 6.28);
    }
}

static double wander_at(const struct wander *w, double s) {
    double fade = US_MIN(1.0, s / 0.25);
    return fade *
           (w->size[0] * us_sin(w->wave[0] * s + w->phase[0]) + w->size[1] * us_sin(w->wave[1] * s + w->phase[1]));
}

static void trunk(struct tree *t, const struct us_point *p, int n, double width, int kind, double wiggle,
                  double spacing) {
    struct wander w;
    int64_t count = 0;
    int number = ++t->n_vessels, k, entered = 0;
    double s = 0, u, px = p[0].x, py = p[0].y;
    wander_init(t, &w, wiggle);
    for (k = 0; k + 1 < n; k++) {
        const struct us_point *a = &p[US_MAX(k - 1, 0)], *b = &p[k], *c = &p[k + 1], *d = &p[US_MIN(k + 2, n - 1)];
        double span = length_of(c->x - b->x, c->y - b->y), du = STEP / US_MAX(span, STEP);
        for (u = 0; u < 1.0 && count < NODES; u += du) {
            double x = catmull_rom(a->x, b->x, c->x, d->x, u), y = catmull_rom(a->y, b->y, c->y, d->y, u);
            double tx = x - px, ty = y - py, size = length_of(tx, ty), off = wander_at(&w, s);
            if (size > 0)
                s += size;
            t->nodes[count].x = x + (size > 0 ? -ty / size * off : 0);
            t->nodes[count].y = y + (size > 0 ? tx / size * off : 0);
            t->nodes[count].width = width * (1.0 - 0.34 * US_MIN(s / 1.6, 1.0));
            px = x;
            py = y;
            count++;
            entered |= x * x + y * y < t->edge;
            if (entered && x * x + y * y > t->edge) { /* left the field */
                k = n;
                break;
            }
        }
    }
    ramify(t, count, kind, number, 0, spacing);
    occupy(t, kind, number, count);
    us_vessel_draw(t->look, t->canvas, (enum us_vessel_kind)kind, t->nodes, count, between(t, 0.85, 1.15), 1);
}

static void arcade(struct tree *t, int kind, int up) {
    /* along, across: an arch around the macula that comes back towards its line behind it */
    static const double plan[9][2] = {{0, -0.01},   {-0.015, 0.17}, {0.1, 0.40}, {0.38, 0.62}, {0.8, 0.72},
                                      {1.25, 0.66}, {1.7, 0.50},    {2.3, 0.34}, {3.2, 0.30}};
    double high = between(t, 0.86, 1.16) * (kind == US_ARTERY ? 0.92 : 1.0), far_end = between(t, 0.9, 1.2);
    double width = between(t, 0.024, 0.030) * (kind == US_ARTERY ? 0.76 : 1.0);
    struct us_point p[9];
    int k;
    for (k = 0; k < 9; k++) {
        double jitter = k > 1 ? 0.035 : 0.012;
        double along =
            plan[k][0] * (k > 3 ? far_end : 1.0) + between(t, -jitter, jitter) + (kind == US_ARTERY ? 0.03 : 0);
        double across = plan[k][1] * high + between(t, -jitter, jitter);
        p[k] = place(t->eye, along, across, up);
    }
    trunk(t, p, 9, width, kind, kind == US_ARTERY ? 0.008 : 0.011, 0.13);
}

static void nasal(struct tree *t, int kind, int up) {
    static const double plan[6][2] = {{0, -0.01},   {-0.06, 0.14}, {-0.22, 0.32},
                                      {-0.5, 0.55}, {-0.9, 0.78},  {-1.5, 1.05}};
    double spread = between(t, 0.55, 1.5) * (kind == US_ARTERY ? 0.85 : 1.0);
    double width = between(t, 0.017, 0.022) * (kind == US_ARTERY ? 0.78 : 1.0);
    struct us_point p[6];
    int k;
    for (k = 0; k < 6; k++) {
        double jitter = k > 1 ? 0.04 : 0.012;
        double along = plan[k][0] + between(t, -jitter, jitter);
        double across = plan[k][1] * (k > 1 ? spread : 1.0) + between(t, -jitter, jitter);
        p[k] = place(t->eye, along, across, up);
    }
    trunk(t, p, 6, width, kind, 0.010, 0.15);
}

/* Small vessels from the disc: to the macula (along > 0) or to the nose. */
static void small_vessel(struct tree *t, int kind, double heading, double width) {
    struct bud bud;
    memset(&bud, 0, sizeof bud);
    bud.heading = heading;
    bud.at.x = t->eye->disc.x + 0.35 * t->eye->disc_radius * us_cos(heading);
    bud.at.y = t->eye->disc.y + 0.35 * t->eye->disc_radius * us_sin(heading);
    bud.width = width;
    bud.length = between(t, 0.55, 0.85);
    bud.pull = between(t, 0.3, 1.2);
    bud.inward = us_cos(heading) * t->eye->axis.x + us_sin(heading) * t->eye->axis.y > 0;
    bud.kind = kind;
    push_bud(t, &bud);
}

/* ---- Branches: a walker that turns to its aim and away from others ---- */

/* Where a branch wants to go at (x, y): to the fovea, or away from the disc and the fovea. */
static double aim(const struct tree *t, const struct bud *bud, double x, double y) {
    const struct us_eye *eye = t->eye;
    double fx = eye->fovea.x - x, fy = eye->fovea.y - y, dx = x - eye->disc.x, dy = y - eye->disc.y, f, d;
    if (bud->inward)
        return us_angle_of(fx, fy);
    f = US_MAX(length_of(fx, fy), 0.05);
    d = US_MAX(length_of(dx, dy), 0.05);
    return us_angle_of(dx / d - 0.8 * fx / f, dy / d - 0.8 * fy / f);
}

/* May a branch go on at (x, y)? Its own and, at first, its parent's cells are free for it. */
static int blocked(const struct tree *t, const struct bud *bud, int number, double x, double y, int64_t steps) {
    int who = occupant(t, bud->kind, x, y);
    return who && who != number && !(who == bud->parent && steps < 8);
}

/* Turns away from a vessel of its kind ahead. */
static double evade(const struct tree *t, const struct bud *bud, int number, const struct us_node *node, double heading,
                    int64_t steps) {
    double turn = 0, look;
    int side;
    for (side = -1; side <= 1; side += 2)
        for (look = 0.024; look < 0.06; look += 0.012) {
            double a = heading + side * 0.55;
            if (blocked(t, bud, number, node->x + look * us_cos(a), node->y + look * us_sin(a), steps)) {
                turn -= side * (0.16 - 1.6 * look);
                break;
            }
        }
    return turn;
}

static int64_t walk(struct tree *t, const struct bud *bud, int number, double *heading_out) {
    const struct us_eye *eye = t->eye;
    double x = bud->at.x, y = bud->at.y, course = bud->heading, heading = course, wiggle = 0, s = 0;
    int64_t count = 0, along_other = 0;
    double wild = 0.10 * t->look->vessels.wiggle;
    int from_disc = in_disc(t, x, y, 1.15);
    while (count < NODES && s < bud->length) {
        struct us_node *node = &t->nodes[count];
        double width = bud->width * (1.0 - 0.42 * s / bud->length), f;
        node->x = x;
        node->y = y;
        node->width = US_MAX(width, 0.8 * t->thinnest);
        count++;
        if (x * x + y * y > t->edge)
            break;
        f = length_of(x - eye->fovea.x, y - eye->fovea.y);
        if (f < 0.16 * eye->distance)
            break;
        if (!from_disc && in_disc(t, x, y, 1.15))
            break;
        /* the course turns slowly to the aim; the line wiggles about it */
        course += evade(t, bud, number, node, heading, count);
        if (count > 3)
            course += limit(bud->pull * STEP * wrap(aim(t, bud, x, y) - course), 0.05);
        wiggle = 0.92 * wiggle + wild * us_rng_normal(&t->rng);
        heading = course + wiggle;
        x += STEP * us_cos(heading);
        y += STEP * us_sin(heading);
        s += STEP;
        if (blocked(t, bud, number, x, y, count))
            break;
        along_other = occupant(t, 1 - bud->kind, x, y) ? along_other + 1 : US_MAX(along_other - 1, 0);
        if (along_other > 7)
            break;
    }
    if (s < bud->length - STEP) { /* ended early: it thins out all the same */
        int64_t i;
        for (i = 0; i < count; i++)
            t->nodes[i].width = US_MAX(bud->width * (1.0 - 0.62 * (double)i / (double)count), 0.8 * t->thinnest);
    }
    *heading_out = heading;
    return count;
}

static void grow(struct tree *t, const struct bud *bud) {
    int number = ++t->n_vessels;
    double heading, width;
    int64_t count = walk(t, bud, number, &heading);
    struct us_node last;
    if (count < 7 || number >= 65535)
        return;
    ramify(t, count, bud->kind, number, bud->depth, 0.075 + 3.2 * bud->width);
    last = t->nodes[count - 1];
    occupy(t, bud->kind, number, count);
    us_vessel_draw(t->look, t->canvas, (enum us_vessel_kind)bud->kind, t->nodes, count,
                   t->hidden ? between(t, 0.15, 0.45) : between(t, 0.7, 1.2), !t->hidden);
    width = 0.8 * last.width;
    if ((double)count * STEP >= bud->length - STEP && width >= t->thinnest) { /* it ends in a fork */
        branch(t, &last, heading - 0.45, 1, width, bud->kind, number, bud->depth + 1);
        branch(t, &last, heading + 0.45, -1, width * 0.9, bud->kind, number, bud->depth + 1);
    }
}

int us_vessels_grow(us_context *ctx, uint64_t seed, const struct us_look *look, struct us_canvas *canvas) {
    const struct us_eye *eye = &look->eye;
    struct tree *t = (struct tree *)us_alloc_zero(ctx, sizeof *t);
    int k, up;
    if (!t)
        return UNETSTAR_ENOMEM;
    t->look = look;
    t->eye = eye;
    t->canvas = canvas;
    t->thinnest = look->vessels.thinnest;
    t->edge = 1.04 * eye->reach * eye->reach;
    t->rng = us_rng_stream(seed, US_RNG_SYNTHETIC, 1, 0);
    for (k = 0; k < 2; k++) /* veins first: they are the wider ones */
        for (up = 0; up < 2 && !full(t); up++)
            arcade(t, k, up);
    for (k = 0; k < 2; k++)
        for (up = 0; up < 2 && !full(t); up++)
            nasal(t, k, up);
    for (k = 0; k < 8; k++) {
        double heading =
            us_angle_of(eye->axis.x, eye->axis.y) + (k >= 5 ? 3.141592653589793 : 0) + between(t, -0.65, 0.65);
        double width = between(t, 0.0065, 0.0105);
        small_vessel(t, k & 1, heading, width);
    }
    while (t->n_buds > 0 && !full(t)) {
        struct bud bud = pop_bud(t);
        grow(t, &bud);
    }
    t->hidden = 1;
    for (k = 0; k < look->vessels.hidden && t->n_buds > 0; k++) {
        struct bud bud = pop_bud(t);
        grow(t, &bud);
    }
    us_free(ctx, t);
    return 0;
}
