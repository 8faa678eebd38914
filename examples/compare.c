/* compare.c - unetstar-compare: every fusion with every activation on every fold with every seed, and a report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/launch.h"
#include "common/loader.h"
#include "compare.h"

static const char program[] = "unetstar-compare";

static const char about[] =
    "Compares what happens to a U-Net when its skip connections are fused by sum, product (star) or concatenation,\n"
    "with and without activations: it trains and tests every combination on every fold and with every seed, as\n"
    "unetstar-train does with the same options, and writes one report. DATA is a data set in one of the forms\n"
    "unetstar-train reads. Each finished training is kept as a small record; the same command repeats none, so it\n"
    "may be stopped (Ctrl-C) and given again, also with more seeds, folds or fusions.";

static const char examples[] =
    "  unetstar-compare --synthetic 8 --epochs 3 --narrow 0.125 --folds 2    a first try, without any data\n"
    "  unetstar-compare STARE -o stare --seed 2024,2025,2026                  the article's question, three seeds\n"
    "  unetstar-compare STARE -o stare --fold 2 --jobs 2 --threads 1          the article's own fold, two at a time\n"
    "  unetstar-compare DRIVE -o drive --fold own --fusion sum,star,concat --activation none,relu,silu\n"
    "  unetstar-compare --report-only -o stare                                the report again, from the records";

static const char closing[] =
    "Files in DIR: report.html (one page that needs no other file), tables.csv, paired.csv, cost.csv, report.json;\n"
    "records/ (one JSON file a training), records/work/ (checkpoints of trainings that were stopped), pictures/ (maps and\n"
    "errors of the test images).\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

/* Options of unetstar-train that mean nothing here, or are set cell by cell. */
static const char *const left_out[] = {"Most used", "out",
                                       "preset",    "resume",
                                       "overwrite", "list",
                                       "fusion",    "activation",
                                       "seed",      "fold",
                                       "all",
                                       "threshold", "store-threshold",
                                       "calibrate", "After the training"};
/* Options that do not change a result. */
static const char *const no_facts[] = {
    "out",   "records", "jobs",   "threads",    "quiet", "help", "version",          "report-only",
    "again", "times",   "pictures", "models", "fusion", "activation", "fold",  "seed", "checkpoint-every", "layout"};

static int listed(const char *name, const char *const *list, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!strcmp(name, list[i]))
            return 1;
    return 0;
}

/* ---- The command line ---- */

static void compare_arguments(struct args *args, struct plan *plan) {
    struct args train = {0};
    int i;
    args_group(args, "The matrix");
    args_text(args, "fusion", 0, "LIST", &plan->fusion_text, "out of sum, star, concat");
    args_text(args, "activation", 0, "LIST", &plan->activation_text,
              "out of none, relu, leaky-relu, relu6, silu, gelu");
    args_text(args, "fold", 0, "LIST", &plan->fold_text,
              "folds that test in turn, counted from 0; all; own: the data set's own train and test folders");
    args_text(args, "seed", 0, "LIST", &plan->seed_text, "of weights, patches, augmentation and dropout");
    args_group(args, "Files and running");
    args_text(args, "out", 'o', "DIR", &plan->out, "folder for the report");
    args_text(args, "records", 0, "DIR", &plan->records, "folder for the records; by default DIR/records");
    args_text(args, "models", 0, "DIR", &plan->models, "keep each finished cell's model in this folder");
    args_int32(args, "jobs", &plan->jobs, 1, 256,
               "trainings at once; --threads is then of each, and 0 shares the CPUs out");
    args_flag(args, "report-only", &plan->report_only, "train nothing: a report of all records there are");
    args_flag(args, "again", &plan->again,
              "repeat cells whose records are of other options, images or results versions, instead of refusing");
    args_bool(args, "times", &plan->times,
              "show in the report how long things took; all else is the same in every run");
    train.program = args->program;
    settings_arguments(&train, &plan->settings);
    for (i = 0; i < (int)(sizeof left_out / sizeof left_out[0]); i++)
        args_remove(&train, left_out[i]);
    for (i = 0; i < train.count && args->count < ARGS_MAX; i++) {
        struct arg item = train.items[i];
        if (item.value == &train.help)
            item.value = &args->help;
        if (item.value == &train.version)
            item.value = &args->version;
        args->items[args->count++] = item;
    }
}

