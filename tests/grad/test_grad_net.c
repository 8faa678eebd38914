/*
 * test_grad_net.c - every combination of the network's options, at a tiny size: the loss's derivative along a direction
 * of all parameters against central differences, then a save to memory, a load, and the segmentation of an odd-sized
 * image.
 *
 * A direction has an equal share in every tensor: half of it along the tensor's gradient, so that a wrong length shows,
 * half random, so that a missing part does. A second direction lies in one tensor only, another one in every
 * combination. Kinks of relu and max pooling make differences wrong where a step crosses them: the best of three steps
 * counts, and the few combinations in which that does not help are tried at another random point. All of it is the same
 * on every machine.
 */
#include "grad.h"

#define MAX_TENSORS 240
#define BATCH 2
#define MAX_SIDE 64
#define MAX_PIXELS (BATCH * MAX_SIDE * MAX_SIDE)
#define POINTS 3            /* random inputs and directions */
#define STEPS 3             /* each a tenth of the one before */
#define FIRST_STEP_ALL 3e-4 /* length in each tensor */
#define FIRST_STEP_ONE 5e-3
#define TOLERANCE 0.02
#define NOISE 3e-7 /* rounding of two losses */
#define IMAGE_H 21
#define IMAGE_W 13

struct options {
    int32_t fusion, norm, activation, upsampling, levels, full, deep;
};

static const struct options limits = {3, 4, 6, 3, 4, 2, 2}; /* levels: 2 .. 5 */

static unetstar_context *ctx;

/* ---- A model in training, with its parameters as one vector ---- */

struct net {
    int number, star; /* star: of star blocks */
    struct options o;
    int32_t in_channels, classes;
    int64_t h, w;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    int n_tensors;
    const char *names[MAX_TENSORS];
    int64_t offsets[MAX_TENSORS + 1];
    float *theta, *gradient, *direction, *moved; /* offsets[n_tensors] */
    float x[3 * MAX_PIXELS];
    uint8_t labels[MAX_PIXELS], mask[MAX_PIXELS];
};
static struct net net;

/* The options of combination `number`, as digits of mixed base. */
static struct options options_of(int number) {
    struct options o;
    o.fusion = number % limits.fusion;
    number /= limits.fusion;
    o.norm = number % limits.norm;
    number /= limits.norm;
    o.activation = number % limits.activation;
    number /= limits.activation;
    o.upsampling = number % limits.upsampling;
    number /= limits.upsampling;
    o.full = number % limits.full;
    number /= limits.full;
    o.deep = number % limits.deep;
    number /= limits.deep;
    o.levels = 2 + number % limits.levels;
    return o;
}

static int combinations(void) {
    return limits.fusion * limits.norm * limits.activation * limits.upsampling * limits.levels * limits.full *
           limits.deep;
}

static void describe(const struct net *n) {
    static const char *const fusions[] = {"sum", "star", "concat"}, *const norms[] = {"batch", "instance", "group",
                                                                                      "none"};
    static const char *const acts[] = {"none", "relu", "leaky", "relu6", "silu", "gelu"};
    static const char *const ups[] = {"nearest", "bilinear", "transposed"};
    print_error("combination %d%s: %s, norm %s, activation %s, %s, levels %d%s%s, %d -> %d channels\n", n->number,
                n->star ? ", star blocks" : "",
                fusions[n->o.fusion], norms[n->o.norm], acts[n->o.activation], ups[n->o.upsampling], (int)n->o.levels,
                n->o.full ? ", full resolution" : "", n->o.deep ? ", deep supervision" : "", (int)n->in_channels,
                (int)n->classes);
}

static void fill_model_options(const struct net *n, unetstar_model_options *m) {
    OK(unetstar_model_options_init(m, sizeof *m));
    m->narrow = 0.04; /* 2, 5, 10, 20, 40 channels */
    m->seed = (uint64_t)n->number;
    m->dropout = n->number % 4 == 3 ? 0.125 : 0;
    m->in_channels = n->in_channels;
    m->classes = n->classes;
    m->levels = n->o.levels;
    m->fusion = n->o.fusion;
    m->activation = n->o.activation;
    m->norm = n->o.norm;
    m->upsampling = n->o.upsampling;
    m->full_resolution_head = n->o.full;
    m->deep_supervision = n->o.deep;
    m->norm_groups = 2;
    m->precision = n->number % 5 < 2 ? UNETSTAR_PRECISION_EXACT : UNETSTAR_PRECISION_FAST;
    m->leaky_slope = 0.1f;
    m->block = !n->star ? UNETSTAR_BLOCK_DOUBLE_CONV
               : n->number % 2 ? UNETSTAR_BLOCK_STAR
                               : UNETSTAR_BLOCK_STAR_DEPTHWISE;
    m->fusion_norm = n->o.fusion != UNETSTAR_FUSION_CONCAT && n->o.norm != UNETSTAR_NORM_NONE && n->number / 3 % 3 == 1;
    m->block_expansion = 1 + n->number % 4;
}

