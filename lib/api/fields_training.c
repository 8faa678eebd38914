/* fields_training.c - the fields of a training's options and state, as checkpoints hold them. */
#include "api/api.h"

static const char *const schedule_words[] = {"constant", "cosine", "plateau", NULL};
static const char *const validation_words[] = {"none", "patches", "images", NULL};
static const char *const metric_words[] = {"roc_auc", "pr_auc", "f1", "accuracy", "mcc", "loss", NULL};
static const char *const optimizer_words[] = {"adam", "adamw", "sgd", NULL};

#define F(type, structure, field, words) {#field, type, offsetof(structure, field), words, NULL}
#define END {NULL, 0, 0, NULL, NULL}

#define T struct us_trainer_options
const struct us_field us_trainer_fields[] = {F('l', T, epochs, NULL),
                                             F('l', T, steps_per_epoch, NULL),
                                             F('l', T, early_stop, NULL),
                                             F('u', T, seed, NULL),
                                             F('d', T, min_learning_rate, NULL),
                                             F('d', T, plateau_factor, NULL),
                                             F('d', T, clip_gradient_norm, NULL),
                                             F('d', T, validation_fraction, NULL),
                                             F('d', T, deep_supervision_weight, NULL),
                                             F('l', T, plateau_patience, NULL),
                                             F('i', T, batch_size, NULL),
                                             F('i', T, patch_height, NULL),
                                             F('i', T, patch_width, NULL),
                                             F('i', T, schedule, schedule_words),
                                             F('i', T, validation, validation_words),
                                             F('i', T, metric, metric_words),
                                             F('i', T, masked_loss, NULL),
                                             {"flips", 'i', offsetof(T, augment.flips), NULL, NULL},
                                             {"quarter_turns", 'i', offsetof(T, augment.quarter_turns), NULL, NULL},
                                             {"brightness", 'f', offsetof(T, augment.brightness), NULL, NULL},
                                             {"contrast", 'f', offsetof(T, augment.contrast), NULL, NULL},
                                             {"gamma", 'f', offsetof(T, augment.gamma), NULL, NULL},
                                             END};

#define O struct us_optim_options
const struct us_field us_optimizer_fields[] = {F('i', O, kind, optimizer_words), F('d', O, learning_rate, NULL),
                                               F('d', O, beta1, NULL),           F('d', O, beta2, NULL),
                                               F('d', O, eps, NULL),             F('d', O, weight_decay, NULL),
                                               F('d', O, momentum, NULL),        END};

#define L struct us_loss
#define W(k) {"class_weight_" #k, 'f', offsetof(L, class_weights) + k * sizeof(float), NULL, NULL}
const struct us_field us_loss_fields[] = {F('f', L, cross_entropy, NULL),
                                          F('f', L, focal, NULL),
                                          F('f', L, dice, NULL),
                                          F('f', L, focal_gamma, NULL),
                                          W(0),
                                          W(1),
                                          W(2),
                                          W(3),
                                          W(4),
                                          W(5),
                                          W(6),
                                          W(7),
                                          END};

#define S struct us_trainer_state
const struct us_field us_state_fields[] = {F('l', S, epoch, NULL),         F('l', S, step, NULL),
                                           F('l', S, total_steps, NULL),   F('d', S, loss_sum, NULL),
                                           F('d', S, best_metric, NULL),   F('l', S, best_epoch, NULL),
                                           F('l', S, bad_epochs, NULL),    F('d', S, plateau_best, NULL),
                                           F('d', S, plateau_scale, NULL), F('l', S, plateau_bad, NULL),
                                           F('i', S, ended, NULL),         END};
