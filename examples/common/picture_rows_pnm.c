/* picture_rows_pnm.c - rows out of PGM and PPM (P5, P6), plain or gzipped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "picture_rows_codecs.h"

/* zlib's gzip functions read plain files too; without zlib a stream does for those. */
#ifdef HAVE_ZLIB
#include <zlib.h>
typedef gzFile input;
#else
#include <stdio.h>
typedef FILE *input;
#endif

struct reader {
    input file;
    unsigned max;
    unsigned char *raw; /* a line as it is in the file */
    size_t size;
};

static input input_open(const char *path) {
#ifdef HAVE_ZLIB
    return gzopen(path, "rb");
#else
    return fopen(path, "rb");
#endif
}

/* The number of bytes that came, less than asked for at the end; -1 for a damaged or unreadable file. */
static long input_read(input file, void *data, size_t size) {
#ifdef HAVE_ZLIB
    int n = gzread(file, data, (unsigned)size), status = Z_OK;
    if (n >= 0 && (size_t)n < size)
        gzerror(file, &status); /* data that end too early are no error of gzread's, but one of the file */
    return status == Z_OK ? n : -1;
#else
    size_t n = fread(data, 1, size, file);
    return ferror(file) ? -1 : (long)n;
#endif
}

static int damaged(const struct picture_rows *rows, const char *how, struct problem *problem) {
    return problem_set(problem, "cannot read %s: the file is damaged (%s)", rows->path, how);
}

static void stop(struct picture_rows *rows) {
    struct reader *reader = rows->state;
    if (!reader)
        return;
#ifdef HAVE_ZLIB
    if (reader->file)
        gzclose(reader->file);
#else
    if (reader->file)
        fclose(reader->file);
#endif
    free(reader->raw);
    free(reader);
    rows->state = NULL;
}

/* The bytes up to and with the one white space behind the third number; the header is then read by picture_pnm_header.
 * Headers longer than the room are comments nobody writes: such files are decoded whole. */
static int read_header(struct reader *reader, unsigned char *header, size_t room, size_t *size) {
    int numbers = 0, in_number = 0, in_comment = 0;
    for (*size = 0; *size < room;) {
        unsigned char c;
        if (input_read(reader->file, &c, 1) != 1)
            return -1;
        header[(*size)++] = c;
        if (in_comment)
            in_comment = c != '\n';
        else if (c >= '0' && c <= '9')
            in_number = 1;
        else if (in_number) {
            in_number = 0;
            if (++numbers == 3)
                return 0;
            in_comment = c == '#';
        } else
            in_comment = c == '#';
    }
    return ROWS_UNFIT;
}

static int start(struct picture_rows *rows, struct problem *problem) {
    struct reader *reader = must_allocate(1, sizeof *reader);
    unsigned char header[1024];
    struct bytes bytes;
    size_t pixels;
    int result;
    rows->state = reader;
    errno = 0;
    reader->file = input_open(rows->path);
    if (!reader->file)
        return problem_set(problem, "cannot read %s: %s", rows->path, errno ? strerror(errno) : "out of memory");
    if (input_read(reader->file, header, 2) != 2 || header[0] != 'P' || (header[1] != '5' && header[1] != '6'))
        return ROWS_UNFIT; /* gzipped, and something else inside; or damaged, which the whole decoder puts into words */
    result = read_header(reader, header + 2, sizeof header - 2, &bytes.size);
    if (result)
        return result < 0 ? damaged(rows, "it ends too early", problem) : result;
    bytes.data = header;
    bytes.size += 2;
    bytes.path = rows->path;
    if (picture_pnm_header(&rows->picture, &bytes, &pixels, &reader->max, problem) ||
        picture_check_sides(rows->path, rows->picture.width, rows->picture.height, problem))
        return -1;
    reader->size = (size_t)(rows->picture.width * rows->picture.channels) * (size_t)(rows->picture.bits / 8);
    reader->raw = malloc(reader->size);
    return reader->raw ? 0 : problem_set(problem, "cannot read %s: out of memory", rows->path);
}

static int next(struct picture_rows *rows, void *line, struct problem *problem) {
    struct reader *reader = rows->state;
    if (input_read(reader->file, reader->raw, reader->size) != (long)reader->size)
        return damaged(rows, "it ends too early", problem);
    picture_pnm_convert(line, rows->picture.bits, reader->raw, (size_t)(rows->picture.width * rows->picture.channels),
                        reader->max);
    return 0;
}

/* A gzip file ends in a checksum, which is only looked at when all before it has been read. */
static int finish(struct picture_rows *rows, struct problem *problem) {
#ifdef HAVE_ZLIB
    struct reader *reader = rows->state;
    unsigned char rest[4096];
    size_t total = 0;
    long n;
    if (gzdirect(reader->file))
        return 0;
    while ((n = input_read(reader->file, rest, sizeof rest)) > 0)
        if ((total += (size_t)n) > PICTURE_MAX_BYTES)
            return damaged(rows, "more follows the picture than belongs there", problem);
    if (n < 0)
        return damaged(rows, "the gzip data are wrong or end too early", problem);
#else
    (void)rows, (void)problem;
#endif
    return 0;
}

static const struct rows_format format = {start, next, finish, stop};
const struct rows_format *const rows_format_pnm = &format;
