/*
 * levels.h - the rungs of the ladder; private to lib/kern.
 *
 * Each fills the entries it has and the name, and leaves the others to the rung below. Each first runs the contraction
 * probe of its own object, and returns -1 (with the table as it was) when a*b+c was fused there.
 */
#ifndef US_KERN_LEVELS_H
#define US_KERN_LEVELS_H

#include "kern/kern.h"

int us_level_reference(struct us_kernels *k);
int us_level_reference_fma(struct us_kernels *k);
int us_level_avx2(struct us_kernels *k);
int us_level_avx512(struct us_kernels *k);
int us_level_neon(struct us_kernels *k);

/* The Winograd entries of the two reference rungs, which they call themselves (ref_wino.c). */
int us_wino_reference(struct us_kernels *k);
int us_wino_reference_fma(struct us_kernels *k);

/* Their 8-bit entries (ref_quant.c). */
int us_quant_reference(struct us_kernels *k);
int us_quant_reference_fma(struct us_kernels *k);

#endif
