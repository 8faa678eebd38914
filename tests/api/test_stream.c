/*
 * test_stream.c - the streaming plan of a session gives the bits of the whole-image plan: from images, rows and
 * tensors, for every kind of network, size, preprocessing and pixel, views and several models, threads and instruction
 * sets.
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One comparison ---- */

struct setup {
    unetstar_context *context;
    unetstar_model *models[4];
    int64_t n_models;
    int32_t precision, views, clip;
};

static unetstar_session *open_plan(const struct setup *s, int32_t plan, int32_t clip) {
    unetstar_session_options o;
    OK(unetstar_session_options_init(&o, sizeof o));
    o.plan = plan;
    o.precision = s->precision;
    o.views = s->views;
    o.clip_to_field = clip;
    return session_with(s->context, s->models, s->n_models, &o);
}

static void same(const float *wanted, const float *got, int64_t values, const char *what) {
    int64_t i, differ = 0;
    if (!memcmp(wanted, got, (size_t)values * sizeof *got))
        return;
    for (i = 0; i < values; i++)
        differ += memcmp(&wanted[i], &got[i], sizeof *got) != 0;
    print_error("  %s: %lld of %lld values differ\n", what, (long long)differ, (long long)values);
    fail();
}

static void same_rows(const struct setup *s, const struct picture *p, const float *wanted, int64_t values) {
    int32_t plan;
    for (plan = UNETSTAR_PLAN_WHOLE; plan <= UNETSTAR_PLAN_STREAM; plan++) {
        unetstar_session *session = open_plan(s, plan, s->clip);
        unetstar_source source;
        struct rows rows;
        float *got = blank(values);
        rows_open(&rows, &source, p, unetstar_session_channels(session), got);
        OK(unetstar_session_run_rows(session, &source, rows_write, &rows, NULL));
        rows_complete(&rows);
        same(wanted, got, values, plan == UNETSTAR_PLAN_WHOLE ? "rows, whole" : "rows, streaming");
        unetstar_session_destroy(session);
        free(got);
    }
}

/* Two tensors in a call. One model's input can be made outside: then the image's result is known for the first. */
static void same_tensors(const struct setup *s, const struct picture *p, const unetstar_image *mask,
                         const float *wanted, int64_t values) {
    const int64_t w = p->image.width, h = p->image.height;
    unetstar_session *whole = open_plan(s, UNETSTAR_PLAN_WHOLE, 0),
                     *stream = open_plan(s, UNETSTAR_PLAN_STREAM, s->clip);
    unetstar_model_options o;
    unetstar_prep_options prep;
    float *x, *a = blank(2 * values), *b = blank(2 * values);
    int64_t inputs, i;
    o.struct_size = sizeof o;
    prep.struct_size = sizeof prep;
    OK(unetstar_model_get_options(s->models[0], &o));
    OK(unetstar_model_get_prep(s->models[0], &prep));
    inputs = o.in_channels * w * h;
    x = blank(2 * inputs);
    if (s->n_models == 1)
        OK(unetstar_preprocess(s->context, &prep, &p->image, mask, x));
    for (i = s->n_models == 1 ? inputs : 0; i < 2 * inputs; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_session_run_tensor(whole, 2, h, w, x, a, NULL));
    OK(unetstar_session_run_tensor(stream, 2, h, w, x, b, NULL));
    same(a, b, 2 * values, "tensors");
    if (s->n_models == 1 && !s->clip)
        same(wanted, b, values, "a tensor against its image");
    unetstar_session_destroy(whole);
    unetstar_session_destroy(stream);
    free(x);
    free(a);
    free(b);
}

/* Everything that must be the same; the number of zeros in the result. */
static int64_t compare(const struct setup *s, const struct picture *p, int masked) {
    const unetstar_image *mask = masked ? &p->mask : NULL;
    unetstar_session *whole = open_plan(s, UNETSTAR_PLAN_WHOLE, s->clip);
    unetstar_session *stream = open_plan(s, UNETSTAR_PLAN_STREAM, s->clip);
    const int64_t values = unetstar_session_channels(whole) * p->image.width * p->image.height;
    float *wanted = blank(values), *got = blank(values);
    int64_t i, zeros = 0;
    OK(unetstar_session_run(whole, &p->image, mask, wanted, NULL, NULL, NULL));
    OK(unetstar_session_run(stream, &p->image, mask, got, NULL, NULL, NULL));
    for (i = 0; i < values; i++) {
        const int64_t at = i % (p->image.width * p->image.height), y = at / p->image.width, x = at % p->image.width;
        assert_true(wanted[i] >= 0 && wanted[i] <= 1);
        zeros += wanted[i] == 0.0f;
        if (s->clip && masked && !p->mask_data[y * p->mask.row_stride + x])
            assert_true(wanted[i] == 0.0f);
    }
    same(wanted, got, values, "images");
    if (!masked)
        same_rows(s, p, wanted, values);
    same_tensors(s, p, mask, wanted, values);
    unetstar_session_destroy(whole);
    unetstar_session_destroy(stream);
    free(wanted);
    free(got);
    return zeros;
}

