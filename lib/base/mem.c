/* mem.c - every byte of the library: the context's allocator, checked sizes, the bump arena. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

/* A block is preceded by its size, so that free can tell the caller's allocator. */
struct block_header {
    size_t size;
};

void *us_alloc(us_context *ctx, size_t size) {
    char *block;
    size_t whole;
    if (size > SIZE_MAX - ALIGNMENT) {
        us_fail(UNETSTAR_ENOMEM, "a block of %zu bytes cannot be allocated", size);
        return NULL;
    }
    whole = size + ALIGNMENT;
    us_fp_callback_begin();
    block = (char *)ctx->alloc(ctx->alloc_user, whole, ALIGNMENT);
    us_fp_callback_end();
    if (!block) {
        us_fail(UNETSTAR_ENOMEM, "out of memory: %zu bytes were asked for", size);
        return NULL;
    }
    ((struct block_header *)block)->size = whole;
    return block + ALIGNMENT;
}

void *us_alloc_zero(us_context *ctx, size_t size) {
    void *pointer = us_alloc(ctx, size);
    if (pointer)
        memset(pointer, 0, size);
    return pointer;
}

void us_free(us_context *ctx, void *pointer) {
    if (pointer) {
        char *block = (char *)pointer - ALIGNMENT;
        us_fp_callback_begin();
        ctx->free(ctx->alloc_user, block, ((struct block_header *)block)->size);
        us_fp_callback_end();
    }
}

char *us_strdup(us_context *ctx, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = (char *)us_alloc(ctx, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

int us_size_mul(size_t *out, size_t a, size_t b) {
    if (b && a > SIZE_MAX / b)
        return us_fail(UNETSTAR_ELIMIT, "a size overflows: %zu times %zu", a, b);
    *out = a * b;
    return 0;
}

int us_size_add(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b)
        return us_fail(UNETSTAR_ELIMIT, "a size overflows: %zu plus %zu", a, b);
    *out = a + b;
    return 0;
}

int us_size_shape(size_t *out, const int64_t *shape, int n, size_t element) {
    const uint64_t limit = (uint64_t)1 << 40;
    uint64_t total = element;
    int i;
    for (i = 0; i < n; i++) {
        if (shape[i] < 0)
            return us_fail(UNETSTAR_ESHAPE, "dimension %d is negative", i);
        if (shape[i] == 0)
            total = 0;
        else if (total > limit / (uint64_t)shape[i])
            return us_fail(UNETSTAR_ELIMIT, "a shape needs more than 2^40 bytes");
        else
            total *= (uint64_t)shape[i];
    }
    if (total > SIZE_MAX)
        return us_fail(UNETSTAR_ELIMIT, "a shape needs more memory than this machine can address");
    *out = (size_t)total;
    return 0;
}

void *us_arena_take(struct us_arena *arena, size_t size) {
    size_t start = arena->used;
    arena->used += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return arena->base && arena->used <= arena->size ? arena->base + start : NULL;
}
