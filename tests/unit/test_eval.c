/*
 * test_eval.c - metrics: cases computed by hand, against a slow and plain computation on random data, and under lack of
 * memory. The numbers marked sklearn were printed by scikit-learn 1.2.1.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/eval.h"

/* ---- A context whose allocator counts, and fails on demand ---- */

struct memory {
    long live, calls, fail_at; /* fail_at 0: never */
};
static struct memory memory;

static void *counting_alloc(void *user, size_t size, size_t alignment) {
    struct memory *m = (struct memory *)user;
    void *pointer = NULL;
    if (++m->calls == m->fail_at || posix_memalign(&pointer, alignment, size))
        return NULL;
    m->live++;
    return pointer;
}

static void counting_free(void *user, void *pointer, size_t size) {
    (void)size;
    ((struct memory *)user)->live--;
    free(pointer);
}

static us_context *ctx;
static us_metrics *metrics;

static int setup(void **state) {
    unetstar_context_options options;
    (void)state;
    memset(&options, 0, sizeof options);
    memset(&memory, 0, sizeof memory);
    options.struct_size = sizeof options;
    options.alloc = counting_alloc;
    options.free = counting_free;
    options.alloc_user = &memory;
    options.n_threads = 1;
    return us_context_create(&ctx, &options) || us_metrics_create(&metrics, ctx);
}

static int teardown(void **state) {
    (void)state;
    us_metrics_destroy(metrics);
    us_context_unref(ctx);
    return memory.live != 0;
}

static void assert_near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12))
        fail_msg("%.17g, not %.17g", got, want);
}

static void add(int64_t n, const float *score, const uint8_t *label, const uint8_t *mask) {
    assert_int_equal(us_metrics_add(metrics, "x", n, score, label, mask), 0);
}

static unetstar_scores scores_of(int64_t i, double threshold) {
    unetstar_scores s;
    memset(&s, 0xcd, sizeof s);
    assert_int_equal(us_metrics_scores(metrics, i, threshold, &s), 0);
    return s;
}

/* ---- By hand ---- */

/* The example of scikit-learn's manual. */
static void four_pixels(void **state) {
    static const float score[] = {0.1f, 0.4f, 0.35f, 0.8f};
    static const uint8_t label[] = {0, 0, 1, 1};
    unetstar_scores s;
    double x[8], y[8];
    int64_t n;
    (void)state;
    add(4, score, label, NULL);
    s = scores_of(-1, 0.4);
    /* 0.4f is a little above 0.4, so it counts */
    assert_int_equal(s.true_positives, 1);
    assert_int_equal(s.false_positives, 1);
    assert_int_equal(s.true_negatives, 1);
    assert_int_equal(s.false_negatives, 1);
    assert_near(s.threshold, 0.4);
    assert_near(s.roc_auc, 0.75);
    assert_near(s.average_precision, 0.5 + 0.5 * 2 / 3);                  /* sklearn 0.8333 */
    assert_near(s.pr_auc, 0.5 * (1 + 1) / 2 + 0.5 * (0.5 + 2.0 / 3) / 2); /* sklearn 0.7917 */
    assert_near(s.f1, 0.5);
    assert_near(s.accuracy, 0.5);
    assert_near(s.sensitivity, 0.5);
    assert_near(s.specificity, 0.5);
    assert_near(s.precision, 0.5);
    assert_near(s.mcc, 0);
    assert_near(s.dice, 0.5);
    assert_near(s.iou, 1.0 / 3);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_PR, 8, x, y, &n), 0);
    assert_int_equal(n, 5);
    {
        static const double recall[] = {0, 0.5, 0.5, 1, 1}, precision[] = {1, 1, 0.5, 2.0 / 3, 0.5};
        int i;
        for (i = 0; i < 5; i++) {
            assert_near(x[i], recall[i]);
            assert_near(y[i], precision[i]);
        }
    }
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_ROC, 8, x, y, &n), 0);
    assert_int_equal(n, 5);
    {
        static const double fpr[] = {0, 0, 0.5, 0.5, 1}, tpr[] = {0, 0.5, 0.5, 1, 1};
        int i;
        for (i = 0; i < 5; i++) {
            assert_near(x[i], fpr[i]);
            assert_near(y[i], tpr[i]);
        }
    }
}

