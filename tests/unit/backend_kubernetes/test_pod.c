/* What pods, claims, Services and the NetworkPolicy are made of (orchestrator.md §4.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "backend/kubernetes/parts.h"
#include "kubernetes/pod.h"

static const struct terminal_key alice = { (char *)"alice@example.org", (char *)"gpu", (char *)"default" };

static json_t *parse(const char *text)
{
    struct error err = { 0 };
    json_t *value = json_read(str_from(text), &err);

    if (!value)
        fail_msg("%s: %s", text, err.text);
    return value;
}

/* The value at a path such as "spec.containers.0.image". Borrowed; NULL: none. */
static const json_t *at(const json_t *value, const char *path)
{
    struct str rest = str_from(path), part;
    uint64_t index;

    while (value && str_next_part(&rest, '.', &part)) {
        cleanup_free char *key = str_dup(part);
        value = json_is_array(value) && str_to_u64(part, &index) ? json_array_get(value, index) : json_object_get(value, key);
    }
    return value;
}

static struct settings plain_settings(void)
{
    return (struct settings){ .kubernetes_namespace = (char *)"ns", .kubernetes_storage_size = (char *)"1Gi", .kubernetes_storage_mode = (char *)"per-user",
                              .kubernetes_service_type = (char *)"ClusterIP", .image = (char *)"guest:1" };
}

static json_t *make(const struct terminal_spec *spec, const struct settings *settings, struct error *err)
{
    struct pod_plan plan = { .name = "terminal-x", .namespace = "ns", .claim = "terminal-x", .guest_key = "sk-1", .settings = settings,
                             .choose_fs_group = true };

    return pod_body(spec, &plan, err);
}

static void expect(const char *row, const json_t *pod, const char *path, const char *expected)
{
    cleanup_json json_t *wanted = strcmp(expected, "absent") == 0 ? NULL : json_loads(expected, JSON_DECODE_ANY, NULL);
    const json_t *found = at(pod, path);
    cleanup_free char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    if (wanted ? !json_equal(wanted, found) : found != NULL)
        fail_msg("%s: %s is %s, not %s", row, path, text ? text : "absent", expected);
}

