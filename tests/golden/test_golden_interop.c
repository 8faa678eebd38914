/*
 * test_golden_interop.c - weights files as PyTorch users write them: prefixes, activation modules in the numbering,
 * names in alphabetical order, without num_batches_tracked, and no metadata of the library.
 *
 *     test_golden_interop FOLDER [FILTER]
 */
#include "golden_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVAL_LIMIT 2e-5

/* guessed: unetstar_model_load finds all options out by itself; fusion star has to be told. */
static const struct interop_case {
    const char *name;
    int guessed;
} cases[] = {
    {"sum_plain", 1},
    {"concat_relu", 1},
    {"star_relu", 0},
    {"star_noprefix", 0},
    {"sum_star_blocks", 1},
    {"with_depthwise_norm", 1},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static unetstar_context *ctx;

static double check_probability(const golden_file *file, const unetstar_model *model) {
    const golden_tensor *x = golden_need(file, "x"), *want = golden_need(file, "eval");
    unetstar_session *session = NULL;
    float *got = golden_memory((size_t)want->count, sizeof *got);
    double error;

    OK(unetstar_session_create(&session, ctx, &model, 1, NULL));
    OK(unetstar_session_run_tensor(session, x->dims[0], x->dims[2], x->dims[3], x->data, got, NULL));
    error = golden_compare(want, got, EVAL_LIMIT, 1, "probability", NULL);
    unetstar_session_destroy(session);
    free(got);
    return error;
}

static void check_options(const unetstar_model *model, const unetstar_model_options *want, int guessed) {
    unetstar_model_options got;

    OK(unetstar_model_options_init(&got, sizeof got));
    OK(unetstar_model_get_options(model, &got));
    assert_int_equal(got.in_channels, want->in_channels);
    assert_int_equal(got.classes, want->classes);
    assert_int_equal(got.levels, want->levels);
    assert_int_equal((int)(64 * got.narrow * got.channel_multiplier),
                     (int)(64 * want->narrow * want->channel_multiplier));
    assert_int_equal(got.norm, want->norm);
    assert_int_equal(got.block, want->block);
    assert_int_equal(got.block_expansion, want->block_expansion);
    assert_int_equal(got.fusion_norm, want->fusion_norm);
    assert_int_equal(got.full_resolution_head, 0);
    assert_int_equal(got.deep_supervision, 0);
    assert_int_equal(got.activation, want->activation); /* a gap in the numbering is an activation */
    assert_int_equal(got.fusion, guessed ? want->fusion : UNETSTAR_FUSION_SUM);
}

static void test_file(void **state) {
    const struct interop_case *c = *state;
    golden_file *file = golden_load("cases/interop_%s.gold", c->name);
    const golden_tensor *text = golden_need(file, "options");
    unetstar_model *model = NULL;
    unetstar_model_options options;
    char path[1024];

    golden_model_options(text, &options);
    snprintf(path, sizeof path, "%s/cases/interop_%s.safetensors", golden_folder, c->name);

    OK(unetstar_model_load_with(&model, ctx, path, &options));
    assert_int_equal(unetstar_model_parameter_count(model), (int64_t)golden_value(text, "parameters"));
    assert_true(check_probability(file, model) <= EVAL_LIMIT);
    unetstar_model_destroy(model);

    OK(unetstar_model_load(&model, ctx, path));
    check_options(model, &options, c->guessed);
    if (c->guessed)
        assert_true(check_probability(file, model) <= EVAL_LIMIT);
    unetstar_model_destroy(model);
    golden_close(file);
}

/* Options that the file's tensors contradict are refused, and nothing is made. */
static void test_wrong_options(void **state) {
    golden_file *file = golden_load("cases/interop_sum_plain.gold");
    unetstar_model_options options;
    unetstar_model *model = NULL;
    char path[1024];

    (void)state;
    snprintf(path, sizeof path, "%s/cases/interop_sum_plain.safetensors", golden_folder);
    golden_model_options(golden_need(file, "options"), &options);
    options.fusion = UNETSTAR_FUSION_CONCAT;
    assert_true(unetstar_model_load_with(&model, ctx, path, &options) < 0);
    assert_null(model);
    assert_true(strlen(unetstar_last_error()) > 0);
    golden_close(file);
}

static int start(void **state) {
    (void)state;
    ctx = golden_context();
    return 0;
}

static int stop(void **state) {
    (void)state;
    unetstar_context_destroy(ctx);
    return 0;
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[N_CASES + 1];

    if (argc > 1)
        golden_folder = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    for (int i = 0; i < N_CASES; i++) {
        tests[i].name = cases[i].name;
        tests[i].test_func = test_file;
        tests[i].initial_state = (void *)(uintptr_t)&cases[i];
    }
    tests[N_CASES].name = "wrong options";
    tests[N_CASES].test_func = test_wrong_options;
    return cmocka_run_group_tests_name("golden interop", tests, start, stop);
}
