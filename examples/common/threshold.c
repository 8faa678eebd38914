#include "threshold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "score.h"

static const char key[] = "threshold";

/* What a data set is thinned to, so that choosing stays cheap beside training. */
enum { IMAGES_MOST = 40, PIXELS_MOST = 1 << 24 };

struct choice_job {
    unetstar_session *session;
    unetstar_metrics *metrics;
    const unetstar_dataset *set;
    const unetstar_cancel *cancel;
    int64_t step; /* every how many pixels are looked at */
};

static int get(const unetstar_dataset *set, int64_t i, int32_t part, unetstar_image *image, struct problem *problem) {
    int error;
    unetstar_image_init(image, sizeof *image);
    error = unetstar_dataset_get(set, i, part, image);
    return error ? problem_from_library(problem, unetstar_dataset_name(set, i), error) : 0;
}

/* Segments image i and adds its pixels 0, step, 2 step, ... */
static int add_image(const struct choice_job *job, int64_t i, struct problem *problem) {
    const char *name = unetstar_dataset_name(job->set, i);
    unetstar_image photo, label, mask;
    int64_t channels = unetstar_session_channels(job->session), pixels, k, n;
    uint8_t *labels, *inside;
    float *probability;
    int error, result = 0;
    if (get(job->set, i, UNETSTAR_DATASET_IMAGE, &photo, problem) ||
        get(job->set, i, UNETSTAR_DATASET_LABEL, &label, problem) ||
        get(job->set, i, UNETSTAR_DATASET_MASK, &mask, problem))
        return -1;
    pixels = photo.width * photo.height;
    n = (pixels - 1) / job->step + 1;
    probability = malloc((size_t)(pixels * channels) * sizeof *probability);
    labels = malloc((size_t)n);
    inside = malloc((size_t)n);
    if (!probability || !labels || !inside)
        result = problem_set(problem, "%s: out of memory", name);
    if (!result &&
        (error = unetstar_session_run(job->session, &photo, &mask, probability, job->cancel, NULL, NULL)) != 0)
        result = problem_from_library(problem, name, error);
    if (!result) {
        vessel_probability(probability, channels, pixels);
        for (k = 0; k < n; k++) {
            probability[k] = probability[k * job->step];
            labels[k] = ((const uint8_t *)label.data)[k * job->step];
            inside[k] = ((const uint8_t *)mask.data)[k * job->step];
        }
        error = unetstar_metrics_add(job->metrics, name, n, probability, labels, inside);
        if (error)
            result = problem_from_library(problem, name, error);
    }
    free(probability);
    free(labels);
    free(inside);
    return result;
}

static int add_images(struct choice_job *job, int quiet, struct problem *problem) {
    const int64_t count = unetstar_dataset_count(job->set), used = count < IMAGES_MOST ? count : IMAGES_MOST;
    int64_t i, total = 0;
    struct bar bar;
    int result = 0;
    for (i = 0; i < used; i++) {
        unetstar_image photo;
        if (get(job->set, i * count / used, UNETSTAR_DATASET_IMAGE, &photo, problem))
            return -1;
        total += photo.width * photo.height;
    }
    job->step = total / PIXELS_MOST + 1;
    bar_start(&bar, "choosing the threshold", quiet);
    for (i = 0; i < used && !result; i++) {
        bar_update(&bar, (double)i / (double)used, unetstar_dataset_name(job->set, i * count / used));
        result = add_image(job, i * count / used, problem);
        if (!result && unetstar_cancel_requested(job->cancel))
            result = problem_set(problem, "interrupted");
    }
    bar_clear(&bar);
    return result;
}

int threshold_choose(double *threshold, double *f1, unetstar_context *context, const unetstar_model *model,
                     const unetstar_dataset *set, const unetstar_cancel *cancel, int quiet, struct problem *problem) {
    struct choice_job job = {NULL, NULL, set, cancel, 1};
    unetstar_session_options options;
    int error, result;
    *threshold = *f1 = 0;
    unetstar_session_options_init(&options, sizeof options);
    options.plan = UNETSTAR_PLAN_STREAM; /* in less memory than training took, where the network can be */
    error = unetstar_session_create(&job.session, context, &model, 1, &options);
    if (error == UNETSTAR_ENOTSUPPORTED)
        error = unetstar_session_create(&job.session, context, &model, 1, NULL);
    if (error || (error = unetstar_metrics_create(&job.metrics, context)))
        result = problem_from_library(problem, NULL, error);
    else
        result = add_images(&job, quiet, problem);
    if (!result && (error = unetstar_metrics_best_threshold(job.metrics, threshold, f1)) != 0)
        result = problem_from_library(problem, NULL, error);
    if (!(*threshold > 0 && *threshold < 1) || !(*f1 > 0))
        *threshold = 0;
    unetstar_metrics_destroy(job.metrics);
    unetstar_session_destroy(job.session);
    return result;
}

int threshold_store(unetstar_model *model, double threshold, struct problem *problem) {
    char text[40];
    int digits, error;
    for (digits = 1; digits <= 17; digits++) { /* the shortest text that is read as the same number */
        double back;
        snprintf(text, sizeof text, "%.*g", digits, threshold);
        back = strtod(text, NULL);
        if (!(back < threshold) && !(back > threshold))
            break;
    }
    error = unetstar_model_set_meta(model, key, text);
    return error ? problem_from_library(problem, NULL, error) : 0;
}

int threshold_stored(double *threshold, const unetstar_model *const *models, int count, struct problem *problem) {
    double sum = 0;
    int i;
    *threshold = 0;
    for (i = 0; i < count; i++) {
        const char *text = unetstar_model_get_meta(models[i], key);
        char *end;
        double value;
        if (!text)
            return 0;
        value = strtod(text, &end);
        if (end == text || *end || !(value > 0 && value < 1))
            return problem_set(problem,
                               "the threshold stored in the model, \"%.40s\", is not a number between 0 and 1; "
                               "give one with --threshold",
                               text);
        sum += value;
    }
    *threshold = count ? sum / count : 0;
    return 0;
}
