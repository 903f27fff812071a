/* See lease.h. */
#include "operator/lease.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"
#include "kubernetes/object.h"

struct lease {
    struct kube_client *client;         /* with what follows: immutable */
    char *namespace, *name, *identity;
    void (*gained)(void *context);
    void (*lost)(void *context);
    void *context;
    pthread_t thread;
    _Atomic int64_t held_until_ms;      /* monotonic; 0: not held */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;                      /* under `lock` */
    /* The thread's own: */
    json_t *object;                     /* as we wrote it last; NULL: read it first */
    struct lease_sight sight;
    bool leading;
};

bool lease_is_held(const struct lease *lease) { return clock_monotonic_ms() < atomic_load(&lease->held_until_ms); }
const char *lease_identity(const struct lease *lease) { return lease->identity; }

bool lease_is_free(struct lease_sight *sight, const json_t *object, const char *identity, int64_t now_ms)
{
    const char *holder = kube_text_at(object, "spec", "holderIdentity", NULL), *renewed = kube_text_at(object, "spec", "renewTime", NULL);
    json_int_t duration_s = json_integer_value(kube_at(object, "spec", "leaseDurationSeconds", NULL));
    cleanup_free char *state = xasprintf("%s %s", holder ? holder : "", renewed ? renewed : "");

    if (!holder || !*holder || strcmp(holder, identity) == 0)
        return true;
    if (!sight->state || strcmp(sight->state, state) != 0) {
        free(sight->state);
        *sight = (struct lease_sight){ steal(&state), now_ms };
    }
    return now_ms - sight->since_ms >= (duration_s > 0 ? duration_s : LEASE_DURATION_S) * 1000;
}

/* --- writing --- */

static void fill(const struct lease *lease, json_t *object, bool taken_over)
{
    json_t *spec = json_object_get(object, "spec");
    json_int_t transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
    char now[28];

    clock_format_iso(clock_wall_us(), now);
    if (!spec)
        json_object_set_new(object, "spec", spec = json_object());
    json_object_set_new(spec, "holderIdentity", json_string(lease->identity));
    json_object_set_new(spec, "leaseDurationSeconds", json_integer(LEASE_DURATION_S));
    json_object_set_new(spec, "renewTime", json_string(now));
    if (!taken_over)
        return;
    json_object_set_new(spec, "acquireTime", json_string(now));
    json_object_set_new(spec, "leaseTransitions", json_integer(transitions + 1));
}

static void keep(struct lease *lease, json_t *object)
{
    json_decref(lease->object);
    lease->object = object;
}

static int create(struct lease *lease, struct error *err)
{
    cleanup_json json_t *object = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease", "metadata",
                                            "name", lease->name, "namespace", lease->namespace);
    json_t *made = NULL;

    fill(lease, object, true);
    if (kube_create(lease->client, &KUBE_LEASES, lease->namespace, object, &made, err) < 0)
        return -1;
    keep(lease, made);
    return 1;
}

static int replace(struct lease *lease, json_t *object, bool taken_over, struct error *err)
{
    json_t *made = NULL;

    fill(lease, object, taken_over);
    if (kube_replace(lease->client, &KUBE_LEASES, lease->namespace, object, &made, err) < 0)
        return -1;
    keep(lease, made);
    return 1;
}

/* 1: the lease is ours now; 0: it is another's; negative: not known. */
static int acquire(struct lease *lease, struct error *err)
{
    cleanup_json json_t *object = NULL;

    if (kube_get(lease->client, &KUBE_LEASES, lease->namespace, lease->name, &object, err) < 0)
        return err->class == ERR_NOT_FOUND ? create(lease, err) : -1;
    if (!lease_is_free(&lease->sight, object, lease->identity, clock_monotonic_ms()))
        return 0;
    return replace(lease, object, true, err);
}

/* Another's write in between is found out by the version of the object. */
static int renew(struct lease *lease, struct error *err)
{
    cleanup_json json_t *object = steal(&lease->object);

    return object ? replace(lease, object, false, err) : acquire(lease, err);
}

/* --- leading and following --- */

