/*
 * test_misuse_order.c - calls in the wrong order, objects destroyed in any order, shapes that do not fit, tiny and huge
 * sizes, and numbers that are none.
 */
#include "common.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct counter counter;
static unetstar_context *context;

static int set_up(void **state) {
    (void)state;
    memset(&counter, 0, sizeof counter);
    context = make_counted(2, &counter);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unetstar_context_destroy(context);
    leave_folder();
    counter_balanced(&counter);
    return 0;
}

static void test_order_of_steps(void **state) {
    struct recipe r;
    struct training t, other;
    static float x[16 * 16], logits[2 * 16 * 16];
    static uint8_t labels[16 * 16];
    float *gradients;
    double loss;
    int64_t count;
    unetstar_trainer *trainer;
    (void)state;
    recipe_tiny(&r);
    training_open(&t, context, &r);
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_logits(t.trainer, logits));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_backward(t.trainer));
    FAILS(UNETSTAR_ESHAPE, unetstar_trainer_forward(t.trainer, 0, x));
    FAILS(UNETSTAR_ESHAPE, unetstar_trainer_forward(t.trainer, 2, x)); /* planned for one */
    FAILS(UNETSTAR_ESHAPE, unetstar_trainer_forward(t.trainer, INT64_MAX, x));
    OK(unetstar_trainer_forward(t.trainer, 1, x));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_backward(t.trainer)); /* a loss comes first */
    labels[3] = 2;
    FAILS_NAMING(UNETSTAR_EINVAL, "label", unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
    labels[3] = 1;
    OK(unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
    OK(unetstar_trainer_backward(t.trainer));
    FAILS_NAMING(UNETSTAR_ESTATE, "used up", unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_backward(t.trainer)); /* gradients lie where its maps were */
    OK(unetstar_trainer_gradients(t.trainer, &gradients, &count));
    assert_true(count >= unetstar_model_parameter_count(t.model) / 2);
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_step(t.trainer, NAN));
    OK(unetstar_trainer_step(t.trainer, 0.1));
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_gradient_get(t.trainer, "nothing", x, 1));
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_gradient_get(t.trainer, "encoder.0.conv.1.running_mean", x, 4));
    FAILS(UNETSTAR_ESHAPE, unetstar_trainer_gradient_get(t.trainer, "out.bias", x, 3));
    OK(unetstar_trainer_gradient_get(t.trainer, "out.bias", x, 2));
    FAILS(UNETSTAR_ESHAPE, unetstar_optimizer_step(t.optimizer, gradients, count - 1, 0.1, 1));
    FAILS(UNETSTAR_EINVAL, unetstar_optimizer_step(t.optimizer, gradients, count, -1, 1));
    FAILS(UNETSTAR_EINVAL, unetstar_optimizer_step(t.optimizer, gradients, count, NAN, 1));
    FAILS(UNETSTAR_EINVAL, unetstar_optimizer_step(t.optimizer, gradients, count, 0.1, NAN));
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_patch(t.trainer, t.set, -1, 0, x, NULL, NULL));
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_patch(t.trainer, t.set, 0, -1, x, NULL, NULL));

    training_open(&other, context, &r);
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_create(&trainer, t.model, other.optimizer, &r.trainer, NULL));
    assert_null(trainer);
    training_close(&other);

    OK(unetstar_trainer_use_best(t.trainer));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_forward(t.trainer, 1, x));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_step(t.trainer, -1));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_save(t.trainer, path_of("x")));
    training_close(&t);
}

