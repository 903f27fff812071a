/* Looks at what is wanted and what is observed, and takes one step. It does not matter why it is called, how often, or what happened before:
 * the same state gives the same step. Only the work queue calls it, for each terminal on one thread at a time. */
#include "fleet/internal.h"

#include "base/clock.h"
#include "base/log.h"

enum { ADOPT_UNFINISHED_MS = 30000, CLEAR_AWAY_MS = 10000, WAIT_FOR_SLOT_MS = 100, DIAGNOSE_TIMEOUT_MS = 30000 };

void reconcile_soon(struct fleet *fleet, struct terminal *terminal)
{
    workqueue_add(fleet->queue, &terminal->work);
}

static void reconcile_after(struct fleet *fleet, struct terminal *terminal, int64_t delay_ms)
{
    workqueue_add_after(fleet->queue, &terminal->work, delay_ms > 1 ? delay_ms : 1);
}

/* --- beginnings --- */

void reconcile_begin_start(struct fleet *fleet, struct terminal *terminal)
{
    terminal->wanted = WANTED_RUNNING;
    terminal->own_start = true;
    terminal->deadline_ms = 0;
    terminal_change_phase(fleet, terminal, TERMINAL_STARTING, NULL);
    reconcile_soon(fleet, terminal);
}

void reconcile_begin_stop(struct fleet *fleet, struct terminal *terminal, enum stop_reason reason, bool reset)
{
    terminal->reset_requested = terminal->reset_requested || reset;
    if (terminal->phase == TERMINAL_STOPPING && reason != STOP_ENDED)
        terminal->stop_reason = reason;
    if (terminal->phase != TERMINAL_STOPPING) {
        terminal->wanted = WANTED_GONE;
        terminal->stop_reason = reason;
        terminal->stop_sent = false;
        terminal->deadline_ms = 0;
        terminal_change_phase(fleet, terminal, TERMINAL_STOPPING, NULL);
    }
    reconcile_soon(fleet, terminal);
}

void reconcile_restart_clock(struct fleet *fleet, struct terminal *terminal)
{
    terminal->deadline_ms = clock_monotonic_ms() + (int64_t)fleet->options.start_timeout_s * 1000;
}

static void begin_adoption(struct fleet *fleet, struct terminal *terminal)
{
    terminal->own_start = false;
    reconcile_restart_clock(fleet, terminal);
    terminal_change_phase(fleet, terminal, TERMINAL_STARTING, NULL);
    terminal->look_again = !list_is_empty(&terminal->waiters);
    reconcile_soon(fleet, terminal);
}

/* --- a start that went wrong --- */

/* What the engine knows of the start's end; "" when it knows nothing, or the start is over meanwhile, which `*over` says. The caller frees. */
static char *diagnose(struct fleet *fleet, struct terminal *terminal, bool *over)
{
    struct backend *backend = fleet->options.backend;
    cleanup_free char *name = xstrdup(terminal->name), *text = NULL;
    cleanup_free char *id = terminal->observed.instance_id ? xstrdup(terminal->observed.instance_id) : NULL;
    cleanup_free char *message = terminal->observed.message ? xstrdup(terminal->observed.message) : NULL;
    struct error ignored;

    call_begin(fleet, terminal, CALL_OTHER, DIAGNOSE_TIMEOUT_MS);
    struct terminal_ref ref = { .key = terminal->key, .name = name, .instance_id = id };
    if (backend->ops->diagnose(backend, &ref, &text, &ignored) < 0)
        text = NULL;
    call_end(fleet, terminal);

    *over = terminal->phase != TERMINAL_STARTING || terminal->wanted != WANTED_AS_OBSERVED;
    return text && *text ? steal(&text) : message ? steal(&message) : xstrdup("");
}

/* The text of the guest comes last, because it may be long. */
static void fail_start(struct fleet *fleet, struct terminal *terminal, enum error_class class, const char *what, const char *details)
{
    struct error why;
    error_set(&why, class, "%s%s%s", what, *details ? ": " : "", details);
    start_fail(fleet, terminal, &why);
}

