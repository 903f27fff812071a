/* Raw bytes both ways after a guest agreed to an upgrade. Worker's thread. */
#ifndef GATEWAY_TUNNEL_H
#define GATEWAY_TUNNEL_H

#include "gateway/client.h"

struct tunnel;

/* The guest answered 101 (parsed in worker->response); `early` are its bytes after the head. */
void tunnel_begin(struct client *client, struct str early);
/* Moves what can be moved. */
void tunnel_run(struct client *client);
void tunnel_free(struct client *client);

#endif
