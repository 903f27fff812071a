/* The backend's object and its table of operations. */
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"

/* Starts of many users at once take a few calls each; the server's own fairness is the real limit. */
enum { CALLS_PER_SECOND = 200, CALLS_AT_ONCE = 400 };
enum { WORK_THREADS = 8, FORGET_EVERY_MS = 60000, LOOK_MS = 50, PARALLEL_STARTS = 20 };

static struct resource *resource_of(struct backend *backend) { return CONTAINER_OF(backend, struct resource, backend); }

/* --- watching --- */

static void tell_everything(struct resource *resource)
{
    size_t position = 0;
    struct str name;
    void *entry;

    resource->told = true;
    resource->observer->listing_begin(resource->observer);
    while (map_next(&resource->entries, &position, &name, &entry))
        picture_tell_entry(resource, entry);
    resource->observer->listing_end(resource->observer);
}

static void wait_for_first_sight(struct resource *resource)
{
    WITH_LOCK(resource);
    while (!atomic_load(&resource->stopping) && !picture_is_synced(resource))
        (void)picture_wait_change(resource, clock_monotonic_ms() + LOOK_MS);
    if (!atomic_load(&resource->stopping))
        tell_everything(resource);
}

static void wait_until_stopped(struct resource *resource)
{
    while (!atomic_load(&resource->stopping)) {
        int64_t again_ms = clock_monotonic_ms() + FORGET_EVERY_MS;
        {
            WITH_LOCK(resource);
            while (!atomic_load(&resource->stopping) && clock_monotonic_ms() < again_ms)
                (void)picture_wait_change(resource, again_ms);
        }
        picture_forget_empty(resource);
    }
}

static void watch(struct backend *backend, struct observer *observer)
{
    struct resource *resource = resource_of(backend);

    {
        WITH_LOCK(resource);
        resource->observer = observer;
    }
    picture_start(resource);
    wait_for_first_sight(resource);
    wait_until_stopped(resource);
    picture_stop(resource);
    WITH_LOCK(resource);
    resource->observer = NULL;
}

static void stop_watching(struct backend *backend)
{
    struct resource *resource = resource_of(backend);

    WITH_LOCK(resource);
    atomic_store(&resource->stopping, true);
    pthread_cond_broadcast(&resource->changed);
}

/* --- the table --- */

static int start(struct backend *backend, const struct terminal_spec *spec, struct error *err)
{
    return resource_start(resource_of(backend), spec, err);
}

/* The pod's own grace is what counts: the operator deletes it. */
static int stop(struct backend *backend, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    (void)grace_s;
    return resource_stop(resource_of(backend), ref, err);
}

static int wipe(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    return resource_wipe(resource_of(backend), ref, err);
}

static int diagnose(struct backend *backend, const struct terminal_ref *ref, char **text, struct error *err)
{
    return resource_diagnose(resource_of(backend), ref, text, err);
}

static void report_activity(struct backend *backend, const struct terminal_ref *ref, int64_t last_active_us)
{
    resource_report_activity(resource_of(backend), ref, last_active_us);
}

static void check(struct backend *backend, check_report_fn *report, void *context)
{
    resource_check(resource_of(backend), report, context);
}

static void free_entry(void *entry) { entry_free(entry); }

static void free_resource(struct backend *backend)
{
    struct resource *resource = resource_of(backend);

    workqueue_free(resource->queue);
    map_free(&resource->entries, free_entry);
    kube_client_free(resource->client);
    (void)pthread_mutex_destroy(&resource->lock);
    (void)pthread_cond_destroy(&resource->changed);
    free(resource->api_version);
    free(resource);
}

static const struct backend_ops ops = {
    .name = "kubernetes-operator", .name_prefix = RESOURCE_NAME_PREFIX, .watch = watch, .stop_watching = stop_watching, .start = start,
    .stop = stop, .wipe = wipe, .diagnose = diagnose, .report_activity = report_activity, .check = check, .free = free_resource,
};

struct backend *resource_backend_new(const struct settings *settings, struct error *err)
{
    struct kube_client_options options = { .calls_per_second = CALLS_PER_SECOND, .burst = CALLS_AT_ONCE,
                                            .relist_ms = (int64_t)settings->kubernetes_relist_s * 1000 };
    struct kube_config *config = kube_config_load(settings->kubernetes_kubeconfig, err);
    struct kube_client *client = config ? kube_client_new(config, &options, err) : NULL;
    pthread_condattr_t monotonic;

    if (!client)
        return NULL;
    struct resource *resource = xcalloc(1, sizeof *resource);
    resource->backend = (struct backend){ &ops, PARALLEL_STARTS };
    resource->settings = settings;
    resource->client = client;
    resource->terminals = (struct kube_resource){ settings->kubernetes_crd_group, settings->kubernetes_crd_version, "terminals", "Terminal", false };
    resource->api_version = xasprintf("%s/%s", settings->kubernetes_crd_group, settings->kubernetes_crd_version);
    resource->namespace = settings->kubernetes_namespace;
    resource->by_service = settings->kubernetes_address && strcmp(settings->kubernetes_address, "service") == 0;
    (void)pthread_mutex_init(&resource->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&resource->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    resource->queue = workqueue_new("resource", WORK_THREADS, resource_work, resource);
    return &resource->backend;
}
