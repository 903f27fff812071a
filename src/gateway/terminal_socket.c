/* From the upgrade request to the terminal's key. What is wrong with the request is told only after the caller has authenticated, in the
 * order of §2.7. */
#include "base/json.h"
#include "gateway/answer.h"
#include "gateway/gateway_private.h"
#include "gateway/identity.h"
#include "gateway/terminal_socket.h"
#include "gateway/token.h"
#include "gateway/want.h"
#include "http/uri.h"

#define AUTH_MS 10000
#define AUTH_FRAME_MAX 65536u
/* Pieces of the auth frame, and pings: whoever has not authenticated keeps us busy, and our answers in memory, for no more than these. */
#define AUTH_FRAMES_MAX 64
#define START_SLACK_MS 5000

/* --- the request ------------------------------------------------------------------------------------------------ */

static char *copy_field(const struct http_fields *fields, struct str name)
{
    const struct http_field *field = http_find_field(fields, name);
    return field ? strndup(field->value.data ? field->value.data : "", field->value.len) : NULL;
}

static void refuse_later(struct terminal_socket *socket, unsigned code, const char *reason)
{
    if (socket->refusal == 0) {
        socket->refusal = code;
        socket->refusal_reason = reason;
    }
}

/* What both ways of naming user and context must keep to: each is said once, in text that can be read. */
struct parameter {
    const char *name;
    struct str header;
    const char *repeated, *unreadable;
};

static const struct parameter user_parameter = {
    "user_id", STR_LITERAL("X-User-Id"), "user_id was sent more than once", "user_id cannot be decoded" };
static const struct parameter context_parameter = {
    "context_id", STR_LITERAL("X-Terminal-Context-Id"), "context_id was sent more than once", "context_id cannot be decoded" };

/* The parameter of the query, or NULL. */
static char *query_text(struct terminal_socket *socket, const struct http_request *request, const struct parameter *parameter)
{
    cleanup_buf struct buf value = { 0 };
    size_t count = request->has_query ? query_find(request->query, parameter->name, &value) : 0;
    bool unreadable = count == SIZE_MAX || (value.len > 0 && memchr(value.data, '\0', value.len));

    if (unreadable)
        refuse_later(socket, 4002, parameter->unreadable);
    else if (count > 1 || http_count_field(&request->fields, parameter->header) > 1)
        refuse_later(socket, 4002, parameter->repeated);
    if (count == 0 || unreadable)
        return NULL;
    return strndup(value.data ? value.data : "", value.len);
}

static void take_identity(struct terminal_socket *socket, const struct http_request *request)
{
    const struct http_fields *fields = &request->fields;
    cleanup_free char *header_user = copy_field(fields, STR_LITERAL("X-User-Id"));
    cleanup_free char *header_context = copy_field(fields, STR_LITERAL("X-Terminal-Context-Id"));

    socket->user_id = query_text(socket, request, &user_parameter);
    socket->context_id = query_text(socket, request, &context_parameter);
    if (!socket->user_id || socket->user_id[0] == '\0')
        refuse_later(socket, 4002, "Missing user_id");
    else if (header_user && header_user[0] && strcmp(header_user, socket->user_id) != 0)
        refuse_later(socket, 4002, "X-User-Id and user_id differ");
    if (header_context) {
        free(socket->context_id);
        socket->context_id = steal(&header_context);
    }
    socket->x_session_id = copy_field(fields, STR_LITERAL("X-Session-Id"));
}

/* The match must outlive the request's buffer. */
static bool take_target(struct terminal_socket *socket, const struct route_match *match)
{
    size_t policy = match->policy_id.len, path = match->path.len;
    socket->match = *match;
    socket->target = malloc(policy + path + 1);
    if (!socket->target)
        return false;
    memcpy(socket->target, match->policy_id.data, policy);
    memcpy(socket->target + policy, match->path.data, path);
    socket->match.policy_id = str_of(socket->target, policy);
    socket->match.path = str_of(socket->target + policy, path);
    socket->match.session = str_skip(socket->match.path, path - match->session.len);
    return true;
}

