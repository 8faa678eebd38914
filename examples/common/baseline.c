#include "baseline.h"

#include <stdlib.h>

#include "bar.h"
#include "hessian.h"
#include "loader.h"

/* Responses are in standard deviations of a photograph: few reach 16. */
enum { BINS = 1 << 16, BINS_OF_ONE = BINS / 16 };

struct seen {
    double pixels, vessels;
    double bins[BINS];
};

static void count_image(struct seen *seen, const unetstar_image *photo, const uint8_t *label, const uint8_t *mask) {
    int64_t n = photo->width * photo->height, i;
    float *response = must_allocate((size_t)n, sizeof *response);
    hessian_vesselness(response, photo, mask);
    for (i = 0; i < n; i++)
        if (!mask || mask[i]) {
            float at = response[i] * BINS_OF_ONE;
            seen->bins[at < BINS - 1 ? (int)at : BINS - 1]++;
            seen->pixels++;
            seen->vessels += label[i] != 0;
        }
    free(response);
}

static int see(struct seen *seen, unetstar_context *context, const struct sample *sample, struct problem *problem) {
    unetstar_dataset *one = NULL;
    unetstar_image photo, label, mask;
    int error = unetstar_dataset_create(&one, context);
    if (error)
        return problem_from_library(problem, NULL, error);
    unetstar_image_init(&photo, sizeof photo);
    unetstar_image_init(&label, sizeof label);
    unetstar_image_init(&mask, sizeof mask);
    if (load_sample(one, sample, problem)) {
        unetstar_dataset_destroy(one);
        return -1;
    }
    if ((error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_IMAGE, &photo)) ||
        (error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_LABEL, &label)) ||
        (error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_MASK, &mask)))
        problem_from_library(problem, sample->name, error);
    else
        count_image(seen, &photo, label.data, mask.data);
    unetstar_dataset_destroy(one);
    return error ? -1 : 0;
}

int baseline_learn(struct baseline *baseline, unetstar_context *context, const struct collection *collection,
                   const struct indices *images, double share, const unetstar_cancel *cancel, int quiet,
                   struct problem *problem) {
    struct seen *seen = must_allocate(1, sizeof *seen);
    struct bar bar;
    double above = 0;
    size_t i;
    int result = 0, k = BINS - 1;
    bar_start(&bar, "filtering", quiet);
    for (i = 0; i < images->count && !result; i++) {
        const struct sample *sample = &collection->items[images->items[i]];
        bar_update(&bar, (double)i / (double)images->count, sample->name);
        result = see(seen, context, sample, problem);
        if (!result && unetstar_cancel_requested(cancel))
            result = problem_set(problem, "interrupted");
    }
    bar_clear(&bar);
    baseline->share = share > 0 ? share : seen->pixels > 0 ? seen->vessels / seen->pixels : 0;
    while (k > 0 && above + seen->bins[k] < baseline->share * seen->pixels)
        above += seen->bins[k--];
    baseline->threshold = (double)(k > 0 ? k : 1) / BINS_OF_ONE;
    free(seen);
    return result;
}

int baseline_map(void *user, const struct sample *sample, const unetstar_image *photo, const uint8_t *mask, float *map,
                 struct problem *problem) {
    const struct baseline *baseline = user;
    float threshold = (float)baseline->threshold;
    int64_t n = photo->width * photo->height, i;
    (void)sample, (void)problem;
    hessian_vesselness(map, photo, mask);
    for (i = 0; i < n; i++)
        map[i] = map[i] / (map[i] + threshold);
    return 0;
}
