#include "nearest.h"

#include <string.h>

enum { LONGEST = 63 };

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b. */
static int edit_distance(const char *a, const char *b) {
    int row[3][LONGEST + 1];
    int i, j, n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (j = 0; j <= m; j++)
        row[0][j] = j;
    for (i = 1; i <= n; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = i;
        for (j = 1; j <= m; j++) {
            int best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

void nearest_start(struct nearest *nearest, const char *word) {
    int length = (int)strlen(word);
    nearest->word = word;
    nearest->best = NULL;
    /* One mistake more than this and the suggestion would be a guess. */
    nearest->distance = 1 + (length < 4 ? 1 : length < 8 ? 2 : 3);
}

void nearest_offer(struct nearest *nearest, const char *candidate) {
    int distance = edit_distance(nearest->word, candidate);
    size_t length = strlen(nearest->word);
    /* The beginning of a name, as in --thr, is as good as one mistake. */
    if (length >= 3 && !strncmp(nearest->word, candidate, length) && distance > 1)
        distance = 1;
    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = candidate;
    }
}
