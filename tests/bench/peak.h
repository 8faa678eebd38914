/* peak.h - how many floating-point operations a core can do: multiply-adds in registers and nothing else. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stdint.h>

struct peak_kernel {
    /* Carries the chains in `values` on for some turns: values[i] = values[i] * a + b, a and b being the last two
     * vectors. */
    void (*run)(float *values, int64_t turns);
    int floats; /* of `values` */
    double flops_per_turn;
    const char *what; /* "fma, 8 floats" */
};

/* For the name that unetstar_context_isa gives. */
const struct peak_kernel *peak_for(const char *isa);

#endif
