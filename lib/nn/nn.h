/*
 * nn.h - the network: its graph, weights, memory plan, forward and backward passes, losses; and layers as plain functions.
 *
 * The U-Net is a list of units in the order they run. A unit is one convolution with what follows it: z = conv(input) + bias,
 * value = dropout(activation(scale * z + shift)), where scale and shift are the norm; the last unit of a star block adds the
 * value of the block's first to that, its residual. Only z is stored (an evaluation stores the value where there is a residual).
 * A unit's input is an expression of earlier units' values (itself, max-pooled, or upsampled and fused with a skip connection;
 * in a star block the product of the two branches), computed row by row into a thread's scratch when a convolution asks for it
 * (source.c). So no pass over memory exists for norm, activation, pooling, upsampling or fusion, in training or in evaluation;
 * and a map of a whole image could as well be a ring of rows.
 *
 * Maps are nChw16c: [image][block of 16 channels][row][column][16], lanes past the last channel are +0.
 */
#ifndef US_NN_H
#define US_NN_H

#include "base/base.h"

/* ---- The graph (net.c) ---- */

struct us_net_options { /* the fields of unetstar_model_options, checked */
    double narrow, channel_multiplier, dropout;
    uint64_t seed;
    int32_t in_channels, classes, levels, fusion, activation, norm, upsampling;
    int32_t full_resolution_head, deep_supervision, norm_groups, precision;
    float leaky_slope;
    int32_t block, block_expansion, fusion_norm, initialization;
};

enum us_input_kind {
    US_IN_IMAGE, /* the network's input */
    US_IN_UNIT,  /* a unit of the same resolution */
    US_IN_POOL,  /* 2x2 max-pooled */
    US_IN_FUSE   /* `main`, upsampled as `up` says, fused with `skip` */
};
struct us_input {
    enum us_input_kind kind;
    int main, skip; /* units, -1: none */
    int up;         /* UNETSTAR_UPSAMPLING_NEAREST or _BILINEAR; -1: main already has the size */
    int fusion;     /* UNETSTAR_FUSION_* */
};

enum us_unit_kind {
    US_UNIT_CONV3, /* 3x3, padding 1 */
    US_UNIT_CONV1, /* 1x1 */
    US_UNIT_UPCONV, /* 2x2 transposed, stride 2: four 1x1 convolutions, one for each place of the 2x2 window */
    US_UNIT_DEPTHWISE3, /* 3x3, padding 1, every channel by itself */
    US_UNIT_IDENTITY /* no convolution and no weights: its norm is what it is for. Folded, it has a factor a channel */
};
struct us_unit {
    enum us_unit_kind kind;
    struct us_input in;
    int c_in, c_out;
    int in_blocks, out_blocks;
    int last_channels; /* live lanes of the last input block */
    int shift;         /* the output has (height >> shift) x (width >> shift) pixels */
    int norm;          /* UNETSTAR_NORM_*; NONE: no norm here */
    int groups;        /* of channels that share statistics: c_out for instance norm */
    int act;           /* US_ACT_* */
    int dropout;       /* 1: elements are dropped in training */
    int residual;      /* the unit whose value is added to this one's; it has no residual itself. -1: none */
    size_t weights, weights_size; /* offset into the parameter arena, floats there: [out][in][tap][16][16], and the layouts of
                                     upconv.c and depthwise.c */
    size_t bias;                  /* in the arena, or in the buffers when batch or instance norm makes its gradient zero */
    int bias_fixed;
    size_t gamma, beta;             /* parameter arena */
    size_t running_mean, running_var; /* buffers; batch norm only */
    char name[32];                  /* "encoder.0.conv", "encoder.0.f1", or "decoder.1.up" */
    int index;                      /* of the convolution inside the Sequential; the norm has index + 1 */
};

/* A 1x1 convolution to the classes. Its map is `scale` times smaller than the input; nearest upsampling commutes with it. */
struct us_head {
    int unit;
    int shift;
    int scale;    /* 1 << shift: one logit stands for scale x scale pixels; with bilinear 1 after the logits are upsampled */
    int bilinear; /* logits are upsampled bilinearly by 2 before anything looks at them */
    size_t weights, bias;
    char name[16];
};

