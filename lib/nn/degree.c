/*
 * degree.c - the degree of a network along a ray, found by numbers: logits at Chebyshev nodes, and the least-squares
 * polynomials of every degree through them.
 *
 * At the N nodes cos((j + 1/2) pi / N) the Chebyshev polynomials below degree N are orthogonal under the plain sum over
 * nodes (Mason and Handscomb, Chebyshev Polynomials, 4.6). So the coefficients c_m = 2 / N sum_j f_j T_m(j) are those
 * of the least- squares fit of any degree, and what degree d leaves is the sum of N / 2 c_m^2 over m > d: no system is
 * solved, nothing cancels.
 */
#include "nn/double.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* T_m at node j of n. */
static double chebyshev(int m, int j, int n) {
    return us_cos(PI * (m * (2 * j + 1) % (4 * n)) / (2 * n));
}

/* Of every logit: energy[m] += c_m^2 N / 2 for m >= 1, and energy[0] += N times the square of its mean. What is
 * transformed are the differences from the first node's, so that a constant has no coefficients, and a large mean
 * spoils no small ones. table: T_m(j) at [m][j]; logits: of node j at [j][count]. */
static void add_energies(double *energy, const double *table, const double *logits, int n, size_t count) {
    size_t i;
    int m, j;
    for (i = 0; i < count; i++)
        for (m = 0; m < n; m++) {
            double c = 0;
            for (j = 0; j < n; j++)
                c += table[m * n + j] * (logits[(size_t)j * count + i] - logits[i]);
            energy[m] += m ? c * c * 2 / n : (logits[i] + c / n) * (logits[i] + c / n) * n;
        }
}

static void set_residuals(struct us_degree_check *check, const struct us_degree_check_options *o, const double *energy,
                          int n, size_t count) {
    double beyond = 0, all = 0, level = sqrt(energy[0] / (double)n / (double)count);
    int m;
    for (m = 0; m < US_MAX_CHECK_DEGREE + 1; m++)
        check->residual[m] = us_nan();
    for (m = n - 1; m >= 1; m--)
        all += energy[m];
    check->variation = sqrt(all / (double)n / (double)count);
    check->level = level;
    check->degree = -1;
    for (m = n - 1; m >= 0; m--) { /* beyond: of degrees above m */
        if (m <= o->max_degree)
            check->residual[m] = all > 0 || all != all ? sqrt(beyond / all) : 0;
        if (m <= o->max_degree && check->residual[m] <= o->tolerance)
            check->degree = m;
        beyond += energy[m];
    }
    if (!(fabs(all + level) <= DBL_MAX)) { /* a logit is not finite */
        check->degree = -1;
        for (m = 0; m <= o->max_degree; m++)
            check->residual[m] = us_nan();
    }
}

static int run_nodes(us_double *d, const float *x, const struct us_degree_check_options *o, double *logits, int n,
                     size_t count, const us_cancel *cancel) {
    int j, code = us_double_forward(d, x, 1, US_DOUBLE_REMEMBER, logits, cancel); /* its logits are not needed */
    for (j = 0; j < n && !code; j++)
        code =
            us_double_forward(d, x, 1 + o->range * chebyshev(1, j, n),
                              o->freeze_maxima ? US_DOUBLE_FROZEN : US_DOUBLE_FREE, logits + (size_t)j * count, cancel);
    return code;
}

int us_net_degree_check(struct us_degree_check *check, us_context *ctx, const struct us_net *net,
                        const struct us_params *params, int64_t h, int64_t w, const float *x,
                        const struct us_degree_check_options *o, const us_cancel *cancel) {
    const int n = 2 * (o->max_degree + 1);
    const size_t count = (size_t)net->options.classes * (size_t)h * (size_t)w, square = (size_t)n * (size_t)n;
    struct us_double_changes changes;
    us_double *d = NULL;
    double *table, *energy, *logits;
    int j, m, code;
    memset(check, 0, sizeof *check);
    table = (double *)us_alloc(ctx, (square + (size_t)n + (size_t)n * count) * sizeof *table);
    if (!table)
        return UNETSTAR_ENOMEM;
    energy = table + square;
    logits = energy + n;
    code = us_double_create(&d, ctx, net, params, h, w);
    code = code ? code : run_nodes(d, x, o, logits, n, count, cancel);
    if (!code) {
        memset(energy, 0, (size_t)n * sizeof *energy);
        for (m = 0; m < n; m++)
            for (j = 0; j < n; j++)
                table[m * n + j] = chebyshev(m, j, n);
        add_energies(energy, table, logits, n, count);
        set_residuals(check, o, energy, n, count);
        us_double_changes(d, &changes);
        check->nodes = n;
        check->values = (int64_t)count;
        check->changed_maxima = changes.windows;
        check->changed_activations = changes.activations;
    }
    us_double_destroy(d);
    us_free(ctx, table);
    return code;
}
