#include "score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "files.h"
#include "loader.h"
#include "overlay.h"
#include "picture.h"

void vessel_probability(float *probability, int64_t channels, int64_t pixels) {
    int64_t i;
    for (i = 0; i < pixels && channels > 1; i++)
        probability[i] = 1.0f - probability[i];
}

void probability_samples(void *samples, const float *probability, int64_t n, int bits) {
    uint16_t *wide = samples;
    unsigned char *narrow = samples;
    float full = bits == 16 ? 65535.0f : 255.0f;
    int64_t i;
    for (i = 0; i < n; i++) {
        float v = probability[i] * full + 0.5f;
        v = v > 0 ? v < full ? v : full : 0;
        if (bits == 16)
            wide[i] = (uint16_t)v;
        else
            narrow[i] = (unsigned char)v;
    }
}

int write_probability(const char *path, const float *probability, int64_t width, int64_t height, int bits,
                      struct problem *problem) {
    int64_t n = width * height;
    unsigned char *data = malloc((size_t)n * (size_t)(bits / 8));
    int result;
    if (!data)
        return problem_set(problem, "cannot write %s: out of memory", path);
    probability_samples(data, probability, n, bits);
    result = picture_write_png(path, width, height, 1, bits, data, problem);
    free(data);
    return result;
}

/* The parts of a data set of one sample. */
struct opened {
    unetstar_image photo, label, mask;
    int64_t pixels;
};

static int open_parts(const unetstar_dataset *one, struct opened *opened, struct problem *problem) {
    int error = 0;
    unetstar_image_init(&opened->photo, sizeof opened->photo);
    unetstar_image_init(&opened->label, sizeof opened->label);
    unetstar_image_init(&opened->mask, sizeof opened->mask);
    if ((error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_IMAGE, &opened->photo)) ||
        (error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_LABEL, &opened->label)) ||
        (error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_MASK, &opened->mask)))
        return problem_from_library(problem, unetstar_dataset_name(one, 0), error);
    opened->pixels = opened->photo.width * opened->photo.height;
    return 0;
}

static int read_prediction(const struct scoring *scoring, const char *name, const struct opened *opened,
                           float *probability, struct problem *problem) {
    char *file = must_format("%s-probability.png", name), *path = path_join(scoring->predictions, file);
    struct picture map;
    int64_t i;
    int result;
    free(file);
    if (!path_exists(path)) {
        free(path);
        file = must_format("%s.png", name);
        path = path_join(scoring->predictions, file);
        free(file);
    }
    result = picture_read_gray(&map, path, problem);
    if (!result && (map.width != opened->photo.width || map.height != opened->photo.height))
        result = problem_set(problem, "sizes differ: %s is %lld x %lld, its image is %lld x %lld", path,
                             (long long)map.width, (long long)map.height, (long long)opened->photo.width,
                             (long long)opened->photo.height);
    for (i = 0; i < opened->pixels && !result; i++)
        probability[i] = map.bits == 16 ? (float)((const uint16_t *)(const void *)map.data)[i] / 65535.0f
                                        : (float)map.data[i] / 255.0f;
    picture_free(&map);
    free(path);
    return result;
}

static int run_session(const struct scoring *scoring, const char *name, const struct opened *opened, float *probability,
                       struct problem *problem) {
    int error =
        unetstar_session_run(scoring->session, &opened->photo, &opened->mask, probability, scoring->cancel, NULL, NULL);
    if (error)
        return problem_from_library(problem, name, error);
    vessel_probability(probability, unetstar_session_channels(scoring->session), opened->pixels);
    return 0;
}

static int make_map(const struct scoring *scoring, const struct sample *sample, const struct opened *opened,
                    float *probability, struct problem *problem) {
    if (scoring->map)
        return scoring->map(scoring->map_user, sample, &opened->photo, opened->mask.data, probability, problem);
    return scoring->session ? run_session(scoring, sample->name, opened, probability, problem)
                            : read_prediction(scoring, sample->name, opened, probability, problem);
}

static int write_pictures(const struct scoring *scoring, const char *name, const struct opened *opened,
                          const float *probability, struct problem *problem) {
    char *base = path_join(scoring->pictures, name);
    char *map = must_format("%s-probability.png", base), *compared = must_format("%s-errors.png", base);
    uint8_t *rgb =
        overlay_errors(&opened->photo, probability, scoring->threshold, opened->label.data, opened->mask.data);
    int result = rgb ? 0 : problem_set(problem, "cannot write %s: out of memory", compared);
    if (!result)
        result = write_probability(map, probability, opened->photo.width, opened->photo.height, 8, problem);
    if (!result)
        result = picture_write_png(compared, opened->photo.width, opened->photo.height, 3, 8, rgb, problem);
    free(rgb);
    free(map);
    free(compared);
    free(base);
    return result;
}

