/*
 * training_bits.c - trains a small network on synthetic pictures and writes what came of it, bit for bit, to a file: the
 * loss of every step, the probabilities of a picture, weights and running statistics, and both moments of the optimizer.
 * Two runs that differ in threads, instruction set or machine must write the same file; compare.py runs them.
 *
 * It knows unetstar.h and the C library only, so that it can be built for a machine without anything else.
 */
#include "unetstar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
enum { PICTURES = 2, SEGMENTED_HEIGHT = 61, SEGMENTED_WIDTH = 83 };

static const char *const levels[] = {"best", "reference", "reference+fma", "avx2", "avx512", "neon"};
static const char *const precisions[] = {"fast", "exact"};
static const char *const fusions[] = {"sum", "star", "concat"};
static const char *const blocks[] = {"double-conv", "star", "star-depthwise"};
static const char *const activations[] = {"none", "relu", "leaky-relu", "relu6", "silu", "gelu"};

struct settings {
    double narrow;
    int64_t batch, size, steps;
    int precision, fusion, block, activation, threads, level, fault;
    const char *out;
};

static void check(int code, const char *what) {
    if (code) {
        fprintf(stderr, "training_bits: %s: %s\n", what, unetstar_last_error());
        exit(1);
    }
}
#define OK(call) check((call), #call)

static void *memory(size_t size) {
    void *block = malloc(size);
    if (!block) {
        fprintf(stderr, "training_bits: out of memory\n");
        exit(1);
    }
    return block;
}

/* ---- The file ---- */

static FILE *file;

static void put(const void *data, size_t size) {
    if (fwrite(data, 1, size, file) != size) {
        fprintf(stderr, "training_bits: cannot write\n");
        exit(1);
    }
}

static int64_t tensor_values(const unetstar_model *model, const char *name, int32_t *dtype) {
    int64_t shape[UNETSTAR_MAX_DIMS], count = 1;
    int32_t ndim, d;

    OK(unetstar_model_tensor_shape(model, name, dtype, &ndim, shape));
    for (d = 0; d < ndim; d++)
        count *= shape[d];
    return count;
}

/* Weights and running statistics, each followed by its moments where it has any. */
static void put_model(const unetstar_model *model, const unetstar_optimizer *optimizer) {
    for (int64_t i = 0; i < unetstar_model_tensor_count(model); i++) {
        const char *name = unetstar_model_tensor_name(model, i);
        int32_t dtype;
        const int64_t count = tensor_values(model, name, &dtype);
        const size_t size = (size_t)count * (dtype == UNETSTAR_INT64 ? sizeof(int64_t) : sizeof(float));
        void *data = memory(size);

        OK(unetstar_model_tensor_get(model, name, data, count));
        put(data, size);
        for (int32_t moment = 1; moment <= 2; moment++)
            if (dtype == UNETSTAR_FLOAT32 && !unetstar_optimizer_moment_get(optimizer, name, moment, data, count))
                put(data, size);
        free(data);
    }
}

/* A picture that is no multiple of anything, so that borders and partial tiles are there too. */
static void put_segmentation(unetstar_context *context, unetstar_model *model, int32_t precision) {
    const unetstar_model *const models[] = {model};
    const size_t pixels = (size_t)SEGMENTED_HEIGHT * SEGMENTED_WIDTH;
    unetstar_session_options options;
    unetstar_session *session;
    unetstar_image image;
    uint8_t *rgb = memory(3 * pixels);
    float *probability;
    size_t size;

    OK(unetstar_synthetic_fundus(context, 7, SEGMENTED_WIDTH, SEGMENTED_HEIGHT, rgb, NULL, NULL));
    OK(unetstar_image_init(&image, sizeof image));
    image.data = rgb;
    image.width = SEGMENTED_WIDTH;
    image.height = SEGMENTED_HEIGHT;
    image.channels = 3;
    image.bits = 8;
    if (precision == UNETSTAR_PRECISION_INT8) {
        const unetstar_image *const images[] = {&image};

        OK(unetstar_model_calibrate(model, images, 1, NULL, NULL));
    }
    OK(unetstar_session_options_init(&options, sizeof options));
    options.precision = precision;
    OK(unetstar_session_create(&session, context, models, 1, &options));
    size = (size_t)unetstar_session_channels(session) * pixels * sizeof *probability;
    probability = memory(size);
    OK(unetstar_session_run(session, &image, NULL, probability, NULL, NULL, NULL));
    put(probability, size);
    unetstar_session_destroy(session);
    free(probability);
    free(rgb);
}

/* ---- The training ---- */

static int put_loss(void *user, const unetstar_progress *progress) {
    int64_t *steps = user;

    if (progress->phase == UNETSTAR_PHASE_TRAIN) {
        put(&progress->loss, sizeof progress->loss);
        ++*steps;
    }
    return 0;
}

/* The last bit of one weight in the middle of the network. */
static void flip_bit(unetstar_model *model) {
    const char *name = unetstar_model_tensor_name(model, unetstar_model_tensor_count(model) / 2);
    int32_t dtype;
    const int64_t count = tensor_values(model, name, &dtype);
    const size_t size = (size_t)count * (dtype == UNETSTAR_INT64 ? sizeof(int64_t) : sizeof(float));
    unsigned char *data = memory(size);

    OK(unetstar_model_tensor_get(model, name, data, count));
    data[0] ^= 1;
    OK(unetstar_model_tensor_set(model, name, data, count));
    free(data);
}

