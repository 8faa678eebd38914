/* layouts.h - how the known data sets lie on disk. */
#ifndef EXAMPLES_LAYOUTS_H
#define EXAMPLES_LAYOUTS_H

#include "datasets.h"

/* Recognises `folder` and adds its pictures as one group. */
int layout_read(struct collection *collection, const char *folder, const struct data_options *options,
                struct problem *problem);
/* For --layout: "auto" and the names of the layouts. */
extern const struct choice layout_choices[];

#endif