static int add_to_metrics(unetstar_metrics *metrics, const char *name, const struct opened *opened,
                          const float *probability, struct problem *problem) {
    int error = unetstar_metrics_add_image(metrics, name, opened->photo.width, opened->photo.height, probability,
                                           opened->label.data, opened->mask.data);
    return error ? problem_from_library(problem, name, error) : 0;
}

static int score_one(const struct scoring *scoring, const struct sample *sample, unetstar_metrics *metrics,
                     struct problem *problem) {
    unetstar_dataset *one = NULL;
    struct opened opened;
    float *probability = NULL;
    int64_t channels = scoring->session ? unetstar_session_channels(scoring->session) : 1;
    int result = unetstar_dataset_create(&one, scoring->context);
    if (result)
        return problem_from_library(problem, NULL, result);
    result = load_sample(one, sample, problem);
    if (!result)
        result = open_parts(one, &opened, problem);
    if (!result) {
        probability = malloc((size_t)(opened.pixels * channels) * sizeof *probability);
        if (!probability)
            result = problem_set(problem, "%s: out of memory", sample->name);
    }
    if (!result)
        result = make_map(scoring, sample, &opened, probability, problem);
    if (!result)
        result = add_to_metrics(metrics, sample->name, &opened, probability, problem);
    if (!result && scoring->visit) {
        struct scored scored = {sample->name, probability, opened.label.data, opened.mask.data, opened.photo.width,
                                opened.photo.height};
        result = scoring->visit(scoring->user, &scored, problem);
    }
    if (!result && scoring->pictures)
        result = write_pictures(scoring, sample->name, &opened, probability, problem);
    free(probability);
    unetstar_dataset_destroy(one);
    return result;
}

/* The second human's label counts as a map of probabilities 0 and 1. */
int observer_map(void *user, const struct sample *sample, const unetstar_image *photo, const uint8_t *mask, float *map,
                 struct problem *problem) {
    unetstar_dataset *second = NULL;
    struct opened human;
    int64_t i;
    int result = unetstar_dataset_create(&second, user);
    (void)photo, (void)mask; /* load_observer knows that the label has the photograph's size */
    if (result)
        return problem_from_library(problem, NULL, result);
    result = load_observer(second, sample, problem);
    if (!result)
        result = open_parts(second, &human, problem);
    for (i = 0; !result && i < human.pixels; i++)
        map[i] = ((const uint8_t *)human.label.data)[i] ? 1.0f : 0.0f;
    unetstar_dataset_destroy(second);
    return result;
}

static int observer_row(const struct scoring *scoring, const struct collection *collection,
                        const struct indices *indices, struct table *table, struct problem *problem) {
    unetstar_metrics *metrics = NULL;
    struct scoring humans = {0};
    struct table of_humans = {0};
    size_t i;
    int result = unetstar_metrics_create(&metrics, scoring->context);
    if (result)
        return problem_from_library(problem, NULL, result);
    humans.context = scoring->context;
    humans.map = observer_map;
    humans.map_user = scoring->context;
    for (i = 0; i < indices->count && !result; i++)
        result = score_one(&humans, &collection->items[indices->items[i]], metrics, problem);
    if (!result)
        result = table_from_metrics(&of_humans, metrics, 0.5, problem);
    if (!result) {
        table->observer = of_humans.pooled;
        /* A drawing has one operating point and no probabilities; an area under its "curve" would mean nothing. */
        table->observer.roc_auc = table->observer.pr_auc = table->observer.average_precision = NAN;
        table->observer.calibration_error = NAN;
        table->has_observer = 1;
    }
    table_free(&of_humans);
    unetstar_metrics_destroy(metrics);
    return result;
}

int score_samples(const struct scoring *scoring, const struct collection *collection, const struct indices *indices,
                  struct table *table, unetstar_metrics **metrics, struct problem *problem) {
    struct bar bar;
    size_t i;
    int result = unetstar_metrics_create(metrics, scoring->context);
    if (result)
        return problem_from_library(problem, NULL, result);
    bar_start(&bar, "testing", scoring->quiet);
    for (i = 0; i < indices->count && !result; i++) {
        const struct sample *sample = &collection->items[indices->items[i]];
        bar_update(&bar, (double)i / (double)indices->count, sample->name);
        result = score_one(scoring, sample, *metrics, problem);
        if (!result && unetstar_cancel_requested(scoring->cancel))
            result = problem_set(problem, "interrupted");
    }
    bar_clear(&bar);
    if (!result)
        result = table_from_metrics(table, *metrics, scoring->threshold, problem);
    if (!result && scoring->map) { /* no probabilities to be calibrated */
        for (i = 0; i < table->count; i++)
            table->rows[i].calibration_error = NAN;
        table->pooled.calibration_error = NAN;
    }
    if (!result && scoring->observer)
        result = observer_row(scoring, collection, indices, table, problem);
    return result;
}
