/* html_curves.c - the plots of the page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plot.h"
#include "compare.h"

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

/* Each a picture of its own, so that on a narrow screen one stands below the other. */
static void draw(FILE *stream, const struct chart *charts, int count, int height) {
    int k;
    fputs("<div class=\"plots\">\n", stream);
    for (k = 0; k < count; k++)
        plot_draw(stream, &charts[k].plot, 1, 470, height);
    fputs("</div>\n", stream);
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

/* The references of all folds: a dashed curve, and a point. */
static void add_references(struct chart *chart, const struct results *results, int roc) {
    struct score_histogram all;
    double counts[COUNTS] = {0, 0, 0, 0}, *x, *y;
    struct line *line;
    char name[96];
    size_t i, observers = 0, filters = 0;
    int k;
    memset(&all, 0, sizeof all);
    for (i = 0; i < results->reference_count; i++) {
        const struct record *record = &results->references[i];
        if (record->reference == REFERENCE_HESSIAN) {
            histogram_add(&all, &record->histograms[REGION_FIELD]);
            filters++;
        } else {
            for (k = 0; k < COUNTS; k++)
                counts[k] += (double)record->counts[REGION_FIELD][k];
            observers++;
        }
    }
    if (filters == results->folds.count) {
        struct areas areas = histogram_areas(&all);
        snprintf(name, sizeof name, "Hessian filter: %.4f", roc ? areas.roc : areas.pr);
        line = chart_line(chart, 0, name, SCORE_BINS + 1, &x, &y);
        if (line) {
            line->count = histogram_curve(&all, roc, x, y);
            line->colour = PLOT_GRAY;
            line->dashed = 3;
        }
    }
    if (observers == results->folds.count && counts[TP] > 0) {
        line = chart_line(chart, 0, "second observer", 1, &x, &y);
        if (line) {
            x[0] = roc ? counts[FP] / (counts[FP] + counts[TN]) : counts[TP] / (counts[TP] + counts[FN]);
            y[0] = roc ? counts[TP] / (counts[TP] + counts[FN]) : counts[TP] / (counts[TP] + counts[FP]);
            line->count = 1;
            line->colour = "#20242a";
            line->dots = 1;
        }
    }
}

void html_curves(FILE *stream, const struct results *results) {
    struct chart charts[2];
    size_t a, f;
    int k;
    chart_start(&charts[0], "ROC", "1 - specificity", "sensitivity");
    chart_start(&charts[1], "Precision and recall", "recall (sensitivity)", "precision");
    for (k = 0; k < 2; k++) {
        for (a = 0; a < results->activations.count; a++)
            for (f = 0; f < results->fusions.count; f++)
                add_pooled(&charts[k], results, a * results->fusions.count + f, results->fusions.items[f],
                           results->activations.items[a], !k);
        add_references(&charts[k], results, !k);
        shape_curve(&charts[k], !k);
    }
    fputs("<h2>Curves</h2>\n<p class=\"note\">Pixels of the test images inside the field of view, all folds and seeds "
          "together, with the area under each curve.</p>\n",
          stream);
    draw(stream, charts, 2, 440);
    for (k = 0; k < 2; k++)
        chart_free(&charts[k]);
}

/* ---- Calibration ---- */

/* A bin of few pixels is noise. */
enum { BIN_LEAST = 100 };

static void add_reliability(struct chart *chart, const struct results *results, size_t variant, int32_t fusion,
                            int32_t activation) {
    struct calibration_bins all;
    struct line *line;
    double *x, *y;
    char name[64], full[96];
    size_t i;
    int k, found = 0;
    memset(&all, 0, sizeof all);
    for (i = 0; i < results->record_count; i++) {
        const struct record *record = &results->records[i];
        if (record->cell.fusion != fusion || record->cell.activation != activation)
            continue;
        calibration_add(&all, &record->calibration[REGION_FIELD]);
        found = 1;
    }
    if (!found)
        return;
    variant_text(name, sizeof name, fusion, activation);
    snprintf(full, sizeof full, "%s: %.4f", name, calibration_error(&all));
    line = chart_line(chart, variant, full, CALIBRATION_BINS, &x, &y);
    for (k = 0; line && k < CALIBRATION_BINS; k++)
        if (all.pixels[k] >= BIN_LEAST) {
            x[line->count] = all.probability[k] / (double)all.pixels[k];
            y[line->count++] = (double)all.vessels[k] / (double)all.pixels[k];
        }
}

void html_calibration(FILE *stream, const struct results *results) {
    struct chart chart;
    size_t a, f;
    chart_start(&chart, "Reliability", "mean probability of a bin", "share of vessels in it");
    for (a = 0; a < results->activations.count; a++)
        for (f = 0; f < results->fusions.count; f++)
            add_reliability(&chart, results, a * results->fusions.count + f, results->fusions.items[f],
                            results->activations.items[a]);
    shape_curve(&chart, 1);
    fprintf(
        stream,
        "<h2>Calibration</h2>\n<p class=\"note\">Is a pixel of probability 0.7 vessel in seven of ten cases? Pixels "
        "inside the field of view, all folds and seeds together, in 15 bins of their probability (those with %d "
        "pixels or more), with the expected calibration error. Below the dashed line a network is too sure of "
        "vessels, above it not sure enough.</p>\n",
        (int)BIN_LEAST);
    draw(stream, &chart, 1, 440);
    chart_free(&chart);
}

/* ---- Star against sum while they learn ---- */

/* As people write it. */
static const char *metric_title(const struct results *results) {
    static const char *const titles[][2] = {{"roc-auc", "ROC AUC"}, {"pr-auc", "PR AUC"}, {"f1", "F1"}, {"mcc", "MCC"}};
    const char *metric = html_option(results, "metric");
    size_t i;
    for (i = 0; i < sizeof titles / sizeof titles[0]; i++)
        if (!strcmp(titles[i][0], metric))
            return titles[i][1];
    return metric;
}

static void say_sign(FILE *stream, const struct learning *learning) {
    const struct summary *last = &learning->differences[learning->count - 1];
    int ahead = learning->falls ? last->mean < 0 : last->mean > 0;
    char title[64];
    html_activation(title, sizeof title, learning->activation);
    fprintf(stream, "<li>%s, %lu pair%s of runs: ", title, (unsigned long)learning->differences[0].count,
            learning->differences[0].count == 1 ? "" : "s");
    if (!(last->mean > 0) && !(last->mean < 0))
        fputs("star and sum end level", stream);
    else if (!learning->changes)
        fprintf(stream, "star is %s sum in every epoch", ahead ? "ahead of" : "behind");
    else if (learning->changes == 1)
        fprintf(stream, "star is %s sum before epoch %lu and %s it from there on", ahead ? "behind" : "ahead of",
                (unsigned long)learning->last_change, ahead ? "ahead of" : "behind");
    else
        fprintf(stream, "the difference crosses zero %lu times; from epoch %lu on star stays %s sum",
                (unsigned long)learning->changes, (unsigned long)learning->last_change, ahead ? "ahead of" : "behind");
    fprintf(stream, "; %+.4f in epoch %.0f, %+.4f", learning->differences[0].mean, learning->epochs[0], last->mean);
    if (isfinite(last->deviation))
        fprintf(stream, " (&plusmn; %.4f over the pairs)", last->deviation);
    fprintf(stream, " in epoch %.0f.</li>\n", learning->epochs[learning->count - 1]);
}

/* The first epochs differ by much: the scale is that of the others, and what does not fit is left out of the picture.
 */
static void scale_to_later(struct plot *plot, const struct results *results, int *cut) {
    double low = 0, high = 0;
    size_t i, k;
    for (i = 0; i < results->learning_count; i++)
        for (k = results->learning[i].count / 8; k < results->learning[i].count; k++) {
            double v = results->learning[i].differences[k].mean;
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
    plot->y_low = low - 0.06 * (high - low);
    plot->y_high = high + 0.06 * (high - low);
    *cut = 0;
    for (i = 0; i < (size_t)plot->line_count; i++)
        for (k = 0; k < plot->lines[i].count; k++)
            *cut |= plot->lines[i].y[k] < plot->y_low || plot->lines[i].y[k] > plot->y_high;
}

void html_learning(FILE *stream, const struct results *results) {
    struct chart chart;
    const char *metric = metric_title(results), *validation = html_option(results, "validation");
    double ends[2] = {1, 1}, zeros[2] = {0, 0};
    size_t i, k;
    int cut;
    if (!results->learning_count)
        return;
    chart_start(&chart, "Star - sum while they learn", "epoch", metric);
    for (i = 0; i < results->learning_count; i++) {
        const struct learning *learning = &results->learning[i];
        double *x, *y;
        struct line *line = chart_line(&chart, i, activation_name(learning->activation), learning->count, &x, &y);
        for (k = 0; line && k < learning->count; k++) {
            x[k] = learning->epochs[k];
            y[k] = learning->differences[k].mean;
            ends[0] = x[k] < ends[0] ? x[k] : ends[0];
            ends[1] = x[k] > ends[1] ? x[k] : ends[1];
        }
        if (line) {
            line->count = learning->count;
            line->name = learning->activation == UNETSTAR_ACTIVATION_NONE ? "no activation" : line->name;
        }
    }
    scale_to_later(&chart.plot, results, &cut);
    for (i = 0; i < (size_t)chart.plot.line_count; i++) /* the lines' values are the chart's own */
        for (k = 0; k < chart.plot.lines[i].count; k++)
            if (chart.points[2 * i + 1][k] < chart.plot.y_low || chart.points[2 * i + 1][k] > chart.plot.y_high)
                chart.points[2 * i + 1][k] = NAN;
    chart.plot.lines[chart.plot.line_count++] = (struct line){NULL, PLOT_GRAY, ends, zeros, 2, 1, 0};
    chart.plot.whole_x = 1;
    chart.plot.legend_low = chart.plot.y_high < -chart.plot.y_low; /* where there is more room */
    fprintf(
        stream,
        "<h2>Star against sum while they learn</h2>\n<p class=\"note\">%s of the validation%s, star minus sum, the "
        "mean over folds and seeds, up to the epoch that half of the pairs reach. %s%s</p>\n<ul>\n",
        metric, results->learning[0].falls ? " (less is better)" : "",
        !strcmp(validation, "patches")
            ? "Validation is on patches of the training images: this tells how well the networks learn these images, "
              "not how they do on new ones."
            : "Validation is on whole images kept back from the training.",
        cut ? " The first epochs are outside of the picture." : "");
    for (i = 0; i < results->learning_count; i++)
        say_sign(stream, &results->learning[i]);
    fputs("</ul>\n", stream);
    draw(stream, &chart, 1, 340);
    chart_free(&chart);
}

/* ---- Fold by fold ---- */

static void write_fold_curves(FILE *stream, const struct results *results, int32_t fold) {
    struct chart charts[4];
    size_t a, f;
    char title[32];
    int k;
    chart_start(&charts[0], "Training loss", "epoch", "mean loss of an epoch");
    chart_start(&charts[1], "Validation", "epoch", metric_title(results));
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
        fold_text(title, sizeof title, fold);
        fprintf(stream, "<h3>Fold %s</h3>\n", title);
        draw(stream, charts, 2, 340);
        draw(stream, charts + 2, 2, 440);
    }
    for (k = 0; k < 4; k++)
        chart_free(&charts[k]);
}

void html_folds(FILE *stream, const struct results *results) {
    size_t k;
    fprintf(stream,
            "<h2>Fold by fold</h2>\n<p class=\"note\">Seed %llu. The validation curve chooses the weights that are "
            "tested.</p>\n",
            (unsigned long long)results->seeds[0]);
    for (k = 0; k < results->folds.count; k++)
        write_fold_curves(stream, results, results->folds.items[k]);
}
