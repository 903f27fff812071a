/* TERMINALS_DOCKER_MOUNTS: host directories that every guest gets (orchestrator.md §4.1). A target may not hide
 * what the guest lives on, and no two targets may lie in each other. */
#include <pwd.h>

#include "base/json.h"
#include "settings/types.h"

static const char *const unsafe_targets[] = {
    "/app", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
    "/usr", "/var",
};

/* Whether normalised `path` is `directory` or lies in it. */
static bool path_is_within(const char *path, const char *directory)
{
    size_t len = strlen(directory);
    return strncmp(path, directory, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool target_is_unsafe(const char *target)
{
    if (strcmp(target, "/") == 0)
        return true;
    for (size_t i = 0; i < COUNT_OF(unsafe_targets); i++)
        if (path_is_within(target, unsafe_targets[i]))
            return true;
    return false;
}

/* The home directory of `user` ("": our own), or NULL. The caller frees. */
static char *home_of(struct str user)
{
    const char *home = getenv("HOME");
    if (user.len == 0 && home && home[0] != '\0')
        return xstrdup(home);
    cleanup_free char *name = str_dup(user);
    const struct passwd *entry = user.len == 0 ? getpwuid(getuid()) : getpwnam(name);
    return entry ? xstrdup(entry->pw_dir) : NULL;
}

/* "~" and "~user" at the front replaced; an unknown user leaves the text as it is. The caller frees. */
static char *expand_home(const char *path)
{
    if (path[0] != '~')
        return xstrdup(path);
    size_t len = strcspn(path, "/");
    cleanup_free char *home = home_of(str_of(path + 1, len - 1));
    return home ? xasprintf("%s%s", home, path + len) : xstrdup(path);
}

/* The absolute path at `key`, normalised; the caller frees. NULL with the reason. */
static char *read_path(const json_t *entry, const char *key, struct error *err)
{
    const char *text = json_text(entry, key);
    if (!text || text[0] == '\0') {
        (void)error_set(err, ERR_INVALID, "'%s' is missing or not a text", key);
        return NULL;
    }
    cleanup_free char *path = strcmp(key, "source") == 0 ? expand_home(text) : xstrdup(text);
    if (path[0] != '/') {
        (void)error_set(err, ERR_INVALID, "'%s' must be an absolute path, not '%s'", key, text);
        return NULL;
    }
    return path_normalise(path);
}

static int check_target(const char *target, const struct docker_mount *mounts, size_t count, struct error *err)
{
    if (target_is_unsafe(target))
        return error_set(err, ERR_INVALID, "the target '%s' is unsafe: it would hide a part of the guest's own system", target);
    for (size_t i = 0; i < count; i++)
        if (path_is_within(target, mounts[i].target) || path_is_within(mounts[i].target, target))
            return error_set(err, ERR_INVALID, "the target '%s' overlaps '%s' of entry %zu", target, mounts[i].target, i);
    return 0;
}

/* Fills mounts[at] from one entry; the ones before it are done. What was filled is freed with the settings. */
static int read_mount(const json_t *entry, struct docker_mount *mounts, size_t at, struct error *err)
{
    struct docker_mount *mount = &mounts[at];
    if (!json_is_object(entry))
        return error_set(err, ERR_INVALID, "not an object");
    const json_t *read_only = json_object_get(entry, "readOnly");
    if (read_only && !json_is_boolean(read_only))
        return error_set(err, ERR_INVALID, "'readOnly' must be true or false");
    mount->read_only = !json_is_false(read_only);
    mount->source = read_path(entry, "source", err);
    if (!mount->source)
        return -1;
    mount->target = read_path(entry, "target", err);
    if (!mount->target)
        return -1;
    return check_target(mount->target, mounts, at, err);
}

static void free_mounts(void *place)
{
    struct settings *settings = CONTAINER_OF(place, struct settings, docker_mounts);
    for (size_t i = 0; i < settings->docker_mount_count; i++) {
        free(settings->docker_mounts[i].source);
        free(settings->docker_mounts[i].target);
    }
    free(settings->docker_mounts);
}

static int read_mounts(const struct setting *setting, const char *text, void *place, struct error *err)
{
    (void)setting;
    struct settings *settings = CONTAINER_OF(place, struct settings, docker_mounts);
    cleanup_json json_t *entries = json_read(str_from(text), err);
    if (!entries)
        return error_wrap(err, "must be a JSON array of {\"source\", \"target\", \"readOnly\"}");
    if (!json_is_array(entries))
        return error_set(err, ERR_INVALID, "must be a JSON array of {\"source\", \"target\", \"readOnly\"}");
    settings->docker_mount_count = json_array_size(entries);
    settings->docker_mounts = xcalloc(settings->docker_mount_count + 1, sizeof(*settings->docker_mounts));
    for (size_t i = 0; i < settings->docker_mount_count; i++)
        if (read_mount(json_array_get(entries, i), settings->docker_mounts, i, err) < 0)
            return error_wrap(err, "entry %zu", i);
    return 0;
}

const struct setting_type type_mounts = { read_mounts, free_mounts };
