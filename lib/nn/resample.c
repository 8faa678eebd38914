/* resample.c - bilinear upsampling by 2 of one plane (align_corners off) and its transpose. */
#include "nn/map.h"

#include <string.h>

/* Output row or column i takes 3/4 of the nearest input and 1/4 of the next one on i's side, clamped at the border. */
int us_bilinear_near(int i) {
    return i / 2;
}

int us_bilinear_far(int i, int size) {
    const int other = i % 2 ? i / 2 + 1 : i / 2 - 1;
    return other < 0 ? 0 : other >= size ? size - 1 : other;
}

static float blend(float near, float far) {
    return 0.75f * near + 0.25f * far;
}

void us_row_bilinear(const float *near, const float *far, int w, float *y) {
    int j;
    for (j = 0; j < 2 * w; j++) {
        const int a = us_bilinear_near(j), b = us_bilinear_far(j, w);
        y[j] = blend(blend(near[a], far[a]), blend(near[b], far[b]));
    }
}

void us_plane_bilinear(const float *x, int h, int w, float *y) {
    int i;
    for (i = 0; i < 2 * h; i++)
        us_row_bilinear(x + (size_t)us_bilinear_near(i) * (size_t)w, x + (size_t)us_bilinear_far(i, h) * (size_t)w, w,
                        y + (size_t)i * 2 * (size_t)w);
}

void us_plane_bilinear_grad(const float *dy, int h, int w, float *dx) {
    int i, j;
    memset(dx, 0, (size_t)h * (size_t)w * sizeof *dx);
    for (i = 0; i < 2 * h; i++) {
        const float *g = dy + (size_t)i * 2 * (size_t)w;
        float *near = dx + (size_t)us_bilinear_near(i) * (size_t)w, *far = dx + (size_t)us_bilinear_far(i, h) * (size_t)w;
        for (j = 0; j < 2 * w; j++) {
            const int a = us_bilinear_near(j), b = us_bilinear_far(j, w);
            near[a] += 0.5625f * g[j];
            near[b] += 0.1875f * g[j];
            far[a] += 0.1875f * g[j];
            far[b] += 0.0625f * g[j];
        }
    }
}
