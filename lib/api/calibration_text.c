/* calibration_text.c - an 8-bit calibration in the metadata of a file: a key for every unit. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#define KEY "unetstar.int8."
#define NUMBERS 5 /* scale and zero of input and value, error */

static void unit_key(char key[64], const struct us_unit *u) {
    snprintf(key, 64, KEY "%s.%d", u->name, u->index);
}

int us_bundle_calibration(struct us_bundle *b, const struct us_net *net, const struct us_calibration *c) {
    int u, i, code = 0;
    for (u = 0; c && u < net->n_units && !code; u++) {
        char key[64], number[NUMBERS][US_NUMBER_SIZE], value[NUMBERS * (US_NUMBER_SIZE + 1)];
        const double numbers[NUMBERS] = {(double)c->input[u].scale, c->input[u].zero, (double)c->value[u].scale,
                                         c->value[u].zero, (double)c->error[u]};
        for (i = 0; i < NUMBERS; i++)
            us_number_format(number[i], numbers[i]);
        snprintf(value, sizeof value, "%s %s %s %s %s", number[0], number[1], number[2], number[3], number[4]);
        unit_key(key, &net->units[u]);
        code = us_bundle_meta(b, key, value);
    }
    return code;
}

static int parse_numbers(double out[NUMBERS], const char *text) {
    int i;
    for (i = 0; i < NUMBERS; i++) {
        const size_t length = strcspn(text, " ");
        if (us_number_parse(text, length, &out[i]) || (text[length] != 0) != (i < NUMBERS - 1))
            return -1;
        text += length + 1;
    }
    return 0;
}

/* A zero point beyond its range stays beyond it. */
static struct us_quant quant_from(double scale, double zero) {
    struct us_quant q = {0, 0, 0};
    q.scale = scale >= 0 && scale < 1e38 ? (float)scale : -1;
    q.inverse = q.scale > 0 ? 1.0f / q.scale : 0;
    q.zero = zero >= 0 && zero <= 255 && zero == (double)(int)zero ? (int)zero : -1;
    return q;
}

int us_read_calibration(const struct us_st_file *file, unetstar_model *model) {
    const struct us_net *net = model->net;
    struct us_calibration *c;
    int64_t i;
    int u, code = 0, found = 0;
    for (i = 0; i < file->n_meta; i++)
        found |= !strncmp(file->meta[i].key, KEY, strlen(KEY));
    if (!found)
        return 0;
    c = (struct us_calibration *)us_alloc_zero(model->ctx, sizeof *c);
    if (!c)
        return UNETSTAR_ENOMEM;
    for (u = 0; u < net->n_units && !code; u++) {
        double numbers[NUMBERS];
        char key[64];
        const char *text;
        unit_key(key, &net->units[u]);
        text = us_st_meta_get(file, key);
        if (!text || parse_numbers(numbers, text)) {
            code = us_fail(UNETSTAR_EFORMAT, "metadata %s is %s", key, text ? "not five numbers" : "missing");
            break;
        }
        c->input[u] = quant_from(numbers[0], numbers[1]);
        c->value[u] = quant_from(numbers[2], numbers[3]);
        c->error[u] = (float)numbers[4];
    }
    code = code ? code : us_calibration_check(c, net);
    if (code)
        us_free(model->ctx, c);
    else
        us_model_set_calibration(model, c);
    return code;
}
