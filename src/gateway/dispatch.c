/* Sends each kind of request to its part. The data plane asks who calls first; a token that must be verified puts the client to sleep. */
#include "base/metrics.h"
#include "gateway/answer.h"
#include "gateway/control.h"
#include "gateway/dispatch.h"
#include "gateway/documents.h"
#include "gateway/gateway_private.h"
#include "gateway/identity.h"
#include "gateway/letter.h"
#include "gateway/page.h"
#include "gateway/proxy.h"
#include "gateway/terminal_socket.h"
#include "gateway/token.h"

/* --- small answers of our own ----------------------------------------------------------------------------------- */

static void answer_ready(struct client *client)
{
    struct error err = { 0 };

    if (gateway_is_draining(client->worker->gateway)) {
        answer_json(client, 503, "{\"status\":false,\"detail\":\"The service is stopping\"}");
        return;
    }
    if (fleet_is_ready(client->worker->options->fleet, &err)) {
        answer_json(client, 200, "{\"status\":true}");
        return;
    }
    cleanup_buf struct buf body = { 0 };
    buf_append_str(&body, STR_LITERAL("{\"status\":false,\"detail\":"));
    append_json_string(&body, err.text[0] ? str_from(err.text) : STR_LITERAL("The backend has not answered yet"));
    buf_append_char(&body, '}');
    answer_send(client, &(struct answer){ .status = 503, .content_type = "application/json", .body = buf_str(&body),
                                          .retry_after_s = 2 });
}

static void answer_page(struct client *client)
{
    struct worker *worker = client->worker;
    const struct page_file *file = worker->config->enable_ui ? page_find(worker->request.path) : NULL;

    if (!file) {
        answer_detail(client, 404, "Not Found");
        return;
    }
    answer_send(client, &(struct answer){
        .status = 200, .content_type = file->content_type, .body = str_of((const char *)file->data, file->len),
        .headers = "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
                   "Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:\r\n"
                   "Cache-Control: no-cache\r\n" });
}

/* A preflight of an allowed origin is answered here; any other OPTIONS goes on. */
static bool answer_preflight(struct client *client)
{
    const struct http_request *request = &client->worker->request;
    const struct http_field *headers = http_find_field(&request->fields, STR_LITERAL("Access-Control-Request-Headers"));
    cleanup_buf struct buf lines = { 0 };

    if (request->method != HTTP_OPTIONS || !client->cors_origin ||
        !http_find_field(&request->fields, STR_LITERAL("Access-Control-Request-Method")))
        return false;
    buf_append_text(&lines, "Access-Control-Allow-Methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n"
                            "Access-Control-Max-Age: 600\r\n");
    if (headers) {
        buf_append_str(&lines, STR_LITERAL("Access-Control-Allow-Headers: "));
        buf_append_str(&lines, headers->value);
        buf_append_str(&lines, STR_LITERAL("\r\n"));
    }
    buf_append_char(&lines, '\0');
    answer_send(client, &(struct answer){ .status = 200, .content_type = "text/plain; charset=utf-8", .body = STR_LITERAL("OK"),
                                          .headers = lines.failed ? NULL : lines.data });
    return true;
}

/* --- metrics: collectors take locks, so this is work for the pool ----------------------------------------------- */

struct metrics_letter {
    struct letter letter;
    struct buf text;
};

static void metrics_work(struct letter *letter)
{
    metrics_render(&((struct metrics_letter *)letter)->text);
}

static void metrics_arrived(struct letter *letter, struct client *client)
{
    struct metrics_letter *metrics = (struct metrics_letter *)letter;
    answer_send(client, &(struct answer){ .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                          .body = buf_str(&metrics->text) });
}

static void metrics_clear(struct letter *letter)
{
    buf_free(&((struct metrics_letter *)letter)->text);
}

static void too_busy(struct client *client)
{
    answer_error(client, 503, "The service is busy, try again", "no_capacity");
}

/* The only Authorization of the request, or NULL; `*several`: two readers could take different ones. */
static const struct http_field *only_authorization(const struct http_request *request, bool *several)
{
    *several = http_count_field(&request->fields, STR_LITERAL("Authorization")) > 1;
    return http_find_field(&request->fields, STR_LITERAL("Authorization"));
}

bool dispatch_admin(struct client *client)
{
    const struct worker *worker = client->worker;
    bool several;
    const struct http_field *field = only_authorization(&worker->request, &several);
    struct error err = { 0 };

    if (several)
        error_set(&err, ERR_UNAUTHORIZED, "Invalid Authorization header");
    else if (auth_check_admin(worker->options->auth, field ? field->value : (struct str){ 0 }, field != NULL, &err) == AUTH_OK)
        return true;
    dispatch_denied(client, &err);
    return false;
}

