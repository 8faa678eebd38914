/* pass.c - what training and evaluation share: the maps' shapes, a unit's convolution, a head. */
#include "nn/map.h"

#include <string.h>

void us_pass_shapes(struct us_pass *pass, us_context *ctx, const struct us_net *net, int n, int64_t h, int64_t w,
                    int training) {
    int u;
    memset(pass, 0, sizeof *pass);
    pass->ctx = ctx;
    pass->net = net;
    pass->n = n;
    pass->h = (int)us_net_padded(net, h);
    pass->w = (int)us_net_padded(net, w);
    pass->image_h = (int)h;
    pass->image_w = (int)w;
    pass->image_rows = (int)h;
    for (u = 0; u < net->n_units; u++) {
        struct us_map *z = &pass->z[u];
        z->n = n;
        z->blocks = net->units[u].out_blocks;
        z->h = pass->h >> net->units[u].shift;
        z->w = pass->w >> net->units[u].shift;
        z->rows = z->h;
        pass->residual[u] = training ? net->units[u].residual : -1;
    }
}

void us_pass_job(const struct us_pass *pass, const struct us_input_source *source, struct us_conv_job *job) {
    const struct us_unit *u = &pass->net->units[source->unit];
    const int larger = u->kind == US_UNIT_UPCONV ? 2 : 1; /* the output is */
    memset(job, 0, sizeof *job);
    job->ctx = pass->ctx;
    job->row = us_input_row;
    job->source = source;
    job->n = pass->n;
    job->h = pass->z[source->unit].h / larger;
    job->w = pass->z[source->unit].w / larger;
    job->y1 = job->h;
    job->tmp_bytes = us_row_tmp_bytes(job->w);
    job->in_blocks = u->in_blocks;
    job->out_blocks = u->out_blocks;
    job->last_channels = u->last_channels;
    job->tile = pass->tile[source->unit];
    job->pointwise = us_unit_taps(u) == 1;
    job->depthwise = us_unit_depthwise(u);
    job->out = pass->z[source->unit];
    job->quant = pass->quant[source->unit];
    if (job->quant) {
        job->quant_row = us_input_quant_row;
        job->tmp_bytes += (size_t)job->w * US_LANES * sizeof(float);
    }
    job->act = u->act;
    job->slope = pass->net->options.leaky_slope;
    job->scratch = pass->scratch;
}

static size_t unit_scratch(const struct us_pass *pass, int unit, int rows, int training) {
    const struct us_unit *u = &pass->net->units[unit];
    struct us_input_source source;
    struct us_conv_job job;
    size_t size;
    source.pass = pass;
    source.unit = unit;
    us_pass_job(pass, &source, &job);
    if (u->kind == US_UNIT_UPCONV)
        return us_upconv_scratch(job.w, u->in_blocks, u->out_blocks, job.tmp_bytes);
    if (!training) { /* turns of fewer rows, and smaller images, must find enough */
        job.y1 = US_MIN(rows, job.h);
        return us_conv_scratch_within(&job);
    }
    size = US_MAX(us_conv_scratch(&job), US_TRAINING ? us_conv_weights_scratch(&job) : 0);
    job.in_blocks = u->out_blocks; /* backward-data */
    job.out_blocks = u->in_blocks;
    return US_MAX(size, us_conv_scratch(&job));
}

size_t us_pass_scratch(const struct us_pass *pass, const int *rows, int training) {
    const struct us_net *net = pass->net;
    /* rows of a fusion's backward pass; a row of logits */
    size_t most = 8 * (size_t)pass->w * (training ? US_LANES : 1) * sizeof(float);
    int i;
    for (i = 0; i < net->n_units; i++)
        most = US_MAX(most, unit_scratch(pass, i, rows ? rows[i] : pass->z[i].h, training));
    for (i = 0; i < net->n_heads; i++) { /* a row of every block of a head's input */
        const struct us_map *z = &pass->z[net->heads[i].unit];
        const size_t row = (size_t)z->w * US_LANES * sizeof(float);
        most = US_MAX(most, (size_t)z->blocks * (row + 2 * sizeof(float *)) + 64);
    }
    return (most + 63) / 64 * 64;
}

