/* What the files of the client share. Private to http/. */
#ifndef HTTP_CLIENT_PARTS_H
#define HTTP_CLIENT_PARTS_H

#include <curl/curl.h>

#include "http/client.h"

/* Why we ended a transfer ourselves; libcurl then reports only that a callback did. */
enum call_end { CALL_RAN, CALL_TOO_LONG, CALL_STOPPED, CALL_CANCELLED, CALL_STALLED };

/* One call under way; lives on the caller's stack. */
struct call_state {
    const struct http_call *call;
    struct http_answer *answer;
    CURL *handle;
    enum call_end end;
    int64_t moved_at_ms;                /* monotonic: when the last byte moved */
    curl_off_t moved;                   /* bytes both ways until then */
    char detail[CURL_ERROR_SIZE];       /* libcurl's own words; "" when it has none */
};

/* Puts into words why the call failed with `code`. `unix_socket` may be NULL. Returns -1. */
int client_describe_failure(const struct call_state *state, CURLcode code, const char *unix_socket, struct error *err);

#endif
