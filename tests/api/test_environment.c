/*
 * test_environment.c - a guest in the caller's process: whatever the caller has set (control word, locale, environment),
 * the bits are the same and the settings are back, after every call and inside every callback. Silence.
 */
#define _GNU_SOURCE /* feenableexcept */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#define HAVE_CONTROL 1
#define FLAGS 0x3fu /* sticky: what has happened, not a setting */
static unsigned control(void) {
    return _mm_getcsr() & ~FLAGS;
}
static void set_flush(void) {
    _mm_setcsr(_mm_getcsr() | 0x8040u); /* FTZ, DAZ */
}
#elif defined(__aarch64__)
#define HAVE_CONTROL 1
static unsigned control(void) {
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return (unsigned)word;
}
static void set_flush(void) {
    uint64_t word = control() | 1u << 24;
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
}
#else
#define HAVE_CONTROL 0
static unsigned control(void) {
    return 0;
}
static void set_flush(void) {
}
#endif

static int tear_down(void **state) {
    (void)state;
    leave_folder();
    return 0;
}

/* ---- One piece of work that uses every kind of call, with every callback watching ---- */

struct watch {
    unsigned expected; /* control word */
    int64_t calls, wrong;
    int nested; /* callbacks compute something themselves */
    unetstar_context *context;
    struct blob nested_result;
};

static void look(struct watch *w) {
    w->calls++;
    w->wrong += control() != w->expected;
}

static void *watched_alloc(void *user, size_t size, size_t alignment) {
    void *block = NULL;
    look((struct watch *)user);
    return posix_memalign(&block, alignment, size) ? NULL : block;
}
static void watched_free(void *user, void *pointer, size_t size) {
    (void)size;
    look((struct watch *)user);
    free(pointer);
}
static void watched_log(void *user, int32_t level, const char *message) {
    (void)level;
    (void)message;
    look((struct watch *)user);
}
static int watched_write(void *user, const void *data, size_t size) {
    (void)data;
    (void)size;
    look((struct watch *)user);
    return 0;
}
static int watched_hook(void *user, float *gradients, int64_t count) {
    look((struct watch *)user);
    return count < 1 || !gradients;
}
static int watched_run(void *user, void *opaque, unetstar_task_fn task, int64_t n) {
    int64_t i;
    look((struct watch *)user);
    for (i = 0; i < n; i++) {
        task(opaque, i, 0);
        ((struct watch *)user)->wrong += control() != ((struct watch *)user)->expected;
    }
    return 0;
}

/* Made once, under the usual settings: the test's own arithmetic is not what is tested. */
static float sensitive_x[64];
static uint8_t sensitive_labels[32];
static void make_inputs(void) {
    int i;
    for (i = 0; i < 64; i++) {
        sensitive_x[i] = (noise((uint64_t)i) - 0.5f) * (i % 3 ? 3.0f : 1e-38f);
        sensitive_labels[i % 32] = (uint8_t)(i & 1);
    }
}

/* Something that rounding, flushing and exceptions would change. */
static void sensitive(struct blob *blob, unetstar_context *context) {
    const float *x = sensitive_x;
    float y[64];
    double loss;
    OK(unetstar_softmax_forward(context, 1, 2, 4, 8, x, y));
    blob_add(blob, y, sizeof y);
    OK(unetstar_multiply_forward(context, 64, x, x, y)); /* underflows */
    blob_add(blob, y, sizeof y);
    OK(unetstar_activation_forward(context, UNETSTAR_ACTIVATION_GELU, 0, 64, x, y));
    blob_add(blob, y, sizeof y);
    OK(unetstar_loss(context, NULL, 1, 2, 4, 8, x, sensitive_labels, NULL, &loss, y));
    blob_add(blob, y, sizeof y);
    blob_add(blob, &loss, sizeof loss);
}

static int watched_progress(void *user, const unetstar_progress *p) {
    struct watch *w = (struct watch *)user;
    look(w);
    if (w->nested && p->phase == UNETSTAR_PHASE_TRAIN && p->done == 1) {
        sensitive(&w->nested_result, w->context); /* a call from inside a call */
        w->wrong += control() != w->expected;
    }
    return 0;
}

