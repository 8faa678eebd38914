#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

/* Turns of a waiting loop before a thread sleeps: a tenth of a millisecond or so. */
#define SPIN_TURNS 20000

struct member {
    struct team *team;
    pthread_t thread;
    int index;
};

struct team {
    int members, started;
    int generation; /* atomic: number of the present job */
    int running;    /* atomic: members that have not finished it */
    int quit;
    team_work work;
    void *arg;
    int wanted; /* members that take part */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct member *others;
};

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_job(struct team *team, int seen) {
    int turn;
    for (turn = 0; turn < SPIN_TURNS; turn++) {
        if (__atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) != seen)
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&team->lock);
    while (__atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) == seen)
        pthread_cond_wait(&team->wake, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *argument) {
    const struct member *self = argument;
    struct team *team = self->team;
    int seen = 0;
    for (;;) {
        wait_for_job(team, seen++);
        if (team->quit)
            return NULL;
        if (self->index < team->wanted)
            team->work(team->arg, self->index, team->wanted);
        __atomic_sub_fetch(&team->running, 1, __ATOMIC_ACQ_REL);
    }
}

static void post(struct team *team) {
    pthread_mutex_lock(&team->lock);
    __atomic_add_fetch(&team->generation, 1, __ATOMIC_ACQ_REL);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

int team_create(struct team **out, int members, struct problem *problem) {
    struct team *team = must_allocate(1, sizeof *team);
    int i;
    team->members = members;
    team->others = must_allocate((size_t)members, sizeof *team->others);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    *out = team;
    for (i = 1; i < members; i++) {
        struct member *member = &team->others[i - 1];
        member->team = team;
        member->index = i;
        if (pthread_create(&member->thread, NULL, member_main, member)) {
            team_destroy(team);
            *out = NULL;
            return problem_set(problem, "thread %d of %d could not be started", i + 1, members);
        }
        team->started++;
    }
    return 0;
}

void team_destroy(struct team *team) {
    int i;
    if (!team)
        return;
    team->quit = 1;
    post(team);
    for (i = 0; i < team->started; i++)
        pthread_join(team->others[i].thread, NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team->others);
    free(team);
}

int team_members(const struct team *team) {
    return team->members;
}

static void wait_for_others(struct team *team) {
    int turn = 0;
    while (__atomic_load_n(&team->running, __ATOMIC_ACQUIRE)) {
        pause_cpu();
        if (++turn % SPIN_TURNS == 0)
            sched_yield(); /* more threads than processors */
    }
}

void team_each(struct team *team, team_work work, void *arg, int members) {
    if (members > 1) {
        team->work = work;
        team->arg = arg;
        team->wanted = members;
        __atomic_store_n(&team->running, team->members - 1, __ATOMIC_RELEASE);
        post(team);
    }
    work(arg, 0, members);
    if (members > 1)
        wait_for_others(team);
}

struct tasks {
    void *opaque;
    unetstar_task_fn task;
    int64_t n;
};

static void take_share(void *arg, int member, int members) {
    const struct tasks *tasks = arg;
    const int64_t end = tasks->n * (member + 1) / members;
    int64_t i;
    for (i = tasks->n * member / members; i < end; i++)
        tasks->task(tasks->opaque, i, member);
}

int team_run(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    struct team *team = runner;
    struct tasks tasks;
    tasks.opaque = opaque;
    tasks.task = task;
    tasks.n = n;
    team_each(team, take_share, &tasks, n > 1 ? team->members : 1);
    return 0;
}
