/*
 * schedule.c - in which order an evaluation computes its rows.
 *
 * Every unit of the network needs a few rows of those before it. A turn computes a few rows (a row of tiles) of one
 * unit, and the unit nearest to the output that can go on has the turn. So rows are used as soon as they can be, and of
 * every map only the rows that are still to be read must exist: rings whose size depends on the network, not on the
 * height of the image. The longest are those of the skip connections, which wait for the deep layers.
 *
 * The same steps, without the arithmetic, tell how many rows the rings need.
 */
#include "nn/schedule.h"

#include <string.h>

/* Direct convolutions of the two largest levels take two rows a turn: an eighth more of rings, and of the three input
 * rows of an output row fewer are fetched again. (Turns of either one or two rows would need rings that depend on how
 * an image ends.) */
#define TWO_ROWS 1
#define FEW_ACROSS 32 /* tiles */

/* Weights are read for every turn: where a row has few tiles, a turn takes two rows of them. (Of the large tiles only: the
 * rings of the deep levels' would cost more than they gain.) */
static int tile_rows(int tile, int64_t width) {
    return tile == 6 && width <= 6 * FEW_ACROSS ? 2 * tile : tile;
}

/* As many as the next unit's tiles take, so that both have their turns together. */
static int direct_rows(const struct us_net *net, const int *tile, int unit) {
    const int two = net->units[unit].shift <= TWO_ROWS || net->units[unit].kind != US_UNIT_CONV3;
    return US_MAX(two ? 2 : 1, unit + 1 < net->n_units ? tile[unit + 1] : 0);
}

void us_schedule_begin(struct us_schedule *s, const struct us_net *net, const int *tile, int stream, int64_t height,
                       int64_t width) {
    const struct us_head *head = &net->heads[0];
    const int n = net->n_units;
    int i;
    memset(s, 0, sizeof *s);
    s->net = net;
    s->stages = n + 2;
    s->image_h = (int)height;
    for (i = 0; i < n; i++) {
        s->h[i] = s->image_h >> net->units[i].shift;
        s->step[i] = tile[i] ? tile_rows(tile[i], width >> net->units[i].shift) : direct_rows(net, tile, i);
    }
    s->h[n] = s->h[head->unit];
    s->h[n + 1] = s->h[n] << head->bilinear;
    s->step[n] = s->step[n + 1] = s->step[head->unit];
    for (i = 0; i < s->stages && !stream; i++)
        s->step[i] = s->h[i];
    for (i = 0; i < n; i++)
        s->last_reader[i + 1] = us_net_last_reader(net, i);
    s->last_reader[n + 1] = n + 1; /* of the logits; and unit 0 reads the image */
}

/* ---- What rows need ---- */

/* Rows that an upsampling by 2 can make of the first `rows` of h. */
static int upsampled(int mode, int rows, int h) {
    if (mode == UNETSTAR_UPSAMPLING_NEAREST || rows == h)
        return 2 * rows;
    return mode == UNETSTAR_UPSAMPLING_BILINEAR ? US_MAX(0, 2 * rows - 1) : rows;
}

/* The first row that an upsampling by 2 reads for row y and those after it. */
static int upsampled_from(int mode, int y) {
    if (mode == UNETSTAR_UPSAMPLING_BILINEAR)
        return y > 0 ? (y - 1) / 2 : 0;
    return mode == UNETSTAR_UPSAMPLING_NEAREST ? y / 2 : y;
}

/* Rows of a unit's input that are there. */
static int input_rows(const struct us_schedule *s, const struct us_unit *u) {
    const struct us_input *in = &u->in;
    switch (in->kind) {
    case US_IN_IMAGE:
        return s->fed;
    case US_IN_UNIT:
        return s->done[in->main];
    case US_IN_POOL:
        return s->done[in->main] / 2;
    default: {
        const int h = s->h[in->main], main = in->up < 0 ? s->done[in->main] : upsampled(in->up, s->done[in->main], h);
        return US_MIN(main, s->done[in->skip]);
    }
    }
}

