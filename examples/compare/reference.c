/* reference.c - what every network is held against, measured once for each fold on the same test images: a
 * second human, and a filter that learns nothing but its threshold. */
#include <stdlib.h>
#include <string.h>

#include "common/bar.h"
#include "common/baseline.h"
#include "compare.h"

const char *const reference_names[REFERENCE_END] = {"", "observer", "hessian"};

char *reference_name(enum reference reference, int32_t fold) {
    char text[32];
    fold_text(text, sizeof text, fold);
    return must_format("reference-%s-fold%s", reference_names[reference], text);
}

int is_reference_file(const char *file) {
    return !strncmp(file, "reference-", 10);
}

/* ---- Do they fit? ---- */

/* The options that choose pixels; the others are of trainings. */
static const char *const data_options[] = {"labels", "masks", "folds", "synthetic", "synthetic-size", "synthetic-seed"};
enum { DATA_OPTIONS = sizeof data_options / sizeof data_options[0] };

static const char *option_of(const struct record *record, const char *name, const struct facts *defaults) {
    const char *value = facts_find(&record->options, name);
    if (!value)
        value = facts_find(defaults, name);
    return value ? value : "";
}

int reference_fits(const struct record *reference, const struct record *cell, const struct facts *defaults) {
    size_t i;
    if (reference->image_count != cell->image_count || strcmp(reference->data, cell->data) != 0 ||
        reference->numerics != cell->numerics)
        return 0;
    for (i = 0; i < DATA_OPTIONS; i++)
        if (strcmp(option_of(reference, data_options[i], defaults), option_of(cell, data_options[i], defaults)) != 0)
            return 0;
    for (i = 0; i < cell->image_count; i++)
        if (strcmp(reference->images[i].name, cell->images[i].name) != 0)
            return 0;
    return 1;
}

/* ---- Measuring ---- */

struct making {
    const struct plan *plan;
    const struct launch *launch;
    struct split split;
    struct record record;
    char *path, *pictures;
};

static int is_there(const struct making *making) {
    struct problem ignored;
    struct record found;
    int fits;
    if (record_read(&found, making->path, &ignored))
        return 0;
    fits = found.reference == making->record.reference &&
           reference_fits(&found, &making->record, &making->plan->defaults) &&
           !strcmp(option_of(&found, "observer", &making->plan->defaults),
                   option_of(&making->record, "observer", &making->plan->defaults));
    record_free(&found);
    return fits;
}

/* 1, 0, or -1: one was asked for, and an image has none or the label itself. */
static int has_observer(const struct making *making, struct problem *problem) {
    const char *asked = making->plan->settings.data.observer;
    size_t i;
    for (i = 0; i < making->split.test.count; i++) {
        const struct sample *sample = &making->plan->collection.items[making->split.test.items[i]];
        if (sample->observer && sample->label && is_same_file(sample->observer, sample->label))
            return problem_set(problem, "--observer %s: that is the label of %s itself", asked ? asked : "",
                               sample->name);
        if (!sample->observer)
            return asked ? problem_set(problem, "--observer %s: no such label of %s", asked, sample->name) : 0;
    }
    return 1;
}

static int make(struct making *making, struct problem *problem) {
    struct scoring scoring = {0};
    struct baseline baseline;
    scoring.context = making->launch->context;
    scoring.cancel = making->launch->cancel;
    scoring.pictures = making->pictures;
    if (making->pictures && make_output_folder(making->pictures, problem))
        return -1;
    if (making->record.reference == REFERENCE_OBSERVER) {
        scoring.map = observer_map;
        scoring.map_user = making->launch->context;
    } else {
        if (baseline_learn(&baseline, making->launch->context, &making->plan->collection, &making->split.train, 0,
                           making->launch->cancel, 1, problem))
            return -1;
        scoring.map = baseline_map;
        scoring.map_user = &baseline;
    }
    if (record_measure(&making->record, &scoring, making->plan, &making->split.test, NULL, NULL, problem))
        return -1;
    return record_write(&making->record, making->path, problem);
}

/* One reference of one fold, unless it is there. */
static int make_one(struct making *making, const struct cell *cell, enum reference reference, struct problem *problem) {
    struct indices none = {0};
    const struct plan *plan = making->plan;
    char *name = reference_name(reference, cell->fold), *file = must_format("%s.json", name);
    size_t i;
    int result = reference == REFERENCE_OBSERVER ? has_observer(making, problem) : 1;
    const int wanted = result > 0;
    result = result < 0 ? -1 : 0;
    record_expect(&making->record, plan, cell, &making->split, &none);
    facts_free(&making->record.options);
    for (i = 0; i < DATA_OPTIONS; i++)
        facts_add(&making->record.options, data_options[i],
                  option_of(&making->record, data_options[i], &plan->options));
    if (reference == REFERENCE_OBSERVER)
        facts_add(&making->record.options, "observer",
                  plan->settings.data.observer ? plan->settings.data.observer : "");
    making->record.reference = reference;
    making->path = path_join(plan->records_path, file);
    making->pictures = plan->settings.pictures ? path_join(plan->pictures_path, name) : NULL;
    if (wanted && !is_there(making))
        result = make(making, problem);
    record_free(&making->record);
    free(making->path);
    free(making->pictures);
    free(file);
    free(name);
    return result;
}

int references_make(const struct plan *plan, const struct launch *launch, struct problem *problem) {
    struct bar bar;
    size_t i, k;
    int result = make_output_folder(plan->records_path, problem);
    bar_start(&bar, "references", plan->settings.quiet);
    for (i = 0; i < plan->cell_count && !result; i++) {
        struct making making;
        struct indices validation;
        memset(&making, 0, sizeof making);
        making.plan = plan;
        making.launch = launch;
        for (k = 0; k < i && plan->cells[k].fold != plan->cells[i].fold; k++)
            ;
        if (k < i)
            continue; /* a fold that was seen */
        bar_update(&bar, (double)i / (double)plan->cell_count, "");
        result = plan_split(plan, &plan->cells[i], &making.split, &validation, problem);
        /* What validates trains the filter too: it has no other use for it. */
        for (k = 0; k < validation.count; k++)
            indices_add(&making.split.train, validation.items[k]);
        if (!result)
            result = make_one(&making, &plan->cells[i], REFERENCE_OBSERVER, problem);
        if (!result)
            result = make_one(&making, &plan->cells[i], REFERENCE_HESSIAN, problem);
        split_free(&making.split);
        indices_free(&validation);
    }
    bar_clear(&bar);
    return result;
}
