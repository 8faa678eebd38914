/* dataset.c - exported: datasets and the synthetic fundus. */
#include "api/api.h"

int unetstar_synthetic_fundus(unetstar_context *context, uint64_t seed, int64_t width, int64_t height, uint8_t *rgb,
                              uint8_t *label, uint8_t *mask) {
    int code = us_need(context, "context");
    code = code ? code : us_need(rgb, "rgb");
    if (code)
        return code;
    if (width < 48 || height < 48 || width > 4096 || height > 4096)
        return us_fail(UNETSTAR_EINVAL, "a synthetic fundus of %lld x %lld pixels was asked for; sides must be 48 to 4096",
                       (long long)width, (long long)height);
    us_fp_enter();
    code = us_synthetic_fundus(context, seed, width, height, rgb, label, mask);
    us_fp_leave();
    return code;
}

int unetstar_dataset_create(unetstar_dataset **out, unetstar_context *context) {
    int code = us_need(out, "out");
    if (!code) {
        *out = NULL;
        code = us_need(context, "context");
    }
    return code ? code : us_dataset_create(out, context);
}

void unetstar_dataset_destroy(unetstar_dataset *dataset) {
    us_dataset_destroy(dataset);
}

int unetstar_dataset_add(unetstar_dataset *dataset, const char *name, const unetstar_image *image,
                         const unetstar_image *label, const unetstar_image *mask) {
    struct us_image view, label_view, mask_view;
    int code = us_need(dataset, "dataset");
    code = code ? code : us_need(name, "name");
    code = code ? code : us_image_view(&view, image, "image");
    if (!code && label)
        code = us_image_view(&label_view, label, "label");
    if (!code && mask)
        code = us_image_view(&mask_view, mask, "mask");
    if (code)
        return name ? us_fail_in(code, name) : code;
    us_fp_enter();
    code = us_dataset_add(dataset, name, &view, label ? &label_view : NULL, mask ? &mask_view : NULL);
    us_fp_leave();
    return code;
}

int unetstar_dataset_add_synthetic(unetstar_dataset *dataset, uint64_t seed, int64_t width, int64_t height) {
    int code = us_need(dataset, "dataset");
    if (code)
        return code;
    if (width < 48 || height < 48 || width > 4096 || height > 4096)
        return us_fail(UNETSTAR_EINVAL, "a synthetic fundus of %lld x %lld pixels was asked for; sides must be 48 to 4096",
                       (long long)width, (long long)height);
    us_fp_enter();
    code = us_dataset_add_synthetic(dataset, seed, width, height);
    us_fp_leave();
    return code;
}

int64_t unetstar_dataset_count(const unetstar_dataset *dataset) {
    return dataset ? dataset->count : 0;
}

static const struct us_sample *sample_at(const unetstar_dataset *dataset, int64_t i) {
    return dataset && i >= 0 && i < dataset->count ? dataset->samples[i] : NULL;
}

const char *unetstar_dataset_name(const unetstar_dataset *dataset, int64_t i) {
    const struct us_sample *s = sample_at(dataset, i);
    return s ? s->name : NULL;
}

int32_t unetstar_dataset_field_source(const unetstar_dataset *dataset, int64_t i) {
    const struct us_sample *s = sample_at(dataset, i);
    return s ? s->field_source : UNETSTAR_FIELD_WHOLE;
}

int unetstar_dataset_get(const unetstar_dataset *dataset, int64_t i, int32_t part, unetstar_image *image) {
    const struct us_sample *s = sample_at(dataset, i);
    unetstar_image found;
    size_t size;
    int code = us_need(dataset, "dataset");
    code = code ? code : us_need(image, "image");
    if (code)
        return code;
    if (!s)
        return us_fail(UNETSTAR_EINVAL, "sample %lld is not in the dataset, which has %lld", (long long)i,
                       (long long)dataset->count);
    unetstar_image_init(&found, sizeof found);
    found.width = s->image.width;
    found.height = s->image.height;
    if (part == UNETSTAR_DATASET_IMAGE) {
        found.data = s->image.data;
        found.row_stride = s->image.stride;
        found.channels = s->image.channels;
        found.bits = s->image.bits;
    } else if (part == UNETSTAR_DATASET_LABEL) {
        if (!s->label)
            return us_fail(UNETSTAR_ESTATE, "sample %s has no label", s->name);
        found.data = s->label;
    } else if (part == UNETSTAR_DATASET_MASK) {
        found.data = s->mask;
    } else {
        return us_fail(UNETSTAR_EINVAL, "part %d is unknown", part);
    }
    size = image->struct_size;
    return us_options_init(image, size, &found, sizeof found, "image");
}

int unetstar_dataset_subset(unetstar_dataset **out, const unetstar_dataset *dataset, const int64_t *indices, int64_t count) {
    int64_t i;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_need(dataset, "dataset");
    if (!code && count > 0)
        code = us_need(indices, "indices");
    if (code)
        return code;
    if (count < 0)
        return us_fail(UNETSTAR_EINVAL, "count is negative");
    for (i = 0; i < count; i++)
        if (indices[i] < 0 || indices[i] >= dataset->count)
            return us_fail(UNETSTAR_EINVAL, "index %lld is not in the dataset, which has %lld samples",
                           (long long)indices[i], (long long)dataset->count);
    return us_dataset_subset(out, dataset, indices, count);
}

int unetstar_dataset_fold(unetstar_dataset **train, unetstar_dataset **test, const unetstar_dataset *dataset, int64_t k,
                          int64_t n_folds) {
    int code = us_need(train, "train");
    code = code ? code : us_need(test, "test");
    if (code)
        return code;
    *train = *test = NULL;
    code = us_need(dataset, "dataset");
    if (code)
        return code;
    if (n_folds < 2 || k < 0 || k >= n_folds)
        return us_fail(UNETSTAR_EINVAL, "fold %lld of %lld: there must be at least 2 folds, counted from 0", (long long)k,
                       (long long)n_folds);
    if (dataset->count < n_folds)
        return us_fail(UNETSTAR_EINVAL, "%lld samples cannot be cut into %lld folds", (long long)dataset->count,
                       (long long)n_folds);
    return us_dataset_fold(train, test, dataset, k, n_folds);
}
