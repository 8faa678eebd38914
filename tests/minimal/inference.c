/*
 * inference.c - what every build of the library can do: networks read from memory, or made here, segment images on one
 * thread with the caller's allocator and the caller's memory for maps. It prints a hash of the bits of every result;
 * all builds must print the same (check_minimal.py compares). What the build leaves out must say so.
 *
 *     inference FOLDER        the folder of the golden files
 *
 * Files are read by this program: the library gets bytes.
 */
#include "golden_file.h"
#include "unetstar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define TOLERANCE 2e-5 /* against PyTorch, as in the golden tests */
enum { WIDTH = 107, HEIGHT = 86 };

static void fail(const char *what, const char *why) {
    fprintf(stderr, "inference: %s: %s\n", what, why);
    exit(1);
}

static void check(int code, const char *what) {
    if (code)
        fail(what, unetstar_last_error());
}
#define OK(call) check((call), #call)
#define TRUE(condition) ((condition) ? (void)0 : fail(#condition, "is not so"))

static void *memory(size_t size) {
    void *block = malloc(size);
    if (!block)
        fail("memory", "there is none left");
    return block;
}

static void print_hash(const char *name, const char *what, const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    printf("%s %s %016llx\n", name, what, (unsigned long long)hash);
}

/* ---- An allocator of the caller's ---- */

struct heap {
    size_t used, most;
    int64_t blocks, calls;
};

static void *heap_alloc(void *user, size_t size, size_t alignment) {
    struct heap *heap = user;
    char *raw = malloc(size + alignment + sizeof raw), *aligned;
    if (!raw)
        return NULL;
    aligned = raw + sizeof raw;
    aligned += alignment - (uintptr_t)aligned % alignment;
    memcpy(aligned - sizeof raw, &raw, sizeof raw);
    heap->used += size;
    heap->most = heap->used > heap->most ? heap->used : heap->most;
    heap->blocks++;
    heap->calls++;
    return aligned;
}

static void heap_free(void *user, void *pointer, size_t size) {
    struct heap *heap = user;
    char *raw;
    memcpy(&raw, (char *)pointer - sizeof raw, sizeof raw);
    heap->used -= size;
    heap->blocks--;
    free(raw);
}

/* One thread. */
static unetstar_context *new_context(struct heap *heap, int32_t isa) {
    unetstar_context_options options;
    unetstar_context *context;
    OK(unetstar_context_options_init(&options, sizeof options));
    options.alloc = heap_alloc;
    options.free = heap_free;
    options.alloc_user = heap;
    options.n_threads = 1;
    options.isa_limit = isa;
    OK(unetstar_context_create(&context, &options));
    return context;
}

/* ---- Weights as bytes ---- */

struct bytes {
    unsigned char *data;
    size_t size, at;
};

static struct bytes read_file(const char *folder, const char *name) {
    struct bytes b = {NULL, 0, 0};
    char path[1024];
    FILE *file;
    long size = 0;
    snprintf(path, sizeof path, "%s/cases/%s.safetensors", folder, name);
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 1 || fseek(file, 0, SEEK_SET))
        fail(path, "cannot be read");
    b.size = (size_t)size;
    b.data = memory(b.size);
    if (fread(b.data, 1, b.size, file) != b.size)
        fail(path, "cannot be read");
    fclose(file);
    return b;
}

static int append(void *user, const void *data, size_t size) {
    struct bytes *b = user;
    unsigned char *larger = memory(b->size + size);
    if (b->size)
        memcpy(larger, b->data, b->size);
    memcpy(larger + b->size, data, size);
    free(b->data);
    b->data = larger;
    b->size += size;
    return 0;
}

static int64_t take(void *user, void *data, size_t size) {
    struct bytes *b = user;
    const size_t left = b->size - b->at, n = size < 1000 ? size : 1000, now = n < left ? n : left;
    memcpy(data, b->data + b->at, now);
    b->at += now;
    return (int64_t)now;
}

