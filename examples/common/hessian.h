/* hessian.h - vessels without learning: dark lines of several widths, found by the second derivatives of a photograph.
 *
 * The bar below which a trained network is pointless. After Frangi et al. (MICCAI 1998), with the larger eigenvalue of
 * the Hessian instead of a ratio of both, and with the sum over the scales instead of their maximum. */
#ifndef EXAMPLES_HESSIAN_H
#define EXAMPLES_HESSIAN_H

#include <stdint.h>

#include "unetstar.h"

/* The larger eigenvalue of the Hessian of the picture smoothed by a Gaussian of this standard deviation (above 0),
 * times sigma^2 (Lindeberg's normalisation, so that scales can be compared): large on dark lines, and largest at sigma
 * = sqrt(2) times the standard deviation of a line with a Gaussian profile. Beyond its border the picture goes on with
 * its nearest pixel. width * height floats each. */
void hessian_eigenvalue(float *response, const float *picture, int64_t width, int64_t height, double sigma);

/* How much like a vessel each pixel is, 0 or more, without a unit: of the green channel (or the only one), its light
 * evened out and its contrast brought to one scale within the mask (NULL: everything), with scales in proportion to the
 * field of view. 0 outside of the mask and at its border. width * height floats. */
void hessian_vesselness(float *response, const unetstar_image *photo, const uint8_t *mask);

#endif
