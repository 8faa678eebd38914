/* metrics.c - the images of an evaluation, one by one and pooled, and their scores at a threshold. */
#include "eval/eval_internal.h"

#include <math.h>
#include <string.h>

int us_metrics_create(us_metrics **out, us_context *ctx) {
    us_metrics *metrics = (us_metrics *)us_alloc_zero(ctx, sizeof *metrics);
    *out = metrics;
    if (!metrics)
        return UNETSTAR_ENOMEM;
    metrics->ctx = us_context_ref(ctx);
    return 0;
}

static void set_free(us_context *ctx, struct us_eval_set *set) {
    us_free(ctx, set->positive); /* and the negatives behind them */
    memset(set, 0, sizeof *set);
}

static void pooled_drop(us_metrics *metrics) {
    if (metrics->pooled) {
        set_free(metrics->ctx, &metrics->pooled->set);
        us_free(metrics->ctx, metrics->pooled);
        metrics->pooled = NULL;
    }
}

void us_metrics_clear(us_metrics *metrics) {
    int64_t i;
    pooled_drop(metrics);
    for (i = 0; i < metrics->count; i++) {
        set_free(metrics->ctx, &metrics->images[i].set);
        us_eval_shape_free(metrics->ctx, metrics->images[i].shape);
        us_free(metrics->ctx, metrics->images[i].name);
    }
    us_free(metrics->ctx, metrics->images);
    metrics->images = NULL;
    metrics->count = metrics->capacity = 0;
}

void us_metrics_destroy(us_metrics *metrics) {
    us_context *ctx;
    if (!metrics)
        return;
    ctx = metrics->ctx;
    us_metrics_clear(metrics);
    us_free(ctx, metrics);
    us_context_unref(ctx);
}

/* ---- Sets ---- */

static int set_allocate(struct us_eval_set *set, us_context *ctx, int64_t positives, int64_t negatives) {
    const uint64_t pixels = (uint64_t)positives + (uint64_t)negatives;
    memset(set, 0, sizeof *set);
    if (pixels > (uint64_t)US_EVAL_LIMIT || pixels > SIZE_MAX / sizeof(uint32_t))
        return us_fail(UNETSTAR_ELIMIT, "%llu pixels are too many for one evaluation", (unsigned long long)pixels);
    set->positive = (uint32_t *)us_alloc(ctx, (size_t)pixels * sizeof(uint32_t));
    if (!set->positive)
        return UNETSTAR_ENOMEM;
    set->negative = set->positive + positives;
    set->positives = positives;
    set->negatives = negatives;
    return 0;
}

static int set_sort(struct us_eval_set *set, us_context *ctx) {
    const int64_t longer = US_MAX(set->positives, set->negatives);
    uint32_t *scratch = (uint32_t *)us_alloc(ctx, (size_t)longer * sizeof *scratch);
    if (!scratch)
        return UNETSTAR_ENOMEM;
    us_eval_sort(set->positive, scratch, set->positives);
    us_eval_sort(set->negative, scratch, set->negatives);
    us_free(ctx, scratch);
    return 0;
}

/* ---- Adding ---- */

static int is_nan(float score) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

static int count_pixels(int64_t count, const float *probability, const uint8_t *label, const uint8_t *mask,
                        int64_t *positives, int64_t *negatives) {
    int64_t i, inside = 0, vessels = 0;
    for (i = 0; i < count; i++) {
        if (mask && !mask[i])
            continue;
        if (is_nan(probability[i]))
            return us_fail(UNETSTAR_EINVAL, "probability[%lld] inside the mask is NaN", (long long)i);
        inside++;
        vessels += label[i] != 0;
    }
    *positives = vessels;
    *negatives = inside - vessels;
    return 0;
}

static void copy_pixels(struct us_eval_set *set, int64_t count, const float *probability, const uint8_t *label,
                        const uint8_t *mask) {
    uint32_t *positive = set->positive, *negative = set->negative;
    int64_t i;
    for (i = 0; i < count; i++) {
        if (mask && !mask[i])
            continue;
        if (label[i])
            *positive++ = us_eval_key(probability[i]);
        else
            *negative++ = us_eval_key(probability[i]);
    }
}

static int reserve_image(us_metrics *metrics) {
    struct us_eval_image *images;
    int64_t capacity = metrics->capacity ? metrics->capacity * 2 : 16;
    if (metrics->count < metrics->capacity)
        return 0;
    images = (struct us_eval_image *)us_alloc(metrics->ctx, (size_t)capacity * sizeof *images);
    if (!images)
        return UNETSTAR_ENOMEM;
    if (metrics->count)
        memcpy(images, metrics->images, (size_t)metrics->count * sizeof *images);
    us_free(metrics->ctx, metrics->images);
    metrics->images = images;
    metrics->capacity = capacity;
    return 0;
}

