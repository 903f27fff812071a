/* What the gateway's own files know of it besides gateway.h. */
#ifndef GATEWAY_GATEWAY_PRIVATE_H
#define GATEWAY_GATEWAY_PRIVATE_H

#include "gateway/config.h"
#include "gateway/limits.h"

struct gateway;

struct limits *gateway_limits(struct gateway *gateway);
/* A reference to the settings in force. */
struct config *gateway_config(struct gateway *gateway);
/* Whether another one is in force than the one held. */
bool gateway_config_changed(const struct gateway *gateway, const struct config *held);
/* A connection that came while draining opens (+1) or closes (-1): nobody waits for its end. */
void gateway_count_latecomer(struct gateway *gateway, int change);
bool gateway_is_draining(const struct gateway *gateway);

#endif
