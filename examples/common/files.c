#define _XOPEN_SOURCE 700 /* POSIX 2008 and realpath */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* ---- Lists of names ---- */

void names_add(struct names *names, const char *text) {
    names->items = must_grow(names->items, names->count + 1, sizeof *names->items);
    names->items[names->count++] = must_copy(text);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *names) {
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, compare_names);
}

void names_free(struct names *names) {
    size_t i;
    for (i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    names->items = NULL;
    names->count = 0;
}

/* ---- Paths ---- */

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (!length)
        return must_copy(name);
    if (!name[0])
        return must_copy(folder);
    return must_format("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

int ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending), i;
    if (n < m)
        return 0;
    for (i = 0; i < m; i++)
        if (lower(text[n - m + i]) != lower(ending[i]))
            return 0;
    return 1;
}

char *path_stem(const char *path) {
    char *stem = must_copy(path_base(path));
    char *dot;
    if (ends_with(stem, ".gz"))
        stem[strlen(stem) - 3] = 0;
    dot = strrchr(stem, '.');
    if (dot && dot != stem)
        *dot = 0;
    return stem;
}

int path_exists(const char *path) {
    struct stat status;
    return !stat(path, &status);
}

int is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

int is_same_file(const char *a, const char *b) {
    struct stat first, second;
    return !stat(a, &first) && !stat(b, &second) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static int is_picture_name(const char *name) {
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif",
                                          ".bmp", ".ppm", ".pgm",  ".pnm", NULL};
    char *copy = must_copy(name);
    int i, found = 0;
    if (ends_with(copy, ".gz"))
        copy[strlen(copy) - 3] = 0;
    for (i = 0; endings[i] && !found; i++)
        found = ends_with(copy, endings[i]);
    free(copy);
    return found && name[0] != '.';
}

/* Pictures, folders, or files with an ending. */
enum listed { LIST_PICTURES, LIST_FOLDERS, LIST_ENDING };

static int is_listed(enum listed listed, const char *name, const char *path, const char *ending) {
    if (listed == LIST_FOLDERS)
        return name[0] != '.' && is_folder(path);
    if (listed == LIST_ENDING)
        return name[0] != '.' && ends_with(name, ending) && !is_folder(path);
    return is_picture_name(name) && !is_folder(path);
}

static int list_folder(const char *folder, enum listed listed, const char *ending, struct names *names,
                       struct problem *problem) {
    DIR *stream = opendir(folder[0] ? folder : ".");
    struct dirent *entry;
    int error;
    if (!stream)
        return problem_set(problem, "cannot open folder %s: %s", folder, strerror(errno));
    for (errno = 0; (entry = readdir(stream)); errno = 0) {
        char *path = path_join(folder, entry->d_name);
        if (is_listed(listed, entry->d_name, path, ending))
            names_add(names, entry->d_name);
        free(path);
    }
    error = errno;
    closedir(stream);
    if (error)
        return problem_set(problem, "cannot read folder %s: %s", folder, strerror(error));
    names_sort(names);
    return 0;
}

int list_pictures(const char *folder, struct names *names, struct problem *problem) {
    return list_folder(folder, LIST_PICTURES, NULL, names, problem);
}

int list_folders(const char *folder, struct names *names, struct problem *problem) {
    return list_folder(folder, LIST_FOLDERS, NULL, names, problem);
}

int list_endings(const char *folder, const char *ending, struct names *names, struct problem *problem) {
    return list_folder(folder, LIST_ENDING, ending, names, problem);
}

/* ---- Reading ---- */

