/*
 * test_branches.c - gradients at the branches of fusions, against the same network put together by hand from the layer
 * primitives, and against what must hold between them.
 */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2, H = 12, W = 20, CHANNELS = 2, CLASSES = 2, MOST = 2 * 8 * N * H * W };

static unetstar_context *context;
static float x[N * CHANNELS * H * W];
static uint8_t labels[N * H * W], mask[N * H * W];

static unetstar_model *make(int32_t fusion, int32_t activation, int32_t upsampling, int32_t levels, int32_t full) {
    unetstar_model_options o;
    unetstar_model *model;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.0625; /* 4 and 8 channels */
    o.in_channels = CHANNELS;
    o.classes = CLASSES;
    o.levels = levels;
    o.fusion = fusion;
    o.activation = activation;
    o.upsampling = upsampling;
    o.full_resolution_head = full;
    o.precision = UNETSTAR_PRECISION_EXACT;
    OK(unetstar_model_create(&model, context, &o));
    return model;
}

static unetstar_branch_gradients measure(const unetstar_model *model, const uint8_t *inside) {
    unetstar_branch_gradients g;
    memset(&g, 0xee, sizeof g);
    g.struct_size = sizeof g;
    OK(unetstar_model_branch_gradients(model, N, H, W, x, labels, inside, NULL, &g));
    return g;
}

static double norm_of(const float *values, int count) {
    double sum = 0;
    int i;
    for (i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum);
}

/* ---- The network of two levels with a head at full resolution, by hand ---- */

/* A convolution with batch norm and ReLU: what its backward pass needs. */
struct layer {
    int c_in, c_out, h, w;
    float weight[16 * 8 * 9], bias[8], gamma[8], beta[8], mean[8], inverse[8];
    float in[MOST], z[MOST], normed[MOST], out[MOST];
};

static void get(const unetstar_model *model, const char *name, int index, const char *part, float *data, int count) {
    char full[64];
    snprintf(full, sizeof full, "%s.%d.%s", name, index, part);
    OK(unetstar_model_tensor_get(model, full, data, count));
}

static const float *run_layer(struct layer *l, const unetstar_model *model, const char *name, int index,
                              const float *in, int c_in, int c_out, int h, int w) {
    const int count = N * c_out * h * w;
    l->c_in = c_in;
    l->c_out = c_out;
    l->h = h;
    l->w = w;
    get(model, name, index, "weight", l->weight, c_out * c_in * 9);
    get(model, name, index, "bias", l->bias, c_out);
    get(model, name, index + 1, "weight", l->gamma, c_out);
    get(model, name, index + 1, "bias", l->beta, c_out);
    memcpy(l->in, in, sizeof(float) * (size_t)(N * c_in * h * w));
    OK(unetstar_conv2d_forward(context, NULL, N, c_in, h, w, c_out, l->in, l->weight, l->bias, l->z));
    OK(unetstar_batch_norm_forward(context, N, c_out, h, w, l->z, l->gamma, l->beta, 1e-5f, 0.1f, NULL, NULL, l->normed,
                                   l->mean, l->inverse));
    OK(unetstar_activation_forward(context, UNETSTAR_ACTIVATION_RELU, 0, count, l->normed, l->out));
    return l->out;
}

/* dy becomes the gradient at the layer's input. */
static void back_layer(const struct layer *l, float *dy) {
    static float a[MOST], b[MOST];
    const int count = N * l->c_out * l->h * l->w;
    OK(unetstar_activation_backward(context, UNETSTAR_ACTIVATION_RELU, 0, count, l->normed, dy, a));
    OK(unetstar_batch_norm_backward(context, N, l->c_out, l->h, l->w, l->z, l->gamma, l->mean, l->inverse, a, b, NULL,
                                    NULL));
    OK(unetstar_conv2d_backward(context, NULL, N, l->c_in, l->h, l->w, l->c_out, l->in, l->weight, b, dy, NULL, NULL));
}

/* Two layers; returns the second's output. */
static const float *run_pair(struct layer *pair, const unetstar_model *model, const char *name, const float *in,
                             int c_in, int c_out, int h, int w) {
    const float *first = run_layer(&pair[0], model, name, 0, in, c_in, c_out, h, w);
    return run_layer(&pair[1], model, name, 3, first, c_out, c_out, h, w);
}

struct fusion {
    int kind, c, h, w;
    float main[MOST], fused[MOST];
    const float *skip;
};

static void run_fusion(struct fusion *f, int kind, int mode, const float *below, const float *skip, int c, int h,
                       int w) {
    const int count = N * c * h * w;
    f->kind = kind;
    f->c = c;
    f->h = h;
    f->w = w;
    f->skip = skip;
    OK(unetstar_upsample2_forward(context, mode, N, c, h / 2, w / 2, below, f->main));
    if (kind == UNETSTAR_FUSION_SUM)
        OK(unetstar_add_forward(context, count, f->main, skip, f->fused));
    else if (kind == UNETSTAR_FUSION_STAR)
        OK(unetstar_multiply_forward(context, count, f->main, skip, f->fused));
    else
        OK(unetstar_concat_forward(context, N, c, c, h, w, f->main, skip, f->fused));
}

