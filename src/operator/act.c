/* Taking one step. What the API server answers goes into the record at once, so that the next decision does not wait for the watch; what it refuses
 * is told in the status and tried again after a while. Steps are safe to repeat: names collide instead of doubling, deletions and status writes name
 * the object that they mean. */
#include <string.h>

#include "backend/key.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pause.h"
#include "kubernetes/object.h"
#include "operator/internal.h"
#include "operator/spec.h"

enum { FIRST_AGAIN_MS = 1000, LONGEST_AGAIN_MS = 60000 };

static const char *const step_names[] = {
    [STEP_NONE] = "none", [STEP_ADD_FINALIZER] = "add_finalizer", [STEP_REMOVE_FINALIZER] = "remove_finalizer",
    [STEP_CREATE_PVC] = "create_pvc", [STEP_CLAIM_PVC] = "claim_pvc", [STEP_RELEASE_PVC] = "release_pvc",
    [STEP_CREATE_SECRET] = "create_secret", [STEP_DELETE_SECRET] = "delete_secret", [STEP_CREATE_POD] = "create_pod",
    [STEP_DELETE_POD] = "delete_pod", [STEP_CREATE_SERVICE] = "create_service", [STEP_REPAIR_SERVICE] = "repair_service",
    [STEP_DELETE_SERVICE] = "delete_service", [STEP_CREATE_RESET_POD] = "create_reset_pod",
    [STEP_DELETE_RESET_POD] = "delete_reset_pod", [STEP_WRITE_STATUS] = "write_status",
};

const char *step_name(enum step step) { return step_names[step]; }

static const struct kube_resource *resource_of(enum step step)
{
    switch (step) {
    case STEP_CREATE_PVC: case STEP_CLAIM_PVC: case STEP_RELEASE_PVC: return &KUBE_PVCS;
    case STEP_CREATE_SECRET: case STEP_DELETE_SECRET: return &KUBE_SECRETS;
    case STEP_CREATE_SERVICE: case STEP_REPAIR_SERVICE: case STEP_DELETE_SERVICE: return &KUBE_SERVICES;
    case STEP_CREATE_POD: case STEP_DELETE_POD: case STEP_CREATE_RESET_POD: case STEP_DELETE_RESET_POD:
    case STEP_NONE: case STEP_ADD_FINALIZER: case STEP_REMOVE_FINALIZER: case STEP_WRITE_STATUS: break;
    }
    return &KUBE_PODS;
}

static enum child_kind kind_of(enum step step)
{
    switch (step) {
    case STEP_CREATE_PVC: case STEP_CLAIM_PVC: case STEP_RELEASE_PVC: return CHILD_PVC;
    case STEP_CREATE_SECRET: case STEP_DELETE_SECRET: return CHILD_SECRET;
    case STEP_CREATE_SERVICE: case STEP_REPAIR_SERVICE: case STEP_DELETE_SERVICE: return CHILD_SERVICE;
    case STEP_CREATE_RESET_POD: case STEP_DELETE_RESET_POD: return CHILD_RESET_POD;
    case STEP_CREATE_POD: case STEP_DELETE_POD:
    case STEP_NONE: case STEP_ADD_FINALIZER: case STEP_REMOVE_FINALIZER: case STEP_WRITE_STATUS: break;
    }
    return CHILD_POD;
}

/* --- what came of it --- */

static void record_result(struct job *job, const json_t *object)
{
    struct record *record = job->record;

    WITH_LOCK(job->operator);
    job_child(record, job->decision.step)->seen = job->operator->listings;      /* a listing under way may have begun before it */
    switch (kind_of(job->decision.step)) {
    case CHILD_PVC: (void)observe_pvc(record, object, false); break;
    case CHILD_SECRET: (void)observe_secret(record, object, false); break;
    case CHILD_SERVICE: (void)observe_service(record, object, false, job->operator->settings->kubernetes_service_type); break;
    case CHILD_POD: (void)observe_pod(&record->pod, object, false); break;
    case CHILD_RESET_POD: (void)observe_pod(&record->reset_pod, object, false); break;
    }
}

/* --- creating --- */

