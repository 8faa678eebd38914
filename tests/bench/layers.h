/* layers.h - every convolution of a training step, pass by pass, and where the time of a step goes. */
#ifndef BENCH_LAYERS_H
#define BENCH_LAYERS_H

#include "json.h"
#include "marks.h"
#include "nn/nn.h"
#include "options.h"

enum { PASS_FORWARD, PASS_DATA, PASS_WEIGHTS, PASSES };

struct layers {
    const struct bench_options *options;
    struct marks marks;
    struct series step; /* whole steps, with the marks on */
    int units;
    struct us_unit shapes[US_MAX_UNITS];
    double peak; /* GFLOP/s of all threads; NaN: not known */
};

void layers_init(struct layers *layers, const struct bench_options *options);
void layers_free(struct layers *layers);
int layers_round(struct layers *layers, struct problem *problem);
void layers_print(const struct layers *layers);
void layers_print_profile(const struct layers *layers);
void layers_json(const struct layers *layers, struct json *json);

#endif
