/*
 * calibration.c - whether probabilities are what they say: the expected calibration error (Guo et al., On calibration
 * of modern neural networks, ICML 2017), of the probability of vessel.
 *
 * With n pixels in all and, in each bin, the sum of their probabilities and the number of vessels, it is the sum over
 * bins of |sum - vessels| / n: each bin's share times the distance of its mean probability from its share of vessels.
 */
#include "eval/eval_internal.h"

#include <math.h>

#define BINS 15 /* of equal width; no float but 0 and 1 lies on a border */

/* Ascending keys, added in that order whatever the order of the pixels. */
static int add_keys(double *sum, const uint32_t *keys, int64_t n) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const double p = (double)us_eval_score(keys[i]);
        int bin;
        if (!(p >= 0 && p <= 1))
            return 0;
        bin = (int)(p * BINS); /* exact: 24 bits and 4 */
        sum[bin < BINS ? bin : BINS - 1] += p;
    }
    return 1;
}

static void count_bins(double *vessels, const uint32_t *keys, int64_t n) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const int bin = (int)((double)us_eval_score(keys[i]) * BINS);
        vessels[bin < BINS ? bin : BINS - 1] += 1;
    }
}

double us_eval_calibration_error(const struct us_eval_set *set) {
    double sum[BINS] = {0}, vessels[BINS] = {0}, error = 0;
    const int64_t n = set->positives + set->negatives;
    int b;
    if (!add_keys(sum, set->positive, set->positives) || !add_keys(sum, set->negative, set->negatives))
        return NAN; /* scores that are no probabilities */
    count_bins(vessels, set->positive, set->positives);
    for (b = 0; b < BINS; b++)
        error += fabs(sum[b] - vessels[b]);
    return n ? error / (double)n : 0;
}
