/*
 * golden_common.c - see golden_common.h.
 */
#include "golden_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *golden_folder = ".";

void golden_ok(int result, const char *call, const char *file, int line) {
    if (result == UNETSTAR_OK)
        return;
    printf("    %s\n    returned %d (%s): %s\n", call, result, unetstar_strerror(result), unetstar_last_error());
    _fail(file, line);
}

static int32_t find_word(const char *word, const char *const *words, int count, const char *what) {
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    fail_msg("%s: unknown word '%s'", what, word);
    return 0;
}

unetstar_context *golden_context(void) {
    static const char *const levels[] = {"best", "reference", "reference+fma", "avx2", "avx512", "neon"};
    const char *isa = getenv("UNETSTAR_ISA");
    unetstar_context_options options;
    unetstar_context *ctx = NULL;

    OK(unetstar_context_options_init(&options, sizeof options));
    options.n_threads = 2;
    if (isa != NULL && *isa)
        options.isa_limit = find_word(isa, levels, sizeof levels / sizeof *levels, "UNETSTAR_ISA");
    OK(unetstar_context_create(&ctx, &options));
    return ctx;
}

golden_file *golden_load(const char *format, ...) {
    char name[256], path[1024], error[1200] = "";
    golden_file *file;
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s/%s", golden_folder, name);
    file = golden_open(path, error, sizeof error);
    if (file == NULL)
        fail_msg("%s", error);
    return file;
}

const golden_tensor *golden_need(const golden_file *file, const char *format, ...) {
    const golden_tensor *t;
    char name[256];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    t = golden_find(file, "%s", name);
    if (t == NULL)
        fail_msg("the golden file has no record '%s'", name);
    return t;
}

double golden_value(const golden_tensor *text, const char *key) {
    double value = 0;

    if (golden_number(text, key, &value))
        fail_msg("the golden file has no number '%s'", key);
    return value;
}

void *golden_memory(size_t count, size_t size) {
    void *p = calloc(count + 1, size);

    if (p == NULL)
        fail_msg("no memory");
    return p;
}

static int32_t option_word(const golden_tensor *text, const char *key, const char *const *words, int count) {
    char word[64];

    if (golden_word(text, key, word, sizeof word))
        fail_msg("the golden file has no option '%s'", key);
    return find_word(word, words, count, key);
}

/* The words of reference.py in the order of the constants. */
void golden_model_options(const golden_tensor *text, unetstar_model_options *o) {
    static const char *const fusions[] = {"sum", "star", "concat"};
    static const char *const activations[] = {"none", "relu", "leaky_relu", "relu6", "silu", "gelu"};
    static const char *const norms[] = {"batch", "instance", "group", "none"};
    static const char *const upsamplings[] = {"nearest", "bilinear", "transposed"};
    static const char *const blocks[] = {"double_conv", "star", "star_depthwise"};
    double expansion, fusion_norm;

    OK(unetstar_model_options_init(o, sizeof *o));
    o->narrow = golden_value(text, "narrow");
    o->channel_multiplier = golden_value(text, "channel_multiplier");
    o->in_channels = (int32_t)golden_value(text, "in_channels");
    o->classes = (int32_t)golden_value(text, "classes");
    o->levels = (int32_t)golden_value(text, "levels");
    o->full_resolution_head = (int32_t)golden_value(text, "full_resolution_head");
    o->deep_supervision = (int32_t)golden_value(text, "deep_supervision");
    o->norm_groups = (int32_t)golden_value(text, "norm_groups");
    o->leaky_slope = (float)golden_value(text, "leaky_slope");
    o->fusion = option_word(text, "fusion", fusions, 3);
    o->activation = option_word(text, "activation", activations, 6);
    o->norm = option_word(text, "norm", norms, 4);
    o->upsampling = option_word(text, "upsampling", upsamplings, 3);
    if (golden_number(text, "fusion_norm", &fusion_norm) == 0) /* files say only what is not the default */
        o->fusion_norm = (int32_t)fusion_norm;
    if (golden_number(text, "block_expansion", &expansion))
        return;
    o->block = option_word(text, "block", blocks, 3);
    o->block_expansion = (int32_t)expansion;
}

void golden_loss_options(const golden_tensor *text, unetstar_loss_options *o) {
    OK(unetstar_loss_options_init(o, sizeof *o));
    o->cross_entropy = (float)golden_value(text, "cross_entropy");
    o->focal = (float)golden_value(text, "focal");
    o->dice = (float)golden_value(text, "dice");
    o->focal_gamma = (float)golden_value(text, "focal_gamma");
    for (int i = 0; i < 8; i++) {
        char key[32];
        double value;
        snprintf(key, sizeof key, "class_weight%d", i);
        if (golden_number(text, key, &value) == 0)
            o->class_weights[i] = (float)value;
    }
}

void golden_check_index(const golden_tensor *text, const char *const *names, int count) {
    char line[128];
    int lines = 0;

    for (; golden_line(text, lines, line, sizeof line); lines++) {
        int known = 0;
        for (int i = 0; i < count; i++)
            known |= strcmp(line, names[i]) == 0;
        if (!known)
            fail_msg("'%s' is in the golden files but not in this test's table", line);
    }
    assert_int_equal(lines, count);
}
