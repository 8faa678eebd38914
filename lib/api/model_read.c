/*
 * model_read.c - exported: loading models from memory and through a callback. Names are PyTorch's; inside a block the numbered
 * modules are matched by their order, so that files saved with activation modules between them load too.
 */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Finding a tensor of the file ---- */

static const char *const wrappers[] = {"", "module.", "model.", "state_dict.", "module.model.", "model.module."};

/* The prefix under which the file keeps the encoder. */
static const char *find_wrapper(const struct us_st_file *file) {
    int k;
    int64_t i;
    for (k = 0; k < US_COUNT(wrappers); k++) {
        char start[48];
        snprintf(start, sizeof start, "%sencoder.0.", wrappers[k]);
        for (i = 0; i < file->n_tensors; i++)
            if (!strncmp(file->tensors[i].name, start, strlen(start)))
                return wrappers[k];
    }
    return NULL;
}

/* Splits "decoder.1.conv.3.weight" at the number of a module: base "decoder.1.conv.", number 3, leaf ".weight". */
struct module_name {
    size_t base;
    int number;
    const char *leaf;
};

static int split_name(const char *name, struct module_name *m) {
    const char *at = strstr(name, ".conv.");
    char *end;
    if (!at || at[6] < '0' || at[6] > '9')
        return 0;
    at += 6;
    m->base = (size_t)(at - name);
    m->number = (int)strtol(at, &end, 10);
    m->leaf = end;
    return *end == '.';
}

/* How many different smaller module numbers a list of names has at the same base. */
struct ordinal {
    unsigned char seen[64];
};

static void note_module(struct ordinal *o, const char *name, const char *base, size_t length) {
    struct module_name m;
    if (!strncmp(name, base, length) && split_name(name, &m) && m.base == length && m.number < 64)
        o->seen[m.number] = 1;
}

static int rank_of(const struct ordinal *o, int number) {
    int rank = 0, k;
    for (k = 0; k < number && k < 64; k++)
        rank += o->seen[k];
    return rank;
}

static int number_at(const struct ordinal *o, int rank) {
    int k;
    for (k = 0; k < 64; k++)
        if (o->seen[k] && rank-- == 0)
            return k;
    return -1;
}

/* The file's tensor for one of our names, NULL when it has none. */
static const struct us_st_tensor *find_tensor(const struct us_st_file *file, const char *prefix, const struct us_net *net,
                                              const char *name) {
    char full[160];
    struct module_name m;
    struct ordinal ours, theirs;
    int64_t i;
    int number;
    if (split_name(name, &m)) {
        size_t base;
        memset(&ours, 0, sizeof ours);
        memset(&theirs, 0, sizeof theirs);
        for (i = 0; i < net->n_weights; i++)
            note_module(&ours, net->weights[i].name, name, m.base);
        snprintf(full, sizeof full, "%s%.*s", prefix, (int)m.base, name);
        base = strlen(full);
        for (i = 0; i < file->n_tensors; i++)
            note_module(&theirs, file->tensors[i].name, full, base);
        number = number_at(&theirs, rank_of(&ours, m.number));
        snprintf(full + base, sizeof full - base, "%d%s", number, m.leaf);
    } else {
        snprintf(full, sizeof full, "%s%s", prefix, name);
    }
    return us_st_find(file, full);
}

/* ---- Weights ---- */

static int same_shape(const struct us_st_tensor *t, const struct us_weight *w) {
    int d;
    if (t->ndim != w->ndim)
        return 0;
    for (d = 0; d < w->ndim; d++)
        if (t->shape[d] != w->shape[d])
            return 0;
    return 1;
}

static void load_values(void *to, const void *bytes, size_t count, size_t size) {
    const unsigned char *from = (const unsigned char *)bytes;
    const uint16_t probe = 1;
    size_t i, k;
    if (*(const unsigned char *)&probe) {
        memcpy(to, bytes, count * size);
        return;
    }
    for (i = 0; i < count; i++)
        for (k = 0; k < size; k++)
            ((unsigned char *)to)[i * size + k] = from[i * size + size - 1 - k];
}

