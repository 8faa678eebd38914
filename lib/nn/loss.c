/*
 * loss.c - cross-entropy, focal and Dice loss of a map of logits, and its gradient.
 *
 * A logit may stand for scale x scale label pixels (nearest upsampling and the 1x1 head commute). Everything a loss needs of
 * those pixels is how many of them, inside the mask, have each class: n_c. With p = softmax(z):
 *   cross-entropy  L = sum n_c w_c (-log p_c) / sum n_c w_c             dz_j = ((sum n_c w_c) p_j - n_j w_j) / sum
 *   focal          L = sum n_c (1 - p_c)^g (-log p_c) / sum n_c         dz_j = A_j - p_j sum A,
 *                      A_c = n_c (g (1 - p_c)^(g-1) p_c log p_c - (1 - p_c)^g) / sum
 *   Dice           I = sum p_c n_c, P = sum p_c n, T = sum n_c; L = mean over c >= 1 of 1 - (2 I + 1) / (P + T + 1)
 * One class is the two-class problem with logits (0, z). Work is in double; a row is one chain, rows are added in order.
 */
#include "nn/nn.h"

#include <string.h>

#define MAX_CLASSES 8
#define PAIR(c) ((c) < 2 ? 2 : (c))

/* What a row contributes. */
struct row_sums {
    double loss_ce, loss_focal;
    double weight; /* sum of n_c w_c */
    double count;  /* sum of n_c */
    double inter[MAX_CLASSES], prob[MAX_CLASSES], truth[MAX_CLASSES];
    int bad_label; /* largest label that is no class, 0: none */
};

size_t us_loss_scratch(int64_t n, int64_t c, int64_t h) {
    (void)c;
    return (size_t)(n * h) * sizeof(struct row_sums);
}

struct run {
    const struct us_loss *loss;
    const struct us_loss_map *map;
    struct row_sums *rows;
    struct row_sums total;
    int classes; /* at least 2 */
};

/* n_c of logit (y, x) of image n. Returns whether any pixel is inside. */
static int count_labels(const struct us_loss_map *m, int classes, int64_t n, int64_t y, int64_t x, double *count, int *bad) {
    const int64_t y1 = US_MIN((y + 1) * m->scale, m->height), x1 = US_MIN((x + 1) * m->scale, m->width);
    int any = 0;
    int64_t yy, xx;
    memset(count, 0, sizeof(double) * (size_t)classes);
    for (yy = y * m->scale; yy < y1; yy++)
        for (xx = x * m->scale; xx < x1; xx++) {
            const int64_t at = (n * m->height + yy) * m->width + xx;
            if (m->mask && !m->mask[at])
                continue;
            if (m->labels[at] >= classes) {
                *bad = m->labels[at];
                continue;
            }
            count[m->labels[at]] += 1;
            any = 1;
        }
    return any;
}

/* p and log p of one pixel. */
static void log_softmax(const struct us_loss_map *m, int classes, const float *z, double *p, double *log_p) {
    const int64_t plane = m->h * m->w;
    double logits[MAX_CLASSES], most, sum = 0;
    int c;
    if (m->c == 1) {
        logits[0] = 0;
        logits[1] = (double)z[0];
    } else {
        for (c = 0; c < classes; c++)
            logits[c] = (double)z[c * plane];
    }
    most = logits[0];
    for (c = 1; c < classes; c++)
        most = logits[c] > most ? logits[c] : most;
    for (c = 0; c < classes; c++) {
        p[c] = logits[c] == most ? 1 : us_exp(logits[c] - most);
        sum += p[c];
    }
    most += us_log(sum);
    for (c = 0; c < classes; c++) {
        p[c] /= sum;
        log_p[c] = logits[c] - most;
    }
}

static const float *logit_at(const struct us_loss_map *m, int64_t n, int64_t y, int64_t x) {
    return m->logits + ((n * m->c * m->h) + y) * m->w + x;
}

/* First pass: how much there is to average over, and the sums of Dice. */
static void measure_row(void *arg, int64_t index, int worker) {
    struct run *run = (struct run *)arg;
    const struct us_loss_map *m = run->map;
    struct row_sums *row = &run->rows[index];
    const int64_t n = index / m->h, y = index % m->h;
    double count[MAX_CLASSES], p[MAX_CLASSES], log_p[MAX_CLASSES];
    int64_t x;
    int c;
    (void)worker;
    memset(row, 0, sizeof *row);
    for (x = 0; x < m->w; x++) {
        double all = 0;
        if (!count_labels(m, run->classes, n, y, x, count, &row->bad_label))
            continue;
        for (c = 0; c < run->classes; c++) {
            all += count[c];
            row->weight += count[c] * (double)run->loss->class_weights[c];
        }
        row->count += all;
        if (run->loss->dice == 0)
            continue;
        log_softmax(m, run->classes, logit_at(m, n, y, x), p, log_p);
        for (c = 0; c < run->classes; c++) {
            row->inter[c] += p[c] * count[c];
            row->prob[c] += p[c] * all;
            row->truth[c] += count[c];
        }
    }
}

static double focal_factor(double one_minus_p, double gamma) {
    if (gamma == 2)
        return one_minus_p * one_minus_p;
    return gamma == 0 ? 1 : us_pow(one_minus_p, gamma);
}

