#include "marks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/problem.h"

void marks_init(struct marks *marks) {
    memset(marks, 0, sizeof *marks);
    marks->current = -1;
}

void marks_free(struct marks *marks) {
    int i;
    for (i = 0; i < marks->count; i++)
        samples_free(&marks->items[i].times);
    free(marks->items);
    marks_init(marks);
}

static int find(struct marks *marks, const char *stage, int unit) {
    struct mark *mark;
    int i;
    /* Steps are alike: the mark is most often the one after the last. */
    for (i = 0; i < marks->count; i++) {
        const int at = (marks->next + i) % marks->count;
        mark = &marks->items[at];
        if (mark->unit == unit && mark->backward == marks->backward && !strcmp(mark->stage, stage))
            return at;
    }
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity ? 2 * marks->capacity : 256;
        marks->items = must_grow(marks->items, (size_t)marks->capacity, sizeof *marks->items);
    }
    mark = &marks->items[marks->count];
    memset(mark, 0, sizeof *mark);
    mark->stage = stage;
    mark->unit = unit;
    mark->backward = marks->backward;
    return marks->count++;
}

static void hear(void *user, const char *stage, int unit) {
    struct marks *marks = user;
    const double now = us_clock();
    if (marks->current >= 0)
        marks->items[marks->current].now += now - marks->since;
    marks->since = now;
    if (!stage) {
        marks->current = -1;
        return;
    }
    if (!strcmp(stage, "loss"))
        marks->backward = 1;
    marks->current = find(marks, stage, unit);
    marks->next = marks->current + 1;
}

void marks_listen(struct marks *marks, us_context *context) {
    context->mark = marks ? hear : NULL;
    context->mark_user = marks;
}

void marks_begin_step(struct marks *marks) {
    int i;
    for (i = 0; i < marks->count; i++)
        marks->items[i].now = 0;
    marks->current = -1;
    marks->backward = marks->next = 0;
}

void marks_end_step(struct marks *marks, int keep) {
    int i;
    if (marks->current >= 0)
        hear(marks, NULL, -1);
    for (i = 0; keep && i < marks->count; i++)
        samples_add(&marks->items[i].times, marks->items[i].now);
}

double marks_sum(const struct marks *marks, const char *stage, int unit, int backward) {
    double sum = 0;
    int i, found = 0;
    for (i = 0; i < marks->count; i++) {
        const struct mark *mark = &marks->items[i];
        if ((stage && strcmp(mark->stage, stage)) || (unit >= -1 && mark->unit != unit) ||
            (backward >= 0 && mark->backward != backward) || !mark->times.count)
            continue;
        sum += samples_median(&mark->times);
        found = 1;
    }
    return found ? sum : NAN;
}
