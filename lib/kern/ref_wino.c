/*
 * ref_wino.c - the Winograd transforms F(m x m, 3x3) in their plain form; like ref.c the authority on every bit, and
 * like it compiled twice.
 *
 * Along one axis, m outputs of a correlation of t = m + 2 values d with three taps g are  A^T ((G g) .* (B^T d)).
 * Rows of the matrices belong to points p (Toom and Cook): evaluate two polynomials there, multiply, interpolate.
 *
 *     column p of A^T   1, p, p^2, ...                infinity: 0, ..., 0, 1
 *     row p of G        (1, p, p^2) / N(p)            infinity: 0, 0, 1
 *     row p of B^T      coefficients of the product of (x - q) over the finite points q other than p
 *     N(p)              that product at x = p
 *
 * A column of A^T may be multiplied by any number and the row of G or B^T divided by it. That freedom is used so that
 * B^T and A^T hold exact floats only (but for one factor sqrt(2) when m = 4) and few of them; what cannot be exact, the
 * thirds and fifths of N, is in G. The rows of p and -p differ in the sign of the odd powers: they share the even part
 * e and the odd part o, and are e + o and e - o. In the comments s and d are sum and difference of such a pair.
 *
 * In two dimensions the matrix on the left comes first (it combines the rows of a tile), then the one on the right.
 */
#include "kern/levels.h"
#include "kern/scalar.h"

#ifdef US_REFERENCE_FMA
#define US_WINO us_wino_reference_fma
#else
#define US_WINO us_wino_reference
#endif

enum { LANES = US_LANES, MAX_T = 8, MAX_TILE = MAX_T * MAX_T };

typedef float pixel[LANES];

/* A transform along one axis, all lanes alike. */
typedef void transform(pixel *restrict o, const pixel *restrict x);

/* ---- m = 2: points 0, 1, -1, infinity ----
 *
 *   B^T =  1  0 -1  0      G =  1   0   0      A^T = 1  1  1  0
 *          0  1  1  0          1/2 1/2 1/2           0  1 -1  1
 *          0 -1  1  0          1/2-1/2 1/2
 *          0 -1  0  1           0   0   1
 */
static void input_2(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        o[0][l] = x[0][l] - x[2][l];
        o[1][l] = x[2][l] + x[1][l];
        o[2][l] = x[2][l] - x[1][l];
        o[3][l] = x[3][l] - x[1][l];
    }
}

static void output_2(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        o[0][l] = x[0][l] + (x[1][l] + x[2][l]);
        o[1][l] = x[3][l] + (x[1][l] - x[2][l]);
    }
}

static void gradient_2(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        o[0][l] = x[0][l];
        o[1][l] = x[0][l] + x[1][l];
        o[2][l] = x[0][l] - x[1][l];
        o[3][l] = x[1][l];
    }
}

static void weights_2(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float e = 0.5f * (x[0][l] + x[2][l]);

        o[0][l] = x[0][l];
        o[1][l] = us_fma(0.5f, x[1][l], e);
        o[2][l] = us_fma(-0.5f, x[1][l], e);
        o[3][l] = x[2][l];
    }
}

static void weights_grad_2(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float s = x[1][l] + x[2][l], d = x[1][l] - x[2][l];

        o[0][l] = us_fma(0.5f, s, x[0][l]);
        o[1][l] = 0.5f * d;
        o[2][l] = us_fma(0.5f, s, x[3][l]);
    }
}

/* ---- m = 4: points 0, p, -p, q, -q, infinity with p = 1/sqrt(2), q = sqrt(2) ----
 *
 * Columns 1 and 2 of A^T are doubled. The even parts are rational and the odd parts are q times something rational; in
 * any result q appears squared, so the rounding of q enters as a relative error of 2^-25. p = q / 2 as floats too.
 *
 *   B^T =  1   0 -5/2  0   1   0      G =   1    0    0       A^T = 1   2   2   1   1   0
 *          0 -2p  -2   p   1   0          -1/3 -p/3 -1/6            0   q  -q   q  -q   0
 *          0  2p  -2  -p   1   0          -1/3  p/3 -1/6            0   1   1   2   2   0
 *          0  -p -1/2  q   1   0           1/6  q/6  1/3            0   p  -p  2q -2q   1
 *          0   p -1/2 -q   1   0           1/6 -q/6  1/3
 *          0   1   0 -5/2  0   1            0    0    1
 */
