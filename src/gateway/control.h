/* Requests to /api/v1: admin check, then the whole body (at most 1 MiB), then a pool thread. Worker's thread. */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include "gateway/client.h"

void control_begin(struct client *client);
/* CLIENT_GATHER: takes the next part of the body. False when there is nothing to do until the next event. */
bool control_gather(struct client *client);

#endif
