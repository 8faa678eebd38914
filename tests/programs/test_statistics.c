/* test_statistics.c - means, bootstrap and areas from histograms against cases worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/statistics.h"

static void close_to(double value, double wanted, double tolerance) {
    if (!(fabs(value - wanted) <= tolerance))
        fail_msg("%.17g instead of %.17g", value, wanted);
}

static void means(void **state) {
    static const double values[] = {2, 4, 4, 4, 5, 5, 7, 9}, gaps[] = {1, NAN, 3, INFINITY};
    struct summary summary = summarise(values, 8);
    assert_int_equal(summary.count, 8);
    close_to(summary.mean, 5, 0);
    close_to(summary.deviation, sqrt(32.0 / 7), 1e-15);
    summary = summarise(gaps, 4);
    assert_int_equal(summary.count, 2);
    close_to(summary.mean, 2, 0);
    close_to(summary.deviation, sqrt(2), 1e-15);
    summary = summarise(values, 1);
    close_to(summary.mean, 2, 0);
    assert_true(isnan(summary.deviation));
    assert_true(isnan(summarise(values, 0).mean));
}

/* The means of all drawings are known: {0, 1} gives 0, 1/2, 1 with chances 1/4, 1/2, 1/4; {0, 0, 3} gives 0, 1, 2, 3
 * with 8, 12, 6, 1 out of 27. 10,000 resamples come nearer than the distance to the next step. */
static void intervals(void **state) {
    static const double one[] = {0.25}, two[] = {0, 1}, three[] = {0, 0, 3}, mixed[] = {-1, 2, 0, NAN, 3};
    struct paired paired = paired_bootstrap(one, 1, 1000, 0.95, 7);
    close_to(paired.low, 0.25, 0);
    close_to(paired.high, 0.25, 0);
    paired = paired_bootstrap(two, 2, 10000, 0.95, 7);
    close_to(paired.mean, 0.5, 0);
    close_to(paired.low, 0, 0);
    close_to(paired.high, 1, 0);
    paired = paired_bootstrap(two, 2, 10000, 0.4, 7); /* from 0.3 to 0.7 */
    close_to(paired.low, 0.5, 0);
    close_to(paired.high, 0.5, 0);
    paired = paired_bootstrap(three, 3, 10000, 0.95, 7); /* up to 0.975; the last step begins at 26/27 = 0.963 */
    close_to(paired.low, 0, 0);
    close_to(paired.high, 3, 0);
    paired = paired_bootstrap(three, 3, 10000, 0.9, 7); /* up to 0.95 */
    close_to(paired.high, 2, 0);
    paired = paired_bootstrap(three, 3, 10000, 0.2, 7); /* from 0.4 to 0.6; 0 ends at 0.296, 1 at 0.741 */
    close_to(paired.low, 1, 0);
    close_to(paired.high, 1, 0);
    paired = paired_bootstrap(mixed, 5, 1000, 0.95, 7);
    assert_int_equal(paired.count, 4);
    assert_int_equal(paired.wins, 2);
    assert_int_equal(paired.losses, 1);
    close_to(paired.mean, 1, 0);
    paired = paired_bootstrap(mixed + 3, 1, 1000, 0.95, 7);
    assert_int_equal(paired.count, 0);
    assert_true(isnan(paired.mean) && isnan(paired.low) && isnan(paired.high));
}

/* The normal approximation of many pairs: 1.96 standard errors; and the seed alone decides. */
static void large_interval(void **state) {
    double values[400], spread;
    struct paired first, again, other;
    int i;
    for (i = 0; i < 400; i++)
        values[i] = (double)(i * 37 % 400) / 400;
    spread = 1.96 * summarise(values, 400).deviation / 20;
    first = paired_bootstrap(values, 400, BOOTSTRAP_RESAMPLES, 0.95, 1);
    again = paired_bootstrap(values, 400, BOOTSTRAP_RESAMPLES, 0.95, 1);
    other = paired_bootstrap(values, 400, BOOTSTRAP_RESAMPLES, 0.95, 2);
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(first.low < other.low || first.low > other.low);
    close_to(first.low, first.mean - spread, 0.05 * spread);
    close_to(first.high, first.mean + spread, 0.05 * spread);
}

