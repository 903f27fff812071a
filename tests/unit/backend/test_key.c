/* Terminal keys and names (orchestrator.md §1). */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "backend/key.h"
#include "base/map.h"
#include "base/secret.h"

#define TEN "xxxxxxxxxx"
#define FIFTY TEN TEN TEN TEN TEN
#define HUNDRED FIFTY FIFTY

static void user_ids_that_name_nobody_are_refused(void **state)
{
    static const struct { struct str id; bool good; } rows[] = {
        { STR_LITERAL("alice"), true }, { STR_LITERAL("a@example.org"), true }, { STR_LITERAL("\xf0\x9f\x98\x80"), true },
        { STR_LITERAL("org/team/alice"), true }, { STR_LITERAL("a..b"), true }, { STR_LITERAL("with space"), true },
        { STR_LITERAL("system"), true }, { STR_LITERAL(HUNDRED HUNDRED FIFTY "123456"), true },
        { STR_LITERAL(""), false }, { STR_LITERAL("."), false }, { STR_LITERAL(".."), false },
        { STR_LITERAL("/etc"), false }, { STR_LITERAL("../../x"), false }, { STR_LITERAL("a/../b"), false },
        { STR_LITERAL("a/."), false }, { STR_LITERAL("a:b:c"), false }, { STR_LITERAL(HUNDRED HUNDRED FIFTY "1234567"), false },
        { STR_LITERAL("\xff\xfe"), false }, { STR_LITERAL("a\nb"), false }, { STR_LITERAL("a\0b"), false },
        { STR_LITERAL("a\x7f"), false }, { STR_LITERAL("a\xc2\x85"), false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };

        if ((user_id_check(rows[i].id, &err) == 0) != rows[i].good)
            fail_msg("row %zu, %.*s: %s", i, STR_ARG(rows[i].id), err.text);
        assert_int_equal(err.class, rows[i].good ? ERR_NONE : ERR_INVALID);
    }
}

