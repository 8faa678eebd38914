/* session.c - inference on images of any size with one or several models. */
#include "seg/views.h"

#include <string.h>

int us_session_check(const struct us_session_options *o) {
    if (o->plan < UNETSTAR_PLAN_AUTO || o->plan > UNETSTAR_PLAN_STREAM)
        return us_fail(UNETSTAR_EINVAL, "session option plan is %d, which is unknown", o->plan);
    if (o->precision < UNETSTAR_PRECISION_FAST || o->precision > UNETSTAR_PRECISION_INT8)
        return us_fail(UNETSTAR_EINVAL, "session option precision is %d, which is unknown", o->precision);
    if (o->views != 1 && o->views != 2 && o->views != 4 && o->views != 8)
        return us_fail(UNETSTAR_EINVAL, "session option views is %d; it must be 1, 2, 4 or 8", o->views);
    if (o->clip_to_field < 0 || o->clip_to_field > 1)
        return us_fail(UNETSTAR_EINVAL, "session option clip_to_field is %d; it must be 0 or 1", o->clip_to_field);
    if (o->memory_budget < 0)
        return us_fail(UNETSTAR_EINVAL, "session option memory_budget is negative");
    if (o->arena_size && !o->arena)
        return us_fail(UNETSTAR_EINVAL, "session option arena_size is given without an arena");
    if ((uintptr_t)o->arena % 64)
        return us_fail(UNETSTAR_EINVAL, "session option arena is not aligned to 64 bytes");
    if (o->plan == UNETSTAR_PLAN_STREAM)
        return us_fail(UNETSTAR_ENOTSUPPORTED, "the streaming plan is not supported in this version");
    if (o->precision == UNETSTAR_PRECISION_INT8)
        return us_fail(UNETSTAR_ENOTSUPPORTED, "8-bit precision is not supported in this version");
    return 0;
}

static int output_channels(int classes) {
    return classes <= 2 ? 1 : classes;
}

int us_session_channels(const struct us_session *s) {
    return output_channels(s->models[0].net->options.classes);
}

int us_session_create(struct us_session **out, us_context *ctx, const struct us_seg_model *models, int64_t n_models,
                      const struct us_session_options *options) {
    struct us_session *s;
    int64_t i;
    *out = NULL;
    for (i = 1; i < n_models; i++)
        if (models[i].net->options.classes != models[0].net->options.classes ||
            models[i].net->options.in_channels != models[0].net->options.in_channels)
            return us_fail(UNETSTAR_ESHAPE, "model %lld has other input channels or classes than the first one",
                           (long long)i);
    s = (struct us_session *)us_alloc_zero(ctx, sizeof *s);
    if (!s)
        return UNETSTAR_ENOMEM;
    s->models = (struct us_seg_model *)us_alloc(ctx, sizeof *models * (size_t)n_models);
    if (!s->models) {
        us_free(ctx, s);
        return UNETSTAR_ENOMEM;
    }
    memcpy(s->models, models, sizeof *models * (size_t)n_models);
    s->n_models = n_models;
    s->ctx = ctx;
    s->options = *options;
    *out = s;
    return 0;
}

void us_session_destroy(struct us_session *s) {
    if (s) {
        us_free(s->ctx, s->memory);
        us_free(s->ctx, s->models);
        us_free(s->ctx, s);
    }
}

/* ---- Memory of a run ---- */

struct buffers {
    float *x;            /* preprocessed input */
    float *view, *score; /* a turned input and its probabilities; NULL with one view and one model */
    char *network;
};

static struct us_evaluation_shape shape_of(const struct us_session *s, int64_t model, int64_t h, int64_t w) {
    struct us_evaluation_shape shape = {NULL, 0, 0, 0, 0};
    shape.net = s->models[model].net;
    shape.height = h;
    shape.width = w;
    shape.precision = s->options.precision;
    return shape;
}

static void network_size(const struct us_session *s, int64_t h, int64_t w, struct us_evaluation_size *most) {
    int64_t i;
    most->maps = most->scratch = 0;
    for (i = 0; i < s->n_models; i++) {
        struct us_evaluation_size size, turned;
        struct us_evaluation_shape shape = shape_of(s, i, h, w);
        us_evaluation_measure(&size, s->ctx, &shape);
        turned = size;
        shape = shape_of(s, i, w, h);
        if (s->options.views == 8)
            us_evaluation_measure(&turned, s->ctx, &shape);
        most->maps = US_MAX(most->maps, US_MAX(size.maps, turned.maps));
        most->scratch = US_MAX(most->scratch, US_MAX(size.scratch, turned.scratch));
    }
}

static void place(const struct us_session *s, int64_t h, int64_t w, int image, struct us_arena *arena, struct buffers *b) {
    const size_t pixels = (size_t)h * (size_t)w * sizeof(float);
    const size_t channels = (size_t)s->models[0].net->options.in_channels;
    struct us_evaluation_size size;
    network_size(s, h, w, &size);
    memset(b, 0, sizeof *b);
    if (image)
        b->x = (float *)us_arena_take(arena, channels * pixels);
    if (s->options.views > 1 || s->n_models > 1) {
        b->view = (float *)us_arena_take(arena, channels * pixels);
        b->score = (float *)us_arena_take(arena, (size_t)us_session_channels(s) * pixels);
    }
    b->network = (char *)us_arena_take(arena, size.maps + size.scratch);
}

void us_session_measure(const struct us_session *s, int64_t h, int64_t w, size_t *maps, size_t *scratch) {
    struct us_arena arena = {NULL, 0, 0};
    struct us_evaluation_size size;
    struct buffers b;
    place(s, h, w, 1, &arena, &b);
    network_size(s, h, w, &size);
    *scratch = size.scratch;
    *maps = arena.used - size.scratch;
}

