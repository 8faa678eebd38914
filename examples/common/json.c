#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Reading ---- */

enum { DEEPEST = 32 };
struct reader {
    const char *text, *at, *end;
    struct problem *problem;
};

static int wrong(const struct reader *reader, const char *what) {
    unsigned long line = 1;
    const char *c;
    for (c = reader->text; c < reader->at; c++)
        line += *c == '\n';
    return problem_set(reader->problem, "line %lu: %s", line, what);
}

static void skip_blanks(struct reader *reader) {
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at)
        reader->at++;
}

static int take(struct reader *reader, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(reader->end - reader->at) < n || memcmp(reader->at, word, n) != 0)
        return 0;
    reader->at += n;
    return 1;
}

static int hex4(const char *c, unsigned *value) {
    int i;
    *value = 0;
    for (i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *found;
        char d = (char)(c[i] >= 'A' && c[i] <= 'F' ? c[i] + 32 : c[i]);
        found = d ? strchr(digits, d) : NULL;
        if (!found)
            return -1;
        *value = *value * 16 + (unsigned)(found - digits);
    }
    return 0;
}

/* A character of the basic plane as UTF-8; halves of pairs become U+FFFD, as our writer never makes them. */
static char *put_utf8(char *out, unsigned c) {
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    if (c < 0x80)
        *out++ = (char)c;
    else if (c < 0x800) {
        *out++ = (char)(0xc0 | (c >> 6));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xe0 | (c >> 12));
        *out++ = (char)(0x80 | ((c >> 6) & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

static int read_text(struct reader *reader, char **text) {
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *close = ++reader->at;
    char *out;
    while (close < reader->end && *close != '"')
        close += *close == '\\' ? 2 : 1;
    if (close >= reader->end)
        return wrong(reader, "a text has no end");
    out = *text = must_allocate((size_t)(close - reader->at) + 1, 1); /* no escape is shorter than what it means */
    while (reader->at < close) {
        char c = *reader->at++;
        const char *found;
        unsigned code;
        if ((unsigned char)c < 32)
            return wrong(reader, "a control character in a text");
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        c = *reader->at++;
        found = c ? strchr(escapes, c) : NULL;
        if (found)
            *out++ = meanings[found - escapes];
        else if (c == 'u' && close - reader->at >= 4 && !hex4(reader->at, &code) && code) {
            out = put_utf8(out, code);
            reader->at += 4;
        } else
            return wrong(reader, "an unknown escape in a text");
    }
    reader->at = close + 1;
    return 0;
}

static int read_number(struct reader *reader, double *number) {
    char copy[64], *end;
    size_t n = 0;
    while (reader->at + n < reader->end && n < sizeof copy - 1 && reader->at[n] &&
           strchr("+-.0123456789eE", reader->at[n])) {
        copy[n] = reader->at[n];
        n++;
    }
    copy[n] = 0;
    *number = strtod(copy, &end);
    if (!n || *end || !isfinite(*number))
        return wrong(reader, "neither a value nor a number");
    reader->at += n;
    return 0;
}

static int read_value(struct reader *reader, struct json *json, int depth);

static int read_items(struct reader *reader, struct json *json, int depth) {
    int object = *reader->at == '{', result = 0;
    char close = (char)(object ? '}' : ']');
    size_t room = 0;
    json->kind = object ? JSON_OBJECT : JSON_LIST;
    reader->at++;
    skip_blanks(reader);
    if (reader->at < reader->end && *reader->at == close) {
        reader->at++;
        return 0;
    }
    while (!result) {
        struct json *item;
        if (json->count == room) {
            room = room ? 2 * room : 8;
            json->items = must_grow(json->items, room, sizeof *json->items);
        }
        item = &json->items[json->count++];
        memset(item, 0, sizeof *item);
        skip_blanks(reader);
        if (object) {
            if (reader->at >= reader->end || *reader->at != '"')
                return wrong(reader, "a member has no name");
            if (read_text(reader, &item->key))
                return -1;
            skip_blanks(reader);
            if (!take(reader, ":"))
                return wrong(reader, "a colon is missing");
        }
        result = read_value(reader, item, depth + 1);
        skip_blanks(reader);
        if (!result && !take(reader, ",")) {
            if (reader->at < reader->end && *reader->at == close) {
                reader->at++;
                return 0;
            }
            return wrong(reader, "a comma or the closing bracket is missing");
        }
    }
    return result;
}

static int read_value(struct reader *reader, struct json *json, int depth) {
    skip_blanks(reader);
    if (reader->at >= reader->end)
        return wrong(reader, "the text ends too early");
    if (depth > DEEPEST)
        return wrong(reader, "nested too deep");
    if (*reader->at == '{' || *reader->at == '[')
        return read_items(reader, json, depth);
    if (*reader->at == '"') {
        json->kind = JSON_TEXT;
        return read_text(reader, &json->text);
    }
    if (take(reader, "null"))
        return 0;
    if (take(reader, "true")) {
        json->kind = JSON_BOOL;
        json->number = 1;
        return 0;
    }
    if (take(reader, "false")) {
        json->kind = JSON_BOOL;
        return 0;
    }
    json->kind = JSON_NUMBER;
    return read_number(reader, &json->number);
}

int json_parse(struct json *json, const char *text, size_t size, struct problem *problem) {
    struct reader reader;
    int result;
    memset(json, 0, sizeof *json);
    reader.text = reader.at = text;
    reader.end = text + size;
    reader.problem = problem;
    result = read_value(&reader, json, 0);
    skip_blanks(&reader);
    if (!result && reader.at < reader.end)
        result = wrong(&reader, "more text after the value");
    if (result)
        json_free(json);
    return result;
}

void json_free(struct json *json) {
    size_t i;
    for (i = 0; i < json->count; i++)
        json_free(&json->items[i]);
    free(json->items);
    free(json->text);
    free(json->key);
    memset(json, 0, sizeof *json);
}

const struct json *json_get(const struct json *json, const char *key) {
    size_t i;
    for (i = 0; json && json->kind == JSON_OBJECT && i < json->count; i++)
        if (!strcmp(json->items[i].key, key))
            return &json->items[i];
    return NULL;
}

double json_number_of(const struct json *json, const char *key) {
    const struct json *member = json_get(json, key);
    return member && member->kind == JSON_NUMBER ? member->number : (double)NAN;
}

const char *json_text_of(const struct json *json, const char *key) {
    const struct json *member = json_get(json, key);
    return member && member->kind == JSON_TEXT ? member->text : NULL;
}

const struct json *json_list_of(const struct json *json, const char *key) {
    const struct json *member = json_get(json, key);
    return member && member->kind == JSON_LIST ? member : NULL;
}

/* ---- Writing ---- */

/* Bytes of the UTF-8 character that begins here, 0 when there is none: file names may hold anything. */
static int utf8_length(const unsigned char *c) {
    int i, n = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : 4;
    if ((n == 4 && (c[0] < 0xf0 || c[0] > 0xf4)) || (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    for (i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void json_write_text(FILE *stream, const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    fputc('"', stream);
    while (*c) {
        int n = utf8_length(c);
        if (*c == '"' || *c == '\\')
            fprintf(stream, "\\%c", *c);
        else if (*c < 32)
            fprintf(stream, "\\u%04x", *c);
        else if (!n)
            fputs("\\ufffd", stream);
        else
            fwrite(c, 1, (size_t)n, stream);
        c += n ? n : 1;
    }
    fputc('"', stream);
}

void json_write_number(FILE *stream, double value) {
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
    else
        fputs("null", stream);
}
