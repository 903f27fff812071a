/* The home of a terminal: a named volume, or a directory below TERMINALS_DOCKER_DATA_DIR.
 *
 * Directories are opened one component at a time from the data directory's descriptor and never through a link, and their names never
 * come from outside: either the terminal's name, or the user id when the original program already made a plain directory of
 * that name. The latter counts for the context `default` only (a chat's home is never the user's own), for every policy (the original
 * shared it), and never for a user id that looks like a terminal's name. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "backend/docker/parts.h"
#include "base/file.h"
#include "base/log.h"
#include "http/uri.h"

/* Owned by the user that guest images run as, group root: the images with another user are in that group. */
#define HOME_MODE 0770u
#define HOME_UID 1000
#define HOME_GID 0

/* --- volumes ------------------------------------------------------------------------------------------------- */

static char *volume_name(const struct terminal_key *key)
{
    char name[TERMINAL_NAME_SIZE];

    terminal_name(key, NAME_PREFIX, name);
    return xasprintf("%s-home", name);
}

static int inspect_volume(struct docker *docker, const char *name, json_t **volume, struct error *err)
{
    cleanup_free char *path = xasprintf("/volumes/%s", name);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_VOLUME_INSPECT, .method = "GET", .path = path };

    if (engine_call(docker->engine, &request, &answer, err) < 0)
        return -1;
    *volume = steal(&answer.json);
    return 0;
}

static int create_volume(struct docker *docker, const char *name, const struct terminal_key *key, struct error *err)
{
    cleanup_json json_t *body = json_pack("{s:s, s:o}", "Name", name, "Labels", container_labels(key, NULL));
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_VOLUME_CREATE, .method = "POST", .path = "/volumes/create", .body = body };

    return engine_call(docker->engine, &request, &answer, err);
}

static int remove_volume(struct docker *docker, const char *name, struct error *err)
{
    cleanup_free char *path = xasprintf("/volumes/%s", name);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_VOLUME_REMOVE, .method = "DELETE", .path = path };

    if (engine_call(docker->engine, &request, &answer, err) == 0 || err->class == ERR_NOT_FOUND)
        return 0;
    return -1;
}

/* A volume that somebody restored by hand has no labels: it is mounted, but never deleted by us. One that is labelled for another key is neither. */
enum volume_owner { VOLUME_OURS, VOLUME_UNLABELLED, VOLUME_FOREIGN };

static enum volume_owner owner_of(const json_t *volume, const struct terminal_key *key)
{
    const json_t *labels = json_object_get(volume, "Labels");
    struct terminal_key *labelled = key_from_labels(labels);
    enum volume_owner owner = labelled ? terminal_key_equal(labelled, key) ? VOLUME_OURS : VOLUME_FOREIGN
        : json_object_get(labels, LABEL_MANAGED_BY) ? VOLUME_FOREIGN : VOLUME_UNLABELLED;

    terminal_key_free(labelled);
    return owner;
}

static int prepare_volume(struct docker *docker, const struct terminal_key *key, json_t **mount, char **created, struct error *err)
{
    cleanup_free char *name = volume_name(key);
    cleanup_json json_t *volume = NULL;

    if (inspect_volume(docker, name, &volume, err) == 0) {
        if (owner_of(volume, key) == VOLUME_FOREIGN)
            return error_set(err, ERR_CONFLICT, "volume '%s' is labelled for another terminal; remove or rename it", name);
    } else if (err->class != ERR_NOT_FOUND) {
        return error_wrap(err, "looking for volume '%s'", name);
    } else if (create_volume(docker, name, key, err) < 0) {
        return error_wrap(err, "making volume '%s'", name);
    } else {
        *created = xstrdup(name);
    }
    /* Should somebody remove the volume before the container is made, the engine makes it anew: then with our labels too. */
    *mount = json_pack("{s:s, s:s, s:s, s:{s:o}}", "Type", "volume", "Source", name, "Target", GUEST_HOME,
                       "VolumeOptions", "Labels", container_labels(key, NULL));
    return 0;
}

