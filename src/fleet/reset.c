/* Resets: when a home is due to be emptied, and the emptying.
 *
 * The row of the database is the only memory: {reset: {schedule, timezone, last_applied_at, next_due_at}}. It is read anew whenever a
 * terminal is absent and about to start or to be forgotten, so that several replicas of us, or a crash between wipe and mark, lead to one
 * wipe too many at worst and never to one too few. For the same reason the row is written before a wipe as well as after it: a database that
 * takes no mark would have the same home emptied at every sweep and start, so there a reset that is due waits. */
#include "fleet/internal.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "policy/schedule.h"

static void schedule_free_pointer(struct schedule **place) { schedule_free(*place); }
#define cleanup_schedule __attribute__((cleanup(schedule_free_pointer)))

/* --- the state as JSON --- */

static const char *text_or_empty(const json_t *object, const char *key)
{
    const char *text = json_text(object, key);
    return text ? text : "";
}

static json_t *reset_of(const json_t *data)
{
    json_t *reset = json_object_get(data, "reset");
    return json_is_object(reset) ? reset : NULL;
}

static bool has_schedule(const json_t *lifecycle)
{
    return *text_or_empty(reset_of(lifecycle), "schedule") != '\0';
}

static json_t *reset_for_writing(json_t *state)
{
    if (!reset_of(state))
        json_object_set_new(state, "reset", json_pack("{s:n, s:n, s:n, s:n}", "schedule", "timezone", "last_applied_at", "next_due_at"));
    return reset_of(state);
}

static void set_time(json_t *reset, const char *key, int64_t wall_us)
{
    char text[28];
    clock_format_iso(wall_us, text);
    json_object_set_new(reset, key, wall_us == INT64_MAX ? json_null() : json_string(text));
}

static bool get_time(const json_t *reset, const char *key, int64_t *wall_us)
{
    const char *text = json_text(reset, key);
    return text && clock_parse_iso(text, wall_us);
}

static void set_text(json_t *reset, const char *key, const char *text)
{
    json_object_set_new(reset, key, *text ? json_string(text) : json_null());
}

/* NULL for one that cannot be read, which is ignored; the sweep tells of it. */
static struct schedule *parse_schedule(const json_t *lifecycle, struct error *err)
{
    const json_t *wanted = reset_of(lifecycle);
    return schedule_parse(json_text(wanted, "schedule"), json_text(wanted, "timezone"), err);
}

static bool is_reckoned(const json_t *reset, const json_t *wanted)
{
    int64_t at;
    return strcmp(text_or_empty(reset, "schedule"), text_or_empty(wanted, "schedule")) == 0 &&
           strcmp(text_or_empty(reset, "timezone"), text_or_empty(wanted, "timezone")) == 0 &&
           (get_time(reset, "next_due_at", &at) || get_time(reset, "last_applied_at", &at));
}

bool reset_reckon(json_t *state, const json_t *lifecycle, int64_t now_us)
{
    if (!has_schedule(lifecycle) && *text_or_empty(reset_of(state), "schedule") == '\0')
        return false;
    const json_t *wanted = reset_of(lifecycle);
    if (has_schedule(lifecycle) && is_reckoned(reset_of(state), wanted))
        return false;
    struct error why;
    cleanup_schedule struct schedule *schedule = parse_schedule(lifecycle, &why);
    if (!schedule)
        return false;
    json_t *reset = reset_for_writing(state);
    set_text(reset, "schedule", text_or_empty(wanted, "schedule"));
    set_text(reset, "timezone", text_or_empty(wanted, "timezone"));
    set_time(reset, "next_due_at", schedule_next(schedule, now_us));
    return true;
}

bool reset_is_due(const json_t *state, int64_t now_us)
{
    int64_t due_us;
    return get_time(reset_of(state), "next_due_at", &due_us) && due_us <= now_us;
}

void reset_mark(json_t *state, const json_t *lifecycle, int64_t now_us)
{
    bool was_due = reset_is_due(state, now_us);
    json_t *reset = reset_for_writing(state);
    set_time(reset, "last_applied_at", now_us);
    if (!was_due)
        return;
    struct error why;
    cleanup_schedule struct schedule *schedule = parse_schedule(lifecycle, &why);
    bool again = schedule && !schedule_is_once(schedule);
    set_time(reset, "next_due_at", again ? schedule_next(schedule, now_us) : INT64_MAX);
}

