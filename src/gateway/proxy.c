/* The request's side of the proxy.
 *
 * A request goes: route known? (else sleep until the fleet has one) → connection (idle or new) → head and body out. Its head stays at the
 * front of the client's input for as long as the request may have to be sent again (§2.6.6): always until a byte was written, and
 * for GET, HEAD and OPTIONS without a body until the first byte of a response. */
#include "gateway/answer.h"
#include "gateway/documents.h"
#include "gateway/proxy.h"
#include "gateway/proxy_head.h"
#include "gateway/want.h"

#define UPLOAD_STALL_MS 300000
#define START_SLACK_MS 5000
#define SKILLS_MS 5000
#define MAX_TRIES 3
#define MAX_REFUSALS 5

static void proxy_start(struct client *client, struct lane *lane);
static void proxy_want(struct client *client, const struct terminal_key *key);

void proxy_touch(struct client *client)
{
    if (client->active && client->lane)
        route_touch(client->lane->route, client->worker->now_ms);
}

/* --- finding the terminal ------------------------------------------------------------------------------------- */

/* What an idle guest would say to a client's poll. */
static void answer_for_idle_guest(struct client *client, const char *policy_id)
{
    const struct route_match *match = &client->worker->match;

    switch (match->passive) {
    case PASSIVE_PROCESSES:
        answer_json(client, 200, "[]");
        break;
    case PASSIVE_PORTS:
        answer_json(client, 200, "{\"ports\":[]}");
        break;
    case PASSIVE_HEALTH:
        answer_json(client, 200, "{\"status\":\"ok\"}");
        break;
    case PASSIVE_PROCESS_STATUS:
        answer_detail(client, 404, "Process not found");
        break;
    case PASSIVE_CONFIG:
    case PASSIVE_SYSTEM:
        documents_serve(client, match->document, policy_id, false);
        break;
    case PASSIVE_NOT:
        answer_error(client, 503, "The terminal is not running", "starting");
        break;
    }
}

static void start_late(struct client *client)
{
    client_parse_again(client);
    if (client->worker->match.is_skills)
        answer_error(client, 503, "The terminal is starting", error_reason(ERR_STARTING));
    else
        answer_error(client, 503, "The terminal did not start in time", error_reason(ERR_START_TIMEOUT));
}

static void wanted(struct client *client, struct lane *lane, const struct error *err)
{
    if (lane)
        proxy_start(client, lane);
    else
        answer_fleet_error(client, err);
}

static void proxy_want(struct client *client, const struct terminal_key *key)
{
    struct worker *worker = client->worker;
    int64_t patience_ms = worker->match.is_skills ? SKILLS_MS : worker->config->start_timeout_ms + START_SLACK_MS;

    if (want_terminal(client, key, wanted))
        client_sleep(client, worker->now_ms + patience_ms, start_late);
}

void proxy_begin(struct client *client, const struct terminal_key *key)
{
    struct worker *worker = client->worker;
    struct lane *lane = lane_find(worker, key);

    client->active = worker->match.passive == PASSIVE_NOT;
    if (!lane && !client->active) {
        struct route *route = fleet_find_route(worker->options->fleet, key);
        if (!route) {
            answer_for_idle_guest(client, key->policy_id);
            return;
        }
        lane = lane_add(worker, route);
    }
    if (lane)
        proxy_start(client, lane);
    else
        proxy_want(client, key);
}

/* --- sending the request -------------------------------------------------------------------------------------- */

static bool may_repeat(const struct client *client)
{
    return (client->method == HTTP_GET || client->method == HTTP_HEAD || client->method == HTTP_OPTIONS) &&
           client->request_body.framing == HTTP_BODY_NONE;
}

void proxy_set_deadline(struct client *client)
{
    const struct worker *worker = client->worker;
    int64_t patience_ms = worker->config->read_timeout_ms;

    if (client->phase == CLIENT_CONNECT)
        patience_ms = worker->config->connect_timeout_ms;
    else if (stream_has_output(&client->stream) || (client->upstream && stream_has_output(&client->upstream->stream)))
        patience_ms = worker->config->write_timeout_ms;
    else if (!client->request_body.done && patience_ms < UPLOAD_STALL_MS)
        patience_ms = UPLOAD_STALL_MS;
    timer_set(&client->worker->timers, &client->timer, worker->now_ms + patience_ms);
}

