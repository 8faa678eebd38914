/* calibration.c - exported: scales for 8-bit sessions from images. */
#include "api/api.h"

#include <stdio.h>

static const unetstar_calibration_options calibration_defaults = {sizeof(unetstar_calibration_options), 0.045f,
                                                                  UNETSTAR_CALIBRATION_LEAST_SQUARES};
typedef char check_calibration
    [sizeof(unetstar_calibration_options) == offsetof(unetstar_calibration_options, ranges) + sizeof(int32_t) ? 1 : -1];

int unetstar_calibration_options_init(unetstar_calibration_options *options, size_t size) {
    return us_options_init(options, size, &calibration_defaults, sizeof calibration_defaults, "calibration options");
}

/* ---- What there is ---- */

typedef char check_getter
    [sizeof(unetstar_calibration) == offsetof(unetstar_calibration, byte_maps) + sizeof(int32_t) ? 1 : -1];

static int too_coarse(const unetstar_model *model, int unit) {
    return us_quant_takes_unit(model->net, unit) && !(model->calibration->input[unit].scale > 0);
}

int unetstar_model_get_calibration(const unetstar_model *model, unetstar_calibration *calibration) {
    unetstar_calibration c = {0, 0, 0, 0, 0};
    int u, code = us_need(model, "model");
    code = code ? code : us_need(calibration, "calibration");
    if (code)
        return code;
    c.calibrated = model->calibration != NULL;
    for (u = 0; u < model->net->n_units; u++) {
        c.convolutions += us_quant_takes_unit(model->net, u);
        c.in_float += c.calibrated && too_coarse(model, u);
        c.byte_maps += c.calibrated && model->calibration->value[u].scale > 0;
    }
    return us_options_init(calibration, calibration->struct_size, &c, sizeof c, "calibration");
}

const char *unetstar_model_float_layer(const unetstar_model *model, int64_t i, double *error) {
    int u, w;
    if (!model || !model->calibration || i < 0)
        return NULL;
    for (u = 0; u < model->net->n_units; u++)
        if (too_coarse(model, u) && i-- == 0)
            break;
    if (u == model->net->n_units)
        return NULL;
    if (error)
        *error = (double)model->calibration->error[u];
    for (w = 0; model->net->weights[w].kind != US_WEIGHT_CONV || model->net->weights[w].owner != u; w++)
        ;
    return model->net->weights[w].name;
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

/* Ranges and errors of such a network would look like any others. */
static int need_finite(const unetstar_model *model) {
    const struct us_weight *w = us_params_not_finite(&model->params, model->net);
    return w ? us_fail(UNETSTAR_EINVAL, "tensor %s has a value that is NaN or infinite: the model cannot be calibrated",
                       w->name)
             : 0;
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
    code = need_finite(model);
    code = code ? code : us_model_folded(model, UNETSTAR_PRECISION_FAST, &folded);
    code = code ? code : us_calibrator_create(&calibrator, model->ctx, model->net, folded, &model->params, &inner);
    code = code ? code : calibrate(model, calibrator, images, n, cancel);
    us_calibrator_destroy(calibrator);
    us_folded_unref(folded);
    us_fp_leave();
    return code;
}
