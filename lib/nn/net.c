/* net.c - the graph: from the options of a U-Net to its list of units, heads and named weights. */
#include "nn/map.h"

#include <stdio.h>
#include <string.h>

#define MAX_WIDTH 4096

/* ---- Options ---- */

static int check_range(const char *name, int32_t value, int32_t low, int32_t high) {
    if (value < low || value > high)
        return us_fail(UNETSTAR_EINVAL, "model option %s is %d; it must be %d to %d", name, value, low, high);
    return 0;
}

static double width_at(const struct us_net_options *o, int k) {
    return 64.0 * (double)(1 << k) * o->channel_multiplier * o->narrow;
}

static int check_widths(const struct us_net_options *o) {
    if (!(o->narrow > 0) || !(o->channel_multiplier > 0))
        return us_fail(UNETSTAR_EINVAL, "model options narrow and channel_multiplier must be above 0");
    if (!(width_at(o, 0) >= 1))
        return us_fail(UNETSTAR_EINVAL, "narrow and channel_multiplier leave the first stage without a channel (64 * "
                                        "channel_multiplier * narrow is below 1)");
    if (!(width_at(o, o->levels - 1) <= MAX_WIDTH))
        return us_fail(UNETSTAR_ELIMIT, "narrow and channel_multiplier make the deepest stage wider than %d channels",
                       MAX_WIDTH);
    if (o->block != UNETSTAR_BLOCK_DOUBLE_CONV && !(width_at(o, o->levels - 1) * o->block_expansion <= MAX_WIDTH))
        return us_fail(UNETSTAR_ELIMIT, "block_expansion makes the branches of the deepest star block wider than %d channels",
                       MAX_WIDTH);
    return 0;
}

int us_net_check(const struct us_net_options *o) {
    int code = check_range("in_channels", o->in_channels, 1, 8);
    if (!code)
        code = check_range("classes", o->classes, 1, 8);
    if (!code)
        code = check_range("levels", o->levels, 2, 5);
    if (!code)
        code = check_range("fusion", o->fusion, UNETSTAR_FUSION_SUM, UNETSTAR_FUSION_CONCAT);
    if (!code)
        code = check_range("activation", o->activation, UNETSTAR_ACTIVATION_NONE, UNETSTAR_ACTIVATION_GELU);
    if (!code)
        code = check_range("norm", o->norm, UNETSTAR_NORM_BATCH, UNETSTAR_NORM_NONE);
    if (!code)
        code = check_range("upsampling", o->upsampling, UNETSTAR_UPSAMPLING_NEAREST, UNETSTAR_UPSAMPLING_TRANSPOSED);
    if (!code)
        code = check_range("full_resolution_head", o->full_resolution_head, 0, 1);
    if (!code)
        code = check_range("deep_supervision", o->deep_supervision, 0, 1);
    if (!code)
        code = check_range("norm_groups", o->norm_groups, 1, MAX_WIDTH);
    if (!code)
        code = check_range("precision", o->precision, UNETSTAR_PRECISION_FAST, UNETSTAR_PRECISION_INT8);
    if (!code)
        code = check_range("block", o->block, UNETSTAR_BLOCK_DOUBLE_CONV, UNETSTAR_BLOCK_STAR_DEPTHWISE);
    if (!code)
        code = check_range("block_expansion", o->block_expansion, 1, 4);
    if (!code)
        code = check_range("fusion_norm", o->fusion_norm, 0, 1);
    if (!code)
        code = check_range("initialization", o->initialization, UNETSTAR_INIT_PYTORCH, UNETSTAR_INIT_HE);
    if (code)
        return code;
    if (o->fusion_norm && (o->norm == UNETSTAR_NORM_NONE || o->fusion == UNETSTAR_FUSION_CONCAT))
        return us_fail(UNETSTAR_EINVAL, "model option fusion_norm is for fusions by sum or star, and for networks with a norm");
    if (o->precision == UNETSTAR_PRECISION_INT8)
        return us_fail(UNETSTAR_ENOTSUPPORTED, "a model does not train in 8 bits; precision int8 is for sessions");
    if (!(o->dropout >= 0 && o->dropout < 1))
        return us_fail(UNETSTAR_EINVAL, "model option dropout must be at least 0 and below 1");
    if (!(o->leaky_slope == o->leaky_slope) || o->leaky_slope > 1e3f || o->leaky_slope < -1e3f)
        return us_fail(UNETSTAR_EINVAL, "model option leaky_slope must be a number between -1000 and 1000");
    return check_widths(o);
}