static const float root2 = 0x1.6a09e6p+0f;       /* q */
static const float half_root2 = 0x1.6a09e6p-1f;  /* p */
static const float root2_sixth = 0x1.e2b7dep-3f; /* q / 6 = p / 3 */
static const float third = 0x1.555556p-2f, sixth = 0x1.555556p-3f;

static void input_4(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float ep = us_fma(-2, x[2][l], x[4][l]), op = us_fma(-2, x[1][l], x[3][l]);
        const float eq = us_fma(-0.5f, x[2][l], x[4][l]), oq = us_fma(-0.5f, x[1][l], x[3][l]);

        o[0][l] = us_fma(-2.5f, x[2][l], x[0][l] + x[4][l]);
        o[1][l] = us_fma(half_root2, op, ep);
        o[2][l] = us_fma(-half_root2, op, ep);
        o[3][l] = us_fma(root2, oq, eq);
        o[4][l] = us_fma(-root2, oq, eq);
        o[5][l] = us_fma(-2.5f, x[3][l], x[1][l] + x[5][l]);
    }
}

static void output_4(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float sp = x[1][l] + x[2][l], dp = x[1][l] - x[2][l];
        const float sq = x[3][l] + x[4][l], dq = x[3][l] - x[4][l];

        o[0][l] = us_fma(2, sp, x[0][l] + sq);
        o[1][l] = root2 * (dp + dq);
        o[2][l] = us_fma(2, sq, sp);
        o[3][l] = us_fma(half_root2, dp, us_fma(2 * root2, dq, x[5][l]));
    }
}

static void gradient_4(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float ep = us_fma(2, x[0][l], x[2][l]), op = us_fma(0.5f, x[3][l], x[1][l]);
        const float eq = us_fma(2, x[2][l], x[0][l]), oq = us_fma(2, x[3][l], x[1][l]);

        o[0][l] = x[0][l];
        o[1][l] = us_fma(root2, op, ep);
        o[2][l] = us_fma(-root2, op, ep);
        o[3][l] = us_fma(root2, oq, eq);
        o[4][l] = us_fma(-root2, oq, eq);
        o[5][l] = x[3][l];
    }
}

static void weights_4(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float ep = -third * us_fma(0.5f, x[2][l], x[0][l]);
        const float eq = sixth * us_fma(2, x[2][l], x[0][l]);

        o[0][l] = x[0][l];
        o[1][l] = us_fma(-root2_sixth, x[1][l], ep);
        o[2][l] = us_fma(root2_sixth, x[1][l], ep);
        o[3][l] = us_fma(root2_sixth, x[1][l], eq);
        o[4][l] = us_fma(-root2_sixth, x[1][l], eq);
        o[5][l] = x[2][l];
    }
}

static void weights_grad_4(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float sp = x[1][l] + x[2][l], dp = x[1][l] - x[2][l];
        const float sq = x[3][l] + x[4][l], dq = x[3][l] - x[4][l];

        o[0][l] = us_fma(sixth, us_fma(-2, sp, sq), x[0][l]);
        o[1][l] = root2_sixth * (dq - dp);
        o[2][l] = us_fma(third, us_fma(-0.5f, sp, sq), x[5][l]);
    }
}

/* ---- m = 6: points 0, 1, -1, 2, -2, 1/2, -1/2, infinity ----
 *
 * Rows 5 and 6 of B^T are divided by 4, columns 5 and 6 of A^T multiplied by 32; what is left of N is in G.
 *
 *   B^T =  1    0 -21/4    0  21/4    0  -1  0    G =   1     0     0      A^T = 1  1  1  1  1 32 32  0
 *          0    1    1  -17/4 -17/4   1   1  0        -2/9  -2/9  -2/9           0  1 -1  2 -2 16-16  0
 *          0   -1    1   17/4 -17/4  -1   1  0        -2/9   2/9  -2/9           0  1  1  4  4  8  8  0
 *          0  1/2   1/4  -5/2  -5/4   2   1  0        1/90  1/45  2/45           0  1 -1  8 -8  4 -4  0
 *          0 -1/2   1/4   5/2  -5/4  -2   1  0        1/90 -1/45  2/45           0  1  1 16 16  2  2  0
 *          0  1/2    1   -5/8  -5/4  1/8 1/4 0        4/45  2/45  1/45           0  1 -1 32-32  1 -1  1
 *          0 -1/2    1    5/8  -5/4 -1/8 1/4 0        4/45 -2/45  1/45
 *          0   -1    0   21/4    0 -21/4  0  1          0     0     1
 */
