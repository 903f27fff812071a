/* Life of a client's connection: heads in, requests off to dispatch, the end. See client.h for the model. */
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "gateway/answer.h"
#include "gateway/control.h"
#include "gateway/dispatch.h"
#include "gateway/gateway_private.h"
#include "gateway/lane.h"
#include "gateway/letter.h"
#include "gateway/proxy.h"
#include "gateway/terminal_socket.h"
#include "gateway/tunnel.h"
#include "gateway/upstream.h"

#define IDLE_MS 75000
#define HEAD_MS 60000
#define LINGER_MS 2000
#define LINGER_READS 16         /* in a row, before others get their turn */
/* Steps in a row before others get their turn: a client may send requests faster than they are answered. */
#define RUN_BUDGET 64
#define INPUT_LIMIT (HTTP_MAX_HEAD + SCRATCH_SIZE)

/* --- input ----------------------------------------------------------------------------------------------------- */

struct str client_input(const struct client *client)
{
    return client->worker->borrower == client ? client->worker->borrowed : buf_str(&client->in);
}

void client_consume(struct client *client, size_t len)
{
    if (client->worker->borrower == client) {
        client->worker->borrowed = str_skip(client->worker->borrowed, len);
        return;
    }
    if (len == 0)
        return;
    buf_consume(&client->in, len);
    if (client->in.len == 0)
        buf_free(&client->in);
}

bool client_settle(struct client *client)
{
    struct worker *worker = client->worker;

    if (worker->borrower != client)
        return true;
    worker->borrower = NULL;
    if (client->phase == CLIENT_GONE || worker->borrowed.len == 0 || buf_append_str(&client->in, worker->borrowed))
        return true;
    client_close(client);
    return false;
}

ssize_t client_read(struct client *client)
{
    struct worker *worker = client->worker;

    if (worker->borrower == client && worker->borrowed.len == 0)
        worker->borrower = NULL;
    ASSERT(worker->borrower == NULL);
    if (client->in.len >= INPUT_LIMIT)
        return STREAM_AGAIN;
    ssize_t got = stream_read(&client->stream, worker->scratch, SCRATCH_SIZE);
    if (got <= 0)
        return got;
    client->bytes_in += (uint64_t)got;
    if (client->in.len == 0) {
        worker->borrower = client;
        worker->borrowed = str_of(worker->scratch, (size_t)got);
    } else if (!buf_append(&client->in, worker->scratch, (size_t)got)) {
        return STREAM_ERROR;
    }
    return got;
}

struct str client_body_input(const struct client *client)
{
    return str_skip(client_input(client), client->head_len);
}

void client_parse_again(struct client *client)
{
    struct worker *worker = client->worker;
    size_t scanned = 0, consumed = 0;
    int status;
    const char *why;

    enum http_parse_result result = http_parse_request(client_input(client), &scanned, &worker->request, &consumed, &status, &why);
    ASSERT(result == HTTP_COMPLETE && consumed == client->head_len);
    routes_match(&worker->request, &worker->match);
}

/* --- the request ------------------------------------------------------------------------------------------------ */

static void take_request_id(struct client *client, const struct http_request *request)
{
    const struct http_field *field = http_find_field(&request->fields, STR_LITERAL("X-Request-Id"));

    if (field && field->value.len > 0 && field->value.len <= REQUEST_ID_MAX) {
        size_t i = 0;
        while (i < field->value.len && field->value.data[i] >= 0x20 && field->value.data[i] < 0x7f)
            i++;
        if (i == field->value.len) {
            memcpy(client->request_id, field->value.data, field->value.len);
            client->request_id[field->value.len] = '\0';
            return;
        }
    }
    random_uuid4(client->request_id);
}

static void take_origin(struct client *client, const struct http_request *request)
{
    const struct config *config = client->worker->config;

    if (config->cors_origins.count == 0)
        return;
    const struct http_field *origin = http_find_field(&request->fields, STR_LITERAL("Origin"));
    struct str answer = origin ? config_answer_to_origin(config, origin->value) : (struct str){ 0 };
    if (answer.len > 0)
        client->cors_origin = strndup(answer.data, answer.len);
}

