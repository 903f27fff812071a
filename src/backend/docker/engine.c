/* Calls to the engine: address, version, JSON in and out, counters. What an answer *means* is decided where the call is made. */
#include "backend/docker/engine.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "http/client.h"

#define DEFAULT_TIMEOUT_MS 30000
#define NEGOTIATION_TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000
#define MAX_ANSWER (64u << 20)          /* a listing of many thousand containers */

struct engine {
    struct engine_address address;
    struct http_client *client;
    pthread_mutex_t lock;               /* guards `version` */
    char version[16];                   /* "" = to be negotiated */
    _Atomic int64_t end_at_ms;          /* monotonic: when calls that still run are given up; 0: not */
    struct metric *calls[ENGINE_OPERATION_COUNT], *errors[ENGINE_OPERATION_COUNT], *seconds[ENGINE_OPERATION_COUNT];
};

static const char *const operation_names[ENGINE_OPERATION_COUNT] = {
    [ENGINE_PING] = "ping", [ENGINE_VERSION] = "version", [ENGINE_INFO] = "info", [ENGINE_EVENTS] = "events",
    [ENGINE_CONTAINER_LIST] = "container_list", [ENGINE_CONTAINER_CREATE] = "container_create",
    [ENGINE_CONTAINER_START] = "container_start", [ENGINE_CONTAINER_UNPAUSE] = "container_unpause",
    [ENGINE_CONTAINER_STOP] = "container_stop", [ENGINE_CONTAINER_REMOVE] = "container_remove",
    [ENGINE_CONTAINER_INSPECT] = "container_inspect", [ENGINE_CONTAINER_LOGS] = "container_logs",
    [ENGINE_IMAGE_INSPECT] = "image_inspect", [ENGINE_IMAGE_PULL] = "image_pull",
    [ENGINE_NETWORK_LIST] = "network_list", [ENGINE_NETWORK_INSPECT] = "network_inspect",
    [ENGINE_NETWORK_CREATE] = "network_create", [ENGINE_NETWORK_CONNECT] = "network_connect",
    [ENGINE_NETWORK_REMOVE] = "network_remove", [ENGINE_VOLUME_INSPECT] = "volume_inspect",
    [ENGINE_VOLUME_CREATE] = "volume_create", [ENGINE_VOLUME_REMOVE] = "volume_remove",
};

