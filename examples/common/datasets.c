#include "datasets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layouts.h"

void data_options_init(struct data_options *options) {
    memset(options, 0, sizeof *options);
    options->folds = 4;
    options->fold = -1;
    options->synthetic_size[0] = options->synthetic_size[1] = 320;
    options->synthetic_seed = 1;
}

void data_arguments(struct args *args, struct data_options *options, int with_observer) {
    args_group(args, "Data");
    args_choice(args, "layout", layout_choices, &options->layout, "how the folders lie");
    args_text(
        args, "labels", 0, "NAME", &options->labels,
        "which labels: ah or vk (STARE), 1st_manual or 2nd_manual (DRIVE), 1stHO or 2ndHO (CHASE_DB1), or the folder's "
        "name");
    args_text(args, "masks", 0, "NAME", &options->masks,
              "folder of field-of-view masks; \"none\": find the field of view in the images");
    if (with_observer)
        args_text(args, "observer", 0, "NAME", &options->observer,
                  "labels of a second human, named as for --labels, as one more row of the table");
    args_int32(args, "folds", &options->folds, 2, 1000,
               "cut the images, in order of their names, into this many folds");
    args_int32(args, "fold", &options->fold, -1, 999,
               "fold that tests, counted from 0; -1: the data set's own train and test folders, or else fold 2");
    args_flag(args, "all", &options->all, with_observer ? "test all images" : "train on all images and test none");
    args_int32(args, "synthetic", &options->synthetic, 0, 10000,
               "instead of DATA: this many made-up fundus pictures (and a quarter more to test)");
    args_size(args, "synthetic-size", options->synthetic_size, 48, 4096, "their size");
    args_uint64(args, "synthetic-seed", &options->synthetic_seed, "their random seed");
}

/* ---- Collections ---- */

struct sample *collection_add(struct collection *collection) {
    struct sample *sample;
    collection->items = must_grow(collection->items, collection->count + 1, sizeof *collection->items);
    sample = &collection->items[collection->count++];
    memset(sample, 0, sizeof *sample);
    return sample;
}

struct group *collection_add_group(struct collection *collection) {
    struct group *group;
    collection->groups = must_grow(collection->groups, collection->group_count + 1, sizeof *collection->groups);
    group = &collection->groups[collection->group_count++];
    memset(group, 0, sizeof *group);
    return group;
}

void collection_free(struct collection *collection) {
    size_t i;
    for (i = 0; i < collection->count; i++) {
        struct sample *sample = &collection->items[i];
        free(sample->name);
        free(sample->origin);
        free(sample->image);
        free(sample->label);
        free(sample->mask);
        free(sample->observer);
    }
    for (i = 0; i < collection->group_count; i++)
        free(collection->groups[i].title);
    free(collection->items);
    free(collection->groups);
    memset(collection, 0, sizeof *collection);
}

char *collection_title(const struct collection *collection) {
    char *title = must_copy("");
    size_t i;
    for (i = 0; i < collection->group_count; i++) {
        char *longer = must_format("%s%s%s", title, i ? "; " : "", collection->groups[i].title);
        free(title);
        title = longer;
    }
    return title;
}

static int name_taken(const struct collection *collection, size_t but, const char *name) {
    size_t i;
    for (i = 0; i < collection->count; i++)
        if (i != but && !strcmp(collection->items[i].name, name))
            return 1;
    return 0;
}

static void rename_sample(struct collection *collection, size_t index) {
    struct sample *sample = &collection->items[index];
    char *longer = must_format("%s-%s", sample->origin, sample->name);
    unsigned number = 2;
    while (name_taken(collection, index, longer)) {
        free(longer);
        longer = must_format("%s-%s-%u", sample->origin, sample->name, number++);
    }
    free(sample->name);
    sample->name = longer;
}

/* Names become file names of results, so equal ones (1_A of train and of test) get their origin in
 * front, or a number. */
static void make_names_unique(struct collection *collection) {
    char *equal = must_allocate(collection->count, 1);
    size_t i;
    for (i = 0; i < collection->count; i++)
        equal[i] = (char)name_taken(collection, i, collection->items[i].name);
    for (i = 0; i < collection->count; i++)
        if (equal[i])
            rename_sample(collection, i);
    free(equal);
}

static void add_synthetic(struct collection *collection, const struct data_options *options) {
    struct group *group = collection_add_group(collection);
    int32_t i, tests = options->synthetic / 4 ? options->synthetic / 4 : 1;
    for (i = 0; i < options->synthetic + tests; i++) {
        struct sample *sample = collection_add(collection);
        int test = i >= options->synthetic;
        /* Far apart: more training pictures never become the test pictures of another run. */
        sample->seed = options->synthetic_seed + (test ? 1000000u + (uint64_t)(i - options->synthetic) : (uint64_t)i);
        sample->synthetic = 1;
        sample->part = test ? PART_TEST : PART_TRAIN;
        sample->size[0] = options->synthetic_size[0];
        sample->size[1] = options->synthetic_size[1];
        sample->name = must_format("synthetic-%llu", (unsigned long long)sample->seed);
        sample->origin = must_copy("synthetic");
    }
    group->count = collection->count;
    group->has_parts = 1;
    group->title = must_format("synthetic (%d + %d images of %d x %d, seed %llu)", (int)options->synthetic, (int)tests,
                               (int)options->synthetic_size[0], (int)options->synthetic_size[1],
                               (unsigned long long)options->synthetic_seed);
}