/* ---- Units ---- */

struct builder {
    us_context *ctx;
    struct us_net *net;
    int widths[5];
    int capacity; /* of net->weights */
};

static size_t take_params(struct us_net *net, size_t floats) {
    size_t at = net->n_params;
    net->n_params += (floats + US_LANES - 1) / US_LANES * US_LANES;
    return at;
}

static size_t take_buffers(struct us_net *net, size_t floats) {
    size_t at = net->n_buffers;
    net->n_buffers += (floats + US_LANES - 1) / US_LANES * US_LANES;
    return at;
}

/* The largest divisor of c that is at most `wanted`. */
static int usable_groups(int c, int wanted) {
    int g = US_MIN(c, wanted);
    while (c % g)
        g--;
    return g;
}

/* Input channels of a concatenation keep each map's blocks whole. */
static void set_input_blocks(struct us_unit *u, const struct us_net *net) {
    int tail = u->c_in;
    u->in_blocks = US_BLOCKS(u->c_in);
    if (u->in.kind == US_IN_FUSE && u->in.fusion == UNETSTAR_FUSION_CONCAT) {
        const int a = net->units[u->in.main].c_out, b = net->units[u->in.skip].c_out;
        u->in_blocks = US_BLOCKS(a) + US_BLOCKS(b);
        tail = b;
    }
    u->last_channels = (tail - 1) % US_LANES + 1;
}

static void set_norm(struct us_unit *u, struct us_net *net, int norm) {
    const size_t lanes = (size_t)u->out_blocks * US_LANES;
    u->norm = norm;
    u->bias_fixed = u->norm == UNETSTAR_NORM_BATCH || u->norm == UNETSTAR_NORM_INSTANCE || u->kind == US_UNIT_IDENTITY;
    u->bias = u->bias_fixed ? take_buffers(net, lanes) : take_params(net, lanes);
    u->groups = u->norm == UNETSTAR_NORM_GROUP ? usable_groups(u->c_out, net->options.norm_groups) : u->c_out;
    if (u->norm == UNETSTAR_NORM_NONE)
        return;
    u->gamma = take_params(net, lanes);
    u->beta = take_params(net, lanes);
    if (u->norm == UNETSTAR_NORM_BATCH) {
        u->running_mean = take_buffers(net, lanes);
        u->running_var = take_buffers(net, lanes);
    }
}

/* A unit without norm, activation, dropout, residual and parameters. */
static struct us_unit *new_unit(struct us_net *net, enum us_unit_kind kind, struct us_input in, int c_in, int c_out, int shift,
                                const char *name) {
    struct us_unit *u = &net->units[net->n_units++];
    memset(u, 0, sizeof *u);
    u->kind = kind;
    u->in = in;
    u->c_in = c_in;
    u->c_out = c_out;
    u->out_blocks = US_BLOCKS(c_out);
    u->shift = shift;
    u->norm = UNETSTAR_NORM_NONE;
    u->act = US_ACT_NONE;
    u->residual = -1;
    snprintf(u->name, sizeof u->name, "%s", name);
    set_input_blocks(u, net);
    u->weights_size = (size_t)u->out_blocks * (size_t)us_unit_taps(u) * US_LANES;
    if (kind == US_UNIT_IDENTITY)
        u->weights_size = 0;
    else if (!us_unit_depthwise(u))
        u->weights_size *= (size_t)u->in_blocks * US_LANES;
    u->weights = take_params(net, u->weights_size);
    return u;
}

