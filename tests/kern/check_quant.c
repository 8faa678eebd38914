/*
 * check_quant.c - the kernels of 8-bit inference: bits, places written, exactness at the limits of int16 and int32, and
 * that together they are a convolution.
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LANES = US_LANES, M = 4, T = 6, XI = T * T, V_MOST = 100 * 255, TAP = LANES * LANES };

/* ---- inputs ---- */

/* Values of int16 in [-most, most]; half of the time only the ends. */
static int16_t *draw_int16(size_t n, int most) {
    int16_t *p = check_input_bytes(n * sizeof *p);
    const int ends = check_random() & 1;

    for (size_t i = 0; i < n; i++)
        p[i] = (int16_t)(ends ? (check_random() & 1 ? most : -most) : check_range(-most, most));
    return p;
}

static uint8_t *draw_bytes(size_t n) {
    uint8_t *p = check_input_bytes(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)check_random();
    return p;
}

static struct us_quant draw_quant(void) {
    static const int zeros[] = {0, 1, 127, 128, 254, 255};
    struct us_quant q;

    q.zero = check_random() & 1 ? zeros[check_random() % 6] : check_range(0, 255);
    q.scale = check_random() & 1 ? ldexpf(1, check_range(-12, 4))
                                 : ldexpf(1 + (float)(check_random() >> 8) * 0x1p-24f, check_range(-12, 4));
    q.inverse = 1 / q.scale;
    return q;
}

static size_t draw_stride(int least) {
    const int gap = check_random() & 1 ? check_range(1, 5) : 0;

    return (size_t)(least + gap) * LANES;
}

static size_t span(int n, size_t stride, int pixels) {
    return (size_t)(n - 1) * stride + (size_t)pixels * LANES;
}

/* What lies between n pieces of `piece` bytes must be as check_out has left it. */
static void check_gaps(const void *out, int n, size_t stride, size_t piece, size_t total, const char *name) {
    const unsigned char *p = (const unsigned char *)out;

    for (size_t i = 0; i < total; i++)
        if ((i / stride >= (size_t)n || i % stride >= piece) && p[i] != 0xaa) {
            check_that(0, "%s: byte %zu is outside of its output and was written", name, i);
            return;
        }
}

/* ---- one kernel each ---- */

static void check_input_transform(void) {
    const size_t rs = draw_stride(T), vs = draw_stride(1), n = span(XI, vs, 1);
    const int16_t *x = draw_int16(span(T, rs, T), 255);

    CHECK_LEVELS(k) {
        int16_t *v = check_out_bytes(n * sizeof *v);

        k->quant_input(v, vs, x, rs);
        check_gaps(v, XI, vs * sizeof *v, LANES * sizeof *v, n * sizeof *v, "quant_input");
        check_result("strides %zu %zu", rs, vs);
    }
}

static void check_output_transform(void) {
    const int whole = (int)(check_random() % 3);
    const int rows = whole == 0 ? M : check_range(1, M), cols = whole == 0 ? M : check_range(1, M);
    const size_t rs = draw_stride(M), ms = draw_stride(1), n_m = span(XI, ms, 1);
    const float *scale = check_in(XI * LANES), *bias = check_in(LANES);
    int32_t *m = check_input_bytes(n_m * sizeof *m);

    for (size_t i = 0; i < n_m; i++)
        m[i] = check_random() & 1 ? (int32_t)check_random() : check_range(-40, 40);
    CHECK_LEVELS(k) {
        const size_t n = whole == 1 ? span(rows, rs, cols) : span(M, rs, M);
        float *y = check_out(n, NULL);

        k->quant_output(y, rs, rows, cols, m, ms, scale, bias);
        check_gaps(y, rows, rs * sizeof *y, (size_t)cols * LANES * sizeof *y, n * sizeof *y, "quant_output");
        check_result("%d x %d, strides %zu %zu", rows, cols, rs, ms);
    }
}

