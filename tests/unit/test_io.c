/*
 * test_io.c - files and atomic saves: round trips, full disks, forbidden folders, links, and lack of memory at every allocation.
 */
#include "test_io_util.h"

/* ---- Streams and files ---- */

struct source {
    int64_t left, step;
    int fail, greedy;
};

static int64_t read_source(void *user, void *data, size_t size) {
    struct source *s = (struct source *)user;
    int64_t n = US_MIN(US_MIN(s->left, s->step), (int64_t)size);
    if (s->fail && s->left < 100000)
        return -7;
    if (s->greedy)
        return (int64_t)size + 1;
    memset(data, (int)(s->left & 1) + 'a', (size_t)n);
    s->left -= n;
    return n;
}

static void streams(void **state) {
    static const int64_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    struct source s = {0, 0, 0, 0};
    void *data;
    size_t size;
    int i;
    (void)state;
    for (i = 0; i < US_COUNT(sizes); i++) {
        s.left = sizes[i];
        s.step = 7777;
        assert_int_equal(us_stream_read(ctx, read_source, &s, &data, &size), 0);
        assert_int_equal(size, sizes[i]);
        us_free(ctx, data);
    }
    s.left = 300000;
    s.fail = 1;
    assert_int_equal(us_stream_read(ctx, read_source, &s, &data, &size), UNETSTAR_EIO);
    assert_text("callback failed");
    assert_null(data);
    s.fail = 0;
    s.greedy = 1;
    assert_int_equal(us_stream_read(ctx, read_source, &s, &data, &size), UNETSTAR_EIO);
    assert_text("more bytes");
}

static void files_read(void **state) {
    char name[256];
    void *data;
    size_t size;
    (void)state;
    write_plain(path, "");
    assert_content(path, "");
    write_plain(path, "hello");
    assert_content(path, "hello");
    snprintf(name, sizeof name, "%s/none", folder);
    assert_int_equal(us_file_read(ctx, name, &data, &size), UNETSTAR_EIO);
    assert_text("cannot read /tmp/unetstar-test-");
    assert_text("/none: No such file or directory");
    assert_null(data);
    assert_int_equal(us_file_read(ctx, folder, &data, &size), UNETSTAR_EIO);
    assert_text("Is a directory");
    assert_int_equal(us_file_read(ctx, "/proc/self/status", &data, &size), 0); /* says it has 0 bytes */
    assert_true(size > 100);
    us_free(ctx, data);
    assert_int_equal(truncate(path, ((off_t)1 << 36) + 1), 0);
    assert_int_equal(us_file_read(ctx, path, &data, &size), UNETSTAR_ELIMIT);
    assert_text("larger than");
}

/* ---- Atomic writes ---- */

struct content {
    const char *text;
    size_t repeat;
    int result; /* returned at the end */
    int depth;  /* a write within a write */
};

static int produce(void *arg, unetstar_write_fn write_fn, void *user) {
    struct content *c = (struct content *)arg;
    size_t i;
    for (i = 0; i < c->repeat; i++)
        if (write_fn(user, c->text, strlen(c->text)))
            return us_fail(UNETSTAR_EIO, "the write callback failed");
    if (c->depth) {
        struct content inner = {"inner", 1, 0, 0};
        assert_int_equal(us_file_write_atomic(ctx, path, produce, &inner), 0);
    }
    if (c->result)
        return us_fail(c->result, "the content is not ready");
    return 0;
}

static int save(const char *name, const char *text) {
    struct content c = {NULL, 1, 0, 0};
    c.text = text;
    return us_file_write_atomic(ctx, name, produce, &c);
}

static void saves(void **state) {
    struct content c = {"0123456789", 100000, 0, 0};
    char name[512], long_name[256];
    struct stat st;
    (void)state;
    assert_int_equal(save(path, "new"), 0);
    assert_content(path, "new");
    assert_int_equal(save(path, ""), 0);
    assert_content(path, "");
    assert_int_equal(us_file_write_atomic(ctx, path, produce, &c), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 1000000);
    memset(long_name, 'n', 255); /* as long as a name may be */
    long_name[255] = 0;
    snprintf(name, sizeof name, "%s/%s", folder, long_name);
    assert_int_equal(save(name, "long"), 0);
    assert_content(name, "long");
    c.repeat = 1;
    c.depth = 1; /* the outer one wins, the two temporary files differ */
    assert_int_equal(us_file_write_atomic(ctx, path, produce, &c), 0);
    assert_content(path, "0123456789");
}

static void saves_relative(void **state) {
    char before[1024];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(save("relative", "here"), 0);
    assert_content("relative", "here");
    assert_int_equal(symlink("relative", "link"), 0);
    assert_int_equal(save("link", "there"), 0);
    assert_content("relative", "there");
    assert_int_equal(save("", "nowhere"), UNETSTAR_EIO);
    assert_int_equal(chdir(before), 0);
}

static void failing_produce_keeps_the_old_file(void **state) {
    struct content c = {"half", 1, UNETSTAR_ECANCELED, 0};
    (void)state;
    write_plain(path, "old");
    assert_int_equal(us_file_write_atomic(ctx, path, produce, &c), UNETSTAR_ECANCELED);
    assert_string_equal(us_error_text(), "the content is not ready");
    assert_content(path, "old");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(us_file_write_atomic(ctx, path, produce, &c), UNETSTAR_ECANCELED);
    assert_int_equal(access(path, F_OK), -1);
}

static int mode_of(const char *name) {
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return (int)(st.st_mode & 07777);
}

