/* evaluate.c - unetstar-evaluate: measures a model, or saved probability maps, against labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/baseline.h"
#include "common/datasets.h"
#include "common/files.h"
#include "common/launch.h"
#include "common/loader.h"
#include "common/models.h"
#include "common/score.h"
#include "common/threshold.h"

static const char program[] = "unetstar-evaluate";

static const char about[] =
    "Measures how well a model finds the vessels of labelled photographs: ROC and PR area, F1, accuracy,\n"
    "sensitivity, specificity, precision, MCC, clDice and calibration error (ECE), inside the field of view, for\n"
    "each image and for all pixels pooled. DATA is a data set in one of the forms unetstar-train reads; by default\n"
    "its test images are measured (its own test folder, or fold 2 of 4), so that the numbers are those of images\n"
    "the training did not see. Several models, with commas between them, are averaged; without one the model inside\n"
    "this program is measured, which has seen made-up photographs only (--all: it may be tested on every image). With\n"
    "--predictions it measures maps that were saved by any program; with --hessian a filter that learns nothing but its\n"
    "threshold, the bar below which a network is pointless.";

static const char examples[] =
    "  unetstar-evaluate out/model.safetensors STARE\n"
    "  unetstar-evaluate out/model.safetensors STARE --observer vk    with the second human\n"
    "  unetstar-evaluate STARE --all --threshold model                the model inside the program\n"
    "  unetstar-evaluate a.safetensors,b.safetensors DRIVE -o both --pictures\n"
    "  unetstar-evaluate out/model.safetensors mine --labels labels_ah --all\n"
    "  unetstar-evaluate --predictions maps/ STARE --fold 0\n"
    "  unetstar-evaluate --hessian STARE --fold 0";

static const char closing[] =
    "Files in DIR: metrics.csv, metrics.json, roc.svg, pr.svg, and with --pictures NAME-probability.png and\n"
    "NAME-errors.png (white: found, red: missed, blue: false).\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

static const struct choice view_counts[] = {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}, {NULL, 0}};

struct settings {
    struct data_options data;
    const char *out, *predictions;
    double threshold;
    int32_t hessian, tta, pictures, threads, quiet;
};

struct run {
    struct settings settings;
    struct launch launch;
    struct models models;
    unetstar_session *session;
    struct collection collection;
    struct split split;
    char *data_title;
    double stored_threshold; /* of the models, 0: none */
    struct baseline baseline;
    int named; /* the first operand is the model */
};

static void settings_arguments(struct args *args, struct settings *settings) {
    memset(settings, 0, sizeof *settings);
    data_options_init(&settings->data);
    settings->out = "evaluation";
    settings->threshold = THRESHOLD_DEFAULT;
    settings->tta = 1;
    args_group(args, "Measuring");
    args_text(args, "out", 'o', "DIR", &settings->out, "folder for tables and curves");
    args_double_or(args, "threshold", "model", &settings->threshold, 0, 1,
                   "a pixel is vessel from this probability on; 0.5 is what published figures use; model: the threshold "
                   "stored in the model, the mean of several");
    args_choice(args, "tta", view_counts, &settings->tta, "average over mirrored (2, 4) and turned (8) views (also --views)");
    args_alias(args, "views", "tta");
    args_text(args, "predictions", 0, "DIR", &settings->predictions,
              "instead of MODEL: a folder with maps, NAME.png or NAME-probability.png for each image");
    args_flag(args, "hessian", &settings->hessian,
              "instead of MODEL: a filter for dark lines (second derivatives at several scales); it finds as many vessel "
              "pixels as the labels of the training images have, with --all 11 %");
    args_flag(args, "pictures", &settings->pictures, "also write a map and an error picture of each image");
    data_arguments(args, &settings->data, 1);
    args_common(args, &settings->threads, &settings->quiet);
}

/* A stored text that is no threshold matters only to those who ask for it. */
static int find_threshold(struct run *run, const char *list, struct problem *problem) {
    double *threshold = &run->settings.threshold;
    if (threshold_stored(&run->stored_threshold, models_list(&run->models), run->models.count, problem))
        return isnan(*threshold) ? -1 : (problem->text[0] = 0);
    if (isnan(*threshold)) {
        if (!(run->stored_threshold > 0))
            return problem_set(problem, "--threshold model: there is no threshold stored in %s", list);
        *threshold = run->stored_threshold;
    }
    return 0;
}

static int open_session(struct run *run, const char *list, struct problem *problem) {
    unetstar_session_options options;
    int error;
    if (run->named ? models_load(&run->models, run->launch.context, list, problem)
                   : models_load_builtin(&run->models, run->launch.context, problem))
        return -1;
    unetstar_session_options_init(&options, sizeof options);
    options.views = run->settings.tta;
    error = unetstar_session_create(&run->session, run->launch.context, models_list(&run->models), run->models.count,
                                    &options);
    return error ? problem_from_library(problem, list, error) : find_threshold(run, list, problem);
}

