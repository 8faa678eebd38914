#include "layouts.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

/* In folder and suffix patterns, * stands for the name given with --labels (or the default). */
struct layout {
    const char *title;
    const char *train, *test;  /* sub-folders of the split the data set ships, or NULL */
    const char *images;        /* folder of the photographs */
    const char *labels;        /* default of --labels; NULL: find out */
    const char *masks;         /* default of --masks */
    const char *label_folder;  /* pattern */
    const char *label_suffix;  /* pattern: what a label's name has after its image's */
    const char *mask_suffix;   /* the same for masks */
    const char *recognised_by; /* a folder below the part, or a file ending in CHASE_DB1's case */
    char key_end;              /* names agree up to this character only (0: whole names) */
};

/* The order matters: what is more special stands first. */
static const struct layout layouts[] = {
    {"STARE", NULL, NULL, "stare-images", "ah", "masks", "labels-*", ".*", "", "stare-images", 0},
    {"DRIVE", "training", "test", "images", "1st_manual", "mask", "*", "", "", "1st_manual", '_'},
    {"CHASE_DB1", NULL, NULL, "", "1stHO", "masks", "", "_*", "", "", 0},
    {"HRF", NULL, NULL, "images", "manual1", "mask", "*", "", "_mask", "manual1", 0},
    {"FIVES", "train", "test", "Original", "Ground truth", "masks", "*", "", "", "Original", 0},
    {"folder", "train", "test", "images", NULL, "masks", "*", "_label", "_mask", "images", 0},
    {"folder", NULL, NULL, "images", NULL, "masks", "*", "_label", "_mask", "images", 0},
};
enum { LAYOUTS = sizeof layouts / sizeof layouts[0], CHASE = 2 };

const struct choice layout_choices[] = {{"auto", 0},  {"stare", 1},        {"drive", 2},  {"chase", 3}, {"hrf", 4},
                                        {"fives", 5}, {"folder-split", 6}, {"folder", 7}, {NULL, 0}};

static char *fill_pattern(const char *pattern, const char *name) {
    const char *star = strchr(pattern, '*');
    if (!star)
        return must_copy(pattern);
    return must_format("%.*s%s%s", (int)(star - pattern), pattern, name, star + 1);
}

/* ---- Recognising ---- */

static int is_chase(const char *folder) {
    struct names names = {0};
    struct problem ignored;
    size_t i;
    int found = 0;
    if (list_pictures(folder, &names, &ignored))
        return 0;
    for (i = 0; i < names.count && !found; i++) {
        char *stem = path_stem(names.items[i]);
        found = ends_with(stem, "_1stHO");
        free(stem);
    }
    names_free(&names);
    return found;
}

static int has_folder(const char *folder, const char *part, const char *name) {
    char *base = path_join(folder, part), *path = path_join(base, name);
    int exists = is_folder(path);
    free(base);
    free(path);
    return exists;
}

static int matches(const struct layout *layout, const char *folder) {
    if (layout == &layouts[CHASE])
        return is_chase(folder);
    if (!layout->train)
        return has_folder(folder, "", layout->recognised_by);
    return has_folder(folder, layout->train, layout->recognised_by) ||
           has_folder(folder, layout->test, layout->recognised_by);
}

/* ---- Pairing ---- */

/* Files of one role in one folder, each with the key that pairs it. */
struct role {
    char *folder;
    struct names files, keys;
};

/* The part of a stem that a photograph shares with its label and mask. */
static char *key_of(const char *stem, const char *suffix, char key_end) {
    char *key = must_copy(stem);
    if (suffix[0] && ends_with(key, suffix) && strlen(key) > strlen(suffix))
        key[strlen(key) - strlen(suffix)] = 0;
    if (key_end && strchr(key, key_end))
        *strchr(key, key_end) = 0;
    return key;
}

static void role_free(struct role *role) {
    free(role->folder);
    names_free(&role->files);
    names_free(&role->keys);
}

/* Lists a folder. only: when photographs and labels share it, labels are what ends in the suffix, photographs what does
 * not end in any observer's ("HO"). */
static int role_list(struct role *role, const char *suffix, char key_end, int shared, int is_label,
                     struct problem *problem) {
    struct names all = {0};
    size_t i, k;
    if (list_pictures(role->folder, &all, problem))
        return -1;
    for (i = 0; i < all.count; i++) {
        char *stem = path_stem(all.items[i]), *key;
        int wanted = !shared || (is_label ? ends_with(stem, suffix) : !ends_with(stem, "HO"));
        if (wanted) {
            key = key_of(stem, suffix, key_end);
            names_add(&role->files, all.items[i]);
            names_add(&role->keys, key);
            free(key);
        }
        free(stem);
    }
    names_free(&all);
    for (i = 0; i < role->keys.count; i++)
        for (k = 0; k < i; k++)
            if (!strcmp(role->keys.items[i], role->keys.items[k])) {
                char *path = path_join(role->folder, role->files.items[k]);
                problem_set(problem, "%s and %s have the same name: which one is meant?", path, role->files.items[i]);
                free(path);
                return -1;
            }
    return 0;
}

