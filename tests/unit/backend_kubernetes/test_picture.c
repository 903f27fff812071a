/* From events of three kinds to observations: what the fleet is told, and when. No API server is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "backend/kubernetes/parts.h"
#include "base/clock.h"

#define SECOND_US 1000000ll

struct recorder {
    struct observer observer;
    unsigned count, listings;
    enum observed_phase phase;
    enum error_class failure;
    char id[OBJECT_NAME_SIZE], key[64], host[256];
    bool ready;
};

static void record(struct observer *observer, const struct observation *seen)
{
    struct recorder *recorder = CONTAINER_OF(observer, struct recorder, observer);

    recorder->count++;
    recorder->phase = seen->phase;
    recorder->failure = seen->failure;
    recorder->ready = seen->ready;
    (void)snprintf(recorder->id, sizeof(recorder->id), "%s", seen->instance_id ? seen->instance_id : "");
    (void)snprintf(recorder->key, sizeof(recorder->key), "%s", seen->guest_key ? seen->guest_key : "");
    (void)snprintf(recorder->host, sizeof(recorder->host), "%s", seen->endpoint.host);
}

static void record_begin(struct observer *observer) { (void)observer; }
static void record_end(struct observer *observer) { CONTAINER_OF(observer, struct recorder, observer)->listings++; }
static void record_reachable(struct observer *observer, const struct error *err) { (void)observer, (void)err; }

static const struct terminal_key alice = { (char *)"alice@example.org", (char *)"default", (char *)"default" };
static struct settings settings = { .kubernetes_namespace = (char *)"ns", .kubernetes_address = (char *)"pod", .kubernetes_unschedulable_s = 15 };
static struct recorder recorder;
static struct kubernetes *k;

static int begin(void **state)
{
    clock_fake_set(100 * SECOND_US, 0);
    recorder = (struct recorder){ .observer = { record, record_begin, record_end, record_reachable } };
    settings.kubernetes_address = (char *)"pod";
    k = xcalloc(1, sizeof(*k));
    k->settings = &settings;
    k->namespace = "ns";
    k->observer = &recorder.observer;
    picture_init(k);
    return 0;
}

static int end(void **state)
{
    picture_free(k);
    free(k);
    clock_fake_set(-1, -1);
    return 0;
}

static void tell(enum kind kind, json_t *object, bool deleted)
{
    picture_handler.object(&k->listeners[kind], object, deleted);
    json_decref(object);
}

static json_t *object_of(const char *name, const char *uid, const char *version)
{
    json_t *metadata = terminal_metadata(&alice, "ns", name, "terminal-a", NULL);

    json_object_set_new(metadata, "uid", json_string(uid));
    json_object_set_new(metadata, "resourceVersion", json_string(version));
    return json_pack("{s:o}", "metadata", metadata);
}

/* `guest_key` NULL: the pod does not say which key it got, as the original's. */
static json_t *pod(const char *uid, const char *guest_key, const char *status)
{
    json_t *object = object_of("terminal-a", uid, "1");
    char hash[13];

    if (guest_key) {
        key_hash12(guest_key, hash);
        json_object_set_new(json_object_get(json_object_get(object, "metadata"), "annotations"), ANNOTATION_KEY_HASH, json_string(hash));
    }
    json_object_set_new(object, "status", json_loads(status, 0, NULL));
    return object;
}

static json_t *secret(const char *uid, const char *data)
{
    json_t *object = object_of("terminal-a-apikey", uid, "1");

    json_object_set_new(object, "data", json_pack("{s:s}", "api-key", data));
    return object;
}

#define RUNNING "{\"phase\":\"Running\",\"podIP\":\"10.0.0.7\",\"containerStatuses\":[{\"name\":\"open-terminal\",\"ready\":true,\"restartCount\":0,\"state\":{\"running\":{}}}]}"
#define RESTARTED "{\"phase\":\"Running\",\"podIP\":\"10.0.0.7\",\"containerStatuses\":[{\"name\":\"open-terminal\",\"ready\":false,\"restartCount\":1,\"state\":{\"running\":{}}}]}"
#define NO_NODE "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"m\"}]}"
#define KEY "sk-1"
#define KEY_BASE64 "c2stMQ=="
#define OTHER_BASE64 "c2stMg=="

static void a_running_guest_is_told_with_its_key(void **state)
{
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.key, KEY);
    assert_string_equal(recorder.host, "10.0.0.7");
    assert_true(recorder.ready);
}

static void a_secret_may_come_after_its_pod(void **state)
{
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_STARTING);
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.key, KEY);
}

static void a_guest_whose_key_is_lost_has_to_be_replaced(void **state)
{
    tell(KIND_SECRETS, secret("s1", OTHER_BASE64), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_STARTING);
    clock_fake_set(106 * SECOND_US, 0);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_STOPPED);
}

static void the_originals_pod_has_the_key_of_its_secret(void **state)
{
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p1", NULL, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.key, KEY);
}

static void a_running_guest_outlives_its_secret(void **state)
{
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), true);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.key, KEY);
    assert_true(k->keeper_needed);
}

static void a_restart_in_place_is_another_instance(void **state)
{
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_string_equal(recorder.id, "p1");
    tell(KIND_PODS, pod("p1", KEY, RESTARTED), false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.id, "p1#1");
    assert_string_equal(recorder.key, KEY);
}

static void no_node_is_a_failure_only_after_a_while(void **state)
{
    tell(KIND_PODS, pod("p1", KEY, NO_NODE), false);
    assert_int_equal(recorder.phase, OBSERVED_STARTING);
    assert_int_equal(recorder.failure, ERR_NONE);
    clock_fake_set(116 * SECOND_US, 0);
    tell(KIND_PODS, pod("p1", KEY, NO_NODE), false);
    assert_int_equal(recorder.phase, OBSERVED_FAILED);
    assert_int_equal(recorder.failure, ERR_UNSCHEDULABLE);
}

