/*
 * check_moons.c - the parts of unetstar-moons: elementary functions, the gradient of its networks, what sum and star
 * can be without activation, support vector machines.
 *
 *     check_moons              all of it
 *     check_moons points SEED  prints training points of a seed, for test_moons.py
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moons/moons.h"

static int failed;

static void check(int ok, const char *name, double seen) {
    printf("%s%s: %.3g\n", ok ? "ok      " : "FAILED  ", name, seen);
    failed += !ok;
}

/* ---- Elementary functions ---- */

static void check_functions(void) {
    double worst[4] = {0, 0, 0, 0}, x, sum = 0, square = 0, sine, cosine;
    int32_t order[50], seen[50] = {0}, i, all = 1;
    for (x = -30; x < 30; x += 0.0137) {
        double value = fabs(moons_exp(x) / exp(x) - 1), back = fabs(moons_log(exp(x)) - x);
        moons_sin_cos(x, &sine, &cosine);
        worst[0] = value > worst[0] ? value : worst[0];
        worst[1] = back > worst[1] ? back : worst[1];
        worst[2] = fabs(sine - sin(x)) > worst[2] ? fabs(sine - sin(x)) : worst[2];
        worst[3] = fabs(cosine - cos(x)) > worst[3] ? fabs(cosine - cos(x)) : worst[3];
    }
    check(worst[0] < 1e-14, "exp, relative", worst[0]);
    check(worst[1] < 2e-14, "log of exp", worst[1]);
    check(worst[2] < 1e-14, "sin", worst[2]);
    check(worst[3] < 1e-14, "cos", worst[3]);
    check(moons_exp(-800) <= 0 && isnan(moons_exp(NAN)) && isnan(moons_log(-1)) && isinf(moons_log(0)), "ends", 0);
    for (i = 0; i < 100000; i++) {
        double value = moons_normal(7, 3, (uint64_t)i);
        sum += value;
        square += value * value;
    }
    check(fabs(sum / 1e5) < 0.015, "mean of normal numbers", sum / 1e5); /* 4.7 standard errors */
    check(fabs(square / 1e5 - 1) < 0.02, "variance of normal numbers", square / 1e5);
    moons_shuffle(order, 50, 1, 2);
    for (i = 0; i < 50; i++)
        seen[order[i]]++;
    for (i = 0; i < 50; i++)
        all = all && seen[i] == 1;
    check(all && order[0] + order[1] * 50 != 50, "a shuffle is an order", order[0]);
}

/* ---- Gradients: along a random direction of each part, against differences of fourth order ---- */

enum { SAMPLES = 9 };

static double loss_at(struct net *net, const struct points *points, const struct part *part, const float *start,
                      const float *direction, double step) {
    int64_t i;
    for (i = 0; i < part->count; i++)
        net->weights[part->offset + i] = (float)((double)start[i] + step * (double)direction[i]);
    if (net_forward(net, points->xy, SAMPLES))
        return NAN;
    return net_loss(net, points->label, SAMPLES, 0.1);
}

static double part_error(struct net *net, const struct points *points, const struct part *part, double h) {
    float *start = must_allocate((size_t)part->count, sizeof(float)),
          *direction = must_allocate((size_t)part->count, 4);
    double slope = 0, difference;
    int64_t i;
    memcpy(start, net->weights + part->offset, (size_t)part->count * sizeof(float));
    for (i = 0; i < part->count; i++) {
        direction[i] = (float)(moons_normal(5, 5, (uint64_t)(part->offset + i)) / sqrt((double)part->count));
        slope += (double)direction[i] * (double)net->gradient[part->offset + i];
    }
    difference =
        (8 * (loss_at(net, points, part, start, direction, h) - loss_at(net, points, part, start, direction, -h)) -
         (loss_at(net, points, part, start, direction, 2 * h) - loss_at(net, points, part, start, direction, -2 * h))) /
        (12 * h);
    memcpy(net->weights + part->offset, start, (size_t)part->count * sizeof(float));
    free(start);
    free(direction);
    return fabs(difference - slope) / (fabs(slope) + 0.01);
}

/* Weights large enough that every term of the network matters. */
static void enlarge(struct net *net) {
    int64_t i;
    for (i = 0; i < net->count; i++)
        net->weights[i] = (float)((double)net->weights[i] + 0.4 * moons_normal(11, 4, (uint64_t)i));
}

static void check_gradient(unetstar_context *context, const struct net_shape *shape, double h, double tolerance) {
    struct points points;
    struct net net;
    double worst = 0;
    char name[128];
    int32_t k;
    points_make(&points, SAMPLES, 0.4, 3, STREAM_TRAINING_POINTS);
    net_make(&net, context, shape, SAMPLES, 3);
    enlarge(&net);
    if (net_forward(&net, points.xy, SAMPLES))
        worst = NAN;
    net_loss(&net, points.label, SAMPLES, 0.1);
    if (net_backward(&net, points.xy, SAMPLES))
        worst = NAN;
    for (k = 0; k < net.part_count; k++)
        if (net.parts[k].count) {
            double error = part_error(&net, &points, &net.parts[k], h);
            worst = error > worst || isnan(error) ? error : worst;
        }
    snprintf(name, sizeof name, "gradient: fusion %d, branches %d, activation %d, norm %d, residual %d",
             (int)shape->fusion, (int)shape->branches, (int)shape->activation, (int)shape->norm, (int)shape->residual);
    check(worst < tolerance, name, worst);
    net_free(&net);
    points_free(&points);
}

