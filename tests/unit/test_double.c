/*
 * test_double.c - the forward pass in double: against the evaluation in floats for every kind of layer; frozen maxima;
 * and the degree that finite differences find, which know nothing of least squares.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/double.h"

enum { H = 13, W = 22, CLASSES = 3, CHANNELS = 2, VALUES = CLASSES * H * W };

static us_context *ctx;
static float x[CHANNELS * H * W];

static int setup(void **state) {
    struct us_rng rng = us_rng_stream(3, US_RNG_TEST, 0, 0);
    unetstar_context_options options;
    int i;
    (void)state;
    for (i = 0; i < CHANNELS * H * W; i++)
        x[i] = (float)us_rng_normal(&rng);
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.n_threads = 1;
    return us_context_create(&ctx, &options);
}

static int teardown(void **state) {
    (void)state;
    us_context_unref(ctx);
    return 0;
}

static struct us_net_options small_net(int fusion, int activation, int norm, int upsampling, int full) {
    struct us_net_options o;
    memset(&o, 0, sizeof o);
    o.narrow = 0.0625;
    o.channel_multiplier = 1;
    o.seed = 5;
    o.in_channels = CHANNELS;
    o.classes = CLASSES;
    o.levels = 3;
    o.fusion = fusion;
    o.activation = activation;
    o.norm = norm;
    o.upsampling = upsampling;
    o.full_resolution_head = full;
    o.norm_groups = 2;
    o.precision = UNETSTAR_PRECISION_EXACT;
    o.leaky_slope = 0.1f;
    o.block_expansion = 2;
    return o;
}

/* No coefficient is left at its initial 0 or 1. */
static void stir(const struct us_net *net, struct us_params *params) {
    struct us_rng rng = us_rng_stream(7, US_RNG_TEST, 0, 1);
    size_t i;
    int u, c;
    us_params_init(params, net, 11);
    for (u = 0; u < net->n_units; u++) {
        const struct us_unit *unit = &net->units[u];
        /* initial weights make values smaller from layer to layer */
        if (net->options.norm == UNETSTAR_NORM_NONE && unit->residual < 0 && unit->kind != US_UNIT_CONV1)
            for (i = 0; i < unit->weights_size; i++)
                params->arena[unit->weights + i] *= 2;
        for (c = 0; c < unit->c_out && unit->norm != UNETSTAR_NORM_NONE; c++) {
            params->arena[unit->gamma + (size_t)c] = (float)(1 + 0.3 * us_rng_normal(&rng));
            params->arena[unit->beta + (size_t)c] = (float)(0.3 * us_rng_normal(&rng));
            if (unit->norm == UNETSTAR_NORM_BATCH) {
                params->buffers[unit->running_mean + (size_t)c] = (float)(0.2 * us_rng_normal(&rng));
                params->buffers[unit->running_var + (size_t)c] = (float)(0.2 + 0.4 * us_rng_uniform(&rng));
            }
        }
    }
}

struct made {
    struct us_net *net;
    struct us_params params;
    us_double *d;
};

static void make(struct made *m, const struct us_net_options *o) {
    assert_int_equal(us_net_create(&m->net, ctx, o), 0);
    assert_int_equal(us_params_create(&m->params, ctx, m->net), 0);
    stir(m->net, &m->params);
    assert_int_equal(us_double_create(&m->d, ctx, m->net, &m->params, H, W), 0);
}

static void unmake(struct made *m) {
    us_double_destroy(m->d);
    us_params_destroy(ctx, &m->params);
    us_net_destroy(ctx, m->net);
}

static void evaluate(const struct made *m, float *probability) {
    struct us_evaluation_shape shape;
    struct us_evaluation_size size;
    struct us_folded *folded;
    void *memory;
    memset(&shape, 0, sizeof shape);
    shape.net = m->net;
    shape.height = H;
    shape.width = W;
    shape.precision = UNETSTAR_PRECISION_EXACT;
    assert_int_equal(us_folded_create(&folded, ctx, m->net, &m->params, shape.precision, NULL), 0);
    us_evaluation_measure(&size, ctx, &shape);
    memory = us_alloc(ctx, size.maps + size.scratch);
    assert_non_null(memory);
    assert_int_equal(us_evaluate(ctx, &shape, folded, x, probability, memory, NULL, NULL), 0);
    us_free(ctx, memory);
    us_folded_unref(folded);
}

/* The largest difference of probabilities; *spread: their range. */
static double difference(const double *logits, const float *probability, double *spread) {
    double largest = 0, low = 1, high = 0;
    int i, k;
    for (i = 0; i < H * W; i++) {
        double sum = 0;
        for (k = 0; k < CLASSES; k++)
            sum += exp(logits[k * H * W + i]);
        for (k = 0; k < CLASSES; k++) {
            const double p = exp(logits[k * H * W + i]) / sum;
            largest = fmax(largest, fabs(p - (double)probability[k * H * W + i]));
            low = fmin(low, p);
            high = fmax(high, p);
        }
    }
    *spread = high - low;
    return largest;
}

