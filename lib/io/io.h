/*
 * io.h - bytes in and out: whole files, atomic saves, a subset of JSON, and safetensors.
 */
#ifndef US_IO_H
#define US_IO_H

#include "base/base.h"

/* ---- Files (file.c) and streams (stream.c). Paths are UTF-8. Every error names the file and the system's reason. ---- */

#define US_FILE_LIMIT ((uint64_t)1 << 36) /* larger files are refused */
/* Everything that is there, to be freed with us_free. EIO, ELIMIT, ENOMEM; *data is then NULL. */
int us_file_read(us_context *ctx, const char *path, void **data, size_t *size);
int us_stream_read(us_context *ctx, unetstar_read_fn read, void *user, void **data, size_t *size);
/* produce writes the content through `write`; it goes to a temporary file in the same folder, which is synced and
 * renamed to path when everything succeeded, and removed otherwise. A link is followed, a replaced file's permissions
 * are kept, and what is not a regular file (a folder, a device, a pipe) or may not be written is refused. Returns EIO,
 * ENOMEM, or produce's error with produce's text. */
typedef int (*us_produce_fn)(void *arg, unetstar_write_fn write, void *user);
int us_file_write_atomic(us_context *ctx, const char *path, us_produce_fn produce, void *arg);

/* ---- Text ---- */

/* Length of the UTF-8 character at text[0, size), or 0 when it is not valid. */
int us_utf8_length(const char *text, size_t size);

/* ---- safetensors (safetensors_read.c, safetensors_write.c) ---- */

struct us_st_tensor {
    const char *name;
    int32_t dtype; /* UNETSTAR_FLOAT32, _UINT8, _INT64; other types of a file are -1 */
    int32_t ndim;
    int64_t shape[UNETSTAR_MAX_DIMS];
    const void *data; /* little-endian; a reader's data may be unaligned: copy it with memcpy */
    size_t bytes;
    /* For a writer, instead of data: makes the bytes when it is their turn, so that a file never exists whole in memory. */
    void (*fill)(const void *arg, void *bytes);
    const void *fill_arg;
};
struct us_st_meta {
    const char *key, *value;
};
struct us_st_file {
    us_context *ctx;
    struct us_st_tensor *tensors;
    int64_t n_tensors;
    struct us_st_meta *meta;
    int64_t n_meta;
    void *strings; /* backing memory of names and metadata */
};
/* Checks everything (header length, JSON, types, shapes against offsets, no holes, no overlap, no trailing bytes, no
 * duplicate names) before it trusts any of it. Tensors come sorted by name, metadata by key (bytes, as strcmp). A type
 * this library has never heard of is let through without the check of its size. The file borrows data. EFORMAT with the
 * reason; ENOMEM. */
int us_st_parse(struct us_st_file **out, us_context *ctx, const void *data, size_t size);
void us_st_close(struct us_st_file *file);
const struct us_st_tensor *us_st_find(const struct us_st_file *file, const char *name); /* NULL: none */
const char *us_st_meta_get(const struct us_st_file *file, const char *key);             /* NULL: none */
/* Writes header and data through `write`, tensors ordered by falling element size and then by name, as the reference
 * writer does; the header is padded with spaces to a multiple of 8. The same content always gives the same bytes.
 * EINVAL (a name twice, reserved or not UTF-8, a dtype of -1, bytes that do not match a shape) before the first byte;
 * ELIMIT, EIO, ENOMEM. */
int us_st_write(us_context *ctx, const struct us_st_tensor *tensors, int64_t n_tensors, const struct us_st_meta *meta,
                int64_t n_meta, unetstar_write_fn write, void *user);

#endif
