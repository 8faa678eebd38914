/*
 * avx512_emulated.c - lib/kern/avx512.c over SIMDe, so that its tiles and trees are checked on any CPU with AVX2.
 */
#define SIMDE_ENABLE_NATIVE_ALIASES
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "check.h"

#define US_EMULATED_AVX512
#define us_level_avx512 us_level_avx512_emulated
#include "../../lib/kern/avx512.c"
