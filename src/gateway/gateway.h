/* Moves bytes between clients and guests: worker threads, one epoll each, nothing that blocks. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "api/api.h"
#include "api/documents.h"
#include "base/pool.h"

struct gateway;

struct gateway_options {
    const struct settings *settings;    /* must outlive the gateway until gateway_reconfigure() */
    struct auth *auth;
    struct fleet *fleet;
    struct policies *policies;
    struct api *api;
    struct documents *documents;
    struct pool *pool;                  /* for the API and metrics */
    struct pool *token_pool;            /* for questions to Open WebUI, which may take seconds to answer */
    struct pool *document_pool;         /* for waits until a guest has given its documents */
};

/* Binds and listens; no thread runs yet. ERR_CONFLICT when the port is taken, with what to do. */
struct gateway *gateway_new(const struct gateway_options *options, struct error *err) MUST_CHECK;
/* Starts the workers. */
void gateway_start(struct gateway *gateway);
/* The port that is listened on (for port 0). */
unsigned gateway_port(const struct gateway *gateway);
/* From now on /ready answers 503. New connections are still accepted until gateway_drain(). */
void gateway_set_draining(struct gateway *gateway);
/* Lets running requests end (WebSockets are closed with 1001), at most `timeout_ms`; then stops the workers. Until then who connects anew can ask
 * /health, /ready and /metrics, and hears 503 to everything else. */
void gateway_drain(struct gateway *gateway, int64_t timeout_ms);
void gateway_free(struct gateway *gateway);
/* Settings that may change while running: access log, CORS origins, metrics auth, UI switch, time limits. */
void gateway_reconfigure(struct gateway *gateway, const struct settings *settings);

#endif