static const float ninths2 = 0x1.c71c72p-3f; /* 2/9 */
static const float one_45th = 0x1.6c16c2p-6f, one_90th = 0x1.6c16c2p-7f;

static void input_6(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float x24 = x[2][l] - x[4][l], x64 = x[6][l] - x[4][l];
        const float x13 = x[1][l] - x[3][l], x53 = x[5][l] - x[3][l];
        const float e1 = us_fma(-4.25f, x[4][l], x[2][l] + x[6][l]), o1 = us_fma(-4.25f, x[3][l], x[1][l] + x[5][l]);
        const float e2 = us_fma(0.25f, x24, x64), o2 = us_fma(0.25f, x13, x53);
        const float eh = us_fma(0.25f, x64, x24), oh = us_fma(0.25f, x53, x13);

        o[0][l] = us_fma(-5.25f, x24, x[0][l] - x[6][l]);
        o[1][l] = e1 + o1;
        o[2][l] = e1 - o1;
        o[3][l] = us_fma(2, o2, e2);
        o[4][l] = us_fma(-2, o2, e2);
        o[5][l] = us_fma(0.5f, oh, eh);
        o[6][l] = us_fma(-0.5f, oh, eh);
        o[7][l] = us_fma(-5.25f, x53, x[7][l] - x[1][l]);
    }
}

static void output_6(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float s1 = x[1][l] + x[2][l], d1 = x[1][l] - x[2][l];
        const float s2 = x[3][l] + x[4][l], d2 = x[3][l] - x[4][l];
        const float sh = x[5][l] + x[6][l], dh = x[5][l] - x[6][l];

        o[0][l] = us_fma(32, sh, (x[0][l] + s1) + s2);
        o[1][l] = us_fma(16, dh, us_fma(2, d2, d1));
        o[2][l] = us_fma(8, sh, us_fma(4, s2, s1));
        o[3][l] = us_fma(4, dh, us_fma(8, d2, d1));
        o[4][l] = us_fma(2, sh, us_fma(16, s2, s1));
        o[5][l] = us_fma(32, d2, (x[7][l] + d1) + dh);
    }
}

static void gradient_6(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float e1 = (x[0][l] + x[2][l]) + x[4][l], o1 = (x[1][l] + x[3][l]) + x[5][l];
        const float e2 = us_fma(16, x[4][l], us_fma(4, x[2][l], x[0][l]));
        const float o2 = us_fma(16, x[5][l], us_fma(4, x[3][l], x[1][l]));
        const float eh = us_fma(16, x[0][l], us_fma(4, x[2][l], x[4][l])); /* half of the even part */
        const float oh = us_fma(16, x[1][l], us_fma(4, x[3][l], x[5][l]));

        o[0][l] = x[0][l];
        o[1][l] = e1 + o1;
        o[2][l] = e1 - o1;
        o[3][l] = us_fma(2, o2, e2);
        o[4][l] = us_fma(-2, o2, e2);
        o[5][l] = us_fma(2, eh, oh);
        o[6][l] = us_fma(2, eh, -oh);
        o[7][l] = x[5][l];
    }
}

static void weights_6(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float e1 = -ninths2 * (x[0][l] + x[2][l]);
        const float e2 = one_90th * us_fma(4, x[2][l], x[0][l]);
        const float eh = one_45th * us_fma(4, x[0][l], x[2][l]);

        o[0][l] = x[0][l];
        o[1][l] = us_fma(-ninths2, x[1][l], e1);
        o[2][l] = us_fma(ninths2, x[1][l], e1);
        o[3][l] = us_fma(one_45th, x[1][l], e2);
        o[4][l] = us_fma(-one_45th, x[1][l], e2);
        o[5][l] = us_fma(2 * one_45th, x[1][l], eh);
        o[6][l] = us_fma(-2 * one_45th, x[1][l], eh);
        o[7][l] = x[2][l];
    }
}

