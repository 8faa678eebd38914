/*
 * check_wino.c - the Winograd transforms: bits, places written, and that together they are a convolution.
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LANES = US_LANES, MAX_T = 8, MAX_XI = MAX_T * MAX_T };

static int draw_m(void) {
    return 2 * check_range(1, 3);
}

/* Floats from one pixel (or row of `least` pixels) to the next, with a gap half of the time. */
static size_t draw_stride(int least) {
    const int gap = check_random() & 1 ? check_range(1, 5) : 0;

    return (size_t)(least + gap) * LANES;
}

/* Floats of n pieces of `pixels` pixels. */
static size_t span(int n, size_t stride, int pixels) {
    return (size_t)(n - 1) * stride + (size_t)pixels * LANES;
}

/* What lies between the pieces, and behind the last, must be as check_out has left it; the reference is looked at too,
 * which check_result cannot do. */
static void check_gaps(float *dst, int n, size_t stride, int pixels, size_t total, const char *name) {
    static const unsigned char fresh[4] = {0xaa, 0xaa, 0xaa, 0xaa};

    for (size_t i = 0; i < total; i++) {
        const size_t piece = i / stride, at = i % stride;

        if ((piece >= (size_t)n || at >= (size_t)pixels * LANES) && memcmp(&dst[i], fresh, sizeof fresh)) {
            check_that(0, "%s: float %zu is outside of its output and was written", name, i);
            return;
        }
    }
}

static void check_input_transform(void) {
    const int m = draw_m(), t = m + 2;
    const size_t rs = draw_stride(t), vs = draw_stride(1);
    const float *x = check_in(span(t, rs, t));

    CHECK_LEVELS(k) {
        float *v = check_out(span(t * t, vs, 1), NULL);

        k->wino_input(m, v, vs, x, rs);
        check_gaps(v, t * t, vs, 1, span(t * t, vs, 1), "wino_input");
        check_result("m %d, strides %zu %zu", m, rs, vs);
    }
}

static struct us_wino_operand draw_operand(int pixels) {
    struct us_wino_operand o = {NULL, draw_stride(pixels), NULL, NULL};

    o.x = check_in(span(pixels, o.row_stride, pixels));
    if (check_random() % 4) {
        o.scale = check_in(LANES);
        o.shift = check_in(LANES);
    }
    return o;
}

/* Every pixel of an operand by affine_act and up_nearest, then add or mul: t x t pixels. */
static void expand_operand(const struct us_kernels *k, float *dst, int t, const struct us_wino_operand *o, int half,
                           int act) {
    float row[2 * MAX_T * LANES], wide[2 * MAX_T * LANES];

    for (int i = 0; i < t; i++) {
        const float *x = o->x + (size_t)(half ? (i + 1) / 2 : i) * o->row_stride;
        const int pixels = half ? t / 2 + 1 : t;

        k->affine_act(row, x, (size_t)pixels, o->scale, o->shift, act, 0);
        if (half)
            k->up_nearest(wide, row, (size_t)pixels);
        memcpy(dst + (size_t)i * (size_t)t * LANES, half ? wide + LANES : row, (size_t)t * LANES * sizeof *dst);
    }
}

static void check_input_load(void) {
    enum { m = 6, t = m + 2 };
    const enum us_wino_fusion fusion = (enum us_wino_fusion)check_range(US_WINO_MAIN, US_WINO_SUM);
    const int fused = fusion != US_WINO_MAIN, act = check_random() & 1 ? US_ACT_RELU : US_ACT_NONE;
    const size_t vs = draw_stride(1);
    struct us_wino_load load = {{0}, {0}, US_WINO_MAIN, act == US_ACT_RELU};

    load.fusion = fusion;
    load.main = draw_operand(fused ? t / 2 + 1 : t);
    if (fused)
        load.skip = draw_operand(t);
    CHECK_LEVELS(k) {
        float *v = check_out(span(t * t, vs, 1), NULL);

        k->wino_input_load(v, vs, &load);
        check_gaps(v, t * t, vs, 1, span(t * t, vs, 1), "wino_input_load");
        check_result("fusion %d, affine %d %d, relu %d, stride %zu", (int)fusion, load.main.scale != NULL,
                     load.skip.scale != NULL, load.relu, vs);
    }
    CHECK_LEVELS(k) { /* nor does any level's, the reference's included, differ from the kernels one after the other */
        float a[MAX_XI * LANES], b[MAX_XI * LANES], *v = check_out(span(t * t, vs, 1), NULL);

        if (k == check_reference()) {
            expand_operand(k, a, t, &load.main, fused, act);
            if (fused) {
                expand_operand(k, b, t, &load.skip, 0, act);
                (fusion == US_WINO_SUM ? k->add : k->mul)(a, a, b, (size_t)(t * t));
            }
            k->wino_input(m, v, vs, a, (size_t)t * LANES);
        } else {
            k->wino_input_load(v, vs, &load);
        }
        check_result("fusion %d, against single kernels", (int)fusion);
    }
}

