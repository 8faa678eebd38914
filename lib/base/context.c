/* context.c - the context: allocator, log, threads, kernels; and the cancel and progress rules of long calls. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The public numbers are the kernels' numbers. */
typedef char us_check_acts[(int)US_ACT_RELU == (int)UNETSTAR_ACTIVATION_RELU &&
                                   (int)US_ACT_LEAKY_RELU == (int)UNETSTAR_ACTIVATION_LEAKY_RELU &&
                                   (int)US_ACT_RELU6 == (int)UNETSTAR_ACTIVATION_RELU6 &&
                                   (int)US_ACT_SILU == (int)UNETSTAR_ACTIVATION_SILU &&
                                   (int)US_ACT_GELU == (int)UNETSTAR_ACTIVATION_GELU
                               ? 1
                               : -1];

static void *default_alloc(void *user, size_t size, size_t alignment) {
    void *pointer = NULL;
    (void)user;
    return posix_memalign(&pointer, alignment, size) ? NULL : pointer;
}

static void default_free(void *user, void *pointer, size_t size) {
    (void)user;
    (void)size;
    free(pointer);
}

/* The instruction sets a limit lets through. */
static unsigned isa_mask(int32_t limit) {
    switch (limit) {
    case UNETSTAR_ISA_REFERENCE:
        return 0;
    case UNETSTAR_ISA_REFERENCE_FMA:
        return US_ISA_FMA;
    case UNETSTAR_ISA_AVX2:
        return US_ISA_FMA | US_ISA_AVX2;
    case UNETSTAR_ISA_AVX512:
        return US_ISA_FMA | US_ISA_AVX2 | US_ISA_AVX512;
    case UNETSTAR_ISA_NEON:
        return US_ISA_FMA | US_ISA_NEON;
    default:
        return ~0u;
    }
}

int us_context_create(us_context **out, const unetstar_context_options *o) {
    unetstar_alloc_fn alloc = o->alloc ? o->alloc : default_alloc;
    us_context *ctx;
    us_fp_callback_begin();
    ctx = (us_context *)alloc(o->alloc_user, sizeof *ctx, 64);
    us_fp_callback_end();
    *out = NULL;
    if (!ctx)
        return us_fail(UNETSTAR_ENOMEM, "out of memory for a context");
    memset(ctx, 0, sizeof *ctx);
    ctx->refs = 1;
    ctx->alloc = alloc;
    ctx->free = o->alloc ? o->free : default_free;
    ctx->alloc_user = o->alloc_user;
    ctx->log = o->log;
    ctx->log_user = o->log_user;
    ctx->run = o->run;
    ctx->runner = o->runner;
    ctx->n_threads = o->n_threads > 0 ? o->n_threads : us_cpu_count();
#if defined(US_NO_THREADS)
    if (o->n_threads == 0)
        ctx->n_threads = 1;
#endif
    ctx->pid = (long)getpid();
    if (us_kernels_init(&ctx->kern, us_cpu_isa() & isa_mask(o->isa_limit))) {
        us_context_unref(ctx);
        return us_fail(UNETSTAR_EINTERNAL, "this build of the library contracts a*b+c and cannot keep its promise of equal "
                                           "bits; build it with -ffp-contract=off");
    }
    if (ctx->n_threads > 1 && !ctx->run) {
        const int code = us_pool_create(&ctx->pool, ctx, ctx->n_threads);
        if (code) {
            us_context_unref(ctx);
            return code;
        }
    }
    *out = ctx;
    return 0;
}

us_context *us_context_ref(us_context *ctx) {
    us_atomic_add(&ctx->refs, 1);
    return ctx;
}

void us_context_unref(us_context *ctx) {
    unetstar_free_fn release;
    void *user;
    if (!ctx || us_atomic_add(&ctx->refs, -1) > 0)
        return;
    if (ctx->pool)
        us_pool_destroy(ctx, ctx->pool);
    release = ctx->free;
    user = ctx->alloc_user;
    us_fp_callback_begin();
    release(user, ctx, sizeof *ctx);
    us_fp_callback_end();
}

int us_context_check(const us_context *ctx) {
    if (ctx->pool && ctx->pid != (long)getpid())
        return us_fail(UNETSTAR_ESTATE, "this context has worker threads and was made before a fork: create a new one in "
                                        "the child process");
    return 0;
}

void us_note(const us_context *ctx, int level, const char *format, ...) {
    char line[512];
    va_list args;
    if (!ctx->log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    us_fp_callback_begin();
    ctx->log(ctx->log_user, level, line);
    us_fp_callback_end();
}

int us_atomic_add(int *value, int amount) {
    return __atomic_add_fetch(value, amount, __ATOMIC_ACQ_REL);
}

void us_lock(int *lock) {
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(lock, __ATOMIC_RELAXED))
            sched_yield();
    }
}

void us_unlock(int *lock) {
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

int us_cancelled(const us_cancel *cancel) {
    return cancel && __atomic_load_n(&cancel->requested, __ATOMIC_ACQUIRE);
}

int us_watch_report(const struct us_watch *watch, unetstar_progress *progress) {
    int stop = 0;
    if (watch && watch->progress) {
        progress->struct_size = sizeof *progress;
        us_fp_callback_begin();
        stop = watch->progress(watch->user, progress);
        us_fp_callback_end();
    }
    if (stop)
        return us_fail(UNETSTAR_ECANCELED, "canceled by the progress callback");
    if (watch && us_cancelled(watch->cancel))
        return us_fail(UNETSTAR_ECANCELED, "canceled");
    return 0;
}
