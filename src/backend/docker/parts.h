/* What the files of this module share: the backend's object and the steps that its operations are made of. */
#ifndef BACKEND_DOCKER_PARTS_H
#define BACKEND_DOCKER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/docker/docker.h"
#include "backend/docker/engine.h"
#include "backend/docker/image.h"
#include "backend/docker/reach.h"
#include "base/list.h"
#include "base/map.h"

#define GUEST_PORT 8000
#define GUEST_HOME "/home/user"
#define NAME_PREFIX "terminals-"

struct docker {
    struct backend backend;
    const struct settings *settings;    /* borrowed */
    struct engine *engine;
    struct pulls *pulls;
    atomic_bool stopping;               /* stop_watching() was called */
    atomic_bool storage_is_unsupported; /* the storage driver refused a size once */
    atomic_bool init_is_missing;        /* the engine has no docker-init */

    pthread_mutex_t reach_lock;         /* guards `reach`; held while it is found out, so that it is once */
    struct reach *reach;                /* NULL: to be found out (again) */

    /* Held while a container is looked at *and* the observation is handed over, so that an older look never overtakes a newer one. Also guards `observer`,
     * `starting` and `known`. */
    pthread_mutex_t observe_lock;
    struct observer *observer;          /* NULL until watch() */
    struct list starting;               /* calls of start(), by name */
    struct map known;                   /* id → name of each container of ours seen since the last listing began */

    pthread_mutex_t watch_lock;
    pthread_cond_t watch_wake;          /* stop_watching(), for the back-off */
};

/* A running start() of ours: its container is STARTING while it is only created. */
struct live_start {
    struct list node;
    const char *name;
};

/* --- container.c: what a container is made of, and what an inspection says (pure) ------------------------------ */

struct container_plan {
    const char *network;
    const char *publish_ip;             /* publish the guest's port at this address; NULL: not */
    const char *log_driver;             /* the engine's default one */
    uint64_t most_nano_cpus;            /* what the host has; 0: not known */
    bool storage_size;                  /* the driver takes a size as far as we know */
    bool init;                          /* the engine has an init as far as we know */
    const char *name;
    const json_t *home;                 /* one entry of Mounts */
    const struct docker_mount *mounts;
    size_t mount_count;
};
/* The body of POST /containers/create. The caller owns it. ERR_INVALID_POLICY. */
json_t *container_body(const struct terminal_spec *spec, const struct container_plan *plan, struct error *err) MUST_CHECK;
/* The labels of everything that we make for a key: container, volume. `spec_hash` may be NULL. */
json_t *container_labels(const struct terminal_key *key, const char *spec_hash) MUST_CHECK;
/* The key that labels name; NULL when they are not ours. The caller frees. */
struct terminal_key *key_from_labels(const json_t *labels) MUST_CHECK;
/* Value of a variable in Config.Env of an inspection, or NULL. Borrowed. */
const char *container_env(const json_t *inspection, const char *name);
/* "exited with code 1", "killed (out of memory)", … of an inspection that does not run; the class that goes with it. */
enum error_class container_exit_reason(const json_t *inspection, char text[static 160]);

/* --- logs.c (pure but for diagnose) -------------------------------------------------------------------------- */

/* The engine's framed log stream as text: frames unpacked, escape sequences and control characters out, the last `most` bytes from a line's begin on.
 * The caller frees. */
char *logs_to_text(struct str framed, size_t most) MUST_CHECK;
int docker_diagnose(struct docker *docker, const struct terminal_ref *ref, char **text, struct error *err) MUST_CHECK;

/* --- home.c -------------------------------------------------------------------------------------------------- */

/* Makes sure that the key's home is there and gives its entry for Mounts (owned by the caller). `*created_volume`: this call made a volume
 * (name owned by the caller), to be removed again when the start fails. */
int home_prepare(struct docker *docker, const struct reach *reach, const struct terminal_key *key, json_t **mount, char **created_volume,
                 struct error *err) MUST_CHECK;
