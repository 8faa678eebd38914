/*
 * tmpl_wino.h - the Winograd transforms over the vectors of the including file. Matrices and points: ref_wino.c.
 *
 * Every (transform, m) is a function of its own, never inlined into another: side by side they spill. One axis of one
 * vector of lanes is done in registers. Between the two axes the tile lies on the stack, which is L1; to unroll both
 * and leave the choice to the compiler costs a quarter more, most of it for saved addresses.
 */
#define WINO_MAX_T 8

/* ---- one axis: the additions of ref_wino.c in the same order ---- */

static US_INLINE void wino_input_axis(const int m, vf *o, const vf *x) {
    if (m == 2) {
        o[0] = v_sub(x[0], x[2]);
        o[1] = v_add(x[2], x[1]);
        o[2] = v_sub(x[2], x[1]);
        o[3] = v_sub(x[3], x[1]);
    } else if (m == 4) {
        const vf p = v_set1(0x1.6a09e6p-1f), q = v_set1(0x1.6a09e6p+0f);
        vf e, d;

        o[0] = v_fnma(v_set1(2.5f), x[2], v_add(x[0], x[4]));
        e = v_fnma(v_set1(2), x[2], x[4]);
        d = v_fnma(v_set1(2), x[1], x[3]);
        o[1] = v_fma(p, d, e);
        o[2] = v_fnma(p, d, e);
        e = v_fnma(v_set1(0.5f), x[2], x[4]);
        d = v_fnma(v_set1(0.5f), x[1], x[3]);
        o[3] = v_fma(q, d, e);
        o[4] = v_fnma(q, d, e);
        o[5] = v_fnma(v_set1(2.5f), x[3], v_add(x[1], x[5]));
    } else {
        const vf x24 = v_sub(x[2], x[4]), x64 = v_sub(x[6], x[4]);
        const vf x13 = v_sub(x[1], x[3]), x53 = v_sub(x[5], x[3]);
        vf e, d;

        o[0] = v_fnma(v_set1(5.25f), x24, v_sub(x[0], x[6]));
        e = v_fnma(v_set1(4.25f), x[4], v_add(x[2], x[6]));
        d = v_fnma(v_set1(4.25f), x[3], v_add(x[1], x[5]));
        o[1] = v_add(e, d);
        o[2] = v_sub(e, d);
        e = v_fma(v_set1(0.25f), x24, x64);
        d = v_fma(v_set1(0.25f), x13, x53);
        o[3] = v_fma(v_set1(2), d, e);
        o[4] = v_fnma(v_set1(2), d, e);
        e = v_fma(v_set1(0.25f), x64, x24);
        d = v_fma(v_set1(0.25f), x53, x13);
        o[5] = v_fma(v_set1(0.5f), d, e);
        o[6] = v_fnma(v_set1(0.5f), d, e);
        o[7] = v_fnma(v_set1(5.25f), x53, v_sub(x[7], x[1]));
    }
}

static US_INLINE void wino_output_axis(const int m, vf *o, const vf *x) {
    const vf s1 = v_add(x[1], x[2]), d1 = v_sub(x[1], x[2]);

    if (m == 2) {
        o[0] = v_add(x[0], s1);
        o[1] = v_add(x[3], d1);
    } else {
        const vf s2 = v_add(x[3], x[4]), d2 = v_sub(x[3], x[4]);

        if (m == 4) {
            const vf p = v_set1(0x1.6a09e6p-1f), q = v_set1(0x1.6a09e6p+0f);

            o[0] = v_fma(v_set1(2), s1, v_add(x[0], s2));
            o[1] = v_mul(q, v_add(d1, d2));
            o[2] = v_fma(v_set1(2), s2, s1);
            o[3] = v_fma(p, d1, v_fma(v_set1(0x1.6a09e6p+1f), d2, x[5]));
        } else {
            const vf s3 = v_add(x[5], x[6]), d3 = v_sub(x[5], x[6]);

            o[0] = v_fma(v_set1(32), s3, v_add(v_add(x[0], s1), s2));
            o[1] = v_fma(v_set1(16), d3, v_fma(v_set1(2), d2, d1));
            o[2] = v_fma(v_set1(8), s3, v_fma(v_set1(4), s2, s1));
            o[3] = v_fma(v_set1(4), d3, v_fma(v_set1(8), d2, d1));
            o[4] = v_fma(v_set1(2), s3, v_fma(v_set1(16), s2, s1));
            o[5] = v_fma(v_set1(32), d2, v_add(v_add(x[7], d1), d3));
        }
    }
}

