/* segment.c - unetstar-segment: finds the vessels in photographs with one or several trained models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/score.h"
#include "common/threshold.h"
#include "segment.h"

static const char program[] = "unetstar-segment";

static const char about[] =
    "Finds the vessels in retinal photographs of any size. For each image NAME it writes into DIR\n"
    "NAME-probability.png (0 black .. 1 white), NAME-vessels.png (black and white) and NAME-overlay.png (vessels in\n"
    "green on the photograph). A folder stands for all pictures in it. An image that cannot be read is reported and\n"
    "the others are still done.\n"
    "\n"
    "MODEL is a weights file of unetstar-train; several, with commas between them, are averaged. Without one the\n"
    "model inside this program is used. It was trained on made-up photographs only, for fields of view of 300 to\n"
    "1000 pixels across; photographs with others are scaled for it (--scale). Results have the photograph's size.";

static const char examples[] =
    "  unetstar-segment photo.jpg                                            with the model inside the program\n"
    "  unetstar-segment out/model.safetensors photo.jpg -o result\n"
    "  unetstar-segment fold0.safetensors,fold1.safetensors photos/ -o result --tta 4\n"
    "  unetstar-segment model.safetensors photos/ --mask masks/ --clip --bits 16\n"
    "  unetstar-segment model.safetensors mosaic.png --stream            a picture larger than the memory\n"
    "  unetstar-segment out/model.safetensors --synthetic 4242 -o result     a made-up photograph";

static const struct choice bit_depths[] = {{"8", 8}, {"16", 16}, {NULL, 0}};
static const struct choice view_counts[] = {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}, {NULL, 0}};
static const struct choice precisions[] = {{"fast", UNETSTAR_PRECISION_FAST},
                                           {"exact", UNETSTAR_PRECISION_EXACT},
                                           {"int8", UNETSTAR_PRECISION_INT8},
                                           {NULL, 0}};

static void settings_arguments(struct args *args, struct settings *settings) {
    memset(settings, 0, sizeof *settings);
    settings->out = "segmented";
    settings->threshold = (double)NAN;
    settings->scale = (double)NAN;
    settings->bits = 8;
    settings->tta = 1;
    settings->precision = UNETSTAR_PRECISION_FAST;
    settings->probability = settings->vessels = settings->overlay = 1;
    settings->synthetic_size[0] = settings->synthetic_size[1] = 320;
    args_group(args, "Output");
    args_text(args, "out", 'o', "DIR", &settings->out, "folder for the results");
    args_double_or(args, "threshold", "model", &settings->threshold, 0, 1,
                   "a pixel is vessel from this probability on; model: the threshold stored in the model, the mean of "
                   "several, or 0.5 where a model has none");
    args_choice(args, "bits", bit_depths, &settings->bits, "of the probability map; 16 needs a build with libpng");
    args_bool(args, "probability", &settings->probability, "write the probability map");
    args_bool(args, "vessels", &settings->vessels, "write the black and white picture");
    args_bool(args, "overlay", &settings->overlay, "write the overlay");
    args_group(args, "Segmentation");
    args_text(args, "model", 'm', "MODEL", &settings->model,
              "the model or models, when they are not the first operand (which is one when it ends in .safetensors or is "
              "such a file)");
    args_text(args, "mask", 0, "FILE", &settings->mask,
              "field-of-view mask, or a folder with masks of the images' names (NAME or NAME_mask)");
    args_flag(args, "clip", &settings->clip, "set everything outside the field of view to 0");
    args_choice(args, "tta", view_counts, &settings->tta,
                "average over mirrored (2, 4) and turned (8) views, which takes as many times as long (also --views)");
    args_alias(args, "views", "tta");
    args_double_or(args, "scale", "auto", &settings->scale, .02, 16,
                   "segment at this multiple of the photograph's size; auto: at its own, unless its field of view is "
                   "not 300 to 1000 pixels across, then so that it is 650. With a MODEL of one's own: 1");
    args_choice(args, "precision", precisions, &settings->precision,
                "of the arithmetic; the more exact of this and the model's is taken");
    args_group(args, "Memory");
    args_flag(args, "stream", &settings->stream,
              "keep only some rows of an image in memory: read, segment and write it row by row; the results are the "
              "same");
    args_int32(args, "memory", &settings->budget, 0, 1e6,
               "most megabytes for the maps of an image, beside the weights; where a whole image does not fit, it is "
               "streamed; 0: no limit");
    args_group(args, "Without a photograph");
    args_uint64(args, "synthetic", &settings->synthetic, "seed of a made-up photograph, written beside the results");
    args_size(args, "synthetic-size", settings->synthetic_size, 48, 4096, "its size");
    args_common(args, &settings->threads, &settings->quiet);
}

/* What this build can do belongs into the help. The text stays until the program ends. */
static const char *closing_text(void) {
    static char text[1024];
    snprintf(
        text, sizeof text,
        "With --stream these are read row by row: %s, unless they are interlaced,\n"
        "tiled or of an unusual kind. All others, JPEG among them, are decoded whole first. Results are written row\n"
        "by row%s.\n"
        "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.",
        picture_rows_formats(),
        picture_can_write_16() ? "" : " only by a build with libpng; in this one they are kept until the end");
    return text;
}

