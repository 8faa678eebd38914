/*
 * test_golden.c - whole networks against PyTorch: logits, loss, running statistics, evaluation, gradients, optimizers.
 *
 *     test_golden FOLDER [exact|fast [FILTER]]      the cases of FOLDER/cases, or those whose name matches FILTER
 * ("act_*")
 *
 * The files come from a float64 run (make_golden.py), so what is measured is the library's rounding. The limits are a
 * few times what PyTorch's own float32 run is off by; make_golden.py prints that.
 */
#include "golden_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOGITS_LIMIT (2e-5 * slack) /* of the largest logit */
#define STATS_LIMIT (2e-5 * slack)
#define LOSS_LIMIT (1e-5 * slack)
#define EVAL_LIMIT (1e-4 * slack) /* of probability 1: what running statistics do to small differences */
#define GRAD_LIMIT (1e-4 * slack)
#define CHANGE_LIMIT (1e-3 * slack) /* of the largest change of a tensor in all steps ... */
#define WEIGHT_ULPS 5e-7            /* ... and of the largest weight, for their storage as float32 */
#define SMALL_TENSOR 1e-3   /* tensors are compared on the scale of at least this part of the largest tensor's */
#define ADAM_NEAR_ZERO 1e-2 /* Adam's quotient is rounding noise where |g| is below this part of the largest */
#define ADAM_LIMIT (2e-3 * slack)
#define ADAM_STEP_LIMIT (0.02 * slack) /* of the learning rate: GRAD_LIMIT over ADAM_NEAR_ZERO, doubled */
#define ADAM_RATE 5e-4

/* What the limits are multiplied by for the Winograd algorithms of fast precision. */
#define FAST_SLACK 3.0

static int32_t precision = UNETSTAR_PRECISION_EXACT;
static double slack = 1;

static const char *const cases[] = {
    "l4_sum_none",
    "l4_sum_relu",
    "l4_star_none",
    "l4_star_relu",
    "l4_concat_none",
    "l4_concat_relu",
    "article",
    "odd_widths",
    "wide_l2",
    "levels2_one_image",
    "levels5",
    "odd_size",
    "norm_instance",
    "norm_instance_star",
    "norm_group",
    "norm_group4_concat",
    "norm_none",
    "norm_none_star",
    "act_leaky_relu",
    "act_relu6",
    "act_silu",
    "act_gelu",
    "up_bilinear",
    "up_bilinear_full_concat",
    "up_transposed",
    "up_transposed_full_concat",
    "full_sum",
    "full_star",
    "full_concat",
    "deep",
    "deep_full_masked",
    "deep_group_transposed",
    "class1",
    "class1_focal_dice",
    "class3",
    "class_weights",
    "masked",
    "focal",
    "dice",
    "mixed_loss",
    "opt_adam",
    "opt_adam_decay",
    "opt_adamw",
    "opt_sgd_decay",
    "opt_sgd_plain",
    "opt_sgd_clip",
    "block_star",
    "block_star_relu_concat",
    "block_star_group",
    "depthwise",
    "depthwise_relu_concat",
    "depthwise_group",
    "fusion_norm_star",
    "fusion_norm_sum_group",
    "fusion_norm_transposed",
    "fusion_norm_blocks",
};
enum { N_CASES = sizeof cases / sizeof *cases, MAX_TENSORS = 512 };

enum { LOGITS, STATS, LOSS, EVAL, GRAD, CHANGE, MOMENT, ADAM, KINDS };
static const char *const kind_names[] = {"logits", "stats", "loss", "eval", "grad", "change", "moment", "adam"};
static golden_worst overall[KINDS];

/* A case in play. */
typedef struct play {
    golden_file *file;
    const golden_tensor *text, *x, *labels, *mask;
    unetstar_context *ctx;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    golden_worst worst[KINDS];
    char names[MAX_TENSORS][96];
    int n_names, failures;
} play;

static void judge(play *p, double error, double limit) {
    p->failures += !(error <= limit);
}

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

