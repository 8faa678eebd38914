/* dataset.c - images with label, field of view and name; samples are stored once and shared by the datasets that hold
 * them. */
#include "data/data.h"

#include <string.h>

/* ---- Samples ---- */

struct us_sample *us_sample_ref(struct us_sample *sample) {
    us_atomic_add(&sample->refs, 1);
    return sample;
}

void us_sample_unref(struct us_sample *sample) {
    us_context *ctx;
    if (!sample || us_atomic_add(&sample->refs, -1) > 0)
        return;
    ctx = sample->ctx;
    us_free(ctx, sample->name);
    us_free(ctx, (void *)sample->image.data);
    us_free(ctx, sample->label);
    us_free(ctx, sample->mask);
    us_free(ctx, sample);
    us_context_unref(ctx);
}

/* A sample with a name, room for a packed image of this format, and a mask not yet filled. */
static struct us_sample *sample_new(us_context *ctx, const char *name, int64_t width, int64_t height, int channels,
                                    int bits) {
    struct us_sample *sample = (struct us_sample *)us_alloc_zero(ctx, sizeof *sample);
    size_t count = (size_t)width * (size_t)height;
    if (!sample)
        return NULL;
    sample->refs = 1;
    sample->ctx = us_context_ref(ctx);
    sample->image.width = width;
    sample->image.height = height;
    sample->image.channels = channels;
    sample->image.bits = bits;
    sample->image.stride = width * channels * (bits / 8);
    sample->name = us_strdup(ctx, name);
    sample->image.data = us_alloc(ctx, (size_t)sample->image.stride * (size_t)height);
    sample->mask = (uint8_t *)us_alloc(ctx, count);
    if (!sample->name || !sample->image.data || !sample->mask) {
        us_sample_unref(sample);
        return NULL;
    }
    return sample;
}

/* Class numbers: values up to 7 are taken as they are, else everything from half of the largest upwards is class 1. */
static void label_convert(const struct us_image *label, uint8_t *out) {
    int largest = 0, v;
    int64_t y, x;
    for (y = 0; y < label->height; y++)
        for (x = 0; x < label->width; x++) {
            v = us_image_sample(label, y, x, 0);
            largest = v > largest ? v : largest;
        }
    for (y = 0; y < label->height; y++)
        for (x = 0; x < label->width; x++) {
            v = us_image_sample(label, y, x, 0);
            *out++ = (uint8_t)(largest <= 7 ? v : 2 * v >= largest);
        }
}

/* Inside is everything from half of the largest value upwards, but not 0. */
static void mask_convert(const struct us_image *mask, uint8_t *out) {
    int largest = 1, v;
    int64_t y, x;
    for (y = 0; y < mask->height; y++)
        for (x = 0; x < mask->width; x++) {
            v = us_image_sample(mask, y, x, 0);
            largest = v > largest ? v : largest;
        }
    for (y = 0; y < mask->height; y++)
        for (x = 0; x < mask->width; x++)
            *out++ = 2 * us_image_sample(mask, y, x, 0) >= largest ? 255 : 0;
}

static int same_size(const char *name, const char *what, const struct us_image *part, const struct us_image *image) {
    if (part->channels != 1)
        return us_fail(UNETSTAR_ESHAPE, "%.200s: the %s has %d channels; it must have one", name, what, part->channels);
    if (part->width != image->width || part->height != image->height)
        return us_fail(UNETSTAR_ESHAPE, "%.200s: the %s is %lld x %lld but the image %lld x %lld", name, what,
                       (long long)part->width, (long long)part->height, (long long)image->width,
                       (long long)image->height);
    return 0;
}

/* ---- Datasets ---- */

int us_dataset_create(us_dataset **out, us_context *ctx) {
    us_dataset *dataset = (us_dataset *)us_alloc_zero(ctx, sizeof *dataset);
    *out = NULL;
    if (!dataset)
        return UNETSTAR_ENOMEM;
    dataset->ctx = us_context_ref(ctx);
    *out = dataset;
    return 0;
}

void us_dataset_destroy(us_dataset *dataset) {
    us_context *ctx;
    int64_t i;
    if (!dataset)
        return;
    ctx = dataset->ctx;
    for (i = 0; i < dataset->count; i++)
        us_sample_unref(dataset->samples[i]);
    us_free(ctx, dataset->samples);
    us_free(ctx, dataset);
    us_context_unref(ctx);
}

static int reserve(us_dataset *dataset, int64_t capacity) {
    struct us_sample **samples;
    size_t size;
    if (capacity <= dataset->capacity)
        return 0;
    if (us_size_mul(&size, (size_t)capacity, sizeof *samples))
        return UNETSTAR_ELIMIT;
    samples = (struct us_sample **)us_alloc(dataset->ctx, size);
    if (!samples)
        return UNETSTAR_ENOMEM;
    if (dataset->count)
        memcpy(samples, dataset->samples, (size_t)dataset->count * sizeof *samples);
    us_free(dataset->ctx, dataset->samples);
    dataset->samples = samples;
    dataset->capacity = capacity;
    return 0;
}

/* Takes the sample over, or releases it; a failure's text gets the sample's name. */
static int push(us_dataset *dataset, struct us_sample *sample) {
    int error = 0;
    if (dataset->count == dataset->capacity)
        error = reserve(dataset, dataset->capacity ? 2 * dataset->capacity : 16);
    if (error) {
        us_fail_in(error, sample->name);
        us_sample_unref(sample);
        return error;
    }
    dataset->samples[dataset->count++] = sample;
    return 0;
}

