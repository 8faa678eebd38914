/* picture.c - the figure: a panel for each variant, its function as shading, the line where both classes are
 * equally likely, and the training points. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/picture.h"
#include "moons.h"

enum { GAP = 22, MARGIN = 24, TITLE = 52, FOOTER = 40 };
#define INK 0x20242AU
#define PALE_INK 0x6A707AU

struct canvas {
    uint8_t *rgb;
    int32_t width, height;
};

static const double upper_colour[3] = {210, 86, 12}, lower_colour[3] = {11, 99, 176}; /* those of the charts */

void picture_nodes(float *xy) {
    int32_t i, k;
    for (k = 0; k < NODES_Y; k++)
        for (i = 0; i < NODES_X; i++) {
            *xy++ = (float)(VIEW_LEFT + (VIEW_RIGHT - VIEW_LEFT) * i / (NODES_X - 1));
            *xy++ = (float)(VIEW_HIGH - (VIEW_HIGH - VIEW_LOW) * k / (NODES_Y - 1));
        }
}

static void blend(uint8_t *pixel, const double colour[3], double share) {
    int c;
    for (c = 0; c < 3; c++)
        pixel[c] = (uint8_t)((double)pixel[c] + share * (colour[c] - (double)pixel[c]) + 0.5);
}

/* Between the four nodes around. What is no number counts as undecided. */
static double shade(const struct panel *panel, double x, double y) {
    double u = x / NODE_STEP, v = y / NODE_STEP, value = 0;
    int32_t i = (int32_t)u, k = (int32_t)v, a, b;
    i = i > NODES_X - 2 ? NODES_X - 2 : i;
    k = k > NODES_Y - 2 ? NODES_Y - 2 : k;
    for (b = 0; b < 2; b++)
        for (a = 0; a < 2; a++)
            value += (a ? u - i : 1 - (u - i)) * (b ? v - k : 1 - (v - k)) *
                     (double)panel->probability[(k + b) * NODES_X + i + a];
    return isfinite(value) ? value : 0.5;
}

/* How much of the line passes a pixel: the distance to it is about the value over the slope. */
static double line_share(const struct panel *panel, double x, double y, double value) {
    double slope_x = (shade(panel, x + 0.5, y) - shade(panel, x - 0.5, y));
    double slope_y = (shade(panel, x, y + 0.5) - shade(panel, x, y - 0.5));
    double slope = sqrt(slope_x * slope_x + slope_y * slope_y), share;
    if (!(slope > 1e-7))
        return 0;
    share = 1.4 - fabs(value - 0.5) / slope;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static void draw_field(struct canvas *canvas, const struct panel *panel, int32_t left, int32_t top) {
    static const double dark[3] = {32, 36, 42};
    int32_t x, y;
    for (y = 0; y < PANEL_HEIGHT; y++)
        for (x = 0; x < PANEL_WIDTH; x++) {
            uint8_t *pixel = canvas->rgb + 3 * ((size_t)(top + y) * (size_t)canvas->width + (size_t)(left + x));
            double value = shade(panel, x + 0.5, y + 0.5), strength = 0.06 + 0.5 * fabs(2 * value - 1);
            blend(pixel, value > 0.5 ? lower_colour : upper_colour, strength);
            blend(pixel, dark, 0.85 * line_share(panel, x + 0.5, y + 0.5, value));
        }
}

static void draw_disc(struct canvas *canvas, double x, double y, double radius, const double colour[3], int32_t left,
                      int32_t top) {
    int32_t i, k;
    for (k = (int32_t)(y - radius) - 1; k <= (int32_t)(y + radius) + 1; k++)
        for (i = (int32_t)(x - radius) - 1; i <= (int32_t)(x + radius) + 1; i++) {
            double distance = sqrt((i + 0.5 - x) * (i + 0.5 - x) + (k + 0.5 - y) * (k + 0.5 - y));
            double share = radius + 0.5 - distance;
            if (share > 0 && i >= 0 && i < PANEL_WIDTH && k >= 0 && k < PANEL_HEIGHT)
                blend(canvas->rgb + 3 * ((size_t)(top + k) * (size_t)canvas->width + (size_t)(left + i)), colour,
                      share > 1 ? 1 : share);
        }
}

static void draw_points(struct canvas *canvas, const struct points *points, int32_t left, int32_t top) {
    static const double white[3] = {255, 255, 255};
    const double radius = points->count > 300 ? 2 : 3.4;
    int32_t i;
    for (i = 0; i < points->count; i++) {
        double x = ((double)points->xy[2 * i] - VIEW_LEFT) / (VIEW_RIGHT - VIEW_LEFT) * PANEL_WIDTH;
        double y = (VIEW_HIGH - (double)points->xy[2 * i + 1]) / (VIEW_HIGH - VIEW_LOW) * PANEL_HEIGHT;
        if (x < -10 || x > PANEL_WIDTH + 10 || y < -10 || y > PANEL_HEIGHT + 10)
            continue;
        draw_disc(canvas, x, y, radius + 1.1, white, left, top);
        draw_disc(canvas, x, y, radius, points->label[i] ? lower_colour : upper_colour, left, top);
    }
}

static void draw_frame(struct canvas *canvas, int32_t left, int32_t top) {
    static const double gray[3] = {154, 161, 171};
    int32_t x, y;
    for (y = -1; y <= PANEL_HEIGHT; y++)
        for (x = -1; x <= PANEL_WIDTH; x++)
            if (y < 0 || y == PANEL_HEIGHT || x < 0 || x == PANEL_WIDTH)
                blend(canvas->rgb + 3 * ((size_t)(top + y) * (size_t)canvas->width + (size_t)(left + x)), gray, 1);
}

int picture_write_panels(const char *path, const struct panel *panels, int32_t count, int32_t columns,
                         const struct points *points, const char *footer, struct problem *problem) {
    const int32_t rows = (count + columns - 1) / columns;
    struct canvas canvas;
    int32_t k;
    int result;
    canvas.width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP;
    canvas.height = MARGIN + rows * (TITLE + PANEL_HEIGHT) + (rows - 1) * GAP + FOOTER;
    canvas.rgb = must_allocate((size_t)canvas.width * (size_t)canvas.height, 3);
    memset(canvas.rgb, 255, (size_t)canvas.width * (size_t)canvas.height * 3);
    for (k = 0; k < count; k++) {
        int32_t left = MARGIN + k % columns * (PANEL_WIDTH + GAP);
        int32_t top = MARGIN + k / columns * (TITLE + PANEL_HEIGHT + GAP);
        text_draw(canvas.rgb, canvas.width, canvas.height, left, top, 2, INK, panels[k].title);
        text_draw(canvas.rgb, canvas.width, canvas.height, left, top + 24, 2, PALE_INK, panels[k].subtitle);
        draw_field(&canvas, &panels[k], left, top + TITLE);
        draw_points(&canvas, points, left, top + TITLE);
        draw_frame(&canvas, left, top + TITLE);
    }
    text_draw(canvas.rgb, canvas.width, canvas.height, MARGIN, canvas.height - FOOTER + 12,
              text_width(footer, 2) <= canvas.width - 2 * MARGIN ? 2 : 1, PALE_INK, footer);
    result = picture_write_png(path, canvas.width, canvas.height, 3, 8, canvas.rgb, problem);
    free(canvas.rgb);
    return result;
}
