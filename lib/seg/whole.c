/* whole.c - a run by the whole-image plan: one model after the other, one view after the other. */
#include "seg/run.h"
#include "seg/views.h"

#include <string.h>

/* ---- The input ---- */

struct rows {
    struct us_run *run;
    const char *rows;
    int64_t y, stride;
};

/* A row of the input of every state. */
static void prep_task(void *arg, int64_t index, int worker) {
    const struct rows *r = (const struct rows *)arg;
    const struct us_run *run = r->run;
    const size_t plane = (size_t)run->h * (size_t)run->w;
    const size_t input = plane * (size_t)run->s->models[0].net->options.in_channels;
    const int64_t y = r->y + index;
    int k;
    (void)worker;
    for (k = 0; k < run->s->n_states; k++)
        us_prep_row(&run->states[k], y, r->rows + index * r->stride, run->x + (size_t)k * input + (size_t)(y * run->w),
                    plane);
}

static int make_inputs(struct us_run *run) {
    const int64_t step = run->source->data ? run->h : run->room.count;
    struct rows r;
    int64_t n;
    int code = 0;
    r.run = run;
    for (r.y = 0; r.y < run->h && !code; r.y += n) {
        n = US_MIN(step, run->h - r.y);
        code = us_rows_read(run->source, &run->room, run->watch->cancel, r.y, n, &r.rows, &r.stride);
        code = code ? code : us_parallel(run->s->ctx, run->watch->cancel, prep_task, &r, n);
    }
    return code;
}

/* ---- The network ---- */

static int report(void *user, int units) {
    struct us_run *run = (struct us_run *)user;
    unetstar_progress p;
    memset(&p, 0, sizeof p);
    p.phase = UNETSTAR_PHASE_SEGMENT;
    p.done = run->units_before + units;
    p.total = run->units;
    return us_watch_report(run->watch, &p);
}

static int evaluate(struct us_run *run, int64_t model, int turned, const float *x, float *probability) {
    const struct us_seg_model *m = &run->s->models[model];
    const struct us_evaluation_shape shape = us_run_shape(run, model, turned);
    int code = us_evaluate(run->s->ctx, &shape, m->folded, x, probability, run->network, report, run);
    run->units_before += m->net->n_units;
    return code;
}

/* All views of one model, added to sum. */
static int add_model(struct us_run *run, int64_t model, const float *x, float *sum) {
    const int in_channels = run->s->models[model].net->options.in_channels;
    int v, code = 0;
    for (v = 0; v < run->s->options.views && !code; v++) {
        us_view_apply(v, in_channels, run->h, run->w, x, run->view);
        code = evaluate(run, model, US_VIEW_TRANSPOSED(v), run->view, run->score);
        if (!code)
            us_view_add_back(v, run->channels, run->h, run->w, run->score, sum);
    }
    return code;
}

static int average(struct us_run *run, float *sum) {
    const struct us_session *s = run->s;
    const size_t pixels = (size_t)run->h * (size_t)run->w, values = pixels * (size_t)run->channels;
    const size_t input = pixels * (size_t)s->models[0].net->options.in_channels;
    const float share = us_run_share(s);
    int64_t m;
    size_t i;
    int code = 0;
    memset(sum, 0, values * sizeof *sum);
    for (m = 0; m < s->n_models && !code; m++)
        code = add_model(run, m, run->tensor ? run->tensor : run->x + (size_t)s->state_of[m] * input, sum);
    for (i = 0; i < values && !code; i++)
        sum[i] = sum[i] * share;
    return code;
}

int us_run_whole(struct us_run *run) {
    const struct us_session *s = run->s;
    const size_t plane = (size_t)run->h * (size_t)run->w;
    float *to = run->sink.planes ? run->sink.planes : run->sum;
    int64_t i, y;
    int code = run->tensor ? 0 : make_inputs(run);
    for (i = 0; i < s->n_models; i++)
        run->units += s->models[i].net->n_units * s->options.views;
    if (!code && us_run_averages(s))
        code = average(run, to);
    else if (!code)
        code = evaluate(run, 0, 0, run->tensor ? run->tensor : run->x, to);
    for (y = 0; y < run->h && !code; y++)
        code = us_run_finish_row(run, y, to + y * run->w, plane);
    return code;
}
