/* One terminal: what is wanted, what the engine was seen to have, and the phase that others see.
 *
 * All fields are under the fleet's lock, but `key`, which is immutable. A terminal that is neither there nor wanted is forgotten by the
 * janitor; who needs one beyond the lock counts himself in `references`. */
#ifndef FLEET_TERMINAL_H
#define FLEET_TERMINAL_H

#include "base/workqueue.h"
#include "fleet/counters.h"
#include "fleet/fleet.h"

enum wanted {
    WANTED_AS_OBSERVED,     /* whatever the engine has: one that runs is adopted, one that ended is cleared away */
    WANTED_RUNNING,         /* a start has to be made; only in TERMINAL_STARTING */
    WANTED_GONE,            /* it has to end; in TERMINAL_STOPPING, and in TERMINAL_FAILED while the remains are removed */
};

/* The last that the engine told. Texts owned. */
struct observed {
    enum observed_phase phase;
    int64_t since_ms;                                   /* when the phase was first told */
    char *instance_id, *guest_key, *image, *message;    /* NULL: not known */
    struct endpoint *endpoint;                          /* NULL: not known */
    bool ready, preparing;
    enum error_class failure;
};

enum terminal_call { CALL_NONE, CALL_START, CALL_STOP, CALL_RESET, CALL_OTHER };
enum admission { ADMISSION_NONE, ADMISSION_WAITING, ADMISSION_HOLDING, ADMISSION_PASSED };

struct terminal {
    struct workitem work;
    struct terminal_key *key;
    char *name;                         /* as the engine has it, else as it follows from the key */
    enum terminal_phase phase;          /* changed by terminal_change_phase() only */
    int64_t phase_since_us;             /* monotonic */
    enum wanted wanted;
    struct observed observed;
    char *retired_instance;             /* the one that ended or was replaced last: what is still told of it is old news */
    uint64_t seen;                      /* number of the last listing, or later event, that had it */
    struct list waiters;
    struct route *route;                /* TERMINAL_READY only */
    unsigned references;

    /* starting */
    bool own_start;                     /* this start is ours, not an adoption */
    enum admission admission;
    struct list admission_node;
    int64_t admitted_ms;
    int64_t deadline_ms;                /* STARTING: ready by then; WANTED_GONE: gone by then; 0: not running yet */
    char *guest_key;                    /* that of our last start, for engines that do not report it */
    uint64_t probe;                     /* the running probe, or 0 */
    bool healthy;                       /* the instance observed now has answered */
    bool look_again;                    /* the engine is to be asked what is there now: somebody comes and finds no guest */
    bool refuses;                       /* refused connections for as long as it may: READY and suspected, or found running and never answered */

    /* stopping */
    enum stop_reason stop_reason;
    bool stop_sent;
    int64_t stop_again_ms;
    uint64_t stops_ended, resets_done;  /* count up; who waits for a stop compares */
    uint64_t failed_stop;               /* the number of the last one that failed; 0: none */
    struct error *stop_failure;         /* why; owned */
    bool reset_requested, reset_failed;

    /* failing */
    struct error *failure;              /* the last one, or NULL */
    unsigned failures;
    int64_t retry_at_ms, failed_at_ms;

    /* the call to the backend or the store that runs now */
    enum terminal_call call;
    struct list calling_node;
    int64_t call_deadline_ms;

    /* activity, monotonic; while there is a route, its atomics are newer */
    bool activity_known;
    int64_t last_active_ms, written_active_ms;          /* 0: never */
};

struct fleet;

struct terminal *terminal_new(const struct terminal_key *key, const char *name) MUST_CHECK;
/* Has no waiters, no call, and is in no list. */
void terminal_free(struct terminal *terminal);

/* The one place where the phase changes: checks that the change is legal, publishes or withdraws the route, gives back the admission,
 * counts, logs, and answers the waiters. `why` is needed for TERMINAL_FAILED (copied) and NULL else. */
void terminal_change_phase(struct fleet *fleet, struct terminal *terminal, enum terminal_phase to, const struct error *why);
/* The service ends: everyone who waits is told so. */
void terminal_dismiss_waiters(struct terminal *terminal, const struct error *why);

/* Takes the route away if `is_idle` still says so after that; else gives it back. True: taken. READY only. */
bool terminal_withdraw_if_idle(struct terminal *terminal, bool (*is_idle)(const struct terminal *terminal, const void *context),
                               const void *context) MUST_CHECK;
/* The newest activity, monotonic ms; 0: never. */
int64_t terminal_last_active(const struct terminal *terminal);
/* Moves the clock forward to `last_active_ms` (never back). */
void terminal_set_last_active(struct terminal *terminal, int64_t last_active_ms);
/* In the sense of §2.4, `status`. */
const char *terminal_status(const struct terminal *terminal);
/* Whether the terminal counts towards limits. */
bool terminal_is_live(const struct terminal *terminal);
/* Nothing is there, wanted or remembered: may be forgotten. */
bool terminal_is_forgettable(const struct terminal *terminal, int64_t now_ms);
bool terminal_may_go(enum terminal_phase from, enum terminal_phase to);

void observed_clear(struct observed *observed);

#endif
