/* peak_loop.h - the loop of one instruction set; included once for each, with these macros defined:
 *   PEAK_NAME, PEAK_TARGET (function attribute), PEAK_VECTOR (type), PEAK_LANES, PEAK_CHAINS (list of chains),
 *   PEAK_COUNT (their number), PEAK_LOAD(p), PEAK_STORE(p, v), PEAK_STEP(c, a, b) (c * a + b)
 *
 * Every chain begins with a value from memory and ends in memory, so that no compiler can merge or drop one. */
#define LOAD_CHAIN(i) PEAK_VECTOR c##i = PEAK_LOAD(values + i * PEAK_LANES);
#define STEP_CHAIN(i) c##i = PEAK_STEP(c##i, a, b);
#define STORE_CHAIN(i) PEAK_STORE(values + i * PEAK_LANES, c##i);

PEAK_TARGET static void PEAK_NAME(float *values, int64_t turns) {
    const PEAK_VECTOR a = PEAK_LOAD(values + PEAK_COUNT * PEAK_LANES);
    const PEAK_VECTOR b = PEAK_LOAD(values + (PEAK_COUNT + 1) * PEAK_LANES);
    PEAK_CHAINS(LOAD_CHAIN)
    for (; turns > 0; turns--) {
        PEAK_CHAINS(STEP_CHAIN)
    }
    PEAK_CHAINS(STORE_CHAIN)
}

#undef LOAD_CHAIN
#undef STEP_CHAIN
#undef STORE_CHAIN
#undef PEAK_NAME
#undef PEAK_TARGET
#undef PEAK_VECTOR
#undef PEAK_LANES
#undef PEAK_CHAINS
#undef PEAK_COUNT
#undef PEAK_LOAD
#undef PEAK_STORE
#undef PEAK_STEP
