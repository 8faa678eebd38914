#include "settings.h"

#include <stdio.h>
#include <string.h>

const struct choice settings_presets[] = {{"original", PRESET_ORIGINAL},
                                          {"original-rgb", PRESET_ORIGINAL_RGB},
                                          {"full-resolution", PRESET_FULL_RESOLUTION},
                                          {"skelcon-like", PRESET_SKELCON_LIKE},
                                          {NULL, 0}};
const struct choice settings_fusions[] = {
    {"sum", UNETSTAR_FUSION_SUM}, {"star", UNETSTAR_FUSION_STAR}, {"concat", UNETSTAR_FUSION_CONCAT}, {NULL, 0}};
const struct choice settings_activations[] = {{"none", UNETSTAR_ACTIVATION_NONE},
                                            {"relu", UNETSTAR_ACTIVATION_RELU},
                                            {"leaky-relu", UNETSTAR_ACTIVATION_LEAKY_RELU},
                                            {"relu6", UNETSTAR_ACTIVATION_RELU6},
                                            {"silu", UNETSTAR_ACTIVATION_SILU},
                                            {"gelu", UNETSTAR_ACTIVATION_GELU},
                                            {NULL, 0}};
static const struct choice blocks[] = {
    {"double-conv", UNETSTAR_BLOCK_DOUBLE_CONV}, {"star", UNETSTAR_BLOCK_STAR},
    {"star-depthwise", UNETSTAR_BLOCK_STAR_DEPTHWISE}, {NULL, 0}};
static const struct choice initializations[] = {
    {"pytorch", UNETSTAR_INIT_PYTORCH}, {"he", UNETSTAR_INIT_HE}, {NULL, 0}};
static const struct choice norms[] = {{"batch", UNETSTAR_NORM_BATCH},
                                      {"instance", UNETSTAR_NORM_INSTANCE},
                                      {"group", UNETSTAR_NORM_GROUP},
                                      {"none", UNETSTAR_NORM_NONE},
                                      {NULL, 0}};
static const struct choice upsamplings[] = {{"nearest", UNETSTAR_UPSAMPLING_NEAREST},
                                            {"bilinear", UNETSTAR_UPSAMPLING_BILINEAR},
                                            {"transposed", UNETSTAR_UPSAMPLING_TRANSPOSED},
                                            {NULL, 0}};
static const struct choice precisions[] = {
    {"fast", UNETSTAR_PRECISION_FAST}, {"exact", UNETSTAR_PRECISION_EXACT}, {NULL, 0}};
static const struct choice colors[] = {
    {"gray", UNETSTAR_COLOR_GRAY}, {"green", UNETSTAR_COLOR_GREEN}, {"rgb", UNETSTAR_COLOR_RGB}, {NULL, 0}};
static const struct choice optimizers[] = {
    {"adam", UNETSTAR_OPTIMIZER_ADAM}, {"adamw", UNETSTAR_OPTIMIZER_ADAMW}, {"sgd", UNETSTAR_OPTIMIZER_SGD}, {NULL, 0}};
static const struct choice schedules[] = {{"constant", UNETSTAR_SCHEDULE_CONSTANT},
                                          {"cosine", UNETSTAR_SCHEDULE_COSINE},
                                          {"plateau", UNETSTAR_SCHEDULE_PLATEAU},
                                          {NULL, 0}};
static const struct choice validations[] = {{"none", UNETSTAR_VALIDATION_NONE},
                                            {"patches", UNETSTAR_VALIDATION_PATCHES},
                                            {"images", UNETSTAR_VALIDATION_IMAGES},
                                            {NULL, 0}};
static const struct choice metrics[] = {{"roc-auc", UNETSTAR_METRIC_ROC_AUC},
                                        {"pr-auc", UNETSTAR_METRIC_PR_AUC},
                                        {"f1", UNETSTAR_METRIC_F1},
                                        {"accuracy", UNETSTAR_METRIC_ACCURACY},
                                        {"mcc", UNETSTAR_METRIC_MCC},
                                        {"loss", UNETSTAR_METRIC_LOSS},
                                        {NULL, 0}};
static const struct choice views[] = {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}, {NULL, 0}};

const char *settings_metric_name(int32_t metric) {
    static const char *const names[] = {"ROC AUC", "PR AUC", "F1", "accuracy", "MCC", "loss"};
    return metric >= 0 && metric <= UNETSTAR_METRIC_LOSS ? names[metric] : "metric";
}

