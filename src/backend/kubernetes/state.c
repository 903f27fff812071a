/* What a pod's status means for the terminal in it. Pure functions over JSON.
 *
 * A pod restarts its container by itself. That is a recovery while the guest has been ready before, and a failed start when it has not; a container that waits
 * in its restart back-off is a failure either way, since a new pod is there sooner. */
#include "backend/kubernetes/parts.h"

#include <stdarg.h>

static void say(struct pod_state *state, enum observed_phase phase, enum error_class failure, const char *format, ...) PRINTF_LIKE(4, 5);
static void say(struct pod_state *state, enum observed_phase phase, enum error_class failure, const char *format, ...)
{
    va_list args;

    state->phase = phase;
    state->failure = failure;
    va_start(args, format);
    (void)vsnprintf(state->message, sizeof(state->message), format, args);
    va_end(args);
    while (state->message[0] && !str_is_utf8(str_from(state->message)))
        state->message[strlen(state->message) - 1] = '\0';      /* a character that the end cut */
}

static bool is_one_of(const char *word, const char *const words[], size_t count)
{
    for (size_t i = 0; word && i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* --- containers ---------------------------------------------------------------------------------------------- */

static bool is_image_problem(const char *reason)
{
    static const char *const reasons[] = { "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
                                           "RegistryUnavailable", "SignatureValidationFailed" };
    return is_one_of(reason, reasons, COUNT_OF(reasons));
}

static bool is_creation_problem(const char *reason)
{
    static const char *const reasons[] = { "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError",
                                           "PostStartHookError" };
    return is_one_of(reason, reasons, COUNT_OF(reasons));
}

/* How a container's run ended, such as "out of memory (OOMKilled)" or "exited with code 1". */
static void format_end(const json_t *terminated, char *text, size_t size)
{
    const char *reason = or_empty(json_text(terminated, "reason")), *message = json_text(terminated, "message");
    int code = (int)json_integer_value(json_object_get(terminated, "exitCode"));

    if (strcmp(reason, "OOMKilled") == 0)
        (void)snprintf(text, size, "was killed: out of memory (OOMKilled)");
    else if (strcmp(reason, "Error") != 0 && strcmp(reason, "Completed") != 0 && *reason)
        (void)snprintf(text, size, "%s, exit code %d%s%s", reason, code, message ? ": " : "", or_empty(message));
    else if (code > 128 && code < 128 + 65)
        (void)snprintf(text, size, "exited with code %d (signal %d)", code, code - 128);
    else
        (void)snprintf(text, size, "exited with code %d", code);
}

static bool is_good_end(const json_t *terminated)
{
    const json_t *code = json_object_get(terminated, "exitCode");
    return json_is_integer(code) && json_integer_value(code) == 0;
}

static void read_waiting(const json_t *status, const json_t *waiting, struct pod_state *state)
{
    const char *name = or_empty(json_text(status, "name")), *reason = or_empty(json_text(waiting, "reason"));
    const char *message = or_empty(json_text(waiting, "message"));
    char end[200];

    if (is_image_problem(reason)) {
        say(state, OBSERVED_FAILED, ERR_IMAGE_NOT_FOUND, "the image '%s' cannot be pulled (%s): %s", or_empty(json_text(status, "image")), reason, message);
    } else if (strcmp(reason, "CrashLoopBackOff") == 0) {
        format_end(kube_at(status, "lastState", "terminated", NULL), end, sizeof(end));
        say(state, OBSERVED_FAILED, ERR_GUEST_CRASHED, "the container '%s' ends again and again (CrashLoopBackOff): %s", name, end);
    } else if (is_creation_problem(reason) && !kube_trouble_passes(message)) {
        enum error_class class = strstr(message, "secret") && strstr(message, "-apikey") ? ERR_UNAVAILABLE : ERR_INVALID_POLICY;
        say(state, OBSERVED_FAILED, class, "the container '%s' cannot be made (%s): %s", name, reason, message);
    }
}

/* Of init containers and those that only the template has: what keeps the guest from starting. */
static void read_others(const json_t *statuses, struct pod_state *state)
{
    const json_t *status;
    size_t i;

    json_array_foreach(statuses, i, status) {
        const json_t *waiting = kube_at(status, "state", "waiting", NULL);
        if (waiting && state->phase != OBSERVED_FAILED)
            read_waiting(status, waiting, state);
    }
}

static const json_t *guest_status(const json_t *statuses)
{
    const json_t *named = kube_named(statuses, TERMINAL_CONTAINER);

    return named ? named : json_array_get(statuses, 0);
}

static void read_terminated(const json_t *terminated, bool restarts, bool was_ready, struct pod_state *state)
{
    char end[200];

    format_end(terminated, end, sizeof(end));
    state->ended_well = is_good_end(terminated);
    if (!restarts)
        say(state, OBSERVED_STOPPED, state->ended_well ? ERR_NONE : ERR_GUEST_CRASHED, "it %s", end);
    else if (was_ready)
        say(state, OBSERVED_STARTING, ERR_NONE, "the guest %s and is started again", end);
    else
        say(state, OBSERVED_FAILED, ERR_GUEST_CRASHED, "the guest %s while it was starting", end);
}

static void read_guest(const json_t *status, bool restarts, bool was_ready, struct pod_state *state)
{
    const json_t *running = kube_at(status, "state", "running", NULL), *waiting = kube_at(status, "state", "waiting", NULL);
    const json_t *terminated = kube_at(status, "state", "terminated", NULL);

    state->restarts = json_integer_value(json_object_get(status, "restartCount"));
    state->ready = json_is_true(json_object_get(status, "ready"));
    if (running)
        state->phase = state->ip[0] ? OBSERVED_RUNNING : OBSERVED_STARTING;
    else if (terminated)
        read_terminated(terminated, restarts, was_ready, state);
    else if (waiting)
        read_waiting(status, waiting, state);
}

/* --- the pod ------------------------------------------------------------------------------------------------- */

static void read_scheduling(const json_t *pod, struct pod_state *state)
{
    const json_t *condition;
    size_t i;

    json_array_foreach(kube_at(pod, "status", "conditions", NULL), i, condition) {
        const char *type = or_empty(json_text(condition, "type")), *message = or_empty(json_text(condition, "message"));
        bool about_claim = strstr(message, "PersistentVolumeClaim") || strstr(message, "persistentvolumeclaim");

        if (strcmp(type, "PodScheduled") != 0 || strcmp(or_empty(json_text(condition, "status")), "False") != 0)
            continue;
        say(state, OBSERVED_STARTING, ERR_UNSCHEDULABLE, "%s (%s): %s", about_claim ? "the home's volume claim is not bound" : "no node takes the pod",
            or_empty(json_text(condition, "reason")), message);
        state->unschedulable = true;
    }
}

/* Evicted, deadline exceeded, node lost; or all containers ended although they may restart. */
static void read_ended(const json_t *pod, struct pod_state *state)
{
    const char *reason = kube_text_at(pod, "status", "reason", NULL), *message = kube_text_at(pod, "status", "message", NULL);
    const json_t *terminated = kube_at(guest_status(kube_at(pod, "status", "containerStatuses", NULL)), "state", "terminated", NULL);
    bool evicted = reason && strcmp(reason, "Evicted") == 0;
    char end[200] = "the pod ended";

    if (terminated)
        format_end(terminated, end, sizeof(end));
    state->ended_well = is_good_end(terminated);
    say(state, OBSERVED_STOPPED, evicted ? ERR_NO_CAPACITY : ERR_GUEST_CRASHED, "%s%s%s", reason ? reason : end, message ? ": " : "", or_empty(message));
}

void pod_state_read(const json_t *pod, bool was_ready, struct pod_state *state)
{
    const char *phase = or_empty(kube_text_at(pod, "status", "phase", NULL)), *ip = kube_text_at(pod, "status", "podIP", NULL);
    bool restarts = strcmp(or_empty(kube_text_at(pod, "spec", "restartPolicy", NULL)), "Never") != 0;

    *state = (struct pod_state){ .phase = OBSERVED_STARTING };
    if (ip && strlen(ip) < sizeof(state->ip))
        memcpy(state->ip, ip, strlen(ip) + 1);
    if (kube_is_deleting(pod)) {
        state->phase = OBSERVED_STOPPING;
    } else if (strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0) {
        read_ended(pod, state);
    } else {
        read_scheduling(pod, state);
        read_guest(guest_status(kube_at(pod, "status", "containerStatuses", NULL)), restarts, was_ready, state);
        if (state->phase == OBSERVED_STARTING && !state->restarts) {
            read_others(kube_at(pod, "status", "initContainerStatuses", NULL), state);
            read_others(kube_at(pod, "status", "containerStatuses", NULL), state);
        }
        state->preparing = state->phase == OBSERVED_STARTING && kube_is_preparing(pod, TERMINAL_CONTAINER);
    }
}

/* --- instances ----------------------------------------------------------------------------------------------- */

void instance_id_format(const char *uid, int64_t restarts, char out[static OBJECT_NAME_SIZE])
{
    if (restarts > 0)
        (void)snprintf(out, OBJECT_NAME_SIZE, "%s#%lld", uid, (long long)restarts);
    else
        (void)snprintf(out, OBJECT_NAME_SIZE, "%s", uid);
}

char *instance_id_uid(const char *instance_id)
{
    return xstrndup(instance_id, strcspn(instance_id, "#"));
}
