/* double.h - inside nn: the network's forward pass in evaluation once more, in double and by plain loops. */
#ifndef US_NN_DOUBLE_H
#define US_NN_DOUBLE_H

#include "nn/nn.h"

typedef struct us_double us_double;

/* net and params must outlive it. x is (in_channels, h, w). ENOMEM. */
int us_double_create(us_double **out, us_context *ctx, const struct us_net *net, const struct us_params *params,
                     int64_t h, int64_t w);
void us_double_destroy(us_double *d);

enum us_double_maxima {
    US_DOUBLE_REMEMBER, /* notes which pixel of each pooling window is the largest, and the piece of each activation */
    US_DOUBLE_FREE,     /* the largest pixels; notes where they are others than those remembered */
    US_DOUBLE_FROZEN    /* the pixels remembered, whatever their values; notes where others would be larger */
};
/* Logits (classes, h, w) of factor * x. ECANCELED, EUSER. */
int us_double_forward(us_double *d, const float *x, double factor, enum us_double_maxima maxima, double *logits,
                      const us_cancel *cancel);

/* Since the last US_DOUBLE_REMEMBER: the share of pooling windows, and of activations made of pieces (ReLU, leaky ReLU,
 * ReLU6), that have been noted at least once; 0 where there are none. */
struct us_double_changes {
    double windows, activations;
};
void us_double_changes(const us_double *d, struct us_double_changes *changes);

#endif
