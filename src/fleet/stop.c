/* Stopping on request: all that match at once, then one wait for all of them. */
#include "fleet/internal.h"

#include "base/clock.h"

struct target {
    struct terminal *terminal;          /* a reference */
    uint64_t stops_ended, resets_done;  /* as they were before */
};

struct stop_job {
    struct target *targets;
    size_t count, cap;
    const struct terminal_filter *filter;
    bool only_idle, reset;
    struct stop_result *result;
};

static void add_target(struct fleet *fleet, struct stop_job *job, struct terminal *terminal)
{
    if (job->count == job->cap) {
        job->cap = job->cap ? job->cap * 2 : 16;
        job->targets = xrealloc(job->targets, job->cap * sizeof *job->targets);
    }
    terminal->references++;
    job->targets[job->count++] = (struct target){ terminal, terminal->stops_ended, terminal->resets_done };
    reconcile_begin_stop(fleet, terminal, STOP_REQUESTED, job->reset);
}

/* For `only_idle`: no live socket, nothing under way, and no byte for refresh_idle_s. */
static bool is_quiet(const struct terminal *terminal, const void *context)
{
    const struct fleet *fleet = context;
    const struct route *route = terminal->route;
    int64_t quiet_ms = clock_monotonic_ms() - atomic_load(&route->last_traffic_ms);
    return atomic_load(&route->websockets) == 0 && atomic_load(&route->active_requests) == 0 &&
           quiet_ms >= (int64_t)fleet->options.refresh_idle_s * 1000;
}

static bool is_in_use(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->phase == TERMINAL_READY)
        return !terminal_withdraw_if_idle(terminal, is_quiet, fleet);
    return !list_is_empty(&terminal->waiters);
}

static void consider(struct fleet *fleet, struct stop_job *job, struct terminal *terminal)
{
    job->result->matched++;
    if (job->only_idle && is_in_use(fleet, terminal))
        job->result->skipped_active++;
    else
        add_target(fleet, job, terminal);
}

static bool is_known_to_engine(const struct terminal *terminal)
{
    return terminal_is_live(terminal) || terminal->observed.phase != OBSERVED_ABSENT;
}

static void stop_known(struct fleet *fleet, struct stop_job *job)
{
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));)
        if (is_known_to_engine(terminal) && table_matches(terminal, job->filter))
            consider(fleet, job, terminal);
}

/* Homes of terminals that do not run: the database knows who ever used one. */
static void reset_unknown(struct fleet *fleet, struct stop_job *job, const struct state_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct terminal_key key = { rows[i].user_id, rows[i].policy_id, rows[i].context_id };
        struct terminal *terminal = table_find(fleet, &key);
        if ((terminal && is_known_to_engine(terminal)) || !table_matches(&(struct terminal){ .key = &key }, job->filter))
            continue;
        consider(fleet, job, terminal ? terminal : table_add(fleet, &key));
    }
}

static int check_engine(const struct fleet *fleet, struct error *err)
{
    if (fleet->stopping)
        return error_set(err, ERR_UNAVAILABLE, "the service is shutting down");
    if (fleet->unreachable) {
        if (err)
            *err = fleet->unreachable_reason;
        return -1;
    }
    return fleet->listed ? 0 : error_set(err, ERR_UNAVAILABLE, "the engine has not listed its terminals yet");
}

static int begin(struct fleet *fleet, struct stop_job *job, const struct state_row *rows, size_t count, struct error *err)
{
    WITH_LOCK(fleet);
    if (check_engine(fleet, err) < 0)
        return -1;
    stop_known(fleet, job);
    reset_unknown(fleet, job, rows, count);
    return 0;
}

static bool has_ended(const struct target *target)
{
    return target->terminal->stops_ended != target->stops_ended;
}

/* (locked, unlocks while it waits) */
static void wait_for_targets(struct fleet *fleet, const struct stop_job *job)
{
    struct timespec until = clock_deadline((fleet->options.stop_timeout_s + 1) * 1000);     /* one second more: the terminal's own verdict comes first */
    for (size_t i = 0; i < job->count && !fleet->stopping;) {
        if (has_ended(&job->targets[i]))
            i++;
        else if (pthread_cond_timedwait(&fleet->settled, &fleet->lock, &until) != 0)
            return;
    }
}

static int conclude(struct fleet *fleet, struct stop_job *job, struct error *err)
{
    WITH_LOCK(fleet);
    wait_for_targets(fleet, job);
    size_t failed = 0;
    for (size_t i = 0; i < job->count; i++) {
        struct terminal *terminal = job->targets[i].terminal;
        bool has_failed = terminal->failed_stop > job->targets[i].stops_ended;
        bool stopped = has_ended(&job->targets[i]) && !has_failed;
        job->result->stopped += stopped;
        job->result->reset += terminal->resets_done != job->targets[i].resets_done;
        terminal->references--;
        if (stopped || failed++ > 0)
            continue;
        if (has_failed)
            error_set(err, terminal->stop_failure->class, "%s", terminal->stop_failure->text);
        else if (fleet->stopping)
            error_set(err, ERR_UNAVAILABLE, "the service is shutting down");
        else
            error_set(err, ERR_TIMEOUT, "the terminal did not stop within %u s", fleet->options.stop_timeout_s);
        error_wrap(err, "stopping %s", terminal->name);
    }
    return failed == 0 ? 0 : -1;
}

int fleet_stop(struct fleet *fleet, const struct terminal_filter *filter, bool only_idle, bool reset,
               struct stop_result *result, struct error *err)
{
    struct stop_job job = { .filter = filter, .only_idle = only_idle, .reset = reset, .result = result };
    struct state_row *rows = NULL;
    size_t count = 0;
    *result = (struct stop_result){ 0 };
    if (reset)
        idle_write_activity(fleet);     /* or those used a moment ago would not be in the database yet */
    if (reset && store_list_states(fleet->options.store, &rows, &count, err) < 0)
        return -1;
    int status = begin(fleet, &job, rows, count, err);
    for (size_t i = 0; i < count; i++)
        state_row_clear(&rows[i]);
    free(rows);
    if (status == 0)
        status = conclude(fleet, &job, err);
    free(job.targets);
    return status;
}

void stop_for_reset(struct fleet *fleet, const struct terminal_key *key)
{
    WITH_LOCK(fleet);
    struct terminal *terminal = table_find(fleet, key);
    if (!terminal)
        terminal = table_add(fleet, key);
    bool looks_itself = terminal->phase == TERMINAL_STARTING || terminal->phase == TERMINAL_STOPPING ||
                        terminal->wanted == WANTED_GONE;
    if (!looks_itself)
        reconcile_begin_stop(fleet, terminal, STOP_RESET, false);
}
