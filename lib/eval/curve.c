/*
 * curve.c - sorted scores, the walk down the thresholds, and the areas under the two curves.
 *
 * Counts are integers and the ROC area is one exact integer divided once; the other areas are sums in double in the
 * order of falling thresholds. Nothing depends on the order in which pixels were added.
 */
#include "eval/eval_internal.h"

#include <math.h>
#include <string.h>

/* ---- Keys ---- */

#define SIGN 0x80000000u

uint32_t us_eval_key(float score) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    if (bits == SIGN) /* -0 ties with 0 */
        bits = 0;
    return bits & SIGN ? ~bits : bits | SIGN;
}

float us_eval_score(uint32_t key) {
    uint32_t bits = key & SIGN ? key & ~SIGN : ~key;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* Radix sort in three passes of 11 bits. A pass in which all keys fall into one bucket is left out: probabilities
 * differ little in their top bits. */
#define RADIX_BITS 11
#define RADIX (1 << RADIX_BITS)
#define PASSES 3

static uint32_t radix_digit(uint32_t key, int pass) {
    return key >> (pass * RADIX_BITS) & (RADIX - 1);
}

static void radix_pass(const uint32_t *from, uint32_t *to, int64_t n, int pass, const uint32_t *count) {
    int64_t start[RADIX], sum = 0, i;
    int b;
    for (b = 0; b < RADIX; b++) {
        start[b] = sum;
        sum += count[b];
    }
    for (i = 0; i < n; i++)
        to[start[radix_digit(from[i], pass)]++] = from[i];
}

void us_eval_sort(uint32_t *keys, uint32_t *scratch, int64_t n) {
    uint32_t count[PASSES][RADIX]; /* n is below 2^32 */
    uint32_t *from = keys, *to = scratch;
    int64_t i;
    int pass;
    if (n < 2)
        return;
    memset(count, 0, sizeof count);
    for (i = 0; i < n; i++)
        for (pass = 0; pass < PASSES; pass++)
            count[pass][radix_digit(keys[i], pass)]++;
    for (pass = 0; pass < PASSES; pass++) {
        uint32_t *other = from;
        if (count[pass][radix_digit(from[0], pass)] == n)
            continue;
        radix_pass(from, to, n, pass, count[pass]);
        from = to;
        to = other;
    }
    if (from != keys)
        memcpy(keys, from, (size_t)n * sizeof *keys);
}

int64_t us_eval_count_from(const uint32_t *keys, int64_t n, double threshold) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((double)us_eval_score(keys[middle]) >= threshold)
            high = middle;
        else
            low = middle + 1;
    }
    return n - low;
}

/* ---- The walk ---- */

/* Each step lowers the threshold to the next score there is and counts what now lies on or above it. */
struct walk {
    const struct us_eval_set *set;
    uint32_t key; /* the threshold */
    int64_t tp, fp;
};

static struct walk walk_begin(const struct us_eval_set *set) {
    struct walk w;
    w.set = set;
    w.key = 0;
    w.tp = w.fp = 0;
    return w;
}

static int walk_next(struct walk *w) {
    const uint32_t *positive = w->set->positive + (w->set->positives - w->tp);
    const uint32_t *negative = w->set->negative + (w->set->negatives - w->fp);
    const int more_positive = w->tp < w->set->positives, more_negative = w->fp < w->set->negatives;
    if (!more_positive && !more_negative)
        return 0;
    w->key = more_positive ? positive[-1] : 0;
    if (more_negative && negative[-1] >= w->key)
        w->key = negative[-1];
    while (w->tp < w->set->positives && *--positive == w->key)
        w->tp++;
    while (w->fp < w->set->negatives && *--negative == w->key)
        w->fp++;
    return 1;
}

static double walk_precision(const struct walk *w) {
    return w->tp + w->fp ? (double)w->tp / (double)(w->tp + w->fp) : 1.0; /* 1 before the first step, as scikit-learn */
}

/* ---- Areas ---- */

/* Twice the area in units of one positive times one negative, at most 2^63 within US_EVAL_LIMIT. */
static double roc_area(uint64_t twice, const struct us_eval_set *set) {
    if (!set->positives || !set->negatives)
        return NAN;
    return (double)twice / (2.0 * (double)set->positives * (double)set->negatives);
}

void us_eval_areas(struct us_eval_areas *areas, const struct us_eval_set *set) {
    struct walk w = walk_begin(set);
    const double positives = (double)set->positives;
    uint64_t twice_roc = 0;
    double trapezoids = 0, rectangles = 0, before = walk_precision(&w);
    int64_t tp = 0, fp = 0;
    memset(areas, 0, sizeof *areas);
    areas->best_f1 = -1;
    while (walk_next(&w)) {
        const double precision = walk_precision(&w), rise = (double)(w.tp - tp);
        const double f1 = 2.0 * (double)w.tp / (double)(w.tp + w.fp + set->positives);
        twice_roc += (uint64_t)(w.fp - fp) * (uint64_t)(w.tp + tp);
        trapezoids += rise * (before + precision);
        rectangles += rise * precision;
        if (f1 > areas->best_f1) {
            areas->best_f1 = f1;
            areas->best_threshold = (double)us_eval_score(w.key);
        }
        before = precision;
        tp = w.tp;
        fp = w.fp;
        areas->distinct++;
    }
    areas->roc_auc = roc_area(twice_roc, set);
    areas->calibration_error = us_eval_calibration_error(set);
    if (set->positives) {
        areas->pr_auc = trapezoids / (2.0 * positives);
        areas->average_precision = rectangles / positives;
    } else if (set->negatives) {
        areas->pr_auc = 0.5; /* scikit-learn's curve without positives: from (0, 1) to (1, 0) */
    }
}

/* ---- Curves ---- */

static double ratio(int64_t part, int64_t whole) {
    return whole ? (double)part / (double)whole : 0.0;
}

static void curve_point(const struct walk *w, int32_t curve, double *x, double *y) {
    const struct us_eval_set *set = w->set;
    if (curve == UNETSTAR_CURVE_ROC) {
        *x = ratio(w->fp, set->negatives);
        *y = ratio(w->tp, set->positives);
    } else {
        *x = set->positives ? ratio(w->tp, set->positives) : (double)(w->fp > 0); /* as scikit-learn */
        *y = walk_precision(w);
    }
}

/* The first point in each of max_points - 1 equal parts of the x axis, besides the ends. */
void us_eval_curve(const struct us_eval_pooled *pooled, int32_t curve, int64_t max_points, double *x, double *y,
                   int64_t *count) {
    struct walk w = walk_begin(&pooled->set);
    const int thin = pooled->areas.distinct >= max_points;
    int64_t n = 0, i;
    double part = 0;
    curve_point(&w, curve, &x[n], &y[n]);
    n++;
    for (i = 1; walk_next(&w); i++) {
        double px, py, at;
        curve_point(&w, curve, &px, &py);
        at = thin ? floor(px * (double)(max_points - 1)) : 0;
        if (i < pooled->areas.distinct && thin && (at <= part || n == max_points - 1))
            continue;
        part = at;
        x[n] = px;
        y[n] = py;
        n++;
    }
    *count = n;
}