static void test_datasets_of_a_fit(void **state) {
    struct recipe r;
    struct training t;
    unetstar_dataset *empty, *unlabelled;
    unetstar_image image, small;
    static uint8_t pixels[48 * 48], label[48 * 48], black[48 * 48];
    (void)state;
    recipe_tiny(&r);
    OK(unetstar_dataset_create(&empty, context));
    OK(unetstar_dataset_create(&unlabelled, context));
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.width = image.height = 48;
    OK(unetstar_dataset_add(unlabelled, "plain", &image, NULL, NULL));
    training_open(&t, context, &r);
    FAILS(UNETSTAR_EINVAL, unetstar_trainer_fit(t.trainer, empty, NULL, NULL, NULL, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "plain", unetstar_trainer_fit(t.trainer, unlabelled, NULL, NULL, NULL, NULL));
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL)); /* still usable */
    FAILS(UNETSTAR_ESTATE, unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL)); /* it has ended */
    training_close(&t);
    r.trainer.validation = UNETSTAR_VALIDATION_IMAGES;
    training_open(&t, context, &r);
    FAILS_NAMING(UNETSTAR_EINVAL, "validation", unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "validation", unetstar_trainer_fit(t.trainer, t.set, empty, NULL, NULL, NULL));
    FAILS_NAMING(UNETSTAR_EINVAL, "plain", unetstar_trainer_fit(t.trainer, t.set, unlabelled, NULL, NULL, NULL));
    OK(unetstar_trainer_fit(t.trainer, t.set, t.set, NULL, NULL, NULL));
    training_close(&t);
    r.model.in_channels = 2; /* no preprocessing makes two channels */
    training_open(&t, context, &r);
    FAILS(UNETSTAR_ESHAPE, unetstar_trainer_fit(t.trainer, t.set, t.set, NULL, NULL, NULL));
    training_close(&t);
    small = image;
    small.width = 47;
    FAILS_NAMING(UNETSTAR_ESHAPE, "odd", unetstar_dataset_add(unlabelled, "odd", &image, &small, NULL));
    FAILS_NAMING(UNETSTAR_ESHAPE, "odd", unetstar_dataset_add(unlabelled, "odd", &image, NULL, &small));
    small = image;
    small.data = black;
    image.data = label;
    OK(unetstar_dataset_add(empty, "dark", &image, &image, &small)); /* a field of view without a pixel */
    r.model.in_channels = 1;
    r.trainer.validation = UNETSTAR_VALIDATION_PATCHES;
    training_open(&t, context, &r);
    FAILS_NAMING(UNETSTAR_EINVAL, "dark", unetstar_trainer_fit(t.trainer, empty, NULL, NULL, NULL, NULL));
    training_close(&t);
    unetstar_dataset_destroy(empty);
    unetstar_dataset_destroy(unlabelled);
}

static void test_indices_and_folds(void **state) {
    unetstar_dataset *set, *a, *b;
    unetstar_image image;
    const int64_t outside[] = {0, 5};
    int k;
    (void)state;
    OK(unetstar_dataset_create(&set, context));
    for (k = 0; k < 5; k++)
        OK(unetstar_dataset_add_synthetic(set, (uint64_t)k, 48, 48));
    FAILS_NAMING(UNETSTAR_EINVAL, "5", unetstar_dataset_subset(&a, set, outside, 2));
    assert_null(a);
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_subset(&a, set, outside, -1));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_fold(&a, &b, set, 5, 5));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_fold(&a, &b, set, -1, 5));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_fold(&a, &b, set, 0, 1));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_fold(&a, &b, set, 0, 6));
    assert_null(a);
    assert_null(b);
    OK(unetstar_dataset_fold(&a, &b, set, 4, 5));
    assert_int_equal(unetstar_dataset_count(a), 4);
    assert_string_equal(unetstar_dataset_name(b, 0), unetstar_dataset_name(set, 4));
    OK(unetstar_image_init(&image, sizeof image));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_get(set, 5, UNETSTAR_DATASET_IMAGE, &image));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_get(set, 0, 3, &image));
    FAILS(UNETSTAR_EINVAL, unetstar_dataset_get(set, 0, -1, &image));
    unetstar_dataset_destroy(set); /* the folds keep their pictures */
    OK(unetstar_dataset_get(a, 0, UNETSTAR_DATASET_MASK, &image));
    assert_int_equal(((const uint8_t *)image.data)[24 * 48 + 24], 255);
    unetstar_dataset_destroy(b);
    unetstar_dataset_destroy(a);
    FAILS(UNETSTAR_EINVAL, unetstar_synthetic_fundus(context, 1, 47, 48, (uint8_t *)&image, NULL, NULL));
    FAILS(UNETSTAR_EINVAL, unetstar_synthetic_fundus(context, 1, 48, 4097, (uint8_t *)&image, NULL, NULL));
}

