/* color_planes.c - planes that a colour image has beside gray and green, for training on mixtures of them. */
#include "data/data.h"

#include <math.h>

struct job {
    const struct us_image *image;
    const float *linear; /* of every value a sample can have, for LIGHTNESS */
    uint16_t *out;
    int plane;
    int64_t band; /* rows of a task */
};

/* IEC 61966-2-1. */
static double srgb_to_linear(double v) {
    return v <= 0.04045 ? v / 12.92 : us_pow((v + 0.055) / 1.055, 2.4);
}

/* CIE L* / 100 of the relative luminance. */
static double lightness(double y) {
    return y > 216.0 / 24389.0 ? 1.16 * us_pow(y, 1.0 / 3.0) - 0.16 : y * (24389.0 / 2700.0);
}

/* The plane's value of a pixel, in [0, 1]; most is the largest sample. */
static double value(const struct job *job, int r, int g, int b, double most) {
    switch (job->plane) {
    case US_COLOR_PLANE_X:
        return (0.412453 * r + 0.357580 * g + 0.180423 * b) / (0.950456 * most);
    case US_COLOR_PLANE_LIGHTNESS:
        return lightness(0.212671 * (double)job->linear[r] + 0.715160 * (double)job->linear[g] +
                         0.072169 * (double)job->linear[b]);
    default:
        return (US_MAX(US_MAX(r, g), b) + US_MIN(US_MIN(r, g), b)) / (2.0 * most);
    }
}

static void rows_task(void *arg, int64_t index, int worker) {
    const struct job *job = (const struct job *)arg;
    const struct us_image *image = job->image;
    const double most = image->bits == 16 ? 65535.0 : 255.0;
    const int64_t end = US_MIN((index + 1) * job->band, image->height);
    int64_t y, x;
    (void)worker;
    for (y = index * job->band; y < end; y++)
        for (x = 0; x < image->width; x++) {
            const int r = us_image_sample(image, y, x, 0), g = us_image_sample(image, y, x, 1),
                      b = us_image_sample(image, y, x, 2);
            const double v = floor(value(job, r, g, b, most) * 65535.0 + 0.5);
            job->out[y * image->width + x] = v < 65535.0 ? (uint16_t)v : 65535; /* v >= 0 */
        }
}

int us_color_plane(us_context *ctx, const struct us_image *image, int plane, uint16_t *out) {
    const int count = image->bits == 16 ? 65536 : 256;
    float *linear = NULL;
    struct job job;
    int code, k;
    if (plane == US_COLOR_PLANE_LIGHTNESS) {
        linear = (float *)us_alloc(ctx, (size_t)count * sizeof *linear);
        if (!linear)
            return UNETSTAR_ENOMEM;
        for (k = 0; k < count; k++)
            linear[k] = (float)srgb_to_linear(k / (double)(count - 1));
    }
    job.image = image;
    job.linear = linear;
    job.out = out;
    job.plane = plane;
    job.band = US_MAX((1 << 14) / image->width, 1);
    code = us_parallel(ctx, NULL, rows_task, &job, (image->height + job.band - 1) / job.band);
    us_free(ctx, linear);
    return code;
}
