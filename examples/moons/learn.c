/* learn.c - training of a network on the points: batches, clipping, cosine schedule, SGD or Adam. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moons.h"

struct state {
    float *first, *second; /* momentum, or Adam's moments */
    int64_t steps;
};

static double gradient_norm(const struct net *net) {
    double sum = 0;
    int64_t i;
    for (i = 0; i < net->count; i++)
        sum += (double)net->gradient[i] * (double)net->gradient[i];
    return sqrt(sum);
}

/* Momentum as PyTorch's: v = m v + g, w -= rate v; the decay is part of g. */
static void step_sgd(struct net *net, struct state *state, const struct part *part, double rate, double momentum,
                     double decay) {
    int64_t i;
    for (i = part->offset; i < part->offset + part->count; i++) {
        float *v = &state->first[i], *w = &net->weights[i];
        *v = (float)(momentum * (double)*v + (double)net->gradient[i] + decay * (double)*w);
        *w = (float)((double)*w - rate * (double)*v);
    }
}

/* Kingma, Ba 2015, with the decay beside the gradient (AdamW). */
static void step_adam(struct net *net, struct state *state, const struct part *part, double rate, double momentum,
                      double decay) {
    const double beta2 = 0.999;
    double one = 1, two = 1;
    int64_t i;
    for (i = 0; i < state->steps; i++) {
        one *= momentum;
        two *= beta2;
    }
    for (i = part->offset; i < part->offset + part->count; i++) {
        double g = (double)net->gradient[i];
        float *m = &state->first[i], *v = &state->second[i], *w = &net->weights[i];
        *m = (float)(momentum * (double)*m + (1 - momentum) * g);
        *v = (float)(beta2 * (double)*v + (1 - beta2) * g * g);
        *w = (float)((double)*w * (1 - rate * decay) -
                     rate * ((double)*m / (1 - one)) / (sqrt((double)*v / (1 - two)) + 1e-8));
    }
}

static void step(struct net *net, struct state *state, const struct learning *learning, double rate) {
    double norm = gradient_norm(net);
    int64_t i;
    int32_t k;
    if (learning->clip > 0 && norm > learning->clip)
        for (i = 0; i < net->count; i++)
            net->gradient[i] = (float)((double)net->gradient[i] * (learning->clip / norm));
    state->steps++;
    for (k = 0; k < net->part_count; k++) {
        const struct part *part = &net->parts[k];
        double decay = part->kind == PART_WEIGHT ? learning->weight_decay : 0;
        (learning->optimizer == OPTIMIZER_ADAM ? step_adam : step_sgd)(net, state, part, rate, learning->momentum,
                                                                       decay);
    }
}

/* From the rate down to a twentieth of it, as the paper's 0.1 to 0.005. */
static double scheduled(const struct learning *learning, int32_t epoch) {
    double sine, cosine, last = learning->rate / 20;
    moons_sin_cos(3.14159265358979323846 * epoch / learning->epochs, &sine, &cosine);
    return last + (learning->rate - last) * (1 + cosine) / 2;
}

static int train_batch(struct net *net, struct state *state, const struct learning *learning, const float *xy,
                       const uint8_t *label, double rate, int32_t *diverged) {
    int error = net_forward(net, xy, learning->batch);
    if (error)
        return error;
    *diverged = !isfinite(net_loss(net, label, learning->batch, learning->smoothing));
    if (!*diverged)
        error = net_backward(net, xy, learning->batch);
    if (!error && !*diverged)
        *diverged = !isfinite(gradient_norm(net));
    if (!error && !*diverged)
        step(net, state, learning, rate);
    return error;
}

int net_train(struct net *net, const struct learning *learning, const struct points *points, uint64_t seed,
              int32_t *diverged) {
    struct state state = {NULL, NULL, 0};
    int32_t *order = must_allocate((size_t)points->count, sizeof *order), epoch, at, i;
    float *xy = must_allocate((size_t)learning->batch, 2 * sizeof *xy);
    uint8_t *label = must_allocate((size_t)learning->batch, 1);
    int error = 0;
    state.first = must_allocate((size_t)net->count, sizeof *state.first);
    state.second = must_allocate((size_t)net->count, sizeof *state.second);
    *diverged = 0;
    for (epoch = 0; epoch < learning->epochs && !error && !*diverged; epoch++) {
        moons_shuffle(order, points->count, seed, STREAM_ORDER + (uint64_t)epoch);
        /* Whole batches only: what is left over waits for another order. */
        for (at = 0; at + learning->batch <= points->count && !error && !*diverged; at += learning->batch) {
            for (i = 0; i < learning->batch; i++) {
                memcpy(xy + 2 * i, points->xy + 2 * order[at + i], 2 * sizeof *xy);
                label[i] = points->label[order[at + i]];
            }
            error = train_batch(net, &state, learning, xy, label, scheduled(learning, epoch), diverged);
            if (!error && learning->step && learning->step(learning->user))
                error = UNETSTAR_ECANCELED;
        }
    }
    free(state.first);
    free(state.second);
    free(order);
    free(xy);
    free(label);
    return error;
}
