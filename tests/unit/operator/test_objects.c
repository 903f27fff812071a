/* The objects that a resource is made into, and what is read from objects that come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "kubernetes/object.h"
#include "operator/child.h"
#include "operator/lease.h"
#include "operator/spec.h"

#define USER_HASH "4ab253d1c21c"         /* 12 digits of the SHA-256 of "u@x" */

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    if (!value)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static struct settings settings_of(void)
{
    return (struct settings){ .image = (char *)"service/image:1", .kubernetes_service_type = (char *)"ClusterIP", .start_timeout_s = 120 };
}

static json_t *pod_of(const char *spec_text, struct settings *settings, struct error *err)
{
    cleanup_json json_t *spec = parse(spec_text);
    const struct origin origin = { "ns", "t1", "uid-1", "openwebui.com/v1alpha1", spec, "1-aa", "kh", settings };
    return child_pod(&origin, err);
}

static const json_t *guest(const json_t *pod) { return json_array_get(kube_at(pod, "spec", "containers", NULL), 0); }

static const json_t *variable(const json_t *pod, const char *name)
{
    const json_t *variables = json_object_get(guest(pod), "env"), *entry;
    size_t index;
    json_array_foreach(variables, index, entry) {
        if (strcmp(json_text(entry, "name"), name) == 0)
            return entry;
    }
    return NULL;
}

static const char *value(const json_t *pod, const char *name) { return json_text(variable(pod, name), "value"); }

static void a_pod_holds_what_the_spec_says(void **state)
{
    struct settings settings = settings_of();
    cleanup_json json_t *pod = pod_of("{\"userId\":\"u@x\",\"image\":\"i:1\",\"env\":{\"A\":\"b\",\"OPEN_TERMINAL_API_KEY\":\"x\"},"
                                      "\"packages\":[\"a\",\"b\"],\"pipPackages\":[\"c\"],\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"128Mi\"}}}",
                                      &settings, NULL);
    assert_non_null(pod);
    assert_string_equal(kube_name(pod), "t1-pod");
    assert_string_equal(json_text(guest(pod), "image"), "i:1");
    assert_string_equal(value(pod, "A"), "b");
    assert_string_equal(value(pod, "OPEN_TERMINAL_PACKAGES"), "a b");
    assert_string_equal(value(pod, "OPEN_TERMINAL_PIP_PACKAGES"), "c");
    assert_string_equal(value(pod, "OPEN_TERMINAL_CPU_COUNT"), "0.5");
    assert_string_equal(value(pod, "OPEN_TERMINAL_MEMORY_BYTES"), "134217728");
    assert_null(value(pod, "OPEN_TERMINAL_API_KEY"));
    assert_string_equal(kube_text_at(variable(pod, "OPEN_TERMINAL_API_KEY"), "valueFrom", "secretKeyRef", "name", NULL), "t1-apikey");
    assert_string_equal(kube_text_at(guest(pod), "resources", "requests", "memory", NULL), "128Mi");       /* no more than the limit */
    assert_string_equal(kube_text_at(guest(pod), "resources", "requests", "cpu", NULL), "100m");
    assert_true(json_is_false(kube_at(pod, "spec", "automountServiceAccountToken", NULL)));
    assert_true(json_is_false(kube_at(pod, "spec", "enableServiceLinks", NULL)));
    assert_int_equal(json_integer_value(kube_at(pod, "spec", "securityContext", "fsGroup", NULL)), 1000);
    assert_string_equal(kube_text_at(json_array_get(kube_at(pod, "spec", "volumes", NULL), 0), "persistentVolumeClaim", "claimName", NULL), "t1-pvc");
    assert_non_null(json_object_get(guest(pod), "startupProbe"));
    assert_string_equal(kube_label(pod, "openwebui.com/terminal"), "t1");
    assert_string_equal(kube_label(pod, "app.kubernetes.io/instance"), "t1");
    assert_string_equal(kube_annotation(pod, ANNOTATION_USER_ID), "u@x");
    assert_true(kube_label_value_is_valid(kube_label(pod, "openwebui.com/user-id")));
    assert_string_equal(kube_annotation(pod, ANNOTATION_SPEC_HASH), "1-aa");
    const json_t *owner = json_array_get(kube_at(pod, "metadata", "ownerReferences", NULL), 0);
    assert_string_equal(json_text(owner, "uid"), "uid-1");
    assert_true(json_is_true(json_object_get(owner, "controller")));
}

