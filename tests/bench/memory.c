#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "subject.h"

/* What the child process tells. */
struct told {
    int failed;
    double peak, workspace;
    struct problem problem;
};

static int do_work(struct told *told, const struct bench_options *options, enum subject_use use) {
    struct subject subject;
    int i, code = subject_open(&subject, options, use, NULL, &told->problem);
    if (code)
        return code;
    for (i = 0; i < 3 && !code; i++)
        code = use == SUBJECT_TRAINING ? subject_step(&subject, subject.x, 5e-4, NULL, &told->problem)
                                       : subject_image(&subject, subject.session, subject.x, NULL, &told->problem);
    if (use == SUBJECT_TRAINING) {
        told->workspace = (double)unetstar_trainer_workspace_size(subject.trainer);
    } else if (!code) {
        unetstar_workspace workspace;
        memset(&workspace, 0, sizeof workspace);
        workspace.struct_size = sizeof workspace;
        code = unetstar_session_workspace_size(subject.session, options->image[0], options->image[1], &workspace);
        if (code)
            problem_from_library(&told->problem, "workspace", code);
        told->workspace = (double)workspace.total;
    }
    subject_close(&subject);
    return code;
}

static void child(int out, const struct bench_options *options, enum subject_use use) {
    struct told told;
    struct rusage usage;
    memset(&told, 0, sizeof told);
    told.failed = do_work(&told, options, use);
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    told.peak = (double)usage.ru_maxrss;
#else
    told.peak = (double)usage.ru_maxrss * 1024;
#endif
    if (write(out, &told, sizeof told) != (ssize_t)sizeof told) /* fits into a pipe */
        _exit(1);
    _exit(0);
}

static int ask_child(struct told *told, const struct bench_options *options, enum subject_use use,
                     struct problem *problem) {
    size_t have = 0;
    int ends[2];
    pid_t pid;
    if (pipe(ends))
        return problem_set(problem, "pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        return problem_set(problem, "fork: %s", strerror(errno));
    if (pid == 0) {
        close(ends[0]);
        child(ends[1], options, use);
    }
    close(ends[1]);
    while (have < sizeof *told) {
        const ssize_t n = read(ends[0], (char *)told + have, sizeof *told - have);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        have += n > 0 ? (size_t)n : 0;
    }
    close(ends[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (have < sizeof *told)
        return problem_set(problem, "the process that measures memory died");
    if (told->failed)
        *problem = told->problem;
    return told->failed ? -1 : 0;
}

int memory_measure(struct memory *memory, const struct bench_options *options, struct problem *problem) {
    struct told told;
    if (ask_child(&told, options, SUBJECT_TRAINING, problem))
        return -1;
    memory->training_peak = told.peak;
    memory->training_workspace = told.workspace;
    if (ask_child(&told, options, SUBJECT_INFERENCE, problem))
        return -1;
    memory->image_peak = told.peak;
    memory->image_workspace = told.workspace;
    return 0;
}

void memory_print(const struct memory *memory) {
    const double mib = 1.0 / (1 << 20);
    printf("Memory, each in a process of its own\n");
    printf("  training step    %7.1f MiB at most in the process, %7.1f MiB by the trainer's count\n",
           memory->training_peak * mib, memory->training_workspace * mib);
    printf("  image            %7.1f MiB at most in the process, %7.1f MiB by the session's count\n",
           memory->image_peak * mib, memory->image_workspace * mib);
}

void memory_json(const struct memory *memory, struct json *json) {
    json_object(json, "memory");
    json_integer(json, "training_peak_bytes", (int64_t)memory->training_peak);
    json_integer(json, "training_workspace_bytes", (int64_t)memory->training_workspace);
    json_integer(json, "image_peak_bytes", (int64_t)memory->image_peak);
    json_integer(json, "image_workspace_bytes", (int64_t)memory->image_workspace);
    json_end_object(json);
}
