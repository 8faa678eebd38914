/* test_grad_layers.c - every layer primitive and loss: gradients against central differences, over shapes. */
#include "grad.h"

static unetstar_context *ctx;

/* What every objective needs: sizes, inputs, output, and the random projection of the output. */
struct layer {
    int32_t kind; /* activation, upsampling mode, ... */
    float slope;
    int64_t n, c, h, w, c_out, groups, count_y;
    unetstar_conv2d_options conv;
    unetstar_loss_options loss;
    float *x, *x2, *weight, *bias, *y, *r, *mean, *inverse_std;
    const uint8_t *labels, *mask;
};

static const int64_t channels[] = {1, 3, 16, 17, 33};
static const int64_t sizes[][2] = {{1, 1}, {5, 7}};
static const int64_t even_sizes[][2] = {{2, 2}, {6, 8}};
#define EACH(i, array) for (i = 0; i < (int)(sizeof(array) / sizeof(array)[0]); i++)

static double loss_objective(void *arg);

static void compare(const char *name, double (*objective)(void *), struct layer *l, float *x, const float *gradient,
                    int64_t count, double step, double tolerance) {
    char text[160];
    struct grad_check check;
    snprintf(text, sizeof text, "%s (kind %d, n %d, c %d, %d x %d, c_out %d, groups %d)", name, (int)l->kind, (int)l->n,
             (int)l->c, (int)l->h, (int)l->w, (int)l->c_out, (int)l->groups);
    check.name = text;
    check.objective = objective;
    check.arg = l;
    check.x = x;
    check.gradient = gradient;
    check.count = count;
    check.step = step;
    check.tolerance = tolerance;
    check.least = objective == loss_objective ? 0 : 0.05; /* a loss is a double, and a mean: its gradients are small */
    check.quiet = 0;
    grad_compare(&check);
}

static struct layer shape(int64_t n, int64_t c, int64_t h, int64_t w) {
    struct layer l;
    memset(&l, 0, sizeof l);
    l.n = n;
    l.c = c;
    l.h = h;
    l.w = w;
    return l;
}

static int64_t count_of(const struct layer *l) {
    return l->n * l->c * l->h * l->w;
}

/* Output and projection. */
static void set_output(struct layer *l, int64_t count) {
    l->count_y = count;
    l->y = grad_zeros(count);
    l->r = grad_random(count, -1, 1);
}

/* ---- Convolutions ---- */

