/* compare_results.c - from records to the numbers of a report: tables, paired differences, costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

const char *const column_names[COLUMNS] = {"roc_auc",     "pr_auc",      "f1",        "accuracy",
                                           "sensitivity", "specificity", "precision", "average_precision"};
const char *const column_headings[COLUMNS] = {"ROC AUC",     "PR AUC",      "F1",        "accuracy",
                                              "sensitivity", "specificity", "precision", "average precision"};
const char *const paired_names[PAIRED] = {"f1", "roc_auc", "average_precision"};

const char *fusion_name(int32_t fusion) {
    return choice_name(settings_fusions, fusion);
}

const char *activation_name(int32_t activation) {
    return choice_name(settings_activations, activation);
}

void fold_text(char *text, size_t size, int32_t fold) {
    if (fold == FOLD_OWN)
        snprintf(text, size, "own");
    else
        snprintf(text, size, "%d", (int)fold);
}

void variant_text(char *text, size_t size, int32_t fusion, int32_t activation) {
    snprintf(text, size, "%s, %s", fusion_name(fusion),
             activation == UNETSTAR_ACTIVATION_NONE ? "no activation" : activation_name(activation));
}

/* ---- The axes of the matrix ---- */

static int compare_records(const void *a, const void *b) {
    const struct cell *x = &((const struct record *)a)->cell, *y = &((const struct record *)b)->cell;
    if (x->activation != y->activation)
        return x->activation < y->activation ? -1 : 1;
    if (x->fusion != y->fusion)
        return x->fusion < y->fusion ? -1 : 1;
    if (x->fold != y->fold)
        return x->fold < y->fold ? -1 : 1;
    return (x->seed > y->seed) - (x->seed < y->seed);
}

/* Sorted, each once; what is beyond the list's length is left out. */
static void axis_add(struct axis32 *axis, int32_t value) {
    size_t i = 0, k;
    while (i < axis->count && axis->items[i] < value)
        i++;
    if ((i < axis->count && axis->items[i] == value) || axis->count == LIST_MAX)
        return;
    for (k = axis->count++; k > i; k--)
        axis->items[k] = axis->items[k - 1];
    axis->items[i] = value;
}

static void seeds_add(struct results *results, uint64_t seed) {
    size_t i = 0, k;
    while (i < results->seed_count && results->seeds[i] < seed)
        i++;
    if (i < results->seed_count && results->seeds[i] == seed)
        return;
    results->seeds = must_grow(results->seeds, results->seed_count + 1, sizeof *results->seeds);
    for (k = results->seed_count++; k > i; k--)
        results->seeds[k] = results->seeds[k - 1];
    results->seeds[i] = seed;
}

const struct record *results_find(const struct results *results, int32_t fusion, int32_t activation, int32_t fold,
                                  uint64_t seed) {
    size_t i;
    for (i = 0; i < results->record_count; i++) {
        const struct cell *cell = &results->records[i].cell;
        if (cell->fusion == fusion && cell->activation == activation && cell->fold == fold && cell->seed == seed)
            return &results->records[i];
    }
    return NULL;
}

static void find_missing(struct results *results) {
    size_t a, f, k, s;
    for (a = 0; a < results->activations.count; a++)
        for (f = 0; f < results->fusions.count; f++)
            for (k = 0; k < results->folds.count; k++)
                for (s = 0; s < results->seed_count; s++) {
                    struct cell cell = {results->fusions.items[f], results->activations.items[a],
                                        results->folds.items[k], results->seeds[s]};
                    char *name;
                    if (results_find(results, cell.fusion, cell.activation, cell.fold, cell.seed))
                        continue;
                    name = cell_name(&cell);
                    names_add(&results->missing, name);
                    free(name);
                }
}

/* ---- Tables ---- */

static double ratio(double above, double below) {
    return below > 0 ? above / below : 0;
}

static void from_counts(const double counts[COUNTS], double values[COLUMNS]) {
    double tp = counts[TP], fp = counts[FP], tn = counts[TN], fn = counts[FN];
    values[COLUMN_F1] = ratio(2 * tp, 2 * tp + fp + fn);
    values[COLUMN_ACCURACY] = ratio(tp + tn, tp + tn + fp + fn);
    values[COLUMN_SENSITIVITY] = ratio(tp, tp + fn);
    values[COLUMN_SPECIFICITY] = ratio(tn, tn + fp);
    values[COLUMN_PRECISION] = ratio(tp, tp + fp);
}

