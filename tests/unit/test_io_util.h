/* test_io_util.h - a context whose allocator counts, and fails on demand; a folder of its own; what files hold. */
#ifndef TEST_IO_UTIL_H
#define TEST_IO_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"

#define HELPER static __attribute__((unused))

/* ---- A context whose allocator counts, and fails on demand; a folder of its own ---- */

struct memory {
    long live, calls, fail_at; /* fail_at 0: never */
};
static struct memory memory;

HELPER void *counting_alloc(void *user, size_t size, size_t alignment) {
    struct memory *m = (struct memory *)user;
    void *pointer = NULL;
    if (++m->calls == m->fail_at || posix_memalign(&pointer, alignment, size))
        return NULL;
    m->live++;
    return pointer;
}

HELPER void counting_free(void *user, void *pointer, size_t size) {
    (void)size;
    ((struct memory *)user)->live--;
    free(pointer);
}

static us_context *ctx;
static char folder[64];
static char path[128];

HELPER int setup(void **state) {
    unetstar_context_options options;
    (void)state;
    memset(&options, 0, sizeof options);
    memset(&memory, 0, sizeof memory);
    options.struct_size = sizeof options;
    options.alloc = counting_alloc;
    options.free = counting_free;
    options.alloc_user = &memory;
    options.n_threads = 1;
    strcpy(folder, "/tmp/unetstar-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    return us_context_create(&ctx, &options);
}

/* Removes what the tests leave; true when there was nothing but what begins with one of their names. */
HELPER int empty_folder(void) {
    char name[512];
    struct dirent *entry;
    DIR *dir = opendir(folder);
    int strange = 0;
    if (!dir)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        strange += entry->d_name[0] == '.';
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        if (unlink(name))
            rmdir(name);
    }
    closedir(dir);
    return strange;
}

HELPER int teardown(void **state) {
    (void)state;
    us_context_unref(ctx);
    if (empty_folder() || rmdir(folder)) {
        print_error("a temporary file was left\n");
        return 1;
    }
    return memory.live != 0;
}

HELPER void assert_text(const char *word) {
    if (!strstr(us_error_text(), word))
        fail_msg("the error '%s' does not contain '%s'", us_error_text(), word);
}

HELPER void write_plain(const char *name, const char *text) {
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    fwrite(text, 1, strlen(text), file);
    fclose(file);
}

HELPER void assert_content(const char *name, const char *text) {
    void *data;
    size_t size;
    assert_int_equal(us_file_read(ctx, name, &data, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    us_free(ctx, data);
}

#endif
