/* compare_record.c - a finished cell as one small JSON file: enough for every number and curve of a report, but no
 * picture and no weight. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "compare.h"

const char *const region_names[REGIONS] = {"field_of_view", "whole_image"};
static const char *const curve_names[2] = {"roc", "pr"};
enum { IMAGE_SCORES = 4 }; /* ROC AUC, average precision, F1, clDice */

char *cell_name(const struct cell *cell) {
    char fold[32];
    fold_text(fold, sizeof fold, cell->fold);
    return must_format("%s-%s-fold%s-seed%llu", fusion_name(cell->fusion), activation_name(cell->activation), fold,
                       (unsigned long long)cell->seed);
}

void facts_add(struct facts *facts, const char *name, const char *value) {
    facts->names = must_grow(facts->names, facts->count + 1, sizeof *facts->names);
    facts->values = must_grow(facts->values, facts->count + 1, sizeof *facts->values);
    facts->names[facts->count] = must_copy(name);
    facts->values[facts->count++] = must_copy(value);
}

void facts_free(struct facts *facts) {
    size_t i;
    for (i = 0; i < facts->count; i++) {
        free(facts->names[i]);
        free(facts->values[i]);
    }
    free(facts->names);
    free(facts->values);
    memset(facts, 0, sizeof *facts);
}

void record_free(struct record *record) {
    size_t i;
    free(record->version);
    free(record->data);
    free(record->split);
    facts_free(&record->options);
    names_free(&record->train);
    names_free(&record->validate);
    history_free(&record->history);
    for (i = 0; i < record->image_count; i++)
        free(record->images[i].name);
    free(record->images);
    memset(record, 0, sizeof *record);
}

/* ---- Writing ---- */

static void write_names(FILE *stream, const char *key, const struct names *names) {
    size_t i;
    fprintf(stream, "  \"%s\": [", key);
    for (i = 0; i < names->count; i++) {
        fputs(i ? ", " : "", stream);
        json_write_text(stream, names->items[i]);
    }
    fputs("],\n", stream);
}

static void write_member(FILE *stream, const char *key, const char *value) {
    fprintf(stream, "  \"%s\": ", key);
    json_write_text(stream, value);
    fputs(",\n", stream);
}

/* A long training is thinned to every n-th epoch, with the best and the last. */
static void write_history(FILE *stream, const struct record *record) {
    const struct history *history = &record->history;
    size_t i, step = history->count / CURVE_MOST + 1, written = 0;
    fputs("  \"epochs\": [", stream);
    for (i = 0; i < history->count; i++) {
        const struct epoch *epoch = &history->items[i];
        if (i % step && i + 1 < history->count && epoch->number != record->best_epoch)
            continue;
        fprintf(stream, "%s\n    [%lld, ", written++ ? "," : "", epoch->number);
        json_write_number(stream, epoch->loss);
        fputs(", ", stream);
        json_write_number(stream, epoch->metric);
        fputs(", ", stream);
        json_write_number(stream, epoch->learning_rate);
        fputc(']', stream);
    }
    fputs("\n  ],\n", stream);
}

static void write_images(FILE *stream, const struct record *record) {
    size_t i;
    int r, k;
    fputs("  \"images\": [", stream);
    for (i = 0; i < record->image_count; i++) {
        const struct image_result *image = &record->images[i];
        fputs(i ? ",\n    [" : "\n    [", stream);
        json_write_text(stream, image->name);
        for (r = 0; r < REGIONS; r++) {
            for (k = 0; k < COUNTS; k++)
                fprintf(stream, ",%lld", image->counts[r][k]);
            fputc(',', stream);
            json_write_number(stream, image->roc[r]);
            fputc(',', stream);
            json_write_number(stream, image->average_precision[r]);
            fputc(',', stream);
            json_write_number(stream, image->f1[r]);
            fputc(',', stream);
            json_write_number(stream, image->cl_dice[r]);
        }
        fputc(']', stream);
    }
    fputs("\n  ],\n", stream);
}

static void write_curve(FILE *stream, const char *key, const struct curve *curve, size_t step) {
    size_t i, written = 0;
    fprintf(stream, "    \"%s\": [", key);
    for (i = 0; i < curve->count; i++)
        if (i % step == 0 || i + 1 == curve->count)
            fprintf(stream, "%s%.5g,%.5g", written++ ? "," : "", curve->x[i], curve->y[i]);
    fputs("],\n", stream);
}

