/* html_pictures.c - a test image of each fold as every network sees it, within the page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loader.h"
#include "common/picture.h"
#include "common/picture_codecs.h"
#include "compare.h"

enum { THUMBNAIL = 232, LEVELS_STEP = 8 }; /* pixels; of 32 levels a channel, for half the bytes */

/* ---- Which image ---- */

struct ranked {
    double f1;
    size_t index;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->f1 < y->f1 || x->f1 > y->f1)
        return x->f1 < y->f1 ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The record of the first variant and the first seed that this fold has. */
static const struct record *first_record(const struct results *results, int32_t fold) {
    size_t i;
    for (i = 0; i < results->record_count; i++)
        if (results->records[i].cell.fold == fold)
            return &results->records[i];
    return NULL;
}

/* The image with the median F1 (of an even number the lower one); of equal ones the first. */
static const char *choose(const struct record *record) {
    struct ranked *ranked = must_allocate(record->image_count, sizeof *ranked);
    const char *name;
    size_t i;
    for (i = 0; i < record->image_count; i++) {
        ranked[i].f1 = record->images[i].f1[REGION_FIELD] >= 0 ? record->images[i].f1[REGION_FIELD] : -1; /* NaN last */
        ranked[i].index = i;
    }
    qsort(ranked, record->image_count, sizeof *ranked, compare_ranked);
    name = record->images[ranked[(record->image_count - 1) / 2].index].name;
    free(ranked);
    return name;
}

/* ---- Small pictures ---- */

static unsigned char rounded(long long value) {
    value = (value + LEVELS_STEP / 2) / LEVELS_STEP * LEVELS_STEP;
    return (unsigned char)(value < 255 ? value : 255);
}

/* The mean over the pixels that fall into each one; 8 bit. Smaller pictures keep their size. */
static unsigned char *shrink(const struct picture *picture, int64_t *width, int64_t *height) {
    int64_t w = picture->width > THUMBNAIL ? THUMBNAIL : picture->width;
    int64_t h = picture->height * w / picture->width > 0 ? picture->height * w / picture->width : 1, x, y, i, k;
    unsigned char *small = must_allocate((size_t)(w * h), (size_t)picture->channels), *out = small;
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++) {
            int64_t left = x * picture->width / w, right = (x + 1) * picture->width / w;
            int64_t top = y * picture->height / h, bottom = (y + 1) * picture->height / h;
            int c;
            for (c = 0; c < picture->channels; c++) {
                long long sum = 0, count = (right - left) * (bottom - top);
                for (i = top; i < bottom; i++)
                    for (k = left; k < right; k++) {
                        int64_t at = (i * picture->width + k) * picture->channels + c;
                        sum += picture->bits == 16 ? ((const uint16_t *)(const void *)picture->data)[at] >> 8
                                                   : picture->data[at];
                    }
                *out++ = rounded((sum + count / 2) / count);
            }
        }
    *width = w;
    *height = h;
    return small;
}

static void write_base64(FILE *stream, const unsigned char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i;
    for (i = 0; i < size; i += 3) {
        unsigned v = (unsigned)data[i] << 16;
        v |= i + 1 < size ? (unsigned)data[i + 1] << 8 : 0;
        v |= i + 2 < size ? (unsigned)data[i + 2] : 0;
        fputc(digits[v >> 18], stream);
        fputc(digits[v >> 12 & 63], stream);
        fputc(i + 1 < size ? digits[v >> 6 & 63] : '=', stream);
        fputc(i + 2 < size ? digits[v & 63] : '=', stream);
    }
}

