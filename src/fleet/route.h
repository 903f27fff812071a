/* The way to a terminal that is ready: published by the fleet, used by gateway workers without a lock.
 *
 * All fields but the atomics are immutable. Who finds a route withdrawn asks the fleet again: it gets another route, an error, or,
 * when an idle stop was given up because a request had come, this one. Any thread. */
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

/* Fleet only: one reference, not withdrawn, last active at `last_active_ms`. */
struct route *route_new(const struct terminal_key *key, const struct endpoint *endpoint, const char *guest_key,
                        int64_t last_active_ms) MUST_CHECK;
struct route *route_ref(struct route *route);
void route_unref(struct route *route);

static inline bool route_is_withdrawn(const struct route *route)
{
    return atomic_load(&route->withdrawn);
}
/* Counts a request that is about to be sent as activity. False: the route is withdrawn, nothing was counted, ask the fleet again.
 * Counting before looking, both sequentially consistent, is what makes the idle stop safe: the fleet withdraws, then looks at
 * the count, so that one of the two always sees the other. */
static inline bool route_enter(struct route *route, int64_t now_ms)
{
    atomic_fetch_add(&route->active_requests, 1);
    if (route_is_withdrawn(route)) {
        atomic_fetch_sub(&route->active_requests, 1);
        return false;
    }
    atomic_store_explicit(&route->last_active_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&route->last_traffic_ms, now_ms, memory_order_relaxed);
    return true;
}
/* The request that route_enter() counted has ended: that is activity too. */
static inline void route_leave(struct route *route, int64_t now_ms)
{
    atomic_store_explicit(&route->last_active_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&route->last_traffic_ms, now_ms, memory_order_relaxed);
    atomic_fetch_sub(&route->active_requests, 1);
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
