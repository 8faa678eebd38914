/*
 * map.h - inside nn: maps in blocks of 16 channels, and the convolutions, norms and sources that work on them.
 */
#ifndef US_NN_MAP_H
#define US_NN_MAP_H

#include "nn/nn.h"

/* ---- Maps ---- */

/* A map, of which memory holds `rows` rows at a time: all of them (rows = h), or the last ones computed, row y at y % rows. */
struct us_map {
    float *data; /* [n][blocks][rows][w][16]; bytes with quant */
    int n, blocks, h, w;
    int rows;
    const struct us_quant *quant; /* what the bytes mean; NULL: floats */
};
static inline size_t us_map_floats(const struct us_map *m) {
    return (size_t)m->n * (size_t)m->blocks * (size_t)m->rows * (size_t)m->w * US_LANES;
}
static inline size_t us_map_bytes(const struct us_map *m) {
    return us_map_floats(m) * (m->quant ? 1 : sizeof(float));
}
static inline float *us_map_row(const struct us_map *m, int n, int b, int y) {
    const size_t at = (size_t)(y < m->rows ? y : y % m->rows);
    return m->data + ((((size_t)n * (size_t)m->blocks + (size_t)b) * (size_t)m->rows + at) * (size_t)m->w) * US_LANES;
}
static inline uint8_t *us_map_byte_row(const struct us_map *m, int n, int b, int y) {
    return (uint8_t *)m->data + (us_map_row(m, n, b, y) - m->data);
}
/* Whether rows y .. y + count - 1 lie one after the other in memory. */
static inline int us_map_contiguous(const struct us_map *m, int y, int count) {
    return y % m->rows + count <= m->rows;
}
/* From and to (n, c, h, w) planes of a smaller or equal size; what is not covered becomes 0. */
void us_map_pack(const struct us_map *m, const float *x, int n, int c, int h, int w);
void us_map_unpack(const struct us_map *m, float *x, int n, int c);

/* Scratch of every worker: `each` bytes, 64-byte aligned. */
struct us_scratch {
    char *base;
    size_t each;
};

/* Writes pixels [x0, x1) of row y of block b of image n to dst; tmp is the worker's scratch (us_row_tmp_bytes). */
typedef void (*us_row_fn)(const void *source, int n, int b, int y, int x0, int x1, float *dst, float *tmp);

/* The same, quantised: q - zero. */
typedef void (*us_quant_row_fn)(const void *source, int n, int b, int y, int x0, int x1, int16_t *dst, float *tmp);

/* Scratch is laid out by a bump arena; a distance between neighbours that is an odd number of cache lines keeps them from sharing
 * cache sets. */
static inline size_t us_odd_lines(size_t floats) {
    return floats / US_LANES % 2 ? floats : floats + US_LANES;
}

/* ---- Convolution over whole maps: direct, 3x3 or 1x1 (conv*.c), Winograd (wino*.c), transposed (upconv*.c) ---- */

/* One convolution and what is known about it; a function reads what its pass needs. */
struct us_conv_job {
    us_context *ctx;
    us_row_fn row; /* of the input, (h, w); of backward-data, of the output's gradient */
    const void *source;
    size_t tmp_bytes; /* scratch the row function wants */
    int n, h, w;
    int y0, y1; /* forward and backward-data: the rows of the output to compute (transposed: of the input to use); y0 is a
                   multiple of the tile, and y1 too unless it is h */
    int in_blocks, out_blocks, last_channels; /* of backward-data: exchanged */
    int tile; /* of 3x3: 0: direct; 2, 4, 6: Winograd F(tile x tile, 3x3) */
    int pointwise; /* 1x1: weights have one tap instead of nine, tile is 0 */
    int depthwise; /* a kernel for every channel: weights [out][tap][16] (NULL, pointwise: all 1), tile is 0 */
    const struct us_quant *quant; /* of the input: the convolution is in 8 bits, tile is 4; NULL: in float */
    us_quant_row_fn quant_row;    /* the input's rows, then */
    int act;                      /* what is applied before a value is stored in bytes */
    float slope;
    struct us_scratch scratch;

    /* Forward and backward-data */
    const float *weights;     /* [out][in][3][3][16][16] */
    int accumulate;           /* direct, not depthwise: added to what is in `out` */
    int flip;                 /* Winograd or depthwise backward-data: `weights` are the forward ones */
    const float *transformed; /* Winograd: by us_wino_transform_weights; NULL: `weights` are transformed on the way */
    const float *bias;        /* or NULL */
    struct us_map out;        /* of a transposed convolution's backward passes: the gradient of its output */

