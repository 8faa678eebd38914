/* html_tables.c - the tables of the page. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare.h"

/* An arrow up and green where star is better, whichever way the measure goes. */
static void value_cell(FILE *stream, const struct table_row *row, int column) {
    const struct summary *value = &row->values[column];
    double better = column_falls[column] ? -value->mean : value->mean;
    int up = better >= 0.00005, down = better <= -0.00005;
    if (!isfinite(value->mean)) {
        fputs("<td>-</td>", stream);
        return;
    }
    if (row->fusion != ROW_DIFFERENCE)
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
        fprintf(stream, " <span>&plusmn; %.4f</span>", value->deviation);
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
    fprintf(stream, "<tr%s><td class=\"l\">%s</td><td class=\"l\">%s</td>",
            row->fusion == ROW_DIFFERENCE  ? " class=\"d\""
            : row->fusion < ROW_DIFFERENCE ? " class=\"r\""
                                           : "",
            fold, row_name(row));
    for (k = 0; k < COLUMNS_SHOWN; k++)
        value_cell(stream, row, k);
    fputs("</tr>\n", stream);
}

/* Those of the fold of a row: the same in every table. */
static void reference_lines(FILE *stream, const struct results *results, const struct table_row *of) {
    size_t i;
    for (i = 0; i < results->row_count; i++) {
        const struct table_row *row = &results->rows[i];
        if (row->activation < 0 && row->region == of->region && row->pooled == of->pooled &&
            (row->pooled || row->fold == of->fold))
            table_line(stream, row, 0);
    }
}

static void write_table(FILE *stream, const struct results *results, enum region region, int32_t activation) {
    const struct table_row *before = NULL;
    char title[64];
    size_t i;
    int k;
    html_activation(title, sizeof title, activation);
    fprintf(stream,
            "<h3>%s, %s</h3>\n<div class=\"w\"><table data-region=\"%s\" data-activation=\"%s\">\n<thead><tr>"
            "<th class=\"l\">fold</th><th class=\"l\">fusion</th>",
            title, html_region(region), region_names[region], activation_name(activation));
    for (k = 0; k < COLUMNS_SHOWN; k++)
        fprintf(stream, "<th>%s</th>", column_headings[k]);
    fputs("</tr></thead>\n", stream);
    for (i = 0; i < results->row_count; i++) {
        const struct table_row *row = &results->rows[i];
        int next;
        if (row->region != region || row->activation != activation)
            continue;
        next = !before || before->fold != row->fold || before->pooled != row->pooled;
        if (next && before) {
            reference_lines(stream, results, before);
            fputs("</tbody>\n", stream);
        }
        table_line(stream, row, next);
        before = row;
    }
    if (before) {
        reference_lines(stream, results, before);
        fputs("</tbody>\n", stream);
    }
    fputs("</table></div>\n", stream);
}

static int has_difference(const struct results *results) {
    size_t i;
    for (i = 0; i < results->row_count; i++)
        if (results->rows[i].fusion == ROW_DIFFERENCE)
            return 1;
    return 0;
}

static void write_reference_note(FILE *stream, const struct results *results) {
    int observer = 0, hessian = 0;
    size_t i;
    for (i = 0; i < results->reference_count; i++) {
        observer |= results->references[i].reference == REFERENCE_OBSERVER;
        hessian |= results->references[i].reference == REFERENCE_HESSIAN;
    }
    if (observer)
        fputs("Second observer: another human's drawing measured in the same way, one operating point without areas. ",
              stream);
    if (hessian)
        fputs("Hessian filter: second derivatives at five scales, chosen on STARE (where it looks a little better for it), "
              "whose threshold gives the training images as many vessel pixels as their labels have; a network below it is "
              "not worth its training. ",
              stream);
}