/* ---- Destroying in any order ---- */

enum { OBJECTS = 8 };

static void destroy(int k, unetstar_context *c, struct training *t, unetstar_session *session, unetstar_tensor *tensor,
                    unetstar_metrics *metrics) {
    switch (k) {
    case 0:
        unetstar_context_destroy(c);
        break;
    case 1:
        unetstar_model_destroy(t->model);
        break;
    case 2:
        unetstar_optimizer_destroy(t->optimizer);
        break;
    case 3:
        unetstar_trainer_destroy(t->trainer);
        break;
    case 4:
        unetstar_dataset_destroy(t->set);
        break;
    case 5:
        unetstar_session_destroy(session);
        break;
    case 6:
        unetstar_tensor_destroy(tensor);
        break;
    default:
        unetstar_metrics_destroy(metrics);
        break;
    }
}

static void released(void *user, void *data) {
    ++*(int *)user;
    assert_non_null(data);
}

static void test_any_order_of_destruction(void **state) {
    int run;
    (void)state;
    for (run = 0; run < 120; run++) {
        struct counter c;
        struct recipe r;
        struct training t;
        unetstar_context *own;
        unetstar_session *session;
        unetstar_tensor *tensor;
        unetstar_metrics *metrics;
        const unetstar_model *list[1];
        float data[4] = {0, 0, 0, 0}, p[16];
        const int64_t shape[1] = {4};
        int order[OBJECTS], k, releases = 0, alive = 1;
        memset(&c, 0, sizeof c);
        own = make_counted(1 + run % 2, &c);
        recipe_tiny(&r);
        training_open(&t, own, &r);
        if (run % 3 == 0)
            OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
        list[0] = t.model;
        OK(unetstar_session_create(&session, own, list, 1, NULL));
        OK(unetstar_tensor_wrap(&tensor, own, data, UNETSTAR_FLOAT32, 1, shape, released, &releases));
        OK(unetstar_metrics_create(&metrics, own));
        for (k = 0; k < OBJECTS; k++)
            order[k] = k;
        for (k = OBJECTS - 1; k > 0; k--) { /* shuffled */
            const int other = (int)(noise((uint64_t)(run * OBJECTS + k)) * (float)(k + 1));
            const int swap = order[k];
            order[k] = order[other];
            order[other] = swap;
        }
        for (k = 0; k < OBJECTS; k++) {
            destroy(order[k], own, &t, session, tensor, metrics);
            alive &= order[k] != 5;
            if (alive) /* what is left works as long as it is there */
                OK(unetstar_session_run_tensor(session, 1, 2, 2, data, p, NULL));
        }
        assert_int_equal(releases, 1);
        counter_balanced(&c);
    }
    print_message("  %d orders\n", run);
}

/* ---- Sizes ---- */

