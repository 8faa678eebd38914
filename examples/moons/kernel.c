/* kernel.c - support vector machines with a polynomial or a Gaussian kernel, trained by sequential minimal
 * optimisation with the pair of Fan, Chen, Lin (2005), as LIBSVM and scikit-learn. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moons.h"

enum { ITERATIONS_MAX = 2000000 };
#define TOLERANCE 1e-3
#define TINY 1e-12

double machine_kernel(const struct machine *machine, const float *a, const float *b) {
    double x = (double)a[0] - (double)b[0], y = (double)a[1] - (double)b[1], base, value = 1;
    int32_t k;
    if (machine->kind == KERNEL_RBF)
        return moons_exp(-machine->gamma * (x * x + y * y));
    base = machine->gamma * ((double)a[0] * (double)b[0] + (double)a[1] * (double)b[1]) + machine->coef0;
    for (k = 0; k < machine->degree; k++)
        value *= base;
    return value;
}

static double scale_gamma(const struct points *points) {
    double mean = 0, square = 0;
    int32_t i, n = 2 * points->count;
    for (i = 0; i < n; i++)
        mean += (double)points->xy[i] / n;
    for (i = 0; i < n; i++)
        square += ((double)points->xy[i] - mean) * ((double)points->xy[i] - mean) / n;
    return square > 0 ? 1 / (2 * square) : 1;
}

/* The dual problem: minimise a Q a / 2 - sum a, 0 <= a <= cost, sum y a = 0, with Q_ij = y_i y_j K_ij. */
struct dual {
    int32_t n;
    double cost;
    double *kernel, *alpha, *gradient, *y;
};

static int may_rise(const struct dual *d, int32_t i) { /* of y a */
    return d->y[i] > 0 ? d->alpha[i] < d->cost : d->alpha[i] > 0;
}

static int may_fall(const struct dual *d, int32_t i) {
    return d->y[i] > 0 ? d->alpha[i] > 0 : d->alpha[i] < d->cost;
}

static double curvature(const struct dual *d, int32_t i, int32_t j) {
    double a = d->kernel[i * d->n + i] + d->kernel[j * d->n + j] - 2 * d->kernel[i * d->n + j];
    return a > TINY ? a : TINY;
}

/* The pair that violates the conditions most, by second-order gain; 0 when all hold within the tolerance. */
static int choose_pair(const struct dual *d, int32_t *first, int32_t *second) {
    double most = -INFINITY, least = INFINITY, best = 0;
    int32_t t;
    *first = *second = -1;
    for (t = 0; t < d->n; t++)
        if (may_rise(d, t) && -d->y[t] * d->gradient[t] > most) {
            most = -d->y[t] * d->gradient[t];
            *first = t;
        }
    for (t = 0; t < d->n && *first >= 0; t++)
        if (may_fall(d, t)) {
            double value = -d->y[t] * d->gradient[t], gap = most - value, gain;
            least = value < least ? value : least;
            gain = gap > 0 ? gap * gap / curvature(d, *first, t) : 0;
            if (gain > best) {
                best = gain;
                *second = t;
            }
        }
    return *second >= 0 && most - least > TOLERANCE;
}

/* y_i a_i rises and y_j a_j falls by the same amount, as far as both bounds allow. */
static void optimise_pair(struct dual *d, int32_t i, int32_t j) {
    double step = (-d->y[i] * d->gradient[i] + d->y[j] * d->gradient[j]) / curvature(d, i, j), room_i, room_j;
    int32_t t;
    room_i = d->y[i] > 0 ? d->cost - d->alpha[i] : d->alpha[i];
    room_j = d->y[j] > 0 ? d->alpha[j] : d->cost - d->alpha[j];
    step = step < room_i ? step : room_i;
    step = step < room_j ? step : room_j;
    /* At a bound exactly, or rounding would leave a remainder that is chosen again and again. */
    d->alpha[i] = step < room_i ? d->alpha[i] + d->y[i] * step : d->y[i] > 0 ? d->cost : 0;
    d->alpha[j] = step < room_j ? d->alpha[j] - d->y[j] * step : d->y[j] > 0 ? 0 : d->cost;
    for (t = 0; t < d->n; t++)
        d->gradient[t] += d->y[t] * step * (d->kernel[i * d->n + t] - d->kernel[j * d->n + t]);
}

/* From the points between the bounds, else from the middle of what the bounds allow. */
static double find_bias(const struct dual *d) {
    double sum = 0, most = -INFINITY, least = INFINITY;
    int32_t t, free_count = 0;
    for (t = 0; t < d->n; t++) {
        double value = -d->y[t] * d->gradient[t];
        if (d->alpha[t] > 0 && d->alpha[t] < d->cost) {
            sum += value;
            free_count++;
        }
        if (may_rise(d, t) && value > most)
            most = value;
        if (may_fall(d, t) && value < least)
            least = value;
    }
    return free_count ? sum / free_count : (most + least) / 2;
}

void machine_train(struct machine *machine, const struct points *points, double cost) {
    struct dual d;
    int32_t i, j, n = points->count, round;
    if (!(machine->gamma > 0))
        machine->gamma = scale_gamma(points);
    machine->points = points;
    d.n = n;
    d.cost = cost;
    d.kernel = must_allocate((size_t)n * (size_t)n, sizeof(double));
    d.alpha = must_allocate((size_t)n, sizeof(double));
    d.gradient = must_allocate((size_t)n, sizeof(double));
    d.y = must_allocate((size_t)n, sizeof(double));
    for (i = 0; i < n; i++) {
        d.y[i] = points->label[i] ? 1 : -1;
        d.gradient[i] = -1;
        for (j = 0; j < n; j++)
            d.kernel[i * n + j] = machine_kernel(machine, points->xy + 2 * i, points->xy + 2 * j);
    }
    for (round = 0; round < ITERATIONS_MAX && choose_pair(&d, &i, &j); round++)
        optimise_pair(&d, i, j);
    machine->converged = round < ITERATIONS_MAX;
    machine->bias = find_bias(&d);
    for (i = 0; i < n; i++)
        d.alpha[i] *= d.y[i];
    machine->weight = d.alpha;
    free(d.kernel);
    free(d.gradient);
    free(d.y);
}

double machine_decision(const struct machine *machine, const float *xy) {
    double sum = machine->bias;
    int32_t i;
    for (i = 0; i < machine->points->count; i++)
        if (machine->weight[i] > 0 || machine->weight[i] < 0)
            sum += machine->weight[i] * machine_kernel(machine, machine->points->xy + 2 * i, xy);
    return sum;
}

void machine_free(struct machine *machine) {
    free(machine->weight);
}
