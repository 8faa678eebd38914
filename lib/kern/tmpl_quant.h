/*
 * tmpl_quant.h - the kernels of 8-bit inference over the vectors of the including file (int32 and float) and of
 * pixel16.h (int16 and bytes). ref_quant.c has the matrices.
 *
 * From the including file: vint, VW int32; vw, a vector's share of the weights of a pair of input channels; vp, a pair
 * of inputs in every lane. NV vectors of weights belong together, because NEON takes them apart in twos.
 */
#include "kern/pixel16.h"

enum { QM = 4, QT = 6 };

/* ---- m = v u: px tiles by `cols` vectors of output channels ---- */

static US_INLINE void quant_tile(const struct us_quant_multiply *p, const int16_t *v, const int16_t *u, int32_t *m,
                                 const int px, const int cols) {
    vint acc[TILE_PX][TILE_COLS];

    US_UNROLL
    for (int i = 0; i < px; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            acc[i][j] = vi_zero();
    }
    for (int b = 0; b < p->in_blocks; b++, v += p->v_in, u += TAP) {
        US_ROLLED
        for (int pair = 0; pair < LANES; pair += 2) {
            vw w[TILE_COLS];

            US_UNROLL
            for (int j = 0; j < cols; j += NV)
                vw_load(w + j, u + pair * LANES + (size_t)(j / NV) * p->u_out);
            US_UNROLL
            for (int i = 0; i < px; i++) {
                const vp in = vp_set1(v + i * LANES + pair);

                US_UNROLL
                for (int j = 0; j < cols; j++)
                    acc[i][j] = vi_madd(acc[i][j], in, w, j);
            }
        }
    }
    US_UNROLL
    for (int i = 0; i < px; i++) {
        US_UNROLL
        for (int j = 0; j < cols; j++)
            vi_store(m + i * LANES + COLUMN(j, p->m_out), acc[i][j]);
    }
}

typedef void quant_fn(const struct us_quant_multiply *p, const int16_t *v, const int16_t *u, int32_t *m);

/* clang-format off */
#define X(rows, cols) \
    static US_NOINLINE void quant_##rows##x##cols(const struct us_quant_multiply *p, const int16_t *v, \
                                                  const int16_t *u, int32_t *m) \
    { \
        quant_tile(p, v, u, m, rows, cols); \
    }
PRODUCT_TILES(X)
#undef X

static const struct quant_shape {
    int rows, cols;
    quant_fn *multiply;
} quant_shapes[] = {
#define X(rows, cols) { rows, cols, quant_##rows##x##cols },
    PRODUCT_TILES(X)
#undef X
};
/* clang-format on */

static const struct quant_shape *quant_find(int rows, int cols) {
    const struct quant_shape *s = quant_shapes;

    while (s->rows != rows || s->cols != cols) /* the table has every number of rows up to TILE_PX */
        s++;
    return s;
}

/* Tiles in pieces as even as possible: the first `wider` have one more. */
static void quant_blocks(const struct us_quant_multiply *p, int o, const int cols) {
    const int count = (p->tiles + TILE_PX - 1) / TILE_PX, wider = p->tiles % count;
    const struct quant_shape *narrow = quant_find(p->tiles / count, cols);
    const struct quant_shape *wide = wider ? quant_find(p->tiles / count + 1, cols) : narrow;

    for (int xi = 0; xi < p->taps; xi++) {
        const int16_t *v = p->v + (size_t)xi * p->v_xi;
        const int16_t *u = p->u + (size_t)xi * p->u_xi + (size_t)o * p->u_out;
        int32_t *m = p->m + (size_t)xi * p->m_xi + (size_t)o * p->m_out;

        for (int i = 0; i < count; i++) {
            const struct quant_shape *s = i < wider ? wide : narrow;

            s->multiply(p, v, u, m);
            v += s->rows * LANES;
            m += s->rows * LANES;
        }
    }
}

static void quant_multiply(const struct us_quant_multiply *p) {
    int o = 0;

    for (; o + TILE_BLOCKS <= p->out_blocks; o += TILE_BLOCKS)
        quant_blocks(p, o, TILE_COLS);
    for (; o < p->out_blocks; o++)
        quant_blocks(p, o, NV);
}

/* ---- transforms: between the axes a tile lies on the stack ---- */

static US_INLINE void quant_input_axis(vh *o, const vh *x) {
    const vh e1 = h_sub(x[4], h_times4(x[2])), d1 = h_sub(x[3], h_times4(x[1]));
    const vh e2 = h_sub(x[4], x[2]), d2 = h_double(h_sub(x[3], x[1]));

    o[0] = h_add(h_times4(h_sub(x[0], x[2])), e2);
    o[1] = h_add(e1, d1);
    o[2] = h_sub(e1, d1);
    o[3] = h_add(e2, d2);
    o[4] = h_sub(e2, d2);
    o[5] = h_add(h_times4(h_sub(x[1], x[3])), h_sub(x[5], x[3]));
}

