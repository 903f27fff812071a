/* What is kept is given back, by anybody's eyes: through our functions and in the tables as the original reads them. Each
 * case has a new database in an empty directory. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "store/store.h"

static char directory[64];
static struct store *store;
static struct error err;

static int set_up(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/terminals-store-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    store = store_open(NULL, directory, &err);
    return store ? 0 : -1;
}

static int tear_down(void **state)
{
    clock_fake_set(-1, -1);
    store_close(store);
    int dir = dir_open(directory, &err);
    if (dir < 0 || dir_empty(dir, &err) < 0)
        return -1;
    close(dir);
    return rmdir(directory);
}

static void reopen(void)
{
    store_close(store);
    store = store_open(NULL, directory, &err);
    assert_non_null(store);
}

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

static void assert_json(const json_t *value, const char *expected)
{
    cleanup_free char *text = json_write(value);
    assert_string_equal(text, expected);
}

/* The only value that `sql` gives, read by another connection; the caller frees. */
static char *look(const char *sql)
{
    sqlite3 *handle = NULL;
    sqlite3_stmt *statement = NULL;
    cleanup_free char *path = xasprintf("%s/terminals.db", directory);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    char *copy = xstrdup(text ? text : "NULL");
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return copy;
}

static void assert_looks(const char *sql, const char *expected)
{
    cleanup_free char *seen = look(sql);
    assert_string_equal(seen, expected);
}

