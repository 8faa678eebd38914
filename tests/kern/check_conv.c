/*
 * check_conv.c - convolution and its weight gradient: all shapes of tiles, steps, live lanes; then the rates.
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LANES = US_LANES, TAP = LANES * LANES };

/* Rows, each against a protected page of its own: `pixels` pixels, of which every step-th is read. */
static const float **input_rows(int n, size_t pixels) {
    const float **rows = check_memory((size_t)n * sizeof *rows);

    for (int i = 0; i < n; i++)
        rows[i] = check_in(pixels * LANES);
    return rows;
}

/* Pixels of a row of width w that are at most touched. */
static size_t reach(int w, int step) {
    return (size_t)(w - 1) * (size_t)step + 1;
}

static void fill_lanes(const float **rows, int first, int last, size_t pixels, int live, float value) {
    for (int i = first; i < last; i++)
        for (size_t x = 0; x < pixels; x++)
            for (int l = live; l < LANES; l++)
                ((float *)(size_t)rows[i])[x * LANES + (size_t)l] = value;
}

static void fill_weights(float *w, const struct us_conv *c, float value) {
    const int taps = c->ksize * c->ksize;

    for (int o = 0; o < c->out_blocks; o++)
        for (int t = 0; t < taps; t++)
            for (int i = c->last_channels * LANES; i < TAP; i++)
                w[((size_t)(o * c->in_blocks + c->in_blocks - 1) * (size_t)taps + (size_t)t) * TAP + (size_t)i] = value;
}

struct conv_case {
    struct us_conv c;
    const float **in;
    float *weights;
    int in_rows;
    size_t in_pixels, out_pixels;
};

/* A random convolution; the cost of a case is bounded, since the reference works with a software fma. */
static void draw_conv(struct conv_case *t) {
    struct us_conv *c = &t->c;

    memset(c, 0, sizeof *c);
    do {
        c->ksize = check_random() % 4 ? 3 : 1;
        c->rows = check_range(1, 7);
        c->width = check_size(41);
        c->in_blocks = check_range(1, 4);
        c->out_blocks = check_range(1, 4);
    } while (c->rows * c->width * c->in_blocks * c->out_blocks * c->ksize * c->ksize > 1800);
    c->last_channels = check_random() % 3 ? check_range(1, LANES) : LANES;
    c->in_step = c->ksize == 1 ? check_range(1, 3) : 1;
    c->out_step = check_random() % 3 ? 1 : check_range(2, 3);
    c->accumulate = check_random() % 3 == 0;
    t->in_rows = c->in_blocks * (c->rows + c->ksize - 1);
    t->in_pixels = c->ksize == 3 ? (size_t)c->width + 2 : reach(c->width, c->in_step);
    t->out_pixels = reach(c->width, c->out_step);
    t->in = input_rows(t->in_rows, t->in_pixels);
    t->weights = check_in((size_t)(c->out_blocks * c->in_blocks * c->ksize * c->ksize) * TAP);
    c->in = t->in;
    c->weights = t->weights;
    c->bias = check_random() % 3 ? check_in((size_t)c->out_blocks * LANES) : NULL;
}

static float *conv_out(struct conv_case *t, const float *initial) {
    const int n = t->c.out_blocks * t->c.rows;
    float **rows = check_memory((size_t)n * sizeof *rows);
    float *out = check_out((size_t)n * t->out_pixels * LANES, initial);

    for (int i = 0; i < n; i++)
        rows[i] = out + (size_t)i * t->out_pixels * LANES;
    t->c.out = rows;
    return out;
}