void settings_describe_model(const unetstar_model_options *model, char *text, size_t size) {
    static const char *const described[] = {"", "star blocks, ", "depthwise star blocks, "};
    snprintf(text, size, "fusion %s%s, activation %s, norm %s, %s%d levels, narrow %g, %d input channel%s%s",
             choice_name(settings_fusions, model->fusion), model->fusion_norm ? " and a norm" : "",
             choice_name(settings_activations, model->activation), choice_name(norms, model->norm), described[model->block],
             (int)model->levels, model->narrow, (int)model->in_channels, model->in_channels == 1 ? "" : "s",
             model->full_resolution_head ? ", full-resolution head" : "");
}

void settings_init(struct settings *settings, int32_t preset) {
    memset(settings, 0, sizeof *settings);
    data_options_init(&settings->data);
    unetstar_model_options_init(&settings->model, sizeof settings->model);
    unetstar_prep_options_init(&settings->prep, sizeof settings->prep);
    unetstar_loss_options_init(&settings->loss, sizeof settings->loss);
    unetstar_optimizer_options_init(&settings->optimizer, sizeof settings->optimizer);
    unetstar_trainer_options_init(&settings->trainer, sizeof settings->trainer);
    settings->preset = preset;
    settings->out = "out";
    settings->seed = settings->trainer.seed;
    settings->patch[0] = settings->trainer.patch_width;
    settings->patch[1] = settings->trainer.patch_height;
    settings->checkpoint_every = 1;
    settings->pictures = 1;
    settings->tta = 1;
    settings->choose_threshold = 1;
    settings->threshold = 0.5;
    if (preset == PRESET_ORIGINAL_RGB) {
        settings->prep.color = UNETSTAR_COLOR_RGB;
        settings->prep.min_max = 0;
        settings->prep.clahe_tiles = 0;
        settings->prep.gamma = 1;
    }
    if (preset == PRESET_SKELCON_LIKE) {
        settings->loss.cross_entropy = 0;
        settings->loss.focal = 1;
        settings->loss.focal_gamma = 2;
        settings->trainer.color_mix = 1;
        settings->trainer.clahe_jitter = 0.7f; /* limits 1 .. 4 around 2 */
        settings->trainer.gamma = 0.2f;
        settings->trainer.contrast = 0.1f;
        settings->trainer.brightness = 0.03f;
        settings->trainer.noise = 0.02f;
    }
    if (preset == PRESET_FULL_RESOLUTION)
        settings->model.full_resolution_head = 1;
}

static void network_arguments(struct args *args, unetstar_model_options *model) {
    args_group(args, "Network");
    args_choice(args, "fusion", settings_fusions, &model->fusion, "how a skip connection meets the upsampled map");
    args_choice(args, "activation", settings_activations, &model->activation, "after every norm");
    args_choice(args, "norm", norms, &model->norm, "after every convolution");
    args_int32(args, "norm-groups", &model->norm_groups, 1, 4096, "groups of --norm group");
    args_choice(args, "block", blocks, &model->block,
                "two 3x3 convolutions, or one, full or depthwise, and the star block of 1x1 ones");
    args_int32(args, "block-expansion", &model->block_expansion, 1, 4,
               "width of a star block's branches, in widths of the stage");
    args_bool(args, "fusion-norm", &model->fusion_norm, "a norm after every fusion, too; of sum and star");
    args_choice(args, "initialization", initializations, &model->initialization,
                "initial weights uniform in +-1/sqrt(fan_in) (pytorch) or +-sqrt(6/fan_in) (he)");
    args_choice(args, "upsampling", upsamplings, &model->upsampling, "in the decoder");
    args_int32(args, "levels", &model->levels, 2, 5, "stages of encoder and decoder");
    args_double(args, "narrow", &model->narrow, 1e-3, 16, "width: the first stage has 64 times this many channels");
    args_double(args, "channel-multiplier", &model->channel_multiplier, 1e-3, 16, "another factor of the width");
    args_int32(args, "classes", &model->classes, 1, 8, "outputs; 1 is a logistic output");
    args_bool(args, "full-resolution-head", &model->full_resolution_head,
              "use the full-resolution skip too, with one more block");
    args_bool(args, "deep-supervision", &model->deep_supervision, "a head and a loss at every decoder stage");
    args_double(args, "dropout", &model->dropout, 0, 0.99, "probability, at the end of each block");
    args_float(args, "leaky-slope", &model->leaky_slope, 0, 1, "of leaky-relu");
    args_choice(args, "precision", precisions, &model->precision, "fast may round a little more");
}

