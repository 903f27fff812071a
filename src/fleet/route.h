/* The way to a terminal that is ready: published by the fleet, used by gateway workers without a lock.
 *
 * All fields but the atomics are immutable. A route is withdrawn once, for good; its holder then asks the fleet again.
 * Any thread. */
#ifndef FLEET_ROUTE_H
#define FLEET_ROUTE_H

#include <stdatomic.h>

#include "backend/backend.h"

struct route {
    _Atomic unsigned references;
    _Atomic bool withdrawn;
    struct terminal_key *key;
    struct endpoint endpoint;
    char *authorization;                /* "Bearer <guest key>" */
    char *guest_key;
    _Atomic int64_t last_active_ms;     /* monotonic: last activity in the sense of §3.6 */
    _Atomic int64_t last_traffic_ms;    /* monotonic: last byte of anything, for only_idle */
    _Atomic int active_requests;        /* requests in flight that count as activity */
    _Atomic int websockets;             /* terminal sockets and tunnels */
    struct session_table *sessions;     /* below; its own lock */
};

struct route *route_ref(struct route *route);
void route_unref(struct route *route);

static inline bool route_is_withdrawn(const struct route *route)
{
    return atomic_load_explicit(&route->withdrawn, memory_order_acquire);
}
/* Marks activity now (one relaxed store). `now_ms` is the caller's monotonic time. */
static inline void route_touch(struct route *route, int64_t now_ms)
{
    atomic_store_explicit(&route->last_active_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&route->last_traffic_ms, now_ms, memory_order_relaxed);
}

/* Remembers which X-Session-Id the POST that made a guest's terminal session carried (at most 64 sessions, the oldest is
 * forgotten). `present` false: the header was missing. */
void route_remember_session(struct route *route, struct str session, struct str x_session_id, bool present);
/* False when the session is not known or was made without the header. The caller frees `*x_session_id`. */
bool route_recall_session(struct route *route, struct str session, char **x_session_id);

#endif
