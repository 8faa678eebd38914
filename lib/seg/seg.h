/*
 * seg.h - inference on whole images: preprocessing, views, several models averaged, field-of-view clipping.
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
};
struct us_session {
    us_context *ctx;
    struct us_seg_model *models;
    int64_t n_models;
    struct us_session_options options;
    char *memory; /* own memory, NULL with a caller's arena */
    size_t size;
};
int us_session_check(const struct us_session_options *options); /* EINVAL, ENOTSUPPORTED */
int us_session_create(struct us_session **out, us_context *ctx, const struct us_seg_model *models, int64_t n_models,
                      const struct us_session_options *options);
void us_session_destroy(struct us_session *session);
int us_session_channels(const struct us_session *session);
/* Maps and scratch of one run; the input and view buffers are counted as maps. */
void us_session_measure(const struct us_session *session, int64_t height, int64_t width, size_t *maps, size_t *scratch);
int us_session_run_image(struct us_session *session, const struct us_image *image, const uint8_t *mask, float *probability,
                         const struct us_watch *watch);
int us_session_run_tensor(struct us_session *session, int64_t n, int64_t height, int64_t width, const float *x,
                          float *probability, const struct us_watch *watch);

#endif
