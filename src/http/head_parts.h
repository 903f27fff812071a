/* What the files of the head parser share: character classes, the cursor, and the facts that fields tell about framing.
 * Private to http/. */
#ifndef HTTP_HEAD_PARTS_H
#define HTTP_HEAD_PARTS_H

#include "http/head.h"

enum {
    CHAR_TOKEN = 1,     /* may stand in a method or a field name */
    CHAR_TARGET = 2,    /* may stand in a request target without ending its path: not '?' (a delimiter), not '#' (never sent) */
};
extern const unsigned char http_char_class[256];

static inline bool char_is(char c, unsigned class) { return http_char_class[(unsigned char)c] & class; }

/* Where the parser stands in the caller's buffer; `end` is the end of what was received. */
struct head_cursor {
    const char *at, *end;
    int status;         /* after HTTP_BAD: what a server answers */
    const char *why;
};

static inline enum http_parse_result head_bad(struct head_cursor *cursor, int status, const char *why)
{
    cursor->status = status;
    cursor->why = why;
    return HTTP_BAD;
}

/* What the field section says about this message and this connection. */
struct head_facts {
    bool has_length, has_coding, chunked;
    bool says_close, says_keep_alive, says_upgrade, expects_continue;
    unsigned hosts;
    uint64_t length;
    struct str upgrade;
};

/* Whether `text` equals the lower-case literal `lower`, without case. Both are `len` bytes; for tokens only. */
static inline bool token_is(const char *text, const char *lower, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] | 0x20) != lower[i])
            return false;
    return true;
}
#define TOKEN_IS(text, lower) token_is((text), (lower), sizeof(lower) - 1)

/* Skips the CRLF at the cursor. */
enum http_parse_result head_parse_line_end(struct head_cursor *cursor) MUST_CHECK;
/* Skips bytes that may stand in a field value or reason; `*text` gets them. The cursor then stands at another byte. HTTP_INCOMPLETE at
 * the end of the buffer. */
enum http_parse_result head_parse_text(struct head_cursor *cursor, struct str *text) MUST_CHECK;
/* Parses the field lines and the empty line that ends them. */
enum http_parse_result head_parse_fields(struct head_cursor *cursor, struct http_fields *fields, struct head_facts *facts) MUST_CHECK;
/* Steps through the elements of a comma list, blanks trimmed, empty ones left out. */
bool head_next_element(struct str *rest, struct str *element);

#endif