/* A tensor that must be there: of the right type and shape. */
static int check_weight(const struct us_st_file *file, const char *prefix, const struct us_net *net,
                        const struct us_weight *w, const struct us_st_tensor **out) {
    const struct us_st_tensor *t = *out = find_tensor(file, prefix, net, w->name);
    if (!t)
        return us_fail(UNETSTAR_EFORMAT, "tensor %s%s is missing", prefix, w->name);
    if (t->dtype != UNETSTAR_FLOAT32)
        return us_fail(UNETSTAR_EFORMAT, "tensor %s is not stored as 32-bit float", t->name);
    if (!same_shape(t, w))
        return us_fail(UNETSTAR_ESHAPE, "tensor %s has another shape than this network's %s", t->name, w->name);
    return 0;
}

/* Whether a file holds a network, before memory is taken for it. */
static int check_params(const struct us_st_file *file, const char *prefix, us_context *ctx,
                        const struct us_net_options *options) {
    const struct us_st_tensor *t;
    struct us_net *net;
    int i, code = us_net_create(&net, ctx, options);
    if (code)
        return code;
    for (i = 0; i < net->n_weights && !code; i++)
        if (net->weights[i].kind != US_WEIGHT_COUNTER)
            code = check_weight(file, prefix, net, &net->weights[i], &t);
    us_net_destroy(ctx, net);
    return code;
}

static int read_weight(const struct us_st_file *file, const char *prefix, const struct us_net *net, const struct us_weight *w,
                       struct us_params *params) {
    const size_t count = us_weight_count(w);
    float *arena = w->in_buffers ? params->buffers : params->arena, *plain;
    const struct us_st_tensor *t;
    int code;
    if (w->kind == US_WEIGHT_COUNTER) {
        t = find_tensor(file, prefix, net, w->name);
        if (t && params->batches && t->dtype == UNETSTAR_INT64 && t->bytes == 8)
            load_values(&params->batches[w->owner], t->data, 1, 8);
        return 0; /* older files do not have it */
    }
    if (!arena)
        return 0;
    code = check_weight(file, prefix, net, w, &t);
    if (code)
        return code;
    plain = (float *)us_alloc(file->ctx, US_MAX(count, 1) * sizeof(float));
    if (!plain)
        return UNETSTAR_ENOMEM;
    load_values(plain, t->data, count, 4);
    us_weight_set(net, w, arena, plain);
    us_free(file->ctx, plain);
    return 0;
}

int us_read_params(const struct us_st_file *file, const char *prefix, const struct us_net *net, struct us_params *params) {
    int i, code = 0;
    for (i = 0; i < net->n_weights && !code; i++)
        code = read_weight(file, prefix, net, &net->weights[i], params);
    return code;
}

int us_read_fields(const struct us_st_file *file, const char *prefix, const struct us_field *fields, void *object) {
    int code = 0;
    for (; fields->name && !code; fields++) {
        char key[80];
        const char *value;
        snprintf(key, sizeof key, "%s%s", prefix, fields->name);
        value = us_st_meta_get(file, key);
        value = value ? value : fields->absent;
        if (!value)
            return us_fail(UNETSTAR_EFORMAT, "metadata %s is missing", key);
        code = us_field_parse(fields, object, value);
    }
    return code;
}

/* ---- Options of files that do not say them ---- */

static const struct us_st_tensor *named(const struct us_st_file *file, const char *wrapper, const char *format, int k) {
    char name[96];
    int used = snprintf(name, sizeof name, "%s", wrapper);
    snprintf(name + used, sizeof name - (size_t)used, format, k);
    return us_st_find(file, name);
}

/* How files name the first convolution of a stage, and what follows it. */
struct first_names {
    const char *encoder, *decoder, *norm, *running_mean;
};
static const struct first_names double_conv_names = {"encoder.%d.conv.0.weight", "decoder.%d.conv.0.weight",
                                                     "encoder.%d.conv.1.weight", "encoder.%d.conv.1.running_mean"};
static const struct first_names star_names = {"encoder.%d.lead.0.weight", "decoder.%d.lead.0.weight",
                                              "encoder.%d.lead.1.weight", "encoder.%d.lead.1.running_mean"};
static const struct first_names depthwise_names = {"encoder.%d.project.0.weight", "decoder.%d.project.0.weight",
                                                   "encoder.%d.lead.1.weight", "encoder.%d.lead.1.running_mean"};

