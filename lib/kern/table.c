/*
 * table.c - chooses the kernels. The build says which rungs exist (US_HAVE_*), the caller which of them may be used.
 */
#include "kern/levels.h"

int us_kernels_init(struct us_kernels *k, unsigned isa) {
    static const struct us_kernels none;

    *k = none;
    if (us_level_reference(k))
        return -1;
#ifdef US_HAVE_REFERENCE_FMA
    if ((isa & US_ISA_FMA) && us_level_reference_fma(k))
        return -1;
#endif
#ifdef US_HAVE_AVX2
    if ((isa & US_ISA_AVX2) && us_level_avx2(k))
        return -1;
#endif
#ifdef US_HAVE_AVX512
    if ((isa & US_ISA_AVX512) && us_level_avx512(k))
        return -1;
#endif
#ifdef US_HAVE_NEON
    if ((isa & US_ISA_NEON) && us_level_neon(k))
        return -1;
#endif
    (void)isa;
    return 0;
}
