/* train.c - unetstar-train: trains a network on a data set, watches it, and measures it on images it has not seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/bar.h"
#include "common/calibration.h"
#include "common/files.h"
#include "common/history.h"
#include "common/launch.h"
#include "common/loader.h"
#include "common/score.h"
#include "common/settings.h"
#include "common/threshold.h"

static const char program[] = "unetstar-train";

static const char about[] =
    "Trains a small U-Net to find the vessels in retinal photographs, on the CPU, and measures it on images kept\n"
    "apart. The result is DIR/model.safetensors, for unetstar-segment and unetstar-evaluate.\n"
    "\n"
    "DATA is a folder with STARE (stare-images, labels-ah), DRIVE (training, test), CHASE_DB1 (Image_01L.jpg, ...),\n"
    "HRF (images, manual1, mask) or FIVES (train, test) as they are distributed, or one of your own with the\n"
    "sub-folders images, labels and, if you have field-of-view masks, masks, matched by file name. Several may be\n"
    "given. Ctrl-C stops after the running step and saves; --resume goes on.";

static const char examples[] = "  unetstar-train --synthetic 12 --epochs 3           a first try, without any data\n"
                               "  unetstar-train STARE -o stare --activation relu    the article's protocol on STARE\n"
                               "  unetstar-train STARE -o stare --activation relu --resume\n"
                               "  unetstar-train DRIVE CHASE -o both --fusion sum --validation images\n"
                               "  unetstar-train mine --labels labels_ah --folds 5 --fold 0 --patch 64 --batch 16";

static const char closing[] =
    "Files in DIR: model.safetensors (best weights), checkpoint.safetensors (to resume), log.csv and curves.svg\n"
    "(epoch by epoch), metrics.csv, metrics.json, roc.svg, pr.svg (test images), test/ (their pictures).\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

/* All that one run owns. */
struct run {
    struct settings settings;
    struct launch launch;
    struct collection collection;
    struct split split;
    struct indices validation;
    char *data_title;
    unetstar_dataset *training_set, *validation_set;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    double stored_threshold; /* 0: none */
    char *checkpoint_path, *model_path, *log_path, *curves_path, *pictures_path;
    int argc;
    char **argv;
};

/* What the progress callback needs. */
struct watch {
    struct run *run;
    struct bar bar;
    struct history history;
    double epoch_started;
    int pause;            /* the callback stopped fit to let a checkpoint be saved */
    int log_failed;       /* the log could not be written; said once */
    long long last_epoch; /* the one in which a step was last seen, counted from 1 */
    long long last_step;
};

/* ---- Setting up ---- */

static int prepare_folder(struct run *run, struct problem *problem) {
    const struct settings *settings = &run->settings;
    int holds_training;
    run->checkpoint_path = path_join(settings->out, "checkpoint.safetensors");
    run->model_path = path_join(settings->out, "model.safetensors");
    run->log_path = path_join(settings->out, "log.csv");
    run->curves_path = path_join(settings->out, "curves.svg");
    run->pictures_path = path_join(settings->out, "test");
    if (settings->resume && !path_exists(run->checkpoint_path)) /* before a folder of a mistyped name is made */
        return problem_set(problem, "nothing to resume: there is no %s", run->checkpoint_path);
    if (make_output_folder(settings->out, problem))
        return -1;
    if (settings->pictures && !settings->data.all && make_output_folder(run->pictures_path, problem))
        return -1;
    holds_training = path_exists(run->checkpoint_path) || path_exists(run->model_path);
    if (!settings->resume && !settings->overwrite && holds_training)
        return problem_set(problem,
                           "%s holds a training already: --resume goes on with it, --overwrite replaces it, or "
                           "choose another --out",
                           settings->out);
    return 0;
}

/* Pairs files and shares them out; nothing is decoded yet. */
static int find_data(struct run *run, const struct args *args, struct problem *problem) {
    const struct settings *settings = &run->settings;
    if (collection_open(&run->collection, &settings->data, args->operands, args->operand_count, problem) ||
        split_make(&run->split, &run->collection, &settings->data, problem))
        return -1;
    if (!run->split.train.count)
        return problem_set(problem, "there is no image to train on");
    run->data_title = collection_title(&run->collection);
    if (settings->trainer.validation != UNETSTAR_VALIDATION_IMAGES)
        return 0;
    return split_validation(&run->split, &run->validation, (size_t)settings->validation_count, problem);
}

