/* inspect.c - unetstar-inspect: what a model is, and what its fusions do on an image and to a gradient. */
#include <stdio.h>
#include <string.h>

#include "common/args.h"
#include "common/launch.h"
#include "inspect.h"

static const char program[] = "unetstar-inspect";

static const char about[] =
    "Looks inside a model. Of the model alone: options, parameters, memory, and for every fusion of a skip connection\n"
    "the polynomial degree that it reaches, and the dimension of the feature space that stands for, exact and as in "
    "the\n"
    "paper Rewrite the Stars. With an image: how many dimensions the features use before and after each fusion, how "
    "heavy\n"
    "the tails of their values are, and the degree found by numbers, along a ray through a part of the image. With a\n"
    "label too: how much of the loss's gradient arrives at the two branches of each fusion. docs/star.md reads an "
    "example.";

static const char examples[] =
    "  unetstar-inspect out/model.safetensors\n"
    "  unetstar-inspect out/model.safetensors im0001.ppm.gz\n"
    "  unetstar-inspect out/model.safetensors im0001.ppm.gz im0001.ah.ppm.gz --json im0001.json";

static const char closing[] =
    "The tables go to the standard output. FILE of --csv has a row for every number, FILE of --json the same numbers "
    "and\n"
    "the model's options.\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

struct settings_of_inspect {
    const char *csv, *json;
    int32_t threads, quiet;
};

static void settings_arguments_of_inspect(struct args *args, struct settings_of_inspect *settings,
                                          struct inspection *found) {
    unetstar_degree_check_options *o = &found->check_options;
    memset(settings, 0, sizeof *settings);
    unetstar_degree_check_options_init(o, sizeof *o);
    found->side = 32;
    found->patch = 96;
    found->patches = 8;
    args_group(args, "Output");
    args_text(args, "csv", 0, "FILE", &settings->csv, "also write the numbers there");
    args_text(args, "json", 0, "FILE", &settings->json, "the same with the model's options");
    args_group(args, "Degree by numbers (with an image)");
    args_int32(args, "side", &found->side, 1, 1024,
               "of the square in the middle of the image that is looked at, in pixels");
    args_double(args, "range", &o->range, 1e-9, 100, "r: the image is scaled by t = 1 - r to 1 + r");
    args_int32(args, "max-degree", &o->max_degree, 0, UNETSTAR_MAX_CHECK_DEGREE, "highest degree that is fitted");
    args_double(args, "tolerance", &o->tolerance, 0, 1, "what a fit may leave for its degree to be the model's");
    args_group(args, "Gradients (with a label)");
    args_int32(args, "patch", &found->patch, 1, 2048, "side of the patches, in pixels");
    args_int32(args, "patches", &found->patches, 1, 64, "how many, evenly spread over the middle of the image");
    args_common(args, &settings->threads, &settings->quiet);
}

static int read_command(struct args *args, struct settings_of_inspect *settings, struct inspection *found, int argc,
                        char **argv, struct problem *problem) {
    settings_arguments_of_inspect(args, settings, found);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    if (args->operand_count < 1)
        return problem_set(problem, "name a model (--help shows how)");
    if (args->operand_count > 3)
        return problem_set(problem, "%s: at most a model, an image and a label are taken", args->operands[3]);
    if (settings->csv && settings->json && !strcmp(settings->csv, settings->json))
        return problem_set(problem, "--csv and --json both name %s", settings->csv);
    found->model_path = args->operands[0];
    found->image_path = args->operand_count > 1 ? args->operands[1] : NULL;
    found->label_path = args->operand_count > 2 ? args->operands[2] : NULL;
    return 0;
}

static int run_program(struct inspection *found, struct launch *launch, const struct settings_of_inspect *settings,
                       struct problem *problem) {
    int error;
    if (launch_start(launch, settings->threads, problem))
        return -1;
    found->context = launch->context;
    found->cancel = launch->cancel;
    error = unetstar_model_load(&found->model, launch->context, found->model_path);
    if (error) {
        problem_from_library(problem, NULL, error);
        return strstr(problem->text, found->model_path) ? -1 : problem_from_library(problem, found->model_path, error);
    }
    if (inspect_measure(found, problem) || inspect_print(found, problem) ||
        (settings->csv && inspect_write_csv(found, settings->csv, problem)))
        return -1;
    return settings->json ? inspect_write_json(found, settings->json, problem) : 0;
}

int main(int argc, char **argv) {
    static struct inspection found;
    struct settings_of_inspect settings;
    struct args args = {0};
    struct launch launch = {0};
    struct problem problem = {""};
    int code = EXIT_FINE;
    args.program = program;
    args.usage = "MODEL [IMAGE [LABEL]] [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (read_command(&args, &settings, &found, argc, argv, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else if (run_program(&found, &launch, &settings, &problem))
        code = EXIT_FAILED;
    code = launch_verdict(&launch, program, code, &problem);
    unetstar_model_destroy(found.model);
    launch_end(&launch);
    args_free(&args);
    return code;
}
