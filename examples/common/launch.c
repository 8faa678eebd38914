#include "launch.h"

#include <stdlib.h>
#include <string.h>

#include "stop.h"

static int isa_from_environment(int32_t *limit, struct problem *problem) {
    static const struct {
        const char *name;
        int32_t value;
    } levels[] = {
        {"reference", UNETSTAR_ISA_REFERENCE}, {"reference+fma", UNETSTAR_ISA_REFERENCE_FMA},
        {"avx2", UNETSTAR_ISA_AVX2},           {"avx512", UNETSTAR_ISA_AVX512},
        {"neon", UNETSTAR_ISA_NEON},           {"best", UNETSTAR_ISA_BEST},
    };
    const char *text = getenv("UNETSTAR_ISA");
    size_t i;
    if (!text || !text[0])
        return 0;
    for (i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (!strcmp(text, levels[i].name)) {
            *limit = levels[i].value;
            return 0;
        }
    return problem_set(problem, "UNETSTAR_ISA=%s: must be one of reference, reference+fma, avx2, avx512, neon, best",
                       text);
}

int launch_start(struct launch *launch, int32_t threads, struct problem *problem) {
    unetstar_context_options options;
    int error;
    memset(launch, 0, sizeof *launch);
    unetstar_context_options_init(&options, sizeof options);
    options.n_threads = threads;
    if (isa_from_environment(&options.isa_limit, problem))
        return -1;
    error = unetstar_context_create(&launch->context, &options);
    if (!error)
        error = unetstar_cancel_create(&launch->cancel, launch->context);
    if (error)
        return problem_from_library(problem, NULL, error);
    stop_install(launch->cancel);
    return 0;
}

int launch_verdict(const struct launch *launch, const char *program, int code, const struct problem *problem) {
    if (code == EXIT_FAILED && launch->cancel && unetstar_cancel_requested(launch->cancel))
        code = EXIT_INTERRUPTED;
    if (problem->text[0] && code != EXIT_FINE)
        problem_print(program, problem);
    return code;
}

void launch_end(struct launch *launch) {
    /* The token stays: a signal may still come, and the process is about to end. */
    unetstar_context_destroy(launch->context);
    launch->context = NULL;
}
