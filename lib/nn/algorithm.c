/*
 * algorithm.c - which algorithm computes a 3x3 convolution: direct, or Winograd F(m x m, 3x3).
 *
 * Of an m x m tile Winograd computes (m + 2)^2 products where the direct sum has 9 m^2: 1.78 an output for m = 6, 2.25
 * for 4, 4 for 2. Its rounding error grows with m (docs/performance.md has it for every layer). The choice is part of
 * the result, so it depends on nothing but what the design allows: in training on the size of the map, in evaluation on
 * the level, because there an image may have any size and may be streamed.
 */
#include "nn/map.h"

/* Products for a whole map; a tile that reaches past the border costs as much as another. */
static int64_t products(int m, int h, int w) {
    return (int64_t)((h + m - 1) / m) * ((w + m - 1) / m) * (m + 2) * (m + 2);
}

/* The fewest products; the smaller error where they are equal. */
static int training_tile(int h, int w) {
    int best = 2, m;
    for (m = 4; m <= 6; m += 2)
        if (products(m, h, w) < products(best, h, w))
            best = m;
    return best;
}

/* The first layer has too few input channels to pay for a transform. */
static int direct_only(const struct us_net *net, int unit) {
    const struct us_unit *u = &net->units[unit];
    return net->options.precision == UNETSTAR_PRECISION_EXACT || u->kind != US_UNIT_CONV3 || u->in.kind == US_IN_IMAGE;
}

/* A session keeps its transformed weights, (m + 2)^2 / 9 times their size, and most weights are in the deep layers,
 * where most of the time is not: smaller tiles there halve the memory for some percent of the time. */
int us_evaluation_tile(const struct us_net *net, int unit, int precision) {
    if (precision == UNETSTAR_PRECISION_EXACT || direct_only(net, unit))
        return 0;
    return net->units[unit].shift <= 2 ? 6 : net->units[unit].shift == 3 ? 4 : 2;
}

void us_pass_algorithms(struct us_pass *pass, int training, int precision) {
    int i;
    for (i = 0; i < pass->net->n_units; i++) {
        if (training)
            pass->tile[i] = direct_only(pass->net, i) ? 0 : training_tile(pass->z[i].h, pass->z[i].w);
        else
            pass->tile[i] = us_evaluation_tile(pass->net, i, precision);
    }
}
