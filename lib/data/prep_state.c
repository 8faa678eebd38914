/*
 * prep_state.c - from an image's rows to a network's input: what has to be learned of the whole image, pass by pass,
 * and then any row from that row alone.
 *
 * The protocol of the original article passes through bytes: min-max gives values 0 .. 255 that are cut off to integers
 * (not rounded) before CLAHE, and the gamma table is cut off too. The same is done here whenever CLAHE or gamma is on.
 * With both off nothing is cut, and 16-bit pictures keep their depth.
 *
 * Gray is the integer 299 R + 587 G + 114 B until the last moment, so what is cut off never hangs on a rounding error.
 *
 * Every quantity is an integer, or a chain of doubles in the order of the pixels: how rows are handed over changes no
 * bit.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

enum { EXTREMA = 1, HISTOGRAMS, SUM, SQUARES, READY }; /* the passes; EXTREMA reduces the picture for the field, too */

#define CHUNK 256 /* pixels at a time, on the stack */

/* ---- Which passes ---- */

static int finds_field(const struct us_prep *prep, int field) {
    return field == US_PREP_FIELD_WANTED || (field == US_PREP_FIELD_AUTO && prep->standardize);
}

static int needs_pass(const struct us_prep *prep, int field, int pass) {
    switch (pass) {
    case EXTREMA:
        return prep->min_max || finds_field(prep, field);
    case HISTOGRAMS:
        return prep->clahe_tiles > 0;
    default:
        return prep->standardize;
    }
}

int us_prep_passes(const struct us_prep *prep, int field) {
    int pass, n = 0;
    for (pass = EXTREMA; pass < READY; pass++)
        n += needs_pass(prep, field, pass) != 0;
    return n;
}

const char *us_prep_global_step(const struct us_prep *prep) {
    return prep->min_max ? "min-max" : prep->clahe_tiles > 0 ? "CLAHE" : prep->standardize ? "standardize" : NULL;
}

/* ---- Memory ---- */

/* In front what is kept, CLAHE's tables and the ends of the field's rows; behind it scratch, for the field and for the
 * histograms in the same place, since they belong to different passes. Returns the bytes of all. */
static size_t plan(struct us_prep_state *s, void *memory) {
    const int tiles = s->prep.clahe_tiles, finds = finds_field(&s->prep, s->field);
    struct us_arena kept, scratch, counts;
    int c;
    memset(&kept, 0, sizeof kept);
    kept.base = (char *)memory;
    kept.size = SIZE_MAX;
    for (c = 0; c < s->planes && tiles > 0; c++)
        s->plane[c].clahe.tables = (uint8_t *)us_arena_take(&kept, us_clahe_size(tiles));
    if (finds)
        us_fov_take(&s->found, &kept);
    scratch = counts = kept;
    if (finds)
        us_fov_take_scratch(&s->found, &scratch);
    for (c = 0; c < s->planes && tiles > 0; c++)
        s->plane[c].clahe.counts = (int32_t *)us_arena_take(&counts, us_clahe_scratch(tiles));
    s->memory = (char *)memory;
    s->kept = kept.used;
    return US_MAX(US_MAX(scratch.used, counts.used), 1);
}

size_t us_prep_state_bytes_for(const struct us_prep *prep, int field, int64_t width, int64_t height) {
    struct us_prep_state s;
    memset(&s, 0, sizeof s);
    s.prep = *prep;
    s.field = field;
    s.planes = us_prep_channels(prep);
    us_fov_begin(&s.found, width, height);
    return plan(&s, NULL);
}

size_t us_prep_state_bytes(const struct us_prep *prep, int field) {
    return us_prep_state_bytes_for(prep, field, US_FOV_SIDE, US_FOV_SIDE);
}

void us_prep_state_move(struct us_prep_state *s, void *memory) {
    if (s->kept > 0)
        memcpy(memory, s->memory, s->kept);
    plan(s, memory);
}

/* ---- Begin ---- */

static void gamma_table(float gamma, float table[256]) {
    int i;
    for (i = 0; i < 256; i++) {
        double v = gamma == 1.0f ? i : floor(255.0 * us_pow(i / 255.0, 1.0 / (double)gamma));
        table[i] = (float)v / 255.0f;
    }
}

static void begin_plane(struct us_prep_state *s, int c) {
    struct us_prep_plane *p = &s->plane[c];
    p->unit = s->bits == 16 ? 65535.0 : 255.0;
    if (s->channels == 1) {
        p->source = 0;
    } else if (s->prep.color == UNETSTAR_COLOR_GRAY) {
        p->source = -1;
        p->unit *= 1000.0;
    } else {
        p->source = s->prep.color == UNETSTAR_COLOR_GREEN ? 1 : c;
    }
    p->least = INT32_MAX;
    p->most = INT32_MIN;
    p->range = p->unit;
    p->deviation = 1.0;
    if (s->prep.clahe_tiles > 0)
        us_clahe_begin(&p->clahe, s->height, s->width, s->prep.clahe_tiles, s->prep.clahe_clip);
}

