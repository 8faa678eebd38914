/*
 * test_number.c - numbers as text against the C library's, which is exact in glibc.
 * US_TEST_ROUNDS in the environment multiplies the number of random cases.
 */
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../api/part.h"
#include "base/base.h"

static uint64_t seed = 20240817;

static uint64_t next_random(void) {
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static long rounds(long n) {
    const char *text = getenv("US_TEST_ROUNDS");
    return (text ? n * atol(text) : n) / test_part();
}

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double parse(const char *text) {
    double value = 12345;
    if (us_number_parse(text, strlen(text), &value))
        fail_msg("refused: %s", text);
    return value;
}

static void check_parse(const char *text) {
    double want = strtod(text, NULL), got = parse(text);
    if (to_bits(want) != to_bits(got))
        fail_msg("%s read as %a, not %a", text, got, want);
}

static int count_digits(const char *text) {
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text == '0')
            zeros += n > 0;
        else if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        }
    }
    return n;
}

/* Could `digits` digits have been enough? Tries the nearest such number and its two neighbours. */
static int reads_back_with(double value, int digits) {
    char text[64], *mantissa_end;
    int step;
    for (step = -1; step <= 1; step++) {
        char whole[32], moved[64];
        long long number;
        snprintf(text, sizeof text, "%.*e", digits - 1, fabs(value));
        mantissa_end = strchr(text, 'e');
        whole[0] = text[0];
        memcpy(whole + 1, digits > 1 ? text + 2 : "", (size_t)(digits - 1));
        whole[digits] = 0;
        number = atoll(whole) + step;
        snprintf(moved, sizeof moved, "%llde%d", number, atoi(mantissa_end + 1) - (digits - 1));
        if (strtod(moved, NULL) == fabs(value))
            return 1;
    }
    return 0;
}

/* Reads back, is as short as can be, and is the nearest of that length to the value. */
static void check_format(double value) {
    char text[US_NUMBER_SIZE], nearest[64];
    int n;
    memset(text, 'x', sizeof text);
    us_number_format(text, value);
    assert_non_null(memchr(text, 0, sizeof text));
    if (to_bits(strtod(text, NULL)) != to_bits(value))
        fail_msg("%.17g written as %s", value, text);
    if (to_bits(parse(text)) != to_bits(value))
        fail_msg("%s does not read back", text);
    n = count_digits(text);
    if (value != 0 && n > 1 && reads_back_with(value, n - 1))
        fail_msg("%.17g written as %s, which is not the shortest", value, text);
    snprintf(nearest, sizeof nearest, "%.*e", US_MAX(n, 1) - 1, value);
    if (strtod(nearest, NULL) == value) { /* it may not, where the gap below the value is narrower than above */
        char ours[64];
        snprintf(ours, sizeof ours, "%.*e", US_MAX(n, 1) - 1, strtod(text, NULL));
        assert_string_equal(ours, nearest);
    }
}