int read_file(const char *path, size_t limit, unsigned char **data, size_t *size, struct problem *problem) {
    struct stat status;
    unsigned char *bytes;
    size_t length, got;
    FILE *stream;
    int failed;
    if (stat(path, &status))
        return problem_set(problem, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return problem_set(problem, "cannot read %s: it is a folder", path);
    if (!S_ISREG(status.st_mode))
        return problem_set(problem, "cannot read %s: it is not a regular file", path);
    if (status.st_size == 0)
        return problem_set(problem, "cannot read %s: the file is empty", path);
    if ((unsigned long long)status.st_size > limit)
        return problem_set(problem, "cannot read %s: larger than %lu MB", path, (unsigned long)(limit >> 20));
    length = (size_t)status.st_size;
    bytes = malloc(length);
    if (!bytes)
        return problem_set(problem, "cannot read %s: out of memory", path);
    stream = fopen(path, "rb");
    if (!stream) {
        int error = errno;
        free(bytes);
        return problem_set(problem, "cannot read %s: %s", path, strerror(error));
    }
    got = fread(bytes, 1, length, stream);
    failed = ferror(stream);
    fclose(stream);
    if (failed || got != length) {
        free(bytes);
        return problem_set(problem, "cannot read %s: %s", path, failed ? "read error" : "it shrank while it was read");
    }
    *data = bytes;
    *size = length;
    return 0;
}

/* ---- Writing ---- */

static int make_folders(const char *path, struct problem *problem) {
    char *copy = must_copy(path);
    char *at = copy;
    int result = 0;
    do {
        at = strchr(at + 1, '/');
        if (at)
            *at = 0;
        if (!is_folder(copy) && mkdir(copy, 0777) && errno != EEXIST)
            result = problem_set(problem, "cannot make folder %s: %s", copy, strerror(errno));
        else if (!is_folder(copy))
            result = problem_set(problem, "cannot make folder %s: a file of that name is in the way", copy);
        if (at)
            *at = '/';
    } while (at && at[1] && !result);
    free(copy);
    return result;
}

int make_output_folder(const char *path, struct problem *problem) {
    static const char block[4096];
    struct outfile file;
    char *probe;
    int result;
    if (make_folders(path, problem))
        return -1;
    probe = path_join(path, ".unetstar-write-test");
    result = outfile_open(&file, probe, problem);
    if (!result) {
        fwrite(block, 1, sizeof block, file.stream);
        result = outfile_commit(&file, problem);
        remove(probe);
    }
    free(probe);
    return result;
}

/* The place itself where the path is a link, so that the link stays one. The caller's to free. */
static char *behind_links(const char *path) {
    char *real = realpath(path, NULL), *copy;
    if (!real)
        return must_copy(path);
    copy = must_copy(real);
    free(real);
    return copy;
}

int outfile_open(struct outfile *file, const char *path, struct problem *problem) {
    struct stat found;
    if (!stat(path, &found) && !S_ISREG(found.st_mode))
        return problem_set(problem, "cannot write %s: it is not a regular file", path);
    file->path = behind_links(path);
    file->temporary = must_format("%s.tmp%ld", file->path, (long)getpid());
    file->stream = fopen(file->temporary, "wb");
    if (!file->stream) {
        problem_set(problem, "cannot write %s: %s", path, strerror(errno));
        free(file->path);
        free(file->temporary);
        return -1;
    }
    return 0;
}

void outfile_abandon(struct outfile *file) {
    if (file->stream)
        fclose(file->stream);
    remove(file->temporary);
    free(file->path);
    free(file->temporary);
    file->stream = NULL;
}

int outfile_commit(struct outfile *file, struct problem *problem) {
    int error = 0, closed;
    errno = 0;
    if (ferror(file->stream)) { /* the reason is forgotten by now; another write to the lost file tells it again */
        clearerr(file->stream);
        fputc(0, file->stream);
        fflush(file->stream);
        error = errno ? errno : EIO;
    } else if (fflush(file->stream) || fsync(fileno(file->stream)))
        error = errno ? errno : EIO;
    closed = fclose(file->stream);
    file->stream = NULL;
    if (!error && closed)
        error = errno ? errno : EIO;
    if (!error && rename(file->temporary, file->path))
        error = errno;
    if (error) {
        problem_set(problem, "cannot write %s: %s", file->path, strerror(error));
        outfile_abandon(file);
        return -1;
    }
    free(file->path);
    free(file->temporary);
    return 0;
}
