/* cell.c - one cell: a training, its test, its record. A stopped one leaves a checkpoint in the work folder. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bar.h"
#include "common/loader.h"
#include "compare.h"

struct work {
    const struct plan *plan;
    const struct launch *launch;
    struct settings settings; /* of this cell */
    struct record record;
    struct split split;
    struct indices validation;
    unetstar_dataset *training_set, *validation_set;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    char *checkpoint, *log, *facts, *pictures; /* pictures: folder, NULL: none */
    cell_progress progress;
    void *user;
    double epoch_started;
    int pause, resumed;
};

/* Of a block at one pixel of its stage. */
static double block_multiply_adds(const unetstar_model_options *options, double in, double out) {
    const double branches = 3 * (double)options->block_expansion * out * out; /* two and their way back, 1x1 */
    if (options->block == UNETSTAR_BLOCK_STAR_DEPTHWISE)
        return in * out + 9 * out + branches;
    if (options->block == UNETSTAR_BLOCK_STAR)
        return 9 * in * out + branches;
    return 9 * (in * out + out * out);
}

double multiply_adds_per_pixel(const unetstar_model_options *options) {
    double widths[5], total = 0, share = 1;
    int concat = options->fusion == UNETSTAR_FUSION_CONCAT ? 2 : 1, k;
    double in = (double)options->in_channels;
    for (k = 0; k < options->levels; k++) {
        widths[k] = floor(64 * (double)(1 << k) * options->channel_multiplier * options->narrow);
        total += share * block_multiply_adds(options, in, widths[k]);
        in = widths[k];
        share /= 4;
    }
    /* Decoder stages, from the lowest resolution; the first has no fusion before it. */
    for (k = options->levels - 1; k >= 0; k--) {
        double out = widths[k];
        total += share * block_multiply_adds(options, in, out);
        if (options->upsampling == UNETSTAR_UPSAMPLING_TRANSPOSED)
            total += share * 4 * out * out; /* a 2x2 kernel, stride 2: four outputs of an input pixel */
        in = out * concat;
        share *= 4;
    }
    if (options->full_resolution_head)
        total += block_multiply_adds(options, in, widths[0]);
    return total + widths[0] * (double)options->classes;
}

void record_expect(struct record *record, const struct plan *plan, const struct cell *cell, const struct split *split,
                   const struct indices *validation) {
    size_t i;
    memset(record, 0, sizeof *record);
    record->cell = *cell;
    record->numerics = (int)unetstar_numerics_version();
    record->version = must_copy(unetstar_version_string());
    record->data = must_copy(plan->data_title);
    record->split = must_copy(split->text);
    for (i = 0; i < plan->options.count; i++)
        facts_add(&record->options, plan->options.names[i], plan->options.values[i]);
    for (i = 0; i < split->train.count; i++)
        names_add(&record->train, plan->collection.items[split->train.items[i]].name);
    for (i = 0; i < validation->count; i++)
        names_add(&record->validate, plan->collection.items[validation->items[i]].name);
    record->image_count = split->test.count;
    record->images = must_allocate(split->test.count, sizeof *record->images);
    for (i = 0; i < split->test.count; i++)
        record->images[i].name = must_copy(plan->collection.items[split->test.items[i]].name);
}

/* ---- Setting up ---- */

static int load(struct work *work, struct problem *problem) {
    const struct plan *plan = work->plan;
    const unetstar_cancel *cancel = work->launch->cancel;
    if (load_samples(&work->training_set, work->launch->context, &plan->collection, &work->split.train, cancel, "", 1,
                     problem))
        return -1;
    if (!work->validation.count)
        return 0;
    return load_samples(&work->validation_set, work->launch->context, &plan->collection, &work->validation, cancel, "",
                        1, problem);
}

static int build(struct work *work, struct problem *problem) {
    struct settings *settings = &work->settings;
    int error;
    if ((error = unetstar_model_create(&work->model, work->launch->context, &settings->model)) ||
        (error = unetstar_model_set_prep(work->model, &settings->prep)) ||
        (error = unetstar_optimizer_create(&work->optimizer, work->model, &settings->optimizer)) ||
        (error = unetstar_trainer_create(&work->trainer, work->model, work->optimizer, &settings->trainer,
                                         &settings->loss)))
        return problem_from_library(problem, NULL, error);
    work->record.parameters = (long long)unetstar_model_parameter_count(work->model);
    work->record.multiply_adds = (long long)(multiply_adds_per_pixel(&settings->model) * settings->trainer.patch_width *
                                                 settings->trainer.patch_height +
                                             0.5);
    return 0;
}

