/* model_write.c - exported: saving models through a callback; and the bundle of tensors and metadata that weights and
 * checkpoints are made of. The tensors stay where they are until they are written. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

/* ---- Bundles ---- */

void us_bundle_init(struct us_bundle *b, us_context *ctx) {
    memset(b, 0, sizeof *b);
    b->ctx = ctx;
}

void us_bundle_free(struct us_bundle *b) {
    int64_t i;
    for (i = 0; i < b->n_blocks; i++)
        us_free(b->ctx, b->blocks[i]);
    us_free(b->ctx, b->blocks);
    us_free(b->ctx, b->tensors);
    us_free(b->ctx, b->meta);
    memset(b, 0, sizeof *b);
}

/* Room for one more element of `size` bytes. */
static int grow(us_context *ctx, void **array, int64_t count, int64_t *capacity, size_t size) {
    const int64_t larger = *capacity ? 2 * *capacity : 64;
    void *next;
    if (count < *capacity)
        return 0;
    next = us_alloc(ctx, size * (size_t)larger);
    if (!next)
        return UNETSTAR_ENOMEM;
    if (count)
        memcpy(next, *array, size * (size_t)count);
    us_free(ctx, *array);
    *array = next;
    *capacity = larger;
    return 0;
}

/* Memory that lives as long as the bundle. */
static void *keep(struct us_bundle *b, size_t size) {
    void *block;
    void *array = b->blocks;
    if (grow(b->ctx, &array, b->n_blocks, &b->block_capacity, sizeof *b->blocks))
        return NULL;
    b->blocks = (void **)array;
    block = us_alloc(b->ctx, size);
    if (block)
        b->blocks[b->n_blocks++] = block;
    return block;
}

static const char *keep_joined(struct us_bundle *b, const char *prefix, const char *name) {
    const size_t size = strlen(prefix) + strlen(name) + 1;
    char *text = (char *)keep(b, size);
    if (text)
        snprintf(text, size, "%s%s", prefix, name);
    return text;
}

int us_bundle_meta(struct us_bundle *b, const char *key, const char *value) {
    void *array = b->meta;
    const char *k = keep_joined(b, key, ""), *v = k ? keep_joined(b, value, "") : NULL;
    if (!v || grow(b->ctx, &array, b->n_meta, &b->meta_capacity, sizeof *b->meta))
        return UNETSTAR_ENOMEM;
    b->meta = (struct us_st_meta *)array;
    b->meta[b->n_meta].key = k;
    b->meta[b->n_meta++].value = v;
    return 0;
}

int us_bundle_fields(struct us_bundle *b, const char *prefix, const struct us_field *fields, const void *object) {
    int code = 0;
    for (; fields->name && !code; fields++) {
        char key[80], text[US_FIELD_TEXT];
        snprintf(key, sizeof key, "%s%s", prefix, fields->name);
        us_field_format(fields, object, text);
        code = us_bundle_meta(b, key, text);
    }
    return code;
}

/* Where a tensor's values are. */
struct origin {
    const struct us_net *net;
    const struct us_weight *weight;
    const float *arena;
    const int64_t *batches;
};

/* Files are little-endian. */
static void to_file_order(unsigned char *bytes, size_t count, size_t size) {
    const uint16_t probe = 1;
    size_t i, k;
    for (i = 0; i < count && !*(const unsigned char *)&probe; i++, bytes += size)
        for (k = 0; k < size / 2; k++) {
            const unsigned char other = bytes[k];
            bytes[k] = bytes[size - 1 - k];
            bytes[size - 1 - k] = other;
        }
}

static void fill_tensor(const void *arg, void *bytes) {
    const struct origin *o = (const struct origin *)arg;
    if (o->weight->kind == US_WEIGHT_COUNTER) {
        memcpy(bytes, &o->batches[o->weight->owner], 8);
        to_file_order((unsigned char *)bytes, 1, 8);
    } else {
        us_weight_get(o->net, o->weight, o->arena, (float *)bytes);
        to_file_order((unsigned char *)bytes, us_weight_count(o->weight), 4);
    }
}