/* Saves a model and makes two of what was saved: from memory and through a callback. */
static void copy_model(unetstar_context *context, const unetstar_model *model, unetstar_model *copies[2]) {
    struct bytes b = {NULL, 0, 0};
    OK(unetstar_model_save_callback(model, append, &b));
    OK(unetstar_model_load_memory(&copies[0], context, b.data, b.size));
    OK(unetstar_model_load_callback(&copies[1], context, take, &b));
    free(b.data);
}

/* ---- Against PyTorch ---- */

static void check_golden(unetstar_context *context, const char *folder, const char *name) {
    struct bytes b = read_file(folder, name);
    char path[1024], error[1200] = "";
    golden_file *file;
    const golden_tensor *x, *want;
    unetstar_model *model;
    unetstar_session *session;
    float *got;
    snprintf(path, sizeof path, "%s/cases/%s.gold", folder, name);
    file = golden_open(path, error, sizeof error);
    if (!file)
        fail(path, error);
    x = golden_find(file, "x");
    want = golden_find(file, "eval");
    TRUE(x && want);
    got = memory((size_t)want->count * sizeof *got);
    OK(unetstar_model_load_memory(&model, context, b.data, b.size));
    OK(unetstar_session_create(&session, context, (const unetstar_model *const *)&model, 1, NULL));
    OK(unetstar_session_run_tensor(session, x->dims[0], x->dims[2], x->dims[3], x->data, got, NULL));
    TRUE(golden_compare(want, got, TOLERANCE, 1, name, NULL) <= TOLERANCE);
    print_hash(name, "tensor", got, (size_t)want->count * sizeof *got);
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
    golden_close(file);
    free(got);
    free(b.data);
}

/* With maps in the caller's memory, a run on an input that is preprocessed takes nothing from the allocator. */
static void check_quiet(unetstar_session *session, int32_t in_channels, const struct heap *heap) {
    const size_t pixels = (size_t)WIDTH * HEIGHT;
    const int64_t calls = heap->calls;
    float *x = memory((size_t)in_channels * pixels * sizeof *x);
    float *probability = memory((size_t)unetstar_session_channels(session) * pixels * sizeof *probability);
    for (size_t i = 0; i < (size_t)in_channels * pixels; i++)
        x[i] = (float)(i % 17) / 17;
    OK(unetstar_session_run_tensor(session, 1, HEIGHT, WIDTH, x, probability, NULL));
    TRUE(heap->calls == calls);
    free(x);
    free(probability);
}

/* ---- Networks of every kind on a picture ---- */

static const struct network {
    const char *name;
    int32_t in_channels, classes, fusion, activation, norm, upsampling, head, precision, views, block;
} networks[] = {
    {"star", 1, 2, UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_NONE, UNETSTAR_NORM_BATCH, UNETSTAR_UPSAMPLING_NEAREST, 0,
     UNETSTAR_PRECISION_FAST, 1, 0},
    {"concat", 3, 1, UNETSTAR_FUSION_CONCAT, UNETSTAR_ACTIVATION_RELU, UNETSTAR_NORM_INSTANCE,
     UNETSTAR_UPSAMPLING_BILINEAR, 1, UNETSTAR_PRECISION_FAST, 2, 0},
    {"sum", 1, 3, UNETSTAR_FUSION_SUM, UNETSTAR_ACTIVATION_GELU, UNETSTAR_NORM_GROUP, UNETSTAR_UPSAMPLING_TRANSPOSED, 0,
     UNETSTAR_PRECISION_FAST, 1, 0},
    {"exact", 3, 2, UNETSTAR_FUSION_STAR, UNETSTAR_ACTIVATION_SILU, UNETSTAR_NORM_NONE, UNETSTAR_UPSAMPLING_NEAREST, 1,
     UNETSTAR_PRECISION_EXACT, 1, 0},
    {"relu6", 1, 2, UNETSTAR_FUSION_SUM, UNETSTAR_ACTIVATION_RELU6, UNETSTAR_NORM_BATCH, UNETSTAR_UPSAMPLING_NEAREST, 0,
     UNETSTAR_PRECISION_FAST, 1, 0},
    {"star-blocks", 3, 2, UNETSTAR_FUSION_SUM, UNETSTAR_ACTIVATION_RELU, UNETSTAR_NORM_BATCH,
     UNETSTAR_UPSAMPLING_NEAREST, 0, UNETSTAR_PRECISION_FAST, 1, UNETSTAR_BLOCK_STAR},
};

