/* picture_rows_png.c - rows out of a PNG through libpng, converted as stb_image converts whole ones. */
#include "picture_rows_codecs.h"

#ifndef HAVE_PNG

const struct rows_format *const rows_format_png = NULL;

#else

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    FILE *stream;
    png_structp png;
    png_infop info;
    char complaint[128];
};

static void png_failed(png_structp png, png_const_charp message) {
    struct reader *reader = png_get_error_ptr(png);
    snprintf(reader->complaint, sizeof reader->complaint, "%s", message);
    png_longjmp(png, 1);
}

static void png_warned(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static int damaged(struct picture_rows *rows, struct problem *problem) {
    const struct reader *reader = rows->state;
    if (ferror(reader->stream))
        return problem_set(problem, "cannot read %s: the file cannot be read to its end", rows->path);
    if (feof(reader->stream))
        return problem_set(problem, "cannot read %s: the file is damaged (it ends too early)", rows->path);
    return problem_set(problem, "cannot read %s: the file is damaged (%s)", rows->path, reader->complaint);
}

static void stop(struct picture_rows *rows) {
    struct reader *reader = rows->state;
    if (!reader)
        return;
    if (reader->png)
        png_destroy_read_struct(&reader->png, &reader->info, NULL);
    if (reader->stream)
        fclose(reader->stream);
    free(reader);
    rows->state = NULL;
}

/* Reads up to the first row; a function of its own for the jump. */
static int read_header(struct reader *reader) {
    static const int endian = 1;
    if (setjmp(png_jmpbuf(reader->png)))
        return -1;
    png_init_io(reader->png, reader->stream);
    png_set_crc_action(reader->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(reader->png, PICTURE_MAX_SIDE, PICTURE_MAX_SIDE);
    png_read_info(reader->png, reader->info);
    if (png_get_color_type(reader->png, reader->info) == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(reader->png);
    else if (png_get_bit_depth(reader->png, reader->info) < 8)
        png_set_expand_gray_1_2_4_to_8(reader->png);
    png_set_strip_alpha(reader->png); /* transparency is left out */
    if (png_get_bit_depth(reader->png, reader->info) == 16 && *(const char *)&endian)
        png_set_swap(reader->png);
    return 0;
}

static int begin_rows(struct reader *reader) {
    if (setjmp(png_jmpbuf(reader->png)))
        return -1;
    png_read_update_info(reader->png, reader->info);
    return 0;
}

static int start(struct picture_rows *rows, struct problem *problem) {
    struct reader *reader = must_allocate(1, sizeof *reader);
    int color;
    rows->state = reader;
    reader->stream = fopen(rows->path, "rb");
    if (!reader->stream)
        return problem_set(problem, "cannot read %s: %s", rows->path, strerror(errno));
    reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, png_failed, png_warned);
    reader->info = reader->png ? png_create_info_struct(reader->png) : NULL;
    if (!reader->info)
        return problem_set(problem, "cannot read %s: out of memory", rows->path);
    if (read_header(reader))
        return damaged(rows, problem);
    if (png_get_interlace_type(reader->png, reader->info) != PNG_INTERLACE_NONE)
        return ROWS_UNFIT;
    color = png_get_color_type(reader->png, reader->info);
    rows->picture.width = png_get_image_width(reader->png, reader->info);
    rows->picture.height = png_get_image_height(reader->png, reader->info);
    rows->picture.channels = color & (PNG_COLOR_MASK_COLOR | PNG_COLOR_MASK_PALETTE) ? 3 : 1;
    rows->picture.bits = png_get_bit_depth(reader->png, reader->info) == 16 ? 16 : 8;
    if (picture_check_sides(rows->path, rows->picture.width, rows->picture.height, problem))
        return -1;
    return begin_rows(reader) ? damaged(rows, problem) : 0;
}

static int next(struct picture_rows *rows, void *line, struct problem *problem) {
    struct reader *reader = rows->state;
    if (setjmp(png_jmpbuf(reader->png)))
        return damaged(rows, problem);
    png_read_row(reader->png, line, NULL);
    return 0;
}

static int finish(struct picture_rows *rows, struct problem *problem) {
    struct reader *reader = rows->state;
    if (setjmp(png_jmpbuf(reader->png)))
        return damaged(rows, problem);
    png_read_end(reader->png, NULL);
    return 0;
}

static const struct rows_format format = {start, next, finish, stop};
const struct rows_format *const rows_format_png = &format;

#endif
