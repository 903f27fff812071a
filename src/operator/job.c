/* One step under way: copies of what it needs, since the record may change meanwhile. */
#include <string.h>

#include "base/json.h"
#include "operator/internal.h"

struct child *job_child(struct record *record, enum step step)
{
    switch (step) {
    case STEP_CREATE_PVC: case STEP_CLAIM_PVC: case STEP_RELEASE_PVC: return &record->pvc;
    case STEP_CREATE_SECRET: case STEP_DELETE_SECRET: return &record->secret;
    case STEP_CREATE_POD: case STEP_DELETE_POD: return &record->pod.child;
    case STEP_CREATE_SERVICE: case STEP_REPAIR_SERVICE: case STEP_DELETE_SERVICE: return &record->service;
    case STEP_CREATE_RESET_POD: case STEP_DELETE_RESET_POD: return &record->reset_pod.child;
    case STEP_NONE: case STEP_ADD_FINALIZER: case STEP_REMOVE_FINALIZER: case STEP_WRITE_STATUS: break;
    }
    return &record->cr;
}

void job_take_terminal(struct job *job, const json_t *object)
{
    WITH_LOCK(job->operator);
    job->record->cr.seen = job->operator->listings;
    (void)observe_terminal(job->record, object, false);
}

static char *copy_or_null(const char *text) { return text ? xstrdup(text) : NULL; }

static void copy_hash(char out[static HASH_SIZE], const char *hash) { (void)snprintf(out, HASH_SIZE, "%s", hash); }

void job_begin(struct job *job, struct operator *operator, struct record *record, const struct decision *decision)
{
    const struct child *child = job_child(record, decision->step);

    *job = (struct job){
        .operator = operator, .record = record, .namespace = record->namespace, .name = record->name, .decision = *decision,
        .spec = record->spec ? json_read(str_from(record->spec), NULL) : json_object(),
        .version = copy_or_null(record->version_text), .status = copy_or_null(record->status),
        .reset_wanted = copy_or_null(record->reset_wanted), .message = copy_or_null(decision->status.message),
        .told = copy_or_null(record->status_message),
        .child_version = child->version, .phase = record->phase, .reason = record->reason,
        .condition_ready = record->condition_ready, .condition_since_us = record->condition_since_us,
        .last_activity_us = record->last_activity_us, .generation = record->generation,
    };
    memcpy(job->uid, record->cr.uid, UID_SIZE);
    memcpy(job->child_uid, child->uid, UID_SIZE);
    copy_hash(job->spec_hash, record->spec_hash);
    copy_hash(job->key_hash, record->key_hash);
    if (job->message && strlen(job->message) > STATUS_MESSAGE_MAX)
        job->message[STATUS_MESSAGE_MAX] = 0;
    job->decision.status.message = job->message;
    job->origin = (struct origin){ job->namespace, job->name, job->uid, operator->api_version, job->spec, job->spec_hash, job->key_hash,
                                   operator->settings };
}

void job_end(struct job *job)
{
    json_decref(job->spec);
    free(job->version);
    free(job->status);
    free(job->reset_wanted);
    free(job->message);
    free(job->told);
}