/* Everything, in a context that calls back as much as it can. */
static void work(struct blob *blob, struct watch *w, int threads, int runner) {
    unetstar_context_options options;
    unetstar_context *context;
    struct recipe r;
    struct training t;
    unetstar_image image;
    unetstar_session *session;
    unetstar_metrics *metrics;
    unetstar_scores scores;
    const unetstar_model *list[1];
    enum { SIDE = 48 };
    static uint8_t rgb[SIDE * SIDE * 3], label[SIDE * SIDE], mask[SIDE * SIDE];
    static float x[SIDE * SIDE], p[SIDE * SIDE];
    unetstar_prep_options prep;
    char path[160];
    unsigned char *file;
    size_t size;

    w->expected = control();
    context_options(&options, threads, NULL);
    options.alloc = watched_alloc;
    options.free = watched_free;
    options.alloc_user = w;
    options.log = watched_log;
    options.log_user = w;
    if (runner) {
        options.run = watched_run;
        options.runner = w;
    }
    OK(unetstar_context_create(&context, &options));
    w->context = context;
    sensitive(blob, context);
    OK(unetstar_synthetic_fundus(context, 9, SIDE, SIDE, rgb, label, mask));
    blob_add(blob, rgb, sizeof rgb);
    OK(unetstar_image_init(&image, sizeof image));
    image.data = rgb;
    image.width = image.height = SIDE;
    image.channels = 3;
    OK(unetstar_prep_options_init(&prep, sizeof prep));
    prep.standardize = 1;
    OK(unetstar_preprocess(context, &prep, &image, NULL, x));
    blob_add(blob, x, sizeof x);
    recipe_tiny(&r);
    r.trainer.epochs = 2;
    r.trainer.steps_per_epoch = 2;
    r.trainer.clip_gradient_norm = 0.5;
    r.model.dropout = 0.2;
    training_open(&t, context, &r);
    OK(unetstar_trainer_set_hook(t.trainer, watched_hook, w));
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, watched_progress, w));
    snprintf(path, sizeof path, "%s", path_of("environment"));
    OK(unetstar_trainer_save(t.trainer, path));
    OK(unetstar_trainer_load(t.trainer, path));
    file = read_file(path, &size);
    blob_add(blob, file, size); /* numbers as text, too */
    free(file);
    OK(unetstar_model_save_callback(t.model, watched_write, w));
    list[0] = t.model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    OK(unetstar_session_run(session, &image, NULL, p, NULL, watched_progress, w));
    blob_add(blob, p, sizeof p);
    OK(unetstar_metrics_create(&metrics, context));
    OK(unetstar_metrics_add(metrics, "m", SIDE * SIDE, p, label, mask));
    scores.struct_size = sizeof scores;
    OK(unetstar_metrics_scores(metrics, -1, 0.5, &scores));
    blob_add(blob, &scores, sizeof scores);
    unetstar_metrics_destroy(metrics);
    unetstar_session_destroy(session);
    training_close(&t);
    unetstar_context_destroy(context);
    if (control() != w->expected) {
        print_error("the control word was %x, now it is %x\n", w->expected, control());
        fail();
    }
    if (w->wrong) {
        print_error("%lld of %lld callbacks saw another control word than the caller's %x\n", (long long)w->wrong,
                    (long long)w->calls, w->expected);
        fail();
    }
}

static void as_usual(void) {
}
static void upward(void) {
    fesetround(FE_UPWARD);
}
static void downward_flushing(void) {
    fesetround(FE_DOWNWARD);
    set_flush();
}
static void unmasked(void) {
#if defined(__GLIBC__) && defined(__x86_64__)
    feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
#endif
}
static void unmasked_inexact(void) {
#if defined(__GLIBC__) && defined(__x86_64__)
    feenableexcept(FE_ALL_EXCEPT);
#endif
}

static const struct {
    const char *name;
    void (*set)(void);
} settings[] = {{"default", as_usual},
                {"flush to zero, denormals are zero", set_flush},
                {"rounding upward", upward},
                {"downward and flushing", downward_flushing},
                {"exceptions unmasked", unmasked},
                {"inexact unmasked, too", unmasked_inexact}};

/* The work without anything that the test itself would have to compute in between. */
static void run_setting(int k, struct blob *blob, struct watch *w, int threads, int runner) {
    fenv_t old;
    fegetenv(&old);
    settings[k].set();
    work(blob, w, threads, runner);
    fesetenv(&old);
}