/* --- applying --- */

/* The row's data, or an empty object when there is none. NULL when the database fails. */
static json_t *load_state(struct fleet *fleet, const struct terminal_key *key, struct error *err)
{
    json_t *state = NULL;
    int result = store_get_state(fleet->options.store, key->user_id, key->policy_id, key->context_id, &state, err);
    if (result < 0)
        return err->class == ERR_NOT_FOUND ? json_object() : NULL;
    if (json_is_object(state))
        return state;
    json_decref(state);
    return json_object();
}

static bool save_state(struct fleet *fleet, const struct terminal_key *key, const json_t *state)
{
    struct error err;
    if (store_put_state(fleet->options.store, key->user_id, key->policy_id, key->context_id, state, &err) == 0)
        return true;
    log_warning("the reset state of a terminal could not be written; a reset that is due waits for it", LOG_STR("user", key->user_id), LOG_ERR(&err));
    return false;
}

static int wipe(struct fleet *fleet, const struct terminal_ref *ref, struct error *err)
{
    struct backend *backend = fleet->options.backend;
    if (backend->ops->wipe(backend, ref, err) < 0) {
        metric_add(fleet->counters.failed_resets, 1);
        return error_wrap(err, "emptying the home of %s", ref->name);
    }
    metric_add(fleet->counters.resets, 1);
    log_info("home is emptied", LOG_STR("terminal", ref->name), LOG_STR("user", ref->key->user_id));
    return 0;
}

static int apply(struct fleet *fleet, const struct terminal_ref *ref, const json_t *lifecycle, bool requested, bool *done,
                 struct error *err)
{
    cleanup_json json_t *state = load_state(fleet, ref->key, err);
    if (!state) {
        log_warning("whether a reset is due is not known", LOG_STR("terminal", ref->name), LOG_ERR(err));
        if (!requested)
            return 0;
        state = json_object();
    }
    int64_t now_us = clock_wall_us();
    bool changed = reset_reckon(state, lifecycle, now_us), due = reset_is_due(state, now_us);
    bool can_be_marked = (!changed && !due) || save_state(fleet, ref->key, state);
    if (!requested && !(due && can_be_marked))
        return 0;
    if (wipe(fleet, ref, err) < 0)
        return -1;
    *done = true;
    reset_mark(state, lifecycle, now_us);
    (void)save_state(fleet, ref->key, state);
    return 0;
}

int reset_apply(struct fleet *fleet, const struct terminal_ref *ref, bool requested, bool *done, struct error *err)
{
    cleanup_json json_t *lifecycle = NULL;
    *done = false;
    if (store_get_lifecycle(fleet->options.store, ref->key->policy_id, &lifecycle, err) < 0)
        log_warning("whether a reset is due is not known", LOG_STR("terminal", ref->name), LOG_ERR(err));
    if (!requested && !has_schedule(lifecycle))
        return 0;
    return apply(fleet, ref, lifecycle, requested, done, err);
}

void reset_conclude(struct terminal *terminal, bool emptied, const struct error *why)
{
    terminal->resets_done += emptied;
    if (emptied || (why && why->class == ERR_CONFLICT))
        terminal->reset_requested = false;
}

/* --- the sweep --- */

/* Takes `by_policy` for the lifecycles of the last sweep, and gives those of the one before; the caller owns them. */
static json_t *exchange_swept(struct fleet *fleet, json_t *by_policy)
{
    WITH_LOCK(fleet);
    json_t *before = fleet->swept_lifecycles;
    fleet->swept_lifecycles = json_incref(by_policy);
    return before;
}

