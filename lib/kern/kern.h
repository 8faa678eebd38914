/*
 * kern.h - the kernel table: every inner loop of the library, once per instruction set.
 *
 * This room knows nothing of allocation, errors, threads or contexts. A kernel reads and writes exactly the bytes its
 * contract names, never more, and gives the same bits at every level: ref.c is the plain form and the authority, the
 * SIMD files are compared with it by memcmp (tests/kern). Sizes are trusted: the rooms above have checked them.
 *
 * Words used throughout:
 *   lane     one of 16 neighbouring channels (nChw16c). Lanes past the last channel of a map hold +0.
 *   pixel    16 floats: one block of 16 channels at one place. Pointers to pixels are 64-byte aligned.
 *   row      consecutive pixels of one image row and one channel block.
 *   block    index of a group of 16 channels.
 *
 * Arithmetic (docs/determinism.md): vectors run across lanes or outputs, never across a sum, unless a tree is written
 * out below. "fma" is one rounding. "chain" means acc = fma(a, b, acc) in the order given, from the start value given.
 * a*b+c is never contracted by the compiler. max(a,b) is a > b ? a : b. Nothing here calls libm but sqrt, fabs, floor.
 */
#ifndef US_KERN_H
#define US_KERN_H

#include <stddef.h>
#include <stdint.h>

#define US_LANES 16

/* A build for inference only (US_NO_TRAINING) has no kernels of gradients and optimizers: their entries are NULL. */
#ifdef US_NO_TRAINING
#define US_TRAINING 0
#else
#define US_TRAINING 1
#endif

/* Activations; the numbers are those of UNETSTAR_ACTIVATION_* (checked in base). */
enum us_act {
    US_ACT_NONE = 0,
    US_ACT_RELU = 1,       /* 0 > x ? 0 : x          derivative 0 >= x ? 0 : 1               */
    US_ACT_LEAKY_RELU = 2, /* x > 0 ? x : x * slope  derivative x > 0 ? 1 : slope            */
    US_ACT_RELU6 = 3,      /* relu, then t > 6 ? 6 : t; derivative (0 >= x || x >= 6) ? 0 : 1 */
    US_ACT_SILU = 4,       /* x * s, s = 1 / (1 + exp(-x)); derivative s * fma(x, 1 - s, 1)  */
    US_ACT_GELU = 5        /* x * P, P = fma(.5, erf(x * sqrt(.5)), .5); derivative fma(x, p, P), p the density */
};

/* Instruction sets a table may use; bits of the mask given to us_kernels_init. */
enum us_isa {
    US_ISA_FMA = 1 << 0,    /* FMA3 and AVX (x86), with the operating system saving ymm */
    US_ISA_AVX2 = 1 << 1,   /* AVX2 and FMA3, with the operating system saving ymm */
    US_ISA_AVX512 = 1 << 2, /* AVX-512 F, BW, DQ, VL, with the operating system saving zmm */
    US_ISA_NEON = 1 << 3    /* AArch64 Advanced SIMD */
};

/*
 * Convolution of a band of output rows, stride 1, kernel 3x3 (padding 1) or 1x1.
 *
 * out(o, r, x) = [start] + chain over (input block b, ky, kx, input lane ci) of in * weight, then + bias, in that order.
 * start is +0, or what out holds if `accumulate`. Backward-data is the same kernel on flipped, transposed weights.
 *
 * `in` holds row pointers, so that a whole map, a band in scratch and a ring buffer are the same call:
 *   ksize 3: in[b * (rows + 2) + r] is input row (y0 - 1 + r); its first pixel is the one LEFT of the map (x = -1), and
 *            it has width + 2 pixels. The caller provides zero pixels and zero rows where the map ends.
 *   ksize 1: in[b * rows + r] is input row y0 + r; pixel x of the output reads pixel x * in_step of it.
 * out[o * rows + r]: pixel x of the output is written to pixel x * out_step.
 * weights: [out_block][in_block][ky][kx][ci 16][co 16]. bias: [out_block][16] or NULL (then nothing is added).
 * last_channels (1..16): live lanes of the last input block. The others are +0 in map and weights; adding them is the
 * same as adding +0 once at the very end of the chain when last_channels < 16. Every level does that and reads no dead
 * lane, so that a dead lane turned NaN by 0 * inf in a run that has diverged does not show at some levels only.
 */
