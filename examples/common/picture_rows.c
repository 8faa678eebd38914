/* picture_rows.c - chooses how a file is read by rows, and keeps the place in it. */
#include "picture_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture_rows_codecs.h"

const char *picture_rows_formats(void) {
    return "PGM, PPM"
#ifdef HAVE_ZLIB
           " (also .gz)"
#endif
#ifdef HAVE_PNG
           ", PNG"
#endif
#ifdef HAVE_TIFF
           ", TIFF"
#endif
        ;
}

/* By the content, as picture_read does. NULL: no format that comes by rows. */
static int choose(const struct rows_format **format, const char *path, struct problem *problem) {
    unsigned char magic[16];
    struct bytes file;
    FILE *stream = fopen(path, "rb");
    *format = NULL;
    if (!stream)
        return problem_set(problem, "cannot read %s: %s", path, strerror(errno));
    file.data = magic;
    file.size = fread(magic, 1, sizeof magic, stream);
    file.path = path;
    fclose(stream);
    switch (picture_format_of(&file)) {
    case FORMAT_PNG:
        *format = rows_format_png;
        break;
    case FORMAT_PNM:
    case FORMAT_GZIP: /* what is in it shows when it is unpacked */
        *format = rows_format_pnm;
        break;
    case FORMAT_TIFF:
        *format = rows_format_tiff;
        break;
    case FORMAT_JPEG:
    case FORMAT_GIF:
    case FORMAT_BMP:
    case FORMAT_UNKNOWN:
        break;
    }
    return 0;
}

static size_t line_bytes(const struct picture *picture) {
    return (size_t)(picture->width * picture->channels) * (size_t)(picture->bits / 8);
}

int picture_rows_open(struct picture_rows **out, const char *path, struct problem *problem) {
    struct picture_rows *rows = must_allocate(1, sizeof *rows);
    int result;
    *out = NULL;
    rows->path = must_copy(path);
    result = choose(&rows->format, path, problem);
    if (!result && rows->format) {
        result = rows->format->start(rows, problem);
        if (result == ROWS_UNFIT) {
            rows->format->stop(rows);
            rows->format = NULL;
            result = 0;
        }
    }
    if (!result && !rows->format)
        result = picture_read(&rows->picture, path, problem);
    if (!result && rows->format) {
        rows->skipped = malloc(line_bytes(&rows->picture));
        if (!rows->skipped)
            result = problem_set(problem, "cannot read %s: out of memory", path);
    }
    if (result) {
        picture_rows_close(rows);
        return -1;
    }
    *out = rows;
    return 0;
}

/* The file may have been replaced since it was opened first. */
static int begin_again(struct picture_rows *rows, struct problem *problem) {
    const struct picture before = rows->picture;
    int result;
    rows->format->stop(rows);
    rows->at = 0;
    result = rows->format->start(rows, problem);
    if (result < 0)
        return -1;
    if (result || rows->picture.width != before.width || rows->picture.height != before.height ||
        rows->picture.channels != before.channels || rows->picture.bits != before.bits) {
        rows->picture = before;
        return problem_set(problem, "cannot read %s: the file was changed while it was being read", rows->path);
    }
    return 0;
}

static int next_row(struct picture_rows *rows, void *line, struct problem *problem) {
    if (rows->format->next(rows, line, problem))
        return -1;
    rows->at++;
    return rows->at == rows->picture.height ? rows->format->finish(rows, problem) : 0;
}

int picture_rows_read(struct picture_rows *rows, int64_t y, int64_t n, void *lines, int64_t stride,
                      struct problem *problem) {
    const size_t bytes = line_bytes(&rows->picture);
    int64_t i;
    if (y < 0 || n < 0 || n > rows->picture.height - y)
        return problem_set(problem, "cannot read %s: there are no rows %lld to %lld", rows->path, (long long)y,
                           (long long)(y + n - 1));
    if (!rows->format) {
        for (i = 0; i < n; i++)
            memcpy((char *)lines + i * stride, rows->picture.data + (size_t)(y + i) * bytes, bytes);
        return 0;
    }
    if (y < rows->at && begin_again(rows, problem))
        return -1;
    while (rows->at < y)
        if (next_row(rows, rows->skipped, problem))
            return -1;
    for (i = 0; i < n; i++)
        if (next_row(rows, (char *)lines + i * stride, problem))
            return -1;
    return 0;
}

const struct picture *picture_rows_info(const struct picture_rows *rows) {
    return &rows->picture;
}

int picture_rows_take(struct picture_rows *rows, struct picture *picture) {
    if (rows->format)
        return 0;
    *picture = rows->picture;
    rows->picture.data = NULL;
    picture_rows_close(rows);
    return 1;
}

void picture_rows_close(struct picture_rows *rows) {
    if (!rows)
        return;
    if (rows->format)
        rows->format->stop(rows);
    picture_free(&rows->picture);
    free(rows->skipped);
    free(rows->path);
    free(rows);
}
