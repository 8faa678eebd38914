/*
 * ranges.h - inside nn: histograms of floats and the range of 8 bits that fits one best.
 */
#ifndef US_NN_RANGES_H
#define US_NN_RANGES_H

#include "nn/nn.h"

/* A bin for every sign, exponent and five bits of mantissa: bins of equal relative width for any range, counted in
 * integers, so that neither the order of the values nor the number of threads shows. */
#define US_RANGE_BINS 16384

void us_range_count(uint64_t *bins, const float *x, size_t n);
/* clip: the range with the smallest mean squared error of quantisation; else all of it. scratch: us_range_scratch
 * bytes. */
struct us_quant us_range_choose(const uint64_t *bins, int clip, void *scratch);
size_t us_range_scratch(void);
struct us_quant us_quant_of(double scale, int zero);

#endif
