#include "calibration.h"

#include <stdlib.h>


int calibrate_model(unetstar_model *model, const unetstar_dataset *set, int64_t images, const unetstar_cancel *cancel,
                    struct problem *problem) {
    const int64_t count = unetstar_dataset_count(set), n = images < count ? images : count;
    unetstar_image *photos = calloc((size_t)n, sizeof *photos);
    const unetstar_image **list = calloc((size_t)n, sizeof *list);
    int64_t i;
    int error = 0, result = photos && list ? 0 : problem_set(problem, "out of memory");
    for (i = 0; i < n && !result && !error; i++) {
        unetstar_image_init(&photos[i], sizeof photos[i]);
        error = unetstar_dataset_get(set, i * count / n, UNETSTAR_DATASET_IMAGE, &photos[i]);
        list[i] = &photos[i];
    }
    if (!result && !error)
        error = unetstar_model_calibrate(model, list, n, NULL, cancel);
    if (error)
        result = problem_from_library(problem, "calibration", error);
    free(photos);
    free(list);
    return result;
}
