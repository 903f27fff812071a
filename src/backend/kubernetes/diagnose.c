/* What a guest printed last, and how it ended or why it does not begin. */
#include "backend/kubernetes/parts.h"

#define LOG_LINES 20
#define MOST_TEXT 500

/* --- the log ------------------------------------------------------------------------------------------------- */

/* Length of the escape sequence at the begin of `text`: CSI up to its final byte, else two bytes. */
static size_t escape_length(struct str text)
{
    size_t i = 2;

    if (text.len < 2 || text.data[1] != '[')
        return text.len < 2 ? text.len : 2;
    while (i < text.len && (unsigned char)text.data[i] < 0x40)
        i++;
    return i < text.len ? i + 1 : i;
}

/* A guest is hostile: nothing that moves somebody's cursor goes through. */
static void append_printable(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c == 0x1b)
            i += escape_length(str_skip(text, i)) - 1;
        else if (c == '\n' || (c >= 0x20 && c != 0x7f))
            buf_append_char(out, (char)c);
        else if (c == '\t')
            buf_append_char(out, ' ');
    }
}

/* The end of the text, from the begin of a line where one is near. */
static struct str last_part(struct str text)
{
    struct str part = text.len > MOST_TEXT ? str_skip(text, text.len - MOST_TEXT) : text;
    size_t line_end = part.len < text.len ? str_find_char(part, '\n') : SIZE_MAX;

    if (line_end != SIZE_MAX && line_end < part.len / 2)
        part = str_skip(part, line_end + 1);
    while (part.len > 0 && part.len < text.len && ((unsigned char)part.data[0] & 0xc0) == 0x80)
        part = str_skip(part, 1);
    return str_trim(part);
}

char *last_words(struct kubernetes *k, const char *pod, const char *container, bool previous)
{
    cleanup_free char *log = NULL;
    cleanup_buf struct buf printable = { 0 };
    struct error ignored;

    if (kube_logs(k->client, k->namespace, pod, container, LOG_LINES, previous, &log, &ignored) < 0 || !log)
        return xstrdup("");
    append_printable(str_from(log), &printable);
    struct str part = last_part(str_trim(buf_str(&printable)));
    return str_is_utf8(part) ? str_dup(part) : xstrdup("(not UTF-8)");
}

/* --- why it does not begin ----------------------------------------------------------------------------------- */

/* The newest warning about the pod, such as a volume that cannot be mounted; NULL: none. The caller frees. */
static char *last_warning(struct kubernetes *k, const char *uid)
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
        const char *time = json_text(event, "lastTimestamp");
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
    cleanup_free char *said = has_log(pod) ? last_words(k, name, GUEST_CONTAINER, has_previous_run(pod)) : xstrdup("");
    cleanup_free char *warning = !*said && !state.message[0] ? last_warning(k, kube_uid(pod)) : NULL;
    const char *message = state.message[0] ? state.message : warning ? warning : *said ? "" : "the pod has not begun to run";
    *text = xasprintf("%s%s%s", message, *message && *said ? "; last output: " : "", said);
    return 0;
}
