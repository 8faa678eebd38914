/* model.c - exported: models, their options, preprocessing, metadata and named weights. */
#include "api/api.h"

#include <string.h>

/* ---- Options ---- */

static const unetstar_model_options model_defaults = {sizeof(unetstar_model_options),
                                                      0.5,
                                                      1.0,
                                                      0.0,
                                                      2024,
                                                      1,
                                                      2,
                                                      4,
                                                      UNETSTAR_FUSION_STAR,
                                                      UNETSTAR_ACTIVATION_NONE,
                                                      UNETSTAR_NORM_BATCH,
                                                      UNETSTAR_UPSAMPLING_NEAREST,
                                                      0,
                                                      0,
                                                      8,
                                                      UNETSTAR_PRECISION_FAST,
                                                      0.01f,
                                                      UNETSTAR_BLOCK_DOUBLE_CONV,
                                                      3,
                                                      0,
                                                      UNETSTAR_INIT_PYTORCH};
typedef char check_model[sizeof(unetstar_model_options) == offsetof(unetstar_model_options, initialization) + sizeof(int32_t)
                             ? 1
                             : -1];

int unetstar_model_options_init(unetstar_model_options *options, size_t size) {
    return us_options_init(options, size, &model_defaults, sizeof model_defaults, "model options");
}

void us_net_options_from(struct us_net_options *to, const unetstar_model_options *from) {
    to->narrow = from->narrow;
    to->channel_multiplier = from->channel_multiplier;
    to->dropout = from->dropout;
    to->seed = from->seed;
    to->in_channels = from->in_channels;
    to->classes = from->classes;
    to->levels = from->levels;
    to->fusion = from->fusion;
    to->activation = from->activation;
    to->norm = from->norm;
    to->upsampling = from->upsampling;
    to->full_resolution_head = from->full_resolution_head;
    to->deep_supervision = from->deep_supervision;
    to->norm_groups = from->norm_groups;
    to->precision = from->precision;
    to->leaky_slope = from->leaky_slope;
    to->block = from->block;
    to->block_expansion = from->block_expansion;
    to->fusion_norm = from->fusion_norm;
    to->initialization = from->initialization;
}

int unetstar_model_get_options(const unetstar_model *model, unetstar_model_options *options) {
    unetstar_model_options o = model_defaults;
    const struct us_net_options *n;
    int code = us_need(model, "model");
    code = code ? code : us_need(options, "options");
    if (code)
        return code;
    n = &model->net->options;
    o.narrow = n->narrow;
    o.channel_multiplier = n->channel_multiplier;
    o.dropout = n->dropout;
    o.seed = n->seed;
    o.in_channels = n->in_channels;
    o.classes = n->classes;
    o.levels = n->levels;
    o.fusion = n->fusion;
    o.activation = n->activation;
    o.norm = n->norm;
    o.upsampling = n->upsampling;
    o.full_resolution_head = n->full_resolution_head;
    o.deep_supervision = n->deep_supervision;
    o.norm_groups = n->norm_groups;
    o.precision = n->precision;
    o.leaky_slope = n->leaky_slope;
    o.block = n->block;
    o.block_expansion = n->block_expansion;
    o.fusion_norm = n->fusion_norm;
    o.initialization = n->initialization;
    return us_options_init(options, options->struct_size, &o, sizeof o, "model options");
}

/* ---- Life ---- */

/* Three input channels are colours as they are; one is the original protocol. */
static void default_prep(struct us_prep *prep, int in_channels) {
    us_prep_default(prep);
    if (in_channels == 3) {
        prep->color = UNETSTAR_COLOR_RGB;
        prep->min_max = prep->clahe_tiles = 0;
        prep->gamma = 1;
    }
}

int us_model_new(unetstar_model **out, us_context *ctx, const struct us_net_options *options) {
    unetstar_model *m;
    int code;
    *out = NULL;
    m = (unetstar_model *)us_alloc_zero(ctx, sizeof *m);
    if (!m)
        return UNETSTAR_ENOMEM;
    m->ctx = us_context_ref(ctx);
    m->refs = 1;
    m->generation = 1;
    code = us_net_create(&m->net, ctx, options);
    if (!code)
        code = us_params_create(&m->params, ctx, m->net);
    if (code) {
        us_model_unref(m);
        return code;
    }
    default_prep(&m->prep, options->in_channels);
    *out = m;
    return 0;
}

unetstar_model *us_model_ref(unetstar_model *model) {
    us_atomic_add(&model->refs, 1);
    return model;
}

static void drop_folded(unetstar_model *model) {
    int i;
    for (i = 0; i < US_COUNT(model->folded); i++) {
        us_folded_unref(model->folded[i]);
        model->folded[i] = NULL;
    }
}

void us_model_unref(unetstar_model *model) {
    us_context *ctx;
    int64_t i;
    if (!model || us_atomic_add(&model->refs, -1) > 0)
        return;
    ctx = model->ctx;
    drop_folded(model);
    us_free(ctx, model->calibration);
    us_params_destroy(ctx, &model->params);
    us_net_destroy(ctx, model->net);
    for (i = 0; i < model->n_meta; i++) {
        us_free(ctx, model->meta[i].key);
        us_free(ctx, model->meta[i].value);
    }
    us_free(ctx, model->meta);
    us_free(ctx, model);
    us_context_unref(ctx);
}

