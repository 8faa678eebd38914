/* layer_map.c - maps made of a caller's (N,C,H,W) planes, and scratch, for the layers on plain buffers. */
#include "nn/layer.h"

/* Sizes of a map are ints, and products of two of them are formed as ints: no side may reach this. */
#define MAX_SIDE ((int64_t)1 << 22)

int us_layer_bytes(size_t *bytes, int64_t a, int64_t b, int64_t c, int64_t d, size_t element) {
    int64_t shape[4];
    int code;
    shape[0] = a;
    shape[1] = b;
    shape[2] = c;
    shape[3] = d;
    code = us_size_shape(bytes, shape, 4, element);
    if (!code && *bytes > SIZE_MAX / 16) /* sums of a few sizes may then be formed without a check */
        return us_fail(UNETSTAR_ELIMIT, "a shape needs more memory than this machine can address");
    return code;
}

static int check_side(const char *name, int64_t size) {
    if (size > MAX_SIDE)
        return us_fail(UNETSTAR_ELIMIT, "%s is %lld; this layer takes at most %lld", name, (long long)size,
                       (long long)MAX_SIDE);
    return 0;
}

int us_layer_map(us_context *ctx, struct us_map *m, int64_t n, int64_t c, int64_t h, int64_t w) {
    size_t bytes;
    int code = check_side("n", n);
    m->data = NULL;
    if (!code)
        code = check_side("the number of channels", c);
    if (!code)
        code = check_side("h", h);
    if (!code)
        code = check_side("w", w);
    if (!code)
        code = us_layer_bytes(&bytes, n, US_BLOCKS(c), h, w, US_LANES * sizeof(float));
    if (code)
        return code;
    m->n = (int)n;
    m->blocks = (int)US_BLOCKS(c);
    m->h = (int)h;
    m->w = (int)w;
    m->rows = m->h;
    m->data = (float *)us_alloc(ctx, bytes);
    return m->data ? 0 : UNETSTAR_ENOMEM;
}

/* ---- Packing: a task is one block of channels of one image ---- */

struct transfer {
    const struct us_map *m;
    const float *from;
    float *to;
    int64_t c;
};

/* The block as a map of its own; returns its channels and sets the place of its first plane. */
static int block_of(const struct transfer *t, int64_t index, struct us_map *block, size_t *plane) {
    const int n = (int)(index / t->m->blocks), b = (int)(index % t->m->blocks);
    *block = *t->m;
    block->n = block->blocks = 1;
    block->data = us_map_row(t->m, n, b, 0);
    *plane = ((size_t)n * (size_t)t->c + (size_t)b * US_LANES) * (size_t)t->m->h * (size_t)t->m->w;
    return (int)US_MIN(t->c - (int64_t)b * US_LANES, US_LANES);
}

static void pack_task(void *arg, int64_t index, int worker) {
    const struct transfer *t = (const struct transfer *)arg;
    struct us_map block;
    size_t plane;
    const int channels = block_of(t, index, &block, &plane);
    (void)worker;
    us_map_pack(&block, t->from + plane, 1, channels, block.h, block.w);
}

static void unpack_task(void *arg, int64_t index, int worker) {
    const struct transfer *t = (const struct transfer *)arg;
    struct us_map block;
    size_t plane;
    const int channels = block_of(t, index, &block, &plane);
    (void)worker;
    us_map_unpack(&block, t->to + plane, 1, channels);
}

int us_layer_pack(us_context *ctx, const struct us_map *m, const float *x, int64_t c) {
    struct transfer t;
    t.m = m;
    t.from = x;
    t.to = NULL;
    t.c = c;
    return us_parallel(ctx, NULL, pack_task, &t, (int64_t)m->n * m->blocks);
}

int us_layer_unpack(us_context *ctx, const struct us_map *m, float *x, int64_t c) {
    struct transfer t;
    t.m = m;
    t.from = NULL;
    t.to = x;
    t.c = c;
    return us_parallel(ctx, NULL, unpack_task, &t, (int64_t)m->n * m->blocks);
}

int us_layer_scratch(us_context *ctx, struct us_scratch *scratch, size_t each) {
    size_t all;
    int code;
    scratch->base = NULL;
    scratch->each = (each + 63) / 64 * 64;
    code = us_size_mul(&all, scratch->each, (size_t)us_workers(ctx));
    if (code)
        return code;
    scratch->base = (char *)us_alloc(ctx, all);
    return scratch->base ? 0 : UNETSTAR_ENOMEM;
}
