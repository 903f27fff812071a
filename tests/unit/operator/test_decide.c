/* What the operator does next, by what it sees: a row is a situation and the step that follows from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "operator/decide.h"

#define MINUTE_US 60000000LL
#define NOW_US (1000 * MINUTE_US)

static const struct child owned = { .present = true, .uid = "child", .owner_uid = "cr" };
static const struct child of_earlier = { .present = true, .uid = "child", .owner_uid = "other" };
static const struct child ending = { .present = true, .uid = "child", .owner_uid = "cr", .deleting = true };
static const struct child unowned = { .present = true, .uid = "child" };

static const struct moment now = { .wall_us = NOW_US, .monotonic_ms = 100000, .may_idle = true, .unschedulable_s = 10 };

/* A terminal with everything in place. */
static struct record running(void)
{
    struct record record = {
        .cr = { .present = true, .uid = "cr" }, .has_finalizer = true, .spec_hash = "1-aa", .persistent = true, .user_id = (char *)"u",
        .idle_timeout_us = 30 * MINUTE_US, .phase = PHASE_RUNNING, .reason = REASON_POD_READY, .condition_ready = true,
        .condition_since_us = NOW_US - MINUTE_US, .last_activity_us = NOW_US - MINUTE_US,
        .secret = owned, .service = owned, .service_is_right = true, .pvc = unowned, .pvc_user = (char *)"u", .key_hash = "k",
        .pod = { .child = owned, .ready = true, .started = true, .spec_hash = "1-aa", .key_hash = "k" },
    };
    return record;
}

/* One that was made just now. */
static struct record fresh(void)
{
    return (struct record){ .cr = { .present = true, .uid = "cr" }, .has_finalizer = true, .spec_hash = "1-aa", .persistent = true,
                            .user_id = (char *)"u", .idle_timeout_us = 30 * MINUTE_US };
}

static struct record asleep(void)
{
    struct record record = running();
    record.phase = PHASE_IDLE;
    record.reason = REASON_IDLE_TIMEOUT;
    record.condition_ready = false;
    record.pod = (struct pod){ 0 };
    return record;
}

#define CASE(...) { __VA_ARGS__ }

struct row {
    const char *name;
    struct record (*base)(void);
    void (*change)(struct record *record);
    enum step step;
    enum phase phase;           /* of STEP_WRITE_STATUS */
    enum reason reason;
};

#define CHANGE(name, ...) static void name(struct record *r) { __VA_ARGS__ }

CHANGE(nothing, (void)r;)
CHANGE(no_finalizer, r->has_finalizer = false;)
CHANGE(has_claim, r->pvc = unowned; r->pvc_user = (char *)"u";)
CHANGE(has_unnamed_claim, r->pvc = unowned;)
CHANGE(has_labelled_claim, r->pvc = unowned; r->pvc_user_label = (char *)"u";)
CHANGE(has_claim_with_hash, r->pvc = unowned; r->pvc_user_label = (char *)"0bfe935e70c3";)
CHANGE(has_claim_of_odd_user, r->pvc = unowned; r->user_id = (char *)"u@x"; r->pvc_user_label = (char *)"h-4ab253d1c21cbc8d35f9257716a521d1932542a0";)
CHANGE(has_claim_labelled_for_another, r->pvc = unowned; r->pvc_user_label = (char *)"v";)
CHANGE(has_released_claim, has_claim(r); r->released_us = 1;)
CHANGE(has_foreign_claim, r->pvc = unowned; r->pvc_user = (char *)"v";)
CHANGE(has_ending_claim, has_claim(r); r->pvc.deleting = true;)
CHANGE(has_secret, has_claim(r); r->secret = owned; memcpy(r->key_hash, "k", 2);)
CHANGE(has_secret_of_earlier, has_claim(r); r->secret = of_earlier; memcpy(r->key_hash, "k", 2);)
CHANGE(has_empty_secret, has_claim(r); r->secret = owned;)
CHANGE(has_ending_secret, has_secret(r); r->secret.deleting = true;)
CHANGE(has_pod, has_secret(r); r->pod = (struct pod){ .child = owned, .spec_hash = "1-aa", .key_hash = "k" };)
CHANGE(has_all, has_pod(r); r->service = owned; r->service_is_right = true;)
CHANGE(not_persistent, r->persistent = false;)
CHANGE(shared, r->shared = true;)
CHANGE(delayed, has_secret(r); r->create_not_before_ms = now.monotonic_ms + 5000;)

