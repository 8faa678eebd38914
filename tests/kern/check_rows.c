/*
 * check_rows.c - everything but convolution.
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LANES = US_LANES };

static size_t draw_pixels(void) {
    return (size_t)check_size(41);
}

/* A source that dst may equal: the output itself, holding x, in a third of the cases; which, is drawn before the
 * levels. */
static const float *alias(int in_place, float *dst, const float *x, size_t n) {
    if (!in_place)
        return x;
    memcpy(dst, x, n * sizeof *dst);
    return dst;
}

static void check_affine_act(void) {
    const size_t n = draw_pixels();
    const float *x = check_in(n * LANES);
    const float *scale = check_random() & 1 ? check_in(LANES) : NULL, *shift = scale ? check_in(LANES) : NULL;
    const int act = check_range(0, 5), in_place = check_random() % 3 == 0;
    const float slope = check_random() & 1 ? 0.01f : 0.2f;

    CHECK_LEVELS(k) {
        float *dst = check_out(n * LANES, NULL);

        k->affine_act(dst, alias(in_place, dst, x, n * LANES), n, scale, shift, act, slope);
        check_result("n %zu, act %d, affine %d", n, act, scale != NULL);
    }
}

static void check_act_grad(void) {
    const size_t n = draw_pixels();
    const float *x = check_in(n * LANES), *grad = check_in(n * LANES);
    const float *scale = check_random() & 1 ? check_in(LANES) : NULL, *shift = scale ? check_in(LANES) : NULL;
    const int act = check_range(0, 5), in_place = check_range(0, 2);
    const float slope = check_random() & 1 ? 0.01f : 0.2f;

    CHECK_LEVELS(k) {
        float *dst = check_out(n * LANES, NULL);
        const float *g = alias(in_place == 1, dst, grad, n * LANES), *u = alias(in_place == 2, dst, x, n * LANES);

        k->act_grad(dst, g, u, n, scale, shift, act, slope);
        check_result("n %zu, act %d, affine %d", n, act, scale != NULL);
    }
}

static void check_flip(void) {
    const float *weights = check_in(9 * LANES * LANES);

    CHECK_LEVELS(k) {
        float *flipped = check_out(9 * LANES * LANES, NULL);
        long bad = 0;

        k->conv_flip(flipped, weights);
        for (int i = 0; i < 9 * LANES * LANES; i++) {
            const int tap = i / (LANES * LANES), ci = i / LANES % LANES, co = i % LANES;

            bad += memcmp(&flipped[((8 - tap) * LANES + co) * LANES + ci], &weights[i], sizeof *weights) != 0;
        }
        if (bad)
            check_that(0, "conv_flip: %ld weights of %s are in the wrong place", bad, k->name);
        check_result("nine taps");
    }
}

/* Three rows with a border for 3x3, one for 1x1. */
static void check_depthwise(void) {
    const size_t n = draw_pixels();
    const int ksize = check_random() & 1 ? 3 : 1;
    const float *const in[3] = {check_in((n + 2) * LANES), check_in((n + 2) * LANES), check_in((n + 2) * LANES)};
    const float *single[1];
    const float *weights = check_in((size_t)(ksize * ksize) * LANES), *bias = check_random() & 1 ? check_in(LANES) : NULL;

    single[0] = check_in(n * LANES);
    CHECK_LEVELS(k) {
        k->depthwise(check_out(n * LANES, NULL), ksize == 3 ? in : single, n, weights, bias, ksize);
        check_result("n %zu, ksize %d, bias %d", n, ksize, bias != NULL);
    }
}

static void check_depthwise_bwdw(void) {
    const size_t n = draw_pixels();
    const float *const in[3] = {check_in((n + 2) * LANES), check_in((n + 2) * LANES), check_in((n + 2) * LANES)};
    const float *dout = check_in(n * LANES);

    CHECK_LEVELS(k) {
        k->depthwise_bwdw(check_out(9 * LANES, NULL), in, dout, n);
        check_result("n %zu", n);
    }
}

