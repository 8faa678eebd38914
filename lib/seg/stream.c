/*
 * stream.c - a run by the streaming plan: rows go in, finished rows come out.
 *
 * Several models, or a view and its mirror image, are members that get the same rows at the same time. A row of the
 * output is done when all of them have it.
 */
#include "seg/run.h"

#include <string.h>

static int n_members(const struct us_session *s) {
    return (int)(s->n_models * s->options.views);
}

/* ---- Rows in ---- */

struct feed {
    struct us_run *run;
    const char *rows;
    int64_t y, stride;
};

/* The first member with the same input before it is mirrored. */
static const struct us_member *twin(const struct us_session *s, const struct us_member *m) {
    const struct us_member *first = s->members;
    while (s->state_of[first->model] != s->state_of[m->model])
        first++;
    return first;
}

static size_t input_plane(const struct us_member *m) {
    return (size_t)(us_evaluation_row(m->evaluation, 1, 0) - us_evaluation_row(m->evaluation, 0, 0));
}

static void copy_row(const float *from, float *to, int64_t w, int mirrored) {
    int64_t x;
    if (!mirrored) {
        memcpy(to, from, (size_t)w * sizeof *to);
        return;
    }
    for (x = 0; x < w; x++)
        to[x] = from[w - 1 - x];
}

/* One row of the input of every member. */
static void feed_task(void *arg, int64_t index, int worker) {
    const struct feed *f = (const struct feed *)arg;
    const struct us_run *run = f->run;
    struct us_session *s = run->s;
    const int64_t y = f->y + index;
    const int channels = s->models[0].net->options.in_channels;
    int i, c;
    (void)worker;
    for (i = 0; i < n_members(s); i++) {
        const struct us_member *m = &s->members[i], *first = twin(s, m);
        if (m == first && !run->tensor) {
            us_prep_row(&run->states[s->state_of[m->model]], y, f->rows + index * f->stride,
                        us_evaluation_row(m->evaluation, 0, y), input_plane(m));
            continue;
        }
        for (c = 0; c < channels; c++)
            copy_row(run->tensor ? run->tensor + (c * run->h + y) * run->w : us_evaluation_row(first->evaluation, c, y),
                     us_evaluation_row(m->evaluation, c, y), run->w, m->mirrored);
    }
}

static int feed(struct us_run *run, int64_t y, int64_t n) {
    struct us_session *s = run->s;
    struct feed f;
    int i, code = 0;
    f.run = run;
    f.rows = NULL;
    f.y = y;
    f.stride = 0;
    if (!run->tensor)
        code = us_rows_read(run->source, &run->room, run->watch->cancel, y, n, &f.rows, &f.stride);
    code = code ? code : us_parallel(s->ctx, NULL, feed_task, &f, n);
    for (i = 0; i < n_members(s); i++)
        us_evaluation_fed(s->members[i].evaluation, y + n);
    return code;
}

/* ---- Rows out ---- */

static float *member_row(const struct us_run *run, const struct us_member *m, int channel, int64_t y) {
    return m->ring + ((int64_t)channel * m->ring_rows + y % m->ring_rows) * run->w;
}

/* Row y of the output, from all members. */
static int deliver(struct us_run *run, int64_t y) {
    struct us_session *s = run->s;
    const int64_t w = run->w;
    const float share = us_run_share(s);
    int64_t x;
    int i, c;
    for (c = 0; c < run->channels; c++) {
        float *line = run->line + c * w;
        if (!us_run_averages(s)) {
            memcpy(line, member_row(run, s->members, c, y), (size_t)w * sizeof *line);
        } else {
            memset(line, 0, (size_t)w * sizeof *line);
            for (i = 0; i < n_members(s); i++) {
                const float *from = member_row(run, &s->members[i], c, y);
                for (x = 0; x < w; x++)
                    line[x] += from[s->members[i].mirrored ? w - 1 - x : x];
            }
            for (x = 0; x < w; x++)
                line[x] = line[x] * share;
        }
    }
    i = us_run_finish_row(run, y, run->line, (size_t)w);
    for (c = 0; c < run->channels && run->sink.planes; c++)
        memcpy(run->sink.planes + ((int64_t)c * run->h + y) * w, run->line + c * w, (size_t)w * sizeof(float));
    return i;
}

static int report(const struct us_run *run, int64_t rows) {
    unetstar_progress p;
    memset(&p, 0, sizeof p);
    p.phase = UNETSTAR_PHASE_SEGMENT;
    p.done = rows;
    p.total = run->h;
    return us_watch_report(run->watch, &p);
}

/* A member goes on until it has rows from `wanted` on, or needs more input. */
static int advance(struct us_member *m, int64_t wanted, int *starved) {
    struct us_evaluation_step step;
    int code = 0;
    *starved = 0;
    while (m->done < wanted && !*starved && !code) {
        code = us_evaluation_next(m->evaluation, &step);
        m->done = US_MAX(m->done, step.y1);
        *starved = step.starved;
    }
    return code;
}

/* Everything that the rows fed so far allow. *given: rows of the output delivered. */
static int drain(struct us_run *run, int64_t *given) {
    struct us_session *s = run->s;
    int i, starved, any = 0, code = 0;
    while (!any && !code) {
        int64_t ready = run->h;
        for (i = 0; i < n_members(s) && !code; i++) {
            code = advance(&s->members[i], *given + 1, &starved);
            ready = US_MIN(ready, s->members[i].done);
            any |= starved;
        }
        any |= ready == run->h;
        for (; *given < ready && !code; ++*given)
            code = deliver(run, *given);
        code = code ? code : report(run, *given);
    }
    /* Rings may take more rows of the image only when every member has used what it has. */
    for (i = 0; i < n_members(s) && !code; i++)
        code = advance(&s->members[i], INT64_MAX, &starved);
    return code;
}

int us_run_stream(struct us_run *run) {
    int64_t y, n, given = 0;
    int code = 0;
    for (y = 0; y < run->h && !code; y += n) {
        n = US_MIN(US_EVALUATION_FEED, run->h - y);
        code = feed(run, y, n);
        code = code ? code : drain(run, &given);
    }
    return code;
}
