/* The watches: five kinds in each namespace, reduced to records as they come. */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "kubernetes/object.h"
#include "operator/internal.h"

static const struct kube_resource *resource_of(const struct source *source)
{
    switch (source->kind) {
    case KIND_TERMINALS: return &source->operator->terminals;
    case KIND_PODS: return &KUBE_PODS;
    case KIND_SERVICES: return &KUBE_SERVICES;
    case KIND_SECRETS: return &KUBE_SECRETS;
    default: return &KUBE_PVCS;
    }
}

/* --- one object --- */

static bool has_name(const json_t *object, enum child_kind kind, const char *terminal)
{
    cleanup_free char *name = child_name(kind, terminal);
    const char *real = kube_name(object);

    return real && strcmp(real, name) == 0;
}

static struct pod *pod_of(struct record *record, const json_t *object)
{
    if (has_name(object, CHILD_POD, record->name))
        return &record->pod;
    return has_name(object, CHILD_RESET_POD, record->name) ? &record->reset_pod : NULL;
}

/* NULL: an object with our label, but under no name of ours. */
static struct child *child_of(struct record *record, unsigned kind, const json_t *object)
{
    struct pod *pod = kind == KIND_PODS ? pod_of(record, object) : NULL;

    switch (kind) {
    case KIND_TERMINALS: return &record->cr;
    case KIND_PODS: return pod ? &pod->child : NULL;
    case KIND_SERVICES: return has_name(object, CHILD_SERVICE, record->name) ? &record->service : NULL;
    case KIND_SECRETS: return has_name(object, CHILD_SECRET, record->name) ? &record->secret : NULL;
    default: return has_name(object, CHILD_PVC, record->name) ? &record->pvc : NULL;
    }
}

static bool observe(const struct operator *operator, struct record *record, unsigned kind, const json_t *object, bool deleted)
{
    switch (kind) {
    case KIND_TERMINALS: return observe_terminal(record, object, deleted);
    case KIND_PODS: return observe_pod(pod_of(record, object), object, deleted);
    case KIND_SERVICES: return observe_service(record, object, deleted, operator->settings->kubernetes_service_type);
    case KIND_SECRETS: return observe_secret(record, object, deleted);
    default: return observe_pvc(record, object, deleted);
    }
}

static void on_object(void *context, const json_t *object, bool deleted)
{
    struct source *source = context;
    struct operator *operator = source->operator;
    const char *namespace = kube_text_at(object, "metadata", "namespace", NULL);
    cleanup_free char *name = source->kind == KIND_TERMINALS ? xstrdup(kube_name(object) ? kube_name(object) : "") : child_terminal(object);

    if (!namespace || !name || !*name)
        return;
    WITH_LOCK(operator);
    struct record *record = deleted ? records_find(operator, namespace, name) : records_find_or_add(operator, namespace, name);
    struct child *child = record ? child_of(record, source->kind, object) : NULL;
    if (!child)
        return;
    kube_listing_outrank(source->listing, &child->seen, &child->version);
    if (observe(operator, record, source->kind, object, deleted))
        workqueue_add(operator->queue, &record->work);
}

/* --- listings --- */

static void on_listing_begin(void *context)
{
    struct source *source = context;

    WITH_LOCK(source->operator);
    source->listing = ++source->operator->listings;
}

static void forget_unseen(struct operator *operator, const struct source *source, struct record *record, struct child *child)
{
    if (forget_unseen_child(child, source->listing))
        workqueue_add(operator->queue, &record->work);
}

static void on_listing_end(void *context)
{
    struct source *source = context;
    struct operator *operator = source->operator;

    WITH_LOCK(operator);
    size_t position = 0;
    for (struct record *record; (record = records_next(operator, &position));) {
        if (source->namespace && strcmp(source->namespace, record->namespace) != 0)
            continue;
        switch (source->kind) {
        case KIND_TERMINALS: forget_unseen(operator, source, record, &record->cr); break;
        case KIND_SERVICES: forget_unseen(operator, source, record, &record->service); break;
        case KIND_SECRETS: forget_unseen(operator, source, record, &record->secret); break;
        case KIND_CLAIMS: forget_unseen(operator, source, record, &record->pvc); break;
        default:
            forget_unseen(operator, source, record, &record->pod.child);
            forget_unseen(operator, source, record, &record->reset_pod.child);
        }
    }
}

/* After an outage the orchestrators need time to tell what was used meanwhile. */
static void on_reachable(void *context, const struct error *err)
{
    struct source *source = context;
    struct operator *operator = source->operator;

    if (err || source->kind != KIND_TERMINALS)
        return;
    WITH_LOCK(operator);
    operator->may_idle_ms = clock_monotonic_ms() + ACTIVITY_GRACE_MS;
}

/* --- all of them --- */

bool operator_watch_is_synced(const struct operator *operator)
{
    for (size_t i = 0; i < operator->source_count; i++)
        if (!operator->sources[i].informer || !kube_informer_synced(operator->sources[i].informer))
            return false;
    return true;
}

static void add_sources(struct operator *operator, const char *namespace)
{
    for (unsigned kind = 0; kind < KINDS; kind++)
        operator->sources[operator->source_count++] = (struct source){ operator, kind, namespace, 0, NULL };
}

static void choose_sources(struct operator *operator)
{
    const struct text_list *named = &operator->settings->operator_namespaces;
    size_t count = named->count ? named->count : 1;

    operator->sources = xcalloc(count * KINDS, sizeof *operator->sources);
    for (size_t i = 0; i < named->count; i++)
        if (strcmp(named->items[i], "*") == 0)
            return add_sources(operator, NULL);
    for (size_t i = 0; i < named->count; i++)
        add_sources(operator, named->items[i]);
    if (named->count == 0)
        add_sources(operator, operator->settings->kubernetes_namespace);
}

const struct kube_handler operator_watch_handler = { on_listing_begin, on_object, on_listing_end, on_reachable };

void operator_watch_start(struct operator *operator)
{
    choose_sources(operator);
    for (size_t i = 0; i < operator->source_count; i++) {
        struct source *source = &operator->sources[i];
        source->informer = kube_informer_start(operator->client, resource_of(source), source->namespace,
                                               source->kind == KIND_TERMINALS ? NULL : LABEL_TERMINAL, &operator_watch_handler, source);
    }
}

static void *stop_informer(void *informer)
{
    kube_informer_stop(informer);
    return NULL;
}

/* Side by side, because each notices only after a while. */
void operator_watch_stop(struct operator *operator)
{
    cleanup_free pthread_t *threads = xcalloc(operator->source_count, sizeof *threads);

    for (size_t i = 0; i < operator->source_count; i++)
        threads[i] = thread_start("stop", stop_informer, operator->sources[i].informer);
    for (size_t i = 0; i < operator->source_count; i++)
        (void)pthread_join(threads[i], NULL);
    free(operator->sources);
}
