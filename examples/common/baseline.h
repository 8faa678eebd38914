/* baseline.h - the filter of hessian.h as a method without weights: a threshold from the training images, and maps like
 * those of a network. */
#ifndef EXAMPLES_BASELINE_H
#define EXAMPLES_BASELINE_H

#include "datasets.h"
#include "problem.h"
#include "unetstar.h"

struct baseline {
    double share;     /* of the field of view that is to be vessel */
    double threshold; /* response from which on a pixel is */
};

/* The share that is assumed where no labels may tell it: about that of STARE, DRIVE, CHASE_DB1 and HRF. */
#define BASELINE_SHARE 0.11

/* The response that the given share of the images' pixels reach; share 0: as many as their labels say are vessel. */
int baseline_learn(struct baseline *baseline, unetstar_context *context, const struct collection *collection,
                   const struct indices *images, double share, const unetstar_cancel *cancel, int quiet,
                   struct problem *problem);
/* A map from 0 to 1, 0.5 at the threshold, in the order of the responses; `user` is a struct baseline. It is no
 * probability. Fits scoring.map. */
int baseline_map(void *user, const struct sample *sample, const unetstar_image *photo, const uint8_t *mask, float *map,
                 struct problem *problem);

#endif
