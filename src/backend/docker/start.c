/* Starting a terminal: home, container, start. The order and the names make every step safe to repeat: a crash between two of them leaves
 * a home (kept anyway) or a container that was never started, which the next start replaces. */
#include "backend/docker/parts.h"
#include "base/clock.h"
#include "base/log.h"

#define ATTEMPTS 40                     /* creations: name taken, image missing, size refused, and again */
#define RELEASE_PAUSE_MS 250            /* the engine holds the name of a container for a moment after it shows it no more */
#define LEAST_TIMEOUT_MS 5000
#define OTHERS_START_MS 2000            /* how long another orchestrator may take between create and start */
#define FRESH_US (30 * 1000000ll)

/* One start on its way. All borrowed but `home`, `created_volume` and `id`. */
struct attempt {
    struct docker *docker;
    const struct terminal_spec *spec;
    const struct reach *reach;
    const char *name, *network;
    json_t *home;
    char *created_volume;               /* this call made it */
    char *id;                           /* the container that this call made */
    bool pulled;
    bool adopted;
    bool lost;                          /* the container is no use, but a new one will be */
};

static int64_t time_left_ms(const struct terminal_spec *spec)
{
    int64_t left = spec->pull_deadline_ms - clock_monotonic_ms();

    return left > LEAST_TIMEOUT_MS ? left : LEAST_TIMEOUT_MS;
}

/* --- a container is there already ---------------------------------------------------------------------------- */

static const char *status_of(const json_t *inspection)
{
    const char *status = json_text(json_object_get(inspection, "State"), "Status");

    return status ? status : "";
}

static bool is_fresh(const json_t *inspection)
{
    const char *created = json_text(inspection, "Created");
    int64_t created_us;

    return created && clock_parse_iso(created, &created_us) && clock_wall_us() - created_us < FRESH_US;
}

/* Another orchestrator on the same engine may be between its create and its start: give it the time. */
static int inspect_settled(struct docker *docker, const char *name, json_t **inspection, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + OTHERS_START_MS;

    for (;;) {
        if (container_inspect(docker, name, inspection, err) < 0)
            return -1;
        if (strcmp(status_of(*inspection), "created") != 0 || !is_fresh(*inspection) || clock_monotonic_ms() > deadline)
            return 0;
        json_decref(steal(inspection));
        docker_pause(docker, 100);
    }
}

static int refuse_foreign(const char *name, const json_t *inspection, struct error *err)
{
    const json_t *labels = json_object_get(json_object_get(inspection, "Config"), "Labels");

    if (json_object_get(labels, LABEL_MANAGED_BY))
        return error_set(err, ERR_CONFLICT, "the container '%s' is labelled for another terminal; it is left alone: remove or rename it", name);
    return error_set(err, ERR_CONFLICT, "a container named '%s' exists that is not ours; it is left alone: remove or rename it", name);
}

static int unpause(struct docker *docker, const char *id, struct error *err)
{
    cleanup_free char *path = xasprintf("/containers/%s/unpause", id);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_UNPAUSE, .method = "POST", .path = path };

    return engine_call(docker->engine, &request, &answer, err);
}

static int remove_old(struct docker *docker, const json_t *inspection, struct error *err)
{
    bool made_by_us = json_object_get(json_object_get(json_object_get(inspection, "Config"), "Labels"), LABEL_SPEC_HASH) != NULL;

    return container_remove(docker, json_text(inspection, "Id"), made_by_us, err);
}

int docker_look(struct docker *docker, const struct terminal_ref *ref, struct error *err)
{
    cleanup_json json_t *inspection = NULL;

    if (container_inspect(docker, ref->name, &inspection, err) == 0 && container_is_of(inspection, ref->key)
        && strcmp(status_of(inspection), "paused") == 0 && unpause(docker, json_text(inspection, "Id"), err) < 0)
        return -1;
    return observe_name(docker, ref->name, err) == LOOK_TOLD ? 0 : -1;
}

/* The name is taken: adopts what is there when it is this terminal and runs, clears it away when it is this terminal and ended, refuses otherwise. */
static int take_over(struct attempt *attempt, const char *name, struct error *err)
{
    struct docker *docker = attempt->docker;
    cleanup_json json_t *inspection = NULL;
    struct endpoint endpoint;
    const char *status, *why;

    if (inspect_settled(docker, name, &inspection, err) < 0) {
        if (err->class == ERR_NOT_FOUND)
            docker_pause(docker, RELEASE_PAUSE_MS);
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    }
    if (!container_is_of(inspection, attempt->spec->key))
        return refuse_foreign(name, inspection, err);
    status = status_of(inspection);
    if (strcmp(status, "running") != 0 && strcmp(status, "paused") != 0)
        return remove_old(docker, inspection, err);
    if (!container_is_usable(attempt->reach, inspection, &endpoint, &why)) {
        log_warning("a running container of this terminal is replaced", LOG_STR("terminal", name), LOG_STR("why", why));
        return remove_old(docker, inspection, err);
    }
    if (strcmp(status, "paused") == 0 && unpause(docker, json_text(inspection, "Id"), err) < 0)
        return -1;
    log_info("adopted a running container", LOG_STR("terminal", name));
    attempt->adopted = true;
    attempt->name = name;
    return 0;
}

