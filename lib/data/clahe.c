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

struct grid {
    int64_t height, width, tile_h, tile_w;
    int tiles;
};

/* Index of the continued image in the image: ... 2 1 [0 1 2 ... n-1] n-2 n-3 ... */
static int64_t reflect(int64_t i, int64_t n) {
    if (n == 1)
        return 0;
    while (i >= n || i < 0)
        i = i < 0 ? -i : 2 * (n - 1) - i;
    return i;
}

static void plan(struct grid *g, int64_t height, int64_t width, int tiles) {
    g->height = height;
    g->width = width;
    g->tiles = tiles;
    if (height % tiles || width % tiles) {
        height += tiles - height % tiles;
        width += tiles - width % tiles;
    }
    g->tile_h = height / tiles;
    g->tile_w = width / tiles;
}

/* v >= 0, below 2^22, to the nearest integer, half to even: the addition rounds at the unit's place. */
static uint8_t to_byte(float v) {
    float r = v + 12582912.0f;
    r -= 12582912.0f;
    return r > 255.0f ? 255 : (uint8_t)r;
}

static void tile_histogram(const struct grid *g, const uint8_t *plane, int ty, int tx, int32_t hist[LEVELS]) {
    int64_t x0 = tx * g->tile_w, x1 = x0 + g->tile_w, y, x;
    memset(hist, 0, LEVELS * sizeof hist[0]);
    for (y = ty * g->tile_h; y < (ty + 1) * g->tile_h; y++) {
        const uint8_t *row = plane + reflect(y, g->height) * g->width;
        for (x = x0; x < US_MIN(x1, g->width); x++)
            hist[row[x]]++;
        for (; x < x1; x++)
            hist[row[reflect(x, g->width)]]++;
    }
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

static void tile_tables(const struct grid *g, const uint8_t *plane, float clip, uint8_t *tables) {
    int64_t pixels = g->tile_h * g->tile_w;
    float scale = (float)(LEVELS - 1) / (float)pixels;
    double limit = floor((double)clip * (double)pixels / LEVELS);
    int32_t hist[LEVELS], sum;
    int ty, tx, i;
    limit = limit < 1 ? 1 : limit > (double)pixels ? (double)pixels : limit;
    for (ty = 0; ty < g->tiles; ty++)
        for (tx = 0; tx < g->tiles; tx++) {
            uint8_t *table = tables + ((int64_t)ty * g->tiles + tx) * LEVELS;
            tile_histogram(g, plane, ty, tx, hist);
            clip_histogram(hist, (int32_t)limit);
            for (sum = 0, i = 0; i < LEVELS; i++) {
                sum += hist[i];
                table[i] = to_byte((float)sum * scale);
            }
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

static void interpolate(const struct grid *g, uint8_t *plane, const uint8_t *tables) {
    const float inverse_h = 1.0f / (float)g->tile_h, inverse_w = 1.0f / (float)g->tile_w;
    int64_t y, x;
    for (y = 0; y < g->height; y++) {
        uint8_t *row = plane + y * g->width;
        const uint8_t *upper, *lower;
        int first, second;
        float wy;
        neighbours(y, inverse_h, g->tiles, &first, &second, &wy);
        upper = tables + (int64_t)first * g->tiles * LEVELS;
        lower = tables + (int64_t)second * g->tiles * LEVELS;
        for (x = 0; x < g->width; x++) {
            int left, right, v = row[x];
            float wx, top, bottom;
            neighbours(x, inverse_w, g->tiles, &left, &right, &wx);
            left = left * LEVELS + v;
            right = right * LEVELS + v;
            top = (float)upper[left] * (1.0f - wx) + (float)upper[right] * wx;
            bottom = (float)lower[left] * (1.0f - wx) + (float)lower[right] * wx;
            row[x] = to_byte(top * (1.0f - wy) + bottom * wy);
        }
    }
}

size_t us_clahe_size(int tiles) {
    return (size_t)tiles * (size_t)tiles * LEVELS;
}

void us_clahe_with(uint8_t *plane, int64_t height, int64_t width, int tiles, float clip, uint8_t *tables) {
    struct grid g;
    plan(&g, height, width, tiles);
    tile_tables(&g, plane, clip, tables);
    interpolate(&g, plane, tables);
}

int us_clahe(us_context *ctx, uint8_t *plane, int64_t height, int64_t width, int tiles, float clip) {
    uint8_t *tables = (uint8_t *)us_alloc(ctx, us_clahe_size(tiles));
    if (!tables)
        return UNETSTAR_ENOMEM;
    us_clahe_with(plane, height, width, tiles, clip, tables);
    us_free(ctx, tables);
    return 0;
}
