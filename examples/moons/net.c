/*
 * net.c - a network for two numbers, made of the library's layers, forward and backward:
 *
 *   linear 2 -> width; depth times [norm; linear width -> expansion width, twice; activation; sum or product;
 *   linear back to width; residual]; norm; linear width -> 2
 *
 * This is the DemoNet of "Rewrite the Stars" for points of the plane. With FUSE_LINEAR there is one branch only.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moons.h"

#define NORM_EPS 1e-6f
enum { CLASSES = 2 };

/* Where the parts of a block stand, counted from its first; the stem has the first two, the head follows the blocks. */
enum { GAIN, SHIFT, WEIGHT_A, BIAS_A, WEIGHT_B, BIAS_B, WEIGHT_OUT, BIAS_OUT };

static int64_t hidden(const struct net *net) {
    return (int64_t)net->shape.width * net->shape.expansion;
}

static const struct part *part_of(const struct net *net, int32_t block, int32_t part) {
    return &net->parts[2 + block * BLOCK_PARTS + part];
}

static float *values(const struct net *net, int32_t block, int32_t part) {
    const struct part *p = part_of(net, block, part);
    return p->count ? net->weights + p->offset : NULL;
}

static float *slopes(const struct net *net, int32_t block, int32_t part) {
    const struct part *p = part_of(net, block, part);
    return p->count ? net->gradient + p->offset : NULL;
}

static void add_part(struct net *net, int32_t kind, int64_t count) {
    struct part *part = &net->parts[net->part_count++];
    part->kind = kind;
    part->offset = net->count;
    part->count = count;
    net->count += count;
}

static void add_linear(struct net *net, int64_t from, int64_t to) {
    add_part(net, PART_WEIGHT, from * to);
    add_part(net, PART_BIAS, to);
}

static void add_norm(struct net *net) {
    add_part(net, PART_GAIN, net->shape.norm ? net->shape.width : 0);
    add_part(net, PART_BIAS, net->shape.norm ? net->shape.width : 0);
}

static float *buffer(struct net *net, int64_t count) {
    net->owned = must_grow(net->owned, (size_t)net->owned_count + 1, sizeof *net->owned);
    return net->owned[net->owned_count++] = must_allocate((size_t)count, sizeof(float));
}

static void add_parts(struct net *net) {
    int32_t i;
    add_linear(net, 2, net->shape.width);
    for (i = 0; i < net->shape.depth; i++) {
        add_norm(net);
        add_linear(net, net->shape.width, hidden(net));
        if (net->shape.fusion == FUSE_LINEAR) {
            add_part(net, PART_WEIGHT, 0);
            add_part(net, PART_BIAS, 0);
        } else
            add_linear(net, net->shape.width, hidden(net));
        add_linear(net, hidden(net), net->shape.width);
    }
    add_norm(net);
    add_linear(net, net->shape.width, CLASSES);
}

static void draw_weights(struct net *net, uint64_t seed) {
    uint64_t drawn = 0;
    int32_t k;
    int64_t i;
    for (k = 0; k < net->part_count; k++)
        for (i = 0; i < net->parts[k].count; i++) {
            double value = net->parts[k].kind == PART_GAIN ? 1 : 0;
            if (net->parts[k].kind == PART_WEIGHT) {
                do
                    value = moons_normal(seed, STREAM_WEIGHTS, drawn++);
                while (fabs(value) > 2);
                value *= 0.02;
            }
            net->weights[net->parts[k].offset + i] = (float)value;
        }
}

void net_make(struct net *net, unetstar_context *context, const struct net_shape *shape, int32_t room, uint64_t seed) {
    int64_t slim, wide;
    int32_t i;
    memset(net, 0, sizeof *net);
    net->shape = *shape;
    net->context = context;
    net->room = room;
    add_parts(net);
    net->weights = buffer(net, net->count);
    net->gradient = buffer(net, net->count);
    slim = room * (int64_t)shape->width;
    wide = room * hidden(net);
    for (i = 0; i <= shape->depth; i++) {
        struct block *block = &net->blocks[i];
        block->x = buffer(net, slim);
        block->normed = shape->norm ? buffer(net, slim) : block->x;
        block->mean = buffer(net, room);
        block->inverse_std = buffer(net, room);
        if (i == shape->depth) /* the head */
            break;
        block->a = buffer(net, wide);
        block->p = shape->branches != ACT_NONE ? buffer(net, wide) : block->a;
        block->fused = block->p;
        if (shape->fusion != FUSE_LINEAR) {
            block->b = buffer(net, wide);
            block->q = shape->branches == ACT_BOTH ? buffer(net, wide) : block->b;
            block->fused = buffer(net, wide);
        }
    }
    net->logits = buffer(net, room * CLASSES);
    net->probability = buffer(net, room * CLASSES);
    net->dlogits = buffer(net, room * CLASSES);
    for (i = 0; i < 4; i++)
        net->wide[i] = buffer(net, wide);
    for (i = 0; i < 3; i++)
        net->slim[i] = buffer(net, slim);
    draw_weights(net, seed);
}