static void check_pool(void) {
    const size_t n = draw_pixels();
    const float *top = check_in(2 * n * LANES), *bottom = check_in(2 * n * LANES);
    const float *scale = check_random() & 1 ? check_in(LANES) : NULL, *shift = scale ? check_in(LANES) : NULL;
    const int relu = check_random() & 1;

    CHECK_LEVELS(k) {
        k->pool(check_out(n * LANES, NULL), top, bottom, n, scale, shift, relu);
        check_result("n %zu, affine %d, relu %d", n, scale != NULL, relu);
    }
}

static void check_pool_grad(void) {
    const size_t n = draw_pixels();
    const float *top = check_in(2 * n * LANES), *bottom = check_in(2 * n * LANES), *grad = check_in(n * LANES);
    const float *scale = check_random() & 1 ? check_in(LANES) : NULL, *shift = scale ? check_in(LANES) : NULL;
    const int relu = check_random() & 1, accumulate = check_random() & 1;
    const float *dtop = accumulate ? check_in(2 * n * LANES) : NULL;
    const float *dbottom = accumulate ? check_in(2 * n * LANES) : NULL;

    CHECK_LEVELS(k) {
        float *const t = check_out(2 * n * LANES, dtop), *const b = check_out(2 * n * LANES, dbottom);

        k->pool_grad(t, b, top, bottom, grad, n, scale, shift, relu, accumulate);
        check_result("n %zu, affine %d, relu %d, accumulate %d", n, scale != NULL, relu, accumulate);
    }
}

static void check_up_nearest(void) {
    const size_t n = draw_pixels();
    const float *src = check_in(n * LANES);

    CHECK_LEVELS(k) {
        k->up_nearest(check_out(2 * n * LANES, NULL), src, n);
        check_result("n %zu", n);
    }
}

static void check_up_nearest_grad(void) {
    const size_t n = draw_pixels();
    const float *top = check_in(2 * n * LANES), *bottom = check_in(2 * n * LANES);

    CHECK_LEVELS(k) {
        k->up_nearest_grad(check_out(n * LANES, NULL), top, bottom, n);
        check_result("n %zu", n);
    }
}

static void check_up_bilinear(void) {
    const size_t n = draw_pixels();
    const float *near = check_in(n * LANES), *far = check_random() & 1 ? near : check_in(n * LANES);

    CHECK_LEVELS(k) {
        float *const dst = check_out(2 * n * LANES, NULL), *const tmp = check_out(n * LANES, NULL);

        k->up_bilinear(dst, near, far, n, tmp);
        check_result("n %zu", n);
    }
}

static void check_up_bilinear_grad(void) {
    const size_t n = draw_pixels();
    const float *g = check_in(2 * n * LANES), *dst = check_in(n * LANES);
    const float weight = check_random() & 1 ? 0.75f : 0.25f;

    CHECK_LEVELS(k) {
        k->up_bilinear_grad(check_out(n * LANES, dst), g, n, weight);
        check_result("n %zu, weight %g", n, (double)weight);
    }
}

static void check_add(void) {
    const size_t n = draw_pixels();
    const float *a = check_in(n * LANES), *b = check_in(n * LANES);
    const int in_place = check_range(0, 3);

    CHECK_LEVELS(k) {
        float *dst = check_out(n * LANES, NULL);
        const float *s = alias(in_place == 1, dst, a, n * LANES), *t = alias(in_place == 2, dst, b, n * LANES);

        k->add(dst, s, t, n);
        check_result("n %zu", n);
    }
}

static void check_mul(void) {
    const size_t n = draw_pixels();
    const float *a = check_in(n * LANES), *b = check_in(n * LANES);
    const int in_place = check_range(0, 3);

    CHECK_LEVELS(k) {
        float *dst = check_out(n * LANES, NULL);
        const float *s = alias(in_place == 1, dst, a, n * LANES), *t = alias(in_place == 2, dst, b, n * LANES);

        k->mul(dst, s, t, n);
        check_result("n %zu", n);
    }
}

