/* fields.c - options and state as text, so that a file says in words what made it. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

static const char *const fusion_words[] = {"sum", "star", "concat", NULL};
static const char *const activation_words[] = {"none", "relu", "leaky_relu", "relu6", "silu", "gelu", NULL};
static const char *const norm_words[] = {"batch", "instance", "group", "none", NULL};
static const char *const upsampling_words[] = {"nearest", "bilinear", "transposed", NULL};
static const char *const precision_words[] = {"fast", "exact", "int8", NULL};

static const char *const block_words[] = {"double_conv", "star", "star_depthwise", NULL};
static const char *const initialization_words[] = {"pytorch", "he", NULL};

#define F(type, structure, field, words) {#field, type, offsetof(structure, field), words, NULL}
#define END {NULL, 0, 0, NULL, NULL}

#define M struct us_net_options
const struct us_field us_model_fields[] = {F('d', M, narrow, NULL),
                                           F('d', M, channel_multiplier, NULL),
                                           F('d', M, dropout, NULL),
                                           F('u', M, seed, NULL),
                                           F('i', M, in_channels, NULL),
                                           F('i', M, classes, NULL),
                                           F('i', M, levels, NULL),
                                           F('i', M, fusion, fusion_words),
                                           F('i', M, activation, activation_words),
                                           F('i', M, norm, norm_words),
                                           F('i', M, upsampling, upsampling_words),
                                           F('i', M, full_resolution_head, NULL),
                                           F('i', M, deep_supervision, NULL),
                                           F('i', M, norm_groups, NULL),
                                           F('i', M, precision, precision_words),
                                           F('f', M, leaky_slope, NULL),
                                           {"block", 'i', offsetof(M, block), block_words, "double_conv"},
                                           {"block_expansion", 'i', offsetof(M, block_expansion), NULL, "3"},
                                           {"fusion_norm", 'i', offsetof(M, fusion_norm), NULL, "0"},
                                           {"initialization", 'i', offsetof(M, initialization), initialization_words, "pytorch"},
                                           END};

static int words_count(const char *const *words) {
    int n = 0;
    while (words[n])
        n++;
    return n;
}

void us_field_format(const struct us_field *field, const void *object, char out[US_FIELD_TEXT]) {
    const char *at = (const char *)object + field->offset;
    int32_t i;
    int64_t l;
    uint64_t u;
    double d;
    float f;
    switch (field->type) {
    case 'i':
        memcpy(&i, at, sizeof i);
        if (field->words && i >= 0 && i < words_count(field->words))
            snprintf(out, US_FIELD_TEXT, "%s", field->words[i]);
        else
            snprintf(out, US_FIELD_TEXT, "%d", (int)i);
        break;
    case 'l':
        memcpy(&l, at, sizeof l);
        snprintf(out, US_FIELD_TEXT, "%lld", (long long)l);
        break;
    case 'u':
        memcpy(&u, at, sizeof u);
        snprintf(out, US_FIELD_TEXT, "%llu", (unsigned long long)u);
        break;
    case 'd':
        memcpy(&d, at, sizeof d);
        us_number_format(out, d);
        break;
    default:
        memcpy(&f, at, sizeof f);
        us_number_format(out, (double)f);
        break;
    }
}

static int parse_unsigned(const char *text, uint64_t *value) {
    uint64_t v = 0;
    if (!*text)
        return -1;
    for (; *text; text++) {
        const unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return -1;
        v = v * 10 + digit;
    }
    *value = v;
    return 0;
}

static int parse_int32(const struct us_field *field, const char *text, int32_t *value) {
    int64_t l;
    int k;
    for (k = 0; field->words && field->words[k]; k++)
        if (!strcmp(field->words[k], text)) {
            *value = k;
            return 0;
        }
    if (field->words || us_integer_parse(text, strlen(text), &l) || l < INT32_MIN || l > INT32_MAX)
        return -1;
    *value = (int32_t)l;
    return 0;
}

int us_field_parse(const struct us_field *field, void *object, const char *text) {
    char *at = (char *)object + field->offset;
    int32_t i;
    int64_t l;
    uint64_t u;
    double d;
    float f;
    int bad;
    switch (field->type) {
    case 'i':
        if (!(bad = parse_int32(field, text, &i)))
            memcpy(at, &i, sizeof i);
        break;
    case 'l':
        if (!(bad = us_integer_parse(text, strlen(text), &l)))
            memcpy(at, &l, sizeof l);
        break;
    case 'u':
        if (!(bad = parse_unsigned(text, &u)))
            memcpy(at, &u, sizeof u);
        break;
    default:
        if (!(bad = us_number_parse(text, strlen(text), &d))) {
            f = (float)d;
            if (field->type == 'd')
                memcpy(at, &d, sizeof d);
            else
                memcpy(at, &f, sizeof f);
        }
        break;
    }
    return bad ? us_fail(UNETSTAR_EFORMAT, "%s has the value '%.40s', which cannot be read", field->name, text) : 0;
}
