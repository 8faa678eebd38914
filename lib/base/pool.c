/* pool.c - the context's worker threads: short fork-join, sleeping when idle. */
#if defined(__linux__)
#define _GNU_SOURCE /* pthread_setname_np */
#endif
#include "base/base.h"

#if !defined(US_NO_THREADS)
#include <pthread.h>
#include <stdio.h>

/* Turns of a waiting loop before a thread goes to sleep: some tens of microseconds, about what a wake-up costs. */
#define SPIN_TURNS 4000

/* A worker's run of tasks; a cache line of its own, since the others look at it only when they have finished theirs. */
struct share {
    int64_t next; /* atomic */
    char rest[56];
};

struct worker {
    us_pool *pool;
    pthread_t thread;
    int index;
};

struct us_pool {
    int n_threads; /* with the calling thread */
    int n_started;
    int busy;            /* atomic: a job is running */
    unsigned generation; /* atomic: number of the present job */
    int running;         /* atomic: workers that have not finished it */
    int quit;
    struct us_job job;
    struct share *shares; /* n_threads */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    struct worker workers[1]; /* n_threads - 1 */
};

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_job(us_pool *pool, unsigned seen) {
    int turn;
    for (turn = 0; turn < SPIN_TURNS; turn++) {
        if (__atomic_load_n(&pool->generation, __ATOMIC_ACQUIRE) != seen)
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&pool->lock);
    while (__atomic_load_n(&pool->generation, __ATOMIC_ACQUIRE) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static int64_t share_start(const us_pool *pool, int worker) {
    return pool->job.n * worker / pool->n_threads;
}

/* First a worker's own tasks, then what is left of the others'. */
static void run_tasks(us_pool *pool, int worker) {
    const struct us_job *job = &pool->job;
    int k;
    us_fp_enter();
    for (k = 0; k < pool->n_threads; k++) {
        const int owner = (worker + k) % pool->n_threads;
        const int64_t end = share_start(pool, owner + 1);
        while (!us_cancelled(job->cancel)) {
            const int64_t i = __atomic_fetch_add(&pool->shares[owner].next, 1, __ATOMIC_RELAXED);
            if (i >= end)
                break;
            job->fn(job->arg, i, worker);
        }
    }
    us_fp_leave();
}

static void *worker_main(void *argument) {
    struct worker *self = (struct worker *)argument;
    us_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        wait_for_job(pool, seen);
        seen++;
        if (pool->quit)
            return NULL;
        run_tasks(pool, self->index);
        if (__atomic_sub_fetch(&pool->running, 1, __ATOMIC_ACQ_REL) == 0) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void post_job(us_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    __atomic_add_fetch(&pool->generation, 1, __ATOMIC_ACQ_REL);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

int us_pool_create(us_pool **out, us_context *ctx, int n_threads) {
    const size_t head = (sizeof(us_pool) + sizeof(struct worker) * (size_t)(n_threads - 1) + 63) / 64 * 64;
    const size_t size = head + sizeof(struct share) * (size_t)n_threads;
    us_pool *pool = (us_pool *)us_alloc_zero(ctx, size);
    pthread_attr_t attributes;
    int i;
    *out = NULL;
    if (!pool)
        return UNETSTAR_ENOMEM;
    pool->n_threads = n_threads;
    pool->shares = (struct share *)((char *)pool + head);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)1 << 20);
    for (i = 1; i < n_threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        worker->pool = pool;
        worker->index = i;
        if (pthread_create(&worker->thread, &attributes, worker_main, worker))
            break;
        pool->n_started++;
#if defined(__linux__)
        {
            char name[24];
            snprintf(name, sizeof name, "unetstar-%d", i);
            pthread_setname_np(worker->thread, name);
        }
#endif
    }
    pthread_attr_destroy(&attributes);
    if (pool->n_started < n_threads - 1) {
        us_pool_destroy(ctx, pool);
        return us_fail(UNETSTAR_ESTATE, "worker thread %d of %d could not be started", i, n_threads - 1);
    }
    *out = pool;
    return 0;
}

void us_pool_destroy(us_context *ctx, us_pool *pool) {
    int i;
    if (us_context_check(ctx) == 0) { /* after a fork there is nobody to join */
        pool->quit = 1;
        post_job(pool);
        for (i = 0; i < pool->n_started; i++)
            pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->done);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
    }
    us_free(ctx, pool);
}

int us_pool_run(us_pool *pool, const struct us_job *job) {
    int turn, i;
    if (__atomic_exchange_n(&pool->busy, 1, __ATOMIC_ACQUIRE))
        return 1;
    pool->job = *job;
    for (i = 0; i < pool->n_threads; i++)
        pool->shares[i].next = share_start(pool, i); /* published by post_job */
    __atomic_store_n(&pool->running, pool->n_threads - 1, __ATOMIC_RELEASE);
    post_job(pool);
    run_tasks(pool, 0);
    for (turn = 0; turn < SPIN_TURNS && __atomic_load_n(&pool->running, __ATOMIC_ACQUIRE); turn++)
        pause_cpu();
    if (__atomic_load_n(&pool->running, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&pool->lock);
        while (__atomic_load_n(&pool->running, __ATOMIC_ACQUIRE))
            pthread_cond_wait(&pool->done, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
    return 0;
}

#else /* a build without threads: everything runs on the calling thread, or on a caller's runner */

int us_pool_create(us_pool **out, us_context *ctx, int n_threads) {
    (void)ctx;
    *out = NULL;
    return us_fail(UNETSTAR_ESTATE, "this build of the library has no threads, and %d were asked for", n_threads);
}

void us_pool_destroy(us_context *ctx, us_pool *pool) {
    (void)ctx;
    (void)pool;
}

int us_pool_run(us_pool *pool, const struct us_job *job) {
    (void)pool;
    (void)job;
    return 1;
}
#endif