void home_undo(struct docker *docker, const char *created_volume);
int home_wipe(struct docker *docker, const struct terminal_key *key, struct error *err) MUST_CHECK;
/* Which directory below the open data directory is the home of the key: the original's or `name` (pure but for one look at the directory). The caller frees. */
char *home_directory_name(int data_dir, const struct terminal_key *key, const char *name) MUST_CHECK;

/* --- containers.c: single calls ------------------------------------------------------------------------------ */

/* `reference` is a name or an id. The caller owns `*inspection`. ERR_NOT_FOUND. */
int container_inspect(struct docker *docker, const char *reference, json_t **inspection, struct error *err) MUST_CHECK;
/* container_inspect() that also tells the status of the engine's answer; 0: there was none. */
int container_inspect_status(struct docker *docker, const char *reference, json_t **inspection, int *status, struct error *err) MUST_CHECK;
/* The array that GET of `path`, "/containers/json?…", answers. The caller owns it. */
int containers_list(struct docker *docker, const char *path, json_t **containers, struct error *err) MUST_CHECK;
/* Removes by id, by force, and waits until it is gone. Success when there is none. `anonymous_volumes` too: never those with a name. */
int container_remove(struct docker *docker, const char *id, bool anonymous_volumes, struct error *err) MUST_CHECK;
/* The same without force. ERR_CONFLICT: it runs, and stays. */
int container_remove_ended(struct docker *docker, const char *id, bool anonymous_volumes, struct error *err) MUST_CHECK;
/* Whether its processes run, be they paused or about to be started again. */
bool container_runs(const json_t *inspection);
/* Ours and of exactly this key. */
bool container_is_of(const json_t *inspection, const struct terminal_key *key);

/* --- observe.c ----------------------------------------------------------------------------------------------- */

enum look_result {
    LOOK_FAILED = -1,                   /* the engine cannot be asked; nothing was told */
    LOOK_TOLD,
    LOOK_REFUSED,                       /* it answers, but cannot describe this container, whose terminal stays as it was told last */
};
/* Looks at the container with this name and tells the observer what is there. `err` is set unless LOOK_TOLD. */
enum look_result observe_name(struct docker *docker, const char *name, struct error *err);
/* observe_name() of the container with this id, if it was seen as ours since the last listing began. Nothing while a start of ours works on it, which looks
 * itself in the end: the engine would not answer before that. */
enum look_result observe_known_id(struct docker *docker, const char *id, struct error *err);
/* Tells that a listing begins. */
void observe_listing_begin(struct docker *docker);
/* Tells that the terminal is about to end. */
void observe_stopping(struct docker *docker, const char *name, const char *id, const struct terminal_key *key);
void live_start_begin(struct docker *docker, struct live_start *start, const char *name);
void live_start_end(struct docker *docker, struct live_start *start);
/* Whether a guest that runs can be reached and used from here; fills the endpoint. Else `*why` is a literal. */
bool container_is_usable(const struct reach *reach, const json_t *inspection, struct endpoint *endpoint, const char **why);

/* --- start.c, stop.c, watch.c, check.c ----------------------------------------------------------------------- */

int docker_start(struct docker *docker, const struct terminal_spec *spec, struct error *err) MUST_CHECK;
int docker_stop(struct docker *docker, const struct terminal_ref *ref, unsigned grace_s, struct error *err) MUST_CHECK;
int docker_look(struct docker *docker, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
int docker_wipe(struct docker *docker, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
void docker_watch(struct docker *docker, struct observer *observer);
void docker_check(struct docker *docker, check_report_fn *report, void *context);

/* How guests are reached; finds it out where needed. A reference, to be given back with reach_unref(). NULL on failure. */
struct reach *docker_reach(struct docker *docker, struct error *err) MUST_CHECK;
/* Something did not fit: find out again at the next need. */
void docker_forget_reach(struct docker *docker);
/* Sleeps, but wakes at once for stop_watching(). */
void docker_pause(struct docker *docker, int64_t ms);

#endif
