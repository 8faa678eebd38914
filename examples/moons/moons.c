/* moons.c - unetstar-moons: what sum and star can tell apart, on two noisy half moons. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/bar.h"
#include "common/files.h"
#include "common/launch.h"
#include "moons.h"

static const char program[] = "unetstar-moons";

static const char about[] = "Draws the decision boundaries of small networks on two noisy half moons, as the figure of "
                            "\"Rewrite the Stars\" (CVPR\n"
                            "2024), and measures them on points they have not seen, with several seeds. Each block of "
                            "a network has two linear\n"
                            "branches that are added (sum) or multiplied (star), with an activation on none, one or "
                            "both of them. Beside them: a\n"
                            "network with one branch, support vector machines with a polynomial and a Gaussian kernel, "
                            "and the best that can be\n"
                            "reached by anyone who knows how the points are drawn.";

static const char examples[] =
    "  unetstar-moons                                                     the figure, 5 seeds\n"
    "  unetstar-moons --width 100 --epochs 30 --optimizer sgd -o paper    as the paper's figure; takes a minute\n"
    "  unetstar-moons --no-norm --learning-rate 0.03 --epochs 100         sum is then exactly a straight line\n"
    "  unetstar-moons --noise 0.2 -o easy                                 where curves matter more";

static const char closing[] =
    "Variants: sum, sum-one, sum-both, star, star-one, star-both (activation on no, one or both branches), plain (one\n"
    "branch, with activation), linear (one branch, without), polynomial, gaussian (support vector machines), best.\n"
    "Files in DIR: moons.png, accuracy.csv, accuracy.json. The picture shows the first seed.\n"
    "The data follow scikit-learn's make_moons; the numbers are drawn by a generator of the program's own, so that "
    "every\n"
    "machine has the same.\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

static const struct choice activations[] = {
    {"relu", UNETSTAR_ACTIVATION_RELU},   {"leaky-relu", UNETSTAR_ACTIVATION_LEAKY_RELU},
    {"relu6", UNETSTAR_ACTIVATION_RELU6}, {"silu", UNETSTAR_ACTIVATION_SILU},
    {"gelu", UNETSTAR_ACTIVATION_GELU},   {NULL, 0}};
static const struct choice optimizers[] = {{"sgd", OPTIMIZER_SGD}, {"adam", OPTIMIZER_ADAM}, {NULL, 0}};

enum variant_kind { VARIANT_NET, VARIANT_MACHINE, VARIANT_BEST };

struct variant {
    const char *name, *title;
    enum variant_kind kind;
    int32_t fusion_or_kernel, branches;
};

/* In the order of the figure, two rows. The last, linear, has to be asked for: sum without activation is the same. */
static const struct variant variants[] = {
    {"sum", "sum, no activation", VARIANT_NET, FUSE_SUM, ACT_NONE},
    {"sum-one", "sum, one activation", VARIANT_NET, FUSE_SUM, ACT_ONE},
    {"sum-both", "sum, both activations", VARIANT_NET, FUSE_SUM, ACT_BOTH},
    {"plain", "one branch, activation", VARIANT_NET, FUSE_LINEAR, ACT_ONE},
    {"polynomial", "SVM, polynomial", VARIANT_MACHINE, KERNEL_POLYNOMIAL, 0},
    {"star", "star, no activation", VARIANT_NET, FUSE_STAR, ACT_NONE},
    {"star-one", "star, one activation", VARIANT_NET, FUSE_STAR, ACT_ONE},
    {"star-both", "star, both activations", VARIANT_NET, FUSE_STAR, ACT_BOTH},
    {"best", "best possible", VARIANT_BEST, 0, 0},
    {"gaussian", "SVM, Gaussian", VARIANT_MACHINE, KERNEL_RBF, 0},
    {"linear", "one branch, no activation", VARIANT_NET, FUSE_LINEAR, ACT_NONE},
};
enum { VARIANTS = sizeof variants / sizeof variants[0], USUAL = VARIANTS - 1, CHUNK = 512 };

struct settings {
    const char *list, *out;
    int32_t points, test_points, seeds, picture, threads, quiet, degree;
    double noise, rate, gamma, coef0, cost;
    uint64_t seed;
    struct net_shape shape;
    struct learning learning;
    const struct variant *chosen[VARIANTS];
    int32_t count;
};

