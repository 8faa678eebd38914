/* measure.c - what the library tells of a model: alone, on an image, and against a label. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/files.h"
#include "common/picture.h"
#include "common/settings.h"
#include "inspect.h"

const char *const inspect_places[PLACES] = {"main", "skip", "fused", "output"};

/* The size of STARE's photographs: memory is told for it when there is no image. */
enum { USUAL_WIDTH = 700, USUAL_HEIGHT = 605 };

/* ---- The model alone ---- */

void inspect_options(const unetstar_model *model, inspect_option_fn each, void *user) {
    struct settings *settings = must_allocate(1, sizeof *settings);
    struct args *args = must_allocate(1, sizeof *args);
    int k, wanted = 0;
    settings_init(settings, PRESET_ORIGINAL);
    if (!unetstar_model_get_options(model, &settings->model) && !unetstar_model_get_prep(model, &settings->prep)) {
        settings_arguments(args, settings);
        for (k = 0; k < args->count; k++) {
            const struct arg *arg = &args->items[k];
            char value[64];
            if (arg->kind == ARG_GROUP) {
                wanted = !strcmp(arg->name, "Network") || !strncmp(arg->name, "Preprocessing", 13);
            } else if (wanted && arg->kind != ARG_ALIAS) {
                args_value(arg, value, sizeof value);
                each(user, arg->name, value);
            }
        }
    }
    args_free(args);
    free(args);
    free(settings);
}

static int measure_memory(struct inspection *found, int32_t plan, unetstar_workspace *memory) {
    const unetstar_model *const list[1] = {found->model};
    unetstar_session *session = NULL;
    unetstar_session_options options;
    int error;
    unetstar_session_options_init(&options, sizeof options);
    options.plan = plan;
    memory->struct_size = sizeof *memory;
    error = unetstar_session_create(&session, found->context, list, 1, &options);
    error = error ? error : unetstar_session_workspace_size(session, found->width, found->height, memory);
    unetstar_session_destroy(session);
    return error;
}

static int measure_model(struct inspection *found, struct problem *problem) {
    static const char *const first[] = {"conv", "lead", "project"}; /* convolution of a block */
    unetstar_model_options options;
    int error, k;
    found->degree.struct_size = sizeof found->degree;
    error = unetstar_model_degree(found->model, &found->degree);
    error = error ? error : measure_memory(found, UNETSTAR_PLAN_WHOLE, &found->memory);
    if (!error) {
        error = measure_memory(found, UNETSTAR_PLAN_STREAM, &found->stream_memory);
        found->has_stream = !error;
        if (error == UNETSTAR_ENOTSUPPORTED) /* a norm that needs the whole image */
            error = 0;
    }
    unetstar_model_options_init(&options, sizeof options);
    error = error ? error : unetstar_model_get_options(found->model, &options);
    for (k = 0; k < found->degree.n_fusions; k++) {
        if (options.fusion_norm)
            snprintf(found->layers[k], sizeof found->layers[k], "decoder.%d.norm", k);
        else
            snprintf(found->layers[k], sizeof found->layers[k], "decoder.%d.%s.0", k + 1, first[options.block]);
    }
    return error ? problem_from_library(problem, found->model_path, error) : 0;
}

/* ---- On an image ---- */

/* Pixels [x0, x0 + w) x [y0, y0 + h) of every plane. */
static void cut(const struct inspection *found, int64_t channels, const float *x, int64_t y0, int64_t x0, int64_t h,
                int64_t w, float *to) {
    int64_t c, y;
    for (c = 0; c < channels; c++)
        for (y = y0; y < y0 + h; y++, to += w)
            memcpy(to, x + (c * found->height + y) * found->width + x0, (size_t)w * sizeof *to);
}

static int measure_features(struct inspection *found, const float *x, struct problem *problem) {
    static const int32_t where[PLACES] = {UNETSTAR_AT_MAIN, UNETSTAR_AT_SKIP, UNETSTAR_AT_INPUT, UNETSTAR_AT_OUTPUT};
    int k, p, error = 0;
    for (k = 0; k < found->degree.n_fusions && !error; k++)
        for (p = 0; p < PLACES && !error; p++) {
            found->features[k][p].struct_size = sizeof found->features[k][p];
            if (unetstar_cancel_requested(found->cancel))
                return problem_set(problem, "interrupted");
            error = unetstar_model_features(found->model, found->height, found->width, x, found->layers[k], where[p],
                                            NULL, &found->features[k][p]);
        }
    return error ? problem_from_library(problem, found->image_path, error) : 0;
}

