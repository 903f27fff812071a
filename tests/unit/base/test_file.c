/* Directories are emptied whatever their owner made of them, and nothing outside is touched. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"

static int make_scratch(void **state)
{
    char path[] = "/tmp/file-test-XXXXXX";
    if (!mkdtemp(path))
        return -1;
    *state = xstrdup(path);
    return chdir(path);
}

static int remove_scratch(void **state)
{
    struct error err;
    cleanup_free char *path = *state;
    cleanup_fd int dir = dir_open(path, &err);
    return dir < 0 || dir_empty(dir, &err) < 0 || chdir("/") < 0 || rmdir(path) < 0 ? -1 : 0;
}

static void write_file(int dir, const char *name)
{
    cleanup_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

static void empty_home(void)
{
    struct error err = { 0 };
    cleanup_fd int home = dir_open("home", &err);
    assert_true(home >= 0);
    if (dir_empty(home, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(close(home), 0);
    home = -1;
    assert_int_equal(rmdir("home"), 0);
}

static void a_tree_without_end_is_emptied(void **state)
{
    (void)state;
    assert_int_equal(mkdir("home", 0700), 0);
    int at = open("home", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 2500; i++) {
        write_file(at, "file");
        assert_int_equal(mkdirat(at, "d", 0700), 0);
        int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = below;
    }
    close(at);
    /* Names that the emptying itself would like to use. */
    cleanup_fd int home = open("home", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    write_file(home, ".emptying-0");
    assert_int_equal(mkdir("home/.emptying-1", 0700), 0);
    assert_int_equal(mkdir("home/.emptying-1/full", 0700), 0);
    empty_home();
}

static void links_lead_nowhere(void **state)
{
    (void)state;
    assert_int_equal(mkdir("outside", 0700), 0);
    assert_int_equal(mkdir("home", 0700), 0);
    assert_int_equal(mkdir("home/in", 0700), 0);
    cleanup_fd int outside = open("outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    write_file(outside, "kept");
    assert_int_equal(symlink("../outside", "home/directory"), 0);
    assert_int_equal(symlink("../../outside/kept", "home/in/file"), 0);
    assert_int_equal(symlink("nowhere", "home/broken"), 0);
    empty_home();
    assert_int_equal(access("outside/kept", F_OK), 0);
}

static void directories_that_are_closed_are_emptied(void **state)
{
    (void)state;
    assert_int_equal(mkdir("home", 0700), 0);
    assert_int_equal(mkdir("home/closed", 0700), 0);
    assert_int_equal(mkdir("home/closed/below", 0), 0);
    assert_int_equal(chmod("home/closed", 0), 0);
    empty_home();
}

static void only_plain_names_are_components(void **state)
{
    static const struct { const char *name; bool plain; } cases[] = {
        { "alice", true }, { "a b", true }, { "...", true }, { ".hidden", true }, { "ünï", true },
        { "", false }, { ".", false }, { "..", false }, { "a/b", false }, { "/a", false }, { "a/", false },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(path_component_is_plain(str_from(cases[i].name)), cases[i].plain);
}

static void a_made_directory_is_never_a_link(void **state)
{
    struct error err;
    (void)state;
    cleanup_fd int top = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlink("/tmp", "planted"), 0);
    assert_int_equal(dir_make_at(top, "planted", 0700, -1, -1, &err), -1);
    assert_int_equal(dir_make_at(top, "../x", 0700, -1, -1, &err), -1);
    cleanup_fd int made = dir_make_at(top, "made", 0750, -1, -1, &err);
    struct stat status;
    assert_int_equal(fstat(made, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0750);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        CASE(a_tree_without_end_is_emptied),
        CASE(links_lead_nowhere),
        CASE(directories_that_are_closed_are_emptied),
        CASE(only_plain_names_are_components),
        CASE(a_made_directory_is_never_a_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
