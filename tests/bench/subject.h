/* subject.h - the network that is measured, with made-up data: a training step, and inference of an image. */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include "options.h"
#include "team.h"
#include "unetstar.h"

enum subject_use { SUBJECT_TRAINING, SUBJECT_INFERENCE };

struct subject {
    const struct bench_options *options;
    unetstar_context *context;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    unetstar_session *session, *stream; /* by the whole-image and by the streaming plan */
    float *x, *denormal; /* of a batch, or of an image */
    float *probability;
    uint8_t *labels;
};

/* runner NULL: the library's own threads. */
int subject_open(struct subject *subject, const struct bench_options *options, enum subject_use use,
                 struct team *runner, struct problem *problem);
void subject_close(struct subject *subject);
/* Fills `denormal` with values that are denormal. */
void subject_make_denormal(struct subject *subject);

/* One forward, loss, backward and update on x; *seconds (or NULL) gets its time. */
int subject_step(struct subject *subject, const float *x, double learning_rate, double *seconds,
                 struct problem *problem);
/* One inference of x by either session. */
int subject_image(struct subject *subject, unetstar_session *session, const float *x, double *seconds,
                  struct problem *problem);

/* Floating-point operations of direct convolutions forward, heads included, for n inputs of w x h pixels. */
double subject_flops(const struct subject *subject, int64_t n, int64_t w, int64_t h);
double subject_step_flops(const struct subject *subject); /* a training step counts three times its forward pass */
double subject_image_flops(const struct subject *subject);

#endif
