/* record_write.c - a finished cell or a reference as one small JSON file: enough for every number and curve of
 * a report, but no picture and no weight. */
#include "common/json.h"
#include "compare.h"

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

static void write_training(FILE *stream, const struct record *record) {
    write_names(stream, "validate", &record->validate);
    fprintf(stream, "  \"parameters\": %lld,\n  \"multiply_adds\": %lld,\n", record->parameters, record->multiply_adds);
    fprintf(stream, "  \"threads\": %d,\n  \"train_seconds\": %.6g,\n  \"test_seconds\": %.6g,\n", record->threads,
            record->train_seconds, record->test_seconds);
    fprintf(stream, "  \"epochs_run\": %lld,\n  \"best_epoch\": %lld,\n", record->epochs, record->best_epoch);
    write_history(stream, record);
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
    if (record->reference)
        write_member(stream, "reference", reference_names[record->reference]);
    else {
        write_member(stream, "fusion", fusion_name(record->cell.fusion));
        write_member(stream, "activation", activation_name(record->cell.activation));
    }
    write_member(stream, "fold", fold);
    if (!record->reference)
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
    if (!record->reference)
        write_training(stream, record);
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
