/* The calls of client.h, each a request with its path, method and body. */
#include "kubernetes/client.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "kubernetes/object.h"
#include "kubernetes/request.h"

#define DEFAULT_RATE 50
#define DEFAULT_BURST 100
#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_PAGE_SIZE 500
#define DEFAULT_WATCH_SILENCE_MS 150000
#define DEFAULT_RELIST_MS 600000
#define LOG_MAX (256u << 10)
#define CREATE_ATTEMPTS 6

const struct kube_resource KUBE_PODS = { "", "v1", "pods", "Pod", false };
const struct kube_resource KUBE_SERVICES = { "", "v1", "services", "Service", false };
const struct kube_resource KUBE_SECRETS = { "", "v1", "secrets", "Secret", false };
const struct kube_resource KUBE_PVCS = { "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", false };
const struct kube_resource KUBE_EVENTS = { "", "v1", "events", "Event", false };
const struct kube_resource KUBE_NETWORK_POLICIES = { "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", false };
const struct kube_resource KUBE_LEASES = { "coordination.k8s.io", "v1", "leases", "Lease", false };
const struct kube_resource KUBE_CRDS = { "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", true };
const struct kube_resource KUBE_STORAGE_CLASSES = { "storage.k8s.io", "v1", "storageclasses", "StorageClass", true };
const struct kube_resource KUBE_NAMESPACES = { "", "v1", "namespaces", "Namespace", true };

/* --- life ---------------------------------------------------------------------------------------------------- */

static void make_metrics(struct kube_client *client)
{
    static const char *const names[KUBE_OPERATION_COUNT] = {
        [KUBE_OP_GET] = "get", [KUBE_OP_LIST] = "list", [KUBE_OP_WATCH] = "watch", [KUBE_OP_CREATE] = "create",
        [KUBE_OP_REPLACE] = "replace", [KUBE_OP_PATCH] = "patch", [KUBE_OP_APPLY] = "apply", [KUBE_OP_DELETE] = "delete",
        [KUBE_OP_LOGS] = "logs", [KUBE_OP_REVIEW] = "review", [KUBE_OP_PATH] = "path",
    };
    static const double bounds[] = { 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 };

    for (size_t i = 0; i < KUBE_OPERATION_COUNT; i++) {
        cleanup_free char *labels = xasprintf("operation=\"%s\"", names[i]);

        client->calls[i] = metric_counter("terminals_engine_calls_total", "Calls to the engine.", labels);
        client->errors[i] = metric_counter("terminals_engine_errors_total",
                                           "Calls that the engine did not answer, or answered with an unexpected failure.", labels);
        client->seconds[i] = metric_histogram("terminals_engine_call_seconds", "How long the engine took to answer.", labels,
                                              bounds, COUNT_OF(bounds));
    }
}

struct kube_client *kube_client_new(struct kube_config *config, const struct kube_client_options *options, struct error *err)
{
    struct kube_client *client = xcalloc(1, sizeof(*client));
    struct http_client_options http = {
        .ca_pem = kube_config_ca_pem(config),
        .insecure = kube_config_skip_verify(config),
        .server_name = kube_config_server_name(config),
        .proxy = kube_config_proxy(config),
    };
    (void)err;

    client->config = config;
    client->http = http_client_new(&http);
    kube_limiter_init(&client->limiter, options->calls_per_second > 0 ? options->calls_per_second : DEFAULT_RATE,
                      options->burst ? options->burst : DEFAULT_BURST);
    client->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    client->watch_silence_ms = options->watch_silence_ms > 0 ? options->watch_silence_ms : DEFAULT_WATCH_SILENCE_MS;
    client->relist_ms = options->relist_ms > 0 ? options->relist_ms : DEFAULT_RELIST_MS;
    atomic_init(&client->openshift, -1);
    client->page_size = options->page_size ? options->page_size : DEFAULT_PAGE_SIZE;
    make_metrics(client);
    return client;
}

void kube_client_free(struct kube_client *client)
{
    if (!client)
        return;
    http_client_free(client->http);
    kube_limiter_destroy(&client->limiter);
    kube_config_free(client->config);
    free(client);
}

