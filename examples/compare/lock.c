/* lock.c - one run at a time in a folder of records. The system's own lock on a file: it ends with its process,
 * however that ends, so that there are no stale ones. The file holds the process id for the sentence of a second run.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare.h"

/* The one before may have removed the file between our opening and locking it. */
static int still_there(const struct lock *lock) {
    struct stat open_one, named;
    return !fstat(lock->file, &open_one) && !stat(lock->path, &named) && open_one.st_ino == named.st_ino &&
           open_one.st_dev == named.st_dev;
}

int lock_take(struct lock *lock, const char *folder, struct problem *problem) {
    lock->path = path_join(folder, "lock");
    for (;;) {
        struct flock range;
        char text[32];
        int length;
        lock->file = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (lock->file < 0)
            return 0; /* no folder yet, or not ours to write: then nothing is written */
        memset(&range, 0, sizeof range);
        range.l_type = F_WRLCK;
        range.l_whence = SEEK_SET;
        if (fcntl(lock->file, F_SETLK, &range)) {
            int taken = errno == EACCES || errno == EAGAIN;
            range.l_pid = 0;
            if (taken && fcntl(lock->file, F_GETLK, &range))
                range.l_pid = 0;
            close(lock->file);
            lock->file = -1;
            if (!taken)
                return 0; /* a file system without locks */
            problem_set(problem,
                        "another unetstar-compare (process %ld) works on the records in %s; wait for it, or choose "
                        "another --records folder",
                        (long)range.l_pid, folder);
            return 1;
        }
        if (still_there(lock)) {
            length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
            if (ftruncate(lock->file, 0) || write(lock->file, text, (size_t)length) != length)
                errno = 0; /* the number is for people who look */
            return 0;
        }
        close(lock->file);
    }
}

void lock_free(struct lock *lock) {
    if (lock->path && lock->file >= 0) {
        remove(lock->path);
        close(lock->file);
    }
    free(lock->path);
    lock->path = NULL;
    lock->file = -1;
}
