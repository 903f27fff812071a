/* Records from objects. */
#include "operator/record.h"

#include <string.h>

#include "backend/key.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "kubernetes/object.h"
#include "operator/child.h"
#include "operator/spec.h"

static const char *const phase_names[] = {
    [PHASE_NEW] = "", [PHASE_PENDING] = PHASE_TEXT_PENDING, [PHASE_PROVISIONING] = PHASE_TEXT_PROVISIONING, [PHASE_RUNNING] = PHASE_TEXT_RUNNING,
    [PHASE_IDLE] = PHASE_TEXT_IDLE, [PHASE_ERROR] = PHASE_TEXT_ERROR,
};

static const char *const reason_names[REASON_COUNT] = {
    [REASON_NONE] = "", [REASON_PROVISIONING] = "Provisioning", [REASON_POD_NOT_READY] = "PodNotReady", [REASON_POD_READY] = "PodReady",
    [REASON_IDLE_TIMEOUT] = "IdleTimeout", [REASON_RESETTING] = "Resetting", [REASON_IMAGE_PULL_FAILED] = REASON_TEXT_IMAGE_PULL_FAILED,
    [REASON_IMAGE_NOT_ALLOWED] = REASON_TEXT_IMAGE_NOT_ALLOWED, [REASON_UNSCHEDULABLE] = REASON_TEXT_UNSCHEDULABLE, [REASON_CRASH_LOOP] = REASON_TEXT_CRASH_LOOP,
    [REASON_CONTAINER_NOT_CREATED] = REASON_TEXT_CONTAINER_NOT_CREATED, [REASON_QUOTA_EXCEEDED] = REASON_TEXT_QUOTA_EXCEEDED,
    [REASON_ADMISSION_REFUSED] = REASON_TEXT_ADMISSION_REFUSED, [REASON_INVALID_SPEC] = REASON_TEXT_INVALID_SPEC, [REASON_NAME_TAKEN] = REASON_TEXT_NAME_TAKEN,
    [REASON_RESET_FAILED] = REASON_TEXT_RESET_FAILED,
};

const char *phase_name(enum phase phase) { return phase_names[phase]; }
const char *reason_name(enum reason reason) { return reason_names[reason]; }

enum phase phase_from_name(const char *name)
{
    for (size_t i = 1; name && i < COUNT_OF(phase_names); i++)
        if (strcmp(name, phase_names[i]) == 0)
            return (enum phase)i;
    return PHASE_NEW;
}

static enum reason reason_from_name(const char *name)
{
    for (size_t i = 1; name && i < REASON_COUNT; i++)
        if (strcmp(name, reason_names[i]) == 0)
            return (enum reason)i;
    return REASON_NONE;
}

void short_hash(const char *text, char out[static HASH_SIZE])
{
    char digest[65];

    sha256_hex(str_from(text), digest);
    (void)snprintf(out, HASH_SIZE, "%.16s", digest);
}

/* --- records --- */

struct record *record_new(const char *namespace, const char *name)
{
    struct record *record = xcalloc(1, sizeof *record);

    workitem_init(&record->work);
    record->namespace = xstrdup(namespace);
    record->name = xstrdup(name);
    return record;
}

void record_free(struct record *record)
{
    free(record->namespace);
    free(record->name);
    free(record->version_text);
    free(record->user_id);
    free(record->spec);
    free(record->status);
    free(record->status_message);
    free(record->reset_wanted);
    free(record->reset_done);
    free(record->pod.message);
    free(record->reset_pod.message);
    free(record->pvc_user);
    free(record->pvc_user_label);
    free(record);
}

bool record_is_empty(const struct record *record)
{
    return !record->cr.present && !record->secret.present && !record->service.present && !record->pvc.present &&
           !record->pod.child.present && !record->reset_pod.child.present;
}

/* --- what all objects have --- */

static void copy_text(char *out, size_t size, const char *text) { (void)snprintf(out, size, "%s", text ? text : ""); }

static const char *owner_of(const json_t *object)
{
    const json_t *owners = kube_at(object, "metadata", "ownerReferences", NULL), *owner;
    size_t index;

    json_array_foreach(owners, index, owner) {
        const char *kind = json_text(owner, "kind");
        if (kind && strcmp(kind, "Terminal") == 0)
            return json_text(owner, "uid");
    }
    return NULL;
}

/* The version stays, so that older news does not bring it back. */
void forget_child(struct child *child) { *child = (struct child){ .version = child->version, .seen = child->seen }; }

/* What was not there either is not compared with what comes next: it may be made again in a store that was put back, with lower versions. */
bool forget_unseen_child(struct child *child, uint64_t listing)
{
    bool was_there = child->present;

    if (child->seen >= listing)
        return false;
    *child = (struct child){ .seen = listing };
    return was_there;
}

static bool observe_child(struct child *child, const json_t *object, bool deleted)
{
    const char *uid = kube_uid(object);
    uint64_t version = kube_version(object);
    bool same = child->present && uid && strcmp(uid, child->uid) == 0;

    if (!uid || version < child->version || (deleted && child->present && !same))
        return false;
    child->version = version;
    if (deleted) {
        forget_child(child);
        return true;
    }
    child->present = true;
    child->deleting = kube_is_deleting(object);
    copy_text(child->uid, sizeof child->uid, uid);
    copy_text(child->owner_uid, sizeof child->owner_uid, owner_of(object));
    return true;
}

