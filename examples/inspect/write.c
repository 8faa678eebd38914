/* write.c - what unetstar-inspect has found, as CSV (one number a row) and JSON. Both are made of one list of
 * numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/files.h"
#include "common/json.h"
#include "inspect.h"

/* A number: of which part, which row of its table (-1: of none), where in it, its name. */
typedef void (*number_fn)(FILE *stream, const char *part, int row, const char *place, const char *name, double value);

static void each_memory(FILE *stream, number_fn each, const char *plan, const unetstar_workspace *m) {
    each(stream, "memory", -1, plan, "maps", (double)m->maps);
    each(stream, "memory", -1, plan, "scratch", (double)m->scratch);
    each(stream, "memory", -1, plan, "weights", (double)m->weights);
    each(stream, "memory", -1, plan, "total", (double)m->total);
}

static void each_feature(FILE *stream, number_fn each, int k, const char *place, const unetstar_features *f) {
    each(stream, "features", k, place, "pixels", (double)f->pixels);
    each(stream, "features", k, place, "channels", (double)f->channels);
    each(stream, "features", k, place, "effective_rank", f->effective_rank);
    each(stream, "features", k, place, "stable_rank", f->stable_rank);
    each(stream, "features", k, place, "participation_ratio", f->participation_ratio);
    each(stream, "features", k, place, "mean", f->mean);
    each(stream, "features", k, place, "variance", f->variance);
    each(stream, "features", k, place, "skewness", f->skewness);
    each(stream, "features", k, place, "kurtosis", f->kurtosis);
    each(stream, "features", k, place, "beyond_4_sigma", f->beyond_4_sigma);
    each(stream, "features", k, place, "beyond_6_sigma", f->beyond_6_sigma);
}

/* A degree of -1 is none. */
static double degree_or_nan(int64_t degree) {
    return degree < 0 ? NAN : (double)degree;
}

static void each_check(FILE *stream, number_fn each, const char *how, const unetstar_degree_check *c,
                       int32_t max_degree) {
    int d;
    each(stream, "degree_check", -1, how, "degree", degree_or_nan(c->degree));
    each(stream, "degree_check", -1, how, "level", c->level);
    each(stream, "degree_check", -1, how, "variation", c->variation);
    each(stream, "degree_check", -1, how, "changed_maxima", c->changed_maxima);
    each(stream, "degree_check", -1, how, "changed_activations", c->changed_activations);
    for (d = 0; d <= max_degree; d++)
        each(stream, "degree_check", d, how, "residual", c->residual[d]);
}

static void each_number(const struct inspection *found, FILE *stream, number_fn each) {
    const unetstar_degree *d = &found->degree;
    int k, p;
    each(stream, "model", -1, "", "parameters", (double)unetstar_model_parameter_count(found->model));
    each_memory(stream, each, "whole", &found->memory);
    if (found->has_stream)
        each_memory(stream, each, "stream", &found->stream_memory);
    each(stream, "model", -1, "", "degree", degree_or_nan(d->degree));
    for (k = 0; k < d->n_fusions; k++) {
        each(stream, "fusions", k, "", "channels", (double)d->fusion_width[k]);
        each(stream, "fusions", k, "", "degree", degree_or_nan(d->fusion_degree[k]));
        each(stream, "fusions", k, "", "log10_exact", d->log10_exact[k]);
        each(stream, "fusions", k, "", "log10_paper", d->log10_paper[k]);
    }
    if (!found->image_path)
        return;
    for (k = 0; k < d->n_fusions; k++)
        for (p = 0; p < PLACES; p++)
            each_feature(stream, each, k, inspect_places[p], &found->features[k][p]);
    each_check(stream, each, "frozen", &found->frozen, found->check_options.max_degree);
    each_check(stream, each, "free", &found->free, found->check_options.max_degree);
    if (!found->label_path)
        return;
    each(stream, "gradients", -1, "", "loss", found->gradients.loss);
    each(stream, "gradients", -1, "", "saturated", found->gradients.saturated);
    for (k = 0; k < found->gradients.n_fusions; k++) {
        each(stream, "gradients", k, "fused", "norm", found->gradients.fused[k]);
        each(stream, "gradients", k, "main", "norm", found->gradients.main[k]);
        each(stream, "gradients", k, "skip", "norm", found->gradients.skip[k]);
    }
}

static void csv_number(FILE *stream, const char *part, int row, const char *place, const char *name, double value) {
    fprintf(stream, "%s,", part);
    if (row >= 0)
        fprintf(stream, "%d", row);
    fprintf(stream, ",%s,%s,", place, name);
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
    fputc('\n', stream);
}

int inspect_write_csv(const struct inspection *found, const char *path, struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("part,row,place,name,value\n", file.stream);
    each_number(found, file.stream, csv_number);
    return outfile_commit(&file, problem);
}

static void json_number(FILE *stream, const char *part, int row, const char *place, const char *name, double value) {
    fprintf(stream, ",\n    {\"part\": \"%s\"", part);
    if (row >= 0)
        fprintf(stream, ", \"row\": %d", row);
    if (place[0])
        fprintf(stream, ", \"place\": \"%s\"", place);
    fprintf(stream, ", \"name\": \"%s\", \"value\": ", name);
    json_write_number(stream, value);
    fputc('}', stream);
}

static void json_option(void *user, const char *name, const char *value) {
    FILE *stream = (FILE *)user;
    fprintf(stream, ",\n    \"%s\": ", name);
    json_write_text(stream, value);
}

static void json_member(FILE *stream, const char *key, const char *value) {
    if (!value)
        return;
    fprintf(stream, "  \"%s\": ", key);
    json_write_text(stream, value);
    fputs(",\n", stream);
}

int inspect_write_json(const struct inspection *found, const char *path, struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    fputs("{\n", file.stream);
    json_member(file.stream, "program", "unetstar-inspect");
    json_member(file.stream, "version", unetstar_version_string());
    fprintf(file.stream, "  \"numerics_version\": %d,\n", (int)unetstar_numerics_version());
    json_member(file.stream, "model", found->model_path);
    json_member(file.stream, "image", found->image_path);
    json_member(file.stream, "label", found->label_path);
    fputs("  \"options\": {\n    \"network\": \"u-net\"", file.stream);
    inspect_options(found->model, json_option, file.stream);
    fprintf(file.stream, "\n  },\n  \"numbers\": [\n    {\"part\": \"memory\", \"name\": \"width\", \"value\": %lld}",
            (long long)found->width);
    json_number(file.stream, "memory", -1, "", "height", (double)found->height);
    each_number(found, file.stream, json_number);
    fputs("\n  ]\n}\n", file.stream);
    return outfile_commit(&file, problem);
}
