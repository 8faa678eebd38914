/* files.h - paths, folders, whole files in memory, and files that appear complete or not at all. */
#ifndef EXAMPLES_FILES_H
#define EXAMPLES_FILES_H

#include <stddef.h>
#include <stdio.h>

#include "problem.h"

/* A growing list of owned strings. */
struct names {
    char **items;
    size_t count;
};
void names_add(struct names *names, const char *text);
void names_sort(struct names *names);
void names_free(struct names *names);

/* Returned strings are the caller's to free. */
char *path_join(const char *folder, const char *name);
const char *path_base(const char *path); /* points into path */
/* Name without folder, ".gz" and extension: "a/im0001.ah.ppm.gz" gives "im0001.ah". */
char *path_stem(const char *path);
int ends_with(const char *text, const char *ending); /* ASCII letters of either case are equal */

int path_exists(const char *path);
int is_folder(const char *path);
int is_same_file(const char *a, const char *b); /* or folder, under whatever names; 0 when one is missing */
/* Names of the pictures in a folder (by extension), sorted; hidden files and other files are left out. */
int list_pictures(const char *folder, struct names *names, struct problem *problem);

/* Names of the files in a folder with this ending, sorted; hidden ones are left out. */
int list_endings(const char *folder, const char *ending, struct names *names, struct problem *problem);
/* Names of the folders in a folder, sorted. */
int list_folders(const char *folder, struct names *names, struct problem *problem);

/* Reads at most `limit` bytes; a longer file is an error. *data is the caller's to free. */
int read_file(const char *path, size_t limit, unsigned char **data, size_t *size, struct problem *problem);

/* Makes a folder and its parents and proves with a file of some kilobytes that it can be written,
 * before hours of work. */
int make_output_folder(const char *path, struct problem *problem);

/* A file that is written beside its place and renamed into it when every byte is on the disk. */
struct outfile {
    FILE *stream;
    char *path, *temporary;
};
int outfile_open(struct outfile *file, const char *path, struct problem *problem);
int outfile_commit(struct outfile *file, struct problem *problem);
void outfile_abandon(struct outfile *file);

#endif
