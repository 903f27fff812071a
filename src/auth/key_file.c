/* The key that `terminals serve` makes for itself, in a file that only its owner may read.
 *
 * It is written under another name and linked into place, so that a half-written key is never found, and so that of two
 * programs that start at once one key wins. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "auth/auth.h"
#include "base/file.h"
#include "base/random.h"
#include "base/secret.h"

#define KEY_FILE "api-key"
#define KEY_BYTES 24
#define KEY_FILE_MAX 4096

/* 1: read; 0: there is none; -1: failed. */
static int read_key(int dir, const char *state_dir, char **key, struct error *err)
{
    cleanup_fd int fd = openat(dir, KEY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[KEY_FILE_MAX];
    struct stat status;
    struct str trimmed;
    ssize_t got;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot read the API key in %s/%s", state_dir, KEY_FILE);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERR_IO, "%s/%s is not a plain file: remove it", state_dir, KEY_FILE);
    if ((status.st_mode & 077) && fchmod(fd, 0600) < 0)
        return error_set_errno(err, ERR_IO, errno, "%s/%s can be read by others; chmod 600 failed", state_dir, KEY_FILE);
    got = read(fd, text, sizeof(text));
    if (got < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot read the API key in %s/%s", state_dir, KEY_FILE);
    trimmed = str_trim(str_of(text, (size_t)got));
    if (trimmed.len == 0 || str_has_control(trimmed) || str_find_char(trimmed, ' ') != SIZE_MAX)
        return error_set(err, ERR_IO, "%s/%s does not hold a key: remove it, and a new one is made", state_dir, KEY_FILE);
    *key = str_dup(trimmed);
    explicit_bzero(text, sizeof(text));
    return 1;
}

static int write_whole(int fd, const char *key)
{
    size_t len = strlen(key);

    errno = ENOSPC;
    if (write(fd, key, len) != (ssize_t)len || write(fd, "\n", 1) != 1)
        return -1;
    return fsync(fd);
}

/* Writes the key under `name`, and links it to its place. 1: done; 0: another was first; -1: failed, with errno. */
static int place_key(int dir, const char *name, const char *key)
{
    cleanup_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int result, number;

    if (fd < 0)
        return -1;
    result = fchmod(fd, 0600) < 0 || write_whole(fd, key) < 0 || linkat(dir, name, dir, KEY_FILE, 0) < 0 ? -1 : 1;
    number = errno;
    (void)unlinkat(dir, name, 0);
    if (result < 0 && number == EEXIST)
        return 0;
    if (result > 0)
        (void)fsync(dir);
    errno = number;
    return result;
}

/* 1: made; 0: another was first; -1: failed. */
static int make_key(int dir, const char *state_dir, char **key, struct error *err)
{
    cleanup_free char *suffix = random_alphanumeric(12);
    cleanup_free char *name = xasprintf(".%s.%s", KEY_FILE, suffix);
    cleanup_secret char *fresh = random_token(KEY_BYTES);
    int placed = place_key(dir, name, fresh);

    if (placed < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot write the API key to %s/%s", state_dir, KEY_FILE);
    if (placed > 0)
        *key = steal(&fresh);
    return placed;
}

int auth_load_or_make_key(const char *state_dir, char **key, bool *made, struct error *err)
{
    cleanup_fd int dir = -1;
    int found;

    *key = NULL;
    *made = false;
    if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, errno, "cannot make the state directory %s", state_dir);
    dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set_errno(err, ERR_IO, errno, "cannot open the state directory %s", state_dir);
    found = read_key(dir, state_dir, key, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    found = make_key(dir, state_dir, key, err);
    if (found < 0)
        return -1;
    *made = found > 0;
    if (*made)
        return 0;
    found = read_key(dir, state_dir, key, err);
    return found > 0 ? 0 : found < 0 ? -1 : error_set(err, ERR_IO, "%s/%s came and went", state_dir, KEY_FILE);
}
