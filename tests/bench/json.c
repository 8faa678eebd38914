#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int json_open(struct json *json, const char *path, struct problem *problem) {
    memset(json, 0, sizeof *json);
    if (!path)
        return 0;
    json->path = must_copy(path);
    json->temporary = must_format("%s.part", path);
    json->file = fopen(json->temporary, "w");
    if (!json->file)
        return problem_set(problem, "%s: %s", json->temporary, strerror(errno));
    fputc('{', json->file);
    json->depth = json->empty = 1;
    return 0;
}

int json_check(const char *path, struct problem *problem) {
    struct json json;
    int code = json_open(&json, path, problem);
    if (!code && path) {
        fclose(json.file);
        remove(json.temporary);
    }
    free(json.path);
    free(json.temporary);
    return code;
}

int json_close(struct json *json, struct problem *problem) {
    int failed = 0;
    if (!json->file)
        return 0;
    json_end_object(json);
    fputc('\n', json->file);
    failed = ferror(json->file);
    failed |= fclose(json->file);
    if (!failed)
        failed = rename(json->temporary, json->path);
    if (failed) {
        problem_set(problem, "%s: %s", json->path, strerror(errno));
        remove(json->temporary);
    }
    free(json->path);
    free(json->temporary);
    memset(json, 0, sizeof *json);
    return failed ? -1 : 0;
}

static void write_string(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else if ((unsigned char)*text < 32)
            fprintf(file, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            fputc(*text, file);
    fputc('"', file);
}

static void begin(struct json *json, const char *key) {
    fprintf(json->file, "%s\n%*s", json->empty ? "" : ",", 2 * json->depth, "");
    json->empty = 0;
    if (key) {
        write_string(json->file, key);
        fputs(": ", json->file);
    }
}

static void open_with(struct json *json, const char *key, char bracket) {
    if (!json->file)
        return;
    begin(json, key);
    fputc(bracket, json->file);
    json->depth++;
    json->empty = 1;
}

static void close_with(struct json *json, char bracket) {
    if (!json->file)
        return;
    json->depth--;
    if (!json->empty)
        fprintf(json->file, "\n%*s", 2 * json->depth, "");
    fputc(bracket, json->file);
    json->empty = 0;
}

void json_object(struct json *json, const char *key) {
    open_with(json, key, '{');
}

void json_array(struct json *json, const char *key) {
    open_with(json, key, '[');
}

void json_end_object(struct json *json) {
    close_with(json, '}');
}

void json_end_array(struct json *json) {
    close_with(json, ']');
}

void json_text(struct json *json, const char *key, const char *value) {
    if (!json->file)
        return;
    begin(json, key);
    write_string(json->file, value);
}

void json_integer(struct json *json, const char *key, int64_t value) {
    if (!json->file)
        return;
    begin(json, key);
    fprintf(json->file, "%lld", (long long)value);
}

void json_number(struct json *json, const char *key, double value) {
    if (!json->file)
        return;
    begin(json, key);
    if (isfinite(value))
        fprintf(json->file, "%.6g", value);
    else
        fputs("null", json->file);
}
