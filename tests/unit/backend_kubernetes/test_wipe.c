/* Pods that empty homes and are in the way: what is done about them, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/clock.h"
#include "stub_api.h"

#define PODS "/api/v1/namespaces/ns/pods"
#define PENDING "{\"phase\":\"Pending\"}"
#define RUNNING "{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"wipe\",\"state\":{\"running\":{}}}]}"
#define NO_IMAGE "{\"phase\":\"Pending\",\"containerStatuses\":[{\"name\":\"wipe\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\"}}}]}"
#define NO_NODE "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"m\"}]}"
#define ENDED "{\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\"}"
#define DONE "{\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"wipe\",\"state\":{\"terminated\":{\"exitCode\":0}}}]}"

static const struct terminal_key alice = { (char *)"alice", (char *)"default", (char *)"default" };
static struct settings settings = { .kubernetes_namespace = (char *)"ns", .kubernetes_address = (char *)"pod", .kubernetes_unschedulable_s = 15,
                                    .kubernetes_storage_mode = (char *)"per-user", .image = (char *)"i:1", .idle_cleanup_timeout_s = 120 };
static struct stub_api api;
static struct kubernetes *k;
static char name[TERMINAL_NAME_SIZE], wipe_name[OBJECT_NAME_SIZE];
static json_t *there;                   /* what the stub has of the wipe pod; under its lock */

static void set_seconds(int64_t seconds) { clock_fake_set(seconds * 1000000, 0); }

static json_t *wipe_pod(const char *pod_name, const char *uid, const char *status)
{
    json_t *metadata = terminal_metadata(&alice, "ns", pod_name, pod_name, NULL);

    json_object_set_new(metadata, "uid", json_string(uid));
    json_object_set_new(json_object_get(metadata, "labels"), LABEL_WIPE, json_string("true"));
    return json_pack("{s:o, s:{s:s}, s:o}", "metadata", metadata, "spec", "restartPolicy", "Never", "status", json_loads(status, 0, NULL));
}

static void tell(const char *pod_name, const char *uid, const char *status, bool deleted)
{
    cleanup_json json_t *pod = wipe_pod(pod_name, uid, status);

    picture_handler.object(&k->listeners[KIND_PODS], pod, deleted);
}

/* A namespace with one bound claim and at most one wipe pod. A new one is done as soon as it is made. */
static const char *answer(struct stub_api *stub, const char *call, const char *body, int *status)
{
    static char text[8192];
    const char *object = "{}";

    *status = 200;
    if (str_starts_with(str_from(call), STR_LITERAL("GET /api/v1/namespaces/ns/persistentvolumeclaims/"))) {
        cleanup_json json_t *metadata = terminal_metadata(&alice, "ns", name, name, NULL);
        cleanup_json json_t *claim = json_pack("{s:O, s:{s:s}}", "metadata", metadata, "status", "phase", "Bound");
        cleanup_free char *written = json_write(claim);
        (void)snprintf(text, sizeof(text), "%s", written);
        return text;
    }
    if (strcmp(call, "POST " PODS) == 0 && !there) {
        *status = 201;
        there = wipe_pod(wipe_name, "new", DONE);
    } else if (strcmp(call, "POST " PODS) == 0) {
        *status = 409;
        return "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"message\":\"exists\"}";
    }
    if (str_starts_with(str_from(call), STR_LITERAL("DELETE " PODS))) {
        json_decref(there);
        there = NULL;
    } else if (there) {
        cleanup_free char *written = json_write(there);
        (void)snprintf(text, sizeof(text), "%s", written);
        object = text;
    } else {
        *status = 404;
    }
    return object;
}

static int begin(void **state)
{
    set_seconds(1000);
    api = (struct stub_api){ .answer = answer };
    stub_start(&api);
    k = xcalloc(1, sizeof(*k));
    k->settings = &settings;
    k->namespace = "ns";
    k->client = stub_client(&api, NULL);
    picture_init(k);
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        k->listeners[kind].synced = true;
    terminal_name(&alice, NAME_PREFIX, name);
    (void)snprintf(wipe_name, sizeof(wipe_name), "%s-wipe", name);
    there = NULL;
    return 0;
}

static int end(void **state)
{
    kube_client_free(k->client);
    picture_free(k);
    free(k);
    stub_stop(&api);
    json_decref(there);
    clock_fake_set(-1, -1);
    return 0;
}

/* --- the keeper ---------------------------------------------------------------------------------------------- */