static void a_template_lies_under_what_is_generated(void **state)
{
    struct settings settings = settings_of();
    cleanup_json json_t *pod = pod_of("{\"userId\":\"u\",\"podTemplate\":{\"metadata\":{\"name\":\"evil\",\"namespace\":\"kube-system\",\"labels\":{\"mine\":\"1\","
        "\"openwebui.com/terminal\":\"other\"},\"ownerReferences\":[]},\"spec\":{\"restartPolicy\":\"Never\",\"terminationGracePeriodSeconds\":60,"
        "\"automountServiceAccountToken\":true,\"containers\":[{\"name\":\"open-terminal\",\"image\":\"t:2\",\"env\":[{\"name\":\"B\",\"value\":\"c\"}]},"
        "{\"name\":\"side\",\"image\":\"s:1\"}]}}}", &settings, NULL);
    assert_non_null(pod);
    assert_string_equal(kube_name(pod), "t1-pod");
    assert_string_equal(kube_text_at(pod, "metadata", "namespace", NULL), "ns");
    assert_int_equal(json_array_size(kube_at(pod, "metadata", "ownerReferences", NULL)), 1);
    assert_string_equal(kube_label(pod, "mine"), "1");
    assert_string_equal(kube_label(pod, "openwebui.com/terminal"), "t1");
    assert_string_equal(kube_text_at(pod, "spec", "restartPolicy", NULL), "Always");
    assert_int_equal(json_integer_value(kube_at(pod, "spec", "terminationGracePeriodSeconds", NULL)), 60);
    assert_true(json_is_false(kube_at(pod, "spec", "automountServiceAccountToken", NULL)));
    assert_string_equal(json_text(guest(pod), "image"), "t:2");         /* the spec names none */
    assert_string_equal(value(pod, "B"), "c");
    assert_int_equal(json_array_size(kube_at(pod, "spec", "containers", NULL)), 2);
}

static void images_outside_the_list_are_refused(void **state)
{
    char *items[] = { (char *)"ok/*" };
    struct settings settings = settings_of();
    settings.allowed_images = (struct text_list){ items, 1 };
    struct error err;
    assert_null(pod_of("{\"userId\":\"u\",\"image\":\"bad/i:1\"}", &settings, &err));
    assert_int_equal(err.class, ERR_IMAGE_NOT_ALLOWED);
    assert_null(pod_of("{\"userId\":\"u\",\"image\":\"ok/i:1\",\"podTemplate\":{\"spec\":{\"initContainers\":[{\"name\":\"x\",\"image\":\"bad/i:1\"}]}}}",
                       &settings, &err));
    cleanup_json json_t *pod = pod_of("{\"userId\":\"u\",\"image\":\"ok/deep/i:1\"}", &settings, &err);
    assert_non_null(pod);
}

static void restricted_pods_run_without_rights(void **state)
{
    struct settings settings = settings_of();
    cleanup_json json_t *pod = pod_of("{\"userId\":\"u\",\"restricted\":true,\"podSecurityContext\":{\"runAsUser\":1001},"
                                      "\"containerSecurityContext\":{\"readOnlyRootFilesystem\":true}}", &settings, NULL);
    const json_t *context = json_object_get(guest(pod), "securityContext");
    assert_true(json_is_true(kube_at(pod, "spec", "securityContext", "runAsNonRoot", NULL)));
    assert_string_equal(kube_text_at(pod, "spec", "securityContext", "seccompProfile", "type", NULL), "RuntimeDefault");
    assert_int_equal(json_integer_value(kube_at(pod, "spec", "securityContext", "fsGroup", NULL)), 1001);
    assert_true(json_is_false(json_object_get(context, "allowPrivilegeEscalation")));
    assert_string_equal(json_string_value(json_array_get(kube_at(context, "capabilities", "drop", NULL), 0)), "ALL");
    assert_true(json_is_true(json_object_get(context, "readOnlyRootFilesystem")));
}

