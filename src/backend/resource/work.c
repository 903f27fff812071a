/* What needs a call for an entry, on the queue's threads: the key of a new pod is read, activity is written. */
#include <string.h>

#include "backend/resource/parts.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"

/* --- keys --- */

struct key_job {
    char *secret;
    char pod[RESOURCE_UID_SIZE], hash[RESOURCE_HASH_SIZE];
};

static bool begin_key_job(struct resource *resource, const struct entry *entry, struct key_job *job)
{
    WITH_LOCK(resource);
    if (!entry_needs_key(entry))
        return false;
    job->secret = entry->secret_name ? xstrdup(entry->secret_name) : xasprintf("%s-apikey", entry->name);
    memcpy(job->pod, entry->pod.uid, sizeof job->pod);
    memcpy(job->hash, entry->pod.key_hash, sizeof job->hash);
    return true;
}

/* The key may have been made anew since this pod began; then the pod is about to be replaced. */
static int read_key(struct resource *resource, const struct key_job *job, char **key, struct error *err)
{
    cleanup_json json_t *secret = NULL;
    char digest[65];

    if (kube_get(resource->client, &KUBE_SECRETS, resource->namespace, job->secret, &secret, err) < 0)
        return -1;
    const char *base64 = kube_text_at(secret, "data", TERMINAL_KEY_FIELD, NULL);
    if (!base64 || !*base64)
        return error_set(err, ERR_NOT_FOUND, "secret %s holds no %s", job->secret, TERMINAL_KEY_FIELD);
    sha256_hex(str_from(base64), digest);
    if (job->hash[0] && strncmp(digest, job->hash, strlen(job->hash)) != 0)
        return error_set(err, ERR_CONFLICT, "secret %s is not the one that the pod got", job->secret);
    size_t len = 0;
    *key = base64_decode(base64, &len);
    if (len == 0)
        secret_free(steal(key));
    return *key ? 0 : error_set(err, ERR_INVALID, "secret %s holds no key that can be read", job->secret);
}

static bool learn_key(struct resource *resource, struct entry *entry)
{
    struct key_job job = { 0 };
    struct error err;
    char *key = NULL;

    if (!begin_key_job(resource, entry, &job))
        return true;
    int result = read_key(resource, &job, &key, &err);
    free(job.secret);
    if (result < 0) {
        log_debug("the key of a terminal could not be read; it is tried again", LOG_STR("terminal", entry->name), LOG_ERR(&err));
        return false;
    }
    WITH_LOCK(resource);
    secret_free(entry->guest_key);
    entry->guest_key = key;
    memcpy(entry->key_of, job.pod, sizeof entry->key_of);
    picture_tell_entry(resource, entry);
    return true;
}

/* --- activity --- */

static bool begin_activity(struct resource *resource, struct entry *entry, int64_t *active_us, json_t **patch)
{
    char text[28];

    WITH_LOCK(resource);
    bool asleep = !entry->phase || strcmp(entry->phase, PHASE_TEXT_IDLE) == 0 || strcmp(entry->phase, PHASE_TEXT_ERROR) == 0;
    *active_us = entry->activity_us;
    entry->activity_us = 0;
    if (*active_us == 0 || *active_us <= entry->last_activity_us || !entry->present || entry->deleting || asleep)
        return false;
    clock_format_iso(*active_us, text);
    *patch = json_pack("{s:{s:s}, s:{s:s}}", "metadata", "uid", entry->uid, "status", "lastActivityAt", text);
    return true;
}

static bool write_activity(struct resource *resource, struct entry *entry)
{
    cleanup_json json_t *patch = NULL, *result = NULL;
    struct error err;
    int64_t active_us;

    if (!begin_activity(resource, entry, &active_us, &patch))
        return true;
    if (kube_merge_patch(resource->client, &resource->terminals, resource->namespace, entry->name, "status", patch, &result, &err) == 0) {
        picture_take(resource, result);
        return true;
    }
    if (err.class == ERR_NOT_FOUND || err.class == ERR_CONFLICT)
        return true;
    log_warning("activity could not be written; it is tried again", LOG_STR("terminal", entry->name), LOG_ERR(&err));
    WITH_LOCK(resource);
    if (entry->activity_us < active_us)
        entry->activity_us = active_us;
    return false;
}

void resource_report_activity(struct resource *resource, const struct terminal_ref *ref, int64_t last_active_us)
{
    WITH_LOCK(resource);
    struct entry *entry = ref->name ? picture_find(resource, ref->name) : picture_find_key(resource, ref->key);
    if (!entry || last_active_us <= entry->activity_us)
        return;
    entry->activity_us = last_active_us;
    workqueue_add(resource->queue, &entry->work);
}

/* --- the queue --- */

void resource_work(struct workitem *item, void *context)
{
    struct resource *resource = context;
    struct entry *entry = CONTAINER_OF(item, struct entry, work);
    bool learned = learn_key(resource, entry), written = write_activity(resource, entry);

    if (learned && written)
        workqueue_forget_failures(resource->queue, item);
    else
        workqueue_add_after_failure(resource->queue, item);
}
