/* picture_tiff.h - what reading a TIFF whole and by rows have in common. */
#ifndef EXAMPLES_PICTURE_TIFF_H
#define EXAMPLES_PICTURE_TIFF_H

#include "picture_codecs.h"

#ifdef HAVE_TIFF

#include <tiffio.h>

/* What libtiff sees as a file: its position, and the first thing it complained about. */
struct memory_file {
    const struct bytes *file;
    toff_t at;
    char complaint[256];
};

struct tiff_layout {
    int samples; /* of a pixel, in the file */
    int wide;    /* plain rows of 16-bit samples, which libtiff's conversion to RGBA would cut to 8 */
    int by_rows; /* TIFFReadScanline gives the pixels as they are; other files need that conversion */
};

/* mode "rm": through copies; "r": libtiff may use the bytes in place. NULL with a sentence on failure. */
TIFF *picture_tiff_open(struct memory_file *memory, const char *mode, struct problem *problem);
/* Fills the picture's size and format and the layout. */
void picture_tiff_look(struct tiff_layout *layout, struct picture *picture, TIFF *tiff);
/* The sentence about a failed read. Returns -1. */
int picture_tiff_damaged(const struct memory_file *memory, struct problem *problem);

#endif
#endif
