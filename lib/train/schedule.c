/* schedule.c - what happens between epochs: learning rate, best weights, early stop. */
#include "train/train.h"

static int better(const struct us_trainer_options *o, double a, double b) {
    if (b != b)
        return a == a;
    return o->metric == UNETSTAR_METRIC_LOSS ? a < b : a > b;
}

/* Cosine (Loshchilov, Hutter 2017, one period) over all epochs; plateau as a factor that only falls. */
double us_schedule_rate(const struct us_trainer_options *o, const struct us_trainer_state *s, double base) {
    double rate = base;
    if (o->schedule == UNETSTAR_SCHEDULE_COSINE)
        rate = o->min_learning_rate + (base - o->min_learning_rate) * 0.5 *
                                          (1 + us_cos(3.141592653589793 * (double)s->epoch / (double)o->epochs));
    else if (o->schedule == UNETSTAR_SCHEDULE_PLATEAU)
        rate = US_MAX(base * s->plateau_scale, o->min_learning_rate);
    return rate;
}

static void step_plateau(const struct us_trainer_options *o, struct us_trainer_state *s, double metric) {
    if (better(o, metric, s->plateau_best)) {
        s->plateau_best = metric;
        s->plateau_bad = 0;
    } else if (++s->plateau_bad > o->plateau_patience) {
        s->plateau_scale *= o->plateau_factor;
        s->plateau_bad = 0;
    }
}

int us_schedule_epoch(const struct us_trainer_options *o, struct us_trainer_state *s, double metric) {
    int best = o->validation == UNETSTAR_VALIDATION_NONE || better(o, metric, s->best_metric) || s->best_epoch < 0;
    if (best) {
        s->best_metric = metric;
        s->best_epoch = s->epoch;
        s->bad_epochs = 0;
    } else {
        s->bad_epochs++;
    }
    if (o->schedule == UNETSTAR_SCHEDULE_PLATEAU && o->validation != UNETSTAR_VALIDATION_NONE)
        step_plateau(o, s, metric);
    s->epoch++;
    s->step = 0;
    s->loss_sum = 0;
    if (s->epoch >= o->epochs || (o->early_stop > 0 && s->bad_epochs >= o->early_stop))
        s->ended = 1;
    return best;
}
