/* launch.h - what every program does first and last: a context as the user asked for, a cancel token tied to Ctrl-C,
 * and the exit code. */
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
/* The exit code of the program: a failure after Ctrl-C is an interruption. Prints the problem that there is. */
int launch_verdict(const struct launch *launch, const char *program, int code, const struct problem *problem);
void launch_end(struct launch *launch);

#endif
