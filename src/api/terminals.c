/* /api/v1/terminals: what runs, and stopping and refreshing it. The list never holds a guest's key: struct terminal_info has none. */
#include "api/answer.h"
#include "api/body.h"
#include "api/cursor.h"
#include "api/handlers.h"
#include "api/validation.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/uri.h"

#define MAX_PAGE 1000

/* --- the list ------------------------------------------------------------------------------------------------ */

struct list_query {
    struct buf user_id, policy_id;      /* decoded; empty: all */
    bool has_user_id, has_policy_id;
    int64_t limit;                      /* 0: no limit */
    struct terminal_key *after;         /* NULL: from the beginning */
};

static void list_query_clear(struct list_query *query)
{
    buf_free(&query->user_id);
    buf_free(&query->policy_id);
    terminal_key_free(query->after);
}

/* Reads one parameter into `value`, NUL-terminated besides. False: it is not there, or is malformed, which is a problem. */
static bool read_parameter(struct str query, const char *name, struct buf *value, json_t *problems)
{
    size_t count = query_find(query, name, value);
    struct location where = { "query", name };

    if (count == 0)
        return false;
    if (count == SIZE_MAX) {
        problem_add(problems, where, "value_error", "Value error, malformed percent-encoding", NULL, NULL);
        return false;
    }
    if (count > 1) {
        problem_add(problems, where, "value_error", "Value error, given more than once", NULL, NULL);
        return false;
    }
    if (buf_reserve(value, 1))
        value->data[value->len] = '\0';
    return !value->failed;
}

static void read_limit(struct list_query *out, struct str query, json_t *problems)
{
    cleanup_buf struct buf text = { 0 };
    if (read_parameter(query, "limit", &text, problems))
        check_number(problems, (struct location){ "query", "limit" }, buf_str(&text), 1, MAX_PAGE, &out->limit);
}

static void read_cursor(struct list_query *out, struct str query, json_t *problems)
{
    cleanup_buf struct buf text = { 0 };
    if (!read_parameter(query, "cursor", &text, problems) || text.len == 0)
        return;
    out->after = cursor_read(buf_str(&text));
    if (!out->after)
        problem_add(problems, (struct location){ "query", "cursor" }, "value_error", "Value error, unknown cursor", NULL, NULL);
}

/* False with the answer filled. */
static bool read_list_query(struct exchange *exchange, struct list_query *out)
{
    cleanup_json json_t *problems = json_array();
    struct str query = exchange->request->query;

    out->has_user_id = read_parameter(query, "user_id", &out->user_id, problems);
    out->has_policy_id = read_parameter(query, "policy_id", &out->policy_id, problems);
    read_limit(out, query, problems);
    read_cursor(out, query, problems);
    if (json_array_size(problems) == 0)
        return true;
    api_answer_problems(exchange->response, steal(&problems));
    return false;
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *positive_or_null(int64_t number)
{
    return number > 0 ? json_integer(number) : json_null();
}

static void put_activity(json_t *object, const struct terminal_info *info, int64_t now_us)
{
    char iso[28];

    if (info->last_active_us <= 0) {
        json_object_set_new(object, "last_active_at", json_null());
        json_object_set_new(object, "idle_seconds", json_null());
        return;
    }
    clock_format_iso(info->last_active_us, iso);
    int64_t idle_us = now_us > info->last_active_us ? now_us - info->last_active_us : 0;
    json_object_set_new(object, "last_active_at", json_string(iso));
    json_object_set_new(object, "idle_seconds", json_integer(idle_us / 1000000));
}

static json_t *terminal_object(const struct terminal_info *info, int64_t now_us)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "user_id", info->key->user_id,
                               "policy_id", info->key->policy_id, "context_id", info->key->context_id,
                               "status", info->status, "instance_id", text_or_null(info->instance_id),
                               "instance_name", text_or_null(info->name), "host", text_or_null(info->host),
                               "port", positive_or_null(info->port));
    put_activity(object, info, now_us);
    json_object_set_new(object, "idle_timeout_minutes", positive_or_null(info->idle_timeout_minutes));
    json_object_set_new(object, "phase", json_string(terminal_phase_name(info->phase)));
    json_object_set_new(object, "message", text_or_null(info->message));
    return object;
}

static bool page_is_full(const struct list_query *query, const json_t *page)
{
    return query->limit > 0 && json_array_size(page) == (size_t)query->limit;
}

/* The page of `infos`; `*next_cursor` stays NULL when it is the last. */
static json_t *page_of(const struct terminal_info *infos, size_t count, const struct list_query *query, char **next_cursor)
{
    json_t *page = json_array();
    const struct terminal_key *last = NULL;
    int64_t now_us = clock_wall_us();

    for (size_t i = 0; i < count; i++) {
        if (query->after && !key_is_after(infos[i].key, query->after))
            continue;
        if (page_is_full(query, page)) {
            *next_cursor = cursor_after(last);
            break;
        }
        json_array_append_new(page, terminal_object(&infos[i], now_us));
        last = infos[i].key;
    }
    return page;
}

