/* The backend's object: its lifetime, its watches, and the table that the fleet calls through. */
#include "backend/kubernetes/parts.h"

#include "base/pool.h"

/* Starts of many users at once take a handful of calls each; the server's own fairness is the real limit. */
#define CALLS_PER_SECOND 200
#define CALLS_AT_ONCE 400

static struct kubernetes *kubernetes_of(struct backend *backend)
{
    return CONTAINER_OF(backend, struct kubernetes, backend);
}

/* --- watching ------------------------------------------------------------------------------------------------ */

static struct kube_informer *follow(struct kubernetes *k, enum kind kind)
{
    static const struct kube_resource *const resources[KIND_COUNT] = { &KUBE_PODS, &KUBE_SECRETS, &KUBE_SERVICES };
    const char *selector = kind == KIND_SECRETS ? SECRETS_SELECTOR : SELECTOR;

    return kube_informer_start(k->client, resources[kind], k->namespace, selector, &picture_handler, &k->listeners[kind]);
}

static void set_observer(struct kubernetes *k, struct observer *observer)
{
    WITH_PICTURE(k);
    k->observer = observer;
}

/* Until stop_watching(), or, with `for_rest`, until Secrets and Services are listed: pods are understood with them only. */
static void wait(struct kubernetes *k, bool for_rest)
{
    WITH_PICTURE(k);
    while (!atomic_load(&k->stopping) && !(for_rest && k->listeners[KIND_SECRETS].synced && k->listeners[KIND_SERVICES].synced))
        pthread_cond_wait(&k->changed, &k->lock);
}

static void backend_watch(struct backend *backend, struct observer *observer)
{
    struct kubernetes *k = kubernetes_of(backend);

    set_observer(k, observer);
    pthread_t keeper = thread_start("kube-keeper", keeper_run, k);
    struct kube_informer *secrets = follow(k, KIND_SECRETS), *services = follow(k, KIND_SERVICES);
    wait(k, true);
    struct kube_informer *pods = follow(k, KIND_PODS);
    wait(k, false);
    kube_informer_signal_stop(pods);
    kube_informer_signal_stop(secrets);
    kube_informer_signal_stop(services);
    kube_informer_stop(pods);
    kube_informer_stop(secrets);
    kube_informer_stop(services);
    pthread_join(keeper, NULL);
    set_observer(k, NULL);
}

static void backend_stop_watching(struct backend *backend)
{
    struct kubernetes *k = kubernetes_of(backend);

    WITH_PICTURE(k);
    atomic_store(&k->stopping, true);
    pthread_cond_broadcast(&k->changed);
    pthread_cond_broadcast(&k->keeper_wakes);
}

/* --- the table ----------------------------------------------------------------------------------------------- */

static int backend_start(struct backend *backend, const struct terminal_spec *spec, struct error *err)
{
    return kubernetes_start(kubernetes_of(backend), spec, err);
}

static int backend_stop(struct backend *backend, const struct terminal_ref *ref, unsigned grace_s, struct error *err)
{
    return kubernetes_stop(kubernetes_of(backend), ref, grace_s, err);
}

static int backend_wipe(struct backend *backend, const struct terminal_ref *ref, struct error *err)
{
    return kubernetes_wipe(kubernetes_of(backend), ref, err);
}

static int backend_diagnose(struct backend *backend, const struct terminal_ref *ref, char **text, struct error *err)
{
    return kubernetes_diagnose(kubernetes_of(backend), ref, text, err);
}

static void backend_check(struct backend *backend, check_report_fn *report, void *context)
{
    kubernetes_check(kubernetes_of(backend), report, context);
}

static void backend_free(struct backend *backend)
{
    struct kubernetes *k = kubernetes_of(backend);

    picture_free(k);
    kube_client_free(k->client);
    free(k);
}

static const struct backend_ops kubernetes_ops = {
    .name = "kubernetes", .name_prefix = NAME_PREFIX,
    .watch = backend_watch, .stop_watching = backend_stop_watching,
    .start = backend_start, .stop = backend_stop, .wipe = backend_wipe, .diagnose = backend_diagnose,
    .check = backend_check, .free = backend_free,
};

struct backend *kubernetes_backend_new(const struct settings *settings, struct error *err)
{
    struct kube_client_options options = { .calls_per_second = CALLS_PER_SECOND, .burst = CALLS_AT_ONCE,
                                            .relist_ms = (int64_t)settings->kubernetes_relist_s * 1000 };
    struct kube_config *config = kube_config_load(settings->kubernetes_kubeconfig, err);
    struct kube_client *client = config ? kube_client_new(config, &options, err) : NULL;

    if (!client)
        return NULL;
    struct kubernetes *k = xcalloc(1, sizeof(*k));
    k->backend = (struct backend){ .ops = &kubernetes_ops };
    k->settings = settings;
    k->client = client;
    k->namespace = settings->kubernetes_namespace;
    picture_init(k);
    return &k->backend;
}