static void agrees_with_floats(void **state) {
    static double logits[VALUES];
    static float probability[VALUES];
    int fusion, norm, up, full;
    (void)state;
    for (fusion = 0; fusion < 3; fusion++)
        for (norm = 0; norm < 4; norm++)
            for (up = 0; up < 3; up++)
                for (full = 0; full < 2; full++) {
                    const int act = (fusion * 4 + norm + up * 2 + full) % 6;
                    struct us_net_options o = small_net(fusion, act, norm, up, full);
                    struct made m;
                    double worst, spread;
                    if ((fusion + norm + full) % 3 == 0)
                        o.block = up % 2 ? UNETSTAR_BLOCK_STAR : UNETSTAR_BLOCK_STAR_DEPTHWISE;
                    o.fusion_norm = fusion != UNETSTAR_FUSION_CONCAT && norm != UNETSTAR_NORM_NONE && (norm + up) % 2;
                    make(&m, &o);
                    assert_int_equal(us_double_forward(m.d, x, 1, US_DOUBLE_REMEMBER, logits, NULL), 0);
                    evaluate(&m, probability);
                    worst = difference(logits, probability, &spread);
                    /* blocks of high degree enlarge the rounding of floats, and so do norms after products */
                    if (!(worst < (o.block || o.fusion_norm ? 2e-5 : 2e-6)) || !(spread > 0.01))
                        fail_msg("fusion %d activation %d norm %d upsampling %d head %d: %g of %g", fusion, act, norm,
                                 up, full, worst, spread);
                    unmake(&m);
                }
}

/* Differences of order `order` of equally spaced points on a ray, relative to the logits' size there. */
static double differences(const struct made *m, int order, enum us_double_maxima maxima) {
    static double logits[8][VALUES];
    double worst = 0, size = 0;
    int k, i, j;
    assert_true(order < 8);
    assert_int_equal(us_double_forward(m->d, x, 1, US_DOUBLE_REMEMBER, logits[0], NULL), 0);
    for (k = 0; k <= order; k++)
        assert_int_equal(us_double_forward(m->d, x, 0.5 + (double)k / order, maxima, logits[k], NULL), 0);
    for (i = 0; i < VALUES; i++) {
        size = fmax(size, fabs(logits[order][i]));
        for (k = 0; k < order; k++)
            for (j = order; j > k; j--)
                logits[j][i] -= logits[j - 1][i];
        worst = fmax(worst, fabs(logits[order][i]));
    }
    return worst / size;
}

static void degree_by_differences(void **state) {
    int fusion, up, full;
    (void)state;
    for (fusion = 0; fusion < 3; fusion++)
        for (full = 0; full < 2; full++)
            for (up = 0; up < 3; up++) {
                const struct us_net_options o = small_net(fusion, UNETSTAR_ACTIVATION_NONE,
                                                          up ? UNETSTAR_NORM_BATCH : UNETSTAR_NORM_NONE, up, full);
                const int degree = fusion == UNETSTAR_FUSION_STAR ? 3 + full : 1;
                struct us_double_changes changes;
                struct made m;
                make(&m, &o);
                assert_true(differences(&m, degree + 1, US_DOUBLE_FROZEN) < 1e-13);
                assert_true(differences(&m, degree, US_DOUBLE_FROZEN) > 1e-4);
                us_double_changes(m.d, &changes);
                assert_true(changes.windows > 0 && changes.windows < 1 && changes.activations == 0);
                assert_true(differences(&m, degree + 1, US_DOUBLE_FREE) > 1e-4); /* windows change */
                unmake(&m);
            }
}

/* At the remembered point itself frozen maxima are the maxima, and nothing changes; a ReLU's pieces change away from
 * it. */
static void frozen_at_the_base(void **state) {
    static double base[VALUES], again[VALUES];
    const struct us_net_options o =
        small_net(UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_RELU6, UNETSTAR_NORM_BATCH, UNETSTAR_UPSAMPLING_NEAREST, 1);
    struct us_double_changes changes;
    struct made m;
    (void)state;
    make(&m, &o);
    assert_int_equal(us_double_forward(m.d, x, 1, US_DOUBLE_REMEMBER, base, NULL), 0);
    assert_int_equal(us_double_forward(m.d, x, 1, US_DOUBLE_FROZEN, again, NULL), 0);
    assert_memory_equal(base, again, sizeof base);
    us_double_changes(m.d, &changes);
    assert_true(changes.windows == 0 && changes.activations == 0);
    assert_int_equal(us_double_forward(m.d, x, 2, US_DOUBLE_FREE, again, NULL), 0);
    assert_int_equal(us_double_forward(m.d, x, 1, US_DOUBLE_FREE, again, NULL), 0); /* what was noted stays */
    assert_memory_equal(base, again, sizeof base);
    us_double_changes(m.d, &changes);
    assert_true(changes.windows > 0 && changes.windows < 1 && changes.activations > 0 && changes.activations < 1);
    unmake(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_floats),
        cmocka_unit_test(degree_by_differences),
        cmocka_unit_test(frozen_at_the_base),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
