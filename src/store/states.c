/* The table `policy_lifecycle_states`: resets and activity of each terminal key. Rows are found by their three key columns;
 * the id is written as the original writes it. Data that is no JSON object counts as empty: activity is no reason not
 * to start. */
#include "base/log.h"
#include "base/secret.h"
#include "store/internal.h"

struct state_key {
    const char *user_id, *policy_id, *context_id;
};

#define OF_KEY " WHERE user_id = ?1 AND policy_id = ?2 AND context_id = ?3"

void state_row_clear(struct state_row *row)
{
    free(row->user_id);
    free(row->policy_id);
    free(row->context_id);
    json_decref(row->data);
    *row = (struct state_row){ 0 };
}

static json_t *read_data(sqlite3_stmt *statement, int column, const char *user_id)
{
    struct error why = { 0 };
    json_t *data = column_object(statement, column, &why);
    if (data)
        return data;
    log_warning("a lifecycle state is ignored", LOG_STR("user", user_id), LOG_ERR(&why));
    return json_object();
}

int store_list_states(struct store *store, struct state_row **rows, size_t *count, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    struct state_row *list = NULL;
    size_t length = 0, room = 0;
    int more = database_query(database, &statement,
        "SELECT user_id, policy_id, context_id, data FROM policy_lifecycle_states ORDER BY rowid", NULL, err);
    while (more >= 0 && (more = database_step(database, statement, err)) > 0) {
        if (length == room)
            list = xrealloc(list, (room = room * 2 + 16) * sizeof(*list));
        struct state_row *row = &list[length++];
        *row = (struct state_row){ column_dup(statement, 0), column_dup(statement, 1), column_dup(statement, 2), NULL };
        row->data = read_data(statement, 3, row->user_id);
    }
    for (size_t i = 0; more < 0 && i < length; i++)
        state_row_clear(&list[i]);
    if (more < 0) {
        free(list);
        return -1;
    }
    *rows = list;
    *count = length;
    return 0;
}

/* `*data` stays NULL when there is no such row. */
static int find_state(struct database *database, const struct state_key *key, json_t **data, struct error *err)
{
    cleanup_statement sqlite3_stmt *statement = NULL;
    *data = NULL;
    if (database_query(database, &statement, "SELECT data FROM policy_lifecycle_states" OF_KEY,
                       TEXTS(key->user_id, key->policy_id, key->context_id), err) < 0)
        return -1;
    int found = database_step(database, statement, err);
    if (found > 0)
        *data = read_data(statement, 0, key->user_id);
    return found < 0 ? -1 : 0;
}

int store_get_state(struct store *store, const char *user_id, const char *policy_id, const char *context_id,
                    json_t **data, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    const struct state_key key = { user_id, policy_id, context_id };
    if (find_state(database, &key, data, err) < 0)
        return -1;
    return *data ? 0 : error_set(err, ERR_NOT_FOUND, "no state is kept for this terminal");
}

/* --- writing ------------------------------------------------------------------------------------------------- */

/* An id for the row that no other row has. User and policy ids may hold ':' themselves, so that two keys can come to
 * the same text; the later one gets a part of a hash that keeps them apart. The caller frees; NULL on failure. */
static char *make_id(struct database *database, const struct state_key *key, struct error *err)
{
    cleanup_free char *plain = xasprintf("%s:%s:%s", key->user_id, key->policy_id, key->context_id);
    int taken = database_exists(database, "SELECT 1 FROM policy_lifecycle_states WHERE id = ?1", TEXTS(plain), err);
    if (taken < 0)
        return NULL;
    if (!taken)
        return steal(&plain);
    char hash[65];
    cleanup_free char *lengths = xasprintf("%zu:%zu:%s", strlen(key->user_id), strlen(key->policy_id), plain);
    sha256_hex(str_from(lengths), hash);
    return xasprintf("%s#%.12s", plain, hash);
}

static int insert_state(struct database *database, const struct state_key *key, const char *data, const char *now,
                        struct error *err)
{
    cleanup_free char *id = make_id(database, key, err);
    if (!id)
        return -1;
    return database_write(database,
        "INSERT INTO policy_lifecycle_states (user_id, policy_id, context_id, data, created_at, updated_at, id)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)", TEXTS(key->user_id, key->policy_id, key->context_id, data, now, id), err);
}

/* Inside a transaction. */
static int put_state(struct database *database, const struct state_key *key, const json_t *data, struct error *err)
{
    char now[STORE_TIME_SIZE];
    cleanup_free char *text = json_write(data);
    store_time_now(now);
    int changed = database_write(database, "UPDATE policy_lifecycle_states SET data = ?4, updated_at = ?5" OF_KEY,
                                 TEXTS(key->user_id, key->policy_id, key->context_id, text, now), err);
    if (changed == 0)
        changed = insert_state(database, key, text, now, err);
    return changed < 0 ? -1 : 0;
}

int store_put_state(struct store *store, const char *user_id, const char *policy_id, const char *context_id,
                    const json_t *data, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    const struct state_key key = { user_id, policy_id, context_id };
    if (database_begin(database, err) < 0)
        return -1;
    return database_end(database, put_state(database, &key, data, err), err);
}

static void set_last_seen(json_t *data, const char *last_seen_at)
{
    json_t *activity = json_object_get(data, "activity");
    if (!json_is_object(activity)) {
        activity = json_object();
        json_object_set_new(data, "activity", activity);
    }
    json_object_set_new(activity, "last_seen_at", json_string(last_seen_at));
}

static int put_one_activity(struct database *database, const struct activity_update *update, struct error *err)
{
    const struct state_key key = { update->user_id, update->policy_id, update->context_id };
    cleanup_json json_t *data = NULL;
    if (find_state(database, &key, &data, err) < 0)
        return -1;
    if (!data)
        data = json_object();
    set_last_seen(data, update->last_seen_at);
    return put_state(database, &key, data, err);
}

int store_put_activity(struct store *store, const struct activity_update *updates, size_t count, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    int result = 0;
    if (count == 0)
        return 0;
    if (database_begin(database, err) < 0)
        return -1;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = put_one_activity(database, &updates[i], err);
    return database_end(database, result, err);
}
