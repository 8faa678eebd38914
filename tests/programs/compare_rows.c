/* compare_rows.c - reads pictures whole and by rows, and compares the pixels. For each file it prints "rows" (decoded
 * row by row) or "whole", then "same", "differs", or "refused" when both ways refuse the file (and the sentence of the
 * rows').
 *
 *     compare_rows FILE... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/picture_rows.h"

/* Rows in steps of 1, 2, 3, ..., read from the beginning; `count` of them, to begin again at any place. */
static int same_rows(struct picture_rows *rows, const struct picture *whole, int64_t count, struct problem *problem) {
    const size_t line = (size_t)(whole->width * whole->channels) * (size_t)(whole->bits / 8), gap = 16;
    unsigned char *lines = malloc((line + gap) * (size_t)whole->height);
    int64_t y, i, n;
    int same = lines != NULL;
    for (y = 0, n = 1; y < count && same; y += n, n++) {
        n = n < count - y ? n : count - y;
        if (picture_rows_read(rows, y, n, lines, (int64_t)(line + gap), problem)) {
            free(lines);
            return -1;
        }
        for (i = 0; i < n && same; i++)
            same = !memcmp(lines + (size_t)i * (line + gap), whole->data + (size_t)(y + i) * line, line);
    }
    free(lines);
    return same;
}

static int same_row(struct picture_rows *rows, const struct picture *whole, int64_t y, struct problem *problem) {
    const size_t line = (size_t)(whole->width * whole->channels) * (size_t)(whole->bits / 8);
    unsigned char *one = malloc(line);
    int same =
        one && !picture_rows_read(rows, y, 1, one, 0, problem) && !memcmp(one, whole->data + (size_t)y * line, line);
    free(one);
    return same;
}

static const char *compare(struct picture_rows *rows, const struct picture *whole, struct problem *problem) {
    const struct picture *info = picture_rows_info(rows);
    int same = info->width == whole->width && info->height == whole->height && info->channels == whole->channels &&
               info->bits == whole->bits;
    /* All, the first half twice as after passes that broke off, one in the middle, all again, the last alone. */
    same = same ? same_rows(rows, whole, whole->height, problem) : same;
    same = same > 0 ? same_rows(rows, whole, (whole->height + 1) / 2, problem) : same;
    same = same > 0 ? same_row(rows, whole, whole->height / 3, problem) : same;
    same = same > 0 ? same_rows(rows, whole, whole->height, problem) : same;
    same = same > 0 ? same_row(rows, whole, whole->height - 1, problem) : same;
    return same > 0 ? "same" : same ? "refused by rows" : "differs";
}

int main(int argc, char **argv) {
    int i, failed = 0;
    for (i = 1; i < argc; i++) {
        struct picture whole = {0};
        struct picture_rows *rows = NULL;
        struct problem first = {""}, second = {""};
        const char *verdict;
        int read = picture_read(&whole, argv[i], &first), opened = picture_rows_open(&rows, argv[i], &second);
        const char *how = opened ? "-" : picture_rows_info(rows)->data ? "whole" : "rows";
        if (read && !opened) { /* damage may lie behind the header */
            const struct picture *info = picture_rows_info(rows);
            unsigned char *line = malloc((size_t)(info->width * info->channels) * (size_t)(info->bits / 8));
            int64_t y;
            for (y = 0; line && y < info->height && !opened; y++)
                opened = picture_rows_read(rows, y, 1, line, 0, &second);
            verdict = opened ? "refused" : "refused whole only";
            free(line);
        } else
            verdict = read ? "refused" : opened ? "refused by rows" : compare(rows, &whole, &second);
        failed |= strcmp(verdict, "same") && strcmp(verdict, "refused");
        printf("%s\t%s\t%s\t%s\t%s\n", argv[i], how, verdict, second.text, first.text);
        picture_rows_close(rows);
        picture_free(&whole);
    }
    return failed;
}
