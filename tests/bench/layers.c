#include "layers.h"

#include <math.h>
#include <string.h>

#include "api/api.h"
#include "subject.h"

static const char *const pass_names[PASSES] = {"forward", "backward data", "backward weights"};

void layers_init(struct layers *layers, const struct bench_options *options) {
    memset(layers, 0, sizeof *layers);
    layers->options = options;
    layers->peak = NAN;
    marks_init(&layers->marks);
}

void layers_free(struct layers *layers) {
    marks_free(&layers->marks);
    series_free(&layers->step);
}

int layers_round(struct layers *layers, struct problem *problem) {
    enum { WARM_UP = 2 };
    struct subject subject;
    int i, code = subject_open(&subject, layers->options, SUBJECT_TRAINING, NULL, problem);
    if (code)
        return code;
    layers->units = subject.model->net->n_units;
    memcpy(layers->shapes, subject.model->net->units, sizeof layers->shapes);
    marks_listen(&layers->marks, subject.context);
    for (i = 0; i < layers->options->steps + WARM_UP && !code; i++) {
        double seconds;
        marks_begin_step(&layers->marks);
        code = subject_step(&subject, subject.x, 5e-4, &seconds, problem);
        marks_end_step(&layers->marks, i >= WARM_UP && !code);
        if (i >= WARM_UP && !code)
            series_add(&layers->step, seconds);
    }
    series_end_round(&layers->step);
    subject_close(&subject);
    return code;
}

/* ---- Numbers ---- */

struct layer_shape {
    int64_t w, h;
    double flops; /* of one pass */
    char name[48];
};

static struct layer_shape shape_of(const struct layers *layers, int unit) {
    const struct us_unit *u = &layers->shapes[unit];
    struct layer_shape shape;
    shape.w = layers->options->size[0] >> u->shift;
    shape.h = layers->options->size[1] >> u->shift;
    shape.flops = 2.0 * (us_unit_border(u) ? 9 : 1) * (us_unit_depthwise(u) ? 1 : u->c_in) * u->c_out *
                  (double)(shape.w * shape.h) *
                  layers->options->batch;
    snprintf(shape.name, sizeof shape.name, "%s.%d", u->name, u->index);
    return shape;
}

/* Seconds of one pass of a unit. The transformation of its weights for Winograd belongs to the pass that uses it. */
static double pass_seconds(const struct layers *layers, int unit, int pass) {
    const double seconds = marks_sum(&layers->marks, pass_names[pass], unit, -1);
    double transform = NAN;
    if (pass == PASS_FORWARD)
        transform = marks_sum(&layers->marks, "transform weights", unit, 0);
    else if (pass == PASS_DATA)
        transform = marks_sum(&layers->marks, "transform weights", unit, 1);
    return isfinite(transform) ? seconds + transform : seconds;
}

/* ---- Table of layers ---- */

static void print_pass(double seconds, double flops, double peak) {
    const double rate = flops / seconds * 1e-9;
    if (!(seconds > 0))
        printf(" | %22s", "-");
    else if (isfinite(peak))
        printf(" | %8.3f %7.1f %5.2f", seconds * 1e3, rate, rate / peak);
    else
        printf(" | %8.3f %7.1f     -", seconds * 1e3, rate);
}

void layers_print(const struct layers *layers) {
    double sums[PASSES] = {0}, flops[PASSES] = {0};
    int u, pass;
    printf("Layers of a training step: milliseconds, effective GFLOP/s, ratio to the peak (%d steps, medians)\n",
           layers->step.all.count);
    printf("  %-22s %9s %9s", "layer", "channels", "size");
    for (pass = 0; pass < PASSES; pass++)
        printf(" | %-22s", pass_names[pass]);
    printf("\n");
    for (u = 0; u < layers->units; u++) {
        const struct layer_shape shape = shape_of(layers, u);
        char size[48];
        snprintf(size, sizeof size, "%dx%d", (int)shape.w, (int)shape.h);
        printf("  %-22s %4d %4d %9s", shape.name, layers->shapes[u].c_in, layers->shapes[u].c_out, size);
        for (pass = 0; pass < PASSES; pass++) {
            const double seconds = pass_seconds(layers, u, pass);
            print_pass(seconds, shape.flops, layers->peak);
            if (seconds > 0) {
                sums[pass] += seconds;
                flops[pass] += shape.flops;
            }
        }
        printf("\n");
    }
    printf("  %-22s %9s %9s", "sum", "", "");
    for (pass = 0; pass < PASSES; pass++)
        print_pass(sums[pass], flops[pass], layers->peak);
    printf("\n");
}