static void contexts_are_default_chat_or_automation(void **state)
{
    static const struct { struct str given; const char *context, *error; } rows[] = {
        { { NULL, 0 }, "default", NULL },
        { STR_LITERAL("  \t"), "default", NULL },
        { STR_LITERAL("default"), "default", NULL },
        { STR_LITERAL(" chat:abc "), "chat:abc", NULL },
        { STR_LITERAL("automation:1"), "automation:1", NULL },
        { STR_LITERAL("foo"), NULL, "only chat and automation contexts are supported" },
        { STR_LITERAL("Chat:1"), NULL, "only chat and automation contexts are supported" },
        { STR_LITERAL("chat:a\x01"), NULL, "context_id contains control characters" },
        { STR_LITERAL("chat:" HUNDRED HUNDRED FIFTY "xx"), NULL, "context_id is too long" },
        { STR_LITERAL("chat:" HUNDRED HUNDRED FIFTY "\xc3\xa9"), "chat:" HUNDRED HUNDRED FIFTY "\xc3\xa9", NULL },
        { STR_LITERAL("chat:\xff"), NULL, "context_id is not valid UTF-8" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct error err = { 0 };
        struct str context;
        int result = context_id_normalise(rows[i].given, &context, &err);

        if (rows[i].error) {
            assert_int_equal(result, -1);
            assert_string_equal(err.text, rows[i].error);
        } else {
            assert_int_equal(result, 0);
            assert_true(str_equal_text(context, rows[i].context));
        }
    }
    assert_string_equal(context_type("chat:x"), "chat");
    assert_string_equal(context_type("automation:x"), "automation");
    assert_string_equal(context_type("default"), "default");
}

static void slugs_are_those_of_the_original(void **state)
{
    static const struct { const char *id, *slug; } rows[] = {
        { "gpu", "gpu" }, { "A.B", "a-b" }, { "a_b", "a-b" }, { "--x--", "x" }, { "\xc3\xa9t\xc3\xa9", "t" },
        { "a\xc3\xa9z", "a-z" }, { "\xe6\x97\xa5\xe6\x9c\xac", "" }, { "aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa" },
        { "aaaaaaaaaaaaaaaaaaa-b", "aaaaaaaaaaaaaaaaaaa-" }, { "a--b", "a--b" },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char slug[21];

        policy_slug(rows[i].id, slug);
        assert_string_equal(slug, rows[i].slug);
    }
}

static void make_name(const char *user, const char *policy, const char *context, char *out)
{
    const struct terminal_key key = { (char *)user, (char *)policy, (char *)context };

    terminal_name(&key, "terminals-", out);
}

static void names_follow_from_the_key(void **state)
{
    /* SHA-256("alice") = 2bd806c97f0e…, SHA-256("chat:1"), SHA-256("A.B") by their own function. */
    char name[TERMINAL_NAME_SIZE], want[128], hex[65], context[13];
    const struct terminal_key key = { (char *)"alice", (char *)"A.B", (char *)"chat:1" };

    make_name("alice", "default", "default", name);
    assert_string_equal(name, "terminals-2bd806c97f0e");
    make_name("alice", "gpu", "default", name);
    assert_string_equal(name, "terminals-2bd806c97f0e-gpu");
    key_hash12("chat:1", context);
    sha256_hex(str_from("A.B"), hex);
    (void)snprintf(want, sizeof(want), "terminals-2bd806c97f0e-a-b-%.6s-%s", hex, context);
    make_name("alice", "A.B", "chat:1", name);
    assert_string_equal(name, want);
    (void)snprintf(want, sizeof(want), "terminal-2bd806c97f0e-a-b-%s", context);
    terminal_legacy_name(&key, "terminal-", name);
    assert_string_equal(name, want);
}

static bool is_dns_label(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= 63 && name[0] != '-' && name[len - 1] != '-' && !strstr(name, "--")
        && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void names_are_valid_and_never_meet(void **state)
{
    char hex[65], like_suffix[80], like_context[80], bare_suffix[80], bare_context[80], context_hash[13];
    struct map seen = { 0 };

    sha256_hex(str_from("a_b"), hex);
    (void)snprintf(like_suffix, sizeof(like_suffix), "a-b-%.6s", hex);
    sha256_hex(str_from("\xe6\x97\xa5"), hex);
    (void)snprintf(bare_suffix, sizeof(bare_suffix), "%.6s", hex);
    key_hash12("chat:1", context_hash);
    (void)snprintf(like_context, sizeof(like_context), "p-%s", context_hash);
    (void)snprintf(bare_context, sizeof(bare_context), "%s", context_hash);
    const char *const policies[] = {
        "default", "Default", "a_b", "a-b", "A.B", "a--b", "-a-b", "a-b-", "a b", "\xe6\x97\xa5", "\xe6\x9c\xac", "-", "p",
        "aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaa-b",
        like_suffix, bare_suffix, like_context, bare_context,
    };
    static const char *const contexts[] = { "default", "chat:1", "chat:2", "automation:1" };

    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        for (size_t c = 0; c < COUNT_OF(contexts); c++) {
            char name[TERMINAL_NAME_SIZE];

            make_name("alice", policies[p], contexts[c], name);
            if (!is_dns_label(name))
                fail_msg("not a label: %s", name);
            if (map_put(&seen, str_from(name), (void *)policies[p]))
                fail_msg("two keys share %s", name);
        }
    }
    map_free(&seen, NULL);
}

static void keys_are_copied_and_compared_by_all_parts(void **state)
{
    struct terminal_key *key = terminal_key_new(STR_LITERAL("u"), STR_LITERAL("p"), STR_LITERAL("chat:1"));
    struct terminal_key *copy = terminal_key_copy(key);
    struct terminal_key *other = terminal_key_new(STR_LITERAL("u"), STR_LITERAL("p"), STR_LITERAL("chat:2"));

    assert_true(terminal_key_equal(key, copy));
    assert_false(terminal_key_equal(key, other));
    terminal_key_free(key);
    terminal_key_free(copy);
    terminal_key_free(other);
    terminal_key_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_ids_that_name_nobody_are_refused),
        cmocka_unit_test(contexts_are_default_chat_or_automation),
        cmocka_unit_test(slugs_are_those_of_the_original),
        cmocka_unit_test(names_follow_from_the_key),
        cmocka_unit_test(names_are_valid_and_never_meet),
        cmocka_unit_test(keys_are_copied_and_compared_by_all_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
