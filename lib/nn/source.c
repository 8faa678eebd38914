/*
 * source.c - the input of a unit, row by row: norm, activation, pooling, upsampling and fusion of what earlier units stored,
 * done in a worker's scratch at the moment a convolution asks for the row.
 */
#include "nn/map.h"

#include <string.h>

/* Rows of scratch an input row may need at once: two rows of double width for pooling, else at most four of its own. */
#define TMP_ROWS 6
#define PIECE 32 /* pixels */

size_t us_row_tmp_bytes(int w) {
    return (size_t)TMP_ROWS * (size_t)w * US_LANES * sizeof(float);
}

static size_t row_floats(int w) {
    return (size_t)w * US_LANES;
}

/* An element is kept with probability 1 - p and then scaled by 1 / (1 - p); which ones depends on the place alone. */
void us_dropout_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *row) {
    const struct us_map *z = &pass->z[unit];
    const double keep = 1.0 - pass->net->options.dropout;
    const uint64_t limit = (uint64_t)(keep * 9007199254740992.0);
    const float factor = (float)(1.0 / keep);
    const struct us_rng rng = us_rng_stream(pass->dropout_seed, US_RNG_DROPOUT, pass->dropout_stream,
                                            (uint64_t)unit * 65536u + (uint64_t)n);
    const uint64_t first = (((uint64_t)b * (uint64_t)z->h + (uint64_t)y) * (uint64_t)z->w + (uint64_t)x0) * US_LANES;
    size_t i;
    for (i = 0; i < row_floats(x1 - x0); i++)
        row[i] = us_rng_at(&rng, first + i) >> 11 < limit ? row[i] * factor : 0.0f;
}

/* A unit's value without its residual. */
static const float *own_value_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *tmp) {
    const struct us_unit *u = &pass->net->units[unit];
    const struct us_map *z = &pass->z[unit];
    const float *row = us_map_row(z, n, b, y) + row_floats(x0);
    const int dropped = u->dropout && pass->dropout;
    if (z->quant) {
        pass->ctx->kern.dequant_row(tmp, us_map_byte_row(z, n, b, y) + row_floats(x0), (size_t)(x1 - x0), z->quant);
        return tmp;
    }
    if (!pass->scale[unit] && u->act == US_ACT_NONE) {
        if (!dropped)
            return row;
        memcpy(tmp, row, row_floats(x1 - x0) * sizeof *tmp);
    } else {
        const size_t at = (size_t)n * pass->coefficient_step[unit] + (size_t)b * US_LANES;
        const float *scale = pass->scale[unit] ? pass->scale[unit] + at : NULL;
        const float *shift = pass->scale[unit] ? pass->shift[unit] + at : NULL;
        pass->ctx->kern.affine_act(tmp, row, (size_t)(x1 - x0), scale, shift, u->act, pass->net->options.leaky_slope);
    }
    if (dropped)
        us_dropout_row(pass, unit, n, b, y, x0, x1, tmp);
    return tmp;
}

/* The residual's value takes no scratch of the caller's: it comes piece by piece. */
static const float *with_residual(const struct us_pass *pass, int residual, int n, int b, int y, int x0, int x1,
                                  const float *own, float *tmp) {
    float room[(PIECE + 1) * US_LANES], *piece = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    int x, count;
    for (x = x0; x < x1; x += count) {
        const float *other;
        count = US_MIN(PIECE, x1 - x);
        other = own_value_row(pass, residual, n, b, y, x, x + count, piece);
        pass->ctx->kern.add(tmp + row_floats(x - x0), own + row_floats(x - x0), other, (size_t)count);
    }
    return tmp;
}

const float *us_value_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *tmp) {
    const float *own = own_value_row(pass, unit, n, b, y, x0, x1, tmp);
    const int residual = pass->residual[unit];
    return residual < 0 ? own : with_residual(pass, residual, n, b, y, x0, x1, own, tmp);
}

int us_value_affine(const struct us_pass *pass, int unit, int n, int b, struct us_affine *affine) {
    const struct us_unit *u = &pass->net->units[unit];
    const size_t at = (size_t)n * pass->coefficient_step[unit] + (size_t)b * US_LANES;
    affine->scale = affine->shift = NULL;
    affine->relu = 0;
    if (pass->z[unit].quant || pass->residual[unit] >= 0)
        return 0;
    if ((u->act != US_ACT_NONE && u->act != US_ACT_RELU) || (u->dropout && pass->dropout))
        return 0;
    if (pass->scale[unit]) {
        affine->scale = pass->scale[unit] + at;
        affine->shift = pass->shift[unit] + at;
    }
    affine->relu = u->act == US_ACT_RELU;
    return 1;
}