/* ---- Profile ---- */

static void bar(double share) {
    static const char hashes[] = "##################################################";
    const int length = (int)(share * (double)(sizeof hashes - 1) + 0.5);
    printf("%.*s", length > 50 ? 50 : length, hashes);
}

static int seen_before(const struct marks *marks, int at) {
    int i;
    for (i = 0; i < at; i++)
        if (!strcmp(marks->items[i].stage, marks->items[at].stage))
            return 1;
    return 0;
}

void layers_print_profile(const struct layers *layers) {
    const struct marks *marks = &layers->marks;
    const double total = samples_median(&layers->step.all);
    double told = 0;
    int i;
    printf("Where a step's %.2f ms go, by stage\n", total * 1e3);
    for (i = 0; i < marks->count; i++) {
        const double seconds = marks_sum(marks, marks->items[i].stage, -2, -1);
        if (seen_before(marks, i) || !isfinite(seconds))
            continue;
        told += seconds;
        printf("  %-26s %9.3f ms %5.1f %%  ", marks->items[i].stage, seconds * 1e3, 100 * seconds / total);
        bar(seconds / total);
        printf("\n");
    }
    printf("  %-26s %9.3f ms %5.1f %%\n", "sum of these medians", told * 1e3, 100 * told / total);
    printf("and by unit\n");
    for (i = -1; i < layers->units; i++) {
        const double forward = marks_sum(marks, NULL, i, 0), backward = marks_sum(marks, NULL, i, 1);
        const double seconds = (isfinite(forward) ? forward : 0) + (isfinite(backward) ? backward : 0);
        char name[48] = "(outside the units)";
        if (i >= 0)
            snprintf(name, sizeof name, "%s", shape_of(layers, i).name);
        printf("  %-26.26s %9.3f ms %5.1f %%  ", name, seconds * 1e3, 100 * seconds / total);
        bar(seconds / total);
        printf("\n");
    }
}

/* ---- JSON ---- */

static void layer_json(const struct layers *layers, int u, struct json *json) {
    static const char *const keys[PASSES] = {"forward", "backward_data", "backward_weights"};
    const struct layer_shape shape = shape_of(layers, u);
    int pass;
    json_object(json, NULL);
    json_text(json, "name", shape.name);
    json_integer(json, "c_in", layers->shapes[u].c_in);
    json_integer(json, "c_out", layers->shapes[u].c_out);
    json_integer(json, "width", shape.w);
    json_integer(json, "height", shape.h);
    for (pass = 0; pass < PASSES; pass++) {
        const double seconds = pass_seconds(layers, u, pass);
        if (!(seconds > 0))
            continue;
        json_object(json, keys[pass]);
        json_number(json, "ms", seconds * 1e3);
        json_number(json, "gflops", shape.flops / seconds * 1e-9);
        json_number(json, "of_peak", shape.flops / seconds * 1e-9 / layers->peak);
        json_end_object(json);
    }
    json_end_object(json);
}

void layers_json(const struct layers *layers, struct json *json) {
    const struct marks *marks = &layers->marks;
    int i;
    json_array(json, "layers");
    for (i = 0; i < layers->units; i++)
        layer_json(layers, i, json);
    json_end_array(json);
    json_array(json, "profile");
    for (i = 0; i < marks->count; i++) {
        json_object(json, NULL);
        json_text(json, "stage", marks->items[i].stage);
        json_text(json, "direction", marks->items[i].backward ? "backward" : "forward");
        if (marks->items[i].unit >= 0)
            json_text(json, "unit", shape_of(layers, marks->items[i].unit).name);
        json_number(json, "ms", samples_median(&marks->items[i].times) * 1e3);
        json_end_object(json);
    }
    json_end_array(json);
}
