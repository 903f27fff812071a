/* List, then watch, for ever: keeps somebody's picture of one kind of object true. Runs on its own thread. Keeps no objects itself: the
 * handler keeps what it needs. Lists everything again every few minutes (kube_client_options), in case that an event was lost. After 410, a broken stream or a time-out it goes on from the last version or lists again, with back-off (100 ms … 5 s, jittered). */
#ifndef KUBERNETES_INFORMER_H
#define KUBERNETES_INFORMER_H

#include "kubernetes/client.h"

struct kube_handler {
    void (*listing_begin)(void *context);
    /* Added, changed or seen again (borrowed); `deleted`: its last state. */
    void (*object)(void *context, const json_t *object, bool deleted);
    /* What was not seen since listing_begin() is gone. */
    void (*listing_end)(void *context);
    /* NULL: the API server answers again. May be NULL itself. */
    void (*reachable)(void *context, const struct error *err);
};

/* For handlers that hear of an object by two ways, from here and as answers of their own calls, so that old news may overtake new: they keep the version
 * that was seen last, and drop what is older. But what was seen before a listing began counts no more when the listing tells: a listing is current when it
 * begins, and an object that it tells in an older version is one of a store that was put back to an earlier state. `listing` is the number of the listing
 * that tells, or that the telling watch goes on from; they rise. `*seen` is the latest that had begun when `*version` was seen. */
static inline void kube_listing_outrank(uint64_t listing, uint64_t *seen, uint64_t *version)
{
    if (*seen >= listing)
        return;
    *seen = listing;
    *version = 0;
}

struct kube_informer;

/* All texts and the resource are copied or must outlive it; `namespace` NULL: all. */
struct kube_informer *kube_informer_start(struct kube_client *client, const struct kube_resource *resource, const char *namespace,
                                          const char *selector, const struct kube_handler *handler, void *context) MUST_CHECK;
/* Whether the first listing is complete. */
bool kube_informer_synced(const struct kube_informer *informer);
/* Asks the thread to end and returns at once, for those who stop several: each then ends while the others are waited for. */
void kube_informer_signal_stop(struct kube_informer *informer);
/* Ends the thread, waits for it, frees. Not from inside the handler. */
void kube_informer_stop(struct kube_informer *informer);

#endif
