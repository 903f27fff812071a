#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    struct list node;               /* in `metrics`, ordered by name, then labels; under `lock` */
    const char *name, *help;
    char *labels;
    enum metric_type type;
    size_t bound_count;
    double *bounds;
    _Alignas(64) _Atomic int64_t value;     /* histogram: the sum in µs */
    _Atomic uint64_t buckets[];     /* histogram: events per bucket, the last for what is above all bounds */
};

struct collector {
    struct list node;
    void (*collect)(void *context);
    void *context;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list metrics = LIST_INIT(metrics);
static struct list collectors = LIST_INIT(collectors);

static int compare(const struct metric *a, const struct metric *b)
{
    int order = strcmp(a->name, b->name);
    return order ? order : strcmp(a->labels, b->labels);
}

static struct metric *metric_new(enum metric_type type, const char *name, const char *help, const char *labels,
                                 const double *bounds, size_t count)
{
    size_t size = (sizeof(struct metric) + (count + 1) * sizeof(uint64_t) + 63) / 64 * 64;
    struct metric *metric = aligned_alloc(64, size);
    ASSERT(metric);
    memset(metric, 0, size);
    metric->name = name;
    metric->help = help;
    metric->labels = xstrdup(labels ? labels : "");
    metric->type = type;
    metric->bound_count = count;
    if (count > 0) {
        metric->bounds = xcalloc(count, sizeof *bounds);
        memcpy(metric->bounds, bounds, count * sizeof *bounds);
    }
    pthread_mutex_lock(&lock);
    struct list *at = metrics.next;
    while (at != &metrics && compare(LIST_ENTRY(at, struct metric, node), metric) <= 0)
        at = at->next;
    list_append(at, &metric->node);
    pthread_mutex_unlock(&lock);
    return metric;
}

struct metric *metric_counter(const char *name, const char *help, const char *labels)
{
    return metric_new(METRIC_COUNTER, name, help, labels, NULL, 0);
}

struct metric *metric_gauge(const char *name, const char *help, const char *labels)
{
    return metric_new(METRIC_GAUGE, name, help, labels, NULL, 0);
}

struct metric *metric_histogram(const char *name, const char *help, const char *labels, const double *bounds, size_t count)
{
    return metric_new(METRIC_HISTOGRAM, name, help, labels, bounds, count);
}

void metric_add(struct metric *metric, int64_t amount)
{
    atomic_fetch_add_explicit(&metric->value, amount, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t us)
{
    size_t bucket = 0;
    double seconds = (double)us / 1e6;
    while (bucket < metric->bound_count && seconds > metric->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    metric_add(metric, us);
}

void metrics_add_collector(void (*collect)(void *context), void *context)
{
    struct collector *collector = xcalloc(1, sizeof *collector);
    collector->collect = collect;
    collector->context = context;
    pthread_mutex_lock(&lock);
    list_append(&collectors, &collector->node);
    pthread_mutex_unlock(&lock);
}

void metrics_remove_collector(void (*collect)(void *context), void *context)
{
    pthread_mutex_lock(&lock);
    LIST_FOR_EACH_SAFE(node, &collectors) {
        struct collector *collector = LIST_ENTRY(node, struct collector, node);
        if (collector->collect == collect && collector->context == context) {
            list_remove(node);
            free(collector);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* The metrics from `first` on that share its name and labels: their sums. Gives the node after them. */
static struct list *sum_same(struct metric *first, int64_t *value, uint64_t *buckets)
{
    *value = 0;
    struct list *node = &first->node;
    for (; node != &metrics && compare(LIST_ENTRY(node, struct metric, node), first) == 0; node = node->next) {
        struct metric *metric = LIST_ENTRY(node, struct metric, node);
        *value += atomic_load_explicit(&metric->value, memory_order_relaxed);
        for (size_t i = 0; first->type == METRIC_HISTOGRAM && i <= first->bound_count; i++)
            buckets[i] += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    }
    return node;
}

static void render_histogram(struct buf *out, const struct metric *metric, int64_t sum_us, const uint64_t *buckets)
{
    const char *comma = metric->labels[0] ? "," : "";
    const char *open = metric->labels[0] ? "{" : "", *close = metric->labels[0] ? "}" : "";
    uint64_t below = 0;
    for (size_t i = 0; i < metric->bound_count; i++) {
        below += buckets[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", metric->name, metric->labels, comma, metric->bounds[i],
                   (unsigned long long)below);
    }
    below += buckets[metric->bound_count];
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", metric->name, metric->labels, comma, (unsigned long long)below);
    buf_printf(out, "%s_sum%s%s%s %.6f\n", metric->name, open, metric->labels, close, (double)sum_us / 1e6);
    buf_printf(out, "%s_count%s%s%s %llu\n", metric->name, open, metric->labels, close, (unsigned long long)below);
}

static struct list *render_metric(struct buf *out, struct metric *metric)
{
    cleanup_free uint64_t *buckets = xcalloc(metric->bound_count + 1, sizeof *buckets);
    int64_t value;
    struct list *next = sum_same(metric, &value, buckets);
    if (metric->type == METRIC_HISTOGRAM)
        render_histogram(out, metric, value, buckets);
    else if (metric->labels[0])
        buf_printf(out, "%s{%s} %lld\n", metric->name, metric->labels, (long long)value);
    else
        buf_printf(out, "%s %lld\n", metric->name, (long long)value);
    return next;
}

void metrics_render(struct buf *out)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    pthread_mutex_lock(&lock);
    LIST_FOR_EACH_SAFE(node, &collectors) {
        struct collector *collector = LIST_ENTRY(node, struct collector, node);
        collector->collect(collector->context);
    }
    const char *family = "";
    for (struct list *node = metrics.next; node != &metrics;) {
        struct metric *metric = LIST_ENTRY(node, struct metric, node);
        if (strcmp(family, metric->name) != 0) {
            family = metric->name;
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, types[metric->type]);
        }
        node = render_metric(out, metric);
    }
    pthread_mutex_unlock(&lock);
}

void metrics_escape_label(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n') {
            buf_append_text(out, "\\n");
            continue;
        }
        if (text.data[i] == '\\' || text.data[i] == '"')
            buf_append_char(out, '\\');
        buf_append_char(out, text.data[i]);
    }
}
