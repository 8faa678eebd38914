/* samples.h - repeated measurements of one thing, over several rounds. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

struct samples {
    double *items;
    int count, capacity;
    int round_start;
};

void samples_add(struct samples *samples, double value);
void samples_free(struct samples *samples);
/* NaN without any. */
double samples_median(const struct samples *samples);
double samples_min(const struct samples *samples);
double samples_max(const struct samples *samples);

/* The medians of the rounds of a measurement: how far they lie apart says how quiet the machine was. */
struct series {
    struct samples all, medians;
};
void series_add(struct series *series, double value);
void series_end_round(struct series *series);
void series_free(struct series *series);

#endif