static void write_bins(FILE *stream, const char *key, const int64_t *bins, const char *after) {
    int i;
    fprintf(stream, "    \"%s\": [", key);
    for (i = 0; i < SCORE_BINS; i++)
        fprintf(stream, "%s%lld", i ? "," : "", (long long)bins[i]);
    fprintf(stream, "]%s\n", after);
}

static void write_calibration(FILE *stream, const struct calibration_bins *bins) {
    int i;
    fputs("    \"calibration\": [", stream);
    for (i = 0; i < CALIBRATION_BINS; i++)
        fprintf(stream, "%s%lld,%lld,%.17g", i ? "," : "", bins->pixels[i], bins->vessels[i], bins->probability[i]);
    fputs("],\n", stream);
}

static void write_region(FILE *stream, const struct record *record, int r, size_t step) {
    int k;
    fprintf(stream, "  \"%s\": {\n    \"counts\": [", region_names[r]);
    for (k = 0; k < COUNTS; k++)
        fprintf(stream, "%s%lld", k ? "," : "", record->counts[r][k]);
    fputs("],\n    \"roc_auc\": ", stream);
    json_write_number(stream, record->roc[r]);
    fputs(",\n    \"pr_auc\": ", stream);
    json_write_number(stream, record->pr[r]);
    fputs(",\n    \"average_precision\": ", stream);
    json_write_number(stream, record->average_precision[r]);
    fputs(",\n", stream);
    for (k = 0; k < 2; k++)
        write_curve(stream, curve_names[k], &record->curves[r][k], step);
    write_calibration(stream, &record->calibration[r]);
    write_bins(stream, "vessel", record->histograms[r].vessel, ",");
    write_bins(stream, "background", record->histograms[r].background, "");
    fprintf(stream, "  }%s\n", r + 1 < REGIONS ? "," : "");
}

static void write_all(FILE *stream, const struct record *record, size_t step) {
    char fold[32];
    size_t i;
    int r;
    fold_text(fold, sizeof fold, record->cell.fold);
    fputs("{\n", stream);
    write_member(stream, "program", "unetstar-compare");
    write_member(stream, "version", record->version);
    fprintf(stream, "  \"numerics_version\": %d,\n", record->numerics);
    write_member(stream, "fusion", fusion_name(record->cell.fusion));
    write_member(stream, "activation", activation_name(record->cell.activation));
    write_member(stream, "fold", fold);
    fprintf(stream, "  \"seed\": \"%llu\",\n", (unsigned long long)record->cell.seed);
    write_member(stream, "data", record->data);
    write_member(stream, "split", record->split);
    fputs("  \"options\": {", stream);
    for (i = 0; i < record->options.count; i++) {
        fputs(i ? ", " : "", stream);
        json_write_text(stream, record->options.names[i]);
        fputs(": ", stream);
        json_write_text(stream, record->options.values[i]);
    }
    fputs("},\n", stream);
    write_names(stream, "train", &record->train);
    write_names(stream, "validate", &record->validate);
    fprintf(stream, "  \"parameters\": %lld,\n  \"multiply_adds\": %lld,\n", record->parameters, record->multiply_adds);
    fprintf(stream, "  \"threads\": %d,\n  \"train_seconds\": %.6g,\n  \"test_seconds\": %.6g,\n", record->threads,
            record->train_seconds, record->test_seconds);
    fprintf(stream, "  \"epochs_run\": %lld,\n  \"best_epoch\": %lld,\n", record->epochs, record->best_epoch);
    write_history(stream, record);
    write_images(stream, record);
    for (r = 0; r < REGIONS; r++)
        write_region(stream, record, r, step);
    fputs("}\n", stream);
}

int record_write(const struct record *record, const char *path, struct problem *problem) {
    size_t step;
    for (step = 1;; step *= 2) { /* very many images leave less room for curves */
        struct outfile file;
        long size;
        if (outfile_open(&file, path, problem))
            return -1;
        write_all(file.stream, record, step);
        size = ftell(file.stream);
        if (size <= RECORD_LIMIT || step >= 16)
            return outfile_commit(&file, problem);
        outfile_abandon(&file);
    }
}

/* ---- Reading ---- */

/* Every wish that is not met is remembered once. */
struct reading {
    const struct json *root;
    const char *missing;
};

