/* Databases as they may be found: none, the original's at each of its shapes, newer ones, foreign ones, broken ones. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "store/store.h"
#include "store/url.h"

static char directory[64];
static char path[80];
static struct error err;

static int set_up(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/terminals-schema-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof(path), "%s/terminals.db", directory);
    return chdir(directory);
}

static int tear_down(void **state)
{
    int dir = dir_open(directory, &err);
    if (dir < 0 || chdir("/") < 0 || dir_empty(dir, &err) < 0)
        return -1;
    close(dir);
    return rmdir(directory);
}

static sqlite3 *open_raw(void)
{
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    return handle;
}

static void run(sqlite3 *handle, const char *sql)
{
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
}

static void run_once(const char *sql)
{
    sqlite3 *handle = open_raw();
    run(handle, sql);
    sqlite3_close(handle);
}

static void assert_looks(const char *sql, const char *expected)
{
    sqlite3 *handle = open_raw();
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    assert_string_equal(text ? text : "NULL", expected);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
}

static void assert_opens(void)
{
    struct store *store = store_open(NULL, directory, &err);
    if (!store)
        fail_msg("%s", err.text);
    store_close(store);
}

static void assert_refused(const char *says)
{
    struct store *store = store_open(NULL, directory, &err);
    assert_null(store);
    assert_int_equal(err.class, ERR_IO);
    if (!strstr(err.text, says))
        fail_msg("%s", err.text);
    assert_non_null(strstr(err.text, path));
}

/* --- URLs ---------------------------------------------------------------------------------------------------- */

static const struct url_row {
    const char *url, *expected;     /* the path, or with '!' in front a part of the error */
} urls[] = {
    { NULL, "/state/terminals.db" },
    { "", "/state/terminals.db" },
    { "sqlite:////abs/x.db", "/abs/x.db" },
    { "sqlite+aiosqlite:////abs/x.db", "/abs/x.db" },
    { "sqlite+pysqlite:////abs/x.db", "/abs/x.db" },
    { "sqlite:///rel/x.db", "rel/x.db" },
    { "sqlite:///./data/x.db", "./data/x.db" },
    { "sqlite:////abs/x%20y.db", "/abs/x%20y.db" },
    { "sqlite:////abs/x.db?timeout=5", "/abs/x.db" },
    { "sqlite://", "!three slashes" },
    { "sqlite://host/x.db", "!three slashes" },
    { "sqlite:///", "!names no file" },
    { "sqlite:///:memory:", "!names no file" },
    { "sqlite:///?x", "!names no file" },
    { "sqlite:///file:x?mode=ro", "!plain path" },
    { "postgres://u:secret@h/d", "!PostgreSQL is not supported by this build" },
    { "postgresql://u:secret@h/d", "!PostgreSQL is not supported by this build" },
    { "postgresql+asyncpg://u:secret@h/d", "!PostgreSQL is not supported by this build" },
    { "mysql://u:secret@h/d", "!must begin with sqlite:///" },
    { "/tmp/x.db", "!must begin with sqlite:///" },
};

static void urls_are_read_as_sqlalchemy_reads_them(void **state)
{
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        err = (struct error){ 0 };
        cleanup_free char *read = store_url_path(urls[i].url, "/state", &err);
        bool fits = urls[i].expected[0] == '!' ? !read && strstr(err.text, urls[i].expected + 1) && !strstr(err.text, "secret")
                                               : read && strcmp(read, urls[i].expected) == 0;
        if (!fits)
            fail_msg("%s: %s %s", urls[i].url, read, err.text);
    }
}

static void a_relative_path_starts_at_the_working_directory(void **state)
{
    struct store *store = store_open("sqlite:///terminals.db", "/nowhere", &err);
    assert_non_null(store);
    store_close(store);
    assert_int_equal(access(path, F_OK), 0);
}

/* --- new databases ------------------------------------------------------------------------------------------- */

