/*
 * check_scalar.c - software fma against the instruction, exp and erf against the C library in double.
 */
#include "check.h"
#include "kern/scalar.h"

#include <math.h>

static float special(void) {
    static const uint32_t s[] = {0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x807fffff,
                                 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f800000, 0xbf800000,
                                 0x3f800001, 0x3f7fffff, 0x33800000, 0x34000000, 0x00800001, 0x7f000000, 0x00ffffff};

    return us_float(s[check_random() % (sizeof s / sizeof *s)]);
}

static float with_exponent(int lo, int hi) {
    return us_float((check_random() & 0x807fffffu) | (uint32_t)(check_range(lo, hi) + 127) << 23);
}

#if defined(__x86_64__) || defined(__aarch64__)
/* Triples where rounding is hard: c near a*b or near half an ulp of it, results at the edge of the denormals, few bits.
 */
static void hard_triple(float t[3], int kind) {
    switch (kind) {
    case 0:
        for (int i = 0; i < 3; i++)
            t[i] = us_float(check_random());
        return;
    case 1:
        for (int i = 0; i < 3; i++)
            t[i] = check_random() & 1 ? special() : us_float(check_random());
        return;
    case 2: /* cancellation */
        t[0] = with_exponent(-40, 40);
        t[1] = with_exponent(-40, 40);
        t[2] = us_float(us_bits(-(t[0] * t[1])) + (uint32_t)check_range(-2, 2));
        return;
    case 3: /* ties: few bits, c far below or above the product */
        for (int i = 0; i < 3; i++)
            t[i] = us_float(us_bits(with_exponent(-30, 30)) & 0xfff80000u);
        t[2] = ldexpf(t[2], check_range(-30, 30));
        return;
    case 4: /* denormal results */
        t[0] = with_exponent(-80, -60);
        t[1] = with_exponent(-80, -60);
        t[2] = with_exponent(-127, -120);
        return;
    default: /* overflow */
        t[0] = with_exponent(60, 66);
        t[1] = with_exponent(60, 66);
        t[2] = with_exponent(100, 127);
    }
}

static void check_fma(void) {
    const long n = 3000000;
    long bad = 0;

    for (long i = 0; i < n; i++) {
        float t[3], soft, hard;

        hard_triple(t, (int)(i % 6));
        soft = us_fma_soft(t[0], t[1], t[2]);
        hard = check_hard_fma(t[0], t[1], t[2]);
        if (us_bits(soft) != us_bits(hard) && (soft == soft || hard == hard))
            bad++;
    }
    check_that(bad == 0, "software fma: %ld of %ld differ from the instruction", bad, n);
}

static void check_fma_independence(void) {
    long bad = 0;

    for (int i = 0; i < 20000; i++) {
        float x[16], e[16], f[16];

        for (int j = 0; j < 16; j++)
            x[j] = i % 2 ? us_float(check_random()) : with_exponent(-8, 7);
        check_hard_exp_erf(e, f, x, 16);
        for (int j = 0; j < 16; j++) {
            const float e1 = us_expf(x[j]), f1 = us_erff(x[j]);

            bad += us_bits(e1) != us_bits(e[j]) && (e1 == e1 || e[j] == e[j]);
            bad += us_bits(f1) != us_bits(f[j]) && (f1 == f1 || f[j] == f[j]);
        }
    }
    check_that(bad == 0, "exp and erf: %ld values depend on hardware fma", bad);
}
#endif

/* Error in units of the last place of the correctly rounded result. */
static double ulps(float got, double want) {
    int e;

    if (want != want || got != got)
        return want != want && got != got ? 0 : INFINITY;
    if ((double)got == want || (float)want == got)
        return (double)got == want ? 0 : fabs(got - want) / ldexp(1, -149) < 1 ? 0 : 0.5;
    if (isinf(got) || fabs(want) > 0x1.fffffffp127)
        return INFINITY;
    frexp(want, &e);
    return fabs(got - want) / ldexp(1, e - 24 < -149 ? -149 : e - 24);
}

static void check_exp_erf(void) {
    double worst_exp = 0, worst_erf = 0, worst_silu = 0;
    float at_exp = 0, at_erf = 0;
    int ok;

    /* Every 997th float and its neighbours in the interesting exponents. */
    for (uint64_t u = 0x2f000000; u < 0x43000000; u += 997)
        for (int sign = 0; sign < 2; sign++) {
            const float x = us_float((uint32_t)u | (uint32_t)sign << 31);
            double e = ulps(us_expf(x), exp(x));

            if (e > worst_exp) {
                worst_exp = e;
                at_exp = x;
            }
            e = ulps(us_erff(x), erf(x));
            if (e > worst_erf) {
                worst_erf = e;
                at_erf = x;
            }
            if (fabsf(x) < 80) {
                const double s = x / (1 + exp(-(double)x));

                e = ulps(us_silu(x), s);
                worst_silu = e > worst_silu ? e : worst_silu;
            }
        }
    check_that(worst_exp <= 1.0, "exp: %.3f ulp at %a", worst_exp, (double)at_exp);
    check_that(worst_erf <= 1.5, "erf: %.3f ulp at %a", worst_erf, (double)at_erf);
    check_that(worst_silu <= 4.0, "silu: %.3f ulp", worst_silu);
    ok = isinf(us_expf(INFINITY)) && us_expf(-INFINITY) == 0 && us_expf(0) == 1 && us_expf(-0.0f) == 1 &&
         us_expf(NAN) != us_expf(NAN) && us_expf(1e30f) > 0x1.fffffep127f && us_expf(-1e30f) == 0;
    check_that(ok, "exp of the special values");
    ok = us_erff(INFINITY) == 1 && us_erff(-INFINITY) == -1 && us_bits(us_erff(-0.0f)) == 0x80000000u &&
         us_erff(NAN) != us_erff(NAN) && us_bits(us_erff(0.0f)) == 0;
    check_that(ok, "erf of the special values");
    ok = us_gelu(20.0f) == 20.0f && us_gelu(-20.0f) == 0 && us_gelu_slope(20.0f) == 1 && us_silu(100.0f) == 100.0f &&
         fabsf(us_gelu(1.0f) - 0.84134474607f) < 1e-7f && fabsf(us_gelu_slope(1.0f) - 1.08331547059f) < 2e-7f &&
         fabsf(us_silu_slope(1.0f) - 0.92767052f) < 2e-7f;
    check_that(ok, "gelu, silu and their slopes at known points");
}

void check_scalar(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma")) {
        check_fma();
        check_fma_independence();
    }
#elif defined(__aarch64__)
    check_fma();
    check_fma_independence();
#endif
    check_exp_erf();
}
