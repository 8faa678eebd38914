/* results.c - from records to the numbers of a report: tables, paired differences, costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

const char *const column_names[COLUMNS] = {"roc_auc",     "pr_auc",    "f1",      "accuracy",          "sensitivity",
                                           "specificity", "precision", "cl_dice", "calibration_error", "average_precision"};
const char *const column_headings[COLUMNS] = {
    "ROC AUC", "PR AUC", "F1", "accuracy", "sensitivity", "specificity", "precision", "clDice", "ECE", "average precision"};
const int column_falls[COLUMNS] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
const char *const paired_names[PAIRED] = {"f1", "roc_auc", "average_precision", "cl_dice"};

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

const char *row_name(const struct table_row *row) {
    switch (row->fusion) {
    case ROW_DIFFERENCE:
        return "star - sum";
    case ROW_OBSERVER:
        return "second observer";
    case ROW_HESSIAN:
        return "Hessian filter";
    default:
        return fusion_name(row->fusion);
    }
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

const struct record *results_reference(const struct results *results, enum reference reference, int32_t fold) {
    size_t i;
    for (i = 0; i < results->reference_count; i++)
        if (results->references[i].reference == reference && results->references[i].cell.fold == fold)
            return &results->references[i];
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

void calibration_add(struct calibration_bins *into, const struct calibration_bins *more) {
    int i;
    for (i = 0; i < CALIBRATION_BINS; i++) {
        into->pixels[i] += more->pixels[i];
        into->vessels[i] += more->vessels[i];
        into->probability[i] += more->probability[i];
    }
}

/* Each bin counts by its share of the pixels: |mean probability - share of vessels| * pixels is |sum - vessels|. */
double calibration_error(const struct calibration_bins *bins) {
    double pixels = 0, error = 0;
    int i;
    for (i = 0; i < CALIBRATION_BINS; i++) {
        pixels += (double)bins->pixels[i];
        error += fabs(bins->probability[i] - (double)bins->vessels[i]);
    }
    return pixels > 0 ? error / pixels : NAN;
}

/* The sum over the images where there is a value, and their number. */
static void add_cl_dice(const struct record *record, enum region r, double *sum, double *count) {
    size_t i;
    for (i = 0; i < record->image_count; i++)
        if (isfinite(record->images[i].cl_dice[r])) {
            *sum += record->images[i].cl_dice[r];
            *count += 1;
        }
}

/* All pixels of some records together, of one fold each. */
static void values_of_records(const struct record *const *records, size_t n, enum region r, double values[COLUMNS]) {
    struct measured sets[LIST_MAX];
    struct calibration_bins bins;
    struct areas areas;
    double counts[COUNTS] = {0, 0, 0, 0}, cl_dice = 0, images = 0;
    size_t i;
    int k;
    memset(sets, 0, sizeof sets);
    memset(&bins, 0, sizeof bins);
    for (i = 0; i < n; i++) {
        const struct record *record = records[i];
        for (k = 0; k < COUNTS; k++)
            counts[k] += (double)record->counts[r][k];
        sets[i].histogram = &record->histograms[r];
        sets[i].exact.roc = record->roc[r];
        sets[i].exact.pr = record->pr[r];
        sets[i].exact.average_precision = record->average_precision[r];
        calibration_add(&bins, &record->calibration[r]);
        add_cl_dice(record, r, &cl_dice, &images);
    }
    from_counts(counts, values);
    areas = n == 1 ? sets[0].exact : pooled_areas(sets, n);
    if (records[0]->reference == REFERENCE_OBSERVER)
        areas.roc = areas.pr = areas.average_precision = NAN;
    values[COLUMN_ROC] = areas.roc;
    values[COLUMN_PR] = areas.pr;
    values[COLUMN_AP] = areas.average_precision;
    values[COLUMN_CL_DICE] = images > 0 ? cl_dice / images : NAN;
    values[COLUMN_CALIBRATION] = calibration_error(&bins);
}

/* Of one fold, or pooled over all; -1 when a record is missing. */
static int values_of(const struct results *results, const struct table_row *row, int32_t fusion, uint64_t seed,
                     double values[COLUMNS]) {
    const struct record *records[LIST_MAX];
    size_t i, n = row->pooled ? results->folds.count : 1;
    for (i = 0; i < n; i++) {
        int32_t fold = row->pooled ? results->folds.items[i] : row->fold;
        if (fusion == ROW_OBSERVER || fusion == ROW_HESSIAN)
            records[i] =
                results_reference(results, fusion == ROW_OBSERVER ? REFERENCE_OBSERVER : REFERENCE_HESSIAN, fold);
        else
            records[i] = results_find(results, fusion, row->activation, fold, seed);
        if (!records[i])
            return -1;
    }
    values_of_records(records, n, row->region, values);
    return 0;
}

