/* Heads are read one way or refused: a row per rule of RFC 9110/9112 that two readers could see differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/head.h"

#define HOST "Host: h\r\n"

static enum http_parse_result parse_request(struct str data, struct http_request *request, size_t *consumed, int *status)
{
    size_t scanned = 0;
    const char *why = NULL;
    enum http_parse_result result = http_parse_request(data, &scanned, request, consumed, status, &why);

    if (result == HTTP_BAD)
        assert_non_null(why);
    return result;
}

struct request_row {
    const char *name;
    struct str text;
    int status;             /* 0: complete; -1: incomplete */
};
#define ROW(name, text, status) { name, STR_LITERAL(text), status }

static const struct request_row request_rows[] = {
    ROW("plain", "GET / HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("http/1.0 needs no host", "GET / HTTP/1.0\r\n\r\n", 0),
    ROW("http/1.1 needs a host", "GET / HTTP/1.1\r\n\r\n", 400),
    ROW("two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400),
    ROW("minor version above 1", "GET / HTTP/1.7\r\n" HOST "\r\n", 0),
    ROW("http/2 preface", "OPTIONS * HTTP/2.0\r\n\r\n", 505),
    ROW("http/0.9", "GET /\r\n", 400),
    ROW("version in lower case", "GET / http/1.1\r\n" HOST "\r\n", 400),
    ROW("two-digit major version", "GET / HTTP/11.1\r\n" HOST "\r\n", 400),
    ROW("two-digit minor version", "GET / HTTP/1.11\r\n" HOST "\r\n", 400),
    ROW("blank after version", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
    ROW("two blanks before target", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("two blanks before version", "GET /  HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("tab as separator", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("leading blank", " GET / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("empty method", " / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("method with colon", "GE:T / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("unknown method", "BREW / HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("method in lower case is another method", "get / HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("connect", "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", 501),
    ROW("one empty line first", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("three empty lines first", "\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("bare lf first", "\nGET / HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("bare lf after request line", "GET / HTTP/1.1\n" HOST "\r\n", 400),
    ROW("bare lf after field", "GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
    ROW("bare lf ends head", "GET / HTTP/1.1\r\n" HOST "\n", 400),
    ROW("cr without lf in value", "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400),
    ROW("cr without lf ends head", "GET / HTTP/1.1\r\n" HOST "\rX", 400),
    ROW("cr cr lf", "GET / HTTP/1.1\r\n" HOST "\r\r\n", 400),
    ROW("obsolete fold with blank", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400),
    ROW("obsolete fold with tab", "GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", 400),
    ROW("fold before first field", "GET / HTTP/1.1\r\n X: a\r\n" HOST "\r\n", 400),
    ROW("blank before colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    ROW("tab before colon", "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", 400),
    ROW("no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    ROW("empty name", "GET / HTTP/1.1\r\n: h\r\n\r\n", 400),
    ROW("name not a token", "GET / HTTP/1.1\r\n" HOST "X(y): z\r\n\r\n", 400),
    ROW("name beyond ascii", "GET / HTTP/1.1\r\n" HOST "X\xc3\xa9: z\r\n\r\n", 400),
    ROW("nul in name", "GET / HTTP/1.1\r\n" HOST "X\0: z\r\n\r\n", 400),
    ROW("nul in value", "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n", 400),
    ROW("nul in target", "GET /a\0b HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("del in value", "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", 400),
    ROW("escape in value", "GET / HTTP/1.1\r\n" HOST "X: abcdefghijk\x1b[0m and more text\r\n\r\n", 400),
    ROW("control byte in target", "GET /a\x01 HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("del in target", "GET /a\x7f HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("tab inside value", "GET / HTTP/1.1\r\n" HOST "X: a\tb\tcdefghijklmnop\tq\r\n\r\n", 0),
    ROW("bytes above ascii in value", "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa9\xff\r\n\r\n", 0),
    ROW("bytes above ascii in target", "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("empty value", "GET / HTTP/1.1\r\n" HOST "X:\r\nY: \t \r\n\r\n", 0),
    ROW("fragment in target", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("fragment in query", "GET /a?b#c HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("target without slash", "GET a HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("empty target", "GET  HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("asterisk only for options", "GET * HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("asterisk with query", "OPTIONS *?a HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("options asterisk", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0),
    ROW("absolute form of another scheme", "GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("absolute form without authority", "GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("absolute form with user", "GET http://a@h/ HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("scheme only", "GET http:// HTTP/1.1\r\n" HOST "\r\n", 400),
    ROW("length and coding", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ROW("coding and length", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    ROW("differing lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    ROW("length twice", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
    ROW("length list", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n", 400),
    ROW("length empty", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400),
    ROW("length signed", "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", 400),
    ROW("length negative", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400),
    ROW("length hexadecimal", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", 400),
    ROW("length with inner blank", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 2\r\n\r\n", 400),
    ROW("length of the largest size", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n", 0),
    ROW("length above the largest size", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n", 400),
    ROW("length of 20 digits", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n", 400),
    ROW("coding unknown", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501),
    ROW("coding list", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ROW("coding chunked twice", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
    ROW("coding twice", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ROW("coding empty", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501),
    ROW("coding with vertical tab", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", 400),
    ROW("coding nearly chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501),
    ROW("coding quoted", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 501),
    ROW("coding with parameter", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n", 501),
    ROW("coding in other case", "POST / HTTP/1.1\r\n" HOST "tRANSFER-eNCODING: CHUNKED\r\n\r\n", 0),
    ROW("coding in http/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ROW("nothing", "", -1),
    ROW("method only", "GET", -1),
    ROW("half a version", "GET / HTTP", -1),
    ROW("half a line end", "GET / HTTP/1.1\r", -1),
    ROW("half a field", "GET / HTTP/1.1\r\nHost: h", -1),
    ROW("half an end", "GET / HTTP/1.1\r\n" HOST "\r", -1),
    ROW("version wrong before it is whole", "GET / HTTQ", 400),
    ROW("tls hello", "\x16\x03\x01\x02", 400),
};

static void a_request_is_read_one_way_or_refused(void **state)
{
    for (size_t i = 0; i < COUNT_OF(request_rows); i++) {
        const struct request_row *row = &request_rows[i];
        struct http_request request;
        size_t consumed = 0;
        int status = 0;
        enum http_parse_result want = row->status == 0 ? HTTP_COMPLETE : row->status < 0 ? HTTP_INCOMPLETE : HTTP_BAD;
        enum http_parse_result got = parse_request(row->text, &request, &consumed, &status);
        if (got != want || (got == HTTP_BAD && status != row->status) || (got == HTTP_COMPLETE && consumed != row->text.len))
            fail_msg("%s: result %d, status %d, consumed %zu", row->name, (int)got, status, consumed);
    }
}

/* Byte by byte, with the same `scanned`, the answer is the same, and nothing before the end is taken for the end. */
static void a_dripping_request_ends_like_a_whole_one(void **state)
{
    for (size_t i = 0; i < COUNT_OF(request_rows); i++) {
        const struct request_row *row = &request_rows[i];
        struct http_request request;
        size_t consumed = 0, scanned = 0, len = 0;
        int status = 0;
        const char *why;
        enum http_parse_result got = HTTP_INCOMPLETE;
        while (got == HTTP_INCOMPLETE && len < row->text.len)
            got = http_parse_request(str_of(row->text.data, ++len), &scanned, &request, &consumed, &status, &why);
        if (row->status == 0 && (got != HTTP_COMPLETE || consumed != row->text.len || len != row->text.len))
            fail_msg("%s: result %d at byte %zu", row->name, (int)got, len);
        if (row->status != 0 && got == HTTP_COMPLETE)
            fail_msg("%s: accepted", row->name);
    }
}

static void what_follows_the_head_is_left_alone(void **state)
{
    struct http_request request;
    size_t consumed = 0;
    int status;
    struct str head = STR_LITERAL("GET /a HTTP/1.1\r\n" HOST "\r\n");
    struct str both = STR_LITERAL("GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");

    assert_int_equal(parse_request(both, &request, &consumed, &status), HTTP_COMPLETE);
    assert_int_equal(consumed, head.len);
    assert_true(str_equal_text(request.path, "/a"));
}

struct target_row {
    const char *line, *path, *query;    /* query NULL: none */
};

static void the_target_is_cut_but_never_decoded(void **state)
{
    static const struct target_row rows[] = {
        { "GET /a%2Fb%23c%3F%25 HTTP/1.1", "/a%2Fb%23c%3F%25", NULL },
        { "GET /a?b=c&d=%26 HTTP/1.1", "/a", "b=c&d=%26" },
        { "GET /a? HTTP/1.1", "/a", "" },
        { "GET /a?b?c HTTP/1.1", "/a", "b?c" },
        { "GET //a/../b HTTP/1.1", "//a/../b", NULL },
        { "GET http://h/a/b?c HTTP/1.1", "/a/b", "c" },
        { "GET HTTP://h:80/a HTTP/1.1", "/a", NULL },
        { "GET https://h/a HTTP/1.1", "/a", NULL },
        { "GET http://h HTTP/1.1", "/", NULL },
        { "GET http://h?a=/b HTTP/1.1", "/", "a=/b" },
        { "OPTIONS http://h HTTP/1.1", "*", NULL },
        { "OPTIONS http://h? HTTP/1.1", "/", "" },
        { "OPTIONS http://h/ HTTP/1.1", "/", NULL },
        { "OPTIONS * HTTP/1.1", "*", NULL },
        { "GET /{a}|\"b\"<c>\\^` HTTP/1.1", "/{a}|\"b\"<c>\\^`", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_request request;
        size_t consumed;
        int status;
        cleanup_buf struct buf text = { 0 };
        buf_printf(&text, "%s\r\n" HOST "\r\n", rows[i].line);
        if (parse_request(buf_str(&text), &request, &consumed, &status) != HTTP_COMPLETE)
            fail_msg("%s: refused", rows[i].line);
        if (!str_equal_text(request.path, rows[i].path) || request.has_query != (rows[i].query != NULL) ||
            !str_equal_text(request.query, rows[i].query ? rows[i].query : ""))
            fail_msg("%s: path '%.*s' query '%.*s'", rows[i].line, STR_ARG(request.path), STR_ARG(request.query));
    }
}

static void methods_are_known_by_their_exact_names(void **state)
{
    static const struct { const char *text; enum http_method method; } rows[] = {
        { "GET", HTTP_GET }, { "HEAD", HTTP_HEAD }, { "POST", HTTP_POST }, { "PUT", HTTP_PUT }, { "PATCH", HTTP_PATCH },
        { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS }, { "TRACE", HTTP_METHOD_OTHER }, { "Get", HTTP_METHOD_OTHER },
        { "GETS", HTTP_METHOD_OTHER }, { "GE", HTTP_METHOD_OTHER },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_request request;
        size_t consumed;
        int status;
        cleanup_buf struct buf text = { 0 };
        buf_printf(&text, "%s / HTTP/1.1\r\n" HOST "\r\n", rows[i].text);
        assert_int_equal(parse_request(buf_str(&text), &request, &consumed, &status), HTTP_COMPLETE);
        assert_int_equal(request.method, rows[i].method);
        assert_true(str_equal_text(request.method_text, rows[i].text));
    }
}

struct facts_row {
    const char *name, *version, *fields;
    enum http_framing framing;
    uint64_t length;
    bool keep_alive, expect_continue, upgrade;
};

static void fields_say_what_follows_and_whether_the_connection_stays(void **state)
{
    static const struct facts_row rows[] = {
        { "1.1 stays", "1.1", "", HTTP_BODY_NONE, 0, true, false, false },
        { "1.1 close", "1.1", "Connection: close\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "close in a list", "1.1", "Connection: x , CLOSE\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "close in a second field", "1.1", "Connection: x\r\nConnection: close\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "close beats keep-alive", "1.1", "Connection: keep-alive, close\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "1.0 goes", "1.0", "", HTTP_BODY_NONE, 0, false, false, false },
        { "1.0 keep-alive", "1.0", "Connection: Keep-Alive\r\n", HTTP_BODY_NONE, 0, true, false, false },
        { "1.0 keep-alive and close", "1.0", "Connection: close, Keep-Alive\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "length", "1.1", "content-LENGTH:  12 \t\r\n", HTTP_BODY_LENGTH, 12, true, false, false },
        { "length 0", "1.1", "Content-Length: 0\r\n", HTTP_BODY_NONE, 0, true, false, false },
        { "length with leading zeros", "1.1", "Content-Length: 0007\r\n", HTTP_BODY_LENGTH, 7, true, false, false },
        { "chunked", "1.1", "Transfer-Encoding: chunked\r\n", HTTP_BODY_CHUNKED, 0, true, false, false },
        { "expect", "1.1", "Expect: 100-Continue\r\n", HTTP_BODY_NONE, 0, true, true, false },
        { "expect in 1.0", "1.0", "Expect: 100-continue\r\n", HTTP_BODY_NONE, 0, false, false, false },
        { "upgrade", "1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", HTTP_BODY_NONE, 0, true, false, true },
        { "upgrade not named by connection", "1.1", "Upgrade: websocket\r\n", HTTP_BODY_NONE, 0, true, false, false },
        { "upgrade without protocol", "1.1", "Connection: upgrade\r\n", HTTP_BODY_NONE, 0, true, false, false },
        { "upgrade in 1.0", "1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", HTTP_BODY_NONE, 0, false, false, false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_request request;
        size_t consumed;
        int status;
        cleanup_buf struct buf text = { 0 };
        buf_printf(&text, "POST / HTTP/%s\r\n" HOST "%s\r\n", rows[i].version, rows[i].fields);
        if (parse_request(buf_str(&text), &request, &consumed, &status) != HTTP_COMPLETE)
            fail_msg("%s: refused", rows[i].name);
        if (request.framing != rows[i].framing || request.content_length != rows[i].length || request.keep_alive != rows[i].keep_alive ||
            request.expect_continue != rows[i].expect_continue || request.upgrade != rows[i].upgrade)
            fail_msg("%s: framing %d length %ju keep %d", rows[i].name, (int)request.framing, (uintmax_t)request.content_length,
                     request.keep_alive);
        if (request.upgrade)
            assert_true(str_equal_text(request.upgrade_protocol, "websocket"));
    }
}

static void values_lose_only_their_outer_blanks(void **state)
{
    struct http_request request;
    size_t consumed;
    int status;

    assert_int_equal(parse_request(STR_LITERAL("GET / HTTP/1.1\r\nHost:h\r\nX: \t a b\tc \t\r\nY:\r\n\r\n"), &request, &consumed, &status),
                     HTTP_COMPLETE);
    assert_int_equal(request.fields.count, 3);
    assert_true(str_equal_text(request.fields.items[0].value, "h"));
    assert_true(str_equal_text(request.fields.items[1].name, "X"));
    assert_true(str_equal_text(request.fields.items[1].value, "a b\tc"));
    assert_true(str_equal_text(request.fields.items[2].value, ""));
}

/* Every byte at every place of a word: the search for control characters must miss none and invent none. */
static void every_byte_is_judged_alike_at_every_offset(void **state)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        for (size_t offset = 0; offset < 24; offset++) {
            struct http_request request;
            size_t consumed;
            int status;
            char text[] = "GET / HTTP/1.1\r\nHost: h\r\nX: abcdefghijklmnopqrstuvwxyz012345\r\n\r\n";
            char *value = strstr(text, "abc");
            value[offset + 1] = (char)byte;
            enum http_parse_result result = parse_request(str_of(text, sizeof(text) - 1), &request, &consumed, &status);
            if ((result == HTTP_COMPLETE) != allowed)
                fail_msg("byte %u at %zu: %d", byte, offset, (int)result);
        }
    }
}

static enum http_parse_result parse_with_fields(size_t count, size_t value_length, int *status)
{
    struct http_request request;
    size_t consumed;
    cleanup_buf struct buf text = { 0 };

    buf_append_text(&text, "GET / HTTP/1.1\r\n" HOST);
    for (size_t i = 0; i + 1 < count; i++) {
        buf_printf(&text, "X-%zu: ", i);
        for (size_t n = 0; n < value_length; n++)
            buf_append_char(&text, 'v');
        buf_append_text(&text, "\r\n");
    }
    buf_append_text(&text, "\r\n");
    return parse_request(buf_str(&text), &request, &consumed, status);
}

static void heads_have_limits(void **state)
{
    int status = 0;

    assert_int_equal(parse_with_fields(HTTP_MAX_FIELDS, 1, &status), HTTP_COMPLETE);
    assert_int_equal(parse_with_fields(HTTP_MAX_FIELDS + 1, 1, &status), HTTP_BAD);
    assert_int_equal(status, 431);
    assert_int_equal(parse_with_fields(10000, 1, &status), HTTP_BAD);
    assert_int_equal(status, 431);
    assert_int_equal(parse_with_fields(50, 1200, &status), HTTP_COMPLETE);
    assert_int_equal(parse_with_fields(50, 1400, &status), HTTP_BAD);
    assert_int_equal(status, 431);
}

static void a_target_without_end_is_too_long(void **state)
{
    struct http_request request;
    size_t consumed;
    int status = 0;
    cleanup_buf struct buf text = { 0 };

    buf_append_text(&text, "GET /");
    while (text.len < HTTP_MAX_HEAD)
        buf_append_char(&text, 'a');
    assert_int_equal(parse_request(buf_str(&text), &request, &consumed, &status), HTTP_BAD);
    assert_int_equal(status, 414);
    assert_int_equal(parse_request(str_of(text.data, HTTP_MAX_HEAD - 1), &request, &consumed, &status), HTTP_INCOMPLETE);
}

struct response_row {
    const char *name;
    enum http_method method;
    struct str text;
    bool good;
    enum http_framing framing;
    uint64_t length;
    bool keep_alive;
};
#define RESPONSE(name, method, text, framing, length, keep) { name, method, STR_LITERAL(text), true, framing, length, keep }
#define BROKEN(name, method, text) { name, method, STR_LITERAL(text), false, HTTP_BODY_NONE, 0, false }

static const struct response_row response_rows[] = {
    RESPONSE("length", HTTP_GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5, true),
    RESPONSE("length 0", HTTP_GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP_BODY_NONE, 0, true),
    RESPONSE("chunked", HTTP_GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_BODY_CHUNKED, 0, true),
    RESPONSE("until close", HTTP_GET, "HTTP/1.1 200 OK\r\n\r\n", HTTP_BODY_UNTIL_CLOSE, 0, false),
    RESPONSE("close", HTTP_GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", HTTP_BODY_LENGTH, 5, false),
    RESPONSE("1.0", HTTP_GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5, false),
    RESPONSE("1.0 keep-alive", HTTP_GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", HTTP_BODY_LENGTH, 5, true),
    RESPONSE("head has no body", HTTP_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_NONE, 5, true),
    RESPONSE("head of a chunked answer", HTTP_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_BODY_NONE, 0, true),
    RESPONSE("head without length", HTTP_HEAD, "HTTP/1.1 200 OK\r\n\r\n", HTTP_BODY_NONE, 0, true),
    RESPONSE("204", HTTP_GET, "HTTP/1.1 204 No Content\r\n\r\n", HTTP_BODY_NONE, 0, true),
    RESPONSE("204 with length 0", HTTP_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", HTTP_BODY_NONE, 0, true),
    BROKEN("204 with a length", HTTP_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    BROKEN("204 chunked", HTTP_GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    RESPONSE("304 with a length", HTTP_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_NONE, 5, true),
    RESPONSE("100", HTTP_POST, "HTTP/1.1 100 Continue\r\n\r\n", HTTP_BODY_NONE, 0, true),
    RESPONSE("101", HTTP_GET, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", HTTP_BODY_NONE, 0, true),
    BROKEN("103 with a body", HTTP_GET, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"),
    RESPONSE("no reason", HTTP_GET, "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", HTTP_BODY_LENGTH, 1, true),
    RESPONSE("no blank after the status", HTTP_GET, "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", HTTP_BODY_LENGTH, 1, true),
    RESPONSE("status above 599", HTTP_GET, "HTTP/1.1 999 Go away\r\nContent-Length: 1\r\n\r\n", HTTP_BODY_LENGTH, 1, true),
    BROKEN("status below 100", HTTP_GET, "HTTP/1.1 099 No\r\n\r\n"),
    BROKEN("status of two digits", HTTP_GET, "HTTP/1.1 20 OK\r\n\r\n"),
    BROKEN("status of four digits", HTTP_GET, "HTTP/1.1 2000 OK\r\n\r\n"),
    BROKEN("two blanks before the status", HTTP_GET, "HTTP/1.1  200 OK\r\n\r\n"),
    BROKEN("another protocol", HTTP_GET, "ICY 200 OK\r\n\r\n"),
    BROKEN("another version", HTTP_GET, "HTTP/2.0 200 OK\r\n\r\n"),
    BROKEN("control character in reason", HTTP_GET, "HTTP/1.1 200 O\x01K\r\n\r\n"),
    BROKEN("empty line first", HTTP_GET, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    BROKEN("bare lf", HTTP_GET, "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n"),
    BROKEN("length and coding", HTTP_GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BROKEN("length twice", HTTP_GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
    BROKEN("coding unknown", HTTP_GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    BROKEN("coding in 1.0", HTTP_GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

static void a_response_is_framed_by_status_method_and_fields(void **state)
{
    for (size_t i = 0; i < COUNT_OF(response_rows); i++) {
        const struct response_row *row = &response_rows[i];
        struct http_response response;
        size_t consumed = 0, scanned = 0;
        const char *why = NULL;
        enum http_parse_result got = http_parse_response(row->text, &scanned, row->method, &response, &consumed, &why);
        if (got != (row->good ? HTTP_COMPLETE : HTTP_BAD))
            fail_msg("%s: %d", row->name, (int)got);
        if (row->good && (response.framing != row->framing || response.content_length != row->length ||
                          response.keep_alive != row->keep_alive || consumed != row->text.len))
            fail_msg("%s: framing %d length %ju keep %d", row->name, (int)response.framing, (uintmax_t)response.content_length,
                     response.keep_alive);
    }
}

static void a_response_keeps_status_and_reason(void **state)
{
    struct http_response response;
    size_t consumed, scanned = 0;
    const char *why;

    assert_int_equal(http_parse_response(STR_LITERAL("HTTP/1.1 404 Not  Found \xc3\xa9\r\nContent-Length: 0\r\n\r\n"), &scanned, HTTP_GET,
                                         &response, &consumed, &why), HTTP_COMPLETE);
    assert_int_equal(response.status, 404);
    assert_true(response.has_content_length);
    assert_true(str_equal_text(response.reason, "Not  Found \xc3\xa9"));
}

static void parse_fields(const char *text, struct http_request *request)
{
    static char whole[1024];
    size_t consumed;
    int status;
    int len = snprintf(whole, sizeof(whole), "GET / HTTP/1.1\r\n" HOST "%s\r\n", text);

    assert_int_equal(parse_request(str_of(whole, (size_t)len), request, &consumed, &status), HTTP_COMPLETE);
}

static void fields_are_found_without_case(void **state)
{
    struct http_request request;

    parse_fields("Accept: a\r\nX-Many: 1\r\nx-many: 2, Three\r\nX-MANYS: 3\r\n", &request);
    assert_true(str_equal_text(http_find_field(&request.fields, STR_LITERAL("x-MANY"))->value, "1"));
    assert_null(http_find_field(&request.fields, STR_LITERAL("x-man")));
    assert_int_equal(http_count_field(&request.fields, STR_LITERAL("X-Many")), 2);
    assert_int_equal(http_count_field(&request.fields, STR_LITERAL("missing")), 0);
    assert_true(http_list_has(&request.fields, STR_LITERAL("X-Many"), STR_LITERAL("three")));
    assert_false(http_list_has(&request.fields, STR_LITERAL("X-Many"), STR_LITERAL("thre")));
    assert_false(http_list_has(&request.fields, STR_LITERAL("X-Many"), STR_LITERAL("3")));
}

static void hop_by_hop_fields_end_at_a_proxy(void **state)
{
    static const struct { const char *name; bool hop; } rows[] = {
        { "Connection", true }, { "keep-alive", true }, { "Proxy-Authorization", true }, { "Proxy-Connection", true },
        { "PROXY-X", true }, { "TE", true }, { "Trailer", true }, { "Transfer-Encoding", true }, { "Upgrade", true },
        { "X-Named", true }, { "Other", true }, { "Content-Length", false }, { "Content-Type", false }, { "Proxy", false },
        { "X-Name", false }, { "Trailers", false }, { "Accept", false },
    };
    struct http_request request;

    parse_fields("Connection: x-named, content-length\r\nConnection:, ,OTHER\r\n", &request);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (http_is_hop_by_hop(&request.fields, str_from(rows[i].name)) != rows[i].hop)
            fail_msg("%s", rows[i].name);
}

static void known_statuses_have_phrases(void **state)
{
    assert_string_equal(http_reason_phrase(200), "OK");
    assert_string_equal(http_reason_phrase(404), "Not Found");
    assert_string_equal(http_reason_phrase(599), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_one_way_or_refused),
        cmocka_unit_test(a_dripping_request_ends_like_a_whole_one),
        cmocka_unit_test(what_follows_the_head_is_left_alone),
        cmocka_unit_test(the_target_is_cut_but_never_decoded),
        cmocka_unit_test(methods_are_known_by_their_exact_names),
        cmocka_unit_test(fields_say_what_follows_and_whether_the_connection_stays),
        cmocka_unit_test(values_lose_only_their_outer_blanks),
        cmocka_unit_test(every_byte_is_judged_alike_at_every_offset),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(a_target_without_end_is_too_long),
        cmocka_unit_test(a_response_is_framed_by_status_method_and_fields),
        cmocka_unit_test(a_response_keeps_status_and_reason),
        cmocka_unit_test(fields_are_found_without_case),
        cmocka_unit_test(hop_by_hop_fields_end_at_a_proxy),
        cmocka_unit_test(known_statuses_have_phrases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
