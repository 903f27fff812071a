/* Counters, gauges and histograms, rendered as Prometheus text. Several metrics of the same name and labels are allowed
 * (one per worker, so that they share no cache line) and are summed when rendered. Updates are relaxed atomics from any
 * thread; metrics live until the process ends. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

struct metric;

/* `name` and `help` are literals. `labels` is the text between the braces, such as `outcome="ready"`, or NULL; copied. */
struct metric *metric_counter(const char *name, const char *help, const char *labels) MUST_CHECK;
struct metric *metric_gauge(const char *name, const char *help, const char *labels) MUST_CHECK;
/* `bounds`: ascending upper bounds in seconds, `count` of them; copied. */
struct metric *metric_histogram(const char *name, const char *help, const char *labels, const double *bounds, size_t count)
    MUST_CHECK;

void metric_add(struct metric *metric, int64_t amount);
void metric_set(struct metric *metric, int64_t value);
/* Histogram: one event that took `us` microseconds. */
void metric_observe_us(struct metric *metric, int64_t us);

/* Calls `collect` before each rendering, to set gauges that are known only by looking. It must not make metrics. */
void metrics_add_collector(void (*collect)(void *context), void *context);
void metrics_remove_collector(void (*collect)(void *context), void *context);
/* The whole exposition, families sorted by name. */
void metrics_render(struct buf *out);
/* Appends `text` with '\\', '"' and newlines escaped, as a label value wants it. */
void metrics_escape_label(struct buf *out, struct str text);

#endif