/* What a checkpoint must have been made with, as text. */
static char *describe(const struct record *record) {
    char *text = must_format("results %d\ndata %s\nsplit %s\n", record->numerics, record->data, record->split);
    size_t i;
    for (i = 0; i < record->options.count + record->train.count + record->validate.count; i++) {
        size_t names = i - record->options.count;
        char *longer;
        if (i < record->options.count)
            longer = must_format("%s%s %s\n", text, record->options.names[i], record->options.values[i]);
        else
            longer = must_format("%s%s\n", text,
                                 names < record->train.count ? record->train.items[names]
                                                             : record->validate.items[names - record->train.count]);
        free(text);
        text = longer;
    }
    return text;
}

static int same_text(const char *path, const char *text) {
    struct problem ignored;
    unsigned char *data;
    size_t size;
    int same;
    if (read_file(path, (size_t)1 << 24, &data, &size, &ignored))
        return 0;
    same = size == strlen(text) && !memcmp(data, text, size);
    free(data);
    return same;
}

/* Takes up a stopped training, or clears the place for a new one. */
static int take_up(struct work *work, struct problem *problem) {
    char *text = describe(&work->record);
    struct outfile file;
    int result = 0;
    if (same_text(work->facts, text) && path_exists(work->checkpoint) &&
        !history_read(&work->record.history, work->log, problem) &&
        !unetstar_trainer_load(work->trainer, work->checkpoint))
        work->resumed = 1;
    else {
        history_free(&work->record.history);
        remove(work->checkpoint);
        remove(work->log);
        result = outfile_open(&file, work->facts, problem);
        if (!result) {
            fputs(text, file.stream);
            result = outfile_commit(&file, problem);
        }
    }
    free(text);
    return result;
}

/* ---- Training ---- */

static int on_progress(void *user, const unetstar_progress *progress) {
    struct work *work = user;
    int64_t every = work->settings.checkpoint_every;
    double within = progress->total ? (double)progress->done / (double)progress->total : 0;
    char text[64];
    if (progress->phase == UNETSTAR_PHASE_EPOCH) {
        double now = clock_seconds();
        struct epoch epoch;
        epoch.number = progress->epoch + 1;
        epoch.loss = progress->loss;
        epoch.metric = progress->metric;
        epoch.best = progress->best_metric;
        epoch.is_best = progress->is_best;
        epoch.learning_rate = progress->learning_rate;
        epoch.images_per_second = progress->images_per_second;
        epoch.seconds = now - work->epoch_started;
        work->epoch_started = now;
        history_add(&work->record.history, &epoch);
        work->pause = every && (progress->epoch + 1) % every == 0;
        return work->pause;
    }
    if (progress->phase == UNETSTAR_PHASE_VALIDATE)
        within = 1;
    snprintf(text, sizeof text, "epoch %lld/%lld", (long long)progress->epoch + 1, (long long)progress->epochs);
    /* The last twentieth is the test. */
    return work->progress(work->user, 0.95 * ((double)progress->epoch + within) / (double)progress->epochs, text);
}

