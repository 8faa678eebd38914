#include "plot.h"

#include <math.h>
#include <stdio.h>

#include "files.h"

#define CLOSE 1.2 /* pixels */

struct frame {
    double left, top, width, height; /* of the area of the lines, in pixels */
    double x_low, x_high, y_low, y_high;
};

static void escape(FILE *svg, const char *text) {
    for (; *text; text++)
        if (*text == '<')
            fputs("&lt;", svg);
        else if (*text == '>')
            fputs("&gt;", svg);
        else if (*text == '&')
            fputs("&amp;", svg);
        else
            fputc(*text, svg);
}

static void label(FILE *svg, double x, double y, const char *anchor, int size, const char *extra, const char *text) {
    fprintf(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\"%s>", x, y, anchor, size, extra);
    escape(svg, text);
    fputs("</text>\n", svg);
}

/* A step of 1, 2 or 5 times a power of ten that cuts the range into three to eight. */
static double tick_step(double range) {
    double power = pow(10, floor(log10(range))), step = power;
    if (range / power < 1.5)
        step = power / 5;
    else if (range / power < 3)
        step = power / 2;
    else if (range / power > 7)
        step = power * 2;
    return step;
}

static void data_range(const struct plot *plot, int vertical, double *low, double *high) {
    int k, found = 0;
    size_t i;
    for (k = 0; k < plot->line_count; k++)
        for (i = 0; i < plot->lines[k].count; i++) {
            double v = vertical ? plot->lines[k].y[i] : plot->lines[k].x[i];
            if (!isfinite(v))
                continue;
            *low = !found || v < *low ? v : *low;
            *high = !found || v > *high ? v : *high;
            found = 1;
        }
    if (!found) {
        *low = 0;
        *high = 1;
    }
    if (vertical || *high - *low <= 0) { /* room above and below, and around a single point */
        double margin = *high - *low > 0 ? 0.06 * (*high - *low) : fabs(*high) > 0 ? 0.1 * fabs(*high) : 1;
        *low -= margin;
        *high += margin;
    }
}

static struct frame make_frame(const struct plot *plot, double left, int width, int height) {
    struct frame frame;
    frame.left = left + 66;
    frame.top = 40;
    frame.width = width - 66 - 20;
    frame.height = height - 40 - 52;
    frame.x_low = plot->x_low;
    frame.x_high = plot->x_high;
    frame.y_low = plot->y_low;
    frame.y_high = plot->y_high;
    if (frame.x_low >= frame.x_high)
        data_range(plot, 0, &frame.x_low, &frame.x_high);
    if (frame.y_low >= frame.y_high)
        data_range(plot, 1, &frame.y_low, &frame.y_high);
    return frame;
}

static double to_x(const struct frame *frame, double x) {
    return frame->left + (x - frame->x_low) / (frame->x_high - frame->x_low) * frame->width;
}

static double to_y(const struct frame *frame, double y) {
    return frame->top + frame->height - (y - frame->y_low) / (frame->y_high - frame->y_low) * frame->height;
}

static void draw_ticks(FILE *svg, const struct frame *frame, int vertical, int whole) {
    double low = vertical ? frame->y_low : frame->x_low, high = vertical ? frame->y_high : frame->x_high;
    double step = whole && tick_step(high - low) < 1 ? 1 : tick_step(high - low), first = ceil(low / step - 1e-9);
    int k;
    for (k = 0; (first + k) * step <= high + 1e-9 * step; k++) {
        double value = (first + k) * step;
        double x1 = vertical ? frame->left : to_x(frame, value), y1 = vertical ? to_y(frame, value) : frame->top;
        char text[32];
        snprintf(text, sizeof text, "%.6g", fabs(value) < 1e-9 * step ? 0.0 : value);
        fprintf(svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#e3e6ea\"/>\n", x1, y1,
                vertical ? frame->left + frame->width : x1, vertical ? y1 : frame->top + frame->height);
        if (vertical)
            label(svg, frame->left - 7, y1 + 4, "end", 12, "", text);
        else
            label(svg, x1, frame->top + frame->height + 17, "middle", 12, "", text);
    }
}

