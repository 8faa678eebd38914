#include "table.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "json.h"

/* One column: its name in files, its short name in the text table (NULL: files only), its place. */
struct column {
    const char *name, *heading;
    size_t offset;
    int is_count;
};

#define SCORE(name, heading)                                                                                           \
    { #name, heading, offsetof(unetstar_scores, name), 0 }
#define COUNT(name)                                                                                                    \
    { #name, NULL, offsetof(unetstar_scores, name), 1 }
static const struct column columns[] = {
    SCORE(roc_auc, "ROC AUC"),
    SCORE(pr_auc, "PR AUC"),
    SCORE(average_precision, "AP"),
    SCORE(f1, "F1"),
    SCORE(accuracy, "accuracy"),
    SCORE(sensitivity, "sensit."),
    SCORE(specificity, "specif."),
    SCORE(precision, "precis."),
    SCORE(mcc, "MCC"),
    SCORE(cl_dice, "clDice"),
    SCORE(calibration_error, "ECE"),
    SCORE(dice, NULL),
    SCORE(iou, NULL),
    SCORE(threshold, NULL),
    COUNT(true_positives),
    COUNT(false_positives),
    COUNT(true_negatives),
    COUNT(false_negatives),
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static double score(const unetstar_scores *scores, const struct column *column) {
    return *(const double *)(const void *)((const char *)scores + column->offset);
}

static long long counted(const unetstar_scores *scores, const struct column *column) {
    return *(const int64_t *)(const void *)((const char *)scores + column->offset);
}

static int get_scores(unetstar_metrics *metrics, int64_t i, double threshold, unetstar_scores *scores,
                      struct problem *problem) {
    int error;
    memset(scores, 0, sizeof *scores);
    scores->struct_size = sizeof *scores;
    error = unetstar_metrics_scores(metrics, i, threshold, scores);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

int table_from_metrics(struct table *table, unetstar_metrics *metrics, double threshold, struct problem *problem) {
    size_t i;
    int error;
    table->count = (size_t)unetstar_metrics_count(metrics);
    table->rows = must_allocate(table->count, sizeof *table->rows);
    table->names = must_allocate(table->count, sizeof *table->names);
    for (i = 0; i < table->count; i++) {
        table->names[i] = must_copy(unetstar_metrics_name(metrics, (int64_t)i));
        if (get_scores(metrics, (int64_t)i, threshold, &table->rows[i], problem))
            return -1;
    }
    if (get_scores(metrics, -1, threshold, &table->pooled, problem))
        return -1;
    if (table->stored_threshold > 0 && get_scores(metrics, -1, table->stored_threshold, &table->stored, problem))
        return -1;
    error = unetstar_metrics_best_threshold(metrics, &table->best_threshold, &table->best_f1);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

/* ---- Text ---- */

static void print_row(FILE *stream, int width, const char *name, const unetstar_scores *scores) {
    size_t k;
    fprintf(stream, "%-*s", width, name);
    for (k = 0; k < COLUMNS; k++)
        if (columns[k].heading) {
            double value = score(scores, &columns[k]);
            if (isnan(value))
                fprintf(stream, " %8s", "-");
            else
                fprintf(stream, " %8.4f", value);
        }
    fputc('\n', stream);
}

void table_print(const struct table *table, FILE *stream) {
    int width = 8;
    size_t i, k;
    for (i = 0; i < table->count; i++)
        if ((int)strlen(table->names[i]) > width)
            width = (int)strlen(table->names[i]);
    if (table->has_observer && (int)strlen(table->observer_name) + 9 > width)
        width = (int)strlen(table->observer_name) + 9;
    fprintf(stream, "%-*s", width, "image");
    for (k = 0; k < COLUMNS; k++)
        if (columns[k].heading)
            fprintf(stream, " %8s", columns[k].heading);
    fputc('\n', stream);
    for (i = 0; i < table->count; i++)
        print_row(stream, width, table->names[i], &table->rows[i]);
    print_row(stream, width, "pooled", &table->pooled);
    if (table->has_observer) {
        char name[256];
        snprintf(name, sizeof name, "observer %s", table->observer_name);
        print_row(stream, width, name, &table->observer);
    }
    fprintf(stream, "Vessel means probability >= %g; the best pooled F1, %.4f, would be at %.3f.\n",
            table->pooled.threshold, table->best_f1, table->best_threshold);
    if (table->stored_threshold > 0 && (table->stored_threshold < table->pooled.threshold ||
                                        table->stored_threshold > table->pooled.threshold))
        fprintf(stream, "At the threshold stored in the model, %.3f, the pooled F1 is %.4f.\n", table->stored_threshold,
                table->stored.f1);
}

/* ---- CSV ---- */

static void csv_text(FILE *stream, const char *text) {
    int quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', stream);
        fputc(*text, stream);
    }
    if (quoted)
        fputc('"', stream);
}

static void csv_row(FILE *stream, const char *kind, const char *name, const unetstar_scores *scores) {
    size_t k;
    fprintf(stream, "%s,", kind);
    csv_text(stream, name);
    for (k = 0; k < COLUMNS; k++)
        if (columns[k].is_count)
            fprintf(stream, ",%lld", counted(scores, &columns[k]));
        else if (isnan(score(scores, &columns[k])))
            fputc(',', stream);
        else
            fprintf(stream, ",%.9g", score(scores, &columns[k]));
    fputc('\n', stream);
}

int table_write_csv(const struct table *table, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i, k;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("kind,image", file.stream);
    for (k = 0; k < COLUMNS; k++)
        fprintf(file.stream, ",%s", columns[k].name);
    fputc('\n', file.stream);
    for (i = 0; i < table->count; i++)
        csv_row(file.stream, "image", table->names[i], &table->rows[i]);
    csv_row(file.stream, "pooled", "", &table->pooled);
    if (table->has_observer)
        csv_row(file.stream, "observer", table->observer_name, &table->observer);
    return outfile_commit(&file, problem);
}

/* ---- JSON ---- */

static void json_scores(FILE *stream, const char *name, const unetstar_scores *scores) {
    size_t k;
    fputc('{', stream);
    if (name) {
        fputs("\"image\": ", stream);
        json_write_text(stream, name);
        fputs(", ", stream);
    }
    for (k = 0; k < COLUMNS; k++) {
        fprintf(stream, "%s\"%s\": ", k ? ", " : "", columns[k].name);
        if (columns[k].is_count)
            fprintf(stream, "%lld", counted(scores, &columns[k]));
        else
            json_write_number(stream, score(scores, &columns[k]));
    }
    fputc('}', stream);
}

static void json_member(FILE *stream, const char *key, const char *value) {
    if (!value)
        return;
    fprintf(stream, "  \"%s\": ", key);
    json_write_text(stream, value);
    fputs(",\n", stream);
}

int table_write_json(const struct table *table, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("{\n", file.stream);
    json_member(file.stream, "program", table->program);
    json_member(file.stream, "version", unetstar_version_string());
    fprintf(file.stream, "  \"numerics_version\": %d,\n", (int)unetstar_numerics_version());
    json_member(file.stream, "data", table->data);
    json_member(file.stream, "model", table->model);
    fputs("  \"best_f1\": {\"threshold\": ", file.stream);
    json_write_number(file.stream, table->best_threshold);
    fputs(", \"f1\": ", file.stream);
    json_write_number(file.stream, table->best_f1);
    fputs("},\n  \"pooled\": ", file.stream);
    json_scores(file.stream, NULL, &table->pooled);
    if (table->stored_threshold > 0) {
        fputs(",\n  \"at_stored_threshold\": ", file.stream);
        json_scores(file.stream, NULL, &table->stored);
    }
    if (table->has_observer) {
        fputs(",\n  \"observer\": ", file.stream);
        json_scores(file.stream, table->observer_name, &table->observer);
    }
    fputs(",\n  \"images\": [", file.stream);
    for (i = 0; i < table->count; i++) {
        fputs(i ? ",\n    " : "\n    ", file.stream);
        json_scores(file.stream, table->names[i], &table->rows[i]);
    }
    fputs("\n  ]\n}\n", file.stream);
    return outfile_commit(&file, problem);
}

void table_free(struct table *table) {
    size_t i;
    for (i = 0; i < table->count; i++)
        free(table->names ? table->names[i] : NULL);
    free(table->names);
    free(table->rows);
    free(table->observer_name);
    memset(table, 0, sizeof *table);
}
