/*
 * test_safetensors.c - JSON and safetensors: round trips, files that are wrong in every way we could think of, lack of memory.
 */
#include "test_io_util.h"

/* ---- safetensors: bytes in memory ---- */

struct sink {
    char data[65536];
    size_t size, limit;
};

static int write_sink(void *user, const void *data, size_t size) {
    struct sink *s = (struct sink *)user;
    if (size > s->limit - s->size)
        return 1;
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}

static struct sink sink;

static void sink_clear(void) {
    sink.size = 0;
    sink.limit = sizeof sink.data;
}

static struct us_st_tensor tensor(const char *name, int32_t dtype, int32_t ndim, int64_t a, int64_t b, const void *data,
                                  size_t bytes) {
    struct us_st_tensor t;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.dtype = dtype;
    t.ndim = ndim;
    t.shape[0] = a;
    t.shape[1] = b;
    t.data = data;
    t.bytes = bytes;
    return t;
}

/* An exact-size copy, so that the sanitizer sees a read behind the end. */
static int parse_copy(struct us_st_file **out, const void *data, size_t size) {
    char *copy = (char *)malloc(size ? size : 1);
    int result;
    assert_non_null(copy);
    if (size)
        memcpy(copy, data, size);
    result = us_st_parse(out, ctx, copy, size);
    if (result == 0) { /* the file borrows the bytes: give it ones that stay */
        us_st_close(*out);
        result = us_st_parse(out, ctx, data, size);
    }
    free(copy);
    return result;
}

static const float weights[6] = {1, 2, 3, 4, 5, 6};
static const int64_t counter = 0x0102030405060708;
static const uint8_t bytes3[3] = {7, 8, 9};

/* The very bytes of the reference writer. */
static void written_bytes(void **state) {
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"a\\\"b\\\\c\\n\\u0001\xc3\xa9/\"},"
                                 "\"z.count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                                 "\"b.empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[32,32]},"
                                 "\"mask\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[32,35]}}";
    struct us_st_tensor tensors[4];
    struct us_st_meta meta[2] = {{"note", "a\"b\\c\n\x01\xc3\xa9/"}, {"format", "pt"}};
    size_t length = sizeof header - 1, padded = (length + 7) / 8 * 8, i;
    (void)state;
    tensors[0] = tensor("mask", UNETSTAR_UINT8, 1, 3, 0, bytes3, 3);
    tensors[1] = tensor("b.empty", UNETSTAR_FLOAT32, 2, 0, 4, NULL, 0);
    tensors[2] = tensor("a.weight", UNETSTAR_FLOAT32, 2, 2, 3, weights, sizeof weights);
    tensors[3] = tensor("z.count", UNETSTAR_INT64, 0, 0, 0, &counter, sizeof counter);
    sink_clear();
    assert_int_equal(us_st_write(ctx, tensors, 4, meta, 2, write_sink, &sink), 0);
    assert_int_equal(sink.size, 8 + padded + 35);
    assert_int_equal((unsigned char)sink.data[0], padded & 255);
    assert_int_equal((unsigned char)sink.data[1], padded >> 8);
    for (i = 2; i < 8; i++)
        assert_int_equal(sink.data[i], 0);
    assert_memory_equal(sink.data + 8, header, length);
    for (i = length; i < padded; i++)
        assert_int_equal(sink.data[8 + i], ' ');
    assert_memory_equal(sink.data + 8 + padded, &counter, 8);
    assert_memory_equal(sink.data + 8 + padded + 8, weights, 24);
    assert_memory_equal(sink.data + 8 + padded + 32, bytes3, 3);
    {
        struct us_st_file *file;
        const struct us_st_tensor *t;
        assert_int_equal(parse_copy(&file, sink.data, sink.size), 0);
        assert_int_equal(file->n_tensors, 4);
        assert_string_equal(file->tensors[0].name, "a.weight"); /* by name */
        assert_string_equal(file->tensors[3].name, "z.count");
        assert_string_equal(us_st_meta_get(file, "note"), meta[0].value);
        assert_string_equal(us_st_meta_get(file, "format"), "pt");
        assert_null(us_st_meta_get(file, "for"));
        t = us_st_find(file, "a.weight");
        assert_non_null(t);
        assert_int_equal(t->dtype, UNETSTAR_FLOAT32);
        assert_int_equal(t->ndim, 2);
        assert_int_equal(t->shape[0], 2);
        assert_int_equal(t->shape[1], 3);
        assert_int_equal(t->bytes, 24);
        assert_memory_equal(t->data, weights, 24);
        t = us_st_find(file, "z.count");
        assert_non_null(t);
        assert_int_equal(t->ndim, 0);
        assert_memory_equal(t->data, &counter, 8);
        assert_int_equal(us_st_find(file, "b.empty")->bytes, 0);
        assert_int_equal(us_st_find(file, "mask")->dtype, UNETSTAR_UINT8);
        assert_null(us_st_find(file, "mas"));
        assert_null(us_st_find(file, ""));
        assert_null(us_st_find(file, "zz"));
        us_st_close(file);
    }
}

