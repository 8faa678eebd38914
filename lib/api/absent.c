/*
 * absent.c - exported: the functions that this build leaves out. They are there, so that a program linked with the
 * whole library starts, and fail with a sentence. Objects that cannot be made have getters of nothing.
 */
#include "api/api.h"

/* A function, and one that makes an object. */
#define NO(what, name, ...)                                                                                            \
    int name(__VA_ARGS__) {                                                                                            \
        return us_fail(UNETSTAR_ENOTSUPPORTED, "this build of the library has no " what);                              \
    }
#define NO_NEW(what, type, name, ...)                                                                                  \
    int name(type **out, __VA_ARGS__) {                                                                                \
        if (out)                                                                                                       \
            *out = NULL;                                                                                               \
        return us_fail(UNETSTAR_ENOTSUPPORTED, "this build of the library has no " what);                              \
    }
#define NO_TRAINING(...) NO("training", __VA_ARGS__)
#define NO_TRAINING_NEW(...) NO_NEW("training", __VA_ARGS__)
#define NO_FILES(...) NO("files", __VA_ARGS__)
#define NO_FILES_NEW(...) NO_NEW("files", __VA_ARGS__)

/* clang-format off */
#if defined(US_NO_FILES)
NO_FILES_NEW(unetstar_model, unetstar_model_load, unetstar_context *context, const char *path)
NO_FILES_NEW(unetstar_model, unetstar_model_load_with, unetstar_context *context, const char *path,
    const unetstar_model_options *options)
NO_FILES(unetstar_model_save, const unetstar_model *model, const char *path)
#endif

#if defined(US_NO_FILES) && US_TRAINING
NO_FILES(unetstar_trainer_save, const unetstar_trainer *trainer, const char *path)
NO_FILES(unetstar_trainer_load, unetstar_trainer *trainer, const char *path)
#endif

#if !US_TRAINING
NO_TRAINING(unetstar_conv2d_options_init, unetstar_conv2d_options *options, size_t size)
NO_TRAINING(unetstar_conv2d_forward, unetstar_context *context, const unetstar_conv2d_options *options, int64_t n,
    int64_t c, int64_t h, int64_t w, int64_t c_out, const float *x, const float *weight, const float *bias,
    float *y)
NO_TRAINING(unetstar_conv2d_backward, unetstar_context *context, const unetstar_conv2d_options *options, int64_t n,
    int64_t c, int64_t h, int64_t w, int64_t c_out, const float *x, const float *weight, const float *dy, float *dx,
    float *dweight, float *dbias)
NO_TRAINING(unetstar_linear_forward, unetstar_context *context, int64_t n, int64_t c, int64_t c_out, const float *x,
    const float *weight, const float *bias, float *y)
NO_TRAINING(unetstar_linear_backward, unetstar_context *context, int64_t n, int64_t c, int64_t c_out,
    const float *x, const float *weight, const float *dy, float *dx, float *dweight, float *dbias)
NO_TRAINING(unetstar_batch_norm_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, const float *gamma, const float *beta, float eps, float momentum, float *running_mean,
    float *running_variance, float *y, float *save_mean, float *save_inverse_std)
NO_TRAINING(unetstar_batch_norm_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, const float *gamma, const float *save_mean, const float *save_inverse_std, const float *dy,
    float *dx, float *dgamma, float *dbeta)
NO_TRAINING(unetstar_group_norm_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    int64_t groups, const float *x, const float *gamma, const float *beta, float eps, float *y, float *save_mean,
    float *save_inverse_std)
NO_TRAINING(unetstar_group_norm_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    int64_t groups, const float *x, const float *gamma, const float *save_mean, const float *save_inverse_std,
    const float *dy, float *dx, float *dgamma, float *dbeta)
NO_TRAINING(unetstar_layer_norm_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, const float *gamma, const float *beta, float eps, float *y, float *save_mean,
    float *save_inverse_std)
NO_TRAINING(unetstar_layer_norm_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, const float *gamma, const float *save_mean, const float *save_inverse_std, const float *dy,
    float *dx, float *dgamma, float *dbeta)
NO_TRAINING(unetstar_activation_forward, unetstar_context *context, int32_t activation, float slope, int64_t count,
    const float *x, float *y)
NO_TRAINING(unetstar_activation_backward, unetstar_context *context, int32_t activation, float slope, int64_t count,
    const float *x, const float *dy, float *dx)
NO_TRAINING(unetstar_max_pool2d_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, float *y)
NO_TRAINING(unetstar_max_pool2d_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *x, const float *dy, float *dx)
NO_TRAINING(unetstar_upsample2_forward, unetstar_context *context, int32_t mode, int64_t n, int64_t c, int64_t h,
    int64_t w, const float *x, float *y)