/* Path of the file with this key, or NULL; the caller's to free. */
static char *role_find(const struct role *role, const char *key) {
    size_t i;
    for (i = 0; i < role->keys.count; i++)
        if (!strcmp(role->keys.items[i], key))
            return path_join(role->folder, role->files.items[i]);
    return NULL;
}

static int every_label_has_image(const struct role *labels, const struct role *images, struct problem *problem) {
    size_t i;
    for (i = 0; i < labels->keys.count; i++) {
        char *image = role_find(images, labels->keys.items[i]);
        if (!image) {
            char *label = path_join(labels->folder, labels->files.items[i]);
            problem_set(problem, "label without image: %s (looked for %s.* in %s)", label, labels->keys.items[i],
                        images->folder);
            free(label);
            return -1;
        }
        free(image);
    }
    return 0;
}

/* ---- Reading one part ---- */

struct reading {
    const struct layout *layout;
    const struct data_options *options;
    const char *folder; /* of the data set */
    char *base;         /* of the part */
    struct role images, labels, masks, observers;
};

/* The default of --labels in a plain folder: "labels", or the only folder whose name begins with "label". */
static char *plain_label_name(const struct reading *reading, struct problem *problem) {
    struct names folders = {0};
    char *name = NULL, list[400] = "";
    size_t i, found = 0;
    if (list_folders(reading->base, &folders, problem))
        return NULL;
    for (i = 0; i < folders.count; i++)
        if (!strncmp(folders.items[i], "label", 5)) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", found++ ? ", " : "", folders.items[i]);
            if (found == 1 || !strcmp(folders.items[i], "labels")) {
                free(name);
                name = must_copy(folders.items[i]);
            }
        }
    names_free(&folders);
    if (found > 1 && strcmp(name, "labels")) {
        problem_set(problem, "%s: more than one folder of labels; choose with --labels (%s)", reading->base, list);
        free(name);
        return NULL;
    }
    if (!name)
        problem_set(problem, "%s: there are images, but no folder \"labels\"; name it with --labels", reading->base);
    return name;
}

/* Opens the labels called `name`. Returns 1 when the folder is missing, which the caller may forgive. */
static int open_labels(const struct reading *reading, struct role *role, const char *name, struct problem *problem) {
    const struct layout *layout = reading->layout;
    const char *star = strchr(layout->label_folder, '*');
    size_t prefix = star ? (size_t)(star - layout->label_folder) : 0;
    char *folder, *suffix;
    int result, shared = !layout->images[0];
    if (prefix && !strncmp(name, layout->label_folder, prefix)) /* --labels labels-vk is as good as --labels vk */
        name += prefix;
    folder = fill_pattern(layout->label_folder, name);
    suffix = fill_pattern(layout->label_suffix, name);
    role->folder = path_join(reading->base, folder);
    if (!is_folder(role->folder)) {
        problem_set(problem, "folder of labels is missing: %s", role->folder);
        result = 1;
    } else {
        result = role_list(role, suffix, layout->key_end, shared, 1, problem);
    }
    free(folder);
    free(suffix);
    return result;
}

/* The usual second human beside these labels, NULL: none is known. */
static const char *known_observer(const char *labels) {
    static const char *const pairs[][2] = {{"ah", "vk"},
                                           {"labels-ah", "labels-vk"},
                                           {"labels_ah", "labels_vk"},
                                           {"1st_manual", "2nd_manual"},
                                           {"1stHO", "2ndHO"}};
    size_t i;
    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (!strcmp(pairs[i][0], labels))
            return pairs[i][1];
    return NULL;
}

static int open_observers(struct reading *reading, const char *labels, struct problem *problem) {
    const char *name = reading->options->observer;
    int result;
    if (!name && reading->options->find_observer)
        name = known_observer(labels);
    if (!name)
        return 0;
    result = open_labels(reading, &reading->observers, name, problem);
    if (result <= 0)
        return result;
    /* A folder that is missing matters when an observer's label is asked for. */
    problem->text[0] = 0;
    return 0;
}

static int open_masks(struct reading *reading, struct problem *problem) {
    const char *wanted = reading->options->masks;
    if (wanted && !strcmp(wanted, "none"))
        return 0;
    reading->masks.folder = path_join(reading->base, wanted ? wanted : reading->layout->masks);
    if (is_folder(reading->masks.folder))
        return role_list(&reading->masks, reading->layout->mask_suffix, reading->layout->key_end, 0, 0, problem);
    if (wanted)
        return problem_set(problem, "folder of masks is missing: %s", reading->masks.folder);
    free(reading->masks.folder);
    reading->masks.folder = NULL;
    return 0;
}

