/* Single calls about containers that several operations need. */
#include "backend/docker/parts.h"
#include "base/clock.h"
#include "http/uri.h"

#define GONE_WITHIN_MS 60000
#define REMOVE_TIMEOUT_MS 60000

static void sleep_ms(int64_t ms)
{
    struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    (void)nanosleep(&time, NULL);
}

static char *container_path(const char *reference, const char *rest)
{
    struct buf path = { 0 };

    buf_append_text(&path, "/containers/");
    uri_encode(&path, str_from(reference));
    buf_append_text(&path, rest);
    return buf_take(&path);
}

int container_inspect_status(struct docker *docker, const char *reference, json_t **inspection, int *status, struct error *err)
{
    cleanup_free char *path = container_path(reference, "/json");
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_INSPECT, .method = "GET", .path = path };
    int result = engine_call(docker->engine, &request, &answer, err);

    *status = answer.status;
    if (result < 0)
        return -1;
    if (!json_is_object(answer.json))
        return error_set(err, ERR_UNAVAILABLE, "the engine's description of %s is not understood", reference);
    *inspection = steal(&answer.json);
    return 0;
}

int container_inspect(struct docker *docker, const char *reference, json_t **inspection, struct error *err)
{
    int status;

    return container_inspect_status(docker, reference, inspection, &status, err);
}

int containers_list(struct docker *docker, const char *path, json_t **containers, struct error *err)
{
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_LIST, .method = "GET", .path = path };

    if (engine_call(docker->engine, &request, &answer, err) < 0)
        return -1;
    if (!json_is_array(answer.json))
        return error_set(err, ERR_UNAVAILABLE, "the engine's list of containers is not understood");
    *containers = steal(&answer.json);
    return 0;
}

bool container_runs(const json_t *inspection)
{
    return json_is_true(json_object_get(json_object_get(inspection, "State"), "Running"));
}

static bool is_gone(struct docker *docker, const char *id)
{
    cleanup_json json_t *inspection = NULL;
    struct error err;

    return container_inspect(docker, id, &inspection, &err) < 0 && err.class == ERR_NOT_FOUND;
}

static int wait_until_gone(struct docker *docker, const char *id, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + GONE_WITHIN_MS;

    for (int64_t pause = 10; clock_monotonic_ms() < deadline; pause = pause < 500 ? pause * 2 : 500) {
        if (is_gone(docker, id))
            return 0;
        sleep_ms(pause);
    }
    return error_set(err, ERR_TIMEOUT, "container %.12s is still being removed after %d s", id, GONE_WITHIN_MS / 1000);
}

/* `*status`: of the engine's answer. */
static int delete_container(struct docker *docker, const char *id, const char *how, int *status, struct error *err)
{
    cleanup_free char *path = container_path(id, how);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_CONTAINER_REMOVE, .method = "DELETE", .path = path, .timeout_ms = REMOVE_TIMEOUT_MS };
    int result = engine_call(docker->engine, &request, &answer, err);

    *status = answer.status;
    return result < 0 && err->class != ERR_NOT_FOUND ? -1 : 0;
}

int container_remove(struct docker *docker, const char *id, bool anonymous_volumes, struct error *err)
{
    int status;

    if (delete_container(docker, id, anonymous_volumes ? "?force=1&v=1" : "?force=1&v=0", &status, err) == 0)
        return 0;
    if (status == 409)
        return wait_until_gone(docker, id, err);
    return error_wrap(err, "removing container %.12s", id);
}

int container_remove_ended(struct docker *docker, const char *id, bool anonymous_volumes, struct error *err)
{
    cleanup_json json_t *inspection = NULL;
    struct error ignored;
    int status;

    if (delete_container(docker, id, anonymous_volumes ? "?v=1" : "?v=0", &status, err) == 0)
        return 0;
    if (status == 409 && container_inspect(docker, id, &inspection, &ignored) == 0 && container_runs(inspection))
        return error_set(err, ERR_CONFLICT, "container %.12s runs again", id);
    if (status == 409)
        return wait_until_gone(docker, id, err);
    return error_wrap(err, "removing container %.12s", id);
}