static void weights_grad_6(pixel *restrict o, const pixel *restrict x) {
    for (int l = 0; l < LANES; l++) {
        const float s1 = x[1][l] + x[2][l], d1 = x[1][l] - x[2][l];
        const float s2 = x[3][l] + x[4][l], d2 = x[3][l] - x[4][l];
        const float sh = x[5][l] + x[6][l], dh = x[5][l] - x[6][l];

        o[0][l] = us_fma(one_90th, us_fma(-20, s1, us_fma(8, sh, s2)), x[0][l]);
        o[1][l] = one_45th * us_fma(-10, d1, us_fma(2, dh, d2));
        o[2][l] = us_fma(one_45th, us_fma(-10, s1, us_fma(2, s2, sh)), x[7][l]);
    }
}

/* ---- two dimensions ---- */

/* From n_in x n_in to n_out x n_out: first along every column, then along every row. */
static void both_axes(transform *f, pixel *out, int n_out, const pixel *in, int n_in) {
    pixel half[MAX_TILE], column[MAX_T], result[MAX_T];

    for (int j = 0; j < n_in; j++) {
        for (int i = 0; i < n_in; i++)
            memcpy(column[i], in[i * n_in + j], sizeof(pixel));
        f(result, (const pixel *)column);
        for (int i = 0; i < n_out; i++)
            memcpy(half[i * n_in + j], result[i], sizeof(pixel));
    }
    for (int i = 0; i < n_out; i++)
        f(&out[i * n_out], (const pixel *)&half[i * n_in]);
}

static void gather(pixel *tile, int n, const float *src, size_t stride) {
    for (int i = 0; i < n; i++)
        memcpy(tile[i], src + (size_t)i * stride, sizeof(pixel));
}

static void scatter(float *dst, size_t stride, const pixel *tile, int n) {
    for (int i = 0; i < n; i++)
        memcpy(dst + (size_t)i * stride, tile[i], sizeof(pixel));
}

static void wino_input(int m, float *v, size_t v_stride, const float *x, size_t row_stride) {
    const int t = m + 2;
    pixel in[MAX_TILE], out[MAX_TILE];

    for (int i = 0; i < t; i++)
        gather(&in[i * t], t, x + (size_t)i * row_stride, LANES);
    both_axes(m == 2 ? input_2 : m == 4 ? input_4 : input_6, out, t, (const pixel *)in, t);
    scatter(v, v_stride, (const pixel *)out, t * t);
}

/* Pixel (i, j) of an operand, whose own size is 1 / `part` of the tile's. */
static void load_pixel(float *u, const struct us_wino_operand *o, int relu, int i, int j, int part) {
    const float *x = o->x + (size_t)((i + part - 1) / part) * o->row_stride + (j + part - 1) / part * LANES;

    for (int l = 0; l < LANES; l++) {
        u[l] = o->scale ? us_fma(x[l], o->scale[l], o->shift[l]) : x[l];
        if (relu)
            u[l] = 0 > u[l] ? 0 : u[l];
    }
}

static void wino_input_load(float *v, size_t v_stride, const struct us_wino_load *load) {
    const int t = 8, fused = load->fusion != US_WINO_MAIN;
    pixel tile[MAX_TILE];

    for (int i = 0; i < t; i++)
        for (int j = 0; j < t; j++) {
            float *u = tile[i * t + j];
            pixel skip;

            load_pixel(u, &load->main, load->relu, i, j, fused ? 2 : 1);
            if (!fused)
                continue;
            load_pixel(skip, &load->skip, load->relu, i, j, 1);
            for (int l = 0; l < LANES; l++)
                u[l] = load->fusion == US_WINO_SUM ? u[l] + skip[l] : u[l] * skip[l];
        }
    wino_input(6, v, v_stride, tile[0], (size_t)t * LANES);
}

