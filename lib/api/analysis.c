/* analysis.c - exported: degree and features of a network. */
#include "api/api.h"

#include <stddef.h>
#include <string.h>

typedef char check_degree[sizeof(unetstar_degree) ==
                                  offsetof(unetstar_degree, log10_paper) + UNETSTAR_MAX_FUSIONS * sizeof(double)
                              ? 1
                              : -1];
typedef char check_fusions[UNETSTAR_MAX_FUSIONS == US_MAX_FUSIONS ? 1 : -1];
typedef char
    check_features[sizeof(unetstar_features) == offsetof(unetstar_features, beyond_6_sigma) + sizeof(double) ? 1 : -1];

typedef char check_check[sizeof(unetstar_degree_check) == offsetof(unetstar_degree_check, residual) +
                                                               (UNETSTAR_MAX_CHECK_DEGREE + 1) * sizeof(double) &&
                                     UNETSTAR_MAX_CHECK_DEGREE == US_MAX_CHECK_DEGREE
                                 ? 1
                                 : -1];

typedef char check_branches[sizeof(unetstar_branch_gradients) ==
                                    offsetof(unetstar_branch_gradients, skip) + UNETSTAR_MAX_FUSIONS * sizeof(double)
                                ? 1
                                : -1];

int unetstar_model_degree(const unetstar_model *model, unetstar_degree *degree) {
    struct us_degree found;
    unetstar_degree d;
    int k, code = us_need(model, "model");
    code = code ? code : us_need(degree, "degree");
    if (code)
        return code;
    us_fp_enter();
    us_net_degree(&found, model->net);
    us_fp_leave();
    memset(&d, 0, sizeof d);
    d.polynomial = found.polynomial;
    d.n_fusions = found.fusions;
    d.degree = found.degree;
    for (k = 0; k < found.fusions; k++) {
        d.fusion_degree[k] = found.fusion_degree[k];
        d.fusion_width[k] = found.width[k];
        d.log10_exact[k] = found.exact[k];
        d.log10_paper[k] = found.paper[k];
    }
    return us_options_init(degree, degree->struct_size, &d, sizeof d, "degree");
}

/* ---- The degree by numbers ---- */

static const unetstar_degree_check_options check_defaults = {sizeof(unetstar_degree_check_options), 0.5, 1e-9, 12, 1};

int unetstar_degree_check_options_init(unetstar_degree_check_options *options, size_t size) {
    return us_options_init(options, size, &check_defaults, sizeof check_defaults, "degree check options");
}

static int read_check_options(struct us_degree_check_options *to, const unetstar_degree_check_options *from) {
    unetstar_degree_check_options o = check_defaults;
    int code = us_options_read(&o, sizeof o, from, "degree check options");
    if (code)
        return code;
    if (!(o.range > 0 && o.range <= 100))
        return us_fail(UNETSTAR_EINVAL, "degree check option range must be above 0 and at most 100");
    if (!(o.tolerance >= 0 && o.tolerance <= 1))
        return us_fail(UNETSTAR_EINVAL, "degree check option tolerance must be 0 to 1");
    if (o.max_degree < 0 || o.max_degree > UNETSTAR_MAX_CHECK_DEGREE)
        return us_fail(UNETSTAR_EINVAL, "degree check option max_degree is %d; it must be 0 to %d", (int)o.max_degree,
                       UNETSTAR_MAX_CHECK_DEGREE);
    if (o.freeze_maxima < 0 || o.freeze_maxima > 1)
        return us_fail(UNETSTAR_EINVAL, "degree check option freeze_maxima is %d; it must be 0 or 1", (int)o.freeze_maxima);
    to->range = o.range;
    to->tolerance = o.tolerance;
    to->max_degree = o.max_degree;
    to->freeze_maxima = o.freeze_maxima;
    return 0;
}

static int check_sides(int64_t h, int64_t w) {
    if (h < 1 || w < 1)
        return us_fail(UNETSTAR_ESHAPE, "an input of %lld x %lld pixels was given; sides must be at least 1", (long long)w,
                       (long long)h);
    if (h > 1024 || w > 1024)
        return us_fail(UNETSTAR_ELIMIT, "an input of %lld x %lld pixels was given; sides may be up to 1024", (long long)w,
                       (long long)h);
    return 0;
}

int unetstar_model_degree_check(const unetstar_model *model, const unetstar_degree_check_options *options, int64_t h,
                                int64_t w, const float *x, const unetstar_cancel *cancel, unetstar_degree_check *check) {
    struct us_degree_check_options o;
    struct us_degree_check found;
    unetstar_degree_check c;
    int code = us_need(model, "model");
    code = code ? code : us_need(x, "x");
    code = code ? code : us_need(check, "check");
    if (code)
        return code;
    us_fp_enter(); /* before the checks: comparing a NaN must not trap */
    code = read_check_options(&o, options);
    code = code ? code : check_sides(h, w);
    code = code ? code : us_context_check(model->ctx);
    code = code ? code : us_net_degree_check(&found, model->ctx, model->net, &model->params, h, w, x, &o, cancel);
    us_fp_leave();
    if (code)
        return code;
    memset(&c, 0, sizeof c);
    c.degree = found.degree;
    c.nodes = found.nodes;
    c.values = found.values;
    c.level = found.level;
    c.variation = found.variation;
    c.changed_maxima = found.changed_maxima;
    c.changed_activations = found.changed_activations;
    memcpy(c.residual, found.residual, sizeof c.residual);
    return us_options_init(check, check->struct_size, &c, sizeof c, "check");
}

