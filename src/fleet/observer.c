/* What the engine tells, made into the observed state of terminals. Events may come late, twice, or never; a listing puts right what was
 * lost. Nothing is decided here: a terminal whose observed state was touched is put into the work queue. */
#include "fleet/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

static struct fleet *fleet_of(struct observer *observer)
{
    return CONTAINER_OF(observer, struct fleet, observer);
}

static bool is_alive(enum observed_phase phase)
{
    return phase == OBSERVED_STARTING || phase == OBSERVED_RUNNING;
}

static bool same_text(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void replace_text(char **place, const char *text)
{
    if (!text || same_text(*place, text))
        return;
    free(*place);
    *place = xstrdup(text);
}

/* The instance is not there. `for_good`: the engine has named it as ended or replaced, so what is still told of it is old news; one that is only not
 * found may be found again (a container that was renamed and renamed back, a listing that was older than it). */
static void forget_instance(struct fleet *fleet, struct terminal *terminal, bool for_good)
{
    health_cancel_probe(fleet, terminal);
    if (for_good && terminal->observed.instance_id) {
        free(terminal->retired_instance);
        terminal->retired_instance = steal(&terminal->observed.instance_id);
    }
    observed_clear(&terminal->observed);
    terminal->healthy = false;
    if (terminal->call != CALL_START)
        secret_free(steal(&terminal->guest_key));
}

/* Whether an observation tells nothing about the terminal as it is now. */
static bool is_old_news(const struct terminal *terminal, const struct observation *seen)
{
    const struct observed *known = &terminal->observed;
    const char *id = seen->instance_id;
    if (id && same_text(id, terminal->retired_instance))
        return true;
    if (seen->phase == OBSERVED_ABSENT && id && known->instance_id && strcmp(id, known->instance_id) != 0)
        return true;
    /* Events cross with listings: a container does not go back from running to created. */
    if (seen->phase == OBSERVED_STARTING && known->phase == OBSERVED_RUNNING && same_text(id, known->instance_id))
        return true;
    /* During a start call the remains of the last instance are being removed. */
    if (terminal->call == CALL_START && !id)
        return seen->phase == OBSERVED_ABSENT || (!is_alive(seen->phase) && known->phase == OBSERVED_ABSENT);
    return false;
}

static bool endpoint_differs(const struct endpoint *known, const struct endpoint *seen)
{
    return known && (known->address_len != seen->address_len ||
                     memcmp(&known->address, &seen->address, known->address_len) != 0);
}

static void record_endpoint(struct fleet *fleet, struct terminal *terminal, const struct endpoint *seen)
{
    struct observed *known = &terminal->observed;
    if (seen->address_len == 0)
        return;
    if (endpoint_differs(known->endpoint, seen)) {
        health_cancel_probe(fleet, terminal);
        terminal->healthy = false;
    }
    if (!known->endpoint)
        known->endpoint = xmalloc(sizeof *known->endpoint);
    *known->endpoint = *seen;
}

static void record_guest_key(struct terminal *terminal, const char *guest_key)
{
    struct observed *known = &terminal->observed;
    if (!guest_key || (known->guest_key && secret_equal(str_from(known->guest_key), str_from(guest_key))))
        return;
    terminal->healthy = terminal->healthy && !known->guest_key;
    secret_free(known->guest_key);
    known->guest_key = xstrdup(guest_key);
}

static void record(struct fleet *fleet, struct terminal *terminal, const struct observation *seen)
{
    struct observed *known = &terminal->observed;
    if (seen->phase == OBSERVED_ABSENT)
        return forget_instance(fleet, terminal, seen->instance_id != NULL);
    if (seen->instance_id && known->instance_id && strcmp(seen->instance_id, known->instance_id) != 0)
        forget_instance(fleet, terminal, true);
    if (known->phase == OBSERVED_RUNNING && seen->phase != OBSERVED_RUNNING)
        terminal->healthy = false;
    if (known->phase != seen->phase)
        known->since_ms = clock_monotonic_ms();
    known->phase = seen->phase;
    known->ready = seen->ready;
    if (known->preparing && !seen->preparing && terminal->phase == TERMINAL_STARTING)
        reconcile_restart_clock(fleet, terminal);
    known->preparing = seen->preparing;
    known->failure = seen->failure;
    replace_text(&known->instance_id, seen->instance_id);
    replace_text(&known->image, seen->image);
    free(steal(&known->message));
    replace_text(&known->message, seen->message);
    record_guest_key(terminal, seen->guest_key);
    record_endpoint(fleet, terminal, &seen->endpoint);
}

/* Two containers may claim one key (the original's and ours): the one that lives is the terminal. Under another name it may be the same one, renamed. */
static bool is_of_other_container(const struct terminal *terminal, const struct observation *seen)
{
    if (!seen->name || strcmp(seen->name, terminal->name) == 0 || same_text(seen->instance_id, terminal->observed.instance_id))
        return false;
    if (seen->phase == OBSERVED_ABSENT)
        return true;
    return terminal->observed.phase != OBSERVED_ABSENT &&
           (is_alive(terminal->observed.phase) || !is_alive(seen->phase));
}

static struct terminal *find_or_add(struct fleet *fleet, const struct observation *seen)
{
    struct terminal *terminal = seen->key ? table_find(fleet, seen->key) : table_find_name(fleet, seen->name);
    if (!terminal && seen->key && seen->phase != OBSERVED_ABSENT)
        terminal = table_add(fleet, seen->key);
    return terminal;
}

static void observe(struct observer *observer, const struct observation *seen)
{
    struct fleet *fleet = fleet_of(observer);
    WITH_LOCK(fleet);
    struct terminal *terminal = find_or_add(fleet, seen);
    if (!terminal)
        return;
    if (is_of_other_container(terminal, seen)) {
        log_debug("another container claims the terminal", LOG_STR("terminal", terminal->name), LOG_STR("container", seen->name));
        return;
    }
    if (is_old_news(terminal, seen))
        return;
    terminal->seen = fleet->listing;
    record(fleet, terminal, seen);
    if (seen->name)
        table_rename(fleet, terminal, seen->name);
    reconcile_soon(fleet, terminal);
}

static void listing_begin(struct observer *observer)
{
    struct fleet *fleet = fleet_of(observer);
    WITH_LOCK(fleet);
    fleet->listing++;
    fleet->listing_open = true;
}

static void listing_end(struct observer *observer)
{
    struct fleet *fleet = fleet_of(observer);
    WITH_LOCK(fleet);
    if (!fleet->listing_open)
        return;
    fleet->listing_open = false;
    bool first = !fleet->listed;
    fleet->listed = true;
    if (first)
        fleet->listed_at_ms = clock_monotonic_ms();
    fleet->unreachable = false;
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));) {
        bool missing = terminal->observed.phase != OBSERVED_ABSENT && terminal->seen != fleet->listing &&
                       terminal->call != CALL_START;
        if (missing)
            forget_instance(fleet, terminal, false);
        if (missing || first)
            reconcile_soon(fleet, terminal);
    }
    if (first)
        log_info("the engine has listed its terminals", LOG_INT("known", fleet->by_key.count));
}

