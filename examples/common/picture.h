/* picture.h - image files in and out. Pixels are packed rows, R G B or one channel, 8 bit or native-endian 16 bit. */
#ifndef EXAMPLES_PICTURE_H
#define EXAMPLES_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "problem.h"
#include "unetstar.h"

/* The limits a header is held to before anything is decoded or allocated by it. */
#define PICTURE_MAX_SIDE 32768
#define PICTURE_MAX_PIXELS ((int64_t)1 << 28)
#define PICTURE_MAX_BYTES ((size_t)1 << 30) /* of a file, and of what comes out of a .gz */

struct picture {
    unsigned char *data; /* from malloc */
    int64_t width, height;
    int32_t channels; /* 1 or 3 */
    int32_t bits;     /* 8 or 16 */
};

/* Reads PNG, JPEG, GIF (first frame), BMP, PGM/PPM, with libtiff TIFF, with zlib any of them gzipped. The content
 * decides, not the name. A damaged or cut-off file is an error: half a label must not train anything. */
int picture_read(struct picture *picture, const char *path, struct problem *problem);
/* The same for a label, mask or probability map: one channel (the largest of three). */
int picture_read_gray(struct picture *picture, const char *path, struct problem *problem);
void picture_free(struct picture *picture);
/* Makes the library's description of the pixels, which stay the picture's. */
void picture_describe(const struct picture *picture, unetstar_image *image);

/* Writes a PNG through a temporary file. 16 bit needs libpng (ENOTSUP sentence without it). */
int picture_write_png(const char *path, int64_t width, int64_t height, int32_t channels, int32_t bits, const void *data,
                      struct problem *problem);
int picture_can_write_16(void);

/* What this build reads and writes, for --version and error texts. */
const char *picture_formats(void);
const char *picture_output_formats(void);

#endif