const struct kube_config *kube_client_config(const struct kube_client *client) { return client->config; }

/* --- objects ------------------------------------------------------------------------------------------------- */

/* A request of `operation` on `target`, with a query of one pair or none. */
static int run(struct kube_client *client, struct kube_request request, const struct kube_target *target, const char *query_key,
               const char *query_value, json_t **result, struct error *err)
{
    cleanup_buf struct buf path = { 0 };

    if (kube_path(target, &path, err) < 0)
        return -1;
    if (query_key)
        kube_path_query(&path, query_key, query_value);
    request.path = path.data;
    request.target = target;
    return kube_request_json(client, &request, result, err);
}

/* The object with apiVersion and kind, which the server wants for kinds that it has not built in. The caller owns the result. */
static json_t *with_kind(const json_t *object, const struct kube_resource *resource)
{
    json_t *typed = json_copy((json_t *)object);
    cleanup_free char *version = xasprintf("%s%s%s", resource->group, *resource->group ? "/" : "", resource->version);

    json_object_set_new(typed, "apiVersion", json_string(version));
    json_object_set_new(typed, "kind", json_string(resource->kind));
    return typed;
}

int kube_get(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name, json_t **result,
             struct error *err)
{
    struct kube_target target = { resource, namespace, name, NULL };

    return run(client, (struct kube_request){ .operation = KUBE_OP_GET, .method = "GET" }, &target, NULL, NULL, result, err);
}

/* "The object has been modified" cannot be about an object that is only being made: it is the namespace's quota, which several creations update at once. */
static bool quota_was_busy(const struct error *err)
{
    return err->class == ERR_CONFLICT && strstr(err->text, "resourcequotas") && strstr(err->text, "has been modified");
}

int kube_create(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
                json_t **result, struct error *err)
{
    cleanup_json json_t *body = with_kind(object, resource);
    struct kube_target target = { resource, namespace, NULL, NULL };
    struct kube_request request = { .operation = KUBE_OP_CREATE, .method = "POST", .body = body };
    struct error why = { 0 };

    for (int attempt = 1; run(client, request, &target, NULL, NULL, result, &why) < 0; attempt++) {
        uint16_t noise;
        if (!quota_was_busy(&why) || attempt == CREATE_ATTEMPTS) {
            if (err)
                *err = why;
            return -1;
        }
        random_bytes(&noise, sizeof(noise));
        (void)usleep((useconds_t)(1000 * (10 + noise % (unsigned)(40 * attempt))));
    }
    return 0;
}

int kube_replace(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
                 json_t **result, struct error *err)
{
    cleanup_json json_t *body = with_kind(object, resource);
    const char *name = kube_name(object);
    struct kube_target target = { resource, namespace, name, NULL };

    if (!name)
        return error_set(err, ERR_INVALID, "an object without a name cannot be replaced");
    return run(client, (struct kube_request){ .operation = KUBE_OP_REPLACE, .method = "PUT", .body = body }, &target, NULL, NULL, result, err);
}

int kube_merge_patch(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name,
                     const char *subresource, const json_t *patch, json_t **result, struct error *err)
{
    struct kube_target target = { resource, namespace, name, subresource };
    struct kube_request request = {
        .operation = KUBE_OP_PATCH, .method = "PATCH", .body = patch, .content_type = "application/merge-patch+json",
    };

    return run(client, request, &target, NULL, NULL, result, err);
}

int kube_apply(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const json_t *object,
               const char *subresource, const char *manager, bool force, json_t **result, struct error *err)
{
    cleanup_json json_t *body = with_kind(object, resource);
    cleanup_buf struct buf path = { 0 };
    struct kube_target target = { resource, namespace, kube_name(object), subresource };
    struct kube_request request = {
        .operation = KUBE_OP_APPLY, .method = "PATCH", .body = body, .content_type = "application/apply-patch+yaml", .target = &target,
    };

    if (!target.name)
        return error_set(err, ERR_INVALID, "an object without a name cannot be applied");
    if (kube_path(&target, &path, err) < 0)
        return -1;
    kube_path_query(&path, "fieldManager", manager);
    if (force)
        kube_path_query(&path, "force", "true");
    request.path = path.data;
    return kube_request_json(client, &request, result, err);
}

