/* The response's side of the proxy: interim answers, head, body, end. Guests are hostile: their answers pass the same strict parser as
 * a stranger's requests. */
#include "base/json.h"
#include "gateway/answer.h"
#include "gateway/proxy.h"
#include "gateway/proxy_head.h"
#include "gateway/tunnel.h"

/* Reads in a row before others get their turn. */
#define READ_BUDGET 16

/* --- the session of POST /api/terminals --------------------------------------------------------------------------- */

/* Before the client can have read the answer and come back for the session, perhaps to another worker. */
static void remember_session(struct client *client)
{
    struct str header = client->session_header ? str_from(client->session_header) : (struct str){ 0 };
    cleanup_json json_t *answer = NULL;

    if (!client->capture || client->status < 200 || client->status > 299)
        return;
    client->capture = false;
    answer = json_read(buf_str(&client->gathered), NULL);
    const char *id = json_is_object(answer) ? json_text(answer, "id") : NULL;
    if (id)
        route_remember_session(client->lane->route, str_from(id), header, client->session_header != NULL);
}

static void capture_piece(void *context, struct str piece)
{
    struct client *client = context;
    if (!buf_append_str(&client->gathered, piece))
        client->capture = false;
    if (client->response_body.done)
        remember_session(client);
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

static void response_done(struct client *client, bool input_left)
{
    struct upstream *upstream = client->upstream;
    bool reusable = client->upstream_keeps && client->request_body.done && !client->upload_dead && !input_left &&
                    !upstream->stream.readable && !stream_has_output(&upstream->stream);

    remember_session(client);
    if (client->head_len > 0) {
        client_consume(client, client->head_len);
        client->head_len = 0;
    }
    if (!client->request_body.done)
        client->keep = false;
    client_release_upstream(client, reusable);
    client_finish(client);
}

/* --- head ------------------------------------------------------------------------------------------------------------- */

static bool has_no_body(const struct client *client, int status)
{
    return client->method == HTTP_HEAD || status == 204 || status == 304;
}

/* Decides on the framing towards the client and appends its fields. */
static void append_framing(struct client *client, const struct http_response *response, struct buf *out)
{
    client->response_chunked = false;
    if (response->has_content_length && response->status != 204) {
        buf_printf(out, "Content-Length: %llu\r\n", (unsigned long long)response->content_length);
        return;
    }
    if (has_no_body(client, response->status))
        return;
    if (client->old_version)
        return;                     /* until we close */
    client->response_chunked = true;
    buf_append_str(out, STR_LITERAL("Transfer-Encoding: chunked\r\n"));
}

/* Writes the response's head into worker->out. */
static void build_head(struct client *client)
{
    struct worker *worker = client->worker;
    const struct http_response *response = &worker->response;
    struct buf *out = worker_out(worker);

    client->status = response->status;
    client->upstream_keeps = response->keep_alive && response->framing != HTTP_BODY_UNTIL_CLOSE;
    body_init(&client->response_body, response->framing, response->content_length);
    if (has_no_body(client, response->status))
        client->response_body.done = true;
    if (!client->request_body.done || worker->draining)
        client->keep = false;
    bool until_close = client->old_version && !response->has_content_length && !has_no_body(client, response->status);
    if (until_close)
        client->keep = false;
    append_response_start(out, client, response->status, response->reason);
    append_framing(client, response, out);
    proxy_append_response_fields(out, response, false);
    buf_append_str(out, STR_LITERAL("\r\n"));
}

/* 100 and its like: passed on, and the final one is waited for. */
static bool relay_interim(struct client *client)
{
    struct worker *worker = client->worker;
    const struct http_response *response = &worker->response;
    struct buf *out = worker_out(worker);

    if (client->old_version)
        return true;
    buf_printf(out, "HTTP/1.1 %d ", response->status);
    buf_append_str(out, response->reason);
    buf_append_str(out, STR_LITERAL("\r\n"));
    proxy_append_response_fields(out, response, false);
    buf_append_str(out, STR_LITERAL("\r\n"));
    return !out->failed && stream_write_str(&client->stream, buf_str(out));
}

/* The first byte of a response: from here on nothing is sent again, and the request's head is no longer needed. */
static void note_first_byte(struct client *client)
{
    if (client->response_bytes)
        return;
    client->response_bytes = true;
    client_consume(client, client->head_len);
    client->head_len = 0;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------ */

/* Body bytes, with the head in front when `head` is not empty. False: the client or the exchange is over. */
static bool relay_response_body(struct client *client, struct str head, struct str *input)
{
    enum body_result result = body_relay(&client->response_body, head, input, client->response_chunked, &client->stream,
                                         &client->bytes_out, client->capture ? capture_piece : NULL, client);
    if (result != BODY_OK) {
        client_close(client);
        return false;
    }
    if (!client->response_body.done)
        return true;
    response_done(client, input->len > 0);
    return false;
}

static bool begin_response(struct client *client, struct str *input)
{
    build_head(client);
    if (client->worker->out.failed) {
        client_close(client);
        return false;
    }
    client->response_started = true;
    return relay_response_body(client, buf_str(&client->worker->out), input);
}

/* Bytes at the head's place; `*input` is moved past what was used. False: the exchange is over or has changed its nature. */
static bool take_response_head(struct client *client, struct str *input)
{
    struct worker *worker = client->worker;
    struct upstream *upstream = client->upstream;
    size_t consumed = 0;
    const char *why = "";

    while (input->len > 0) {
        switch (http_parse_response(*input, &upstream->scanned, client->method, &worker->response, &consumed, &why)) {
        case HTTP_INCOMPLETE:
            return true;
        case HTTP_BAD:
            proxy_upstream_lost(client);
            return false;
        case HTTP_COMPLETE:
            break;
        }
        *input = str_skip(*input, consumed);
        upstream->scanned = 0;
        if (worker->response.status == 101 && client->kind == ROUTE_TUNNEL) {
            tunnel_begin(client, *input);
            return false;
        }
        if (worker->response.status == 101) {
            proxy_upstream_lost(client);
            return false;
        }
        if (worker->response.status >= 200)
            return begin_response(client, input);
        if (!relay_interim(client)) {
            client_close(client);
            return false;
        }
    }
    return true;
}

/* Everything that came in one read. A head that is not whole yet is kept in upstream->in. False: the exchange is over. */
static bool take_response(struct client *client, struct str fresh)
{
    struct upstream *upstream = client->upstream;
    cleanup_buf struct buf held = { 0 };
    struct str input = fresh;

    note_first_byte(client);
    if (client->response_started)
        return relay_response_body(client, (struct str){ 0 }, &input);
    if (upstream->in.len > 0) {
        held = upstream->in;
        upstream->in = (struct buf){ 0 };
        if (!buf_append_str(&held, fresh)) {
            client_close(client);
            return false;
        }
        input = buf_str(&held);
    }
    if (!take_response_head(client, &input))
        return false;
    if (client->response_started || input.len == 0)
        return true;
    if (buf_append_str(&upstream->in, input))
        return true;
    client_close(client);
    return false;
}

/* The guest sends no more. */
static void response_ended(struct client *client)
{
    if (client->response_started && body_end(&client->response_body, client->response_chunked, &client->stream))
        response_done(client, false);
    else
        proxy_upstream_lost(client);
}

void proxy_pump_response(struct client *client)
{
    struct worker *worker = client->worker;
    struct upstream *upstream = client->upstream;

    for (unsigned reads = 0; upstream->stream.readable && !stream_has_output(&client->stream); reads++) {
        if (reads == READ_BUDGET) {
            worker_call_again(worker, &upstream->stream);
            break;
        }
        ssize_t got = stream_read(&upstream->stream, worker->scratch, SCRATCH_SIZE);
        if (got == STREAM_AGAIN)
            break;
        if (got == STREAM_EOF) {
            response_ended(client);
            return;
        }
        if (got < 0) {
            proxy_upstream_lost(client);
            return;
        }
        proxy_touch(client);
        if (!take_response(client, str_of(worker->scratch, (size_t)got)))
            return;
    }
    proxy_set_deadline(client);
}