static void nothing_to_write(void **state) {
    struct us_st_file *file;
    (void)state;
    sink_clear();
    assert_int_equal(us_st_write(ctx, NULL, 0, NULL, 0, write_sink, &sink), 0);
    assert_int_equal(sink.size, 16);
    assert_memory_equal(sink.data, "\x08\0\0\0\0\0\0\0{}      ", 16);
    assert_int_equal(parse_copy(&file, sink.data, sink.size), 0);
    assert_int_equal(file->n_tensors, 0);
    assert_int_equal(file->n_meta, 0);
    assert_null(us_st_find(file, "a"));
    assert_null(us_st_meta_get(file, "a"));
    us_st_close(file);
    us_st_close(NULL);
}

static void writer_refuses(void **state) {
    struct us_st_tensor good = tensor("good", UNETSTAR_FLOAT32, 2, 2, 3, weights, 24), bad[2];
    struct us_st_meta meta[2] = {{"k", "v"}, {"k", "w"}};
    int i;
    (void)state;
    for (i = 0; i < 11; i++) {
        static const char *const words[] = {"UTF-8", "this name", "reserved",   "dtype",    "dimensions", "shape",
                                            "shape", "no data",   "dimensions", "this key", "UTF-8"};
        bad[0] = bad[1] = good;
        bad[1].name = "other";
        if (i == 0)
            bad[1].name = "\xff";
        if (i == 1)
            bad[1].name = "good";
        if (i == 2)
            bad[1].name = "__metadata__";
        if (i == 3)
            bad[1].dtype = -1;
        if (i == 4)
            bad[1].ndim = 9;
        if (i == 5)
            bad[1].bytes = 23;
        if (i == 6)
            bad[1].shape[0] = -2;
        if (i == 7)
            bad[1].data = NULL;
        if (i == 8)
            bad[1].ndim = -1;
        if (i == 10) {
            meta[1].key = "other";
            meta[1].value = "\xc0\x80";
        }
        sink_clear();
        assert_int_equal(us_st_write(ctx, bad, 2, meta, i >= 9 ? 2 : 0, write_sink, &sink), UNETSTAR_EINVAL);
        assert_text(words[i]);
        assert_int_equal(sink.size, 0);
    }
    sink_clear();
    sink.limit = 10;
    assert_int_equal(us_st_write(ctx, &good, 1, NULL, 0, write_sink, &sink), UNETSTAR_EIO);
    sink.limit = 80; /* the header fits */
    assert_int_equal(us_st_write(ctx, &good, 1, NULL, 0, write_sink, &sink), UNETSTAR_EIO);
}

/* ---- safetensors: bad files ---- */

static size_t build(char *out, const char *header, size_t header_size, size_t data_size) {
    size_t i;
    for (i = 0; i < 8; i++)
        out[i] = (char)((uint64_t)header_size >> (8 * i) & 255);
    memcpy(out + 8, header, header_size);
    memset(out + 8 + header_size, 0, data_size);
    return 8 + header_size + data_size;
}

