#include "support.h"

#include <errno.h>

#include "base/clock.h"
#include "base/pool.h"
#include "http/client.h"

#define PATIENCE_MS 20000

/* --- the observer -------------------------------------------------------------------------------------------- */

static struct recorder *recorder_of(struct observer *observer)
{
    return CONTAINER_OF(observer, struct recorder, observer);
}

static void copy_text(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%.*s", (int)size - 1, text ? text : "");
}

static void record(struct observer *observer, const struct observation *observation)
{
    struct recorder *recorder = recorder_of(observer);
    struct seen *seen;

    pthread_mutex_lock(&recorder->lock);
    seen = map_get(&recorder->seen, str_from(observation->name));
    if (!seen) {
        seen = xcalloc(1, sizeof(*seen));
        (void)!map_put(&recorder->seen, str_from(observation->name), seen);
    }
    seen->phase = observation->phase;
    seen->failure = observation->failure;
    seen->endpoint = observation->endpoint;
    seen->count++;
    copy_text(seen->id, sizeof(seen->id), observation->instance_id);
    copy_text(seen->guest_key, sizeof(seen->guest_key), observation->guest_key);
    copy_text(seen->spec_hash, sizeof(seen->spec_hash), observation->spec_hash);
    copy_text(seen->image, sizeof(seen->image), observation->image);
    copy_text(seen->message, sizeof(seen->message), observation->message);
    copy_text(seen->user_id, sizeof(seen->user_id), observation->key ? observation->key->user_id : "");
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
}

static void record_begin(struct observer *observer)
{
}

static void record_end(struct observer *observer)
{
    struct recorder *recorder = recorder_of(observer);

    pthread_mutex_lock(&recorder->lock);
    recorder->listings++;
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
}

static void record_keep(struct observer *observer, const char *name)
{
}

static void record_reachable(struct observer *observer, const struct error *err)
{
    struct recorder *recorder = recorder_of(observer);

    pthread_mutex_lock(&recorder->lock);
    recorder->reachable = !err;
    if (err) {
        recorder->unreachable_once = true;
        copy_text(recorder->why, sizeof(recorder->why), err->text);
    }
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
}

static struct timespec deadline_in(int64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    return until;
}

bool wait_for_phase(struct bench *bench, const char *name, enum observed_phase phase, struct seen *seen)
{
    struct recorder *recorder = &bench->recorder;
    struct timespec until = deadline_in(PATIENCE_MS);
    const struct seen *found;

    pthread_mutex_lock(&recorder->lock);
    do {
        found = map_get(&recorder->seen, str_from(name));
        if (found && found->phase == phase)
            break;
        found = NULL;
    } while (pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until) != ETIMEDOUT);
    if (found && seen)
        *seen = *found;
    pthread_mutex_unlock(&recorder->lock);
    return found;
}

/* --- the bench ----------------------------------------------------------------------------------------------- */

const char *test_image(void)
{
    const char *image = getenv("TERMINALS_TEST_IMAGE");

    return image && *image ? image : "open-terminal:local";
}

static void *watch(void *argument)
{
    struct bench *bench = argument;

    bench->backend->ops->watch(bench->backend, &bench->recorder.observer);
    return NULL;
}

static struct engine *engine_of_environment(void)
{
    struct engine_environment environment = { .docker_host = getenv("DOCKER_HOST") };
    struct engine_address address;
    struct error err;

    assert_int_equal(engine_address_parse(&environment, &address, &err), 0);
    return engine_new(&address);
}

static void wait_for_listing(struct recorder *recorder)
{
    struct timespec until = deadline_in(PATIENCE_MS);

    pthread_mutex_lock(&recorder->lock);
    while (recorder->listings == 0 && !recorder->unreachable_once)
        if (pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&recorder->lock);
}