/* The settings do something, and a callback that sees another one is noticed. */
static void test_the_settings(void **state) {
    volatile float three = -3, tiny = 1e-38f, third, product;
    struct watch w;
    fenv_t old;
    (void)state;
    if (!HAVE_CONTROL)
        skip();
    memset(&w, 0, sizeof w);
    w.expected = control();
    third = 1 / three;
    product = tiny / -three;
    look(&w);
    assert_int_equal(w.wrong, 0);
    fegetenv(&old);
    upward();
    look(&w);
    assert_int_equal(w.wrong, 1);
    assert_true(1 / three > third);
    fesetenv(&old);
    set_flush();
    look(&w);
    assert_int_equal(w.wrong, 2);
    assert_true(tiny / three == 0);
    fesetenv(&old);
    assert_true(product > 0);
}

static void test_control_word(void **state) {
    struct blob wanted = {NULL, 0, 0};
    struct watch first;
    int k, way;
    (void)state;
    if (!HAVE_CONTROL) {
        print_message("  skipped: this test does not know this processor's control word\n");
        skip();
    }
    memset(&first, 0, sizeof first);
    work(&wanted, &first, 1, 0);
    for (k = 0; k < COUNT(settings); k++)
        for (way = 0; way < 3; way++) {
            struct blob blob = {NULL, 0, 0};
            struct watch w;
            memset(&w, 0, sizeof w);
            run_setting(k, &blob, &w, way == 1 ? 2 : 1, way == 2);
            print_message("  %s, %s: %lld callbacks\n", settings[k].name,
                          way == 0 ? "one thread" : way == 1 ? "two threads" : "a runner", (long long)w.calls);
            assert_true(w.calls > 100);
            blobs_equal(&wanted, &blob, settings[k].name);
            blob_free(&blob);
        }
    blob_free(&wanted);
}

/* A callback that calls the library computes under the library's control word again. */
static void test_calls_inside_callbacks(void **state) {
    struct blob wanted = {NULL, 0, 0};
    unetstar_context *context = make_context(1);
    int k;
    (void)state;
    sensitive(&wanted, context);
    unetstar_context_destroy(context);
    for (k = 0; k < COUNT(settings); k++) {
        struct blob blob = {NULL, 0, 0};
        struct watch w;
        memset(&w, 0, sizeof w);
        w.nested = 1;
        run_setting(k, &blob, &w, 1, 0);
        assert_true(w.nested_result.size == 2 * wanted.size); /* two epochs */
        assert_memory_equal(w.nested_result.data, wanted.data, wanted.size);
        assert_memory_equal(w.nested_result.data + wanted.size, wanted.data, wanted.size);
        blob_free(&blob);
        blob_free(&w.nested_result);
    }
    blob_free(&wanted);
}

/* NaN options are an error, not a trap, when the caller has unmasked invalid operations. */
static void test_nan_options_do_not_trap(void **state) {
    const double nan_value = NAN;
    unetstar_context *context = make_context(1);
    struct recipe r;
    struct training t;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    fenv_t old;
    int codes[8], i;
    (void)state;
    recipe_tiny(&r);
    training_open(&t, context, &r);
    fegetenv(&old);
    unmasked();
    {
        unetstar_model_options m = r.model;
        unetstar_optimizer_options o = r.optimizer;
        unetstar_trainer_options a = r.trainer, b = r.trainer;
        unetstar_loss_options l = r.loss;
        unetstar_prep_options p;
        unetstar_scores scores;
        unetstar_metrics *metrics;
        memset(&scores, 0, sizeof scores);
        scores.struct_size = sizeof scores;
        m.narrow = nan_value;
        codes[0] = unetstar_model_create(&model, context, &m);
        m.narrow = 0.5;
        m.dropout = nan_value;
        codes[1] = unetstar_model_create(&model, context, &m);
        o.learning_rate = nan_value;
        codes[2] = unetstar_optimizer_create(&optimizer, t.model, &o);
        a.validation_fraction = nan_value;
        codes[3] = unetstar_trainer_create(&trainer, t.model, t.optimizer, &a, NULL);
        b.gamma = (float)nan_value;
        codes[4] = unetstar_trainer_create(&trainer, t.model, t.optimizer, &b, NULL);
        l.dice = (float)nan_value;
        codes[5] = unetstar_trainer_create(&trainer, t.model, t.optimizer, NULL, &l);
        if (unetstar_prep_options_init(&p, sizeof p))
            p.struct_size = 0;
        p.gamma = (float)nan_value;
        codes[6] = unetstar_model_set_prep(t.model, &p);
        codes[7] = unetstar_metrics_create(&metrics, context);
        if (!codes[7])
            codes[7] = unetstar_metrics_scores(metrics, -1, nan_value, &scores) == UNETSTAR_ESTATE ? UNETSTAR_EINVAL : 1;
        unetstar_metrics_destroy(metrics);
    }
    fesetenv(&old);
    for (i = 0; i < 8; i++)
        if (codes[i] != UNETSTAR_EINVAL) {
            print_error("NaN option %d: returned %d\n", i, codes[i]);
            fail();
        }
    training_close(&t);
    unetstar_context_destroy(context);
}