CHANGE(pod_gone, r->pod = (struct pod){ 0 };)
CHANGE(pod_ending, r->pod.child.deleting = true; r->pod.ready = false;)
CHANGE(pod_evicted, r->pod.ended = true; r->pod.ready = false;)
CHANGE(pod_of_earlier, r->pod.child = of_earlier;)
CHANGE(pod_of_other_spec, memcpy(r->pod.spec_hash, "1-bb", 5);)
CHANGE(pod_of_other_rules, memcpy(r->pod.spec_hash, "0-bb", 5);)
CHANGE(pod_of_original, r->pod.spec_hash[0] = r->pod.key_hash[0] = 0;)
CHANGE(pod_of_other_key, memcpy(r->pod.key_hash, "x", 2);)
CHANGE(pod_not_ready, r->pod.ready = false;)
CHANGE(pod_not_started, r->pod.ready = r->pod.started = false;)
CHANGE(pod_cannot_pull, r->pod.ready = r->pod.started = false; r->pod.failure = REASON_IMAGE_PULL_FAILED; r->pod.message = (char *)"no";)
CHANGE(pod_just_unschedulable, pod_not_started(r); r->pod.unschedulable_since_us = NOW_US - 1000000; r->pod.message = (char *)"no";)
CHANGE(pod_long_unschedulable, pod_not_started(r); r->pod.unschedulable_since_us = NOW_US - 11000000; r->pod.message = (char *)"no";)
CHANGE(boots, has_all(r); r->phase = PHASE_PROVISIONING; r->reason = REASON_PROVISIONING; r->pod.started = true;)
CHANGE(boots_shortly, boots(r); r->pod.started_us = NOW_US - 1000000;)
CHANGE(boots_long, boots(r); r->pod.started_us = NOW_US - 11000000;)
CHANGE(secret_gone, r->secret = (struct child){ 0 }; r->key_hash[0] = 0;)
CHANGE(service_gone, r->service = (struct child){ 0 };)
CHANGE(service_edited, r->service_is_right = false;)
CHANGE(service_of_earlier, r->service = of_earlier;)
CHANGE(claim_gone, r->pvc = (struct child){ 0 };)
CHANGE(idle_long, r->last_activity_us = r->condition_since_us = NOW_US - 31 * MINUTE_US;)
CHANGE(idle_but_ready_since_shortly, r->last_activity_us = NOW_US - 31 * MINUTE_US;)
CHANGE(idle_never, idle_long(r); r->idle_timeout_us = 0;)
CHANGE(woken, r->phase = PHASE_PENDING; pod_gone(r);)
CHANGE(no_activity_told, r->last_activity_us = 0;)

CHANGE(pod_left, r->pod = (struct pod){ .child = owned, .ready = true, .started = true };)
CHANGE(told_idle_only, r->reason = REASON_POD_READY; r->condition_ready = true;)
CHANGE(asks_reset, r->reset_wanted = (char *)"t";)
CHANGE(had_reset, r->reset_wanted = (char *)"t"; r->reset_done = (char *)"t";)
CHANGE(reset_without_home, asks_reset(r); r->pvc = (struct child){ 0 };)
CHANGE(reset_of_foreign_claim, asks_reset(r); r->pvc_user = (char *)"v";)
CHANGE(reset_of_unnamed_claim, asks_reset(r); r->pvc_user = NULL;)
CHANGE(reset_runs, asks_reset(r); r->reset_pod = (struct pod){ .child = owned, .started = true };)
CHANGE(reset_done, asks_reset(r); r->reset_pod = (struct pod){ .child = owned, .ended = true, .succeeded = true };)
CHANGE(reset_failed, asks_reset(r); r->reset_pod = (struct pod){ .child = owned, .ended = true, .message = (char *)"no" };)
CHANGE(reset_failed_told, reset_failed(r); r->reason = REASON_RESET_FAILED; r->status_message = (char *)"no";)
CHANGE(reset_cannot_pull, reset_runs(r); r->reset_pod.failure = REASON_IMAGE_PULL_FAILED; r->reset_pod.message = (char *)"no";)
CHANGE(reset_just_unschedulable, reset_runs(r); r->reset_pod.unschedulable_since_us = NOW_US - 1000000; r->reset_pod.message = (char *)"no";)
CHANGE(reset_long_unschedulable, reset_just_unschedulable(r); r->reset_pod.unschedulable_since_us = NOW_US - 11000000;)
CHANGE(reset_of_other_spec, reset_runs(r); memcpy(r->reset_pod.spec_hash, "1-bb", 5);)
CHANGE(reset_of_other_release, reset_runs(r); r->reset_pod.spec_hash[0] = 0;)
CHANGE(reset_pod_left, had_reset(r); r->reset_pod = (struct pod){ .child = owned, .ended = true, .succeeded = true }; r->phase = PHASE_PENDING;)
CHANGE(reset_pod_ending, reset_pod_left(r); r->reset_pod.child.deleting = true;)

