/* data.c - two noisy half moons. Nothing here depends on a C library's rounding of sin, exp or log: series in
 * plain double arithmetic, frexp, ldexp, floor and sqrt are the same everywhere. */
#include <math.h>
#include <stdlib.h>

#include "moons.h"

static const double pi = 3.14159265358979323846, ln2 = 0.69314718055994530942;

double moons_exp(double x) {
    double n, r, sum = 1, term = 1;
    int k;
    if (!(x > -700)) /* also what is no number */
        return x < 0 ? 0 : x;
    if (x > 700)
        x = 700;
    n = floor(x / ln2 + 0.5);
    r = x - n * ln2;
    for (k = 1; k <= 14; k++) {
        term *= r / k;
        sum += term;
    }
    return ldexp(sum, (int)n);
}

/* With m in [sqrt(1/2), sqrt(2)): log m = 2 artanh((m - 1) / (m + 1)). */
double moons_log(double x) {
    double m, t, square, power, sum = 0;
    int exponent, k;
    if (!(x > 0))
        return x < 0 || x > 0 ? NAN : x + -INFINITY; /* log 0, and NaN stays NaN */
    if (isinf(x))
        return x;
    m = frexp(x, &exponent);
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    t = (m - 1) / (m + 1);
    square = t * t;
    power = t;
    for (k = 1; k <= 23; k += 2) {
        sum += power / k;
        power *= square;
    }
    return 2 * sum + exponent * ln2;
}

void moons_sin_cos(double x, double *sine, double *cosine) {
    double quarter = floor(x / (pi / 2) + 0.5), r = x - quarter * (pi / 2), s = r, c = 1, term_s = r, term_c = 1;
    int k, turn = (int)(quarter - 4 * floor(quarter / 4));
    for (k = 1; k <= 10; k++) {
        term_c *= -r * r / ((2 * k - 1) * (2 * k));
        term_s *= -r * r / ((2 * k) * (2 * k + 1));
        c += term_c;
        s += term_s;
    }
    *sine = turn == 0 ? s : turn == 1 ? c : turn == 2 ? -s : -c;
    *cosine = turn == 0 ? c : turn == 1 ? -s : turn == 2 ? -c : s;
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint64_t moons_bits(uint64_t seed, uint64_t stream, uint64_t index) {
    const uint64_t golden = 0x9E3779B97F4A7C15U;
    return mix(mix(mix(seed + golden) + stream * golden) + (index + 1) * golden);
}

/* In (0, 1), never at an end. */
static double uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return ((double)(moons_bits(seed, stream, index) >> 12) + 0.5) / 4503599627370496.0;
}

/* Box, Muller 1958. */
double moons_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    double radius = sqrt(-2 * moons_log(uniform(seed, stream, 2 * index))), sine, cosine;
    moons_sin_cos(2 * pi * uniform(seed, stream, 2 * index + 1), &sine, &cosine);
    return radius * cosine;
}

void moons_shuffle(int32_t *order, int32_t count, uint64_t seed, uint64_t stream) {
    int32_t i;
    for (i = 0; i < count; i++)
        order[i] = i;
    for (i = count - 1; i > 0; i--) {
        int32_t k = (int32_t)(uniform(seed, stream, (uint64_t)i) * (i + 1)), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
}

/* The place at a share of a moon's length. */
static void on_moon(int label, double share, double *x, double *y) {
    double sine, cosine;
    moons_sin_cos(pi * share, &sine, &cosine);
    *x = label ? 1 - cosine : cosine;
    *y = label ? 0.5 - sine : sine;
}

void points_make(struct points *points, int32_t count, double noise, uint64_t seed, uint64_t stream) {
    int32_t upper = count / 2, i;
    points->count = count;
    points->xy = must_allocate((size_t)count, 2 * sizeof *points->xy);
    points->label = must_allocate((size_t)count, 1);
    for (i = 0; i < count; i++) {
        int label = i >= upper;
        int32_t k = label ? i - upper : i, last = (label ? count - upper : upper) - 1;
        double x, y;
        on_moon(label, last > 0 ? (double)k / last : 0.5, &x, &y);
        points->label[i] = (uint8_t)label;
        points->xy[2 * i] = (float)(x + noise * moons_normal(seed, stream, 2 * (uint64_t)i));
        points->xy[2 * i + 1] = (float)(y + noise * moons_normal(seed, stream, 2 * (uint64_t)i + 1));
    }
}

void points_free(struct points *points) {
    free(points->xy);
    free(points->label);
}

enum { ARC_STEPS = 128 };

/* log of the density of one moon, up to what both have in common: a mean of normal densities along the half circle. */
static double log_density(int label, double x, double y, double noise) {
    double distance[ARC_STEPS], least = INFINITY, sum = 0;
    int k;
    for (k = 0; k < ARC_STEPS; k++) {
        double u, v;
        on_moon(label, (k + 0.5) / ARC_STEPS, &u, &v);
        distance[k] = ((x - u) * (x - u) + (y - v) * (y - v)) / (2 * noise * noise);
        least = distance[k] < least ? distance[k] : least;
    }
    for (k = 0; k < ARC_STEPS; k++)
        sum += moons_exp(least - distance[k]);
    return moons_log(sum) - least;
}

double points_log_odds(double x, double y, double noise) {
    noise = noise > 0.02 ? noise : 0.02; /* below, the steps along the arc would show */
    return log_density(1, x, y, noise) - log_density(0, x, y, noise);
}
