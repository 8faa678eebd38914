#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE /* TIOCGWINSZ */
#include "bar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int terminal_width(void) {
    struct winsize size;
    if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

void duration_text(char text[32], double seconds) {
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s > 359999)
        snprintf(text, 32, "%ld h", s / 3600);
    else if (s >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else if (s >= 60)
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld s", s);
}

void bar_start(struct bar *bar, const char *label, int quiet) {
    const char *terminal = getenv("TERM");
    memset(bar, 0, sizeof *bar);
    bar->quiet = quiet;
    bar->terminal = isatty(STDERR_FILENO) && !(terminal && !strcmp(terminal, "dumb"));
    bar->first_fraction = -1;
    bar->started = clock_seconds();
    bar_label(bar, label);
}

void bar_label(struct bar *bar, const char *label) {
    snprintf(bar->label, sizeof bar->label, "%s", label);
}

void bar_clear(struct bar *bar) {
    if (bar->shown)
        fputs("\r\033[K", stderr);
    bar->shown = 0;
    bar->drawn = 0;
    fflush(stderr);
}

void bar_say(struct bar *bar, const char *line) {
    if (bar->quiet)
        return;
    bar_clear(bar);
    fprintf(stderr, "%s\n", line);
}

static void time_left(char text[48], const struct bar *bar, double fraction, double now) {
    double done = fraction - bar->first_fraction, elapsed = now - bar->started;
    char duration[32];
    text[0] = 0;
    if (bar->left > 0) {
        duration_text(duration, bar->left);
        snprintf(text, 48, "  %7s left", duration);
        return;
    }
    /* Early estimates are noise: wait for a second and one percent, or three seconds. */
    if (done <= 0 || elapsed < 1 || (done < 0.01 && elapsed < 3))
        return;
    duration_text(duration, elapsed / done * (1 - fraction));
    snprintf(text, 48, "  %7s left", duration);
}

void bar_update(struct bar *bar, double fraction, const char *details) {
    char line[512], left[48], cells[128];
    double now = clock_seconds();
    int width, room, filled, i;
    if (bar->first_fraction < 0) {
        bar->first_fraction = fraction;
        bar->started = now;
    }
    if (bar->quiet || !bar->terminal || now - bar->drawn < 0.1)
        return;
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    time_left(left, bar, fraction, now);
    width = terminal_width();
    room = width - 1 - (int)(strlen(bar->label) + strlen(details) + strlen(left)) - 12;
    room = room > 40 ? 40 : room;
    cells[0] = 0;
    if (room >= 5) {
        filled = (int)(fraction * room);
        for (i = 0; i < room; i++)
            cells[i] = (char)(i < filled ? '=' : i == filled ? '>' : ' ');
        cells[room] = 0;
    }
    snprintf(line, sizeof line, "%s %s%s%s %3d %%%s%s%s", bar->label, room >= 5 ? "[" : "", cells, room >= 5 ? "]" : "",
             (int)(fraction * 100), left, details[0] ? "  " : "", details);
    if ((int)strlen(line) > width - 1)
        line[width - 1] = 0;
    /* One write a frame, and the rest of the line is erased after the text: nothing flickers. */
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    bar->shown = 1;
    bar->drawn = now;
}