#define US_MAX_UNITS 66 /* star blocks, five levels: eleven blocks of five, five transposed convolutions, five norms of fusions */
#define US_MAX_HEADS 6
/* One named tensor as PyTorch sees it. */
enum us_weight_kind {
    US_WEIGHT_CONV,
    US_WEIGHT_UPCONV,
    US_WEIGHT_HEAD,
    US_WEIGHT_VECTOR, /* per-channel parameter or buffer */
    US_WEIGHT_COUNTER /* num_batches_tracked, int64 */
};
struct us_weight {
    char name[64];
    enum us_weight_kind kind;
    int owner;      /* unit or head */
    int in_buffers; /* VECTOR: lives in the buffers */
    int trainable;  /* counts as a parameter in PyTorch */
    size_t offset;
    int ndim;
    int64_t shape[4];
};

struct us_net {
    struct us_net_options options;
    int n_units, n_heads; /* head 0 is the output, the others deep supervision */
    struct us_unit units[US_MAX_UNITS];
    struct us_head heads[US_MAX_HEADS];
    size_t n_params, n_buffers; /* floats */
    int n_weights;
    struct us_weight *weights;
};
/* EINVAL with the option named, ELIMIT, ENOTSUPPORTED. */
int us_net_check(const struct us_net_options *options);
int us_net_create(struct us_net **out, us_context *ctx, const struct us_net_options *options);
void us_net_destroy(us_context *ctx, struct us_net *net);
int64_t us_net_parameter_count(const struct us_net *net);
const struct us_weight *us_net_find(const struct us_net *net, const char *name); /* NULL: none */
/* Rows or columns after zero padding to a multiple of 2^levels. */
int64_t us_net_padded(const struct us_net *net, int64_t size);
/* Whether unit `reader` is computed from unit u's value, as its input or its residual. */
int us_net_reads(const struct us_net *net, int reader, int u);
/* The last unit that an evaluation computes from unit u's value; n_units when the output head does. */
int us_net_last_reader(const struct us_net *net, int u);
/* Whether a unit reads a skip connection and what it is fused with; the product inside of a star block is no such fusion. */
int us_net_fuses_skip(const struct us_net *net, int unit);
/* Whether every channel is computed from its own alone. */
static inline int us_unit_depthwise(const struct us_unit *u) {
    return u->kind == US_UNIT_DEPTHWISE3 || u->kind == US_UNIT_IDENTITY;
}
/* Pixels around one that its output is made of: 1 of a 3x3 kernel, else 0. */
static inline int us_unit_border(const struct us_unit *u) {
    return u->kind == US_UNIT_CONV3 || u->kind == US_UNIT_DEPTHWISE3;
}
/* Numbers of a kernel: 9, or 1, or of a transposed convolution 4 of a window each. */
static inline int us_unit_taps(const struct us_unit *u) {
    return us_unit_border(u) ? 9 : u->kind == US_UNIT_UPCONV ? 4 : 1;
}

/* ---- Weights (weights.c) ---- */

struct us_params {
    float *arena;     /* n_params: trainable */
    float *buffers;   /* n_buffers: running statistics and biases that batch norm makes irrelevant */
    int64_t *batches; /* n_units: num_batches_tracked */
};
int us_params_create(struct us_params *out, us_context *ctx, const struct us_net *net);
void us_params_destroy(us_context *ctx, struct us_params *params);
void us_params_copy(struct us_params *to, const struct us_params *from, const struct us_net *net);
/* Norms 1 and 0, convolutions uniform as `initialization` says. */
void us_params_init(struct us_params *params, const struct us_net *net, uint64_t seed);
/* Between PyTorch's layout and ours; `arena` may be the parameters, gradients or moments. COUNTER and buffers need params. */
void us_weight_get(const struct us_net *net, const struct us_weight *w, const float *arena, float *data);
void us_weight_set(const struct us_net *net, const struct us_weight *w, float *arena, const float *data);
size_t us_weight_count(const struct us_weight *w);
/* The first weight with a value that is NaN or infinite; NULL: none. */
const struct us_weight *us_params_not_finite(const struct us_params *params, const struct us_net *net);

/* How the tensors of a network are kept in 8 bits (calibrate.c, quant.c). A scale of 0: in floats. */
struct us_calibration {
    struct us_quant input[US_MAX_UNITS]; /* what enters a unit's convolution; float: so is the convolution */
    struct us_quant value[US_MAX_UNITS]; /* its value in memory, after the activation */
    float error[US_MAX_UNITS];           /* of that value, relative to its rms, on the calibration images; -1: not measured */
};

