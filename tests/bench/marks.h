/* marks.h - listens to the library's marks and adds up the time of every stage and unit of a training step. */
#ifndef BENCH_MARKS_H
#define BENCH_MARKS_H

#include "base/base.h"
#include "samples.h"

/* One stage of one unit in one direction. */
struct mark {
    const char *stage;
    int unit;     /* -1: of no unit */
    int backward; /* after the loss has begun */
    double now;   /* seconds in the present step */
    struct samples times;
};

struct marks {
    struct mark *items;
    int count, capacity;
    int current; /* being timed, -1: none */
    int next;    /* where the next mark was found in the last step */
    int backward;
    double since;
};

void marks_init(struct marks *marks);
void marks_free(struct marks *marks);
void marks_listen(struct marks *marks, us_context *context); /* marks NULL: no more */
/* Around every step. keep: 0 throws a warm-up step away. */
void marks_begin_step(struct marks *marks);
void marks_end_step(struct marks *marks, int keep);

/* Sum of the medians of all that match; stage NULL: any, unit -2: any, backward -1: both. NaN when there is none. */
double marks_sum(const struct marks *marks, const char *stage, int unit, int backward);

#endif