/* Adds one pixel's focal terms to A (see the head of the file), returns its loss before division. */
static double focal_pixel(const struct run *run, const double *count, const double *p, const double *log_p, double *a) {
    const double gamma = (double)run->loss->focal_gamma;
    double loss = 0;
    int c;
    for (c = 0; c < run->classes; c++) {
        const double q = 1 - p[c], f = focal_factor(q, gamma);
        const double slope = q > 0 && gamma > 0 ? gamma * f / q : 0;
        a[c] = 0;
        if (count[c] <= 0)
            continue;
        loss -= count[c] * f * log_p[c];
        a[c] = count[c] * (slope * p[c] * log_p[c] - f);
    }
    return loss;
}

/* d Dice / d p_c of a pixel. */
static double dice_slope(const struct run *run, int c, double count, double all) {
    const struct row_sums *t = &run->total;
    const double d = t->prob[c] + t->truth[c] + 1;
    if (c == 0)
        return 0;
    return ((2 * t->inter[c] + 1) * all / d - 2 * count) / d / (run->classes - 1);
}

/* Second pass: loss and gradient. */
static void loss_row(void *arg, int64_t index, int worker) {
    struct run *run = (struct run *)arg;
    const struct us_loss_map *m = run->map;
    const struct us_loss *l = run->loss;
    struct row_sums *row = &run->rows[index];
    const int64_t n = index / m->h, y = index % m->h, plane = m->h * m->w;
    const double ce = run->total.weight > 0 ? (double)l->cross_entropy / run->total.weight : 0;
    const double focal = run->total.count > 0 ? (double)l->focal / run->total.count : 0;
    const int shown = m->c == 1 ? 1 : 0; /* the first class that has a logit */
    double count[MAX_CLASSES], p[MAX_CLASSES], log_p[MAX_CLASSES], a[MAX_CLASSES], dz[MAX_CLASSES];
    int64_t x;
    int c, ignored = 0;
    (void)worker;
    row->loss_ce = row->loss_focal = 0;
    for (x = 0; x < m->w; x++) {
        float *gradient = m->gradient ? m->gradient + (logit_at(m, n, y, x) - m->logits) : NULL;
        double all = 0, weight = 0, sum_a = 0, sum_d = 0;
        if (!count_labels(m, run->classes, n, y, x, count, &ignored)) {
            for (c = 0; gradient && c < m->c; c++)
                gradient[c * plane] = 0;
            continue;
        }
        log_softmax(m, run->classes, logit_at(m, n, y, x), p, log_p);
        for (c = 0; c < run->classes; c++) {
            const double nw = count[c] * (double)l->class_weights[c];
            weight += nw;
            all += count[c];
            if (nw > 0)
                row->loss_ce -= nw * log_p[c];
        }
        if (focal != 0) {
            row->loss_focal += focal_pixel(run, count, p, log_p, a);
            for (c = 0; c < run->classes; c++)
                sum_a += a[c];
        }
        if (l->dice != 0)
            for (c = 0; c < run->classes; c++)
                sum_d += p[c] * dice_slope(run, c, count[c], all);
        for (c = shown; gradient && c < run->classes; c++) {
            dz[c] = ce * (weight * p[c] - count[c] * (double)l->class_weights[c]);
            if (focal != 0)
                dz[c] += focal * (a[c] - p[c] * sum_a);
            if (l->dice != 0)
                dz[c] += (double)l->dice * p[c] * (dice_slope(run, c, count[c], all) - sum_d);
            gradient[(c - shown) * plane] = (float)(m->weight * dz[c]);
        }
    }
}

static double dice_loss(const struct run *run) {
    double loss = 0;
    int c;
    for (c = 1; c < run->classes; c++)
        loss += 1 - (2 * run->total.inter[c] + 1) / (run->total.prob[c] + run->total.truth[c] + 1);
    return loss / (run->classes - 1);
}

static void add_rows(struct run *run, int64_t rows) {
    int64_t i;
    int c;
    memset(&run->total, 0, sizeof run->total);
    for (i = 0; i < rows; i++) {
        const struct row_sums *r = &run->rows[i];
        run->total.loss_ce += r->loss_ce;
        run->total.loss_focal += r->loss_focal;
        run->total.weight += r->weight;
        run->total.count += r->count;
        for (c = 0; c < run->classes; c++) {
            run->total.inter[c] += r->inter[c];
            run->total.prob[c] += r->prob[c];
            run->total.truth[c] += r->truth[c];
        }
        if (r->bad_label > run->total.bad_label)
            run->total.bad_label = r->bad_label;
    }
}

int us_loss_run(us_context *ctx, const struct us_loss *loss, const struct us_loss_map *map, void *scratch, double *value) {
    struct run run;
    const int64_t rows = map->n * map->h;
    int code;
    run.loss = loss;
    run.map = map;
    run.rows = (struct row_sums *)scratch;
    run.classes = (int)PAIR(map->c);
    code = us_parallel(ctx, NULL, measure_row, &run, rows);
    if (code)
        return code;
    add_rows(&run, rows);
    if (run.total.bad_label)
        return us_fail(UNETSTAR_EINVAL, "a label has the value %d, but there are only %d classes", run.total.bad_label,
                       run.classes);
    code = us_parallel(ctx, NULL, loss_row, &run, rows);
    if (code)
        return code;
    add_rows(&run, rows);
    *value = 0;
    if (run.total.weight > 0)
        *value += (double)loss->cross_entropy * run.total.loss_ce / run.total.weight;
    if (run.total.count > 0)
        *value += (double)loss->focal * run.total.loss_focal / run.total.count;
    if (run.total.count > 0 && loss->dice != 0)
        *value += (double)loss->dice * dice_loss(&run);
    return 0;
}
