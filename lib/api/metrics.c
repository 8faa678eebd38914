/* metrics.c - exported: metrics. */
#include "api/api.h"

typedef char check_scores[sizeof(unetstar_scores) == offsetof(unetstar_scores, calibration_error) + sizeof(double) ? 1 : -1];

int unetstar_metrics_create(unetstar_metrics **out, unetstar_context *context) {
    int code = us_need(out, "out");
    if (!code) {
        *out = NULL;
        code = us_need(context, "context");
    }
    return code ? code : us_metrics_create(out, context);
}

void unetstar_metrics_destroy(unetstar_metrics *metrics) {
    us_metrics_destroy(metrics);
}

int unetstar_metrics_add(unetstar_metrics *metrics, const char *name, int64_t count, const float *probability,
                         const uint8_t *label, const uint8_t *mask) {
    int code = us_need(metrics, "metrics");
    code = code ? code : us_need(name, "name");
    code = code ? code : us_need(probability, "probability");
    code = code ? code : us_need(label, "label");
    if (code)
        return code;
    if (count < 1)
        return us_fail(UNETSTAR_EINVAL, "image %s has %lld pixels", name, (long long)count);
    us_fp_enter();
    code = us_metrics_add(metrics, name, count, probability, label, mask);
    us_fp_leave();
    return code;
}

int unetstar_metrics_add_image(unetstar_metrics *metrics, const char *name, int64_t width, int64_t height,
                               const float *probability, const uint8_t *label, const uint8_t *mask) {
    int code = us_need(metrics, "metrics");
    code = code ? code : us_need(name, "name");
    code = code ? code : us_need(probability, "probability");
    code = code ? code : us_need(label, "label");
    if (code)
        return code;
    if (width < 1 || height < 1)
        return us_fail(UNETSTAR_EINVAL, "image %s has %lld x %lld pixels", name, (long long)width, (long long)height);
    us_fp_enter();
    code = us_metrics_add_image(metrics, name, width, height, probability, label, mask);
    us_fp_leave();
    return code;
}

int64_t unetstar_metrics_count(const unetstar_metrics *metrics) {
    return metrics ? metrics->count : 0;
}

const char *unetstar_metrics_name(const unetstar_metrics *metrics, int64_t i) {
    return metrics && i >= 0 && i < metrics->count ? us_metrics_name(metrics, i) : NULL;
}

static int check_image(const unetstar_metrics *metrics, int64_t i) {
    if (metrics->count == 0)
        return us_fail(UNETSTAR_ESTATE, "no image has been added");
    if (i < -1 || i >= metrics->count)
        return us_fail(UNETSTAR_EINVAL, "image %lld was asked for, there are %lld", (long long)i, (long long)metrics->count);
    return 0;
}

int unetstar_metrics_scores(unetstar_metrics *metrics, int64_t i, double threshold, unetstar_scores *scores) {
    unetstar_scores found;
    int code = us_need(metrics, "metrics");
    code = code ? code : us_need(scores, "scores");
    code = code ? code : check_image(metrics, i);
    if (code)
        return code;
    if (threshold != threshold)
        return us_fail(UNETSTAR_EINVAL, "threshold is not a number");
    us_fp_enter();
    code = us_metrics_scores(metrics, i, threshold, &found);
    us_fp_leave();
    return code ? code : us_options_init(scores, scores->struct_size, &found, sizeof found, "scores");
}

int unetstar_metrics_best_threshold(unetstar_metrics *metrics, double *threshold, double *f1) {
    int code = us_need(metrics, "metrics");
    code = code ? code : us_need(threshold, "threshold");
    code = code ? code : us_need(f1, "f1");
    code = code ? code : check_image(metrics, -1);
    if (code)
        return code;
    us_fp_enter();
    code = us_metrics_best_threshold(metrics, threshold, f1);
    us_fp_leave();
    return code;
}

int unetstar_metrics_curve(unetstar_metrics *metrics, int32_t curve, int64_t max_points, double *x, double *y,
                           int64_t *count) {
    int code = us_need(metrics, "metrics");
    code = code ? code : us_need(x, "x");
    code = code ? code : us_need(y, "y");
    code = code ? code : us_need(count, "count");
    code = code ? code : check_image(metrics, -1);
    if (code)
        return code;
    if (curve != UNETSTAR_CURVE_ROC && curve != UNETSTAR_CURVE_PR)
        return us_fail(UNETSTAR_EINVAL, "curve %d is unknown", curve);
    if (max_points < 2)
        return us_fail(UNETSTAR_EINVAL, "max_points is %lld; it must be at least 2", (long long)max_points);
    us_fp_enter();
    code = us_metrics_curve(metrics, curve, max_points, x, y, count);
    us_fp_leave();
    return code;
}