static void test_shapes_of_primitives(void **state) {
    static float x[64], y[64];
    unetstar_conv2d_options o;
    const int64_t negative[2] = {2, -1}, huge[2] = {(int64_t)1 << 30, (int64_t)1 << 20}, zero[3] = {4, 0, 5};
    const int64_t most[8] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    const int64_t bad[] = {0, -1, INT64_MIN, INT64_MAX};
    unetstar_tensor *tensor;
    double loss;
    uint8_t labels[16] = {0};
    int k;
    (void)state;
    FAILS(UNETSTAR_EINVAL, unetstar_tensor_create(&tensor, context, 3, 1, huge));
    FAILS(UNETSTAR_EINVAL, unetstar_tensor_create(&tensor, context, UNETSTAR_UINT8, 9, most));
    FAILS(UNETSTAR_EINVAL, unetstar_tensor_create(&tensor, context, UNETSTAR_UINT8, -1, most));
    FAILS(UNETSTAR_EINVAL, unetstar_tensor_create(&tensor, context, UNETSTAR_UINT8, 2, negative));
    FAILS(UNETSTAR_ELIMIT, unetstar_tensor_create(&tensor, context, UNETSTAR_UINT8, 2, huge));
    FAILS(UNETSTAR_ELIMIT, unetstar_tensor_create(&tensor, context, UNETSTAR_INT64, 8, most));
    assert_null(tensor);
    OK(unetstar_tensor_create(&tensor, context, UNETSTAR_INT64, 3, zero));
    assert_int_equal(unetstar_tensor_bytes(tensor), 0);
    assert_int_equal(unetstar_tensor_shape(tensor, 2), 5);
    assert_int_equal(unetstar_tensor_shape(tensor, 3) + unetstar_tensor_shape(tensor, -1), 0);
    unetstar_tensor_destroy(tensor);
    for (k = 0; k < COUNT(bad); k++) {
        const int expected = bad[k] == INT64_MAX ? UNETSTAR_ELIMIT : UNETSTAR_ESHAPE;
        const int64_t v = bad[k];
        FAILS(expected, unetstar_conv2d_forward(context, NULL, v, 1, 2, 2, 1, x, x, NULL, y));
        FAILS(expected, unetstar_conv2d_forward(context, NULL, 1, v, 2, 2, 1, x, x, NULL, y));
        FAILS(expected, unetstar_conv2d_forward(context, NULL, 1, 1, v, 2, 1, x, x, NULL, y));
        FAILS(expected, unetstar_conv2d_forward(context, NULL, 1, 1, 2, v, 1, x, x, NULL, y));
        FAILS(expected, unetstar_conv2d_forward(context, NULL, 1, 1, 2, 2, v, x, x, NULL, y));
        FAILS(expected, unetstar_conv2d_backward(context, NULL, 1, 1, v, 2, 1, x, x, y, x, x, x));
        FAILS(expected, unetstar_linear_forward(context, v, 1, 1, x, x, NULL, y));
        FAILS(expected, unetstar_linear_forward(context, 1, 1, v, x, x, NULL, y));
        FAILS(expected, unetstar_linear_backward(context, 1, v, 1, x, x, y, x, x, x));
        FAILS(expected, unetstar_batch_norm_forward(context, v, 1, 1, 1, x, NULL, NULL, 1, 0, NULL, NULL, y, x, x));
        FAILS(expected, unetstar_batch_norm_backward(context, 1, 1, 1, v, x, NULL, x, x, y, x, x, x));
        FAILS(expected, unetstar_layer_norm_forward(context, 1, v, 1, 1, x, NULL, NULL, 1, y, x, x));
        FAILS(expected, unetstar_layer_norm_backward(context, 1, 1, v, 1, x, NULL, x, x, y, x, x, x));
        FAILS(expected, unetstar_group_norm_forward(context, 1, v, 1, 1, 1, x, NULL, NULL, 1, y, x, x));
        FAILS(UNETSTAR_ESHAPE, unetstar_group_norm_forward(context, 1, 1, 1, 1, v, x, NULL, NULL, 1, y, x, x));
        FAILS(expected, unetstar_group_norm_backward(context, v, 1, 1, 1, 1, x, NULL, x, x, y, x, x, x));
        FAILS(expected, unetstar_activation_forward(context, UNETSTAR_ACTIVATION_RELU, 0, v, x, y));
        FAILS(expected, unetstar_activation_backward(context, UNETSTAR_ACTIVATION_RELU, 0, v, x, y, x));
        FAILS(expected, unetstar_upsample2_forward(context, UNETSTAR_UPSAMPLING_NEAREST, 1, 1, v, 1, x, y));
        FAILS(expected, unetstar_upsample2_backward(context, UNETSTAR_UPSAMPLING_NEAREST, v, 1, 1, 1, y, x));
        FAILS(expected, unetstar_conv_transpose2d_forward(context, 1, 1, v, 1, 1, x, x, NULL, y));
        FAILS(expected, unetstar_conv_transpose2d_backward(context, 1, 1, 1, 1, v, x, x, y, x, x, x));
        FAILS(expected, unetstar_add_forward(context, v, x, x, y));
        FAILS(expected, unetstar_add_backward(context, v, y, x, x));
        FAILS(expected, unetstar_multiply_forward(context, v, x, x, y));
        FAILS(expected, unetstar_multiply_backward(context, v, x, x, y, x, x));
        FAILS(expected, unetstar_concat_forward(context, 1, v, 1, 1, 1, x, x, y));
        FAILS(expected, unetstar_concat_backward(context, 1, 1, v, 1, 1, y, x, x));
        FAILS(expected, unetstar_softmax_forward(context, 1, 1, v, 1, x, y));
        FAILS(expected, unetstar_softmax_backward(context, 1, 1, 1, v, y, y, x));
        FAILS(expected, unetstar_loss(context, NULL, 1, 2, v, 1, x, labels, NULL, &loss, NULL));
    }
    for (k = 0; k < 3; k++) { /* max pooling also wants even sides */
        static const int64_t sides[][2] = {{3, 2}, {2, 3}, {0, 2}};
        FAILS(UNETSTAR_ESHAPE, unetstar_max_pool2d_forward(context, 1, 1, sides[k][0], sides[k][1], x, y));
        FAILS(UNETSTAR_ESHAPE, unetstar_max_pool2d_backward(context, 1, 1, sides[k][0], sides[k][1], x, y, x));
    }
    FAILS(UNETSTAR_ESHAPE, unetstar_loss(context, NULL, 1, 9, 1, 1, x, labels, NULL, &loss, NULL));
    labels[0] = 2;
    FAILS(UNETSTAR_EINVAL, unetstar_loss(context, NULL, 1, 2, 1, 1, x, labels, NULL, &loss, NULL));
    FAILS(UNETSTAR_EINVAL, unetstar_activation_forward(context, 6, 0, 4, x, y));
    FAILS(UNETSTAR_EINVAL, unetstar_activation_backward(context, -1, 0, 4, x, y, x));
    FAILS(UNETSTAR_EINVAL, unetstar_upsample2_forward(context, UNETSTAR_UPSAMPLING_TRANSPOSED, 1, 1, 1, 1, x, y));
    FAILS(UNETSTAR_EINVAL, unetstar_upsample2_backward(context, 7, 1, 1, 1, 1, x, y));
    OK(unetstar_conv2d_options_init(&o, sizeof o));
    o.groups = 2;
    FAILS(UNETSTAR_ESHAPE, unetstar_conv2d_forward(context, &o, 1, 3, 2, 2, 2, x, x, NULL, y));
    o.groups = 1;
    o.padding_h = o.padding_w = 0;
    FAILS(UNETSTAR_ESHAPE, unetstar_conv2d_forward(context, &o, 1, 1, 2, 2, 1, x, x, NULL, y)); /* nothing is left */
    o.kernel_h = o.kernel_w = INT32_MAX;
    o.dilation = INT32_MAX;
    o.padding_h = o.padding_w = INT32_MAX;
    assert_true(unetstar_conv2d_forward(context, &o, 1, 1, 2, 2, 1, x, x, NULL, y) < 0);
}

