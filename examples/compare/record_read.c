/* record_read.c - reads a record back; whatever is missing or not as it should be is named. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "compare.h"

/* Every wish that is not met is remembered once. */
struct reading {
    const struct json *root;
    const char *missing;
};

static long long whole_number(struct reading *reading, const struct json *json, const char *what) {
    if (json && json->kind == JSON_NUMBER && json->number >= 0 && json->number < 9e15 &&
        !(json->number < floor(json->number)) && !(json->number > floor(json->number)))
        return (long long)json->number;
    if (!reading->missing)
        reading->missing = what;
    return 0;
}

static double real_number(struct reading *reading, const struct json *json, const char *what) {
    if (json && json->kind == JSON_NUMBER)
        return json->number;
    if (!(json && json->kind == JSON_NULL) && !reading->missing)
        reading->missing = what;
    return NAN;
}

static char *text(struct reading *reading, const struct json *json, const char *what) {
    if (json && json->kind == JSON_TEXT)
        return must_copy(json->text);
    if (!reading->missing)
        reading->missing = what;
    return must_copy("");
}

static const struct json *list(struct reading *reading, const struct json *parent, const char *key, size_t at_least) {
    static const struct json nothing = {JSON_LIST, 0, NULL, NULL, 0, NULL};
    const struct json *found = json_list_of(parent, key);
    if (found && found->count >= at_least)
        return found;
    if (!reading->missing)
        reading->missing = key;
    return &nothing;
}

static int32_t choice(struct reading *reading, const struct choice *choices, const char *key) {
    const char *name = json_text_of(reading->root, key);
    for (; name && choices->name; choices++)
        if (!strcmp(choices->name, name))
            return choices->value;
    if (!reading->missing)
        reading->missing = key;
    return 0;
}

static void read_cell(struct reading *reading, struct cell *cell, int is_reference) {
    const char *fold = json_text_of(reading->root, "fold"), *seed = json_text_of(reading->root, "seed");
    char *end = NULL;
    cell->fold = fold && strcmp(fold, "own") != 0 ? (int32_t)strtol(fold, &end, 10) : FOLD_OWN;
    if ((!fold || (end && (*end || end == fold)) || cell->fold < FOLD_OWN) && !reading->missing)
        reading->missing = "fold";
    if (is_reference)
        return;
    cell->fusion = choice(reading, settings_fusions, "fusion");
    cell->activation = choice(reading, settings_activations, "activation");
    cell->seed = seed ? strtoull(seed, &end, 10) : 0;
    if ((!seed || *end || end == seed) && !reading->missing)
        reading->missing = "seed";
}

static void read_reference(struct reading *reading, struct record *record) {
    const char *name = json_text_of(reading->root, "reference");
    int k;
    for (k = REFERENCE_NONE + 1; k < REFERENCE_END; k++)
        if (name && !strcmp(reference_names[k], name))
            record->reference = k == REFERENCE_OBSERVER ? REFERENCE_OBSERVER : REFERENCE_HESSIAN;
    if (!record->reference && !reading->missing)
        reading->missing = "reference";
}

static void read_names(struct reading *reading, const char *key, struct names *names) {
    const struct json *found = list(reading, reading->root, key, 0);
    size_t i;
    for (i = 0; i < found->count; i++) {
        char *name = text(reading, &found->items[i], key);
        names_add(names, name);
        free(name);
    }
}

static void read_epochs(struct reading *reading, struct record *record) {
    const struct json *rows = list(reading, reading->root, "epochs", 0);
    size_t i;
    for (i = 0; i < rows->count; i++) {
        const struct json *row = &rows->items[i];
        struct epoch epoch = {0};
        if (row->kind != JSON_LIST || row->count != 4) {
            reading->missing = "epochs";
            return;
        }
        epoch.number = whole_number(reading, &row->items[0], "epochs");
        epoch.loss = real_number(reading, &row->items[1], "epochs");
        epoch.metric = real_number(reading, &row->items[2], "epochs");
        epoch.learning_rate = real_number(reading, &row->items[3], "epochs");
        epoch.is_best = epoch.number == record->best_epoch;
        history_add(&record->history, &epoch);
    }
}

static void read_images(struct reading *reading, struct record *record) {
    const struct json *rows = list(reading, reading->root, "images", 1);
    size_t i;
    int r, k;
    record->images = must_allocate(rows->count, sizeof *record->images);
    record->image_count = rows->count;
    for (i = 0; i < rows->count; i++) {
        const struct json *row = &rows->items[i];
        struct image_result *image = &record->images[i];
        int good = row->kind == JSON_LIST && row->count == 1 + REGIONS * (COUNTS + IMAGE_SCORES);
        if (!good && !reading->missing)
            reading->missing = "images";
        image->name = text(reading, good ? &row->items[0] : NULL, "images");
        for (r = 0; r < REGIONS && good; r++) {
            const struct json *at = &row->items[1 + r * (COUNTS + IMAGE_SCORES)];
            for (k = 0; k < COUNTS; k++)
                image->counts[r][k] = whole_number(reading, &at[k], "images");
            image->roc[r] = real_number(reading, &at[COUNTS], "images");
            image->average_precision[r] = real_number(reading, &at[COUNTS + 1], "images");
            image->f1[r] = real_number(reading, &at[COUNTS + 2], "images");
            image->cl_dice[r] = real_number(reading, &at[COUNTS + 3], "images");
        }
    }
}

