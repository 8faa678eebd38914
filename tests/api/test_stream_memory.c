/*
 * test_stream_memory.c - the memory of sessions: AUTO chooses a plan by budget and arena, what the library counts is
 * what it takes, a byte less is ELIMIT, nothing is written outside an arena, nothing is allocated after creation, and
 * the streaming plan's memory has bounds that do not depend on the height.
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unetstar_workspace workspace_of(const unetstar_session *session, int64_t w, int64_t h) {
    unetstar_workspace said;
    said.struct_size = sizeof said;
    OK(unetstar_session_workspace_size(session, w, h, &said));
    assert_int_equal(said.total, said.maps + said.scratch + said.weights);
    return said;
}

static size_t own_bytes(const unetstar_session *session, int64_t w, int64_t h) {
    const unetstar_workspace said = workspace_of(session, w, h);
    return said.maps + said.scratch;
}

/* The error text of the last call names this number of bytes. */
static void names_bytes(size_t bytes) {
    char number[32];
    snprintf(number, sizeof number, "%zu", bytes);
    if (!strstr(unetstar_last_error(), number)) {
        print_error("'%s' does not name %s\n", unetstar_last_error(), number);
        fail();
    }
}

static void defaults(unetstar_session_options *o, int32_t plan) {
    OK(unetstar_session_options_init(o, sizeof *o));
    o->plan = plan;
}

/* ---- An arena between guards ---- */

#define FENCE 192

struct arena {
    unsigned char *block, *at;
    size_t size;
};

static void arena_open(struct arena *a, size_t size) {
    a->block = (unsigned char *)memory(size + 2 * FENCE + 64);
    a->at = a->block + FENCE;
    a->at += (64 - (uintptr_t)a->at % 64) % 64;
    a->size = size;
    memset(a->at - FENCE, 0x77, FENCE);
    memset(a->at, 0xff, size); /* NaNs: what is read before it is written shows */
    memset(a->at + size, 0x77, FENCE);
}

static void arena_close(struct arena *a) {
    int i;
    for (i = 0; i < FENCE; i++)
        if (a->at[i - FENCE] != 0x77 || a->at[a->size + (size_t)i] != 0x77) {
            print_error("written outside the arena of %zu bytes\n", a->size);
            fail();
        }
    free(a->block);
}

/* ---- AUTO ---- */

enum { WHOLE = UNETSTAR_PLAN_WHOLE, STREAM = UNETSTAR_PLAN_STREAM };

/* A run of `picture` under these options has this plan, or (0) is refused; then the text names both needs. */
static void expect_plan(unetstar_context *context, unetstar_model *model, const unetstar_session_options *o,
                        const struct picture *p, int32_t plan, const float *wanted, const char *word, size_t whole,
                        size_t stream) {
    const int64_t w = p->image.width, h = p->image.height;
    unetstar_session *session = session_with(context, &model, 1, o);
    float *got = blank(w * h);
    if (plan) {
        assert_int_equal(workspace_of(session, w, h).plan, plan);
        OK(unetstar_session_run(session, &p->image, NULL, got, NULL, NULL, NULL));
        assert_memory_equal(got, wanted, (size_t)(w * h) * sizeof *got);
    } else {
        unetstar_workspace said;
        said.struct_size = sizeof said;
        FAILS_NAMING(UNETSTAR_ELIMIT, word, unetstar_session_workspace_size(session, w, h, &said));
        names_bytes(whole);
        names_bytes(stream);
        names_bytes(stream - 1);
        FAILS_NAMING(UNETSTAR_ELIMIT, word, unetstar_session_run(session, &p->image, NULL, got, NULL, NULL, NULL));
        names_bytes(whole);
        names_bytes(stream);
    }
    unetstar_session_destroy(session);
    free(got);
}