static void test_sizes_of_sessions(void **state) {
    struct recipe r;
    unetstar_model *model;
    const unetstar_model *list[1];
    unetstar_session *session;
    unetstar_workspace workspace;
    unetstar_image image, mask;
    static uint8_t pixels[3 * 64];
    float x[64], p[64], again[64];
    int64_t h, w;
    int k;
    (void)state;
    recipe_tiny(&r);
    r.model.levels = 5;
    for (k = 0; k < 64; k++) {
        x[k] = noise((uint64_t)k);
        pixels[3 * k] = pixels[3 * k + 1] = pixels[3 * k + 2] = (uint8_t)(k * 4);
    }
    OK(unetstar_model_create(&model, context, &r.model));
    list[0] = model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.channels = 3;
    for (h = 1; h <= 5; h++)
        for (w = 1; w <= 5; w += 2) { /* from a single pixel on */
            image.width = w;
            image.height = h;
            memset(p, 0xff, sizeof p);
            OK(unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL));
            for (k = 0; k < h * w; k++)
                assert_true(p[k] >= 0 && p[k] <= 1);
            assert_true(p[h * w] != p[h * w]); /* not a pixel too far */
            OK(unetstar_session_run_tensor(session, 1, h, w, x, p, NULL));
            OK(unetstar_session_run_tensor(session, 1, h, w, x, again, NULL));
            assert_memory_equal(p, again, (size_t)(h * w) * sizeof *p);
        }
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, 0, 2, 2, x, p, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, -3, 2, 2, x, p, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, 1, 0, 2, x, p, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, 1, 2, -5, x, p, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, 1, INT64_MAX, 2, x, p, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run_tensor(session, 1, 32769, 1, x, p, NULL));
    workspace.struct_size = sizeof workspace;
    FAILS(UNETSTAR_ESHAPE, unetstar_session_workspace_size(session, 0, 4, &workspace));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_workspace_size(session, 4, INT64_MAX, &workspace));
    OK(unetstar_session_workspace_size(session, 32768, 32768, &workspace)); /* told, not taken */
    print_message("  32768 x 32768 pixels would need %.1f GB\n", (double)workspace.total / 1e9);
    assert_true(workspace.total > (size_t)1 << 32);
    mask = image;
    mask.channels = 3;
    FAILS(UNETSTAR_EINVAL, unetstar_session_run(session, &image, &mask, p, NULL, NULL, NULL));
    mask.channels = 1;
    mask.bits = 16;
    FAILS(UNETSTAR_EINVAL, unetstar_session_run(session, &image, &mask, p, NULL, NULL, NULL));
    mask.bits = 8;
    mask.width++;
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run(session, &image, &mask, p, NULL, NULL, NULL));
    mask.data = NULL;
    FAILS_NAMING(UNETSTAR_EINVAL, "mask has no data", unetstar_session_run(session, &image, &mask, p, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
    r.model.in_channels = 2;
    OK(unetstar_model_create(&model, context, &r.model));
    list[0] = model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    FAILS(UNETSTAR_ESHAPE, unetstar_session_run(session, &image, NULL, p, NULL, NULL, NULL)); /* tensors only */
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
}

/* Training needs a picture, however small: one pixel a patch, and the largest plan that anybody may ask for. */
static void test_extreme_trainers(void **state) {
    struct recipe r;
    struct training t;
    unetstar_trainer *trainer = NULL;
    int code;
    (void)state;
    recipe_tiny(&r);
    r.trainer.patch_height = r.trainer.patch_width = 1;
    training_open(&t, context, &r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    r.trainer.patch_height = r.trainer.patch_width = 8192;
    r.trainer.batch_size = 4096;
    code = unetstar_trainer_create(&trainer, t.model, t.optimizer, &r.trainer, NULL);
    print_message("  4096 patches of 8192 x 8192: %s\n", unetstar_last_error());
    assert_true(code == UNETSTAR_ELIMIT || code == UNETSTAR_ENOMEM);
    assert_null(trainer);
    training_close(&t);
}

/* ---- NaN ---- */

static void test_nan_inputs(void **state) {
    struct recipe r;
    struct training t;
    unetstar_session *session;
    unetstar_metrics *metrics;
    unetstar_scores scores;
    const unetstar_model *list[1];
    static float x[16 * 16], p[16 * 16];
    static uint8_t labels[16 * 16], mask[16 * 16];
    double loss;
    int k;
    (void)state;
    recipe_tiny(&r);
    training_open(&t, context, &r);
    for (k = 0; k < 256; k++)
        x[k] = k % 3 ? NAN : k % 2 ? INFINITY : -FLT_MAX;
    OK(unetstar_trainer_forward(t.trainer, 1, x)); /* garbage in, garbage out, but no crash and no error */
    OK(unetstar_trainer_loss(t.trainer, labels, NULL, &loss));
    OK(unetstar_trainer_backward(t.trainer));
    OK(unetstar_trainer_step(t.trainer, -1));
    list[0] = t.model;
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    OK(unetstar_session_run_tensor(session, 1, 16, 16, x, p, NULL));
    unetstar_session_destroy(session);
    OK(unetstar_metrics_create(&metrics, context));
    scores.struct_size = sizeof scores;
    FAILS(UNETSTAR_ESTATE, unetstar_metrics_scores(metrics, -1, 0.5, &scores));
    memset(p, 0, sizeof p);
    memset(mask, 1, sizeof mask);
    p[7] = NAN;
    FAILS_NAMING(UNETSTAR_EINVAL, "probability[7]", unetstar_metrics_add(metrics, "ill", 256, p, labels, mask));
    assert_int_equal(unetstar_metrics_count(metrics), 0);
    mask[7] = 0;
    OK(unetstar_metrics_add(metrics, "masked", 256, p, labels, mask));
    OK(unetstar_metrics_scores(metrics, 0, 0.5, &scores));
    assert_int_equal(scores.true_positives + scores.false_positives + scores.true_negatives + scores.false_negatives, 255);
    assert_true(scores.roc_auc != scores.roc_auc); /* one class only */
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_scores(metrics, 0, NAN, &scores));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_scores(metrics, 1, 0.5, &scores));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_scores(metrics, -2, 0.5, &scores));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_add(metrics, "none", 0, p, labels, mask));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_add(metrics, "none", -1, p, labels, mask));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_add_image(metrics, "none", 0, 1, p, labels, mask));
    FAILS(UNETSTAR_EINVAL, unetstar_metrics_add_image(metrics, "none", 1, -1, p, labels, mask));
    FAILS(UNETSTAR_ELIMIT, unetstar_metrics_add_image(metrics, "none", INT64_MAX / 2, 4, p, labels, mask));
    mask[7] = 1;
    FAILS_NAMING(UNETSTAR_EINVAL, "probability[7]", unetstar_metrics_add_image(metrics, "ill", 16, 16, p, labels, mask));
    mask[7] = 0;
    assert_int_equal(unetstar_metrics_count(metrics), 1);
    OK(unetstar_metrics_add_image(metrics, "shaped", 16, 16, p, labels, mask)); /* the NaN is outside */
    OK(unetstar_metrics_scores(metrics, 1, 0.5, &scores));
    assert_true(scores.cl_dice >= 0 && scores.calibration_error >= 0);
    OK(unetstar_metrics_scores(metrics, -1, 0.5, &scores));
    assert_true(scores.cl_dice != scores.cl_dice); /* the first image has no shape */
    {
        double cx[4], cy[4];
        int64_t n;
        FAILS(UNETSTAR_EINVAL, unetstar_metrics_curve(metrics, 2, 4, cx, cy, &n));
        FAILS(UNETSTAR_EINVAL, unetstar_metrics_curve(metrics, UNETSTAR_CURVE_ROC, 1, cx, cy, &n));
        FAILS(UNETSTAR_EINVAL, unetstar_metrics_curve(metrics, UNETSTAR_CURVE_ROC, -4, cx, cy, &n));
    }
    unetstar_metrics_destroy(metrics);
    training_close(&t);
}