/* A row of a fusion or a reference, or of the differences star - sum seed by seed. */
static void add_row(struct results *results, struct table_row row) {
    double *seen = must_allocate(results->seed_count * COLUMNS, sizeof *seen), one[COLUMNS], other[COLUMNS];
    size_t s, n = 0, runs = row.fusion < ROW_DIFFERENCE ? 1 : results->seed_count;
    int k, difference = row.fusion == ROW_DIFFERENCE;
    for (s = 0; s < runs; s++) {
        uint64_t seed = results->seeds[s];
        if (values_of(results, &row, difference ? UNETSTAR_FUSION_STAR : row.fusion, seed, one))
            continue;
        if (difference && values_of(results, &row, UNETSTAR_FUSION_SUM, seed, other))
            continue;
        for (k = 0; k < COLUMNS; k++)
            seen[(size_t)k * results->seed_count + n] = difference ? one[k] - other[k] : one[k];
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
            row.fusion = ROW_DIFFERENCE;
            add_row(results, row);
        }
    }
}

static void add_references(struct results *results, struct table_row row) {
    row.fusion = ROW_OBSERVER;
    add_row(results, row);
    row.fusion = ROW_HESSIAN;
    add_row(results, row);
}

static void make_rows(struct results *results) {
    struct table_row row;
    size_t a, k;
    int r;
    memset(&row, 0, sizeof row);
    for (r = 0; r < REGIONS; r++)
        for (a = 0; a <= results->activations.count; a++) {
            void (*add)(struct results *, struct table_row) = a < results->activations.count ? add_rows : add_references;
            row.region = r ? REGION_WHOLE : REGION_FIELD;
            row.activation = a < results->activations.count ? results->activations.items[a] : -1;
            row.pooled = 0;
            for (k = 0; k < results->folds.count; k++) {
                row.fold = results->folds.items[k];
                add(results, row);
            }
            row.pooled = 1;
            if (results->folds.count > 1)
                add(results, row);
        }
}

/* ---- Star against sum, image by image ---- */

static double measure_of(const struct image_result *image, enum region r, int measure) {
    switch (measure) {
    case PAIRED_F1:
        return image->f1[r];
    case PAIRED_ROC:
        return image->roc[r];
    case PAIRED_AP:
        return image->average_precision[r];
    default:
        return image->cl_dice[r];
    }
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
    double *best = must_allocate(results->record_count, sizeof *best);
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
                row.runs++;
                row.late += record->best_epoch > record->epochs - LATE_EPOCHS;
                epochs[n] = (double)record->epochs;
                best[n] = (double)record->best_epoch;
                train[n] = record->train_seconds;
                test[n++] = record->test_seconds;
            }
            if (!n)
                continue;
            row.epochs = summarise(epochs, n);
            row.best_epochs = summarise(best, n);
            row.train_seconds = summarise(train, n);
            row.test_seconds = summarise(test, n);
            results->costs = must_grow(results->costs, results->cost_count + 1, sizeof *results->costs);
            results->costs[results->cost_count++] = row;
        }
    free(epochs);
    free(best);
    free(train);
    free(test);
}

void results_make(struct results *results, struct record *records, size_t count, struct record *references,
                  size_t reference_count) {
    size_t i;
    memset(results, 0, sizeof *results);
    results->records = records;
    results->record_count = count;
    results->references = references;
    results->reference_count = reference_count;
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
    learning_make(results);
}

void results_free(struct results *results) {
    size_t i;
    for (i = 0; i < results->record_count; i++)
        record_free(&results->records[i]);
    for (i = 0; i < results->reference_count; i++)
        record_free(&results->references[i]);
    for (i = 0; i < results->learning_count; i++) {
        free(results->learning[i].epochs);
        free(results->learning[i].differences);
    }
    free(results->records);
    free(results->references);
    free(results->learning);
    free(results->seeds);
    free(results->rows);
    free(results->paired);
    free(results->costs);
    names_free(&results->missing);
    memset(results, 0, sizeof *results);
}