static void print_list(const struct run *run, const char *purpose, const struct indices *indices) {
    size_t i;
    for (i = 0; i < indices->count; i++) {
        const struct sample *sample = &run->collection.items[indices->items[i]];
        printf("%s\t%s\t%s\t%s\t%s\n", purpose, sample->name, sample->image ? sample->image : "-",
               sample->label ? sample->label : "-", sample->mask ? sample->mask : "-");
    }
}

static int load_data(struct run *run, struct problem *problem) {
    const struct settings *settings = &run->settings;
    if (load_samples(&run->training_set, run->launch.context, &run->collection, &run->split.train, run->launch.cancel,
                     "reading training images", settings->quiet, problem))
        return -1;
    if (run->validation.count &&
        load_samples(&run->validation_set, run->launch.context, &run->collection, &run->validation, run->launch.cancel,
                     "reading validation images", settings->quiet, problem))
        return -1;
    return check_samples(run->launch.context, &run->collection, &run->split.test, run->launch.cancel, settings->quiet,
                         problem);
}

static int build_trainer(struct run *run, struct problem *problem) {
    struct settings *settings = &run->settings;
    int error;
    if ((error = unetstar_model_create(&run->model, run->launch.context, &settings->model)) ||
        (error = unetstar_model_set_prep(run->model, &settings->prep)) ||
        (error = unetstar_model_set_meta(run->model, "training.data", run->data_title)) ||
        (error = unetstar_model_set_meta(run->model, "training.split", run->split.text)) ||
        (settings->description &&
         (error = unetstar_model_set_meta(run->model, "description", settings->description))) ||
        (error = unetstar_optimizer_create(&run->optimizer, run->model, &settings->optimizer)) ||
        (error =
             unetstar_trainer_create(&run->trainer, run->model, run->optimizer, &settings->trainer, &settings->loss)))
        return problem_from_library(problem, NULL, error);
    if (settings->resume && (error = unetstar_trainer_load(run->trainer, run->checkpoint_path)))
        return problem_from_library(problem, "cannot resume", error);
    return 0;
}

static void print_summary(const struct run *run) {
    const struct settings *settings = &run->settings;
    const unetstar_trainer_options *trainer = &settings->trainer;
    char network[256];
    if (settings->quiet)
        return;
    settings_describe_model(&settings->model, network, sizeof network);
    fprintf(stderr, "data     %s, %s: %lu train, %lu validate, %lu test\n", run->data_title, run->split.text,
            (unsigned long)run->split.train.count, (unsigned long)run->validation.count,
            (unsigned long)run->split.test.count);
    fprintf(stderr, "network  %s: %lld parameters\n", network, (long long)unetstar_model_parameter_count(run->model));
    fprintf(stderr, "training %lld epochs of %lld steps of %d patches of %dx%d, seed %llu\n",
            (long long)trainer->epochs, (long long)trainer->steps_per_epoch, (int)trainer->batch_size,
            (int)trainer->patch_width, (int)trainer->patch_height, (unsigned long long)settings->seed);
    fprintf(stderr, "machine  %s, %d thread%s, %.0f MB for training\n", unetstar_context_isa(run->launch.context),
            (int)unetstar_context_threads(run->launch.context),
            unetstar_context_threads(run->launch.context) == 1 ? "" : "s",
            (double)unetstar_trainer_workspace_size(run->trainer) / 1e6);
}

/* ---- The training loop ---- */

static void warn(struct watch *watch, const struct problem *problem) {
    bar_clear(&watch->bar);
    problem_print("unetstar-train: warning", problem);
}