/* ---- A session whose run has not returned ---- */

struct visit {
    unetstar_session *session, *other;
    int calls, let_go;
};

static int is_in_use(struct visit *v) {
    unetstar_image image;
    static const uint8_t pixels[16 * 16];
    float x[4] = {0}, p[256];
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.width = image.height = 16;
    image.channels = 1;
    image.bits = 8;
    FAILS_NAMING(UNETSTAR_ESTATE, "in use", unetstar_session_run(v->session, &image, NULL, p, NULL, NULL, NULL));
    FAILS_NAMING(UNETSTAR_ESTATE, "in use", unetstar_session_run_tensor(v->session, 1, 2, 2, x, p, NULL));
    FAILS_NAMING(UNETSTAR_ESTATE, "in use", unetstar_session_set_prep_state(v->session, NULL));
    OK(unetstar_session_run(v->other, &image, NULL, p, NULL, NULL, NULL)); /* others are free */
    if (v->let_go && v->calls == 1) {
        unetstar_session_destroy(v->session);
        unetstar_session_destroy(v->other);
    }
    return 0;
}

static int on_visit(void *user, const unetstar_progress *progress) {
    struct visit *v = (struct visit *)user;
    (void)progress;
    return v->calls++ == 0 || !v->let_go ? is_in_use(v) : 0;
}

