/*
 * patches.c - random patches of preprocessed images. Planes that hold only multiples of 1/255, as the usual
 * preprocessing makes them, are kept as bytes: a quarter of the memory, and augmentation of the values becomes a table
 * of 256 entries. Mixtures of colours, and contrast limits between two, are sums of more such planes.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

struct planes {
    float *floats;  /* (channels, h, w), or */
    uint8_t *bytes; /* the same times 255 */
};
struct plane_set {
    struct us_sample *sample; /* its label and mask */
    struct planes planes;
    struct planes *variants; /* colours x limits of the contrast, made by us_patches_vary; NULL: none */
    uint32_t *rows;          /* h + 1: field pixels in the rows before */
};

struct us_patches {
    us_context *ctx;
    struct plane_set *sets;
    int64_t count, patch_h, patch_w;
    int channels;
    int colors, limits, base; /* of the variants; which colour is the preprocessing's own */
    size_t size;
    double logs[256]; /* log(k / 255), k >= 1 */
};

/* ---- Building ---- */

static void free_planes(us_context *ctx, struct planes *planes) {
    us_free(ctx, planes->floats);
    us_free(ctx, planes->bytes);
}

void us_patches_destroy(us_patches *patches) {
    us_context *ctx;
    int64_t i;
    int k;
    if (!patches)
        return;
    ctx = patches->ctx;
    for (i = 0; patches->sets && i < patches->count; i++) {
        free_planes(ctx, &patches->sets[i].planes);
        for (k = 0; patches->sets[i].variants && k < patches->colors * patches->limits; k++)
            free_planes(ctx, &patches->sets[i].variants[k]);
        us_free(ctx, patches->sets[i].variants);
        us_free(ctx, patches->sets[i].rows);
        us_sample_unref(patches->sets[i].sample);
    }
    us_free(ctx, patches->sets);
    us_free(ctx, patches);
    us_context_unref(ctx);
}

size_t us_patches_bytes(const us_patches *patches) {
    return patches->size;
}

static int count_rows(us_patches *patches, struct plane_set *set) {
    const struct us_image *image = &set->sample->image;
    const uint8_t *mask = set->sample->mask;
    size_t size = ((size_t)image->height + 1) * sizeof set->rows[0];
    int64_t y, x;
    set->rows = (uint32_t *)us_alloc(patches->ctx, size);
    if (!set->rows)
        return UNETSTAR_ENOMEM;
    patches->size += size;
    set->rows[0] = 0;
    for (y = 0; y < image->height; y++) {
        uint32_t n = 0;
        for (x = 0; x < image->width; x++)
            n += mask[y * image->width + x] != 0;
        set->rows[y + 1] = set->rows[y] + n;
    }
    if (set->rows[image->height] == 0)
        return us_fail(UNETSTAR_EINVAL, "its field of view is empty");
    return 0;
}

static uint8_t nearest_byte(float x) {
    return x > 0.0f ? x < 1.0f ? (uint8_t)(x * 255.0f + 0.5f) : 255 : 0;
}

static int only_bytes(const float *x, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if ((float)nearest_byte(x[i]) / 255.0f != x[i])
            return 0;
    return 1;
}

/* Planes of the sample's image, or of another one of its size. */
static int make_planes(us_patches *patches, const struct us_sample *sample, const struct us_image *image,
                       const struct us_prep *prep, struct planes *out) {
    size_t count = (size_t)patches->channels * (size_t)image->height * (size_t)image->width, i;
    int error;
    out->floats = (float *)us_alloc(patches->ctx, count * sizeof(float));
    if (!out->floats)
        return UNETSTAR_ENOMEM;
    error = us_prep_run(patches->ctx, prep, image, sample->mask, out->floats);
    if (error)
        return error;
    if (!only_bytes(out->floats, count)) {
        patches->size += count * sizeof(float);
        return 0;
    }
    out->bytes = (uint8_t *)us_alloc(patches->ctx, count);
    if (!out->bytes)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < count; i++)
        out->bytes[i] = nearest_byte(out->floats[i]);
    us_free(patches->ctx, out->floats);
    out->floats = NULL;
    patches->size += count;
    return 0;
}

