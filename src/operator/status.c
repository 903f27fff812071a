/* The status of a resource: what people, and the orchestrator, are told.
 *
 * Every write names the version that it was decided from, so that it never undoes what another wrote meanwhile (a stop, a wake, activity). */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "operator/internal.h"

/* Where the message of the pod was cut, a character may be cut too. */
static json_t *text_or_null(const char *text)
{
    size_t len = text ? strlen(text) : 0;

    while (len > 0 && !str_is_utf8(str_of(text, len)))
        len--;
    return len > 0 ? json_stringn(text, len) : json_null();
}

static json_t *condition_of(const struct job *job, int64_t now_us)
{
    const struct wanted_status *wanted = &job->decision.status;
    bool ready = wanted->phase == PHASE_RUNNING, same = ready == job->condition_ready && job->condition_since_us > 0;
    char since[28];

    clock_format_iso(same ? job->condition_since_us : now_us, since);
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:I}", "type", "Ready", "status", ready ? "True" : "False",
                     "reason", reason_name(wanted->reason != REASON_NONE ? wanted->reason : REASON_PROVISIONING),
                     "message", wanted->message ? text_or_null(wanted->message) : json_string(""), "lastTransitionTime", since,
                     "observedGeneration", (json_int_t)job->generation);
}

/* Conditions of others stay. */
static json_t *conditions_of(const struct job *job, const json_t *status, int64_t now_us)
{
    json_t *conditions = json_array();
    const json_t *known;
    size_t index;

    json_array_append_new(conditions, condition_of(job, now_us));
    json_array_foreach(json_object_get(status, "conditions"), index, known) {
        const char *type = json_text(known, "type");
        if (type && strcmp(type, "Ready") != 0)
            json_array_append(conditions, (json_t *)known);
    }
    return conditions;
}

static void put_names(json_t *status, const struct job *job)
{
    cleanup_free char *pod = child_name(CHILD_POD, job->name), *service = child_name(CHILD_SERVICE, job->name);
    cleanup_free char *secret = child_name(CHILD_SECRET, job->name);
    cleanup_free char *url = xasprintf("http://%s.%s.svc:%d", service, job->namespace, TERMINAL_PORT);
    bool asleep = job->decision.status.phase == PHASE_IDLE;

    json_object_set_new(status, "podName", asleep ? json_null() : json_string(pod));
    json_object_set_new(status, "serviceName", json_string(service));
    json_object_set_new(status, "serviceUrl", json_string(url));
    json_object_set_new(status, "apiKeySecret", json_string(secret));
}

json_t *status_patch(const struct job *job, int64_t now_us)
{
    const struct wanted_status *wanted = &job->decision.status;
    cleanup_json json_t *known = job->status ? json_read(str_from(job->status), NULL) : NULL;
    json_t *status = json_pack("{s:s, s:o, s:o, s:I}", "phase", phase_name(wanted->phase), "message", text_or_null(wanted->message),
                               "conditions", conditions_of(job, known, now_us), "observedGeneration", (json_int_t)job->generation);
    char now[28];

    ASSERT(status);
    put_names(status, job);
    if (wanted->phase == PHASE_RUNNING && job->last_activity_us == 0) {
        clock_format_iso(now_us, now);
        json_object_set_new(status, "lastActivityAt", json_string(now));
    }
    if (wanted->finish_reset && job->reset_wanted)
        json_object_set_new(status, "lastReset", json_string(job->reset_wanted));
    return json_pack("{s:{s:s, s:s}, s:o}", "metadata", "uid", job->uid, "resourceVersion", job->version ? job->version : "",
                     "status", status);
}

static void tell(struct job *job)
{
    const struct wanted_status *wanted = &job->decision.status;

    switch (wanted->phase) {
    case PHASE_RUNNING:
        event_tell(job, false, "Ready", "the terminal is ready");
        break;
    case PHASE_IDLE:
        if (wanted->finish_reset)
            event_tell(job, false, "Reset", "the home was emptied");
        else if (wanted->reason == REASON_RESET_FAILED)
            event_tell(job, true, reason_name(wanted->reason), "%s", wanted->message ? wanted->message : "");
        else if (job->phase != PHASE_IDLE)
            event_tell(job, false, "IdleTimeout", "stopping the pod: nothing was done for the idle timeout");
        break;
    case PHASE_ERROR:
        event_tell(job, true, reason_name(wanted->reason), "%s", wanted->message ? wanted->message : "");
        break;
    case PHASE_PROVISIONING:
        if (wanted->finish_reset)
            event_tell(job, false, "Reset", "the home was emptied");
        break;
    case PHASE_NEW:
    case PHASE_PENDING:
        break;
    }
}

int status_write(struct job *job, struct error *err)
{
    struct operator *operator = job->operator;
    cleanup_json json_t *patch = status_patch(job, clock_wall_us()), *result = NULL;

    if (kube_merge_patch(operator->client, &operator->terminals, job->namespace, job->name, "status", patch, &result, err) < 0)
        return error_wrap(err, "writing the status");
    tell(job);
    job_take_terminal(job, result);
    return 0;
}