static void check_multiply(void) {
    const int taps = check_range(1, 5), tiles = check_size(40), in = check_range(1, 4), out = check_range(1, 5);
    const size_t v_in = draw_stride(tiles), m_out = draw_stride(tiles), u_out = draw_stride(in * LANES);
    const size_t v_xi = v_in * (size_t)in, m_xi = m_out * (size_t)out, u_xi = u_out * (size_t)out;
    const int16_t *v = draw_int16(v_xi * (size_t)(taps - 1) + span(in, v_in, tiles), V_MOST);
    /* 64 products of at most 1,315 V_MOST each fit. */
    const int16_t *u = draw_int16(u_xi * (size_t)(taps - 1) + span(out, u_out, in * LANES), 1315);
    const size_t n = m_xi * (size_t)(taps - 1) + span(out, m_out, tiles);

    CHECK_LEVELS(k) {
        struct us_quant_multiply p = {
            v, u, check_out_bytes(n * sizeof *p.m), v_xi, v_in, u_xi, u_out, m_xi, m_out, taps, tiles, in, out};

        k->quant_multiply(&p);
        check_gaps(p.m, taps * out, m_out * sizeof *p.m, (size_t)tiles * LANES * sizeof *p.m, n * sizeof *p.m,
                   "quant_multiply");
        check_result("taps %d, tiles %d, blocks %d to %d", taps, tiles, in, out);
    }
}

/* Now and then one number decides: ties and their neighbours, the ends of the range. */
static void fill_near_steps(float *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n; i++) {
        const float t = (float)check_range(-600, 600) * 0.5f * q->scale;

        x[i] = check_random() % 3 ? t : nextafterf(t, check_random() & 1 ? 1e9f : -1e9f);
    }
}

static void check_quant_rows(void) {
    const size_t n = (size_t)check_size(40), count = n * LANES;
    const struct us_quant q = draw_quant();
    float *x = check_in(count);

    if (check_random() & 1)
        fill_near_steps(x, count, &q);
    CHECK_LEVELS(k) {
        int16_t *a = check_out_bytes(count * sizeof *a);
        uint8_t *b = check_out_bytes(count);

        k->quant_row(a, x, n, &q);
        k->quant_bytes(b, x, n, &q);
        for (size_t i = 0; i < count; i++)
            if (a[i] != b[i] - q.zero || a[i] < -q.zero || a[i] > 255 - q.zero) {
                check_that(0, "quant_row %d, quant_bytes %d, zero %d", a[i], b[i], q.zero);
                break;
            }
        check_result("n %zu, zero %d, scale %a", n, q.zero, (double)q.scale);
    }
}

static void check_bytes_rows(void) {
    const size_t n = (size_t)check_size(40), count = n * LANES;
    const struct us_quant q = draw_quant();
    const uint8_t *x = draw_bytes(2 * count), *below = draw_bytes(2 * count);

    CHECK_LEVELS(k) {
        float *value = check_out(count, NULL);
        int16_t *wide = check_out_bytes(count * sizeof *wide);
        uint8_t *pooled = check_out_bytes(count);

        k->dequant_row(value, x, n, &q);
        k->widen_row(wide, x, n, q.zero);
        k->pool_bytes(pooled, x, below, n);
        check_result("n %zu, zero %d, scale %a", n, q.zero, (double)q.scale);
    }
}

const struct check_function check_quant_functions[] = {
    {"quant_multiply", check_multiply, 1200},       {"quant_input", check_input_transform, 840},
    {"quant_output", check_output_transform, 1680}, {"quant_rows", check_quant_rows, 1680},
    {"bytes_rows", check_bytes_rows, 840},          {NULL, NULL, 0},
};

/* ---- what the numbers must be, of every level ---- */

static long wrong_roundings(const struct us_kernels *k) {
    static const struct {
        float x;
        int zero, want;
    } cases[] = {
        {0.5f, 0, 0},       {1.5f, 0, 2},      {2.5f, 0, 2},         {254.5f, 0, 254}, {255.5f, 0, 255},
        {1e30f, 0, 255},    {-0.5f, 9, 0},     {-1.5f, 9, -2},       {-2.5f, 9, -2},   {-9.5f, 9, -9},
        {-1e30f, 9, -9},    {246.49f, 9, 246}, {246.5f, 9, 246},     {-3.0f, 0, 0},    {3.0f, 255, 0},
        {-0.0f, 77, 0},     {0x1p-140f, 3, 0}, {-254.5f, 255, -254}, {NAN, 5, 0},      {INFINITY, 5, 250},
        {-INFINITY, 5, -5},
    };
    long wrong = 0;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct us_quant q = {1, 1, cases[i].zero};
        float x[LANES];
        int16_t a[LANES];

        for (int l = 0; l < LANES; l++)
            x[l] = cases[i].x;
        k->quant_row(a, x, 1, &q);
        for (int l = 0; l < LANES; l++)
            wrong += a[l] != cases[i].want;
    }
    return wrong;
}

/* A byte's value, quantised again, is the byte: whoever reads bytes with the scale they were stored with may take them
 * as they are. And the maximum of values is the value of the larger byte. */
