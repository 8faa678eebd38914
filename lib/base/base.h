/*
 * base.h - what every room stands on: errors, memory, threads, the control word, elementary functions, random numbers.
 */
#ifndef US_BASE_H
#define US_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "unetstar.h" /* constants and callback types only */

#if defined(__FAST_MATH__)
#error "unetstar promises equal bits on every machine: build it without -ffast-math"
#endif
#include <float.h>
#if FLT_EVAL_METHOD != 0
#error "unetstar needs arithmetic in the type's own precision (FLT_EVAL_METHOD 0); on 32-bit x86 build with -msse2 -mfpmath=sse"
#endif

#if defined(__GNUC__)
#define US_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define US_PRINTF(a, b)
#endif

/* ---- Errors ---- */

/* Stores a sentence for unetstar_last_error and returns code. The text never holds a floating-point number (locales). */
int us_fail(int code, const char *format, ...) US_PRINTF(2, 3);
/* Puts a prefix ("file: ") before the present sentence, for callers that know the name; returns code. */
int us_fail_in(int code, const char *name);
const char *us_error_text(void);
void us_error_clear(void);

/* ---- The floating-point control word (law 1) ---- */

/* Sets the library's control word; calls nest. Every exported call that computes is between enter and leave. */
void us_fp_enter(void);
void us_fp_leave(void);
/* The caller's own control word, for the time of a callback; the two nest, and a callback may call the library. */
void us_fp_callback_begin(void);
void us_fp_callback_end(void);

/* ---- Context ---- */

typedef struct us_pool us_pool;

struct unetstar_context {
    int refs; /* atomic */
    unetstar_alloc_fn alloc;
    unetstar_free_fn free;
    void *alloc_user;
    unetstar_log_fn log;
    void *log_user;
    unetstar_run_fn run;
    void *runner;
    int n_threads;
    long pid;
    us_pool *pool; /* NULL with one thread or a runner */
    struct us_kernels kern;
    /* Told on the calling thread when a stage of a training step begins (unit -1: of no unit; stage NULL: the step ends).
     * NULL outside benchmarks. */
    void (*mark)(void *user, const char *stage, int unit);
    void *mark_user;
};
typedef struct unetstar_context us_context;
static inline void us_mark(const us_context *ctx, const char *stage, int unit) {
    if (ctx->mark)
        ctx->mark(ctx->mark_user, stage, unit);
}

struct unetstar_cancel {
    us_context *ctx;
    volatile int requested;
};
typedef struct unetstar_cancel us_cancel;

/* options is complete (defaults resolved by api/), except n_threads 0 = as many as the process may use. */
int us_context_create(us_context **out, const unetstar_context_options *options);
us_context *us_context_ref(us_context *ctx);
void us_context_unref(us_context *ctx);
/* ESTATE after fork, when the context's worker threads do not exist in this process. */
int us_context_check(const us_context *ctx);
void us_note(const us_context *ctx, int level, const char *format, ...) US_PRINTF(3, 4);

int us_atomic_add(int *value, int amount); /* returns the new value */
/* A lock that is held for moments only. */
void us_lock(int *lock);
void us_unlock(int *lock);

/* What a long call carries with it. */
struct us_watch {
    const us_cancel *cancel; /* may be NULL */
    unetstar_progress_fn progress;
    void *user;
};
int us_cancelled(const us_cancel *cancel);
/* Calls the progress callback with the caller's control word; ECANCELED when it or the token says so. */
int us_watch_report(const struct us_watch *watch, unetstar_progress *progress);

/* ---- Memory ---- */

/* 64-byte aligned, from the context's allocator; NULL with the error set. us_alloc_zero clears it. size 0 gives one byte. */
void *us_alloc(us_context *ctx, size_t size);
void *us_alloc_zero(us_context *ctx, size_t size);
void us_free(us_context *ctx, void *pointer);
char *us_strdup(us_context *ctx, const char *text);

/* Checked products and sums of sizes: 0, or ELIMIT with the error set. */
int us_size_mul(size_t *out, size_t a, size_t b);
int us_size_add(size_t *out, size_t a, size_t b);
/* Product of n factors >= 0 and the element size, at most 2^40 bytes. */
int us_size_shape(size_t *out, const int64_t *shape, int n, size_t element);

/* A bump arena over one block: measure with base NULL (take returns NULL and only counts), then allocate and take again. */
struct us_arena {
    char *base;
    size_t size, used;
};
void *us_arena_take(struct us_arena *arena, size_t size); /* aligned to 64; counts past the end too */

