/* settings.h - everything unetstar-train can be told, with the library's defaults, and its options. */
#ifndef EXAMPLES_SETTINGS_H
#define EXAMPLES_SETTINGS_H

#include "args.h"
#include "datasets.h"
#include "unetstar.h"

enum { PRESET_ORIGINAL, PRESET_ORIGINAL_RGB, PRESET_FULL_RESOLUTION, PRESET_SKELCON_LIKE };

struct settings {
    struct data_options data;
    unetstar_model_options model;
    unetstar_prep_options prep;
    unetstar_loss_options loss;
    unetstar_optimizer_options optimizer;
    unetstar_trainer_options trainer;
    const char *out, *description;
    uint64_t seed;            /* of weights, patches, augmentation and dropout */
    int32_t patch[2];         /* width, height */
    int32_t validation_count; /* whole images, 0: a fifth */
    int64_t checkpoint_every;
    int32_t preset, resume, overwrite, list, pictures, threads, quiet;
    int32_t choose_threshold, calibration_images, tta;
    double threshold;
};

void settings_init(struct settings *settings, int32_t preset);
/* Fills the table of options; the values settings hold then are the defaults shown by --help. */
void settings_arguments(struct args *args, struct settings *settings);
/* Carries over what several structs share, and checks what no single option can. */
int settings_finish(struct settings *settings, struct problem *problem);

extern const struct choice settings_presets[], settings_fusions[], settings_activations[];
const char *settings_metric_name(int32_t metric);
/* "star, relu, batch norm, 4 levels, narrow 0.5" */
void settings_describe_model(const unetstar_model_options *model, char *text, size_t size);

#endif