/* dy, at the fused map, becomes the gradient at the map below. */
static void back_fusion(const struct fusion *f, int mode, float *dy, unetstar_branch_gradients *g, int number) {
    static float main[MOST], skip[MOST];
    const int count = N * f->c * f->h * f->w;
    g->fused[number] = norm_of(dy, f->kind == UNETSTAR_FUSION_CONCAT ? 2 * count : count);
    if (f->kind == UNETSTAR_FUSION_SUM)
        OK(unetstar_add_backward(context, count, dy, main, skip));
    else if (f->kind == UNETSTAR_FUSION_STAR)
        OK(unetstar_multiply_backward(context, count, f->main, f->skip, dy, main, skip));
    else
        OK(unetstar_concat_backward(context, N, f->c, f->c, f->h, f->w, dy, main, skip));
    g->main[number] = norm_of(main, count);
    g->skip[number] = norm_of(skip, count);
    OK(unetstar_upsample2_backward(context, mode, N, f->c, f->h / 2, f->w / 2, main, dy));
}

static void by_hand(unetstar_branch_gradients *g, const unetstar_model *model, int kind, int mode,
                    const uint8_t *inside) {
    static struct layer e0[2], e1[2], d0[2], d1[2], d2[2];
    static struct fusion f0, f1;
    static float pool[MOST], logits[MOST], dlogits[MOST], dy[MOST], head[CLASSES * 4], head_bias[CLASSES];
    const int wide = kind == UNETSTAR_FUSION_CONCAT ? 2 : 1;
    const float *at, *skip0, *skip1;
    unetstar_conv2d_options one;
    OK(unetstar_conv2d_options_init(&one, sizeof one));
    one.kernel_h = one.kernel_w = 1;
    one.padding_h = one.padding_w = 0;
    skip0 = run_pair(e0, model, "encoder.0.conv", x, CHANNELS, 4, H, W);
    OK(unetstar_max_pool2d_forward(context, N, 4, H, W, skip0, pool));
    skip1 = run_pair(e1, model, "encoder.1.conv", pool, 4, 8, H / 2, W / 2);
    OK(unetstar_max_pool2d_forward(context, N, 8, H / 2, W / 2, skip1, pool));
    at = run_pair(d0, model, "decoder.0.conv", pool, 8, 8, H / 4, W / 4);
    run_fusion(&f0, kind, mode, at, skip1, 8, H / 2, W / 2);
    at = run_pair(d1, model, "decoder.1.conv", f0.fused, 8 * wide, 4, H / 2, W / 2);
    run_fusion(&f1, kind, mode, at, skip0, 4, H, W);
    at = run_pair(d2, model, "decoder.2.conv", f1.fused, 4 * wide, 4, H, W);
    OK(unetstar_model_tensor_get(model, "out.weight", head, CLASSES * 4));
    OK(unetstar_model_tensor_get(model, "out.bias", head_bias, CLASSES));
    OK(unetstar_conv2d_forward(context, &one, N, 4, H, W, CLASSES, at, head, head_bias, logits));
    OK(unetstar_loss(context, NULL, N, CLASSES, H, W, logits, labels, inside, &g->loss, dlogits));
    OK(unetstar_conv2d_backward(context, &one, N, 4, H, W, CLASSES, at, head, dlogits, dy, NULL, NULL));
    back_layer(&d2[1], dy);
    back_layer(&d2[0], dy);
    back_fusion(&f1, mode, dy, g, 1);
    back_layer(&d1[1], dy);
    back_layer(&d1[0], dy);
    back_fusion(&f0, mode, dy, g, 0);
}

static void near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%.17g, not %.17g", got, want);
}

static void test_by_hand(void **state) {
    int kind, mode, k;
    (void)state;
    for (kind = UNETSTAR_FUSION_SUM; kind <= UNETSTAR_FUSION_CONCAT; kind++)
        for (mode = UNETSTAR_UPSAMPLING_NEAREST; mode <= UNETSTAR_UPSAMPLING_BILINEAR; mode++) {
            unetstar_model *model = make(kind, UNETSTAR_ACTIVATION_RELU, mode, 2, 1);
            const uint8_t *inside = mode ? mask : NULL;
            unetstar_branch_gradients want, got = measure(model, inside);
            by_hand(&want, model, kind, mode, inside);
            assert_int_equal(got.n_fusions, 2);
            assert_int_equal(got.reserved, 0);
            near(got.loss, want.loss, 1e-6);
            for (k = 0; k < 2; k++) {
                assert_true(want.fused[k] > 0);
                near(got.fused[k], want.fused[k], 2e-5);
                near(got.main[k], want.main[k], 2e-5);
                near(got.skip[k], want.skip[k], 2e-5);
            }
            assert_true(got.fused[2] == 0 && got.main[2] == 0 && got.skip[4] == 0);
            unetstar_model_destroy(model);
        }
}