int us_dataset_add(us_dataset *dataset, const char *name, const struct us_image *image, const struct us_image *label,
                   const struct us_image *mask) {
    us_context *ctx = dataset->ctx;
    struct us_sample *sample;
    int64_t y;
    int error;
    if ((label && same_size(name, "label", label, image)) || (mask && same_size(name, "mask", mask, image)))
        return UNETSTAR_ESHAPE;
    sample = sample_new(ctx, name, image->width, image->height, image->channels, image->bits);
    if (!sample)
        return us_fail_in(UNETSTAR_ENOMEM, name);
    for (y = 0; y < image->height; y++)
        memcpy((char *)sample->image.data + y * sample->image.stride, (const char *)image->data + y * image->stride,
               (size_t)sample->image.stride);
    if (label) {
        sample->label = (uint8_t *)us_alloc(ctx, (size_t)image->width * (size_t)image->height);
        if (!sample->label) {
            us_sample_unref(sample);
            return us_fail_in(UNETSTAR_ENOMEM, name);
        }
        label_convert(label, sample->label);
    }
    if (mask) {
        mask_convert(mask, sample->mask);
        sample->field_source = UNETSTAR_FIELD_GIVEN;
    } else if ((error = us_field_find(ctx, &sample->image, sample->mask, &sample->field_source)) != 0) {
        us_sample_unref(sample);
        return us_fail_in(error, name);
    }
    return push(dataset, sample);
}

/* "synthetic-" and the seed in decimal. */
static void synthetic_name(char out[32], uint64_t seed) {
    char digits[20];
    int n = 0, at = 10;
    memcpy(out, "synthetic-", 10);
    do
        digits[n++] = (char)('0' + seed % 10);
    while ((seed /= 10) != 0);
    while (n > 0)
        out[at++] = digits[--n];
    out[at] = 0;
}

int us_dataset_add_synthetic(us_dataset *dataset, uint64_t seed, int64_t width, int64_t height) {
    us_context *ctx = dataset->ctx;
    struct us_sample *sample;
    char name[32];
    size_t count, i;
    int error;
    synthetic_name(name, seed);
    if (width < US_SYNTHETIC_MIN || width > US_SYNTHETIC_MAX || height < US_SYNTHETIC_MIN || height > US_SYNTHETIC_MAX)
        return us_fail(UNETSTAR_EINVAL, "%s: a size of %lld x %lld is outside %d .. %d", name, (long long)width,
                       (long long)height, US_SYNTHETIC_MIN, US_SYNTHETIC_MAX);
    sample = sample_new(ctx, name, width, height, 3, 8);
    if (!sample)
        return us_fail_in(UNETSTAR_ENOMEM, name);
    count = (size_t)width * (size_t)height;
    sample->label = (uint8_t *)us_alloc(ctx, count);
    if (sample->label)
        error =
            us_synthetic_fundus(ctx, seed, width, height, (uint8_t *)sample->image.data, sample->label, sample->mask);
    else
        error = UNETSTAR_ENOMEM;
    if (error) {
        us_sample_unref(sample);
        return us_fail_in(error, name);
    }
    for (i = 0; i < count; i++)
        sample->label[i] = sample->label[i] != 0;
    sample->field_source = UNETSTAR_FIELD_GIVEN;
    return push(dataset, sample);
}

int us_dataset_subset(us_dataset **out, const us_dataset *dataset, const int64_t *indices, int64_t count) {
    us_dataset *subset;
    int64_t i;
    int error;
    *out = NULL;
    if (count < 0)
        return us_fail(UNETSTAR_EINVAL, "a subset of %lld samples", (long long)count);
    for (i = 0; i < count; i++)
        if (indices[i] < 0 || indices[i] >= dataset->count)
            return us_fail(UNETSTAR_EINVAL, "index %lld is sample %lld, but the dataset has %lld samples", (long long)i,
                           (long long)indices[i], (long long)dataset->count);
    error = us_dataset_create(&subset, dataset->ctx);
    if (!error)
        error = reserve(subset, count);
    if (error) {
        us_dataset_destroy(subset);
        return error;
    }
    for (i = 0; i < count; i++)
        subset->samples[i] = us_sample_ref(dataset->samples[indices[i]]);
    subset->count = count;
    *out = subset;
    return 0;
}

/* Adds samples [first, end) of another dataset, for which there is room. */
static void share(us_dataset *to, const us_dataset *from, int64_t first, int64_t end) {
    for (; first < end; first++)
        to->samples[to->count++] = us_sample_ref(from->samples[first]);
}

int us_dataset_fold(us_dataset **train, us_dataset **test, const us_dataset *dataset, int64_t k, int64_t n) {
    us_dataset *rest = NULL, *run = NULL;
    int64_t first, end;
    int error;
    *train = NULL;
    *test = NULL;
    if (n < 2 || n > dataset->count)
        return us_fail(UNETSTAR_EINVAL, "%lld folds of %lld samples; from 2 to the number of samples are possible",
                       (long long)n, (long long)dataset->count);
    if (k < 0 || k >= n)
        return us_fail(UNETSTAR_EINVAL, "fold %lld of %lld; they are counted from 0", (long long)k, (long long)n);
    first = dataset->count * k / n;
    end = dataset->count * (k + 1) / n;
    error = us_dataset_create(&rest, dataset->ctx);
    if (!error)
        error = us_dataset_create(&run, dataset->ctx);
    if (!error)
        error = reserve(rest, dataset->count - (end - first));
    if (!error)
        error = reserve(run, end - first);
    if (error) {
        us_dataset_destroy(rest);
        us_dataset_destroy(run);
        return error;
    }
    share(rest, dataset, 0, first);
    share(rest, dataset, end, dataset->count);
    share(run, dataset, first, end);
    *train = rest;
    *test = run;
    return 0;
}