static void check_conv(void) {
    struct conv_case t;
    const struct us_conv *c = &t.c;
    float *initial;
    int last;

    draw_conv(&t);
    last = t.in_rows - (c->rows + c->ksize - 1);
    initial = check_in((size_t)(c->out_blocks * c->rows) * t.out_pixels * LANES);
    /* Dead lanes are not read: neither a NaN in the map nor one in the weights may be noticed. */
    fill_lanes(t.in, last, t.in_rows, t.in_pixels, c->last_channels, NAN);
    fill_weights(t.weights, c, NAN);
    CHECK_LEVELS(k) {
        conv_out(&t, initial);
        k->conv(c);
        check_result("ksize %d, %d rows of %d, blocks %d -> %d, last %d, steps %d %d, accumulate %d, bias %d", c->ksize,
                     c->rows, c->width, c->in_blocks, c->out_blocks, c->last_channels, c->in_step, c->out_step,
                     c->accumulate, c->bias != NULL);
    }
}

/* The law behind last_channels: with +0 in the dead lanes of map and weights, the chain over all 16 has the same bits.
 */
static void check_conv_dead_lanes(void) {
    struct conv_case t;
    struct us_conv *c = &t.c;
    float *initial;
    int live;

    draw_conv(&t);
    live = c->last_channels = check_range(1, LANES - 1);
    initial = check_in((size_t)(c->out_blocks * c->rows) * t.out_pixels * LANES);
    fill_lanes(t.in, t.in_rows - (c->rows + c->ksize - 1), t.in_rows, t.in_pixels, live, 0.0f);
    fill_weights(t.weights, c, 0.0f);
    CHECK_LEVELS(k) {
        c->last_channels = k == check_reference() ? LANES : live;
        conv_out(&t, initial);
        k->conv(c);
        check_result("ksize %d, %d rows of %d, blocks %d -> %d, last %d", c->ksize, c->rows, c->width, c->in_blocks,
                     c->out_blocks, live);
    }
}

static void check_conv_bwdw(void) {
    struct us_conv_bwdw c = {0};
    size_t in_pixels, dout_pixels, n;
    float *initial;
    int taps;

    do {
        c.ksize = check_random() % 4 ? 3 : 1;
        c.rows = check_range(1, 40);
        c.width = check_size(61);
        c.out_blocks = check_range(1, 4);
    } while (c.rows * c.width * c.out_blocks * c.ksize * c.ksize > 3000);
    taps = c.ksize * c.ksize;
    c.channels = check_random() % 3 ? check_range(1, LANES) : LANES;
    c.in_step = c.ksize == 1 ? check_range(1, 3) : 1;
    c.dout_step = check_random() % 3 ? 1 : check_range(2, 3);
    c.dw_stride = (size_t)(taps * TAP) * (size_t)check_range(1, 2);
    in_pixels = c.ksize == 3 ? (size_t)c.width + 2 : reach(c.width, c.in_step);
    dout_pixels = reach(c.width, c.dout_step);
    c.in = input_rows(c.rows + c.ksize - 1, in_pixels);
    c.dout = input_rows(c.out_blocks * c.rows, dout_pixels);
    n = (size_t)(c.out_blocks - 1) * c.dw_stride + (size_t)(taps * TAP);
    initial = check_in(n);
    CHECK_LEVELS(k) {
        c.dw = check_out(n, initial);
        k->conv_bwdw(&c);
        check_result("ksize %d, %d rows of %d, %d out blocks, %d channels, steps %d %d", c.ksize, c.rows, c.width,
                     c.out_blocks, c.channels, c.in_step, c.dout_step);
    }
}

const struct check_function check_conv_functions[] = {
    {"conv", check_conv, 1400},
    {"conv_dead_lanes", check_conv_dead_lanes, 280},
    {"conv_bwdw", check_conv_bwdw, 700},
    {NULL, NULL, 0},
};

/* ---- rates ---- */

struct bench {
    const struct us_kernels *k;
    struct us_conv conv;
    struct us_conv_bwdw bwdw;
};

static void call_conv(void *user) {
    const struct bench *b = user;
    b->k->conv(&b->conv);
}

