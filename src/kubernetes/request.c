/* One exchange after another until the server has said yes or no: our own limit first, then its answer; 429 and 5xx with Retry-After mean that
 * it did not begin, so any method may be sent again. */
#include "kubernetes/request.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "base/secret.h"

#define WAIT_SLICE_MS 200
#define DEFAULT_RETRY_AFTER_S 1

/* False when the call was cancelled meanwhile. */
static bool wait_ms(const struct kube_request *request, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;

    for (int64_t left = ms; left > 0; left = end - clock_monotonic_ms()) {
        if (request->cancelled && request->cancelled(request->context))
            return false;
        (void)usleep((useconds_t)(1000 * (left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS)));
    }
    return true;
}

static int wait_for_limiter(struct kube_client *client, const struct kube_request *request, int64_t deadline_ms, struct error *err)
{
    int64_t wait = kube_limiter_take(&client->limiter, deadline_ms - clock_monotonic_ms());

    if (wait < 0)
        return error_set(err, ERR_LIMIT, "too many calls to the API server wait already");
    return wait_ms(request, wait) ? 0 : error_set(err, ERR_TIMEOUT, "stopped");
}

struct kube_headers {
    char *authorization, *content_type;
    const char *list[4];
};

static void clear_headers(struct kube_headers *headers)
{
    secret_free(headers->authorization);
    free(headers->content_type);
}

static void fill_headers(struct kube_headers *headers, const struct kube_request *request, const struct kube_credential *credential)
{
    const char *type = request->content_type ? request->content_type : "application/json";
    size_t count = 0;

    headers->list[count++] = "Accept: application/json";
    if (credential->authorization)
        headers->list[count++] = headers->authorization = xasprintf("Authorization: %s", credential->authorization);
    if (request->body)
        headers->list[count++] = headers->content_type = xasprintf("Content-Type: %s", type);
    headers->list[count] = NULL;
}

/* A call that we ended ourselves is no failure of the server; how long a watch lasts is our own choice. */
static void count_call(struct kube_client *client, const struct kube_request *request, int result, int status, const struct error *err,
                       int64_t took_us)
{
    bool stopped = result < 0 && err->class == ERR_TIMEOUT && strcmp(err->text, "stopped") == 0;

    metric_add(client->calls[request->operation], 1);
    if ((result < 0 && !stopped) || status >= 500 || status == 429)
        metric_add(client->errors[request->operation], 1);
    if (request->operation != KUBE_OP_WATCH)
        metric_observe_us(client->seconds[request->operation], took_us);
}

/* `err` is not NULL here and below. */
static int exchange(struct kube_client *client, const struct kube_request *request, const struct kube_credential *credential,
                    const char *body, int64_t deadline_ms, struct http_answer *answer, struct error *err)
{
    __attribute__((cleanup(clear_headers))) struct kube_headers headers = { 0 };
    cleanup_free char *url = xasprintf("%s%s", kube_config_server(client->config), request->path);
    int64_t left = deadline_ms - clock_monotonic_ms(), begin_us = clock_monotonic_us();
    struct http_call call = {
        .method = request->method, .url = url, .headers = headers.list, .body = str_from(body), .has_body = body != NULL,
        .cert_pem = credential->cert_pem, .key_pem = credential->key_pem,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : left > 0 ? left : 1,
        .stall_timeout_ms = request->stall_timeout_ms, .max_response = request->max_response,
        .on_data = request->on_data, .on_head = request->on_head, .context = request->context, .cancelled = request->cancelled,
    };

    fill_headers(&headers, request, credential);
    int result = http_client_call(client->http, &call, answer, err);
    count_call(client, request, result, answer->status, err, clock_monotonic_us() - begin_us);
    return result;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && secret_equal(str_from(a), str_from(b))); }

/* After 401: whether there is now another credential than the one that was refused. */
static bool renew_credential(struct kube_client *client, struct kube_credential *credential)
{
    struct kube_credential fresh = { 0 };
    bool changed = kube_config_credential(client->config, true, &fresh, NULL) == 0 &&
                   !(same_text(fresh.authorization, credential->authorization) && same_text(fresh.cert_pem, credential->cert_pem));

    kube_credential_clear(credential);
    *credential = fresh;
    return changed;
}

