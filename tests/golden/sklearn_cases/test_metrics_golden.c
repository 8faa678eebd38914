/*
 * test_metrics_golden.c - scores and curves against scikit-learn, to 1e-9.
 *
 *     test_metrics_golden FOLDER [FILTER]
 */
#include "../golden_common.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 1e-9
#define SKIP (-1.0) /* see make_metrics_golden.py */

static const char *const cases[] = {
    "plain",           "ties",           "masked",     "saturated",       "constant",  "constant_zero",
    "perfect",         "inverted",       "two_pixels", "two_pixels_tied", "one_pixel", "only_vessel",
    "only_background", "one_class_each", "empty_mask", "edges",
};
enum { N_CASES = sizeof cases / sizeof *cases, COLUMNS = 15, MAX_POINTS = 4096 };
static const char *const columns[COLUMNS] = {
    "true_positives",
    "false_positives",
    "true_negatives",
    "false_negatives",
    "roc_auc",
    "pr_auc",
    "average_precision",
    "f1",
    "accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "mcc",
    "dice",
    "iou",
};

static unetstar_context *ctx;
static golden_file *file;
static int failures;
static double worst;

static unetstar_metrics *make_metrics(const char *name) {
    unetstar_metrics *metrics = NULL;
    const golden_tensor *p;

    OK(unetstar_metrics_create(&metrics, ctx));
    for (int i = 0; (p = golden_find(file, "%s.probability%d", name, i)) != NULL; i++) {
        const golden_tensor *mask = golden_find(file, "%s.mask%d", name, i);
        char image[32];
        snprintf(image, sizeof image, "image%d", i);
        OK(unetstar_metrics_add(metrics, image, p->count, p->data, golden_need(file, "%s.label%d", name, i)->data,
                                mask ? mask->data : NULL));
        assert_int_equal(unetstar_metrics_count(metrics), i + 1);
        assert_string_equal(unetstar_metrics_name(metrics, i), image);
    }
    return metrics;
}

static void compare(double want, double got, const char *name, int64_t image, double threshold, const char *column) {
    const double error = fabs(got - want);

    if (want == SKIP || (isnan(want) && isnan(got)))
        return;
    if (error <= LIMIT) {
        worst = error > worst ? error : worst;
        return;
    }
    printf("    %s, image %lld, threshold %.9g: %s is %.12g instead of %.12g\n", name, (long long)image, threshold,
           column, got, want);
    failures++;
}

static void check_row(unetstar_metrics *metrics, const char *name, int64_t image, double threshold,
                      const double *want) {
    unetstar_scores s;

    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    OK(unetstar_metrics_scores(metrics, image, threshold, &s));
    {
        const double got[COLUMNS] = {(double)s.true_positives,
                                     (double)s.false_positives,
                                     (double)s.true_negatives,
                                     (double)s.false_negatives,
                                     s.roc_auc,
                                     s.pr_auc,
                                     s.average_precision,
                                     s.f1,
                                     s.accuracy,
                                     s.sensitivity,
                                     s.specificity,
                                     s.precision,
                                     s.mcc,
                                     s.dice,
                                     s.iou};
        for (int c = 0; c < COLUMNS; c++)
            compare(want[c], got[c], name, image, threshold, columns[c]);
    }
    if (s.threshold != threshold) {
        printf("    %s: threshold %.17g came back as %.17g\n", name, threshold, s.threshold);
        failures++;
    }
}

static void test_scores(void **state) {
    const char *name = *state;
    const golden_tensor *want = golden_need(file, "%s.expected", name), *thresholds = golden_need(file, "thresholds");
    unetstar_metrics *metrics = make_metrics(name);

    failures = 0;
    assert_int_equal(want->dims[0], unetstar_metrics_count(metrics) + 1);
    assert_int_equal(want->dims[1], thresholds->count);
    assert_int_equal(want->dims[2], COLUMNS);
    for (int64_t row = 0; row < want->dims[0]; row++) /* row 0 is all images pooled */
        for (int64_t t = 0; t < thresholds->count; t++)
            check_row(metrics, name, row - 1, ((double *)thresholds->data)[t],
                      (double *)want->data + (row * thresholds->count + t) * COLUMNS);
    unetstar_metrics_destroy(metrics);
    assert_int_equal(failures, 0);
}

