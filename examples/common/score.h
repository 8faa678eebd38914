/* score.h - runs a session (or reads saved maps) over test images and measures the result. */
#ifndef EXAMPLES_SCORE_H
#define EXAMPLES_SCORE_H

#include "datasets.h"
#include "table.h"
#include "unetstar.h"

/* One scored image, for those who count more than the tables do. Non-zero stops. */
struct scored {
    const char *name;
    const float *probability;
    const uint8_t *label, *mask;
    int64_t width, height;
};
typedef int (*score_visit)(void *user, const struct scored *scored, struct problem *problem);

/* Makes a map (0 to 1, but no probability) of one photograph by other means than a network. Non-zero: failed. */
typedef int (*score_map)(void *user, const struct sample *sample, const unetstar_image *photo, const uint8_t *mask,
                         float *map, struct problem *problem);

struct scoring {
    unetstar_context *context;
    unetstar_session *session; /* NULL: read the maps of `predictions` instead */
    const char *predictions;   /* folder of NAME.png or NAME-probability.png */
    score_map map;             /* instead of both, NULL: none */
    void *map_user;
    const unetstar_cancel *cancel;
    double threshold;
    int quiet;
    int observer;         /* also score the second human */
    score_visit visit; /* called after each image, NULL: none */
    void *user;
    const char *pictures; /* folder for probability maps and error pictures, NULL: none */
};

/* The vessel probability of a session's output of (channels, h, w), in place: with more than two classes 1 -
 * background. */
void vessel_probability(float *probability, int64_t channels, int64_t pixels);

/* Fits scoring.map: the second human's label as 0 and 1; `user` is the context. */
int observer_map(void *user, const struct sample *sample, const unetstar_image *photo, const uint8_t *mask, float *map,
                 struct problem *problem);

/* metrics: a new object with every image in it, the caller's to destroy. */
int score_samples(const struct scoring *scoring, const struct collection *collection, const struct indices *indices,
                  struct table *table, unetstar_metrics **metrics, struct problem *problem);

/* Writes metrics.csv, metrics.json, roc.svg and pr.svg into a folder. */
int report_write(const char *folder, const struct table *table, unetstar_metrics *metrics, struct problem *problem);

/* n probabilities as 8- or 16-bit samples, 0 black to 1 white. */
void probability_samples(void *samples, const float *probability, int64_t n, int bits);
/* NAME.png of 8 or 16 bit from probabilities. */
int write_probability(const char *path, const float *probability, int64_t width, int64_t height, int bits,
                      struct problem *problem);

#endif
