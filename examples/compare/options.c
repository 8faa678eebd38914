/* options.c - the command line of unetstar-compare: the matrix, the options of every cell, and what of them a
 * record must agree on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

/* Options of unetstar-train that mean nothing here, or are set cell by cell. */
static const char *const left_out[] = {"Most used",  "out",       "preset",
                                       "resume",     "overwrite", "list",
                                       "fusion",     "seed",      "fold",
                                       "all",        "threshold", "store-threshold",
                                       "activation", "calibrate", "After the training", "description"};
/* Options that do not change a result, or, as a preset, only through others. */
static const char *const no_facts[] = {
    "out",    "records", "jobs",     "threads",  "quiet",      "help", "version", "report-only",
    "again",  "times",   "models",   "fusion",   "activation", "fold", "seed",    "checkpoint-every",
    "layout", "preset",  "pictures", "observer", "references"};

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
    args_choice(args, "preset", settings_presets, &plan->settings.preset,
                "where the other options begin; those given beside it win");
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
    args_bool(args, "references", &plan->references,
              "also measure, on every fold, the second human where there is one and a filter for dark lines");
    args_text(args, "observer", 0, "NAME", &plan->settings.data.observer,
              "labels of the second human, named as for --labels; by default those known to go with the labels");
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

static void take_facts(struct facts *facts, const struct args *args) {
    int i;
    for (i = 0; i < args->count; i++) {
        const struct arg *arg = &args->items[i];
        char value[256];
        if (arg->kind == ARG_GROUP || arg->kind == ARG_ALIAS ||
            listed(arg->name, no_facts, sizeof no_facts / sizeof no_facts[0]))
            continue;
        args_value(arg, value, sizeof value);
        facts_add(facts, arg->name, value);
    }
}

/* What an option is when nobody says anything about it, as in records made before there was such an option. */
static void take_defaults(struct facts *defaults, const char *program) {
    struct args args = {0};
    struct plan plain;
    memset(&plain, 0, sizeof plain);
    args.program = program;
    settings_init(&plain.settings, PRESET_ORIGINAL);
    compare_arguments(&args, &plain);
    take_facts(defaults, &args);
    args_free(&args);
}

/* Presets change the defaults, so the command line is read twice: for the preset, then over its defaults. */
static int parse(struct plan *plan, struct args *args, int argc, char **argv, struct problem *problem) {
    int pass;
    for (pass = 0; pass < 2; pass++) {
        settings_init(&plan->settings, pass ? plan->settings.preset : PRESET_ORIGINAL);
        plan->settings.data.find_observer = 1;
        plan->fusion_text = "sum,star";
        plan->activation_text = "none,relu";
        plan->fold_text = "all";
        plan->seed_text = "2024";
        plan->out = "comparison";
        plan->jobs = 1;
        plan->times = plan->references = 1;
        args->count = 0;
        compare_arguments(args, plan);
        if (args_parse(args, argc, argv, problem))
            return -1;
    }
    return 0;
}

int plan_read(struct plan *plan, struct args *args, int argc, char **argv, struct problem *problem) {
    if (parse(plan, args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    plan->records_path = plan->records ? must_copy(plan->records) : path_join(plan->out, "records");
    plan->work_path = path_join(plan->records_path, "work");
    plan->pictures_path = path_join(plan->out, "pictures");
    take_defaults(&plan->defaults, args->program);
    if (plan->report_only) {
        static const char *const chosen[] = {"fusion", "activation", "fold", "seed"};
        int i;
        for (i = 0; i < (int)(sizeof chosen / sizeof *chosen); i++)
            if (args_given(args, argc, argv, chosen[i]))
                return problem_set(problem, "--report-only shows all records in %s; --%s chooses none of them",
                                   plan->records_path, chosen[i]);
        return args->operand_count || plan->settings.data.synthetic
                   ? problem_set(problem, "--report-only needs no data: it reads the records in %s", plan->records_path)
                   : 0;
    }
    if (!args->operand_count && !plan->settings.data.synthetic)
        return problem_set(problem, "name a folder with a data set, or try --synthetic 8 (--help shows more)");
    if (settings_finish(&plan->settings, problem) || make_cells(plan, problem))
        return -1;
    take_facts(&plan->options, args);
    return 0;
}

void plan_free(struct plan *plan) {
    collection_free(&plan->collection);
    facts_free(&plan->options);
    facts_free(&plan->defaults);
    free(plan->records_path);
    free(plan->work_path);
    free(plan->pictures_path);
    free(plan->data_title);
    free(plan->cells);
}