static void format_known(void **state) {
    static const struct {
        double value;
        const char *text;
    } known[] = {{0.0, "0"},
                 {-0.0, "-0"},
                 {1, "1"},
                 {-1, "-1"},
                 {0.5, "0.5"},
                 {0.1, "0.1"},
                 {1.2e-07, "1.2e-07"},
                 {0.0001, "0.0001"},
                 {0.00001, "1e-05"},
                 {123456, "123456"},
                 {1e15, "1000000000000000"},
                 {1e16, "1e+16"},
                 {1e17, "1e+17"},
                 {9007199254740993.0, "9007199254740992"},
                 {0.3, "0.3"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {2.0 / 3, "0.6666666666666666"},
                 {5e-324, "5e-324"},
                 {2.2250738585072014e-308, "2.2250738585072014e-308"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {9.5367431640625e-07, "9.5367431640625e-07"},
                 {-1234.5, "-1234.5"},
                 {99.99, "99.99"},
                 {1e100, "1e+100"},
                 {1e23, "1e+23"},
                 {4503599627370495.5, "4503599627370495.5"},
                 {1089511848764688.25, "1089511848764688.2"}, /* a tie goes to the even digit */
                 {2037915937934449.75, "2037915937934449.8"},
                 {-2.2250738585072014e-308, "-2.2250738585072014e-308"}, /* the longest there is */
                 {NAN, "nan"},
                 {-NAN, "nan"},
                 {INFINITY, "inf"},
                 {-INFINITY, "-inf"}};
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(known); i++) {
        char text[US_NUMBER_SIZE];
        us_number_format(text, known[i].value);
        assert_string_equal(text, known[i].text);
    }
}

static void format_powers_of_two(void **state) {
    int e, near;
    (void)state;
    for (e = -1074; e <= 1023; e++)
        for (near = -2; near <= 2; near++) {
            uint64_t bits = to_bits(ldexp(1, e)) + (uint64_t)(int64_t)near;
            if (bits >> 63 == 0)
                check_format(from_bits(bits));
        }
}

static void format_powers_of_ten(void **state) {
    int e, near;
    (void)state;
    for (e = -323; e <= 308; e++) {
        char text[16];
        snprintf(text, sizeof text, "1e%d", e);
        for (near = -2; near <= 2; near++)
            check_format(from_bits(to_bits(strtod(text, NULL)) + (uint64_t)(int64_t)near));
    }
}

static void format_random(void **state) {
    long i, n = rounds(200000);
    (void)state;
    for (i = 0; i < n; i++) {
        uint64_t bits = next_random();
        double value;
        if (i % 8 == 0)
            bits &= 0x800fffffffffffffu >> (next_random() % 52); /* subnormal */
        if (i % 8 == 1)
            value = (double)(int64_t)(bits >> (next_random() % 64));
        else if (i % 8 == 2)
            value = (double)(bits % 1000000) / 1000.0;
        else if (i % 8 == 3)
            value = (double)(float)((double)(bits >> 11) * 0x1p-53);
        else
            value = from_bits(bits);
        if (value == value && value - value == 0)
            check_format(value);
    }
}

static void parse_known(void **state) {
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "0e5",
        "-0.000e-99999999999999999999",
        "1",
        "10",
        "1.5",
        "1e0",
        "1E+2",
        "1e-2",
        "123.456e10",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "4.9406564584124654e-324",
        "7.4109846876186981e-324",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "179769313486231580793e289",
        "1e309",
        "-1e400",
        "1e-400",
        "1e99999999999999999999999",
        "1e-99999999999999999999999",
        "9007199254740993",
        "9007199254740993.0000000000000000000000000000000000000000001",
        "9007199254740992.9999999999999999999999999999999999999999999",
        "9007199254740995",
        "6929495644600919.5",
        "3.518437208883201171875e13",
        "0.500000000000000166533453693773481063544750213623046875",
        "100000000000000016777215",
        "100000000000000016777216",
        "8.589973e9",
        "1.0000000000000001110223024625156540423631668090820312500000000000000000000000001"};
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(texts); i++)
        check_parse(texts[i]);
    assert_true(isnan(parse("nan")));
    assert_true(parse("inf") == INFINITY);
    assert_true(parse("-inf") == -INFINITY);
}

static void parse_refuses(void **state) {
    static const char *const texts[] = {"",     "-",    "+1",   ".5",    "5.",       "01",  "00",    "-01",  "1e",
                                        "1e+",  "1.e5", "0x10", " 1",    "1 ",       "1,5", "1_0",   "NaN",  "Inf",
                                        "-nan", "+inf", "infx", "na",    "infinity", "--1", "1.2.3", "1e5.", "1ee5",
                                        "e5",   "1f",   "1d",   "0x1p3", "1e 5",     "\t1"};
    static const char *const integers[] = {"",
                                           "-",
                                           "+1",
                                           "1.0",
                                           "1e3",
                                           "01",
                                           "-01",
                                           "00",
                                           " 1",
                                           "1 ",
                                           "0x1",
                                           "nan",
                                           "9223372036854775808",
                                           "-9223372036854775809",
                                           "92233720368547758070",
                                           "18446744073709551616",
                                           "99999999999999999999999999",
                                           "--1",
                                           "1-"};
    double value = 7;
    int64_t integer = 7;
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(texts); i++)
        if (us_number_parse(texts[i], strlen(texts[i]), &value) != -1 || value != 7)
            fail_msg("accepted: '%s'", texts[i]);
    for (i = 0; i < US_COUNT(integers); i++)
        if (us_integer_parse(integers[i], strlen(integers[i]), &integer) != -1 || integer != 7)
            fail_msg("accepted: '%s'", integers[i]);
    assert_int_equal(us_number_parse("1\0002", 3, &value), -1);
    assert_int_equal(us_integer_parse("1\0002", 3, &integer), -1);
}

static void parse_only_length(void **state) {
    double value;
    int64_t integer;
    (void)state;
    assert_int_equal(us_number_parse("12345", 2, &value), 0);
    assert_true(value == 12);
    assert_int_equal(us_number_parse("1.2e55", 5, &value), 0);
    assert_true(value == 1.2e5);
    assert_int_equal(us_integer_parse("12345", 3, &integer), 0);
    assert_int_equal(integer, 123);
}

static void parse_integers(void **state) {
    static const int64_t values[] = {0,
                                     1,
                                     -1,
                                     9,
                                     10,
                                     -10,
                                     INT64_MAX,
                                     INT64_MIN,
                                     INT64_MAX - 1,
                                     INT64_MIN + 1,
                                     922337203685477580,
                                     1000000000000000000};
    char text[32];
    int64_t got;
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(values) + 1000; i++) {
        int64_t want = i < US_COUNT(values) ? values[i] : (int64_t)next_random() >> (i % 64);
        snprintf(text, sizeof text, "%lld", (long long)want);
        assert_int_equal(us_integer_parse(text, strlen(text), &got), 0);
        assert_true(got == want);
    }
    assert_int_equal(us_integer_parse("-0", 2, &got), 0);
    assert_int_equal(got, 0);
}

