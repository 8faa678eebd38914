#include "whole.h"

#include <math.h>
#include <string.h>

#include "subject.h"

enum { WARM_UP = 2 };

void whole_init(struct whole *whole, const struct bench_options *options) {
    memset(whole, 0, sizeof *whole);
    whole->options = options;
    whole->peak = NAN;
}

void whole_free(struct whole *whole) {
    series_free(&whole->step);
    series_free(&whole->runner);
    series_free(&whole->image);
    series_free(&whole->stream);
    series_free(&whole->normal_step);
    series_free(&whole->denormal_step);
    series_free(&whole->normal_image);
    series_free(&whole->denormal_image);
}

/* ---- Measuring ---- */

static int run_steps(struct whole *whole, struct series *series, struct team *runner, struct problem *problem) {
    struct subject subject;
    int i, code = subject_open(&subject, whole->options, SUBJECT_TRAINING, runner, problem);
    if (code)
        return code;
    whole->step_flops = subject_step_flops(&subject);
    for (i = 0; i < whole->options->steps + WARM_UP && !code; i++) {
        double seconds;
        code = subject_step(&subject, subject.x, 5e-4, &seconds, problem);
        if (i >= WARM_UP && !code)
            series_add(series, seconds);
    }
    series_end_round(series);
    subject_close(&subject);
    return code;
}

int whole_round_step(struct whole *whole, struct problem *problem) {
    return run_steps(whole, &whole->step, NULL, problem);
}

int whole_round_runner(struct whole *whole, int threads, struct problem *problem) {
    struct team *team;
    int code = team_create(&team, threads, problem);
    if (!code)
        code = run_steps(whole, &whole->runner, team, problem);
    team_destroy(team);
    return code;
}

static int image_count(const struct whole *whole) {
    return whole->options->steps > 2 ? (whole->options->steps + 1) / 2 : 1;
}

static int measure_memory(struct whole *whole, const struct subject *subject, struct problem *problem) {
    const int32_t *size = whole->options->image;
    int error;
    whole->whole_memory.struct_size = whole->stream_memory.struct_size = sizeof whole->whole_memory;
    error = unetstar_session_workspace_size(subject->session, size[0], size[1], &whole->whole_memory);
    if (!error)
        error = unetstar_session_workspace_size(subject->stream, size[0], size[1], &whole->stream_memory);
    return error ? problem_from_library(problem, "memory of a session", error) : 0;
}

int whole_round_image(struct whole *whole, struct problem *problem) {
    struct subject subject;
    int i, code = subject_open(&subject, whole->options, SUBJECT_INFERENCE, NULL, problem);
    if (code)
        return code;
    whole->image_flops = subject_image_flops(&subject);
    code = measure_memory(whole, &subject, problem);
    for (i = 0; i < image_count(whole) + WARM_UP && !code; i++) {
        double seconds = 0, streamed = 0;
        code = subject_image(&subject, subject.session, subject.x, &seconds, problem);
        code = code ? code : subject_image(&subject, subject.stream, subject.x, &streamed, problem);
        if (i >= WARM_UP && !code) {
            series_add(&whole->image, seconds);
            series_add(&whole->stream, streamed);
        }
    }
    series_end_round(&whole->image);
    series_end_round(&whole->stream);
    subject_close(&subject);
    return code;
}

/* Normal and denormal input in turn, on weights that do not change. */
static int run_denormal(struct whole *whole, enum subject_use use, struct series *normal, struct series *denormal,
                        struct problem *problem) {
    struct subject subject;
    int i, code = subject_open(&subject, whole->options, use, NULL, problem);
    if (code)
        return code;
    subject_make_denormal(&subject);
    for (i = 0; i < 2 * (image_count(whole) + 1) && !code; i++) {
        const float *x = i % 2 ? subject.denormal : subject.x;
        double seconds;
        code = use == SUBJECT_TRAINING ? subject_step(&subject, x, 0, &seconds, problem)
                                       : subject_image(&subject, subject.session, x, &seconds, problem);
        if (i >= 2 && !code)
            series_add(i % 2 ? denormal : normal, seconds);
    }
    series_end_round(normal);
    series_end_round(denormal);
    subject_close(&subject);
    return code;
}

int whole_round_denormal(struct whole *whole, struct problem *problem) {
    if (run_denormal(whole, SUBJECT_TRAINING, &whole->normal_step, &whole->denormal_step, problem))
        return -1;
    return run_denormal(whole, SUBJECT_INFERENCE, &whole->normal_image, &whole->denormal_image, problem);
}

/* ---- Report ---- */