static US_INLINE void wino_gradient_axis(const int m, vf *o, const vf *x) {
    vf e, d;

    o[0] = x[0];
    o[m + 1] = x[m - 1];
    if (m == 2) {
        o[1] = v_add(x[0], x[1]);
        o[2] = v_sub(x[0], x[1]);
    } else if (m == 4) {
        const vf q = v_set1(0x1.6a09e6p+0f);

        e = v_fma(v_set1(2), x[0], x[2]);
        d = v_fma(v_set1(0.5f), x[3], x[1]);
        o[1] = v_fma(q, d, e);
        o[2] = v_fnma(q, d, e);
        e = v_fma(v_set1(2), x[2], x[0]);
        d = v_fma(v_set1(2), x[3], x[1]);
        o[3] = v_fma(q, d, e);
        o[4] = v_fnma(q, d, e);
    } else {
        e = v_add(v_add(x[0], x[2]), x[4]);
        d = v_add(v_add(x[1], x[3]), x[5]);
        o[1] = v_add(e, d);
        o[2] = v_sub(e, d);
        e = v_fma(v_set1(16), x[4], v_fma(v_set1(4), x[2], x[0]));
        d = v_fma(v_set1(16), x[5], v_fma(v_set1(4), x[3], x[1]));
        o[3] = v_fma(v_set1(2), d, e);
        o[4] = v_fnma(v_set1(2), d, e);
        e = v_fma(v_set1(16), x[0], v_fma(v_set1(4), x[2], x[4]));
        d = v_fma(v_set1(16), x[1], v_fma(v_set1(4), x[3], x[5]));
        o[5] = v_fma(v_set1(2), e, d);
        o[6] = v_fms(v_set1(2), e, d);
    }
}

static US_INLINE void wino_weights_axis(const int m, vf *o, const vf *x) {
    vf e, k;

    o[0] = x[0];
    o[m + 1] = x[2];
    if (m == 2) {
        k = v_set1(0.5f);
        e = v_mul(k, v_add(x[0], x[2]));
        o[1] = v_fma(k, x[1], e);
        o[2] = v_fnma(k, x[1], e);
    } else if (m == 4) {
        k = v_set1(0x1.e2b7dep-3f); /* sqrt(2) / 6 */
        e = v_mul(v_set1(-0x1.555556p-2f), v_fma(v_set1(0.5f), x[2], x[0]));
        o[1] = v_fnma(k, x[1], e);
        o[2] = v_fma(k, x[1], e);
        e = v_mul(v_set1(0x1.555556p-3f), v_fma(v_set1(2), x[2], x[0]));
        o[3] = v_fma(k, x[1], e);
        o[4] = v_fnma(k, x[1], e);
    } else {
        k = v_set1(0x1.c71c72p-3f); /* 2/9 */
        e = v_mul(v_set1(-0x1.c71c72p-3f), v_add(x[0], x[2]));
        o[1] = v_fnma(k, x[1], e);
        o[2] = v_fma(k, x[1], e);
        k = v_set1(0x1.6c16c2p-6f); /* 1/45 */
        e = v_mul(v_set1(0x1.6c16c2p-7f), v_fma(v_set1(4), x[2], x[0]));
        o[3] = v_fma(k, x[1], e);
        o[4] = v_fnma(k, x[1], e);
        e = v_mul(k, v_fma(v_set1(4), x[0], x[2]));
        k = v_set1(0x1.6c16c2p-5f);
        o[5] = v_fma(k, x[1], e);
        o[6] = v_fnma(k, x[1], e);
    }
}

