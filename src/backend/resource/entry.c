/* Entries: from objects, and to observations. Pure. */
#include <arpa/inet.h>
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"

struct entry *entry_new(struct resource *resource, const char *name)
{
    struct entry *entry = xcalloc(1, sizeof *entry);

    workitem_init(&entry->work);
    entry->resource = resource;
    entry->name = xstrdup(name);
    return entry;
}

static void clear_terminal(struct entry *entry)
{
    terminal_key_free(steal(&entry->key));
    free(steal(&entry->phase));
    free(steal(&entry->reason));
    free(steal(&entry->message));
    free(steal(&entry->image));
    free(steal(&entry->secret_name));
    free(steal(&entry->spec_hash));
    free(steal(&entry->last_reset));
    free(steal(&entry->reset_wanted));
}

void entry_free(struct entry *entry)
{
    clear_terminal(entry);
    free(entry->pod.ip);
    free(entry->service_ip);
    secret_free(entry->guest_key);
    free(entry->name);
    free(entry);
}

/* --- from objects --- */

static const char *text_or(const char *text, const char *otherwise) { return text && *text ? text : otherwise; }

struct terminal_key *entry_key_of(const json_t *object)
{
    const json_t *spec = json_object_get(object, "spec");
    const char *user = json_text(spec, "userId"), *policy = text_or(json_text(spec, "policyId"), kube_annotation(object, ANNOTATION_POLICY_ID));

    if (!user || !*user)
        return NULL;
    return terminal_key_new(str_from(user), str_from(text_or(text_or(policy, kube_label(object, LABEL_POLICY)), DEFAULT_POLICY_ID)),
                            str_from(text_or(json_text(spec, "contextId"), DEFAULT_CONTEXT_ID)));
}

static const char *reason_of(const json_t *status)
{
    const json_t *conditions = json_object_get(status, "conditions"), *condition;
    size_t index;

    json_array_foreach(conditions, index, condition) {
        const char *type = json_text(condition, "type");
        if (type && strcmp(type, "Ready") == 0)
            return json_text(condition, "reason");
    }
    return NULL;
}

static void see_status(struct entry *entry, const json_t *status)
{
    const char *active = json_text(status, "lastActivityAt");

    xreplace(&entry->phase, json_text(status, "phase"));
    xreplace(&entry->reason, reason_of(status));
    xreplace(&entry->message, json_text(status, "message"));
    xreplace(&entry->secret_name, json_text(status, "apiKeySecret"));
    xreplace(&entry->last_reset, json_text(status, "lastReset"));
    if (!active || !clock_parse_iso(active, &entry->last_activity_us))
        entry->last_activity_us = 0;
}

bool entry_see_terminal(struct entry *entry, const json_t *object, bool deleted)
{
    uint64_t version = kube_version(object);
    const char *uid = kube_uid(object);

    if (!uid || version < entry->version || (deleted && entry->present && strcmp(entry->uid, uid) != 0))
        return false;
    entry->version = version;
    entry->present = !deleted;
    if (deleted) {
        clear_terminal(entry);
        return true;
    }
    entry->deleting = kube_is_deleting(object);
    (void)snprintf(entry->uid, sizeof entry->uid, "%s", uid);
    terminal_key_free(entry->key);
    entry->key = entry_key_of(object);
    xreplace(&entry->image, kube_text_at(object, "spec", "image", NULL));
    xreplace(&entry->spec_hash, kube_annotation(object, ANNOTATION_SPEC_HASH));
    xreplace(&entry->reset_wanted, kube_annotation(object, ANNOTATION_RESET));
    see_status(entry, json_object_get(object, "status"));
    return true;
}

bool entry_see_pod(struct entry *entry, const json_t *object, bool deleted)
{
    uint64_t version = kube_version(object);
    const char *uid = kube_uid(object), *hash = kube_annotation(object, ANNOTATION_KEY_HASH);
    const json_t *guest = kube_named(kube_at(object, "status", "containerStatuses", NULL), TERMINAL_CONTAINER);

    if (!uid || version < entry->pod.version || (deleted && entry->pod.present && strcmp(entry->pod.uid, uid) != 0))
        return false;
    entry->pod.version = version;
    entry->pod.present = !deleted;
    entry->pod.deleting = kube_is_deleting(object);
    entry->pod.started = !deleted && kube_at(guest, "state", "running", NULL);
    entry->pod.preparing = !deleted && kube_is_preparing(object, TERMINAL_CONTAINER);
    entry->pod.ready = entry->pod.started && json_is_true(json_object_get(guest, "ready"));
    entry->pod.restarts = json_integer_value(json_object_get(guest, "restartCount"));
    (void)snprintf(entry->pod.uid, sizeof entry->pod.uid, "%s", uid);
    (void)snprintf(entry->pod.key_hash, sizeof entry->pod.key_hash, "%s", hash ? hash : "");
    xreplace(&entry->pod.ip, deleted ? NULL : kube_text_at(object, "status", "podIP", NULL));
    return true;
}

