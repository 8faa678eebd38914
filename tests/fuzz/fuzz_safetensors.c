/*
 * fuzz_safetensors.c - any bytes as a safetensors file. What is accepted must tile the data, be found by name, and come
 * back from the writer as the same tensors. The first byte of the input makes an allocation fail now and then.
 *
 * clang -fsanitize=fuzzer,address,undefined ... tests/fuzz/fuzz_safetensors.c; or with replay.c, without libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static long live, countdown;

static void *fuzz_alloc(void *user, size_t size, size_t alignment) {
    void *pointer = NULL;
    (void)user;
    if (countdown > 0 && --countdown == 0)
        return NULL;
    if (posix_memalign(&pointer, alignment, size))
        return NULL;
    live++;
    return pointer;
}

static void fuzz_free(void *user, void *pointer, size_t size) {
    (void)user;
    (void)size;
    live--;
    free(pointer);
}

static us_context *context(void) {
    static us_context *ctx;
    if (!ctx) {
        unetstar_context_options options;
        memset(&options, 0, sizeof options);
        options.struct_size = sizeof options;
        options.alloc = fuzz_alloc;
        options.free = fuzz_free;
        options.n_threads = 1;
        CHECK(us_context_create(&ctx, &options) == 0);
    }
    return ctx;
}

struct sink {
    uint8_t *data;
    size_t size, capacity;
};

static int write_sink(void *user, const void *data, size_t size) {
    struct sink *s = (struct sink *)user;
    if (size > s->capacity - s->size) {
        uint8_t *larger = (uint8_t *)realloc(s->data, (s->capacity = 2 * (s->size + size)));
        CHECK(larger);
        s->data = larger;
    }
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}

static void check_same(const struct us_st_file *a, const struct us_st_file *b) {
    int64_t i;
    CHECK(a->n_tensors == b->n_tensors && a->n_meta == b->n_meta);
    for (i = 0; i < a->n_tensors; i++) {
        const struct us_st_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        CHECK(strcmp(x->name, y->name) == 0 && x->dtype == y->dtype && x->ndim == y->ndim && x->bytes == y->bytes);
        CHECK(memcmp(x->shape, y->shape, sizeof x->shape) == 0);
        CHECK(x->bytes == 0 || memcmp(x->data, y->data, x->bytes) == 0);
    }
    for (i = 0; i < a->n_meta; i++)
        CHECK(strcmp(a->meta[i].key, b->meta[i].key) == 0 && strcmp(a->meta[i].value, b->meta[i].value) == 0);
}

/* Writing what was read, reading it again, and writing that: the same content, then the same bytes. */
static void check_round_trip(const struct us_st_file *file) {
    struct sink first = {NULL, 0, 0}, second = {NULL, 0, 0};
    struct us_st_file *again = NULL;
    CHECK(us_st_write(context(), file->tensors, file->n_tensors, file->meta, file->n_meta, write_sink, &first) == 0);
    CHECK(us_st_parse(&again, context(), first.data, first.size) == 0);
    check_same(file, again);
    CHECK(us_st_write(context(), again->tensors, again->n_tensors, again->meta, again->n_meta, write_sink, &second) ==
          0);
    CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    us_st_close(again);
    free(first.data);
    free(second.data);
}

static void check_accepted(const struct us_st_file *file, const uint8_t *data, size_t size) {
    size_t sum = 0;
    int64_t i;
    int known = 1;
    for (i = 0; i < file->n_tensors; i++) {
        const struct us_st_tensor *t = &file->tensors[i];
        const size_t element = us_dtype_size(t->dtype);
        const uint8_t *begin = (const uint8_t *)t->data;
        size_t bytes = 0;
        CHECK(us_st_find(file, t->name) == t);
        CHECK(i == 0 || strcmp(file->tensors[i - 1].name, t->name) < 0);
        CHECK(begin >= data + 8 && t->bytes <= (size_t)(data + size - begin));
        CHECK(t->ndim >= 0 && t->ndim <= UNETSTAR_MAX_DIMS);
        if (element)
            CHECK(us_size_shape(&bytes, t->shape, t->ndim, element) == 0 && bytes == t->bytes);
        known &= element != 0;
        sum += t->bytes;
    }
    CHECK(sum <= size - 8);
    for (i = 0; i < file->n_meta; i++)
        CHECK(us_st_meta_get(file, file->meta[i].key) == file->meta[i].value);
    if (known)
        check_round_trip(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    us_context *ctx = context();
    const long before = live;
    struct us_st_file *file;
    int result;
    if (size == 0)
        return 0;
    countdown = data[0] >= 240 ? data[0] - 239 : 0; /* fail the 1st ... 16th allocation */
    result = us_st_parse(&file, ctx, data + 1, size - 1);
    countdown = 0;
    if (result == 0) {
        check_accepted(file, data + 1, size - 1);
        us_st_close(file);
    } else {
        CHECK(!file && us_error_text()[0]);
        CHECK(result == UNETSTAR_EFORMAT || result == UNETSTAR_ENOMEM);
    }
    CHECK(live == before);
    return 0;
}
