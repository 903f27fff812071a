/* What to do next with one resource: follows from its record and the time alone, so that it does not matter which events came, how often, or
 * after which crash. Pure. */
#ifndef OPERATOR_DECIDE_H
#define OPERATOR_DECIDE_H

#include "operator/record.h"

enum step {
    STEP_NONE,
    STEP_ADD_FINALIZER, STEP_REMOVE_FINALIZER,
    STEP_CREATE_PVC, STEP_CLAIM_PVC, STEP_RELEASE_PVC,
    STEP_CREATE_SECRET, STEP_DELETE_SECRET,
    STEP_CREATE_POD, STEP_DELETE_POD,
    STEP_CREATE_SERVICE, STEP_REPAIR_SERVICE, STEP_DELETE_SERVICE,
    STEP_CREATE_RESET_POD, STEP_DELETE_RESET_POD,
    STEP_WRITE_STATUS,
};

/* The status as it should read. `message` is borrowed from the record or a literal; NULL: none. */
struct wanted_status {
    enum phase phase;
    enum reason reason;
    const char *message;
    bool finish_reset;                  /* lastReset becomes what is asked for */
};

struct decision {
    enum step step;
    bool waits;                         /* something has to end first: nothing else is to be done now */
    const char *because;                /* of deletions: a literal for Events and logs */
    struct wanted_status status;        /* of STEP_WRITE_STATUS */
    int64_t look_again_ms;              /* nothing may come that says it: look again after so long; 0: no need */
};

struct moment {
    int64_t wall_us, monotonic_ms;
    bool may_idle;                      /* activity has had time to be reported since we began to look */
    unsigned unschedulable_s;           /* how long a pod may find no node before that is told */
};

enum { BOOT_PATIENCE_S = 10 };

struct decision decide(const struct record *record, const struct moment *now) MUST_CHECK;
/* What the status is to say when the API server has refused a step for `reason`, by the phase that it had; without the message. What sleeps stays asleep. */
struct wanted_status decide_refused(enum step step, enum phase phase, enum reason reason);
/* The moment from which idleness counts, wall; 0: unknown. */
int64_t decide_active_us(const struct record *record);

#endif