static void print_series(const char *name, const struct series *series, double flops, double peak) {
    const double median = samples_median(&series->all), rate = flops / median * 1e-9;
    printf("  %-16s median %9.2f ms, min %9.2f, %8.1f effective GFLOP/s", name, median * 1e3,
           samples_min(&series->all) * 1e3, rate);
    if (isfinite(peak))
        printf(", %.2f of the peak", rate / peak);
    printf(" (%d)\n", series->all.count);
    if (series->medians.count > 1)
        printf("  %-16s medians of the rounds %.2f to %.2f ms\n", "", samples_min(&series->medians) * 1e3,
               samples_max(&series->medians) * 1e3);
}

static double ratio(const struct series *a, const struct series *b) {
    return samples_median(&a->all) / samples_median(&b->all);
}

static void print_memory(const char *name, const unetstar_workspace *w) {
    printf("  %-16s maps %.1f MB, scratch %.1f MB, weights %.1f MB\n", name, (double)w->maps * 1e-6,
           (double)w->scratch * 1e-6, (double)w->weights * 1e-6);
}

void whole_print(const struct whole *whole) {
    const struct bench_options *o = whole->options;
    if (whole->step.all.count) {
        printf("Training step: %d patches of %dx%d, %d channels, narrow %g, %s, activation %s, %s\n", (int)o->batch,
               (int)o->size[0], (int)o->size[1], (int)o->channels, o->narrow, options_fusion(o), options_activation(o),
               options_precision(o));
        print_series("step", &whole->step, whole->step_flops, whole->peak);
    }
    if (whole->runner.all.count) {
        print_series("through a runner", &whole->runner, whole->step_flops, whole->peak);
        printf("  %-16s %.3f of the time with the library's own threads\n", "", ratio(&whole->runner, &whole->step));
    }
    if (whole->image.all.count) {
        printf("Inference: an image of %dx%d (width x height), %d channels, without preprocessing\n", (int)o->image[0],
               (int)o->image[1], (int)o->channels);
        print_series("image", &whole->image, whole->image_flops, whole->peak);
        print_series("by rows", &whole->stream, whole->image_flops, whole->peak);
        printf("  %-16s %.3f of the whole image's rate\n", "", ratio(&whole->image, &whole->stream));
        print_memory("image", &whole->whole_memory);
        print_memory("by rows", &whole->stream_memory);
    }
    if (whole->denormal_step.all.count) {
        printf("Denormal input: time relative to normal input\n");
        printf("  %-16s %.3f\n", "step", ratio(&whole->denormal_step, &whole->normal_step));
        printf("  %-16s %.3f\n", "image", ratio(&whole->denormal_image, &whole->normal_image));
    }
}

static void series_json(const char *key, const struct series *series, double flops, double peak, struct json *json) {
    const double median = samples_median(&series->all);
    int i;
    if (!series->all.count)
        return;
    json_object(json, key);
    json_number(json, "median_ms", median * 1e3);
    json_number(json, "min_ms", samples_min(&series->all) * 1e3);
    json_integer(json, "count", series->all.count);
    if (flops > 0) {
        json_number(json, "gflops", flops / median * 1e-9);
        json_number(json, "of_peak", flops / median * 1e-9 / peak);
    }
    json_array(json, "round_medians_ms");
    for (i = 0; i < series->medians.count; i++)
        json_number(json, NULL, series->medians.items[i] * 1e3);
    json_end_array(json);
    json_end_object(json);
}

static void memory_json(const char *key, const unetstar_workspace *w, struct json *json) {
    json_object(json, key);
    json_integer(json, "maps", (int64_t)w->maps);
    json_integer(json, "scratch", (int64_t)w->scratch);
    json_integer(json, "weights", (int64_t)w->weights);
    json_end_object(json);
}

void whole_json(const struct whole *whole, struct json *json) {
    series_json("step", &whole->step, whole->step_flops, whole->peak, json);
    series_json("runner", &whole->runner, whole->step_flops, whole->peak, json);
    if (whole->runner.all.count)
        json_number(json, "runner_ratio", ratio(&whole->runner, &whole->step));
    series_json("image", &whole->image, whole->image_flops, whole->peak, json);
    series_json("image_by_rows", &whole->stream, whole->image_flops, whole->peak, json);
    if (whole->stream.all.count) {
        json_number(json, "by_rows_ratio", ratio(&whole->image, &whole->stream));
        memory_json("image_memory", &whole->whole_memory, json);
        memory_json("image_by_rows_memory", &whole->stream_memory, json);
    }
    series_json("normal_step", &whole->normal_step, 0, NAN, json);
    series_json("denormal_step", &whole->denormal_step, 0, NAN, json);
    series_json("normal_image", &whole->normal_image, 0, NAN, json);
    series_json("denormal_image", &whole->denormal_image, 0, NAN, json);
    if (whole->denormal_step.all.count) {
        json_number(json, "denormal_step_ratio", ratio(&whole->denormal_step, &whole->normal_step));
        json_number(json, "denormal_image_ratio", ratio(&whole->denormal_image, &whole->normal_image));
    }
}
