/* What the backend cannot keep: policies, lifecycles, activity, cached guest documents (orchestrator.md §5.1).
 *
 * Blocking; called from the pool, the fleet's threads and the commands, never from a gateway worker. Every function may be called from any
 * thread: what only reads has a connection and a lock of its own, and does not wait for writers. All texts are UTF-8. Errors: ERR_IO with
 * what to do (locked, not a database, not writable), ERR_NOT_FOUND, ERR_CONFLICT. Writes are durable when the call returns. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <jansson.h>

#include "base/error.h"

struct store;

/* Opens the database that `url` names, makes it or brings its schema to the head. NULL or "" names terminals.db in
 * `state_dir`; a relative SQLite path starts at the working directory, as in the original. */
struct store *store_open(const char *url, const char *state_dir, struct error *err) MUST_CHECK;
void store_close(struct store *store);

/* --- policies ------------------------------------------------------------------------------------------------ */

struct policy_row {
    char *id;
    json_t *data;                       /* NULL: it is not a JSON object, or none that can be read */
    char *why_unreadable;               /* then; else NULL */
    char *created_at, *updated_at;      /* "YYYY-MM-DD HH:MM:SS.ffffff+00:00" */
};
void policy_row_clear(struct policy_row *row);

/* All of them by created_at; the caller clears each row and frees the array. */
int store_list_policies(struct store *store, struct policy_row **rows, size_t *count, struct error *err) MUST_CHECK;
int store_get_policy(struct store *store, const char *id, struct policy_row *row, struct error *err) MUST_CHECK;
/* ERR_CONFLICT when the id exists. `row` is filled with what was stored. */
int store_create_policy(struct store *store, const char *id, const json_t *data, struct policy_row *row,
                        struct error *err) MUST_CHECK;
/* Replaces the data, or creates. */
int store_put_policy(struct store *store, const char *id, const json_t *data, struct policy_row *row,
                     struct error *err) MUST_CHECK;
/* Removes the policy with its lifecycle, its lifecycle states and its documents, in one transaction. */
int store_delete_policy(struct store *store, const char *id, struct error *err) MUST_CHECK;
int store_count_policies(struct store *store, size_t *count, struct error *err) MUST_CHECK;

/* --- lifecycles ---------------------------------------------------------------------------------------------- */

/* No row, or one that cannot be read, is success with `*data` an empty object. The caller owns `*data`. */
int store_get_lifecycle(struct store *store, const char *policy_id, json_t **data, struct error *err) MUST_CHECK;
int store_put_lifecycle(struct store *store, const char *policy_id, const json_t *data, struct error *err) MUST_CHECK;
/* An object that maps policy ids to lifecycle data, null where that cannot be read; the caller owns it. */
int store_list_lifecycles(struct store *store, json_t **by_policy, struct error *err) MUST_CHECK;

/* --- the state of each terminal key -------------------------------------------------------------------------- */

/* `data` is {reset:{schedule,timezone,last_applied_at,next_due_at}, activity:{last_seen_at}}; unknown members are kept. */
struct state_row {
    char *user_id, *policy_id, *context_id;
    json_t *data;
};
void state_row_clear(struct state_row *row);

int store_list_states(struct store *store, struct state_row **rows, size_t *count, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND when there is none. */
int store_get_state(struct store *store, const char *user_id, const char *policy_id, const char *context_id,
                    json_t **data, struct error *err) MUST_CHECK;
int store_put_state(struct store *store, const char *user_id, const char *policy_id, const char *context_id,
                    const json_t *data, struct error *err) MUST_CHECK;
/* Sets activity.last_seen_at (ISO-8601 with Z) in many rows in one transaction, making rows that are missing and
 * leaving the rest of each row as it is. */
struct activity_update {
    const char *user_id, *policy_id, *context_id, *last_seen_at;
};
int store_put_activity(struct store *store, const struct activity_update *updates, size_t count,
                       struct error *err) MUST_CHECK;

/* --- cached guest documents (our own table terminals_documents) ---------------------------------------------- */

/* `kind` is "openapi", "config" or "system"; keyed by policy and image. ERR_NOT_FOUND when there is none.
 * The caller frees `*body`. `fetched_at_us` is wall time. */
int store_get_document(struct store *store, const char *kind, const char *policy_id, const char *image, char **body,
                       int64_t *fetched_at_us, struct error *err) MUST_CHECK;
int store_put_document(struct store *store, const char *kind, const char *policy_id, const char *image,
                       const char *body, int64_t fetched_at_us, struct error *err) MUST_CHECK;

/* --- schema, for `terminals db` ------------------------------------------------------------------------------ */

/* The Alembic revision in the database ("" when it has none); the caller frees. Does not change anything. */
int store_schema_current(const char *url, const char *state_dir, char **revision, struct error *err) MUST_CHECK;
/* Whether store_open() could write where the database is or would be made, as far as can be seen without writing. A missing directory is
 * an error only where `state_dir` is there: it may be the one that is still to be made. */
int store_check_writable(const char *url, const char *state_dir, struct error *err) MUST_CHECK;
/* Brings the schema to `revision` ("head" or a known revision at or after the current one). */
int store_schema_upgrade(const char *url, const char *state_dir, const char *revision, struct error *err) MUST_CHECK;
/* Writes the revision without running anything. */
int store_schema_stamp(const char *url, const char *state_dir, const char *revision, struct error *err) MUST_CHECK;
/* The known revisions, oldest first, NULL-terminated. */
extern const char *const store_schema_revisions[];

#endif