static void a_home_is_writable_for_the_guest(void **state)
{
    static const struct { const char *name, *spec; json_int_t group; } cases[] = {
        { "the stock images' user", "{\"userId\":\"u\"}", 1000 },
        { "restricted", "{\"userId\":\"u\",\"restricted\":true}", 1000 },
        { "the user that is named", "{\"userId\":\"u\",\"podSecurityContext\":{\"runAsUser\":7}}", 7 },
        { "the group that is named", "{\"userId\":\"u\",\"podSecurityContext\":{\"fsGroup\":5}}", 5 },
        { "the group that the template names", "{\"userId\":\"u\",\"podTemplate\":{\"spec\":{\"securityContext\":{\"fsGroup\":6}}}}", 6 },
    };
    struct settings settings = settings_of();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *pod = pod_of(cases[i].spec, &settings, NULL);
        json_int_t group = json_integer_value(kube_at(pod, "spec", "securityContext", "fsGroup", NULL));
        if (group != cases[i].group)
            fail_msg("%s: %lld", cases[i].name, (long long)group);
    }
}

static void one_terminals_security_is_not_anothers(void **state)
{
    static const char bobs[] = "{\"userId\":\"bob\"}";
    static const char alices[] = "{\"userId\":\"alice\",\"containerSecurityContext\":{\"capabilities\":{\"add\":[\"SYS_ADMIN\"]}},"
                                 "\"podSecurityContext\":{\"seccompProfile\":{\"type\":\"Unconfined\"}}}";
    cleanup_json json_t *of_pods = parse("{\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"), *pods_before = json_deep_copy(of_pods);
    cleanup_json json_t *of_containers = parse("{\"capabilities\":{\"drop\":[\"NET_RAW\"]}}"), *containers_before = json_deep_copy(of_containers);
    struct settings settings = settings_of();
    settings.kubernetes_pod_security_context = of_pods;
    settings.kubernetes_container_security_context = of_containers;
    cleanup_json json_t *before = pod_of(bobs, &settings, NULL), *between = pod_of(alices, &settings, NULL), *after = pod_of(bobs, &settings, NULL);
    assert_string_equal(kube_text_at(between, "spec", "securityContext", "seccompProfile", "type", NULL), "Unconfined");
    assert_int_equal(json_array_size(kube_at(guest(between), "securityContext", "capabilities", "add", NULL)), 1);
    assert_int_equal(json_array_size(kube_at(guest(between), "securityContext", "capabilities", "drop", NULL)), 1);
    assert_true(json_equal(before, after));
    assert_true(json_equal(of_pods, pods_before));
    assert_true(json_equal(of_containers, containers_before));
}

