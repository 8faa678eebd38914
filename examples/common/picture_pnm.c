/* picture_pnm.c - PGM and PPM (P5, P6): STARE's format. */
#include <stdlib.h>

#include "picture_codecs.h"

/* Next number of the header, after white space and comments; -1 when there is none. */
static long long header_number(const struct bytes *file, size_t *at) {
    long long value = 0;
    int digits = 0;
    for (; *at < file->size; ++*at) {
        unsigned char c = file->data[*at];
        if (c == '#')
            while (*at + 1 < file->size && file->data[*at + 1] != '\n')
                ++*at;
        else if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            break;
    }
    for (; *at < file->size && file->data[*at] >= '0' && file->data[*at] <= '9' && digits < 10; ++*at, digits++)
        value = value * 10 + (file->data[*at] - '0');
    return digits ? value : -1;
}

void picture_pnm_convert(void *line, int32_t bits, const unsigned char *from, size_t count, unsigned max) {
    uint16_t *wide = line;
    unsigned char *narrow = line;
    unsigned full = bits == 16 ? 65535 : 255;
    size_t i;
    for (i = 0; i < count; i++) {
        unsigned v = max > 255 ? (unsigned)from[2 * i] << 8 | from[2 * i + 1] : from[i];
        v = v > max ? full : (unsigned)(((unsigned long long)v * full + max / 2) / max);
        if (bits == 16)
            wide[i] = (uint16_t)v;
        else
            narrow[i] = (unsigned char)v;
    }
}

int picture_pnm_header(struct picture *picture, const struct bytes *file, size_t *pixels, unsigned *max,
                       struct problem *problem) {
    size_t at = 2;
    long long width = header_number(file, &at), height = header_number(file, &at), most = header_number(file, &at);
    if (width < 0 || height < 0 || most < 1 || most > 65535)
        return problem_set(problem, "cannot read %s: the file is damaged (its header makes no sense)", file->path);
    picture->width = width;
    picture->height = height;
    picture->channels = file->data[1] == '6' ? 3 : 1;
    picture->bits = most > 255 ? 16 : 8;
    *max = (unsigned)most;
    *pixels = at + 1; /* after the one white space */
    return 0;
}

int picture_decode_pnm(struct picture *picture, const struct bytes *file, struct problem *problem) {
    size_t at, count, wanted;
    unsigned max;
    if (picture_pnm_header(picture, file, &at, &max, problem) ||
        picture_check_size(file->path, picture->width, picture->height, problem))
        return -1;
    count = (size_t)(picture->width * picture->height) * (size_t)picture->channels;
    wanted = count * (size_t)(picture->bits / 8);
    if (at > file->size || file->size - at < wanted)
        return problem_set(problem, "cannot read %s: the file is damaged (it ends too early)", file->path);
    picture->data = malloc(wanted);
    if (!picture->data)
        return problem_set(problem, "cannot read %s: out of memory", file->path);
    picture_pnm_convert(picture->data, picture->bits, file->data + at, count, max);
    return 0;
}
