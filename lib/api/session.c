/* session.c - exported: inference sessions. */
#include "api/api.h"

#include <string.h>

static const unetstar_session_options session_defaults = {
    sizeof(unetstar_session_options), 0, NULL, 0, UNETSTAR_PLAN_AUTO, UNETSTAR_PRECISION_FAST, 1, 0, 0, 0, NULL, 0, 0};
typedef char check_session[sizeof(unetstar_session_options) ==
                                   offsetof(unetstar_session_options, reserved) + sizeof(int32_t)
                               ? 1
                               : -1];
static const unetstar_source source_defaults = {sizeof(unetstar_source), NULL, NULL, 0, 0, 1, 8};
typedef char check_source[sizeof(unetstar_source) == offsetof(unetstar_source, bits) + sizeof(int32_t) ? 1 : -1];
typedef char check_workspace[sizeof(unetstar_workspace) == 5 * sizeof(size_t) + 2 * sizeof(int32_t) ? 1 : -1];

int unetstar_session_options_init(unetstar_session_options *options, size_t size) {
    return us_options_init(options, size, &session_defaults, sizeof session_defaults, "session options");
}

int unetstar_source_init(unetstar_source *source, size_t size) {
    return us_options_init(source, size, &source_defaults, sizeof source_defaults, "source");
}

static int take_models(unetstar_session *s, const unetstar_model *const *models, int64_t n,
                       const struct us_session_options *options) {
    struct us_seg_model *seg = (struct us_seg_model *)us_alloc(s->ctx, sizeof *seg * (size_t)n);
    int64_t i;
    int code = seg ? 0 : UNETSTAR_ENOMEM;
    s->models = (unetstar_model **)us_alloc_zero(s->ctx, sizeof *s->models * (size_t)n);
    s->folded = (struct us_folded **)us_alloc_zero(s->ctx, sizeof *s->folded * (size_t)n);
    if (!s->models || !s->folded)
        code = UNETSTAR_ENOMEM;
    for (i = 0; i < n && !code; i++) {
        /* A session caches folded weights in the model and counts itself in: neither is a change that a caller sees. */
        unetstar_model *model = (unetstar_model *)(uintptr_t)models[i];
        code = us_model_folded(model, options->precision, &s->folded[i]);
        if (code == UNETSTAR_ESTATE && options->precision == UNETSTAR_PRECISION_INT8 && !model->calibration)
            us_fail(code, "model %lld has no calibration for 8 bits; call unetstar_model_calibrate", (long long)i);
        if (code)
            break;
        s->models[i] = us_model_ref(model);
        s->n_models = i + 1;
        seg[i].net = model->net;
        seg[i].folded = s->folded[i];
        seg[i].prep = model->prep;
    }
    if (!code)
        code = us_session_create(&s->session, s->ctx, seg, n, options);
    us_free(s->ctx, seg);
    return code;
}

/* Keeps the state alive from now on, and lets go of the one before. */
static void keep_state(unetstar_session *session, const unetstar_prep_state *state) {
    unetstar_prep_state *kept = (unetstar_prep_state *)(uintptr_t)state; /* counting itself in is no change a caller sees */
    if (kept)
        us_atomic_add(&kept->refs, 1);
    unetstar_prep_state_destroy(session->prep_state);
    session->prep_state = kept;
}

int unetstar_session_create(unetstar_session **out, unetstar_context *context, const unetstar_model *const *models,
                            int64_t n_models, const unetstar_session_options *options) {
    unetstar_session_options o = session_defaults;
    struct us_session_options inner;
    unetstar_session *s;
    int64_t i;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(context, "context");
    code = code ? code : us_need(models, "models");
    code = code ? code : us_options_read(&o, sizeof o, options, "session options");
    if (code)
        return code;
    if (o.reserved)
        return us_fail(UNETSTAR_EINVAL, "session option reserved must be 0");
    if (n_models < 1 || n_models > 1024)
        return us_fail(UNETSTAR_EINVAL, "n_models is %lld; it must be 1 to 1024", (long long)n_models);
    for (i = 0; i < n_models; i++)
        if (!models[i])
            return us_fail(UNETSTAR_EINVAL, "model %lld is NULL", (long long)i);
    inner.memory_budget = o.memory_budget;
    inner.arena = o.arena;
    inner.arena_size = o.arena_size;
    inner.plan = o.plan;
    inner.precision = o.precision;
    inner.views = o.views;
    inner.clip_to_field = o.clip_to_field;
    inner.max_width = o.max_width;
    inner.max_height = o.max_height;
    inner.single_pass = o.single_pass;
    inner.fit = o.prep_state ? &o.prep_state->state : NULL;
    code = us_session_check(&inner);
    code = code ? code : us_context_check(context);
    if (code)
        return code;
    us_fp_enter();
    s = (unetstar_session *)us_alloc_zero(context, sizeof *s);
    code = UNETSTAR_ENOMEM;
    if (s) {
        s->ctx = us_context_ref(context);
        s->refs = 1;
        code = take_models(s, models, n_models, &inner);
        if (!code)
            keep_state(s, o.prep_state);
        if (code)
            unetstar_session_destroy(s);
        else
            *out = s;
    }
    us_fp_leave();
    return code;
}

