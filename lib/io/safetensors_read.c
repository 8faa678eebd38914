/*
 * safetensors_read.c - reads and checks safetensors: 8 bytes header length, a JSON header, then the tensors' bytes.
 *
 * The file may come from anywhere. Nothing in it is used before it has been compared with the bytes that are there,
 * every product is checked, and the work is n log n in the size of the header.
 */
#include "io/io_internal.h"

#include <string.h>

struct entry {
    struct us_st_tensor tensor;
    uint64_t begin, end; /* within the data */
    int bits;            /* of one element; 0: a type this library has never heard of */
};

/* While reading; the file takes what is left in the end. */
struct reader {
    us_context *ctx;
    struct us_json json;
    struct entry *entries;
    struct us_st_meta *meta;
    size_t n_entries, entries_capacity, n_meta, meta_capacity;
    int seen_metadata;
};

static const struct {
    const char *name;
    int bits;
    int32_t dtype;
} types[] = {{"BOOL", 8, -1},           {"F4", 4, -1},
             {"F6_E2M3", 6, -1},        {"F6_E3M2", 6, -1},
             {"U8", 8, UNETSTAR_UINT8}, {"I8", 8, -1},
             {"F8_E5M2", 8, -1},        {"F8_E4M3", 8, -1},
             {"F8_E8M0", 8, -1},        {"F8_E4M3FNUZ", 8, -1},
             {"F8_E5M2FNUZ", 8, -1},    {"I16", 16, -1},
             {"U16", 16, -1},           {"F16", 16, -1},
             {"BF16", 16, -1},          {"I32", 32, -1},
             {"U32", 32, -1},           {"F32", 32, UNETSTAR_FLOAT32},
             {"F64", 64, -1},           {"I64", 64, UNETSTAR_INT64},
             {"U64", 64, -1},           {"C64", 64, -1}};

static int refuse(const char *name, const char *what) {
    char printable[US_NAME_SIZE];
    return us_fail(UNETSTAR_EFORMAT, "tensor '%s' %s", us_printable(printable, name), what);
}

/* Gives items room for one more than n: items, or a longer copy in its place, or NULL with items as they were. */
static void *grow(us_context *ctx, void *items, size_t n, size_t *capacity, size_t item_size) {
    const size_t wanted = *capacity ? *capacity * 2 : 64;
    size_t bytes;
    void *moved;
    if (n < *capacity)
        return items;
    if (us_size_mul(&bytes, wanted, item_size))
        return NULL;
    moved = us_alloc(ctx, bytes);
    if (!moved)
        return NULL;
    if (n)
        memcpy(moved, items, n * item_size);
    us_free(ctx, items);
    *capacity = wanted;
    return moved;
}

/* ---- Entries ---- */

static void set_type(struct entry *e, const char *name) {
    int i;
    e->bits = 0;
    e->tensor.dtype = -1;
    for (i = 0; i < US_COUNT(types); i++)
        if (strcmp(name, types[i].name) == 0) {
            e->bits = types[i].bits;
            e->tensor.dtype = types[i].dtype;
        }
}

static int read_shape(struct reader *r, struct entry *e) {
    int more, error = us_json_array(&r->json);
    if (error)
        return error;
    for (;;) {
        uint64_t size;
        error = us_json_next_element(&r->json, &more);
        if (error || !more)
            return error;
        error = us_json_unsigned(&r->json, &size);
        if (error)
            return error;
        if (e->tensor.ndim == UNETSTAR_MAX_DIMS)
            return refuse(e->tensor.name, "has more than 8 dimensions");
        if (size > (uint64_t)INT64_MAX)
            return refuse(e->tensor.name, "has a dimension that does not fit in 63 bits");
        e->tensor.shape[e->tensor.ndim++] = (int64_t)size;
    }
}

static int read_offsets(struct reader *r, struct entry *e) {
    uint64_t offset[3] = {0, 0, 0};
    int n, more, error = us_json_array(&r->json);
    for (n = 0; !error; n++) {
        error = us_json_next_element(&r->json, &more);
        if (error || !more)
            break;
        if (n == 2)
            return refuse(e->tensor.name, "has more than two data_offsets");
        error = us_json_unsigned(&r->json, &offset[n]);
    }
    if (error)
        return error;
    if (n != 2)
        return refuse(e->tensor.name, "has fewer than two data_offsets");
    e->begin = offset[0];
    e->end = offset[1];
    return 0;
}