/* ---- One image ---- */

static int on_progress(void *user, const unetstar_progress *progress) {
    const struct watched *watched = user;
    double done = progress->total ? (double)progress->done / (double)progress->total : 0;
    bar_update(watched->bar, watched->first + watched->share * done, watched->name);
    return 0;
}

/* Photograph and probabilities are in memory. */
static int write_results(const struct run *run, const struct job *job, struct problem *problem) {
    const struct picture *photo = &job->photo;
    const size_t line = (size_t)(photo->width * photo->channels) * (size_t)(photo->bits / 8);
    struct results results;
    int64_t y;
    int result = results_open(&results, run, job->name, photo, problem);
    for (y = 0; y < photo->height && !result; y++)
        result = results_row(&results, job->probability + y * photo->width, photo->data + (size_t)y * line, problem);
    if (!result)
        result = results_commit(&results, problem);
    results_abandon(&results);
    return result;
}

static int run_at_size(struct run *run, struct job *job, const struct scaled *scaled, struct watched *watched,
                       struct problem *problem) {
    const struct picture *given = scaled->on ? &scaled->photo : &job->photo;
    const struct picture *field = scaled->on ? &scaled->mask : &job->mask;
    unetstar_image photo, mask;
    int64_t channels = unetstar_session_channels(run->session), pixels = given->width * given->height;
    int error;
    job->seen_width = given->width;
    job->seen_height = given->height;
    job->probability = malloc((size_t)(pixels * channels) * sizeof *job->probability);
    if (!job->probability)
        return problem_set(problem, "%s: out of memory", job->name);
    picture_describe(given, &photo);
    picture_describe(field, &mask);
    error = unetstar_session_run(run->session, &photo, field->data ? &mask : NULL, job->probability,
                                 run->launch.cancel, on_progress, watched);
    if (error)
        return problem_from_library(problem, job->path ? job->path : job->name, error);
    vessel_probability(job->probability, channels, pixels);
    return 0;
}

static int run_session(struct run *run, struct job *job, struct watched *watched, struct problem *problem) {
    struct scaled scaled;
    int result;
    if (isnan(run->settings.scale))
        bar_clear(watched->bar); /* there may be something to say */
    result = scale_begin(run, job, &scaled, problem);
    if (!result)
        result = run_at_size(run, job, &scaled, watched, problem);
    if (!result)
        result = scale_back(run, job, &scaled, problem);
    scale_end(&scaled);
    return result ? result : write_results(run, job, problem);
}

static void free_job(struct job *job) {
    picture_free(&job->photo);
    picture_free(&job->mask);
    free(job->probability);
    job->probability = NULL;
}

/* Remembers what the session took for the largest image. */
static void note_memory(struct run *run, int64_t width, int64_t height) {
    unetstar_workspace workspace;
    memset(&workspace, 0, sizeof workspace);
    workspace.struct_size = sizeof workspace;
    if (unetstar_session_workspace_size(run->session, width, height, &workspace) ||
        workspace.total < run->largest.total)
        return;
    run->largest = workspace;
    run->largest_width = width;
    run->largest_height = height;
}