static void read_region(struct reading *reading, struct record *record, int r) {
    const struct json *region = json_get(reading->root, region_names[r]);
    const struct json *counts = list(reading, region, "counts", COUNTS);
    const struct json *vessel = list(reading, region, "vessel", SCORE_BINS);
    const struct json *background = list(reading, region, "background", SCORE_BINS);
    const struct json *calibration = list(reading, region, "calibration", 3 * CALIBRATION_BINS);
    int i, k;
    for (k = 0; k < COUNTS && counts->count; k++)
        record->counts[r][k] = whole_number(reading, &counts->items[k], "counts");
    record->roc[r] = real_number(reading, json_get(region, "roc_auc"), "roc_auc");
    record->pr[r] = real_number(reading, json_get(region, "pr_auc"), "pr_auc");
    record->average_precision[r] = real_number(reading, json_get(region, "average_precision"), "average_precision");
    for (k = 0; k < 2; k++) {
        const struct json *points = list(reading, region, curve_names[k], 0);
        struct curve *curve = &record->curves[r][k];
        curve->count = points->count / 2 > CURVE_MOST ? CURVE_MOST : points->count / 2;
        for (i = 0; i < (int)curve->count; i++) {
            curve->x[i] = real_number(reading, &points->items[2 * i], curve_names[k]);
            curve->y[i] = real_number(reading, &points->items[2 * i + 1], curve_names[k]);
        }
    }
    for (i = 0; i < CALIBRATION_BINS && calibration->count; i++) {
        struct calibration_bins *bins = &record->calibration[r];
        bins->pixels[i] = whole_number(reading, &calibration->items[3 * i], "calibration");
        bins->vessels[i] = whole_number(reading, &calibration->items[3 * i + 1], "calibration");
        bins->probability[i] = real_number(reading, &calibration->items[3 * i + 2], "calibration");
    }
    for (i = 0; i < SCORE_BINS && vessel->count && background->count; i++) {
        record->histograms[r].vessel[i] = whole_number(reading, &vessel->items[i], "vessel");
        record->histograms[r].background[i] = whole_number(reading, &background->items[i], "background");
    }
}

static void read_training(struct reading *reading, struct record *record) {
    const struct json *root = reading->root;
    read_names(reading, "validate", &record->validate);
    record->parameters = whole_number(reading, json_get(root, "parameters"), "parameters");
    record->multiply_adds = whole_number(reading, json_get(root, "multiply_adds"), "multiply_adds");
    record->threads = (int)whole_number(reading, json_get(root, "threads"), "threads");
    record->train_seconds = real_number(reading, json_get(root, "train_seconds"), "train_seconds");
    record->test_seconds = real_number(reading, json_get(root, "test_seconds"), "test_seconds");
    record->epochs = whole_number(reading, json_get(root, "epochs_run"), "epochs_run");
    record->best_epoch = whole_number(reading, json_get(root, "best_epoch"), "best_epoch");
    read_epochs(reading, record);
}

static void read_all(struct reading *reading, struct record *record) {
    const struct json *root = reading->root, *options = json_get(root, "options");
    size_t i;
    int r;
    record->numerics = (int)whole_number(reading, json_get(root, "numerics_version"), "numerics_version");
    record->version = text(reading, json_get(root, "version"), "version");
    record->data = text(reading, json_get(root, "data"), "data");
    record->split = text(reading, json_get(root, "split"), "split");
    if (json_get(root, "reference"))
        read_reference(reading, record);
    read_cell(reading, &record->cell, record->reference != REFERENCE_NONE);
    if ((!options || options->kind != JSON_OBJECT) && !reading->missing)
        reading->missing = "options";
    for (i = 0; options && i < options->count; i++)
        if (options->items[i].kind == JSON_TEXT && options->items[i].key)
            facts_add(&record->options, options->items[i].key, options->items[i].text);
    read_names(reading, "train", &record->train);
    if (!record->reference)
        read_training(reading, record);
    read_images(reading, record);
    for (r = 0; r < REGIONS; r++)
        read_region(reading, record, r);
}

int record_read(struct record *record, const char *path, struct problem *problem) {
    struct reading reading = {NULL, NULL};
    struct problem cause;
    struct json root;
    unsigned char *data;
    size_t size;
    memset(record, 0, sizeof *record);
    if (read_file(path, (size_t)1 << 22, &data, &size, problem))
        return -1;
    if (json_parse(&root, (const char *)data, size, &cause)) {
        free(data);
        return problem_set(problem, "%s is not a record of unetstar-compare: %s", path, cause.text);
    }
    free(data);
    reading.root = &root;
    if (!json_text_of(&root, "program") || strcmp(json_text_of(&root, "program"), "unetstar-compare") != 0)
        reading.missing = "program";
    if (!reading.missing)
        read_all(&reading, record);
    if (reading.missing) {
        problem_set(problem, "%s is not a record of unetstar-compare: \"%s\" is missing or not as it should be", path,
                    reading.missing);
        record_free(record);
    }
    json_free(&root);
    return reading.missing ? -1 : 0;
}