struct us_conv {
    const float *const *in;
    float *const *out;
    const float *weights;
    const float *bias;
    int rows, width;
    int in_blocks, out_blocks;
    int last_channels;
    int ksize;    /* 1 or 3 */
    int in_step;  /* pixels; 1 when ksize is 3 */
    int out_step; /* pixels */
    int accumulate;
};

/*
 * Backward-weights of ONE input block over a band of rows. For every out block o, tap and lane pair:
 *   dw(o, ky, kx, ci, co) = chain, from what dw holds, over (row r, pixel x) of in(r + ky, x + kx, ci) * dout(o, r, x, co)
 * in: as in us_conv for a single block. dout[o * rows + r]: pixel x at x * dout_step.
 * dw: out block o at dw + o * dw_stride floats, inside [ky][kx][ci 16][co 16]. Only lanes ci < channels are touched.
 */
struct us_conv_bwdw {
    const float *const *in;
    const float *const *dout;
    float *dw;
    size_t dw_stride;
    int rows, width;
    int out_blocks;
    int channels; /* 1..16 live input lanes */
    int ksize, in_step, dout_step;
};

/*
 * The products between Winograd's transforms, for every tap xi < taps, output block o and tile t:
 *   m(xi, o, t, co) = [start] + chain over (input block b, lane ci) of v(xi, b, t, ci) * u(xi, o, b, ci, co)
 * start is +0, or what m holds if `accumulate`. Only the first last_channels lanes of the last input block are read.
 * Strides are floats from one tap (xi), output block (out) or input block (in) to the next; inside u: [b][ci 16][co 16].
 */
struct us_wino_multiply {
    const float *v, *u;
    float *m;
    size_t v_xi, v_in, u_xi, u_out, m_xi, m_out;
    int taps, tiles, in_blocks, out_blocks, last_channels;
    int accumulate;
};

/*
 * And those of the weight gradient, of ONE input block, for every tap, output block and pair of lanes:
 *   du(xi, o, ci, co) = [start] + chain over tiles t of v(xi, t, ci) * d(xi, o, t, co)
 * start is +0, or what du holds if `accumulate`. Lanes ci >= channels are not touched. Inside du: [ci 16][co 16].
 */
struct us_wino_accumulate {
    const float *v, *d;
    float *du;
    size_t v_xi, d_xi, d_out, du_xi, du_out;
    int taps, tiles, out_blocks, channels;
    int accumulate;
};

/*
 * Pixels that are computed while a Winograd transform loads them. Of an operand, u = fma(x, scale, shift), or x where scale is
 * NULL; then, if `relu`, 0 > u ? 0 : u. A pixel is u of `main`, or u of main times or plus u of `skip`. The main part of a
 * product or sum is half as large (nearest upsampling): pixel (i, j) of a tile takes its pixel ((i + 1) / 2, (j + 1) / 2), since
 * a tile begins at an odd row and column. x: the pixel of the tile's first place. scale, shift: 16 floats.
 */
enum us_wino_fusion { US_WINO_MAIN, US_WINO_PRODUCT, US_WINO_SUM };
struct us_wino_operand {
    const float *x;
    size_t row_stride; /* floats */
    const float *scale, *shift;
};
struct us_wino_load {
    struct us_wino_operand main, skip;
    enum us_wino_fusion fusion;
    int relu; /* of both operands */
};

/* One pass of an optimizer over n parameters (n a multiple of 16). g' = g * grad_scale (+ l2 * p when l2 != 0, one fma:
 * fma(l2, p, g')). Then
 *   Adam: m = fma(1-b1, g' - m, m); v = fma(g' * (1-b2), g', v * b2); |m| < 2^-100 and v < 2^-100 become +0;
 *         p = p * decay when decay != 1; p = fma(-step, m / fma(sqrt(v), inv_bias2, eps), p)
 *   SGD:  m = fma(momentum, m, g'); |m| < 2^-100 becomes +0; p = p * decay when decay != 1; p = fma(-step, m, p)
 * All constants are floats computed once by the caller. */
struct us_optim_consts {
    float grad_scale, l2, decay, step;
    float one_minus_beta1, beta2, one_minus_beta2, inv_bias2, eps; /* Adam */
    float momentum;                                                /* SGD */
};

