/* validate.c - how good the present weights are, by the same evaluation pass that inference uses. */
#include "train/train.h"

#include <string.h>

/* Inputs that stay the same for all epochs: fixed patches drawn anew each time, or whole images kept preprocessed. */
struct us_validator {
    us_context *ctx;
    const us_patches *patches; /* PATCHES */
    us_dataset *images;        /* IMAGES: shares the samples */
    float **inputs;            /* one preprocessed image a sample */
    int64_t count;
    int64_t max_h, max_w;
    float *x, *probability;
    uint8_t *label, *mask;
    us_metrics *metrics;
    void *memory;
};

static int allocate(struct us_validator *v, const struct us_trainer *t) {
    const size_t pixels = (size_t)v->max_h * (size_t)v->max_w, c = (size_t)t->net->options.in_channels;
    struct us_evaluation_shape shape = {NULL, 0, 0, 0, 0, NULL};
    struct us_evaluation_size size;
    int code = us_metrics_create(&v->metrics, v->ctx);
    if (code)
        return code;
    shape.net = t->net;
    shape.height = v->max_h;
    shape.width = v->max_w;
    us_evaluation_measure(&size, v->ctx, &shape);
    v->memory = us_alloc(v->ctx, size.maps + size.scratch);
    v->probability = (float *)us_alloc(v->ctx, pixels * (size_t)t->net->options.classes * sizeof(float));
    v->x = (float *)us_alloc(v->ctx, pixels * c * sizeof(float));
    v->label = (uint8_t *)us_alloc(v->ctx, pixels);
    v->mask = (uint8_t *)us_alloc(v->ctx, pixels);
    return v->memory && v->probability && v->x && v->label && v->mask ? 0 : UNETSTAR_ENOMEM;
}

static int prepare_images(struct us_validator *v, const struct us_trainer *t, const us_dataset *set) {
    const size_t c = (size_t)t->net->options.in_channels;
    int64_t i, *all = (int64_t *)us_alloc(v->ctx, sizeof(int64_t) * (size_t)US_MAX(set->count, 1));
    int code;
    if (!all)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < set->count; i++)
        all[i] = i;
    code = us_dataset_subset(&v->images, set, all, set->count);
    us_free(v->ctx, all);
    if (code)
        return code;
    v->count = set->count;
    v->inputs = (float **)us_alloc_zero(v->ctx, sizeof(float *) * (size_t)v->count);
    if (!v->inputs)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < v->count; i++) {
        const struct us_sample *s = set->samples[i];
        if (!s->label)
            return us_fail(UNETSTAR_EINVAL, "validation sample %s has no label", s->name);
        v->inputs[i] = (float *)us_alloc(v->ctx, c * (size_t)s->image.width * (size_t)s->image.height * sizeof(float));
        if (!v->inputs[i])
            return UNETSTAR_ENOMEM;
        code = us_prep_run(v->ctx, &t->prep, &s->image, s->mask, v->inputs[i]);
        if (code)
            return code;
        v->max_h = US_MAX(v->max_h, s->image.height);
        v->max_w = US_MAX(v->max_w, s->image.width);
    }
    return 0;
}

int us_validator_create(struct us_validator **out, const struct us_trainer *t, const us_patches *patches,
                        const us_dataset *val_set) {
    struct us_validator *v = (struct us_validator *)us_alloc_zero(t->ctx, sizeof *v);
    int code = 0;
    *out = NULL;
    if (!v)
        return UNETSTAR_ENOMEM;
    v->ctx = t->ctx;
    if (t->options.validation == UNETSTAR_VALIDATION_IMAGES) {
        code = prepare_images(v, t, val_set);
    } else {
        const double wanted = t->options.validation_fraction * (double)t->options.steps_per_epoch * t->options.batch_size;
        v->patches = patches;
        v->count = US_MAX((int64_t)(wanted + 0.5), 1);
        v->max_h = t->options.patch_height;
        v->max_w = t->options.patch_width;
    }
    if (!code)
        code = allocate(v, t);
    if (code) {
        us_validator_destroy(v);
        return code;
    }
    *out = v;
    return 0;
}

