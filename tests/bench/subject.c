#include "subject.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"

static size_t input_count(const struct subject *subject, enum subject_use use) {
    const struct bench_options *o = subject->options;
    return use == SUBJECT_TRAINING ? (size_t)o->batch * (size_t)o->channels * (size_t)o->size[0] * (size_t)o->size[1]
                                   : (size_t)o->channels * (size_t)o->image[0] * (size_t)o->image[1];
}

static enum subject_use use_of(const struct subject *subject) {
    return subject->trainer ? SUBJECT_TRAINING : SUBJECT_INFERENCE;
}

static void fill(struct subject *subject, enum subject_use use) {
    const struct bench_options *o = subject->options;
    struct us_rng rng = us_rng_stream(2024, US_RNG_TEST, 0, 0);
    const size_t count = input_count(subject, use), pixels = count / (size_t)o->channels;
    size_t i;
    subject->x = must_allocate(count, sizeof *subject->x);
    for (i = 0; i < count; i++)
        subject->x[i] = (float)us_rng_uniform(&rng);
    if (use == SUBJECT_INFERENCE) {
        subject->probability = must_allocate(pixels, sizeof *subject->probability);
        return;
    }
    subject->labels = must_allocate(pixels, 1);
    for (i = 0; i < pixels; i++)
        subject->labels[i] = us_rng_uniform(&rng) < 0.1;
}

void subject_make_denormal(struct subject *subject) {
    const size_t count = input_count(subject, use_of(subject));
    size_t i;
    subject->denormal = must_allocate(count, sizeof *subject->denormal);
    for (i = 0; i < count; i++)
        subject->denormal[i] = subject->x[i] * 1e-39f;
}

static int open_context(struct subject *subject, struct team *runner) {
    unetstar_context_options options;
    unetstar_context_options_init(&options, sizeof options);
    options.n_threads = subject->options->threads;
    options.isa_limit = subject->options->isa;
    if (runner) {
        options.run = team_run;
        options.runner = runner;
        options.n_threads = team_members(runner);
    }
    return unetstar_context_create(&subject->context, &options);
}

static int open_model(struct subject *subject) {
    const struct bench_options *o = subject->options;
    unetstar_model_options options;
    unetstar_model_options_init(&options, sizeof options);
    options.narrow = o->narrow;
    options.in_channels = o->channels;
    options.fusion = o->fusion;
    options.activation = o->activation;
    options.block = o->block;
    options.block_expansion = o->block_expansion;
    options.precision = o->precision;
    return unetstar_model_create(&subject->model, subject->context, &options);
}

static int open_trainer(struct subject *subject) {
    const struct bench_options *o = subject->options;
    unetstar_trainer_options options;
    int error = unetstar_optimizer_create(&subject->optimizer, subject->model, NULL);
    if (error)
        return error;
    unetstar_trainer_options_init(&options, sizeof options);
    options.batch_size = o->batch;
    options.patch_width = o->size[0];
    options.patch_height = o->size[1];
    options.quarter_turns = 0; /* patches need not be square */
    return unetstar_trainer_create(&subject->trainer, subject->model, subject->optimizer, &options, NULL);
}

static int open_sessions(struct subject *subject) {
    const unetstar_model *model = subject->model;
    unetstar_session_options options;
    int error;
    unetstar_session_options_init(&options, sizeof options);
    options.precision = subject->options->precision;
    error = unetstar_session_create(&subject->session, subject->context, &model, 1, &options);
    options.plan = UNETSTAR_PLAN_STREAM;
    return error ? error : unetstar_session_create(&subject->stream, subject->context, &model, 1, &options);
}

int subject_open(struct subject *subject, const struct bench_options *options, enum subject_use use,
                 struct team *runner, struct problem *problem) {
    int error;
    memset(subject, 0, sizeof *subject);
    subject->options = options;
    error = open_context(subject, runner);
    error = error ? error : open_model(subject);
    if (!error)
        error = use == SUBJECT_TRAINING ? open_trainer(subject) : open_sessions(subject);
    if (error) {
        problem_from_library(problem, NULL, error);
        subject_close(subject);
        return -1;
    }
    fill(subject, use);
    return 0;
}

void subject_close(struct subject *subject) {
    unetstar_session_destroy(subject->session);
    unetstar_session_destroy(subject->stream);
    unetstar_trainer_destroy(subject->trainer);
    unetstar_optimizer_destroy(subject->optimizer);
    unetstar_model_destroy(subject->model);
    unetstar_context_destroy(subject->context);
    free(subject->x);
    free(subject->denormal);
    free(subject->probability);
    free(subject->labels);
    memset(subject, 0, sizeof *subject);
}

int subject_step(struct subject *subject, const float *x, double learning_rate, double *seconds,
                 struct problem *problem) {
    const double start = us_clock();
    double loss;
    int error = unetstar_trainer_forward(subject->trainer, subject->options->batch, x);
    error = error ? error : unetstar_trainer_loss(subject->trainer, subject->labels, NULL, &loss);
    error = error ? error : unetstar_trainer_backward(subject->trainer);
    error = error ? error : unetstar_trainer_step(subject->trainer, learning_rate);
    if (seconds)
        *seconds = us_clock() - start;
    return error ? problem_from_library(problem, "training step", error) : 0;
}

int subject_image(struct subject *subject, unetstar_session *session, const float *x, double *seconds,
                  struct problem *problem) {
    const double start = us_clock();
    const int error = unetstar_session_run_tensor(session, 1, subject->options->image[1], subject->options->image[0], x,
                                                  subject->probability, NULL);
    if (seconds)
        *seconds = us_clock() - start;
    return error ? problem_from_library(problem, "inference", error) : 0;
}

double subject_flops(const struct subject *subject, int64_t n, int64_t w, int64_t h) {
    const struct us_net *net = subject->model->net;
    double sum = 0;
    int i;
    for (i = 0; i < net->n_units; i++) {
        const struct us_unit *unit = &net->units[i];
        const int taps =
            unit->kind == US_UNIT_CONV3 ? 9 : 1; /* of the four of a transposed one each output takes one */
        sum += 2.0 * taps * unit->c_in * unit->c_out / (double)((int64_t)1 << 2 * unit->shift);
    }
    sum += 2.0 * net->units[net->heads[0].unit].c_out * net->options.classes; /* at full resolution, as in PyTorch */
    return sum * (double)n * (double)w * (double)h;
}

double subject_step_flops(const struct subject *subject) {
    const struct bench_options *o = subject->options;
    return 3 * subject_flops(subject, o->batch, o->size[0], o->size[1]);
}

double subject_image_flops(const struct subject *subject) {
    return subject_flops(subject, 1, subject->options->image[0], subject->options->image[1]);
}