/* Every other shape: sums hand on, concatenations share out, and the coarsest fusion comes first. */
static void test_relations(void **state) {
    int kind, up, k;
    (void)state;
    for (kind = UNETSTAR_FUSION_SUM; kind <= UNETSTAR_FUSION_CONCAT; kind++)
        for (up = UNETSTAR_UPSAMPLING_NEAREST; up <= UNETSTAR_UPSAMPLING_TRANSPOSED; up++) {
            unetstar_model *model = make(kind, UNETSTAR_ACTIVATION_NONE, up, 4, up == 1);
            const unetstar_branch_gradients g = measure(model, NULL);
            assert_int_equal(g.n_fusions, up == 1 ? 4 : 3);
            for (k = 0; k < g.n_fusions; k++) {
                assert_true(g.fused[k] > 0 && g.main[k] > 0 && g.skip[k] > 0);
                if (kind == UNETSTAR_FUSION_SUM)
                    assert_true(g.main[k] == g.fused[k] && g.skip[k] == g.fused[k]);
                if (kind == UNETSTAR_FUSION_CONCAT)
                    near(g.fused[k], hypot(g.main[k], g.skip[k]), 1e-12);
                if (kind == UNETSTAR_FUSION_STAR)
                    assert_true(g.main[k] != g.skip[k]);
            }
            unetstar_model_destroy(model);
        }
}

/* The model is only read, and the result depends on nothing but the batch; saturation is of the output. */
static void test_leaves_the_model(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_RELU, 0, 3, 0);
    const unetstar_branch_gradients first = measure(model, mask);
    unetstar_branch_gradients again;
    unetstar_context *const one = context;
    unetstar_context_options threads;
    unetstar_model *other;
    float running[4], bias[CLASSES] = {0, 30};
    int64_t batches;
    (void)state;
    OK(unetstar_model_tensor_get(model, "encoder.0.conv.1.running_mean", running, 4));
    OK(unetstar_model_tensor_get(model, "encoder.0.conv.1.num_batches_tracked", &batches, 1));
    assert_true(running[0] == 0 && batches == 0);
    again = measure(model, mask);
    assert_memory_equal(&again, &first, sizeof again);
    assert_true(first.saturated == 0);
    OK(unetstar_model_tensor_set(model, "out.bias", bias, CLASSES));
    again = measure(model, mask);
    assert_true(again.saturated > 0.99);
    unetstar_model_destroy(model);
    OK(unetstar_context_options_init(&threads, sizeof threads));
    threads.n_threads = 3;
    threads.isa_limit = UNETSTAR_ISA_REFERENCE;
    OK(unetstar_context_create(&context, &threads));
    other = make(UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_RELU, 0, 3, 0);
    again = measure(other, mask);
    assert_memory_equal(&again, &first, sizeof again);
    unetstar_model_destroy(other);
    unetstar_context_destroy(context);
    context = one;
}

static void test_refusals(void **state) {
    unetstar_model *model = make(UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_NONE, 0, 2, 0);
    unetstar_loss_options loss;
    unetstar_branch_gradients g;
    (void)state;
    g.struct_size = sizeof g;
    FAILS(UNETSTAR_ESHAPE, unetstar_model_branch_gradients(model, 0, H, W, x, labels, NULL, NULL, &g));
    FAILS(UNETSTAR_ESHAPE, unetstar_model_branch_gradients(model, 1, H, 0, x, labels, NULL, NULL, &g));
    FAILS(UNETSTAR_ESHAPE, unetstar_model_branch_gradients(model, 1, 8193, W, x, labels, NULL, NULL, &g));
    labels[5] = CLASSES;
    FAILS_NAMING(UNETSTAR_EINVAL, "label", unetstar_model_branch_gradients(model, 1, H, W, x, labels, NULL, NULL, &g));
    labels[5] = 0;
    OK(unetstar_loss_options_init(&loss, sizeof loss));
    loss.dice = -1;
    FAILS_NAMING(UNETSTAR_EINVAL, "dice", unetstar_model_branch_gradients(model, 1, H, W, x, labels, NULL, &loss, &g));
    g.struct_size = 0;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size",
                 unetstar_model_branch_gradients(model, 1, H, W, x, labels, NULL, NULL, &g));
    unetstar_model_destroy(model);
}

static int start(void **state) {
    int k;
    (void)state;
    for (k = 0; k < COUNT(x); k++)
        x[k] = noise((uint64_t)k);
    for (k = 0; k < COUNT(labels); k++) {
        labels[k] = noise((uint64_t)k + 7919) > 0.3f;
        mask[k] = k % 5 != 0;
    }
    OK(unetstar_context_create(&context, NULL));
    return 0;
}

static int stop(void **state) {
    (void)state;
    unetstar_context_destroy(context);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_leaves_the_model),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
