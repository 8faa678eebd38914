/* picture_write.c - PNG out, row by row: libpng where it is installed, else rows are collected for stb_image_write (8
 * bit only). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "picture_codecs.h"
#include "picture_rows.h"

#ifdef HAVE_PNG
#include <png.h>
#include <setjmp.h>
#endif

struct png_rows {
    struct outfile file;
    int64_t width, height, at;
    int32_t channels, bits, finished;
#ifdef HAVE_PNG
    png_structp png;
    png_infop info;
#else
    unsigned char *pixels;
#endif
};

#ifdef HAVE_PNG

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

static int encoder_start(struct png_rows *rows) {
    static const int endian = 1;
    rows->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_failed, png_warned);
    rows->info = rows->png ? png_create_info_struct(rows->png) : NULL;
    if (!rows->info || setjmp(png_jmpbuf(rows->png)))
        return -1;
    png_init_io(rows->png, rows->file.stream);
    png_set_IHDR(rows->png, rows->info, (png_uint_32)rows->width, (png_uint_32)rows->height, rows->bits,
                 rows->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(rows->png, rows->info);
    if (rows->bits == 16 && *(const char *)&endian)
        png_set_swap(rows->png);
    return 0;
}

static int encoder_row(struct png_rows *rows, const void *line) {
    if (setjmp(png_jmpbuf(rows->png)))
        return -1;
    png_write_row(rows->png, line);
    return 0;
}

static int encoder_finish(struct png_rows *rows) {
    if (setjmp(png_jmpbuf(rows->png)))
        return -1;
    png_write_end(rows->png, rows->info);
    return 0;
}

static void encoder_stop(struct png_rows *rows) {
    if (rows->png)
        png_destroy_write_struct(&rows->png, &rows->info);
}

#else

int picture_can_write_16(void) {
    return 0;
}

const char *picture_output_formats(void) {
    return "8-bit PNG (16 bit needs a build with libpng)";
}

static size_t line_bytes(const struct png_rows *rows) {
    return (size_t)(rows->width * rows->channels);
}

static int encoder_start(struct png_rows *rows) {
    if (rows->bits != 8) {
        errno = ENOTSUP;
        return -1;
    }
    rows->pixels = malloc(line_bytes(rows) * (size_t)rows->height);
    return rows->pixels ? 0 : -1;
}

static int encoder_row(struct png_rows *rows, const void *line) {
    memcpy(rows->pixels + line_bytes(rows) * (size_t)rows->at, line, line_bytes(rows));
    return 0;
}

static int encoder_finish(struct png_rows *rows) {
    unsigned char *encoded;
    size_t size, written;
    if (picture_encode_stb(rows->width, rows->height, rows->channels, rows->pixels, &encoded, &size)) {
        errno = ENOTSUP;
        return -1;
    }
    written = fwrite(encoded, 1, size, rows->file.stream);
    free(encoded);
    return written == size ? 0 : -1;
}

static void encoder_stop(struct png_rows *rows) {
    free(rows->pixels);
}

#endif

static int cannot_write(const struct png_rows *rows, struct problem *problem) {
    return problem_set(problem, "cannot write %s: %s", rows->file.path,
                       errno ? strerror(errno) : "the PNG encoder failed");
}

int png_rows_open(struct png_rows **out, const char *path, int64_t width, int64_t height, int32_t channels,
                  int32_t bits, struct problem *problem) {
    struct png_rows *rows = must_allocate(1, sizeof *rows);
    *out = NULL;
    rows->width = width;
    rows->height = height;
    rows->channels = channels;
    rows->bits = bits;
    if (outfile_open(&rows->file, path, problem)) {
        free(rows);
        return -1;
    }
    errno = 0;
    if (encoder_start(rows)) {
        cannot_write(rows, problem);
        png_rows_abandon(rows);
        return -1;
    }
    *out = rows;
    return 0;
}

int png_rows_write(struct png_rows *rows, const void *line, struct problem *problem) {
    errno = 0;
    if (rows->at == rows->height || encoder_row(rows, line))
        return cannot_write(rows, problem);
    rows->at++;
    return 0;
}

int png_rows_finish(struct png_rows *rows, struct problem *problem) {
    errno = 0;
    if (rows->finished)
        return 0;
    if (rows->at != rows->height || encoder_finish(rows) || fflush(rows->file.stream))
        return cannot_write(rows, problem);
    rows->finished = 1;
    return 0;
}

int png_rows_commit(struct png_rows *rows, struct problem *problem) {
    int result;
    if (png_rows_finish(rows, problem)) {
        png_rows_abandon(rows);
        return -1;
    }
    encoder_stop(rows);
    result = outfile_commit(&rows->file, problem);
    free(rows);
    return result;
}

void png_rows_abandon(struct png_rows *rows) {
    if (!rows)
        return;
    encoder_stop(rows);
    outfile_abandon(&rows->file);
    free(rows);
}

int picture_write_png(const char *path, int64_t width, int64_t height, int32_t channels, int32_t bits, const void *data,
                      struct problem *problem) {
    const size_t line = (size_t)(width * channels) * (size_t)(bits / 8);
    struct png_rows *rows;
    int64_t y;
    if (png_rows_open(&rows, path, width, height, channels, bits, problem))
        return -1;
    for (y = 0; y < height; y++)
        if (png_rows_write(rows, (const unsigned char *)data + (size_t)y * line, problem)) {
            png_rows_abandon(rows);
            return -1;
        }
    return png_rows_commit(rows, problem);
}