static void take_log_target(struct client *client, const struct http_request *request)
{
    cleanup_buf struct buf text = { 0 };

    if (!client->worker->config->access_log)
        return;
    buf_append_str(&text, request->method_text);
    buf_append_char(&text, ' ');
    buf_append_str(&text, request->path);
    client->log_target = buf_take(&text);
}

static void begin_request(struct client *client, size_t head_len)
{
    const struct http_request *request = &client->worker->request;

    client->head_len = head_len;
    client->counted = true;
    client->method = request->method;
    client->old_version = request->minor_version == 0;
    client->keep = request->keep_alive && !client->worker->draining;
    client->half_closed = client->stream.hangup;
    client->expect_continue = request->expect_continue;
    if (client->began_us == 0)
        client->began_us = clock_monotonic_us();
    body_init(&client->request_body, request->framing, request->content_length);
    take_request_id(client, request);
    take_origin(client, request);
    take_log_target(client, request);
}

/* Everything that belongs to one request goes. */
static void forget_request(struct client *client)
{
    client->counted = client->active = client->wrote = false;
    client->response_bytes = client->response_started = client->upload_dead = client->capture = false;
    client->expect_continue = client->half_closed = false;
    client->tries = client->refusals = 0;
    client->status = 0;
    client->bytes_in = client->bytes_out = 0;
    client->began_us = 0;
    client->log_user[0] = '\0';
    buf_free(&client->gathered);
    free(steal(&client->cors_origin));
    free(steal(&client->log_target));
    free(steal(&client->session_header));
}

static void log_request(const struct client *client, int64_t us)
{
    if (!client->log_target)
        return;
    log_info("request", LOG_STR("request", client->log_target), LOG_INT("status", client->status), LOG_INT("ms", us / 1000),
             LOG_INT("bytes_in", client->bytes_in), LOG_INT("bytes_out", client->bytes_out), LOG_STR("user", client->log_user),
             LOG_STR("route", route_kind_name(client->kind)), LOG_STR("request_id", client->request_id));
}

/* A client that leaves before its answer is counted with status 499, as is the custom. */
static void count_request(struct client *client)
{
    if (!client->counted)
        return;
    int64_t us = clock_monotonic_us() - client->began_us;
    if (client->status == 0)
        client->status = 499;
    stats_count_request(client->worker->stats, client->kind, client->status, us);
    log_request(client, us);
}

void client_finish(struct client *client)
{
    struct worker *worker = client->worker;
    bool keep = client->keep && client->request_body.done && !worker->draining;

    if (client->socket)
        terminal_socket_free(client);
    if (client->tunnel)
        tunnel_free(client);
    client_forget_letter(client);
    client_release_upstream(client, false);
    count_request(client);
    if (!keep) {
        client_close_gently(client);
        return;
    }
    forget_request(client);
    client->phase = CLIENT_HEAD;
    client->scanned = 0;
    int64_t patience_ms = stream_has_output(&client->stream) ? worker->config->write_timeout_ms : IDLE_MS;
    timer_set(&worker->timers, &client->timer, worker->now_ms + patience_ms);
}

void client_release_upstream(struct client *client, bool reusable)
{
    struct lane *lane = client->lane;
    struct upstream *upstream = steal(&client->upstream);

    if (upstream && reusable)
        upstream_keep(upstream);
    else if (upstream)
        upstream_close(upstream);
    if (!lane)
        return;
    if (client->entered)
        route_leave(lane->route, client->worker->now_ms);
    client->entered = false;
    list_remove(&client->lane_node);
    client->lane = NULL;
    lane_release(lane);
}

void client_forget_letter(struct client *client)
{
    if (client->letter)
        client->letter->client = NULL;
    client->letter = NULL;
}

void client_sleep(struct client *client, int64_t deadline_ms, void (*late)(struct client *client))
{
    client->phase = CLIENT_SLEEP;
    client->late = late;
    timer_set(&client->worker->timers, &client->timer, deadline_ms);
}

/* --- reading heads ------------------------------------------------------------------------------------------------ */

static void refuse_head(struct client *client, int status, const char *why)
{
    client->kind = ROUTE_NOT_FOUND;
    client->method = HTTP_METHOD_OTHER;
    client->head_len = 0;
    client->counted = true;
    client->old_version = false;
    if (client->began_us == 0)
        client->began_us = clock_monotonic_us();
    random_uuid4(client->request_id);
    body_init(&client->request_body, HTTP_BODY_UNTIL_CLOSE, 0);
    answer_detail(client, status, why);
}

