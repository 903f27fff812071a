/* What the files of the operator share. One lock guards the table and every record; it is never held over a call to the API server. */
#ifndef OPERATOR_INTERNAL_H
#define OPERATOR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "kubernetes/informer.h"
#include "operator/child.h"
#include "operator/decide.h"
#include "operator/lease.h"
#include "operator/operator.h"

enum {
    RECONCILE_THREADS = 8,
    SWEEP_MS = 60000,
    ACTIVITY_GRACE_MS = 60000,          /* how long activity may take to be reported after an outage */
    STATUS_MESSAGE_MAX = 1024,
    EVENT_RESERVE = 100,                /* Events that may come at once */
};

/* What is watched. */
enum { KIND_TERMINALS, KIND_PODS, KIND_SERVICES, KIND_SECRETS, KIND_CLAIMS, KINDS };

struct operator;

/* One kind in one namespace. */
struct source {
    struct operator *operator;
    unsigned kind;
    const char *namespace;              /* NULL: all */
    uint64_t listing;                   /* number of the running listing; under the lock */
    struct kube_informer *informer;
};

struct operator {
    const struct settings *settings;
    struct kube_client *client;
    struct kube_resource terminals;     /* texts are the settings' */
    char *api_version;
    struct workqueue *queue;
    struct lease *lease;
    struct kube_client *lease_client;
    struct pool *event_pool;
    struct source *sources;
    size_t source_count;
    atomic_bool synced;                 /* every source has been listed once */
    atomic_bool stopping;

    pthread_mutex_t lock;
    struct map records;                 /* "namespace/name" → record */
    uint64_t listings;                  /* counts listings */
    int64_t may_idle_ms;                /* monotonic: nothing is called idle before that; under the lock */

    pthread_t sweeper;
    pthread_cond_t changed;             /* `stopping` was set, `acting` went down */
    unsigned acting;                    /* steps under way; under the lock */
    struct web *web;

    double event_tokens;                /* under the lock: how many Events may be written now */
    int64_t event_tokens_ms;
    struct metric *steps[STEP_WRITE_STATUS + 1], *failures, *events, *dropped_events, *leading, *phases[PHASE_ERROR + 1], *depth;
};

static inline void unlock_operator(pthread_mutex_t **lock) { pthread_mutex_unlock(*lock); }
#define WITH_LOCK(operator) \
    __attribute__((cleanup(unlock_operator), unused)) pthread_mutex_t *locked_ = (pthread_mutex_lock(&(operator)->lock), &(operator)->lock)

/* --- records.c --- */
struct record *records_find(struct operator *operator, const char *namespace, const char *name);              /* (locked) */
struct record *records_find_or_add(struct operator *operator, const char *namespace, const char *name) MUST_CHECK;   /* (locked) */
struct record *records_next(struct operator *operator, size_t *position);                                     /* (locked) */
void records_add_all_to_queue(struct operator *operator);
/* Frees what nothing is known of any more. */
void records_forget_empty(struct operator *operator);
void records_free(struct operator *operator);

/* --- watch.c --- */
void operator_watch_start(struct operator *operator);
void operator_watch_stop(struct operator *operator);
bool operator_watch_is_synced(const struct operator *operator);
extern const struct kube_handler operator_watch_handler;        /* context: struct source */

/* --- act.c --- */
const char *step_name(enum step step);
void operator_reconcile(struct workitem *item, void *operator);

/* --- job.c: one step under way, with copies of what it needs --- */
struct job {
    struct operator *operator;
    struct record *record;              /* in its table as long as the work queue works on it */
    const char *namespace, *name;       /* the record's, immutable */
    struct decision decision;
    struct origin origin;
    json_t *spec;
    char *version, *status, *reset_wanted, *message;
    char *told;                         /* the message that the status has */
    char uid[UID_SIZE], spec_hash[HASH_SIZE], key_hash[HASH_SIZE];
    char child_uid[UID_SIZE];           /* of the object that the step is about */
    uint64_t child_version;
    enum phase phase;
    enum reason reason;
    bool condition_ready;
    int64_t condition_since_us, last_activity_us, generation;
};
void job_begin(struct job *job, struct operator *operator, struct record *record, const struct decision *decision);    /* (locked) */
void job_end(struct job *job);
struct child *job_child(struct record *record, enum step step);                                             /* (locked) */
/* Takes what a call of ours was answered for the resource itself: no listing that is under way outranks it. (locks) */
void job_take_terminal(struct job *job, const json_t *object);

/* --- status.c --- */
/* Writes what the job's decision wants, unless another wrote first (ERR_CONFLICT). */
int status_write(struct job *job, struct error *err) MUST_CHECK;
/* The patch for it (pure). The caller owns it. */
json_t *status_patch(const struct job *job, int64_t now_us) MUST_CHECK;

/* --- event.c --- */
/* Tells people something about the resource, unless the same was told just now or too much was told altogether. Does not block. */
void event_tell(struct job *job, bool warning, const char *reason, const char *format, ...) PRINTF_LIKE(4, 5);

/* --- sweep.c --- */
void *sweep_run(void *operator);

/* --- web.c --- */
struct web;
struct web *web_start(struct operator *operator, const char *host, unsigned port, struct error *err) MUST_CHECK;
void web_stop(struct web *web);

#endif
