/* picture_gzip.c - .gz into memory through zlib, where it is installed (STARE is .ppm.gz). */
#include <stdlib.h>

#include "picture_codecs.h"

#ifndef HAVE_ZLIB

int picture_gunzip(const struct bytes *file, unsigned char **data, size_t *size, struct problem *problem) {
    (void)data, (void)size;
    return problem_set(problem, "cannot read %s: it is gzipped, and this program was built without zlib", file->path);
}

#else

#include <zlib.h>

/* Twice the room, or the most that is allowed; false when that is not enough or there is no memory. */
static int grow(unsigned char **data, size_t *room, const char *path, struct problem *problem) {
    size_t wanted = *room ? *room * 2 : (size_t)1 << 20;
    unsigned char *bigger;
    if (*room >= PICTURE_MAX_BYTES)
        return problem_set(problem, "cannot read %s: it unpacks to more than %lu MB", path,
                           (unsigned long)(PICTURE_MAX_BYTES >> 20));
    bigger = realloc(*data, wanted);
    if (!bigger)
        return problem_set(problem, "cannot read %s: out of memory", path);
    *data = bigger;
    *room = wanted;
    return 0;
}

static int unpack(z_stream *stream, const struct bytes *file, unsigned char **data, size_t *size,
                  struct problem *problem) {
    size_t room = 0, used = 0;
    int status = Z_OK;
    while (status != Z_STREAM_END) {
        if (used == room && grow(data, &room, file->path, problem))
            return -1;
        stream->next_out = *data + used;
        stream->avail_out = (uInt)(room - used);
        status = inflate(stream, Z_NO_FLUSH);
        used = room - stream->avail_out;
        if (status == Z_BUF_ERROR || (status == Z_OK && !stream->avail_in && stream->avail_out))
            return problem_set(problem, "cannot read %s: the file is damaged (the gzip data end too early)",
                               file->path);
        if (status != Z_OK && status != Z_STREAM_END)
            return problem_set(problem, "cannot read %s: the file is damaged (%s)", file->path,
                               stream->msg ? stream->msg : "gzip error");
    }
    *size = used;
    return 0;
}

int picture_gunzip(const struct bytes *file, unsigned char **data, size_t *size, struct problem *problem) {
    z_stream stream = {0};
    int result;
    *data = NULL;
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return problem_set(problem, "cannot read %s: zlib does not start", file->path);
    stream.next_in = (Bytef *)(uintptr_t)file->data; /* zlib's pointer is not const, but it only reads */
    stream.avail_in = (uInt)file->size;
    result = unpack(&stream, file, data, size, problem);
    inflateEnd(&stream);
    if (result) {
        free(*data);
        *data = NULL;
    }
    return result;
}

#endif
