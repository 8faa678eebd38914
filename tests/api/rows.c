/* rows.c - models, pictures, and the source and sink of rows of the tests of streaming sessions. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

/* ---- Models ---- */

static void disturb(unetstar_model *model, const char *name, float from, float to, uint64_t salt) {
    int64_t shape[UNETSTAR_MAX_DIMS], i;
    int32_t dtype, ndim;
    float *data;
    OK(unetstar_model_tensor_shape(model, name, &dtype, &ndim, shape));
    data = (float *)memory((size_t)shape[0] * sizeof *data);
    for (i = 0; i < shape[0]; i++)
        data[i] = from + (to - from) * noise(salt * 4096 + (uint64_t)i);
    OK(unetstar_model_tensor_set(model, name, data, shape[0]));
    free(data);
}

unetstar_model *noisy_model(unetstar_context *context, const unetstar_model_options *options,
                            const unetstar_prep_options *prep) {
    unetstar_model *model;
    int64_t i;
    OK(unetstar_model_create(&model, context, options));
    for (i = 0; i < unetstar_model_tensor_count(model); i++) {
        const char *name = unetstar_model_tensor_name(model, i);
        if (strstr(name, "running_mean"))
            disturb(model, name, -0.2f, 0.2f, (uint64_t)i + options->seed);
        else if (strstr(name, "running_var"))
            disturb(model, name, 0.3f, 1.0f, (uint64_t)i + options->seed);
    }
    if (prep)
        OK(unetstar_model_set_prep(model, prep));
    return model;
}

unetstar_model *plain_model(unetstar_context *context, int32_t channels, int32_t levels) {
    unetstar_model_options o;
    OK(unetstar_model_options_init(&o, sizeof o));
    o.narrow = 0.0625;
    o.levels = levels;
    o.in_channels = channels;
    return noisy_model(context, &o, NULL);
}

/* ---- Pictures ---- */

static int in_ellipse(int64_t x, int64_t y, int64_t w, int64_t h, double size) {
    const double dx = (double)(2 * x + 1 - w) / (double)w, dy = (double)(2 * y + 1 - h) / (double)h;
    return dx * dx + dy * dy < size;
}

static unsigned sample(int64_t x, int64_t y, int64_t w, int64_t h, int c, int bits) {
    const uint64_t at = ((uint64_t)y * 40000 + (uint64_t)x) * 4 + (uint64_t)c;
    const double v = in_ellipse(x, y, w, h, 0.9)
                         ? 0.35 + 0.1 * c + 0.3 * (double)noise(at) + 0.1 * (double)(x % 17) / 17
                         : 0.02 * (double)noise(at);
    return (unsigned)(v * (bits == 16 ? 65535 : 255));
}

void picture_open(struct picture *p, int64_t w, int64_t h, int32_t channels, int32_t bits, int strided) {
    const int64_t bytes = bits / 8, row = w * channels * bytes, stride = row + (strided ? 13 : 0);
    int64_t x, y;
    int c;
    memset(p, 0, sizeof *p);
    p->data = (unsigned char *)memory((size_t)(h * stride));
    p->mask_data = (unsigned char *)memory((size_t)(h * (w + 5)));
    memset(p->data, 0xee, (size_t)(h * stride)); /* gaps are not black */
    memset(p->mask_data, 1, (size_t)(h * (w + 5)));
    for (y = 0; y < h; y++)
        for (x = 0; x < w; x++) {
            for (c = 0; c < channels; c++) {
                const unsigned v = sample(x, y, w, h, c, bits);
                const uint16_t v16 = (uint16_t)v;
                unsigned char *to = p->data + y * stride + (x * channels + c) * bytes;
                if (bits == 16)
                    memcpy(to, &v16, 2);
                else
                    *to = (unsigned char)v;
            }
            p->mask_data[y * (w + 5) + x] = in_ellipse(x, y, w, h, 0.7) ? 200 : 0;
        }
    OK(unetstar_image_init(&p->image, sizeof p->image));
    p->mask = p->image;
    p->image.data = p->data;
    p->mask.data = p->mask_data;
    p->image.width = p->mask.width = w;
    p->image.height = p->mask.height = h;
    p->image.row_stride = strided ? stride : 0;
    p->mask.row_stride = w + 5;
    p->image.channels = channels;
    p->image.bits = bits;
}

