/* The picture: three watches, one map. Whatever changes in an entry, the fleet is told what the whole entry comes to. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pool.h"

/* --- entries --- */

struct entry *picture_find(struct resource *resource, const char *name) { return map_get(&resource->entries, str_from(name)); }

static struct entry *find_or_add(struct resource *resource, const char *name)
{
    struct entry *entry = picture_find(resource, name);

    if (!entry) {
        entry = entry_new(resource, name);
        (void)map_put(&resource->entries, str_from(name), entry);
    }
    return entry;
}

struct entry *picture_find_key(struct resource *resource, const struct terminal_key *key)
{
    size_t position = 0;
    struct str name;
    void *value;

    while (map_next(&resource->entries, &position, &name, &value)) {
        struct entry *entry = value;
        if (entry->present && entry->key && terminal_key_equal(entry->key, key))
            return entry;
    }
    return NULL;
}

/* --- telling --- */

void picture_tell_entry(struct resource *resource, struct entry *entry)
{
    struct observation observation;
    char id[72];

    if (entry_needs_key(entry))
        workqueue_add(resource->queue, &entry->work);
    if (!resource->observer || !resource->told || (entry->present && !entry->key))
        return;
    entry_observe(entry, resource->by_service, id, &observation);
    resource->observer->observe(resource->observer, &observation);
}

static void changed(struct resource *resource, struct entry *entry)
{
    pthread_cond_broadcast(&resource->changed);
    picture_tell_entry(resource, entry);
}

/* The name of the resource that a pod or Service belongs to: "<cr>-pod", and for Services the mark. */
static char *terminal_of(unsigned kind, const json_t *object)
{
    struct str name = str_from(kube_name(object) ? kube_name(object) : "");
    const char *exact = kube_annotation(object, LABEL_TERMINAL), *label = kube_label(object, LABEL_TERMINAL);

    if (kind == KIND_TERMINALS)
        return str_dup(name);
    if (kind == KIND_PODS)
        return str_ends_with(name, STR_LITERAL("-pod")) ? xstrndup(name.data, name.len - 4) : NULL;
    return exact || label ? xstrdup(exact ? exact : label) : NULL;
}

/* No listing that is under way outranks it. */
void picture_take(struct resource *resource, const json_t *object)
{
    const char *name = kube_name(object);

    if (!name)
        return;
    WITH_LOCK(resource);
    struct entry *entry = find_or_add(resource, name);
    entry->seen = resource->watchers[KIND_TERMINALS].listing;
    if (entry_see_terminal(entry, object, false))
        changed(resource, entry);
}

/* --- the watches --- */

static bool see(struct entry *entry, const struct watcher *watcher, const json_t *object, bool deleted)
{
    switch (watcher->kind) {
    case KIND_TERMINALS:
        kube_listing_outrank(watcher->listing, &entry->seen, &entry->version);
        return entry_see_terminal(entry, object, deleted);
    case KIND_PODS:
        kube_listing_outrank(watcher->listing, &entry->pod.seen, &entry->pod.version);
        return entry_see_pod(entry, object, deleted);
    default:
        kube_listing_outrank(watcher->listing, &entry->service_seen, &entry->service_version);
        return entry_see_service(entry, object, deleted);
    }
}

static void on_object(void *context, const json_t *object, bool deleted)
{
    struct watcher *watcher = context;
    struct resource *resource = watcher->resource;
    cleanup_free char *name = terminal_of(watcher->kind, object);

    if (!name || !*name)
        return;
    WITH_LOCK(resource);
    struct entry *entry = deleted ? picture_find(resource, name) : find_or_add(resource, name);
    if (entry && see(entry, watcher, object, deleted))
        changed(resource, entry);
}

static void on_listing_begin(void *context)
{
    struct watcher *watcher = context;

    WITH_LOCK(watcher->resource);
    watcher->listing = ++watcher->resource->listings;
}

/* True when the part was there and this listing did not have it. One that was not there either may be made again, with a lower version. */
static bool is_unseen(bool *present, uint64_t *seen, uint64_t *version, uint64_t listing)
{
    bool unseen = *present && *seen < listing;

    kube_listing_outrank(listing, seen, version);
    if (unseen)
        *present = false;
    return unseen;
}