/* The log first: a checkpoint without its last lines would lose them, the other way round they are repeated. */
static int save(struct work *work, struct problem *problem) {
    int error;
    if (history_write_csv(&work->record.history, work->log, problem))
        return -1;
    error = unetstar_trainer_save(work->trainer, work->checkpoint);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

static int train(struct work *work, struct problem *problem) {
    int may_have_ended = work->resumed;
    work->epoch_started = clock_seconds();
    for (;;) {
        int error;
        work->pause = 0;
        error = unetstar_trainer_fit(work->trainer, work->training_set, work->validation_set, work->launch->cancel,
                                     on_progress, work);
        if (!error || (error == UNETSTAR_ESTATE && may_have_ended))
            return save(work, problem) ? EXIT_FAILED : EXIT_FINE;
        if (error != UNETSTAR_ECANCELED) {
            problem_from_library(problem, NULL, error);
            return EXIT_FAILED;
        }
        if (save(work, problem) && !work->pause)
            return EXIT_FAILED; /* between epochs a full disk may pass */
        if (!work->pause || unetstar_cancel_requested(work->launch->cancel))
            return EXIT_INTERRUPTED;
        may_have_ended = 1;
    }
}

/* ---- Testing ---- */

static int measure(struct work *work, struct problem *problem) {
    struct scoring scoring = {0};
    unetstar_session_options options;
    const unetstar_model *models[1];
    int result;
    unetstar_session_options_init(&options, sizeof options);
    options.views = work->settings.tta;
    models[0] = work->model;
    result = unetstar_session_create(&scoring.session, work->launch->context, models, 1, &options);
    if (result)
        return problem_from_library(problem, NULL, result);
    scoring.context = work->launch->context;
    scoring.cancel = work->launch->cancel;
    scoring.pictures = work->pictures;
    result = record_measure(&work->record, &scoring, work->plan, &work->split.test, work->progress, work->user, problem);
    unetstar_session_destroy(scoring.session);
    return result;
}

/* ---- A cell ---- */

static int keep_model(struct work *work, struct problem *problem) {
    char *name = cell_name(&work->record.cell), *file = must_format("%s.safetensors", name);
    char *path = path_join(work->plan->models, file);
    int error = unetstar_model_save(work->model, path), result = 0;
    if (error)
        result = problem_from_library(problem, NULL, error);
    free(path);
    free(file);
    free(name);
    return result;
}

static void finish_record(struct work *work, double test_seconds) {
    struct record *record = &work->record;
    const struct history *history = &record->history;
    size_t i;
    record->epochs = history->count ? history->items[history->count - 1].number : 0;
    record->best_epoch = record->epochs;
    for (i = 0; i < history->count; i++) {
        record->train_seconds += history->items[i].seconds;
        if (history->items[i].is_best)
            record->best_epoch = history->items[i].number;
    }
    record->test_seconds = test_seconds;
    record->threads = (int)unetstar_context_threads(work->launch->context);
}

static int run(struct work *work, char summary[160], struct problem *problem) {
    char *path = record_path(work->plan, &work->record.cell);
    double started;
    int code = EXIT_FAILED, error;
    if (!load(work, problem) && !build(work, problem) && !take_up(work, problem))
        code = train(work, problem);
    if (code == EXIT_FINE && work->pictures && make_output_folder(work->pictures, problem))
        code = EXIT_FAILED;
    if (code == EXIT_FINE) {
        started = clock_seconds();
        if ((error = unetstar_trainer_use_best(work->trainer))) {
            problem_from_library(problem, NULL, error);
            code = EXIT_FAILED;
        } else if (measure(work, problem) || (work->plan->models && keep_model(work, problem)))
            code = EXIT_FAILED;
        finish_record(work, clock_seconds() - started);
    }
    if (code == EXIT_FINE && record_write(&work->record, path, problem))
        code = EXIT_FAILED;
    if (code == EXIT_FINE) {
        double tp = (double)work->record.counts[REGION_FIELD][TP];
        double wrong = (double)(work->record.counts[REGION_FIELD][FP] + work->record.counts[REGION_FIELD][FN]);
        snprintf(summary, 160, "ROC AUC %.4f, F1 %.4f", work->record.roc[REGION_FIELD],
                 tp > 0 ? 2 * tp / (2 * tp + wrong) : 0.0);
        remove(work->checkpoint);
        remove(work->log);
        remove(work->facts);
    }
    free(path);
    return code;
}

int cell_run(const struct plan *plan, const struct cell *cell, const struct launch *launch, cell_progress progress,
             void *user, char summary[160], struct problem *problem) {
    struct work work;
    char *name = cell_name(cell), *base = path_join(plan->work_path, name);
    int code = EXIT_FAILED;
    memset(&work, 0, sizeof work);
    work.plan = plan;
    work.launch = launch;
    work.settings = plan->settings;
    work.settings.model.fusion = cell->fusion;
    work.settings.model.activation = cell->activation;
    work.settings.model.seed = work.settings.trainer.seed = work.settings.seed = cell->seed;
    work.progress = progress;
    work.user = user;
    work.checkpoint = must_format("%s.safetensors", base);
    work.log = must_format("%s.csv", base);
    work.facts = must_format("%s.txt", base);
    work.pictures = plan->settings.pictures ? path_join(plan->pictures_path, name) : NULL;
    if (!plan_split(plan, cell, &work.split, &work.validation, problem)) {
        record_expect(&work.record, plan, cell, &work.split, &work.validation);
        code = run(&work, summary, problem);
    }
    if (code == EXIT_FAILED && unetstar_cancel_requested(launch->cancel))
        code = EXIT_INTERRUPTED;
    unetstar_trainer_destroy(work.trainer);
    unetstar_optimizer_destroy(work.optimizer);
    unetstar_model_destroy(work.model);
    unetstar_dataset_destroy(work.training_set);
    unetstar_dataset_destroy(work.validation_set);
    record_free(&work.record);
    split_free(&work.split);
    indices_free(&work.validation);
    free(work.checkpoint);
    free(work.log);
    free(work.facts);
    free(work.pictures);
    free(base);
    free(name);
    return code;
}
