/* softmax.c - probabilities from logits, in double. */
#include "nn/nn.h"

/* 1 / (1 + exp(-z)), without overflow. */
static double logistic(double z) {
    double e;
    if (z >= 0)
        return 1.0 / (1.0 + us_exp(-z));
    e = us_exp(z);
    return e / (1.0 + e);
}

void us_softmax(const float *logits, float *probability, int64_t c, int64_t stride, int64_t count) {
    int64_t i, k;
    for (i = 0; i < count; i++) {
        const float *z = logits + i;
        float *p = probability + i;
        if (c == 1) {
            p[0] = (float)logistic((double)z[0]);
        } else if (c == 2) {
            const double margin = (double)z[stride] - (double)z[0]; /* read both first: p may be z */
            p[stride] = (float)logistic(margin);
            p[0] = (float)logistic(-margin);
        } else {
            double most = (double)z[0], sum = 0;
            for (k = 1; k < c; k++)
                most = (double)z[k * stride] > most ? (double)z[k * stride] : most;
            for (k = 0; k < c; k++)
                sum += us_exp((double)z[k * stride] - most);
            for (k = 0; k < c; k++) /* again, so that c has no limit; p may be z */
                p[k * stride] = (float)(us_exp((double)z[k * stride] - most) / sum);
        }
    }
}