int collection_open(struct collection *collection, const struct data_options *options, char *const *folders,
                    int n_folders, struct problem *problem) {
    int i;
    memset(collection, 0, sizeof *collection);
    if (options->synthetic)
        add_synthetic(collection, options);
    for (i = 0; i < n_folders; i++)
        if (layout_read(collection, folders[i], options, problem))
            return -1;
    make_names_unique(collection);
    return 0;
}

/* ---- Splits ---- */

void indices_add(struct indices *indices, size_t index) {
    indices->items = must_grow(indices->items, indices->count + 1, sizeof *indices->items);
    indices->items[indices->count++] = index;
}

void indices_free(struct indices *indices) {
    free(indices->items);
    indices->items = NULL;
    indices->count = 0;
}

void split_free(struct split *split) {
    indices_free(&split->train);
    indices_free(&split->test);
}

static void split_by_part(struct split *split, const struct collection *collection, const struct group *group) {
    size_t i;
    for (i = group->first; i < group->first + group->count; i++)
        indices_add(collection->items[i].part == PART_TEST ? &split->test : &split->train, i);
}

/* The same runs of consecutive samples as unetstar_dataset_fold, without reading the pictures first. */
static int split_by_fold(struct split *split, const struct collection *collection, const struct group *group, int32_t k,
                         int32_t folds, struct problem *problem) {
    struct indices labelled = {0};
    size_t i, first, end;
    for (i = group->first; i < group->first + group->count; i++)
        if (collection->items[i].label || collection->items[i].synthetic)
            indices_add(&labelled, i);
    if (labelled.count < (size_t)folds) {
        indices_free(&labelled);
        return problem_set(problem, "%s: fewer labelled images than --folds %d", group->title, (int)folds);
    }
    first = labelled.count * (size_t)k / (size_t)folds;
    end = labelled.count * ((size_t)k + 1) / (size_t)folds;
    for (i = 0; i < labelled.count; i++)
        indices_add(i >= first && i < end ? &split->test : &split->train, labelled.items[i]);
    indices_free(&labelled);
    return 0;
}

static void take_all(struct split *split, const struct collection *collection) {
    size_t i;
    for (i = 0; i < collection->count; i++)
        if (collection->items[i].label || collection->items[i].synthetic)
            indices_add(&split->train, i);
}

int split_make(struct split *split, const struct collection *collection, const struct data_options *options,
               struct problem *problem) {
    int32_t fold = options->fold < 0 ? (options->folds > 2 ? 2 : options->folds - 1) : options->fold;
    int by_part = 0, by_fold = 0;
    size_t g, i;
    memset(split, 0, sizeof *split);
    if (fold >= options->folds)
        return problem_set(problem, "--fold %d: with --folds %d it must be from 0 to %d", (int)fold,
                           (int)options->folds, (int)options->folds - 1);
    if (options->all) {
        take_all(split, collection);
        snprintf(split->text, sizeof split->text, "all images");
        return 0;
    }
    for (g = 0; g < collection->group_count; g++) {
        const struct group *group = &collection->groups[g];
        if (group->has_parts && options->fold < 0) {
            split_by_part(split, collection, group);
            by_part = 1;
        } else if (split_by_fold(split, collection, group, fold, options->folds, problem))
            return -1;
        else
            by_fold = 1;
    }
    for (i = 0; i < split->test.count; i++) {
        const struct sample *sample = &collection->items[split->test.items[i]];
        if (!sample->label && !sample->synthetic)
            return problem_set(problem,
                               "test image without label: %s; use --fold N to test on a part of the labelled images, "
                               "or --all",
                               sample->image);
    }
    if (by_fold)
        snprintf(split->text, sizeof split->text, "fold %d of %d%s", (int)fold, (int)options->folds,
                 by_part ? ", and shipped splits" : "");
    else
        snprintf(split->text, sizeof split->text, "the data's own split");
    return 0;
}

int split_validation(struct split *split, struct indices *validation, size_t count, struct problem *problem) {
    struct indices rest = {0};
    size_t i, k = 0, n = split->train.count;
    if (!count)
        count = n / 5 ? n / 5 : 1;
    if (count >= n)
        return problem_set(problem, "validation on %lu of %lu training images leaves none to train on",
                           (unsigned long)count, (unsigned long)n);
    for (i = 0; i < n; i++)
        if (k < count && i == (2 * k + 1) * n / (2 * count)) {
            indices_add(validation, split->train.items[i]);
            k++;
        } else
            indices_add(&rest, split->train.items[i]);
    indices_free(&split->train);
    split->train = rest;
    return 0;
}
