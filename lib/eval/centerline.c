/*
 * centerline.c - how much of the middle lines of one segmentation lies in the other: the counts behind clDice (Shit et
 * al., CVPR 2021), with hard skeletons (thin.c).
 *
 * The threshold comes later than the image, so the scores stay, in the order of the pixels, beside one bit a pixel for
 * each of the mask, the label and the skeleton of the label.
 */
#include "eval/eval_internal.h"

#include <string.h>

struct us_eval_shape {
    int64_t words, height; /* 64 pixels a word, whole words a row */
    uint32_t *keys;        /* of the pixels inside, row by row */
    uint64_t *inside;      /* the head of one block of bits, with the next two in it */
    uint64_t *label, *skeleton;
    struct us_eval_overlap last; /* at last_threshold: an image is scored alone and again among all */
    double last_threshold;
    int has_last;
};

static int64_t bits_of(uint64_t word) {
    int64_t n = 0;
    for (; word; word &= word - 1)
        n++;
    return n;
}

static int64_t count_common(const uint64_t *a, const uint64_t *b, int64_t words) {
    int64_t k, n = 0;
    for (k = 0; k < words; k++)
        n += bits_of(a[k] & b[k]);
    return n;
}

void us_eval_shape_free(us_context *ctx, struct us_eval_shape *shape) {
    if (!shape)
        return;
    us_free(ctx, shape->keys);
    us_free(ctx, shape->inside);
    us_free(ctx, shape);
}

/* Also the number of pixels inside. */
static int64_t read_bits(struct us_eval_shape *shape, int64_t width, const uint8_t *label, const uint8_t *mask) {
    int64_t y, x, inside = 0;
    for (y = 0; y < shape->height; y++)
        for (x = 0; x < width; x++) {
            const int64_t at = y * width + x, k = y * shape->words + x / 64;
            const uint64_t bit = (uint64_t)1 << (x % 64);
            if (mask && !mask[at])
                continue;
            inside++;
            shape->inside[k] |= bit;
            if (label[at])
                shape->label[k] |= bit;
        }
    return inside;
}

static void read_keys(struct us_eval_shape *shape, int64_t pixels, const float *probability, const uint8_t *mask) {
    uint32_t *key = shape->keys;
    int64_t i;
    for (i = 0; i < pixels; i++)
        if (!mask || mask[i])
            *key++ = us_eval_key(probability[i]);
}

/* Room for `copies` bit images of a row more than the height, which us_eval_thin wants, and the two rows it works in.
 */
static uint64_t *allocate_bits(us_context *ctx, int64_t words, int64_t height, int64_t copies) {
    const uint64_t count = (uint64_t)words * ((uint64_t)(height + 1) * (uint64_t)copies + 2);
    if (count > SIZE_MAX / sizeof(uint64_t)) {
        us_fail(UNETSTAR_ENOMEM, "%lld rows are too many bits for this system", (long long)height);
        return NULL;
    }
    return (uint64_t *)us_alloc_zero(ctx, (size_t)count * sizeof(uint64_t));
}

int us_eval_shape_create(struct us_eval_shape **out, us_context *ctx, int64_t width, int64_t height,
                         const float *probability, const uint8_t *label, const uint8_t *mask) {
    struct us_eval_shape *shape = (struct us_eval_shape *)us_alloc_zero(ctx, sizeof *shape);
    int64_t size, inside;
    *out = NULL;
    if (!shape)
        return UNETSTAR_ENOMEM;
    shape->words = (width + 63) / 64;
    shape->height = height;
    size = shape->words * (height + 1);
    shape->inside = allocate_bits(ctx, shape->words, height, 3);
    if (!shape->inside)
        goto fail;
    shape->label = shape->inside + size;
    shape->skeleton = shape->label + size;
    inside = read_bits(shape, width, label, mask);
    shape->keys =
        (uint32_t *)us_alloc(ctx, (size_t)inside * sizeof *shape->keys); /* fewer bytes than probability has */
    if (!shape->keys)
        goto fail;
    read_keys(shape, width * height, probability, mask);
    memcpy(shape->skeleton, shape->label, (size_t)size * sizeof *shape->skeleton);
    us_eval_thin(shape->skeleton, shape->words, height, shape->skeleton + size);
    *out = shape;
    return 0;
fail:
    us_eval_shape_free(ctx, shape);
    return UNETSTAR_ENOMEM;
}

static void predict(uint64_t *bits, const struct us_eval_shape *shape, double threshold) {
    const uint32_t *key = shape->keys;
    int64_t k;
    for (k = 0; k < shape->words * shape->height; k++) {
        uint64_t left = shape->inside[k], word = 0;
        for (; left; left &= left - 1) /* from the lowest bit up: along the row */
            if ((double)us_eval_score(*key++) >= threshold)
                word |= left & (~left + 1);
        bits[k] = word;
    }
}

int us_eval_shape_overlap(struct us_eval_overlap *overlap, us_context *ctx, struct us_eval_shape *shape,
                          double threshold) {
    const int64_t size = shape->words * (shape->height + 1), words = shape->words * shape->height;
    uint64_t *prediction, *skeleton;
    if (!shape->has_last || shape->last_threshold < threshold || shape->last_threshold > threshold) {
        prediction = allocate_bits(ctx, shape->words, shape->height, 2);
        if (!prediction)
            return UNETSTAR_ENOMEM;
        skeleton = prediction + size;
        predict(prediction, shape, threshold);
        memcpy(skeleton, prediction, (size_t)size * sizeof *skeleton);
        us_eval_thin(skeleton, shape->words, shape->height, skeleton + size);
        shape->last.prediction = count_common(skeleton, skeleton, words);
        shape->last.prediction_in_label = count_common(skeleton, shape->label, words);
        shape->last.label = count_common(shape->skeleton, shape->skeleton, words);
        shape->last.label_in_prediction = count_common(shape->skeleton, prediction, words);
        shape->last_threshold = threshold;
        shape->has_last = 1;
        us_free(ctx, prediction);
    }
    overlap->prediction += shape->last.prediction;
    overlap->prediction_in_label += shape->last.prediction_in_label;
    overlap->label += shape->last.label;
    overlap->label_in_prediction += shape->last.label_in_prediction;
    return 0;
}