static void call_bwdw(void *user) {
    struct bench *b = user;
    const int blocks = b->conv.in_blocks, in_rows = b->conv.rows + b->conv.ksize - 1;
    float *const dw = b->bwdw.dw;

    for (int i = 0; i < blocks; i++) {
        b->bwdw.in = b->conv.in + i * in_rows;
        b->bwdw.dw = dw + (size_t)(i * b->conv.ksize * b->conv.ksize) * TAP;
        b->bwdw.channels = i == blocks - 1 ? b->conv.last_channels : LANES;
        b->k->conv_bwdw(&b->bwdw);
    }
    b->bwdw.dw = dw;
}

static float *bench_floats(size_t n) {
    float *p = check_input(n);

    check_fill_plain(p, n, -1, 1);
    return p;
}

/* Rows as a map has them: blocks one after the other, each with its rows. */
static float **bench_rows(float *map, int n, int pixels) {
    float **rows = check_memory((size_t)n * sizeof *rows);

    for (int i = 0; i < n; i++)
        rows[i] = map + (size_t)i * (size_t)pixels * LANES;
    return rows;
}

static void bench_layer(const struct us_kernels *k, double peak, int ksize, int size, int in, int out) {
    const int in_blocks = (in + LANES - 1) / LANES, out_blocks = (out + LANES - 1) / LANES, pad = ksize - 1;
    const int n_in = in_blocks * (size + pad), n_out = out_blocks * size;
    const size_t n_weights = (size_t)(in_blocks * out_blocks * ksize * ksize) * TAP;
    const double flop = 2.0 * size * size * in * (out_blocks * LANES) * ksize * ksize;
    float *const x = bench_floats((size_t)n_in * (size_t)(size + pad) * LANES);
    float *const y = bench_floats((size_t)n_out * (size_t)size * LANES);
    float *const w = bench_floats(n_weights), *const bias = bench_floats((size_t)out_blocks * LANES);
    float **const in_rows = bench_rows(x, n_in, size + pad), **const out_rows = bench_rows(y, n_out, size);
    struct bench b = {.k = k};
    double forward, backward;

    b.conv = (struct us_conv){.in = (const float *const *)in_rows,
                              .out = out_rows,
                              .weights = w,
                              .bias = bias,
                              .rows = size,
                              .width = size,
                              .in_blocks = in_blocks,
                              .out_blocks = out_blocks,
                              .last_channels = in - (in_blocks - 1) * LANES,
                              .ksize = ksize,
                              .in_step = 1,
                              .out_step = 1};
    b.bwdw = (struct us_conv_bwdw){.dout = (const float *const *)out_rows,
                                   .dw = w,
                                   .dw_stride = n_weights / (size_t)out_blocks,
                                   .rows = size,
                                   .width = size,
                                   .out_blocks = out_blocks,
                                   .ksize = ksize,
                                   .in_step = 1,
                                   .dout_step = 1};
    forward = check_best(call_conv, &b);
    check_fill_plain(y, (size_t)n_out * (size_t)size * LANES, -1, 1);
    memset(w, 0, n_weights * sizeof *w);
    backward = check_best(call_bwdw, &b);
    printf(
        "  conv %dx%d %3d -> %3d @ %2d  forward %8.3f ms %6.1f GFLOP/s (%.2f)  weights %8.3f ms %6.1f GFLOP/s (%.2f)\n",
        ksize, ksize, in, out, size, forward * 1e3, flop / forward * 1e-9, peak > 0 ? flop / forward / peak : 0,
        backward * 1e3, flop / backward * 1e-9, peak > 0 ? flop / backward / peak : 0);
    check_free();
}

void check_bench_conv(const struct us_kernels *k, double peak) {
    static const int layers[][4] = {{3, 96, 3, 32},   {3, 96, 32, 32},   {3, 48, 32, 64},   {3, 48, 64, 64},
                                    {3, 24, 64, 128}, {3, 24, 128, 128}, {3, 12, 128, 256}, {3, 12, 256, 256},
                                    {3, 6, 256, 256}, {3, 3, 256, 256},  {1, 48, 64, 32}};

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        bench_layer(k, peak, layers[i][0], layers[i][1], layers[i][2], layers[i][3]);
}
