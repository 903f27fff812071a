/* Metrics are registered here, all at once: registering takes the registry's lock, which a rendering holds while it waits for the
 * fleet's lock, so nothing may be registered later from under the fleet's lock. */
#include "fleet/counters.h"

static const char *const reason_names[STOP_REASON_COUNT] = {
    [STOP_REQUESTED] = "requested",
    [STOP_IDLE] = "idle",
    [STOP_RESET] = "reset",
    [STOP_ENDED] = "ended",
    [STOP_FAILED_START] = "failed_start",
    [STOP_UNHEALTHY] = "unhealthy",
};

const char *stop_reason_name(enum stop_reason reason) { return reason_names[reason]; }

static const enum error_class own_outcomes[] = {
    ERR_IMAGE_NOT_FOUND, ERR_IMAGE_NOT_ALLOWED, ERR_INVALID_POLICY, ERR_NO_CAPACITY, ERR_UNSCHEDULABLE,
    ERR_START_TIMEOUT, ERR_GUEST_CRASHED, ERR_UNAVAILABLE, ERR_TIMEOUT,
};

static const double start_bounds[] = { 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600 };

static struct metric *start_counter(const char *outcome)
{
    char labels[64];
    snprintf(labels, sizeof labels, "outcome=\"%s\"", outcome);
    return metric_counter("terminals_starts_total", "Starts of terminals by outcome", labels);
}

static void init_starts(struct counters *counters)
{
    counters->started = start_counter("ready");
    counters->adopted = start_counter("adopted");
    struct metric *other = start_counter("other");
    for (size_t i = 0; i < ERR_CLASS_COUNT; i++)
        counters->failed[i] = other;
    for (size_t i = 0; i < COUNT_OF(own_outcomes); i++)
        counters->failed[own_outcomes[i]] = start_counter(error_class_name(own_outcomes[i]));
    counters->start_seconds = metric_histogram("terminals_start_seconds", "From the first want of a terminal to ready", NULL,
                                               start_bounds, COUNT_OF(start_bounds));
}

void counters_init(struct counters *counters)
{
    init_starts(counters);
    char labels[64];
    for (unsigned i = 0; i < STOP_REASON_COUNT; i++) {
        snprintf(labels, sizeof labels, "reason=\"%s\"", reason_names[i]);
        counters->stops[i] = metric_counter("terminals_stops_total", "Terminals stopped, by reason", labels);
    }
    for (unsigned i = 0; i <= TERMINAL_FAILED; i++) {
        snprintf(labels, sizeof labels, "phase=\"%s\"", terminal_phase_name(i));
        counters->terminals[i] = metric_gauge("terminals_terminals", "Known terminals by phase", labels);
    }
    counters->resets = metric_counter("terminals_resets_total", "Homes emptied, by outcome", "outcome=\"done\"");
    counters->failed_resets = metric_counter("terminals_resets_total", "Homes emptied, by outcome", "outcome=\"failed\"");
    counters->waiting_starts = metric_gauge("terminals_waiting_starts", "Starts that wait for others to end", NULL);
    counters->queue_depth = metric_gauge("terminals_reconcile_queue_depth", "Terminals that wait to be reconciled", NULL);
    counters->ready = metric_gauge("terminals_backend_listed", "1 once the engine has listed its terminals", NULL);
}

void counters_start_succeeded(struct counters *counters, int64_t us)
{
    metric_add(counters->started, 1);
    metric_observe_us(counters->start_seconds, us);
}

void counters_start_failed(struct counters *counters, enum error_class class)
{
    metric_add(counters->failed[class], 1);
}

void counters_show(struct counters *counters, const struct fleet_counts *counts, unsigned queue_depth, bool ready)
{
    for (unsigned i = 0; i <= TERMINAL_FAILED; i++)
        metric_set(counters->terminals[i], counts->by_phase[i]);
    metric_set(counters->waiting_starts, counts->waiting_starts);
    metric_set(counters->queue_depth, queue_depth);
    metric_set(counters->ready, ready);
}
