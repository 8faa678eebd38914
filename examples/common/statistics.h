/* statistics.h - means with their spread, paired differences with bootstrap intervals, and areas under curves from
 * histograms of scores. Every number depends on its arguments alone. */
#ifndef EXAMPLES_STATISTICS_H
#define EXAMPLES_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/* Numbers that are not finite are left out. */
struct summary {
    size_t count;
    double mean;      /* NaN: of nothing */
    double deviation; /* standard deviation of a sample (n - 1), NaN below two numbers */
};
struct summary summarise(const double *values, size_t count);

/* Differences of pairs (first - second), each pair one image. */
struct paired {
    size_t count, wins, losses; /* pairs; differences above and below 0 */
    double mean, low, high;     /* NaN without a pair; the interval is that of the mean */
};

enum { BOOTSTRAP_RESAMPLES = 10000 };
/* The percentile bootstrap (Efron 1979): means of `resamples` drawings of `count` differences with replacement; the
 * interval holds the middle `level` of them, with linear interpolation between the sorted means. The draws are a
 * function of (seed, resample, place). Differences that are not finite are left out. */
struct paired paired_bootstrap(const double *differences, size_t count, int resamples, double level, uint64_t seed);

/* How often scores fell between two bounds, for vessel and background pixels. The bounds cut each octave of the score
 * (of 1 - score above 0.5) evenly: into many bins near 0.5, where most changes, into a few near 0 and 1. 0.5 is a
 * bound. */
enum {
    SCORE_FINE_OCTAVES = 5,
    SCORE_FINE_STEPS = 128,
    SCORE_COARSE_OCTAVES = 17,
    SCORE_COARSE_STEPS = 8,
    SCORE_BINS = 2 * (SCORE_FINE_OCTAVES * SCORE_FINE_STEPS + SCORE_COARSE_OCTAVES * SCORE_COARSE_STEPS)
};
struct score_histogram {
    int64_t vessel[SCORE_BINS], background[SCORE_BINS];
};
int score_bin(float score); /* rising with the score; outside [0, 1] is the nearest bin */
void histogram_add(struct score_histogram *into, const struct score_histogram *more);

struct areas {
    double roc, pr, average_precision; /* trapezoids, and the sum of (recall step) * precision; NaN with one class */
};
struct areas histogram_areas(const struct score_histogram *histogram);
/* Areas of several sets of pixels together (count >= 1), from their histograms and the exact areas of each. What a
 * histogram misses is the order within its bins; how much that is, the sets tell by themselves, and as much is taken
 * for pairs of pixels of different sets that share a bin. Exact for one set. */
struct measured {
    const struct score_histogram *histogram;
    struct areas exact;
};
struct areas pooled_areas(const struct measured *sets, size_t count);
/* At most SCORE_BINS + 1 points, in order of falling threshold. ROC: x false positive rate, y sensitivity. PR: x
 * recall, y precision. Returns their number, 0 with one class only. */
size_t histogram_curve(const struct score_histogram *histogram, int roc, double *x, double *y);

#endif
