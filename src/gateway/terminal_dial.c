/* The guest's side of a terminal socket until it is open: connection, upgrade, auth frame. Five tries, a second apart; a guest that refuses
 * the session is not asked again. */
#include "base/random.h"
#include "gateway/answer.h"
#include "gateway/terminal_socket.h"
#include "gateway/upstream.h"

#define MAX_TRIES 5
#define PAUSE_MS 1000
#define HANDSHAKE_MS 10000
#define INTERIMS_MAX 16

static void drop_guest(struct client *client)
{
    client_release_upstream(client, false);
}

void terminal_dial_failed(struct client *client)
{
    struct terminal_socket *socket = client->socket;
    struct worker *worker = client->worker;

    fleet_suspect(worker->options->fleet, client->lane->route);
    drop_guest(client);
    if (++socket->tries >= MAX_TRIES) {
        terminal_socket_end(client, 4003, "Terminal instance not reachable");
        return;
    }
    socket->phase = SOCKET_PAUSE;
    timer_set(&worker->timers, &client->timer, worker->now_ms + PAUSE_MS);
}

/* The terminal is being stopped: the fleet is asked again, as after a failed try. */
static void terminal_withdrawn(struct client *client)
{
    struct worker *worker = client->worker;

    if (++client->socket->tries >= MAX_TRIES) {
        terminal_socket_end(client, 4003, "Terminal instance not reachable");
        return;
    }
    client->socket->phase = SOCKET_PAUSE;
    timer_set(&worker->timers, &client->timer, worker->now_ms + PAUSE_MS);
}

void terminal_dial(struct client *client, struct lane *lane)
{
    struct worker *worker = client->worker;

    if (!route_enter(lane->route, worker->now_ms)) {
        terminal_withdrawn(client);
        return;
    }
    client->entered = true;
    client->lane = lane;
    lane_hold(lane);
    list_append(&lane->sockets, &client->lane_node);
    client->socket->phase = SOCKET_CONNECT;
    client->upstream = upstream_dial(worker, lane, client);
    if (!client->upstream) {
        terminal_dial_failed(client);
        return;
    }
    client->upstream->stream.ready = terminal_dial_upstream_ready;
    timer_set(&worker->timers, &client->timer, worker->now_ms + worker->config->connect_timeout_ms);
}

/* What the guest checks the owner of the session with (open-webui.md, rule 4): the header as it came, even empty, else the auth frame's
 * chat id, else what the session was made with. NULL: nothing is known. The caller frees. */
static char *session_owner(struct client *client)
{
    const struct terminal_socket *socket = client->socket;
    char *remembered = NULL;

    if (socket->x_session_id)
        return strdup(socket->x_session_id);
    if (socket->chat_id)
        return strdup(socket->chat_id);
    if (route_recall_session(client->lane->route, socket->match.session, &remembered))
        return remembered;
    return NULL;
}

static void append_field(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s: %s\r\n", name, value);
}

static bool send_handshake(struct client *client)
{
    struct terminal_socket *socket = client->socket;
    struct buf *out = worker_out(client->worker);
    cleanup_free char *owner = session_owner(client);
    char key[25];

    socket->interims = 0;
    ws_random_key(key);
    ws_accept_key(str_of(key, 24), socket->accept);
    buf_append_str(out, STR_LITERAL("GET "));
    buf_append_str(out, socket->match.path);
    buf_append_str(out, STR_LITERAL(" HTTP/1.1\r\n"));
    append_field(out, "Host", client->lane->host);
    buf_append_str(out, STR_LITERAL("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"));
    append_field(out, "Sec-WebSocket-Key", key);
    append_field(out, "Authorization", client->lane->route->authorization);
    append_field(out, "X-Request-Id", client->request_id);
    if (owner && !str_has_control(str_from(owner)))
        append_field(out, "X-Session-Id", owner);
    buf_append_str(out, STR_LITERAL("\r\n"));
    return !out->failed && stream_write_str(&client->upstream->stream, buf_str(out));
}