static int reserve(struct us_session *s, int64_t h, int64_t w, int image, struct buffers *b) {
    struct us_arena arena = {NULL, 0, 0};
    place(s, h, w, image, &arena, b);
    if (s->options.memory_budget > 0 && arena.used > (uint64_t)s->options.memory_budget)
        return us_fail(UNETSTAR_ELIMIT, "an image of %lld x %lld pixels needs %zu bytes, the memory budget is %lld",
                       (long long)w, (long long)h, arena.used, (long long)s->options.memory_budget);
    if (s->options.arena && arena.used > s->options.arena_size)
        return us_fail(UNETSTAR_ELIMIT, "an image of %lld x %lld pixels needs an arena of %zu bytes, it has %zu",
                       (long long)w, (long long)h, arena.used, s->options.arena_size);
    if (!s->options.arena && arena.used > s->size) {
        us_free(s->ctx, s->memory);
        s->size = 0;
        s->memory = (char *)us_alloc(s->ctx, arena.used);
        if (!s->memory)
            return UNETSTAR_ENOMEM;
        s->size = arena.used;
    }
    arena.size = arena.used;
    arena.used = 0;
    arena.base = s->options.arena ? (char *)s->options.arena : s->memory;
    place(s, h, w, image, &arena, b);
    return 0;
}

/* ---- Runs ---- */

/* All views of one model, added to sum (or written to it when there is nothing to average). */
static int run_model(struct us_session *s, int64_t model, int64_t h, int64_t w, const float *x, const struct buffers *b,
                     float *sum, const struct us_watch *watch) {
    const struct us_seg_model *m = &s->models[model];
    const int channels = us_session_channels(s);
    int v, code = 0;
    struct us_evaluation_shape shape = shape_of(s, model, h, w);
    if (!b->score)
        return us_evaluate(s->ctx, &shape, m->folded, x, sum, b->network, watch);
    for (v = 0; v < s->options.views && !code; v++) {
        const int turned = US_VIEW_TRANSPOSED(v);
        shape = shape_of(s, model, turned ? w : h, turned ? h : w);
        us_view_apply(v, m->net->options.in_channels, h, w, x, b->view);
        code = us_evaluate(s->ctx, &shape, m->folded, b->view, b->score, b->network, watch);
        if (!code)
            us_view_add_back(v, channels, h, w, b->score, sum);
    }
    return code;
}

static void clear_or_average(const struct us_session *s, const struct buffers *b, int64_t values, float *sum, int average) {
    const float share = (float)(1.0 / (double)(s->n_models * s->options.views));
    int64_t i;
    for (i = 0; b->score && i < values; i++)
        sum[i] = average ? sum[i] * share : 0.0f;
}

static int clip(struct us_session *s, const struct us_image *image, const uint8_t *mask, float *probability) {
    const int64_t pixels = image->width * image->height;
    const int channels = us_session_channels(s);
    uint8_t *found = NULL;
    int64_t i;
    int c;
    if (!mask) {
        int32_t source;
        int code;
        found = (uint8_t *)us_alloc(s->ctx, (size_t)pixels);
        if (!found)
            return UNETSTAR_ENOMEM;
        code = us_field_find(s->ctx, image, found, &source);
        if (code) {
            us_free(s->ctx, found);
            return code;
        }
        mask = found;
    }
    for (c = 0; c < channels; c++)
        for (i = 0; i < pixels; i++)
            if (!mask[i])
                probability[c * pixels + i] = 0;
    us_free(s->ctx, found);
    return 0;
}

int us_session_run_image(struct us_session *s, const struct us_image *image, const uint8_t *mask, float *probability,
                         const struct us_watch *watch) {
    const int64_t h = image->height, w = image->width, values = h * w * us_session_channels(s);
    struct buffers b;
    int64_t i;
    int code = 0;
    for (i = 0; i < s->n_models && !code; i++)
        if (us_prep_channels(&s->models[i].prep) != s->models[i].net->options.in_channels)
            code = us_fail(UNETSTAR_ESHAPE, "a model of %d input channels takes no images, only tensors",
                           s->models[i].net->options.in_channels);
    code = code ? code : reserve(s, h, w, 1, &b);
    if (code)
        return code;
    clear_or_average(s, &b, values, probability, 0);
    for (i = 0; i < s->n_models && !code; i++) {
        code = us_prep_run(s->ctx, &s->models[i].prep, image, mask, b.x);
        if (!code)
            code = run_model(s, i, h, w, b.x, &b, probability, watch);
    }
    if (code)
        return code;
    clear_or_average(s, &b, values, probability, 1);
    return s->options.clip_to_field ? clip(s, image, mask, probability) : 0;
}

int us_session_run_tensor(struct us_session *s, int64_t n, int64_t h, int64_t w, const float *x, float *probability,
                          const struct us_watch *watch) {
    const int64_t values = h * w * us_session_channels(s), step = h * w * s->models[0].net->options.in_channels;
    struct buffers b;
    int64_t i, k;
    int code = reserve(s, h, w, 0, &b);
    for (k = 0; k < n && !code; k++) {
        float *sum = probability + k * values;
        clear_or_average(s, &b, values, sum, 0);
        for (i = 0; i < s->n_models && !code; i++)
            code = run_model(s, i, h, w, x + k * step, &b, sum, watch);
        if (!code)
            clear_or_average(s, &b, values, sum, 1);
    }
    return code;
}
