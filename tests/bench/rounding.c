/*
 * rounding.c - unetstar-rounding: how much each algorithm of the 3x3 convolutions rounds, layer by layer.
 *
 *     unetstar-rounding MODEL.safetensors
 *
 * The inputs are what a trained network's layers really get: a batch of patches of made-up fundus pictures goes forward
 * through the model in training mode. Every convolution is then computed directly and by Winograd's F(2x2), F(4x4) and
 * F(6x6), forward, backward-data and backward-weights (with a normal random gradient at the output), and sampled
 * results are compared with sums in double. Printed: root mean square of the error relative to that of the results, in
 * units of 1e-7. `tail` is the largest input relative to the rms input.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "nn/training.h"

enum { BATCH = 8, SIZE = 96, SAMPLES = 2000, ALGORITHMS = 4, PASSES = 3 };

static const int tiles[ALGORITHMS] = {0, 2, 4, 6};

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if (call) {                                                                                                    \
            fprintf(stderr, "unetstar-rounding: %s\n", unetstar_last_error());                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static float *floats(size_t count) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, count * sizeof(float))) {
        fprintf(stderr, "unetstar-rounding: out of memory\n");
        exit(1);
    }
    memset(memory, 0, count * sizeof(float));
    return (float *)memory;
}

/* A patch of each of BATCH pictures, from the middle, where the vessels are. */
static float *draw_batch(us_context *ctx, const unetstar_model *model) {
    const size_t c = (size_t)model->net->options.in_channels, side = 256, plane = SIZE * SIZE;
    float *x = floats(BATCH * c * plane), *whole = floats(c * side * side);
    uint8_t *rgb = (uint8_t *)malloc(side * side * 3), *label = (uint8_t *)malloc(side * side),
            *mask = (uint8_t *)malloc(side * side);
    size_t n, k, y;
    for (n = 0; n < BATCH; n++) {
        unetstar_image picture;
        struct us_image image;
        unetstar_image_init(&picture, sizeof picture);
        picture.data = rgb;
        picture.width = picture.height = (int64_t)side;
        picture.channels = 3;
        picture.row_stride = (int64_t)side * 3;
        TRY(us_synthetic_fundus(ctx, 100 + n, (int64_t)side, (int64_t)side, rgb, label, mask));
        TRY(us_image_view(&image, &picture, "picture"));
        TRY(us_prep_run(ctx, &model->prep, &image, mask, whole));
        for (k = 0; k < c; k++)
            for (y = 0; y < SIZE; y++)
                memcpy(x + ((n * c + k) * SIZE + y) * SIZE, whole + (k * side + y + 80) * side + 80,
                       SIZE * sizeof(float));
    }
    free(rgb);
    free(label);
    free(mask);
    free(whole);
    return x;
}

/* ---- One unit ---- */

struct unit_case {
    us_training *t;
    const struct us_unit *unit;
    struct us_conv_job job; /* forward, direct */
    struct us_map input;    /* what the source gives, stored */
    struct us_map dout;
    const float *weights;
    struct us_rng rng;
};

static float at(const struct us_map *m, int n, int channel, int y, int x) {
    if (y < 0 || x < 0 || y >= m->h || x >= m->w)
        return 0;
    return us_map_row(m, n, channel / US_LANES, y)[(size_t)x * US_LANES + (size_t)(channel % US_LANES)];
}

static float weight_at(const struct unit_case *c, const float *w, int co, int ci, int tap) {
    const size_t block = (size_t)(co / US_LANES) * (size_t)c->unit->in_blocks + (size_t)(ci / US_LANES);
    return w[(block * 9 + (size_t)tap) * US_LANES * US_LANES + (size_t)(ci % US_LANES * US_LANES + co % US_LANES)];
}

static int draw(struct unit_case *c, int below) {
    return (int)(us_rng_uniform(&c->rng) * below);
}

struct error_sum {
    double error, signal;
};

static void compare(struct error_sum *sum, double exact, float got) {
    sum->error += ((double)got - exact) * ((double)got - exact);
    sum->signal += exact * exact;
}