static int read_field(struct reader *r, struct entry *e, const char *key, unsigned *seen) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    const char *type;
    int i, error;
    for (i = 0; i < US_COUNT(fields) && strcmp(key, fields[i]) != 0; i++)
        ;
    if (i == US_COUNT(fields))
        return refuse(e->tensor.name, "has an unknown field");
    if (*seen & 1u << i)
        return refuse(e->tensor.name, "has the same field twice");
    *seen |= 1u << i;
    if (i == 1)
        return read_shape(r, e);
    if (i == 2)
        return read_offsets(r, e);
    error = us_json_string(&r->json, &type);
    if (!error)
        set_type(e, type);
    return error;
}

/* Bytes of a tensor of this shape: no overflow even if a dimension of 0 would make it good again, whole bytes only. */
static int check_size(const struct entry *e) {
    uint64_t bits = (uint64_t)e->bits;
    int i, empty = 0;
    if (e->begin > e->end)
        return refuse(e->tensor.name, "ends before it begins");
    if (e->bits == 0)
        return 0;
    for (i = 0; i < e->tensor.ndim; i++) {
        const uint64_t size = (uint64_t)e->tensor.shape[i];
        empty |= size == 0;
        if (size && bits > UINT64_MAX / size)
            return refuse(e->tensor.name, "has a shape whose size overflows");
        bits *= size ? size : 1;
    }
    if (empty)
        bits = 0;
    if (bits % 8)
        return refuse(e->tensor.name, "does not fill whole bytes");
    if (bits / 8 != e->end - e->begin)
        return refuse(e->tensor.name, "has data_offsets that do not match its dtype and shape");
    return 0;
}

static int read_entry(struct reader *r, const char *name) {
    struct entry *e = (struct entry *)grow(r->ctx, r->entries, r->n_entries, &r->entries_capacity, sizeof *e);
    const char *key;
    unsigned seen = 0;
    int more, error;
    if (!e)
        return UNETSTAR_ENOMEM;
    r->entries = e;
    e += r->n_entries++;
    memset(e, 0, sizeof *e);
    e->tensor.name = name;
    error = us_json_object(&r->json);
    for (;;) {
        if (!error)
            error = us_json_next_key(&r->json, &more, &key);
        if (error)
            return error;
        if (!more)
            break;
        error = read_field(r, e, key, &seen);
    }
    if (seen != 7)
        return refuse(name, "lacks dtype, shape or data_offsets");
    return check_size(e);
}

static int read_metadata(struct reader *r) {
    int more, error;
    if (r->seen_metadata)
        return us_fail(UNETSTAR_EFORMAT, US_ST_METADATA " is there twice");
    r->seen_metadata = 1;
    error = us_json_object(&r->json);
    while (!error) {
        struct us_st_meta *m = (struct us_st_meta *)grow(r->ctx, r->meta, r->n_meta, &r->meta_capacity, sizeof *m);
        if (!m)
            return UNETSTAR_ENOMEM;
        r->meta = m;
        m += r->n_meta;
        error = us_json_next_key(&r->json, &more, &m->key);
        if (error || !more)
            break;
        error = us_json_string(&r->json, &m->value);
        r->n_meta++;
    }
    return error;
}

static int read_header(struct reader *r) {
    const char *key;
    int more, error;
    if (r->json.size == 0 || r->json.text[0] != '{')
        return us_fail(UNETSTAR_EFORMAT, "the header does not begin with '{'");
    error = us_json_object(&r->json);
    while (!error) {
        error = us_json_next_key(&r->json, &more, &key);
        if (error || !more)
            break;
        error = strcmp(key, US_ST_METADATA) == 0 ? read_metadata(r) : read_entry(r, key);
    }
    return error ? error : us_json_end(&r->json);
}

/* ---- What can only be seen when all entries are there ---- */

static int by_offset(const void *a, const void *b) {
    const struct entry *x = (const struct entry *)a, *y = (const struct entry *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->tensor.name, ((const struct entry *)b)->tensor.name);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct us_st_meta *)a)->key, ((const struct us_st_meta *)b)->key);
}

/* Sorted by offset the tensors must tile the data: this is what makes a file mean one thing only. */
static int check_tiling(struct reader *r, size_t data_size) {
    uint64_t at = 0;
    size_t i;
    us_heap_sort(r->entries, r->n_entries, sizeof *r->entries, by_offset);
    for (i = 0; i < r->n_entries; i++) {
        const struct entry *e = &r->entries[i];
        if (e->begin != at)
            return refuse(e->tensor.name, e->begin < at ? "overlaps another tensor" : "has a hole before it");
        if (e->end > data_size)
            return refuse(e->tensor.name, "ends behind the end of the file");
        at = e->end;
    }
    if (at != data_size)
        return us_fail(UNETSTAR_EFORMAT, "%llu bytes follow the last tensor", (unsigned long long)(data_size - at));
    return 0;
}

