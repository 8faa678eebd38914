/* segment.h - what the parts of unetstar-segment share. */
#ifndef EXAMPLES_SEGMENT_H
#define EXAMPLES_SEGMENT_H

#include "common/args.h"
#include "common/bar.h"
#include "common/files.h"
#include "common/launch.h"
#include "common/models.h"
#include "common/picture.h"
#include "common/picture_rows.h"

struct settings {
    const char *out, *mask;
    const char *model; /* list of models; NULL: the one inside the program */
    double threshold; /* NaN: the model's */
    double scale;     /* NaN: found for each photograph */
    int32_t bits, tta, clip, precision, stream, probability, vessels, overlay;
    int32_t threads, quiet, budget;
    uint64_t synthetic;
    int32_t synthetic_size[2];
};

/* One photograph and what came of it, in memory. */
struct job {
    const char *path; /* NULL: the synthetic one */
    char *name;
    struct picture photo, mask;
    float *probability;
    int64_t seen_width, seen_height; /* what the network saw: the photograph's size unless it was scaled */
};

struct run {
    struct settings settings;
    struct launch launch;
    struct models models;
    unetstar_session *session;
    struct names images, names;
    int first_image; /* operand */
    const char *threshold_source; /* "given", ... for the closing line */
    unetstar_workspace largest;   /* what the session took for the largest image */
    int64_t largest_width, largest_height;
};

/* The bar, and where in it the running image lies. */
struct watched {
    struct bar *bar;
    const char *name;
    double first, share; /* of all images: where this one begins and how much it is */
};

/* ---- images.c ---- */

/* Expands folders, and finds two images whose results would have the same names before anything is overwritten. */
int collect_images(struct run *run, const struct args *args, struct problem *problem);
/* The mask of an image that has been read, if there are masks. */
int read_mask(const struct settings *settings, struct job *job, struct problem *problem);

/* ---- results.c ---- */

/* The files of one image, written row by row; none of them is there before results_commit. */
struct results {
    const struct settings *settings;
    const char *name; /* of the image, borrowed */
    const unetstar_cancel *cancel;
    struct picture format; /* of the photograph; no pixels */
    struct png_rows *probability, *vessels, *overlay;
    void *line;
};
/* 0, or -1 with nothing left behind. */
int results_open(struct results *results, const struct run *run, const char *name, const struct picture *format,
                 struct problem *problem);
/* The next row: vessel probabilities and, when the overlay is wanted, the photograph's pixels. Fails after Ctrl-C. */
int results_row(struct results *results, const float *probability, const void *photo, struct problem *problem);
/* All files or, unless the disk fails at the very last, none. */
int results_commit(struct results *results, struct problem *problem);
void results_abandon(struct results *results);

/* ---- rows.c ---- */

/* Segments a photograph that is read and whose results are written row by row. */
int segment_rows(struct run *run, struct picture_rows *photo, const char *path, const char *name,
                 struct watched *watched, struct problem *problem);

/* ---- scale.c ---- */

/* A photograph and its mask at the size they are segmented at. */
struct scaled {
    int on; /* 0: the photograph's own size, and its own pixels */
    struct picture photo, mask;
    unsigned char *field; /* the field of view at the photograph's size */
};
/* Scales as --scale says, and says so. scale_end is due afterwards, whatever comes of it. */
int scale_begin(const struct run *run, struct job *job, struct scaled *scaled, struct problem *problem);
/* Brings the vessel probabilities of the scaled photograph to the size of the photograph itself. */
int scale_back(const struct run *run, struct job *job, const struct scaled *scaled, struct problem *problem);
void scale_end(struct scaled *scaled);

#endif