static void a_reset_runs_where_and_as_its_terminal_does(void **state)
{
    static const char *const of_pod[] = { "securityContext", "nodeSelector", "tolerations", "runtimeClassName", "imagePullSecrets",
                                          "serviceAccountName", "affinity", "priorityClassName" };
    static const char *const of_container[] = { "image", "imagePullPolicy", "securityContext", "resources", "volumeMounts" };
    cleanup_json json_t *spec = parse("{\"userId\":\"u\",\"storageMode\":\"shared\",\"containerSecurityContext\":{\"runAsUser\":7},\"podTemplate\":{\"spec\":{"
        "\"securityContext\":{\"supplementalGroups\":[5]},\"nodeSelector\":{\"disk\":\"ssd\"},\"tolerations\":[{\"key\":\"k\"}],\"runtimeClassName\":\"kata\","
        "\"imagePullSecrets\":[{\"name\":\"pull\"}],\"serviceAccountName\":\"sa\",\"affinity\":{\"nodeAffinity\":{}},\"priorityClassName\":\"low\","
        "\"automountServiceAccountToken\":true,\"hostNetwork\":true,\"initContainers\":[{\"name\":\"i\"}],\"volumes\":[{\"name\":\"more\"}],"
        "\"containers\":[{\"name\":\"open-terminal\",\"image\":\"t:2\",\"imagePullPolicy\":\"Always\",\"env\":[{\"name\":\"A\"}],"
        "\"securityContext\":{\"privileged\":false}},{\"name\":\"side\"}]}}}");
    struct settings settings = settings_of();
    const struct origin origin = { "ns", "t1", "uid-1", "openwebui.com/v1alpha1", spec, "1-aa", "kh", &settings };
    struct error err;
    cleanup_json json_t *pod = child_pod(&origin, &err), *reset = child_reset_pod(&origin, &err);
    assert_non_null(reset);
    for (size_t i = 0; i < COUNT_OF(of_pod); i++) {
        const json_t *wanted = kube_at(pod, "spec", of_pod[i], NULL);
        if (!wanted || !json_equal(kube_at(reset, "spec", of_pod[i], NULL), wanted))
            fail_msg("%s", of_pod[i]);
    }
    for (size_t i = 0; i < COUNT_OF(of_container); i++) {
        const json_t *wanted = json_object_get(guest(pod), of_container[i]);
        if (!wanted || !json_equal(json_object_get(guest(reset), of_container[i]), wanted))
            fail_msg("container: %s", of_container[i]);
    }
    assert_string_equal(kube_name(reset), "t1-reset");
    assert_string_not_equal(kube_label(reset, "app.kubernetes.io/name"), kube_label(pod, "app.kubernetes.io/name"));
    assert_string_equal(kube_annotation(reset, ANNOTATION_SPEC_HASH), "1-aa");
    assert_string_equal(kube_text_at(reset, "spec", "restartPolicy", NULL), "Never");
    assert_true(json_is_false(kube_at(reset, "spec", "automountServiceAccountToken", NULL)));
    assert_null(kube_at(reset, "spec", "hostNetwork", NULL));
    assert_null(kube_at(reset, "spec", "initContainers", NULL));
    assert_int_equal(json_array_size(kube_at(reset, "spec", "containers", NULL)), 1);
    assert_int_equal(json_array_size(kube_at(reset, "spec", "volumes", NULL)), 1);
    assert_null(json_object_get(guest(reset), "env"));
    assert_null(json_object_get(guest(reset), "ports"));
    assert_null(json_object_get(guest(reset), "startupProbe"));
}

static void a_reset_that_fails_says_why(void **state)
{
    cleanup_json json_t *status = parse("{\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"reset\",\"state\":{\"terminated\":{\"exitCode\":1,"
                                        "\"reason\":\"Error\",\"message\":\"the home could not be emptied: x\"}}}]}");
    cleanup_json json_t *spec = parse("{\"userId\":\"u\"}");
    struct settings settings = settings_of();
    const struct origin origin = { "ns", "t1", "uid-1", "openwebui.com/v1alpha1", spec, "1-aa", "kh", &settings };
    struct error err;
    cleanup_json json_t *reset = child_reset_pod(&origin, &err);
    struct pod pod = { 0 };
    assert_string_equal(json_text(guest(reset), "terminationMessagePolicy"), "FallbackToLogsOnError");
    guest_state_read(&pod, status);
    assert_string_equal(pod.message, "the pod ended: exit code 1 (Error): the home could not be emptied: x");
    free(pod.message);
}

