/* cpu.c - what this CPU and this process can do. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "base/base.h"

#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* Which registers the operating system saves: without it the instructions exist but may not be used. */
static unsigned saved_state(void) {
    unsigned low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0)); /* xgetbv */
    return low;
}

unsigned us_cpu_isa(void) {
    const unsigned ymm = 0x6, zmm = 0xe6;
    unsigned a, b, c, d, state, isa = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    if (!(c & (1u << 27)) || !(c & (1u << 28))) /* OSXSAVE, AVX */
        return 0;
    state = saved_state();
    if ((state & ymm) != ymm || !(c & (1u << 12))) /* FMA */
        return 0;
    isa = US_ISA_FMA;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
        return isa;
    isa |= US_ISA_AVX2;
    /* F, DQ, BW, VL */
    if ((state & zmm) == zmm && (b & (1u << 16)) && (b & (1u << 17)) && (b & (1u << 30)) && (b & (1u << 31)))
        isa |= US_ISA_AVX512;
    return isa;
}
#elif defined(__aarch64__)
unsigned us_cpu_isa(void) {
    return US_ISA_FMA | US_ISA_NEON; /* part of the base architecture */
}
#else
unsigned us_cpu_isa(void) {
    return 0;
}
#endif

int us_cpu_count(void) {
    long n;
#if defined(__linux__)
    cpu_set_t set; /* the affinity mask, so that containers and taskset are respected */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
    n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

double us_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