static long long whole_number(struct reading *reading, const struct json *json, const char *what) {
    if (json && json->kind == JSON_NUMBER && json->number > -9e15 && json->number < 9e15 &&
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

static void read_cell(struct reading *reading, struct cell *cell) {
    const char *fold = json_text_of(reading->root, "fold"), *seed = json_text_of(reading->root, "seed");
    char *end = NULL;
    cell->fusion = choice(reading, settings_fusions, "fusion");
    cell->activation = choice(reading, settings_activations, "activation");
    cell->fold = fold && strcmp(fold, "own") != 0 ? (int32_t)strtol(fold, &end, 10) : FOLD_OWN;
    if ((!fold || (end && (*end || end == fold)) || cell->fold < FOLD_OWN) && !reading->missing)
        reading->missing = "fold";
    cell->seed = seed ? strtoull(seed, &end, 10) : 0;
    if ((!seed || *end || end == seed) && !reading->missing)
        reading->missing = "seed";
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

static void read_all(struct reading *reading, struct record *record) {
    const struct json *root = reading->root, *options = json_get(root, "options");
    size_t i;
    int r;
    record->numerics = (int)whole_number(reading, json_get(root, "numerics_version"), "numerics_version");
    record->version = text(reading, json_get(root, "version"), "version");
    record->data = text(reading, json_get(root, "data"), "data");
    record->split = text(reading, json_get(root, "split"), "split");
    read_cell(reading, &record->cell);
    if ((!options || options->kind != JSON_OBJECT) && !reading->missing)
        reading->missing = "options";
    for (i = 0; options && i < options->count; i++)
        if (options->items[i].kind == JSON_TEXT && options->items[i].key)
            facts_add(&record->options, options->items[i].key, options->items[i].text);
    read_names(reading, "train", &record->train);
    read_names(reading, "validate", &record->validate);
    record->parameters = whole_number(reading, json_get(root, "parameters"), "parameters");
    record->multiply_adds = whole_number(reading, json_get(root, "multiply_adds"), "multiply_adds");
    record->threads = (int)whole_number(reading, json_get(root, "threads"), "threads");
    record->train_seconds = real_number(reading, json_get(root, "train_seconds"), "train_seconds");
    record->test_seconds = real_number(reading, json_get(root, "test_seconds"), "test_seconds");
    record->epochs = whole_number(reading, json_get(root, "epochs_run"), "epochs_run");
    record->best_epoch = whole_number(reading, json_get(root, "best_epoch"), "best_epoch");
    read_epochs(reading, record);
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

/* ---- Comparing ---- */

/* Options that older records do not have, and what these were made with. */
static const char *const later_options[][2] = {{"block", "double-conv"}, {"block-expansion", "3"}, {"noise", "0"},
                                               {"blur", "0"},            {"color-mix", "0"},       {"clahe-jitter", "0"}};

static const char *fact(const struct facts *facts, const char *name) {
    size_t i;
    for (i = 0; i < facts->count; i++)
        if (!strcmp(facts->names[i], name))
            return facts->values[i];
    for (i = 0; i < sizeof later_options / sizeof later_options[0]; i++)
        if (!strcmp(later_options[i][0], name))
            return later_options[i][1];
    return "(none)";
}

static int options_agree(const struct record *record, const struct record *other, const char *a, const char *b,
                         struct problem *problem) {
    const struct facts *one = &record->options, *two = &other->options;
    int pass;
    size_t i;
    for (pass = 0; pass < 2; pass++) {
        const struct facts *seen = pass ? two : one;
        for (i = 0; i < seen->count; i++) {
            const char *name = seen->names[i], *was = fact(one, name), *is = fact(two, name);
            if (strcmp(was, is) != 0)
                return problem_set(problem, "%s was made with --%s %s, %s with %s", a, name, was, b, is);
        }
    }
    return 0;
}

int records_agree(const struct record *record, const struct record *other, const char *a, const char *b,
                  struct problem *problem) {
    if (record->numerics != other->numerics)
        return problem_set(problem, "%s has results of version %d, %s of version %d", a, record->numerics, b,
                           other->numerics);
    if (options_agree(record, other, a, b, problem))
        return -1;
    if (strcmp(record->data, other->data) != 0)
        return problem_set(problem, "%s is of the data \"%s\", %s of \"%s\"", a, record->data, b, other->data);
    return 0;
}

static int same_names(const struct names *a, const struct names *b) {
    size_t i;
    for (i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return 0;
    return a->count == b->count;
}

int records_same_images(const struct record *record, const struct record *other) {
    size_t i;
    for (i = 0; i < record->image_count && i < other->image_count; i++)
        if (strcmp(record->images[i].name, other->images[i].name) != 0)
            return 0;
    return record->image_count == other->image_count && same_names(&record->train, &other->train) &&
           same_names(&record->validate, &other->validate);
}
