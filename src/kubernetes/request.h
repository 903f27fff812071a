/* One call to the API server, from path to mapped error. Private to kubernetes/ (and its tests). */
#ifndef KUBERNETES_REQUEST_H
#define KUBERNETES_REQUEST_H

#include <stdatomic.h>

#include "base/metrics.h"
#include "http/client.h"
#include "kubernetes/client.h"
#include "kubernetes/limiter.h"

enum kube_operation {
    KUBE_OP_GET, KUBE_OP_LIST, KUBE_OP_WATCH, KUBE_OP_CREATE, KUBE_OP_REPLACE, KUBE_OP_PATCH, KUBE_OP_APPLY, KUBE_OP_DELETE, KUBE_OP_LOGS,
    KUBE_OP_REVIEW, KUBE_OP_PATH, KUBE_OPERATION_COUNT
};

struct kube_client {
    struct kube_config *config;
    struct http_client *http;
    struct kube_limiter limiter;
    int64_t timeout_ms, watch_silence_ms, relist_ms;
    unsigned page_size;
    atomic_int openshift;               /* 1 yes, 0 no, -1 not known yet */
    struct metric *calls[KUBE_OPERATION_COUNT], *errors[KUBE_OPERATION_COUNT], *seconds[KUBE_OPERATION_COUNT];
};

/* What a call is about, for its path and for its errors. `namespace`, `name` and `subresource` may be NULL. */
struct kube_target {
    const struct kube_resource *resource;
    const char *namespace, *name, *subresource;
};

struct kube_request {
    enum kube_operation operation;
    const char *method;
    const char *path;                   /* with its query */
    const struct kube_target *target;   /* NULL: the path stands for it in errors */
    const char *content_type;           /* of the body; NULL: application/json */
    const json_t *body;
    size_t max_response;                /* 0: 16 MiB */
    int64_t timeout_ms;                 /* of the exchange itself, for streams; 0: what is left of the client's time */
    int64_t stall_timeout_ms;
    bool (*on_data)(void *context, struct str data);
    void (*on_head)(void *context, int status);
    bool (*cancelled)(void *context);
    void *context;
};

/* Waits for the limiter, adds credentials, waits out 429 and 5xx with Retry-After, refreshes a refused credential once. Success: a 2xx answer, which the
 * caller clears. Errors as client.h says, with the target put before the server's words; but "expired: …" stays in front. */
int kube_request_run(struct kube_client *client, const struct kube_request *request, struct http_answer *answer, struct error *err) MUST_CHECK;
/* The same, with the body as JSON into `*result` (which may be NULL). */
int kube_request_json(struct kube_client *client, const struct kube_request *request, json_t **result, struct error *err) MUST_CHECK;

/* "/api/v1/namespaces/x/pods/y/status". ERR_INVALID for a name that could mean another path. The buffer is NUL-terminated; the caller frees
 * it. */
int kube_path(const struct kube_target *target, struct buf *path, struct error *err) MUST_CHECK;
/* Appends "?key=value" or "&key=value", encoded. */
void kube_path_query(struct buf *path, const char *key, const char *value);

/* Reads a Status object (or any other body) of a refused call. */
int kube_status_expired(struct error *err, const char *message);
int kube_status_error(int status, struct str body, struct error *err);
int kube_status_object_error(int status, const json_t *object, struct error *err);
/* Whether `err` says that a version is too old. */
bool kube_error_is_expired(const struct error *err);

/* Lists in pages; `begin` (may be NULL) is called before the first item, and again when the listing has to start anew. `cancelled` may be NULL. All get
 * `context`. */
struct kube_listing {
    void (*begin)(void *context);
    kube_each_fn *each;
    bool (*cancelled)(void *context);
    void *context;
};
int kube_list_run(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
                  const struct kube_listing *listing, char resource_version[static 64], struct error *err) MUST_CHECK;

struct kube_watching {
    void (*opened)(void *context);      /* the server has accepted the watch; may be NULL */
    kube_event_fn *event;
    bool (*cancelled)(void *context);
    void *context;
};
int kube_watch_run(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *selector,
                   char resource_version[static 64], const struct kube_watching *watching, struct error *err) MUST_CHECK;

#endif
