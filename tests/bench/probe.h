/* probe.h - a second of questions to the machine: how fast are its cores, its memory, and the way between two cores. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include "json.h"
#include "team.h"

struct probe {
    int threads;
    double peak_one, peak_all;   /* GFLOP/s; NaN: not measured, likewise below */
    double read_one, read_all;   /* GB/s from memory */
    double write_one, write_all; /* GB/s, by memset */
    double handover;             /* ns for a cache line from one core to another */
};

/* The name of the processor. */
void cpu_name(char *text, size_t size);

/* The peaks only, at an instruction set as unetstar_context_isa names it. */
void probe_peak(struct probe *probe, struct team *team, const char *isa);
/* All of it. */
void probe_run(struct probe *probe, struct team *team, const char *isa);
void probe_print(const struct probe *probe, const char *when);
/* What differs between the two by more than it does by chance: peak a tenth, memory a quarter, core to core a half. */
void probe_compare(const struct probe *before, const struct probe *after);
void probe_json(const struct probe *probe, const char *key, struct json *json);

#endif