void picture_close(struct picture *p) {
    free(p->data);
    free(p->mask_data);
    memset(p, 0, sizeof *p);
}

/* ---- Rows ---- */

static int rows_read(void *user, int64_t y, int64_t n, void *rows, int64_t stride) {
    struct rows *r = (struct rows *)user;
    const unetstar_image *image = &r->picture->image;
    const int64_t row = image->width * image->channels * (image->bits / 8);
    const int64_t from = image->row_stride ? image->row_stride : row;
    int64_t i, pass;
    r->late += r->failed;
    if (r->next_in == image->height)
        r->next_in = 0; /* a further pass */
    r->wrong += y != r->next_in || n < 1 || y + n > image->height || stride < row || r->next_out > y;
    r->passes += y == 0;
    r->next_in = y + n;
    pass = r->passes - 1;
    for (i = 0; i < n; i++)
        memcpy((char *)rows + i * stride, r->picture->data + (y + i) * from, (size_t)row);
    if (pass == r->cancel_pass && r->cancel_in >= y && r->cancel_in < y + n)
        unetstar_cancel_request(r->cancel);
    r->failed = pass == r->fail_pass && r->fail_in >= y && r->fail_in < y + n;
    return r->failed ? 42 : 0;
}

int rows_write(void *user, int64_t y, int64_t n, const float *line) {
    struct rows *r = (struct rows *)user;
    const int64_t w = r->picture->image.width, h = r->picture->image.height;
    int64_t c;
    r->late += r->failed;
    r->wrong += y != r->next_out || n != 1 || y >= h || y >= r->next_in;
    r->next_out = y + n;
    for (c = 0; c < r->channels && y < h; c++)
        memcpy(r->planes + (c * h + y) * w, line + c * w, (size_t)w * sizeof *line);
    if (y == r->cancel_out)
        unetstar_cancel_request(r->cancel);
    r->failed = y == r->fail_out;
    return r->failed ? 43 : 0;
}

void rows_open(struct rows *r, unetstar_source *source, const struct picture *picture, int64_t channels,
               float *planes) {
    memset(r, 0, sizeof *r);
    r->picture = picture;
    r->planes = planes;
    r->channels = channels;
    r->fail_pass = r->fail_in = r->fail_out = r->cancel_pass = r->cancel_in = r->cancel_out = -1;
    OK(unetstar_source_init(source, sizeof *source));
    source->read_rows = rows_read;
    source->user = r;
    source->width = picture->image.width;
    source->height = picture->image.height;
    source->channels = picture->image.channels;
    source->bits = picture->image.bits;
}

void rows_complete(const struct rows *r) {
    assert_int_equal(r->wrong, 0);
    assert_int_equal(r->late, 0);
    assert_int_equal(r->next_in, r->picture->image.height);
    assert_int_equal(r->next_out, r->picture->image.height);
}

/* ---- Sessions ---- */

unetstar_session *session_with(unetstar_context *context, unetstar_model *const *models, int64_t n,
                               const unetstar_session_options *options) {
    unetstar_session *session;
    OK(unetstar_session_create(&session, context, (const unetstar_model *const *)models, n, options));
    return session;
}

unetstar_session *session_of(unetstar_context *context, unetstar_model *const *models, int64_t n, int32_t plan) {
    unetstar_session_options o;
    OK(unetstar_session_options_init(&o, sizeof o));
    o.plan = plan;
    return session_with(context, models, n, &o);
}

float *blank(int64_t values) {
    float *p = (float *)memory((size_t)values * sizeof *p);
    memset(p, 0xff, (size_t)values * sizeof *p);
    return p;
}
