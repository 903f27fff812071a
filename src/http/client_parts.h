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
    bool follows;                       /* redirects are followed */
    bool head_told;                     /* on_head() was called */
    enum call_end end;
    int64_t moved_at_ms;                /* monotonic: when the last byte moved */
    curl_off_t moved;                   /* bytes both ways until then */
    char detail[CURL_ERROR_SIZE];       /* libcurl's own words; "" when it has none */
};

/* For a server that must prove another name than its URL's host. The texts are the holder's. */
struct client_alias {
    char *url;                          /* the URL with `name` for its host */
    char *connect_to;                   /* CURLOPT_CONNECT_TO's "::host:port" of the real one */
    char *host_field;                   /* "Host: …" of the real one */
};
struct client_alias client_alias_make(const char *url, const char *name);
void client_alias_clear(struct client_alias *alias);

/* Puts into words why the call failed with `code`. `unix_socket` may be NULL. Returns -1. */
int client_describe_failure(const struct call_state *state, CURLcode code, const char *unix_socket, struct error *err);

#endif
