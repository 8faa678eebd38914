/*
 * tmpl_conv.h - direct convolution, written once over the vectors and tile sizes of the including file.
 *
 * A tile keeps its outputs in registers over the whole of Cin: each step broadcasts one input value per pixel and
 * multiplies it into vectors of output channels, so every output is one chain in the canonical order whatever the tile.
 * A "column" is one vector of output channels: part of one block, or blocks next to each other where a vector is a
 * block.
 */

enum { LANES = US_LANES, TAP = US_LANES * US_LANES };

/* Start of column j, given the distance between blocks. */
#define COLUMN(j, block_stride) ((j) / NV * (block_stride) + (j) % NV * VW)

/*
 * The inner loop: `len` steps along s (broadcast) and w (vectors). A row of a 3x3 kernel is 48 steps for a full block,
 * since the lanes of pixel x + 1 follow those of pixel x just as its weights follow.
 */
static US_INLINE void conv_steps(vf acc[TILE_PX][TILE_COLS], const float *const s[TILE_PX], size_t px_stride,
                                 const float *w, size_t block_stride, int len, const int px, const int rows,
                                 const int cols) {
    for (int k = 0; k < len; k++) {
        vf weight[TILE_COLS];

        US_UNROLL
        for (int j = 0; j < cols; j++)
            weight[j] = v_load(w + (size_t)k * LANES + COLUMN(j, block_stride));
        US_UNROLL
        for (int i = 0; i < px * rows; i++) {
            const vf in = v_set1(s[i / px][(size_t)k + (size_t)(i % px) * px_stride]);

            US_UNROLL
            for (int j = 0; j < cols; j++)
                acc[i][j] = v_fma(in, weight[j], acc[i][j]);
        }
    }
}

/* Outputs of pixels x .. x + px - 1 of rows r .. r + rows - 1, from block o on. Everything after x is a constant. */
static US_INLINE void conv_tile(const struct us_conv *c, int o, int r, int x, const int ksize, const int px,
                                const int rows, const int cols) {
    const size_t in_stride = ksize == 3 ? LANES : (size_t)c->in_step * LANES;
    const size_t out_stride = (size_t)c->out_step * LANES;
    const size_t block_stride = (size_t)c->in_blocks * (size_t)(ksize * ksize * TAP);
    const float *w = c->weights + (size_t)o * block_stride;
    vf acc[TILE_PX][TILE_COLS];

    US_UNROLL
    for (int i = 0; i < px * rows; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            acc[i][j] = v_zero();
    }
    if (c->accumulate) {
        US_UNROLL
        for (int i = 0; i < px * rows; i++) {
            US_UNROLL
            for (int j = 0; j < cols; j++)
                acc[i][j] = v_load(c->out[(o + j / NV) * c->rows + r + i / px] + (size_t)(x + i % px) * out_stride +
                                   j % NV * VW);
        }
    }
    for (int b = 0; b < c->in_blocks; b++) {
        const float *const *in = c->in + b * (c->rows + ksize - 1) + r;
        const int live = b == c->in_blocks - 1 ? c->last_channels : LANES;
        const int runs = live == LANES ? 1 : ksize; /* dead lanes cut a row of the kernel into its taps */
        const int len = live == LANES ? ksize * LANES : live;

        for (int ky = 0; ky < ksize; ky++, w += ksize * TAP)
            for (int run = 0; run < runs; run++) {
                const float *s[TILE_PX];

                US_UNROLL
                for (int i = 0; i < rows; i++)
                    s[i] = in[ky + i] + (size_t)x * in_stride + run * LANES;
                conv_steps(acc, s, in_stride, w + run * TAP, block_stride, len, px, rows, cols);
            }
    }
    US_UNROLL
    for (int i = 0; i < px * rows; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++) {
            vf sum = acc[i][j];

            if (c->last_channels < LANES)
                sum = v_add(sum, v_zero());
            if (c->bias)
                sum = v_add(sum, v_load(c->bias + (size_t)(o + j / NV) * LANES + j % NV * VW));
            v_store(c->out[(o + j / NV) * c->rows + r + i / px] + (size_t)(x + i % px) * out_stride + j % NV * VW, sum);
        }
    }
}

