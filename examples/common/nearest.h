/* nearest.h - "did you mean": the known word with the smallest edit distance to a mistyped one. */
#ifndef EXAMPLES_NEAREST_H
#define EXAMPLES_NEAREST_H

struct nearest {
    const char *word, *best; /* best: NULL while nothing is near enough */
    int distance;
};

void nearest_start(struct nearest *nearest, const char *word);
void nearest_offer(struct nearest *nearest, const char *candidate);

#endif