static json_t *delete_body(const struct kube_delete_options *options)
{
    json_t *body = json_pack("{s:s, s:s, s:s}", "apiVersion", "v1", "kind", "DeleteOptions", "propagationPolicy", "Background");
    json_t *preconditions = json_object();

    if (options && options->uid)
        json_object_set_new(preconditions, "uid", json_string(options->uid));
    if (options && options->resource_version)
        json_object_set_new(preconditions, "resourceVersion", json_string(options->resource_version));
    if (json_object_size(preconditions) > 0)
        json_object_set(body, "preconditions", preconditions);
    json_decref(preconditions);
    if (options && options->grace_s >= 0)
        json_object_set_new(body, "gracePeriodSeconds", json_integer(options->grace_s));
    return body;
}

int kube_delete(struct kube_client *client, const struct kube_resource *resource, const char *namespace, const char *name,
                const struct kube_delete_options *options, struct error *err)
{
    cleanup_json json_t *body = delete_body(options);
    struct kube_target target = { resource, namespace, name, NULL };

    return run(client, (struct kube_request){ .operation = KUBE_OP_DELETE, .method = "DELETE", .body = body }, &target, NULL, NULL, NULL, err);
}

/* --- the rest ------------------------------------------------------------------------------------------------ */

int kube_logs(struct kube_client *client, const char *namespace, const char *pod, const char *container, unsigned tail, bool previous,
              char **text, struct error *err)
{
    cleanup_http_answer struct http_answer answer = { 0 };
    cleanup_buf struct buf path = { 0 };
    struct kube_target target = { &KUBE_PODS, namespace, pod, "log" };
    struct kube_request request = { .operation = KUBE_OP_LOGS, .method = "GET", .target = &target };
    char number[32];

    if (kube_path(&target, &path, err) < 0)
        return -1;
    (void)snprintf(number, sizeof(number), "%u", tail);
    kube_path_query(&path, "tailLines", number);
    (void)snprintf(number, sizeof(number), "%u", LOG_MAX);
    kube_path_query(&path, "limitBytes", number);
    if (container)
        kube_path_query(&path, "container", container);
    if (previous)
        kube_path_query(&path, "previous", "true");
    request.path = path.data;
    if (kube_request_run(client, &request, &answer, err) < 0)
        return -1;
    *text = str_dup(buf_str(&answer.body));
    return 0;
}

int kube_may_i(struct kube_client *client, const struct kube_resource *resource, const char *subresource, const char *verb,
               const char *namespace, bool *allowed, struct error *err)
{
    static const struct kube_resource reviews = {
        "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", true,
    };
    struct kube_target target = { .resource = &reviews };
    cleanup_json json_t *attributes = json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "verb", verb, "group", resource->group, "resource",
                                                resource->plural, "subresource", subresource, "namespace", namespace);
    cleanup_json json_t *question = json_pack("{s:{s:O}}", "spec", "resourceAttributes", attributes);
    cleanup_json json_t *body = with_kind(question, &reviews);
    cleanup_json json_t *result = NULL;

    if (run(client, (struct kube_request){ .operation = KUBE_OP_REVIEW, .method = "POST", .body = body }, &target, NULL, NULL, &result, err) < 0)
        return -1;
    *allowed = json_is_true(kube_at(result, "status", "allowed", NULL));
    return 0;
}

int kube_get_path(struct kube_client *client, const char *path, json_t **result, struct error *err)
{
    struct kube_request request = { .operation = KUBE_OP_PATH, .method = "GET", .path = path };

    return kube_request_json(client, &request, result, err);
}

bool kube_is_openshift(struct kube_client *client)
{
    struct error err;

    if (atomic_load(&client->openshift) < 0) {
        bool found = kube_get_path(client, "/apis/security.openshift.io/v1", NULL, &err) == 0;
        if (!found && err.class != ERR_NOT_FOUND)
            return false;
        atomic_store(&client->openshift, found);
    }
    return atomic_load(&client->openshift) == 1;
}