/* Adds a 3x3 convolution with norm and activation; returns its number. */
static int add_conv(struct us_net *net, struct us_input in, int c_in, int c_out, int shift, const char *name, int second) {
    const int modules = 1 + (net->options.norm != UNETSTAR_NORM_NONE) + (net->options.activation != UNETSTAR_ACTIVATION_NONE);
    struct us_unit *u = new_unit(net, US_UNIT_CONV3, in, c_in, c_out, shift, name);
    u->act = net->options.activation;
    u->dropout = second && net->options.dropout > 0;
    u->index = second ? modules : 0;
    set_norm(u, net, net->options.norm);
    return net->n_units - 1;
}

static int add_upconv(struct us_net *net, int from, int shift, const char *name) {
    const struct us_input in = {US_IN_UNIT, from, -1, -1, 0};
    const int c = net->units[from].c_out;
    struct us_unit *u = new_unit(net, US_UNIT_UPCONV, in, c, c, shift, name);
    u->bias = take_params(net, (size_t)u->out_blocks * US_LANES);
    return net->n_units - 1;
}

static int add_double_conv(struct us_net *net, struct us_input in, int c_in, int c_out, int shift, const char *room, int k) {
    struct us_input second = {US_IN_UNIT, 0, -1, -1, 0};
    char name[32];
    snprintf(name, sizeof name, "%s.%d.conv", room, k);
    second.main = add_conv(net, in, c_in, c_out, shift, name, 0);
    return add_conv(net, second, c_out, c_out, shift, name, 1);
}

/* A part of a star block, with norm (wanted by the first and the last) or a bias alone; returns its number. */
static int add_part(struct us_net *net, enum us_unit_kind kind, struct us_input in, int c_in, int c_out, int shift,
                    const char *room, int k, const char *part, int norm) {
    char name[32];
    struct us_unit *u;
    snprintf(name, sizeof name, "%s.%d.%s", room, k, part);
    u = new_unit(net, kind, in, c_in, c_out, shift, name);
    set_norm(u, net, norm);
    return net->n_units - 1;
}

/* The 3x3 convolution that a star block begins with; depthwise, it needs a 1x1 one before it to change the width. */
static int add_lead(struct us_net *net, struct us_input in, int c_in, int c_out, int shift, const char *room, int k) {
    struct us_input projected = {US_IN_UNIT, 0, -1, -1, 0};
    if (net->options.block == UNETSTAR_BLOCK_STAR)
        return add_part(net, US_UNIT_CONV3, in, c_in, c_out, shift, room, k, "lead", net->options.norm);
    projected.main = add_part(net, US_UNIT_CONV1, in, c_in, c_out, shift, room, k, "project", UNETSTAR_NORM_NONE);
    return add_part(net, US_UNIT_DEPTHWISE3, projected, c_out, c_out, shift, room, k, "lead", net->options.norm);
}

/* After StarNet's (Rewrite the Stars, figure 4): a = norm(3x3(x)); a + norm(g(act(f1(a)) * f2(a))). */
static int add_star(struct us_net *net, struct us_input in, int c_in, int c_out, int shift, const char *room, int k) {
    const struct us_net_options *o = &net->options;
    const int wide = c_out * o->block_expansion, norm = o->norm;
    struct us_input lead = {US_IN_UNIT, 0, -1, -1, 0}, product = {US_IN_FUSE, 0, 0, -1, UNETSTAR_FUSION_STAR};
    int g;
    lead.main = add_lead(net, in, c_in, c_out, shift, room, k);
    product.main = add_part(net, US_UNIT_CONV1, lead, c_out, wide, shift, room, k, "f1", UNETSTAR_NORM_NONE);
    product.skip = add_part(net, US_UNIT_CONV1, lead, c_out, wide, shift, room, k, "f2", UNETSTAR_NORM_NONE);
    g = add_part(net, US_UNIT_CONV1, product, wide, c_out, shift, room, k, "g", norm);
    net->units[product.main].act = o->activation;
    net->units[g].residual = lead.main;
    net->units[g].dropout = o->dropout > 0;
    return g;
}

