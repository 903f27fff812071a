/* What the fleet counts for /metrics. Made once per fleet; updates are atomic, any thread, also under the fleet's lock. */
#ifndef FLEET_COUNTERS_H
#define FLEET_COUNTERS_H

#include "base/error.h"
#include "base/metrics.h"
#include "fleet/fleet.h"

/* Why a guest is ended. */
enum stop_reason {
    STOP_REQUESTED,         /* through the API */
    STOP_IDLE,
    STOP_RESET,             /* a scheduled reset is due */
    STOP_ENDED,             /* it ended by itself, or somebody else ends it: what is left is removed */
    STOP_FAILED_START,      /* it did not become ready */
    STOP_UNHEALTHY,         /* it runs, but nothing listens any more */
    STOP_REASON_COUNT
};
const char *stop_reason_name(enum stop_reason reason);

struct counters {
    struct metric *started, *adopted, *failed[ERR_CLASS_COUNT];     /* classes without an own outcome share "other" */
    struct metric *start_seconds;
    struct metric *stops[STOP_REASON_COUNT];
    struct metric *resets, *failed_resets;
    struct metric *terminals[TERMINAL_FAILED + 1];
    struct metric *waiting_starts, *queue_depth, *ready;
};

void counters_init(struct counters *counters);
void counters_start_succeeded(struct counters *counters, int64_t us);
void counters_start_failed(struct counters *counters, enum error_class class);
/* Sets the gauges. */
void counters_show(struct counters *counters, const struct fleet_counts *counts, unsigned queue_depth, bool ready);

#endif
