/* json.h - writes a JSON file, indented, complete or not at all. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdint.h>
#include <stdio.h>

#include "common/problem.h"

struct json {
    FILE *file; /* NULL: nothing is written */
    char *path, *temporary;
    int depth, empty;
};

/* Whether the file could be written, before the work is done; path NULL: yes. */
int json_check(const char *path, struct problem *problem);
/* path NULL: every call below does nothing. */
int json_open(struct json *json, const char *path, struct problem *problem);
int json_close(struct json *json, struct problem *problem);

/* key NULL: inside an array. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_end_array(struct json *json);
void json_text(struct json *json, const char *key, const char *value);
void json_integer(struct json *json, const char *key, int64_t value);
void json_number(struct json *json, const char *key, double value); /* not finite: null */

#endif