static void permissions(void **state) {
    const mode_t mask = umask(027);
    (void)state;
    assert_int_equal(save(path, "1"), 0);
    assert_int_equal(mode_of(path), 0640);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(save(path, "2"), 0);
    assert_int_equal(mode_of(path), 0666);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(save(path, "3"), 0);
    assert_int_equal(mode_of(path), 0600);
    umask(mask);
}

/* Saves in a child that is not root, so that it means something when root runs the tests; true when it was forbidden.
 */
static int save_is_forbidden(void) {
    int status;
    const pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && setuid(65534))
            _exit(3);
        if (save(path, "x") != UNETSTAR_EIO)
            _exit(1);
        _exit(strstr(us_error_text(), "Permission denied") ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void forbidden(void **state) {
    (void)state;
    write_plain(path, "old");
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(folder, 0555), 0); /* the folder */
    assert_true(save_is_forbidden());
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(save_is_forbidden());
    assert_content(path, "x");
    assert_int_equal(chmod(path, 0444), 0); /* a protected file in a folder where it could be replaced */
    assert_true(save_is_forbidden());
    assert_int_equal(chmod(folder, 0700), 0);
    assert_content(path, "x");
}

static void links(void **state) {
    char first[256], second[256], loop[256];
    struct stat st;
    (void)state;
    snprintf(first, sizeof first, "%s/first", folder);
    snprintf(second, sizeof second, "%s/second", folder);
    snprintf(loop, sizeof loop, "%s/loop", folder);
    write_plain(path, "old");
    assert_int_equal(symlink("file", first), 0); /* relative to the folder of the link */
    assert_int_equal(symlink(first, second), 0);
    assert_int_equal(save(second, "new"), 0);
    assert_content(path, "new");
    assert_int_equal(lstat(second, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(save(second, "dangling"), 0); /* creates the target, as open does */
    assert_content(path, "dangling");
    assert_int_equal(symlink("loop", loop), 0);
    assert_int_equal(save(loop, "x"), UNETSTAR_EIO);
    assert_text("cannot write");
}

static void refuses_what_is_not_a_file(void **state) {
    char name[256];
    struct stat st;
    (void)state;
    assert_int_equal(save(folder, "x"), UNETSTAR_EIO);
    assert_text("Is a directory");
    assert_int_equal(save("/dev/null", "x"), UNETSTAR_EIO);
    assert_text("cannot write /dev/null: it is not a regular file");
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    snprintf(name, sizeof name, "%s/pipe", folder);
    assert_int_equal(mkfifo(name, 0600), 0);
    assert_int_equal(save(name, "x"), UNETSTAR_EIO);
    assert_text("not a regular file");
    snprintf(name, sizeof name, "%s/none/file", folder);
    assert_int_equal(save(name, "x"), UNETSTAR_EIO);
    assert_text("No such file or directory");
}

static void full_disk(void **state) {
    struct content c = {"0123456789abcdef", 10000, 0, 0};
    struct rlimit old, limit;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    int result;
    (void)state;
    write_plain(path, "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 100001; /* in the middle of a write */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    result = us_file_write_atomic(ctx, path, produce, &c);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(result, UNETSTAR_EIO);
    assert_text("cannot write /tmp/unetstar-test-");
    assert_text("/file: File too large");
    assert_content(path, "old");
}

static void no_space_left(void **state) {
    (void)state;
    if (access("/dev/full", W_OK)) {
        skip();
        return;
    }
    assert_int_equal(save("/dev/full", "x"), UNETSTAR_EIO); /* a device, and refused as one */
    assert_text("not a regular file");
}

static void no_descriptor_is_left(void **state) {
    struct content bad = {"x", 1, UNETSTAR_EINVAL, 0};
    int i, before = open("/dev/null", O_RDONLY), after;
    void *data;
    size_t size;
    (void)state;
    for (i = 0; i < 3; i++) {
        assert_int_equal(save(path, "x"), 0);
        assert_content(path, "x");
        assert_int_equal(us_file_write_atomic(ctx, path, produce, &bad), UNETSTAR_EINVAL);
        assert_int_equal(us_file_read(ctx, folder, &data, &size), UNETSTAR_EIO);
        assert_int_equal(save("/dev/null", "x"), UNETSTAR_EIO);
    }
    after = open("/dev/null", O_RDONLY);
    assert_int_equal(after, before + 1);
    close(before);
    close(after);
}

static void files_without_memory(void **state) {
    int result = UNETSTAR_ENOMEM;
    long n, live = memory.live;
    void *data;
    size_t size;
    (void)state;
    write_plain(path, "old");
    for (n = 1; result == UNETSTAR_ENOMEM && n < 50; n++) {
        assert_content(path, "old");
        memory.fail_at = memory.calls + n;
        result = save(path, "new");
        assert_int_equal(memory.live, live);
    }
    assert_int_equal(result, 0);
    assert_in_range(n, 3, 10);
    memory.fail_at = memory.calls + 1;
    assert_int_equal(us_file_read(ctx, path, &data, &size), UNETSTAR_ENOMEM);
    assert_null(data);
    memory.fail_at = 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(streams),
                                       TEST(files_read),
                                       TEST(saves),
                                       TEST(saves_relative),
                                       TEST(failing_produce_keeps_the_old_file),
                                       TEST(permissions),
                                       TEST(links),
                                       TEST(refuses_what_is_not_a_file),
                                       TEST(forbidden),
                                       TEST(full_disk),
                                       TEST(no_space_left),
                                       TEST(no_descriptor_is_left),
                                       TEST(files_without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
