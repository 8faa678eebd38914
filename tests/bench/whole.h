/* whole.h - whole training steps and whole images: plain, through a runner, and on denormal input. */
#ifndef BENCH_WHOLE_H
#define BENCH_WHOLE_H

#include "json.h"
#include "options.h"
#include "samples.h"
#include "unetstar.h"

struct whole {
    const struct bench_options *options;
    struct series step, runner, image, stream;  /* seconds; image and stream in turn */
    struct series normal_step, denormal_step;   /* in turn */
    struct series normal_image, denormal_image; /* in turn */
    double step_flops, image_flops;
    unetstar_workspace whole_memory, stream_memory; /* of the image */
    double peak; /* GFLOP/s of all threads; NaN: not known */
};

void whole_init(struct whole *whole, const struct bench_options *options);
void whole_free(struct whole *whole);
int whole_round_step(struct whole *whole, struct problem *problem);
int whole_round_runner(struct whole *whole, int threads, struct problem *problem);
int whole_round_image(struct whole *whole, struct problem *problem);
int whole_round_denormal(struct whole *whole, struct problem *problem);
void whole_print(const struct whole *whole);
void whole_json(const struct whole *whole, struct json *json);

#endif