static struct us_map new_map(const struct us_map *like, int blocks) {
    struct us_map m = *like;
    m.blocks = blocks;
    m.data = floats(us_map_floats(&m));
    return m;
}

static double forward_error(struct unit_case *c, int tile) {
    struct us_conv_job job = c->job;
    struct error_sum sum = {0, 0};
    int i, ci, tap;
    job.tile = tile;
    job.weights = c->weights;
    job.out = new_map(&c->dout, c->unit->out_blocks);
    TRY(us_conv_forward(&job));
    for (i = 0; i < SAMPLES; i++) {
        const int n = draw(c, job.n), co = draw(c, c->unit->c_out), y = draw(c, job.h), x = draw(c, job.w);
        double exact = 0;
        for (ci = 0; ci < c->unit->c_in; ci++)
            for (tap = 0; tap < 9; tap++)
                exact += (double)at(&c->input, n, ci, y + tap / 3 - 1, x + tap % 3 - 1) *
                         weight_at(c, c->weights, co, ci, tap);
        compare(&sum, exact, at(&job.out, n, co, y, x));
    }
    free(job.out.data);
    return sqrt(sum.error / sum.signal);
}

static double data_error(struct unit_case *c, int tile) {
    struct us_conv_job job = c->job;
    struct error_sum sum = {0, 0};
    float *flipped = floats(c->unit->weights_size);
    int i, co, tap;
    job.tile = tile;
    job.row = us_plain_row;
    job.source = &c->dout;
    job.in_blocks = c->unit->out_blocks;
    job.out_blocks = c->unit->in_blocks;
    job.last_channels = (c->unit->c_out - 1) % US_LANES + 1;
    job.out = new_map(&c->dout, c->unit->in_blocks);
    job.weights = c->weights;
    job.flip = tile != 0;
    if (!tile) {
        TRY(us_conv_flip(job.ctx, flipped, c->weights, c->unit->in_blocks, c->unit->out_blocks, 9));
        job.weights = flipped;
    }
    TRY(us_conv_forward(&job));
    for (i = 0; i < SAMPLES; i++) {
        const int n = draw(c, job.n), ci = draw(c, c->unit->c_in), y = draw(c, job.h), x = draw(c, job.w);
        double exact = 0;
        for (co = 0; co < c->unit->c_out; co++)
            for (tap = 0; tap < 9; tap++)
                exact += (double)at(&c->dout, n, co, y - tap / 3 + 1, x - tap % 3 + 1) *
                         weight_at(c, c->weights, co, ci, tap);
        compare(&sum, exact, at(&job.out, n, ci, y, x));
    }
    free(job.out.data);
    free(flipped);
    return sqrt(sum.error / sum.signal);
}

static double weights_error(struct unit_case *c, int tile) {
    struct us_conv_job job = c->job;
    struct error_sum sum = {0, 0};
    const size_t partials = (job.tile = tile, us_conv_weights_partials(&job));
    int i, n, y, x;
    job.dout = c->dout;
    job.dw = floats(c->unit->weights_size);
    job.partials = floats(partials + 1);
    TRY(us_conv_backward_weights(&job));
    for (i = 0; i < SAMPLES / 8; i++) {
        const int co = draw(c, c->unit->c_out), ci = draw(c, c->unit->c_in), tap = draw(c, 9);
        double exact = 0;
        for (n = 0; n < job.n; n++)
            for (y = 0; y < job.h; y++)
                for (x = 0; x < job.w; x++)
                    exact += (double)at(&c->dout, n, co, y, x) * at(&c->input, n, ci, y + tap / 3 - 1, x + tap % 3 - 1);
        compare(&sum, exact, weight_at(c, job.dw, co, ci, tap));
    }
    free(job.dw);
    free(job.partials);
    return sqrt(sum.error / sum.signal);
}

/* Twelve uniform numbers make a normal one that is good enough here. */
static float normal(struct us_rng *rng) {
    double sum = -6;
    int i;
    for (i = 0; i < 12; i++)
        sum += us_rng_uniform(rng);
    return (float)sum;
}