void unetstar_session_destroy(unetstar_session *session) {
    us_context *ctx;
    int64_t i;
    if (!session || us_atomic_add(&session->refs, -1) > 0) /* a callback has let go of it: the run ends first */
        return;
    ctx = session->ctx;
    us_session_destroy(session->session);
    for (i = 0; i < session->n_models; i++) {
        us_folded_unref(session->folded[i]);
        us_model_unref(session->models[i]);
    }
    unetstar_prep_state_destroy(session->prep_state);
    us_free(ctx, session->models);
    us_free(ctx, session->folded);
    us_free(ctx, session);
    us_context_unref(ctx);
}

/* A call that has the session for itself, until end. A callback that comes back would use the same memory. */
static int begin(unetstar_session *session) {
    int code = us_context_check(session->ctx);
    if (code)
        return code;
    if (us_atomic_add(&session->in_use, 1) > 1) {
        us_atomic_add(&session->in_use, -1);
        return us_fail(UNETSTAR_ESTATE, "the session is in use: a run of it has not returned yet, on this thread or another");
    }
    us_atomic_add(&session->refs, 1);
    us_fp_enter();
    return 0;
}

static void end(unetstar_session *session) {
    us_fp_leave();
    us_atomic_add(&session->in_use, -1);
    unetstar_session_destroy(session);
}

int unetstar_session_set_prep_state(unetstar_session *session, const unetstar_prep_state *state) {
    int code = us_need(session, "session");
    code = code ? code : begin(session);
    if (code)
        return code;
    code = us_session_set_fit(session->session, state ? &state->state : NULL);
    if (!code)
        keep_state(session, state);
    end(session);
    return code;
}

int64_t unetstar_session_channels(const unetstar_session *session) {
    return session ? us_session_channels(session->session) : 0;
}

int unetstar_session_run(unetstar_session *session, const unetstar_image *image, const unetstar_image *mask,
                         float *probability, const unetstar_cancel *cancel, unetstar_progress_fn progress, void *user) {
    struct us_rows_source source;
    struct us_rows_sink sink = {NULL, NULL, NULL};
    struct us_image view, field;
    struct us_watch watch;
    int code = us_need(session, "session");
    code = code ? code : us_need(probability, "probability");
    code = code ? code : us_image_view(&view, image, "image");
    memset(&field, 0, sizeof field);
    if (code)
        return code;
    us_rows_describe(&source, &view);
    if (mask) {
        code = us_mask_view(&field, mask, &view);
        source.mask = (const uint8_t *)field.data;
        source.mask_stride = field.stride;
    }
    code = code ? code : begin(session);
    if (code)
        return code;
    sink.planes = probability;
    watch.cancel = cancel;
    watch.progress = progress;
    watch.user = user;
    code = us_session_run(session->session, &source, &sink, &watch);
    end(session);
    return code;
}

static int check_size(int64_t h, int64_t w) {
    if (h < 1 || w < 1 || h > 32768 || w > 32768)
        return us_fail(UNETSTAR_ESHAPE, "an input of %lld x %lld pixels was given; sides must be 1 to 32768", (long long)w,
                       (long long)h);
    return 0;
}

int unetstar_session_run_tensor(unetstar_session *session, int64_t n, int64_t h, int64_t w, const float *x,
                                float *probability, const unetstar_cancel *cancel) {
    struct us_watch watch;
    int code = us_need(session, "session");
    code = code ? code : us_need(x, "x");
    code = code ? code : us_need(probability, "probability");
    code = code ? code : check_size(h, w);
    if (!code && n < 1)
        code = us_fail(UNETSTAR_ESHAPE, "n is %lld; it must be at least 1", (long long)n);
    code = code ? code : begin(session);
    if (code)
        return code;
    watch.cancel = cancel;
    watch.progress = NULL;
    watch.user = NULL;
    code = us_session_run_tensor(session->session, n, h, w, x, probability, &watch);
    end(session);
    return code;
}

/* ---- Rows in, rows out ---- */

int unetstar_session_run_rows(unetstar_session *session, const unetstar_source *source, unetstar_write_rows_fn write_rows,
                              void *user, const unetstar_cancel *cancel) {
    struct us_rows_sink sink = {NULL, NULL, NULL};
    struct us_watch watch = {NULL, NULL, NULL};
    struct us_rows_source rows;
    int code = us_need(session, "session");
    code = code ? code : us_source_view(&rows, source);
    if (!code && !write_rows)
        code = us_fail(UNETSTAR_EINVAL, "argument write_rows is NULL");
    code = code ? code : begin(session);
    if (code)
        return code;
    sink.write = write_rows;
    sink.user = user;
    watch.cancel = cancel;
    code = us_session_run(session->session, &rows, &sink, &watch);
    end(session);
    return code;
}

int unetstar_session_workspace_size(const unetstar_session *session, int64_t width, int64_t height,
                                    unetstar_workspace *workspace) {
    unetstar_workspace w;
    int64_t i, k;
    int code = us_need(session, "session");
    code = code ? code : us_need(workspace, "workspace");
    code = code ? code : check_size(height, width);
    if (code)
        return code;
    memset(&w, 0, sizeof w);
    code = us_session_measure(session->session, height, width, &w.maps, &w.scratch, &w.plan);
    if (code)
        return code;
    w.plan = w.plan ? UNETSTAR_PLAN_STREAM : UNETSTAR_PLAN_WHOLE;
    for (i = 0; i < session->n_models; i++) {
        for (k = 0; session->folded[k] != session->folded[i]; k++)
            ;
        w.weights += k == i ? session->folded[i]->bytes : 0; /* a model that is listed twice has its weights once */
    }
    w.total = w.maps + w.scratch + w.weights;
    return us_options_init(workspace, workspace->struct_size, &w, sizeof w, "workspace");
}
