/* Ending a terminal and emptying its home. */
#include "backend/docker/parts.h"
#include "base/clock.h"
#include "base/log.h"

#define KILL_ALLOWANCE_MS 30000         /* the engine's own time on top of the grace */
#define RETURN_MS 1000
#define RETURN_PAUSE_MS 100

/* The container that `ref` means, if it is there and ours: by the observed instance, else by the names. NULL: there is none. */
static int find(struct docker *docker, const struct terminal_ref *ref, json_t **inspection, struct error *err)
{
    char names[2][TERMINAL_NAME_SIZE];
    const char *references[] = { ref->instance_id, ref->name, names[0], names[1] };
    size_t first = ref->instance_id ? 0 : ref->name ? 1 : 2, last = first < 2 ? first : 3;

    terminal_name(ref->key, NAME_PREFIX, names[0]);
    terminal_legacy_name(ref->key, NAME_PREFIX, names[1]);
    for (size_t i = first; i <= last; i++) {
        if (container_inspect(docker, references[i], inspection, err) == 0 && container_is_of(*inspection, ref->key))
            return 0;
        if (!*inspection && err->class != ERR_NOT_FOUND)
            return -1;
        json_decref(steal(inspection));
    }
    return 0;
}

static void post_stop(struct docker *docker, const char *id, unsigned grace_s)
{
    cleanup_free char *path = xasprintf("/containers/%s/stop?t=%u", id, grace_s);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_STOP, .method = "POST", .path = path,
                                      .timeout_ms = (int64_t)grace_s * 1000 + KILL_ALLOWANCE_MS };
    struct error err;

    /* Whatever hinders it, removal by force comes next. */
    if (engine_call(docker->engine, &request, &answer, &err) < 0 && err.class != ERR_NOT_FOUND)
        log_warning("a guest did not stop in time and is killed", LOG_STR("container", id), LOG_ERR(&err));
}

static const char *name_of(const json_t *inspection)
{
    const char *name = json_text(inspection, "Name");

    return name && *name == '/' ? name + 1 : name;
}

static bool ended_just_now(const json_t *inspection)
{
    const char *finished = json_text(json_object_get(inspection, "State"), "FinishedAt");
    int64_t finished_us;

    return finished && clock_parse_iso(finished, &finished_us) && clock_wall_us() - finished_us < RETURN_MS * 1000;
}

/* One that ended a moment ago may be on its way back (`docker restart`, a restart policy of the original's): looks again until it is, or the moment is over. */
static void await_return(struct docker *docker, json_t **inspection)
{
    cleanup_free char *id = xstrdup(json_text(*inspection, "Id"));
    int64_t deadline = clock_monotonic_ms() + RETURN_MS;
    struct error ignored;

    while (!container_runs(*inspection) && ended_just_now(*inspection) && clock_monotonic_ms() < deadline && !atomic_load(&docker->stopping)) {
        json_t *now = NULL;

        docker_pause(docker, RETURN_PAUSE_MS);
        if (container_inspect(docker, id, &now, &ignored) < 0)
            return;
        json_decref(*inspection);
        *inspection = now;
    }
}

/* Success also when it runs again, and so stays. */
static int clear_away(struct docker *docker, const struct terminal_ref *ref, json_t **inspection, bool anonymous_volumes, struct error *err)
{
    const char *id;

    await_return(docker, inspection);
    if (container_runs(*inspection))
        return 0;
    id = json_text(*inspection, "Id");
    observe_stopping(docker, name_of(*inspection), id, ref->key);
    if (container_remove_ended(docker, id, anonymous_volumes, err) == 0 || err->class == ERR_CONFLICT)
        return 0;
    return -1;
}

static int stop_and_remove(struct docker *docker, const struct terminal_ref *ref, const json_t *inspection, bool anonymous_volumes, unsigned grace_s,
                           struct error *err)
{
    const char *id = json_text(inspection, "Id");

    observe_stopping(docker, name_of(inspection), id, ref->key);
    if (container_runs(inspection))
        post_stop(docker, id, grace_s);
    return container_remove(docker, id, anonymous_volumes, err);
}

static int end_found(struct docker *docker, const struct terminal_ref *ref, json_t **inspection, unsigned grace_s, struct error *err)
{
    const json_t *labels = json_object_get(json_object_get(*inspection, "Config"), "Labels");
    bool anonymous_volumes = json_object_get(labels, LABEL_SPEC_HASH) != NULL;

    return ref->ended ? clear_away(docker, ref, inspection, anonymous_volumes, err)
                      : stop_and_remove(docker, ref, *inspection, anonymous_volumes, grace_s, err);
}

int docker_stop(struct docker *docker, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    char derived[TERMINAL_NAME_SIZE];
    const char *name = ref->name;
    int result;

    terminal_name(ref->key, NAME_PREFIX, derived);
    name = name ? name : derived;
    if (find(docker, ref, &inspection, err) < 0)
        return error_wrap(err, "stopping '%s'", name);
    result = inspection ? end_found(docker, ref, &inspection, grace_s, err) : 0;
    if (inspection && name_of(inspection))
        name = name_of(inspection);
    if (result < 0)
        return error_wrap(err, "stopping '%s'", name);
    return observe_name(docker, name, err) == LOOK_TOLD ? 0 : -1;
}

int docker_wipe(struct docker *docker, const struct terminal_ref *ref, struct error *err)
{
    if (home_wipe(docker, ref->key, err) < 0)
        return error_wrap(err, "emptying the home");
    return 0;
}
