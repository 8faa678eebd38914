/*
 * evaluate.c - the evaluation pass: one image, batch norm folded into the weights, maps placed so that they overlap in time.
 * It runs the same units on the same sources of rows as training does.
 */
#include "nn/map.h"

#include <string.h>

struct plan {
    struct us_pass pass;
    struct us_norm norms[US_MAX_UNITS]; /* instance and group norm: statistics of this image */
    float *logits, *full_logits;
    size_t maps; /* bytes before the scratch */
};

static void place_norms(struct plan *plan, struct us_arena *arena) {
    const struct us_net *net = plan->pass.net;
    size_t sums = 0;
    double *shared;
    int u;
    for (u = 0; u < net->n_units; u++) {
        const struct us_unit *unit = &net->units[u];
        struct us_norm *norm = &plan->norms[u];
        size_t size = us_norm_floats(0, 1, unit->out_blocks) * sizeof(float);
        if (unit->norm != UNETSTAR_NORM_INSTANCE && unit->norm != UNETSTAR_NORM_GROUP)
            continue;
        norm->c = unit->c_out;
        norm->groups = unit->groups;
        norm->eps = 1e-5f;
        norm->mean = (float *)us_arena_take(arena, size);
        norm->inverse_std = (float *)us_arena_take(arena, size);
        norm->scale = (float *)us_arena_take(arena, size);
        norm->shift = (float *)us_arena_take(arena, size);
        plan->pass.scale[u] = norm->scale;
        plan->pass.shift[u] = norm->shift;
        sums = US_MAX(sums, us_norm_sums(1, unit->out_blocks));
    }
    shared = (double *)us_arena_take(arena, sums * sizeof(double));
    for (u = 0; u < net->n_units; u++)
        plan->norms[u].sums = shared;
}

static void place(struct plan *plan, us_context *ctx, const struct us_net *net, int exact, int64_t height, int64_t width,
                  struct us_arena *arena) {
    struct us_interval lives[US_MAX_UNITS];
    const struct us_head *head = &net->heads[0];
    size_t plane;
    char *base;
    int u;
    memset(plan, 0, sizeof *plan);
    us_pass_shapes(&plan->pass, ctx, net, 1, height, width);
    us_pass_algorithms(&plan->pass, 0, exact);
    for (u = 0; u < net->n_units; u++) {
        lives[u].first = u;
        lives[u].last = us_net_last_reader(net, u);
        lives[u].size = us_map_floats(&plan->pass.z[u]) * sizeof(float);
    }
    base = (char *)us_arena_take(arena, us_plan_intervals(lives, net->n_units));
    for (u = 0; u < net->n_units; u++)
        plan->pass.z[u].data = base ? (float *)(base + lives[u].offset) : NULL;
    place_norms(plan, arena);
    plane = (size_t)plan->pass.z[head->unit].h * (size_t)plan->pass.z[head->unit].w * sizeof(float);
    plan->logits = (float *)us_arena_take(arena, (size_t)net->options.classes * plane);
    plan->full_logits = head->bilinear ? (float *)us_arena_take(arena, (size_t)net->options.classes * plane * 4) : NULL;
    plan->maps = arena->used;
    plan->pass.scratch.each = us_pass_scratch(&plan->pass, 0);
    plan->pass.scratch.base = (char *)us_arena_take(arena, plan->pass.scratch.each * (size_t)us_workers(ctx));
}

void us_evaluation_measure(struct us_evaluation_size *size, us_context *ctx, const struct us_net *net, int exact,
                           int64_t height, int64_t width) {
    struct us_arena arena = {NULL, 0, 0};
    struct plan plan;
    place(&plan, ctx, net, exact, height, width, &arena);
    size->maps = plan.maps;
    size->scratch = arena.used - plan.maps;
}

static int run_units(struct plan *plan, const struct us_folded *folded, const struct us_watch *watch) {
    const struct us_net *net = plan->pass.net;
    int u, code = 0;
    for (u = 0; u < net->n_units && !code; u++) {
        code = us_unit_forward(&plan->pass, u, folded->weights[u], folded->transformed[u],
                               folded->bias[u]);
        if (!code && plan->pass.scale[u])
            code = us_norm_measure(plan->pass.ctx, &plan->norms[u], &plan->pass.z[u], folded->gamma[u], folded->beta[u], 0,
                                   NULL, NULL);
        if (!code) {
            unetstar_progress p;
            memset(&p, 0, sizeof p);
            p.phase = UNETSTAR_PHASE_SEGMENT;
            p.done = u + 1;
            p.total = net->n_units;
            code = us_watch_report(watch, &p);
        }
    }
    return code;
}

/* ---- Logits to probabilities of the image's size ---- */

struct output {
    const float *logits;
    int classes, h, w, scale;
    int64_t height, width;
    float *probability;
};

/* One row of logits: softmax in place of the worker's own row, then copied to the `scale` rows it stands for. */
static void output_task(void *arg, int64_t index, int worker) {
    const struct output *o = (const struct output *)arg;
    const int64_t plane = (int64_t)o->h * o->w;
    const int first = o->classes == 2 ? 1 : 0;
    float *row = (float *)o->logits + index * o->w; /* no other task reads this row */
    int c, dy;
    int64_t x;
    (void)worker;
    us_softmax(row, row, o->classes, plane, o->w);
    for (c = first; c < o->classes; c++)
        for (dy = 0; dy < o->scale && index * o->scale + dy < o->height; dy++) {
            float *to = o->probability + ((int64_t)(c - first) * o->height + index * o->scale + dy) * o->width;
            for (x = 0; x < o->width; x++)
                to[x] = row[c * plane + x / o->scale];
        }
}

static int write_output(struct plan *plan, int64_t height, int64_t width, float *probability) {
    const struct us_head *head = &plan->pass.net->heads[0];
    const struct us_map *z = &plan->pass.z[head->unit];
    struct output o;
    int c;
    o.logits = plan->logits;
    o.classes = plan->pass.net->options.classes;
    o.h = z->h;
    o.w = z->w;
    o.scale = head->scale;
    o.height = height;
    o.width = width;
    o.probability = probability;
    if (head->bilinear) {
        const size_t plane = (size_t)z->h * (size_t)z->w;
        for (c = 0; c < o.classes; c++)
            us_plane_bilinear(plan->logits + (size_t)c * plane, z->h, z->w, plan->full_logits + (size_t)c * plane * 4);
        o.logits = plan->full_logits;
        o.h *= 2;
        o.w *= 2;
    }
    return us_parallel(plan->pass.ctx, NULL, output_task, &o, (height + o.scale - 1) / o.scale);
}

int us_evaluate(us_context *ctx, const struct us_net *net, const struct us_folded *folded, int exact, int64_t height,
                int64_t width, const float *x, float *probability, void *memory, const struct us_watch *watch) {
    struct us_arena arena = {NULL, 0, 0};
    struct plan plan;
    int code;
    arena.base = (char *)memory;
    arena.size = SIZE_MAX;
    place(&plan, ctx, net, exact, height, width, &arena);
    plan.pass.image = x;
    code = run_units(&plan, folded, watch);
    if (!code)
        code = us_head_forward(&plan.pass, &net->heads[0], folded->head_weights, folded->head_bias, plan.logits);
    return code ? code : write_output(&plan, height, width, probability);
}