int us_unit_forward(const struct us_pass *pass, int unit, int y0, int y1, const float *weights, const float *transformed,
                    const float *bias) {
    const struct us_unit *u = &pass->net->units[unit];
    const int larger = u->kind == US_UNIT_UPCONV ? 2 : 1; /* the output is */
    struct us_input_source source;
    struct us_conv_job job;
    source.pass = pass;
    source.unit = unit;
    us_pass_job(pass, &source, &job);
    job.weights = weights;
    job.transformed = transformed;
    job.bias = bias;
    job.y0 = y0 / larger;
    job.y1 = y1 / larger;
    return u->kind == US_UNIT_UPCONV ? us_upconv_forward(&job) : us_conv_forward(&job);
}

/* ---- Residuals ---- */

struct complete {
    const struct us_pass *pass;
    int unit, y0, y1;
};

static void complete_task(void *arg, int64_t index, int worker) {
    const struct complete *c = (const struct complete *)arg;
    const struct us_pass *pass = c->pass;
    const struct us_map *z = &pass->z[c->unit];
    const int b = (int)(index / (c->y1 - c->y0)), y = c->y0 + (int)(index % (c->y1 - c->y0));
    float *tmp = (float *)(pass->scratch.base + (size_t)worker * pass->scratch.each);
    float *row = us_map_row(z, 0, b, y);
    const float *other = us_value_row(pass, pass->net->units[c->unit].residual, 0, b, y, 0, z->w, tmp);
    if (pass->scale[c->unit])
        pass->ctx->kern.affine_act(row, row, (size_t)z->w, pass->scale[c->unit] + (size_t)b * US_LANES,
                                   pass->shift[c->unit] + (size_t)b * US_LANES, US_ACT_NONE, 0);
    pass->ctx->kern.add(row, row, other, (size_t)z->w);
}

int us_unit_complete(const struct us_pass *pass, int unit, int y0, int y1) {
    struct complete c;
    c.pass = pass;
    c.unit = unit;
    c.y0 = y0;
    c.y1 = y1;
    return us_parallel(pass->ctx, NULL, complete_task, &c, (int64_t)pass->z[unit].blocks * (y1 - y0));
}

/* ---- Heads ---- */

struct head_forward {
    const struct us_pass *pass;
    const struct us_head *head;
    const float *weights, *bias;
    float *logits;
    int y0, y1, rows;
};

static void head_task(void *arg, int64_t index, int worker) {
    const struct head_forward *f = (const struct head_forward *)arg;
    const struct us_pass *pass = f->pass;
    const struct us_map *z = &pass->z[f->head->unit];
    const int count = f->y1 - f->y0, n = (int)(index / count), y = f->y0 + (int)(index % count);
    const int classes = pass->net->options.classes;
    char *scratch = pass->scratch.base + (size_t)worker * pass->scratch.each;
    const float **in = (const float **)scratch;
    float *tmp = (float *)(scratch + ((size_t)z->blocks * sizeof *in + 63) / 64 * 64);
    float *out[8];
    int b, c;
    for (b = 0; b < z->blocks; b++, tmp += (size_t)z->w * US_LANES)
        in[b] = us_value_row(pass, f->head->unit, n, b, y, 0, z->w, tmp);
    for (c = 0; c < classes; c++)
        out[c] = f->logits + (((size_t)n * (size_t)classes + (size_t)c) * (size_t)f->rows + (size_t)(y % f->rows)) *
                                 (size_t)z->w;
    pass->ctx->kern.head(out, in, f->weights, f->bias, z->blocks, classes, (size_t)z->w);
}

int us_head_forward(const struct us_pass *pass, const struct us_head *head, int y0, int y1, const float *weights,
                    const float *bias, float *logits, int rows) {
    struct head_forward f;
    f.pass = pass;
    f.head = head;
    f.weights = weights;
    f.bias = bias;
    f.logits = logits;
    f.y0 = y0;
    f.y1 = y1;
    f.rows = rows;
    return us_parallel(pass->ctx, NULL, head_task, &f, (int64_t)pass->n * (y1 - y0));
}