static void check_row_moments(void) {
    const size_t n = draw_pixels(), rows = (size_t)check_range(1, 9), stride = (n + (size_t)check_range(0, 2)) * LANES;
    const float *x = check_in((rows - 1) * stride + n * LANES), *shift = check_in(LANES);

    CHECK_LEVELS(k) {
        k->row_moments(check_out(rows * 2 * LANES, NULL), x, rows, n, stride, shift);
        check_result("%zu rows of %zu", rows, n);
    }
}

static void check_row_moments_grad(void) {
    const size_t n = draw_pixels(), rows = (size_t)check_range(1, 9), stride = (n + (size_t)check_range(0, 2)) * LANES;
    const float *g = check_in((rows - 1) * stride + n * LANES), *x = check_in((rows - 1) * stride + n * LANES);
    const float *mean = check_in(LANES);

    CHECK_LEVELS(k) {
        k->row_moments_grad(check_out(rows * 2 * LANES, NULL), g, x, rows, n, stride, mean);
        check_result("%zu rows of %zu", rows, n);
    }
}

static void check_norm_grad(void) {
    const size_t n = draw_pixels();
    const float *g = check_in(n * LANES), *x = check_in(n * LANES);
    const float *mean = check_in(LANES), *k0 = check_in(LANES), *k1 = check_in(LANES), *k2 = check_in(LANES);
    const int in_place = check_range(0, 2);

    CHECK_LEVELS(k) {
        float *dst = check_out(n * LANES, NULL);
        const float *s = alias(in_place == 1, dst, g, n * LANES), *t = alias(in_place == 2, dst, x, n * LANES);

        k->norm_grad(dst, s, t, n, mean, k0, k1, k2);
        check_result("n %zu", n);
    }
}

static const float **input_rows(int count, size_t n) {
    const float **rows = check_memory((size_t)count * sizeof *rows);

    for (int i = 0; i < count; i++)
        rows[i] = check_in(n);
    return rows;
}

static float **output_rows(int count, size_t n, const float *const *initial) {
    float **rows = check_memory((size_t)count * sizeof *rows);

    for (int i = 0; i < count; i++)
        rows[i] = check_out(n, initial ? initial[i] : NULL);
    return rows;
}

static void check_head(void) {
    const size_t n = draw_pixels();
    const int blocks = check_range(1, 5), classes = check_range(1, 8);
    const float *const *in = input_rows(blocks, n * LANES);
    const float *weights = check_in((size_t)(classes * blocks) * LANES), *bias = check_in((size_t)classes);

    CHECK_LEVELS(k) {
        k->head(output_rows(classes, n, NULL), in, weights, bias, blocks, classes, n);
        check_result("n %zu, %d blocks, %d classes", n, blocks, classes);
    }
}

static void check_head_grad_data(void) {
    const size_t n = draw_pixels();
    const int blocks = check_range(1, 5), classes = check_range(1, 8), accumulate = check_random() & 1;
    const float *const *dlogit = input_rows(classes, n), *const *initial = input_rows(blocks, n * LANES);
    const float *weights = check_in((size_t)(classes * blocks) * LANES);

    CHECK_LEVELS(k) {
        k->head_grad_data(output_rows(blocks, n * LANES, initial), dlogit, weights, blocks, classes, n, accumulate);
        check_result("n %zu, %d blocks, %d classes, accumulate %d", n, blocks, classes, accumulate);
    }
}

static void check_head_grad_weights(void) {
    const size_t n = draw_pixels();
    const int blocks = check_range(1, 5), classes = check_range(1, 8);
    const float *const *in = input_rows(blocks, n * LANES), *const *dlogit = input_rows(classes, n);

    CHECK_LEVELS(k) {
        float *const dw = check_out((size_t)(classes * blocks) * LANES, NULL), *const db =
                                                                                   check_out((size_t)classes, NULL);

        k->head_grad_weights(dw, db, in, dlogit, blocks, classes, n);
        check_result("n %zu, %d blocks, %d classes", n, blocks, classes);
    }
}

static void check_block_sum_squares(void) {
    const size_t n = (size_t)(check_random() & 1 ? check_range(0, 70) : check_range(1, 4096));
    const float *x = check_in(n);

    CHECK_LEVELS(k) {
        *check_out(1, NULL) = k->block_sum_squares(x, n);
        check_result("n %zu", n);
    }
}

