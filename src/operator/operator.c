/* The parts of the operator, made and taken apart. */
#include "operator/operator.h"

#include "base/clock.h"
#include "base/log.h"
#include "operator/internal.h"

/* A start takes ten calls; after a restart a thousand resources may want something. */
enum { CALL_TIMEOUT_MS = 15000, CALLS_PER_SECOND = 200, CALLS_AT_ONCE = 400 };

/* --- leading --- */

static void on_gained(void *context)
{
    struct operator *operator = context;

    metric_set(operator->leading, 1);
    {
        WITH_LOCK(operator);
        operator->may_idle_ms = clock_monotonic_ms() + ACTIVITY_GRACE_MS;
    }
    records_add_all_to_queue(operator);
}

static void on_lost(void *context)
{
    struct operator *operator = context;

    metric_set(operator->leading, 0);
}

/* --- metrics --- */

static void count_phases(void *context)
{
    struct operator *operator = context;
    unsigned counts[PHASE_ERROR + 1] = { 0 };
    size_t position = 0;

    pthread_mutex_lock(&operator->lock);
    for (struct record *record; (record = records_next(operator, &position));)
        counts[record->phase] += record->cr.present;
    pthread_mutex_unlock(&operator->lock);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        metric_set(operator->phases[i], counts[i]);
    metric_set(operator->depth, workqueue_depth(operator->queue));
}

static void make_metrics(struct operator *operator)
{
    for (size_t i = 0; i < COUNT_OF(operator->steps); i++) {
        cleanup_free char *labels = xasprintf("step=\"%s\"", step_name((enum step)i));
        operator->steps[i] = metric_counter("terminals_operator_steps_total", "Steps taken, by kind.", labels);
    }
    for (size_t i = 0; i < COUNT_OF(operator->phases); i++) {
        cleanup_free char *labels = xasprintf("phase=\"%s\"", i == PHASE_NEW ? "New" : phase_name((enum phase)i));
        operator->phases[i] = metric_gauge("terminals_operator_terminals", "Terminal resources, by phase.", labels);
    }
    operator->failures = metric_counter("terminals_operator_failures_total", "Steps that failed and are tried again.", NULL);
    operator->events = metric_counter("terminals_operator_events_total", "Events told.", NULL);
    operator->dropped_events = metric_counter("terminals_operator_events_dropped_total", "Events not told because there were too many.", NULL);
    operator->leading = metric_gauge("terminals_operator_leading", "Whether this replica leads.", NULL);
    operator->depth = metric_gauge("terminals_operator_queue_depth", "Resources that wait for a thread.", NULL);
    metrics_add_collector(count_phases, operator);
}

/* --- making and taking apart --- */

static struct kube_client *connect_client(const struct settings *settings, int64_t timeout_ms, struct error *err)
{
    struct kube_client_options options = { .calls_per_second = CALLS_PER_SECOND, .burst = CALLS_AT_ONCE, .timeout_ms = timeout_ms,
                                            .relist_ms = (int64_t)settings->kubernetes_relist_s * 1000 };
    struct kube_config *config = kube_config_load(settings->kubernetes_kubeconfig, err);

    return config ? kube_client_new(config, &options, err) : NULL;
}

/* The lease has a client of its own: renewing must not wait behind anything. */
static int connect(struct operator *operator, struct error *err)
{
    operator->client = connect_client(operator->settings, CALL_TIMEOUT_MS, err);
    if (!operator->client)
        return -1;
    operator->lease_client = connect_client(operator->settings, LEASE_CALL_MS, err);
    return operator->lease_client ? 0 : -1;
}

static struct operator *operator_new(const struct settings *settings)
{
    struct operator *operator = xcalloc(1, sizeof *operator);
    pthread_condattr_t monotonic;

    operator->settings = settings;
    operator->terminals = (struct kube_resource){ settings->kubernetes_crd_group, settings->kubernetes_crd_version, "terminals", "Terminal", false };
    operator->api_version = xasprintf("%s/%s", settings->kubernetes_crd_group, settings->kubernetes_crd_version);
    (void)pthread_mutex_init(&operator->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&operator->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    operator->event_tokens = EVENT_RESERVE;
    operator->event_tokens_ms = clock_monotonic_ms();
    operator->may_idle_ms = operator->event_tokens_ms + ACTIVITY_GRACE_MS;
    return operator;
}

static void operator_free(struct operator *operator)
{
    if (operator->client)
        kube_client_free(operator->client);
    if (operator->lease_client)
        kube_client_free(operator->lease_client);
    (void)pthread_mutex_destroy(&operator->lock);
    (void)pthread_cond_destroy(&operator->changed);
    free(operator->api_version);
    free(operator);
}

/* The port first: when it is taken, nothing else has been begun. */
struct operator *operator_start(const struct settings *settings, struct error *err)
{
    struct operator *operator = operator_new(settings);

    if (connect(operator, err) < 0 || !(operator->web = web_start(operator, settings->host, settings->operator_port, err))) {
        operator_free(operator);
        return NULL;
    }
    operator->queue = workqueue_new("reconcile", RECONCILE_THREADS, operator_reconcile, operator);
    operator->event_pool = pool_new("events", 1);
    make_metrics(operator);
    operator->lease = lease_start(operator->lease_client, settings->kubernetes_namespace, OPERATOR_LEASE_NAME, on_gained, on_lost, operator);
    operator_watch_start(operator);
    operator->sweeper = thread_start("sweeper", sweep_run, operator);
    return operator;
}

/* No step is begun any more; those under way end. */
static void stop_acting(struct operator *operator)
{
    {
        WITH_LOCK(operator);
        atomic_store(&operator->stopping, true);
        pthread_cond_broadcast(&operator->changed);
        while (operator->acting > 0)
            pthread_cond_wait(&operator->changed, &operator->lock);
    }
    (void)pthread_join(operator->sweeper, NULL);
}

/* The lease is given back as soon as nothing acts any more; taking the rest apart takes a while. */
void operator_stop(struct operator *operator)
{
    stop_acting(operator);
    metrics_remove_collector(count_phases, operator);
    web_stop(operator->web);
    lease_stop(operator->lease);
    operator_watch_stop(operator);
    workqueue_free(operator->queue);
    pool_free(operator->event_pool);
    records_free(operator);
    operator_free(operator);
}