/* The words of "a,b,c", one by one; NULL at the end. *rest moves on; the word is the caller's to free. */
static char *next_word(const char **rest) {
    size_t length;
    char *word;
    if (!*rest)
        return NULL;
    length = strcspn(*rest, ",");
    word = must_allocate(length + 1, 1);
    memcpy(word, *rest, length);
    *rest = (*rest)[length] ? *rest + length + 1 : NULL;
    return word;
}

static int axis_take(struct axis32 *axis, int32_t value, const char *option, const char *word,
                     struct problem *problem) {
    size_t i;
    for (i = 0; i < axis->count; i++)
        if (axis->items[i] == value)
            return problem_set(problem, "--%s: %s stands there twice", option, word);
    if (axis->count == LIST_MAX)
        return problem_set(problem, "--%s: at most %d", option, (int)LIST_MAX);
    axis->items[axis->count++] = value;
    return 0;
}

static int read_choices(struct axis32 *axis, const char *option, const struct choice *choices, const char *text,
                        struct problem *problem) {
    const char *rest = text;
    char *word;
    int result = 0;
    while (!result && (word = next_word(&rest))) {
        const struct choice *found = choices;
        char list[256] = "";
        for (; found->name && strcmp(found->name, word) != 0; found++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", found->name);
        }
        result = found->name ? axis_take(axis, found->value, option, word, problem)
                             : problem_set(problem, "--%s %s: must be out of %s", option, word, list);
        free(word);
    }
    return result;
}

static int read_folds(struct axis32 *axis, const struct plan *plan, struct problem *problem) {
    const char *rest = plan->fold_text;
    int32_t folds = plan->settings.data.folds, k;
    char *word;
    int result = 0;
    if (!strcmp(plan->fold_text, "all")) {
        if (folds > LIST_MAX)
            return problem_set(problem, "--folds %d: at most %d here", (int)folds, (int)LIST_MAX);
        for (k = 0; k < folds; k++)
            axis->items[axis->count++] = k;
        return 0;
    }
    if (!strcmp(plan->fold_text, "own"))
        return axis_take(axis, FOLD_OWN, "fold", "own", problem);
    while (!result && (word = next_word(&rest))) {
        char *end;
        long value = strtol(word, &end, 10);
        if (end == word || *end)
            result = problem_set(problem, "--fold %s: numbers of folds with commas between them, all, or own", word);
        else if (value < 0 || value >= folds)
            result = problem_set(problem, "--fold %s: with --folds %d it must be from 0 to %d", word, (int)folds,
                                 (int)folds - 1);
        else
            result = axis_take(axis, (int32_t)value, "fold", word, problem);
        free(word);
    }
    return result;
}

static int read_seeds(uint64_t seeds[LIST_MAX], size_t *count, const char *text, struct problem *problem) {
    const char *rest = text;
    char *word;
    int result = 0;
    size_t i;
    while (!result && (word = next_word(&rest))) {
        char *end;
        unsigned long long value;
        errno = 0;
        value = strtoull(word, &end, 10);
        if (end == word || *end || errno || word[0] == '-')
            result = problem_set(problem, "--seed %s: whole numbers of 0 or more with commas between them", word);
        for (i = 0; i < *count && !result; i++)
            if (seeds[i] == value)
                result = problem_set(problem, "--seed: %s stands there twice", word);
        if (!result && *count == LIST_MAX)
            result = problem_set(problem, "--seed: at most %d", (int)LIST_MAX);
        if (!result)
            seeds[(*count)++] = value;
        free(word);
    }
    return result;
}

