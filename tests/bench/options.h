/* options.h - what the benchmark can be told. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "common/args.h"

enum {
    PART_PROBE = 1,
    PART_MEMORY = 2,
    PART_LAYERS = 4,
    PART_STEP = 8,
    PART_IMAGE = 16,
    PART_DENORMAL = 32,
    PART_ALL = 63
};

struct bench_options {
    double narrow;
    int32_t batch, channels, fusion, activation, precision, block, block_expansion;
    int32_t size[2], image[2]; /* width, height */
    int32_t isa, threads, steps, rounds;
    int32_t profile, runner, quiet;
    const char *only, *json;
    int parts; /* PART_* of `only` */
};

/* Returns 0 to go on, 1 when --help or --version has been answered, -1 with a problem. */
int options_read(struct bench_options *options, int argc, char **argv, struct problem *problem);
const char *options_fusion(const struct bench_options *options);
const char *options_activation(const struct bench_options *options);
const char *options_block(const struct bench_options *options);
const char *options_precision(const struct bench_options *options);
const char *options_isa(const struct bench_options *options);

#endif
