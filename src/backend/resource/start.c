/* Starting: the resource is made, or one that sleeps is woken. Of orchestrators that start the same terminal side by side one makes it, and all
 * find it. */
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pause.h"

enum { ATTEMPTS = 8, DELETION_WAIT_MS = 30000 };

/* --- names --- */

/* Whether the original left a home under its name that fits this key and is no other policy's. */
static bool legacy_home_fits(struct resource *resource, const struct terminal_key *key, const char *legacy)
{
    cleanup_free char *claim_name = xasprintf("%s-pvc", legacy);
    cleanup_json json_t *claim = NULL;
    struct error err;
    char slug[21];

    if (kube_get(resource->client, &KUBE_PVCS, resource->namespace, claim_name, &claim, &err) < 0)
        return false;
    policy_slug(key->policy_id, slug);
    const char *exact_user = kube_annotation(claim, ANNOTATION_USER_ID), *exact_policy = kube_annotation(claim, ANNOTATION_POLICY_ID);
    const char *label_user = kube_label(claim, LABEL_USER_ID), *label_policy = kube_label(claim, LABEL_POLICY);
    if (exact_policy && strcmp(exact_policy, key->policy_id) != 0)
        return false;
    if (exact_user ? strcmp(exact_user, key->user_id) != 0 : !label_user || !kube_label_stands_for(label_user, key->user_id))
        return false;
    return exact_policy || !label_policy || strcmp(label_policy, slug) == 0 || strcmp(label_policy, key->policy_id) == 0;
}

char *resource_choose_name(struct resource *resource, const struct terminal_key *key, struct error *err)
{
    char name[TERMINAL_NAME_SIZE], legacy[TERMINAL_NAME_SIZE];

    (void)err;
    {
        WITH_LOCK(resource);
        const struct entry *entry = picture_find_key(resource, key);
        if (entry)
            return xstrdup(entry->name);
    }
    terminal_name(key, RESOURCE_NAME_PREFIX, name);
    terminal_legacy_name(key, RESOURCE_NAME_PREFIX, legacy);
    return xstrdup(strcmp(name, legacy) != 0 && legacy_home_fits(resource, key, legacy) ? legacy : name);
}

/* --- a resource is there --- */

/* Its spec becomes what the policy says now; the version guards against others who write. */
static int renew_spec(struct resource *resource, json_t *there, const json_t *wanted, json_t **result, struct error *err)
{
    const char *old = kube_annotation(there, ANNOTATION_SPEC_HASH), *new = kube_annotation(wanted, ANNOTATION_SPEC_HASH);
    json_t *metadata = json_object_get(there, "metadata");

    if (old && new && strcmp(old, new) == 0)
        return 0;
    json_object_set(there, "spec", json_object_get(wanted, "spec"));
    json_object_set_new(metadata, "labels", json_deep_copy(kube_at(wanted, "metadata", "labels", NULL)));
    json_object_set_new(metadata, "annotations", json_deep_copy(kube_at(wanted, "metadata", "annotations", NULL)));
    return kube_replace(resource->client, &resource->terminals, resource->namespace, there, result, err);
}

static int wake(struct resource *resource, const json_t *there, struct error *err)
{
    cleanup_json json_t *patch = NULL, *result = NULL;
    char now[28];

    clock_format_iso(clock_wall_us(), now);
    patch = json_pack("{s:{s:s, s:s}, s:{s:s, s:n, s:s}}", "metadata", "uid", kube_uid(there), "resourceVersion",
                      kube_text_at(there, "metadata", "resourceVersion", NULL), "status", "phase", PHASE_TEXT_PENDING, "message",
                      "lastActivityAt", now);
    pause_point("resource.wake.before");
    if (kube_merge_patch(resource->client, &resource->terminals, resource->namespace, kube_name(there), "status", patch, &result, err) < 0)
        return -1;
    pause_point("resource.wake.after");
    log_info("woke a terminal", LOG_STR("terminal", kube_name(there)));
    picture_take(resource, result);
    return 0;
}

static bool is_asleep(const json_t *there)
{
    const char *phase = kube_text_at(there, "status", "phase", NULL);

    return phase && (strcmp(phase, PHASE_TEXT_IDLE) == 0 || strcmp(phase, PHASE_TEXT_ERROR) == 0);
}