CHANGE(goes, r->cr.deleting = true;)
CHANGE(goes_pod_ending, goes(r); r->pod.child = ending;)
CHANGE(goes_no_service, goes_pod_ending(r); r->service = (struct child){ 0 };)
CHANGE(goes_no_secret, goes_no_service(r); r->secret = (struct child){ 0 };)
CHANGE(goes_beside_foreign_claim, goes_no_secret(r); r->pvc_user = NULL; r->pvc_user_label = (char *)"v";)
CHANGE(goes_released, goes_no_secret(r); r->released_us = 1;)
CHANGE(goes_without_finalizer, goes(r); r->has_finalizer = false;)
CHANGE(goes_with_objects_of_others, goes(r); r->pod.child = of_earlier; r->service = r->secret = of_earlier; r->released_us = 1;)
CHANGE(is_gone, r->cr = (struct child){ 0 };)
CHANGE(is_gone_never_claimed, is_gone(r); r->pvc_user = NULL; r->pvc_user_label = (char *)"u";)
CHANGE(is_gone_released, is_gone(r); r->released_us = 1;)

static const struct row rows[] = {
    CASE("a new resource gets its finalizer before anything", fresh, no_finalizer, STEP_ADD_FINALIZER),
    CASE("the home comes first", fresh, nothing, STEP_CREATE_PVC),
    CASE("then the key", fresh, has_claim, STEP_CREATE_SECRET),
    CASE("then the pod", fresh, has_secret, STEP_CREATE_POD),
    CASE("then the service", fresh, has_pod, STEP_CREATE_SERVICE),
    CASE("then it is told", fresh, has_all, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("that the guest boots is not worth a write at once", fresh, boots_shortly, STEP_NONE),
    CASE("a guest that boots for long is told", fresh, boots_long, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_POD_NOT_READY),
    CASE("no home where none is wanted", fresh, not_persistent, STEP_CREATE_SECRET),
    CASE("no home of its own on a shared volume", fresh, shared, STEP_CREATE_SECRET),
    CASE("a home of the original is claimed", fresh, has_labelled_claim, STEP_CLAIM_PVC),
    CASE("also when its label holds the short hash", fresh, has_claim_with_hash, STEP_CLAIM_PVC),
    CASE("or our hash of what is no label value", fresh, has_claim_of_odd_user, STEP_CLAIM_PVC),
    CASE("one that is labelled for another user is not", fresh, has_claim_labelled_for_another, STEP_WRITE_STATUS, PHASE_ERROR, REASON_NAME_TAKEN),
    CASE("nor one that does not say whose it is", fresh, has_unnamed_claim, STEP_WRITE_STATUS, PHASE_ERROR, REASON_NAME_TAKEN),
    CASE("a released home is claimed again", fresh, has_released_claim, STEP_CLAIM_PVC),
    CASE("another user's home is not mounted", fresh, has_foreign_claim, STEP_WRITE_STATUS, PHASE_ERROR, REASON_NAME_TAKEN),
    CASE("a home that is being deleted is waited for", fresh, has_ending_claim, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("an earlier terminal's key is not used", fresh, has_secret_of_earlier, STEP_DELETE_SECRET),
    CASE("an empty secret is replaced", fresh, has_empty_secret, STEP_DELETE_SECRET),
    CASE("no pod for a secret that goes", fresh, has_ending_secret, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("a refused pod waits for its time", fresh, delayed, STEP_NONE),

    CASE("nothing to do for one that runs", running, nothing, STEP_NONE),
    CASE("a deleted pod comes back", running, pod_gone, STEP_CREATE_POD),
    CASE("a pod that ends is waited for", running, pod_ending, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("an evicted pod is cleared away", running, pod_evicted, STEP_DELETE_POD),
    CASE("an earlier terminal's pod goes", running, pod_of_earlier, STEP_DELETE_POD),
    CASE("an edited spec replaces the pod", running, pod_of_other_spec, STEP_DELETE_POD),
    CASE("a pod of another release's rules stays", running, pod_of_other_rules, STEP_NONE),
    CASE("the original's pod stays", running, pod_of_original, STEP_NONE),
    CASE("a new key replaces the pod", running, pod_of_other_key, STEP_DELETE_POD),
    CASE("a deleted key is made anew", running, secret_gone, STEP_CREATE_SECRET),
    CASE("a deleted service comes back", running, service_gone, STEP_CREATE_SERVICE),
    CASE("an edited service is put right", running, service_edited, STEP_REPAIR_SERVICE),
    CASE("an earlier terminal's service goes", running, service_of_earlier, STEP_DELETE_SERVICE),
    CASE("a lost home is made anew", running, claim_gone, STEP_CREATE_PVC),
    CASE("a guest that is not ready", running, pod_not_ready, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_POD_NOT_READY),
    CASE("a pod that has not started", running, pod_not_started, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("an image that cannot be pulled", running, pod_cannot_pull, STEP_WRITE_STATUS, PHASE_ERROR, REASON_IMAGE_PULL_FAILED),
    CASE("unschedulable for a moment is no error", running, pod_just_unschedulable, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),
    CASE("unschedulable for long is", running, pod_long_unschedulable, STEP_WRITE_STATUS, PHASE_ERROR, REASON_UNSCHEDULABLE),
    CASE("first activity is told", running, no_activity_told, STEP_WRITE_STATUS, PHASE_RUNNING, REASON_POD_READY),

    CASE("idle is told before the pod goes", running, idle_long, STEP_WRITE_STATUS, PHASE_IDLE, REASON_IDLE_TIMEOUT),
    CASE("a timeout of 0 is never", running, idle_never, STEP_NONE),
    CASE("old activity does not count before the start", running, idle_but_ready_since_shortly, STEP_NONE),
    CASE("an idle one's pod goes", asleep, pod_left, STEP_DELETE_POD),
    CASE("an idle one rests", asleep, nothing, STEP_NONE),
    CASE("an idle one is not repaired", asleep, service_gone, STEP_NONE),
    CASE("who only wrote the phase is completed", asleep, told_idle_only, STEP_WRITE_STATUS, PHASE_IDLE, REASON_IDLE_TIMEOUT),
    CASE("a woken one gets a pod", asleep, woken, STEP_CREATE_POD),

    CASE("a reset stops the pod", running, asks_reset, STEP_DELETE_POD),
    CASE("then empties the home", asleep, asks_reset, STEP_CREATE_RESET_POD),
    CASE("a new resource that asks for a reset stays asleep", fresh, reset_without_home, STEP_WRITE_STATUS, PHASE_IDLE, REASON_IDLE_TIMEOUT),
    CASE("what is not there need not be emptied", asleep, reset_without_home, STEP_WRITE_STATUS, PHASE_IDLE, REASON_IDLE_TIMEOUT),
    CASE("another user's home is not emptied", asleep, reset_of_foreign_claim, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESET_FAILED),
    CASE("nor one that does not say whose it is", asleep, reset_of_unnamed_claim, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESET_FAILED),
    CASE("a reset that runs is told", asleep, reset_runs, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESETTING),
    CASE("a reset whose image cannot be pulled is told", asleep, reset_cannot_pull, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESET_FAILED),
    CASE("a reset that no node takes for a moment is no fault", asleep, reset_just_unschedulable, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESETTING),
    CASE("for long it is", asleep, reset_long_unschedulable, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESET_FAILED),
    CASE("an edited spec replaces the reset's pod", asleep, reset_of_other_spec, STEP_DELETE_RESET_POD),
    CASE("a reset's pod of another release stays", asleep, reset_of_other_release, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESETTING),
    CASE("a reset that is done is told", asleep, reset_done, STEP_WRITE_STATUS, PHASE_IDLE, REASON_IDLE_TIMEOUT),
    CASE("a reset is done once", asleep, had_reset, STEP_NONE),
    CASE("a failed reset is told", asleep, reset_failed, STEP_WRITE_STATUS, PHASE_IDLE, REASON_RESET_FAILED),
    CASE("and repeated", asleep, reset_failed_told, STEP_DELETE_RESET_POD),
    CASE("the reset's pod goes before the guest's comes", asleep, reset_pod_left, STEP_DELETE_RESET_POD),
    CASE("and is waited for", asleep, reset_pod_ending, STEP_WRITE_STATUS, PHASE_PROVISIONING, REASON_PROVISIONING),

    CASE("a deleted one: first the pod", running, goes, STEP_DELETE_POD),
    CASE("then the service, without waiting for the pod", running, goes_pod_ending, STEP_DELETE_SERVICE),
    CASE("then the key", running, goes_no_service, STEP_DELETE_SECRET),
    CASE("the home is only released", running, goes_no_secret, STEP_RELEASE_PVC),
    CASE("another user's is not", running, goes_beside_foreign_claim, STEP_REMOVE_FINALIZER),
    CASE("then it may go", running, goes_released, STEP_REMOVE_FINALIZER),
    CASE("without our finalizer it is not ours any more", running, goes_without_finalizer, STEP_NONE),
    CASE("objects of others are not deleted", running, goes_with_objects_of_others, STEP_REMOVE_FINALIZER),
    CASE("a home whose resource has gone unseen is released", running, is_gone, STEP_RELEASE_PVC),
    CASE("one that was never claimed is not", running, is_gone_never_claimed, STEP_NONE),
    CASE("and then left alone", running, is_gone_released, STEP_NONE),
};

static void steps_follow_from_what_is_seen(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct record record = rows[i].base();
        rows[i].change(&record);
        struct decision decision = decide(&record, &now);
        if (decision.step != rows[i].step || (decision.step == STEP_WRITE_STATUS &&
            (decision.status.phase != rows[i].phase || decision.status.reason != rows[i].reason)))
            fail_msg("%s: step %d (phase %s, reason %s)", rows[i].name, decision.step, phase_name(decision.status.phase),
                     reason_name(decision.status.reason));
    }
}

static void idle_waits_until_activity_could_be_reported(void **state)
{
    struct record record = running();
    idle_long(&record);
    struct moment early = now;
    early.may_idle = false;
    assert_int_equal(decide(&record, &early).step, STEP_NONE);
}

static void what_only_time_changes_is_looked_at_again(void **state)
{
    struct record record = fresh();
    delayed(&record);
    assert_int_equal(decide(&record, &now).look_again_ms, 5000);
    record = running();
    pod_just_unschedulable(&record);
    assert_in_range(decide(&record, &now).look_again_ms, 8000, 9100);
}

static void a_status_that_says_it_already_is_not_written(void **state)
{
    struct record record = running();
    pod_cannot_pull(&record);
    record.phase = PHASE_ERROR;
    record.reason = REASON_IMAGE_PULL_FAILED;
    record.condition_ready = false;
    record.status_message = (char *)"no";
    assert_int_equal(decide(&record, &now).step, STEP_NONE);
    record.status_message = (char *)"other";
    assert_int_equal(decide(&record, &now).step, STEP_WRITE_STATUS);
}

static void what_is_refused_is_told_and_wakes_nothing(void **state)
{
    static const struct { const char *name; enum step step; enum phase phase, told; enum reason reason; } cases[] = {
        { "a pod", STEP_CREATE_POD, PHASE_PENDING, PHASE_ERROR, REASON_QUOTA_EXCEEDED },
        { "a new one's pod", STEP_CREATE_POD, PHASE_NEW, PHASE_ERROR, REASON_QUOTA_EXCEEDED },
        { "something of one that sleeps", STEP_DELETE_POD, PHASE_IDLE, PHASE_IDLE, REASON_QUOTA_EXCEEDED },
        { "the reset of one that sleeps", STEP_CREATE_RESET_POD, PHASE_IDLE, PHASE_IDLE, REASON_RESET_FAILED },
        { "the reset that a new one was made for", STEP_CREATE_RESET_POD, PHASE_NEW, PHASE_IDLE, REASON_RESET_FAILED },
        { "the reset of one that is to start", STEP_CREATE_RESET_POD, PHASE_PENDING, PHASE_ERROR, REASON_QUOTA_EXCEEDED },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct wanted_status wanted = decide_refused(cases[i].step, cases[i].phase, REASON_QUOTA_EXCEEDED);
        if (wanted.phase != cases[i].told || wanted.reason != cases[i].reason || wanted.finish_reset)
            fail_msg("%s: phase %s, reason %s", cases[i].name, phase_name(wanted.phase), reason_name(wanted.reason));
    }
}

static void lastreset_is_written_with_the_end_of_a_reset(void **state)
{
    struct record record = asleep();
    reset_done(&record);
    assert_true(decide(&record, &now).status.finish_reset);
    record = running();
    reset_done(&record);
    pod_gone(&record);
    struct decision decision = decide(&record, &now);
    assert_true(decision.status.finish_reset);
    assert_int_equal(decision.status.phase, PHASE_PROVISIONING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_from_what_is_seen),
        cmocka_unit_test(idle_waits_until_activity_could_be_reported),
        cmocka_unit_test(what_only_time_changes_is_looked_at_again),
        cmocka_unit_test(a_status_that_says_it_already_is_not_written),
        cmocka_unit_test(what_is_refused_is_told_and_wakes_nothing),
        cmocka_unit_test(lastreset_is_written_with_the_end_of_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