static struct us_optim_consts draw_consts(void) {
    struct us_optim_consts c = {1, 0, 1, 5e-4f, 0.1f, 0.999f, 0.001f, 31.6f, 1e-8f, 0.9f};

    if (check_random() & 1)
        c.grad_scale = 0.125f;
    if (check_random() & 1)
        c.l2 = 1e-4f;
    if (check_random() & 1)
        c.decay = 0.9999f;
    return c;
}

static void check_adam(void) {
    const size_t n = draw_pixels() * LANES;
    const float *p = check_in(n), *g = check_in(n), *m = check_in(n);
    float *v = check_in(n);
    const struct us_optim_consts c = draw_consts();

    if (check_random() % 4)
        for (size_t i = 0; i < n; i++)
            v[i] = fabsf(v[i]);
    CHECK_LEVELS(k) {
        float *const p1 = check_out(n, p), *const m1 = check_out(n, m), *const v1 = check_out(n, v);

        k->adam(p1, g, m1, v1, n, &c);
        check_result("n %zu, scale %g, l2 %g, decay %g", n, (double)c.grad_scale, (double)c.l2, (double)c.decay);
    }
}

static void check_sgd(void) {
    const size_t n = draw_pixels() * LANES;
    const float *p = check_in(n), *g = check_in(n), *m = check_in(n);
    const struct us_optim_consts c = draw_consts();

    CHECK_LEVELS(k) {
        float *const p1 = check_out(n, p), *const m1 = check_out(n, m);

        k->sgd(p1, g, m1, n, &c);
        check_result("n %zu, scale %g, l2 %g, decay %g", n, (double)c.grad_scale, (double)c.l2, (double)c.decay);
    }
}

const struct check_function check_row_functions[] = {
    {"affine_act", check_affine_act, 840},
    {"act_grad", check_act_grad, 840},
    {"conv_flip", check_flip, 60},
    {"depthwise", check_depthwise, 240},
    {"depthwise_bwdw", check_depthwise_bwdw, 120},
    {"pool", check_pool, 300},
    {"pool_grad", check_pool_grad, 300},
    {"up_nearest", check_up_nearest, 100},
    {"up_nearest_grad", check_up_nearest_grad, 300},
    {"up_bilinear", check_up_bilinear, 300},
    {"up_bilinear_grad", check_up_bilinear_grad, 300},
    {"add", check_add, 300},
    {"mul", check_mul, 300},
    {"row_moments", check_row_moments, 300},
    {"row_moments_grad", check_row_moments_grad, 300},
    {"norm_grad", check_norm_grad, 300},
    {"head", check_head, 300},
    {"head_grad_data", check_head_grad_data, 300},
    {"head_grad_weights", check_head_grad_weights, 300},
    {"block_sum_squares", check_block_sum_squares, 400},
    {"adam", check_adam, 400},
    {"sgd", check_sgd, 400},
    {NULL, NULL, 0},
};

/* ---- rates: a layer of 32 channels at 96x96, one call for each row or for all of it ---- */

enum { WIDTH = 96, ROWS = 192, PIXELS = WIDTH * ROWS };

static struct {
    const struct us_kernels *k;
    float *a, *b, *c, *d, *lanes, *sums, *plain;
    int act;
} bench;

static void run_affine(void *user) {
    (void)user;
    bench.k->affine_act(bench.b, bench.a, PIXELS, bench.lanes, bench.lanes, bench.act, 0.01f);
}

static void run_act_grad(void *user) {
    (void)user;
    bench.k->act_grad(bench.c, bench.b, bench.a, PIXELS, bench.lanes, bench.lanes, bench.act, 0.01f);
}

static void run_pool(void *user) {
    (void)user;
    bench.k->pool(bench.c, bench.a, bench.b, PIXELS / 2, bench.lanes, bench.lanes, 0);
}

static void run_pool_grad(void *user) {
    (void)user;
    bench.k->pool_grad(bench.c, bench.d, bench.a, bench.b, bench.a, PIXELS / 2, bench.lanes, bench.lanes, 0, 1);
}

