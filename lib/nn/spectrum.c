/*
 * spectrum.c - how many dimensions features use, and how their values are spread: singular values of a matrix of pixels
 * by channels, ranks made of them, moments and tails.
 *
 * The singular values are the roots of the eigenvalues of the channels' Gram matrix, found by cyclic Jacobi rotations
 * (Golub and Van Loan, Matrix Computations, 8.5). All in double, in one order, on one thread: the same bits everywhere.
 * Where eigenvalues are below the rounding of the largest, so singular values below about 1e-8 of the largest, they are
 * noise.
 */
#include "nn/nn.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- Eigenvalues ---- */

/* Rows and columns p < q of the symmetric a (n, n) are rotated so that a[p][q] becomes 0. */
static void rotate(double *a, int64_t n, int64_t p, int64_t q) {
    const double apq = a[p * n + q], theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
    const double size = 1 / (fabs(theta) + sqrt(theta * theta + 1)), t = theta < 0 ? -size : size;
    const double c = 1 / sqrt(t * t + 1), s = t * c;
    double *rp = a + p * n, *rq = a + q * n;
    int64_t k;
    rp[p] -= t * apq;
    rq[q] += t * apq;
    rp[q] = rq[p] = 0;
    for (k = 0; k < n; k++) {
        const double x = rp[k], y = rq[k];
        if (k == p || k == q)
            continue;
        rp[k] = a[k * n + p] = c * x - s * y;
        rq[k] = a[k * n + q] = s * x + c * y;
    }
}

static double beside_diagonal(const double *a, int64_t n) {
    double largest = 0;
    int64_t i, j;
    for (i = 0; i < n; i++)
        for (j = i + 1; j < n; j++)
            largest = US_MAX(largest, fabs(a[i * n + j]));
    return largest;
}

