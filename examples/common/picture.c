#include "picture.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "picture_codecs.h"

const char *picture_formats(void) {
    return "PNG, JPEG, GIF, BMP, PGM, PPM"
#ifdef HAVE_TIFF
           ", TIFF"
#endif
#ifdef HAVE_ZLIB
           ", each also as .gz"
#endif
        ;
}

enum picture_format picture_format_of(const struct bytes *file) {
    static const struct {
        enum picture_format format;
        size_t length;
        const char *magic;
    } known[] = {
        {FORMAT_PNG, 8, "\x89PNG\r\n\x1a\n"},
        {FORMAT_JPEG, 3, "\xff\xd8\xff"},
        {FORMAT_GIF, 4, "GIF8"},
        {FORMAT_TIFF, 4, "II*\0"},
        {FORMAT_TIFF, 4, "MM\0*"},
        {FORMAT_TIFF, 4, "II+\0"},
        {FORMAT_TIFF, 4, "MM\0+"},
        {FORMAT_PNM, 2, "P5"},
        {FORMAT_PNM, 2, "P6"},
        {FORMAT_GZIP, 2, "\x1f\x8b"},
        {FORMAT_BMP, 2, "BM"},
    };
    size_t i;
    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        if (file->size >= known[i].length && !memcmp(file->data, known[i].magic, known[i].length))
            return known[i].format;
    return FORMAT_UNKNOWN;
}

int picture_check_sides(const char *path, int64_t width, int64_t height, struct problem *problem) {
    if (width < 1 || height < 1)
        return problem_set(problem, "cannot read %s: it says it is %lld x %lld pixels", path, (long long)width,
                           (long long)height);
    if (width > PICTURE_MAX_SIDE || height > PICTURE_MAX_SIDE)
        return problem_set(problem, "cannot read %s: it says it is %lld x %lld pixels; at most %d a side are read",
                           path, (long long)width, (long long)height, PICTURE_MAX_SIDE);
    return 0;
}

int picture_check_size(const char *path, int64_t width, int64_t height, struct problem *problem) {
    if (picture_check_sides(path, width, height, problem))
        return -1;
    if (width * height > PICTURE_MAX_PIXELS)
        return problem_set(problem,
                           "cannot read %s: it says it is %lld x %lld pixels; at most %lld million are read whole",
                           path, (long long)width, (long long)height, (long long)(PICTURE_MAX_PIXELS / 1000000));
    return 0;
}

static int decode(struct picture *picture, const struct bytes *file, struct problem *problem) {
    enum picture_format format = picture_format_of(file);
    if (format == FORMAT_UNKNOWN || format == FORMAT_GZIP)
        return problem_set(problem, "cannot read %s: the content is not an image of a known kind (%s)", file->path,
                           picture_formats());
    if (picture_check_structure(format, file, problem))
        return -1;
    if (format == FORMAT_TIFF)
        return picture_decode_tiff(picture, file, problem);
    if (format == FORMAT_PNM)
        return picture_decode_pnm(picture, file, problem);
    return picture_decode_stb(picture, format, file, problem);
}

int picture_read(struct picture *picture, const char *path, struct problem *problem) {
    struct bytes file;
    unsigned char *data, *unpacked;
    size_t size;
    int result;
    memset(picture, 0, sizeof *picture);
    if (read_file(path, PICTURE_MAX_BYTES, &data, &size, problem))
        return -1;
    file.data = data;
    file.size = size;
    file.path = path;
    if (picture_format_of(&file) == FORMAT_GZIP) {
        result = picture_gunzip(&file, &unpacked, &size, problem);
        free(data);
        if (result)
            return -1;
        file.data = data = unpacked;
        file.size = size;
    }
    result = decode(picture, &file, problem);
    free(data);
    return result;
}

int picture_read_gray(struct picture *picture, const char *path, struct problem *problem) {
    int64_t i, n;
    if (picture_read(picture, path, problem))
        return -1;
    if (picture->channels == 1)
        return 0;
    n = picture->width * picture->height;
    for (i = 0; i < n; i++)
        if (picture->bits == 8) {
            const uint8_t *p = picture->data + 3 * i;
            uint8_t m = p[0] > p[1] ? p[0] : p[1];
            picture->data[i] = m > p[2] ? m : p[2];
        } else {
            uint16_t *out = (uint16_t *)(void *)picture->data;
            const uint16_t *p = out + 3 * i;
            uint16_t m = p[0] > p[1] ? p[0] : p[1];
            out[i] = m > p[2] ? m : p[2];
        }
    picture->channels = 1;
    return 0;
}

void picture_free(struct picture *picture) {
    free(picture->data);
    picture->data = NULL;
}

void picture_describe(const struct picture *picture, unetstar_image *image) {
    unetstar_image_init(image, sizeof *image);
    image->data = picture->data;
    image->width = picture->width;
    image->height = picture->height;
    image->channels = picture->channels;
    image->bits = picture->bits;
}