static void run_add(void *user) {
    (void)user;
    bench.k->add(bench.c, bench.a, bench.b, PIXELS);
}

static void run_up_nearest(void *user) {
    (void)user;
    bench.k->up_nearest(bench.c, bench.a, PIXELS / 2);
}

static void run_up_bilinear(void *user) {
    (void)user;
    bench.k->up_bilinear(bench.c, bench.a, bench.b, PIXELS / 2, bench.d);
}

static void run_moments(void *user) {
    (void)user;
    bench.k->row_moments(bench.sums, bench.a, ROWS, WIDTH, WIDTH * LANES, bench.lanes);
}

static void run_moments_grad(void *user) {
    (void)user;
    bench.k->row_moments_grad(bench.sums, bench.b, bench.a, ROWS, WIDTH, WIDTH * LANES, bench.lanes);
}

static void run_norm_grad(void *user) {
    (void)user;
    bench.k->norm_grad(bench.c, bench.b, bench.a, PIXELS, bench.lanes, bench.lanes, bench.lanes, bench.lanes);
}

static void run_head(void *user) {
    const float *const in[] = {bench.a, bench.b};
    float *const out[] = {bench.plain, bench.plain + PIXELS};

    (void)user;
    bench.k->head(out, in, bench.lanes, bench.lanes, 2, 2, PIXELS);
}

static void run_head_weights(void *user) {
    const float *const in[] = {bench.a, bench.b};
    const float *const dlogit[] = {bench.plain, bench.plain + PIXELS};

    (void)user;
    bench.k->head_grad_weights(bench.sums, bench.sums + 64, in, dlogit, 2, 2, PIXELS);
}

static void run_adam(void *user) {
    static const struct us_optim_consts c = {1, 0, 1, 5e-4f, 0.1f, 0.999f, 0.001f, 31.6f, 1e-8f, 0.9f};

    (void)user;
    bench.k->adam(bench.a, bench.b, bench.c, bench.d, (size_t)PIXELS * LANES, &c);
}

void check_bench_rows(const struct us_kernels *k) {
    /* bytes: moved per pixel of the map, read and written */
    static const struct {
        const char *name;
        void (*run)(void *);
        double bytes;
        int act;
    } t[] = {
        {"affine_act relu", run_affine, 128, US_ACT_RELU},
        {"affine_act silu", run_affine, 128, US_ACT_SILU},
        {"affine_act gelu", run_affine, 128, US_ACT_GELU},
        {"act_grad relu", run_act_grad, 192, US_ACT_RELU},
        {"act_grad silu", run_act_grad, 192, US_ACT_SILU},
        {"act_grad gelu", run_act_grad, 192, US_ACT_GELU},
        {"pool", run_pool, 160, 0},
        {"pool_grad", run_pool_grad, 416, 0},
        {"up_nearest", run_up_nearest, 96, 0},
        {"up_bilinear", run_up_bilinear, 192, 0},
        {"add", run_add, 192, 0},
        {"row_moments", run_moments, 64, 0},
        {"row_moments_grad", run_moments_grad, 128, 0},
        {"norm_grad", run_norm_grad, 192, 0},
        {"head 32 -> 2", run_head, 136, 0},
        {"head_grad_weights", run_head_weights, 136, 0},
        {"adam", run_adam, 448, 0},
    };
    const size_t n = (size_t)PIXELS * LANES;
    float **const buffers[] = {&bench.a, &bench.b, &bench.c, &bench.d, &bench.lanes, &bench.sums, &bench.plain};

    bench.k = k;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        *buffers[i] = check_input(n);
        check_fill_plain(*buffers[i], n, 0.1f, 1);
    }
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        double s;

        bench.act = t[i].act;
        s = check_best(t[i].run, NULL);
        printf("  %-18s %7.3f ms  %6.2f ns/pixel  %5.1f GB/s\n", t[i].name, s * 1e3, s * 1e9 / PIXELS,
               t[i].bytes * PIXELS / s * 1e-9);
    }
    check_free();
}
