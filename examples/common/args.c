#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"

/* ---- Making the table ---- */

const char *choice_name(const struct choice *choices, int32_t value) {
    for (; choices->name; choices++)
        if (choices->value == value)
            return choices->name;
    return "?";
}

/* Shortest form that reads back as the same number, so that 5e-4 is not shown as 0.00050000000000000001. */
static void number_text(char *text, size_t size, double value, int is_float) {
    int digits;
    for (digits = 1; digits <= 17; digits++) {
        double back;
        snprintf(text, size, "%.*g", digits, value);
        back = strtod(text, NULL);
        if (is_float ? (float)back == (float)value : !(back < value) && !(back > value))
            return;
    }
}

static void list_text(const float value[8], char *text, size_t size) {
    size_t used = 0;
    int i;
    for (i = 0; i < 8; i++) {
        char number[40];
        number_text(number, sizeof number, (double)value[i], 1);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", number);
        if (used >= size)
            break;
    }
}

void args_value(const struct arg *arg, char *text, size_t size) {
    text[0] = 0;
    switch (arg->kind) {
    case ARG_BOOL:
        snprintf(text, size, "%s", *(int32_t *)arg->value ? "on" : "off");
        break;
    case ARG_INT32:
        snprintf(text, size, "%ld", (long)*(int32_t *)arg->value);
        break;
    case ARG_INT64:
        snprintf(text, size, "%lld", (long long)*(int64_t *)arg->value);
        break;
    case ARG_UINT64:
        snprintf(text, size, "%llu", (unsigned long long)*(uint64_t *)arg->value);
        break;
    case ARG_FLOAT:
        number_text(text, size, (double)*(float *)arg->value, 1);
        break;
    case ARG_DOUBLE:
        if (arg->word && isnan(*(double *)arg->value))
            snprintf(text, size, "%s", arg->word);
        else
            number_text(text, size, *(double *)arg->value, 0);
        break;
    case ARG_TEXT:
        if (*(const char **)arg->value)
            snprintf(text, size, "%s", *(const char **)arg->value);
        break;
    case ARG_CHOICE:
        snprintf(text, size, "%s", choice_name(arg->choices, *(int32_t *)arg->value));
        break;
    case ARG_SIZE:
        snprintf(text, size, "%ldx%ld", (long)((int32_t *)arg->value)[0], (long)((int32_t *)arg->value)[1]);
        break;
    case ARG_FLOATS:
        list_text(arg->value, text, size);
        break;
    case ARG_FLAG:
        snprintf(text, size, "%s", *(int32_t *)arg->value ? "on" : "off");
        break;
    case ARG_GROUP:
    case ARG_ALIAS:
        break;
    }
}

static void describe_initial(struct arg *arg) {
    if (arg->kind == ARG_FLOATS)
        snprintf(arg->initial, sizeof arg->initial, "all 1");
    else if (arg->kind != ARG_FLAG)
        args_value(arg, arg->initial, sizeof arg->initial);
}

static void add(struct args *args, enum arg_kind kind, const char *name, char letter, const char *placeholder,
                void *value, double low, double high, const struct choice *choices, const char *help) {
    struct arg *arg;
    if (args->count == ARGS_MAX) { /* a mistake in the program, not in its use */
        fprintf(stderr, "%s: too many options; raise ARGS_MAX\n", args->program);
        exit(EXIT_FAILED);
    }
    arg = &args->items[args->count++];
    memset(arg, 0, sizeof *arg);
    arg->kind = kind;
    arg->name = name;
    arg->letter = letter;
    arg->placeholder = placeholder;
    arg->value = value;
    arg->low = low;
    arg->high = high;
    arg->choices = choices;
    arg->help = help;
    describe_initial(arg);
}

void args_group(struct args *args, const char *title) {
    add(args, ARG_GROUP, title, 0, NULL, NULL, 0, 0, NULL, NULL);
}

void args_flag(struct args *args, const char *name, int32_t *value, const char *help) {
    add(args, ARG_FLAG, name, 0, NULL, value, 0, 1, NULL, help);
}

