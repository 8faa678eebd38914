#include "models.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

static int load_one(struct models *models, unetstar_context *context, const char *path, struct problem *problem) {
    int error;
    if (models->count == MODELS_MAX)
        return problem_set(problem, "more than %d models", (int)MODELS_MAX);
    error = unetstar_model_load(&models->items[models->count], context, path);
    if (error) {
        problem_from_library(problem, NULL, error);
        if (!strstr(problem->text, path)) /* every error names its file */
            problem_from_library(problem, path, error);
        return -1;
    }
    models->constant[models->count] = models->items[models->count];
    models->count++;
    return 0;
}

int models_load(struct models *models, unetstar_context *context, const char *list, struct problem *problem) {
    char *copy = must_copy(list), *at = copy, *comma;
    int result = 0;
    if (path_exists(list)) { /* a comma may be part of a name */
        free(copy);
        return load_one(models, context, list, problem);
    }
    do {
        comma = strchr(at, ',');
        if (comma)
            *comma = 0;
        result = at[0] ? load_one(models, context, at, problem) : problem_set(problem, "%s: a name is empty", list);
        at = comma + 1;
    } while (comma && !result);
    free(copy);
    return result;
}

const unetstar_model *const *models_list(const struct models *models) {
    return models->constant;
}

void models_free(struct models *models) {
    int i;
    for (i = 0; i < models->count; i++)
        unetstar_model_destroy(models->items[i]);
    models->count = 0;
}
