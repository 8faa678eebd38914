/* overlay.h - colours on photographs: 8-bit R G B. */
#ifndef EXAMPLES_OVERLAY_H
#define EXAMPLES_OVERLAY_H

#include "picture.h"

/* A row of the photograph with found vessels (probability >= threshold) in bright green over a dimmed picture. photo:
 * the row, of `channels` (1 or 3) and `bits` (8 or 16); rgb: 3 * width bytes. */
void overlay_vessels_row(uint8_t *rgb, const void *photo, int32_t channels, int32_t bits, const float *probability,
                         int64_t width, double threshold);
/* Against a label: found vessels white, missed ones red, false ones blue; outside the mask darkened. width * height * 3
 * bytes, the caller's to free; NULL: no memory. */
uint8_t *overlay_errors(const unetstar_image *photo, const float *probability, double threshold, const uint8_t *label,
                        const uint8_t *mask);

#endif