void args_bool(struct args *args, const char *name, int32_t *value, const char *help) {
    add(args, ARG_BOOL, name, 0, NULL, value, 0, 1, NULL, help);
}

void args_int32(struct args *args, const char *name, int32_t *value, double low, double high, const char *help) {
    add(args, ARG_INT32, name, 0, "N", value, low, high, NULL, help);
}

void args_int64(struct args *args, const char *name, int64_t *value, double low, double high, const char *help) {
    add(args, ARG_INT64, name, 0, "N", value, low, high, NULL, help);
}

void args_uint64(struct args *args, const char *name, uint64_t *value, const char *help) {
    add(args, ARG_UINT64, name, 0, "N", value, 0, 0, NULL, help);
}

void args_float(struct args *args, const char *name, float *value, double low, double high, const char *help) {
    add(args, ARG_FLOAT, name, 0, "X", value, low, high, NULL, help);
}

void args_double(struct args *args, const char *name, double *value, double low, double high, const char *help) {
    add(args, ARG_DOUBLE, name, 0, "X", value, low, high, NULL, help);
}

void args_double_or(struct args *args, const char *name, const char *word, double *value, double low, double high,
                    const char *help) {
    struct arg *arg;
    add(args, ARG_DOUBLE, name, 0, "X", value, low, high, NULL, help);
    arg = &args->items[args->count - 1];
    arg->word = word;
    describe_initial(arg);
}

void args_text(struct args *args, const char *name, char letter, const char *placeholder, const char **value,
               const char *help) {
    add(args, ARG_TEXT, name, letter, placeholder, (void *)value, 0, 0, NULL, help);
}

void args_choice(struct args *args, const char *name, const struct choice *choices, int32_t *value, const char *help) {
    add(args, ARG_CHOICE, name, 0, "WHICH", value, 0, 0, choices, help);
}

void args_size(struct args *args, const char *name, int32_t value[2], double low, double high, const char *help) {
    add(args, ARG_SIZE, name, 0, "WxH", value, low, high, NULL, help);
}

void args_floats(struct args *args, const char *name, float value[8], const char *help) {
    add(args, ARG_FLOATS, name, 0, "A,B,...", value, 0, 1e6, NULL, help);
}

void args_alias(struct args *args, const char *name, const char *option) {
    add(args, ARG_ALIAS, name, 0, NULL, NULL, 0, 0, NULL, option);
}

void args_remove(struct args *args, const char *name) {
    int i, kept = 0;
    for (i = 0; i < args->count; i++)
        if (strcmp(args->items[i].name, name) != 0)
            args->items[kept++] = args->items[i];
    args->count = kept;
}

void args_common(struct args *args, int32_t *threads, int32_t *quiet) {
    args_group(args, "Running");
    args_int32(args, "threads", threads, 0, 1024, "threads; 0: as many as CPUs. Results do not depend on it");
    args_flag(args, "quiet", quiet, "print results and errors only");
    args_flag(args, "help", &args->help, "print this and stop (-h)");
    args_flag(args, "version", &args->version, "print the version and stop");
}

/* ---- Reading the command line ---- */

static const struct arg *find(const struct args *args, const char *name, size_t length, int *negated) {
    int pass, i;
    for (pass = 0; pass < 2; pass++) {
        *negated = pass;
        if (pass && (length < 4 || strncmp(name, "no-", 3)))
            break;
        for (i = 0; i < args->count; i++) {
            const struct arg *arg = &args->items[i];
            const char *text = name + 3 * pass;
            size_t n = length - 3 * (size_t)pass;
            if (arg->kind != ARG_GROUP && (!pass || arg->kind == ARG_BOOL) && strlen(arg->name) == n &&
                !memcmp(arg->name, text, n))
                return arg->kind == ARG_ALIAS ? find(args, arg->help, strlen(arg->help), negated) : arg;
        }
    }
    return NULL;
}

static const struct arg *find_letter(const struct args *args, char letter) {
    int i;
    for (i = 0; i < args->count; i++)
        if (args->items[i].kind != ARG_GROUP && args->items[i].letter == letter)
            return &args->items[i];
    return NULL;
}

