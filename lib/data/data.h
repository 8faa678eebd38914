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
    int64_t stride; /* bytes; negative: upwards from the last row in memory, which is the top one */
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

/* Found row by row on a picture reduced to at most US_FOV_SIDE pixels a side; what is kept of it is the first and the last
 * pixel of the field in each of its rows, since a field is convex. */
#define US_FOV_SIDE 768
struct us_fov {
    int64_t image_width, image_height;
    int64_t width, height, step; /* of the reduced picture, 0 x 0: taken whole; image pixels per pixel of it */
    int32_t *left, *right;       /* (height): kept; left > right: no field in this row */
    uint8_t *level, *part;       /* (height, width), scratch until us_fov_end: brightest channel; 1: field */
    uint16_t *distance;
    int32_t *stack;
    int32_t source; /* UNETSTAR_FIELD_FOUND or _WHOLE */
};
/* For an image of this size. Then its memory: what is kept, and what is scratch until the end (with the arena's base NULL they
 * measure). */
void us_fov_begin(struct us_fov *field, int64_t width, int64_t height);
void us_fov_take(struct us_fov *field, struct us_arena *kept);
void us_fov_take_scratch(struct us_fov *field, struct us_arena *scratch);
/* Row y of the image, its only row; rows come in ascending order. Then the end, which decides. */
void us_fov_add(struct us_fov *field, int64_t y, const struct us_image *row);
void us_fov_end(struct us_fov *field);
/* Pixels x .. x + n - 1 of row y of the mask: 255 inside, 0 outside. */
void us_fov_row(const struct us_fov *field, int64_t y, int64_t x, int64_t n, uint8_t *mask);
/* All of it at once. mask (h, w). *source: UNETSTAR_FIELD_FOUND or _WHOLE. Fails only when memory does. */
int us_field_find(us_context *ctx, const struct us_image *image, uint8_t *mask, int32_t *source);

/* ---- Preprocessing (prep.c; as text: prep_text.c) ---- */

struct us_prep {
    int32_t color, min_max, clahe_tiles, standardize;
    float clahe_clip, gamma;
};
void us_prep_default(struct us_prep *prep);
int us_prep_check(const struct us_prep *prep); /* EINVAL with the field named */
int us_prep_channels(const struct us_prep *prep);
/* x (channels, h, w). mask (h, w) may be NULL; then the field is found when standardize is set. An image of one channel gives
 * it to every colour. With CLAHE or gamma values pass through bytes, cut off as in the original protocol (prep_state.c);
 * without, 16-bit images keep their depth. A uniform channel becomes 0 by min-max. Allocates one block for the time of the
 * call. For checked arguments only ENOMEM and the errors of us_parallel are possible. */
int us_prep_run(us_context *ctx, const struct us_prep *prep, const struct us_image *image, const uint8_t *mask, float *x);
/* As text for a model's metadata: "color=gray min_max=1 clahe_tiles=8 clahe_clip=2 gamma=1.2 standardize=0". */
#define US_PREP_TEXT 160
void us_prep_format(char out[US_PREP_TEXT], const struct us_prep *prep);
int us_prep_parse(const char *text, struct us_prep *prep); /* EFORMAT */

/* ---- CLAHE (clahe.c) ---- */

/* Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of one plane of bytes, tiles x tiles; the bits of
 * OpenCV's. First every row is counted in ascending order, which makes the tables; then rows are equalised in any order. */
#define US_CLAHE_OPEN 2
struct us_clahe {
    int64_t height, width, tile_h, tile_w;
    int tiles;
    int32_t limit;
    float scale;
    uint8_t *tables; /* us_clahe_size bytes, kept */
    int32_t *counts; /* us_clahe_scratch bytes: US_CLAHE_OPEN rows of tiles, only while counting */
    int64_t open[US_CLAHE_OPEN], rows[US_CLAHE_OPEN]; /* which rows of tiles those are, -1: none; rows seen of each */
};
size_t us_clahe_size(int tiles);
size_t us_clahe_scratch(int tiles);
void us_clahe_begin(struct us_clahe *clahe, int64_t height, int64_t width, int tiles, float clip);
/* The plane is continued by reflection, so a row may count several times: as itself first, i = y, then as us_clahe_next(clahe,
 * y, i) until that is -1. Each time the whole row is given, left to right, in parts. */
int64_t us_clahe_next(const struct us_clahe *clahe, int64_t y, int64_t i);
void us_clahe_count(struct us_clahe *clahe, int64_t i, int64_t x, int64_t n, const uint8_t *bytes);
/* Pixels x .. x + n - 1 of row y in place. */
void us_clahe_apply(const struct us_clahe *clahe, int64_t y, int64_t x, int64_t n, uint8_t *bytes);

/* ---- Preprocessing row by row (prep_state.c) ---- */