static void show_step(struct watch *watch, const unetstar_progress *progress) {
    const struct settings *settings = &watch->run->settings;
    double within = progress->total ? (double)progress->done / (double)progress->total : 0;
    int validating = progress->phase == UNETSTAR_PHASE_VALIDATE;
    char text[160], metric[64] = "";
    if (!validating) {
        watch->last_epoch = progress->epoch + 1;
        watch->last_step = progress->done;
    }
    snprintf(text, sizeof text, "epoch %*lld/%lld", settings->trainer.epochs > 99 ? 3 : 2,
             (long long)progress->epoch + 1, (long long)progress->epochs);
    bar_label(&watch->bar, text);
    if (progress->best_metric > -1e300)
        snprintf(metric, sizeof metric, "  best %s %.4f", settings_metric_name(settings->trainer.metric),
                 progress->best_metric);
    if (validating)
        snprintf(text, sizeof text, "validating %lld/%lld%s", (long long)progress->done, (long long)progress->total,
                 metric);
    else
        snprintf(text, sizeof text, "loss %.4f%s  %.0f images/s", progress->loss, metric, progress->images_per_second);
    bar_update(&watch->bar, ((double)progress->epoch + (validating ? 1 : within)) / (double)progress->epochs, text);
}

static void write_logs(struct watch *watch) {
    const struct run *run = watch->run;
    struct problem problem;
    if (history_write_csv(&watch->history, run->log_path, &problem) ||
        history_write_svg(&watch->history, settings_metric_name(run->settings.trainer.metric), run->curves_path,
                          &problem)) {
        if (!watch->log_failed)
            warn(watch, &problem);
        watch->log_failed = 1;
    }
}

static void end_epoch(struct watch *watch, const unetstar_progress *progress) {
    const struct settings *settings = &watch->run->settings;
    double now = clock_seconds();
    struct epoch epoch;
    char line[256], metric[96] = "";
    epoch.number = progress->epoch + 1;
    epoch.loss = progress->loss;
    epoch.metric = progress->metric;
    epoch.best = progress->best_metric;
    epoch.is_best = progress->is_best;
    epoch.learning_rate = progress->learning_rate;
    epoch.images_per_second = progress->images_per_second;
    epoch.seconds = now - watch->epoch_started;
    watch->epoch_started = now;
    history_add(&watch->history, &epoch);
    if (progress->metric > -1e300)
        snprintf(metric, sizeof metric, "  %s %.4f%s", settings_metric_name(settings->trainer.metric), progress->metric,
                 progress->is_best ? " (best)" : "       ");
    snprintf(line, sizeof line, "epoch %*lld/%lld  loss %.4f%s  %.0f images/s  %.1f s",
             settings->trainer.epochs > 99 ? 3 : 2, epoch.number, (long long)progress->epochs, epoch.loss, metric,
             epoch.images_per_second, epoch.seconds);
    bar_say(&watch->bar, line);
    write_logs(watch);
}

/* A trainer must not be used from its own callback, so a checkpoint is saved between two calls of fit: the end of an
 * epoch stops the first, and the second goes on with the same bits. */
static int on_progress(void *user, const unetstar_progress *progress) {
    struct watch *watch = user;
    int64_t every = watch->run->settings.checkpoint_every;
    if (progress->phase == UNETSTAR_PHASE_EPOCH) {
        end_epoch(watch, progress);
        watch->pause = every && (progress->epoch + 1) % every == 0;
        return watch->pause;
    }
    show_step(watch, progress);
    return 0;
}