static void fail_with_diagnosis(struct fleet *fleet, struct terminal *terminal, enum error_class class, const char *what)
{
    bool over;
    cleanup_free char *details = diagnose(fleet, terminal, &over);
    if (over)
        return reconcile_soon(fleet, terminal);
    fail_start(fleet, terminal, class, what, details);
}

/* A large image on a new node: who waits is told to come again, and the start goes on. */
static void wait_for_image(struct fleet *fleet, struct terminal *terminal)
{
    struct error why;
    error_set(&why, ERR_STARTING, "the terminal's image is still being pulled, as far as the engine tells; try again in a while");
    terminal_dismiss_waiters(terminal, &why);
    reconcile_restart_clock(fleet, terminal);
    reconcile_soon(fleet, terminal);
}

static void end_late_start(struct fleet *fleet, struct terminal *terminal)
{
    bool over;
    char what[96];
    cleanup_free char *details = diagnose(fleet, terminal, &over);
    if (over)
        return reconcile_soon(fleet, terminal);
    if (terminal->observed.preparing && !*details && clock_monotonic_ms() - terminal->observed.since_ms < PULL_TIMEOUT_MS)
        return wait_for_image(fleet, terminal);
    snprintf(what, sizeof what, "the terminal was not ready within %u s", fleet->options.start_timeout_s);
    fail_start(fleet, terminal, ERR_START_TIMEOUT, what, details);
}

/* A guest that was found running holds its user's work, and may be paused, overloaded or cut off: it is not ended for being silent, as one that
 * refuses connections is. Who waits is told, and the guest is asked on. */
static void keep_silent_guest(struct fleet *fleet, struct terminal *terminal)
{
    struct error why;
    error_set(&why, ERR_START_TIMEOUT, "the terminal runs, but has not answered within %u s; it is left alone: try again later, or stop it for a new one",
              fleet->options.start_timeout_s);
    terminal_dismiss_waiters(terminal, &why);
    reconcile_restart_clock(fleet, terminal);
    reconcile_soon(fleet, terminal);
}

/* --- following what is observed --- */

static void follow_absent(struct fleet *fleet, struct terminal *terminal)
{
    struct error why;
    if (terminal->phase == TERMINAL_READY) {
        terminal_change_phase(fleet, terminal, TERMINAL_ABSENT, NULL);
    } else if (terminal->phase == TERMINAL_STARTING) {
        if (list_is_empty(&terminal->waiters))
            return terminal_change_phase(fleet, terminal, TERMINAL_ABSENT, NULL);
        error_set(&why, ERR_GUEST_CRASHED, "the terminal was removed while it was starting");
        start_fail(fleet, terminal, &why);
    }
}

static void follow_starting(struct fleet *fleet, struct terminal *terminal)
{
    int64_t now = clock_monotonic_ms();
    if (terminal->phase == TERMINAL_STARTING) {
        if (now >= terminal->deadline_ms)
            return end_late_start(fleet, terminal);
        reconcile_after(fleet, terminal, terminal->deadline_ms - now);
    } else if (terminal->phase == TERMINAL_FAILED && now - terminal->failed_at_ms < ADOPT_UNFINISHED_MS) {
        /* most likely a late trace of the start that failed */
        reconcile_after(fleet, terminal, terminal->failed_at_ms + ADOPT_UNFINISHED_MS - now);
    } else {
        begin_adoption(fleet, terminal);
    }
}

static void read_activity(struct fleet *fleet, struct terminal *terminal)
{
    call_begin(fleet, terminal, CALL_OTHER, DIAGNOSE_TIMEOUT_MS);
    int64_t last_active_ms = idle_read_activity(fleet, terminal->key);
    call_end(fleet, terminal);
    if (terminal->last_active_ms == 0)
        terminal->written_active_ms = last_active_ms;
    terminal_set_last_active(terminal, last_active_ms);
    terminal->activity_known = true;
    reconcile_soon(fleet, terminal);
}

static void become_ready(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->own_start || terminal->last_active_ms == 0)
        terminal_set_last_active(terminal, clock_monotonic_ms());
    terminal_change_phase(fleet, terminal, TERMINAL_READY, NULL);
}

