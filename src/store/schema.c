/* The schema is the original's, as its Alembic head 003_lifecycle_context has it, and our own tables beside it.
 *
 * The upgrade looks at the tables, not at the recorded revision: what is missing is made, a table of an older shape is
 * rebuilt. So any earlier state, also a half-upgraded one, comes to the same end. The revision only tells
 * whether the database is newer than this program, which is refused. */
#include "store/schema.h"

#include "base/log.h"
#include "store/store.h"
#include "store/url.h"

#define HEAD "003_lifecycle_context"
#define HEAD_NUMBER 3

const char *const store_schema_revisions[] = { HEAD, NULL };

/* Column types and defaults as SQLAlchemy's types write them for SQLite. */
#define TIMES \
    " created_at DATETIME DEFAULT (CURRENT_TIMESTAMP)," \
    " updated_at DATETIME DEFAULT (CURRENT_TIMESTAMP),"

static const char states_table[] =
    "CREATE TABLE IF NOT EXISTS policy_lifecycle_states ("
    " id VARCHAR NOT NULL,"
    " user_id VARCHAR NOT NULL,"
    " policy_id VARCHAR NOT NULL,"
    " context_id VARCHAR DEFAULT 'default' NOT NULL,"
    " data JSON DEFAULT '{}' NOT NULL,"
    TIMES
    " PRIMARY KEY (id),"
    " UNIQUE (user_id, policy_id, context_id))";

static const char other_tables[] =
    "CREATE TABLE IF NOT EXISTS policies ("
    " id VARCHAR NOT NULL,"
    " data JSON DEFAULT '{}' NOT NULL,"
    TIMES
    " PRIMARY KEY (id));"
    "CREATE TABLE IF NOT EXISTS policy_lifecycles ("
    " id VARCHAR NOT NULL,"
    " policy_id VARCHAR NOT NULL,"
    " data JSON DEFAULT '{}' NOT NULL,"
    TIMES
    " PRIMARY KEY (id));"
    "CREATE TABLE IF NOT EXISTS audit_log ("
    " id INTEGER NOT NULL,"
    " timestamp DATETIME DEFAULT (CURRENT_TIMESTAMP),"
    " action VARCHAR NOT NULL,"
    " severity VARCHAR DEFAULT 'info',"
    " user_id VARCHAR,"
    " resource_type VARCHAR,"
    " resource_id VARCHAR,"
    " detail JSON,"
    " PRIMARY KEY (id));"
    "CREATE TABLE IF NOT EXISTS alembic_version ("
    " version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
    "CREATE TABLE IF NOT EXISTS terminals_documents ("
    " kind VARCHAR NOT NULL,"
    " policy_id VARCHAR NOT NULL,"
    " image VARCHAR NOT NULL,"
    " body TEXT NOT NULL,"
    " fetched_at_us INTEGER NOT NULL,"
    " PRIMARY KEY (kind, policy_id, image))";

static const char indexes[] =
    "CREATE UNIQUE INDEX IF NOT EXISTS ix_policy_lifecycles_policy_id ON policy_lifecycles (policy_id);"
    "CREATE INDEX IF NOT EXISTS ix_policy_lifecycle_states_user_id ON policy_lifecycle_states (user_id);"
    "CREATE INDEX IF NOT EXISTS ix_policy_lifecycle_states_policy_id ON policy_lifecycle_states (policy_id);"
    "CREATE INDEX IF NOT EXISTS ix_policy_lifecycle_states_context_id ON policy_lifecycle_states (context_id)";

/* SQLite cannot change a table's constraints, so the states move to a new table; every one of them belongs to the context
 * `default`, which is also the third part of its new id. Should a key be there twice, its newest row counts: beside
 * max(), SQLite takes the other columns from the same row. The indexes go with the old table and are made again. */
static const char move_states[] =
    "INSERT OR IGNORE INTO policy_lifecycle_states (id, user_id, policy_id, context_id, data, created_at, updated_at)"
    " SELECT user_id || ':' || policy_id || ':default', user_id, policy_id, 'default', data, created_at, max(updated_at)"
    " FROM terminals_old_states GROUP BY user_id, policy_id;"
    "DROP TABLE terminals_old_states";

/* --- what is there ------------------------------------------------------------------------------------------- */

static int has_table(struct database *database, const char *table, struct error *err)
{
    return database_exists(database, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", TEXTS(table), err);
}

static int has_context_column(struct database *database, struct error *err)
{
    return database_exists(database, "SELECT 1 FROM pragma_table_info('policy_lifecycle_states') WHERE name = 'context_id'",
                           NULL, err);
}

int schema_read_revision(struct database *database, char **revision, struct error *err)
{
    cleanup_statement sqlite3_stmt *statement = NULL;
    int found = has_table(database, "alembic_version", err);
    *revision = NULL;
    if (found < 0)
        return -1;
    if (found == 0) {
        *revision = xstrdup("");
        return 0;
    }
    /* The greatest, should there be several: nothing newer may be overlooked. */
    if (database_query(database, &statement, "SELECT max(version_num) FROM alembic_version", NULL, err) < 0 ||
        database_step(database, statement, err) < 0)
        return -1;
    *revision = column_dup(statement, 0);
    return 0;
}

/* The number at the front of "003_lifecycle_context"; 0 when there is none. */
static unsigned revision_number(const char *revision)
{
    uint64_t number = 0;
    size_t digits = strspn(revision, "0123456789");
    return digits > 0 && digits < 9 && revision[digits] == '_' && str_to_u64(str_of(revision, digits), &number)
        ? (unsigned)number : 0;
}

/* Whether everything that the head has is there already. 1, 0 or -1. */
static int has_head_shape(struct database *database, struct error *err)
{
    static const char *const tables[] = { "policies", "policy_lifecycles", "policy_lifecycle_states" };
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        int found = has_table(database, tables[i], err);
        if (found <= 0)
            return found;
    }
    return has_context_column(database, err);
}

