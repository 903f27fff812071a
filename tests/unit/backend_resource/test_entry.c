/* What the fleet is told of a Terminal resource and its pod, and the resource that a policy becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "backend/resource/parts.h"
#include "base/json.h"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    if (!value)
        fail_msg("%s: %s", text, error.text);
    return value;
}

#define CR(status) "{\"metadata\":{\"name\":\"t\",\"uid\":\"c\",\"resourceVersion\":\"5\"},\"spec\":{\"userId\":\"u\"}" status "}"
#define PHASE(text) ",\"status\":{\"phase\":\"" text "\"}"
#define POD(state) "{\"metadata\":{\"name\":\"t-pod\",\"uid\":\"p\",\"resourceVersion\":\"6\"},\"status\":{\"podIP\":\"10.0.0.7\"," \
    "\"containerStatuses\":[{\"name\":\"open-terminal\"," state "}]}}"
#define RUNS "\"ready\":true,\"state\":{\"running\":{}}"
#define WAITS "\"ready\":false,\"state\":{\"waiting\":{}}"

struct row {
    const char *name, *terminal, *pod;
    bool key;
    enum observed_phase phase;
    enum error_class failure;
    const char *id;
};

static const struct row rows[] = {
    { "no resource", NULL, NULL, false, OBSERVED_ABSENT, ERR_NONE, NULL },
    { "just made", CR(""), NULL, false, OBSERVED_STARTING, ERR_NONE, NULL },
    { "made for a reset only", "{\"metadata\":{\"name\":\"t\",\"uid\":\"c\",\"resourceVersion\":\"5\",\"annotations\":{\"openwebui.com/reset\":\"r\"}},"
      "\"spec\":{\"userId\":\"u\"}}", NULL, false, OBSERVED_ABSENT, ERR_NONE, NULL },
    { "pending", CR(PHASE("Pending")), NULL, false, OBSERVED_STARTING, ERR_NONE, NULL },
    { "the pod starts", CR(PHASE("Provisioning")), POD(WAITS), true, OBSERVED_STARTING, ERR_NONE, "p" },
    { "the guest runs before the operator says so", CR(PHASE("Provisioning")), POD(RUNS), true, OBSERVED_RUNNING, ERR_NONE, "p" },
    { "running, its key not yet read", CR(PHASE("Running")), POD(RUNS), false, OBSERVED_STARTING, ERR_NONE, "p" },
    { "running", CR(PHASE("Running")), POD(RUNS), true, OBSERVED_RUNNING, ERR_NONE, "p" },
    { "running, the guest restarted once", CR(PHASE("Running")), POD(RUNS ",\"restartCount\":1"), true, OBSERVED_RUNNING, ERR_NONE, "p#1" },
    { "running, the pod deleted by hand", CR(PHASE("Running")), NULL, false, OBSERVED_STARTING, ERR_NONE, NULL },
    { "going to sleep", CR(PHASE("Idle")), POD(RUNS), true, OBSERVED_STOPPING, ERR_NONE, "p" },
    { "asleep", CR(PHASE("Idle")), NULL, false, OBSERVED_ABSENT, ERR_NONE, NULL },
    { "an image that cannot be pulled", CR(",\"status\":{\"phase\":\"Error\",\"message\":\"m\",\"conditions\":[{\"type\":\"Ready\",\"reason\":\"ImagePullFailed\"}]}"),
      POD(WAITS), true, OBSERVED_FAILED, ERR_IMAGE_NOT_FOUND, "p" },
    { "quota", CR(",\"status\":{\"phase\":\"Error\",\"conditions\":[{\"type\":\"Ready\",\"reason\":\"QuotaExceeded\"}]}"), NULL, false, OBSERVED_FAILED,
      ERR_NO_CAPACITY, NULL },
    { "an error of the original operator", CR(PHASE("Error")), NULL, false, OBSERVED_FAILED, ERR_GUEST_CRASHED, NULL },
};

static void the_fleet_is_told_what_the_entry_comes_to(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct entry *entry = entry_new(NULL, "t");
        struct observation seen;
        char id[72];
        if (rows[i].terminal) {
            cleanup_json json_t *object = parse(rows[i].terminal);
            assert_true(entry_see_terminal(entry, object, false));
        }
        if (rows[i].pod) {
            cleanup_json json_t *object = parse(rows[i].pod);
            assert_true(entry_see_pod(entry, object, false));
        }
        if (rows[i].key) {
            entry->guest_key = xstrdup("sk-x");
            (void)snprintf(entry->key_of, sizeof entry->key_of, "p");
        }
        entry_observe(entry, false, id, &seen);
        bool same_id = rows[i].id ? seen.instance_id && strcmp(seen.instance_id, rows[i].id) == 0 : !seen.instance_id;
        if (seen.phase != rows[i].phase || seen.failure != rows[i].failure || !same_id)
            fail_msg("%s: phase %d failure %d id %s", rows[i].name, seen.phase, seen.failure, seen.instance_id ? seen.instance_id : "-");
        if (seen.phase == OBSERVED_RUNNING) {
            assert_string_equal(seen.endpoint.host, "10.0.0.7");
            assert_string_equal(seen.guest_key, "sk-x");
            assert_string_equal(seen.key->user_id, "u");
        }
        entry_free(entry);
    }
}

static void a_new_pod_needs_its_key_read_again(void **state)
{
    struct entry *entry = entry_new(NULL, "t");
    cleanup_json json_t *terminal = parse(CR(PHASE("Running"))), *pod = parse(POD(RUNS));
    assert_true(entry_see_terminal(entry, terminal, false));
    assert_true(entry_see_pod(entry, pod, false));
    assert_true(entry_needs_key(entry));
    entry->guest_key = xstrdup("k");
    (void)snprintf(entry->key_of, sizeof entry->key_of, "p");
    assert_false(entry_needs_key(entry));
    json_object_set_new(json_object_get(pod, "metadata"), "uid", json_string("q"));
    json_object_set_new(json_object_get(pod, "metadata"), "resourceVersion", json_string("9"));
    assert_true(entry_see_pod(entry, pod, false));
    assert_true(entry_needs_key(entry));
    assert_true(entry_is_instance(entry, "q"));
    assert_true(entry_is_instance(entry, "q#2"));
    assert_false(entry_is_instance(entry, "p"));
    entry_free(entry);
}

static void keys_come_from_spec_or_label(void **state)
{
    static const struct { const char *object, *policy, *context; } cases[] = {
        { "{\"spec\":{\"userId\":\"u\"}}", "default", "default" },
        { "{\"spec\":{\"userId\":\"u\",\"policyId\":\"P x\",\"contextId\":\"chat:1\"}}", "P x", "chat:1" },
        { "{\"metadata\":{\"labels\":{\"openwebui.com/policy\":\"gpu\"}},\"spec\":{\"userId\":\"u\"}}", "gpu", "default" },
        { "{\"metadata\":{\"annotations\":{\"openwebui.com/policy-id\":\"G\"},\"labels\":{\"openwebui.com/policy\":\"g\"}},\"spec\":{\"userId\":\"u\"}}", "G", "default" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *object = parse(cases[i].object);
        struct terminal_key *key = entry_key_of(object);
        assert_non_null(key);
        assert_string_equal(key->policy_id, cases[i].policy);
        assert_string_equal(key->context_id, cases[i].context);
        terminal_key_free(key);
    }
}

static void a_policy_becomes_a_resource(void **state)
{
    struct settings settings = { .kubernetes_storage_size = (char *)"1Gi", .kubernetes_storage_mode = (char *)"per-user", .idle_timeout_minutes = 15 };
    struct resource resource = { .settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1", .namespace = "ns" };
    struct terminal_key *key = terminal_key_new(str_from("a@b"), str_from("p"), str_from("default"));
    cleanup_json json_t *policy = parse("{\"podTemplate\":{\"spec\":{\"hostname\":\"h\"}},\"pod_security_context\":{\"runAsUser\":7}}");
    cleanup_json json_t *env = parse("{\"A\":\"1\"}");
    struct terminal_spec spec = { .key = key, .image = "i:1", .env = env, .nano_cpus = 50000000, .memory_bytes = 1ull << 31, .storage_bytes = 5ull << 30,
                                  .runtime = "kata", .gpus = "2", .spec_hash = "hh", .policy = policy };
    struct error err;
    cleanup_json json_t *object = resource_object(&resource, &spec, "terminal-x", &err);
    assert_non_null(object);
    const json_t *to = json_object_get(object, "spec");
    assert_string_equal(json_text(to, "userId"), "a@b");
    assert_string_equal(json_text(to, "policyId"), "p");
    assert_string_equal(kube_text_at(to, "resources", "limits", "cpu", NULL), "50m");
    assert_string_equal(kube_text_at(to, "resources", "requests", "cpu", NULL), "50m");
    assert_string_equal(kube_text_at(to, "resources", "limits", "memory", NULL), "2Gi");
    assert_null(kube_at(to, "resources", "requests", "memory", NULL));
    assert_int_equal(json_integer_value(kube_at(to, "resources", "limits", "nvidia.com/gpu", NULL)), 2);
    assert_string_equal(kube_text_at(to, "persistence", "size", NULL), "5Gi");
    assert_int_equal(json_integer_value(json_object_get(to, "idleTimeoutMinutes")), 15);
    assert_string_equal(kube_text_at(to, "podTemplate", "spec", "runtimeClassName", NULL), "kata");
    assert_string_equal(kube_text_at(to, "podTemplate", "spec", "hostname", NULL), "h");
    assert_int_equal(json_integer_value(kube_at(to, "podSecurityContext", "runAsUser", NULL)), 7);
    assert_string_equal(kube_annotation(object, ANNOTATION_USER_ID), "a@b");
    assert_string_equal(kube_annotation(object, ANNOTATION_SPEC_HASH), "2-hh");        /* one that older rules made is made anew */
    assert_true(kube_label_value_is_valid(kube_label(object, LABEL_USER_ID)));
    terminal_key_free(key);
}