/* ---- What is compared ---- */

static const int64_t sizes[][2] = {/* width, height */
                                   {1, 1},   {17, 15},  {37, 1},  {1, 41},  {2, 31},   {61, 53},  {130, 9}, {9, 130},
                                   {32, 32}, {127, 29}, {29, 67}, {64, 96}, {101, 33}, {48, 113}, {33, 64}, {5, 7}};

static void prep_variant(unetstar_prep_options *o, int k, int32_t channels) {
    OK(unetstar_prep_options_init(o, sizeof *o));
    o->color = channels == 3 ? UNETSTAR_COLOR_RGB : k & 16 ? UNETSTAR_COLOR_GREEN : UNETSTAR_COLOR_GRAY;
    o->min_max = k & 1;
    o->clahe_tiles = k & 2 ? 1 + k % 8 : 0;
    o->standardize = (k & 4) / 4;
    o->gamma = k & 8 ? 1.2f : 1.0f;
}

static void test_every_kind_of_network(void **state) {
    unetstar_context *alone = make_context(1), *shared = make_context(2);
    static const int32_t levels[] = {2, 3, 2, 4, 3, 5, 2, 3, 4};
    int fusion, act, upsampling, full, at = 0, compared = 0;
    int64_t zeros = 0;
    (void)state;
    for (fusion = 0; fusion <= UNETSTAR_FUSION_CONCAT; fusion++)
        for (act = 0; act <= UNETSTAR_ACTIVATION_GELU; act++)
            for (upsampling = 0; upsampling <= UNETSTAR_UPSAMPLING_TRANSPOSED; upsampling++)
                for (full = 0; full < 2; full++, at++) {
                    const int64_t *size = sizes[at * 7 % COUNT(sizes)];
                    unetstar_model_options o;
                    unetstar_prep_options prep;
                    struct picture p;
                    struct setup s;
                    if (test_skips(at))
                        continue;
                    compared++;
                    memset(&s, 0, sizeof s);
                    OK(unetstar_model_options_init(&o, sizeof o));
                    o.narrow = at % 5 ? 0.0625 : 0.3125;
                    o.levels = o.narrow > 0.1 ? 2 + at % 2 : levels[at / 2 % COUNT(levels)];
                    o.in_channels = at % 3 ? 1 : 3;
                    o.classes = 1 + at / 3 % 3;
                    o.fusion = fusion;
                    o.activation = act;
                    o.upsampling = upsampling;
                    o.full_resolution_head = full;
                    o.norm = at % 7 ? UNETSTAR_NORM_BATCH : UNETSTAR_NORM_NONE;
                    o.precision = at % 11 ? UNETSTAR_PRECISION_FAST : UNETSTAR_PRECISION_EXACT;
                    prep_variant(&prep, at * 5, o.in_channels);
                    s.context = at % 6 ? alone : shared;
                    s.models[0] = noisy_model(s.context, &o, &prep);
                    s.n_models = 1;
                    s.precision = at / 2 % 2 ? UNETSTAR_PRECISION_EXACT : UNETSTAR_PRECISION_FAST;
                    s.views = 1 + (at % 4 == 3);
                    s.clip = at % 5 == 2;
                    picture_open(&p, size[0], size[1], at % 2 ? 3 : 1, at / 4 % 2 ? 16 : 8, at % 3 == 1);
                    zeros += compare(&s, &p, at % 6 == 5);
                    picture_close(&p);
                    unetstar_model_destroy(s.models[0]);
                }
    print_message("  %d networks, %lld zeros: the same bits\n", compared, (long long)zeros);
    assert_true(zeros > 100); /* clipping did something */
    unetstar_context_destroy(alone);
    unetstar_context_destroy(shared);
}

static void test_every_size(void **state) {
    unetstar_context *context = make_context(1);
    struct setup s;
    int i;
    (void)state;
    memset(&s, 0, sizeof s);
    s.context = context;
    s.n_models = 1;
    s.views = 1;
    for (i = 0; i < 2 * COUNT(sizes); i++) {
        struct picture p;
        s.models[0] = plain_model(context, 1, 2 + i % 4);
        s.precision = i / COUNT(sizes) ? UNETSTAR_PRECISION_EXACT : UNETSTAR_PRECISION_FAST;
        picture_open(&p, sizes[i % COUNT(sizes)][0], sizes[i % COUNT(sizes)][1], 3, 8, i & 1);
        compare(&s, &p, 0);
        picture_close(&p);
        unetstar_model_destroy(s.models[0]);
    }
    unetstar_context_destroy(context);
}

