/* common.c - checked calls, the counting allocator, contexts, blobs, small trainings. */
#include "common.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void check_result(int result, int expected, const char *word, const char *call, const char *file, int line) {
    const char *text = unetstar_last_error();
    if (result != expected) {
        print_error("%s:%d: %s\n  returned %d (%s), expected %d (%s): %s\n", file, line, call, result,
                    unetstar_strerror(result), expected, unetstar_strerror(expected), text);
        fail();
    }
    if (expected != UNETSTAR_OK && (!*text || !strstr(text, word))) {
        print_error("%s:%d: %s\n  the sentence should hold '%s', it is: '%s'\n", file, line, call, word, text);
        fail();
    }
}

double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

float noise(uint64_t i) {
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (float)((z ^ (z >> 31)) >> 40) / 16777216.0f;
}

void *memory(size_t size) {
    void *block = malloc(size ? size : 1);
    if (!block) {
        print_error("the test itself has no memory\n");
        abort();
    }
    return block;
}

int in_child(int (*run)(void *), void *argument) {
    int status;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(run(argument));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status)) {
        print_error("the child process ended by signal %d\n", WTERMSIG(status));
        fail();
    }
    return WEXITSTATUS(status);
}

/* ---- Files ---- */

static char folder[64];

const char *path_of(const char *name) {
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/unetstar-api-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(folder)) {
            print_error("cannot make %s\n", folder);
            fail();
        }
    }
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

int files_in_folder(void) {
    DIR *d = *folder ? opendir(folder) : NULL;
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return d ? n - 2 : 0; /* . and .. */
}

void leave_folder(void) {
    DIR *d = *folder ? opendir(folder) : NULL;
    struct dirent *entry;
    char path[512];
    if (!d)
        return;
    while ((entry = readdir(d)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
            if (unlink(path))
                rmdir(path);
    }
    closedir(d);
    rmdir(folder);
    folder[0] = 0;
}

unsigned char *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    unsigned char *data;
    long length;
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    length = ftell(f);
    rewind(f);
    data = (unsigned char *)memory((size_t)length);
    assert_int_equal(fread(data, 1, (size_t)length, f), length);
    fclose(f);
    *size = (size_t)length;
    return data;
}

void write_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* ---- The allocator: a header in front, a guard behind ---- */

#define HEADER 64
#define GUARD 32
#define LARGEST ((size_t)1 << 36)
#define MAGIC UINT64_C(0x6c6976696e672121)
struct header {
    uint64_t magic;
    size_t size;
};

static void hold(struct counter *c) {
    while (__atomic_exchange_n(&c->lock, 1, __ATOMIC_ACQUIRE))
        continue;
}

static void let_go(struct counter *c) {
    __atomic_store_n(&c->lock, 0, __ATOMIC_RELEASE);
}

void *counter_alloc(void *user, size_t size, size_t alignment) {
    struct counter *c = (struct counter *)user;
    struct header *h = NULL;
    void *block = NULL;
    int refuse = 0;
    hold(c);
    c->calls++;
    if (c->fail_at > 0 && --c->fail_at == 0) {
        refuse = 1;
        c->fail_at = c->fail_forever ? 1 : 0;
    }
    if (alignment > 64 || (alignment & (alignment - 1)) || alignment == 0)
        c->wrong++;
    if (refuse)
        c->failed++;
    let_go(c);
    if (size > LARGEST) /* as a machine without so much memory; sanitizers stop the program instead */
        return NULL;
    if (refuse || posix_memalign(&block, 64, size + HEADER + GUARD))
        return NULL;
    memset(block, 0xa5, size + HEADER + GUARD); /* memory is never clean */
    h = (struct header *)block;
    h->magic = MAGIC;
    h->size = size;
    hold(c);
    c->blocks++;
    c->bytes += (int64_t)size;
    if (c->bytes > c->peak)
        c->peak = c->bytes;
    let_go(c);
    return (char *)block + HEADER;
}

void counter_free(void *user, void *pointer, size_t size) {
    struct counter *c = (struct counter *)user;
    struct header *h = (struct header *)((char *)pointer - HEADER);
    const int known = pointer && h->magic == MAGIC;
    int bad = !known || h->size != size, i;
    for (i = 0; i < GUARD && !bad; i++)
        bad = ((unsigned char *)pointer)[size + (size_t)i] != 0xa5;
    hold(c);
    c->wrong += bad;
    c->blocks--;
    c->bytes -= (int64_t)size;
    let_go(c);
    if (known) {
        memset(h, 0x5a, h->size + HEADER + GUARD);
        free(h);
    }
}

void counter_fail(struct counter *c, int64_t n, int forever) {
    hold(c);
    c->fail_at = n;
    c->fail_forever = forever;
    c->failed = 0;
    let_go(c);
}

