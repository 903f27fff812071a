#include "base/clock.h"
#include "gateway/answer.h"

void append_json_string(struct buf *out, struct str text)
{
    bool utf8 = str_is_utf8(text);

    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_char(out, c >= 0x80 && !utf8 ? '?' : (char)c);
    }
    buf_append_char(out, '"');
}

/* Credentials are for origins that are named, never for all the world. */
static void append_cors(struct buf *out, const struct client *client)
{
    if (!client->cors_origin)
        return;
    buf_append_str(out, STR_LITERAL("Access-Control-Allow-Origin: "));
    buf_append_text(out, client->cors_origin);
    if (strcmp(client->cors_origin, "*") == 0)
        buf_append_str(out, STR_LITERAL("\r\n"));
    else
        buf_append_str(out, STR_LITERAL("\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"));
}

void append_response_start(struct buf *out, const struct client *client, int status, struct str reason)
{
    char line[16] = "HTTP/1.1 ";
    line[9] = (char)('0' + status / 100 % 10);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    line[12] = ' ';
    buf_append(out, line, 13);
    buf_append_str(out, reason);
    buf_append_str(out, STR_LITERAL("\r\nX-Request-Id: "));
    buf_append_text(out, client->request_id);
    buf_append_str(out, STR_LITERAL("\r\n"));
    if (!client->keep && status != 101)
        buf_append_str(out, STR_LITERAL("Connection: close\r\n"));
    else if (client->old_version)
        buf_append_str(out, STR_LITERAL("Connection: keep-alive\r\n"));
    append_cors(out, client);
}

/* Skips a body that has come whole already, so that the connection can be used again; any other ends it. */
static void skip_request_body(struct client *client)
{
    struct body *body = &client->request_body;

    client_consume(client, client->head_len);
    client->head_len = 0;
    if (body->done)
        return;
    struct str input = client_input(client);
    if (body->framing == HTTP_BODY_LENGTH && body->left <= input.len) {
        client_consume(client, (size_t)body->left);
        body->done = true;
        return;
    }
    client->keep = false;
}

static void append_date(struct buf *out)
{
    char text[64];
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm parts;
    if (gmtime_r(&now, &parts) && strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts) > 0)
        buf_append_text(out, text);
}

static void append_answer_head(struct buf *out, const struct client *client, const struct answer *answer)
{
    append_response_start(out, client, answer->status, str_from(http_reason_phrase(answer->status)));
    append_date(out);
    if (answer->content_type)
        buf_printf(out, "Content-Type: %s\r\n", answer->content_type);
    if (answer->status != 204 && answer->status != 304)
        buf_printf(out, "Content-Length: %zu\r\n", answer->body.len);
    if (answer->allow)
        buf_printf(out, "Allow: %s\r\n", answer->allow);
    if (answer->retry_after_s > 0)
        buf_printf(out, "Retry-After: %u\r\n", answer->retry_after_s);
    if (answer->headers)
        buf_append_text(out, answer->headers);
    buf_append_str(out, STR_LITERAL("\r\n"));
}

void answer_send(struct client *client, const struct answer *answer)
{
    struct buf *out = worker_out(client->worker);

    skip_request_body(client);
    if (client->worker->draining)
        client->keep = false;
    append_answer_head(out, client, answer);
    bool bare = client->method == HTTP_HEAD;
    struct iovec parts[2] = {
        { out->data, out->len },
        { (void *)answer->body.data, bare ? 0 : answer->body.len },
    };
    client->status = answer->status;
    client->bytes_out += parts[1].iov_len;
    if (out->failed || !stream_write(&client->stream, parts, 2)) {
        client_close(client);
        return;
    }
    client_finish(client);
}

void answer_json(struct client *client, int status, const char *json)
{
    answer_send(client, &(struct answer){ .status = status, .content_type = "application/json", .body = str_from(json) });
}

void answer_detail(struct client *client, int status, const char *text)
{
    cleanup_buf struct buf body = { 0 };
    buf_append_str(&body, STR_LITERAL("{\"detail\":"));
    append_json_string(&body, str_from(text));
    buf_append_char(&body, '}');
    answer_send(client, &(struct answer){
        .status = status, .content_type = "application/json", .body = buf_str(&body),
        .allow = status == 405 ? "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS" : NULL,
        .headers = status == 401 ? "WWW-Authenticate: Bearer\r\n" : NULL });
}

void answer_error(struct client *client, int status, const char *text, const char *reason)
{
    cleanup_buf struct buf body = { 0 };
    buf_append_str(&body, STR_LITERAL("{\"error\":"));
    append_json_string(&body, str_from(text));
    if (reason) {
        buf_append_str(&body, STR_LITERAL(",\"reason\":"));
        append_json_string(&body, str_from(reason));
    }
    buf_append_char(&body, '}');
    answer_send(client, &(struct answer){
        .status = status, .content_type = "application/json", .body = buf_str(&body),
        .retry_after_s = status != 503 ? 0 : reason && strcmp(reason, "starting") == 0 ? 2 : 5 });
}

void answer_fleet_error(struct client *client, const struct error *err)
{
    const char *reason = error_reason(err->class);

    /* What has no reason of its own, such as a name that another container holds, is the engine's trouble to the caller. */
    answer_error(client, reason ? error_http_status(err->class) : 503, err->text, reason ? reason : error_reason(ERR_UNAVAILABLE));
}
