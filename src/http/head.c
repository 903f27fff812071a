/* Request and response heads: start lines, the order of the checks, and what a body follows.
 *
 * The usual head arrives in one piece and is parsed in one pass. A head that is not complete is not parsed again until a search of the new
 * bytes finds its end, so that a peer who sends it byte by byte costs no more than one who does not. */
#include "http/head_parts.h"

/* Whether an empty line ends somewhere at or after `from`: LF LF or LF CR LF. */
static bool has_head_end(struct str data, size_t from)
{
    const char *at = data.data + from, *end = data.data + data.len;

    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (at < end && *at == '\n')
            return true;
        if (at + 1 < end && at[0] == '\r' && at[1] == '\n')
            return true;
        if (at == end)
            break;
    }
    return false;
}

/* Whether parsing can get further than last time. Two bytes back, the LF of a split LF CR LF. */
static bool is_worth_parsing(struct str data, size_t scanned)
{
    if (scanned == 0)
        return data.len > 0;
    if (scanned > data.len)
        scanned = data.len;
    return has_head_end(data, scanned > 2 ? scanned - 2 : 0);
}

static enum http_parse_result incomplete(struct head_cursor *cursor, struct str data, size_t *scanned)
{
    if (data.len >= HTTP_MAX_HEAD) {
        bool has_line = memchr(data.data, '\n', data.len);
        return head_bad(cursor, has_line ? 431 : 414, "The head is too large.");
    }
    *scanned = data.len;
    return HTTP_INCOMPLETE;
}

/* At most two empty lines, which some clients send after a body. */
static enum http_parse_result skip_empty_lines(struct head_cursor *cursor)
{
    for (int i = 0; i < 2 && cursor->at < cursor->end && *cursor->at == '\r'; i++) {
        enum http_parse_result result = head_parse_line_end(cursor);
        if (result != HTTP_COMPLETE)
            return result;
    }
    return cursor->at < cursor->end ? HTTP_COMPLETE : HTTP_INCOMPLETE;
}

static enum http_method method_of(struct str text)
{
    static const struct {
        struct str text;
        enum http_method method;
    } methods[] = {
        { STR_LITERAL("GET"), HTTP_GET },       { STR_LITERAL("POST"), HTTP_POST },     { STR_LITERAL("PUT"), HTTP_PUT },
        { STR_LITERAL("HEAD"), HTTP_HEAD },     { STR_LITERAL("PATCH"), HTTP_PATCH },   { STR_LITERAL("DELETE"), HTTP_DELETE },
        { STR_LITERAL("OPTIONS"), HTTP_OPTIONS },
    };

    for (size_t i = 0; i < COUNT_OF(methods); i++)
        if (text.len == methods[i].text.len && memcmp(text.data, methods[i].text.data, text.len) == 0)
            return methods[i].method;
    return HTTP_METHOD_OTHER;
}

static enum http_parse_result parse_method(struct head_cursor *cursor, struct http_request *request)
{
    const char *at = cursor->at;

    while (at < cursor->end && char_is(*at, CHAR_TOKEN))
        at++;
    if (at == cursor->end)
        return HTTP_INCOMPLETE;
    if (*at != ' ' || at == cursor->at)
        return head_bad(cursor, 400, "The request line is malformed.");
    request->method_text = str_of(cursor->at, (size_t)(at - cursor->at));
    request->method = method_of(request->method_text);
    cursor->at = at + 1;
    if (request->method == HTTP_METHOD_OTHER && str_equal(request->method_text, STR_LITERAL("CONNECT")))
        return head_bad(cursor, 501, "CONNECT is not supported.");
    return HTTP_COMPLETE;
}

/* Cuts scheme and authority off an absolute-form target. RFC 9112 §3.2.2: the path may be empty; §3.2.4: OPTIONS then means '*'. */
static enum http_parse_result cut_authority(struct head_cursor *cursor, struct http_request *request)
{
    struct str rest = request->path;

    if (rest.len > 7 && TOKEN_IS(rest.data, "http:") && rest.data[5] == '/' && rest.data[6] == '/')
        rest = str_of(rest.data + 7, rest.len - 7);
    else if (rest.len > 8 && TOKEN_IS(rest.data, "https:") && rest.data[6] == '/' && rest.data[7] == '/')
        rest = str_of(rest.data + 8, rest.len - 8);
    else
        return head_bad(cursor, 400, "The request target is malformed.");

    const char *slash = memchr(rest.data, '/', rest.len);
    size_t authority = slash ? (size_t)(slash - rest.data) : rest.len;
    if (authority == 0 || memchr(rest.data, '@', authority))
        return head_bad(cursor, 400, "The authority of the request target is malformed.");
    if (slash)
        request->path = str_of(slash, rest.len - authority);
    else if (request->method == HTTP_OPTIONS && !request->has_query)
        request->path = STR_LITERAL("*");
    else
        request->path = STR_LITERAL("/");
    return HTTP_COMPLETE;
}

