/* safetensors_write.c - writes safetensors with the bytes the reference writer would choose. */
#include "io/io_internal.h"

#include <string.h>

/* ---- Text that is first measured (at NULL), then written ---- */

struct text {
    char *at;
    size_t size;
};

static void put(struct text *t, const char *bytes, size_t n) {
    if (t->at)
        memcpy(t->at + t->size, bytes, n);
    t->size += n;
}

static void put_text(struct text *t, const char *text) {
    put(t, text, strlen(text));
}

static void put_unsigned(struct text *t, uint64_t value) {
    char digits[20];
    int at = (int)sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(t, digits + at, sizeof digits - (size_t)at);
}

static void put_escape(struct text *t, unsigned char c) {
    static const char hex[] = "0123456789abcdef", values[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *at = strchr(values, c);
    char escape[6] = {'\\', 'u', '0', '0', 0, 0};
    if (at)
        escape[1] = names[at - values];
    escape[4] = hex[c >> 4];
    escape[5] = hex[c & 15];
    put(t, escape, at ? 2 : 6);
}

static void put_string(struct text *t, const char *string) {
    put(t, "\"", 1);
    for (; *string; string++) {
        if ((unsigned char)*string < 0x20 || *string == '"' || *string == '\\')
            put_escape(t, (unsigned char)*string);
        else
            put(t, string, 1);
    }
    put(t, "\"", 1);
}

/* ---- Checks and order ---- */

static int refuse(const char *name, const char *what) {
    char printable[US_NAME_SIZE];
    return us_fail(UNETSTAR_EINVAL, "'%s' cannot be written: %s", us_printable(printable, name), what);
}

static int check_string(const char *string) {
    size_t left = strlen(string);
    const char *at = string;
    while (left) {
        const int length = us_utf8_length(at, left);
        if (!length)
            return refuse(string, "not valid UTF-8");
        at += length;
        left -= (size_t)length;
    }
    return 0;
}

static int check_tensor(const struct us_st_tensor *t) {
    const size_t element = us_dtype_size(t->dtype);
    size_t bytes;
    int error = check_string(t->name);
    if (error)
        return error;
    if (strcmp(t->name, US_ST_METADATA) == 0)
        return refuse(t->name, "the name is reserved");
    if (!element)
        return refuse(t->name, "its dtype is unknown");
    if (t->ndim < 0 || t->ndim > UNETSTAR_MAX_DIMS)
        return refuse(t->name, "it must have 0 to 8 dimensions");
    if (us_size_shape(&bytes, t->shape, t->ndim, element) || bytes != t->bytes)
        return refuse(t->name, "its bytes do not match its shape");
    if (t->bytes && !t->data && !t->fill)
        return refuse(t->name, "it has no data");
    return 0;
}

static int by_size_and_name(const void *a, const void *b) {
    const struct us_st_tensor *x = *(const struct us_st_tensor *const *)a, *y = *(const struct us_st_tensor *const *)b;
    const size_t x_size = us_dtype_size(x->dtype), y_size = us_dtype_size(y->dtype);
    if (x_size != y_size)
        return x_size > y_size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct us_st_tensor *const *)a)->name, (*(const struct us_st_tensor *const *)b)->name);
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const struct us_st_meta *const *)a)->key, (*(const struct us_st_meta *const *)b)->key);
}

struct plan {
    const struct us_st_tensor **tensors;
    const struct us_st_meta **meta;
    size_t n_tensors, n_meta;
};

static int check_tensors(struct plan *p) {
    size_t i;
    for (i = 0; i < p->n_tensors; i++) {
        int error = check_tensor(p->tensors[i]);
        if (error)
            return error;
    }
    us_heap_sort(p->tensors, p->n_tensors, sizeof *p->tensors, by_name);
    for (i = 1; i < p->n_tensors; i++)
        if (by_name(&p->tensors[i - 1], &p->tensors[i]) == 0)
            return refuse(p->tensors[i]->name, "two tensors have this name");
    us_heap_sort(p->tensors, p->n_tensors, sizeof *p->tensors, by_size_and_name);
    return 0;
}

static int check_meta(struct plan *p) {
    size_t i;
    for (i = 0; i < p->n_meta; i++) {
        int error = check_string(p->meta[i]->key);
        if (!error)
            error = check_string(p->meta[i]->value);
        if (error)
            return error;
    }
    us_heap_sort(p->meta, p->n_meta, sizeof *p->meta, by_key);
    for (i = 1; i < p->n_meta; i++)
        if (by_key(&p->meta[i - 1], &p->meta[i]) == 0)
            return refuse(p->meta[i]->key, "two entries of the metadata have this key");
    return 0;
}

/* ---- The header ---- */

static void put_metadata(struct text *t, const struct plan *p) {
    size_t i;
    put_text(t, "\"" US_ST_METADATA "\":{");
    for (i = 0; i < p->n_meta; i++) {
        if (i)
            put(t, ",", 1);
        put_string(t, p->meta[i]->key);
        put(t, ":", 1);
        put_string(t, p->meta[i]->value);
    }
    put(t, "}", 1);
}

