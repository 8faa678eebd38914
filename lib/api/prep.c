/* prep.c - exported: preprocessing, of whole images, and learned once from a source of rows. */
#include "api/api.h"

#include <string.h>

/* ---- Options, and a whole image ---- */

typedef char check_prep[sizeof(unetstar_prep_options) == offsetof(unetstar_prep_options, gamma) + sizeof(float) ? 1 : -1];

void us_prep_from_options(struct us_prep *prep, const unetstar_prep_options *o) {
    prep->color = o->color;
    prep->min_max = o->min_max;
    prep->clahe_tiles = o->clahe_tiles;
    prep->standardize = o->standardize;
    prep->clahe_clip = o->clahe_clip;
    prep->gamma = o->gamma;
}

void us_prep_to_options(unetstar_prep_options *o, const struct us_prep *prep) {
    memset(o, 0, sizeof *o);
    o->struct_size = sizeof *o;
    o->color = prep->color;
    o->min_max = prep->min_max;
    o->clahe_tiles = prep->clahe_tiles;
    o->standardize = prep->standardize;
    o->clahe_clip = prep->clahe_clip;
    o->gamma = prep->gamma;
}

static void prep_defaults(unetstar_prep_options *o) {
    struct us_prep prep;
    us_prep_default(&prep);
    us_prep_to_options(o, &prep);
}

int unetstar_prep_options_init(unetstar_prep_options *options, size_t size) {
    unetstar_prep_options defaults;
    prep_defaults(&defaults);
    return us_options_init(options, size, &defaults, sizeof defaults, "preprocessing options");
}

static int read_options(struct us_prep *prep, const unetstar_prep_options *options) {
    unetstar_prep_options o;
    int code;
    prep_defaults(&o);
    code = us_options_read(&o, sizeof o, options, "preprocessing options");
    if (code)
        return code;
    us_prep_from_options(prep, &o);
    us_fp_enter(); /* comparing a NaN must not trap */
    code = us_prep_check(prep);
    us_fp_leave();
    return code;
}

int unetstar_preprocess(unetstar_context *context, const unetstar_prep_options *options, const unetstar_image *image,
                        const unetstar_image *mask, float *x) {
    struct us_prep prep;
    struct us_image view;
    uint8_t *field = NULL;
    int code = us_need(context, "context");
    code = code ? code : us_need(x, "x");
    code = code ? code : read_options(&prep, options);
    code = code ? code : us_image_view(&view, image, "image");
    if (code)
        return code;
    us_fp_enter();
    code = us_mask_bytes(context, &field, mask, &view);
    if (!code)
        code = us_prep_run(context, &prep, &view, field, x);
    us_free(context, field);
    us_fp_leave();
    return code;
}

/* ---- Learned from rows ---- */

#define BAND ((int64_t)1 << 18) /* bytes of rows asked for at once, or one row */

int us_source_view(struct us_rows_source *out, const unetstar_source *source) {
    unetstar_source s;
    unetstar_image image;
    struct us_image view;
    int code = us_need(source, "source");
    unetstar_source_init(&s, sizeof s);
    code = code ? code : us_options_read(&s, sizeof s, source, "source");
    if (!code && !s.read_rows)
        code = us_fail(UNETSTAR_EINVAL, "a source needs read_rows");
    if (code)
        return code;
    unetstar_image_init(&image, sizeof image);
    image.data = source; /* checked for its shape only */
    image.width = s.width;
    image.height = s.height;
    image.channels = s.channels;
    image.bits = s.bits;
    code = us_image_view(&view, &image, "source");
    us_rows_describe(out, &view);
    out->data = NULL;
    out->read = s.read_rows;
    out->user = s.user;
    return code;
}

