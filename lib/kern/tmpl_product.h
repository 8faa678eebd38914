/*
 * tmpl_product.h - the products between Winograd's transforms: a small matrix product for every tap. The registers are
 * used as by the direct convolution (tmpl_conv.h), whose inner loops these are.
 */

/* ---- m = v u: px tiles by `cols` vectors of output channels ---- */

static US_INLINE void multiply_tile(const struct us_wino_multiply *p, const float *v, const float *u, float *m,
                                    const int px, const int cols) {
    vf acc[TILE_PX][TILE_COLS];

    US_UNROLL
    for (int i = 0; i < px; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            acc[i][j] = v_zero();
    }
    if (p->accumulate) {
        US_UNROLL
        for (int i = 0; i < px; i++) {
            US_UNROLL
            for (int j = 0; j < cols; j++)
                acc[i][j] = v_load(m + i * LANES + COLUMN(j, p->m_out));
        }
    }
    for (int b = 0; b < p->in_blocks; b++, v += p->v_in, u += TAP) {
        const float *const s[TILE_PX] = {v};

        conv_steps(acc, s, LANES, u, p->u_out, b == p->in_blocks - 1 ? p->last_channels : LANES, px, 1, cols);
    }
    US_UNROLL
    for (int i = 0; i < px; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            v_store(m + i * LANES + COLUMN(j, p->m_out), acc[i][j]);
    }
}

typedef void multiply_fn(const struct us_wino_multiply *p, const float *v, const float *u, float *m);

/* clang-format off */
#define X(px, cols) \
    static US_NOINLINE void multiply_##px##x##cols(const struct us_wino_multiply *p, const float *v, const float *u, \
                                                   float *m) \
    { \
        multiply_tile(p, v, u, m, px, cols); \
    }
PRODUCT_TILES(X)
#undef X

static const struct multiply_shape {
    int px, cols;
    multiply_fn *fn;
} multiply_shapes[] = {
#define X(px, cols) { px, cols, multiply_##px##x##cols },
    PRODUCT_TILES(X)
#undef X
};
/* clang-format on */

static multiply_fn *multiply_find(int px, int cols) {
    size_t i = 0;

    while (multiply_shapes[i].px != px || multiply_shapes[i].cols != cols) /* the table has every px up to TILE_PX */
        i++;
    return multiply_shapes[i].fn;
}

/* The tiles are cut as evenly as the pixels of a direct convolution are, and for the same reason. */
static void multiply_blocks(const struct us_wino_multiply *p, int o, const int cols) {
    const int pieces = (p->tiles + TILE_PX - 1) / TILE_PX;
    const int px = p->tiles / pieces, wider = p->tiles % pieces;
    multiply_fn *const narrow_tile = multiply_find(px, cols);
    multiply_fn *const wide_tile = wider ? multiply_find(px + 1, cols) : narrow_tile;

    for (int xi = 0; xi < p->taps; xi++) {
        const float *v = p->v + (size_t)xi * p->v_xi;
        const float *u = p->u + (size_t)xi * p->u_xi + (size_t)o * p->u_out;
        float *m = p->m + (size_t)xi * p->m_xi + (size_t)o * p->m_out;
        int t = 0;

        for (int i = 0; i < pieces; i++) {
            if (i < wider) {
                wide_tile(p, v + t * LANES, u, m + t * LANES);
                t += px + 1;
            } else {
                narrow_tile(p, v + t * LANES, u, m + t * LANES);
                t += px;
            }
        }
    }
}

static void wino_multiply(const struct us_wino_multiply *p) {
    int o = 0;

    for (; o + TILE_BLOCKS <= p->out_blocks; o += TILE_BLOCKS)
        multiply_blocks(p, o, TILE_COLS);
    for (; o < p->out_blocks; o++)
        multiply_blocks(p, o, NV);
}

/* ---- du = v^T d: nci input channels by `cols` vectors of output channels, a chain over the tiles ---- */

static US_INLINE void accumulate_tile(const struct us_wino_accumulate *p, const float *v, const float *d, float *du,
                                      const int nci, const int cols) {
    vf acc[TILE_PX][TILE_COLS];

    US_UNROLL
    for (int i = 0; i < nci; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            acc[i][j] = v_zero();
    }
    if (p->accumulate) {
        US_UNROLL
        for (int i = 0; i < nci; i++) {
            US_UNROLL
            for (int j = 0; j < cols; j++)
                acc[i][j] = v_load(du + i * LANES + COLUMN(j, p->du_out));
        }
    }
    for (int t = 0; t < p->tiles; t++) {
        vf grad[TILE_COLS];

        US_UNROLL
        for (int j = 0; j < cols; j++)
            grad[j] = v_load(d + (size_t)t * LANES + COLUMN(j, p->d_out));
        US_UNROLL
        for (int i = 0; i < nci; i++) {
            const vf in = v_set1(v[(size_t)t * LANES + i]);

            US_UNROLL
            for (int j = 0; j < cols; j++)
                acc[i][j] = v_fma(in, grad[j], acc[i][j]);
        }
    }
    US_UNROLL
    for (int i = 0; i < nci; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            v_store(du + i * LANES + COLUMN(j, p->du_out), acc[i][j]);
    }
}

typedef void accumulate_fn(const struct us_wino_accumulate *p, const float *v, const float *d, float *du);

/* clang-format off */
#define X(nci, cols) \
    static US_NOINLINE void accumulate_##nci##x##cols(const struct us_wino_accumulate *p, const float *v, \
                                                      const float *d, float *du) \
    { \
        accumulate_tile(p, v, d, du, nci, cols); \
    }
PRODUCT_TILES(X)
#undef X

static const struct accumulate_shape {
    int nci, cols;
    accumulate_fn *fn;
} accumulate_shapes[] = {
#define X(nci, cols) { nci, cols, accumulate_##nci##x##cols },
    PRODUCT_TILES(X)
#undef X
};
/* clang-format on */

static accumulate_fn *accumulate_find(int nci, int cols) {
    size_t i = 0;

    while (accumulate_shapes[i].nci != nci || accumulate_shapes[i].cols != cols)
        i++;
    return accumulate_shapes[i].fn;
}

static void accumulate_blocks(const struct us_wino_accumulate *p, int o, const int cols) {
    const int pieces = (p->channels + TILE_PX - 1) / TILE_PX;
    const int nci = p->channels / pieces, wider = p->channels % pieces;
    accumulate_fn *const narrow_tile = accumulate_find(nci, cols);
    accumulate_fn *const wide_tile = wider ? accumulate_find(nci + 1, cols) : narrow_tile;

    for (int xi = 0; xi < p->taps; xi++) {
        const float *v = p->v + (size_t)xi * p->v_xi;
        const float *d = p->d + (size_t)xi * p->d_xi + (size_t)o * p->d_out;
        float *du = p->du + (size_t)xi * p->du_xi + (size_t)o * p->du_out;
        int ci = 0;

        for (int i = 0; i < pieces; i++) {
            if (i < wider) {
                wide_tile(p, v + ci, d, du + ci * LANES);
                ci += nci + 1;
            } else {
                narrow_tile(p, v + ci, d, du + ci * LANES);
                ci += nci;
            }
        }
    }
}

static void wino_accumulate(const struct us_wino_accumulate *p) {
    int o = 0;

    for (; o + TILE_BLOCKS <= p->out_blocks; o += TILE_BLOCKS)
        accumulate_blocks(p, o, TILE_COLS);
    for (; o < p->out_blocks; o++)
        accumulate_blocks(p, o, NV);
}
