/* history.h - what happened in each epoch: the CSV log and the picture of the training curves. */
#ifndef EXAMPLES_HISTORY_H
#define EXAMPLES_HISTORY_H

#include <stddef.h>

#include "problem.h"
#include "unetstar.h"

struct epoch {
    long long number; /* counted from 1, as people do */
    double loss, metric, best, learning_rate, images_per_second, seconds;
    int is_best;
};

struct history {
    struct epoch *items;
    size_t count;
};

/* Adds an epoch. Rows of the same or a later number go: a resumed training may repeat what was logged but not saved. */
void history_add(struct history *history, const struct epoch *epoch);
void history_free(struct history *history);
/* Reads a log back; no file is no error. */
int history_read(struct history *history, const char *path, struct problem *problem);
int history_write_csv(const struct history *history, const char *path, struct problem *problem);
int history_write_svg(const struct history *history, const char *metric_name, const char *path,
                      struct problem *problem);

#endif