int us_metrics_add(us_metrics *metrics, const char *name, int64_t count, const float *probability, const uint8_t *label,
                   const uint8_t *mask) {
    us_context *ctx = metrics->ctx;
    struct us_eval_image image;
    int64_t positives = 0, negatives = 0;
    int error;
    if (count < 0 || (count > 0 && (!probability || !label)))
        return us_fail(UNETSTAR_EINVAL, count < 0 ? "count is negative" : "probability or label is NULL");
    error = count_pixels(count, probability, label, mask, &positives, &negatives);
    if (!error)
        error = reserve_image(metrics);
    if (!error)
        error = set_allocate(&image.set, ctx, positives, negatives);
    if (error)
        return error;
    copy_pixels(&image.set, count, probability, label, mask);
    image.shape = NULL;
    image.name = us_strdup(ctx, name ? name : "");
    error = image.name ? set_sort(&image.set, ctx) : UNETSTAR_ENOMEM;
    if (error) {
        us_free(ctx, image.name);
        set_free(ctx, &image.set);
        return error;
    }
    pooled_drop(metrics);
    metrics->images[metrics->count++] = image;
    return 0;
}

int us_metrics_add_image(us_metrics *metrics, const char *name, int64_t width, int64_t height, const float *probability,
                         const uint8_t *label, const uint8_t *mask) {
    struct us_eval_shape *shape;
    int error;
    if (width < 1 || height < 1 || !probability || !label)
        return us_fail(UNETSTAR_EINVAL, width < 1 || height < 1 ? "width or height is below 1" : "probability or label is NULL");
    if (width > US_EVAL_LIMIT || height > US_EVAL_LIMIT / width)
        return us_fail(UNETSTAR_ELIMIT, "%lld x %lld pixels are too many for one evaluation", (long long)width,
                       (long long)height);
    error = us_eval_shape_create(&shape, metrics->ctx, width, height, probability, label, mask);
    if (error)
        return error;
    error = us_metrics_add(metrics, name, width * height, probability, label, mask);
    if (error)
        us_eval_shape_free(metrics->ctx, shape);
    else
        metrics->images[metrics->count - 1].shape = shape;
    return error;
}

const char *us_metrics_name(const us_metrics *metrics, int64_t i) {
    return i >= 0 && i < metrics->count ? metrics->images[i].name : NULL;
}

/* ---- Pooling ---- */

static void pool_images(struct us_eval_set *set, const us_metrics *metrics) {
    uint32_t *positive = set->positive, *negative = set->negative;
    int64_t i;
    for (i = 0; i < metrics->count; i++) {
        const struct us_eval_set *image = &metrics->images[i].set;
        memcpy(positive, image->positive, (size_t)image->positives * sizeof *positive);
        memcpy(negative, image->negative, (size_t)image->negatives * sizeof *negative);
        positive += image->positives;
        negative += image->negatives;
    }
}

/* Makes the pooled set unless it is there. It is dropped when an image is added. */
static int pool(us_metrics *metrics) {
    us_context *ctx = metrics->ctx;
    struct us_eval_pooled *pooled;
    int64_t positives = 0, negatives = 0, i;
    int error;
    if (metrics->count == 0)
        return us_fail(UNETSTAR_ESTATE, "the metrics have no image yet");
    if (metrics->pooled)
        return 0;
    for (i = 0; i < metrics->count; i++) {
        positives += metrics->images[i].set.positives;
        negatives += metrics->images[i].set.negatives;
    }
    pooled = (struct us_eval_pooled *)us_alloc_zero(ctx, sizeof *pooled);
    if (!pooled)
        return UNETSTAR_ENOMEM;
    error = set_allocate(&pooled->set, ctx, positives, negatives);
    if (!error) {
        pool_images(&pooled->set, metrics);
        error = set_sort(&pooled->set, ctx);
    }
    if (error) {
        set_free(ctx, &pooled->set);
        us_free(ctx, pooled);
        return error;
    }
    us_eval_areas(&pooled->areas, &pooled->set);
    metrics->pooled = pooled;
    return 0;
}

/* ---- Scores ---- */

static double ratio(int64_t part, int64_t whole) {
    return whole ? (double)part / (double)whole : 0.0;
}

