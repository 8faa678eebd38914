/* overlay.h - colours on photographs. Results are 8-bit R G B, width * height * 3 bytes, the caller's to free. */
#ifndef EXAMPLES_OVERLAY_H
#define EXAMPLES_OVERLAY_H

#include "picture.h"

/* The photograph with found vessels (probability >= threshold) in bright green over a dimmed picture.
 * NULL: no memory. */
uint8_t *overlay_vessels(const unetstar_image *photo, const float *probability, double threshold);
/* Against a label: found vessels white, missed ones red, false ones blue; outside the mask darkened. */
uint8_t *overlay_errors(const unetstar_image *photo, const float *probability, double threshold, const uint8_t *label,
                        const uint8_t *mask);

#endif
