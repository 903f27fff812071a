/* The client against a real API server: every call, what refusals mean, pages, watches. */
#include "support.h"

#include <stdatomic.h>

static struct kube_client *client;

static int start(void **state)
{
    if (support_start(state) != 0)
        return -1;
    client = support_client(&(struct kube_client_options){ .page_size = 7 });
    return 0;
}

static int end(void **state)
{
    kube_client_free(client);
    return support_end(state);
}

static void make_secret(const char *name, const char *label)
{
    struct error err = { 0 };
    cleanup_json json_t *secret = support_secret(name, label);

    OK(kube_create(client, &KUBE_SECRETS, support_namespace, secret, NULL, &err));
}

static void what_is_created_can_be_read_and_not_created_again(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *secret = support_secret("one", "create"), *created = NULL, *read = NULL;

    OK(kube_create(client, &KUBE_SECRETS, support_namespace, secret, &created, &err));
    assert_non_null(kube_uid(created));
    OK(kube_get(client, &KUBE_SECRETS, support_namespace, "one", &read, &err));
    assert_string_equal(kube_uid(read), kube_uid(created));
    assert_string_equal(kube_label(read, "test"), "create");
    assert_string_equal(kube_text_at(read, "data", "key", NULL), "dmFsdWU=");
    FAILS(kube_create(client, &KUBE_SECRETS, support_namespace, secret, NULL, &err), ERR_CONFLICT, "already exists");
}

static void what_is_missing_or_wrong_says_so(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *wrong = json_pack("{s:{s:s}}", "metadata", "name", "Not A Name"), *result = NULL;
    static const char *const hostile[] = { "", ".", "..", "a/b", "x/status", "%2e%2e", "a\nb" };

    FAILS(kube_get(client, &KUBE_SECRETS, support_namespace, "missing", &result, &err), ERR_NOT_FOUND, "\"missing\" not found");
    FAILS(kube_delete(client, &KUBE_SECRETS, support_namespace, "missing", NULL, &err), ERR_NOT_FOUND, "deleting Secret");
    FAILS(kube_create(client, &KUBE_SECRETS, support_namespace, wrong, NULL, &err), ERR_INVALID, "Invalid value");
    FAILS(kube_get(client, &KUBE_PODS, "no such namespace?&watch=1", "x", &result, &err), ERR_NOT_FOUND, "reading Pod");
    for (size_t i = 0; i < COUNT_OF(hostile); i++)
        FAILS(kube_get(client, &KUBE_SECRETS, support_namespace, hostile[i], &result, &err), ERR_INVALID, "is no name");
    assert_null(result);
}

static void a_replace_of_an_old_version_is_a_conflict(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *old = NULL, *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "seen", "yes"), *patched = NULL;

    make_secret("replaced", "replace");
    OK(kube_get(client, &KUBE_SECRETS, support_namespace, "replaced", &old, &err));
    OK(kube_merge_patch(client, &KUBE_SECRETS, support_namespace, "replaced", NULL, patch, &patched, &err));
    assert_string_equal(kube_annotation(patched, "seen"), "yes");
    FAILS(kube_replace(client, &KUBE_SECRETS, support_namespace, old, NULL, &err), ERR_CONFLICT, "has been modified");
    OK(kube_replace(client, &KUBE_SECRETS, support_namespace, patched, NULL, &err));
}

static void apply_takes_fields_from_others_only_by_force(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *first = json_pack("{s:{s:s, s:{s:s}}}", "metadata", "name", "applied", "annotations", "owner", "one");
    cleanup_json json_t *second = json_pack("{s:{s:s, s:{s:s}}}", "metadata", "name", "applied", "annotations", "owner", "two");
    cleanup_json json_t *result = NULL;

    OK(kube_apply(client, &KUBE_SECRETS, support_namespace, first, NULL, "first", false, NULL, &err));
    OK(kube_apply(client, &KUBE_SECRETS, support_namespace, first, NULL, "first", false, NULL, &err));
    FAILS(kube_apply(client, &KUBE_SECRETS, support_namespace, second, NULL, "second", false, NULL, &err), ERR_CONFLICT, "conflict");
    OK(kube_apply(client, &KUBE_SECRETS, support_namespace, second, NULL, "second", true, &result, &err));
    assert_string_equal(kube_annotation(result, "owner"), "two");
}