static void values_of_fold(const struct record *record, enum region r, double values[COLUMNS]) {
    double counts[COUNTS];
    int k;
    for (k = 0; k < COUNTS; k++)
        counts[k] = (double)record->counts[r][k];
    from_counts(counts, values);
    values[COLUMN_ROC] = record->roc[r];
    values[COLUMN_PR] = record->pr[r];
    values[COLUMN_AP] = record->average_precision[r];
}

/* All pixels of all folds together; -1 when a fold is missing. */
static int values_pooled(const struct results *results, int32_t fusion, int32_t activation, uint64_t seed,
                         enum region r, double values[COLUMNS]) {
    struct measured sets[LIST_MAX];
    struct areas areas;
    double counts[COUNTS] = {0, 0, 0, 0};
    size_t i;
    int k;
    memset(sets, 0, sizeof sets);
    for (i = 0; i < results->folds.count; i++) {
        const struct record *record = results_find(results, fusion, activation, results->folds.items[i], seed);
        if (!record)
            return -1;
        for (k = 0; k < COUNTS; k++)
            counts[k] += (double)record->counts[r][k];
        sets[i].histogram = &record->histograms[r];
        sets[i].exact.roc = record->roc[r];
        sets[i].exact.pr = record->pr[r];
        sets[i].exact.average_precision = record->average_precision[r];
    }
    areas = pooled_areas(sets, results->folds.count);
    from_counts(counts, values);
    values[COLUMN_ROC] = areas.roc;
    values[COLUMN_PR] = areas.pr;
    values[COLUMN_AP] = areas.average_precision;
    return 0;
}

/* pooled: over folds, else of one. */
static int values_of(const struct results *results, const struct table_row *row, int32_t fusion, uint64_t seed,
                     double values[COLUMNS]) {
    const struct record *record;
    if (row->pooled)
        return values_pooled(results, fusion, row->activation, seed, row->region, values);
    record = results_find(results, fusion, row->activation, row->fold, seed);
    if (!record)
        return -1;
    values_of_fold(record, row->region, values);
    return 0;
}

/* A row of a fusion, or of the differences star - sum seed by seed. */
static void add_row(struct results *results, struct table_row row) {
    double *seen = must_allocate(results->seed_count * COLUMNS, sizeof *seen), one[COLUMNS], other[COLUMNS];
    size_t s, n = 0;
    int k;
    for (s = 0; s < results->seed_count; s++) {
        uint64_t seed = results->seeds[s];
        int32_t fusion = row.fusion < 0 ? UNETSTAR_FUSION_STAR : row.fusion;
        if (values_of(results, &row, fusion, seed, one))
            continue;
        if (row.fusion < 0 && values_of(results, &row, UNETSTAR_FUSION_SUM, seed, other))
            continue;
        for (k = 0; k < COLUMNS; k++)
            seen[(size_t)k * results->seed_count + n] = row.fusion < 0 ? one[k] - other[k] : one[k];
        n++;
    }
    for (k = 0; k < COLUMNS; k++)
        row.values[k] = summarise(seen + (size_t)k * results->seed_count, n);
    free(seen);
    if (!n)
        return;
    results->rows = must_grow(results->rows, results->row_count + 1, sizeof *results->rows);
    results->rows[results->row_count++] = row;
}

static void add_rows(struct results *results, struct table_row row) {
    size_t f;
    for (f = 0; f < results->fusions.count; f++) {
        row.fusion = results->fusions.items[f];
        add_row(results, row);
        /* Sum and star stand first, as they are numbered; their difference follows them. */
        if (row.fusion == UNETSTAR_FUSION_STAR) {
            row.fusion = -1;
            add_row(results, row);
        }
    }
}

static void make_rows(struct results *results) {
    struct table_row row;
    size_t a, k;
    int r;
    memset(&row, 0, sizeof row);
    for (r = 0; r < REGIONS; r++)
        for (a = 0; a < results->activations.count; a++) {
            row.region = r ? REGION_WHOLE : REGION_FIELD;
            row.activation = results->activations.items[a];
            row.pooled = 0;
            for (k = 0; k < results->folds.count; k++) {
                row.fold = results->folds.items[k];
                add_rows(results, row);
            }
            row.pooled = 1;
            if (results->folds.count > 1)
                add_rows(results, row);
        }
}

/* ---- Star against sum, image by image ---- */

static double measure_of(const struct image_result *image, enum region r, int measure) {
    return measure == PAIRED_F1 ? image->f1[r] : measure == PAIRED_ROC ? image->roc[r] : image->average_precision[r];
}

