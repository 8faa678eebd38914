/* tables.c - the numbers of a report as CSV and JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "compare.h"

static void csv_number(FILE *stream, double value) {
    fputc(',', stream);
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
}

/* References have none. */
static const char *row_activation(const struct table_row *row) {
    return row->activation < 0 ? "" : activation_name(row->activation);
}

static void row_fold(char *text, size_t size, const struct table_row *row) {
    if (row->pooled)
        snprintf(text, size, "pooled");
    else
        fold_text(text, size, row->fold);
}

static int write_tables(const struct results *results, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i;
    int k;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("region,activation,fold,row,seeds", file.stream);
    for (k = 0; k < COLUMNS; k++)
        fprintf(file.stream, ",%s,%s_sd", column_names[k], column_names[k]);
    fputc('\n', file.stream);
    for (i = 0; i < results->row_count; i++) {
        const struct table_row *row = &results->rows[i];
        char fold[32];
        row_fold(fold, sizeof fold, row);
        fprintf(file.stream, "%s,%s,%s,%s,%lu", region_names[row->region], row_activation(row), fold,
                row_name(row), (unsigned long)row->values[COLUMN_F1].count);
        for (k = 0; k < COLUMNS; k++) {
            csv_number(file.stream, row->values[k].mean);
            csv_number(file.stream, row->values[k].deviation);
        }
        fputc('\n', file.stream);
    }
    return outfile_commit(&file, problem);
}

static int write_paired(const struct results *results, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("region,activation,measure,images,star_better,sum_better,mean_difference,low,high\n", file.stream);
    for (i = 0; i < results->paired_count; i++) {
        const struct paired_row *row = &results->paired[i];
        fprintf(file.stream, "%s,%s,%s,%lu,%lu,%lu", region_names[row->region], activation_name(row->activation),
                paired_names[row->measure], (unsigned long)row->paired.count, (unsigned long)row->paired.wins,
                (unsigned long)row->paired.losses);
        csv_number(file.stream, row->paired.mean);
        csv_number(file.stream, row->paired.low);
        csv_number(file.stream, row->paired.high);
        fputc('\n', file.stream);
    }
    return outfile_commit(&file, problem);
}

static int write_costs(const struct results *results, const char *path, int times, struct problem *problem) {
    struct outfile file;
    size_t i;
    if (outfile_open(&file, path, problem))
        return -1;
    fprintf(file.stream, "activation,fusion,parameters,multiply_adds,runs,epochs,best_epoch,best_among_last_%d%s\n",
            (int)LATE_EPOCHS,
            times ? ",train_seconds,test_seconds" : "");
    for (i = 0; i < results->cost_count; i++) {
        const struct cost_row *row = &results->costs[i];
        fprintf(file.stream, "%s,%s,%lld,%lld,%lu", activation_name(row->activation), fusion_name(row->fusion),
                row->parameters, row->multiply_adds, (unsigned long)row->runs);
        csv_number(file.stream, row->epochs.mean);
        csv_number(file.stream, row->best_epochs.mean);
        fprintf(file.stream, ",%lu", (unsigned long)row->late);
        if (times) {
            csv_number(file.stream, row->train_seconds.mean);
            csv_number(file.stream, row->test_seconds.mean);
        }
        fputc('\n', file.stream);
    }
    return outfile_commit(&file, problem);
}

static int write_learning(const struct results *results, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i, k;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("activation,epoch,pairs,mean_difference,mean_difference_sd\n", file.stream);
    for (i = 0; i < results->learning_count; i++)
        for (k = 0; k < results->learning[i].count; k++) {
            const struct learning *learning = &results->learning[i];
            fprintf(file.stream, "%s,%.0f,%lu", activation_name(learning->activation), learning->epochs[k],
                    (unsigned long)learning->differences[k].count);
            csv_number(file.stream, learning->differences[k].mean);
            csv_number(file.stream, learning->differences[k].deviation);
            fputc('\n', file.stream);
        }
    return outfile_commit(&file, problem);
}

/* ---- JSON ---- */

static void member(FILE *stream, const char *key, double value) {
    fprintf(stream, ", \"%s\": ", key);
    json_write_number(stream, value);
}

static void json_head(FILE *stream, const struct results *results) {
    const struct record *first = &results->records[0];
    size_t i;
    fputs("{\n  \"program\": \"unetstar-compare\",\n  \"version\": ", stream);
    json_write_text(stream, first->version);
    fprintf(stream, ",\n  \"numerics_version\": %d,\n  \"data\": ", first->numerics);
    json_write_text(stream, first->data);
    fputs(",\n  \"options\": {", stream);
    for (i = 0; i < first->options.count; i++) {
        fputs(i ? ", " : "", stream);
        json_write_text(stream, first->options.names[i]);
        fputs(": ", stream);
        json_write_text(stream, first->options.values[i]);
    }
    fputs("},\n  \"seeds\": [", stream);
    for (i = 0; i < results->seed_count; i++)
        fprintf(stream, "%s\"%llu\"", i ? ", " : "", (unsigned long long)results->seeds[i]);
    fputs("],\n  \"missing\": [", stream);
    for (i = 0; i < results->missing.count; i++) {
        fputs(i ? ", " : "", stream);
        json_write_text(stream, results->missing.items[i]);
    }
    fputs("],\n", stream);
}

