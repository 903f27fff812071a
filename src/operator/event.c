/* Events, which `kubectl describe` shows. The same thing said again is counted on the Event that there is, and no more than twice a minute; of all
 * resources together come at most two a second, with a reserve for bursts. They are written on a thread of their own and may be lost. */
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "operator/internal.h"

enum { AGAIN_MS = 30000, PER_SECOND = 2, TEXT_MAX = 1000, QUEUE_MAX = 200, NAME_MAX_IN_EVENT = 48 };

struct event {
    struct operator *operator;
    char *namespace, *name;
    json_t *body;                       /* of a new one, or the patch of the one there is */
    bool again;
};

static void post(void *argument)
{
    struct event *event = argument;
    struct error err;
    int result = event->again ?
        kube_merge_patch(event->operator->client, &KUBE_EVENTS, event->namespace, event->name, NULL, event->body, NULL, &err) :
        kube_create(event->operator->client, &KUBE_EVENTS, event->namespace, event->body, NULL, &err);

    if (result < 0)
        log_debug("an Event could not be written", LOG_STR("event", event->name), LOG_ERR(&err));
    json_decref(event->body);
    free(event->namespace);
    free(event->name);
    free(event);
}

static bool take_token(struct operator *operator, int64_t now_ms)
{
    double earned = (double)(now_ms - operator->event_tokens_ms) * PER_SECOND / 1000;

    operator->event_tokens = operator->event_tokens + earned < EVENT_RESERVE ? operator->event_tokens + earned : EVENT_RESERVE;
    operator->event_tokens_ms = now_ms;
    if (operator->event_tokens < 1 || pool_depth(operator->event_pool) > QUEUE_MAX)
        return false;
    operator->event_tokens -= 1;
    return true;
}

static json_t *again_body(unsigned count, const char *now)
{
    return json_pack("{s:i, s:s}", "count", (int)count, "lastTimestamp", now);
}

static json_t *new_body(const struct job *job, const char *name, bool warning, const char *reason, const char *text, const char *now)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:{s:s}, s:s, s:s, s:i, s:s, s:s}",
        "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", job->namespace,
        "involvedObject", "apiVersion", job->operator->api_version, "kind", "Terminal", "name", job->name, "namespace", job->namespace,
        "uid", job->uid, "type", warning ? "Warning" : "Normal", "reason", reason, "message", text,
        "source", "component", "terminals-operator", "firstTimestamp", now, "lastTimestamp", now, "count", 1,
        "reportingComponent", "terminals-operator", "reportingInstance", lease_identity(job->operator->lease));
}

/* (locked) NULL: it need not or may not be told. */
static struct event *make(struct job *job, bool warning, const char *reason, const char *text)
{
    struct operator *operator = job->operator;
    struct record *record = job->record;
    cleanup_free char *all = xasprintf("%d %s %s %s", warning, job->uid, reason, text);
    uint64_t hash = hash_bytes(all, strlen(all));
    int64_t now_ms = clock_monotonic_ms();
    char now[28];
    bool again = record->event_hash == hash && record->event_name[0];

    if (again && now_ms - record->event_ms < AGAIN_MS)
        return NULL;
    if (!take_token(operator, now_ms)) {
        metric_add(operator->dropped_events, 1);
        return NULL;
    }
    clock_format_iso(clock_wall_us(), now);
    (void)snprintf(now + 19, sizeof now - 19, "Z");     /* whole seconds here */
    record->event_count = again ? record->event_count + 1 : 1;
    record->event_ms = now_ms;
    record->event_hash = hash;
    if (!again)
        (void)snprintf(record->event_name, sizeof record->event_name, "%s.%llx", strlen(job->name) <= NAME_MAX_IN_EVENT ? job->name : "terminal",
                       (unsigned long long)clock_wall_us());
    struct event *event = xcalloc(1, sizeof *event);
    *event = (struct event){ operator, xstrdup(job->namespace), xstrdup(record->event_name), NULL, again };
    event->body = again ? again_body(record->event_count, now) : new_body(job, event->name, warning, reason, text, now);
    metric_add(operator->events, 1);
    return event;
}

static void cut_text(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && !str_is_utf8(str_of(text, len)))
        text[--len] = 0;
}

void event_tell(struct job *job, bool warning, const char *reason, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cut_text(text);
    struct event *event;
    {
        WITH_LOCK(job->operator);
        event = make(job, warning, reason, text);
    }
    if (event && !pool_submit(job->operator->event_pool, post, event)) {
        json_decref(event->body);
        free(event->namespace);
        free(event->name);
        free(event);
    }
}
