/* The order is that of cost: the database, a guest that runs anyhow, and only then a start of our own, which is undone afterwards. */
#include "api/document_job.h"

#include "api/document_fetch.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* The fleet ends a start by itself long before; this only keeps a thread from being lost. */
#define LONGEST_START_MS (15 * 60 * 1000)
/* How often a wait for a start looks whether the service ends. */
#define START_SLICE_MS 1000

static bool is_closing(void *context)
{
    const struct document_job *job = context;
    return atomic_load_explicit(job->closing, memory_order_relaxed);
}

/* --- the database ---------------------------------------------------------------------------------------------- */

/* Kept as {"status", "body"}, because a guest's 404 is an answer too. The rows are ours alone. */
static struct document *load_one(const struct document_job *job, enum document_kind kind)
{
    cleanup_free char *text = NULL;
    int64_t fetched_us = 0;
    struct error err;

    if (store_get_document(job->store, document_names[kind], job->policy_id, job->image, &text, &fetched_us, &err) < 0) {
        if (err.class != ERR_NOT_FOUND)
            log_warning("a cached document cannot be read", LOG_STR("document", document_names[kind]), LOG_ERR(&err));
        return NULL;
    }
    cleanup_json json_t *row = json_read(str_from(text), &err);
    const json_t *body = json_object_get(row, "body");
    char *written = body ? json_write(body) : NULL;
    if (!written)
        return NULL;
    int64_t age_ms = (clock_wall_us() - fetched_us) / 1000;
    return document_new((int)json_integer_value(json_object_get(row, "status")), written,
                        clock_monotonic_ms() - (age_ms > 0 ? age_ms : 0));
}

static void forget_documents(struct document *documents[DOCUMENT_KIND_COUNT])
{
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
        document_unref(steal(&documents[kind]));
}

static bool load_documents(const struct document_job *job, struct document *documents[DOCUMENT_KIND_COUNT])
{
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++)
        if (!(documents[kind] = load_one(job, (enum document_kind)kind))) {
            forget_documents(documents);
            return false;
        }
    return true;
}

void document_job_keep(const struct document_job *job, struct document *const documents[DOCUMENT_KIND_COUNT])
{
    for (int kind = 0; kind < DOCUMENT_KIND_COUNT; kind++) {
        const struct document *document = documents[kind];
        cleanup_free char *text = xasprintf("{\"status\":%d,\"body\":%s}", document->status, document->body);
        struct error err;
        if (store_put_document(job->store, document_names[kind], job->policy_id, job->image, text, clock_wall_us(), &err) < 0) {
            log_warning("a document cannot be cached", LOG_STR("document", document_names[kind]), LOG_ERR(&err));
            return;
        }
    }
}

/* --- a guest --------------------------------------------------------------------------------------------------- */

static struct terminal_key *system_key(const struct document_job *job)
{
    return terminal_key_new(str_from(SYSTEM_USER_ID), str_from(job->policy_id), str_from(DEFAULT_CONTEXT_ID));
}

/* Our own terminal first: nobody else has been in it. */
static struct route *find_running(const struct document_job *job, const struct terminal_key *key)
{
    struct route *route = fleet_find_route(job->fleet, key);
    return route ? route : fleet_find_route_of_policy(job->fleet, job->policy_id, job->image);
}

static int fetch_from(const struct document_job *job, const struct route *route,
                      struct document *documents[DOCUMENT_KIND_COUNT], struct error *err)
{
    return documents_fetch(route, documents, is_closing, (void *)job, err);
}

/* Whether the terminal is up, or coming up, for somebody else. */
static bool is_wanted_already(const struct document_job *job, const struct terminal_key *key)
{
    struct terminal_filter filter = { key->user_id, key->policy_id, key->context_id };
    struct terminal_info *infos = NULL;
    size_t count = fleet_list(job->fleet, &filter, &infos);
    bool wanted = false;

    for (size_t i = 0; i < count; i++) {
        wanted |= infos[i].phase == TERMINAL_READY || infos[i].phase == TERMINAL_STARTING;
        terminal_info_clear(&infos[i]);
    }
    free(infos);
    return wanted;
}

static void stop_own(const struct document_job *job, const struct terminal_key *key)
{
    struct terminal_filter filter = { key->user_id, key->policy_id, key->context_id };
    struct stop_result result = { 0 };
    struct error err;

    if (fleet_stop(job->fleet, &filter, false, false, &result, &err) < 0)
        log_warning("the terminal that was started for documents cannot be stopped", LOG_STR("policy", job->policy_id),
                    LOG_ERR(&err));
}

/* Waits in slices, so that the end of the service is noticed. */
static struct route *obtain_route(const struct document_job *job, const struct terminal_key *key, struct error *err)
{
    int64_t deadline = clock_monotonic_ms() + LONGEST_START_MS;
    struct route *route;

    do
        route = fleet_obtain_route(job->fleet, key, clock_monotonic_ms() + START_SLICE_MS, err);
    while (!route && (err->class == ERR_STARTING || err->class == ERR_TIMEOUT) && !is_closing((void *)job) &&
           clock_monotonic_ms() < deadline);
    return route;
}

/* Whether somebody came to the terminal after we did. */
static bool is_in_use(struct route *route, int64_t since_ms)
{
    return atomic_load(&route->active_requests) > 0 || atomic_load(&route->websockets) > 0 ||
           atomic_load(&route->last_active_ms) > since_ms;
}

static int start_and_fetch(const struct document_job *job, const struct terminal_key *key,
                           struct document *documents[DOCUMENT_KIND_COUNT], struct error *err)
{
    bool ours = !is_wanted_already(job, key);
    struct route *route = obtain_route(job, key, err);
    if (!route) {
        if (ours)
            stop_own(job, key);
        return error_wrap(err, "starting a terminal of policy '%s'", job->policy_id);
    }
    int64_t since_ms = clock_monotonic_ms();
    int result = fetch_from(job, route, documents, err);
    bool in_use = is_in_use(route, since_ms);
    route_unref(route);
    if (ours && !in_use)
        stop_own(job, key);
    return result;
}

static int fetch_somewhere(const struct document_job *job, struct document *documents[DOCUMENT_KIND_COUNT], struct error *err)
{
    struct terminal_key *key = system_key(job);
    struct route *route = find_running(job, key);
    int result;

    if (route)
        result = fetch_from(job, route, documents, err);
    else if (job->may_start)
        result = start_and_fetch(job, key, documents, err);
    else
        result = error_set(err, ERR_NOT_FOUND, "no terminal of policy '%s' runs", job->policy_id);
    route_unref(route);
    terminal_key_free(key);
    return result;
}

int document_job_run(const struct document_job *job, struct document *documents[DOCUMENT_KIND_COUNT], bool *fetched, struct error *err)
{
    *fetched = false;
    if (job->look_in_store && load_documents(job, documents))
        return 0;
    if (fetch_somewhere(job, documents, err) < 0)
        return -1;
    *fetched = true;
    return 0;
}
