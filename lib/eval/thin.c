/*
 * thin.c - lines one pixel wide in the middle of shapes: the thinning A1 of Guo and Hall (Parallel thinning with
 * two-subiteration algorithms, Communications of the ACM 32(3), 1989, 359-373), 64 pixels at a time.
 *
 * It keeps the number of 8-connected components (a 2 x 2 block becomes one pixel, where the thinning of Zhang and Suen
 * loses it) and of holes. There is nothing to round and no order of visits: whether a pixel goes depends on its eight
 * neighbours before the pass. scikit-image calls it thin.
 */
#include "eval/eval_internal.h"

#include <string.h>

/* In each bit: how many of four are set. */
static uint64_t two_or_more(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return (a & b) | (c & d) | ((a | b) & (c | d));
}

static uint64_t just_one(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return (a | b | c | d) & ~two_or_more(a, b, c, d);
}

/* The right and left neighbours of the pixels of word k; pixel x is bit x % 64 of word x / 64. */
static uint64_t east_of(const uint64_t *row, int64_t k, int64_t words) {
    return row[k] >> 1 | (k + 1 < words ? row[k + 1] << 63 : 0);
}

static uint64_t west_of(const uint64_t *row, int64_t k) {
    return row[k] << 1 | (k > 0 ? row[k - 1] >> 63 : 0);
}

/* The pixels of word k that one half of an iteration takes away: 0 from the east, 1 from the west. */
static uint64_t removable(const uint64_t *above, const uint64_t *row, const uint64_t *below, int64_t k, int64_t words,
                          int half) {
    const uint64_t n = above[k], ne = east_of(above, k, words), e = east_of(row, k, words);
    const uint64_t se = east_of(below, k, words), s = below[k], sw = west_of(below, k);
    const uint64_t w = west_of(row, k), nw = west_of(above, k);
    /* going would not split or join what is around */
    const uint64_t simple = just_one(~n & (ne | e), ~e & (se | s), ~s & (sw | w), ~w & (nw | n));
    /* not the end of a line, not within */
    const uint64_t a = nw | n, b = ne | e, c = se | s, d = sw | w;
    const uint64_t p = n | ne, q = e | se, r = s | sw, t = w | nw;
    const uint64_t edge = two_or_more(a, b, c, d) & two_or_more(p, q, r, t) & ~(a & b & c & d & p & q & r & t);
    const uint64_t side = half ? (s | sw | ~nw) & w : (n | ne | ~se) & e;
    return row[k] & simple & edge & ~side;
}

/* old: two rows, the one above and the present one as they were. */
static int thin_half(uint64_t *bits, int64_t words, int64_t height, uint64_t *old, int half) {
    uint64_t *above = old, *row = old + words, *swap;
    const uint64_t *below;
    uint64_t gone = 0;
    int64_t y, k;
    memset(above, 0, (size_t)words * sizeof *above);
    for (y = 0; y < height; y++, bits += words) {
        memcpy(row, bits, (size_t)words * sizeof *row);
        below = bits + words; /* row `height` is the caller's, of zeros */
        for (k = 0; k < words; k++) {
            uint64_t taken;
            if (!row[k])
                continue;
            taken = removable(above, row, below, k, words, half);
            bits[k] = row[k] & ~taken;
            gone |= taken;
        }
        swap = above;
        above = row;
        row = swap;
    }
    return gone != 0;
}

void us_eval_thin(uint64_t *bits, int64_t words, int64_t height, uint64_t *old) {
    int changed = 1;
    memset(bits + words * height, 0, (size_t)words * sizeof *bits);
    while (changed) {
        changed = thin_half(bits, words, height, old, 0);
        changed |= thin_half(bits, words, height, old, 1);
    }
}
