#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read(const char *path, size_t limit, char **data, size_t *len, struct error *err)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot read %s", path);
    cleanup_buf struct buf contents = { .limit = limit };
    char chunk[8192];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        if (!buf_append(&contents, chunk, (size_t)got))
            return error_set(err, ERR_LIMIT, "%s is longer than %zu bytes", path, limit);
    if (got < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot read %s", path);
    *len = contents.len;
    *data = buf_take(&contents);
    return 0;
}

static int write_all(int fd, struct str data)
{
    while (data.len > 0) {
        ssize_t put = write(fd, data.data, data.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        data = str_skip(data, (size_t)put);
    }
    return 0;
}

char *path_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? xstrdup("/") : slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
}

/* Makes a rename in the directory of `path` durable. */
static void sync_directory_of(const char *path)
{
    cleanup_free char *dir = path_directory(path);
    cleanup_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)fsync(fd);
}

int file_write_atomic(const char *path, struct str data, unsigned mode, struct error *err)
{
    cleanup_free char *temporary = xasprintf("%s.%ld.tmp", path, (long)getpid());
    cleanup_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot write %s", temporary);
    if (fchmod(fd, (mode_t)mode) < 0 || write_all(fd, data) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0) {
        int number = errno;
        (void)unlink(temporary);
        return error_set_errno(err, ERR_IO, number, "cannot write %s", path);
    }
    sync_directory_of(path);
    return 0;
}

int dir_open(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open the directory %s", path);
    return fd;
}

int dir_make_at(int parent, const char *name, unsigned mode, int uid, int gid, struct error *err)
{
    if (!path_component_is_plain(str_from(name)))
        return error_set(err, ERR_INVALID, "'%s' is not a directory's name", name);
    bool made = mkdirat(parent, name, (mode_t)mode) == 0;
    if (!made && errno != EEXIST)
        return error_set_errno(err, ERR_IO, errno, "cannot make the directory %s", name);
    cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot open the directory %s", name);
    if (made && fchmod(fd, (mode_t)mode) < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot set the mode of %s", name);
    if (made && (uid >= 0 || gid >= 0) && fchown(fd, (uid_t)uid, (gid_t)gid) < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot give %s to user %d", name, uid);
    int result = fd;
    fd = -1;
    return result;
}

/* --- emptying ------------------------------------------------------------------------------------------------ */

#define DEEPEST 100                     /* levels below the top; each holds two descriptors open */

struct emptying {
    int top;
    dev_t device;
    unsigned long lifted;               /* directories moved to the top so far */
};

static int empty_level(struct emptying *emptying, int dir, unsigned depth, struct error *err);

/* Too deep to descend: the directory goes to the top, where the next round finds it. */
static int lift(struct emptying *emptying, int dir, const char *name, struct error *err)
{
    char aside[40];

    do {
        (void)snprintf(aside, sizeof aside, ".emptying-%lu", emptying->lifted++);
        if (renameat(dir, name, emptying->top, aside) == 0)
            return 0;
    } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
    return error_set_errno(err, ERR_IO, errno, "cannot move %s out of its depth", name);
}

/* Whoever made it may have closed it to us; when it is ours, that is no obstacle. */
static int open_child(int dir, const char *name)
{
    int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (child < 0 && errno == EACCES) {
        cleanup_fd int closed = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        char path[40];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", closed);
        if (closed >= 0 && chmod(path, 0700) == 0)
            child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (child >= 0)
        (void)fchmod(child, 0700);
    return child;
}

static int remove_directory(struct emptying *emptying, int dir, const char *name, unsigned depth, struct error *err)
{
    cleanup_fd int child = open_child(dir, name);
    struct stat status;
    if (child < 0 || fstat(child, &status) < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot open %s", name);
    if (status.st_dev != emptying->device)
        return error_set(err, ERR_IO, "%s is another file system, which is left alone", name);
    if (depth == DEEPEST)
        return lift(emptying, dir, name, err);
    if (empty_level(emptying, child, depth + 1, err) < 0)
        return -1;
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(err, ERR_IO, errno, "cannot remove %s", name);
    return 0;
}

static int remove_entry(struct emptying *emptying, int dir, const char *name, unsigned depth, struct error *err)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return error_set_errno(err, ERR_IO, errno, "cannot remove %s", name);
    return remove_directory(emptying, dir, name, depth, err);
}

static int empty_level(struct emptying *emptying, int dir, unsigned depth, struct error *err)
{
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = again < 0 ? NULL : fdopendir(again);
    if (!entries) {
        int number = errno;
        if (again >= 0)
            (void)close(again);
        return error_set_errno(err, ERR_IO, number, "cannot list a directory");
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(entries)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = remove_entry(emptying, dir, entry->d_name, depth, err);
    (void)closedir(entries);
    return result;
}

int dir_empty(int dir, struct error *err)
{
    struct stat status;
    if (fstat(dir, &status) < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot look at a directory");
    struct emptying emptying = { .top = dir, .device = status.st_dev };
    unsigned long lifted_before;
    do {
        lifted_before = emptying.lifted;
        if (empty_level(&emptying, dir, 0, err) < 0)
            return -1;
    } while (emptying.lifted != lifted_before);
    return 0;
}

bool path_component_is_plain(struct str name)
{
    return name.len > 0 && name.len <= 255 && str_find_char(name, '/') == SIZE_MAX &&
           str_find_char(name, '\0') == SIZE_MAX && !str_equal_text(name, ".") && !str_equal_text(name, "..");
}