/* A container of the same key that ended, but is still there, holds its volume. */
static int free_volume(struct docker *docker, const struct terminal_key *key, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    char name[TERMINAL_NAME_SIZE];

    terminal_name(key, NAME_PREFIX, name);
    if (container_inspect(docker, name, &inspection, err) < 0)
        return -1;
    if (!container_is_of(inspection, key) || container_runs(inspection))
        return error_set(err, ERR_CONFLICT, "the volume is in use by a running container");
    return container_remove(docker, json_text(inspection, "Id"), false, err);
}

static int wipe_volume(struct docker *docker, const struct terminal_key *key, struct error *err)
{
    cleanup_free char *name = volume_name(key);
    cleanup_json json_t *volume = NULL;

    if (inspect_volume(docker, name, &volume, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : error_wrap(err, "looking for volume '%s'", name);
    if (owner_of(volume, key) != VOLUME_OURS)
        return error_set(err, ERR_CONFLICT, "volume '%s' does not carry this terminal's labels and is not deleted; remove it by hand", name);
    if (remove_volume(docker, name, err) == 0)
        return 0;
    if (err->class == ERR_CONFLICT && free_volume(docker, key, &(struct error){ 0 }) == 0 && remove_volume(docker, name, err) == 0)
        return 0;
    return error_wrap(err, "removing volume '%s'", name);
}

/* --- directories --------------------------------------------------------------------------------------------- */

static bool is_directory_at(int parent, const char *name)
{
    struct stat status;

    return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

char *home_directory_name(int data_dir, const struct terminal_key *key, const char *name)
{
    struct str user = str_from(key->user_id);

    if (strcmp(key->context_id, DEFAULT_CONTEXT_ID) == 0 && path_component_is_plain(user)
        && !str_starts_with(user, STR_LITERAL(NAME_PREFIX)) && is_directory_at(data_dir, key->user_id))
        return xstrdup(key->user_id);
    return xstrdup(name);
}

/* The administrator's own path: links in it are his. Made when it is missing. */
static char *resolve_data_dir(const char *configured, struct error *err)
{
    char *resolved;

    if (mkdir(configured, 0711) < 0 && errno != EEXIST) {
        (void)error_set_errno(err, ERR_IO, errno, "TERMINALS_DOCKER_DATA_DIR '%s' cannot be made", configured);
        return NULL;
    }
    resolved = realpath(configured, NULL);
    if (!resolved)
        (void)error_set_errno(err, ERR_IO, errno, "TERMINALS_DOCKER_DATA_DIR '%s'", configured);
    return resolved;
}

/* The path as the engine's host sees it: told by the settings, or read off the mounts of our own container. */
static char *host_path_of(const struct docker *docker, const struct reach *reach, const char *data_dir)
{
    const json_t *mount, *best = NULL;
    size_t index, best_len = 0;

    if (docker->settings->docker_host_data_dir)
        return xstrdup(docker->settings->docker_host_data_dir);
    json_array_foreach(reach->self_mounts, index, mount) {
        const char *inside = json_text(mount, "Destination");
        size_t len = inside ? strlen(inside) : 0;

        if (len > best_len && json_text(mount, "Source") && strncmp(data_dir, inside, len) == 0
            && (data_dir[len] == '/' || data_dir[len] == '\0')) {
            best = mount;
            best_len = len;
        }
    }
    return best ? xasprintf("%s%s", json_text(best, "Source"), data_dir + best_len) : xstrdup(data_dir);
}

static int make_directory(int data_dir, const char *name, struct error *err)
{
    bool root = geteuid() == 0;
    cleanup_fd int home = -1;

    if (is_directory_at(data_dir, name))
        return 0;
    home = dir_make_at(data_dir, name, HOME_MODE, root ? HOME_UID : -1, root ? HOME_GID : -1, err);
    return home < 0 ? -1 : 0;
}

static int prepare_directory(struct docker *docker, const struct reach *reach, const struct terminal_key *key, json_t **mount,
                             struct error *err)
{
    cleanup_free char *path = resolve_data_dir(docker->settings->docker_data_dir, err), *directory = NULL, *host = NULL, *source = NULL;
    char name[TERMINAL_NAME_SIZE];
    cleanup_fd int data_dir = path ? dir_open(path, err) : -1;

    if (data_dir < 0)
        return -1;
    terminal_name(key, NAME_PREFIX, name);
    directory = home_directory_name(data_dir, key, name);
    if (make_directory(data_dir, directory, err) < 0)
        return error_wrap(err, "making the home directory %s/%s", path, directory);
    host = host_path_of(docker, reach, path);
    source = xasprintf("%s/%s", host, directory);
    *mount = json_pack("{s:s, s:s, s:s}", "Type", "bind", "Source", source, "Target", GUEST_HOME);
    return *mount ? 0 : error_set(err, ERR_INVALID, "the path of the home directory is not valid UTF-8");
}

/* The path that lists the containers of the user that run. */
static char *running_of_user(const struct terminal_key *key)
{
    cleanup_free char *label = xasprintf("%s=%s", LABEL_USER_ID, key->user_id);
    cleanup_json json_t *filters = json_pack("{s:[s, s]}", "label", LABEL_MANAGED_BY "=" LABEL_MANAGED_BY_VALUE, label);
    cleanup_free char *text = json_write(filters);
    struct buf path = { 0 };

    buf_append_text(&path, "/containers/json?filters=");
    uri_encode(&path, str_from(text));
    buf_append(&path, "", 1);
    return buf_take(&path);
}

static bool has_same_home(const json_t *container, const struct terminal_key *key)
{
    struct terminal_key *other = key_from_labels(json_object_get(container, "Labels"));
    bool same = other && strcmp(other->user_id, key->user_id) == 0 && strcmp(other->context_id, DEFAULT_CONTEXT_ID) == 0
        && !terminal_key_equal(other, key);

    terminal_key_free(other);
    return same;
}

/* The original's directory is the home of the user's terminals under every policy: none of them may lose it while it runs. */
static int check_nobody_shares(struct docker *docker, const struct terminal_key *key, const char *directory, struct error *err)
{
    cleanup_free char *path = running_of_user(key);
    cleanup_json json_t *containers = NULL;
    const json_t *container;
    size_t index;

    if (containers_list(docker, path, &containers, err) < 0)
        return error_wrap(err, "looking for terminals that share the home directory '%s'", directory);
    json_array_foreach(containers, index, container)
        if (has_same_home(container, key))
            return error_set(err, ERR_CONFLICT, "the home directory '%s' is shared by the user's terminals of all policies, and the one of policy '%s' runs; stop it first",
                             directory, json_text(json_object_get(container, "Labels"), LABEL_POLICY));
    return 0;
}

static int wipe_directory(struct docker *docker, const struct terminal_key *key, struct error *err)
{
    cleanup_free char *path = resolve_data_dir(docker->settings->docker_data_dir, err), *directory = NULL;
    char name[TERMINAL_NAME_SIZE];
    cleanup_fd int data_dir = path ? dir_open(path, err) : -1, home = -1;

    if (data_dir < 0)
        return -1;
    terminal_name(key, NAME_PREFIX, name);
    directory = home_directory_name(data_dir, key, name);
    if (strcmp(directory, name) != 0 && check_nobody_shares(docker, key, directory, err) < 0)
        return -1;
    home = openat(data_dir, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (home < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, ERR_IO, errno, "opening the home directory %s/%s", path, directory);
    if (dir_empty(home, err) < 0)
        return error_wrap(err, "emptying the home directory %s/%s", path, directory);
    return 0;
}

/* --- either -------------------------------------------------------------------------------------------------- */

int home_prepare(struct docker *docker, const struct reach *reach, const struct terminal_key *key, json_t **mount, char **created_volume,
                 struct error *err)
{
    if (docker->settings->docker_data_dir)
        return prepare_directory(docker, reach, key, mount, err);
    return prepare_volume(docker, key, mount, created_volume, err);
}

void home_undo(struct docker *docker, const char *created_volume)
{
    struct error err;

    if (created_volume && remove_volume(docker, created_volume, &err) < 0)
        log_warning("a volume made for a failed start stays", LOG_STR("volume", created_volume), LOG_ERR(&err));
}

int home_wipe(struct docker *docker, const struct terminal_key *key, struct error *err)
{
    return docker->settings->docker_data_dir ? wipe_directory(docker, key, err) : wipe_volume(docker, key, err);
}
