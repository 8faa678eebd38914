/* image.c - reading samples from a caller's image: 8 or 16 bit, any row stride, aligned or not. */
#include "data/data.h"

#include <string.h>

int us_image_check(const struct us_image *image, const char *what) {
    int64_t row;
    if (!image->data)
        return us_fail(UNETSTAR_EINVAL, "%s: data is NULL", what);
    if (image->width < 1 || image->width > US_IMAGE_MAX || image->height < 1 || image->height > US_IMAGE_MAX)
        return us_fail(UNETSTAR_EINVAL, "%s: a size of %lld x %lld is outside 1 .. %d", what, (long long)image->width,
                       (long long)image->height, US_IMAGE_MAX);
    if (image->channels != 1 && image->channels != 3)
        return us_fail(UNETSTAR_EINVAL, "%s: %d channels; 1 or 3 are possible", what, image->channels);
    if (image->bits != 8 && image->bits != 16)
        return us_fail(UNETSTAR_EINVAL, "%s: %d bits a sample; 8 or 16 are possible", what, image->bits);
    row = image->width * image->channels * (image->bits / 8);
    if (image->stride < row && image->stride > -row)
        return us_fail(UNETSTAR_EINVAL, "%s: rows are %lld bytes apart but %lld bytes long", what,
                       (long long)image->stride, (long long)row);
    return 0;
}

int us_image_sample(const struct us_image *image, int64_t y, int64_t x, int c) {
    const unsigned char *row = (const unsigned char *)image->data + y * image->stride;
    int64_t i = x * image->channels + c;
    if (image->bits == 16) {
        uint16_t value;
        memcpy(&value, row + 2 * i, sizeof value); /* rows may be unaligned */
        return value;
    }
    return row[i];
}

float us_image_at(const struct us_image *image, int64_t y, int64_t x, int c) {
    float value = (float)us_image_sample(image, y, x, c);
    return image->bits == 16 ? value / 257.0f : value;
}
