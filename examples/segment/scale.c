/* scale.c - a model knows vessels of some widths only, so a photograph whose field of view is far larger or
 * smaller than those it was trained on is segmented at another size, and the map is brought back to the first one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"

/* Fields of view across which the model inside the program does well, and what others are brought to
 * (docs/default-model.md). */
#define FIELD_LEAST 300
#define FIELD_MOST 1000
#define FIELD_WANTED 650
/* A small field found by mistake in a large picture must not make it huge. */
#define ENLARGED_MOST 2000

/* ---- Resampling: pixels are squares, so that corners meet corners ---- */

enum { TAKE_NEAREST, TAKE_MEAN };

/* The samples of a line of `from` that make sample i of one of `to`: where they begin, and weights that add up to 1.
 * Down: by the area they share; up: linear between two centres. Returns how many; weights holds from / to + 2. */
static int64_t taps(int64_t i, int64_t from, int64_t to, int how, int64_t *first, float *weights) {
    const double ratio = (double)from / (double)to, low = (double)i * ratio, high = low + ratio;
    double centre = low + ratio / 2 - .5;
    int64_t k, n;
    if (how == TAKE_NEAREST) {
        *first = (2 * i + 1) * from / (2 * to);
        weights[0] = 1;
        return 1;
    }
    if (from <= to) {
        centre = centre < 0 ? 0 : centre > (double)(from - 1) ? (double)(from - 1) : centre;
        *first = (int64_t)centre;
        weights[1] = (float)(centre - (double)*first);
        weights[0] = 1 - weights[1];
        return *first + 1 < from ? 2 : 1;
    }
    *first = (int64_t)low;
    n = (int64_t)ceil(high - 1e-9) - *first;
    n = n < from - *first ? n : from - *first;
    for (k = 0; k < n; k++) {
        double begin = (double)(*first + k), end = begin + 1;
        weights[k] = (float)(((end < high ? end : high) - (begin > low ? begin : low)) / ratio);
    }
    return n;
}

static void add_line(float *sum, const unsigned char *line, int64_t n, int bits, float weight) {
    int64_t x;
    for (x = 0; x < n; x++)
        sum[x] += weight * (bits == 8    ? (float)line[x]
                            : bits == 16 ? (float)((const uint16_t *)(const void *)line)[x]
                                         : ((const float *)(const void *)line)[x]);
}

static void store(unsigned char *line, int64_t x, int bits, float value) {
    if (bits == 8)
        line[x] = (unsigned char)(value < 255 ? value + .5F : 255.F);
    else if (bits == 16)
        ((uint16_t *)(void *)line)[x] = (uint16_t)(value < 65535 ? value + .5F : 65535.F);
    else
        ((float *)(void *)line)[x] = value;
}

/* Samples of 8, 16 or, floats, 32 bits. -1: out of memory. */
static int resample(const struct picture *from, struct picture *to, int how) {
    const int64_t channels = from->channels, line = from->width * channels, size = from->bits / 8;
    int64_t x, y, c, k, first, n, longest = from->width > from->height ? from->width : from->height;
    float *sum = malloc((size_t)line * sizeof *sum), *weights = malloc((size_t)(longest + 2) * sizeof *weights);
    int result = sum && weights ? 0 : -1;
    for (y = 0; y < to->height && !result; y++) {
        unsigned char *out = to->data + y * to->width * channels * size;
        memset(sum, 0, (size_t)line * sizeof *sum);
        n = taps(y, from->height, to->height, how, &first, weights);
        for (k = 0; k < n; k++)
            add_line(sum, from->data + (first + k) * line * size, line, from->bits, weights[k]);
        for (x = 0; x < to->width; x++) {
            n = taps(x, from->width, to->width, how, &first, weights);
            for (c = 0; c < channels; c++) {
                float value = 0;
                for (k = 0; k < n; k++)
                    value += weights[k] * sum[(first + k) * channels + c];
                store(out, x * channels + c, from->bits, value);
            }
        }
    }
    free(sum);
    free(weights);
    return result;
}

/* ---- By how much ---- */

/* The larger side of what the mask holds: a field is often cut off above and below. 0: it is empty. */
static int64_t field_across(const unsigned char *mask, int64_t width, int64_t height) {
    int64_t x, y, left = width, right = -1, top = height, bottom = -1;
    for (y = 0; y < height; y++)
        for (x = 0; x < width; x++)
            if (mask[y * width + x]) {
                left = x < left ? x : left;
                right = x > right ? x : right;
                top = y < top ? y : top;
                bottom = y;
            }
    return right - left > bottom - top ? right - left + 1 : right < 0 ? 0 : bottom - top + 1;
}