/* Rows of a stage that could be computed by now. */
static int computable(const struct us_schedule *s, int stage) {
    const struct us_net *net = s->net;
    const struct us_head *head = &net->heads[0];
    int rows;
    if (stage == net->n_units)
        return s->done[head->unit];
    if (stage > net->n_units) {
        rows = s->done[net->n_units];
        return head->bilinear ? upsampled(UNETSTAR_UPSAMPLING_BILINEAR, rows, s->h[net->n_units]) : rows;
    }
    rows = input_rows(s, &net->units[stage]);
    if (net->units[stage].kind == US_UNIT_UPCONV)
        return 2 * rows;
    if (!us_unit_border(&net->units[stage])) /* a residual is read by the parts of its block before */
        return rows;
    return rows >= s->h[stage] ? s->h[stage] : US_MAX(0, rows - 1);
}

int us_schedule_next(struct us_schedule *s, struct us_turn *turn) {
    int i;
    for (i = s->stages - 1; i >= 0; i--) {
        const int done = s->done[i], rows = US_MIN(computable(s, i), done + s->step[i]);
        if (rows > done && (rows == done + s->step[i] || rows == s->h[i])) {
            turn->stage = i;
            turn->y0 = done;
            turn->y1 = s->done[i] = rows;
            return 1;
        }
    }
    return 0;
}

/* The first row of `unit` that stage `reader` still reads; INT32_MAX when it does not read it. */
static int first_row_read(const struct us_schedule *s, int reader, int unit) {
    const struct us_net *net = s->net;
    const struct us_head *head = &net->heads[0];
    const int y = s->done[reader];
    const struct us_unit *u;
    const struct us_input *in;
    int row;
    if (y >= s->h[reader])
        return INT32_MAX;
    if (reader == net->n_units)
        return head->unit == unit ? y : INT32_MAX;
    if (reader > net->n_units)
        return unit != net->n_units ? INT32_MAX : head->bilinear ? upsampled_from(UNETSTAR_UPSAMPLING_BILINEAR, y) : y;
    u = &net->units[reader];
    if (u->residual == unit && unit >= 0)
        return y;
    in = &u->in;
    row = u->kind == US_UNIT_UPCONV ? y / 2 : US_MAX(0, y - us_unit_border(u));
    if (in->kind == US_IN_IMAGE)
        return unit < 0 ? row : INT32_MAX;
    if (in->kind == US_IN_FUSE && in->skip == unit)
        return row;
    if (in->main != unit)
        return INT32_MAX;
    if (in->kind == US_IN_POOL)
        return 2 * row;
    return in->kind == US_IN_FUSE && in->up >= 0 ? upsampled_from(in->up, row) : row;
}

int us_schedule_lowest(const struct us_schedule *s, int unit) {
    int lowest = INT32_MAX, i;
    for (i = unit + 1; i <= s->last_reader[unit + 1]; i++)
        lowest = US_MIN(lowest, first_row_read(s, i, unit));
    return lowest;
}

/* ---- Rings ---- */

static int round_up(int rows, int step) {
    return (rows + step - 1) / step * step;
}

/* An image so high that what follows repeats itself: every turn of every stage has met every other. */
static int64_t tall(const struct us_net *net) {
    return US_MAX((int64_t)96 << net->options.levels, 1536);
}

/* Rows of the image whose output is done. */
static int given(const struct us_schedule *s) {
    return s->done[s->stages - 1] * s->net->heads[0].scale;
}

void us_schedule_rings(struct us_rings *rings, const struct us_net *net, const int *tile, int feed, int64_t width) {
    struct us_schedule s;
    struct us_turn turn;
    int i;
    memset(rings, 0, sizeof *rings);
    us_schedule_begin(&s, net, tile, 1, tall(net), width);
    /* Before rows are added, the first unit lacks one for its turn, at most; it also wants its border below. */
    rings->image = feed + s.step[0] - 1 + 2 * us_unit_border(&net->units[0]);
    while (s.fed < s.image_h) {
        s.fed = US_MIN(s.fed + feed, s.image_h);
        while (us_schedule_next(&s, &turn)) {
            /* What a turn writes must leave alone what is still to be read. */
            const int lowest = turn.stage == s.stages - 1 ? turn.y0 : us_schedule_lowest(&s, turn.stage);
            rings->rows[turn.stage] = US_MAX(rings->rows[turn.stage], turn.y1 - US_MIN(lowest, turn.y0));
        }
        if (s.fed < s.image_h)
            rings->lag = US_MAX(rings->lag, s.fed - given(&s));
    }
    for (i = 0; i < s.stages - 1; i++)
        rings->rows[i] = round_up(rings->rows[i], s.step[i]); /* rows of a tile lie one after the other */
}
