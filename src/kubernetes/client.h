/* A small Kubernetes API client: blocking calls over libcurl, objects as jansson values. Every call may come from any thread. Calls pass a
 * client-side rate limit; 429 and 503 with Retry-After are waited out within the call's time. Counted in terminals_engine_calls_total. */
#ifndef KUBERNETES_CLIENT_H
#define KUBERNETES_CLIENT_H

#include <jansson.h>

#include "kubernetes/config.h"

/* A kind of object. Texts are the owner's (literals for the built-in ones below). */
struct kube_resource {
    const char *group, *version, *plural, *kind;        /* group "" for the core */
    bool cluster_wide;
};
extern const struct kube_resource KUBE_PODS, KUBE_SERVICES, KUBE_SECRETS, KUBE_PVCS, KUBE_EVENTS, KUBE_NETWORK_POLICIES, KUBE_LEASES,
    KUBE_CRDS, KUBE_STORAGE_CLASSES, KUBE_NAMESPACES;

struct kube_client_options {
    double calls_per_second;            /* 0: 50 */
    unsigned burst;                     /* 0: 100 */
    int64_t timeout_ms;                 /* of one call with its waits; 0: 30 s */
    unsigned page_size;                 /* of lists; 0: 500 */
    int64_t relist_ms;                  /* how long an informer trusts its watches before it lists again; 0: 10 minutes */
    int64_t watch_silence_ms;           /* a watch that brings nothing for so long, not even a bookmark, has lost its connection; 0: 150 s */
};

struct kube_client;

/* Takes the config over. */
struct kube_client *kube_client_new(struct kube_config *config, const struct kube_client_options *options, struct error *err) MUST_CHECK;
void kube_client_free(struct kube_client *client);
const struct kube_config *kube_client_config(const struct kube_client *client);

/* Errors of all calls: ERR_NOT_FOUND 404, ERR_CONFLICT 409 (exists already, or another wrote first: the text says which), ERR_FORBIDDEN 401/403 (but a quota that
 * is used up: ERR_NO_CAPACITY), ERR_INVALID 400/422, ERR_LIMIT 429 to the end, ERR_UNAVAILABLE no connection or 5xx, ERR_TIMEOUT. The text holds the
 * server's message. `result` may be NULL; else the caller owns what it gets. */
int kube_get(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name, json_t **result,
             struct error *err) MUST_CHECK;
int kube_create(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
                json_t **result, struct error *err) MUST_CHECK;
/* PUT: the object's metadata.resourceVersion is the precondition. */
int kube_replace(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
                 json_t **result, struct error *err) MUST_CHECK;
/* `subresource` NULL or "status". */
int kube_merge_patch(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name,
                     const char *subresource, const json_t *patch, json_t **result, struct error *err) MUST_CHECK;
/* Server-side apply under a field manager; `force` takes fields from others. */
int kube_apply(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
               const char *subresource, const char *manager, bool force, json_t **result, struct error *err) MUST_CHECK;

struct kube_delete_options {
    const char *uid, *resource_version; /* preconditions, or NULL */
    int64_t grace_s;                    /* negative: the object's own */
};
int kube_delete(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name,
                const struct kube_delete_options *options, struct error *err) MUST_CHECK;

/* Calls `each` (borrowed object) for everything that matches, in pages of 500, while they arrive (a listing that has to start anew, because the server forgot its
 * snapshot between two pages, shows objects again); `selector` (labels) may be NULL, `namespace` NULL means all.
 * `resource_version` (64 bytes) gets the list's. `each` false stops with success. */
typedef bool kube_each_fn(void *context, const json_t *object);
int kube_list(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
              kube_each_fn *each, void *context, char resource_version[static 64], struct error *err) MUST_CHECK;

enum kube_watch_type { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED, KUBE_BOOKMARK };
/* Streams changes after `resource_version`, which follows what was seen (bookmarks too), until the server ends the stream (success), `cancelled` says so
 * (success), or it fails. ERR_CONFLICT with a text that begins with "expired" when the version is too old (410), or so strange that nothing came at all: list again. Events are parsed one by one as
 * they arrive. */
typedef void kube_event_fn(void *context, enum kube_watch_type type, const json_t *object);
int kube_watch(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
               char resource_version[static 64], kube_event_fn *event, bool (*cancelled)(void *context), void *context, struct error *err)
    MUST_CHECK;

/* The last `tail` lines of a container's log; the caller frees. */
int kube_logs(struct kube_client *client, const char *namespace, const char *pod, const char *container, unsigned tail, bool previous,
              char **text, struct error *err) MUST_CHECK;
/* SelfSubjectAccessReview. `subresource` may be NULL. */
int kube_may_i(struct kube_client *client, const struct kube_resource *resource, const char *subresource, const char *verb,
               const char *namespace, bool *allowed, struct error *err) MUST_CHECK;
/* GET of a path such as "/version". */
int kube_get_path(struct kube_client *client, const char *path, json_t **result, struct error *err) MUST_CHECK;
/* Whether the cluster is an OpenShift, whose admission gives a restricted pod its user and group and refuses others. Asked once; false also
 * where it cannot be asked just now. */
bool kube_is_openshift(struct kube_client *client);

#endif
