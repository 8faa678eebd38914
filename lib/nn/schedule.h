/*
 * schedule.h - inside nn: the order in which an evaluation computes its rows, and how many rows of every map that
 * needs.
 */
#ifndef US_NN_SCHEDULE_H
#define US_NN_SCHEDULE_H

#include "nn/nn.h"

/* Stages: the units, then the head's logits, then the rows of the output. */
#define US_MAX_STAGES (US_MAX_UNITS + 2)

struct us_schedule {
    const struct us_net *net;
    int stages;
    int image_h; /* padded */
    int fed;     /* rows of the image that are there; all of them: image_h */
    int h[US_MAX_STAGES];
    int step[US_MAX_STAGES]; /* rows of a turn: a row of tiles, or one or two; fewer at the end */
    int done[US_MAX_STAGES];
    int last_reader[US_MAX_STAGES + 1]; /* stage that reads unit i - 1 last; of the image: 0 */
};
/* tile: of every unit. stream 0: a stage is one turn. height, width: of the image, padded. */
void us_schedule_begin(struct us_schedule *s, const struct us_net *net, const int *tile, int stream, int64_t height,
                       int64_t width);

/* One turn: stage `stage` is to compute rows [y0, y1). */
struct us_turn {
    int stage, y0, y1;
};
/* The next turn, counted as done; 0: every stage waits for rows of the image, or all is done. */
int us_schedule_next(struct us_schedule *s, struct us_turn *turn);
/* The first row of a unit's map (unit -1: of the image; n_units: of the logits) that is still needed. */
int us_schedule_lowest(const struct us_schedule *s, int unit);

/* Rows that rings must have, for images of this padded width and any height. feed: rows of the image that are added at once. */
struct us_rings {
    int image;
    int rows[US_MAX_STAGES]; /* of the units' maps; of the logits; the last: rows of a turn of the output */
    int lag;                 /* most rows of the image that were taken and whose output could not be given yet */
};
void us_schedule_rings(struct us_rings *rings, const struct us_net *net, const int *tile, int feed, int64_t width);

#endif
