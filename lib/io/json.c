/* json.c - a pull parser for objects, arrays, strings and unsigned integers (RFC 8259), strict about everything. */
#include "io/io_internal.h"

#include <string.h>

/* ---- UTF-8 ---- */

/* Shortest forms only, no surrogates, nothing above U+10FFFF. */
int us_utf8_length(const char *text, size_t size) {
    const unsigned char *c = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xbf;
    int length, i;
    if (size == 0)
        return 0;
    if (c[0] < 0x80)
        return 1;
    if (c[0] < 0xc2 || c[0] > 0xf4)
        return 0;
    length = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if ((size_t)length > size)
        return 0;
    if (c[0] == 0xe0)
        low = 0xa0;
    if (c[0] == 0xed)
        high = 0x9f;
    if (c[0] == 0xf0)
        low = 0x90;
    if (c[0] == 0xf4)
        high = 0x8f;
    if (c[1] < low || c[1] > high)
        return 0;
    for (i = 2; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static size_t utf8_encode(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

const char *us_printable(char out[US_NAME_SIZE], const char *name) {
    size_t left = strlen(name), used = 0;
    while (left) {
        int length = us_utf8_length(name, left);
        const int plain = length > 1 || (length == 1 && (unsigned char)*name >= 0x20 && *name != 0x7f);
        length = US_MAX(length, 1);
        if (used + (size_t)length > US_NAME_SIZE - 4) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain)
            memcpy(out + used, name, (size_t)length);
        else
            memset(out + used, '?', (size_t)length);
        used += (size_t)length;
        name += length;
        left -= (size_t)length;
    }
    out[used] = 0;
    return out;
}

/* ---- The parser ---- */

static int refuse(const struct us_json *json, const char *what) {
    return us_fail(UNETSTAR_EFORMAT, "JSON, byte %llu: %s", (unsigned long long)json->at, what);
}

static void skip_space(struct us_json *json) {
    while (json->at < json->size && json->text[json->at] && strchr(" \t\n\r", json->text[json->at]))
        json->at++;
}

/* The next character that is not white space, or 0 at the end; a 0 in the text is never one that is expected. */
static char peek(struct us_json *json) {
    skip_space(json);
    return json->at < json->size ? json->text[json->at] : 0;
}

/* A string of k bytes takes k + 2 in the text and k + 1 here. */
size_t us_json_strings_size(size_t size) {
    return size;
}

int us_json_begin(struct us_json *json, const char *text, size_t size, char *strings) {
    memset(json, 0, sizeof *json);
    json->text = text;
    json->size = size;
    json->strings = strings;
    while (json->at < size) {
        int length = us_utf8_length(text + json->at, size - json->at);
        if (!length)
            return refuse(json, "not valid UTF-8");
        json->at += (size_t)length;
    }
    json->at = 0;
    return 0;
}

int us_json_end(struct us_json *json) {
    skip_space(json);
    return json->at == json->size ? 0 : refuse(json, "something follows the end");
}

static int open_bracket(struct us_json *json, char bracket, const char *what) {
    if (peek(json) != bracket)
        return refuse(json, what);
    if (json->depth == US_JSON_DEPTH)
        return refuse(json, "nested too deeply");
    json->at++;
    json->fresh[json->depth++] = 1;
    return 0;
}

int us_json_object(struct us_json *json) {
    return open_bracket(json, '{', "an object was expected");
}

int us_json_array(struct us_json *json) {
    return open_bracket(json, '[', "an array was expected");
}

/* Behind an opening bracket or a value: the closing bracket, or (a comma and) something more. */
static int next_item(struct us_json *json, char bracket, int *more) {
    const char c = peek(json);
    unsigned char *fresh = &json->fresh[json->depth - 1];
    if (c == bracket) {
        json->at++;
        json->depth--;
        *more = 0;
        return 0;
    }
    if (!*fresh) {
        if (c != ',')
            return refuse(json, bracket == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
        json->at++;
    }
    *fresh = 0;
    *more = 1;
    return 0;
}

int us_json_next_element(struct us_json *json, int *more) {
    return next_item(json, ']', more);
}

int us_json_next_key(struct us_json *json, int *more, const char **key) {
    int error = next_item(json, '}', more);
    if (error || !*more)
        return error;
    error = us_json_string(json, key);
    if (error)
        return error;
    if (peek(json) != ':')
        return refuse(json, "':' was expected");
    json->at++;
    return 0;
}

int us_json_unsigned(struct us_json *json, uint64_t *value) {
    char c = peek(json);
    uint64_t sum = 0;
    const size_t start = json->at;
    if (c < '0' || c > '9')
        return refuse(json, "an unsigned integer was expected");
    while (json->at < json->size && (c = json->text[json->at]) >= '0' && c <= '9') {
        const uint64_t digit = (uint64_t)(c - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return refuse(json, "the integer does not fit in 64 bits");
        sum = sum * 10 + digit;
        json->at++;
    }
    if (json->text[start] == '0' && json->at - start > 1)
        return refuse(json, "the integer begins with 0");
    if (json->at < json->size && (c == '.' || c == 'e' || c == 'E'))
        return refuse(json, "an unsigned integer was expected");
    *value = sum;
    return 0;
}

/* ---- Strings ---- */

static int hex4(struct us_json *json, uint32_t *code) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    uint32_t sum = 0;
    int i;
    for (i = 0; i < 4; i++) {
        const char c = json->at < json->size ? json->text[json->at] : 0;
        const char *at = c ? strchr(digits, c) : NULL;
        if (!at)
            return refuse(json, "four hexadecimal digits were expected behind \\u");
        sum = sum << 4 | (uint32_t)((at - digits) % 16);
        json->at++;
    }
    *code = sum;
    return 0;
}

/* Behind \u: one code unit, or the two of a surrogate pair. */
static int unicode_escape(struct us_json *json, uint32_t *code) {
    uint32_t low = 0;
    int error = hex4(json, code);
    if (error)
        return error;
    if (*code == 0)
        return refuse(json, "a string contains the character 0");
    if (*code < 0xd800 || *code > 0xdfff)
        return 0;
    if (*code > 0xdbff || json->size - json->at < 2 || memcmp(json->text + json->at, "\\u", 2) != 0)
        return refuse(json, "half of a surrogate pair");
    json->at += 2;
    error = hex4(json, &low);
    if (error)
        return error;
    if (low < 0xdc00 || low > 0xdfff)
        return refuse(json, "half of a surrogate pair");
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

/* Behind the backslash. */
static int escape(struct us_json *json, uint32_t *code) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char c = json->at < json->size ? json->text[json->at] : 0;
    const char *at = c ? strchr(names, c) : NULL;
    if (c != 'u' && !at)
        return refuse(json, "unknown escape");
    json->at++;
    if (!at)
        return unicode_escape(json, code);
    *code = (unsigned char)values[at - names];
    return 0;
}

int us_json_string(struct us_json *json, const char **string) {
    if (peek(json) != '"')
        return refuse(json, "a string was expected");
    *string = json->strings + json->used;
    for (json->at++; json->at < json->size;) {
        const char c = json->text[json->at];
        if ((unsigned char)c < 0x20)
            return refuse(json, "a control character in a string");
        json->at++;
        if (c == '"') {
            json->strings[json->used++] = 0;
            return 0;
        }
        if (c == '\\') {
            uint32_t code = 0;
            int error = escape(json, &code);
            if (error)
                return error;
            json->used += utf8_encode(json->strings + json->used, code);
        } else {
            json->strings[json->used++] = c;
        }
    }
    return refuse(json, "a string does not end");
}