/* What the answer to POST /api/terminals tells is needed when its socket is dialled. */
static void note_session_request(struct client *client)
{
    const struct http_field *field = http_find_field(&client->worker->request.fields, STR_LITERAL("X-Session-Id"));

    client->capture = client->worker->match.creates_session;
    if (client->capture && field)
        client->session_header = strndup(field->value.data ? field->value.data : "", field->value.len);
    client->gathered.limit = 4096;
}

/* False: the terminal is being stopped, and the fleet is to be asked again. */
static bool count_in(struct client *client, struct lane *lane)
{
    if (client->active && !route_enter(lane->route, client->worker->now_ms))
        return false;
    client->entered = client->active;
    client->lane = lane;
    lane_hold(lane);
    if (client->kind == ROUTE_TUNNEL)
        list_append(&lane->sockets, &client->lane_node);
    return true;
}

/* The connection is there: the head, and what has come of the body, go out in one call. */
static void refuse_body(struct client *client)
{
    if (client->response_started) {
        client_close(client);
        return;
    }
    client->keep = false;
    client_release_upstream(client, false);
    answer_detail(client, 400, "The request's body is malformed");
}

static void send_request(struct client *client)
{
    struct worker *worker = client->worker;
    struct upstream *upstream = client->upstream;
    struct guest_head head = {
        .path = worker->match.path, .host = client->lane->host, .authorization = client->lane->route->authorization,
        .request_id = client->request_id, .tunnel = client->kind == ROUTE_TUNNEL,
    };
    bool repeatable = may_repeat(client);
    struct str input = client_body_input(client);
    struct str rest = input;
    uint64_t sent = 0;

    proxy_append_request(worker_out(worker), &worker->request, &head);
    if (worker->out.failed) {
        client_release_upstream(client, false);
        answer_error(client, 503, "Out of memory", NULL);
        return;
    }
    note_session_request(client);
    client->phase = CLIENT_RELAY;
    struct body before = client->request_body;
    enum body_result result = body_relay(&client->request_body, buf_str(&worker->out), &rest,
                                         client->request_body.framing == HTTP_BODY_CHUNKED, &upstream->stream, &sent, NULL, NULL);
    if (result == BODY_UNSENT) {
        client->request_body = before;
        client->wrote = upstream->stream.sent;
        proxy_upstream_lost(client);
        return;
    }
    client->wrote = true;
    if (!repeatable) {
        client_consume(client, client->head_len + (input.len - rest.len));
        client->head_len = 0;
    }
    if (result == BODY_BAD) {
        refuse_body(client);
        return;
    }
    proxy_pump_request(client);
}

static void proxy_unreachable(struct client *client)
{
    struct lane *lane = client->lane;

    fleet_suspect(client->worker->options->fleet, lane->route);
    client_release_upstream(client, false);
    answer_error(client, 502, "Terminal instance not reachable", NULL);
}

/* The terminal was withdrawn between two looks. */
static void proxy_withdrawn(struct client *client, struct lane *lane)
{
    if (client->refusals++ < MAX_REFUSALS)
        proxy_want(client, lane->route->key);
    else
        answer_error(client, 503, "The terminal is stopping", error_reason(ERR_STARTING));
}

static void proxy_start(struct client *client, struct lane *lane)
{
    struct worker *worker = client->worker;

    if (!count_in(client, lane)) {
        proxy_withdrawn(client, lane);
        return;
    }
    client->upstream = client->tries > 0 ? NULL : upstream_take_idle(lane, client, may_repeat(client));
    if (client->upstream) {
        send_request(client);
        return;
    }
    client->upstream = upstream_dial(worker, lane, client);
    if (!client->upstream) {
        proxy_unreachable(client);
        return;
    }
    client->phase = CLIENT_CONNECT;
    proxy_set_deadline(client);
}

