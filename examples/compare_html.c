/* compare_html.c - the report as one HTML page that needs no other file: tables, curves, what was compared and how. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bar.h"
#include "common/plot.h"
#include "compare.h"

static const char style[] =
    "body{font:16px/1.5 Helvetica,Arial,sans-serif;color:#20242a;background:#fff;max-width:960px;margin:2em auto;"
    "padding:0 1em}\n"
    "h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.25em;margin-top:2em;border-bottom:1px solid #d5d9df}\n"
    "h3{font-size:1.05em;margin-bottom:.4em}table{border-collapse:collapse;font-size:.86em;margin:.4em 0 1em;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25em .6em;text-align:right;white-space:nowrap}th{font-weight:600;border-bottom:1px solid #9aa1ab}\n"
    "td.l,th.l{text-align:left}tbody{border-bottom:1px solid #d5d9df}tr.d td{background:#f4f6f8}\n"
    ".up{color:#0b6b3a}.down{color:#a3301a}.note{font-size:.88em;color:#4a515b}svg{max-width:100%;height:auto}\n"
    ".w{overflow-x:auto}@media print{body{max-width:none;margin:0}table,svg{break-inside:avoid}.w{overflow:visible}}\n";

static void escape(FILE *stream, const char *text) {
    for (; *text; text++)
        if (*text == '<')
            fputs("&lt;", stream);
        else if (*text == '>')
            fputs("&gt;", stream);
        else if (*text == '&')
            fputs("&amp;", stream);
        else if (*text == '"')
            fputs("&quot;", stream);
        else
            fputc(*text, stream);
}

static const char *region_title(enum region region) {
    return region == REGION_FIELD ? "inside the field of view" : "over the whole image";
}

static void activation_title(char *text, size_t size, int32_t activation) {
    if (activation == UNETSTAR_ACTIVATION_NONE)
        snprintf(text, size, "Without activation");
    else
        snprintf(text, size, "With %s", activation_name(activation));
}

static const char *option(const struct results *results, const char *name) {
    const struct facts *options = &results->records[0].options;
    size_t i;
    for (i = 0; i < options->count; i++)
        if (!strcmp(options->names[i], name))
            return options->values[i];
    return "?";
}

/* ---- What was compared ---- */

static void write_head(FILE *stream, const struct results *results) {
    const struct record *first = &results->records[0];
    size_t i;
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<title>Fusion of skip connections compared</title>\n<style>\n",
          stream);
    fputs(style, stream);
    fputs("</style>\n</head>\n<body>\n<h1>Fusion of skip connections compared</h1>\n<p>", stream);
    escape(stream, first->data);
    fprintf(stream, ". %lu training%s: ", (unsigned long)results->record_count, results->record_count == 1 ? "" : "s");
    for (i = 0; i < results->fusions.count; i++)
        fprintf(stream, "%s%s", i ? ", " : "", fusion_name(results->fusions.items[i]));
    fputs("; activation ", stream);
    for (i = 0; i < results->activations.count; i++)
        fprintf(stream, "%s%s", i ? ", " : "", activation_name(results->activations.items[i]));
    fprintf(stream, "; fold%s ", results->folds.count == 1 ? "" : "s");
    for (i = 0; i < results->folds.count; i++) {
        char fold[32];
        fold_text(fold, sizeof fold, results->folds.items[i]);
        fprintf(stream, "%s%s", i ? ", " : "", fold);
    }
    fprintf(stream, "%s%s; seed%s ", results->folds.items[0] == FOLD_OWN ? "" : " of ",
            results->folds.items[0] == FOLD_OWN ? "" : option(results, "folds"), results->seed_count == 1 ? "" : "s");
    for (i = 0; i < results->seed_count; i++)
        fprintf(stream, "%s%llu", i ? ", " : "", (unsigned long long)results->seeds[i]);
    fputs(".</p>\n", stream);
    if (results->missing.count) {
        fprintf(stream, "<p><strong>%lu cell%s of the matrix not finished:</strong> ",
                (unsigned long)results->missing.count, results->missing.count == 1 ? " is" : "s are");
        for (i = 0; i < results->missing.count; i++) {
            fputs(i ? ", " : "", stream);
            escape(stream, results->missing.items[i]);
        }
        fputs(".</p>\n", stream);
    }
}