static long wrong_round_trips(const struct us_kernels *k) {
    long wrong = 0;

    for (int trial = 0; trial < 400; trial++) {
        const struct us_quant q = draw_quant();
        uint8_t bytes[256], again[256];
        float value[256];

        for (int i = 0; i < 256; i++)
            bytes[i] = (uint8_t)i;
        k->dequant_row(value, bytes, 256 / LANES, &q);
        k->quant_bytes(again, value, 256 / LANES, &q);
        for (int i = 0; i < 256; i++)
            wrong += again[i] != bytes[i] || (i > 0 && !(value[i] > value[i - 1]));
    }
    return wrong;
}

/* Weights and data as large as the contract allows, signs such that every product has the same one; or alternating. */
static long wrong_sums(const struct us_kernels *k) {
    enum { IN = 4, TILES = 13, OUT = 3 };
    static int16_t v[IN * TILES * LANES], u[OUT * IN * TAP];
    static int32_t m[OUT * TILES * LANES];
    long wrong = 0;

    for (int trial = 0; trial < 12; trial++) {
        struct us_quant_multiply p = {v, u, m, 0, TILES * LANES, 0, IN * TAP, 0, TILES * LANES, 1, TILES, IN, OUT};
        const int live = trial % 3 == 0 ? 2 : trial % 3 == 1 ? 17 : IN * LANES; /* input channels with a weight */
        const int each = 84215 / live < 32767 ? 84215 / live : 32767;

        memset(u, 0, sizeof u);
        for (int o = 0; o < OUT * LANES; o++)
            for (int c = 0; c < live; c++) {
                const int sign = trial & 1 ? 1 : (o + c) % 3 ? 1 : -1;

                u[(o / LANES * IN + c / LANES) * TAP + c % LANES / 2 * 2 * LANES + o % LANES * 2 + c % 2] =
                    (int16_t)(each * (trial & 2 ? sign : -sign));
            }
        for (int c = 0; c < IN * LANES; c++)
            for (int t = 0; t < TILES; t++)
                v[c / LANES * TILES * LANES + t * LANES + c % LANES] = (int16_t)(t % 2 || c % 5 ? V_MOST : -V_MOST);
        k->quant_multiply(&p);
        for (int o = 0; o < OUT * LANES; o++)
            for (int t = 0; t < TILES; t++) {
                int64_t sum = 0;

                for (int c = 0; c < IN * LANES; c++)
                    sum += (int64_t)v[c / LANES * TILES * LANES + t * LANES + c % LANES] *
                           u[(o / LANES * IN + c / LANES) * TAP + c % LANES / 2 * 2 * LANES + o % LANES * 2 + c % 2];
                wrong += m[o / LANES * TILES * LANES + t * LANES + o % LANES] != sum;
            }
    }
    return wrong;
}

/* Rows of 24 G. */
static const int g24[T][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4}, {1, 2, 4}, {1, -2, 4}, {0, 0, 24}};

/* Taps of one lane's filter, transformed, times 576: integers. */
static void transform_taps(int32_t u[XI], const int w[9]) {
    for (int xi = 0; xi < XI; xi++) {
        u[xi] = 0;
        for (int tap = 0; tap < 9; tap++)
            u[xi] += g24[xi / T][tap / 3] * w[tap] * g24[xi % T][tap % 3];
    }
}

/* Each lane convolves a tile with a filter of its own: the largest error, of values up to 9 * 3 * 255. */
static double convolution_error(const struct us_kernels *k, int fault) {
    double worst = 0;

    for (int trial = 0; trial < 20; trial++) {
        int16_t x[XI * LANES], v[XI * LANES];
        int32_t m[XI * LANES];
        float scale[XI * LANES], bias[LANES], y[M * M * LANES];
        int w[LANES][9];

        for (int i = 0; i < XI * LANES; i++) {
            x[i] = (int16_t)check_range(-255, 255);
            scale[i] = 1.0f / 576;
        }
        k->quant_input(v, LANES, x, T * LANES);
        for (int l = 0; l < LANES; l++) {
            int32_t u[XI];

            bias[l] = (float)l;
            for (int tap = 0; tap < 9; tap++)
                w[l][tap] = check_range(-3, 3);
            transform_taps(u, w[l]);
            for (int xi = 0; xi < XI; xi++)
                m[xi * LANES + l] = v[xi * LANES + l] * u[xi];
        }
        if (fault)
            m[7 * LANES + trial % LANES] += 576;
        k->quant_output(y, M * LANES, M, M, m, LANES, scale, bias);
        for (int i = 0; i < M * M; i++)
            for (int l = 0; l < LANES; l++) {
                int want = l;

                for (int tap = 0; tap < 9; tap++)
                    want += x[((i / M + tap / 3) * T + i % M + tap % 3) * LANES + l] * w[l][tap];
                worst = fmax(worst, fabs((double)y[i * LANES + l] - want));
            }
    }
    return worst;
}

