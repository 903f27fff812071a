/* What the files of this module share: the backend's object, its picture of the namespace, and the steps that its operations are made of. */
#ifndef BACKEND_KUBERNETES_PARTS_H
#define BACKEND_KUBERNETES_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "backend/kubernetes/kubernetes.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "kubernetes/informer.h"
#include "kubernetes/object.h"
#include "kubernetes/terminal.h"

#define GUEST_PORT 8000
#define GUEST_HOME "/home/user"
#define NAME_PREFIX "terminal-"
#define OBJECT_NAME_SIZE 96             /* a terminal's name with any suffix of ours */

/* Beside those that kubernetes/terminal.h names. */
#define ANNOTATION_CLEANER "openwebui.com/cleaner"          /* PVC: what the pod that empties it has to be like, as JSON */
#define ANNOTATION_CLAIMED "openwebui.com/claimed"          /* Secret: changes when a new start takes a left one over */
#define LABEL_PART_OF "app.kubernetes.io/part-of"
#define LABEL_PART_OF_VALUE "open-terminal"
#define LABEL_INSTANCE "app.kubernetes.io/instance"         /* the terminal's name; what the Service selects by */
#define LABEL_WIPE "openwebui.com/wipe"                     /* "true" on the pods that empty homes */
#define SELECTOR SECRETS_SELECTOR ",!" LABEL_TERMINAL       /* what has the latter is an operator's to keep */
#define SECRETS_SELECTOR LABEL_MANAGED_BY "=" LABEL_MANAGED_BY_VALUE       /* an operator's too: its terminal of the same name has the same Secret */
#define API_KEY_FIELD "api-key"

enum kind { KIND_PODS, KIND_SECRETS, KIND_SERVICES, KIND_COUNT };

/* What a pod says of itself. */
struct pod_state {
    enum observed_phase phase;
    enum error_class failure;
    char message[400];
    char ip[64];                        /* "" while it has none */
    bool ready;
    bool unschedulable;                 /* no node takes it so far: STARTING, with `failure` and `message` for the case that it stays so */
    bool preparing;                     /* STARTING: the node has it, and fetches its image */
    bool ended_well;                    /* STOPPED: the container exited with code 0 */
    int64_t restarts;
};

/* One pod of ours in the picture. */
struct pod_entry {
    char *name, *uid;
    struct terminal_key *key;           /* NULL: one that empties a home, or the original's whose key its labels do not tell */
    bool is_wipe;
    struct pod_state state;
    bool was_ready;                     /* has been seen ready once */
    char key_hash[13];                  /* "" on the original's */
    char *guest_key;                    /* found in the Secret once; it does not change while the pod lives. NULL: not known */
    char *image, *spec_hash;
    int64_t seen_ms;                    /* when it came into the picture, monotonic */
    bool secret_was_read;               /* the keeper has asked for a Secret that carries no labels */
    int64_t unschedulable_ms, no_secret_ms, no_service_ms, ended_ms;        /* since when; 0: not so */
    uint64_t listing;                   /* the last one that had it, or that was current when an event came */
};

/* One Secret or Service of ours in the picture. */
struct object_entry {
    char *name, *uid, *version;
    struct terminal_key *key;           /* NULL: not told */
    char *guest_key;                    /* Secrets */
    bool is_operators;                  /* Secrets: used by ours as well, but not ours to take away */
    char *cluster_ip;                   /* Services; NULL: none */
    int64_t orphan_ms;                  /* since when no pod goes with it; 0: not so */
    uint64_t listing;
};

struct kubernetes;

/* What the informer of one kind gets as context. */
struct listener {
    struct kubernetes *k;
    enum kind kind;
    bool synced, failing;               /* under `lock` */
    uint64_t listing;                   /* under `lock` */
};

struct kubernetes {
    struct backend backend;
    const struct settings *settings;    /* borrowed */
    struct kube_client *client;
    const char *namespace;              /* the settings' */
    atomic_bool stopping;               /* stop_watching() was called */
    bool network_policy_is_unsure;      /* told already; the keeper's own */

