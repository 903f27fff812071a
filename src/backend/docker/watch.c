/* Keeping the observer's picture true: list all that is ours, then follow the engine's events from the moment before the listing, so that
 * nothing between the two is missed. After any fault, and every few minutes in any case (the engine keeps only its last few hundred events), all begins
 * anew. An event only says where to look; what is told is always what an inspection shows. */
#include "backend/docker/parts.h"
#include "base/clock.h"
#include "base/log.h"

#define LIST_AGAIN_MS (5 * 60 * 1000)
#define LOOK_AGAIN_MS (30 * 1000)       /* … when something could not be looked at */
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 5000
#define EVENT_LINE_MAX (1u << 20)

#define OURS "%22label%22%3A%5B%22app.kubernetes.io%2Fmanaged-by%3Dterminals%22%5D"
#define LIST_PATH "/containers/json?all=1&filters=%7B" OURS "%7D"
/* Not by label: the events of networks carry none of the container's. */
#define EVENTS_FILTER "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B" \
    "%22create%22%2C%22start%22%2C%22die%22%2C%22oom%22%2C%22destroy%22%2C%22rename%22%2C%22pause%22%2C%22unpause%22%2C" \
    "%22connect%22%2C%22disconnect%22%5D%7D"

/* --- the listing --------------------------------------------------------------------------------------------- */

/* "seconds.nanoseconds" of the engine's own clock, which alone its event log is kept by. */
static int ask_engine_time(struct docker *docker, char since[static 40], struct error *err)
{
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_INFO, .method = "GET", .path = "/info" };
    const char *time;
    int64_t us = 0;

    if (engine_call(docker->engine, &request, &answer, err) < 0)
        return -1;
    time = json_text(answer.json, "SystemTime");
    if (!time || !clock_parse_iso(time, &us))
        us = clock_wall_us();
    (void)snprintf(since, 40, "%lld.%09lld", (long long)(us / 1000000), (long long)(us % 1000000 * 1000));
    return 0;
}

/* A container's own name stands first or alone; names with a second '/' are links of others to it. */
static const char *own_name(const json_t *container)
{
    const json_t *names = json_object_get(container, "Names"), *entry;
    size_t index;

    json_array_foreach(names, index, entry) {
        const char *name = json_string_value(entry);

        if (name && *name == '/' && !strchr(name + 1, '/'))
            return name + 1;
    }
    return NULL;
}

/* An incomplete listing has no end: it must not make the rest absent. `*refused`: the engine could not describe some containers. */
static int report_listing(struct docker *docker, const json_t *containers, bool *refused, struct error *err)
{
    const json_t *container;
    size_t index;

    *refused = false;
    json_array_foreach(containers, index, container) {
        const char *name = own_name(container);
        enum look_result result;

        if (atomic_load(&docker->stopping))
            return 0;
        result = name ? observe_name(docker, name, err) : LOOK_TOLD;
        if (result == LOOK_FAILED)
            return -1;
        *refused |= result == LOOK_REFUSED;
    }
    docker->observer->listing_end(docker->observer);
    return 0;
}

/* --- the events ---------------------------------------------------------------------------------------------- */

struct event_stream {
    struct docker *docker;
    struct buf line;                    /* an unfinished line */
    int64_t until_ms;                   /* list again then */
    bool broken;                        /* something could not be looked at: list again */
};

static void look(struct event_stream *stream, const char *name)
{
    struct error err;

    if (name && *name == '/')
        name++;
    if (name && *name && observe_name(stream->docker, name, &err) != LOOK_TOLD)
        stream->broken = true;
}

static void take_container_event(struct event_stream *stream, const char *action, const json_t *attributes)
{
    if (!managed_by_us(json_text(attributes, LABEL_MANAGED_BY)))
        return;
    look(stream, json_text(attributes, "name"));
    /* Only now: by the old name alone the terminal would seem gone. */
    if (action && strcmp(action, "rename") == 0)
        look(stream, json_text(attributes, "oldName"));
}

/* A guest that left or entered a network is reached elsewhere, and its address may be another guest's by now. */
static void take_network_event(struct event_stream *stream, const char *action, const json_t *attributes)
{
    const char *id = json_text(attributes, "container");
    struct error err;

    if (action && (strcmp(action, "connect") == 0 || strcmp(action, "disconnect") == 0) && id
        && observe_known_id(stream->docker, id, &err) != LOOK_TOLD)
        stream->broken = true;
}

