/* plan.c - places for buffers that live at different times: greedy by size, first gap that fits. */
#include "nn/nn.h"

#define MAX_INTERVALS (3 * US_MAX_UNITS) /* training: a map, its gradient, the gradient of its input */

static int overlap(const struct us_interval *a, const struct us_interval *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset at which buffer i collides with none of the placed ones that live when it does. */
static size_t lowest_gap(const struct us_interval *all, const int *placed, int n_placed, int i) {
    size_t offset = 0;
    int moved = 1, k;
    while (moved) {
        moved = 0;
        for (k = 0; k < n_placed; k++) {
            const struct us_interval *p = &all[placed[k]];
            if (overlap(p, &all[i]) && offset < p->offset + p->size && p->offset < offset + all[i].size) {
                offset = p->offset + p->size;
                moved = 1;
            }
        }
    }
    return offset;
}

size_t us_plan_intervals(struct us_interval *intervals, int n) {
    int placed[MAX_INTERVALS], done[MAX_INTERVALS], n_placed, i;
    size_t total = 0;
    for (i = 0; i < n; i++) {
        done[i] = 0;
        intervals[i].size = (intervals[i].size + 63) / 64 * 64;
    }
    for (n_placed = 0; n_placed < n; n_placed++) {
        int largest = -1;
        for (i = 0; i < n; i++)
            if (!done[i] && (largest < 0 || intervals[i].size > intervals[largest].size))
                largest = i;
        intervals[largest].offset = lowest_gap(intervals, placed, n_placed, largest);
        total = US_MAX(total, intervals[largest].offset + intervals[largest].size);
        placed[n_placed] = largest;
        done[largest] = 1;
    }
    return total;
}
