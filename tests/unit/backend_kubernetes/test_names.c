/* Labels, annotations and whose an object is (orchestrator.md §1, §4.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "backend/kubernetes/parts.h"

#define TEN "xxxxxxxxxx"
#define THE_KEY(user, policy, context) { (char *)(user), (char *)(policy), (char *)(context) }
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct terminal_key hostile[] = {
    THE_KEY("alice@example.org", "gpu large", "chat:7f/../x"),
    THE_KEY(HUNDRED HUNDRED TEN TEN TEN TEN TEN "123456", HUNDRED "p", "automation:" HUNDRED),
    THE_KEY("org/team/alice", "A.B_c", "default"),
    THE_KEY("\xf0\x9f\x98\x80 \xe6\x97\xa5\xe6\x9c\xac", "\xc3\xa9", "chat:\xf0\x9f\x98\x80"),
    THE_KEY("-alice-", ".", "default"),
    THE_KEY("a\"b\\c{}", "default", "default"),
    THE_KEY("00000000-0000-4000-8000-000000000000", "default", "default"),
};

static json_t *object_of(const struct terminal_key *key)
{
    char name[TERMINAL_NAME_SIZE];

    terminal_name(key, NAME_PREFIX, name);
    return json_pack("{s:o}", "metadata", terminal_metadata(key, "ns", name, name, NULL));
}

static void labels_are_valid_whatever_the_ids(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        cleanup_json json_t *object = object_of(&hostile[i]);
        const char *name;
        json_t *value;

        json_object_foreach((json_t *)kube_at(object, "metadata", "labels", NULL), name, value)
            if (!kube_label_value_is_valid(json_string_value(value)))
                fail_msg("row %zu: %s=%s", i, name, json_string_value(value));
    }
}

static void annotations_give_back_the_exact_key(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        cleanup_json json_t *object = object_of(&hostile[i]);
        struct terminal_key *key = key_of_object(object);

        assert_non_null(key);
        assert_true(terminal_key_equal(key, &hostile[i]));
        for (size_t j = 0; j < COUNT_OF(hostile); j++)
            assert_int_equal(owner_of_object(object, &hostile[j], true), i == j ? OWNER_SAME : OWNER_OTHER);
        terminal_key_free(key);
    }
}

static void plain_ids_are_labels_as_they_are(void **state)
{
    cleanup_json json_t *labels = terminal_labels(&hostile[6], "terminal-x", NULL);

    assert_string_equal(json_text(labels, LABEL_USER_ID), hostile[6].user_id);
    assert_string_equal(json_text(labels, LABEL_POLICY), "default");
    assert_string_equal(json_text(labels, LABEL_CONTEXT_TYPE), "default");
    assert_string_equal(json_text(labels, LABEL_PART_OF), "open-terminal");
}

static void the_administrators_labels_never_replace_ours(void **state)
{
    cleanup_json json_t *extra = json_pack("{s:s, s:s, s:s, s:s}", "team", "data", LABEL_MANAGED_BY, "me", LABEL_INSTANCE, "other", LABEL_WIPE, "true");
    cleanup_json json_t *labels = terminal_labels(&hostile[6], "terminal-x", extra);

    assert_string_equal(json_text(labels, "team"), "data");
    assert_string_equal(json_text(labels, LABEL_MANAGED_BY), "terminals");
    assert_string_equal(json_text(labels, LABEL_INSTANCE), "terminal-x");
    assert_null(json_object_get(labels, LABEL_WIPE));
}

/* What the original leaves: labels only. */
static void labels_of_the_original_are_understood(void **state)
{
    static const struct {
        const char *name, *labels;
        struct terminal_key key;
        bool slug;
        enum owner owner;
        bool exact;                     /* the labels tell the key by themselves */
    } rows[] = {
        { "plain", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\",\"openwebui.com/policy\":\"default\"}",
          THE_KEY("u1", "default", "default"), false, OWNER_FITS, true },
        { "no policy label is the default one", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\"}",
          THE_KEY("u1", "default", "default"), false, OWNER_FITS, true },
        { "another user", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u2\"}",
          THE_KEY("u1", "default", "default"), true, OWNER_OTHER, false },
        { "no user", "{\"app.kubernetes.io/managed-by\":\"terminals\"}", THE_KEY("u1", "default", "default"), true, OWNER_OTHER, false },
        { "not ours", "{\"openwebui.com/user-id\":\"u1\"}", THE_KEY("u1", "default", "default"), true, OWNER_FOREIGN, false },
        { "Helm's", "{\"app.kubernetes.io/managed-by\":\"Helm\",\"openwebui.com/user-id\":\"u1\"}",
          THE_KEY("u1", "default", "default"), true, OWNER_FOREIGN, false },
        { "slug, where it is enough", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\",\"openwebui.com/policy\":\"a-b\"}",
          THE_KEY("u1", "A.B", "default"), true, OWNER_FITS, false },
        { "slug, where it is not", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\",\"openwebui.com/policy\":\"a-b\"}",
          THE_KEY("u1", "A.B", "default"), false, OWNER_OTHER, false },
        { "context by its hash", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\",\"openwebui.com/context-id\":\"chat-1\","
          "\"openwebui.com/context-hash\":\"6d4ba54ca3d9\"}", THE_KEY("u1", "default", "chat:1"), false, OWNER_FITS, false },
        { "another context", "{\"app.kubernetes.io/managed-by\":\"terminals\",\"openwebui.com/user-id\":\"u1\",\"openwebui.com/context-id\":\"default\"}",
          THE_KEY("u1", "default", "chat:1"), true, OWNER_OTHER, false },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cleanup_json json_t *labels = json_read(str_from(rows[i].labels), NULL), *object = NULL;
        char hash[13];

        key_hash12(rows[i].key.context_id, hash);
        if (strstr(rows[i].labels, "6d4ba54ca3d9"))
            json_object_set_new(labels, LABEL_CONTEXT_HASH, json_string(hash));
        object = json_pack("{s:{s:O}}", "metadata", "labels", labels);
        if (owner_of_object(object, &rows[i].key, rows[i].slug) != rows[i].owner)
            fail_msg("%s: %d", rows[i].name, (int)owner_of_object(object, &rows[i].key, rows[i].slug));
        struct terminal_key *key = key_of_object(object);
        if ((key && terminal_key_equal(key, &rows[i].key)) != rows[i].exact)
            fail_msg("%s: the key is told as %s %s %s", rows[i].name, key ? key->user_id : "-", key ? key->policy_id : "-", key ? key->context_id : "-");
        terminal_key_free(key);
    }
}

static void a_claimed_object_is_only_its_owners(void **state)
{
    static const struct terminal_key first = THE_KEY("u1", "A.B", "default"), second = THE_KEY("u1", "a-b", "default");
    cleanup_json json_t *object = json_pack("{s:{s:{s:s, s:s, s:s}, s:o}}", "metadata", "labels", LABEL_MANAGED_BY, "terminals", LABEL_USER_ID, "u1",
                                            LABEL_POLICY, "a-b", "annotations", terminal_annotations(&first));

    assert_int_equal(owner_of_object(object, &first, true), OWNER_SAME);
    assert_int_equal(owner_of_object(object, &second, true), OWNER_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_valid_whatever_the_ids),
        cmocka_unit_test(annotations_give_back_the_exact_key),
        cmocka_unit_test(plain_ids_are_labels_as_they_are),
        cmocka_unit_test(the_administrators_labels_never_replace_ours),
        cmocka_unit_test(labels_of_the_original_are_understood),
        cmocka_unit_test(a_claimed_object_is_only_its_owners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