static void take_event(struct event_stream *stream, struct str line)
{
    cleanup_json json_t *event = json_read(line, NULL);
    const json_t *attributes = json_object_get(json_object_get(event, "Actor"), "Attributes");
    const char *type = json_text(event, "Type"), *action = json_text(event, "Action");

    if (type && strcmp(type, "network") == 0)
        take_network_event(stream, action, attributes);
    else
        take_container_event(stream, action, attributes);
}

static bool on_event_data(void *context, struct str data)
{
    struct event_stream *stream = context;
    size_t end;

    if (!buf_append_str(&stream->line, data))
        return false;
    while ((end = str_find_char(buf_str(&stream->line), '\n')) != SIZE_MAX) {
        take_event(stream, str_of(stream->line.data, end));
        buf_consume(&stream->line, end + 1);
    }
    return !stream->broken;
}

static bool stream_is_over(void *context)
{
    const struct event_stream *stream = context;

    return atomic_load(&stream->docker->stopping) || clock_monotonic_ms() >= stream->until_ms;
}

enum watch_result {
    WATCH_FAILED = -1,
    WATCH_OVER,                         /* it is time to list again */
    WATCH_CUT,                          /* the stream ended by itself: by what stands between us and the engine, or with the engine. A listing tells which */
};

static enum watch_result follow_events(struct docker *docker, const char *since, int64_t for_ms, struct error *err)
{
    cleanup_free char *path = xasprintf("/events?since=%s&filters=%s", since, EVENTS_FILTER);
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct event_stream stream = { .docker = docker, .line = { .limit = EVENT_LINE_MAX },
                                   .until_ms = clock_monotonic_ms() + for_ms };
    struct engine_request request = {
        .operation = ENGINE_EVENTS, .method = "GET", .path = path, .timeout_ms = -1,
        .on_data = on_event_data, .cancelled = stream_is_over, .context = &stream,
    };
    int result = engine_call(docker->engine, &request, &answer, err);
    bool planned = stream_is_over(&stream) || stream.broken;

    buf_free(&stream.line);
    if (result < 0 && planned)
        return WATCH_OVER;
    if (result < 0)
        return answer.status != 0 ? WATCH_FAILED : WATCH_CUT;
    error_set(err, ERR_UNAVAILABLE, "the engine ended its event stream");
    return WATCH_CUT;
}

/* --- the loop ------------------------------------------------------------------------------------------------ */

/* `*listed`: the engine answered with everything. */
static enum watch_result watch_once(struct docker *docker, bool *listed, struct error *err)
{
    cleanup_json json_t *containers = NULL;
    cleanup_reach struct reach *reach = NULL;
    char since[40];
    bool refused;

    *listed = false;
    reach = docker_reach(docker, err);
    if (!reach || ask_engine_time(docker, since, err) < 0)
        return WATCH_FAILED;
    /* Before the request: what is made while the engine answers is not in its answer, and must not count as gone. */
    observe_listing_begin(docker);
    if (containers_list(docker, LIST_PATH, &containers, err) < 0)
        return WATCH_FAILED;
    docker->observer->reachable(docker->observer, NULL);
    if (report_listing(docker, containers, &refused, err) < 0)
        return WATCH_FAILED;
    *listed = true;
    json_decref(steal(&containers));
    return follow_events(docker, since, refused ? LOOK_AGAIN_MS : LIST_AGAIN_MS, err);
}

void docker_watch(struct docker *docker, struct observer *observer)
{
    int64_t pause = FIRST_PAUSE_MS;
    struct error err;
    bool listed;

    pthread_mutex_lock(&docker->observe_lock);
    docker->observer = observer;
    pthread_mutex_unlock(&docker->observe_lock);
    while (!atomic_load(&docker->stopping)) {
        int64_t began_ms = clock_monotonic_ms();
        enum watch_result result = watch_once(docker, &listed, &err);

        if (listed && (result == WATCH_OVER || clock_monotonic_ms() - began_ms >= LONGEST_PAUSE_MS))
            pause = FIRST_PAUSE_MS;
        if (result == WATCH_OVER)
            continue;
        docker_forget_reach(docker);
        if (atomic_load(&docker->stopping))
            break;
        log_debug("the Docker Engine cannot be watched; trying again", LOG_INT("in_ms", pause), LOG_ERR(&err));
        if (result == WATCH_FAILED)
            observer->reachable(observer, &err);
        docker_pause(docker, pause);
        pause = pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS;
    }
}