void net_free(struct net *net) {
    int32_t i;
    for (i = 0; i < net->owned_count; i++)
        free(net->owned[i]);
    free(net->owned);
    memset(net, 0, sizeof *net);
}

/* ---- Forward ---- */

static int forward_norm(struct net *net, int32_t i, int32_t n) {
    struct block *block = &net->blocks[i];
    if (!net->shape.norm)
        return 0;
    return unetstar_layer_norm_forward(net->context, n, net->shape.width, 1, 1, block->x, values(net, i, GAIN),
                                       values(net, i, SHIFT), NORM_EPS, block->normed, block->mean, block->inverse_std);
}

static int forward_branch(struct net *net, int32_t i, int32_t n, int32_t part, float *before, float *after) {
    int error = unetstar_linear_forward(net->context, n, net->shape.width, hidden(net), net->blocks[i].normed,
                                        values(net, i, part), values(net, i, part + 1), before);
    if (!error && after != before)
        error = unetstar_activation_forward(net->context, net->shape.activation, 0.01f, n * hidden(net), before, after);
    return error;
}

static int forward_block(struct net *net, int32_t i, int32_t n) {
    struct block *block = &net->blocks[i];
    float *y = net->blocks[i + 1].x;
    const int64_t wide = n * hidden(net);
    int error = forward_norm(net, i, n);
    if (!error)
        error = forward_branch(net, i, n, WEIGHT_A, block->a, block->p);
    if (!error && net->shape.fusion != FUSE_LINEAR)
        error = forward_branch(net, i, n, WEIGHT_B, block->b, block->q);
    if (!error && net->shape.fusion == FUSE_SUM)
        error = unetstar_add_forward(net->context, wide, block->p, block->q, block->fused);
    if (!error && net->shape.fusion == FUSE_STAR)
        error = unetstar_multiply_forward(net->context, wide, block->p, block->q, block->fused);
    if (!error)
        error = unetstar_linear_forward(net->context, n, hidden(net), net->shape.width, block->fused,
                                        values(net, i, WEIGHT_OUT), values(net, i, BIAS_OUT), y);
    if (!error && net->shape.residual)
        error = unetstar_add_forward(net->context, n * (int64_t)net->shape.width, y, block->x, y);
    return error;
}

/* The head is like the first half of a block: norm, then a linear layer where branch a would be. */
int net_forward(struct net *net, const float *xy, int32_t n) {
    const int32_t depth = net->shape.depth;
    int error = unetstar_linear_forward(net->context, n, 2, net->shape.width, xy, net->weights + net->parts[0].offset,
                                        net->weights + net->parts[1].offset, net->blocks[0].x);
    int32_t i;
    for (i = 0; i < depth && !error; i++)
        error = forward_block(net, i, n);
    if (!error)
        error = forward_norm(net, depth, n);
    if (!error)
        error = unetstar_linear_forward(net->context, n, net->shape.width, CLASSES, net->blocks[depth].normed,
                                        values(net, depth, WEIGHT_A), values(net, depth, BIAS_A), net->logits);
    if (!error)
        error = unetstar_softmax_forward(net->context, n, CLASSES, 1, 1, net->logits, net->probability);
    return error;
}

/* The smoothed label has 1 - s / 2 of its own class and s / 2 of the other. */
double net_loss(struct net *net, const uint8_t *label, int32_t n, double smoothing) {
    double loss = 0;
    int32_t i, k;
    for (i = 0; i < n; i++) {
        double gap = (double)net->logits[2 * i + 1] - (double)net->logits[2 * i];
        double target = label[i] ? 1 - smoothing / 2 : smoothing / 2;
        /* log(1 + exp(gap)) - target gap, without overflow */
        loss += (gap > 0 ? gap : 0) + moons_log(1 + moons_exp(-fabs(gap))) - target * gap;
        for (k = 0; k < CLASSES; k++) {
            double wanted = k ? target : 1 - target;
            net->dlogits[2 * i + k] = (float)(((double)net->probability[2 * i + k] - wanted) / n);
        }
    }
    return loss / n;
}