/* Resources that an older schema took may hold sizes that the API server refuses in a claim. */
static void a_claims_size_is_written_as_kubernetes_reads_it(void **state)
{
    static const struct { const char *spec, *size; } cases[] = {
        { "{\"userId\":\"u\"}", "1Gi" }, { "{\"userId\":\"u\",\"storage\":\"10 Gi\"}", "10Gi" },
        { "{\"userId\":\"u\",\"persistence\":{\"size\":\"10K\"}}", "10000" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct settings settings = settings_of();
        cleanup_json json_t *spec = parse(cases[i].spec);
        const struct origin origin = { "ns", "t1", "uid-1", "openwebui.com/v1alpha1", spec, "1-aa", "kh", &settings };
        cleanup_json json_t *claim = child_pvc(&origin);
        assert_string_equal(kube_text_at(claim, "spec", "resources", "requests", "storage", NULL), cases[i].size);
    }
}

static void names_are_valid_for_every_resource(void **state)
{
    static const char *const names[] = { "t1", "1st", "a.b", "terminal-0123456789ab-abcdefghijklmnopqrst-123456-0123456789ab" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        cleanup_free char *service = child_name(CHILD_SERVICE, names[i]);
        assert_true(strlen(service) <= 63);
        assert_in_range(service[0], 'a', 'z');
        assert_null(strchr(service, '.'));
    }
    cleanup_free char *plain = child_name(CHILD_SERVICE, "t1");
    assert_string_equal(plain, "t1-svc");
}

static void objects_tell_whose_they_are(void **state)
{
    static const struct { const char *object, *terminal; } cases[] = {
        { "{\"metadata\":{\"name\":\"x-pod\",\"annotations\":{\"openwebui.com/terminal\":\"exact\"}}}", "exact" },
        { "{\"metadata\":{\"name\":\"x-pod\",\"labels\":{\"openwebui.com/terminal\":\"x\"}}}", "x" },
        { "{\"metadata\":{\"name\":\"x-apikey\"}}", "x" },
        { "{\"metadata\":{\"name\":\"x-pvc\"}}", "x" },
        { "{\"metadata\":{\"name\":\"terminal-00-svc\",\"labels\":{\"openwebui.com/terminal\":\"y\"}}}", "y" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *object = parse(cases[i].object);
        cleanup_free char *terminal = child_terminal(object);
        assert_non_null(terminal);
        assert_string_equal(terminal, cases[i].terminal);
    }
}

static void only_marked_objects_of_the_user_are_his(void **state)
{
    static const struct { const char *name, *metadata; bool his; } cases[] = {
        { "by its name alone", "{}", false },
        { "marked, but not whose", "{\"labels\":{\"app.kubernetes.io/managed-by\":\"terminals\"}}", false },
        { "another program's", "{\"labels\":{\"app.kubernetes.io/managed-by\":\"Helm\",\"openwebui.com/user-id\":\"u@x\"}}", false },
        { "whose, but not marked", "{\"annotations\":{\"openwebui.com/user-id\":\"u@x\"}}", false },
        { "ours", "{\"labels\":{\"openwebui.com/terminal\":\"t1\",\"openwebui.com/user-id\":\"x\"},\"annotations\":{\"openwebui.com/user-id\":\"u@x\"}}", true },
        { "another user's", "{\"labels\":{\"openwebui.com/terminal\":\"t1\"},\"annotations\":{\"openwebui.com/user-id\":\"v\"}}", false },
        { "the annotation decides", "{\"labels\":{\"openwebui.com/terminal\":\"t1\",\"openwebui.com/user-id\":\"u@x\"},"
          "\"annotations\":{\"openwebui.com/user-id\":\"v\"}}", false },
        { "the original's", "{\"labels\":{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u@x\"}}", true },
        { "the original's, hashed", "{\"labels\":{\"openwebui.com/terminal\":\"t1\",\"openwebui.com/user-id\":\"" USER_HASH "\"}}", true },
        { "another's, by label", "{\"labels\":{\"openwebui.com/terminal\":\"t1\",\"openwebui.com/user-id\":\"v\"}}", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *object = json_pack("{s:o}", "metadata", parse(cases[i].metadata));
        if (child_is_of_user(object, "u@x") != cases[i].his)
            fail_msg("%s", cases[i].name);
        assert_false(child_is_of_user(object, NULL));
    }
}

static void a_claim_says_whose_it_is(void **state)
{
    struct record *record = record_new("ns", "t1");
    cleanup_json json_t *claim = parse("{\"metadata\":{\"name\":\"t1-pvc\",\"uid\":\"c\",\"resourceVersion\":\"5\","
        "\"labels\":{\"openwebui.com/user-id\":\"h-1\"}}}");
    assert_true(observe_pvc(record, claim, false));
    assert_null(record->pvc_user);
    assert_string_equal(record->pvc_user_label, "h-1");
    assert_true(observe_pvc(record, claim, true));
    assert_null(record->pvc_user_label);
    record_free(record);
}

static void a_services_edits_are_seen(void **state)
{
    static const struct { const char *name, *service; bool right; } cases[] = {
        { "ours", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"app.kubernetes.io/name\":\"open-terminal\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", true },
        { "named target", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":8000,\"targetPort\":\"http\"}]}}", true },
        { "another's selector", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t2\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "narrower selector", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"x\":\"y\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "no selector", "{\"spec\":{\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "another port", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":80,\"targetPort\":8000}]}}", false },
        { "another target", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":8000,\"targetPort\":22}]}}", false },
        { "as the server tells it", "{\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"10.0.0.1\",\"sessionAffinity\":\"None\",\"selector\":{\"openwebui.com/terminal\":\"t1\",\"app.kubernetes.io/name\":\"open-terminal\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", true },
        { "the original's selector", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"app.kubernetes.io/instance\":\"t1\",\"app.kubernetes.io/managed-by\":\"terminals\",\"app.kubernetes.io/part-of\":\"open-terminal\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", true },
        { "a label that its pod has with another value", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"app.kubernetes.io/name\":\"wrong\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "a label of ours that its pod has not", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"openwebui.com/wipe\":\"true\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "another's instance", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\",\"app.kubernetes.io/instance\":\"t2\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "another type", "{\"spec\":{\"type\":\"NodePort\",\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "another type that has no address", "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x\",\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":8000,\"targetPort\":8000}]}}", false },
        { "another protocol", "{\"spec\":{\"selector\":{\"openwebui.com/terminal\":\"t1\"},\"ports\":[{\"port\":8000,\"targetPort\":8000,\"protocol\":\"UDP\"}]}}", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *service = parse(cases[i].service);
        if (child_service_is_right("t1", "ClusterIP", service) != cases[i].right)
            fail_msg("%s", cases[i].name);
        child_repair_service(service, "t1", "ClusterIP");
        if (!child_service_is_right("t1", "ClusterIP", service))
            fail_msg("%s: not right after its repair", cases[i].name);
        child_repair_service(service, "t1", "NodePort");
        assert_true(child_service_is_right("t1", "NodePort", service));
    }
}

static void a_repair_keeps_what_the_server_gave_and_drops_what_the_type_has_not(void **state)
{
    cleanup_json json_t *service = parse("{\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.0.0.1\",\"externalTrafficPolicy\":\"Local\","
        "\"healthCheckNodePort\":30001,\"allocateLoadBalancerNodePorts\":true,\"ports\":[{\"port\":8000,\"nodePort\":30000}]}}");
    child_repair_service(service, "t1", "ClusterIP");
    assert_string_equal(kube_text_at(service, "spec", "clusterIP", NULL), "10.0.0.1");
    assert_null(kube_at(service, "spec", "externalTrafficPolicy", NULL));
    assert_null(kube_at(service, "spec", "healthCheckNodePort", NULL));
    assert_null(kube_at(service, "spec", "allocateLoadBalancerNodePorts", NULL));
    assert_null(json_object_get(json_array_get(kube_at(service, "spec", "ports", NULL), 0), "nodePort"));
    json_object_set_new(json_object_get(service, "spec"), "type", json_string("NodePort"));
    json_object_set_new(json_object_get(service, "spec"), "externalTrafficPolicy", json_string("Local"));
    child_repair_service(service, "t1", "NodePort");
    assert_string_equal(kube_text_at(service, "spec", "externalTrafficPolicy", NULL), "Local");
}

static void defaults_do_not_change_the_hash(void **state)
{
    static const struct { const char *name, *spec; bool same; } cases[] = {
        { "filled in by the server", "{\"userId\":\"u\",\"contextId\":\"default\",\"restricted\":false,\"idleTimeoutMinutes\":30,"
          "\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"256Mi\"}},"
          "\"persistence\":{\"enabled\":true,\"size\":\"1Gi\",\"storageClass\":\"\"},\"env\":{},\"packages\":[]}", true },
        { "a number where a text is usual", "{\"userId\":\"u\",\"resources\":{\"limits\":{\"cpu\":1}}}", true },
        { "what the pod does not see", "{\"userId\":\"u\",\"idleTimeoutMinutes\":1,\"persistence\":{\"size\":\"9Gi\"},\"policyId\":\"p\"}", true },
        { "another image", "{\"userId\":\"u\",\"image\":\"i\"}", false },
        { "a variable", "{\"userId\":\"u\",\"env\":{\"A\":\"1\"}}", false },
        { "a limit", "{\"userId\":\"u\",\"resources\":{\"limits\":{\"cpu\":\"2\"}}}", false },
        { "restricted", "{\"userId\":\"u\",\"restricted\":true}", false },
        { "no home", "{\"userId\":\"u\",\"persistence\":{\"enabled\":false}}", false },
    };
    cleanup_json json_t *bare = parse("{\"userId\":\"u\"}");
    char base[HASH_SIZE], hash[HASH_SIZE];
    spec_hash(bare, base);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *spec = parse(cases[i].spec);
        spec_hash(spec, hash);
        if ((strcmp(base, hash) == 0) != cases[i].same)
            fail_msg("%s", cases[i].name);
    }
}

/* --- reading --- */

static void a_pods_status_is_read(void **state)
{
    static const struct { const char *name, *status; enum reason failure; bool ended, ready, started; } cases[] = {
        { "pending", "{\"phase\":\"Pending\"}", REASON_NONE, false, false, false },
        { "ready", "{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"open-terminal\",\"ready\":true,\"state\":{\"running\":{}}}]}", REASON_NONE, false, true, true },
        { "another container is ready", "{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"side\",\"ready\":true,\"state\":{\"running\":{}}}]}", REASON_NONE, false, false, false },
        { "first pull failed", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"m\"}}}]}", REASON_NONE, false, false, false },
        { "pull fails", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"ImagePullBackOff\"}}}]}", REASON_IMAGE_PULL_FAILED, false, false, false },
        { "init container crashes", "{\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}", REASON_CRASH_LOOP, false, false, false },
        { "crash loop between two starts", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"ready\":false,\"restartCount\":3,\"state\":{\"running\":{}},"
          "\"lastState\":{\"terminated\":{\"exitCode\":1}}}]}", REASON_CRASH_LOOP, false, false, true },
        { "one crash", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"ready\":false,\"restartCount\":1,\"state\":{\"running\":{}},"
          "\"lastState\":{\"terminated\":{\"exitCode\":137}}}]}", REASON_NONE, false, false, true },
        { "bad configuration", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"CreateContainerConfigError\",\"message\":\"m\"}}}]}",
          REASON_CONTAINER_NOT_CREATED, false, false, false },
        { "the kubelet's own trouble", "{\"containerStatuses\":[{\"name\":\"open-terminal\",\"state\":{\"waiting\":{\"reason\":\"CreateContainerError\","
          "\"message\":\"context deadline exceeded\"}}}]}", REASON_NONE, false, false, false },
        { "evicted", "{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"disk\"}", REASON_NONE, true, false, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *status = parse(cases[i].status);
        struct pod pod = { 0 };
        guest_state_read(&pod, status);
        if (pod.failure != cases[i].failure || pod.ended != cases[i].ended || pod.ready != cases[i].ready || pod.started != cases[i].started)
            fail_msg("%s: failure %s ended %d ready %d started %d", cases[i].name, reason_name(pod.failure), pod.ended, pod.ready, pod.started);
        free(pod.message);
    }
}

static void old_news_change_nothing(void **state)
{
    struct record *record = record_new("ns", "t1");
    cleanup_json json_t *new = parse("{\"metadata\":{\"name\":\"t1-pod\",\"uid\":\"b\",\"resourceVersion\":\"20\"}}");
    cleanup_json json_t *old = parse("{\"metadata\":{\"name\":\"t1-pod\",\"uid\":\"a\",\"resourceVersion\":\"10\"}}");
    assert_true(observe_pod(&record->pod, new, false));
    assert_false(observe_pod(&record->pod, old, false));
    assert_false(observe_pod(&record->pod, old, true));
    assert_true(record->pod.child.present);
    assert_true(observe_pod(&record->pod, new, true));
    assert_false(record->pod.child.present);
    assert_false(observe_pod(&record->pod, old, false));
    assert_true(record_is_empty(record));
    record_free(record);
}

static void a_resource_is_read(void **state)
{
    struct record *record = record_new("ns", "t1");
    cleanup_json json_t *object = parse("{\"metadata\":{\"name\":\"t1\",\"uid\":\"c\",\"resourceVersion\":\"5\",\"generation\":2,\"finalizers\":[\"x\","
        "\"terminals.openwebui.com/finalizer\"],\"annotations\":{\"openwebui.com/reset\":\"r\"}},\"spec\":{\"userId\":\"u\",\"idleTimeoutMinutes\":7},"
        "\"status\":{\"phase\":\"Running\",\"lastActivityAt\":\"1970-01-01T00:00:05Z\",\"lastReset\":\"q\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
        "\"reason\":\"PodReady\",\"lastTransitionTime\":\"1970-01-01T00:00:03Z\"}]}}");
    assert_true(observe_terminal(record, object, false));
    assert_true(record->has_finalizer);
    assert_int_equal(record->idle_timeout_us, 7 * 60000000LL);
    assert_int_equal(record->phase, PHASE_RUNNING);
    assert_int_equal(record->reason, REASON_POD_READY);
    assert_true(record->condition_ready);
    assert_int_equal(record->last_activity_us, 5000000);
    assert_int_equal(record->condition_since_us, 3000000);
    assert_string_equal(record->reset_wanted, "r");
    assert_string_equal(record->reset_done, "q");
    assert_string_equal(record->user_id, "u");
    record_free(record);
}

/* --- the lease --- */

static void a_lease_is_taken_over_only_when_its_holder_is_silent(void **state)
{
    struct lease_sight sight = { 0 };
    cleanup_json json_t *first = parse("{\"spec\":{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,\"renewTime\":\"1\"}}");
    cleanup_json json_t *renewed = parse("{\"spec\":{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,\"renewTime\":\"2\"}}");
    cleanup_json json_t *free_one = parse("{\"spec\":{\"holderIdentity\":\"\"}}");
    assert_false(lease_is_free(&sight, first, "b", 1000));
    assert_false(lease_is_free(&sight, first, "b", 15999));
    assert_false(lease_is_free(&sight, renewed, "b", 16000));
    assert_false(lease_is_free(&sight, renewed, "b", 30999));
    assert_true(lease_is_free(&sight, renewed, "b", 31000));
    assert_true(lease_is_free(&sight, renewed, "a", 16000));
    assert_true(lease_is_free(&sight, free_one, "b", 0));
    free(sight.state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_holds_what_the_spec_says),
        cmocka_unit_test(a_template_lies_under_what_is_generated),
        cmocka_unit_test(images_outside_the_list_are_refused),
        cmocka_unit_test(restricted_pods_run_without_rights),
        cmocka_unit_test(a_home_is_writable_for_the_guest),
        cmocka_unit_test(one_terminals_security_is_not_anothers),
        cmocka_unit_test(a_reset_runs_where_and_as_its_terminal_does),
        cmocka_unit_test(a_reset_that_fails_says_why),
        cmocka_unit_test(a_claims_size_is_written_as_kubernetes_reads_it),
        cmocka_unit_test(names_are_valid_for_every_resource),
        cmocka_unit_test(objects_tell_whose_they_are),
        cmocka_unit_test(only_marked_objects_of_the_user_are_his),
        cmocka_unit_test(a_claim_says_whose_it_is),
        cmocka_unit_test(a_services_edits_are_seen),
        cmocka_unit_test(a_repair_keeps_what_the_server_gave_and_drops_what_the_type_has_not),
        cmocka_unit_test(defaults_do_not_change_the_hash),
        cmocka_unit_test(a_pods_status_is_read),
        cmocka_unit_test(old_news_change_nothing),
        cmocka_unit_test(a_resource_is_read),
        cmocka_unit_test(a_lease_is_taken_over_only_when_its_holder_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