/* Weights with batch norm folded in, for evaluation. Immutable, shared by reference. A unit has its weights as its algorithm
 * reads them: plain or transformed, not both. */
struct us_folded {
    us_context *ctx;
    int refs;
    float *arena;
    size_t bytes;
    const float *weights[US_MAX_UNITS], *transformed[US_MAX_UNITS], *bias[US_MAX_UNITS];
    const float *gamma[US_MAX_UNITS], *beta[US_MAX_UNITS];
    const float *head_weights, *head_bias;
    const struct us_calibration *calibration; /* a copy of its own; NULL: floats */
};
/* calibration: of precision INT8, which needs one; else NULL. */
int us_folded_create(struct us_folded **out, us_context *ctx, const struct us_net *net, const struct us_params *params,
                     int precision, const struct us_calibration *calibration);
struct us_folded *us_folded_ref(struct us_folded *folded);
void us_folded_unref(struct us_folded *folded);

/* ---- Planning (plan.c) ---- */

/* A buffer that is alive from step `first` to step `last`, and where it was put. */
struct us_interval {
    int first, last;
    size_t size, offset;
};
/* Gives every buffer an offset (a multiple of 64) such that no two that are alive at once overlap; returns the total. */
size_t us_plan_intervals(struct us_interval *intervals, int n);

/* ---- Training pass (pass.c, forward.c, backward.c) ---- */

typedef struct us_training us_training;
int us_training_create(us_training **out, us_context *ctx, const struct us_net *net, int batch, int64_t height,
                       int64_t width);
void us_training_destroy(us_training *training);
size_t us_training_bytes(const us_training *training);
/* x (n, c, height, width). seed and stream key the dropout of this step. Updates the running statistics in params. */
int us_training_forward(us_training *training, struct us_params *params, int n, const float *x, uint64_t seed,
                        uint64_t stream);
int us_training_logits(const us_training *training, float *logits); /* (n, classes, height, width); ESTATE before a forward */

struct us_loss {
    float cross_entropy, focal, dice, focal_gamma;
    float class_weights[8];
};
int us_training_loss(us_training *training, const struct us_loss *loss, double supervision_weight, const uint8_t *labels,
                     const uint8_t *mask, double *value);
/* Overwrites the gradient arena (n_params floats). */
int us_training_backward(us_training *training, const struct us_params *params, float *gradients);

/* ---- Evaluation pass (evaluate.c): batch norm folded, one image, whole or by rows ---- */

typedef struct us_evaluation us_evaluation;
struct us_evaluation_shape {
    const struct us_net *net;
    int64_t height, width; /* of the image */
    int precision;         /* UNETSTAR_PRECISION_*: the more exact of it and the net's own is taken */
    int stream;            /* rings of rows instead of whole maps; not for instance and group norm */
    const struct us_calibration *calibration; /* of INT8: that of the folded weights; else NULL */
};
struct us_evaluation_size {
    size_t maps, scratch; /* bytes; with stream a function of the width alone */
    int output_rows;      /* most rows of the output that come at once */
    int lag;              /* streaming: most rows that a starved evaluation has taken and not yet given */
};
#define US_EVALUATION_FEED 8 /* streaming: most rows of the image that are added at once */
void us_evaluation_measure(struct us_evaluation_size *size, us_context *ctx, const struct us_evaluation_shape *shape);
/* Lives in `maps`, allocates nothing and needs no end. Both are 64-byte aligned; scratch is used within calls only, so that
 * evaluations which take turns can share it. */
us_evaluation *us_evaluation_begin(us_context *ctx, const struct us_evaluation_shape *shape, const struct us_folded *folded,
                                   void *maps, void *scratch);
/* Where probabilities go: K planes `plane` floats apart, row y at y % rows; K = 1 for one or two classes (the last class), else
 * classes. */
void us_evaluation_output(us_evaluation *e, float *output, size_t plane, int rows);
/* The whole image, x (c, height, width). */
void us_evaluation_image(us_evaluation *e, const float *x);
/* Streaming: where row y of a channel is to be written; then the number of rows that are there. At most US_EVALUATION_FEED are
 * added, and only to a starved evaluation. */