static void test_session_in_use(void **state) {
    static const int32_t plans[] = {UNETSTAR_PLAN_WHOLE, UNETSTAR_PLAN_STREAM};
    static uint8_t pixels[16 * 16];
    float expected[256], p[256];
    unetstar_model_options m;
    int i;
    (void)state;
    for (i = 0; i < 256; i++)
        pixels[i] = (uint8_t)(noise((uint64_t)i) * 255);
    for (i = 0; i < 4; i++) {
        unetstar_context *own = make_counted(1, &counter);
        unetstar_session_options o;
        unetstar_image image;
        unetstar_model *model;
        const unetstar_model *list[1];
        struct visit v;
        memset(&v, 0, sizeof v);
        OK(unetstar_model_options_init(&m, sizeof m));
        m.narrow = 0.0625;
        m.levels = 2;
        OK(unetstar_model_create(&model, own, &m));
        list[0] = model;
        OK(unetstar_session_options_init(&o, sizeof o));
        o.plan = plans[i % 2];
        OK(unetstar_session_create(&v.session, own, list, 1, &o));
        OK(unetstar_session_create(&v.other, own, list, 1, &o));
        OK(unetstar_image_init(&image, sizeof image));
        image.data = pixels;
        image.width = image.height = 16;
        image.channels = 1;
        image.bits = 8;
        OK(unetstar_session_run(v.session, &image, NULL, expected, NULL, NULL, NULL));
        v.let_go = i / 2; /* all is destroyed while it runs: it ends all the same */
        if (v.let_go) {
            unetstar_model_destroy(model);
            unetstar_context_destroy(own);
        }
        OK(unetstar_session_run(v.session, &image, NULL, p, NULL, on_visit, &v));
        assert_true(v.calls > 0);
        assert_memory_equal(p, expected, sizeof p);
        if (v.let_go)
            continue;
        OK(unetstar_session_run(v.session, &image, NULL, p, NULL, NULL, NULL)); /* free again */
        assert_memory_equal(p, expected, sizeof p);
        unetstar_session_destroy(v.session);
        unetstar_session_destroy(v.other);
        unetstar_model_destroy(model);
        unetstar_context_destroy(own);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_steps),       cmocka_unit_test(test_datasets_of_a_fit),
        cmocka_unit_test(test_indices_and_folds),    cmocka_unit_test(test_any_order_of_destruction),
        cmocka_unit_test(test_shapes_of_primitives), cmocka_unit_test(test_sizes_of_sessions),
        cmocka_unit_test(test_extreme_trainers),     cmocka_unit_test(test_nan_inputs),
        cmocka_unit_test(test_session_in_use),
    };
    return cmocka_run_group_tests_name("misuse_order", tests, set_up, tear_down);
}