/* Milliseconds after which the server wants to be asked again; -1: its answer is final. A little more than it says, so that those who were refused together do
 * not come back together. */
static int64_t retry_delay_ms(const struct http_answer *answer)
{
    int64_t after_s = answer->retry_after_s;
    uint16_t noise;

    if (answer->status != 429 && !(answer->status >= 500 && after_s > 0))
        return -1;
    if (after_s <= 0)
        after_s = DEFAULT_RETRY_AFTER_S;
    random_bytes(&noise, sizeof(noise));
    return after_s > 3600 ? 3600000 : after_s * 1000 + noise % 250;
}

/* Repeats until an answer is final; a refusal that cannot be waited out in time is final too. */
static int exchange_until_final(struct kube_client *client, const struct kube_request *request, struct kube_credential *credential,
                                const char *body, struct http_answer *answer, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + client->timeout_ms;
    bool renewed = false;

    for (;;) {
        if (wait_for_limiter(client, request, deadline_ms, err) < 0 ||
            exchange(client, request, credential, body, deadline_ms, answer, err) < 0)
            return -1;
        int64_t delay = retry_delay_ms(answer);
        bool retried = delay >= 0 && clock_monotonic_ms() + delay < deadline_ms;
        if (answer->status == 401 && !renewed)
            renewed = retried = renew_credential(client, credential);
        if (!retried)
            return 0;
        http_answer_clear(answer);
        if (!wait_ms(request, delay))
            return error_set(err, ERR_TIMEOUT, "stopped");
    }
}

static int wrap_target(const struct kube_request *request, struct error *err)
{
    static const char *const doing[KUBE_OPERATION_COUNT] = {
        [KUBE_OP_GET] = "reading", [KUBE_OP_LIST] = "listing", [KUBE_OP_WATCH] = "watching", [KUBE_OP_CREATE] = "creating",
        [KUBE_OP_REPLACE] = "replacing", [KUBE_OP_PATCH] = "changing", [KUBE_OP_APPLY] = "applying", [KUBE_OP_DELETE] = "deleting",
        [KUBE_OP_LOGS] = "reading the log of", [KUBE_OP_REVIEW] = "asking for", [KUBE_OP_PATH] = "reading",
    };
    const struct kube_target *target = request->target;

    if (kube_error_is_expired(err))
        return -1;
    if (!target)
        return error_wrap(err, "%s %s", doing[request->operation], request->path);
    return error_wrap(err, "%s %s%s%s%s%s", doing[request->operation], target->name ? target->resource->kind : target->resource->plural,
                      target->name || target->namespace ? " " : "", target->namespace ? target->namespace : "",
                      target->name && target->namespace ? "/" : "", target->name ? target->name : "");
}

static void cleanup_credential(struct kube_credential *credential) { kube_credential_clear(credential); }

static int run_request(struct kube_client *client, const struct kube_request *request, struct http_answer *answer, struct error *err)
{
    __attribute__((cleanup(cleanup_credential))) struct kube_credential credential = { 0 };
    cleanup_secret char *body = request->body ? json_write(request->body) : NULL;

    *answer = (struct http_answer){ 0 };
    if (kube_config_credential(client->config, false, &credential, err) < 0 ||
        exchange_until_final(client, request, &credential, body, answer, err) < 0)
        return wrap_target(request, err);
    if (answer->status >= 200 && answer->status < 300)
        return 0;
    kube_status_error(answer->status, buf_str(&answer->body), err);
    http_answer_clear(answer);
    return wrap_target(request, err);
}

int kube_request_run(struct kube_client *client, const struct kube_request *request, struct http_answer *answer, struct error *err)
{
    struct error unheard;

    return run_request(client, request, answer, err ? err : &unheard);
}

int kube_request_json(struct kube_client *client, const struct kube_request *request, json_t **result, struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };

    if (kube_request_run(client, request, &answer, err) < 0)
        return -1;
    if (!result)
        return 0;
    *result = json_read_lenient(buf_str(&answer.body), err);
    if (!*result && err)
        (void)wrap_target(request, err);
    return *result ? 0 : -1;
}
