/* picture_check.c - the damage that stb_image forgives (it fills what is missing with gray, silently) or trips over. */
#include <string.h>

#include "picture_codecs.h"

static int damaged(const struct bytes *file, const char *how, struct problem *problem) {
    return problem_set(problem, "cannot read %s: the file is damaged (%s)", file->path, how);
}

static const char cut_off[] = "it ends too early";

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc32_of(const unsigned char *data, size_t size) {
    uint32_t table[256], crc = 0xffffffffu, i;
    size_t at;
    int bit;
    for (i = 0; i < 256; i++) {
        table[i] = i;
        for (bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? 0xedb88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    for (at = 0; at < size; at++)
        crc = table[(crc ^ data[at]) & 255] ^ crc >> 8;
    return ~crc;
}

static int check_png(const struct bytes *file, struct problem *problem) {
    size_t at = 8;
    for (;;) {
        const unsigned char *chunk = file->data + at;
        size_t left = file->size - at, length;
        if (left < 12)
            return damaged(file, cut_off, problem);
        length = big_endian(chunk);
        if (length > left - 12)
            return damaged(file, cut_off, problem);
        if (at == 8 && (length != 13 || memcmp(chunk + 4, "IHDR", 4)))
            return damaged(file, "its header is missing", problem);
        if (crc32_of(chunk + 4, length + 4) != big_endian(chunk + 8 + length))
            return damaged(file, "a checksum does not fit", problem);
        if (at == 8 && picture_check_size(file->path, big_endian(chunk + 8), big_endian(chunk + 12), problem))
            return -1;
        if (!memcmp(chunk + 4, "IEND", 4))
            return 0;
        at += 12 + length;
    }
}

/* A segment of Huffman tables. stb_image 2.27 writes behind its arrays when a table has more than 256 codes, and reads
 * on behind the segment when tables and segment do not end together. */
static int sound_jpeg_tables(const unsigned char *segment, size_t length) {
    size_t at = 2, codes;
    int i;
    while (at < length) {
        if (length - at < 17)
            return 0;
        for (i = 1, codes = 0; i <= 16; i++)
            codes += segment[at + (size_t)i];
        if (codes > 256 || codes > length - at - 17)
            return 0;
        at += 17 + codes;
    }
    return 1;
}

/* Moves behind compressed data to the next marker: 0xff that no 0x00 and no restart number follows. */
static size_t skip_jpeg_scan(const struct bytes *file, size_t at) {
    while (at + 1 < file->size) {
        unsigned char next = file->data[at + 1];
        if (file->data[at] == 0xff && next != 0 && (next < 0xd0 || next > 0xd7))
            break;
        at++;
    }
    return at;
}

static int check_jpeg(const struct bytes *file, struct problem *problem) {
    const unsigned char *data = file->data;
    size_t at = 2, length;
    for (;;) {
        if (file->size - at < 2)
            return damaged(file, cut_off, problem);
        if (data[at] != 0xff)
            return damaged(file, "a marker is missing", problem);
        if (data[at + 1] == 0xff) { /* a fill byte */
            at++;
            continue;
        }
        if (data[at + 1] == 0xd9) /* the end of the image */
            return 0;
        if (file->size - at < 4)
            return damaged(file, cut_off, problem);
        length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (length < 2 || length > file->size - at - 2)
            return damaged(file, cut_off, problem);
        if (data[at + 1] == 0xc4 && !sound_jpeg_tables(data + at + 2, length))
            return damaged(file, "its tables make no sense", problem);
        at += 2 + length;
        if (data[at - length - 1] == 0xda)
            at = skip_jpeg_scan(file, at);
    }
}

static size_t gif_table_bytes(unsigned flags) {
    return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0;
}

/* Moves *at over a chain of sub-blocks; false if the file ends inside it. */
static int skip_gif_blocks(const struct bytes *file, size_t *at) {
    while (*at < file->size) {
        size_t length = file->data[*at];
        if (length > file->size - *at - 1)
            return 0;
        *at += 1 + length;
        if (!length)
            return 1;
    }
    return 0;
}

static int check_gif(const struct bytes *file, struct problem *problem) {
    size_t at = 13;
    if (file->size < 13)
        return damaged(file, cut_off, problem);
    at += gif_table_bytes(file->data[10]);
    while (at < file->size) {
        unsigned char kind = file->data[at];
        if (kind == 0x21) {
            at += 2;
        } else if (kind == 0x2c) {
            if (file->size - at < 11)
                break;
            at += 10 + gif_table_bytes(file->data[at + 9]) + 1;
        } else {
            return damaged(file, "an unknown block", problem);
        }
        if (at >= file->size || !skip_gif_blocks(file, &at))
            break;
        if (kind == 0x2c)
            return 0; /* the first frame is there, and it is all that is used */
    }
    return damaged(file, cut_off, problem);
}

int picture_check_structure(enum picture_format format, const struct bytes *file, struct problem *problem) {
    switch (format) {
    case FORMAT_PNG:
        return check_png(file, problem);
    case FORMAT_JPEG:
        return check_jpeg(file, problem);
    case FORMAT_GIF:
        return check_gif(file, problem);
    case FORMAT_BMP: /* the header holds the file's size; some writers leave it 0 */
        if (file->size < 26 || (size_t)(file->data[2] | file->data[3] << 8 | file->data[4] << 16 |
                                        (uint32_t)file->data[5] << 24) > file->size)
            return damaged(file, cut_off, problem);
        return 0;
    case FORMAT_UNKNOWN:
    case FORMAT_TIFF:
    case FORMAT_PNM:
    case FORMAT_GZIP:
        break;
    }
    return 0;
}
