/*
 * field.c - the field of view: the lit, round part of a fundus photograph.
 *
 * On a picture reduced to at most 768 pixels a side: the brightest channel of each pixel, smoothed; a threshold
 * a little above the level of the corners; the largest connected part, opened (which cuts off tabs, text and
 * glare) and made convex, since a field is a disc cut off by the frame (which fills vessels and dark spots at its rim).
 * Whatever then does not look like a field - no contrast, too small, too large, ragged, lit outside - is no field: the
 * whole image is taken. Nothing here can fail but memory.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

#define SIDE_MIN 16 /* smaller pictures are taken whole */

/* ---- The reduced picture ---- */

void us_fov_begin(struct us_fov *s, int64_t width, int64_t height) {
    memset(s, 0, sizeof *s);
    s->image_width = width;
    s->image_height = height;
    s->source = UNETSTAR_FIELD_WHOLE;
    s->step = (US_MAX(width, height) + US_FOV_SIDE - 1) / US_FOV_SIDE;
    s->width = (width + s->step - 1) / s->step;
    s->height = (height + s->step - 1) / s->step;
    if (US_MIN(s->width, s->height) < SIDE_MIN)
        s->width = s->height = 0;
}

void us_fov_take(struct us_fov *s, struct us_arena *kept) {
    s->left = (int32_t *)us_arena_take(kept, (size_t)s->height * sizeof s->left[0]);
    s->right = (int32_t *)us_arena_take(kept, (size_t)s->height * sizeof s->right[0]);
}

void us_fov_take_scratch(struct us_fov *s, struct us_arena *scratch) {
    const size_t count = (size_t)s->width * (size_t)s->height;
    s->level = (uint8_t *)us_arena_take(scratch, count);
    s->part = (uint8_t *)us_arena_take(scratch, count);
    s->distance = (uint16_t *)us_arena_take(scratch, count * sizeof s->distance[0]);
    s->stack = (int32_t *)us_arena_take(scratch, count * sizeof s->stack[0]);
}

/* Brightest channel of the pixels of a row, added to the sums of this picture's row. */
static void add_row(const struct us_image *image, int64_t step, int32_t *sums) {
    const uint8_t *row = (const uint8_t *)image->data;
    int64_t x, at = 0, left = step;
    for (x = 0; x < image->width; x++) {
        int v;
        if (image->bits == 16) {
            v = us_image_sample(image, 0, x, 0);
            if (image->channels == 3) {
                v = US_MAX(v, us_image_sample(image, 0, x, 1));
                v = US_MAX(v, us_image_sample(image, 0, x, 2));
            }
            v = (v + 128) / 257;
        } else if (image->channels == 3) {
            v = US_MAX(row[3 * x], row[3 * x + 1]);
            v = US_MAX(v, row[3 * x + 2]);
        } else {
            v = row[x];
        }
        sums[at] += v;
        if (--left == 0) {
            at++;
            left = step;
        }
    }
}

/* The stack serves for the sums of the present row of the reduced picture. */
void us_fov_add(struct us_fov *s, int64_t y, const struct us_image *row) {
    const int64_t i = y / s->step, y0 = i * s->step, y1 = US_MIN(y0 + s->step, s->image_height);
    int64_t j;
    if (s->height == 0)
        return;
    if (y == y0)
        memset(s->stack, 0, (size_t)s->width * sizeof s->stack[0]);
    add_row(row, s->step, s->stack);
    if (y + 1 < y1)
        return;
    for (j = 0; j < s->width; j++) {
        int64_t n = (y1 - y0) * (US_MIN((j + 1) * s->step, s->image_width) - j * s->step);
        s->level[i * s->width + j] = (uint8_t)((s->stack[j] + n / 2) / n);
    }
}

/* Mean of 3x3, the edge repeated. out may not be s->level. */
static void smooth(const struct us_fov *s, uint8_t *out) {
    int64_t w = s->width, i, j;
    for (i = 0; i < s->height; i++) {
        const uint8_t *b = s->level + i * w, *a = i > 0 ? b - w : b, *c = i < s->height - 1 ? b + w : b;
        int before = a[0] + b[0] + c[0], here = before;
        for (j = 0; j < w; j++) {
            int64_t next = US_MIN(j + 1, w - 1);
            int after = a[next] + b[next] + c[next];
            out[i * w + j] = (uint8_t)((before + here + after + 4) / 9);
            before = here;
            here = after;
        }
    }
}

