/* patch_noise.c - what a camera does to a picture, on a patch: blur and noise. */
#include "data/data.h"

#include <math.h>

/* ---- Blur ---- */

#define RADIUS_MAX 12 /* 3 US_BLUR_MAX */
#define COLUMNS 16    /* done at once, so that columns are not walked one by one */

struct filter {
    float weight[RADIUS_MAX + 1]; /* of the middle and of each pair around it */
    int radius;
};

static void make_filter(struct filter *f, double deviation) {
    double raw[RADIUS_MAX + 1], sum = 1;
    int k;
    f->radius = (int)US_MIN(floor(3.0 * deviation) + 1.0, (double)RADIUS_MAX);
    raw[0] = 1;
    for (k = 1; k <= f->radius; k++) {
        raw[k] = us_exp(-0.5 * (k / deviation) * (k / deviation));
        sum += 2 * raw[k];
    }
    for (k = 0; k <= f->radius; k++)
        f->weight[k] = (float)(raw[k] / sum);
}

/* `lanes` neighbouring lines of n values in place, value k of a line being line[k * step]. The last values that were
 * overwritten are kept beside. */
static void filter_lines(const struct filter *f, float *line, int64_t n, int64_t step, int lanes) {
    float old[RADIUS_MAX + 1][COLUMNS], sum[COLUMNS];
    const int r = f->radius, slots = RADIUS_MAX + 1;
    int64_t k;
    int d, c;
    for (k = 0; k < n; k++) {
        for (c = 0; c < lanes; c++) {
            old[k % slots][c] = line[k * step + c];
            sum[c] = line[k * step + c] * f->weight[0];
        }
        for (d = 1; d <= r; d++) {
            const float *before = old[US_MAX(k - d, 0) % slots], *after = line + US_MIN(k + d, n - 1) * step;
            if (k == n - 1) /* the last value of all stands for what follows it */
                after = old[k % slots];
            for (c = 0; c < lanes; c++)
                sum[c] += (before[c] + after[c]) * f->weight[d];
        }
        for (c = 0; c < lanes; c++)
            line[k * step + c] = sum[c];
    }
}

void us_patch_blur(const struct us_patch_part *part, double deviation) {
    const int64_t n = part->j1 - part->j0, rows = part->i1 - part->i0;
    struct filter f;
    int64_t i, j;
    int c;
    if (!(deviation > 0) || n < 1 || rows < 1)
        return;
    make_filter(&f, deviation);
    for (c = 0; c < part->channels; c++) {
        float *x = part->x + ((c * part->h) + part->i0) * part->w + part->j0;
        for (i = 0; i < rows; i++)
            filter_lines(&f, x + i * part->w, n, 1, 1);
        for (j = 0; j < n; j += COLUMNS)
            filter_lines(&f, x + j, rows, part->w, (int)US_MIN(n - j, COLUMNS));
    }
}

/* ---- Noise ---- */

/* Box and Muller 1958: both numbers of a pair. A stream's first values are the deviations: counters begin at 2^32. */
void us_patch_noise(const struct us_patch_part *part, double deviation, const struct us_rng *rng) {
    const double unit = 1.0 / 9007199254740992.0;
    int64_t i, j;
    int c;
    if (!(deviation > 0))
        return;
    for (c = 0; c < part->channels; c++)
        for (i = part->i0; i < part->i1; i++) {
            float *x = part->x + (c * part->h + i) * part->w;
            for (j = part->j0; j < part->j1; j += 2) {
                const uint64_t at = ((uint64_t)1 << 32) + 2 * (uint64_t)((c * part->h + i) * part->w + j);
                const double u = 1.0 - (double)(us_rng_at(rng, at) >> 11) * unit;
                const double turn = (double)(us_rng_at(rng, at + 1) >> 11) * unit * 6.283185307179586;
                const double length = deviation * sqrt(-2.0 * us_log(u));
                x[j] += (float)(length * us_cos(turn));
                if (j + 1 < part->j1)
                    x[j + 1] += (float)(length * us_sin(turn));
            }
        }
}
