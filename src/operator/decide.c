/* The rules, from the most binding to the least: a resource that goes, its finalizer, a reset, sleep, and then what a terminal that is awake
 * needs, in the order in which its pod needs it. The status comes last; it tells, and only its phase Idle, which others set too, commands. */
#include "operator/decide.h"

#include <string.h>

#include "kubernetes/object.h"
#include "operator/spec.h"

#define SECOND_US 1000000LL

static struct decision take(enum step step) { return (struct decision){ .step = step }; }
static struct decision take_because(enum step step, const char *because) { return (struct decision){ .step = step, .because = because }; }

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool is_owned(const struct record *record, const struct child *child) { return strcmp(child->owner_uid, record->cr.uid) == 0; }

static bool reset_is_pending(const struct record *record)
{
    return record->reset_wanted && *record->reset_wanted && !same_text(record->reset_wanted, record->reset_done);
}

/* A resource that is new and asks for a reset was made for that only. */
static bool is_asleep(const struct record *record)
{
    return record->phase == PHASE_IDLE || (record->phase == PHASE_NEW && reset_is_pending(record));
}

/* --- the status --- */

static struct decision write_status(const struct record *record, struct wanted_status wanted, int64_t look_again_ms)
{
    bool ready = wanted.phase == PHASE_RUNNING;
    bool as_it_is = record->phase == wanted.phase && record->reason == wanted.reason && record->condition_ready == ready &&
                    same_text(record->status_message, wanted.message) && !wanted.finish_reset &&
                    !(ready && record->last_activity_us == 0);

    return (struct decision){ .step = as_it_is ? STEP_NONE : STEP_WRITE_STATUS, .status = wanted, .look_again_ms = look_again_ms };
}

static struct decision tell(const struct record *record, enum phase phase, enum reason reason, const char *message)
{
    return write_status(record, (struct wanted_status){ .phase = phase, .reason = reason, .message = message }, 0);
}

/* Nearly every new pod is unschedulable for a moment, until its volume is there. */
static int64_t scheduling_patience_us(const struct pod *pod, const struct moment *now)
{
    return pod->unschedulable_since_us + now->unschedulable_s * SECOND_US - now->wall_us;
}

static struct decision tell_unschedulable(const struct record *record, const struct moment *now)
{
    int64_t patience_us = scheduling_patience_us(&record->pod, now);

    if (patience_us <= 0)
        return tell(record, PHASE_ERROR, REASON_UNSCHEDULABLE, record->pod.message);
    return write_status(record, (struct wanted_status){ PHASE_PROVISIONING, REASON_PROVISIONING, NULL, false },
                        patience_us / 1000 + 1);
}

/* A guest that boots is ready in a moment: that it runs is told only where it takes longer, which spares most starts a write. */
static struct decision tell_booting(const struct record *record, const struct moment *now)
{
    const struct pod *pod = &record->pod;
    int64_t patience_us = pod->started_us + BOOT_PATIENCE_S * SECOND_US - now->wall_us;
    bool told = record->phase == PHASE_PROVISIONING && record->reason == REASON_PROVISIONING && same_text(record->status_message, pod->message);

    if (told && patience_us > 0)
        return (struct decision){ .look_again_ms = patience_us / 1000 + 1 };
    return tell(record, PHASE_PROVISIONING, REASON_POD_NOT_READY, pod->message);
}

static struct decision tell_awake(const struct record *record, const struct moment *now)
{
    const struct pod *pod = &record->pod;

    if (pod->ready)
        return tell(record, PHASE_RUNNING, REASON_POD_READY, NULL);
    if (pod->failure != REASON_NONE)
        return tell(record, PHASE_ERROR, pod->failure, pod->message);
    if (pod->unschedulable_since_us)
        return tell_unschedulable(record, now);
    return pod->started ? tell_booting(record, now) : tell(record, PHASE_PROVISIONING, REASON_PROVISIONING, pod->message);
}

static struct decision wait_for(const struct record *record, const char *what)
{
    struct decision decision = tell(record, PHASE_PROVISIONING, REASON_PROVISIONING, what);

    decision.waits = true;
    return decision;
}

/* --- whose home it is --- */

static const char home_is_foreign[] = "the home of this name is not known to belong to this user";

/* A claim under our name is mounted, emptied and given up only when it says that it is this user's. */
static bool claim_is_foreign(const struct record *record)
{
    const char *user = record->user_id ? record->user_id : "";

    if (record->pvc_user)
        return strcmp(record->pvc_user, user) != 0;
    return !record->pvc_user_label || !kube_label_stands_for(record->pvc_user_label, user);
}

/* --- a resource that goes, or is gone --- */

static bool claim_is_to_be_released(const struct record *record)
{
    return record->pvc.present && !record->pvc.deleting && record->released_us == 0;
}