static void prep_arguments(struct args *args, unetstar_prep_options *prep) {
    args_group(args, "Preprocessing (stored in the model)");
    args_choice(args, "color", colors, &prep->color, "what the network sees");
    args_bool(args, "min-max", &prep->min_max, "stretch each image to the full range");
    args_int32(args, "clahe-tiles", &prep->clahe_tiles, 0, 64,
               "tiles a side of the local contrast equalisation; 0: none");
    args_float(args, "clahe-clip", &prep->clahe_clip, 0.01, 1000, "its contrast limit");
    args_float(args, "gamma", &prep->gamma, 0.05, 20, "v^(1/gamma); 1: none");
    args_bool(args, "standardize", &prep->standardize, "subtract the mean, divide by the standard deviation");
}

static void loss_arguments(struct args *args, struct settings *settings) {
    args_group(args, "Loss");
    args_float(args, "cross-entropy", &settings->loss.cross_entropy, 0, 1e6, "weight of the cross-entropy");
    args_float(args, "focal", &settings->loss.focal, 0, 1e6, "weight of the focal loss");
    args_float(args, "focal-gamma", &settings->loss.focal_gamma, 0, 100, "its exponent");
    args_float(args, "dice", &settings->loss.dice, 0, 1e6, "weight of the Dice loss");
    args_floats(args, "class-weights", settings->loss.class_weights, "of background, vessel, ...");
    args_bool(args, "masked-loss", &settings->trainer.masked_loss, "leave pixels outside the field of view out");
    args_double(args, "deep-supervision-weight", &settings->trainer.deep_supervision_weight, 0, 1e6,
                "of the mean loss of the earlier heads");
}

static void optimizer_arguments(struct args *args, struct settings *settings) {
    unetstar_optimizer_options *optimizer = &settings->optimizer;
    unetstar_trainer_options *trainer = &settings->trainer;
    args_group(args, "Optimizer and schedule");
    args_choice(args, "optimizer", optimizers, &optimizer->kind, "");
    args_double(args, "lr", &optimizer->learning_rate, 0, 1e3, "learning rate");
    args_double(args, "weight-decay", &optimizer->weight_decay, 0, 1e3, "");
    args_double(args, "momentum", &optimizer->momentum, 0, 0.99999, "of sgd");
    args_double(args, "beta1", &optimizer->beta1, 0, 0.99999, "of adam and adamw");
    args_double(args, "beta2", &optimizer->beta2, 0, 0.999999999, "of adam and adamw");
    args_double(args, "eps", &optimizer->eps, 0, 1, "of adam and adamw");
    args_double(args, "clip-gradient", &trainer->clip_gradient_norm, 0, 1e9,
                "largest norm of the gradient; 0: no limit");
    args_choice(args, "schedule", schedules, &trainer->schedule, "of the learning rate");
    args_double(args, "min-lr", &trainer->min_learning_rate, 0, 1e3, "lowest learning rate");
    args_double(args, "plateau-factor", &trainer->plateau_factor, 0.001, 1, "of --schedule plateau");
    args_int64(args, "plateau-patience", &trainer->plateau_patience, 0, 1e6, "epochs, of --schedule plateau");
}

static void training_arguments(struct args *args, struct settings *settings) {
    unetstar_trainer_options *trainer = &settings->trainer;
    args_group(args, "Training");
    args_int64(args, "epochs", &trainer->epochs, 1, 1e6, "at most");
    args_int64(args, "steps", &trainer->steps_per_epoch, 1, 1e9, "steps of an epoch");
    args_int32(args, "batch", &trainer->batch_size, 1, 4096, "patches of a step");
    args_size(args, "patch", settings->patch, 8, 4096, "size of the patches");
    args_int64(args, "early-stop", &trainer->early_stop, 0, 1e6, "epochs without a better metric; 0: never");
    args_uint64(args, "seed", &settings->seed, "of weights, patches, augmentation and dropout");
    args_group(args, "Validation (chooses the best weights)");
    args_choice(args, "validation", validations, &trainer->validation,
                "on fixed patches of the training images, or on whole "
                "images kept back");
    args_double(args, "validation-fraction", &trainer->validation_fraction, 0.001, 100,
                "patches that validate, as a share of an epoch's");
    args_int32(args, "validation-images", &settings->validation_count, 0, 100000, "images kept back; 0: a fifth");
    args_choice(args, "metric", metrics, &trainer->metric, "to judge by");
    args_group(args, "Augmentation");
    args_bool(args, "flips", &trainer->flips, "mirror patches");
    args_bool(args, "quarter-turns", &trainer->quarter_turns, "turn square patches by 0, 90, 180 or 270 degrees");
    args_float(args, "brightness", &trainer->brightness, 0, 1, "x + u, u within +- this");
    args_float(args, "contrast", &trainer->contrast, 0, 1, "(x - 1/2)(1 + u) + 1/2");
    args_float(args, "gamma-jitter", &trainer->gamma, 0, 2, "x^exp(u)");
    args_float(args, "noise", &trainer->noise, 0, 1, "largest standard deviation of normal noise");
    args_float(args, "blur", &trainer->blur, 0, 4, "largest standard deviation of a blur, in pixels");
    args_float(args, "color-mix", &trainer->color_mix, 0, 1,
               "share of patches that mix two of gray, green, X, L* and HLS lightness");
    args_float(args, "clahe-jitter", &trainer->clahe_jitter, 0, 5, "the contrast limit times exp(u)");
}

