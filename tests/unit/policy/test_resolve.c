/* From stored policies to what terminals are started with (orchestrator.md §3.3, §3.4), and the snapshot. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "base/json.h"
#include "policy/policy.h"

static struct policy_limits *make_limits(bool with_caps)
{
    static char *globs[] = { (char *)"open-terminal:*" };
    const struct settings settings = {
        .image = (char *)"stock:latest",
        .max_cpu = with_caps ? (char *)"1500m" : NULL,
        .max_memory = with_caps ? (char *)"4Gi" : NULL,
        .max_storage = with_caps ? (char *)"10Gi" : NULL,
        .allowed_images = { globs, with_caps ? 1 : 0 },
        .idle_timeout_minutes = 20,
        .system_prompt = with_caps ? (char *)"be kind" : NULL,
    };

    return policy_limits_new(&settings);
}

static struct policy_snapshot *make_snapshot(bool with_caps, const char *rows)
{
    struct error err;
    cleanup_json json_t *array = json_read(str_from(rows), &err);

    if (!array)
        fail_msg("%s", err.text);
    return policy_snapshot_new(make_limits(with_caps), array);
}

/* Resolves the policy "p" that has `data`. */
static struct terminal_template *resolve(bool with_caps, const char *data, struct error *err)
{
    cleanup_free char *rows = xasprintf("[{\"id\":\"p\",\"data\":%s,\"created_at\":\"c\",\"updated_at\":\"u\"}]", data);
    struct policy_snapshot *snapshot = make_snapshot(with_caps, rows);
    struct terminal_template *template = policy_resolve(snapshot, policy_snapshot_find(snapshot, STR_LITERAL("p")), err);

    policy_snapshot_unref(snapshot);
    return template;
}