static int unknown_option(const struct args *args, const char *name, struct problem *problem) {
    struct nearest nearest;
    int i;
    nearest_start(&nearest, name);
    for (i = 0; i < args->count; i++)
        if (args->items[i].kind != ARG_GROUP)
            nearest_offer(&nearest, args->items[i].name);
    if (nearest.best)
        return problem_set(problem, "unknown option --%s; did you mean --%s? (--help lists all)", name, nearest.best);
    return problem_set(problem, "unknown option --%s (--help lists all)", name);
}

static int out_of_range(const struct arg *arg, const char *text, struct problem *problem) {
    char low[40], high[40];
    number_text(low, sizeof low, arg->low, 0);
    number_text(high, sizeof high, arg->high, 0);
    return problem_set(problem, "--%s %s: must be from %s to %s", arg->name, text, low, high);
}

static int read_integer(const struct arg *arg, const char *text, struct problem *problem) {
    char *end;
    if (arg->kind == ARG_UINT64) {
        unsigned long long value;
        errno = 0;
        value = strtoull(text, &end, 10);
        if (end == text || *end || errno || text[0] == '-')
            return problem_set(problem, "--%s %s: not a whole number of 0 or more", arg->name, text);
        *(uint64_t *)arg->value = value;
    } else {
        long long value;
        errno = 0;
        value = strtoll(text, &end, 10);
        if (end == text || *end)
            return problem_set(problem, "--%s %s: not a whole number", arg->name, text);
        if (errno || (double)value < arg->low || (double)value > arg->high)
            return out_of_range(arg, text, problem);
        if (arg->kind == ARG_INT32)
            *(int32_t *)arg->value = (int32_t)value;
        else
            *(int64_t *)arg->value = value;
    }
    return 0;
}

static int read_real(const struct arg *arg, const char *text, struct problem *problem) {
    char *end;
    double value = strtod(text, &end);
    if (arg->word && !strcmp(text, arg->word)) {
        *(double *)arg->value = (double)NAN;
        return 0;
    }
    if (end == text || *end || !isfinite(value))
        return problem_set(problem, "--%s %s: not a number%s%s", arg->name, text, arg->word ? ", nor the word " : "",
                           arg->word ? arg->word : "");
    if (value < arg->low || value > arg->high)
        return out_of_range(arg, text, problem);
    if (arg->kind == ARG_FLOAT)
        *(float *)arg->value = (float)value;
    else
        *(double *)arg->value = value;
    return 0;
}

static int read_choice(const struct arg *arg, const char *text, struct problem *problem) {
    const struct choice *choice;
    char list[512] = "";
    for (choice = arg->choices; choice->name; choice++) {
        size_t used = strlen(list);
        if (!strcmp(choice->name, text)) {
            *(int32_t *)arg->value = choice->value;
            return 0;
        }
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", choice->name);
    }
    return problem_set(problem, "--%s %s: must be one of %s", arg->name, text, list);
}

static int read_size(const struct arg *arg, const char *text, struct problem *problem) {
    char *end;
    long width = strtol(text, &end, 10), height = width;
    if (end == text || (*end && *end != 'x'))
        return problem_set(problem, "--%s %s: write it as 96x96 (width x height)", arg->name, text);
    if (*end == 'x') {
        const char *second = end + 1;
        height = strtol(second, &end, 10);
        if (end == second || *end)
            return problem_set(problem, "--%s %s: write it as 96x96 (width x height)", arg->name, text);
    }
    if ((double)width < arg->low || (double)width > arg->high || (double)height < arg->low ||
        (double)height > arg->high)
        return out_of_range(arg, text, problem);
    ((int32_t *)arg->value)[0] = (int32_t)width;
    ((int32_t *)arg->value)[1] = (int32_t)height;
    return 0;
}

static int read_floats(const struct arg *arg, const char *text, struct problem *problem) {
    const char *at = text;
    int i;
    for (i = 0; i < 8; i++) {
        char *end;
        double value = strtod(at, &end);
        if (end == at || !(value >= arg->low && value <= arg->high) || (*end && *end != ','))
            return problem_set(problem, "--%s %s: numbers of 0 or more with commas between them", arg->name, text);
        ((float *)arg->value)[i] = (float)value;
        if (!*end)
            return 0;
        at = end + 1;
    }
    return problem_set(problem, "--%s %s: at most 8 numbers", arg->name, text);
}