static void check_gradients(unetstar_context *context) {
    struct net_shape shape = {0, 0, UNETSTAR_ACTIVATION_GELU, 0, 0, 5, 2, 3};
    for (shape.fusion = FUSE_LINEAR; shape.fusion <= FUSE_STAR; shape.fusion++)
        for (shape.branches = ACT_NONE; shape.branches <= ACT_BOTH; shape.branches++)
            for (shape.norm = 0; shape.norm < 2; shape.norm++)
                for (shape.residual = 0; shape.residual < 2; shape.residual++)
                    check_gradient(context, &shape, 0.01, 1e-3);
}

/* ---- Along a line: a network of sums without activation is straight, one of stars is a polynomial ---- */

/* The k-th difference of equally spaced logits, beside the largest of them. */
static double difference(unetstar_context *context, const struct net_shape *shape, int32_t k) {
    float xy[2 * 10];
    double value[10], most = 0;
    struct net net;
    int32_t i, j;
    net_make(&net, context, shape, 10, 3);
    enlarge(&net);
    for (i = 0; i < 10; i++) {
        xy[2 * i] = (float)(-2 + 0.5 * i);
        xy[2 * i + 1] = (float)(1.5 - 0.375 * i);
    }
    if (net_forward(&net, xy, 10))
        return NAN;
    for (i = 0; i < 10; i++) {
        value[i] = (double)net.logits[2 * i + 1] - (double)net.logits[2 * i];
        most = fabs(value[i]) > most ? fabs(value[i]) : most;
    }
    for (j = 0; j < k; j++)
        for (i = 0; i + 1 < 10 - j; i++)
            value[i] = value[i + 1] - value[i];
    net_free(&net);
    return fabs(value[0]) / most;
}

static void check_degrees(unetstar_context *context) {
    struct net_shape shape = {FUSE_SUM, ACT_NONE, UNETSTAR_ACTIVATION_RELU, 0, 1, 6, 4, 3};
    double d = difference(context, &shape, 2);
    check(d < 1e-5, "sum without activation is straight", d);
    shape.branches = ACT_ONE;
    d = difference(context, &shape, 2);
    check(d > 1e-3, "with activation it is not", d);
    shape.fusion = FUSE_STAR;
    shape.branches = ACT_NONE;
    shape.depth = 1;
    d = difference(context, &shape, 3);
    check(d < 1e-5, "a star has degree 2, not more", d);
    d = difference(context, &shape, 2);
    check(d > 1e-3, "and not less", d);
    shape.depth = 2;
    d = difference(context, &shape, 5);
    check(d < 1e-4, "two stars have degree 4, not more", d);
    d = difference(context, &shape, 4);
    check(d > 1e-3, "and not less", d);
}

/* ---- Support vector machines ---- */

/* Points at -1 and 1 with the kernel x y: the widest margin is f(x) = x. */
static void check_two_points(void) {
    float xy[4] = {-1, 0, 1, 0}, at[2] = {0.25f, 9};
    uint8_t label[2] = {0, 1};
    struct points points = {xy, label, 2};
    struct machine machine = {KERNEL_POLYNOMIAL, 1, 1, 0, NULL, NULL, 0, 0};
    machine_train(&machine, &points, 10);
    check(machine.converged && fabs(machine.weight[1] - 0.5) < 1e-12 && fabs(machine.bias) < 1e-12,
          "two points: weights", machine.weight[1]);
    check(fabs(machine_decision(&machine, at) - 0.25) < 1e-12, "two points: decision", machine_decision(&machine, at));
    machine_free(&machine);
}

/* The conditions of Karush, Kuhn and Tucker, with the tolerance of the search. */
static void check_optimal(int32_t kind, double gamma, double coef0, int32_t degree, double cost) {
    struct machine machine = {kind, degree, gamma, coef0, NULL, NULL, 0, 0};
    struct points points;
    double sum = 0, worst = 0;
    int32_t i;
    points_make(&points, 100, 0.3, 4, STREAM_TRAINING_POINTS);
    machine_train(&machine, &points, cost);
    for (i = 0; i < points.count; i++) {
        double y = points.label[i] ? 1 : -1, alpha = y * machine.weight[i], excess;
        double margin = y * machine_decision(&machine, points.xy + 2 * i) - 1;
        excess = alpha <= 0 ? -margin : alpha >= cost ? margin : fabs(margin);
        worst = excess > worst ? excess : worst;
        sum += machine.weight[i];
        if (alpha < 0 || alpha > cost)
            worst = INFINITY;
    }
    check(machine.converged && worst < 2e-3, kind == KERNEL_RBF ? "optimal: Gaussian" : "optimal: polynomial", worst);
    check(fabs(sum) < 1e-9, "weights balance", sum);
    machine_free(&machine);
    points_free(&points);
}

static int print_points(uint64_t seed) {
    struct points points;
    int32_t i;
    points_make(&points, 100, 0.4, seed, STREAM_TRAINING_POINTS);
    for (i = 0; i < points.count; i++)
        printf("%.9g %.9g %d\n", (double)points.xy[2 * i], (double)points.xy[2 * i + 1], points.label[i]);
    points_free(&points);
    return 0;
}

int main(int argc, char **argv) {
    unetstar_context_options options;
    unetstar_context *context = NULL;
    if (argc == 3 && !strcmp(argv[1], "points"))
        return print_points((uint64_t)strtoull(argv[2], NULL, 10));
    unetstar_context_options_init(&options, sizeof options);
    options.n_threads = 1;
    if (unetstar_context_create(&context, &options))
        return 1;
    check_functions();
    check_gradients(context);
    check_degrees(context);
    check_two_points();
    check_optimal(KERNEL_RBF, 4, 0, 0, 1);
    check_optimal(KERNEL_POLYNOMIAL, 0, 4, 4, 1);
    check_optimal(KERNEL_POLYNOMIAL, 0, 1, 3, 100);
    unetstar_context_destroy(context);
    return failed != 0;
}