static void test_auto(void **state) {
    enum { W = 40, H = 400 };
    unetstar_context *context = make_context(2);
    unetstar_model *model = plain_model(context, 1, 3);
    unetstar_session *session = session_of(context, &model, 1, WHOLE);
    const size_t whole = own_bytes(session, W, H);
    unetstar_session_options o;
    struct picture p;
    size_t stream, limits[4];
    float *wanted = blank(W * H);
    int i, by;
    (void)state;
    picture_open(&p, W, H, 3, 8, 0);
    OK(unetstar_session_run(session, &p.image, NULL, wanted, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    session = session_of(context, &model, 1, STREAM);
    stream = own_bytes(session, W, H);
    unetstar_session_destroy(session);
    print_message("  whole %zu bytes, by rows %zu\n", whole, stream);
    assert_true(stream < whole);
    limits[0] = whole;
    limits[1] = whole - 1;
    limits[2] = stream;
    limits[3] = stream - 1;
    for (i = 0; i < 4; i++)
        for (by = 0; by < 3; by++) { /* the budget, the arena, the smaller of both */
            const int32_t plan = i == 0 ? WHOLE : i < 3 ? STREAM : 0;
            struct arena a;
            arena_open(&a, by == 1 ? limits[i] : whole + 1000);
            defaults(&o, UNETSTAR_PLAN_AUTO);
            if (by != 1)
                o.memory_budget = (int64_t)limits[i];
            if (by != 0) {
                o.arena = a.at;
                o.arena_size = a.size;
            }
            expect_plan(context, model, &o, &p, plan, wanted, by == 1 ? "arena" : "budget", whole, stream);
            o.max_width = W;
            o.max_height = H;
            if (plan) {
                expect_plan(context, model, &o, &p, plan, wanted, "", whole, stream);
            } else {
                FAILS_NAMING(UNETSTAR_ELIMIT, by == 1 ? "arena" : "budget",
                             unetstar_session_create(&session, context, (const unetstar_model *const *)&model, 1, &o));
                names_bytes(whole);
                names_bytes(stream);
                print_message("  %s\n", unetstar_last_error());
                assert_null(session);
            }
            arena_close(&a);
        }
    /* What cannot stream does not fall back; the reason is said. */
    defaults(&o, UNETSTAR_PLAN_AUTO);
    o.memory_budget = 1000;
    o.views = 4;
    session = session_with(context, &model, 1, &o);
    FAILS_NAMING(UNETSTAR_ELIMIT, "flipped", unetstar_session_run(session, &p.image, NULL, wanted, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    free(wanted);
    picture_close(&p);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
}

/* ---- Counted and taken ---- */

#define BLOCK 64 /* every block the library asks for has a line of its own in front */

static void test_counted_and_taken(void **state) {
    int k;
    (void)state;
    for (k = 0; k < 24; k++) {
        const int64_t w = 1 + (int64_t)(noise((uint64_t)k) * 120), h = 1 + (int64_t)(noise((uint64_t)k + 99) * 120);
        const int32_t channels = k % 2 ? 3 : 1;
        struct counter counter;
        unetstar_context *context;
        unetstar_model *models[3];
        unetstar_session *first, *session;
        unetstar_session_options o;
        struct picture p;
        unetstar_workspace said;
        int64_t before, weights;
        float *got = blank(w * h);
        memset(&counter, 0, sizeof counter);
        context = make_counted(k % 8 ? 1 : 3, &counter);
        models[0] = plain_model(context, channels, 2);
        models[1] = plain_model(context, channels, 2 + k % 3);
        models[2] = models[0]; /* twice the same: its weights are there once */
        picture_open(&p, w, h, 3, 8, 0);
        defaults(&o, k % 2 ? STREAM : WHOLE);
        o.views = k % 4 == 2 ? 8 : 1 + k % 3 % 2;
        o.clip_to_field = k / 3 % 2;
        o.precision = k / 2 % 2;
        before = counter.bytes;
        first = session_with(context, models, 1 + k / 2 % 3, &o);
        weights = counter.bytes - before;
        said = workspace_of(first, w, h);
        assert_int_equal(said.plan, o.plan);
        assert_true((int64_t)said.weights <= weights && (int64_t)said.weights + 4096 * (2 + k / 2 % 3) > weights);
        before = counter.bytes;
        OK(unetstar_session_run(first, &p.image, NULL, got, NULL, NULL, NULL));
        assert_int_equal(counter.bytes - before, said.maps + said.scratch + BLOCK);
        /* The same at creation when the size is known; and beside it next to nothing. */
        before = counter.bytes;
        session = session_with(context, models, 1 + k / 2 % 3, &o);
        assert_true(counter.bytes - before < 4096 * (1 + k / 2 % 3));
        unetstar_session_destroy(session);
        o.max_width = w;
        o.max_height = h;
        session = session_with(context, models, 1 + k / 2 % 3, &o);
        assert_true(counter.bytes - before >= (int64_t)(said.maps + said.scratch));
        assert_true(counter.bytes - before < (int64_t)(said.maps + said.scratch) + 4096 * (1 + k / 2 % 3));
        unetstar_session_destroy(session);
        unetstar_session_destroy(first);
        unetstar_model_destroy(models[0]);
        unetstar_model_destroy(models[1]);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
        picture_close(&p);
        free(got);
    }
}

/* ---- Arenas ---- */

static void test_arenas(void **state) {
    unetstar_context *alone = make_context(1), *shared = make_context(3);
    int k;
    (void)state;
    for (k = 0; k < 32; k++) {
        unetstar_context *context = k % 8 ? alone : shared;
        const int64_t w = 1 + (int64_t)(noise((uint64_t)k + 1000) * 90),
                      h = 1 + (int64_t)(noise((uint64_t)k + 2000) * 90);
        unetstar_model *models[2];
        unetstar_session *session;
        unetstar_session_options o;
        struct picture p;
        struct arena a;
        const int64_t n = 1 + k / 4 % 2;
        size_t need;
        float *wanted = blank(w * h), *got = blank(w * h), *x = blank(w * h);
        int64_t i;
        models[0] = plain_model(context, 1, 2 + k % 3);
        models[1] = plain_model(context, 1, 2 + k % 2);
        picture_open(&p, w, h, k % 3 ? 3 : 1, k % 5 ? 8 : 16, k & 1);
        defaults(&o, 1 + k % 2);
        o.views = k % 2 ? 1 + k / 2 % 2 : 1 << k / 2 % 4;
        o.clip_to_field = k / 8 % 2;
        o.precision = k / 2 % 2;
        session = session_with(context, models, n, &o);
        need = own_bytes(session, w, h);
        OK(unetstar_session_run(session, &p.image, NULL, wanted, NULL, NULL, NULL));
        unetstar_session_destroy(session);

        arena_open(&a, need);
        o.arena = a.at;
        o.arena_size = need;
        o.max_width = k & 4 ? w : 0;
        o.max_height = k & 4 ? h : 0;
        session = session_with(context, models, n, &o);
        OK(unetstar_session_run(session, &p.image, k % 3 ? NULL : &p.mask, got, NULL, NULL, NULL));
        OK(unetstar_session_run(session, &p.image, NULL, got, NULL, NULL, NULL));
        assert_memory_equal(got, wanted, (size_t)(w * h) * sizeof *got);
        for (i = 0; i < w * h; i++)
            x[i] = noise((uint64_t)i);
        OK(unetstar_session_run_tensor(session, 1, h, w, x, got, NULL));
        unetstar_session_destroy(session);
        arena_close(&a);

        arena_open(&a, need - 1);
        o.arena = a.at;
        o.arena_size = need - 1;
        o.max_width = o.max_height = 0;
        session = session_with(context, models, n, &o);
        FAILS_NAMING(UNETSTAR_ELIMIT, "arena", unetstar_session_run(session, &p.image, NULL, got, NULL, NULL, NULL));
        names_bytes(need);
        FAILS_NAMING(UNETSTAR_ELIMIT, "arena", unetstar_session_run_tensor(session, 1, h, w, x, got, NULL));
        unetstar_session_destroy(session);
        o.max_width = w;
        o.max_height = h;
        FAILS_NAMING(UNETSTAR_ELIMIT, "arena",
                     unetstar_session_create(&session, context, (const unetstar_model *const *)models, n, &o));
        names_bytes(need);
        assert_null(session);
        for (i = 0; i < (int64_t)need - 1; i++) /* a refused session touches nothing */
            if (a.at[i] != 0xff)
                fail();
        arena_close(&a);
        unetstar_model_destroy(models[0]);
        unetstar_model_destroy(models[1]);
        picture_close(&p);
        free(wanted);
        free(got);
        free(x);
    }
    unetstar_context_destroy(alone);
    unetstar_context_destroy(shared);
}

/* Whatever fits into max_width x max_height fits into the memory planned for it. */
static void test_smaller_images_fit(void **state) {
    static const int32_t views[] = {1, 2, 8};
    unetstar_context *context = make_context(2);
    int k;
    (void)state;
    for (k = 0; k < 12; k++) {
        const int64_t max_w = 40 + 13 * (k % 5), max_h = 33 + 29 * (k % 3);
        unetstar_model_options mo;
        unetstar_model *model;
        unetstar_session *session;
        unetstar_session_options o;
        unetstar_workspace said;
        int64_t w, h, refused = 0;
        OK(unetstar_model_options_init(&mo, sizeof mo));
        mo.narrow = 0.03125;
        mo.levels = 2 + k % 3;
        mo.fusion = k % 3;
        mo.upsampling = k / 2 % 3;
        mo.full_resolution_head = k / 3 % 2;
        OK(unetstar_model_create(&model, context, &mo));
        defaults(&o, k % 2 ? STREAM : k % 4 ? UNETSTAR_PLAN_AUTO : WHOLE);
        o.views = k % 2 ? 1 + k / 2 % 2 : views[k / 2 % 3];
        o.max_width = max_w;
        o.max_height = max_h;
        session = session_with(context, &model, 1, &o);
        said.struct_size = sizeof said;
        for (w = 1; w <= max_w; w += 1 + k % 2 * 8)
            for (h = 1; h <= max_h; h += 1 + k % 2 * 16)
                refused += unetstar_session_workspace_size(session, w, h, &said) != UNETSTAR_OK;
        if (refused)
            print_error("case %d: %lld smaller images are refused: %s\n", k, (long long)refused, unetstar_last_error());
        assert_int_equal(refused, 0);
        FAILS_NAMING(UNETSTAR_ELIMIT, "max_width", unetstar_session_workspace_size(session, max_w + 1, 1, &said));
        FAILS_NAMING(UNETSTAR_ELIMIT, "max_height", unetstar_session_workspace_size(session, 1, max_h + 1, &said));
        unetstar_session_destroy(session);
        unetstar_model_destroy(model);
    }
    unetstar_context_destroy(context);
}

/* ---- No allocation ---- */

/* Every way to run an image; the picture's input channels are 1. */
static void run_all_ways(unetstar_session *session, const struct picture *p) {
    const int64_t w = p->image.width, h = p->image.height;
    float *out = blank(2 * w * h), *x = blank(2 * w * h);
    unetstar_source source;
    struct rows rows;
    int64_t i;
    for (i = 0; i < 2 * w * h; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_session_run(session, &p->image, NULL, out, NULL, NULL, NULL));
    OK(unetstar_session_run(session, &p->image, &p->mask, out, NULL, NULL, NULL));
    OK(unetstar_session_run_tensor(session, 2, h, w, x, out, NULL));
    rows_open(&rows, &source, p, 1, out);
    OK(unetstar_session_run_rows(session, &source, rows_write, &rows, NULL));
    rows_complete(&rows);
    free(out);
    free(x);
}

static void test_no_allocation(void **state) {
    enum { W = 51, H = 60 };
    static const int64_t sizes[][2] = {{W, H}, {W - 1, H}, {7, H}, {W, 1}, {1, 1}, {W, H}};
    int k, i;
    (void)state;
    for (k = 0; k < 16; k++) {
        struct counter counter;
        unetstar_context *context;
        unetstar_model *models[3];
        unetstar_session *session;
        unetstar_session_options o;
        unetstar_prep_options prep;
        struct picture p;
        int64_t before;
        float *out = blank(W * (H + 1));
        memset(&counter, 0, sizeof counter);
        context = make_counted(k < 14 ? 1 : 2, &counter);
        for (i = 0; i < 3; i++) {
            models[i] = plain_model(context, 1, 2 + i);
            OK(unetstar_prep_options_init(&prep, sizeof prep));
            prep.standardize = i == 1;
            OK(unetstar_model_set_prep(models[i], &prep));
        }
        defaults(&o, k % 2 ? STREAM : WHOLE);
        o.clip_to_field = k / 2 % 2;
        o.views = k % 2 ? 1 + k / 4 % 2 : 1 << k / 4 % 4;
        o.max_width = k % 3 ? W : 0; /* every third learns the size from its first run */
        o.max_height = k % 3 ? H : 0;
        session = session_with(context, models, 1 + k / 2 % 3, &o);
        if (!o.max_width) {
            picture_open(&p, W, H, 3, 8, 0);
            OK(unetstar_session_run(session, &p.image, NULL, out, NULL, NULL, NULL));
            picture_close(&p);
        }
        before = counter.calls;
        for (i = 0; i < COUNT(sizes); i++) {
            picture_open(&p, sizes[i][0], sizes[i][1], i % 2 ? 1 : 3, i % 3 ? 8 : 16, i & 1);
            run_all_ways(session, &p);
            picture_close(&p);
        }
        assert_int_equal(counter.calls, before);
        picture_open(&p, W + 1, H - 1, 1, 8, 0);
        if (o.max_width) {
            struct rows rows;
            unetstar_source source;
            rows_open(&rows, &source, &p, 1, out);
            FAILS_NAMING(UNETSTAR_ELIMIT, "max_width",
                         unetstar_session_run(session, &p.image, NULL, out, NULL, NULL, NULL));
            FAILS_NAMING(UNETSTAR_ELIMIT, "max_width",
                         unetstar_session_run_rows(session, &source, rows_write, &rows, NULL));
            assert_true(rows.passes == 0 && rows.next_out == 0);
            FAILS_NAMING(UNETSTAR_ELIMIT, "max_height",
                         unetstar_session_run_tensor(session, 1, H + 1, W, out, out, NULL));
            assert_int_equal(counter.calls, before);
        }
        picture_close(&p);
        unetstar_session_destroy(session);
        for (i = 0; i < 3; i++)
            unetstar_model_destroy(models[i]);
        unetstar_context_destroy(context);
        counter_balanced(&counter);
        free(out);
    }
}

/* ---- Bounds ---- */

static unetstar_workspace bars_of(unetstar_context *context, int32_t plan, int32_t precision, int32_t full, int64_t w,
                                  int64_t h) {
    unetstar_model_options o;
    unetstar_session_options so;
    unetstar_session *session;
    unetstar_workspace said;
    unetstar_model *model;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.in_channels = 3;
    o.full_resolution_head = full;
    OK(unetstar_model_create(&model, context, &o));
    defaults(&so, plan);
    so.precision = precision;
    session = session_with(context, &model, 1, &so);
    said = workspace_of(session, w, h);
    print_message("  %s, %s%s, %5d x %5d: maps %7.2f MB, scratch %5.2f, weights %6.2f\n",
                  plan == STREAM ? "rows " : "whole", precision ? "exact" : "fast ", full ? ", full" : "      ", (int)w,
                  (int)h, (double)said.maps / 1e6, (double)said.scratch / 1e6, (double)said.weights / 1e6);
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
    return said;
}

static void test_bounds(void **state) {
    static const struct {
        int32_t plan, precision;
        int64_t w, h;
        double maps, weights, both; /* megabytes, 0: no bound */
    } bars[] = {{STREAM, 1, 704, 608, 12, 12, 0}, {STREAM, 1, 4000, 4000, 64, 12, 0},
                {STREAM, 0, 704, 608, 0, 0, 90},  {STREAM, 0, 4000, 4000, 0, 0, 250},
                {WHOLE, 0, 704, 608, 130, 0, 0},  {WHOLE, 1, 704, 608, 130, 0, 0}};
    unetstar_context *context = make_context(1);
    int i, full;
    (void)state;
    for (i = 0; i < COUNT(bars); i++)
        for (full = 0; full < 2; full++) {
            const unetstar_workspace said =
                bars_of(context, bars[i].plan, bars[i].precision, full, bars[i].w, bars[i].h);
            if (full) /* only looked at */
                continue;
            assert_true(bars[i].maps == 0 || (double)said.maps <= 1e6 * bars[i].maps);
            assert_true(bars[i].weights == 0 || (double)said.weights <= 1e6 * bars[i].weights);
            assert_true(bars[i].both == 0 || (double)(said.maps + said.weights) <= 1e6 * bars[i].both);
        }
    for (i = 0; i < 2; i++) {
        const unetstar_workspace low = bars_of(context, STREAM, i, 0, 2000, 1000);
        const unetstar_workspace high = bars_of(context, STREAM, i, 0, 2000, 30000);
        assert_int_equal(low.maps, high.maps);
        assert_int_equal(low.scratch, high.scratch);
        assert_int_equal(low.weights, high.weights);
    }
    unetstar_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto),          cmocka_unit_test(test_counted_and_taken),
        cmocka_unit_test(test_arenas),        cmocka_unit_test(test_smaller_images_fit),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("stream memory", tests, NULL, NULL);
}