static void a_new_database_has_the_tables_of_the_original_and_ours(void **state)
{
    struct stat status;
    assert_opens();
    assert_looks("SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name)",
        "alembic_version,audit_log,policies,policy_lifecycle_states,policy_lifecycles,terminals_documents");
    assert_looks("SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE name LIKE 'ix_%' ORDER BY name)",
        "ix_policy_lifecycle_states_context_id,ix_policy_lifecycle_states_policy_id,ix_policy_lifecycle_states_user_id,"
        "ix_policy_lifecycles_policy_id");
    assert_looks("SELECT version_num FROM alembic_version", "003_lifecycle_context");
    assert_looks("SELECT group_concat(name || ' ' || type) FROM pragma_table_info('policy_lifecycle_states')",
        "id VARCHAR,user_id VARCHAR,policy_id VARCHAR,context_id VARCHAR,data JSON,created_at DATETIME,updated_at DATETIME");
    assert_looks("SELECT group_concat(name) FROM pragma_table_info('audit_log')",
        "id,timestamp,action,severity,user_id,resource_type,resource_id,detail");
    assert_looks("PRAGMA journal_mode", "wal");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void opening_twice_changes_nothing(void **state)
{
    assert_opens();
    assert_opens();
    assert_looks("SELECT count(*) FROM alembic_version", "1");
}

static void an_empty_file_is_an_empty_database(void **state)
{
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_opens();
    assert_looks("SELECT version_num FROM alembic_version", "003_lifecycle_context");
}

/* --- the original's earlier shapes --------------------------------------------------------------------------- */

#define VERSION(id) "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);" \
    "INSERT INTO alembic_version VALUES ('" id "');"
#define POLICIES "CREATE TABLE policies (id VARCHAR NOT NULL PRIMARY KEY, data JSON DEFAULT '{}' NOT NULL," \
    " created_at DATETIME DEFAULT (CURRENT_TIMESTAMP), updated_at DATETIME DEFAULT (CURRENT_TIMESTAMP));" \
    "INSERT INTO policies (id, data) VALUES ('p', '{\"image\": \"x\"}');"
#define STATES "CREATE TABLE policy_lifecycles (id VARCHAR NOT NULL PRIMARY KEY, policy_id VARCHAR NOT NULL," \
    " data JSON DEFAULT '{}' NOT NULL, created_at DATETIME, updated_at DATETIME);" \
    "CREATE UNIQUE INDEX ix_policy_lifecycles_policy_id ON policy_lifecycles (policy_id);" \
    "CREATE TABLE policy_lifecycle_states (id VARCHAR NOT NULL PRIMARY KEY, user_id VARCHAR NOT NULL," \
    " policy_id VARCHAR NOT NULL, data JSON DEFAULT '{}' NOT NULL, created_at DATETIME, updated_at DATETIME," \
    " UNIQUE (user_id, policy_id));" \
    "CREATE INDEX ix_policy_lifecycle_states_user_id ON policy_lifecycle_states (user_id);" \
    "INSERT INTO policy_lifecycle_states VALUES ('u:p', 'u', 'p', '{\"reset\": {\"schedule\": \"@weekly\"}}'," \
    " '2026-01-01 00:00:00', '2026-01-02 00:00:00');"

static const struct shape {
    const char *name, *sql;
    bool has_state;
} shapes[] = {
    { "policies only", POLICIES VERSION("001_initial"), false },
    { "states without context", POLICIES STATES VERSION("002_lifecycle"), true },
    { "states without context, unknown text", POLICIES STATES VERSION("8a1b2c3d4e5f"), true },
    { "no revision", POLICIES STATES, true },
    { "an empty version table", POLICIES "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);", false },
    { "stamped ahead of its tables", POLICIES STATES VERSION("003_lifecycle_context"), true },
};

static void every_earlier_shape_comes_to_the_head_with_its_rows(void **state)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        print_message("%s\n", shapes[i].name);
        unlink(path);
        run_once(shapes[i].sql);
        assert_opens();
        assert_opens();
        assert_looks("SELECT group_concat(version_num) FROM alembic_version", "003_lifecycle_context");
        assert_looks("SELECT data FROM policies", "{\"image\": \"x\"}");
        assert_looks("SELECT count(*) FROM sqlite_master WHERE name LIKE 'terminals_old%'", "0");
        assert_looks("SELECT count(*) FROM sqlite_master WHERE name LIKE 'ix_policy_lifecycle_states_%'", "3");
        if (shapes[i].has_state)
            assert_looks("SELECT id || ' ' || context_id || ' ' || data || ' ' || updated_at FROM policy_lifecycle_states",
                "u:p:default default {\"reset\": {\"schedule\": \"@weekly\"}} 2026-01-02 00:00:00");
        run_once("INSERT INTO policy_lifecycle_states (id, user_id, policy_id, context_id) VALUES ('z', 'u', 'p', 'chat:1')");
    }
}