/* True when the entry lost what this listing should have had. */
static bool forget_unseen(struct entry *entry, const struct watcher *watcher)
{
    switch (watcher->kind) {
    case KIND_TERMINALS:
        return is_unseen(&entry->present, &entry->seen, &entry->version, watcher->listing);
    case KIND_PODS:
        if (!is_unseen(&entry->pod.present, &entry->pod.seen, &entry->pod.version, watcher->listing))
            return false;
        entry->pod.started = entry->pod.ready = entry->pod.preparing = false;
        return true;
    default:
        if (!is_unseen(&entry->service_present, &entry->service_seen, &entry->service_version, watcher->listing))
            return false;
        free(steal(&entry->service_ip));
        return true;
    }
}

static void on_listing_end(void *context)
{
    struct watcher *watcher = context;
    struct resource *resource = watcher->resource;
    size_t position = 0;
    struct str name;
    void *value;

    WITH_LOCK(resource);
    while (map_next(&resource->entries, &position, &name, &value)) {
        if (forget_unseen(value, watcher))
            changed(resource, value);
    }
    pthread_cond_broadcast(&resource->changed);
}

static void on_reachable(void *context, const struct error *err)
{
    struct watcher *watcher = context;
    struct resource *resource = watcher->resource;

    if (watcher->kind != KIND_TERMINALS && !err)
        return;
    WITH_LOCK(resource);
    if (resource->observer)
        resource->observer->reachable(resource->observer, err);
}

static const struct kube_resource *kind_of(struct resource *resource, unsigned kind)
{
    return kind == KIND_TERMINALS ? &resource->terminals : kind == KIND_PODS ? &KUBE_PODS : &KUBE_SERVICES;
}

const struct kube_handler resource_watch_handler = { on_listing_begin, on_object, on_listing_end, on_reachable };

void picture_start(struct resource *resource)
{
    static const char ours[] = LABEL_MANAGED_BY "=" LABEL_MANAGED_BY_VALUE;

    for (unsigned kind = 0; kind < RESOURCE_KINDS; kind++) {
        struct watcher *watcher = &resource->watchers[kind];
        *watcher = (struct watcher){ .resource = resource, .kind = kind };
        if (kind == KIND_SERVICES && !resource->by_service)
            continue;
        watcher->informer = kube_informer_start(resource->client, kind_of(resource, kind), resource->namespace,
                                                kind == KIND_TERMINALS ? ours : LABEL_TERMINAL,
                                                &resource_watch_handler, watcher);
    }
}

static void *stop_informer(void *informer)
{
    if (informer)
        kube_informer_stop(informer);
    return NULL;
}

/* Side by side, because each notices only after a while. */
void picture_stop(struct resource *resource)
{
    pthread_t threads[RESOURCE_KINDS];

    for (unsigned kind = 0; kind < RESOURCE_KINDS; kind++)
        threads[kind] = thread_start("stop", stop_informer, steal(&resource->watchers[kind].informer));
    for (unsigned kind = 0; kind < RESOURCE_KINDS; kind++)
        (void)pthread_join(threads[kind], NULL);
}

bool picture_is_synced(const struct resource *resource)
{
    for (unsigned kind = 0; kind < RESOURCE_KINDS; kind++) {
        const struct kube_informer *informer = resource->watchers[kind].informer;
        if (informer && !kube_informer_synced(informer))
            return false;
    }
    return true;
}

/* --- waiting, forgetting --- */

bool picture_wait_change(struct resource *resource, int64_t deadline_ms)
{
    struct timespec until = { deadline_ms / 1000, deadline_ms % 1000 * 1000000 };

    if (atomic_load(&resource->stopping))
        return false;
    int number = pthread_cond_timedwait(&resource->changed, &resource->lock, &until);
    return number == 0 && !atomic_load(&resource->stopping);
}

static struct entry *take_empty(struct resource *resource)
{
    size_t position = 0;
    struct str name;
    void *value;

    WITH_LOCK(resource);
    while (map_next(&resource->entries, &position, &name, &value)) {
        struct entry *entry = value;
        if (!entry->present && !entry->pod.present && !entry->service_present)
            return map_remove(&resource->entries, name);
    }
    return NULL;
}

/* Out of the map first, so that nobody finds it; then out of the queue, which waits for a thread that may still be at it. */
void picture_forget_empty(struct resource *resource)
{
    struct entry *entry;

    while ((entry = take_empty(resource))) {
        workqueue_remove(resource->queue, &entry->work);
        entry_free(entry);
    }
}
