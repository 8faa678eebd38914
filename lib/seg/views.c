/* views.c - turning and mirroring planes, and back. */
#include "seg/views.h"

/* Where pixel (y, x) of an (h, w) plane goes in view v. */
static int64_t place(int v, int64_t h, int64_t w, int64_t y, int64_t x) {
    int64_t rows = h, cols = w, r = y, c = x;
    if (US_VIEW_TRANSPOSED(v)) {
        rows = w;
        cols = h;
        r = x;
        c = y;
    }
    if (v & 1)
        c = cols - 1 - c;
    if (v & 2)
        r = rows - 1 - r;
    return r * cols + c;
}

void us_view_apply(int v, int64_t planes, int64_t h, int64_t w, const float *from, float *to) {
    int64_t p, y, x;
    for (p = 0; p < planes; p++, from += h * w, to += h * w)
        for (y = 0; y < h; y++)
            for (x = 0; x < w; x++)
                to[place(v, h, w, y, x)] = from[y * w + x];
}

void us_view_add_back(int v, int64_t planes, int64_t h, int64_t w, const float *from, float *sum) {
    int64_t p, y, x;
    for (p = 0; p < planes; p++, from += h * w, sum += h * w)
        for (y = 0; y < h; y++)
            for (x = 0; x < w; x++)
                sum[y * w + x] += from[place(v, h, w, y, x)];
}