static void parse_random(void **state) {
    long i, n = rounds(300000);
    (void)state;
    for (i = 0; i < n; i++) {
        char text[128];
        int digits = 1 + (int)(next_random() % 40), at = 0, d;
        if (next_random() & 1)
            text[at++] = '-';
        for (d = 0; d < digits; d++) {
            text[at++] = (char)('0' + next_random() % 10);
            if (d == 0 && text[at - 1] == '0')
                text[at - 1] = '3';
            if (d == digits / 2 && d + 1 < digits && (next_random() & 1) && !memchr(text, '.', (size_t)at))
                text[at++] = '.';
        }
        snprintf(text + at, sizeof text - (size_t)at, "e%d", (int)(next_random() % 700) - 360);
        check_parse(text);
    }
}

/* Exactly halfway between two doubles, and a hair to either side. long double holds the halfway point exactly. */
static void parse_halfway(void **state) {
    long i, n = rounds(4000);
    (void)state;
    if (LDBL_MANT_DIG < 64) {
        skip();
        return;
    }
    for (i = 0; i < n; i++) {
        char text[1400], *e, exponent[16];
        size_t length;
        uint64_t bits = next_random() & 0x7fffffffffffffffu;
        double low, high;
        if (i % 3 == 0)
            bits &= 0x000fffffffffffffu >> (next_random() % 52);
        if (i % 3 == 1)
            bits = (bits & 0x000fffffffffffffu) | (uint64_t)(1023 + (int)(next_random() % 120) - 60) << 52;
        low = from_bits(bits);
        high = from_bits(bits + 1);
        if (!(high - high == 0))
            continue;
        snprintf(text, sizeof text, "%.780Le", ((long double)low + (long double)high) / 2);
        check_parse(text);
        e = strchr(text, 'e');
        snprintf(exponent, sizeof exponent, "%s", e);
        length = (size_t)(e - text);
        memset(text + length, '0', 300);
        length += (size_t)(next_random() % 300);
        text[length] = '1'; /* a hair above, perhaps far behind the digits that are kept */
        snprintf(text + length + 1, sizeof text - length - 1, "%s", exponent);
        check_parse(text);
        assert_true(parse(text) == high);
        for (length = (size_t)(e - text) - 1; text[length] == '0'; length--)
            text[length] = '9';
        if (text[length] != '.') { /* a hair below */
            text[length]--;
            check_parse(text);
        }
    }
}

/* A million zeros or digits cost time in proportion and stay right. */
static void parse_long(void **state) {
    const size_t size = 1000000;
    char *text = (char *)malloc(size + 64);
    (void)state;
    assert_non_null(text);
    memset(text, '0', size);
    text[1] = '.';
    strcpy(text + size, "15e1000000");
    assert_true(parse(text) == strtod(text, NULL));
    assert_true(parse(text) == 15);
    memset(text, '7', size);
    strcpy(text + size, "e-999999");
    assert_true(parse(text) == 7.777777777777778);
    strcpy(text + size, "");
    assert_true(parse(text) == INFINITY);
    free(text);
}

/* Neither a decimal comma nor another rounding mode changes a byte. */
static void surroundings(void **state) {
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    double third = 1.0 / 3;
    int i;
    (void)state;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is installed */
    for (i = 0; i < US_COUNT(modes); i++) {
        char text[US_NUMBER_SIZE];
        double value = 0;
        int result;
        fesetround(modes[i]);
        us_number_format(text, third);
        result = us_number_parse("0.333333333333333333", 20, &value);
        fesetround(FE_TONEAREST);
        assert_string_equal(text, "0.3333333333333333");
        assert_int_equal(result, 0);
        assert_true(value == third);
    }
    setlocale(LC_ALL, "C");
}

/* The checker must be able to fail: it sees a digit too many and a digit too few. */
static void checker_sees(void **state) {
    (void)state;
    assert_true(reads_back_with(0.1, 1));
    assert_false(reads_back_with(0.1 + 0.2, 16));
    assert_int_equal(count_digits("-0.00120300e-07"), 4);
    assert_int_equal(count_digits("12000"), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checker_sees),  cmocka_unit_test(format_known),         cmocka_unit_test(format_powers_of_two),
        cmocka_unit_test(format_random), cmocka_unit_test(format_powers_of_ten), cmocka_unit_test(parse_known),
        cmocka_unit_test(parse_refuses), cmocka_unit_test(parse_only_length),    cmocka_unit_test(parse_integers),
        cmocka_unit_test(parse_random),  cmocka_unit_test(parse_halfway),        cmocka_unit_test(parse_long),
        cmocka_unit_test(surroundings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
