/* The table `policies`. */
#include "store/internal.h"

#define COLUMNS "id, data, created_at, updated_at"

void policy_row_clear(struct policy_row *row)
{
    free(row->id);
    json_decref(row->data);
    free(row->why_unreadable);
    free(row->created_at);
    free(row->updated_at);
    *row = (struct policy_row){ 0 };
}

static void read_row(sqlite3_stmt *statement, struct policy_row *row)
{
    struct error why;
    json_t *data = column_object(statement, 1, &why);

    *row = (struct policy_row){ column_dup(statement, 0), data, data ? NULL : xstrdup(why.text),
                                store_time_shown(column_str(statement, 2)), store_time_shown(column_str(statement, 3)) };
}

static void free_rows(struct policy_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        policy_row_clear(&rows[i]);
    free(rows);
}

int store_list_policies(struct store *store, struct policy_row **rows, size_t *count, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    struct policy_row *list = NULL;
    size_t length = 0;
    int more = database_query(database, &statement,
                              "SELECT " COLUMNS " FROM policies ORDER BY created_at, rowid", NULL, err);
    while (more >= 0 && (more = database_step(database, statement, err)) > 0) {
        list = xrealloc(list, (length + 1) * sizeof(*list));
        read_row(statement, &list[length++]);
    }
    if (more < 0) {
        free_rows(list, length);
        return -1;
    }
    *rows = list;
    *count = length;
    return 0;
}

static int get_policy(struct database *database, const char *id, struct policy_row *row, struct error *err)
{
    cleanup_statement sqlite3_stmt *statement = NULL;
    if (database_query(database, &statement, "SELECT " COLUMNS " FROM policies WHERE id = ?1", TEXTS(id), err) < 0)
        return -1;
    int found = database_step(database, statement, err);
    if (found == 0)
        return error_set(err, ERR_NOT_FOUND, "Policy '%s' not found", id);
    if (found < 0)
        return -1;
    read_row(statement, row);
    return 0;
}

int store_get_policy(struct store *store, const char *id, struct policy_row *row, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    return get_policy(database, id, row, err);
}

static int insert_policy(struct database *database, const char *id, const char *data, struct error *err)
{
    char now[STORE_TIME_SIZE];
    store_time_now(now);
    return database_write(database, "INSERT INTO policies (" COLUMNS ") VALUES (?1, ?2, ?3, ?3)",
                          TEXTS(id, data, now), err);
}

int store_create_policy(struct store *store, const char *id, const json_t *data, struct policy_row *row,
                        struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    struct error why = { 0 };
    cleanup_free char *text = json_write(data);
    if (insert_policy(database, id, text, &why) < 0) {
        if (why.class == ERR_CONFLICT)
            return error_set(err, ERR_CONFLICT, "Policy '%s' already exists", id);
        return error_set(err, why.class, "%s", why.text);
    }
    return get_policy(database, id, row, err);
}

static int put_policy(struct database *database, const char *id, const char *data, struct policy_row *row, struct error *err)
{
    char now[STORE_TIME_SIZE];
    store_time_now(now);
    int changed = database_write(database, "UPDATE policies SET data = ?2, updated_at = ?3 WHERE id = ?1",
                                 TEXTS(id, data, now), err);
    if (changed == 0)
        changed = insert_policy(database, id, data, err);
    return changed < 0 ? -1 : get_policy(database, id, row, err);
}

int store_put_policy(struct store *store, const char *id, const json_t *data, struct policy_row *row, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    cleanup_free char *text = json_write(data);
    *row = (struct policy_row){ 0 };
    if (database_begin(database, err) < 0)
        return -1;
    int result = database_end(database, put_policy(database, id, text, row, err), err);
    if (result < 0)
        policy_row_clear(row);
    return result;
}

/* Everything of the policy; the cached documents too, because a policy made anew under this id may have another guest. */
static int delete_policy(struct database *database, const char *id, struct error *err)
{
    static const char *const others[] = {
        "DELETE FROM policy_lifecycles WHERE policy_id = ?1",
        "DELETE FROM policy_lifecycle_states WHERE policy_id = ?1",
        "DELETE FROM terminals_documents WHERE policy_id = ?1",
    };
    int deleted = database_write(database, "DELETE FROM policies WHERE id = ?1", TEXTS(id), err);
    if (deleted == 0)
        return error_set(err, ERR_NOT_FOUND, "Policy '%s' not found", id);
    for (size_t i = 0; deleted >= 0 && i < COUNT_OF(others); i++)
        deleted = database_write(database, others[i], TEXTS(id), err);
    return deleted < 0 ? -1 : 0;
}

int store_delete_policy(struct store *store, const char *id, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    if (database_begin(database, err) < 0)
        return -1;
    return database_end(database, delete_policy(database, id, err), err);
}

int store_count_policies(struct store *store, size_t *count, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    if (database_query(database, &statement, "SELECT count(*) FROM policies", NULL, err) < 0 ||
        database_step(database, statement, err) < 0)
        return -1;
    *count = (size_t)sqlite3_column_int64(statement, 0);
    return 0;
}
