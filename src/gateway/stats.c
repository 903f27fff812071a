/* One set per worker, so that no two threads write the same line of cache; base/metrics sums them when it renders. */
#include "base/metrics.h"
#include "gateway/stats.h"

#define MAX_STATUS 600

struct stats {
    struct metric *requests[ROUTE_KIND_COUNT][MAX_STATUS];
    struct metric *durations[ROUTE_KIND_COUNT];
    struct metric *connections, *websockets, *reused, *dialled, *retries;
    struct metric *closes[5000 - 1000];
};

static const double duration_bounds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300 };

struct stats *stats_new(void)
{
    struct stats *stats = xcalloc(1, sizeof(*stats));
    stats->connections = metric_gauge("terminals_client_connections", "Client connections open now.", NULL);
    stats->websockets = metric_gauge("terminals_websockets", "Terminal sockets and tunnels open now.", NULL);
    stats->reused = metric_counter("terminals_upstream_connections_total", "Guest connections taken for a request.", "kind=\"reused\"");
    stats->dialled = metric_counter("terminals_upstream_connections_total", "Guest connections taken for a request.", "kind=\"new\"");
    stats->retries = metric_counter("terminals_upstream_retries_total", "Requests sent to a guest again.", NULL);
    return stats;
}

void stats_free(struct stats *stats)
{
    free(stats);        /* the metrics live until the process ends */
}

void stats_count_request(struct stats *stats, enum route_kind kind, int status, int64_t us)
{
    char labels[64];

    if (status < 0 || status >= MAX_STATUS)
        status = 0;
    if (!stats->requests[kind][status]) {
        (void)snprintf(labels, sizeof(labels), "route=\"%s\",status=\"%d\"", route_kind_name(kind), status);
        stats->requests[kind][status] = metric_counter("terminals_http_requests_total", "Requests by route and status.", labels);
    }
    if (!stats->durations[kind]) {
        (void)snprintf(labels, sizeof(labels), "route=\"%s\"", route_kind_name(kind));
        stats->durations[kind] = metric_histogram("terminals_http_request_duration_seconds",
            "From a request's first byte read to its answer's last byte written.", labels, duration_bounds, COUNT_OF(duration_bounds));
    }
    metric_add(stats->requests[kind][status], 1);
    metric_observe_us(stats->durations[kind], us);
}

void stats_connection(struct stats *stats, int change) { metric_add(stats->connections, change); }
void stats_websocket(struct stats *stats, int change) { metric_add(stats->websockets, change); }
void stats_retry(struct stats *stats) { metric_add(stats->retries, 1); }
void stats_upstream(struct stats *stats, bool reused) { metric_add(reused ? stats->reused : stats->dialled, 1); }

void stats_socket_closed(struct stats *stats, unsigned code)
{
    char labels[32];

    if (code < 1000 || code >= 5000)
        return;
    if (!stats->closes[code - 1000]) {
        (void)snprintf(labels, sizeof(labels), "code=\"%u\"", code);
        stats->closes[code - 1000] = metric_counter("terminals_websocket_closes_total", "Terminal sockets closed by us, by code.", labels);
    }
    metric_add(stats->closes[code - 1000], 1);
}
