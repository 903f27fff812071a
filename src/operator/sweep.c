/* What only time brings: idle terminals, homes whose time is over, the first sight of everything, numbers for /metrics. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pause.h"
#include "operator/internal.h"

#define HOUR_US (3600LL * 1000000)
enum { FIRST_SIGHT_MS = 20 };

/* --- idle --- */

static void look_at_running(struct operator *operator)
{
    WITH_LOCK(operator);
    size_t position = 0;
    for (struct record *record; (record = records_next(operator, &position));)
        if (record->phase == PHASE_RUNNING && record->idle_timeout_us > 0)
            workqueue_add(operator->queue, &record->work);
}

/* --- homes --- */

struct old_home {
    char *namespace, *name;
    char uid[UID_SIZE], version[24];
};

static bool is_over(const struct operator *operator, const struct record *record, int64_t now_us)
{
    int64_t retention_us = (int64_t)operator->settings->operator_pvc_retention_hours * HOUR_US;

    return !record->cr.present && record->pvc.present && !record->pvc.deleting && record->released_us > 0 &&
           now_us - record->released_us >= retention_us;
}

static bool find_old_home(struct operator *operator, size_t *position, struct old_home *home)
{
    WITH_LOCK(operator);
    for (struct record *record; (record = records_next(operator, position));) {
        if (!is_over(operator, record, clock_wall_us()))
            continue;
        home->namespace = xstrdup(record->namespace);
        home->name = child_name(CHILD_PVC, record->name);
        memcpy(home->uid, record->pvc.uid, UID_SIZE);
        (void)snprintf(home->version, sizeof home->version, "%llu", (unsigned long long)record->pvc.version);
        return true;
    }
    return false;
}

/* With its version: a terminal that claimed it meanwhile keeps it. */
static void delete_home(struct operator *operator, struct old_home *home)
{
    struct kube_delete_options options = { home->uid, home->version, -1 };
    struct error err;

    pause_point("operator.delete_home.before");
    if (kube_delete(operator->client, &KUBE_PVCS, home->namespace, home->name, &options, &err) == 0)
        log_info("deleted a home: its terminal is gone for longer than homes are kept", LOG_STR("namespace", home->namespace),
                 LOG_STR("claim", home->name));
    else if (err.class != ERR_NOT_FOUND && err.class != ERR_CONFLICT)
        log_warning("a home could not be deleted", LOG_STR("claim", home->name), LOG_ERR(&err));
    free(home->namespace);
    free(home->name);
}

static void delete_old_homes(struct operator *operator)
{
    struct old_home home;
    size_t position = 0;

    if (operator->settings->operator_pvc_retention_hours == 0)
        return;
    while (lease_is_held(operator->lease) && find_old_home(operator, &position, &home))
        delete_home(operator, &home);
}

/* --- the thread --- */

static bool wait_ms(struct operator *operator, int64_t ms)
{
    struct timespec until = clock_deadline(ms);

    WITH_LOCK(operator);
    while (!atomic_load(&operator->stopping) && pthread_cond_timedwait(&operator->changed, &operator->lock, &until) != ETIMEDOUT)
        ;
    return atomic_load(&operator->stopping);
}

static bool wait_for_first_sight(struct operator *operator)
{
    while (!operator_watch_is_synced(operator))
        if (wait_ms(operator, FIRST_SIGHT_MS))
            return false;
    atomic_store(&operator->synced, true);
    log_info("all objects are known", LOG_INT("terminals", operator->records.count));
    records_add_all_to_queue(operator);
    return true;
}

void *sweep_run(void *argument)
{
    struct operator *operator = argument;

    if (!wait_for_first_sight(operator))
        return NULL;
    while (!wait_ms(operator, SWEEP_MS)) {
        records_forget_empty(operator);
        if (!lease_is_held(operator->lease))
            continue;
        look_at_running(operator);
        delete_old_homes(operator);
    }
    return NULL;
}