static enum http_parse_result check_target(struct head_cursor *cursor, struct http_request *request)
{
    if (request->path.len > 0 && request->path.data[0] == '/')
        return HTTP_COMPLETE;
    if (request->path.len == 1 && request->path.data[0] == '*' && !request->has_query && request->method == HTTP_OPTIONS)
        return HTTP_COMPLETE;
    return cut_authority(cursor, request);
}

static enum http_parse_result parse_target(struct head_cursor *cursor, struct http_request *request)
{
    const char *at = cursor->at, *end = cursor->end;

    while (at < end && char_is(*at, CHAR_TARGET))
        at++;
    request->path = str_of(cursor->at, (size_t)(at - cursor->at));
    request->has_query = at < end && *at == '?';
    request->query = str_of(NULL, 0);
    if (request->has_query) {
        const char *start = ++at;
        while (at < end && (char_is(*at, CHAR_TARGET) || *at == '?'))
            at++;
        request->query = str_of(start, (size_t)(at - start));
    }
    if (at == end)
        return HTTP_INCOMPLETE;
    if (*at != ' ')
        return head_bad(cursor, 400, "The request target holds a character that is not allowed there.");
    cursor->at = at + 1;
    return check_target(cursor, request);
}

/* "HTTP/1." and a digit. */
static enum http_parse_result parse_version(struct head_cursor *cursor, unsigned *minor)
{
    static const char prefix[] = "HTTP/";
    size_t have = (size_t)(cursor->end - cursor->at);

    for (size_t i = 0; i < sizeof(prefix) - 1 && i < have; i++)
        if (cursor->at[i] != prefix[i])
            return head_bad(cursor, 400, "The protocol version is malformed.");
    if (have < sizeof("HTTP/1.1") - 1)
        return HTTP_INCOMPLETE;
    unsigned major = (unsigned char)cursor->at[5] - (unsigned)'0';
    *minor = (unsigned char)cursor->at[7] - (unsigned)'0';
    if (major > 9 || cursor->at[6] != '.' || *minor > 9)
        return head_bad(cursor, 400, "The protocol version is malformed.");
    if (major != 1)
        return head_bad(cursor, 505, "The protocol version is not supported.");
    cursor->at += sizeof("HTTP/1.1") - 1;
    return HTTP_COMPLETE;
}

static enum http_parse_result parse_request_line(struct head_cursor *cursor, struct http_request *request)
{
    enum http_parse_result result = parse_method(cursor, request);

    if (result == HTTP_COMPLETE)
        result = parse_target(cursor, request);
    if (result == HTTP_COMPLETE)
        result = parse_version(cursor, &request->minor_version);
    if (result == HTTP_COMPLETE && cursor->at < cursor->end && *cursor->at != '\r' && *cursor->at != '\n')
        return head_bad(cursor, 400, "The protocol version is malformed.");
    return result == HTTP_COMPLETE ? head_parse_line_end(cursor) : result;
}

/* RFC 9112 §6.1, §6.3: where two readers could see different messages, there is none. */
static enum http_parse_result check_codings(struct head_cursor *cursor, unsigned minor, const struct head_facts *facts)
{
    if (facts->has_coding && facts->has_length)
        return head_bad(cursor, 400, "There are both Content-Length and Transfer-Encoding.");
    if (facts->has_coding && minor == 0)
        return head_bad(cursor, 400, "Transfer-Encoding is not part of HTTP/1.0.");
    return HTTP_COMPLETE;
}

static bool is_persistent(unsigned minor, const struct head_facts *facts)
{
    return !facts->says_close && (minor > 0 || facts->says_keep_alive);
}

static enum http_parse_result finish_request(struct head_cursor *cursor, struct http_request *request, const struct head_facts *facts)
{
    if (facts->hosts > 1)
        return head_bad(cursor, 400, "There is more than one Host.");
    if (facts->hosts == 0 && request->minor_version > 0)
        return head_bad(cursor, 400, "There is no Host.");
    enum http_parse_result result = check_codings(cursor, request->minor_version, facts);
    if (result != HTTP_COMPLETE)
        return result;
    request->framing = facts->chunked ? HTTP_BODY_CHUNKED : facts->length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    request->content_length = facts->length;
    request->keep_alive = is_persistent(request->minor_version, facts);
    request->expect_continue = facts->expects_continue && request->minor_version > 0;
    request->upgrade = facts->says_upgrade && facts->upgrade.len > 0 && request->minor_version > 0;
    request->upgrade_protocol = facts->upgrade;
    return HTTP_COMPLETE;
}

static enum http_parse_result parse_request_once(struct head_cursor *cursor, struct http_request *request)
{
    struct head_facts facts;
    enum http_parse_result result = skip_empty_lines(cursor);

    if (result == HTTP_COMPLETE)
        result = parse_request_line(cursor, request);
    if (result == HTTP_COMPLETE)
        result = head_parse_fields(cursor, &request->fields, &facts);
    return result == HTTP_COMPLETE ? finish_request(cursor, request, &facts) : result;
}

