/*
 * test_quant.c - 8-bit evaluation: packed weights keep their bounds, the convolution is the one they describe whatever
 * the way it is cut, ranges are where the errors are least.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "api/api.h"
#include "nn/map.h"
#include "nn/ranges.h"

enum { LANES = US_LANES, TAP = LANES * LANES, XI = 36 };

static unetstar_context *contexts[3]; /* one thread, three, three of plain C */
static struct us_rng rng;

static void *memory(size_t size) {
    void *p = us_alloc_zero(contexts[0], size);
    assert_non_null(p);
    return p;
}

static void release(void *p) {
    us_free(contexts[0], p);
}

static double draw(double lo, double hi) {
    return lo + (hi - lo) * us_rng_uniform(&rng);
}

/* ---- Weights ---- */

enum kind { NORMAL, SPARSE, ONE_HUGE, TINY, EQUAL, ZERO, KINDS };

static float draw_weight(enum kind kind, int c) {
    if (kind == SPARSE)
        return us_rng_below(&rng, 10) ? 0 : (float)us_rng_normal(&rng);
    if (kind == ONE_HUGE)
        return (float)us_rng_normal(&rng) * (c == 5 ? 1e4f : 1);
    if (kind == TINY)
        return (float)us_rng_normal(&rng) * 1e-20f;
    return kind == EQUAL ? 1 : kind == ZERO ? 0 : (float)us_rng_normal(&rng);
}

static float *draw_weights(int in, int out, enum kind kind) {
    float *w = (float *)memory((size_t)in * (size_t)out * 9 * TAP * sizeof *w);
    size_t i, count = (size_t)in * (size_t)out * 9 * TAP;
    for (i = 0; i < count; i++)
        w[i] = draw_weight(kind, (int)(i % TAP / LANES));
    return w;
}

static void job_begin(struct us_conv_job *job, us_context *ctx, int in, int out, const float *weights) {
    memset(job, 0, sizeof *job);
    job->ctx = ctx;
    job->n = 1;
    job->in_blocks = in;
    job->out_blocks = out;
    job->last_channels = LANES;
    job->tile = 4;
    job->weights = weights;
}

static int16_t packed_u(const us_context *ctx, const float *packed, int in, int out, int xi, int o, int co, int c) {
    const int group = ctx->kern.quant_group;
    const int16_t *u =
        us_quant_values(packed, out) + ((size_t)(o / group) * XI + (size_t)xi) * us_quant_u_stride(ctx, in);
    return u[((size_t)(o % group) * (size_t)in + (size_t)(c / LANES)) * TAP + (size_t)(c % LANES / 2 * 2 * LANES) +
             (size_t)(co * 2 + c % 2)];
}