/* The threshold of the filter: from the images that do not test. */
static int learn_baseline(struct run *run, struct problem *problem) {
    const struct settings *settings = &run->settings;
    return baseline_learn(&run->baseline, run->launch.context, &run->collection, &run->split.train,
                          settings->data.all ? BASELINE_SHARE : 0, run->launch.cancel, settings->quiet, problem);
}

static int measure(struct run *run, const char *what, struct problem *problem) {
    const struct settings *settings = &run->settings;
    const struct indices *tested = settings->data.all ? &run->split.train : &run->split.test;
    struct scoring scoring = {0};
    struct table table = {0};
    unetstar_metrics *metrics = NULL;
    char *data = must_format("%s; %s", run->data_title, run->split.text);
    int result;
    scoring.context = run->launch.context;
    scoring.session = run->session;
    scoring.predictions = settings->predictions;
    if (settings->hessian) {
        scoring.map = baseline_map;
        scoring.map_user = &run->baseline;
    }
    scoring.cancel = run->launch.cancel;
    scoring.threshold = settings->threshold;
    scoring.quiet = settings->quiet;
    scoring.observer = settings->data.observer != NULL;
    scoring.pictures = settings->pictures ? settings->out : NULL;
    table.program = program;
    table.data = data;
    table.model = what;
    table.stored_threshold = run->stored_threshold;
    if (settings->data.observer)
        table.observer_name = must_copy(settings->data.observer);
    if (!settings->quiet)
        fprintf(stderr, "%s: %lu images of %s\n", what, (unsigned long)tested->count, data);
    result = score_samples(&scoring, &run->collection, tested, &table, &metrics, problem);
    if (!result)
        result = report_write(settings->out, &table, metrics, problem);
    if (!result)
        table_print(&table, stdout);
    if (!result && fflush(stdout))
        result = problem_set(problem, "cannot write to the standard output");
    if (!result && !settings->quiet)
        fprintf(stderr, "Wrote metrics.csv, metrics.json, roc.svg and pr.svg into %s.\n", settings->out);
    table_free(&table);
    unetstar_metrics_destroy(metrics);
    free(data);
    return result;
}

static int run_program(struct run *run, const struct args *args, struct problem *problem) {
    const struct settings *settings = &run->settings;
    int with_model = !settings->predictions && !settings->hessian;
    const char *what = settings->predictions ? settings->predictions
                       : settings->hessian   ? "Hessian filter"
                       : run->named          ? args->operands[0]
                                             : "built-in model";
    if (launch_start(&run->launch, settings->threads, problem) || make_output_folder(settings->out, problem))
        return -1;
    if (with_model && open_session(run, what, problem))
        return -1;
    if (collection_open(&run->collection, &settings->data, args->operands + run->named,
                        args->operand_count - run->named, problem) ||
        split_make(&run->split, &run->collection, &settings->data, problem))
        return -1;
    run->data_title = collection_title(&run->collection);
    if (settings->hessian && learn_baseline(run, problem))
        return -1;
    return measure(run, what, problem);
}

static int read_command(struct args *args, struct run *run, int argc, char **argv, struct problem *problem) {
    struct settings *settings = &run->settings;
    int without;
    settings_arguments(args, settings);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    without = settings->predictions || settings->hessian;
    run->named = !without && args->operand_count && models_named(args->operands[0]);
    if (args->operand_count == run->named && !settings->data.synthetic)
        return problem_set(problem, "name a folder with a data set (--help shows how)");
    if (settings->predictions && settings->hessian)
        return problem_set(problem, "--predictions and --hessian: only one can be measured");
    if (without && isnan(settings->threshold))
        return problem_set(problem, "--threshold model needs a model; with --predictions or --hessian give a number");
    if (without && settings->tta > 1)
        return problem_set(problem, "--tta %d needs a model; %s has no views to average", (int)settings->tta,
                           settings->predictions ? "--predictions" : "--hessian");
    if (settings->predictions && !is_folder(settings->predictions))
        return problem_set(problem, "--predictions %s: no such folder", settings->predictions);
    return 0;
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct run run = {0};
    struct problem problem = {""};
    int code = EXIT_FINE;
    args.program = program;
    args.usage = "[MODEL[,MODEL...]] DATA... [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (read_command(&args, &run, argc, argv, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else if (run_program(&run, &args, &problem))
        code = EXIT_FAILED;
    code = launch_verdict(&run.launch, program, code, &problem);
    unetstar_session_destroy(run.session);
    models_free(&run.models);
    launch_end(&run.launch);
    split_free(&run.split);
    collection_free(&run.collection);
    free(run.data_title);
    args_free(&args);
    return code;
}
