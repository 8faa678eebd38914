#include "problem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unetstar.h"

int problem_set(struct problem *problem, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    return -1;
}

int problem_from_library(struct problem *problem, const char *prefix, int error) {
    const char *sentence = unetstar_last_error();
    if (!sentence[0])
        sentence = unetstar_strerror(error);
    return problem_set(problem, "%s%s%s", prefix ? prefix : "", prefix ? ": " : "", sentence);
}

void problem_print(const char *program, const struct problem *problem) {
    char line[sizeof problem->text];
    size_t i;
    memcpy(line, problem->text, sizeof line);
    line[sizeof line - 1] = 0;
    for (i = 0; line[i]; i++)
        if ((unsigned char)line[i] < 32 || line[i] == 127)
            line[i] = '?';
    fprintf(stderr, "%s: %s\n", program, line);
}

static void out_of_memory(void) {
    fprintf(stderr, "unetstar: out of memory\n");
    exit(EXIT_FAILED);
}

void *must_allocate(size_t count, size_t size) {
    void *pointer = calloc(count ? count : 1, size ? size : 1);
    if (!pointer)
        out_of_memory();
    return pointer;
}

void *must_grow(void *pointer, size_t count, size_t size) {
    void *bigger = size && count > SIZE_MAX / size ? NULL : realloc(pointer, count && size ? count * size : 1);
    if (!bigger)
        out_of_memory();
    return bigger;
}

char *must_copy(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(must_allocate(size, 1), text, size);
}

char *must_format(const char *format, ...) {
    va_list arguments;
    char *text, probe[1];
    int length;
    va_start(arguments, format);
    length = vsnprintf(probe, sizeof probe, format, arguments);
    va_end(arguments);
    if (length < 0)
        out_of_memory();
    text = must_allocate((size_t)length + 1, 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
