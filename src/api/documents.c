/* The cache: for each policy the documents of the image that is in force, one entry under one lock that is never held across a call
 * that waits. An entry is in one of three conditions: it has documents, it is being fetched, it failed a moment ago. Whoever finds
 * it without documents starts the fetch, on a thread of the cache, so that a caller whose patience ends leaves the fetch running for
 * those who come after him; everyone else waits for the same one.
 *
 * Documents outlive a change of their policy (they are served, stale, while new ones are fetched) but not a change of its image. */
#include "api/documents.h"

#include <errno.h>
#include <pthread.h>

#include "api/document_job.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"

#define FRESH_MS (300 * 1000)
/* How long a failure stands: a broken policy must not start a container at each request. */
#define FAILURE_MS 5000
#define MAX_THREADS 4

struct entry {
    char *image;
    struct document *documents[DOCUMENT_KIND_COUNT];    /* all or none */
    bool looked_in_store, fetching;
    struct error failure;               /* of the last fetch; ERR_NONE: it went well, or there was none */
    int64_t failed_until_ms;            /* until then the failure is the answer */
};

struct documents {
    pthread_mutex_t lock;
    pthread_cond_t fetched;
    struct map entries;                 /* policy id → struct entry; under `lock`, as is what they hold */
    struct store *store;
    struct policies *policies;
    struct fleet *fleet;
    struct pool *pool;
    _Atomic bool closing;
};

/* What is in force for a policy, while the snapshot is held. */
struct facts {
    struct policy_snapshot *snapshot;
    const char *image;
    int64_t updated_us;                 /* wall; 0 for the built-in policy */
};

static void facts_clear(struct facts *facts)
{
    if (facts->snapshot)
        policy_snapshot_unref(facts->snapshot);
}
#define cleanup_facts __attribute__((cleanup(facts_clear)))

static bool facts_find(const struct documents *documents, const char *policy_id, struct facts *facts)
{
    facts->snapshot = policies_current(documents->policies);
    const struct policy *policy = policy_snapshot_find(facts->snapshot, str_from(policy_id));
    if (!policy)
        return false;
    facts->image = policy->image;
    if (!policy->updated_at || !clock_parse_iso(policy->updated_at, &facts->updated_us))
        facts->updated_us = 0;
    return true;
}

/* --- entries (all under the lock) ------------------------------------------------------------------------------- */

static void entry_drop_documents(struct entry *entry)
{
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
        document_unref(steal(&entry->documents[kind]));
}

static void entry_free(void *value)
{
    struct entry *entry = value;
    entry_drop_documents(entry);
    free(entry->image);
    free(entry);
}

/* The entry of the policy, emptied when the image is another. A fetch for the old image may still run; its result is not taken. */
static struct entry *entry_of(struct documents *documents, const char *policy_id, const char *image)
{
    struct entry *entry = map_get(&documents->entries, str_from(policy_id));

    if (!entry) {
        entry = xcalloc(1, sizeof *entry);
        map_put(&documents->entries, str_from(policy_id), entry);
    }
    if (entry->image && strcmp(entry->image, image) == 0)
        return entry;
    entry_drop_documents(entry);
    free(entry->image);
    entry->image = xstrdup(image);
    entry->looked_in_store = false;
    entry->failure.class = ERR_NONE;
    entry->failed_until_ms = 0;
    return entry;
}

static struct document *document_ref(struct document *document)
{
    if (document)
        atomic_fetch_add_explicit(&document->references, 1, memory_order_relaxed);
    return document;
}

/* Younger than the limit and than the policy itself. */
static bool is_fresh(const struct document *document, const struct facts *facts)
{
    int64_t age_ms = clock_monotonic_ms() - document->fetched_ms;
    return age_ms < FRESH_MS && (clock_wall_us() - facts->updated_us) / 1000 >= age_ms;
}

