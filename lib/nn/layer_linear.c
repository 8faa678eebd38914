/*
 * layer_linear.c - a linear layer: the sums of layer_conv_direct.c (1x1 kernel, 1x1 maps) in the same order and so with
 * the same bits, sixteen of them at a time.
 *
 * Sums run in double, where the product of two floats is exact, and are rounded to float once. They are independent of
 * each other, so that a compiler may compute several in one instruction.
 */
#include "nn/layer.h"

#define ROWS 8 /* of x or dy, a task */

struct linear {
    int64_t n, c, c_out;
    const float *x, *weight, *bias, *dy;
    const double *packed; /* weights as [block of 16 outputs][c][16] */
    float *y, *dx, *dweight, *dbias;
};

/* sum[k] += a row[k]; a fixed count where it can be, for the compiler. */
static void add_row(double *sum, double a, const float *row, int count) {
    int k;
    if (count == US_LANES)
        for (k = 0; k < US_LANES; k++)
            sum[k] += a * (double)row[k];
    else
        for (k = 0; k < count; k++)
            sum[k] += a * (double)row[k];
}

static void store(float *to, const double *sum, int count) {
    int k;
    for (k = 0; k < count; k++)
        to[k] = (float)sum[k];
}

static int live(int64_t from, int64_t count) {
    return (int)US_MIN(count - from, US_LANES);
}

/* ---- Forward: a task is a block of rows ---- */

static void forward_row(const struct linear *t, int64_t n, int64_t block) {
    const double *weight = t->packed + block * t->c * US_LANES;
    const float *x = t->x + n * t->c;
    const int64_t first = block * US_LANES;
    double sum[US_LANES] = {0};
    int64_t c;
    int k;
    for (c = 0; c < t->c; c++, weight += US_LANES)
        for (k = 0; k < US_LANES; k++)
            sum[k] += (double)x[c] * weight[k];
    for (k = 0; t->bias && k < live(first, t->c_out); k++)
        sum[k] += (double)t->bias[first + k];
    store(t->y + n * t->c_out + first, sum, live(first, t->c_out));
}

static void forward_task(void *arg, int64_t index, int worker) {
    const struct linear *t = (const struct linear *)arg;
    int64_t block, n;
    (void)worker;
    for (block = 0; block * US_LANES < t->c_out; block++)
        for (n = index * ROWS; n < US_MIN((index + 1) * ROWS, t->n); n++)
            forward_row(t, n, block);
}

int us_linear_forward(us_context *ctx, int64_t n, int64_t c, int64_t c_out, const float *x, const float *weight,
                      const float *bias, float *y) {
    struct linear t = {n, c, c_out, x, weight, bias, NULL, NULL, y, NULL, NULL, NULL};
    const int64_t blocks = (c_out + US_LANES - 1) / US_LANES;
    double *packed;
    size_t bytes;
    int64_t co, ci;
    int code = us_layer_bytes(&bytes, blocks, c, US_LANES, 1, sizeof *packed);
    if (code)
        return code;
    packed = (double *)us_alloc_zero(ctx, bytes);
    if (!packed)
        return UNETSTAR_ENOMEM;
    for (co = 0; co < c_out; co++)
        for (ci = 0; ci < c; ci++)
            packed[(co / US_LANES * c + ci) * US_LANES + co % US_LANES] = (double)weight[co * c + ci];
    t.packed = packed;
    code = us_parallel(ctx, NULL, forward_task, &t, (n + ROWS - 1) / ROWS);
    us_free(ctx, packed);
    return code;
}

/* ---- Backward ---- */

static void data_task(void *arg, int64_t index, int worker) {
    const struct linear *t = (const struct linear *)arg;
    int64_t n, first, co;
    (void)worker;
    for (first = 0; first < t->c; first += US_LANES)
        for (n = index * ROWS; n < US_MIN((index + 1) * ROWS, t->n); n++) {
            double sum[US_LANES] = {0};
            for (co = 0; co < t->c_out; co++)
                add_row(sum, (double)t->dy[n * t->c_out + co], t->weight + co * t->c + first, live(first, t->c));
            store(t->dx + n * t->c + first, sum, live(first, t->c));
        }
}

/* A task is one output. */
static void weights_task(void *arg, int64_t co, int worker) {
    const struct linear *t = (const struct linear *)arg;
    double bias = 0;
    int64_t n, first;
    (void)worker;
    for (n = 0; n < t->n; n++)
        bias += (double)t->dy[n * t->c_out + co];
    if (t->dbias)
        t->dbias[co] = (float)bias;
    for (first = 0; t->dweight && first < t->c; first += US_LANES) {
        double sum[US_LANES] = {0};
        for (n = 0; n < t->n; n++)
            add_row(sum, (double)t->dy[n * t->c_out + co], t->x + n * t->c + first, live(first, t->c));
        store(t->dweight + co * t->c + first, sum, live(first, t->c));
    }
}

int us_linear_backward(us_context *ctx, int64_t n, int64_t c, int64_t c_out, const float *x, const float *weight,
                       const float *dy, float *dx, float *dweight, float *dbias) {
    struct linear t = {n, c, c_out, x, weight, NULL, dy, NULL, NULL, dx, dweight, dbias};
    int code = 0;
    if (dx)
        code = us_parallel(ctx, NULL, data_task, &t, (n + ROWS - 1) / ROWS);
    if (!code && (dweight || dbias))
        code = us_parallel(ctx, NULL, weights_task, &t, c_out);
    return code;
}