/* Returns the number of the block's last unit. */
static int add_block(struct us_net *net, struct us_input in, int c_in, int c_out, int shift, const char *room, int k) {
    if (net->options.block != UNETSTAR_BLOCK_DOUBLE_CONV)
        return add_star(net, in, c_in, c_out, shift, room, k);
    return add_double_conv(net, in, c_in, c_out, shift, room, k);
}

static void add_head(struct us_net *net, int unit, int shift, int bilinear, const char *name) {
    struct us_head *h = &net->heads[net->n_heads++];
    memset(h, 0, sizeof *h);
    h->unit = unit;
    h->shift = shift;
    h->bilinear = bilinear;
    h->scale = bilinear ? 1 : 1 << shift;
    snprintf(h->name, sizeof h->name, "%s", name);
    h->weights = take_params(net, (size_t)net->options.classes * (size_t)net->units[unit].out_blocks * US_LANES);
    h->bias = take_params(net, (size_t)net->options.classes);
}

/* The norm of a fusion, as the input of the next block. */
static struct us_input add_fusion_norm(struct us_net *net, struct us_input fusion, int shift, int k) {
    struct us_input in = {US_IN_UNIT, 0, -1, -1, 0};
    const int c = net->units[fusion.skip].c_out;
    char name[32];
    struct us_unit *u;
    snprintf(name, sizeof name, "decoder.%d.norm", k);
    u = new_unit(net, US_UNIT_IDENTITY, fusion, c, c, shift, name);
    set_norm(u, net, net->options.norm);
    in.main = net->n_units - 1;
    return in;
}

/* What a block reads that follows a fusion of the upsampled output of decoder stage k with a skip connection. */
static struct us_input fuse_input(struct us_net *net, int stage, int shift, int skip, int k) {
    struct us_input in = {US_IN_FUSE, 0, 0, 0, 0};
    char name[32];
    in.main = stage;
    in.skip = skip;
    in.up = net->options.upsampling;
    in.fusion = net->options.fusion;
    if (in.up == UNETSTAR_UPSAMPLING_TRANSPOSED) {
        snprintf(name, sizeof name, "decoder.%d.up", k);
        in.main = add_upconv(net, stage, shift, name);
        in.up = -1;
    }
    return net->options.fusion_norm ? add_fusion_norm(net, in, shift, k) : in;
}

static void build_units(struct builder *b) {
    struct us_net *net = b->net;
    const struct us_net_options *o = &net->options;
    const int levels = o->levels, wide = o->fusion == UNETSTAR_FUSION_CONCAT ? 2 : 1;
    int skips[5], stages[6], last, k;
    struct us_input in = {US_IN_IMAGE, -1, -1, -1, 0};
    for (k = 0; k < levels; k++) {
        skips[k] = add_block(net, in, k ? b->widths[k - 1] : o->in_channels, b->widths[k], k, "encoder", k);
        in.kind = US_IN_POOL;
        in.main = skips[k];
    }
    stages[0] = add_block(net, in, b->widths[levels - 1], b->widths[levels - 1], levels, "decoder", 0);
    for (k = 1; k < levels; k++) {
        const int c = b->widths[levels - k];
        in = fuse_input(net, stages[k - 1], levels - k, skips[levels - k], k - 1);
        stages[k] = add_block(net, in, c * wide, b->widths[levels - k - 1], levels - k, "decoder", k);
    }
    last = levels - 1;
    if (o->full_resolution_head) {
        in = fuse_input(net, stages[last], 0, skips[0], last);
        last++;
        stages[last] = add_block(net, in, b->widths[0] * wide, b->widths[0], 0, "decoder", last);
        add_head(net, stages[last], 0, 0, "out");
    } else if (o->upsampling == UNETSTAR_UPSAMPLING_TRANSPOSED) {
        char name[32];
        snprintf(name, sizeof name, "decoder.%d.up", last);
        add_head(net, add_upconv(net, stages[last], 0, name), 0, 0, "out");
    } else {
        add_head(net, stages[last], 1, o->upsampling == UNETSTAR_UPSAMPLING_BILINEAR, "out");
    }
    for (k = 0; o->deep_supervision && k < last; k++) {
        char name[16];
        snprintf(name, sizeof name, "feats.%d", k);
        add_head(net, stages[k], levels - k, 0, name);
    }
}