/* The differences of one fold: each image's mean over the seeds that both have. Returns their number. */
static size_t fold_differences(const struct results *results, const struct paired_row *row, int32_t fold,
                               double **differences, size_t count) {
    size_t s, i, images = 0, pairs = 0;
    for (s = 0; s < results->seed_count; s++) {
        const struct record *star =
            results_find(results, UNETSTAR_FUSION_STAR, row->activation, fold, results->seeds[s]);
        const struct record *sum = results_find(results, UNETSTAR_FUSION_SUM, row->activation, fold, results->seeds[s]);
        if (!star || !sum || (pairs && star->image_count != images) || star->image_count != sum->image_count)
            continue;
        if (!pairs++) {
            images = star->image_count;
            *differences = must_grow(*differences, count + images, sizeof **differences);
            memset(*differences + count, 0, images * sizeof **differences);
        }
        for (i = 0; i < images; i++)
            (*differences)[count + i] += measure_of(&star->images[i], row->region, row->measure) -
                                         measure_of(&sum->images[i], row->region, row->measure);
    }
    for (i = 0; i < images; i++)
        (*differences)[count + i] /= (double)pairs;
    return images;
}

static void make_paired(struct results *results) {
    size_t a, k;
    int r, m;
    for (r = 0; r < REGIONS; r++)
        for (a = 0; a < results->activations.count; a++)
            for (m = 0; m < PAIRED; m++) {
                struct paired_row row;
                double *differences = NULL;
                size_t count = 0;
                memset(&row, 0, sizeof row);
                row.region = r ? REGION_WHOLE : REGION_FIELD;
                row.activation = results->activations.items[a];
                row.measure = m;
                for (k = 0; k < results->folds.count; k++)
                    count += fold_differences(results, &row, results->folds.items[k], &differences, count);
                if (count) {
                    row.paired = paired_bootstrap(differences, count, BOOTSTRAP_RESAMPLES, 0.95, 1);
                    results->paired = must_grow(results->paired, results->paired_count + 1, sizeof *results->paired);
                    results->paired[results->paired_count++] = row;
                }
                free(differences);
            }
}

/* ---- Costs ---- */

static void make_costs(struct results *results) {
    double *epochs = must_allocate(results->record_count, sizeof *epochs);
    double *train = must_allocate(results->record_count, sizeof *train);
    double *test = must_allocate(results->record_count, sizeof *test);
    size_t a, f, i;
    for (a = 0; a < results->activations.count; a++)
        for (f = 0; f < results->fusions.count; f++) {
            struct cost_row row;
            size_t n = 0;
            memset(&row, 0, sizeof row);
            row.fusion = results->fusions.items[f];
            row.activation = results->activations.items[a];
            for (i = 0; i < results->record_count; i++) {
                const struct record *record = &results->records[i];
                if (record->cell.fusion != row.fusion || record->cell.activation != row.activation)
                    continue;
                row.parameters = record->parameters;
                row.multiply_adds = record->multiply_adds;
                epochs[n] = (double)record->epochs;
                train[n] = record->train_seconds;
                test[n++] = record->test_seconds;
            }
            if (!n)
                continue;
            row.epochs = summarise(epochs, n);
            row.train_seconds = summarise(train, n);
            row.test_seconds = summarise(test, n);
            results->costs = must_grow(results->costs, results->cost_count + 1, sizeof *results->costs);
            results->costs[results->cost_count++] = row;
        }
    free(epochs);
    free(train);
    free(test);
}

void results_make(struct results *results, struct record *records, size_t count) {
    size_t i;
    memset(results, 0, sizeof *results);
    results->records = records;
    results->record_count = count;
    qsort(records, count, sizeof *records, compare_records);
    for (i = 0; i < count; i++) {
        axis_add(&results->fusions, records[i].cell.fusion);
        axis_add(&results->activations, records[i].cell.activation);
        axis_add(&results->folds, records[i].cell.fold);
        seeds_add(results, records[i].cell.seed);
    }
    find_missing(results);
    make_rows(results);
    make_paired(results);
    make_costs(results);
}

void results_free(struct results *results) {
    size_t i;
    for (i = 0; i < results->record_count; i++)
        record_free(&results->records[i]);
    free(results->records);
    free(results->seeds);
    free(results->rows);
    free(results->paired);
    free(results->costs);
    names_free(&results->missing);
    memset(results, 0, sizeof *results);
}