static json_t *build(const struct job *job, struct error *err)
{
    switch (job->decision.step) {
    case STEP_CREATE_PVC: return child_pvc(&job->origin);
    case STEP_CREATE_SECRET: return child_secret(&job->origin);
    case STEP_CREATE_SERVICE: return child_service(&job->origin);
    case STEP_CREATE_POD: return child_pod(&job->origin, err);
    case STEP_CREATE_RESET_POD: return child_reset_pod(&job->origin, err);
    case STEP_NONE: case STEP_ADD_FINALIZER: case STEP_REMOVE_FINALIZER: case STEP_CLAIM_PVC: case STEP_RELEASE_PVC:
    case STEP_DELETE_SECRET: case STEP_DELETE_POD: case STEP_REPAIR_SERVICE: case STEP_DELETE_SERVICE: case STEP_DELETE_RESET_POD:
    case STEP_WRITE_STATUS: break;
    }
    error_set(err, ERR_INTERNAL, "nothing is made by this step");
    return NULL;
}

static bool is_owned_by_terminal(const json_t *object)
{
    const json_t *owners = kube_at(object, "metadata", "ownerReferences", NULL), *owner;
    size_t index;

    json_array_foreach(owners, index, owner) {
        const char *kind = json_text(owner, "kind");
        if (kind && strcmp(kind, "Terminal") == 0)
            return true;
    }
    return false;
}

/* The Secret of a terminal that an orchestrator made in this namespace without us, under the same name and for the same user. It goes on using the
 * key of the Secret, but leaves it to us from now on. */
static bool is_of_direct_backend(const struct job *job, const json_t *secret)
{
    return managed_by_us(kube_label(secret, LABEL_MANAGED_BY)) && !kube_at(secret, "metadata", "ownerReferences", NULL) &&
           child_is_of_user(secret, json_text(job->spec, "userId"));
}

static json_t *adoption_patch(const struct job *job, const json_t *object, bool own)
{
    json_t *metadata = child_marks(&job->origin);

    if (own) {
        json_object_set_new(metadata, "ownerReferences", child_owners(&job->origin));
        json_object_set_new(metadata, "resourceVersion", json_string(kube_text_at(object, "metadata", "resourceVersion", NULL)));
    }
    json_object_set_new(metadata, "uid", json_string(kube_uid(object)));
    return json_pack("{s:o}", "metadata", metadata);
}

/* An object of this name is there, which the watch does not show (yet, or because it lost its labels). */
static int adopt(struct job *job, const char *name, struct error *err)
{
    const struct kube_resource *resource = resource_of(job->decision.step);
    cleanup_json json_t *object = NULL, *patched = NULL, *patch = NULL;

    if (kube_get(job->operator->client, resource, job->namespace, name, &object, err) < 0)
        return err->class == ERR_NOT_FOUND ? error_set(err, ERR_CONFLICT, "%s came and went", name) : -1;
    bool ours = resource == &KUBE_PVCS ? child_is_of_user(object, json_text(job->spec, "userId")) : is_owned_by_terminal(object);
    bool take_over = !ours && resource == &KUBE_SECRETS && is_of_direct_backend(job, object);
    if (!ours && !take_over)
        return error_set(err, ERR_FORBIDDEN, "%s %s is there already and does not belong to this terminal", resource->kind, name);
    patch = adoption_patch(job, object, take_over);
    if (!kube_is_deleting(object) &&
        kube_merge_patch(job->operator->client, resource, job->namespace, name, NULL, patch, &patched, err) < 0)
        return -1;
    record_result(job, patched ? patched : object);
    return 0;
}

static int ensure_shared_claim(struct job *job, struct error *err)
{
    cleanup_json json_t *claim = child_shared_pvc(&job->origin);

    if (kube_create(job->operator->client, &KUBE_PVCS, job->namespace, claim, NULL, err) < 0 && err->class != ERR_CONFLICT)
        return error_wrap(err, "making the shared home");
    return 0;
}

