/* What the files of the fleet share: the table of terminals, and the functions that one file offers to the others.
 *
 * One lock guards the table and every terminal; it is held for memory operations only. `(locked)` marks functions that are called with
 * it held; `(unlocks)` those that let go of it in between, so that everything but the terminal itself must be looked at again. */
#ifndef FLEET_INTERNAL_H
#define FLEET_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "fleet/probe.h"
#include "fleet/terminal.h"

enum {
    RECONCILE_THREADS = 64,
    MAX_STARTS_CALLING = 32,        /* start calls in flight, however long they take */
    MAX_STOPS_CALLING = 24,         /* stop and wipe calls in flight: hung ones leave threads for starts */
    STOP_GRACE_S = 10,
    STOP_AGAIN_MS = 5000,           /* a stop that had no visible effect is asked for again */
    PULL_TIMEOUT_MS = 600000,
    SLOT_HOLD_MS = 5000,            /* a start that takes longer waits for a pull or a package install, not for the engine */
    FAILED_SHOWN_MS = 600000,
    FIRST_RETRY_MS = 100,
    LONGEST_RETRY_MS = 30000,
    SUSPECT_MS = 10000,             /* how long a suspect may refuse connections */
    SETTLE_MS = 1000,               /* how long guests found at our start may take to answer before we are ready without them */
    IDLE_SWEEP_MS = 5000,
    RESET_SWEEP_MS = 60000,
};

struct fleet {
    struct fleet_options options;
    struct counters counters;
    pthread_mutex_t lock;
    pthread_cond_t settled;             /* a stop ended */
    struct map by_key, by_name;         /* the same terminals */
    struct map by_probe;                /* those that are being probed, by the probe's id */
    struct map live_by_user;            /* user id → struct user_count */
    unsigned by_phase[TERMINAL_FAILED + 1];
    bool stopping;

    /* the engine */
    struct observer observer;
    bool listed;                        /* one listing was complete */
    int64_t listed_at_ms;               /* … then */
    bool settled_once;                  /* the guests that it found running have answered, or had their time to */
    bool listing_open;
    uint64_t listing;                   /* number of the last that began */
    bool unreachable;
    struct error unreachable_reason;

    /* calls and admission */
    struct list calling;                /* terminals with a call in flight */
    struct list waiting_starts, holding_starts;
    unsigned waiting_count, holding_count, starts_calling, stops_calling;

    /* threads; immutable after fleet_start() */
    struct workqueue *queue;
    struct prober *prober;
    pthread_t watcher, janitor;
    bool started;
    pthread_cond_t janitor_wakes;
    bool policies_changed;
    json_t *swept_lifecycles;           /* as the last sweep of resets found them; never changed */
};

static inline void unlock_fleet(pthread_mutex_t **lock) { pthread_mutex_unlock(*lock); }
/* Holds the lock to the end of the block. */
#define WITH_LOCK(fleet) \
    __attribute__((cleanup(unlock_fleet), unused)) pthread_mutex_t *locked_ = (pthread_mutex_lock(&(fleet)->lock), &(fleet)->lock)

/* --- table.c --- */
/* The three texts, NULs between them: unambiguous, since none holds a NUL. The caller frees. */
char *table_key_bytes(const struct terminal_key *key, size_t *len) MUST_CHECK;
struct terminal *table_find(struct fleet *fleet, const struct terminal_key *key);                   /* (locked) */
struct terminal *table_find_name(struct fleet *fleet, const char *name);                            /* (locked) */
struct terminal *table_add(struct fleet *fleet, const struct terminal_key *key);                    /* (locked) */
void table_rename(struct fleet *fleet, struct terminal *terminal, const char *name);                /* (locked) */
void table_remove(struct fleet *fleet, struct terminal *terminal);                                  /* (locked) */
bool table_matches(const struct terminal *terminal, const struct terminal_filter *filter);
/* Counts a terminal in or out of its user's live ones. */
void table_count_live(struct fleet *fleet, const struct terminal *terminal, int change);            /* (locked) */
unsigned table_live_of_user(struct fleet *fleet, const char *user_id);                              /* (locked) */
/* Steps through all terminals; start with position 0, NULL at the end. */
struct terminal *table_next(struct fleet *fleet, size_t *position);                                 /* (locked) */

/* --- observer.c --- */
void observer_init(struct fleet *fleet);

