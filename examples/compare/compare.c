/* compare.c - unetstar-compare: every fusion with every activation on every fold with every seed, and a report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

static const char program[] = "unetstar-compare";

static const char about[] =
    "Compares what happens to a U-Net when its skip connections are fused by sum, product (star) or concatenation,\n"
    "with and without activations: it trains and tests every combination on every fold and with every seed, as\n"
    "unetstar-train does with the same options, and writes one report. DATA is a data set in one of the forms\n"
    "unetstar-train reads. Each finished training is kept as a small record; the same command repeats none, so it\n"
    "may be stopped (Ctrl-C) and given again, also with more seeds, folds or fusions.";

static const char examples[] =
    "  unetstar-compare --synthetic 8 --epochs 3 --narrow 0.125 --folds 2    a first try, without any data\n"
    "  unetstar-compare STARE -o stare --seed 2024,2025,2026                  the article's question, three seeds\n"
    "  unetstar-compare STARE -o stare --fold 2 --jobs 2 --threads 1          the article's own fold, two at a time\n"
    "  unetstar-compare DRIVE -o drive --fold own --fusion sum,star,concat --activation none,relu,silu\n"
    "  unetstar-compare --report-only -o stare                                the report again, from the records";

static const char closing[] =
    "Files in DIR: report.html (one page that needs no other file), tables.csv, paired.csv, cost.csv, learning.csv,\n"
    "report.json; records/ (one JSON file a training, and the references of each fold), records/work/ (checkpoints of\n"
    "trainings that were stopped), pictures/ (maps and errors of the test images).\n"
    "UNETSTAR_ISA=reference|reference+fma|avx2|avx512 limits the instructions used; results stay the same.";

/* ---- The report ---- */

struct gathered {
    struct record *cells, *references;
    char **paths;
    size_t cell_count, reference_count;
};

static void gathered_free(struct gathered *all) {
    size_t i;
    for (i = 0; i < all->cell_count; i++) {
        record_free(&all->cells[i]);
        free(all->paths[i]);
    }
    for (i = 0; i < all->reference_count; i++)
        record_free(&all->references[i]);
    free(all->cells);
    free(all->references);
    free(all->paths);
}

/* Finished cells are looked up by their file's name, so what is in it must be that cell. */
static int check_name(const struct cell *cell, const char *path, struct problem *problem) {
    char *name = cell_name(cell), *file = must_format("%s.json", name);
    int result = 0;
    if (strcmp(path_base(path), file) != 0)
        result = problem_set(problem, "%s holds the cell %s: rename or remove it", path, name);
    free(file);
    free(name);
    return result;
}

static int gather_cell(const struct plan *plan, const char *path, struct gathered *all, struct problem *problem) {
    struct record record;
    if (record_read(&record, path, problem))
        return -1;
    all->cells = must_grow(all->cells, all->cell_count + 1, sizeof *all->cells);
    all->paths = must_grow(all->paths, all->cell_count + 1, sizeof *all->paths);
    all->cells[all->cell_count] = record;
    all->paths[all->cell_count++] = must_copy(path);
    if (record.reference)
        return problem_set(problem, "%s is a reference, not a training", path);
    if (check_name(&all->cells[all->cell_count - 1].cell, path, problem))
        return -1;
    return records_agree(&all->cells[0], &all->cells[all->cell_count - 1], &plan->defaults, all->paths[0], path,
                         problem);
}

/* References are no reason to fail: what cannot be read or is of other images is left out. */
static void gather_references(const struct plan *plan, struct gathered *all) {
    size_t i;
    int k;
    for (i = 0; i < all->cell_count; i++)
        for (k = REFERENCE_NONE + 1; k < REFERENCE_END; k++) {
            enum reference kind = k == REFERENCE_OBSERVER ? REFERENCE_OBSERVER : REFERENCE_HESSIAN;
            char *name = reference_name(kind, all->cells[i].cell.fold), *file = must_format("%s.json", name);
            char *path = path_join(plan->records_path, file);
            struct problem cause;
            struct record record;
            size_t known = 0;
            while (known < all->reference_count && (all->references[known].reference != kind ||
                                                    all->references[known].cell.fold != all->cells[i].cell.fold))
                known++;
            if (known == all->reference_count && path_exists(path) && !record_read(&record, path, &cause)) {
                if (record.reference == kind && reference_fits(&record, &all->cells[i], &plan->defaults)) {
                    all->references = must_grow(all->references, known + 1, sizeof *all->references);
                    all->references[all->reference_count++] = record;
                } else
                    record_free(&record);
            }
            free(path);
            free(file);
            free(name);
        }
}

