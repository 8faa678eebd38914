#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "unetstar.h"

static const struct choice fusions[] = {
    {"sum", UNETSTAR_FUSION_SUM}, {"star", UNETSTAR_FUSION_STAR}, {"concat", UNETSTAR_FUSION_CONCAT}, {NULL, 0}};
static const struct choice blocks[] = {
    {"double-conv", UNETSTAR_BLOCK_DOUBLE_CONV}, {"star", UNETSTAR_BLOCK_STAR},
    {"star-depthwise", UNETSTAR_BLOCK_STAR_DEPTHWISE}, {NULL, 0}};
static const struct choice activations[] = {{"none", UNETSTAR_ACTIVATION_NONE},
                                            {"relu", UNETSTAR_ACTIVATION_RELU},
                                            {"leaky-relu", UNETSTAR_ACTIVATION_LEAKY_RELU},
                                            {"relu6", UNETSTAR_ACTIVATION_RELU6},
                                            {"silu", UNETSTAR_ACTIVATION_SILU},
                                            {"gelu", UNETSTAR_ACTIVATION_GELU},
                                            {NULL, 0}};
static const struct choice precisions[] = {
    {"fast", UNETSTAR_PRECISION_FAST}, {"exact", UNETSTAR_PRECISION_EXACT}, {NULL, 0}};
static const struct choice levels[] = {{"best", UNETSTAR_ISA_BEST},
                                       {"reference", UNETSTAR_ISA_REFERENCE},
                                       {"reference+fma", UNETSTAR_ISA_REFERENCE_FMA},
                                       {"avx2", UNETSTAR_ISA_AVX2},
                                       {"avx512", UNETSTAR_ISA_AVX512},
                                       {"neon", UNETSTAR_ISA_NEON},
                                       {NULL, 0}};
static const struct choice part_names[] = {
    {"probe", PART_PROBE}, {"memory", PART_MEMORY}, {"layers", PART_LAYERS},     {"step", PART_STEP},
    {"image", PART_IMAGE}, {"all", PART_ALL},       {"denormal", PART_DENORMAL}, {NULL, 0}};

const char *options_fusion(const struct bench_options *options) {
    return choice_name(fusions, options->fusion);
}
const char *options_block(const struct bench_options *options) {
    return choice_name(blocks, options->block);
}

const char *options_activation(const struct bench_options *options) {
    return choice_name(activations, options->activation);
}
const char *options_precision(const struct bench_options *options) {
    return choice_name(precisions, options->precision);
}
const char *options_isa(const struct bench_options *options) {
    return choice_name(levels, options->isa);
}

/* --version of examples/common names the picture files a program reads. This one reads none. */
const char *picture_formats(void);
const char *picture_output_formats(void);
const char *picture_formats(void) {
    return "no pictures";
}
const char *picture_output_formats(void) {
    return "JSON";
}

static void defaults(struct bench_options *options) {
    memset(options, 0, sizeof *options);
    options->narrow = 0.5;
    options->batch = 8;
    options->channels = 3;
    options->fusion = UNETSTAR_FUSION_STAR;
    options->activation = UNETSTAR_ACTIVATION_NONE;
    options->block = UNETSTAR_BLOCK_DOUBLE_CONV;
    options->block_expansion = 3;
    options->precision = UNETSTAR_PRECISION_FAST;
    options->size[0] = options->size[1] = 96;
    options->image[0] = 704;
    options->image[1] = 608;
    options->steps = 10;
    options->rounds = 3;
    options->only = "all";
}