static void fill_trainer_options(const struct net *n, unetstar_trainer_options *t, unetstar_loss_options *l) {
    OK(unetstar_trainer_options_init(t, sizeof *t));
    t->batch_size = BATCH;
    t->patch_height = (int32_t)n->h;
    t->patch_width = (int32_t)n->w;
    t->validation = UNETSTAR_VALIDATION_NONE;
    OK(unetstar_loss_options_init(l, sizeof *l));
    l->focal = n->number % 2 ? 0.5f : 0;
    l->dice = n->number % 3 ? 0 : 0.5f;
    l->class_weights[1] = 1.5f;
}

/* The trained tensors, in PyTorch's order, and room for a vector of them. */
static void list_tensors(struct net *n) {
    int64_t i, count, shape[UNETSTAR_MAX_DIMS];
    int32_t dtype, ndim;
    int d;
    n->n_tensors = 0;
    n->offsets[0] = 0;
    for (i = 0; i < unetstar_model_tensor_count(n->model); i++) {
        const char *name = unetstar_model_tensor_name(n->model, i);
        OK(unetstar_model_tensor_shape(n->model, name, &dtype, &ndim, shape));
        if (dtype != UNETSTAR_FLOAT32 || strstr(name, "running_"))
            continue;
        for (count = 1, d = 0; d < ndim; d++)
            count *= shape[d];
        assert_true(n->n_tensors < MAX_TENSORS);
        n->names[n->n_tensors++] = name;
        n->offsets[n->n_tensors] = n->offsets[n->n_tensors - 1] + count;
    }
    assert_int_equal(n->offsets[n->n_tensors], unetstar_model_parameter_count(n->model));
    n->theta = grad_zeros(n->offsets[n->n_tensors]);
    n->gradient = grad_zeros(n->offsets[n->n_tensors]);
    n->direction = grad_zeros(n->offsets[n->n_tensors]);
    n->moved = grad_zeros(n->offsets[n->n_tensors]);
}

static int64_t size_of(const struct net *n, int t) {
    return n->offsets[t + 1] - n->offsets[t];
}

static void put(struct net *n, const float *theta) {
    int t;
    for (t = 0; t < n->n_tensors; t++)
        OK(unetstar_model_tensor_set(n->model, n->names[t], theta + n->offsets[t], size_of(n, t)));
}

/* Initial values, and what the initialisation leaves at 1 or 0 (gamma, beta) moved away from there. */
static void start_values(struct net *n) {
    int64_t i;
    int t;
    for (t = 0; t < n->n_tensors; t++) {
        OK(unetstar_model_tensor_get(n->model, n->names[t], n->theta + n->offsets[t], size_of(n, t)));
        if (t + 1 < n->n_tensors && size_of(n, t) == size_of(n, t + 1))
            for (i = n->offsets[t]; i < n->offsets[t + 2]; i++)
                n->theta[i] += (float)grad_uniform(-0.3, 0.3);
    }
    put(n, n->theta);
}

static void start_data(struct net *n) {
    const int64_t pixels = BATCH * n->h * n->w;
    int64_t i;
    for (i = 0; i < pixels * n->in_channels; i++)
        n->x[i] = (float)grad_uniform(-1, 1);
    for (i = 0; i < pixels; i++) {
        n->labels[i] = (uint8_t)grad_uniform(0, n->classes < 2 ? 2 : n->classes);
        n->mask[i] = (uint8_t)grad_uniform(0, 4);
    }
}

