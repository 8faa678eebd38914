/* training.h - inside nn: what the forward and the backward pass of training share. */
#ifndef US_NN_TRAINING_H
#define US_NN_TRAINING_H

#include "nn/map.h"

/* Sums of squares of the gradient of the loss at a fusion: of the fused map, of its main part after upsampling, of its skip
 * connection (through this fusion alone). */
struct us_branch_sums {
    double fused, main, skip;
};
/* What a backward pass measures at fusions. */
struct us_branches {
    struct us_branch_sums *parts;               /* of every image and block of the fusion at work */
    struct us_branch_sums units[US_MAX_UNITS];  /* of the input of a unit, where it is a fusion */
};

struct us_training {
    us_context *ctx;
    const struct us_net *net;
    int batch;
    int height, width; /* of a patch, before padding */
    struct us_pass pass;
    char *memory;
    size_t bytes;

    struct us_norm norms[US_MAX_UNITS];
    struct us_map grads[US_MAX_UNITS];       /* gradient at a unit's value, then at its z */
    struct us_map input_grads[US_MAX_UNITS]; /* gradient of a unit's input, where that is not a unit's own map */
    int started[US_MAX_UNITS];               /* something has been written to it in this backward pass */
    int finished[US_MAX_UNITS];              /* it is the gradient before the norm, and the norm's sums are taken */
    float *logits[US_MAX_HEADS], *dlogits[US_MAX_HEADS]; /* at the head's resolution */
    float *full_logits, *full_dlogits;                   /* of head 0 after bilinear upsampling; NULL otherwise */
    float *image;                                        /* the batch */
    float *flipped, *transformed, *partials, *constants, *head_rows;
    void *loss_rows;
    struct us_branches *branches; /* or NULL */

    int state; /* 0: nothing, 1: forward done, 2: loss done, 3: backward done, the maps are overwritten */
};

/* A unit's weights; NULL: it has none. */
static inline const float *us_unit_weights(const struct us_params *params, const struct us_unit *u) {
    return u->weights_size ? params->arena + u->weights : NULL;
}

/* The transformed weights of a unit for this pass (flip: for backward-data), or NULL where none are stored. */
int us_training_transform(us_training *t, int unit, const float *weights, int flip, const float **transformed);

/* Head 0's logits and gradient at the resolution the loss sees, and their size. */
struct us_logits_view {
    float *logits, *dlogits;
    int h, w, scale;
};
struct us_logits_view us_training_view(const us_training *t, int head);

#endif