void us_prep_state_begin(struct us_prep_state *s, const struct us_prep *prep, int64_t width, int64_t height,
                         int channels, int bits, int field, void *memory) {
    int c;
    memset(s, 0, sizeof *s);
    s->prep = *prep;
    s->width = width;
    s->height = height;
    s->channels = channels;
    s->bits = bits;
    s->planes = us_prep_channels(prep);
    s->field = field;
    us_fov_begin(&s->found, width, height);
    for (c = 0; c < s->planes; c++)
        begin_plane(s, c);
    gamma_table(prep->gamma, s->table);
    plan(s, memory);
}

/* ---- Values of a part of a row ---- */

static void samples(const struct us_prep_state *s, const void *row, int64_t x, int64_t n, int channel, int32_t *v) {
    const int64_t step = s->channels * (s->bits / 8);
    const uint8_t *at = (const uint8_t *)row + x * step + channel * (s->bits / 8);
    int64_t i;
    for (i = 0; i < n; i++, at += step) {
        if (s->bits == 16) {
            uint16_t value;
            memcpy(&value, at, sizeof value); /* rows may be unaligned */
            v[i] = value;
        } else {
            v[i] = *at;
        }
    }
}

static void take(const struct us_prep_state *s, const struct us_prep_plane *p, const void *row, int64_t x, int64_t n,
                 int32_t *v) {
    int32_t green[CHUNK], blue[CHUNK];
    int64_t i;
    samples(s, row, x, n, US_MAX(p->source, 0), v);
    if (p->source >= 0)
        return;
    samples(s, row, x, n, 1, green);
    samples(s, row, x, n, 2, blue);
    for (i = 0; i < n; i++)
        v[i] = 299 * v[i] + 587 * green[i] + 114 * blue[i];
}

/* floor(255 (s - low) / range): numerator and denominator are integers, so the quotient is exact where it is an
 * integer. What lies outside (a source that gives other rows the second time) is cut off. */
static void take_bytes(const struct us_prep_state *s, const struct us_prep_plane *p, const void *row, int64_t x,
                       int64_t n, uint8_t *bytes) {
    int32_t v[CHUNK];
    int64_t i;
    take(s, p, row, x, n, v);
    for (i = 0; i < n; i++) {
        double byte = 255.0 * ((double)v[i] - p->low) / p->range;
        bytes[i] = byte > 0.0 ? byte < 255.0 ? (uint8_t)byte : 255 : 0;
    }
}

/* The plane before it is standardized. */
static void take_values(const struct us_prep_state *s, const struct us_prep_plane *p, int64_t y, const void *row,
                        int64_t x, int64_t n, float *out) {
    uint8_t bytes[CHUNK];
    int32_t v[CHUNK];
    int64_t i;
    if (s->prep.clahe_tiles > 0 || s->prep.gamma != 1.0f) {
        take_bytes(s, p, row, x, n, bytes);
        if (s->prep.clahe_tiles > 0)
            us_clahe_apply(&p->clahe, y, x, n, bytes);
        for (i = 0; i < n; i++)
            out[i] = s->table[bytes[i]];
    } else {
        take(s, p, row, x, n, v);
        for (i = 0; i < n; i++)
            out[i] = (float)(((double)v[i] - p->low) / p->range);
    }
}

/* ---- Passes ---- */

static void see_extrema(const struct us_prep_state *s, struct us_prep_plane *p, const void *row) {
    int32_t v[CHUNK];
    int64_t x, n, i;
    for (x = 0; x < s->width; x += n) {
        n = US_MIN(s->width - x, CHUNK);
        take(s, p, row, x, n, v);
        for (i = 0; i < n; i++) {
            p->least = US_MIN(v[i], p->least);
            p->most = US_MAX(v[i], p->most);
        }
    }
}

static void see_field(struct us_prep_state *s, int64_t y, const void *row) {
    struct us_image image;
    image.data = row;
    image.width = s->width;
    image.height = 1;
    image.stride = 0;
    image.channels = s->channels;
    image.bits = s->bits;
    us_fov_add(&s->found, y, &image);
}

