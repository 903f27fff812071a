/* One request through to a guest: finds the terminal, sends, tries again where that is allowed, relays the answer. Worker's thread. */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H

#include "backend/key.h"
#include "gateway/client.h"
#include "gateway/upstream.h"

/* The caller may use the terminal `key`; the head is parsed. Borrowed for the call. */
void proxy_begin(struct client *client, const struct terminal_key *key);
/* An event of the client's connection in CLIENT_RELAY. `flushed`: output that waited for it was sent just now. */
void proxy_client_ready(struct client *client, bool flushed);
/* stream.ready of upstreams. */
void proxy_upstream_ready(struct stream *stream);
/* The client's timer in CLIENT_CONNECT and CLIENT_RELAY. */
void proxy_timeout(struct client *client);

/* --- between the files of the proxy --- */

/* Passes on what the client sends of the body. */
void proxy_pump_request(struct client *client);
/* Passes on what the guest sends. */
void proxy_pump_response(struct client *client);
/* The guest's connection broke, or its answer is no HTTP. */
void proxy_upstream_lost(struct client *client);
/* Sets the deadline for what is waited for now. */
void proxy_set_deadline(struct client *client);
/* Activity of the terminal, unless the request is passive. */
void proxy_touch(struct client *client);

#endif
