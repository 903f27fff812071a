/* Request heads against a second opinion: where llhttp and we both accept, we see the same message. (Where only one accepts, nothing can be smuggled
 * past the other.) */
#include "base/buf.h"
#include "fuzz.h"
#include "http/head.h"
#include "second_opinion.h"

struct opinion {
    struct buf target;
    struct buf fields;          /* "name:value\n" of each */
    bool complete;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    buf_append(&((struct opinion *)parser->data)->target, at, len);
    return 0;
}

static int on_text(llhttp_t *parser, const char *at, size_t len)
{
    buf_append(&((struct opinion *)parser->data)->fields, at, len);
    return 0;
}

static int on_name_end(llhttp_t *parser)
{
    buf_append_char(&((struct opinion *)parser->data)->fields, ':');
    return 0;
}

/* llhttp leaves blanks at the end of a value. */
static int on_value_end(llhttp_t *parser)
{
    struct buf *fields = &((struct opinion *)parser->data)->fields;

    while (fields->len > 0 && (fields->data[fields->len - 1] == ' ' || fields->data[fields->len - 1] == '\t'))
        fields->len--;
    buf_append_char(fields, '\n');
    return 0;
}

static int on_head_end(llhttp_t *parser)
{
    ((struct opinion *)parser->data)->complete = true;
    return HPE_PAUSED;
}

static bool ask_llhttp(struct str head, llhttp_t *parser, struct opinion *opinion, size_t *consumed)
{
    static const llhttp_settings_t settings = {
        .on_url = on_url, .on_header_field = on_text, .on_header_value = on_text, .on_header_field_complete = on_name_end,
        .on_header_value_complete = on_value_end, .on_headers_complete = on_head_end,
    };

    llhttp_init(parser, HTTP_REQUEST, &settings);
    parser->data = opinion;
    (void)llhttp_execute(parser, head.data, head.len);
    /* A coding that it does not know (it stumbles over a TAB after "chunked") is refused by llhttp only behind the head. */
    if (!opinion->complete || ((parser->flags & F_TRANSFER_ENCODING) && !(parser->flags & F_CHUNKED)))
        return false;
    /* The pause stands on the last LF of the head or behind it. */
    *consumed = (size_t)(llhttp_get_error_pos(parser) - head.data);
    return true;
}

static void write_fields(const struct http_fields *fields, struct buf *out)
{
    for (size_t i = 0; i < fields->count; i++) {
        buf_append_str(out, fields->items[i].name);
        buf_append_char(out, ':');
        buf_append_str(out, fields->items[i].value);
        buf_append_char(out, '\n');
    }
}

static void compare(const struct http_request *ours, llhttp_t *theirs, const struct opinion *opinion)
{
    cleanup_buf struct buf fields = { 0 };
    cleanup_buf struct buf target = { 0 };

    ASSERT(str_equal_text(ours->method_text, llhttp_method_name((llhttp_method_t)theirs->method)));
    buf_append_str(&target, ours->path);
    if (ours->has_query)
        buf_append_char(&target, '?');
    buf_append_str(&target, ours->query);
    bool is_origin_form = opinion->target.len > 0 && opinion->target.data[0] == '/';
    ASSERT(!is_origin_form || str_equal(buf_str(&target), buf_str(&opinion->target)));
    write_fields(&ours->fields, &fields);
    ASSERT(str_equal(buf_str(&fields), buf_str(&opinion->fields)));
    ASSERT((ours->framing == HTTP_BODY_CHUNKED) == ((theirs->flags & F_CHUNKED) != 0));
    ASSERT(ours->framing == HTTP_BODY_CHUNKED || ours->content_length == theirs->content_length);
    /* llhttp obeys Proxy-Connection, which is no field of any standard. */
    if (http_count_field(&ours->fields, STR_LITERAL("proxy-connection")) == 0)
        ASSERT(ours->keep_alive == (llhttp_should_keep_alive(theirs) != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request request;
    struct str head;
    size_t scanned = 0, consumed = 0, their_consumed = 0;
    int status;
    const char *why;
    llhttp_t parser;
    struct opinion opinion = { 0 };

    (void)fuzz_choice(data, size, &head);
    if (http_parse_request(head, &scanned, &request, &consumed, &status, &why) == HTTP_COMPLETE &&
        ask_llhttp(head, &parser, &opinion, &their_consumed)) {
        ASSERT(their_consumed == consumed || their_consumed + 1 == consumed);
        compare(&request, &parser, &opinion);
    }
    buf_free(&opinion.target);
    buf_free(&opinion.fields);
    return 0;
}