/* Whose the resource was is not known any more: only a claim that was ours beyond doubt is released, since homes that are may be deleted. */
static struct decision decide_gone(const struct record *record)
{
    return take(claim_is_to_be_released(record) && record->pvc_user ? STEP_RELEASE_PVC : STEP_NONE);
}

static bool is_to_go(const struct record *record, const struct child *child)
{
    return child->present && !child->deleting && is_owned(record, child);
}

static struct decision decide_deleting(const struct record *record)
{
    if (!record->has_finalizer)
        return take(STEP_NONE);
    if (is_to_go(record, &record->pod.child))
        return take_because(STEP_DELETE_POD, "the terminal is deleted");
    if (is_to_go(record, &record->reset_pod.child))
        return take(STEP_DELETE_RESET_POD);
    if (is_to_go(record, &record->service))
        return take_because(STEP_DELETE_SERVICE, "the terminal is deleted");
    if (is_to_go(record, &record->secret))
        return take_because(STEP_DELETE_SECRET, "the terminal is deleted");
    if (claim_is_to_be_released(record) && !claim_is_foreign(record))
        return take(STEP_RELEASE_PVC);
    return take(STEP_REMOVE_FINALIZER);
}

/* --- resets --- */

static struct decision finish_reset(const struct record *record)
{
    struct wanted_status wanted = { record->phase, record->reason, NULL, true };

    if (is_asleep(record))
        wanted = (struct wanted_status){ PHASE_IDLE, REASON_IDLE_TIMEOUT, NULL, true };
    else
        wanted = (struct wanted_status){ PHASE_PROVISIONING, REASON_PROVISIONING, NULL, true };
    return write_status(record, wanted, 0);
}

static enum phase phase_in_reset(const struct record *record) { return is_asleep(record) ? PHASE_IDLE : PHASE_PROVISIONING; }

/* First it is told why it failed; then the pod goes, to be made again after a while. */
static struct decision repeat_reset(const struct record *record)
{
    struct decision decision = tell(record, phase_in_reset(record), REASON_RESET_FAILED, record->reset_pod.message);

    if (decision.step != STEP_NONE || record->reset_pod.child.deleting)
        return decision;
    return take_because(STEP_DELETE_RESET_POD, "the home could not be emptied");
}

/* While it cannot run, the status says why; it may still come to run. */
static struct decision tell_reset(const struct record *record, const struct moment *now)
{
    const struct pod *pod = &record->reset_pod;
    int64_t patience_us = pod->unschedulable_since_us ? scheduling_patience_us(pod, now) : 0;
    bool unschedulable = pod->unschedulable_since_us && patience_us <= 0;
    enum reason reason = pod->failure != REASON_NONE || unschedulable ? REASON_RESET_FAILED : REASON_RESETTING;

    return write_status(record, (struct wanted_status){ phase_in_reset(record), reason, pod->message, false },
                        patience_us > 0 ? patience_us / 1000 + 1 : 0);
}

static struct decision run_reset(const struct record *record, const struct moment *now)
{
    const struct pod *pod = &record->reset_pod;

    if (!pod->child.present && record->create_not_before_ms > now->monotonic_ms)
        return (struct decision){ .look_again_ms = record->create_not_before_ms - now->monotonic_ms };
    if (!pod->child.present)
        return take(STEP_CREATE_RESET_POD);
    if (!is_owned(record, &pod->child))
        return pod->child.deleting ? take(STEP_NONE) : take(STEP_DELETE_RESET_POD);
    if (pod->succeeded)
        return finish_reset(record);
    if (pod->ended)
        return repeat_reset(record);
    if (spec_hash_differs(pod->spec_hash, record->spec_hash))
        return pod->child.deleting ? take(STEP_NONE) : take_because(STEP_DELETE_RESET_POD, "the terminal's spec was changed");
    return tell_reset(record, now);
}

static struct decision decide_reset(const struct record *record, const struct moment *now)
{
    if (record->pod.child.present)
        return record->pod.child.deleting ? take(STEP_NONE) : take_because(STEP_DELETE_POD, "the home is emptied");
    bool has_claim = record->persistent && !record->shared && record->pvc.present && !record->pvc.deleting;
    if (has_claim && claim_is_foreign(record))
        return tell(record, phase_in_reset(record), REASON_RESET_FAILED, home_is_foreign);
    return has_claim || (record->persistent && record->shared) ? run_reset(record, now) : finish_reset(record);
}

/* --- sleep --- */

int64_t decide_active_us(const struct record *record)
{
    return record->last_activity_us > record->condition_since_us ? record->last_activity_us : record->condition_since_us;
}

static bool is_idle(const struct record *record, const struct moment *now)
{
    int64_t active_us = decide_active_us(record);

    return now->may_idle && record->phase == PHASE_RUNNING && record->idle_timeout_us > 0 && active_us > 0 &&
           now->wall_us - active_us >= record->idle_timeout_us;
}

