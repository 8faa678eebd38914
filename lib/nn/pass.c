/* pass.c - what training and evaluation share: the maps' shapes, a unit's convolution, a head. */
#include "nn/map.h"

#include <string.h>

void us_pass_shapes(struct us_pass *pass, us_context *ctx, const struct us_net *net, int n, int64_t h, int64_t w) {
    int u;
    memset(pass, 0, sizeof *pass);
    pass->ctx = ctx;
    pass->net = net;
    pass->n = n;
    pass->h = (int)us_net_padded(net, h);
    pass->w = (int)us_net_padded(net, w);
    pass->image.n = n;
    pass->image.blocks = US_BLOCKS(net->options.in_channels);
    pass->image.h = pass->h;
    pass->image.w = pass->w;
    for (u = 0; u < net->n_units; u++) {
        struct us_map *z = &pass->z[u];
        z->n = n;
        z->blocks = net->units[u].out_blocks;
        z->h = pass->h >> net->units[u].shift;
        z->w = pass->w >> net->units[u].shift;
    }
}

/* Size of a unit's input: its own, except before a transposed convolution. */
static int input_shift(const struct us_unit *u) {
    return u->kind == US_UNIT_UPCONV ? u->shift + 1 : u->shift;
}

size_t us_pass_scratch(const struct us_net *net, int workers, int n, int h, int w) {
    size_t most = 0;
    int i;
    for (i = 0; i < net->n_units; i++) {
        const struct us_unit *u = &net->units[i];
        const int uh = h >> input_shift(u), uw = w >> input_shift(u);
        const size_t tmp = us_row_tmp_bytes(uw);
        size_t size;
        if (u->kind == US_UNIT_UPCONV) {
            size = us_upconv_scratch(uw, u->in_blocks, u->out_blocks, tmp);
        } else {
            /* a small batch cuts thinner bands, so a full one and a single image bound what lies between */
            size = us_conv_scratch(workers, n, uh, uw, u->in_blocks, u->out_blocks, tmp);
            size = US_MAX(size, us_conv_scratch(workers, n, uh, uw, u->out_blocks, u->in_blocks, tmp));
            size = US_MAX(size, us_conv_weights_scratch(n, uh, uw, tmp));
        }
        most = US_MAX(most, size);
    }
    /* rows of every block for a head, and rows of a gradient for the fusion's backward pass: eight full-width rows a block */
    for (i = 0; i < net->n_heads; i++) {
        const struct us_unit *u = &net->units[net->heads[i].unit];
        const size_t row = (size_t)(w >> u->shift) * US_LANES * sizeof(float);
        most = US_MAX(most, ((size_t)u->out_blocks + 1) * row + 64 * (size_t)u->out_blocks + 4096);
    }
    most = US_MAX(most, 8 * (size_t)w * US_LANES * sizeof(float));
    return (most + 63) / 64 * 64;
}

int us_unit_forward(const struct us_pass *pass, int unit, const float *weights, const float *bias) {
    const struct us_unit *u = &pass->net->units[unit];
    struct us_input_source source;
    source.pass = pass;
    source.unit = unit;
    if (u->kind == US_UNIT_UPCONV) {
        struct us_upconv_job job;
        job.ctx = pass->ctx;
        job.row = us_input_row;
        job.source = &source;
        job.tmp_bytes = us_row_tmp_bytes(pass->z[unit].w / 2);
        job.n = pass->n;
        job.h = pass->z[unit].h / 2;
        job.w = pass->z[unit].w / 2;
        job.in_blocks = u->in_blocks;
        job.out_blocks = u->out_blocks;
        job.last_channels = u->last_channels;
        job.weights = weights;
        job.bias = bias;
        job.out = pass->z[unit];
        job.scratch = pass->scratch;
        return us_upconv_forward(&job);
    } else {
        struct us_conv_job job;
        job.ctx = pass->ctx;
        job.row = us_input_row;
        job.source = &source;
        job.tmp_bytes = us_row_tmp_bytes(pass->z[unit].w);
        job.n = pass->n;
        job.h = pass->z[unit].h;
        job.w = pass->z[unit].w;
        job.in_blocks = u->in_blocks;
        job.out_blocks = u->out_blocks;
        job.last_channels = u->last_channels;
        job.weights = weights;
        job.bias = bias;
        job.out = pass->z[unit];
        job.scratch = pass->scratch;
        return us_conv_forward(&job);
    }
}

/* ---- Heads ---- */

struct head_forward {
    const struct us_pass *pass;
    const struct us_head *head;
    const float *weights, *bias;
    float *logits;
};

static void head_task(void *arg, int64_t index, int worker) {
    const struct head_forward *f = (const struct head_forward *)arg;
    const struct us_pass *pass = f->pass;
    const struct us_map *z = &pass->z[f->head->unit];
    const int n = (int)(index / z->h), y = (int)(index % z->h), classes = pass->net->options.classes;
    char *scratch = pass->scratch.base + (size_t)worker * pass->scratch.each;
    const float **in = (const float **)scratch;
    float *tmp = (float *)(scratch + ((size_t)z->blocks * sizeof *in + 63) / 64 * 64);
    float *out[8];
    int b, c;
    for (b = 0; b < z->blocks; b++, tmp += (size_t)z->w * US_LANES)
        in[b] = us_value_row(pass, f->head->unit, n, b, y, tmp);
    for (c = 0; c < classes; c++)
        out[c] = f->logits + (((size_t)n * (size_t)classes + (size_t)c) * (size_t)z->h + (size_t)y) * (size_t)z->w;
    pass->ctx->kern.head(out, in, f->weights, f->bias, z->blocks, classes, (size_t)z->w);
}

int us_head_forward(const struct us_pass *pass, const struct us_head *head, const float *weights, const float *bias,
                    float *logits) {
    struct head_forward f;
    f.pass = pass;
    f.head = head;
    f.weights = weights;
    f.bias = bias;
    f.logits = logits;
    return us_parallel(pass->ctx, NULL, head_task, &f, (int64_t)pass->n * pass->z[head->unit].h);
}
