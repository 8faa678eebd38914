/* table.h - the metrics of some images as text, CSV and JSON. */
#ifndef EXAMPLES_TABLE_H
#define EXAMPLES_TABLE_H

#include <stdio.h>

#include "problem.h"
#include "unetstar.h"

struct table {
    unetstar_scores *rows; /* one an image, in order */
    char **names;
    size_t count;
    unetstar_scores pooled;   /* all pixels of all images together */
    unetstar_scores observer; /* a second human against the first, pooled, when has_observer */
    int has_observer;
    char *observer_name;
    double best_threshold, best_f1; /* pooled */
    double stored_threshold;        /* set it before filling: of the model, 0: none */
    unetstar_scores stored;         /* pooled, at that threshold */
    /* What was measured, for the JSON and the headings. */
    const char *program, *data, *model;
};

/* Fills rows, pooled and best threshold. */
int table_from_metrics(struct table *table, unetstar_metrics *metrics, double threshold, struct problem *problem);
void table_print(const struct table *table, FILE *stream);
int table_write_csv(const struct table *table, const char *path, struct problem *problem);
int table_write_json(const struct table *table, const char *path, struct problem *problem);
void table_free(struct table *table);

#endif
