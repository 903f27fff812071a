/* A Docker Engine for what the real one does not do on demand: it answers one request after the other from a list of containers that the test changes, keeps
 * the event stream open, and tells what it was asked. The observer beside it remembers what it was told, in order. */
#ifndef TESTS_SCRIPTED_ENGINE_H
#define TESTS_SCRIPTED_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "backend/docker/parts.h"
#include "base/clock.h"
#include "base/pool.h"

#define MOST_CONTAINERS 4

struct scripted_container {
    const char *id, *name, *user, *status, *ip;         /* id NULL: none; all literals */
    unsigned fails;                     /* status of its inspections; 0: as it is */
};

struct scripted_engine {
    char directory[40];
    struct sockaddr_un address;
    int listener;
    pthread_t thread, watcher;
    struct settings settings;
    struct backend *backend;
    struct observer observer;

    pthread_mutex_t lock;               /* guards all below */
    pthread_cond_t changed;
    struct scripted_container containers[MOST_CONTAINERS];
    char finished[28];                  /* when those that ended did */
    unsigned list_fails, events_fail;   /* status of listings, of the event stream; 0: as they are */
    bool ends_events;                   /* the stream ends as soon as it began */
    void (*on_inspect)(struct scripted_engine *engine, struct scripted_container *container);   /* (locked) before the answer */
    unsigned inspections;               /* for on_inspect */
    struct scripted_container *runs_at_removal;         /* turns running when it is to be removed; or NULL */
    int events;                         /* the client that follows them, or -1 */
    struct buf asked, told;             /* a line each: "GET /containers/json?…", "RUNNING name host" */
};

/* --- answering ----------------------------------------------------------------------------------------------- */

static inline void answer_text(int client, unsigned status, const char *body)
{
    cleanup_free char *text = xasprintf("HTTP/1.1 %u x\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                                        status, strlen(body), body);

    (void)!send(client, text, strlen(text), MSG_NOSIGNAL);
}

static inline void answer_json(int client, json_t *taken)
{
    cleanup_json json_t *body = taken;
    cleanup_free char *text = json_write(body);

    answer_text(client, 200, text);
}

static inline bool is_running(const struct scripted_container *container)
{
    return strcmp(container->status, "running") == 0 || strcmp(container->status, "paused") == 0;
}

static inline json_t *inspection_of(const struct scripted_engine *engine, const struct scripted_container *container)
{
    struct terminal_key key = { (char *)container->user, (char *)"default", (char *)"default" };
    cleanup_free char *name = xasprintf("/%s", container->name);

    return json_pack("{s:s, s:s, s:{s:s, s:b, s:s}, s:{s:s, s:o, s:[s]}, s:{s:{s:{s:s}}}}", "Id", container->id, "Name", name,
                     "State", "Status", container->status, "Running", is_running(container), "FinishedAt", engine->finished,
                     "Config", "Image", "guest:1", "Labels", container_labels(&key, "hash"), "Env", "OPEN_TERMINAL_API_KEY=key",
                     "NetworkSettings", "Networks", "n1", "IPAddress", container->ip);
}

/* Filters by nothing but whether they run. */
static inline json_t *listing_of(const struct scripted_engine *engine, bool with_ended)
{
    json_t *all = json_array();

    for (size_t i = 0; i < MOST_CONTAINERS; i++) {
        const struct scripted_container *container = &engine->containers[i];
        struct terminal_key key = { (char *)container->user, (char *)"default", (char *)"default" };

        if (container->id && (with_ended || is_running(container))) {
            cleanup_free char *name = xasprintf("/%s", container->name);

            json_array_append_new(all, json_pack("{s:s, s:[s], s:o}", "Id", container->id, "Names", name, "Labels", container_labels(&key, "hash")));
        }
    }
    return all;
}

static inline struct scripted_container *find_scripted(struct scripted_engine *engine, const char *reference)
{
    for (size_t i = 0; i < MOST_CONTAINERS; i++) {
        struct scripted_container *container = &engine->containers[i];

        if (container->id && (strcmp(container->id, reference) == 0 || strcmp(container->name, reference) == 0))
            return container;
    }
    return NULL;
}

static inline void answer_about_container(struct scripted_engine *engine, int client, const char *method, const char *reference, const char *what)
{
    struct scripted_container *container = find_scripted(engine, reference);

    if (container && engine->on_inspect && strcmp(what, "json") == 0)
        engine->on_inspect(engine, container);
    if (!container)
        return answer_text(client, 404, "{\"message\":\"No such container\"}");
    if (container->fails && strcmp(what, "json") == 0)
        return answer_text(client, container->fails, "{\"message\":\"layer is unexpectedly nil\"}");
    if (strcmp(what, "json") == 0)
        return answer_json(client, inspection_of(engine, container));
    if (strcmp(what, "unpause") == 0)
        container->status = "running";
    if (strcmp(what, "stop") == 0)
        container->status = "exited";
    if (strcmp(method, "DELETE") == 0 && container == engine->runs_at_removal)
        container->status = "running";
    if (strcmp(method, "DELETE") == 0 && strcmp(container->status, "running") == 0 && !strstr(what, "force=1"))
        return answer_text(client, 409, "{\"message\":\"You cannot remove a running container\"}");
    if (strcmp(method, "DELETE") == 0)
        container->id = NULL;
    answer_text(client, 204, "");
}

static inline void begin_events(struct scripted_engine *engine, int client)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

    (void)!send(client, head, sizeof(head) - 1, MSG_NOSIGNAL);
    if (engine->events >= 0)
        (void)close(engine->events);
    engine->events = engine->ends_events ? -1 : dup(client);
}

