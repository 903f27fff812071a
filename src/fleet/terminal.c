/* The phases of a terminal and the one function that changes them. Whatever must happen with a change, whoever makes it and why, happens
 * here: so a route cannot outlive its phase, nor a waiter be forgotten or answered twice. */
#include "fleet/terminal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "fleet/internal.h"

/* [from][to]. READY never turns FAILED: a guest that ends while it is in use is cleared away (STOPPING) and started again when wanted. */
static const bool legal[TERMINAL_FAILED + 1][TERMINAL_FAILED + 1] = {
    [TERMINAL_ABSENT] = { [TERMINAL_STARTING] = true, [TERMINAL_STOPPING] = true },
    [TERMINAL_STARTING] = { [TERMINAL_ABSENT] = true, [TERMINAL_READY] = true, [TERMINAL_STOPPING] = true, [TERMINAL_FAILED] = true },
    [TERMINAL_READY] = { [TERMINAL_ABSENT] = true, [TERMINAL_STARTING] = true, [TERMINAL_STOPPING] = true },
    [TERMINAL_STOPPING] = { [TERMINAL_ABSENT] = true, [TERMINAL_STARTING] = true, [TERMINAL_FAILED] = true },
    [TERMINAL_FAILED] = { [TERMINAL_ABSENT] = true, [TERMINAL_STARTING] = true, [TERMINAL_STOPPING] = true },
};

static const char *const phase_names[] = {
    [TERMINAL_ABSENT] = "absent",
    [TERMINAL_STARTING] = "starting",
    [TERMINAL_READY] = "ready",
    [TERMINAL_STOPPING] = "stopping",
    [TERMINAL_FAILED] = "failed",
};

const char *terminal_phase_name(enum terminal_phase phase) { return phase_names[phase]; }
bool terminal_may_go(enum terminal_phase from, enum terminal_phase to) { return legal[from][to]; }

struct terminal *terminal_new(const struct terminal_key *key, const char *name)
{
    struct terminal *terminal = xcalloc(1, sizeof *terminal);
    workitem_init(&terminal->work);
    terminal->key = terminal_key_copy(key);
    terminal->name = xstrdup(name);
    terminal->phase_since_us = clock_monotonic_us();
    list_init(&terminal->waiters);
    list_init(&terminal->admission_node);
    list_init(&terminal->calling_node);
    return terminal;
}

void observed_clear(struct observed *observed)
{
    free(observed->instance_id);
    secret_free(observed->guest_key);
    free(observed->image);
    free(observed->message);
    free(observed->endpoint);
    *observed = (struct observed){ .phase = OBSERVED_ABSENT };
}

void terminal_free(struct terminal *terminal)
{
    ASSERT(list_is_empty(&terminal->waiters) && terminal->call == CALL_NONE);
    route_unref(terminal->route);
    observed_clear(&terminal->observed);
    terminal_key_free(terminal->key);
    free(terminal->name);
    free(terminal->retired_instance);
    secret_free(terminal->guest_key);
    free(terminal->failure);
    free(terminal->stop_failure);
    free(terminal);
}

/* --- the route --- */

static void publish_route(struct terminal *terminal)
{
    const char *guest_key = terminal->observed.guest_key ? terminal->observed.guest_key : terminal->guest_key;
    terminal->route = route_new(terminal->key, terminal->observed.endpoint, guest_key, terminal->last_active_ms);
}

static void withdraw_route(struct terminal *terminal)
{
    atomic_store(&terminal->route->withdrawn, true);
    terminal_set_last_active(terminal, terminal_last_active(terminal));
    route_unref(steal(&terminal->route));
}

bool terminal_withdraw_if_idle(struct terminal *terminal, bool (*is_idle)(const struct terminal *terminal, const void *context),
                               const void *context)
{
    ASSERT(terminal->phase == TERMINAL_READY);
    atomic_store(&terminal->route->withdrawn, true);
    if (is_idle(terminal, context))
        return true;
    atomic_store(&terminal->route->withdrawn, false);
    return false;
}

int64_t terminal_last_active(const struct terminal *terminal)
{
    int64_t known = terminal->last_active_ms;
    if (!terminal->route)
        return known;
    int64_t routed = atomic_load_explicit(&terminal->route->last_active_ms, memory_order_relaxed);
    return known == 0 || routed > known ? routed : known;
}

void terminal_set_last_active(struct terminal *terminal, int64_t last_active_ms)
{
    if (last_active_ms != 0 && (terminal->last_active_ms == 0 || last_active_ms > terminal->last_active_ms))
        terminal->last_active_ms = last_active_ms;
}

/* --- the phase --- */

static void answer_waiters(struct terminal *terminal, struct route *route, const struct error *err)
{
    for (struct list *node; (node = list_first(&terminal->waiters));) {
        struct waiter *waiter = LIST_ENTRY(node, struct waiter, node);
        list_remove(node);
        waiter->post(waiter, route ? route_ref(route) : NULL, err);
    }
}

void terminal_dismiss_waiters(struct terminal *terminal, const struct error *why)
{
    answer_waiters(terminal, NULL, why);
}

static void remember_failure(struct terminal *terminal, const struct error *why)
{
    if (!terminal->failure)
        terminal->failure = xmalloc(sizeof *terminal->failure);
    *terminal->failure = *why;
    int64_t delay_ms = terminal->failures >= 9 ? LONGEST_RETRY_MS : (int64_t)FIRST_RETRY_MS << terminal->failures;
    terminal->failures++;
    terminal->failed_at_ms = clock_monotonic_ms();
    terminal->retry_at_ms = terminal->failed_at_ms + (delay_ms < LONGEST_RETRY_MS ? delay_ms : LONGEST_RETRY_MS);
}

