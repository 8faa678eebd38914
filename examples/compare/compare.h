/* compare.h - what the parts of unetstar-compare share: a cell of the matrix, its record, and the numbers of a report.
 */
#ifndef EXAMPLES_COMPARE_H
#define EXAMPLES_COMPARE_H

#include "common/datasets.h"
#include "common/files.h"
#include "common/history.h"
#include "common/launch.h"
#include "common/score.h"
#include "common/settings.h"
#include "common/statistics.h"

enum { LIST_MAX = 64 };
enum { FOLD_OWN = -1 }; /* the split a data set ships */

/* Pixels are counted inside the field of view, and over the whole image. */
enum region { REGION_FIELD, REGION_WHOLE, REGIONS };
enum { TP, FP, TN, FN, COUNTS };
enum { CURVE_MOST = 200, RECORD_LIMIT = 60000 };
enum { IMAGE_SCORES = 4 }; /* of an image in a record: ROC AUC, average precision, F1, clDice */

/* One training: what varies. */
struct cell {
    int32_t fusion, activation, fold;
    uint64_t seed;
};
/* "star-relu-fold2-seed2024", also the name of its files. The caller's to free. */
char *cell_name(const struct cell *cell);

/* What must be equal for two records to stand in one report, as texts. */
struct facts {
    char **names, **values;
    size_t count;
};
void facts_add(struct facts *facts, const char *name, const char *value);
void facts_free(struct facts *facts);

struct image_result {
    char *name;
    long long counts[REGIONS][COUNTS]; /* at threshold 0.5 */
    double roc[REGIONS], average_precision[REGIONS], f1[REGIONS], cl_dice[REGIONS];
};

/* Pixels by their probability of vessel, in bins of equal width: what an expected calibration error is made of. */
enum { CALIBRATION_BINS = 15 };
struct calibration_bins {
    long long pixels[CALIBRATION_BINS], vessels[CALIBRATION_BINS];
    double probability[CALIBRATION_BINS]; /* sum over the pixels */
};

extern const char *const curve_names[2]; /* in files */
struct curve {
    double x[CURVE_MOST], y[CURVE_MOST];
    size_t count;
};

/* What is measured beside the cells: no training, one record a fold. */
enum reference { REFERENCE_NONE, REFERENCE_OBSERVER, REFERENCE_HESSIAN, REFERENCE_END };
extern const char *const reference_names[REFERENCE_END]; /* in files */

/* A finished cell, or a reference. */
struct record {
    enum reference reference;
    struct cell cell; /* of a reference: its fold */
    int numerics;
    char *version, *data, *split;
    struct facts options;
    struct names train, validate; /* sample names; those of the test are in images */
    long long parameters, multiply_adds, best_epoch, epochs;
    double train_seconds, test_seconds;
    int threads;
    struct history history;
    struct image_result *images;
    size_t image_count;
    long long counts[REGIONS][COUNTS];
    double roc[REGIONS], pr[REGIONS], average_precision[REGIONS];
    struct curve curves[REGIONS][2]; /* ROC, PR */
    struct score_histogram histograms[REGIONS];
    struct calibration_bins calibration[REGIONS];
};
int record_write(const struct record *record, const char *path, struct problem *problem);
/* Either kind; record->reference tells which. */
int record_read(struct record *record, const char *path, struct problem *problem);
void record_free(struct record *record);
/* Whether two records may stand side by side; `a` and `b` name them in the sentence. An option that one of them does
 * not have, because the program gained it later, counts as having had its default. */
int records_agree(const struct record *record, const struct record *other, const struct facts *defaults, const char *a,
                  const char *b, struct problem *problem);
/* Whether a reference is of the same data as a cell of its fold, and of the same test images. */
int reference_fits(const struct record *reference, const struct record *cell, const struct facts *defaults);
const char *facts_find(const struct facts *facts, const char *name); /* NULL: none */

