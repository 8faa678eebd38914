/* plot.h - line charts as SVG. */
#ifndef EXAMPLES_PLOT_H
#define EXAMPLES_PLOT_H

#include <stddef.h>
#include <stdio.h>

#include "problem.h"

struct line {
    const char *name; /* in the legend; NULL: none */
    const char *colour;
    const double *x, *y; /* points that are not finite interrupt the line */
    size_t count;
    int dashed; /* 1: thin dashes; 2, 3, 4: other patterns */
    int dots; /* points only, larger */
};

enum { PLOT_LINES = 20 };
struct plot {
    const char *title, *x_label, *y_label;
    double x_low, x_high, y_low, y_high; /* low >= high: from the data */
    struct line lines[PLOT_LINES];
    int line_count;
    int legend_low; /* the legend stands at the bottom right instead of the top right */
    int legend_left;
    int whole_x; /* ticks at whole numbers only */
};

#define PLOT_BLUE "#0b63b0"
#define PLOT_ORANGE "#d2560c"
#define PLOT_GRAY "#8a8f98"
#define PLOT_GREEN "#148a5c"

/* Plots side by side in one picture, each width x height pixels. */
void plot_draw(FILE *svg, const struct plot *plots, int count, int width, int height);
int plot_write(const char *path, const struct plot *plots, int count, int width, int height, struct problem *problem);

#endif
