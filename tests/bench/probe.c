#include "probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "peak.h"

/* Below this the two cores almost certainly share a die: half of what is seen between two dies. */
#define NEAR_NS 120

void cpu_name(char *text, size_t size) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(text, size, "unknown processor");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "model name", 10) || !strncmp(line, "CPU part", 8)) {
            const char *value = strchr(line, ':');
            line[strcspn(line, "\n")] = 0;
            if (value)
                snprintf(text, size, "%s%s", line[0] == 'C' ? "ARM part" : "", value + 1 + (line[0] != 'C'));
            break;
        }
    if (file)
        fclose(file);
}

/* ---- Peak ---- */

#define MOST_FLOATS 512
struct peak_job {
    const struct peak_kernel *kernel;
    int64_t turns;
    volatile float sink;
};

static void peak_member(void *arg, int member, int members) {
    struct peak_job *job = arg;
    float values[MOST_FLOATS];
    int i;
    (void)members;
    for (i = 0; i < job->kernel->floats; i++)
        values[i] = 0.999f - 0.001f * (float)(i + member);
    job->kernel->run(values, job->turns);
    for (i = 1; i < job->kernel->floats; i++)
        values[0] += values[i];
    job->sink = values[0];
}

static double peak_of(struct team *team, struct peak_job *job, int members) {
    double best = 0;
    int i;
    for (i = 0; i < 25; i++) {
        double start = us_clock(), rate;
        team_each(team, peak_member, job, members);
        rate = members * job->kernel->flops_per_turn * (double)job->turns / (us_clock() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

void probe_peak(struct probe *probe, struct team *team, const char *isa) {
    struct peak_job job;
    probe->threads = team_members(team);
    probe->read_one = probe->read_all = probe->write_one = probe->write_all = probe->handover = NAN;
    job.kernel = peak_for(isa);
    job.turns = 100000;
    probe->peak_one = peak_of(team, &job, 1);
    probe->peak_all = peak_of(team, &job, probe->threads);
}

/* ---- Memory ---- */

typedef float quad __attribute__((vector_size(16)));
struct memory_job {
    char *memory;
    size_t size;
    int value;
    volatile float sink;
};

static void read_member(void *arg, int member, int members) {
    struct memory_job *job = arg;
    const size_t share = job->size / (size_t)members / 128 * 128;
    const quad *p = (const quad *)(const void *)(job->memory + share * (size_t)member), *end = p + share / sizeof *p;
    quad s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (; p < end; p += 8) {
        s0 += p[0] + p[4];
        s1 += p[1] + p[5];
        s2 += p[2] + p[6];
        s3 += p[3] + p[7];
    }
    s0 += s1 + (s2 + s3);
    job->sink = s0[0] + s0[1] + s0[2] + s0[3];
}

static void write_member(void *arg, int member, int members) {
    struct memory_job *job = arg;
    const size_t share = job->size / (size_t)members / 128 * 128;
    memset(job->memory + share * (size_t)member, job->value, share);
}

static double rate_of(struct team *team, team_work work, struct memory_job *job, int members) {
    double best = 0;
    int i;
    for (i = 0; i < 4; i++) {
        double start = us_clock(), rate;
        job->value = i & 1; /* small denormals or zeros: they are only added */
        team_each(team, work, job, members);
        rate = (double)job->size / (us_clock() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static void probe_memory(struct probe *probe, struct team *team) {
    struct memory_job job;
    void *memory = NULL;
    job.size = (size_t)64 << 20; /* a thread: more than its share of any cache */
    job.size *= (size_t)US_MIN(US_MAX(probe->threads, 4), 32);
    if (posix_memalign(&memory, 4096, job.size))
        return;
    job.memory = memory;
    job.value = 0;
    team_each(team, write_member, &job, probe->threads); /* pages appear */
    memset(job.memory, 0, job.size);
    probe->read_one = rate_of(team, read_member, &job, 1);
    probe->read_all = rate_of(team, read_member, &job, probe->threads);
    probe->write_one = rate_of(team, write_member, &job, 1);
    probe->write_all = rate_of(team, write_member, &job, probe->threads);
    free(memory);
}

/* ---- From core to core ---- */

#define TRIPS 2000
struct rally {
    char before[128];
    int ball; /* atomic */
    char after[128];
};

static void rally_member(void *arg, int member, int members) {
    struct rally *rally = arg;
    int i;
    (void)members;
    for (i = 0; i < TRIPS; i++) {
        if (member == 0)
            __atomic_store_n(&rally->ball, 2 * i + 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&rally->ball, __ATOMIC_ACQUIRE) != 2 * i + 2 - member)
            ;
        if (member == 1)
            __atomic_store_n(&rally->ball, 2 * i + 2, __ATOMIC_RELEASE);
    }
}

static void probe_handover(struct probe *probe, struct team *team) {
    struct rally rally;
    double best = INFINITY;
    int i;
    if (probe->threads < 2 || us_cpu_count() < 2)
        return;
    for (i = 0; i < 20; i++) {
        double start = us_clock(), seconds;
        memset(&rally, 0, sizeof rally);
        team_each(team, rally_member, &rally, 2);
        seconds = us_clock() - start;
        best = seconds < best ? seconds : best;
    }
    probe->handover = best / (2 * TRIPS) * 1e9;
}

void probe_run(struct probe *probe, struct team *team, const char *isa) {
    probe_peak(probe, team, isa);
    probe_handover(probe, team);
    probe_memory(probe, team);
}

/* ---- Report ---- */

static void print_pair(const char *name, double one, double all, int threads, const char *unit) {
    if (!isfinite(one))
        return;
    if (threads > 1)
        printf("  %-16s %7.1f with 1 thread, %7.1f with %d  %s\n", name, one, all, threads, unit);
    else
        printf("  %-16s %7.1f with 1 thread  %s\n", name, one, unit);
}

void probe_print(const struct probe *probe, const char *when) {
    printf("Probe%s%s\n", when[0] ? " " : "", when);
    print_pair("peak", probe->peak_one, probe->peak_all, probe->threads, "GFLOP/s");
    print_pair("memory read", probe->read_one, probe->read_all, probe->threads, "GB/s");
    print_pair("memory write", probe->write_one, probe->write_all, probe->threads, "GB/s (memset)");
    if (isfinite(probe->handover))
        printf("  %-16s %7.0f ns a cache line, one way: %s\n", "core to core", probe->handover,
               probe->handover < NEAR_NS ? "as on one die" : "as between two dies");
}

/* limit: the smallest factor between the two that means something. */
static int compare_one(const char *name, double before, double after, double limit) {
    const double change = after > before ? after / before : before / after;
    if (!isfinite(before) || !isfinite(after) || change < limit)
        return 0;
    printf("  The probe's %s went from %.1f to %.1f: these times are not to be compared with others.\n", name, before,
           after);
    return 1;
}

void probe_compare(const struct probe *before, const struct probe *after) {
    int differ = compare_one("peak", before->peak_all, after->peak_all, 1.1);
    differ += compare_one("memory read", before->read_all, after->read_all, 1.25);
    differ += compare_one("core to core", before->handover, after->handover, 1.5);
    if (!differ)
        printf("  Before and after agree.\n");
}

void probe_json(const struct probe *probe, const char *key, struct json *json) {
    json_object(json, key);
    json_integer(json, "threads", probe->threads);
    json_number(json, "peak_gflops_1", probe->peak_one);
    json_number(json, "peak_gflops", probe->peak_all);
    json_number(json, "read_gbs_1", probe->read_one);
    json_number(json, "read_gbs", probe->read_all);
    json_number(json, "write_gbs_1", probe->write_one);
    json_number(json, "write_gbs", probe->write_all);
    json_number(json, "core_to_core_ns", probe->handover);
    json_end_object(json);
}