    /* Backward-weights */
    struct us_map dout;
    float *dw;       /* [out][in][3][3][16][16], overwritten */
    float *partials; /* us_conv_weights_partials floats */
};

/* `count` pixels of row y from x on, into dst; zeros outside the map. */
void us_fetch_row(const struct us_conv_job *job, int n, int b, int y, int x, int count, float *dst, float *tmp);
/* The input of rows [y0, y0 + rows) and columns [x0, x0 + columns) of the output, one row after the other into slab, borders
 * included; in: where each of them begins. */
void us_fetch_rows(const struct us_conv_job *job, int n, int b, int y0, int rows, int x0, int columns, float *slab, float *tmp,
                   const float **in);
/* The row function of a plain map (source: struct us_map). */
void us_plain_row(const void *source, int n, int b, int y, int x0, int x1, float *dst, float *tmp);

/* What a worker needs; ctx, the sizes of the job, and whether there are transformed weights, decide. */
size_t us_conv_scratch(const struct us_conv_job *job);
/* The most that any job of one image, and of no more rows and columns, needs: a smaller map may be cut into larger pieces. */
size_t us_conv_scratch_within(const struct us_conv_job *job);
int us_conv_forward(const struct us_conv_job *job);
size_t us_conv_weights_scratch(const struct us_conv_job *job);
size_t us_conv_weights_partials(const struct us_conv_job *job);
int us_conv_backward_weights(const struct us_conv_job *job);

static inline int us_job_taps(const struct us_conv_job *job) {
    return job->pointwise ? 1 : 9;
}
/* Of the input around the output. */
static inline int us_job_border(const struct us_conv_job *job) {
    return job->pointwise ? 0 : 1;
}
static inline int us_divide_up(int a, int b) {
    return (a + b - 1) / b;
}

/* Turns forward weights into those of backward-data: transposed and flipped. taps: 9 or 1. */
int us_conv_flip(us_context *ctx, float *flipped, const float *weights, int in_blocks, int out_blocks, int taps);

/* Depthwise (depthwise.c); the functions above call these. */
size_t us_depthwise_scratch(const struct us_conv_job *job); /* of any job of no more columns */
int us_depthwise_forward(const struct us_conv_job *job);
size_t us_depthwise_weights_scratch(const struct us_conv_job *job);
size_t us_depthwise_weights_partials(const struct us_conv_job *job);
int us_depthwise_backward_weights(const struct us_conv_job *job);

size_t us_wino_weights_floats(const us_context *ctx, int tile, int in_blocks, int out_blocks);
/* Reads the job's ctx, blocks, tile, weights and flip. */
int us_wino_transform_weights(const struct us_conv_job *job, float *transformed);
/* Whether the job is faster with stored transformed weights: they are used more than once. */
int us_wino_stores_weights(const struct us_conv_job *job);
size_t us_wino_scratch(const struct us_conv_job *job);
size_t us_wino_scratch_within(const struct us_conv_job *job);
int us_wino_forward(const struct us_conv_job *job);
size_t us_wino_weights_scratch(const struct us_conv_job *job);
size_t us_wino_weights_partials(const struct us_conv_job *job);
int us_wino_backward_weights(const struct us_conv_job *job);
/* V of `count` tiles of row ty of tiles from tile tx on, v_xi floats from one xi to the next; slab: us_wino_slab_bytes. */
void us_wino_input_strip(const struct us_conv_job *job, int n, int b, int ty, int tx, int count, float *v, size_t v_xi,
                         float *slab, float *tmp);
size_t us_wino_slab_bytes(int tile);

/* ---- 8 bits (quant.c, wino_quant.c) ---- */

/* Packed weights: a scale for every (output block, tap, lane), then int16 in the order of struct us_quant_multiply. */
size_t us_quant_weights_floats(const us_context *ctx, int in_blocks, int out_blocks);
size_t us_quant_u_stride(const us_context *ctx, int in_blocks);                    /* int16 from one tap to the next */
const int16_t *us_quant_values(const float *packed, int out_blocks);
/* Reads the job's ctx, blocks and weights; input: of the convolution. */
int us_quant_pack_weights(const struct us_conv_job *job, const struct us_quant *input, float *packed);
size_t us_quant_scratch(const struct us_conv_job *job);
int us_quant_forward(const struct us_conv_job *job); /* transformed: packed weights */
/* A row of `count` pixels of the output from pixel x on, into a map of bytes; the row is changed. */
void us_store_row(const struct us_conv_job *job, int n, int o, int y, int x, int count, float *row);

