/* A worker's counters: requests by route and status, how long they took, connections. Metrics are made when first needed. */
#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include "gateway/routes.h"

struct stats;

struct stats *stats_new(void) MUST_CHECK;
void stats_free(struct stats *stats);
void stats_count_request(struct stats *stats, enum route_kind kind, int status, int64_t us);
/* +1 and -1. */
void stats_connection(struct stats *stats, int change);
void stats_websocket(struct stats *stats, int change);
/* A close of a terminal socket by us, with this code. */
void stats_socket_closed(struct stats *stats, unsigned code);
void stats_upstream(struct stats *stats, bool reused);
void stats_retry(struct stats *stats);

#endif
