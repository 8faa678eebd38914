/* synthetic_retina.c - the colour of the retina without vessels: light, choroid, macula, nerve fibres, optic disc. */
#include "data/synthetic.h"

/* Several octaves, turned against each other so that the lattice does not show. */
static double cloud(const struct us_look *k, double x, double y, int octaves) {
    double sum = 0, size = 0.5, t;
    for (; octaves > 0; octaves--) {
        sum += size * us_noise_at(k, x, y);
        t = x;
        x = 1.62 * x - 1.18 * y + 17.3;
        y = 1.18 * t + 1.62 * y + 5.1;
        size *= 0.5;
    }
    return sum;
}

/* The choroid shines through: a net of broad bright ridges, drawn out along warped lines. */
static double choroid(const struct us_look *k, double x, double y) {
    double wx, wy, a, b;
    x *= k->texture;
    y *= k->texture;
    wx = x + 0.25 * us_noise_at(k, 2.3 * x + 9.0, 2.3 * y);
    wy = y + 0.25 * us_noise_at(k, 2.3 * x, 2.3 * y + 31.0);
    a = us_noise_at(k, 5.0 * wx + 3.0 * wy, 11.0 * wy - 4.0 * wx + 7.0);
    b = us_noise_at(k, 9.0 * wx + 21.0, 7.5 * wy);
    return 0.6 * (0.45 - fabs(a)) + 0.5 * (0.4 - fabs(b));
}

/* Dark lines thinner than vessels, in patches. */
static double mesh(const struct us_look *k, double x, double y) {
    double a = fabs(us_noise_at(k, 21.0 * x + 5.0 * y, 24.0 * y - 6.0 * x));
    double b = fabs(us_noise_at(k, 33.0 * y + 7.0, 30.0 * x + 11.0 * y)),
           where = us_noise_at(k, 2.7 * x, 2.7 * y + 50.0);
    return -(0.3 - US_MIN(a, 0.3) + 0.3 - US_MIN(b, 0.3)) * US_MAX(where + 0.4, 0);
}

/* A bell without exp: 1 at 0, 0 from 1 on. q: squared distance in its radius. */
static double bell(double q) {
    return q >= 1.0 ? 0 : (1.0 - q) * (1.0 - q) * (1.0 - q);
}

/* Streaks that run away from the disc, with a slight bend. */
static double fibre(const struct us_look *k, double dx, double dy) {
    double far = sqrt(dx * dx + dy * dy), angle = us_angle_of(dx, fabs(dy) + 0.02);
    return us_noise_at(k, 14.0 * angle + (dy < 0 ? 31.0 : 0) + 2.0 * far, 4.0 * far);
}

/* The disc, its cup and the pale skin that may lie beside it, over what is there. */
static void lay_disc(const struct us_look *k, double dx, double dy, double disc, double light, double patch,
                     double color[3]) {
    double size = k->eye.disc_radius, cx = dx - k->cup_x, cy = dy - k->cup_y, halo, edge, cup, pale, side;
    int c;
    halo = bell(disc / 2.6) * 0.10;
    color[0] += halo * 0.3;
    color[1] += halo * 0.35;
    if (k->crescent > 0) {
        double sx = dx - 0.35 * size * k->crescent_at.x, sy = dy - 0.35 * size * k->crescent_at.y;
        side = 1.0 -
               us_smooth_step(1.0, 1.25, sqrt(sx * sx + sy * sy) / size + 0.1 * us_noise_at(k, 40.0 * dx, 40.0 * dy));
        for (c = 0; c < 3; c++)
            color[c] += 0.6 * k->crescent * side * ((double)k->disc[c] * light - color[c]);
    }
    edge = sqrt(disc) + 0.05 * us_noise_at(k, 30.0 * dx, 30.0 * dy);
    edge = 1.0 - us_smooth_step(0.95 - k->disc_edge, 0.95 + k->disc_edge, edge);
    cup = bell((cx * cx + cy * cy) / (size * size * k->cup * k->cup * 2.2));
    pale = 0.93 + 0.22 * cup + 0.10 * patch;
    color[0] += edge * ((double)k->disc[0] * US_MIN(pale + 0.14, 1.10) * (0.6 + 0.4 * light) - color[0]);
    color[1] += edge * ((double)k->disc[1] * pale * (0.6 + 0.4 * light) - color[1]);
    color[2] += edge * ((double)k->disc[2] * (pale + 0.2 * cup) * (0.6 + 0.4 * light) - color[2]);
}

void us_retina(const struct us_look *k, double x, double y, double color[3]) {
    const struct us_eye *eye = &k->eye;
    double ux = x / eye->reach, uy = y / eye->reach, r = ux * ux + uy * uy;
    double lx = ux - k->light_x, ly = uy - k->light_y;
    double dx = x - eye->disc.x, dy = y - eye->disc.y, fx = x - eye->fovea.x, fy = y - eye->fovea.y;
    double disc = (dx * dx / 0.86 + dy * dy) / (eye->disc_radius * eye->disc_radius);
    double fovea = (fx * fx + fy * fy) / (eye->distance * eye->distance);
    double macula = bell(fovea / 0.42), pit = bell(fovea / 0.022);
    double patch = cloud(k, 1.7 * x, 1.7 * y, 3), net = choroid(k, x, y);
    double fine = cloud(k, 26.0 * k->texture * x, 26.0 * k->texture * y, 3);
    double light = 1.06 - k->falloff * (lx * lx + ly * ly) - k->rim * us_smooth_step(0.72, 1.0, r) + k->shade_x * ux +
                   k->shade_y * uy + k->patches * patch;
    double pattern = k->choroid * net * (1.0 - 0.75 * macula) + k->fine * fine, sheen = 0;
    if (k->mesh > 0)
        pattern += k->mesh * mesh(k, x, y);
    if (disc < 30.0)
        sheen = k->sheen * bell(disc / 30.0) * (1.0 + k->fibres * fibre(k, dx, dy));
    color[0] = (double)k->base[0] * (light + 0.55 * pattern + 0.7 * sheen) *
               (1.0 - 0.45 * k->macula * macula - 0.25 * k->fovea * pit);
    color[1] = (double)k->base[1] * (light + pattern + 1.2 * sheen + k->patches * patch) *
               (1.0 - k->macula * macula - k->fovea * pit);
    color[2] =
        (double)k->base[2] * (light + 0.6 * pattern + sheen) * (1.0 - 0.9 * k->macula * macula - 0.5 * k->fovea * pit);
    if (disc < 2.7)
        lay_disc(k, dx, dy, disc, light, patch, color);
}