#define F32(name, shape, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data_size;
    const char *word;
} bad_headers[] = {
    /* JSON */
    {"", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {"{", 0, "string was expected"},
    {"{}x", 0, "follows the end"},
    {"{}{}", 0, "follows the end"},
    {"{,}", 0, "string was expected"},
    {"{\"a\"}", 0, "':' was expected"},
    {"{\"a\":}", 0, "object was expected"},
    {"{\"a\":1}", 0, "object was expected"},
    {"{\"a\":[]}", 0, "object was expected"},
    {"{\"a\":null}", 0, "object was expected"},
    {"{a:{}}", 0, "string was expected"},
    {"{'a':{}}", 0, "string was expected"},
    {"{\"a", 0, "does not end"},
    {"{\"a\\", 0, "unknown escape"},
    {"{\"\\x\":{}}", 0, "unknown escape"},
    {"{\"\\u12\":{}}", 0, "four hexadecimal digits"},
    {"{\"\\u00g0\":{}}", 0, "four hexadecimal digits"},
    {"{\"\\ud800\":{}}", 0, "surrogate"},
    {"{\"\\udc00\":{}}", 0, "surrogate"},
    {"{\"\\ud800\\u0041\":{}}", 0, "surrogate"},
    {"{\"\\ud800\\", 0, "surrogate"},
    {"{\"a\\u0000b\":{}}", 0, "the character 0"},
    {"{\"a\tb\":{}}", 0, "control character"},
    {"{\"\xff\":{}}", 0, "UTF-8"},
    {"{\"\xc0\xaf\":{}}", 0, "UTF-8"},
    {"{\"\xed\xa0\x80\":{}}", 0, "UTF-8"},
    {"{\"\xf4\x90\x80\x80\":{}}", 0, "UTF-8"},
    {"{\"\xe2\x82", 0, "UTF-8"},
    {"{\"__metadata__\":{}", 0, "',' or '}'"},
    {"{\"__metadata__\":{} \"a\":{}}", 0, "',' or '}'"},
    {"{\"__metadata__\":{},}", 0, "string was expected"},
    {"{/**/}", 0, "string was expected"},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, "object was expected"},
    {"{\"__metadata__\":\"x\"}", 0, "object was expected"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "string was expected"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "string was expected"},
    {"{\"__metadata__\":{\"a\":null}}", 0, "string was expected"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "'a' of __metadata__ is there twice"},
    {"{\"__metadata__\":{\"a\":\"1\",\"\\u0061\":\"2\"}}", 0, "twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
    {"{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, "the character 0"},
    /* entries */
    {"{\"a\":{}}", 0, "lacks"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "lacks"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "lacks"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "lacks"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "same field twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":\"\"}}", 4, "unknown field"},
    {"{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "string was expected"},
    {"{" F32("a", "[1", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[1,]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[,1]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[1 2]", "[0,8]") "}", 8, "',' or ']'"},
    {"{" F32("a", "{}", "[0,4]") "}", 4, "array was expected"},
    {"{" F32("a", "[-1]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[1.0]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[1e0]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[01]", "[0,4]") "}", 4, "begins with 0"},
    {"{" F32("a", "[[1]]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[\"1\"]", "[0,4]") "}", 4, "unsigned integer"},
    {"{" F32("a", "[18446744073709551616]", "[0,4]") "}", 4, "64 bits"},
    {"{" F32("a", "[9223372036854775808]", "[0,4]") "}", 4, "63 bits"},
    {"{" F32("a", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "8 dimensions"},
    {"{" F32("a", "[1]", "[]") "}", 4, "fewer than two"},
    {"{" F32("a", "[1]", "[0]") "}", 4, "fewer than two"},
    {"{" F32("a", "[1]", "[0,4,4]") "}", 4, "more than two"},
    {"{" F32("a", "[1]", "[4,0]") "}", 4, "ends before it begins"},
    /* sizes */
    {"{" F32("a", "[1]", "[0,5]") "}", 5, "do not match"},
    {"{" F32("a", "[2,3]", "[0,20]") "}", 20, "do not match"},
    {"{" F32("a", "[0,5]", "[0,4]") "}", 4, "do not match"},
    {"{" F32("a", "[]", "[0,0]") "}", 0, "do not match"},
    {"{" F32("a", "[4611686018427387904]", "[0,0]") "}", 0, "overflows"},
    {"{" F32("a", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflows"},
    {"{" F32("a", "[4294967296,0,4294967296]", "[0,0]") "}", 0, "overflows"},
    {"{" F32("a", "[9223372036854775807,2]", "[0,4]") "}", 4, "overflows"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "whole bytes"},
    {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "whole bytes"},
    {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "do not match"},
    /* tiling */
    {"{" F32("a", "[1]", "[4,8]") "}", 8, "hole"},
    {"{" F32("a", "[1]", "[0,4]") "," F32("b", "[1]", "[8,12]") "}", 12, "'b' has a hole before it"},
    {"{" F32("a", "[2]", "[0,8]") "," F32("b", "[1]", "[4,8]") "}", 8, "overlaps"},
    {"{" F32("a", "[1]", "[0,4]") "," F32("b", "[1]", "[0,4]") "}", 4, "overlaps"},
    {"{" F32("a", "[1]", "[0,4]") "}", 3, "behind the end of the file"},
    {"{" F32("a", "[1]", "[0,4]") "}", 5, "1 bytes follow"},
    {"{}", 1, "1 bytes follow"},
    {"{" F32("a", "[1]", "[18446744073709551612,18446744073709551615]") "}", 4, "do not match"},
    {"{\"a\":{\"dtype\":\"NEW\",\"shape\":[1],\"data_offsets\":[0,18446744073709551615]}}", 4, "behind the end"},
    {"{" F32("a", "[1]", "[0,4]") "," F32("a", "[1]", "[4,8]") "}", 8, "'a' is there twice"},
    {"{" F32("a", "[1]", "[0,4]") "," F32("\\u0061", "[1]", "[4,8]") "}", 8, "twice"},
    {"{" F32("a", "[0]", "[0,0]") "," F32("a", "[0]", "[0,0]") "}", 0, "twice"},
    /* what goes into the text is made harmless */
    {"{\"x\\n\\u001b[1m\":{}}", 0, "tensor 'x??[1m' lacks"}};

static void bad_files(void **state) {
    char file_bytes[4096];
    int i;
    (void)state;
    assert_true(US_COUNT(bad_headers) >= 40);
    for (i = 0; i < US_COUNT(bad_headers); i++) {
        const long live = memory.live;
        struct us_st_file *file = (struct us_st_file *)file_bytes;
        const size_t size =
            build(file_bytes, bad_headers[i].header, strlen(bad_headers[i].header), bad_headers[i].data_size);
        const int result = parse_copy(&file, file_bytes, size);
        if (result != UNETSTAR_EFORMAT)
            fail_msg("%s: result %d", bad_headers[i].header, result);
        if (!strstr(us_error_text(), bad_headers[i].word))
            fail_msg("%s: the error is '%s'", bad_headers[i].header, us_error_text());
        assert_null(file);
        assert_int_equal(memory.live, live);
    }
}

static void bad_lengths(void **state) {
    static const struct {
        unsigned char head[8];
        size_t size;
        const char *word;
    } cases[] = {{{0}, 0, "too few"},
                 {{2}, 7, "too few"},
                 {{2}, 8, "behind the end of the file"},
                 {{2}, 9, "behind the end of the file"},
                 {{0}, 8, "does not begin"},
                 {{0, 0, 0, 0, 1}, 20, "100,000,000"},
                 {{1, 0xe1, 0xf5, 5}, 20, "100,000,000"},                               /* one too many */
                 {{0, 0xe1, 0xf5, 5}, 20, "behind the end of the file"},                /* the longest there may be */
                 {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 20, "100,000,000"}, /* 8 + length overflows */
                 {{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 20, "100,000,000"},
                 {{'P', 'K', 3, 4, 20, 0, 0, 8}, 20, "not a safetensors file"}};
    char data[32];
    struct us_st_file *file;
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(cases); i++) {
        memset(data, 0, sizeof data);
        memcpy(data, cases[i].head, 8);
        memcpy(data + 8, "{}", 2);
        assert_int_equal(parse_copy(&file, data, cases[i].size), UNETSTAR_EFORMAT);
        assert_text(cases[i].word);
        assert_null(file);
    }
    memset(data, 0, sizeof data); /* a 0 byte in a name */
    data[0] = 7;
    memcpy(data + 8, "{\"a\0b\"}", 7);
    assert_int_equal(parse_copy(&file, data, 15), UNETSTAR_EFORMAT);
    assert_text("control character");
}

static void nested_too_deeply(void **state) {
    char data[4096], header[2048];
    struct us_st_file *file;
    size_t size;
    (void)state;
    memset(header, '[', sizeof header);
    memcpy(header, "{\"a\":{\"shape\":", 14);
    size = build(data, header, sizeof header, 0);
    assert_int_equal(parse_copy(&file, data, size), UNETSTAR_EFORMAT);
    assert_text("unsigned integer");
}

static const struct {
    const char *header;
    size_t data_size;
    int64_t n_tensors;
} good_headers[] = {
    {"{}", 0, 0},
    {"{}   \n\t\r", 0, 0},
    {"{ \"__metadata__\" : { } }", 0, 0},
    {"{\n  \"a\" : { \"shape\" : [ 1 ] , \"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"F32\" }\n}", 4, 1},
    {"{" F32("b", "[1]", "[4,8]") "," F32("a", "[1]", "[0,4]") "}", 8, 2},
    {"{" F32("b", "[0]", "[4,4]") "," F32("a", "[1]", "[0,4]") "," F32("c", "[2,0]", "[4,4]") "}", 4, 3},
    {"{" F32("", "[1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, 1},
    {"{\"a\":{\"dtype\":\"NEW\",\"shape\":[77],\"data_offsets\":[0,5]}}", 5, 1},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, 1},
    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]}}", 6, 1},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, 1},
    {"{\"\xf0\x9f\x91\x81\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, 1}};

static void good_files(void **state) {
    char data[4096];
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(good_headers); i++) {
        struct us_st_file *file;
        const size_t size =
            build(data, good_headers[i].header, strlen(good_headers[i].header), good_headers[i].data_size);
        if (parse_copy(&file, data, size))
            fail_msg("%s: %s", good_headers[i].header, us_error_text());
        assert_int_equal(file->n_tensors, good_headers[i].n_tensors);
        if (i >= 7)
            assert_int_equal(file->tensors[0].dtype, -1);
        us_st_close(file);
    }
}

static void escapes(void **state) {
    static const char header[] =
        "{\"__metadata__\":{\"\\\"\\\\\\/\\b\\f\\n\\r\\t\":\"\\u0041\\u00e9\\u20AC\\uD83d\\uDE00\"}}";
    char data[256];
    struct us_st_file *file;
    (void)state;
    assert_int_equal(parse_copy(&file, data, build(data, header, sizeof header - 1, 0)), 0);
    assert_string_equal(us_st_meta_get(file, "\"\\/\b\f\n\r\t"), "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    us_st_close(file);
}

/* ---- safetensors: many tensors, lack of memory, a real save ---- */

#define MANY 20000

static int write_file(void *user, const void *data, size_t size) {
    return fwrite(data, 1, size, (FILE *)user) != size;
}

static void many_tensors(void **state) {
    struct us_st_tensor *tensors = (struct us_st_tensor *)malloc(MANY * sizeof *tensors);
    char(*names)[24] = (char(*)[24])malloc(MANY * sizeof *names);
    FILE *out = fopen(path, "wb");
    double start = us_clock();
    struct us_st_file *file;
    void *data;
    size_t size;
    int i;
    (void)state;
    assert_non_null(tensors);
    assert_non_null(names);
    assert_non_null(out);
    for (i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "block.%d.weight", i * 7919 % MANY);
        tensors[i] = tensor(names[i], i % 3, 1, 1, 0, &counter, us_dtype_size(i % 3));
    }
    assert_int_equal(us_st_write(ctx, tensors, MANY, NULL, 0, write_file, out), 0);
    fclose(out);
    assert_int_equal(us_file_read(ctx, path, &data, &size), 0);
    assert_int_equal(us_st_parse(&file, ctx, data, size), 0);
    for (i = 0; i < MANY; i++) {
        const struct us_st_tensor *t = us_st_find(file, names[i]);
        assert_non_null(t);
        assert_int_equal(t->dtype, i % 3);
        assert_memory_equal(t->data, &counter, t->bytes);
    }
    assert_true(us_clock() - start < 5);
    us_st_close(file);
    us_free(ctx, data);
    free(tensors);
    free(names);
}

static void tensors_without_memory(void **state) {
    static struct us_st_tensor tensors[70]; /* more than the first table holds */
    static char names[70][8];
    struct us_st_meta meta[1] = {{"key", "value"}};
    struct us_st_file *file = NULL;
    int result = UNETSTAR_ENOMEM, i;
    long n, live = memory.live;
    (void)state;
    for (i = 0; i < 70; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        tensors[i] = tensor(names[i], UNETSTAR_FLOAT32, 2, 2, 3, weights, 24);
    }
    for (n = 1; result == UNETSTAR_ENOMEM && n < 50; n++) {
        sink_clear();
        memory.fail_at = memory.calls + n;
        result = us_st_write(ctx, tensors, 70, meta, 1, write_sink, &sink);
        assert_int_equal(memory.live, live);
    }
    assert_int_equal(result, 0);
    assert_in_range(n, 4, 10);
    result = UNETSTAR_ENOMEM;
    for (n = 1; result == UNETSTAR_ENOMEM && n < 50; n++) {
        memory.fail_at = memory.calls + n;
        result = us_st_parse(&file, ctx, sink.data, sink.size);
        if (result) {
            assert_null(file);
            assert_int_equal(memory.live, live);
        }
    }
    assert_int_equal(result, 0);
    assert_in_range(n, 6, 12);
    us_st_close(file);
    memory.fail_at = 0;
}

static int produce_tensors(void *arg, unetstar_write_fn write_fn, void *user) {
    return us_st_write(ctx, (const struct us_st_tensor *)arg, 1, NULL, 0, write_fn, user);
}

static void saved_and_read(void **state) {
    struct us_st_tensor t = tensor("w", UNETSTAR_FLOAT32, 2, 2, 3, weights, 24);
    struct us_st_file *file;
    void *data;
    size_t size;
    (void)state;
    assert_int_equal(us_file_write_atomic(ctx, path, produce_tensors, &t), 0);
    t.bytes = 3;
    assert_int_equal(us_file_write_atomic(ctx, path, produce_tensors, &t), UNETSTAR_EINVAL);
    assert_text("'w' cannot be written");
    assert_int_equal(us_file_read(ctx, path, &data, &size), 0);
    assert_int_equal(us_st_parse(&file, ctx, data, size), 0);
    assert_memory_equal(us_st_find(file, "w")->data, weights, 24);
    us_st_close(file);
    us_free(ctx, data);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(written_bytes),
                                       TEST(nothing_to_write),
                                       TEST(writer_refuses),
                                       TEST(bad_files),
                                       TEST(bad_lengths),
                                       TEST(nested_too_deeply),
                                       TEST(good_files),
                                       TEST(escapes),
                                       TEST(many_tensors),
                                       TEST(tensors_without_memory),
                                       TEST(saved_and_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
