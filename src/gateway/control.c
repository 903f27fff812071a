/* The only requests whose bodies are gathered. The head stays at the front of the input until the body is whole, because the letter
 * is made from its parsed form. */
#include "gateway/answer.h"
#include "gateway/control.h"
#include "gateway/dispatch.h"
#include "gateway/letter.h"

#define BODY_LIMIT 1048576u
#define BODY_STALL_MS 300000
#define PATIENCE_MS 600000

struct api_letter {
    struct letter letter;
    struct api *api;
    struct buf method, path, query, content_type, body;
    struct api_request request;
    struct api_response response;
};

static void api_work(struct letter *letter)
{
    struct api_letter *call = (struct api_letter *)letter;
    call->request.method = buf_str(&call->method);
    call->request.path = buf_str(&call->path);
    call->request.query = buf_str(&call->query);
    call->request.content_type = buf_str(&call->content_type);
    call->request.body = buf_str(&call->body);
    api_handle(call->api, &call->request, &call->response);
}

static void too_busy(struct client *client)
{
    answer_error(client, 503, "The service is busy, try again", "no_capacity");
}

static void api_arrived(struct letter *letter, struct client *client)
{
    const struct api_response *response = &((struct api_letter *)letter)->response;
    cleanup_free char *headers = NULL;

    if (response->next_cursor && asprintf(&headers, "X-Next-Cursor: %s\r\n", response->next_cursor) < 0) {
        headers = NULL;
        too_busy(client);       /* without the header the list would look complete */
        return;
    }
    answer_send(client, &(struct answer){
        .status = response->status, .content_type = response->content_type, .body = buf_str(&response->body),
        .allow = response->allow, .headers = headers, .retry_after_s = response->retry_after_s });
}

static void api_clear(struct letter *letter)
{
    struct api_letter *call = (struct api_letter *)letter;
    buf_free(&call->method);
    buf_free(&call->path);
    buf_free(&call->query);
    buf_free(&call->content_type);
    buf_free(&call->body);
    api_response_clear(&call->response);
}

static void too_late(struct client *client)
{
    answer_detail(client, 504, "The request took too long");
}

/* False: no memory. */
static bool fill_letter(struct api_letter *call, struct client *client)
{
    const struct http_request *request = &client->worker->request;
    const struct http_field *type = http_find_field(&request->fields, STR_LITERAL("Content-Type"));

    call->api = client->worker->options->api;
    call->letter.work = api_work;
    call->letter.arrived = api_arrived;
    call->letter.clear = api_clear;
    call->request.has_content_type = type != NULL;
    call->body = client->gathered;
    client->gathered = (struct buf){ 0 };
    return buf_append_str(&call->method, request->method_text) && buf_append_str(&call->path, request->path) &&
           buf_append_str(&call->query, request->query) && buf_append_str(&call->content_type, type ? type->value : (struct str){ 0 });
}

/* The body is whole: off to the pool. */
static void control_call(struct client *client)
{
    struct worker *worker = client->worker;
    struct api_letter *call = letter_new(worker, sizeof(*call));

    client_parse_again(client);
    if (!call) {
        too_busy(client);
        return;
    }
    if (!fill_letter(call, client)) {
        letter_free(&call->letter);
        too_busy(client);
        return;
    }
    letter_bind(&call->letter, client);
    client_sleep(client, worker->now_ms + PATIENCE_MS, too_late);
    if (!letter_submit(&call->letter, worker->options->pool))
        too_busy(client);
}

void control_begin(struct client *client)
{
    struct worker *worker = client->worker;

    if (!dispatch_admin(client))
        return;
    if (client->request_body.framing == HTTP_BODY_LENGTH && client->request_body.left > BODY_LIMIT) {
        answer_detail(client, 413, "The request's body is larger than 1 MiB");
        return;
    }
    if (client->request_body.done) {
        control_call(client);
        return;
    }
    if (client->expect_continue && !stream_write_str(&client->stream, STR_LITERAL("HTTP/1.1 100 Continue\r\n\r\n"))) {
        client_close(client);
        return;
    }
    client->gathered.limit = BODY_LIMIT;
    client->phase = CLIENT_GATHER;
    timer_set(&worker->timers, &client->timer, worker->now_ms + BODY_STALL_MS);
}

/* Takes `len` bytes out of the input, after the first `at`. */
static void cut_input(struct buf *in, size_t at, size_t len)
{
    memmove(in->data + at, in->data + at + len, in->len - at - len);
    in->len -= len;
}

/* Moves what came of the body out of the input, from behind the head. */
static enum body_result take_body(struct client *client)
{
    struct str input = client_body_input(client);
    size_t before = input.len;
    enum body_result result = body_gather(&client->request_body, &input, &client->gathered);

    if (before > input.len && client_settle(client))
        cut_input(&client->in, client->head_len, before - input.len);
    return result;
}

bool control_gather(struct client *client)
{
    switch (take_body(client)) {
    case BODY_BAD:
        client->keep = false;
        answer_detail(client, 400, "The request's body is malformed");
        return true;
    case BODY_UNSENT:
        client->keep = false;
        answer_detail(client, 413, "The request's body is larger than 1 MiB");
        return true;
    case BODY_OK:
        break;
    }
    if (client->phase != CLIENT_GATHER)
        return false;
    if (client->request_body.done) {
        control_call(client);
        return true;
    }
    if (!client->stream.readable || !client_settle(client))
        return false;
    ssize_t got = client_read(client);
    if (got > 0)
        timer_set(&client->worker->timers, &client->timer, client->worker->now_ms + BODY_STALL_MS);
    else if (got != STREAM_AGAIN)
        client_close(client);
    return got > 0;
}
