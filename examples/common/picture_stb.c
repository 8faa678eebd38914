/* picture_stb.c - the only place that knows stb_image and stb_image_write (Debian's libstb-dev;
 * public domain / MIT). */
#include <limits.h>
#include <stdlib.h>

#include "picture_codecs.h"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wcast-align"
#endif
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_GIF
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb_image.h>
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" /* reported at the end of the file */
#endif

int picture_decode_stb(struct picture *picture, enum picture_format format, const struct bytes *file,
                       struct problem *problem) {
    int width, height, channels, length = (int)file->size;
    int wide = format == FORMAT_PNG && stbi_is_16_bit_from_memory(file->data, length);
    int wanted;
    if (!stbi_info_from_memory(file->data, length, &width, &height, &channels))
        return problem_set(problem, "cannot read %s: the file is damaged or of an unusual kind (%s)", file->path,
                           stbi_failure_reason());
    if (picture_check_size(file->path, width, height, problem))
        return -1;
    wanted = channels <= 2 ? 1 : 3; /* transparency is left out */
    if (wide)
        picture->data =
            (unsigned char *)stbi_load_16_from_memory(file->data, length, &width, &height, &channels, wanted);
    else
        picture->data = stbi_load_from_memory(file->data, length, &width, &height, &channels, wanted);
    if (!picture->data)
        return problem_set(problem, "cannot read %s: the file is damaged or of an unusual kind (%s)", file->path,
                           stbi_failure_reason());
    picture->width = width;
    picture->height = height;
    picture->channels = wanted;
    picture->bits = wide ? 16 : 8;
    return 0;
}

int picture_encode_stb(int64_t width, int64_t height, int32_t channels, const void *pixels, unsigned char **data,
                       size_t *size) {
    int length = 0;
    if (width * height * channels > INT_MAX / 2) /* stb counts in int */
        return -1;
    *data = stbi_write_png_to_mem(pixels, (int)(width * channels), (int)width, (int)height, channels, &length);
    *size = (size_t)length;
    return *data ? 0 : -1;
}