/* Transposed convolution 2x2, stride 2: weights [4 places][out][in][16][16]; h and w are of its input. */
size_t us_upconv_scratch(int w, int in_blocks, int out_blocks, size_t tmp_bytes);
int us_upconv_forward(const struct us_conv_job *job);
/* din = gradient of the input, overwritten. flipped: room for the transposed weights. */
int us_upconv_backward_data(const struct us_conv_job *job, const struct us_map *din, float *flipped);
int us_upconv_backward_weights(const struct us_conv_job *job, float *dw);

/* ---- Sums of partial weight gradients (partials.c) ---- */

struct us_partial_range {
    int b0, b1, o0, o1; /* input and output blocks */
};
struct us_partials {
    int count; /* partials of the batch, fixed by its shape */
    int in_blocks, out_blocks;
    int taps;              /* 9 or 1 */
    int in_step, out_step; /* blocks of a task */
    /* Partial i of the blocks in range, overwritten: [out - o0][in - b0][taps][16][16]. scratch is the worker's. */
    void (*compute)(const void *user, int i, const struct us_partial_range *range, float *dw, char *scratch);
    const void *user;
};
size_t us_partials_scratch(const struct us_partials *p);             /* bytes of a worker, before the compute function's own */
size_t us_partials_floats(int workers, const struct us_partials *p); /* memory for what the runs leave */
int us_partials_run(us_context *ctx, const struct us_partials *p, struct us_scratch scratch, float *partials, float *dw);

/* Per-channel sums over all pixels of a map: one float chain along a row, rows and images in order in double (bias gradients).
 * out: blocks * 16 floats. sums: n * blocks * 32 doubles of scratch. */
int us_map_channel_sums(us_context *ctx, const struct us_map *m, double *sums, float *out);

/* ---- Norms (norm*.c) ---- */

/* Statistics and coefficients of a norm over a map: value = fma(z, scale, shift). Arrays hold `sets` x blocks x 16 floats; a
 * batch norm has one set for all images, the others one an image. */
struct us_norm {
    int batch;  /* statistics over the whole batch */
    int c;      /* channels */
    int groups; /* of channels that share statistics (batch: c) */
    float eps;
    float *mean, *inverse_std, *scale, *shift;
    double *sums; /* us_norm_sums doubles */
};
size_t us_norm_sums(int n, int blocks);
size_t us_norm_floats(int batch, int n, int blocks); /* of each array */
/* Takes the statistics of z; fills mean, inverse_std, scale, shift. gamma, beta: blocks * 16 floats. running_* (batch only, may
 * be NULL) are updated with the unbiased variance. */
int us_norm_measure(us_context *ctx, struct us_norm *norm, const struct us_map *z, const float *gamma, const float *beta,
                    float momentum, float *running_mean, float *running_var);
/* Sums over the pixels of every image and block, 32 doubles each: moments of z, or with grad the sums of grad and of
 * grad times (z - mean); norm NULL: the mean is 0. */
int us_norm_take_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                      double *out);
/* Backward (norm_gradient.c). Sums of a gradient that us_norm_gradient wants in norm->sums: all of them; or rows [y0, y1) of a
 * block of an image, which a task that has just written them adds in order, from row 0 on. */
int us_norm_gradient_sums(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad);
void us_norm_gradient_rows(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                           int n, int b, int y0, int y1);
/* grad, the gradient at the norm's output, becomes that at z, in place. dgamma, dbeta: blocks * 16 floats, overwritten. */
int us_norm_gradient(us_context *ctx, const struct us_norm *norm, const struct us_map *z, const struct us_map *grad,
                     const float *gamma, float *dgamma, float *dbeta, float *constants);
/* floats of `constants` above */
size_t us_norm_constants(int batch, int n, int blocks);

/* ---- A pass through the network: where every unit's map and coefficients are (source.c) ---- */

struct us_pass {
    us_context *ctx;
    const struct us_net *net;
    int n;    /* images */
    int h, w; /* padded size of the input */
    const float *image;         /* (n, in_channels, image_h, image_w); zeros below and to the right of it */
    int image_h, image_w;
    int image_rows;             /* rows of a plane that memory holds: image_h, or fewer, row y at y % image_rows */
    struct us_map z[US_MAX_UNITS];
    const float *scale[US_MAX_UNITS], *shift[US_MAX_UNITS]; /* NULL: value = activation(z) */
    size_t coefficient_step[US_MAX_UNITS];                  /* floats from one image's coefficients to the next's */
    int residual[US_MAX_UNITS];                             /* the unit whose value is to be added when a value is read, or -1 */
    int tile[US_MAX_UNITS];                                 /* the algorithm of its 3x3 convolutions (algorithm.c) */
    const struct us_quant *quant[US_MAX_UNITS];             /* of a convolution's input, in 8 bits; NULL: in float */
    int dropout;                                            /* 1: training with dropout */
    uint64_t dropout_seed, dropout_stream;
    struct us_scratch scratch;
};
/* The input of a unit as a source of rows. */
struct us_input_source {
    const struct us_pass *pass;
    int unit;
};
void us_input_row(const void *source, int n, int b, int y, int x0, int x1, float *dst, float *tmp);
/* The z of a unit and what else its value takes, for kernels that apply it themselves. */
struct us_affine {
    const float *scale, *shift; /* 16 floats; NULL: value = z */
    int relu;
};
/* 0: the value takes more than that: another activation, dropout, a residual, or bytes. */
int us_value_affine(const struct us_pass *pass, int unit, int n, int b, struct us_affine *affine);
/* Pixels [x0, x1) of row y of block b of a unit, of which `affine` is left to do: z itself, or the value in tmp. */
const float *us_affine_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *tmp,
                           struct us_affine *affine);