static void check_output_transform(void) {
    const int m = draw_m(), t = m + 2, whole = (int)(check_random() % 3);
    const int rows = whole == 0 ? m : check_range(1, m), cols = whole == 0 ? m : check_range(1, m);
    const size_t rs = draw_stride(m), ms = draw_stride(1);
    const float *mm = check_in(span(t * t, ms, 1)), *bias = check_random() & 1 ? check_in(LANES) : NULL;

    CHECK_LEVELS(k) {
        /* half of the time no more than what may be written, half of the time the place of the whole tile */
        const size_t n = whole == 1 ? span(rows, rs, cols) : span(m, rs, m);
        float *y = check_out(n, NULL);

        k->wino_output(m, y, rs, rows, cols, mm, ms, bias);
        check_gaps(y, rows, rs, cols, n, "wino_output");
        check_result("m %d, %d x %d, bias %d, strides %zu %zu", m, rows, cols, bias != NULL, rs, ms);
    }
}

static void check_gradient_transform(void) {
    const int m = draw_m(), t = m + 2, whole = check_random() % 3 == 0;
    const int rows = whole ? m : check_range(1, m), cols = whole ? m : check_range(1, m);
    const size_t rs = draw_stride(m), ds = draw_stride(1);
    const float *dy = check_in(span(rows, rs, cols));

    CHECK_LEVELS(k) {
        float *d = check_out(span(t * t, ds, 1), NULL);

        k->wino_gradient(m, d, ds, dy, rs, rows, cols);
        check_gaps(d, t * t, ds, 1, span(t * t, ds, 1), "wino_gradient");
        check_result("m %d, %d x %d, strides %zu %zu", m, rows, cols, rs, ds);
    }
}

static void check_weights_transform(void) {
    const int m = draw_m(), t = m + 2;
    const size_t ws = draw_stride(1), us = draw_stride(1);
    const float *w = check_in(span(9, ws, 1));

    CHECK_LEVELS(k) {
        float *u = check_out(span(t * t, us, 1), NULL);

        k->wino_weights(m, u, us, w, ws);
        check_gaps(u, t * t, us, 1, span(t * t, us, 1), "wino_weights");
        check_result("m %d, strides %zu %zu", m, ws, us);
    }
}

static void check_weights_grad_transform(void) {
    const int m = draw_m(), t = m + 2;
    const size_t ws = draw_stride(1), us = draw_stride(1);
    const float *du = check_in(span(t * t, us, 1));

    CHECK_LEVELS(k) {
        float *dw = check_out(span(9, ws, 1), NULL);

        k->wino_weights_grad(m, dw, ws, du, us);
        check_gaps(dw, 9, ws, 1, span(9, ws, 1), "wino_weights_grad");
        check_result("m %d, strides %zu %zu", m, us, ws);
    }
}

/* ---- the products between the transforms ---- */

static void check_multiply(void) {
    const int taps = check_range(1, 5), tiles = check_size(40), in = check_range(1, 4), out = check_range(1, 5);
    const int last = check_random() & 1 ? LANES : check_range(1, LANES), accumulate = check_random() & 1;
    const size_t v_in = draw_stride(tiles), m_out = draw_stride(tiles), u_out = draw_stride(in * LANES);
    const size_t v_xi = v_in * (size_t)in, m_xi = m_out * (size_t)out, u_xi = u_out * (size_t)out;
    const float *v = check_in(v_xi * (size_t)(taps - 1) + span(in, v_in, tiles));
    const float *u = check_in(u_xi * (size_t)(taps - 1) + span(out, u_out, in * LANES));
    const size_t n = m_xi * (size_t)(taps - 1) + span(out, m_out, tiles);
    const float *start = accumulate ? check_in(n) : NULL;

    CHECK_LEVELS(k) {
        struct us_wino_multiply p = {
            v, u, check_out(n, start), v_xi, v_in, u_xi, u_out, m_xi, m_out, taps, tiles, in, out, last, accumulate};

        k->wino_multiply(&p);
        if (!accumulate)
            check_gaps(p.m, taps * out, m_out, tiles, n, "wino_multiply");
        check_result("taps %d, tiles %d, blocks %d to %d, %d live lanes, accumulate %d", taps, tiles, in, out, last,
                     accumulate);
    }
}

