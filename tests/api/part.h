/*
 * part.h - UNETSTAR_TEST_PART=N in the environment: of long lists of cases take every N-th only. The first build runs all of
 * them; builds that look for something else (sanitizers, another compiler) need a sample.
 */
#ifndef TEST_PART_H
#define TEST_PART_H

#include <stdlib.h>

static int test_part(void) {
    const char *text = getenv("UNETSTAR_TEST_PART");
    const int part = text ? atoi(text) : 1;
    return part > 1 ? part : 1;
}

/* Whether case number k of a list is left out; scattered, so that no period of the list is missed. */
static __attribute__((unused)) int test_skips(int k) {
    return ((unsigned)k * 2654435761u >> 16) % (unsigned)test_part() != 0;
}

#endif