static void wait_until_ready(struct fleet *fleet, struct terminal *terminal)
{
    int64_t now = clock_monotonic_ms();
    const struct observed *observed = &terminal->observed;
    if (!terminal->activity_known)
        return read_activity(fleet, terminal);
    bool can_be_used = observed->endpoint && (observed->guest_key || terminal->guest_key);
    terminal->healthy = terminal->healthy || observed->ready;
    if (can_be_used && terminal->healthy)
        return become_ready(fleet, terminal);
    if (terminal->refuses || (now >= terminal->deadline_ms && terminal->own_start))
        return end_late_start(fleet, terminal);
    if (now >= terminal->deadline_ms)
        return keep_silent_guest(fleet, terminal);
    if (can_be_used)
        health_begin_probe(fleet, terminal, terminal->own_start ? 0 : terminal->deadline_ms - now);
    reconcile_after(fleet, terminal, terminal->deadline_ms - now);
}

static void call_look(struct fleet *fleet, struct terminal *terminal)
{
    struct backend *backend = fleet->options.backend;
    cleanup_free char *name = xstrdup(terminal->name);
    struct error err;

    call_begin(fleet, terminal, CALL_OTHER, DIAGNOSE_TIMEOUT_MS);
    if (backend->ops->look(backend, &(struct terminal_ref){ .key = terminal->key, .name = name }, &err) < 0)
        log_warning("a terminal whose guest is missed could not be looked at", LOG_STR("terminal", name), LOG_ERR(&err));
    call_end(fleet, terminal);
}

static void look_again(struct fleet *fleet, struct terminal *terminal)
{
    terminal->look_again = false;
    if (fleet->options.backend->ops->look)
        call_look(fleet, terminal);
    bool still_ready = terminal->phase == TERMINAL_READY && terminal->wanted == WANTED_AS_OBSERVED;
    if (still_ready && terminal->healthy && terminal->observed.endpoint)
        health_begin_probe(fleet, terminal, SUSPECT_MS);
    reconcile_soon(fleet, terminal);
}

static void follow_running(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->look_again)
        return look_again(fleet, terminal);
    if (terminal->phase == TERMINAL_STARTING)
        return wait_until_ready(fleet, terminal);
    if (terminal->phase == TERMINAL_READY && terminal->refuses)
        return reconcile_begin_stop(fleet, terminal, STOP_UNHEALTHY, false);
    bool other_instance = terminal->phase == TERMINAL_READY && !terminal->healthy;
    if (terminal->phase != TERMINAL_READY || other_instance)
        begin_adoption(fleet, terminal);
}

static void follow_ended(struct fleet *fleet, struct terminal *terminal)
{
    const struct observed *observed = &terminal->observed;
    int64_t seen_for_ms = clock_monotonic_ms() - observed->since_ms;
    if (terminal->phase == TERMINAL_ABSENT && seen_for_ms < CLEAR_AWAY_MS)
        return reconcile_after(fleet, terminal, CLEAR_AWAY_MS - seen_for_ms);   /* another replica may be about to start it */
    if (terminal->phase == TERMINAL_STARTING && observed->phase != OBSERVED_STOPPING) {
        enum error_class class = observed->failure != ERR_NONE ? observed->failure : ERR_GUEST_CRASHED;
        return fail_with_diagnosis(fleet, terminal, class, class == ERR_GUEST_CRASHED ?
                                   "the terminal ended while it was starting" : "the terminal cannot run");
    }
    if (terminal->phase != TERMINAL_FAILED)
        return reconcile_begin_stop(fleet, terminal, STOP_ENDED, false);
    terminal->stop_reason = STOP_ENDED;
    terminal->wanted = WANTED_GONE;
    terminal->stop_sent = false;
    terminal->deadline_ms = 0;
    reconcile_soon(fleet, terminal);
}

static void follow(struct fleet *fleet, struct terminal *terminal)
{
    switch (terminal->observed.phase) {
    case OBSERVED_ABSENT: return follow_absent(fleet, terminal);
    case OBSERVED_STARTING: return follow_starting(fleet, terminal);
    case OBSERVED_RUNNING: return follow_running(fleet, terminal);
    case OBSERVED_STOPPING:
    case OBSERVED_STOPPED:
    case OBSERVED_FAILED: return follow_ended(fleet, terminal);
    }
}