/* Everything a run was told. */
struct plan {
    struct settings settings;
    struct facts options, defaults; /* of every cell; of preset original */
    const char *out, *records, *models, *fusion_text, *activation_text, *fold_text, *seed_text;
    char *records_path, *work_path, *pictures_path, *data_title;
    int32_t jobs, report_only, again, times, references;
    int partial; /* some cells failed */
    struct collection collection;
    struct cell *cells;
    size_t cell_count;
};
/* Reads the command line. */
int plan_read(struct plan *plan, struct args *args, int argc, char **argv, struct problem *problem);
void plan_free(struct plan *plan);
/* Does every cell that is not done, and the references. Returns an exit code. */
int plan_run(struct plan *plan, struct launch *launch, const struct args *args, struct problem *problem);
/* The split and the settings of one cell. */
int plan_split(const struct plan *plan, const struct cell *cell, struct split *split, struct indices *validation,
               struct problem *problem);
char *record_path(const struct plan *plan, const struct cell *cell);
/* "reference-hessian-fold2", also the name of its files. The caller's to free. */
char *reference_name(enum reference reference, int32_t fold);
int is_reference_file(const char *file);
/* Measures the references of all folds of the plan that have no record yet, or not of these images. */
int references_make(const struct plan *plan, const struct launch *launch, struct problem *problem);
/* What the record of a cell says before there is a result: options, versions, names of samples. */
void record_expect(struct record *record, const struct plan *plan, const struct cell *cell, const struct split *split,
                   const struct indices *validation);
/* Whether both are of the same training and test images. */
int records_same_images(const struct record *record, const struct record *other);

/* Trains and tests one cell, and writes its record. Goes on from the work folder where that fits. progress is told how
 * far it is; non-zero from it stops. summary gets a few words about the result. Returns an exit code. */
typedef int (*cell_progress)(void *user, double fraction, const char *text);
int cell_run(const struct plan *plan, const struct cell *cell, const struct launch *launch, cell_progress progress,
             void *user, char summary[160], struct problem *problem);
/* Multiply-adds of one forward pass for each pixel of the input, whose sizes are multiples of 2^levels. */
double multiply_adds_per_pixel(const unetstar_model_options *options);
/* Scores the images of a record with a session or a map, and fills in all numbers of the record. */
int record_measure(struct record *record, struct scoring *scoring, const struct plan *plan, const struct indices *test,
                   cell_progress progress, void *user, struct problem *problem);

/* One run at a time may write into a folder of records. */
struct lock {
    int file; /* -1: not held */
    char *path;
};
/* 0: held, or a lock cannot be had here at all; 1: another process holds it, and the sentence names it. */
int lock_take(struct lock *lock, const char *folder, struct problem *problem);
void lock_free(struct lock *lock);

/* Runs cells in processes of their own, --jobs at a time. Returns an exit code. */
int pool_run(const struct plan *plan, const struct launch *launch, const struct cell *todo, size_t count,
             struct problem *problem);

/* ---- The numbers of a report ---- */

/* The article's columns, in its order, and average precision. */
enum {
    COLUMN_ROC,
    COLUMN_PR,
    COLUMN_F1,
    COLUMN_ACCURACY,
    COLUMN_SENSITIVITY,
    COLUMN_SPECIFICITY,
    COLUMN_PRECISION,
    COLUMN_CL_DICE,
    COLUMN_CALIBRATION,
    COLUMN_AP,
    COLUMNS
};
enum { COLUMNS_SHOWN = COLUMN_AP };
extern const char *const column_names[COLUMNS], *const column_headings[COLUMNS];
extern const int column_falls[COLUMNS]; /* less is better */
extern const char *const region_names[REGIONS];

