/* run.h - inside seg: one run of a session, and how its memory is laid out. */
#ifndef US_SEG_RUN_H
#define US_SEG_RUN_H

#include "seg/seg.h"

/* Streaming: one of the evaluations that are averaged. */
struct us_member {
    us_evaluation *evaluation;
    int64_t model;
    int mirrored;
    int64_t done; /* rows of the output there are */
    float *ring;  /* of output rows, (channels, ring_rows, w) */
    int ring_rows;
};

struct us_run {
    struct us_session *s;
    const struct us_rows_source *source; /* NULL: a tensor */
    const float *tensor;                 /* (in_channels, h, w) */
    struct us_rows_sink sink;
    const struct us_watch *watch;
    int64_t h, w;
    int stream, channels;
    const struct us_prep_state *states; /* of the session, or the one given */
    struct us_rows_room room;
    float *x;            /* whole: preprocessed inputs, one for every state */
    float *view, *score; /* whole: a turned input, and its probabilities */
    float *sum;          /* whole: probabilities, when the sink has no planes */
    float *line;         /* a row of the output, (channels, w) */
    uint8_t *field;      /* a row of the field of view */
    char *network, *scratch;
    int units_before, units; /* progress of the whole plan */
};

/* Lays a run out; only counts while the arena has no memory. *scratch: bytes of it that are scratch. */
void us_run_place(struct us_run *run, struct us_arena *arena, size_t *scratch);

/* The evaluation of a model; turned: of the image with rows and columns exchanged. */
struct us_evaluation_shape us_run_shape(const struct us_run *run, int64_t model, int turned);
/* Row y is complete: its channels begin at `rows`, `plane` floats apart. Clips it and hands it to a sink that wants rows. */
int us_run_finish_row(struct us_run *run, int64_t y, float *rows, size_t plane);

int us_run_whole(struct us_run *run);  /* whole.c */
int us_run_stream(struct us_run *run); /* stream.c */
/* Whether more than one result is averaged, and the share of each. */
int us_run_averages(const struct us_session *s);
float us_run_share(const struct us_session *s);

#endif