float *us_evaluation_row(us_evaluation *e, int channel, int64_t y);
void us_evaluation_fed(us_evaluation *e, int64_t rows);
/* Goes on by a turn of one stage. */
struct us_evaluation_step {
    int starved;    /* 1: nothing can be done without more rows, or all is done */
    int stage;      /* unit, or n_units and above: head and output */
    int64_t y0, y1; /* rows of the output that are new */
};
int us_evaluation_next(us_evaluation *e, struct us_evaluation_step *step);
/* All of that for a whole image. memory: maps, then scratch. report, which may be NULL, says after every unit how many are
 * done; its result ends the evaluation unless it is 0. */
int us_evaluate(us_context *ctx, const struct us_evaluation_shape *shape, const struct us_folded *folded, const float *x,
                float *probability, void *memory, int (*report)(void *user, int units), void *user);

/* ---- Calibration for 8 bits (calibrate.c, quant.c) ---- */

/* Whether a unit's convolution, and its value in memory, can be in 8 bits. */
int us_quant_takes_unit(const struct us_net *net, int unit);
int us_quant_takes_value(const struct us_net *net, int unit);
/* EFORMAT, naming the unit, unless the scales are possible ones for this network. */
int us_calibration_check(const struct us_calibration *calibration, const struct us_net *net);

struct us_calibrator_options {
    float max_error; /* convolutions with a larger error stay in float */
    int clip;        /* 1: ranges of the smallest mean squared error; 0: from the smallest to the largest value */
};
typedef struct us_calibrator us_calibrator;
/* folded: of precision FAST. The images are shown twice, in the same order: first their ranges are taken, then, after
 * us_calibrator_choose, the errors are. */
int us_calibrator_create(us_calibrator **out, us_context *ctx, const struct us_net *net, const struct us_folded *folded,
                         const struct us_params *params, const struct us_calibrator_options *options);
void us_calibrator_destroy(us_calibrator *calibrator);
int us_calibrator_show(us_calibrator *calibrator, int64_t height, int64_t width, const float *x, const us_cancel *cancel);
int us_calibrator_choose(us_calibrator *calibrator);
void us_calibrator_result(const us_calibrator *calibrator, struct us_calibration *result);

/* ---- Analysis (analysis.c, spectrum.c, degree.c, branches.c) ---- */

#define US_MAX_FUSIONS 5 /* with five levels and a head at full resolution */
struct us_degree {       /* unetstar_degree, field by field */
    int polynomial, fusions;
    int64_t degree, fusion_degree[US_MAX_FUSIONS], width[US_MAX_FUSIONS];
    double exact[US_MAX_FUSIONS], paper[US_MAX_FUSIONS];
};
void us_net_degree(struct us_degree *degree, const struct us_net *net);

struct us_features { /* unetstar_features, field by field */
    int64_t pixels, channels;
    double effective_rank, stable_rank, participation_ratio;
    double mean, variance, skewness, kurtosis, beyond_4, beyond_6;
};
/* A matrix of height x width pixels by channels. It is read three times. */
struct us_feature_rows {
    void (*read)(void *user, int64_t y, float *pixels); /* width x channels */
    void *user;
    int64_t height, width, channels;
};
/* singular: room for `channels` values, largest first, or NULL. ENOMEM. */
int us_features_measure(struct us_features *f, us_context *ctx, const struct us_feature_rows *rows, double *singular);
/* Of a symmetric matrix of n x n, which is destroyed; largest first. */
void us_eigenvalues(double *a, int64_t n, double *values);
#define US_FEATURES_CHANNELS 1024
/* At a unit, what: UNETSTAR_AT_*, MAIN and SKIP only where its input is a fusion. ELIMIT, ENOMEM. */
int us_net_features(struct us_features *f, us_context *ctx, const struct us_evaluation_shape *shape,
                    const struct us_folded *folded, const float *x, int unit, int what, double *singular);

#define US_MAX_CHECK_DEGREE 32
struct us_degree_check_options { /* unetstar_degree_check_options, checked */
    double range, tolerance;
    int max_degree, freeze_maxima;
};
struct us_degree_check { /* unetstar_degree_check, field by field */
    int degree, nodes;
    int64_t values;
    double level, variation, changed_maxima, changed_activations;
    double residual[US_MAX_CHECK_DEGREE + 1];
};
/* ENOMEM, ECANCELED. */
int us_net_degree_check(struct us_degree_check *check, us_context *ctx, const struct us_net *net,
                        const struct us_params *params, int64_t h, int64_t w, const float *x,
                        const struct us_degree_check_options *options, const us_cancel *cancel);