static int fill(us_patches *patches, const us_dataset *dataset, const struct us_prep *prep) {
    int64_t i;
    patches->sets = (struct plane_set *)us_alloc_zero(patches->ctx, (size_t)dataset->count * sizeof *patches->sets);
    if (!patches->sets)
        return UNETSTAR_ENOMEM;
    patches->size = sizeof *patches + (size_t)dataset->count * sizeof *patches->sets;
    patches->count = dataset->count;
    for (i = 0; i < dataset->count; i++) {
        struct plane_set *set = &patches->sets[i];
        int error = 0;
        set->sample = us_sample_ref(dataset->samples[i]);
        if (!set->sample->label)
            error = us_fail(UNETSTAR_EINVAL, "it has no label");
        if (!error)
            error = count_rows(patches, set);
        if (!error)
            error = make_planes(patches, set->sample, &set->sample->image, prep, &set->planes);
        if (error)
            return us_fail_in(error, set->sample->name);
    }
    return 0;
}

int us_patches_create(us_patches **out, const us_dataset *dataset, const struct us_prep *prep, int64_t patch_h,
                      int64_t patch_w) {
    us_patches *patches;
    int error = us_prep_check(prep), k;
    *out = NULL;
    if (error)
        return error;
    if (patch_h < 1 || patch_h > US_IMAGE_MAX || patch_w < 1 || patch_w > US_IMAGE_MAX)
        return us_fail(UNETSTAR_EINVAL, "a patch of %lld x %lld is outside 1 .. %d", (long long)patch_h,
                       (long long)patch_w, US_IMAGE_MAX);
    if (dataset->count < 1)
        return us_fail(UNETSTAR_EINVAL, "the dataset has no samples");
    patches = (us_patches *)us_alloc_zero(dataset->ctx, sizeof *patches);
    if (!patches)
        return UNETSTAR_ENOMEM;
    patches->ctx = us_context_ref(dataset->ctx);
    patches->patch_h = patch_h;
    patches->patch_w = patch_w;
    patches->channels = us_prep_channels(prep);
    for (k = 1; k < 256; k++)
        patches->logs[k] = us_log(k / 255.0);
    error = fill(patches, dataset, prep);
    if (error) {
        us_patches_destroy(patches);
        return error;
    }
    *out = patches;
    return 0;
}

/* ---- Variants for augmentation ---- */

/* One colour of a sample, with every limit. Gray and green go the way the preprocessing goes; the others become an image of
 * one channel and 16 bits first. */
static int vary_color(us_patches *patches, struct plane_set *set, const struct us_prep *prep, double jitter,
                      int color) {
    const struct us_image *image = &set->sample->image;
    struct planes *variants = set->variants + color * patches->limits;
    struct us_prep own = *prep;
    struct us_image plane = *image;
    uint16_t *values = NULL;
    int error = 0, k;
    if (patches->colors > 1 && color <= US_COLOR_PLANE_GREEN)
        own.color = color == US_COLOR_PLANE_GREEN ? UNETSTAR_COLOR_GREEN : UNETSTAR_COLOR_GRAY;
    if (color > US_COLOR_PLANE_GREEN) {
        values = (uint16_t *)us_alloc(patches->ctx, (size_t)image->height * (size_t)image->width * sizeof *values);
        if (!values)
            return UNETSTAR_ENOMEM;
        error = us_color_plane(patches->ctx, image, color, values);
        plane.data = values;
        plane.channels = 1;
        plane.bits = 16;
        plane.stride = 2 * image->width;
    }
    for (k = 0; k < patches->limits && !error; k++) {
        if (patches->limits == 2) {
            const double limit = (double)prep->clahe_clip * us_exp(k == 0 ? -jitter : jitter);
            own.clahe_clip = (float)US_MIN(limit, 65536.0);
        }
        error = make_planes(patches, set->sample, &plane, &own, &variants[k]);
    }
    us_free(patches->ctx, values);
    return error;
}