static void check_accumulate(void) {
    const int taps = check_range(1, 5), tiles = check_size(40), out = check_range(1, 5);
    const int channels = check_random() & 1 ? LANES : check_range(1, LANES), accumulate = check_random() & 1;
    const size_t v_xi = draw_stride(tiles), d_out = draw_stride(tiles), du_out = draw_stride(LANES);
    const size_t d_xi = d_out * (size_t)out, du_xi = du_out * (size_t)out;
    const float *v = check_in(span(taps, v_xi, tiles)),
                *d = check_in(d_xi * (size_t)(taps - 1) + span(out, d_out, tiles));
    const size_t n = du_xi * (size_t)(taps - 1) + span(out, du_out, LANES);
    const float *start = accumulate ? check_in(n) : NULL;

    CHECK_LEVELS(k) {
        struct us_wino_accumulate p = {
            v, d, check_out(n, start), v_xi, d_xi, d_out, du_xi, du_out, taps, tiles, out, channels, accumulate};

        k->wino_accumulate(&p);
        if (!accumulate)
            check_gaps(p.du, taps * out, du_out, channels, n, "wino_accumulate");
        check_result("taps %d, tiles %d, %d blocks, %d channels, accumulate %d", taps, tiles, out, channels,
                     accumulate);
    }
}

const struct check_function check_wino_functions[] = {
    {"wino_multiply", check_multiply, 1200},
    {"wino_accumulate", check_accumulate, 1200},
    {"wino_input", check_input_transform, 840},
    {"wino_input_load", check_input_load, 2520},
    {"wino_output", check_output_transform, 1680},
    {"wino_gradient", check_gradient_transform, 1680},
    {"wino_weights", check_weights_transform, 840},
    {"wino_weights_grad", check_weights_grad_transform, 840},
    {NULL, NULL, 0},
};

/* ---- the transforms together are a convolution, and its weight gradient ---- */

struct errors {
    double wino, direct, signal, worst;
    long n;
};

static void add_error(struct errors *e, float wino, float direct, double exact) {
    const double d = fabs(wino - exact);

    e->wino += d * d;
    e->direct += (direct - exact) * (direct - exact);
    e->signal += exact * exact;
    e->worst = d > e->worst ? d : e->worst;
    e->n++;
}

static double rms(const struct errors *e) {
    return sqrt(e->wino / e->signal);
}

static void report(const char *what, int m, const struct errors *e, const struct errors *faulty, double bound) {
    const double direct = sqrt(e->direct / e->signal), worst = e->worst / sqrt(e->signal / (double)e->n);

    check_that(rms(e) < bound && worst < 20 * bound,
               "F(%d,3) %s: rms error %.1e of the rms (direct %.1e, ratio %.1f), largest %.1e", m, what, rms(e), direct,
               rms(e) / direct, worst);
    check_that(rms(faulty) > bound, "F(%d,3) %s: one wrong tile value is noticed (%.1e)", m, what, rms(faulty));
}

static float fma1(float a, float b, float c) {
    return (float)((double)a * b + c); /* near enough for the direct sum that is only compared with */
}

enum { CHANNELS = 64, TILES = 64, TRIALS = 8 };

static float tile_x[CHANNELS][MAX_XI][LANES], tile_w[CHANNELS][9][LANES], tile_dy[TILES][36][LANES];

/* Every lane is a convolution of its own: CHANNELS input channels, one tile. */
static struct errors forward_errors(int m, int fault) {
    const struct us_kernels *k = check_reference();
    const int t = m + 2;
    struct errors e = {0};