/* --- reconcile.c --- */
void reconcile(struct workitem *item, void *fleet);
void reconcile_soon(struct fleet *fleet, struct terminal *terminal);                                /* (locked) */
/* Begins a start of a terminal that is ABSENT, FAILED or STOPPING with nothing left. */
void reconcile_begin_start(struct fleet *fleet, struct terminal *terminal);                         /* (locked) */
void reconcile_begin_stop(struct fleet *fleet, struct terminal *terminal, enum stop_reason reason, bool reset);  /* (locked) */
/* A start has until from now on to become ready. */
void reconcile_restart_clock(struct fleet *fleet, struct terminal *terminal);                       /* (locked) */
/* A call hangs beyond its deadline: whoever waits for it is told; the call itself goes on. */
void reconcile_expire_call(struct fleet *fleet, struct terminal *terminal);                         /* (locked) */
/* The engine cannot be reached and was never listed: nothing can be started. */
void reconcile_refuse_start(struct fleet *fleet, struct terminal *terminal, const struct error *why);   /* (locked) */

/* --- start.c --- */
void start_step(struct fleet *fleet, struct terminal *terminal);                                    /* (locked, unlocks) */
void start_fail(struct fleet *fleet, struct terminal *terminal, const struct error *why);           /* (locked) */
/* Whether a start of this key could be resolved now; also that the policy exists. */
int start_check(struct fleet *fleet, const struct terminal_key *key, struct error *err) MUST_CHECK;

/* --- call.c: the border around everything that blocks --- */
void call_begin(struct fleet *fleet, struct terminal *terminal, enum terminal_call call, int64_t timeout_ms);    /* (unlocks) */
void call_end(struct fleet *fleet, struct terminal *terminal);                                      /* locks again */

/* --- admission.c --- */
/* True when the start may go on; else the terminal waits in line and is reconciled when its turn comes. */
bool admission_enter(struct fleet *fleet, struct terminal *terminal) MUST_CHECK;                    /* (locked) */
void admission_leave(struct fleet *fleet, struct terminal *terminal);                               /* (locked) */
void admission_next(struct fleet *fleet);                                                           /* (locked) */
/* Takes slots back that were held for too long. */
void admission_expire(struct fleet *fleet, int64_t now_ms);                                         /* (locked) */
int admission_check_limits(struct fleet *fleet, const struct terminal_key *key, struct error *err) MUST_CHECK;   /* (locked) */

/* --- health.c --- */
void health_begin_probe(struct fleet *fleet, struct terminal *terminal, int64_t give_up_ms);        /* (locked) */
void health_cancel_probe(struct fleet *fleet, struct terminal *terminal);                           /* (locked) */
void health_report(void *fleet, uint64_t id, enum probe_result result);

/* --- idle.c --- */
void idle_sweep(struct fleet *fleet);
/* Writes the activity that is newer than what is written. */
void idle_write_activity(struct fleet *fleet);
/* When the terminal was last used as the database has it, monotonic; 0: never. Blocks. */
int64_t idle_read_activity(struct fleet *fleet, const struct terminal_key *key);
int64_t idle_timeout_ms(const struct policy_snapshot *snapshot, const char *policy_id);

/* --- stop.c --- */
/* A scheduled reset is due: stops the terminal, which empties its home; also one that does not run. */
void stop_for_reset(struct fleet *fleet, const struct terminal_key *key);

/* --- janitor.c --- */
void *janitor_run(void *fleet);
void janitor_expire(struct fleet *fleet);
void janitor_forget(struct fleet *fleet);

/* --- reset.c --- */
/* Empties the home of a terminal that is absent, if a reset was requested or is due. `*done`: it was emptied. Blocks. */
int reset_apply(struct fleet *fleet, const struct terminal_ref *ref, bool requested, bool *done, struct error *err) MUST_CHECK;
/* Notes how reset_apply() ended; `why` it failed, or NULL. One that was requested and is refused (ERR_CONFLICT: the home is not ours to empty) is over:
 * no later try fares better, and it must not keep the terminal from starting. */
void reset_conclude(struct terminal *terminal, bool emptied, const struct error *why);              /* (locked) */
/* Brings `state` (a row's data) in line with the policy's lifecycle at wall time `now_us`. True when it changed. */
bool reset_reckon(json_t *state, const json_t *lifecycle, int64_t now_us) MUST_CHECK;
bool reset_is_due(const json_t *state, int64_t now_us);
void reset_mark(json_t *state, const json_t *lifecycle, int64_t now_us);
/* Looks at all rows and all live terminals. Not `thorough`: only if some policy has a schedule; after a schedule was taken away one
 * thorough sweep clears the rows, so that its return does not find old due times. */
void reset_sweep(struct fleet *fleet, bool thorough);

/* --- clocks at the border --- */
int64_t wall_us_of(int64_t monotonic_ms);
int64_t monotonic_ms_of(int64_t wall_us);

#endif