bool entry_see_service(struct entry *entry, const json_t *object, bool deleted)
{
    const char *ip = kube_text_at(object, "spec", "clusterIP", NULL);
    uint64_t version = kube_version(object);

    if (version < entry->service_version)
        return false;
    entry->service_version = version;
    entry->service_present = !deleted;
    xreplace(&entry->service_ip, deleted || !ip || strcmp(ip, "None") == 0 ? NULL : ip);
    return true;
}

/* --- to observations --- */

bool entry_needs_key(const struct entry *entry)
{
    return entry->present && entry->pod.present && !entry->pod.deleting && !(entry->guest_key && strcmp(entry->key_of, entry->pod.uid) == 0);
}

enum error_class entry_failure(const char *reason)
{
    static const struct { const char *reason; enum error_class class; } classes[] = {
        { REASON_TEXT_IMAGE_PULL_FAILED, ERR_IMAGE_NOT_FOUND }, { REASON_TEXT_IMAGE_NOT_ALLOWED, ERR_IMAGE_NOT_ALLOWED },
        { REASON_TEXT_UNSCHEDULABLE, ERR_UNSCHEDULABLE },       { REASON_TEXT_CRASH_LOOP, ERR_GUEST_CRASHED },
        { REASON_TEXT_QUOTA_EXCEEDED, ERR_NO_CAPACITY },        { REASON_TEXT_ADMISSION_REFUSED, ERR_INVALID_POLICY },
        { REASON_TEXT_INVALID_SPEC, ERR_INVALID_POLICY },       { REASON_TEXT_CONTAINER_NOT_CREATED, ERR_INVALID_POLICY },
    };

    for (size_t i = 0; reason && i < COUNT_OF(classes); i++)
        if (strcmp(reason, classes[i].reason) == 0)
            return classes[i].class;
    return ERR_GUEST_CRASHED;
}

bool entry_is_phase(const struct entry *entry, const char *phase) { return entry->phase && strcmp(entry->phase, phase) == 0; }

static bool fill_endpoint(const char *ip, struct endpoint *endpoint)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&endpoint->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&endpoint->address;

    if (!ip)
        return false;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(TERMINAL_PORT);
        endpoint->address_len = sizeof *v4;
    } else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(TERMINAL_PORT);
        endpoint->address_len = sizeof *v6;
    } else {
        return false;
    }
    (void)snprintf(endpoint->host, sizeof endpoint->host, "%s", ip);
    endpoint->port = TERMINAL_PORT;
    return true;
}

/* No operator has touched it yet, and then it stays asleep. */
static bool was_made_for_reset(const struct entry *entry) { return !entry->phase && entry->reset_wanted; }

static enum observed_phase phase_of(const struct entry *entry)
{
    if (!entry->present)
        return OBSERVED_ABSENT;
    if (entry->deleting)
        return OBSERVED_STOPPING;
    if (entry_is_phase(entry, PHASE_TEXT_IDLE) || was_made_for_reset(entry))
        return entry->pod.present ? OBSERVED_STOPPING : OBSERVED_ABSENT;
    if (entry_is_phase(entry, PHASE_TEXT_ERROR))
        return OBSERVED_FAILED;
    return entry->pod.started && !entry->pod.deleting ? OBSERVED_RUNNING : OBSERVED_STARTING;
}

/* A running guest without a known address or key is still starting for us. The operator's word "Running" is not waited for: the fleet asks the guest
 * itself, which is quicker than the kubelet's probes. */
void entry_observe(const struct entry *entry, bool by_service, char id[static 72], struct observation *observation)
{
    *observation = (struct observation){
        .name = entry->name, .key = entry->key, .phase = phase_of(entry), .image = entry->image, .spec_hash = entry->spec_hash,
        .message = entry->message,
    };
    id[0] = 0;
    if (entry->pod.present) {
        (void)snprintf(id, 72, entry->pod.restarts > 0 ? "%s#%lld" : "%s", entry->pod.uid, (long long)entry->pod.restarts);
        observation->instance_id = id;
    }
    observation->preparing = observation->phase == OBSERVED_STARTING && entry->pod.preparing;
    if (observation->phase == OBSERVED_FAILED)
        observation->failure = entry_failure(entry->reason);
    if (observation->phase != OBSERVED_RUNNING)
        return;
    if (!fill_endpoint(by_service ? entry->service_ip : entry->pod.ip, &observation->endpoint) || entry_needs_key(entry)) {
        observation->phase = OBSERVED_STARTING;
        return;
    }
    observation->guest_key = entry->guest_key;
    observation->ready = entry->pod.ready;
}

bool entry_is_instance(const struct entry *entry, const char *instance_id)
{
    size_t len = strlen(entry->pod.uid);

    return entry->pod.present && strncmp(instance_id, entry->pod.uid, len) == 0 && (!instance_id[len] || instance_id[len] == '#');
}
