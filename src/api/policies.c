/* /api/v1/policies: reading, writing and removing policies. Every write is judged against the limits in force, stored, and published
 * before the answer goes out, all under one lock, so that two writers do not undo each other. */
#include "api/answer.h"
#include "api/body.h"
#include "api/handlers.h"
#include "api/validation.h"
#include "base/log.h"

#define cleanup_row __attribute__((cleanup(policy_row_clear)))

/* Data that cannot be read is shown as none. */
static json_t *policy_object(const struct policy_row *row)
{
    return json_pack("{s:s, s:o, s:s, s:s}", "id", row->id, "data", row->data ? json_incref(row->data) : json_object(),
                     "created_at", row->created_at, "updated_at", row->updated_at);
}

static void answer_not_found(struct exchange *exchange)
{
    api_answer_detail(exchange->response, 404, "Policy '%s' not found", exchange->policy_id);
}

static void answer_store_error(struct exchange *exchange, const struct error *err)
{
    if (err->class == ERR_NOT_FOUND)
        answer_not_found(exchange);
    else
        api_answer_error(exchange->response, err);
}

static void log_change(const char *message, const char *policy_id)
{
    log_info(message, LOG_STR("policy", policy_id), LOG_STR("by", "admin"));
}

static void log_stored(const char *message, const char *policy_id, const json_t *data)
{
    log_change(message, policy_id);
    if (policy_is_multi_user(data))
        log_warning("the policy asks guests for their multi-user mode, in which they refuse every request that comes through this program: "
                    "take OPEN_TERMINAL_MULTI_USER out of its env", LOG_STR("policy", policy_id));
}

/* What is to be stored for `data`, or NULL with the answer filled. `location` is taken over. */
static json_t *check_data(struct exchange *exchange, const json_t *data, json_t *location)
{
    cleanup_json json_t *where = location, *detail = NULL;
    json_t *normal = NULL;
    struct error err = { 0 };
    struct policy_snapshot *snapshot = policies_current(exchange->api->policies);
    int result = policy_check(policy_snapshot_limits(snapshot), data, where, &normal, &detail, &err);

    policy_snapshot_unref(snapshot);
    if (result == 0)
        return normal;
    if (err.class == ERR_UNPROCESSABLE && detail)
        api_answer_problems(exchange->response, steal(&detail));
    else
        api_answer_error(exchange->response, &err);
    return NULL;
}

/* The last step of every write, with the lock held. */
static void publish_and_answer(struct exchange *exchange, int status, json_t *body)
{
    struct error err;
    cleanup_json json_t *owned = body;

    if (api_put_in_force(exchange->api, &err) < 0) {
        log_error("policies cannot be published", LOG_ERR(&err));
        api_answer_error(exchange->response, &err);
        return;
    }
    api_answer_json(exchange->response, status, steal(&owned));
}

void policies_list(struct exchange *exchange)
{
    struct policy_row *rows = NULL;
    size_t count = 0;
    struct error err;

    if (store_list_policies(exchange->api->store, &rows, &count, &err) < 0) {
        api_answer_error(exchange->response, &err);
        return;
    }
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, policy_object(&rows[i]));
        policy_row_clear(&rows[i]);
    }
    free(rows);
    api_answer_json(exchange->response, 200, array);
}

void policies_get(struct exchange *exchange)
{
    cleanup_row struct policy_row row = { 0 };
    struct error err;

    if (store_get_policy(exchange->api->store, exchange->policy_id, &row, &err) < 0)
        answer_store_error(exchange, &err);
    else
        api_answer_json(exchange->response, 200, policy_object(&row));
}

/* The checked id and data of {id, data?}, or false with the answer filled. */
static bool read_new_policy(struct exchange *exchange, const json_t *body, const char **id, const json_t **data)
{
    cleanup_json json_t *problems = json_array();
    const json_t *id_value = json_object_get(body, "id");
    *data = json_object_get(body, "data");

    if (!id_value)
        problem_add_missing(problems, (struct location){ "body", "id" }, body);
    else if ((*id = check_text(problems, (struct location){ "body", "id" }, id_value)))
        check_policy_id(problems, (struct location){ "body", "id" }, str_from(*id));
    if (*data && !json_is_object(*data))
        problem_add(problems, (struct location){ "body", "data" }, "model_attributes_type",
                    "Input should be a valid dictionary or object to extract fields from", *data, NULL);
    if (json_array_size(problems) == 0)
        return true;
    api_answer_problems(exchange->response, steal(&problems));
    return false;
}

void policies_create(struct exchange *exchange)
{
    cleanup_row struct policy_row row = { 0 };
    cleanup_json json_t *body = body_read_object(exchange->request, exchange->response), *empty = json_object();
    const char *id = NULL;
    const json_t *data = NULL;
    struct error err;

    if (!body || !read_new_policy(exchange, body, &id, &data))
        return;
    HOLD_CHANGING(exchange->api);
    cleanup_json json_t *normal = check_data(exchange, data ? data : empty, json_pack("[s, s]", "body", "data"));
    if (!normal)
        return;
    if (store_create_policy(exchange->api->store, id, normal, &row, &err) < 0) {
        if (err.class == ERR_CONFLICT)
            api_answer_detail(exchange->response, 409, "Policy '%s' already exists", id);
        else
            api_answer_error(exchange->response, &err);
        return;
    }
    log_stored("policy created", id, normal);
    publish_and_answer(exchange, 201, policy_object(&row));
}

/* Stores `data`, judged anew, as the whole policy. Called with the lock held. */
static void store_data(struct exchange *exchange, const json_t *data)
{
    cleanup_row struct policy_row row = { 0 };
    cleanup_json json_t *normal = check_data(exchange, data, json_pack("[s]", "body"));
    struct error err;

    if (!normal)
        return;
    if (store_put_policy(exchange->api->store, exchange->policy_id, normal, &row, &err) < 0) {
        api_answer_error(exchange->response, &err);
        return;
    }
    log_stored("policy stored", exchange->policy_id, normal);
    publish_and_answer(exchange, 200, policy_object(&row));
}

void policies_put(struct exchange *exchange)
{
    cleanup_json json_t *body = body_read_object(exchange->request, exchange->response);
    if (!body)
        return;
    HOLD_CHANGING(exchange->api);
    store_data(exchange, body);
}

void policies_patch(struct exchange *exchange)
{
    cleanup_row struct policy_row row = { 0 };
    cleanup_json json_t *patch = body_read_object(exchange->request, exchange->response);
    struct error err;

    if (!patch)
        return;
    HOLD_CHANGING(exchange->api);
    if (store_get_policy(exchange->api->store, exchange->policy_id, &row, &err) < 0) {
        answer_store_error(exchange, &err);
        return;
    }
    if (!row.data) {
        api_answer_detail(exchange->response, 400, "What is stored as policy '%s' cannot be read (%s): replace it with PUT", row.id,
                          row.why_unreadable);
        return;
    }
    cleanup_json json_t *merged = json_merge_patch(row.data, patch);
    store_data(exchange, merged);
}

void policies_delete(struct exchange *exchange)
{
    struct error err;
    HOLD_CHANGING(exchange->api);

    if (store_delete_policy(exchange->api->store, exchange->policy_id, &err) < 0) {
        answer_store_error(exchange, &err);
        return;
    }
    log_change("policy deleted", exchange->policy_id);
    publish_and_answer(exchange, 200, json_pack("{s:b}", "ok", 1));
}
