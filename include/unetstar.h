/*
 * unetstar.h - train and run small U-Nets for retinal vessel segmentation on an ordinary CPU.
 *
 * This file is the whole public interface and its manual. unetstar is C99, needs nothing at run time but the C library
 * (and its threads), and gives the same bits for the same input on every thread count, runner and instruction set.
 *
 * Segmenting an image, from a file of weights to a probability map:
 *
 *     unetstar_context *ctx = NULL;
 *     unetstar_model *model = NULL;
 *     unetstar_session *session = NULL;
 *     unetstar_image image;
 *     unetstar_image_init(&image, sizeof image);
 *     image.data = pixels; image.width = w; image.height = h; image.channels = 3; image.bits = 8;
 *     if (unetstar_context_create(&ctx, NULL) ||
 *         unetstar_model_load(&model, ctx, "vessels.safetensors") ||
 *         unetstar_session_create(&session, ctx, (const unetstar_model *const *)&model, 1, NULL) ||
 *         unetstar_session_run(session, &image, NULL, probability, NULL, NULL, NULL))
 *         fprintf(stderr, "%s\n", unetstar_last_error());
 *     unetstar_session_destroy(session);
 *     unetstar_model_destroy(model);
 *     unetstar_context_destroy(ctx);
 *
 * CONVENTIONS, valid for every function unless its comment says otherwise
 *
 * Results.   A function returns int: UNETSTAR_OK (0) or a negative UNETSTAR_E* constant. New objects and counts come out
 *            through parameters, objects through the first one; on failure *out is NULL and nothing has changed.
 *            unetstar_last_error() then gives a sentence that names the argument or file and what was wrong with it.
 * Ownership. What you create you destroy. destroy(NULL) does nothing, and objects may be destroyed in any order: they keep
 *            each other alive by reference counts. A destroy is Thread C for its object. Buffers you pass in are only read
 *            during the call, and never kept, except where "borrowed" is written. Strings and pointers returned by getters
 *            belong to the object.
 * Options.   An options struct begins with struct_size. Fill it with its _init function, which sets every field to its
 *            default, then change what you want. NULL options mean all defaults. A larger struct of a newer header is
 *            accepted when the part this library does not know is zero, and is UNETSTAR_EVERSION otherwise.
 * Shapes.    Tensors are contiguous, row-major (N,C,H,W): images, channels, rows, columns; float32 unless said otherwise.
 *            Sizes count elements, strides of images count bytes. Labels are uint8 class numbers: 0 background, 1 vessel (or
 *            up to 7 for more classes); metrics take every value above 0 as vessel. Masks are uint8: 0 outside, else inside.
 * Threads.   Each comment ends in one of three sentences. Thread A: safe to call at the same time on the same object.
 *            Thread B: safe at the same time on different objects, not on the same one. Thread C: not while any other call
 *            uses the object. The error text belongs to the calling thread.
 * Callbacks. Every callback except a caller's own runner is called only on the thread that made the call, and never after
 *            that call has returned. Progress callbacks return 0 to go on; any other value cancels (UNETSTAR_ECANCELED).
 *            A callback may use the library: other objects freely, a trainer or model in training to read and save it. The
 *            session of a running call is ESTATE there, but may be destroyed, which takes effect when that call returns.
 * Floats.    While it computes, the library rounds to nearest, masks exceptions and keeps gradual underflow; your settings
 *            of the floating-point control word are back on return and inside every callback.
 * Guests.    The library never prints, aborts, exits, reads the environment, installs a handler or changes a global.
 * Builds.    A build may leave out training (with datasets, metrics, the synthetic fundus and the layer primitives), the
 *            functions that take paths, and threads of its own: unetstar_build_features tells. What is left out is exported
 *            all the same and returns UNETSTAR_ENOTSUPPORTED, new objects being NULL; getters give 0 or NULL.
 * fork.      A context with worker threads, and the models and sessions made with it, cannot compute in a child process made by
 *            fork: such calls return UNETSTAR_ESTATE. They can be destroyed there.
 */
#ifndef UNETSTAR_H
#define UNETSTAR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ------------------------------------------------------------------------------------------------------ */

#define UNETSTAR_VERSION_MAJOR 0
#define UNETSTAR_VERSION_MINOR 1
#define UNETSTAR_VERSION_PATCH 0
#define UNETSTAR_VERSION_STRING "0.1.0"
/* major * 1000000 + minor * 1000 + patch */
#define UNETSTAR_VERSION_NUMBER 1000
/* The number in the soname. It rises with every break of the binary interface, also before version 1. */
#define UNETSTAR_ABI_VERSION 0
/* Rises whenever any bit of any result may change that is computed from given images. It is written into every weights
 * file, checkpoint and report; a training resumes bit by bit within one value (docs/determinism.md). */
#define UNETSTAR_NUMERICS_VERSION 2

#if defined(_WIN32) && defined(UNETSTAR_BUILDING_DLL)
#define UNETSTAR_API __declspec(dllexport)
#elif defined(_WIN32) && defined(UNETSTAR_DLL)
#define UNETSTAR_API __declspec(dllimport)
#elif defined(__GNUC__)
#define UNETSTAR_API __attribute__((visibility("default")))
#else
#define UNETSTAR_API
#endif
#if defined(__GNUC__)
#define UNETSTAR_CHECK __attribute__((warn_unused_result))
#else
#define UNETSTAR_CHECK
#endif

/* The values above as compiled into the library in use. A binding checks
 * unetstar_abi_version() == UNETSTAR_ABI_VERSION once. Thread A. Since 0.1. */
UNETSTAR_API int32_t unetstar_version_number(void);
UNETSTAR_API const char *unetstar_version_string(void);
UNETSTAR_API int32_t unetstar_abi_version(void);
UNETSTAR_API int32_t unetstar_numerics_version(void);

/* What the library in use was built with: a sum of UNETSTAR_FEATURE_*. Thread A. Since 0.1. */
enum {
    UNETSTAR_FEATURE_TRAINING = 1, /* also datasets, metrics, the synthetic fundus, layer primitives */
    UNETSTAR_FEATURE_FILES = 2,    /* functions that take paths */
    UNETSTAR_FEATURE_THREADS = 4   /* n_threads above 1 without a runner */
};
UNETSTAR_API int32_t unetstar_build_features(void);

/* ---- Errors ------------------------------------------------------------------------------------------------------- */

/* The numbers are fixed for good and never used again for something else. */
enum {
    UNETSTAR_OK = 0,
    UNETSTAR_EINVAL = -1,        /* an argument is NULL, out of range or contradicts another */
    UNETSTAR_ENOMEM = -2,        /* the context's allocator returned NULL */
    UNETSTAR_EIO = -3,           /* a file or a read/write callback failed */
    UNETSTAR_EFORMAT = -4,       /* the bytes of a file are not what they should be */
    UNETSTAR_ESHAPE = -5,        /* a tensor or image has the wrong shape for this object */
    UNETSTAR_EVERSION = -6,      /* made by a newer version in a way this one does not know */
    UNETSTAR_ECANCELED = -7,     /* a cancel token or progress callback stopped the call */
    UNETSTAR_ESTATE = -8,        /* the call does not fit the object's state (order of calls, fork) */
    UNETSTAR_ELIMIT = -9,        /* a size, count or memory budget is exceeded */
    UNETSTAR_EUSER = -10,        /* a callback of the caller (runner, hook) reported failure */
    UNETSTAR_EINTERNAL = -11,    /* a bug in the library; please report it */
    UNETSTAR_ENOTSUPPORTED = -12 /* declared, but not there in this version or build */
};

/* A sentence about the last failure on this thread; "" if there was none. Valid until the next call into the library on
 * this thread. Thread A. Since 0.1. */
UNETSTAR_API const char *unetstar_last_error(void);
/* A short fixed name for an error number, "unknown error" for others. Thread A. Since 0.1. */
UNETSTAR_API const char *unetstar_strerror(int error);

/* ---- Callback types ----------------------------------------------------------------------------------------------- */

/* Allocator. alignment is a power of two, at most 64. free gets the size that was asked for. Called on API threads only,
 * but several may share a context, so both must be thread safe. */
typedef void *(*unetstar_alloc_fn)(void *user, size_t size, size_t alignment);
typedef void (*unetstar_free_fn)(void *user, void *pointer, size_t size);

/* One complete UTF-8 line without newline. level is one of UNETSTAR_LOG_*. */
enum { UNETSTAR_LOG_INFO = 0, UNETSTAR_LOG_WARNING = 1 };
typedef void (*unetstar_log_fn)(void *user, int32_t level, const char *message);

/* A caller's own threads. The runner must call task(opaque, i, worker) exactly once for every i in [0, n), from any threads
 * in any order, with worker in [0, n_threads of the context) and no two tasks at once with the same worker, and return 0
 * when all have finished. A non-zero result is UNETSTAR_EUSER. The bits of results do not depend on it. */
typedef void (*unetstar_task_fn)(void *opaque, int64_t index, int32_t worker);
typedef int (*unetstar_run_fn)(void *runner, void *opaque, unetstar_task_fn task, int64_t n);

/* Bytes out: write all of size bytes, return 0, anything else is a failure. Bytes in: read at most size bytes, return
 * how many (0 at the end, negative on failure). */
typedef int (*unetstar_write_fn)(void *user, const void *data, size_t size);
typedef int64_t (*unetstar_read_fn)(void *user, void *data, size_t size);

