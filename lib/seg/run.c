/* run.c - what both plans of a run share: the layout of its memory, reading the source, finished rows. */
#include "seg/run.h"

#include <string.h>

/* ---- Memory: one layout serves every kind of source and sink ---- */

static int wants_field(const struct us_session *s, int state) {
    return s->options.clip_to_field && state == 0 ? US_PREP_FIELD_WANTED : US_PREP_FIELD_AUTO;
}

struct us_evaluation_shape us_run_shape(const struct us_run *run, int64_t model, int turned) {
    struct us_evaluation_shape shape;
    shape.net = run->s->models[model].net;
    shape.height = turned ? run->w : run->h;
    shape.width = turned ? run->h : run->w;
    shape.precision = run->s->options.precision;
    shape.stream = run->stream;
    shape.calibration = run->s->models[model].folded->calibration;
    return shape;
}

static void place_whole(struct us_run *run, struct us_arena *arena, size_t *scratch) {
    const struct us_session *s = run->s;
    const size_t pixels = (size_t)run->h * (size_t)run->w * sizeof(float);
    const size_t inputs = (size_t)s->models[0].net->options.in_channels * pixels;
    const size_t outputs = (size_t)us_session_channels(s) * pixels;
    size_t maps = 0;
    int64_t i;
    int turned;
    run->x = (float *)us_arena_take(arena, (size_t)s->n_states * inputs);
    run->sum = (float *)us_arena_take(arena, outputs);
    if (us_run_averages(s)) {
        run->view = (float *)us_arena_take(arena, inputs);
        run->score = (float *)us_arena_take(arena, outputs);
    }
    *scratch = 0;
    for (i = 0; i < s->n_models; i++)
        for (turned = 0; turned <= (s->options.views == 8); turned++) {
            const struct us_evaluation_shape shape = us_run_shape(run, i, turned);
            struct us_evaluation_size size;
            us_evaluation_measure(&size, s->ctx, &shape);
            maps = US_MAX(maps, size.maps);
            *scratch = US_MAX(*scratch, size.scratch);
        }
    run->network = (char *)us_arena_take(arena, maps + *scratch);
}

static void place_stream(struct us_run *run, struct us_arena *arena, size_t *scratch) {
    struct us_session *s = run->s;
    const int views = s->options.views;
    struct us_evaluation_size size;
    int64_t i;
    int lag = 0;
    *scratch = 0;
    for (i = 0; i < s->n_models; i++) {
        const struct us_evaluation_shape shape = us_run_shape(run, i, 0);
        us_evaluation_measure(&size, s->ctx, &shape);
        *scratch = US_MAX(*scratch, size.scratch);
        lag = US_MAX(lag, size.lag);
    }
    run->scratch = (char *)us_arena_take(arena, *scratch);
    for (i = 0; i < s->n_models * views; i++) {
        const struct us_evaluation_shape shape = us_run_shape(run, i / views, 0);
        const size_t row = (size_t)us_session_channels(s) * (size_t)run->w * sizeof(float);
        int ring_rows;
        void *maps, *ring;
        us_evaluation_measure(&size, s->ctx, &shape);
        /* One that gives its rows earlier than another must keep them until the other has them too. */
        ring_rows = size.output_rows + (us_run_averages(s) ? lag : 0);
        maps = us_arena_take(arena, size.maps);
        ring = us_arena_take(arena, (size_t)ring_rows * row);
        if (arena->base) {
            struct us_member *m = &s->members[i];
            m->model = i / views;
            m->mirrored = (int)(i % views);
            m->done = 0;
            m->ring = (float *)ring;
            m->ring_rows = ring_rows;
            m->evaluation = us_evaluation_begin(s->ctx, &shape, s->models[m->model].folded, maps, run->scratch);
            us_evaluation_output(m->evaluation, m->ring, (size_t)ring_rows * (size_t)run->w, ring_rows);
        }
    }
}

/* The preprocessing of models with state k. */
static const struct us_prep *prep_of(const struct us_session *s, int k) {
    int64_t i;
    for (i = 0; s->state_of[i] != k; i++)
        ;
    return &s->models[i].prep;
}

void us_run_place(struct us_run *run, struct us_arena *arena, size_t *scratch) {
    struct us_session *s = run->s;
    int k;
    run->room.count = US_EVALUATION_FEED;
    run->room.stride = run->w * 3 * (int64_t)sizeof(uint16_t); /* of the widest samples there may be */
    run->room.rows = (char *)us_arena_take(arena, (size_t)(run->room.count * run->room.stride));
    run->line = (float *)us_arena_take(arena, (size_t)us_session_channels(s) * (size_t)run->w * sizeof(float));
    run->field = (uint8_t *)us_arena_take(arena, (size_t)run->w);
    for (k = 0; k < s->n_states; k++) {
        const struct us_prep *prep = prep_of(s, k);
        void *memory = us_arena_take(arena, us_prep_state_bytes(prep, wants_field(s, k)));
        if (memory && run->source && !s->options.fit)
            us_prep_state_begin(&s->states[k], prep, run->w, run->h, run->source->channels, run->source->bits,
                                run->source->mask ? US_PREP_FIELD_GIVEN : wants_field(s, k), memory);
    }
    run->states = s->options.fit ? s->options.fit : s->states;
    if (run->stream)
        place_stream(run, arena, scratch);
    else
        place_whole(run, arena, scratch);
}

/* ---- Finished rows ---- */

static void clip_row(struct us_run *run, int64_t y, float *rows, size_t plane) {
    const struct us_rows_source *source = run->source;
    const uint8_t *field = run->field;
    int64_t x;
    int c;
    if (source->mask)
        field = source->mask + y * source->mask_stride;
    else
        us_prep_field_row(&run->states[0], y, run->field);
    for (c = 0; c < run->channels; c++)
        for (x = 0; x < run->w; x++)
            if (!field[x])
                rows[(size_t)c * plane + (size_t)x] = 0;
}

int us_run_finish_row(struct us_run *run, int64_t y, float *rows, size_t plane) {
    const size_t w = (size_t)run->w;
    int c, stop;
    if (run->s->options.clip_to_field && run->source)
        clip_row(run, y, rows, plane);
    if (!run->sink.write)
        return 0;
    for (c = 0; c < run->channels && rows != run->line; c++)
        memcpy(run->line + (size_t)c * w, rows + (size_t)c * plane, w * sizeof *rows);
    us_fp_callback_begin();
    stop = run->sink.write(run->sink.user, y, 1, run->line);
    us_fp_callback_end();
    if (stop)
        return us_fail(UNETSTAR_EUSER, "write_rows returned %d at row %lld", stop, (long long)y);
    return us_cancelled(run->watch->cancel) ? us_fail(UNETSTAR_ECANCELED, "canceled") : 0;
}