/* 0, or the status of the answer to a bad handshake. */
static int check_handshake(const struct http_request *request, const struct http_field **key)
{
    const struct http_field *version = http_find_field(&request->fields, STR_LITERAL("Sec-WebSocket-Version"));

    *key = http_find_field(&request->fields, STR_LITERAL("Sec-WebSocket-Key"));
    if (!version || !str_equal_text(version->value, "13"))
        return 426;
    if (request->framing != HTTP_BODY_NONE)     /* its bytes would be taken for frames */
        return 400;
    if (!*key || (*key)->value.len != 24 || http_count_field(&request->fields, STR_LITERAL("Sec-WebSocket-Key")) != 1)
        return 400;
    return 0;
}

static bool accept_handshake(struct client *client, struct str key)
{
    struct buf *out = worker_out(client->worker);
    char accept[29];

    ws_accept_key(key, accept);
    append_response_start(out, client, 101, STR_LITERAL("Switching Protocols"));
    buf_append_str(out, STR_LITERAL("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "));
    buf_append_text(out, accept);
    buf_append_str(out, STR_LITERAL("\r\n\r\n"));
    return !out->failed && stream_write_str(&client->stream, buf_str(out));
}

static void refuse_handshake(struct client *client, int status)
{
    client->keep = false;
    answer_send(client, &(struct answer){
        .status = status, .content_type = "application/json",
        .body = STR_LITERAL("{\"detail\":\"Not a valid WebSocket handshake\"}"),
        .headers = status == 426 ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" : NULL });
}

static struct terminal_socket *socket_new(struct client *client)
{
    struct terminal_socket *socket = calloc(1, sizeof(*socket));

    if (socket && !take_target(socket, &client->worker->match)) {
        free(socket);
        socket = NULL;
    }
    if (!socket)
        return NULL;
    take_identity(socket, &client->worker->request);
    ws_follow_init(&socket->from_client, true);
    ws_follow_init(&socket->from_guest, false);
    socket->message.limit = AUTH_FRAME_MAX;
    socket->limited = true;
    return socket;
}

void terminal_socket_begin(struct client *client)
{
    struct worker *worker = client->worker;
    const struct http_field *key;
    int status = check_handshake(&worker->request, &key);

    if (status != 0) {
        refuse_handshake(client, status);
        return;
    }
    if (!limits_enter_socket(gateway_limits(worker->gateway), &client->address)) {
        answer_error(client, 503, "Too many sockets that have not authenticated", "limit_reached");
        return;
    }
    client->socket = socket_new(client);
    if (!client->socket)
        limits_leave_socket(gateway_limits(worker->gateway), &client->address);
    if (!client->socket || !accept_handshake(client, key->value)) {
        client_close(client);
        return;
    }
    client_consume(client, client->head_len);
    client->head_len = 0;
    client->status = 101;
    client->keep = false;
    client->request_body.done = false;          /* so that the end lingers until the client has read its close frame */
    client->phase = CLIENT_SOCKET;
    stream_set_keep_alive(client->stream.fd);
    timer_set(&worker->timers, &client->timer, worker->now_ms + AUTH_MS);
    if (client_settle(client))
        terminal_socket_run(client);
}

static void leave_limit(struct client *client)
{
    if (client->socket->limited)
        limits_leave_socket(gateway_limits(client->worker->gateway), &client->address);
    client->socket->limited = false;
}

void terminal_socket_free(struct client *client)
{
    struct terminal_socket *socket = client->socket;

    leave_limit(client);
    if (socket->counted) {
        atomic_fetch_sub(&client->lane->route->websockets, 1);
        stats_websocket(client->worker->stats, -1);
    }
    terminal_key_free(socket->key);
    free(socket->target);
    free(socket->user_id);
    free(socket->context_id);
    free(socket->x_session_id);
    free(socket->chat_id);
    buf_free(&socket->message);
    free(steal(&client->socket));
}

/* --- which terminal --------------------------------------------------------------------------------------------- */

static void wanted(struct client *client, struct lane *lane, const struct error *err)
{
    (void)err;                  /* the fleet has logged it; clients know this reason only */
    if (lane)
        terminal_dial(client, lane);
    else
        terminal_socket_end(client, 4003, "Failed to resolve terminal instance");
}

void terminal_find(struct client *client)
{
    struct worker *worker = client->worker;
    struct terminal_socket *socket = client->socket;
    struct lane *lane = lane_find(worker, socket->key);

    if (lane) {
        terminal_dial(client, lane);
        return;
    }
    socket->phase = SOCKET_START;
    if (want_terminal(client, socket->key, wanted))
        timer_set(&worker->timers, &client->timer, worker->now_ms + worker->config->start_timeout_ms + START_SLACK_MS);
}

/* 0, or the close code with its reason in `err`. */
static unsigned resolve_key(struct client *client, const struct identity *identity, struct error *err)
{
    struct terminal_socket *socket = client->socket;
    char policy_id[POLICY_ID_SIZE];
    struct str context_id;

    if (socket->refusal != 0) {
        error_set(err, ERR_INVALID, "%s", socket->refusal_reason);
        return socket->refusal;
    }
    if (identity_check_user(str_from(socket->user_id), err) < 0)
        return 4002;
    if (!identity->trusted && strcmp(identity->user_id, socket->user_id) != 0) {
        error_set(err, ERR_FORBIDDEN, "user_id does not match authenticated identity");
        return 4003;
    }
    if (identity_policy(&socket->match, identity, worker_policies(client->worker), policy_id, err) < 0)
        return err->class == ERR_FORBIDDEN ? 4003 : 4004;
    if (context_id_normalise(str_from(socket->context_id), &context_id, err) < 0)
        return 4004;
    socket->key = terminal_key_new(str_from(socket->user_id), str_from(policy_id), context_id);
    return 0;
}

static void identified(struct client *client, const struct identity *identity)
{
    struct error err = { 0 };

    leave_limit(client);
    unsigned code = resolve_key(client, identity, &err);
    if (code != 0) {
        terminal_socket_end(client, code, err.text);
        return;
    }
    if (client->log_target)
        key_hash12(client->socket->user_id, client->log_user);
    terminal_find(client);
    if (client->socket)
        terminal_socket_run(client);
}

/* --- the auth frame ---------------------------------------------------------------------------------------------- */

static void denied(struct client *client)
{
    bool tokens = auth_mode(client->worker->options->auth) == AUTH_OPEN_WEBUI;
    terminal_socket_end(client, 4001, tokens ? "Invalid token" : "Invalid API key");
}

static void token_checked(struct client *client, const struct identity *identity, const struct error *err)
{
    (void)err;
    if (identity)
        identified(client, identity);
    else
        denied(client);
}

static void check_token(struct client *client, struct str token)
{
    struct worker *worker = client->worker;
    struct identity identity;
    struct error err = { 0 };

    switch (auth_check_token(worker->options->auth, token, &identity, &err)) {
    case AUTH_OK:
        identified(client, &identity);
        break;
    case AUTH_DENIED:
        denied(client);
        break;
    case AUTH_PENDING:
        client->socket->phase = SOCKET_VERIFY;
        timer_set(&worker->timers, &client->timer, worker->now_ms + TOKEN_PATIENCE_MS);
        if (!token_verify(client, token, token_checked))
            denied(client);
        break;
    }
}

static void take_auth_message(struct client *client, struct str text)
{
    cleanup_json json_t *message = json_read(text, NULL);
    const json_t *token = json_object_get(message, "token");
    const char *type = json_is_object(message) ? json_text(message, "type") : NULL;
    const char *chat_id = json_is_object(message) ? json_text(message, "chat_id") : NULL;

    if (!message) {
        terminal_socket_end(client, 4001, "Auth timeout or invalid payload");
        return;
    }
    if (!json_is_object(message)) {
        terminal_socket_end(client, 4001, "Auth failed");
        return;
    }
    if (!type || strcmp(type, "auth") != 0) {
        terminal_socket_end(client, 4001, "Expected auth message");
        return;
    }
    if (token && !json_is_string(token)) {
        terminal_socket_end(client, 4001, "Auth failed");
        return;
    }
    if (chat_id)
        client->socket->chat_id = strdup(chat_id);
    check_token(client, token ? str_of(json_string_value(token), json_string_length(token)) : (struct str){ 0 });
}

/* A whole frame before authentication, unmasked. */
static void take_auth_frame(struct client *client, const struct ws_frame *frame, struct str payload)
{
    struct terminal_socket *socket = client->socket;

    switch (frame->opcode) {
    case WS_PING:
        (void)terminal_answer_ping(client, payload);
        return;
    case WS_PONG:
        return;
    case WS_CLOSE:
        terminal_socket_end(client, 1000, "");
        return;
    case WS_BINARY:
        terminal_socket_end(client, 4001, "Auth failed");
        return;
    case WS_TEXT:
    case WS_CONTINUATION:
        break;
    }
    bool first = socket->message.data == NULL;
    if (first != (frame->opcode == WS_TEXT)) {
        terminal_socket_end(client, 1002, "Unexpected frame");
        return;
    }
    if (!buf_append_str(&socket->message, payload) || !buf_reserve(&socket->message, 1)) {
        terminal_socket_end(client, 4001, "Auth failed");
        return;
    }
    if (frame->fin) {
        cleanup_buf struct buf message = socket->message;
        socket->message = (struct buf){ 0 };
        take_auth_message(client, buf_str(&message));
    }
}

/* Takes the first frame out of the input. False: it is not whole, or all is over. */
static bool step_auth(struct client *client)
{
    struct ws_frame frame;

    switch (ws_parse_header(buf_str(&client->in), true, &frame)) {
    case WS_INCOMPLETE:
        return false;
    case WS_BAD:
        terminal_socket_end(client, 1002, "Malformed frame");
        return false;
    case WS_FRAME:
        break;
    }
    if (frame.length > AUTH_FRAME_MAX || client->socket->auth_frames++ == AUTH_FRAMES_MAX) {
        terminal_socket_end(client, 4001, "Auth failed");
        return false;
    }
    size_t length = (size_t)frame.length;
    if (client->in.len < frame.header_length + length)
        return false;
    cleanup_buf struct buf payload = { 0 };
    if (!buf_append(&payload, client->in.data + frame.header_length, length) && length > 0) {
        client_close(client);
        return false;
    }
    ws_unmask(payload.data, payload.len, frame.mask);
    client_consume(client, frame.header_length + length);
    take_auth_frame(client, &frame, buf_str(&payload));
    return client->socket && client->socket->phase == SOCKET_AUTH;
}

static void run_auth(struct client *client)
{
    struct worker *worker = client->worker;

    do {
        while (step_auth(client))
            continue;
        if (!client->socket || client->socket->phase != SOCKET_AUTH || !client->stream.readable)
            return;
        ssize_t got = stream_read(&client->stream, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            return;
        if (got < 0 || !buf_append(&client->in, worker->scratch, (size_t)got)) {
            client_close(client);
            return;
        }
    } while (true);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

void terminal_socket_run(struct client *client)
{
    switch (client->socket->phase) {
    case SOCKET_AUTH:
        run_auth(client);
        break;
    case SOCKET_VERIFY:
    case SOCKET_START:
    case SOCKET_CONNECT:
    case SOCKET_HANDSHAKE:
    case SOCKET_PAUSE:
        if (!terminal_relay_early(client))
            return;
        break;
    case SOCKET_OPEN:
        terminal_relay_run(client);
        break;
    }
}

void terminal_socket_timeout(struct client *client)
{
    switch (client->socket->phase) {
    case SOCKET_AUTH:
        terminal_socket_end(client, 4001, "Auth timeout or invalid payload");
        break;
    case SOCKET_VERIFY:
        denied(client);
        break;
    case SOCKET_START:
        terminal_socket_end(client, 4003, "Failed to resolve terminal instance");
        break;
    case SOCKET_CONNECT:
    case SOCKET_HANDSHAKE:
        terminal_dial_failed(client);
        break;
    case SOCKET_PAUSE:
        terminal_find(client);
        break;
    case SOCKET_OPEN:
        terminal_socket_end(client, 1000, "");      /* a close frame went one way and none came back */
        break;
    }
}