static void put_tensor(struct text *t, const struct us_st_tensor *tensor, uint64_t begin) {
    int i;
    put_string(t, tensor->name);
    put_text(t, ":{\"dtype\":\"");
    put_text(t, tensor->dtype == UNETSTAR_FLOAT32 ? "F32" : tensor->dtype == UNETSTAR_INT64 ? "I64" : "U8");
    put_text(t, "\",\"shape\":[");
    for (i = 0; i < tensor->ndim; i++) {
        if (i)
            put(t, ",", 1);
        put_unsigned(t, (uint64_t)tensor->shape[i]);
    }
    put_text(t, "],\"data_offsets\":[");
    put_unsigned(t, begin);
    put(t, ",", 1);
    put_unsigned(t, begin + tensor->bytes);
    put_text(t, "]}");
}

static void put_length(struct text *t, uint64_t length) {
    char bytes[8];
    int i;
    for (i = 0; i < 8; i++)
        bytes[i] = (char)(length >> (8 * i) & 0xff);
    put(t, bytes, 8);
}

/* header_size is what the first run has measured, and of no importance in that run. */
static void put_header(struct text *t, const struct plan *p, size_t header_size) {
    uint64_t begin = 0;
    size_t i;
    put_length(t, header_size);
    put(t, "{", 1);
    if (p->n_meta)
        put_metadata(t, p);
    for (i = 0; i < p->n_tensors; i++) {
        if (i || p->n_meta)
            put(t, ",", 1);
        put_tensor(t, p->tensors[i], begin);
        begin += p->tensors[i]->bytes;
    }
    put(t, "}", 1);
    while (t->size % 8)
        put(t, " ", 1);
}

/* ---- Writing ---- */

static int emit(unetstar_write_fn write, void *user, const void *data, size_t size) {
    int failed;
    if (size == 0)
        return 0;
    us_fp_callback_begin();
    failed = write(user, data, size);
    us_fp_callback_end();
    return failed ? us_fail(UNETSTAR_EIO, "the write callback failed") : 0;
}

static int emit_header(us_context *ctx, const struct plan *p, unetstar_write_fn write, void *user) {
    struct text measured = {NULL, 0}, text = {NULL, 0};
    int error;
    put_header(&measured, p, 0);
    if (measured.size - 8 > US_ST_HEADER_LIMIT)
        return us_fail(UNETSTAR_ELIMIT, "the header of a safetensors file would be longer than 100,000,000 bytes");
    text.at = (char *)us_alloc(ctx, measured.size);
    if (!text.at)
        return UNETSTAR_ENOMEM;
    put_header(&text, p, measured.size - 8);
    error = emit(write, user, text.at, text.size);
    us_free(ctx, text.at);
    return error;
}

/* buffer: for the largest tensor that has no data of its own. */
static int emit_tensors(const struct plan *p, void *buffer, unetstar_write_fn write, void *user) {
    size_t i;
    int error = 0;
    for (i = 0; i < p->n_tensors && !error; i++) {
        const struct us_st_tensor *t = p->tensors[i];
        if (!t->data && t->bytes)
            t->fill(t->fill_arg, buffer);
        error = emit(write, user, t->data ? t->data : buffer, t->bytes);
    }
    return error;
}

static int emit_all(us_context *ctx, struct plan *p, unetstar_write_fn write, void *user) {
    void *buffer = NULL;
    size_t most = 0, i;
    int error = check_tensors(p);
    for (i = 0; i < p->n_tensors && !error; i++)
        most = p->tensors[i]->data ? most : US_MAX(most, p->tensors[i]->bytes);
    if (most && !error) {
        buffer = us_alloc(ctx, most);
        error = buffer ? 0 : UNETSTAR_ENOMEM;
    }
    if (!error)
        error = check_meta(p);
    if (!error)
        error = emit_header(ctx, p, write, user);
    if (!error)
        error = emit_tensors(p, buffer, write, user);
    us_free(ctx, buffer);
    return error;
}

int us_st_write(us_context *ctx, const struct us_st_tensor *tensors, int64_t n_tensors, const struct us_st_meta *meta,
                int64_t n_meta, unetstar_write_fn write, void *user) {
    struct plan p;
    size_t i;
    int error = UNETSTAR_ENOMEM;
    p.n_tensors = (size_t)n_tensors;
    p.n_meta = (size_t)n_meta;
    p.tensors = (const struct us_st_tensor **)us_alloc(ctx, p.n_tensors * sizeof *p.tensors);
    p.meta = (const struct us_st_meta **)us_alloc(ctx, p.n_meta * sizeof *p.meta);
    if (p.tensors && p.meta) {
        for (i = 0; i < p.n_tensors; i++)
            p.tensors[i] = &tensors[i];
        for (i = 0; i < p.n_meta; i++)
            p.meta[i] = &meta[i];
        error = emit_all(ctx, &p, write, user);
    }
    us_free(ctx, p.tensors);
    us_free(ctx, p.meta);
    return error;
}