/* Where the original gave this key another name than we do, its container would go unseen by the name. */
static int look_for_original(struct attempt *attempt, char legacy[static TERMINAL_NAME_SIZE], struct error *err)
{
    cleanup_json json_t *inspection = NULL;

    terminal_legacy_name(attempt->spec->key, NAME_PREFIX, legacy);
    if (strcmp(legacy, attempt->name) == 0)
        return 0;
    if (container_inspect(attempt->docker, legacy, &inspection, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    return container_is_of(inspection, attempt->spec->key) ? take_over(attempt, legacy, err) : 0;
}

/* --- create -------------------------------------------------------------------------------------------------- */

static json_t *make_body(const struct attempt *attempt, struct error *err)
{
    const struct settings *settings = attempt->docker->settings;
    struct container_plan plan = {
        .network = attempt->network,
        .publish_ip = reach_needs_port(attempt->reach, attempt->network) ? attempt->reach->publish_ip : NULL,
        .log_driver = attempt->reach->log_driver, .most_nano_cpus = attempt->reach->cpu_count * 1000000000ull,
        .storage_size = !atomic_load(&attempt->docker->storage_is_unsupported),
        .init = !atomic_load(&attempt->docker->init_is_missing),
        .name = attempt->name, .home = attempt->home,
        .mounts = settings->docker_mounts, .mount_count = settings->docker_mount_count,
    };

    return container_body(attempt->spec, &plan, err);
}

static int post_create(struct attempt *attempt, int *status, struct error *err)
{
    cleanup_free char *path = xasprintf("/containers/create?name=%s", attempt->name);
    cleanup_json json_t *body = make_body(attempt, err);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_CREATE, .method = "POST", .path = path, .body = body,
                                      .timeout_ms = time_left_ms(attempt->spec) };
    const char *id;
    int result;

    *status = 0;
    if (!body)
        return -1;
    result = engine_call(attempt->docker->engine, &request, &answer, err);
    *status = answer.status;
    if (result < 0)
        return -1;
    id = json_text(answer.json, "Id");
    if (!id)
        return error_set(err, ERR_UNAVAILABLE, "the engine's answer to create holds no id");
    attempt->id = xstrdup(id);
    return 0;
}

static bool is_about_storage(const char *text)
{
    return strcasestr(text, "storage-opt") || strcasestr(text, "storage opt") || strcasestr(text, "pquota");
}

/* Once for the process: another thread may have found out the same meanwhile. */
static void drop_storage_size(struct attempt *attempt, const struct error *why)
{
    if (!atomic_exchange(&attempt->docker->storage_is_unsupported, true))
        log_warning("the storage driver cannot limit sizes; terminals are started without", LOG_STR("terminal", attempt->name), LOG_ERR(why));
}

static int pull_missing(struct attempt *attempt, struct error *err)
{
    if (attempt->pulled)
        return error_set(err, ERR_IMAGE_NOT_FOUND, "image '%s' was pulled, but the engine does not find it", attempt->spec->image);
    attempt->pulled = true;
    return pulls_wait(attempt->docker->pulls, attempt->spec->image, attempt->spec->pull_deadline_ms, err);
}

/* After a refused creation: puts right what can be (0: create again). */
static int put_right(struct attempt *attempt, int status, struct error *err)
{
    struct error why = *err;

    if (attempt->spec->storage_bytes && is_about_storage(err->text)) {
        drop_storage_size(attempt, &why);
        return 0;
    }
    if (status == 404 && !engine_misses_network(err->text))
        return pull_missing(attempt, err);
    if (status == 409)
        return take_over(attempt, attempt->name, err);
    if (strstr(err->text, "bind source path does not exist"))
        return error_set(err, ERR_UNAVAILABLE, "%s; when this program runs in a container or the engine elsewhere, TERMINALS_DOCKER_HOST_DATA_DIR must name "
                         "the home directories as the Docker host sees them", why.text);
    if (status == 400)
        return error_set(err, ERR_INVALID_POLICY, "the engine refuses this container: %s", why.text);
    if (strcasestr(err->text, "runtime"))
        err->class = ERR_INVALID_POLICY;
    return -1;
}

static int create_or_adopt(struct attempt *attempt, struct error *err)
{
    int status;

    for (int i = 0; i < ATTEMPTS; i++) {
        if (post_create(attempt, &status, err) == 0)
            return 0;
        if (!status || put_right(attempt, status, err) < 0)
            return -1;
        if (attempt->adopted)
            return 0;
    }
    return error_set(err, ERR_CONFLICT, "the container could not be made: the name is taken again and again");
}

/* --- start --------------------------------------------------------------------------------------------------- */

/* Somebody removed the container between create and start; or the engine was installed without its init, which guest images with one of their
 * own do not need. */
static bool another_would_start(struct attempt *attempt, int status, const struct error *err)
{
    if (strstr(err->text, "docker-init") && !atomic_exchange(&attempt->docker->init_is_missing, true)) {
        log_warning("the engine has no docker-init; terminals are started without", LOG_ERR(err));
        return true;
    }
    return (status == 404 && strstr(err->text, "No such container")) || (status == 409 && strstr(err->text, "marked for removal"));
}

static int post_start(struct attempt *attempt, struct error *err)
{
    cleanup_free char *path = xasprintf("/containers/%s/start", attempt->id);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_START, .method = "POST", .path = path,
                                      .timeout_ms = time_left_ms(attempt->spec) };

    if (engine_call(attempt->docker->engine, &request, &answer, err) == 0)
        return 0;
    attempt->lost = another_would_start(attempt, answer.status, err);
    /* The image's entry point, a mount's source, the runtime: nothing that another try would change. */
    if (answer.status == 400)
        err->class = ERR_INVALID_POLICY;
    if (strstr(err->text, "could not select device driver"))
        return error_set(err, ERR_UNSCHEDULABLE, "the engine's host offers no GPU to containers; install its vendor's container toolkit there, or take gpus out of the policy");
    return -1;
}

