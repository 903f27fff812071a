/* Which of several replicas leads: a Lease (coordination.k8s.io) that the leader renews every 5 s. A leader that could not renew it for 10 s holds
 * itself for none; the others take a lease over that they have not seen renewed for 15 s by their own clock. So there are never two, whatever
 * the clocks say, and a dead leader is replaced within 17 s, one that ends in order at once. Its own thread. */
#ifndef OPERATOR_LEASE_H
#define OPERATOR_LEASE_H

#include <jansson.h>

#include "kubernetes/client.h"

enum {
    LEASE_DURATION_S = 15, LEASE_RENEW_MS = 5000, LEASE_DEADLINE_MS = 10000, LEASE_RETRY_MS = 2000, LEASE_RENEW_RETRY_MS = 1000,
    LEASE_CALL_MS = 4000,
};

struct lease;

/* `client` must outlive it and should have a timeout of LEASE_CALL_MS. `gained` and `lost` are called on the lease's thread. */
struct lease *lease_start(struct kube_client *client, const char *namespace, const char *name, void (*gained)(void *context),
                          void (*lost)(void *context), void *context) MUST_CHECK;
/* Any thread. False as soon as it might be another's. */
bool lease_is_held(const struct lease *lease);
/* Who we are in the Lease. */
const char *lease_identity(const struct lease *lease);
/* Gives the lease back when it is held, ends the thread, frees. */
void lease_stop(struct lease *lease);

/* --- for tests (pure) --- */
/* What is known of a Lease that is not ours, and since when (monotonic). */
struct lease_sight {
    char *state;                        /* holder and time of renewal as last seen; owned */
    int64_t since_ms;
};
/* Takes a look. True: it may be taken over: nobody holds it, or it was not renewed for its duration. */
bool lease_is_free(struct lease_sight *sight, const json_t *lease, const char *identity, int64_t now_ms);

#endif