static void keep(struct observer *observer, const char *name)
{
    struct fleet *fleet = fleet_of(observer);
    WITH_LOCK(fleet);
    struct terminal *terminal = table_find_name(fleet, name);
    if (terminal)
        terminal->seen = fleet->listing;
}

static void reachable(struct observer *observer, const struct error *err)
{
    struct fleet *fleet = fleet_of(observer);
    WITH_LOCK(fleet);
    bool changed = fleet->unreachable != (err != NULL);
    fleet->unreachable = err != NULL;
    if (!err) {
        if (changed)
            log_info("the engine can be reached again");
        return;
    }
    fleet->unreachable_reason = *err;
    fleet->unreachable_reason.class = ERR_UNAVAILABLE;
    if (changed)
        log_warning("the engine cannot be reached; it is tried again and again", LOG_ERR(err), LOG_STR("to_do", "`terminals doctor` says what"));
    if (fleet->listed)
        return;
    size_t position = 0;
    for (struct terminal *terminal; (terminal = table_next(fleet, &position));)
        reconcile_refuse_start(fleet, terminal, &fleet->unreachable_reason);
}

void observer_init(struct fleet *fleet)
{
    fleet->observer = (struct observer){
        .observe = observe, .listing_begin = listing_begin, .listing_end = listing_end, .keep = keep, .reachable = reachable,
    };
}