static void undo(struct attempt *attempt)
{
    struct error err;

    if (attempt->id && container_remove(attempt->docker, attempt->id, true, &err) < 0)
        log_warning("a container of a failed start stays", LOG_STR("terminal", attempt->name), LOG_ERR(&err));
    home_undo(attempt->docker, attempt->created_volume);
}

static void say_what_is_filtered(const struct terminal_spec *spec, const char *name)
{
    const char *domains = json_text(spec->env, "OPEN_TERMINAL_ALLOWED_DOMAINS");

    if (spec->net_admin)
        log_info("egress is left to the image's own filter, which got NET_ADMIN; nothing outside the guest enforces it", LOG_STR("terminal", name),
                 LOG_STR("allowed_domains", domains && *domains ? domains : "(none: all denied)"), LOG_STR("image", spec->image));
}

static int run_attempt(struct attempt *attempt, char legacy[static TERMINAL_NAME_SIZE], struct error *err)
{
    if (look_for_original(attempt, legacy, err) < 0)
        return -1;
    if (attempt->adopted)
        return 0;
    if (home_prepare(attempt->docker, attempt->reach, attempt->spec->key, &attempt->home, &attempt->created_volume, err) < 0)
        return -1;
    if (create_or_adopt(attempt, err) < 0)
        return -1;
    if (attempt->adopted)
        return 0;
    say_what_is_filtered(attempt->spec, attempt->name);
    return post_start(attempt, err);
}

/* `*again`: the managed network or the new container had gone; it is worth one more try. */
static int start_once(struct docker *docker, const struct terminal_spec *spec, const char *name, bool *again, struct error *err)
{
    cleanup_reach struct reach *reach = docker_reach(docker, err);
    struct attempt attempt = { .docker = docker, .spec = spec, .reach = reach, .name = name };
    char legacy[TERMINAL_NAME_SIZE];
    int result;

    *again = false;
    if (!reach)
        return -1;
    attempt.network = spec->network ? spec->network : reach_network_for(docker->settings, spec->key);
    result = run_attempt(&attempt, legacy, err);
    if (result < 0) {
        undo(&attempt);
        *again = attempt.lost || (err->class == ERR_NOT_FOUND && engine_misses_network(err->text));
    } else {
        struct error ignored;

        (void)!observe_name(docker, attempt.name, &ignored);
    }
    json_decref(attempt.home);
    free(attempt.created_volume);
    free(attempt.id);
    return result;
}

int docker_start(struct docker *docker, const struct terminal_spec *spec, struct error *err)
{
    char name[TERMINAL_NAME_SIZE];
    struct live_start live;
    bool again;
    int result;

    terminal_name(spec->key, NAME_PREFIX, name);
    live_start_begin(docker, &live, name);
    result = start_once(docker, spec, name, &again, err);
    if (result < 0 && again) {
        docker_forget_reach(docker);
        result = start_once(docker, spec, name, &again, err);
    }
    live_start_end(docker, &live);
    if (result == 0)
        return 0;
    if (err->class == ERR_NOT_FOUND)
        err->class = spec->network ? ERR_INVALID_POLICY : ERR_UNAVAILABLE;
    return error_wrap(err, "starting '%s'", name);
}
