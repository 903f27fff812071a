/* From an inspection to an observation. Whatever made us look, what is told is what the engine says now, so lost, doubled or late events
 * and two containers that follow each other under one name do no harm. */
#include "backend/docker/parts.h"
#include "base/log.h"

/* --- starts that run ----------------------------------------------------------------------------------------- */

void live_start_begin(struct docker *docker, struct live_start *start, const char *name)
{
    start->name = name;
    pthread_mutex_lock(&docker->observe_lock);
    list_append(&docker->starting, &start->node);
    pthread_mutex_unlock(&docker->observe_lock);
}

void live_start_end(struct docker *docker, struct live_start *start)
{
    pthread_mutex_lock(&docker->observe_lock);
    list_remove(&start->node);
    pthread_mutex_unlock(&docker->observe_lock);
}

static bool is_being_started(const struct docker *docker, const char *name)
{
    LIST_FOR_EACH(node, &docker->starting)
        if (strcmp(LIST_ENTRY(node, struct live_start, node)->name, name) == 0)
            return true;
    return false;
}

/* --- phases -------------------------------------------------------------------------------------------------- */

bool container_is_usable(const struct reach *reach, const json_t *inspection, struct endpoint *endpoint, const char **why)
{
    const char *key = container_env(inspection, "OPEN_TERMINAL_API_KEY");

    *why = NULL;
    if (!key || !*key)
        *why = "its key is not known";
    else if (!reach_endpoint(reach, inspection, endpoint))
        *why = "it publishes no port and sits on no network that is reachable from here";
    return !*why;
}

static enum observed_phase phase_of(const struct docker *docker, const char *name, const json_t *inspection)
{
    const char *status = json_text(json_object_get(inspection, "State"), "Status");

    if (!status)
        return OBSERVED_STOPPED;
    if (strcmp(status, "running") == 0 || strcmp(status, "paused") == 0)
        return OBSERVED_RUNNING;
    if (strcmp(status, "restarting") == 0)
        return OBSERVED_STARTING;
    if (strcmp(status, "removing") == 0)
        return OBSERVED_STOPPING;
    return strcmp(status, "created") == 0 && is_being_started(docker, name) ? OBSERVED_STARTING : OBSERVED_STOPPED;
}

static void tell_absent(struct docker *docker, const char *name)
{
    docker->observer->observe(docker->observer, &(struct observation){ .name = name, .phase = OBSERVED_ABSENT });
}

/* A guest that runs but cannot be used from here (made by us when we ran elsewhere, or by another) counts as not there: nobody stops it for that
 * alone, and the next start for its user replaces it. Without a reach (the engine went away meanwhile) nothing can be said. */
static int tell_running(struct docker *docker, const json_t *inspection, struct observation *observation, struct error *err)
{
    cleanup_reach struct reach *reach = docker_reach(docker, err);
    const char *why;

    if (!reach)
        return -1;
    if (container_is_usable(reach, inspection, &observation->endpoint, &why)) {
        docker->observer->observe(docker->observer, observation);
        return 0;
    }
    log_warning("a terminal runs that cannot be used; its next start will replace it", LOG_STR("terminal", observation->name), LOG_STR("why", why));
    tell_absent(docker, observation->name);
    return 0;
}

static void tell_not_running(struct docker *docker, const json_t *inspection, struct observation *observation)
{
    char reason[160];

    if (observation->phase == OBSERVED_STOPPED) {
        observation->failure = container_exit_reason(inspection, reason);
        observation->message = reason;
    }
    docker->observer->observe(docker->observer, observation);
}

static void note_known(struct docker *docker, const char *id, const char *name)
{
    if (id)
        free(map_put(&docker->known, str_from(id), xstrdup(name)));
}

/* A container without our labels under the name: whatever it is, the terminal is not there. */
static int tell(struct docker *docker, const char *name, const json_t *inspection, struct error *err)
{
    const json_t *config = json_object_get(inspection, "Config"), *labels = json_object_get(config, "Labels");
    struct terminal_key *key = key_from_labels(labels);
    struct observation observation = {
        .name = name, .key = key, .phase = phase_of(docker, name, inspection), .instance_id = json_text(inspection, "Id"),
        .guest_key = container_env(inspection, "OPEN_TERMINAL_API_KEY"), .spec_hash = json_text(labels, LABEL_SPEC_HASH),
        .image = json_text(config, "Image"),
    };
    int result = 0;

    if (key)
        note_known(docker, observation.instance_id, name);
    if (!key)
        tell_absent(docker, name);
    else if (observation.phase == OBSERVED_RUNNING)
        result = tell_running(docker, inspection, &observation, err);
    else
        tell_not_running(docker, inspection, &observation);
    terminal_key_free(key);
    return result;
}

/* --- looking ------------------------------------------------------------------------------------------------- */

/* One broken container is no broken engine. A refusal (401, 403) comes from a proxy in front of the engine and concerns all of them. */
static bool is_of_this_container_alone(int status)
{
    return status != 0 && status != 401 && status != 403;
}

static enum look_result look_at(struct docker *docker, const char *name, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    int status;

    if (container_inspect_status(docker, name, &inspection, &status, err) == 0)
        return tell(docker, name, inspection, err) < 0 ? LOOK_FAILED : LOOK_TOLD;
    if (err->class == ERR_NOT_FOUND) {
        tell_absent(docker, name);
        return LOOK_TOLD;
    }
    if (!is_of_this_container_alone(status))
        return LOOK_FAILED;
    docker->observer->keep(docker->observer, name);
    return LOOK_REFUSED;
}

enum look_result observe_name(struct docker *docker, const char *name, struct error *err)
{
    enum look_result result = LOOK_TOLD;

    pthread_mutex_lock(&docker->observe_lock);
    if (docker->observer)
        result = look_at(docker, name, err);
    pthread_mutex_unlock(&docker->observe_lock);
    if (result != LOOK_TOLD)
        log_warning("a container could not be looked at", LOG_STR("terminal", name), LOG_ERR(err));
    return result;
}

enum look_result observe_known_id(struct docker *docker, const char *id, struct error *err)
{
    cleanup_free char *name = NULL;

    pthread_mutex_lock(&docker->observe_lock);
    const char *known = map_get(&docker->known, str_from(id));
    if (known && !is_being_started(docker, known))
        name = xstrdup(known);
    pthread_mutex_unlock(&docker->observe_lock);
    return name ? observe_name(docker, name, err) : LOOK_TOLD;
}

void observe_listing_begin(struct docker *docker)
{
    pthread_mutex_lock(&docker->observe_lock);
    map_free(&docker->known, free);
    docker->known = (struct map){ 0 };
    docker->observer->listing_begin(docker->observer);
    pthread_mutex_unlock(&docker->observe_lock);
}

void observe_stopping(struct docker *docker, const char *name, const char *id, const struct terminal_key *key)
{
    struct observation observation = { .name = name, .key = key, .instance_id = id, .phase = OBSERVED_STOPPING };

    pthread_mutex_lock(&docker->observe_lock);
    if (docker->observer)
        docker->observer->observe(docker->observer, &observation);
    pthread_mutex_unlock(&docker->observe_lock);
}