/* What a long call tells its progress callback. struct_size is set by the library; fields are only ever added at the end. */
enum {
    UNETSTAR_PHASE_TRAIN = 0,    /* after a training step */
    UNETSTAR_PHASE_VALIDATE = 1, /* after a validation image or batch */
    UNETSTAR_PHASE_EPOCH = 2,    /* an epoch has ended; metric, best and is_best are those of this epoch. A cancel here leaves a
                                    complete epoch: schedule, best weights and early stop have seen it */
    UNETSTAR_PHASE_SEGMENT = 3   /* part of an image is done */
};
typedef struct unetstar_progress {
    size_t struct_size;
    int32_t phase;            /* UNETSTAR_PHASE_* */
    int32_t is_best;          /* EPOCH: this epoch has the best validation metric so far */
    int64_t done, total;      /* work done in this phase: steps, images or parts */
    int64_t epoch, epochs;    /* counted from 0; epochs is the limit */
    double loss;              /* TRAIN: of this step; EPOCH: mean over its steps */
    double learning_rate;
    double metric;            /* EPOCH: validation metric of this epoch, NaN without validation */
    double best_metric;       /* best so far, NaN when there is none */
    double images_per_second; /* patches trained a second in this call */
} unetstar_progress;
typedef int (*unetstar_progress_fn)(void *user, const unetstar_progress *progress);

/* ---- Context ------------------------------------------------------------------------------------------------------ */

/* Allocator, log, threads and instruction-set limit, shared by the objects made with it. */
typedef struct unetstar_context unetstar_context;

/* Instruction-set limits: the best level not above the limit that this CPU has is used. Results are the same at every
 * level; a limit is for tests and for reporting bugs. */
enum {
    UNETSTAR_ISA_BEST = 0,
    UNETSTAR_ISA_REFERENCE = 1,     /* plain C, multiply-add in software: slow */
    UNETSTAR_ISA_REFERENCE_FMA = 2, /* the same source compiled with the fused multiply-add instruction */
    UNETSTAR_ISA_AVX2 = 3,
    UNETSTAR_ISA_AVX512 = 4,
    UNETSTAR_ISA_NEON = 5
};

typedef struct unetstar_context_options {
    size_t struct_size;
    unetstar_alloc_fn alloc; /* both or neither; NULL: the C library's */
    unetstar_free_fn free;
    void *alloc_user;    /* handed to both */
    unetstar_log_fn log; /* NULL: silent (the default) */
    void *log_user;
    unetstar_run_fn run; /* NULL: the context's own pool */
    void *runner;
    int32_t n_threads; /* 0 (default): as many as the CPUs this process may use; 1: no thread is ever created. With a
                          runner: the number of its workers, at least 1 */
    int32_t isa_limit; /* UNETSTAR_ISA_* */
} unetstar_context_options;

UNETSTAR_API int unetstar_context_options_init(unetstar_context_options *options, size_t size);

/* Creates a context. Errors: EINVAL (one of alloc and free without the other, n_threads < 0 or > 1024, unknown isa_limit),
 * ENOMEM, ESTATE (threads could not be started), EINTERNAL (this build does floating point in a way that would break the
 * promise of equal bits). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_context_create(unetstar_context **out, const unetstar_context_options *options);
UNETSTAR_API void unetstar_context_destroy(unetstar_context *context);
/* Name of the kernel level in use ("avx2", ...), and the number of threads. Thread A. Since 0.1. */
UNETSTAR_API const char *unetstar_context_isa(const unetstar_context *context);
UNETSTAR_API int32_t unetstar_context_threads(const unetstar_context *context);

/* A cancel token: hand it to a long call and request it from any thread or signal handler; the call stops between tasks
 * with ECANCELED, objects stay valid. It stays requested until it is reset. It must outlive the calls it was given to.
 * request: async-signal-safe. Thread A. Since 0.1. */
typedef struct unetstar_cancel unetstar_cancel;
UNETSTAR_API UNETSTAR_CHECK int unetstar_cancel_create(unetstar_cancel **out, unetstar_context *context);
UNETSTAR_API void unetstar_cancel_destroy(unetstar_cancel *cancel);
UNETSTAR_API void unetstar_cancel_request(unetstar_cancel *cancel);
UNETSTAR_API void unetstar_cancel_reset(unetstar_cancel *cancel);
UNETSTAR_API int32_t unetstar_cancel_requested(const unetstar_cancel *cancel);

/* ---- Tensors ------------------------------------------------------------------------------------------------------ */

/* A shaped block of memory, contiguous and row-major. Used to exchange weights by name. */
typedef struct unetstar_tensor unetstar_tensor;
enum { UNETSTAR_FLOAT32 = 0, UNETSTAR_UINT8 = 1, UNETSTAR_INT64 = 2 };
#define UNETSTAR_MAX_DIMS 8

/* create: zero-filled, owned memory. wrap: borrowed memory that must outlive the tensor; release(user, data) is called
 * once when the tensor is destroyed, release may be NULL. ndim 0..8, each dimension >= 0.
 * Errors: EINVAL, ELIMIT (more than 2^40 bytes), ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_tensor_create(unetstar_tensor **out, unetstar_context *context, int32_t dtype,
                                                       int32_t ndim, const int64_t *shape);
UNETSTAR_API UNETSTAR_CHECK int unetstar_tensor_wrap(unetstar_tensor **out, unetstar_context *context, void *data,
                                                     int32_t dtype, int32_t ndim, const int64_t *shape,
                                                     void (*release)(void *user, void *data), void *user);
UNETSTAR_API void unetstar_tensor_destroy(unetstar_tensor *tensor);
/* Getters; 0 or NULL for a NULL tensor. shape gives the size of one dimension, 0 outside [0, ndim). Thread A. Since 0.1. */
UNETSTAR_API int32_t unetstar_tensor_dtype(const unetstar_tensor *tensor);
UNETSTAR_API int32_t unetstar_tensor_ndim(const unetstar_tensor *tensor);
UNETSTAR_API int64_t unetstar_tensor_shape(const unetstar_tensor *tensor, int32_t dim);
UNETSTAR_API size_t unetstar_tensor_bytes(const unetstar_tensor *tensor);
UNETSTAR_API void *unetstar_tensor_data(unetstar_tensor *tensor);

/* ---- Layer primitives --------------------------------------------------------------------------------------------- */
/*
 * The layers of the network as plain functions on (N,C,H,W) float32 buffers, for those who build their own networks or
 * check ours. Every one computes with the context's kernels and threads and takes its scratch from the context. Gradients
 * are overwritten, not added to; a gradient pointer that is NULL is not computed. Input and output must not overlap unless
 * said otherwise. A 3x3 convolution with stride 1, padding 1, dilation 1 and one group has the bits of that layer in
 * training with precision EXACT; other geometries are computed by plain loops (right, not fast).
 * Errors of all: EINVAL (NULL or unknown constant), ESHAPE (sizes below 1 or that do not fit), ELIMIT, ENOMEM.
 * Thread A. Since 0.1.
 */
typedef struct unetstar_conv2d_options {
    size_t struct_size;
    int32_t kernel_h, kernel_w;   /* 3, 3 */
    int32_t stride_h, stride_w;   /* 1, 1 */
    int32_t padding_h, padding_w; /* 1, 1: zeros on both sides */
    int32_t dilation;             /* 1 */
    int32_t groups;               /* 1; divides both channel counts */
} unetstar_conv2d_options;
UNETSTAR_API int unetstar_conv2d_options_init(unetstar_conv2d_options *options, size_t size);