/* tp 3, fp 1, tn 4, fn 2 */
static void every_ratio(void **state) {
    static const float score[] = {0.9f, 0.8f, 0.7f, 0.1f, 0.2f, 0.6f, 0.3f, 0.0f, 0.1f, 0.4f};
    static const uint8_t label[] = {1, 2, 255, 1, 1, 0, 0, 0, 0, 0};
    unetstar_scores s;
    (void)state;
    add(10, score, label, NULL);
    s = scores_of(0, 0.5);
    assert_int_equal(s.true_positives, 3);
    assert_int_equal(s.false_positives, 1);
    assert_int_equal(s.true_negatives, 4);
    assert_int_equal(s.false_negatives, 2);
    assert_near(s.f1, 6.0 / 9);
    assert_near(s.dice, 6.0 / 9);
    assert_near(s.iou, 3.0 / 6);
    assert_near(s.accuracy, 0.7);
    assert_near(s.sensitivity, 0.6);
    assert_near(s.specificity, 0.8);
    assert_near(s.precision, 0.75);
    assert_near(s.mcc, (3.0 * 4 - 1 * 2) / sqrt(4.0 * 5 * 5 * 6));
}

static void ties_count_half(void **state) {
    static const float same[] = {0.5f, 0.5f, 0.5f, 0.5f}, zeros[] = {0.0f, -0.0f, -0.0f, 0.0f};
    static const uint8_t label[] = {1, 0, 0, 1};
    unetstar_scores s;
    double x[3], y[3];
    int64_t n;
    (void)state;
    add(4, same, label, NULL);
    s = scores_of(0, 0.5);
    assert_near(s.roc_auc, 0.5);
    assert_near(s.pr_auc, 0.75); /* (0, 1) to (1, 0.5) */
    assert_near(s.average_precision, 0.5);
    assert_int_equal(s.true_positives, 2); /* >= */
    assert_int_equal(s.false_positives, 2);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_ROC, 3, x, y, &n), 0);
    assert_int_equal(n, 2);
    add(4, zeros, label, NULL);
    assert_near(scores_of(1, 0).roc_auc, 0.5);
    assert_int_equal(scores_of(1, -0.0).false_positives, 2);
}

static void perfect_and_reversed(void **state) {
    static const float up[] = {-2, -1, 1, 2}, down[] = {2, 1, -1, -2};
    static const uint8_t label[] = {0, 0, 1, 1};
    double threshold, f1;
    (void)state;
    add(4, up, label, NULL);
    assert_near(scores_of(0, 0).roc_auc, 1);
    assert_near(scores_of(0, 0).mcc, 1);
    assert_near(scores_of(0, 0).pr_auc, 1);
    assert_int_equal(us_metrics_best_threshold(metrics, &threshold, &f1), 0);
    assert_near(threshold, 1);
    assert_near(f1, 1);
    add(4, down, label, NULL);
    assert_near(scores_of(1, 0).roc_auc, 0);
    assert_near(scores_of(1, 0).mcc, -1);
    assert_near(scores_of(-1, 0).roc_auc, 0.5);
}

/* F1 is 2/3 at 0.9 and again at 0.6: the higher threshold is the answer. */
static void equal_f1(void **state) {
    static const float score[] = {0.6f, 0.7f, 0.8f, 0.9f};
    static const uint8_t label[] = {1, 0, 0, 1};
    double threshold, f1;
    (void)state;
    add(4, score, label, NULL);
    assert_int_equal(us_metrics_best_threshold(metrics, &threshold, &f1), 0);
    assert_near(threshold, (double)0.9f);
    assert_near(f1, 2.0 / 3);
}

static void mask_leaves_out(void **state) {
    const float score[] = {0.9f, NAN, 0.2f, 0.8f, INFINITY};
    static const uint8_t label[] = {1, 1, 0, 0, 1}, mask[] = {1, 0, 7, 0, 255};
    unetstar_scores s;
    (void)state;
    add(5, score, label, mask);
    s = scores_of(0, 0.5);
    assert_int_equal(s.true_positives, 2);
    assert_int_equal(s.true_negatives, 1);
    assert_int_equal(s.false_positives + s.false_negatives, 0);
    assert_near(s.roc_auc, 1);
    assert_int_equal(us_metrics_add(metrics, "nan", 5, score, label, NULL), UNETSTAR_EINVAL);
    assert_non_null(strstr(us_error_text(), "probability[1]"));
    assert_int_equal(metrics->count, 1);
}