/* Entries of policies that are gone. */
static void prune(struct documents *documents)
{
    struct policy_snapshot *snapshot = policies_current(documents->policies);
    size_t position = 0;
    struct str key;
    void *value;

    while (map_next(&documents->entries, &position, &key, &value)) {
        struct entry *entry = value;
        if (!entry->fetching && !policy_snapshot_find(snapshot, key))
            entry_free(map_remove(&documents->entries, key));
    }
    policy_snapshot_unref(snapshot);
}

/* --- fetching --------------------------------------------------------------------------------------------------- */

struct fetch {
    struct documents *documents;
    char *policy_id, *image;
    bool may_start, look_in_store;
};

static void fetch_free(struct fetch *fetch)
{
    free(fetch->policy_id);
    free(fetch->image);
    free(fetch);
}

/* With the lock held: the result into the entry, if it still is of that image. Takes the references over. */
static void install(struct fetch *fetch, struct document *found[DOCUMENT_KIND_COUNT], const struct error *failure)
{
    struct entry *entry = map_get(&fetch->documents->entries, str_from(fetch->policy_id));

    entry->fetching = false;
    if (strcmp(entry->image, fetch->image) != 0) {
        for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
            document_unref(found[kind]);
        return;
    }
    entry->looked_in_store = true;
    entry->failure = *failure;
    if (failure->class == ERR_NONE) {
        entry_drop_documents(entry);
        memcpy(entry->documents, found, sizeof entry->documents);
    } else if (fetch->may_start || failure->class != ERR_NOT_FOUND) {
        entry->failed_until_ms = clock_monotonic_ms() + FAILURE_MS;
    }
}

static void fetch_run(void *argument)
{
    struct fetch *fetch = argument;
    struct documents *documents = fetch->documents;
    struct document *found[DOCUMENT_KIND_COUNT] = { NULL }, *kept[DOCUMENT_KIND_COUNT];
    struct error failure = { .class = ERR_NONE };
    bool fetched;
    struct document_job job = {
        documents->store, documents->fleet, &documents->closing, fetch->policy_id, fetch->image, fetch->may_start,
        fetch->look_in_store,
    };

    if (document_job_run(&job, found, &fetched, &failure) == 0)
        failure.class = ERR_NONE;       /* what an attempt before the good one left there */
    else if (failure.class != ERR_NOT_FOUND)
        log_warning("the documents of a policy cannot be fetched", LOG_STR("policy", fetch->policy_id), LOG_ERR(&failure));
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
        kept[kind] = document_ref(found[kind]);
    pthread_mutex_lock(&documents->lock);
    install(fetch, found, &failure);
    prune(documents);
    pthread_cond_broadcast(&documents->fetched);
    pthread_mutex_unlock(&documents->lock);
    if (fetched)
        document_job_keep(&job, kept);
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
        document_unref(kept[kind]);
    fetch_free(fetch);
}

/* With the lock held. */
static int fetch_begin(struct documents *documents, const char *policy_id, struct entry *entry, bool may_start, struct error *err)
{
    struct fetch *fetch = xcalloc(1, sizeof *fetch);

    fetch->documents = documents;
    fetch->policy_id = xstrdup(policy_id);
    fetch->image = xstrdup(entry->image);
    fetch->may_start = may_start;
    fetch->look_in_store = !entry->looked_in_store;
    if (!pool_submit(documents->pool, fetch_run, fetch)) {
        fetch_free(fetch);
        return error_set(err, ERR_LIMIT, "too many documents are being fetched");
    }
    entry->fetching = true;
    return 0;
}

/* --- the two ways in -------------------------------------------------------------------------------------------- */

struct document *documents_peek(struct documents *documents, enum document_kind kind, const char *policy_id, bool *stale)
{
    cleanup_facts struct facts facts = { 0 };
    struct document *document = NULL;

    *stale = false;
    if (!facts_find(documents, policy_id, &facts))
        return NULL;
    pthread_mutex_lock(&documents->lock);
    struct entry *entry = map_get(&documents->entries, str_from(policy_id));
    if (entry && strcmp(entry->image, facts.image) == 0)
        document = document_ref(entry->documents[kind]);
    pthread_mutex_unlock(&documents->lock);
    if (document)
        *stale = !is_fresh(document, &facts);
    return document;
}

