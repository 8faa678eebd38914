#include "samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/problem.h"

void samples_add(struct samples *samples, double value) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 16;
        samples->items = must_grow(samples->items, (size_t)samples->capacity, sizeof *samples->items);
    }
    samples->items[samples->count++] = value;
}

void samples_free(struct samples *samples) {
    free(samples->items);
    memset(samples, 0, sizeof *samples);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const double *items, int count) {
    double *sorted, value;
    if (count <= 0)
        return NAN;
    sorted = must_allocate((size_t)count, sizeof *sorted);
    memcpy(sorted, items, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    value = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    free(sorted);
    return value;
}

double samples_median(const struct samples *samples) {
    return median_of(samples->items, samples->count);
}

double samples_min(const struct samples *samples) {
    double value = samples->count ? samples->items[0] : NAN;
    int i;
    for (i = 1; i < samples->count; i++)
        value = samples->items[i] < value ? samples->items[i] : value;
    return value;
}

double samples_max(const struct samples *samples) {
    double value = samples->count ? samples->items[0] : NAN;
    int i;
    for (i = 1; i < samples->count; i++)
        value = samples->items[i] > value ? samples->items[i] : value;
    return value;
}

void series_add(struct series *series, double value) {
    samples_add(&series->all, value);
}

void series_end_round(struct series *series) {
    const int start = series->all.round_start;
    if (series->all.count > start)
        samples_add(&series->medians, median_of(series->all.items + start, series->all.count - start));
    series->all.round_start = series->all.count;
}

void series_free(struct series *series) {
    samples_free(&series->all);
    samples_free(&series->medians);
}
