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

/* ---- one function for every shape ---- */

typedef void multiply_fn(const struct us_wino_multiply *p, const float *v, const float *u, float *m);
typedef void accumulate_fn(const struct us_wino_accumulate *p, const float *v, const float *d, float *du);

/* clang-format off */
#define X(rows, cols) \
    static US_NOINLINE void multiply_##rows##x##cols(const struct us_wino_multiply *p, const float *v, const float *u, \
                                                     float *m) \
    { \
        multiply_tile(p, v, u, m, rows, cols); \
    } \
    static US_NOINLINE void accumulate_##rows##x##cols(const struct us_wino_accumulate *p, const float *v, \
                                                       const float *d, float *du) \
    { \
        accumulate_tile(p, v, d, du, rows, cols); \
    }
PRODUCT_TILES(X)
#undef X

static const struct product_shape {
    int rows, cols;
    multiply_fn *multiply;
    accumulate_fn *accumulate;
} product_shapes[] = {
#define X(rows, cols) { rows, cols, multiply_##rows##x##cols, US_TRAINING ? accumulate_##rows##x##cols : 0 },
    PRODUCT_TILES(X)
#undef X
};
/* clang-format on */

static const struct product_shape *product_find(int rows, int cols) {
    const struct product_shape *s = product_shapes;

    while (s->rows != rows || s->cols != cols) /* the table has every number of rows up to TILE_PX */
        s++;
    return s;
}

/* n rows in pieces as even as those of a direct convolution, and for the same reason: the first `wider` have one row
 * more. */
struct product_pieces {
    int count, wider;
    const struct product_shape *wide, *narrow;
};

static struct product_pieces product_cut(int n, int cols) {
    struct product_pieces c;

    c.count = (n + TILE_PX - 1) / TILE_PX;
    c.wider = n % c.count;
    c.narrow = product_find(n / c.count, cols);
    c.wide = c.wider ? product_find(n / c.count + 1, cols) : c.narrow;
    return c;
}

static void multiply_blocks(const struct us_wino_multiply *p, int o, const int cols) {
    const struct product_pieces c = product_cut(p->tiles, cols);

    for (int xi = 0; xi < p->taps; xi++) {
        const float *v = p->v + (size_t)xi * p->v_xi;
        const float *u = p->u + (size_t)xi * p->u_xi + (size_t)o * p->u_out;
        float *m = p->m + (size_t)xi * p->m_xi + (size_t)o * p->m_out;

        for (int i = 0; i < c.count; i++) {
            const struct product_shape *s = i < c.wider ? c.wide : c.narrow;

            s->multiply(p, v, u, m);
            v += s->rows * LANES;
            m += s->rows * LANES;
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

static void accumulate_blocks(const struct us_wino_accumulate *p, int o, const int cols) {
    const struct product_pieces c = product_cut(p->channels, cols);

    for (int xi = 0; xi < p->taps; xi++) {
        const float *v = p->v + (size_t)xi * p->v_xi;
        const float *d = p->d + (size_t)xi * p->d_xi + (size_t)o * p->d_out;
        float *du = p->du + (size_t)xi * p->du_xi + (size_t)o * p->du_out;

        for (int i = 0; i < c.count; i++) {
            const struct product_shape *s = i < c.wider ? c.wide : c.narrow;

            s->accumulate(p, v, d, du);
            v += s->rows;
            du += s->rows * LANES;
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
