/* The contract between the fleet and an engine that runs terminals (Docker, Kubernetes, the Terminal resource).
 *
 * The fleet asks (start, stop, wipe), the backend tells (observations); the two are not paired. A call may return long
 * before its effect shows, an effect may show that nobody here asked for (another replica of us, an administrator, a crash),
 * and the fleet acts on what it observes only. Everything is safe to repeat. All calls block and come from the
 * fleet's threads, several at once for different terminals, at most one at a time for the same terminal. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <jansson.h>
#include <sys/socket.h>

#include "backend/key.h"

/* Where a guest listens. */
struct endpoint {
    struct sockaddr_storage address;    /* IP and port, or a Unix socket */
    socklen_t address_len;              /* 0: not known */
    char host[256];                     /* the same for people: an address or a name */
    unsigned port;
};

enum observed_phase {
    OBSERVED_ABSENT,        /* certainly not there; never reported because the engine cannot be reached */
    OBSERVED_STARTING,      /* there, not yet running */
    OBSERVED_RUNNING,       /* the guest's process runs; it may not listen yet */
    OBSERVED_STOPPED,       /* there, ended; starting anew replaces it */
    OBSERVED_STOPPING,
    OBSERVED_FAILED,        /* will not run without a change; `failure` and `message` say why */
};

/* What is really there. All pointers are borrowed for the time of the call. */
struct observation {
    const char *name;                   /* terminal name as the engine has it */
    const struct terminal_key *key;     /* from the labels; NULL only in OBSERVED_ABSENT */
    enum observed_phase phase;
    const char *instance_id;            /* the engine's id, or NULL */
    const char *guest_key;              /* bearer key of the guest, or NULL when not known */
    const char *spec_hash;              /* or NULL */
    const char *image;                  /* or NULL */
    struct endpoint endpoint;           /* meaningful when running */
    bool ready;                         /* the engine itself has seen it healthy; false says nothing */
    bool preparing;                     /* OBSERVED_STARTING: it has a place and waits for its image, which may take minutes; the guest does not boot yet */
    enum error_class failure;           /* OBSERVED_FAILED, OBSERVED_STOPPED: why, or ERR_NONE */
    const char *message;                /* the same for a person, or NULL */
};

/* Implemented by the fleet; callable from any thread of the backend, also from inside its calls. */
struct observer {
    /* One thing changed, or was seen again. */
    void (*observe)(struct observer *observer, const struct observation *observation);
    /* A complete listing begins, before the engine is asked for it; observations follow; at its end every terminal that was not seen
     * since the beginning, and for which no start runs, is absent. One listing at a time. */
    void (*listing_begin)(struct observer *observer);
    void (*listing_end)(struct observer *observer);
    /* The engine can (again) or cannot be reached; `err` is NULL when it can. Changes no terminal's state. */
    void (*reachable)(struct observer *observer, const struct error *err);
    /* Something with this name is there, but the engine cannot say what it is like: what was known of it stays. */
    void (*keep)(struct observer *observer, const char *name);
};

/* What to start. All pointers are borrowed for the time of the call. */
struct terminal_spec {
    const struct terminal_key *key;
    const char *guest_key;              /* for a new guest; an adopted one keeps and reports its own */
    const char *image;
    const json_t *env;                  /* object of strings, complete but for OPEN_TERMINAL_API_KEY */
    uint64_t nano_cpus, memory_bytes, storage_bytes;    /* 0: no limit */
    const char *storage_mode, *runtime, *gpus, *network;        /* NULL: not named */
    int64_t pids_limit;                 /* 0: the backend's default */
    bool restricted, allow_sudo, net_admin;
    const char *spec_hash;              /* of everything above but the key pair */
    const json_t *policy;               /* the stored policy, for podTemplate and the like; may be NULL */
    int64_t pull_deadline_ms;           /* monotonic: a pull or a call may take until then */
};

/* Which terminal, for everything but start. */
struct terminal_ref {
    const struct terminal_key *key;
    const char *name;                   /* as observed; NULL: derive it from the key */
    const char *instance_id;            /* as observed, a precondition where the engine has such; or NULL */
    const char *image;                  /* as observed, or NULL */
    bool ended;                         /* stop(): what ended or cannot run is cleared away; one that lives by now stays */
};

struct backend;

/* One line of `terminals doctor`. `fix` is NULL when `ok`. */
struct check_result {
    bool ok;
    const char *what, *detail, *fix;
};
typedef void check_report_fn(void *context, const struct check_result *result);

struct backend_ops {
    const char *name;                   /* "docker", … as /api/v1/status shows it */
    const char *name_prefix;            /* "terminals-" or "terminal-" */

    /* Reports everything that is ours, then what changes, until backend->stop_watching; reconnects and lists again by itself after
     * a fault. Runs on its own thread, once. The first listing_end() makes the service ready. */
    void (*watch)(struct backend *backend, struct observer *observer);
    void (*stop_watching)(struct backend *backend);

    /* Begins to make the terminal: pulls a missing image, makes the home, creates and starts. Where one of the same key runs already,
     * adopts it. Progress comes as observations. On failure nothing half-made of *this* call is left behind. */
    int (*start)(struct backend *backend, const struct terminal_spec *spec, struct error *err) MUST_CHECK;
    /* Ends the guest (`grace_s`, then by force) and removes all but the home. Success when there is none. May return before it is
     * gone: OBSERVED_ABSENT says so. */
    int (*stop)(struct backend *backend, const struct terminal_ref *ref, unsigned grace_s, struct error *err) MUST_CHECK;
    /* Empties the home; called only while the terminal is absent. Success when there is none. */
    int (*wipe)(struct backend *backend, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
    /* Optional (NULL): looks at the terminal again, now, since its user finds no guest there; an observation tells. Wakes one that was paused. */
    int (*look)(struct backend *backend, const struct terminal_ref *ref, struct error *err) MUST_CHECK;
    /* The last lines that the guest printed and how it ended, for a person; the caller frees. */
    int (*diagnose)(struct backend *backend, const struct terminal_ref *ref, char **text, struct error *err) MUST_CHECK;
    /* Optional (NULL): tells the engine's own bookkeeping when the terminal was last used (wall µs). Throttled by the caller. */
    void (*report_activity)(struct backend *backend, const struct terminal_ref *ref, int64_t last_active_us);
    /* Whatever `terminals doctor` should try. */
    void (*check)(struct backend *backend, check_report_fn *report, void *context);
    void (*free)(struct backend *backend);
};

struct backend {
    const struct backend_ops *ops;
    unsigned best_parallel_starts;      /* how many starts side by side the engine does best; 0 = no limit */
};

#endif