void settings_arguments(struct args *args, struct settings *settings) {
    args_group(args, "Most used");
    args_text(args, "out", 'o', "DIR", &settings->out, "folder for everything that is written");
    args_choice(args, "preset", settings_presets, &settings->preset,
                "the original article's protocol, on gray or on colour images; with the full-resolution skip; or on gray with "
                "mixtures of colours, drawn contrast, noise and the focal loss, after SkelCon but not the same "
                "(docs/training.md); options "
                "given beside it win");
    args_flag(args, "resume", &settings->resume, "go on from DIR/checkpoint.safetensors, to the same bits");
    args_flag(args, "overwrite", &settings->overwrite, "start anew although DIR holds a training");
    args_int64(args, "checkpoint-every", &settings->checkpoint_every, 0, 1e6,
               "epochs between checkpoints; 0: only at the end and on Ctrl-C");
    args_text(args, "description", 0, "TEXT", &settings->description, "a sentence to keep in the model");
    args_flag(args, "list", &settings->list,
              "only print which image goes with which label and mask, and what it is for");
    data_arguments(args, &settings->data, 0);
    network_arguments(args, &settings->model);
    prep_arguments(args, &settings->prep);
    loss_arguments(args, settings);
    optimizer_arguments(args, settings);
    training_arguments(args, settings);
    args_group(args, "After the training");
    args_bool(args, "store-threshold", &settings->choose_threshold,
              "segment the training images, and store in the model the threshold with the best F1");
    args_int32(args, "calibrate", &settings->calibration_images, 0, 1024,
               "prepare the model for segmenting with --precision int8, on so many training images");
    args_group(args, "Test at the end");
    args_double(args, "threshold", &settings->threshold, 0, 1, "a pixel is vessel from this probability on");
    args_choice(args, "tta", views, &settings->tta, "average over mirrored (2, 4) and turned (8) views (also --views)");
    args_alias(args, "views", "tta");
    args_bool(args, "pictures", &settings->pictures, "write a probability map and an error picture of each test image");
    args_common(args, &settings->threads, &settings->quiet);
}

int settings_finish(struct settings *settings, struct problem *problem) {
    int32_t multiple = (int32_t)1 << settings->model.levels;
    settings->model.seed = settings->seed;
    settings->trainer.seed = settings->seed;
    settings->model.in_channels = settings->prep.color == UNETSTAR_COLOR_RGB ? 3 : 1;
    settings->trainer.patch_width = settings->patch[0];
    settings->trainer.patch_height = settings->patch[1];
    if (settings->patch[0] % multiple || settings->patch[1] % multiple)
        return problem_set(problem, "--patch %dx%d: with --levels %d both sizes must be multiples of %d",
                           (int)settings->patch[0], (int)settings->patch[1], (int)settings->model.levels,
                           (int)multiple);
    if (settings->trainer.color_mix > 0 && settings->model.in_channels != 1)
        return problem_set(problem, "--color-mix mixes planes of one channel: it does not go with --color rgb");
    if (settings->trainer.clahe_jitter > 0 && settings->prep.clahe_tiles == 0)
        return problem_set(problem, "--clahe-jitter changes the limit of CLAHE, which --clahe-tiles 0 switches off");
    if (settings->loss.cross_entropy + settings->loss.focal + settings->loss.dice <= 0)
        return problem_set(problem, "all weights of the loss are 0 (--cross-entropy, --focal, --dice)");
    return 0;
}