int us_patches_vary(us_patches *patches, const struct us_prep *prep, const struct us_augment *augment) {
    const double jitter = (double)augment->clahe_jitter;
    int64_t i;
    int k, error = 0;
    if (augment->color_mix > 0 && patches->channels != 1)
        return us_fail(UNETSTAR_EINVAL, "color_mix mixes planes of one channel, and this preprocessing makes %d",
                       patches->channels);
    if (jitter > 0 && prep->clahe_tiles == 0)
        return us_fail(UNETSTAR_EINVAL, "clahe_jitter needs a preprocessing with CLAHE, and its clahe_tiles is 0");
    patches->colors = augment->color_mix > 0 ? US_COLOR_PLANES : 1;
    patches->limits = jitter > 0 ? 2 : 1;
    patches->base = US_COLOR_PLANE_GRAY;
    if (patches->colors > 1 && prep->color == UNETSTAR_COLOR_GREEN)
        patches->base = US_COLOR_PLANE_GREEN;
    for (i = 0; i < patches->count && patches->colors * patches->limits > 1 && !error; i++) {
        struct plane_set *set = &patches->sets[i];
        const size_t size = (size_t)(patches->colors * patches->limits) * sizeof *set->variants;
        set->variants = (struct planes *)us_alloc_zero(patches->ctx, size);
        if (!set->variants)
            return us_fail_in(UNETSTAR_ENOMEM, set->sample->name);
        patches->size += size;
        for (k = 0; k < patches->colors && !error; k++)
            if (k == patches->base ? patches->limits > 1 : set->sample->image.channels == 3)
                error = vary_color(patches, set, prep, jitter, k);
        if (error)
            us_fail_in(error, set->sample->name);
    }
    return error;
}

/* What was not made is the same as the preprocessing's own colour, or as its planes. */
static const struct planes *variant(const us_patches *patches, const struct plane_set *set, int color, int limit) {
    const struct planes *p = &set->variants[color * patches->limits + limit];
    if (!p->floats && !p->bytes)
        p = &set->variants[patches->base * patches->limits + limit];
    return p->floats || p->bytes ? p : &set->planes;
}

/* ---- Where a patch comes from ---- */

/* Pixel number n of the field, row by row. */
static void field_pixel(const struct plane_set *set, uint32_t n, int64_t *y, int64_t *x) {
    const struct us_image *image = &set->sample->image;
    const uint8_t *row;
    int64_t low = 0, high = image->height, column = 0;
    while (high - low > 1) { /* the last row with rows[low] <= n */
        int64_t middle = low + (high - low) / 2;
        if (set->rows[middle] <= n)
            low = middle;
        else
            high = middle;
    }
    row = set->sample->mask + low * image->width;
    for (n -= set->rows[low];; column++)
        if (row[column] && n-- == 0)
            break;
    *y = low;
    *x = column;
}

/*
 * What a patch takes from an image, row of the image by row: for m in [m0, m1) (rows) and n in [n0, n1) (along a row)
 * pixel from + m * from_m + n * from_n of the image goes to m * to_m + n * to_n of the patch. A turned patch is written
 * with strides, but always read along rows.
 */
struct cut {
    int64_t from, from_m, from_n, to_m, to_n;
    int64_t m0, m1, n0, n1;
};

/* The part of [0, n) for which base + sign * k lies in [0, size). */
static void visible(int64_t base, int sign, int64_t n, int64_t size, int64_t *first, int64_t *end) {
    int64_t a = sign > 0 ? -base : base - size + 1, b = sign > 0 ? size - base : base + 1;
    *first = US_MIN(US_MAX(a, 0), n);
    *end = US_MAX(US_MIN(b, n), *first);
}

/*
 * The h x w patch at (top, left), flipped, then turned counterclockwise by so many quarters. Pixel (i, j) of the turned
 * patch is, before the flips,
 *     no turn: row i, column j;                   one: row j, column w - 1 - i;
 *     two: row h - 1 - i, column w - 1 - j;       three: row h - 1 - j, column i.
 */
static void make_cut(struct cut *cut, const struct us_image *image, int64_t top, int64_t left, int64_t h, int64_t w,
                     int flip_h, int flip_v, int turns) {
    int down = turns == 2 || turns == 3, back = turns == 1 || turns == 2; /* y, x run backwards */
    int sign_y, sign_x;
    int64_t y, x;
    down ^= flip_v;
    back ^= flip_h;
    sign_y = down ? -1 : 1;
    sign_x = back ? -1 : 1;
    y = down ? top + h - 1 : top;
    x = back ? left + w - 1 : left;
    cut->from = y * image->width + x;
    cut->from_m = sign_y * image->width;
    cut->from_n = sign_x;
    cut->to_m = turns & 1 ? 1 : w; /* a turned patch is square */
    cut->to_n = turns & 1 ? w : 1;
    visible(y, sign_y, h, image->height, &cut->m0, &cut->m1);
    visible(x, sign_x, w, image->width, &cut->n0, &cut->n1);
}

