/* What may be written as a policy (orchestrator.md §3.1, §3.2), with the recorded answers of the original. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/json.h"
#include "policy/policy.h"

static const struct policy_limits no_limits = { .image = (char *)"default:1" };
static char *const image_globs[] = { (char *)"open-terminal:*", (char *)"ghcr.io/*" };
static const struct policy_limits capped = {
    .image = (char *)"default:1",
    .has_max_cpu = true, .max_nano_cpus = 2000000000, .max_cpu = (char *)"2",
    .has_max_memory = true, .max_memory_bytes = 4ULL << 30, .max_memory = (char *)"4Gi",
    .has_max_storage = true, .max_storage_bytes = 10ULL << 30, .max_storage = (char *)"10Gi",
    .allowed_images = (char **)image_globs, .allowed_image_count = 2,
};

static json_t *read_json(const char *text)
{
    struct error err;
    json_t *value = json_read(str_from(text), &err);

    if (!value)
        fail_msg("%s: %s", text, err.text);
    return value;
}

struct outcome {
    int result;
    json_t *normal, *detail;
    struct error err;
};

static struct outcome check(const struct policy_limits *limits, const char *data)
{
    cleanup_json json_t *value = read_json(data), *location = read_json("[\"body\"]");
    struct outcome outcome = { 0 };

    outcome.result = policy_check(limits, value, location, &outcome.normal, &outcome.detail, &outcome.err);
    return outcome;
}

static void outcome_clear(struct outcome *outcome)
{
    json_decref(outcome->normal);
    json_decref(outcome->detail);
}

static void accepted_policies_are_stored_normalised(void **state)
{
    static const struct { const char *name, *data, *stored; } rows[] = {
        { "pol-post", "{\"image\":\"open-terminal:0.14.5\",\"cpu_limit\":\"1\",\"env\":{\"A\":\"b\"}}",
          "{\"image\":\"open-terminal:0.14.5\",\"env\":{\"A\":\"b\"},\"cpu_limit\":\"1\"}" },
        { "pol-put-extra", "{\"podTemplate\":{\"spec\":{\"hostNetwork\":true}},\"foo\":[1,null],\"image\":null}",
          "{\"podTemplate\":{\"spec\":{\"hostNetwork\":true}},\"foo\":[1,null]}" },
        { "pol-put-strint", "{\"idle_timeout_minutes\":\"15\",\"restricted\":\"yes\"}",
          "{\"idle_timeout_minutes\":15,\"restricted\":true}" },
        { "empty", "{}", "{}" },
        { "float without fraction", "{\"idle_timeout_minutes\":30.0}", "{\"idle_timeout_minutes\":30}" },
        { "underscores, sign, blanks", "{\"idle_timeout_minutes\":\" +1_000.00 \"}", "{\"idle_timeout_minutes\":1000}" },
        { "integer from boolean", "{\"pids_limit\":true}", "{\"pids_limit\":1}" },
        { "booleans", "{\"restricted\":\"OFF\",\"allow_sudo\":1.0}", "{\"restricted\":false,\"allow_sudo\":true}" },
        { "nulls in env stay", "{\"env\":{\"A\":null,\"B\":1,\"C\":true}}", "{\"env\":{\"A\":null,\"B\":1,\"C\":true}}" },
        { "both spellings", "{\"podSecurityContext\":{\"fsGroup\":1},\"container_security_context\":{}}",
          "{\"podSecurityContext\":{\"fsGroup\":1},\"container_security_context\":{}}" },
        { "access", "{\"access\":{\"users\":[\"a\"],\"roles\":[]}}", "{\"access\":{\"users\":[\"a\"],\"roles\":[]}}" },
        { "zero idle is never", "{\"idle_timeout_minutes\":0}", "{\"idle_timeout_minutes\":0}" },
        { "modes", "{\"storage_mode\":\"shared-rwo\"}", "{\"storage_mode\":\"shared-rwo\"}" },
        { "words", "{\"runtime\":\"runsc\",\"gpus\":\"all\",\"network\":\"n\",\"pids_limit\":10}",
          "{\"runtime\":\"runsc\",\"pids_limit\":10,\"gpus\":\"all\",\"network\":\"n\"}" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct outcome outcome = check(&no_limits, rows[i].data);
        cleanup_free char *text = outcome.normal ? json_write(outcome.normal) : NULL;

        if (!text || strcmp(text, rows[i].stored) != 0)
            fail_msg("%s: %s %s", rows[i].name, text ? text : "refused", outcome.err.text);
        outcome_clear(&outcome);
    }
}

static void wrong_types_are_reported_as_the_framework_does(void **state)
{
    static const struct { const char *data, *detail; } rows[] = {
        { "{\"cpu_limit\":2}",
          "[{\"type\":\"string_type\",\"loc\":[\"body\",\"cpu_limit\"],\"msg\":\"Input should be a valid string\",\"input\":2}]" },
        { "{\"idle_timeout_minutes\":1.5}",
          "[{\"type\":\"int_from_float\",\"loc\":[\"body\",\"idle_timeout_minutes\"],"
          "\"msg\":\"Input should be a valid integer, got a number with a fractional part\",\"input\":1.5}]" },
        { "null", "[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field required\",\"input\":null}]" },
        { "\"{}\"", "[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],"
          "\"msg\":\"Input should be a valid dictionary or object to extract fields from\",\"input\":\"{}\"}]" },
        { "{\"restricted\":2,\"env\":[],\"idle_timeout_minutes\":\"x\",\"image\":[]}",
          "[{\"type\":\"string_type\",\"loc\":[\"body\",\"image\"],\"msg\":\"Input should be a valid string\",\"input\":[]},"
          "{\"type\":\"dict_type\",\"loc\":[\"body\",\"env\"],\"msg\":\"Input should be a valid dictionary\",\"input\":[]},"
          "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"idle_timeout_minutes\"],"
          "\"msg\":\"Input should be a valid integer, unable to parse string as an integer\",\"input\":\"x\"},"
          "{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"restricted\"],"
          "\"msg\":\"Input should be a valid boolean, unable to interpret input\",\"input\":2}]" },
        { "{\"restricted\":0.5,\"pids_limit\":{}}",
          "[{\"type\":\"bool_type\",\"loc\":[\"body\",\"restricted\"],\"msg\":\"Input should be a valid boolean\",\"input\":0.5},"
          "{\"type\":\"int_type\",\"loc\":[\"body\",\"pids_limit\"],\"msg\":\"Input should be a valid integer\",\"input\":{}}]" },
        { "{\"pids_limit\":\"99999999999999999999\"}",
          "[{\"type\":\"int_parsing_size\",\"loc\":[\"body\",\"pids_limit\"],"
          "\"msg\":\"Unable to parse input string as an integer, exceeded maximum size\",\"input\":\"99999999999999999999\"}]" },
        { "{\"env\":{\"A\":[1]}}",
          "[{\"type\":\"string_type\",\"loc\":[\"body\",\"env\",\"A\"],\"msg\":\"Input should be a valid string\",\"input\":[1]}]" },
        { "{\"access\":{\"users\":\"a\",\"roles\":[1],\"user\":[]}}",
          "[{\"type\":\"list_type\",\"loc\":[\"body\",\"access\",\"users\"],\"msg\":\"Input should be a valid list\",\"input\":\"a\"},"
          "{\"type\":\"string_type\",\"loc\":[\"body\",\"access\",\"roles\",0],\"msg\":\"Input should be a valid string\",\"input\":1},"
          "{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"access\",\"user\"],\"msg\":\"Extra inputs are not permitted\",\"input\":[]}]" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct outcome outcome = check(&no_limits, rows[i].data);
        cleanup_free char *text = outcome.detail ? json_write(outcome.detail) : NULL;

        if (!text || strcmp(text, rows[i].detail) != 0)
            fail_msg("%s: %s", rows[i].data, text ? text : "accepted");
        assert_int_equal(outcome.err.class, ERR_UNPROCESSABLE);
        assert_null(outcome.normal);
        outcome_clear(&outcome);
    }
}

static void integers_in_text_are_read_like_python_literals(void **state)
{
    static const char *const refused[] = { "", " ", "1__0", "_1", "5_", "15.5", "15.", ".0", "1e3", "0x10", "- 3", "--1", "+-1" };

    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        cleanup_free char *data = xasprintf("{\"idle_timeout_minutes\":\"%s\"}", refused[i]);
        struct outcome outcome = check(&no_limits, data);

        if (outcome.result == 0)
            fail_msg("'%s' was taken", refused[i]);
        outcome_clear(&outcome);
    }
}

static void broken_rules_are_told_in_the_contracts_words(void **state)
{
    static const struct { const struct policy_limits *limits; const char *data, *text; } rows[] = {
        { &no_limits, "{\"reset\":{\"schedule\":\"@weekly\"},\"lifecycle\":1}",
          "Lifecycle keys are not valid policy fields: lifecycle, reset" },
        { &no_limits, "{\"reset_timezone\":null,\"reset_schedule\":\"\"}",
          "Lifecycle keys are not valid policy fields: reset_schedule, reset_timezone" },
        { &no_limits, "{\"restricted\":true,\"env\":{\"OPEN_TERMINAL_ALLOWED_DOMAINS\":\"x\",\"OPEN_TERMINAL_PACKAGES\":\"vim\","
          "\"OPEN_TERMINAL_MULTI_USER\":\"true\"}}",
          "OPEN_TERMINAL_ALLOWED_DOMAINS is not supported in restricted Kubernetes/OpenShift mode; OPEN_TERMINAL_PACKAGES is not "
          "supported in restricted Kubernetes/OpenShift mode; OPEN_TERMINAL_MULTI_USER=true is not supported in restricted "
          "Kubernetes/OpenShift mode" },
        { &capped, "{\"image\":\"evil:1\"}", "Image 'evil:1' not in allowed list" },
        { &capped, "{\"podTemplate\":{\"spec\":{\"initContainers\":[{\"image\":\"open-terminal:1\"},{\"image\":\"evil:2\"}]}}}",
          "Image 'evil:2' not in allowed list" },
        { &no_limits, "{\"cpu_limit\":\"two\"}", "Invalid cpu_limit 'two'" },
        { &no_limits, "{\"cpu_limit\":\"-1\"}", "Invalid cpu_limit '-1'" },
        { &no_limits, "{\"memory_limit\":\"4GB\"}", "Invalid memory_limit '4GB'" },
        { &no_limits, "{\"memory_limit\":\"\"}", "Invalid memory_limit ''" },
        { &no_limits, "{\"storage\":\"99999999999999999999\"}", "Invalid storage '99999999999999999999'" },
        { &no_limits, "{\"storage_mode\":\"mine\"}", "Invalid storage_mode 'mine'" },
        { &no_limits, "{\"idle_timeout_minutes\":-5}", "Invalid idle_timeout_minutes '-5'" },
        { &no_limits, "{\"idle_timeout_minutes\":9000000000}", "Invalid idle_timeout_minutes '9000000000'" },
        { &no_limits, "{\"pids_limit\":0}", "Invalid pids_limit '0'" },
        { &no_limits, "{\"runtime\":\"\"}", "Invalid runtime ''" },
        { &no_limits, "{\"env\":{\"OPEN_TERMINAL_API_KEY\":\"x\"}}",
          "OPEN_TERMINAL_API_KEY is set by the service and cannot be given in env" },
        { &no_limits, "{\"env\":{\"OPEN_TERMINAL_API_KEY_FILE\":null}}",
          "OPEN_TERMINAL_API_KEY_FILE is set by the service and cannot be given in env" },
        { &no_limits, "{\"env\":{\"A=B\":\"x\"}}", "Invalid env name 'A=B'" },
        { &no_limits, "{\"env\":{\"\":\"x\"}}", "Invalid env name ''" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct outcome outcome = check(rows[i].limits, rows[i].data);

        if (outcome.result == 0 || strcmp(outcome.err.text, rows[i].text) != 0)
            fail_msg("%s: %s", rows[i].data, outcome.result == 0 ? "accepted" : outcome.err.text);
        assert_int_equal(outcome.err.class, ERR_INVALID);
        assert_null(outcome.detail);
        outcome_clear(&outcome);
    }
}

static void restricted_follows_the_flag_else_the_service(void **state)
{
    const struct policy_limits restricted = { .image = (char *)"i", .restricted = true };
    static const struct { const char *data; bool good; } rows[] = {
        { "{\"env\":{\"OPEN_TERMINAL_PACKAGES\":\"vim\"}}", false },
        { "{\"restricted\":false,\"env\":{\"OPEN_TERMINAL_PACKAGES\":\"vim\"}}", true },
        { "{\"env\":{\"OPEN_TERMINAL_PACKAGES\":\"\",\"OPEN_TERMINAL_PIP_PACKAGES\":null}}", true },
        { "{\"env\":{\"OPEN_TERMINAL_ALLOWED_DOMAINS\":\"\"}}", false },
        { "{\"env\":{\"OPEN_TERMINAL_MULTI_USER\":\"no\"}}", true },
        { "{\"env\":{\"OPEN_TERMINAL_MULTI_USER\":1}}", false },
        { "{\"env\":{\"OPEN_TERMINAL_MULTI_USER\":\"On\"}}", false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct outcome outcome = check(&restricted, rows[i].data);

        if ((outcome.result == 0) != rows[i].good)
            fail_msg("%s", rows[i].data);
        outcome_clear(&outcome);
    }
}

static void caps_are_compared_as_quantities_and_stored_as_their_text(void **state)
{
    static const struct { const char *name, *data, *stored; } rows[] = {
        { "caps-cpu-over", "{\"cpu_limit\":\"4\"}", "{\"cpu_limit\":\"2\"}" },
        { "caps-cpu-1e1", "{\"cpu_limit\":\"1e1\"}", "{\"cpu_limit\":\"2\"}" },
        { "caps-mem-over", "{\"memory_limit\":\"8Gi\"}", "{\"memory_limit\":\"4Gi\"}" },
        { "caps-mem-plain", "{\"memory_limit\":\"99999999999\"}", "{\"memory_limit\":\"4Gi\"}" },
        { "millicores", "{\"cpu_limit\":\"4000m\"}", "{\"cpu_limit\":\"2\"}" },
        { "equal stays as written", "{\"cpu_limit\":\"2000m\",\"memory_limit\":\"4096Mi\"}",
          "{\"cpu_limit\":\"2000m\",\"memory_limit\":\"4096Mi\"}" },
        { "4G is below 4Gi", "{\"memory_limit\":\"4G\"}", "{\"memory_limit\":\"4G\"}" },
        { "4.3G is above 4Gi", "{\"memory_limit\":\"4.3G\"}", "{\"memory_limit\":\"4Gi\"}" },
        { "storage", "{\"storage\":\"1Ti\"}", "{\"storage\":\"10Gi\"}" },
        { "none at all is over", "{\"cpu_limit\":\"0\"}", "{\"cpu_limit\":\"2\"}" },
        { "absent stays absent", "{\"image\":\"ghcr.io/a/b/c:1\"}", "{\"image\":\"ghcr.io/a/b/c:1\"}" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct outcome outcome = check(&capped, rows[i].data);
        cleanup_free char *text = outcome.normal ? json_write(outcome.normal) : NULL;

        if (!text || strcmp(text, rows[i].stored) != 0)
            fail_msg("%s: %s %s", rows[i].name, text ? text : "refused", outcome.err.text);
        outcome_clear(&outcome);
    }
}

static void policy_ids_are_one_to_128_plain_characters(void **state)
{
    char long_id[130];

    memset(long_id, 'x', sizeof(long_id));
    assert_true(policy_id_is_valid(STR_LITERAL("gpu")));
    assert_true(policy_id_is_valid(STR_LITERAL("A b:\xc3\xa9")));
    assert_true(policy_id_is_valid(str_of(long_id, 128)));
    assert_false(policy_id_is_valid(str_of(long_id, 129)));
    assert_false(policy_id_is_valid(STR_LITERAL("")));
    assert_false(policy_id_is_valid(STR_LITERAL("a/b")));
    assert_false(policy_id_is_valid(STR_LITERAL("a\nb")));
    assert_false(policy_id_is_valid(STR_LITERAL("a\0b")));
    assert_false(policy_id_is_valid(STR_LITERAL("a\xc2\x9f")));
    assert_false(policy_id_is_valid(STR_LITERAL("\xff")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_policies_are_stored_normalised),
        cmocka_unit_test(wrong_types_are_reported_as_the_framework_does),
        cmocka_unit_test(integers_in_text_are_read_like_python_literals),
        cmocka_unit_test(broken_rules_are_told_in_the_contracts_words),
        cmocka_unit_test(restricted_follows_the_flag_else_the_service),
        cmocka_unit_test(caps_are_compared_as_quantities_and_stored_as_their_text),
        cmocka_unit_test(policy_ids_are_one_to_128_plain_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