struct run {
    struct settings settings;
    struct launch launch;
    struct bar bar;
    double done, whole; /* work, in steps of training */
    struct measured measured[VARIANTS];
    struct panel panels[VARIANTS];
    struct points shown;
    float nodes[2 * NODES_X * NODES_Y];
};

static void settings_arguments(struct args *args, struct settings *s) {
    struct learning *learning = &s->learning;
    memset(s, 0, sizeof *s);
    s->out = "moons";
    s->points = 100;
    s->noise = 0.4;
    s->test_points = 2000;
    s->seed = 1;
    s->seeds = 5;
    s->picture = 1;
    s->shape.activation = UNETSTAR_ACTIVATION_RELU;
    s->shape.norm = s->shape.residual = 1;
    s->shape.width = 32;
    s->shape.depth = 4;
    s->shape.expansion = 3;
    learning->epochs = 60;
    learning->optimizer = OPTIMIZER_ADAM;
    learning->batch = 32;
    learning->momentum = 0.9;
    learning->weight_decay = 2e-4;
    learning->smoothing = 0.1;
    learning->clip = 1;
    s->rate = NAN;
    s->threads = 1; /* the layers are small: a second thread waits more than it works */
    s->degree = 4;
    s->coef0 = 4;
    s->gamma = 4;
    s->cost = 1;
    args_group(args, "What is compared");
    args_text(args, "variants", 0, "A,B,...", &s->list, "those named, see below; without it all but linear");
    args_text(args, "out", 'o', "DIR", &s->out, "folder for the picture and the tables");
    args_bool(args, "picture", &s->picture, "draw moons.png");
    args_group(args, "Points");
    args_int32(args, "points", &s->points, 4, 2000, "training points, half of them in each moon");
    args_double(args, "noise", &s->noise, 0, 5, "standard deviation of their noise");
    args_int32(args, "test-points", &s->test_points, 2, 1000000, "points that are held out");
    args_uint64(args, "seed", &s->seed, "the first seed, of points, weights and order");
    args_int32(args, "seeds", &s->seeds, 1, 1000, "how many, from that one on");
    args_group(args, "Networks");
    args_int32(args, "width", &s->shape.width, 1, 1024, "channels; the paper's figure has 100");
    args_int32(args, "depth", &s->shape.depth, 1, NET_DEPTH_MAX, "blocks");
    args_int32(args, "expansion", &s->shape.expansion, 1, 16, "how much wider the branches are");
    args_choice(args, "activation", activations, &s->shape.activation, "the activation of the variants that have one");
    args_bool(args, "norm", &s->shape.norm, "layer norm before each block and before the last layer");
    args_bool(args, "residual", &s->shape.residual, "add a block's input to its output");
    args_group(args, "Training");
    args_int32(args, "epochs", &learning->epochs, 1, 100000, "passes over the points");
    args_int32(args, "batch", &learning->batch, 1, 2000, "points a step; what does not fill a batch is left out");
    args_choice(args, "optimizer", optimizers, &learning->optimizer, "how weights are changed");
    args_double_or(args, "learning-rate", "auto", &s->rate, 1e-8, 100,
                   "falls along a cosine to a twentieth; auto: 0.1 for sgd, 0.003 for adam");
    args_double(args, "momentum", &learning->momentum, 0, 0.9999, "of sgd; beta 1 of adam");
    args_double(args, "weight-decay", &learning->weight_decay, 0, 1, "of the matrices");
    args_double(args, "smoothing", &learning->smoothing, 0, 0.99, "label smoothing");
    args_double(args, "clip", &learning->clip, 0, 1e6, "longest gradient; 0: any");
    args_group(args, "Support vector machines");
    args_int32(args, "degree", &s->degree, 1, 20,
               "of the polynomial (gamma x y + coef0)^degree; its gamma is 1/(2 variance)");
    args_double(args, "coef0", &s->coef0, 0, 1000, "of the polynomial");
    args_double(args, "gamma", &s->gamma, 1e-6, 1e6, "of the Gaussian exp(-gamma |x - y|^2)");
    args_double(args, "cost", &s->cost, 1e-6, 1e6, "the C of the soft margin");
    args_common(args, &s->threads, &s->quiet);
}