/* The plan a limit on the memory leaves for an image, so that what cannot be done is known before it is read whole. */
static int plan_of(const struct run *run, const struct picture *format, const char *path, int32_t *plan,
                   struct problem *problem) {
    unetstar_workspace workspace;
    int error;
    memset(&workspace, 0, sizeof workspace);
    workspace.struct_size = sizeof workspace;
    error = unetstar_session_workspace_size(run->session, format->width, format->height, &workspace);
    *plan = workspace.plan;
    return error ? problem_from_library(problem, path, error) : 0;
}

/* By rows when the session will stream, because it was asked to or because of a limit, unless that only shows once the
 * picture is decoded whole. */
static int segment_by_rows(struct run *run, struct job *job, struct watched *watched, int *done,
                           struct problem *problem) {
    struct picture_rows *rows;
    int32_t plan = UNETSTAR_PLAN_STREAM;
    const int by_number = !isnan(run->settings.scale) && run->settings.scale != 1;
    int result = 0;
    *done = 0;
    if (!run->settings.stream && (!run->settings.budget || run->settings.mask || by_number))
        return 0;
    if (picture_rows_open(&rows, job->path, problem))
        return -1;
    if (!run->settings.stream)
        result = plan_of(run, picture_rows_info(rows), job->path, &plan, problem);
    if (!result && !run->settings.stream && picture_rows_take(rows, &job->photo))
        return 0;
    if (!result && plan == UNETSTAR_PLAN_STREAM) {
        *done = 1;
        if (isnan(run->settings.scale) && !run->settings.quiet) {
            bar_clear(watched->bar);
            fprintf(stderr, "%s: streamed, so it is not scaled, whatever its field of view\n", job->path);
        }
        result = segment_rows(run, rows, job->path, job->name, watched, problem);
        if (!result)
            note_memory(run, picture_rows_info(rows)->width, picture_rows_info(rows)->height);
    }
    picture_rows_close(rows);
    return result;
}

static int segment_one(struct run *run, const char *path, char *name, struct watched *watched,
                       struct problem *problem) {
    struct job job = {0};
    int done, result;
    job.path = path;
    job.name = name;
    result = segment_by_rows(run, &job, watched, &done, problem);
    if (!result && !done) {
        if (!job.photo.data)
            result = picture_read(&job.photo, path, problem);
        if (!result)
            result = read_mask(&run->settings, &job, problem);
        if (!result)
            result = run_session(run, &job, watched, problem);
        if (!result)
            note_memory(run, job.seen_width, job.seen_height);
    }
    free_job(&job);
    return result;
}

static void print_closing(const struct run *run, double seconds) {
    const unetstar_workspace *memory = &run->largest;
    size_t n = run->images.count;
    if (n)
        fprintf(stderr, "%lu image%s segmented into %s in %.1f s. Vessel means probability >= %.4g (%s).\n",
                (unsigned long)n, n == 1 ? "" : "s", run->settings.out, seconds, run->settings.threshold,
                run->threshold_source);
    if (run->largest_width)
        fprintf(stderr, "Memory for %s, %lld x %lld: %s %.1f MB, scratch %.1f MB, weights %.1f MB.\n",
                n > 1 ? "the largest image" : "the image", (long long)run->largest_width,
                (long long)run->largest_height, memory->plan == UNETSTAR_PLAN_STREAM ? "rings" : "maps",
                (double)memory->maps / 1e6, (double)memory->scratch / 1e6, (double)memory->weights / 1e6);
}