void us_validator_destroy(struct us_validator *v) {
    int64_t i;
    if (!v)
        return;
    for (i = 0; v->inputs && i < v->count; i++)
        us_free(v->ctx, v->inputs[i]);
    us_free(v->ctx, v->inputs);
    us_dataset_destroy(v->images);
    us_metrics_destroy(v->metrics);
    us_free(v->ctx, v->memory);
    us_free(v->ctx, v->probability);
    us_free(v->ctx, v->x);
    us_free(v->ctx, v->label);
    us_free(v->ctx, v->mask);
    us_free(v->ctx, v);
}

/* With more than two classes a vessel is everything that is not background. */
static void foreground(float *probability, int classes, int64_t pixels) {
    int64_t i;
    for (i = 0; classes > 2 && i < pixels; i++)
        probability[i] = 1.0f - probability[i];
}

/* Mean cross-entropy of vessel against background, with probabilities kept off 0 and 1. */
static double cross_entropy(const float *p, const uint8_t *label, const uint8_t *mask, int64_t pixels, int64_t *count) {
    double sum = 0;
    int64_t i;
    for (i = 0; i < pixels; i++) {
        double q = label[i] ? (double)p[i] : 1 - (double)p[i];
        if (!mask[i])
            continue;
        q = q < 1e-7 ? 1e-7 : q;
        sum -= us_log(q);
        ++*count;
    }
    return sum;
}

static double chosen_metric(const unetstar_scores *s, int metric) {
    switch (metric) {
    case UNETSTAR_METRIC_PR_AUC:
        return s->average_precision;
    case UNETSTAR_METRIC_F1:
        return s->f1;
    case UNETSTAR_METRIC_ACCURACY:
        return s->accuracy;
    case UNETSTAR_METRIC_MCC:
        return s->mcc;
    default:
        return s->roc_auc;
    }
}

int us_validator_run(struct us_validator *v, const struct us_trainer *t, const struct us_watch *watch,
                     unetstar_progress *progress, double *metric) {
    struct us_folded *folded;
    unetstar_scores scores;
    double loss = 0;
    int64_t i, pixels_seen = 0;
    int code = us_folded_create(&folded, v->ctx, t->net, t->params, 0, NULL);
    us_metrics_clear(v->metrics);
    for (i = 0; i < v->count && !code; i++) {
        struct us_evaluation_shape shape = {NULL, 0, 0, 0, 0, NULL};
        int64_t h = v->max_h, w = v->max_w;
        const float *x = v->x;
        const uint8_t *label = v->label, *mask = v->mask;
        if (v->images) {
            const struct us_sample *s = v->images->samples[i];
            h = s->image.height;
            w = s->image.width;
            x = v->inputs[i];
            label = s->label;
            mask = s->mask;
        } else {
            us_patches_draw(v->patches, t->options.seed, US_RNG_VALIDATION, 0, (uint64_t)i, NULL, v->x, v->label, v->mask);
        }
        shape.net = t->net;
        shape.height = h;
        shape.width = w;
        code = us_evaluate(v->ctx, &shape, folded, x, v->probability, v->memory, NULL, NULL);
        if (code)
            break;
        foreground(v->probability, t->net->options.classes, h * w);
        if (t->options.metric == UNETSTAR_METRIC_LOSS)
            loss += cross_entropy(v->probability, label, mask, h * w, &pixels_seen);
        else
            code = us_metrics_add(v->metrics, "", h * w, v->probability, label, mask);
        progress->phase = UNETSTAR_PHASE_VALIDATE;
        progress->done = i + 1;
        progress->total = v->count;
        if (!code)
            code = us_watch_report(watch, progress);
    }
    us_folded_unref(folded);
    if (code)
        return code;
    if (t->options.metric == UNETSTAR_METRIC_LOSS) {
        *metric = pixels_seen ? loss / (double)pixels_seen : 0;
        return 0;
    }
    code = us_metrics_scores(v->metrics, -1, 0.5, &scores);
    if (!code)
        *metric = chosen_metric(&scores, t->options.metric);
    us_metrics_clear(v->metrics);
    return code;
}
