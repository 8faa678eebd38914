/* stream.c - everything that a read callback gives, in one block of memory. */
#include "io/io_internal.h"

#include <string.h>

struct buffer {
    us_context *ctx;
    char *data;
    size_t size, capacity;
};

static int buffer_grow(struct buffer *b, size_t capacity) {
    char *data = (char *)us_alloc(b->ctx, capacity);
    if (!data)
        return UNETSTAR_ENOMEM;
    if (b->size)
        memcpy(data, b->data, b->size);
    us_free(b->ctx, b->data);
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int us_too_large(const char *name) {
    return us_fail(UNETSTAR_ELIMIT, "%.300s is larger than 64 GiB", name);
}

/* One call of the callback into the room that is left. *more is 0 at the end. */
static int buffer_read(struct buffer *b, unetstar_read_fn read_some, void *user, int *more) {
    const size_t room = US_MIN(b->capacity - b->size, US_IO_CHUNK);
    int64_t got;
    us_fp_callback_begin();
    got = read_some(user, b->data + b->size, room);
    us_fp_callback_end();
    if (got < 0)
        return us_fail(UNETSTAR_EIO, "the read callback failed");
    if ((uint64_t)got > room)
        return us_fail(UNETSTAR_EIO, "the read callback returned more bytes than it was asked for");
    b->size += (size_t)got;
    *more = got > 0;
    return 0;
}

int us_read_all(us_context *ctx, unetstar_read_fn read_some, void *user, size_t hint, const char *name, void **data,
                size_t *size) {
    struct buffer b = {NULL, NULL, 0, 0};
    int more = 1, error;
    b.ctx = ctx;
    error = buffer_grow(&b, hint + 1); /* one more, so that a right hint meets the end without growing */
    while (!error && more) {
        if (b.size > US_FILE_LIMIT)
            error = us_too_large(name);
        else if (b.size == b.capacity)
            error = b.capacity > SIZE_MAX / 2 ? us_too_large(name) : buffer_grow(&b, US_MAX(2 * b.capacity, 4096));
        if (!error)
            error = buffer_read(&b, read_some, user, &more);
    }
    if (error) {
        us_free(ctx, b.data);
        return error;
    }
    *data = b.data;
    *size = b.size;
    return 0;
}

int us_stream_read(us_context *ctx, unetstar_read_fn read_some, void *user, void **data, size_t *size) {
    *data = NULL;
    *size = 0;
    return us_read_all(ctx, read_some, user, 65535, "the stream", data, size);
}