static void lead(struct lease *lease, int64_t asked_ms)
{
    atomic_store(&lease->held_until_ms, asked_ms + LEASE_DEADLINE_MS);
    if (lease->leading)
        return;
    lease->leading = true;
    log_info("this replica leads", LOG_STR("lease", lease->name), LOG_STR("identity", lease->identity));
    lease->gained(lease->context);
}

static void follow(struct lease *lease, const char *why)
{
    atomic_store(&lease->held_until_ms, 0);
    keep(lease, NULL);
    if (!lease->leading)
        return;
    lease->leading = false;
    log_warning("this replica leads no more", LOG_STR("lease", lease->name), LOG_STR("why", why));
    lease->lost(lease->context);
}

/* One attempt; gives the time to the next. */
static int64_t attempt(struct lease *lease)
{
    int64_t asked_ms = clock_monotonic_ms();
    struct error err = { 0 };
    int result = lease->leading ? renew(lease, &err) : acquire(lease, &err);

    if (result == 1) {
        lead(lease, asked_ms);
        return LEASE_RENEW_MS;
    }
    if (result == 0) {
        follow(lease, "another replica holds the lease");
        return LEASE_RETRY_MS;
    }
    if (err.class != ERR_CONFLICT)
        log_warning("the lease could not be written", LOG_STR("lease", lease->name), LOG_ERR(&err));
    if (lease->leading && !lease_is_held(lease))
        follow(lease, err.text);
    return lease->leading ? LEASE_RENEW_RETRY_MS : LEASE_RETRY_MS;
}

/* --- the thread --- */

/* True when it is time to end. */
static bool wait_ms(struct lease *lease, int64_t ms)
{
    struct timespec until = clock_deadline(ms);

    pthread_mutex_lock(&lease->lock);
    while (!lease->stopping && pthread_cond_timedwait(&lease->wake, &lease->lock, &until) != ETIMEDOUT)
        ;
    bool stopping = lease->stopping;
    pthread_mutex_unlock(&lease->lock);
    return stopping;
}

static void release(struct lease *lease)
{
    cleanup_json json_t *object = steal(&lease->object);
    struct error err;

    if (!lease->leading || !object)
        return;
    atomic_store(&lease->held_until_ms, 0);
    json_object_set_new(json_object_get(object, "spec"), "holderIdentity", json_string(""));
    if (kube_replace(lease->client, &KUBE_LEASES, lease->namespace, object, NULL, &err) < 0)
        log_warning("the lease could not be given back; it runs out", LOG_STR("lease", lease->name), LOG_ERR(&err));
}

static void *run(void *argument)
{
    struct lease *lease = argument;

    while (!wait_ms(lease, attempt(lease)))
        ;
    release(lease);
    return NULL;
}

static char *make_identity(void)
{
    char host[65] = "", uuid[37];

    (void)gethostname(host, sizeof host - 1);
    random_uuid4(uuid);
    return xasprintf("%s_%s", host[0] ? host : "terminals", uuid);
}

struct lease *lease_start(struct kube_client *client, const char *namespace, const char *name, void (*gained)(void *context),
                          void (*lost)(void *context), void *context)
{
    struct lease *lease = xcalloc(1, sizeof *lease);
    pthread_condattr_t monotonic;

    lease->client = client;
    lease->namespace = xstrdup(namespace);
    lease->name = xstrdup(name);
    lease->identity = make_identity();
    lease->gained = gained;
    lease->lost = lost;
    lease->context = context;
    (void)pthread_mutex_init(&lease->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&lease->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    lease->thread = thread_start("lease", run, lease);
    return lease;
}

void lease_stop(struct lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    lease->stopping = true;
    pthread_cond_signal(&lease->wake);
    pthread_mutex_unlock(&lease->lock);
    (void)pthread_join(lease->thread, NULL);
    (void)pthread_mutex_destroy(&lease->lock);
    (void)pthread_cond_destroy(&lease->wake);
    json_decref(lease->object);
    free(lease->sight.state);
    free(lease->namespace);
    free(lease->name);
    free(lease->identity);
    free(lease);
}