/* --- ending --- */

/* `why` NULL: it is done. A failure is kept beside what follows it, which may be over before those who wait are woken. */
static void end_stop(struct fleet *fleet, struct terminal *terminal, const struct error *why)
{
    terminal->stops_ended++;
    if (why) {
        terminal->failed_stop = terminal->stops_ended;
        if (!terminal->stop_failure)
            terminal->stop_failure = xmalloc(sizeof *terminal->stop_failure);
        *terminal->stop_failure = *why;
    }
    pthread_cond_broadcast(&fleet->settled);
}

static int64_t stop_timeout_ms(const struct fleet *fleet)
{
    return (fleet->options.stop_timeout_s ? fleet->options.stop_timeout_s : 1) * 1000LL;
}

/* A reset that was asked for goes with the stop: who asked is told that it failed, and what is done in the terminal from now on must not be lost to it. */
static void give_up_stop(struct fleet *fleet, struct terminal *terminal)
{
    struct error why;
    error_set(&why, ERR_TIMEOUT, "the terminal did not stop within %lld s", (long long)stop_timeout_ms(fleet) / 1000);
    terminal->wanted = WANTED_AS_OBSERVED;
    terminal->reset_requested = false;
    if (terminal->phase == TERMINAL_STOPPING)
        terminal_change_phase(fleet, terminal, TERMINAL_FAILED, &why);
    end_stop(fleet, terminal, &why);
    reconcile_soon(fleet, terminal);
}

static void call_stop(struct fleet *fleet, struct terminal *terminal)
{
    struct backend *backend = fleet->options.backend;
    const struct observed *observed = &terminal->observed;
    cleanup_free char *name = xstrdup(terminal->name);
    cleanup_free char *id = observed->instance_id ? xstrdup(observed->instance_id) : NULL;
    cleanup_free char *image = observed->image ? xstrdup(observed->image) : NULL;
    bool ended = terminal->stop_reason == STOP_ENDED && !terminal->reset_requested;    /* as in was_replaced() */
    struct error err;

    call_begin(fleet, terminal, CALL_STOP, stop_timeout_ms(fleet));
    struct terminal_ref ref = { .key = terminal->key, .name = name, .instance_id = id, .image = image, .ended = ended };
    int result = backend->ops->stop(backend, &ref, STOP_GRACE_S, &err);
    call_end(fleet, terminal);

    if (result < 0) {
        log_warning("stopping a terminal failed; it is tried again", LOG_STR("terminal", name), LOG_ERR(&err));
        workqueue_add_after_failure(fleet->queue, &terminal->work);
        return;
    }
    terminal->stop_sent = true;
    terminal->stop_again_ms = clock_monotonic_ms() + STOP_AGAIN_MS;
    reconcile_soon(fleet, terminal);
}

/* The reset could not be done: the terminal shows it, stays unusable until its next start tries again, and so do we. */
static void fail_reset(struct fleet *fleet, struct terminal *terminal, struct error *why)
{
    terminal->reset_failed = true;
    if (terminal->phase == TERMINAL_STOPPING)
        terminal_change_phase(fleet, terminal, TERMINAL_FAILED, why);
    end_stop(fleet, terminal, why);
    workqueue_add_after_failure(fleet->queue, &terminal->work);
}

static void finish_stop(struct fleet *fleet, struct terminal *terminal)
{
    workqueue_forget_failures(fleet->queue, &terminal->work);
    terminal->wanted = WANTED_AS_OBSERVED;
    bool was_reset_failure = terminal->reset_failed;
    terminal->reset_failed = false;
    if (!list_is_empty(&terminal->waiters))
        reconcile_begin_start(fleet, terminal);
    else if (terminal->phase == TERMINAL_STOPPING || was_reset_failure)
        terminal_change_phase(fleet, terminal, TERMINAL_ABSENT, NULL);
    end_stop(fleet, terminal, NULL);
    reconcile_soon(fleet, terminal);
}

