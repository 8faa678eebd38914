/* segment.c - unetstar-segment: finds the vessels in photographs with one or several trained models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/bar.h"
#include "common/files.h"
#include "common/launch.h"
#include "common/models.h"
#include "common/overlay.h"
#include "common/picture.h"
#include "common/score.h"

static const char program[] = "unetstar-segment";

static const char about[] =
    "Finds the vessels in retinal photographs of any size. For each image NAME it writes into DIR\n"
    "NAME-probability.png (0 black .. 1 white), NAME-vessels.png (black and white) and NAME-overlay.png (vessels in\n"
    "green on the photograph). Several models, with commas between them, are averaged. A folder stands for all\n"
    "pictures in it. An image that cannot be read is reported and the others are still done.";

static const char examples[] =
    "  unetstar-segment out/model.safetensors photo.jpg -o result\n"
    "  unetstar-segment fold0.safetensors,fold1.safetensors photos/ -o result --views 4\n"
    "  unetstar-segment model.safetensors photos/ --mask masks/ --clip --bits 16\n"
    "  unetstar-segment out/model.safetensors --synthetic 4242 -o result     a made-up photograph";

static const char closing[] =
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

static const struct choice bit_depths[] = {{"8", 8}, {"16", 16}, {NULL, 0}};
static const struct choice view_counts[] = {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}, {NULL, 0}};

struct settings {
    const char *out, *mask;
    double threshold;
    int32_t bits, views, clip, probability, vessels, overlay;
    int32_t threads, quiet, budget;
    uint64_t synthetic;
    int32_t synthetic_size[2];
};

/* One photograph and what came of it. */
struct job {
    const char *path; /* NULL: the synthetic one */
    char *name;
    struct picture photo, mask;
    float *probability;
};

struct run {
    struct settings settings;
    struct launch launch;
    struct models models;
    unetstar_session *session;
    struct names images, names;
};

static void settings_arguments(struct args *args, struct settings *settings) {
    memset(settings, 0, sizeof *settings);
    settings->out = "segmented";
    settings->threshold = 0.5;
    settings->bits = 8;
    settings->views = 1;
    settings->probability = settings->vessels = settings->overlay = 1;
    settings->synthetic_size[0] = settings->synthetic_size[1] = 320;
    args_group(args, "Output");
    args_text(args, "out", 'o', "DIR", &settings->out, "folder for the results");
    args_double(args, "threshold", &settings->threshold, 0, 1, "a pixel is vessel from this probability on");
    args_choice(args, "bits", bit_depths, &settings->bits, "of the probability map; 16 needs a build with libpng");
    args_bool(args, "probability", &settings->probability, "write the probability map");
    args_bool(args, "vessels", &settings->vessels, "write the black and white picture");
    args_bool(args, "overlay", &settings->overlay, "write the overlay");
    args_group(args, "Segmentation");
    args_text(args, "mask", 0, "FILE", &settings->mask,
              "field-of-view mask, or a folder with masks of the images' names (NAME or NAME_mask)");
    args_flag(args, "clip", &settings->clip, "set everything outside the field of view to 0");
    args_choice(args, "views", view_counts, &settings->views, "average over mirrored and turned views");
    args_int32(args, "memory", &settings->budget, 0, 1e6, "most megabytes for the maps of an image; 0: no limit");
    args_group(args, "Without a photograph");
    args_uint64(args, "synthetic", &settings->synthetic, "seed of a made-up photograph, written beside the results");
    args_size(args, "synthetic-size", settings->synthetic_size, 48, 4096, "its size");
    args_common(args, &settings->threads, &settings->quiet);
}

/* ---- Which images ---- */

static int is_own_result(const char *name) {
    return ends_with(name, "-probability.png") || ends_with(name, "-vessels.png") || ends_with(name, "-overlay.png");
}

static int add_folder(struct run *run, const char *folder, struct problem *problem) {
    struct names pictures = {0};
    size_t i, before = run->images.count;
    int result = list_pictures(folder, &pictures, problem);
    for (i = 0; i < pictures.count && !result; i++)
        if (!is_own_result(pictures.items[i])) {
            char *path = path_join(folder, pictures.items[i]);
            names_add(&run->images, path);
            free(path);
        }
    names_free(&pictures);
    if (!result && run->images.count == before)
        result = problem_set(problem, "no picture in folder %s", folder);
    return result;
}

