/* team.h - threads of the benchmark's own: for the probe, and as a caller's runner. */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include "common/problem.h"
#include "unetstar.h"

struct team;

/* members includes the thread that calls team_each and team_run. */
int team_create(struct team **out, int members, struct problem *problem);
void team_destroy(struct team *team);
int team_members(const struct team *team);

/* Calls work(arg, member, members) at once on the first `members` threads, member 0 being the caller. */
typedef void (*team_work)(void *arg, int member, int members);
void team_each(struct team *team, team_work work, void *arg, int members);

/* A runner for unetstar_context_options: runner is a struct team. Member m of M takes the run [n m / M, n (m + 1) / M).
 */
int team_run(void *runner, void *opaque, unetstar_task_fn task, int64_t n);

#endif