static int add_sample(struct reading *reading, struct collection *collection, size_t i, int part, const char *part_name,
                      int labelled, struct problem *problem) {
    const char *key = reading->images.keys.items[i];
    struct sample *sample = collection_add(collection);
    sample->image = path_join(reading->images.folder, reading->images.files.items[i]);
    sample->name = path_stem(sample->image);
    sample->origin = must_format("%s%s%s", reading->layout->title, part_name[0] ? "-" : "", part_name);
    sample->part = part;
    if (labelled) {
        sample->label = role_find(&reading->labels, key);
        if (!sample->label)
            return problem_set(problem, "image without label: %s (looked for %s.* in %s)", sample->image, key,
                               reading->labels.folder);
    }
    if (reading->masks.folder) {
        sample->mask = role_find(&reading->masks, key);
        if (!sample->mask)
            return problem_set(problem,
                               "image without mask: %s (looked for %s.* in %s; --masks none finds the field of view "
                               "in the images)",
                               sample->image, key, reading->masks.folder);
    }
    if (reading->observers.folder)
        sample->observer = role_find(&reading->observers, key);
    return 0;
}

static int read_opened_part(struct reading *reading, struct collection *collection, int part, const char *part_name,
                            struct problem *problem) {
    const struct layout *layout = reading->layout;
    const char *given = reading->options->labels ? reading->options->labels : layout->labels;
    char *name = given ? must_copy(given) : plain_label_name(reading, problem);
    int labels, labelled;
    size_t i;
    if (!name)
        return -1;
    labels = open_labels(reading, &reading->labels, name, problem);
    if (labels == 0 && open_observers(reading, name, problem))
        labels = -1;
    free(name);
    /* DRIVE's newer download leaves the test labels out; whether they are needed is known when the split is made. */
    if (labels < 0 || (labels > 0 && part != PART_TEST))
        return -1;
    labelled = labels == 0;
    if (open_masks(reading, problem))
        return -1;
    if (role_list(&reading->images, "", layout->key_end, !layout->images[0], 0, problem))
        return -1;
    if (!reading->images.files.count)
        return problem_set(problem, "no image in %s", reading->images.folder);
    if (labelled && every_label_has_image(&reading->labels, &reading->images, problem))
        return -1;
    for (i = 0; i < reading->images.files.count; i++)
        if (add_sample(reading, collection, i, part, part_name, labelled, problem))
            return -1;
    return 0;
}

static int read_part(const struct layout *layout, struct collection *collection, const char *folder,
                     const char *part_name, int part, const struct data_options *options, struct problem *problem) {
    struct reading reading = {0};
    int result;
    reading.layout = layout;
    reading.options = options;
    reading.folder = folder;
    reading.base = path_join(folder, part_name);
    reading.images.folder = path_join(reading.base, layout->images);
    result = read_opened_part(&reading, collection, part, part_name, problem);
    role_free(&reading.images);
    role_free(&reading.labels);
    role_free(&reading.masks);
    role_free(&reading.observers);
    free(reading.base);
    return result;
}

/* A plain folder is called by its own name. */
static char *make_title(const struct layout *layout, const char *folder, size_t count) {
    char *copy = must_copy(folder), *title;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    title = must_format("%s (%lu images)", layout->labels ? layout->title : path_base(copy), (unsigned long)count);
    free(copy);
    return title;
}

int layout_read(struct collection *collection, const char *folder, const struct data_options *options,
                struct problem *problem) {
    const struct layout *layout = NULL;
    struct group *group;
    size_t i, first = collection->count;
    int result;
    if (!path_exists(folder))
        return problem_set(problem, "no such folder: %s", folder);
    if (!is_folder(folder))
        return problem_set(problem, "%s is a file; a folder with a data set is needed", folder);
    if (options->layout)
        layout = &layouts[options->layout - 1];
    for (i = 0; i < LAYOUTS && !layout; i++)
        if (matches(&layouts[i], folder))
            layout = &layouts[i];
    if (!layout)
        return problem_set(problem,
                           "%s: not a data set this program knows (STARE, DRIVE, CHASE_DB1, HRF, FIVES, or images/ "
                           "and labels/; see --help)",
                           folder);
    group = collection_add_group(collection);
    group->first = first;
    if (!layout->train) {
        result = read_part(layout, collection, folder, "", PART_NONE, options, problem);
    } else {
        int train = has_folder(folder, layout->train, layout->images),
            test = has_folder(folder, layout->test, layout->images);
        group->has_parts = train && test;
        if (!train && !test)
            return problem_set(problem, "%s: neither %s/%s nor %s/%s is there", folder, layout->train, layout->images,
                               layout->test, layout->images);
        result = train ? read_part(layout, collection, folder, layout->train, PART_TRAIN, options, problem) : 0;
        if (!result && test)
            result = read_part(layout, collection, folder, layout->test, PART_TEST, options, problem);
    }
    group->count = collection->count - first;
    group->title = make_title(layout, folder, group->count);
    return result;
}