typedef void conv_tile_fn(const struct us_conv *c, int o, int r, int x);

/* clang-format off */
/* One function for every shape: inlined side by side they would spoil each other's registers. */
#define X(ksize, px, rows, cols) \
    static US_NOINLINE void conv##ksize##_##px##x##rows##x##cols(const struct us_conv *c, int o, int r, int x) \
    { \
        conv_tile(c, o, r, x, ksize, px, rows, cols); \
    }
CONV_TILES(X, 3)
CONV_TILES_1(X)
#undef X

static const struct conv_shape {
    int ksize, px, rows, cols;
    conv_tile_fn *fn;
} conv_shapes[] = {
#define X(ksize, px, rows, cols) { ksize, px, rows, cols, conv##ksize##_##px##x##rows##x##cols },
    CONV_TILES(X, 3) CONV_TILES_1(X)
#undef X
};
/* clang-format on */

static const struct conv_shape *conv_find(int ksize, int px, int rows, int cols) {
    for (size_t i = 0; i < sizeof conv_shapes / sizeof *conv_shapes; i++) {
        const struct conv_shape *s = &conv_shapes[i];

        if (s->ksize == ksize && s->px == px && s->rows == rows && s->cols == cols)
            return s;
    }
    return 0;
}

/*
 * A row is cut into the fewest tiles, as even as possible: a tile of one or two pixels has too few chains to hide the
 * latency of an fma. A map narrower than half a tile takes several rows at a time where there is such a tile.
 */
static void conv_block(const struct us_conv *c, int o, const int cols) {
    const int most = c->ksize == 1 ? TILE_PX_1 : TILE_PX, tiles = (c->width + most - 1) / most;
    const int px = c->width / tiles, wider = c->width % tiles; /* the first `wider` tiles have px + 1 pixels */
    conv_tile_fn *const tile = conv_find(c->ksize, px, 1, cols)->fn;
    conv_tile_fn *const wide_tile = wider ? conv_find(c->ksize, px + 1, 1, cols)->fn : tile;
    const struct conv_shape *tall = 0;
    int r = 0;

    if (tiles == 1 && c->ksize == 3)
        tall = conv_find(c->ksize, px, TILE_PX / px, cols);
    if (tall)
        for (; r + tall->rows <= c->rows; r += tall->rows)
            tall->fn(c, o, r, 0);
    for (; r < c->rows; r++) {
        int x = 0;

        for (int i = 0; i < tiles; i++) {
            if (i < wider) {
                wide_tile(c, o, r, x);
                x += px + 1;
            } else {
                tile(c, o, r, x);
                x += px;
            }
        }
    }
}

static void conv(const struct us_conv *c) {
    int o = 0;

    for (; o + TILE_BLOCKS <= c->out_blocks; o += TILE_BLOCKS)
        conv_block(c, o, TILE_COLS);
    for (; o < c->out_blocks; o++) /* the odd block of a level whose tile spans two */
        conv_block(c, o, NV);
}

/*
 * Backward weights: accumulators are `nci` input channels by the kx of one kernel row by the columns; the reduction
 * runs along the pixels of the rows r0 .. r1 - 1. The loads are those of the forward tile, the roles are exchanged.
 */
