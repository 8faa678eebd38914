/* prep_text.c - preprocessing options as the text that weights files carry. */
#include "data/data.h"

#include <string.h>

static const char *const color_names[3] = {"gray", "green", "rgb"};

/* A float as the shortest decimal of at most nine places that reads back as it, else as the double it is. */
static void float_format(char out[US_NUMBER_SIZE], float value) {
    double power = 1.0;
    int digits;
    for (digits = 0; digits <= 9; digits++, power *= 10.0) {
        double decimal = us_round((double)value * power) / power;
        if ((float)decimal == value) {
            us_number_format(out, decimal);
            return;
        }
    }
    us_number_format(out, (double)value);
}

/* Appends text at *length; the buffer is large enough for every prep that us_prep_check lets through. */
static void append(char *out, size_t *length, const char *text) {
    size_t n = US_MIN(strlen(text), (size_t)US_PREP_TEXT - 1 - *length);
    memcpy(out + *length, text, n);
    *length += n;
    out[*length] = 0;
}

void us_prep_format(char out[US_PREP_TEXT], const struct us_prep *prep) {
    char number[US_NUMBER_SIZE];
    size_t length = 0;
    append(out, &length, "color=");
    append(out, &length, color_names[prep->color]);
    append(out, &length, " min_max=");
    us_number_format(number, prep->min_max);
    append(out, &length, number);
    append(out, &length, " clahe_tiles=");
    us_number_format(number, prep->clahe_tiles);
    append(out, &length, number);
    append(out, &length, " clahe_clip=");
    float_format(number, prep->clahe_clip);
    append(out, &length, number);
    append(out, &length, " gamma=");
    float_format(number, prep->gamma);
    append(out, &length, number);
    append(out, &length, " standardize=");
    us_number_format(number, prep->standardize);
    append(out, &length, number);
}

/* Takes "name=" off the front of *text and gives the value that follows, up to a space or the end. */
static int take_value(const char **text, const char *name, const char **value, size_t *size) {
    size_t length = strlen(name);
    if (strncmp(*text, name, length) || (*text)[length] != '=')
        return us_fail(UNETSTAR_EFORMAT, "preprocessing: '%s=' was expected at '%.40s'", name, *text);
    *value = *text + length + 1;
    *size = strcspn(*value, " ");
    *text = *value + *size;
    *text += **text == ' ';
    return 0;
}

static int take_integer(const char **text, const char *name, int32_t *out) {
    const char *value = "";
    size_t size = 0;
    int64_t number = 0;
    if (take_value(text, name, &value, &size))
        return UNETSTAR_EFORMAT;
    if (us_integer_parse(value, size, &number) || number < 0 || number > 1000)
        return us_fail(UNETSTAR_EFORMAT, "preprocessing: %s has the value '%.40s'", name, value);
    *out = (int32_t)number;
    return 0;
}

static int take_float(const char **text, const char *name, float *out) {
    const char *value = "";
    size_t size = 0;
    double number = 0;
    if (take_value(text, name, &value, &size))
        return UNETSTAR_EFORMAT;
    if (us_number_parse(value, size, &number) || !(number >= 0 && number <= 1e6))
        return us_fail(UNETSTAR_EFORMAT, "preprocessing: %s has the value '%.40s'", name, value);
    *out = (float)number;
    return 0;
}

static int take_color(const char **text, int32_t *out) {
    const char *value = "";
    size_t size = 0;
    int i;
    if (take_value(text, "color", &value, &size))
        return UNETSTAR_EFORMAT;
    for (i = 0; i < US_COUNT(color_names); i++)
        if (strlen(color_names[i]) == size && !memcmp(color_names[i], value, size)) {
            *out = i;
            return 0;
        }
    return us_fail(UNETSTAR_EFORMAT, "preprocessing: color has the value '%.40s'", value);
}

int us_prep_parse(const char *text, struct us_prep *prep) {
    struct us_prep p;
    memset(&p, 0, sizeof p);
    if (take_color(&text, &p.color) || take_integer(&text, "min_max", &p.min_max) ||
        take_integer(&text, "clahe_tiles", &p.clahe_tiles) || take_float(&text, "clahe_clip", &p.clahe_clip) ||
        take_float(&text, "gamma", &p.gamma) || take_integer(&text, "standardize", &p.standardize))
        return UNETSTAR_EFORMAT;
    if (*text)
        return us_fail(UNETSTAR_EFORMAT, "preprocessing: '%.40s' follows the last field", text);
    if (us_prep_check(&p)) {
        us_fail_in(UNETSTAR_EFORMAT, "preprocessing");
        return UNETSTAR_EFORMAT;
    }
    *prep = p;
    return 0;
}