/* Expands folders, and finds two images whose results would have the same names before anything is overwritten. */
static int collect_images(struct run *run, const struct args *args, struct problem *problem) {
    size_t i, k;
    int operand;
    for (operand = 1; operand < args->operand_count; operand++) {
        const char *path = args->operands[operand];
        if (is_folder(path)) {
            if (add_folder(run, path, problem))
                return -1;
        } else
            names_add(&run->images, path);
    }
    for (i = 0; i < run->images.count; i++) {
        char *stem = path_stem(run->images.items[i]);
        names_add(&run->names, stem);
        free(stem);
        for (k = 0; k < i; k++)
            if (!strcmp(run->names.items[k], run->names.items[i]))
                return problem_set(problem,
                                   "%s and %s would give results of the same name; segment them into two folders",
                                   run->images.items[k], run->images.items[i]);
    }
    return 0;
}

/* Path of the mask of an image in the folder of masks, or NULL; the caller's to free. */
static char *find_mask(const char *folder, const char *name, struct problem *problem) {
    struct names masks = {0};
    char *found = NULL, *other = must_format("%s_mask", name);
    size_t i;
    if (list_pictures(folder, &masks, problem)) {
        free(other);
        return NULL;
    }
    for (i = 0; i < masks.count && !found; i++) {
        char *stem = path_stem(masks.items[i]);
        if (!strcmp(stem, name) || !strcmp(stem, other))
            found = path_join(folder, masks.items[i]);
        free(stem);
    }
    if (!found)
        problem_set(problem, "no mask for %s in %s (looked for %s.* and %s.*)", name, folder, name, other);
    names_free(&masks);
    free(other);
    return found;
}

static int read_mask(const struct settings *settings, struct job *job, struct problem *problem) {
    char *path;
    int result;
    if (!settings->mask || !job->path)
        return 0;
    path = is_folder(settings->mask) ? find_mask(settings->mask, job->name, problem) : must_copy(settings->mask);
    if (!path)
        return -1;
    result = picture_read_gray(&job->mask, path, problem);
    if (!result && (job->mask.width != job->photo.width || job->mask.height != job->photo.height))
        result = problem_set(problem, "sizes differ: %s is %lld x %lld, %s is %lld x %lld", path,
                             (long long)job->mask.width, (long long)job->mask.height, job->path,
                             (long long)job->photo.width, (long long)job->photo.height);
    /* The library takes masks of 8 bits. */
    if (!result && job->mask.bits == 16) {
        int64_t i, n = job->mask.width * job->mask.height;
        for (i = 0; i < n; i++)
            job->mask.data[i] = ((const uint16_t *)(const void *)job->mask.data)[i] ? 255 : 0;
        job->mask.bits = 8;
    }
    free(path);
    return result;
}

/* ---- Results ---- */

static int write_file(const struct settings *settings, const struct job *job, const char *kind, int32_t channels,
                      const uint8_t *pixels, struct problem *problem) {
    char *file = must_format("%s-%s.png", job->name, kind), *path = path_join(settings->out, file);
    int result = pixels ? 0 : problem_set(problem, "cannot write %s: out of memory", path);
    if (!result)
        result = picture_write_png(path, job->photo.width, job->photo.height, channels, 8, pixels, problem);
    free(path);
    free(file);
    return result;
}

static int write_vessels(const struct settings *settings, const struct job *job, struct problem *problem) {
    int64_t i, n = job->photo.width * job->photo.height;
    uint8_t *binary = malloc((size_t)n);
    int result;
    for (i = 0; i < n && binary; i++)
        binary[i] = (double)job->probability[i] >= settings->threshold ? 255 : 0;
    result = write_file(settings, job, "vessels", 1, binary, problem);
    free(binary);
    return result;
}

static int write_overlay(const struct settings *settings, const struct job *job, const unetstar_image *photo,
                         struct problem *problem) {
    uint8_t *rgb = overlay_vessels(photo, job->probability, settings->threshold);
    int result = write_file(settings, job, "overlay", 3, rgb, problem);
    free(rgb);
    return result;
}

static int write_results(const struct settings *settings, const struct job *job, const unetstar_image *photo,
                         struct problem *problem) {
    int result = 0;
    if (settings->probability) {
        char *file = must_format("%s-probability.png", job->name), *path = path_join(settings->out, file);
        result =
            write_probability(path, job->probability, job->photo.width, job->photo.height, settings->bits, problem);
        free(path);
        free(file);
    }
    if (!result && settings->vessels)
        result = write_vessels(settings, job, problem);
    if (!result && settings->overlay)
        result = write_overlay(settings, job, photo, problem);
    return result;
}

/* ---- One image ---- */

struct watched {
    struct bar *bar;
    const char *name;
    double first, share; /* of all images: where this one begins and how much it is */
};

static int on_progress(void *user, const unetstar_progress *progress) {
    const struct watched *watched = user;
    double done = progress->total ? (double)progress->done / (double)progress->total : 0;
    bar_update(watched->bar, watched->first + watched->share * done, watched->name);
    return 0;
}