/* One picture of the row; -1: it is not there. */
static int figure(FILE *stream, const char *path, const char *caption, double f1) {
    struct problem ignored;
    struct picture picture;
    unsigned char *small, *encoded;
    int64_t width, height;
    size_t size;
    int result;
    if (!path_exists(path) || picture_read(&picture, path, &ignored))
        return -1;
    small = shrink(&picture, &width, &height);
    result = picture_encode_stb(width, height, picture.channels, small, &encoded, &size);
    if (!result) {
        fputs("<figure><img alt=\"", stream);
        html_text(stream, caption);
        fprintf(stream, "\" width=\"%ld\" height=\"%ld\" src=\"data:image/png;base64,", (long)width, (long)height);
        write_base64(stream, encoded, size);
        fputs("\"><figcaption>", stream);
        html_text(stream, caption);
        if (f1 >= 0)
            fprintf(stream, "<br>F1 %.4f", f1);
        fputs("</figcaption></figure>\n", stream);
        free(encoded);
    }
    free(small);
    picture_free(&picture);
    return result;
}

static double f1_of(const struct record *record, const char *name) {
    size_t i;
    for (i = 0; i < record->image_count; i++)
        if (!strcmp(record->images[i].name, name))
            return record->images[i].f1[REGION_FIELD];
    return -1;
}

/* The folder's name of a cell or a reference. */
static char *errors_path(const char *pictures, const struct record *record, const char *image) {
    char *name = record->reference ? reference_name(record->reference, record->cell.fold) : cell_name(&record->cell);
    char *path = must_format("%s/%s/%s-errors.png", pictures, name, image);
    free(name);
    return path;
}

static char *small_path(const char *pictures, const char *image, const char *what) {
    return must_format("%s/%s-%s.png", pictures, image, what);
}

/* ---- The row of a fold ---- */

static int record_figure(FILE *stream, const char *pictures, const struct record *record, const char *image,
                         const char *caption) {
    char *path = errors_path(pictures, record, image);
    int result = figure(stream, path, caption, f1_of(record, image));
    free(path);
    return result;
}

static void small_figure(FILE *stream, const char *pictures, const char *image, const char *what, const char *caption) {
    char *path = small_path(pictures, image, what);
    (void)figure(stream, path, caption, -1);
    free(path);
}

/* Of every variant the first seed that has a picture. */
static void variant_figures(FILE *stream, const struct results *results, const char *pictures, int32_t fold,
                            const char *image) {
    size_t i, a, f;
    for (a = 0; a < results->activations.count; a++)
        for (f = 0; f < results->fusions.count; f++)
            for (i = 0; i < results->record_count; i++) {
                const struct record *record = &results->records[i];
                char caption[64];
                if (record->cell.fold != fold || record->cell.activation != results->activations.items[a] ||
                    record->cell.fusion != results->fusions.items[f])
                    continue;
                variant_text(caption, sizeof caption, record->cell.fusion, record->cell.activation);
                if (!record_figure(stream, pictures, record, image, caption))
                    break;
            }
}

/* Whether a network of this fold has left a picture of the image. */
static int fold_has_pictures(const struct results *results, const char *pictures, int32_t fold, const char *image) {
    size_t i;
    for (i = 0; i < results->record_count; i++) {
        char *path;
        int exists;
        if (results->records[i].cell.fold != fold)
            continue;
        path = errors_path(pictures, &results->records[i], image);
        exists = path_exists(path);
        free(path);
        if (exists)
            return 1;
    }
    return 0;
}

