/* html.c - the report as one HTML page that needs no other file: its frame, what was compared and how. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

static const char style[] =
    "body{font:16px/1.5 Helvetica,Arial,sans-serif;color:#20242a;background:#fff;max-width:960px;margin:2em auto;"
    "padding:0 1em}\n"
    "h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.25em;margin-top:2em;border-bottom:1px solid #d5d9df}\n"
    "h3{font-size:1.05em;margin-bottom:.4em}table{border-collapse:collapse;font-size:.86em;margin:.4em 0 1em;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25em .6em;text-align:right;vertical-align:top;white-space:nowrap}"
    "th{font-weight:600;border-bottom:1px solid #9aa1ab;vertical-align:bottom}\n"
    "td.l,th.l{text-align:left}tbody{border-bottom:1px solid #d5d9df}tr.d td{background:#f4f6f8}"
    "tr.r td{color:#4a515b;font-style:italic}\n"
    "td span{display:block;font-size:.8em;line-height:1.2;color:#6a717b}\n"
    ".up{color:#0b6b3a}.down{color:#a3301a}.note{font-size:.88em;color:#4a515b}\n"
    "svg{max-width:100%;height:auto}.w{overflow-x:auto}.plots,.pics{display:flex;flex-wrap:wrap}.pics{gap:10px}\n"
    "figure{margin:0;width:232px}figure img{width:100%;height:auto;display:block}"
    "figcaption{font-size:.8em;line-height:1.35;padding:.2em 0 .5em}\n"
    "@media(max-width:540px){figure{width:calc(50% - 5px)}}\n"
    "@media print{body{max-width:none;margin:0;padding:0;font-size:12px}table{font-size:9.5px}th,td{padding:.2em .45em}"
    "tr,tbody,svg,figure{break-inside:avoid}h2,h3{break-after:avoid}figure{width:170px}.plots{break-before:avoid}"
    ".plots svg{width:49%}.w{overflow:visible}}\n";

void html_text(FILE *stream, const char *text) {
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

const char *html_region(enum region region) {
    return region == REGION_FIELD ? "inside the field of view" : "over the whole image";
}

void html_activation(char *text, size_t size, int32_t activation) {
    if (activation == UNETSTAR_ACTIVATION_NONE)
        snprintf(text, size, "Without activation");
    else
        snprintf(text, size, "With %s", activation_name(activation));
}

const char *html_option(const struct results *results, const char *name) {
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
    html_text(stream, first->data);
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
            results->folds.items[0] == FOLD_OWN ? "" : html_option(results, "folds"), results->seed_count == 1 ? "" : "s");
    for (i = 0; i < results->seed_count; i++)
        fprintf(stream, "%s%llu", i ? ", " : "", (unsigned long long)results->seeds[i]);
    fputs(".</p>\n", stream);
    if (results->missing.count) {
        fprintf(stream, "<p><strong>%lu cell%s of the matrix not finished:</strong> ",
                (unsigned long)results->missing.count, results->missing.count == 1 ? " is" : "s are");
        for (i = 0; i < results->missing.count; i++) {
            fputs(i ? ", " : "", stream);
            html_text(stream, results->missing.items[i]);
        }
        fputs(".</p>\n", stream);
    }
}

/* ---- The page ---- */

static void write_options(FILE *stream, const struct results *results) {
    const struct record *first = &results->records[0];
    size_t i;
    fputs("<h2>Options</h2>\n<p class=\"note\">", stream);
    for (i = 0; i < first->options.count; i++) {
        fputs(i ? " &middot; " : "", stream);
        html_text(stream, first->options.names[i]);
        fputc(' ', stream);
        html_text(stream, first->options.values[i]);
    }
    fprintf(stream,
            "</p>\n<p class=\"note\">unetstar %s, results of version %d. The same numbers: tables.csv, "
            "paired.csv, cost.csv, learning.csv, report.json.</p>\n</body>\n</html>\n",
            first->version, first->numerics);
}

int html_write(const struct results *results, const char *path, const char *pictures, int times,
               struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    write_head(file.stream, results);
    html_tables(file.stream, results, REGION_FIELD);
    html_paired(file.stream, results);
    html_pictures(file.stream, results, pictures);
    html_curves(file.stream, results);
    html_calibration(file.stream, results);
    html_learning(file.stream, results);
    html_tables(file.stream, results, REGION_WHOLE);
    html_costs(file.stream, results, times);
    html_folds(file.stream, results);
    write_options(file.stream, results);
    return outfile_commit(&file, problem);
}
