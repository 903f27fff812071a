/* From the rows of the database to the snapshot that everyone reads. */
#include "api/api.h"

#include <pthread.h>

#include "base/json.h"
#include "base/log.h"

static void clear_rows(struct policy_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        policy_row_clear(&rows[i]);
    free(rows);
}

/* One row must not stop all others: it is put right, or deleted, by the API. */
static void tell_unreadable(const struct policy_row *rows, size_t count, const json_t *lifecycles)
{
    const char *id;
    json_t *lifecycle;

    for (size_t i = 0; i < count; i++)
        if (!rows[i].data)
            log_warning("a policy in the database cannot be read; terminals of it are refused until it is put anew, or deleted",
                        LOG_STR("policy", rows[i].id), LOG_STR("why", rows[i].why_unreadable));
    json_object_foreach((json_t *)lifecycles, id, lifecycle)
        if (!json_is_object(lifecycle))
            log_warning("a policy's lifecycle in the database cannot be read and counts as empty", LOG_STR("policy", id));
}

/* The object that policy_snapshot_new() wants for each policy. A lifecycle whose policy is not stored belongs to a policy that may come,
 * except `default`, which is always there. */
static json_t *snapshot_rows(const struct policy_row *rows, size_t count, const json_t *lifecycles)
{
    json_t *array = json_array();
    bool has_default = false;

    for (size_t i = 0; i < count; i++) {
        json_t *row = json_pack("{s:s, s:O?, s:s, s:s}", "id", rows[i].id, "data", rows[i].data,
                                "created_at", rows[i].created_at, "updated_at", rows[i].updated_at);
        json_t *lifecycle = json_object_get(lifecycles, rows[i].id);
        if (lifecycle)
            json_object_set(row, "lifecycle", lifecycle);
        json_array_append_new(array, row);
        has_default |= strcmp(rows[i].id, DEFAULT_POLICY_ID) == 0;
    }
    json_t *lifecycle = json_object_get(lifecycles, DEFAULT_POLICY_ID);
    if (!has_default && lifecycle)
        json_array_append_new(array, json_pack("{s:s, s:O}", "id", DEFAULT_POLICY_ID, "lifecycle", lifecycle));
    return array;
}

static int read_and_publish(struct store *store, struct policies *policies, const struct settings *settings, struct error *err)
{
    cleanup_json json_t *lifecycles = NULL;
    struct policy_row *rows = NULL;
    size_t count = 0;

    if (store_list_lifecycles(store, &lifecycles, err) < 0)
        return error_wrap(err, "reading lifecycles");
    if (store_list_policies(store, &rows, &count, err) < 0)
        return error_wrap(err, "reading policies");
    tell_unreadable(rows, count, lifecycles);
    cleanup_json json_t *array = snapshot_rows(rows, count, lifecycles);
    clear_rows(rows, count);
    policies_publish(policies, policy_snapshot_new(policy_limits_new(settings), array));
    return 0;
}

/* Reading and publishing are one step, or an older picture could replace a newer one. */
int api_publish_policies(struct store *store, struct policies *policies, const struct settings *settings, struct error *err)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&one_at_a_time);
    int result = read_and_publish(store, policies, settings, err);
    pthread_mutex_unlock(&one_at_a_time);
    return result;
}
