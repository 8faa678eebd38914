/* ranges.c - histograms of floats and the range of 8 bits that fits one best. */
#include "nn/ranges.h"

#include <math.h>
#include <string.h>

#define BINS US_RANGE_BINS
#define SHIFT 18                    /* bits of a float below its bin's number */
#define CANDIDATES 72               /* ends of a range on each side of zero */
#define FACTOR 0.917004043204671232 /* 2^(-1/8), from one to the next: 2^-9 of the largest value is the last */

void us_range_count(uint64_t *bins, const float *x, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bins[bits >> SHIFT]++;
    }
}

/* The values of bins in ascending order, and sums over those before each. */
struct sums {
    double value[BINS], count[BINS + 1], first[BINS + 1], second[BINS + 1];
    int n;
};

size_t us_range_scratch(void) {
    return sizeof(struct sums);
}

static double bin_value(uint32_t bin, uint32_t low) {
    const uint32_t bits = bin << SHIFT | low;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int is_finite(uint32_t bin) {
    return bin % (BINS / 2) < 255u << (23 - SHIFT);
}

static void add_bin(struct sums *s, const uint64_t *bins, uint32_t bin) {
    const double n = (double)bins[bin];
    const double v = bin % (BINS / 2) ? bin_value(bin, 1u << (SHIFT - 1)) : 0;
    if (!bins[bin] || !is_finite(bin))
        return;
    s->value[s->n] = v;
    s->n++;
    s->count[s->n] = s->count[s->n - 1] + n;
    s->first[s->n] = s->first[s->n - 1] + n * v;
    s->second[s->n] = s->second[s->n - 1] + n * v * v;
}

/* Values below x. */
static int below(const struct sums *s, double x) {
    int lo = 0, hi = s->n;
    while (lo < hi) {
        const int mid = (lo + hi) / 2;
        if (s->value[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Sum of (v - x)^2 over values from index a to before b. */
static double distance(const struct sums *s, int a, int b, double x) {
    return s->second[b] - s->second[a] - 2 * x * (s->first[b] - s->first[a]) + x * x * (s->count[b] - s->count[a]);
}

/* What is outside is moved to an end. Inside, an error is spread evenly over a step, but zero is exact, and what is
 * nearer to it than the usual error becomes zero at worst. */
static double squared_error(const struct sums *s, double lo, double hi) {
    const double step = (hi - lo) / 255.0, usual = step * step / 12.0, near = step * 0.28867513459481288;
    const int a = below(s, lo), b = below(s, hi), c = US_MAX(a, below(s, -near)), d = US_MIN(b, below(s, near));
    return distance(s, 0, a, lo) + distance(s, b, s->n, hi) +
           usual * (s->count[c] - s->count[a] + s->count[b] - s->count[d]) + distance(s, c, US_MAX(c, d), 0);
}

struct us_quant us_quant_of(double scale, int zero) {
    struct us_quant q;
    q.scale = (float)(scale < 0x1p-90 ? 0x1p-90 : scale > 0x1p+90 ? 0x1p+90 : scale);
    q.inverse = 1.0f / q.scale;
    q.zero = zero;
    return q;
}

struct us_quant us_range_choose(const uint64_t *bins, int clip, void *scratch) {
    struct sums *s = (struct sums *)scratch;
    double least = 0, most = 0, lo, hi, best_lo, best_hi, best = -1;
    uint32_t bin;
    int i, k;
    memset(s, 0, sizeof *s);
    for (bin = BINS - 1; bin >= BINS / 2; bin--) {
        if (bins[bin] && is_finite(bin))
            least = US_MIN(least, bin_value(bin, (1u << SHIFT) - 1));
        add_bin(s, bins, bin);
    }
    for (bin = 0; bin < BINS / 2; bin++) {
        if (bins[bin] && is_finite(bin) && bin)
            most = bin_value(bin, (1u << SHIFT) - 1);
        add_bin(s, bins, bin);
    }
    best_lo = least;
    best_hi = most;
    for (i = 0, lo = least; clip && i < (least < 0 ? CANDIDATES : 1); i++, lo *= FACTOR)
        for (k = 0, hi = most; k < (most > 0 ? CANDIDATES : 1); k++, hi *= FACTOR) {
            const double error = hi > lo ? squared_error(s, lo, hi) : -1;
            if (error >= 0 && (best < 0 || error < best)) {
                best = error;
                best_lo = lo;
                best_hi = hi;
            }
        }
    if (!(best_hi > best_lo))
        return us_quant_of(1, 0);
    return us_quant_of((best_hi - best_lo) / 255.0, (int)floor(-best_lo / (best_hi - best_lo) * 255.0 + 0.5));
}