/* y (n, c_out, ho, wo) = conv(x (n, c, h, w), weight (c_out, c / groups, kh, kw)) + bias (c_out or NULL), with
 * ho = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_conv2d_forward(unetstar_context *context, const unetstar_conv2d_options *options,
                                                        int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out,
                                                        const float *x, const float *weight, const float *bias, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_conv2d_backward(unetstar_context *context, const unetstar_conv2d_options *options,
                                                         int64_t n, int64_t c, int64_t h, int64_t w, int64_t c_out,
                                                         const float *x, const float *weight, const float *dy, float *dx,
                                                         float *dweight, float *dbias);
/* y (n, c_out) = x (n, c) weight^T (c_out, c) + bias */
UNETSTAR_API UNETSTAR_CHECK int unetstar_linear_forward(unetstar_context *context, int64_t n, int64_t c, int64_t c_out,
                                                        const float *x, const float *weight, const float *bias, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_linear_backward(unetstar_context *context, int64_t n, int64_t c, int64_t c_out,
                                                         const float *x, const float *weight, const float *dy, float *dx,
                                                         float *dweight, float *dbias);

/* Normalisation, y = gamma (x - mean) / sqrt(variance + eps) + beta (gamma, beta (c) or NULL for 1 and 0).
 * batch (Ioffe, Szegedy 2015): mean and biased variance over n, h, w of each channel; running_mean, running_variance (c, or
 *   both NULL) become (1 - momentum) old + momentum new, with the unbiased variance, as in PyTorch.
 * group (Wu, He 2018): over each of `groups` groups of channels of each image; groups == c is instance norm.
 * layer (Ba et al. 2016): over c, h, w of each image (one group), gamma and beta still per channel.
 * save_mean, save_inverse_std: (c) for batch, (n, groups) for group, (n) for layer; written by forward, read by backward. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_batch_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                            int64_t w, const float *x, const float *gamma,
                                                            const float *beta, float eps, float momentum,
                                                            float *running_mean, float *running_variance, float *y,
                                                            float *save_mean, float *save_inverse_std);
UNETSTAR_API UNETSTAR_CHECK int unetstar_batch_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                             int64_t w, const float *x, const float *gamma,
                                                             const float *save_mean, const float *save_inverse_std,
                                                             const float *dy, float *dx, float *dgamma, float *dbeta);
UNETSTAR_API UNETSTAR_CHECK int unetstar_group_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                            int64_t w, int64_t groups, const float *x, const float *gamma,
                                                            const float *beta, float eps, float *y, float *save_mean,
                                                            float *save_inverse_std);
UNETSTAR_API UNETSTAR_CHECK int unetstar_group_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                             int64_t w, int64_t groups, const float *x, const float *gamma,
                                                             const float *save_mean, const float *save_inverse_std,
                                                             const float *dy, float *dx, float *dgamma, float *dbeta);
UNETSTAR_API UNETSTAR_CHECK int unetstar_layer_norm_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                            int64_t w, const float *x, const float *gamma,
                                                            const float *beta, float eps, float *y, float *save_mean,
                                                            float *save_inverse_std);
UNETSTAR_API UNETSTAR_CHECK int unetstar_layer_norm_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                             int64_t w, const float *x, const float *gamma,
                                                             const float *save_mean, const float *save_inverse_std,
                                                             const float *dy, float *dx, float *dgamma, float *dbeta);

/* Activations, element by element over count values; y may equal x. */
enum {
    UNETSTAR_ACTIVATION_NONE = 0,
    UNETSTAR_ACTIVATION_RELU = 1,
    UNETSTAR_ACTIVATION_LEAKY_RELU = 2, /* slope for negative values */
    UNETSTAR_ACTIVATION_RELU6 = 3,      /* min(max(x, 0), 6) */
    UNETSTAR_ACTIVATION_SILU = 4,       /* x / (1 + exp(-x)) */
    UNETSTAR_ACTIVATION_GELU = 5        /* x P(x), the exact (erf) form */
};
UNETSTAR_API UNETSTAR_CHECK int unetstar_activation_forward(unetstar_context *context, int32_t activation, float slope,
                                                            int64_t count, const float *x, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_activation_backward(unetstar_context *context, int32_t activation, float slope,
                                                             int64_t count, const float *x, const float *dy, float *dx);

/* Max pooling 2x2, stride 2: y (n, c, h/2, w/2); h and w even. The gradient goes to the first maximum of a window. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_max_pool2d_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                            int64_t w, const float *x, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_max_pool2d_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                             int64_t w, const float *x, const float *dy, float *dx);

/* Upsampling by 2: y (n, c, 2h, 2w). Bilinear as PyTorch's align_corners=False. Transposed convolution has its own
 * weights and is unetstar_conv_transpose2d below. */
enum {
    UNETSTAR_UPSAMPLING_NEAREST = 0,
    UNETSTAR_UPSAMPLING_BILINEAR = 1,
    UNETSTAR_UPSAMPLING_TRANSPOSED = 2 /* 2x2 transposed convolution with stride 2; models only */
};
UNETSTAR_API UNETSTAR_CHECK int unetstar_upsample2_forward(unetstar_context *context, int32_t mode, int64_t n, int64_t c,
                                                           int64_t h, int64_t w, const float *x, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_upsample2_backward(unetstar_context *context, int32_t mode, int64_t n, int64_t c,
                                                            int64_t h, int64_t w, const float *dy, float *dx);
/* 2x2 transposed convolution, stride 2: y (n, c_out, 2h, 2w), weight (c, c_out, 2, 2), bias (c_out) or NULL. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_conv_transpose2d_forward(unetstar_context *context, int64_t n, int64_t c,
                                                                  int64_t h, int64_t w, int64_t c_out, const float *x,
                                                                  const float *weight, const float *bias, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_conv_transpose2d_backward(unetstar_context *context, int64_t n, int64_t c,
                                                                   int64_t h, int64_t w, int64_t c_out, const float *x,
                                                                   const float *weight, const float *dy, float *dx,
                                                                   float *dweight, float *dbias);

/* Fusions of two maps. sum: y = a + b; star: y = a * b (Ma et al., Rewrite the Stars, CVPR 2024); the gradients of star are
 * dy * b and dy * a. y may equal a or b. concat: y (n, ca + cb, h, w) holds a's channels, then b's. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_add_forward(unetstar_context *context, int64_t count, const float *a,
                                                     const float *b, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_add_backward(unetstar_context *context, int64_t count, const float *dy, float *da,
                                                      float *db);
UNETSTAR_API UNETSTAR_CHECK int unetstar_multiply_forward(unetstar_context *context, int64_t count, const float *a,
                                                          const float *b, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_multiply_backward(unetstar_context *context, int64_t count, const float *a,
                                                           const float *b, const float *dy, float *da, float *db);
UNETSTAR_API UNETSTAR_CHECK int unetstar_concat_forward(unetstar_context *context, int64_t n, int64_t ca, int64_t cb,
                                                        int64_t h, int64_t w, const float *a, const float *b, float *y);
UNETSTAR_API UNETSTAR_CHECK int unetstar_concat_backward(unetstar_context *context, int64_t n, int64_t ca, int64_t cb,
                                                         int64_t h, int64_t w, const float *dy, float *da, float *db);

/* Softmax over c at every pixel (the largest logit is subtracted first). For c == 1 the logistic function. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_softmax_forward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                         int64_t w, const float *logits, float *probability);
UNETSTAR_API UNETSTAR_CHECK int unetstar_softmax_backward(unetstar_context *context, int64_t n, int64_t c, int64_t h,
                                                          int64_t w, const float *probability, const float *dy,
                                                          float *dlogits);

/* What a loss is made of: the weighted sum of up to three terms, each a mean over the pixels inside the mask.
 *   cross-entropy: - log p_y, from log-softmax (one class: the logistic form); class_weights divide by their sum, as PyTorch
 *   focal (Lin et al. 2017): - (1 - p_y)^gamma log p_y
 *   Dice (Milletari et al. 2016): 1 - (2 sum p_k t_k + 1) / (sum p_k + sum t_k + 1), mean over the classes k >= 1 (k = 0 for
 *   one class), sums over all pixels of the batch */
typedef struct unetstar_loss_options {
    size_t struct_size;
    float cross_entropy;    /* weight of each term: 1 */
    float focal;            /* 0 */
    float dice;             /* 0 */
    float focal_gamma;      /* 2 */
    float class_weights[8]; /* all 1 */
} unetstar_loss_options;
UNETSTAR_API int unetstar_loss_options_init(unetstar_loss_options *options, size_t size);
/* Loss of logits (n, c, h, w) against labels (n, h, w), pixels where mask (n, h, w) is 0 left out (NULL: none), and its
 * gradient dlogits (n, c, h, w) or NULL. A batch without any pixel inside has loss 0. Labels >= max(c, 2) are EINVAL. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_loss(unetstar_context *context, const unetstar_loss_options *options, int64_t n,
                                              int64_t c, int64_t h, int64_t w, const float *logits, const uint8_t *labels,
                                              const uint8_t *mask, double *loss, float *dlogits);

/* ---- Images, field of view, preprocessing ------------------------------------------------------------------------- */

/* An image in the caller's memory. 16-bit samples are native-endian. Colour is interleaved R, G, B. */
typedef struct unetstar_image {
    size_t struct_size;
    const void *data;
    int64_t width, height; /* pixels, 1 .. 32768 */
    int64_t row_stride;    /* bytes from a row to the next, at most 2^31; 0: rows are packed; negative: the picture is stored
                              bottom-up, and data points to its top row, the last in memory */
    int32_t channels;      /* 1 or 3 */
    int32_t bits;          /* 8 or 16 */
} unetstar_image;
UNETSTAR_API int unetstar_image_init(unetstar_image *image, size_t size);

/* An image that is asked for by rows, so that it need not be in memory. read_rows stores rows y .. y + n - 1, row_stride bytes
 * apart, into memory of the library, samples as in unetstar_image, and returns 0; any other value stops the call with EUSER. Rows
 * come in ascending order without gaps, from row 0; each further pass begins at row 0 again, and must get the same pixels. There
 * are up to three passes with min-max and CLAHE (extrema, histograms, the network), and two more with standardize. A source is
 * read during the call it was given to, on the calling thread; user is handed on to read_rows. */
typedef struct unetstar_source {
    size_t struct_size;
    int (*read_rows)(void *user, int64_t y, int64_t n, void *rows, int64_t row_stride);
    void *user;
    int64_t width, height; /* pixels, 1 .. 32768 */
    int32_t channels;      /* 1 or 3 */
    int32_t bits;          /* 8 or 16 */
} unetstar_source;
UNETSTAR_API int unetstar_source_init(unetstar_source *source, size_t size);

/* Where a field of view came from. */
enum {
    UNETSTAR_FIELD_GIVEN = 0, /* the caller's mask */
    UNETSTAR_FIELD_FOUND = 1, /* found in the image */
    UNETSTAR_FIELD_WHOLE = 2  /* none could be told apart: the whole image is taken */
};
/* Finds the round, lit part of a fundus photograph: mask (h, w) becomes 255 inside and 0 outside. Never fails on a strange
 * image: *source is then UNETSTAR_FIELD_WHOLE and the mask is 255 everywhere. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_find_field_of_view(unetstar_context *context, const unetstar_image *image,
                                                            uint8_t *mask, int32_t *source);

/* How a network's input is made of an image, in this order:
 * channels (gray = .299 R + .587 G + .114 B), min-max of the whole image to 0..255, contrast-limited adaptive histogram
 * equalisation (Zuiderveld 1994) on clahe_tiles x clahe_tiles tiles, gamma (v -> 255 (v / 255)^(1 / gamma)), / 255, and
 * (x - mean) / standard deviation inside the field of view. Min-max, CLAHE and mean/std act on each channel alone.
 * The default is the protocol of the original article. */
enum { UNETSTAR_COLOR_GRAY = 0, UNETSTAR_COLOR_GREEN = 1, UNETSTAR_COLOR_RGB = 2 };
typedef struct unetstar_prep_options {
    size_t struct_size;
    int32_t color;       /* UNETSTAR_COLOR_GRAY; RGB makes three channels, the others one */
    int32_t min_max;     /* 1 */
    int32_t clahe_tiles; /* 8, at most 64; 0: no CLAHE */
    int32_t standardize; /* 0 */
    float clahe_clip;    /* 2: limit of a histogram bin, in multiples of the mean bin; above 0, at most 65536 */
    float gamma;         /* 1.2; 1: none; 0.01 .. 100 */
} unetstar_prep_options;
UNETSTAR_API int unetstar_prep_options_init(unetstar_prep_options *options, size_t size);
/* x (c, h, w) of an image, c being 3 for RGB and 1 otherwise. mask: 8 bit, one channel, same size, or NULL (then found when
 * standardize needs one). Errors: EINVAL, ESHAPE, ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_preprocess(unetstar_context *context, const unetstar_prep_options *options,
                                                    const unetstar_image *image, const unetstar_image *mask, float *x);

/* What preprocessing has to know of a whole image before it can make any part of the network's input: extrema of min-max, tables
 * of CLAHE, mean and deviation of standardize, and the field of view. It takes a few kilobytes to some megabytes (256 bytes a
 * tile and channel), whatever the size of the image, belongs to the size, channels and bits of that image, and never changes. */
typedef struct unetstar_prep_state unetstar_prep_state;
/* Learns it from a source of rows, without ever holding more of the image than a band of 256 kilobytes or one row: with less
 * than 16 megabytes for any image. prep NULL: defaults. find_field 1: the field of view is found too, and kept; 0: only where
 * standardize needs one. The bits are those of unetstar_preprocess without a mask.
 * read_rows is called in passes over all rows: one when min_max is set or a field is looked for (extrema and a reduced
 * picture), one for CLAHE (histograms), two for standardize (mean, deviation); not at all when none of these is on. A source
 * that gives other pixels in a later pass gets values that are cut off at the ends of their range, and no error. cancel is
 * looked at between bands.
 * Errors: EINVAL, ENOMEM, EUSER (read_rows failed; the text names its result and the row), ECANCELED, ESTATE (fork).
 * Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_prep_fit(unetstar_prep_state **out, unetstar_context *context,
                                                  const unetstar_prep_options *prep, const unetstar_source *source,
                                                  int32_t find_field, const unetstar_cancel *cancel);
UNETSTAR_API void unetstar_prep_state_destroy(unetstar_prep_state *state);
/* As bytes, to keep beside the image or to send to where parts of it are segmented: options, shape and all that was learned,
 * with a checksum; little-endian, the same on every machine. write gets them in order, in parts. Errors: EINVAL, EIO (write
 * failed). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_prep_state_save(const unetstar_prep_state *state, unetstar_write_fn write,
                                                         void *user);
/* And back; data is read only during the call. Errors: EINVAL, EFORMAT (not the bytes of a save, cut off or damaged), EVERSION
 * (saved by a later version of the format), ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_prep_state_load(unetstar_prep_state **out, unetstar_context *context,
                                                         const void *data, size_t size);

/* A synthetic fundus photograph: branching tapering vessels with reflexes, optic disc, macula, uneven light, haze, grain; in
 * most of them also what no label names: bright lesions, bleedings, dust, scratches. Angle of view, colours, contrast, blur and
 * the field's shape vary widely from seed to seed, and all that is measured in pixels goes with the size.
 * rgb (h, w, 3), label (h, w) and mask (h, w) as 0 / 255; label and mask may be NULL. The same seed gives the same picture on
 * every machine; another version of the library may draw another one, whatever its numerics version. width, height 48 .. 4096.
 * Memory for the time of the call: 12 to 14 bytes a pixel. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_synthetic_fundus(unetstar_context *context, uint64_t seed, int64_t width,
                                                          int64_t height, uint8_t *rgb, uint8_t *label, uint8_t *mask);

/* ---- Datasets ----------------------------------------------------------------------------------------------------- */

/* Images with label, field of view and name, copied into the dataset. Immutable once a trainer uses it. */
typedef struct unetstar_dataset unetstar_dataset;
enum { UNETSTAR_DATASET_IMAGE = 0, UNETSTAR_DATASET_LABEL = 1, UNETSTAR_DATASET_MASK = 2 };

/* An empty dataset. Errors: EINVAL, ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_create(unetstar_dataset **out, unetstar_context *context);
UNETSTAR_API void unetstar_dataset_destroy(unetstar_dataset *dataset);
/* Adds a sample. label and mask: one channel of the image's size, 8 or 16 bit, or NULL: no label; field of view found
 * automatically. When a label has values other than 0, 1 .. 7, every value from half of its largest upwards is vessel (files
 * store 0 / 255). Errors: EINVAL, ESHAPE (sizes differ), ENOMEM; the text names the sample. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_add(unetstar_dataset *dataset, const char *name,
                                                     const unetstar_image *image, const unetstar_image *label,
                                                     const unetstar_image *mask);
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_add_synthetic(unetstar_dataset *dataset, uint64_t seed, int64_t width,
                                                               int64_t height);
UNETSTAR_API int64_t unetstar_dataset_count(const unetstar_dataset *dataset);
/* Getters of sample i; NULL, or UNETSTAR_FIELD_WHOLE, outside the range. Thread A. Since 0.1. */
UNETSTAR_API const char *unetstar_dataset_name(const unetstar_dataset *dataset, int64_t i);
UNETSTAR_API int32_t unetstar_dataset_field_source(const unetstar_dataset *dataset, int64_t i);
/* Describes a stored picture of sample i; its data belongs to the dataset. part: UNETSTAR_DATASET_*. Labels hold class
 * numbers (0, 1, ...), masks 0 / 255, both packed, one byte a pixel. Call unetstar_image_init first. Errors: EINVAL, ESTATE
 * (no label). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_get(const unetstar_dataset *dataset, int64_t i, int32_t part,
                                                     unetstar_image *image);
/* A dataset of some samples of another, in the order given; the pictures are shared, not copied. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_subset(unetstar_dataset **out, const unetstar_dataset *dataset,
                                                        const int64_t *indices, int64_t count);
/* Fold k of n_folds runs of consecutive samples, in the order they were added: *test gets run k, *train the others.
 * 20 samples in 4 folds: fold k tests 5k .. 5k + 4. Errors: EINVAL (k, n_folds, fewer samples than folds). Thread A. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_dataset_fold(unetstar_dataset **train, unetstar_dataset **test,
                                                      const unetstar_dataset *dataset, int64_t k, int64_t n_folds);

/* ---- Models ------------------------------------------------------------------------------------------------------- */

/* Weights of a U-Net, its options, how its input is preprocessed, and a map of strings. */
typedef struct unetstar_model unetstar_model;

/* What a stage computes of its input x, c channels wide, E = block_expansion:
 * DOUBLE_CONV: two 3x3 convolutions, norm and activation after each.
 * STAR: after the block of StarNet (Ma et al., Rewrite the Stars, CVPR 2024),
 *           a + norm(g(activation(f1(a)) * f2(a))),   a = norm(lead(x)).
 *   lead is a 3x3 convolution to c channels, f1 and f2 are 1x1 to E c, g is 1x1 back to c, all with bias. The activation is
 *   on f1 alone: with activation none the block is a polynomial of twice the degree of its input. StarNet's differs: its
 *   convolutions of several pixels are depthwise 7x7, and there is a second one after g; here lead changes the number of
 *   channels, and for the same reason a is added, not x. Dropout comes after g's norm, before a is added. With E = 3 it has
 *   about as many weights and multiply-adds as DOUBLE_CONV; but a 1x1 convolution gains nothing from Winograd's algorithm,
 *   and there are 2 E + 2 maps of c channels instead of 2: it is slower, and training takes several times the memory.
 * STAR_DEPTHWISE: the same with a = norm(lead(project(x))): project a 1x1 convolution to c channels, lead a depthwise 3x3 one
 *   (a kernel for every channel), both with bias. With E = 3 and x as wide as c it has 10 c^2 + 9 c weights, STAR 18 c^2. */
enum { UNETSTAR_BLOCK_DOUBLE_CONV = 0, UNETSTAR_BLOCK_STAR = 1, UNETSTAR_BLOCK_STAR_DEPTHWISE = 2 };
/* What happens to a skip connection and the upsampled map it meets. */
enum { UNETSTAR_FUSION_SUM = 0, UNETSTAR_FUSION_STAR = 1, UNETSTAR_FUSION_CONCAT = 2 };
/* The initial weights of convolutions, each fan_in = input channels times kernel (PyTorch's count; a transposed convolution's is
 * of its output channels), uniform in +- 1 / sqrt(fan_in), as PyTorch's modules begin; or in +- sqrt(6 / fan_in), for ReLU (He
 * et al. 2015; PyTorch's kaiming_uniform_ with its defaults). Biases are uniform in +- 1 / sqrt(fan_in) with both. */
enum { UNETSTAR_INIT_PYTORCH = 0, UNETSTAR_INIT_HE = 1 };
enum { UNETSTAR_NORM_BATCH = 0, UNETSTAR_NORM_INSTANCE = 1, UNETSTAR_NORM_GROUP = 2, UNETSTAR_NORM_NONE = 3 };
/* FAST uses Winograd's F(6x6, 3x3), F(4x4, 3x3) and F(2x2, 3x3) (Lavin, Gray 2016) for 3x3 convolutions, which round more (up
 * to 7e-6 of a layer's rms; docs/performance.md has every layer); EXACT uses direct convolution only. A session takes the more
 * exact of its own setting and the model's. INT8 is for sessions of calibrated models (unetstar_model_calibrate): all 3x3
 * convolutions but the first take 8-bit inputs and compute in integers, exactly, with 16-bit weights; most maps are held in
 * bytes; docs/embedding.md has the memory, docs/performance.md the time, which need not be less. Of star blocks the 1x1
 * convolutions and all maps stay in float, of depthwise ones all does. */
enum { UNETSTAR_PRECISION_FAST = 0, UNETSTAR_PRECISION_EXACT = 1, UNETSTAR_PRECISION_INT8 = 2 };

/* The network: widths c_k = (int)(64 * 2^k * channel_multiplier * narrow), k = 0 .. levels - 1. Each encoder stage is a block
 * and a 2x2 max-pool; each decoder stage a block and an upsampling, then the fusion with the skip connection of that
 * resolution, except at full resolution; a 1x1 head gives the classes.
 * full_resolution_head fuses the full-resolution skip too and adds a block there: without it the output is
 * constant on 2x2 blocks. deep_supervision adds a 1x1 head to every earlier decoder stage, used in training. */
typedef struct unetstar_model_options {
    size_t struct_size;
    double narrow;                /* 0.5 */
    double channel_multiplier;    /* 1 */
    double dropout;               /* 0: probability of dropping an element at the end of a block, in [0, 1) */
    uint64_t seed;                /* 2024: of the initial weights */
    int32_t in_channels;          /* 1 .. 8, default 1 */
    int32_t classes;              /* 1 .. 8, default 2; softmax over them, the logistic function for one class */
    int32_t levels;               /* 2 .. 5, default 4 */
    int32_t fusion;               /* UNETSTAR_FUSION_STAR */
    int32_t activation;           /* UNETSTAR_ACTIVATION_NONE */
    int32_t norm;                 /* UNETSTAR_NORM_BATCH */
    int32_t upsampling;           /* UNETSTAR_UPSAMPLING_NEAREST */
    int32_t full_resolution_head; /* 0 */
    int32_t deep_supervision;     /* 0 */
    int32_t norm_groups;          /* 8: of group norm; where it does not divide the channels the largest divisor below it */
    int32_t precision;            /* UNETSTAR_PRECISION_FAST */
    float leaky_slope;            /* 0.01 */
    int32_t block;                /* UNETSTAR_BLOCK_DOUBLE_CONV */
    int32_t block_expansion;      /* 3: of star blocks, 1 .. 4 */
    int32_t fusion_norm;          /* 0; 1: the model's norm, with weights of its own, after every fusion with a skip connection.
                                   * Not for CONCAT and not without a norm */
    int32_t initialization;       /* UNETSTAR_INIT_PYTORCH */
} unetstar_model_options;
UNETSTAR_API int unetstar_model_options_init(unetstar_model_options *options, size_t size);

/* A freshly initialised model. Errors: EINVAL (an option out of range, a width below 1), ELIMIT (wider than 4096, the branches of
 * star blocks included), ENOMEM,
 * ENOTSUPPORTED (INT8: models train in float). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_create(unetstar_model **out, unetstar_context *context,
                                                      const unetstar_model_options *options);
UNETSTAR_API void unetstar_model_destroy(unetstar_model *model);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_get_options(const unetstar_model *model, unetstar_model_options *options);
/* Number of parameters as PyTorch counts them (weights and biases, without running statistics), 0 for NULL. Thread A.
 * Since 0.1. */
UNETSTAR_API int64_t unetstar_model_parameter_count(const unetstar_model *model);

/* The preprocessing stored with the model, which a session applies to images and a training to its dataset; set to the
 * default for its in_channels at creation (3: RGB without min-max, CLAHE and gamma). Models of 2 or more than 3 channels have
 * none that fits: they take tensors, not images (ESHAPE). get fills a struct that has been through its _init function, as
 * unetstar_model_get_options does. Errors: EINVAL, ESHAPE (channels do not fit the model). Thread
 * C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_set_prep(unetstar_model *model, const unetstar_prep_options *prep);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_get_prep(const unetstar_model *model, unetstar_prep_options *prep);
/* The string map, kept in the file. Keys beginning with "unetstar." are the library's own (EINVAL to set). A NULL value
 * removes the key; get returns NULL when there is none. Keys and values are UTF-8. Thread C for set, A for get. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_set_meta(unetstar_model *model, const char *key, const char *value);
UNETSTAR_API const char *unetstar_model_get_meta(const unetstar_model *model, const char *key);

/* Weights by name, in PyTorch's names, layouts and order (docs/file-format.md). get and set copy; data is `count` float32
 * values, or for num_batches_tracked one int64. Errors: EINVAL (no such tensor), ESHAPE (count). Thread C for set. Since 0.1. */
UNETSTAR_API int64_t unetstar_model_tensor_count(const unetstar_model *model);
UNETSTAR_API const char *unetstar_model_tensor_name(const unetstar_model *model, int64_t i);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_tensor_shape(const unetstar_model *model, const char *name, int32_t *dtype,
                                                            int32_t *ndim, int64_t shape[UNETSTAR_MAX_DIMS]);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_tensor_get(const unetstar_model *model, const char *name, void *data,
                                                          int64_t count);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_tensor_set(unetstar_model *model, const char *name, const void *data,
                                                          int64_t count);

/* Files are safetensors. A save goes to a temporary file beside `path`, is synced and renamed: the old file stays whole
 * until the new one is. A load checks everything before it allocates by it; files from PyTorch with or without activation
 * modules and with a "module.", "model." or "state_dict." prefix load too; without the library's metadata the options are
 * told from the tensors' shapes where that is possible (fusion then is sum unless the widths show concat: set it with
 * unetstar_model_load_with). Errors: EIO, EFORMAT, EVERSION, ESHAPE, ENOMEM; the text names the file. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_load(unetstar_model **out, unetstar_context *context, const char *path);
/* Takes the options from the caller and only the weights from the file. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_load_with(unetstar_model **out, unetstar_context *context, const char *path,
                                                         const unetstar_model_options *options);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_load_memory(unetstar_model **out, unetstar_context *context,
                                                           const void *data, size_t size);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_load_callback(unetstar_model **out, unetstar_context *context,
                                                             unetstar_read_fn read, void *user);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_save(const unetstar_model *model, const char *path);
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_save_callback(const unetstar_model *model, unetstar_write_fn write,
                                                             void *user);

/* ---- Calibration for 8 bits --------------------------------------------------------------------------------------- */

/* How ranges are told from values: the one with the least mean squared error, which cuts off what is rare and far away (the
 * product of a star fusion has such values); or from the smallest to the largest. */
enum { UNETSTAR_CALIBRATION_LEAST_SQUARES = 0, UNETSTAR_CALIBRATION_WHOLE = 1 };
typedef struct unetstar_calibration_options {
    size_t struct_size;
    float max_error; /* 0.045: layers whose error is a larger part of their rms, on the images, stay in float */
    int32_t ranges;  /* UNETSTAR_CALIBRATION_LEAST_SQUARES */
} unetstar_calibration_options;
UNETSTAR_API int unetstar_calibration_options_init(unetstar_calibration_options *options, size_t size);

/* Prepares a model for sessions of precision INT8: runs it in float on n images like those it will see (a few are enough),
 * takes the ranges of what enters and leaves every convolution, and measures what 8 bits do to each. Scales and errors are
 * kept with the model and in its file (docs/file-format.md); whatever changes a weight, or set_prep changing the preprocessing,
 * drops them. The images take the model's own preprocessing and are each run whole, which takes some 400 bytes a pixel at narrow
 * 0.5 and 30 MB beside: give crops of a large one. The scales are the same bits on every machine and any number of threads.
 * cancel may be NULL. Errors: EINVAL (n not 1 .. 1024, an option, a model of precision EXACT, a weight that is NaN or infinite),
 * ESHAPE (a model that takes no images), ECANCELED, ENOMEM, ESTATE (fork); nothing has changed then.
 * Thread C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_calibrate(unetstar_model *model, const unetstar_image *const *images,
                                                         int64_t n, const unetstar_calibration_options *options,
                                                         const unetstar_cancel *cancel);
/* What 8-bit sessions of a model make of it. All but `convolutions` is 0 without a calibration. */
typedef struct unetstar_calibration {
    size_t struct_size;
    int32_t calibrated;   /* 1: from unetstar_model_calibrate or a file, and for these weights; 0: none */
    int32_t convolutions; /* that can be in 8 bits: all full 3x3 but the first */
    int32_t in_float;     /* of these, too coarse in 8 bits: in float */
    int32_t byte_maps;    /* results of convolutions, the first included, that are held in bytes */
} unetstar_calibration;
/* Whether a model is calibrated, and how much of it stays in float. Set struct_size to sizeof *calibration first. Errors:
 * EINVAL. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_get_calibration(const unetstar_model *model,
                                                               unetstar_calibration *calibration);
/* Which: the weight ("encoder.1.conv.0.weight") of number i, from 0, of the in_float convolutions; NULL beyond. error, which
 * may be NULL, gets the error measured for it: a part of the rms, to be compared with max_error. Thread A. Since 0.1. */
UNETSTAR_API const char *unetstar_model_float_layer(const unetstar_model *model, int64_t i, double *error);

/* ---- Optimizers --------------------------------------------------------------------------------------------------- */

/* Moments and step count for the trainable parameters of one model. */
typedef struct unetstar_optimizer unetstar_optimizer;
enum { UNETSTAR_OPTIMIZER_ADAM = 0, UNETSTAR_OPTIMIZER_ADAMW = 1, UNETSTAR_OPTIMIZER_SGD = 2 };
typedef struct unetstar_optimizer_options {
    size_t struct_size;
    double learning_rate; /* 5e-4 */
    double beta1, beta2;  /* 0.9, 0.999 (Kingma, Ba 2015) */
    double eps;           /* 1e-8 */
    double weight_decay;  /* 0; SGD and ADAM add it to the gradient, ADAMW decays the weight (Loshchilov, Hutter 2019) */
    double momentum;      /* 0.9: SGD */
    int32_t kind;         /* UNETSTAR_OPTIMIZER_ADAM */
    int32_t reserved;     /* 0 */
} unetstar_optimizer_options;
UNETSTAR_API int unetstar_optimizer_options_init(unetstar_optimizer_options *options, size_t size);
UNETSTAR_API UNETSTAR_CHECK int unetstar_optimizer_create(unetstar_optimizer **out, unetstar_model *model,
                                                          const unetstar_optimizer_options *options);
UNETSTAR_API void unetstar_optimizer_destroy(unetstar_optimizer *optimizer);
/* One update of the model's parameters from a gradient arena laid out as unetstar_trainer_gradients gives it, first scaled by
 * gradient_scale. Errors: EINVAL, ESHAPE (count). Thread C (model and optimizer). Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_optimizer_step(unetstar_optimizer *optimizer, const float *gradients,
                                                        int64_t count, double learning_rate, double gradient_scale);
UNETSTAR_API int64_t unetstar_optimizer_step_count(const unetstar_optimizer *optimizer);

/* ---- Training ----------------------------------------------------------------------------------------------------- */

/* A model in training: activations, gradients, patches, schedule, best weights. Plans all its memory at creation. */
typedef struct unetstar_trainer unetstar_trainer;

enum { UNETSTAR_SCHEDULE_CONSTANT = 0, UNETSTAR_SCHEDULE_COSINE = 1, UNETSTAR_SCHEDULE_PLATEAU = 2 };
/* What validates: nothing, fixed patches of the training images, or whole images given to fit. */
enum { UNETSTAR_VALIDATION_NONE = 0, UNETSTAR_VALIDATION_PATCHES = 1, UNETSTAR_VALIDATION_IMAGES = 2 };
enum {
    UNETSTAR_METRIC_ROC_AUC = 0,
    UNETSTAR_METRIC_PR_AUC = 1, /* average precision */
    UNETSTAR_METRIC_F1 = 2,
    UNETSTAR_METRIC_ACCURACY = 3,
    UNETSTAR_METRIC_MCC = 4,
    UNETSTAR_METRIC_LOSS = 5 /* cross-entropy, smaller is better */
};
typedef struct unetstar_trainer_options {
    size_t struct_size;
    int64_t epochs;                 /* 40 */
    int64_t steps_per_epoch;        /* 125 */
    int64_t early_stop;             /* 10: epochs without a better metric before training ends; 0: never */
    uint64_t seed;                  /* 2024: of patches, augmentation and dropout */
    double min_learning_rate;       /* 0: of cosine and plateau */
    double plateau_factor;          /* 0.5 */
    double clip_gradient_norm;      /* 0: no clipping */
    double validation_fraction;     /* 0.2: validation patches / training patches of an epoch (PATCHES) */
    double deep_supervision_weight; /* 0.5: of the mean loss of the earlier heads, against the last */
    int64_t plateau_patience;       /* 3 epochs */
    int32_t batch_size;             /* 8 */
    int32_t patch_height;           /* 96 */
    int32_t patch_width;            /* 96 */
    int32_t schedule;               /* UNETSTAR_SCHEDULE_COSINE over all epochs, changed after each epoch */
    int32_t validation;             /* UNETSTAR_VALIDATION_PATCHES */
    int32_t metric;                 /* UNETSTAR_METRIC_ROC_AUC chooses the best weights */
    int32_t masked_loss;            /* 0; 1: pixels outside the field of view do not count */
    int32_t flips;                  /* 1: horizontal and vertical, each half of the time */
    int32_t quarter_turns;          /* 1: square patches turn by 0, 90, 180 or 270 degrees */
    float brightness;               /* 0: x += u, u uniform in +- brightness, after preprocessing; the first four at most 10 */
    float contrast;                 /* 0: x = (x - 1/2) (1 + u) + 1/2 */
    float gamma;                    /* 0: x = x^exp(u) on [0, 1] */
    float noise;                    /* 0: x += normal numbers of standard deviation s, s uniform in [0, noise] */
    float blur;                     /* 0: Gaussian blur, standard deviation uniform in [0, blur] pixels; at most 4 */
    float color_mix;                /* 0: share of the patches, up to 1, that are mixtures of planes (see below) */
    float clahe_jitter;             /* 0: the contrast limit is clahe_clip exp(u), u uniform in +- this; at most 5 */
} unetstar_trainer_options;
/* Augmentation acts in the order clahe_jitter, color_mix, gamma, contrast, brightness, blur, noise, on the patches of the
 * training alone: validation and sessions see what preprocessing makes. Each patch has its own stream of numbers, keyed by
 * seed, epoch and sample.
 *   color_mix: a patch is a p + (1 - a) q, a uniform in [0, 1], p and q two different planes of five, each preprocessed by
 *   itself: gray, green, X of CIE XYZ, L* of CIE Lab, lightness of HLS. (SkelCon, Tan et al., IEEE TMI 2022, names eight;
 *   luma of YUV and YCrCb is gray, L* of Luv that of Lab.) The model must have one input channel. Pictures of one channel
 *   have one plane, and stay as they are.
 *   clahe_jitter: the preprocessing must have CLAHE. Planes are made for both ends of the range; a patch lies on the straight
 *   line between them, at the place of u. That is near, not equal to, CLAHE with the limit in between.
 * With the usual preprocessing the training images take 1 byte a pixel and channel; with color_mix 5, with clahe_jitter 3,
 * with both 11. */
UNETSTAR_API int unetstar_trainer_options_init(unetstar_trainer_options *options, size_t size);

/* Creates a trainer for a model and an optimizer made for it. loss may be NULL. Errors: EINVAL, ESTATE (the optimizer belongs
 * to another model), ENOMEM, ELIMIT. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_create(unetstar_trainer **out, unetstar_model *model,
                                                        unetstar_optimizer *optimizer,
                                                        const unetstar_trainer_options *options,
                                                        const unetstar_loss_options *loss);
UNETSTAR_API void unetstar_trainer_destroy(unetstar_trainer *trainer);
/* Bytes planned at creation: activations, gradients, scratch, the patches of a batch, the best weights. */
UNETSTAR_API size_t unetstar_trainer_workspace_size(const unetstar_trainer *trainer);

/* The whole loop: epochs of steps on random patches (centre uniformly random inside the field of view), validation, schedule,
 * early stop, best weights. It goes on from where the trainer is, so after a cancel, or after unetstar_trainer_load in a new
 * process, it ends with the same bits as if it had never stopped. validation_set: for UNETSTAR_VALIDATION_IMAGES, else NULL.
 * Errors: EINVAL (no labels; a training image without field of view; clahe_jitter without CLAHE), ECANCELED (state after the
 * last complete step), ESTATE (training has ended). Thread C (trainer and model). Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_fit(unetstar_trainer *trainer, const unetstar_dataset *training_set,
                                                     const unetstar_dataset *validation_set, const unetstar_cancel *cancel,
                                                     unetstar_progress_fn progress, void *user);
/* Puts the best weights so far (the last ones without validation) into the model. Training can go on only after a load. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_use_best(unetstar_trainer *trainer);
/* Everything a resumed training needs, atomically, as safetensors (a superset of the weights file, which unetstar_model_load
 * reads too). load needs a trainer with the same options. Errors: EIO, EFORMAT, ESTATE (other options; the text names the
 * first that differs). Thread C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_save(const unetstar_trainer *trainer, const char *path);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_load(unetstar_trainer *trainer, const char *path);
/* Where a training is. */
typedef struct unetstar_trainer_state {
    size_t struct_size;
    int64_t epochs;      /* complete, validation included */
    int64_t steps;       /* complete, of the epoch at work */
    int64_t total_steps; /* complete, of all epochs, and those of unetstar_trainer_step */
    int64_t best_epoch;  /* from 0: the one whose weights unetstar_trainer_use_best gives; -1: none yet */
    double best_metric;  /* of that epoch; NaN without one, or without validation */
    int32_t ended;       /* 1: all epochs done or stopped early; fit has nothing left to do */
    int32_t best_used;   /* 1: unetstar_trainer_use_best was called; training goes on only after a load */
} unetstar_trainer_state;
/* May be called in progress callbacks, where the epoch that a UNETSTAR_PHASE_EPOCH report ends is counted already. Set
 * struct_size to sizeof *state first. Errors: EINVAL. Thread C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_get_state(const unetstar_trainer *trainer, unetstar_trainer_state *state);

/* Step by step, what fit is built on: forward, loss, backward, step.
 * forward: x (n, in_channels, patch_height, patch_width), n <= batch_size; updates running statistics.
 * logits: (n, classes, patch_height, patch_width) of the last forward.
 * loss: labels, mask (or NULL) (n, patch_height, patch_width), against the last forward; with deep supervision the weighted sum.
 * backward: fills the gradient arena from the last loss, and uses up what the forward pass has kept: the next is a forward.
 * gradients: the arena, `count` contiguous floats in the library's own order; yours to read and change until the next forward.
 * step: clips, calls the hook, updates the weights at the given learning rate (negative: the schedule's). Thread C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_forward(unetstar_trainer *trainer, int64_t n, const float *x);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_logits(unetstar_trainer *trainer, float *logits);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_loss(unetstar_trainer *trainer, const uint8_t *labels,
                                                      const uint8_t *mask, double *loss);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_backward(unetstar_trainer *trainer);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_gradients(unetstar_trainer *trainer, float **gradients, int64_t *count);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_step(unetstar_trainer *trainer, double learning_rate);
/* The gradient of a weight by its name, in PyTorch's layout, after the last backward. The bias of a convolution just before
 * batch norm has the gradient 0. Errors: EINVAL (no such weight), ESHAPE (count). Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_gradient_get(const unetstar_trainer *trainer, const char *name,
                                                              float *data, int64_t count);
/* A moment of the optimizer by the name of its weight, in the weight's layout: 1 first moment (SGD: momentum), 2 second moment
 * (not SGD). Errors: EINVAL (no such weight or moment), ESHAPE (count). Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_optimizer_moment_get(const unetstar_optimizer *optimizer, const char *name,
                                                              int32_t moment, float *data, int64_t count);
/* Called before every update with the gradient arena (before clipping), for example to
 * average it over processes. Non-zero stops with EUSER. NULL removes it. */
typedef int (*unetstar_gradient_hook)(void *user, float *gradients, int64_t count);
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_set_hook(unetstar_trainer *trainer, unetstar_gradient_hook hook,
                                                          void *user);
/* The patch (in_channels, h, w), label and mask (h, w) that training would use as sample `sample` of epoch `epoch`, after
 * augmentation: to look at what a network sees. label and mask may be NULL. Thread C. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_trainer_patch(unetstar_trainer *trainer, const unetstar_dataset *training_set,
                                                       int64_t epoch, int64_t sample, float *x, uint8_t *label,
                                                       uint8_t *mask);

/* ---- Segmentation ------------------------------------------------------------------------------------------------- */

/* Inference memory for one or several models (their probabilities are averaged); many sessions may share a model. */
typedef struct unetstar_session unetstar_session;

/* Two plans, the same bits. The whole-image plan keeps maps of the whole image. The streaming plan takes the image row by row and
 * keeps of every map a ring of the rows still needed: its memory depends on the width alone. It is not possible with
 * instance or group norm (their statistics need the whole image), nor with 4 or 8 views (they begin with the last row or
 * with whole columns); one or two views and any number of models are. AUTO takes the whole-image plan where it fits into
 * memory_budget and arena, else the streaming one. */
enum { UNETSTAR_PLAN_AUTO = 0, UNETSTAR_PLAN_WHOLE = 1, UNETSTAR_PLAN_STREAM = 2 };
typedef struct unetstar_session_options {
    size_t struct_size;
    int64_t memory_budget; /* most bytes of maps or rings and scratch, 0: any; a run that needs more is ELIMIT */
    void *arena;           /* borrowed memory for the session, aligned to 64, or NULL: from the allocator as sizes demand */
    size_t arena_size;
    int32_t plan;          /* UNETSTAR_PLAN_AUTO */
    int32_t precision;     /* UNETSTAR_PRECISION_FAST */
    int32_t views;         /* 1; 2 (mirror), 4 (both flips), 8 (and quarter turns): averaged */
    int32_t clip_to_field; /* 0; 1: probability 0 outside the field of view */
    int64_t max_width, max_height;         /* 0: not known. Else all memory is taken at creation and no run allocates; a larger
                                              image is ELIMIT */
    const unetstar_prep_state *prep_state; /* NULL: every run learns what preprocessing must know of the whole image, by reading
                                              it first. Else this is used, and kept alive, for images of its size */
    int32_t single_pass; /* 1: sources of rows can be read once only: creation fails (ENOTSUPPORTED, naming the step) unless
                            preprocessing looks at each pixel alone or prep_state is given */
    int32_t reserved;    /* 0 */
} unetstar_session_options;
UNETSTAR_API int unetstar_session_options_init(unetstar_session_options *options, size_t size);

/* Creates a session. It sees the weights as they are now; packed for its precision, they are shared by all sessions of the model,
 * so that another session costs little. Errors: EINVAL, ESHAPE (models differ in input or classes), ENOTSUPPORTED (STREAM or
 * single_pass where they are not possible, with the reason), ESTATE (INT8 and a model without calibration; fork), ELIMIT
 * (max_width x max_height needs more than the budget or the arena; the text says how much), ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_create(unetstar_session **out, unetstar_context *context,
                                                        const unetstar_model *const *models, int64_t n_models,
                                                        const unetstar_session_options *options);
UNETSTAR_API void unetstar_session_destroy(unetstar_session *session);
/* Gives the session another prep_state for the runs from now on, for the next image of a camera, say; NULL: none. Errors as
 * session_create, and ESTATE while a run of it has not returned. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_set_prep_state(unetstar_session *session, const unetstar_prep_state *state);
/* Channels of the output: 1 (the probability of vessel) for models with one or two classes, else the number of classes; 0 for
 * NULL. Thread A. Since 0.1. */
UNETSTAR_API int64_t unetstar_session_channels(const unetstar_session *session);
/* Segments an image of any size with each model's own preprocessing. mask: field of view, 8 bit, one channel, or NULL: found
 * where it is needed. probability: (channels, h, w) in [0, 1]; NaN, and no error, where weights are not finite or so large that
 * they overflow. Without max_width the session's memory grows to the largest image seen, and nothing else is allocated. With a
 * prep_state the mask serves clip_to_field alone: standardize keeps what the state has learned. Progress counts units of the
 * network in the whole-image plan and rows in the streaming one, over all models and views. Errors: EINVAL, ESHAPE, ELIMIT,
 * ENOMEM, ECANCELED, ESTATE (a run of this session has not returned; fork). Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_run(unetstar_session *session, const unetstar_image *image,
                                                     const unetstar_image *mask, float *probability,
                                                     const unetstar_cancel *cancel, unetstar_progress_fn progress,
                                                     void *user);
/* The same for inputs already preprocessed: x (n, in_channels, h, w), probability (n, channels, h, w); clip_to_field has no
 * effect. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_run_tensor(unetstar_session *session, int64_t n, int64_t h, int64_t w,
                                                            const float *x, float *probability,
                                                            const unetstar_cancel *cancel);
/* The same from a source of rows into a sink of rows, in ascending order: with the streaming plan neither the image nor the
 * output exists whole. write_rows gets one finished row at a time, (channels, w) floats, a little after its input has been
 * read; what it has been given stays valid output when a later row fails. A non-zero result of either callback ends the run with
 * EUSER. Errors as unetstar_session_run. Thread B. Since 0.1. */
typedef int (*unetstar_write_rows_fn)(void *user, int64_t y, int64_t n, const float *rows);
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_run_rows(unetstar_session *session, const unetstar_source *source,
                                                          unetstar_write_rows_fn write_rows, void *user,
                                                          const unetstar_cancel *cancel);
/* Bytes that a run on a width x height image needs, apart: maps (or rings) with every buffer beside them; scratch of the worker
 * threads; and the packed weights, which all sessions of a model share. plan is the one it would have. An arena needs maps
 * + scratch bytes. Set struct_size to sizeof *workspace first. Errors: EINVAL, ESHAPE, ELIMIT (such a run is refused; the text
 * says what it would need). Thread A. Since 0.1. */
typedef struct unetstar_workspace {
    size_t struct_size;
    size_t maps, scratch, weights, total;
    int32_t plan; /* UNETSTAR_PLAN_WHOLE or _STREAM */
    int32_t reserved;
} unetstar_workspace;
UNETSTAR_API UNETSTAR_CHECK int unetstar_session_workspace_size(const unetstar_session *session, int64_t width,
                                                                int64_t height, unetstar_workspace *workspace);

/* ---- Metrics ------------------------------------------------------------------------------------------------------ */

/* Scores and labels of the pixels inside the field of view, image by image. */
typedef struct unetstar_metrics unetstar_metrics;
typedef struct unetstar_scores {
    size_t struct_size;
    int64_t true_positives, false_positives, true_negatives, false_negatives; /* at the threshold */
    double threshold;
    double roc_auc;           /* area under the ROC curve, ties counted half (the trapezoid rule); NaN with one class only */
    double pr_auc;            /* area under the precision-recall curve, trapezoid rule */
    double average_precision; /* sum of (recall step) * precision, as scikit-learn */
    double f1, accuracy, sensitivity, specificity, precision, mcc, dice, iou;
    /* clDice (Shit et al., CVPR 2021) at the threshold, from the skeletons of prediction and label: the harmonic mean of two
     * shares, of the pixels of the prediction's skeleton that lie in the label, and of those of the label's that lie in the
     * prediction. It sees whether vessels are found along their length, the thin ones as much as the thick. Skeletons are
     * hard ones, by the thinning of Guo and Hall (CACM 32(3), 1989; it keeps connected what is connected), of what lies
     * inside the field of view. Pooled: pixels are counted over all images, then the shares are taken. NaN when an image it
     * is about was added without its shape, by unetstar_metrics_add. */
    double cl_dice;
    /* Expected calibration error (Guo et al., ICML 2017) of the probability of vessel, in 15 bins of equal width: the mean
     * over all pixels of |mean probability - share of vessels| of a pixel's bin. It does not depend on the threshold. NaN when
     * a score lies outside of [0, 1]. */
    double calibration_error;
} unetstar_scores;

/* A collection without images. Images are kept (as pairs of score and label), so that they can be scored alone and pooled.
 * Errors: EINVAL, ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_create(unetstar_metrics **out, unetstar_context *context);
UNETSTAR_API void unetstar_metrics_destroy(unetstar_metrics *metrics);
/* Adds an image: probability, label (0: background) and mask (0: left out; NULL: all inside), `count` pixels each. Errors:
 * EINVAL (a NaN score inside the mask), ENOMEM. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_add(unetstar_metrics *metrics, const char *name, int64_t count,
                                                     const float *probability, const uint8_t *label, const uint8_t *mask);
/* The same for an image with its shape, height rows of width pixels each: also for cl_dice. It keeps 4 bytes a pixel inside the
 * mask more, and 3 bits a pixel. Errors: EINVAL (a side below 1, a NaN score inside the mask), ELIMIT (2^32 pixels or more),
 * ENOMEM. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_add_image(unetstar_metrics *metrics, const char *name, int64_t width,
                                                           int64_t height, const float *probability,
                                                           const uint8_t *label, const uint8_t *mask);
UNETSTAR_API int64_t unetstar_metrics_count(const unetstar_metrics *metrics);
UNETSTAR_API const char *unetstar_metrics_name(const unetstar_metrics *metrics, int64_t i);
/* Scores of image i, or of all pixels pooled (i = -1), into a struct whose struct_size is set to its sizeof: a pixel is
 * vessel when its probability >= threshold. A ratio whose denominator is 0 is 0. They agree with scikit-learn (skeletons with
 * scikit-image) to 1e-9. The skeletons of the last threshold asked for are not made again. Errors: EINVAL, ESTATE (no image),
 * ENOMEM. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_scores(unetstar_metrics *metrics, int64_t i, double threshold,
                                                        unetstar_scores *scores);
/* The threshold with the best pooled F1, and that F1. Choose it on images that are not the ones you report. Errors: EINVAL,
 * ESTATE (no image), ENOMEM. Thread B. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_best_threshold(unetstar_metrics *metrics, double *threshold, double *f1);
/* Points of a pooled curve in order of falling threshold, thinned to at most max_points (>= 2), evenly along x; the two ends
 * are always there. ROC: x false positive rate, y sensitivity. PR: x recall, y precision. *count gets their number. */
enum { UNETSTAR_CURVE_ROC = 0, UNETSTAR_CURVE_PR = 1 };
UNETSTAR_API UNETSTAR_CHECK int unetstar_metrics_curve(unetstar_metrics *metrics, int32_t curve, int64_t max_points,
                                                       double *x, double *y, int64_t *count);

/* ---- Analysis ----------------------------------------------------------------------------------------------------- */

/* What a way of fusing, and star blocks, do to a network. Without activations and with batch norm (in evaluation a scale and a
 * shift) or none, every layer but a star and max-pooling is affine, so that wherever the maxima stay the same pixels' the
 * logits are a polynomial of the input. A star adds the degrees of what it multiplies, a sum or concatenation takes the larger.
 * One factor of each fusion is an encoder's map, of degree 1: the original network has degree 2, 3, 4 after its fusions. With
 * sums it has 1, and still is not linear, because of max-pooling. A star block doubles the degree of what enters it, in encoder
 * and decoder alike. */
enum { UNETSTAR_MAX_FUSIONS = 5 }; /* a model has no more */
typedef struct unetstar_degree {
    size_t struct_size;
    int32_t polynomial;                          /* 0: an activation, or instance or group norm, makes it none */
    int32_t n_fusions;                           /* of skip connections; the coarsest is number 0 */
    int64_t degree;                              /* of the logits; -1 where it is no polynomial */
    int64_t fusion_degree[UNETSTAR_MAX_FUSIONS]; /* D, of the fused map, or -1 */
    int64_t fusion_width[UNETSTAR_MAX_FUSIONS];  /* d, channels of each of the two maps that are fused */
    /* The implicit dimension of Rewrite the Stars (Ma et al., CVPR 2024), as log10. Exact: of C(d + D, D), the number of
     * monomials of at most degree D in d variables, with this network's D; NaN where it is no polynomial. Paper: of
     * (d / sqrt 2)^(2^l) for a star with l - 1 others before it, those of star blocks included, which supposes that both factors
     * have been through all of them; NaN for other fusions. */
    double log10_exact[UNETSTAR_MAX_FUSIONS];
    double log10_paper[UNETSTAR_MAX_FUSIONS];
} unetstar_degree;
/* Degrees of a model, from its options alone. Set struct_size to sizeof *degree first. Errors: EINVAL. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_degree(const unetstar_model *model, unetstar_degree *degree);

/* Where features are looked at: what a convolution makes (with its norm and activation); what it reads (the image, a map as it
 * is or pooled, or the two parts fused); and of a convolution that reads a fusion, the upsampled main part and the skip
 * connection before they are fused. */
enum {
    UNETSTAR_AT_OUTPUT = 0,
    UNETSTAR_AT_INPUT = 1,
    UNETSTAR_AT_MAIN = 2,
    UNETSTAR_AT_SKIP = 3
};
typedef struct unetstar_features {
    size_t struct_size;
    int64_t pixels, channels; /* rows and columns of the matrix; pixels of the map that stand for the image, without padding */
    /* How many dimensions the pixels use, of `channels`, from the singular values s of the matrix, whose columns are not
     * centred. All three are 0 for a map of zeros and NaN when a value is not finite. */
    double effective_rank;      /* exp of the entropy of s / sum s (Roy and Vetterli, EUSIPCO 2007) */
    double stable_rank;         /* sum s^2 / max s^2 */
    double participation_ratio; /* (sum s^2)^2 / sum s^4 */
    /* Of all values together. A normal distribution has skewness 0 and kurtosis 3; a constant one gets 0 for both. */
    double mean, variance, skewness, kurtosis;
    double beyond_4_sigma, beyond_6_sigma; /* share of values further from the mean than so many standard deviations */
} unetstar_features;
/* Runs the model in evaluation on x (in_channels, h, w), already preprocessed, as far as a layer, and measures the features
 * there. layer: a convolution, named as its weights are without ".weight": "encoder.0.conv.0", "decoder.1.up"; or
 * with fusion_norm the norm of a fusion, which then is what reads it: "decoder.0.norm".
 * singular_values: NULL, or room for as many as there are channels, largest first; those below 1e-8 of the first are rounding.
 * Time grows with pixels * channels^2 and with channels^3. Set struct_size to sizeof *features first. Errors: EINVAL (no such
 * layer; MAIN or SKIP of one that reads no fusion), ESHAPE, ELIMIT (more than 1024 channels), ENOMEM. Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_features(const unetstar_model *model, int64_t h, int64_t w, const float *x,
                                                        const char *layer, int32_t place, double *singular_values,
                                                        unetstar_features *features);

/* The degree of a model found by numbers. The network is evaluated at t x for t around 1, along the ray of one input, in double
 * precision and by plain loops that share no arithmetic with the fast ones, and polynomials of t are fitted to each logit by
 * least squares. A polynomial of degree D of the input is one of degree D of t; biases add the lower powers.
 * Without activations and with batch norm or none, every logit is such a polynomial once the maxima are frozen: each pooling
 * window keeps giving the pixel that is the largest at t = 1. Degree d = unetstar_model_degree then leaves rounding, some 1e-14,
 * and d - 1 leaves much more. With free maxima that holds only while no window changes its mind; where changed_maxima is above 0
 * the residuals fall slowly with the degree, as for any function with kinks. That is the non-linearity that a network of
 * sums without activations has.
 * What it does not show. It looks along one line only: a bound from above needs the graph, and a power whose coefficient is
 * small, as the top ones are when range is small (T_D holds t^D with the factor 2 (range / 2)^D), may lie below the tolerance. An
 * activation is no polynomial, but a smooth one (SiLU, GELU) over a short ray is nearly one of low degree, and a ReLU that
 * keeps its sign over the ray is linear there: see changed_activations. Softmax comes after the logits and is not in it. */
enum { UNETSTAR_MAX_CHECK_DEGREE = 32 };
typedef struct unetstar_degree_check_options {
    size_t struct_size;
    double range;          /* 0.5: t runs over [1 - range, 1 + range]; above 0, at most 100 */
    double tolerance;      /* 1e-9: of the residual at which a degree is found; 0 .. 1 */
    int32_t max_degree;    /* 12: highest degree that is fitted, 0 .. 32 */
    int32_t freeze_maxima; /* 1; 0: pooling takes the largest value at every t */
} unetstar_degree_check_options;
UNETSTAR_API int unetstar_degree_check_options_init(unetstar_degree_check_options *options, size_t size);
typedef struct unetstar_degree_check {
    size_t struct_size;
    int32_t degree;   /* the smallest whose residual is at most the tolerance; -1: none up to max_degree */
    int32_t nodes;    /* values of t: 2 (max_degree + 1), the roots of a Chebyshev polynomial */
    int64_t values;   /* logits at each of them: classes * h * w */
    double level;     /* rms over the logits of their means along the ray */
    double variation; /* rms of their deviations from those means */
    /* Shares: of the pooling windows, of all channels and levels, in which at one node or more another pixel than at t = 1 is
     * the largest (with frozen maxima: would have been); of the values before a ReLU, leaky ReLU or ReLU6 that at one node or
     * more lie on another straight piece of it than at t = 1 (0 with other activations). */
    double changed_maxima, changed_activations;
    /* What the fit of degree d leaves of the variation: rms of logit - fit over all logits and nodes, / variation. [0] is 1 and
     * it never rises with d. NaN above max_degree; all NaN when a logit is not finite; 0 when no logit changes. Rounding leaves
     * about 1e-15 (level + variation) / variation. */
    double residual[UNETSTAR_MAX_CHECK_DEGREE + 1];
} unetstar_degree_check;
/* Checks a model in evaluation (no dropout, running statistics; instance and group norm take those of the input) on x
 * (in_channels, h, w), already preprocessed. options NULL: defaults. cancel may be NULL. It costs nodes + 1 forward passes in
 * plain double precision and some kilobytes a pixel: give a small patch (32 x 32 pixels at narrow 0.5 take 2e9 multiply-adds
 * with the defaults). The same bits with any number of threads. Set struct_size of *check to its sizeof first. Errors: EINVAL,
 * ESHAPE, ELIMIT (a side above 1024), ENOMEM, ECANCELED, ESTATE (fork). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_degree_check(const unetstar_model *model,
                                                            const unetstar_degree_check_options *options, int64_t h,
                                                            int64_t w, const float *x, const unetstar_cancel *cancel,
                                                            unetstar_degree_check *check);

/* What arrives of the loss's gradient at each fusion, as L2 norms over all images, channels and pixels: at the fused map, at
 * its main branch (after upsampling, where it has the skip connection's size) and at its skip connection, through this fusion
 * alone (an encoder's map gets more by way of pooling). A sum hands the same gradient to both, and a concatenation shares it
 * out, fused^2 = main^2 + skip^2. A star multiplies it by the other branch: main is large where the skip connection is, so the
 * ratio main / skip tells which branch learns through the product, and main / fused whether the gradient grows or dies
 * from fusion to fusion. Norms of different fusions are of maps of different size and compare as sums of squares do. */
typedef struct unetstar_branch_gradients {
    size_t struct_size;
    int32_t n_fusions; /* numbered as in unetstar_degree: the coarsest is number 0 */
    int32_t reserved;  /* 0 */
    double loss;       /* that was taken back: of the output alone, without deep supervision */
    double saturated;  /* share of the pixels in which one class has a probability above 0.999: they hand on next to no gradient
                          of a cross-entropy that they fulfil */
    double fused[UNETSTAR_MAX_FUSIONS], main[UNETSTAR_MAX_FUSIONS], skip[UNETSTAR_MAX_FUSIONS]; /* 0 past n_fusions */
} unetstar_branch_gradients;
/* Runs one forward and backward pass as in training (batch norm with the statistics of this batch), but without dropout, on x
 * (n, in_channels, h, w), already preprocessed, labels and mask (n, h, w) as for unetstar_trainer_loss; mask and loss may be
 * NULL. The model stays as it is, running statistics too, and no trainer is needed: call it between the steps or epochs of a
 * training, always on the same patches, to see how they change. It takes the memory of a trainer of that batch during the
 * call. The same bits with any number of threads. Set struct_size of *gradients to its sizeof first. Errors: EINVAL (also a
 * label that is no class), ESHAPE (n not 1 .. 4096, sides not 1 .. 8192), ENOMEM, ESTATE (fork). Thread A. Since 0.1. */
UNETSTAR_API UNETSTAR_CHECK int unetstar_model_branch_gradients(const unetstar_model *model, int64_t n, int64_t h, int64_t w,
                                                                const float *x, const uint8_t *labels,
                                                                const uint8_t *mask, const unetstar_loss_options *loss,
                                                                unetstar_branch_gradients *gradients);

#ifdef __cplusplus
}
#endif
#endif
