/*
 * layer.h - inside nn: what the layers on plain (N,C,H,W) buffers share: maps made of a caller's planes, and scratch.
 */
#ifndef US_NN_LAYER_H
#define US_NN_LAYER_H

#include "nn/map.h"

/* Bytes of a * b * c * d elements; ELIMIT when that is more than can be planned with. */
int us_layer_bytes(size_t *bytes, int64_t a, int64_t b, int64_t c, int64_t d, size_t element);
/* An uninitialised map of c channels. data is NULL on failure (ENOMEM, ELIMIT); us_free(ctx, m->data) ends it. */
int us_layer_map(us_context *ctx, struct us_map *m, int64_t n, int64_t c, int64_t h, int64_t w);
/* Between the planes of a caller and a map; c channels. */
int us_layer_pack(us_context *ctx, const struct us_map *m, const float *x, int64_t c);
int us_layer_unpack(us_context *ctx, const struct us_map *m, float *x, int64_t c);
/* `each` bytes for every worker, rounded up to 64. base is NULL on failure; us_free(ctx, base) ends it. */
int us_layer_scratch(us_context *ctx, struct us_scratch *scratch, size_t each);

/* Live lanes of the last block of c channels. */
static inline int us_layer_last(int64_t c) {
    return (int)((c - 1) % US_LANES) + 1;
}

/* Any convolution, by plain loops (layer_conv_direct.c). d is checked, ho and wo are its output. */
int us_conv2d_direct_forward(us_context *ctx, const struct us_conv2d *d, int64_t ho, int64_t wo, const float *x,
                             const float *weight, const float *bias, float *y);
int us_conv2d_direct_backward(us_context *ctx, const struct us_conv2d *d, int64_t ho, int64_t wo, const float *x,
                              const float *weight, const float *dy, float *dx, float *dweight, float *dbias);

/* The same for 1x1 maps and a 1x1 kernel, faster (layer_linear.c). */
int us_linear_forward(us_context *ctx, int64_t n, int64_t c, int64_t c_out, const float *x, const float *weight,
                      const float *bias, float *y);
int us_linear_backward(us_context *ctx, int64_t n, int64_t c, int64_t c_out, const float *x, const float *weight,
                       const float *dy, float *dx, float *dweight, float *dbias);

#endif
