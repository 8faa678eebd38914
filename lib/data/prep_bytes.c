/*
 * prep_bytes.c - what preprocessing has learned of an image, as bytes and back.
 *
 * Little-endian, the same on every machine: the word "ustrprep", a version, options, the image's shape, whether a field of view
 * was found, then for each plane its extrema, mean and deviation, then the planes' CLAHE tables, the ends of the field's rows,
 * and FNV-1a of all that. Sizes follow from the options and the shape alone; a reader believes neither before they are checked,
 * and then expects exactly so many bytes.
 */
#include "data/data.h"

#include <string.h>

#define VERSION 1
#define HEAD 64  /* bytes before the planes */
#define PLANE 24 /* bytes of a plane's numbers */
#define TAIL 8   /* the checksum */
#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static const char magic[8] = {'u', 's', 't', 'r', 'p', 'r', 'e', 'p'};

static uint64_t fnv(uint64_t hash, const uint8_t *data, size_t size) {
    for (; size > 0; size--)
        hash = (hash ^ *data++) * FNV_PRIME;
    return hash;
}

/* ---- Numbers ---- */

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    int i;
    for (i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_float(uint8_t *at, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put(at, bits, 4);
}

static uint8_t *put_double(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put(at, bits, 8);
}

static uint64_t get(const uint8_t **at, int bytes) {
    uint64_t value = 0;
    int i;
    for (i = 0; i < bytes; i++)
        value |= (uint64_t)*(*at)++ << (8 * i);
    return value;
}

static int32_t get_int(const uint8_t **at) {
    const uint32_t bits = (uint32_t)get(at, 4);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float get_float(const uint8_t **at) {
    const uint32_t bits = (uint32_t)get(at, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double get_double(const uint8_t **at) {
    const uint64_t bits = get(at, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- Out ---- */

struct writer {
    unetstar_write_fn write;
    void *user;
    uint64_t hash;
    int failed;
};

static void emit(struct writer *w, const void *data, size_t size) {
    if (w->failed || size == 0)
        return;
    w->hash = fnv(w->hash, (const uint8_t *)data, size);
    w->failed = w->write(w->user, data, size);
}

static void emit_head(struct writer *w, const struct us_prep_state *s) {
    uint8_t head[HEAD], *at = head;
    memcpy(at, magic, sizeof magic);
    at = put(at + sizeof magic, VERSION, 4);
    at = put(at, (uint32_t)s->prep.color, 4);
    at = put(at, (uint32_t)s->prep.min_max, 4);
    at = put(at, (uint32_t)s->prep.clahe_tiles, 4);
    at = put(at, (uint32_t)s->prep.standardize, 4);
    at = put_float(at, s->prep.clahe_clip);
    at = put_float(at, s->prep.gamma);
    at = put(at, (uint64_t)s->width, 8);
    at = put(at, (uint64_t)s->height, 8);
    at = put(at, (uint32_t)s->channels, 4);
    at = put(at, (uint32_t)s->bits, 4);
    put(at, (uint32_t)s->found.source, 4);
    emit(w, head, HEAD);
}

int us_prep_state_write(const struct us_prep_state *s, unetstar_write_fn write, void *user) {
    struct writer w;
    uint8_t bytes[PLANE], *at;
    int64_t i;
    int c;
    w.write = write;
    w.user = user;
    w.hash = FNV_BASIS;
    w.failed = 0;
    emit_head(&w, s);
    for (c = 0; c < s->planes; c++) {
        const struct us_prep_plane *p = &s->plane[c];
        at = put(bytes, (uint32_t)(s->prep.min_max ? p->least : 0), 4);
        at = put(at, (uint32_t)(s->prep.min_max ? p->most : 0), 4);
        at = put_double(at, p->mean);
        put_double(at, p->deviation);
        emit(&w, bytes, PLANE);
    }
    for (c = 0; c < s->planes && s->prep.clahe_tiles > 0; c++)
        emit(&w, s->plane[c].clahe.tables, us_clahe_size(s->prep.clahe_tiles));
    for (i = 0; s->found.source == UNETSTAR_FIELD_FOUND && i < s->found.height; i++) {
        at = put(bytes, (uint32_t)s->found.left[i], 4);
        put(at, (uint32_t)s->found.right[i], 4);
        emit(&w, bytes, 8);
    }
    put(bytes, w.hash, TAIL);
    emit(&w, bytes, TAIL);
    return w.failed;
}

/* ---- In ---- */

static int bad(const char *reason) {
    return us_fail(UNETSTAR_EFORMAT, "saved preprocessing: %s", reason);
}

/* What the head says, believed only as far as it is possible. */
struct head {
    struct us_prep prep;
    struct us_fov field;
    int64_t width, height;
    int32_t channels, bits, source;
};

static int read_head(struct head *h, const uint8_t *at) {
    uint64_t version;
    if (memcmp(at, magic, sizeof magic))
        return bad("these are other bytes");
    at += sizeof magic;
    version = get(&at, 4);
    if (version != VERSION)
        return us_fail(version > VERSION ? UNETSTAR_EVERSION : UNETSTAR_EFORMAT,
                       "saved preprocessing: version %llu is unknown", (unsigned long long)version);
    h->prep.color = get_int(&at);
    h->prep.min_max = get_int(&at);
    h->prep.clahe_tiles = get_int(&at);
    h->prep.standardize = get_int(&at);
    h->prep.clahe_clip = get_float(&at);
    h->prep.gamma = get_float(&at);
    h->width = (int64_t)get(&at, 8);
    h->height = (int64_t)get(&at, 8);
    h->channels = get_int(&at);
    h->bits = get_int(&at);
    h->source = get_int(&at);
    if (us_prep_check(&h->prep)) {
        us_fail_in(UNETSTAR_EFORMAT, "saved preprocessing");
        return UNETSTAR_EFORMAT;
    }
    if (h->width < 1 || h->width > US_IMAGE_MAX || h->height < 1 || h->height > US_IMAGE_MAX)
        return bad("the image's size is impossible");
    if ((h->channels != 1 && h->channels != 3) || (h->bits != 8 && h->bits != 16))
        return bad("the image's samples are impossible");
    us_fov_begin(&h->field, h->width, h->height);
    if (h->source != UNETSTAR_FIELD_WHOLE && (h->source != UNETSTAR_FIELD_FOUND || h->field.height == 0))
        return bad("the field of view is impossible");
    return 0;
}

static int read_plane(struct us_prep_state *s, struct us_prep_plane *p, const uint8_t *at) {
    const int32_t least = get_int(&at), most = get_int(&at);
    const double mean = get_double(&at), deviation = get_double(&at);
    if (least < 0 || least > most || (double)most > p->unit)
        return bad("extrema are impossible");
    if (!(mean > -1e30 && mean < 1e30 && deviation > 1e-12 && deviation < 1e30))
        return bad("a mean or deviation is impossible");
    p->mean = mean;
    p->deviation = deviation;
    if (s->prep.min_max)
        us_prep_plane_range(p, least, most);
    return 0;
}

static int read_ends(struct us_fov *f, const uint8_t *at) {
    int64_t i;
    for (i = 0; i < f->height; i++) {
        f->left[i] = get_int(&at);
        f->right[i] = get_int(&at);
        if (f->left[i] < 0 || f->left[i] > f->width || f->right[i] < -1 || f->right[i] >= f->width)
            return bad("the ends of the field of view are impossible");
    }
    f->source = UNETSTAR_FIELD_FOUND;
    return 0;
}

static int read_rest(struct us_prep_state *s, const struct head *h, const uint8_t *at) {
    const size_t tables = h->prep.clahe_tiles > 0 ? us_clahe_size(h->prep.clahe_tiles) : 0;
    int c;
    for (c = 0; c < s->planes; c++, at += PLANE)
        if (read_plane(s, &s->plane[c], at))
            return UNETSTAR_EFORMAT;
    for (c = 0; c < s->planes && tables > 0; c++, at += tables)
        memcpy(s->plane[c].clahe.tables, at, tables);
    return h->source == UNETSTAR_FIELD_FOUND ? read_ends(&s->found, at) : 0;
}

int us_prep_state_read(struct us_prep_state *out, us_context *ctx, const void *data, size_t size) {
    const uint8_t *bytes = (const uint8_t *)data, *at;
    struct us_prep_state s;
    struct head h;
    void *memory;
    size_t expected;
    int field, code;
    if (size < HEAD + TAIL)
        return bad("it is too short");
    code = read_head(&h, bytes);
    if (code)
        return code;
    expected = HEAD + TAIL + (size_t)us_prep_channels(&h.prep) * (PLANE + us_clahe_size(h.prep.clahe_tiles)) +
               (h.source == UNETSTAR_FIELD_FOUND ? (size_t)h.field.height * 8 : 0);
    if (size != expected)
        return us_fail(UNETSTAR_EFORMAT, "saved preprocessing: %zu bytes instead of %zu", size, expected);
    at = bytes + size - TAIL;
    if (fnv(FNV_BASIS, bytes, size - TAIL) != get(&at, TAIL))
        return bad("its checksum is wrong");
    field = h.source == UNETSTAR_FIELD_FOUND ? US_PREP_FIELD_WANTED : US_PREP_FIELD_GIVEN;
    us_prep_state_begin(&s, &h.prep, h.width, h.height, h.channels, h.bits, field, NULL); /* measures what is kept */
    memory = us_alloc(ctx, s.kept);
    if (!memory)
        return UNETSTAR_ENOMEM;
    us_prep_state_begin(&s, &h.prep, h.width, h.height, h.channels, h.bits, field, memory);
    code = read_rest(&s, &h, bytes + HEAD);
    if (code) {
        us_free(ctx, memory);
        return code;
    }
    us_prep_state_end(&s);
    *out = s;
    return 0;
}
