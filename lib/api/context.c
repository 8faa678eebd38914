/* context.c - exported: contexts, cancel tokens, tensors. */
#include "api/api.h"

#include <string.h>

/* ---- Context ---- */

static const unetstar_context_options context_defaults = {
    sizeof(unetstar_context_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, UNETSTAR_ISA_BEST};
typedef char check_context[sizeof(unetstar_context_options) ==
                                   offsetof(unetstar_context_options, isa_limit) + sizeof(int32_t)
                               ? 1
                               : -1];

int unetstar_context_options_init(unetstar_context_options *options, size_t size) {
    return us_options_init(options, size, &context_defaults, sizeof context_defaults, "context options");
}

int unetstar_context_create(unetstar_context **out, const unetstar_context_options *options) {
    unetstar_context_options o = context_defaults;
    int code = us_need(out, "out");
    if (code)
        return code;
    *out = NULL;
    code = us_options_read(&o, sizeof o, options, "context options");
    if (code)
        return code;
    if (!o.alloc != !o.free)
        return us_fail(UNETSTAR_EINVAL, "context options: alloc and free must be given together");
    if (o.n_threads < 0 || o.n_threads > 1024)
        return us_fail(UNETSTAR_EINVAL, "context option n_threads is %d; it must be 0 to 1024", o.n_threads);
    if (o.run && o.n_threads < 1)
        return us_fail(UNETSTAR_EINVAL, "context option n_threads must say how many workers the runner has");
    if (o.isa_limit < UNETSTAR_ISA_BEST || o.isa_limit > UNETSTAR_ISA_NEON)
        return us_fail(UNETSTAR_EINVAL, "context option isa_limit is %d, which is unknown", o.isa_limit);
    us_fp_enter();
    code = us_context_create(out, &o);
    us_fp_leave();
    return code;
}

void unetstar_context_destroy(unetstar_context *context) {
    us_context_unref(context);
}

const char *unetstar_context_isa(const unetstar_context *context) {
    return context ? context->kern.name : "";
}

int32_t unetstar_context_threads(const unetstar_context *context) {
    return context ? us_workers(context) : 0;
}

/* ---- Cancel tokens ---- */

int unetstar_cancel_create(unetstar_cancel **out, unetstar_context *context) {
    int code = us_need(out, "out");
    if (!code) {
        *out = NULL;
        code = us_need(context, "context");
    }
    if (code)
        return code;
    *out = (unetstar_cancel *)us_alloc_zero(context, sizeof **out);
    if (!*out)
        return UNETSTAR_ENOMEM;
    (*out)->ctx = us_context_ref(context);
    return 0;
}

void unetstar_cancel_destroy(unetstar_cancel *cancel) {
    if (cancel) {
        us_context *ctx = cancel->ctx;
        us_free(ctx, cancel);
        us_context_unref(ctx);
    }
}

void unetstar_cancel_request(unetstar_cancel *cancel) {
    if (cancel)
        __atomic_store_n(&cancel->requested, 1, __ATOMIC_RELEASE);
}

void unetstar_cancel_reset(unetstar_cancel *cancel) {
    if (cancel)
        __atomic_store_n(&cancel->requested, 0, __ATOMIC_RELEASE);
}

int32_t unetstar_cancel_requested(const unetstar_cancel *cancel) {
    return us_cancelled(cancel);
}

/* ---- Tensors ---- */

static int tensor_new(unetstar_tensor **out, unetstar_context *context, int32_t dtype, int32_t ndim, const int64_t *shape) {
    unetstar_tensor *t;
    size_t bytes;
    int code = us_need(out, "out"), i;
    if (code)
        return code;
    *out = NULL;
    code = us_need(context, "context");
    if (!code && ndim > 0)
        code = us_need(shape, "shape");
    if (code)
        return code;
    if (!us_dtype_size(dtype))
        return us_fail(UNETSTAR_EINVAL, "dtype %d is unknown", dtype);
    if (ndim < 0 || ndim > UNETSTAR_MAX_DIMS)
        return us_fail(UNETSTAR_EINVAL, "ndim is %d; it must be 0 to %d", ndim, UNETSTAR_MAX_DIMS);
    code = us_size_shape(&bytes, shape, ndim, us_dtype_size(dtype));
    if (code)
        return code == UNETSTAR_ESHAPE ? UNETSTAR_EINVAL : code;
    t = (unetstar_tensor *)us_alloc_zero(context, sizeof *t);
    if (!t)
        return UNETSTAR_ENOMEM;
    t->ctx = us_context_ref(context);
    t->bytes = bytes;
    t->dtype = dtype;
    t->ndim = ndim;
    for (i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
    *out = t;
    return 0;
}

int unetstar_tensor_create(unetstar_tensor **out, unetstar_context *context, int32_t dtype, int32_t ndim,
                           const int64_t *shape) {
    int code = tensor_new(out, context, dtype, ndim, shape);
    if (code)
        return code;
    (*out)->data = us_alloc_zero(context, (*out)->bytes);
    (*out)->owned = 1;
    if (!(*out)->data) {
        unetstar_tensor_destroy(*out);
        *out = NULL;
        return UNETSTAR_ENOMEM;
    }
    return 0;
}

int unetstar_tensor_wrap(unetstar_tensor **out, unetstar_context *context, void *data, int32_t dtype, int32_t ndim,
                         const int64_t *shape, void (*release)(void *user, void *data), void *user) {
    int code = us_need(out, "out");
    if (!code) {
        *out = NULL;
        code = us_need(data, "data");
    }
    if (!code)
        code = tensor_new(out, context, dtype, ndim, shape);
    if (code)
        return code;
    (*out)->data = data;
    (*out)->release = release;
    (*out)->user = user;
    return 0;
}

void unetstar_tensor_destroy(unetstar_tensor *tensor) {
    us_context *ctx;
    if (!tensor)
        return;
    ctx = tensor->ctx;
    if (tensor->owned)
        us_free(ctx, tensor->data);
    else if (tensor->release)
        tensor->release(tensor->user, tensor->data);
    us_free(ctx, tensor);
    us_context_unref(ctx);
}

int32_t unetstar_tensor_dtype(const unetstar_tensor *tensor) {
    return tensor ? tensor->dtype : 0;
}

int32_t unetstar_tensor_ndim(const unetstar_tensor *tensor) {
    return tensor ? tensor->ndim : 0;
}

int64_t unetstar_tensor_shape(const unetstar_tensor *tensor, int32_t dim) {
    return tensor && dim >= 0 && dim < tensor->ndim ? tensor->shape[dim] : 0;
}

size_t unetstar_tensor_bytes(const unetstar_tensor *tensor) {
    return tensor ? tensor->bytes : 0;
}

void *unetstar_tensor_data(unetstar_tensor *tensor) {
    return tensor ? tensor->data : NULL;
}