void bench_open(struct bench *bench, const struct settings *settings)
{
    struct error err = { 0 };

    *bench = (struct bench){ .settings = settings ? *settings : (struct settings){ 0 } };
    if (!bench->settings.image)
        bench->settings.image = (char *)test_image();
    if (!bench->settings.docker_address)
        bench->settings.docker_address = (char *)"127.0.0.1";
    bench->recorder.observer = (struct observer){ .observe = record, .listing_begin = record_begin, .listing_end = record_end, .keep = record_keep,
                                                     .reachable = record_reachable };
    pthread_mutex_init(&bench->recorder.lock, NULL);
    pthread_cond_init(&bench->recorder.changed, NULL);
    bench->engine = engine_of_environment();
    bench->backend = docker_backend_new(&bench->settings, &err);
    if (!bench->backend)
        fail_msg("%s", err.text);
    bench->watcher = thread_start("watch", watch, bench);
    wait_for_listing(&bench->recorder);
}

void bench_close(struct bench *bench)
{
    bench->backend->ops->stop_watching(bench->backend);
    pthread_join(bench->watcher, NULL);
    bench->backend->ops->free(bench->backend);
    engine_free(bench->engine);
    map_free(&bench->recorder.seen, free);
    pthread_mutex_destroy(&bench->recorder.lock);
    pthread_cond_destroy(&bench->recorder.changed);
}

const char *test_user(void)
{
    static _Thread_local char user[40];

    (void)snprintf(user, sizeof(user), TEST_PREFIX "%d-", (int)getpid());
    return user;
}

/* --- specs --------------------------------------------------------------------------------------------------- */

struct terminal_key *test_key(const char *suffix, const char *policy, const char *context)
{
    cleanup_free char *user = xasprintf("%s%s", test_user(), suffix);

    return terminal_key_new(str_from(user), str_from(policy), str_from(context));
}

struct terminal_spec spec_for(struct terminal_key *key)
{
    return (struct terminal_spec){ .key = key, .guest_key = "key-of-the-guest", .image = test_image(), .spec_hash = "hash-1", .allow_sudo = true,
                                   .pull_deadline_ms = clock_monotonic_ms() + 60000 };
}

const char *name_of(const struct terminal_key *key)
{
    static _Thread_local char name[TERMINAL_NAME_SIZE];

    terminal_name(key, NAME_PREFIX, name);
    return name;
}

/* --- guests -------------------------------------------------------------------------------------------------- */

int guest_call(const struct seen *seen, const char *method, const char *path, const char *body, char **answer)
{
    struct http_client_options options = { .no_proxy_env = true };
    struct http_client *client = http_client_new(&options);
    cleanup_free char *url = xasprintf("http://%s:%u%s", seen->endpoint.host, seen->endpoint.port, path);
    cleanup_free char *auth = xasprintf("Authorization: Bearer %s", seen->guest_key);
    const char *headers[] = { auth, "Content-Type: application/json", NULL };
    struct http_call call = { .method = method, .url = url, .headers = headers, .body = str_from(body), .has_body = body != NULL,
                              .timeout_ms = 5000, .connect_timeout_ms = 1000 };
    cleanup_http_answer struct http_answer got = { 0 };
    struct error err;
    int status = http_client_call(client, &call, &got, &err) == 0 ? got.status : 0;

    if (answer)
        *answer = str_dup(buf_str(&got.body));
    http_client_free(client);
    return status;
}

bool guest_becomes_healthy(const struct seen *seen)
{
    for (int i = 0; i < 200; i++) {
        if (guest_call(seen, "GET", "/health", NULL, NULL) == 200)
            return true;
        usleep(100000);
    }
    print_error("no answer at %s:%u\n", seen->endpoint.host, seen->endpoint.port);
    return false;
}

void must_start(struct bench *bench, const struct terminal_spec *spec, struct seen *seen)
{
    struct error err = { 0 };
    int result = bench->backend->ops->start(bench->backend, spec, &err);

    if (result < 0)
        fail_msg("%s", err.text);
    assert_true(wait_for_phase(bench, name_of(spec->key), OBSERVED_RUNNING, seen));
    assert_true(guest_becomes_healthy(seen));
}

