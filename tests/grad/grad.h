/*
 * grad.h - what the gradient tests share: a context, random numbers, memory of a test, and the comparison of a gradient
 * with central differences of a projection.
 */
#ifndef GRAD_H
#define GRAD_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unetstar.h"

/* Fails the running test with the library's own sentence when code is not UNETSTAR_OK. */
#define OK(code) grad_ok((code), __FILE__, __LINE__)
void grad_ok(int code, const char *file, int line);

/* A context with the given threads; instruction sets are limited by the environment's UNETSTAR_ISA, a name as
 * unetstar_context_isa gives it. */
unetstar_context *grad_context(int threads);

/* Random numbers of a test: seeded by grad_seed. */
void grad_seed(uint64_t seed);
double grad_uniform(double low, double high);

/* Floats that live until grad_release, which a test's teardown calls. The random ones are uniform in [low, high). */
float *grad_zeros(int64_t count);
float *grad_random(int64_t count, double low, double high);
/* The values of an even grid in random order, so that all are apart. */
float *grad_apart(int64_t count, double low, double high);
int grad_release(void **state);

/* sum of y r, in double */
double grad_project(const float *y, const float *r, int64_t count);

/* Compares gradient, of the objective by x, with central differences: along random directions, and by some elements
 * alone. The objective is called with x changed and must compute all anew. */
struct grad_check {
    const char *name;
    double (*objective)(void *arg);
    void *arg;
    float *x;
    const float *gradient;
    int64_t count;
    double step, tolerance; /* tolerance: relative to the gradient and its root mean square */
    double least;           /* a smaller root mean square counts as this: where rounding is all there is */
    int quiet;
};
/* The worst difference, in tolerances. */
double grad_distance(const struct grad_check *check);
/* Fails the running test when that is above 1. */
void grad_compare(const struct grad_check *check);

#endif