static int check_degree(struct inspection *found, int64_t channels, const float *x, struct problem *problem) {
    const int64_t h = found->height < found->side ? found->height : found->side;
    const int64_t w = found->width < found->side ? found->width : found->side;
    float *patch = must_allocate((size_t)(channels * h * w), sizeof *patch);
    int error;
    found->check_height = (int)h;
    found->check_width = (int)w;
    found->frozen.struct_size = found->free.struct_size = sizeof found->free;
    cut(found, channels, x, (found->height - h) / 2, (found->width - w) / 2, h, w, patch);
    found->check_options.freeze_maxima = 1;
    error =
        unetstar_model_degree_check(found->model, &found->check_options, h, w, patch, found->cancel, &found->frozen);
    found->check_options.freeze_maxima = 0;
    if (!error)
        error =
            unetstar_model_degree_check(found->model, &found->check_options, h, w, patch, found->cancel, &found->free);
    free(patch);
    return error ? problem_from_library(problem, found->image_path, error) : 0;
}

/* ---- Against a label ---- */

/* Patches evenly spread over the middle of the image, in two rows. */
static int measure_gradients(struct inspection *found, int64_t channels, const float *x, const uint8_t *labels,
                             struct problem *problem) {
    const int64_t h = found->height < found->patch ? found->height : found->patch;
    const int64_t w = found->width < found->patch ? found->width : found->patch;
    const int whole = h == found->height && w == found->width; /* there is one such patch only */
    const int64_t n = found->patches = whole ? 1 : found->patches, columns = (n + 1) / 2;
    float *patches = must_allocate((size_t)(n * channels * h * w), sizeof *patches);
    uint8_t *classes = must_allocate((size_t)(n * h * w), 1);
    int64_t k, y;
    int error;
    for (k = 0; k < n; k++) {
        const int64_t y0 = (found->height - h) * (1 + k / columns) / (n > columns ? 3 : 2);
        const int64_t x0 = (found->width - w) * (1 + k % columns) / (columns + 1);
        cut(found, channels, x, y0, x0, h, w, patches + k * channels * h * w);
        for (y = 0; y < h; y++)
            memcpy(classes + (k * h + y) * w, labels + (y0 + y) * found->width + x0, (size_t)w);
    }
    found->patch_height = (int)h;
    found->patch_width = (int)w;
    found->gradients.struct_size = sizeof found->gradients;
    error = unetstar_model_branch_gradients(found->model, n, h, w, patches, classes, NULL, NULL, &found->gradients);
    free(classes);
    free(patches);
    return error ? problem_from_library(problem, found->label_path, error) : 0;
}

/* The label as a training sees it, by way of a data set of one image. */
static int read_label(struct inspection *found, const unetstar_image *image, int64_t channels, const float *x,
                      struct problem *problem) {
    struct picture picture = {0};
    unetstar_dataset *set = NULL;
    unetstar_image label;
    int error, result = is_same_file(found->label_path, found->image_path)
                            ? problem_set(problem, "%s: that is the image itself, not its label", found->label_path)
                            : 0;
    result = result ? result : picture_read_gray(&picture, found->label_path, problem);
    if (result)
        return result;
    picture_describe(&picture, &label);
    error = unetstar_dataset_create(&set, found->context);
    error = error ? error : unetstar_dataset_add(set, path_base(found->image_path), image, &label, NULL);
    unetstar_image_init(&label, sizeof label);
    error = error ? error : unetstar_dataset_get(set, 0, UNETSTAR_DATASET_LABEL, &label);
    result = error ? problem_from_library(problem, found->label_path, error)
                   : measure_gradients(found, channels, x, (const uint8_t *)label.data, problem);
    unetstar_dataset_destroy(set);
    picture_free(&picture);
    return result;
}

static int measure_image(struct inspection *found, const struct picture *picture, struct problem *problem) {
    unetstar_model_options options;
    unetstar_prep_options prep;
    unetstar_image image;
    float *x;
    int error, result;
    unetstar_model_options_init(&options, sizeof options);
    unetstar_prep_options_init(&prep, sizeof prep);
    picture_describe(picture, &image);
    error = unetstar_model_get_options(found->model, &options);
    error = error ? error : unetstar_model_get_prep(found->model, &prep);
    if (error)
        return problem_from_library(problem, found->model_path, error);
    if (options.in_channels != (prep.color == UNETSTAR_COLOR_RGB ? 3 : 1))
        return problem_set(problem, "%s: the model has %d input channels, which no image makes", found->model_path,
                           (int)options.in_channels);
    x = must_allocate((size_t)(options.in_channels * found->height * found->width), sizeof *x);
    error = unetstar_preprocess(found->context, &prep, &image, NULL, x);
    result = error ? problem_from_library(problem, found->image_path, error) : measure_features(found, x, problem);
    result = result ? result : check_degree(found, options.in_channels, x, problem);
    if (!result && found->label_path)
        result = read_label(found, &image, options.in_channels, x, problem);
    free(x);
    return result;
}

int inspect_measure(struct inspection *found, struct problem *problem) {
    struct picture picture = {0};
    int result;
    found->width = USUAL_WIDTH;
    found->height = USUAL_HEIGHT;
    if (!found->image_path)
        return measure_model(found, problem);
    if (picture_read(&picture, found->image_path, problem))
        return -1;
    found->width = picture.width;
    found->height = picture.height;
    result = measure_model(found, problem);
    result = result ? result : measure_image(found, &picture, problem);
    picture_free(&picture);
    return result;
}