/* Waits for the rest of a head, or for the first byte of one. */
static void await_head(struct client *client, bool begun)
{
    if (begun && client->began_us == 0) {
        client->began_us = clock_monotonic_us();
        timer_set(&client->worker->timers, &client->timer, client->worker->now_ms + HEAD_MS);
    }
}

/* False when there is nothing to do until the next event. */
static bool read_more_head(struct client *client, bool begun)
{
    await_head(client, begun);
    if (!client->stream.readable || !client_settle(client))
        return false;
    ssize_t got = client_read(client);
    if (got > 0)
        return true;
    if (got != STREAM_AGAIN)
        client_close(client);
    return false;
}

static bool step_head(struct client *client)
{
    struct worker *worker = client->worker;
    struct str input = client_input(client);
    size_t consumed = 0;
    int status = 400;
    const char *why = "";

    if (stream_has_output(&client->stream))
        return false;
    if (input.len == 0)
        return read_more_head(client, false);
    switch (http_parse_request(input, &client->scanned, &worker->request, &consumed, &status, &why)) {
    case HTTP_INCOMPLETE:
        return read_more_head(client, true);
    case HTTP_BAD:
        refuse_head(client, status, why);
        return true;
    case HTTP_COMPLETE:
        break;
    }
    begin_request(client, consumed);
    routes_match(&worker->request, &worker->match);
    client->kind = worker->match.kind;
    dispatch_request(client);
    return true;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

void client_close_gently(struct client *client)
{
    struct worker *worker = client->worker;

    if (client->phase == CLIENT_GONE)
        return;
    client->counted = false;
    client->phase = CLIENT_CLOSING;
    client->lingering = false;
    int64_t patience = stream_has_output(&client->stream) ? worker->config->write_timeout_ms : LINGER_MS;
    timer_set(&worker->timers, &client->timer, worker->now_ms + patience);
}

/* Closing a socket with unread input would reset the connection, and the client might never see the answer. */
static void step_closing(struct client *client)
{
    struct worker *worker = client->worker;

    if (worker->borrower == client)
        worker->borrower = NULL;
    buf_free(&client->in);
    if (stream_has_output(&client->stream))
        return;
    if (!client->lingering) {
        if (client->request_body.done && !client->stream.readable) {
            client_close(client);
            return;
        }
        (void)shutdown(client->stream.fd, SHUT_WR);
        client->lingering = true;
        timer_set(&worker->timers, &client->timer, worker->now_ms + LINGER_MS);
    }
    for (unsigned reads = 0; client->stream.readable; reads++) {
        if (reads == LINGER_READS) {
            worker_call_again(worker, &client->stream);
            return;
        }
        ssize_t got = stream_read(&client->stream, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            return;
        if (got < 0) {
            client_close(client);
            return;
        }
    }
}

void client_close(struct client *client)
{
    struct worker *worker = client->worker;

    if (client->phase == CLIENT_GONE)
        return;
    if (client->socket)
        terminal_socket_free(client);
    if (client->tunnel)
        tunnel_free(client);
    client_forget_letter(client);
    client_release_upstream(client, false);
    count_request(client);
    client->phase = CLIENT_GONE;
    if (worker->borrower == client)
        worker->borrower = NULL;
    forget_request(client);
    buf_free(&client->in);
    timer_remove(&client->timer);
    stream_close(&client->stream);
    list_remove(&client->node);
    stats_connection(worker->stats, -1);
    limits_leave_connection(gateway_limits(worker->gateway));
    if (client->latecomer)
        gateway_count_latecomer(worker->gateway, -1);
    worker_bury(worker, &client->burial, client);
}

/* A request that has just arrived is still answered. */
static bool has_unread_input(const struct client *client)
{
    char byte;
    return recv(client->stream.fd, &byte, 1, MSG_PEEK) > 0;
}

void client_drain(struct client *client)
{
    client->keep = false;
    switch (client->phase) {
    case CLIENT_HEAD:
        if (client->began_us == 0 && !stream_has_output(&client->stream) && !has_unread_input(client))
            client_close(client);
        break;
    case CLIENT_SOCKET:
        terminal_socket_end(client, 1001, "Service is stopping");
        client_run(client);
        break;
    case CLIENT_TUNNEL:
        client_close(client);
        break;
    case CLIENT_SLEEP:
    case CLIENT_GATHER:
    case CLIENT_CONNECT:
    case CLIENT_RELAY:
    case CLIENT_CLOSING:
    case CLIENT_GONE:
        break;
    }
}

/* --- events ------------------------------------------------------------------------------------------------------- */

void client_run(struct client *client)
{
    bool more = true;
    for (unsigned steps = 0; more; steps++) {
        if (steps == RUN_BUDGET) {
            worker_call_again(client->worker, &client->stream);
            break;
        }
        switch (client->phase) {
        case CLIENT_HEAD:
            more = step_head(client);
            break;
        case CLIENT_GATHER:
            more = control_gather(client);
            break;
        case CLIENT_CLOSING:
            step_closing(client);
            more = false;
            break;
        case CLIENT_SLEEP:
        case CLIENT_CONNECT:
        case CLIENT_RELAY:
        case CLIENT_TUNNEL:
        case CLIENT_SOCKET:
        case CLIENT_GONE:
            more = false;
            break;
        }
    }
    (void)client_settle(client);
}

/* While nothing is read from it, a client that has gone is known by its hangup. */
static bool has_left(const struct client *client)
{
    return client->stream.hangup && !client->half_closed;
}

static void client_ready(struct stream *stream)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);
    bool waited = stream->writable && stream_has_output(stream);

    if (waited && !stream_flush(stream)) {
        client_close(client);
        return;
    }
    switch (client->phase) {
    case CLIENT_SLEEP:
    case CLIENT_CONNECT:
        if (has_left(client))
            client_close(client);
        break;
    case CLIENT_RELAY:
        proxy_client_ready(client, waited);
        client_run(client);
        break;
    case CLIENT_TUNNEL:
        tunnel_run(client);
        break;
    case CLIENT_SOCKET:
        terminal_socket_run(client);
        client_run(client);
        break;
    case CLIENT_HEAD:
    case CLIENT_GATHER:
    case CLIENT_CLOSING:
    case CLIENT_GONE:
        client_run(client);
        break;
    }
}