    /* Guards all below. Held while an observation is handed over, so that an older one never overtakes a newer one. */
    pthread_mutex_t lock;
    pthread_cond_t changed;             /* a pod in the picture changed, a kind is synced, or `stopping` */
    pthread_cond_t keeper_wakes;
    bool keeper_needed;
    struct observer *observer;          /* NULL unless watch() runs */
    struct listener listeners[KIND_COUNT];
    struct map pods, secrets, services; /* by name: struct pod_entry, struct object_entry */
    struct list starting;               /* struct current_start */
    struct map cleaners;                /* terminal name → struct note (cleaner.c), for homes on a shared volume */
};

static inline void unlock_picture(pthread_mutex_t **lock) { pthread_mutex_unlock(*lock); }
/* Holds the lock to the end of the block. */
#define WITH_PICTURE(k) \
    __attribute__((cleanup(unlock_picture), unused)) pthread_mutex_t *locked_ = (pthread_mutex_lock(&(k)->lock), &(k)->lock)

/* --- names.c (pure) ------------------------------------------------------------------------------------------ */

enum owner {
    OWNER_SAME,             /* exactly this key */
    OWNER_FITS,             /* the original's, and its labels fit this key */
    OWNER_OTHER,            /* another terminal's */
    OWNER_FOREIGN,          /* not ours at all */
};

void secret_name(const char *name, char out[static OBJECT_NAME_SIZE]);
/* Labels of everything that belongs to the key: §4.1 with hashed values where needed, `instance`, and `extra` (the administrator's; may be NULL), which never
 * replace ours. The caller owns the result, as of all that follow. */
json_t *terminal_labels(const struct terminal_key *key, const char *instance, const json_t *extra) MUST_CHECK;
json_t *terminal_annotations(const struct terminal_key *key) MUST_CHECK;
json_t *terminal_metadata(const struct terminal_key *key, const char *namespace, const char *name, const char *instance, const json_t *extra)
    MUST_CHECK;
/* The key that an object of ours names exactly; NULL when it is not ours or its labels leave it open. The caller frees. */
struct terminal_key *key_of_object(const json_t *object) MUST_CHECK;
/* `slug_is_enough`: a policy label that is only the slug fits too. */
enum owner owner_of_object(const json_t *object, const struct terminal_key *key, bool slug_is_enough);
/* ERR_CONFLICT, and what to do. */
int refuse_foreign(const char *kind, const char *name, enum owner owner, struct error *err);

/* --- pod.c (pure) -------------------------------------------------------------------------------------------- */

struct pod_plan {
    const char *name, *namespace;
    const char *claim, *sub_path;       /* sub_path NULL: the whole volume */
    const char *guest_key;              /* only its hash goes into the pod */
    const struct settings *settings;
    bool choose_fs_group;               /* nobody else does */
};
/* The body of the terminal's pod. ERR_INVALID_POLICY. */
json_t *pod_body(const struct terminal_spec *spec, const struct pod_plan *plan, struct error *err) MUST_CHECK;
/* As kube_cleaner_of(), for a terminal about which nothing is known but the settings. */
json_t *default_cleaner(const struct settings *settings, const char *image) MUST_CHECK;
json_t *wipe_body(const struct terminal_key *key, const struct pod_plan *plan, const json_t *cleaner) MUST_CHECK;

/* --- security.c (pure) --------------------------------------------------------------------------------------- */

/* Defaults of restricted mode, over them the settings', over them the policy's. `policy` may be NULL. */
json_t *pod_security_context(const struct settings *settings, const json_t *policy, bool restricted) MUST_CHECK;
json_t *container_security_context(const struct settings *settings, const json_t *policy, bool restricted) MUST_CHECK;

/* --- amounts.c (pure) ---------------------------------------------------------------------------------------- */

/* Limits and small requests of the terminal's container; `given` is the template's `resources` or NULL, whose requests stay. ERR_INVALID_POLICY for gpus. */
json_t *pod_resources(const struct terminal_spec *spec, const json_t *given, struct error *err) MUST_CHECK;

