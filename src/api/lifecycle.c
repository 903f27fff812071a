/* /api/v1/policies/{id}/lifecycle: when homes are reset. The policy need not exist: Open WebUI asks before it has stored one. */
#include "api/answer.h"
#include "api/body.h"
#include "api/handlers.h"
#include "api/validation.h"
#include "base/log.h"
#include "policy/schedule.h"

static json_t *lifecycle_object(const char *policy_id, const json_t *data)
{
    return json_pack("{s:s, s:O}", "policy_id", policy_id, "data", data);
}

void lifecycle_get(struct exchange *exchange)
{
    cleanup_json json_t *data = NULL;
    struct error err;

    if (store_get_lifecycle(exchange->api->store, exchange->policy_id, &data, &err) < 0)
        api_answer_error(exchange->response, &err);
    else
        api_answer_json(exchange->response, 200, lifecycle_object(exchange->policy_id, data));
}

static bool is_text_or_null(const json_t *value)
{
    return !value || json_is_null(value) || json_is_string(value);
}

static bool reset_is_valid(const json_t *reset, struct error *err)
{
    const json_t *schedule = json_object_get(reset, "schedule"), *timezone = json_object_get(reset, "timezone");

    if (!is_text_or_null(schedule) || !is_text_or_null(timezone)) {
        error_set(err, ERR_INVALID, "schedule and timezone are texts");
        return false;
    }
    struct schedule *parsed = schedule_parse(json_string_value(schedule), json_string_value(timezone), err);
    schedule_free(parsed);
    return parsed != NULL;
}

/* False with the answer filled. A null `reset` is the same as none. */
static bool check_lifecycle(struct exchange *exchange, json_t *data)
{
    json_t *reset = json_object_get(data, "reset");
    struct error err;

    if (json_is_null(reset)) {
        json_object_del(data, "reset");
        return true;
    }
    if (reset && !json_is_object(reset)) {
        json_t *problems = json_array();
        problem_add(problems, (struct location){ "body", "reset" }, "dict_type", "Input should be a valid dictionary", reset, NULL);
        api_answer_problems(exchange->response, problems);
        return false;
    }
    if (!reset || reset_is_valid(reset, &err))
        return true;
    log_info("lifecycle refused", LOG_STR("policy", exchange->policy_id), LOG_ERR(&err));
    api_answer_detail(exchange->response, 400, "Invalid lifecycle configuration");
    return false;
}

void lifecycle_put(struct exchange *exchange)
{
    cleanup_json json_t *data = body_read_object(exchange->request, exchange->response);
    struct error err;

    if (!data || !check_lifecycle(exchange, data))
        return;
    HOLD_CHANGING(exchange->api);
    if (store_put_lifecycle(exchange->api->store, exchange->policy_id, data, &err) < 0 ||
        api_put_in_force(exchange->api, &err) < 0) {
        api_answer_error(exchange->response, &err);
        return;
    }
    log_info("lifecycle stored", LOG_STR("policy", exchange->policy_id), LOG_STR("by", "admin"));
    api_answer_json(exchange->response, 200, lifecycle_object(exchange->policy_id, data));
}
