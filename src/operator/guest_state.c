/* What a pod's status says of its guest: does it run, is it ready, and if not, why, in words for a person. Pure.
 *
 * Failures are told early, but not those that mend themselves in an instant: a first failed pull, an image that the kubelet is about to fetch again,
 * a single crash that the next start gets over. */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "kubernetes/object.h"
#include "operator/child.h"

enum { CRASHES_IN_A_ROW = 2 };

static void tell(struct pod *pod, const char *what, const char *details)
{
    free(pod->message);
    pod->message = details && *details ? xasprintf("%s: %s", what, details) : xstrdup(what);
}

static void fail(struct pod *pod, enum reason reason, const char *what, const char *details)
{
    pod->failure = reason;
    tell(pod, what, details);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* "exit code 137 (OOMKilled): message" */
static char *end_of(const json_t *terminated)
{
    const char *reason = json_text(terminated, "reason"), *message = json_text(terminated, "message");

    return xasprintf("exit code %lld%s%s%s%s%s", (long long)json_integer_value(json_object_get(terminated, "exitCode")),
                     reason ? " (" : "", reason ? reason : "", reason ? ")" : "", message ? ": " : "", message ? message : "");
}

static void read_waiting(struct pod *pod, const json_t *status, const json_t *waiting, const char *name)
{
    static const char *const pulling[] = { "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
                                           "RegistryUnavailable", "SignatureValidationFailed", NULL };
    static const char *const creating[] = { "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
                                            "PostStartHookError", NULL };
    const char *reason = json_text(waiting, "reason"), *message = json_text(waiting, "message");

    if (!reason)
        return;
    if (is_one_of(reason, pulling)) {
        fail(pod, REASON_IMAGE_PULL_FAILED, "the image cannot be pulled", message ? message : reason);
    } else if (strcmp(reason, "CrashLoopBackOff") == 0) {
        cleanup_free char *end = end_of(kube_at(status, "lastState", "terminated", NULL));
        cleanup_free char *what = xasprintf("container %s ends again and again", name);
        fail(pod, REASON_CRASH_LOOP, what, end);
    } else if (is_one_of(reason, creating) && !kube_trouble_passes(message)) {
        cleanup_free char *what = xasprintf("container %s cannot be created (%s)", name, reason);
        fail(pod, REASON_CONTAINER_NOT_CREATED, what, message);
    } else if (message) {
        tell(pod, reason, message);
    }
}

static void read_container(struct pod *pod, const json_t *status, bool is_init)
{
    const char *name = json_text(status, "name");
    const json_t *state = json_object_get(status, "state"), *waiting = json_object_get(state, "waiting");
    const json_t *last = kube_at(status, "lastState", "terminated", NULL);
    bool ready = json_is_true(json_object_get(status, "ready"));

    if (!name)
        return;
    if (!is_init && strcmp(name, TERMINAL_CONTAINER) == 0) {
        const char *since = kube_text_at(state, "running", "startedAt", NULL);
        pod->started = json_object_get(state, "running") != NULL;
        pod->started_us = 0;
        if (since)
            (void)clock_parse_iso(since, &pod->started_us);
        pod->ready = ready && pod->started;
    }
    if (pod->failure != REASON_NONE)
        return;
    if (waiting) {
        read_waiting(pod, status, waiting, name);
    } else if (!ready && last && json_integer_value(json_object_get(status, "restartCount")) >= CRASHES_IN_A_ROW) {
        cleanup_free char *end = end_of(last), *what = xasprintf("container %s ends again and again", name);
        fail(pod, REASON_CRASH_LOOP, what, end);
    }
}

static void read_containers(struct pod *pod, const json_t *status, const char *list, bool are_init)
{
    const json_t *containers = json_object_get(status, list), *container;
    size_t index;

    json_array_foreach(containers, index, container)
        read_container(pod, container, are_init);
}

static void read_scheduling(struct pod *pod, const json_t *status)
{
    const json_t *conditions = json_object_get(status, "conditions"), *condition;
    size_t index;

    json_array_foreach(conditions, index, condition) {
        const char *type = json_text(condition, "type"), *reason = json_text(condition, "reason");
        const char *since = json_text(condition, "lastTransitionTime");
        if (!type || !reason || strcmp(type, "PodScheduled") != 0 || strcmp(reason, "Unschedulable") != 0)
            continue;
        if (!since || !clock_parse_iso(since, &pod->unschedulable_since_us))
            pod->unschedulable_since_us = 1;
        tell(pod, "the pod cannot be scheduled", json_text(condition, "message"));
    }
}

void guest_state_read(struct pod *pod, const json_t *status)
{
    const char *phase = json_text(status, "phase"), *reason = json_text(status, "reason");

    pod->succeeded = phase && strcmp(phase, "Succeeded") == 0;
    pod->ended = pod->succeeded || (phase && strcmp(phase, "Failed") == 0);
    if (pod->ended) {
        const json_t *container = json_array_get(json_object_get(status, "containerStatuses"), 0);
        cleanup_free char *end = end_of(kube_at(container, "state", "terminated", NULL));
        tell(pod, reason ? reason : "the pod ended", reason ? json_text(status, "message") : end);
        return;
    }
    read_scheduling(pod, status);
    read_containers(pod, status, "initContainerStatuses", true);
    read_containers(pod, status, "containerStatuses", false);
}
