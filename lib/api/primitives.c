/* primitives.c - exported: the layers on plain (N,C,H,W) buffers, and the loss. */
#include "api/api.h"

#include <string.h>

#define COUNT(n, c, h, w) ((size_t)(n) * (size_t)(c) * (size_t)(h) * (size_t)(w))
#define MAX_CLASSES 8

/* ---- Checks ---- */

struct argument {
    const char *name;
    const void *pointer;
};

static int check_context(const unetstar_context *context) {
    int code = us_need(context, "context");
    return code ? code : us_context_check(context);
}

/* The context, and arguments that may not be NULL. */
static int check_arguments(const unetstar_context *context, const struct argument *arguments, int n) {
    int i, code = check_context(context);
    for (i = 0; i < n && !code; i++)
        code = us_need(arguments[i].pointer, arguments[i].name);
    return code;
}

static int check_size(const char *name, int64_t size) {
    if (size < 1)
        return us_fail(UNETSTAR_ESHAPE, "%s is %lld; it must be at least 1", name, (long long)size);
    return 0;
}

/* Sizes of a buffer of `elements` floats for every element of (n, c, h, w): at least 1 each, at most 2^40 bytes. */
static int check_shape(int64_t n, const char *c_name, int64_t c, int64_t h, int64_t w, size_t elements) {
    const int64_t shape[4] = {n, c, h, w};
    size_t bytes;
    int code = check_size("n", n);
    if (!code)
        code = check_size(c_name, c);
    if (!code)
        code = check_size("h", h);
    if (!code)
        code = check_size("w", w);
    return code ? code : us_size_shape(&bytes, shape, 4, elements * sizeof(float));
}

static int check_count(int64_t count) {
    size_t bytes;
    int code = check_size("count", count);
    return code ? code : us_size_shape(&bytes, &count, 1, sizeof(float));
}

/* ---- Convolution ---- */

static const unetstar_conv2d_options conv2d_defaults = {sizeof(unetstar_conv2d_options), 3, 3, 1, 1, 1, 1, 1, 1};

int unetstar_conv2d_options_init(unetstar_conv2d_options *options, size_t size) {
    return us_options_init(options, size, &conv2d_defaults, sizeof conv2d_defaults, "conv2d options");
}

static int read_conv2d(struct us_conv2d *d, const unetstar_conv2d_options *options, int64_t n, int64_t c, int64_t h,
                       int64_t w, int64_t c_out) {
    unetstar_conv2d_options o = conv2d_defaults;
    int code = us_options_read(&o, sizeof o, options, "conv2d options");
    d->n = n;
    d->c = c;
    d->h = h;
    d->w = w;
    d->c_out = c_out;
    d->kernel_h = o.kernel_h;
    d->kernel_w = o.kernel_w;
    d->stride_h = o.stride_h;
    d->stride_w = o.stride_w;
    d->padding_h = o.padding_h;
    d->padding_w = o.padding_w;
    d->dilation = o.dilation;
    d->groups = o.groups;
    return code;
}

