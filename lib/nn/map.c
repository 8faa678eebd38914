/* map.c - between (N,C,H,W) planes and maps in blocks of 16 channels. */
#include "nn/map.h"

#include <string.h>

void us_map_pack(const struct us_map *m, const float *x, int n, int c, int h, int w) {
    int i, b, y, lane, col;
    for (i = 0; i < n; i++)
        for (b = 0; b < m->blocks; b++)
            for (y = 0; y < m->h; y++) {
                float *row = us_map_row(m, i, b, y);
                memset(row, 0, (size_t)m->w * US_LANES * sizeof *row);
                if (y >= h)
                    continue;
                for (lane = 0; lane < US_LANES && b * US_LANES + lane < c; lane++) {
                    const float *from = x + (((size_t)i * (size_t)c + (size_t)(b * US_LANES + lane)) * (size_t)h + (size_t)y) *
                                                (size_t)w;
                    for (col = 0; col < w; col++)
                        row[(size_t)col * US_LANES + (size_t)lane] = from[col];
                }
            }
}

void us_map_unpack(const struct us_map *m, float *x, int n, int c) {
    int i, k, y, col;
    for (i = 0; i < n; i++)
        for (k = 0; k < c; k++)
            for (y = 0; y < m->h; y++) {
                const float *row = us_map_row(m, i, k / US_LANES, y) + k % US_LANES;
                float *to = x + (((size_t)i * (size_t)c + (size_t)k) * (size_t)m->h + (size_t)y) * (size_t)m->w;
                for (col = 0; col < m->w; col++)
                    to[col] = row[(size_t)col * US_LANES];
            }
}
