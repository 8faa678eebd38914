/* picture_tiff.c - TIFF from memory through libtiff, where it is installed (DRIVE and HRF are TIFF). */
#include <stdlib.h>
#include <string.h>

#include "picture_tiff.h"

#ifndef HAVE_TIFF

int picture_decode_tiff(struct picture *picture, const struct bytes *file, struct problem *problem) {
    (void)picture;
    return problem_set(problem, "cannot read %s: it is a TIFF, and this program was built without libtiff", file->path);
}

#else

#include <stdarg.h>
#include <stdio.h>

static tmsize_t memory_read(thandle_t handle, void *buffer, tmsize_t size) {
    struct memory_file *memory = handle;
    size_t left = memory->at < memory->file->size ? memory->file->size - (size_t)memory->at : 0;
    size_t n = size < 0 ? 0 : (size_t)size < left ? (size_t)size : left;
    memcpy(buffer, memory->file->data + memory->at, n);
    memory->at += n;
    return (tmsize_t)n;
}

static tmsize_t memory_write(thandle_t handle, void *buffer, tmsize_t size) {
    (void)handle, (void)buffer, (void)size;
    return -1;
}

static toff_t memory_seek(thandle_t handle, toff_t offset, int whence) {
    struct memory_file *memory = handle;
    toff_t base = whence == SEEK_CUR ? memory->at : whence == SEEK_END ? memory->file->size : 0;
    memory->at = base + offset;
    return memory->at;
}

static int memory_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t memory_size(thandle_t handle) {
    return ((struct memory_file *)handle)->file->size;
}

static int memory_map(thandle_t handle, void **data, toff_t *size) {
    const struct bytes *file = ((struct memory_file *)handle)->file;
    *data = (void *)(uintptr_t)file->data; /* libtiff's pointer is not const, but with "r" it only reads */
    *size = file->size;
    return 1;
}

static void keep_complaint(thandle_t handle, const char *module, const char *format, va_list arguments) {
    struct memory_file *memory = handle;
    (void)module;
    if (memory && !memory->complaint[0])
        vsnprintf(memory->complaint, sizeof memory->complaint, format, arguments);
}

/* Rows of 16-bit samples, one or at least three a pixel; the extra ones are left out. */
static int decode_wide(struct picture *picture, TIFF *tiff, int samples) {
    uint16_t *line = malloc((size_t)TIFFScanlineSize(tiff));
    uint16_t *out = (uint16_t *)(void *)picture->data;
    int64_t x, y;
    int k, ok = line != NULL;
    for (y = 0; y < picture->height && ok; y++) {
        ok = TIFFReadScanline(tiff, line, (uint32_t)y, 0) > 0;
        for (x = 0; x < picture->width && ok; x++)
            for (k = 0; k < picture->channels; k++)
                *out++ = line[x * samples + k];
    }
    free(line);
    return ok;
}

/* Everything else, through libtiff's own conversion to 8-bit RGBA. */
static int decode_any(struct picture *picture, TIFF *tiff) {
    int64_t i, n = picture->width * picture->height;
    uint32_t *raster = malloc((size_t)n * sizeof *raster);
    int k, ok = raster && TIFFReadRGBAImageOriented(tiff, (uint32_t)picture->width, (uint32_t)picture->height, raster,
                                                    ORIENTATION_TOPLEFT, 1);
    for (i = 0; i < n && ok; i++)
        for (k = 0; k < picture->channels; k++)
            picture->data[i * picture->channels + k] = (unsigned char)(raster[i] >> (8 * k) & 255);
    free(raster);
    return ok;
}

void picture_tiff_look(struct tiff_layout *layout, struct picture *picture, TIFF *tiff) {
    uint32_t width = 0, height = 0;
    uint16_t bits = 8, samples = 1, planar = PLANARCONFIG_CONTIG, photometric = PHOTOMETRIC_RGB,
             format = SAMPLEFORMAT_UINT, orientation = ORIENTATION_TOPLEFT;
    int plain;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    plain = format == SAMPLEFORMAT_UINT && planar == PLANARCONFIG_CONTIG && !TIFFIsTiled(tiff) &&
            (photometric == PHOTOMETRIC_MINISBLACK || (photometric == PHOTOMETRIC_RGB && samples >= 3));
    layout->samples = samples;
    layout->wide = plain && bits == 16;
    picture->width = width;
    picture->height = height;
    picture->channels = photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE ? 1 : 3;
    picture->bits = layout->wide ? 16 : 8;
    /* Of 8 bits those that libtiff's conversion to RGBA would leave as they are: no transparency, no turning. */
    layout->by_rows =
        layout->wide || (plain && bits == 8 && samples == picture->channels && orientation == ORIENTATION_TOPLEFT);
}

static int decode_opened(struct picture *picture, TIFF *tiff, struct memory_file *memory, struct problem *problem) {
    const char *path = memory->file->path;
    struct tiff_layout layout;
    picture_tiff_look(&layout, picture, tiff);
    if (picture_check_size(path, picture->width, picture->height, problem))
        return -1;
    picture->data =
        malloc((size_t)(picture->width * picture->height * picture->channels) * (size_t)(picture->bits / 8));
    if (!picture->data)
        return problem_set(problem, "cannot read %s: out of memory", path);
    if (layout.wide ? decode_wide(picture, tiff, layout.samples) : decode_any(picture, tiff))
        return 0;
    picture_free(picture);
    return picture_tiff_damaged(memory, problem);
}

int picture_tiff_damaged(const struct memory_file *memory, struct problem *problem) {
    return problem_set(problem, "cannot read %s: the TIFF is damaged or of an unusual kind (%s)", memory->file->path,
                       memory->complaint[0] ? memory->complaint : "no reason given");
}

TIFF *picture_tiff_open(struct memory_file *memory, const char *mode, struct problem *problem) {
    TIFF *tiff;
    TIFFSetErrorHandler(NULL); /* silence; the complaint is kept with its file instead */
    TIFFSetWarningHandler(NULL);
    TIFFSetErrorHandlerExt(keep_complaint);
    tiff = TIFFClientOpen(memory->file->path, mode, memory, memory_read, memory_write, memory_seek, memory_close,
                          memory_size, memory_map, NULL);
    if (!tiff)
        problem_set(problem, "cannot read %s: the TIFF is damaged (%s)", memory->file->path,
                    memory->complaint[0] ? memory->complaint : "its header makes no sense");
    return tiff;
}

int picture_decode_tiff(struct picture *picture, const struct bytes *file, struct problem *problem) {
    struct memory_file memory = {0};
    TIFF *tiff;
    int result;
    memory.file = file;
    tiff = picture_tiff_open(&memory, "rm", problem);
    if (!tiff)
        return -1;
    result = decode_opened(picture, tiff, &memory, problem);
    TIFFClose(tiff);
    return result;
}

#endif
