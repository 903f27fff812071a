/* A blocking HTTP client over libcurl, for engines, Open WebUI and guests' documents. Each call may come from any thread; a client may be used by
 * several threads at once (it keeps a small pool of handles, so that connections are used again). */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/buf.h"
#include "base/error.h"

struct http_client;

struct http_client_options {
    const char *unix_socket;            /* connect there whatever the URL says; or NULL */
    const char *ca_file, *cert_file, *key_file;         /* TLS; NULL: the system's CAs, no client certificate */
    const char *ca_pem;                 /* CAs as a PEM text instead of a file; then, as with ca_file, no others are trusted */
    const char *server_name;            /* what the server's certificate must name, and SNI, instead of the URL's host; or NULL */
    const char *proxy;                  /* URL of an HTTP or SOCKS proxy, before the environment's; or NULL */
    bool insecure;                      /* do not verify; only for DOCKER_TLS without verify */
    bool no_proxy_env;                  /* ignore http_proxy and friends */
    bool follow_redirects;
};

struct http_client *http_client_new(const struct http_client_options *options) MUST_CHECK;
void http_client_free(struct http_client *client);

struct http_call {
    const char *method;                 /* "GET" … */
    const char *url;
    const char *const *headers;         /* "Name: value" texts, NULL-terminated; or NULL */
    struct str body;
    bool has_body;
    const char *cert_pem, *key_pem;     /* client certificate of this call as PEM texts, before the client's files; or NULL */
    int64_t timeout_ms;                 /* of the whole call; 0: none */
    int64_t connect_timeout_ms;         /* 0: 10 s */
    int64_t stall_timeout_ms;           /* no byte for so long; 0: none */
    size_t max_response;                /* bytes; 0: 16 MiB. Longer: ERR_LIMIT */
    /* Streaming: called with each piece of a 2xx body instead of gathering it; false ends the call with ERR_TIMEOUT class "stopped". */
    bool (*on_data)(void *context, struct str data);
    /* Called once, when the head of the final response is there, before any data. May be NULL. */
    void (*on_head)(void *context, int status);
    void *context;
    /* Polled at least once a second while the call runs; true ends it in the same way. May be NULL. Gets `context` too. */
    bool (*cancelled)(void *context);
};

struct http_answer {
    int status;
    struct buf body;                    /* the caller frees */
    char content_type[128];             /* "" when there is none */
    char api_version[32];               /* value of an Api-Version field, or "" */
    int64_t retry_after_s;              /* of a Retry-After field, seconds from now; 0 when there is none */
};
static inline void http_answer_clear(struct http_answer *answer) { buf_free(&answer->body); }
#define cleanup_http_answer __attribute__((cleanup(http_answer_clear)))

/* Any HTTP status is success. ERR_UNAVAILABLE: no connection (the text names the address and why; EACCES on a Unix socket says who may use it), or it
 * broke; ERR_TIMEOUT: connected, but too slow, or ended by a callback; ERR_LIMIT; ERR_INVALID: not an http or https URL. `answer` is overwritten, and
 * empty after a failure. */
int http_client_call(struct http_client *client, const struct http_call *call, struct http_answer *answer, struct error *err) MUST_CHECK;

/* Once, before threads start. */
void http_client_global_init(void);

#endif