/* --- refusals ------------------------------------------------------------------------------------------------ */

static const struct refused {
    const char *name, *sql, *says;
} refused[] = {
    { "newer", "UPDATE alembic_version SET version_num = '004_more'", "does not know" },
    { "unknown on a complete schema", "UPDATE alembic_version SET version_num = '8a1b2c3d4e5f'", "does not know" },
    { "two heads", "INSERT INTO alembic_version VALUES ('004_more')", "does not know" },
    { "another program's", "DROP TABLE policies; UPDATE alembic_version SET version_num = '7e5b5dc7342b'", "another program" },
};

static void unknown_databases_are_refused_and_left_alone(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        print_message("%s\n", refused[i].name);
        unlink(path);
        assert_opens();
        run_once(refused[i].sql);
        assert_refused(refused[i].says);
        assert_looks("SELECT count(*) FROM alembic_version WHERE version_num <> '003_lifecycle_context'", "1");
    }
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("This is a text.\n", file);
    fclose(file);
    assert_refused("is not an SQLite database");
}

static void a_damaged_database_is_refused(void **state)
{
    assert_opens();
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char noise[8000];
    memset(noise, 0x5a, sizeof(noise));
    assert_int_equal(pwrite(fd, noise, sizeof(noise), 100), sizeof(noise));
    close(fd);
    assert_refused("is damaged");
}

static void a_directory_is_refused(void **state)
{
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused("is not a file");
}

static void a_missing_directory_is_refused(void **state)
{
    struct store *store = store_open("sqlite:///none/x.db", directory, &err);
    assert_null(store);
    assert_int_equal(err.class, ERR_IO);
    assert_string_equal(err.text, "the directory of the database none/x.db does not exist: make it, or name another file "
                        "with TERMINALS_DATABASE_URL");
}

static void a_database_on_a_read_only_place_is_refused(void **state)
{
    struct store *store = store_open("sqlite:////proc/terminals.db", directory, &err);
    assert_null(store);
    assert_int_equal(err.class, ERR_IO);
}

static void a_locked_database_is_refused_after_five_seconds(void **state)
{
    assert_opens();
    sqlite3 *other = open_raw();
    run(other, "BEGIN EXCLUSIVE");
    assert_refused("is locked by another program: stop that program");
    run(other, "COMMIT");
    sqlite3_close(other);
    assert_opens();
}

static void reading_goes_on_while_another_program_writes(void **state)
{
    size_t count = 1;
    struct store *store = store_open(NULL, directory, &err);
    sqlite3 *other = open_raw();
    run(other, "BEGIN IMMEDIATE; INSERT INTO policies (id) VALUES ('x')");
    assert_int_equal(store_count_policies(store, &count, &err), 0);
    assert_int_equal(count, 0);
    run(other, "COMMIT");
    assert_int_equal(store_count_policies(store, &count, &err), 0);
    assert_int_equal(count, 1);
    sqlite3_close(other);
    store_close(store);
}

/* --- the commands' functions --------------------------------------------------------------------------------- */