/* ---- Tables ---- */

static void value_cell(FILE *stream, const struct summary *value, int difference) {
    int up = value->mean >= 0.00005, down = value->mean <= -0.00005;
    if (!isfinite(value->mean)) {
        fputs("<td>-</td>", stream);
        return;
    }
    if (!difference)
        fprintf(stream, "<td>%.4f", value->mean);
    else
        fprintf(stream, "<td class=\"%s\">%s %.4f",
                up     ? "up"
                : down ? "down"
                       : "level",
                up     ? "\xe2\x96\xb2"
                : down ? "\xe2\x96\xbc"
                       : "=",
                fabs(value->mean));
    if (isfinite(value->deviation))
        fprintf(stream, " &plusmn; %.4f", value->deviation);
    fputs("</td>", stream);
}

static void table_line(FILE *stream, const struct table_row *row, int first) {
    char fold[48];
    int k;
    if (row->pooled)
        snprintf(fold, sizeof fold, "pooled");
    else
        fold_text(fold, sizeof fold, row->fold);
    if (first)
        fputs("<tbody>\n", stream);
    fprintf(stream, "<tr%s><td class=\"l\">%s</td><td class=\"l\">%s</td>", row->fusion < 0 ? " class=\"d\"" : "", fold,
            row->fusion < 0 ? "star - sum" : fusion_name(row->fusion));
    for (k = 0; k < COLUMNS_SHOWN; k++)
        value_cell(stream, &row->values[k], row->fusion < 0);
    fputs("</tr>\n", stream);
}

static void write_table(FILE *stream, const struct results *results, enum region region, int32_t activation) {
    const struct table_row *before = NULL;
    char title[64];
    size_t i;
    int k;
    activation_title(title, sizeof title, activation);
    fprintf(stream,
            "<h3>%s, %s</h3>\n<div class=\"w\"><table data-region=\"%s\" data-activation=\"%s\">\n<thead><tr>"
            "<th class=\"l\">fold</th><th class=\"l\">fusion</th>",
            title, region_title(region), region_names[region], activation_name(activation));
    for (k = 0; k < COLUMNS_SHOWN; k++)
        fprintf(stream, "<th>%s</th>", column_headings[k]);
    fputs("</tr></thead>\n", stream);
    for (i = 0; i < results->row_count; i++) {
        const struct table_row *row = &results->rows[i];
        int next;
        if (row->region != region || row->activation != activation)
            continue;
        next = !before || before->fold != row->fold || before->pooled != row->pooled;
        if (next && before)
            fputs("</tbody>\n", stream);
        table_line(stream, row, next);
        before = row;
    }
    fputs(before ? "</tbody>\n</table></div>\n" : "</table></div>\n", stream);
}

static void write_tables(FILE *stream, const struct results *results, enum region region) {
    size_t a;
    fprintf(stream, "<h2>Test images, %s</h2>\n", region_title(region));
    for (a = 0; a < results->activations.count; a++)
        write_table(stream, results, region, results->activations.items[a]);
    fputs("<p class=\"note\">All pixels of a fold's test images together; a pixel is vessel from probability 0.5 on. ",
          stream);
    if (results->seed_count > 1)
        fprintf(stream, "Mean &plusmn; standard deviation over the %lu seeds; the differences are taken seed by seed. ",
                (unsigned long)results->seed_count);
    else
        fputs("One run each: such differences say little without more seeds. ", stream);
    fputs("PR AUC by the trapezoid rule. ", stream);
    if (region == REGION_WHOLE)
        fputs("The network's output is counted as it is outside the field of view too, where labels are background. ",
              stream);
    if (results->folds.count > 1)
        fputs("Pooled: the pixels of all folds together, for seeds with every fold; the areas of these rows come from "
              "histograms of the scores and the folds' exact areas (an approximation), all else is exact.",
              stream);
    fputs("</p>\n", stream);
}