/* With memory for the passes, then moved into no more than what is kept of it. */
static int fit(unetstar_prep_state *p, const struct us_prep *prep, const struct us_rows_source *source, int field,
               const unetstar_cancel *cancel) {
    void *memory = us_alloc(p->ctx, us_prep_state_bytes_for(prep, field, source->width, source->height)), *kept;
    struct us_rows_room room;
    int code;
    room.stride = source->stride;
    room.count = US_MIN(US_MAX(BAND / room.stride, 1), source->height);
    room.rows = (char *)us_alloc(p->ctx, (size_t)(room.count * room.stride));
    code = memory && room.rows ? 0 : UNETSTAR_ENOMEM;
    if (!code) {
        us_prep_state_begin(&p->state, prep, source->width, source->height, source->channels, source->bits, field,
                            memory);
        code = us_prep_fit(&p->state, 1, source, &room, cancel);
    }
    us_free(p->ctx, room.rows);
    if (!code) {
        kept = us_alloc(p->ctx, p->state.kept);
        if (kept)
            us_prep_state_move(&p->state, kept);
        else
            code = UNETSTAR_ENOMEM;
    }
    if (code)
        p->state.memory = NULL;
    us_free(p->ctx, memory);
    return code;
}

static int new_state(unetstar_prep_state **out, us_context *context) {
    *out = (unetstar_prep_state *)us_alloc_zero(context, sizeof **out);
    if (!*out)
        return UNETSTAR_ENOMEM;
    (*out)->ctx = us_context_ref(context);
    (*out)->refs = 1;
    return 0;
}

int unetstar_prep_fit(unetstar_prep_state **out, unetstar_context *context, const unetstar_prep_options *prep,
                      const unetstar_source *source, int32_t find_field, const unetstar_cancel *cancel) {
    unetstar_prep_state *p;
    struct us_rows_source s;
    struct us_prep inner;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(context, "context");
    code = code ? code : read_options(&inner, prep);
    code = code ? code : us_source_view(&s, source);
    if (!code && find_field != 0 && find_field != 1)
        code = us_fail(UNETSTAR_EINVAL, "find_field is %d; 0 or 1 are possible", (int)find_field);
    code = code ? code : us_context_check(context);
    code = code ? code : new_state(&p, context);
    if (code)
        return code;
    us_fp_enter();
    code = fit(p, &inner, &s, find_field ? US_PREP_FIELD_WANTED : US_PREP_FIELD_AUTO, cancel);
    us_fp_leave();
    if (code)
        unetstar_prep_state_destroy(p);
    else
        *out = p;
    return code;
}

void unetstar_prep_state_destroy(unetstar_prep_state *state) {
    us_context *ctx;
    if (!state || us_atomic_add(&state->refs, -1) > 0) /* a session may still use it */
        return;
    ctx = state->ctx;
    us_free(ctx, state->state.memory);
    us_free(ctx, state);
    us_context_unref(ctx);
}

/* The caller's write function sees the caller's control word. */
struct writer {
    unetstar_write_fn write;
    void *user;
};

static int guarded_write(void *user, const void *data, size_t size) {
    const struct writer *w = (const struct writer *)user;
    int stop;
    us_fp_callback_begin();
    stop = w->write(w->user, data, size);
    us_fp_callback_end();
    return stop;
}

int unetstar_prep_state_save(const unetstar_prep_state *state, unetstar_write_fn write, void *user) {
    struct writer w;
    int stop, code = us_need(state, "state");
    if (!code && !write)
        code = us_fail(UNETSTAR_EINVAL, "argument write is NULL");
    if (code)
        return code;
    w.write = write;
    w.user = user;
    us_fp_enter();
    stop = us_prep_state_write(&state->state, guarded_write, &w);
    us_fp_leave();
    return stop ? us_fail(UNETSTAR_EIO, "the write callback failed") : 0;
}

int unetstar_prep_state_load(unetstar_prep_state **out, unetstar_context *context, const void *data, size_t size) {
    unetstar_prep_state *p;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(context, "context");
    code = code ? code : us_need(data, "data");
    code = code ? code : new_state(&p, context);
    if (code)
        return code;
    us_fp_enter();
    code = us_prep_state_read(&p->state, context, data, size);
    us_fp_leave();
    if (code)
        unetstar_prep_state_destroy(p);
    else
        *out = p;
    return code;
}
