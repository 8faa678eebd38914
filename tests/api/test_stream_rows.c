/*
 * test_stream_rows.c - callbacks of a session: how often and in which order rows are asked for and given, what happens
 * when a callback fails or cancels at any row of any pass, and what a session refuses when it is made.
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHOLE = UNETSTAR_PLAN_WHOLE, STREAM = UNETSTAR_PLAN_STREAM };

static void set_prep(unetstar_model *model, int32_t min_max, int32_t tiles, int32_t standardize, float gamma) {
    unetstar_prep_options o;
    OK(unetstar_prep_options_init(&o, sizeof o));
    o.min_max = min_max;
    o.clahe_tiles = tiles;
    o.standardize = standardize;
    o.gamma = gamma;
    OK(unetstar_model_set_prep(model, &o));
}

static unetstar_prep_state *state_of(unetstar_context *context, const unetstar_model *model, const struct picture *p,
                                     int32_t find_field) {
    unetstar_prep_options o;
    unetstar_prep_state *prep;
    unetstar_source source;
    struct rows rows;
    o.struct_size = sizeof o;
    OK(unetstar_model_get_prep(model, &o));
    rows_open(&rows, &source, p, 1, NULL);
    OK(unetstar_prep_fit(&prep, context, &o, &source, find_field, NULL));
    return prep;
}

/* ---- Passes ---- */

static void test_passes(void **state) {
    enum { W = 45, H = 50 };
    static const struct {
        int32_t min_max, tiles, standardize, clip;
        int64_t passes;
    } cases[] = {{1, 8, 0, 0, 3}, {1, 8, 0, 1, 3}, {0, 0, 0, 0, 1}, {0, 8, 0, 0, 2}, {1, 0, 0, 0, 2},
                 {0, 0, 0, 1, 2}, {1, 8, 1, 0, 5}, {0, 0, 1, 0, 4}, {0, 0, 1, 1, 4}};
    unetstar_context *context = make_context(1);
    unetstar_model *model = plain_model(context, 1, 3);
    unetstar_prep_state *prep;
    struct picture p;
    float *first = blank(W * H), *got = blank(W * H);
    int32_t plan;
    int i, fitted;
    (void)state;
    picture_open(&p, W, H, 3, 8, 0);
    for (i = 0; i < COUNT(cases); i++) {
        set_prep(model, cases[i].min_max, cases[i].tiles, cases[i].standardize, 1.2f);
        prep = state_of(context, model, &p, 1);
        for (plan = WHOLE; plan <= STREAM; plan++)
            for (fitted = 0; fitted < 2; fitted++) {
                unetstar_session_options o;
                unetstar_session *session;
                unetstar_source source;
                struct rows rows;
                OK(unetstar_session_options_init(&o, sizeof o));
                o.plan = plan;
                o.clip_to_field = cases[i].clip;
                o.prep_state = fitted ? prep : NULL;
                o.single_pass = fitted;
                session = session_with(context, &model, 1, &o);
                rows_open(&rows, &source, &p, 1, plan == WHOLE && !fitted ? first : got);
                OK(unetstar_session_run_rows(session, &source, rows_write, &rows, NULL));
                rows_complete(&rows);
                assert_int_equal(rows.passes, fitted ? 1 : cases[i].passes);
                if (plan != WHOLE || fitted)
                    assert_memory_equal(first, got, sizeof *got * W * H);
                unetstar_session_destroy(session);
            }
        unetstar_prep_state_destroy(prep);
    }
    picture_close(&p);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    free(first);
    free(got);
}

/* ---- Callbacks that fail or cancel ---- */

enum { FAIL_IN, FAIL_OUT, CANCEL_IN, CANCEL_OUT, KINDS };

struct trial {
    unetstar_session *session;
    unetstar_cancel *cancel;
    const struct picture *p;
    const float *wanted;
    float *got;
};

static void set_off(struct rows *rows, int kind, int64_t pass, int64_t row) {
    if (kind == FAIL_IN || kind == CANCEL_IN) {
        *(kind == FAIL_IN ? &rows->fail_pass : &rows->cancel_pass) = pass;
        *(kind == FAIL_IN ? &rows->fail_in : &rows->cancel_in) = row;
    } else {
        *(kind == FAIL_OUT ? &rows->fail_out : &rows->cancel_out) = row;
    }
}

