/* The fleet as its users see it: made, started, asked for routes, ended. */
#include "fleet/fleet.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "fleet/internal.h"

/* --- life --- */

static void show_counters(void *context)
{
    struct fleet *fleet = context;
    struct fleet_counts counts;
    fleet_count(fleet, &counts);
    counters_show(&fleet->counters, &counts, workqueue_depth(fleet->queue), fleet_is_ready(fleet, NULL));
}

static void init_conditions(struct fleet *fleet)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&fleet->settled, &monotonic);
    pthread_cond_init(&fleet->janitor_wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct fleet *fleet_new(const struct fleet_options *options)
{
    struct fleet *fleet = xcalloc(1, sizeof *fleet);
    fleet->options = *options;
    pthread_mutex_init(&fleet->lock, NULL);
    init_conditions(fleet);
    list_init(&fleet->calling);
    list_init(&fleet->waiting_starts);
    list_init(&fleet->holding_starts);
    observer_init(fleet);
    counters_init(&fleet->counters);
    fleet->queue = workqueue_new("reconcile", RECONCILE_THREADS, reconcile, fleet);
    fleet->prober = prober_new(health_report, fleet);
    metrics_add_collector(show_counters, fleet);
    return fleet;
}

static void *watch(void *argument)
{
    struct fleet *fleet = argument;
    struct backend *backend = fleet->options.backend;
    backend->ops->watch(backend, &fleet->observer);
    return NULL;
}

int fleet_start(struct fleet *fleet, struct error *err)
{
    size_t policies;        /* a database that cannot be read shows here, not minutes later in a sweep */
    if (store_count_policies(fleet->options.store, &policies, err) < 0)
        return error_wrap(err, "starting the fleet");
    fleet->watcher = thread_start("watch", watch, fleet);
    fleet->janitor = thread_start("janitor", janitor_run, fleet);
    fleet->started = true;
    return 0;
}

void fleet_dismiss_callers(struct fleet *fleet)
{
    struct error why;
    error_set(&why, ERR_UNAVAILABLE, "the service is shutting down");
    WITH_LOCK(fleet);
    fleet->stopping = true;
    pthread_cond_broadcast(&fleet->janitor_wakes);
    pthread_cond_broadcast(&fleet->settled);
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));)
        terminal_dismiss_waiters(terminal, &why);
}

static void free_terminals(struct fleet *fleet)
{
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        if (terminal->route)
            atomic_store(&terminal->route->withdrawn, true);
        terminal_free(terminal);
    }
    map_free(&fleet->by_key, NULL);
    map_free(&fleet->by_name, NULL);
    map_free(&fleet->by_probe, NULL);
    map_free(&fleet->live_by_user, free);
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    metrics_remove_collector(show_counters, fleet);
    fleet_dismiss_callers(fleet);
    if (fleet->started) {
        pthread_join(fleet->janitor, NULL);
        fleet->options.backend->ops->stop_watching(fleet->options.backend);
        pthread_join(fleet->watcher, NULL);
    }
    workqueue_free(fleet->queue);
    prober_free(fleet->prober);
    if (fleet->started)
        idle_write_activity(fleet);
    free_terminals(fleet);
    pthread_cond_destroy(&fleet->settled);
    pthread_cond_destroy(&fleet->janitor_wakes);
    pthread_mutex_destroy(&fleet->lock);
    json_decref(fleet->swept_lifecycles);
    free(fleet);
}

/* Right after the first listing the guests that run have not answered yet: who polled one now would be told that it does not run. */
static bool has_settled(struct fleet *fleet)
{
    if (fleet->settled_once)
        return true;
    size_t position = 0;
    if (clock_monotonic_ms() - fleet->listed_at_ms < SETTLE_MS)
        for (struct terminal *terminal; (terminal = table_next(fleet, &position));)
            if (terminal->observed.phase == OBSERVED_RUNNING && !terminal->own_start &&
                (terminal->phase == TERMINAL_ABSENT || terminal->phase == TERMINAL_STARTING))
                return false;
    return fleet->settled_once = true;
}

bool fleet_is_ready(struct fleet *fleet, struct error *err)
{
    WITH_LOCK(fleet);
    if (fleet->listed && has_settled(fleet))
        return true;
    if (fleet->listed)
        error_set(err, ERR_UNAVAILABLE, "the terminals that run are being taken over");
    else if (fleet->unreachable && err)
        *err = fleet->unreachable_reason;
    else
        error_set(err, ERR_UNAVAILABLE, "the engine has not listed its terminals yet");
    return false;
}

void fleet_policies_changed(struct fleet *fleet)
{
    WITH_LOCK(fleet);
    fleet->policies_changed = true;
    pthread_cond_broadcast(&fleet->janitor_wakes);
}

/* --- routes --- */

struct route *fleet_find_route(struct fleet *fleet, const struct terminal_key *key)
{
    WITH_LOCK(fleet);
    struct terminal *terminal = table_find(fleet, key);
    return terminal && terminal->phase == TERMINAL_READY ? route_ref(terminal->route) : NULL;
}