static void set_weights(play *p, unetstar_model *model) {
    for (int i = 0; i < p->n_names; i++) {
        const golden_tensor *t = golden_find(p->file, "init%d", i);
        if (t != NULL)
            OK(unetstar_model_tensor_set(model, p->names[i], t->data, t->count));
        else
            assert_non_null(strstr(p->names[i], "num_batches_tracked"));
    }
}

static unetstar_model *make_model(play *p) {
    unetstar_model_options options;
    unetstar_model *model = NULL;

    golden_model_options(p->text, &options);
    options.precision = precision;
    OK(unetstar_model_create(&model, p->ctx, &options));
    set_weights(p, model);
    return model;
}

static unetstar_optimizer *make_optimizer(play *p, unetstar_model *model, int adam_probe) {
    unetstar_optimizer_options options;
    unetstar_optimizer *optimizer = NULL;
    char kind[32];

    OK(unetstar_optimizer_options_init(&options, sizeof options));
    assert_int_equal(golden_word(p->text, "optimizer", kind, sizeof kind), 0);
    if (!adam_probe) {
        options.kind = strcmp(kind, "sgd") == 0     ? UNETSTAR_OPTIMIZER_SGD
                       : strcmp(kind, "adamw") == 0 ? UNETSTAR_OPTIMIZER_ADAMW
                                                    : UNETSTAR_OPTIMIZER_ADAM;
        options.momentum = golden_value(p->text, "momentum");
        options.weight_decay = golden_value(p->text, "weight_decay");
        options.beta1 = golden_value(p->text, "beta1");
        options.beta2 = golden_value(p->text, "beta2");
    }
    OK(unetstar_optimizer_create(&optimizer, model, &options));
    return optimizer;
}

static unetstar_trainer *make_trainer(play *p, unetstar_model *model, unetstar_optimizer *optimizer, int clip) {
    unetstar_trainer_options options;
    unetstar_loss_options loss;
    unetstar_trainer *trainer = NULL;

    golden_loss_options(p->text, &loss);
    OK(unetstar_trainer_options_init(&options, sizeof options));
    options.batch_size = p->x->dims[0] < 2 ? 2 : (int32_t)p->x->dims[0]; /* one image: a batch that is not full */
    options.patch_height = (int32_t)p->x->dims[2];
    options.patch_width = (int32_t)p->x->dims[3];
    options.validation = UNETSTAR_VALIDATION_NONE;
    options.schedule = UNETSTAR_SCHEDULE_CONSTANT;
    options.masked_loss = p->mask != NULL;
    options.deep_supervision_weight = golden_value(p->text, "deep_supervision_weight");
    options.clip_gradient_norm = clip ? golden_value(p->text, "clip_gradient_norm") : 0;
    OK(unetstar_trainer_create(&trainer, model, optimizer, &options, &loss));
    return trainer;
}

static void open_case(play *p, const char *name) {
    memset(p, 0, sizeof *p);
    p->file = golden_load("cases/%s.gold", name);
    p->text = golden_need(p->file, "options");
    p->x = golden_need(p->file, "x");
    p->labels = golden_need(p->file, "labels");
    p->mask = golden_find(p->file, "mask");
    while (p->n_names < MAX_TENSORS &&
           golden_line(golden_need(p->file, "names"), p->n_names, p->names[p->n_names], sizeof p->names[0]))
        p->n_names++;
    p->ctx = golden_context();
    p->model = make_model(p);
    p->optimizer = make_optimizer(p, p->model, 0);
    p->trainer = make_trainer(p, p->model, p->optimizer, 1);
}

