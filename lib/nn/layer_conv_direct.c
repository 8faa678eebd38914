/*
 * layer_conv_direct.c - convolution of any kernel size, stride, padding, dilation and number of groups, by plain loops.
 *
 * Sums run in the order of the network's layers (block of 16 channels of the group, ky, kx, channel), but in double,
 * and are rounded to float once at the end. The product of two floats is exact in double, so it makes no difference
 * whether a multiplication and an addition are fused: the bits are the same everywhere, without the kernels' fma. Taps
 * that meet the padding are left out; adding their zeros would change nothing but the sign of a sum that is zero all
 * along.
 */
#include "nn/layer.h"

struct direct {
    const struct us_conv2d *d;
    int64_t ho, wo;
    int64_t group_in, group_out; /* channels of a group */
    const float *x, *weight, *bias, *dy;
    float *y, *dx, *dweight, *dbias;
};

static struct direct describe(const struct us_conv2d *d, int64_t ho, int64_t wo) {
    struct direct t = {NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    t.d = d;
    t.ho = ho;
    t.wo = wo;
    t.group_in = d->c / d->groups;
    t.group_out = d->c_out / d->groups;
    return t;
}

/* Planes of input, output and weights. */
static size_t in_plane(const struct direct *t, int64_t n, int64_t c) {
    return ((size_t)n * (size_t)t->d->c + (size_t)c) * (size_t)t->d->h * (size_t)t->d->w;
}

static size_t out_plane(const struct direct *t, int64_t n, int64_t c) {
    return ((size_t)n * (size_t)t->d->c_out + (size_t)c) * (size_t)t->ho * (size_t)t->wo;
}

/* Weight of output channel co and channel ci of its group. */
static size_t weight_at(const struct direct *t, int64_t co, int64_t ci, int ky, int kx) {
    return (((size_t)co * (size_t)t->group_in + (size_t)ci) * (size_t)t->d->kernel_h + (size_t)ky) *
               (size_t)t->d->kernel_w +
           (size_t)kx;
}

/* ---- Forward: a task is one plane of the output ---- */

static double output_at(const struct direct *t, int64_t n, int64_t co, int64_t y, int64_t x) {
    const struct us_conv2d *d = t->d;
    const int64_t first = co / t->group_out * t->group_in;
    double sum = 0;
    int64_t block, c;
    int ky, kx;
    for (block = 0; block < t->group_in; block += US_LANES)
        for (ky = 0; ky < d->kernel_h; ky++) {
            const int64_t iy = y * d->stride_h - d->padding_h + (int64_t)ky * d->dilation;
            if (iy < 0 || iy >= d->h)
                continue;
            for (kx = 0; kx < d->kernel_w; kx++) {
                const int64_t ix = x * d->stride_w - d->padding_w + (int64_t)kx * d->dilation;
                if (ix < 0 || ix >= d->w)
                    continue;
                for (c = block; c < US_MIN(block + US_LANES, t->group_in); c++)
                    sum += (double)t->x[in_plane(t, n, first + c) + (size_t)(iy * d->w + ix)] *
                           (double)t->weight[weight_at(t, co, c, ky, kx)];
            }
        }
    return t->bias ? sum + (double)t->bias[co] : sum;
}

static void forward_task(void *arg, int64_t index, int worker) {
    const struct direct *t = (const struct direct *)arg;
    const int64_t n = index / t->d->c_out, co = index % t->d->c_out;
    float *out = t->y + out_plane(t, n, co);
    int64_t y, x;
    (void)worker;
    for (y = 0; y < t->ho; y++)
        for (x = 0; x < t->wo; x++)
            *out++ = (float)output_at(t, n, co, y, x);
}

int us_conv2d_direct_forward(us_context *ctx, const struct us_conv2d *d, int64_t ho, int64_t wo, const float *x,
                             const float *weight, const float *bias, float *y) {
    struct direct t = describe(d, ho, wo);
    t.x = x;
    t.weight = weight;
    t.bias = bias;
    t.y = y;
    return us_parallel(ctx, NULL, forward_task, &t, d->n * d->c_out);
}

/* ---- Backward-data: a task is one plane of dx, which gathers from the outputs it took part in ---- */

/* The output row or column whose tap meets `at`, or -1. */
static int64_t output_of(int64_t at, int padding, int tap, int dilation, int stride, int64_t size) {
    const int64_t scaled = at + padding - (int64_t)tap * dilation;
    return scaled >= 0 && scaled % stride == 0 && scaled / stride < size ? scaled / stride : -1;
}

static double input_gradient_at(const struct direct *t, int64_t n, int64_t ci, int64_t y, int64_t x) {
    const struct us_conv2d *d = t->d;
    const int64_t first = ci / t->group_in * t->group_out;
    double sum = 0;
    int64_t block, c;
    int ky, kx;
    for (block = 0; block < t->group_out; block += US_LANES)
        for (ky = 0; ky < d->kernel_h; ky++) {
            const int64_t oy = output_of(y, d->padding_h, ky, d->dilation, d->stride_h, t->ho);
            if (oy < 0)
                continue;
            for (kx = 0; kx < d->kernel_w; kx++) {
                const int64_t ox = output_of(x, d->padding_w, kx, d->dilation, d->stride_w, t->wo);
                if (ox < 0)
                    continue;
                for (c = block; c < US_MIN(block + US_LANES, t->group_out); c++)
                    sum += (double)t->dy[out_plane(t, n, first + c) + (size_t)(oy * t->wo + ox)] *
                           (double)t->weight[weight_at(t, first + c, ci % t->group_in, ky, kx)];
            }
        }
    return sum;
}

static void data_task(void *arg, int64_t index, int worker) {
    const struct direct *t = (const struct direct *)arg;
    const int64_t n = index / t->d->c, ci = index % t->d->c;
    float *out = t->dx + in_plane(t, n, ci);
    int64_t y, x;
    (void)worker;
    for (y = 0; y < t->d->h; y++)
        for (x = 0; x < t->d->w; x++)
            *out++ = (float)input_gradient_at(t, n, ci, y, x);
}

/* ---- Backward-weights and bias: a task is one output channel ---- */

static double weight_gradient_at(const struct direct *t, int64_t co, int64_t ci, int ky, int kx) {
    const struct us_conv2d *d = t->d;
    const int64_t channel = co / t->group_out * t->group_in + ci;
    double sum = 0;
    int64_t n, y, x;
    for (n = 0; n < d->n; n++)
        for (y = 0; y < t->ho; y++) {
            const int64_t iy = y * d->stride_h - d->padding_h + (int64_t)ky * d->dilation;
            if (iy < 0 || iy >= d->h)
                continue;
            for (x = 0; x < t->wo; x++) {
                const int64_t ix = x * d->stride_w - d->padding_w + (int64_t)kx * d->dilation;
                if (ix < 0 || ix >= d->w)
                    continue;
                sum += (double)t->x[in_plane(t, n, channel) + (size_t)(iy * d->w + ix)] *
                       (double)t->dy[out_plane(t, n, co) + (size_t)(y * t->wo + x)];
            }
        }
    return sum;
}

static double channel_sum(const struct direct *t, int64_t co) {
    double sum = 0;
    int64_t n, i;
    for (n = 0; n < t->d->n; n++) {
        const float *plane = t->dy + out_plane(t, n, co);
        for (i = 0; i < t->ho * t->wo; i++)
            sum += (double)plane[i];
    }
    return sum;
}

static void weights_task(void *arg, int64_t co, int worker) {
    const struct direct *t = (const struct direct *)arg;
    int64_t ci;
    int ky, kx;
    (void)worker;
    if (t->dbias)
        t->dbias[co] = (float)channel_sum(t, co);
    for (ci = 0; t->dweight && ci < t->group_in; ci++)
        for (ky = 0; ky < t->d->kernel_h; ky++)
            for (kx = 0; kx < t->d->kernel_w; kx++)
                t->dweight[weight_at(t, co, ci, ky, kx)] = (float)weight_gradient_at(t, co, ci, ky, kx);
}

int us_conv2d_direct_backward(us_context *ctx, const struct us_conv2d *d, int64_t ho, int64_t wo, const float *x,
                              const float *weight, const float *dy, float *dx, float *dweight, float *dbias) {
    struct direct t = describe(d, ho, wo);
    int code = 0;
    t.x = x;
    t.weight = weight;
    t.dy = dy;
    t.dx = dx;
    t.dweight = dweight;
    t.dbias = dbias;
    if (dx)
        code = us_parallel(ctx, NULL, data_task, &t, d->n * d->c);
    if (!code && (dweight || dbias))
        code = us_parallel(ctx, NULL, weights_task, &t, d->c_out);
    return code;
}