/* All records of a folder, or those of the cells of this run that are there. */
static int gather(const struct plan *plan, struct gathered *all, struct problem *problem) {
    struct names names = {0};
    size_t i;
    int result = 0;
    if (plan->report_only)
        result = list_endings(plan->records_path, ".json", &names, problem);
    else
        for (i = 0; i < plan->cell_count; i++) {
            char *name = cell_name(&plan->cells[i]), *file = must_format("%s.json", name);
            char *path = path_join(plan->records_path, file);
            if (path_exists(path))
                names_add(&names, file);
            free(path);
            free(file);
            free(name);
        }
    for (i = 0; i < names.count && !result; i++) {
        char *path = path_join(plan->records_path, names.items[i]);
        if (!is_reference_file(names.items[i]))
            result = gather_cell(plan, path, all, problem);
        free(path);
    }
    if (!result && !all->cell_count)
        result = problem_set(problem, "there is no record in %s", plan->records_path);
    if (!result)
        gather_references(plan, all);
    names_free(&names);
    return result;
}

static int report(const struct plan *plan, const struct launch *launch, struct problem *problem) {
    struct gathered all;
    struct results results;
    size_t i;
    int result;
    memset(&all, 0, sizeof all);
    if (gather(plan, &all, problem)) {
        gathered_free(&all);
        return -1;
    }
    results_make(&results, all.cells, all.cell_count, all.references, all.reference_count);
    result = make_output_folder(plan->out, problem);
    if (!result && plan->settings.pictures && !plan->report_only)
        result = pictures_prepare(&results, plan, launch, problem);
    if (!result)
        result = results_write(&results, plan->out, plan->settings.pictures ? plan->pictures_path : NULL, plan->times,
                               problem);
    if (!result && !plan->settings.quiet)
        fprintf(stderr, "Wrote report.html, report.json and tables (%lu cell%s%s) into %s.\n",
                (unsigned long)all.cell_count, all.cell_count == 1 ? "" : "s",
                results.missing.count ? ", some are missing" : "", plan->out);
    for (i = 0; i < all.cell_count; i++)
        free(all.paths[i]);
    free(all.paths);
    results_free(&results);
    return result;
}

static int run(struct plan *plan, struct launch *launch, const struct args *args, struct problem *problem) {
    struct problem second;
    int code = EXIT_FINE;
    if (launch_start(launch, 1, problem))
        return EXIT_FAILED;
    if (!plan->report_only)
        code = make_output_folder(plan->out, problem) ? EXIT_FAILED : plan_run(plan, launch, args, problem);
    if (code == EXIT_FINE)
        return report(plan, launch, problem) ? EXIT_FAILED : EXIT_FINE;
    /* Where cells failed, the others are worth a look. */
    if (plan->partial && !unetstar_cancel_requested(launch->cancel))
        (void)report(plan, launch, &second);
    return code;
}

int main(int argc, char **argv) {
    struct args args = {0};
    struct plan plan;
    struct launch launch = {0};
    struct problem problem = {""};
    int code = EXIT_FINE;
    memset(&plan, 0, sizeof plan);
    args.program = program;
    args.usage = "DATA... [options]   or   unetstar-compare --synthetic N [options]";
    args.about = about;
    args.examples = examples;
    args.closing = closing;
    if (plan_read(&plan, &args, argc, argv, &problem))
        code = EXIT_USAGE;
    else if (args.help)
        args_print_help(&args);
    else if (args.version)
        args_print_version(&args);
    else
        code = run(&plan, &launch, &args, &problem);
    code = launch_verdict(&launch, program, code, &problem);
    launch_end(&launch);
    plan_free(&plan);
    args_free(&args);
    return code;
}