static void one_class_only(void **state) {
    static const float score[] = {0.2f, 0.7f, 0.9f};
    static const uint8_t none[] = {0, 0, 0}, all[] = {1, 1, 1};
    unetstar_scores s;
    double threshold, f1, x[4], y[4];
    int64_t n;
    (void)state;
    add(3, score, none, NULL);
    s = scores_of(0, 0.5);
    assert_true(isnan(s.roc_auc));
    assert_near(s.pr_auc, 0.5); /* sklearn */
    assert_near(s.average_precision, 0);
    assert_near(s.f1, 0);
    assert_near(s.sensitivity, 0);
    assert_near(s.precision, 0);
    assert_near(s.specificity, 1.0 / 3);
    assert_near(s.mcc, 0);
    assert_near(scores_of(0, 2).precision, 0);
    assert_int_equal(us_metrics_best_threshold(metrics, &threshold, &f1), 0);
    assert_near(f1, 0);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_PR, 4, x, y, &n), 0);
    assert_int_equal(n, 4);
    assert_near(x[0], 0);
    assert_near(x[3], 1);
    add(3, score, all, NULL);
    s = scores_of(1, 0.5);
    assert_true(isnan(s.roc_auc));
    assert_near(s.pr_auc, 1);
    assert_near(s.average_precision, 1);
    assert_near(s.specificity, 0);
    assert_near(s.mcc, 0);
    assert_near(scores_of(-1, 0.5).roc_auc, 0.5);
}

static void no_pixels(void **state) {
    static const float score[] = {0.2f};
    static const uint8_t label[] = {1}, mask[] = {0};
    unetstar_scores s;
    double a, b;
    int64_t n;
    (void)state;
    assert_int_equal(us_metrics_scores(metrics, -1, 0.5, &s), UNETSTAR_ESTATE);
    assert_int_equal(us_metrics_best_threshold(metrics, &a, &b), UNETSTAR_ESTATE);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_PR, 2, &a, &b, &n), UNETSTAR_ESTATE);
    assert_int_equal(us_metrics_scores(metrics, 0, 0.5, &s), UNETSTAR_EINVAL);
    add(1, score, label, mask);
    add(0, NULL, NULL, NULL);
    s = scores_of(-1, 0.5);
    assert_int_equal(s.true_positives + s.false_positives + s.true_negatives + s.false_negatives, 0);
    assert_true(isnan(s.roc_auc));
    assert_near(s.pr_auc + s.average_precision + s.accuracy + s.f1 + s.mcc + s.iou, 0);
    assert_int_equal(us_metrics_best_threshold(metrics, &a, &b), UNETSTAR_ESTATE);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_PR, 2, &a, &b, &n), UNETSTAR_ESTATE);
}

static void bad_arguments(void **state) {
    static const float score[] = {0.2f, 0.5f};
    static const uint8_t label[] = {1, 0};
    unetstar_scores s;
    double x[2], y[2];
    int64_t n;
    (void)state;
    add(2, score, label, NULL);
    assert_int_equal(us_metrics_add(metrics, "a", -1, score, label, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_add(metrics, "a", 2, NULL, label, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_add(metrics, "a", 2, score, NULL, NULL), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_scores(metrics, 1, 0.5, &s), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_scores(metrics, -2, 0.5, &s), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_scores(metrics, 0, NAN, &s), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_curve(metrics, 2, 2, x, y, &n), UNETSTAR_EINVAL);
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_ROC, 1, x, y, &n), UNETSTAR_EINVAL);
    assert_int_equal(metrics->count, 1);
}