NO_TRAINING(unetstar_upsample2_backward, unetstar_context *context, int32_t mode, int64_t n, int64_t c, int64_t h,
    int64_t w, const float *dy, float *dx)
NO_TRAINING(unetstar_conv_transpose2d_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h,
    int64_t w, int64_t c_out, const float *x, const float *weight, const float *bias, float *y)
NO_TRAINING(unetstar_conv_transpose2d_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h,
    int64_t w, int64_t c_out, const float *x, const float *weight, const float *dy, float *dx, float *dweight,
    float *dbias)
NO_TRAINING(unetstar_add_forward, unetstar_context *context, int64_t count, const float *a, const float *b,
    float *y)
NO_TRAINING(unetstar_add_backward, unetstar_context *context, int64_t count, const float *dy, float *da, float *db)
NO_TRAINING(unetstar_multiply_forward, unetstar_context *context, int64_t count, const float *a, const float *b,
    float *y)
NO_TRAINING(unetstar_multiply_backward, unetstar_context *context, int64_t count, const float *a, const float *b,
    const float *dy, float *da, float *db)
NO_TRAINING(unetstar_concat_forward, unetstar_context *context, int64_t n, int64_t ca, int64_t cb, int64_t h,
    int64_t w, const float *a, const float *b, float *y)
NO_TRAINING(unetstar_concat_backward, unetstar_context *context, int64_t n, int64_t ca, int64_t cb, int64_t h,
    int64_t w, const float *dy, float *da, float *db)
NO_TRAINING(unetstar_softmax_forward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *logits, float *probability)
NO_TRAINING(unetstar_softmax_backward, unetstar_context *context, int64_t n, int64_t c, int64_t h, int64_t w,
    const float *probability, const float *dy, float *dlogits)
NO_TRAINING(unetstar_loss_options_init, unetstar_loss_options *options, size_t size)
NO_TRAINING(unetstar_loss, unetstar_context *context, const unetstar_loss_options *options, int64_t n, int64_t c,
    int64_t h, int64_t w, const float *logits, const uint8_t *labels, const uint8_t *mask, double *loss,
    float *dlogits)
NO_TRAINING(unetstar_synthetic_fundus, unetstar_context *context, uint64_t seed, int64_t width, int64_t height,
    uint8_t *rgb, uint8_t *label, uint8_t *mask)
NO_TRAINING_NEW(unetstar_dataset, unetstar_dataset_create, unetstar_context *context)
NO_TRAINING(unetstar_dataset_add, unetstar_dataset *dataset, const char *name, const unetstar_image *image,
    const unetstar_image *label, const unetstar_image *mask)
NO_TRAINING(unetstar_dataset_add_synthetic, unetstar_dataset *dataset, uint64_t seed, int64_t width, int64_t height)
NO_TRAINING(unetstar_dataset_get, const unetstar_dataset *dataset, int64_t i, int32_t part, unetstar_image *image)
NO_TRAINING_NEW(unetstar_dataset, unetstar_dataset_subset, const unetstar_dataset *dataset, const int64_t *indices,
    int64_t count)
NO_TRAINING(unetstar_optimizer_options_init, unetstar_optimizer_options *options, size_t size)
NO_TRAINING_NEW(unetstar_optimizer, unetstar_optimizer_create, unetstar_model *model,
    const unetstar_optimizer_options *options)
NO_TRAINING(unetstar_optimizer_step, unetstar_optimizer *optimizer, const float *gradients, int64_t count,
    double learning_rate, double gradient_scale)
NO_TRAINING(unetstar_trainer_options_init, unetstar_trainer_options *options, size_t size)
NO_TRAINING_NEW(unetstar_trainer, unetstar_trainer_create, unetstar_model *model, unetstar_optimizer *optimizer,
    const unetstar_trainer_options *options, const unetstar_loss_options *loss)
NO_TRAINING(unetstar_trainer_fit, unetstar_trainer *trainer, const unetstar_dataset *training_set,
    const unetstar_dataset *validation_set, const unetstar_cancel *cancel, unetstar_progress_fn progress,
    void *user)
NO_TRAINING(unetstar_trainer_use_best, unetstar_trainer *trainer)
NO_TRAINING(unetstar_trainer_get_state, const unetstar_trainer *trainer, unetstar_trainer_state *state)
NO_TRAINING(unetstar_trainer_save, const unetstar_trainer *trainer, const char *path)
NO_TRAINING(unetstar_trainer_load, unetstar_trainer *trainer, const char *path)
NO_TRAINING(unetstar_trainer_forward, unetstar_trainer *trainer, int64_t n, const float *x)
NO_TRAINING(unetstar_trainer_logits, unetstar_trainer *trainer, float *logits)
NO_TRAINING(unetstar_trainer_loss, unetstar_trainer *trainer, const uint8_t *labels, const uint8_t *mask,
    double *loss)