static inline void answer(struct scripted_engine *engine, int client, const char *method, const char *path)
{
    char reference[80], what[80];

    if (strcmp(path, "/_ping") == 0)
        return answer_text(client, 200, "{}");
    if (strcmp(path, "/version") == 0)
        return answer_text(client, 200, "{\"MinAPIVersion\":\"1.24\"}");
    path += strncmp(path, "/v1.41", 6) == 0 ? 6 : 0;
    if (strcmp(path, "/info") == 0)
        return answer_text(client, 200, "{\"NCPU\":2}");
    if (strcmp(path, "/networks/n1") == 0)
        return answer_text(client, 200, "{\"Id\":\"0123456789abcdef\",\"Name\":\"n1\",\"Driver\":\"bridge\"}");
    if (strncmp(path, "/containers/json", 16) == 0)
        return engine->list_fails ? answer_text(client, engine->list_fails, "{\"message\":\"no list\"}") : answer_json(client, listing_of(engine, strstr(path, "all=1") != NULL));
    if (strncmp(path, "/events", 7) == 0)
        return engine->events_fail ? answer_text(client, engine->events_fail, "{}") : begin_events(engine, client);
    if (sscanf(path, "/containers/%79[^/?]%*[/?]%79s", reference, what) == 2)
        return answer_about_container(engine, client, method, reference, what);
    answer_text(client, 404, "{\"message\":\"not scripted\"}");
}

static inline void *scripted_engine_run(void *argument)
{
    struct scripted_engine *engine = argument;
    char request[4096], method[16], path[2048];

    for (int client; (client = accept(engine->listener, NULL, NULL)) >= 0; close(client)) {
        ssize_t size = recv(client, request, sizeof(request) - 1, 0);

        request[size > 0 ? size : 0] = '\0';
        if (sscanf(request, "%15s %2047s", method, path) != 2)
            continue;
        pthread_mutex_lock(&engine->lock);
        cleanup_free char *line = xasprintf("%s %s\n", method, path);
        buf_append_text(&engine->asked, line);
        answer(engine, client, method, path);
        pthread_cond_broadcast(&engine->changed);
        pthread_mutex_unlock(&engine->lock);
    }
    return NULL;
}

/* --- the observer -------------------------------------------------------------------------------------------- */

static inline void note(struct observer *observer, const char *what, const char *name, const char *host)
{
    struct scripted_engine *engine = CONTAINER_OF(observer, struct scripted_engine, observer);
    cleanup_free char *line = xasprintf("%s%s%s%s%s\n", what, name ? " " : "", name ? name : "", host && *host ? " " : "", host ? host : "");

    pthread_mutex_lock(&engine->lock);
    buf_append_text(&engine->told, line);
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static inline void note_observation(struct observer *observer, const struct observation *seen)
{
    static const char *const phases[] = { "ABSENT", "STARTING", "RUNNING", "STOPPED", "STOPPING", "FAILED" };

    note(observer, phases[seen->phase], seen->name, seen->phase == OBSERVED_RUNNING ? seen->endpoint.host : NULL);
}

static inline void note_begin(struct observer *observer) { note(observer, "begin", NULL, NULL); }
static inline void note_end(struct observer *observer) { note(observer, "end", NULL, NULL); }
static inline void note_kept(struct observer *observer, const char *name) { note(observer, "kept", name, NULL); }
static inline void note_reach(struct observer *observer, const struct error *err) { note(observer, err ? "unreachable" : "reachable", err ? err->text : NULL, NULL); }

/* --- for tests ----------------------------------------------------------------------------------------------- */

static inline bool buffer_holds(const struct buf *lines, const char *text)
{
    cleanup_free char *all = str_dup(buf_str(lines));

    return strstr(all, text) != NULL;
}

/* Whether `lines` hold `text`, at once or within 10 s. */
static inline bool comes_to_hold(struct scripted_engine *engine, const struct buf *lines, const char *text)
{
    int64_t until = clock_monotonic_ms() + 10000;

    for (bool found = false;; (void)nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL)) {
        pthread_mutex_lock(&engine->lock);
        found = buffer_holds(lines, text);
        pthread_mutex_unlock(&engine->lock);
        if (found || clock_monotonic_ms() > until)
            return found;
    }
}