/* ---- Threads ---- */

typedef void (*us_task_fn)(void *arg, int64_t index, int worker);
/* Runs fn(arg, i, worker) for i in [0, n): worker w of T gets the run [n w / T, n (w + 1) / T), so that a thread meets the same
 * data in layer after layer; one that has finished takes tasks from the others, so that nothing waits for a core that is busy
 * with something else. A second caller of a busy pool runs its tasks on its own thread as worker 0. Results may not
 * depend on any of this. ECANCELED (cancel may be NULL), EUSER (runner failed), ESTATE (fork). */
int us_parallel(us_context *ctx, const us_cancel *cancel, us_task_fn fn, void *arg, int64_t n);
/* Most workers us_parallel can use: scratch is planned for so many. */
int us_workers(const us_context *ctx);

int us_pool_create(us_pool **out, us_context *ctx, int n_threads); /* ENOMEM, ESTATE */
void us_pool_destroy(us_context *ctx, us_pool *pool);
struct us_job {
    us_task_fn fn;
    void *arg;
    int64_t n;
    const us_cancel *cancel;
};
int us_pool_run(us_pool *pool, const struct us_job *job); /* 1: busy, nothing done */

/* ---- CPU ---- */

unsigned us_cpu_isa(void);   /* bits of us_isa that CPU and operating system offer */
int us_cpu_count(void);      /* CPUs this process may use, at least 1 */
double us_clock(void);       /* monotonic seconds */

/* ---- Elementary functions (double, the same bits everywhere; within 1 ulp, pow 4) ---- */

double us_exp(double x);
double us_log(double x);
double us_pow(double x, double y); /* x > 0 */
double us_sin(double x);           /* |x| < 2^20 */
double us_cos(double x);
double us_round(double x); /* half away from zero */
double us_nan(void);        /* a quiet NaN */

/* ---- Random numbers: counter-based, never shared state ---- */

enum us_purpose {
    US_RNG_INIT = 1,
    US_RNG_PATCH = 2,
    US_RNG_AUGMENT = 3,
    US_RNG_DROPOUT = 4,
    US_RNG_SYNTHETIC = 5,
    US_RNG_VALIDATION = 6,
    US_RNG_TEST = 7,
    US_RNG_NOISE = 8
};
struct us_rng {
    uint64_t key, counter;
};
/* A stream of its own for every (seed, purpose, epoch, sample). */
struct us_rng us_rng_stream(uint64_t seed, enum us_purpose purpose, uint64_t epoch, uint64_t sample);
uint64_t us_rng_next(struct us_rng *rng);
uint64_t us_rng_at(const struct us_rng *rng, uint64_t counter); /* the value next would give at that count */
double us_rng_uniform(struct us_rng *rng);                      /* [0, 1), 53 bits */
uint64_t us_rng_below(struct us_rng *rng, uint64_t n);          /* [0, n), n >= 1 */
double us_rng_normal(struct us_rng *rng);                       /* mean 0, deviation 1 */

/* ---- Numbers as text, without the locale ---- */

#define US_NUMBER_SIZE 32
/* The shortest decimal that reads back as the same double ("0.5", "1.2e-07", "nan", "inf"). */
void us_number_format(char out[US_NUMBER_SIZE], double value);
/* Reads the whole of text[0, length) as a JSON number (also nan, inf, -inf), correctly rounded. 0, or -1. */
int us_number_parse(const char *text, size_t length, double *value);
/* The same for integers, refusing anything that does not fit. */
int us_integer_parse(const char *text, size_t length, int64_t *value);

/* ---- Tensors ---- */

struct unetstar_tensor {
    us_context *ctx;
    void *data;
    size_t bytes;
    int32_t dtype, ndim;
    int64_t shape[UNETSTAR_MAX_DIMS];
    int owned;
    void (*release)(void *user, void *data);
    void *user;
};
typedef struct unetstar_tensor us_tensor;
size_t us_dtype_size(int dtype); /* 0: unknown */

/* ---- Small things ---- */

#define US_MIN(a, b) ((a) < (b) ? (a) : (b))
#define US_MAX(a, b) ((a) > (b) ? (a) : (b))
#define US_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
/* Blocks of 16 channels that hold c channels. */
#define US_BLOCKS(c) (((c) + US_LANES - 1) / US_LANES)

#endif