/* --- state.c (pure) ------------------------------------------------------------------------------------------ */

/* `was_ready`: the guest has been ready before, so that its container may restart. */
void pod_state_read(const json_t *pod, bool was_ready, struct pod_state *state);
/* "uid", or "uid#n" after the n-th restart of the guest's container: another instance for those who hold connections to it. */
void instance_id_format(const char *uid, int64_t restarts, char out[static OBJECT_NAME_SIZE]);
/* The uid in it; the caller frees. */
char *instance_id_uid(const char *instance_id) MUST_CHECK;

/* --- picture.c ----------------------------------------------------------------------------------------------- */

void picture_init(struct kubernetes *k);
void picture_free(struct kubernetes *k);
extern const struct kube_handler picture_handler;       /* context: struct listener */
/* What a call of ours got to see of a Secret or Service, before the event comes. */
void picture_note(struct kubernetes *k, enum kind kind, const json_t *object);
/* The API server says that this very pod is no more, whatever the watch has told. */
void picture_forget_pod(struct kubernetes *k, const char *name, const char *uid);
void picture_forget(struct kubernetes *k, enum kind kind, const char *name, const char *uid);
/* (locked) */
struct pod_entry *picture_pod(const struct kubernetes *k, const char *name);
struct object_entry *picture_object(const struct kubernetes *k, enum kind kind, const char *name);
/* Whether no node has taken the pod for longer than the settings allow. (locked) */
bool picture_finds_no_node(const struct kubernetes *k, const struct pod_entry *pod);
/* Tells the observer what is known of the pod. (locked) */
void picture_tell(struct kubernetes *k, struct pod_entry *pod);
/* Tells that there is no such terminal, unless the picture has its pod. */
void picture_tell_absent(struct kubernetes *k, const char *name, const struct terminal_key *key);
/* Waits until something changes, `ms` at most, or stop_watching(). (locked, unlocks) */
void picture_wait(struct kubernetes *k, int64_t ms);
void picture_wake_keeper(struct kubernetes *k);         /* (locked) */
void picture_set_guest_key(struct kubernetes *k, const char *name, const char *uid, const char *guest_key);
/* The key in a Secret; NULL when it holds none. The caller frees. */
char *secret_read_key(const json_t *secret) MUST_CHECK;

struct current_start {
    struct list node;
    const char *name;
};
void current_start_begin(struct kubernetes *k, struct current_start *start, const char *name);
void current_start_end(struct kubernetes *k, struct current_start *start);
bool current_start_exists(const struct kubernetes *k, const char *name);       /* (locked) */

/* --- secret.c, service.c ------------------------------------------------------------------------------------- */

/* One very object. Owned texts; uid NULL: none. */
struct object_id {
    char *uid, *version;
};
struct object_id object_id_of(const json_t *object) MUST_CHECK;
void object_id_clear(struct object_id *id);
#define cleanup_object_id __attribute__((cleanup(object_id_clear)))

/* Makes sure that the Secret is there. `*guest_key` (owned by the caller) is the key that it holds: `wanted`, or that of a Secret that was there already.
 * `created` (cleared by the caller): the Secret, if this call made it; else untouched. */
int secret_ensure(struct kubernetes *k, const struct terminal_key *key, const char *name, const char *wanted, char **guest_key,
                  struct object_id *created, struct error *err) MUST_CHECK;
int service_ensure(struct kubernetes *k, const struct terminal_key *key, const char *name, char **created_uid, struct error *err) MUST_CHECK;
/* Body of the Service (pure). */
json_t *service_body(const struct terminal_key *key, const char *name, const struct settings *settings) MUST_CHECK;

/* The Secret or Service with this name as it is now, if it is this key's and no operator keeps it; else `id` stays empty. */
int object_find(struct kubernetes *k, enum kind kind, const struct terminal_key *key, const char *name, struct object_id *id, struct error *err) MUST_CHECK;
/* Deletes it. Success also when there is none, or when another start has taken it over since it was found. */
int object_remove(struct kubernetes *k, enum kind kind, const char *name, const struct object_id *id, struct error *err) MUST_CHECK;