/* ---- Features ---- */

/* The unit whose weights are called `name`.weight, or a norm of a fusion of that name; -1: none. */
static int find_unit(const struct us_net *net, const char *name) {
    const size_t length = strlen(name);
    int i;
    for (i = 0; i < net->n_units; i++)
        if (net->units[i].kind == US_UNIT_IDENTITY && !strcmp(net->units[i].name, name))
            return i;
    for (i = 0; i < net->n_weights; i++) {
        const struct us_weight *w = &net->weights[i];
        if ((w->kind == US_WEIGHT_CONV || w->kind == US_WEIGHT_UPCONV) && !strncmp(w->name, name, length) &&
            !strcmp(w->name + length, ".weight"))
            return w->owner;
    }
    return -1;
}

static int check_place(const unetstar_model *model, const char *layer, int32_t place, int *unit) {
    *unit = find_unit(model->net, layer);
    if (*unit < 0)
        return us_fail(UNETSTAR_EINVAL, "layer %.60s: the model has no convolution of that name", layer);
    if (place < UNETSTAR_AT_OUTPUT || place > UNETSTAR_AT_SKIP)
        return us_fail(UNETSTAR_EINVAL, "place is %d; it must be one of UNETSTAR_AT_*", (int)place);
    if (place >= UNETSTAR_AT_MAIN && model->net->units[*unit].in.kind != US_IN_FUSE)
        return us_fail(UNETSTAR_EINVAL, "layer %s does not read a fusion", layer);
    return 0;
}

int unetstar_model_features(const unetstar_model *model, int64_t h, int64_t w, const float *x, const char *layer,
                            int32_t place, double *singular_values, unetstar_features *features) {
    struct us_evaluation_shape shape;
    struct us_folded *folded = NULL;
    struct us_features found;
    unetstar_features f;
    int unit = 0, code = us_need(model, "model");
    code = code ? code : us_need(x, "x");
    code = code ? code : us_need(layer, "layer");
    code = code ? code : us_need(features, "features");
    if (!code && (h < 1 || w < 1 || h > 32768 || w > 32768))
        code = us_fail(UNETSTAR_ESHAPE, "an input of %lld x %lld pixels was given; sides must be 1 to 32768",
                       (long long)w, (long long)h);
    code = code ? code : check_place(model, layer, place, &unit);
    code = code ? code : us_context_check(model->ctx);
    if (code)
        return code;
    us_fp_enter();
    memset(&shape, 0, sizeof shape);
    shape.net = model->net;
    shape.height = h;
    shape.width = w;
    shape.precision = UNETSTAR_PRECISION_FAST;
    code =
        us_model_folded((unetstar_model *)(uintptr_t)model, shape.precision, &folded); /* its cache, under its lock */
    code = code ? code : us_net_features(&found, model->ctx, &shape, folded, x, unit, place, singular_values);
    us_folded_unref(folded);
    us_fp_leave();
    if (code)
        return code;
    memset(&f, 0, sizeof f);
    f.pixels = found.pixels;
    f.channels = found.channels;
    f.effective_rank = found.effective_rank;
    f.stable_rank = found.stable_rank;
    f.participation_ratio = found.participation_ratio;
    f.mean = found.mean;
    f.variance = found.variance;
    f.skewness = found.skewness;
    f.kurtosis = found.kurtosis;
    f.beyond_4_sigma = found.beyond_4;
    f.beyond_6_sigma = found.beyond_6;
    return us_options_init(features, features->struct_size, &f, sizeof f, "features");
}

/* ---- Gradients at the branches of fusions ---- */

int unetstar_model_branch_gradients(const unetstar_model *model, int64_t n, int64_t h, int64_t w, const float *x,
                                    const uint8_t *labels, const uint8_t *mask, const unetstar_loss_options *loss,
                                    unetstar_branch_gradients *gradients) {
    const struct us_branch_batch batch = {n, h, w, x, labels, mask};
    struct us_branch_gradients found;
    struct us_loss terms;
    unetstar_branch_gradients g;
    int code = us_need(model, "model");
    code = code ? code : us_need(x, "x");
    code = code ? code : us_need(labels, "labels");
    code = code ? code : us_need(gradients, "gradients");
    code = code ? code : us_loss_read(&terms, loss);
    if (!code && (n < 1 || n > 4096))
        code = us_fail(UNETSTAR_ESHAPE, "a batch of %lld was given; n must be 1 to 4096", (long long)n);
    if (!code && (h < 1 || w < 1 || h > 8192 || w > 8192))
        code = us_fail(UNETSTAR_ESHAPE, "an input of %lld x %lld pixels was given; sides must be 1 to 8192", (long long)w,
                       (long long)h);
    code = code ? code : us_context_check(model->ctx);
    if (code)
        return code;
    us_fp_enter();
    code = us_net_branch_gradients(&found, model->ctx, model->net, &model->params, &batch, &terms);
    us_fp_leave();
    if (code)
        return code;
    memset(&g, 0, sizeof g);
    g.n_fusions = found.fusions;
    g.loss = found.loss;
    g.saturated = found.saturated;
    memcpy(g.fused, found.fused, sizeof g.fused);
    memcpy(g.main, found.main, sizeof g.main);
    memcpy(g.skip, found.skip, sizeof g.skip);
    return us_options_init(gradients, gradients->struct_size, &g, sizeof g, "gradients");
}