static void client_timeout(struct timer *timer)
{
    struct client *client = CONTAINER_OF(timer, struct client, timer);

    switch (client->phase) {
    case CLIENT_HEAD:
        if (client->began_us == 0)
            client_close(client);
        else
            refuse_head(client, 408, "The request's head did not come in time");
        break;
    case CLIENT_GATHER:
        client->keep = false;
        answer_detail(client, 408, "The request's body did not come in time");
        break;
    case CLIENT_SLEEP:
        client_forget_letter(client);
        client->late(client);
        break;
    case CLIENT_CONNECT:
    case CLIENT_RELAY:
        proxy_timeout(client);
        break;
    case CLIENT_SOCKET:
        terminal_socket_timeout(client);
        break;
    case CLIENT_TUNNEL:
    case CLIENT_GONE:
        break;
    case CLIENT_CLOSING:
        client_close(client);
        break;
    }
    client_run(client);
}

void client_accept(struct worker *worker, int fd, const struct sockaddr_storage *address)
{
    struct client *client = calloc(1, sizeof(*client));
    if (!client) {
        (void)close(fd);
        limits_leave_connection(gateway_limits(worker->gateway));
        return;
    }
    client->worker = worker;
    client->phase = CLIENT_HEAD;
    client->latecomer = worker->turning_away;
    if (client->latecomer)
        gateway_count_latecomer(worker->gateway, 1);
    limit_address_of(address, &client->address);
    list_init(&client->lane_node);
    timer_init(&client->timer, client_timeout);
    stream_init(&client->stream, fd, client_ready);
    list_append(&worker->clients, &client->node);
    stats_connection(worker->stats, 1);
    if (!worker_watch(worker, &client->stream)) {
        client_close(client);
        return;
    }
    timer_set(&worker->timers, &client->timer, worker->now_ms + IDLE_MS);
    /* The request has often come with the connection: look before waiting for its event. */
    client->stream.readable = client->stream.writable = true;
    client_run(client);
}
