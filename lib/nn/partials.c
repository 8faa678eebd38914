/*
 * partials.c - the sum of a weight gradient over a batch, cut by shape and never by thread.
 *
 * A partial is a fixed part of the batch; partials are added pairwise by index: (0 + 1), (2 + 3), ... and so on up. A task
 * takes an aligned run of 2^k partials for some input and output blocks and adds them on a stack as a binary counter does,
 * which is the same tree. Where that leaves too few tasks the runs are shorter, and what they leave is added in a second step
 * by the same tree. So the runs may be chosen by the number of threads, and the bits do not depend on it.
 */
#include "nn/map.h"

#include <string.h>

#define TAP (US_LANES * US_LANES)
#define MAX_DEPTH 40
#define TASKS 4 /* wanted for every worker */

struct runs {
    int length;  /* partials of a run, a power of two */
    int groups;  /* runs */
    int b_parts; /* groups of input blocks */
    int o_parts; /* groups of output blocks */
};

static int parts(int blocks, int step) {
    return (blocks + step - 1) / step;
}

static struct runs cut_runs(int workers, const struct us_partials *p) {
    struct runs r;
    r.b_parts = parts(p->in_blocks, p->in_step);
    r.o_parts = parts(p->out_blocks, p->out_step);
    for (r.length = 1; r.length < p->count; r.length *= 2)
        ;
    r.groups = 1;
    while (workers > 1 && r.length > 1 && r.groups * r.b_parts * r.o_parts < TASKS * workers) {
        r.length /= 2;
        r.groups = parts(p->count, r.length);
    }
    return r;
}

static size_t all_floats(const struct us_partials *p) {
    return (size_t)p->in_blocks * (size_t)p->out_blocks * (size_t)p->taps * TAP;
}

/* Enough for any smaller count of partials too: halving the runs at most doubles their number. */
size_t us_partials_floats(int workers, const struct us_partials *p) {
    const int tasks = parts(p->in_blocks, p->in_step) * parts(p->out_blocks, p->out_step);
    const int wanted = workers > 1 ? parts(TASKS * workers, tasks) : 1;
    return wanted > 1 ? (size_t)US_MIN(p->count, 2 * (wanted - 1)) * all_floats(p) : 0;
}

static int stack_depth(int length) {
    int depth = 2;
    for (; length > 1; length /= 2)
        depth++;
    return depth;
}

size_t us_partials_scratch(const struct us_partials *p) {
    const struct runs longest = cut_runs(1, p);
    return (size_t)stack_depth(longest.length) * (size_t)p->in_step * (size_t)p->out_step * (size_t)p->taps * TAP * sizeof(float);
}

struct run_job {
    us_context *ctx;
    const struct us_partials *p;
    struct runs runs;
    struct us_scratch scratch;
    float *partials, *dw;
};

static void run_task(void *arg, int64_t index, int worker) {
    const struct run_job *job = (const struct run_job *)arg;
    const struct us_partials *p = job->p;
    const int o_part = (int)(index % job->runs.o_parts);
    const int b_part = (int)(index / job->runs.o_parts % job->runs.b_parts);
    const int group = (int)(index / job->runs.o_parts / job->runs.b_parts);
    const int first = group * job->runs.length, last = US_MIN(first + job->runs.length, p->count);
    struct us_partial_range range;
    char *scratch = job->scratch.base + (size_t)worker * job->scratch.each;
    float *stack = (float *)scratch;
    float *target = job->runs.groups > 1 ? job->partials + (size_t)group * all_floats(p) : job->dw;
    size_t level;
    int sizes[MAX_DEPTH], depth = 0, i, o;
    range.b0 = b_part * p->in_step;
    range.b1 = US_MIN(range.b0 + p->in_step, p->in_blocks);
    range.o0 = o_part * p->out_step;
    range.o1 = US_MIN(range.o0 + p->out_step, p->out_blocks);
    level = (size_t)(range.b1 - range.b0) * (size_t)(range.o1 - range.o0) * (size_t)p->taps * TAP;
    for (i = first; i < last; i++) {
        p->compute(p->user, i, &range, stack + (size_t)depth * level, scratch + us_partials_scratch(p));
        sizes[depth++] = 1;
        while (depth > 1 && (sizes[depth - 1] == sizes[depth - 2] || i == last - 1)) {
            float *into = stack + (size_t)(depth - 2) * level;
            job->ctx->kern.add(into, into, into + level, level / US_LANES);
            sizes[depth - 2] += sizes[depth - 1];
            depth--;
        }
    }
    for (o = range.o0; o < range.o1; o++) {
        const size_t part = (size_t)(range.b1 - range.b0) * (size_t)p->taps * TAP;
        memcpy(target + ((size_t)o * (size_t)p->in_blocks + (size_t)range.b0) * (size_t)p->taps * TAP,
               stack + (size_t)(o - range.o0) * part, part * sizeof(float));
    }
}

/* Adds what the runs left, for one output block. */
static void reduce_task(void *arg, int64_t index, int worker) {
    const struct run_job *job = (const struct run_job *)arg;
    const size_t all = all_floats(job->p), part = all / (size_t)job->p->out_blocks;
    float *base = job->partials + (size_t)index * part;
    int stride, g;
    (void)worker;
    for (stride = 1; stride < job->runs.groups; stride *= 2)
        for (g = 0; g + stride < job->runs.groups; g += 2 * stride) {
            float *into = base + (size_t)g * all;
            job->ctx->kern.add(into, into, into + (size_t)stride * all, part / US_LANES);
        }
    memcpy(job->dw + (size_t)index * part, base, part * sizeof(float));
}

int us_partials_run(us_context *ctx, const struct us_partials *p, struct us_scratch scratch, float *partials, float *dw) {
    struct run_job job;
    int code;
    job.ctx = ctx;
    job.p = p;
    job.runs = cut_runs(us_workers(ctx), p);
    job.scratch = scratch;
    job.partials = partials;
    job.dw = dw;
    code = us_parallel(ctx, NULL, run_task, &job, (int64_t)job.runs.groups * job.runs.b_parts * job.runs.o_parts);
    if (!code && job.runs.groups > 1)
        code = us_parallel(ctx, NULL, reduce_task, &job, p->out_blocks);
    return code;
}