static double conv_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_conv2d_forward(ctx, &l->conv, l->n, l->c, l->h, l->w, l->c_out, l->x, l->weight, l->bias, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static int64_t conv_side(int64_t size, int kernel, int stride, int padding, int dilation) {
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

static void check_conv(struct layer *l) {
    const unetstar_conv2d_options *o = &l->conv;
    const int64_t ho = conv_side(l->h, o->kernel_h, o->stride_h, o->padding_h, o->dilation);
    const int64_t wo = conv_side(l->w, o->kernel_w, o->stride_w, o->padding_w, o->dilation);
    const int64_t weights = l->c_out * (l->c / o->groups) * o->kernel_h * o->kernel_w;
    float *dx = grad_random(count_of(l), 5, 6), *dweight = grad_random(weights, 5, 6),
          *dbias = grad_random(l->c_out, 5, 6);
    l->groups = o->groups;
    l->x = grad_random(count_of(l), -1, 1);
    l->weight = grad_random(weights, -1, 1);
    l->bias = grad_random(l->c_out, -1, 1);
    set_output(l, l->n * l->c_out * ho * wo);
    OK(unetstar_conv2d_backward(ctx, o, l->n, l->c, l->h, l->w, l->c_out, l->x, l->weight, l->r, dx, dweight, dbias));
    compare("conv2d dx", conv_objective, l, l->x, dx, count_of(l), 0.5, 1e-4);
    compare("conv2d dweight", conv_objective, l, l->weight, dweight, weights, 0.5, 1e-4);
    compare("conv2d dbias", conv_objective, l, l->bias, dbias, l->c_out, 0.5, 1e-4);
    grad_release(NULL);
}

static void test_conv_3x3(void **state) {
    int a, b, s;
    (void)state;
    grad_seed(1);
    EACH(a, channels) EACH(b, channels) EACH(s, sizes) {
        struct layer l = shape(2, channels[a], sizes[s][0], sizes[s][1]);
        l.c_out = channels[b];
        OK(unetstar_conv2d_options_init(&l.conv, sizeof l.conv));
        check_conv(&l);
    }
}

/* kernel, stride, padding, dilation, groups, c, c_out, h, w */
static const int geometries[][13] = {
    {1, 1, 1, 1, 0, 0, 1, 1, 17, 3, 5, 7},  {1, 1, 2, 2, 0, 0, 1, 1, 3, 17, 5, 7},
    {3, 3, 2, 2, 1, 1, 1, 1, 17, 3, 5, 7},  {3, 3, 1, 1, 0, 0, 1, 1, 3, 3, 5, 7},
    {3, 3, 1, 1, 2, 2, 2, 1, 3, 2, 5, 7},   {3, 3, 1, 1, 1, 1, 1, 3, 33, 6, 5, 7},
    {3, 3, 1, 1, 1, 1, 1, 4, 4, 4, 5, 7},   {5, 3, 2, 1, 2, 0, 1, 1, 2, 3, 9, 8},
    {2, 2, 2, 2, 0, 0, 1, 1, 3, 3, 6, 7},   {1, 5, 1, 3, 0, 2, 1, 1, 18, 18, 4, 9},
    {4, 4, 3, 3, 3, 3, 1, 2, 36, 34, 5, 5}, {2, 3, 1, 2, 1, 4, 3, 1, 2, 2, 5, 7},
};

static void test_conv_geometries(void **state) {
    int i;
    (void)state;
    grad_seed(2);
    EACH(i, geometries) {
        const int *g = geometries[i];
        struct layer l = shape(2, g[8], g[10], g[11]);
        l.c_out = g[9];
        OK(unetstar_conv2d_options_init(&l.conv, sizeof l.conv));
        l.conv.kernel_h = g[0];
        l.conv.kernel_w = g[1];
        l.conv.stride_h = g[2];
        l.conv.stride_w = g[3];
        l.conv.padding_h = g[4];
        l.conv.padding_w = g[5];
        l.conv.dilation = g[6];
        l.conv.groups = g[7];
        check_conv(&l);
    }
}

static double transposed_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_conv_transpose2d_forward(ctx, l->n, l->c, l->h, l->w, l->c_out, l->x, l->weight, l->bias, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_transposed(void **state) {
    int a, b, s;
    (void)state;
    grad_seed(3);
    EACH(a, channels) EACH(b, channels) EACH(s, sizes) {
        struct layer l = shape(2, channels[a], sizes[s][0], sizes[s][1]);
        const int64_t weights = 4 * channels[a] * channels[b];
        float *dx = grad_random(count_of(&l), 5, 6), *dweight = grad_random(weights, 5, 6);
        float *dbias = grad_random(channels[b], 5, 6);
        l.c_out = channels[b];
        l.x = grad_random(count_of(&l), -1, 1);
        l.weight = grad_random(weights, -1, 1);
        l.bias = grad_random(l.c_out, -1, 1);
        set_output(&l, l.n * l.c_out * 4 * l.h * l.w);
        OK(unetstar_conv_transpose2d_backward(ctx, l.n, l.c, l.h, l.w, l.c_out, l.x, l.weight, l.r, dx, dweight,
                                              dbias));
        compare("transposed dx", transposed_objective, &l, l.x, dx, count_of(&l), 0.5, 1e-4);
        compare("transposed dweight", transposed_objective, &l, l.weight, dweight, weights, 0.5, 1e-4);
        compare("transposed dbias", transposed_objective, &l, l.bias, dbias, l.c_out, 0.5, 1e-4);
        grad_release(NULL);
    }
}

static double linear_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_linear_forward(ctx, l->n, l->c, l->c_out, l->x, l->weight, l->bias, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_linear(void **state) {
    int a, b;
    (void)state;
    grad_seed(4);
    EACH(a, channels) EACH(b, channels) {
        struct layer l = shape(5, channels[a], 1, 1);
        float *dx = grad_random(count_of(&l), 5, 6), *dweight = grad_random(channels[a] * channels[b], 5, 6);
        float *dbias = grad_random(channels[b], 5, 6);
        l.c_out = channels[b];
        l.x = grad_random(count_of(&l), -1, 1);
        l.weight = grad_random(l.c * l.c_out, -1, 1);
        l.bias = grad_random(l.c_out, -1, 1);
        set_output(&l, l.n * l.c_out);
        OK(unetstar_linear_backward(ctx, l.n, l.c, l.c_out, l.x, l.weight, l.r, dx, dweight, dbias));
        compare("linear dx", linear_objective, &l, l.x, dx, count_of(&l), 0.5, 1e-4);
        compare("linear dweight", linear_objective, &l, l.weight, dweight, l.c * l.c_out, 0.5, 1e-4);
        compare("linear dbias", linear_objective, &l, l.bias, dbias, l.c_out, 0.5, 1e-4);
        grad_release(NULL);
    }
}

/* ---- Norms: kind 0 batch, 1 group, 2 layer ---- */

static double norm_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    if (l->kind == 0)
        OK(unetstar_batch_norm_forward(ctx, l->n, l->c, l->h, l->w, l->x, l->weight, l->bias, 1e-3f, 0.1f, NULL, NULL,
                                       l->y, l->mean, l->inverse_std));
    else if (l->kind == 1)
        OK(unetstar_group_norm_forward(ctx, l->n, l->c, l->h, l->w, l->groups, l->x, l->weight, l->bias, 1e-3f, l->y,
                                       l->mean, l->inverse_std));
    else
        OK(unetstar_layer_norm_forward(ctx, l->n, l->c, l->h, l->w, l->x, l->weight, l->bias, 1e-3f, l->y, l->mean,
                                       l->inverse_std));
    return grad_project(l->y, l->r, l->count_y);
}

static void norm_gradient(const struct layer *l, float *dx, float *dgamma, float *dbeta) {
    if (l->kind == 0)
        OK(unetstar_batch_norm_backward(ctx, l->n, l->c, l->h, l->w, l->x, l->weight, l->mean, l->inverse_std, l->r, dx,
                                        dgamma, dbeta));
    else if (l->kind == 1)
        OK(unetstar_group_norm_backward(ctx, l->n, l->c, l->h, l->w, l->groups, l->x, l->weight, l->mean,
                                        l->inverse_std, l->r, dx, dgamma, dbeta));
    else
        OK(unetstar_layer_norm_backward(ctx, l->n, l->c, l->h, l->w, l->x, l->weight, l->mean, l->inverse_std, l->r, dx,
                                        dgamma, dbeta));
}

static void check_norm(int32_t kind, int64_t c, int64_t groups, int64_t h, int64_t w) {
    struct layer l = shape(3, c, h, w);
    float *dx = grad_random(count_of(&l), 5, 6), *dgamma = grad_random(c, 5, 6), *dbeta = grad_random(c, 5, 6);
    int affine;
    l.kind = kind;
    l.groups = groups;
    l.x = grad_random(count_of(&l), -1, 3);
    l.mean = grad_zeros(l.n * groups + c);
    l.inverse_std = grad_zeros(l.n * groups + c);
    set_output(&l, count_of(&l));
    for (affine = 0; affine < 2; affine++) {
        l.weight = affine ? grad_random(c, -2, 2) : NULL;
        l.bias = affine ? grad_random(c, -2, 2) : NULL;
        norm_objective(&l);
        norm_gradient(&l, dx, dgamma, dbeta);
        /* of one value a norm is a constant, of two nearly a sign */
        if (h * w * (kind == 0 ? l.n : c / groups) > 2)
            compare("norm dx", norm_objective, &l, l.x, dx, count_of(&l), 2e-3, 2e-3);
        if (affine) {
            compare("norm dgamma", norm_objective, &l, l.weight, dgamma, c, 0.5, 1e-3);
            compare("norm dbeta", norm_objective, &l, l.bias, dbeta, c, 0.5, 1e-3);
        }
    }
    grad_release(NULL);
}

static void test_norms(void **state) {
    int a, s;
    int64_t groups;
    (void)state;
    grad_seed(5);
    EACH(a, channels) EACH(s, sizes) {
        const int64_t c = channels[a], h = sizes[s][0], w = sizes[s][1];
        check_norm(0, c, c, h, w);
        for (groups = 1; groups <= c; groups++)
            if (c % groups == 0)
                check_norm(1, c, groups, h, w);
        if (c * h * w > 3)
            check_norm(2, c, 1, h, w);
    }
}

/* ---- Activations ---- */

static double activation_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_activation_forward(ctx, l->kind, l->slope, l->count_y, l->x, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_activations(void **state) {
    static const int64_t counts[] = {1, 15, 16, 17, 1023, 1025, 5000};
    int32_t kind;
    int64_t i;
    int k;
    (void)state;
    grad_seed(6);
    for (kind = UNETSTAR_ACTIVATION_NONE; kind <= UNETSTAR_ACTIVATION_GELU; kind++)
        EACH(k, counts) {
            struct layer l = shape(1, 1, 1, counts[k]);
            float *dx = grad_random(counts[k], 5, 6);
            l.kind = kind;
            l.slope = 0.3f;
            l.x = grad_random(counts[k], -9, 9);
            for (i = 0; i < counts[k]; i++) /* away from the kinks at 0 and 6 */
                if (fabsf(l.x[i]) < 0.05f || fabsf(l.x[i] - 6) < 0.05f)
                    l.x[i] += 0.1f;
            set_output(&l, counts[k]);
            OK(unetstar_activation_backward(ctx, kind, l.slope, counts[k], l.x, l.r, dx));
            compare("activation", activation_objective, &l, l.x, dx, counts[k], 0.015625, 1e-3);
            grad_release(NULL);
        }
}

/* ---- Max pooling, upsampling ---- */

static double pool_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_max_pool2d_forward(ctx, l->n, l->c, l->h, l->w, l->x, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_max_pool(void **state) {
    int a, s;
    (void)state;
    grad_seed(7);
    EACH(a, channels) EACH(s, even_sizes) {
        struct layer l = shape(2, channels[a], even_sizes[s][0], even_sizes[s][1]);
        float *dx = grad_random(count_of(&l), 5, 6);
        l.x = grad_apart(count_of(&l), -(double)count_of(&l) / 2, (double)count_of(&l) / 2); /* a distance of 1 */
        set_output(&l, count_of(&l) / 4);
        OK(unetstar_max_pool2d_backward(ctx, l.n, l.c, l.h, l.w, l.x, l.r, dx));
        compare("max pool", pool_objective, &l, l.x, dx, count_of(&l), 0.25, 1e-6);
        grad_release(NULL);
    }
}

static double upsample_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_upsample2_forward(ctx, l->kind, l->n, l->c, l->h, l->w, l->x, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_upsample(void **state) {
    int32_t mode;
    int a, s;
    (void)state;
    grad_seed(8);
    for (mode = UNETSTAR_UPSAMPLING_NEAREST; mode <= UNETSTAR_UPSAMPLING_BILINEAR; mode++)
        EACH(a, channels) EACH(s, sizes) {
            struct layer l = shape(2, channels[a], sizes[s][0], sizes[s][1]);
            float *dx = grad_random(count_of(&l), 5, 6);
            l.kind = mode;
            l.x = grad_random(count_of(&l), -1, 1);
            set_output(&l, 4 * count_of(&l));
            OK(unetstar_upsample2_backward(ctx, mode, l.n, l.c, l.h, l.w, l.r, dx));
            compare("upsample", upsample_objective, &l, l.x, dx, count_of(&l), 0.5, 1e-5);
            grad_release(NULL);
        }
}

/* ---- Fusions: kind 0 sum, 1 product, 2 concatenation (c_out: channels of the second) ---- */

static double fusion_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    if (l->kind == 0)
        OK(unetstar_add_forward(ctx, l->count_y, l->x, l->x2, l->y));
    else if (l->kind == 1)
        OK(unetstar_multiply_forward(ctx, l->count_y, l->x, l->x2, l->y));
    else
        OK(unetstar_concat_forward(ctx, l->n, l->c, l->c_out, l->h, l->w, l->x, l->x2, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void fusion_gradient(const struct layer *l, float *da, float *db) {
    if (l->kind == 0)
        OK(unetstar_add_backward(ctx, l->count_y, l->r, da, db));
    else if (l->kind == 1)
        OK(unetstar_multiply_backward(ctx, l->count_y, l->x, l->x2, l->r, da, db));
    else
        OK(unetstar_concat_backward(ctx, l->n, l->c, l->c_out, l->h, l->w, l->r, da, db));
}

static void test_fusions(void **state) {
    int32_t kind;
    int a, s;
    (void)state;
    grad_seed(9);
    for (kind = 0; kind < 3; kind++)
        EACH(a, channels) EACH(s, sizes) {
            struct layer l = shape(2, channels[a], sizes[s][0], sizes[s][1]);
            int64_t second = count_of(&l);
            float *da, *db;
            l.kind = kind;
            l.c_out = kind == 2 ? 5 : l.c;
            second = l.n * l.c_out * l.h * l.w;
            l.x = grad_random(count_of(&l), -1, 1);
            l.x2 = grad_random(second, -1, 1);
            da = grad_random(count_of(&l), 5, 6);
            db = grad_random(second, 5, 6);
            set_output(&l, kind == 2 ? count_of(&l) + second : second);
            fusion_gradient(&l, da, db);
            compare("fusion da", fusion_objective, &l, l.x, da, count_of(&l), 0.5, 1e-5);
            compare("fusion db", fusion_objective, &l, l.x2, db, second, 0.5, 1e-5);
            grad_release(NULL);
        }
}

/* ---- Softmax, losses ---- */

static double softmax_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    OK(unetstar_softmax_forward(ctx, l->n, l->c, l->h, l->w, l->x, l->y));
    return grad_project(l->y, l->r, l->count_y);
}

static void test_softmax(void **state) {
    static const int64_t classes[] = {1, 2, 3, 8, 9, 33};
    int a, s;
    (void)state;
    grad_seed(10);
    EACH(a, classes) EACH(s, sizes) {
        struct layer l = shape(2, classes[a], sizes[s][0], sizes[s][1]);
        float *dx = grad_random(count_of(&l), 5, 6);
        l.x = grad_random(count_of(&l), -3, 3);
        set_output(&l, count_of(&l));
        softmax_objective(&l);
        OK(unetstar_softmax_backward(ctx, l.n, l.c, l.h, l.w, l.y, l.r, dx));
        compare("softmax", softmax_objective, &l, l.x, dx, count_of(&l), 0.015625, 1e-3);
        grad_release(NULL);
    }
}

static double loss_objective(void *arg) {
    struct layer *l = (struct layer *)arg;
    double loss;
    OK(unetstar_loss(ctx, &l->loss, l->n, l->c, l->h, l->w, l->x, l->labels, l->mask, &loss, NULL));
    return loss;
}

/* cross-entropy, focal, Dice, gamma */
static const float terms[][4] = {{1, 0, 0, 2}, {0, 1, 0, 2},     {0, 1, 0, 0},      {0, 1, 0, 0.5f},
                                 {0, 0, 1, 2}, {0, 1, 0, 3.25f}, {1, 0.5f, 0.7f, 2}};

static void test_losses(void **state) {
    static uint8_t labels[2 * 5 * 7], mask[2 * 5 * 7];
    int64_t c;
    int t, s, masked, i, k;
    (void)state;
    grad_seed(11);
    for (c = 1; c <= 8; c++)
        EACH(t, terms) EACH(s, sizes) for (masked = 0; masked < 2; masked++) {
            struct layer l = shape(2, c, sizes[s][0], sizes[s][1]);
            float *dx = grad_random(count_of(&l), 5, 6);
            double loss = -1;
            OK(unetstar_loss_options_init(&l.loss, sizeof l.loss));
            l.loss.cross_entropy = terms[t][0];
            l.loss.focal = terms[t][1];
            l.loss.dice = terms[t][2];
            l.loss.focal_gamma = terms[t][3];
            for (k = 0; k < 8; k++)
                l.loss.class_weights[k] = (float)grad_uniform(0.5, 2);
            for (i = 0; i < (int)(l.n * l.h * l.w); i++) {
                labels[i] = (uint8_t)grad_uniform(0, c < 2 ? 2 : (double)c);
                mask[i] = (uint8_t)(i == 0 ? 1 : grad_uniform(0, 3)); /* one pixel is inside at least */
            }
            l.labels = labels;
            l.mask = masked ? mask : NULL;
            l.x = grad_random(count_of(&l), -3, 3);
            OK(unetstar_loss(ctx, &l.loss, l.n, l.c, l.h, l.w, l.x, labels, l.mask, &loss, dx));
            assert_true(loss == loss_objective(&l));
            compare("loss", loss_objective, &l, l.x, dx, count_of(&l), 0.00390625, 1e-4);
            grad_release(NULL);
        }
}

/* ---- The checker itself ---- */

static double cubic(void *arg) {
    const float *x = (const float *)arg;
    return (double)x[0] * (double)x[0] * (double)x[0] + 3 * (double)x[1];
}

/* A right gradient passes, one that is 1 % off in one element or NaN is found. */
static void test_checker(void **state) {
    static float x[2] = {1, 2};
    float gradient[2] = {3, 3};
    struct grad_check check = {"deliberate fault", cubic, x, x, gradient, 2, 0.015625, 1e-3, 0, 1};
    (void)state;
    grad_seed(12);
    assert_true(grad_distance(&check) < 1);
    gradient[0] = 3.03f;
    assert_true(grad_distance(&check) > 1);
    gradient[0] = NAN;
    assert_true(grad_distance(&check) > 1);
}

static int setup(void **state) {
    (void)state;
    ctx = grad_context(2);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unetstar_context_destroy(ctx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_conv_3x3, grad_release),
        cmocka_unit_test_teardown(test_conv_geometries, grad_release),
        cmocka_unit_test_teardown(test_transposed, grad_release),
        cmocka_unit_test_teardown(test_linear, grad_release),
        cmocka_unit_test_teardown(test_norms, grad_release),
        cmocka_unit_test_teardown(test_activations, grad_release),
        cmocka_unit_test_teardown(test_max_pool, grad_release),
        cmocka_unit_test_teardown(test_upsample, grad_release),
        cmocka_unit_test_teardown(test_fusions, grad_release),
        cmocka_unit_test_teardown(test_softmax, grad_release),
        cmocka_unit_test_teardown(test_losses, grad_release),
        cmocka_unit_test(test_checker),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
