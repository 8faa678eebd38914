/*
 * branches.c - how much of the loss's gradient arrives at the two branches of each fusion: one forward and backward
 * pass of training that leaves the model as it was.
 */
#include "nn/training.h"

#include <math.h>
#include <string.h>

/* What the pass changes has a copy; what it only reads is the model's. */
struct run {
    us_training *training;
    struct us_branches *branches;
    struct us_params params;
    float *gradients;
};

static int make_run(struct run *r, us_context *ctx, const struct us_net *net, const struct us_params *params, int n,
                    int64_t h, int64_t w) {
    size_t blocks = 1;
    int u, code;
    memset(r, 0, sizeof *r);
    for (u = 0; u < net->n_units; u++)
        blocks = US_MAX(blocks, (size_t)net->units[u].out_blocks);
    code = us_training_create(&r->training, ctx, net, n, h, w);
    if (code)
        return code;
    r->branches = (struct us_branches *)us_alloc_zero(ctx, sizeof *r->branches);
    r->params.arena = params->arena;
    r->params.buffers = (float *)us_alloc(ctx, net->n_buffers * sizeof(float));
    r->params.batches = (int64_t *)us_alloc(ctx, (size_t)net->n_units * sizeof(int64_t));
    r->gradients = (float *)us_alloc(ctx, net->n_params * sizeof(float));
    if (r->branches)
        r->branches->parts = (struct us_branch_sums *)us_alloc(ctx, (size_t)n * blocks * sizeof(struct us_branch_sums));
    if (!r->branches || !r->branches->parts || !r->params.buffers || !r->params.batches || !r->gradients)
        return UNETSTAR_ENOMEM;
    memcpy(r->params.buffers, params->buffers, net->n_buffers * sizeof(float));
    memcpy(r->params.batches, params->batches, (size_t)net->n_units * sizeof(int64_t));
    r->training->branches = r->branches;
    r->training->pass.dropout = 0;
    return 0;
}

static void free_run(struct run *r, us_context *ctx) {
    if (r->branches)
        us_free(ctx, r->branches->parts);
    us_free(ctx, r->branches);
    us_free(ctx, r->params.buffers);
    us_free(ctx, r->params.batches);
    us_free(ctx, r->gradients);
    us_training_destroy(r->training);
}

/* Of n images in which one class has a probability above the limit. */
static int64_t saturated_pixels(const us_training *t) {
    const struct us_logits_view v = us_training_view(t, 0);
    const int classes = t->net->options.classes;
    const size_t plane = (size_t)v.h * (size_t)v.w;
    int64_t count = 0;
    int i, y, x, c;
    for (i = 0; i < t->pass.n; i++)
        for (y = 0; y < t->height; y++)
            for (x = 0; x < t->width; x++) {
                const float *z = v.logits + (size_t)i * (size_t)classes * plane + (size_t)(y / v.scale) * (size_t)v.w +
                                 (size_t)(x / v.scale);
                float p[8], most = 0;
                for (c = 0; c < classes; c++)
                    p[c] = z[(size_t)c * plane];
                us_softmax(p, p, classes, 1, 1);
                for (c = 0; c < classes; c++)
                    most = US_MAX(most, p[c]);
                if (classes == 1)
                    most = US_MAX(most, 1 - p[0]);
                count += most > 0.999f;
            }
    return count;
}

int us_net_branch_gradients(struct us_branch_gradients *g, us_context *ctx, const struct us_net *net,
                            const struct us_params *params, const struct us_branch_batch *batch,
                            const struct us_loss *loss) {
    struct run r;
    int u, code = make_run(&r, ctx, net, params, (int)batch->n, batch->h, batch->w);
    memset(g, 0, sizeof *g);
    code = code ? code : us_training_forward(r.training, &r.params, (int)batch->n, batch->x, 0, 0);
    if (!code)
        g->saturated = (double)saturated_pixels(r.training) / ((double)batch->n * (double)batch->h * (double)batch->w);
    code = code ? code : us_training_loss(r.training, loss, 0, batch->labels, batch->mask, &g->loss);
    code = code ? code : us_training_backward(r.training, &r.params, r.gradients);
    for (u = 0; u < net->n_units && !code; u++) {
        const struct us_branch_sums *sums = &r.branches->units[u];
        if (!us_net_fuses_skip(net, u))
            continue;
        g->fused[g->fusions] = sqrt(sums->fused);
        g->main[g->fusions] = sqrt(sums->main);
        g->skip[g->fusions] = sqrt(sums->skip);
        g->fusions++;
    }
    free_run(&r, ctx);
    return code;
}