/* Whether a fit looks for the field of view. */
enum us_prep_field {
    US_PREP_FIELD_AUTO = 0,   /* only when standardize is set, which needs it */
    US_PREP_FIELD_WANTED = 1, /* yes, for us_prep_field_row too */
    US_PREP_FIELD_GIVEN = 2   /* no: standardize goes by the rows of a mask that come with the image's */
};
struct us_prep_plane {
    int source; /* channel of the image, -1: gray of three */
    int32_t least, most;
    double unit, low, range; /* v = (sample - low) / range is 0 .. 1 */
    double sum, sum_all, mean, deviation;
    struct us_clahe clahe;
};
/* What has been learned of an image, enough to make any row of the network's input of that row alone. It is learned in
 * passes over the image's rows: begin; while (us_prep_state_pass(s)) every row in ascending order to us_prep_state_rows.
 * Then it is ready, and only read: us_prep_row and us_prep_field_row are safe from many workers at once. */
struct us_prep_state {
    struct us_prep prep;
    int64_t width, height;
    int channels, bits; /* of the image */
    int planes;         /* of the network's input */
    int field;          /* enum us_prep_field */
    int pass;
    int64_t inside; /* pixels of the field of view */
    struct us_prep_plane plane[3];
    struct us_fov found;
    float table[256]; /* gamma */
    char *memory;
    size_t kept; /* bytes at the front of memory in use once it is ready; the rest is then free for other use */
};
/* Bytes of memory for the largest image, and for one of this size. */
size_t us_prep_state_bytes(const struct us_prep *prep, int field);
size_t us_prep_state_bytes_for(const struct us_prep *prep, int field, int64_t width, int64_t height);
/* memory: 64-byte aligned, of either size. prep, channels, bits as us_prep_check and us_image_check let them through. */
void us_prep_state_begin(struct us_prep_state *s, const struct us_prep *prep, int64_t width, int64_t height, int channels,
                         int bits, int field, void *memory);
/* Ends the present pass and begins the next; 0: none is needed, the state is ready. */
int us_prep_state_pass(struct us_prep_state *s);
/* mask_rows: 0 outside, for US_PREP_FIELD_GIVEN; NULL there means that every pixel is inside. Else it is not looked at. */
void us_prep_state_rows(struct us_prep_state *s, int64_t y, int64_t n, const void *rows, int64_t stride,
                        const uint8_t *mask_rows, int64_t mask_stride);
/* Row y of every plane, plane c at x + c channel_stride; row: of an image of the fit's width, channels and bits. Values that
 * the fit has not seen are cut off at the ends of the range where they pass through bytes. */
void us_prep_row(const struct us_prep_state *s, int64_t y, const void *row, float *x, size_t channel_stride);
/* Row y of the field of view as 0 / 255, the mask of us_field_find; UNETSTAR_FIELD_FOUND, or _WHOLE (also when it was not looked
 * for). */
int us_prep_field_row(const struct us_prep_state *s, int64_t y, uint8_t *mask);
/* A ready state to other memory of s->kept bytes; the old memory is then free. */
void us_prep_state_move(struct us_prep_state *s, void *memory);
/* Ready without a pass: what would have been learned was put in. The range of a plane that min-max gives. */
void us_prep_state_end(struct us_prep_state *s);
void us_prep_plane_range(struct us_prep_plane *plane, int32_t least, int32_t most);
/* Passes before the state is ready, 0 .. 4. */
int us_prep_passes(const struct us_prep *prep, int field);
/* The first step that must have seen the whole image: "min-max", "CLAHE", "standardize"; NULL: each pixel stands alone. */
const char *us_prep_global_step(const struct us_prep *prep);
/* A ready state as bytes (prep_bytes.c), the same on every machine; the first non-zero result of write, or 0. */
int us_prep_state_write(const struct us_prep_state *s, unetstar_write_fn write, void *user);
/* And back, ready, its memory allocated: us_free(ctx, s->memory). EFORMAT, EVERSION (a later version's), ENOMEM; *s is then as
 * it was. */
int us_prep_state_read(struct us_prep_state *s, us_context *ctx, const void *data, size_t size);

/* ---- An image by rows (rows.c) ---- */

/* Where an image comes from. Its rows are in memory, or read by a callback, each pass from row 0 on in ascending order. */
struct us_rows_source {
    int64_t width, height;
    int32_t channels, bits;
    const char *data; /* NULL: read */
    int64_t stride;
    int (*read)(void *user, int64_t y, int64_t n, void *rows, int64_t stride);
    void *user;
    const uint8_t *mask; /* field of view (with data), or NULL */
    int64_t mask_stride;
};
void us_rows_describe(struct us_rows_source *source, const struct us_image *image); /* the rows of an image in memory */
/* Memory for rows that are read: `count` at once, `stride` bytes apart. Of an image in memory only the count matters. */
struct us_rows_room {
    char *rows;
    int64_t count, stride;
};
/* Rows y .. y + n - 1, n <= room->count, and how far apart they are. EUSER, ECANCELED. */
int us_rows_read(const struct us_rows_source *source, const struct us_rows_room *room, const us_cancel *cancel, int64_t y,
                 int64_t n, const char **rows, int64_t *stride);