static void pods_are_made_as_the_policy_says(void **state)
{
    static const struct {
        const char *name, *policy;
        struct terminal_spec spec;
        const char *path, *expected;
    } rows[] = {
        { "image", "{}", { .allow_sudo = true }, "spec.containers.0.image", "\"guest:1\"" },
        { "container's name", "{}", { .allow_sudo = true }, "spec.containers.0.name", "\"open-terminal\"" },
        { "home is the working directory", "{}", { .allow_sudo = true }, "spec.containers.0.workingDir", "\"/home/user\"" },
        { "key comes from the Secret", "{}", { .allow_sudo = true }, "spec.containers.0.env.2.valueFrom.secretKeyRef",
          "{\"name\":\"terminal-x-apikey\",\"key\":\"api-key\"}" },
        { "dollars are not expanded", "{}", { .allow_sudo = true }, "spec.containers.0.env.1.value", "\"$$(HOME) $$$$\"" },
        { "no service account token", "{}", { .allow_sudo = true }, "spec.automountServiceAccountToken", "false" },
        { "no service links", "{}", { .allow_sudo = true }, "spec.enableServiceLinks", "false" },
        { "restarts", "{}", { .allow_sudo = true }, "spec.restartPolicy", "\"Always\"" },
        { "readiness on /health", "{}", { .allow_sudo = true }, "spec.containers.0.readinessProbe.httpGet", "{\"path\":\"/health\",\"port\":8000}" },
        { "limits", "{}", { .allow_sudo = true, .nano_cpus = 1500000001, .memory_bytes = 1ull << 30 }, "spec.containers.0.resources.limits",
          "{\"cpu\":\"1501m\",\"memory\":\"1Gi\"}" },
        { "small requests", "{}", { .allow_sudo = true, .nano_cpus = 4000000000 }, "spec.containers.0.resources.requests",
          "{\"cpu\":\"10m\",\"memory\":\"64Mi\"}" },
        { "requests are never above limits", "{}", { .allow_sudo = true, .nano_cpus = 5000000, .memory_bytes = 1000 },
          "spec.containers.0.resources.requests", "{\"cpu\":\"5m\",\"memory\":\"1000\"}" },
        { "gpus", "{}", { .allow_sudo = true, .gpus = "2" }, "spec.containers.0.resources.limits", "{\"nvidia.com/gpu\":2}" },
        { "runtime class", "{}", { .allow_sudo = true, .runtime = "gvisor" }, "spec.runtimeClassName", "\"gvisor\"" },
        { "no sudo", "{}", { .allow_sudo = false }, "spec.containers.0.securityContext", "{\"allowPrivilegeEscalation\":false}" },
        { "group of the home", "{}", { .allow_sudo = true }, "spec.securityContext.fsGroup", "1000" },
        { "group of the home follows runAsGroup", "{\"pod_security_context\":{\"runAsGroup\":7}}", { .allow_sudo = true }, "spec.securityContext.fsGroup", "7" },
        { "group that the policy names", "{\"podSecurityContext\":{\"fsGroup\":5}}", { .allow_sudo = true }, "spec.securityContext.fsGroup", "5" },
        { "group that the template names", "{\"podTemplate\":{\"spec\":{\"securityContext\":{\"fsGroup\":6}}}}", { .allow_sudo = true },
          "spec.securityContext.fsGroup", "6" },
        { "restricted pod", "{\"pod_security_context\":{\"fsGroup\":5}}", { .restricted = true }, "spec.securityContext",
          "{\"runAsNonRoot\":true,\"seccompProfile\":{\"type\":\"RuntimeDefault\"},\"fsGroup\":5}" },
        { "restricted container", "{}", { .restricted = true, .allow_sudo = true }, "spec.containers.0.securityContext",
          "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":true}" },
        { "policy over restricted defaults", "{\"containerSecurityContext\":{\"runAsUser\":1001,\"runAsNonRoot\":false}}",
          { .restricted = true, .allow_sudo = true }, "spec.containers.0.securityContext",
          "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":false,\"runAsUser\":1001}" },
        { "NET_ADMIN for the image's own filter", "{}", { .allow_sudo = true, .net_admin = true }, "spec.containers.0.securityContext.capabilities.add",
          "[\"NET_ADMIN\"]" },
        { "but not restricted", "{}", { .restricted = true, .net_admin = true }, "spec.containers.0.securityContext.capabilities", "{\"drop\":[\"ALL\"]}" },
        { "template cannot change the image", "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"open-terminal\",\"image\":\"evil\"}]}}}",
          { .allow_sudo = true }, "spec.containers.0.image", "\"guest:1\"" },
        { "template cannot change the name", "{\"podTemplate\":{\"metadata\":{\"name\":\"evil\",\"namespace\":\"kube-system\"}}}", { .allow_sudo = true },
          "metadata.name", "\"terminal-x\"" },
        { "template cannot change the namespace", "{\"podTemplate\":{\"metadata\":{\"name\":\"evil\",\"namespace\":\"kube-system\"}}}",
          { .allow_sudo = true }, "metadata.namespace", "\"ns\"" },
        { "template cannot name owners", "{\"podTemplate\":{\"metadata\":{\"ownerReferences\":[{\"uid\":\"1\"}]}}}", { .allow_sudo = true },
          "metadata.ownerReferences", "absent" },
        { "template cannot hide a terminal", "{\"podTemplate\":{\"metadata\":{\"labels\":{\"openwebui.com/wipe\":\"true\"}}}}", { .allow_sudo = true },
          "spec.none", "absent" },
        { "template adds a label", "{\"podTemplate\":{\"metadata\":{\"labels\":{\"team\":\"x\"}}}}", { .allow_sudo = true }, "metadata.labels.team", "\"x\"" },
        { "template adds a container", "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"s\"}]}}}", { .allow_sudo = true },
          "spec.containers.1.name", "\"side\"" },
        { "bare pod spec", "{\"pod_template\":{\"serviceAccountName\":\"sa\"}}", { .allow_sudo = true }, "spec.serviceAccountName", "\"sa\"" },
        { "template's requests stay", "{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"open-terminal\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}}",
          { .allow_sudo = true }, "spec.containers.0.resources.requests", "{\"cpu\":\"1\",\"memory\":\"64Mi\"}" },
    };
    cleanup_json json_t *env = parse("{\"A\":\"1\",\"B\":\"$(HOME) $$\",\"OPEN_TERMINAL_API_KEY\":\"stolen\"}");
    struct settings settings = plain_settings();

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *policy = parse(rows[i].policy);
        struct terminal_spec spec = rows[i].spec;
        struct error err = { 0 };

        spec.key = &alice;
        spec.image = "guest:1";
        spec.env = env;
        spec.policy = policy;
        cleanup_json json_t *pod = make(&spec, &settings, &err);
        if (!pod)
            fail_msg("%s: %s", rows[i].name, err.text);
        expect(rows[i].name, pod, rows[i].path, rows[i].expected);
        assert_null(kube_label(pod, LABEL_WIPE));
    }
}