void must_stop(struct bench *bench, const struct terminal_key *key)
{
    struct terminal_ref ref = { .key = key };
    struct error err = { 0 };

    assert_int_equal(bench->backend->ops->stop(bench->backend, &ref, 10, &err), 0);
    assert_true(wait_for_phase(bench, name_of(key), OBSERVED_ABSENT, NULL));
}

/* --- the engine directly ------------------------------------------------------------------------------------- */

static int raw_call(struct engine *engine, const char *method, const char *path, const json_t *body, json_t **json)
{
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct engine_request request = { .operation = ENGINE_INFO, .method = method, .path = path, .body = body };
    struct error err = { 0 };

    if (engine_call(engine, &request, &answer, &err) < 0 && answer.status != 404)
        print_message("%s %s: %s\n", method, path, err.text);
    if (json)
        *json = steal(&answer.json);
    return answer.status;
}

int engine_raw(struct bench *bench, const char *method, const char *path, json_t *body_taken, json_t **json)
{
    cleanup_json json_t *body = body_taken;

    return raw_call(bench->engine, method, path, body, json);
}

json_t *inspect_now(struct bench *bench, const char *name)
{
    cleanup_free char *path = xasprintf("/containers/%s/json", name);
    json_t *json = NULL;

    if (engine_raw(bench, "GET", path, NULL, &json) == 200)
        return json;
    json_decref(json);
    return NULL;
}

bool volume_exists(struct bench *bench, const struct terminal_key *key)
{
    cleanup_free char *path = xasprintf("/volumes/%s-home", name_of(key));

    return engine_raw(bench, "GET", path, NULL, NULL) == 200;
}

/* When it was made, in seconds since 1970: containers tell a number, volumes and networks a text. */
static int64_t made_at(const json_t *entry)
{
    const json_t *created = json_object_get(entry, "Created");
    const char *text = json_is_string(created) ? json_string_value(created) : json_text(entry, "CreatedAt");
    int64_t us = 0;

    if (json_is_integer(created))
        return json_integer_value(created);
    return text && clock_parse_iso(text, &us) ? us / 1000000 : 0;
}

static bool is_to_go(const json_t *entry, const char *owner)
{
    if (!owner || strncmp(owner, TEST_PREFIX, strlen(TEST_PREFIX)) != 0)
        return false;
    return strncmp(owner, test_user(), strlen(test_user())) == 0 || clock_wall_us() / 1000000 - made_at(entry) > STALE_AFTER_S;
}

static void remove_all(struct engine *engine, const json_t *entries, const char *path_begin, const char *id_member, const char *path_end)
{
    const json_t *entry;
    size_t index;

    json_array_foreach(entries, index, entry) {
        const char *labelled = json_text(json_object_get(entry, "Labels"), LABEL_USER_ID);
        const char *owner = labelled ? labelled : json_text(entry, "Name");
        cleanup_free char *path = xasprintf("%s%s%s", path_begin, json_text(entry, id_member), path_end);

        if (is_to_go(entry, owner))
            (void)raw_call(engine, "DELETE", path, NULL, NULL);
    }
}

void clean_up(struct engine *engine)
{
    cleanup_json json_t *containers = NULL, *volumes = NULL, *networks = NULL;

    (void)raw_call(engine, "GET", "/containers/json?all=1", NULL, &containers);
    remove_all(engine, containers, "/containers/", "Id", "?force=1&v=1");
    (void)raw_call(engine, "GET", "/volumes", NULL, &volumes);
    remove_all(engine, json_object_get(volumes, "Volumes"), "/volumes/", "Name", "");
    (void)raw_call(engine, "GET", "/networks", NULL, &networks);
    remove_all(engine, networks, "/networks/", "Id", "");
}
