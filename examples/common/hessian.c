#include "hessian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

/* Lengths in pixels of a photograph whose field of view is 650 pixels wide, as those of STARE, on which all of these
 * numbers were chosen. */
static const double reference_width = 650;
static const double scales[] = {1.4, 2.0, 2.8, 4.0, 5.6};
enum { SCALES = sizeof scales / sizeof scales[0] };
static const double smallest_scale = 0.7; /* real pixels */
static const double light_radius = 20;    /* of three boxes, one after another, that follow the light */
static const double border_width = 2;     /* of the mask, not trusted */

/* In standard deviations: what is brighter (the edges of bright spots look like vessels) or darker counts as this. */
static const float brightest = 0.5f, darkest = -3;
static const double flat = 1e-4; /* of the full range: a smaller deviation is rounding, not contrast */

static int64_t clamped(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static float *new_plane(int64_t width, int64_t height) {
    return must_allocate((size_t)(width * height), sizeof(float));
}

/* ---- Second derivatives ---- */

/* Samples of a Gaussian at -radius..radius, with sum 1. */
static float *gaussian(double sigma, int64_t *radius) {
    int64_t n = (int64_t)ceil(4 * sigma), k;
    float *weights = must_allocate((size_t)(2 * n + 1), sizeof *weights);
    double sum = 0;
    for (k = -n; k <= n; k++)
        sum += exp(-(double)(k * k) / (2 * sigma * sigma));
    for (k = -n; k <= n; k++)
        weights[k + n] = (float)(exp(-(double)(k * k) / (2 * sigma * sigma)) / sum);
    *radius = n;
    return weights;
}

static void smooth(float *out, const float *picture, int64_t width, int64_t height, double sigma) {
    int64_t radius, x, y, k;
    float *weights = gaussian(sigma, &radius), *line = must_allocate((size_t)(width + 2 * radius), sizeof *line);
    float *rows = new_plane(width, height);
    for (y = 0; y < height; y++) {
        for (x = 0; x < width + 2 * radius; x++)
            line[x] = picture[y * width + clamped(x - radius, width)];
        for (k = 0; k <= 2 * radius; k++)
            for (x = 0; x < width; x++)
                rows[y * width + x] += weights[k] * line[x + k];
    }
    memset(out, 0, (size_t)(width * height) * sizeof *out);
    for (y = 0; y < height; y++)
        for (k = 0; k <= 2 * radius; k++) {
            const float *from = rows + clamped(y + k - radius, height) * width;
            for (x = 0; x < width; x++)
                out[y * width + x] += weights[k] * from[x];
        }
    free(weights);
    free(line);
    free(rows);
}

void hessian_eigenvalue(float *response, const float *picture, int64_t width, int64_t height, double sigma) {
    float *smoothed = new_plane(width, height), scale = (float)(sigma * sigma);
    int64_t x, y;
    smooth(smoothed, picture, width, height, sigma);
    for (y = 0; y < height; y++) {
        const float *above = smoothed + clamped(y - 1, height) * width, *at = smoothed + y * width;
        const float *below = smoothed + clamped(y + 1, height) * width;
        for (x = 0; x < width; x++) {
            int64_t left = clamped(x - 1, width), right = clamped(x + 1, width);
            float xx = at[left] - 2 * at[x] + at[right], yy = above[x] - 2 * at[x] + below[x];
            float xy = (below[right] - below[left] - above[right] + above[left]) / 4, half = (xx - yy) / 2;
            response[y * width + x] = scale * ((xx + yy) / 2 + sqrtf(half * half + xy * xy));
        }
    }
    free(smoothed);
}

/* ---- Light and contrast ---- */

/* Sums over (2 radius + 1)^2 boxes, with zeros beyond the border, by running sums. */
static void box(float *plane, int64_t width, int64_t height, int64_t radius) {
    double *sums = must_allocate((size_t)width, sizeof *sums), sum;
    float *before = new_plane(width, height);
    int64_t x, y;
    memcpy(before, plane, (size_t)(width * height) * sizeof *plane);
    for (y = 0; y < height; y++) {
        const float *from = before + y * width;
        sum = 0;
        for (x = 0; x < radius && x < width; x++)
            sum += (double)from[x];
        for (x = 0; x < width; x++) {
            sum += x + radius < width ? (double)from[x + radius] : 0;
            sum -= x - radius > 0 ? (double)from[x - radius - 1] : 0;
            plane[y * width + x] = (float)sum;
        }
    }
    memcpy(before, plane, (size_t)(width * height) * sizeof *plane);
    for (y = -radius; y < height; y++)
        for (x = 0; x < width; x++) {
            sums[x] += y + radius < height ? (double)before[(y + radius) * width + x] : 0;
            sums[x] -= y - radius > 0 ? (double)before[(y - radius - 1) * width + x] : 0;
            if (y >= 0)
                plane[y * width + x] = (float)sums[x];
        }
    free(sums);
    free(before);
}

static float green(const unetstar_image *photo, int64_t x, int64_t y) {
    int64_t stride = photo->row_stride ? photo->row_stride : photo->width * photo->channels * (photo->bits / 8);
    const unsigned char *row = (const unsigned char *)photo->data + y * stride;
    int64_t sample = x * photo->channels + (photo->channels > 1);
    return photo->bits == 16 ? (float)((const uint16_t *)(const void *)row)[sample] / 65535.0f
                             : (float)row[sample] / 255.0f;
}

/* What is darker and lighter than its surroundings, in units of the standard deviation within the mask; 0 outside, so
 * that there is no edge where the photograph ends. */
static void even_out(float *plane, const unetstar_image *photo, const float *inside, int64_t radius) {
    int64_t width = photo->width, height = photo->height, n = width * height, i;
    float *light = new_plane(width, height), *weight = new_plane(width, height);
    double squares = 0, count = 0, deviation;
    int pass;
    for (i = 0; i < n; i++) {
        plane[i] = green(photo, i % width, i / width);
        light[i] = plane[i] * inside[i];
        weight[i] = inside[i];
    }
    for (pass = 0; pass < 3; pass++) {
        box(light, width, height, radius);
        box(weight, width, height, radius);
        /* Sums of sums grow; what counts is their ratio. */
        for (i = 0; i < n; i++) {
            light[i] /= (float)((2 * radius + 1) * (2 * radius + 1));
            weight[i] /= (float)((2 * radius + 1) * (2 * radius + 1));
        }
    }
    for (i = 0; i < n; i++) {
        plane[i] = inside[i] > 0 && weight[i] > 0 ? plane[i] - light[i] / weight[i] : 0;
        squares += (double)plane[i] * (double)plane[i];
        count += (double)inside[i];
    }
    deviation = count > 0 ? sqrt(squares / count) : 0;
    for (i = 0; i < n; i++) {
        float value = deviation > flat ? (float)((double)plane[i] / deviation) : 0;
        plane[i] = value > brightest ? brightest : value < darkest ? darkest : value;
    }
    free(light);
    free(weight);
}

/* 1 where no pixel of the box around lies outside of the mask; what is beyond the picture does not count. */
static void erode(float *eroded, const float *inside, int64_t width, int64_t height, int64_t radius) {
    int64_t i;
    for (i = 0; i < width * height; i++)
        eroded[i] = 1 - inside[i];
    box(eroded, width, height, radius);
    for (i = 0; i < width * height; i++)
        eroded[i] = eroded[i] < 0.5f ? 1.0f : 0.0f;
}

void hessian_vesselness(float *response, const unetstar_image *photo, const uint8_t *mask) {
    int64_t width = photo->width, height = photo->height, n = width * height, i, area = 0, radius;
    float *inside = new_plane(width, height), *plane = new_plane(width, height), *one = new_plane(width, height);
    double unit; /* a pixel of the reference */
    int k;
    for (i = 0; i < n; i++) {
        inside[i] = !mask || mask[i] ? 1.0f : 0.0f;
        area += inside[i] > 0;
    }
    unit = sqrt((double)area / 3.14159265358979) * 2 / reference_width;
    radius = (int64_t)(light_radius * unit + 0.5);
    even_out(plane, photo, inside, radius > 3 ? radius : 3);
    memset(response, 0, (size_t)n * sizeof *response);
    for (k = 0; k < SCALES; k++) {
        double sigma = scales[k] * unit;
        hessian_eigenvalue(one, plane, width, height, sigma > smallest_scale ? sigma : smallest_scale);
        for (i = 0; i < n; i++)
            response[i] += one[i] > 0 ? one[i] : 0;
    }
    erode(one, inside, width, height, (int64_t)(border_width * unit + 0.5));
    for (i = 0; i < n; i++)
        response[i] *= one[i];
    free(inside);
    free(plane);
    free(one);
}