/* Seed by seed and fold by fold, so that an early report compares like with like. */
static int make_cells(struct plan *plan, struct problem *problem) {
    struct axis32 fusions = {{0}, 0}, activations = {{0}, 0}, folds = {{0}, 0};
    uint64_t seeds[LIST_MAX];
    size_t seed_count = 0, s, k, a, f, n = 0;
    if (read_choices(&fusions, "fusion", settings_fusions, plan->fusion_text, problem) ||
        read_choices(&activations, "activation", settings_activations, plan->activation_text, problem) ||
        read_folds(&folds, plan, problem) || read_seeds(seeds, &seed_count, plan->seed_text, problem))
        return -1;
    plan->cell_count = fusions.count * activations.count * folds.count * seed_count;
    plan->cells = must_allocate(plan->cell_count, sizeof *plan->cells);
    for (s = 0; s < seed_count; s++)
        for (k = 0; k < folds.count; k++)
            for (a = 0; a < activations.count; a++)
                for (f = 0; f < fusions.count; f++) {
                    struct cell *cell = &plan->cells[n++];
                    cell->fusion = fusions.items[f];
                    cell->activation = activations.items[a];
                    cell->fold = folds.items[k];
                    cell->seed = seeds[s];
                }
    return 0;
}

static void take_facts(struct plan *plan, const struct args *args) {
    int i;
    for (i = 0; i < args->count; i++) {
        const struct arg *arg = &args->items[i];
        char value[256];
        if (arg->kind == ARG_GROUP || arg->kind == ARG_ALIAS ||
            listed(arg->name, no_facts, sizeof no_facts / sizeof no_facts[0]))
            continue;
        args_value(arg, value, sizeof value);
        facts_add(&plan->options, arg->name, value);
    }
}

static int read_command(struct plan *plan, struct args *args, int argc, char **argv, struct problem *problem) {
    settings_init(&plan->settings, PRESET_ORIGINAL);
    plan->fusion_text = "sum,star";
    plan->activation_text = "none,relu";
    plan->fold_text = "all";
    plan->seed_text = "2024";
    plan->out = "comparison";
    plan->jobs = 1;
    plan->times = 1;
    compare_arguments(args, plan);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    plan->records_path = plan->records ? must_copy(plan->records) : path_join(plan->out, "records");
    plan->work_path = path_join(plan->records_path, "work");
    plan->pictures_path = path_join(plan->out, "pictures");
    if (plan->report_only)
        return args->operand_count || plan->settings.data.synthetic
                   ? problem_set(problem, "--report-only needs no data: it reads the records in %s", plan->records_path)
                   : 0;
    if (!args->operand_count && !plan->settings.data.synthetic)
        return problem_set(problem, "name a folder with a data set, or try --synthetic 8 (--help shows more)");
    if (settings_finish(&plan->settings, problem) || make_cells(plan, problem))
        return -1;
    take_facts(plan, args);
    return 0;
}

/* ---- The cells to do ---- */

char *record_path(const struct plan *plan, const struct cell *cell) {
    char *name = cell_name(cell), *file = must_format("%s.json", name), *path = path_join(plan->records_path, file);
    free(name);
    free(file);
    return path;
}

int plan_split(const struct plan *plan, const struct cell *cell, struct split *split, struct indices *validation,
               struct problem *problem) {
    struct data_options data = plan->settings.data;
    size_t g;
    memset(split, 0, sizeof *split);
    memset(validation, 0, sizeof *validation);
    data.fold = cell->fold;
    for (g = 0; g < plan->collection.group_count && cell->fold == FOLD_OWN; g++)
        if (!plan->collection.groups[g].has_parts)
            return problem_set(problem, "--fold own: %s has no train and test folders of its own",
                               plan->collection.groups[g].title);
    if (split_make(split, &plan->collection, &data, problem))
        return -1;
    if (!split->train.count || !split->test.count)
        return problem_set(problem, "%s leaves no image to %s", split->text, split->train.count ? "test" : "train on");
    if (plan->settings.trainer.validation != UNETSTAR_VALIDATION_IMAGES)
        return 0;
    return split_validation(split, validation, (size_t)plan->settings.validation_count, problem);
}

