/* Which starts may go on, and when: an engine that makes two containers at a time well makes twenty badly. First come, first served.
 *
 * A slot is held until the guest is ready, since its boot costs the same processors, but for SLOT_HOLD_MS at most: what takes longer
 * waits for a pull or for packages, and others need not wait with it. */
#include "fleet/internal.h"

#include "base/clock.h"

static unsigned slots(const struct fleet *fleet)
{
    unsigned wanted = fleet->options.max_starts ? fleet->options.max_starts : fleet->options.backend->best_parallel_starts;
    return wanted ? wanted : MAX_STARTS_CALLING;
}

static bool has_room(const struct fleet *fleet)
{
    return fleet->holding_count < slots(fleet) && fleet->starts_calling < MAX_STARTS_CALLING;
}

static void leave_list(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->admission == ADMISSION_WAITING)
        fleet->waiting_count--;
    if (terminal->admission == ADMISSION_HOLDING)
        fleet->holding_count--;
    list_remove(&terminal->admission_node);
}

static void hold_slot(struct fleet *fleet, struct terminal *terminal)
{
    leave_list(fleet, terminal);
    list_append(&fleet->holding_starts, &terminal->admission_node);
    fleet->holding_count++;
    terminal->admission = ADMISSION_HOLDING;
    terminal->admitted_ms = clock_monotonic_ms();
}

bool admission_enter(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->admission == ADMISSION_HOLDING || terminal->admission == ADMISSION_PASSED)
        return true;
    if (terminal->admission == ADMISSION_NONE) {
        terminal->admission = ADMISSION_WAITING;
        list_append(&fleet->waiting_starts, &terminal->admission_node);
        fleet->waiting_count++;
    }
    if (list_first(&fleet->waiting_starts) != &terminal->admission_node || !has_room(fleet))
        return false;
    hold_slot(fleet, terminal);
    return true;
}

void admission_next(struct fleet *fleet)
{
    while (!list_is_empty(&fleet->waiting_starts) && has_room(fleet)) {
        struct terminal *terminal = LIST_ENTRY(list_first(&fleet->waiting_starts), struct terminal, admission_node);
        hold_slot(fleet, terminal);
        reconcile_soon(fleet, terminal);
    }
}

void admission_leave(struct fleet *fleet, struct terminal *terminal)
{
    leave_list(fleet, terminal);
    terminal->admission = ADMISSION_NONE;
    admission_next(fleet);
}

void admission_expire(struct fleet *fleet, int64_t now_ms)
{
    LIST_FOR_EACH_SAFE(node, &fleet->holding_starts) {
        struct terminal *terminal = LIST_ENTRY(node, struct terminal, admission_node);
        if (now_ms - terminal->admitted_ms < SLOT_HOLD_MS)
            continue;
        leave_list(fleet, terminal);
        terminal->admission = ADMISSION_PASSED;
    }
    admission_next(fleet);
}

int admission_check_limits(struct fleet *fleet, const struct terminal_key *key, struct error *err)
{
    unsigned live = fleet->by_phase[TERMINAL_STARTING] + fleet->by_phase[TERMINAL_READY] + fleet->by_phase[TERMINAL_STOPPING];
    unsigned limit = fleet->options.max_terminals, user_limit = fleet->options.max_terminals_per_user;
    if (limit && live >= limit)
        return error_set(err, ERR_LIMIT, "the limit of %u terminals is reached; stop some or raise TERMINALS_MAX_TERMINALS", limit);
    if (user_limit && strcmp(key->user_id, SYSTEM_USER_ID) != 0 && table_live_of_user(fleet, key->user_id) >= user_limit)
        return error_set(err, ERR_LIMIT, "the limit of %u terminals per user is reached; stop one first", user_limit);
    return 0;
}