static US_NOINLINE void quant_input(int16_t *v, size_t v_stride, const int16_t *x, size_t row_stride) {
    vh half[QT * QT * HN];

    US_ROLLED
    for (int j = 0; j < QT; j++)
        for (int h = 0; h < HN; h++) {
            vh in[QT], o[QT];

            US_UNROLL
            for (int i = 0; i < QT; i++)
                in[i] = h_load(x + (size_t)i * row_stride + j * LANES + h * HW);
            quant_input_axis(o, in);
            US_UNROLL
            for (int i = 0; i < QT; i++)
                half[(i * QT + j) * HN + h] = o[i];
        }
    US_ROLLED
    for (int i = 0; i < QT; i++)
        for (int h = 0; h < HN; h++) {
            vh in[QT], o[QT];

            US_UNROLL
            for (int j = 0; j < QT; j++)
                in[j] = half[(i * QT + j) * HN + h];
            quant_input_axis(o, in);
            US_UNROLL
            for (int j = 0; j < QT; j++)
                h_store(v + (size_t)(i * QT + j) * v_stride + h * HW, o[j]);
        }
}

static US_INLINE void quant_output_axis(vf *o, const vf *x) {
    const vf s1 = v_add(x[1], x[2]), d1 = v_sub(x[1], x[2]), s2 = v_add(x[3], x[4]), d2 = v_sub(x[3], x[4]);

    o[0] = v_add(v_add(x[0], s1), s2);
    o[1] = v_fma(v_set1(2), d2, d1);
    o[2] = v_fma(v_set1(4), s2, s1);
    o[3] = v_add(v_fma(v_set1(8), d2, d1), x[5]);
}

static US_NOINLINE void quant_output_whole(float *y, size_t row_stride, const int32_t *m, size_t m_stride,
                                           const float *scale, const float *bias) {
    vf half[QM * QT * NV];

    US_ROLLED
    for (int j = 0; j < QT; j++)
        for (int v = 0; v < NV; v++) {
            vf x[QT], o[QM];

            US_UNROLL
            for (int i = 0; i < QT; i++)
                x[i] = v_mul(v_from_int(vi_load(m + (size_t)(i * QT + j) * m_stride + v * VW)),
                             v_load(scale + (i * QT + j) * LANES + v * VW));
            quant_output_axis(o, x);
            US_UNROLL
            for (int i = 0; i < QM; i++)
                half[(i * QT + j) * NV + v] = o[i];
        }
    US_ROLLED
    for (int i = 0; i < QM; i++)
        for (int v = 0; v < NV; v++) {
            const vf b = v_load(bias + v * VW);
            vf x[QT], o[QM];

            US_UNROLL
            for (int j = 0; j < QT; j++)
                x[j] = half[(i * QT + j) * NV + v];
            quant_output_axis(o, x);
            US_UNROLL
            for (int j = 0; j < QM; j++)
                v_store(y + (size_t)i * row_stride + j * LANES + v * VW, v_add(o[j], b));
        }
}

static void quant_output(float *y, size_t row_stride, int rows, int cols, const int32_t *m, size_t m_stride,
                         const float *scale, const float *bias) {
    float tile[QM * QM * LANES];

    if (rows == QM && cols == QM) {
        quant_output_whole(y, row_stride, m, m_stride, scale, bias);
        return;
    }
    quant_output_whole(tile, QM * LANES, m, m_stride, scale, bias);
    for (int i = 0; i < rows; i++)
        memcpy(y + (size_t)i * row_stride, tile + i * QM * LANES, (size_t)cols * LANES * sizeof *y);
}

/* ---- rows ---- */

/* q - zero of a pixel. */
static US_INLINE void quantise_pixel(vint t[NV], const float *x, const struct us_quant *q) {
    US_UNROLL
    for (int j = 0; j < NV; j++) {
        vf v = v_mul(v_load(x + j * VW), v_set1(q->inverse));

        v = v_select(v_ge(v, v), v, v_zero());
        v = v_min(v_max(v, v_set1((float)-q->zero)), v_set1((float)(255 - q->zero)));
        t[j] = vi_nearest(v);
    }
}

static void quant_row(int16_t *dst, const float *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i += LANES) {
        vint t[NV];

        quantise_pixel(t, x + i, q);
        vi_store16(dst + i, t);
    }
}

static void quant_bytes(uint8_t *dst, const float *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i += LANES) {
        vint t[NV];

        quantise_pixel(t, x + i, q);
        US_UNROLL
        for (int j = 0; j < NV; j++)
            t[j] = vi_add(t[j], vi_set1(q->zero));
        vi_store8(dst + i, t);
    }
}

static void dequant_row(float *dst, const uint8_t *x, size_t n, const struct us_quant *q) {
    for (size_t i = 0; i < n * LANES; i += LANES) {
        vint t[NV];

        vi_load8(t, x + i);
        US_UNROLL
        for (int j = 0; j < NV; j++)
            v_store(dst + i + j * VW, v_mul(v_from_int(vi_add(t[j], vi_set1(-q->zero))), v_set1(q->scale)));
    }
}

static void widen_row(int16_t *dst, const uint8_t *x, size_t n, int zero) {
    for (size_t i = 0; i < n * LANES; i += HW)
        h_store(dst + i, h_sub(h_widen(x + i), h_set1(zero)));
}

static void pool_bytes(uint8_t *dst, const uint8_t *top, const uint8_t *bottom, size_t n) {
    for (size_t i = 0; i < n * LANES; i += LANES)
        b_store(dst + i, b_max(b_max(b_load(top + 2 * i), b_load(top + 2 * i + LANES)),
                               b_max(b_load(bottom + 2 * i), b_load(bottom + 2 * i + LANES))));
}
