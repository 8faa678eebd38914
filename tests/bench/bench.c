/*
 * bench.c - unetstar-bench: how fast the library is on this machine, and what the machine could do.
 *
 * A white box: it listens to the marks that the library sets at the stages of a training step, and reads the shapes of
 * the network. tests/bench/README.md says what the numbers mean.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "layers.h"
#include "memory.h"
#include "options.h"
#include "probe.h"
#include "whole.h"

struct bench {
    struct bench_options options;
    char cpu[128], isa[32];
    struct probe before, after;
    struct memory memory;
    struct layers layers;
    struct whole whole;
};

static void tell(const struct bench *bench, int round, const char *part) {
    if (!bench->options.quiet && bench->options.rounds > 1)
        fprintf(stderr, "round %d of %d: %s\n", round + 1, (int)bench->options.rounds, part);
}

/* What the library makes of --isa and --threads. */
static int find_machine(struct bench *bench, struct problem *problem) {
    unetstar_context_options options;
    unetstar_context *context;
    int error;
    unetstar_context_options_init(&options, sizeof options);
    options.isa_limit = bench->options.isa;
    options.n_threads = 1;
    error = unetstar_context_create(&context, &options);
    if (error)
        return problem_from_library(problem, NULL, error);
    snprintf(bench->isa, sizeof bench->isa, "%s", unetstar_context_isa(context));
    unetstar_context_destroy(context);
    if (!bench->options.threads)
        bench->options.threads = us_cpu_count();
    cpu_name(bench->cpu, sizeof bench->cpu);
    return 0;
}

/* full: memory and the way between cores too. */
static int ask_machine(const struct bench *bench, struct probe *probe, int full, struct problem *problem) {
    struct team *team;
    if (team_create(&team, bench->options.threads, problem))
        return -1;
    if (full)
        probe_run(probe, team, bench->isa);
    else
        probe_peak(probe, team, bench->isa);
    team_destroy(team);
    return 0;
}

static int measure_round(struct bench *bench, int round, struct problem *problem) {
    const int parts = bench->options.parts;
    int code = 0;
    if (parts & PART_LAYERS) {
        tell(bench, round, "layers");
        code = layers_round(&bench->layers, problem);
    }
    if (!code && parts & PART_STEP) {
        tell(bench, round, "step");
        code = whole_round_step(&bench->whole, problem);
        if (!code && bench->options.runner)
            code = whole_round_runner(&bench->whole, bench->options.threads, problem);
    }
    if (!code && parts & PART_IMAGE) {
        tell(bench, round, "image");
        code = whole_round_image(&bench->whole, problem);
    }
    if (!code && parts & PART_DENORMAL) {
        tell(bench, round, "denormal input");
        code = whole_round_denormal(&bench->whole, problem);
    }
    return code;
}

static void print_results(const struct bench *bench) {
    const int parts = bench->options.parts;
    if (parts & PART_MEMORY)
        memory_print(&bench->memory);
    if (parts & PART_LAYERS) {
        layers_print(&bench->layers);
        if (bench->options.profile)
            layers_print_profile(&bench->layers);
    }
    whole_print(&bench->whole);
}

static int measure(struct bench *bench, struct problem *problem) {
    const int parts = bench->options.parts, work = parts & ~(PART_PROBE | PART_MEMORY);
    int round;
    printf("unetstar %s on %s: %s, %d threads\n", unetstar_version_string(), bench->cpu, bench->isa,
           (int)bench->options.threads);
    fflush(stdout);
    if (parts & PART_MEMORY && memory_measure(&bench->memory, &bench->options, problem))
        return -1;
    if (ask_machine(bench, &bench->before, parts & PART_PROBE, problem))
        return -1;
    bench->layers.peak = bench->whole.peak = bench->before.peak_all;
    probe_print(&bench->before, work ? "before" : "");
    fflush(stdout);
    for (round = 0; round < bench->options.rounds && work; round++)
        if (measure_round(bench, round, problem))
            return -1;
    print_results(bench);
    if (!work)
        return 0;
    fflush(stdout);
    if (ask_machine(bench, &bench->after, parts & PART_PROBE, problem))
        return -1;
    probe_print(&bench->after, "after");
    probe_compare(&bench->before, &bench->after);
    return 0;
}

static int write_json(const struct bench *bench, struct problem *problem) {
    const struct bench_options *o = &bench->options;
    struct json json;
    if (json_open(&json, o->json, problem))
        return -1;
    json_text(&json, "program", "unetstar-bench");
    json_text(&json, "version", unetstar_version_string());
    json_integer(&json, "numerics_version", unetstar_numerics_version());
    json_text(&json, "cpu", bench->cpu);
    json_text(&json, "isa", bench->isa);
    json_text(&json, "isa_limit", options_isa(o));
    json_integer(&json, "threads", o->threads);
    json_number(&json, "narrow", o->narrow);
    json_integer(&json, "channels", o->channels);
    json_text(&json, "fusion", options_fusion(o));
    json_text(&json, "activation", options_activation(o));
    json_text(&json, "block", options_block(o));
    json_text(&json, "precision", options_precision(o));
    json_integer(&json, "batch", o->batch);
    json_integer(&json, "patch_width", o->size[0]);
    json_integer(&json, "patch_height", o->size[1]);
    json_integer(&json, "image_width", o->image[0]);
    json_integer(&json, "image_height", o->image[1]);
    probe_json(&bench->before, "probe_before", &json);
    if (o->parts & ~(PART_PROBE | PART_MEMORY))
        probe_json(&bench->after, "probe_after", &json);
    if (o->parts & PART_MEMORY)
        memory_json(&bench->memory, &json);
    if (o->parts & PART_LAYERS)
        layers_json(&bench->layers, &json);
    whole_json(&bench->whole, &json);
    return json_close(&json, problem);
}

int main(int argc, char **argv) {
    static struct bench bench;
    struct problem problem;
    int code = options_read(&bench.options, argc, argv, &problem);
    if (code) {
        if (code < 0)
            problem_print("unetstar-bench", &problem);
        return code < 0 ? EXIT_USAGE : EXIT_FINE;
    }
    layers_init(&bench.layers, &bench.options);
    whole_init(&bench.whole, &bench.options);
    code = json_check(bench.options.json, &problem);
    code = code ? code : find_machine(&bench, &problem);
    code = code ? code : measure(&bench, &problem);
    code = code ? code : write_json(&bench, &problem);
    layers_free(&bench.layers);
    whole_free(&bench.whole);
    if (code)
        problem_print("unetstar-bench", &problem);
    return code ? EXIT_FAILED : EXIT_FINE;
}