/* One run that is stopped; the rows written before are valid, and the next run is as if nothing had been. */
static void stopped_run(const struct trial *t, int kind, int64_t pass, int64_t row) {
    const int64_t w = t->p->image.width, h = t->p->image.height;
    unetstar_source source;
    struct rows rows;
    char text[64];
    rows_open(&rows, &source, t->p, 1, t->got);
    rows.cancel = t->cancel;
    set_off(&rows, kind, pass, row);
    if (kind == FAIL_IN) {
        FAILS_NAMING(UNETSTAR_EUSER, "read_rows returned 42 at row",
                     unetstar_session_run_rows(t->session, &source, rows_write, &rows, t->cancel));
    } else if (kind == FAIL_OUT) {
        snprintf(text, sizeof text, "write_rows returned 43 at row %d", (int)row);
        FAILS_NAMING(UNETSTAR_EUSER, text,
                     unetstar_session_run_rows(t->session, &source, rows_write, &rows, t->cancel));
        assert_int_equal(rows.next_out, row + 1);
    } else {
        FAILS_NAMING(UNETSTAR_ECANCELED, "canceled",
                     unetstar_session_run_rows(t->session, &source, rows_write, &rows, t->cancel));
        if (kind == CANCEL_OUT) /* no row is begun after the request */
            assert_int_equal(rows.next_out, row + 1);
    }
    assert_true(rows.wrong == 0 && rows.late == 0);
    assert_memory_equal(t->got, t->wanted, sizeof *t->got * (size_t)(rows.next_out * w));
    unetstar_cancel_reset(t->cancel);
    memset(t->got, 0xff, sizeof *t->got * (size_t)(w * h));
    rows_open(&rows, &source, t->p, 1, t->got);
    OK(unetstar_session_run_rows(t->session, &source, rows_write, &rows, t->cancel));
    rows_complete(&rows);
    assert_memory_equal(t->got, t->wanted, sizeof *t->got * (size_t)(w * h));
}

static void test_stopped_anywhere(void **state) {
    enum { W = 21, H = 42 };
    unetstar_context *context = make_context(1);
    unetstar_model *model = plain_model(context, 1, 2);
    struct trial t;
    struct picture p;
    float *wanted = blank(W * H);
    int64_t pass, row;
    int32_t plan;
    int kind;
    (void)state;
    picture_open(&p, W, H, 1, 8, 0);
    OK(unetstar_cancel_create(&t.cancel, context));
    t.p = &p;
    t.wanted = wanted;
    t.got = blank(W * H);
    for (plan = WHOLE; plan <= STREAM; plan++) {
        t.session = session_of(context, &model, 1, plan);
        if (plan == WHOLE)
            OK(unetstar_session_run(t.session, &p.image, NULL, wanted, NULL, NULL, NULL));
        for (kind = 0; kind < KINDS; kind++)
            for (pass = 0; pass < (kind == FAIL_IN || kind == CANCEL_IN ? 3 : 1); pass++)
                for (row = 0; row < H;
                     row += row % 8 == 0 || row % 8 == 7 || kind == FAIL_OUT || kind == CANCEL_OUT ? 1 : 6)
                    stopped_run(&t, kind, pass, row);
        unetstar_session_destroy(t.session);
    }
    unetstar_cancel_destroy(t.cancel);
    picture_close(&p);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    free(wanted);
    free(t.got);
}

struct steps {
    int64_t seen, stop_at, last_done, total, wrong, after;
    unetstar_cancel *request; /* instead of a result */
};

static int count_steps(void *user, const unetstar_progress *p) {
    struct steps *s = (struct steps *)user;
    s->wrong += p->phase != UNETSTAR_PHASE_SEGMENT || p->done < s->last_done || p->done > p->total || p->done < 0 ||
                (s->total && p->total != s->total);
    s->after += s->stop_at && s->seen >= s->stop_at;
    s->last_done = p->done;
    s->total = p->total;
    if (++s->seen != s->stop_at)
        return 0;
    if (s->request)
        unetstar_cancel_request(s->request);
    return s->request ? 0 : 7;
}

