/* launch.h - what every program does first: a context as the user asked for, and a cancel token tied to Ctrl-C. */
#ifndef EXAMPLES_LAUNCH_H
#define EXAMPLES_LAUNCH_H

#include "problem.h"
#include "unetstar.h"

struct launch {
    unetstar_context *context;
    unetstar_cancel *cancel;
};

/* threads 0: as many as CPUs. The environment variable UNETSTAR_ISA limits the instruction set (reference,
 * reference+fma, avx2, avx512, neon): for tests and bug reports, results are the same. */
int launch_start(struct launch *launch, int32_t threads, struct problem *problem);
void launch_end(struct launch *launch);

#endif