void check_quant(void) {
    CHECK_LEVELS(k) {
        const double error = convolution_error(k, 0), faulty = convolution_error(k, 1);

        check_that(wrong_roundings(k) == 0, "8 bits, %s: ties, ends, infinities, NaN", k->name);
        check_that(wrong_round_trips(k) == 0, "8 bits, %s: a byte's value quantised again is the byte", k->name);
        check_that(wrong_sums(k) == 0, "8 bits, %s: sums at the limit of int32 are exact", k->name);
        check_that(error < 0.05, "8 bits, %s: F(4,3) of integers is a convolution, to %.4f", k->name, error);
        check_that(faulty > 0.5, "8 bits, %s: one wrong value is noticed (%.2f)", k->name, faulty);
    }
}

/* ---- benchmark ---- */

enum { TILES = 24, BLOCKS = 4, PIXELS = 512 };

static struct {
    const struct us_kernels *k;
    int which;
    int16_t *v, *u, *x;
    int32_t *m;
    float *y, *scale;
    uint8_t *bytes;
} bench;

static void run_kernel(void *user) {
    const struct us_kernels *k = bench.k;
    const size_t v_xi = (size_t)(BLOCKS * TILES + 1) * LANES;
    struct us_quant_multiply p = {bench.v,      bench.u, bench.m,       v_xi, TILES * LANES, BLOCKS * BLOCKS * TAP,
                                  BLOCKS * TAP, v_xi,    TILES * LANES, XI,   TILES,         BLOCKS,
                                  BLOCKS};
    const struct us_quant q = {0.01f, 100.0f, 128};

    (void)user;
    switch (bench.which) {
    case 0:
        k->quant_multiply(&p);
        break;
    case 1:
        for (int t = 0; t < TILES; t++)
            k->quant_input(bench.v + t * LANES, v_xi, bench.x + t * M * LANES, (TILES * M + 2) * LANES);
        break;
    case 2:
        for (int t = 0; t < TILES; t++)
            k->quant_output(bench.y + t * M * LANES, TILES * M * LANES, M, M, bench.m + t * LANES, v_xi, bench.scale,
                            bench.scale);
        break;
    case 3:
        k->quant_row(bench.x, bench.y, PIXELS, &q);
        break;
    case 4:
        k->quant_bytes(bench.bytes, bench.y, PIXELS, &q);
        break;
    case 5:
        k->dequant_row(bench.y, bench.bytes, PIXELS, &q);
        break;
    default:
        k->widen_row(bench.x, bench.bytes, PIXELS, 128);
    }
}

void check_bench_quant(const struct us_kernels *k, double peak) {
    static const char *const names[] = {"quant_multiply", "quant_input", "quant_output", "quant_row",
                                        "quant_bytes",    "dequant_row", "widen_row"};
    const size_t block = (size_t)XI * (BLOCKS * TILES + 1) * LANES, image = (size_t)T * (TILES * M + 2) * LANES;

    bench.k = k;
    bench.v = check_memory(block * sizeof *bench.v);
    bench.m = check_memory(block * sizeof *bench.m);
    bench.u = check_memory((size_t)XI * BLOCKS * BLOCKS * TAP * sizeof *bench.u);
    bench.x = check_memory(image * sizeof *bench.x);
    bench.y = check_memory(image * sizeof *bench.y);
    bench.scale = check_memory(XI * LANES * sizeof *bench.scale);
    bench.bytes = check_memory(image);
    check_fill_plain(bench.y, image, -1, 1);
    for (bench.which = 0; bench.which < 7; bench.which++) {
        const double s = check_best(run_kernel, NULL);

        if (bench.which == 0) {
            const double rate = 2.0 * XI * TILES * BLOCKS * BLOCKS * TAP / s;

            printf("  %-18s %6.1f GOP/s (%.2f of the fma peak)\n", names[0], rate * 1e-9, peak > 0 ? rate / peak : 0);
        } else if (bench.which < 3) {
            printf("  %-18s %6.1f ns/tile\n", names[bench.which], s * 1e9 / TILES);
        } else {
            printf("  %-18s %6.2f ns/pixel\n", names[bench.which], s * 1e9 / PIXELS);
        }
    }
    check_free();
}
