/* parallel.c - running tasks: on the pool, on a caller's runner, or on the calling thread. */
#include "base/base.h"

static void run_alone(const struct us_job *job) {
    int64_t i;
    us_fp_enter();
    for (i = 0; i < job->n && !us_cancelled(job->cancel); i++)
        job->fn(job->arg, i, 0);
    us_fp_leave();
}

/* A caller's thread has a control word of its own. */
static void runner_task(void *opaque, int64_t index, int32_t worker) {
    const struct us_job *job = (const struct us_job *)opaque;
    us_fp_enter();
    if (!us_cancelled(job->cancel))
        job->fn(job->arg, index, worker);
    us_fp_leave();
}

int us_workers(const us_context *ctx) {
    return ctx->n_threads;
}

int us_parallel(us_context *ctx, const us_cancel *cancel, us_task_fn fn, void *arg, int64_t n) {
    struct us_job job;
    int code = us_context_check(ctx);
    if (code)
        return code;
    job.fn = fn;
    job.arg = arg;
    job.n = n;
    job.cancel = cancel;
    if (ctx->run && n > 1) {
        us_fp_callback_begin();
        code = ctx->run(ctx->runner, &job, runner_task, n);
        us_fp_callback_end();
        if (code)
            return us_fail(UNETSTAR_EUSER, "the caller's runner returned %d", code);
    } else if (!ctx->pool || n <= 1 || us_pool_run(ctx->pool, &job)) {
        run_alone(&job);
    }
    return us_cancelled(cancel) ? us_fail(UNETSTAR_ECANCELED, "canceled") : 0;
}
