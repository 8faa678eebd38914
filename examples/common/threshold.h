/* threshold.h - from which probability on a pixel is vessel: chosen on training images, kept in the model's file under
 * the key "threshold", and read from there. */
#ifndef EXAMPLES_THRESHOLD_H
#define EXAMPLES_THRESHOLD_H

#include "models.h"
#include "problem.h"
#include "unetstar.h"

#define THRESHOLD_DEFAULT 0.5

/* The threshold with the best F1 over the pixels of a data set inside the field of view, from whole images. Of large
 * data sets a part is used: evenly spaced images, and of them evenly spaced pixels. *threshold is 0 when there is none
 * in (0, 1), as for images without vessels. */
int threshold_choose(double *threshold, double *f1, unetstar_context *context, const unetstar_model *model,
                     const unetstar_dataset *set, const unetstar_cancel *cancel, int quiet, struct problem *problem);
int threshold_store(unetstar_model *model, double threshold, struct problem *problem);
/* The mean of the models' thresholds when every one has one, else 0. A stored text that is no threshold is an error. */
int threshold_stored(double *threshold, const unetstar_model *const *models, int count, struct problem *problem);

#endif
