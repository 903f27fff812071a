/* Idle terminals: who they are, and how they are stopped without losing a request that comes at that moment.
 *
 * The clock of a terminal is the newest of what its route says (this process) and what the database says (other replicas, an earlier
 * run of us). Idle is decided twice: by what is known here, then, with the database read anew, under the lock right after the route
 * was withdrawn; a request that was counted by then keeps the terminal. */
#include "fleet/internal.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

static void snapshot_unref_pointer(struct policy_snapshot **place) { policy_snapshot_unref(*place); }
#define cleanup_snapshot __attribute__((cleanup(snapshot_unref_pointer)))

enum { MS_PER_MINUTE = 60000, LONGEST_TIMEOUT_MINUTES = 100 * 365 * 24 * 60, SYSTEM_TIMEOUT_MS = 60000 };

/* --- stopping --- */

/* 0: never. */
int64_t idle_timeout_ms(const struct policy_snapshot *snapshot, const char *policy_id)
{
    const struct policy *policy = policy_snapshot_find(snapshot, str_from(policy_id));
    int64_t minutes = policy ? policy->idle_timeout_minutes : policy_snapshot_limits(snapshot)->idle_timeout_minutes;
    return minutes <= 0 || minutes > LONGEST_TIMEOUT_MINUTES ? 0 : minutes * MS_PER_MINUTE;
}

/* Nobody but ourselves uses a terminal of `system`, and for moments only. Who started it stops it; if he was killed before, nobody else will where the
 * policy has no timeout. */
static int64_t timeout_of(const struct policy_snapshot *snapshot, const struct terminal_key *key)
{
    int64_t timeout_ms = idle_timeout_ms(snapshot, key->policy_id);
    if (strcmp(key->user_id, SYSTEM_USER_ID) != 0)
        return timeout_ms;
    return timeout_ms > 0 && timeout_ms < SYSTEM_TIMEOUT_MS ? timeout_ms : SYSTEM_TIMEOUT_MS;
}

struct idle_rule {
    int64_t now_ms, timeout_ms;
};

static bool is_idle(const struct terminal *terminal, const void *context)
{
    const struct idle_rule *rule = context;
    return rule->timeout_ms > 0 && atomic_load(&terminal->route->active_requests) == 0 &&
           rule->now_ms - terminal_last_active(terminal) >= rule->timeout_ms;
}

/* Those that seem idle, each with a reference. The caller frees the array. */
static size_t find_idle(struct fleet *fleet, const struct policy_snapshot *snapshot, struct terminal ***found)
{
    WITH_LOCK(fleet);
    size_t count = 0, position = 0;
    *found = xcalloc(fleet->by_phase[TERMINAL_READY] + 1, sizeof **found);
    int64_t now_ms = clock_monotonic_ms();
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        if (terminal->phase != TERMINAL_READY)
            continue;
        struct idle_rule rule = { now_ms, timeout_of(snapshot, terminal->key) };
        if (!is_idle(terminal, &rule))
            continue;
        terminal->references++;
        (*found)[count++] = terminal;
    }
    return count;
}

static void stop_if_idle(struct fleet *fleet, struct terminal *terminal, int64_t timeout_ms)
{
    int64_t elsewhere_ms = idle_read_activity(fleet, terminal->key);
    WITH_LOCK(fleet);
    terminal->references--;
    if (elsewhere_ms != 0 && terminal->phase == TERMINAL_READY && elsewhere_ms > terminal_last_active(terminal)) {
        terminal_set_last_active(terminal, elsewhere_ms);
        terminal->written_active_ms = elsewhere_ms;
    }
    struct idle_rule rule = { clock_monotonic_ms(), timeout_ms };
    if (terminal->phase == TERMINAL_READY && is_idle(terminal, &rule) &&
        terminal_withdraw_if_idle(terminal, is_idle, &rule))
        reconcile_begin_stop(fleet, terminal, STOP_IDLE, false);
}