static US_INLINE void bwdw_tile(const struct us_conv_bwdw *c, int o, int r0, int r1, int ky, int ci, const int ksize,
                                const int nci, const int cols) {
    const size_t in_stride = ksize == 3 ? LANES : (size_t)c->in_step * LANES;
    const size_t dout_stride = (size_t)c->dout_step * LANES;
    float *dw = c->dw + (size_t)o * c->dw_stride + ky * ksize * TAP + ci * LANES;
    vf acc[TILE_PX][TILE_COLS];

    US_UNROLL
    for (int i = 0; i < nci * ksize; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            acc[i][j] = v_load(dw + i % ksize * TAP + i / ksize * LANES + COLUMN(j, c->dw_stride));
    }
    for (int r = r0; r < r1; r++) {
        const float *s = c->in[r + ky] + ci;
        const float *d[TILE_BLOCKS];

        US_UNROLL
        for (int j = 0; j < cols / NV; j++)
            d[j] = c->dout[(o + j) * c->rows + r];
        for (int x = 0; x < c->width; x++) {
            vf grad[TILE_COLS];

            US_UNROLL
            for (int j = 0; j < cols; j++)
                grad[j] = v_load(d[j / NV] + (size_t)x * dout_stride + j % NV * VW);
            US_UNROLL
            for (int i = 0; i < nci * ksize; i++) {
                const vf in = v_set1(s[(size_t)x * in_stride + (size_t)(i % ksize * LANES + i / ksize)]);

                US_UNROLL
                for (int j = 0; j < cols; j++)
                    acc[i][j] = v_fma(in, grad[j], acc[i][j]);
            }
        }
    }
    US_UNROLL
    for (int i = 0; i < nci * ksize; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            v_store(dw + i % ksize * TAP + i / ksize * LANES + COLUMN(j, c->dw_stride), acc[i][j]);
    }
}

typedef void bwdw_tile_fn(const struct us_conv_bwdw *c, int o, int r0, int r1, int ky, int ci);

/* clang-format off */
#define X(ksize, nci, cols) \
    static US_NOINLINE void bwdw##ksize##_##nci##x##cols(const struct us_conv_bwdw *c, int o, int r0, int r1, int ky, \
                                                         int ci) \
    { \
        bwdw_tile(c, o, r0, r1, ky, ci, ksize, nci, cols); \
    }
BWDW_TILES(X)
#undef X

static const struct bwdw_shape {
    int ksize, nci, cols;
    bwdw_tile_fn *fn;
} bwdw_shapes[] = {
#define X(ksize, nci, cols) { ksize, nci, cols, bwdw##ksize##_##nci##x##cols },
    BWDW_TILES(X)
#undef X
};
/* clang-format on */

static void bwdw_block(const struct us_conv_bwdw *c, int o, int r0, int r1, int cols) {
    for (int ky = 0; ky < c->ksize; ky++) {
        const struct bwdw_shape *s = bwdw_shapes;
        int ci = 0;

        while (ci < c->channels) { /* the table goes down to one channel for every ksize and number of columns */
            if (s->ksize == c->ksize && s->cols == cols && s->nci <= c->channels - ci) {
                s->fn(c, o, r0, r1, ky, ci);
                ci += s->nci;
            } else {
                s++;
            }
        }
    }
}

/*
 * The rows are visited once for each tile of channels, so they are taken in chunks that stay in L1; between chunks the
 * sums rest in dw, and a chain is not changed by being stored.
 */
static void conv_bwdw(const struct us_conv_bwdw *c) {
    const int l1_share = 16 * 1024;
    const int row_bytes = c->width * LANES * (int)sizeof(float) * (1 + TILE_BLOCKS);
    const int chunk = row_bytes < l1_share ? l1_share / row_bytes : 1;

    for (int r0 = 0; r0 < c->rows; r0 += chunk) {
        const int r1 = c->rows - r0 < chunk ? c->rows : r0 + chunk;
        int o = 0;

        for (; o + TILE_BLOCKS <= c->out_blocks; o += TILE_BLOCKS)
            bwdw_block(c, o, r0, r1, TILE_COLS);
        for (; o < c->out_blocks; o++)
            bwdw_block(c, o, r0, r1, NV);
    }
}