static unetstar_model *make_model(unetstar_context *context, const struct network *n) {
    unetstar_model_options options;
    unetstar_model *model;
    OK(unetstar_model_options_init(&options, sizeof options));
    options.narrow = 0.3; /* widths that are no multiples of 16 */
    options.levels = 3;
    options.in_channels = n->in_channels;
    options.classes = n->classes;
    options.fusion = n->fusion;
    options.activation = n->activation;
    options.norm = n->norm;
    options.upsampling = n->upsampling;
    options.full_resolution_head = n->head;
    options.precision = n->precision;
    options.block = n->block;
    OK(unetstar_model_create(&model, context, &options));
    return model;
}

/* A lit disc with stripes and noise on a dark ground. */
static void paint(uint8_t *rgb) {
    uint32_t random = 1;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++) {
                const int dy = 2 * y - HEIGHT, dx = 2 * x - WIDTH, inside = dy * dy + dx * dx < HEIGHT * HEIGHT;
                random = random * 1664525u + 1013904223u;
                *rgb++ = (uint8_t)((inside ? 90 + 20 * c + (x * 7 + y * 3) % 40 : 3) + (int)(random >> 28));
            }
}

/* The probabilities of the picture, in maps that the caller owns. heap NULL: not watched. */
static float *segment(unetstar_context *context, const unetstar_model *model, const struct network *n,
                      const uint8_t *rgb, const struct heap *heap, size_t *size) {
    unetstar_session_options options;
    unetstar_workspace workspace;
    unetstar_session *session;
    unetstar_image image;
    char *arena;
    float *probability;
    OK(unetstar_session_options_init(&options, sizeof options));
    options.views = n->views;
    OK(unetstar_session_create(&session, context, &model, 1, &options));
    workspace.struct_size = sizeof workspace;
    OK(unetstar_session_workspace_size(session, WIDTH, HEIGHT, &workspace));
    unetstar_session_destroy(session);

    options.arena_size = workspace.maps + workspace.scratch;
    arena = memory(options.arena_size + 64);
    options.arena = arena + (64 - (uintptr_t)arena % 64);
    OK(unetstar_session_create(&session, context, &model, 1, &options));
    OK(unetstar_image_init(&image, sizeof image));
    image.data = rgb;
    image.width = WIDTH;
    image.height = HEIGHT;
    image.channels = 3;
    *size = (size_t)unetstar_session_channels(session) * WIDTH * HEIGHT * sizeof *probability;
    probability = memory(*size);
    OK(unetstar_session_run(session, &image, NULL, probability, NULL, NULL, NULL));
    if (heap)
        check_quiet(session, n->in_channels, heap);
    unetstar_session_destroy(session);
    free(arena);
    return probability;
}

static void check_network(unetstar_context *context, const struct network *n, const uint8_t *rgb,
                          const struct heap *heap) {
    unetstar_model *model = make_model(context, n), *copies[2];
    size_t size, i;
    float *first = segment(context, model, n, rgb, heap, &size);
    float least = first[0], most = first[0];
    copy_model(context, model, copies);
    for (i = 0; i < 2; i++) {
        float *again = segment(context, copies[i], n, rgb, NULL, &size);
        TRUE(memcmp(first, again, size) == 0);
        free(again);
        unetstar_model_destroy(copies[i]);
    }
    for (i = 0; i < size / sizeof *first; i++) {
        least = first[i] < least ? first[i] : least;
        most = first[i] > most ? first[i] : most;
    }
    TRUE(least >= 0 && most <= 1 && most - least > 1e-4f); /* otherwise a hash would say little */
    print_hash(n->name, unetstar_context_isa(context), first, size);
    free(first);
    unetstar_model_destroy(model);
}

/* ---- What is in the build, and what is not ---- */