/* Runs `sql` by another connection. */
static void tamper(const char *sql)
{
    sqlite3 *handle = NULL;
    cleanup_free char *path = xasprintf("%s/terminals.db", directory);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

static void create(const char *id, const char *data)
{
    struct policy_row row = { 0 };
    cleanup_json json_t *value = parse(data);
    assert_int_equal(store_create_policy(store, id, value, &row, &err), 0);
    policy_row_clear(&row);
}

/* --- policies ------------------------------------------------------------------------------------------------ */

static void a_policy_is_kept_across_a_restart(void **state)
{
    struct policy_row row = { 0 };
    clock_fake_set(1, 1764000000123456);
    create("grüße 🙂", "{\"env\":{\"A\":\"b\"},\"odd\":[1,2.5,null]}");
    reopen();
    assert_int_equal(store_get_policy(store, "grüße 🙂", &row, &err), 0);
    assert_string_equal(row.id, "grüße 🙂");
    assert_json(row.data, "{\"env\":{\"A\":\"b\"},\"odd\":[1,2.5,null]}");
    assert_string_equal(row.created_at, "2025-11-24 16:00:00.123456+00:00");
    assert_string_equal(row.updated_at, row.created_at);
    policy_row_clear(&row);
    assert_looks("SELECT created_at FROM policies", "2025-11-24 16:00:00.123456");
}

static void a_second_policy_of_the_same_id_is_a_conflict(void **state)
{
    struct policy_row row = { 0 };
    create("p", "{}");
    cleanup_json json_t *data = parse("{\"other\":1}");
    assert_int_equal(store_create_policy(store, "p", data, &row, &err), -1);
    assert_int_equal(err.class, ERR_CONFLICT);
    assert_string_equal(err.text, "Policy 'p' already exists");
    assert_looks("SELECT data FROM policies", "{}");
}

static void put_replaces_the_data_and_keeps_the_creation_time(void **state)
{
    struct policy_row row = { 0 };
    clock_fake_set(1, 1764000000000000);
    create("p", "{\"a\":1}");
    clock_fake_set(1, 1764000005000000);
    cleanup_json json_t *data = parse("{\"b\":2}");
    assert_int_equal(store_put_policy(store, "p", data, &row, &err), 0);
    assert_json(row.data, "{\"b\":2}");
    assert_string_equal(row.created_at, "2025-11-24 16:00:00.000000+00:00");
    assert_string_equal(row.updated_at, "2025-11-24 16:00:05.000000+00:00");
    policy_row_clear(&row);
    assert_int_equal(store_put_policy(store, "new", data, &row, &err), 0);
    assert_string_equal(row.id, "new");
    policy_row_clear(&row);
}

static void policies_are_listed_by_their_creation(void **state)
{
    struct policy_row *rows = NULL;
    size_t count = 0, counted = 0;
    clock_fake_set(1, 1764000002000000);
    create("later", "{}");
    clock_fake_set(1, 1764000001000000);
    create("z earlier", "{}");
    create("a same time", "{}");
    assert_int_equal(store_list_policies(store, &rows, &count, &err), 0);
    assert_int_equal(store_count_policies(store, &counted, &err), 0);
    assert_int_equal(count, 3);
    assert_int_equal(counted, 3);
    assert_string_equal(rows[0].id, "z earlier");
    assert_string_equal(rows[1].id, "a same time");
    assert_string_equal(rows[2].id, "later");
    for (size_t i = 0; i < count; i++)
        policy_row_clear(&rows[i]);
    free(rows);
}

static void an_empty_store_lists_nothing(void **state)
{
    struct policy_row *policies = (void *)1;
    struct state_row *states = (void *)1;
    size_t policy_count = 9, state_count = 9;
    cleanup_json json_t *lifecycles = NULL;
    assert_int_equal(store_list_policies(store, &policies, &policy_count, &err), 0);
    assert_int_equal(store_list_states(store, &states, &state_count, &err), 0);
    assert_int_equal(store_list_lifecycles(store, &lifecycles, &err), 0);
    assert_int_equal(policy_count + state_count + json_object_size(lifecycles), 0);
    assert_null(policies);
    assert_null(states);
}

static void a_missing_policy_is_not_found(void **state)
{
    struct policy_row row = { 0 };
    assert_int_equal(store_get_policy(store, "none", &row, &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_string_equal(err.text, "Policy 'none' not found");
    assert_int_equal(store_delete_policy(store, "none", &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
}

static void deleting_a_policy_takes_all_that_is_its_own(void **state)
{
    cleanup_json json_t *empty = json_object();
    create("p", "{}");
    create("q", "{}");
    static const char *const ids[] = { "p", "q" };
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        assert_int_equal(store_put_lifecycle(store, ids[i], empty, &err), 0);
        assert_int_equal(store_put_state(store, "u", ids[i], "default", empty, &err), 0);
        assert_int_equal(store_put_document(store, "openapi", ids[i], "i", "{}", 1, &err), 0);
    }
    assert_int_equal(store_delete_policy(store, "p", &err), 0);
    assert_looks("SELECT group_concat(id) FROM policies", "q");
    assert_looks("SELECT group_concat(id) FROM policy_lifecycles", "q");
    assert_looks("SELECT group_concat(id) FROM policy_lifecycle_states", "u:q:default");
    assert_looks("SELECT group_concat(policy_id) FROM terminals_documents", "q");
}

/* --- rows of other programs ---------------------------------------------------------------------------------- */

static const struct time_row {
    const char *stored, *shown;
} times[] = {
    { "2026-01-02 03:04:05", "2026-01-02 03:04:05.000000+00:00" },
    { "2026-01-02 03:04:05.678901", "2026-01-02 03:04:05.678901+00:00" },
    { "2026-01-02T03:04:05.5Z", "2026-01-02 03:04:05.500000+00:00" },
    { "2026-01-02 03:04:05+02:00", "2026-01-02 01:04:05.000000+00:00" },
    { "nonsense", "1970-01-01 00:00:00.000000+00:00" },
};

static void times_of_every_spelling_are_shown_in_one(void **state)
{
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct policy_row row = { 0 };
        cleanup_free char *sql = xasprintf("INSERT OR REPLACE INTO policies (id, data, created_at) VALUES ('p', '{\"a\": 1}', '%s')",
                                           times[i].stored);
        tamper(sql);
        assert_int_equal(store_get_policy(store, "p", &row, &err), 0);
        assert_string_equal(row.created_at, times[i].shown);
        policy_row_clear(&row);
    }
}

static void a_default_row_of_the_original_is_read(void **state)
{
    struct policy_row row = { 0 };
    tamper("INSERT INTO policies (id) VALUES ('p')");
    assert_int_equal(store_get_policy(store, "p", &row, &err), 0);
    assert_json(row.data, "{}");
    assert_int_equal(strncmp(row.created_at, "20", 2), 0);
    policy_row_clear(&row);
}

static const char *const broken[] = { "", "{", "[]", "null", "\"{}\"", "{\"a\":NaN}" };

static void policy_data_that_cannot_be_read_does_not_hide_the_others(void **state)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct policy_row row = { 0 }, *rows = NULL;
        size_t count = 0;
        cleanup_free char *sql = xasprintf("INSERT OR REPLACE INTO policies (id, data) VALUES ('ok', '{}'), ('bad', '%s')", broken[i]);
        tamper(sql);
        assert_int_equal(store_get_policy(store, "bad", &row, &err), 0);
        assert_null(row.data);
        assert_non_null(row.why_unreadable);
        policy_row_clear(&row);
        assert_int_equal(store_list_policies(store, &rows, &count, &err), 0);
        assert_int_equal(count, 2);
        for (size_t n = 0; n < count; n++) {
            assert_int_equal(rows[n].data != NULL, strcmp(rows[n].id, "ok") == 0);
            policy_row_clear(&rows[n]);
        }
        free(rows);
    }
}

/* Python's decoder takes more than ours, and its encoder writes it. */
static void policy_data_of_the_original_is_read_as_it_wrote_it(void **state)
{
    struct policy_row row = { 0 };
    tamper("INSERT INTO policies (id, data) VALUES ('p', '{\"a\":\"x\\u0000y\",\"n\":123456789012345678901234567890,\"a\":2}')");
    assert_int_equal(store_get_policy(store, "p", &row, &err), 0);
    assert_json(row.data, "{\"a\":2.0,\"n\":1.2345678901234568e29}");
    policy_row_clear(&row);
}

static void a_lifecycle_that_cannot_be_read_counts_as_empty(void **state)
{
    cleanup_json json_t *one = NULL, *all = NULL;
    tamper("INSERT INTO policy_lifecycles (id, policy_id, data) VALUES ('p', 'p', '[]'), ('q', 'q', '{\"x\":1}')");
    assert_int_equal(store_get_lifecycle(store, "p", &one, &err), 0);
    assert_json(one, "{}");
    assert_int_equal(store_list_lifecycles(store, &all, &err), 0);
    assert_json(all, "{\"p\":null,\"q\":{\"x\":1}}");
}

static void state_data_that_is_no_object_counts_as_empty(void **state)
{
    cleanup_json json_t *data = NULL;
    tamper("INSERT INTO policy_lifecycle_states (id, user_id, policy_id, data) VALUES ('x', 'u', 'p', 'oops')");
    assert_int_equal(store_get_state(store, "u", "p", "default", &data, &err), 0);
    assert_json(data, "{}");
}

/* --- lifecycles ---------------------------------------------------------------------------------------------- */

static void a_lifecycle_needs_no_policy_and_is_empty_when_missing(void **state)
{
    cleanup_json json_t *none = NULL, *data = parse("{\"reset\":{\"schedule\":\"@weekly\"},\"x\":1}"), *read = NULL, *all = NULL;
    assert_int_equal(store_get_lifecycle(store, "p", &none, &err), 0);
    assert_json(none, "{}");
    assert_int_equal(store_put_lifecycle(store, "p", none, &err), 0);
    assert_int_equal(store_put_lifecycle(store, "p", data, &err), 0);
    assert_int_equal(store_get_lifecycle(store, "p", &read, &err), 0);
    assert_true(json_equal(read, data));
    assert_int_equal(store_list_lifecycles(store, &all, &err), 0);
    assert_json(all, "{\"p\":{\"reset\":{\"schedule\":\"@weekly\"},\"x\":1}}");
    assert_looks("SELECT id || '=' || policy_id FROM policy_lifecycles", "p=p");
}

/* --- states -------------------------------------------------------------------------------------------------- */

static void a_state_is_kept_under_the_original_id(void **state)
{
    cleanup_json json_t *data = parse("{\"reset\":{\"next_due_at\":\"2026-01-01T00:00:00Z\"}}"), *read = NULL;
    assert_int_equal(store_put_state(store, "u", "p", "chat:1", data, &err), 0);
    reopen();
    assert_int_equal(store_get_state(store, "u", "p", "chat:1", &read, &err), 0);
    assert_true(json_equal(read, data));
    assert_looks("SELECT id FROM policy_lifecycle_states", "u:p:chat:1");
    cleanup_json json_t *other = NULL;
    assert_int_equal(store_get_state(store, "u", "p", "default", &other, &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_null(other);
}

static void keys_that_come_to_the_same_id_stay_apart(void **state)
{
    static const char *const keys[][2] = { { "a:b", "c" }, { "a", "b:c" } };
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            cleanup_json json_t *data = json_pack("{s:i}", "n", (int)i + 10 * round);
            assert_int_equal(store_put_state(store, keys[i][0], keys[i][1], "default", data, &err), 0);
        }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        cleanup_json json_t *data = NULL;
        assert_int_equal(store_get_state(store, keys[i][0], keys[i][1], "default", &data, &err), 0);
        assert_int_equal(json_integer_value(json_object_get(data, "n")), i + 10);
    }
    assert_looks("SELECT count(*) FROM policy_lifecycle_states", "2");
}

static void activity_leaves_the_rest_of_a_state_alone(void **state)
{
    cleanup_json json_t *data = parse("{\"reset\":{\"schedule\":\"x\"},\"activity\":{\"more\":1}}"), *read = NULL, *fresh = NULL;
    assert_int_equal(store_put_state(store, "u", "p", "default", data, &err), 0);
    const struct activity_update updates[] = {
        { "u", "p", "default", "2026-01-01T00:00:00Z" },
        { "new", "p", "chat:2", "2026-01-01T00:00:01Z" },
        { "u", "p", "default", "2026-01-01T00:00:02Z" },
    };
    assert_int_equal(store_put_activity(store, updates, COUNT_OF(updates), &err), 0);
    assert_int_equal(store_get_state(store, "u", "p", "default", &read, &err), 0);
    assert_json(read, "{\"reset\":{\"schedule\":\"x\"},\"activity\":{\"more\":1,\"last_seen_at\":\"2026-01-01T00:00:02Z\"}}");
    assert_int_equal(store_get_state(store, "new", "p", "chat:2", &fresh, &err), 0);
    assert_json(fresh, "{\"activity\":{\"last_seen_at\":\"2026-01-01T00:00:01Z\"}}");
    assert_int_equal(store_put_activity(store, NULL, 0, &err), 0);
}

static void states_are_listed_with_their_keys(void **state)
{
    struct state_row *rows = NULL;
    size_t count = 0;
    for (int i = 0; i < 40; i++) {
        cleanup_free char *user = xasprintf("user %d", i);
        const struct activity_update update = { user, "p", "default", "2026-01-01T00:00:00Z" };
        assert_int_equal(store_put_activity(store, &update, 1, &err), 0);
    }
    assert_int_equal(store_list_states(store, &rows, &count, &err), 0);
    assert_int_equal(count, 40);
    assert_string_equal(rows[39].user_id, "user 39");
    assert_string_equal(rows[39].policy_id, "p");
    assert_string_equal(rows[39].context_id, "default");
    assert_json(rows[39].data, "{\"activity\":{\"last_seen_at\":\"2026-01-01T00:00:00Z\"}}");
    for (size_t i = 0; i < count; i++)
        state_row_clear(&rows[i]);
    free(rows);
}

/* --- documents ----------------------------------------------------------------------------------------------- */

static void a_document_is_kept_per_kind_policy_and_image(void **state)
{
    char *body = NULL;
    int64_t fetched = 0;
    assert_int_equal(store_put_document(store, "openapi", "p", "i", "old", 5, &err), 0);
    assert_int_equal(store_put_document(store, "openapi", "p", "i", "new", 1764000000123456, &err), 0);
    assert_int_equal(store_put_document(store, "config", "p", "i", "other", 7, &err), 0);
    reopen();
    assert_int_equal(store_get_document(store, "openapi", "p", "i", &body, &fetched, &err), 0);
    assert_string_equal(body, "new");
    assert_int_equal(fetched, 1764000000123456);
    free(body);
    assert_int_equal(store_get_document(store, "openapi", "p", "j", &body, &fetched, &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_null(body);
}

/* --- many threads -------------------------------------------------------------------------------------------- */

#define THREADS 6
#define ROUNDS 20

static void *write_and_read(void *argument)
{
    struct error thread_error = { 0 };
    cleanup_free char *id = xasprintf("policy %d", *(int *)argument);
    for (int i = 0; i < ROUNDS; i++) {
        struct policy_row row = { 0 };
        cleanup_json json_t *data = json_pack("{s:i}", "round", i), *state_data = NULL;
        const struct activity_update update = { "shared", "p", "default", "2026-01-01T00:00:00Z" };
        if (store_put_policy(store, id, data, &row, &thread_error) < 0 || !json_equal(row.data, data) ||
            store_put_activity(store, &update, 1, &thread_error) < 0 ||
            store_put_state(store, id, "p", "default", data, &thread_error) < 0 ||
            store_get_state(store, id, "p", "default", &state_data, &thread_error) < 0 || !json_equal(state_data, data))
            return xstrdup(thread_error.text);
        policy_row_clear(&row);
    }
    return NULL;
}

static void many_threads_use_one_store(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failure = NULL;
        pthread_join(threads[i], &failure);
        if (failure)
            fail_msg("%s", (char *)failure);
    }
    assert_looks("SELECT count(*) FROM policies", "6");
    assert_looks("SELECT count(*) FROM policy_lifecycle_states", "7");
}

/* --- another program's lock ---------------------------------------------------------------------------------- */

static void *put_in_vain(void *id)
{
    cleanup_json json_t *data = json_object();
    struct policy_row row = { 0 };
    struct error why;
    bool refused = store_put_policy(store, id, data, &row, &why) < 0 && strstr(why.text, "is locked by another program");
    policy_row_clear(&row);
    return refused ? NULL : id;
}

/* Four writers queue up behind a lock: readers do not notice, and the last writer does not wait four times as long as the first. */
static void a_lock_holds_up_neither_readers_nor_a_queue_of_writers(void **state)
{
    static const char *const ids[] = { "a", "b", "c", "d" };
    cleanup_free char *path = xasprintf("%s/terminals.db", directory);
    sqlite3 *other = NULL;
    pthread_t writers[COUNT_OF(ids)];
    json_t *lifecycle = NULL;
    size_t policies = 1;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    int64_t begin_ms = clock_monotonic_ms();
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_int_equal(pthread_create(&writers[i], NULL, put_in_vain, (void *)ids[i]), 0);
    for (int i = 0; i < 100; i++) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        assert_int_equal(store_count_policies(store, &policies, &err), 0);
        assert_int_equal(store_get_lifecycle(store, "a", &lifecycle, &err), 0);
        json_decref(lifecycle);
    }
    assert_true(clock_monotonic_ms() - begin_ms < 4900);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        void *failed;
        pthread_join(writers[i], &failed);
        assert_null(failed);
    }
    assert_in_range(clock_monotonic_ms() - begin_ms, 4900, 14900);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_ptr_equal(put_in_vain((void *)ids[0]), ids[0]);
    assert_int_equal(store_count_policies(store, &policies, &err), 0);
    assert_int_equal(policies, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_policy_is_kept_across_a_restart),
        CASE(a_second_policy_of_the_same_id_is_a_conflict),
        CASE(put_replaces_the_data_and_keeps_the_creation_time),
        CASE(policies_are_listed_by_their_creation),
        CASE(an_empty_store_lists_nothing),
        CASE(a_missing_policy_is_not_found),
        CASE(deleting_a_policy_takes_all_that_is_its_own),
        CASE(times_of_every_spelling_are_shown_in_one),
        CASE(a_default_row_of_the_original_is_read),
        CASE(policy_data_that_cannot_be_read_does_not_hide_the_others),
        CASE(policy_data_of_the_original_is_read_as_it_wrote_it),
        CASE(a_lifecycle_that_cannot_be_read_counts_as_empty),
        CASE(state_data_that_is_no_object_counts_as_empty),
        CASE(a_lifecycle_needs_no_policy_and_is_empty_when_missing),
        CASE(a_state_is_kept_under_the_original_id),
        CASE(keys_that_come_to_the_same_id_stay_apart),
        CASE(activity_leaves_the_rest_of_a_state_alone),
        CASE(states_are_listed_with_their_keys),
        CASE(a_document_is_kept_per_kind_policy_and_image),
        CASE(many_threads_use_one_store),
        CASE(a_lock_holds_up_neither_readers_nor_a_queue_of_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
