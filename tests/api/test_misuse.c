/*
 * test_misuse.c - NULL for every pointer argument of every function: EINVAL with the argument's name, or what the header
 * says NULL means there. The names of the functions are checked against the header by check_coverage.py.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>

/* argument: how the sentence names it. */
#define NULLED(argument, call) FAILS_NAMING(UNETSTAR_EINVAL, argument, call)

static unetstar_context *context;

static int set_up(void **state) {
    (void)state;
    context = make_context(1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unetstar_context_destroy(context);
    leave_folder();
    return 0;
}

static void test_contexts_and_tensors(void **state) {
    const int64_t shape[2] = {2, 3};
    float data[6];
    unetstar_context *c;
    unetstar_cancel *cancel;
    unetstar_tensor *tensor;
    (void)state;
    NULLED("context options", unetstar_context_options_init(NULL, sizeof(unetstar_context_options)));
    NULLED("out", unetstar_context_create(NULL, NULL));
    OK(unetstar_context_create(&c, NULL));
    assert_true(unetstar_context_threads(c) >= 1);
    unetstar_context_destroy(c);
    unetstar_context_destroy(NULL);
    assert_string_equal(unetstar_context_isa(NULL), "");
    assert_int_equal(unetstar_context_threads(NULL), 0);
    NULLED("out", unetstar_cancel_create(NULL, context));
    NULLED("context", unetstar_cancel_create(&cancel, NULL));
    assert_null(cancel);
    unetstar_cancel_destroy(NULL);
    unetstar_cancel_request(NULL);
    unetstar_cancel_reset(NULL);
    assert_int_equal(unetstar_cancel_requested(NULL), 0);
    NULLED("out", unetstar_tensor_create(NULL, context, UNETSTAR_FLOAT32, 2, shape));
    NULLED("context", unetstar_tensor_create(&tensor, NULL, UNETSTAR_FLOAT32, 2, shape));
    assert_null(tensor);
    NULLED("shape", unetstar_tensor_create(&tensor, context, UNETSTAR_FLOAT32, 2, NULL));
    OK(unetstar_tensor_create(&tensor, context, UNETSTAR_INT64, 0, NULL)); /* a scalar */
    assert_int_equal(unetstar_tensor_bytes(tensor), 8);
    unetstar_tensor_destroy(tensor);
    NULLED("out", unetstar_tensor_wrap(NULL, context, data, UNETSTAR_FLOAT32, 2, shape, NULL, NULL));
    NULLED("context", unetstar_tensor_wrap(&tensor, NULL, data, UNETSTAR_FLOAT32, 2, shape, NULL, NULL));
    NULLED("data", unetstar_tensor_wrap(&tensor, context, NULL, UNETSTAR_FLOAT32, 2, shape, NULL, NULL));
    NULLED("shape", unetstar_tensor_wrap(&tensor, context, data, UNETSTAR_FLOAT32, 2, NULL, NULL, NULL));
    assert_null(tensor);
    OK(unetstar_tensor_wrap(&tensor, context, data, UNETSTAR_FLOAT32, 2, shape, NULL, NULL));
    assert_ptr_equal(unetstar_tensor_data(tensor), data);
    unetstar_tensor_destroy(tensor);
    unetstar_tensor_destroy(NULL);
    assert_int_equal(unetstar_tensor_dtype(NULL), 0);
    assert_int_equal(unetstar_tensor_ndim(NULL), 0);
    assert_int_equal(unetstar_tensor_shape(NULL, 0), 0);
    assert_int_equal(unetstar_tensor_bytes(NULL), 0);
    assert_null(unetstar_tensor_data(NULL));
}

/* All primitives on 1 x 2 x 4 x 4, with `h` for every buffer: big enough for each of them. */
static float x[256], y[256], w[256], b[256], g[256], dx[256], dw[256], db[256], m[256], s[256];
#define IN 1, 2, 4, 4

static void test_primitives(void **state) {
    uint8_t labels[16] = {0}, mask[16] = {1};
    double loss;
    (void)state;
    NULLED("conv2d options", unetstar_conv2d_options_init(NULL, 16));
    NULLED("context", unetstar_conv2d_forward(NULL, NULL, IN, 2, x, w, b, y));
    NULLED("x", unetstar_conv2d_forward(context, NULL, IN, 2, NULL, w, b, y));
    NULLED("weight", unetstar_conv2d_forward(context, NULL, IN, 2, x, NULL, b, y));
    NULLED("y", unetstar_conv2d_forward(context, NULL, IN, 2, x, w, b, NULL));
    OK(unetstar_conv2d_forward(context, NULL, IN, 2, x, w, NULL, y));
    NULLED("context", unetstar_conv2d_backward(NULL, NULL, IN, 2, x, w, y, dx, dw, db));
    NULLED("x", unetstar_conv2d_backward(context, NULL, IN, 2, NULL, w, y, dx, dw, db));
    NULLED("weight", unetstar_conv2d_backward(context, NULL, IN, 2, x, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_conv2d_backward(context, NULL, IN, 2, x, w, NULL, dx, dw, db));
    OK(unetstar_conv2d_backward(context, NULL, IN, 2, x, w, y, NULL, NULL, NULL));
    NULLED("context", unetstar_linear_forward(NULL, 2, 3, 4, x, w, b, y));
    NULLED("x", unetstar_linear_forward(context, 2, 3, 4, NULL, w, b, y));
    NULLED("weight", unetstar_linear_forward(context, 2, 3, 4, x, NULL, b, y));
    NULLED("y", unetstar_linear_forward(context, 2, 3, 4, x, w, b, NULL));
    OK(unetstar_linear_forward(context, 2, 3, 4, x, w, NULL, y));
    NULLED("context", unetstar_linear_backward(NULL, 2, 3, 4, x, w, y, dx, dw, db));
    NULLED("x", unetstar_linear_backward(context, 2, 3, 4, NULL, w, y, dx, dw, db));
    NULLED("weight", unetstar_linear_backward(context, 2, 3, 4, x, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_linear_backward(context, 2, 3, 4, x, w, NULL, dx, dw, db));
    OK(unetstar_linear_backward(context, 2, 3, 4, x, w, y, NULL, NULL, NULL));

    NULLED("context", unetstar_batch_norm_forward(NULL, IN, x, g, b, 1, 0, NULL, NULL, y, m, s));
    NULLED("x", unetstar_batch_norm_forward(context, IN, NULL, g, b, 1, 0, NULL, NULL, y, m, s));
    NULLED("y", unetstar_batch_norm_forward(context, IN, x, g, b, 1, 0, NULL, NULL, NULL, m, s));
    NULLED("save_mean", unetstar_batch_norm_forward(context, IN, x, g, b, 1, 0, NULL, NULL, y, NULL, s));
    NULLED("save_inverse_std", unetstar_batch_norm_forward(context, IN, x, g, b, 1, 0, NULL, NULL, y, m, NULL));
    NULLED("running", unetstar_batch_norm_forward(context, IN, x, g, b, 1, 0, dx, NULL, y, m, s));
    NULLED("running", unetstar_batch_norm_forward(context, IN, x, g, b, 1, 0, NULL, dx, y, m, s));
    OK(unetstar_batch_norm_forward(context, IN, x, NULL, NULL, 1, 0, NULL, NULL, y, m, s));
    NULLED("context", unetstar_batch_norm_backward(NULL, IN, x, g, m, s, y, dx, dw, db));
    NULLED("x", unetstar_batch_norm_backward(context, IN, NULL, g, m, s, y, dx, dw, db));
    NULLED("save_mean", unetstar_batch_norm_backward(context, IN, x, g, NULL, s, y, dx, dw, db));
    NULLED("save_inverse_std", unetstar_batch_norm_backward(context, IN, x, g, m, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_batch_norm_backward(context, IN, x, g, m, s, NULL, dx, dw, db));
    OK(unetstar_batch_norm_backward(context, IN, x, NULL, m, s, y, NULL, NULL, NULL));
    NULLED("context", unetstar_group_norm_forward(NULL, IN, 2, x, g, b, 1, y, m, s));
    NULLED("x", unetstar_group_norm_forward(context, IN, 2, NULL, g, b, 1, y, m, s));
    NULLED("y", unetstar_group_norm_forward(context, IN, 2, x, g, b, 1, NULL, m, s));
    NULLED("save_mean", unetstar_group_norm_forward(context, IN, 2, x, g, b, 1, y, NULL, s));
    NULLED("save_inverse_std", unetstar_group_norm_forward(context, IN, 2, x, g, b, 1, y, m, NULL));
    OK(unetstar_group_norm_forward(context, IN, 2, x, NULL, NULL, 1, y, m, s));
    NULLED("context", unetstar_group_norm_backward(NULL, IN, 2, x, g, m, s, y, dx, dw, db));
    NULLED("x", unetstar_group_norm_backward(context, IN, 2, NULL, g, m, s, y, dx, dw, db));
    NULLED("save_mean", unetstar_group_norm_backward(context, IN, 2, x, g, NULL, s, y, dx, dw, db));
    NULLED("save_inverse_std", unetstar_group_norm_backward(context, IN, 2, x, g, m, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_group_norm_backward(context, IN, 2, x, g, m, s, NULL, dx, dw, db));
    OK(unetstar_group_norm_backward(context, IN, 2, x, NULL, m, s, y, NULL, NULL, NULL));
    NULLED("context", unetstar_layer_norm_forward(NULL, IN, x, g, b, 1, y, m, s));
    NULLED("x", unetstar_layer_norm_forward(context, IN, NULL, g, b, 1, y, m, s));
    NULLED("y", unetstar_layer_norm_forward(context, IN, x, g, b, 1, NULL, m, s));
    NULLED("save_mean", unetstar_layer_norm_forward(context, IN, x, g, b, 1, y, NULL, s));
    NULLED("save_inverse_std", unetstar_layer_norm_forward(context, IN, x, g, b, 1, y, m, NULL));
    OK(unetstar_layer_norm_forward(context, IN, x, NULL, NULL, 1, y, m, s));
    NULLED("context", unetstar_layer_norm_backward(NULL, IN, x, g, m, s, y, dx, dw, db));
    NULLED("x", unetstar_layer_norm_backward(context, IN, NULL, g, m, s, y, dx, dw, db));
    NULLED("save_mean", unetstar_layer_norm_backward(context, IN, x, g, NULL, s, y, dx, dw, db));
    NULLED("save_inverse_std", unetstar_layer_norm_backward(context, IN, x, g, m, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_layer_norm_backward(context, IN, x, g, m, s, NULL, dx, dw, db));
    OK(unetstar_layer_norm_backward(context, IN, x, NULL, m, s, y, NULL, NULL, NULL));

    NULLED("context", unetstar_activation_forward(NULL, UNETSTAR_ACTIVATION_SILU, 0, 8, x, y));
    NULLED("x", unetstar_activation_forward(context, UNETSTAR_ACTIVATION_SILU, 0, 8, NULL, y));
    NULLED("y", unetstar_activation_forward(context, UNETSTAR_ACTIVATION_SILU, 0, 8, x, NULL));
    NULLED("context", unetstar_activation_backward(NULL, UNETSTAR_ACTIVATION_SILU, 0, 8, x, y, dx));
    NULLED("x", unetstar_activation_backward(context, UNETSTAR_ACTIVATION_SILU, 0, 8, NULL, y, dx));
    NULLED("dy", unetstar_activation_backward(context, UNETSTAR_ACTIVATION_SILU, 0, 8, x, NULL, dx));
    OK(unetstar_activation_backward(context, UNETSTAR_ACTIVATION_SILU, 0, 8, x, y, NULL));
    NULLED("context", unetstar_max_pool2d_forward(NULL, IN, x, y));
    NULLED("x", unetstar_max_pool2d_forward(context, IN, NULL, y));
    NULLED("y", unetstar_max_pool2d_forward(context, IN, x, NULL));
    NULLED("context", unetstar_max_pool2d_backward(NULL, IN, x, y, dx));
    NULLED("x", unetstar_max_pool2d_backward(context, IN, NULL, y, dx));
    NULLED("dy", unetstar_max_pool2d_backward(context, IN, x, NULL, dx));
    OK(unetstar_max_pool2d_backward(context, IN, x, y, NULL));
    NULLED("context", unetstar_upsample2_forward(NULL, UNETSTAR_UPSAMPLING_BILINEAR, IN, x, y));
    NULLED("x", unetstar_upsample2_forward(context, UNETSTAR_UPSAMPLING_BILINEAR, IN, NULL, y));
    NULLED("y", unetstar_upsample2_forward(context, UNETSTAR_UPSAMPLING_BILINEAR, IN, x, NULL));
    NULLED("context", unetstar_upsample2_backward(NULL, UNETSTAR_UPSAMPLING_BILINEAR, IN, y, dx));
    NULLED("dy", unetstar_upsample2_backward(context, UNETSTAR_UPSAMPLING_BILINEAR, IN, NULL, dx));
    OK(unetstar_upsample2_backward(context, UNETSTAR_UPSAMPLING_BILINEAR, IN, y, NULL));
    NULLED("context", unetstar_conv_transpose2d_forward(NULL, IN, 2, x, w, b, y));
    NULLED("x", unetstar_conv_transpose2d_forward(context, IN, 2, NULL, w, b, y));
    NULLED("weight", unetstar_conv_transpose2d_forward(context, IN, 2, x, NULL, b, y));
    NULLED("y", unetstar_conv_transpose2d_forward(context, IN, 2, x, w, b, NULL));
    OK(unetstar_conv_transpose2d_forward(context, IN, 2, x, w, NULL, y));
    NULLED("context", unetstar_conv_transpose2d_backward(NULL, IN, 2, x, w, y, dx, dw, db));
    NULLED("x", unetstar_conv_transpose2d_backward(context, IN, 2, NULL, w, y, dx, dw, db));
    NULLED("weight", unetstar_conv_transpose2d_backward(context, IN, 2, x, NULL, y, dx, dw, db));
    NULLED("dy", unetstar_conv_transpose2d_backward(context, IN, 2, x, w, NULL, dx, dw, db));
    OK(unetstar_conv_transpose2d_backward(context, IN, 2, x, w, y, NULL, NULL, NULL));

    NULLED("context", unetstar_add_forward(NULL, 8, x, w, y));
    NULLED("a", unetstar_add_forward(context, 8, NULL, w, y));
    NULLED("b", unetstar_add_forward(context, 8, x, NULL, y));
    NULLED("y", unetstar_add_forward(context, 8, x, w, NULL));
    NULLED("context", unetstar_add_backward(NULL, 8, y, dx, dw));
    NULLED("dy", unetstar_add_backward(context, 8, NULL, dx, dw));
    OK(unetstar_add_backward(context, 8, y, NULL, NULL));
    NULLED("context", unetstar_multiply_forward(NULL, 8, x, w, y));
    NULLED("a", unetstar_multiply_forward(context, 8, NULL, w, y));
    NULLED("b", unetstar_multiply_forward(context, 8, x, NULL, y));
    NULLED("y", unetstar_multiply_forward(context, 8, x, w, NULL));
    NULLED("context", unetstar_multiply_backward(NULL, 8, x, w, y, dx, dw));
    NULLED("a", unetstar_multiply_backward(context, 8, NULL, w, y, dx, dw));
    NULLED("b", unetstar_multiply_backward(context, 8, x, NULL, y, dx, dw));
    NULLED("dy", unetstar_multiply_backward(context, 8, x, w, NULL, dx, dw));
    OK(unetstar_multiply_backward(context, 8, x, w, y, NULL, NULL));
    NULLED("context", unetstar_concat_forward(NULL, 1, 2, 2, 2, 2, x, w, y));
    NULLED("a", unetstar_concat_forward(context, 1, 2, 2, 2, 2, NULL, w, y));
    NULLED("b", unetstar_concat_forward(context, 1, 2, 2, 2, 2, x, NULL, y));
    NULLED("y", unetstar_concat_forward(context, 1, 2, 2, 2, 2, x, w, NULL));
    NULLED("context", unetstar_concat_backward(NULL, 1, 2, 2, 2, 2, y, dx, dw));
    NULLED("dy", unetstar_concat_backward(context, 1, 2, 2, 2, 2, NULL, dx, dw));
    OK(unetstar_concat_backward(context, 1, 2, 2, 2, 2, y, NULL, NULL));
    NULLED("context", unetstar_softmax_forward(NULL, IN, x, y));
    NULLED("logits", unetstar_softmax_forward(context, IN, NULL, y));
    NULLED("probability", unetstar_softmax_forward(context, IN, x, NULL));
    NULLED("context", unetstar_softmax_backward(NULL, IN, x, y, dx));
    NULLED("probability", unetstar_softmax_backward(context, IN, NULL, y, dx));
    NULLED("dy", unetstar_softmax_backward(context, IN, x, NULL, dx));
    OK(unetstar_softmax_backward(context, IN, x, y, NULL));
    NULLED("loss options", unetstar_loss_options_init(NULL, 16));
    NULLED("context", unetstar_loss(NULL, NULL, IN, x, labels, mask, &loss, dx));
    NULLED("logits", unetstar_loss(context, NULL, IN, NULL, labels, mask, &loss, dx));
    NULLED("labels", unetstar_loss(context, NULL, IN, x, NULL, mask, &loss, dx));
    NULLED("loss", unetstar_loss(context, NULL, IN, x, labels, mask, NULL, dx));
    OK(unetstar_loss(context, NULL, IN, x, labels, NULL, &loss, NULL));
}

static uint8_t pixels[48 * 48 * 3], label[48 * 48], mask[48 * 48];

static void describe(unetstar_image *image, const void *data, int32_t channels) {
    OK(unetstar_image_init(image, sizeof *image));
    image->data = data;
    image->width = image->height = 48;
    image->channels = channels;
}

static int write_nothing(void *user, const void *data, size_t size) {
    (void)user;
    (void)data;
    (void)size;
    return 0;
}
static int read_rows(void *user, int64_t row, int64_t n, void *rows, int64_t stride) {
    (void)user;
    (void)row;
    memset(rows, 100, (size_t)(n * stride));
    return 0;
}

static void test_images_and_datasets(void **state) {
    unetstar_prep_state *learned = NULL;
    unetstar_source rows;
    unetstar_image image, labels, nothing, found;
    unetstar_dataset *set, *train, *test;
    const int64_t indices[1] = {0};
    static float out[48 * 48];
    int32_t source;
    (void)state;
    describe(&image, pixels, 3);
    describe(&labels, label, 1);
    describe(&nothing, NULL, 1);
    NULLED("image", unetstar_image_init(NULL, 16));
    NULLED("preprocessing options", unetstar_prep_options_init(NULL, 16));
    NULLED("context", unetstar_find_field_of_view(NULL, &image, mask, &source));
    NULLED("image", unetstar_find_field_of_view(context, NULL, mask, &source));
    NULLED("image", unetstar_find_field_of_view(context, &nothing, mask, &source));
    NULLED("mask", unetstar_find_field_of_view(context, &image, NULL, &source));
    NULLED("source", unetstar_find_field_of_view(context, &image, mask, NULL));
    NULLED("context", unetstar_preprocess(NULL, NULL, &image, NULL, out));
    NULLED("image", unetstar_preprocess(context, NULL, NULL, NULL, out));
    NULLED("mask", unetstar_preprocess(context, NULL, &image, &nothing, out));
    NULLED("x", unetstar_preprocess(context, NULL, &image, NULL, NULL));
    OK(unetstar_preprocess(context, NULL, &image, NULL, out));
    NULLED("source", unetstar_source_init(NULL, 16));
    OK(unetstar_source_init(&rows, sizeof rows));
    rows.read_rows = read_rows;
    rows.width = rows.height = 48;
    NULLED("out", unetstar_prep_fit(NULL, context, NULL, &rows, 0, NULL));
    NULLED("context", unetstar_prep_fit(&learned, NULL, NULL, &rows, 0, NULL));
    assert_null(learned);
    NULLED("source", unetstar_prep_fit(&learned, context, NULL, NULL, 0, NULL));
    OK(unetstar_prep_fit(&learned, context, NULL, &rows, 0, NULL));
    NULLED("state", unetstar_prep_state_save(NULL, write_nothing, NULL));
    NULLED("write", unetstar_prep_state_save(learned, NULL, NULL));
    OK(unetstar_prep_state_save(learned, write_nothing, NULL));
    unetstar_prep_state_destroy(learned);
    unetstar_prep_state_destroy(NULL);
    NULLED("out", unetstar_prep_state_load(NULL, context, pixels, 8));
    NULLED("context", unetstar_prep_state_load(&learned, NULL, pixels, 8));
    assert_null(learned);
    NULLED("data", unetstar_prep_state_load(&learned, context, NULL, 8));
    assert_null(learned);
    NULLED("context", unetstar_synthetic_fundus(NULL, 1, 48, 48, pixels, label, mask));
    NULLED("rgb", unetstar_synthetic_fundus(context, 1, 48, 48, NULL, label, mask));
    OK(unetstar_synthetic_fundus(context, 1, 48, 48, pixels, NULL, NULL));
    NULLED("out", unetstar_dataset_create(NULL, context));
    NULLED("context", unetstar_dataset_create(&set, NULL));
    assert_null(set);
    OK(unetstar_dataset_create(&set, context));
    NULLED("dataset", unetstar_dataset_add(NULL, "a", &image, &labels, NULL));
    NULLED("name", unetstar_dataset_add(set, NULL, &image, &labels, NULL));
    NULLED("image", unetstar_dataset_add(set, "a", NULL, &labels, NULL));
    NULLED("label", unetstar_dataset_add(set, "a", &image, &nothing, NULL));
    NULLED("mask", unetstar_dataset_add(set, "a", &image, &labels, &nothing));
    assert_int_equal(unetstar_dataset_count(set), 0);
    OK(unetstar_dataset_add(set, "a", &image, NULL, NULL));
    NULLED("dataset", unetstar_dataset_add_synthetic(NULL, 1, 48, 48));
    assert_int_equal(unetstar_dataset_count(NULL), 0);
    assert_null(unetstar_dataset_name(NULL, 0));
    assert_null(unetstar_dataset_name(set, 1));
    assert_null(unetstar_dataset_name(set, -1));
    assert_int_equal(unetstar_dataset_field_source(NULL, 0), UNETSTAR_FIELD_WHOLE);
    assert_int_equal(unetstar_dataset_field_source(set, 9), UNETSTAR_FIELD_WHOLE);
    OK(unetstar_image_init(&found, sizeof found));
    NULLED("dataset", unetstar_dataset_get(NULL, 0, UNETSTAR_DATASET_IMAGE, &found));
    NULLED("image", unetstar_dataset_get(set, 0, UNETSTAR_DATASET_IMAGE, NULL));
    NULLED("out", unetstar_dataset_subset(NULL, set, indices, 1));
    NULLED("dataset", unetstar_dataset_subset(&train, NULL, indices, 1));
    NULLED("indices", unetstar_dataset_subset(&train, set, NULL, 1));
    assert_null(train);
    OK(unetstar_dataset_subset(&train, set, NULL, 0));
    unetstar_dataset_destroy(train);
    NULLED("train", unetstar_dataset_fold(NULL, &test, set, 0, 2));
    NULLED("test", unetstar_dataset_fold(&train, NULL, set, 0, 2));
    NULLED("dataset", unetstar_dataset_fold(&train, &test, NULL, 0, 2));
    assert_null(train);
    assert_null(test);
    unetstar_dataset_destroy(set);
    unetstar_dataset_destroy(NULL);
}

static int64_t read_nothing(void *user, void *data, size_t size) {
    (void)user;
    (void)data;
    (void)size;
    return 0;
}

static void test_models_and_optimizers(void **state) {
    struct recipe r;
    unetstar_model *model, *other = NULL;
    unetstar_optimizer *optimizer, *none;
    unetstar_model_options options;
    unetstar_prep_options prep;
    int64_t shape[UNETSTAR_MAX_DIMS];
    int32_t dtype, ndim;
    float bias[2] = {0, 0}, value;
    unetstar_calibration calibration;
    double error;
    (void)state;
    recipe_tiny(&r);
    NULLED("model options", unetstar_model_options_init(NULL, 16));
    NULLED("out", unetstar_model_create(NULL, context, NULL));
    NULLED("context", unetstar_model_create(&model, NULL, NULL));
    assert_null(model);
    OK(unetstar_model_create(&model, context, &r.model));
    unetstar_model_destroy(NULL);
    options.struct_size = sizeof options;
    prep.struct_size = sizeof prep;
    NULLED("model", unetstar_model_get_options(NULL, &options));
    {
        static const float image[3 * 16 * 16] = {0};
        static const uint8_t labels[16 * 16] = {0};
        unetstar_branch_gradients gradients;
        unetstar_degree degree;
        unetstar_degree_check_options check_options;
        unetstar_degree_check check;
        unetstar_features features;
        degree.struct_size = sizeof degree;
        features.struct_size = sizeof features;
        NULLED("model", unetstar_model_degree(NULL, &degree));
        NULLED("degree", unetstar_model_degree(model, NULL));
        NULLED("model", unetstar_model_degree_check(NULL, NULL, 16, 16, image, NULL, &check));
        NULLED("x", unetstar_model_degree_check(model, NULL, 16, 16, NULL, NULL, &check));
        NULLED("check", unetstar_model_degree_check(model, NULL, 16, 16, image, NULL, NULL));
        NULLED("degree check options", unetstar_degree_check_options_init(NULL, sizeof check_options));
        OK(unetstar_degree_check_options_init(&check_options, sizeof check_options));
        check.struct_size = sizeof check;
        OK(unetstar_model_degree_check(model, NULL, 16, 16, image, NULL, &check)); /* options and cancel may be */
        NULLED("model", unetstar_model_branch_gradients(NULL, 1, 16, 16, image, labels, NULL, NULL, &gradients));
        NULLED("x", unetstar_model_branch_gradients(model, 1, 16, 16, NULL, labels, NULL, NULL, &gradients));
        NULLED("labels", unetstar_model_branch_gradients(model, 1, 16, 16, image, NULL, NULL, NULL, &gradients));
        NULLED("gradients", unetstar_model_branch_gradients(model, 1, 16, 16, image, labels, NULL, NULL, NULL));
        gradients.struct_size = sizeof gradients;
        OK(unetstar_model_branch_gradients(model, 1, 16, 16, image, labels, NULL, NULL, &gradients));
        NULLED("model", unetstar_model_features(NULL, 16, 16, image, "encoder.0.conv.0", 0, NULL, &features));
        NULLED("x", unetstar_model_features(model, 16, 16, NULL, "encoder.0.conv.0", 0, NULL, &features));
        NULLED("layer", unetstar_model_features(model, 16, 16, image, NULL, 0, NULL, &features));
        NULLED("features", unetstar_model_features(model, 16, 16, image, "encoder.0.conv.0", 0, NULL, NULL));
        OK(unetstar_model_features(model, 16, 16, image, "encoder.0.conv.0", 0, NULL, &features));
    }
    NULLED("options", unetstar_model_get_options(model, NULL));
    assert_int_equal(unetstar_model_parameter_count(NULL), 0);
    NULLED("model", unetstar_model_get_prep(NULL, &prep));
    NULLED("prep", unetstar_model_get_prep(model, NULL));
    OK(unetstar_model_get_prep(model, &prep));
    NULLED("calibration options", unetstar_calibration_options_init(NULL, 16));
    NULLED("model", unetstar_model_calibrate(NULL, NULL, 1, NULL, NULL));
    NULLED("images", unetstar_model_calibrate(model, NULL, 1, NULL, NULL));
    NULLED("model", unetstar_model_get_calibration(NULL, &calibration));
    NULLED("calibration", unetstar_model_get_calibration(model, NULL));
    calibration.struct_size = 4;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size", unetstar_model_get_calibration(model, &calibration));
    assert_null(unetstar_model_float_layer(NULL, 0, &error));
    assert_null(unetstar_model_float_layer(model, 0, NULL));
    NULLED("model", unetstar_model_set_prep(NULL, &prep));
    NULLED("prep", unetstar_model_set_prep(model, NULL));
    NULLED("model", unetstar_model_set_meta(NULL, "k", "v"));
    NULLED("key", unetstar_model_set_meta(model, NULL, "v"));
    OK(unetstar_model_set_meta(model, "k", NULL));
    assert_null(unetstar_model_get_meta(NULL, "k"));
    assert_null(unetstar_model_get_meta(model, NULL));
    assert_int_equal(unetstar_model_tensor_count(NULL), 0);
    assert_null(unetstar_model_tensor_name(NULL, 0));
    NULLED("model", unetstar_model_tensor_shape(NULL, "out.bias", &dtype, &ndim, shape));
    NULLED("name", unetstar_model_tensor_shape(model, NULL, &dtype, &ndim, shape));
    NULLED("dtype", unetstar_model_tensor_shape(model, "out.bias", NULL, &ndim, shape));
    NULLED("ndim", unetstar_model_tensor_shape(model, "out.bias", &dtype, NULL, shape));
    NULLED("shape", unetstar_model_tensor_shape(model, "out.bias", &dtype, &ndim, NULL));
    NULLED("model", unetstar_model_tensor_get(NULL, "out.bias", bias, 2));
    NULLED("name", unetstar_model_tensor_get(model, NULL, bias, 2));
    NULLED("data", unetstar_model_tensor_get(model, "out.bias", NULL, 2));
    NULLED("model", unetstar_model_tensor_set(NULL, "out.bias", bias, 2));
    NULLED("name", unetstar_model_tensor_set(model, NULL, bias, 2));
    NULLED("data", unetstar_model_tensor_set(model, "out.bias", NULL, 2));
    NULLED("out", unetstar_model_load(NULL, context, "x"));
    NULLED("context", unetstar_model_load(&other, NULL, "x"));
    NULLED("path", unetstar_model_load(&other, context, NULL));
    NULLED("out", unetstar_model_load_with(NULL, context, "x", &r.model));
    NULLED("context", unetstar_model_load_with(&other, NULL, "x", &r.model));
    NULLED("path", unetstar_model_load_with(&other, context, NULL, &r.model));
    FAILS(UNETSTAR_EINVAL, unetstar_model_load_with(&other, context, "x", NULL));
    NULLED("out", unetstar_model_load_memory(NULL, context, "x", 1));
    NULLED("context", unetstar_model_load_memory(&other, NULL, "x", 1));
    NULLED("data", unetstar_model_load_memory(&other, context, NULL, 1));
    NULLED("out", unetstar_model_load_callback(NULL, context, read_nothing, NULL));
    NULLED("context", unetstar_model_load_callback(&other, NULL, read_nothing, NULL));
    NULLED("read", unetstar_model_load_callback(&other, context, NULL, NULL));
    FAILS(UNETSTAR_EFORMAT, unetstar_model_load_callback(&other, context, read_nothing, NULL));
    assert_null(other);
    NULLED("model", unetstar_model_save(NULL, path_of("x")));
    NULLED("path", unetstar_model_save(model, NULL));
    NULLED("model", unetstar_model_save_callback(NULL, write_nothing, NULL));
    NULLED("write", unetstar_model_save_callback(model, NULL, NULL));
    NULLED("optimizer options", unetstar_optimizer_options_init(NULL, 16));
    NULLED("out", unetstar_optimizer_create(NULL, model, NULL));
    NULLED("model", unetstar_optimizer_create(&none, NULL, NULL));
    assert_null(none);
    OK(unetstar_optimizer_create(&optimizer, model, NULL));
    NULLED("optimizer", unetstar_optimizer_step(NULL, bias, 2, 1, 1));
    NULLED("gradients", unetstar_optimizer_step(optimizer, NULL, 2, 1, 1));
    assert_int_equal(unetstar_optimizer_step_count(NULL), 0);
    NULLED("optimizer", unetstar_optimizer_moment_get(NULL, "out.bias", 1, bias, 2));
    NULLED("name", unetstar_optimizer_moment_get(optimizer, NULL, 1, bias, 2));
    NULLED("data", unetstar_optimizer_moment_get(optimizer, "out.bias", 1, NULL, 2));
    FAILS(UNETSTAR_EINVAL, unetstar_optimizer_moment_get(optimizer, "out.bias", 0, bias, 2));
    FAILS(UNETSTAR_EINVAL, unetstar_optimizer_moment_get(optimizer, "nothing", 1, bias, 2));
    FAILS(UNETSTAR_ESHAPE, unetstar_optimizer_moment_get(optimizer, "out.bias", 1, &value, 1));
    unetstar_optimizer_destroy(optimizer);
    unetstar_optimizer_destroy(NULL);
    unetstar_model_destroy(model);
}

static int write_rows(void *user, int64_t row, int64_t n, const float *rows) {
    (void)user;
    (void)row;
    return n < 1 || !rows;
}

static void test_trainers_sessions_metrics(void **state) {
    struct recipe r;
    struct training t;
    unetstar_trainer *trainer;
    unetstar_session *session;
    unetstar_metrics *metrics;
    unetstar_trainer_state trainer_state;
    unetstar_image image;
    unetstar_source source, no_reader;
    unetstar_workspace workspace;
    unetstar_scores scores;
    const unetstar_model *list[2] = {NULL, NULL};
    static float out[48 * 48];
    float *gradients;
    double number, other, curve[4], curve_y[4];
    int64_t count;
    (void)state;
    recipe_tiny(&r);
    training_open(&t, context, &r);
    NULLED("trainer options", unetstar_trainer_options_init(NULL, 16));
    NULLED("out", unetstar_trainer_create(NULL, t.model, t.optimizer, NULL, NULL));
    NULLED("model", unetstar_trainer_create(&trainer, NULL, t.optimizer, NULL, NULL));
    NULLED("optimizer", unetstar_trainer_create(&trainer, t.model, NULL, NULL, NULL));
    assert_null(trainer);
    unetstar_trainer_destroy(NULL);
    assert_int_equal(unetstar_trainer_workspace_size(NULL), 0);
    NULLED("trainer", unetstar_trainer_fit(NULL, t.set, NULL, NULL, NULL, NULL));
    NULLED("training_set", unetstar_trainer_fit(t.trainer, NULL, NULL, NULL, NULL, NULL));
    NULLED("trainer", unetstar_trainer_use_best(NULL));
    NULLED("trainer", unetstar_trainer_get_state(NULL, &trainer_state));
    NULLED("state", unetstar_trainer_get_state(t.trainer, NULL));
    trainer_state.struct_size = 4;
    FAILS_NAMING(UNETSTAR_EINVAL, "struct_size", unetstar_trainer_get_state(t.trainer, &trainer_state));
    NULLED("trainer", unetstar_trainer_save(NULL, path_of("x")));
    NULLED("path", unetstar_trainer_save(t.trainer, NULL));
    NULLED("trainer", unetstar_trainer_load(NULL, path_of("x")));
    NULLED("path", unetstar_trainer_load(t.trainer, NULL));
    NULLED("trainer", unetstar_trainer_forward(NULL, 1, out));
    NULLED("x", unetstar_trainer_forward(t.trainer, 1, NULL));
    NULLED("trainer", unetstar_trainer_logits(NULL, out));
    NULLED("logits", unetstar_trainer_logits(t.trainer, NULL));
    NULLED("trainer", unetstar_trainer_loss(NULL, label, NULL, &number));
    NULLED("labels", unetstar_trainer_loss(t.trainer, NULL, NULL, &number));
    NULLED("loss", unetstar_trainer_loss(t.trainer, label, NULL, NULL));
    NULLED("trainer", unetstar_trainer_backward(NULL));
    NULLED("trainer", unetstar_trainer_gradients(NULL, &gradients, &count));
    NULLED("gradients", unetstar_trainer_gradients(t.trainer, NULL, &count));
    NULLED("count", unetstar_trainer_gradients(t.trainer, &gradients, NULL));
    NULLED("trainer", unetstar_trainer_step(NULL, 1));
    NULLED("trainer", unetstar_trainer_gradient_get(NULL, "out.bias", out, 2));
    NULLED("name", unetstar_trainer_gradient_get(t.trainer, NULL, out, 2));
    NULLED("data", unetstar_trainer_gradient_get(t.trainer, "out.bias", NULL, 2));
    NULLED("trainer", unetstar_trainer_set_hook(NULL, NULL, NULL));
    OK(unetstar_trainer_set_hook(t.trainer, NULL, NULL));
    NULLED("trainer", unetstar_trainer_patch(NULL, t.set, 0, 0, out, label, mask));
    NULLED("training_set", unetstar_trainer_patch(t.trainer, NULL, 0, 0, out, label, mask));
    NULLED("x", unetstar_trainer_patch(t.trainer, t.set, 0, 0, NULL, label, mask));
    OK(unetstar_trainer_patch(t.trainer, t.set, 0, 0, out, NULL, NULL));

    NULLED("session options", unetstar_session_options_init(NULL, 16));
    NULLED("out", unetstar_session_create(NULL, context, list, 1, NULL));
    NULLED("context", unetstar_session_create(&session, NULL, list, 1, NULL));
    NULLED("models", unetstar_session_create(&session, context, NULL, 1, NULL));
    list[0] = t.model;
    NULLED("model 1", unetstar_session_create(&session, context, list, 2, NULL));
    assert_null(session);
    OK(unetstar_session_create(&session, context, list, 1, NULL));
    unetstar_session_destroy(NULL);
    assert_int_equal(unetstar_session_channels(NULL), 0);
    describe(&image, pixels, 3);
    NULLED("session", unetstar_session_run(NULL, &image, NULL, out, NULL, NULL, NULL));
    NULLED("image", unetstar_session_run(session, NULL, NULL, out, NULL, NULL, NULL));
    NULLED("probability", unetstar_session_run(session, &image, NULL, NULL, NULL, NULL, NULL));
    NULLED("session", unetstar_session_run_tensor(NULL, 1, 4, 4, out, out, NULL));
    NULLED("x", unetstar_session_run_tensor(session, 1, 4, 4, NULL, out, NULL));
    NULLED("probability", unetstar_session_run_tensor(session, 1, 4, 4, out, NULL, NULL));
    NULLED("source", unetstar_source_init(NULL, 16));
    OK(unetstar_source_init(&source, sizeof source));
    source.read_rows = read_rows;
    source.width = source.height = 48;
    no_reader = source;
    no_reader.read_rows = NULL;
    NULLED("session", unetstar_session_run_rows(NULL, &source, write_rows, NULL, NULL));
    NULLED("source", unetstar_session_run_rows(session, NULL, write_rows, NULL, NULL));
    NULLED("read_rows", unetstar_session_run_rows(session, &no_reader, write_rows, NULL, NULL));
    NULLED("write_rows", unetstar_session_run_rows(session, &source, NULL, NULL, NULL));
    OK(unetstar_session_run_rows(session, &source, write_rows, NULL, NULL));
    NULLED("session", unetstar_session_set_prep_state(NULL, NULL));
    OK(unetstar_session_set_prep_state(session, NULL));
    workspace.struct_size = sizeof workspace;
    NULLED("session", unetstar_session_workspace_size(NULL, 8, 8, &workspace));
    NULLED("workspace", unetstar_session_workspace_size(session, 8, 8, NULL));
    unetstar_session_destroy(session);
    training_close(&t);

    NULLED("out", unetstar_metrics_create(NULL, context));
    NULLED("context", unetstar_metrics_create(&metrics, NULL));
    assert_null(metrics);
    OK(unetstar_metrics_create(&metrics, context));
    unetstar_metrics_destroy(NULL);
    memset(out, 0, sizeof out);
    NULLED("metrics", unetstar_metrics_add(NULL, "a", 4, out, label, mask));
    NULLED("name", unetstar_metrics_add(metrics, NULL, 4, out, label, mask));
    NULLED("probability", unetstar_metrics_add(metrics, "a", 4, NULL, label, mask));
    NULLED("label", unetstar_metrics_add(metrics, "a", 4, out, NULL, mask));
    NULLED("metrics", unetstar_metrics_add_image(NULL, "a", 2, 2, out, label, mask));
    NULLED("name", unetstar_metrics_add_image(metrics, NULL, 2, 2, out, label, mask));
    NULLED("probability", unetstar_metrics_add_image(metrics, "a", 2, 2, NULL, label, mask));
    NULLED("label", unetstar_metrics_add_image(metrics, "a", 2, 2, out, NULL, mask));
    assert_int_equal(unetstar_metrics_count(metrics), 0);
    OK(unetstar_metrics_add(metrics, "a", 4, out, label, NULL));
    OK(unetstar_metrics_add_image(metrics, "b", 2, 2, out, label, NULL));
    assert_int_equal(unetstar_metrics_count(NULL), 0);
    assert_null(unetstar_metrics_name(NULL, 0));
    assert_null(unetstar_metrics_name(metrics, 2));
    scores.struct_size = sizeof scores;
    NULLED("metrics", unetstar_metrics_scores(NULL, -1, 0.5, &scores));
    NULLED("scores", unetstar_metrics_scores(metrics, -1, 0.5, NULL));
    NULLED("metrics", unetstar_metrics_best_threshold(NULL, &number, &other));
    NULLED("threshold", unetstar_metrics_best_threshold(metrics, NULL, &other));
    NULLED("f1", unetstar_metrics_best_threshold(metrics, &number, NULL));
    NULLED("metrics", unetstar_metrics_curve(NULL, UNETSTAR_CURVE_PR, 4, curve, curve_y, &count));
    NULLED("x", unetstar_metrics_curve(metrics, UNETSTAR_CURVE_PR, 4, NULL, curve_y, &count));
    NULLED("y", unetstar_metrics_curve(metrics, UNETSTAR_CURVE_PR, 4, curve, NULL, &count));
    NULLED("count", unetstar_metrics_curve(metrics, UNETSTAR_CURVE_PR, 4, curve, curve_y, NULL));
    unetstar_metrics_destroy(metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts_and_tensors),  cmocka_unit_test(test_primitives),
        cmocka_unit_test(test_images_and_datasets),   cmocka_unit_test(test_models_and_optimizers),
        cmocka_unit_test(test_trainers_sessions_metrics),
    };
    return cmocka_run_group_tests_name("misuse", tests, set_up, tear_down);
}
