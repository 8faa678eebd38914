/* loader.h - samples become pixels, and pixels become the library's datasets. */
#ifndef EXAMPLES_LOADER_H
#define EXAMPLES_LOADER_H

#include "bar.h"
#include "datasets.h"
#include "unetstar.h"

/* Adds one sample: its label classes and field of view are then as in training, wherever it is used. */
int load_sample(unetstar_dataset *into, const struct sample *sample, struct problem *problem);
/* The same with the second human's label. */
int load_observer(unetstar_dataset *into, const struct sample *sample, struct problem *problem);
/* All samples of a list, with a bar. */
int load_samples(unetstar_dataset **out, unetstar_context *context, const struct collection *collection,
                 const struct indices *indices, const unetstar_cancel *cancel, const char *what, int quiet,
                 struct problem *problem);
/* Reads every file of a list and forgets it: errors belong before the training, not after it. */
int check_samples(unetstar_context *context, const struct collection *collection, const struct indices *indices,
                  const unetstar_cancel *cancel, int quiet, struct problem *problem);

#endif
