/* print.c - aligned tables of what unetstar-inspect has found. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect.h"

struct columns {
    int count, gap; /* on this line; blanks before the next text */
};

static void print_option(void *user, const char *name, const char *value) {
    struct columns *columns = (struct columns *)user;
    char text[96];
    snprintf(text, sizeof text, "%s %s", name, value);
    if (columns->count == 3) {
        printf("\n");
        columns->count = columns->gap = 0;
    }
    printf("%*s  %s", columns->gap, "", text);
    columns->gap = strlen(text) < 30 ? 30 - (int)strlen(text) : 0;
    columns->count++;
}

static void print_memory(const char *plan, const unetstar_workspace *m) {
    printf("  %-12s%10.1f%10.1f%10.1f%10.1f\n", plan, (double)m->maps / 1e6, (double)m->scratch / 1e6,
           (double)m->weights / 1e6, (double)m->total / 1e6);
}

static void print_calibration(const unetstar_model *model) {
    unetstar_calibration c;
    memset(&c, 0, sizeof c);
    c.struct_size = sizeof c;
    if (!unetstar_model_get_calibration(model, &c) && c.calibrated)
        printf("\n\ncalibrated for 8 bits, %d of %d convolutions in float", c.in_float, c.convolutions);
}

static void print_model(const struct inspection *found) {
    struct columns columns = {0, 0};
    printf("%s: %lld parameters\n\n", found->model_path, (long long)unetstar_model_parameter_count(found->model));
    inspect_options(found->model, print_option, &columns);
    print_calibration(found->model);
    printf("\n\nMemory to segment %lld x %lld pixels, MB\n", (long long)found->width, (long long)found->height);
    printf("  %-12s%10s%10s%10s%10s\n", "plan", "maps", "scratch", "weights", "total");
    print_memory("whole image", &found->memory);
    if (found->has_stream)
        print_memory("by rows", &found->stream_memory);
}

/* A number that may be missing. */
static void print_number(int width, int digits, double value) {
    if (isnan(value))
        printf("%*s", width, "-");
    else
        printf("%*.*f", width, digits, value);
}

static void print_degree(int width, int64_t degree) {
    if (degree < 0)
        printf("%*s", width, "-");
    else
        printf("%*lld", width, (long long)degree);
}

static void print_fusions(const struct inspection *found) {
    const unetstar_degree *d = &found->degree;
    int k;
    printf("\nFusions, the coarsest first: degree along the graph; log10 of the implicit dimension\n");
    printf("  %2s  %-18s%9s%8s%10s%10s\n", "#", "read by", "channels", "degree", "exact", "paper");
    for (k = 0; k < d->n_fusions; k++) {
        printf("  %2d  %-18s%9lld", k, found->layers[k], (long long)d->fusion_width[k]);
        print_degree(8, d->fusion_degree[k]);
        print_number(10, 2, d->log10_exact[k]);
        print_number(10, 2, d->log10_paper[k]);
        printf("\n");
    }
    printf("  %2s  %-18s%9s", "", "out", "");
    print_degree(8, d->degree);
    printf("\n");
}

static void print_features(const struct inspection *found) {
    int k, p;
    printf("\nFeatures of %s, %lld x %lld pixels\n", found->image_path, (long long)found->width,
           (long long)found->height);
    printf("  %2s  %-8s%9s%8s%11s%8s%15s%12s%10s%10s\n", "#", "place", "channels", "pixels", "eff. rank", "stable",
           "participation", "kurtosis", "> 4 sd", "> 6 sd");
    for (k = 0; k < found->degree.n_fusions; k++)
        for (p = 0; p < PLACES; p++) {
            const unetstar_features *f = &found->features[k][p];
            printf("  %2d  %-8s%9lld%8lld", k, inspect_places[p], (long long)f->channels, (long long)f->pixels);
            print_number(11, 2, f->effective_rank);
            print_number(8, 2, f->stable_rank);
            print_number(15, 2, f->participation_ratio);
            print_number(12, 2, f->kurtosis);
            printf("%9.4f%%%9.4f%%\n", 100 * f->beyond_4_sigma, 100 * f->beyond_6_sigma);
        }
}

static void print_found(const char *how, const unetstar_degree_check *c, int32_t max_degree) {
    char text[48] = "none";
    if (c->degree >= 0)
        snprintf(text, sizeof text, "degree %d", (int)c->degree);
    else
        snprintf(text, sizeof text, "no degree up to %d", (int)max_degree);
    printf("  %s maxima: %s; %.3g%% of the pooling windows", how, text, 100 * c->changed_maxima);
    printf(" and %.3g%% of the activations change\n", 100 * c->changed_activations);
}

static void print_check(const struct inspection *found) {
    const unetstar_degree_check_options *o = &found->check_options;
    int d;
    printf("\nDegree along the ray t x, t = %g .. %g, of the %d x %d pixels in the middle (tolerance %g)\n",
           1 - o->range, 1 + o->range, found->check_width, found->check_height, o->tolerance);
    print_found("frozen", &found->frozen, o->max_degree);
    print_found("free", &found->free, o->max_degree);
    printf("  what a fit leaves of the logits' variation\n");
    printf("  %6s%12s%12s\n", "degree", "frozen", "free");
    for (d = 0; d <= o->max_degree; d++)
        printf("  %6d%12.2e%12.2e\n", d, found->frozen.residual[d], found->free.residual[d]);
}

static void print_gradients(const struct inspection *found) {
    const unetstar_branch_gradients *g = &found->gradients;
    int k;
    printf("\nGradient of the cross-entropy, %.4f, in %d patch%s of %d x %d pixels; %.2f%% of them above 0.999\n",
           g->loss, (int)found->patches, found->patches == 1 ? "" : "es", found->patch_width, found->patch_height,
           100 * g->saturated);
    printf("  %2s%12s%12s%12s%13s\n", "#", "fused", "main", "skip", "main / skip");
    for (k = 0; k < g->n_fusions; k++)
        printf("  %2d%12.3e%12.3e%12.3e%13.3g\n", k, g->fused[k], g->main[k], g->skip[k], g->main[k] / g->skip[k]);
}

int inspect_print(const struct inspection *found, struct problem *problem) {
    print_model(found);
    print_fusions(found);
    if (found->image_path) {
        print_features(found);
        print_check(found);
    }
    if (found->label_path)
        print_gradients(found);
    return fflush(stdout) ? problem_set(problem, "cannot write to the standard output") : 0;
}
