/* Every terminal and its state; the only place that decides to start or stop one.
 *
 * Gateway workers call fleet_want_terminal() and fleet_find_route(), which never block longer than a short lock; answers that come
 * later go to the worker's mailbox. The API and the timers call the rest, which may block. What happens to a terminal happens in
 * reconcile.c on the fleet's own threads. */
#ifndef FLEET_FLEET_H
#define FLEET_FLEET_H

#include "base/list.h"
#include "base/mailbox.h"
#include "fleet/route.h"
#include "policy/policy.h"
#include "store/store.h"

struct fleet;

struct fleet_options {
    struct backend *backend;            /* must outlive the fleet */
    struct store *store;                /* must outlive the fleet */
    struct policies *policies;          /* must outlive the fleet */
    unsigned start_timeout_s;
    unsigned stop_timeout_s;            /* TERMINALS_IDLE_CLEANUP_TIMEOUT_SECONDS */
    unsigned refresh_idle_s;
    unsigned activity_interval_s;       /* how often activity is written: min(status_cache_ttl or 30, 60) */
    unsigned max_terminals, max_terminals_per_user;     /* 0: no limit */
    unsigned max_starts;                /* 0: the backend's best */
};

struct fleet *fleet_new(const struct fleet_options *options) MUST_CHECK;
/* Tries the database, starts the watch and the timers. Returns at once; see fleet_is_ready(). */
int fleet_start(struct fleet *fleet, struct error *err) MUST_CHECK;
/* The service ends: everyone who waits for a start (ERR_UNAVAILABLE) or a stop is answered at once, and so is everyone who comes later. Comes before
 * waiting for threads that may be inside a call of the fleet. */
void fleet_dismiss_callers(struct fleet *fleet);
/* Stops timers and threads, waits for backend calls in flight, writes the last activity, leaves guests running, frees. Waiters are
 * answered ERR_UNAVAILABLE; nobody may be inside a call of the fleet. */
void fleet_free(struct fleet *fleet);
/* True once the backend has answered with a complete listing and the guests that run have been asked, too. When false, `err` (may be NULL) says what is wrong so far. */
bool fleet_is_ready(struct fleet *fleet, struct error *err);

/* --- for the gateway (any thread, never blocks) ---------------------------------------------------------------- */

/* Who wants to be told. `post` is called once, on any thread, unless fleet_want_terminal() answered at once. The fleet's lock is held
 * then: it must not block and not call the fleet (it posts to a mailbox); the waiter may be freed in it. It gets a reference to the
 * route, or NULL and the reason. */
struct waiter {
    void (*post)(struct waiter *waiter, struct route *route, const struct error *err);
    struct list node;                   /* the fleet's while it waits */
};

enum want_result {
    WANT_READY,             /* `*route` is a new reference; the waiter was not taken */
    WANT_WAITING,           /* the waiter was taken, post() will be called */
    WANT_REFUSED,           /* `err` says why; the waiter was not taken */
};

/* Starts the terminal unless it runs or starts already. The policy must exist in the snapshot in force. */
enum want_result fleet_want_terminal(struct fleet *fleet, const struct terminal_key *key, struct waiter *waiter,
                                     struct route **route, struct error *err) MUST_CHECK;
/* The route when the terminal is ready (a new reference), else NULL. Starts nothing. */
struct route *fleet_find_route(struct fleet *fleet, const struct terminal_key *key) MUST_CHECK;
/* A route to any ready terminal of the policy whose image is `image`, or NULL. A new reference. */
struct route *fleet_find_route_of_policy(struct fleet *fleet, const char *policy_id, const char *image) MUST_CHECK;
/* A worker could not connect to this route's guest, or it answered like another program: look at the terminal again now. */
void fleet_suspect(struct fleet *fleet, struct route *route);

/* --- for the API (blocks) -------------------------------------------------------------------------------------- */

/* fleet_want_terminal() for blocking code: waits until `deadline_ms` (monotonic). A new reference, or NULL with the reason. */
struct route *fleet_obtain_route(struct fleet *fleet, const struct terminal_key *key, int64_t deadline_ms, struct error *err)
    MUST_CHECK;

enum terminal_phase { TERMINAL_ABSENT, TERMINAL_STARTING, TERMINAL_READY, TERMINAL_STOPPING, TERMINAL_FAILED };
const char *terminal_phase_name(enum terminal_phase phase);

/* A copy of what is known of one terminal; texts owned. */
struct terminal_info {
    struct terminal_key *key;
    enum terminal_phase phase;
    const char *status;                 /* "running", "stopped" or "missing": a literal */
    char *name, *instance_id, *host, *message;          /* NULL where not known */
    unsigned port;                      /* 0: not known */
    int64_t last_active_us;             /* wall; 0: never */
    int64_t idle_timeout_minutes;       /* ≤ 0: never */
    int websockets;
};
void terminal_info_clear(struct terminal_info *info);

/* Which terminals; NULL matches all. */
struct terminal_filter {
    const char *user_id, *policy_id, *context_id;
};
/* All that match, sorted by user, policy, context; the caller clears each and frees the array. Absent ones are left out. */
size_t fleet_list(struct fleet *fleet, const struct terminal_filter *filter, struct terminal_info **infos) MUST_CHECK;

struct fleet_counts {
    unsigned by_phase[TERMINAL_FAILED + 1];
    unsigned websockets;                /* terminal sockets open now */
    unsigned waiting_starts;            /* admitted to no start yet */
};
void fleet_count(struct fleet *fleet, struct fleet_counts *counts);

struct stop_result {
    unsigned matched, stopped, skipped_active, reset;
};
/* Stops all that match and waits for it (bounded by stop_timeout_s). `only_idle`: skips those with a live socket or traffic in
 * the last refresh_idle_s. `reset`: empties the homes too, also of terminals that do not run but are known. */
int fleet_stop(struct fleet *fleet, const struct terminal_filter *filter, bool only_idle, bool reset,
               struct stop_result *result, struct error *err) MUST_CHECK;

/* The policies or lifecycles changed: look at idle times and reset schedules again. */
void fleet_policies_changed(struct fleet *fleet);

#endif
