/*
 * seg.h - inference on images: preprocessing, views, several models averaged, field-of-view clipping; whole or by rows.
 */
#ifndef US_SEG_H
#define US_SEG_H

#include "base/base.h"
#include "data/data.h"
#include "nn/nn.h"

/* One model of a session: borrowed pointers that the owner of the session keeps alive. */
struct us_seg_model {
    const struct us_net *net;
    const struct us_folded *folded;
    struct us_prep prep;
};
struct us_session_options { /* the fields of unetstar_session_options */
    int64_t memory_budget;
    void *arena;
    size_t arena_size;
    int32_t plan, precision, views, clip_to_field;
    int64_t max_width, max_height;
    const struct us_prep_state *fit; /* borrowed: a ready state; NULL: every run makes its own */
    int32_t single_pass;
};
struct us_session {
    us_context *ctx;
    struct us_seg_model *models;
    int *state_of; /* of every model: models with the same preprocessing share a state */
    struct us_prep_state *states;
    struct us_member *members; /* streaming: the evaluations that are averaged */
    int64_t n_models;
    int n_states;
    struct us_session_options options;
    char *memory; /* own memory, NULL with a caller's arena */
    size_t size;
};
int us_session_check(const struct us_session_options *options); /* EINVAL */
/* ENOTSUPPORTED names what stands against the streaming plan or a source that is read once; ELIMIT: the largest image given needs
 * more than the budget or the arena. With a largest image given all memory is taken here. */
int us_session_create(struct us_session **out, us_context *ctx, const struct us_seg_model *models, int64_t n_models,
                      const struct us_session_options *options);
void us_session_destroy(struct us_session *session);
/* A state for the runs from now on; NULL: none. EINVAL, ENOTSUPPORTED. */
int us_session_set_fit(struct us_session *session, const struct us_prep_state *fit);
int us_session_channels(const struct us_session *session);
/* What a run on an image of this size needs, by the plan it would have: maps or rings with all other buffers, and scratch. */
int us_session_measure(const struct us_session *session, int64_t height, int64_t width, size_t *maps, size_t *scratch,
                       int *stream);

/* Where probabilities go: to planes (channels, h, w), or row by row (channels, w) to a callback. */
struct us_rows_sink {
    float *planes;
    int (*write)(void *user, int64_t y, int64_t n, const float *rows);
    void *user;
};
int us_session_run(struct us_session *session, const struct us_rows_source *source, const struct us_rows_sink *sink,
                   const struct us_watch *watch);
int us_session_run_tensor(struct us_session *session, int64_t n, int64_t height, int64_t width, const float *x,
                          float *probability, const struct us_watch *watch);

#endif