static void sort_falling(double *v, int64_t n) {
    int64_t i, j;
    for (i = 1; i < n; i++) {
        const double x = v[i];
        for (j = i; j > 0 && v[j - 1] < x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

#define SWEEPS 40 /* it takes about 8 */

void us_eigenvalues(double *a, int64_t n, double *values) {
    double trace = 0, small;
    int64_t i, p, q;
    int sweep;
    for (i = 0; i < n; i++)
        trace += fabs(a[i * n + i]);
    small = trace * 1e-18;
    for (sweep = 0; sweep < SWEEPS && beside_diagonal(a, n) > small; sweep++)
        for (p = 0; p < n; p++)
            for (q = p + 1; q < n; q++)
                if (fabs(a[p * n + q]) > small)
                    rotate(a, n, p, q);
    for (i = 0; i < n; i++)
        values[i] = a[i * n + i];
    sort_falling(values, n);
}

/* ---- Ranks ---- */

/* Roy and Vetterli, The effective rank, EUSIPCO 2007: exp of the entropy of the singular values' shares. */
static double effective_rank(const double *singular, int64_t n) {
    double sum = 0, entropy = 0;
    int64_t i;
    for (i = 0; i < n; i++)
        sum += singular[i];
    for (i = 0; i < n; i++) {
        const double share = singular[i] / sum;
        if (share > 0)
            entropy -= share * us_log(share);
    }
    return us_exp(entropy);
}

static void ranks(struct us_features *f, const double *singular, int64_t n) {
    double squares = 0, fourths = 0;
    int64_t i;
    for (i = 0; i < n; i++) {
        const double square = singular[i] * singular[i];
        squares += square;
        fourths += square * square;
    }
    f->effective_rank = f->stable_rank = f->participation_ratio = 0;
    if (!(squares > 0))
        return;
    f->effective_rank = effective_rank(singular, n);
    f->stable_rank = squares / (singular[0] * singular[0]);
    f->participation_ratio = squares * squares / fourths;
}

/* ---- The passes over the rows ---- */

static void add_row(double *gram, double *sum, const float *pixels, int64_t width, int64_t channels) {
    int64_t x, i, j;
    for (x = 0; x < width; x++, pixels += channels)
        for (i = 0; i < channels; i++) {
            const double v = (double)pixels[i];
            double *row = gram + i * channels;
            *sum += v;
            for (j = 0; j <= i; j++)
                row[j] += v * (double)pixels[j]; /* the product is exact */
        }
}

struct moments {
    double mean, limit4, limit6; /* squares of distances */
    double third, fourth;
    int64_t beyond4, beyond6;
};

static void add_moments(struct moments *m, const float *pixels, int64_t count) {
    int64_t i;
    for (i = 0; i < count; i++) {
        const double d = (double)pixels[i] - m->mean, square = d * d;
        m->third += square * d;
        m->fourth += square * square;
        m->beyond4 += square > m->limit4;
        m->beyond6 += square > m->limit6;
    }
}

static double variance_of(const struct us_feature_rows *rows, float *pixels, double mean) {
    double sum = 0;
    int64_t y, i;
    for (y = 0; y < rows->height; y++) {
        rows->read(rows->user, y, pixels);
        for (i = 0; i < rows->width * rows->channels; i++) {
            const double d = (double)pixels[i] - mean;
            sum += d * d;
        }
    }
    return sum / ((double)rows->width * (double)rows->height * (double)rows->channels);
}

static void spread(struct us_features *f, const struct us_feature_rows *rows, float *pixels, double sum) {
    const double count = (double)rows->width * (double)rows->height * (double)rows->channels;
    struct moments m;
    int64_t y;
    memset(&m, 0, sizeof m);
    m.mean = f->mean = sum / count;
    f->variance = variance_of(rows, pixels, f->mean);
    m.limit4 = 16 * f->variance;
    m.limit6 = 36 * f->variance;
    for (y = 0; y < rows->height; y++) {
        rows->read(rows->user, y, pixels);
        add_moments(&m, pixels, rows->width * rows->channels);
    }
    f->skewness = f->variance > 0 ? m.third / count / (f->variance * sqrt(f->variance)) : 0;
    f->kurtosis = f->variance > 0 ? m.fourth / count / (f->variance * f->variance) : 0;
    f->beyond_4 = (double)m.beyond4 / count;
    f->beyond_6 = (double)m.beyond6 / count;
}

int us_features_measure(struct us_features *f, us_context *ctx, const struct us_feature_rows *rows, double *singular) {
    const int64_t n = rows->channels;
    double *gram = (double *)us_alloc_zero(ctx, (size_t)(n * n + n) * sizeof *gram), *values, sum = 0;
    float *pixels = gram ? (float *)us_alloc(ctx, (size_t)(rows->width * n) * sizeof *pixels) : NULL;
    int64_t y, i, j;
    if (!pixels) {
        us_free(ctx, gram);
        return UNETSTAR_ENOMEM;
    }
    values = gram + n * n;
    for (y = 0; y < rows->height; y++) {
        rows->read(rows->user, y, pixels);
        add_row(gram, &sum, pixels, rows->width, n);
    }
    for (i = 0; i < n; i++)
        for (j = 0; j < i; j++)
            gram[j * n + i] = gram[i * n + j];
    us_eigenvalues(gram, n, values);
    for (i = 0; i < n; i++)
        values[i] = values[i] > 0 ? sqrt(values[i]) : 0; /* rounding may leave a zero below zero */
    memset(f, 0, sizeof *f);
    f->pixels = rows->width * rows->height;
    f->channels = n;
    if (fabs(sum) <= DBL_MAX)
        ranks(f, values, n);
    else
        f->effective_rank = f->stable_rank = f->participation_ratio = us_nan();
    spread(f, rows, pixels, sum);
    if (singular)
        memcpy(singular, values, (size_t)n * sizeof *singular);
    us_free(ctx, pixels);
    us_free(ctx, gram);
    return 0;
}