/* As tests/unit/backend_kubernetes/test_pod.c has it of pods. */
static void a_policy_means_what_it_means_to_the_direct_backend(void **state)
{
    static const struct {
        const char *name, *policy;
        struct terminal_spec spec;
        const char *member, *expected;      /* of the resource's spec; NULL: there is none */
    } cases[] = {
        { "sudo", "{}", { .allow_sudo = true }, "containerSecurityContext", NULL },
        { "no sudo", "{}", { 0 }, "containerSecurityContext", "{\"allowPrivilegeEscalation\":false}" },
        { "no sudo, whatever the policy's context says", "{\"container_security_context\":{\"allowPrivilegeEscalation\":true}}", { 0 },
          "containerSecurityContext", "{\"allowPrivilegeEscalation\":false}" },
        { "NET_ADMIN for the image's own filter", "{\"containerSecurityContext\":{\"capabilities\":{\"add\":[\"KILL\"]}}}",
          { .allow_sudo = true, .net_admin = true }, "containerSecurityContext", "{\"capabilities\":{\"add\":[\"KILL\",\"NET_ADMIN\"]}}" },
        { "but not restricted", "{}", { .allow_sudo = true, .net_admin = true, .restricted = true }, "containerSecurityContext", NULL },
        { "both spellings of a context", "{\"podSecurityContext\":{\"runAsUser\":1,\"fsGroup\":2},\"pod_security_context\":{\"runAsUser\":3}}",
          { .allow_sudo = true }, "podSecurityContext", "{\"runAsUser\":3,\"fsGroup\":2}" },
        { "dollars are not expanded", "{}", { .allow_sudo = true }, "env", "{\"A\":\"pa$$$$word\",\"B\":\"$$(A)\",\"C\":\"plain\"}" },
        { "a whole template", "{\"podTemplate\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}", { .allow_sudo = true }, "podTemplate",
          "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}" },
        { "a bare pod spec", "{\"pod_template\":{\"serviceAccountName\":\"sa\"}}", { .allow_sudo = true, .runtime = "kata" }, "podTemplate",
          "{\"spec\":{\"serviceAccountName\":\"sa\",\"runtimeClassName\":\"kata\"}}" },
        { "the template's amounts, under the policy's limits",
          "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"resources\":{\"limits\":{\"cpu\":\"9\"}}},{\"name\":\"open-terminal\",\"resources\":{"
          "\"limits\":{\"cpu\":\"4\",\"memory\":\"8Gi\",\"example.org/card\":1},\"requests\":{\"cpu\":\"20m\",\"memory\":\"1Gi\"}}}]}}}",
          { .allow_sudo = true, .nano_cpus = 50000000 }, "resources",
          "{\"limits\":{\"cpu\":\"50m\",\"memory\":\"8Gi\",\"example.org/card\":1},\"requests\":{\"cpu\":\"20m\",\"memory\":\"1Gi\"}}" },
        { "no template", "{}", { .allow_sudo = true }, "podTemplate", NULL },
    };
    struct settings settings = { .kubernetes_storage_size = (char *)"1Gi", .kubernetes_storage_mode = (char *)"per-user" };
    struct resource resource = { .settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1", .namespace = "ns" };
    struct terminal_key *key = terminal_key_new(str_from("u"), str_from("p"), str_from("default"));
    cleanup_json json_t *env = parse("{\"A\":\"pa$$word\",\"B\":\"$(A)\",\"C\":\"plain\"}");

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cleanup_json json_t *policy = parse(cases[i].policy), *wanted = cases[i].expected ? parse(cases[i].expected) : NULL;
        struct terminal_spec spec = cases[i].spec;
        struct error err = { 0 };
        spec.key = key;
        spec.image = "i:1";
        spec.env = env;
        spec.policy = policy;
        cleanup_json json_t *object = resource_object(&resource, &spec, "terminal-x", &err);
        if (!object)
            fail_msg("%s: %s", cases[i].name, err.text);
        const json_t *found = kube_at(object, "spec", cases[i].member, NULL);
        cleanup_free char *text = found ? json_write(found) : NULL;
        if (wanted ? !json_equal(found, wanted) : found != NULL)
            fail_msg("%s: %s", cases[i].name, text ? text : "none");
    }
    terminal_key_free(key);
}