void counter_balanced(const struct counter *c) {
    if (c->blocks || c->bytes || c->wrong) {
        print_error("allocator: %lld blocks, %lld bytes still alive; %lld wrong calls\n", (long long)c->blocks,
                    (long long)c->bytes, (long long)c->wrong);
        fail();
    }
}

/* ---- Contexts ---- */

int32_t isa_of_environment(void) {
    static const char *const names[] = {"", "reference", "reference+fma", "avx2", "avx512", "neon"};
    const char *wanted = getenv("UNETSTAR_ISA");
    int i;
    for (i = 1; wanted && *wanted && i < COUNT(names); i++)
        if (!strcmp(wanted, names[i]))
            return i;
    if (wanted && *wanted && strcmp(wanted, "best")) {
        print_error("UNETSTAR_ISA is '%s', which is unknown\n", wanted);
        exit(1);
    }
    return UNETSTAR_ISA_BEST;
}

int library_has_threads(void) {
    static int known;
    if (!known) {
        unetstar_context_options options;
        unetstar_context *context;
        OK(unetstar_context_options_init(&options, sizeof options));
        options.n_threads = 2;
        known = unetstar_context_create(&context, &options) ? -1 : 1;
        unetstar_context_destroy(context);
    }
    return known > 0;
}

static int play_workers(void *runner, void *opaque, unetstar_task_fn task, int64_t n) {
    const int64_t workers = (int64_t)(intptr_t)runner;
    int64_t i;
    for (i = 0; i < n; i++)
        task(opaque, i, (int32_t)(i % workers));
    return 0;
}

void context_options(unetstar_context_options *options, int32_t n_threads, struct counter *counter) {
    OK(unetstar_context_options_init(options, sizeof *options));
    options->n_threads = n_threads;
    options->isa_limit = isa_of_environment();
    if (n_threads > 1 && !library_has_threads()) {
        options->run = play_workers;
        options->runner = (void *)(intptr_t)n_threads;
    }
    if (counter) {
        options->alloc = counter_alloc;
        options->free = counter_free;
        options->alloc_user = counter;
    }
}

unetstar_context *make_counted(int32_t n_threads, struct counter *counter) {
    unetstar_context_options options;
    unetstar_context *context;
    context_options(&options, n_threads, counter);
    OK(unetstar_context_create(&context, &options));
    return context;
}

unetstar_context *make_context(int32_t n_threads) {
    return make_counted(n_threads, NULL);
}

/* ---- Blobs ---- */

void blob_add(struct blob *blob, const void *data, size_t size) {
    if (blob->size + size > blob->capacity) {
        blob->capacity = 2 * (blob->size + size);
        blob->data = (unsigned char *)realloc(blob->data, blob->capacity);
        assert_non_null(blob->data);
    }
    memcpy(blob->data + blob->size, data, size);
    blob->size += size;
}

void blob_free(struct blob *blob) {
    free(blob->data);
    memset(blob, 0, sizeof *blob);
}

static int64_t values_of(const unetstar_model *model, const char *name, int32_t *dtype) {
    int64_t shape[UNETSTAR_MAX_DIMS], count = 1;
    int32_t ndim, d;
    OK(unetstar_model_tensor_shape(model, name, dtype, &ndim, shape));
    for (d = 0; d < ndim; d++)
        count *= shape[d];
    return count;
}

void blob_model(struct blob *blob, const unetstar_model *model) {
    int64_t i;
    for (i = 0; i < unetstar_model_tensor_count(model); i++) {
        const char *name = unetstar_model_tensor_name(model, i);
        int32_t dtype;
        const int64_t count = values_of(model, name, &dtype);
        const size_t size = (size_t)count * (dtype == UNETSTAR_INT64 ? 8 : 4);
        void *data = memory(size);
        OK(unetstar_model_tensor_get(model, name, data, count));
        blob_add(blob, data, size);
        free(data);
    }
}

void blob_optimizer(struct blob *blob, const unetstar_optimizer *optimizer, const unetstar_model *model) {
    const int64_t steps = unetstar_optimizer_step_count(optimizer);
    int64_t i;
    int found = 0;
    blob_add(blob, &steps, sizeof steps);
    for (i = 0; i < unetstar_model_tensor_count(model); i++) {
        const char *name = unetstar_model_tensor_name(model, i);
        int32_t dtype, moment;
        const int64_t count = values_of(model, name, &dtype);
        float *data = (float *)memory((size_t)count * sizeof *data);
        for (moment = 1; moment <= 2; moment++)
            if (dtype == UNETSTAR_FLOAT32 && !unetstar_optimizer_moment_get(optimizer, name, moment, data, count)) {
                blob_add(blob, data, (size_t)count * sizeof *data);
                found++;
            }
        free(data);
    }
    assert_true(found > 0);
}