/* ---- The options ---- */

static int choose(struct settings *s, const char *name, size_t length, struct problem *problem) {
    int32_t i, k;
    for (i = 0; i < VARIANTS; i++)
        if (strlen(variants[i].name) == length && !memcmp(variants[i].name, name, length)) {
            for (k = 0; k < s->count; k++)
                if (s->chosen[k] == &variants[i])
                    return problem_set(problem, "--variants %s: %s is named twice", s->list, variants[i].name);
            s->chosen[s->count++] = &variants[i];
            return 0;
        }
    return problem_set(problem,
                       "--variants %s: \"%.*s\" is none of sum, sum-one, sum-both, plain, polynomial, star, star-one, "
                       "star-both, best, gaussian, linear",
                       s->list, (int)(length < 100 ? length : 100), name);
}

static int choose_variants(struct settings *s, struct problem *problem) {
    const char *at = s->list;
    int32_t i;
    for (i = 0; i < USUAL && !s->list; i++)
        s->chosen[s->count++] = &variants[i];
    while (at) {
        const char *comma = strchr(at, ',');
        if (choose(s, at, comma ? (size_t)(comma - at) : strlen(at), problem))
            return -1;
        at = comma ? comma + 1 : NULL;
    }
    return 0;
}

static int read_command(struct args *args, struct settings *s, int argc, char **argv, struct problem *problem) {
    settings_arguments(args, s);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    if (args->operand_count)
        return problem_set(problem, "%s: there is nothing to read; every setting is an option (--help shows them)",
                           args->operands[0]);
    if (choose_variants(s, problem))
        return -1;
    if (s->learning.batch > s->points)
        return problem_set(problem, "--batch %ld: there are only %ld points (--points)", (long)s->learning.batch,
                           (long)s->points);
    s->learning.rate = !isnan(s->rate) ? s->rate : s->learning.optimizer == OPTIMIZER_ADAM ? 0.003 : 0.1;
    return 0;
}

/* ---- One variant with one seed ---- */

struct judge {
    const struct settings *settings;
    const struct variant *variant;
    struct net net;
    struct machine machine;
};

static double logistic(double x) {
    return x > 0 ? 1 / (1 + moons_exp(-x)) : 1 - 1 / (1 + moons_exp(x));
}

/* Chances of class 1. For a support vector machine, which has none, its margin through the logistic function. */
static int judge_points(struct judge *judge, const float *xy, int32_t count, float *probability) {
    int32_t at, i;
    for (at = 0; at < count; at += CHUNK) {
        int32_t n = count - at < CHUNK ? count - at : CHUNK;
        int error = judge->variant->kind == VARIANT_NET ? net_forward(&judge->net, xy + 2 * at, n) : 0;
        if (error)
            return error;
        for (i = at; i < at + n; i++)
            if (judge->variant->kind == VARIANT_NET)
                probability[i] = judge->net.probability[2 * (i - at) + 1];
            else if (judge->variant->kind == VARIANT_MACHINE)
                probability[i] = (float)logistic(2 * machine_decision(&judge->machine, xy + 2 * i));
            else
                probability[i] =
                    (float)logistic(points_log_odds((double)xy[2 * i], (double)xy[2 * i + 1], judge->settings->noise));
    }
    return 0;
}

/* What is no number is wrong. */
static int judge_accuracy(struct judge *judge, const struct points *points, double *accuracy) {
    float *probability = must_allocate((size_t)points->count, sizeof *probability);
    int error = judge_points(judge, points->xy, points->count, probability);
    int32_t i, right = 0;
    for (i = 0; i < points->count; i++)
        right += points->label[i] ? probability[i] > 0.5f : probability[i] <= 0.5f;
    *accuracy = (double)right / points->count;
    free(probability);
    return error;
}

/* After each step of training. */
static int on_step(void *user) {
    struct run *run = (struct run *)user;
    run->done += 1;
    bar_update(&run->bar, run->done / run->whole, "");
    return unetstar_cancel_requested(run->launch.cancel);
}

