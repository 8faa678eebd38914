/* models.h - "a.safetensors,b.safetensors" as loaded models. */
#ifndef EXAMPLES_MODELS_H
#define EXAMPLES_MODELS_H

#include "problem.h"
#include "unetstar.h"

enum { MODELS_MAX = 64 };
struct models {
    unetstar_model *items[MODELS_MAX];
    const unetstar_model *constant[MODELS_MAX];
    int count;
};

int models_load(struct models *models, unetstar_context *context, const char *list, struct problem *problem);
/* The model inside the program instead. */
int models_load_builtin(struct models *models, unetstar_context *context, struct problem *problem);
/* Whether an operand stands for models rather than for pictures or data: it, or the first of its list, ends in .safetensors
 * or is a file of that kind. */
int models_named(const char *operand);
const unetstar_model *const *models_list(const struct models *models);
void models_free(struct models *models);

#endif