/* A narrow that gives exactly these widths. */
static int find_narrow(const struct us_st_file *file, const char *wrapper, const struct first_names *names,
                       struct us_net_options *o) {
    const struct us_st_tensor *deepest = named(file, wrapper, names->encoder, o->levels - 1);
    int k;
    o->narrow = ((double)deepest->shape[0] + 0.5) / (64.0 * (double)(1 << (o->levels - 1)));
    if (deepest->shape[0] % (1 << (o->levels - 1)) == 0)
        o->narrow = (double)deepest->shape[0] / (64.0 * (double)(1 << (o->levels - 1)));
    for (k = 0; k < o->levels; k++) {
        const struct us_st_tensor *t = named(file, wrapper, names->encoder, k);
        if (t->shape[0] != (int64_t)(64.0 * (double)(1 << k) * o->narrow))
            return us_fail(UNETSTAR_EFORMAT, "the widths of the encoder stages do not double; the options must be given");
    }
    return 0;
}

/* Star blocks: the expansion is told from the first branch; where the activations are is not in the names. */
static void options_of_star(const struct us_st_file *file, const char *wrapper, int depthwise, struct us_net_options *o) {
    const struct us_st_tensor *branch = named(file, wrapper, "encoder.%d.f1.0.weight", 0);
    o->block = depthwise ? UNETSTAR_BLOCK_STAR_DEPTHWISE : UNETSTAR_BLOCK_STAR;
    o->activation = UNETSTAR_ACTIVATION_NONE;
    if (branch && branch->ndim == 4 && branch->shape[1] > 0 && branch->shape[0] / branch->shape[1] <= 4)
        o->block_expansion = (int32_t)(branch->shape[0] / branch->shape[1]);
}

static int options_from_shapes(const struct us_st_file *file, const char *wrapper, struct us_net_options *o) {
    const int depthwise = named(file, wrapper, depthwise_names.encoder, 0) != NULL;
    const int star = depthwise || named(file, wrapper, star_names.encoder, 0);
    const struct first_names *names = depthwise ? &depthwise_names : star ? &star_names : &double_conv_names;
    unetstar_model_options defaults;
    const struct us_st_tensor *first, *out, *deeper, *norm;
    unetstar_model_options_init(&defaults, sizeof defaults);
    us_net_options_from(o, &defaults);
    for (o->levels = 0; o->levels < 6; o->levels++) {
        const struct us_st_tensor *t = named(file, wrapper, names->encoder, o->levels);
        if (!t || t->ndim != 4)
            break;
    }
    first = named(file, wrapper, names->encoder, 0);
    out = named(file, wrapper, "out.weight", 0);
    deeper = named(file, wrapper, names->decoder, 1);
    norm = named(file, wrapper, names->norm, 0);
    if (o->levels < 2 || o->levels > 5 || !out || out->ndim != 4 || !deeper || deeper->ndim != 4)
        return us_fail(UNETSTAR_EFORMAT, "the tensors are not those of such a U-Net");
    if (first->shape[1] < 1 || first->shape[1] > 8 || out->shape[0] < 1 || out->shape[0] > 8)
        return us_fail(UNETSTAR_EFORMAT, "the network has more than 8 input channels or classes");
    o->in_channels = (int32_t)first->shape[1];
    o->classes = (int32_t)out->shape[0];
    o->norm = UNETSTAR_NORM_NONE;
    if (named(file, wrapper, names->running_mean, 0))
        o->norm = UNETSTAR_NORM_BATCH;
    else if (norm && norm->ndim == 1)
        o->norm = UNETSTAR_NORM_INSTANCE;
    o->activation = named(file, wrapper,
                          o->norm == UNETSTAR_NORM_NONE ? "encoder.%d.conv.1.weight" : "encoder.%d.conv.2.weight", 0)
                        ? UNETSTAR_ACTIVATION_NONE
                        : UNETSTAR_ACTIVATION_RELU;
    if (star)
        options_of_star(file, wrapper, depthwise, o);
    o->fusion = deeper->shape[1] > named(file, wrapper, names->encoder, o->levels - 1)->shape[0]
                    ? UNETSTAR_FUSION_CONCAT
                    : UNETSTAR_FUSION_SUM;
    if (named(file, wrapper, "decoder.%d.up.weight", 0))
        o->upsampling = UNETSTAR_UPSAMPLING_TRANSPOSED;
    o->fusion_norm = named(file, wrapper, "decoder.%d.norm.weight", 0) != NULL;
    o->full_resolution_head = named(file, wrapper, names->decoder, o->levels) != NULL;
    o->deep_supervision = named(file, wrapper, "feats.%d.weight", 0) != NULL;
    return find_narrow(file, wrapper, names, o);
}