static int create(struct job *job, struct error *err)
{
    enum step step = job->decision.step;
    const struct kube_resource *resource = resource_of(step);
    cleanup_free char *name = child_name(kind_of(step), job->name);
    cleanup_json json_t *object = NULL, *made = NULL;

    if (step == STEP_CREATE_POD && spec_is_shared(job->spec) && ensure_shared_claim(job, err) < 0)
        return -1;
    job->origin.group_is_given = spec_is_restricted(job->spec) && kube_is_openshift(job->operator->client);
    if (!(object = build(job, err)))
        return -1;
    if (kube_create(job->operator->client, resource, job->namespace, object, &made, err) < 0)
        return err->class == ERR_CONFLICT ? adopt(job, name, err) : error_wrap(err, "creating %s %s", resource->kind, name);
    record_result(job, made);
    if (step == STEP_CREATE_POD)
        event_tell(job, false, "Created", "created pod %s", name);
    return 0;
}

/* --- deleting --- */

static void record_ending(struct job *job)
{
    struct record *record = job->record;
    struct child *child;

    WITH_LOCK(job->operator);
    child = job_child(record, job->decision.step);
    if (strcmp(child->uid, job->child_uid) == 0)
        child->deleting = true;
}

static void record_gone(struct job *job)
{
    WITH_LOCK(job->operator);
    struct child *child = job_child(job->record, job->decision.step);
    if (strcmp(child->uid, job->child_uid) != 0)
        return;
    child->seen = job->operator->listings;
    forget_child(child);
}

/* A pod that ends by itself again and again, as when the node is short of disk, is not made anew in a tight circle. */
static void delay_replacement(struct job *job)
{
    WITH_LOCK(job->operator);
    struct record *record = job->record;
    int64_t delay_ms = FIRST_AGAIN_MS;
    for (unsigned i = 0; i < record->replaced && delay_ms < LONGEST_AGAIN_MS; i++)
        delay_ms *= 2;
    record->replaced++;
    record->create_not_before_ms = clock_monotonic_ms() + (delay_ms < LONGEST_AGAIN_MS ? delay_ms : LONGEST_AGAIN_MS);
}

static void tell_deletion(struct job *job, const char *name)
{
    const char *because = job->decision.because;

    if (!because)
        return;
    bool ended = strcmp(because, "it ended") == 0;
    if (strcmp(because, "idle") != 0 && strcmp(because, "the terminal is deleted") != 0)
        event_tell(job, ended, "Replaced", "deleted %s: %s", name, because);
    log_info("deleted an object", LOG_STR("namespace", job->namespace), LOG_STR("terminal", job->name), LOG_STR("object", name),
             LOG_STR("because", because));
    if (ended || job->decision.step == STEP_DELETE_RESET_POD)
        delay_replacement(job);
}

static int delete(struct job *job, struct error *err)
{
    enum step step = job->decision.step;
    cleanup_free char *name = child_name(kind_of(step), job->name);
    struct kube_delete_options options = { .uid = job->child_uid, .grace_s = -1 };

    if (kube_delete(job->operator->client, resource_of(step), job->namespace, name, &options, err) < 0) {
        if (err->class != ERR_NOT_FOUND)
            return error_wrap(err, "deleting %s", name);
        record_gone(job);
        return 0;
    }
    record_ending(job);
    tell_deletion(job, name);
    return 0;
}

/* --- patches --- */

static int patch_child(struct job *job, json_t *patch, struct error *err)
{
    const struct kube_resource *resource = resource_of(job->decision.step);
    cleanup_free char *name = child_name(kind_of(job->decision.step), job->name);
    cleanup_json json_t *body = patch, *result = NULL;

    if (kube_merge_patch(job->operator->client, resource, job->namespace, name, NULL, body, &result, err) < 0) {
        if (err->class != ERR_NOT_FOUND)
            return error_wrap(err, "changing %s", name);
        record_gone(job);
        return 0;
    }
    record_result(job, result);
    return 0;
}

static int claim_pvc(struct job *job, struct error *err)
{
    json_t *marks = child_marks(&job->origin);

    json_object_set_new(json_object_get(marks, "annotations"), ANNOTATION_RELEASED, json_null());
    json_object_set_new(marks, "uid", json_string(job->child_uid));
    return patch_child(job, json_pack("{s:o}", "metadata", marks), err);
}

static int release_pvc(struct job *job, struct error *err)
{
    char now[28];

    clock_format_iso(clock_wall_us(), now);
    return patch_child(job, json_pack("{s:{s:s, s:{s:s}}}", "metadata", "uid", job->child_uid, "annotations", ANNOTATION_RELEASED, now), err);
}