const char *engine_operation_name(enum engine_operation operation)
{
    return operation_names[operation];
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static void make_metrics(struct engine *engine)
{
    static const double bounds[] = { 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 };

    for (size_t i = 0; i < ENGINE_OPERATION_COUNT; i++) {
        cleanup_free char *labels = xasprintf("operation=\"%s\"", operation_names[i]);

        engine->calls[i] = metric_counter("terminals_engine_calls_total", "Calls to the engine.", labels);
        engine->errors[i] = metric_counter("terminals_engine_errors_total",
                                           "Calls that the engine did not answer, or answered with an unexpected failure.", labels);
        engine->seconds[i] = metric_histogram("terminals_engine_call_seconds", "How long the engine took to answer.", labels,
                                              bounds, COUNT_OF(bounds));
    }
}

struct engine *engine_new(struct engine_address *address)
{
    struct engine *engine = xcalloc(1, sizeof(*engine));
    struct http_client_options options = {
        .unix_socket = address->unix_socket,
        .ca_file = address->insecure ? NULL : address->ca_file,
        .cert_file = address->cert_file,
        .key_file = address->key_file,
        .insecure = address->insecure,
        .no_proxy_env = true,
    };

    engine->address = *address;
    *address = (struct engine_address){ 0 };
    engine->client = http_client_new(&options);
    pthread_mutex_init(&engine->lock, NULL);
    make_metrics(engine);
    return engine;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    http_client_free(engine->client);
    pthread_mutex_destroy(&engine->lock);
    engine_address_clear(&engine->address);
    free(engine);
}

const struct engine_address *engine_where(const struct engine *engine)
{
    return &engine->address;
}

void engine_answer_clear(struct engine_answer *answer)
{
    json_decref(answer->json);
    buf_free(&answer->raw);
    *answer = (struct engine_answer){ 0 };
}

/* --- one exchange -------------------------------------------------------------------------------------------- */

/* The engine's `message`, also as a plain text body, without the line end that some answers carry. */
static char *message_of(const json_t *json, struct str raw)
{
    const char *message = json_text(json, "message");

    return str_dup(str_trim(message ? str_from(message) : raw));
}

static bool is_expected(int status)
{
    return (status >= 200 && status < 400) || status == 404 || status == 409;
}

void engine_end_calls(struct engine *engine, int64_t within_ms)
{
    atomic_store(&engine->end_at_ms, clock_monotonic_ms() + within_ms);
}

/* What the callbacks of one call get. */
struct running_call {
    const struct engine *engine;
    const struct engine_request *request;
};

static bool on_call_data(void *context, struct str data)
{
    const struct engine_request *request = ((const struct running_call *)context)->request;

    return request->on_data(request->context, data);
}

static bool call_is_cancelled(void *context)
{
    const struct running_call *call = context;
    int64_t end_at_ms = atomic_load(&call->engine->end_at_ms);

    if (end_at_ms != 0 && clock_monotonic_ms() >= end_at_ms)
        return true;
    return call->request->cancelled && call->request->cancelled(call->request->context);
}

static int send_request(struct engine *engine, const char *url, const struct engine_request *request, struct http_answer *answer,
                        struct error *err)
{
    cleanup_free char *body = request->body ? json_write(request->body) : NULL;
    cleanup_free char *auth = request->registry_auth ? xasprintf("X-Registry-Auth: %s", request->registry_auth) : NULL;
    const char *headers[] = { body ? "Content-Type: application/json" : "Accept: */*", auth, NULL };
    struct http_call call = {
        .method = request->method, .url = url, .headers = headers,
        .body = str_from(body), .has_body = body != NULL,
        .timeout_ms = request->timeout_ms < 0 ? 0 : request->timeout_ms ? request->timeout_ms : DEFAULT_TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS, .stall_timeout_ms = request->stall_timeout_ms, .max_response = MAX_ANSWER,
        .on_data = request->on_data ? on_call_data : NULL, .cancelled = call_is_cancelled,
        .context = &(struct running_call){ engine, request },
    };
    int64_t begin = clock_monotonic_us();
    int result = http_client_call(engine->client, &call, answer, err);

    metric_add(engine->calls[request->operation], 1);
    if (request->operation != ENGINE_EVENTS && request->operation != ENGINE_IMAGE_PULL)
        metric_observe_us(engine->seconds[request->operation], clock_monotonic_us() - begin);
    if (result < 0 ? request->operation != ENGINE_EVENTS || err->class != ERR_TIMEOUT : !is_expected(answer->status))
        metric_add(engine->errors[request->operation], 1);
    return result;
}

static void take_body(struct http_answer *from, struct engine_answer *to)
{
    to->status = from->status;
    if (strncmp(from->content_type, "application/json", 16) == 0 && from->body.len > 0)
        to->json = json_read(buf_str(&from->body), NULL);
    if (!to->json) {
        to->raw = from->body;
        from->body = (struct buf){ 0 };
    }
}

static int exchange(struct engine *engine, const char *prefix, const struct engine_request *request, struct engine_answer *answer,
                    struct error *err)
{
    cleanup_free char *url = xasprintf("%s%s%s", engine->address.base_url, prefix, request->path);
    cleanup_http_answer struct http_answer got = { 0 };
    cleanup_free char *message = NULL;

    if (send_request(engine, url, request, &got, err) < 0)
        return error_wrap(err, "Docker Engine at %s", engine->address.text);
    take_body(&got, answer);
    if ((answer->status >= 200 && answer->status < 300) || answer->status == 304)
        return 0;
    message = message_of(answer->json, buf_str(&answer->raw));
    return engine_map_error(request->operation, answer->status, message, err);
}

/* --- the version --------------------------------------------------------------------------------------------- */

static int ask_api_version(struct engine *engine, char version[static 16], struct error *err)
{
    cleanup_free char *url = xasprintf("%s/_ping", engine->address.base_url);
    struct engine_request request = { .operation = ENGINE_PING, .method = "GET", .path = "/_ping",
                                      .timeout_ms = NEGOTIATION_TIMEOUT_MS };
    cleanup_http_answer struct http_answer answer = { 0 };

    if (send_request(engine, url, &request, &answer, err) < 0)
        return error_wrap(err, "Docker Engine at %s", engine->address.text);
    if (answer.status != 200 || strlen(answer.api_version) >= 16 || !answer.api_version[0])
        return error_set(err, ERR_UNAVAILABLE, "what listens at %s does not answer like a Docker Engine (status %d to /_ping)",
                         engine->address.text, answer.status);
    (void)snprintf(version, 16, "%s", answer.api_version);
    return 0;
}

/* "" when it is not told: a proxy in front of the engine may hide /version. */
static void ask_minimum_version(struct engine *engine, char version[static 16])
{
    struct engine_request request = { .operation = ENGINE_VERSION, .method = "GET", .path = "/version",
                                      .timeout_ms = NEGOTIATION_TIMEOUT_MS };
    cleanup_engine_answer struct engine_answer answer = { 0 };
    struct error ignored;
    const char *minimum = NULL;

    if (exchange(engine, "", &request, &answer, &ignored) == 0)
        minimum = json_text(answer.json, "MinAPIVersion");
    (void)snprintf(version, 16, "%s", minimum ? minimum : "");
}

static int negotiate(struct engine *engine, char version[static 16], struct error *err)
{
    char api[16], minimum[16];

    if (ask_api_version(engine, api, err) < 0)
        return -1;
    ask_minimum_version(engine, minimum);
    if (engine_choose_version(api, minimum, version, err) < 0)
        return -1;
    pthread_mutex_lock(&engine->lock);
    (void)snprintf(engine->version, sizeof(engine->version), "%s", version);
    pthread_mutex_unlock(&engine->lock);
    return 0;
}

void engine_api_version(struct engine *engine, char version[static 16])
{
    pthread_mutex_lock(&engine->lock);
    (void)snprintf(version, 16, "%s", engine->version);
    pthread_mutex_unlock(&engine->lock);
}

static bool version_was_refused(const struct engine_answer *answer, const struct error *err)
{
    return answer->status == 400 && strstr(err->text, "client version");
}

int engine_call(struct engine *engine, const struct engine_request *request, struct engine_answer *answer, struct error *err)
{
    struct error scratch;
    char version[16], prefix[24];

    if (!err)
        err = &scratch;
    engine_api_version(engine, version);
    if (!version[0] && negotiate(engine, version, err) < 0)
        return -1;
    for (bool again = false;; again = true) {
        (void)snprintf(prefix, sizeof(prefix), "/v%s", version);
        if (exchange(engine, prefix, request, answer, err) == 0)
            return 0;
        if (again || !version_was_refused(answer, err) || negotiate(engine, version, err) < 0)
            return -1;
        engine_answer_clear(answer);
    }
}