/* ---- Locale ---- */

/* The C library's file of numeric conventions with a decimal comma, as localedef writes it: for systems without one. */
static int write_comma_locale(const char *folder_path) {
    static const char text[] = ",\0.\0\3\0\0"; /* decimal point, thousands separator, grouping */
    uint32_t head[8] = {0x20031115u ^ (uint32_t)LC_NUMERIC, 6, 32, 34, 36, 40, 44, 48};
    const uint32_t wide[2] = {',', '.'};
    char path[256];
    FILE *f;
    int bad;
    if (mkdir(folder_path, 0700) && errno != EEXIST)
        return -1;
    snprintf(path, sizeof path, "%s/LC_NUMERIC", folder_path);
    f = fopen(path, "wb");
    if (!f)
        return -1;
    bad = fwrite(head, 1, sizeof head, f) != sizeof head || fwrite(text, 1, 8, f) != 8 ||
          fwrite(wide, 1, sizeof wide, f) != sizeof wide || fwrite("ASCII", 1, 6, f) != 6;
    return fclose(f) || bad ? -1 : 0;
}

static int comma_works(void) {
    char text[16];
    snprintf(text, sizeof text, "%.1f", 0.5);
    return !strcmp(text, "0,5");
}

static void test_decimal_comma(void **state) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "comma"};
    struct blob wanted = {NULL, 0, 0}, blob = {NULL, 0, 0};
    struct watch w;
    char folder_path[192], copy[160], *slash;
    int i, found = 0;
    (void)state;
    memset(&w, 0, sizeof w);
    work(&wanted, &w, 1, 0);
    snprintf(copy, sizeof copy, "%s", path_of("comma"));
    snprintf(folder_path, sizeof folder_path, "%s", copy);
    slash = strrchr(copy, '/');
    *slash = 0;
    if (!write_comma_locale(folder_path))
        setenv("LOCPATH", copy, 1);
    for (i = 0; i < COUNT(names) && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) && comma_works();
    if (found) {
        print_message("  locale %s: a half is %.1f\n", names[i - 1], 0.5);
        memset(&w, 0, sizeof w);
        work(&blob, &w, 1, 0);
        assert_true(comma_works()); /* the locale is still the caller's */
        setlocale(LC_ALL, "C");
        blobs_equal(&wanted, &blob, "with a decimal comma");
    }
    unsetenv("LOCPATH");
    snprintf(folder_path + strlen(folder_path), sizeof folder_path - strlen(folder_path), "/LC_NUMERIC");
    unlink(folder_path);
    *strrchr(folder_path, '/') = 0;
    rmdir(folder_path);
    blob_free(&wanted);
    blob_free(&blob);
    if (!found) {
        print_message("  skipped: no locale with a decimal comma is installed, and none could be made\n");
        skip();
    }
}

/* ---- Silence, and no look at the environment ---- */

static int noisy_things(void *argument) {
    const char *path = (const char *)argument;
    const int out = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    struct blob blob = {NULL, 0, 0};
    struct watch w;
    unetstar_context *context;
    unetstar_model *model;
    int code;
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        return 1;
    memset(&w, 0, sizeof w);
    work(&blob, &w, 2, 0);
    code = unetstar_context_create(&context, NULL); /* and errors, without a log */
    if (!code) {
        code = unetstar_model_load(&model, context, "/nowhere/at/all") != UNETSTAR_EIO;
        code |= unetstar_model_load_memory(&model, context, path, 3) != UNETSTAR_EFORMAT;
        code |= unetstar_model_create(&model, NULL, NULL) != UNETSTAR_EINVAL;
        unetstar_context_destroy(context);
    }
    fflush(NULL);
    return code;
}