static void test_every_preprocessing(void **state) {
    unetstar_context *context = make_context(1);
    struct setup s;
    int k, clipped, masked;
    (void)state;
    memset(&s, 0, sizeof s);
    s.context = context;
    s.n_models = 1;
    for (k = 0; k < 32; k++) {
        if (test_skips(k))
            continue;
        for (clipped = 0; clipped < 2; clipped++)
            for (masked = 0; masked < 2; masked++) {
                const int32_t channels = k / 2 % 2 ? 3 : 1;
                unetstar_prep_options prep;
                struct picture p;
                int64_t zeros;
                s.models[0] = plain_model(context, channels, 2);
                prep_variant(&prep, k, channels);
                OK(unetstar_model_set_prep(s.models[0], &prep));
                s.views = 1 + k % 3 % 2;
                s.clip = clipped;
                picture_open(&p, 71, 66, (k + masked) % 2 ? 3 : 1, (k + clipped) % 2 ? 16 : 8, k % 3);
                zeros = compare(&s, &p, masked);
                assert_true(zeros > 200 || !clipped); /* the corners */
                picture_close(&p);
                unetstar_model_destroy(s.models[0]);
            }
    }
    unetstar_context_destroy(context);
}

/* Models that have nothing in common but their channels: their rows come out after different numbers of rows in. */
static void test_several_models(void **state) {
    unetstar_context *context = make_context(1);
    int k, m;
    (void)state;
    for (k = 0; k < 16; k++) {
        const int32_t channels = k % 2 ? 3 : 1;
        struct setup s;
        struct picture p;
        memset(&s, 0, sizeof s);
        s.context = context;
        s.n_models = 2 + k % 3;
        s.precision = k / 2 % 2;
        s.views = 1 + k / 4 % 2;
        s.clip = k / 8 % 2;
        for (m = 0; m < s.n_models; m++) {
            unetstar_model_options o;
            unetstar_prep_options prep;
            OK(unetstar_model_options_init(&o, sizeof o));
            o.narrow = 0.03125 * (1 + (k + m) % 3);
            o.levels = 2 + (k + 3 * m) % 4;
            o.in_channels = channels;
            o.classes = 1 + k % 3;
            o.fusion = (k + m) % 3;
            o.activation = (k + m) % 6;
            o.upsampling = (k / 3 + m) % 3;
            o.full_resolution_head = (k / 2 + m) % 2;
            o.precision = m == 3 ? UNETSTAR_PRECISION_EXACT : UNETSTAR_PRECISION_FAST;
            o.seed = (uint64_t)(k * 10 + m);
            prep_variant(&prep, m == 2 ? k : k + 5 * m, channels); /* the first and the third share theirs */
            s.models[m] = noisy_model(context, &o, &prep);
        }
        picture_open(&p, 45 + k, k % 4 ? 83 - k : 7 + k, k % 4 ? 3 : 1, 8, 0);
        compare(&s, &p, k % 5 == 4);
        picture_close(&p);
        for (m = 0; m < s.n_models; m++)
            unetstar_model_destroy(s.models[m]);
    }
    unetstar_context_destroy(context);
}

/* ---- Threads and instruction sets ---- */

static void test_threads_and_instruction_sets(void **state) {
    static const int32_t threads[] = {1, 2, 5};
    static const int32_t levels[] = {UNETSTAR_ISA_BEST, UNETSTAR_ISA_REFERENCE, UNETSTAR_ISA_REFERENCE_FMA,
                                     UNETSTAR_ISA_AVX2, UNETSTAR_ISA_AVX512};
    enum { W = 53, H = 70 };
    struct picture p;
    float *wanted[2] = {NULL, NULL};
    int t, l, precision;
    (void)state;
    picture_open(&p, W, H, 3, 8, 0);
    for (l = 0; l < COUNT(levels); l++)
        for (t = 0; t < COUNT(threads); t++) {
            unetstar_context_options options;
            unetstar_context *context;
            unetstar_model *model;
            int32_t plan;
            context_options(&options, threads[t], NULL);
            options.isa_limit = levels[l] == UNETSTAR_ISA_BEST ? options.isa_limit : levels[l];
            OK(unetstar_context_create(&context, &options));
            if (t == 0)
                print_message("  limit %d: %s\n", levels[l], unetstar_context_isa(context));
            model = plain_model(context, 3, 3);
            for (precision = 0; precision <= UNETSTAR_PRECISION_EXACT; precision++)
                for (plan = UNETSTAR_PLAN_WHOLE; plan <= UNETSTAR_PLAN_STREAM; plan++) {
                    unetstar_session_options o;
                    unetstar_session *session;
                    float *got = blank(W * H);
                    OK(unetstar_session_options_init(&o, sizeof o));
                    o.plan = plan;
                    o.precision = precision;
                    o.views = 2;
                    session = session_with(context, &model, 1, &o);
                    OK(unetstar_session_run(session, &p.image, NULL, got, NULL, NULL, NULL));
                    unetstar_session_destroy(session);
                    if (!wanted[precision]) {
                        wanted[precision] = got;
                        continue;
                    }
                    same(wanted[precision], got, W * H, "threads and instruction sets");
                    free(got);
                }
            unetstar_model_destroy(model);
            unetstar_context_destroy(context);
        }
    assert_true(memcmp(wanted[0], wanted[1], sizeof(float) * W * H) != 0); /* there is something to tell apart */
    free(wanted[0]);
    free(wanted[1]);
    picture_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_network),        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_every_preprocessing),          cmocka_unit_test(test_several_models),
        cmocka_unit_test(test_threads_and_instruction_sets),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