static void test_progress(void **state) {
    enum { W = 33, H = 40 };
    unetstar_context *context = make_context(1);
    unetstar_model *models[2];
    unetstar_cancel *cancel;
    struct picture p;
    float *wanted = blank(W * H), *got = blank(W * H);
    int32_t plan;
    (void)state;
    models[0] = plain_model(context, 1, 2);
    models[1] = plain_model(context, 1, 3);
    picture_open(&p, W, H, 1, 8, 0);
    OK(unetstar_cancel_create(&cancel, context));
    for (plan = WHOLE; plan <= STREAM; plan++) {
        unetstar_session_options o;
        unetstar_session *session;
        struct steps all, s;
        int64_t k;
        int by_token;
        OK(unetstar_session_options_init(&o, sizeof o));
        o.plan = plan;
        o.views = 2;
        session = session_with(context, models, 2, &o);
        memset(&all, 0, sizeof all);
        OK(unetstar_session_run(session, &p.image, NULL, wanted, cancel, count_steps, &all));
        print_message("  plan %d: %lld reports, %lld of %lld done\n", plan, (long long)all.seen,
                      (long long)all.last_done, (long long)all.total);
        assert_true(all.wrong == 0 && all.last_done == all.total && all.seen >= 5);
        assert_true(plan == WHOLE || all.total == H);
        for (by_token = 0; by_token < 2; by_token++)
            for (k = 1; k <= all.seen; k++) {
                memset(&s, 0, sizeof s);
                s.stop_at = k;
                s.request = by_token ? cancel : NULL;
                FAILS_NAMING(UNETSTAR_ECANCELED, by_token ? "canceled" : "progress",
                             unetstar_session_run(session, &p.image, NULL, got, cancel, count_steps, &s));
                assert_true(s.wrong == 0 && s.after == 0);
                unetstar_cancel_reset(cancel);
            }
        OK(unetstar_session_run(session, &p.image, NULL, got, cancel, NULL, NULL));
        assert_memory_equal(wanted, got, sizeof *got * W * H);
        unetstar_session_destroy(session);
    }
    unetstar_cancel_destroy(cancel);
    picture_close(&p);
    unetstar_model_destroy(models[0]);
    unetstar_model_destroy(models[1]);
    unetstar_context_destroy(context);
    free(wanted);
    free(got);
}

/* ---- Refusals ---- */

static void refuse(unetstar_context *context, unetstar_model *model, const unetstar_session_options *o, int code,
                   const char *word) {
    unetstar_session *session = (unetstar_session *)(uintptr_t)1;
    FAILS_NAMING(code, word, unetstar_session_create(&session, context, (const unetstar_model *const *)&model, 1, o));
    assert_null(session);
}

static void test_refused_plans(void **state) {
    static const char *const reasons[] = {NULL, "instance norm", "group norm", NULL};
    unetstar_context *context = make_context(1);
    unetstar_session_options o;
    int32_t norm, views;
    (void)state;
    for (norm = 0; norm <= UNETSTAR_NORM_NONE; norm++) {
        unetstar_model_options mo;
        unetstar_model *model;
        OK(unetstar_model_options_init(&mo, sizeof mo));
        mo.narrow = 0.0625;
        mo.norm = norm;
        OK(unetstar_model_create(&model, context, &mo));
        for (views = 1; views <= 8; views *= 2) {
            const char *reason = reasons[norm] ? reasons[norm] : views == 4 ? "flipped" : views == 8 ? "quarter" : NULL;
            unetstar_session *session;
            OK(unetstar_session_options_init(&o, sizeof o));
            o.plan = STREAM;
            o.views = views;
            if (reason) {
                refuse(context, model, &o, UNETSTAR_ENOTSUPPORTED, reason);
                o.plan = UNETSTAR_PLAN_AUTO; /* which then is the other plan */
            }
            session = session_with(context, &model, 1, &o);
            unetstar_session_destroy(session);
        }
        unetstar_model_destroy(model);
    }
    unetstar_context_destroy(context);
}

static void test_single_pass(void **state) {
    static const struct {
        int32_t min_max, tiles, standardize, clip;
        const char *word;
    } cases[] = {{1, 0, 0, 0, "min-max"}, {0, 8, 0, 0, "CLAHE"}, {0, 0, 1, 0, "standardize"},
                 {1, 8, 1, 0, "min-max"}, {0, 8, 1, 0, "CLAHE"}, {0, 0, 0, 1, "field of view"},
                 {0, 0, 0, 0, NULL}};
    unetstar_context *context = make_context(1);
    unetstar_model *model = plain_model(context, 1, 2);
    struct picture p;
    int i;
    (void)state;
    picture_open(&p, 40, 30, 1, 8, 0);
    for (i = 0; i < COUNT(cases); i++) {
        unetstar_session_options o;
        unetstar_prep_state *prep;
        unetstar_session *session;
        set_prep(model, cases[i].min_max, cases[i].tiles, cases[i].standardize, 1.2f);
        prep = state_of(context, model, &p, cases[i].clip);
        OK(unetstar_session_options_init(&o, sizeof o));
        o.single_pass = 1;
        o.clip_to_field = cases[i].clip;
        if (cases[i].word)
            refuse(context, model, &o, UNETSTAR_ENOTSUPPORTED, cases[i].word);
        else
            unetstar_session_destroy(session_with(context, &model, 1, &o));
        o.prep_state = prep;
        session = session_with(context, &model, 1, &o);
        if (cases[i].word) { /* it may not be taken away */
            FAILS_NAMING(UNETSTAR_ENOTSUPPORTED, cases[i].word, unetstar_session_set_prep_state(session, NULL));
        } else {
            OK(unetstar_session_set_prep_state(session, NULL));
        }
        unetstar_session_destroy(session);
        unetstar_prep_state_destroy(prep);
    }
    picture_close(&p);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
}