const float *us_affine_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *tmp,
                           struct us_affine *affine) {
    if (us_value_affine(pass, unit, n, b, affine))
        return us_map_row(&pass->z[unit], n, b, y) + row_floats(x0);
    return us_value_row(pass, unit, n, b, y, x0, x1, tmp);
}

/* The value of a unit, in dst wherever it comes from. */
static void copied_value_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *dst) {
    const float *row = us_value_row(pass, unit, n, b, y, x0, x1, dst);
    if (row != dst)
        memcpy(dst, row, row_floats(x1 - x0) * sizeof *dst);
}

/* Every pixel of the small row twice, from the second one of a pair or up to the first one of a pair where the range says so. */
static void nearest_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *dst, float *tmp) {
    const float *src = us_value_row(pass, unit, n, b, y / 2, x0 / 2, (x1 + 1) / 2, tmp);
    int pairs;
    if (x0 % 2) {
        memcpy(dst, src, row_floats(1) * sizeof *dst);
        src += US_LANES;
        dst += US_LANES;
        x0++;
    }
    pairs = (x1 - x0) / 2;
    pass->ctx->kern.up_nearest(dst, src, (size_t)pairs);
    if ((x1 - x0) % 2)
        memcpy(dst + row_floats(2 * pairs), src + row_floats(pairs), row_floats(1) * sizeof *dst);
}

/* Neighbours at the ends differ from those inside: the whole row, of which a part is wanted. */
static void bilinear_row(const struct us_pass *pass, int unit, int n, int b, int y, int x0, int x1, float *dst, float *tmp) {
    const struct us_map *z = &pass->z[unit];
    const size_t step = row_floats(z->w);
    const int near = y / 2, other = y % 2 ? near + 1 : near - 1;
    const int far = other < 0 ? 0 : other >= z->h ? z->h - 1 : other;
    const float *a = us_value_row(pass, unit, n, b, near, 0, z->w, tmp);
    const float *f = us_value_row(pass, unit, n, b, far, 0, z->w, tmp + step);
    float *whole = x0 == 0 && x1 == 2 * z->w ? dst : tmp + 3 * step;
    pass->ctx->kern.up_bilinear(whole, a, f, (size_t)z->w, tmp + 2 * step);
    if (whole != dst)
        memcpy(dst, whole + row_floats(x0), row_floats(x1 - x0) * sizeof *dst);
}

void us_upsampled_row(const struct us_pass *pass, const struct us_input *in, int n, int b, int y, int x0, int x1, float *dst,
                      float *tmp) {
    if (in->up == UNETSTAR_UPSAMPLING_NEAREST)
        nearest_row(pass, in->main, n, b, y, x0, x1, dst, tmp);
    else if (in->up == UNETSTAR_UPSAMPLING_BILINEAR)
        bilinear_row(pass, in->main, n, b, y, x0, x1, dst, tmp);
    else
        copied_value_row(pass, in->main, n, b, y, x0, x1, dst);
}

static void fused_row(const struct us_pass *pass, const struct us_input *in, int n, int b, int y, int x0, int x1, float *dst,
                      float *tmp) {
    const int blocks = pass->z[in->main].blocks;
    const float *main = dst, *skip;
    if (in->fusion == UNETSTAR_FUSION_CONCAT && b >= blocks) {
        copied_value_row(pass, in->skip, n, b - blocks, y, x0, x1, dst);
        return;
    }
    if (in->up < 0 && in->fusion != UNETSTAR_FUSION_CONCAT)
        main = us_value_row(pass, in->main, n, b, y, x0, x1, dst);
    else
        us_upsampled_row(pass, in, n, b, y, x0, x1, dst, tmp);
    if (in->fusion == UNETSTAR_FUSION_CONCAT)
        return;
    skip = us_value_row(pass, in->skip, n, b, y, x0, x1, tmp);
    if (in->fusion == UNETSTAR_FUSION_SUM)
        pass->ctx->kern.add(dst, main, skip, (size_t)(x1 - x0));
    else
        pass->ctx->kern.mul(dst, main, skip, (size_t)(x1 - x0));
}

/* Planes become pixels here, so that the image never exists with its 16 lanes. */
static void image_row(const struct us_pass *pass, int n, int b, int y, int x0, int x1, float *dst) {
    const int channels = pass->net->options.in_channels, live = US_MIN(channels - b * US_LANES, US_LANES);
    const int end = y < pass->image_h ? US_MIN(x1, pass->image_w) : x0;
    int c, x;
    memset(dst, 0, row_floats(x1 - x0) * sizeof *dst);
    for (c = 0; c < live; c++) {
        const size_t plane = (size_t)n * (size_t)channels + (size_t)(b * US_LANES + c);
        const float *row =
            pass->image + (plane * (size_t)pass->image_rows + (size_t)(y % pass->image_rows)) * (size_t)pass->image_w;
        for (x = x0; x < end; x++)
            dst[(x - x0) * US_LANES + c] = row[x];
    }
}

