/* moons.h - unetstar-moons inside: the points, the networks made of the library's layers, the kernel machines beside
 * them, and the picture. */
#ifndef EXAMPLES_MOONS_H
#define EXAMPLES_MOONS_H

#include <stddef.h>
#include <stdint.h>

#include "common/problem.h"
#include "unetstar.h"

/* ---- data.c: elementary functions and random numbers of its own, so that every machine draws the same ---- */

double moons_exp(double x);
double moons_log(double x);
void moons_sin_cos(double x, double *sine, double *cosine); /* |x| below some thousands */

/* Number `index` of a stream of a seed: any can be had without those before it. */
uint64_t moons_bits(uint64_t seed, uint64_t stream, uint64_t index);
double moons_normal(uint64_t seed, uint64_t stream, uint64_t index);
void moons_shuffle(int32_t *order, int32_t count, uint64_t seed, uint64_t stream);

enum { STREAM_TRAINING_POINTS = 1, STREAM_TEST_POINTS, STREAM_WEIGHTS, STREAM_ORDER = 1000 /* and the epoch */ };

struct points {
    float *xy;      /* count pairs */
    uint8_t *label; /* 0: the upper moon, 1: the lower one */
    int32_t count;
};

/* Half of the points at equal steps along each half circle, with normal noise, as scikit-learn's make_moons. */
void points_make(struct points *points, int32_t count, double noise, uint64_t seed, uint64_t stream);
void points_free(struct points *points);
/* log(p1 / p0) at a place by the distribution itself: its sign is the best possible classifier. */
double points_log_odds(double x, double y, double noise);

/* ---- net.c: networks ---- */

enum { FUSE_LINEAR, FUSE_SUM, FUSE_STAR };
enum { ACT_NONE, ACT_ONE, ACT_BOTH };

struct net_shape {
    int32_t fusion, branches; /* FUSE_*, and on which branches the activation stands, ACT_* */
    int32_t activation;       /* UNETSTAR_ACTIVATION_* */
    int32_t norm, residual;
    int32_t width, depth, expansion;
};

enum { PART_WEIGHT, PART_BIAS, PART_GAIN };
struct part {
    int64_t offset, count;
    int32_t kind;
};

enum { NET_DEPTH_MAX = 16, BLOCK_PARTS = 8 };

/* What one block keeps of its forward pass for its backward pass. */
struct block {
    float *x, *normed, *mean, *inverse_std;
    float *a, *b, *p, *q, *fused; /* branches before and after the activation, and their fusion */
};

struct net {
    struct net_shape shape;
    unetstar_context *context;
    struct part parts[2 + NET_DEPTH_MAX * BLOCK_PARTS + 4];
    int32_t part_count;
    float *weights, *gradient;
    int64_t count;
    int32_t room; /* points a pass may hold */
    struct block blocks[NET_DEPTH_MAX + 1];
    float *logits, *probability, *dlogits;
    float *wide[4], *slim[3]; /* gradients on their way: room x hidden, room x width */
    float **owned;
    int32_t owned_count;
};

/* Weights from a normal distribution of standard deviation 0.02, cut off at two of them. */
void net_make(struct net *net, unetstar_context *context, const struct net_shape *shape, int32_t room, uint64_t seed);
void net_free(struct net *net);
/* Logits and probabilities of n points (at most room). An error of the library, or 0. */
int net_forward(struct net *net, const float *xy, int32_t n);
/* After net_forward: the cross-entropy against labels smoothed by `smoothing`, and its gradient by the logits. */
double net_loss(struct net *net, const uint8_t *label, int32_t n, double smoothing);
/* After net_loss: fills net->gradient. */
int net_backward(struct net *net, const float *xy, int32_t n);

/* ---- learn.c: their training ---- */

enum { OPTIMIZER_SGD, OPTIMIZER_ADAM };

struct learning {
    int32_t optimizer, epochs, batch;
    double rate, momentum, weight_decay, smoothing, clip;
    /* Called after each step; stops the training when it returns nonzero. */
    int (*step)(void *user);
    void *user;
};

/* 0, or an error of the library; *diverged: the loss was no number any more and the training ended there. The net must
 * have room for a batch. */
int net_train(struct net *net, const struct learning *learning, const struct points *points, uint64_t seed,
              int32_t *diverged);

/* ---- kernel.c: support vector machines ---- */

enum { KERNEL_POLYNOMIAL, KERNEL_RBF };

struct machine {
    int32_t kind, degree;
    double gamma, coef0;
    const struct points *points; /* must outlive the machine */
    double *weight;              /* alpha y of each point */
    double bias;
    int32_t converged;
};

double machine_kernel(const struct machine *machine, const float *a, const float *b);
/* gamma not above 0: one over twice the variance of the coordinates (scikit-learn's "scale"). cost: the C of the soft
 * margin. */
void machine_train(struct machine *machine, const struct points *points, double cost);
double machine_decision(const struct machine *machine, const float *xy);
void machine_free(struct machine *machine);

/* ---- picture.c: the figure ---- */

/* The part of the plane that is shown, and the places where a panel's function is computed, row by row from the top. */
#define VIEW_LEFT (-2.0)
#define VIEW_RIGHT 3.0
#define VIEW_LOW (-2.0)
#define VIEW_HIGH 2.5
enum { PANEL_WIDTH = 300, PANEL_HEIGHT = 270, NODE_STEP = 3 };
enum { NODES_X = PANEL_WIDTH / NODE_STEP + 1, NODES_Y = PANEL_HEIGHT / NODE_STEP + 1 };

struct panel {
    const char *title;
    char subtitle[64];
    float *probability; /* NODES_X * NODES_Y chances of class 1 */
};

/* xy of NODES_X * NODES_Y places. */
void picture_nodes(float *xy);
int picture_write_panels(const char *path, const struct panel *panels, int32_t count, int32_t columns,
                         const struct points *points, const char *footer, struct problem *problem);

/* font.c: text in pixels; y is the top of capitals, the height of a capital is 7 * size. */
int32_t text_width(const char *text, int32_t size);
void text_draw(uint8_t *rgb, int32_t width, int32_t height, int32_t x, int32_t y, int32_t size, uint32_t colour,
               const char *text);

/* ---- report.c: what was measured ---- */

struct result {
    uint64_t seed;
    double training, held_out; /* shares of right answers */
    int32_t failed;            /* diverged, or did not converge */
};

struct measured {
    const char *name, *title;
    int64_t parameters; /* 0: not a network */
    struct result *results;
    int32_t count;
};

/* Mean and sample standard deviation (0 of one) in percent. */
void measured_held_out(const struct measured *measured, double *mean, double *deviation);
void report_print(const struct measured *all, int32_t count);
int report_write_csv(const char *path, const struct measured *all, int32_t count, struct problem *problem);
/* settings: members of a JSON object, as text. */
int report_write_json(const char *path, const char *settings, const struct measured *all, int32_t count,
                      struct problem *problem);

#endif