static int run_session(struct run *run, struct job *job, struct watched *watched, struct problem *problem) {
    unetstar_image photo, mask;
    int64_t channels = unetstar_session_channels(run->session), pixels = job->photo.width * job->photo.height;
    int error;
    job->probability = malloc((size_t)(pixels * channels) * sizeof *job->probability);
    if (!job->probability)
        return problem_set(problem, "%s: out of memory", job->name);
    picture_describe(&job->photo, &photo);
    picture_describe(&job->mask, &mask);
    error = unetstar_session_run(run->session, &photo, job->mask.data ? &mask : NULL, job->probability,
                                 run->launch.cancel, on_progress, watched);
    if (error)
        return problem_from_library(problem, job->path ? job->path : job->name, error);
    vessel_probability(job->probability, channels, pixels);
    return write_results(&run->settings, job, &photo, problem);
}

static void free_job(struct job *job) {
    picture_free(&job->photo);
    picture_free(&job->mask);
    free(job->probability);
    job->probability = NULL;
}

static int segment_one(struct run *run, const char *path, char *name, struct watched *watched,
                       struct problem *problem) {
    struct job job = {0};
    int result;
    job.path = path;
    job.name = name;
    result = picture_read(&job.photo, path, problem);
    if (!result)
        result = read_mask(&run->settings, &job, problem);
    if (!result)
        result = run_session(run, &job, watched, problem);
    free_job(&job);
    return result;
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
    if (n && !run->settings.quiet)
        fprintf(stderr, "%lu image%s segmented into %s in %.1f s.\n", (unsigned long)n, n == 1 ? "" : "s",
                run->settings.out, clock_seconds() - started);
    return 0;
}

/* ---- A made-up photograph ---- */

static int print_score(struct run *run, const struct job *job, const uint8_t *label, const uint8_t *mask,
                       struct problem *problem) {
    unetstar_metrics *metrics = NULL;
    struct table table = {0};
    int error = unetstar_metrics_create(&metrics, run->launch.context), result;
    if (!error)
        error = unetstar_metrics_add(metrics, job->name, job->photo.width * job->photo.height, job->probability, label,
                                     mask);
    result = error ? problem_from_library(problem, job->name, error)
                   : table_from_metrics(&table, metrics, run->settings.threshold, problem);
    if (!result)
        table_print(&table, stdout);
    table_free(&table);
    unetstar_metrics_destroy(metrics);
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
        result = print_score(run, &job, label, mask, problem);
    free(label);
    free(mask);
    free(job.name);
    free_job(&job);
    return result;
}

/* ---- The program ---- */

static int run_program(struct run *run, const struct args *args, int synthetic, struct problem *problem) {
    unetstar_session_options options;
    int error;
    if (collect_images(run, args, problem) || launch_start(&run->launch, run->settings.threads, problem) ||
        make_output_folder(run->settings.out, problem) ||
        models_load(&run->models, run->launch.context, args->operands[0], problem))
        return -1;
    unetstar_session_options_init(&options, sizeof options);
    options.views = run->settings.views;
    options.clip_to_field = run->settings.clip;
    options.memory_budget = (int64_t)run->settings.budget * 1000000;
    error = unetstar_session_create(&run->session, run->launch.context, models_list(&run->models), run->models.count,
                                    &options);
    if (error)
        return problem_from_library(problem, args->operands[0], error);
    if (synthetic && segment_synthetic(run, problem))
        return -1;
    return segment_all(run, problem);
}

static int read_command(struct args *args, struct settings *settings, int argc, char **argv, int *synthetic,
                        struct problem *problem) {
    settings_arguments(args, settings);
    if (args_parse(args, argc, argv, problem))
        return -1;
    if (args->help || args->version)
        return 0;
    *synthetic = args_given(args, argc, argv, "synthetic");
    if (!args->operand_count)
        return problem_set(problem, "name a model and images (--help shows how)");
    if (args->operand_count == 1 && !*synthetic)
        return problem_set(problem, "name at least one image or folder after the model %s", args->operands[0]);
    if (settings->bits == 16 && !picture_can_write_16())
        return problem_set(problem, "--bits 16 needs a build with libpng");
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
    args.usage = "MODEL[,MODEL...] IMAGE|FOLDER... [-o DIR] [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (read_command(&args, &run.settings, argc, argv, &synthetic, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else if (run_program(&run, &args, synthetic, &problem))
        code = EXIT_FAILED;
    if (code == EXIT_FAILED && run.launch.cancel && unetstar_cancel_requested(run.launch.cancel))
        code = EXIT_INTERRUPTED;
    if (problem.text[0] && code != EXIT_FINE)
        problem_print(program, &problem);
    unetstar_session_destroy(run.session);
    models_free(&run.models);
    launch_end(&run.launch);
    names_free(&run.images);
    names_free(&run.names);
    args_free(&args);
    return code;
}
