/* pool.c - several cells at once, each in a process of its own, with one progress bar for all.
 *
 * Children tell how far they are through one pipe, in messages small enough to be written whole. They ignore SIGINT,
 * which a terminal sends to all: the parent gets it and passes SIGTERM on, once, so that each saves what it has. When
 * the parent is gone, their next message fails and they stop as well. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bar.h"
#include "compare.h"

enum message_kind { MESSAGE_PROGRESS, MESSAGE_SUMMARY, MESSAGE_PROBLEM };
struct message {
    int32_t slot, kind;
    double fraction;
    char text[400];
};

struct slot {
    pid_t process; /* 0: free */
    struct cell cell;
    double fraction, first; /* first: what was done before, of a training that goes on; below 0: not known yet */
    char text[64], summary[sizeof((struct message *)0)->text], problem[sizeof((struct message *)0)->text];
};

struct pool {
    const struct plan *plan;
    const struct launch *launch;
    const struct cell *todo;
    size_t count, next, finished, failed;
    int ends[2], jobs, running, stopping;
    struct slot *slots;
    double busy, work, seen; /* seconds of all slots together, cells they did in them, when last looked */
    double *loads;           /* scratch */
    struct bar bar;
};

/* ---- In a child ---- */

struct teller {
    int pipe, slot;
    double told;
};

static int tell(const struct teller *teller, enum message_kind kind, double fraction, const char *text) {
    struct message message;
    ssize_t written;
    memset(&message, 0, sizeof message);
    message.slot = teller->slot;
    message.kind = kind;
    message.fraction = fraction;
    snprintf(message.text, sizeof message.text, "%s", text);
    do
        written = write(teller->pipe, &message, sizeof message);
    while (written < 0 && errno == EINTR);
    return written != (ssize_t)sizeof message;
}

static int tell_progress(void *user, double fraction, const char *text) {
    struct teller *teller = user;
    double now = clock_seconds();
    if (now - teller->told < 0.1)
        return 0;
    teller->told = now;
    return tell(teller, MESSAGE_PROGRESS, fraction, text);
}

static int32_t threads_of(const struct plan *plan) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (plan->settings.threads || processors < 1)
        return plan->settings.threads;
    return (int32_t)(processors / plan->jobs > 0 ? processors / plan->jobs : 1);
}

/* Signals that stop are blocked when this begins: none may come before there is a token to receive it. */
static void child(const struct pool *pool, int index, const sigset_t *before) {
    struct teller teller = {pool->ends[1], index, 0};
    struct problem problem = {""};
    struct launch launch;
    char summary[160] = "";
    int code = EXIT_FAILED;
    close(pool->ends[0]);
    if (!launch_start(&launch, threads_of(pool->plan), &problem)) {
        struct sigaction ignore;
        memset(&ignore, 0, sizeof ignore);
        ignore.sa_handler = SIG_IGN;
        sigaction(SIGINT, &ignore, NULL);
        sigaction(SIGHUP, &ignore, NULL);
        sigprocmask(SIG_SETMASK, before, NULL);
        code = cell_run(pool->plan, &pool->slots[index].cell, &launch, tell_progress, &teller, summary, &problem);
    }
    if (code == EXIT_FINE)
        tell(&teller, MESSAGE_SUMMARY, 1, summary);
    else if (code == EXIT_FAILED)
        tell(&teller, MESSAGE_PROBLEM, 0, problem.text);
    _exit(code); /* what the parent has in its buffers is the parent's to write */
}

/* ---- In the parent ---- */