static void create(struct net *n, int number, int star) {
    unetstar_model_options model;
    unetstar_optimizer_options optimizer;
    unetstar_trainer_options trainer;
    unetstar_loss_options loss;
    n->number = number;
    n->star = star;
    n->o = options_of(number);
    n->in_channels = number / 2 % 2 ? 3 : 1;
    n->classes = 1 + number / 3 % 3;
    n->h = (2 << n->o.levels) - 1; /* padded inside */
    /* statistics need pixels: of a lone one an instance norm is a constant, of two a sign */
    n->w = n->o.norm == UNETSTAR_NORM_INSTANCE ? (3 << n->o.levels) / 2 + 1 : (1 << n->o.levels) - 3;
    grad_seed((uint64_t)number);
    fill_model_options(n, &model);
    fill_trainer_options(n, &trainer, &loss);
    OK(unetstar_optimizer_options_init(&optimizer, sizeof optimizer));
    OK(unetstar_model_create(&n->model, ctx, &model));
    OK(unetstar_optimizer_create(&n->optimizer, n->model, &optimizer));
    OK(unetstar_trainer_create(&n->trainer, n->model, n->optimizer, &trainer, &loss));
    list_tensors(n);
    start_values(n);
}

static int destroy(void **state) {
    unetstar_trainer_destroy(net.trainer);
    unetstar_optimizer_destroy(net.optimizer);
    unetstar_model_destroy(net.model);
    net.trainer = NULL;
    net.optimizer = NULL;
    net.model = NULL;
    return grad_release(state);
}

/* ---- Derivatives ---- */

static double loss_now(struct net *n) {
    double loss;
    OK(unetstar_trainer_forward(n->trainer, BATCH, n->x));
    OK(unetstar_trainer_loss(n->trainer, n->labels, n->mask, &loss));
    return loss;
}

static void take_gradient(struct net *n) {
    int t;
    loss_now(n);
    OK(unetstar_trainer_backward(n->trainer));
    for (t = 0; t < n->n_tensors; t++)
        OK(unetstar_trainer_gradient_get(n->trainer, n->names[t], n->gradient + n->offsets[t], size_of(n, t)));
}

/* A direction of length about 1 in every tensor of [first, last), 0 elsewhere. */
static void choose_direction(struct net *n, int first, int last) {
    int64_t i;
    int t;
    memset(n->direction, 0, (size_t)n->offsets[n->n_tensors] * sizeof *n->direction);
    for (t = first; t < last; t++) {
        const float *g = n->gradient + n->offsets[t];
        const double length = sqrt(grad_project(g, g, size_of(n, t)));
        const double along = length > 1e-7 ? 0.7 / length : 0, across = 0.7 / sqrt((double)size_of(n, t));
        for (i = 0; i < size_of(n, t); i++)
            n->direction[n->offsets[t] + i] = (float)(along * (double)g[i] + grad_uniform(-1.73, 1.73) * across);
    }
}

static double loss_at(struct net *n, double step, double *slope, double sign) {
    int64_t i;
    for (i = 0; i < n->offsets[n->n_tensors]; i++) {
        n->moved[i] = (float)((double)n->theta[i] + step * (double)n->direction[i]);
        *slope += sign * (double)n->gradient[i] * ((double)n->moved[i] - (double)n->theta[i]);
    }
    put(n, n->moved);
    return loss_now(n);
}

/* Error of the slope along the direction, relative to the slope; the rounding error of two losses is let through. */
static double slope_error(struct net *n, double step) {
    double slope = 0, difference = loss_at(n, step, &slope, 1);
    difference -= loss_at(n, -step, &slope, -1);
    put(n, n->theta);
    if (getenv("GRAD_ONLY"))
        print_message("  step %g: difference %.8g, gradient's slope %.8g\n", step, difference, slope);
    return fmax(0, fabs(difference - slope) - NOISE) / (fabs(slope) + NOISE);
}

/* Error of the derivative along the tensors [first, last), at the best of three steps. */
static double direction_error(struct net *n, int first, int last) {
    double error = INFINITY, step = last - first > 1 ? FIRST_STEP_ALL : FIRST_STEP_ONE;
    int i;
    choose_direction(n, first, last);
    for (i = 0; i < STEPS && error > TOLERANCE; i++, step /= 10)
        error = fmin(error, slope_error(n, step));
    return error;
}

/* Both derivatives must be right at one of a few points, each for itself. Returns the number of points it took, or
 * POINTS + 1: a failure, having said so. */
static int check_derivatives(struct net *n) {
    const int one = n->number % n->n_tensors;
    double all = INFINITY, alone = INFINITY;
    int point;
    for (point = 1; point <= POINTS; point++) {
        start_data(n);
        take_gradient(n);
        if (all > TOLERANCE)
            all = fmin(all, direction_error(n, 0, n->n_tensors));
        if (alone > TOLERANCE)
            alone = fmin(alone, direction_error(n, one, one + 1));
        if (all <= TOLERANCE && alone <= TOLERANCE)
            return point;
    }
    describe(n);
    print_error("    wrong by a part of %g along all tensors, %g along %s alone\n", all, alone, n->names[one]);
    return POINTS + 1;
}