static void copy_bytes(const struct cut *cut, const uint8_t *plane, int64_t area, uint8_t *out) {
    int64_t m, n;
    memset(out, 0, (size_t)area);
    for (m = cut->m0; m < cut->m1; m++) {
        int64_t from = cut->from + m * cut->from_m, to = m * cut->to_m;
        if (cut->from_n == 1 && cut->to_n == 1)
            memcpy(out + to + cut->n0, plane + from + cut->n0, (size_t)(cut->n1 - cut->n0));
        else
            for (n = cut->n0; n < cut->n1; n++)
                out[to + n * cut->to_n] = plane[from + n * cut->from_n];
    }
}

/* ---- Values ---- */

/* x -> scale * gamma(x) + shift; curve holds gamma at k / 255, NULL: none. */
struct tone {
    const float *curve;
    float scale, shift;
};

static float tone_at(const struct tone *t, float x) {
    if (t->curve && x > 0.0f && x < 1.0f) {
        float place = x * 255.0f;
        int k = US_MIN((int)place, 254);
        x = t->curve[k] + (t->curve[k + 1] - t->curve[k]) * (place - (float)k);
    }
    return x * t->scale + t->shift;
}

static void copy_through_table(const struct cut *cut, const uint8_t *plane, int64_t area, const float table[256],
                               float *out) {
    int64_t m, n;
    memset(out, 0, (size_t)area * sizeof(float));
    for (m = cut->m0; m < cut->m1; m++) {
        int64_t from = cut->from + m * cut->from_m, to = m * cut->to_m;
        for (n = cut->n0; n < cut->n1; n++)
            out[to + n * cut->to_n] = table[plane[from + n * cut->from_n]];
    }
}

static void copy_floats(const struct cut *cut, const float *plane, int64_t area, const struct tone *tone, float *out) {
    int64_t m, n;
    memset(out, 0, (size_t)area * sizeof(float));
    for (m = cut->m0; m < cut->m1; m++) {
        int64_t from = cut->from + m * cut->from_m, to = m * cut->to_m;
        if (!tone->curve)
            for (n = cut->n0; n < cut->n1; n++)
                out[to + n * cut->to_n] = plane[from + n * cut->from_n] * tone->scale + tone->shift;
        else
            for (n = cut->n0; n < cut->n1; n++)
                out[to + n * cut->to_n] = tone_at(tone, plane[from + n * cut->from_n]);
    }
}

/* ---- Mixtures ---- */

/* A weighted sum of planes. */
struct mixture {
    const struct planes *of[4];
    float weight[4];
    int n;
};

static void mix_in(struct mixture *mix, const us_patches *patches, const struct plane_set *set, int color,
                   double weight, double high) {
    int k;
    for (k = 0; k < patches->limits; k++, mix->n++) {
        mix->of[mix->n] = variant(patches, set, color, k);
        mix->weight[mix->n] = (float)(patches->limits == 1 ? weight : k == 0 ? weight * (1.0 - high) : weight * high);
    }
}

/* Adds a plane times its weight. */
static void add_plane(const struct cut *cut, const struct planes *planes, size_t offset, float weight, float *out) {
    int64_t m, n;
    for (m = cut->m0; m < cut->m1; m++) {
        int64_t from = (int64_t)offset + cut->from + m * cut->from_m, to = m * cut->to_m;
        if (planes->bytes)
            for (n = cut->n0; n < cut->n1; n++)
                out[to + n * cut->to_n] += (float)planes->bytes[from + n * cut->from_n] / 255.0f * weight;
        else
            for (n = cut->n0; n < cut->n1; n++)
                out[to + n * cut->to_n] += planes->floats[from + n * cut->from_n] * weight;
    }
}

static void mix_planes(const struct cut *cut, const struct mixture *mix, size_t offset, int64_t area,
                       const struct tone *tone, float *out) {
    int64_t m, n;
    int k;
    memset(out, 0, (size_t)area * sizeof(float));
    for (k = 0; k < mix->n; k++)
        add_plane(cut, mix->of[k], offset, mix->weight[k], out);
    for (m = cut->m0; m < cut->m1; m++)
        for (n = cut->n0; n < cut->n1; n++)
            out[m * cut->to_m + n * cut->to_n] = tone_at(tone, out[m * cut->to_m + n * cut->to_n]);
}

static double amplitude(struct us_rng *rng, float a) {
    return (2.0 * us_rng_uniform(rng) - 1.0) * (double)a; /* always one number, so that no option changes another's */
}

