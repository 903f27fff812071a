/* Our own table `terminals_documents`: what guests answered, so that a restart need not start one to know. */
#include "store/internal.h"

int store_get_document(struct store *store, const char *kind, const char *policy_id, const char *image, char **body,
                       int64_t *fetched_at_us, struct error *err)
{
    HOLD_CONNECTION(&store->reader);
    cleanup_statement sqlite3_stmt *statement = NULL;
    *body = NULL;
    if (database_query(database, &statement,
                       "SELECT body, fetched_at_us FROM terminals_documents WHERE kind = ?1 AND policy_id = ?2 AND image = ?3",
                       TEXTS(kind, policy_id, image), err) < 0)
        return -1;
    int found = database_step(database, statement, err);
    if (found == 0)
        return error_set(err, ERR_NOT_FOUND, "no %s document of policy '%s' is kept", kind, policy_id);
    if (found < 0)
        return -1;
    *body = column_dup(statement, 0);
    *fetched_at_us = sqlite3_column_int64(statement, 1);
    return 0;
}

int store_put_document(struct store *store, const char *kind, const char *policy_id, const char *image,
                       const char *body, int64_t fetched_at_us, struct error *err)
{
    HOLD_CONNECTION(&store->writer);
    cleanup_free char *fetched = xasprintf("%lld", (long long)fetched_at_us);
    return database_write(database,
        "INSERT INTO terminals_documents (kind, policy_id, image, body, fetched_at_us) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (kind, policy_id, image) DO UPDATE SET body = excluded.body, fetched_at_us = excluded.fetched_at_us",
        TEXTS(kind, policy_id, image, body, fetched), err) < 0 ? -1 : 0;
}