static const double g[6][3] = {{1.0 / 4, 0, 0},
                               {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                               {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                               {1.0 / 24, 1.0 / 12, 1.0 / 6},
                               {1.0 / 24, -1.0 / 12, 1.0 / 6},
                               {0, 0, 1}};

static double exact_u(const float *w, int in, int xi, int o, int co, int c) {
    const float *taps = w + ((size_t)o * (size_t)in + (size_t)(c / LANES)) * 9 * TAP + c % LANES * LANES + co;
    double u = 0;
    int i;
    for (i = 0; i < 9; i++)
        u += g[xi / 6][i / 3] * (double)taps[i * TAP] * g[xi % 6][i % 3];
    return u;
}

static const int b_rows[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                 {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};

/* The largest |V| of a tap, from the inputs that make it. */
static int64_t most_v(int xi, int zero) {
    int64_t high = 0, low = 0;
    int i;
    for (i = 0; i < XI; i++) {
        const int factor = b_rows[xi / 6][i / 6] * b_rows[xi % 6][i % 6];
        high += factor > 0 ? factor * (255 - zero) : -factor * zero;
        low += factor > 0 ? factor * zero : -factor * (255 - zero);
    }
    return US_MAX(high, low);
}

static void test_packed_weights_keep_their_bounds(void **state) {
    static const int blocks[] = {1, 2, 5, 16};
    static const int zeros[] = {0, 7, 128, 255};
    int kind, b, xi, o, co, c;
    (void)state;
    for (kind = 0; kind < KINDS; kind++)
        for (b = 0; b < US_COUNT(blocks); b++) {
            const int in = blocks[b], out = 1 + kind % 3;
            const struct us_quant input = us_quant_of(0.03125, zeros[(b + kind) % 4]);
            us_context *ctx = contexts[b % 3];
            float *w = draw_weights(in, out, (enum kind)kind);
            float *packed = (float *)memory(us_quant_weights_floats(ctx, in, out) * sizeof *packed);
            struct us_conv_job job;
            int64_t largest = 0;
            double steps = 0;
            job_begin(&job, ctx, in, out, w);
            assert_int_equal(us_quant_pack_weights(&job, &input, packed), 0);
            for (o = 0; o < out; o++)
                for (co = 0; co < LANES; co++)
                    for (xi = 0; xi < XI; xi++) {
                        const double step = (double)packed[(o * XI + xi) * LANES + co] / 0.03125;
                        int64_t sum = 0;
                        for (c = 0; c < in * LANES; c++) {
                            const int u = packed_u(ctx, packed, in, out, xi, o, co, c);
                            const double exact = exact_u(w, in, xi, o, co, c);
                            sum += (int64_t)abs(u) * most_v(xi, input.zero);
                            assert_true(abs(u) <= 32767);
                            assert_true(fabs(u * step - exact) <= 0.5001 * step + 1e-6 * fabs(exact));
                        }
                        assert_true(sum < (int64_t)1 << 31);
                        largest = US_MAX(largest, sum);
                        steps += step;
                    }
            /* The bound is used, not only kept; with few channels int16 is what limits. */
            if (kind == NORMAL && in > 1)
                assert_true(largest > (int64_t)2000000000);
            if (kind == ZERO)
                assert_true(steps == 0 && largest == 0);
            release(packed);
            release(w);
        }
}

/* ---- The convolution ---- */

struct image {
    int16_t *a; /* [block][h][w][16] */
    int h, w;
};

static void image_row(const void *source, int n, int b, int y, int x0, int x1, int16_t *dst, float *tmp) {
    const struct image *m = (const struct image *)source;
    (void)n;
    (void)tmp;
    memcpy(dst, m->a + (((size_t)b * (size_t)m->h + (size_t)y) * (size_t)m->w + (size_t)x0) * LANES,
           (size_t)(x1 - x0) * LANES * sizeof *dst);
}

/* Rows [y0, y1), in pieces of `step` rows. */
static void convolve(struct us_conv_job *job, int step) {
    int y;
    size_t most = 0;
    for (y = 0; y < job->h; y += step) {
        job->y0 = y;
        job->y1 = US_MIN(job->h, y + step);
        most = US_MAX(most, us_quant_scratch(job));
    }
    job->scratch.each = (most + 63) / 64 * 64;
    job->scratch.base = (char *)memory(job->scratch.each * (size_t)us_workers(job->ctx));
    for (y = 0; y < job->h; y += step) {
        job->y0 = y;
        job->y1 = US_MIN(job->h, y + step);
        assert_int_equal(us_quant_forward(job), 0);
    }
    release(job->scratch.base);
}

/* Relative rms error against the direct sum in double. */
static double error_of(const struct us_map *y, const struct image *image, const float *w, const float *bias, int in) {
    double error = 0, signal = 0;
    int o, co, row, x, c, t;
    for (o = 0; o < y->blocks; o++)
        for (row = 0; row < y->h; row++)
            for (x = 0; x < y->w; x++)
                for (co = 0; co < LANES; co += 5) {
                    double want = bias[o * LANES + co], d;
                    for (c = 0; c < in * LANES; c++)
                        for (t = 0; t < 9; t++) {
                            const int yy = row + t / 3 - 1, xx = x + t % 3 - 1;
                            const size_t at =
                                (((size_t)(c / LANES) * (size_t)image->h + (size_t)yy) * (size_t)image->w +
                                 (size_t)xx) *
                                    LANES +
                                (size_t)(c % LANES);
                            if (yy >= 0 && yy < image->h && xx >= 0 && xx < image->w)
                                want += 0.0625 * image->a[at] *
                                        (double)w[((size_t)(o * in + c / LANES) * 9 + (size_t)t) * TAP +
                                                  (size_t)(c % LANES * LANES + co)];
                        }
                    d = (double)us_map_row(y, 0, o, row)[x * LANES + co] - want;
                    error += d * d;
                    signal += want * want;
                }
    return sqrt(error / signal);
}

static void compare_ways(int in, int out, int h, int w) {
    static const int steps[] = {1 << 20, 4, 12};
    const struct us_quant input = us_quant_of(0.0625, 100), output = us_quant_of(0.5, 90);
    const size_t size = (size_t)out * (size_t)h * (size_t)w * LANES;
    float *weights = draw_weights(in, out, NORMAL), *bias = (float *)memory((size_t)out * LANES * sizeof *bias);
    float *first = (float *)memory(size * sizeof *first), *other = (float *)memory(size * sizeof *other);
    uint8_t *bytes = (uint8_t *)memory(size), *want = (uint8_t *)memory(size);
    struct image image;
    size_t i;
    int way;
    double error = 0;
    image.h = h;
    image.w = w;
    image.a = (int16_t *)memory((size_t)in * (size_t)h * (size_t)w * LANES * sizeof *image.a);
    for (i = 0; i < (size_t)in * (size_t)h * (size_t)w * LANES; i++)
        image.a[i] = (int16_t)((int)us_rng_below(&rng, 256) - 100);
    for (i = 0; i < (size_t)out * LANES; i++)
        bias[i] = (float)draw(-9, 9);
    for (way = 0; way < 9; way++) {
        us_context *ctx = contexts[way % 3];
        float *packed = (float *)memory(us_quant_weights_floats(ctx, in, out) * sizeof *packed);
        struct us_conv_job job;
        job_begin(&job, ctx, in, out, weights);
        assert_int_equal(us_quant_pack_weights(&job, &input, packed), 0);
        job.quant = &input;
        job.quant_row = image_row;
        job.source = &image;
        job.h = job.out.h = job.out.rows = h;
        job.w = job.out.w = w;
        job.transformed = packed;
        job.bias = bias;
        job.out.n = 1;
        job.out.blocks = out;
        job.out.data = way ? other : first;
        convolve(&job, steps[way / 3]);
        if (way == 0)
            error = error_of(&job.out, &image, weights, bias, in);
        else
            assert_memory_equal(first, other, size * sizeof *first);
        job.out.data = (float *)(void *)bytes; /* and into bytes, through an activation */
        job.out.quant = &output;
        job.act = US_ACT_LEAKY_RELU;
        job.slope = 0.125f;
        convolve(&job, steps[way / 3]);
        ctx->kern.affine_act(other, first, size / LANES, NULL, NULL, US_ACT_LEAKY_RELU, 0.125f);
        ctx->kern.quant_bytes(want, other, size / LANES, &output);
        assert_memory_equal(bytes, want, size);
        release(packed);
    }
    print_message("  %d -> %d blocks, %d x %d: error %.1e\n", in, out, h, w, error);
    assert_true(error < 3e-3);
    release(image.a);
    release(weights);
    release(bias);
    release(first);
    release(other);
    release(bytes);
    release(want);
}

static void test_the_convolution_in_every_way(void **state) {
    (void)state;
    compare_ways(1, 1, 1, 1);
    compare_ways(2, 3, 13, 9);
    compare_ways(1, 2, 4, 130);
    compare_ways(5, 1, 30, 3);
    compare_ways(16, 2, 9, 21);
}

/* ---- Ranges ---- */

static struct us_quant chosen(const float *x, size_t n, int clip) {
    uint64_t *bins = (uint64_t *)memory(US_RANGE_BINS * sizeof *bins);
    void *scratch = memory(us_range_scratch());
    struct us_quant q;
    us_range_count(bins, x, n);
    q = us_range_choose(bins, clip, scratch);
    release(scratch);
    release(bins);
    return q;
}

static double squared_error(const float *x, size_t n, const struct us_quant *q) {
    double sum = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        double t = us_round((double)x[i] / (double)q->scale), d;
        t = t < -q->zero ? -q->zero : t > 255 - q->zero ? 255 - q->zero : t;
        d = t * (double)q->scale - (double)x[i];
        sum += d * d;
    }
    return sum;
}

static void test_ranges(void **state) {
    enum { N = 20000 };
    float *x = (float *)memory(N * sizeof *x);
    struct us_quant q, whole;
    int kind, i, k;
    (void)state;
    for (i = 0; i < N; i++)
        x[i] = (float)draw(0, 10);
    q = chosen(x, N, 1);
    assert_int_equal(q.zero, 0);
    assert_true(q.scale * 255 > 9.6f && q.scale * 255 < 10.4f); /* a flat distribution is not cut */
    memset(x, 0, N * sizeof *x);
    q = chosen(x, N, 1);
    assert_true(q.scale == 1 && q.inverse == 1 && q.zero == 0);
    x[7] = (float)us_nan();
    x[8] = HUGE_VALF;
    x[9] = -2;
    q = chosen(x, N, 0);
    assert_int_equal(q.zero, 255);
    assert_true(q.scale * 255 >= 2 && q.scale * 255 < 2.1f);
    for (kind = 0; kind < 3; kind++) { /* normal, product of two, cube: tails of growing weight */
        for (i = 0; i < N; i++) {
            const double a = us_rng_normal(&rng), b = us_rng_normal(&rng);
            x[i] = (float)(kind == 0 ? a : kind == 1 ? a * b : a * a * a);
        }
        q = chosen(x, N, 1);
        whole = chosen(x, N, 0);
        assert_true(q.scale <= whole.scale);
        /* No step near the chosen one, smaller or larger, is better by more than a few percent. */
        for (k = -6; k <= 6; k++) {
            struct us_quant near = us_quant_of((double)q.scale * (1 + 0.05 * k), q.zero);
            assert_true(squared_error(x, N, &q) < 1.06 * squared_error(x, N, &near));
        }
        print_message("  kind %d: error %.1e, of the whole range %.1e\n", kind, sqrt(squared_error(x, N, &q) / N),
                      sqrt(squared_error(x, N, &whole) / N));
        assert_true(squared_error(x, N, &q) < 1.02 * squared_error(x, N, &whole));
    }
    release(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packed_weights_keep_their_bounds),
                                       cmocka_unit_test(test_the_convolution_in_every_way),
                                       cmocka_unit_test(test_ranges)};
    unetstar_context_options o;
    int i, failed;
    rng = us_rng_stream(2024, US_RNG_TEST, 8, 0);
    for (i = 0; i < 3; i++) {
        unetstar_context_options_init(&o, sizeof o);
        o.n_threads = i ? 3 : 1;
        o.isa_limit = i == 2 ? UNETSTAR_ISA_REFERENCE : UNETSTAR_ISA_BEST;
        if (unetstar_context_create(&contexts[i], &o))
            return 1;
    }
    us_fp_enter();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    us_fp_leave();
    for (i = 0; i < 3; i++)
        unetstar_context_destroy(contexts[i]);
    return failed;
}