static void what_no_resource_can_be_is_said(void **state)
{
    static const struct { struct terminal_spec spec; const char *text; } cases[] = {
        { { .gpus = "all" }, "gpus 'all'" }, { { .network = "lan" }, "network 'lan'" },
    };
    struct settings settings = { .kubernetes_storage_size = (char *)"1Gi", .kubernetes_storage_mode = (char *)"per-user" };
    struct resource resource = { .settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1", .namespace = "ns" };
    struct terminal_key *key = terminal_key_new(str_from("u"), str_from("p"), str_from("default"));

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct terminal_spec spec = cases[i].spec;
        struct error err = { 0 };
        spec.key = key;
        spec.image = "i:1";
        assert_null(resource_object(&resource, &spec, "terminal-x", &err));
        assert_int_equal(err.class, ERR_INVALID_POLICY);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s", err.text);
    }
    terminal_key_free(key);
}

static void a_home_without_a_resource_is_reset_as_the_settings_say(void **state)
{
    static const struct { const char *name, *observed, *kubernetes_image, *image; } cases[] = {
        { "the image that was seen", "seen:1", "cluster:1", "seen:1" },
        { "else that of Kubernetes", NULL, "cluster:1", "cluster:1" },
        { "else that of all", NULL, NULL, "all:1" },
    };
    cleanup_json json_t *of_pods = parse("{\"runAsUser\":1001}"), *of_containers = parse("{\"capabilities\":{\"drop\":[\"ALL\"]}}");
    struct settings settings = { .image = (char *)"all:1", .restricted = true, .kubernetes_storage_mode = (char *)"shared",
                                 .kubernetes_pod_security_context = of_pods, .kubernetes_container_security_context = of_containers };
    struct resource resource = { .settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1", .namespace = "ns" };
    struct terminal_key *key = terminal_key_new(str_from("u"), str_from("p"), str_from("default"));

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct terminal_ref ref = { .key = key, .image = cases[i].observed };
        settings.kubernetes_image = (char *)cases[i].kubernetes_image;
        cleanup_json json_t *object = resource_reset_object(&resource, &ref, "terminal-x", "token");
        const json_t *to = json_object_get(object, "spec");
        if (strcmp(json_text(to, "image"), cases[i].image) != 0)
            fail_msg("%s: %s", cases[i].name, json_text(to, "image"));
        assert_string_equal(kube_annotation(object, ANNOTATION_RESET), "token");
        assert_string_equal(json_text(to, "storageMode"), "shared");
        assert_true(json_is_true(json_object_get(to, "restricted")));
        assert_true(json_equal(json_object_get(to, "podSecurityContext"), of_pods));
        assert_true(json_equal(json_object_get(to, "containerSecurityContext"), of_containers));
    }
    terminal_key_free(key);
}

