/* A state directory that cannot be written stops the start: a database that silently lived elsewhere would be lost
 * with the next container. */
#include "settings/state_dir.h"

#include <errno.h>
#include <sys/stat.h>

#include "settings/types.h"

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

char *state_dir_default(void)
{
    if (is_directory("/app/data"))
        return xstrdup("/app/data");
    const char *systemd = getenv("STATE_DIRECTORY");    /* a list with ':' when the unit names several */
    if (systemd && systemd[0] == '/')
        return xstrndup(systemd, strcspn(systemd, ":"));
    return path_normalise("data");
}

static int not_usable(const char *path, int number, const char *what, struct error *err)
{
    return error_set(err, ERR_IO, "the state directory %s %s (%s): make it writable for user id %u (chown %u %s), or name "
                     "another one with TERMINALS_STATE_DIR", path, what, strerrordesc_np(number), geteuid(), geteuid(), path);
}

/* Makes the directories from the front; those that exist are left as they are. */
static int make_with_parents(const char *path, struct error *err)
{
    cleanup_free char *part = xstrdup(path);
    for (size_t i = 1;; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        int number = mkdir(part, 0700) < 0 ? errno : 0;
        if (number != 0 && !is_directory(part))
            return not_usable(path, number, "cannot be made", err);
        part[i] = kept;
        if (kept == '\0')
            return 0;
    }
}

/* The nearest directory on the way to `path` that exists; the caller frees. */
static char *nearest_existing(const char *path)
{
    char *nearest = xstrdup(path);
    while (access(nearest, F_OK) < 0 && strrchr(nearest, '/') != nearest)
        *strrchr(nearest, '/') = '\0';
    if (access(nearest, F_OK) < 0)
        nearest[1] = '\0';
    return nearest;
}

int state_dir_prepare(const char *path, bool look_only, struct error *err)
{
    if (!look_only && !is_directory(path) && make_with_parents(path, err) < 0)
        return -1;
    cleanup_free char *nearest = nearest_existing(path);
    if (!is_directory(nearest))
        return not_usable(path, ENOTDIR, "is not a directory", err);
    if (access(nearest, W_OK | X_OK) < 0)
        return not_usable(path, errno, "is not writable", err);
    return 0;
}