static US_INLINE void wino_weights_grad_axis(const int m, vf *o, const vf *x) {
    const vf s1 = v_add(x[1], x[2]), d1 = v_sub(x[1], x[2]);

    if (m == 2) {
        o[0] = v_fma(v_set1(0.5f), s1, x[0]);
        o[1] = v_mul(v_set1(0.5f), d1);
        o[2] = v_fma(v_set1(0.5f), s1, x[3]);
    } else {
        const vf s2 = v_add(x[3], x[4]), d2 = v_sub(x[3], x[4]);

        if (m == 4) {
            o[0] = v_fma(v_set1(0x1.555556p-3f), v_fnma(v_set1(2), s1, s2), x[0]);
            o[1] = v_mul(v_set1(0x1.e2b7dep-3f), v_sub(d2, d1));
            o[2] = v_fma(v_set1(0x1.555556p-2f), v_fnma(v_set1(0.5f), s1, s2), x[5]);
        } else {
            const vf s3 = v_add(x[5], x[6]), d3 = v_sub(x[5], x[6]), k = v_set1(0x1.6c16c2p-6f);

            o[0] = v_fma(v_set1(0x1.6c16c2p-7f), v_fnma(v_set1(20), s1, v_fma(v_set1(8), s3, s2)), x[0]);
            o[1] = v_mul(k, v_fnma(v_set1(10), d1, v_fma(v_set1(2), d3, d2)));
            o[2] = v_fma(k, v_fnma(v_set1(10), s1, v_fma(v_set1(2), s2, s3)), x[7]);
        }
    }
}

/* ---- two axes ---- */

enum wino_transform { WINO_INPUT, WINO_OUTPUT, WINO_GRADIENT, WINO_WEIGHTS, WINO_WEIGHTS_GRAD };

static US_INLINE void wino_axis(const enum wino_transform which, const int m, vf *o, const vf *x) {
    if (which == WINO_INPUT)
        wino_input_axis(m, o, x);
    else if (which == WINO_OUTPUT)
        wino_output_axis(m, o, x);
    else if (which == WINO_GRADIENT)
        wino_gradient_axis(m, o, x);
    else if (which == WINO_WEIGHTS)
        wino_weights_axis(m, o, x);
    else
        wino_weights_grad_axis(m, o, x);
}

/* The second axis, and the way out: pixel (i, j) is written to dst + i * dst_row + j * dst_col. bias may be NULL. The
 * unrolled loops have fixed bounds, since clang unrolls them before it has inlined this function and knows n_in and n_out. */
static US_INLINE void wino_second_axis(const enum wino_transform which, const int m, float *dst, size_t dst_row,
                                       size_t dst_col, const int n_out, const vf *half, const int n_in,
                                       const float *bias) {
    for (int i = 0; i < n_out; i++)
        for (int v = 0; v < NV; v++) {
            const vf b = bias ? v_load(bias + v * VW) : v_zero();
            float *to = dst + (size_t)i * dst_row + v * VW;
            vf x[WINO_MAX_T], o[WINO_MAX_T];

            US_UNROLL
            for (int j = 0; j < WINO_MAX_T; j++)
                if (j < n_in)
                    x[j] = half[(i * n_in + j) * NV + v];
            wino_axis(which, m, o, x);
            US_UNROLL
            for (int j = 0; j < WINO_MAX_T; j++)
                if (j < n_out)
                    v_store(to + (size_t)j * dst_col, bias ? v_add(o[j], b) : o[j]);
        }
}

/* Pixel (i, j) of src is at src + i * src_row + j * src_col. */
static US_INLINE void wino_tile(const enum wino_transform which, const int m, float *dst, size_t dst_row,
                                size_t dst_col, const int n_out, const float *src, size_t src_row, size_t src_col,
                                const int n_in, const float *bias) {
    vf half[WINO_MAX_T * WINO_MAX_T * NV];

    for (int j = 0; j < n_in; j++)
        for (int v = 0; v < NV; v++) {
            const float *from = src + (size_t)j * src_col + v * VW;
            vf x[WINO_MAX_T], o[WINO_MAX_T];

            US_UNROLL
            for (int i = 0; i < WINO_MAX_T; i++)
                if (i < n_in)
                    x[i] = v_load(from + (size_t)i * src_row);
            wino_axis(which, m, o, x);
            US_UNROLL
            for (int i = 0; i < WINO_MAX_T; i++)
                if (i < n_out)
                    half[(i * n_in + j) * NV + v] = o[i];
        }
    wino_second_axis(which, m, dst, dst_row, dst_col, n_out, half, n_in, bias);
}

/* ---- input pixels computed while they are loaded ---- */

