/*
 * golden_file.c - see golden_file.h.
 */
#include "golden_file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = "USGOLD1\n";

typedef struct reader {
    const uint8_t *at, *end;
    int failed;
} reader;

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static uint64_t take(reader *r, int bytes) {
    uint64_t value = 0;

    if (r->end - r->at < bytes) {
        r->failed = 1;
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)*r->at++ << 8 * i;
    return value;
}

static float take_float(reader *r) {
    const uint32_t bits = (uint32_t)take(r, 4);
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static double take_double(reader *r) {
    const uint64_t bits = take(r, 8);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

double golden_uniform(uint32_t seed, uint32_t i) {
    uint32_t x = i * UINT32_C(0x9E3779B1) + seed * UINT32_C(0x85EBCA77);

    x ^= x >> 16;
    x *= UINT32_C(0x7FEB352D);
    x ^= x >> 15;
    x *= UINT32_C(0x846CA68B);
    x ^= x >> 16;
    return (x >> 8) * 0x1p-24;
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static size_t element_size(int kind) {
    switch (kind) {
    case GOLDEN_U8:
    case GOLDEN_TEXT:
        return 1;
    case GOLDEN_I64:
    case GOLDEN_F64:
        return 8;
    default:
        return 4;
    }
}

static void take_element(reader *r, golden_tensor *t, int64_t i) {
    switch (t->kind) {
    case GOLDEN_U8:
    case GOLDEN_TEXT:
        ((uint8_t *)t->data)[i] = (uint8_t)take(r, 1);
        break;
    case GOLDEN_I64:
        ((int64_t *)t->data)[i] = (int64_t)take(r, 8);
        break;
    case GOLDEN_F64:
        ((double *)t->data)[i] = take_double(r);
        break;
    default:
        ((float *)t->data)[i] = take_float(r);
        break;
    }
}

/* low and span are float32 and u has 24 bits, so the product is exact: contraction to fma changes nothing. */
static void expand(reader *r, golden_tensor *t) {
    const uint32_t seed = (uint32_t)take(r, 4);
    const double low = take_float(r), span = take_float(r);

    for (int64_t i = 0; i < t->count; i++)
        ((float *)t->data)[i] = (float)(low + span * golden_uniform(seed, (uint32_t)i));
}

static int take_shape(reader *r, golden_tensor *t) {
    t->kind = (int)take(r, 1);
    t->ndim = (int)take(r, 1);
    if (r->failed || t->kind > GOLDEN_SAMPLE || t->ndim > 8)
        return 1;
    t->count = 1;
    for (int i = 0; i < t->ndim; i++) {
        t->dims[i] = (int64_t)take(r, 4);
        if (t->dims[i] > INT64_C(1) << 24)
            return 1;
        t->count *= t->dims[i];
        if (t->count > INT64_C(1) << 26)
            return 1;
    }
    return r->failed;
}

static int take_record(reader *r, golden_tensor *t) {
    const size_t length = (size_t)take(r, 2);

    if (r->failed || (size_t)(r->end - r->at) < length || (t->name = malloc(length + 1)) == NULL)
        return 1;
    memcpy(t->name, r->at, length);
    t->name[length] = 0;
    r->at += length;
    if (take_shape(r, t))
        return 1;
    t->stride = t->kind == GOLDEN_SAMPLE ? (int64_t)take(r, 4) : 1;
    if (t->stride < 1)
        return 1;
    if (t->kind == GOLDEN_SAMPLE) {
        t->projection = take_double(r);
        t->max_abs = take_double(r);
    }
    t->stored = (t->count + t->stride - 1) / t->stride;
    t->data = calloc((size_t)t->stored + 1, element_size(t->kind));
    if (t->data == NULL)
        return 1;
    if (t->kind == GOLDEN_FILL)
        expand(r, t);
    else
        for (int64_t i = 0; i < t->stored && !r->failed; i++)
            take_element(r, t, i);
    return r->failed;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static uint8_t *read_whole(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long length = -1;

    if (f == NULL)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (length = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)length + 1);
    if (bytes != NULL && fread(bytes, 1, (size_t)length, f) != (size_t)length) {
        free(bytes);
        bytes = NULL;
    }
    fclose(f);
    *size = (size_t)length;
    return bytes;
}

static golden_file *parse(reader *r) {
    golden_file *file = calloc(1, sizeof *file);
    size_t count;

    if (file == NULL)
        return NULL;
    count = (size_t)take(r, 4);
    if (r->failed || count > 100000 || (file->tensors = calloc(count + 1, sizeof *file->tensors)) == NULL) {
        free(file);
        return NULL;
    }
    for (file->count = 0; file->count < count; file->count++)
        if (take_record(r, &file->tensors[file->count])) {
            file->count++; /* what was allocated of it goes too */
            golden_close(file);
            return NULL;
        }
    if (r->at != r->end) {
        golden_close(file);
        return NULL;
    }
    return file;
}

golden_file *golden_open(const char *path, char *error, size_t error_size) {
    size_t size = 0;
    uint8_t *bytes = read_whole(path, &size);
    golden_file *file = NULL;
    reader r;

    if (bytes == NULL) {
        snprintf(error, error_size, "%s cannot be read", path);
        return NULL;
    }
    if (size > sizeof magic - 1 && memcmp(bytes, magic, sizeof magic - 1) == 0) {
        r.at = bytes + sizeof magic - 1;
        r.end = bytes + size;
        r.failed = 0;
        file = parse(&r);
    }
    if (file == NULL)
        snprintf(error, error_size, "%s is damaged", path);
    free(bytes);
    return file;
}

void golden_close(golden_file *file) {
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->count; i++) {
        free(file->tensors[i].name);
        free(file->tensors[i].data);
    }
    free(file->tensors);
    free(file);
}

const golden_tensor *golden_find(const golden_file *file, const char *format, ...) {
    char name[256];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

int golden_line(const golden_tensor *text, int i, char *line, size_t size) {
    const char *at = text->data, *end;

    for (; i > 0; i--) {
        at = strchr(at, '\n');
        if (at == NULL)
            return 0;
        at++;
    }
    end = strchr(at, '\n');
    if (end == NULL || (size_t)(end - at) >= size)
        return 0;
    memcpy(line, at, (size_t)(end - at));
    line[end - at] = 0;
    return 1;
}

int golden_word(const golden_tensor *text, const char *key, char *word, size_t size) {
    const size_t length = strlen(key);
    char line[256];

    for (int i = 0; golden_line(text, i, line, sizeof line); i++)
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            snprintf(word, size, "%s", line + length + 1);
            return 0;
        }
    return 1;
}

int golden_number(const golden_tensor *text, const char *key, double *value) {
    char word[128], *end;

    if (golden_word(text, key, word, sizeof word))
        return 1;
    *value = strtod(word, &end);
    return end == word || *end != 0;
}

/* ---- Comparison -------------------------------------------------------------------------------------------------- */

static double note(double error, double tolerance, const char *what, golden_worst *worst) {
    if (isnan(error))
        error = HUGE_VAL;
    if (worst != NULL && error > worst->error) {
        worst->error = error;
        snprintf(worst->where, sizeof worst->where, "%s", what);
    }
    if (error > tolerance)
        printf("    %s: error %.3g, allowed %.3g\n", what, error, tolerance);
    return error;
}

/* Errors of the elements may add up in the projection, and do so like a random walk. */
static double projection_error(const golden_tensor *want, const float *got, double scale) {
    double sum = 0;

    for (int64_t i = 0; i < want->count; i++)
        sum += got[i] * (2 * golden_uniform(7, (uint32_t)i) - 1);
    return fabs(sum - want->projection) / (scale * sqrt((double)want->count));
}

double golden_compare(const golden_tensor *want, const float *got, double tolerance, double floor, const char *what,
                      golden_worst *worst) {
    const float *values = want->data;
    double error = 0, scale = want->max_abs;
    int64_t at = 0;

    for (int64_t i = 0; i < want->stored; i++)
        if (want->kind != GOLDEN_SAMPLE && fabs((double)values[i]) > scale)
            scale = fabs((double)values[i]);
    scale = scale > floor ? scale : floor;
    scale = scale > 0 ? scale : 1;
    for (int64_t i = 0; i < want->stored; i++) {
        const double e = fabs((double)got[i * want->stride] - values[i]) / scale;
        if (!(e <= error)) {
            error = e;
            at = i;
        }
        if (isnan(e))
            break;
    }
    if (!(error <= tolerance))
        printf("    %s[%lld]: %.9g instead of %.9g, scale %.3g\n", what, (long long)(at * want->stride),
               (double)got[at * want->stride], (double)values[at], scale);
    if (want->kind == GOLDEN_SAMPLE) {
        const double e = projection_error(want, got, scale);
        if (!(e <= error)) {
            error = e;
            if (!(error <= tolerance))
                printf("    %s: the projection of all elements differs\n", what);
        }
    }
    return note(error, tolerance, what, worst);
}

double golden_compare_number(double want, double got, double tolerance, const char *what, golden_worst *worst) {
    if (isnan(want) && isnan(got))
        return 0;
    return note(fabs(got - want) / (fabs(want) > 1e-30 ? fabs(want) : 1), tolerance, what, worst);
}

double golden_compare_array(const double *want, const float *got, int64_t count, double tolerance, double scale,
                            const char *what, golden_worst *worst) {
    double error = 0;

    for (int64_t i = 0; i < count; i++) {
        const double e = fabs(got[i] - want[i]) / scale;
        if (!(e <= error))
            error = e;
        if (isnan(e))
            break;
    }
    return note(error, tolerance, what, worst);
}