static void train(unetstar_context *context, const struct settings *s) {
    unetstar_model_options model_options;
    unetstar_trainer_options options;
    unetstar_dataset *set;
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    unetstar_trainer *trainer;
    int64_t done = 0;

    OK(unetstar_dataset_create(&set, context));
    for (uint64_t i = 0; i < PICTURES; i++)
        OK(unetstar_dataset_add_synthetic(set, 100 + i, 2 * s->size, 2 * s->size));
    OK(unetstar_model_options_init(&model_options, sizeof model_options));
    model_options.narrow = s->narrow;
    model_options.precision = s->precision;
    model_options.fusion = s->fusion;
    model_options.block = s->block;
    model_options.activation = s->activation;
    OK(unetstar_model_create(&model, context, &model_options));
    OK(unetstar_optimizer_create(&optimizer, model, NULL));
    OK(unetstar_trainer_options_init(&options, sizeof options));
    options.epochs = 1;
    options.steps_per_epoch = s->steps;
    options.batch_size = (int32_t)s->batch;
    options.patch_height = options.patch_width = (int32_t)s->size;
    options.validation = UNETSTAR_VALIDATION_NONE;
    OK(unetstar_trainer_create(&trainer, model, optimizer, &options, NULL));
    OK(unetstar_trainer_fit(trainer, set, NULL, NULL, put_loss, &done));
    if (done != s->steps) {
        fprintf(stderr, "training_bits: %lld steps instead of %lld\n", (long long)done, (long long)s->steps);
        exit(1);
    }
    put_segmentation(context, model, s->precision);
    if (s->precision == UNETSTAR_PRECISION_FAST)
        put_segmentation(context, model, UNETSTAR_PRECISION_INT8);
    if (s->fault)
        flip_bit(model);
    put_model(model, optimizer);
    unetstar_trainer_destroy(trainer);
    unetstar_optimizer_destroy(optimizer);
    unetstar_model_destroy(model);
    unetstar_dataset_destroy(set);
}

static unetstar_context *make_context(int level, int threads) {
    unetstar_context_options options;
    unetstar_context *context;

    OK(unetstar_context_options_init(&options, sizeof options));
    options.isa_limit = level;
    options.n_threads = threads;
    OK(unetstar_context_create(&context, &options));
    return context;
}

/* ---- Arguments ---- */

static void usage(void) {
    fprintf(stderr, "usage: training_bits --out FILE [--narrow X] [--batch N] [--size N] [--steps N] [--threads N]\n"
                    "           [--precision fast|exact] [--fusion sum|star|concat] [--block double-conv|star]\n"
                    "           [--activation none|relu|...]\n"
                    "           [--isa reference|reference+fma|avx2|avx512|neon] [--fault]\n"
                    "       training_bits --levels\n"
                    "--fault flips one bit of one weight after the training. --levels names the levels of this CPU.\n");
    exit(2);
}

static int choose(const char *word, const char *const *words, int n) {
    for (int i = 0; i < n; i++)
        if (!strcmp(word, words[i]))
            return i;
    fprintf(stderr, "training_bits: '%s' is not known\n", word);
    usage();
    return 0;
}

static void print_levels(void) {
    for (int i = 1; i < COUNT(levels); i++) {
        unetstar_context *context = make_context(i, 1);

        if (!strcmp(unetstar_context_isa(context), levels[i]))
            printf("%s\n", levels[i]);
        unetstar_context_destroy(context);
    }
}

static void parse(struct settings *s, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;

        if (!strcmp(name, "--fault")) {
            s->fault = 1;
            continue;
        }
        if (i + 1 == argc)
            usage();
        value = argv[++i];
        if (!strcmp(name, "--out"))
            s->out = value;
        else if (!strcmp(name, "--narrow"))
            s->narrow = atof(value);
        else if (!strcmp(name, "--batch"))
            s->batch = atoi(value);
        else if (!strcmp(name, "--size"))
            s->size = atoi(value);
        else if (!strcmp(name, "--steps"))
            s->steps = atoi(value);
        else if (!strcmp(name, "--threads"))
            s->threads = atoi(value);
        else if (!strcmp(name, "--precision"))
            s->precision = choose(value, precisions, COUNT(precisions));
        else if (!strcmp(name, "--fusion"))
            s->fusion = choose(value, fusions, COUNT(fusions));
        else if (!strcmp(name, "--block"))
            s->block = choose(value, blocks, COUNT(blocks));
        else if (!strcmp(name, "--activation"))
            s->activation = choose(value, activations, COUNT(activations));
        else if (!strcmp(name, "--isa"))
            s->level = choose(value, levels, COUNT(levels));
        else
            usage();
    }
    if (!s->out)
        usage();
}

int main(int argc, char **argv) {
    struct settings s = {.narrow = 0.25, .batch = 2, .size = 48, .steps = 10, .threads = 1,
                         .fusion = UNETSTAR_FUSION_STAR};
    unetstar_context *context;

    if (argc == 2 && !strcmp(argv[1], "--levels")) {
        print_levels();
        return 0;
    }
    parse(&s, argc, argv);
    context = make_context(s.level, s.threads);
    if (s.level && strcmp(unetstar_context_isa(context), levels[s.level])) {
        fprintf(stderr, "training_bits: this CPU or build has no level '%s'\n", levels[s.level]);
        return 1;
    }
    file = fopen(s.out, "wb");
    if (!file) {
        fprintf(stderr, "training_bits: cannot write %s\n", s.out);
        return 1;
    }
    train(context, &s);
    if (fclose(file)) {
        fprintf(stderr, "training_bits: cannot write %s\n", s.out);
        return 1;
    }
    unetstar_context_destroy(context);
    return 0;
}