static void run_bits(unetstar_session *session, const struct picture *p, const float *wanted) {
    const int64_t values = p->image.width * p->image.height;
    float *got = blank(values);
    OK(unetstar_session_run(session, &p->image, NULL, got, NULL, NULL, NULL));
    assert_memory_equal(got, wanted, sizeof *got * (size_t)values);
    free(got);
}

static void test_states(void **state) {
    enum { W = 40, H = 30 };
    struct counter counter;
    unetstar_context *context;
    unetstar_model *model, *other;
    unetstar_prep_state *a, *b, *foreign, *unclipped;
    unetstar_session *session;
    unetstar_session_options o;
    struct picture p, q, wrong[4];
    float *of_p = blank(W * H), *of_q = blank((W + 1) * H), *got = blank((W + 1) * (H + 1));
    int i;
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(1, &counter);
    model = plain_model(context, 1, 2);
    other = plain_model(context, 1, 2);
    set_prep(other, 1, 4, 0, 1.2f);
    picture_open(&p, W, H, 3, 8, 0);
    picture_open(&q, W + 1, H, 3, 8, 0);
    picture_open(&wrong[0], W - 1, H, 3, 8, 0);
    picture_open(&wrong[1], W, H + 1, 3, 8, 0);
    picture_open(&wrong[2], W, H, 1, 8, 0);
    picture_open(&wrong[3], W, H, 3, 16, 0);
    a = state_of(context, model, &p, 1);
    b = state_of(context, model, &q, 1);
    unclipped = state_of(context, model, &p, 0);
    foreign = state_of(context, other, &p, 1);
    OK(unetstar_session_options_init(&o, sizeof o));
    o.plan = STREAM;
    o.clip_to_field = 1;
    session = session_with(context, &model, 1, &o);
    OK(unetstar_session_run(session, &p.image, NULL, of_p, NULL, NULL, NULL));
    OK(unetstar_session_run(session, &q.image, NULL, of_q, NULL, NULL, NULL));
    unetstar_session_destroy(session);

    o.prep_state = foreign;
    refuse(context, model, &o, UNETSTAR_EINVAL, "other preprocessing");
    o.prep_state = unclipped;
    refuse(context, model, &o, UNETSTAR_EINVAL, "field of view");
    o.prep_state = a;
    session = session_with(context, &model, 1, &o);
    unetstar_prep_state_destroy(a); /* the session keeps it */
    run_bits(session, &p, of_p);
    for (i = 0; i < 4; i++)
        FAILS_NAMING(UNETSTAR_ESHAPE, "prep_state",
                     unetstar_session_run(session, &wrong[i].image, NULL, got, NULL, NULL, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "other preprocessing", unetstar_session_set_prep_state(session, foreign));
    FAILS_NAMING(UNETSTAR_EINVAL, "field of view", unetstar_session_set_prep_state(session, unclipped));
    run_bits(session, &p, of_p); /* a refused one changes nothing */
    OK(unetstar_session_set_prep_state(session, b));
    OK(unetstar_session_set_prep_state(session, b)); /* the same again */
    unetstar_prep_state_destroy(b);
    run_bits(session, &q, of_q);
    FAILS_NAMING(UNETSTAR_ESHAPE, "41 x 30", unetstar_session_run(session, &p.image, NULL, got, NULL, NULL, NULL));
    OK(unetstar_session_set_prep_state(session, NULL));
    run_bits(session, &p, of_p);
    run_bits(session, &q, of_q);
    unetstar_prep_state_destroy(foreign);
    unetstar_prep_state_destroy(unclipped);
    unetstar_model_destroy(model);
    unetstar_model_destroy(other);
    unetstar_context_destroy(context);
    unetstar_session_destroy(session);
    counter_balanced(&counter);
    for (i = 0; i < 4; i++)
        picture_close(&wrong[i]);
    picture_close(&p);
    picture_close(&q);
    free(of_p);
    free(of_q);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),        cmocka_unit_test(test_stopped_anywhere), cmocka_unit_test(test_progress),
        cmocka_unit_test(test_refused_plans), cmocka_unit_test(test_single_pass),      cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests_name("stream rows", tests, NULL, NULL);
}