static void wino_output(int m, float *y, size_t row_stride, int rows, int cols, const float *mm, size_t m_stride,
                        const float *bias) {
    const int t = m + 2;
    pixel in[MAX_TILE], out[MAX_TILE];

    gather(in, t * t, mm, m_stride);
    both_axes(m == 2 ? output_2 : m == 4 ? output_4 : output_6, out, m, (const pixel *)in, t);
    if (bias)
        for (int i = 0; i < m * m; i++)
            for (int l = 0; l < LANES; l++)
                out[i][l] += bias[l];
    for (int i = 0; i < rows; i++)
        scatter(y + (size_t)i * row_stride, LANES, (const pixel *)&out[i * m], cols);
}

static void wino_gradient(int m, float *d, size_t d_stride, const float *dy, size_t row_stride, int rows, int cols) {
    pixel in[MAX_TILE], out[MAX_TILE];

    memset(in, 0, sizeof in);
    for (int i = 0; i < rows; i++)
        gather(&in[i * m], cols, dy + (size_t)i * row_stride, LANES);
    both_axes(m == 2 ? gradient_2 : m == 4 ? gradient_4 : gradient_6, out, m + 2, (const pixel *)in, m);
    scatter(d, d_stride, (const pixel *)out, (m + 2) * (m + 2));
}

static void wino_weights(int m, float *u, size_t u_stride, const float *w, size_t w_stride) {
    pixel in[MAX_TILE], out[MAX_TILE];

    gather(in, 9, w, w_stride);
    both_axes(m == 2 ? weights_2 : m == 4 ? weights_4 : weights_6, out, m + 2, (const pixel *)in, 3);
    scatter(u, u_stride, (const pixel *)out, (m + 2) * (m + 2));
}

static void wino_weights_grad(int m, float *dw, size_t dw_stride, const float *du, size_t du_stride) {
    pixel in[MAX_TILE], out[MAX_TILE];

    gather(in, (m + 2) * (m + 2), du, du_stride);
    both_axes(m == 2 ? weights_grad_2 : m == 4 ? weights_grad_4 : weights_grad_6, out, 3, (const pixel *)in, m + 2);
    scatter(dw, dw_stride, (const pixel *)out, 9);
}

static void wino_multiply(const struct us_wino_multiply *p) {
    for (int xi = 0; xi < p->taps; xi++)
        for (int o = 0; o < p->out_blocks; o++)
            for (int t = 0; t < p->tiles; t++) {
                float *m = p->m + xi * p->m_xi + o * p->m_out + t * LANES;
                const float *u = p->u + xi * p->u_xi + o * p->u_out;
                float acc[LANES] = {0};

                if (p->accumulate)
                    memcpy(acc, m, sizeof acc);
                for (int b = 0; b < p->in_blocks; b++, u += LANES * LANES) {
                    const float *v = p->v + xi * p->v_xi + b * p->v_in + t * LANES;
                    const int live = b == p->in_blocks - 1 ? p->last_channels : LANES;

                    for (int ci = 0; ci < live; ci++)
                        for (int co = 0; co < LANES; co++)
                            acc[co] = us_fma(v[ci], u[ci * LANES + co], acc[co]);
                }
                memcpy(m, acc, sizeof acc);
            }
}

static void wino_accumulate(const struct us_wino_accumulate *p) {
    for (int xi = 0; xi < p->taps; xi++)
        for (int o = 0; o < p->out_blocks; o++)
            for (int ci = 0; ci < p->channels; ci++) {
                float *du = p->du + xi * p->du_xi + o * p->du_out + ci * LANES;

                if (!p->accumulate)
                    memset(du, 0, LANES * sizeof *du);
                for (int t = 0; t < p->tiles; t++) {
                    const float v = p->v[xi * p->v_xi + t * LANES + ci];
                    const float *d = p->d + xi * p->d_xi + o * p->d_out + t * LANES;

                    for (int co = 0; co < LANES; co++)
                        du[co] = us_fma(v, d[co], du[co]);
                }
            }
}

int US_WINO(struct us_kernels *k) {
    if (us_contracted())
        return -1;
    k->wino_input = wino_input;
    k->wino_input_load = wino_input_load;
    k->wino_output = wino_output;
    k->wino_weights = wino_weights;
    k->wino_group = 1;
    k->wino_batch = 16;
    k->wino_multiply = wino_multiply;
    if (US_TRAINING) {
        k->wino_gradient = wino_gradient;
        k->wino_weights_grad = wino_weights_grad;
        k->wino_accumulate = wino_accumulate;
    }
    return 0;
}
