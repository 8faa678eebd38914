/*
 * rows.h - what the tests of streaming sessions share: models whose weights are not fresh, pictures, and a source and a
 * sink of rows that watch how they are used, fail, and cancel.
 */
#ifndef API_ROWS_H
#define API_ROWS_H

#include "common.h"

/* A model with running statistics as after a training, so that folding them in matters. prep may be NULL. */
unetstar_model *noisy_model(unetstar_context *context, const unetstar_model_options *options,
                            const unetstar_prep_options *prep);
/* Small, of `channels`, levels as given; every other option is the default. */
unetstar_model *plain_model(unetstar_context *context, int32_t channels, int32_t levels);

/* A lit ellipse with noise on black, and a mask that is another ellipse. */
struct picture {
    unetstar_image image, mask;
    unsigned char *data, *mask_data;
};
/* strided: rows lie further apart than they are long, and 16-bit samples at odd addresses. */
void picture_open(struct picture *picture, int64_t width, int64_t height, int32_t channels, int32_t bits, int strided);
void picture_close(struct picture *picture);

/* A session's callbacks. Rows and passes are counted from 0; -1 below: never. */
struct rows {
    const struct picture *picture;
    float *planes; /* the output as planes (channels, h, w) */
    int64_t channels, next_in, next_out, passes;
    int64_t fail_pass, fail_in;     /* read_rows returns 42 */
    int64_t fail_out;               /* write_rows returns 43 */
    int64_t cancel_pass, cancel_in; /* the token is requested in read_rows */
    int64_t cancel_out;             /* or in write_rows */
    unetstar_cancel *cancel;
    int64_t late;  /* calls after one that failed */
    int64_t wrong; /* rows out of order, strides too small */
    int failed;
};
void rows_open(struct rows *rows, unetstar_source *source, const struct picture *picture, int64_t channels,
               float *planes);
int rows_write(void *user, int64_t y, int64_t n, const float *line);
/* Whole passes, every row out, in order. */
void rows_complete(const struct rows *rows);

/* A session of these models, 0 meaning the default of an option. */
unetstar_session *session_of(unetstar_context *context, unetstar_model *const *models, int64_t n, int32_t plan);
unetstar_session *session_with(unetstar_context *context, unetstar_model *const *models, int64_t n,
                               const unetstar_session_options *options);

/* Space for a result, filled with NaNs. */
float *blank(int64_t values);

#endif
