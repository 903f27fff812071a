/* Heads on their way through: written anew from the parsed fields, in either direction (orchestrator.md §2.6.3, .4 and .7). Pure functions. */
#ifndef GATEWAY_PROXY_HEAD_H
#define GATEWAY_PROXY_HEAD_H

#include "base/buf.h"
#include "http/head.h"

struct guest_head {
    struct str path;                /* byte for byte as received, without the policy's prefix */
    const char *host;
    const char *authorization;      /* "Bearer <guest key>" */
    const char *request_id;
    bool tunnel;                    /* Upgrade is passed on */
};

/* Appends the head of the request as the guest gets it. */
void proxy_append_request(struct buf *out, const struct http_request *request, const struct guest_head *head);
/* Appends the fields of a guest's response that a client may get. The framing fields are the caller's. */
void proxy_append_response_fields(struct buf *out, const struct http_response *response, bool tunnel);

#endif