static void the_environment_is_ranked(void **state)
{
    static const struct { const char *name; bool caps; const char *data, *env; } rows[] = {
        { "nothing", false, "{}", "{}" },
        { "values become text, null is skipped", false,
          "{\"env\":{\"A\":\"x\",\"B\":1,\"C\":true,\"D\":null,\"E\":0.1,\"F\":false,\"G\":1.5}}",
          "{\"A\":\"x\",\"B\":\"1\",\"C\":\"true\",\"E\":\"0.1\",\"F\":\"false\",\"G\":\"1.5\"}" },
        { "limits stand above the policy's env", false,
          "{\"env\":{\"OPEN_TERMINAL_CPU_LIMIT\":\"9\",\"OPEN_TERMINAL_MEMORY_LIMIT\":\"9\"},\"cpu_limit\":\"250m\",\"memory_limit\":\"1G\"}",
          "{\"OPEN_TERMINAL_CPU_LIMIT\":\"0.25\",\"OPEN_TERMINAL_MEMORY_LIMIT\":\"1G\",\"OPEN_TERMINAL_CPU_COUNT\":\"0.25\","
          "\"OPEN_TERMINAL_MEMORY_BYTES\":\"1000000000\"}" },
        { "without a limit the policy's env stays", false, "{\"env\":{\"OPEN_TERMINAL_CPU_LIMIT\":\"9\"}}",
          "{\"OPEN_TERMINAL_CPU_LIMIT\":\"9\"}" },
        { "our prompt is lowest, caps are defaults", true, "{\"env\":{\"OPEN_TERMINAL_SYSTEM_PROMPT\":\"policy\"}}",
          "{\"OPEN_TERMINAL_SYSTEM_PROMPT\":\"policy\",\"OPEN_TERMINAL_CPU_LIMIT\":\"1.5\",\"OPEN_TERMINAL_CPU_COUNT\":\"1.5\","
          "\"OPEN_TERMINAL_MEMORY_LIMIT\":\"4Gi\",\"OPEN_TERMINAL_MEMORY_BYTES\":\"4294967296\"}" },
        { "the guest's key is ours alone", false, "{\"env\":{\"OPEN_TERMINAL_API_KEY\":\"x\",\"OPEN_TERMINAL_API_KEY_FILE\":\"y\",\"Z\":\"z\"}}",
          "{\"Z\":\"z\"}" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct terminal_template *template = resolve(rows[i].caps, rows[i].data, &err);
        cleanup_free char *env = template ? json_write(template->env) : NULL;

        if (!env || strcmp(env, rows[i].env) != 0)
            fail_msg("%s: %s %s", rows[i].name, env ? env : "refused", err.text);
        terminal_template_free(template);
    }
}

static void caps_hold_whatever_is_stored(void **state)
{
    static const struct { const char *name, *data; uint64_t cpu, memory, storage; } rows[] = {
        { "absent", "{}", 1500000000, 4ULL << 30, 10ULL << 30 },
        { "stored before the cap", "{\"cpu_limit\":\"8\",\"memory_limit\":\"64Gi\",\"storage\":\"1Ti\"}", 1500000000, 4ULL << 30, 10ULL << 30 },
        { "below", "{\"cpu_limit\":\"1\",\"memory_limit\":\"1Gi\",\"storage\":\"1Gi\"}", 1000000000, 1ULL << 30, 1ULL << 30 },
        { "zero is none", "{\"cpu_limit\":\"0\",\"memory_limit\":\"0\",\"storage\":\"0\"}", 1500000000, 4ULL << 30, 10ULL << 30 },
        { "empty is absent", "{\"cpu_limit\":\"\"}", 1500000000, 4ULL << 30, 10ULL << 30 },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct terminal_template *template = resolve(true, rows[i].data, &err);

        if (!template || template->nano_cpus != rows[i].cpu || template->memory_bytes != rows[i].memory
            || template->storage_bytes != rows[i].storage)
            fail_msg("%s %s", rows[i].name, err.text);
        terminal_template_free(template);
    }
}

static void stored_policies_that_cannot_be_used_fail_with_their_class(void **state)
{
    static const struct { const char *name, *data; enum error_class class; } rows[] = {
        { "image taken off the list", "{\"image\":\"evil:1\"}", ERR_IMAGE_NOT_ALLOWED },
        { "container of a template", "{\"pod_template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"evil:1\"}]}}}", ERR_IMAGE_NOT_ALLOWED },
        { "init container", "{\"podTemplate\":{\"spec\":{\"initContainers\":[{\"image\":\"evil:1\"}]}}}", ERR_IMAGE_NOT_ALLOWED },
        { "unreadable quantity", "{\"memory_limit\":\"lots\"}", ERR_INVALID_POLICY },
        { "wrong type", "{\"cpu_limit\":2}", ERR_INVALID_POLICY },
        { "not an object", "[]", ERR_INVALID_POLICY },
        { "what could not be read", "null", ERR_INVALID_POLICY },
        { "env that would set another name", "{\"env\":{\"OPEN_TERMINAL_API_KEY=x\":\"y\"}}", ERR_INVALID_POLICY },
        { "allowed", "{\"image\":\"open-terminal:1\"}", ERR_NONE },
        { "the service's own image", "{}", ERR_NONE },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct terminal_template *template = resolve(true, rows[i].data, &err);

        if (err.class != rows[i].class || (template != NULL) != (rows[i].class == ERR_NONE))
            fail_msg("%s: %s", rows[i].name, err.text);
        terminal_template_free(template);
    }
}

static void the_other_fields_are_passed_on(void **state)
{
    struct error err = { 0 };
    struct terminal_template *template = resolve(false, "{\"image\":\"a:1\",\"storage_mode\":\"shared\",\"runtime\":\"runsc\",\"gpus\":\"all\","
        "\"network\":\"n\",\"pids_limit\":\"99\",\"restricted\":1,\"allow_sudo\":\"no\",\"env\":{\"OPEN_TERMINAL_ALLOWED_DOMAINS\":\"\"},"
        "\"podTemplate\":{\"x\":1}}", &err);

    assert_non_null(template);
    assert_string_equal(template->image, "a:1");
    assert_string_equal(template->storage_mode, "shared");
    assert_string_equal(template->runtime, "runsc");
    assert_string_equal(template->gpus, "all");
    assert_string_equal(template->network, "n");
    assert_int_equal(template->pids_limit, 99);
    assert_true(template->restricted);
    assert_false(template->allow_sudo);
    assert_true(template->net_admin);
    assert_true(json_is_object(json_object_get(template->policy, "podTemplate")));
    terminal_template_free(template);

    template = resolve(false, "{}", &err);
    assert_non_null(template);
    assert_string_equal(template->image, "stock:latest");
    assert_null(template->storage_mode);
    assert_int_equal(template->pids_limit, 0);
    assert_true(template->allow_sudo);
    assert_false(template->net_admin);
    assert_false(template->restricted);
    terminal_template_free(template);
}

static void the_snapshot_always_has_a_default(void **state)
{
    struct policy_snapshot *snapshot = make_snapshot(false, "[{\"id\":\"a\",\"data\":{\"idle_timeout_minutes\":5},\"created_at\":\"c\","
        "\"updated_at\":\"u\",\"lifecycle\":{\"reset\":{}}},{\"id\":\"default\",\"lifecycle\":{\"note\":1}}]");
    const struct policy *policy = policy_snapshot_find(snapshot, STR_LITERAL("a"));

    assert_int_equal(policy_snapshot_count(snapshot), 1);
    assert_int_equal(policy->idle_timeout_minutes, 5);
    assert_string_equal(policy->created_at, "c");
    assert_non_null(json_object_get(policy->lifecycle, "reset"));
    policy = policy_snapshot_find(snapshot, STR_LITERAL("default"));
    assert_int_equal(policy->idle_timeout_minutes, 20);
    assert_null(policy->created_at);
    assert_non_null(json_object_get(policy->lifecycle, "note"));
    assert_null(policy_snapshot_find(snapshot, STR_LITERAL("b")));
    policy_snapshot_unref(snapshot);

    snapshot = make_snapshot(false, "[{\"id\":\"default\",\"data\":{\"image\":\"mine:1\"},\"created_at\":\"c\",\"updated_at\":\"u\"}]");
    assert_string_equal(policy_snapshot_find(snapshot, STR_LITERAL("default"))->image, "mine:1");
    assert_int_equal(policy_snapshot_count(snapshot), 1);
    policy_snapshot_unref(snapshot);
}

static void access_lets_in_whom_it_names(void **state)
{
    static const struct { const char *data, *user, *email, *role; bool allowed; } rows[] = {
        { "{}", "u", NULL, NULL, true },
        { "{\"access\":null}", "u", NULL, NULL, true },
        { "{\"access\":{\"users\":[\"u\"]}}", "u", NULL, NULL, true },
        { "{\"access\":{\"users\":[\"u\"]}}", "U", NULL, NULL, false },
        { "{\"access\":{\"users\":[\"A@x.org\"]}}", "u", "a@X.org", "user", true },
        { "{\"access\":{\"users\":[\"\"]}}", "u", "", "", false },
        { "{\"access\":{\"roles\":[\"admin\"]}}", "u", NULL, "admin", true },
        { "{\"access\":{\"roles\":[\"admin\"]}}", "u", NULL, "user", false },
        { "{\"access\":{\"roles\":[\"admin\"],\"users\":[\"u\"]}}", "u", NULL, "user", true },
        { "{\"access\":{}}", "u", NULL, "admin", false },
        { "{\"access\":\"everyone\"}", "u", NULL, "admin", false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_free char *text = xasprintf("[{\"id\":\"p\",\"data\":%s}]", rows[i].data);
        struct policy_snapshot *snapshot = make_snapshot(false, text);
        const struct policy *policy = policy_snapshot_find(snapshot, STR_LITERAL("p"));

        if (policy_allows(policy, rows[i].user, rows[i].email, rows[i].role) != rows[i].allowed)
            fail_msg("row %zu: %s", i, rows[i].data);
        policy_snapshot_unref(snapshot);
    }
}

static atomic_bool stop;

static void *read_snapshots(void *argument)
{
    struct policies *policies = argument;

    while (!atomic_load(&stop)) {
        struct policy_snapshot *snapshot = policies_current(policies);
        struct error err;
        struct terminal_template *template =
            policy_resolve(snapshot, policy_snapshot_find(snapshot, STR_LITERAL("default")), &err);

        assert_non_null(template);
        terminal_template_free(template);
        policy_snapshot_unref(snapshot);
    }
    return NULL;
}

static void publishing_replaces_the_snapshot_under_its_readers(void **state)
{
    struct policies *policies = policies_new(make_snapshot(true, "[]"));
    uint64_t before = policies_generation(policies);
    pthread_t threads[2];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_snapshots, policies), 0);
    for (int i = 0; i < 200; i++)
        policies_publish(policies, make_snapshot(true, "[{\"id\":\"default\",\"data\":{\"env\":{\"A\":\"b\"}}}]"));
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(policies_generation(policies), before + 200);
    policies_free(policies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_is_ranked),
        cmocka_unit_test(caps_hold_whatever_is_stored),
        cmocka_unit_test(stored_policies_that_cannot_be_used_fail_with_their_class),
        cmocka_unit_test(the_other_fields_are_passed_on),
        cmocka_unit_test(the_snapshot_always_has_a_default),
        cmocka_unit_test(access_lets_in_whom_it_names),
        cmocka_unit_test(publishing_replaces_the_snapshot_under_its_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