static bool send_auth_frame(struct client *client)
{
    cleanup_buf struct buf message = { 0 }, frame = { 0 };
    cleanup_free char *owner = session_owner(client);
    unsigned char mask[4];

    buf_append_str(&message, STR_LITERAL("{\"type\":\"auth\",\"token\":"));
    append_json_string(&message, str_from(client->lane->route->guest_key));
    if (owner) {
        buf_append_str(&message, STR_LITERAL(",\"chat_id\":"));
        append_json_string(&message, str_from(owner));
    }
    buf_append_char(&message, '}');
    random_bytes(mask, sizeof(mask));
    return !message.failed && ws_append_frame(&frame, WS_TEXT, buf_str(&message), mask) &&
           stream_write_str(&client->upstream->stream, buf_str(&frame));
}

/* The guest's answer to the upgrade is whole. */
static void take_answer(struct client *client, struct str early)
{
    const struct http_response *response = &client->worker->response;
    const struct http_field *accept = http_find_field(&response->fields, STR_LITERAL("Sec-WebSocket-Accept"));

    if (response->status == 403 || response->status == 404) {
        terminal_socket_end(client, 4004, "Session not found");
        return;
    }
    if (response->status != 101 || !accept || !str_equal_text(accept->value, client->socket->accept) ||
        http_find_field(&response->fields, STR_LITERAL("Sec-WebSocket-Extensions"))) {
        terminal_dial_failed(client);
        return;
    }
    if (send_auth_frame(client))
        terminal_relay_begin(client, early);
    else
        terminal_dial_failed(client);
}

/* Parses the head of the guest's answer; what it says before it (100, 103) is skipped, some of it. */
static enum http_parse_result parse_answer(struct worker *worker, struct upstream *upstream, unsigned *interims, size_t *consumed)
{
    const char *why;

    while (*interims < INTERIMS_MAX) {
        enum http_parse_result result = http_parse_response(buf_str(&upstream->in), &upstream->scanned, HTTP_GET, &worker->response, consumed, &why);
        if (result != HTTP_COMPLETE || worker->response.status >= 200 || worker->response.status == 101)
            return result;
        buf_consume(&upstream->in, *consumed);
        upstream->scanned = 0;
        ++*interims;
    }
    return HTTP_BAD;
}

static void read_answer(struct client *client)
{
    struct worker *worker = client->worker;
    struct upstream *upstream = client->upstream;
    size_t consumed = 0;

    while (upstream->stream.readable) {
        ssize_t got = stream_read(&upstream->stream, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            return;
        if (got < 0 || !buf_append(&upstream->in, worker->scratch, (size_t)got)) {
            terminal_dial_failed(client);
            return;
        }
        switch (parse_answer(worker, upstream, &client->socket->interims, &consumed)) {
        case HTTP_INCOMPLETE:
            continue;
        case HTTP_BAD:
            terminal_dial_failed(client);
            return;
        case HTTP_COMPLETE:
            break;
        }
        cleanup_buf struct buf held = upstream->in;
        upstream->in = (struct buf){ 0 };
        take_answer(client, str_skip(buf_str(&held), consumed));
        return;
    }
}

static void finish_connect(struct client *client)
{
    struct worker *worker = client->worker;

    switch (upstream_check_connected(client->upstream)) {
    case 0:
        return;
    case 1:
        stream_set_keep_alive(client->upstream->stream.fd);
        client->socket->phase = SOCKET_HANDSHAKE;
        timer_set(&worker->timers, &client->timer, worker->now_ms + HANDSHAKE_MS);
        if (!send_handshake(client))
            terminal_dial_failed(client);
        return;
    default:
        terminal_dial_failed(client);
    }
}

void terminal_dial_upstream_ready(struct stream *stream)
{
    struct client *client = CONTAINER_OF(stream, struct upstream, stream)->client;
    struct terminal_socket *socket = client->socket;

    if (socket->phase == SOCKET_CONNECT)
        finish_connect(client);
    else if (socket->phase == SOCKET_HANDSHAKE)
        read_answer(client);
    else if (socket->phase == SOCKET_OPEN)
        terminal_relay_run(client);
    if (client->phase == CLIENT_CLOSING)
        client_run(client);
}