static double wanted_scale(const struct picture *photo, int64_t across) {
    const int64_t side = photo->width > photo->height ? photo->width : photo->height;
    double scale = (double)FIELD_WANTED / (double)across, most = (double)ENLARGED_MOST / (double)side;
    if (across >= FIELD_LEAST && across <= FIELD_MOST)
        return 1;
    most = most > 1 ? most : 1;
    return scale > most ? most : scale;
}

int scale_begin(const struct run *run, struct job *job, struct scaled *scaled, struct problem *problem) {
    const struct picture *photo = &job->photo;
    const char *name = job->path ? job->path : job->name, *what = "field of view";
    double scale = run->settings.scale;
    int64_t across = 0, pixels = photo->width * photo->height;
    unetstar_image image;
    int32_t source = UNETSTAR_FIELD_GIVEN;
    int error;
    memset(scaled, 0, sizeof *scaled);
    scaled->photo = *photo;
    if (scale == 1) /* NaN: auto */
        return 0;
    scaled->field = malloc((size_t)pixels);
    if (!scaled->field)
        return problem_set(problem, "%s: out of memory", name);
    picture_describe(photo, &image);
    if (job->mask.data)
        memcpy(scaled->field, job->mask.data, (size_t)pixels);
    else if ((error = unetstar_find_field_of_view(run->launch.context, &image, scaled->field, &source)) != 0)
        return problem_from_library(problem, name, error);
    if (isnan(scale)) {
        across = field_across(scaled->field, photo->width, photo->height);
        if (!across || source == UNETSTAR_FIELD_WHOLE) {
            across = photo->width > photo->height ? photo->width : photo->height;
            what = "no field of view found; larger side";
        }
        scale = wanted_scale(photo, across);
    }
    scaled->photo.width = (int64_t)floor((double)photo->width * scale + .5);
    scaled->photo.height = (int64_t)floor((double)photo->height * scale + .5);
    scaled->photo.width += !scaled->photo.width;
    scaled->photo.height += !scaled->photo.height;
    if (scaled->photo.width == photo->width && scaled->photo.height == photo->height)
        return 0;
    if (scaled->photo.width > PICTURE_MAX_SIDE || scaled->photo.height > PICTURE_MAX_SIDE ||
        scaled->photo.width * scaled->photo.height > PICTURE_MAX_PIXELS)
        return problem_set(problem, "%s: at %.3g of its size it is too large", name, scale);
    scaled->on = 1;
    scaled->mask = scaled->photo;
    scaled->mask.channels = 1;
    scaled->mask.bits = 8;
    scaled->mask.data = NULL;
    pixels = scaled->photo.width * scaled->photo.height;
    scaled->photo.data = malloc((size_t)(pixels * photo->channels * photo->bits / 8));
    if (job->mask.data)
        scaled->mask.data = malloc((size_t)pixels);
    if (!scaled->photo.data || (job->mask.data && !scaled->mask.data) || resample(photo, &scaled->photo, TAKE_MEAN) ||
        (job->mask.data && resample(&job->mask, &scaled->mask, TAKE_NEAREST)))
        return problem_set(problem, "%s: out of memory", name);
    if (!run->settings.quiet && across)
        fprintf(stderr, "%s: %s of %lld pixels, segmented at %.3g of its size\n", name, what, (long long)across, scale);
    return 0;
}

int scale_back(const struct run *run, struct job *job, const struct scaled *scaled, struct problem *problem) {
    const int64_t pixels = job->photo.width * job->photo.height;
    struct picture from = {(unsigned char *)job->probability, scaled->photo.width, scaled->photo.height, 1, 32};
    struct picture to = {NULL, job->photo.width, job->photo.height, 1, 32};
    int64_t i;
    if (!scaled->on)
        return 0;
    to.data = malloc((size_t)pixels * sizeof *job->probability);
    if (!to.data || resample(&from, &to, TAKE_MEAN)) {
        free(to.data);
        return problem_set(problem, "%s: out of memory", job->name);
    }
    free(job->probability);
    job->probability = (float *)(void *)to.data;
    for (i = 0; i < pixels && run->settings.clip; i++) /* the field's edge has been smoothed */
        if (!scaled->field[i])
            job->probability[i] = 0;
    return 0;
}

void scale_end(struct scaled *scaled) {
    if (scaled->on) {
        free(scaled->photo.data);
        free(scaled->mask.data);
    }
    free(scaled->field);
}
