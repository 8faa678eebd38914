/*
 * test_stream.c - the streaming plan of an evaluation: the bits of the whole-image plan for every kind of network and
 * size, in rings that suffice for every height, and in no more memory than was measured.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../api/part.h"
#include "api/api.h"
#include "nn/map.h"
#include "nn/ranges.h"
#include "nn/schedule.h"

static unetstar_context *context;
static struct us_rng rng;

/* ---- The schedule alone ---- */

/* Follows the schedule of an image of this height; returns how many rows would be overwritten before they are read. */
static int lost_rows(const struct us_net *net, const int *tile, const struct us_rings *rings, int64_t height,
                     int64_t width) {
    const int padded = (int)us_net_padded(net, height);
    struct us_schedule s;
    struct us_turn turn;
    int lost = 0, i;
    int64_t fed = 0;
    us_schedule_begin(&s, net, tile, 1, padded, width);
    while (fed < height) {
        const int before = us_schedule_lowest(&s, -1);
        fed = US_MIN(fed + US_EVALUATION_FEED - (int64_t)us_rng_below(&rng, 2), height);
        s.fed = fed == height ? padded : (int)fed;
        lost += (int)fed - before > rings->image;
        while (us_schedule_next(&s, &turn)) {
            const int lowest = us_schedule_lowest(&s, turn.stage);
            if (turn.stage == s.stages - 1)
                lost += turn.y1 - turn.y0 > rings->rows[turn.stage];
            else
                lost += turn.y1 - US_MIN(lowest, turn.y0) > rings->rows[turn.stage];
        }
    }
    for (i = 0; i < s.stages; i++) /* everything is computed in the end */
        lost += s.done[i] != s.h[i];
    return lost;
}

/* Rows lost by networks of these options at any height of an image. */
static int rows_lost(const unetstar_model_options *o, int exact, int width) {
    const int step = test_part();
    int tile[US_MAX_UNITS], u, lost = 0;
    struct us_rings rings;
    unetstar_model *model;
    int64_t height;
    assert_int_equal(unetstar_model_create(&model, context, o), 0);
    for (u = 0; u < model->net->n_units; u++)
        tile[u] = us_evaluation_tile(model->net, u, exact);
    us_schedule_rings(&rings, model->net, tile, US_EVALUATION_FEED, width);
    for (height = 1; height < 1100; height += height < 130 ? step : 13 * step)
        lost += lost_rows(model->net, tile, &rings, height, width);
    assert_int_equal(lost_rows(model->net, tile, &rings, 4001, width), 0);
    /* A checker that sees nothing would pass too: a ring of one turn less must be noticed. */
    rings.rows[1] -= tile[1] ? 2 * tile[1] : 2;
    assert_true(lost_rows(model->net, tile, &rings, 1000, width) > 0);
    unetstar_model_destroy(model);
    return lost;
}

static void test_rings_suffice_for_every_height(void **state) {
    static const int widths[] = {704, 64, 4000};
    unetstar_model_options o;
    int levels, upsampling, full, exact, lost;
    (void)state;
    unetstar_model_options_init(&o, sizeof o);
    o.narrow = 0.015625;
    for (levels = 2; levels <= 5; levels++)
        for (upsampling = 0; upsampling <= UNETSTAR_UPSAMPLING_TRANSPOSED; upsampling++)
            for (full = 0; full < 2; full++)
                for (exact = 0; exact < 2; exact++) {
                    o.levels = levels;
                    o.upsampling = upsampling;
                    o.full_resolution_head = full;
                    lost = rows_lost(&o, exact, widths[(levels + upsampling + full + exact) % US_COUNT(widths)]);
                    print_message("  levels %d, upsampling %d, full %d, exact %d: %d rows lost\n", levels, upsampling,
                                  full, exact, lost);
                    assert_int_equal(lost, 0);
                }
    for (levels = 2; levels <= 4; levels++) {
        o.block = levels % 2 ? UNETSTAR_BLOCK_STAR : UNETSTAR_BLOCK_STAR_DEPTHWISE;
        o.fusion_norm = levels != 3;
        o.levels = levels;
        o.upsampling = levels - 2;
        o.full_resolution_head = levels % 2;
        assert_int_equal(rows_lost(&o, levels == 3, widths[levels - 2]), 0);
    }
}

/* ---- Bits ---- */

enum { GUARD = 256 };

/* Memory filled with NaNs, so that what is read before it is written shows, and a guard behind it. */
static char *guarded(size_t size) {
    char *memory = (char *)us_alloc(context, size + GUARD);
    assert_non_null(memory);
    memset(memory, 0xff, size + GUARD);
    return memory;
}

static void release(char *memory, size_t size) {
    size_t i;
    for (i = 0; i < GUARD; i++)
        assert_int_equal((unsigned char)memory[size + i], 0xff);
    us_free(context, memory);
}

