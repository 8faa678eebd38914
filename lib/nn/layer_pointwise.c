/* layer_pointwise.c - activations and softmax on plain buffers. */
#include "nn/nn.h"

#include <string.h>

/* ---- Activations: the kernels want whole, aligned groups of 16, so a chunk passes through a buffer on the stack ----
 */

#define CHUNK 1024 /* floats */

struct pointwise {
    us_context *ctx;
    int act;
    float slope;
    int64_t count;
    const float *x, *dy; /* dy NULL: forward */
    float *out;
};

static void activation_task(void *arg, int64_t index, int worker) {
    const struct pointwise *p = (const struct pointwise *)arg;
    const int64_t first = index * CHUNK;
    const size_t count = (size_t)US_MIN(p->count - first, CHUNK);
    const size_t pixels = (count + US_LANES - 1) / US_LANES;
    float room[2 * CHUNK + US_LANES];
    float *x = room + (64 - (uintptr_t)room % 64) % 64 / sizeof(float), *g = x + CHUNK;
    (void)worker;
    memset(x + pixels * US_LANES - US_LANES, 0, US_LANES * sizeof *x);
    memcpy(x, p->x + first, count * sizeof *x);
    if (p->dy) {
        memset(g + pixels * US_LANES - US_LANES, 0, US_LANES * sizeof *g);
        memcpy(g, p->dy + first, count * sizeof *g);
        p->ctx->kern.act_grad(g, g, x, pixels, NULL, NULL, p->act, p->slope);
        memcpy(p->out + first, g, count * sizeof *g);
    } else {
        p->ctx->kern.affine_act(x, x, pixels, NULL, NULL, p->act, p->slope);
        memcpy(p->out + first, x, count * sizeof *x);
    }
}

static int run_activation(us_context *ctx, int act, float slope, int64_t count, const float *x, const float *dy,
                          float *out) {
    struct pointwise p;
    p.ctx = ctx;
    p.act = act;
    p.slope = slope;
    p.count = count;
    p.x = x;
    p.dy = dy;
    p.out = out;
    return us_parallel(ctx, NULL, activation_task, &p, (count + CHUNK - 1) / CHUNK);
}

int us_activation_forward(us_context *ctx, int act, float slope, int64_t count, const float *x, float *y) {
    return run_activation(ctx, act, slope, count, x, NULL, y);
}

int us_activation_backward(us_context *ctx, int act, float slope, int64_t count, const float *x, const float *dy,
                           float *dx) {
    return run_activation(ctx, act, slope, count, x, dy, dx);
}

/* ---- Softmax: a task is a run of pixels of one image ---- */

#define PIXELS 1024

struct softmax {
    int64_t c, hw;
    int64_t runs; /* of an image */
    const float *from, *dy;
    float *to;
};

static void forward_task(void *arg, int64_t index, int worker) {
    const struct softmax *s = (const struct softmax *)arg;
    const int64_t n = index / s->runs, first = index % s->runs * PIXELS;
    const int64_t at = n * s->c * s->hw + first;
    (void)worker;
    us_softmax(s->from + at, s->to + at, s->c, s->hw, US_MIN(s->hw - first, PIXELS));
}

/* dz_j = p_j (dy_j - sum over k of p_k dy_k); for the logistic function p (1 - p) dy. In double, rounded once. */
static void backward_pixel(const struct softmax *s, int64_t at) {
    const float *p = s->from + at, *dy = s->dy + at;
    float *dz = s->to + at;
    double sum = 0;
    int64_t k;
    if (s->c == 1) {
        dz[0] = (float)((double)p[0] * (1.0 - (double)p[0]) * (double)dy[0]);
        return;
    }
    for (k = 0; k < s->c; k++)
        sum += (double)p[k * s->hw] * (double)dy[k * s->hw];
    for (k = 0; k < s->c; k++)
        dz[k * s->hw] = (float)((double)p[k * s->hw] * ((double)dy[k * s->hw] - sum));
}

static void backward_task(void *arg, int64_t index, int worker) {
    const struct softmax *s = (const struct softmax *)arg;
    const int64_t n = index / s->runs, first = index % s->runs * PIXELS;
    const int64_t last = US_MIN(first + PIXELS, s->hw);
    int64_t i;
    (void)worker;
    for (i = first; i < last; i++)
        backward_pixel(s, n * s->c * s->hw + i);
}

static struct softmax describe(int64_t c, int64_t hw) {
    struct softmax s;
    s.c = c;
    s.hw = hw;
    s.runs = (hw + PIXELS - 1) / PIXELS;
    s.from = s.dy = NULL;
    s.to = NULL;
    return s;
}

int us_softmax_forward(us_context *ctx, int64_t n, int64_t c, int64_t hw, const float *logits, float *probability) {
    struct softmax s = describe(c, hw);
    s.from = logits;
    s.to = probability;
    return us_parallel(ctx, NULL, forward_task, &s, n * s.runs);
}

int us_softmax_backward(us_context *ctx, int64_t n, int64_t c, int64_t hw, const float *probability, const float *dy,
                        float *dlogits) {
    struct softmax s = describe(c, hw);
    s.from = probability;
    s.dy = dy;
    s.to = dlogits;
    return us_parallel(ctx, NULL, backward_task, &s, n * s.runs);
}