static int segment_all(struct run *run, struct problem *problem) {
    struct bar bar;
    struct watched watched;
    size_t i, failed = 0, n = run->images.count;
    double started = clock_seconds();
    bar_start(&bar, "segmenting", run->settings.quiet);
    watched.bar = &bar;
    for (i = 0; i < n; i++) {
        watched.name = run->names.items[i];
        watched.first = (double)i / (double)n;
        watched.share = 1 / (double)n;
        bar_update(&bar, watched.first, watched.name);
        if (segment_one(run, run->images.items[i], run->names.items[i], &watched, problem)) {
            bar_clear(&bar);
            if (unetstar_cancel_requested(run->launch.cancel))
                return problem_set(problem, "interrupted; %lu of %lu images are done", (unsigned long)(i - failed),
                                   (unsigned long)n);
            problem_print(program, problem);
            failed++;
        } else if (!bar.terminal && !run->settings.quiet)
            fprintf(stderr, "%s: done\n", run->images.items[i]);
        if (unetstar_cancel_requested(run->launch.cancel) && i + 1 < n) {
            bar_clear(&bar);
            return problem_set(problem, "interrupted; %lu of %lu images are done", (unsigned long)(i + 1 - failed),
                               (unsigned long)n);
        }
    }
    bar_clear(&bar);
    if (failed && n > 1)
        return problem_set(problem, "%lu of %lu images could not be segmented", (unsigned long)failed,
                           (unsigned long)n);
    if (failed) {
        problem->text[0] = 0; /* it has been printed */
        return -1;
    }
    if (!run->settings.quiet)
        print_closing(run, clock_seconds() - started);
    return 0;
}

/* ---- A made-up photograph ---- */

static int print_score(struct run *run, const struct job *job, const uint8_t *label, const uint8_t *mask,
                       struct problem *problem) {
    unetstar_metrics *metrics = NULL;
    struct table table = {0};
    int error = unetstar_metrics_create(&metrics, run->launch.context), result;
    if (!error)
        error = unetstar_metrics_add_image(metrics, job->name, job->photo.width, job->photo.height, job->probability,
                                           label, mask);
    result = error ? problem_from_library(problem, job->name, error)
                   : table_from_metrics(&table, metrics, run->settings.threshold, problem);
    if (!result)
        table_print(&table, stdout);
    table_free(&table);
    unetstar_metrics_destroy(metrics);
    return result;
}

static int write_file(const struct settings *settings, const struct job *job, const char *kind, int32_t channels,
                      const uint8_t *pixels, struct problem *problem) {
    char *file = must_format("%s-%s.png", job->name, kind), *path = path_join(settings->out, file);
    int result = picture_write_png(path, job->photo.width, job->photo.height, channels, 8, pixels, problem);
    free(path);
    free(file);
    return result;
}

static int segment_synthetic(struct run *run, struct problem *problem) {
    const struct settings *settings = &run->settings;
    size_t pixels = (size_t)settings->synthetic_size[0] * (size_t)settings->synthetic_size[1];
    uint8_t *label = must_allocate(pixels, 1), *mask = must_allocate(pixels, 1);
    struct bar bar;
    struct watched watched;
    struct job job = {0};
    int result, error;
    job.name = must_format("synthetic-%llu", (unsigned long long)settings->synthetic);
    job.photo.width = settings->synthetic_size[0];
    job.photo.height = settings->synthetic_size[1];
    job.photo.channels = 3;
    job.photo.bits = 8;
    job.photo.data = must_allocate(pixels, 3);
    error = unetstar_synthetic_fundus(run->launch.context, settings->synthetic, job.photo.width, job.photo.height,
                                      job.photo.data, label, mask);
    result = error ? problem_from_library(problem, job.name, error)
                   : write_file(settings, &job, "photo", 3, job.photo.data, problem);
    if (!result)
        result = write_file(settings, &job, "truth", 1, label, problem);
    bar_start(&bar, "segmenting", settings->quiet);
    watched = (struct watched){&bar, job.name, 0, 1};
    if (!result)
        result = run_session(run, &job, &watched, problem);
    bar_clear(&bar);
    if (!result)
        note_memory(run, job.seen_width, job.seen_height);
    if (!result)
        result = print_score(run, &job, label, mask, problem);
    free(label);
    free(mask);
    free(job.name);
    free_job(&job);
    return result;
}

/* ---- The program ---- */

static int find_threshold(struct run *run, struct problem *problem) {
    struct settings *settings = &run->settings;
    double stored;
    run->threshold_source = "as given";
    if (!isnan(settings->threshold))
        return 0;
    if (threshold_stored(&stored, models_list(&run->models), run->models.count, problem))
        return -1;
    run->threshold_source = !(stored > 0)           ? "the default, as no threshold is stored"
                            : run->models.count > 1 ? "the mean of the thresholds stored in the models"
                                                    : "the threshold stored in the model";
    settings->threshold = stored > 0 ? stored : THRESHOLD_DEFAULT;
    return 0;
}

