/* Stopping puts the resource to sleep: the operator ends the pod, the home and the key stay. Wiping asks the operator for a reset of the sleeping
 * resource and waits for its word. */
#include <inttypes.h>
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pause.h"
#include "base/random.h"

enum { WIPE_TIMEOUT_MS = 90000, NEWS_WAIT_MS = 3000 };

static char *name_of(struct resource *resource, const struct terminal_ref *ref)
{
    struct error ignored;

    return ref->name ? xstrdup(ref->name) : resource_choose_name(resource, ref->key, &ignored);
}

/* --- stopping --- */

/* What is put to sleep, and as which state of it: an old picture must not lead to the end of a pod that came since. */
struct target {
    char uid[RESOURCE_UID_SIZE];
    uint64_t version;
};

static bool is_meant(const struct entry *entry, const struct terminal_ref *ref)
{
    if (!entry->present || entry->deleting || entry_is_phase(entry, PHASE_TEXT_IDLE) || !entry->key || !terminal_key_equal(entry->key, ref->key))
        return false;
    if (ref->ended && !entry_is_phase(entry, PHASE_TEXT_ERROR))
        return false;                   /* it was woken since */
    return !ref->instance_id || !entry->pod.present || entry_is_instance(entry, ref->instance_id);
}

/* False: nothing is there to stop, or not what is meant; then it is told again what is there. (locked) */
static bool find_target(struct resource *resource, const struct terminal_ref *ref, const char *name, struct target *target)
{
    struct entry *entry = picture_find(resource, name);

    if (!entry) {
        if (resource->observer)
            resource->observer->observe(resource->observer, &(struct observation){ .name = name, .key = ref->key, .phase = OBSERVED_ABSENT });
        return false;
    }
    if (!is_meant(entry, ref)) {
        picture_tell_entry(resource, entry);
        return false;
    }
    memcpy(target->uid, entry->uid, RESOURCE_UID_SIZE);
    target->version = entry->version;
    return true;
}

/* Waits for news of a resource that was changed by somebody, and looks again. */
static bool find_changed_target(struct resource *resource, const struct terminal_ref *ref, const char *name, struct target *target, int64_t deadline_ms)
{
    uint64_t before = target->version;

    WITH_LOCK(resource);
    do {
        if (!find_target(resource, ref, name, target))
            return false;
        if (target->version != before)
            return true;
    } while (picture_wait_change(resource, deadline_ms));
    return false;
}

static int put_to_sleep(struct resource *resource, const char *name, const struct target *target, struct error *err)
{
    cleanup_free char *version = target->version ? xasprintf("%" PRIu64, target->version) : NULL;
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:s*}, s:{s:s, s:n}}", "metadata", "uid", target->uid, "resourceVersion", version,
                                           "status", "phase", PHASE_TEXT_IDLE, "message"), *result = NULL;

    pause_point("resource.stop.before");
    if (kube_merge_patch(resource->client, &resource->terminals, resource->namespace, name, "status", patch, &result, err) < 0)
        return -1;
    pause_point("resource.stop.after");
    picture_take(resource, result);
    return 0;
}

static bool find_first_target(struct resource *resource, const struct terminal_ref *ref, const char *name, struct target *target)
{
    WITH_LOCK(resource);
    return find_target(resource, ref, name, target);
}

int resource_stop(struct resource *resource, const struct terminal_ref *ref, struct error *err)
{
    cleanup_free char *name = name_of(resource, ref);
    int64_t deadline_ms = clock_monotonic_ms() + NEWS_WAIT_MS;
    struct target target;
    bool found = find_first_target(resource, ref, name, &target);

    while (found && put_to_sleep(resource, name, &target, err) < 0) {
        if (err->class == ERR_NOT_FOUND)
            return 0;
        if (err->class != ERR_CONFLICT)
            return error_wrap(err, "stopping '%s'", name);
        found = find_changed_target(resource, ref, name, &target, deadline_ms);
    }
    return 0;
}

/* --- wiping --- */