struct route *fleet_find_route_of_policy(struct fleet *fleet, const char *policy_id, const char *image)
{
    WITH_LOCK(fleet);
    struct terminal_filter filter = { .policy_id = policy_id };
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        const char *runs = terminal->observed.image;
        if (terminal->phase == TERMINAL_READY && table_matches(terminal, &filter) && runs && strcmp(runs, image) == 0)
            return route_ref(terminal->route);
    }
    return NULL;
}

/* --- wants --- */

static enum want_result wait_for(struct terminal *terminal, struct waiter *waiter)
{
    list_append(&terminal->waiters, &waiter->node);
    return WANT_WAITING;
}

static enum want_result refuse(struct error *err, const struct error *why)
{
    if (err)
        *err = *why;
    return WANT_REFUSED;
}

/* True when the terminal answers without anything being started: it is ready, or on its way. */
static bool join_running(struct fleet *fleet, struct terminal *terminal, struct waiter *waiter, struct route **route, enum want_result *result)
{
    if (terminal->phase == TERMINAL_READY) {
        *route = route_ref(terminal->route);
        *result = WANT_READY;
        return true;
    }
    if (terminal->phase != TERMINAL_STARTING && terminal->phase != TERMINAL_STOPPING)
        return false;
    *result = wait_for(terminal, waiter);
    if (terminal->phase == TERMINAL_STARTING && terminal->wanted == WANTED_AS_OBSERVED && !terminal->own_start) {
        terminal->look_again = true;        /* found running, but silent so far: it may be paused */
        reconcile_soon(fleet, terminal);
    }
    return true;
}

static bool join_if_running(struct fleet *fleet, const struct terminal_key *key, struct waiter *waiter, struct route **route,
                            enum want_result *result)
{
    WITH_LOCK(fleet);
    struct terminal *terminal = table_find(fleet, key);
    return terminal && !fleet->stopping && join_running(fleet, terminal, waiter, route, result);
}

static enum want_result begin_start(struct fleet *fleet, const struct terminal_key *key, struct terminal *terminal,
                                    struct waiter *waiter, struct error *err)
{
    if (fleet->unreachable)
        return refuse(err, &fleet->unreachable_reason);
    if (terminal && terminal->phase == TERMINAL_FAILED && clock_monotonic_ms() < terminal->retry_at_ms)
        return refuse(err, terminal->failure);
    if (admission_check_limits(fleet, key, err) < 0)
        return WANT_REFUSED;
    if (!terminal)
        terminal = table_add(fleet, key);
    (void)wait_for(terminal, waiter);
    if (terminal->wanted == WANTED_GONE)        /* the remains of a failed start go first */
        reconcile_begin_stop(fleet, terminal, terminal->stop_reason, false);
    else
        reconcile_begin_start(fleet, terminal);
    return WANT_WAITING;
}

enum want_result fleet_want_terminal(struct fleet *fleet, const struct terminal_key *key, struct waiter *waiter,
                                     struct route **route, struct error *err)
{
    enum want_result result;
    *route = NULL;
    if (join_if_running(fleet, key, waiter, route, &result))
        return result;
    if (start_check(fleet, key, err) < 0)
        return WANT_REFUSED;
    WITH_LOCK(fleet);
    if (fleet->stopping) {
        error_set(err, ERR_UNAVAILABLE, "the service is shutting down");
        return WANT_REFUSED;
    }
    struct terminal *terminal = table_find(fleet, key);
    if (terminal && join_running(fleet, terminal, waiter, route, &result))
        return result;
    return begin_start(fleet, key, terminal, waiter, err);
}

/* --- for blocking callers: the answer is posted under the fleet's lock, so that lock guards this as well --- */

struct blocking_waiter {
    struct waiter waiter;
    pthread_cond_t answered_now;
    bool answered;
    struct route *route;
    struct error err;
};

static void post_blocking(struct waiter *waiter, struct route *route, const struct error *err)
{
    struct blocking_waiter *self = CONTAINER_OF(waiter, struct blocking_waiter, waiter);
    self->answered = true;
    self->route = route;
    if (err)
        self->err = *err;
    pthread_cond_signal(&self->answered_now);
}

static void wait_for_answer(struct fleet *fleet, struct blocking_waiter *waiter, int64_t deadline_ms)
{
    struct timespec until = clock_deadline(deadline_ms - clock_monotonic_ms());
    WITH_LOCK(fleet);
    while (!waiter->answered && pthread_cond_timedwait(&waiter->answered_now, &fleet->lock, &until) == 0)
        continue;
    if (waiter->answered)
        return;
    list_remove(&waiter->waiter.node);
    error_set(&waiter->err, ERR_STARTING, "the terminal is still starting; try again in a moment");
}

struct route *fleet_obtain_route(struct fleet *fleet, const struct terminal_key *key, int64_t deadline_ms, struct error *err)
{
    struct blocking_waiter waiter = { .waiter.post = post_blocking };
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter.answered_now, &monotonic);
    pthread_condattr_destroy(&monotonic);

    if (fleet_want_terminal(fleet, key, &waiter.waiter, &waiter.route, err) == WANT_WAITING) {
        wait_for_answer(fleet, &waiter, deadline_ms);
        if (!waiter.route && err)
            *err = waiter.err;
    }
    pthread_cond_destroy(&waiter.answered_now);
    return waiter.route;
}