static int say_something(void *argument) {
    const int out = open((const char *)argument, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        return 1;
    fprintf(stderr, "x");
    fflush(NULL);
    return 0;
}

static void test_prints_nothing(void **state) {
    char path[160];
    size_t size;
    unsigned char *text;
    (void)state;
    snprintf(path, sizeof path, "%s", path_of("output"));
    fflush(NULL);
    assert_int_equal(in_child(say_something, path), 0); /* the trap works */
    free(read_file(path, &size));
    assert_int_equal(size, 1);
    assert_int_equal(in_child(noisy_things, path), 0);
    text = read_file(path, &size);
    if (size)
        print_error("printed: %.*s\n", (int)size, (const char *)text);
    free(text);
    assert_int_equal(size, 0);
}

static void test_reads_no_environment(void **state) {
    char before[32], isa[32] = "";
    unetstar_context_options options;
    unetstar_context *context;
    const char *set = getenv("UNETSTAR_ISA");
    int32_t threads;
    (void)state;
    snprintf(isa, sizeof isa, "%s", set ? set : "");
    OK(unetstar_context_options_init(&options, sizeof options));
    OK(unetstar_context_create(&context, &options));
    snprintf(before, sizeof before, "%s", unetstar_context_isa(context));
    threads = unetstar_context_threads(context);
    unetstar_context_destroy(context);
    setenv("UNETSTAR_ISA", strcmp(before, "reference") ? "reference" : "avx2", 1);
    setenv("UNETSTAR_THREADS", "7", 1);
    setenv("OMP_NUM_THREADS", "9", 1);
    OK(unetstar_context_create(&context, &options));
    assert_string_equal(unetstar_context_isa(context), before);
    assert_int_equal(unetstar_context_threads(context), threads);
    unetstar_context_destroy(context);
    print_message("  still %s with %d threads\n", before, (int)threads);
    unsetenv("UNETSTAR_THREADS");
    unsetenv("OMP_NUM_THREADS");
    if (*isa)
        setenv("UNETSTAR_ISA", isa, 1);
    else
        unsetenv("UNETSTAR_ISA");
}

static void test_errors_and_versions(void **state) {
    int code;
    (void)state;
    assert_int_equal(unetstar_version_number(), UNETSTAR_VERSION_NUMBER);
    assert_string_equal(unetstar_version_string(), UNETSTAR_VERSION_STRING);
    assert_int_equal(unetstar_abi_version(), UNETSTAR_ABI_VERSION);
    assert_int_equal(unetstar_numerics_version(), UNETSTAR_NUMERICS_VERSION);
    assert_int_equal(unetstar_build_features() & (UNETSTAR_FEATURE_TRAINING | UNETSTAR_FEATURE_FILES),
                     UNETSTAR_FEATURE_TRAINING | UNETSTAR_FEATURE_FILES);
    assert_int_equal(UNETSTAR_VERSION_NUMBER,
                     UNETSTAR_VERSION_MAJOR * 1000000 + UNETSTAR_VERSION_MINOR * 1000 + UNETSTAR_VERSION_PATCH);
    for (code = UNETSTAR_ENOTSUPPORTED; code <= 0; code++) {
        int other;
        assert_string_not_equal(unetstar_strerror(code), "unknown error");
        for (other = code + 1; other <= 0; other++)
            assert_string_not_equal(unetstar_strerror(code), unetstar_strerror(other));
    }
    assert_string_equal(unetstar_strerror(1), "unknown error");
    assert_string_equal(unetstar_strerror(UNETSTAR_ENOTSUPPORTED - 1), "unknown error");
    assert_string_equal(unetstar_strerror(INT32_MIN), "unknown error");
    assert_string_equal(unetstar_strerror(INT32_MAX), "unknown error");
    assert_non_null(unetstar_last_error());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_settings),   cmocka_unit_test(test_control_word),
        cmocka_unit_test(test_calls_inside_callbacks),
        cmocka_unit_test(test_nan_options_do_not_trap), cmocka_unit_test(test_decimal_comma),
        cmocka_unit_test(test_errors_and_versions),
        cmocka_unit_test(test_prints_nothing),          cmocka_unit_test(test_reads_no_environment),
    };
    make_inputs();
    return cmocka_run_group_tests_name("environment", tests, NULL, tear_down);
}