static void json_rows(FILE *stream, const struct results *results) {
    size_t i;
    int k;
    fputs("  \"tables\": [", stream);
    for (i = 0; i < results->row_count; i++) {
        const struct table_row *row = &results->rows[i];
        char fold[32], deviation[64];
        row_fold(fold, sizeof fold, row);
        fprintf(
            stream,
            "%s\n    {\"region\": \"%s\", \"activation\": \"%s\", \"fold\": \"%s\", \"row\": \"%s\", \"seeds\": %lu",
            i ? "," : "", region_names[row->region], row_activation(row), fold, row_name(row),
            (unsigned long)row->values[COLUMN_F1].count);
        for (k = 0; k < COLUMNS; k++) {
            snprintf(deviation, sizeof deviation, "%s_sd", column_names[k]);
            member(stream, column_names[k], row->values[k].mean);
            member(stream, deviation, row->values[k].deviation);
        }
        fputc('}', stream);
    }
    fputs("\n  ],\n", stream);
}

static void json_paired(FILE *stream, const struct results *results) {
    size_t i;
    fputs("  \"paired\": [", stream);
    for (i = 0; i < results->paired_count; i++) {
        const struct paired_row *row = &results->paired[i];
        fprintf(stream,
                "%s\n    {\"region\": \"%s\", \"activation\": \"%s\", \"measure\": \"%s\", \"images\": %lu, "
                "\"star_better\": %lu, \"sum_better\": %lu",
                i ? "," : "", region_names[row->region], activation_name(row->activation), paired_names[row->measure],
                (unsigned long)row->paired.count, (unsigned long)row->paired.wins, (unsigned long)row->paired.losses);
        member(stream, "mean_difference", row->paired.mean);
        member(stream, "low", row->paired.low);
        member(stream, "high", row->paired.high);
        fputc('}', stream);
    }
    fputs("\n  ],\n", stream);
}

static void json_costs(FILE *stream, const struct results *results, int times) {
    size_t i;
    fputs("  \"cost\": [", stream);
    for (i = 0; i < results->cost_count; i++) {
        const struct cost_row *row = &results->costs[i];
        fprintf(stream,
                "%s\n    {\"activation\": \"%s\", \"fusion\": \"%s\", \"parameters\": %lld, "
                "\"multiply_adds\": %lld, \"runs\": %lu, \"best_among_last_%d\": %lu",
                i ? "," : "", activation_name(row->activation), fusion_name(row->fusion), row->parameters,
                row->multiply_adds, (unsigned long)row->runs, (int)LATE_EPOCHS, (unsigned long)row->late);
        member(stream, "epochs", row->epochs.mean);
        member(stream, "best_epoch", row->best_epochs.mean);
        if (times) {
            member(stream, "train_seconds", row->train_seconds.mean);
            member(stream, "test_seconds", row->test_seconds.mean);
        }
        fputc('}', stream);
    }
    fputs("\n  ],\n", stream);
}

static void json_learning(FILE *stream, const struct results *results) {
    size_t i, k;
    fputs("  \"learning\": [", stream);
    for (i = 0; i < results->learning_count; i++) {
        const struct learning *learning = &results->learning[i];
        fprintf(stream, "%s\n    {\"activation\": \"%s\", \"sign_changes\": %lu, \"last_change\": %lu, \"epochs\": [",
                i ? "," : "", activation_name(learning->activation), (unsigned long)learning->changes,
                (unsigned long)learning->last_change);
        for (k = 0; k < learning->count; k++)
            fprintf(stream, "%s%.0f", k ? ", " : "", learning->epochs[k]);
        fputs("], \"mean_difference\": [", stream);
        for (k = 0; k < learning->count; k++) {
            fputs(k ? ", " : "", stream);
            json_write_number(stream, learning->differences[k].mean);
        }
        fputs("]}", stream);
    }
    fputs("\n  ]\n", stream);
}

static int write_json(const struct results *results, const char *path, int times, struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    json_head(file.stream, results);
    json_rows(file.stream, results);
    json_paired(file.stream, results);
    json_costs(file.stream, results, times);
    json_learning(file.stream, results);
    fputs("}\n", file.stream);
    return outfile_commit(&file, problem);
}

int results_write(const struct results *results, const char *folder, const char *pictures, int times,
                  struct problem *problem) {
    char *tables = path_join(folder, "tables.csv"), *paired = path_join(folder, "paired.csv");
    char *costs = path_join(folder, "cost.csv"), *learning = path_join(folder, "learning.csv");
    char *json = path_join(folder, "report.json"), *html = path_join(folder, "report.html");
    int result = write_tables(results, tables, problem);
    if (!result)
        result = write_paired(results, paired, problem);
    if (!result)
        result = write_costs(results, costs, times, problem);
    if (!result)
        result = write_learning(results, learning, problem);
    if (!result)
        result = write_json(results, json, times, problem);
    if (!result)
        result = html_write(results, html, pictures, times, problem);
    free(tables);
    free(paired);
    free(costs);
    free(learning);
    free(json);
    free(html);
    return result;
}
