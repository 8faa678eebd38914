/* rows.c - a photograph of which only some rows are in memory: the session asks one reader for them, and the
 * sink takes the finished rows, which a second reader accompanies with the photograph's for the overlay. */
#include <stdlib.h>

#include "common/score.h"
#include "segment.h"

struct stream {
    struct picture_rows *photo;  /* what the session reads */
    struct picture_rows *behind; /* the same file for the overlay, or NULL */
    struct results results;
    void *line; /* a row of the photograph */
    float *probability;
    int64_t channels;
    struct watched *watched;
    struct problem *problem;
    int failed; /* one of ours: the sentence is written already */
};

static int read_rows(void *user, int64_t y, int64_t n, void *rows, int64_t row_stride) {
    struct stream *stream = user;
    if (!picture_rows_read(stream->photo, y, n, rows, row_stride, stream->problem))
        return 0;
    stream->failed = 1;
    return -1;
}

static int write_row(struct stream *stream, int64_t y, const float *row) {
    const int64_t width = stream->results.format.width;
    int64_t x;
    for (x = 0; x < width; x++)
        stream->probability[x] = row[x];
    vessel_probability(stream->probability, stream->channels, width);
    if (stream->behind && picture_rows_read(stream->behind, y, 1, stream->line, 0, stream->problem))
        return -1;
    return results_row(&stream->results, stream->probability, stream->line, stream->problem);
}

static int write_rows(void *user, int64_t y, int64_t n, const float *rows) {
    struct stream *stream = user;
    const struct watched *watched = stream->watched;
    const struct picture *format = &stream->results.format;
    int64_t i;
    for (i = 0; i < n; i++)
        if (write_row(stream, y + i, rows + i * stream->channels * format->width)) {
            stream->failed = 1;
            return -1;
        }
    if (100 * (y + n) >= format->height) /* before, the time left would be guessed from one row */
        bar_update(watched->bar, watched->first + watched->share * (double)(y + n) / (double)format->height,
                   watched->name);
    return 0;
}

static int open_stream(struct stream *stream, const struct run *run, const char *path, const char *name,
                       struct problem *problem) {
    const struct picture *format = picture_rows_info(stream->photo);
    if (run->settings.overlay) {
        /* A picture that is in memory anyway is not read twice. */
        if (format->data)
            stream->behind = stream->photo;
        else if (picture_rows_open(&stream->behind, path, problem))
            return -1;
    }
    stream->line = malloc((size_t)(format->width * format->channels) * (size_t)(format->bits / 8));
    stream->probability = malloc((size_t)format->width * sizeof *stream->probability);
    if (!stream->line || !stream->probability)
        return problem_set(problem, "%s: out of memory", name);
    return results_open(&stream->results, run, name, format, problem);
}

static int run_session(struct stream *stream, const struct run *run, const char *path, struct problem *problem) {
    const struct picture *format = picture_rows_info(stream->photo);
    unetstar_source source;
    int error;
    unetstar_source_init(&source, sizeof source);
    source.read_rows = read_rows;
    source.user = stream;
    source.width = format->width;
    source.height = format->height;
    source.channels = format->channels;
    source.bits = format->bits;
    error = unetstar_session_run_rows(run->session, &source, write_rows, stream, run->launch.cancel);
    if (stream->failed)
        return -1;
    return error ? problem_from_library(problem, path, error) : 0;
}

int segment_rows(struct run *run, struct picture_rows *photo, const char *path, const char *name,
                 struct watched *watched, struct problem *problem) {
    struct stream stream = {0};
    int result;
    stream.photo = photo;
    stream.channels = unetstar_session_channels(run->session);
    stream.watched = watched;
    stream.problem = problem;
    result = open_stream(&stream, run, path, name, problem);
    if (!result)
        result = run_session(&stream, run, path, problem);
    if (!result)
        result = results_commit(&stream.results, problem);
    results_abandon(&stream.results);
    if (stream.behind != photo)
        picture_rows_close(stream.behind);
    free(stream.line);
    free(stream.probability);
    return result;
}