void terminals_list(struct exchange *exchange)
{
    __attribute__((cleanup(list_query_clear))) struct list_query query = { 0 };
    struct terminal_info *infos = NULL;

    if (!read_list_query(exchange, &query))
        return;
    struct terminal_filter filter = {
        .user_id = query.has_user_id ? query.user_id.data : NULL,
        .policy_id = query.has_policy_id ? query.policy_id.data : NULL,
    };
    size_t count = fleet_list(exchange->api->fleet, &filter, &infos);
    json_t *page = page_of(infos, count, &query, &exchange->response->next_cursor);
    for (size_t i = 0; i < count; i++)
        terminal_info_clear(&infos[i]);
    free(infos);
    api_answer_json(exchange->response, 200, page);
}

/* --- stop and refresh ---------------------------------------------------------------------------------------- */

/* What both requests say. Texts point into the body, or at `context`. */
struct selection {
    struct terminal_filter filter;
    char *context;                      /* owned: the context id in its stored form */
    bool only_idle, reset;
};
static void selection_clear(struct selection *selection)
{
    free(selection->context);
}
#define cleanup_selection __attribute__((cleanup(selection_clear)))

/* A text member; `otherwise` when it is missing, or null where `nullable`. */
static const char *read_text(json_t *problems, const json_t *body, const char *name, bool nullable, const char *otherwise)
{
    const json_t *value = json_object_get(body, name);
    if (!value || (nullable && json_is_null(value)))
        return otherwise;
    return check_text(problems, (struct location){ "body", name }, value);
}

static bool read_flag(json_t *problems, const json_t *body, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(body, name);
    bool flag = otherwise;
    if (value)
        check_bool(problems, (struct location){ "body", name }, value, &flag);
    return flag;
}

/* False: `err` has the reason. */
static bool normalise_context(struct selection *selection, struct error *err)
{
    struct str context;

    if (!selection->filter.context_id)
        return true;
    if (context_id_normalise(str_from(selection->filter.context_id), &context, err) < 0)
        return false;
    selection->filter.context_id = selection->context = str_dup(context);
    return true;
}

/* Runs the selection unless the body had problems. False with the answer filled. */
static bool run_selection(struct exchange *exchange, json_t *problems, struct selection *selection, struct stop_result *result)
{
    struct error err;

    if (json_array_size(problems) > 0) {
        api_answer_problems(exchange->response, json_incref(problems));
        return false;
    }
    if (!normalise_context(selection, &err) ||
        fleet_stop(exchange->api->fleet, &selection->filter, selection->only_idle, selection->reset, result, &err) < 0) {
        api_answer_error(exchange->response, &err);
        return false;
    }
    return true;
}

static void log_selection(const char *message, const struct selection *selection, const struct stop_result *result)
{
    const struct terminal_filter *filter = &selection->filter;
    log_info(message, LOG_STR("user", filter->user_id), LOG_STR("policy", filter->policy_id), LOG_STR("context", filter->context_id),
             LOG_INT("matched", result->matched),
             LOG_INT("stopped", result->stopped), LOG_INT("reset", result->reset), LOG_STR("by", "admin"));
}

void terminals_stop(struct exchange *exchange)
{
    cleanup_json json_t *body = body_read_object(exchange->request, exchange->response), *problems = json_array();
    cleanup_selection struct selection selection = { 0 };
    struct stop_result result = { 0 };

    if (!body)
        return;
    if (!json_object_get(body, "user_id"))
        problem_add_missing(problems, (struct location){ "body", "user_id" }, body);
    selection.filter.user_id = read_text(problems, body, "user_id", false, NULL);
    selection.filter.policy_id = read_text(problems, body, "policy_id", false, DEFAULT_POLICY_ID);
    selection.filter.context_id = read_text(problems, body, "context_id", false, DEFAULT_CONTEXT_ID);
    if (!run_selection(exchange, problems, &selection, &result))
        return;
    if (result.matched == 0) {
        api_answer_detail(exchange->response, 404, "Terminal not found");
        return;
    }
    log_selection("terminal stopped on request", &selection, &result);
    api_answer_json(exchange->response, 200,
                    json_pack("{s:i, s:i, s:i}", "matched", (int)result.matched, "stopped", (int)result.stopped,
                              "skipped_active", (int)result.skipped_active));
}

void terminals_refresh(struct exchange *exchange)
{
    cleanup_json json_t *body = body_read_object(exchange->request, exchange->response), *problems = json_array();
    cleanup_selection struct selection selection = { 0 };
    struct stop_result result = { 0 };

    if (!body)
        return;
    selection.filter.user_id = read_text(problems, body, "user_id", true, NULL);
    selection.filter.policy_id = read_text(problems, body, "policy_id", true, NULL);
    selection.filter.context_id = read_text(problems, body, "context_id", true, NULL);
    selection.only_idle = read_flag(problems, body, "only_idle", true);
    selection.reset = read_flag(problems, body, "reset", false);
    if (!run_selection(exchange, problems, &selection, &result))
        return;
    log_selection("terminals refreshed on request", &selection, &result);
    api_answer_json(exchange->response, 200,
                    json_pack("{s:i, s:i, s:i, s:i}", "matched", (int)result.matched, "refreshed", (int)result.stopped,
                              "reset", (int)result.reset, "skipped_active", (int)result.skipped_active));
}
