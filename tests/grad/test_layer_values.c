/*
 * test_layer_values.c - the layer primitives on values worked out by hand, convolutions against a plain loop in double,
 * equal bits with any number of threads, and misuse: an error, a sentence, and nothing changed.
 */
#include "grad.h"

static unetstar_context *ctx;

static void assert_floats(const float *got, const float *want, int count, double tolerance) {
    int i;
    for (i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * (1 + fabs((double)want[i]))))
            fail_msg("value %d is %.9g, not %.9g", i, (double)got[i], (double)want[i]);
}

/* ---- By hand ---- */

static void test_conv_values(void **state) {
    static const float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, weight[9] = {0, 1, 0, 2, 3, 4, 0, 5, 0}, bias[1] = {100};
    /* at the centre: 2 + 2*4 + 3*5 + 4*6 + 5*8 + 100 */
    static const float y[9] = {131, 145, 143, 168, 189, 176, 157, 179, 149};
    static const float dy[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0}, dweight[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    float out[9], gradient[9], dbias[1];
    (void)state;
    OK(unetstar_conv2d_forward(ctx, NULL, 1, 1, 3, 3, 1, x, weight, bias, out));
    assert_floats(out, y, 9, 0);
    OK(unetstar_conv2d_backward(ctx, NULL, 1, 1, 3, 3, 1, x, weight, dy, out, gradient, dbias));
    assert_floats(out, weight, 9, 0); /* a one in the middle spreads the kernel */
    assert_floats(gradient, dweight, 9, 0);
    assert_true(dbias[0] == 1);
}

static void test_transposed_values(void **state) {
    static const float x[2] = {1, 2}, weight[4] = {1, 2, 3, 4}, bias[1] = {10}, dy[8] = {1, 0, 0, 0, 0, 0, 0, 1};
    static const float y[8] = {11, 12, 12, 14, 13, 14, 16, 18}, dx[2] = {1, 4}, dweight[4] = {1, 0, 0, 2};
    float out[8], gradient[4], dbias[1];
    (void)state;
    OK(unetstar_conv_transpose2d_forward(ctx, 1, 1, 1, 2, 1, x, weight, bias, out));
    assert_floats(out, y, 8, 0);
    OK(unetstar_conv_transpose2d_backward(ctx, 1, 1, 1, 2, 1, x, weight, dy, out, gradient, dbias));
    assert_floats(out, dx, 2, 0);
    assert_floats(gradient, dweight, 4, 0);
    assert_true(dbias[0] == 2);
}

static void test_linear_values(void **state) {
    static const float x[4] = {1, 2, 3, 4}, weight[6] = {1, 0, 0, 1, 1, -1}, bias[3] = {0, 0, 10};
    static const float y[6] = {1, 2, 9, 3, 4, 9};
    float out[6];
    (void)state;
    OK(unetstar_linear_forward(ctx, 2, 2, 3, x, weight, bias, out));
    assert_floats(out, y, 6, 0);
}

static void test_batch_norm_values(void **state) {
    /* two channels of two images: 1 3 / 0 0 and 5 7 / 0 8; mean 4, variance 5, and mean 2, variance 12 */
    static const float x[8] = {1, 3, 0, 0, 5, 7, 0, 8}, gamma[2] = {1, 2}, beta[2] = {0, 1};
    float y[8], want[8], mean[2], inverse[2], running_mean[2] = {10, 10}, running_variance[2] = {1, 1};
    int i;
    (void)state;
    for (i = 0; i < 8; i++)
        want[i] = i / 2 % 2 ? (float)(2 * ((double)x[i] - 2) / sqrt(12) + 1) : (float)(((double)x[i] - 4) / sqrt(5));
    OK(unetstar_batch_norm_forward(ctx, 2, 2, 1, 2, x, gamma, beta, 0, 0.25f, running_mean, running_variance, y, mean,
                                   inverse));
    assert_floats(y, want, 8, 1e-6);
    assert_true(mean[0] == 4 && mean[1] == 2);
    want[0] = (float)(1 / sqrt(5));
    want[1] = (float)(1 / sqrt(12));
    assert_floats(inverse, want, 2, 1e-7);
    want[0] = 0.75f * 10 + 0.25f * 4;
    want[1] = 0.75f * 10 + 0.25f * 2;
    assert_floats(running_mean, want, 2, 1e-7);
    want[0] = (float)(0.75 + 0.25 * 5 * 4 / 3); /* the unbiased variance */
    want[1] = 0.75f + 0.25f * 16;
    assert_floats(running_variance, want, 2, 1e-6);
}

static void test_group_norm_values(void **state) {
    /* one image, four channels of one pixel: groups {1, 3} and {-2, 6} */
    static const float x[4] = {1, 3, -2, 6}, want[4] = {-1, 1, -1, 1}, gamma[4] = {1, 1, 1, 5}, beta[4] = {0, 0, 7, 0};
    static const float affine[4] = {-1, 1, 6, 5}, means[2] = {2, 2}, inverses[2] = {1, 0.25f};
    float y[4], mean[4], inverse[4], layer[4];
    int i;
    (void)state;
    OK(unetstar_group_norm_forward(ctx, 1, 4, 1, 1, 2, x, NULL, NULL, 0, y, mean, inverse));
    assert_floats(y, want, 4, 1e-6);
    assert_floats(mean, means, 2, 1e-6);
    assert_floats(inverse, inverses, 2, 1e-6);
    OK(unetstar_group_norm_forward(ctx, 1, 4, 1, 1, 2, x, gamma, beta, 0, y, mean, inverse));
    assert_floats(y, affine, 4, 1e-6);
    OK(unetstar_layer_norm_forward(ctx, 1, 4, 1, 1, x, NULL, NULL, 0, y, mean, inverse));
    for (i = 0; i < 4; i++)
        layer[i] = (float)(((double)x[i] - 2) / sqrt(8.5));
    assert_floats(y, layer, 4, 1e-6);
}

static void test_activation_values(void **state) {
    static const float x[6] = {-2, -0.5f, 0, 1, 6, 7}, ones[6] = {1, 1, 1, 1, 1, 1};
    static const float y[6][6] = {{-2, -0.5f, 0, 1, 6, 7},
                                  {0, 0, 0, 1, 6, 7},
                                  {-0.5f, -0.125f, 0, 1, 6, 7},
                                  {0, 0, 0, 1, 6, 6},
                                  {-0.238405844f, -0.188770334f, 0, 0.731058579f, 5.98516426f, 6.99362165f},
                                  {-0.0455002639f, -0.154268770f, 0, 0.841344746f, 5.99999999f, 7}};
    static const float dx[4][6] = {
        {1, 1, 1, 1, 1, 1}, {0, 0, 0, 1, 1, 1}, {0.25f, 0.25f, 0.25f, 1, 1, 1}, {0, 0, 0, 1, 0, 0}};
    float out[6];
    int32_t kind;
    (void)state;
    for (kind = 0; kind < 6; kind++) {
        OK(unetstar_activation_forward(ctx, kind, 0.25f, 6, x, out));
        assert_floats(out, y[kind], 6, 1e-6);
        if (kind < 4) {
            OK(unetstar_activation_backward(ctx, kind, 0.25f, 6, x, ones, out));
            assert_floats(out, dx[kind], 6, 0);
        }
        memcpy(out, x, sizeof out); /* in place */
        OK(unetstar_activation_forward(ctx, kind, 0.25f, 6, out, out));
        assert_floats(out, y[kind], 6, 1e-6);
    }
}

static void test_pool_values(void **state) {
    static const float x[8] = {1, 5, 3, 3, 2, 4, 3, 0}, y[2] = {5, 3}, dy[2] = {10, 20};
    static const float dx[8] = {0, 10, 20, 0, 0, 0, 0, 0}; /* of equal values the first */
    float out[8];
    (void)state;
    OK(unetstar_max_pool2d_forward(ctx, 1, 1, 2, 4, x, out));
    assert_floats(out, y, 2, 0);
    OK(unetstar_max_pool2d_backward(ctx, 1, 1, 2, 4, x, dy, out));
    assert_floats(out, dx, 8, 0);
}

static void test_upsample_values(void **state) {
    static const float x[2] = {0, 4}, dy[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const float nearest[8] = {0, 0, 4, 4, 0, 0, 4, 4}, bilinear[8] = {0, 1, 3, 4, 0, 1, 3, 4};
    static const float dx_nearest[2] = {14, 22}, dx_bilinear[2] = {14.5f, 21.5f};
    float out[8];
    (void)state;
    OK(unetstar_upsample2_forward(ctx, UNETSTAR_UPSAMPLING_NEAREST, 1, 1, 1, 2, x, out));
    assert_floats(out, nearest, 8, 0);
    OK(unetstar_upsample2_forward(ctx, UNETSTAR_UPSAMPLING_BILINEAR, 1, 1, 1, 2, x, out));
    assert_floats(out, bilinear, 8, 0);
    OK(unetstar_upsample2_backward(ctx, UNETSTAR_UPSAMPLING_NEAREST, 1, 1, 1, 2, dy, out));
    assert_floats(out, dx_nearest, 2, 0);
    OK(unetstar_upsample2_backward(ctx, UNETSTAR_UPSAMPLING_BILINEAR, 1, 1, 1, 2, dy, out));
    assert_floats(out, dx_bilinear, 2, 1e-6);
}

static void test_fusion_values(void **state) {
    static const float a[4] = {1, 2, 3, 4}, b[4] = {5, -6, 7, 8}, sum[4] = {6, -4, 10, 12},
                       product[4] = {5, -12, 21, 32};
    static const float both[8] = {1, 2, 5, -6, 3, 4, 7, 8};
    float out[8], da[4], db[4];
    (void)state;
    OK(unetstar_add_forward(ctx, 4, a, b, out));
    assert_floats(out, sum, 4, 0);
    OK(unetstar_multiply_forward(ctx, 4, a, b, out));
    assert_floats(out, product, 4, 0);
    memcpy(out, a, sizeof a); /* y may be a */
    OK(unetstar_multiply_forward(ctx, 4, out, b, out));
    assert_floats(out, product, 4, 0);
    OK(unetstar_concat_forward(ctx, 2, 1, 1, 1, 2, a, b, out));
    assert_floats(out, both, 8, 0);
    OK(unetstar_concat_backward(ctx, 2, 1, 1, 1, 2, both, da, db));
    assert_floats(da, a, 4, 0);
    assert_floats(db, b, 4, 0);
}

static void test_softmax_and_loss_values(void **state) {
    static const float z[2] = {0, 1.0986123f}, p[2] = {0.25f, 0.75f}, one = 1.0986123f, zeros[9] = {0};
    static const uint8_t label1 = 1, label0 = 0, outside = 0, label2 = 2;
    static const float dz[2] = {0.25f, -0.25f};
    unetstar_loss_options o;
    float out[9], ninth = (float)(1.0 / 9);
    double loss;
    int i;
    (void)state;
    OK(unetstar_softmax_forward(ctx, 1, 2, 1, 1, z, out));
    assert_floats(out, p, 2, 1e-7);
    OK(unetstar_softmax_forward(ctx, 1, 1, 1, 1, &one, out));
    assert_floats(out, p + 1, 1, 1e-7);
    OK(unetstar_softmax_forward(ctx, 1, 9, 1, 1, zeros, out)); /* more classes than a model may have */
    for (i = 0; i < 9; i++)
        assert_floats(out + i, &ninth, 1, 1e-7);
    OK(unetstar_loss(ctx, NULL, 1, 2, 1, 1, z, &label1, NULL, &loss, out));
    assert_true(fabs(loss + log(0.75)) < 1e-7);
    assert_floats(out, dz, 2, 1e-7);
    OK(unetstar_loss(ctx, NULL, 1, 1, 1, 1, &one, &label0, NULL, &loss, out));
    assert_true(fabs(loss + log(0.25)) < 1e-7 && fabs((double)out[0] - 0.75) < 1e-7);
    OK(unetstar_loss_options_init(&o, sizeof o));
    o.cross_entropy = 0;
    o.focal = 2;
    o.dice = 1;
    OK(unetstar_loss(ctx, &o, 1, 2, 1, 1, z, &label1, NULL, &loss, NULL));
    assert_true(fabs(loss - (2 * 0.0625 * -log(0.75) + 1 - (2 * 0.75 + 1) / (0.75 + 1 + 1))) < 1e-7);
    OK(unetstar_loss(ctx, &o, 1, 2, 1, 1, z, &label2, &outside, &loss, out)); /* nothing inside, not even its label */
    assert_true(loss == 0 && out[0] == 0 && out[1] == 0);
}

/* ---- Convolution against a plain loop ---- */

static double naive_conv(const unetstar_conv2d_options *o, int64_t c, int64_t h, int64_t w, int64_t c_out,
                         const float *x, const float *weight, int64_t n, int64_t co, int64_t y, int64_t col) {
    const int64_t per_group = c / o->groups, first = co / (c_out / o->groups) * per_group;
    double sum = 0;
    int64_t ci, ky, kx;
    for (ci = 0; ci < per_group; ci++)
        for (ky = 0; ky < o->kernel_h; ky++)
            for (kx = 0; kx < o->kernel_w; kx++) {
                const int64_t iy = y * o->stride_h - o->padding_h + ky * o->dilation;
                const int64_t ix = col * o->stride_w - o->padding_w + kx * o->dilation;
                if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                    sum += (double)x[((n * c + first + ci) * h + iy) * w + ix] *
                           (double)weight[((co * per_group + ci) * o->kernel_h + ky) * o->kernel_w + kx];
            }
    return sum;
}

static void check_naive(const unetstar_conv2d_options *o, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out) {
    const int64_t ho = (h + 2 * o->padding_h - o->dilation * (o->kernel_h - 1) - 1) / o->stride_h + 1;
    const int64_t wo = (w + 2 * o->padding_w - o->dilation * (o->kernel_w - 1) - 1) / o->stride_w + 1;
    float *x = grad_random(n * c * h * w, -1, 1), *bias = grad_random(c_out, -1, 1),
          *y = grad_zeros(n * c_out * ho * wo);
    float *weight = grad_random(c_out * (c / o->groups) * o->kernel_h * o->kernel_w, -1, 1);
    const float *got = y;
    int64_t i, co, row, col;
    OK(unetstar_conv2d_forward(ctx, o, n, c, h, w, c_out, x, weight, bias, y));
    for (i = 0; i < n; i++)
        for (co = 0; co < c_out; co++)
            for (row = 0; row < ho; row++)
                for (col = 0; col < wo; col++, got++) {
                    const double want = naive_conv(o, c, h, w, c_out, x, weight, i, co, row, col) + (double)bias[co];
                    if (!(fabs((double)*got - want) <= 2e-5 * (1 + fabs(want))))
                        fail_msg("%d x %d, stride %d, c %d -> %d, %d x %d: %.9g, not %.9g", o->kernel_h, o->kernel_w,
                                 o->stride_h, (int)c, (int)c_out, (int)h, (int)w, (double)*got, want);
                }
    grad_release(NULL);
}

static void test_conv_naive(void **state) {
    static const int64_t channels[] = {1, 3, 16, 17, 33}, sizes[][2] = {{1, 1}, {5, 7}, {1, 9}, {40, 3}};
    unetstar_conv2d_options o;
    int a, b, s;
    (void)state;
    grad_seed(1);
    for (a = 0; a < 5; a++)
        for (b = 0; b < 5; b++)
            for (s = 0; s < 4; s++) {
                OK(unetstar_conv2d_options_init(&o, sizeof o));
                check_naive(&o, 2, channels[a], sizes[s][0], sizes[s][1], channels[b]);
                o.stride_h = 2; /* the other path */
                check_naive(&o, 2, channels[a], sizes[s][0], sizes[s][1], channels[b]);
            }
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.kernel_h = 5;
    o.padding_h = 3;
    o.dilation = 2;
    o.groups = 3;
    check_naive(&o, 2, 6, 11, 8, 9);
}

/* ---- Threads ---- */

/* ---- A linear layer is a 1x1 convolution: over the pixels of one image or the values of many, the sums are the same ---- */

static void transpose(const float *from, int64_t rows, int64_t columns, float *to) {
    int64_t i, k;
    for (i = 0; i < rows; i++)
        for (k = 0; k < columns; k++)
            to[k * rows + i] = from[i * columns + k];
}

static void check_linear(int64_t n, int64_t c, int64_t c_out, const float *bias) {
    const float *x = grad_random(n * c, -1, 1), *dy = grad_random(n * c_out, -1, 1);
    const float *weight = grad_random(c * c_out, -1, 1);
    float *xt = grad_zeros(n * c), *dyt = grad_zeros(n * c_out), *got[4], *want[4], *turned = grad_zeros(n * (c + c_out));
    const int64_t counts[4] = {n * c_out, n * c, c * c_out, c_out};
    unetstar_conv2d_options o;
    int i;
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.kernel_h = o.kernel_w = 1;
    o.padding_h = o.padding_w = 0;
    for (i = 0; i < 4; i++) {
        got[i] = grad_zeros(counts[i]);
        want[i] = grad_zeros(counts[i]);
    }
    transpose(x, n, c, xt);
    transpose(dy, n, c_out, dyt);
    OK(unetstar_linear_forward(ctx, n, c, c_out, x, weight, bias, got[0]));
    OK(unetstar_linear_backward(ctx, n, c, c_out, x, weight, dy, got[1], got[2], got[3]));
    OK(unetstar_conv2d_forward(ctx, &o, 1, c, 1, n, c_out, xt, weight, bias, turned));
    transpose(turned, c_out, n, want[0]);
    OK(unetstar_conv2d_backward(ctx, &o, 1, c, 1, n, c_out, xt, weight, dyt, turned, want[2], want[3]));
    transpose(turned, c, n, want[1]);
    for (i = 0; i < 4; i++)
        assert_memory_equal(got[i], want[i], (size_t)counts[i] * sizeof(float));
}

static void test_linear_is_convolution(void **state) {
    static const int64_t sizes[] = {2, 7, 8, 9, 15, 16, 17, 33, 100};
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            check_linear(sizes[(i + k) % 9], sizes[i], sizes[k], grad_random(sizes[k], -1, 1));
            check_linear(sizes[(2 * i + k) % 9], sizes[i], sizes[k], NULL);
            grad_release(NULL);
        }
}

static void compute(unetstar_context *context, const float *x, const float *weight, const float *dy, float *out) {
    enum { N = 3, C = 20, H = 24, W = 18, MAP = N * C * H * W, WEIGHT = C * C * 9 };
    float *mean = out + 8 * MAP, *inverse = mean + N * C;
    OK(unetstar_conv2d_forward(context, NULL, N, C, H, W, C, x, weight, NULL, out));
    OK(unetstar_conv2d_backward(context, NULL, N, C, H, W, C, x, weight, dy, out + MAP, out + 9 * MAP,
                                out + 9 * MAP + WEIGHT));
    OK(unetstar_group_norm_forward(context, N, C, H, W, 4, x, NULL, NULL, 1e-5f, out + 2 * MAP, mean, inverse));
    OK(unetstar_group_norm_backward(context, N, C, H, W, 4, x, NULL, mean, inverse, dy, out + 3 * MAP, NULL, NULL));
    OK(unetstar_upsample2_backward(context, UNETSTAR_UPSAMPLING_BILINEAR, N, C, H / 2, W / 2, dy, out + 4 * MAP));
    OK(unetstar_max_pool2d_backward(context, N, C, H, W, x, dy, out + 5 * MAP));
    OK(unetstar_activation_forward(context, UNETSTAR_ACTIVATION_GELU, 0, MAP, x, out + 6 * MAP));
    OK(unetstar_softmax_forward(context, N, C, H, W, x, out + 7 * MAP));
}

static void test_threads(void **state) {
    const int64_t map = 3 * 20 * 24 * 18, weight = 20 * 20 * 9, all = 10 * map + 2 * weight;
    float *x, *w, *dy, *first, *other;
    int threads;
    (void)state;
    grad_seed(2);
    x = grad_random(map, -1, 1);
    w = grad_random(weight, -1, 1);
    dy = grad_random(map, -1, 1);
    first = grad_zeros(all);
    other = grad_zeros(all);
    compute(ctx, x, w, dy, first);
    for (threads = 1; threads <= 5; threads += 2) {
        unetstar_context *context = grad_context(threads);
        memset(other, 0, (size_t)all * sizeof *other);
        compute(context, x, w, dy, other);
        assert_memory_equal(first, other, (size_t)all * sizeof *other);
        unetstar_context_destroy(context);
    }
}

/* ---- Misuse ---- */

static float buffer[64], before[64], fill[64];

static void refused(int code, int want, const char *word) {
    if (code != want)
        fail_msg("%s: the result is %d, not %d", word, code, want);
    if (!strstr(unetstar_last_error(), word))
        fail_msg("the sentence \"%s\" does not name %s", unetstar_last_error(), word);
    assert_memory_equal(buffer, before, sizeof buffer);
}

#define INVALID(call, word) refused((call), UNETSTAR_EINVAL, (word))
#define SHAPE(call, word) refused((call), UNETSTAR_ESHAPE, (word))

static void start_misuse(void) {
    int i;
    for (i = 0; i < 64; i++) {
        buffer[i] = before[i] = (float)(i + 1000);
        fill[i] = 1;
    }
}

static void test_misuse_conv(void **state) {
    const float *f = fill;
    unetstar_conv2d_options o;
    (void)state;
    start_misuse();
    INVALID(unetstar_conv2d_options_init(NULL, sizeof o), "options");
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    INVALID(unetstar_conv2d_forward(NULL, NULL, 1, 1, 1, 1, 1, f, f, f, buffer), "context");
    INVALID(unetstar_conv2d_forward(ctx, NULL, 1, 1, 1, 1, 1, NULL, f, f, buffer), "x");
    INVALID(unetstar_conv2d_forward(ctx, NULL, 1, 1, 1, 1, 1, f, NULL, f, buffer), "weight");
    INVALID(unetstar_conv2d_forward(ctx, NULL, 1, 1, 1, 1, 1, f, f, f, NULL), "y");
    INVALID(unetstar_conv2d_backward(ctx, NULL, 1, 1, 1, 1, 1, f, f, NULL, buffer, buffer, buffer), "dy");
    SHAPE(unetstar_conv2d_forward(ctx, NULL, 0, 1, 1, 1, 1, f, f, f, buffer), "n is 0");
    SHAPE(unetstar_conv2d_forward(ctx, NULL, 1, -3, 1, 1, 1, f, f, f, buffer), "c is -3");
    SHAPE(unetstar_conv2d_forward(ctx, NULL, 1, 1, 0, 1, 1, f, f, f, buffer), "h is 0");
    SHAPE(unetstar_conv2d_forward(ctx, NULL, 1, 1, 1, 0, 1, f, f, f, buffer), "w is 0");
    SHAPE(unetstar_conv2d_backward(ctx, NULL, 1, 1, 1, 1, 0, f, f, f, buffer, NULL, NULL), "c_out is 0");
    refused(unetstar_conv2d_forward(ctx, NULL, 1 << 20, 1 << 20, 1 << 20, 1, 1, f, f, f, buffer), UNETSTAR_ELIMIT, "");
    refused(unetstar_conv2d_forward(ctx, NULL, INT64_MAX, INT64_MAX, 1, 1, 1, f, f, f, buffer), UNETSTAR_ELIMIT, "");
    o.stride_w = 0;
    SHAPE(unetstar_conv2d_forward(ctx, &o, 1, 1, 1, 1, 1, f, f, f, buffer), "stride_w");
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.groups = 2;
    SHAPE(unetstar_conv2d_forward(ctx, &o, 1, 2, 1, 1, 1, f, f, f, buffer), "groups");
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.padding_h = 0;
    SHAPE(unetstar_conv2d_forward(ctx, &o, 1, 1, 2, 2, 1, f, f, f, buffer), "h is 2");
    o.struct_size = 0;
    INVALID(unetstar_conv2d_forward(ctx, &o, 1, 1, 4, 4, 1, f, f, f, buffer), "struct_size");
    SHAPE(unetstar_conv_transpose2d_forward(ctx, 1, 1, 1, 0, 1, f, f, f, buffer), "w is 0");
    SHAPE(unetstar_conv_transpose2d_backward(ctx, 1, 1, 1, 1, 0, f, f, f, buffer, NULL, NULL), "c_out is 0");
    INVALID(unetstar_conv_transpose2d_forward(ctx, 1, 1, 1, 1, 1, f, f, f, NULL), "y");
    SHAPE(unetstar_linear_forward(ctx, 1, 0, 1, f, f, f, buffer), "c is 0");
    INVALID(unetstar_linear_backward(ctx, 1, 1, 1, f, f, NULL, buffer, NULL, NULL), "dy");
}

static void test_misuse_norm(void **state) {
    const float *f = fill;
    float *b = buffer;
    (void)state;
    start_misuse();
    INVALID(unetstar_batch_norm_forward(NULL, 1, 1, 1, 1, f, f, f, 0, 0, NULL, NULL, b, b, b), "context");
    INVALID(unetstar_batch_norm_forward(ctx, 1, 1, 1, 1, NULL, f, f, 0, 0, NULL, NULL, b, b, b), "x");
    INVALID(unetstar_batch_norm_forward(ctx, 1, 1, 1, 1, f, f, f, 0, 0, NULL, NULL, b, NULL, b), "save_mean");
    INVALID(unetstar_batch_norm_forward(ctx, 1, 1, 1, 1, f, f, f, 0, 0, b, NULL, b, b, b), "running_variance");
    INVALID(unetstar_batch_norm_forward(ctx, 1, 1, 1, 1, f, f, f, NAN, 0, NULL, NULL, b, b, b), "eps");
    INVALID(unetstar_batch_norm_forward(ctx, 1, 1, 1, 1, f, f, f, 0, 2, NULL, NULL, b, b, b), "momentum");
    SHAPE(unetstar_batch_norm_forward(ctx, 1, 0, 1, 1, f, f, f, 0, 0, NULL, NULL, b, b, b), "c is 0");
    SHAPE(unetstar_group_norm_forward(ctx, 1, 3, 1, 1, 2, f, f, f, 0, b, b, b), "groups is 2");
    SHAPE(unetstar_group_norm_forward(ctx, 1, 3, 1, 1, 0, f, f, f, 0, b, b, b), "groups is 0");
    SHAPE(unetstar_layer_norm_backward(ctx, 1, 3, 0, 1, f, f, f, f, f, b, b, b), "h is 0");
    INVALID(unetstar_layer_norm_backward(ctx, 1, 3, 1, 1, f, f, f, NULL, f, b, b, b), "save_inverse_std");
}

static void test_misuse_others(void **state) {
    const float *f = fill;
    float *b = buffer;
    (void)state;
    start_misuse();
    INVALID(unetstar_activation_forward(ctx, 6, 0, 4, f, b), "activation is 6");
    INVALID(unetstar_activation_forward(ctx, -1, 0, 4, f, b), "activation is -1");
    INVALID(unetstar_activation_forward(ctx, UNETSTAR_ACTIVATION_LEAKY_RELU, INFINITY, 4, f, b), "slope");
    INVALID(unetstar_activation_backward(ctx, 0, 0, 4, f, NULL, b), "dy");
    SHAPE(unetstar_activation_forward(ctx, 0, 0, 0, f, b), "count is 0");
    SHAPE(unetstar_max_pool2d_forward(ctx, 1, 1, 3, 4, f, b), "h is 3");
    SHAPE(unetstar_max_pool2d_forward(ctx, 1, 1, 4, 1, f, b), "w is 1");
    SHAPE(unetstar_max_pool2d_backward(ctx, 1, 1, 4, 5, f, f, b), "w is 5");
    OK(unetstar_max_pool2d_backward(ctx, 1, 1, 4, 4, f, f, NULL)); /* a gradient that nobody wants is no error */
    INVALID(unetstar_upsample2_forward(ctx, UNETSTAR_UPSAMPLING_TRANSPOSED, 1, 1, 1, 1, f, b), "mode is 2");
    SHAPE(unetstar_upsample2_backward(ctx, 0, 1, 1, 0, 1, f, b), "h is 0");
    SHAPE(unetstar_add_forward(ctx, 0, f, f, b), "count");
    INVALID(unetstar_add_forward(ctx, 1, f, NULL, b), "argument b");
    INVALID(unetstar_multiply_backward(ctx, 1, f, f, NULL, b, b), "dy");
    SHAPE(unetstar_concat_forward(ctx, 1, 1, 0, 1, 1, f, f, b), "cb is 0");
    SHAPE(unetstar_concat_backward(ctx, 1, 0, 1, 1, 1, f, b, b), "ca is 0");
    SHAPE(unetstar_softmax_forward(ctx, 1, 0, 1, 1, f, b), "c is 0");
    INVALID(unetstar_softmax_backward(ctx, 1, 1, 1, 1, f, NULL, b), "dy");
}

static void test_misuse_loss(void **state) {
    static const uint8_t labels[4] = {0, 1, 2, 1};
    const float *f = fill;
    unetstar_loss_options o;
    double loss = 42;
    (void)state;
    start_misuse();
    INVALID(unetstar_loss(ctx, NULL, 1, 2, 2, 2, f, labels, NULL, &loss, buffer), "label");
    INVALID(unetstar_loss(ctx, NULL, 1, 1, 2, 2, f, labels, NULL, &loss, buffer), "label");
    INVALID(unetstar_loss(ctx, NULL, 1, 3, 2, 2, f, NULL, NULL, &loss, buffer), "labels");
    INVALID(unetstar_loss(ctx, NULL, 1, 3, 2, 2, f, labels, NULL, NULL, buffer), "loss");
    SHAPE(unetstar_loss(ctx, NULL, 1, 9, 2, 2, f, labels, NULL, &loss, buffer), "c is 9");
    SHAPE(unetstar_loss(ctx, NULL, 1, 3, 2, 0, f, labels, NULL, &loss, buffer), "w is 0");
    OK(unetstar_loss_options_init(&o, sizeof o));
    o.dice = -1;
    INVALID(unetstar_loss(ctx, &o, 1, 3, 2, 2, f, labels, NULL, &loss, buffer), "dice");
    o.dice = 0;
    o.class_weights[2] = NAN;
    INVALID(unetstar_loss(ctx, &o, 1, 3, 2, 2, f, labels, NULL, &loss, buffer), "class_weights");
    assert_true(loss == 42);
}

/* ---- Out of memory: ENOMEM, nothing changed, nothing left behind ---- */

static int alive, countdown;

static void *failing_alloc(void *user, size_t size, size_t alignment) {
    void *pointer = NULL;
    (void)user;
    if (countdown-- <= 0 || posix_memalign(&pointer, alignment, size))
        return NULL;
    alive++;
    return pointer;
}

static void counting_free(void *user, void *pointer, size_t size) {
    (void)user;
    (void)size;
    alive--;
    free(pointer);
}

/* Layer `which` on 1 x 2 x 2 x 2 values; all outputs go to the buffer. -1 after the last. */
static int run_layer(unetstar_context *context, int which) {
    const float *f = fill;
    float *b = buffer;
    static const uint8_t labels[4] = {0, 1, 1, 0};
    static double loss;
    switch (which) {
    case 0:
        return unetstar_conv2d_forward(context, NULL, 1, 2, 2, 2, 1, f, f, f, b);
    case 1:
        return unetstar_conv2d_backward(context, NULL, 1, 2, 2, 2, 1, f, f, f, b, b + 8, b + 32);
    case 2:
        return unetstar_conv_transpose2d_forward(context, 1, 2, 2, 2, 1, f, f, f, b);
    case 3:
        return unetstar_conv_transpose2d_backward(context, 1, 2, 2, 2, 1, f, f, f, b, b + 8, b + 32);
    case 4:
        return unetstar_batch_norm_forward(context, 1, 2, 2, 2, f, f, f, 1, 0.1f, b + 32, b + 34, b, b + 8, b + 16);
    case 5:
        return unetstar_batch_norm_backward(context, 1, 2, 2, 2, f, f, f, f, f, b, b + 8, b + 16);
    case 6:
        return unetstar_group_norm_forward(context, 1, 2, 2, 2, 2, f, f, f, 1, b, b + 8, b + 16);
    case 7:
        return unetstar_layer_norm_backward(context, 1, 2, 2, 2, f, f, f, f, f, b, b + 8, b + 16);
    case 8:
        return unetstar_max_pool2d_forward(context, 1, 2, 2, 2, f, b);
    case 9:
        return unetstar_max_pool2d_backward(context, 1, 2, 2, 2, f, f, b);
    case 10:
        return unetstar_upsample2_forward(context, UNETSTAR_UPSAMPLING_BILINEAR, 1, 2, 2, 2, f, b);
    case 11:
        return unetstar_upsample2_backward(context, UNETSTAR_UPSAMPLING_NEAREST, 1, 2, 2, 2, f, b);
    case 12:
        return unetstar_loss(context, NULL, 1, 2, 2, 2, f, labels, NULL, &loss, b);
    default:
        return -1000;
    }
}

static void test_out_of_memory(void **state) {
    unetstar_context_options options;
    unetstar_context *context = NULL;
    int which, allowed, code = 0, before_call;
    (void)state;
    OK(unetstar_context_options_init(&options, sizeof options));
    options.alloc = failing_alloc;
    options.free = counting_free;
    options.n_threads = 1;
    countdown = 1000;
    OK(unetstar_context_create(&context, &options));
    before_call = alive;
    for (which = 0; code != -1000; which++)
        for (allowed = 0, code = UNETSTAR_ENOMEM; code == UNETSTAR_ENOMEM; allowed++) {
            start_misuse();
            countdown = allowed;
            code = run_layer(context, which);
            assert_int_equal(alive, before_call);
            if (code == UNETSTAR_ENOMEM)
                assert_memory_equal(buffer, before, sizeof buffer);
            else if (code != -1000) {
                OK(code);
                assert_true(allowed > 0 && memcmp(buffer, before, sizeof buffer));
            }
        }
    assert_int_equal(which, 14);
    unetstar_context_destroy(context);
    assert_int_equal(alive, 0);
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
        cmocka_unit_test(test_conv_values),
        cmocka_unit_test(test_transposed_values),
        cmocka_unit_test(test_linear_values),
        cmocka_unit_test(test_batch_norm_values),
        cmocka_unit_test(test_group_norm_values),
        cmocka_unit_test(test_activation_values),
        cmocka_unit_test(test_pool_values),
        cmocka_unit_test(test_upsample_values),
        cmocka_unit_test(test_fusion_values),
        cmocka_unit_test(test_softmax_and_loss_values),
        cmocka_unit_test_teardown(test_conv_naive, grad_release),
        cmocka_unit_test_teardown(test_threads, grad_release),
        cmocka_unit_test(test_misuse_conv),
        cmocka_unit_test(test_misuse_norm),
        cmocka_unit_test_teardown(test_linear_is_convolution, grad_release),
        cmocka_unit_test(test_misuse_others),
        cmocka_unit_test(test_misuse_loss),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
