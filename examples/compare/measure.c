/* measure.c - from maps of the test images to the numbers of a record. */
#include <math.h>
#include <string.h>

#include "compare.h"

struct measuring {
    struct record *record;
    unetstar_metrics *whole; /* all pixels of the test images, without a mask */
    size_t tested;
    cell_progress progress;
    void *user;
};

static void count_pixel(struct record *record, int r, float probability, int vessel) {
    struct score_histogram *histogram = &record->histograms[r];
    struct calibration_bins *bins = &record->calibration[r];
    int k = (int)((double)probability * CALIBRATION_BINS);
    (vessel ? histogram->vessel : histogram->background)[score_bin(probability)]++;
    k = k < 0 ? 0 : k < CALIBRATION_BINS ? k : CALIBRATION_BINS - 1;
    bins->pixels[k]++;
    bins->vessels[k] += vessel;
    bins->probability[k] += (double)probability;
}

static int visit(void *user, const struct scored *scored, struct problem *problem) {
    struct measuring *measuring = user;
    int64_t i;
    int error = unetstar_metrics_add_image(measuring->whole, scored->name, scored->width, scored->height,
                                           scored->probability, scored->label, NULL);
    if (error)
        return problem_from_library(problem, scored->name, error);
    for (i = 0; i < scored->width * scored->height; i++) {
        int r = scored->mask && !scored->mask[i] ? REGION_WHOLE : REGION_FIELD;
        for (; r < REGIONS; r++)
            count_pixel(measuring->record, r, scored->probability[i], scored->label[i] != 0);
    }
    measuring->tested++;
    /* The last twentieth of a cell. */
    return measuring->progress &&
                   measuring->progress(measuring->user,
                                       0.95 + 0.05 * (double)measuring->tested / (double)measuring->record->image_count,
                                       "testing")
               ? problem_set(problem, "interrupted")
               : 0;
}

static void take_counts(long long counts[COUNTS], const unetstar_scores *scores) {
    counts[TP] = (long long)scores->true_positives;
    counts[FP] = (long long)scores->false_positives;
    counts[TN] = (long long)scores->true_negatives;
    counts[FN] = (long long)scores->false_negatives;
}

static int take_scores(struct record *record, int r, const struct table *table, unetstar_metrics *metrics,
                       struct problem *problem) {
    size_t i;
    int k;
    for (i = 0; i < table->count; i++) {
        struct image_result *image = &record->images[i];
        take_counts(image->counts[r], &table->rows[i]);
        image->roc[r] = table->rows[i].roc_auc;
        image->average_precision[r] = table->rows[i].average_precision;
        image->f1[r] = table->rows[i].f1;
        image->cl_dice[r] = table->rows[i].cl_dice;
    }
    take_counts(record->counts[r], &table->pooled);
    record->roc[r] = table->pooled.roc_auc;
    record->pr[r] = table->pooled.pr_auc;
    record->average_precision[r] = table->pooled.average_precision;
    for (k = 0; k < 2; k++) {
        struct curve *curve = &record->curves[r][k];
        int64_t count = 0;
        int error = unetstar_metrics_curve(metrics, k ? UNETSTAR_CURVE_PR : UNETSTAR_CURVE_ROC, CURVE_MOST, curve->x,
                                           curve->y, &count);
        if (error)
            return problem_from_library(problem, NULL, error);
        curve->count = (size_t)count;
    }
    return 0;
}

/* What has no probabilities has no calibration, and a drawing of 0 and 1 one operating point instead of a curve. */
static void forget_what_is_not(struct record *record) {
    int r;
    size_t i;
    for (r = 0; r < REGIONS && record->reference; r++) {
        memset(&record->calibration[r], 0, sizeof record->calibration[r]);
        if (record->reference != REFERENCE_OBSERVER)
            continue;
        record->roc[r] = record->pr[r] = record->average_precision[r] = NAN;
        record->curves[r][0].count = record->curves[r][1].count = 0;
        for (i = 0; i < record->image_count; i++)
            record->images[i].roc[r] = record->images[i].average_precision[r] = NAN;
    }
}

int record_measure(struct record *record, struct scoring *scoring, const struct plan *plan, const struct indices *test,
                   cell_progress progress, void *user, struct problem *problem) {
    struct measuring measuring = {record, NULL, 0, progress, user};
    struct table field = {0}, whole = {0};
    unetstar_metrics *metrics = NULL;
    int result = unetstar_metrics_create(&measuring.whole, scoring->context);
    if (result)
        return problem_from_library(problem, NULL, result);
    scoring->threshold = 0.5;
    scoring->quiet = 1;
    scoring->visit = visit;
    scoring->user = &measuring;
    result = score_samples(scoring, &plan->collection, test, &field, &metrics, problem);
    if (!result)
        result = table_from_metrics(&whole, measuring.whole, 0.5, problem);
    if (!result)
        result = take_scores(record, REGION_FIELD, &field, metrics, problem);
    if (!result)
        result = take_scores(record, REGION_WHOLE, &whole, measuring.whole, problem);
    if (!result)
        forget_what_is_not(record);
    table_free(&field);
    table_free(&whole);
    unetstar_metrics_destroy(metrics);
    unetstar_metrics_destroy(measuring.whole);
    return result;
}
