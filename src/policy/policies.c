/* The snapshot in force. Readers hold the lock for one increment; the last holder of an old snapshot frees it. */
#include <pthread.h>
#include <stdatomic.h>

#include "policy/policy.h"

struct policies {
    pthread_mutex_t lock;
    struct policy_snapshot *current;    /* under `lock` */
    _Atomic uint64_t generation;        /* written under `lock` */
};

struct policies *policies_new(struct policy_snapshot *first)
{
    struct policies *policies = xcalloc(1, sizeof(*policies));

    pthread_mutex_init(&policies->lock, NULL);
    policies->current = first;
    atomic_init(&policies->generation, 1);
    return policies;
}

void policies_free(struct policies *policies)
{
    if (!policies)
        return;
    policy_snapshot_unref(policies->current);
    pthread_mutex_destroy(&policies->lock);
    free(policies);
}

struct policy_snapshot *policies_current(struct policies *policies)
{
    struct policy_snapshot *snapshot;

    pthread_mutex_lock(&policies->lock);
    snapshot = policy_snapshot_ref(policies->current);
    pthread_mutex_unlock(&policies->lock);
    return snapshot;
}

uint64_t policies_generation(const struct policies *policies)
{
    return atomic_load_explicit(&policies->generation, memory_order_acquire);
}

void policies_publish(struct policies *policies, struct policy_snapshot *snapshot)
{
    struct policy_snapshot *old;

    pthread_mutex_lock(&policies->lock);
    old = policies->current;
    policies->current = snapshot;
    atomic_fetch_add_explicit(&policies->generation, 1, memory_order_release);
    pthread_mutex_unlock(&policies->lock);
    policy_snapshot_unref(old);
}
