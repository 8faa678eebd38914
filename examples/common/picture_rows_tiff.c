/* picture_rows_tiff.c - rows out of a TIFF in strips. The file is mapped, not read: a picture in one strip is no
 * exception. */
#define _POSIX_C_SOURCE 200809L
#include "picture_rows_codecs.h"
#include "picture_tiff.h"

#ifndef HAVE_TIFF

const struct rows_format *const rows_format_tiff = NULL;

#else

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    struct bytes file;
    struct memory_file memory;
    struct tiff_layout layout;
    TIFF *tiff;
    void *raw; /* a line with all its samples */
};

static void stop(struct picture_rows *rows) {
    struct reader *reader = rows->state;
    if (!reader)
        return;
    if (reader->tiff)
        TIFFClose(reader->tiff);
    if (reader->file.data)
        munmap((void *)(uintptr_t)reader->file.data, reader->file.size);
    free(reader->raw);
    free(reader);
    rows->state = NULL;
}

static int map_file(struct bytes *file, const char *path, struct problem *problem) {
    struct stat info;
    void *data;
    int descriptor = open(path, O_RDONLY), result = 0;
    if (descriptor < 0)
        return problem_set(problem, "cannot read %s: %s", path, strerror(errno));
    if (fstat(descriptor, &info) || !S_ISREG(info.st_mode) || info.st_size < 1)
        result = ROWS_UNFIT;
    else {
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED)
            result = ROWS_UNFIT;
        else {
            file->data = data;
            file->size = (size_t)info.st_size;
            file->path = path;
        }
    }
    close(descriptor);
    return result;
}

static int start(struct picture_rows *rows, struct problem *problem) {
    struct reader *reader = must_allocate(1, sizeof *reader);
    size_t line;
    int result;
    rows->state = reader;
    result = map_file(&reader->file, rows->path, problem);
    if (result)
        return result;
    reader->memory.file = &reader->file;
    reader->tiff = picture_tiff_open(&reader->memory, "r", problem);
    if (!reader->tiff)
        return -1;
    picture_tiff_look(&reader->layout, &rows->picture, reader->tiff);
    if (!reader->layout.by_rows)
        return ROWS_UNFIT;
    if (picture_check_sides(rows->path, rows->picture.width, rows->picture.height, problem))
        return -1;
    line = (size_t)rows->picture.width * (size_t)reader->layout.samples * (size_t)(rows->picture.bits / 8);
    if ((size_t)TIFFScanlineSize(reader->tiff) != line)
        return ROWS_UNFIT;
    reader->raw = malloc(line);
    return reader->raw ? 0 : problem_set(problem, "cannot read %s: out of memory", rows->path);
}

static int next(struct picture_rows *rows, void *line, struct problem *problem) {
    struct reader *reader = rows->state;
    const size_t sample = (size_t)(rows->picture.bits / 8);
    const size_t from = (size_t)reader->layout.samples * sample, to = (size_t)rows->picture.channels * sample;
    int64_t x;
    if (TIFFReadScanline(reader->tiff, reader->raw, (uint32_t)rows->at, 0) <= 0)
        return picture_tiff_damaged(&reader->memory, problem);
    for (x = 0; x < rows->picture.width; x++)
        memcpy((char *)line + (size_t)x * to, (const char *)reader->raw + (size_t)x * from, to);
    return 0;
}

static int finish(struct picture_rows *rows, struct problem *problem) {
    (void)rows, (void)problem;
    return 0;
}

static const struct rows_format format = {start, next, finish, stop};
const struct rows_format *const rows_format_tiff = &format;

#endif
