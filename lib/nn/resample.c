/* resample.c - bilinear upsampling by 2 of one plane (align_corners off) and its transpose. */
#include "nn/map.h"

#include <string.h>

/* Output row or column i takes 3/4 of the nearest input and 1/4 of the next one on i's side, clamped at the border. */
static int nearest(int i) {
    return i / 2;
}

static int farther(int i, int size) {
    const int other = i % 2 ? i / 2 + 1 : i / 2 - 1;
    return other < 0 ? 0 : other >= size ? size - 1 : other;
}

static float blend(float near, float far) {
    return 0.75f * near + 0.25f * far;
}

void us_plane_bilinear(const float *x, int h, int w, float *y) {
    int i, j;
    for (i = 0; i < 2 * h; i++) {
        const float *near = x + (size_t)nearest(i) * (size_t)w, *far = x + (size_t)farther(i, h) * (size_t)w;
        float *out = y + (size_t)i * 2 * (size_t)w;
        for (j = 0; j < 2 * w; j++) {
            const int a = nearest(j), b = farther(j, w);
            out[j] = blend(blend(near[a], far[a]), blend(near[b], far[b]));
        }
    }
}

void us_plane_bilinear_grad(const float *dy, int h, int w, float *dx) {
    int i, j;
    memset(dx, 0, (size_t)h * (size_t)w * sizeof *dx);
    for (i = 0; i < 2 * h; i++) {
        const float *g = dy + (size_t)i * 2 * (size_t)w;
        float *near = dx + (size_t)nearest(i) * (size_t)w, *far = dx + (size_t)farther(i, h) * (size_t)w;
        for (j = 0; j < 2 * w; j++) {
            const int a = nearest(j), b = farther(j, w);
            near[a] += 0.5625f * g[j];
            near[b] += 0.1875f * g[j];
            far[a] += 0.1875f * g[j];
            far[b] += 0.0625f * g[j];
        }
    }
}