void us_input_row(const void *source, int n, int b, int y, int x0, int x1, float *dst, float *tmp) {
    const struct us_input_source *s = (const struct us_input_source *)source;
    const struct us_pass *pass = s->pass;
    const struct us_input *in = &pass->net->units[s->unit].in;
    switch (in->kind) {
    case US_IN_IMAGE:
        image_row(pass, n, b, y, x0, x1, dst);
        break;
    case US_IN_UNIT:
        copied_value_row(pass, in->main, n, b, y, x0, x1, dst);
        break;
    case US_IN_POOL: {
        float *second = tmp + row_floats(2 * (x1 - x0));
        struct us_affine a;
        const float *top = us_affine_row(pass, in->main, n, b, 2 * y, 2 * x0, 2 * x1, tmp, &a);
        const float *bottom = us_affine_row(pass, in->main, n, b, 2 * y + 1, 2 * x0, 2 * x1, second, &a);
        pass->ctx->kern.pool(dst, top, bottom, (size_t)(x1 - x0), a.scale, a.shift, a.relu);
        break;
    }
    case US_IN_FUSE:
        fused_row(pass, in, n, b, y, x0, x1, dst, tmp);
        break;
    }
}

/* ---- Without rows ---- */

static int load_operand(const struct us_pass *pass, int unit, int n, int b, int y, int rows, int x,
                        struct us_wino_operand *o, int *relu) {
    const struct us_map *z = &pass->z[unit];
    struct us_affine a;
    if (!us_map_contiguous(z, y, rows) || !us_value_affine(pass, unit, n, b, &a))
        return 0;
    o->x = us_map_row(z, n, b, y) + row_floats(x);
    o->row_stride = row_floats(z->w);
    o->scale = a.scale;
    o->shift = a.shift;
    *relu = a.relu;
    return 1;
}

int us_input_load(const void *source, int n, int b, int y, int rows, int x, struct us_wino_load *load) {
    const struct us_input_source *s = (const struct us_input_source *)source;
    const struct us_pass *pass = s->pass;
    const struct us_input *in = &pass->net->units[s->unit].in;
    int relu = 0;
    memset(load, 0, sizeof *load);
    if (in->kind == US_IN_UNIT)
        return load_operand(pass, in->main, n, b, y, rows, x, &load->main, &load->relu);
    if (in->kind != US_IN_FUSE || in->up != UNETSTAR_UPSAMPLING_NEAREST || in->fusion == UNETSTAR_FUSION_CONCAT)
        return 0;
    load->fusion = in->fusion == UNETSTAR_FUSION_SUM ? US_WINO_SUM : US_WINO_PRODUCT;
    return load_operand(pass, in->main, n, b, y / 2, (y + rows - 1) / 2 - y / 2 + 1, x / 2, &load->main, &load->relu) &&
           load_operand(pass, in->skip, n, b, y, rows, x, &load->skip, &relu) && relu == load->relu;
}

/* Bytes with the scale that is wanted are taken as they are: quantising their values gives them back (tests/kern), and the
 * largest byte is that of the largest value. */
void us_input_quant_row(const void *source, int n, int b, int y, int x0, int x1, int16_t *dst, float *tmp) {
    const struct us_input_source *s = (const struct us_input_source *)source;
    const struct us_pass *pass = s->pass;
    const struct us_kernels *kern = &pass->ctx->kern;
    const struct us_input *in = &pass->net->units[s->unit].in;
    const struct us_quant *q = pass->quant[s->unit];
    const struct us_map *z = in->kind == US_IN_UNIT || in->kind == US_IN_POOL ? &pass->z[in->main] : NULL;
    const size_t count = (size_t)(x1 - x0);
    if (!z || !z->quant || z->quant->scale != q->scale || z->quant->zero != q->zero) {
        us_input_row(source, n, b, y, x0, x1, tmp, tmp + row_floats(x1 - x0));
        kern->quant_row(dst, tmp, count, q);
    } else if (in->kind == US_IN_UNIT) {
        kern->widen_row(dst, us_map_byte_row(z, n, b, y) + row_floats(x0), count, q->zero);
    } else {
        kern->pool_bytes((uint8_t *)tmp, us_map_byte_row(z, n, b, 2 * y) + row_floats(2 * x0),
                         us_map_byte_row(z, n, b, 2 * y + 1) + row_floats(2 * x0), count);
        kern->widen_row(dst, (const uint8_t *)tmp, count, q->zero);
    }
}