static void write_paired(FILE *stream, const struct results *results) {
    static const char *const headings[PAIRED] = {"F1", "ROC AUC", "average precision"};
    size_t i;
    if (!results->paired_count)
        return;
    fputs("<h2>Star against sum, image by image</h2>\n<div class=\"w\"><table data-table=\"paired\">\n<thead><tr>"
          "<th class=\"l\">pixels</th><th class=\"l\">activation</th><th class=\"l\">measure</th><th>images</th>"
          "<th>star better</th><th>sum better</th><th>mean star - sum</th><th>95 % interval</th></tr></thead>\n"
          "<tbody>\n",
          stream);
    for (i = 0; i < results->paired_count; i++) {
        const struct paired_row *row = &results->paired[i];
        const struct paired *paired = &row->paired;
        fprintf(stream,
                "<tr><td class=\"l\">%s</td><td class=\"l\">%s</td><td class=\"l\">%s</td><td>%lu</td><td>%lu</td>"
                "<td>%lu</td>",
                region_title(row->region), activation_name(row->activation), headings[row->measure],
                (unsigned long)paired->count, (unsigned long)paired->wins, (unsigned long)paired->losses);
        if (paired->count)
            fprintf(stream, "<td class=\"%s\">%+.4f</td><td>%+.4f to %+.4f</td></tr>\n",
                    paired->low > 0    ? "up"
                    : paired->high < 0 ? "down"
                                       : "level",
                    paired->mean, paired->low, paired->high);
        else
            fputs("<td>-</td><td>-</td></tr>\n", stream);
    }
    fprintf(stream,
            "</tbody>\n</table></div>\n<p class=\"note\">Each test image's score with star minus its score with sum, "
            "the mean over the seeds. The interval is the percentile bootstrap of the mean over images (%d resamples, "
            "fixed seed): it tells how the difference depends on the choice of images, not on the seed. Coloured: the "
            "interval does not hold 0.</p>\n",
            (int)BOOTSTRAP_RESAMPLES);
}

static void write_costs(FILE *stream, const struct results *results, int times) {
    size_t i;
    fprintf(stream,
            "<h2>Cost</h2>\n<div class=\"w\"><table data-table=\"cost\">\n<thead><tr><th class=\"l\">activation</th>"
            "<th class=\"l\">fusion</th><th>parameters</th><th>multiply-adds</th><th>epochs</th>%s</tr></thead>\n"
            "<tbody>\n",
            times ? "<th>training, s</th><th>test, s</th>" : "");
    for (i = 0; i < results->cost_count; i++) {
        const struct cost_row *row = &results->costs[i];
        fprintf(stream, "<tr><td class=\"l\">%s</td><td class=\"l\">%s</td><td>%lld</td><td>%lld</td><td>%.1f</td>",
                activation_name(row->activation), fusion_name(row->fusion), row->parameters, row->multiply_adds,
                row->epochs.mean);
        if (times)
            fprintf(stream, "<td>%.1f</td><td>%.1f</td>", row->train_seconds.mean, row->test_seconds.mean);
        fputs("</tr>\n", stream);
    }
    fprintf(stream,
            "</tbody>\n</table></div>\n<p class=\"note\">Multiply-adds of convolutions, one forward pass of one patch "
            "of %s. Epochs%s: means over folds and seeds.</p>\n",
            option(results, "patch"), times ? " and seconds (with what else the machine did)" : "");
}

/* ---- Curves ---- */

/* Points of all lines of a plot; freed together. */
struct chart {
    struct plot plot;
    double *points[2 * PLOT_LINES];
    char names[PLOT_LINES][96];
};

static void chart_start(struct chart *chart, const char *title, const char *x, const char *y) {
    memset(chart, 0, sizeof *chart);
    chart->plot.title = title;
    chart->plot.x_label = x;
    chart->plot.y_label = y;
}

static void chart_free(struct chart *chart) {
    int i;
    for (i = 0; i < 2 * PLOT_LINES; i++)
        free(chart->points[i]);
}

