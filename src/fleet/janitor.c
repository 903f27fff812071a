/* The one thread for all periodic work: calls that hang, idle terminals, resets, activity to be written, terminals to be forgotten. */
#include "fleet/internal.h"

#include "base/clock.h"

enum { TICK_MS = 1000, FIRST_RESET_SWEEP_MS = 5000 };

void janitor_expire(struct fleet *fleet)
{
    WITH_LOCK(fleet);
    int64_t now_ms = clock_monotonic_ms();
    LIST_FOR_EACH_SAFE(node, &fleet->calling) {
        struct terminal *terminal = LIST_ENTRY(node, struct terminal, calling_node);
        if (now_ms >= terminal->call_deadline_ms)
            reconcile_expire_call(fleet, terminal);
    }
    admission_expire(fleet, now_ms);
}

/* Takes those out of the table that need not be known any more. The caller frees them and the array. */
static size_t take_forgettable(struct fleet *fleet, struct terminal ***taken)
{
    WITH_LOCK(fleet);
    size_t count = 0, position = 0;
    *taken = xcalloc(fleet->by_phase[TERMINAL_ABSENT] + fleet->by_phase[TERMINAL_FAILED] + 1, sizeof **taken);
    int64_t now_ms = clock_monotonic_ms();
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        if (!terminal_is_forgettable(terminal, now_ms))
            continue;
        table_remove(fleet, terminal);
        (*taken)[count++] = terminal;
    }
    return count;
}

void janitor_forget(struct fleet *fleet)
{
    struct terminal **taken;
    size_t count = take_forgettable(fleet, &taken);
    for (size_t i = 0; i < count; i++) {
        workqueue_remove(fleet->queue, &taken[i]->work);
        terminal_free(taken[i]);
    }
    free(taken);
}

/* Sleeps for a tick at most. False when the fleet ends. */
static bool wait_for_tick(struct fleet *fleet, bool *policies_changed)
{
    struct timespec until = clock_deadline(TICK_MS);
    WITH_LOCK(fleet);
    if (!fleet->stopping && !fleet->policies_changed)
        pthread_cond_timedwait(&fleet->janitor_wakes, &fleet->lock, &until);
    *policies_changed = fleet->policies_changed;
    fleet->policies_changed = false;
    return !fleet->stopping;
}

static bool is_due(int64_t *due_ms, int64_t interval_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms < *due_ms)
        return false;
    *due_ms = now_ms + interval_ms;
    return true;
}

void *janitor_run(void *argument)
{
    struct fleet *fleet = argument;
    int64_t now_ms = clock_monotonic_ms(), activity_ms = (fleet->options.activity_interval_s ? fleet->options.activity_interval_s : 1) * 1000LL;
    int64_t idle_due = now_ms + IDLE_SWEEP_MS, reset_due = now_ms + FIRST_RESET_SWEEP_MS, activity_due = now_ms + activity_ms;
    bool policies_changed, first = true;
    while (wait_for_tick(fleet, &policies_changed)) {
        janitor_expire(fleet);
        if (is_due(&activity_due, activity_ms))
            idle_write_activity(fleet);
        if (is_due(&idle_due, IDLE_SWEEP_MS)) {
            idle_sweep(fleet);
            janitor_forget(fleet);
        }
        if (is_due(&reset_due, RESET_SWEEP_MS) || policies_changed) {
            reset_sweep(fleet, policies_changed || first);
            first = false;
        }
    }
    return NULL;
}