static int save_checkpoint(struct run *run, struct problem *problem) {
    int error = unetstar_trainer_save(run->trainer, run->checkpoint_path);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

/* The command that goes on, quoted for a shell. */
static void print_resume_command(const struct run *run) {
    int i;
    fputs("Go on with:", stderr);
    for (i = 0; i < run->argc; i++) {
        const char *word = run->argv[i], *c;
        if (i && (!strcmp(word, "--resume") || !strcmp(word, "--overwrite")))
            continue;
        if (word[0] &&
            strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,+:@%") == strlen(word)) {
            fprintf(stderr, " %s", word);
            continue;
        }
        fputs(" '", stderr);
        for (c = word; *c; c++)
            if (*c == '\'')
                fputs("'\\''", stderr);
            else
                fputc(*c, stderr);
        fputc('\'', stderr);
    }
    fputs(" --resume\n", stderr);
}

static int stop_training(struct watch *watch, struct problem *problem) {
    struct run *run = watch->run;
    bar_clear(&watch->bar);
    if (save_checkpoint(run, problem))
        return EXIT_FAILED;
    if (watch->last_epoch)
        fprintf(stderr, "Stopped after step %lld of epoch %lld; saved in %s.\n", watch->last_step, watch->last_epoch,
                run->checkpoint_path);
    else
        fprintf(stderr, "Stopped before the next step; saved in %s.\n", run->checkpoint_path);
    print_resume_command(run);
    return EXIT_INTERRUPTED;
}

/* Runs fit until the training has ended. Returns an exit code. */
static int train(struct watch *watch, struct problem *problem) {
    struct run *run = watch->run;
    int may_have_ended = run->settings.resume;
    for (;;) {
        int error;
        watch->pause = 0;
        error = unetstar_trainer_fit(run->trainer, run->training_set, run->validation_set, run->launch.cancel,
                                     on_progress, watch);
        if (unetstar_cancel_requested(run->launch.cancel))
            return stop_training(watch, problem);
        if (!error || (error == UNETSTAR_ESTATE && may_have_ended)) {
            bar_clear(&watch->bar);
            return EXIT_FINE;
        }
        if (error != UNETSTAR_ECANCELED || !watch->pause) {
            bar_clear(&watch->bar);
            problem_from_library(problem, NULL, error);
            return EXIT_FAILED;
        }
        may_have_ended = 1;
        /* A full disk now may be an emptier one after the next epoch: what has been learned is worth more than a stop.
         */
        if (save_checkpoint(run, problem))
            warn(watch, problem);
    }
}

/* ---- After the training ---- */

static int save_model(struct run *run, struct problem *problem) {
    int error;
    if (save_checkpoint(run, problem))
        return -1;
    if ((error = unetstar_trainer_use_best(run->trainer)) || (error = unetstar_model_save(run->model, run->model_path)))
        return problem_from_library(problem, NULL, error);
    unetstar_trainer_destroy(run->trainer); /* what follows segments images, in the memory that training needed */
    unetstar_optimizer_destroy(run->optimizer);
    run->trainer = NULL;
    run->optimizer = NULL;
    return 0;
}

/* The model is saved already: what happens here costs no training. */
static int store_threshold(struct run *run, struct problem *problem) {
    double threshold, f1;
    int error;
    if (threshold_choose(&threshold, &f1, run->launch.context, run->model, run->training_set, run->launch.cancel,
                         run->settings.quiet, problem))
        return -1;
    if (threshold > 0) {
        if (threshold_store(run->model, threshold, problem))
            return -1;
        error = unetstar_model_save(run->model, run->model_path);
        if (error)
            return problem_from_library(problem, NULL, error);
        run->stored_threshold = threshold;
    }
    if (!run->settings.quiet && threshold > 0)
        fprintf(stderr, "Threshold %.4g has the best F1 on the training images, %.4f; it is stored in the model.\n",
                threshold, f1);
    else if (!run->settings.quiet)
        fputs("No threshold is stored in the model: the training images have no best one between 0 and 1.\n", stderr);
    return 0;
}

static int calibrate(struct run *run, struct problem *problem) {
    int error;
    if (!run->settings.quiet)
        fputs("Calibrating the model for 8 bits.\n", stderr);
    if (calibrate_model(run->model, run->training_set, run->settings.calibration_images, run->launch.cancel, problem))
        return -1;
    error = unetstar_model_save(run->model, run->model_path);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

static int measure(struct run *run, struct problem *problem) {
    struct scoring scoring = {0};
    struct table table = {0};
    unetstar_session_options options;
    unetstar_session *session = NULL;
    unetstar_metrics *metrics = NULL;
    const unetstar_model *models[1];
    int result;
    unetstar_session_options_init(&options, sizeof options);
    options.views = run->settings.tta;
    models[0] = run->model;
    result = unetstar_session_create(&session, run->launch.context, models, 1, &options);
    if (result)
        return problem_from_library(problem, NULL, result);
    scoring.context = run->launch.context;
    scoring.session = session;
    scoring.cancel = run->launch.cancel;
    scoring.threshold = run->settings.threshold;
    scoring.quiet = run->settings.quiet;
    scoring.pictures = run->settings.pictures ? run->pictures_path : NULL;
    table.program = program;
    table.data = run->data_title;
    table.model = run->model_path;
    table.stored_threshold = run->stored_threshold;
    result = score_samples(&scoring, &run->collection, &run->split.test, &table, &metrics, problem);
    if (!result)
        result = report_write(run->settings.out, &table, metrics, problem);
    if (!result)
        table_print(&table, stdout);
    if (!result && fflush(stdout))
        result = problem_set(problem, "cannot write to the standard output");
    table_free(&table);
    unetstar_metrics_destroy(metrics);
    unetstar_session_destroy(session);
    return result;
}

static void free_run(struct run *run) {
    unetstar_trainer_destroy(run->trainer);
    unetstar_optimizer_destroy(run->optimizer);
    unetstar_model_destroy(run->model);
    unetstar_dataset_destroy(run->training_set);
    unetstar_dataset_destroy(run->validation_set);
    launch_end(&run->launch);
    split_free(&run->split);
    indices_free(&run->validation);
    collection_free(&run->collection);
    free(run->data_title);
    free(run->checkpoint_path);
    free(run->model_path);
    free(run->log_path);
    free(run->curves_path);
    free(run->pictures_path);
}

static int run_training(struct run *run, const struct args *args, struct problem *problem) {
    struct watch watch = {0};
    int code;
    if (find_data(run, args, problem))
        return EXIT_FAILED;
    if (run->settings.list) {
        print_list(run, "train", &run->split.train);
        print_list(run, "validate", &run->validation);
        print_list(run, "test", &run->split.test);
        return EXIT_FINE;
    }
    if (launch_start(&run->launch, run->settings.threads, problem) || prepare_folder(run, problem) ||
        load_data(run, problem) || build_trainer(run, problem))
        return EXIT_FAILED;
    print_summary(run);
    watch.run = run;
    watch.epoch_started = clock_seconds();
    if (run->settings.resume && history_read(&watch.history, run->log_path, problem))
        return EXIT_FAILED;
    bar_start(&watch.bar, "training", run->settings.quiet);
    code = train(&watch, problem);
    if (code == EXIT_FINE)
        code = save_model(run, problem) ? EXIT_FAILED : EXIT_FINE;
    if (code == EXIT_FINE && run->settings.choose_threshold)
        code = store_threshold(run, problem) ? EXIT_FAILED : EXIT_FINE;
    if (code == EXIT_FINE && run->settings.calibration_images)
        code = calibrate(run, problem) ? EXIT_FAILED : EXIT_FINE;
    if (code == EXIT_FINE && run->split.test.count)
        code = measure(run, problem) ? EXIT_FAILED : EXIT_FINE;
    if (code == EXIT_FINE && !run->settings.quiet)
        fprintf(stderr, "Wrote %s, curves and tables beside it%s.\n", run->model_path,
                run->settings.pictures && run->split.test.count ? ", pictures in test/" : "");
    history_free(&watch.history);
    return code;
}

/* Presets change the defaults, so the command line is read twice: for the preset, then over its defaults. */
static int read_command(struct run *run, struct args *args, struct problem *problem) {
    int pass;
    for (pass = 0; pass < 2; pass++) {
        int32_t preset = pass ? run->settings.preset : PRESET_ORIGINAL;
        settings_init(&run->settings, preset);
        args->count = 0;
        settings_arguments(args, &run->settings);
        if (args_parse(args, run->argc, run->argv, problem))
            return -1;
    }
    if (args->help || args->version)
        return 0;
    if (!args->operand_count && !run->settings.data.synthetic)
        return problem_set(problem, "name a folder with a data set, or try --synthetic 12 (--help shows more)");
    if (run->settings.resume && run->settings.overwrite)
        return problem_set(problem, "--resume and --overwrite exclude each other");
    return settings_finish(&run->settings, problem);
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct run run = {0};
    struct problem problem = {""};
    int code = EXIT_FINE;
    args.program = program;
    args.usage = "DATA... [options]   or   unetstar-train --synthetic N [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    run.argc = argc;
    run.argv = argv;
    if (read_command(&run, &args, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else
        code = run_training(&run, &args, &problem);
    code = launch_verdict(&run.launch, program, code, &problem);
    free_run(&run);
    args_free(&args);
    return code;
}
