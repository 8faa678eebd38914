#include "overlay.h"

#include <stdlib.h>

/* 8-bit value of channel k of pixel x. */
static int photo_value(const void *row, int32_t channels, int32_t bits, int64_t x, int k) {
    int64_t sample = channels == 3 ? 3 * x + k : x;
    return bits == 16 ? ((const uint16_t *)row)[sample] >> 8 : ((const unsigned char *)row)[sample];
}

static uint8_t mix(int value, int colour, int share) {
    return (uint8_t)((value * (256 - share) + colour * share) >> 8);
}

void overlay_vessels_row(uint8_t *rgb, const void *photo, int32_t channels, int32_t bits, const float *probability,
                         int64_t width, double threshold) {
    static const int colour[3] = {60, 255, 90};
    int64_t x;
    int k;
    for (x = 0; x < width; x++) {
        int vessel = (double)probability[x] >= threshold;
        for (k = 0; k < 3; k++)
            *rgb++ = mix(photo_value(photo, channels, bits, x, k), vessel ? colour[k] : 0, vessel ? 170 : 40);
    }
}

uint8_t *overlay_errors(const unetstar_image *photo, const float *probability, double threshold, const uint8_t *label,
                        const uint8_t *mask) {
    static const int colours[4][3] = {{0, 0, 0}, {70, 130, 255}, {255, 60, 50}, {255, 255, 255}};
    static const int shares[4] = {150, 230, 230, 230};
    uint8_t *rgb = malloc((size_t)(photo->width * photo->height) * 3), *out = rgb;
    int64_t stride = photo->row_stride ? photo->row_stride : photo->width * photo->channels * (photo->bits / 8);
    int64_t x, y, i = 0;
    int k;
    if (!rgb)
        return NULL;
    for (y = 0; y < photo->height; y++) {
        const void *row = (const unsigned char *)photo->data + y * stride;
        for (x = 0; x < photo->width; x++, i++) {
            int inside = !mask || mask[i];
            int kind = inside * (((double)probability[i] >= threshold) + 2 * (label[i] != 0));
            int share = inside ? shares[kind] : 215;
            for (k = 0; k < 3; k++)
                *out++ = mix(photo_value(row, photo->channels, photo->bits, x, k), colours[kind][k], share);
        }
    }
    return rgb;
}