static void what_a_pod_cannot_be_is_said(void **state)
{
    static const struct { struct terminal_spec spec; const char *text; } rows[] = {
        { { .gpus = "all" }, "gpus 'all'" }, { { .gpus = "0" }, "gpus '0'" }, { { .network = "lan" }, "network 'lan'" },
    };
    struct settings settings = plain_settings();

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct terminal_spec spec = rows[i].spec;
        struct error err = { 0 };

        spec.key = &alice;
        spec.image = "guest:1";
        assert_null(make(&spec, &settings, &err));
        assert_int_equal(err.class, ERR_INVALID_POLICY);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s", err.text);
    }
}

static void settings_stand_between_defaults_and_policy(void **state)
{
    cleanup_json json_t *global = parse("{\"runAsUser\":1,\"seccompProfile\":{\"localhostProfile\":\"p\"}}");
    cleanup_json json_t *policy = parse("{\"pod_security_context\":{\"runAsUser\":2}}");
    struct settings settings = plain_settings();

    settings.kubernetes_pod_security_context = global;
    cleanup_json json_t *context = pod_security_context(&settings, policy, true);
    expect("merged", context, "runAsUser", "2");
    expect("merged", context, "seccompProfile", "{\"type\":\"RuntimeDefault\",\"localhostProfile\":\"p\"}");
    expect("merged", context, "runAsNonRoot", "true");
}

static void the_cleaner_is_like_the_terminal(void **state)
{
    cleanup_json json_t *policy = parse("{\"pod_security_context\":{\"runAsUser\":1001},\"container_security_context\":{\"privileged\":false},"
                                        "\"podTemplate\":{\"spec\":{\"imagePullSecrets\":[{\"name\":\"pull\"}]}}}");
    struct settings settings = plain_settings();
    struct terminal_spec spec = { .key = &alice, .image = "guest:1", .policy = policy, .allow_sudo = true };
    struct error err = { 0 };
    cleanup_json json_t *pod = make(&spec, &settings, &err), *cleaner = kube_cleaner_of(pod);
    struct pod_plan plan = { .name = "terminal-x-wipe", .namespace = "ns", .claim = "c", .sub_path = "terminal-x", .settings = &settings };
    cleanup_json json_t *wipe = wipe_body(&alice, &plan, cleaner);

    expect("image", wipe, "spec.containers.0.image", "\"guest:1\"");
    expect("user", wipe, "spec.securityContext.runAsUser", "1001");
    expect("container", wipe, "spec.containers.0.securityContext.privileged", "false");
    expect("pull secrets", wipe, "spec.imagePullSecrets", "[{\"name\":\"pull\"}]");
    expect("mount", wipe, "spec.containers.0.volumeMounts", "[{\"name\":\"home\",\"mountPath\":\"/home/user\",\"subPath\":\"terminal-x\"}]");
    expect("once", wipe, "spec.restartPolicy", "\"Never\"");
    expect("no rest of ours", wipe, "spec.container", "absent");
    assert_non_null(kube_label(wipe, LABEL_WIPE));
}