/* ---- Named weights ---- */

static struct us_weight *add_weight(struct us_net *net, enum us_weight_kind kind, int owner, size_t offset, const char *name) {
    struct us_weight *w = &net->weights[net->n_weights++];
    memset(w, 0, sizeof *w);
    w->kind = kind;
    w->owner = owner;
    w->offset = offset;
    w->trainable = 1;
    snprintf(w->name, sizeof w->name, "%.63s", name);
    return w;
}

static void set_shape(struct us_weight *w, int ndim, int64_t a, int64_t b, int64_t c, int64_t d) {
    w->ndim = ndim;
    w->shape[0] = a;
    w->shape[1] = b;
    w->shape[2] = c;
    w->shape[3] = d;
}

static void add_vector(struct us_net *net, int owner, size_t offset, const char *prefix, const char *name, int in_buffers,
                       int trainable) {
    char full[80];
    struct us_weight *w;
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    w = add_weight(net, US_WEIGHT_VECTOR, owner, offset, full);
    w->in_buffers = in_buffers;
    w->trainable = trainable;
    set_shape(w, 1, net->units[owner].c_out, 0, 0, 0);
}

static void name_norm(struct us_net *net, int number, const char *prefix) {
    const struct us_unit *u = &net->units[number];
    char full[80];
    struct us_weight *w;
    if (u->norm == UNETSTAR_NORM_NONE)
        return;
    add_vector(net, number, u->gamma, prefix, "weight", 0, 1);
    add_vector(net, number, u->beta, prefix, "bias", 0, 1);
    if (u->norm != UNETSTAR_NORM_BATCH)
        return;
    add_vector(net, number, u->running_mean, prefix, "running_mean", 1, 0);
    add_vector(net, number, u->running_var, prefix, "running_var", 1, 0);
    snprintf(full, sizeof full, "%s.num_batches_tracked", prefix);
    w = add_weight(net, US_WEIGHT_COUNTER, number, 0, full);
    w->trainable = 0;
}

static void name_conv(struct us_net *net, int number) {
    const struct us_unit *u = &net->units[number];
    const int side = us_unit_border(u) ? 3 : 1;
    char prefix[48], full[80];
    struct us_weight *w;
    if (u->kind == US_UNIT_IDENTITY) {
        name_norm(net, number, u->name);
        return;
    }
    snprintf(prefix, sizeof prefix, "%s.%d", u->name, u->index);
    snprintf(full, sizeof full, "%s.weight", prefix);
    w = add_weight(net, US_WEIGHT_CONV, number, u->weights, full);
    set_shape(w, 4, u->c_out, us_unit_depthwise(u) ? 1 : u->c_in, side, side);
    add_vector(net, number, u->bias, prefix, "bias", u->bias_fixed, 1);
    snprintf(prefix, sizeof prefix, "%s.%d", u->name, u->index + 1);
    name_norm(net, number, prefix);
}

static void name_upconv(struct us_net *net, int number) {
    const struct us_unit *u = &net->units[number];
    char full[48];
    struct us_weight *w;
    snprintf(full, sizeof full, "%s.weight", u->name);
    w = add_weight(net, US_WEIGHT_UPCONV, number, u->weights, full);
    set_shape(w, 4, u->c_in, u->c_out, 2, 2);
    add_vector(net, number, u->bias, u->name, "bias", 0, 1);
}

