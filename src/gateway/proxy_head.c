/* Which fields pass. The names that are ours to write are compared by length and first letter before anything else, because this runs for
 * every field of every request. */
#include "gateway/proxy_head.h"

/* Fields that never reach a guest as the client sent them: what the hop owns, and what we write ourselves. */
static bool is_ours_in_request(struct str name)
{
    switch (name.len) {
    case 4:  return str_equal_nocase(name, STR_LITERAL("Host"));
    case 9:  return str_equal_nocase(name, STR_LITERAL("X-User-Id"));
    case 12: return str_equal_nocase(name, STR_LITERAL("X-Request-Id"));
    case 13: return str_equal_nocase(name, STR_LITERAL("Authorization"));
    case 14: return str_equal_nocase(name, STR_LITERAL("Content-Length"));
    case 21: return str_equal_nocase(name, STR_LITERAL("X-Terminal-Context-Id"));
    default: return false;
    }
}

/* Fields of a guest's response that we write ourselves, or that are not the guest's to say: who may read across origins. */
static bool is_ours_in_response(struct str name)
{
    switch (name.len) {
    case 12: return str_equal_nocase(name, STR_LITERAL("X-Request-Id"));
    case 14: return str_equal_nocase(name, STR_LITERAL("Content-Length"));
    default:
        return name.len > 15 && (name.data[0] == 'a' || name.data[0] == 'A') &&
               str_equal_nocase(str_of(name.data, 15), STR_LITERAL("Access-Control-"));
    }
}

static void append_field(struct buf *out, const struct http_field *field)
{
    size_t name = field->name.len, value = field->value.len;
    char *at = buf_reserve(out, name + value + 4);

    if (!at)
        return;
    memcpy(at, field->name.data, name);
    at[name] = ':';
    at[name + 1] = ' ';
    if (value > 0)
        memcpy(at + name + 2, field->value.data, value);
    at[name + value + 2] = '\r';
    at[name + value + 3] = '\n';
    out->len += name + value + 4;
}

static void append_line(struct buf *out, struct str name, const char *value)
{
    buf_append_str(out, name);
    buf_append_text(out, value);
    buf_append_str(out, STR_LITERAL("\r\n"));
}

void proxy_append_request(struct buf *out, const struct http_request *request, const struct guest_head *head)
{
    buf_append_str(out, request->method_text);
    buf_append_char(out, ' ');
    buf_append_str(out, head->path);
    if (request->has_query) {
        buf_append_char(out, '?');
        buf_append_str(out, request->query);
    }
    append_line(out, STR_LITERAL(" HTTP/1.1\r\nHost: "), head->host);
    for (size_t i = 0; i < request->fields.count; i++) {
        const struct http_field *field = &request->fields.items[i];
        if (is_ours_in_request(field->name) || http_is_hop_by_hop(&request->fields, field->name))
            continue;
        if (head->tunnel && str_equal_nocase(field->name, STR_LITERAL("Sec-WebSocket-Extensions")))
            continue;
        append_field(out, field);
    }
    append_line(out, STR_LITERAL("Authorization: "), head->authorization);
    append_line(out, STR_LITERAL("X-Request-Id: "), head->request_id);
    if (head->tunnel) {
        buf_append_str(out, STR_LITERAL("Connection: Upgrade\r\nUpgrade: "));
        buf_append_str(out, request->upgrade_protocol);
        buf_append_str(out, STR_LITERAL("\r\n"));
    }
    if (request->framing == HTTP_BODY_CHUNKED)
        buf_append_str(out, STR_LITERAL("Transfer-Encoding: chunked\r\n"));
    else if (request->framing == HTTP_BODY_LENGTH || http_find_field(&request->fields, STR_LITERAL("Content-Length")))
        buf_printf(out, "Content-Length: %llu\r\n", (unsigned long long)request->content_length);
    buf_append_str(out, STR_LITERAL("\r\n"));
}

void proxy_append_response_fields(struct buf *out, const struct http_response *response, bool tunnel)
{
    for (size_t i = 0; i < response->fields.count; i++) {
        const struct http_field *field = &response->fields.items[i];
        if (is_ours_in_response(field->name) || http_is_hop_by_hop(&response->fields, field->name))
            continue;
        append_field(out, field);
    }
    const struct http_field *upgrade = tunnel ? http_find_field(&response->fields, STR_LITERAL("Upgrade")) : NULL;
    if (tunnel) {
        buf_append_str(out, STR_LITERAL("Connection: Upgrade\r\n"));
        if (upgrade)
            append_field(out, upgrade);
    }
}
