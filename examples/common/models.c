#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
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

int models_load_builtin(struct models *models, unetstar_context *context, struct problem *problem) {
    int error = unetstar_model_load_memory(&models->items[0], context, builtin_model, builtin_model_size);
    if (error)
        return problem_from_library(problem, "the model inside this program", error);
    models->constant[0] = models->items[0];
    models->count = 1;
    return 0;
}

/* The ninth byte of a safetensors file opens its header. */
static int is_safetensors(const char *path) {
    unsigned char start[9];
    FILE *file;
    int result;
    if (ends_with(path, ".safetensors"))
        return 1;
    file = is_folder(path) ? NULL : fopen(path, "rb");
    if (!file)
        return 0;
    result = fread(start, 1, sizeof start, file) == sizeof start && start[8] == '{' && !start[5] && !start[6] && !start[7];
    fclose(file);
    return result;
}

int models_named(const char *operand) {
    char *copy = must_copy(operand), *comma = strchr(copy, ',');
    int result = is_safetensors(operand);
    if (!result && comma) {
        *comma = 0;
        result = is_safetensors(copy);
    }
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