static int add_tensor(struct us_bundle *b, const char *prefix, const struct us_net *net, const struct us_weight *w,
                      const struct us_params *params) {
    void *array = b->tensors;
    struct origin *origin = (struct origin *)keep(b, sizeof *origin);
    struct us_st_tensor *t;
    int d;
    if (!origin || grow(b->ctx, &array, b->n_tensors, &b->tensor_capacity, sizeof *b->tensors))
        return UNETSTAR_ENOMEM;
    origin->net = net;
    origin->weight = w;
    origin->arena = w->in_buffers ? params->buffers : params->arena;
    origin->batches = params->batches;
    b->tensors = (struct us_st_tensor *)array;
    t = &b->tensors[b->n_tensors];
    memset(t, 0, sizeof *t);
    t->name = keep_joined(b, prefix, w->name);
    if (!t->name)
        return UNETSTAR_ENOMEM;
    t->dtype = w->kind == US_WEIGHT_COUNTER ? UNETSTAR_INT64 : UNETSTAR_FLOAT32;
    t->ndim = w->ndim;
    for (d = 0; d < w->ndim; d++)
        t->shape[d] = w->shape[d];
    t->fill = fill_tensor;
    t->fill_arg = origin;
    t->bytes = us_weight_count(w) * (w->kind == US_WEIGHT_COUNTER ? 8 : 4);
    b->n_tensors++;
    return 0;
}

int us_bundle_params(struct us_bundle *b, const char *prefix, const struct us_net *net, const struct us_params *params) {
    int i, code = 0;
    for (i = 0; i < net->n_weights && !code; i++) {
        const struct us_weight *w = &net->weights[i];
        const void *values = w->in_buffers ? params->buffers : params->arena;
        if (w->kind == US_WEIGHT_COUNTER)
            values = params->batches;
        if (values) /* moments have no buffers */
            code = add_tensor(b, prefix, net, w, params);
    }
    return code;
}

int us_bundle_model(struct us_bundle *b, const unetstar_model *model) {
    char prep[US_PREP_TEXT], numerics[16];
    int64_t i;
    int code;
    snprintf(numerics, sizeof numerics, "%d", UNETSTAR_NUMERICS_VERSION);
    us_prep_format(prep, &model->prep);
    code = us_bundle_meta(b, "unetstar.version", UNETSTAR_VERSION_STRING);
    code = code ? code : us_bundle_meta(b, "unetstar.numerics", numerics);
    code = code ? code : us_bundle_meta(b, "unetstar.prep", prep);
    code = code ? code : us_bundle_fields(b, "unetstar.model.", us_model_fields, &model->net->options);
    code = code ? code : us_bundle_calibration(b, model->net, model->calibration);
    for (i = 0; i < model->n_meta && !code; i++)
        code = us_bundle_meta(b, model->meta[i].key, model->meta[i].value);
    return code ? code : us_bundle_params(b, "", model->net, &model->params);
}

int us_bundle_produce(void *arg, unetstar_write_fn write, void *user) {
    const struct us_bundle *b = (const struct us_bundle *)arg;
    return us_st_write(b->ctx, b->tensors, b->n_tensors, b->meta, b->n_meta, write, user);
}

/* ---- Exported ---- */

/* The caller's write function sees the caller's control word. */
struct writer {
    unetstar_write_fn write;
    void *user;
};

static int guarded_write(void *user, const void *data, size_t size) {
    const struct writer *w = (const struct writer *)user;
    int code;
    us_fp_callback_begin();
    code = w->write(w->user, data, size);
    us_fp_callback_end();
    return code;
}

int unetstar_model_save_callback(const unetstar_model *model, unetstar_write_fn write, void *user) {
    struct us_bundle b;
    struct writer w;
    int code = us_need(model, "model");
    if (!code && !write)
        code = us_fail(UNETSTAR_EINVAL, "argument write is NULL");
    if (code)
        return code;
    w.write = write;
    w.user = user;
    us_fp_enter();
    us_bundle_init(&b, model->ctx);
    code = us_bundle_model(&b, model);
    if (!code)
        code = us_bundle_produce(&b, guarded_write, &w);
    us_bundle_free(&b);
    us_fp_leave();
    return code;
}