static int judge_train(struct judge *judge, struct run *run, const struct points *points, struct result *result) {
    const struct settings *s = judge->settings;
    if (judge->variant->kind == VARIANT_NET) {
        struct net_shape shape = s->shape;
        struct learning learning = s->learning;
        shape.fusion = judge->variant->fusion_or_kernel;
        shape.branches = judge->variant->branches;
        learning.step = on_step;
        learning.user = run;
        net_make(&judge->net, run->launch.context, &shape, learning.batch > CHUNK ? learning.batch : CHUNK,
                 result->seed);
        return net_train(&judge->net, &learning, points, result->seed, &result->failed);
    }
    if (judge->variant->kind == VARIANT_MACHINE) {
        judge->machine.kind = judge->variant->fusion_or_kernel;
        judge->machine.degree = s->degree;
        judge->machine.coef0 = s->coef0;
        judge->machine.gamma = judge->machine.kind == KERNEL_RBF ? s->gamma : 0;
        machine_train(&judge->machine, points, s->cost);
        result->failed = !judge->machine.converged;
    }
    return 0;
}

static int run_one(struct run *run, int32_t index, int32_t round, const struct points *training,
                   const struct points *test) {
    struct measured *measured = &run->measured[index];
    struct result *result = &measured->results[round];
    struct judge judge;
    int error;
    memset(&judge, 0, sizeof judge);
    judge.settings = &run->settings;
    judge.variant = run->settings.chosen[index];
    error = judge_train(&judge, run, training, result);
    measured->parameters = judge.net.count;
    if (!error)
        error = judge_accuracy(&judge, training, &result->training);
    if (!error)
        error = judge_accuracy(&judge, test, &result->held_out);
    if (!error && !round && run->settings.picture) {
        run->panels[index].probability = must_allocate(NODES_X * NODES_Y, sizeof(float));
        error = judge_points(&judge, run->nodes, NODES_X * NODES_Y, run->panels[index].probability);
    }
    if (!error && unetstar_cancel_requested(run->launch.cancel))
        error = UNETSTAR_ECANCELED;
    net_free(&judge.net);
    machine_free(&judge.machine);
    return error;
}

/* ---- All of them ---- */

static int run_seed(struct run *run, int32_t round) {
    const struct settings *s = &run->settings;
    const uint64_t seed = s->seed + (uint64_t)round;
    struct points training, test;
    int32_t k;
    int error = 0;
    points_make(&training, s->points, s->noise, seed, STREAM_TRAINING_POINTS);
    points_make(&test, s->test_points, s->noise, seed, STREAM_TEST_POINTS);
    for (k = 0; k < s->count && !error; k++) {
        char label[64];
        snprintf(label, sizeof label, "seed %llu, %s", (unsigned long long)seed, s->chosen[k]->name);
        bar_label(&run->bar, label);
        run->measured[k].results[round].seed = seed;
        error = run_one(run, k, round, &training, &test);
    }
    if (round)
        points_free(&training);
    else
        run->shown = training;
    points_free(&test);
    return error;
}

static void prepare(struct run *run) {
    const struct settings *s = &run->settings;
    int32_t k, nets = 0;
    for (k = 0; k < s->count; k++) {
        run->measured[k].name = s->chosen[k]->name;
        run->measured[k].title = s->chosen[k]->title;
        run->measured[k].count = s->seeds;
        run->measured[k].results = must_allocate((size_t)s->seeds, sizeof *run->measured[k].results);
        run->panels[k].title = s->chosen[k]->title;
        nets += s->chosen[k]->kind == VARIANT_NET;
    }
    run->whole = (double)(nets ? nets : 1) * s->seeds * s->learning.epochs * (s->points / s->learning.batch);
    picture_nodes(run->nodes);
    bar_start(&run->bar, "", s->quiet);
}