void blob_session(struct blob *blob, unetstar_context *context, const unetstar_model *model, int32_t precision, int64_t h,
                  int64_t w) {
    unetstar_model_options options;
    unetstar_session_options session_options;
    unetstar_session *session;
    float *x, *probability;
    int64_t in, out, i;
    options.struct_size = sizeof options;
    OK(unetstar_model_get_options(model, &options));
    OK(unetstar_session_options_init(&session_options, sizeof session_options));
    session_options.precision = precision;
    OK(unetstar_session_create(&session, context, &model, 1, &session_options));
    in = 2 * options.in_channels * h * w;
    out = 2 * unetstar_session_channels(session) * h * w;
    x = (float *)memory((size_t)in * sizeof *x);
    probability = (float *)memory((size_t)out * sizeof *probability);
    for (i = 0; i < in; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_session_run_tensor(session, 2, h, w, x, probability, NULL));
    for (i = 0; i < out; i++)
        assert_true(probability[i] >= 0 && probability[i] <= 1);
    blob_add(blob, probability, (size_t)out * sizeof *probability);
    free(x);
    free(probability);
    unetstar_session_destroy(session);
}

int blob_equal(const struct blob *a, const struct blob *b) {
    return a->size == b->size && a->size > 0 && !memcmp(a->data, b->data, a->size);
}

void blobs_equal(const struct blob *a, const struct blob *b, const char *what) {
    size_t i, first = 0, different = 0;
    if (blob_equal(a, b))
        return;
    for (i = 0; i < a->size && i < b->size; i++)
        if (a->data[i] != b->data[i] && different++ == 0)
            first = i;
    print_error("%s: %zu and %zu bytes, %zu of them different, the first at %zu\n", what, a->size, b->size, different, first);
    fail();
}

/* ---- Trainings ---- */

static void recipe_defaults(struct recipe *r) {
    memset(r, 0, sizeof *r);
    OK(unetstar_model_options_init(&r->model, sizeof r->model));
    OK(unetstar_optimizer_options_init(&r->optimizer, sizeof r->optimizer));
    OK(unetstar_trainer_options_init(&r->trainer, sizeof r->trainer));
    OK(unetstar_loss_options_init(&r->loss, sizeof r->loss));
}

void recipe_ci(struct recipe *r) {
    recipe_defaults(r);
    r->side = 80;
    r->n_images = 2;
    r->model.narrow = 0.25;
    r->model.activation = UNETSTAR_ACTIVATION_RELU;
    r->model.dropout = 0.1;
    r->trainer.batch_size = 2;
    r->trainer.patch_height = r->trainer.patch_width = 48;
    r->trainer.epochs = 2;
    r->trainer.steps_per_epoch = 5;
    r->trainer.clip_gradient_norm = 1;
    r->trainer.brightness = 0.1f;
    r->trainer.contrast = 0.1f;
    r->trainer.gamma = 0.1f;
}

void recipe_tiny(struct recipe *r) {
    recipe_defaults(r);
    r->side = 48;
    r->n_images = 2;
    r->model.narrow = 0.0625;
    r->model.levels = 2;
    r->model.activation = UNETSTAR_ACTIVATION_RELU;
    r->trainer.batch_size = 1;
    r->trainer.patch_height = r->trainer.patch_width = 16;
    r->trainer.epochs = 1;
    r->trainer.steps_per_epoch = 1;
    r->trainer.validation_fraction = 2;
}

void training_open(struct training *t, unetstar_context *context, const struct recipe *r) {
    int i;
    memset(t, 0, sizeof *t);
    OK(unetstar_dataset_create(&t->set, context));
    for (i = 0; i < r->n_images; i++)
        OK(unetstar_dataset_add_synthetic(t->set, 100 + (uint64_t)i, r->side, r->side));
    OK(unetstar_model_create(&t->model, context, &r->model));
    OK(unetstar_optimizer_create(&t->optimizer, t->model, &r->optimizer));
    OK(unetstar_trainer_create(&t->trainer, t->model, t->optimizer, &r->trainer, &r->loss));
}

void training_close(struct training *t) {
    unetstar_dataset_destroy(t->set);
    unetstar_trainer_destroy(t->trainer);
    unetstar_optimizer_destroy(t->optimizer);
    unetstar_model_destroy(t->model);
    memset(t, 0, sizeof *t);
}

void blob_training(struct blob *blob, struct training *t, unetstar_context *context, const struct recipe *r) {
    const int64_t count = (int64_t)r->trainer.batch_size * r->model.classes * r->trainer.patch_height * r->trainer.patch_width;
    float *logits = (float *)memory((size_t)count * sizeof *logits);
    blob_model(blob, t->model);
    blob_optimizer(blob, t->optimizer, t->model);
    OK(unetstar_trainer_logits(t->trainer, logits));
    blob_add(blob, logits, (size_t)count * sizeof *logits);
    free(logits);
    blob_session(blob, context, t->model, r->model.precision, 37, 50);
    OK(unetstar_trainer_use_best(t->trainer));
    blob_model(blob, t->model);
}
