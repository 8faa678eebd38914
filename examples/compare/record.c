/* record.c - what a finished cell or a reference leaves: its name, its memory, and which may stand side by side.
 */
#include <stdlib.h>
#include <string.h>

#include "compare.h"

const char *const region_names[REGIONS] = {"field_of_view", "whole_image"};
const char *const curve_names[2] = {"roc", "pr"};

char *cell_name(const struct cell *cell) {
    char fold[32];
    fold_text(fold, sizeof fold, cell->fold);
    return must_format("%s-%s-fold%s-seed%llu", fusion_name(cell->fusion), activation_name(cell->activation), fold,
                       (unsigned long long)cell->seed);
}

void facts_add(struct facts *facts, const char *name, const char *value) {
    facts->names = must_grow(facts->names, facts->count + 1, sizeof *facts->names);
    facts->values = must_grow(facts->values, facts->count + 1, sizeof *facts->values);
    facts->names[facts->count] = must_copy(name);
    facts->values[facts->count++] = must_copy(value);
}

void facts_free(struct facts *facts) {
    size_t i;
    for (i = 0; i < facts->count; i++) {
        free(facts->names[i]);
        free(facts->values[i]);
    }
    free(facts->names);
    free(facts->values);
    memset(facts, 0, sizeof *facts);
}

void record_free(struct record *record) {
    size_t i;
    free(record->version);
    free(record->data);
    free(record->split);
    facts_free(&record->options);
    names_free(&record->train);
    names_free(&record->validate);
    history_free(&record->history);
    for (i = 0; i < record->image_count; i++)
        free(record->images[i].name);
    free(record->images);
    memset(record, 0, sizeof *record);
}

const char *facts_find(const struct facts *facts, const char *name) {
    size_t i;
    for (i = 0; i < facts->count; i++)
        if (!strcmp(facts->names[i], name))
            return facts->values[i];
    return NULL;
}

static const char *fact(const struct facts *facts, const char *name, const struct facts *defaults) {
    const char *value = facts_find(facts, name);
    if (!value)
        value = facts_find(defaults, name);
    return value ? value : "(none)";
}

static int options_agree(const struct record *record, const struct record *other, const struct facts *defaults,
                         const char *a, const char *b, struct problem *problem) {
    const struct facts *one = &record->options, *two = &other->options;
    int pass;
    size_t i;
    for (pass = 0; pass < 2; pass++) {
        const struct facts *seen = pass ? two : one;
        for (i = 0; i < seen->count; i++) {
            const char *name = seen->names[i], *was = fact(one, name, defaults), *is = fact(two, name, defaults);
            if (strcmp(was, is) != 0)
                return problem_set(problem, "%s was made with --%s %s, %s with %s", a, name, was, b, is);
        }
    }
    return 0;
}

int records_agree(const struct record *record, const struct record *other, const struct facts *defaults, const char *a,
                  const char *b, struct problem *problem) {
    if (record->numerics != other->numerics)
        return problem_set(problem, "%s has results of version %d, %s of version %d", a, record->numerics, b,
                           other->numerics);
    if (options_agree(record, other, defaults, a, b, problem))
        return -1;
    if (strcmp(record->data, other->data) != 0)
        return problem_set(problem, "%s is of the data \"%s\", %s of \"%s\"", a, record->data, b, other->data);
    return 0;
}

static int same_names(const struct names *a, const struct names *b) {
    size_t i;
    for (i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return 0;
    return a->count == b->count;
}

int records_same_images(const struct record *record, const struct record *other) {
    size_t i;
    for (i = 0; i < record->image_count && i < other->image_count; i++)
        if (strcmp(record->images[i].name, other->images[i].name) != 0)
            return 0;
    return record->image_count == other->image_count && same_names(&record->train, &other->train) &&
           same_names(&record->validate, &other->validate);
}
