/* views.h - inside seg: the eight ways to turn and mirror an image. */
#ifndef US_SEG_VIEWS_H
#define US_SEG_VIEWS_H

#include "seg/seg.h"

/* View v in 0..7: bit 0 mirrors left-right, bit 1 top-bottom, bit 2 swaps rows and columns first. */
#define US_VIEW_TRANSPOSED(v) (((v) & 4) != 0)
/* to = view v of `planes` planes of (h, w). */
void us_view_apply(int v, int64_t planes, int64_t h, int64_t w, const float *from, float *to);
/* sum += the inverse of view v of from, where sum has (h, w). */
void us_view_add_back(int v, int64_t planes, int64_t h, int64_t w, const float *from, float *sum);

#endif