static int conv2d_forward(unetstar_context *context, const struct us_conv2d *d, const float *x, const float *weight,
                          const float *bias, float *y) {
    const struct argument arguments[] = {{"x", x}, {"weight", weight}, {"y", y}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    if (!code) {
        us_fp_enter();
        code = us_conv2d_forward(context, d, x, weight, bias, y);
        us_fp_leave();
    }
    return code;
}

/* Checks also what has no gradient to compute. */
static int conv2d_backward(unetstar_context *context, const struct us_conv2d *d, const float *x, const float *weight,
                           const float *dy, float *dx, float *dweight, float *dbias) {
    const struct argument arguments[] = {{"x", x}, {"weight", weight}, {"dy", dy}};
    int64_t ho, wo;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : us_conv2d_output(d, &ho, &wo);
    if (!code && (dx || dweight || dbias)) {
        us_fp_enter();
        code = us_conv2d_backward(context, d, x, weight, dy, dx, dweight, dbias);
        us_fp_leave();
    }
    return code;
}

int unetstar_conv2d_forward(unetstar_context *context, const unetstar_conv2d_options *options, int64_t n, int64_t c,
                            int64_t h, int64_t w, int64_t c_out, const float *x, const float *weight, const float *bias,
                            float *y) {
    struct us_conv2d d;
    int code = read_conv2d(&d, options, n, c, h, w, c_out);
    return code ? code : conv2d_forward(context, &d, x, weight, bias, y);
}

int unetstar_conv2d_backward(unetstar_context *context, const unetstar_conv2d_options *options, int64_t n, int64_t c,
                             int64_t h, int64_t w, int64_t c_out, const float *x, const float *weight, const float *dy,
                             float *dx, float *dweight, float *dbias) {
    struct us_conv2d d;
    int code = read_conv2d(&d, options, n, c, h, w, c_out);
    return code ? code : conv2d_backward(context, &d, x, weight, dy, dx, dweight, dbias);
}

/* A linear layer is a 1x1 convolution of 1x1 maps. */
static struct us_conv2d linear(int64_t n, int64_t c, int64_t c_out) {
    const struct us_conv2d d = {n, c, 1, 1, c_out, 1, 1, 1, 1, 0, 0, 1, 1};
    return d;
}

int unetstar_linear_forward(unetstar_context *context, int64_t n, int64_t c, int64_t c_out, const float *x,
                            const float *weight, const float *bias, float *y) {
    const struct us_conv2d d = linear(n, c, c_out);
    return conv2d_forward(context, &d, x, weight, bias, y);
}

int unetstar_linear_backward(unetstar_context *context, int64_t n, int64_t c, int64_t c_out, const float *x,
                             const float *weight, const float *dy, float *dx, float *dweight, float *dbias) {
    const struct us_conv2d d = linear(n, c, c_out);
    return conv2d_backward(context, &d, x, weight, dy, dx, dweight, dbias);
}

/* Sizes of a 2x2 transposed convolution: the output is four times as large. */
static int check_transposed(int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out) {
    int code = check_shape(n, "c", c, h, w, 1);
    return code ? code : check_shape(n, "c_out", c_out, h, w, 4);
}

int unetstar_conv_transpose2d_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
                                      int64_t c_out, const float *x, const float *weight, const float *bias, float *y) {
    const struct argument arguments[] = {{"x", x}, {"weight", weight}, {"y", y}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_transposed(n, c, h, w, c_out);
    if (!code) {
        us_fp_enter();
        code = us_conv_transpose2d_forward(context, n, c, h, w, c_out, x, weight, bias, y);
        us_fp_leave();
    }
    return code;
}

int unetstar_conv_transpose2d_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
                                       int64_t c_out, const float *x, const float *weight, const float *dy, float *dx,
                                       float *dweight, float *dbias) {
    const struct argument arguments[] = {{"x", x}, {"weight", weight}, {"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_transposed(n, c, h, w, c_out);
    if (!code && (dx || dweight || dbias)) {
        us_fp_enter();
        code = us_conv_transpose2d_backward(context, n, c, h, w, c_out, x, weight, dy, dx, dweight, dbias);
        us_fp_leave();
    }
    return code;
}

/* ---- Activations ---- */

static int check_activation(int32_t activation, float slope) {
    int finite;
    us_fp_enter(); /* infinity minus infinity must not trap */
    finite = slope - slope == 0;
    us_fp_leave();
    if (activation < UNETSTAR_ACTIVATION_NONE || activation > UNETSTAR_ACTIVATION_GELU)
        return us_fail(UNETSTAR_EINVAL, "activation is %d, which is none of UNETSTAR_ACTIVATION_*", activation);
    if (activation == UNETSTAR_ACTIVATION_LEAKY_RELU && !finite)
        return us_fail(UNETSTAR_EINVAL, "slope is not a finite number");
    return 0;
}

int unetstar_activation_forward(unetstar_context *context, int32_t activation, float slope, int64_t count,
                                const float *x, float *y) {
    const struct argument arguments[] = {{"x", x}, {"y", y}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_activation(activation, slope);
    code = code ? code : check_count(count);
    if (!code) {
        us_fp_enter();
        code = us_activation_forward(context, activation, slope, count, x, y);
        us_fp_leave();
    }
    return code;
}

int unetstar_activation_backward(unetstar_context *context, int32_t activation, float slope, int64_t count,
                                 const float *x, const float *dy, float *dx) {
    const struct argument arguments[] = {{"x", x}, {"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_activation(activation, slope);
    code = code ? code : check_count(count);
    if (!code && dx) {
        us_fp_enter();
        code = us_activation_backward(context, activation, slope, count, x, dy, dx);
        us_fp_leave();
    }
    return code;
}

/* ---- Max pooling, upsampling ---- */

int unetstar_max_pool2d_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                float *y) {
    const struct argument arguments[] = {{"x", x}, {"y", y}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_shape(n, "c", c, h, w, 1);
    if (!code) {
        us_fp_enter();
        code = us_max_pool_forward(context, n * c, h, w, x, y);
        us_fp_leave();
    }
    return code;
}

int unetstar_max_pool2d_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *x,
                                 const float *dy, float *dx) {
    const struct argument arguments[] = {{"x", x}, {"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_shape(n, "c", c, h, w, 1);
    if (!code && dx) {
        us_fp_enter();
        code = us_max_pool_backward(context, n * c, h, w, x, dy, dx);
        us_fp_leave();
    }
    return code;
}

static int check_upsampling(int32_t mode, int64_t n, int64_t c, int64_t h, int64_t w) {
    if (mode != UNETSTAR_UPSAMPLING_NEAREST && mode != UNETSTAR_UPSAMPLING_BILINEAR)
        return us_fail(UNETSTAR_EINVAL, "mode is %d; it must be UNETSTAR_UPSAMPLING_NEAREST or _BILINEAR", mode);
    return check_shape(n, "c", c, h, w, 4);
}

int unetstar_upsample2_forward(unetstar_context *context, int32_t mode, int64_t n, int64_t c, int64_t h, int64_t w,
                               const float *x, float *y) {
    const struct argument arguments[] = {{"x", x}, {"y", y}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_upsampling(mode, n, c, h, w);
    if (!code) {
        us_fp_enter();
        code = us_upsample_forward(context, mode, n * c, h, w, x, y);
        us_fp_leave();
    }
    return code;
}

int unetstar_upsample2_backward(unetstar_context *context, int32_t mode, int64_t n, int64_t c, int64_t h, int64_t w,
                                const float *dy, float *dx) {
    const struct argument arguments[] = {{"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_upsampling(mode, n, c, h, w);
    if (!code && dx) {
        us_fp_enter();
        code = us_upsample_backward(context, mode, n * c, h, w, dy, dx);
        us_fp_leave();
    }
    return code;
}

/* ---- Fusions: one sum or product an element, which the kernels would not do otherwise ---- */

int unetstar_add_forward(unetstar_context *context, int64_t count, const float *a, const float *b, float *y) {
    const struct argument arguments[] = {{"a", a}, {"b", b}, {"y", y}};
    int64_t i;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_count(count);
    if (code)
        return code;
    us_fp_enter();
    for (i = 0; i < count; i++)
        y[i] = a[i] + b[i];
    us_fp_leave();
    return 0;
}

int unetstar_add_backward(unetstar_context *context, int64_t count, const float *dy, float *da, float *db) {
    const struct argument arguments[] = {{"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_count(count);
    if (!code && da && da != dy)
        memcpy(da, dy, (size_t)count * sizeof *dy);
    if (!code && db && db != dy)
        memcpy(db, dy, (size_t)count * sizeof *dy);
    return code;
}

int unetstar_multiply_forward(unetstar_context *context, int64_t count, const float *a, const float *b, float *y) {
    const struct argument arguments[] = {{"a", a}, {"b", b}, {"y", y}};
    int64_t i;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_count(count);
    if (code)
        return code;
    us_fp_enter();
    for (i = 0; i < count; i++)
        y[i] = a[i] * b[i];
    us_fp_leave();
    return 0;
}

int unetstar_multiply_backward(unetstar_context *context, int64_t count, const float *a, const float *b,
                               const float *dy, float *da, float *db) {
    const struct argument arguments[] = {{"a", a}, {"b", b}, {"dy", dy}};
    int64_t i;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_count(count);
    if (code)
        return code;
    us_fp_enter();
    for (i = 0; da && i < count; i++)
        da[i] = dy[i] * b[i];
    for (i = 0; db && i < count; i++)
        db[i] = dy[i] * a[i];
    us_fp_leave();
    return 0;
}

static int check_concat(int64_t n, int64_t ca, int64_t cb, int64_t h, int64_t w) {
    int code = check_shape(n, "ca", ca, h, w, 1);
    code = code ? code : check_shape(n, "cb", cb, h, w, 1);
    return code ? code : check_shape(n, "ca + cb", ca + cb, h, w, 1);
}

int unetstar_concat_forward(unetstar_context *context, int64_t n, int64_t ca, int64_t cb, int64_t h, int64_t w,
                            const float *a, const float *b, float *y) {
    const struct argument arguments[] = {{"a", a}, {"b", b}, {"y", y}};
    size_t size_a, size_b, i;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_concat(n, ca, cb, h, w);
    if (code)
        return code;
    size_a = COUNT(1, ca, h, w);
    size_b = COUNT(1, cb, h, w);
    for (i = 0; i < (size_t)n; i++, y += size_a + size_b) {
        memcpy(y, a + i * size_a, size_a * sizeof *y);
        memcpy(y + size_a, b + i * size_b, size_b * sizeof *y);
    }
    return 0;
}

int unetstar_concat_backward(unetstar_context *context, int64_t n, int64_t ca, int64_t cb, int64_t h, int64_t w,
                             const float *dy, float *da, float *db) {
    const struct argument arguments[] = {{"dy", dy}};
    size_t size_a, size_b, i;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_concat(n, ca, cb, h, w);
    if (code)
        return code;
    size_a = COUNT(1, ca, h, w);
    size_b = COUNT(1, cb, h, w);
    for (i = 0; i < (size_t)n; i++, dy += size_a + size_b) {
        if (da)
            memcpy(da + i * size_a, dy, size_a * sizeof *dy);
        if (db)
            memcpy(db + i * size_b, dy + size_a, size_b * sizeof *dy);
    }
    return 0;
}

/* ---- Softmax ---- */

int unetstar_softmax_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w, const float *logits,
                             float *probability) {
    const struct argument arguments[] = {{"logits", logits}, {"probability", probability}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_shape(n, "c", c, h, w, 1);
    if (!code) {
        us_fp_enter();
        code = us_softmax_forward(context, n, c, h * w, logits, probability);
        us_fp_leave();
    }
    return code;
}

int unetstar_softmax_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
                              const float *probability, const float *dy, float *dlogits) {
    const struct argument arguments[] = {{"probability", probability}, {"dy", dy}};
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : check_shape(n, "c", c, h, w, 1);
    if (!code && dlogits) {
        us_fp_enter();
        code = us_softmax_backward(context, n, c, h * w, probability, dy, dlogits);
        us_fp_leave();
    }
    return code;
}

/* ---- Loss ---- */

static const unetstar_loss_options loss_defaults = {sizeof(unetstar_loss_options), 1, 0, 0, 2,
                                                    {1, 1, 1, 1, 1, 1, 1, 1}};

int unetstar_loss_options_init(unetstar_loss_options *options, size_t size) {
    return us_options_init(options, size, &loss_defaults, sizeof loss_defaults, "loss options");
}

static int check_weight(const char *name, float value) {
    if (!(value >= 0) || !(value - value == 0))
        return us_fail(UNETSTAR_EINVAL, "loss option %s must be a finite number, 0 or above", name);
    return 0;
}

int us_loss_read(struct us_loss *loss, const unetstar_loss_options *options) {
    unetstar_loss_options o = loss_defaults;
    int i, code = us_options_read(&o, sizeof o, options, "loss options");
    us_fp_enter(); /* comparing a NaN must not trap */
    code = code ? code : check_weight("cross_entropy", o.cross_entropy);
    code = code ? code : check_weight("focal", o.focal);
    code = code ? code : check_weight("dice", o.dice);
    code = code ? code : check_weight("focal_gamma", o.focal_gamma);
    for (i = 0; i < MAX_CLASSES; i++) {
        code = code ? code : check_weight("class_weights", o.class_weights[i]);
        loss->class_weights[i] = o.class_weights[i];
    }
    us_fp_leave();
    loss->cross_entropy = o.cross_entropy;
    loss->focal = o.focal;
    loss->dice = o.dice;
    loss->focal_gamma = o.focal_gamma;
    return code;
}

static int run_loss(unetstar_context *context, const struct us_loss *loss, const struct us_loss_map *map,
                    double *value) {
    void *scratch = us_alloc(context, us_loss_scratch(map->n, map->c, map->h));
    int code = UNETSTAR_ENOMEM;
    double result;
    if (scratch)
        code = us_loss_run(context, loss, map, scratch, &result);
    us_free(context, scratch);
    if (!code)
        *value = result;
    return code;
}

int unetstar_loss(unetstar_context *context, const unetstar_loss_options *options, int64_t n, int64_t c, int64_t h,
                  int64_t w, const float *logits, const uint8_t *labels, const uint8_t *mask, double *loss,
                  float *dlogits) {
    const struct argument arguments[] = {{"logits", logits}, {"labels", labels}, {"loss", loss}};
    struct us_loss_map map = {n, c, h, w, h, w, 1, logits, labels, mask, dlogits, 1.0};
    struct us_loss terms;
    int code = check_arguments(context, arguments, US_COUNT(arguments));
    code = code ? code : us_loss_read(&terms, options);
    code = code ? code : check_shape(n, "c", c, h, w, 1);
    if (!code && c > MAX_CLASSES)
        code = us_fail(UNETSTAR_ESHAPE, "c is %lld; a loss takes at most %d classes", (long long)c, MAX_CLASSES);
    if (code)
        return code;
    us_fp_enter();
    code = run_loss(context, &terms, &map, loss);
    us_fp_leave();
    return code;
}