/* ---- The threshold ---- */

/* Twice the squared radius of a pixel in the ellipse that touches the frame: 2 on it, 4 in the corners. */
static double radius(const struct us_fov *s, int64_t i, int64_t j) {
    double y = (double)(2 * i + 1 - s->height) / (double)s->height,
           x = (double)(2 * j + 1 - s->width) / (double)s->width;
    return 2.0 * (y * y + x * x);
}

static int quantile(const int64_t histogram[256], double share) {
    int64_t total = 0, sum = 0;
    int v;
    for (v = 0; v < 256; v++)
        total += histogram[v];
    for (v = 0; v < 255; v++) {
        sum += histogram[v];
        if ((double)sum > share * (double)total)
            break;
    }
    return v;
}

/* Levels of the corners and of the middle; 0 when they do not differ enough for a field. */
static int contrast(const struct us_fov *s, int *dark, int *noise, int *lit) {
    int64_t corners[256], middle[256], i, j;
    memset(corners, 0, sizeof corners);
    memset(middle, 0, sizeof middle);
    for (i = 0; i < s->height; i++)
        for (j = 0; j < s->width; j++) {
            double r = radius(s, i, j);
            int v = s->level[i * s->width + j];
            if (r > 3.2)
                corners[v]++;
            else if (r < 1.0)
                middle[v]++;
        }
    *dark = quantile(corners, 0.5);
    *noise = quantile(corners, 0.9) - *dark;
    *lit = quantile(middle, 0.5);
    return *lit - *dark >= 12 && *lit >= *dark + *dark / 2;
}

/* ---- Parts ---- */

/* Marks the part that pixel `seed` belongs to, `from`, with `to`, a run of a row at a time. Returns its size. */
static int64_t flood(struct us_fov *s, int64_t seed, uint8_t from, uint8_t to) {
    int64_t w = s->width, size = 0, top = 1, side, at;
    s->stack[0] = (int32_t)seed;
    while (top > 0) {
        int64_t y, left, right;
        at = s->stack[--top];
        if (s->part[at] != from)
            continue;
        y = at / w;
        for (left = at; left > y * w && s->part[left - 1] == from;)
            left--;
        for (right = at; right < y * w + w - 1 && s->part[right + 1] == from;)
            right++;
        memset(s->part + left, to, (size_t)(right - left + 1));
        size += right - left + 1;
        for (side = -w; side <= w; side += 2 * w) /* the first pixel of each run above and below */
            if (left + side >= 0 && left + side < w * s->height)
                for (at = left + side; at <= right + side; at++)
                    if (s->part[at] == from && (at == left + side || s->part[at - 1] != from))
                        s->stack[top++] = (int32_t)at;
    }
    return size;
}

/* The largest part of ones connected through edges stays, the others become 0. Returns its size. */
static int64_t largest_part(struct us_fov *s) {
    int64_t count = s->width * s->height, i, best = 0, best_seed = 0;
    for (i = 0; i < count; i++)
        if (s->part[i] == 1) {
            int64_t size = flood(s, i, 1, 2);
            if (size > best) {
                best = size;
                best_seed = i;
            }
        }
    if (best > 0)
        flood(s, best_seed, 2, 3);
    for (i = 0; i < count; i++)
        s->part[i] = s->part[i] == 3;
    return best;
}

/* Three times the distance to the nearest pixel whose part is `to`, by the 3-4 chamfer (Borgefors 1986). With to = 0
 * what lies beyond the frame counts as 1: a field cut off by the frame is not eaten from there. */
static void distances(struct us_fov *s, int to) {
    int64_t w = s->width, i, j;
    uint16_t *d = s->distance;
    const int far_away = 60000;
    for (i = 0; i < s->height; i++)
        for (j = 0; j < w; j++) {
            int v = s->part[i * w + j] == to ? 0 : far_away;
            if (i > 0)
                v = US_MIN(v, d[(i - 1) * w + j] + 3);
            if (j > 0)
                v = US_MIN(v, d[i * w + j - 1] + 3);
            if (i > 0 && j > 0)
                v = US_MIN(v, d[(i - 1) * w + j - 1] + 4);
            if (i > 0 && j < w - 1)
                v = US_MIN(v, d[(i - 1) * w + j + 1] + 4);
            d[i * w + j] = (uint16_t)v;
        }
    for (i = s->height - 1; i >= 0; i--)
        for (j = w - 1; j >= 0; j--) {
            int v = d[i * w + j];
            if (i < s->height - 1)
                v = US_MIN(v, d[(i + 1) * w + j] + 3);
            if (j < w - 1)
                v = US_MIN(v, d[i * w + j + 1] + 3);
            if (i < s->height - 1 && j < w - 1)
                v = US_MIN(v, d[(i + 1) * w + j + 1] + 4);
            if (i < s->height - 1 && j > 0)
                v = US_MIN(v, d[(i + 1) * w + j - 1] + 4);
            d[i * w + j] = (uint16_t)v;
        }
}