static int load_models(struct run *run, struct problem *problem) {
    const char *text;
    if (run->settings.model)
        return models_load(&run->models, run->launch.context, run->settings.model, problem);
    if (models_load_builtin(&run->models, run->launch.context, problem))
        return -1;
    text = unetstar_model_get_meta(run->models.items[0], "description");
    if (!run->settings.quiet)
        fprintf(stderr, "model    built-in%s%s\n", text ? ": " : "", text ? text : "");
    return 0;
}

static int run_program(struct run *run, const struct args *args, int synthetic, struct problem *problem) {
    const char *model = run->settings.model ? run->settings.model : "the model inside this program";
    unetstar_session_options options;
    int error;
    if (collect_images(run, args, problem) || launch_start(&run->launch, run->settings.threads, problem) ||
        make_output_folder(run->settings.out, problem) ||
        load_models(run, problem) || find_threshold(run, problem))
        return -1;
    unetstar_session_options_init(&options, sizeof options);
    options.views = run->settings.tta;
    options.precision = run->settings.precision;
    options.plan = run->settings.stream ? UNETSTAR_PLAN_STREAM : UNETSTAR_PLAN_AUTO;
    options.clip_to_field = run->settings.clip;
    options.memory_budget = (int64_t)run->settings.budget * 1000000;
    error = unetstar_session_create(&run->session, run->launch.context, models_list(&run->models), run->models.count,
                                    &options);
    if (error == UNETSTAR_ESTATE && run->settings.precision == UNETSTAR_PRECISION_INT8)
        return problem_set(problem, "%s: %s (unetstar-train does, with --calibrate)", model, unetstar_last_error());
    if (error)
        return problem_from_library(problem, model, error);
    if (synthetic && segment_synthetic(run, problem))
        return -1;
    return segment_all(run, problem);
}

static int read_command(struct args *args, struct settings *settings, int argc, char **argv, int *synthetic,
                        int *first_image, struct problem *problem) {
    int scale_given;
    settings_arguments(args, settings);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    *synthetic = args_given(args, argc, argv, "synthetic");
    if (!settings->model && args->operand_count && models_named(args->operands[0])) {
        settings->model = args->operands[0];
        *first_image = 1;
    }
    if (args->operand_count == *first_image && !*synthetic)
        return *first_image ? problem_set(problem, "name at least one image or folder after the model %s", settings->model)
                            : problem_set(problem, "name an image or folder (--help shows how)");
    if (settings->bits == 16 && !picture_can_write_16())
        return problem_set(problem, "--bits 16 needs a build with libpng");
    scale_given = args_given(args, argc, argv, "scale");
    if (settings->stream && scale_given && settings->scale != 1) /* or NaN, which is auto */
        return problem_set(problem, "--scale and --stream exclude each other: what is streamed is not scaled");
    if (settings->model && !scale_given)
        settings->scale = 1;
    if (settings->mask && settings->stream)
        return problem_set(problem, "--mask and --stream exclude each other: a session that streams asks for the "
                                    "photograph's rows only and finds the field of view in them itself");
    if (settings->stream && settings->tta > 2)
        return problem_set(problem, "--stream and --tta %d exclude each other: views that are flipped vertically or turned "
                                    "begin at the image's other end; --tta 2 can be streamed", (int)settings->tta);
    if (settings->mask && !path_exists(settings->mask))
        return problem_set(problem, "--mask %s: no such file or folder", settings->mask);
    return 0;
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct run run = {0};
    struct problem problem = {""};
    int code = EXIT_FINE, synthetic = 0;
    args.program = program;
    args.usage = "[MODEL[,MODEL...]] IMAGE|FOLDER... [-o DIR] [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing_text();
    if (read_command(&args, &run.settings, argc, argv, &synthetic, &run.first_image, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else if (run_program(&run, &args, synthetic, &problem))
        code = EXIT_FAILED;
    code = launch_verdict(&run.launch, program, code, &problem);
    unetstar_session_destroy(run.session);
    models_free(&run.models);
    launch_end(&run.launch);
    names_free(&run.images);
    names_free(&run.names);
    args_free(&args);
    return code;
}