/* Without a resource there may still be a home. */
static int make_for_reset(struct resource *resource, const struct terminal_ref *ref, const char *name, const char *token, bool *nothing,
                          struct error *err)
{
    const char *mode = resource->settings->kubernetes_storage_mode;
    cleanup_free char *claim = xasprintf("%s-pvc", name);
    cleanup_json json_t *object = resource_reset_object(resource, ref, name, token), *made = NULL;
    bool own = !mode || strcmp(mode, "per-user") == 0;

    *nothing = own && kube_get(resource->client, &KUBE_PVCS, resource->namespace, claim, NULL, err) < 0 && err->class == ERR_NOT_FOUND;
    if (*nothing)
        return 0;
    if (kube_create(resource->client, &resource->terminals, resource->namespace, object, &made, err) < 0)
        return -1;
    picture_take(resource, made);
    return 0;
}

static int ask_for_reset(struct resource *resource, const struct terminal_ref *ref, const char *name, const char *token, bool *nothing,
                         struct error *err)
{
    cleanup_json json_t *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", ANNOTATION_RESET, token), *result = NULL;

    *nothing = false;
    if (kube_merge_patch(resource->client, &resource->terminals, resource->namespace, name, NULL, patch, &result, err) < 0)
        return err->class == ERR_NOT_FOUND ? make_for_reset(resource, ref, name, token, nothing, err) : -1;
    picture_take(resource, result);
    return 0;
}

static int wait_for_reset(struct resource *resource, const char *name, const char *token, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + WIPE_TIMEOUT_MS;

    WITH_LOCK(resource);
    for (;;) {
        const struct entry *entry = picture_find(resource, name);
        if (entry && entry->last_reset && strcmp(entry->last_reset, token) == 0)
            return 0;
        bool failed = entry && entry->reason && strcmp(entry->reason, REASON_TEXT_RESET_FAILED) == 0;
        if (failed)
            error_set(err, ERR_UNAVAILABLE, "the operator could not empty the home: %s", entry->message ? entry->message : "it does not say why");
        else
            error_set(err, ERR_TIMEOUT, "the operator has not emptied the home within %d s: is it running?", WIPE_TIMEOUT_MS / 1000);
        if (!picture_wait_change(resource, deadline_ms))
            return -1;
    }
}

int resource_wipe(struct resource *resource, const struct terminal_ref *ref, struct error *err)
{
    cleanup_free char *name = name_of(resource, ref);
    char token[37];
    bool nothing;

    random_uuid4(token);
    if (ask_for_reset(resource, ref, name, token, &nothing, err) < 0)
        return error_wrap(err, "emptying the home of '%s'", name);
    if (nothing)
        return 0;
    return wait_for_reset(resource, name, token, err) < 0 ? error_wrap(err, "emptying the home of '%s'", name) : 0;
}

/* --- why it does not run --- */

static char *message_of(struct resource *resource, const char *name)
{
    WITH_LOCK(resource);
    const struct entry *entry = picture_find(resource, name);
    if (!entry || !entry->present)
        return NULL;
    if (!entry->phase)
        return xstrdup("no operator has taken the Terminal up: is `terminals operator` running, and does it watch this namespace?");
    return entry->message ? xstrdup(entry->message) : NULL;
}

int resource_diagnose(struct resource *resource, const struct terminal_ref *ref, char **text, struct error *err)
{
    cleanup_free char *name = name_of(resource, ref), *pod = xasprintf("%s-pod", name), *message = message_of(resource, name), *log = NULL;
    bool has_log = kube_logs(resource->client, resource->namespace, pod, TERMINAL_CONTAINER, 20, true, &log, err) == 0 && log && *log;

    if (!has_log) {
        free(steal(&log));
        has_log = kube_logs(resource->client, resource->namespace, pod, TERMINAL_CONTAINER, 20, false, &log, err) == 0 && log && *log;
    }
    *text = xasprintf("%s%s%s", message ? message : "", message && has_log ? "\n" : "", has_log ? log : "");
    return 0;
}