    for (int trial = 0; trial < TRIALS; trial++) {
        float v[MAX_XI][LANES], u[MAX_XI][LANES], mm[MAX_XI][LANES] = {{0}}, y[36][LANES];

        check_fill_plain(&tile_w[0][0][0], sizeof tile_w / sizeof(float), -0.1f, 0.1f);
        check_fill_plain(&tile_x[0][0][0], sizeof tile_x / sizeof(float), -1, 1);
        for (size_t i = 0; i < sizeof tile_x / sizeof(float); i++)
            if (0 > (&tile_x[0][0][0])[i])
                (&tile_x[0][0][0])[i] = 0;
        for (int c = 0; c < CHANNELS; c++) {
            k->wino_input(m, v[0], LANES, tile_x[c][0], (size_t)t * LANES);
            k->wino_weights(m, u[0], LANES, tile_w[c][0], LANES);
            for (int xi = 0; xi < t * t; xi++)
                for (int l = 0; l < LANES; l++)
                    mm[xi][l] = fma1(v[xi][l], u[xi][l], mm[xi][l]);
        }
        if (fault)
            mm[t * t - 1][trial] *= 1.01f;
        k->wino_output(m, y[0], (size_t)m * LANES, m, m, mm[0], LANES, NULL);
        for (int i = 0; i < m * m; i++)
            for (int l = 0; l < LANES; l++) {
                double exact = 0;
                float direct = 0;

                for (int c = 0; c < CHANNELS; c++)
                    for (int tap = 0; tap < 9; tap++) {
                        const float x = tile_x[c][(i / m + tap / 3) * t + i % m + tap % 3][l], w = tile_w[c][tap][l];

                        exact += (double)x * w;
                        direct = fma1(x, w, direct);
                    }
                add_error(&e, y[i][l], direct, exact);
            }
    }
    return e;
}

/* Likewise the gradient of nine taps, over TILES tiles. */
static struct errors backward_errors(int m, int fault) {
    const struct us_kernels *k = check_reference();
    const int t = m + 2;
    struct errors e = {0};

    for (int trial = 0; trial < TRIALS; trial++) {
        float v[MAX_XI][LANES], d[MAX_XI][LANES], du[MAX_XI][LANES] = {{0}}, dw[9][LANES];

        check_fill_plain(&tile_x[0][0][0], sizeof tile_x / sizeof(float), -1, 1);
        check_fill_plain(&tile_dy[0][0][0], sizeof tile_dy / sizeof(float), -1, 1);
        for (int n = 0; n < TILES; n++) {
            k->wino_input(m, v[0], LANES, tile_x[n][0], (size_t)t * LANES);
            k->wino_gradient(m, d[0], LANES, tile_dy[n][0], (size_t)m * LANES, m, m);
            for (int xi = 0; xi < t * t; xi++)
                for (int l = 0; l < LANES; l++)
                    du[xi][l] = fma1(v[xi][l], d[xi][l], du[xi][l]);
        }
        if (fault)
            du[t * t - 1][trial] *= 1.01f;
        k->wino_weights_grad(m, dw[0], LANES, du[0], LANES);
        for (int tap = 0; tap < 9; tap++)
            for (int l = 0; l < LANES; l++) {
                double exact = 0;
                float direct = 0;

                for (int n = 0; n < TILES; n++)
                    for (int i = 0; i < m * m; i++) {
                        const float x = tile_x[n][(i / m + tap / 3) * t + i % m + tap % 3][l], dy = tile_dy[n][i][l];

                        exact += (double)x * dy;
                        direct = fma1(x, dy, direct);
                    }
                add_error(&e, dw[tap][l], direct, exact);
            }
    }
    return e;
}

/* Here nothing is rounded, and no wrong sign can hide in a bound. */
static void check_integers(void) {
    const struct us_kernels *k = check_reference();
    long bad = 0;

    for (int trial = 0; trial < 200; trial++) {
        float x[16][LANES], w[9][LANES], v[16][LANES], u[16][LANES], y[4][LANES];

        for (int i = 0; i < 16 * LANES; i++)
            x[i / LANES][i % LANES] = (float)check_range(-50, 50);
        for (int i = 0; i < 9 * LANES; i++)
            w[i / LANES][i % LANES] = (float)check_range(-50, 50);
        k->wino_input(2, v[0], LANES, x[0], 4 * LANES);
        k->wino_weights(2, u[0], LANES, w[0], LANES);
        for (int i = 0; i < 16 * LANES; i++)
            v[i / LANES][i % LANES] *= u[i / LANES][i % LANES];
        k->wino_output(2, y[0], 2 * LANES, 2, 2, v[0], LANES, NULL);
        for (int i = 0; i < 4; i++)
            for (int l = 0; l < LANES; l++) {
                float want = 0;

                for (int tap = 0; tap < 9; tap++)
                    want += x[(i / 2 + tap / 3) * 4 + i % 2 + tap % 3][l] * w[tap][l];
                bad += y[i][l] != want;
            }
    }
    check_that(bad == 0, "F(2,3) of small integers is exact (%ld wrong)", bad);
}

