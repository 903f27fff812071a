/* What the operator remembers of one Terminal resource and of the objects that belong to it: only what decisions need, so that thousands of
 * resources cost little. Plain values under the operator's lock; filled from objects by observe_*() below, which are pure. */
#ifndef OPERATOR_RECORD_H
#define OPERATOR_RECORD_H

#include <jansson.h>

#include "base/workqueue.h"
#include "kubernetes/terminal.h"

enum phase { PHASE_NEW, PHASE_PENDING, PHASE_PROVISIONING, PHASE_RUNNING, PHASE_IDLE, PHASE_ERROR };
const char *phase_name(enum phase phase);
enum phase phase_from_name(const char *name);

/* Why the resource is ready or not: reasons of the condition Ready. The first six are no fault. */
enum reason {
    REASON_NONE, REASON_PROVISIONING, REASON_POD_NOT_READY, REASON_POD_READY, REASON_IDLE_TIMEOUT, REASON_RESETTING,
    REASON_IMAGE_PULL_FAILED, REASON_IMAGE_NOT_ALLOWED, REASON_UNSCHEDULABLE, REASON_CRASH_LOOP, REASON_CONTAINER_NOT_CREATED,
    REASON_QUOTA_EXCEEDED, REASON_ADMISSION_REFUSED, REASON_INVALID_SPEC, REASON_NAME_TAKEN, REASON_RESET_FAILED, REASON_COUNT
};
const char *reason_name(enum reason reason);

#define UID_SIZE 40
#define HASH_SIZE 20

/* What all children have in common. `version` orders what is told of one object, by watch and by answers to our own calls: older news is dropped, unless
 * it is of a listing that began later (kube_listing_outrank()). */
struct child {
    bool present, deleting;
    char uid[UID_SIZE], owner_uid[UID_SIZE];        /* owner_uid "": no Terminal owns it */
    uint64_t version;
    uint64_t seen;                                  /* number of the latest listing that had begun when it was seen, or seen to be gone */
};

struct pod {
    struct child child;
    bool ended, succeeded;                          /* over for good: evicted, or a reset that is done */
    bool ready;                                     /* the guest's container is */
    bool started;                                   /* the guest's container runs */
    int64_t started_us;                             /* wall; 0: it does not run, or does not say since when */
    char spec_hash[HASH_SIZE], key_hash[HASH_SIZE]; /* "" where it does not say */
    enum reason failure;                            /* REASON_NONE: none so far */
    int64_t unschedulable_since_us;                 /* wall; 0: it is not */
    char *message;                                  /* owned; NULL: nothing to tell */
};

struct record {
    struct workitem work;
    char *namespace, *name;

    /* the resource itself */
    struct child cr;
    char *version_text;                 /* metadata.resourceVersion: a precondition of status patches */
    bool has_finalizer;
    int64_t generation;
    char *spec;                         /* compact JSON of the object's metadata that we need and its spec; owned */
    char spec_hash[HASH_SIZE];
    char *user_id;                      /* owned or NULL */
    bool persistent, shared;            /* has a home that outlives the pod; it is a folder of the shared volume */
    int64_t idle_timeout_us;            /* 0: never */
    enum phase phase;
    enum reason reason;                 /* of the condition Ready; REASON_NONE: missing or another's word */
    bool condition_ready;
    int64_t condition_since_us;         /* its lastTransitionTime; 0: unknown */
    int64_t last_activity_us;           /* 0: unknown */
    char *status;                       /* compact JSON of the status; owned */
    char *status_message;               /* owned or NULL */
    char *reset_wanted, *reset_done;    /* owned or NULL */

    /* its children */
    struct child secret, service, pvc;
    struct pod pod, reset_pod;
    char key_hash[HASH_SIZE];           /* of the key in the secret; "": holds none */
    bool service_is_right;
    char *pvc_user;                     /* whose home the claim says it is; NULL: it does not say exactly */
    char *pvc_user_label;               /* what its label says of him, perhaps a hash; NULL: nothing */
    int64_t released_us;                /* 0: not released */

    /* our own */
    unsigned replaced;                  /* pods in a row that ended by themselves */
    int64_t create_not_before_ms;       /* monotonic */
    uint64_t event_hash;                /* the last Event: kind, reason, text */
    char event_name[72];
    unsigned event_count;
    int64_t event_ms, event_first_us;
};

struct record *record_new(const char *namespace, const char *name) MUST_CHECK;
void record_free(struct record *record);
/* Nothing is known of it any more. */
bool record_is_empty(const struct record *record);

/* --- from objects (pure). False: older than what is known, or of an object that has been replaced: nothing was changed. --- */
bool observe_terminal(struct record *record, const json_t *object, bool deleted);
bool observe_secret(struct record *record, const json_t *object, bool deleted);
/* `type`: of Services, as the settings have it. */
bool observe_service(struct record *record, const json_t *object, bool deleted, const char *type);
bool observe_pvc(struct record *record, const json_t *object, bool deleted);
bool observe_pod(struct pod *pod, const json_t *object, bool deleted);

/* It is known to be gone. */
void forget_child(struct child *child);
/* At the end of this listing: true when it was there before, and the listing did not have it. */
bool forget_unseen_child(struct child *child, uint64_t listing);

/* The short hash that goes into annotations. */
void short_hash(const char *text, char out[static HASH_SIZE]);

#endif
