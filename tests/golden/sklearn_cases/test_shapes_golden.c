/*
 * test_shapes_golden.c - clDice with scikit-image's skeletons, and the calibration error by numpy, to 1e-12.
 *
 *     test_shapes_golden FOLDER [FILTER]
 */
#include "../golden_common.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 1e-12

static const char *const cases[] = {"noise", "blobs", "masked", "lines", "solid"};
enum { N_CASES = sizeof cases / sizeof *cases };

static unetstar_context *ctx;
static golden_file *file;

static unetstar_metrics *make_metrics(const char *name) {
    unetstar_metrics *metrics = NULL;
    const golden_tensor *p;

    OK(unetstar_metrics_create(&metrics, ctx));
    for (int i = 0; (p = golden_find(file, "%s.probability%d", name, i)) != NULL; i++) {
        const golden_tensor *mask = golden_find(file, "%s.mask%d", name, i);
        OK(unetstar_metrics_add_image(metrics, name, p->dims[1], p->dims[0], p->data,
                                      golden_need(file, "%s.label%d", name, i)->data, mask ? mask->data : NULL));
    }
    return metrics;
}

static int differs(double want, double got, const char *name, int64_t image, double threshold, const char *column) {
    if (fabs(got - want) <= LIMIT)
        return 0;
    printf("    %s, image %lld, threshold %.9g: %s is %.15g instead of %.15g\n", name, (long long)image, threshold,
           column, got, want);
    return 1;
}

static void test_scores(void **state) {
    const char *name = *state;
    const golden_tensor *lines = golden_need(file, "%s.cl_dice", name), *thresholds = golden_need(file, "thresholds");
    const golden_tensor *calibration = golden_need(file, "%s.calibration_error", name);
    unetstar_metrics *metrics = make_metrics(name);
    int failures = 0;

    assert_int_equal(lines->dims[0], unetstar_metrics_count(metrics) + 1);
    assert_int_equal(lines->dims[1], thresholds->count);
    assert_int_equal(calibration->count, lines->dims[0]);
    for (int64_t row = 0; row < lines->dims[0]; row++) /* row 0 is all images pooled */
        for (int64_t t = 0; t < thresholds->count; t++) {
            const double threshold = ((double *)thresholds->data)[t];
            unetstar_scores s;
            memset(&s, 0, sizeof s);
            s.struct_size = sizeof s;
            OK(unetstar_metrics_scores(metrics, row - 1, threshold, &s));
            failures += differs(((double *)lines->data)[row * thresholds->count + t], s.cl_dice, name, row - 1,
                                threshold, "cl_dice");
            failures += differs(((double *)calibration->data)[row], s.calibration_error, name, row - 1, threshold,
                                "calibration_error");
        }
    unetstar_metrics_destroy(metrics);
    assert_int_equal(failures, 0);
}

static void test_index(void **state) {
    (void)state;
    golden_check_index(golden_need(file, "index"), cases, N_CASES);
}

static int start(void **state) {
    char path[1024], error[1200];

    (void)state;
    snprintf(path, sizeof path, "%s/sklearn_cases/shapes.gold", golden_folder);
    file = golden_open(path, error, sizeof error);
    if (file == NULL) {
        printf("%s\n", error);
        return -1;
    }
    ctx = golden_context();
    return 0;
}

static int stop(void **state) {
    (void)state;
    unetstar_context_destroy(ctx);
    golden_close(file);
    return 0;
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[N_CASES + 1];

    if (argc > 1)
        golden_folder = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    for (int i = 0; i < N_CASES; i++) {
        tests[i].name = cases[i];
        tests[i].test_func = test_scores;
        tests[i].initial_state = (void *)(uintptr_t)cases[i];
    }
    tests[N_CASES].name = "every case has its test";
    tests[N_CASES].test_func = test_index;
    return cmocka_run_group_tests_name("golden shapes", tests, start, stop);
}