/* A new line of the variant's colour with room for `room` points; NULL when the plot is full. */
static struct line *chart_line(struct chart *chart, size_t variant, const char *name, size_t room, double **x,
                               double **y) {
    static const char *const colours[] = {PLOT_BLUE, PLOT_ORANGE, PLOT_GREEN, "#7a3fb0", "#b5127a", "#6b5a1e"};
    enum { PALETTE = sizeof colours / sizeof colours[0] };
    int i = chart->plot.line_count;
    struct line *line = &chart->plot.lines[i];
    if (i >= PLOT_LINES - 1)
        return NULL;
    *x = chart->points[2 * i] = must_allocate(room, sizeof **x);
    *y = chart->points[2 * i + 1] = must_allocate(room, sizeof **y);
    snprintf(chart->names[i], sizeof chart->names[i], "%s", name);
    line->name = chart->names[i];
    line->colour = colours[variant % PALETTE];
    line->dashed = (int)(variant / PALETTE) ? 1 + (int)(variant / PALETTE) : 0;
    line->x = *x;
    line->y = *y;
    chart->plot.line_count++;
    return line;
}

static void shape_curve(struct chart *chart, int roc) {
    static const double diagonal[2] = {0, 1};
    struct plot *plot = &chart->plot;
    plot->x_high = plot->y_high = 1;
    plot->legend_low = 1;
    plot->legend_left = !roc;
    if (roc)
        plot->lines[plot->line_count++] = (struct line){NULL, PLOT_GRAY, diagonal, diagonal, 2, 1, 0};
}

/* Of all folds and seeds together. */
static void add_pooled(struct chart *chart, const struct results *results, size_t variant, int32_t fusion,
                       int32_t activation, int roc) {
    struct score_histogram all;
    struct areas areas;
    struct line *line;
    double *x, *y;
    char name[64], full[96];
    size_t i, found = 0;
    memset(&all, 0, sizeof all);
    for (i = 0; i < results->record_count; i++) {
        const struct record *record = &results->records[i];
        if (record->cell.fusion != fusion || record->cell.activation != activation)
            continue;
        histogram_add(&all, &record->histograms[REGION_FIELD]);
        found++;
    }
    if (!found)
        return;
    areas = histogram_areas(&all);
    variant_text(name, sizeof name, fusion, activation);
    snprintf(full, sizeof full, "%s: %.4f", name, roc ? areas.roc : areas.pr);
    line = chart_line(chart, variant, full, SCORE_BINS + 1, &x, &y);
    if (line)
        line->count = histogram_curve(&all, roc, x, y);
}

static void add_record_curve(struct chart *chart, const struct record *record, size_t variant, const char *name,
                             int roc) {
    const struct curve *curve = &record->curves[REGION_FIELD][roc ? 0 : 1];
    double *x, *y;
    struct line *line = chart_line(chart, variant, name, curve->count, &x, &y);
    if (!line)
        return;
    memcpy(x, curve->x, curve->count * sizeof *x);
    memcpy(y, curve->y, curve->count * sizeof *y);
    line->count = curve->count;
}

static void add_history(struct chart *chart, const struct record *record, size_t variant, const char *name,
                        int metric) {
    const struct history *history = &record->history;
    double *x, *y;
    struct line *line = chart_line(chart, variant, name, history->count, &x, &y);
    size_t i;
    if (!line)
        return;
    for (i = 0; i < history->count; i++) {
        x[i] = (double)history->items[i].number;
        y[i] = metric ? history->items[i].metric : history->items[i].loss;
    }
    line->count = history->count;
}