static void forget_failure(struct terminal *terminal)
{
    free(steal(&terminal->failure));
    terminal->failures = 0;
}

static void leave_phase(struct fleet *fleet, struct terminal *terminal)
{
    health_cancel_probe(fleet, terminal);
    terminal->refuses = terminal->look_again = false;
    if (terminal->phase == TERMINAL_READY)
        withdraw_route(terminal);
    if (terminal->phase == TERMINAL_STARTING)
        admission_leave(fleet, terminal);
}

static void count_start(struct fleet *fleet, const struct terminal *terminal, enum terminal_phase to, const struct error *why)
{
    if (terminal->phase != TERMINAL_STARTING)
        return;
    if (to == TERMINAL_FAILED)
        counters_start_failed(&fleet->counters, why->class);
    else if (to == TERMINAL_READY && terminal->own_start)
        counters_start_succeeded(&fleet->counters, clock_monotonic_us() - terminal->phase_since_us);
    else if (to == TERMINAL_READY)
        metric_add(fleet->counters.adopted, 1);
}

static void count_phase(struct fleet *fleet, struct terminal *terminal, enum terminal_phase to)
{
    bool was_live = terminal_is_live(terminal);
    fleet->by_phase[terminal->phase]--;
    fleet->by_phase[to]++;
    terminal->phase = to;
    if (was_live != terminal_is_live(terminal))
        table_count_live(fleet, terminal, was_live ? -1 : 1);
}

static void log_change(const struct terminal *terminal, enum terminal_phase from, const struct error *why, int64_t us)
{
    if (why)
        log_warning("terminal failed", LOG_STR("terminal", terminal->name), LOG_STR("user", terminal->key->user_id),
                    LOG_STR("policy", terminal->key->policy_id), LOG_STR("context", terminal->key->context_id),
                    LOG_STR("class", error_class_name(why->class)), LOG_ERR(why));
    else if (terminal->phase == TERMINAL_STOPPING)
        log_info("terminal is stopping", LOG_STR("terminal", terminal->name), LOG_STR("was", phase_names[from]),
                 LOG_STR("reason", stop_reason_name(terminal->stop_reason)));
    else
        log_info("terminal changed", LOG_STR("terminal", terminal->name), LOG_STR("phase", phase_names[terminal->phase]),
                 LOG_STR("was", phase_names[from]), LOG_INT("ms", us / 1000));
}

void terminal_change_phase(struct fleet *fleet, struct terminal *terminal, enum terminal_phase to, const struct error *why)
{
    enum terminal_phase from = terminal->phase;
    ASSERT(legal[from][to]);
    ASSERT((to == TERMINAL_FAILED) == (why != NULL));
    leave_phase(fleet, terminal);
    count_start(fleet, terminal, to, why);
    int64_t now_us = clock_monotonic_us(), spent_us = now_us - terminal->phase_since_us;
    count_phase(fleet, terminal, to);
    terminal->phase_since_us = now_us;
    log_change(terminal, from, why, spent_us);

    if (to == TERMINAL_READY) {
        forget_failure(terminal);
        publish_route(terminal);
        answer_waiters(terminal, terminal->route, NULL);
    } else if (to == TERMINAL_FAILED) {
        remember_failure(terminal, why);
        answer_waiters(terminal, NULL, why);
    } else if (to == TERMINAL_STOPPING) {
        metric_add(fleet->counters.stops[terminal->stop_reason], 1);
    } else if (to == TERMINAL_ABSENT) {
        ASSERT(list_is_empty(&terminal->waiters));
    }
}

/* --- questions --- */

bool terminal_is_live(const struct terminal *terminal)
{
    return terminal->phase == TERMINAL_STARTING || terminal->phase == TERMINAL_READY || terminal->phase == TERMINAL_STOPPING;
}

const char *terminal_status(const struct terminal *terminal)
{
    if (terminal->observed.phase == OBSERVED_ABSENT)
        return "missing";
    return terminal->observed.phase == OBSERVED_RUNNING || terminal->observed.phase == OBSERVED_STOPPING ? "running" : "stopped";
}

bool terminal_is_forgettable(const struct terminal *terminal, int64_t now_ms)
{
    bool at_rest = terminal->phase == TERMINAL_ABSENT ||
                   (terminal->phase == TERMINAL_FAILED && now_ms - terminal->failed_at_ms >= FAILED_SHOWN_MS);
    return at_rest && terminal->wanted == WANTED_AS_OBSERVED && terminal->observed.phase == OBSERVED_ABSENT &&
           terminal->call == CALL_NONE && terminal->references == 0 && terminal->probe == 0 && !terminal->reset_requested &&
           terminal->written_active_ms == terminal->last_active_ms;
}

/* --- clocks --- */

int64_t wall_us_of(int64_t monotonic_ms)
{
    return clock_wall_us() - (clock_monotonic_ms() - monotonic_ms) * 1000;
}

/* A moment that lies ahead (another machine's clock) is taken as now; 0 is kept for "never". */
int64_t monotonic_ms_of(int64_t wall_us)
{
    int64_t ago_ms = (clock_wall_us() - wall_us) / 1000;
    int64_t monotonic_ms = clock_monotonic_ms() - (ago_ms > 0 ? ago_ms : 0);
    return monotonic_ms == 0 ? -1 : monotonic_ms;
}
