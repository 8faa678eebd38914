/*
 * train.h - optimizers, schedules and the training loop. A trainer works on a network's weights that somebody else owns.
 */
#ifndef US_TRAIN_H
#define US_TRAIN_H

#include "base/base.h"
#include "data/data.h"
#include "eval/eval.h"
#include "nn/nn.h"

/* ---- Optimizers (optim.c) ---- */

struct us_optim_options { /* the fields of unetstar_optimizer_options */
    double learning_rate, beta1, beta2, eps, weight_decay, momentum;
    int32_t kind;
};
struct us_optim {
    us_context *ctx;
    struct us_optim_options options;
    size_t n;
    float *first, *second; /* moments; SGD: first is the momentum, second NULL */
    int64_t steps;
};
int us_optim_check(const struct us_optim_options *options); /* EINVAL */
int us_optim_create(struct us_optim *out, us_context *ctx, size_t n, const struct us_optim_options *options);
void us_optim_destroy(struct us_optim *optim);
/* One update in one pass over the arenas. */
int us_optim_step(struct us_optim *optim, float *params, const float *gradients, double learning_rate, double gradient_scale);
/* Euclidean norm: blocks of 4,096 values by the kernels' tree, blocks in order in double. */
double us_gradient_norm(const us_context *ctx, const float *gradients, size_t n);

/* ---- The training loop (trainer.c, validate.c, schedule.c) ---- */

struct us_trainer_options { /* the fields of unetstar_trainer_options */
    int64_t epochs, steps_per_epoch, early_stop;
    uint64_t seed;
    double min_learning_rate, plateau_factor, clip_gradient_norm, validation_fraction, deep_supervision_weight;
    int64_t plateau_patience;
    int32_t batch_size, patch_height, patch_width, schedule, validation, metric, masked_loss;
    struct us_augment augment;
};
int us_trainer_check(const struct us_trainer_options *options); /* EINVAL, ELIMIT */

/* Everything that changes from step to step beside weights and moments: what a checkpoint holds. */
struct us_trainer_state {
    int64_t epoch, step;    /* next step to run */
    int64_t total_steps;    /* of this and earlier epochs: keys dropout */
    double loss_sum;        /* over the steps of this epoch */
    double best_metric;     /* NaN: none yet */
    int64_t best_epoch;     /* -1: none yet */
    int64_t bad_epochs;     /* since the best */
    double plateau_best, plateau_scale;
    int64_t plateau_bad;
    int32_t ended;
};

struct us_validator;

struct us_trainer {
    us_context *ctx;
    const struct us_net *net;
    struct us_params *params;
    struct us_optim *optim;
    struct us_prep prep;
    struct us_trainer_options options;
    struct us_loss loss;
    struct us_trainer_state state;
    us_training *pass;
    float *gradients;
    struct us_params best;
    float *x; /* a batch */
    uint8_t *labels, *masks;
    unetstar_gradient_hook hook;
    void *hook_user;
    /* Preprocessed data of the last fit, used again while the sets stay the same. */
    us_dataset *train_set, *val_set;
    us_patches *patches;
    struct us_validator *validator;
};
int us_trainer_create(struct us_trainer **out, us_context *ctx, const struct us_net *net, struct us_params *params,
                      struct us_optim *optim, const struct us_prep *prep, const struct us_trainer_options *options,
                      const struct us_loss *loss);
void us_trainer_destroy(struct us_trainer *trainer);
/* Learning rate of the present epoch. */
double us_trainer_rate(const struct us_trainer *trainer);
/* Clips, calls the hook, updates. */
int us_trainer_update(struct us_trainer *trainer, double learning_rate);
/* Preprocessing to use from now on; prepared data made otherwise is forgotten. */
void us_trainer_set_prep(struct us_trainer *trainer, const struct us_prep *prep);
/* Patches of a training set alone: what drawing needs. */
int us_trainer_set_patches(struct us_trainer *trainer, const us_dataset *train_set);
int us_trainer_set_data(struct us_trainer *trainer, const us_dataset *train_set, const us_dataset *val_set);
int us_trainer_fit(struct us_trainer *trainer, const us_dataset *train_set, const us_dataset *val_set,
                   const struct us_watch *watch);

/* schedule.c */
double us_schedule_rate(const struct us_trainer_options *options, const struct us_trainer_state *state, double base);
/* Takes an epoch's metric (NaN: none): best, early stop, plateau. Returns whether it is the best so far. */
int us_schedule_epoch(const struct us_trainer_options *options, struct us_trainer_state *state, double metric);

/* validate.c */
int us_validator_create(struct us_validator **out, const struct us_trainer *trainer, const us_patches *patches,
                        const us_dataset *val_set);
void us_validator_destroy(struct us_validator *validator);
int us_validator_run(struct us_validator *validator, const struct us_trainer *trainer, const struct us_watch *watch,
                     unetstar_progress *progress, double *metric);

#endif