/* All passes that states, begun, still need: afterwards they are ready. EUSER, ECANCELED. */
int us_prep_fit(struct us_prep_state *states, int n_states, const struct us_rows_source *source,
                const struct us_rows_room *room, const us_cancel *cancel);

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

/* ---- Planes of a colour image (color_planes.c) ---- */

/* Gray and green are those of the preprocessing. X of CIE XYZ weighs the stored values, as OpenCV does; L* is that of CIE
 * Lab (and Luv) of sRGB; HLS lightness is the mean of the largest and the smallest. */
enum us_color_plane {
    US_COLOR_PLANE_GRAY,
    US_COLOR_PLANE_GREEN,
    US_COLOR_PLANE_X,
    US_COLOR_PLANE_LIGHTNESS,
    US_COLOR_PLANE_HLS,
    US_COLOR_PLANES
};
/* out (h, w): X, LIGHTNESS or HLS of an image of three channels, the possible range as 0 .. 65535. ENOMEM, and the errors
 * of us_parallel. */
int us_color_plane(us_context *ctx, const struct us_image *image, int plane, uint16_t *out);

/* ---- Patches (patches.c) ---- */

struct us_augment {
    int flips, quarter_turns;
    float brightness, contrast, gamma; /* amplitudes, 0: off; gamma acts first, then contrast, then brightness */
    float noise, blur;                 /* largest standard deviations, of values and in pixels; 0: off; blur first */
    float color_mix, clahe_jitter;     /* share of patches that are mixtures; amplitude; both need us_patches_vary */
};

/* Preprocessed planes of a dataset and the places where a patch may be centred. */
typedef struct us_patches us_patches;
/* Every sample needs a label and a field of view with at least one pixel; the text names the sample that has none. */
int us_patches_create(us_patches **out, const us_dataset *dataset, const struct us_prep *prep, int64_t patch_h,
                      int64_t patch_w);
/* Once, after create: what color_mix and clahe_jitter of this augmentation need. For every image further planes, of all
 * colours, and each with the two limits clahe_clip exp(+-clahe_jitter); a picture of one channel has one colour. Instead of
 * 1 plane 5, 3, or with both 11. EINVAL (several channels and color_mix; no CLAHE and clahe_jitter), ENOMEM; the patches can
 * then only be destroyed. */
int us_patches_vary(us_patches *patches, const struct us_prep *prep, const struct us_augment *augment);
void us_patches_destroy(us_patches *patches);
size_t us_patches_bytes(const us_patches *patches);
/* Patch `sample` of `epoch`: a uniformly random image, a centre uniformly random among its field's pixels, then augmentation
 * (NULL: none). x (c, h, w), label and mask (h, w); mask may be NULL. Outside the image x is 0, label 0, mask 0. Allocates
 * nothing, safe from many workers at once, depends only on the arguments. Quarter turns only when the patch is square. The
 * centre of a patch is pixel (h / 2, w / 2) of it, before flips and turns; image and centre are the same whatever the
 * augmentation. Gamma is a table of 256 values with straight lines between; x outside [0, 1] is not changed by it.
 * A mixture is alpha times one plane and 1 - alpha times another, alpha uniform, all pairs equally likely. A limit of CLAHE
 * is clahe_clip exp(u), u uniform: values lie on the straight line between those of the two ends. */
void us_patches_draw(const us_patches *patches, uint64_t seed, enum us_purpose purpose, uint64_t epoch, uint64_t sample,
                     const struct us_augment *augment, float *x, uint8_t *label, uint8_t *mask);

/* ---- Blur and noise (patch_noise.c) ---- */

/* The part of a patch that lies inside the image: rows i0 .. i1 - 1, columns j0 .. j1 - 1. */
struct us_patch_part {
    float *x; /* (channels, h, w) */
    int channels;
    int64_t h, w, i0, i1, j0, j1;
};
#define US_BLUR_MAX 4.0 /* largest standard deviation */
/* A Gaussian of this standard deviation, cut off at three of them; the edge pixels stand for what is beyond. 0: nothing. */
void us_patch_blur(const struct us_patch_part *part, double deviation);
/* Adds a normal number of this standard deviation to every value, which comes from the stream's key and the pixel's place. */
void us_patch_noise(const struct us_patch_part *part, double deviation, const struct us_rng *rng);

#endif