/* With the lock held, which it gives up meanwhile: until no fetch runs for the policy. False: the time is over. */
static bool wait_for_fetch(struct documents *documents, const char *policy_id, int64_t deadline_ms)
{
    int64_t left_ms = deadline_ms - clock_monotonic_ms();
    struct timespec until = clock_deadline(left_ms);

    if (left_ms <= 0)
        return false;
    for (;;) {
        const struct entry *entry = map_get(&documents->entries, str_from(policy_id));
        if (!entry || !entry->fetching)
            return true;
        if (pthread_cond_timedwait(&documents->fetched, &documents->lock, &until) == ETIMEDOUT)
            return false;
    }
}

/* What one look at the entry says. */
enum look { LOOK_DONE, LOOK_FAILED, LOOK_WAIT };

static enum look look_at(struct entry *entry, enum document_kind kind, const struct facts *facts, bool waited, bool may_start)
{
    const struct document *document = entry->documents[kind];

    if (document && (waited || is_fresh(document, facts)))
        return LOOK_DONE;
    if (entry->fetching)
        return LOOK_WAIT;
    bool failed = entry->failure.class != ERR_NONE;
    if (failed && (clock_monotonic_ms() < entry->failed_until_ms || (waited && !may_start)))
        return LOOK_FAILED;
    return LOOK_WAIT;
}

/* With the lock held. */
static struct document *obtain(struct documents *documents, enum document_kind kind, const char *policy_id, bool may_start,
                               int64_t deadline_ms, struct error *err)
{
    for (bool waited = false;; waited = true) {
        cleanup_facts struct facts facts = { 0 };
        if (!facts_find(documents, policy_id, &facts)) {
            error_set(err, ERR_NOT_FOUND, "Policy '%s' not found", policy_id);
            return NULL;
        }
        struct entry *entry = entry_of(documents, policy_id, facts.image);
        switch (look_at(entry, kind, &facts, waited, may_start)) {
        case LOOK_DONE:
            return document_ref(entry->documents[kind]);
        case LOOK_FAILED:
            *err = entry->failure;
            return document_ref(entry->documents[kind]);
        case LOOK_WAIT:
            break;
        }
        if (!entry->fetching && fetch_begin(documents, policy_id, entry, may_start, err) < 0)
            return document_ref(entry->documents[kind]);
        if (!wait_for_fetch(documents, policy_id, deadline_ms)) {
            error_set(err, ERR_TIMEOUT, "the documents of policy '%s' are still being fetched", policy_id);
            return document_ref(entry_of(documents, policy_id, facts.image)->documents[kind]);
        }
    }
}

struct document *documents_obtain(struct documents *documents, enum document_kind kind, const char *policy_id, bool may_start,
                                  int64_t deadline_ms, struct error *err)
{
    pthread_mutex_lock(&documents->lock);
    struct document *document = obtain(documents, kind, policy_id, may_start, deadline_ms, err);
    pthread_mutex_unlock(&documents->lock);
    return document;
}

struct documents *documents_new(struct store *store, struct policies *policies, struct fleet *fleet)
{
    struct documents *documents = xcalloc(1, sizeof *documents);
    pthread_condattr_t monotonic;

    pthread_mutex_init(&documents->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&documents->fetched, &monotonic);
    pthread_condattr_destroy(&monotonic);
    documents->store = store;
    documents->policies = policies;
    documents->fleet = fleet;
    documents->pool = pool_new("documents", MAX_THREADS);
    atomic_init(&documents->closing, false);
    return documents;
}

void documents_free(struct documents *documents)
{
    if (!documents)
        return;
    atomic_store_explicit(&documents->closing, true, memory_order_relaxed);
    pool_free(documents->pool);
    map_free(&documents->entries, entry_free);
    pthread_cond_destroy(&documents->fetched);
    pthread_mutex_destroy(&documents->lock);
    free(documents);
}