/*
 * 8-bit inference. A byte q stands for the value (q - zero) * scale, 0 <= zero <= 255. What enters a convolution is the
 * int16 q - zero, so that the value 0 is 0; it goes through Winograd's F(4x4, 3x3) with the integer points 0, +-1, +-2,
 * infinity, exactly: |V| <= 100 * 255, and the products of V with int16 weights are added up in int32. The caller has
 * scaled the weights so that no sum of products, whole or in part, can leave int32. Integer additions are exact in any
 * order.
 */
struct us_quant {
    float scale, inverse; /* > 0, finite; inverse is 1 / scale, rounded once */
    int zero;             /* 0..255 */
};

/*
 * The products between the integer transforms, for every tap xi < taps, output block o and tile t:
 *   m(xi, o, t, co) = sum over (input block b, lane ci) of v(xi, b, t, ci) * u(xi, o, b, ci, co)
 * Strides are elements from one tap (xi), output block (out) or input block (in) to the next. Inside u, input channels come in
 * pairs: [b][ci / 2][co 16][ci % 2]. All lanes are read.
 */
struct us_quant_multiply {
    const int16_t *v, *u;
    int32_t *m;
    size_t v_xi, v_in, u_xi, u_out, m_xi, m_out;
    int taps, tiles, in_blocks, out_blocks;
};

struct us_kernels {
    const char *name; /* "reference", "reference+fma", "avx2", "avx512", "neon" */

    void (*conv)(const struct us_conv *c);
    void (*conv_bwdw)(const struct us_conv_bwdw *c);

    /* The weights of backward-data: [ky][kx][ci][co] to [2 - ky][2 - kx][co][ci], one pair of blocks of a 3x3 convolution. */
    void (*conv_flip)(float *flipped, const float *weights);

    /* Every channel's own kernel along a row of n pixels, ksize 1 or 3: dst[x] = chain from bias (NULL: +0) over ky, kx of
     * in[ky][x + kx] * weights[ky * ksize + kx], lane by lane. weights: [tap][16]. */
    void (*depthwise)(float *dst, const float *const *in, size_t n, const float *weights, const float *bias, int ksize);
    /* Its weight gradient, 3x3: dw[ky * 3 + kx] = chain along the row, from +0, of in[ky][x + kx] * dout[x]. */
    void (*depthwise_bwdw)(float *dw, const float *const *in, const float *dout, size_t n);

    /* How this level likes its products: output blocks side by side, and about so many tiles at once, so that the
     * transformed data of a block of tiles stays in the L2 cache. Neither changes a bit. */
    int wino_group, wino_batch;
    void (*wino_multiply)(const struct us_wino_multiply *p);
    void (*wino_accumulate)(const struct us_wino_accumulate *p);

    /*
     * Winograd F(m x m, 3x3), m = 2, 4 or 6, 16 lanes at once. A transformed tile has t x t values, t = m + 2, numbered
     * xi = row * t + column. Points: m = 2: 0, +-1, infinity; m = 4: 0, +-1/sqrt2, +-sqrt2, infinity; m = 6: 0, +-1, +-2,
     * +-1/2, infinity. The order of every addition is that of the reference: the left matrix first, then the right one. Strides
     * are floats from one xi (or tap, or image row) to the next.
     */
    /* v[xi] = B^T x B of the t x t pixels at x. */
    void (*wino_input)(int m, float *v, size_t v_stride, const float *x, size_t row_stride);
    /* The same for m = 6 of t x t pixels that are first computed as `load` says. */
    void (*wino_input_load)(float *v, size_t v_stride, const struct us_wino_load *load);
    /* y = A^T M A + bias (NULL: nothing added); only the first rows x cols of the m x m pixels are written. */
    void (*wino_output)(int m, float *y, size_t row_stride, int rows, int cols, const float *mm, size_t m_stride,
                        const float *bias);
    /* d[xi] = A dy A^T of m x m pixels, those outside rows x cols being +0 (and not read). */
    void (*wino_gradient)(int m, float *d, size_t d_stride, const float *dy, size_t row_stride, int rows, int cols);
    /* u[xi] = G w G^T of nine taps. */
    void (*wino_weights)(int m, float *u, size_t u_stride, const float *w, size_t w_stride);
    /* dw[tap] = G^T dU G. */
    void (*wino_weights_grad)(int m, float *dw, size_t dw_stride, const float *du, size_t du_stride);