/* ---- A model of a file ---- */

static int check_version(const struct us_st_file *file) {
    const char *version = us_st_meta_get(file, "unetstar.version");
    /* Versions before 1 read each other; a later major version may mean something new. */
    if (version && strcmp(version, "0.") && strncmp(version, "0.", 2))
        return us_fail(UNETSTAR_EVERSION, "it was written by version %.20s of the library, this is " UNETSTAR_VERSION_STRING,
                       version);
    return 0;
}

static int read_meta(unetstar_model *model, const struct us_st_file *file) {
    const char *prep = us_st_meta_get(file, "unetstar.prep");
    int64_t i;
    int code = 0;
    if (prep)
        code = us_prep_parse(prep, &model->prep);
    /* A network of 2 or of more than 3 channels has no preprocessing that fits: it takes tensors only. */
    if (!code && prep && us_prep_channels(&model->prep) != model->net->options.in_channels &&
        (model->net->options.in_channels == 1 || model->net->options.in_channels == 3))
        code = us_fail(UNETSTAR_EFORMAT, "its preprocessing makes %d channels, but the network takes %d",
                       us_prep_channels(&model->prep), model->net->options.in_channels);
    for (i = 0; i < file->n_meta && !code; i++)
        if (strncmp(file->meta[i].key, "unetstar.", 9))
            code = us_model_put_meta(model, file->meta[i].key, file->meta[i].value);
    return code;
}

int us_model_from_file(unetstar_model **out, us_context *ctx, const struct us_st_file *file,
                       const struct us_net_options *given) {
    const char *wrapper = find_wrapper(file);
    struct us_net_options options;
    int code = check_version(file);
    *out = NULL;
    if (code)
        return code;
    if (!wrapper)
        return us_fail(UNETSTAR_EFORMAT, "it has no tensor named encoder.0...: these are not the weights of such a U-Net");
    if (given)
        options = *given;
    else if (us_st_meta_get(file, "unetstar.model.fusion"))
        code = us_read_fields(file, "unetstar.model.", us_model_fields, &options);
    else
        code = options_from_shapes(file, wrapper, &options);
    code = code ? code : check_params(file, wrapper, ctx, &options);
    if (code == UNETSTAR_EINVAL && !given)
        code = UNETSTAR_EFORMAT; /* the argument that is out of range is the file's */
    code = code ? code : us_model_new(out, ctx, &options);
    if (code)
        return code;
    code = us_read_params(file, wrapper, (*out)->net, &(*out)->params);
    code = code ? code : read_meta(*out, file);
    code = code ? code : us_read_calibration(file, *out);
    if (code) {
        us_model_unref(*out);
        *out = NULL;
    }
    return code;
}

int us_model_from_bytes(unetstar_model **out, us_context *ctx, const void *data, size_t size,
                        const struct us_net_options *options) {
    struct us_st_file *file;
    int code = us_st_parse(&file, ctx, data, size);
    if (code)
        return code;
    code = us_model_from_file(out, ctx, file, options);
    us_st_close(file);
    return code;
}

int us_model_begin(unetstar_model **out, unetstar_context *context) {
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    return us_need(context, "context");
}

int unetstar_model_load_memory(unetstar_model **out, unetstar_context *context, const void *data, size_t size) {
    int code = us_model_begin(out, context);
    code = code ? code : us_need(data, "data");
    if (code)
        return code;
    us_fp_enter();
    code = us_model_from_bytes(out, context, data, size, NULL);
    us_fp_leave();
    return code;
}

int unetstar_model_load_callback(unetstar_model **out, unetstar_context *context, unetstar_read_fn read, void *user) {
    void *data;
    size_t size;
    int code = us_model_begin(out, context);
    if (!code && !read)
        code = us_fail(UNETSTAR_EINVAL, "argument read is NULL");
    if (code)
        return code;
    us_fp_enter();
    code = us_stream_read(context, read, user, &data, &size);
    if (!code) {
        code = us_model_from_bytes(out, context, data, size, NULL);
        us_free(context, data);
    }
    us_fp_leave();
    return code;
}