static void close_case(play *p) {
    unetstar_trainer_destroy(p->trainer);
    unetstar_optimizer_destroy(p->optimizer);
    unetstar_model_destroy(p->model);
    unetstar_context_destroy(p->ctx);
    golden_close(p->file);
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

/* PyTorch's names in PyTorch's order. Where the heads of deep supervision stand is not looked at. */
static void check_names(play *p) {
    assert_int_equal(unetstar_model_parameter_count(p->model), (int64_t)golden_value(p->text, "parameters"));
    assert_int_equal(unetstar_model_tensor_count(p->model), p->n_names);
    if (golden_value(p->text, "deep_supervision") > 0)
        return;
    for (int i = 0; i < p->n_names; i++)
        assert_string_equal(unetstar_model_tensor_name(p->model, i), p->names[i]);
}

static void check_shape(play *p, const char *name, const golden_tensor *want) {
    int64_t shape[UNETSTAR_MAX_DIMS];
    int32_t dtype, ndim;

    OK(unetstar_model_tensor_shape(p->model, name, &dtype, &ndim, shape));
    assert_int_equal(dtype, UNETSTAR_FLOAT32);
    assert_int_equal(ndim, want->ndim);
    for (int d = 0; d < ndim; d++)
        assert_int_equal(shape[d], want->dims[d]);
}

static void check_logits(play *p) {
    const golden_tensor *want = golden_need(p->file, "logits");
    float *got = golden_memory((size_t)want->count, sizeof *got);

    OK(unetstar_trainer_logits(p->trainer, got));
    judge(p, golden_compare(want, got, LOGITS_LIMIT, 0, "logits", &p->worst[LOGITS]), LOGITS_LIMIT);
    free(got);
}

static void check_tracked(play *p, const char *name, int64_t want) {
    int64_t got = -1;

    OK(unetstar_model_tensor_get(p->model, name, &got, 1));
    assert_int_equal(got, want);
}

static void check_stats(play *p) {
    for (int i = 0; i < p->n_names; i++) {
        const golden_tensor *want = golden_find(p->file, "stat%d", i);
        float *got;
        if (strstr(p->names[i], "num_batches_tracked"))
            check_tracked(p, p->names[i], 1);
        if (want == NULL)
            continue;
        got = golden_memory((size_t)want->count, sizeof *got);
        OK(unetstar_model_tensor_get(p->model, p->names[i], got, want->count));
        judge(p, golden_compare(want, got, STATS_LIMIT, 0, p->names[i], &p->worst[STATS]), STATS_LIMIT);
        free(got);
    }
}

static void check_evaluation(play *p) {
    const golden_tensor *want = golden_need(p->file, "eval");
    const int64_t *d = p->x->dims;
    const unetstar_model *model = p->model;
    unetstar_session_options options;
    unetstar_session *session = NULL;
    float *got = golden_memory((size_t)want->count, sizeof *got);

    OK(unetstar_session_options_init(&options, sizeof options));
    options.precision = precision;
    OK(unetstar_session_create(&session, p->ctx, &model, 1, &options));
    assert_int_equal(unetstar_session_channels(session), want->dims[1]);
    OK(unetstar_session_run_tensor(session, d[0], d[2], d[3], p->x->data, got, NULL));
    judge(p, golden_compare(want, got, EVAL_LIMIT, 1, "probability", &p->worst[EVAL]), EVAL_LIMIT);
    free(got);
    unetstar_session_destroy(session);
}

static double largest(play *p, const char *kind) {
    double most = 0;

    for (int i = 0; i < p->n_names; i++) {
        const golden_tensor *t = golden_find(p->file, "%s%d", kind, i);
        if (t != NULL && t->max_abs > most)
            most = t->max_abs;
    }
    return most;
}

/* A gradient that is zero by cancellation (a bias before a norm of each channel alone) is noise of the others. */
static double gradient_floor(const golden_tensor *want, double most) {
    return most * (want->max_abs > 0 && want->max_abs < 1e-10 * most ? 10 * SMALL_TENSOR : SMALL_TENSOR);
}

static void check_gradients(play *p) {
    const double most = largest(p, "grad");

    for (int i = 0; i < p->n_names; i++) {
        const golden_tensor *want = golden_find(p->file, "grad%d", i);
        float *got;
        if (want == NULL)
            continue;
        check_shape(p, p->names[i], want);
        got = golden_memory((size_t)want->count, sizeof *got);
        OK(unetstar_trainer_gradient_get(p->trainer, p->names[i], got, want->count));
        judge(p, golden_compare(want, got, GRAD_LIMIT, gradient_floor(want, most), p->names[i], &p->worst[GRAD]),
              GRAD_LIMIT);
        free(got);
    }
}

static void check_loss(play *p, int step, double got) {
    const golden_tensor *want = golden_need(p->file, "losses");
    const double limit = step ? 10 * LOSS_LIMIT : LOSS_LIMIT; /* later steps start from slightly other weights */
    char what[32];

    snprintf(what, sizeof what, "loss of step %d", step);
    judge(p, golden_compare_number(((double *)want->data)[step], got, limit, what, &p->worst[LOSS]), limit);
}

/* Weights now minus weights then; *size gets the largest weight. */
static float *change_of(play *p, unetstar_model *model, int i, int64_t count, double *size) {
    const float *start = golden_need(p->file, "init%d", i)->data;
    float *now = golden_memory((size_t)count, sizeof *now);

    OK(unetstar_model_tensor_get(model, p->names[i], now, count));
    *size = 0;
    for (int64_t k = 0; k < count; k++) {
        *size = fabs((double)start[k]) > *size ? fabs((double)start[k]) : *size;
        now[k] = (float)((double)now[k] - start[k]);
    }
    return now;
}

/* Adam: only elements whose gradients are not near zero say something (see ADAM_NEAR_ZERO). */
static void check_adam_change(play *p, int i, const golden_tensor *want, const float *got) {
    const golden_tensor *v = golden_need(p->file, "moment2_%d", i);
    const float *values = want->data, *second = v->data;
    const double scale = golden_value(p->text, "lr") * golden_value(p->text, "steps");
    double error = 0;

    assert_int_equal(v->stride, want->stride);
    for (int64_t k = 0; k < want->stored; k++)
        if (second[k] > ADAM_NEAR_ZERO * ADAM_NEAR_ZERO * v->max_abs) {
            const double e = fabs((double)got[k * want->stride] - values[k]) / scale;
            error = e <= error ? error : e;
        }
    judge(p, golden_compare_number(1, 1 + error, ADAM_LIMIT, p->names[i], &p->worst[CHANGE]), ADAM_LIMIT);
}

static void check_changes(play *p) {
    const double most = largest(p, "change");
    char kind[32];

    assert_int_equal(golden_word(p->text, "optimizer", kind, sizeof kind), 0);
    for (int i = 0; i < p->n_names; i++) {
        const golden_tensor *want = golden_find(p->file, "change%d", i);
        double size, scale, limit;
        float *got;
        if (want == NULL)
            continue;
        got = change_of(p, p->model, i, want->count, &size);
        scale = want->max_abs > SMALL_TENSOR * most ? want->max_abs : SMALL_TENSOR * most;
        limit = CHANGE_LIMIT + WEIGHT_ULPS * size / scale;
        if (want->max_abs == 0)
            for (int64_t k = 0; k < want->count; k++)
                assert_true(got[k] == 0); /* biases before a norm stay as they are */
        else if (golden_find(p->file, "moment2_%d", i) != NULL)
            check_adam_change(p, i, want, got);
        else
            judge(p, golden_compare(want, got, limit, scale, p->names[i], &p->worst[CHANGE]), limit);
        free(got);
    }
}

static void check_moments(play *p) {
    for (int moment = 1; moment <= 2; moment++)
        for (int i = 0; i < p->n_names; i++) {
            const golden_tensor *want = golden_find(p->file, "moment%d_%d", moment, i);
            float *got;
            if (want == NULL)
                continue;
            got = golden_memory((size_t)want->count, sizeof *got);
            OK(unetstar_optimizer_moment_get(p->optimizer, p->names[i], moment, got, want->count));
            judge(p, golden_compare(want, got, moment * CHANGE_LIMIT, 0, p->names[i], &p->worst[MOMENT]),
                  moment * CHANGE_LIMIT);
            free(got);
        }
}

/* ---- One step of Adam on a second model, against PyTorch's formula with the file's gradients --------------------- */

/* Errors of the moments, which after one step are (1 - beta1) g and (1 - beta2) g^2, over the scale of the gradients.
 */
static double moment_error(double g, double m, double v, double scale) {
    const double first = fabs(m / 0.1 - g) / scale;
    const double second = fabs(v / 0.001 - g * g) / (2 * scale * scale);

    return first > second || isnan(first) ? first : second;
}

/* The weight moves by -rate g / (|g| + eps). */
static void check_adam_step(play *p, const char *name, double g, double change, double size) {
    const double want = -ADAM_RATE * g / (fabs(g) + 1e-8);
    const double limit = ADAM_STEP_LIMIT + WEIGHT_ULPS * size / ADAM_RATE;
    const double error = fabs(change - want) / ADAM_RATE;

    if (!(error <= limit))
        printf("    %s: Adam moved a weight by %.6g instead of %.6g\n", name, change, want);
    judge(p, error, limit);
}

static void check_adam_tensor(play *p, unetstar_model *model, unetstar_optimizer *optimizer, int i, double most) {
    const golden_tensor *g = golden_find(p->file, "grad%d", i);
    const double floor = gradient_floor(g, most), scale = g->max_abs > floor ? g->max_abs : floor;
    float *m = golden_memory((size_t)g->count, sizeof *m), *v = golden_memory((size_t)g->count, sizeof *v), *change;
    double size, error = 0;

    if (g->max_abs > 0) { /* what is not trained has no moments */
        OK(unetstar_optimizer_moment_get(optimizer, p->names[i], 1, m, g->count));
        OK(unetstar_optimizer_moment_get(optimizer, p->names[i], 2, v, g->count));
    }
    change = change_of(p, model, i, g->count, &size);
    for (int64_t k = 0; k < g->stored; k++) {
        const double want = ((float *)g->data)[k];
        const int64_t at = k * g->stride;
        const double e = moment_error(want, m[at], v[at], scale);
        error = e <= error ? error : e;
        if (fabs(want) > ADAM_NEAR_ZERO * scale)
            check_adam_step(p, p->names[i], want, change[at], size);
        if (g->max_abs == 0)
            judge(p, change[at] == 0 ? 0 : 1, 0);
    }
    judge(p, golden_compare_number(1, 1 + error, GRAD_LIMIT, p->names[i], &p->worst[ADAM]), GRAD_LIMIT);
    free(m);
    free(v);
    free(change);
}

static void check_adam(play *p) {
    unetstar_model *model = make_model(p);
    unetstar_optimizer *optimizer = make_optimizer(p, model, 1);
    unetstar_trainer *trainer = make_trainer(p, model, optimizer, 0);
    const double most = largest(p, "grad");
    double loss;

    OK(unetstar_trainer_forward(trainer, p->x->dims[0], p->x->data));
    OK(unetstar_trainer_loss(trainer, p->labels->data, p->mask ? p->mask->data : NULL, &loss));
    OK(unetstar_trainer_backward(trainer));
    OK(unetstar_trainer_step(trainer, ADAM_RATE));
    assert_int_equal(unetstar_optimizer_step_count(optimizer), 1);
    for (int i = 0; i < p->n_names; i++)
        if (golden_find(p->file, "grad%d", i) != NULL)
            check_adam_tensor(p, model, optimizer, i, most);
    unetstar_trainer_destroy(trainer);
    unetstar_optimizer_destroy(optimizer);
    unetstar_model_destroy(model);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void train(play *p) {
    const int steps = (int)golden_value(p->text, "steps");
    const double rate = golden_value(p->text, "lr");
    double loss;

    for (int step = 0; step < steps; step++) {
        OK(unetstar_trainer_forward(p->trainer, p->x->dims[0], p->x->data));
        if (step == 0)
            check_logits(p);
        OK(unetstar_trainer_loss(p->trainer, p->labels->data, p->mask ? p->mask->data : NULL, &loss));
        check_loss(p, step, loss);
        OK(unetstar_trainer_backward(p->trainer));
        if (step == 0) {
            check_gradients(p);
            check_stats(p);
            check_evaluation(p);
        }
        OK(unetstar_trainer_step(p->trainer, rate));
    }
}

static void report(play *p, const char *name) {
    printf("    %-26s", name);
    for (int k = 0; k < KINDS; k++) {
        printf(" %s %.1e", kind_names[k], p->worst[k].error);
        if (p->worst[k].error > overall[k].error) {
            overall[k].error = p->worst[k].error;
            snprintf(overall[k].where, sizeof overall[k].where, "%s: %.60s", name, p->worst[k].where);
        }
    }
    printf("\n");
}

static void test_case(void **state) {
    play *p = golden_memory(1, sizeof *p);
    int failures;

    open_case(p, *state);
    check_names(p);
    train(p);
    check_changes(p);
    check_moments(p);
    check_adam(p);
    report(p, *state);
    failures = p->failures;
    close_case(p);
    free(p);
    assert_int_equal(failures, 0);
}

/* Every file has its test and every test its file. */
static void test_index(void **state) {
    char path[1024], text[8192];
    golden_tensor index = {0};
    FILE *f;

    (void)state;
    snprintf(path, sizeof path, "%s/cases/index.txt", golden_folder);
    f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    index.data = text;
    golden_check_index(&index, cases, N_CASES);
}

/* The comparison itself: a fault in a stored element, in one that is not stored, and NaN are seen. */
static void test_faults_are_seen(void **state) {
    golden_file *file = golden_load("cases/article.gold");
    const golden_tensor *want = golden_need(file, "logits");
    float *got = golden_memory((size_t)want->count, sizeof *got);
    golden_tensor whole = *want;

    (void)state;
    assert_true(want->stride > 1);
    whole.projection = 0;
    for (int64_t i = 0; i < want->count; i++) {
        got[i] = i % want->stride ? 0.5f : ((float *)want->data)[i / want->stride];
        whole.projection += got[i] * (2 * golden_uniform(7, (uint32_t)i) - 1);
    }
    printf("    five deliberate faults:\n");
    assert_true(golden_compare(&whole, got, 1e-5, 0, "no fault", NULL) <= 1e-5);
    got[want->stride] += (float)(1e-4 * want->max_abs);
    assert_true(golden_compare(&whole, got, 1e-5, 0, "stored", NULL) > 1e-5);
    got[want->stride] = ((float *)want->data)[1];
    got[1] += 1;
    assert_true(golden_compare(&whole, got, 1e-5, 0, "not stored", NULL) > 1e-5);
    got[1] = NAN;
    assert_true(golden_compare(&whole, got, 1e-5, 0, "NaN not stored", NULL) > 1e-5);
    got[1] = 0.5f;
    got[0] = NAN;
    assert_true(golden_compare(&whole, got, 1e-5, 0, "NaN", NULL) > 1e-5);
    assert_true(golden_compare_number(1, NAN, 1e-5, "NaN loss", NULL) > 1e-5);
    free(got);
    golden_close(file);
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[N_CASES + 2];
    int failed;

    if (argc > 1)
        golden_folder = argv[1];
    if (argc > 2 && strcmp(argv[2], "fast") == 0) {
        precision = UNETSTAR_PRECISION_FAST;
        slack = FAST_SLACK;
    } else if (argc > 2 && strcmp(argv[2], "exact") != 0) {
        fprintf(stderr, "the second argument must be exact or fast\n");
        return 2;
    }
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    tests[0].name = "every case has a file";
    tests[0].test_func = test_index;
    tests[1].name = "faults are seen";
    tests[1].test_func = test_faults_are_seen;
    for (int i = 0; i < N_CASES; i++) {
        tests[i + 2].name = cases[i];
        tests[i + 2].test_func = test_case;
        tests[i + 2].initial_state = (void *)(uintptr_t)cases[i];
    }
    failed = cmocka_run_group_tests_name("golden", tests, NULL, NULL);
    for (int k = 0; k < KINDS; k++)
        printf("worst %-7s %.2e  %s\n", kind_names[k], overall[k].error, overall[k].where);
    return failed;
}