/* Tells of schedules that cannot be read, once when they are first seen: not at each sweep, and not for each terminal. */
static void warn_unreadable(struct fleet *fleet, json_t *by_policy)
{
    cleanup_json json_t *before = exchange_swept(fleet, by_policy);
    const char *id;
    json_t *lifecycle;
    json_object_foreach(by_policy, id, lifecycle) {
        struct error why;
        if (json_equal(lifecycle, json_object_get(before, id)))
            continue;
        cleanup_schedule struct schedule *schedule = parse_schedule(lifecycle, &why);
        if (!schedule)
            log_warning("a stored reset schedule cannot be read and is ignored", LOG_STR("policy", id),
                        LOG_STR("schedule", json_text(reset_of(lifecycle), "schedule")), LOG_ERR(&why));
    }
}

/* The lifecycles by policy, or NULL when there is nothing to look at: no policy has a schedule, and none can have had one since the
 * last `thorough` sweep. */
static json_t *load_schedules(struct fleet *fleet, bool thorough)
{
    cleanup_json json_t *by_policy = NULL;
    struct error err;
    if (store_list_lifecycles(fleet->options.store, &by_policy, &err) < 0) {
        log_warning("resets are not looked at: the database does not answer", LOG_ERR(&err));
        return NULL;
    }
    warn_unreadable(fleet, by_policy);
    const char *id;
    json_t *lifecycle;
    json_object_foreach(by_policy, id, lifecycle)
        thorough = thorough || has_schedule(lifecycle);
    return thorough ? json_incref(by_policy) : NULL;
}

static void look_at(struct fleet *fleet, const json_t *by_policy, const struct terminal_key *key, json_t *state)
{
    const json_t *lifecycle = json_object_get(by_policy, key->policy_id);
    int64_t now_us = clock_wall_us();
    if (!json_is_object(state))
        return;
    bool changed = reset_reckon(state, lifecycle, now_us), due = has_schedule(lifecycle) && reset_is_due(state, now_us);
    if ((changed || due) && !save_state(fleet, key, state))
        return;                         /* nor is the terminal stopped again and again for a reset that has to wait */
    if (due)
        stop_for_reset(fleet, key);
}

/* Looks at each row; `seen` then holds the keys that have one. */
static int sweep_rows(struct fleet *fleet, const json_t *by_policy, struct map *seen, struct error *err)
{
    struct state_row *rows = NULL;
    size_t count = 0;
    if (store_list_states(fleet->options.store, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct terminal_key key = { rows[i].user_id, rows[i].policy_id, rows[i].context_id };
        size_t len;
        cleanup_free char *bytes = table_key_bytes(&key, &len);
        (void)map_put(seen, str_of(bytes, len), fleet);
        look_at(fleet, by_policy, &key, rows[i].data);
        state_row_clear(&rows[i]);
    }
    free(rows);
    return 0;
}

static size_t copy_live_keys(struct fleet *fleet, const struct map *seen, struct terminal_key ***keys)
{
    WITH_LOCK(fleet);
    size_t count = 0, position = 0;
    *keys = xcalloc(fleet->by_key.count + 1, sizeof **keys);
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        size_t len;
        cleanup_free char *bytes = table_key_bytes(terminal->key, &len);
        if (terminal_is_live(terminal) && !map_get(seen, str_of(bytes, len)))
            (*keys)[count++] = terminal_key_copy(terminal->key);
    }
    return count;
}

/* Terminals that run and have no row yet: from now on their resets are reckoned. */
static void sweep_live(struct fleet *fleet, const json_t *by_policy, const struct map *seen)
{
    struct terminal_key **keys;
    size_t count = copy_live_keys(fleet, seen, &keys);
    for (size_t i = 0; i < count; i++) {
        cleanup_json json_t *state = json_object();
        look_at(fleet, by_policy, keys[i], state);
        terminal_key_free(keys[i]);
    }
    free(keys);
}

void reset_sweep(struct fleet *fleet, bool thorough)
{
    if (!fleet_is_ready(fleet, NULL))
        return;
    cleanup_json json_t *by_policy = load_schedules(fleet, thorough);
    if (!by_policy)
        return;
    struct map seen = { 0 };
    struct error err;
    if (sweep_rows(fleet, by_policy, &seen, &err) == 0)
        sweep_live(fleet, by_policy, &seen);
    else
        log_warning("resets are not looked at: the database does not answer", LOG_ERR(&err));
    map_free(&seen, NULL);
}
