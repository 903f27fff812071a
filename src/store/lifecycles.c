/* The table `policy_lifecycles`: one row a policy at most, its id the policy's. */
#include "store/internal.h"

int store_get_lifecycle(struct store *store, const char *policy_id, json_t **data, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    *data = NULL;
    if (database_query(database, &statement, "SELECT data FROM policy_lifecycles WHERE policy_id = ?1",
                       TEXTS(policy_id), err) < 0)
        return -1;
    int found = database_step(database, statement, err);
    if (found < 0)
        return -1;
    struct error ignored;
    json_t *read = found ? column_object(statement, 0, &ignored) : NULL;
    *data = read ? read : json_object();
    return 0;
}

static int put_lifecycle(struct database *database, const char *policy_id, const char *data, struct error *err)
{
    char now[STORE_TIME_SIZE];
    store_time_now(now);
    int changed = database_write(database,
        "UPDATE policy_lifecycles SET data = ?2, updated_at = ?3 WHERE policy_id = ?1", TEXTS(policy_id, data, now), err);
    if (changed == 0)
        changed = database_write(database,
            "INSERT INTO policy_lifecycles (id, policy_id, data, created_at, updated_at) VALUES (?1, ?1, ?2, ?3, ?3)",
            TEXTS(policy_id, data, now), err);
    return changed < 0 ? -1 : 0;
}

int store_put_lifecycle(struct store *store, const char *policy_id, const json_t *data, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    cleanup_free char *text = json_write(data);
    if (database_begin(database, err) < 0)
        return -1;
    return database_end(database, put_lifecycle(database, policy_id, text, err), err);
}

int store_list_lifecycles(struct store *store, json_t **by_policy, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    cleanup_json json_t *map = json_object();
    int more = database_query(database, &statement, "SELECT policy_id, data FROM policy_lifecycles ORDER BY rowid",
                              NULL, err);
    *by_policy = NULL;
    while (more >= 0 && (more = database_step(database, statement, err)) > 0) {
        cleanup_free char *policy_id = column_dup(statement, 0);
        struct error ignored;
        json_t *data = column_object(statement, 1, &ignored);
        json_object_set_new(map, policy_id, data ? data : json_null());
    }
    if (more < 0)
        return -1;
    *by_policy = steal(&map);
    return 0;
}
