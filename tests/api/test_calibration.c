/*
 * test_calibration.c - 8-bit sessions: what they need, that they are near the float ones and everywhere the same, and
 * what becomes of a calibration: kept in files, dropped with the weights it was for.
 */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unetstar.h"

enum { W = 90, H = 70, IMAGES = 2, CONVOLUTIONS = 7 };

static uint8_t pixels[IMAGES][W * H * 3];
static unetstar_image images[IMAGES];
static const unetstar_image *const list[IMAGES] = {&images[0], &images[1]};
static unetstar_context *context;

static int set_up(void **state) {
    int i;
    (void)state;
    context = make_context(1);
    for (i = 0; i < IMAGES; i++) {
        OK(unetstar_synthetic_fundus(context, 40 + (uint64_t)i, W, H, pixels[i], NULL, NULL));
        OK(unetstar_image_init(&images[i], sizeof images[i]));
        images[i].data = pixels[i];
        images[i].width = W;
        images[i].height = H;
        images[i].channels = 3;
        images[i].bits = 8;
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unetstar_context_destroy(context);
    leave_folder();
    return 0;
}

static unetstar_model_options some_options(int i) {
    unetstar_model_options o;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.25;
    o.seed = 5 + (uint64_t)i;
    o.fusion = i % 3;
    o.activation = i % 2 ? UNETSTAR_ACTIVATION_RELU : i % 4 ? UNETSTAR_ACTIVATION_SILU : UNETSTAR_ACTIVATION_NONE;
    o.upsampling = i / 2 % 3;
    o.norm = i % 4;
    o.levels = 2 + i % 3;
    o.full_resolution_head = i / 3 % 2;
    o.block = i >= 12 ? 1 + i % 2 : 0;
    o.fusion_norm = i % 3 != UNETSTAR_FUSION_CONCAT && i % 4 != UNETSTAR_NORM_NONE && i % 5 == 4;
    return o;
}

static unetstar_model *some_model(unetstar_context *c, int i) {
    const unetstar_model_options o = some_options(i);
    unetstar_model *model;
    OK(unetstar_model_create(&model, c, &o));
    return model;
}

static int open_session(unetstar_session **s, unetstar_context *c, const unetstar_model *model, int32_t precision,
                        int32_t plan) {
    unetstar_session_options o;
    OK(unetstar_session_options_init(&o, sizeof o));
    o.precision = precision;
    o.plan = plan;
    return unetstar_session_create(s, c, &model, 1, &o);
}

static void run(float *p, unetstar_context *c, const unetstar_model *model, int32_t precision, int32_t plan) {
    unetstar_session *s;
    OK(open_session(&s, c, model, precision, plan));
    memset(p, 0xff, W * H * sizeof *p);
    OK(unetstar_session_run(s, &images[0], NULL, p, NULL, NULL, NULL));
    unetstar_session_destroy(s);
}

static void needs_calibration(const unetstar_model *model) {
    unetstar_calibration none;
    unetstar_session_options o;
    unetstar_session *s;
    unetstar_model *exact; /* needs none */
    unetstar_model_options m = some_options(0);
    const unetstar_model *both[2];
    m.precision = UNETSTAR_PRECISION_EXACT;
    OK(unetstar_model_create(&exact, context, &m));
    both[0] = exact;
    both[1] = model;
    OK(unetstar_session_options_init(&o, sizeof o));
    o.precision = UNETSTAR_PRECISION_INT8;
    FAILS_NAMING(UNETSTAR_ESTATE, "model 1 has no calibration", unetstar_session_create(&s, context, both, 2, &o));
    unetstar_model_destroy(exact);
    none.struct_size = sizeof none;
    OK(unetstar_model_get_calibration(model, &none));
    assert_int_equal(none.calibrated, 0);
    FAILS_NAMING(UNETSTAR_ESTATE, "unetstar_model_calibrate",
                 open_session(&s, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO));
}

/* ---- Tests ---- */

static void test_needs_and_loses_a_calibration(void **state) {
    unetstar_model *model = some_model(context, 0), *loaded;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    unetstar_trainer_options options;
    unetstar_prep_options prep;
    unetstar_session *s;
    float *x = (float *)memory(16 * 16 * sizeof *x), first[W * H], again[W * H], bias[64];
    int32_t dtype, ndim;
    int64_t shape[UNETSTAR_MAX_DIMS], i;
    (void)state;
    needs_calibration(model);
    OK(unetstar_model_calibrate(model, list, IMAGES, NULL, NULL));
    OK(open_session(&s, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO));
    OK(unetstar_session_run(s, &images[0], NULL, first, NULL, NULL, NULL));
    OK(unetstar_model_save(model, path_of("calibrated.safetensors")));
    /* A changed weight; a session made before goes on. */
    OK(unetstar_model_tensor_shape(model, "encoder.0.conv.0.bias", &dtype, &ndim, shape));
    OK(unetstar_model_tensor_get(model, "encoder.0.conv.0.bias", bias, shape[0]));
    OK(unetstar_model_tensor_set(model, "encoder.0.conv.0.bias", bias, shape[0]));
    needs_calibration(model);
    OK(unetstar_session_run(s, &images[0], NULL, again, NULL, NULL, NULL));
    assert_memory_equal(first, again, sizeof first);
    unetstar_session_destroy(s);
    /* Other preprocessing; the same one keeps it. */
    OK(unetstar_model_calibrate(model, list, 1, NULL, NULL));
    OK(unetstar_prep_options_init(&prep, sizeof prep));
    OK(unetstar_model_get_prep(model, &prep));
    OK(unetstar_model_set_prep(model, &prep));
    OK(open_session(&s, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO));
    unetstar_session_destroy(s);
    prep.standardize = 1;
    OK(unetstar_model_set_prep(model, &prep));
    needs_calibration(model);
    prep.standardize = 0;
    OK(unetstar_model_set_prep(model, &prep));
    /* A step of training. */
    OK(unetstar_model_calibrate(model, list, 1, NULL, NULL));
    OK(unetstar_optimizer_create(&optimizer, model, NULL));
    OK(unetstar_trainer_options_init(&options, sizeof options));
    options.batch_size = 1;
    options.patch_height = options.patch_width = 16;
    options.validation = UNETSTAR_VALIDATION_NONE;
    OK(unetstar_trainer_create(&trainer, model, optimizer, &options, NULL));
    for (i = 0; i < 16 * 16; i++)
        x[i] = noise((uint64_t)i);
    OK(unetstar_trainer_forward(trainer, 1, x));
    needs_calibration(model);
    unetstar_trainer_destroy(trainer);
    unetstar_optimizer_destroy(optimizer);
    /* The file has kept it. */
    OK(unetstar_model_load(&loaded, context, path_of("calibrated.safetensors")));
    run(again, context, loaded, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO);
    assert_memory_equal(first, again, sizeof first);
    unetstar_model_destroy(loaded);
    unetstar_model_destroy(model);
    free(x);
}

/* Every kind of network; whole and by rows, threads, instruction sets, from a file. */
static void test_near_the_float_result_and_the_same_everywhere(void **state) {
    int i, c, plans = 0;
    double worst = 0;
    (void)state;
    for (i = 0; i < 14; i++) {
        float want[W * H], got[W * H], exact[W * H];
        unetstar_context_options o;
        double most = 0, sum = 0;
        int k;
        if (test_skips(i))
            continue;
        for (c = 0; c < (i < 3 ? 4 : 3); c++) { /* plain C is slow */
            unetstar_context *other;
            unetstar_model *model;
            const int norm = some_options(i).norm, streams = norm == UNETSTAR_NORM_BATCH || norm == UNETSTAR_NORM_NONE;
            context_options(&o, c == 2 ? 3 : 1, NULL);
            if (c == 3)
                o.isa_limit = UNETSTAR_ISA_REFERENCE;
            OK(unetstar_context_create(&other, &o));
            model = some_model(other, i);
            OK(unetstar_model_calibrate(model, list, IMAGES, NULL, NULL));
            run(c ? got : want, other, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_WHOLE);
            if (c)
                assert_memory_equal(want, got, sizeof want);
            if (streams) {
                run(got, other, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_STREAM);
                assert_memory_equal(want, got, sizeof want);
                plans++;
            }
            if (c == 0)
                run(exact, other, model, UNETSTAR_PRECISION_FAST, UNETSTAR_PLAN_WHOLE);
            unetstar_model_destroy(model);
            unetstar_context_destroy(other);
        }
        for (k = 0; k < W * H; k++) {
            assert_true(want[k] >= 0 && want[k] <= 1);
            most = fmax(most, fabs((double)want[k] - exact[k]));
            sum += fabs((double)want[k] - exact[k]);
        }
        worst = fmax(worst, most);
        /* Not the float result, unless there is no 3x3 convolution, and near it: instance norm after a star makes single
         * pixels of an untrained network jump. */
        assert_true(some_options(i).block == UNETSTAR_BLOCK_STAR_DEPTHWISE ? most == 0 : most > 0);
        assert_true(sum / (W * H) < 0.01);
    }
    print_message("  largest difference of a probability from the float one: %.3f; %d streamed runs\n", worst, plans);
    assert_true(plans > 0);
}

static void test_maps_take_a_quarter(void **state) {
    unetstar_model *model = some_model(context, 0);
    unetstar_workspace w[2];
    unetstar_session *s;
    int k;
    (void)state;
    OK(unetstar_model_calibrate(model, list, 1, NULL, NULL));
    for (k = 0; k < 2; k++) {
        w[k].struct_size = sizeof w[k];
        OK(open_session(&s, context, model, k ? UNETSTAR_PRECISION_INT8 : UNETSTAR_PRECISION_FAST,
                        UNETSTAR_PLAN_WHOLE));
        OK(unetstar_session_workspace_size(s, 700, 605, &w[k]));
        unetstar_session_destroy(s);
    }
    print_message("  maps %zu and %zu, weights %zu and %zu bytes\n", w[0].maps, w[1].maps, w[0].weights, w[1].weights);
    assert_true(w[1].maps < w[0].maps / 3);
    assert_true(w[1].weights < w[0].weights);
    unetstar_model_destroy(model);
}

static void test_layers_that_are_too_coarse_stay_in_float(void **state) {
    unetstar_model *model = some_model(context, 3);
    unetstar_calibration_options o;
    float exact[W * H], got[W * H];
    int k;
    double most = 0;
    (void)state;
    OK(unetstar_calibration_options_init(&o, sizeof o));
    o.max_error = 1e-9f;
    OK(unetstar_model_calibrate(model, list, 1, &o, NULL));
    run(exact, context, model, UNETSTAR_PRECISION_FAST, UNETSTAR_PLAN_WHOLE);
    run(got, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_WHOLE);
    assert_memory_equal(exact, got, sizeof exact); /* all of them */
    o.max_error = 0.5f;
    o.ranges = UNETSTAR_CALIBRATION_WHOLE;
    OK(unetstar_model_calibrate(model, list, 1, &o, NULL));
    run(got, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_WHOLE);
    for (k = 0; k < W * H; k++)
        most = fmax(most, fabs((double)exact[k] - got[k]));
    assert_true(most > 0 && most < 0.1);
    unetstar_model_destroy(model);
}

static void test_errors(void **state) {
    unetstar_model *model = some_model(context, 0), *other;
    unetstar_calibration_options o;
    const unetstar_image *const hole[2] = {&images[0], NULL};
    unetstar_image bad = images[1];
    const unetstar_image *const second[2] = {&images[0], &bad};
    unetstar_model_options options = some_options(0);
    unetstar_cancel *cancel;
    unetstar_session *s;
    float first[W * H], again[W * H];
    (void)state;
    OK(unetstar_model_calibrate(model, list, IMAGES, NULL, NULL));
    run(first, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO);
    OK(unetstar_calibration_options_init(&o, sizeof o));
    FAILS_NAMING(UNETSTAR_EINVAL, "n is 0", unetstar_model_calibrate(model, list, 0, &o, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "n is 1025", unetstar_model_calibrate(model, list, 1025, &o, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "image 1", unetstar_model_calibrate(model, hole, 2, &o, NULL));
    bad.width = 0;
    FAILS_NAMING(UNETSTAR_EINVAL, "image 1", unetstar_model_calibrate(model, second, 2, &o, NULL));
    o.max_error = 0;
    FAILS_NAMING(UNETSTAR_EINVAL, "max_error", unetstar_model_calibrate(model, list, 1, &o, NULL));
    o.max_error = (float)sqrt(-1.0);
    FAILS_NAMING(UNETSTAR_EINVAL, "max_error", unetstar_model_calibrate(model, list, 1, &o, NULL));
    OK(unetstar_calibration_options_init(&o, sizeof o));
    o.ranges = 2;
    FAILS_NAMING(UNETSTAR_EINVAL, "ranges", unetstar_model_calibrate(model, list, 1, &o, NULL));
    OK(unetstar_cancel_create(&cancel, context));
    unetstar_cancel_request(cancel);
    FAILS(UNETSTAR_ECANCELED, unetstar_model_calibrate(model, list, 1, NULL, cancel));
    unetstar_cancel_destroy(cancel);
    run(again, context, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO); /* nothing has changed */
    assert_memory_equal(first, again, sizeof first);
    unetstar_model_destroy(model);
    options.in_channels = 2;
    OK(unetstar_model_create(&other, context, &options));
    FAILS_NAMING(UNETSTAR_ESHAPE, "channels", unetstar_model_calibrate(other, list, 1, NULL, NULL));
    unetstar_model_destroy(other);
    options.in_channels = 1;
    options.precision = UNETSTAR_PRECISION_EXACT; /* the more exact of two precisions is taken */
    OK(unetstar_model_create(&other, context, &options));
    FAILS_NAMING(UNETSTAR_EINVAL, "exact", unetstar_model_calibrate(other, list, 1, NULL, NULL));
    OK(open_session(&s, context, other, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO));
    unetstar_session_destroy(s);
    unetstar_model_destroy(other);
}

static unetstar_calibration calibration_of(const unetstar_model *model) {
    unetstar_calibration c;
    c.struct_size = sizeof c;
    OK(unetstar_model_get_calibration(model, &c));
    return c;
}

/* Two encoder and two decoder stages of two convolutions, but the very first: names and errors of those in float. */
static void test_what_stays_in_float(void **state) {
    unetstar_model *model = some_model(context, 0), *loaded;
    unetstar_calibration_options o;
    unetstar_calibration c = calibration_of(model);
    double error, most = 0;
    int64_t i;
    (void)state;
    assert_int_equal(c.struct_size, sizeof c);
    assert_true(!c.calibrated && !c.in_float && !c.byte_maps);
    assert_int_equal(c.convolutions, CONVOLUTIONS);
    assert_null(unetstar_model_float_layer(model, 0, &error));
    OK(unetstar_calibration_options_init(&o, sizeof o));
    o.max_error = 1e-9f; /* all of them */
    OK(unetstar_model_calibrate(model, list, 1, &o, NULL));
    c = calibration_of(model);
    assert_true(c.calibrated && c.convolutions == CONVOLUTIONS && c.in_float == CONVOLUTIONS && !c.byte_maps);
    assert_string_equal(unetstar_model_float_layer(model, 0, NULL), "encoder.0.conv.2.weight"); /* 1: norm */
    assert_null(unetstar_model_float_layer(model, -1, NULL));
    assert_null(unetstar_model_float_layer(model, CONVOLUTIONS, NULL));
    for (i = 0; i < CONVOLUTIONS; i++) {
        assert_non_null(unetstar_model_float_layer(model, i, &error));
        assert_true(error > 1e-9 && error < 0.5);
        most = fmax(most, error);
    }
    o.max_error = (float)(most * 0.999); /* the worst of them */
    OK(unetstar_model_calibrate(model, list, 1, &o, NULL));
    c = calibration_of(model);
    assert_true(c.calibrated && c.in_float == 1 && c.byte_maps > 0 && c.byte_maps <= CONVOLUTIONS);
    assert_non_null(unetstar_model_float_layer(model, 0, &error));
    assert_true(error == most);
    assert_null(unetstar_model_float_layer(model, 1, &error));
    OK(unetstar_model_save(model, path_of("counted.safetensors")));
    OK(unetstar_model_load(&loaded, context, path_of("counted.safetensors")));
    assert_string_equal(unetstar_model_float_layer(loaded, 0, NULL), unetstar_model_float_layer(model, 0, NULL));
    c = calibration_of(loaded);
    assert_true(c.calibrated && c.in_float == 1);
    unetstar_model_destroy(loaded);
    unetstar_model_destroy(model);
}

/* The first such tensor is named, whatever kind it is. */
static void test_weights_that_are_not_finite(void **state) {
    static const char *const names[] = {"encoder.0.conv.0.weight",        "encoder.1.conv.0.bias",
                                        "encoder.1.conv.1.weight",        "decoder.0.conv.0.weight",
                                        "decoder.0.conv.1.running_mean", "decoder.0.conv.1.running_var",
                                        "out.weight",                     "out.bias"};
    static const float bad[] = {(float)NAN, (float)INFINITY, (float)-INFINITY};
    unetstar_model *model = some_model(context, 0);
    int i;
    (void)state;
    for (i = 0; i < COUNT(names); i++) {
        int32_t dtype, ndim;
        int64_t shape[UNETSTAR_MAX_DIMS], count = 1;
        float *values, kept;
        int d;
        OK(unetstar_model_tensor_shape(model, names[i], &dtype, &ndim, shape));
        for (d = 0; d < ndim; d++)
            count *= shape[d];
        values = (float *)memory((size_t)count * sizeof *values);
        OK(unetstar_model_tensor_get(model, names[i], values, count));
        kept = values[count - 1];
        values[count - 1] = bad[i % COUNT(bad)];
        OK(unetstar_model_tensor_set(model, names[i], values, count));
        FAILS_NAMING(UNETSTAR_EINVAL, names[i], unetstar_model_calibrate(model, list, 1, NULL, NULL));
        needs_calibration(model);
        values[count - 1] = kept;
        OK(unetstar_model_tensor_set(model, names[i], values, count));
        free(values);
    }
    OK(unetstar_model_calibrate(model, list, 1, NULL, NULL));
    unetstar_model_destroy(model);
}

/* Where `key` has its value in a file's header. */
static char *value_of(unsigned char *file, size_t size, const char *key) {
    const size_t length = strlen(key);
    size_t i;
    for (i = 0; i + length < size; i++)
        if (!memcmp(file + i, key, length))
            return (char *)file + i + length + 3; /* ":" */
    fail_msg("%s is not in the file", key);
    return NULL;
}

static void test_files(void **state) {
    static const char *const changes[] = {"x", "-", "  ", "9e99", "nan"};
    unetstar_model *model = some_model(context, 0), *loaded;
    unsigned char *file, *again;
    size_t size, size_again;
    char *value;
    int i;
    (void)state;
    OK(unetstar_model_calibrate(model, list, 1, NULL, NULL));
    OK(unetstar_model_save(model, path_of("a")));
    file = read_file(path_of("a"), &size);
    OK(unetstar_model_load(&loaded, context, path_of("a")));
    OK(unetstar_model_save(loaded, path_of("b")));
    unetstar_model_destroy(loaded);
    again = read_file(path_of("b"), &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(file, again, size);
    free(again);
    value = value_of(file, size, "unetstar.int8.encoder.1.conv.0");
    for (i = 0; i < COUNT(changes); i++) {
        char kept[8];
        memcpy(kept, value, sizeof kept);
        memcpy(value, changes[i], strlen(changes[i]));
        write_file(path_of("c"), file, size);
        FAILS_NAMING(UNETSTAR_EFORMAT, "encoder.1.conv.0", unetstar_model_load(&loaded, context, path_of("c")));
        memcpy(value, kept, sizeof kept);
    }
    /* A scale where none can be: the first convolution's input is the image. */
    value = value_of(file, size, "unetstar.int8.encoder.0.conv.0");
    value[0] = '1';
    write_file(path_of("c"), file, size);
    FAILS_NAMING(UNETSTAR_EFORMAT, "encoder.0.conv.0", unetstar_model_load(&loaded, context, path_of("c")));
    value[0] = '0';
    value[-4] = 'X'; /* a unit's key is missing */
    write_file(path_of("c"), file, size);
    FAILS_NAMING(UNETSTAR_EFORMAT, "missing", unetstar_model_load(&loaded, context, path_of("c")));
    free(file);
    unetstar_model_destroy(model);
}

static void test_every_allocation_may_fail(void **state) {
    struct counter counter;
    unetstar_context *counted;
    unetstar_model *model;
    unetstar_session *s = NULL;
    int64_t n, failed = 0;
    int code = UNETSTAR_ENOMEM;
    (void)state;
    memset(&counter, 0, sizeof counter);
    counted = make_counted(1, &counter);
    model = some_model(counted, 0);
    for (n = 1; code && n < 500; n++) {
        counter_fail(&counter, n, 0);
        code = unetstar_model_calibrate(model, list, 1, NULL, NULL);
        counter_fail(&counter, 0, 0);
        if (code) {
            assert_int_equal(code, UNETSTAR_ENOMEM);
            failed++;
            needs_calibration(model);
        }
    }
    assert_int_equal(code, 0);
    assert_true(failed > 10);
    print_message("  %d allocations failed one by one\n", (int)failed);
    OK(open_session(&s, counted, model, UNETSTAR_PRECISION_INT8, UNETSTAR_PLAN_AUTO));
    unetstar_session_destroy(s);
    unetstar_model_destroy(model);
    unetstar_context_destroy(counted);
    counter_balanced(&counter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needs_and_loses_a_calibration),
        cmocka_unit_test(test_near_the_float_result_and_the_same_everywhere),
        cmocka_unit_test(test_maps_take_a_quarter),
        cmocka_unit_test(test_layers_that_are_too_coarse_stay_in_float),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_what_stays_in_float),
        cmocka_unit_test(test_weights_that_are_not_finite),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