int unetstar_model_create(unetstar_model **out, unetstar_context *context, const unetstar_model_options *options) {
    unetstar_model_options o = model_defaults;
    struct us_net_options net;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(context, "context");
    code = code ? code : us_options_read(&o, sizeof o, options, "model options");
    if (code)
        return code;
    us_net_options_from(&net, &o);
    us_fp_enter();
    code = us_model_new(out, context, &net);
    if (!code)
        us_params_init(&(*out)->params, (*out)->net, net.seed);
    us_fp_leave();
    return code;
}

void unetstar_model_destroy(unetstar_model *model) {
    us_model_unref(model);
}

int64_t unetstar_model_parameter_count(const unetstar_model *model) {
    return model ? us_net_parameter_count(model->net) : 0;
}

static void change(unetstar_model *model, struct us_calibration *calibration) {
    struct us_calibration *old;
    us_lock(&model->lock);
    old = model->calibration;
    model->calibration = calibration;
    model->generation++;
    us_unlock(&model->lock);
    us_free(model->ctx, old);
}

void us_model_touch(unetstar_model *model) {
    change(model, NULL);
}

void us_model_set_calibration(unetstar_model *model, struct us_calibration *calibration) {
    change(model, calibration);
}

int us_model_folded(unetstar_model *model, int precision, struct us_folded **out) {
    const int exact = model->net->options.precision == UNETSTAR_PRECISION_EXACT;
    const int kind = exact ? UNETSTAR_PRECISION_EXACT : precision, int8 = kind == UNETSTAR_PRECISION_INT8;
    int code = 0;
    us_lock(&model->lock);
    if (model->folded_at != model->generation)
        drop_folded(model);
    model->folded_at = model->generation;
    if (int8 && !model->calibration)
        code = us_fail(UNETSTAR_ESTATE, "the model has no calibration; call unetstar_model_calibrate");
    else if (!model->folded[kind])
        code = us_folded_create(&model->folded[kind], model->ctx, model->net, &model->params, kind,
                                int8 ? model->calibration : NULL);
    *out = code ? NULL : us_folded_ref(model->folded[kind]);
    us_unlock(&model->lock);
    return code;
}

/* ---- Preprocessing and metadata ---- */

int unetstar_model_set_prep(unetstar_model *model, const unetstar_prep_options *options) {
    unetstar_prep_options o;
    struct us_prep prep;
    int code = us_need(model, "model");
    code = code ? code : us_need(options, "prep");
    if (code)
        return code;
    us_prep_default(&prep);
    us_prep_to_options(&o, &prep);
    code = us_options_read(&o, sizeof o, options, "preprocessing options");
    if (code)
        return code;
    us_prep_from_options(&prep, &o);
    us_fp_enter(); /* comparing a NaN must not trap */
    code = us_prep_check(&prep);
    us_fp_leave();
    if (code)
        return code;
    if (us_prep_channels(&prep) != model->net->options.in_channels)
        return us_fail(UNETSTAR_ESHAPE, "this preprocessing makes %d channels, the model takes %d", us_prep_channels(&prep),
                       model->net->options.in_channels);
    if (model->calibration && memcmp(&model->prep, &prep, sizeof prep))
        us_model_touch(model); /* a calibration has seen other inputs */
    model->prep = prep;
    return 0;
}

int unetstar_model_get_prep(const unetstar_model *model, unetstar_prep_options *options) {
    unetstar_prep_options o;
    int code = us_need(model, "model");
    code = code ? code : us_need(options, "prep");
    if (code)
        return code;
    us_prep_to_options(&o, &model->prep);
    return us_options_init(options, options->struct_size, &o, sizeof o, "preprocessing options");
}

static int64_t find_meta(const unetstar_model *model, const char *key) {
    int64_t i;
    for (i = 0; i < model->n_meta; i++)
        if (!strcmp(model->meta[i].key, key))
            return i;
    return -1;
}

static void remove_meta(unetstar_model *model, int64_t i) {
    us_free(model->ctx, model->meta[i].key);
    us_free(model->ctx, model->meta[i].value);
    model->meta[i] = model->meta[--model->n_meta];
}

static int grow_meta(unetstar_model *model) {
    const int64_t capacity = model->meta_capacity ? 2 * model->meta_capacity : 8;
    struct us_meta_pair *pairs;
    if (model->n_meta < model->meta_capacity)
        return 0;
    pairs = (struct us_meta_pair *)us_alloc(model->ctx, sizeof *pairs * (size_t)capacity);
    if (!pairs)
        return UNETSTAR_ENOMEM;
    if (model->n_meta)
        memcpy(pairs, model->meta, sizeof *pairs * (size_t)model->n_meta);
    us_free(model->ctx, model->meta);
    model->meta = pairs;
    model->meta_capacity = capacity;
    return 0;
}

