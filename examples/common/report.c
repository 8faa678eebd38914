/* report.c - the files of an evaluation: tables and curves. */
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "plot.h"
#include "score.h"

enum { CURVE_POINTS = 500 };

static int write_curve(const char *folder, const struct table *table, unetstar_metrics *metrics, int32_t kind,
                       struct problem *problem) {
    static const double diagonal[2] = {0, 1};
    const unetstar_scores *at = &table->pooled;
    int roc = kind == UNETSTAR_CURVE_ROC;
    double x[CURVE_POINTS], y[CURVE_POINTS], point_x, point_y, human_x, human_y;
    char area[64], point[64], human[128], *path;
    struct plot plot;
    int64_t count = 0;
    int error = unetstar_metrics_curve(metrics, kind, CURVE_POINTS, x, y, &count), result;
    if (error)
        return problem_from_library(problem, NULL, error);
    memset(&plot, 0, sizeof plot);
    plot.title = roc ? "ROC, all test pixels" : "Precision and recall, all test pixels";
    plot.x_label = roc ? "1 - specificity" : "recall (sensitivity)";
    plot.y_label = roc ? "sensitivity" : "precision";
    plot.x_high = plot.y_high = 1;
    plot.legend_low = 1;
    plot.legend_left = !roc;
    point_x = roc ? 1 - at->specificity : at->sensitivity;
    point_y = roc ? at->sensitivity : at->precision;
    snprintf(area, sizeof area, "area %.4f", roc ? at->roc_auc : at->pr_auc);
    snprintf(point, sizeof point, "at threshold %g: F1 %.4f", at->threshold, at->f1);
    plot.lines[plot.line_count++] = (struct line){area, PLOT_BLUE, x, y, (size_t)count, 0, 0};
    plot.lines[plot.line_count++] = (struct line){point, PLOT_ORANGE, &point_x, &point_y, 1, 0, 1};
    if (table->has_observer) {
        human_x = roc ? 1 - table->observer.specificity : table->observer.sensitivity;
        human_y = roc ? table->observer.sensitivity : table->observer.precision;
        snprintf(human, sizeof human, "observer %s: F1 %.4f", table->observer_name, table->observer.f1);
        plot.lines[plot.line_count++] = (struct line){human, PLOT_GREEN, &human_x, &human_y, 1, 0, 1};
    }
    if (roc)
        plot.lines[plot.line_count++] = (struct line){NULL, PLOT_GRAY, diagonal, diagonal, 2, 1, 0};
    path = path_join(folder, roc ? "roc.svg" : "pr.svg");
    result = plot_write(path, &plot, 1, 480, 480, problem);
    free(path);
    return result;
}

int report_write(const char *folder, const struct table *table, unetstar_metrics *metrics, struct problem *problem) {
    char *csv = path_join(folder, "metrics.csv"), *json = path_join(folder, "metrics.json");
    int result = table_write_csv(table, csv, problem);
    if (!result)
        result = table_write_json(table, json, problem);
    if (!result)
        result = write_curve(folder, table, metrics, UNETSTAR_CURVE_ROC, problem);
    if (!result)
        result = write_curve(folder, table, metrics, UNETSTAR_CURVE_PR, problem);
    free(csv);
    free(json);
    return result;
}