/* ---- Save, load, segment ---- */

struct memory {
    char data[1 << 21];
    size_t size;
};
static struct memory file;

static int write_memory(void *user, const void *data, size_t size) {
    struct memory *m = (struct memory *)user;
    if (size > sizeof m->data - m->size)
        return 1;
    memcpy(m->data + m->size, data, size);
    m->size += size;
    return 0;
}

static void segment(const struct net *n, const unetstar_model *model, float *probability) {
    static uint8_t pixels[IMAGE_H * IMAGE_W * 3];
    const int64_t count = (n->classes < 3 ? 1 : n->classes) * IMAGE_H * IMAGE_W;
    unetstar_session *session = NULL;
    unetstar_image image;
    int64_t i;
    for (i = 0; i < IMAGE_H * IMAGE_W * 3; i++)
        pixels[i] = (uint8_t)(i * i * 7 + i * 31);
    OK(unetstar_image_init(&image, sizeof image));
    image.data = pixels;
    image.width = IMAGE_W;
    image.height = IMAGE_H;
    image.channels = n->in_channels;
    image.bits = 8;
    OK(unetstar_session_create(&session, ctx, &model, 1, NULL));
    assert_int_equal(unetstar_session_channels(session) * IMAGE_H * IMAGE_W, count);
    OK(unetstar_session_run(session, &image, NULL, probability, NULL, NULL, NULL));
    unetstar_session_destroy(session);
    for (i = 0; i < count; i++)
        assert_true(probability[i] >= 0 && probability[i] <= 1);
}

static void check_save_load_segment(struct net *n) {
    static float before[3 * IMAGE_H * IMAGE_W], after[3 * IMAGE_H * IMAGE_W];
    unetstar_model *loaded = NULL;
    int t;
    memset(before, 0, sizeof before);
    memset(after, 0, sizeof after);
    file.size = 0;
    OK(unetstar_model_save_callback(n->model, write_memory, &file));
    OK(unetstar_model_load_memory(&loaded, ctx, file.data, file.size));
    for (t = 0; t < n->n_tensors; t++) {
        OK(unetstar_model_tensor_get(loaded, n->names[t], n->moved + n->offsets[t], size_of(n, t)));
        assert_memory_equal(n->moved + n->offsets[t], n->theta + n->offsets[t], (size_t)size_of(n, t) * sizeof(float));
    }
    segment(n, n->model, before);
    segment(n, loaded, after);
    assert_memory_equal(before, after, sizeof before);
    unetstar_model_destroy(loaded);
}

/* ---- The test ---- */

static void test_every_combination(void **state) {
    const char *only = getenv("GRAD_ONLY"); /* number of a combination to look at */
    int number, points, done = 0, wrong = 0, unlucky = 0;
    for (number = 0; number < combinations(); number++) {
        if (only && atoi(only) != number)
            continue;
        create(&net, number, 0);
        points = check_derivatives(&net);
        wrong += points > POINTS;
        unlucky += points > 1;
        check_save_load_segment(&net);
        destroy(state);
        done++;
    }
    print_message("%d combinations, %d of them needed a second point\n", done, unlucky);
    assert_int_equal(wrong, 0);
    if (only)
        return;
    assert_int_equal(done, 3 * 4 * 6 * 3 * 4 * 2 * 2);
    assert_true(unlucky * 50 <= done);
}

/* A handful of all combinations; every option in each of its values, most in pairs. */
static void test_star_blocks(void **state) {
    const char *only = getenv("GRAD_ONLY");
    int number, done = 0, wrong = 0;
    for (number = 5; number < combinations(); number += 71, done++) {
        if (only && atoi(only) != number)
            continue;
        create(&net, number, 1);
        wrong += check_derivatives(&net) > POINTS;
        check_save_load_segment(&net);
        destroy(state);
    }
    print_message("%d combinations with star blocks\n", done);
    assert_int_equal(wrong, 0);
}

static int setup(void **state) {
    (void)state;
    ctx = grad_context(1); /* maps this small do not pay for a second thread */
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unetstar_context_destroy(ctx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_every_combination, destroy),
                                       cmocka_unit_test_teardown(test_star_blocks, destroy)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