static void write_curves(FILE *stream, const struct results *results) {
    struct chart charts[2];
    struct plot plots[2];
    size_t a, f;
    int k;
    chart_start(&charts[0], "ROC", "1 - specificity", "sensitivity");
    chart_start(&charts[1], "Precision and recall", "recall (sensitivity)", "precision");
    for (k = 0; k < 2; k++) {
        for (a = 0; a < results->activations.count; a++)
            for (f = 0; f < results->fusions.count; f++)
                add_pooled(&charts[k], results, a * results->fusions.count + f, results->fusions.items[f],
                           results->activations.items[a], !k);
        shape_curve(&charts[k], !k);
        plots[k] = charts[k].plot;
    }
    fputs("<h2>Curves</h2>\n<p class=\"note\">Pixels of the test images inside the field of view, all folds and seeds "
          "together, with the area under each curve.</p>\n",
          stream);
    plot_draw(stream, plots, 2, 470, 440);
    for (k = 0; k < 2; k++)
        chart_free(&charts[k]);
}

static void write_fold_curves(FILE *stream, const struct results *results, int32_t fold) {
    struct chart charts[4];
    struct plot plots[4];
    size_t a, f;
    char title[32];
    int k;
    chart_start(&charts[0], "Training loss", "epoch", "mean loss of an epoch");
    chart_start(&charts[1], "Validation", "epoch", option(results, "metric"));
    chart_start(&charts[2], "ROC", "1 - specificity", "sensitivity");
    chart_start(&charts[3], "Precision and recall", "recall (sensitivity)", "precision");
    for (a = 0; a < results->activations.count; a++)
        for (f = 0; f < results->fusions.count; f++) {
            const struct record *record = results_find(results, results->fusions.items[f],
                                                       results->activations.items[a], fold, results->seeds[0]);
            size_t variant = a * results->fusions.count + f;
            char name[64];
            if (!record)
                continue;
            variant_text(name, sizeof name, record->cell.fusion, record->cell.activation);
            add_history(&charts[0], record, variant, name, 0);
            add_history(&charts[1], record, variant, name, 1);
            add_record_curve(&charts[2], record, variant, name, 1);
            add_record_curve(&charts[3], record, variant, name, 0);
        }
    if (charts[0].plot.line_count) {
        charts[0].plot.whole_x = charts[1].plot.whole_x = 1;
        charts[1].plot.legend_low = 1;
        shape_curve(&charts[2], 1);
        shape_curve(&charts[3], 0);
        for (k = 0; k < 4; k++)
            plots[k] = charts[k].plot;
        fold_text(title, sizeof title, fold);
        fprintf(stream, "<h3>Fold %s</h3>\n", title);
        plot_draw(stream, plots, 2, 470, 340);
        plot_draw(stream, plots + 2, 2, 470, 440);
    }
    for (k = 0; k < 4; k++)
        chart_free(&charts[k]);
}

/* ---- The page ---- */

static void write_options(FILE *stream, const struct results *results) {
    const struct record *first = &results->records[0];
    size_t i;
    fputs("<h2>Options</h2>\n<p class=\"note\">", stream);
    for (i = 0; i < first->options.count; i++) {
        fputs(i ? " &middot; " : "", stream);
        escape(stream, first->options.names[i]);
        fputc(' ', stream);
        escape(stream, first->options.values[i]);
    }
    fprintf(stream,
            "</p>\n<p class=\"note\">unetstar %s, results of version %d. The same numbers: tables.csv, "
            "paired.csv, cost.csv, report.json.</p>\n</body>\n</html>\n",
            first->version, first->numerics);
}

int html_write(const struct results *results, const char *path, int times, struct problem *problem) {
    struct outfile file;
    size_t k;
    if (outfile_open(&file, path, problem))
        return -1;
    write_head(file.stream, results);
    write_tables(file.stream, results, REGION_FIELD);
    write_paired(file.stream, results);
    write_curves(file.stream, results);
    write_tables(file.stream, results, REGION_WHOLE);
    write_costs(file.stream, results, times);
    fprintf(file.stream,
            "<h2>Fold by fold</h2>\n<p class=\"note\">Seed %llu. The validation curve chooses the weights that are "
            "tested.</p>\n",
            (unsigned long long)results->seeds[0]);
    for (k = 0; k < results->folds.count; k++)
        write_fold_curves(file.stream, results, results->folds.items[k]);
    write_options(file.stream, results);
    return outfile_commit(&file, problem);
}
