/* A message body on its way through: takes what came, checks its framing and sends it on in the framing of the other leg. Holds nothing.
 * One owner. */
#ifndef GATEWAY_BODY_H
#define GATEWAY_BODY_H

#include "gateway/stream.h"
#include "http/chunked.h"
#include "http/head.h"

struct body {
    enum http_framing framing;      /* as it comes */
    uint64_t left;                  /* HTTP_BODY_LENGTH: bytes to come */
    struct chunked_decoder decoder;
    bool done;                      /* its end was seen */
};

void body_init(struct body *body, enum http_framing framing, uint64_t length);

enum body_result {
    BODY_OK,                        /* what came was used; see body->done */
    BODY_BAD,                       /* the framing is broken */
    BODY_UNSENT,                    /* `to` is broken */
};

/* Sends `head` (may be empty) and the body bytes at the front of `*input` to `to`, chunked anew when `chunked`, and moves `*input` past what
 * was used. `*bytes` is raised by the body bytes seen. `observe` (may be NULL) sees each piece as it passes. */
enum body_result body_relay(struct body *body, struct str head, struct str *input, bool chunked, struct stream *to, uint64_t *bytes,
                            void (*observe)(void *context, struct str piece), void *context) MUST_CHECK;
/* Appends the body bytes at the front of `*input` to `out` (which may have a limit and then fails). BODY_UNSENT: it does not fit. */
enum body_result body_gather(struct body *body, struct str *input, struct buf *out) MUST_CHECK;
/* Ends a body that lasts until the connection is closed. False when this end is too early. */
bool body_end(struct body *body, bool chunked, struct stream *to) MUST_CHECK;

#endif