void check_wino(void) {
    /* Twice what was measured. The direct float sums have 3e-7 and 3e-7 ... 9e-7. */
    static const double forward[] = {4.2e-7, 1.2e-6, 5.5e-6}, backward[] = {5.2e-7, 1.7e-6, 7.2e-6};

    check_integers();
    for (int m = 2; m <= 6; m += 2) {
        struct errors e = forward_errors(m, 0), faulty = forward_errors(m, 1);

        report("convolution", m, &e, &faulty, forward[m / 2 - 1]);
        e = backward_errors(m, 0);
        faulty = backward_errors(m, 1);
        report("weight gradient", m, &e, &faulty, backward[m / 2 - 1]);
    }
}

/* ---- benchmark: one tile again and again (L1), and 16 tiles of a row with the strides of a block (L2) ---- */

enum { BLOCK = 16, REPEAT = 8 };

static struct {
    const struct us_kernels *k;
    int m, which, apart;
    float *image, *block, *bias;
} bench;

static void run_transform(void *user) {
    const struct us_kernels *k = bench.k;
    const int m = bench.m;
    struct us_wino_load load;
    const size_t stride = (BLOCK + 1) * LANES, row = (size_t)(BLOCK * 6 + 2) * LANES;

    (void)user;
    memset(&load, 0, sizeof load);
    for (int r = 0; r < REPEAT; r++)
        for (int i = 0; i < BLOCK; i++) {
            float *pixels = bench.image + (size_t)(bench.apart ? i * m * LANES : 0);
            float *block = bench.block + (size_t)(bench.apart ? i * LANES : 0);

            switch (bench.which) {
            case 0:
                k->wino_input(m, block, stride, pixels, row);
                break;
            case 1:
                k->wino_output(m, pixels, row, m, m, block, stride, bench.bias);
                break;
            case 2:
                k->wino_gradient(m, block, stride, pixels, row, m, m);
                break;
            case 3:
                k->wino_weights(m, block, stride, pixels, LANES);
                break;
            case 5: /* main part of half the size: what lies in its rows is the whole image's */
            case 6:
                load.main.x = load.skip.x = pixels;
                load.main.row_stride = load.skip.row_stride = row;
                load.main.scale = load.main.shift = load.skip.scale = load.skip.shift = bench.bias;
                load.fusion = bench.which == 5 ? US_WINO_MAIN : US_WINO_PRODUCT;
                if (m == 6)
                    k->wino_input_load(block, stride, &load);
                break;
            default:
                k->wino_weights_grad(m, pixels, LANES, block, stride);
            }
        }
}

void check_bench_wino(const struct us_kernels *k) {
    static const char *const names[] = {"wino_input", "wino_output", "wino_gradient", "wino_weights",
                                        "wino_weights_grad", "wino_input_load", "  of a product"};
    const size_t pixels = (size_t)MAX_T * (BLOCK * 6 + 2) * LANES, block = (size_t)MAX_XI * (BLOCK + 1) * LANES;

    bench.k = k;
    bench.image = check_input(pixels);
    bench.block = check_input(block);
    bench.bias = check_input(LANES);
    for (int which = 0; which < 7; which++) {
        printf("  %-18s", names[which]);
        for (int m = 2; m <= 6; m += 2) {
            double ns[2];

            for (int apart = 0; apart < 2; apart++) {
                check_fill_plain(bench.image, pixels, -1, 1);
                check_fill_plain(bench.block, block, -1, 1);
                check_fill_plain(bench.bias, LANES, -1, 1);
                bench.m = m;
                bench.which = which;
                bench.apart = apart;
                ns[apart] = check_best(run_transform, NULL) * 1e9 / (REPEAT * BLOCK);
            }
            printf("  F%d %6.1f ns/tile (block %6.1f)", m, ns[0], ns[1]);
        }
        printf("\n");
    }
    check_free();
}
