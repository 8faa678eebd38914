/*
 * clahe.c - contrast-limited adaptive histogram equalisation (K. Zuiderveld, Graphics Gems IV, 1994), with the
 * conventions that became common through OpenCV, bit for bit:
 * - When a side is not a multiple of the number of tiles the image is continued at the bottom and the right by
 * reflection without repeating the edge; then a side that does divide is continued by one whole row or column of each
 * tile too.
 * - A bin is limited to max(1, floor(clip * pixels of a tile / 256)); what is cut off is given back to all bins evenly,
 * the remainder one by one to bins a fixed step apart.
 * - Each pixel is interpolated bilinearly, in float, between the four nearest tiles, and rounded half to even.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

#define LEVELS 256

/* Index of the continued image in the image: ... 2 1 [0 1 2 ... n-1] n-2 n-3 ... */
static int64_t reflect(int64_t i, int64_t n) {
    if (n == 1)
        return 0;
    while (i >= n || i < 0)
        i = i < 0 ? -i : 2 * (n - 1) - i;
    return i;
}

void us_clahe_begin(struct us_clahe *g, int64_t height, int64_t width, int tiles, float clip) {
    double limit, pixels;
    int i;
    g->height = height;
    g->width = width;
    g->tiles = tiles;
    if (height % tiles || width % tiles) {
        height += tiles - height % tiles;
        width += tiles - width % tiles;
    }
    g->tile_h = height / tiles;
    g->tile_w = width / tiles;
    pixels = (double)(g->tile_h * g->tile_w);
    limit = floor((double)clip * pixels / LEVELS);
    g->limit = (int32_t)(limit < 1 ? 1 : limit > pixels ? pixels : limit);
    g->scale = (float)(LEVELS - 1) / (float)(g->tile_h * g->tile_w);
    for (i = 0; i < US_CLAHE_OPEN; i++)
        g->open[i] = -1;
}

size_t us_clahe_size(int tiles) {
    return (size_t)tiles * (size_t)tiles * LEVELS;
}

size_t us_clahe_scratch(int tiles) {
    return (size_t)tiles * LEVELS * sizeof(int32_t) * US_CLAHE_OPEN;
}

/* v >= 0, below 2^22, to the nearest integer, half to even: the addition rounds at the unit's place. */
static uint8_t to_byte(float v) {
    float r = v + 12582912.0f;
    r -= 12582912.0f;
    return r > 255.0f ? 255 : (uint8_t)r;
}

static void clip_histogram(int32_t hist[LEVELS], int32_t limit) {
    int32_t excess = 0, rest, step;
    int i;
    for (i = 0; i < LEVELS; i++)
        if (hist[i] > limit) {
            excess += hist[i] - limit;
            hist[i] = limit;
        }
    rest = excess % LEVELS;
    for (i = 0; i < LEVELS; i++)
        hist[i] += excess / LEVELS;
    step = rest ? US_MAX(LEVELS / rest, 1) : 1;
    for (i = 0; i < LEVELS && rest > 0; i += step, rest--)
        hist[i]++;
}

/* The tables of a row of tiles, of its histograms. */
static void make_tables(const struct us_clahe *g, int64_t ty, int32_t *counts) {
    uint8_t *table = g->tables + ty * g->tiles * LEVELS;
    int tx, i;
    for (tx = 0; tx < g->tiles; tx++, counts += LEVELS, table += LEVELS) {
        int32_t sum = 0;
        clip_histogram(counts, g->limit);
        for (i = 0; i < LEVELS; i++) {
            sum += counts[i];
            table[i] = to_byte((float)sum * g->scale);
        }
    }
}

/*
 * Two rows of tiles at most are open at once. The rows of the image itself fill one row of tiles after the other, and so does
 * each run of reflected rows, downwards or upwards. An image with more rows than tiles is continued by less than its own
 * height: that is one run beside the image. With as many rows as tiles, each row of tiles has two rows of pixels, and one
 * more row than a run can hold is added: it completes what the run has begun with. With fewer, a row of tiles is a row of
 * pixels, complete at once.
 */
static int open_tiles(struct us_clahe *g, int64_t ty) {
    int k, at = -1;
    for (k = 0; k < US_CLAHE_OPEN; k++) {
        if (g->open[k] == ty)
            return k;
        if (g->open[k] < 0)
            at = k;
    }
    g->open[at] = ty;
    g->rows[at] = 0;
    memset(g->counts + (int64_t)at * g->tiles * LEVELS, 0, (size_t)g->tiles * LEVELS * sizeof g->counts[0]);
    return at;
}

int64_t us_clahe_next(const struct us_clahe *g, int64_t y, int64_t i) {
    for (i = US_MAX(i + 1, g->height); i < g->tile_h * g->tiles; i++)
        if (reflect(i, g->height) == y)
            return i;
    return -1;
}

void us_clahe_count(struct us_clahe *g, int64_t i, int64_t x, int64_t n, const uint8_t *bytes) {
    const int k = open_tiles(g, i / g->tile_h);
    int32_t *counts = g->counts + (int64_t)k * g->tiles * LEVELS, *tile = counts + x / g->tile_w * LEVELS;
    int64_t left = g->tile_w - x % g->tile_w, at;
    for (at = 0; at < n; at++) {
        tile[bytes[at]]++;
        if (--left == 0) {
            tile += LEVELS;
            left = g->tile_w;
        }
    }
    for (at = g->width; at < g->tile_w * g->tiles; at++) { /* the reflected columns */
        int64_t from = reflect(at, g->width) - x;
        if (from >= 0 && from < n)
            counts[at / g->tile_w * LEVELS + bytes[from]]++;
    }
    if (x + n == g->width && ++g->rows[k] == g->tile_h) {
        make_tables(g, g->open[k], counts);
        g->open[k] = -1;
    }
}

/* The two tiles beside coordinate i and the weight of the second. */
static void neighbours(int64_t i, float inverse, int tiles, int *first, int *second, float *weight) {
    float t = (float)i * inverse - 0.5f, low = floorf(t);
    int n = (int)low;
    *weight = t - low;
    *first = n < 0 ? 0 : n;
    *second = n + 1 < tiles ? n + 1 : tiles - 1;
}

void us_clahe_apply(const struct us_clahe *g, int64_t y, int64_t x, int64_t n, uint8_t *bytes) {
    const float inverse_h = 1.0f / (float)g->tile_h, inverse_w = 1.0f / (float)g->tile_w;
    const uint8_t *upper, *lower;
    int first, second;
    float wy;
    int64_t k;
    neighbours(y, inverse_h, g->tiles, &first, &second, &wy);
    upper = g->tables + (int64_t)first * g->tiles * LEVELS;
    lower = g->tables + (int64_t)second * g->tiles * LEVELS;
    for (k = 0; k < n; k++) {
        int left, right, v = bytes[k];
        float wx, top, bottom;
        neighbours(x + k, inverse_w, g->tiles, &left, &right, &wx);
        left = left * LEVELS + v;
        right = right * LEVELS + v;
        top = (float)upper[left] * (1.0f - wx) + (float)upper[right] * wx;
        bottom = (float)lower[left] * (1.0f - wx) + (float)lower[right] * wx;
        bytes[k] = to_byte(top * (1.0f - wy) + bottom * wy);
    }
}