/* How a Winograd transform may load a tile of block b straight from the maps, its first pixel being (y, x), odd, its `rows` rows
 * inside of the input. 0: the input is made of more than that (pooling, bilinear upsampling, dropout, ...), or a ring wraps. */
int us_input_load(const void *source, int n, int b, int y, int rows, int x, struct us_wino_load *load);
/* The same, quantised with the pass's quant of the unit. tmp: us_row_tmp_bytes and a row more. */
void us_input_quant_row(const void *source, int n, int b, int y, int x0, int x1, int16_t *dst, float *tmp);
/* Pixels [x0, x1) of the value of a unit (after norm, activation and dropout): written to tmp, or z itself when there is nothing
 * to do. */
const float *us_value_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *tmp);
/* Pixels [x0, x1) of row y of block b of a fusion's main part after upsampling, written to dst. */
void us_upsampled_row(const struct us_pass *pass, const struct us_input *in, int n, int b, int y, int x0, int x1, float *dst,
                      float *tmp);
/* Multiplies pixels [x0, x1) of a row by the dropout mask of a unit; row: its pixel x0. */
void us_dropout_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *row);
/* Scratch a row function of this network needs for maps up to w pixels wide. */
size_t us_row_tmp_bytes(int w);

/* Computes rows [y0, y1) of z of a unit from its input; y0 as in us_conv_job. */
int us_unit_forward(const struct us_pass *pass, int unit, int y0, int y1, const float *weights, const float *transformed,
                    const float *bias);
/* Turns rows [y0, y1) of z of a unit with a residual into its value; an evaluation does it where the unit has been computed. */
int us_unit_complete(const struct us_pass *pass, int unit, int y0, int y1);
/* What a pass knows of a unit's convolution: input, sizes, algorithm, scratch; forward into z. */
void us_pass_job(const struct us_pass *pass, const struct us_input_source *source, struct us_conv_job *job);
/* Scratch a worker needs for any unit's forward (and in training backward) pass. rows: of every unit computed at once, at most;
 * NULL: whole maps. */
size_t us_pass_scratch(const struct us_pass *pass, const int *rows, int training);
/* Sizes of every map for images of h x w. training: maps hold z alone. */
void us_pass_shapes(struct us_pass *pass, us_context *ctx, const struct us_net *net, int n, int64_t h, int64_t w, int training);
/* The algorithms: in training by the size of the maps, in evaluation by level and precision. */
void us_pass_algorithms(struct us_pass *pass, int training, int precision);
/* Evaluation in 8 bits: which convolutions and maps are. The calibration must outlive the pass. */
void us_pass_quantise(struct us_pass *pass, const struct us_calibration *calibration);
/* The algorithm of a unit's convolution in evaluation: 0, or the tile of Winograd. */
int us_evaluation_tile(const struct us_net *net, int unit, int precision);
/* Logits of rows [y0, y1) of a head's map: planes of `rows` rows (n, classes, rows, w >> shift), row y at y % rows. */
int us_head_forward(const struct us_pass *pass, const struct us_head *head, int y0, int y1, const float *weights,
                    const float *bias, float *logits, int rows);

/* The maps of an evaluation. */
const struct us_pass *us_evaluation_pass(const us_evaluation *e);

/* ---- Planes (resample.c): bilinear upsampling by 2 of (h, w) planes and its transpose ---- */

/* Rows of the small plane that row y of the large one is made of: 3/4 of the near one, 1/4 of the far one. */
int us_bilinear_near(int y);
int us_bilinear_far(int y, int h);
void us_row_bilinear(const float *near, const float *far, int w, float *y); /* 2 w values */
void us_plane_bilinear(const float *x, int h, int w, float *y);
void us_plane_bilinear_grad(const float *dy, int h, int w, float *dx);

#endif
