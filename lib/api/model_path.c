/* model_path.c - exported: loading and saving models by the path of a file. */
#include "api/api.h"

static int load_path(unetstar_model **out, us_context *ctx, const char *path, const struct us_net_options *options) {
    void *data;
    size_t size;
    int code = us_file_read(ctx, path, &data, &size);
    if (code)
        return code;
    code = us_model_from_bytes(out, ctx, data, size, options);
    us_free(ctx, data);
    return code ? us_fail_in(code, path) : 0;
}

int unetstar_model_load(unetstar_model **out, unetstar_context *context, const char *path) {
    int code = us_model_begin(out, context);
    code = code ? code : us_need(path, "path");
    if (code)
        return code;
    us_fp_enter();
    code = load_path(out, context, path, NULL);
    us_fp_leave();
    return code;
}

int unetstar_model_load_with(unetstar_model **out, unetstar_context *context, const char *path,
                             const unetstar_model_options *options) {
    unetstar_model_options o;
    struct us_net_options net;
    int code = us_model_begin(out, context);
    code = code ? code : us_need(path, "path");
    code = code ? code : us_need(options, "options");
    code = code ? code : unetstar_model_options_init(&o, sizeof o);
    code = code ? code : us_options_read(&o, sizeof o, options, "model options");
    if (code)
        return code;
    us_net_options_from(&net, &o);
    us_fp_enter();
    code = load_path(out, context, path, &net);
    us_fp_leave();
    return code;
}

int us_bundle_write(const struct us_bundle *b, const char *path) {
    return us_file_write_atomic(b->ctx, path, us_bundle_produce, (void *)b);
}

int unetstar_model_save(const unetstar_model *model, const char *path) {
    struct us_bundle b;
    int code = us_need(model, "model");
    code = code ? code : us_need(path, "path");
    if (code)
        return code;
    us_fp_enter();
    us_bundle_init(&b, model->ctx);
    code = us_bundle_model(&b, model);
    if (!code)
        code = us_bundle_write(&b, path);
    us_bundle_free(&b);
    us_fp_leave();
    return code;
}
