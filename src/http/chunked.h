/* Decoder of the chunked transfer coding: takes the bytes as they come and gives spans of body, copying nothing. Extensions and trailers are
 * checked and dropped. Strict: CRLF only, sizes of at most 16 hex digits, extensions and trailers within 8 KiB. One owner. */
#ifndef HTTP_CHUNKED_H
#define HTTP_CHUNKED_H

#include "base/str.h"

struct chunked_decoder {
    int state;
    unsigned digits, overhead;
    uint64_t remaining;
    uint64_t size;
};

enum chunked_result {
    CHUNKED_DATA,       /* `*span` holds body bytes (inside `*input`) */
    CHUNKED_MORE,       /* all input was used up */
    CHUNKED_END,        /* the last chunk and the trailers are complete; what is left of `*input` is not of this body */
    CHUNKED_BAD,
};

void chunked_init(struct chunked_decoder *decoder);
/* Advances `*input` past what was used. Call again after CHUNKED_DATA. */
enum chunked_result chunked_next(struct chunked_decoder *decoder, struct str *input, struct str *span) MUST_CHECK;

#endif
