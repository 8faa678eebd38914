/*
 * upconv.h - inside nn: where the four places of a 2x2 transposed convolution are, in both directions.
 */
#ifndef US_NN_UPCONV_H
#define US_NN_UPCONV_H

#include "nn/map.h"

#define PLACES 4
#define TAP (US_LANES * US_LANES)

/* Weights of a place: [out][in][16][16]. */
static inline size_t place_floats(const struct us_conv_job *job) {
    return (size_t)job->in_blocks * (size_t)job->out_blocks * TAP;
}

/* Pixel (2y + dy, dx) of a block of the large map. */
static inline float *large_row(const struct us_conv_job *job, int n, int o, int y, int place) {
    return us_map_row(&job->out, n, o, 2 * y + place / 2) + (size_t)(place % 2) * US_LANES;
}

#endif