int us_model_put_meta(unetstar_model *model, const char *key, const char *value) {
    const int64_t at = find_meta(model, key);
    struct us_meta_pair pair;
    if (!value) {
        if (at >= 0)
            remove_meta(model, at);
        return 0;
    }
    pair.value = us_strdup(model->ctx, value);
    if (!pair.value)
        return UNETSTAR_ENOMEM;
    if (at >= 0) {
        us_free(model->ctx, model->meta[at].value);
        model->meta[at].value = pair.value;
        return 0;
    }
    pair.key = us_strdup(model->ctx, key);
    if (!pair.key || grow_meta(model)) {
        us_free(model->ctx, pair.key);
        us_free(model->ctx, pair.value);
        return UNETSTAR_ENOMEM;
    }
    model->meta[model->n_meta++] = pair;
    return 0;
}

/* A file could not hold anything else. */
static int need_utf8(const char *text, const char *argument) {
    size_t left = strlen(text);
    while (left > 0) {
        const int length = us_utf8_length(text, left);
        if (length < 1)
            return us_fail(UNETSTAR_EINVAL, "argument %s is not valid UTF-8", argument);
        text += length;
        left -= (size_t)length;
    }
    return 0;
}

int unetstar_model_set_meta(unetstar_model *model, const char *key, const char *value) {
    int code = us_need(model, "model");
    code = code ? code : us_need(key, "key");
    code = code ? code : need_utf8(key, "key");
    if (!code && value)
        code = need_utf8(value, "value");
    if (code)
        return code;
    if (!*key)
        return us_fail(UNETSTAR_EINVAL, "a metadata key is empty");
    if (!strncmp(key, "unetstar.", 9))
        return us_fail(UNETSTAR_EINVAL, "metadata key %s: keys beginning with 'unetstar.' are the library's own", key);
    return us_model_put_meta(model, key, value);
}

const char *unetstar_model_get_meta(const unetstar_model *model, const char *key) {
    const int64_t at = model && key ? find_meta(model, key) : -1;
    return at >= 0 ? model->meta[at].value : NULL;
}

/* ---- Named weights ---- */

int64_t unetstar_model_tensor_count(const unetstar_model *model) {
    return model ? model->net->n_weights : 0;
}

const char *unetstar_model_tensor_name(const unetstar_model *model, int64_t i) {
    return model && i >= 0 && i < model->net->n_weights ? model->net->weights[i].name : NULL;
}

static int find_weight(const struct us_weight **out, const unetstar_model *model, const char *name) {
    int code = us_need(model, "model");
    code = code ? code : us_need(name, "name");
    if (code)
        return code;
    *out = us_net_find(model->net, name);
    return *out ? 0 : us_fail(UNETSTAR_EINVAL, "the model has no tensor named %.100s", name);
}

static int check_count(const struct us_weight *w, int64_t count) {
    if (count < 0 || (size_t)count != us_weight_count(w))
        return us_fail(UNETSTAR_ESHAPE, "%s has %zu values, not %lld", w->name, us_weight_count(w), (long long)count);
    return 0;
}

int unetstar_model_tensor_shape(const unetstar_model *model, const char *name, int32_t *dtype, int32_t *ndim,
                                int64_t shape[UNETSTAR_MAX_DIMS]) {
    const struct us_weight *w;
    int code = find_weight(&w, model, name), d;
    code = code ? code : us_need(dtype, "dtype");
    code = code ? code : us_need(ndim, "ndim");
    code = code ? code : us_need(shape, "shape");
    if (code)
        return code;
    *dtype = w->kind == US_WEIGHT_COUNTER ? UNETSTAR_INT64 : UNETSTAR_FLOAT32;
    *ndim = w->ndim;
    for (d = 0; d < w->ndim; d++)
        shape[d] = w->shape[d];
    return 0;
}

int unetstar_model_tensor_get(const unetstar_model *model, const char *name, void *data, int64_t count) {
    const struct us_weight *w;
    int code = find_weight(&w, model, name);
    code = code ? code : us_need(data, "data");
    code = code ? code : check_count(w, count);
    if (code)
        return code;
    if (w->kind == US_WEIGHT_COUNTER)
        memcpy(data, &model->params.batches[w->owner], sizeof(int64_t));
    else
        us_weight_get(model->net, w, w->in_buffers ? model->params.buffers : model->params.arena, (float *)data);
    return 0;
}

int unetstar_model_tensor_set(unetstar_model *model, const char *name, const void *data, int64_t count) {
    const struct us_weight *w;
    int code = find_weight(&w, model, name);
    code = code ? code : us_need(data, "data");
    code = code ? code : check_count(w, count);
    if (code)
        return code;
    if (w->kind == US_WEIGHT_COUNTER)
        memcpy(&model->params.batches[w->owner], data, sizeof(int64_t));
    else
        us_weight_set(model->net, w, w->in_buffers ? model->params.buffers : model->params.arena, (const float *)data);
    us_model_touch(model);
    return 0;
}
