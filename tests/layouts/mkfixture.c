/* mkfixture.c - writes the one kind of picture that is not a few lines of Python: a JPEG. mkfixture FILE WIDTH HEIGHT
 */
#include <stdio.h>
#include <stdlib.h>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wextra"
#endif
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

int main(int argc, char **argv) {
    int width, height, i;
    unsigned char *rgb;
    if (argc != 4 || (width = atoi(argv[2])) < 1 || (height = atoi(argv[3])) < 1)
        return 2;
    rgb = malloc((size_t)width * (size_t)height * 3);
    if (!rgb)
        return 1;
    for (i = 0; i < width * height; i++) {
        rgb[3 * i] = (unsigned char)(180 + i % width % 40);
        rgb[3 * i + 1] = (unsigned char)(60 + i / width % 90);
        rgb[3 * i + 2] = 30;
    }
    i = stbi_write_jpg(argv[1], width, height, 3, rgb, 90);
    free(rgb);
    return i ? 0 : 1;
}