/* The numbers are drawn whatever is on, as above. */
static void draw_mixture(struct mixture *mix, const us_patches *patches, const struct plane_set *set, struct us_rng *rng,
                         const struct us_augment *augment) {
    const double share = us_rng_uniform(rng), alpha = us_rng_uniform(rng), high = us_rng_uniform(rng);
    const int first = (int)us_rng_below(rng, US_COLOR_PLANES), second = (int)us_rng_below(rng, US_COLOR_PLANES - 1);
    if (patches->colors > 1 && share < (double)augment->color_mix) {
        mix_in(mix, patches, set, first, alpha, high);
        mix_in(mix, patches, set, second + (second >= first), 1.0 - alpha, high);
    } else if (patches->limits > 1) {
        mix_in(mix, patches, set, patches->base, 1.0, high);
    }
}

/* ---- Drawing ---- */

void us_patches_draw(const us_patches *patches, uint64_t seed, enum us_purpose purpose, uint64_t epoch, uint64_t sample,
                     const struct us_augment *augment, float *x, uint8_t *label, uint8_t *mask) {
    struct us_rng rng = us_rng_stream(seed, purpose, epoch, sample);
    const struct plane_set *set = &patches->sets[us_rng_below(&rng, (uint64_t)patches->count)];
    const struct us_image *image = &set->sample->image;
    int64_t h = patches->patch_h, w = patches->patch_w, y, column, k;
    size_t plane = (size_t)image->height * (size_t)image->width;
    int64_t area = h * w;
    float curve[256], table[256];
    struct tone tone = {NULL, 1.0f, 0.0f};
    int flip_h = 0, flip_v = 0, turns = 0, c;
    struct mixture mix = {{NULL, NULL, NULL, NULL}, {0, 0, 0, 0}, 0};
    double noise = 0, blur = 0;
    struct cut cut;
    field_pixel(set, (uint32_t)us_rng_below(&rng, set->rows[image->height]), &y, &column);
    if (augment) {
        double gamma, contrast, brightness;
        rng = us_rng_stream(seed, US_RNG_AUGMENT, epoch, sample);
        k = (int64_t)us_rng_below(&rng, 16);
        flip_h = augment->flips ? (int)(k & 1) : 0;
        flip_v = augment->flips ? (int)(k >> 1 & 1) : 0;
        turns = augment->quarter_turns && h == w ? (int)(k >> 2) : 0;
        gamma = amplitude(&rng, augment->gamma);
        contrast = amplitude(&rng, augment->contrast);
        brightness = amplitude(&rng, augment->brightness);
        if (gamma != 0) {
            double power = us_exp(gamma);
            curve[0] = 0.0f;
            for (k = 1; k < 256; k++)
                curve[k] = (float)us_exp(power * patches->logs[k]);
            tone.curve = curve;
        }
        tone.scale = (float)(1.0 + contrast);
        tone.shift = (float)(0.5 - 0.5 * (1.0 + contrast) + brightness);
        if (set->variants)
            draw_mixture(&mix, patches, set, &rng, augment);
        rng = us_rng_stream(seed, US_RNG_NOISE, epoch, sample);
        noise = us_rng_uniform(&rng) * (double)augment->noise;
        blur = us_rng_uniform(&rng) * (double)augment->blur;
    }
    make_cut(&cut, image, y - h / 2, column - w / 2, h, w, flip_h, flip_v, turns);
    if (set->planes.bytes)
        for (k = 0; k < 256; k++)
            table[k] = tone_at(&tone, (float)k / 255.0f);
    for (c = 0; c < patches->channels; c++)
        if (mix.n > 0)
            mix_planes(&cut, &mix, (size_t)c * plane, area, &tone, x + c * area);
        else if (set->planes.bytes)
            copy_through_table(&cut, set->planes.bytes + (size_t)c * plane, area, table, x + c * area);
        else
            copy_floats(&cut, set->planes.floats + (size_t)c * plane, area, &tone, x + c * area);
    if (noise > 0 || blur > 0) {
        struct us_patch_part part = {x, patches->channels, h, w, cut.m0, cut.m1, cut.n0, cut.n1};
        if (turns & 1) {
            part.i0 = cut.n0;
            part.i1 = cut.n1;
            part.j0 = cut.m0;
            part.j1 = cut.m1;
        }
        us_patch_blur(&part, blur);
        us_patch_noise(&part, noise, &rng);
    }
    copy_bytes(&cut, set->sample->label, area, label);
    if (mask)
        copy_bytes(&cut, set->sample->mask, area, mask);
}
