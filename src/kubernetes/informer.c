/* The thread of an informer: list, then watch from the list's version, then watch on from the last version seen; list again only when the server does not know
 * that version any more.
 *
 * Only a gap that cannot be closed costs a listing at once. A stream that ends by itself is opened again at once, but no more than twice a second. Every
 * few minutes everything is listed all the same: a server or something before it that lost an event would else be believed for ever. */
#include "kubernetes/informer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"
#include "kubernetes/request.h"

#define FIRST_BACKOFF_MS 100
#define LONGEST_BACKOFF_MS 5000
#define SHORT_STREAM_MS 500
#define PROVEN_STREAM_MS 5000           /* one that lasted so long ends a row of failures */

struct kube_informer {
    struct kube_client *client;                 /* with what follows: immutable */
    const struct kube_resource *resource;
    char *namespace, *selector;
    struct kube_handler handler;
    void *context;
    pthread_t thread;
    atomic_bool stopping, synced;
    pthread_mutex_t lock;                       /* for `wake` only */
    pthread_cond_t wake;                        /* `stopping` was set */
    /* The thread's own: */
    char version[64];                           /* "" = has to list */
    int64_t backoff_ms;
    int64_t relist_at_ms;                       /* monotonic: when the watches are not trusted any longer */
    bool opened;                                /* the stream has begun */
    bool told, answering;                       /* what reachable() was told last */
    struct error last_error;
};

static bool is_stopping(void *context)
{
    struct kube_informer *informer = context;
    return atomic_load(&informer->stopping);
}

/* Also what ends a stream. */
static bool is_watched_enough(void *context)
{
    struct kube_informer *informer = context;
    return is_stopping(informer) || clock_monotonic_ms() >= informer->relist_at_ms;
}