static void prepare(struct unit_case *c, struct us_input_source *source, float *tmp) {
    int n, b, y, x, k;
    c->input = new_map(&c->t->pass.z[source->unit], c->unit->in_blocks);
    c->dout = new_map(&c->t->pass.z[source->unit], c->unit->out_blocks);
    for (n = 0; n < c->input.n; n++)
        for (b = 0; b < c->input.blocks; b++)
            for (y = 0; y < c->input.h; y++)
                us_input_row(source, n, b, y, 0, c->input.w, us_map_row(&c->input, n, b, y), tmp);
    for (n = 0; n < c->dout.n; n++)
        for (k = 0; k < c->unit->c_out; k++)
            for (y = 0; y < c->dout.h; y++)
                for (x = 0; x < c->dout.w; x++)
                    us_map_row(&c->dout, n, k / US_LANES, y)[(size_t)x * US_LANES + (size_t)(k % US_LANES)] =
                        normal(&c->rng);
}

static double tail_of(const struct us_map *m) {
    double sum = 0, most = 0;
    size_t i;
    for (i = 0; i < us_map_floats(m); i++) {
        sum += (double)m->data[i] * m->data[i];
        most = fabs((double)m->data[i]) > most ? fabs((double)m->data[i]) : most;
    }
    return most / sqrt(sum / (double)us_map_floats(m));
}

static void measure_unit(us_training *t, const struct us_params *params, int unit) {
    static double (*const passes[PASSES])(struct unit_case *, int) = {forward_error, data_error, weights_error};
    struct us_input_source source;
    struct unit_case c;
    float *tmp;
    int pass, a;
    source.pass = &t->pass;
    source.unit = unit;
    c.t = t;
    c.unit = &t->net->units[unit];
    c.weights = params->arena + c.unit->weights;
    c.rng = us_rng_stream(2024, US_RNG_TEST, 1, (uint64_t)unit);
    us_pass_job(&t->pass, &source, &c.job);
    tmp = floats(us_row_tmp_bytes(c.job.w) / sizeof(float));
    c.job.scratch.each = (size_t)64 << 20; /* more than any algorithm wants */
    c.job.scratch.base = (char *)floats(c.job.scratch.each / sizeof(float) * (size_t)us_workers(t->ctx));
    prepare(&c, &source, tmp);
    printf("%-16s %4d->%-4d %3dx%-3d %6.0f ", c.unit->name, c.unit->c_in, c.unit->c_out, c.job.h, c.job.w,
           tail_of(&c.input));
    for (pass = 0; pass < PASSES; pass++) {
        printf(" |");
        for (a = 0; a < ALGORITHMS; a++)
            printf(" %6.1f", passes[pass](&c, tiles[a]) * 1e7);
    }
    printf("\n");
    free(tmp);
    free(c.job.scratch.base);
    free(c.input.data);
    free(c.dout.data);
}

int main(int argc, char **argv) {
    unetstar_context *context;
    unetstar_model *model;
    us_training *training;
    float *x;
    int u;
    if (argc != 2 || argv[1][0] == '-') {
        fprintf(argc == 2 && !strcmp(argv[1], "--help") ? stdout : stderr,
                "Usage: unetstar-rounding MODEL.safetensors\n"
                "Rounding error of direct and Winograd convolutions on the inputs of a trained network's layers.\n");
        return argc == 2 && !strcmp(argv[1], "--help") ? 0 : 2;
    }
    TRY(unetstar_context_create(&context, NULL));
    TRY(unetstar_model_load(&model, context, argv[1]));
    TRY(us_training_create(&training, context, model->net, BATCH, SIZE, SIZE));
    x = draw_batch(context, model);
    TRY(us_training_forward(training, &model->params, BATCH, x, 1, 1));
    printf("Error rms / result rms, 1e-7; each pass: direct, F(2x2), F(4x4), F(6x6)\n");
    printf("%-16s %10s %7s %6s  | %-27s | %-27s | %-27s\n", "layer", "channels", "map", "tail", "forward",
           "backward data", "backward weights");
    for (u = 1; u < model->net->n_units; u++)
        if (model->net->units[u].kind == US_UNIT_CONV3)
            measure_unit(training, &model->params, u);
    free(x);
    us_training_destroy(training);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    return 0;
}
