#include "history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "plot.h"

static const char header[] = "epoch,loss,metric,best_metric,is_best,learning_rate,images_per_second,seconds";

void history_add(struct history *history, const struct epoch *epoch) {
    while (history->count && history->items[history->count - 1].number >= epoch->number)
        history->count--;
    history->items = must_grow(history->items, history->count + 1, sizeof *history->items);
    history->items[history->count++] = *epoch;
}

void history_free(struct history *history) {
    free(history->items);
    history->items = NULL;
    history->count = 0;
}

/* Next value of a row; an empty one is NaN. *at moves behind the comma. */
static double next_value(const char **at) {
    char *end;
    double value = strtod(*at, &end);
    if (end == *at)
        value = NAN;
    *at = end + (*end == ',');
    return value;
}

int history_read(struct history *history, const char *path, struct problem *problem) {
    unsigned char *data;
    char *text, *row;
    size_t size;
    if (!path_exists(path))
        return 0;
    if (read_file(path, (size_t)1 << 26, &data, &size, problem))
        return -1;
    text = must_allocate(size + 1, 1);
    memcpy(text, data, size);
    free(data);
    for (row = strchr(text, '\n'); row && row[1]; row = strchr(row + 1, '\n')) {
        const char *at = row + 1;
        struct epoch epoch = {0};
        epoch.number = (long long)next_value(&at);
        epoch.loss = next_value(&at);
        epoch.metric = next_value(&at);
        epoch.best = next_value(&at);
        epoch.is_best = next_value(&at) > 0;
        epoch.learning_rate = next_value(&at);
        epoch.images_per_second = next_value(&at);
        epoch.seconds = next_value(&at);
        if (epoch.number > 0)
            history_add(history, &epoch);
    }
    free(text);
    return 0;
}

static void write_value(FILE *stream, int digits, double value) {
    fputc(',', stream);
    if (isfinite(value))
        fprintf(stream, "%.*g", digits, value);
}

int history_write_csv(const struct history *history, const char *path, struct problem *problem) {
    struct outfile file;
    size_t i;
    if (outfile_open(&file, path, problem))
        return -1;
    fprintf(file.stream, "%s\n", header);
    for (i = 0; i < history->count; i++) {
        const struct epoch *epoch = &history->items[i];
        fprintf(file.stream, "%lld", epoch->number);
        write_value(file.stream, 9, epoch->loss);
        write_value(file.stream, 9, epoch->metric);
        write_value(file.stream, 9, epoch->best);
        fprintf(file.stream, ",%d", epoch->is_best);
        write_value(file.stream, 9, epoch->learning_rate);
        write_value(file.stream, 5, epoch->images_per_second);
        write_value(file.stream, 5, epoch->seconds);
        fputc('\n', file.stream);
    }
    return outfile_commit(&file, problem);
}

int history_write_svg(const struct history *history, const char *metric_name, const char *path,
                      struct problem *problem) {
    size_t i, n = history->count, best = 0;
    double *x, *loss, *metric;
    struct plot plots[2];
    char name[96];
    int result, found = 0;
    if (!n)
        return 0;
    x = must_allocate(n, sizeof *x);
    loss = must_allocate(n, sizeof *loss);
    metric = must_allocate(n, sizeof *metric);
    for (i = 0; i < n; i++) {
        x[i] = (double)history->items[i].number;
        loss[i] = history->items[i].loss;
        metric[i] = history->items[i].metric;
        if (history->items[i].is_best && isfinite(metric[i]))
            best = i;
        found |= isfinite(metric[i]);
    }
    memset(plots, 0, sizeof plots);
    plots[0].title = "Training loss";
    plots[0].whole_x = plots[1].whole_x = 1;
    plots[0].x_label = plots[1].x_label = "epoch";
    plots[0].y_label = "mean loss of an epoch";
    plots[0].lines[0] = (struct line){NULL, PLOT_BLUE, x, loss, n, 0, 0};
    plots[0].line_count = 1;
    if (found) {
        snprintf(name, sizeof name, "best: %.4f in epoch %.0f", metric[best], x[best]);
        plots[1].title = "Validation";
        plots[1].y_label = metric_name;
        plots[1].lines[0] = (struct line){NULL, PLOT_BLUE, x, metric, n, 0, 0};
        plots[1].lines[1] = (struct line){name, PLOT_ORANGE, x + best, metric + best, 1, 0, 1};
        plots[1].line_count = 2;
        plots[1].legend_low = 1;
    }
    result = plot_write(path, plots, found ? 2 : 1, 440, 340, problem);
    free(x);
    free(loss);
    free(metric);
    return result;
}
