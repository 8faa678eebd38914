/* picture_codecs.h - what the decoders behind picture.h share. Each takes a whole file in memory. */
#ifndef EXAMPLES_PICTURE_CODECS_H
#define EXAMPLES_PICTURE_CODECS_H

#include "picture.h"

enum picture_format {
    FORMAT_UNKNOWN,
    FORMAT_PNG,
    FORMAT_JPEG,
    FORMAT_GIF,
    FORMAT_BMP,
    FORMAT_TIFF,
    FORMAT_PNM,
    FORMAT_GZIP
};

struct bytes {
    const unsigned char *data;
    size_t size;
    const char *path; /* for sentences */
};

enum picture_format picture_format_of(const struct bytes *file);
/* Looks for what the decoder would silently forgive: a missing end, a wrong checksum. */
int picture_check_structure(enum picture_format format, const struct bytes *file, struct problem *problem);
/* Sides, and the number of pixels that may lie in memory at once. */
int picture_check_size(const char *path, int64_t width, int64_t height, struct problem *problem);
/* Sides alone: of pictures read by rows. */
int picture_check_sides(const char *path, int64_t width, int64_t height, struct problem *problem);

int picture_decode_stb(struct picture *picture, enum picture_format format, const struct bytes *file,
                       struct problem *problem);
int picture_decode_pnm(struct picture *picture, const struct bytes *file, struct problem *problem);
/* The size in a header that `file` holds whole; *pixels: where the samples begin, *max: their largest value. */
int picture_pnm_header(struct picture *picture, const struct bytes *file, size_t *pixels, unsigned *max,
                       struct problem *problem);
/* `count` samples 0..max of the file become 0..255 or 0..65535. */
void picture_pnm_convert(void *line, int32_t bits, const unsigned char *from, size_t count, unsigned max);
int picture_decode_tiff(struct picture *picture, const struct bytes *file, struct problem *problem);
/* *data is the caller's to free. */
int picture_gunzip(const struct bytes *file, unsigned char **data, size_t *size, struct problem *problem);
/* stb_image_write: *data is malloc'ed. */
int picture_encode_stb(int64_t width, int64_t height, int32_t channels, const void *pixels, unsigned char **data,
                       size_t *size);

#endif
