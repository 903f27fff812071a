/* The border around everything that blocks: the lock is let go, the terminal is marked as being worked on, and the janitor sees how long
 * the call has lasted already. The work queue sees to it that there is one call for a terminal at most. */
#include "fleet/internal.h"

#include "base/clock.h"

static void count_call(struct fleet *fleet, enum terminal_call call, int change)
{
    if (call == CALL_START)
        fleet->starts_calling += (unsigned)change;
    if (call == CALL_STOP || call == CALL_RESET)
        fleet->stops_calling += (unsigned)change;
}

void call_begin(struct fleet *fleet, struct terminal *terminal, enum terminal_call call, int64_t timeout_ms)
{
    ASSERT(terminal->call == CALL_NONE);
    terminal->call = call;
    terminal->call_deadline_ms = clock_monotonic_ms() + timeout_ms;
    list_append(&fleet->calling, &terminal->calling_node);
    count_call(fleet, call, 1);
    pthread_mutex_unlock(&fleet->lock);
}

void call_end(struct fleet *fleet, struct terminal *terminal)
{
    pthread_mutex_lock(&fleet->lock);
    count_call(fleet, terminal->call, -1);
    bool was_start = terminal->call == CALL_START;
    terminal->call = CALL_NONE;
    list_remove(&terminal->calling_node);
    if (was_start)
        admission_next(fleet);
}