static void a_deleted_pod_is_absent(void **state)
{
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), true);
    assert_int_equal(recorder.phase, OBSERVED_ABSENT);
    assert_string_equal(recorder.id, "p1");
    assert_null(picture_pod(k, "terminal-a"));
}

static void the_end_of_an_older_pod_does_not_touch_the_newer(void **state)
{
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p2", KEY, RUNNING), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), true);
    assert_non_null(picture_pod(k, "terminal-a"));
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
}

static void a_new_pod_of_the_name_ends_the_old_one(void **state)
{
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    tell(KIND_PODS, pod("p2", KEY, "{}"), false);
    assert_string_equal(recorder.id, "p2");
    assert_int_equal(recorder.count, 3);
}

static void what_a_listing_does_not_show_is_gone(void **state)
{
    struct listener *pods = &k->listeners[KIND_PODS];

    picture_handler.listing_begin(pods);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    picture_handler.listing_end(pods);
    assert_int_equal(recorder.listings, 1);
    assert_non_null(picture_pod(k, "terminal-a"));
    picture_handler.listing_begin(pods);
    picture_handler.listing_end(pods);
    assert_int_equal(recorder.phase, OBSERVED_ABSENT);
    assert_null(picture_pod(k, "terminal-a"));
}

static void a_pod_that_empties_a_home_is_no_terminal(void **state)
{
    json_t *wipe = pod("w1", KEY, RUNNING);

    json_object_set_new(json_object_get(json_object_get(wipe, "metadata"), "labels"), LABEL_WIPE, json_string("true"));
    tell(KIND_PODS, wipe, false);
    assert_int_equal(recorder.count, 0);
    assert_true(picture_pod(k, "terminal-a")->is_wipe);
}

static void by_service_the_address_is_the_services(void **state)
{
    json_t *service = object_of("terminal-a", "v1", "1");

    settings.kubernetes_address = (char *)"service";
    json_object_set_new(service, "spec", json_pack("{s:s}", "clusterIP", "10.9.0.1"));
    tell(KIND_SECRETS, secret("s1", KEY_BASE64), false);
    tell(KIND_PODS, pod("p1", KEY, RUNNING), false);
    assert_int_equal(recorder.phase, OBSERVED_STARTING);
    tell(KIND_SERVICES, service, false);
    assert_int_equal(recorder.phase, OBSERVED_RUNNING);
    assert_string_equal(recorder.host, "10.9.0.1");
    assert_false(recorder.ready);
}

static void keys_of_secrets_are_read_strictly(void **state)
{
    static const struct { const char *data, *key; } rows[] = {
        { "c2stMQ==", "sk-1" }, { "c2stMTI=", "sk-12" }, { "c2stMTIz", "sk-123" }, { "", NULL }, { "!!!", NULL }, { "AAAA", NULL }, { "CgoK", NULL },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *object = secret("s", rows[i].data);
        cleanup_free char *key = secret_read_key(object);

        if (rows[i].key ? !key || strcmp(key, rows[i].key) != 0 : key != NULL)
            fail_msg("%s: %s", rows[i].data, key ? key : "none");
    }
}

/* Each chat may have a terminal of its own: there is no end to their names. */
static void what_empties_shared_homes_is_kept_for_those_started_last(void **state)
{
    for (int i = 0; i <= CLEANERS_MAX; i++) {
        cleanup_free char *name = xasprintf("terminal-%d", i);
        cleanup_json json_t *cleaner = json_pack("{s:i}", "number", i);
        clock_fake_set((100 + i) * SECOND_US, 0);
        cleaner_note(k, name, cleaner);
        cleaner_note(k, "terminal-0", cleaner);         /* started again and again */
    }
    assert_int_equal(k->cleaners.count, CLEANERS_MAX);
    cleanup_free char *again = cleaner_noted(k, "terminal-0"), *last = cleaner_noted(k, "terminal-4096");
    assert_string_equal(again, "{\"number\":4096}");
    assert_string_equal(last, "{\"number\":4096}");
    assert_false(cleaner_is_noted(k, "terminal-1"));
    assert_true(cleaner_is_noted(k, "terminal-2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_running_guest_is_told_with_its_key, begin, end),
        cmocka_unit_test_setup_teardown(a_secret_may_come_after_its_pod, begin, end),
        cmocka_unit_test_setup_teardown(a_guest_whose_key_is_lost_has_to_be_replaced, begin, end),
        cmocka_unit_test_setup_teardown(the_originals_pod_has_the_key_of_its_secret, begin, end),
        cmocka_unit_test_setup_teardown(a_running_guest_outlives_its_secret, begin, end),
        cmocka_unit_test_setup_teardown(a_restart_in_place_is_another_instance, begin, end),
        cmocka_unit_test_setup_teardown(no_node_is_a_failure_only_after_a_while, begin, end),
        cmocka_unit_test_setup_teardown(a_deleted_pod_is_absent, begin, end),
        cmocka_unit_test_setup_teardown(the_end_of_an_older_pod_does_not_touch_the_newer, begin, end),
        cmocka_unit_test_setup_teardown(a_new_pod_of_the_name_ends_the_old_one, begin, end),
        cmocka_unit_test_setup_teardown(what_a_listing_does_not_show_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(a_pod_that_empties_a_home_is_no_terminal, begin, end),
        cmocka_unit_test_setup_teardown(by_service_the_address_is_the_services, begin, end),
        cmocka_unit_test_setup_teardown(keys_of_secrets_are_read_strictly, begin, end),
        cmocka_unit_test_setup_teardown(what_empties_shared_homes_is_kept_for_those_started_last, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
