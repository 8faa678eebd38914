#include "loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* A label or mask of the photograph's size; path NULL: none, and *described stays NULL. */
static int read_companion(const char *path, const char *image_path, const struct picture *image,
                          struct picture *picture, unetstar_image *storage, const unetstar_image **described,
                          struct problem *problem) {
    if (!path)
        return 0;
    if (picture_read_gray(picture, path, problem))
        return -1;
    if (picture->width != image->width || picture->height != image->height)
        return problem_set(problem, "sizes differ: %s is %lld x %lld, %s is %lld x %lld", path,
                           (long long)picture->width, (long long)picture->height, image_path, (long long)image->width,
                           (long long)image->height);
    picture_describe(picture, storage);
    *described = storage;
    return 0;
}

static int add_files(unetstar_dataset *into, const struct sample *sample, const char *label_path,
                     struct problem *problem) {
    struct picture image = {0}, label = {0}, mask = {0};
    unetstar_image photo, storage[2];
    const unetstar_image *labels = NULL, *masks = NULL;
    int result = picture_read(&image, sample->image, problem);
    if (!result)
        result = read_companion(label_path, sample->image, &image, &label, &storage[0], &labels, problem);
    if (!result)
        result = read_companion(sample->mask, sample->image, &image, &mask, &storage[1], &masks, problem);
    if (!result) {
        picture_describe(&image, &photo);
        result = unetstar_dataset_add(into, sample->name, &photo, labels, masks);
        if (result)
            problem_from_library(problem, sample->image, result);
    }
    picture_free(&image);
    picture_free(&label);
    picture_free(&mask);
    return result ? -1 : 0;
}

int load_sample(unetstar_dataset *into, const struct sample *sample, struct problem *problem) {
    int error;
    if (!sample->synthetic)
        return add_files(into, sample, sample->label, problem);
    error = unetstar_dataset_add_synthetic(into, sample->seed, sample->size[0], sample->size[1]);
    return error ? problem_from_library(problem, sample->name, error) : 0;
}

int load_observer(unetstar_dataset *into, const struct sample *sample, struct problem *problem) {
    if (!sample->observer)
        return problem_set(problem, "no label of the second observer for %s",
                           sample->image ? sample->image : sample->name);
    return add_files(into, sample, sample->observer, problem);
}

int load_samples(unetstar_dataset **out, unetstar_context *context, const struct collection *collection,
                 const struct indices *indices, const unetstar_cancel *cancel, const char *what, int quiet,
                 struct problem *problem) {
    struct bar bar;
    size_t i;
    int result = unetstar_dataset_create(out, context);
    if (result)
        return problem_from_library(problem, NULL, result);
    bar_start(&bar, what, quiet);
    for (i = 0; i < indices->count && !result; i++) {
        const struct sample *sample = &collection->items[indices->items[i]];
        bar_update(&bar, (double)i / (double)indices->count, sample->name);
        result = load_sample(*out, sample, problem);
        if (!result && unetstar_cancel_requested(cancel))
            result = problem_set(problem, "interrupted");
    }
    bar_clear(&bar);
    if (result) {
        unetstar_dataset_destroy(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

int check_samples(unetstar_context *context, const struct collection *collection, const struct indices *indices,
                  const unetstar_cancel *cancel, int quiet, struct problem *problem) {
    struct bar bar;
    size_t i;
    int result = 0;
    bar_start(&bar, "checking test images", quiet);
    for (i = 0; i < indices->count && !result; i++) {
        const struct sample *sample = &collection->items[indices->items[i]];
        unetstar_dataset *one = NULL;
        if (sample->synthetic)
            continue;
        bar_update(&bar, (double)i / (double)indices->count, sample->name);
        result = unetstar_dataset_create(&one, context);
        if (result)
            problem_from_library(problem, NULL, result);
        else
            result = load_sample(one, sample, problem);
        unetstar_dataset_destroy(one);
        if (!result && unetstar_cancel_requested(cancel))
            result = problem_set(problem, "interrupted");
    }
    bar_clear(&bar);
    return result ? -1 : 0;
}