static US_INLINE void wino_load_tile(const enum us_wino_fusion fusion, const int relu, const int m, float *dst,
                                     size_t dst_col, const struct us_wino_load *load) {
    const int t = m + 2;
    const size_t main_row = load->main.row_stride, skip_row = load->skip.row_stride;
    vf half[WINO_MAX_T * WINO_MAX_T * NV];

    for (int v = 0; v < NV; v++) {
        const struct affine main = affine_lanes(load->main.scale, load->main.shift, v);
        const struct affine skip = affine_lanes(load->skip.scale, load->skip.shift, v);

        for (int j = 0; j < t; j++) {
            const float *from = load->main.x + (size_t)(fusion == US_WINO_MAIN ? j : (j + 1) / 2) * LANES + v * VW;
            const float *other = fusion == US_WINO_MAIN ? from : load->skip.x + (size_t)j * LANES + v * VW;
            vf x[WINO_MAX_T], o[WINO_MAX_T];

            US_UNROLL
            for (int i = 0; i < WINO_MAX_T; i++) {
                if (i >= t)
                    continue;
                if (fusion == US_WINO_MAIN)
                    x[i] = affine_load(&main, relu, from + (size_t)i * main_row);
                else if (i == 0 || i % 2) /* a row of its own; the next one is the same */
                    x[i] = affine_load(&main, relu, from + (size_t)((i + 1) / 2) * main_row);
                else
                    x[i] = x[i - 1];
            }
            US_UNROLL
            for (int i = 0; i < WINO_MAX_T; i++)
                if (i < t && fusion == US_WINO_PRODUCT)
                    x[i] = v_mul(x[i], affine_load(&skip, relu, other + (size_t)i * skip_row));
                else if (i < t && fusion == US_WINO_SUM)
                    x[i] = v_add(x[i], affine_load(&skip, relu, other + (size_t)i * skip_row));
            wino_input_axis(m, o, x);
            US_UNROLL
            for (int i = 0; i < WINO_MAX_T; i++)
                if (i < t)
                    half[(i * t + j) * NV + v] = o[i];
        }
    }
    wino_second_axis(WINO_INPUT, m, dst, (size_t)t * dst_col, dst_col, t, half, t, NULL);
}

#define WINO_FUNCTIONS(m)                                                                                              \
    static US_NOINLINE void wino_input_##m(float *v, size_t v_stride, const float *x, size_t row_stride) {             \
        wino_tile(WINO_INPUT, m, v, (m + 2) * v_stride, v_stride, m + 2, x, row_stride, LANES, m + 2, NULL);           \
    }                                                                                                                  \
    static US_NOINLINE void wino_output_##m(float *y, size_t row_stride, const float *mm, size_t m_stride,             \
                                            const float *bias) {                                                       \
        wino_tile(WINO_OUTPUT, m, y, row_stride, LANES, m, mm, (m + 2) * m_stride, m_stride, m + 2, bias);             \
    }                                                                                                                  \
    static US_NOINLINE void wino_gradient_##m(float *d, size_t d_stride, const float *dy, size_t row_stride) {         \
        wino_tile(WINO_GRADIENT, m, d, (m + 2) * d_stride, d_stride, m + 2, dy, row_stride, LANES, m, NULL);           \
    }                                                                                                                  \
    static US_NOINLINE void wino_weights_##m(float *u, size_t u_stride, const float *w, size_t w_stride) {             \
        wino_tile(WINO_WEIGHTS, m, u, (m + 2) * u_stride, u_stride, m + 2, w, 3 * w_stride, w_stride, 3, NULL);        \
    }                                                                                                                  \
    static US_NOINLINE void wino_weights_grad_##m(float *dw, size_t dw_stride, const float *du, size_t du_stride) {    \
        wino_tile(WINO_WEIGHTS_GRAD, m, dw, 3 * dw_stride, dw_stride, 3, du, (m + 2) * du_stride, du_stride, m + 2,    \
                  NULL);                                                                                               \
    }

WINO_FUNCTIONS(2)
WINO_FUNCTIONS(4)
WINO_FUNCTIONS(6)

#define WINO_LOAD_FUNCTION(name, fusion, relu)                                                                         \
    static US_NOINLINE void wino_##name(float *v, size_t v_stride, const struct us_wino_load *load) {                  \
        wino_load_tile(fusion, relu, 6, v, v_stride, load);                                                            \
    }