void idle_sweep(struct fleet *fleet)
{
    cleanup_snapshot struct policy_snapshot *snapshot = policies_current(fleet->options.policies);
    struct terminal **found;
    size_t count = find_idle(fleet, snapshot, &found);
    for (size_t i = 0; i < count; i++)
        stop_if_idle(fleet, found[i], timeout_of(snapshot, found[i]->key));
    free(found);
}

/* --- the database --- */

/* A clock was put back, or another machine's is fast: written as now, or the terminal would count as used until that time has come. */
static void rewrite_as_now(struct fleet *fleet, const struct terminal_key *key, int64_t now_us)
{
    char iso[28];
    struct error err;
    clock_format_iso(now_us, iso);
    if (store_put_activity(fleet->options.store, &(struct activity_update){ key->user_id, key->policy_id, key->context_id, iso }, 1, &err) < 0)
        log_warning("an activity that lies ahead could not be rewritten", LOG_STR("user", key->user_id), LOG_ERR(&err));
}

int64_t idle_read_activity(struct fleet *fleet, const struct terminal_key *key)
{
    cleanup_json json_t *state = NULL;
    struct error err;
    if (store_get_state(fleet->options.store, key->user_id, key->policy_id, key->context_id, &state, &err) < 0) {
        if (err.class != ERR_NOT_FOUND)
            log_warning("the last activity of a terminal could not be read", LOG_STR("user", key->user_id), LOG_ERR(&err));
        return 0;
    }
    int64_t wall_us, now_us = clock_wall_us();
    const char *text = json_text(json_object_get(state, "activity"), "last_seen_at");
    if (!text || !clock_parse_iso(text, &wall_us))
        return 0;
    if (wall_us > now_us)
        rewrite_as_now(fleet, key, now_us);
    return monotonic_ms_of(wall_us);
}

struct change {
    struct terminal *terminal;          /* a reference */
    int64_t last_active_ms;
    char iso[28];
};

static size_t collect_changes(struct fleet *fleet, struct change **changes)
{
    WITH_LOCK(fleet);
    size_t count = 0, position = 0;
    *changes = xcalloc(fleet->by_key.count + 1, sizeof **changes);
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        int64_t last_active_ms = terminal_last_active(terminal);
        if (last_active_ms == 0 || last_active_ms == terminal->written_active_ms)
            continue;
        terminal->references++;
        struct change *change = &(*changes)[count++];
        *change = (struct change){ .terminal = terminal, .last_active_ms = last_active_ms };
        clock_format_iso(wall_us_of(last_active_ms), change->iso);
    }
    return count;
}

static int store_changes(struct fleet *fleet, const struct change *changes, size_t count, struct error *err)
{
    cleanup_free struct activity_update *updates = xcalloc(count + 1, sizeof *updates);
    for (size_t i = 0; i < count; i++) {
        const struct terminal_key *key = changes[i].terminal->key;
        updates[i] = (struct activity_update){ key->user_id, key->policy_id, key->context_id, changes[i].iso };
    }
    return store_put_activity(fleet->options.store, updates, count, err);
}

/* Tells the engine's own bookkeeping, where it has one. */
static void report_changes(struct fleet *fleet, const struct change *changes, size_t count)
{
    struct backend *backend = fleet->options.backend;
    for (size_t i = 0; backend->ops->report_activity && i < count; i++)
        backend->ops->report_activity(backend, &(struct terminal_ref){ .key = changes[i].terminal->key },
                                      wall_us_of(changes[i].last_active_ms));
}

void idle_write_activity(struct fleet *fleet)
{
    cleanup_free struct change *changes = NULL;
    size_t count = collect_changes(fleet, &changes);
    if (count == 0)
        return;
    struct error err;
    bool written = store_changes(fleet, changes, count, &err) == 0;
    if (written)
        report_changes(fleet, changes, count);
    else
        log_warning("activity could not be written; it is tried again", LOG_INT("terminals", count), LOG_ERR(&err));
    WITH_LOCK(fleet);
    for (size_t i = 0; i < count; i++) {
        changes[i].terminal->references--;
        if (written)
            changes[i].terminal->written_active_ms = changes[i].last_active_ms;
    }
}