void proxy_pump_request(struct client *client)
{
    struct upstream *upstream = client->upstream;
    bool chunked = client->request_body.framing == HTTP_BODY_CHUNKED;

    while (client->phase == CLIENT_RELAY && !client->request_body.done && !client->upload_dead &&
           !stream_has_output(&upstream->stream)) {
        struct str input = client_input(client), rest = input;
        if (input.len > 0) {
            uint64_t sent = 0;
            enum body_result result = body_relay(&client->request_body, (struct str){ 0 }, &rest, chunked, &upstream->stream,
                                                 &sent, NULL, NULL);
            client_consume(client, input.len - rest.len);
            proxy_touch(client);
            if (result == BODY_BAD) {
                refuse_body(client);
                return;
            }
            client->upload_dead = result == BODY_UNSENT;
            continue;
        }
        if (!client->stream.readable)
            break;
        ssize_t got = client_read(client);
        if (got == STREAM_EOF || got == STREAM_ERROR) {
            client_close(client);
            return;
        }
        if (got == STREAM_AGAIN)
            break;
    }
    if (client->phase == CLIENT_RELAY)
        proxy_set_deadline(client);
}

/* --- when it goes wrong ---------------------------------------------------------------------------------------- */

/* Sends the request again, to the terminal as the fleet knows it now. */
static void proxy_again(struct client *client)
{
    struct worker *worker = client->worker;
    struct route *route = route_ref(client->lane->route);

    stats_retry(worker->stats);
    client->tries++;
    client_release_upstream(client, false);
    client_parse_again(client);
    client->wrote = false;
    body_init(&client->request_body, worker->request.framing, worker->request.content_length);
    struct lane *lane = lane_find(worker, route->key);
    if (lane)
        proxy_start(client, lane);
    else if (client->active)
        proxy_want(client, route->key);
    else
        answer_for_idle_guest(client, route->key->policy_id);
    route_unref(route);
}

void proxy_upstream_lost(struct client *client)
{
    bool reused = client->upstream->reused;
    bool again = !client->wrote ? reused || route_is_withdrawn(client->lane->route)
                                : may_repeat(client) && !client->response_bytes;

    if (client->response_started) {
        client_close(client);       /* cut short: the client must not take it for the whole answer */
        return;
    }
    if (!reused)
        fleet_suspect(client->worker->options->fleet, client->lane->route);
    if (again && client->head_len > 0 && client->tries + 1 < MAX_TRIES - (client->wrote ? 1 : 0)) {
        proxy_again(client);
        return;
    }
    bool wrote = client->wrote;
    client_release_upstream(client, false);
    answer_error(client, 502, wrote ? "Upstream connection failed" : "Terminal instance not reachable", NULL);
}

void proxy_timeout(struct client *client)
{
    if (client->phase == CLIENT_CONNECT) {
        proxy_unreachable(client);
        return;
    }
    if (client->response_started || stream_has_output(&client->stream)) {
        client_close(client);
        return;
    }
    if (!client->request_body.done && !stream_has_output(&client->upstream->stream)) {
        client_release_upstream(client, false);
        client->keep = false;
        answer_detail(client, 408, "The request's body did not come in time");
        return;
    }
    fleet_suspect(client->worker->options->fleet, client->lane->route);
    client_release_upstream(client, false);
    client->keep = false;
    answer_error(client, 504, "Upstream response timed out", NULL);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

void proxy_client_ready(struct client *client, bool flushed)
{
    if (client->stream.hangup && !client->half_closed && client->request_body.done) {
        client_close(client);
        return;
    }
    /* What it sends after its request is not a sign of the guest's life. */
    if (!flushed && client->request_body.done && !client->upstream->stream.readable)
        return;
    proxy_pump_request(client);
    if (client->phase == CLIENT_RELAY && client_settle(client))
        proxy_pump_response(client);
}

static void connecting_ready(struct client *client)
{
    switch (upstream_check_connected(client->upstream)) {
    case 0:
        return;
    case 1:
        client_parse_again(client);
        send_request(client);
        return;
    default:
        proxy_upstream_lost(client);
    }
}

void proxy_upstream_ready(struct stream *stream)
{
    struct upstream *upstream = CONTAINER_OF(stream, struct upstream, stream);
    struct client *client = upstream->client;

    if (client->phase == CLIENT_CONNECT) {
        connecting_ready(client);
        client_run(client);
        return;
    }
    if (stream->writable && stream_has_output(stream)) {
        if (!stream_flush(stream))
            client->upload_dead = true;
        else
            proxy_pump_request(client);
    }
    if (client->phase == CLIENT_RELAY && client_settle(client))
        proxy_pump_response(client);
    client_run(client);
}
