/* bar.h - a progress bar on a terminal, plain lines anywhere else. Everything goes to stderr. */
#ifndef EXAMPLES_BAR_H
#define EXAMPLES_BAR_H

struct bar {
    int terminal; /* stderr is one, and the bar may move */
    int quiet;
    int shown; /* a bar stands on the current line */
    char label[64];
    double started, drawn, first_fraction;
    double left; /* seconds, from whoever knows better than the bar; 0: the bar's own guess */
};

double clock_seconds(void); /* never goes backwards */

/* label stands left of the bar. quiet: nothing is ever printed. */
void bar_start(struct bar *bar, const char *label, int quiet);
void bar_label(struct bar *bar, const char *label);
/* Draws at most ten times a second. fraction in [0, 1]; details is the text at the right end. */
void bar_update(struct bar *bar, double fraction, const char *details);
/* A line that stays, above the bar. */
void bar_say(struct bar *bar, const char *line);
void bar_clear(struct bar *bar);
/* "1:02:03", "4:31" or "12 s". */
void duration_text(char text[32], double seconds);

#endif