/* Read, corrected and written whole, because a merge would leave foreign selectors in place. */
static int repair_service(struct job *job, struct error *err)
{
    struct operator *operator = job->operator;
    cleanup_free char *name = child_name(CHILD_SERVICE, job->name);
    cleanup_json json_t *service = NULL, *result = NULL, *marks = child_marks(&job->origin);

    if (kube_get(operator->client, &KUBE_SERVICES, job->namespace, name, &service, err) < 0)
        return -1;
    child_repair_service(service, job->name, operator->settings->kubernetes_service_type);
    json_object_update_recursive(json_object_get(service, "metadata"), marks);
    if (kube_replace(operator->client, &KUBE_SERVICES, job->namespace, service, &result, err) < 0)
        return error_wrap(err, "putting service %s right", name);
    record_result(job, result);
    event_tell(job, false, "Repaired", "service %s did not lead to the terminal, or was of another type", name);
    return 0;
}

/* The list is written whole, with the version that it was read in. */
static int write_finalizers(struct job *job, bool ours, struct error *err)
{
    struct operator *operator = job->operator;
    cleanup_json json_t *object = NULL, *result = NULL, *list = json_array(), *patch = NULL;
    const json_t *finalizer;
    size_t index;

    if (kube_get(operator->client, &operator->terminals, job->namespace, job->name, &object, err) < 0)
        return -1;
    if (strcmp(kube_uid(object) ? kube_uid(object) : "", job->uid) != 0)
        return error_set(err, ERR_CONFLICT, "another terminal has this name by now");
    json_array_foreach(kube_at(object, "metadata", "finalizers", NULL), index, finalizer) {
        if (json_is_string(finalizer) && strcmp(json_string_value(finalizer), TERMINAL_FINALIZER) != 0)
            json_array_append(list, (json_t *)finalizer);
    }
    if (ours)
        json_array_append_new(list, json_string(TERMINAL_FINALIZER));
    patch = json_pack("{s:{s:O, s:s, s:s}}", "metadata", "finalizers", list, "uid", job->uid, "resourceVersion",
                      kube_text_at(object, "metadata", "resourceVersion", NULL));
    if (kube_merge_patch(operator->client, &operator->terminals, job->namespace, job->name, NULL, patch, &result, err) < 0)
        return error_wrap(err, "writing the finalizer");
    job_take_terminal(job, result);
    return 0;
}

/* --- refusals --- */

static enum reason reason_of(enum error_class class)
{
    switch (class) {
    case ERR_NO_CAPACITY: return REASON_QUOTA_EXCEEDED;
    case ERR_FORBIDDEN: return REASON_ADMISSION_REFUSED;
    case ERR_INVALID: case ERR_UNPROCESSABLE: case ERR_INVALID_POLICY: return REASON_INVALID_SPEC;
    case ERR_IMAGE_NOT_ALLOWED: return REASON_IMAGE_NOT_ALLOWED;
    case ERR_NONE: case ERR_UNAUTHORIZED: case ERR_NOT_FOUND: case ERR_CONFLICT: case ERR_LIMIT: case ERR_TIMEOUT: case ERR_UNAVAILABLE:
    case ERR_IMAGE_NOT_FOUND: case ERR_UNSCHEDULABLE: case ERR_START_TIMEOUT: case ERR_GUEST_CRASHED: case ERR_STARTING: case ERR_IO:
    case ERR_INTERNAL: case ERR_CLASS_COUNT: break;
    }
    return REASON_NONE;
}

/* Only what people have to do something about; the rest is tried again in silence. */
static void tell_refusal(struct job *job, const struct error *why)
{
    enum reason reason = reason_of(why->class);
    struct error err;

    if (reason == REASON_NONE || job->decision.step == STEP_WRITE_STATUS)
        return;
    delay_replacement(job);
    struct wanted_status wanted = decide_refused(job->decision.step, job->phase, reason);
    if (job->phase == wanted.phase && job->reason == wanted.reason && job->told && strcmp(job->told, why->text) == 0)
        return;
    free(job->message);
    wanted.message = job->message = xstrdup(why->text);
    job->decision.status = wanted;
    if (status_write(job, &err) < 0)
        log_debug("a refusal could not be told", LOG_STR("terminal", job->name), LOG_ERR(&err));
}