static bool is_of_key(const json_t *there, const struct terminal_key *key)
{
    struct terminal_key *theirs = entry_key_of(there);
    bool same = theirs && terminal_key_equal(theirs, key);

    terminal_key_free(theirs);
    return same;
}

/* One that lost the mark by which we watch would never be seen. */
static bool is_marked(const json_t *there) { return managed_by_us(kube_label(there, LABEL_MANAGED_BY)); }

static int use_existing(struct resource *resource, const struct terminal_spec *spec, json_t *there, const json_t *wanted, struct error *err)
{
    cleanup_json json_t *renewed = NULL;

    if (!is_of_key(there, spec->key))
        return error_set(err, ERR_FORBIDDEN, "there is a Terminal %s that belongs to another user, policy or context", kube_name(there));
    if (is_asleep(there) || !is_marked(there)) {
        if (renew_spec(resource, there, wanted, &renewed, err) < 0)
            return -1;
        if (is_asleep(there))
            return wake(resource, renewed ? renewed : there, err);
    }
    picture_take(resource, renewed ? renewed : there);
    return 0;
}

static void wait_until_gone(struct resource *resource, const json_t *there, int64_t deadline_ms)
{
    const char *uid = kube_uid(there);

    picture_take(resource, there);
    WITH_LOCK(resource);
    for (;;) {
        const struct entry *entry = picture_find(resource, kube_name(there));
        if (!entry || !entry->present || strcmp(entry->uid, uid) != 0 || !picture_wait_change(resource, deadline_ms))
            return;
    }
}

/* --- attempts --- */

/* 1: made; 0: there is one of this name; negative: failed. */
static int make(struct resource *resource, const json_t *wanted, struct error *err)
{
    cleanup_json json_t *made = NULL;

    pause_point("resource.create.before");
    if (kube_create(resource->client, &resource->terminals, resource->namespace, wanted, &made, err) < 0)
        return err->class == ERR_CONFLICT ? 0 : -1;
    pause_point("resource.create.after");
    picture_take(resource, made);
    return 1;
}

static bool is_known(struct resource *resource, const char *name)
{
    WITH_LOCK(resource);
    const struct entry *entry = picture_find(resource, name);
    return entry && entry->present;
}

/* 1: done; 0: look again; negative: failed. One that is known is not tried to be made first, unless it proves to be gone. */
static int attempt(struct resource *resource, const struct terminal_spec *spec, const json_t *wanted, bool known, int64_t deadline_ms,
                   struct error *err)
{
    const char *name = kube_name(wanted);
    cleanup_json json_t *there = NULL;
    int made = known ? 0 : make(resource, wanted, err);

    if (made != 0)
        return made;
    if (kube_get(resource->client, &resource->terminals, resource->namespace, name, &there, err) < 0)
        return err->class == ERR_NOT_FOUND ? 0 : -1;
    if (kube_is_deleting(there)) {
        wait_until_gone(resource, there, deadline_ms);
        error_set(err, ERR_UNAVAILABLE, "an earlier Terminal %s is still being deleted: is the operator running?", name);
        return 0;
    }
    if (use_existing(resource, spec, there, wanted, err) == 0)
        return 1;
    return err->class == ERR_CONFLICT || err->class == ERR_NOT_FOUND ? 0 : -1;
}

int resource_start(struct resource *resource, const struct terminal_spec *spec, struct error *err)
{
    cleanup_free char *name = resource_choose_name(resource, spec->key, err);
    cleanup_json json_t *wanted = NULL;
    int64_t deadline_ms = clock_monotonic_ms() + DELETION_WAIT_MS;
    int result = 0;

    if (!name || !(wanted = resource_object(resource, spec, name, err)))
        return -1;
    for (int i = 0; result == 0 && i < ATTEMPTS && (i == 0 || clock_monotonic_ms() < deadline_ms); i++)
        result = attempt(resource, spec, wanted, i == 0 && is_known(resource, name), deadline_ms, err);
    if (result > 0)
        return 0;
    if (err->class == ERR_INVALID || err->class == ERR_FORBIDDEN)
        err->class = err->class == ERR_INVALID ? ERR_INVALID_POLICY : ERR_UNAVAILABLE;
    if (err->class == ERR_NOT_FOUND)
        err->class = ERR_UNAVAILABLE;
    return error_wrap(err, "starting '%s'", name);
}