/* Refuses what we do not know: a higher number, an unknown revision on a complete schema, or a foreign database. */
static int check_revision(struct database *database, const char *revision, struct error *err)
{
    if (revision[0] == '\0' || strcmp(revision, HEAD) == 0)
        return 0;
    int policies = has_table(database, "policies", err);
    int complete = policies > 0 ? has_head_shape(database, err) : 0;
    if (policies < 0 || complete < 0)
        return -1;
    if (policies == 0)
        return error_set(err, ERR_IO, "the database %s belongs to another program (its revision is '%s'): name another file "
                         "with TERMINALS_DATABASE_URL", database->path, revision);
    unsigned number = revision_number(revision);
    if (number > HEAD_NUMBER || (complete && (number == 0 || number == HEAD_NUMBER)))
        return error_set(err, ERR_IO, "the database %s has the schema revision '%s', which this program does not know (it "
                         "knows up to '%s'): use a newer version of the program", database->path, revision, HEAD);
    return 0;
}

/* --- the upgrade --------------------------------------------------------------------------------------------- */

static int rebuild_states(struct database *database, struct error *err)
{
    int found = has_table(database, "policy_lifecycle_states", err);
    int modern = found > 0 ? has_context_column(database, err) : 1;
    if (found < 0 || modern < 0)
        return -1;
    if (modern)
        return 0;
    log_info("rebuilding the lifecycle states for contexts", LOG_STR("database", database->path));
    if (database_run(database, "ALTER TABLE policy_lifecycle_states RENAME TO terminals_old_states", err) < 0 ||
        database_run(database, states_table, err) < 0)
        return -1;
    return database_run(database, move_states, err);
}

static int upgrade_inside(struct database *database, struct error *err)
{
    cleanup_free char *revision = NULL;
    if (schema_read_revision(database, &revision, err) < 0 || check_revision(database, revision, err) < 0 ||
        rebuild_states(database, err) < 0 || database_run(database, states_table, err) < 0 ||
        database_run(database, other_tables, err) < 0 || database_run(database, indexes, err) < 0)
        return -1;
    if (strcmp(revision, HEAD) == 0)
        return 0;
    log_info(revision[0] ? "upgraded the database" : "made the tables of the database",
             LOG_STR("database", database->path), LOG_STR("from", revision),
             LOG_STR("to", HEAD));
    return schema_write_revision(database, HEAD, err);
}

int schema_upgrade(struct database *database, struct error *err)
{
    if (database_begin(database, err) < 0)
        return -1;
    return database_end(database, upgrade_inside(database, err), err);
}

int schema_write_revision(struct database *database, const char *revision, struct error *err)
{
    if (database_run(database, "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,"
                     " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)); DELETE FROM alembic_version", err) < 0)
        return -1;
    return database_write(database, "INSERT INTO alembic_version (version_num) VALUES (?1)", TEXTS(revision), err) < 0 ? -1 : 0;
}

/* --- for `terminals db` -------------------------------------------------------------------------------------- */

static int open_named(struct database *database, const char *url, const char *state_dir, enum database_mode mode,
                      struct error *err)
{
    cleanup_free char *path = store_url_path(url, state_dir, err);
    return path ? database_open(database, path, mode, err) : -1;
}

int store_schema_current(const char *url, const char *state_dir, char **revision, struct error *err)
{
    cleanup_database struct database database = { 0 };
    struct error why = { 0 };
    *revision = NULL;
    if (open_named(&database, url, state_dir, DATABASE_LOOK, &why) == 0)
        return schema_read_revision(&database, revision, err);
    if (why.class != ERR_NOT_FOUND)
        return error_set(err, why.class, "%s", why.text);
    *revision = xstrdup("");        /* no database yet: no revision either */
    return 0;
}

/* "head" and the names of revisions; NULL for anything else. */
static const char *find_revision(const char *name, struct error *err)
{
    if (strcmp(name, "head") == 0 || strcmp(name, "heads") == 0)
        return HEAD;
    for (size_t i = 0; store_schema_revisions[i]; i++)
        if (strcmp(name, store_schema_revisions[i]) == 0)
            return store_schema_revisions[i];
    (void)error_set(err, ERR_INVALID, "'%s' is not a known revision: known are head and %s", name, HEAD);
    return NULL;
}

int store_schema_upgrade(const char *url, const char *state_dir, const char *revision, struct error *err)
{
    cleanup_database struct database database = { 0 };
    if (!find_revision(revision, err) || open_named(&database, url, state_dir, DATABASE_MAKE, err) < 0)
        return -1;
    return schema_upgrade(&database, err);
}

int store_schema_stamp(const char *url, const char *state_dir, const char *revision, struct error *err)
{
    cleanup_database struct database database = { 0 };
    const char *known = find_revision(revision, err);
    if (!known || open_named(&database, url, state_dir, DATABASE_MAKE, err) < 0 || database_begin(&database, err) < 0)
        return -1;
    return database_end(&database, schema_write_revision(&database, known, err), err);
}