/* Opening by a disc of this radius; what was not field before does not become field. Returns the size. */
static int64_t open_part(struct us_fov *s, int64_t disc) {
    int64_t count = s->width * s->height, i, n;
    distances(s, 0);
    for (i = 0; i < count; i++)
        s->part[i] = s->distance[i] > 3 * disc;
    n = largest_part(s);
    if (n == 0)
        return 0;
    distances(s, 1);
    for (n = 0, i = 0; i < count; i++) {
        s->part[i] = s->distance[i] <= 3 * disc;
        n += s->part[i];
    }
    return n;
}

/* ---- The convex hull ---- */

struct corner {
    int32_t x, y;
};

/* > 0 when a, b, c turn towards growing x (y grows downwards along a chain). */
static int64_t turn(struct corner a, struct corner b, struct corner c) {
    return (int64_t)(b.y - a.y) * (c.x - a.x) - (int64_t)(b.x - a.x) * (c.y - a.y);
}

/* The convex chain of the rows' ends (Andrew 1979), side -1: left ends, 1: right ends; then each row's end on it. */
static void chain(const struct us_fov *s, int64_t first, int64_t last, int side, int32_t *end, struct corner *hull) {
    int64_t y, n = 0, k = 0;
    for (y = first; y <= last; y++) {
        struct corner p;
        p.x = end[y];
        p.y = (int32_t)y;
        if ((side < 0 && p.x == s->width) || (side > 0 && p.x < 0)) /* no field in this row */
            continue;
        while (n >= 2 && side * turn(hull[n - 2], hull[n - 1], p) >= 0)
            n--;
        hull[n++] = p;
    }
    for (y = first; y <= last; y++) {
        int64_t dy, dx, at;
        while (k < n - 2 && hull[k + 1].y <= y)
            k++;
        if (n == 1) {
            end[y] = hull[0].x;
            continue;
        }
        dy = hull[k + 1].y - hull[k].y;
        dx = hull[k + 1].x - hull[k].x;
        at = 2 * dx * (y - hull[k].y) + dy; /* rounded to nearest */
        end[y] = (int32_t)(hull[k].x + (at >= 0 ? at / (2 * dy) : -((-at + 2 * dy - 1) / (2 * dy))));
    }
}

/* Fills the hull of the field; returns its size. Every row of what is left is then one run, from `left` to `right`. The stack
 * serves for the corners: it has room for 2 h numbers since no side is shorter than SIDE_MIN. */
static int64_t fill_hull(struct us_fov *s) {
    int32_t *left = s->left, *right = s->right;
    struct corner *hull = (struct corner *)s->stack;
    int64_t y, x, first = -1, last = -1, n = 0;
    for (y = 0; y < s->height; y++) {
        left[y] = (int32_t)s->width;
        right[y] = -1;
        for (x = 0; x < s->width; x++)
            if (s->part[y * s->width + x]) {
                left[y] = US_MIN(left[y], (int32_t)x);
                right[y] = (int32_t)x;
            }
        if (right[y] >= 0) {
            first = first < 0 ? y : first;
            last = y;
        }
    }
    if (first < 0)
        return 0;
    chain(s, first, last, -1, left, hull);
    chain(s, first, last, 1, right, hull);
    for (y = first; y <= last; y++)
        for (x = left[y]; x <= right[y]; x++) {
            s->part[y * s->width + x] = 1;
            n++;
        }
    return n;
}

/* ---- Is it one? ---- */