static void pause_ms(struct kube_informer *informer, int64_t ms)
{
    struct timespec until = clock_deadline(ms);

    pthread_mutex_lock(&informer->lock);
    while (!is_stopping(informer) && pthread_cond_timedwait(&informer->wake, &informer->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&informer->lock);
}

/* Doubles from one failure to the next; jittered down to a half, so that many informers do not come back together. */
static void back_off(struct kube_informer *informer)
{
    uint32_t noise;
    int64_t longest = informer->backoff_ms ? informer->backoff_ms : FIRST_BACKOFF_MS;

    random_bytes(&noise, sizeof(noise));
    informer->backoff_ms = longest * 2 < LONGEST_BACKOFF_MS ? longest * 2 : LONGEST_BACKOFF_MS;
    pause_ms(informer, longest / 2 + noise % (longest / 2 + 1));
}

static void tell_reachable(struct kube_informer *informer)
{
    if (informer->told && informer->answering)
        return;
    if (informer->told)
        log_info("the API server answers again", LOG_STR("resource", informer->resource->plural));
    informer->told = informer->answering = true;
    informer->last_error.text[0] = '\0';
    if (informer->handler.reachable)
        informer->handler.reachable(informer->context, NULL);
}

static void tell_unreachable(struct kube_informer *informer, const struct error *err)
{
    if (is_stopping(informer))
        return;
    if (strcmp(informer->last_error.text, err->text) != 0)
        log_warning("cannot follow the cluster's state", LOG_STR("resource", informer->resource->plural), LOG_ERR(err));
    informer->last_error = *err;
    informer->told = true;
    informer->answering = false;
    if (informer->handler.reachable)
        informer->handler.reachable(informer->context, err);
}

/* --- listing ------------------------------------------------------------------------------------------------- */

static void begin_listing(void *context)
{
    struct kube_informer *informer = context;
    informer->handler.listing_begin(informer->context);
}

static bool take_listed(void *context, const json_t *object)
{
    struct kube_informer *informer = context;
    informer->handler.object(informer->context, object, false);
    return true;
}

/* Jittered by a fifth, so that informers which began together do not list together. */
static void plan_relist(struct kube_informer *informer)
{
    uint16_t noise;
    int64_t period_ms = informer->client->relist_ms;

    random_bytes(&noise, sizeof(noise));
    informer->relist_at_ms = clock_monotonic_ms() + period_ms - period_ms / 5 * noise / UINT16_MAX;
}

/* False when it failed, after a pause. A listing that was cut off has begun but not ended: nothing counts as gone by it. */
static bool list_all(struct kube_informer *informer)
{
    struct kube_listing listing = { begin_listing, take_listed, is_stopping, informer };
    char version[64] = "";
    struct error err = { 0 };

    if (kube_list_run(informer->client, informer->resource, informer->namespace, informer->selector, &listing, version, &err) < 0) {
        tell_unreachable(informer, &err);
        back_off(informer);
        return false;
    }
    if (is_stopping(informer))
        return false;
    informer->handler.listing_end(informer->context);
    memcpy(informer->version, version, sizeof(version));
    atomic_store(&informer->synced, true);
    plan_relist(informer);
    tell_reachable(informer);
    return true;
}

/* --- watching ------------------------------------------------------------------------------------------------ */

static void take_opened(void *context)
{
    struct kube_informer *informer = context;

    informer->opened = true;
    tell_reachable(informer);
}

static void take_event(void *context, enum kube_watch_type type, const json_t *object)
{
    struct kube_informer *informer = context;

    if (type != KUBE_BOOKMARK)
        informer->handler.object(informer->context, object, type == KUBE_DELETED);
}

/* The server may only be away, or it may not like what we ask for; then listing again shows whether it is the version. A stream that broke says nothing
 * yet: the next attempt shows whether anybody is there. */
static void take_failure(struct kube_informer *informer, const struct error *err)
{
    bool away = err->class == ERR_UNAVAILABLE || err->class == ERR_TIMEOUT || err->class == ERR_LIMIT;

    if (kube_error_is_expired(err)) {
        log_info("the watched version is too old; listing again", LOG_STR("resource", informer->resource->plural));
        informer->version[0] = '\0';
        if (informer->backoff_ms > 0)
            back_off(informer);
        else
            informer->backoff_ms = FIRST_BACKOFF_MS;
        return;
    }
    if (!away)
        informer->version[0] = '\0';
    if (informer->opened && away)
        log_debug("a stream of events broke", LOG_STR("resource", informer->resource->plural), LOG_ERR(err));
    else
        tell_unreachable(informer, err);
    back_off(informer);
}

static void watch_once(struct kube_informer *informer)
{
    struct kube_watching watching = { take_opened, take_event, is_watched_enough, informer };
    struct error err = { 0 };
    int64_t began_ms = clock_monotonic_ms();
    informer->opened = false;
    int result = kube_watch_run(informer->client, informer->resource, informer->namespace, informer->selector, informer->version, &watching, &err);
    int64_t lasted_ms = clock_monotonic_ms() - began_ms;

    if (lasted_ms >= PROVEN_STREAM_MS)
        informer->backoff_ms = 0;
    if (result < 0)
        take_failure(informer, &err);
    else if (is_watched_enough(informer))
        informer->version[0] = '\0';
    else if (lasted_ms < SHORT_STREAM_MS)
        pause_ms(informer, SHORT_STREAM_MS);
}

static void *run_informer(void *argument)
{
    struct kube_informer *informer = argument;

    while (!is_stopping(informer)) {
        if (informer->version[0] || list_all(informer))
            watch_once(informer);
    }
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------------------- */

struct kube_informer *kube_informer_start(struct kube_client *client, const struct kube_resource *resource, const char *namespace,
                                          const char *selector, const struct kube_handler *handler, void *context)
{
    struct kube_informer *informer = xcalloc(1, sizeof(*informer));
    pthread_condattr_t attributes;

    *informer = (struct kube_informer){ .client = client, .resource = resource, .handler = *handler, .context = context };
    informer->namespace = namespace ? xstrdup(namespace) : NULL;
    informer->selector = selector ? xstrdup(selector) : NULL;
    pthread_mutex_init(&informer->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&informer->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    informer->thread = thread_start("informer", run_informer, informer);
    return informer;
}

bool kube_informer_synced(const struct kube_informer *informer) { return atomic_load(&informer->synced); }

void kube_informer_signal_stop(struct kube_informer *informer)
{
    pthread_mutex_lock(&informer->lock);
    atomic_store(&informer->stopping, true);
    pthread_cond_broadcast(&informer->wake);
    pthread_mutex_unlock(&informer->lock);
}

void kube_informer_stop(struct kube_informer *informer)
{
    if (!informer)
        return;
    kube_informer_signal_stop(informer);
    pthread_join(informer->thread, NULL);
    pthread_cond_destroy(&informer->wake);
    pthread_mutex_destroy(&informer->lock);
    free(informer->namespace);
    free(informer->selector);
    free(informer);
}
