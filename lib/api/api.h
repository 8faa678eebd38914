/*
 * api.h - inside api: the handles, and the rules that every exported function follows.
 */
#ifndef US_API_H
#define US_API_H

#include "base/base.h"
#include "data/data.h"
#include "eval/eval.h"
#include "io/io.h"
#include "nn/nn.h"
#include "seg/seg.h"
#include "train/train.h"

/* ---- Options ---- */

/* Copies the caller's struct over `known`, which holds the defaults. A shorter (older) struct leaves the rest at its default, a
 * longer (newer) one is accepted when what is beyond is zero: EVERSION otherwise. given NULL: nothing is copied. */
int us_options_read(void *known, size_t known_size, const void *given, const char *name);
/* The body of every _init: writes as much of the defaults as fits into size bytes, zeros beyond, and struct_size = size. */
int us_options_init(void *options, size_t size, const void *defaults, size_t known_size, const char *name);

/* EINVAL with the argument named when pointer is NULL. */
int us_need(const void *pointer, const char *argument);
/* Loss options (NULL: defaults), checked. Defined in primitives.c beside unetstar_loss. */
int us_loss_read(struct us_loss *loss, const unetstar_loss_options *options);

/* ---- Handles ---- */

struct us_meta_pair {
    char *key, *value;
};

struct unetstar_model {
    us_context *ctx;
    int refs;
    struct us_net *net;
    struct us_params params;
    struct us_prep prep;
    struct us_meta_pair *meta;
    int64_t n_meta, meta_capacity;
    int lock;                 /* of what follows */
    struct us_folded *folded[3]; /* by precision, of generation `folded_at`, shared by the sessions made since */
    struct us_calibration *calibration; /* of these weights for 8 bits, or NULL */
    int64_t generation, folded_at;
};
int us_model_new(unetstar_model **out, us_context *ctx, const struct us_net_options *options);
unetstar_model *us_model_ref(unetstar_model *model);
void us_model_unref(unetstar_model *model);
void us_model_touch(unetstar_model *model); /* the weights have changed */
int us_model_folded(unetstar_model *model, int precision, struct us_folded **out);
void us_model_set_calibration(unetstar_model *model, struct us_calibration *calibration); /* takes it over */
int us_model_put_meta(unetstar_model *model, const char *key, const char *value);

struct unetstar_optimizer {
    unetstar_model *model;
    int refs;
    struct us_optim optim;
};
void us_optimizer_unref(unetstar_optimizer *optimizer);

struct unetstar_trainer {
    unetstar_model *model;
    unetstar_optimizer *optimizer;
    struct us_trainer *trainer;
    int spent; /* the best weights were put into the model */
};

struct unetstar_session {
    us_context *ctx;
    int refs;   /* atomic: the caller's, and one of a run */
    int in_use; /* atomic: calls that need it for themselves */
    unetstar_model **models;
    struct us_folded **folded;
    int64_t n_models;
    unetstar_prep_state *prep_state; /* or NULL */
    struct us_session *session;
};

struct unetstar_prep_state {
    us_context *ctx;
    int refs;
    struct us_prep_state state; /* ready */
};

/* ---- Images ---- */

/* Checks a caller's image and gives the view the rooms work on. name: of the argument. */
int us_image_view(struct us_image *out, const unetstar_image *image, const char *name);
/* Checks a field-of-view mask: 8 bits, one channel, the image's size. */
int us_mask_view(struct us_image *out, const unetstar_image *mask, const struct us_image *image);
/* The same as packed 0 / 255 bytes of the image's size, in new memory; *out NULL when mask is NULL. */
int us_mask_bytes(us_context *ctx, uint8_t **out, const unetstar_image *mask, const struct us_image *image);
/* Checks a caller's source (EINVAL) and gives the rows the rooms work on. */
int us_source_view(struct us_rows_source *out, const unetstar_source *source);
void us_prep_from_options(struct us_prep *prep, const unetstar_prep_options *options);
void us_prep_to_options(unetstar_prep_options *options, const struct us_prep *prep);

/* ---- Options as text (fields.c, fields_training.c): metadata of weights and checkpoints ---- */

struct us_field {
    const char *name;
    char type; /* i: int32, l: int64, u: uint64, d: double, f: float */
    size_t offset;
    const char *const *words; /* of an int32: names of its values, NULL-terminated; or NULL */
    const char *absent;       /* what files mean that are older than the field; NULL: they must have it */
};
extern const struct us_field us_model_fields[], us_trainer_fields[], us_optimizer_fields[], us_loss_fields[],
    us_state_fields[]; /* each ends with a NULL name */
#define US_FIELD_TEXT 40
void us_field_format(const struct us_field *field, const void *object, char out[US_FIELD_TEXT]);
int us_field_parse(const struct us_field *field, void *object, const char *text); /* EFORMAT */

/* ---- Files (model_write.c, model_read.c, model_path.c) ---- */

/* What goes into a weights file: tensors, turned into PyTorch's layout as they are written, and metadata. The parameters given
 * to it must stay as they are until then. */
struct us_bundle {
    us_context *ctx;
    struct us_st_tensor *tensors;
    int64_t n_tensors, tensor_capacity;
    struct us_st_meta *meta;
    int64_t n_meta, meta_capacity;
    void **blocks; /* everything to free */
    int64_t n_blocks, block_capacity;
};
void us_bundle_init(struct us_bundle *bundle, us_context *ctx);
void us_bundle_free(struct us_bundle *bundle);
int us_bundle_meta(struct us_bundle *bundle, const char *key, const char *value);
int us_bundle_fields(struct us_bundle *bundle, const char *prefix, const struct us_field *fields, const void *object);
/* The weights of a net under prefix + their PyTorch names; buffers and counters only when params has them. */
int us_bundle_params(struct us_bundle *bundle, const char *prefix, const struct us_net *net, const struct us_params *params);
int us_bundle_model(struct us_bundle *bundle, const unetstar_model *model);
/* A us_produce_fn over a bundle. */
int us_bundle_produce(void *bundle, unetstar_write_fn write, void *user);
int us_bundle_write(const struct us_bundle *bundle, const char *path); /* atomically (model_path.c) */

int us_read_params(const struct us_st_file *file, const char *prefix, const struct us_net *net, struct us_params *params);
int us_read_fields(const struct us_st_file *file, const char *prefix, const struct us_field *fields, void *object);
/* Calibrations (calibration_text.c): written when there is one; read when the file has one. */
int us_bundle_calibration(struct us_bundle *bundle, const struct us_net *net, const struct us_calibration *calibration);
int us_read_calibration(const struct us_st_file *file, unetstar_model *model);
/* A model of an opened file; options NULL: from the metadata, or from the shapes. */
int us_model_from_file(unetstar_model **out, us_context *ctx, const struct us_st_file *file,
                       const struct us_net_options *options);
/* The same of the bytes of a file. */
int us_model_from_bytes(unetstar_model **out, us_context *ctx, const void *data, size_t size,
                        const struct us_net_options *options);
/* What every load begins with: *out is NULL, the arguments are there. */
int us_model_begin(unetstar_model **out, unetstar_context *context);
void us_net_options_from(struct us_net_options *to, const unetstar_model_options *from);

#endif
