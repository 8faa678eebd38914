/*
 * eval.h - how good a segmentation is: confusion counts, ROC and precision-recall curves and their areas, exactly,
 * middle lines of vessels, calibration.
 */
#ifndef US_EVAL_H
#define US_EVAL_H

#include "base/base.h"

struct us_eval_image;

struct unetstar_metrics {
    us_context *ctx;
    struct us_eval_image *images;
    int64_t count, capacity;
    /* cached pooled curve, see curve.c */
    struct us_eval_pooled *pooled;
};
typedef struct unetstar_metrics us_metrics;

int us_metrics_create(us_metrics **out, us_context *ctx);
void us_metrics_destroy(us_metrics *metrics);
void us_metrics_clear(us_metrics *metrics); /* forgets the images, keeps the object */
/* count pixels; mask NULL: all inside. EINVAL when a score inside the mask is NaN. Copies what it needs. */
int us_metrics_add(us_metrics *metrics, const char *name, int64_t count, const float *probability, const uint8_t *label,
                   const uint8_t *mask);
/* The same with what clDice needs, rows one after the other. EINVAL (an empty shape), ELIMIT. */
int us_metrics_add_image(us_metrics *metrics, const char *name, int64_t width, int64_t height, const float *probability,
                         const uint8_t *label, const uint8_t *mask);
const char *us_metrics_name(const us_metrics *metrics, int64_t i);
/* Fills every field of scores but struct_size. i = -1: all images pooled. Definitions in unetstar.h. Without a positive
 * pr_auc is 0.5 and average_precision 0, as in scikit-learn; without any pixel both are 0. EINVAL (i, a NaN threshold),
 * ESTATE (no image), ENOMEM. */
int us_metrics_scores(us_metrics *metrics, int64_t i, double threshold, unetstar_scores *scores);
/* Over all distinct scores; of several the highest. Like curve, ESTATE without any pixel. */
int us_metrics_best_threshold(us_metrics *metrics, double *threshold, double *f1);
int us_metrics_curve(us_metrics *metrics, int32_t curve, int64_t max_points, double *x, double *y, int64_t *count);

#endif