/* Whether a record is there: 1, or 0 when the cell is to be done, or -1. */
static int cell_is_done(const struct plan *plan, const struct cell *cell, struct problem *problem) {
    struct record expected, found;
    struct split split;
    struct indices validation;
    char *path = record_path(plan, cell);
    int result = plan_split(plan, cell, &split, &validation, problem);
    memset(&expected, 0, sizeof expected);
    memset(&found, 0, sizeof found);
    if (!result && path_exists(path)) {
        struct problem cause;
        record_expect(&expected, plan, cell, &split, &validation);
        if (record_read(&found, path, &cause))
            result = -1;
        else if (records_agree(&found, &expected, path, "this run", &cause))
            result = -1;
        else if (!records_same_images(&found, &expected))
            result = problem_set(&cause, "%s is of other images than %s has now", path, expected.split);
        if (result && plan->again)
            result = 0;
        else if (result)
            problem_set(problem, "%s; repeat such cells with --again, or choose another --records folder", cause.text);
        else
            result = 1;
    }
    record_free(&expected);
    record_free(&found);
    split_free(&split);
    indices_free(&validation);
    free(path);
    return result;
}

/* Reads every picture once: errors belong before the trainings, not into each. */
static int check_pictures(const struct plan *plan, const struct launch *launch, const struct cell *todo, size_t count,
                          struct problem *problem) {
    struct indices used = {0};
    char *seen = must_allocate(plan->collection.count, 1);
    size_t i, k;
    int result = 0;
    for (i = 0; i < count && !result; i++) {
        struct split split;
        struct indices validation;
        result = plan_split(plan, &todo[i], &split, &validation, problem);
        for (k = 0; k < split.train.count; k++)
            seen[split.train.items[k]] = 1;
        for (k = 0; k < split.test.count; k++)
            seen[split.test.items[k]] = 1;
        for (k = 0; k < validation.count; k++)
            seen[validation.items[k]] = 1;
        split_free(&split);
        indices_free(&validation);
    }
    for (i = 0; i < plan->collection.count; i++)
        if (seen[i])
            indices_add(&used, i);
    if (!result)
        result =
            check_samples(launch->context, &plan->collection, &used, launch->cancel, plan->settings.quiet, problem);
    indices_free(&used);
    free(seen);
    return result;
}

static int do_cells(struct plan *plan, struct launch *launch, const struct args *args, struct problem *problem) {
    struct cell *todo = must_allocate(plan->cell_count, sizeof *todo);
    size_t i, count = 0;
    int code = EXIT_FAILED, done = 0;
    if (!collection_open(&plan->collection, &plan->settings.data, args->operands, args->operand_count, problem)) {
        plan->data_title = collection_title(&plan->collection);
        for (i = 0; i < plan->cell_count && done >= 0; i++) {
            done = cell_is_done(plan, &plan->cells[i], problem);
            if (!done)
                todo[count++] = plan->cells[i];
        }
        if (done >= 0)
            code = EXIT_FINE;
    }
    if (code == EXIT_FINE && !plan->settings.quiet)
        fprintf(stderr, "%s: %lu of %lu cells are finished already\n", plan->data_title,
                (unsigned long)(plan->cell_count - count), (unsigned long)plan->cell_count);
    if (code == EXIT_FINE && count) {
        if (make_output_folder(plan->records_path, problem) || make_output_folder(plan->work_path, problem) ||
            (plan->models && make_output_folder(plan->models, problem)) ||
            check_pictures(plan, launch, todo, count, problem))
            code = EXIT_FAILED;
        else {
            code = pool_run(plan, launch, todo, count, problem);
            plan->partial = code == EXIT_FAILED;
        }
    }
    free(todo);
    return code;
}

