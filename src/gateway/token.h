/* Verification of a token that the cache does not know, on a pool thread. Worker's thread. */
#ifndef GATEWAY_TOKEN_H
#define GATEWAY_TOKEN_H

#include "auth/auth.h"
#include "gateway/client.h"

/* Open WebUI is asked at most twice, 10 s each. */
#define TOKEN_PATIENCE_MS 25000

/* `done` comes later, with the identity, or NULL and the reason; the client is to wait with a deadline of its own. False: no memory, or the
 * pool is full, and `done` does not come. */
bool token_verify(struct client *client, struct str token,
                  void (*done)(struct client *client, const struct identity *identity, const struct error *err)) MUST_CHECK;

#endif
