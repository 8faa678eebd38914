/* session.c - inference sessions: what they accept, which plan a run has, and their memory. */
#include "seg/run.h"

#include <string.h>

/* ---- Options ---- */

static int check_flag(const char *name, int32_t value) {
    if (value < 0 || value > 1)
        return us_fail(UNETSTAR_EINVAL, "session option %s is %d; it must be 0 or 1", name, value);
    return 0;
}

static int check_largest(const char *name, int64_t value) {
    if (value < 0 || value > 32768)
        return us_fail(UNETSTAR_EINVAL, "session option %s is %lld; it must be 0 to 32768", name, (long long)value);
    return 0;
}

int us_session_check(const struct us_session_options *o) {
    int code;
    if (o->plan < UNETSTAR_PLAN_AUTO || o->plan > UNETSTAR_PLAN_STREAM)
        return us_fail(UNETSTAR_EINVAL, "session option plan is %d, which is unknown", o->plan);
    if (o->precision < UNETSTAR_PRECISION_FAST || o->precision > UNETSTAR_PRECISION_INT8)
        return us_fail(UNETSTAR_EINVAL, "session option precision is %d, which is unknown", o->precision);
    if (o->views != 1 && o->views != 2 && o->views != 4 && o->views != 8)
        return us_fail(UNETSTAR_EINVAL, "session option views is %d; it must be 1, 2, 4 or 8", o->views);
    code = check_flag("clip_to_field", o->clip_to_field);
    code = code ? code : check_flag("single_pass", o->single_pass);
    code = code ? code : check_largest("max_width", o->max_width);
    code = code ? code : check_largest("max_height", o->max_height);
    if (code)
        return code;
    if (!o->max_width != !o->max_height)
        return us_fail(UNETSTAR_EINVAL, "session options max_width and max_height are given together or not at all");
    if (o->memory_budget < 0)
        return us_fail(UNETSTAR_EINVAL, "session option memory_budget is negative");
    if (o->arena_size && !o->arena)
        return us_fail(UNETSTAR_EINVAL, "session option arena_size is given without an arena");
    if ((uintptr_t)o->arena % 64)
        return us_fail(UNETSTAR_EINVAL, "session option arena is not aligned to 64 bytes");
    return 0;
}

/* What stands against streaming: NULL for nothing. */
static const char *streaming_obstacle(const struct us_session *s) {
    int64_t i;
    for (i = 0; i < s->n_models; i++) {
        if (s->models[i].net->options.norm == UNETSTAR_NORM_INSTANCE)
            return "instance norm takes its statistics from the whole image";
        if (s->models[i].net->options.norm == UNETSTAR_NORM_GROUP)
            return "group norm takes its statistics from the whole image";
    }
    if (s->options.views == 4)
        return "views that are flipped vertically begin with the last row";
    if (s->options.views == 8)
        return "views with quarter turns need whole columns";
    return NULL;
}

static int check_passes(const struct us_session *s, const struct us_prep_state *fit) {
    int64_t i;
    for (i = 0; i < s->n_models && fit; i++)
        if (memcmp(&s->models[i].prep, &fit->prep, sizeof fit->prep))
            return us_fail(UNETSTAR_EINVAL, "prep_state was made with other preprocessing than that of model %lld",
                           (long long)i);
    if (fit && s->options.clip_to_field && fit->field != US_PREP_FIELD_WANTED)
        return us_fail(UNETSTAR_EINVAL, "clip_to_field needs a prep_state that has looked for the field of view");
    for (i = 0; i < s->n_models && s->options.single_pass && !fit; i++) {
        const char *step = us_prep_global_step(&s->models[i].prep);
        if (!step && s->options.clip_to_field)
            step = "finding the field of view";
        if (step)
            return us_fail(UNETSTAR_ENOTSUPPORTED,
                           "a source that is read once is not enough: %s needs the whole image first; give a prep_state",
                           step);
    }
    return 0;
}

/* ---- Plans and memory ---- */

static void measure(const struct us_session *s, int64_t h, int64_t w, int stream, size_t *total, size_t *scratch) {
    struct us_arena arena = {NULL, 0, 0};
    struct us_run run;
    memset(&run, 0, sizeof run);
    run.s = (struct us_session *)(uintptr_t)s; /* only read */
    run.h = h;
    run.w = w;
    run.stream = stream;
    us_run_place(&run, &arena, scratch);
    *total = arena.used;
}

