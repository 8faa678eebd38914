/* picture_rows.h - pictures row by row, for those that need not lie in memory whole.
 *
 * In: PNG (libpng), PGM and PPM, also gzipped (zlib), and TIFF (libtiff) are decoded a row at a time, where the build
 * has the library and the file is of a plain kind: a PNG that is not interlaced, a TIFF in strips of gray or R G B
 * samples. All other files are decoded whole and handed out by rows. Out: PNG through libpng; without it rows are
 * collected and encoded at the end. The pixels are those of picture_read and picture_write_png. */
#ifndef EXAMPLES_PICTURE_ROWS_H
#define EXAMPLES_PICTURE_ROWS_H

#include "picture.h"

struct picture_rows;

/* Opens a file and reads its header. *rows is the caller's to close. */
int picture_rows_open(struct picture_rows **rows, const char *path, struct problem *problem);
/* Rows [y, y + n) into n lines `stride` bytes apart. Any y will do, but only ascending ones are cheap: going back
 * begins the file again. With the last row the end of the file is checked too. */
int picture_rows_read(struct picture_rows *rows, int64_t y, int64_t n, void *lines, int64_t stride,
                      struct problem *problem);
/* Size and format of the picture; its data is NULL unless it was decoded whole. It stays the reader's. */
const struct picture *picture_rows_info(const struct picture_rows *rows);
/* Closes a reader that decoded its file whole and gives that picture, the caller's to free; 0 when it reads by rows. */
int picture_rows_take(struct picture_rows *rows, struct picture *picture);
void picture_rows_close(struct picture_rows *rows);
/* The kinds of files read row by row in this build, for a help text. */
const char *picture_rows_formats(void);

struct png_rows;

/* A PNG beside its place: nothing of that name is there until png_rows_commit. */
int png_rows_open(struct png_rows **rows, const char *path, int64_t width, int64_t height, int32_t channels,
                  int32_t bits, struct problem *problem);
/* The next row, packed, native-endian. */
int png_rows_write(struct png_rows *rows, const void *line, struct problem *problem);
/* After the last row: everything goes to the disk, under the temporary name still. A commit does it too. */
int png_rows_finish(struct png_rows *rows, struct problem *problem);
/* Both free the writer, whatever comes of it. A commit before the last row is an error. */
int png_rows_commit(struct png_rows *rows, struct problem *problem);
void png_rows_abandon(struct png_rows *rows); /* NULL: nothing */

#endif
