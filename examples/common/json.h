/* json.h - reads small JSON files into a tree, and writes texts and numbers as JSON has them. */
#ifndef EXAMPLES_JSON_H
#define EXAMPLES_JSON_H

#include <stddef.h>
#include <stdio.h>

#include "problem.h"

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };
struct json {
    enum json_kind kind;
    double number; /* of a number; 0 or 1 of a bool */
    char *text;    /* of a text */
    struct json *items;
    size_t count;
    char *key; /* within an object */
};

/* `size` bytes of text. On failure the sentence tells the line; there is nothing to free then. */
int json_parse(struct json *json, const char *text, size_t size, struct problem *problem);
void json_free(struct json *json);
/* A member of an object, NULL: json is none, or has none of that name. */
const struct json *json_get(const struct json *json, const char *key);
/* Values of a member, or what stands for a missing one: NaN (of null too), NULL. */
double json_number_of(const struct json *json, const char *key);
const char *json_text_of(const struct json *json, const char *key);
const struct json *json_list_of(const struct json *json, const char *key);

/* Bytes that are not UTF-8 become U+FFFD. */
void json_write_text(FILE *stream, const char *text);
/* Nine digits; null when not finite. */
void json_write_number(FILE *stream, double value);

#endif
