/*
 * prep.c - from an image to a network's input.
 *
 * The protocol of the original article passes through bytes: min-max gives values 0 .. 255 that are cut off to integers
 * (not rounded) before CLAHE, and the gamma table is cut off too. The same is done here whenever CLAHE or gamma is on.
 * With both off nothing is cut, and 16-bit pictures keep their depth.
 *
 * Gray is the integer 299 R + 587 G + 114 B until the last moment, so what is cut off never hangs on a rounding error.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

static const char *const color_names[3] = {"gray", "green", "rgb"};

void us_prep_default(struct us_prep *prep) {
    memset(prep, 0, sizeof *prep);
    prep->color = UNETSTAR_COLOR_GRAY;
    prep->min_max = 1;
    prep->clahe_tiles = 8;
    prep->clahe_clip = 2.0f;
    prep->gamma = 1.2f;
}

int us_prep_check(const struct us_prep *prep) {
    if (prep->color < UNETSTAR_COLOR_GRAY || prep->color > UNETSTAR_COLOR_RGB)
        return us_fail(UNETSTAR_EINVAL, "color %d is none of UNETSTAR_COLOR_*", (int)prep->color);
    if (prep->min_max != 0 && prep->min_max != 1)
        return us_fail(UNETSTAR_EINVAL, "min_max is %d; 0 or 1 are possible", (int)prep->min_max);
    if (prep->clahe_tiles < 0 || prep->clahe_tiles > 64)
        return us_fail(UNETSTAR_EINVAL, "clahe_tiles is %d, outside 0 .. 64", (int)prep->clahe_tiles);
    if (prep->standardize != 0 && prep->standardize != 1)
        return us_fail(UNETSTAR_EINVAL, "standardize is %d; 0 or 1 are possible", (int)prep->standardize);
    if (!(prep->clahe_clip > 0.0f && prep->clahe_clip <= 65536.0f))
        return us_fail(UNETSTAR_EINVAL, "clahe_clip must be above 0 and at most 65536");
    if (!(prep->gamma >= 0.01f && prep->gamma <= 100.0f))
        return us_fail(UNETSTAR_EINVAL, "gamma must be from 0.01 to 100");
    return 0;
}

int us_prep_channels(const struct us_prep *prep) {
    return prep->color == UNETSTAR_COLOR_RGB ? 3 : 1;
}

/* One channel of the input, as integers: unit is what 255 corresponds to (in the image's own depth). */
struct source {
    const struct us_image *image;
    int channel; /* -1: gray of three */
    double unit;
};

static void source_of(struct source *s, const struct us_image *image, int color, int channel) {
    s->image = image;
    s->unit = image->bits == 16 ? 65535.0 : 255.0;
    if (image->channels == 1)
        s->channel = 0;
    else if (color == UNETSTAR_COLOR_GRAY) {
        s->channel = -1;
        s->unit *= 1000.0;
    } else
        s->channel = color == UNETSTAR_COLOR_GREEN ? 1 : channel;
}

static int32_t source_at(const struct source *s, int64_t y, int64_t x) {
    if (s->channel >= 0)
        return us_image_sample(s->image, y, x, s->channel);
    return 299 * us_image_sample(s->image, y, x, 0) + 587 * us_image_sample(s->image, y, x, 1) +
           114 * us_image_sample(s->image, y, x, 2);
}