static void names_and_clear(void **state) {
    static const float score[] = {0.2f, 0.5f};
    static const uint8_t label[] = {1, 0};
    char name[16];
    int i;
    (void)state;
    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "image %d", i);
        assert_int_equal(us_metrics_add(metrics, i ? name : NULL, 2, score, label, NULL), 0);
    }
    assert_string_equal(us_metrics_name(metrics, 0), "");
    assert_string_equal(us_metrics_name(metrics, 39), "image 39");
    assert_null(us_metrics_name(metrics, 40));
    assert_null(us_metrics_name(metrics, -1));
    assert_int_equal(scores_of(-1, 0.5).false_positives, 40);
    us_metrics_clear(metrics);
    assert_int_equal(metrics->count, 0);
    assert_null(us_metrics_name(metrics, 0));
    add(2, score, label, NULL);
    assert_int_equal(scores_of(-1, 0.5).false_positives, 1); /* the pooled set was not the old one */
}

/* ---- Against a plain computation ---- */

static uint64_t seed = 7;

static uint64_t next_random(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

#define MANY 700

static double plain_roc(int n, const float *score, const uint8_t *label) {
    double wins = 0, pairs = 0;
    int i, j;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++)
            if (label[i] && !label[j]) {
                pairs++;
                wins += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
    return pairs > 0 ? wins / pairs : NAN;
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void count_at(int n, const float *score, const uint8_t *label, double threshold, double *tp, double *fp) {
    int i;
    *tp = *fp = 0;
    for (i = 0; i < n; i++)
        if (score[i] >= threshold)
            *(label[i] ? tp : fp) += 1;
}

static void compare_with_plain(int n, const float *score, const uint8_t *label) {
    float sorted[MANY];
    double tp, fp, positives, negatives, last_tp = 0, last_precision = 1, pr = 0, ap = 0, best = -1, best_at = 0;
    double threshold, f1;
    unetstar_scores s = scores_of(-1, 0.25);
    int i;
    count_at(n, score, label, -INFINITY, &positives, &negatives);
    memcpy(sorted, score, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    for (i = 0; i < n; i++) {
        if (i && sorted[i] == sorted[i - 1])
            continue;
        count_at(n, score, label, sorted[i], &tp, &fp);
        pr += (tp - last_tp) / positives * (last_precision + tp / (tp + fp)) / 2;
        ap += (tp - last_tp) / positives * (tp / (tp + fp));
        last_tp = tp;
        last_precision = tp / (tp + fp);
        if (2 * tp / (tp + fp + positives) > best) {
            best = 2 * tp / (tp + fp + positives);
            best_at = sorted[i];
        }
    }
    assert_near(s.roc_auc, plain_roc(n, score, label));
    assert_near(s.pr_auc, pr);
    assert_near(s.average_precision, ap);
    count_at(n, score, label, 0.25, &tp, &fp);
    assert_int_equal(s.true_positives, (int64_t)tp);
    assert_int_equal(s.false_positives, (int64_t)fp);
    assert_int_equal(us_metrics_best_threshold(metrics, &threshold, &f1), 0);
    assert_near(threshold, best_at);
    assert_near(f1, best);
}

static void random_images(void **state) {
    static float score[MANY];
    static uint8_t label[MANY];
    int round, i;
    (void)state;
    for (round = 0; round < 60; round++) {
        const int n = 2 + (int)(next_random() % (MANY - 2)), cut = (int)(next_random() % (uint64_t)n);
        const uint64_t levels = round % 3 ? (uint64_t)1 << 20 : 1 + next_random() % 20; /* with and without ties */
        for (i = 0; i < n; i++) {
            score[i] = (float)(next_random() % levels) / (float)levels * (round % 4 == 0 ? -3.0f : 1.0f);
            label[i] = (uint8_t)(i > 1 ? next_random() % 5 == 0 : i);
        }
        us_metrics_clear(metrics);
        add(cut, score, label, NULL); /* two images pooled are one */
        add(n - cut, score + cut, label + cut, NULL);
        compare_with_plain(n, score, label);
    }
}

/* Every sign, exponent and mantissa sorts right. */
static void random_floats(void **state) {
    static float score[MANY];
    static uint8_t label[MANY];
    int i;
    (void)state;
    for (i = 0; i < MANY; i++) {
        uint32_t bits = (uint32_t)next_random();
        if ((bits & 0x7f800000u) == 0x7f800000u)
            bits = i % 2 ? 0x7f800000u : 0xff800000u;
        memcpy(&score[i], &bits, sizeof bits);
        label[i] = (uint8_t)(next_random() & 1);
    }
    add(MANY, score, label, NULL);
    assert_near(scores_of(0, 0).roc_auc, plain_roc(MANY, score, label));
}

static void large(int64_t n) {
    float *score = (float *)malloc((size_t)n * sizeof *score);
    uint8_t *label = (uint8_t *)malloc((size_t)n);
    double start, middle;
    int64_t i;
    assert_non_null(score);
    assert_non_null(label);
    for (i = 0; i < n; i++) {
        label[i] = next_random() % 8 == 0;
        score[i] = (float)((double)(next_random() >> 11) * 0x1p-53 * (label[i] ? 1.0 : 0.9));
    }
    start = us_clock();
    for (i = 0; i < 5; i++)
        add(n / 5, score + i * (n / 5), label + i * (n / 5), NULL);
    middle = us_clock();
    (void)scores_of(-1, 0.5);
    print_message("%lld pixels: added in %.3f s, pooled in %.3f s\n", (long long)n, middle - start,
                  us_clock() - middle);
    free(score);
    free(label);
}

static void thinned_curve(void **state) {
    static double x[1000], y[1000];
    static const int64_t sizes[] = {2, 3, 10, 100, 1000};
    int32_t curve;
    int k;
    int64_t i, n;
    (void)state;
    large(1500000);
    for (curve = 0; curve < 2; curve++)
        for (k = 0; k < US_COUNT(sizes); k++) {
            assert_int_equal(us_metrics_curve(metrics, curve, sizes[k], x, y, &n), 0);
            assert_in_range(n, 2, sizes[k]);
            assert_true(n >= sizes[k] * 9 / 10);
            assert_near(x[0], 0);
            assert_near(y[0], curve == UNETSTAR_CURVE_PR);
            assert_near(x[n - 1], 1);
            for (i = 1; i < n; i++) {
                assert_true(x[i] >= x[i - 1]);
                if (sizes[k] >= 10)
                    assert_true(x[i] - x[i - 1] <= 2.1 / (double)(sizes[k] - 1));
            }
        }
    /* the whole trapezoid area again, from 1000 points of ROC */
    assert_int_equal(us_metrics_curve(metrics, UNETSTAR_CURVE_ROC, 1000, x, y, &n), 0);
    {
        double area = 0;
        for (i = 1; i < n; i++)
            area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
        assert_true(fabs(area - scores_of(-1, 0.5).roc_auc) < 1e-3);
    }
}

/* The n-th allocation fails: an error, everything as before, and the same call works afterwards. */
static void lack_of_memory(void **state) {
    static const float score[] = {0.2f, 0.5f, 0.9f};
    static const uint8_t label[] = {1, 0, 1};
    unetstar_scores s;
    long n;
    int result = UNETSTAR_ENOMEM;
    us_metrics *other;
    (void)state;
    memory.fail_at = memory.calls + 1;
    assert_int_equal(us_metrics_create(&other, ctx), UNETSTAR_ENOMEM);
    assert_null(other);
    for (n = 1; result == UNETSTAR_ENOMEM && n < 50; n++) {
        const long live = memory.live;
        memory.fail_at = memory.calls + n;
        result = us_metrics_add(metrics, "a", 3, score, label, NULL);
        assert_int_equal(metrics->count, result ? 0 : 1);
        if (result)
            assert_in_range(memory.live - live, 0, 1); /* the table of images may stay */
    }
    assert_int_equal(result, 0);
    assert_in_range(n, 4, 10);
    result = UNETSTAR_ENOMEM;
    for (n = 1; result == UNETSTAR_ENOMEM && n < 50; n++) {
        const long live = memory.live;
        memory.fail_at = memory.calls + n;
        result = us_metrics_scores(metrics, -1, 0.5, &s);
        if (result)
            assert_int_equal(memory.live, live);
    }
    assert_int_equal(result, 0);
    assert_in_range(n, 4, 10);
    memory.fail_at = 0;
    assert_int_equal(s.true_positives, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(four_pixels),          TEST(every_ratio),   TEST(ties_count_half),
                                       TEST(perfect_and_reversed), TEST(equal_f1),      TEST(mask_leaves_out),
                                       TEST(one_class_only),       TEST(no_pixels),     TEST(bad_arguments),
                                       TEST(names_and_clear),      TEST(random_images), TEST(random_floats),
                                       TEST(thinned_curve),        TEST(lack_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
