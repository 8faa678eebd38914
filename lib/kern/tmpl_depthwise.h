/*
 * tmpl_depthwise.h - convolution of every channel with its own kernel, and its weight gradient, over the vectors of the
 * including file. The taps of one vector of channels stay in registers along the row.
 */

static US_INLINE void depthwise_lanes(float *dst, const float *const *in, size_t n, const float *weights, const vf bias,
                                      const int ksize) {
    vf w[9];

    US_UNROLL
    for (int tap = 0; tap < ksize * ksize; tap++)
        w[tap] = v_load(weights + tap * LANES);
    for (size_t i = 0; i < n * LANES; i += LANES) {
        vf acc = bias;

        US_UNROLL
        for (int tap = 0; tap < ksize * ksize; tap++)
            acc = v_fma(v_load(in[tap / ksize] + i + tap % ksize * LANES), w[tap], acc);
        v_store(dst + i, acc);
    }
}

static void depthwise(float *dst, const float *const *in, size_t n, const float *weights, const float *bias,
                      int ksize) {
    for (int j = 0; j < NV; j++) {
        const vf start = bias ? v_load(bias + j * VW) : v_zero();
        const float *rows[3] = {in[0] + j * VW};

        for (int ky = 1; ky < ksize; ky++)
            rows[ky] = in[ky] + j * VW;
        if (ksize == 3)
            depthwise_lanes(dst + j * VW, rows, n, weights + j * VW, start, 3);
        else
            depthwise_lanes(dst + j * VW, rows, n, weights + j * VW, start, 1);
    }
}

static void depthwise_bwdw(float *dw, const float *const *in, const float *dout, size_t n) {
    for (int j = 0; j < NV; j++) {
        const float *const top = in[0] + j * VW, *const middle = in[1] + j * VW, *const bottom = in[2] + j * VW;
        vf acc[9];

        US_UNROLL
        for (int tap = 0; tap < 9; tap++)
            acc[tap] = v_zero();
        for (size_t i = 0; i < n * LANES; i += LANES) {
            const vf d = v_load(dout + i + j * VW);

            US_UNROLL
            for (int kx = 0; kx < 3; kx++) {
                acc[kx] = v_fma(v_load(top + i + kx * LANES), d, acc[kx]);
                acc[3 + kx] = v_fma(v_load(middle + i + kx * LANES), d, acc[3 + kx]);
                acc[6 + kx] = v_fma(v_load(bottom + i + kx * LANES), d, acc[6 + kx]);
            }
        }
        US_UNROLL
        for (int tap = 0; tap < 9; tap++)
            v_store(dw + tap * LANES + j * VW, acc[tap]);
    }
}