static int read_value(const struct arg *arg, const char *text, struct problem *problem) {
    switch (arg->kind) {
    case ARG_INT32:
    case ARG_INT64:
    case ARG_UINT64:
        return read_integer(arg, text, problem);
    case ARG_FLOAT:
    case ARG_DOUBLE:
        return read_real(arg, text, problem);
    case ARG_TEXT:
        if (!text[0])
            return problem_set(problem, "--%s: the value is empty", arg->name);
        *(const char **)arg->value = text;
        return 0;
    case ARG_CHOICE:
        return read_choice(arg, text, problem);
    case ARG_SIZE:
        return read_size(arg, text, problem);
    case ARG_FLOATS:
        return read_floats(arg, text, problem);
    case ARG_GROUP:
    case ARG_ALIAS:
    case ARG_FLAG:
    case ARG_BOOL:
        break;
    }
    return problem_set(problem, "--%s takes no value", arg->name);
}

static int takes_value(const struct arg *arg) {
    return arg->kind != ARG_FLAG && arg->kind != ARG_BOOL;
}

/* Reads the option at argv[i]; *i moves to the last word used. */
static int read_option(struct args *args, int argc, char **argv, int *i, struct problem *problem) {
    const char *word = argv[*i], *value = NULL, *name = word + 2;
    const struct arg *arg;
    int negated = 0;
    if (word[1] != '-') {
        if (word[1] == 'h' && !word[2]) {
            args->help = 1;
            return 0;
        }
        arg = find_letter(args, word[1]);
        if (!arg)
            return problem_set(problem, "unknown option %s (--help lists all)", word);
        if (word[2])
            value = word + 2;
    } else {
        const char *equals = strchr(name, '=');
        size_t length = equals ? (size_t)(equals - name) : strlen(name);
        arg = find(args, name, length, &negated);
        if (!arg) {
            char *copy = must_copy(name);
            int result;
            copy[length] = 0;
            result = unknown_option(args, copy, problem);
            free(copy);
            return result;
        }
        if (equals)
            value = equals + 1;
    }
    if (!takes_value(arg)) {
        if (value)
            return problem_set(problem, "--%s takes no value", arg->name);
        *(int32_t *)arg->value = !negated;
        return 0;
    }
    if (!value) {
        if (*i + 1 >= argc || !strncmp(argv[*i + 1], "--", 2))
            return problem_set(problem, "--%s needs a value (%s)", arg->name, arg->placeholder);
        value = argv[++*i];
    }
    return read_value(arg, value, problem);
}

int args_parse(struct args *args, int argc, char **argv, struct problem *problem) {
    int i, only_operands = 0;
    free(args->operands);
    args->operands = must_allocate((size_t)argc + 1, sizeof *args->operands);
    args->operand_count = 0;
    for (i = 1; i < argc; i++) {
        if (!only_operands && !strcmp(argv[i], "--"))
            only_operands = 1;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            if (read_option(args, argc, argv, &i, problem))
                return -1;
        } else if (!argv[i][0])
            return problem_set(problem, "an argument is empty");
        else
            args->operands[args->operand_count++] = argv[i];
    }
    return 0;
}

int args_given(const struct args *args, int argc, char **argv, const char *name) {
    int i, negated;
    for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strncmp(argv[i], "--", 2)) {
            const struct arg *arg = find(args, argv[i] + 2, strcspn(argv[i] + 2, "="), &negated);
            if (arg && !strcmp(arg->name, name))
                return 1;
            if (arg && takes_value(arg) && !strchr(argv[i], '='))
                i++;
        } else if (argv[i][0] == '-' && argv[i][1]) {
            const struct arg *arg = find_letter(args, argv[i][1]);
            if (arg && !strcmp(arg->name, name))
                return 1;
            if (arg && !argv[i][2])
                i++;
        }
    }
    return 0;
}

void args_free(struct args *args) {
    free(args->operands);
    args->operands = NULL;
}
