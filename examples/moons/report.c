/* report.c - the accuracies as a table, CSV and JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/files.h"
#include "moons.h"

static void statistics(const struct measured *measured, int held_out, double *mean, double *deviation) {
    double sum = 0, square = 0;
    int32_t i;
    for (i = 0; i < measured->count; i++)
        sum += held_out ? measured->results[i].held_out : measured->results[i].training;
    *mean = sum / measured->count;
    for (i = 0; i < measured->count; i++) {
        double away = (held_out ? measured->results[i].held_out : measured->results[i].training) - *mean;
        square += away * away;
    }
    *deviation = measured->count > 1 ? sqrt(square / (measured->count - 1)) : 0;
}

void measured_held_out(const struct measured *measured, double *mean, double *deviation) {
    statistics(measured, 1, mean, deviation);
    *mean *= 100;
    *deviation *= 100;
}

static int32_t failures(const struct measured *measured) {
    int32_t i, sum = 0;
    for (i = 0; i < measured->count; i++)
        sum += measured->results[i].failed;
    return sum;
}

static void range(const struct measured *measured, double *least, double *most) {
    int32_t i;
    *least = *most = measured->results[0].held_out;
    for (i = 1; i < measured->count; i++) {
        double value = measured->results[i].held_out;
        *least = value < *least ? value : *least;
        *most = value > *most ? value : *most;
    }
}

void report_print(const struct measured *all, int32_t count) {
    int32_t k;
    printf("%-28s %10s   %-13s  %-13s %s\n", "", "parameters", "training %", "held out %", "least .. most");
    for (k = 0; k < count; k++) {
        double training, held_out, training_sd, held_out_sd, least, most;
        char parameters[32] = "";
        statistics(&all[k], 0, &training, &training_sd);
        statistics(&all[k], 1, &held_out, &held_out_sd);
        range(&all[k], &least, &most);
        if (all[k].parameters)
            snprintf(parameters, sizeof parameters, "%lld", (long long)all[k].parameters);
        printf("%-28s %10s   %5.1f (%4.1f)   %5.1f (%4.1f)   %5.1f .. %.1f", all[k].title, parameters, 100 * training,
               100 * training_sd, 100 * held_out, 100 * held_out_sd, 100 * least, 100 * most);
        if (failures(&all[k]))
            printf("   %ld of %ld did not %s", (long)failures(&all[k]), (long)all[k].count,
                   all[k].parameters ? "end: the loss overflowed" : "converge");
        printf("\n");
    }
}

int report_write_csv(const char *path, const struct measured *all, int32_t count, struct problem *problem) {
    struct outfile file;
    int32_t k, i;
    if (outfile_open(&file, path, problem))
        return -1;
    fprintf(file.stream, "variant,seed,parameters,training_accuracy,held_out_accuracy,failed\n");
    for (k = 0; k < count; k++)
        for (i = 0; i < all[k].count; i++)
            fprintf(file.stream, "%s,%llu,%lld,%.6f,%.6f,%d\n", all[k].name, (unsigned long long)all[k].results[i].seed,
                    (long long)all[k].parameters, all[k].results[i].training, all[k].results[i].held_out,
                    (int)all[k].results[i].failed);
    return outfile_commit(&file, problem);
}

static void write_variant(FILE *stream, const struct measured *measured) {
    double training, held_out, training_sd, held_out_sd;
    int32_t i;
    statistics(measured, 0, &training, &training_sd);
    statistics(measured, 1, &held_out, &held_out_sd);
    fprintf(stream,
            "    {\"name\": \"%s\", \"title\": \"%s\", \"parameters\": %lld, \"failed\": %ld,\n"
            "     \"training\": {\"mean\": %.6f, \"sd\": %.6f}, \"held_out\": {\"mean\": %.6f, \"sd\": %.6f},\n"
            "     \"runs\": [",
            measured->name, measured->title, (long long)measured->parameters, (long)failures(measured), training,
            training_sd, held_out, held_out_sd);
    for (i = 0; i < measured->count; i++)
        fprintf(stream, "%s{\"seed\": %llu, \"training\": %.6f, \"held_out\": %.6f}", i ? ", " : "",
                (unsigned long long)measured->results[i].seed, measured->results[i].training,
                measured->results[i].held_out);
    fprintf(stream, "]}");
}

int report_write_json(const char *path, const char *settings, const struct measured *all, int32_t count,
                      struct problem *problem) {
    struct outfile file;
    int32_t k;
    if (outfile_open(&file, path, problem))
        return -1;
    fprintf(file.stream,
            "{\n  \"program\": \"unetstar-moons\",\n  \"version\": \"%s\",\n  \"settings\": {%s},\n"
            "  \"variants\": [\n",
            unetstar_version_string(), settings);
    for (k = 0; k < count; k++) {
        write_variant(file.stream, &all[k]);
        fprintf(file.stream, "%s\n", k + 1 < count ? "," : "");
    }
    fprintf(file.stream, "  ]\n}\n");
    return outfile_commit(&file, problem);
}
