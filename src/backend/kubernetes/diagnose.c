/* What a guest printed last, and how it ended or why it does not begin. */
#include "backend/kubernetes/parts.h"
#include "backend/log_tail.h"

#define LOG_LINES 20
#define MOST_TEXT 500

/* --- the log ------------------------------------------------------------------------------------------------- */

char *last_words(struct kubernetes *k, const char *pod, const char *container, bool previous)
{
    cleanup_free char *log = NULL;
    struct error ignored;

    if (kube_logs(k->client, k->namespace, pod, container, LOG_LINES, previous, &log, &ignored) < 0 || !log)
        return xstrdup("");
    return log_tail(str_from(log), MOST_TEXT);
}

/* --- why it does not begin ----------------------------------------------------------------------------------- */

/* The newest warning about the pod, such as a volume that cannot be mounted; NULL: none. The caller frees. */
static char *last_warning(struct kubernetes *k, const char *uid, bool scheduled)
{
    cleanup_free char *path = xasprintf("/api/v1/namespaces/%s/events?limit=50&fieldSelector=type%%3DWarning%%2CinvolvedObject.uid%%3D%s", k->namespace, uid);
    cleanup_json json_t *list = NULL;
    const json_t *event, *newest = NULL;
    const char *newest_time = "";
    size_t i;
    struct error ignored;

    if (kube_get_path(k->client, path, &list, &ignored) < 0)
        return NULL;
    json_array_foreach(json_object_get(list, "items"), i, event) {
        const char *time = json_text(event, "lastTimestamp"), *why = json_text(event, "reason");
        if (scheduled && why && strcmp(why, "FailedScheduling") == 0)
            continue;                   /* that is over */
        if (!newest || (time && strcmp(time, newest_time) >= 0)) {
            newest = event;
            newest_time = time ? time : "";
        }
    }
    const char *reason = json_text(newest, "reason"), *message = json_text(newest, "message");
    return newest && message ? xasprintf("%s: %.300s", reason ? reason : "Warning", message) : NULL;
}

static bool has_previous_run(const json_t *pod)
{
    const json_t *statuses = kube_at(pod, "status", "containerStatuses", NULL), *status;
    size_t i;

    json_array_foreach(statuses, i, status)
        if (kube_at(status, "state", "waiting", NULL) && kube_at(status, "lastState", "terminated", NULL))
            return true;
    return false;
}

/* One that runs, or ran, says it itself. */
static bool has_log(const json_t *pod)
{
    const json_t *statuses = kube_at(pod, "status", "containerStatuses", NULL), *status;
    size_t i;

    json_array_foreach(statuses, i, status)
        if (kube_at(status, "state", "running", NULL) || kube_at(status, "state", "terminated", NULL) || json_integer_value(json_object_get(status, "restartCount")) > 0)
            return true;
    return false;
}

int kubernetes_diagnose(struct kubernetes *k, const struct terminal_ref *ref, char **text, struct error *err)
{
    char derived[TERMINAL_NAME_SIZE];
    const char *name = ref->name ? ref->name : derived;
    cleanup_json json_t *pod = NULL;
    struct pod_state state;

    terminal_name(ref->key, NAME_PREFIX, derived);
    if (kube_get(k->client, &KUBE_PODS, k->namespace, name, &pod, err) < 0)
        return error_wrap(err, "looking at '%s'", name);
    pod_state_read(pod, false, &state);
    cleanup_free char *said = has_log(pod) ? last_words(k, name, TERMINAL_CONTAINER, has_previous_run(pod)) : xstrdup("");
    cleanup_free char *warning = !*said && !state.message[0] ? last_warning(k, kube_uid(pod), state.preparing) : NULL;
    const char *message = state.message[0] ? state.message : warning ? warning : *said || state.preparing ? "" : "the pod has not begun to run";
    *text = xasprintf("%s%s%s", message, *message && *said ? "; last output: " : "", said);
    return 0;
}