static int64_t time_of(const char *text)
{
    int64_t us = 0;

    return text && clock_parse_iso(text, &us) ? us : 0;
}

/* --- the resource --- */

static bool has_finalizer(const json_t *object)
{
    const json_t *finalizers = kube_at(object, "metadata", "finalizers", NULL), *finalizer;
    size_t index;

    json_array_foreach(finalizers, index, finalizer) {
        if (json_is_string(finalizer) && strcmp(json_string_value(finalizer), TERMINAL_FINALIZER) == 0)
            return true;
    }
    return false;
}

static void observe_condition(struct record *record, const json_t *status)
{
    const json_t *conditions = json_object_get(status, "conditions"), *condition;
    size_t index;

    record->reason = REASON_NONE;
    record->condition_ready = false;
    record->condition_since_us = 0;
    json_array_foreach(conditions, index, condition) {
        const char *type = json_text(condition, "type"), *state = json_text(condition, "status");
        if (!type || strcmp(type, "Ready") != 0)
            continue;
        record->reason = reason_from_name(json_text(condition, "reason"));
        record->condition_ready = state && strcmp(state, "True") == 0;
        record->condition_since_us = time_of(json_text(condition, "lastTransitionTime"));
    }
}

static void observe_status(struct record *record, const json_t *status)
{
    free(record->status);
    record->status = json_is_object(status) ? json_write(status) : NULL;
    record->phase = phase_from_name(json_text(status, "phase"));
    record->last_activity_us = time_of(json_text(status, "lastActivityAt"));
    xreplace(&record->status_message, json_text(status, "message"));
    xreplace(&record->reset_done, json_text(status, "lastReset"));
    observe_condition(record, status);
}

static void observe_spec(struct record *record, const json_t *spec)
{
    json_int_t minutes = spec_idle_minutes(spec);

    free(record->spec);
    record->spec = json_is_object(spec) ? json_write(spec) : xstrdup("{}");
    spec_hash(spec, record->spec_hash);
    xreplace(&record->user_id, json_text(spec, "userId"));
    record->persistent = spec_is_persistent(spec);
    record->shared = spec_is_shared(spec);
    record->idle_timeout_us = minutes <= 0 ? 0 : (int64_t)minutes * 60 * 1000000;
}

bool observe_terminal(struct record *record, const json_t *object, bool deleted)
{
    bool changed = record->generation != json_integer_value(kube_at(object, "metadata", "generation", NULL)) || !record->spec || !record->cr.version;
    bool other = record->cr.present && kube_uid(object) && strcmp(record->cr.uid, kube_uid(object)) != 0;

    if (!observe_child(&record->cr, object, deleted))
        return false;
    if (deleted) {
        record->generation = 0;
        free(steal(&record->spec));
        free(steal(&record->status));
        return true;
    }
    record->has_finalizer = has_finalizer(object);
    record->generation = json_integer_value(kube_at(object, "metadata", "generation", NULL));
    xreplace(&record->version_text, kube_text_at(object, "metadata", "resourceVersion", NULL));
    xreplace(&record->reset_wanted, kube_annotation(object, ANNOTATION_RESET));
    if (changed || other)
        observe_spec(record, json_object_get(object, "spec"));
    observe_status(record, json_object_get(object, "status"));
    if (changed || other)
        record->create_not_before_ms = 0;
    return true;
}

/* --- its children --- */

bool observe_secret(struct record *record, const json_t *object, bool deleted)
{
    const char *key = kube_text_at(object, "data", TERMINAL_KEY_FIELD, NULL);

    if (!observe_child(&record->secret, object, deleted))
        return false;
    record->key_hash[0] = 0;
    if (!deleted && key && *key)
        short_hash(key, record->key_hash);      /* of its base64 form, which is as good */
    return true;
}

bool observe_service(struct record *record, const json_t *object, bool deleted, const char *type)
{
    if (!observe_child(&record->service, object, deleted))
        return false;
    record->service_is_right = !deleted && child_service_is_right(record->name, type, object);
    return true;
}

bool observe_pvc(struct record *record, const json_t *object, bool deleted)
{
    if (!observe_child(&record->pvc, object, deleted))
        return false;
    xreplace(&record->pvc_user, deleted ? NULL : kube_annotation(object, ANNOTATION_USER_ID));
    xreplace(&record->pvc_user_label, deleted ? NULL : kube_label(object, LABEL_USER_ID));
    record->released_us = deleted ? 0 : time_of(kube_annotation(object, ANNOTATION_RELEASED));
    return true;
}

bool observe_pod(struct pod *pod, const json_t *object, bool deleted)
{
    if (!observe_child(&pod->child, object, deleted))
        return false;
    struct child child = pod->child;
    free(pod->message);
    *pod = (struct pod){ .child = child };
    if (deleted)
        return true;
    copy_text(pod->spec_hash, sizeof pod->spec_hash, kube_annotation(object, ANNOTATION_SPEC_HASH));
    copy_text(pod->key_hash, sizeof pod->key_hash, kube_annotation(object, ANNOTATION_KEY_HASH));
    guest_state_read(pod, json_object_get(object, "status"));
    return true;
}
