/* args.h - a small declarative table of options: it parses, checks ranges, prints the help and knows
 * the nearest name. */
#ifndef EXAMPLES_ARGS_H
#define EXAMPLES_ARGS_H

#include <stdint.h>

#include "problem.h"

struct choice {
    const char *name; /* NULL ends a list */
    int32_t value;
};

enum arg_kind {
    ARG_GROUP, /* a heading of the help */
    ARG_ALIAS, /* another name of an option, not in the help */
    ARG_FLAG,  /* int32_t: --name sets 1 */
    ARG_BOOL,  /* int32_t: --name sets 1, --no-name sets 0 */
    ARG_INT32,
    ARG_INT64,
    ARG_UINT64,
    ARG_FLOAT,
    ARG_DOUBLE,
    ARG_TEXT,   /* const char * */
    ARG_CHOICE, /* int32_t out of a list */
    ARG_SIZE,   /* int32_t[2]: WxH, or one number for both */
    ARG_FLOATS  /* float[8]: a,b,c */
};

/* The value a variable holds when the table is made is the default that the help shows. */
struct arg {
    enum arg_kind kind;
    char letter; /* -o, or 0 */
    const char *name;
    const char *placeholder;
    void *value;
    double low, high;
    const struct choice *choices;
    const char *help; /* of an alias: the name of its option */
    const char *word; /* of a double: stands for "no number", NaN */
    char initial[64];
};

#define ARGS_MAX 160
struct args {
    const char *program;
    const char *usage;    /* what follows the program's name */
    const char *about;    /* what the program does */
    const char *examples; /* indented lines */
    const char *closing;  /* after the options: files written, exit codes */
    struct arg items[ARGS_MAX];
    int count;
    int32_t help, version;
    char **operands; /* what is not an option; points into argv */
    int operand_count;
};

void args_group(struct args *args, const char *title);
void args_flag(struct args *args, const char *name, int32_t *value, const char *help);
void args_bool(struct args *args, const char *name, int32_t *value, const char *help);
void args_int32(struct args *args, const char *name, int32_t *value, double low, double high, const char *help);
void args_int64(struct args *args, const char *name, int64_t *value, double low, double high, const char *help);
void args_uint64(struct args *args, const char *name, uint64_t *value, const char *help);
void args_float(struct args *args, const char *name, float *value, double low, double high, const char *help);
void args_double(struct args *args, const char *name, double *value, double low, double high, const char *help);
/* A number or this word, which is NaN. */
void args_double_or(struct args *args, const char *name, const char *word, double *value, double low, double high,
                    const char *help);
void args_text(struct args *args, const char *name, char letter, const char *placeholder, const char **value,
               const char *help);
void args_choice(struct args *args, const char *name, const struct choice *choices, int32_t *value, const char *help);
void args_size(struct args *args, const char *name, int32_t value[2], double low, double high, const char *help);
void args_floats(struct args *args, const char *name, float value[8], const char *help);

/* An older name, still understood. */
void args_alias(struct args *args, const char *name, const char *option);

/* Takes an option or a group heading out of a table that another program has filled. */
void args_remove(struct args *args, const char *name);
/* The value an option has now, as it would be written on a command line. */
void args_value(const struct arg *arg, char *text, size_t size);

/* Adds the group every program has: --threads, --seed (NULL: none), --quiet, --help, --version. */
void args_common(struct args *args, int32_t *threads, int32_t *quiet);

/* Reads the command line. Operands are collected into args->operands. */
int args_parse(struct args *args, int argc, char **argv, struct problem *problem);
/* Whether an option was written on a command line, under any of its spellings. */
int args_given(const struct args *args, int argc, char **argv, const char *name);
void args_print_help(const struct args *args);
void args_print_version(const struct args *args);
void args_free(struct args *args);

const char *choice_name(const struct choice *choices, int32_t value);

#endif