static void the_current_revision_is_read_without_changing_anything(void **state)
{
    char *revision = NULL;
    assert_int_equal(store_schema_current(NULL, directory, &revision, &err), 0);
    assert_string_equal(revision, "");
    free(revision);
    assert_int_equal(access(path, F_OK), -1);
    run_once(POLICIES VERSION("001_initial"));
    assert_int_equal(store_schema_current(NULL, directory, &revision, &err), 0);
    assert_string_equal(revision, "001_initial");
    free(revision);
    assert_looks("SELECT count(*) FROM sqlite_master WHERE name = 'audit_log'", "0");
    assert_looks("PRAGMA journal_mode", "delete");
}

/* What a user without rights over the files hears, "" for nothing: the tests may run as root, who may write anywhere. */
static void assert_hears(const char *url, const char *state_dir, const char *says)
{
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(2);
        int result = store_check_writable(url, state_dir, &err);
        if (result < 0)
            fprintf(stderr, "%s\n", err.text);
        _exit(says[0] ? result == 0 || !strstr(err.text, says) : result < 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%s, expected '%s'", url ? url : "no URL", says);
}

static void a_database_that_cannot_be_written_is_found_without_writing(void **state)
{
    assert_int_equal(chmod(directory, 0777), 0);
    assert_hears(NULL, directory, "");
    assert_hears("sqlite:///x.db", directory, "");
    assert_int_equal(access(path, F_OK), -1);
    assert_hears("sqlite:///none/x.db", directory, "the directory of the database none/x.db does not exist");
    assert_hears("sqlite:///none/x.db", "none", "");            /* may be the one that serve will make */
    assert_opens();
    assert_int_equal(chmod(path, 0444), 0);
    assert_hears(NULL, directory, "cannot be opened for writing by user id");
    assert_int_equal(chmod(path, 0666), 0);
    assert_hears(NULL, directory, "");
    assert_int_equal(chmod(directory, 0555), 0);
    assert_hears(NULL, directory, "cannot be opened for writing by user id");
    assert_hears("sqlite:///x.db", directory, "cannot be opened for writing by user id");
    assert_int_equal(chmod(directory, 0700), 0);
}

static void upgrade_and_stamp_know_their_revisions(void **state)
{
    run_once(POLICIES VERSION("001_initial"));
    assert_int_equal(store_schema_upgrade(NULL, directory, "005_later", &err), -1);
    assert_string_equal(err.text, "'005_later' is not a known revision: known are head and 003_lifecycle_context");
    assert_int_equal(store_schema_stamp(NULL, directory, "005_later", &err), -1);
    assert_int_equal(store_schema_stamp(NULL, directory, "head", &err), 0);
    assert_looks("SELECT version_num FROM alembic_version", "003_lifecycle_context");
    assert_looks("SELECT count(*) FROM sqlite_master WHERE name = 'audit_log'", "0");
    assert_int_equal(store_schema_upgrade(NULL, directory, "003_lifecycle_context", &err), 0);
    assert_looks("SELECT count(*) FROM sqlite_master WHERE name = 'audit_log'", "1");
    assert_string_equal(store_schema_revisions[0], "003_lifecycle_context");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(urls_are_read_as_sqlalchemy_reads_them),
        CASE(a_relative_path_starts_at_the_working_directory),
        CASE(a_new_database_has_the_tables_of_the_original_and_ours),
        CASE(opening_twice_changes_nothing),
        CASE(an_empty_file_is_an_empty_database),
        CASE(every_earlier_shape_comes_to_the_head_with_its_rows),
        CASE(unknown_databases_are_refused_and_left_alone),
        CASE(a_file_that_is_no_database_is_refused),
        CASE(a_damaged_database_is_refused),
        CASE(a_directory_is_refused),
        CASE(a_missing_directory_is_refused),
        CASE(a_database_on_a_read_only_place_is_refused),
        CASE(a_locked_database_is_refused_after_five_seconds),
        CASE(reading_goes_on_while_another_program_writes),
        CASE(the_current_revision_is_read_without_changing_anything),
        CASE(a_database_that_cannot_be_written_is_found_without_writing),
        CASE(upgrade_and_stamp_know_their_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
