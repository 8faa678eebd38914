/* images.c - which images are segmented, and which mask belongs to which. */
#include <stdlib.h>
#include <string.h>

#include "segment.h"

static int is_own_result(const char *name) {
    return ends_with(name, "-probability.png") || ends_with(name, "-vessels.png") || ends_with(name, "-overlay.png");
}

/* A mask beside its photograph, in the folder that holds both. */
static int is_mask(const struct run *run, const char *folder, const char *name) {
    char *stem;
    int result;
    if (!run->settings.mask || !is_same_file(folder, run->settings.mask))
        return 0;
    stem = path_stem(name);
    result = ends_with(stem, "_mask");
    free(stem);
    return result;
}

static int add_folder(struct run *run, const char *folder, struct problem *problem) {
    struct names pictures = {0};
    size_t i, before = run->images.count;
    int result = list_pictures(folder, &pictures, problem);
    for (i = 0; i < pictures.count && !result; i++)
        if (!is_own_result(pictures.items[i]) && !is_mask(run, folder, pictures.items[i])) {
            char *path = path_join(folder, pictures.items[i]);
            names_add(&run->images, path);
            free(path);
        }
    names_free(&pictures);
    if (!result && run->images.count == before)
        result = problem_set(problem, "no picture in folder %s", folder);
    return result;
}

int collect_images(struct run *run, const struct args *args, struct problem *problem) {
    size_t i, k;
    int operand;
    for (operand = run->first_image; operand < args->operand_count; operand++) {
        const char *path = args->operands[operand];
        if (is_folder(path)) {
            if (add_folder(run, path, problem))
                return -1;
        } else
            names_add(&run->images, path);
    }
    for (i = 0; i < run->images.count; i++) {
        char *stem = path_stem(run->images.items[i]);
        names_add(&run->names, stem);
        free(stem);
        for (k = 0; k < i; k++)
            if (!strcmp(run->names.items[k], run->names.items[i]))
                return problem_set(problem,
                                   "%s and %s would give results of the same name; segment them into two folders",
                                   run->images.items[k], run->images.items[i]);
    }
    return 0;
}

/* Path of the mask of an image in the folder of masks, which may be the image's own; or NULL; the caller's to free. */
static char *find_mask(const char *folder, const char *name, const char *image, struct problem *problem) {
    struct names masks = {0};
    char *found = NULL, *other = must_format("%s_mask", name);
    size_t i;
    if (list_pictures(folder, &masks, problem)) {
        free(other);
        return NULL;
    }
    for (i = 0; i < masks.count && !found; i++) {
        char *stem = path_stem(masks.items[i]);
        if (!strcmp(stem, name) || !strcmp(stem, other))
            found = path_join(folder, masks.items[i]);
        free(stem);
        if (found && is_same_file(found, image)) {
            free(found);
            found = NULL;
        }
    }
    if (!found)
        problem_set(problem, "no mask for %s in %s (looked for %s.* and %s.*)", name, folder, name, other);
    names_free(&masks);
    free(other);
    return found;
}

int read_mask(const struct settings *settings, struct job *job, struct problem *problem) {
    char *path;
    int result;
    if (!settings->mask || !job->path)
        return 0;
    path = is_folder(settings->mask) ? find_mask(settings->mask, job->name, job->path, problem) : must_copy(settings->mask);
    if (!path)
        return -1;
    if (is_same_file(path, job->path)) {
        free(path);
        return problem_set(problem, "--mask %s: that is the photograph itself", settings->mask);
    }
    result = picture_read_gray(&job->mask, path, problem);
    if (!result && (job->mask.width != job->photo.width || job->mask.height != job->photo.height))
        result = problem_set(problem, "sizes differ: %s is %lld x %lld, %s is %lld x %lld", path,
                             (long long)job->mask.width, (long long)job->mask.height, job->path,
                             (long long)job->photo.width, (long long)job->photo.height);
    /* The library takes masks of 8 bits. */
    if (!result && job->mask.bits == 16) {
        int64_t i, n = job->mask.width * job->mask.height;
        for (i = 0; i < n; i++)
            job->mask.data[i] = ((const uint16_t *)(const void *)job->mask.data)[i] ? 255 : 0;
        job->mask.bits = 8;
    }
    free(path);
    return result;
}
