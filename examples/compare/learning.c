/* learning.c - how star and sum differ while they learn: the validation metric of star - sum, epoch by epoch,
 * as the mean over the pairs of runs (same activation, fold and seed). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

/* The metric of an epoch, NaN: the run had ended, or a long history was thinned. */
static double metric_at(const struct record *record, long long number) {
    const struct history *history = &record->history;
    size_t i;
    for (i = 0; i < history->count && history->items[i].number <= number; i++)
        if (history->items[i].number == number)
            return history->items[i].metric;
    return NAN;
}

struct pair {
    const struct record *star, *sum;
};

static size_t find_pairs(const struct results *results, int32_t activation, struct pair **pairs, long long *last) {
    size_t i, count = 0;
    *pairs = must_allocate(results->record_count, sizeof **pairs);
    *last = 0;
    for (i = 0; i < results->record_count; i++) {
        const struct record *star = &results->records[i], *sum;
        if (star->cell.activation != activation || star->cell.fusion != UNETSTAR_FUSION_STAR)
            continue;
        sum = results_find(results, UNETSTAR_FUSION_SUM, activation, star->cell.fold, star->cell.seed);
        if (!sum)
            continue;
        (*pairs)[count].star = star;
        (*pairs)[count++].sum = sum;
        if (star->epochs > *last)
            *last = star->epochs;
    }
    return count;
}

static void find_changes(struct learning *learning) {
    int sign = 0;
    size_t i;
    for (i = 0; i < learning->count; i++) {
        double mean = learning->differences[i].mean;
        int now = mean > 0 ? 1 : mean < 0 ? -1 : sign;
        if (sign && now != sign) {
            learning->changes++;
            learning->last_change = (size_t)learning->epochs[i];
        }
        sign = now;
    }
}

/* A mean over few of the pairs is one of other runs than the mean before it: the curve ends where fewer than half of
 * them still train. */
static void make_one(struct results *results, int32_t activation) {
    struct learning learning;
    struct pair *pairs;
    long long last, number;
    size_t i, count = find_pairs(results, activation, &pairs, &last);
    double *values = must_allocate(count, sizeof *values);
    const char *metric = facts_find(&results->records[0].options, "metric");
    memset(&learning, 0, sizeof learning);
    learning.activation = activation;
    learning.falls = metric && !strcmp(metric, "loss");
    for (number = 1; count && number <= last; number++) {
        struct summary summary;
        for (i = 0; i < count; i++)
            values[i] = metric_at(pairs[i].star, number) - metric_at(pairs[i].sum, number);
        summary = summarise(values, count);
        if (summary.count * 2 < count || !summary.count)
            continue;
        learning.epochs = must_grow(learning.epochs, learning.count + 1, sizeof *learning.epochs);
        learning.differences = must_grow(learning.differences, learning.count + 1, sizeof *learning.differences);
        learning.epochs[learning.count] = (double)number;
        learning.differences[learning.count++] = summary;
    }
    free(values);
    free(pairs);
    if (!learning.count)
        return;
    find_changes(&learning);
    results->learning = must_grow(results->learning, results->learning_count + 1, sizeof *results->learning);
    results->learning[results->learning_count++] = learning;
}

void learning_make(struct results *results) {
    size_t a;
    for (a = 0; a < results->activations.count; a++)
        make_one(results, results->activations.items[a]);
}
