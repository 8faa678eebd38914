/* datasets.h - which picture belongs to which label and mask, and which pictures train and which test. */
#ifndef EXAMPLES_DATASETS_H
#define EXAMPLES_DATASETS_H

#include <stddef.h>
#include <stdint.h>

#include "args.h"
#include "problem.h"

enum part { PART_NONE, PART_TRAIN, PART_TEST };

/* One picture, as paths; nothing is decoded yet. */
struct sample {
    char *name;                            /* unique in its collection, fit for a file name */
    char *origin;                          /* data set and part, to make equal names differ */
    char *image, *label, *mask, *observer; /* label, mask, observer may be NULL */
    int part;                              /* PART_*: of the split the data set ships */
    int synthetic;                         /* drawn from `seed` instead of read */
    uint64_t seed;
    int32_t size[2]; /* of a synthetic picture: width, height */
};

/* A data set within a collection: items [first, first + count). */
struct group {
    size_t first, count;
    int has_parts;
    char *title; /* "STARE, 20 images" */
};

struct collection {
    struct sample *items;
    size_t count;
    struct group *groups;
    size_t group_count;
};

struct data_options {
    const char *labels, *masks, *observer; /* NULL: the layout's own */
    int32_t layout;                        /* index + 1 into the layouts, 0: recognise */
    int32_t find_observer;                 /* without `observer`: the second human's labels where they are known */
    int32_t folds, fold;                   /* fold -1: the shipped split, else fold 2 */
    int32_t all;
    int32_t synthetic; /* number of synthetic pictures, 0: none */
    int32_t synthetic_size[2];
    uint64_t synthetic_seed;
};

void data_options_init(struct data_options *options);
/* with_observer: for unetstar-evaluate, where a second human may stand in the table. */
void data_arguments(struct args *args, struct data_options *options, int with_observer);

/* Finds all pictures of the folders (or makes up the synthetic ones) and pairs them. */
int collection_open(struct collection *collection, const struct data_options *options, char *const *folders,
                    int n_folders, struct problem *problem);
void collection_free(struct collection *collection);
struct sample *collection_add(struct collection *collection);
struct group *collection_add_group(struct collection *collection);

/* Indices into a collection, in order. */
struct indices {
    size_t *items;
    size_t count;
};
void indices_add(struct indices *indices, size_t index);
void indices_free(struct indices *indices);

struct split {
    struct indices train, test;
    char text[160]; /* "fold 2 of 4", "the data set's own split", ... */
};
int split_make(struct split *split, const struct collection *collection, const struct data_options *options,
               struct problem *problem);
/* Moves `count` evenly spaced pictures (0: a fifth, at least one) from train into validation. */
int split_validation(struct split *split, struct indices *validation, size_t count, struct problem *problem);
void split_free(struct split *split);
/* "STARE (20 images); CHASE_DB1 (28 images)". The caller's to free. */
char *collection_title(const struct collection *collection);

#endif
