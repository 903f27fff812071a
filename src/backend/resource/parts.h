/* What the files of this module share: the backend's object, its picture of the resources and their pods, and the steps of its operations.
 *
 * The picture is made of three watches (resources, their pods, their Services where those are the addresses); what the fleet is told always follows
 * from the whole entry. Keys come from the Secrets, read once per pod. */
#ifndef BACKEND_RESOURCE_PARTS_H
#define BACKEND_RESOURCE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/resource/resource.h"
#include "base/map.h"
#include "base/workqueue.h"
#include "kubernetes/informer.h"
#include "kubernetes/object.h"
#include "kubernetes/terminal.h"

#define RESOURCE_NAME_PREFIX "terminal-"
enum { RESOURCE_UID_SIZE = 40, RESOURCE_HASH_SIZE = 20 };

/* What is watched. */
enum { KIND_TERMINALS, KIND_PODS, KIND_SERVICES, RESOURCE_KINDS };

/* One resource and what belongs to it. Under the backend's lock; `name` is immutable. Each part keeps the version that was seen last, and the number of
 * the latest listing that had begun then: kube_listing_outrank(). */
struct entry {
    struct workitem work;
    struct resource *resource;
    char *name;

    bool present, deleting;             /* the Terminal itself */
    uint64_t version, seen;
    char uid[RESOURCE_UID_SIZE];
    struct terminal_key *key;
    char *phase, *reason, *message, *image, *secret_name, *spec_hash, *last_reset, *reset_wanted;  /* NULL: not told */
    int64_t last_activity_us;           /* as the status has it; 0: unknown */

    struct {
        bool present, deleting, started, ready, preparing;
        uint64_t version, seen;
        char uid[RESOURCE_UID_SIZE], key_hash[RESOURCE_HASH_SIZE];
        char *ip;
        int64_t restarts;
    } pod;

    bool service_present;
    uint64_t service_version, service_seen;
    char *service_ip;

    char *guest_key;                    /* of the pod `key_of` */
    char key_of[RESOURCE_UID_SIZE];
    int64_t activity_us;                /* to be reported; 0: nothing */
};

struct watcher {
    struct resource *resource;
    unsigned kind;
    uint64_t listing;                   /* under the lock */
    struct kube_informer *informer;
};

struct resource {
    struct backend backend;
    const struct settings *settings;    /* borrowed */
    struct kube_client *client;
    struct kube_resource terminals;     /* texts are the settings' */
    char *api_version;
    const char *namespace;              /* the settings' */
    bool by_service;                    /* guests are reached at their Services */
    struct workqueue *queue;            /* reads keys, writes activity */
    atomic_bool stopping;

    /* Guards all that follows. Held while an observation is handed over, so that an older one never overtakes a newer one. */
    pthread_mutex_t lock;
    pthread_cond_t changed;             /* an entry, a listing, or `stopping` */
    struct observer *observer;          /* NULL: nobody watches */
    bool told;                          /* the first listing was handed over */
    struct map entries;                 /* name → entry */
    struct watcher watchers[RESOURCE_KINDS];
    uint64_t listings;
};

static inline void unlock_resource(pthread_mutex_t **lock) { pthread_mutex_unlock(*lock); }
#define WITH_LOCK(resource) \
    __attribute__((cleanup(unlock_resource), unused)) pthread_mutex_t *locked_ = (pthread_mutex_lock(&(resource)->lock), &(resource)->lock)

/* --- entry.c (pure) --- */
struct entry *entry_new(struct resource *resource, const char *name) MUST_CHECK;
void entry_free(struct entry *entry);
/* False: old news, nothing changed. */
bool entry_see_terminal(struct entry *entry, const json_t *object, bool deleted);
bool entry_see_pod(struct entry *entry, const json_t *object, bool deleted);
bool entry_see_service(struct entry *entry, const json_t *object, bool deleted);
/* Whether the key of the pod that is there is not known yet. */
bool entry_needs_key(const struct entry *entry);
/* What the fleet is to be told; texts are the entry's, `id` has room for the instance's. */
void entry_observe(const struct entry *entry, bool by_service, char id[static 72], struct observation *observation);
enum error_class entry_failure(const char *reason);
/* Whose the resource is: its spec, where the policy may have been pruned its label. NULL: it does not say. The caller frees. */
struct terminal_key *entry_key_of(const json_t *object) MUST_CHECK;
/* Whether the resource's status says this phase. */
bool entry_is_phase(const struct entry *entry, const char *phase);
/* True for "uid" and "uid#n" of the pod that is there. */
bool entry_is_instance(const struct entry *entry, const char *instance_id);

/* --- build.c (pure) --- */
/* The resource for a terminal. ERR_INVALID_POLICY. */
json_t *resource_object(const struct resource *resource, const struct terminal_spec *spec, const char *name, struct error *err) MUST_CHECK;
/* One that asks for the reset `token` of a home that has no resource, and stays asleep. */
json_t *resource_reset_object(const struct resource *resource, const struct terminal_ref *ref, const char *name, const char *token) MUST_CHECK;

/* --- picture.c --- */
void picture_start(struct resource *resource);
void picture_stop(struct resource *resource);
bool picture_is_synced(const struct resource *resource);
extern const struct kube_handler resource_watch_handler;        /* context: struct watcher */
struct entry *picture_find(struct resource *resource, const char *name);                     /* (locked) */
struct entry *picture_find_key(struct resource *resource, const struct terminal_key *key);   /* (locked) */
/* Hands over what is known of the entry. (locked) */
void picture_tell_entry(struct resource *resource, struct entry *entry);
/* What a call of ours was answered: the resource as it is now. */
void picture_take(struct resource *resource, const json_t *object);
/* Waits for a change; false when the deadline (monotonic) has come or the service ends. (locked, unlocks) */
bool picture_wait_change(struct resource *resource, int64_t deadline_ms);
void picture_forget_empty(struct resource *resource);

/* --- the operations --- */
int resource_start(struct resource *resource, const struct terminal_spec *spec, struct error *err) MUST_CHECK;
int resource_stop(struct resource *resource, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
int resource_wipe(struct resource *resource, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
int resource_diagnose(struct resource *resource, const struct terminal_ref *ref, char **text, struct error *err) MUST_CHECK;
void resource_report_activity(struct resource *resource, const struct terminal_ref *ref, int64_t last_active_us);
void resource_check(struct resource *resource, check_report_fn *report, void *context);
/* The queue's work: keys and activity. */
void resource_work(struct workitem *item, void *resource);
/* The name under which the terminal of the key is, or is to be made; the caller frees. NULL on failure. */
char *resource_choose_name(struct resource *resource, const struct terminal_key *key, struct error *err) MUST_CHECK;

#endif