/* v = (s - low) / range is the channel as 0 .. 1. */
static void value_range(const struct source *s, int min_max, double *low, double *range) {
    int32_t least = INT32_MAX, most = INT32_MIN;
    int64_t y, x;
    *low = 0;
    *range = s->unit;
    if (!min_max)
        return;
    for (y = 0; y < s->image->height; y++)
        for (x = 0; x < s->image->width; x++) {
            int32_t v = source_at(s, y, x);
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
    *low = least;
    *range = most > least ? (double)most - least : 1.0; /* a uniform channel becomes 0 */
}

static void make_floats(const struct source *s, double low, double range, float *x) {
    int64_t width = s->image->width, row, column;
    for (row = 0; row < s->image->height; row++)
        for (column = 0; column < width; column++)
            x[row * width + column] = (float)(((double)source_at(s, row, column) - low) / range);
}

/* floor(255 (s - low) / range): numerator and denominator are integers, so the quotient is exact where it is an
 * integer. */
static void make_bytes(const struct source *s, double low, double range, uint8_t *bytes) {
    int64_t width = s->image->width, row, column;
    for (row = 0; row < s->image->height; row++)
        for (column = 0; column < width; column++)
            bytes[row * width + column] = (uint8_t)(255.0 * ((double)source_at(s, row, column) - low) / range);
}

static void gamma_table(float gamma, float table[256]) {
    int i;
    for (i = 0; i < 256; i++) {
        double v = gamma == 1.0f ? i : floor(255.0 * us_pow(i / 255.0, 1.0 / (double)gamma));
        table[i] = (float)v / 255.0f;
    }
}

/*
 * The bytes lie in the last quarter of the output plane: writing float i overtakes no byte that is still to be read.
 * CLAHE's tables lie in front of them where they fit, so that preprocessing a picture of ordinary size allocates
 * nothing.
 */
static int through_bytes(us_context *ctx, const struct us_prep *prep, const struct source *s, double low, double range,
                         float *x) {
    const struct us_image *image = s->image;
    size_t count = (size_t)image->height * (size_t)image->width, i;
    uint8_t *bytes = (uint8_t *)x + 3 * count;
    float table[256];
    make_bytes(s, low, range, bytes);
    if (prep->clahe_tiles > 0 && us_clahe_size(prep->clahe_tiles) <= 3 * count) {
        us_clahe_with(bytes, image->height, image->width, prep->clahe_tiles, prep->clahe_clip, (uint8_t *)x);
    } else if (prep->clahe_tiles > 0) {
        int error = us_clahe(ctx, bytes, image->height, image->width, prep->clahe_tiles, prep->clahe_clip);
        if (error)
            return error;
    }
    gamma_table(prep->gamma, table);
    for (i = 0; i < count; i++)
        x[i] = table[bytes[i]];
    return 0;
}

/* Mean 0 and deviation 1 over the pixels of the mask (all, when it has none), in one chain of doubles. */
static void standardize(const uint8_t *mask, size_t count, float *x) {
    double sum = 0, squares = 0, mean, deviation, n;
    size_t inside = 0, i;
    for (i = 0; i < count; i++)
        inside += mask[i] != 0;
    n = (double)(inside ? inside : count);
    for (i = 0; i < count; i++)
        if (!inside || mask[i])
            sum += x[i];
    mean = sum / n;
    for (i = 0; i < count; i++)
        if (!inside || mask[i])
            squares += (x[i] - mean) * (x[i] - mean);
    deviation = sqrt(squares / n);
    if (!(deviation > 1e-12))
        deviation = 1.0;
    for (i = 0; i < count; i++)
        x[i] = (float)((x[i] - mean) / deviation);
}

static int run_with(us_context *ctx, const struct us_prep *prep, const struct us_image *image, const uint8_t *mask,
                    float *x) {
    size_t count = (size_t)image->height * (size_t)image->width;
    int channels = us_prep_channels(prep), c, error = 0;
    for (c = 0; c < channels && !error; c++, x += count) {
        struct source s;
        double low, range;
        source_of(&s, image, prep->color, c);
        value_range(&s, prep->min_max, &low, &range);
        if (prep->clahe_tiles > 0 || prep->gamma != 1.0f)
            error = through_bytes(ctx, prep, &s, low, range, x);
        else
            make_floats(&s, low, range, x);
        if (!error && prep->standardize)
            standardize(mask, count, x);
    }
    return error;
}

int us_prep_run(us_context *ctx, const struct us_prep *prep, const struct us_image *image, const uint8_t *mask,
                float *x) {
    uint8_t *found;
    int32_t source;
    int error;
    if (mask || !prep->standardize)
        return run_with(ctx, prep, image, mask, x);
    found = (uint8_t *)us_alloc(ctx, (size_t)image->height * (size_t)image->width);
    if (!found)
        return UNETSTAR_ENOMEM;
    error = us_field_find(ctx, image, found, &source);
    if (!error)
        error = run_with(ctx, prep, image, found, x);
    us_free(ctx, found);
    return error;
}

/* ---- As text ---- */

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