static void a_home_without_a_size_of_its_policy_has_the_services(void **state)
{
    struct settings settings = { .kubernetes_storage_size = (char *)"10 Gi", .kubernetes_storage_mode = (char *)"per-user" };
    struct resource resource = { .settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1", .namespace = "ns" };
    struct terminal_key *key = terminal_key_new(str_from("u"), str_from("p"), str_from("default"));
    struct terminal_spec spec = { .key = key, .image = "i:1", .spec_hash = "hh" };
    struct error err;
    cleanup_json json_t *object = resource_object(&resource, &spec, "terminal-x", &err);
    assert_string_equal(kube_text_at(object, "spec", "persistence", "size", NULL), "10Gi");     /* the resource's schema takes no space */
    terminal_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fleet_is_told_what_the_entry_comes_to),
        cmocka_unit_test(a_new_pod_needs_its_key_read_again),
        cmocka_unit_test(keys_come_from_spec_or_label),
        cmocka_unit_test(a_policy_becomes_a_resource),
        cmocka_unit_test(a_policy_means_what_it_means_to_the_direct_backend),
        cmocka_unit_test(what_no_resource_can_be_is_said),
        cmocka_unit_test(a_home_without_a_resource_is_reset_as_the_settings_say),
        cmocka_unit_test(a_home_without_a_size_of_its_policy_has_the_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