static int start(struct pool *pool, int index, struct problem *problem) {
    struct slot *slot = &pool->slots[index];
    sigset_t stops, before;
    memset(slot, 0, sizeof *slot);
    slot->cell = pool->todo[pool->next];
    slot->first = -1;
    sigemptyset(&stops);
    sigaddset(&stops, SIGHUP);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    fflush(NULL);
    sigprocmask(SIG_BLOCK, &stops, &before);
    slot->process = fork();
    if (!slot->process)
        child(pool, index, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (slot->process < 0) {
        slot->process = 0;
        return problem_set(problem, "cannot start a process: %s", strerror(errno));
    }
    pool->next++;
    pool->running++;
    return 0;
}

static void hear(struct pool *pool) {
    struct message message;
    while (read(pool->ends[0], &message, sizeof message) == (ssize_t)sizeof message) {
        struct slot *slot = &pool->slots[message.slot];
        message.text[sizeof message.text - 1] = 0;
        if (message.kind == MESSAGE_PROGRESS) {
            if (slot->first < 0) /* little of it is of this run: the first word comes within a tenth of a second */
                slot->first = slot->fraction = message.fraction;
            pool->work += message.fraction - slot->fraction;
            slot->fraction = message.fraction;
            snprintf(slot->text, sizeof slot->text, "%.60s", message.text);
        } else if (message.kind == MESSAGE_SUMMARY)
            memcpy(slot->summary, message.text, sizeof slot->summary);
        else
            memcpy(slot->problem, message.text, sizeof slot->problem);
    }
}

/* As long as it takes to hand the cells out one by one, each to the slot that is free first, at the pace so far: at the
 * end not every slot has something to do. Concatenation is slower than sum, so this is a guess. `but` has ended. */
static void time_left(struct pool *pool, const struct slot *but) {
    double longest = 0, pace = pool->busy > 0 ? pool->work / pool->busy : 0;
    size_t rest = pool->count - pool->next;
    int i;
    pool->bar.left = 0;
    if (!(pace > 0) || (pool->busy < 3 && pool->work < 0.02 * (double)pool->count))
        return;
    for (i = 0; i < pool->jobs; i++) {
        const struct slot *slot = &pool->slots[i];
        pool->loads[i] = slot->process && slot != but ? 1 - slot->fraction : 0;
    }
    for (; rest; rest--) {
        int least = 0;
        for (i = 1; i < pool->jobs; i++)
            if (pool->loads[i] < pool->loads[least])
                least = i;
        pool->loads[least] += 1;
    }
    for (i = 0; i < pool->jobs; i++)
        longest = pool->loads[i] > longest ? pool->loads[i] : longest;
    pool->bar.left = longest / pace;
}

static void count_time(struct pool *pool) {
    double now = clock_seconds();
    pool->busy += (double)pool->running * (now - pool->seen);
    pool->seen = now;
}

static void say_end(struct pool *pool, struct slot *slot, int status) {
    char *name = cell_name(&slot->cell), *line = NULL, left[32];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == EXIT_FINE) {
        pool->finished++;
        pool->work += 1 - slot->fraction;
        slot->fraction = 1;
        time_left(pool, slot);
        duration_text(left, pool->bar.left);
        line = must_format("%lu/%lu  %s: %s%s%s%s", (unsigned long)pool->finished, (unsigned long)pool->count, name,
                           slot->summary, pool->bar.left > 0 ? "; " : "", pool->bar.left > 0 ? left : "",
                           pool->bar.left > 0 ? " left" : "");
        bar_say(&pool->bar, line);
    } else if (!(code == EXIT_INTERRUPTED || pool->stopping)) {
        struct problem problem;
        pool->failed++;
        if (WIFSIGNALED(status))
            problem_set(&problem, "%s: its process was ended by signal %d", name, WTERMSIG(status));
        else
            problem_set(&problem, "%s: %s", name, slot->problem[0] ? slot->problem : "failed");
        bar_clear(&pool->bar);
        problem_print("unetstar-compare", &problem);
    } else if (code == EXIT_INTERRUPTED && !pool->stopping)
        pool->failed++; /* somebody stopped this one alone; it goes on with the next run */
    free(line);
    free(name);
}