/* Nothing is there any more: the moment for a reset. */
static void step_after_stop(struct fleet *fleet, struct terminal *terminal)
{
    if (fleet->stops_calling >= MAX_STOPS_CALLING)
        return reconcile_after(fleet, terminal, WAIT_FOR_SLOT_MS);
    cleanup_free char *name = xstrdup(terminal->name);
    bool requested = terminal->reset_requested, emptied = false;
    struct error err;

    call_begin(fleet, terminal, CALL_RESET, stop_timeout_ms(fleet));
    struct terminal_ref ref = { .key = terminal->key, .name = name };
    int result = reset_apply(fleet, &ref, requested, &emptied, &err);
    call_end(fleet, terminal);

    reset_conclude(terminal, emptied, result < 0 ? &err : NULL);
    if (result < 0)
        fail_reset(fleet, terminal, &err);
    else
        finish_stop(fleet, terminal);
}

/* Something that had ended was to be cleared away, and meanwhile another replica, or the engine by itself, has put one that lives in its place. */
static bool was_replaced(const struct terminal *terminal)
{
    bool lives = terminal->observed.phase == OBSERVED_STARTING || terminal->observed.phase == OBSERVED_RUNNING;
    return lives && terminal->stop_reason == STOP_ENDED && !terminal->reset_requested;
}

static void use_replacement(struct fleet *fleet, struct terminal *terminal)
{
    workqueue_forget_failures(fleet->queue, &terminal->work);
    terminal->wanted = WANTED_AS_OBSERVED;
    begin_adoption(fleet, terminal);
    end_stop(fleet, terminal, NULL);
}

static void step_to_gone(struct fleet *fleet, struct terminal *terminal)
{
    if (terminal->observed.phase == OBSERVED_ABSENT)
        return step_after_stop(fleet, terminal);
    if (was_replaced(terminal))
        return use_replacement(fleet, terminal);
    if (fleet->stops_calling >= MAX_STOPS_CALLING)
        return reconcile_after(fleet, terminal, WAIT_FOR_SLOT_MS);
    int64_t now = clock_monotonic_ms();
    if (terminal->deadline_ms == 0)
        terminal->deadline_ms = now + stop_timeout_ms(fleet);
    if (now >= terminal->deadline_ms)
        return give_up_stop(fleet, terminal);
    reconcile_after(fleet, terminal, terminal->deadline_ms - now);
    if (!terminal->stop_sent || now >= terminal->stop_again_ms)
        call_stop(fleet, terminal);
    else
        reconcile_after(fleet, terminal, terminal->stop_again_ms - now);
}

/* --- from outside --- */

void reconcile_expire_call(struct fleet *fleet, struct terminal *terminal)
{
    struct error why;
    if (terminal->phase == TERMINAL_STARTING && terminal->call == CALL_START) {
        error_set(&why, ERR_START_TIMEOUT, "the engine did not finish the start in time");
        start_fail(fleet, terminal, &why);
        terminal->wanted = WANTED_GONE;
    } else if (terminal->phase == TERMINAL_STOPPING) {
        error_set(&why, ERR_TIMEOUT, "the engine did not finish the stop in time");
        if (terminal->call == CALL_STOP)
            terminal->reset_requested = false;      /* as in give_up_stop() */
        terminal_change_phase(fleet, terminal, TERMINAL_FAILED, &why);
        end_stop(fleet, terminal, &why);
    }
}

void reconcile_refuse_start(struct fleet *fleet, struct terminal *terminal, const struct error *why)
{
    if (terminal->phase != TERMINAL_STARTING || terminal->wanted != WANTED_RUNNING || terminal->call != CALL_NONE)
        return;
    start_fail(fleet, terminal, why);
    terminal->retry_at_ms = 0;
}

void reconcile(struct workitem *item, void *context)
{
    struct fleet *fleet = context;
    struct terminal *terminal = CONTAINER_OF(item, struct terminal, work);
    WITH_LOCK(fleet);
    if (!fleet->listed || fleet->stopping)
        return;
    switch (terminal->wanted) {
    case WANTED_AS_OBSERVED: return follow(fleet, terminal);
    case WANTED_RUNNING: return start_step(fleet, terminal);
    case WANTED_GONE: return step_to_gone(fleet, terminal);
    }
}
