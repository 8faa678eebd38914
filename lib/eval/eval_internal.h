/*
 * eval_internal.h - what the files of this room share: sorted scores, areas and errors of them, shapes and skeletons.
 */
#ifndef US_EVAL_INTERNAL_H
#define US_EVAL_INTERNAL_H

#include "eval/eval.h"

/* Scores are kept as unsigned keys with the order of the floats, the positives and the negatives apart and each
 * ascending: 4 bytes a pixel. Both arrays are one block. */
struct us_eval_set {
    uint32_t *positive, *negative;
    int64_t positives, negatives;
};

struct us_eval_shape; /* centerline.c */

struct us_eval_image {
    char *name;
    struct us_eval_set set;
    struct us_eval_shape *shape; /* NULL when the image came as a list of pixels */
};

/* Pixels of the skeleton of the prediction, those of them in the label, and the other way round. */
struct us_eval_overlap {
    int64_t prediction, prediction_in_label, label, label_in_prediction;
};

/* Everything about a set that does not depend on a threshold the caller chooses. */
struct us_eval_areas {
    double roc_auc, pr_auc, average_precision, calibration_error;
    double best_threshold, best_f1;
    int64_t distinct; /* different scores */
};

struct us_eval_pooled {
    struct us_eval_set set;
    struct us_eval_areas areas;
};

/* The sum behind the ROC area is exact in 64 bits up to this many pixels of one set. */
#define US_EVAL_LIMIT (((int64_t)1 << 32) - 1)

uint32_t us_eval_key(float score); /* not NaN; both zeros have the same key */
float us_eval_score(uint32_t key);
/* Sorts ascending; scratch holds n keys too. */
void us_eval_sort(uint32_t *keys, uint32_t *scratch, int64_t n);
void us_eval_areas(struct us_eval_areas *areas, const struct us_eval_set *set);
/* How many of the ascending keys have score >= threshold. */
int64_t us_eval_count_from(const uint32_t *keys, int64_t n, double threshold);
void us_eval_curve(const struct us_eval_pooled *pooled, int32_t curve, int64_t max_points, double *x, double *y,
                   int64_t *count);
/* NaN when a score lies outside of [0, 1], 0 without pixels. */
double us_eval_calibration_error(const struct us_eval_set *set);

int us_eval_shape_create(struct us_eval_shape **out, us_context *ctx, int64_t width, int64_t height,
                         const float *probability, const uint8_t *label, const uint8_t *mask);
void us_eval_shape_free(us_context *ctx, struct us_eval_shape *shape);
/* Adds the counts at a threshold to *overlap; ENOMEM. */
int us_eval_shape_overlap(struct us_eval_overlap *overlap, us_context *ctx, struct us_eval_shape *shape,
                          double threshold);
/* Reduces a bit image of height rows of whole words to its skeleton. It has a row more, which is overwritten; bits beyond
 * the width are 0. old: two rows of scratch. */
void us_eval_thin(uint64_t *bits, int64_t words, int64_t height, uint64_t *old);

#endif