static void bins(void **state) {
    float p;
    int before = -1, bin;
    for (p = 0; p <= 1; p += 1.0f / 4096) {
        bin = score_bin(p);
        assert_true(bin >= before && bin < SCORE_BINS);
        assert_true((bin >= SCORE_BINS / 2) == (p >= 0.5f));
        before = bin;
    }
    assert_int_equal(score_bin(0), 0);
    assert_int_equal(score_bin(-1), 0);
    assert_int_equal(score_bin(NAN), 0);
    assert_int_equal(score_bin(1e-30f), 0);
    assert_int_equal(score_bin(1), SCORE_BINS - 1);
    assert_int_equal(score_bin(2), SCORE_BINS - 1);
    assert_int_equal(score_bin(0.99999994f), SCORE_BINS - 1 - score_bin(5.9604645e-8f));
    assert_int_equal(score_bin(0.25f), SCORE_BINS / 2 - SCORE_FINE_STEPS);
    assert_int_equal(score_bin(0.125f), SCORE_BINS / 2 - 2 * SCORE_FINE_STEPS);
    assert_int_equal(score_bin(0.015625f), SCORE_COARSE_OCTAVES * SCORE_COARSE_STEPS);         /* 2^-6 */
    assert_int_equal(score_bin(0.0146484375f), SCORE_COARSE_OCTAVES * SCORE_COARSE_STEPS - 1); /* 1.875 * 2^-7 */
    assert_int_equal(score_bin(1.1920929e-7f), 0);                                             /* 2^-23 */
    assert_int_equal(score_bin(2.3841858e-7f), SCORE_COARSE_STEPS);                            /* 2^-22 */
}

/* Scores .9 (vessel), .7 (one of each), .3 (vessel), .1 (two background): of 3 x 3 pairs 7.5 are in order. Precision
 * falls 1, 2/3, 3/4, 1/2 while recall rises 1/3, 2/3, 1, 1. */
static void areas(void **state) {
    static struct score_histogram histogram, twice;
    double x[SCORE_BINS + 1], y[SCORE_BINS + 1];
    struct areas seen;
    size_t n;
    memset(&histogram, 0, sizeof histogram);
    assert_true(isnan(histogram_areas(&histogram).roc));
    assert_int_equal(histogram_curve(&histogram, 1, x, y), 0);
    histogram.vessel[score_bin(0.9f)]++;
    histogram.vessel[score_bin(0.7f)]++;
    histogram.vessel[score_bin(0.3f)]++;
    histogram.background[score_bin(0.7f)]++;
    histogram.background[score_bin(0.1f)] += 2;
    seen = histogram_areas(&histogram);
    close_to(seen.roc, 7.5 / 9, 1e-15);
    close_to(seen.average_precision, (1 + 2.0 / 3 + 0.75) / 3, 1e-15);
    close_to(seen.pr, (1 + (1 + 2.0 / 3) / 2 + (2.0 / 3 + 0.75) / 2) / 3, 1e-15);
    n = histogram_curve(&histogram, 1, x, y);
    assert_int_equal(n, 5);
    close_to(x[2], 1.0 / 3, 1e-15);
    close_to(y[2], 2.0 / 3, 1e-15);
    n = histogram_curve(&histogram, 0, x, y);
    assert_int_equal(n, 5);
    close_to(y[0], 1, 0);
    close_to(x[4], 1, 0);
    close_to(y[4], 0.5, 0);
    memset(&twice, 0, sizeof twice);
    histogram_add(&twice, &histogram);
    histogram_add(&twice, &histogram);
    close_to(histogram_areas(&twice).roc, seen.roc, 1e-15);
    assert_int_equal(twice.background[score_bin(0.1f)], 4);
}