static void stream_into(const struct us_evaluation_shape *shape, const struct us_folded *folded, const float *x,
                        float *probability) {
    const int64_t h = shape->height, w = shape->width, channels = shape->net->options.in_channels;
    struct us_evaluation_size size;
    struct us_evaluation_step step;
    us_evaluation *e;
    char *memory;
    int64_t fed = 0, got = 0, c, y;
    us_evaluation_measure(&size, context, shape);
    memory = guarded(size.maps + size.scratch);
    e = us_evaluation_begin(context, shape, folded, memory, memory + size.maps);
    us_evaluation_output(e, probability, (size_t)(h * w), (int)h);
    while (fed < h) {
        const int64_t some = 1 + (int64_t)us_rng_below(&rng, US_EVALUATION_FEED), n = US_MIN(some, h - fed);
        for (y = fed; y < fed + n; y++)
            for (c = 0; c < channels; c++)
                memcpy(us_evaluation_row(e, (int)c, y), x + (c * h + y) * w, (size_t)w * sizeof *x);
        fed += n;
        us_evaluation_fed(e, fed);
        do {
            assert_int_equal(us_evaluation_next(e, &step), 0);
            assert_true(step.y1 - step.y0 <= size.output_rows);
            if (step.y1 > step.y0) {
                assert_int_equal(step.y0, got);
                got = step.y1;
            }
        } while (!step.starved);
    }
    assert_int_equal(got, h);
    release(memory, size.maps + size.scratch);
}

/* Scales by chance for everything that can be in bytes, but for some units. */
static void make_up(struct us_calibration *c, const struct us_net *net) {
    int u;
    memset(c, 0, sizeof *c);
    for (u = 0; u < net->n_units; u++) {
        const int main = net->units[u].in.main, same = net->units[u].in.kind == US_IN_UNIT && c->value[main].scale > 0;
        if (us_quant_takes_unit(net, u) && us_rng_below(&rng, 8))
            c->input[u] = same ? c->value[main] : us_quant_of(0.005 + 0.02 * us_rng_uniform(&rng), (int)us_rng_below(&rng, 256));
        if (us_quant_takes_value(net, u) && (net->units[u].in.kind == US_IN_IMAGE || c->input[u].scale > 0))
            c->value[u] = us_quant_of(0.005 + 0.02 * us_rng_uniform(&rng), (int)us_rng_below(&rng, 256));
    }
    assert_int_equal(us_calibration_check(c, net), 0);
}

static int compare(const unetstar_model_options *o, int64_t h, int64_t w, int precision) {
    const size_t outputs = (size_t)(h * w) * (size_t)(o->classes <= 2 ? 1 : o->classes);
    const size_t inputs = (size_t)(h * w) * (size_t)o->in_channels;
    struct us_evaluation_shape shape = {NULL, 0, 0, 0, 0, NULL};
    struct us_evaluation_size size;
    struct us_calibration calibration;
    struct us_folded *folded;
    unetstar_model *model;
    float *x = (float *)malloc(inputs * sizeof *x), *whole = (float *)malloc(outputs * sizeof *whole);
    float *stream = (float *)malloc(outputs * sizeof *stream);
    char *memory;
    size_t i;
    int differ;
    assert_int_equal(unetstar_model_create(&model, context, o), 0);
    make_up(&calibration, model->net);
    assert_int_equal(us_folded_create(&folded, context, model->net, &model->params, precision,
                                      precision == UNETSTAR_PRECISION_INT8 ? &calibration : NULL),
                     0);
    shape.calibration = folded->calibration;
    for (i = 0; i < inputs; i++)
        x[i] = (float)(2 * us_rng_uniform(&rng) - 1);
    memset(whole, 0xff, outputs * sizeof *whole);
    memset(stream, 0xff, outputs * sizeof *stream);
    shape.net = model->net;
    shape.height = h;
    shape.width = w;
    shape.precision = precision;
    us_evaluation_measure(&size, context, &shape);
    memory = guarded(size.maps + size.scratch);
    assert_int_equal(us_evaluate(context, &shape, folded, x, whole, memory, NULL, NULL), 0);
    release(memory, size.maps + size.scratch);
    shape.stream = 1;
    stream_into(&shape, folded, x, stream);
    differ = memcmp(whole, stream, outputs * sizeof *whole) != 0;
    for (i = 0; i < outputs; i++)
        assert_true(whole[i] >= 0 && whole[i] <= 1);
    us_folded_unref(folded);
    unetstar_model_destroy(model);
    free(x);
    free(whole);
    free(stream);
    return differ;
}

static const int64_t sizes[][2] = {{1, 1},    {15, 17},  {1, 97},  {97, 1},    {2, 31},  {16, 16},
                                   {13, 300}, {300, 13}, {53, 61}, {101, 127}, {96, 96}, {193, 47}};

