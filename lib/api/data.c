/* data.c - exported: images, field of view. */
#include "api/api.h"

#include <string.h>

#define MAX_SIDE 32768

/* ---- Images ---- */

static const unetstar_image image_defaults = {sizeof(unetstar_image), NULL, 0, 0, 0, 1, 8};
typedef char check_image[sizeof(unetstar_image) == offsetof(unetstar_image, bits) + sizeof(int32_t) ? 1 : -1];

int unetstar_image_init(unetstar_image *image, size_t size) {
    return us_options_init(image, size, &image_defaults, sizeof image_defaults, "image");
}

int us_image_view(struct us_image *out, const unetstar_image *image, const char *name) {
    unetstar_image i = image_defaults;
    int64_t packed;
    int code = us_need(image, name);
    if (!code)
        code = us_options_read(&i, sizeof i, image, name);
    if (!code && !i.data)
        code = us_fail(UNETSTAR_EINVAL, "%s has no data: its pointer is NULL", name);
    if (code)
        return code;
    if (i.width < 1 || i.height < 1 || i.width > MAX_SIDE || i.height > MAX_SIDE)
        return us_fail(UNETSTAR_EINVAL, "%s is %lld x %lld pixels; sides must be 1 to %d", name, (long long)i.width,
                       (long long)i.height, MAX_SIDE);
    if ((i.channels != 1 && i.channels != 3) || (i.bits != 8 && i.bits != 16))
        return us_fail(UNETSTAR_EINVAL, "%s has %d channels of %d bits; 1 or 3 channels of 8 or 16 bits are known", name,
                       i.channels, i.bits);
    packed = i.width * i.channels * (i.bits / 8);
    if (i.row_stride != 0 && ((i.row_stride < packed && i.row_stride > -packed) || i.row_stride > (int64_t)1 << 31 ||
                              i.row_stride < -((int64_t)1 << 31)))
        return us_fail(UNETSTAR_EINVAL,
                       "%s has a row_stride of %lld bytes; it must be 0, or from %lld (a row) to 2^31, or the negative of that",
                       name, (long long)i.row_stride, (long long)packed);
    out->data = i.data;
    out->width = i.width;
    out->height = i.height;
    out->stride = i.row_stride ? i.row_stride : packed;
    out->channels = i.channels;
    out->bits = i.bits;
    return 0;
}

int us_mask_view(struct us_image *out, const unetstar_image *mask, const struct us_image *image) {
    struct us_image m;
    int code = us_image_view(&m, mask, "mask");
    if (code)
        return code;
    if (m.channels != 1 || m.bits != 8)
        return us_fail(UNETSTAR_EINVAL, "mask must have one channel of 8 bits");
    if (m.width != image->width || m.height != image->height)
        return us_fail(UNETSTAR_ESHAPE, "mask is %lld x %lld pixels, the image %lld x %lld", (long long)m.width,
                       (long long)m.height, (long long)image->width, (long long)image->height);
    *out = m;
    return 0;
}

int us_mask_bytes(us_context *ctx, uint8_t **out, const unetstar_image *mask, const struct us_image *image) {
    struct us_image m;
    int64_t y, x;
    int code;
    *out = NULL;
    if (!mask)
        return 0;
    code = us_mask_view(&m, mask, image);
    if (code)
        return code;
    *out = (uint8_t *)us_alloc(ctx, (size_t)(m.width * m.height));
    if (!*out)
        return UNETSTAR_ENOMEM;
    for (y = 0; y < m.height; y++)
        for (x = 0; x < m.width; x++)
            (*out)[y * m.width + x] = ((const uint8_t *)m.data)[y * m.stride + x] ? 255 : 0;
    return 0;
}

int unetstar_find_field_of_view(unetstar_context *context, const unetstar_image *image, uint8_t *mask, int32_t *source) {
    struct us_image view;
    int code = us_need(context, "context");
    code = code ? code : us_need(mask, "mask");
    code = code ? code : us_need(source, "source");
    code = code ? code : us_image_view(&view, image, "image");
    if (code)
        return code;
    us_fp_enter();
    code = us_field_find(context, &view, mask, source);
    us_fp_leave();
    return code;
}
