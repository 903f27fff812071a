/* The workers as a whole: making, draining, ending, and the settings that may change while they run. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/gateway_private.h"
#include "gateway/listener.h"
#include "gateway/worker.h"

struct gateway {
    struct gateway_options options;     /* immutable after gateway_new() but for `settings`, which is not used */
    struct worker **workers;
    unsigned worker_count, port;
    bool started, stopped;
    struct limits *limits;
    _Atomic bool draining;
    _Atomic unsigned latecomers;        /* connections that came while draining */
    pthread_mutex_t lock;               /* guards the taking and replacing of `config` */
    _Atomic(struct config *) config;
    struct metric *queued_api, *queued_tokens, *queued_documents;
};

struct limits *gateway_limits(struct gateway *gateway) { return gateway->limits; }
bool gateway_is_draining(const struct gateway *gateway) { return atomic_load(&gateway->draining); }
void gateway_count_latecomer(struct gateway *gateway, int change) { atomic_fetch_add(&gateway->latecomers, (unsigned)change); }
unsigned gateway_port(const struct gateway *gateway) { return gateway->port; }

struct config *gateway_config(struct gateway *gateway)
{
    pthread_mutex_lock(&gateway->lock);
    struct config *config = config_ref(atomic_load(&gateway->config));
    pthread_mutex_unlock(&gateway->lock);
    return config;
}

bool gateway_config_changed(const struct gateway *gateway, const struct config *held)
{
    return atomic_load_explicit(&gateway->config, memory_order_relaxed) != held;
}

void gateway_reconfigure(struct gateway *gateway, const struct settings *settings)
{
    struct config *config = config_new(settings);

    pthread_mutex_lock(&gateway->lock);
    struct config *former = atomic_exchange(&gateway->config, config);
    pthread_mutex_unlock(&gateway->lock);
    config_unref(former);
    limits_reconfigure(gateway->limits, settings);
}

static struct metric *queue_gauge(const char *labels)
{
    return metric_gauge("terminals_queue_depth", "Requests that wait for a thread, by what they wait to do.", labels);
}

static void collect_queues(void *context)
{
    const struct gateway *gateway = context;
    metric_set(gateway->queued_api, pool_depth(gateway->options.pool));
    metric_set(gateway->queued_tokens, pool_depth(gateway->options.token_pool));
    metric_set(gateway->queued_documents, pool_depth(gateway->options.document_pool));
}

static struct gateway *gateway_alloc(const struct gateway_options *options)
{
    const struct settings *settings = options->settings;
    struct gateway *gateway = xcalloc(1, sizeof(*gateway));

    gateway->options = *options;
    gateway->options.settings = NULL;
    gateway->worker_count = settings->workers > 0 ? settings->workers : 1;
    gateway->workers = xcalloc(gateway->worker_count, sizeof(*gateway->workers));
    gateway->limits = limits_new(settings);
    pthread_mutex_init(&gateway->lock, NULL);
    atomic_store(&gateway->config, config_new(settings));
    gateway->queued_api = queue_gauge("queue=\"api\"");
    gateway->queued_tokens = queue_gauge("queue=\"tokens\"");
    gateway->queued_documents = queue_gauge("queue=\"documents\"");
    return gateway;
}

struct gateway *gateway_new(const struct gateway_options *options, struct error *err)
{
    const struct settings *settings = options->settings;
    struct gateway *gateway = gateway_alloc(options);
    cleanup_free int *fds = xcalloc(gateway->worker_count, sizeof(*fds));
    unsigned made = 0;

    if (listener_open(settings->host, settings->port, fds, gateway->worker_count, &gateway->port, err) < 0) {
        gateway_free(gateway);
        return NULL;
    }
    while (made < gateway->worker_count) {
        gateway->workers[made] = worker_new(gateway, &gateway->options, made, fds[made], err);
        if (!gateway->workers[made++])
            break;
    }
    if (gateway->workers[made - 1])
        return gateway;
    for (; made < gateway->worker_count; made++)
        (void)close(fds[made]);
    gateway_free(gateway);
    return NULL;
}

void gateway_start(struct gateway *gateway)
{
    for (unsigned i = 0; i < gateway->worker_count; i++)
        gateway->workers[i]->thread = thread_start("gateway", worker_run, gateway->workers[i]);
    gateway->started = true;
    metrics_add_collector(collect_queues, gateway);
}

void gateway_set_draining(struct gateway *gateway)
{
    atomic_store(&gateway->draining, true);
}

static void stop_workers(struct gateway *gateway)
{
    if (gateway->stopped || !gateway->started)
        return;
    gateway->stopped = true;
    metrics_remove_collector(collect_queues, gateway);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        worker_post_stop(gateway->workers[i]);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        (void)pthread_join(gateway->workers[i]->thread, NULL);
}

/* Connections whose requests are waited for. */
static unsigned connections_to_end(const struct gateway *gateway)
{
    unsigned late = atomic_load(&gateway->latecomers), all = limits_connections(gateway->limits);
    return all > late ? all - late : 0;
}

void gateway_drain(struct gateway *gateway, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    gateway_set_draining(gateway);
    if (!gateway->started || gateway->stopped)
        return;
    for (unsigned i = 0; i < gateway->worker_count; i++)
        worker_post_drain(gateway->workers[i]);
    while (connections_to_end(gateway) > 0 && clock_monotonic_ms() < deadline_ms)
        (void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    unsigned left = connections_to_end(gateway);
    if (left > 0)
        log_warning("requests were cut off at the end of the time to drain", LOG_INT("connections", left));
    stop_workers(gateway);
}

void gateway_free(struct gateway *gateway)
{
    if (!gateway)
        return;
    stop_workers(gateway);
    for (unsigned i = 0; i < gateway->worker_count; i++)
        worker_free(gateway->workers[i]);
    free(gateway->workers);
    config_unref(atomic_load(&gateway->config));
    limits_free(gateway->limits);
    pthread_mutex_destroy(&gateway->lock);
    free(gateway);
}
