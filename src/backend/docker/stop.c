/* Ending a terminal and emptying its home. */
#include "backend/docker/parts.h"
#include "base/log.h"

#define KILL_ALLOWANCE_MS 30000         /* the engine's own time on top of the grace */

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

int docker_stop(struct docker *docker, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    char derived[TERMINAL_NAME_SIZE];
    const char *name = ref->name, *id;
    const json_t *labels;
    int result = 0;

    terminal_name(ref->key, NAME_PREFIX, derived);
    if (find(docker, ref, &inspection, err) < 0)
        return error_wrap(err, "stopping '%s'", name ? name : derived);
    if (inspection) {
        name = json_text(inspection, "Name");
        name = name && *name == '/' ? name + 1 : derived;
        id = json_text(inspection, "Id");
        labels = json_object_get(json_object_get(inspection, "Config"), "Labels");
        observe_stopping(docker, name, id, ref->key);
        if (json_is_true(json_object_get(json_object_get(inspection, "State"), "Running")))
            post_stop(docker, id, grace_s);
        result = container_remove(docker, id, json_object_get(labels, LABEL_SPEC_HASH) != NULL, err);
    }
    if (result < 0)
        return error_wrap(err, "stopping '%s'", name);
    return observe_name(docker, name ? name : derived, err) == LOOK_TOLD ? 0 : -1;
}

int docker_wipe(struct docker *docker, const struct terminal_ref *ref, struct error *err)
{
    if (home_wipe(docker, ref->key, err) < 0)
        return error_wrap(err, "emptying the home");
    return 0;
}