static void reap(struct pool *pool) {
    int i;
    for (i = 0; i < pool->jobs; i++) {
        struct slot *slot = &pool->slots[i];
        int status;
        if (!slot->process || waitpid(slot->process, &status, WNOHANG) != slot->process)
            continue;
        hear(pool); /* its last words */
        say_end(pool, slot, status);
        slot->process = 0;
        pool->running--;
    }
}

static void show(struct pool *pool) {
    double sum = (double)pool->finished + (double)pool->failed;
    char text[256] = "", label[64];
    int i;
    for (i = 0; i < pool->jobs; i++)
        if (pool->slots[i].process) {
            size_t used = strlen(text);
            sum += pool->slots[i].fraction;
            if (!pool->slots[i].text[0])
                snprintf(pool->slots[i].text, sizeof pool->slots[i].text, "starting");
            snprintf(text + used, sizeof text - used, "%s%s", used ? " | " : "", pool->slots[i].text);
        }
    snprintf(label, sizeof label, "cell %lu/%lu", (unsigned long)(pool->finished + pool->failed),
             (unsigned long)pool->count);
    time_left(pool, NULL);
    bar_label(&pool->bar, label);
    bar_update(&pool->bar, sum / (double)pool->count, pool->stopping ? "stopping" : text);
}

static void stop_all(struct pool *pool) {
    int i;
    pool->stopping = 1;
    for (i = 0; i < pool->jobs; i++)
        if (pool->slots[i].process)
            kill(pool->slots[i].process, SIGTERM);
}

static int work_through(struct pool *pool, struct problem *problem) {
    int result = 0, i;
    while (pool->running || (pool->next < pool->count && !pool->stopping)) {
        struct pollfd wait;
        for (i = 0; i < pool->jobs && !pool->stopping && pool->next < pool->count; i++)
            if (!pool->slots[i].process && start(pool, i, problem)) {
                result = -1;
                stop_all(pool);
            }
        wait.fd = pool->ends[0];
        wait.events = POLLIN;
        poll(&wait, 1, 100);
        count_time(pool);
        hear(pool);
        reap(pool);
        if (!pool->stopping && unetstar_cancel_requested(pool->launch->cancel))
            stop_all(pool);
        show(pool);
    }
    bar_clear(&pool->bar);
    return result;
}

int pool_run(const struct plan *plan, const struct launch *launch, const struct cell *todo, size_t count,
             struct problem *problem) {
    struct pool pool;
    int code = EXIT_FINE;
    memset(&pool, 0, sizeof pool);
    pool.plan = plan;
    pool.launch = launch;
    pool.todo = todo;
    pool.count = count;
    pool.jobs = plan->jobs;
    pool.slots = must_allocate((size_t)pool.jobs, sizeof *pool.slots);
    pool.loads = must_allocate((size_t)pool.jobs, sizeof *pool.loads);
    pool.seen = clock_seconds();
    if (pipe(pool.ends)) {
        problem_set(problem, "cannot make a pipe: %s", strerror(errno));
        free(pool.slots);
        free(pool.loads);
        return EXIT_FAILED;
    }
    fcntl(pool.ends[0], F_SETFL, O_NONBLOCK);
    bar_start(&pool.bar, "comparing", plan->settings.quiet);
    if (work_through(&pool, problem))
        code = EXIT_FAILED;
    else if (unetstar_cancel_requested(launch->cancel)) {
        problem_set(problem, "interrupted; %lu of %lu cells were finished now, and the same command goes on",
                    (unsigned long)pool.finished, (unsigned long)count);
        code = EXIT_INTERRUPTED;
    } else if (pool.failed) {
        problem_set(problem, "%lu of %lu cells failed; the same command tries them again", (unsigned long)pool.failed,
                    (unsigned long)count);
        code = EXIT_FAILED;
    }
    close(pool.ends[0]);
    close(pool.ends[1]);
    free(pool.slots);
    free(pool.loads);
    return code;
}