static void test_every_kind_of_network(void **state) {
    int fusion, act, upsampling, full, precision, at = 0, compared = 0;
    (void)state;
    for (fusion = 0; fusion <= UNETSTAR_FUSION_CONCAT; fusion++)
        for (act = 0; act <= UNETSTAR_ACTIVATION_GELU; act++)
            for (upsampling = 0; upsampling <= UNETSTAR_UPSAMPLING_TRANSPOSED; upsampling++)
                for (full = 0; full < 2; full++)
                    for (precision = 0; precision <= UNETSTAR_PRECISION_INT8; precision++, at++) {
                        const int64_t *size = sizes[at % US_COUNT(sizes)];
                        unetstar_model_options o;
                        int differ;
                        if (test_skips(at))
                            continue;
                        compared++;
                        unetstar_model_options_init(&o, sizeof o);
                        o.narrow = at % 2 ? 0.3125 : 0.125;
                        o.levels = 2 + at % 3;
                        o.in_channels = 1 + at % 4;
                        o.classes = 1 + at % 3;
                        o.fusion = fusion;
                        o.activation = act;
                        o.upsampling = upsampling;
                        o.full_resolution_head = full;
                        o.norm = at % 5 ? UNETSTAR_NORM_BATCH : UNETSTAR_NORM_NONE;
                        differ = compare(&o, size[0], size[1], precision);
                        if (differ)
                            print_message("  fusion %d act %d up %d full %d precision %d, %d x %d: other bits\n",
                                          fusion, act, upsampling, full, precision, (int)size[0], (int)size[1]);
                        assert_int_equal(differ, 0);
                    }
    print_message("  %d networks: the same bits\n", compared);
    assert_true(compared >= at / 8 && compared > 0);
}

static void test_star_blocks(void **state) {
    int i;
    (void)state;
    for (i = 0; i < 18; i++) {
        const int64_t *size = sizes[i * 5 % US_COUNT(sizes)];
        unetstar_model_options o;
        if (test_skips(i))
            continue;
        unetstar_model_options_init(&o, sizeof o);
        o.block = i / 2 % 2 ? UNETSTAR_BLOCK_STAR : UNETSTAR_BLOCK_STAR_DEPTHWISE;
        o.block_expansion = 1 + i % 4;
        o.narrow = i % 2 ? 0.3125 : 0.125;
        o.levels = 2 + i % 3;
        o.in_channels = 1 + i % 4;
        o.fusion = i / 3 % 3;
        o.activation = i % 6;
        o.upsampling = i / 2 % 3;
        o.full_resolution_head = i % 2;
        o.norm = i % 5 ? UNETSTAR_NORM_BATCH : UNETSTAR_NORM_NONE;
        o.fusion_norm = i % 5 && o.fusion != UNETSTAR_FUSION_CONCAT && i % 4 < 3;
        if (compare(&o, size[0], size[1], i % 3))
            fail_msg("%d: block %d, fusion %d, norm %d, after it %d, activation %d, upsampling %d, precision %d, %d x %d", i,
                     o.block, o.fusion, o.norm, o.fusion_norm, o.activation, o.upsampling, i % 3, (int)size[0],
                     (int)size[1]);
    }
    print_message("  %d networks of star blocks: the same bits\n", i);
}

static void test_every_size(void **state) {
    int i, precision, threads = (int)unetstar_context_threads(context);
    (void)state;
    for (precision = 0; precision <= UNETSTAR_PRECISION_INT8; precision++)
        for (i = 0; i < US_COUNT(sizes); i++) {
            unetstar_model_options o;
            if (threads > 1 && test_skips(precision * US_COUNT(sizes) + i))
                continue;
            unetstar_model_options_init(&o, sizeof o);
            o.narrow = 0.25;
            assert_int_equal(compare(&o, sizes[i][0], sizes[i][1], precision), 0);
        }
    print_message("  %d sizes, %d threads: the same bits\n", i, threads);
}

int main(void) {
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_rings_suffice_for_every_height),
                                       cmocka_unit_test(test_every_size)};
    const struct CMUnitTest shared[] = {cmocka_unit_test(test_every_kind_of_network), cmocka_unit_test(test_star_blocks),
                                        cmocka_unit_test(test_every_size)};
    unetstar_context_options o;
    int failed = 0, threads;
    rng = us_rng_stream(2024, US_RNG_TEST, 0, 0);
    unetstar_context_options_init(&o, sizeof o);
    for (threads = 1; threads <= 3; threads += 2) {
        o.n_threads = threads;
        if (unetstar_context_create(&context, &o))
            return 1;
        us_fp_enter();
        if (threads == 1)
            failed += cmocka_run_group_tests_name("one thread", alone, NULL, NULL);
        else
            failed += cmocka_run_group_tests_name("three threads", shared, NULL, NULL);
        us_fp_leave();
        unetstar_context_destroy(context);
    }
    return failed;
}