static int write_picture(struct run *run, const char *path, struct problem *problem) {
    const struct settings *s = &run->settings;
    char footer[160];
    int32_t k;
    for (k = 0; k < s->count; k++) {
        double mean, deviation;
        measured_held_out(&run->measured[k], &mean, &deviation);
        if (s->seeds > 1)
            snprintf(run->panels[k].subtitle, sizeof run->panels[k].subtitle, "held out %.1f %% (%.1f)", mean,
                     deviation);
        else
            snprintf(run->panels[k].subtitle, sizeof run->panels[k].subtitle, "held out %.1f %%", mean);
    }
    if (s->seeds > 1)
        snprintf(footer, sizeof footer, "%ld points, noise %g, seed %llu; held out: mean (sd) of %ld seeds",
                 (long)s->points, s->noise, (unsigned long long)s->seed, (long)s->seeds);
    else
        snprintf(footer, sizeof footer, "%ld points, noise %g, seed %llu", (long)s->points, s->noise,
                 (unsigned long long)s->seed);
    return picture_write_panels(path, run->panels, s->count, s->count > 4 ? (s->count + 1) / 2 : s->count, &run->shown,
                                footer, problem);
}

static char *describe_settings(const struct settings *s) {
    const struct learning *l = &s->learning;
    return must_format(
        "\"points\": %ld, \"noise\": %.17g, \"test_points\": %ld, \"seed\": %llu, \"seeds\": %ld, \"width\": %ld, "
        "\"depth\": %ld, \"expansion\": %ld, \"activation\": \"%s\", \"norm\": %s, \"residual\": %s, \"epochs\": %ld, "
        "\"batch\": %ld, \"optimizer\": \"%s\", \"learning_rate\": %.17g, \"momentum\": %.17g, \"weight_decay\": "
        "%.17g, "
        "\"smoothing\": %.17g, \"clip\": %.17g, \"degree\": %ld, \"coef0\": %.17g, \"gamma\": %.17g, \"cost\": %.17g",
        (long)s->points, s->noise, (long)s->test_points, (unsigned long long)s->seed, (long)s->seeds,
        (long)s->shape.width, (long)s->shape.depth, (long)s->shape.expansion,
        choice_name(activations, s->shape.activation), s->shape.norm ? "true" : "false",
        s->shape.residual ? "true" : "false", (long)l->epochs, (long)l->batch, choice_name(optimizers, l->optimizer),
        l->rate, l->momentum, l->weight_decay, l->smoothing, l->clip, (long)s->degree, s->coef0, s->gamma, s->cost);
}

static int write_results(struct run *run, struct problem *problem) {
    const struct settings *s = &run->settings;
    char *csv = path_join(s->out, "accuracy.csv"), *json = path_join(s->out, "accuracy.json");
    char *png = path_join(s->out, "moons.png"), *text = describe_settings(s);
    int result = report_write_csv(csv, run->measured, s->count, problem);
    if (!result)
        result = report_write_json(json, text, run->measured, s->count, problem);
    if (!result && s->picture)
        result = write_picture(run, png, problem);
    if (!result)
        report_print(run->measured, s->count);
    if (!result && fflush(stdout))
        result = problem_set(problem, "cannot write to the standard output");
    if (!result && !s->quiet)
        fprintf(stderr, "Wrote %saccuracy.csv and accuracy.json into %s.\n", s->picture ? "moons.png, " : "", s->out);
    free(csv);
    free(json);
    free(png);
    free(text);
    return result;
}

static int run_program(struct run *run, struct problem *problem) {
    const struct settings *s = &run->settings;
    int32_t round;
    int error = 0;
    if (launch_start(&run->launch, s->threads, problem) || make_output_folder(s->out, problem))
        return -1;
    prepare(run);
    for (round = 0; round < s->seeds && !error; round++)
        error = run_seed(run, round);
    bar_clear(&run->bar);
    if (error == UNETSTAR_ECANCELED)
        return problem_set(problem, "stopped; nothing was written");
    return error ? problem_from_library(problem, NULL, error) : write_results(run, problem);
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct run *run = must_allocate(1, sizeof *run);
    struct problem problem = {""};
    int32_t k;
    int code = EXIT_FINE;
    args.program = program;
    args.usage = "[options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (read_command(&args, &run->settings, argc, argv, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else if (run_program(run, &problem))
        code = EXIT_FAILED;
    code = launch_verdict(&run->launch, program, code, &problem);
    launch_end(&run->launch);
    for (k = 0; k < run->settings.count; k++) {
        free(run->measured[k].results);
        free(run->panels[k].probability);
    }
    if (run->shown.xy)
        points_free(&run->shown);
    args_free(&args);
    free(run);
    return code;
}