static void see_histograms(const struct us_prep_state *s, struct us_prep_plane *p, int64_t y, const void *row) {
    uint8_t bytes[CHUNK];
    int64_t i, x, n;
    for (i = y; i >= 0; i = us_clahe_next(&p->clahe, y, i))
        for (x = 0; x < s->width; x += n) {
            n = US_MIN(s->width - x, CHUNK);
            take_bytes(s, p, row, x, n, bytes);
            us_clahe_count(&p->clahe, i, x, n, bytes);
        }
}

/* Mean 0 and deviation 1 over the pixels of the mask (all, when it has none), in one chain of doubles. Whether it has
 * none is known only in the end: until then there are two chains. */
static void see_moments(struct us_prep_state *s, int c, int64_t y, const void *row, const uint8_t *mask) {
    struct us_prep_plane *p = &s->plane[c];
    uint8_t inside[CHUNK];
    float v[CHUNK];
    int64_t i, x, n;
    for (x = 0; x < s->width; x += n) {
        n = US_MIN(s->width - x, CHUNK);
        take_values(s, p, y, row, x, n, v);
        if (mask)
            memcpy(inside, mask + x, (size_t)n);
        else
            us_fov_row(&s->found, y, x, n, inside);
        if (s->pass == SUM) {
            for (i = 0; i < n; i++) {
                p->sum_all += v[i];
                if (inside[i]) {
                    p->sum += v[i];
                    s->inside += c == 0;
                }
            }
        } else {
            for (i = 0; i < n; i++)
                if (!s->inside || inside[i])
                    p->sum += (v[i] - p->mean) * (v[i] - p->mean);
        }
    }
}

void us_prep_state_rows(struct us_prep_state *s, int64_t y, int64_t n, const void *rows, int64_t stride,
                        const uint8_t *mask_rows, int64_t mask_stride) {
    const uint8_t *mask = s->field == US_PREP_FIELD_GIVEN ? mask_rows : NULL;
    int64_t i;
    int c;
    for (i = 0; i < n; i++) {
        const char *row = (const char *)rows + i * stride;
        if (s->pass == EXTREMA && finds_field(&s->prep, s->field))
            see_field(s, y + i, row);
        for (c = 0; c < s->planes; c++) {
            if (s->pass == EXTREMA && s->prep.min_max)
                see_extrema(s, &s->plane[c], row);
            else if (s->pass == HISTOGRAMS)
                see_histograms(s, &s->plane[c], y + i, row);
            else if (s->pass == SUM || s->pass == SQUARES)
                see_moments(s, c, y + i, row, mask ? mask + i * mask_stride : NULL);
        }
    }
}

void us_prep_plane_range(struct us_prep_plane *p, int32_t least, int32_t most) {
    p->least = least;
    p->most = most;
    p->low = least;
    p->range = most > least ? (double)most - least : 1.0; /* a uniform channel becomes 0 */
}

static void end_plane(const struct us_prep_state *s, struct us_prep_plane *p) {
    const double n = (double)(s->inside ? s->inside : s->width * s->height);
    if (s->pass == EXTREMA && s->prep.min_max)
        us_prep_plane_range(p, p->least, p->most);
    if (s->pass == SUM) {
        p->mean = (s->inside ? p->sum : p->sum_all) / n;
        p->sum = 0;
    } else if (s->pass == SQUARES) {
        p->deviation = sqrt(p->sum / n);
        if (!(p->deviation > 1e-12))
            p->deviation = 1.0;
    }
}

int us_prep_state_pass(struct us_prep_state *s) {
    int c;
    for (c = 0; c < s->planes; c++)
        end_plane(s, &s->plane[c]);
    if (s->pass == EXTREMA && finds_field(&s->prep, s->field))
        us_fov_end(&s->found);
    do
        s->pass++;
    while (s->pass < READY && !needs_pass(&s->prep, s->field, s->pass));
    return s->pass < READY;
}

/* ---- Ready ---- */

void us_prep_state_end(struct us_prep_state *s) {
    s->pass = READY;
}

void us_prep_row(const struct us_prep_state *s, int64_t y, const void *row, float *x, size_t channel_stride) {
    int64_t at, n, i;
    int c;
    for (c = 0; c < s->planes; c++, x += channel_stride) {
        const struct us_prep_plane *p = &s->plane[c];
        for (at = 0; at < s->width; at += n) {
            n = US_MIN(s->width - at, CHUNK);
            take_values(s, p, y, row, at, n, x + at);
            for (i = at; s->prep.standardize && i < at + n; i++)
                x[i] = (float)((x[i] - p->mean) / p->deviation);
        }
    }
}

int us_prep_field_row(const struct us_prep_state *s, int64_t y, uint8_t *mask) {
    us_fov_row(&s->found, y, 0, s->width, mask);
    return s->found.source;
}