void html_pictures(FILE *stream, const struct results *results, const char *pictures) {
    size_t k, shown = 0;
    fputs("<h2>Pictures</h2>\n", stream);
    for (k = 0; k < results->folds.count && pictures; k++) {
        int32_t fold = results->folds.items[k];
        const struct record *first = first_record(results, fold), *observer, *hessian;
        const char *image = first ? choose(first) : NULL;
        char title[32], variant[64];
        if (!image || !fold_has_pictures(results, pictures, fold, image))
            continue;
        fold_text(title, sizeof title, fold);
        variant_text(variant, sizeof variant, first->cell.fusion, first->cell.activation);
        if (!shown++)
            fprintf(
                stream,
                "<p class=\"note\">Of each fold the test image with the median F1 of the first variant, %s, and its "
                "first seed. <b>White</b>: vessel found; <b style=\"color:#c8281e\">red</b>: vessel missed; "
                "<b style=\"color:#2a5fd0\">blue</b>: found where the labels have none. The F1 is that of this image "
                "inside the field of view, threshold 0.5.</p>\n",
                variant);
        fprintf(stream, "<h3>Fold %s: ", title);
        html_text(stream, image);
        fputs("</h3>\n<div class=\"pics\">\n", stream);
        small_figure(stream, pictures, image, "photo", "photograph");
        small_figure(stream, pictures, image, "label", "labels");
        variant_figures(stream, results, pictures, fold, image);
        observer = results_reference(results, REFERENCE_OBSERVER, fold);
        hessian = results_reference(results, REFERENCE_HESSIAN, fold);
        if (observer)
            (void)record_figure(stream, pictures, observer, image, "second observer");
        if (hessian)
            (void)record_figure(stream, pictures, hessian, image, "Hessian filter");
        fputs("</div>\n", stream);
    }
    if (!shown)
        fprintf(stream, "<p class=\"note\">%s</p>\n",
                pictures
                    ? "Left out: the folder \"pictures\" beside this page has none of these trainings. They are made "
                      "when a training is tested, not from its record."
                    : "Left out, as --no-pictures says.");
}

/* ---- Photographs and labels ---- */

static int write_small(const char *pictures, const char *image, const char *what, const unetstar_image *from,
                       int is_label, struct problem *problem) {
    struct picture picture = {0};
    int64_t line = from->width * from->channels * (from->bits / 8), width, height, y, i;
    int64_t stride = from->row_stride ? from->row_stride : line;
    char *path = small_path(pictures, image, what);
    unsigned char *small;
    int result;
    picture.width = from->width;
    picture.height = from->height;
    picture.channels = from->channels;
    picture.bits = from->bits;
    picture.data = must_allocate((size_t)(line * from->height), 1);
    for (y = 0; y < from->height; y++)
        memcpy(picture.data + y * line, (const unsigned char *)from->data + y * stride, (size_t)line);
    for (i = 0; is_label && i < line * from->height; i++)
        picture.data[i] = picture.data[i] ? 255 : 0;
    small = shrink(&picture, &width, &height);
    result = picture_write_png(path, width, height, picture.channels, 8, small, problem);
    free(small);
    free(picture.data);
    free(path);
    return result;
}

static int prepare(const char *pictures, const struct sample *sample, const struct launch *launch,
                   struct problem *problem) {
    unetstar_dataset *one = NULL;
    unetstar_image photo, label;
    int error = unetstar_dataset_create(&one, launch->context), result = 0;
    if (error)
        return problem_from_library(problem, NULL, error);
    unetstar_image_init(&photo, sizeof photo);
    unetstar_image_init(&label, sizeof label);
    if (load_sample(one, sample, problem))
        result = -1;
    else if ((error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_IMAGE, &photo)) ||
             (error = unetstar_dataset_get(one, 0, UNETSTAR_DATASET_LABEL, &label)))
        result = problem_from_library(problem, sample->name, error);
    if (!result)
        result = write_small(pictures, sample->name, "photo", &photo, 0, problem);
    if (!result)
        result = write_small(pictures, sample->name, "label", &label, 1, problem);
    unetstar_dataset_destroy(one);
    return result;
}

int pictures_prepare(const struct results *results, const struct plan *plan, const struct launch *launch,
                     struct problem *problem) {
    size_t k, i;
    int result = 0;
    for (k = 0; k < results->folds.count && !result; k++) {
        const struct record *first = first_record(results, results->folds.items[k]);
        const char *image = first ? choose(first) : NULL;
        if (!image || !fold_has_pictures(results, plan->pictures_path, results->folds.items[k], image))
            continue;
        for (i = 0; i < plan->collection.count && !result; i++)
            if (!strcmp(plan->collection.items[i].name, image))
                result = prepare(plan->pictures_path, &plan->collection.items[i], launch, problem);
    }
    return result;
}