static void absent(int code, const char *call, const char *what) {
    char sentence[80];
    snprintf(sentence, sizeof sentence, "this build of the library has no %s", what);
    if (code != UNETSTAR_ENOTSUPPORTED || strcmp(unetstar_last_error(), sentence))
        fail(call, "does not say that it is not there");
}
#define ABSENT(call, what) absent((call), #call, what)

static void check_training(unetstar_context *context, int there) {
    unetstar_dataset *set = (unetstar_dataset *)context;
    unetstar_trainer *trainer = (unetstar_trainer *)context;
    uint8_t rgb[3 * 48 * 48];
    if (there) {
        OK(unetstar_dataset_create(&set, context));
        unetstar_dataset_destroy(set);
        OK(unetstar_synthetic_fundus(context, 1, 48, 48, rgb, NULL, NULL));
    } else {
        ABSENT(unetstar_dataset_create(&set, context), "training");
        TRUE(!set);
        ABSENT(unetstar_trainer_create(&trainer, NULL, NULL, NULL, NULL), "training");
        TRUE(!trainer);
        ABSENT(unetstar_synthetic_fundus(context, 1, 48, 48, rgb, NULL, NULL), "training");
    }
}

static void check_files(unetstar_context *context, const char *folder, int there) {
    unetstar_model *model = (unetstar_model *)context;
    char path[1024];
    snprintf(path, sizeof path, "%s/cases/interop_sum_plain.safetensors", folder);
    if (there) {
        OK(unetstar_model_load(&model, context, path));
        unetstar_model_destroy(model);
    } else {
        ABSENT(unetstar_model_load(&model, context, path), "files");
        TRUE(!model);
        ABSENT(unetstar_model_save(NULL, path), "files");
    }
}

static void check_threads(int there) {
    unetstar_context_options options;
    unetstar_context *context;
    OK(unetstar_context_options_init(&options, sizeof options));
    options.n_threads = 2;
    TRUE(unetstar_context_create(&context, &options) == (there ? UNETSTAR_OK : UNETSTAR_ESTATE));
    unetstar_context_destroy(context);
}

static void run_level(const char *folder, int32_t isa, const uint8_t *rgb) {
    struct heap heap = {0, 0, 0, 0};
    unetstar_context *context = new_context(&heap, isa);
    const int32_t features = unetstar_build_features();
    const int n = isa == UNETSTAR_ISA_REFERENCE ? 0 : COUNT(networks); /* it is slow: the small golden ones only */
    check_golden(context, folder, "interop_sum_plain");
    check_golden(context, folder, "interop_concat_relu");
    for (int i = 0; i < n; i++)
        check_network(context, &networks[i], rgb, &heap);
    check_training(context, features & UNETSTAR_FEATURE_TRAINING);
    check_files(context, folder, features & UNETSTAR_FEATURE_FILES);
    unetstar_context_destroy(context);
    TRUE(heap.most > 0 && heap.used == 0 && heap.blocks == 0);
}

/* Whether the best level of this processor and build is another one. */
static int best_is_better(int32_t isa) {
    struct heap heap = {0, 0, 0, 0};
    unetstar_context *best = new_context(&heap, UNETSTAR_ISA_BEST), *limited = new_context(&heap, isa);
    const int better = strcmp(unetstar_context_isa(best), unetstar_context_isa(limited)) != 0;
    unetstar_context_destroy(best);
    unetstar_context_destroy(limited);
    return better;
}

int main(int argc, char **argv) {
    static const int32_t levels[] = {UNETSTAR_ISA_BEST, UNETSTAR_ISA_AVX2, UNETSTAR_ISA_REFERENCE_FMA,
                                     UNETSTAR_ISA_REFERENCE};
    static uint8_t rgb[3 * WIDTH * HEIGHT];
    if (argc != 2)
        fail("usage", "inference FOLDER");
    TRUE(unetstar_build_features() == BUILT_FEATURES);
    check_threads(BUILT_FEATURES & UNETSTAR_FEATURE_THREADS);
    paint(rgb);
    for (int i = 0; i < COUNT(levels); i++)
        if (i != 1 || best_is_better(levels[1]))
            run_level(argv[1], levels[i], rgb);
    return 0;
}
