/*
 * math.c - exp, log, pow, sin, cos in double with nothing but + - * / and bit moves, so that the bits are the same on every
 * machine and with every C library. Used for schedules, tables, losses and the synthetic generator, not in hot loops.
 */
#include "base/base.h"

#include <math.h>
#include <string.h>

static uint64_t to_bits(double x) {
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static double from_bits(uint64_t b) {
    double x;
    memcpy(&x, &b, sizeof x);
    return x;
}

double us_nan(void) {
    return from_bits(0x7ff8000000000000u);
}

static double infinity(void) {
    return from_bits(0x7ff0000000000000u);
}

double us_round(double x) {
    return x < 0 ? -floor(0.5 - x) : floor(x + 0.5);
}

/* x * 2^n for results that may be subnormal: two exact steps and one that rounds. */
static double scale(double x, int n) {
    if (n < -1022)
        return x * from_bits((uint64_t)(n + 1023 + 1022) << 52) * from_bits((uint64_t)1 << 52);
    if (n > 1023)
        return x * from_bits((uint64_t)(n - 1 + 1023) << 52) * 2.0;
    return x * from_bits((uint64_t)(n + 1023) << 52);
}

#define LN2_HIGH 6.93147180369123816490e-01 /* 33 bits: n times it is exact */
#define LN2_LOW 1.90821492927058770002e-10

/* exp(r) for |r| <= ln2 / 2 by its series to the 14th power, smallest terms first. */
static double exp_small(double r) {
    static const double inverse_factorial[15] = {1.0,
                                                 1.0,
                                                 1.0 / 2,
                                                 1.0 / 6,
                                                 1.0 / 24,
                                                 1.0 / 120,
                                                 1.0 / 720,
                                                 1.0 / 5040,
                                                 1.0 / 40320,
                                                 1.0 / 362880,
                                                 1.0 / 3628800,
                                                 1.0 / 39916800,
                                                 1.0 / 479001600,
                                                 1.0 / 6227020800.0,
                                                 1.0 / 87178291200.0};
    double sum = inverse_factorial[14];
    int k;
    for (k = 13; k >= 0; k--)
        sum = sum * r + inverse_factorial[k];
    return sum;
}

/* exp(x + low), low a small correction of x. */
static double exp_pair(double x, double low) {
    double n, r;
    if (x != x)
        return x;
    if (x > 709.79)
        return infinity();
    if (x < -745.2)
        return 0;
    n = us_round(x * 1.4426950408889634);
    r = (x - n * LN2_HIGH) - (n * LN2_LOW - low);
    return scale(exp_small(r), (int)n);
}

double us_exp(double x) {
    return exp_pair(x, 0);
}

/* log x = n ln2 + log m, m in [sqrt(1/2), sqrt 2): with s = (m - 1) / (m + 1), log m = 2 (s + s^3/3 + s^5/5 + ...). Gives the
 * result as a sum high + low, which pow needs. */
static void log_pair(double x, double *high, double *low) {
    int n = 0, k;
    uint64_t bits;
    double m, f, s, z, series, head, tail;
    if (x < 2.2250738585072014e-308) { /* subnormal */
        x *= 18014398509481984.0;
        n = -54;
    }
    bits = to_bits(x);
    n += (int)(bits >> 52) - 1023;
    m = from_bits((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        n++;
    }
    f = m - 1.0; /* exact */
    s = f / (2.0 + f);
    z = s * s;
    series = 1.0 / 25;
    for (k = 23; k >= 3; k -= 2)
        series = series * z + 1.0 / k;
    /* log m = f - s (f - 2 z series): the cancellation-free form */
    head = n * LN2_HIGH;
    tail = n * LN2_LOW - (s * (f - 2.0 * z * series) - 0.0);
    *high = head + f;
    *low = ((head - *high) + f) + tail;
    if (n == 0) {
        *high = f;
        *low = tail;
    }
}

double us_log(double x) {
    double high, low;
    if (x != x || x == infinity())
        return x;
    if (x <= 0)
        return x == 0 ? -infinity() : us_nan();
    log_pair(x, &high, &low);
    return high + low;
}

/* Split for exact products. */
static void product(double a, double b, double *high, double *low) {
    double t = a * 134217729.0, ah = t - (t - a), al = a - ah, bh, bl;
    t = b * 134217729.0;
    bh = t - (t - b);
    bl = b - bh;
    *high = a * b;
    *low = ((ah * bh - *high) + ah * bl + al * bh) + al * bl;
}

double us_pow(double x, double y) {
    double lh, ll, ph, pl, sum;
    if (y == 0 || x == 1.0)
        return 1.0;
    if (x != x || y != y || x < 0)
        return us_nan();
    if (x == 0)
        return y > 0 ? 0 : infinity();
    log_pair(x, &lh, &ll);
    sum = lh + ll; /* renormalise */
    ll = (lh - sum) + ll;
    lh = sum;
    if (fabs(y * lh) > 1000)
        return y * lh > 0 ? infinity() : 0;
    product(lh, y, &ph, &pl);
    return exp_pair(ph, pl + ll * y);
}

/* x minus the nearest multiple n of pi/2, in three parts of pi/2 (Cody, Waite); returns n mod 4. */
static int quarter(double x, double *r) {
    double n = us_round(x * 0.6366197723675814);
    *r = ((x - n * 1.57079632673412561417e+00) - n * 6.07710050630396597660e-11) - n * 2.02226624879595063154e-21;
    return (int)((int64_t)n & 3);
}

static double sin_small(double r) {
    double z = r * r, sum = -1.0 / 121645100408832000.0;
    static const double c[8] = {1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800,
                                1.0 / 362880,            -1.0 / 5040,            1.0 / 120,          -1.0 / 6};
    int k;
    for (k = 0; k < 8; k++)
        sum = sum * z + c[k];
    return r + r * (z * sum);
}

static double cos_small(double r) {
    double z = r * r, sum = 1.0 / 2432902008176640000.0;
    static const double c[8] = {-1.0 / 6402373705728000.0, 1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600,
                                -1.0 / 3628800,            1.0 / 40320,            -1.0 / 720,           1.0 / 24};
    int k;
    for (k = 0; k < 8; k++)
        sum = sum * z + c[k];
    return 1.0 - (0.5 * z - z * z * sum);
}

double us_sin(double x) {
    double r;
    int q = quarter(x, &r);
    double v = q & 1 ? cos_small(r) : sin_small(r);
    return q & 2 ? -v : v;
}

double us_cos(double x) {
    double r;
    int q = quarter(x, &r);
    double v = q & 1 ? sin_small(r) : cos_small(r);
    return q == 1 || q == 2 ? -v : v;
}
