/* test_data_util.h - a context whose allocator can fail at the n-th call and counts what is alive; a checksum. */
#ifndef TEST_DATA_UTIL_H
#define TEST_DATA_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/data.h"

#define HELPER static __attribute__((unused))

struct meter {
    long calls, fail_at; /* fail_at: the number of the call that fails, from 1; 0: none */
    long alive;
};

HELPER void *meter_alloc(void *user, size_t size, size_t alignment) {
    struct meter *m = (struct meter *)user;
    void *p = NULL;
    m->calls++;
    if (m->fail_at && m->calls == m->fail_at)
        return NULL;
    if (posix_memalign(&p, alignment, size))
        return NULL;
    memset(p, 0xa5, size); /* whoever reads what it has not written is found out */
    m->alive++;
    return p;
}

HELPER void meter_free(void *user, void *p, size_t size) {
    (void)size;
    ((struct meter *)user)->alive--;
    free(p);
}

HELPER us_context *meter_context(struct meter *m) {
    unetstar_context_options o;
    us_context *ctx = NULL;
    memset(&o, 0, sizeof o);
    memset(m, 0, sizeof *m);
    o.alloc = meter_alloc;
    o.free = meter_free;
    o.alloc_user = m;
    o.n_threads = 1;
    assert_int_equal(us_context_create(&ctx, &o), 0);
    return ctx;
}

/* Ends a context and checks that nothing is left. */
HELPER void meter_end(us_context *ctx, struct meter *m) {
    us_context_unref(ctx);
    assert_int_equal(m->alive, 0);
}

/* FNV-1a */
HELPER uint64_t checksum(const void *data, size_t size) {
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h = 0xcbf29ce484222325u;
    while (size-- > 0)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

HELPER struct us_image gray_image(const uint8_t *data, int64_t width, int64_t height) {
    struct us_image image;
    image.data = data;
    image.width = width;
    image.height = height;
    image.stride = width;
    image.channels = 1;
    image.bits = 8;
    return image;
}

HELPER struct us_image rgb_image(const uint8_t *data, int64_t width, int64_t height) {
    struct us_image image = gray_image(data, width, height);
    image.stride = 3 * width;
    image.channels = 3;
    return image;
}

#endif
