/* calibration.c - exported: scales for 8-bit sessions from images; and how they are written into a file of weights. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

static const unetstar_calibration_options calibration_defaults = {sizeof(unetstar_calibration_options), 0.045f,
                                                                  UNETSTAR_CALIBRATION_LEAST_SQUARES};
typedef char check_calibration
    [sizeof(unetstar_calibration_options) == offsetof(unetstar_calibration_options, ranges) + sizeof(int32_t) ? 1 : -1];

int unetstar_calibration_options_init(unetstar_calibration_options *options, size_t size) {
    return us_options_init(options, size, &calibration_defaults, sizeof calibration_defaults, "calibration options");
}

/* ---- From images ---- */

static int show(unetstar_model *model, us_calibrator *calibrator, const unetstar_image *image, int64_t i,
                const unetstar_cancel *cancel) {
    const size_t channels = (size_t)model->net->options.in_channels;
    struct us_image view;
    char name[48];
    float *x;
    int code;
    snprintf(name, sizeof name, "image %lld", (long long)i);
    code = us_image_view(&view, image, name);
    if (code)
        return code;
    x = (float *)us_alloc(model->ctx, channels * (size_t)view.height * (size_t)view.width * sizeof(float));
    if (!x)
        return UNETSTAR_ENOMEM;
    code = us_prep_run(model->ctx, &model->prep, &view, NULL, x);
    code = code ? code : us_calibrator_show(calibrator, view.height, view.width, x, cancel);
    us_free(model->ctx, x);
    return code;
}

static int calibrate(unetstar_model *model, us_calibrator *calibrator, const unetstar_image *const *images, int64_t n,
                     const unetstar_cancel *cancel) {
    struct us_calibration *result;
    int64_t i;
    int code = 0;
    for (i = 0; i < n && !code; i++)
        code = show(model, calibrator, images[i], i, cancel);
    code = code ? code : us_calibrator_choose(calibrator);
    for (i = 0; i < n && !code; i++)
        code = show(model, calibrator, images[i], i, cancel);
    if (code)
        return code;
    result = (struct us_calibration *)us_alloc(model->ctx, sizeof *result);
    if (!result)
        return UNETSTAR_ENOMEM;
    us_calibrator_result(calibrator, result);
    us_model_set_calibration(model, result);
    return 0;
}

int unetstar_model_calibrate(unetstar_model *model, const unetstar_image *const *images, int64_t n,
                             const unetstar_calibration_options *options, const unetstar_cancel *cancel) {
    unetstar_calibration_options o = calibration_defaults;
    struct us_calibrator_options inner;
    us_calibrator *calibrator = NULL;
    struct us_folded *folded = NULL;
    int64_t i;
    int code = us_need(model, "model");
    code = code ? code : us_need(images, "images");
    code = code ? code : us_options_read(&o, sizeof o, options, "calibration options");
    if (code)
        return code;
    if (n < 1 || n > 1024)
        return us_fail(UNETSTAR_EINVAL, "n is %lld; it must be 1 to 1024", (long long)n);
    for (i = 0; i < n; i++)
        if (!images[i])
            return us_fail(UNETSTAR_EINVAL, "image %lld is NULL", (long long)i);
    if (!(o.max_error > 0)) /* NaN */
        return us_fail(UNETSTAR_EINVAL, "calibration option max_error must be above 0");
    if (o.ranges < UNETSTAR_CALIBRATION_LEAST_SQUARES || o.ranges > UNETSTAR_CALIBRATION_WHOLE)
        return us_fail(UNETSTAR_EINVAL, "calibration option ranges is %d, which is unknown", o.ranges);
    if (model->net->options.precision == UNETSTAR_PRECISION_EXACT)
        return us_fail(UNETSTAR_EINVAL, "the model's precision is exact: its sessions never compute in 8 bits");
    if (us_prep_channels(&model->prep) != model->net->options.in_channels)
        return us_fail(UNETSTAR_ESHAPE, "a model of %d input channels takes no images",
                       model->net->options.in_channels);
    code = us_context_check(model->ctx);
    if (code)
        return code;
    inner.max_error = o.max_error;
    inner.clip = o.ranges == UNETSTAR_CALIBRATION_LEAST_SQUARES;
    us_fp_enter();
    code = us_model_folded(model, UNETSTAR_PRECISION_FAST, &folded);
    code = code ? code : us_calibrator_create(&calibrator, model->ctx, model->net, folded, &model->params, &inner);
    code = code ? code : calibrate(model, calibrator, images, n, cancel);
    us_calibrator_destroy(calibrator);
    us_folded_unref(folded);
    us_fp_leave();
    return code;
}

/* ---- As text: a key for every unit ---- */

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
