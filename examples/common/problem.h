/* problem.h - an error as one sentence, and the exit codes of the programs. */
#ifndef EXAMPLES_PROBLEM_H
#define EXAMPLES_PROBLEM_H

#include <stddef.h>

/* Exit codes, the same for every program and written in every --help. */
enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

struct problem {
    char text[4096];
};

#if defined(__GNUC__)
#define PROBLEM_FORMAT(at) __attribute__((format(printf, at, (at) + 1)))
#else
#define PROBLEM_FORMAT(at)
#endif

/* Writes the sentence and returns -1, so that a function can say `return problem_set(...)`. */
int problem_set(struct problem *problem, const char *format, ...) PROBLEM_FORMAT(2);
/* The library's own sentence about its last failure, after a prefix such as a file name (NULL: none). Returns -1. */
int problem_from_library(struct problem *problem, const char *prefix, int error);
/* Prints "program: text" as exactly one line on stderr, whatever characters file names may hold. */
void problem_print(const char *program, const struct problem *problem);

/* Memory for names and tables: ends the program with a sentence when there is none left. */
void *must_allocate(size_t count, size_t size);
void *must_grow(void *pointer, size_t count, size_t size);
char *must_copy(const char *text);
char *must_format(const char *format, ...) PROBLEM_FORMAT(1);

#endif