static void name_head(struct us_net *net, int number) {
    const struct us_head *h = &net->heads[number];
    const int64_t classes = net->options.classes;
    char full[48];
    struct us_weight *w;
    snprintf(full, sizeof full, "%s.weight", h->name);
    w = add_weight(net, US_WEIGHT_HEAD, number, h->weights, full);
    set_shape(w, 4, classes, net->units[h->unit].c_out, 1, 1);
    snprintf(full, sizeof full, "%s.bias", h->name);
    w = add_weight(net, US_WEIGHT_HEAD, number, h->bias, full);
    set_shape(w, 1, classes, 0, 0, 0);
}

static int name_weights(struct builder *b) {
    struct us_net *net = b->net;
    int i;
    net->weights = (struct us_weight *)us_alloc(b->ctx, sizeof(struct us_weight) * (7 * US_MAX_UNITS + 2 * US_MAX_HEADS));
    if (!net->weights)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < net->n_units; i++) {
        if (net->units[i].kind == US_UNIT_UPCONV)
            name_upconv(net, i);
        else
            name_conv(net, i);
    }
    for (i = 0; i < net->n_heads; i++)
        name_head(net, i);
    return 0;
}

int us_net_create(struct us_net **out, us_context *ctx, const struct us_net_options *options) {
    struct builder b;
    int k, code = us_net_check(options);
    *out = NULL;
    if (code)
        return code;
    b.ctx = ctx;
    b.net = (struct us_net *)us_alloc_zero(ctx, sizeof *b.net);
    if (!b.net)
        return UNETSTAR_ENOMEM;
    b.net->options = *options;
    for (k = 0; k < options->levels; k++)
        b.widths[k] = (int)width_at(options, k);
    build_units(&b);
    code = name_weights(&b);
    if (code) {
        us_net_destroy(ctx, b.net);
        return code;
    }
    *out = b.net;
    return 0;
}

void us_net_destroy(us_context *ctx, struct us_net *net) {
    if (net) {
        us_free(ctx, net->weights);
        us_free(ctx, net);
    }
}

/* ---- Questions about a graph ---- */

size_t us_weight_count(const struct us_weight *w) {
    size_t count = 1;
    int d;
    for (d = 0; d < w->ndim; d++)
        count *= (size_t)w->shape[d];
    return count;
}

int64_t us_net_parameter_count(const struct us_net *net) {
    int64_t count = 0;
    int i;
    for (i = 0; i < net->n_weights; i++)
        if (net->weights[i].trainable)
            count += (int64_t)us_weight_count(&net->weights[i]);
    return count;
}

const struct us_weight *us_net_find(const struct us_net *net, const char *name) {
    int i;
    for (i = 0; i < net->n_weights; i++)
        if (!strcmp(net->weights[i].name, name))
            return &net->weights[i];
    return NULL;
}

int64_t us_net_padded(const struct us_net *net, int64_t size) {
    const int64_t step = (int64_t)1 << net->options.levels;
    return (size + step - 1) / step * step;
}

int us_net_reads(const struct us_net *net, int reader, int u) {
    const struct us_unit *r = &net->units[reader];
    return r->residual == u || (r->in.kind != US_IN_IMAGE && (r->in.main == u || r->in.skip == u));
}

int us_net_fuses_skip(const struct us_net *net, int unit) {
    return net->units[unit].in.kind == US_IN_FUSE && net->units[unit].residual < 0;
}

int us_net_last_reader(const struct us_net *net, int u) {
    int last = u, i;
    for (i = u + 1; i < net->n_units; i++)
        if (us_net_reads(net, i, u))
            last = i;
    if (net->heads[0].unit == u)
        last = net->n_units;
    return last;
}
