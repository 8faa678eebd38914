/* rng.c - counter-based random numbers: the value at a count depends on the key and the count alone. */
#include "base/base.h"

#include <math.h>

/* The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which every input bit reaches every output bit. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct us_rng us_rng_stream(uint64_t seed, enum us_purpose purpose, uint64_t epoch, uint64_t sample) {
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    struct us_rng rng;
    uint64_t key = mix(seed + golden);
    key = mix(key ^ mix((uint64_t)purpose * golden + 1));
    key = mix(key ^ mix(epoch * golden + 2));
    rng.key = mix(key ^ mix(sample * golden + 3));
    rng.counter = 0;
    return rng;
}

uint64_t us_rng_at(const struct us_rng *rng, uint64_t counter) {
    return mix(mix(counter * 0x9e3779b97f4a7c15u + rng->key) ^ rng->key);
}

uint64_t us_rng_next(struct us_rng *rng) {
    return us_rng_at(rng, rng->counter++);
}

double us_rng_uniform(struct us_rng *rng) {
    return (double)(us_rng_next(rng) >> 11) * (1.0 / 9007199254740992.0);
}

uint64_t us_rng_below(struct us_rng *rng, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, value; /* the unbiased part */
    do
        value = us_rng_next(rng);
    while (value >= limit);
    return value % n;
}

/* Box and Muller 1958; one of the pair is enough here. */
double us_rng_normal(struct us_rng *rng) {
    double u = 1.0 - us_rng_uniform(rng), v = us_rng_uniform(rng);
    return sqrt(-2.0 * us_log(u)) * us_cos(6.283185307179586 * v);
}
