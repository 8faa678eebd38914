/* grad.c - the gradient tests' helpers. */
#include "grad.h"

#define MAX_BUFFERS 256
#define DIRECTIONS 3
#define ELEMENTS 12

/* ---- Errors, context ---- */

void grad_ok(int code, const char *file, int line) {
    if (code != UNETSTAR_OK) {
        print_error("%s:%d: error %d: %s\n", file, line, code, unetstar_last_error());
        _fail(file, line);
    }
}

static int32_t isa_limit(void) {
    static const char *const names[] = {"best", "reference", "reference+fma", "avx2", "avx512", "neon"};
    const char *wanted = getenv("UNETSTAR_ISA");
    int32_t i;
    if (!wanted || !*wanted)
        return UNETSTAR_ISA_BEST;
    for (i = 0; i < (int32_t)(sizeof names / sizeof names[0]); i++)
        if (!strcmp(wanted, names[i]))
            return i;
    fail_msg("UNETSTAR_ISA is \"%s\", which is no instruction set", wanted);
    return 0;
}

unetstar_context *grad_context(int threads) {
    unetstar_context_options options;
    unetstar_context *context = NULL;
    OK(unetstar_context_options_init(&options, sizeof options));
    options.n_threads = threads;
    options.isa_limit = isa_limit();
    OK(unetstar_context_create(&context, &options));
    return context;
}

/* ---- Random numbers (splitmix64) and buffers ---- */

static uint64_t seed_state;
static float *buffers[MAX_BUFFERS];
static int n_buffers;

void grad_seed(uint64_t seed) {
    seed_state = seed;
}

static uint64_t next_random(void) {
    uint64_t z = seed_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double grad_uniform(double low, double high) {
    return low + (high - low) * ((double)(next_random() >> 11) / 9007199254740992.0);
}

float *grad_zeros(int64_t count) {
    float *p = (float *)calloc((size_t)count, sizeof *p);
    assert_non_null(p);
    assert_true(n_buffers < MAX_BUFFERS);
    return buffers[n_buffers++] = p;
}

float *grad_random(int64_t count, double low, double high) {
    float *p = grad_zeros(count);
    int64_t i;
    for (i = 0; i < count; i++)
        p[i] = (float)grad_uniform(low, high);
    return p;
}

float *grad_apart(int64_t count, double low, double high) {
    float *p = grad_zeros(count);
    int64_t i;
    for (i = 0; i < count; i++)
        p[i] = (float)(low + (high - low) * ((double)i + 0.37) / (double)count);
    for (i = count - 1; i > 0; i--) {
        const int64_t j = (int64_t)(next_random() % (uint64_t)(i + 1));
        const float t = p[i];
        p[i] = p[j];
        p[j] = t;
    }
    return p;
}

int grad_release(void **state) {
    (void)state;
    while (n_buffers > 0)
        free(buffers[--n_buffers]);
    return 0;
}

/* ---- Central differences ---- */

double grad_project(const float *y, const float *r, int64_t count) {
    double sum = 0;
    int64_t i;
    for (i = 0; i < count; i++)
        sum += (double)y[i] * (double)r[i];
    return sum;
}

/* How far a difference is from the slope, in tolerances. */
static double distance(const struct grad_check *c, const char *what, int64_t index, double difference, double slope,
                       double scale) {
    const double ratio = fabs(difference - slope) / (c->tolerance * (fabs(slope) + scale) + 1e-300);
    if (!(ratio <= 1) && !c->quiet)
        print_error("%s: %s %lld: central difference %.9g, gradient %.9g (tolerance %g of %.3g)\n", c->name, what,
                    (long long)index, difference, slope, c->tolerance, fabs(slope) + scale);
    return ratio == ratio ? ratio : INFINITY;
}

static double root_mean_square(const struct grad_check *c) {
    return fmax(c->least, sqrt(grad_project(c->gradient, c->gradient, c->count) / (double)c->count));
}

/* x = saved + side * step * sign, and back; the direction's slope is taken with what float arithmetic made of the step.
 */
static double check_direction(const struct grad_check *c, int64_t number, const float *saved, float *up, float *down) {
    double difference, slope = 0;
    int64_t i;
    for (i = 0; i < c->count; i++) {
        const double d = next_random() & 1 ? c->step : -c->step;
        up[i] = (float)((double)saved[i] + d);
        down[i] = (float)((double)saved[i] - d);
        slope += (double)c->gradient[i] * ((double)up[i] - (double)down[i]);
    }
    memcpy(c->x, up, (size_t)c->count * sizeof *up);
    difference = c->objective(c->arg);
    memcpy(c->x, down, (size_t)c->count * sizeof *down);
    difference -= c->objective(c->arg);
    memcpy(c->x, saved, (size_t)c->count * sizeof *saved);
    return distance(c, "direction", number, difference, slope,
                    2 * c->step * root_mean_square(c) * sqrt((double)c->count));
}

static double check_element(const struct grad_check *c, int64_t i) {
    const float saved = c->x[i], up = (float)((double)saved + c->step), down = (float)((double)saved - c->step);
    double difference;
    c->x[i] = up;
    difference = c->objective(c->arg);
    c->x[i] = down;
    difference -= c->objective(c->arg);
    c->x[i] = saved;
    difference /= (double)up - (double)down;
    return distance(c, "element", i, difference, (double)c->gradient[i], root_mean_square(c));
}

double grad_distance(const struct grad_check *c) {
    float *saved = (float *)malloc((size_t)c->count * sizeof *saved);
    float *up = (float *)malloc((size_t)c->count * sizeof *up),
          *down = (float *)malloc((size_t)c->count * sizeof *down);
    double worst = 0;
    int64_t i, k;
    assert_true(saved && up && down);
    memcpy(saved, c->x, (size_t)c->count * sizeof *saved);
    for (i = 0; i < DIRECTIONS; i++)
        worst = fmax(worst, check_direction(c, i, saved, up, down));
    for (k = 0; k < ELEMENTS; k++) {
        const int64_t element = c->count <= ELEMENTS ? k % c->count : (int64_t)(next_random() % (uint64_t)c->count);
        worst = fmax(worst, check_element(c, element));
    }
    free(saved);
    free(up);
    free(down);
    return worst;
}

void grad_compare(const struct grad_check *c) {
    if (grad_distance(c) > 1)
        fail_msg("%s: the gradient is wrong", c->name);
}
