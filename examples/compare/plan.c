/* plan.c - which cells are finished and which are to be done, and doing them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loader.h"
#include "compare.h"

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
        else if (found.reference)
            result = problem_set(&cause, "%s is a reference, not a training", path);
        else if (records_agree(&found, &expected, &plan->defaults, path, "this run", &cause))
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

/* The cells without a fitting record; -1: one does not fit. */
static int find_todo(const struct plan *plan, struct cell *todo, size_t *count, struct problem *problem) {
    size_t i;
    *count = 0;
    for (i = 0; i < plan->cell_count; i++) {
        int done = cell_is_done(plan, &plan->cells[i], problem);
        if (done < 0)
            return -1;
        if (!done)
            todo[(*count)++] = plan->cells[i];
    }
    return 0;
}

static int do_cells(struct plan *plan, struct launch *launch, const struct cell *todo, size_t count,
                    struct problem *problem) {
    int code;
    if (make_output_folder(plan->records_path, problem) || make_output_folder(plan->work_path, problem) ||
        (plan->models && make_output_folder(plan->models, problem)) ||
        check_pictures(plan, launch, todo, count, problem))
        return EXIT_FAILED;
    code = pool_run(plan, launch, todo, count, problem);
    plan->partial = code == EXIT_FAILED;
    return code;
}

int plan_run(struct plan *plan, struct launch *launch, const struct args *args, struct problem *problem) {
    struct cell *todo = must_allocate(plan->cell_count, sizeof *todo);
    struct lock lock = {-1, NULL};
    struct problem held = {""}, second;
    size_t count = 0;
    int code = EXIT_FINE, taken = 0;
    if (collection_open(&plan->collection, &plan->settings.data, args->operands, args->operand_count, problem))
        code = EXIT_FAILED;
    else {
        plan->data_title = collection_title(&plan->collection);
        /* Before looking what is there: whoever had the lock until now may just have finished a cell. */
        if (is_folder(plan->records_path) || !make_output_folder(plan->records_path, &second))
            taken = lock_take(&lock, plan->records_path, &held);
        if (find_todo(plan, todo, &count, problem))
            code = EXIT_FAILED;
    }
    if (code == EXIT_FINE && taken && count) {
        *problem = held;
        code = EXIT_FAILED;
    }
    if (code == EXIT_FINE && !plan->settings.quiet)
        fprintf(stderr, "%s: %lu of %lu cells are finished already\n", plan->data_title,
                (unsigned long)(plan->cell_count - count), (unsigned long)plan->cell_count);
    if (code == EXIT_FINE && count)
        code = do_cells(plan, launch, todo, count, problem);
    if ((code == EXIT_FINE || plan->partial) && plan->references && !taken &&
        references_make(plan, launch, code == EXIT_FINE ? problem : &second))
        code = EXIT_FAILED;
    lock_free(&lock);
    free(todo);
    return code;
}