/* Bytes a run may use; SIZE_MAX: any number. */
static size_t limit_of(const struct us_session *s, const char **name) {
    size_t limit = SIZE_MAX;
    *name = "";
    if (s->options.max_width && s->size) {
        limit = s->size;
        *name = "the memory planned for max_width and max_height";
    }
    if (s->options.memory_budget > 0 && (uint64_t)s->options.memory_budget < limit) {
        limit = (size_t)s->options.memory_budget;
        *name = "the memory budget";
    }
    if (s->options.arena && s->options.arena_size < limit) {
        limit = s->options.arena_size;
        *name = "the arena";
    }
    return limit;
}

/* The whole-image plan where it fits, unless a plan is asked for. */
static int choose(const struct us_session *s, int64_t h, int64_t w, int *stream, size_t *total, size_t *scratch) {
    const char *name, *obstacle = streaming_obstacle(s);
    const size_t limit = limit_of(s, &name);
    size_t whole = 0;
    *stream = s->options.plan == UNETSTAR_PLAN_STREAM;
    if (s->options.max_width && (w > s->options.max_width || h > s->options.max_height))
        return us_fail(UNETSTAR_ELIMIT,
                       "an image of %lld x %lld pixels is larger than the session's max_width x max_height, %lld x %lld",
                       (long long)w, (long long)h, (long long)s->options.max_width, (long long)s->options.max_height);
    measure(s, h, w, *stream, total, scratch);
    if (*total > limit && s->options.plan == UNETSTAR_PLAN_AUTO && !obstacle) {
        whole = *total;
        *stream = 1;
        measure(s, h, w, 1, total, scratch);
    }
    if (*total <= limit)
        return 0;
    if (whole)
        return us_fail(UNETSTAR_ELIMIT, "an image of %lld x %lld pixels needs %zu bytes, or %zu by rows; %s has %zu",
                       (long long)w, (long long)h, whole, *total, name, limit);
    if (s->options.plan == UNETSTAR_PLAN_AUTO)
        return us_fail(UNETSTAR_ELIMIT, "an image of %lld x %lld pixels needs %zu bytes; %s has %zu, and by rows it cannot "
                                        "be done: %s",
                       (long long)w, (long long)h, *total, name, limit, obstacle);
    return us_fail(UNETSTAR_ELIMIT, "an image of %lld x %lld pixels needs %zu bytes%s; %s has %zu", (long long)w, (long long)h,
                   *total, *stream ? " by rows" : "", name, limit);
}

int us_session_measure(const struct us_session *s, int64_t h, int64_t w, size_t *maps, size_t *scratch, int *stream) {
    size_t total;
    int code = choose(s, h, w, stream, &total, scratch);
    *maps = total - *scratch;
    return code;
}

static int reserve(struct us_session *s, size_t size) {
    if (s->options.arena || size <= s->size)
        return 0;
    us_free(s->ctx, s->memory);
    s->size = 0;
    s->memory = (char *)us_alloc(s->ctx, size);
    if (!s->memory)
        return UNETSTAR_ENOMEM;
    s->size = size;
    return 0;
}

/* ---- Creation ---- */

static int output_channels(int classes) {
    return classes <= 2 ? 1 : classes;
}

int us_session_channels(const struct us_session *s) {
    return output_channels(s->models[0].net->options.classes);
}

int us_run_averages(const struct us_session *s) {
    return s->options.views > 1 || s->n_models > 1;
}

float us_run_share(const struct us_session *s) {
    return (float)(1.0 / (double)(s->n_models * s->options.views));
}

static void share_states(struct us_session *s) {
    int64_t i;
    int k;
    for (i = 0; i < s->n_models; i++) {
        for (k = 0; k < s->n_states && memcmp(&s->states[k].prep, &s->models[i].prep, sizeof s->models[i].prep); k++)
            ;
        s->state_of[i] = k;
        if (k == s->n_states)
            s->states[s->n_states++].prep = s->models[i].prep;
    }
}

static int take_tables(struct us_session *s, const struct us_seg_model *models, int64_t n) {
    const int64_t members = n * US_MIN(s->options.views, 2);
    s->models = (struct us_seg_model *)us_alloc(s->ctx, sizeof *models * (size_t)n);
    s->state_of = (int *)us_alloc(s->ctx, sizeof *s->state_of * (size_t)n);
    s->states = (struct us_prep_state *)us_alloc_zero(s->ctx, sizeof *s->states * (size_t)n);
    s->members = (struct us_member *)us_alloc_zero(s->ctx, sizeof *s->members * (size_t)members);
    if (!s->models || !s->state_of || !s->states || !s->members)
        return UNETSTAR_ENOMEM;
    memcpy(s->models, models, sizeof *models * (size_t)n);
    s->n_models = n;
    share_states(s);
    return 0;
}