static void the_status_is_changed_alone(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *claim = json_pack("{s:{s:s}, s:{s:[s], s:s, s:{s:{s:s}}}}", "metadata", "name", "claim", "spec", "accessModes",
                                           "ReadWriteOnce", "storageClassName", "none", "resources", "requests", "storage", "1Mi");
    cleanup_json json_t *patch = json_pack("{s:{s:{s:s}}, s:{s:s}}", "metadata", "labels", "ignored", "yes", "status", "phase", "Lost");
    cleanup_json json_t *result = NULL;

    OK(kube_create(client, &KUBE_PVCS, support_namespace, claim, NULL, &err));
    OK(kube_merge_patch(client, &KUBE_PVCS, support_namespace, "claim", "status", patch, &result, &err));
    assert_string_equal(kube_text_at(result, "status", "phase", NULL), "Lost");
    OK(kube_delete(client, &KUBE_PVCS, support_namespace, "claim", NULL, &err));
}

static void a_delete_of_another_object_of_the_name_is_a_conflict(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *read = NULL;
    struct kube_delete_options options = { .uid = "00000000-0000-0000-0000-000000000000", .grace_s = -1 };

    make_secret("guarded", "delete");
    FAILS(kube_delete(client, &KUBE_SECRETS, support_namespace, "guarded", &options, &err), ERR_CONFLICT, "UID");
    OK(kube_get(client, &KUBE_SECRETS, support_namespace, "guarded", &read, &err));
    options.uid = kube_uid(read);
    options.resource_version = "1";
    FAILS(kube_delete(client, &KUBE_SECRETS, support_namespace, "guarded", &options, &err), ERR_CONFLICT, "ResourceVersion");
    options.resource_version = kube_text_at(read, "metadata", "resourceVersion", NULL);
    OK(kube_delete(client, &KUBE_SECRETS, support_namespace, "guarded", &options, &err));
}

/* --- lists and watches ------------------------------------------------------------------------------------------- */

struct listed {
    unsigned count, most;
    char first[64];
};

static bool count_object(void *context, const json_t *object)
{
    struct listed *listed = context;

    if (listed->count++ == 0)
        (void)snprintf(listed->first, sizeof(listed->first), "%s", kube_name(object));
    return listed->count != listed->most;
}

static void a_list_comes_in_pages_and_can_be_stopped(void **state)
{
    struct error err = { 0 };
    char version[64] = "", name[16];
    struct listed all = { 0 }, some = { .most = 9 }, none = { 0 };

    for (int i = 0; i < 25; i++) {
        (void)snprintf(name, sizeof(name), "page-%02d", i);
        make_secret(name, "pages");
    }
    OK(kube_list(client, &KUBE_SECRETS, support_namespace, "test=pages", count_object, &all, version, &err));
    assert_int_equal(all.count, 25);
    assert_string_equal(all.first, "page-00");
    assert_true(version[0] != '\0');
    OK(kube_list(client, &KUBE_SECRETS, support_namespace, "test=pages", count_object, &some, version, &err));
    assert_int_equal(some.count, 9);
    OK(kube_list(client, &KUBE_SECRETS, support_namespace, "test in (nothing, nothing-else)", count_object, &none, version, &err));
    assert_int_equal(none.count, 0);
    FAILS(kube_list(client, &KUBE_SECRETS, support_namespace, "no selector!", count_object, &none, version, &err), ERR_INVALID, "listing secrets");
}

struct seen {
    atomic_int added, modified, deleted;
    atomic_bool stop;
};

static void see_event(void *context, enum kube_watch_type type, const json_t *object)
{
    struct seen *seen = context;

    if (type == KUBE_ADDED)
        atomic_fetch_add(&seen->added, 1);
    if (type == KUBE_MODIFIED)
        atomic_fetch_add(&seen->modified, 1);
    if (type == KUBE_DELETED) {
        assert_string_equal(kube_name(object), "watched");
        atomic_fetch_add(&seen->deleted, 1);
        atomic_store(&seen->stop, true);
    }
}

static bool see_stop(void *context) { return atomic_load(&((struct seen *)context)->stop); }

static void a_watch_shows_what_came_after_its_version(void **state)
{
    struct error err = { 0 };
    char version[64] = "", before[64];
    struct listed listed = { 0 };
    struct seen seen = { 0 };
    cleanup_json json_t *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "a", "b");

    OK(kube_list(client, &KUBE_SECRETS, support_namespace, "test=watch", count_object, &listed, version, &err));
    memcpy(before, version, sizeof(before));
    make_secret("watched", "watch");
    make_secret("other", "not-watched");
    OK(kube_merge_patch(client, &KUBE_SECRETS, support_namespace, "watched", NULL, patch, NULL, &err));
    OK(kube_delete(client, &KUBE_SECRETS, support_namespace, "watched", NULL, &err));
    OK(kube_watch(client, &KUBE_SECRETS, support_namespace, "test=watch", version, see_event, see_stop, &seen, &err));
    assert_int_equal(atomic_load(&seen.added), 1);
    assert_int_equal(atomic_load(&seen.modified), 1);
    assert_int_equal(atomic_load(&seen.deleted), 1);
    assert_string_not_equal(version, before);
}