/* Two sets whose scores crowd into few bins, as of a network that has learned little; the second begins a third
 * higher. Pooled areas against counting all pairs. */
enum { CROWD = 600 };
static int vessel_at(int set, int i) {
    return (i * 7919 + set * 31) % 1000 < 150 + i / 2;
}

static double pairs_in_order(int low, int high) {
    double right = 0, pairs = 0;
    int a, b;
    for (a = low * CROWD; a < high * CROWD; a++)
        for (b = low * CROWD; b < high * CROWD; b++)
            if (vessel_at(a / CROWD, a % CROWD) && !vessel_at(b / CROWD, b % CROWD)) {
                int x = a % CROWD + a / CROWD * 200, y = b % CROWD + b / CROWD * 200;
                right += x > y ? 1 : x == y ? 0.5 : 0;
                pairs++;
            }
    return right / pairs;
}

static void pooled(void **state) {
    static struct score_histogram histograms[2], both;
    struct measured sets[2];
    struct areas exact = {0.9, 0.8, 0.7}, seen;
    double wanted = pairs_in_order(0, 2), plain;
    int set, i;
    memset(histograms, 0, sizeof histograms);
    memset(&both, 0, sizeof both);
    for (set = 0; set < 2; set++) {
        for (i = 0; i < CROWD; i++) {
            int bin = score_bin((float)(30000 + 4 * (i + set * 200)) / 1e5f);
            (vessel_at(set, i) ? histograms[set].vessel : histograms[set].background)[bin]++;
        }
        histogram_add(&both, &histograms[set]);
        sets[set].histogram = &histograms[set];
        sets[set].exact = exact;
        sets[set].exact.roc = pairs_in_order(set, set + 1);
    }
    seen = pooled_areas(sets, 2);
    plain = fabs(histogram_areas(&both).roc - wanted);
    assert_true(plain > 5e-4);
    close_to(seen.roc, wanted, 0.35 * plain);
    sets[0].exact = exact;
    seen = pooled_areas(sets, 1);
    close_to(seen.roc, 0.9, 1e-12);
    close_to(seen.pr, 0.8, 1e-12);
    close_to(seen.average_precision, 0.7, 1e-12);
}

static void json(void **state) {
    static const char good[] = " {\"a\": [1, -2.5e3, null, true], \"b\\u00e9\\n\": {\"c\": \"d\\\\\"}, \"e\": []} ";
    static const char *const bad[] = {"",      "{",       "[1,]",    "{\"a\" 1}", "{\"a\":1,}", "[1 2]", "nul",
                                      "\"abc", "[1e999]", "\"\\x\"", "[1] 2",     "1.2.3",      "{1:2}", "\"a\\"};
    struct problem problem;
    struct json root;
    char deep[201];
    size_t i;
    assert_int_equal(json_parse(&root, good, strlen(good), &problem), 0);
    assert_int_equal(json_list_of(&root, "a")->count, 4);
    close_to(json_list_of(&root, "a")->items[1].number, -2500, 0);
    assert_string_equal(json_text_of(json_get(&root, "b\xc3\xa9\n"), "c"), "d\\");
    assert_int_equal(json_list_of(&root, "e")->count, 0);
    assert_true(isnan(json_number_of(&root, "a")) && isnan(json_number_of(&root, "none")));
    json_free(&root);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(json_parse(&root, bad[i], strlen(bad[i]), &problem), -1);
    memset(deep, '[', 200);
    assert_int_equal(json_parse(&root, deep, 200, &problem), -1);
    for (i = 0; i < strlen(good) - 2; i++) /* cut anywhere it is none */
        assert_int_equal(json_parse(&root, good, i, &problem), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means), cmocka_unit_test(intervals), cmocka_unit_test(large_interval), cmocka_unit_test(bins),
        cmocka_unit_test(areas), cmocka_unit_test(pooled),    cmocka_unit_test(json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
