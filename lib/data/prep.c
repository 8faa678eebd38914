/* prep.c - preprocessing options, and a whole image made into a network's input. */
#include "data/data.h"

#include <string.h>

void us_prep_default(struct us_prep *prep) {
    memset(prep, 0, sizeof *prep);
    prep->color = UNETSTAR_COLOR_GRAY;
    prep->min_max = 1;
    prep->clahe_tiles = 8;
    prep->clahe_clip = 2.0f;
    prep->gamma = 1.2f;
}

int us_prep_check(const struct us_prep *prep) {
    if (prep->color < UNETSTAR_COLOR_GRAY || prep->color > UNETSTAR_COLOR_RGB)
        return us_fail(UNETSTAR_EINVAL, "color %d is none of UNETSTAR_COLOR_*", (int)prep->color);
    if (prep->min_max != 0 && prep->min_max != 1)
        return us_fail(UNETSTAR_EINVAL, "min_max is %d; 0 or 1 are possible", (int)prep->min_max);
    if (prep->clahe_tiles < 0 || prep->clahe_tiles > 64)
        return us_fail(UNETSTAR_EINVAL, "clahe_tiles is %d, outside 0 .. 64", (int)prep->clahe_tiles);
    if (prep->standardize != 0 && prep->standardize != 1)
        return us_fail(UNETSTAR_EINVAL, "standardize is %d; 0 or 1 are possible", (int)prep->standardize);
    if (!(prep->clahe_clip > 0.0f && prep->clahe_clip <= 65536.0f))
        return us_fail(UNETSTAR_EINVAL, "clahe_clip must be above 0 and at most 65536");
    if (!(prep->gamma >= 0.01f && prep->gamma <= 100.0f))
        return us_fail(UNETSTAR_EINVAL, "gamma must be from 0.01 to 100");
    return 0;
}

int us_prep_channels(const struct us_prep *prep) {
    return prep->color == UNETSTAR_COLOR_RGB ? 3 : 1;
}

/* ---- A whole image ---- */

struct whole {
    const struct us_prep_state *state;
    const struct us_image *image;
    float *x;
    int64_t band; /* rows of a task */
};

static void rows_task(void *arg, int64_t index, int worker) {
    const struct whole *w = (const struct whole *)arg;
    const struct us_image *image = w->image;
    const size_t plane = (size_t)image->height * (size_t)image->width;
    int64_t y = index * w->band;
    const int64_t end = US_MIN(y + w->band, image->height);
    (void)worker;
    for (; y < end; y++)
        us_prep_row(w->state, y, (const char *)image->data + y * image->stride, w->x + y * image->width, plane);
}

int us_prep_run(us_context *ctx, const struct us_prep *prep, const struct us_image *image, const uint8_t *mask,
                float *x) {
    const int field = mask ? US_PREP_FIELD_GIVEN : US_PREP_FIELD_AUTO;
    struct us_rows_room room = {NULL, 0, 0};
    struct us_rows_source source;
    struct us_prep_state state;
    struct whole w;
    int code;
    void *memory = us_alloc(ctx, us_prep_state_bytes_for(prep, field, image->width, image->height));
    if (!memory)
        return UNETSTAR_ENOMEM;
    us_prep_state_begin(&state, prep, image->width, image->height, image->channels, image->bits, field, memory);
    us_rows_describe(&source, image);
    room.count = image->height;
    source.mask = mask;
    source.mask_stride = image->width;
    code = us_prep_fit(&state, 1, &source, &room, NULL);
    w.state = &state;
    w.image = image;
    w.x = x;
    w.band = US_MAX((1 << 14) / image->width, 1);
    code = code ? code : us_parallel(ctx, NULL, rows_task, &w, (image->height + w.band - 1) / w.band);
    us_free(ctx, memory);
    return code;
}
