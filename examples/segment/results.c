/* results.c - the pictures that come of a photograph, row by row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/overlay.h"
#include "common/score.h"
#include "segment.h"

static int open_one(struct png_rows **rows, const struct results *results, const char *name, const char *kind,
                    int32_t channels, int32_t bits, struct problem *problem) {
    char *file = must_format("%s-%s.png", name, kind), *path = path_join(results->settings->out, file);
    int result = png_rows_open(rows, path, results->format.width, results->format.height, channels, bits, problem);
    free(path);
    free(file);
    return result;
}

int results_open(struct results *results, const struct run *run, const char *name, const struct picture *format,
                 struct problem *problem) {
    const struct settings *settings = &run->settings;
    memset(results, 0, sizeof *results);
    results->settings = settings;
    results->name = name;
    results->cancel = run->launch.cancel;
    results->format = *format;
    results->format.data = NULL;
    results->line = malloc((size_t)format->width * 3);
    if (!results->line)
        return problem_set(problem, "%s: out of memory", name);
    if ((settings->probability &&
         open_one(&results->probability, results, name, "probability", 1, settings->bits, problem)) ||
        (settings->vessels && open_one(&results->vessels, results, name, "vessels", 1, 8, problem)) ||
        (settings->overlay && open_one(&results->overlay, results, name, "overlay", 3, 8, problem))) {
        results_abandon(results);
        return -1;
    }
    return 0;
}

int results_row(struct results *results, const float *probability, const void *photo, struct problem *problem) {
    const struct settings *settings = results->settings;
    const int64_t width = results->format.width;
    uint8_t *binary = results->line;
    int64_t x;
    if (unetstar_cancel_requested(results->cancel))
        return problem_set(problem, "interrupted");
    for (x = 0; x < width; x++)
        if (isnan(probability[x])) /* would be black, as if there were no vessels */
            return problem_set(problem, "%s: the network gives no numbers (NaN) for it; its weights are not finite or too "
                                        "large", results->name);
    if (results->probability) {
        probability_samples(results->line, probability, width, settings->bits);
        if (png_rows_write(results->probability, results->line, problem))
            return -1;
    }
    if (results->vessels) {
        for (x = 0; x < width; x++)
            binary[x] = (double)probability[x] >= settings->threshold ? 255 : 0;
        if (png_rows_write(results->vessels, results->line, problem))
            return -1;
    }
    if (results->overlay) {
        overlay_vessels_row(results->line, photo, results->format.channels, results->format.bits, probability, width,
                            settings->threshold);
        if (png_rows_write(results->overlay, results->line, problem))
            return -1;
    }
    return 0;
}

/* Commits one file and forgets it, whatever comes of it. */
static int commit_one(struct png_rows **rows, struct problem *problem) {
    struct png_rows *file = *rows;
    *rows = NULL;
    return file ? png_rows_commit(file, problem) : 0;
}

int results_commit(struct results *results, struct problem *problem) {
    int result = 0;
    if ((results->probability && png_rows_finish(results->probability, problem)) ||
        (results->vessels && png_rows_finish(results->vessels, problem)) ||
        (results->overlay && png_rows_finish(results->overlay, problem)))
        result = -1;
    if (!result)
        result = commit_one(&results->probability, problem);
    if (!result)
        result = commit_one(&results->vessels, problem);
    if (!result)
        result = commit_one(&results->overlay, problem);
    results_abandon(results);
    return result;
}

void results_abandon(struct results *results) {
    png_rows_abandon(results->probability);
    png_rows_abandon(results->vessels);
    png_rows_abandon(results->overlay);
    free(results->line);
    memset(results, 0, sizeof *results);
}
