/* args_help.c - --help and --version of an option table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "picture.h"
#include "problem.h"
#include "unetstar.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 100 };

/* Prints words of text between HELP_COLUMN and HELP_WIDTH; column is where the cursor stands. */
static void print_wrapped(const char *text, int column) {
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column + (int)length + 1 > HELP_WIDTH && column > HELP_COLUMN) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, text);
        column += (int)length;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_choices(char *text, size_t size, const struct choice *choices) {
    size_t used = 0;
    text[0] = 0;
    for (; choices->name && used < size; choices++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "|" : "", choices->name);
}

static void print_option(const struct arg *arg) {
    char left[256], right[1024], list[192] = "";
    const char *value = arg->placeholder ? arg->placeholder : "";
    if (arg->kind == ARG_CHOICE) {
        print_choices(list, sizeof list, arg->choices);
        if (strlen(list) + strlen(arg->name) < 24)
            value = list;
    }
    snprintf(left, sizeof left, "  %s%.1s%s--%s%s%s%s", arg->letter ? "-" : "", arg->letter ? &arg->letter : "",
             arg->letter ? ", " : "", arg->kind == ARG_BOOL ? "[no-]" : "", arg->name, value[0] ? " " : "", value);
    snprintf(right, sizeof right, "%s%s%s%s%s%s", arg->help, list[0] && value != list ? ": " : "",
             list[0] && value != list ? list : "", arg->initial[0] ? " [" : "", arg->initial,
             arg->initial[0] ? "]" : "");
    printf("%s", left);
    if (strlen(left) >= HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    else
        printf("%*s", HELP_COLUMN - (int)strlen(left), "");
    print_wrapped(right, HELP_COLUMN);
}

/* What was printed must have arrived: a full disk is an error, not a short page. */
static void end_page(const struct args *args) {
    if (!fflush(stdout) && !ferror(stdout))
        return;
    fprintf(stderr, "%s: cannot write to standard output: %s\n", args->program, strerror(errno));
    exit(EXIT_FAILED);
}

void args_print_help(const struct args *args) {
    int i;
    printf("Usage: %s %s\n\n%s\n\nExamples:\n%s\n", args->program, args->usage, args->about, args->examples);
    printf("\nOptions, their defaults in [brackets]:\n");
    for (i = 0; i < args->count; i++)
        if (args->items[i].kind == ARG_GROUP)
            printf("\n%s\n", args->items[i].name);
        else if (args->items[i].kind != ARG_ALIAS)
            print_option(&args->items[i]);
    if (args->closing)
        printf("\n%s\n", args->closing);
    printf("\nExit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong use, 130 interrupted.\n");
    end_page(args);
}

void args_print_version(const struct args *args) {
    printf("%s %s (results version %d; reads %s; writes %s)\n", args->program, unetstar_version_string(),
           (int)unetstar_numerics_version(), picture_formats(), picture_output_formats());
    end_page(args);
}