static void a_watch_from_a_version_of_the_future_is_expired_and_not_silent(void **state)
{
    struct error err = { 0 };
    char version[64] = "9000000000000000";
    struct seen seen = { 0 };
    struct kube_client *hasty = support_client(&(struct kube_client_options){ .watch_silence_ms = 1500 });

    FAILS(kube_watch(hasty, &KUBE_SECRETS, support_namespace, NULL, version, see_event, see_stop, &seen, &err), ERR_CONFLICT, "expired");
    kube_client_free(hasty);
}

/* --- refusals ---------------------------------------------------------------------------------------------------- */

static void a_used_up_quota_is_no_capacity(void **state)
{
    struct error err = { 0 };
    static const struct kube_resource quotas = { "", "v1", "resourcequotas", "ResourceQuota", false };
    cleanup_json json_t *quota = json_pack("{s:{s:s}, s:{s:{s:s}}}", "metadata", "name", "few", "spec", "hard", "count/services", "1");
    cleanup_json json_t *service = json_pack("{s:{s:s}, s:{s:[{s:i}]}}", "metadata", "generateName", "s-", "spec", "ports", "port", 80);

    OK(kube_create(client, &quotas, support_namespace, quota, NULL, &err));
    free(support_shell("for i in $(seq 100); do [ -n \"$(kubectl -n %s get resourcequota few -o 'jsonpath={.status.hard}')\" ] && exit 0; "
                       "sleep 0.1; done; exit 1", support_namespace));
    OK(kube_create(client, &KUBE_SERVICES, support_namespace, service, NULL, &err));
    FAILS(kube_create(client, &KUBE_SERVICES, support_namespace, service, NULL, &err), ERR_NO_CAPACITY, "exceeded quota: few");
    OK(kube_delete(client, &quotas, support_namespace, "few", NULL, &err));
}

static void the_log_of_a_pod_that_has_none_is_told(void **state)
{
    struct error err = { 0 };
    char *text = NULL;

    FAILS(kube_logs(client, support_namespace, "missing", "main", 5, false, &text, &err), ERR_NOT_FOUND, "reading the log of Pod");
    assert_null(text);
}

static bool log_is_there(void *context)
{
    struct error err = { 0 };
    cleanup_free char *text = NULL;

    return kube_logs(client, support_namespace, "talker", "main", 2, false, &text, &err) == 0 && strcmp(text, "two\nthree\n") == 0;
}

static void the_last_lines_of_a_log_are_read(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *pod = json_pack(
        "{s:{s:s}, s:{s:s, s:b, s:[{s:s, s:s, s:s, s:[s, s, s]}]}}", "metadata", "name", "talker", "spec", "restartPolicy", "Never",
        "automountServiceAccountToken", 0, "containers", "name", "main", "image", "test.local/busybox:1", "imagePullPolicy", "Never", "command",
        "sh", "-c", "echo one; echo two; echo three");

    OK(kube_create(client, &KUBE_PODS, support_namespace, pod, NULL, &err));
    assert_true(support_wait(log_is_there, NULL));
    OK(kube_delete(client, &KUBE_PODS, support_namespace, "talker", &(struct kube_delete_options){ .grace_s = 0 }, &err));
}

static void the_server_tells_its_version(void **state)
{
    struct error err = { 0 };
    cleanup_json json_t *version = NULL;

    OK(kube_get_path(client, "/version", &version, &err));
    assert_non_null(json_text(version, "gitVersion"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_created_can_be_read_and_not_created_again),
        cmocka_unit_test(what_is_missing_or_wrong_says_so),
        cmocka_unit_test(a_replace_of_an_old_version_is_a_conflict),
        cmocka_unit_test(apply_takes_fields_from_others_only_by_force),
        cmocka_unit_test(the_status_is_changed_alone),
        cmocka_unit_test(a_delete_of_another_object_of_the_name_is_a_conflict),
        cmocka_unit_test(a_list_comes_in_pages_and_can_be_stopped),
        cmocka_unit_test(a_watch_shows_what_came_after_its_version),
        cmocka_unit_test(a_watch_from_a_version_of_the_future_is_expired_and_not_silent),
        cmocka_unit_test(a_used_up_quota_is_no_capacity),
        cmocka_unit_test(the_log_of_a_pod_that_has_none_is_told),
        cmocka_unit_test(the_last_lines_of_a_log_are_read),
        cmocka_unit_test(the_server_tells_its_version),
    };

    return cmocka_run_group_tests(tests, start, end);
}