    /* 8 bits (struct us_quant says what they mean). How this level likes its products: output blocks side by side, and about so
     * many tiles at once. */
    int quant_group, quant_batch;
    void (*quant_multiply)(const struct us_quant_multiply *p);
    /* v[xi] = B^T x B, exact in int16, of the 6 x 6 pixels of 16 int16 at x, each in [-255, 255]. Strides are elements. Along an
     * axis   4 x0 - 5 x2 + x4,   (x4 - 4 x2) +- (x3 - 4 x1),   (x4 - x2) +- 2 (x3 - x1),   4 x1 - 5 x3 + x5. */
    void (*quant_input)(int16_t *v, size_t v_stride, const int16_t *x, size_t row_stride);
    /* y = A^T F A + bias, F[xi] = (float)m[xi] * scale[xi], two roundings; only the first rows x cols of the 4 x 4 pixels of
     * floats are written. scale: [xi 36][16], bias: [16]. The left matrix first; along an axis, with s1, d1 = x1 +- x2 and
     * s2, d2 = x3 +- x4:   (x0 + s1) + s2,   fma(2, d2, d1),   fma(4, s2, s1),   fma(8, d2, d1) + x5. */
    void (*quant_output)(float *y, size_t row_stride, int rows, int cols, const int32_t *m, size_t m_stride,
                         const float *scale, const float *bias);
    /* n pixels: t = x * inverse; NaN becomes 0; clamped to [-zero, 255 - zero]; rounded to the nearest integer, ties to even.
     * dst = t (quant_row) or t + zero (quant_bytes). */
    void (*quant_row)(int16_t *dst, const float *x, size_t n, const struct us_quant *q);
    void (*quant_bytes)(uint8_t *dst, const float *x, size_t n, const struct us_quant *q);
    /* dst = (float)(x - zero) * scale, and dst = x - zero. */
    void (*dequant_row)(float *dst, const uint8_t *x, size_t n, const struct us_quant *q);
    void (*widen_row)(int16_t *dst, const uint8_t *x, size_t n, int zero);
    /* 2x2 maxima of two rows of 2n pixels of bytes. */
    void (*pool_bytes)(uint8_t *dst, const uint8_t *top, const uint8_t *bottom, size_t n);

    /* n is a number of pixels unless said otherwise; dst may equal src exactly, else nothing overlaps. */

    /* dst = act(u), u = fma(x, scale, shift) per lane; scale NULL: u = x. scale, shift: 16 floats. */
    void (*affine_act)(float *dst, const float *x, size_t n, const float *scale, const float *shift, int act, float slope);
    /* dst = grad * act'(u), u as above (RELU, RELU6: a select between grad and +0; LEAKY: grad or grad * slope). */
    void (*act_grad)(float *dst, const float *grad, const float *x, size_t n, const float *scale, const float *shift,
                     int act, float slope);

    /* 2x2 max pooling of two rows of 2n pixels into n: the first maximum in the order t0 t1 b0 b1 wins, m = b > m ? b : m.
     * It is taken of u = fma(x, scale, shift) lane by lane, or x where scale is NULL, after a ReLU if `relu`. */
    void (*pool)(float *dst, const float *top, const float *bottom, size_t n, const float *scale, const float *shift,
                 int relu);
    /* dtop / dbottom += grad at the first maximum of each window (lane by lane); the others are left as they are. Unless
     * `accumulate`: as if both rows held +0 before. */
    void (*pool_grad)(float *dtop, float *dbottom, const float *top, const float *bottom, const float *grad, size_t n,
                      const float *scale, const float *shift, int relu, int accumulate);

