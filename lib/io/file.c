/*
 * file.c - whole files in, atomic saves out. Every call to the operating system's files is in here (POSIX).
 *
 * A save writes to a new file in the folder of the old one, syncs it, renames it over the old one and syncs the folder:
 * at every moment, also after a crash, the name holds either all of the old bytes or all of the new ones.
 */
#undef _GNU_SOURCE /* it would turn strerror_r into another function */
#define _FILE_OFFSET_BITS 64
#include "io/io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define LINKS 40                /* links followed before giving up, as Linux does */
#define ATTEMPTS 10000          /* names tried for the temporary file */

static int fail_with(const char *verb, const char *path, int reason) {
    char text[160] = "";
    if (strerror_r(reason, text, sizeof text) || !text[0])
        return us_fail(UNETSTAR_EIO, "cannot %s %.300s: system error %d", verb, path, reason);
    return us_fail(UNETSTAR_EIO, "cannot %s %.300s: %s", verb, path, text);
}

static int open_again(const char *path, int flags, mode_t mode) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* ---- Reading ---- */

struct source {
    int fd, reason;
};

static int64_t read_descriptor(void *user, void *data, size_t size) {
    struct source *s = (struct source *)user;
    ssize_t got;
    do
        got = read(s->fd, data, size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        s->reason = errno;
    return got;
}

int us_file_read(us_context *ctx, const char *path, void **data, size_t *size) {
    struct source s = {-1, 0};
    struct stat st;
    size_t hint = 65535;
    int error;
    *data = NULL;
    *size = 0;
    s.fd = open_again(path, O_RDONLY, 0);
    if (s.fd < 0)
        return fail_with("read", path, errno);
    if (fstat(s.fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        if ((uint64_t)st.st_size > US_MIN(US_FILE_LIMIT, (uint64_t)SIZE_MAX / 2)) {
            close(s.fd);
            return us_too_large(path);
        }
        hint = (size_t)st.st_size;
    }
    error = us_read_all(ctx, read_descriptor, &s, hint, path, data, size);
    close(s.fd);
    return s.reason ? fail_with("read", path, s.reason) : error;
}

/* ---- Writing ---- */

struct target {
    us_context *ctx;
    const char *path; /* as the caller wrote it, for errors */
    char *real;       /* where its links lead */
    char *temporary;  /* in the folder of real */
    struct stat old;  /* of the file that is replaced */
    int exists;
    int fd, reason;
};

static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The folder of `path` (with its slash), then name. */
static char *in_folder_of(us_context *ctx, const char *path, const char *name) {
    const size_t folder = folder_length(path), length = strlen(name);
    char *joined = (char *)us_alloc(ctx, folder + length + 1);
    if (joined) {
        memcpy(joined, path, folder);
        memcpy(joined + folder, name, length + 1);
    }
    return joined;
}

/* What the link `path` points to, from where the process stands; *link is NULL when path is not a link. */
static int follow(us_context *ctx, const char *path, char **link) {
    char text[4096];
    const ssize_t length = readlink(path, text, sizeof text);
    *link = NULL;
    if (length < 0)
        return 0; /* not a link, or not there: open will say what is wrong with it */
    if ((size_t)length == sizeof text)
        return fail_with("write", path, ENAMETOOLONG);
    text[length] = 0;
    *link = text[0] == '/' ? us_strdup(ctx, text) : in_folder_of(ctx, path, text);
    return *link ? 0 : UNETSTAR_ENOMEM;
}

static int resolve(struct target *t) {
    int i, error = 0;
    t->real = us_strdup(t->ctx, t->path);
    if (!t->real)
        return UNETSTAR_ENOMEM;
    for (i = 0; i < LINKS && !error; i++) {
        char *link;
        error = follow(t->ctx, t->real, &link);
        if (!error && !link)
            return 0;
        if (!error) {
            us_free(t->ctx, t->real);
            t->real = link;
        }
    }
    return error ? error : fail_with("write", t->path, ELOOP);
}

/* Looks at what is replaced. A device must not be replaced by a file, nor a file that its owner has protected. */
static int inspect(struct target *t) {
    t->exists = stat(t->path, &t->old) == 0;
    if (!t->exists)
        return errno == ENOENT ? 0 : fail_with("write", t->path, errno);
    if (S_ISDIR(t->old.st_mode))
        return fail_with("write", t->path, EISDIR);
    if (!S_ISREG(t->old.st_mode))
        return us_fail(UNETSTAR_EIO, "cannot write %.300s: it is not a regular file", t->path);
    if (access(t->path, W_OK))
        return fail_with("write", t->path, errno);
    return 0;
}

static void put_decimal(char **at, unsigned long value) {
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *(*at)++ = digits[--n];
}

/* Opens a file that was not there before. The name is short, so that a long name next to it makes no difference. */
static int open_temporary(struct target *t) {
    const mode_t mode = t->exists ? t->old.st_mode & 0777 : 0666; /* less what umask takes away */
    char name[80];
    unsigned long i;
    for (i = 0; i < ATTEMPTS; i++) {
        static const char start[] = ".unetstar-";
        char *at = name + sizeof start - 1;
        memcpy(name, start, sizeof start - 1);
        put_decimal(&at, (unsigned long)getpid());
        *at++ = '-';
        put_decimal(&at, i);
        memcpy(at, ".tmp", 5);
        us_free(t->ctx, t->temporary);
        t->temporary = in_folder_of(t->ctx, t->real, name);
        if (!t->temporary)
            return UNETSTAR_ENOMEM;
        t->fd = open_again(t->temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (t->fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    return fail_with("write", t->path, errno);
}

/* Owner and permissions of the file that is replaced, as far as the system lets us; never the set-uid bits. */
static void keep_permissions(const struct target *t) {
    struct stat now;
    if (!t->exists || fstat(t->fd, &now))
        return;
    if ((now.st_uid != t->old.st_uid || now.st_gid != t->old.st_gid) && fchown(t->fd, t->old.st_uid, t->old.st_gid))
        return; /* another owner: then its permissions do not mean the same either */
    if (fchmod(t->fd, t->old.st_mode & 0777))
        return;
}

static int write_descriptor(void *user, const void *data, size_t size) {
    struct target *t = (struct target *)user;
    const char *at = (const char *)data;
    while (size > 0 && !t->reason) {
        const ssize_t done = write(t->fd, at, US_MIN(size, US_IO_CHUNK));
        if (done < 0 && errno != EINTR)
            t->reason = errno;
        if (done == 0) /* never for a regular file; but never go round for ever either */
            t->reason = EIO;
        if (done > 0) {
            at += done;
            size -= (size_t)done;
        }
    }
    return t->reason ? -1 : 0;
}

/* Until here a full disk may not have been noticed. */
static void sync_and_close(struct target *t) {
    int failed;
    do
        failed = fsync(t->fd);
    while (failed && errno == EINTR);
    if (failed && errno != EINVAL) /* a file system that cannot sync */
        t->reason = errno;
    if (close(t->fd) && errno != EINTR && !t->reason)
        t->reason = errno;
    t->fd = -1;
}

/* Makes the rename itself durable. Where a folder cannot be opened or synced nothing is lost but this. */
static void sync_folder(struct target *t) {
    char *folder = in_folder_of(t->ctx, t->real, ".");
    const int fd = folder ? open_again(folder, O_RDONLY | O_DIRECTORY, 0) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    us_free(t->ctx, folder);
}

static int fill(struct target *t, us_produce_fn produce, void *arg) {
    int error;
    keep_permissions(t);
    error = produce(arg, write_descriptor, t);
    if (!error && !t->reason)
        sync_and_close(t);
    if (!error && !t->reason && rename(t->temporary, t->real))
        t->reason = errno;
    if (t->reason)
        error = fail_with("write", t->path, t->reason);
    if (error) {
        if (t->fd >= 0)
            close(t->fd);
        unlink(t->temporary);
    }
    return error;
}

int us_file_write_atomic(us_context *ctx, const char *path, us_produce_fn produce, void *arg) {
    struct target t;
    int error;
    memset(&t, 0, sizeof t);
    t.ctx = ctx;
    t.path = path;
    t.fd = -1;
    error = inspect(&t);
    if (!error)
        error = resolve(&t);
    if (!error)
        error = open_temporary(&t);
    if (!error)
        error = fill(&t, produce, arg);
    if (!error)
        sync_folder(&t);
    us_free(ctx, t.real);
    us_free(ctx, t.temporary);
    return error;
}
