#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

struct summary summarise(const double *values, size_t count) {
    struct summary summary = {0, NAN, NAN};
    double sum = 0, squares = 0;
    size_t i;
    for (i = 0; i < count; i++)
        if (isfinite(values[i])) {
            sum += values[i];
            summary.count++;
        }
    if (!summary.count)
        return summary;
    summary.mean = sum / (double)summary.count;
    for (i = 0; i < count; i++)
        if (isfinite(values[i]))
            squares += (values[i] - summary.mean) * (values[i] - summary.mean);
    if (summary.count > 1)
        summary.deviation = sqrt(squares / (double)(summary.count - 1));
    return summary;
}

/* ---- Bootstrap ---- */

/* The mixing step of SplitMix64 (Steele, Lea, Flood 2014) on a counter. */
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Uniform in [0, count): the upper half of 32 random bits times count. */
static size_t draw(uint64_t seed, uint64_t resample, uint64_t place, size_t count) {
    uint64_t bits = mix(mix(mix(seed) ^ resample) ^ place);
    return (size_t)(((bits >> 32) * (uint64_t)count) >> 32);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int count, double q) {
    double at = q * (count - 1);
    int below = (int)floor(at);
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

struct paired paired_bootstrap(const double *differences, size_t count, int resamples, double level, uint64_t seed) {
    struct paired paired = {0, 0, 0, NAN, NAN, NAN};
    double *kept = must_allocate(count, sizeof *kept), *means = must_allocate((size_t)resamples, sizeof *means);
    size_t i, n = 0;
    int r;
    for (i = 0; i < count; i++)
        if (isfinite(differences[i])) {
            kept[n++] = differences[i];
            paired.wins += differences[i] > 0;
            paired.losses += differences[i] < 0;
        }
    paired.count = n;
    if (n) {
        paired.mean = summarise(kept, n).mean;
        for (r = 0; r < resamples; r++) {
            double sum = 0;
            for (i = 0; i < n; i++)
                sum += kept[draw(seed, (uint64_t)r, i, n)];
            means[r] = sum / (double)n;
        }
        qsort(means, (size_t)resamples, sizeof *means, compare_doubles);
        paired.low = quantile(means, resamples, (1 - level) / 2);
        paired.high = quantile(means, resamples, (1 + level) / 2);
    }
    free(kept);
    free(means);
    return paired;
}

/* ---- Histograms of scores ---- */

/* Bins of (0, 0.5), rising. What is smaller than the last octave falls into bin 0. */
static int half_bin(double p) {
    int exponent, octave;
    double within = 2 * frexp(p, &exponent) - 1; /* p = (1 + within) / 2 * 2^exponent; exponent is at most -1 */
    octave = SCORE_COARSE_OCTAVES + SCORE_FINE_OCTAVES + exponent;
    if (octave < 0)
        return 0;
    if (octave < SCORE_COARSE_OCTAVES)
        return octave * SCORE_COARSE_STEPS + (int)(within * SCORE_COARSE_STEPS);
    return SCORE_COARSE_OCTAVES * SCORE_COARSE_STEPS + (octave - SCORE_COARSE_OCTAVES) * SCORE_FINE_STEPS +
           (int)(within * SCORE_FINE_STEPS);
}

int score_bin(float score) {
    double p = (double)score;
    if (!(p > 0))
        return 0;
    if (p >= 1)
        return SCORE_BINS - 1;
    if (p < 0.5)
        return half_bin(p);
    /* Mirrored, with 0.5 itself in the upper half. */
    if (1 - p >= 0.5)
        return SCORE_BINS / 2;
    return SCORE_BINS - 1 - half_bin(1 - p);
}

void histogram_add(struct score_histogram *into, const struct score_histogram *more) {
    int i;
    for (i = 0; i < SCORE_BINS; i++) {
        into->vessel[i] += more->vessel[i];
        into->background[i] += more->background[i];
    }
}

static void totals(const struct score_histogram *histogram, double *vessels, double *others) {
    int i;
    *vessels = *others = 0;
    for (i = 0; i < SCORE_BINS; i++) {
        *vessels += (double)histogram->vessel[i];
        *others += (double)histogram->background[i];
    }
}

struct areas histogram_areas(const struct score_histogram *histogram) {
    struct areas areas = {0, 0, 0};
    double vessels, others, tp = 0, fp = 0, recall = 0, precision = 1;
    int i;
    totals(histogram, &vessels, &others);
    if (!(vessels > 0) || !(others > 0)) {
        areas.roc = areas.pr = areas.average_precision = NAN;
        return areas;
    }
    for (i = SCORE_BINS - 1; i >= 0; i--) {
        double more_tp = (double)histogram->vessel[i], more_fp = (double)histogram->background[i], now;
        if (!(more_tp + more_fp > 0))
            continue;
        areas.roc += more_fp * (tp + more_tp / 2);
        tp += more_tp;
        fp += more_fp;
        now = tp / (tp + fp);
        areas.pr += (tp / vessels - recall) * (now + precision) / 2;
        areas.average_precision += (tp / vessels - recall) * now;
        recall = tp / vessels;
        precision = now;
    }
    areas.roc /= vessels * others;
    return areas;
}

/* Share of the pairs of a vessel and a background pixel that fall into one bin. */
static double shared_pairs(const struct score_histogram *histogram, double *pairs) {
    double vessels, others, shared = 0;
    int i;
    totals(histogram, &vessels, &others);
    *pairs = vessels * others;
    for (i = 0; i < SCORE_BINS; i++)
        shared += (double)histogram->vessel[i] * (double)histogram->background[i];
    return *pairs > 0 ? shared / *pairs : 0;
}

struct areas pooled_areas(const struct measured *sets, size_t count) {
    struct score_histogram *all = must_allocate(1, sizeof *all);
    struct areas pooled, missed = {0, 0, 0};
    double pairs, shared = 0, scale;
    size_t i;
    for (i = 0; i < count; i++) {
        struct areas seen = histogram_areas(sets[i].histogram);
        double share = shared_pairs(sets[i].histogram, &pairs);
        histogram_add(all, sets[i].histogram);
        if (!(pairs > 0) || !isfinite(sets[i].exact.roc))
            continue;
        missed.roc += pairs * (sets[i].exact.roc - seen.roc);
        missed.pr += pairs * (sets[i].exact.pr - seen.pr);
        missed.average_precision += pairs * (sets[i].exact.average_precision - seen.average_precision);
        shared += pairs * share;
    }
    pooled = histogram_areas(all);
    scale = shared > 0 ? shared_pairs(all, &pairs) / shared : 0;
    pooled.roc += scale * missed.roc;
    pooled.pr += scale * missed.pr;
    pooled.average_precision += scale * missed.average_precision;
    free(all);
    return pooled;
}

size_t histogram_curve(const struct score_histogram *histogram, int roc, double *x, double *y) {
    double vessels, others, tp = 0, fp = 0;
    size_t n = 0;
    int i;
    totals(histogram, &vessels, &others);
    if (!(vessels > 0) || !(others > 0))
        return 0;
    x[n] = 0;
    y[n++] = roc ? 0 : 1;
    for (i = SCORE_BINS - 1; i >= 0; i--) {
        if (!(histogram->vessel[i] + histogram->background[i]))
            continue;
        tp += (double)histogram->vessel[i];
        fp += (double)histogram->background[i];
        x[n] = roc ? fp / others : tp / vessels;
        y[n++] = roc ? tp / vessels : tp / (tp + fp);
    }
    return n;
}