/* (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)); the integers below stay within 2^62. */
static double correlation(int64_t tp, int64_t fp, int64_t tn, int64_t fn) {
    const double below = (double)(tp + fp) * (double)(tp + fn) * ((double)(tn + fp) * (double)(tn + fn));
    return below > 0 ? (double)(tp * tn - fp * fn) / sqrt(below) : 0.0;
}

static void scores_at(unetstar_scores *s, const struct us_eval_set *set, double threshold) {
    const int64_t tp = us_eval_count_from(set->positive, set->positives, threshold);
    const int64_t fp = us_eval_count_from(set->negative, set->negatives, threshold);
    const int64_t fn = set->positives - tp, tn = set->negatives - fp;
    s->threshold = threshold;
    s->true_positives = tp;
    s->false_positives = fp;
    s->true_negatives = tn;
    s->false_negatives = fn;
    s->f1 = s->dice = ratio(2 * tp, 2 * tp + fp + fn); /* two names of one number */
    s->accuracy = ratio(tp + tn, tp + fp + tn + fn);
    s->sensitivity = ratio(tp, tp + fn);
    s->specificity = ratio(tn, tn + fp);
    s->precision = ratio(tp, tp + fp);
    s->mcc = correlation(tp, fp, tn, fn);
    s->iou = ratio(tp, tp + fp + fn);
}

/* The harmonic mean of the shares of the two skeletons that lie in the other segmentation. */
static int cl_dice(double *found, us_metrics *metrics, int64_t first, int64_t last, double threshold) {
    struct us_eval_overlap overlap;
    double precision, sensitivity;
    int64_t i;
    *found = NAN;
    for (i = first; i <= last; i++)
        if (!metrics->images[i].shape)
            return 0;
    memset(&overlap, 0, sizeof overlap);
    for (i = first; i <= last; i++) {
        int error = us_eval_shape_overlap(&overlap, metrics->ctx, metrics->images[i].shape, threshold);
        if (error)
            return error;
    }
    precision = ratio(overlap.prediction_in_label, overlap.prediction);
    sensitivity = ratio(overlap.label_in_prediction, overlap.label);
    *found = precision + sensitivity > 0 ? 2 * precision * sensitivity / (precision + sensitivity) : 0;
    return 0;
}

int us_metrics_scores(us_metrics *metrics, int64_t i, double threshold, unetstar_scores *scores) {
    const struct us_eval_set *set;
    struct us_eval_areas areas;
    if (i < -1 || i >= metrics->count)
        return us_fail(UNETSTAR_EINVAL, "image %lld: there are %lld images", (long long)i, (long long)metrics->count);
    if (threshold != threshold)
        return us_fail(UNETSTAR_EINVAL, "threshold is NaN");
    if (i < 0) {
        int error = pool(metrics);
        if (error)
            return error;
        set = &metrics->pooled->set;
        areas = metrics->pooled->areas;
    } else {
        set = &metrics->images[i].set;
        us_eval_areas(&areas, set);
    }
    scores_at(scores, set, threshold);
    scores->roc_auc = areas.roc_auc;
    scores->pr_auc = areas.pr_auc;
    scores->average_precision = areas.average_precision;
    scores->calibration_error = areas.calibration_error;
    return cl_dice(&scores->cl_dice, metrics, i < 0 ? 0 : i, i < 0 ? metrics->count - 1 : i, threshold);
}

static int pool_some(us_metrics *metrics) {
    int error = pool(metrics);
    if (!error && metrics->pooled->areas.distinct == 0)
        error = us_fail(UNETSTAR_ESTATE, "the metrics have no pixel inside a mask");
    return error;
}

int us_metrics_best_threshold(us_metrics *metrics, double *threshold, double *f1) {
    int error = pool_some(metrics);
    if (error)
        return error;
    *threshold = metrics->pooled->areas.best_threshold;
    *f1 = metrics->pooled->areas.best_f1;
    return 0;
}

int us_metrics_curve(us_metrics *metrics, int32_t curve, int64_t max_points, double *x, double *y, int64_t *count) {
    int error;
    if (curve != UNETSTAR_CURVE_ROC && curve != UNETSTAR_CURVE_PR)
        return us_fail(UNETSTAR_EINVAL, "curve %d is not known", (int)curve);
    if (max_points < 2)
        return us_fail(UNETSTAR_EINVAL, "max_points is %lld, it must be at least 2", (long long)max_points);
    error = pool_some(metrics);
    if (!error)
        us_eval_curve(metrics->pooled, curve, max_points, x, y, count);
    return error;
}
