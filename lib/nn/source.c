/*
 * source.c - the input of a unit, row by row: norm, activation, pooling, upsampling and fusion of what earlier units stored,
 * done in a worker's scratch at the moment a convolution asks for the row.
 */
#include "nn/map.h"

#include <string.h>

/* Rows of scratch an input row may need at once: two rows of double width for pooling, else at most four of its own. */
#define TMP_ROWS 6

size_t us_row_tmp_bytes(int w) {
    return (size_t)TMP_ROWS * (size_t)w * US_LANES * sizeof(float);
}

static size_t row_floats(int w) {
    return (size_t)w * US_LANES;
}

/* An element is kept with probability 1 - p and then scaled by 1 / (1 - p); which ones depends on the place alone. */
void us_dropout_row(const struct us_pass *pass, int unit, int n, int b, int y, float *row) {
    const struct us_map *z = &pass->z[unit];
    const double keep = 1.0 - pass->net->options.dropout;
    const uint64_t limit = (uint64_t)(keep * 9007199254740992.0);
    const float factor = (float)(1.0 / keep);
    const struct us_rng rng = us_rng_stream(pass->dropout_seed, US_RNG_DROPOUT, pass->dropout_stream,
                                            (uint64_t)unit * 65536u + (uint64_t)n);
    const uint64_t first = ((uint64_t)b * (uint64_t)z->h + (uint64_t)y) * (uint64_t)z->w * US_LANES;
    size_t i;
    for (i = 0; i < row_floats(z->w); i++)
        row[i] = us_rng_at(&rng, first + i) >> 11 < limit ? row[i] * factor : 0.0f;
}

const float *us_value_row(const struct us_pass *pass, int unit, int n, int b, int y, float *tmp) {
    const struct us_unit *u = &pass->net->units[unit];
    const struct us_map *z = &pass->z[unit];
    const float *row = us_map_row(z, n, b, y);
    const int dropped = u->dropout && pass->dropout;
    if (!pass->scale[unit] && u->act == US_ACT_NONE) {
        if (!dropped)
            return row;
        memcpy(tmp, row, row_floats(z->w) * sizeof *tmp);
    } else {
        const size_t at = (size_t)n * pass->coefficient_step[unit] + (size_t)b * US_LANES;
        const float *scale = pass->scale[unit] ? pass->scale[unit] + at : NULL;
        const float *shift = pass->scale[unit] ? pass->shift[unit] + at : NULL;
        pass->ctx->kern.affine_act(tmp, row, (size_t)z->w, scale, shift, u->act, pass->net->options.leaky_slope);
    }
    if (dropped)
        us_dropout_row(pass, unit, n, b, y, tmp);
    return tmp;
}

void us_upsampled_row(const struct us_pass *pass, const struct us_input *in, int n, int b, int y, float *dst, float *tmp) {
    const struct us_map *z = &pass->z[in->main];
    const size_t step = row_floats(z->w);
    const struct us_kernels *k = &pass->ctx->kern;
    if (in->up == UNETSTAR_UPSAMPLING_NEAREST) {
        k->up_nearest(dst, us_value_row(pass, in->main, n, b, y / 2, tmp), (size_t)z->w);
    } else if (in->up == UNETSTAR_UPSAMPLING_BILINEAR) {
        const int near = y / 2, other = y % 2 ? near + 1 : near - 1;
        const int far = other < 0 ? 0 : other >= z->h ? z->h - 1 : other;
        const float *a = us_value_row(pass, in->main, n, b, near, tmp);
        const float *f = us_value_row(pass, in->main, n, b, far, tmp + step);
        k->up_bilinear(dst, a, f, (size_t)z->w, tmp + 2 * step);
    } else {
        const float *row = us_value_row(pass, in->main, n, b, y, dst);
        if (row != dst)
            memcpy(dst, row, step * sizeof *dst);
    }
}

static void fused_row(const struct us_pass *pass, const struct us_input *in, int n, int b, int y, float *dst, float *tmp) {
    const int blocks = pass->z[in->main].blocks;
    const int skip_block = in->fusion == UNETSTAR_FUSION_CONCAT ? b - blocks : b;
    const size_t w = (size_t)pass->z[in->skip].w;
    const float *skip;
    if (b < blocks)
        us_upsampled_row(pass, in, n, b, y, dst, tmp);
    if (skip_block < 0)
        return;
    skip = us_value_row(pass, in->skip, n, skip_block, y, in->fusion == UNETSTAR_FUSION_CONCAT ? dst : tmp);
    if (in->fusion == UNETSTAR_FUSION_SUM)
        pass->ctx->kern.add(dst, dst, skip, w);
    else if (in->fusion == UNETSTAR_FUSION_STAR)
        pass->ctx->kern.mul(dst, dst, skip, w);
    else if (skip != dst)
        memcpy(dst, skip, w * US_LANES * sizeof *dst);
}

void us_input_row(const void *source, int n, int b, int y, float *dst, float *tmp) {
    const struct us_input_source *s = (const struct us_input_source *)source;
    const struct us_pass *pass = s->pass;
    const struct us_input *in = &pass->net->units[s->unit].in;
    switch (in->kind) {
    case US_IN_IMAGE:
        us_plain_row(&pass->image, n, b, y, dst, tmp);
        break;
    case US_IN_UNIT: {
        const float *row = us_value_row(pass, in->main, n, b, y, dst);
        if (row != dst)
            memcpy(dst, row, row_floats(pass->z[in->main].w) * sizeof *dst);
        break;
    }
    case US_IN_POOL: {
        const int w = pass->z[in->main].w;
        const float *top = us_value_row(pass, in->main, n, b, 2 * y, tmp);
        const float *bottom = us_value_row(pass, in->main, n, b, 2 * y + 1, tmp + row_floats(w));
        pass->ctx->kern.pool(dst, top, bottom, (size_t)(w / 2));
        break;
    }
    case US_IN_FUSE:
        fused_row(pass, in, n, b, y, dst, tmp);
        break;
    }
}
