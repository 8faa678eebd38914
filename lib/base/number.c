/*
 * number.c - numbers as text. Integers only: neither the locale nor the rounding mode of the caller can change a
 * result.
 *
 * Writing is the free-format algorithm of Steele and White with the fixes of Burger and Dybvig ("Printing
 * floating-point numbers quickly and accurately", 1996): digits of value = r / s are taken until what is left is inside
 * the interval that reads back as value. Reading divides two exact big integers to 64 bits and one sticky bit, and
 * rounds once.
 */
#include "base/base.h"

#include <string.h>

/* ---- Big unsigned integers: as large as the longest number below needs, about 2,700 bits ---- */

#define BIG_WORDS 96
struct big {
    int n; /* words in use; the top one is not 0 */
    uint32_t word[BIG_WORDS];
};

static void big_set(struct big *a, uint64_t value) {
    a->n = value >> 32 ? 2 : value ? 1 : 0;
    a->word[0] = (uint32_t)value;
    a->word[1] = (uint32_t)(value >> 32);
}

/* a = a * factor + add */
static void big_mul(struct big *a, uint32_t factor, uint32_t add) {
    uint64_t carry = add;
    int i;
    for (i = 0; i < a->n; i++) {
        carry += (uint64_t)a->word[i] * factor;
        a->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        a->word[a->n++] = (uint32_t)carry;
}

static void big_mul_pow5(struct big *a, int exponent) {
    for (; exponent >= 13; exponent -= 13)
        big_mul(a, 1220703125u, 0); /* 5^13 */
    for (; exponent > 0; exponent--)
        big_mul(a, 5, 0);
}

static void big_shift(struct big *a, int bits) {
    int words = bits / 32, i;
    if (a->n == 0)
        return;
    if (bits % 32)
        big_mul(a, (uint32_t)1 << bits % 32, 0);
    if (words) {
        for (i = a->n - 1; i >= 0; i--)
            a->word[i + words] = a->word[i];
        for (i = 0; i < words; i++)
            a->word[i] = 0;
        a->n += words;
    }
}

static void big_mul_pow10(struct big *a, int exponent) {
    big_mul_pow5(a, exponent);
    big_shift(a, exponent);
}

static int big_bits(const struct big *a) {
    uint32_t top = a->n ? a->word[a->n - 1] : 0;
    int bits = 32 * US_MAX(a->n - 1, 0);
    for (; top; top >>= 1)
        bits++;
    return bits;
}

static int big_compare(const struct big *a, const struct big *b) {
    int i;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (i = a->n - 1; i >= 0; i--)
        if (a->word[i] != b->word[i])
            return a->word[i] < b->word[i] ? -1 : 1;
    return 0;
}

static void big_add(struct big *a, const struct big *b) {
    uint64_t carry = 0;
    int i, n = US_MAX(a->n, b->n);
    for (i = 0; i < n; i++) {
        carry += (uint64_t)(i < a->n ? a->word[i] : 0) + (i < b->n ? b->word[i] : 0);
        a->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    a->n = n;
    if (carry)
        a->word[a->n++] = 1;
}

/* a -= b, a >= b */
static void big_subtract(struct big *a, const struct big *b) {
    uint64_t borrow = 0;
    int i;
    for (i = 0; i < a->n; i++) {
        borrow = (uint64_t)a->word[i] - (i < b->n ? b->word[i] : 0) - borrow;
        a->word[i] = (uint32_t)borrow;
        borrow = borrow >> 63;
    }
    while (a->n && a->word[a->n - 1] == 0)
        a->n--;
}

/* Sign of a + b - c. */
static int big_compare_sum(const struct big *a, const struct big *b, const struct big *c) {
    struct big sum = *a;
    big_add(&sum, b);
    return big_compare(&sum, c);
}

/* ---- Writing ---- */

#define MAX_DIGITS 17

/* value = r / s; above and below: half the gap to the next double on either side, times s. */
struct digits {
    struct big r, s, above, below;
    int even; /* the ends of the interval read back as value too */
};

static void digits_begin(struct digits *d, uint64_t mantissa, int exponent, int lowest_of_binade) {
    int up = US_MAX(exponent, 0), down = US_MAX(-exponent, 0), wide = lowest_of_binade ? 2 : 1;
    d->even = !(mantissa & 1);
    big_set(&d->r, mantissa);
    big_shift(&d->r, up + wide);
    big_set(&d->s, 1);
    big_shift(&d->s, down + wide);
    big_set(&d->above, 1);
    big_shift(&d->above, up + wide - 1);
    big_set(&d->below, 1);
    big_shift(&d->below, up);
}

static void digits_times_ten(struct digits *d) {
    big_mul(&d->r, 10, 0);
    big_mul(&d->above, 10, 0);
    big_mul(&d->below, 10, 0);
}

/* Has the upper end of the interval reached s? */
static int digits_high(const struct digits *d) {
    int sign = big_compare_sum(&d->r, &d->above, &d->s);
    return d->even ? sign >= 0 : sign > 0;
}

static int digits_low(const struct digits *d) {
    int sign = big_compare(&d->r, &d->below);
    return d->even ? sign <= 0 : sign < 0;
}

/* Scales so that the first digit is the integer part of 10 r / s; returns the position k of the point, 0.ddd * 10^k. */
static int digits_scale(struct digits *d, int top_bit) {
    int k = (int)(top_bit * 30103L / 100000); /* near log10 of the value; the loops below mend it */
    if (k > 0)
        big_mul_pow10(&d->s, k);
    if (k < 0) {
        big_mul_pow10(&d->r, -k);
        big_mul_pow10(&d->above, -k);
        big_mul_pow10(&d->below, -k);
    }
    for (; digits_high(d); k++)
        big_mul(&d->s, 10, 0);
    for (;; k--) {
        struct digits next = *d;
        digits_times_ten(&next);
        if (digits_high(&next))
            return k;
        *d = next;
    }
}

/* Is what is left more than half a digit? A tie goes to the even digit. */
static int digits_round_up(const struct digits *d, int digit) {
    const int sign = big_compare_sum(&d->r, &d->r, &d->s);
    return sign > 0 || (sign == 0 && (digit & 1));
}

/* Writes the digits to text and returns their number. */
static int digits_take(struct digits *d, char *text) {
    int n = 0, low, high;
    do {
        int digit = 0;
        digits_times_ten(d);
        for (; big_compare(&d->r, &d->s) >= 0; digit++)
            big_subtract(&d->r, &d->s);
        low = digits_low(d);
        high = digits_high(d);
        if (high && (!low || digits_round_up(d, digit)))
            digit++; /* at most 9: a carry would mean that the digit before could have been the last */
        text[n++] = (char)('0' + digit);
    } while (!low && !high && n < MAX_DIGITS);
    return n;
}

static char *append(char *out, const char *text, int n) {
    memcpy(out, text, (size_t)n);
    return out + n;
}

static char *append_zeros(char *out, int n) {
    memset(out, '0', (size_t)n);
    return out + n;
}

static char *append_exponent(char *out, int exponent) {
    int size = exponent < 0 ? -exponent : exponent;
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    if (size >= 100)
        *out++ = (char)('0' + size / 100);
    *out++ = (char)('0' + size / 10 % 10);
    *out++ = (char)('0' + size % 10);
    return out;
}

/* Lays out 0.ddd * 10^point as Python's repr does, but without ".0" behind whole numbers. */
static void layout(char *out, const char *text, int n, int point) {
    if (point < -3 || point > 16) {
        *out++ = text[0];
        if (n > 1) {
            *out++ = '.';
            out = append(out, text + 1, n - 1);
        }
        out = append_exponent(out, point - 1);
    } else if (point <= 0) {
        out = append(out, "0.", 2);
        out = append_zeros(out, -point);
        out = append(out, text, n);
    } else if (point >= n) {
        out = append(out, text, n);
        out = append_zeros(out, point - n);
    } else {
        out = append(out, text, point);
        *out++ = '.';
        out = append(out, text + point, n - point);
    }
    *out = 0;
}

void us_number_format(char out[US_NUMBER_SIZE], double value) {
    struct digits d;
    char text[MAX_DIGITS];
    uint64_t bits, mantissa;
    int exponent, point, top;
    memcpy(&bits, &value, sizeof bits);
    mantissa = bits & 0x000fffffffffffffu;
    exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent == 0x7ff && mantissa) {
        strcpy(out, "nan");
        return;
    }
    if (bits >> 63)
        *out++ = '-';
    if (exponent == 0x7ff || (!exponent && !mantissa)) {
        strcpy(out, exponent ? "inf" : "0");
        return;
    }
    if (exponent)
        digits_begin(&d, mantissa | (uint64_t)1 << 52, exponent - 1075, mantissa == 0 && exponent > 1);
    else
        digits_begin(&d, mantissa, -1074, 0);
    top = big_bits(&d.r) - big_bits(&d.s);
    point = digits_scale(&d, top);
    layout(out, text, digits_take(&d, text), point);
}

/* ---- Reading ---- */

/* A point halfway between two doubles has at most 768 digits; of digits behind these only "was one not 0" matters. */
#define SIGNIFICANT 800
/* Positions and exponents are counted exactly up to here, far beyond any text and any double. */
#define FAR ((int64_t)1 << 60)

struct decimal {
    int negative;
    int n;         /* digits kept, the first not 0; 0: the number is 0 */
    int sticky;    /* a digit not 0 was left out */
    int64_t point; /* value = 0.ddd * 10^point */
    char digit[SIGNIFICANT];
};

static int is_digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

static void decimal_digit(struct decimal *d, char c) {
    if (d->n < SIGNIFICANT)
        d->digit[d->n++] = c;
    else if (c != '0')
        d->sticky = 1;
}

static const char *read_whole(struct decimal *d, const char *at, const char *end) {
    if (at < end && *at == '0')
        return at + 1; /* no digit may follow */
    for (; is_digit(at, end); at++) {
        decimal_digit(d, *at);
        d->point++;
    }
    return at;
}

static const char *read_fraction(struct decimal *d, const char *at, const char *end) {
    for (; is_digit(at, end); at++) {
        if (d->n == 0 && *at == '0')
            d->point--;
        else
            decimal_digit(d, *at);
    }
    return at;
}

static const char *read_exponent(int64_t *exponent, const char *at, const char *end) {
    int negative = 0;
    int64_t size = 0;
    if (at < end && (*at == '+' || *at == '-'))
        negative = *at++ == '-';
    if (!is_digit(at, end))
        return NULL;
    for (; is_digit(at, end); at++)
        size = size > FAR / 16 ? FAR : size * 10 + (*at - '0');
    *exponent = negative ? -size : size;
    return at;
}

/* JSON's grammar of numbers. 0, or -1. */
static int decimal_read(struct decimal *d, const char *at, const char *end) {
    int64_t exponent = 0;
    d->negative = d->n = d->sticky = 0;
    d->point = 0;
    if (at < end && *at == '-') {
        d->negative = 1;
        at++;
    }
    if (!is_digit(at, end))
        return -1;
    at = read_whole(d, at, end);
    if (at < end && *at == '.') {
        if (!is_digit(at + 1, end))
            return -1;
        at = read_fraction(d, at + 1, end);
    }
    if (at < end && (*at == 'e' || *at == 'E'))
        at = read_exponent(&exponent, at + 1, end);
    if (!at || at != end)
        return -1;
    d->point += exponent;
    return 0;
}

/* quotient * 2^(top - 63), quotient in [2^63, 2^64), and whether anything was cut off, as the bits of the nearest
 * double. */
static uint64_t round_to_bits(uint64_t quotient, int sticky, int top) {
    int drop = top < -1022 ? 11 + (-1022 - top) : 11;
    const uint64_t half = (uint64_t)1 << 63;
    uint64_t mantissa, rest;
    if (top > 1023)
        return (uint64_t)0x7ff << 52;
    if (drop > 64)
        return 0;
    mantissa = drop < 64 ? quotient >> drop : 0;
    rest = drop < 64 ? quotient << (64 - drop) : quotient;
    if (rest > half || (rest == half && (sticky || (mantissa & 1))))
        mantissa++;
    /* a carry out of the mantissa raises the exponent, from subnormal to normal and from the largest to infinity */
    return top < -1022 ? mantissa : ((uint64_t)(top + 1022) << 52) + mantissa;
}

/* numerator / denominator * 2^exponent, both not 0. */
static uint64_t divide_to_bits(struct big *numerator, struct big *denominator, int exponent) {
    int shift = big_bits(numerator) - big_bits(denominator), i;
    uint64_t quotient = 0;
    if (shift > 0)
        big_shift(denominator, shift);
    else
        big_shift(numerator, -shift);
    if (big_compare(numerator, denominator) < 0) {
        big_mul(numerator, 2, 0);
        shift--;
    }
    for (i = 0; i < 64; i++) {
        quotient <<= 1;
        if (big_compare(numerator, denominator) >= 0) {
            big_subtract(numerator, denominator);
            quotient |= 1;
        }
        big_mul(numerator, 2, 0);
    }
    return round_to_bits(quotient, numerator->n > 0, exponent + shift);
}

static uint64_t decimal_to_bits(const struct decimal *d) {
    struct big numerator, denominator;
    int exponent, i;
    if (d->n == 0 || d->point < -323) /* below 10^-324, less than half the smallest double */
        return 0;
    if (d->point > 309)
        return (uint64_t)0x7ff << 52;
    big_set(&numerator, 0);
    for (i = 0; i < d->n; i++)
        big_mul(&numerator, 10, (uint32_t)(d->digit[i] - '0'));
    exponent = (int)d->point - d->n;
    if (d->sticky) {
        big_mul(&numerator, 10, 1);
        exponent--;
    }
    big_set(&denominator, 1);
    big_mul_pow5(exponent < 0 ? &denominator : &numerator, exponent < 0 ? -exponent : exponent);
    return divide_to_bits(&numerator, &denominator, exponent);
}

static int is_word(const char *text, size_t length, const char *word) {
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

int us_number_parse(const char *text, size_t length, double *value) {
    struct decimal d;
    uint64_t bits;
    if (is_word(text, length, "nan")) {
        bits = 0x7ff8000000000000u;
    } else if (is_word(text, length, "inf") || is_word(text, length, "-inf")) {
        bits = (uint64_t)(*text == '-' ? 0xfff : 0x7ff) << 52;
    } else {
        if (decimal_read(&d, text, text + length))
            return -1;
        bits = decimal_to_bits(&d) | (uint64_t)d.negative << 63;
    }
    memcpy(value, &bits, sizeof bits);
    return 0;
}

int us_integer_parse(const char *text, size_t length, int64_t *value) {
    const char *at = text, *end = text + length;
    const int negative = at < end && *at == '-';
    const uint64_t limit = (uint64_t)INT64_MAX + (uint64_t)negative;
    uint64_t size = 0;
    at += negative;
    if (!is_digit(at, end) || (*at == '0' && at + 1 != end))
        return -1;
    for (; is_digit(at, end); at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (size > (limit - digit) / 10)
            return -1;
        size = size * 10 + digit;
    }
    if (at != end)
        return -1;
    *value = negative ? (size ? -(int64_t)(size - 1) - 1 : 0) : (int64_t)size;
    return 0;
}