/* ---- Best threshold and curves ----------------------------------------------------------------------------------- */

static void test_best_threshold(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        const golden_tensor *want = golden_find(file, "%s.best_f1", cases[i]);
        unetstar_metrics *metrics;
        unetstar_scores s;
        double threshold, f1;
        if (want == NULL)
            continue;
        metrics = make_metrics(cases[i]);
        memset(&s, 0, sizeof s);
        s.struct_size = sizeof s;
        OK(unetstar_metrics_best_threshold(metrics, &threshold, &f1));
        OK(unetstar_metrics_scores(metrics, -1, threshold, &s));
        assert_true(fabs(f1 - *(double *)want->data) <= LIMIT);
        assert_true(fabs(f1 - s.f1) <= LIMIT); /* the threshold does what it says */
        unetstar_metrics_destroy(metrics);
    }
}

/* Every point is one of scikit-learn's, in its order, from one end to the other; all of them when there is room. */
static void check_curve(unetstar_metrics *metrics, const char *name, int32_t curve, int64_t max_points) {
    const golden_tensor *want = golden_need(file, "%s.%s", name, curve == UNETSTAR_CURVE_ROC ? "roc" : "pr");
    const double *wx = want->data, *wy = wx + want->dims[1];
    const int64_t n = want->dims[1];
    double x[MAX_POINTS], y[MAX_POINTS];
    int64_t count = 0, at = 0;

    OK(unetstar_metrics_curve(metrics, curve, max_points, x, y, &count));
    assert_in_range(count, 2, max_points);
    assert_true(fabs(x[0] - wx[0]) <= LIMIT && fabs(y[0] - wy[0]) <= LIMIT);
    assert_true(fabs(x[count - 1] - wx[n - 1]) <= LIMIT && fabs(y[count - 1] - wy[n - 1]) <= LIMIT);
    for (int64_t i = 0; i < count; i++) {
        while (at < n && (fabs(x[i] - wx[at]) > LIMIT || fabs(y[i] - wy[at]) > LIMIT))
            at++;
        if (at == n)
            fail_msg("%s: point %lld (%.9g, %.9g) is not on scikit-learn's curve", name, (long long)i, x[i], y[i]);
    }
}

static void test_curves(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        unetstar_metrics *metrics;
        if (golden_find(file, "%s.roc", cases[i]) == NULL)
            continue;
        metrics = make_metrics(cases[i]);
        for (int32_t curve = UNETSTAR_CURVE_ROC; curve <= UNETSTAR_CURVE_PR; curve++) {
            check_curve(metrics, cases[i], curve, MAX_POINTS);
            check_curve(metrics, cases[i], curve, 7);
            check_curve(metrics, cases[i], curve, 2);
        }
        unetstar_metrics_destroy(metrics);
    }
}

static void test_index(void **state) {
    (void)state;
    golden_check_index(golden_need(file, "index"), cases, N_CASES);
}

static int start(void **state) {
    char path[1024], error[1200];

    (void)state;
    snprintf(path, sizeof path, "%s/sklearn_cases/metrics.gold", golden_folder);
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
    printf("worst error of a score %.2e\n", worst);
    unetstar_context_destroy(ctx);
    golden_close(file);
    return 0;
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[N_CASES + 3];

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
    tests[N_CASES + 1].name = "best threshold";
    tests[N_CASES + 1].test_func = test_best_threshold;
    tests[N_CASES + 2].name = "curves";
    tests[N_CASES + 2].test_func = test_curves;
    return cmocka_run_group_tests_name("golden metrics", tests, start, stop);
}
