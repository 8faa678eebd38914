/*
 * eval_internal.h - what metrics.c and curve.c share: sorted scores, and the walk down the thresholds.
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

struct us_eval_image {
    char *name;
    struct us_eval_set set;
};

/* Everything about a set that does not depend on a threshold the caller chooses. */
struct us_eval_areas {
    double roc_auc, pr_auc, average_precision;
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

#endif
