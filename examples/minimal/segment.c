/*
 * The smallest complete program around the library: segments one photograph.
 *
 *     minimal-segment model.safetensors photo.ppm vessels.pgm
 *
 * Build it with:  cc segment.c $(pkg-config --cflags --libs unetstar)
 */
#include <stdio.h>
#include <stdlib.h>

#include <unetstar.h>

/* Reads a binary PPM (P6, 8 bit, no comments), packed R G B. NULL when it is none. */
static unsigned char *read_ppm(const char *path, int *width, int *height) {
    FILE *file = fopen(path, "rb");
    unsigned char *pixels = NULL;
    int max;
    if (file && fscanf(file, "P6 %d %d %d", width, height, &max) == 3 && max == 255 && *width > 0 && *height > 0 &&
        *width <= 32768 && *height <= 32768 && fgetc(file) != EOF) {
        size_t size = (size_t)*width * (size_t)*height * 3;
        pixels = malloc(size);
        if (pixels && fread(pixels, 1, size, file) != size) {
            free(pixels);
            pixels = NULL;
        }
    }
    if (file)
        fclose(file);
    return pixels;
}

/* Writes probabilities as a PGM. Returns 0, or -1 when not everything could be written. */
static int write_pgm(const char *path, const float *probability, int width, int height) {
    FILE *file = fopen(path, "wb");
    int i, failed;
    if (!file)
        return -1;
    fprintf(file, "P5\n%d %d\n255\n", width, height);
    for (i = 0; i < width * height; i++)
        fputc(probability[i] >= 0 ? (int)(255.0f * probability[i] + 0.5f) : 0, file); /* NaN is black */
    failed = ferror(file);
    return fclose(file) || failed ? -1 : 0;
}

static int segment(const char *model_path, const unetstar_image *image, float *probability) {
    unetstar_context *context = NULL;
    unetstar_model *model = NULL;
    unetstar_session *session = NULL;
    int failed = unetstar_context_create(&context, NULL) || unetstar_model_load(&model, context, model_path) ||
                 unetstar_session_create(&session, context, (const unetstar_model *const *)&model, 1, NULL);
    /* One number a pixel for one or two classes; a model with more would need unetstar_session_channels() of them. */
    int unfit = !failed && unetstar_session_channels(session) != 1;
    if (!failed && !unfit)
        failed = unetstar_session_run(session, image, NULL, probability, NULL, NULL, NULL);
    if (failed || unfit)
        fprintf(stderr, "minimal-segment: %s\n", unfit ? "the model has more than two classes" : unetstar_last_error());
    unetstar_session_destroy(session);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    return failed || unfit ? -1 : 0;
}

int main(int argc, char **argv) {
    unetstar_image image;
    unsigned char *pixels;
    float *probability;
    int width, height, failed;
    if (argc != 4) {
        fprintf(stderr, "usage: minimal-segment MODEL PHOTO.ppm VESSELS.pgm\n");
        return 2;
    }
    pixels = read_ppm(argv[2], &width, &height);
    if (!pixels) {
        fprintf(stderr, "minimal-segment: cannot read %s as a binary PPM\n", argv[2]);
        return 1;
    }
    unetstar_image_init(&image, sizeof image);
    image.data = pixels;
    image.width = width;
    image.height = height;
    image.channels = 3;
    image.bits = 8;
    probability = malloc((size_t)width * (size_t)height * sizeof *probability);
    failed = !probability;
    if (failed)
        fprintf(stderr, "minimal-segment: out of memory\n");
    else
        failed = segment(argv[1], &image, probability);
    if (!failed && write_pgm(argv[3], probability, width, height)) {
        fprintf(stderr, "minimal-segment: cannot write %s\n", argv[3]);
        failed = 1;
    }
    free(probability);
    free(pixels);
    return failed ? 1 : 0;
}