static void claims_are_made_for_their_mode(void **state)
{
    static const struct { const char *mode, *class; uint64_t bytes; const char *access, *size, *class_name; } rows[] = {
        { "per-user", NULL, 0, "[\"ReadWriteOnce\"]", "\"1Gi\"", "absent" },
        { "per-user", "fast", 5ull << 30, "[\"ReadWriteOnce\"]", "\"5Gi\"", "\"fast\"" },
        { "per-user", NULL, 512ull << 20, "[\"ReadWriteOnce\"]", "\"512Mi\"", "absent" },
        { "shared", NULL, 5ull << 30, "[\"ReadWriteMany\"]", "\"1Gi\"", "absent" },
        { "shared-rwo", NULL, 0, "[\"ReadWriteOnce\"]", "\"1Gi\"", "absent" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings = plain_settings();
        struct terminal_spec spec = { .key = &alice, .storage_bytes = rows[i].bytes };

        settings.kubernetes_storage_class = (char *)rows[i].class;
        cleanup_json json_t *claim = claim_body(&spec, "c", "terminal-x", rows[i].mode, &settings, NULL);
        expect(rows[i].mode, claim, "spec.accessModes", rows[i].access);
        expect(rows[i].mode, claim, "spec.resources.requests.storage", rows[i].size);
        expect(rows[i].mode, claim, "spec.storageClassName", rows[i].class_name);
    }
}

/* The settings' check takes forms that the API server refuses. */
static void sizes_are_written_as_kubernetes_reads_them(void **state)
{
    static const struct { const char *given, *written; } rows[] = {
        { "1Gi", "1Gi" }, { "10 Gi", "10Gi" }, { "1.5Gi", "1536Mi" }, { "10K", "10000" }, { "10k", "10000" }, { "1e3", "1000" }, { "2Ei", "2147483648Gi" },
        { "100m", "100m" }, { "big", "big" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings = plain_settings();
        struct terminal_spec spec = { .key = &alice };

        settings.kubernetes_storage_size = (char *)rows[i].given;
        cleanup_json json_t *claim = claim_body(&spec, "c", "terminal-x", "per-user", &settings, NULL);
        cleanup_free char *wanted = xasprintf("\"%s\"", rows[i].written);
        expect(rows[i].given, claim, "spec.resources.requests.storage", wanted);
    }
}

static void a_service_selects_by_the_terminals_name_only(void **state)
{
    struct settings settings = plain_settings();
    cleanup_json json_t *service = service_body(&alice, "terminal-x", &settings);

    assert_int_equal(json_object_size(at(service, "spec.selector")), 2);
    assert_string_equal(json_text(at(service, "spec.selector"), LABEL_INSTANCE), "terminal-x");
    expect("port", service, "spec.ports.0.port", "8000");
}

static void the_network_policy_lets_in_only_the_orchestrator(void **state)
{
    cleanup_json json_t *peers = parse("[{\"ipBlock\":{\"cidr\":\"10.0.0.1/32\"}}]"), *denied = parse("[\"10.1.0.1/32\",\"fd00::1/128\"]");
    cleanup_json json_t *policy = network_policy_body("ns", peers, denied);

    expect("from", policy, "spec.ingress", "[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.1/32\"}}],\"ports\":[{\"protocol\":\"TCP\",\"port\":8000}]}]");
    expect("types", policy, "spec.policyTypes", "[\"Ingress\",\"Egress\"]");
    expect("IPv4", policy, "spec.egress.1.to.0.ipBlock.except", "[\"169.254.0.0/16\",\"10.1.0.1/32\"]");
    expect("IPv6", policy, "spec.egress.1.to.1.ipBlock.except", "[\"fe80::/10\",\"fd00::1/128\"]");
    expect("selects guests", policy, "spec.podSelector.matchLabels",
           "{\"app.kubernetes.io/managed-by\":\"terminals\",\"app.kubernetes.io/part-of\":\"open-terminal\"}");
}

/* An empty list of peers would let in everybody. */
static void without_a_peer_the_network_policy_has_no_list_of_peers(void **state)
{
    cleanup_json json_t *peers = parse("[]"), *denied = parse("[]");
    cleanup_json json_t *policy = network_policy_body("ns", peers, denied);

    expect("ingress", policy, "spec.ingress", "absent");
    expect("types", policy, "spec.policyTypes", "[\"Egress\"]");
    expect("IPv4", policy, "spec.egress.1.to.0.ipBlock.except", "[\"169.254.0.0/16\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_are_made_as_the_policy_says),
        cmocka_unit_test(what_a_pod_cannot_be_is_said),
        cmocka_unit_test(settings_stand_between_defaults_and_policy),
        cmocka_unit_test(the_cleaner_is_like_the_terminal),
        cmocka_unit_test(claims_are_made_for_their_mode),
        cmocka_unit_test(sizes_are_written_as_kubernetes_reads_them),
        cmocka_unit_test(a_service_selects_by_the_terminals_name_only),
        cmocka_unit_test(the_network_policy_lets_in_only_the_orchestrator),
        cmocka_unit_test(without_a_peer_the_network_policy_has_no_list_of_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
