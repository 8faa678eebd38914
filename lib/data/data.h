/*
 * data.h - from pictures to patches: images, field of view, preprocessing, datasets and folds, augmentation, and the
 * synthetic fundus. Everything is a plain function of its arguments; random choices come from us_rng streams.
 */
#ifndef US_DATA_H
#define US_DATA_H

#include "base/base.h"

/* A checked view of a caller's image: packed or strided rows of 8- or 16-bit samples, 1 or 3 interleaved channels. */
struct us_image {
    const void *data;
    int64_t width, height;
    int64_t stride; /* bytes */
    int channels, bits;
};
#define US_IMAGE_MAX 32768
/* EINVAL, the text beginning with `what`, unless size, channels, bits and stride are possible. */
int us_image_check(const struct us_image *image, const char *what);
/* Sample c of pixel (y, x) as stored. */
int us_image_sample(const struct us_image *image, int64_t y, int64_t x, int c);
/* Sample c of pixel (y, x) scaled to 0..255 (16 bit: value / 257, exact for 8-bit pictures stored as v * 257). */
float us_image_at(const struct us_image *image, int64_t y, int64_t x, int c);

/* ---- Field of view (field.c) ---- */

/* mask (h, w): 255 inside, 0 outside. *source: UNETSTAR_FIELD_FOUND or _WHOLE. Fails only when memory does. */
int us_field_find(us_context *ctx, const struct us_image *image, uint8_t *mask, int32_t *source);

/* ---- Preprocessing (prep.c, clahe.c) ---- */

struct us_prep {
    int32_t color, min_max, clahe_tiles, standardize;
    float clahe_clip, gamma;
};
void us_prep_default(struct us_prep *prep);
int us_prep_check(const struct us_prep *prep); /* EINVAL with the field named */
int us_prep_channels(const struct us_prep *prep);
/* x (channels, h, w). mask (h, w) may be NULL; then the field is found when standardize is set. An image of one channel gives
 * it to every colour. With CLAHE or gamma values pass through bytes, cut off as in the original protocol (prep.c); without,
 * 16-bit images keep their depth. A uniform channel becomes 0 by min-max. Allocates nothing when h w >= 86 clahe_tiles^2 and
 * no field has to be found. ENOMEM is the only error for checked arguments. */
int us_prep_run(us_context *ctx, const struct us_prep *prep, const struct us_image *image, const uint8_t *mask, float *x);
/* As text for a model's metadata: "color=gray min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0". */
#define US_PREP_TEXT 160
void us_prep_format(char out[US_PREP_TEXT], const struct us_prep *prep);
int us_prep_parse(const char *text, struct us_prep *prep); /* EFORMAT */
/* Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of one plane of bytes in place, tiles x tiles; the bits
 * of OpenCV's. us_clahe_with takes its us_clahe_size bytes of tables from the caller. */
int us_clahe(us_context *ctx, uint8_t *plane, int64_t height, int64_t width, int tiles, float clip);
size_t us_clahe_size(int tiles);
void us_clahe_with(uint8_t *plane, int64_t height, int64_t width, int tiles, float clip, uint8_t *tables);

/* ---- Synthetic fundus (synthetic*.c) ---- */

#define US_SYNTHETIC_MIN 48
#define US_SYNTHETIC_MAX 4096
/* rgb (h, w, 3); label, mask (h, w) 0 / 255, each may be NULL. EINVAL for a size outside the limits, ENOMEM. */
int us_synthetic_fundus(us_context *ctx, uint64_t seed, int64_t width, int64_t height, uint8_t *rgb, uint8_t *label,
                        uint8_t *mask);

/* ---- Datasets (dataset.c) ---- */

/* A stored sample, shared by the datasets that hold it. */
struct us_sample {
    int refs;
    us_context *ctx;
    char *name;
    struct us_image image; /* packed */
    uint8_t *label;        /* class numbers, or NULL */
    uint8_t *mask;         /* 0 / 255 */
    int32_t field_source;
};

struct us_sample *us_sample_ref(struct us_sample *sample);
void us_sample_unref(struct us_sample *sample);

struct unetstar_dataset {
    us_context *ctx;
    struct us_sample **samples;
    int64_t count, capacity;
};
typedef struct unetstar_dataset us_dataset;

int us_dataset_create(us_dataset **out, us_context *ctx);
void us_dataset_destroy(us_dataset *dataset);
/* label, mask may be NULL: no label; field found. On failure the dataset is as before. */
int us_dataset_add(us_dataset *dataset, const char *name, const struct us_image *image, const struct us_image *label,
                   const struct us_image *mask);
int us_dataset_add_synthetic(us_dataset *dataset, uint64_t seed, int64_t width, int64_t height);
int us_dataset_subset(us_dataset **out, const us_dataset *dataset, const int64_t *indices, int64_t count);
/* Fold k of n runs of consecutive samples: run k is samples [count k / n, count (k + 1) / n). */
int us_dataset_fold(us_dataset **train, us_dataset **test, const us_dataset *dataset, int64_t k, int64_t n);

/* ---- Patches (patches.c) ---- */

struct us_augment {
    int flips, quarter_turns;
    float brightness, contrast, gamma; /* amplitudes, 0: off; gamma acts first, then contrast, then brightness */
};

/* Preprocessed planes of a dataset and the places where a patch may be centred. */
typedef struct us_patches us_patches;
/* Every sample needs a label and a field of view with at least one pixel; the text names the sample that has none. */
int us_patches_create(us_patches **out, const us_dataset *dataset, const struct us_prep *prep, int64_t patch_h,
                      int64_t patch_w);
void us_patches_destroy(us_patches *patches);
size_t us_patches_bytes(const us_patches *patches);
/* Patch `sample` of `epoch`: a uniformly random image, a centre uniformly random among its field's pixels, then augmentation
 * (NULL: none). x (c, h, w), label and mask (h, w); mask may be NULL. Outside the image x is 0, label 0, mask 0. Allocates
 * nothing, safe from many workers at once, depends only on the arguments. Quarter turns only when the patch is square. The
 * centre of a patch is pixel (h / 2, w / 2) of it, before flips and turns; image and centre are the same whatever the
 * augmentation. Gamma is a table of 256 values with straight lines between; x outside [0, 1] is not changed by it. */
void us_patches_draw(const us_patches *patches, uint64_t seed, enum us_purpose purpose, uint64_t epoch, uint64_t sample,
                     const struct us_augment *augment, float *x, uint8_t *label, uint8_t *mask);

#endif
