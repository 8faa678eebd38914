/* memory.h - peak memory of a training step and of an inference, each in a process that does nothing else. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include "json.h"
#include "options.h"

struct memory {
    double training_peak, image_peak;           /* bytes resident at most, of the process */
    double training_workspace, image_workspace; /* bytes by the library's own count */
};

/* Forks: to be called before this process has threads or much memory of its own. */
int memory_measure(struct memory *memory, const struct bench_options *options, struct problem *problem);
void memory_print(const struct memory *memory);
void memory_json(const struct memory *memory, struct json *json);

#endif