/* Fails the test unless the observer is told so. */
static inline void must_tell(struct scripted_engine *engine, const char *text)
{
    if (!comes_to_hold(engine, &engine->told, text))
        fail_msg("not told: %s; told was:\n%s", text, engine->told.data);
}

static inline void must_not_have_told(struct scripted_engine *engine, const char *text)
{
    pthread_mutex_lock(&engine->lock);
    assert_false(buffer_holds(&engine->told, text));
    pthread_mutex_unlock(&engine->lock);
}

static inline void forget_told(struct scripted_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    buf_free(&engine->told);
    buf_free(&engine->asked);
    pthread_mutex_unlock(&engine->lock);
}

/* Waits until somebody follows the events, then sends this one (with ' for "). */
static inline void send_event(struct scripted_engine *engine, const char *event)
{
    cleanup_free char *line = xasprintf("%s\n", event);

    for (char *c = line; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    pthread_mutex_lock(&engine->lock);
    while (engine->events < 0)
        pthread_cond_wait(&engine->changed, &engine->lock);
    (void)!send(engine->events, line, strlen(line), MSG_NOSIGNAL);
    pthread_mutex_unlock(&engine->lock);
}

static inline void *scripted_engine_watch(void *argument)
{
    struct scripted_engine *engine = argument;

    engine->backend->ops->watch(engine->backend, &engine->observer);
    return NULL;
}

/* Listens; the containers may be set before watching begins. */
static inline int scripted_engine_begin(void **state)
{
    static char *networks[] = { (char *)"n1" };
    struct scripted_engine *engine = xcalloc(1, sizeof(*engine));
    struct error err;

    (void)snprintf(engine->directory, sizeof(engine->directory), "/tmp/docker-test-XXXXXX");
    assert_non_null(mkdtemp(engine->directory));
    engine->address.sun_family = AF_UNIX;
    (void)snprintf(engine->address.sun_path, sizeof(engine->address.sun_path), "%s/socket", engine->directory);
    engine->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(engine->listener, (struct sockaddr *)&engine->address, sizeof(engine->address)), 0);
    assert_int_equal(listen(engine->listener, 64), 0);
    cleanup_free char *where = xasprintf("unix://%s", engine->address.sun_path);
    assert_int_equal(setenv("DOCKER_HOST", where, 1), 0);
    engine->settings = (struct settings){ .docker_address = (char *)"127.0.0.1", .docker_networks = { networks, 1 } };
    engine->observer = (struct observer){ .observe = note_observation, .listing_begin = note_begin, .listing_end = note_end, .keep = note_kept, .reachable = note_reach };
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
    clock_format_iso(clock_wall_us() - 60000000, engine->finished);
    engine->events = -1;
    engine->backend = docker_backend_new(&engine->settings, &err);
    assert_non_null(engine->backend);
    engine->thread = thread_start("engine", scripted_engine_run, engine);
    *state = engine;
    return 0;
}

static inline void begin_watch(struct scripted_engine *engine)
{
    engine->watcher = thread_start("watch", scripted_engine_watch, engine);
}

static inline int scripted_engine_end(void **state)
{
    struct scripted_engine *engine = *state;

    engine->backend->ops->stop_watching(engine->backend);
    if (engine->watcher)
        pthread_join(engine->watcher, NULL);
    (void)shutdown(engine->listener, SHUT_RDWR);
    pthread_join(engine->thread, NULL);
    (void)close(engine->listener);
    if (engine->events >= 0)
        (void)close(engine->events);
    engine->backend->ops->free(engine->backend);
    buf_free(&engine->asked);
    buf_free(&engine->told);
    (void)unlink(engine->address.sun_path);
    (void)rmdir(engine->directory);
    free(engine);
    return 0;
}

#endif