/* ---- Backward ---- */

/* dy by the normed values becomes dx by the values before. Both buffers are the caller's. */
static int backward_norm(struct net *net, int32_t i, int32_t n, const float *dy, float *dx) {
    struct block *block = &net->blocks[i];
    if (!net->shape.norm) {
        memcpy(dx, dy, (size_t)n * (size_t)net->shape.width * sizeof *dx);
        return 0;
    }
    return unetstar_layer_norm_backward(net->context, n, net->shape.width, 1, 1, block->x, values(net, i, GAIN),
                                        block->mean, block->inverse_std, dy, dx, slopes(net, i, GAIN),
                                        slopes(net, i, SHIFT));
}

/* d by a branch's end becomes dx by its beginning; scratch is for the activation. */
static int backward_branch(struct net *net, int32_t i, int32_t n, int32_t part, const float *before, int active,
                           const float *d, float *scratch, float *dx) {
    int error = 0;
    if (active) {
        error = unetstar_activation_backward(net->context, net->shape.activation, 0.01f, n * hidden(net), before, d,
                                             scratch);
        d = scratch;
    }
    if (!error)
        error = unetstar_linear_backward(net->context, n, net->shape.width, hidden(net), net->blocks[i].normed,
                                         values(net, i, part), d, dx, slopes(net, i, part), slopes(net, i, part + 1));
    return error;
}

/* slim[0] holds the gradient by the block's output, and then that by its input. */
static int backward_block(struct net *net, int32_t i, int32_t n) {
    struct block *block = &net->blocks[i];
    unetstar_context *context = net->context;
    const int64_t wide = n * hidden(net), slim = n * (int64_t)net->shape.width;
    float *dfused = net->wide[0], *dp = net->wide[1], *dq = net->wide[2];
    int error =
        unetstar_linear_backward(context, n, hidden(net), net->shape.width, block->fused, values(net, i, WEIGHT_OUT),
                                 net->slim[0], dfused, slopes(net, i, WEIGHT_OUT), slopes(net, i, BIAS_OUT));
    if (!error && net->shape.fusion == FUSE_STAR)
        error = unetstar_multiply_backward(context, wide, block->p, block->q, dfused, dp, dq);
    else if (!error && net->shape.fusion == FUSE_SUM)
        error = unetstar_add_backward(context, wide, dfused, dp, dq);
    else
        dp = dfused;
    if (!error)
        error = backward_branch(net, i, n, WEIGHT_A, block->a, net->shape.branches != ACT_NONE, dp, net->wide[3],
                                net->slim[1]);
    if (!error && net->shape.fusion != FUSE_LINEAR) {
        error = backward_branch(net, i, n, WEIGHT_B, block->b, net->shape.branches == ACT_BOTH, dq, net->wide[3],
                                net->slim[2]);
        if (!error)
            error = unetstar_add_forward(context, slim, net->slim[1], net->slim[2], net->slim[1]);
    }
    if (!error)
        error = backward_norm(net, i, n, net->slim[1], net->slim[2]);
    if (!error && net->shape.residual)
        return unetstar_add_forward(context, slim, net->slim[0], net->slim[2], net->slim[0]);
    if (!error)
        memcpy(net->slim[0], net->slim[2], (size_t)slim * sizeof(float));
    return error;
}

int net_backward(struct net *net, const float *xy, int32_t n) {
    const int32_t depth = net->shape.depth;
    int32_t i;
    int error = unetstar_linear_backward(net->context, n, net->shape.width, CLASSES, net->blocks[depth].normed,
                                         values(net, depth, WEIGHT_A), net->dlogits, net->slim[1],
                                         slopes(net, depth, WEIGHT_A), slopes(net, depth, BIAS_A));
    if (!error)
        error = backward_norm(net, depth, n, net->slim[1], net->slim[0]);
    for (i = depth - 1; i >= 0 && !error; i--)
        error = backward_block(net, i, n);
    if (!error)
        error = unetstar_linear_backward(net->context, n, 2, net->shape.width, xy, net->weights + net->parts[0].offset,
                                         net->slim[0], NULL, net->gradient + net->parts[0].offset,
                                         net->gradient + net->parts[1].offset);
    return error;
}
