/* Asks the fleet for a terminal on behalf of a client. Worker's thread. */
#ifndef GATEWAY_WANT_H
#define GATEWAY_WANT_H

#include "backend/key.h"
#include "gateway/lane.h"

/* `done` gets the lane, or NULL and the reason: at once, in which case the result is false, or later through the mailbox (true: the client
 * is to wait, with a deadline of its own; client_forget_letter() gives up, and the start goes on). */
bool want_terminal(struct client *client, const struct terminal_key *key,
                   void (*done)(struct client *client, struct lane *lane, const struct error *err)) MUST_CHECK;

#endif