void html_tables(FILE *stream, const struct results *results, enum region region) {
    size_t a;
    fprintf(stream, "<h2>Test images, %s</h2>\n", html_region(region));
    for (a = 0; a < results->activations.count; a++)
        write_table(stream, results, region, results->activations.items[a]);
    fputs("<p class=\"note\">All pixels of a fold's test images together; a pixel is vessel from probability 0.5 on. ",
          stream);
    if (results->seed_count > 1)
        fprintf(stream, "Mean &plusmn; standard deviation over the %lu seeds; the differences are taken seed by seed. ",
                (unsigned long)results->seed_count);
    else
        fputs("One run each: such differences say little without more seeds. ", stream);
    if (has_difference(results))
        fputs("\xe2\x96\xb2: star is better, \xe2\x96\xbc: sum is better. ", stream);
    fputs("PR AUC by the trapezoid rule. clDice (how much of the vessels' middle lines is found) is the mean over the "
          "images. ECE is the expected calibration error, in 15 bins; less is better. ",
          stream);
    write_reference_note(stream, results);
    if (region == REGION_WHOLE)
        fputs("The network's output is counted as it is outside the field of view too, where labels are background. ",
              stream);
    if (results->folds.count > 1)
        fputs("Pooled: the pixels of all folds together, for seeds with every fold; the areas of these rows come from "
              "histograms of the scores and the folds' exact areas (an approximation), all else is exact, clDice as "
              "the mean over "
              "all images.",
              stream);
    fputs("</p>\n", stream);
}

void html_paired(FILE *stream, const struct results *results) {
    static const char *const headings[PAIRED] = {"F1", "ROC AUC", "average precision", "clDice"};
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
                html_region(row->region), activation_name(row->activation), headings[row->measure],
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

/* Would longer trainings have gone on rising? */
static void write_late_note(FILE *stream, const struct results *results) {
    size_t i, runs = 0, late = 0;
    if (!strcmp(html_option(results, "validation"), "none"))
        return;
    for (i = 0; i < results->cost_count; i++) {
        runs += results->costs[i].runs;
        late += results->costs[i].late;
    }
    fprintf(stream,
            "In %lu of %lu runs the best epoch is one of the last %d: these were still rising when they ended%s.",
            (unsigned long)late, (unsigned long)runs, (int)LATE_EPOCHS,
            strcmp(html_option(results, "schedule"), "cosine")
                ? ""
                : ", as far as a learning rate that ends near 0 lets one tell");
}

void html_costs(FILE *stream, const struct results *results, int times) {
    size_t i;
    fprintf(stream,
            "<h2>Cost</h2>\n<div class=\"w\"><table data-table=\"cost\">\n<thead><tr><th class=\"l\">activation</th>"
            "<th class=\"l\">fusion</th><th>parameters</th><th>multiply-adds</th><th>runs</th><th>epochs</th>"
            "<th>best epoch</th><th>best among the last %d</th>%s</tr></thead>\n<tbody>\n",
            (int)LATE_EPOCHS, times ? "<th>training, s</th><th>test, s</th>" : "");
    for (i = 0; i < results->cost_count; i++) {
        const struct cost_row *row = &results->costs[i];
        fprintf(stream,
                "<tr><td class=\"l\">%s</td><td "
                "class=\"l\">%s</td><td>%lld</td><td>%lld</td><td>%lu</td><td>%.1f</td><td>%.1f</td><td>%lu</td>",
                activation_name(row->activation), fusion_name(row->fusion), row->parameters, row->multiply_adds,
                (unsigned long)row->runs, row->epochs.mean, row->best_epochs.mean, (unsigned long)row->late);
        if (times)
            fprintf(stream, "<td>%.1f</td><td>%.1f</td>", row->train_seconds.mean, row->test_seconds.mean);
        fputs("</tr>\n", stream);
    }
    fprintf(stream,
            "</tbody>\n</table></div>\n<p class=\"note\">Multiply-adds of convolutions, one forward pass of one patch "
            "of %s. Epochs%s: means over folds and seeds. ",
            html_option(results, "patch"), times ? " and seconds (with what else the machine did)" : "");
    write_late_note(stream, results);
    fputs("</p>\n", stream);
}