static int prepare(struct us_session *s) {
    const char *obstacle = streaming_obstacle(s);
    size_t total = 0, scratch = 0;
    int stream, code;
    if (s->options.plan == UNETSTAR_PLAN_STREAM && obstacle)
        return us_fail(UNETSTAR_ENOTSUPPORTED, "the streaming plan is not possible: %s", obstacle);
    code = check_passes(s, s->options.fit);
    if (code || !s->options.max_width)
        return code;
    code = choose(s, s->options.max_height, s->options.max_width, &stream, &total, &scratch);
    return code ? code : reserve(s, total);
}

int us_session_create(struct us_session **out, us_context *ctx, const struct us_seg_model *models, int64_t n_models,
                      const struct us_session_options *options) {
    struct us_session *s;
    int64_t i;
    int code;
    *out = NULL;
    for (i = 1; i < n_models; i++)
        if (models[i].net->options.classes != models[0].net->options.classes ||
            models[i].net->options.in_channels != models[0].net->options.in_channels)
            return us_fail(UNETSTAR_ESHAPE, "model %lld has other input channels or classes than the first one",
                           (long long)i);
    s = (struct us_session *)us_alloc_zero(ctx, sizeof *s);
    if (!s)
        return UNETSTAR_ENOMEM;
    s->ctx = ctx;
    s->options = *options;
    code = take_tables(s, models, n_models);
    code = code ? code : prepare(s);
    if (code)
        us_session_destroy(s);
    else
        *out = s;
    return code;
}

void us_session_destroy(struct us_session *s) {
    if (s) {
        us_free(s->ctx, s->memory);
        us_free(s->ctx, s->models);
        us_free(s->ctx, s->state_of);
        us_free(s->ctx, s->states);
        us_free(s->ctx, s->members);
        us_free(s->ctx, s);
    }
}

int us_session_set_fit(struct us_session *s, const struct us_prep_state *fit) {
    int code = check_passes(s, fit);
    if (!code)
        s->options.fit = fit;
    return code;
}

/* ---- Runs ---- */

static int start(struct us_run *run, struct us_session *s) {
    struct us_arena arena = {NULL, SIZE_MAX, 0};
    size_t total = 0, scratch = 0;
    int code = choose(s, run->h, run->w, &run->stream, &total, &scratch);
    code = code ? code : reserve(s, total);
    if (code)
        return code;
    run->s = s;
    run->channels = us_session_channels(s);
    arena.base = s->options.arena ? (char *)s->options.arena : s->memory;
    us_run_place(run, &arena, &scratch);
    return 0;
}

static int check_fit(const struct us_session *s, const struct us_rows_source *source) {
    const struct us_prep_state *fit = s->options.fit;
    if (!fit || (fit->width == source->width && fit->height == source->height && fit->channels == source->channels &&
                 fit->bits == source->bits))
        return 0;
    return us_fail(UNETSTAR_ESHAPE,
                   "the image has %lld x %lld pixels, %d channels, %d bits; prep_state was made of one of %lld x %lld, %d, %d",
                   (long long)source->width, (long long)source->height, source->channels, source->bits,
                   (long long)fit->width, (long long)fit->height, fit->channels, fit->bits);
}

int us_session_run(struct us_session *s, const struct us_rows_source *source, const struct us_rows_sink *sink,
                   const struct us_watch *watch) {
    struct us_run run;
    int64_t i;
    int code = check_fit(s, source);
    for (i = 0; i < s->n_models && !code; i++)
        if (us_prep_channels(&s->models[i].prep) != s->models[i].net->options.in_channels)
            code = us_fail(UNETSTAR_ESHAPE, "a model of %d input channels takes no images, only tensors",
                           s->models[i].net->options.in_channels);
    if (code)
        return code;
    memset(&run, 0, sizeof run);
    run.source = source;
    run.sink = *sink;
    run.watch = watch;
    run.h = source->height;
    run.w = source->width;
    code = start(&run, s);
    if (!code && !s->options.fit)
        code = us_prep_fit(s->states, s->n_states, source, &run.room, watch->cancel);
    return code ? code : run.stream ? us_run_stream(&run) : us_run_whole(&run);
}

int us_session_run_tensor(struct us_session *s, int64_t n, int64_t h, int64_t w, const float *x, float *probability,
                          const struct us_watch *watch) {
    const int64_t values = h * w * us_session_channels(s), step = h * w * s->models[0].net->options.in_channels;
    int64_t k;
    int code = 0;
    for (k = 0; k < n && !code; k++) {
        struct us_run run;
        memset(&run, 0, sizeof run);
        run.tensor = x + k * step;
        run.sink.planes = probability + k * values;
        run.watch = watch;
        run.h = h;
        run.w = w;
        code = start(&run, s);
        code = code ? code : run.stream ? us_run_stream(&run) : us_run_whole(&run);
    }
    return code;
}