/* --- one step --- */

static int take(struct job *job, struct error *err)
{
    switch (job->decision.step) {
    case STEP_NONE: return 0;
    case STEP_ADD_FINALIZER: return write_finalizers(job, true, err);
    case STEP_REMOVE_FINALIZER: return write_finalizers(job, false, err);
    case STEP_CREATE_PVC: case STEP_CREATE_SECRET: case STEP_CREATE_POD: case STEP_CREATE_SERVICE: case STEP_CREATE_RESET_POD:
        return create(job, err);
    case STEP_DELETE_SECRET: case STEP_DELETE_POD: case STEP_DELETE_SERVICE: case STEP_DELETE_RESET_POD: return delete(job, err);
    case STEP_CLAIM_PVC: return claim_pvc(job, err);
    case STEP_RELEASE_PVC: return release_pvc(job, err);
    case STEP_REPAIR_SERVICE: return repair_service(job, err);
    case STEP_WRITE_STATUS: return status_write(job, err);
    }
    return 0;
}

static void pause_at(enum step step, const char *when)
{
#ifdef TERMINALS_PAUSE_POINTS
    cleanup_free char *name = xasprintf("operator.%s.%s", step_names[step], when);
    pause_point(name);
#else
    (void)step;
    (void)when;
#endif
}

static void conclude(struct job *job, int result, const struct error *err)
{
    struct operator *operator = job->operator;
    struct workitem *item = &job->record->work;

    if (result == 0) {
        metric_add(operator->steps[job->decision.step], 1);
        workqueue_forget_failures(operator->queue, item);
        workqueue_add(operator->queue, item);
        return;
    }
    metric_add(operator->failures, 1);
    if (err->class != ERR_CONFLICT && err->class != ERR_NOT_FOUND)
        log_warning("a step failed; it is tried again", LOG_STR("namespace", job->namespace), LOG_STR("terminal", job->name),
                    LOG_STR("step", step_names[job->decision.step]), LOG_ERR(err));
    tell_refusal(job, err);
    workqueue_add_after_failure(operator->queue, item);
}

/* A pod that has become ready has proved itself. */
static void forget_replacements(struct record *record)
{
    if (record->pod.ready) {
        record->replaced = 0;
        record->create_not_before_ms = 0;
    }
}

/* True: there is something to do, and `job` has to be ended. */
static bool next_job(struct operator *operator, struct record *record, struct job *job)
{
    WITH_LOCK(operator);
    if (atomic_load(&operator->stopping))
        return false;
    int64_t now_ms = clock_monotonic_ms();
    const struct moment now = { clock_wall_us(), now_ms, now_ms >= operator->may_idle_ms, operator->settings->kubernetes_unschedulable_s };
    struct decision decision = decide(record, &now);
    forget_replacements(record);
    if (decision.look_again_ms > 0)
        workqueue_add_after(operator->queue, &record->work, decision.look_again_ms);
    if (decision.step == STEP_NONE)
        return false;
    job_begin(job, operator, record, &decision);
    operator->acting++;
    return true;
}

static void end_job(struct operator *operator, struct job *job)
{
    job_end(job);
    WITH_LOCK(operator);
    operator->acting--;
    pthread_cond_broadcast(&operator->changed);
}

void operator_reconcile(struct workitem *item, void *context)
{
    struct operator *operator = context;
    struct record *record = CONTAINER_OF(item, struct record, work);
    struct error err = { 0 };
    struct job job;

    if (!atomic_load(&operator->synced) || atomic_load(&operator->stopping) || !lease_is_held(operator->lease) ||
        !next_job(operator, record, &job))
        return;
    enum step step = job.decision.step;
    log_debug("step", LOG_STR("terminal", job.name), LOG_STR("step", step_names[step]), LOG_STR("phase", phase_name(job.decision.status.phase)));
    pause_at(step, "before");
    int result = take(&job, &err);
    pause_at(step, "after");
    conclude(&job, result, &err);
    end_job(operator, &job);
}
