/* picture_write.c - PNG out: libpng where it is installed, else stb_image_write (8 bit only). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "picture_codecs.h"

#ifdef HAVE_PNG

#include <png.h>
#include <setjmp.h>

int picture_can_write_16(void) {
    return 1;
}

const char *picture_output_formats(void) {
    return "8- and 16-bit PNG";
}

static void png_failed(png_structp png, png_const_charp message) {
    (void)message;
    png_longjmp(png, 1);
}

static void png_warned(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static int write_rows(FILE *stream, int64_t width, int64_t height, int32_t channels, int32_t bits,
                      const unsigned char *data) {
    static const int endian = 1;
    size_t row = (size_t)(width * channels) * (size_t)(bits / 8);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_failed, png_warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int64_t y;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_init_io(png, stream);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, bits,
                 channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    if (bits == 16 && *(const char *)&endian)
        png_set_swap(png);
    for (y = 0; y < height; y++)
        png_write_row(png, data + (size_t)y * row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}

#else

int picture_can_write_16(void) {
    return 0;
}

const char *picture_output_formats(void) {
    return "8-bit PNG (16 bit needs a build with libpng)";
}

static int write_rows(FILE *stream, int64_t width, int64_t height, int32_t channels, int32_t bits,
                      const unsigned char *data) {
    unsigned char *encoded;
    size_t size, written;
    if (bits != 8 || picture_encode_stb(width, height, channels, data, &encoded, &size)) {
        errno = ENOTSUP;
        return -1;
    }
    written = fwrite(encoded, 1, size, stream);
    free(encoded);
    return written == size ? 0 : -1;
}

#endif

int picture_write_png(const char *path, int64_t width, int64_t height, int32_t channels, int32_t bits, const void *data,
                      struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    errno = 0;
    if (write_rows(file.stream, width, height, channels, bits, data)) {
        problem_set(problem, "cannot write %s: %s", path, errno ? strerror(errno) : "the PNG encoder failed");
        outfile_abandon(&file);
        return -1;
    }
    return outfile_commit(&file, problem);
}