WINO_LOAD_FUNCTION(main, US_WINO_MAIN, 0)
WINO_LOAD_FUNCTION(product, US_WINO_PRODUCT, 0)
WINO_LOAD_FUNCTION(sum, US_WINO_SUM, 0)
WINO_LOAD_FUNCTION(main_relu, US_WINO_MAIN, 1)
WINO_LOAD_FUNCTION(product_relu, US_WINO_PRODUCT, 1)
WINO_LOAD_FUNCTION(sum_relu, US_WINO_SUM, 1)

/* ---- the entries ---- */

static void wino_input(int m, float *v, size_t v_stride, const float *x, size_t row_stride) {
    if (m == 2)
        wino_input_2(v, v_stride, x, row_stride);
    else if (m == 4)
        wino_input_4(v, v_stride, x, row_stride);
    else
        wino_input_6(v, v_stride, x, row_stride);
}

static void wino_input_load(float *v, size_t v_stride, const struct us_wino_load *load) {
    static void (*const functions[2][3])(float *, size_t, const struct us_wino_load *) = {
        {wino_main, wino_product, wino_sum}, {wino_main_relu, wino_product_relu, wino_sum_relu}};

    functions[load->relu != 0][load->fusion](v, v_stride, load);
}

static void wino_output_whole(int m, float *y, size_t row_stride, const float *mm, size_t m_stride, const float *bias) {
    if (m == 2)
        wino_output_2(y, row_stride, mm, m_stride, bias);
    else if (m == 4)
        wino_output_4(y, row_stride, mm, m_stride, bias);
    else
        wino_output_6(y, row_stride, mm, m_stride, bias);
}

/* No bias is a bias of -0, which leaves every value as it is. */
static void wino_output(int m, float *y, size_t row_stride, int rows, int cols, const float *mm, size_t m_stride,
                        const float *bias) {
    static const float nothing[LANES] = {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f,
                                         -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f};

    if (!bias)
        bias = nothing;
    if (rows == m && cols == m) {
        wino_output_whole(m, y, row_stride, mm, m_stride, bias);
    } else {
        float tile[6 * 6 * LANES];

        wino_output_whole(m, tile, (size_t)m * LANES, mm, m_stride, bias);
        for (int i = 0; i < rows; i++)
            memcpy(y + (size_t)i * row_stride, tile + i * m * LANES, (size_t)cols * LANES * sizeof *y);
    }
}

static void wino_gradient_whole(int m, float *d, size_t d_stride, const float *dy, size_t row_stride) {
    if (m == 2)
        wino_gradient_2(d, d_stride, dy, row_stride);
    else if (m == 4)
        wino_gradient_4(d, d_stride, dy, row_stride);
    else
        wino_gradient_6(d, d_stride, dy, row_stride);
}

static void wino_gradient(int m, float *d, size_t d_stride, const float *dy, size_t row_stride, int rows, int cols) {
    if (rows == m && cols == m) {
        wino_gradient_whole(m, d, d_stride, dy, row_stride);
    } else {
        float tile[6 * 6 * LANES];

        memset(tile, 0, (size_t)(m * m) * LANES * sizeof *tile);
        for (int i = 0; i < rows; i++)
            memcpy(tile + i * m * LANES, dy + (size_t)i * row_stride, (size_t)cols * LANES * sizeof *tile);
        wino_gradient_whole(m, d, d_stride, tile, (size_t)m * LANES);
    }
}

static void wino_weights(int m, float *u, size_t u_stride, const float *w, size_t w_stride) {
    if (m == 2)
        wino_weights_2(u, u_stride, w, w_stride);
    else if (m == 4)
        wino_weights_4(u, u_stride, w, w_stride);
    else
        wino_weights_6(u, u_stride, w, w_stride);
}

static void wino_weights_grad(int m, float *dw, size_t dw_stride, const float *du, size_t du_stride) {
    if (m == 2)
        wino_weights_grad_2(dw, dw_stride, du, du_stride);
    else if (m == 4)
        wino_weights_grad_4(dw, dw_stride, du, du_stride);
    else
        wino_weights_grad_6(dw, dw_stride, du, du_stride);
}
