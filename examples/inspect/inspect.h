/* inspect.h - inside unetstar-inspect: what is measured of a model, and the functions that measure, print and write it.
 */
#ifndef EXAMPLES_INSPECT_H
#define EXAMPLES_INSPECT_H

#include "common/problem.h"
#include "unetstar.h"

enum { PLACE_MAIN, PLACE_SKIP, PLACE_FUSED, PLACE_OUTPUT, PLACES };

struct inspection {
    const char *model_path, *image_path, *label_path; /* NULL: none */
    unetstar_context *context;
    const unetstar_cancel *cancel;
    unetstar_model *model;
    /* Settings */
    int32_t side, patch, patches; /* of the degree check; of the gradients */
    unetstar_degree_check_options check_options;
    /* Of the model alone */
    int64_t width, height; /* of the image, or of what stands for one; memory is for it */
    unetstar_workspace memory, stream_memory;
    int has_stream;
    unetstar_degree degree;
    char layers[UNETSTAR_MAX_FUSIONS][40]; /* that read the fusions */
    /* With an image */
    unetstar_features features[UNETSTAR_MAX_FUSIONS][PLACES];
    int check_width, check_height;
    unetstar_degree_check frozen, free;
    /* With a label */
    int patch_width, patch_height;
    unetstar_branch_gradients gradients;
};

extern const char *const inspect_places[PLACES];

/* model, context and settings are there; fills the rest. */
int inspect_measure(struct inspection *found, struct problem *problem);
/* Tables on the standard output. */
int inspect_print(const struct inspection *found, struct problem *problem);
int inspect_write_csv(const struct inspection *found, const char *path, struct problem *problem);
int inspect_write_json(const struct inspection *found, const char *path, struct problem *problem);

/* Calls for every option of the model and its preprocessing, by its name and value in unetstar-train. */
typedef void (*inspect_option_fn)(void *user, const char *name, const char *value);
void inspect_options(const unetstar_model *model, inspect_option_fn each, void *user);

#endif