/* The outside must be dark beside the inside: at most a tenth of it above the threshold. */
static int dark_outside(const struct us_fov *s, int level) {
    int64_t count = s->width * s->height, i, outside = 0, lit = 0;
    for (i = 0; i < count; i++)
        if (!s->part[i]) {
            outside++;
            lit += s->level[i] > level;
        }
    return outside > 0 && lit * 10 <= outside;
}

/* The part above this level, opened and made convex: is that a field? */
static int try_level(struct us_fov *s, int level) {
    int64_t count = s->width * s->height, i, opened, hull, side = US_MIN(s->width, s->height);
    for (i = 0; i < count; i++)
        s->part[i] = s->level[i] > level;
    if (largest_part(s) * 8 < count)
        return 0;
    opened = open_part(s, US_MAX(side * 3 / 100, 1));
    hull = fill_hull(s);
    return hull * 6 >= count && hull * 100 <= count * 98 && opened * 100 >= hull * 85 && dark_outside(s, level);
}

/* Low levels first: they keep the dim rim of a field; a glow around it may need a higher one. */
static int find(struct us_fov *s) {
    static const int shares[3] = {8, 4, 2};
    int dark, noise, lit, k;
    if (!contrast(s, &dark, &noise, &lit))
        return 0;
    for (k = 0; k < US_COUNT(shares); k++) {
        int above = US_MAX((lit - dark) / shares[k], 2 * noise + 2);
        if (try_level(s, dark + US_MIN(above, (lit - dark) / 2)))
            return 1;
    }
    return 0;
}

/* ---- The mask ---- */

/* part at image pixel i along one side, between two pixels of the reduced picture: index of the first, weight of the
 * second in units of 1 / (2 step). */
static int64_t between(int64_t i, int64_t step, int64_t n, int64_t *weight) {
    int64_t t = 2 * i + 1 - step, at;
    if (t < 0 || n == 1) {
        *weight = 0;
        return 0;
    }
    at = t / (2 * step);
    *weight = t % (2 * step);
    if (at >= n - 1) {
        at = n - 2;
        *weight = 2 * step;
    }
    return at;
}

static int is_part(const struct us_fov *s, int64_t i, int64_t j) {
    return j >= s->left[i] && j <= s->right[i];
}

void us_fov_row(const struct us_fov *s, int64_t y, int64_t x, int64_t n, uint8_t *mask) {
    const int64_t whole = 2 * s->step;
    int64_t k, i, wy;
    if (s->source != UNETSTAR_FIELD_FOUND) {
        memset(mask, 255, (size_t)n);
        return;
    }
    i = between(y, s->step, s->height, &wy);
    for (k = 0; k < n; k++) {
        int64_t wx, j = between(x + k, s->step, s->width, &wx);
        int64_t sum = (whole - wy) * ((whole - wx) * is_part(s, i, j) + wx * is_part(s, i, j + 1)) +
                      wy * ((whole - wx) * is_part(s, i + 1, j) + wx * is_part(s, i + 1, j + 1));
        mask[k] = 2 * sum >= whole * whole ? 255 : 0;
    }
}

/* ---- Together ---- */

void us_fov_end(struct us_fov *s) {
    if (s->height == 0)
        return;
    smooth(s, s->part);
    memcpy(s->level, s->part, (size_t)s->width * (size_t)s->height);
    if (find(s))
        s->source = UNETSTAR_FIELD_FOUND;
}

int us_field_find(us_context *ctx, const struct us_image *image, uint8_t *mask, int32_t *source) {
    struct us_image row = *image;
    struct us_arena arena;
    struct us_fov s;
    int64_t y;
    int k;
    memset(&arena, 0, sizeof arena);
    us_fov_begin(&s, image->width, image->height);
    for (k = 0; k < 2; k++) { /* measure, then take */
        us_fov_take(&s, &arena);
        us_fov_take_scratch(&s, &arena);
        if (k == 1 || arena.used == 0)
            break;
        arena.size = arena.used;
        arena.used = 0;
        arena.base = (char *)us_alloc(ctx, arena.size);
        if (!arena.base)
            return UNETSTAR_ENOMEM;
    }
    for (y = 0; y < image->height; y++) {
        row.data = (const char *)image->data + y * image->stride;
        us_fov_add(&s, y, &row);
    }
    us_fov_end(&s);
    for (y = 0; y < image->height; y++)
        us_fov_row(&s, y, 0, image->width, mask + y * image->width);
    *source = s.source;
    us_free(ctx, arena.base);
    return 0;
}
