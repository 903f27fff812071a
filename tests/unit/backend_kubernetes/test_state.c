/* From a pod's status to what the fleet is told (orchestrator.md §2.6, §4.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "backend/kubernetes/parts.h"

#define GUEST(state) "{\"status\":{\"phase\":\"Pending\",\"podIP\":\"10.0.0.1\",\"containerStatuses\":[{\"name\":\"open-terminal\",\"image\":\"i\"," state "}]}}"

#define CREATING(scheduled) "{\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"" scheduled \
    "\"}],\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}}]}}"

static void one_that_waits_for_its_image_is_known(void **unused)
{
    static const struct { const char *name, *pod; bool preparing; } rows[] = {
        { "on a node", CREATING("True"), true }, { "without a node", CREATING("False"), false }, { "fresh", "{}", false },
        { "running", GUEST("\"state\":{\"running\":{}}"), false },
        { "restarted", GUEST("\"restartCount\":1,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}"), false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *pod = json_read(str_from(rows[i].pod), NULL);
        struct pod_state state;
        pod_state_read(pod, false, &state);
        if (state.preparing != rows[i].preparing)
            fail_msg("%s", rows[i].name);
    }
}

static void states_of_pods(void **unused)
{
    static const struct {
        const char *name, *pod;
        bool was_ready;
        enum observed_phase phase;
        enum error_class failure;
        const char *text;
    } rows[] = {
        { "fresh", "{}", false, OBSERVED_STARTING, ERR_NONE, "" },
        { "creating", GUEST("\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}"), false, OBSERVED_STARTING, ERR_NONE, "" },
        { "running", GUEST("\"state\":{\"running\":{}}"), false, OBSERVED_RUNNING, ERR_NONE, "" },
        { "running, no address yet", "{\"status\":{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"running\":{}}}]}}", false,
          OBSERVED_STARTING, ERR_NONE, "" },
        { "going", "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Running\"}}", false, OBSERVED_STOPPING, ERR_NONE, "" },
        { "pull fails", GUEST("\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"no such\"}}"), false, OBSERVED_FAILED,
          ERR_IMAGE_NOT_FOUND, "'i' cannot be pulled (ErrImagePull): no such" },
        { "pull back-off", GUEST("\"state\":{\"waiting\":{\"reason\":\"ImagePullBackOff\"}}"), false, OBSERVED_FAILED, ERR_IMAGE_NOT_FOUND, "ImagePullBackOff" },
        { "bad image name", GUEST("\"state\":{\"waiting\":{\"reason\":\"InvalidImageName\"}}"), false, OBSERVED_FAILED, ERR_IMAGE_NOT_FOUND, "InvalidImageName" },
        { "crash loop", GUEST("\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{\"terminated\":{\"exitCode\":1,\"reason\":\"Error\"}}"),
          true, OBSERVED_FAILED, ERR_GUEST_CRASHED, "CrashLoopBackOff): exited with code 1" },
        { "out of memory", GUEST("\"state\":{\"terminated\":{\"exitCode\":137,\"reason\":\"OOMKilled\"}}"), false, OBSERVED_FAILED, ERR_GUEST_CRASHED,
          "the guest was killed: out of memory" },
        { "ends while starting", GUEST("\"state\":{\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}}"), false, OBSERVED_FAILED,
          ERR_GUEST_CRASHED, "exited with code 0 while it was starting" },
        { "ends after it was ready", GUEST("\"state\":{\"terminated\":{\"exitCode\":139,\"reason\":\"Error\"}}"), true, OBSERVED_STARTING, ERR_NONE,
          "exited with code 139 (signal 11) and is started again" },
        { "bad configuration", GUEST("\"state\":{\"waiting\":{\"reason\":\"CreateContainerConfigError\",\"message\":\"configmap \\\"x\\\" not found\"}}"), false,
          OBSERVED_FAILED, ERR_INVALID_POLICY, "configmap" },
        { "the kubelet's own trouble", GUEST("\"state\":{\"waiting\":{\"reason\":\"CreateContainerConfigError\",\"message\":\"failed to sync secret cache: timed out"
          " waiting for the condition\"}}"), false, OBSERVED_STARTING, ERR_NONE, "" },
        { "Secret is gone", GUEST("\"state\":{\"waiting\":{\"reason\":\"CreateContainerConfigError\",\"message\":\"secret \\\"terminal-x-apikey\\\" not found\"}}"),
          false, OBSERVED_FAILED, ERR_UNAVAILABLE, "apikey" },
        { "sidecar cannot be pulled", "{\"status\":{\"containerStatuses\":[{\"name\":\"side\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\"}}},"
          "{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"PodInitializing\"}}}]}}", false, OBSERVED_FAILED, ERR_IMAGE_NOT_FOUND, "ErrImagePull" },
        { "init container crashes", "{\"status\":{\"initContainerStatuses\":[{\"name\":\"init\",\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}", false,
          OBSERVED_FAILED, ERR_GUEST_CRASHED, "'init' ends again and again" },
        { "evicted", "{\"status\":{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low on memory\"}}", true, OBSERVED_STOPPED, ERR_NO_CAPACITY,
          "Evicted: low on memory" },
        { "cleaner done", "{\"spec\":{\"restartPolicy\":\"Never\"},\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"wipe\",\"state\":"
          "{\"terminated\":{\"exitCode\":0}}}]}}", false, OBSERVED_STOPPED, ERR_NONE, "" },
        { "nonsense", "{\"status\":{\"phase\":3,\"podIP\":[],\"containerStatuses\":{\"a\":1},\"conditions\":\"x\"}}", false, OBSERVED_STARTING, ERR_NONE, "" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *pod = json_read(str_from(rows[i].pod), NULL);
        struct pod_state state;

        assert_non_null(pod);
        pod_state_read(pod, rows[i].was_ready, &state);
        if (state.phase != rows[i].phase || state.failure != rows[i].failure || !strstr(state.message, rows[i].text))
            fail_msg("%s: phase %d, %s: %s", rows[i].name, (int)state.phase, error_class_name(state.failure), state.message);
    }
}

static void a_pod_without_a_node_says_why(void **unused)
{
    static const struct { const char *message, *text; } rows[] = {
        { "0/3 nodes are available: 3 Insufficient memory.", "no node takes the pod (Unschedulable): 0/3" },
        { "pod has unbound immediate PersistentVolumeClaims", "the home's volume claim is not bound" },
        { "persistentvolumeclaim \\\"x\\\" not found", "the home's volume claim is not bound" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *text = xasprintf("{\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
                                            "\"reason\":\"Unschedulable\",\"message\":\"%s\"}]}}", rows[i].message);
        cleanup_json json_t *pod = json_read(str_from(text), NULL);
        struct pod_state state;

        pod_state_read(pod, false, &state);
        assert_true(state.unschedulable);
        assert_int_equal(state.phase, OBSERVED_STARTING);
        assert_int_equal(state.failure, ERR_UNSCHEDULABLE);
        assert_non_null(strstr(state.message, rows[i].text));
    }
}

static void a_long_message_is_cut_at_a_character(void **unused)
{
    cleanup_buf struct buf text = { 0 };
    struct pod_state state;

    buf_append_text(&text, "{\"status\":{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"");
    for (int i = 0; i < 500; i++)
        buf_append_text(&text, "\xe6\x97\xa5");
    buf_append_text(&text, "\"}}}]}}");
    cleanup_json json_t *pod = json_read(buf_str(&text), NULL);
    pod_state_read(pod, false, &state);
    assert_true(str_is_utf8(str_from(state.message)));
}

static void an_instance_is_a_pod_and_a_run(void **unused)
{
    char id[OBJECT_NAME_SIZE];

    instance_id_format("u-1", 0, id);
    assert_string_equal(id, "u-1");
    instance_id_format("u-1", 2, id);
    assert_string_equal(id, "u-1#2");
    cleanup_free char *uid = instance_id_uid(id);
    assert_string_equal(uid, "u-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_of_pods),
        cmocka_unit_test(one_that_waits_for_its_image_is_known),
        cmocka_unit_test(a_pod_without_a_node_says_why),
        cmocka_unit_test(a_long_message_is_cut_at_a_character),
        cmocka_unit_test(an_instance_is_a_pod_and_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
