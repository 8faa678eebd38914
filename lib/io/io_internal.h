/*
 * io_internal.h - what the files of this room share: a pull parser for a subset of JSON, safetensors' types, a sort.
 */
#ifndef US_IO_INTERNAL_H
#define US_IO_INTERNAL_H

#include "io/io.h"

/* ---- Streams (stream.c) ---- */

#define US_IO_CHUNK ((size_t)1 << 30) /* of one read or write; some systems fail above 2^31 */
/* Everything read_some gives until its end. hint: the size that is expected, right or wrong; name: for errors. */
int us_read_all(us_context *ctx, unetstar_read_fn read_some, void *user, size_t hint, const char *name, void **data,
                size_t *size);
int us_too_large(const char *name); /* ELIMIT */

/* ---- JSON (json.c): objects, arrays, strings and unsigned integers; nothing else ---- */

/* The caller says what it expects next; anything else in the text is EFORMAT with the byte where it stands. Work and
 * memory are linear in the text, and nothing recurses. */
#define US_JSON_DEPTH 16

struct us_json {
    const char *text;
    size_t size, at;
    char *strings; /* decoded strings go here, one after another, each with a 0 behind it */
    size_t used;
    int depth;
    unsigned char fresh[US_JSON_DEPTH]; /* nothing has been read in this object or array yet */
};

/* strings must hold us_json_strings_size(size) bytes. EFORMAT when the text is not valid UTF-8. */
size_t us_json_strings_size(size_t size);
int us_json_begin(struct us_json *json, const char *text, size_t size, char *strings);
int us_json_end(struct us_json *json); /* only white space may be left */
int us_json_object(struct us_json *json);
int us_json_array(struct us_json *json);
/* Steps to the next member or element: *more is 0 behind the last, and the object or array is then closed. */
int us_json_next_key(struct us_json *json, int *more, const char **key);
int us_json_next_element(struct us_json *json, int *more);
/* Strings are 0-terminated UTF-8; one that contains \u0000 is refused. */
int us_json_string(struct us_json *json, const char **string);
int us_json_unsigned(struct us_json *json, uint64_t *value);

/* ---- safetensors ---- */

#define US_ST_HEADER_LIMIT ((size_t)100000000)
#define US_ST_METADATA "__metadata__"

/* Names from a file go into error texts cut to 60 bytes and without control characters. */
#define US_NAME_SIZE 64
const char *us_printable(char out[US_NAME_SIZE], const char *name);

/* ---- Sort (sort.c) ---- */

/* In place, without memory, n log n whatever the input (a file may choose it). Not stable. */
typedef int (*us_compare_fn)(const void *a, const void *b);
void us_heap_sort(void *items, size_t n, size_t item_size, us_compare_fn compare);

#endif