/* The end that both parsers share: limits, `*scanned`, `*consumed`. */
static enum http_parse_result conclude(struct head_cursor *cursor, enum http_parse_result result, struct str data, size_t *scanned,
                                       size_t *consumed)
{
    if (result == HTTP_INCOMPLETE)
        return incomplete(cursor, data, scanned);
    if (result != HTTP_COMPLETE)
        return result;
    *consumed = (size_t)(cursor->at - data.data);
    if (*consumed > HTTP_MAX_HEAD)
        return head_bad(cursor, 431, "The head is too large.");
    *scanned = 0;
    return HTTP_COMPLETE;
}

enum http_parse_result http_parse_request(struct str data, size_t *scanned, struct http_request *request, size_t *consumed,
                                          int *status, const char **why)
{
    struct head_cursor cursor = { data.data, data.data + data.len, 0, NULL };
    enum http_parse_result result = HTTP_INCOMPLETE;

    if (is_worth_parsing(data, *scanned))
        result = parse_request_once(&cursor, request);
    result = conclude(&cursor, result, data, scanned, consumed);
    if (result == HTTP_BAD) {
        *status = cursor.status;
        *why = cursor.why;
    }
    return result;
}

static enum http_parse_result parse_status_code(struct head_cursor *cursor, struct http_response *response)
{
    if (cursor->end - cursor->at < 4)
        return HTTP_INCOMPLETE;
    unsigned code = 0;
    for (int i = 1; i <= 3; i++) {
        unsigned digit = (unsigned char)cursor->at[i] - (unsigned)'0';
        if (digit > 9)
            return head_bad(cursor, 502, "The status is malformed.");
        code = code * 10 + digit;
    }
    if (cursor->at[0] != ' ' || code < 100)
        return head_bad(cursor, 502, "The status is malformed.");
    response->status = (int)code;
    cursor->at += 4;
    return HTTP_COMPLETE;
}

/* The reason, with its leading blank; servers that send none leave the blank out too. */
static enum http_parse_result parse_reason(struct head_cursor *cursor, struct http_response *response)
{
    response->reason = str_of(NULL, 0);
    if (cursor->at < cursor->end && *cursor->at != ' ')
        return head_parse_line_end(cursor);
    enum http_parse_result result = head_parse_text(cursor, &response->reason);
    response->reason = str_skip(response->reason, 1);
    return result == HTTP_COMPLETE ? head_parse_line_end(cursor) : result;
}

static enum http_parse_result parse_status_line(struct head_cursor *cursor, struct http_response *response)
{
    enum http_parse_result result = parse_version(cursor, &response->minor_version);

    if (result == HTTP_COMPLETE)
        result = parse_status_code(cursor, response);
    return result == HTTP_COMPLETE ? parse_reason(cursor, response) : result;
}

static enum http_framing response_framing(const struct http_response *response, enum http_method method,
                                          const struct head_facts *facts)
{
    if (method == HTTP_HEAD || response->status < 200 || response->status == 204 || response->status == 304)
        return HTTP_BODY_NONE;
    if (facts->chunked)
        return HTTP_BODY_CHUNKED;
    if (facts->has_length)
        return facts->length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    return HTTP_BODY_UNTIL_CLOSE;
}

static enum http_parse_result finish_response(struct head_cursor *cursor, struct http_response *response, enum http_method method,
                                              const struct head_facts *facts)
{
    bool never_has_body = response->status < 200 || response->status == 204;
    enum http_parse_result result = check_codings(cursor, response->minor_version, facts);

    if (result != HTTP_COMPLETE)
        return result;
    if (never_has_body && (facts->has_coding || facts->length > 0))
        return head_bad(cursor, 502, "A response that has no body announces one.");
    response->framing = response_framing(response, method, facts);
    response->content_length = facts->length;
    response->has_content_length = facts->has_length;
    response->keep_alive = is_persistent(response->minor_version, facts) && response->framing != HTTP_BODY_UNTIL_CLOSE;
    return HTTP_COMPLETE;
}

static enum http_parse_result parse_response_once(struct head_cursor *cursor, struct http_response *response, enum http_method method)
{
    struct head_facts facts;
    enum http_parse_result result = parse_status_line(cursor, response);

    if (result == HTTP_COMPLETE)
        result = head_parse_fields(cursor, &response->fields, &facts);
    return result == HTTP_COMPLETE ? finish_response(cursor, response, method, &facts) : result;
}

enum http_parse_result http_parse_response(struct str data, size_t *scanned, enum http_method method, struct http_response *response,
                                           size_t *consumed, const char **why)
{
    struct head_cursor cursor = { data.data, data.data + data.len, 0, NULL };
    enum http_parse_result result = HTTP_INCOMPLETE;

    if (is_worth_parsing(data, *scanned))
        result = parse_response_once(&cursor, response, method);
    result = conclude(&cursor, result, data, scanned, consumed);
    if (result == HTTP_BAD)
        *why = cursor.why;
    return result;
}