NO_TRAINING(unetstar_trainer_backward, unetstar_trainer *trainer)
NO_TRAINING(unetstar_trainer_gradients, unetstar_trainer *trainer, float **gradients, int64_t *count)
NO_TRAINING(unetstar_trainer_step, unetstar_trainer *trainer, double learning_rate)
NO_TRAINING(unetstar_trainer_gradient_get, const unetstar_trainer *trainer, const char *name, float *data,
    int64_t count)
NO_TRAINING(unetstar_optimizer_moment_get, const unetstar_optimizer *optimizer, const char *name, int32_t moment,
    float *data, int64_t count)
NO_TRAINING(unetstar_trainer_set_hook, unetstar_trainer *trainer, unetstar_gradient_hook hook, void *user)
NO_TRAINING(unetstar_trainer_patch, unetstar_trainer *trainer, const unetstar_dataset *training_set, int64_t epoch,
    int64_t sample, float *x, uint8_t *label, uint8_t *mask)
NO_TRAINING(unetstar_model_degree, const unetstar_model *model, unetstar_degree *degree)
NO_TRAINING(unetstar_degree_check_options_init, unetstar_degree_check_options *options, size_t size)
NO_TRAINING(unetstar_model_degree_check, const unetstar_model *model, const unetstar_degree_check_options *options,
    int64_t h, int64_t w, const float *x, const unetstar_cancel *cancel, unetstar_degree_check *check)
NO_TRAINING(unetstar_model_branch_gradients, const unetstar_model *model, int64_t n, int64_t h, int64_t w,
    const float *x, const uint8_t *labels, const uint8_t *mask, const unetstar_loss_options *loss,
    unetstar_branch_gradients *gradients)
NO_TRAINING(unetstar_model_features, const unetstar_model *model, int64_t h, int64_t w, const float *x, const char *layer,
    int32_t place, double *singular_values, unetstar_features *features)
NO_TRAINING_NEW(unetstar_metrics, unetstar_metrics_create, unetstar_context *context)
NO_TRAINING(unetstar_metrics_add, unetstar_metrics *metrics, const char *name, int64_t count,
    const float *probability, const uint8_t *label, const uint8_t *mask)
NO_TRAINING(unetstar_metrics_add_image, unetstar_metrics *metrics, const char *name, int64_t width, int64_t height,
    const float *probability, const uint8_t *label, const uint8_t *mask)
NO_TRAINING(unetstar_metrics_scores, unetstar_metrics *metrics, int64_t i, double threshold,
    unetstar_scores *scores)
NO_TRAINING(unetstar_metrics_best_threshold, unetstar_metrics *metrics, double *threshold, double *f1)
NO_TRAINING(unetstar_metrics_curve, unetstar_metrics *metrics, int32_t curve, int64_t max_points, double *x,
    double *y, int64_t *count)

int unetstar_dataset_fold(unetstar_dataset **train, unetstar_dataset **test, const unetstar_dataset *dataset, int64_t k,
                          int64_t n_folds) {
    if (train)
        *train = NULL;
    if (test)
        *test = NULL;
    return us_fail(UNETSTAR_ENOTSUPPORTED, "this build of the library has no training");
}

void unetstar_dataset_destroy(unetstar_dataset *dataset) {}
int64_t unetstar_dataset_count(const unetstar_dataset *dataset) {
    return 0;
}
const char *unetstar_dataset_name(const unetstar_dataset *dataset, int64_t i) {
    return NULL;
}
int32_t unetstar_dataset_field_source(const unetstar_dataset *dataset, int64_t i) {
    return UNETSTAR_FIELD_WHOLE;
}
void unetstar_optimizer_destroy(unetstar_optimizer *optimizer) {}
int64_t unetstar_optimizer_step_count(const unetstar_optimizer *optimizer) {
    return 0;
}
void unetstar_trainer_destroy(unetstar_trainer *trainer) {}
size_t unetstar_trainer_workspace_size(const unetstar_trainer *trainer) {
    return 0;
}
void unetstar_metrics_destroy(unetstar_metrics *metrics) {}
int64_t unetstar_metrics_count(const unetstar_metrics *metrics) {
    return 0;
}
const char *unetstar_metrics_name(const unetstar_metrics *metrics, int64_t i) {
    return NULL;
}
#endif
/* clang-format on */
