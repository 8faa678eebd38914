/* picture_rows_codecs.h - what the readers behind picture_rows.h share: one struct, three functions a format. */
#ifndef EXAMPLES_PICTURE_ROWS_CODECS_H
#define EXAMPLES_PICTURE_ROWS_CODECS_H

#include "picture_codecs.h"
#include "picture_rows.h"

/* `state` belongs to the format. start and next fail with a sentence; stop may be called at any time after start, also
 * after a failed one, and start again after stop. */
struct rows_format {
    /* Opens the file and fills rows->picture's size. ROWS_UNFIT: sound so far, but to be decoded whole. */
    int (*start)(struct picture_rows *rows, struct problem *problem);
    /* The next row, width * channels samples. */
    int (*next)(struct picture_rows *rows, void *line, struct problem *problem);
    /* After the last row: what the file's end has to say. */
    int (*finish)(struct picture_rows *rows, struct problem *problem);
    void (*stop)(struct picture_rows *rows);
};
enum { ROWS_UNFIT = 1 };

struct picture_rows {
    const struct rows_format *format; /* NULL: picture holds all */
    void *state;
    char *path;
    struct picture picture;
    void *skipped; /* a line for rows nobody wants */
    int64_t at;    /* the row that comes next */
};

/* NULL in a build without the library. */
extern const struct rows_format *const rows_format_png, *const rows_format_pnm, *const rows_format_tiff;

#endif
