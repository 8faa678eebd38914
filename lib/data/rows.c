/* rows.c - an image's rows, in memory or read by a callback, and what preprocessing learns of them in passes. */
#include "data/data.h"

#include <string.h>

void us_rows_describe(struct us_rows_source *source, const struct us_image *image) {
    memset(source, 0, sizeof *source);
    source->width = image->width;
    source->height = image->height;
    source->channels = image->channels;
    source->bits = image->bits;
    source->data = (const char *)image->data;
    source->stride = image->stride;
}

static int canceled(const us_cancel *cancel) {
    return us_cancelled(cancel) ? us_fail(UNETSTAR_ECANCELED, "canceled") : 0;
}

int us_rows_read(const struct us_rows_source *source, const struct us_rows_room *room, const us_cancel *cancel, int64_t y,
                 int64_t n, const char **rows, int64_t *stride) {
    int stop;
    if (source->data) {
        *rows = source->data + y * source->stride;
        *stride = source->stride;
        return canceled(cancel);
    }
    *rows = room->rows;
    *stride = room->stride;
    us_fp_callback_begin();
    stop = source->read(source->user, y, n, room->rows, room->stride);
    us_fp_callback_end();
    if (stop)
        return us_fail(UNETSTAR_EUSER, "read_rows returned %d at row %lld", stop, (long long)y);
    return canceled(cancel); /* the callback may have asked for it */
}

/* One pass serves all states that still need one. */
static int fit_pass(struct us_prep_state *states, int n_states, const struct us_rows_source *source,
                    const struct us_rows_room *room, const us_cancel *cancel, int *needed) {
    int64_t y, n, stride;
    const char *rows;
    int k, code = canceled(cancel);
    *needed = 0;
    for (k = 0; k < n_states; k++)
        *needed |= us_prep_state_pass(&states[k]);
    for (y = 0; *needed && y < source->height && !code; y += n) {
        n = US_MIN(room->count, source->height - y);
        code = us_rows_read(source, room, cancel, y, n, &rows, &stride);
        for (k = 0; k < n_states && !code; k++)
            us_prep_state_rows(&states[k], y, n, rows, stride,
                               source->mask ? source->mask + y * source->mask_stride : NULL, source->mask_stride);
    }
    return code;
}

int us_prep_fit(struct us_prep_state *states, int n_states, const struct us_rows_source *source,
                const struct us_rows_room *room, const us_cancel *cancel) {
    int needed = 1, code = 0;
    while (needed && !code)
        code = fit_pass(states, n_states, source, room, cancel, &needed);
    return code;
}