/* What stands in the place of a fusion; references have activation -1. */
enum { ROW_DIFFERENCE = -1, ROW_OBSERVER = -2, ROW_HESSIAN = -3 };
struct table_row {
    enum region region;
    int32_t activation, fusion;
    int32_t fold;
    int pooled; /* over all folds */
    struct summary values[COLUMNS];
};
/* Star - sum image by image, the mean over seeds. */
enum { PAIRED_F1, PAIRED_ROC, PAIRED_AP, PAIRED_CL_DICE, PAIRED };
extern const char *const paired_names[PAIRED];
struct paired_row {
    enum region region;
    int32_t activation;
    int measure;
    struct paired paired;
};
struct cost_row {
    int32_t fusion, activation;
    long long parameters, multiply_adds; /* of a patch */
    struct summary epochs, best_epochs, train_seconds, test_seconds;
    size_t runs, late; /* late: the best epoch is one of the last LATE_EPOCHS */
};
enum { LATE_EPOCHS = 3 };
/* The validation metric of star - sum by epoch, over the pairs of runs that came so far. */
struct learning {
    int32_t activation;
    int falls; /* the metric is a loss */
    size_t count;
    double *epochs;
    struct summary *differences;
    /* From epoch `last_change` on the sign is that of the last mean; 0: there was no other. */
    size_t changes, last_change;
};

struct axis32 {
    int32_t items[LIST_MAX];
    size_t count;
};
struct results {
    struct record *records; /* sorted by activation, fusion, fold, seed */
    size_t record_count;
    struct record *references;
    size_t reference_count;
    struct axis32 fusions, activations, folds;
    uint64_t *seeds;
    size_t seed_count;
    struct table_row *rows;
    size_t row_count;
    struct paired_row *paired;
    size_t paired_count;
    struct cost_row *costs;
    size_t cost_count;
    struct learning *learning;
    size_t learning_count;
    struct names missing;
};
/* Takes over the records. */
void results_make(struct results *results, struct record *records, size_t count, struct record *references,
                  size_t reference_count);
void results_free(struct results *results);
void learning_make(struct results *results); /* a part of it */
const struct record *results_reference(const struct results *results, enum reference reference, int32_t fold);
/* Expected calibration error, from bins. */
double calibration_error(const struct calibration_bins *bins);
void calibration_add(struct calibration_bins *into, const struct calibration_bins *more);
const struct record *results_find(const struct results *results, int32_t fusion, int32_t activation, int32_t fold,
                                  uint64_t seed);
/* "2" or "own"; "sum, no activation". */
void fold_text(char *text, size_t size, int32_t fold);
void variant_text(char *text, size_t size, int32_t fusion, int32_t activation);
const char *fusion_name(int32_t fusion);
const char *activation_name(int32_t activation);
const char *row_name(const struct table_row *row);

/* report.html, tables.csv, paired.csv, cost.csv, learning.csv, report.json in a folder. times: also what took how long.
 * pictures: folder with those of the cells; the page shows some where they are there. */
int results_write(const struct results *results, const char *folder, const char *pictures, int times,
                  struct problem *problem);
int html_write(const struct results *results, const char *path, const char *pictures, int times,
               struct problem *problem);

/* The parts of the page (html_*.c). */
void html_text(FILE *stream, const char *text);
const char *html_region(enum region region);
void html_activation(char *text, size_t size, int32_t activation);
const char *html_option(const struct results *results, const char *name);
void html_tables(FILE *stream, const struct results *results, enum region region);
void html_paired(FILE *stream, const struct results *results);
void html_costs(FILE *stream, const struct results *results, int times);
void html_curves(FILE *stream, const struct results *results);
void html_calibration(FILE *stream, const struct results *results);
void html_learning(FILE *stream, const struct results *results);
void html_folds(FILE *stream, const struct results *results);
void html_pictures(FILE *stream, const struct results *results, const char *pictures);

/* The photograph and the label of the test images that the page shows, small, into the folder of pictures. */
int pictures_prepare(const struct results *results, const struct plan *plan, const struct launch *launch,
                     struct problem *problem);

#endif