static void draw_line(FILE *svg, const struct frame *frame, const struct line *line) {
    static const char *const patterns[] = {"", "5 4", "9 4", "2 3", "9 3 2 3"};
    double pen_x = 0, pen_y = 0;
    size_t i;
    int pen_down = 0;
    if (line->dots) {
        for (i = 0; i < line->count; i++)
            if (isfinite(line->x[i]) && isfinite(line->y[i]))
                fprintf(svg, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"4.5\" fill=\"%s\" stroke=\"#fff\"/>\n",
                        to_x(frame, line->x[i]), to_y(frame, line->y[i]), line->colour);
        return;
    }
    fprintf(svg, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\"", line->colour,
            line->dashed == 1 ? "1.2" : "2");
    if (line->dashed > 0 && line->dashed < 5)
        fprintf(svg, " stroke-dasharray=\"%s\"", patterns[line->dashed]);
    fputs(" d=\"", svg);
    for (i = 0; i < line->count; i++) {
        const int finite = isfinite(line->x[i]) && isfinite(line->y[i]);
        const double x = to_x(frame, line->x[i]), y = to_y(frame, line->y[i]);
        /* Points that nobody can tell from the one before are left out, but never the last. */
        if (finite && (!pen_down || i + 1 == line->count || hypot(x - pen_x, y - pen_y) > CLOSE)) {
            fprintf(svg, "%c%.2f %.2f", pen_down ? 'L' : 'M', x, y);
            pen_x = x;
            pen_y = y;
        }
        pen_down = finite;
    }
    fputs("\"/>\n", svg);
    /* A single point has no line; show it. */
    if (line->count == 1 && pen_down)
        fprintf(svg, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3\" fill=\"%s\"/>\n", to_x(frame, line->x[0]),
                to_y(frame, line->y[0]), line->colour);
}

static void draw_legend(FILE *svg, const struct plot *plot, const struct frame *frame) {
    double x = plot->legend_left ? frame->left + 12 : frame->left + frame->width - 12, y;
    int k, rows = 0;
    for (k = 0; k < plot->line_count; k++)
        rows += plot->lines[k].name != NULL;
    y = plot->legend_low ? frame->top + frame->height - 14 - 18 * (rows - 1) : frame->top + 20;
    for (k = 0; k < plot->line_count; k++)
        if (plot->lines[k].name) {
            char colour[48];
            snprintf(colour, sizeof colour, " font-weight=\"600\" fill=\"%s\"", plot->lines[k].colour);
            label(svg, x, y, plot->legend_left ? "start" : "end", 13, colour, plot->lines[k].name);
            y += 18;
        }
}

static void draw_plot(FILE *svg, const struct plot *plot, double left, int width, int height) {
    struct frame frame = make_frame(plot, left, width, height);
    char turned[64];
    int k;
    label(svg, frame.left + frame.width / 2, 24, "middle", 15, " font-weight=\"600\"", plot->title);
    draw_ticks(svg, &frame, 0, plot->whole_x);
    draw_ticks(svg, &frame, 1, 0);
    fprintf(svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" stroke=\"#9aa1ab\"/>\n",
            frame.left, frame.top, frame.width, frame.height);
    for (k = 0; k < plot->line_count; k++)
        draw_line(svg, &frame, &plot->lines[k]);
    draw_legend(svg, plot, &frame);
    label(svg, frame.left + frame.width / 2, frame.top + frame.height + 38, "middle", 13, "", plot->x_label);
    snprintf(turned, sizeof turned, " transform=\"rotate(-90 %.1f %.1f)\"", left + 18, frame.top + frame.height / 2);
    label(svg, left + 18, frame.top + frame.height / 2, "middle", 13, turned, plot->y_label);
}

void plot_draw(FILE *svg, const struct plot *plots, int count, int width, int height) {
    int k;
    fprintf(svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"Helvetica, Arial, sans-serif\" fill=\"#20242a\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            count * width, height, count * width, height);
    for (k = 0; k < count; k++)
        draw_plot(svg, &plots[k], (double)k * width, width, height);
    fputs("</svg>\n", svg);
}

int plot_write(const char *path, const struct plot *plots, int count, int width, int height, struct problem *problem) {
    struct outfile file;
    if (outfile_open(&file, path, problem))
        return -1;
    plot_draw(file.stream, plots, count, width, height);
    return outfile_commit(&file, problem);
}