    /* Nearest: dst has 2n pixels, dst[2x] = dst[2x+1] = src[x]. */
    void (*up_nearest)(float *dst, const float *src, size_t n);
    /* dst[x] = (t[2x] + t[2x+1]) + (b[2x] + b[2x+1]), n pixels of dst. */
    void (*up_nearest_grad)(float *dst, const float *top, const float *bottom, size_t n);
    /* Bilinear, factor 2, align_corners off: with v[x] = fma(0.25, far[x], 0.75 * near[x]) (rounded in that order),
     * dst[2x] = fma(0.25, v[max(x-1,0)], 0.75 * v[x]), dst[2x+1] = fma(0.25, v[min(x+1,n-1)], 0.75 * v[x]).
     * tmp: n pixels of scratch. */
    void (*up_bilinear)(float *dst, const float *near, const float *far, size_t n, float *tmp);
    /* Transpose of the horizontal step, for one output row g of 2n pixels: h[x] = chain from +0 of the contributions in the
     * order of the output pixels 2x-1 (.25), 2x (.75, plus .25 for x = 0), 2x+1 (.75, plus .25 for x = n-1), 2x+2 (.25);
     * an edge pixel takes its .75 and then its .25 term of the same output. Then dst[x] = fma(weight, h[x], dst[x]). */
    void (*up_bilinear_grad)(float *dst, const float *g, size_t n, float weight);

    void (*add)(float *dst, const float *a, const float *b, size_t n); /* dst = a + b; dst may equal a or b */
    void (*mul)(float *dst, const float *a, const float *b, size_t n); /* dst = a * b; dst may equal a or b */

    /* Per row sums for the norms. For each of `rows` rows (row r at x + r * stride floats, n pixels), lane by lane, with
     * d = x - shift: sums[r*32 + lane] = ((d0 + d1) + d2) + ... from +0, sums[r*32 + 16 + lane] = chain of d * d. */
    void (*row_moments)(float *sums, const float *x, size_t rows, size_t n, size_t stride, const float *shift);
    /* Likewise sums of g, and chain of g * (x - mean). g and x share the stride. */
    void (*row_moments_grad)(float *sums, const float *g, const float *x, size_t rows, size_t n, size_t stride,
                             const float *mean);
    /* dst = fma(k0, g, fma(mean - x, k2, -k1)), lane by lane constants of 16 floats. (Never the negative of an fma: gcc
     * makes one instruction of it, which gives an exact cancellation the other sign of zero.) */
    void (*norm_grad)(float *dst, const float *g, const float *x, size_t n, const float *mean, const float *k0,
                      const float *k1, const float *k2);

    /* 1x1 head of a row. in[b]: n pixels of block b. out[c]: n plain floats, one a pixel. weights [class][block][16].
     * lane l: chain over b of in * w from +0; then the tree t8 = l + (l+8), t4 = l + (l+4), t2 = l + (l+2), t1 = 0 + 1;
     * then + bias[c]. */
    void (*head)(float *const *out, const float *const *in, const float *weights, const float *bias, int blocks,
                 int classes, size_t n);
    /* din[b][x][l] = [start] chain over classes c of dlogit[c][x] * w[c][b][l]; start is +0, or what din holds if accumulate. */
    void (*head_grad_data)(float *const *din, const float *const *dlogit, const float *weights, int blocks, int classes,
                           size_t n, int accumulate);
    /* dw[c][b][l] = chain along the row, from +0, of dlogit[c][x] * in[b][x][l]; db[c] = chain of dlogit[c][x] * 1. */
    void (*head_grad_weights)(float *dw, float *db, const float *const *in, const float *const *dlogit, int blocks,
                              int classes, size_t n);

    /* n floats, n <= 4096: 16 virtual lanes, lane l takes x[l], x[l+16], ... as a chain of x * x from +0; the lanes are
     * then added by the tree of `head`. A tail shorter than 16 leaves the other lanes as they are. */
    float (*block_sum_squares)(const float *x, size_t n);

    /* n floats, a multiple of 16 */
    void (*adam)(float *p, const float *g, float *m, float *v, size_t n, const struct us_optim_consts *c);
    void (*sgd)(float *p, const float *g, float *m, size_t n, const struct us_optim_consts *c);
};

/* Fills the table for the given instruction sets (bits of us_isa that this CPU has and the caller allows), as a ladder:
 * reference, reference compiled with FMA, AVX2, AVX-512, NEON. Returns 0, or -1 when an object of this build was compiled
 * with contraction of a*b+c (then nothing it computes could be trusted). Thread safe, no state. */
int us_kernels_init(struct us_kernels *k, unsigned isa);

#endif