/* --- storage.c ----------------------------------------------------------------------------------------------- */

struct home {
    char *claim, *sub_path;             /* owned; sub_path NULL: the whole volume */
    char *cleaner;                      /* the annotation's JSON, or NULL */
    bool unused;                        /* the volume was never bound: nothing is in it */
    struct object_id created;           /* the claim, if this call made it */
};
void home_clear(struct home *home);
#define cleanup_home __attribute__((cleanup(home_clear)))

/* Finds or makes the claim for the key. `cleaner` is noted for the time when the home is emptied. */
int home_claim_prepare(struct kubernetes *k, const struct terminal_spec *spec, const char *name, const json_t *cleaner, struct home *home,
                 struct error *err) MUST_CHECK;
/* The claim of its own, or the shared one. ERR_NOT_FOUND when there is none. */
int home_claim_find(struct kubernetes *k, const struct terminal_key *key, const char *name, bool shared, struct home *home, struct error *err) MUST_CHECK;
/* Whether the terminal's home lies on the shared claim as far as the settings and this process's own starts tell. */
bool home_may_be_shared(struct kubernetes *k, const char *name);
/* Takes back a claim that home_claim_prepare() made and nobody has used since. */
void home_claim_undo(struct kubernetes *k, const struct home *home);
/* Body of the claim (pure). `spec` may be NULL for a shared one. */
json_t *claim_body(const struct terminal_spec *spec, const char *claim, const char *name, const char *mode, const struct settings *settings,
                   const json_t *cleaner) MUST_CHECK;

/* --- cleaner.c ----------------------------------------------------------------------------------------------- */

#define CLEANERS_MAX 4096               /* a few hundred bytes each */
/* Remembers what the pod that empties this terminal's home on the shared claim has to be like; beyond the limit, what was noted longest ago is forgotten. */
void cleaner_note(struct kubernetes *k, const char *name, const json_t *cleaner);
/* Its JSON, which the caller frees; NULL: not known. */
char *cleaner_noted(struct kubernetes *k, const char *name) MUST_CHECK;
bool cleaner_is_noted(struct kubernetes *k, const char *name);

/* --- network_policy.c ---------------------------------------------------------------------------------------- */

/* Puts the namespace's policy in place (or takes it away where it is switched off). Failures are logged. False: something that it is made of is not known
 * just now; one that is there was left alone. Try again soon. */
bool network_policy_apply(struct kubernetes *k);
/* Body (pure): who may come in (nobody named: it says nothing about that), and which addresses (CIDR texts) no guest may reach. */
json_t *network_policy_body(const char *namespace, const json_t *orchestrators, const json_t *denied) MUST_CHECK;
extern const char network_policy_name[];

/* --- the operations ------------------------------------------------------------------------------------------ */

int kubernetes_start(struct kubernetes *k, const struct terminal_spec *spec, struct error *err) MUST_CHECK;
int kubernetes_stop(struct kubernetes *k, const struct terminal_ref *ref, unsigned grace_s, struct error *err) MUST_CHECK;
int kubernetes_wipe(struct kubernetes *k, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
/* How long a pod that empties a home may be seen: a minute longer than anybody waits for one. */
int64_t wipe_limit_ms(const struct kubernetes *k);
int kubernetes_diagnose(struct kubernetes *k, const struct terminal_ref *ref, char **text, struct error *err) MUST_CHECK;
void kubernetes_check(struct kubernetes *k, check_report_fn *report, void *context);
/* What a guest printed last, cleaned; "" when that cannot be read. The caller frees. */
char *last_words(struct kubernetes *k, const char *pod, const char *container, bool previous) MUST_CHECK;

/* keeper.c: the thread that puts right what no event does: time limits, leftovers, what was deleted by hand. */
void *keeper_run(void *kubernetes);

#endif