/* ---- The report ---- */

static int gather_file(const char *path, struct record **records, char ***paths, size_t *count,
                       struct problem *problem) {
    *records = must_grow(*records, *count + 1, sizeof **records);
    *paths = must_grow(*paths, *count + 1, sizeof **paths);
    if (record_read(&(*records)[*count], path, problem))
        return -1;
    (*paths)[*count] = must_copy(path);
    (*count)++;
    return *count > 1 ? records_agree(&(*records)[0], &(*records)[*count - 1], (*paths)[0], path, problem) : 0;
}

/* All records of a folder, or those of the cells of this run that are there. */
static int gather(const struct plan *plan, struct record **records, char ***paths, size_t *count,
                  struct problem *problem) {
    struct names names = {0};
    size_t i;
    int result = 0;
    if (plan->report_only)
        result = list_endings(plan->records_path, ".json", &names, problem);
    else
        for (i = 0; i < plan->cell_count; i++) {
            char *name = cell_name(&plan->cells[i]), *file = must_format("%s.json", name);
            char *path = path_join(plan->records_path, file);
            if (path_exists(path))
                names_add(&names, file);
            free(path);
            free(file);
            free(name);
        }
    for (i = 0; i < names.count && !result; i++) {
        char *path = path_join(plan->records_path, names.items[i]);
        result = gather_file(path, records, paths, count, problem);
        free(path);
    }
    if (!result && !*count)
        result = problem_set(problem, "there is no record in %s", plan->records_path);
    names_free(&names);
    return result;
}

static int report(const struct plan *plan, struct problem *problem) {
    struct record *records = NULL;
    struct results results;
    char **paths = NULL;
    size_t count = 0, i;
    int result = gather(plan, &records, &paths, &count, problem);
    for (i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
    if (result) {
        for (i = 0; i < count; i++)
            record_free(&records[i]);
        free(records);
        return result;
    }
    results_make(&results, records, count);
    result = make_output_folder(plan->out, problem);
    if (!result)
        result = results_write(&results, plan->out, plan->times, problem);
    if (!result && !plan->settings.quiet)
        fprintf(stderr, "Wrote report.html, report.json and tables (%lu cell%s%s) into %s.\n", (unsigned long)count,
                count == 1 ? "" : "s", results.missing.count ? ", some are missing" : "", plan->out);
    results_free(&results);
    return result;
}

static int run(struct plan *plan, struct launch *launch, const struct args *args, struct problem *problem) {
    struct problem second;
    int code = EXIT_FINE;
    if (launch_start(launch, 1, problem))
        return EXIT_FAILED;
    if (!plan->report_only)
        code = make_output_folder(plan->out, problem) ? EXIT_FAILED : do_cells(plan, launch, args, problem);
    if (code == EXIT_FINE)
        return report(plan, problem) ? EXIT_FAILED : EXIT_FINE;
    /* Where cells failed, the others are worth a look. */
    if (plan->partial && !unetstar_cancel_requested(launch->cancel))
        (void)report(plan, &second);
    return code;
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct plan plan;
    struct launch launch = {0};
    struct problem problem = {""};
    int code = EXIT_FINE;
    memset(&plan, 0, sizeof plan);
    args.program = program;
    args.usage = "DATA... [options]   or   unetstar-compare --synthetic N [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (read_command(&plan, &args, argc, argv, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else
        code = run(&plan, &launch, &args, &problem);
    if (code == EXIT_FAILED && launch.cancel && unetstar_cancel_requested(launch.cancel))
        code = EXIT_INTERRUPTED;
    if (problem.text[0] && code != EXIT_FINE)
        problem_print(program, &problem);
    launch_end(&launch);
    collection_free(&plan.collection);
    facts_free(&plan.options);
    free(plan.records_path);
    free(plan.work_path);
    free(plan.pictures_path);
    free(plan.data_title);
    free(plan.cells);
    args_free(&args);
    return code;
}
