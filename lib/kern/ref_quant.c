/*
 * ref_quant.c - the kernels of 8-bit inference in their plain form; like ref.c the authority on every bit, and like it
 * compiled twice.
 *
 * Winograd's F(4x4, 3x3) with the points 0, 1, -1, 2, -2, infinity (ref_wino.c has the construction): B^T and A^T hold
 * integers only, and the sixths and twenty-fourths are all in G, which meets the weights before they are rounded to
 * int16.
 *
 *   B^T =  4  0 -5  0  1  0      G =  1/4    0     0       A^T = 1  1  1  1  1  0
 *          0 -4 -4  1  1  0          -1/6  -1/6  -1/6            0  1 -1  2 -2  0
 *          0  4 -4 -1  1  0          -1/6   1/6  -1/6            0  1  1  4  4  0
 *          0 -2 -1  2  1  0          1/24  1/12   1/6            0  1 -1  8 -8  1
 *          0  2 -1 -2  1  0          1/24 -1/12   1/6
 *          0  4  0 -5  0  1            0     0     1
 *
 * A row of B^T has absolute values that add up to 10 at most, so a transformed value is at most 100 times the largest
 * input.
 */
#include "kern/levels.h"
#include "kern/scalar.h"

#ifdef US_REFERENCE_FMA
#define US_QUANT us_quant_reference_fma
#else
#define US_QUANT us_quant_reference
#endif

enum { LANES = US_LANES, M = 4, T = 6 };

/* One axis, one lane; values are `step` apart. */
static void input_axis(int *o, int o_step, const int *x, int x_step) {
    const int x0 = x[0], x1 = x[x_step], x2 = x[2 * x_step], x3 = x[3 * x_step], x4 = x[4 * x_step], x5 = x[5 * x_step];

    o[0] = 4 * x0 - 5 * x2 + x4;
    o[o_step] = (x4 - 4 * x2) + (x3 - 4 * x1);
    o[2 * o_step] = (x4 - 4 * x2) - (x3 - 4 * x1);
    o[3 * o_step] = (x4 - x2) + 2 * (x3 - x1);
    o[4 * o_step] = (x4 - x2) - 2 * (x3 - x1);
    o[5 * o_step] = 4 * x1 - 5 * x3 + x5;
}

static void quant_input(int16_t *v, size_t v_stride, const int16_t *x, size_t row_stride) {
    for (int l = 0; l < LANES; l++) {
        int in[T * T], half[T * T], out[T * T];

        for (int i = 0; i < T * T; i++)
            in[i] = x[(size_t)(i / T) * row_stride + (size_t)(i % T) * LANES + (size_t)l];
        US_ROLLED
        for (int j = 0; j < T; j++)
            input_axis(half + j, T, in + j, T);
        US_ROLLED
        for (int i = 0; i < T; i++)
            input_axis(out + i * T, 1, half + i * T, 1);
        for (int i = 0; i < T * T; i++)
            v[(size_t)i * v_stride + (size_t)l] = (int16_t)out[i];
    }
}

static void output_axis(float *o, int o_step, const float *x, int x_step) {
    const float x1 = x[x_step], x2 = x[2 * x_step], x3 = x[3 * x_step], x4 = x[4 * x_step];
    const float s1 = x1 + x2, d1 = x1 - x2, s2 = x3 + x4, d2 = x3 - x4;

    o[0] = (x[0] + s1) + s2;
    o[o_step] = us_fma(2, d2, d1);
    o[2 * o_step] = us_fma(4, s2, s1);
    o[3 * o_step] = us_fma(8, d2, d1) + x[5 * x_step];
}

static void quant_output(float *y, size_t row_stride, int rows, int cols, const int32_t *m, size_t m_stride,
                         const float *scale, const float *bias) {
    for (int l = 0; l < LANES; l++) {
        float in[T * T], half[M * T], out[M * M];

        for (int i = 0; i < T * T; i++)
            in[i] = (float)m[(size_t)i * m_stride + (size_t)l] * scale[i * LANES + l];
        US_ROLLED
        for (int j = 0; j < T; j++)
            output_axis(half + j, T, in + j, T);
        US_ROLLED
        for (int i = 0; i < M; i++)
            output_axis(out + i * M, 1, half + i * T, 1);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < cols; j++)
                y[(size_t)i * row_stride + (size_t)j * LANES + (size_t)l] = out[i * M + j] + bias[l];
    }
}

static void quant_multiply(const struct us_quant_multiply *p) {
    for (int xi = 0; xi < p->taps; xi++)
        for (int o = 0; o < p->out_blocks; o++)
            for (int t = 0; t < p->tiles; t++) {
                int32_t *m = p->m + (size_t)xi * p->m_xi + (size_t)o * p->m_out + (size_t)t * LANES;
                const int16_t *u = p->u + (size_t)xi * p->u_xi + (size_t)o * p->u_out;
                int32_t acc[LANES] = {0};

                for (int b = 0; b < p->in_blocks; b++, u += LANES * LANES) {
                    const int16_t *v = p->v + (size_t)xi * p->v_xi + (size_t)b * p->v_in + (size_t)t * LANES;

                    for (int ci = 0; ci < LANES; ci++)
                        for (int co = 0; co < LANES; co++)
                            acc[co] += (int32_t)v[ci] * u[ci / 2 * 2 * LANES + co * 2 + ci % 2];
                }
                memcpy(m, acc, sizeof acc);
            }
}

/* Adding 1.5 * 2^23 leaves no room for a fraction, so the sum is rounded to an integer, ties to even. */
static int quantised(float x, const struct us_quant *q) {
    const float magic = 12582912.0f, lo = (float)-q->zero, hi = (float)(255 - q->zero);
    float t = x * q->inverse;

    t = t == t ? t : 0.0f;
    t = t > lo ? t : lo;
    t = t < hi ? t : hi;
    return (int)((t + magic) - magic);
}

static void quant_row(int16_t *dst, const float *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = (int16_t)quantised(x[i], q);
}

static void quant_bytes(uint8_t *dst, const float *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = (uint8_t)(quantised(x[i], q) + q->zero);
}

static void dequant_row(float *dst, const uint8_t *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = (float)(x[i] - q->zero) * q->scale;
}

static void widen_row(int16_t *dst, const uint8_t *x, size_t n, int zero) {
    for (size_t i = 0; i < n * LANES; i++)
        dst[i] = (int16_t)(x[i] - zero);
}

static uint8_t larger(uint8_t a, uint8_t b) {
    return a > b ? a : b;
}

/* A function of its own: gcc makes 7 KB of the two loops together. */
static US_NOINLINE void pool_pixel(uint8_t *dst, const uint8_t *top, const uint8_t *bottom) {
    for (int l = 0; l < LANES; l++)
        dst[l] = larger(larger(top[l], top[l + LANES]), larger(bottom[l], bottom[l + LANES]));
}

static void pool_bytes(uint8_t *dst, const uint8_t *top, const uint8_t *bottom, size_t n) {
    for (size_t x = 0; x < n; x++)
        pool_pixel(dst + x * LANES, top + 2 * x * LANES, bottom + 2 * x * LANES);
}

int US_QUANT(struct us_kernels *k) {
    if (us_contracted())
        return -1;
    k->quant_group = 1;
    k->quant_batch = 16;
    k->quant_multiply = quant_multiply;
    k->quant_input = quant_input;
    k->quant_output = quant_output;
    k->quant_row = quant_row;
    k->quant_bytes = quant_bytes;
    k->dequant_row = dequant_row;
    k->widen_row = widen_row;
    k->pool_bytes = pool_bytes;
    return 0;
}