static void answer_metrics(struct client *client)
{
    struct worker *worker = client->worker;

    if (worker->config->metrics_auth && !dispatch_admin(client))
        return;
    struct metrics_letter *letter = letter_new(worker, sizeof(*letter));
    if (!letter) {
        too_busy(client);
        return;
    }
    letter->letter.work = metrics_work;
    letter->letter.arrived = metrics_arrived;
    letter->letter.clear = metrics_clear;
    letter_bind(&letter->letter, client);
    client_sleep(client, worker->now_ms + 30000, too_busy);
    if (!letter_submit(&letter->letter, worker->options->pool))
        too_busy(client);
}

/* --- the data plane: who calls? ---------------------------------------------------------------------------------- */

void dispatch_denied(struct client *client, const struct error *err)
{
    /* Open WebUI is a gateway of ours here, not our backend. */
    answer_detail(client, err->class == ERR_UNAVAILABLE ? 502 : error_http_status(err->class), err->text);
}

static void answer_refusal(struct client *client, const struct error *err)
{
    if (err->class == ERR_UNPROCESSABLE)
        answer_json(client, 422, MISSING_USER_JSON);
    else
        answer_detail(client, error_http_status(err->class), err->text);
}

/* The caller is known; `worker->request` is parsed. */
static void dispatch_identified(struct client *client, const struct identity *identity)
{
    struct worker *worker = client->worker;
    struct caller caller;
    struct error err = { 0 };

    if (client->kind == ROUTE_DOCUMENT) {
        char policy_id[POLICY_ID_SIZE];
        if (identity_check_once(&worker->request, &err) < 0 ||
            identity_policy(&worker->match, identity, worker_policies(worker), policy_id, &err) < 0)
            answer_refusal(client, &err);
        else
            documents_serve(client, worker->match.document, policy_id, true);
        return;
    }
    if (identity_resolve(&worker->request, &worker->match, identity, worker_policies(worker), &caller, &err) < 0) {
        answer_refusal(client, &err);
        return;
    }
    if (client->log_target)
        key_hash12(caller.user_id, client->log_user);
    proxy_begin(client, &caller.key);
}

static void token_checked(struct client *client, const struct identity *identity, const struct error *err)
{
    if (identity)
        dispatch_identified(client, identity);
    else
        dispatch_denied(client, err);
}

static void token_late(struct client *client)
{
    answer_detail(client, 502, "Failed to reach Open WebUI");
}

static void verify_token(struct client *client, struct str authorization)
{
    struct str token = { 0 };

    (void)auth_bearer_token(authorization, &token);
    if (token_verify(client, token, token_checked))
        client_sleep(client, client->worker->now_ms + TOKEN_PATIENCE_MS, token_late);
    else
        too_busy(client);
}

static void dispatch_data(struct client *client)
{
    struct worker *worker = client->worker;
    bool several;
    const struct http_field *field = only_authorization(&worker->request, &several);
    struct str authorization = field ? field->value : (struct str){ 0 };
    struct identity identity;
    struct error err = { 0 };

    if (several) {
        answer_detail(client, 401, "Invalid Authorization header");
        return;
    }
    switch (auth_check_header(worker->options->auth, authorization, field != NULL, &identity, &err)) {
    case AUTH_OK:
        dispatch_identified(client, &identity);
        break;
    case AUTH_DENIED:
        dispatch_denied(client, &err);
        break;
    case AUTH_PENDING:
        verify_token(client, authorization);
        break;
    }
}

/* Who connects while the service stops can watch it, and is sent elsewhere with everything else. */
static bool answer_latecomer(struct client *client)
{
    if (!client->latecomer || client->kind == ROUTE_HEALTH || client->kind == ROUTE_READY || client->kind == ROUTE_METRICS)
        return false;
    answer_error(client, 503, "The service is stopping", error_reason(ERR_UNAVAILABLE));
    return true;
}

void dispatch_request(struct client *client)
{
    if (answer_latecomer(client) || answer_preflight(client))
        return;
    switch (client->kind) {
    case ROUTE_HEALTH:
        answer_json(client, 200, "{\"status\":true}");
        break;
    case ROUTE_READY:
        answer_ready(client);
        break;
    case ROUTE_METRICS:
        answer_metrics(client);
        break;
    case ROUTE_CONTROL:
        control_begin(client);
        break;
    case ROUTE_PAGE:
        answer_page(client);
        break;
    case ROUTE_DOCUMENT:
    case ROUTE_PROXY:
    case ROUTE_TUNNEL:
        dispatch_data(client);
        break;
    case ROUTE_TERMINAL_SOCKET:
        terminal_socket_begin(client);
        break;
    case ROUTE_BAD_METHOD:
        answer_detail(client, 405, "Method Not Allowed");
        break;
    case ROUTE_NOT_FOUND:
    case ROUTE_KIND_COUNT:
        answer_detail(client, 404, "Not Found");
        break;
    }
}