struct us_branch_batch {
    int64_t n, h, w;
    const float *x;              /* (n, in_channels, h, w) */
    const uint8_t *labels, *mask; /* (n, h, w); mask may be NULL */
};
struct us_branch_gradients { /* unetstar_branch_gradients, field by field */
    int fusions;
    double loss, saturated, fused[US_MAX_FUSIONS], main[US_MAX_FUSIONS], skip[US_MAX_FUSIONS];
};
/* Of one forward and backward pass of training, without dropout; the running statistics stay. ENOMEM, EINVAL (a label). */
int us_net_branch_gradients(struct us_branch_gradients *g, us_context *ctx, const struct us_net *net,
                            const struct us_params *params, const struct us_branch_batch *batch, const struct us_loss *loss);

/* ---- Loss of a map of logits (loss.c) ---- */

struct us_loss_map {
    int64_t n, c, h, w;    /* logits and gradient (n, c, h, w) */
    int64_t height, width; /* labels and mask (n, height, width) */
    int scale;             /* a logit stands for scale x scale labels */
    const float *logits;
    const uint8_t *labels, *mask;
    float *gradient; /* or NULL */
    double weight;   /* of this map in the total; scales the gradient */
};
size_t us_loss_scratch(int64_t n, int64_t c, int64_t h); /* bytes */
int us_loss_run(us_context *ctx, const struct us_loss *loss, const struct us_loss_map *map, void *scratch, double *value);
/* softmax.c: over c (c == 1: logistic) of `count` pixels, planes `stride` apart */
void us_softmax(const float *logits, float *probability, int64_t c, int64_t stride, int64_t count);

/* ---- Layers on plain (N,C,H,W) buffers (layer_*.c): the primitives of the public interface ---- */

struct us_conv2d {
    int64_t n, c, h, w, c_out;
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation, groups;
};
int us_conv2d_output(const struct us_conv2d *d, int64_t *ho, int64_t *wo); /* ESHAPE */
int us_conv2d_forward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight, const float *bias,
                      float *y);
int us_conv2d_backward(us_context *ctx, const struct us_conv2d *d, const float *x, const float *weight, const float *dy,
                       float *dx, float *dweight, float *dbias);
int us_conv_transpose2d_forward(us_context *ctx, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out, const float *x,
                                const float *weight, const float *bias, float *y);
int us_conv_transpose2d_backward(us_context *ctx, int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out, const float *x,
                                 const float *weight, const float *dy, float *dx, float *dweight, float *dbias);
struct us_norm_shape { /* statistics over images [i, i + span) and a group of channels: batch: span n, groups c */
    int64_t n, c, h, w, groups;
    int batch;
};
int us_norm_forward(us_context *ctx, const struct us_norm_shape *s, const float *x, const float *gamma, const float *beta,
                    float eps, float momentum, float *running_mean, float *running_variance, float *y, float *save_mean,
                    float *save_inverse_std);
int us_norm_backward(us_context *ctx, const struct us_norm_shape *s, const float *x, const float *gamma,
                     const float *save_mean, const float *save_inverse_std, const float *dy, float *dx, float *dgamma,
                     float *dbeta);
int us_activation_forward(us_context *ctx, int act, float slope, int64_t count, const float *x, float *y);
int us_activation_backward(us_context *ctx, int act, float slope, int64_t count, const float *x, const float *dy, float *dx);
int us_max_pool_forward(us_context *ctx, int64_t planes, int64_t h, int64_t w, const float *x, float *y);
int us_max_pool_backward(us_context *ctx, int64_t planes, int64_t h, int64_t w, const float *x, const float *dy, float *dx);
int us_upsample_forward(us_context *ctx, int mode, int64_t planes, int64_t h, int64_t w, const float *x, float *y);
int us_upsample_backward(us_context *ctx, int mode, int64_t planes, int64_t h, int64_t w, const float *dy, float *dx);
int us_softmax_forward(us_context *ctx, int64_t n, int64_t c, int64_t hw, const float *logits, float *probability);
int us_softmax_backward(us_context *ctx, int64_t n, int64_t c, int64_t hw, const float *probability, const float *dy,
                        float *dlogits);

#endif