static int check_duplicates(struct reader *r) {
    char printable[US_NAME_SIZE];
    size_t i;
    us_heap_sort(r->entries, r->n_entries, sizeof *r->entries, by_name);
    us_heap_sort(r->meta, r->n_meta, sizeof *r->meta, by_key);
    for (i = 1; i < r->n_entries; i++)
        if (by_name(&r->entries[i - 1], &r->entries[i]) == 0)
            return refuse(r->entries[i].tensor.name, "is there twice");
    for (i = 1; i < r->n_meta; i++)
        if (by_key(&r->meta[i - 1], &r->meta[i]) == 0)
            return us_fail(UNETSTAR_EFORMAT, "the key '%s' of " US_ST_METADATA " is there twice",
                           us_printable(printable, r->meta[i].key));
    return 0;
}

/* ---- The file ---- */

/* The header, and where it and the data lie. */
static int find_header(const unsigned char *bytes, size_t size, size_t *header_size) {
    uint64_t length = 0;
    int i;
    if (size < 8)
        return us_fail(UNETSTAR_EFORMAT, "%llu bytes are too few for a safetensors file", (unsigned long long)size);
    for (i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > US_ST_HEADER_LIMIT)
        return us_fail(UNETSTAR_EFORMAT, "not a safetensors file, or its header is longer than 100,000,000 bytes");
    if (length > size - 8)
        return us_fail(UNETSTAR_EFORMAT, "the header of %llu bytes ends behind the end of the file",
                       (unsigned long long)length);
    *header_size = (size_t)length;
    return 0;
}

static int read_all(struct reader *r, const char *header, size_t header_size, size_t data_size, char *strings) {
    int error = us_json_begin(&r->json, header, header_size, strings);
    if (!error)
        error = read_header(r);
    if (!error)
        error = check_tiling(r, data_size);
    if (!error)
        error = check_duplicates(r);
    return error;
}

static int take_tensors(struct us_st_file *file, const struct reader *r, const char *data) {
    size_t i;
    file->tensors = (struct us_st_tensor *)us_alloc(file->ctx, r->n_entries * sizeof *file->tensors);
    if (!file->tensors)
        return UNETSTAR_ENOMEM;
    file->n_tensors = (int64_t)r->n_entries;
    for (i = 0; i < r->n_entries; i++) {
        struct us_st_tensor *t = &file->tensors[i];
        *t = r->entries[i].tensor;
        t->data = data + r->entries[i].begin;
        t->bytes = (size_t)(r->entries[i].end - r->entries[i].begin);
    }
    return 0;
}

int us_st_parse(struct us_st_file **out, us_context *ctx, const void *data, size_t size) {
    const char *bytes = (const char *)data;
    struct us_st_file *file;
    struct reader r;
    size_t header_size = 0;
    int error;
    *out = NULL;
    error = find_header((const unsigned char *)data, size, &header_size);
    if (error)
        return error;
    file = (struct us_st_file *)us_alloc_zero(ctx, sizeof *file);
    if (!file)
        return UNETSTAR_ENOMEM;
    file->ctx = us_context_ref(ctx);
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    file->strings = us_alloc(ctx, us_json_strings_size(header_size));
    error = file->strings ? read_all(&r, bytes + 8, header_size, size - 8 - header_size, (char *)file->strings)
                          : UNETSTAR_ENOMEM;
    if (!error)
        error = take_tensors(file, &r, bytes + 8 + header_size);
    file->meta = r.meta;
    file->n_meta = (int64_t)r.n_meta;
    us_free(ctx, r.entries);
    if (error) {
        us_st_close(file);
        return error;
    }
    *out = file;
    return 0;
}

void us_st_close(struct us_st_file *file) {
    us_context *ctx;
    if (!file)
        return;
    ctx = file->ctx;
    us_free(ctx, file->tensors);
    us_free(ctx, file->meta);
    us_free(ctx, file->strings);
    us_free(ctx, file);
    us_context_unref(ctx);
}

const struct us_st_tensor *us_st_find(const struct us_st_file *file, const char *name) {
    int64_t low = 0, high = file->n_tensors;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, file->tensors[middle].name);
        if (order == 0)
            return &file->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *us_st_meta_get(const struct us_st_file *file, const char *key) {
    int64_t i;
    for (i = 0; i < file->n_meta; i++)
        if (strcmp(file->meta[i].key, key) == 0)
            return file->meta[i].value;
    return NULL;
}