static struct decision decide_asleep(const struct record *record)
{
    if (record->pod.child.present && !record->pod.child.deleting)
        return take_because(STEP_DELETE_POD, "idle");
    return tell(record, PHASE_IDLE, REASON_IDLE_TIMEOUT, NULL);
}

/* --- awake --- */

static struct decision decide_claim(const struct record *record)
{
    if (!record->persistent || record->shared)
        return take(STEP_NONE);
    if (!record->pvc.present)
        return take(STEP_CREATE_PVC);
    if (record->pvc.deleting && !record->pod.child.present)
        return wait_for(record, "waiting for the deletion of the old home");
    if (claim_is_foreign(record)) {
        struct decision decision = tell(record, PHASE_ERROR, REASON_NAME_TAKEN, home_is_foreign);
        decision.waits = true;
        return decision;
    }
    return take(record->released_us != 0 || !record->pvc_user ? STEP_CLAIM_PVC : STEP_NONE);
}

static struct decision decide_secret(const struct record *record)
{
    const struct child *secret = &record->secret;

    if (!secret->present)
        return take(STEP_CREATE_SECRET);
    if (secret->deleting)
        return wait_for(record, "waiting for the deletion of the old key");
    if (!is_owned(record, secret))
        return take_because(STEP_DELETE_SECRET, "it belongs to an earlier terminal of this name");
    return record->key_hash[0] ? take(STEP_NONE) : take_because(STEP_DELETE_SECRET, "it holds no key");
}

static const char *why_pod_is_wrong(const struct record *record)
{
    const struct pod *pod = &record->pod;

    if (!is_owned(record, &pod->child))
        return "it belongs to an earlier terminal of this name";
    if (pod->ended)
        return "it ended";
    if (spec_hash_differs(pod->spec_hash, record->spec_hash))
        return "the terminal's spec was changed";
    if (pod->key_hash[0] && strcmp(pod->key_hash, record->key_hash) != 0)
        return "the key was changed";
    return NULL;
}

static struct decision decide_pod(const struct record *record, const struct moment *now)
{
    const struct pod *pod = &record->pod;

    if (record->reset_pod.child.present)
        return record->reset_pod.child.deleting ? wait_for(record, "waiting for the end of a reset") : take(STEP_DELETE_RESET_POD);
    if (!pod->child.present && record->create_not_before_ms > now->monotonic_ms)
        return (struct decision){ .look_again_ms = record->create_not_before_ms - now->monotonic_ms };
    if (!pod->child.present)
        return take(STEP_CREATE_POD);
    if (pod->child.deleting)
        return wait_for(record, "waiting for the end of the old pod");
    const char *why = why_pod_is_wrong(record);
    return why ? take_because(STEP_DELETE_POD, why) : take(STEP_NONE);
}

static struct decision decide_service(const struct record *record)
{
    const struct child *service = &record->service;

    if (!service->present)
        return take(STEP_CREATE_SERVICE);
    if (service->deleting)
        return take(STEP_NONE);
    if (!is_owned(record, service))
        return take_because(STEP_DELETE_SERVICE, "it belongs to an earlier terminal of this name");
    return take(record->service_is_right ? STEP_NONE : STEP_REPAIR_SERVICE);
}

static bool is_something(const struct decision *decision)
{
    return decision->step != STEP_NONE || decision->look_again_ms != 0 || decision->waits;
}

static struct decision decide_awake(const struct record *record, const struct moment *now)
{
    struct decision decision = decide_claim(record);

    if (!is_something(&decision))
        decision = decide_secret(record);
    if (!is_something(&decision))
        decision = decide_pod(record, now);
    if (!is_something(&decision))
        decision = decide_service(record);
    if (!is_something(&decision))
        decision = tell_awake(record, now);
    return decision;
}

struct decision decide(const struct record *record, const struct moment *now)
{
    if (!record->cr.present)
        return decide_gone(record);
    if (record->cr.deleting)
        return decide_deleting(record);
    if (!record->has_finalizer)
        return take(STEP_ADD_FINALIZER);
    if (reset_is_pending(record))
        return decide_reset(record, now);
    if (is_asleep(record))
        return decide_asleep(record);
    if (is_idle(record, now))
        return tell(record, PHASE_IDLE, REASON_IDLE_TIMEOUT, NULL);
    return decide_awake(record, now);
}

/* Only a reset that is pending makes its pod, and one that is new then sleeps. */
struct wanted_status decide_refused(enum step step, enum phase phase, enum reason reason)
{
    bool reset = step == STEP_CREATE_RESET_POD;

    if (phase == PHASE_IDLE || (reset && phase == PHASE_NEW))
        return (struct wanted_status){ .phase = PHASE_IDLE, .reason = reset ? REASON_RESET_FAILED : reason };
    return (struct wanted_status){ .phase = PHASE_ERROR, .reason = reason };
}