static void run_keeper_until(const char *one_call, const char *other_call)
{
    pthread_t keeper = thread_start("kube-keeper", keeper_run, k);

    while (!stub_was_called(&api, one_call) || !stub_was_called(&api, other_call))
        usleep(10000);
    atomic_store(&k->stopping, true);
    pthread_mutex_lock(&k->lock);
    pthread_cond_broadcast(&k->keeper_wakes);
    pthread_mutex_unlock(&k->lock);
    pthread_join(keeper, NULL);
}

/* The time limit of a pod does not run while no node has it. */
static void one_that_is_there_too_long_goes_whatever_it_does(void **state)
{
    tell("old-pending", "u1", NO_NODE, false);
    tell("old-running", "u2", RUNNING, false);
    set_seconds(1000 + 120 + 59);
    tell("young-running", "u3", RUNNING, false);
    tell("young-pending", "u4", NO_NODE, false);
    set_seconds(1000 + 120 + 60);
    run_keeper_until("DELETE " PODS "/old-pending", "DELETE " PODS "/old-running");
    assert_false(stub_was_called(&api, "DELETE " PODS "/young"));
}

/* --- the next wipe ------------------------------------------------------------------------------------------- */

static void *see_the_new_one(void *unused)
{
    while (!stub_was_called(&api, "DELETE " PODS))
        usleep(10000);
    tell(wipe_name, "old", "{}", true);
    tell(wipe_name, "new", DONE, false);
    return NULL;
}

static void a_failed_or_stuck_one_is_replaced(void **state)
{
    static const struct { const char *what, *status; int64_t age_s; } rows[] = {
        { "cannot get its image", NO_IMAGE, 0 }, { "ended badly", ENDED, 0 }, { "ended well", DONE, 0 }, { "finds no node", NO_NODE, 15 },
        { "is pending for longer than anybody waits", PENDING, 180 }, { "runs for longer than anybody waits", RUNNING, 180 },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        if (i > 0)
            begin(NULL);
        there = wipe_pod(wipe_name, "old", rows[i].status);
        tell(wipe_name, "old", rows[i].status, false);
        set_seconds(1000 + rows[i].age_s);
        pthread_t watch = thread_start("watch", see_the_new_one, NULL);
        int result = kubernetes_wipe(k, &(struct terminal_ref){ .key = &alice, .name = name }, &err);
        if (result < 0)
            fail_msg("%s: %s", rows[i].what, err.text);
        pthread_join(watch, NULL);
        if (i + 1 < COUNT_OF(rows))
            end(NULL);
    }
}

static void *let_time_pass(void *unused)
{
    while (!stub_was_called(&api, "GET " PODS))
        usleep(10000);
    set_seconds(1000 + 14 + 120);
    return NULL;
}

static void one_that_may_still_do_it_is_waited_for(void **state)
{
    static const char *const rows[] = { PENDING, RUNNING, NO_NODE };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        if (i > 0)
            begin(NULL);
        there = wipe_pod(wipe_name, "old", rows[i]);
        tell(wipe_name, "old", rows[i], false);
        set_seconds(1000 + 14);
        pthread_t clock = thread_start("clock", let_time_pass, NULL);
        assert_int_equal(kubernetes_wipe(k, &(struct terminal_ref){ .key = &alice, .name = name }, &err), -1);
        assert_int_equal(err.class, ERR_TIMEOUT);
        assert_false(stub_was_called(&api, "DELETE "));
        pthread_join(clock, NULL);
        if (i + 1 < COUNT_OF(rows))
            end(NULL);
    }
}

static void *take_away(void *unused)
{
    while (!stub_was_called(&api, "POST " PODS))
        usleep(10000);
    tell(wipe_name, "new", RUNNING, false);
    tell(wipe_name, "new", RUNNING, true);
    set_seconds(1000 + 120);
    return NULL;
}

static void who_waits_for_one_that_was_removed_is_told_that_it_failed(void **state)
{
    struct error err = { 0 };
    pthread_t other = thread_start("other", take_away, NULL);

    assert_int_equal(kubernetes_wipe(k, &(struct terminal_ref){ .key = &alice, .name = name }, &err), -1);
    pthread_join(other, NULL);
    /* Told at once when the picture had it, else when the time is over. */
    assert_true(err.class == ERR_UNAVAILABLE || err.class == ERR_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_is_there_too_long_goes_whatever_it_does, begin, end),
        cmocka_unit_test_setup_teardown(a_failed_or_stuck_one_is_replaced, begin, end),
        cmocka_unit_test_setup_teardown(one_that_may_still_do_it_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(who_waits_for_one_that_was_removed_is_told_that_it_failed, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
