/* Heads of HTTP/1.x messages: a strict parser over a caller's buffer, and helpers to write them anew.
 *
 * Nothing is copied: every `struct str` points into the buffer that was parsed. Refused rather than guessed at: bare CR or LF,
 * whitespace before ':', obsolete folding, control characters, both Content-Length and Transfer-Encoding, a second or
 * malformed Content-Length, any transfer coding but a single `chunked`, none (in HTTP/1.1) or several Host fields, responses that can have no
 * body (1xx, 204) but announce one. Pure functions, any thread. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/buf.h"
#include "base/str.h"

#define HTTP_MAX_HEAD 65536     /* bytes */
#define HTTP_MAX_FIELDS 100

enum http_method {
    HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_METHOD_OTHER
};

struct http_field {
    struct str name, value;     /* the value without surrounding blanks */
};

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,           /* content_length bytes */
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE,      /* responses only */
};

struct http_fields {
    struct http_field items[HTTP_MAX_FIELDS];
    size_t count;
};

struct http_request {
    enum http_method method;
    struct str method_text;
    struct str path;            /* as received, begins with '/'; or "*" for OPTIONS */
    struct str query;           /* without '?' */
    bool has_query;
    unsigned minor_version;     /* HTTP/1.<this> */
    enum http_framing framing;
    uint64_t content_length;
    bool keep_alive;            /* the client allows another request on this connection */
    bool expect_continue;
    bool upgrade;               /* Connection names upgrade and there is an Upgrade field */
    struct str upgrade_protocol;
    struct http_fields fields;
};

struct http_response {
    int status;
    struct str reason;
    unsigned minor_version;
    enum http_framing framing;
    uint64_t content_length;
    bool has_content_length;    /* also for HEAD and 304, where it describes no body */
    bool keep_alive;
    struct http_fields fields;
};

enum http_parse_result { HTTP_INCOMPLETE, HTTP_COMPLETE, HTTP_BAD };

/* Parses the head at the start of `data`. HTTP_COMPLETE: `*consumed` bytes belong to it. HTTP_BAD: `*status` is what to answer
 * (400, 414, 431, 501, 505) and `*why` a literal sentence. `*scanned` (0 at first) lets repeated calls on a growing buffer skip what they
 * have looked at. Empty lines before a request line are skipped (at most two). An absolute-form target is taken apart into its path. */
enum http_parse_result http_parse_request(struct str data, size_t *scanned, struct http_request *request, size_t *consumed,
                                          int *status, const char **why) MUST_CHECK;
/* The same for a response to a request with `method`; also 1xx. HTTP_BAD: the peer broke the protocol. */
enum http_parse_result http_parse_response(struct str data, size_t *scanned, enum http_method method,
                                           struct http_response *response, size_t *consumed, const char **why) MUST_CHECK;

/* The first field of that name, or NULL. */
const struct http_field *http_find_field(const struct http_fields *fields, struct str name);
/* How often the field occurs. */
size_t http_count_field(const struct http_fields *fields, struct str name);
/* Whether the comma list in the values of field `name` holds `token` (without case). */
bool http_list_has(const struct http_fields *fields, struct str name, struct str token);
/* Whether a proxy must not pass the field on: Connection, Keep-Alive, Proxy-*, TE, Trailer, Transfer-Encoding, Upgrade, and what the
 * message's Connection fields name (except Content-Length, without which the body would have no end). */
bool http_is_hop_by_hop(const struct http_fields *fields, struct str name);
/* "Not Found" for 404; "" for unknown codes. */
const char *http_reason_phrase(int status);

#endif