static void table(struct args *args, struct bench_options *o) {
    args_group(args, "What is measured");
    args_text(args, "only", 0, "PARTS", &o->only, "of probe, memory, layers, step, image, denormal, with commas");
    args_flag(args, "profile", &o->profile, "with the layers: where the time of a step goes, stage by stage");
    args_flag(args, "runner", &o->runner, "also the step through a runner, compared with the library's own threads");
    args_int32(args, "steps", &o->steps, 1, 100000, "training steps in each part and round; half as many images");
    args_int32(args, "rounds", &o->rounds, 1, 100, "rounds over all parts, in turn");
    args_text(args, "json", 0, "FILE", &o->json, "also write everything as JSON");
    args_group(args, "The network and its data");
    args_double(args, "narrow", &o->narrow, 0.02, 8, "width of the network");
    args_int32(args, "channels", &o->channels, 1, 8, "of the input");
    args_choice(args, "fusion", fusions, &o->fusion, "of a skip connection");
    args_choice(args, "activation", activations, &o->activation, "after every norm");
    args_choice(args, "block", blocks, &o->block, "of a stage");
    args_int32(args, "block-expansion", &o->block_expansion, 1, 4, "of star blocks");
    args_choice(args, "precision", precisions, &o->precision, "of convolutions; exact: direct, without Winograd");
    args_int32(args, "batch", &o->batch, 1, 4096, "patches of a training step");
    args_size(args, "size", o->size, 16, 4096, "of a patch, width x height");
    args_size(args, "image", o->image, 16, 32768, "of the image for inference, width x height");
    args_group(args, "The machine");
    args_choice(args, "isa", levels, &o->isa, "highest instruction set; without it the UNETSTAR_ISA variable counts");
    args_int32(args, "threads", &o->threads, 0, 1024, "threads; 0: as many as CPUs");
    args_flag(args, "quiet", &o->quiet, "no progress on stderr");
    args_flag(args, "help", &args->help, "print this and stop (-h)");
    args_flag(args, "version", &args->version, "print the version and stop");
}

static int read_parts(struct bench_options *options, struct problem *problem) {
    const char *at = options->only;
    while (*at) {
        const size_t length = strcspn(at, ",");
        const struct choice *part = part_names;
        while (part->name && (strlen(part->name) != length || memcmp(part->name, at, length)))
            part++;
        if (!part->name)
            return problem_set(problem, "--only %.*s: must be of probe, memory, layers, step, image, denormal, all",
                               (int)length, at);
        options->parts |= part->value;
        at += length;
        at += *at == ',';
    }
    return 0;
}

static int check(struct bench_options *options, const struct args *args, struct problem *problem) {
    const char *isa = getenv("UNETSTAR_ISA");
    const struct choice *level = levels;
    if (args->operand_count)
        return problem_set(problem, "%s: only options are expected (--help lists all)", args->operands[0]);
    if (options->isa == UNETSTAR_ISA_BEST && isa && isa[0]) {
        while (level->name && strcmp(level->name, isa))
            level++;
        if (!level->name)
            return problem_set(problem, "UNETSTAR_ISA=%s: not one of the instruction sets --help names", isa);
        options->isa = level->value;
    }
    if (read_parts(options, problem))
        return -1;
    if (options->profile && !(options->parts & PART_LAYERS))
        return problem_set(problem, "--profile needs the layers among --only");
    return 0;
}

int options_read(struct bench_options *options, int argc, char **argv, struct problem *problem) {
    struct args args;
    int code;
    memset(&args, 0, sizeof args);
    defaults(options);
    args.program = "unetstar-bench";
    args.usage = "[OPTIONS]";
    args.about =
        "Measures the machine, every layer of a training step, the whole step, inference of an image and memory.";
    args.examples = "  unetstar-bench --profile\n"
                    "  unetstar-bench --only step --steps 40 --threads 1 --json step.json\n"
                    "  unetstar-bench --only layers --narrow 1 --size 48 --isa avx2\n"
                    "  unetstar-bench --only step,image --fusion concat --activation relu --runner";
    args.closing = "tests/bench/README.md says how to read the numbers, and when not to believe them.";
    table(&args, options);
    code = args_parse(&args, argc, argv, problem);
    if (!code && args.help) {
        args_print_help(&args);
        code = 1;
    } else if (!code && args.version) {
        args_print_version(&args);
        code = 1;
    } else if (!code)
        code = check(options, &args, problem);
    args_free(&args);
    return code;
}
